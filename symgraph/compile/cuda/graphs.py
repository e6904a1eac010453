"""Kernels with their operands, and graphs of them that one call launches.

Source: CUDA Programming Guide, "CUDA graphs"; CUDA Driver API, "Graph Management".
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from contextlib import suppress
from ctypes import byref, c_void_p
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from symgraph.compile.cuda.api import Api, CudaError, KernelNode
from symgraph.errors import explain

if TYPE_CHECKING:
    from symgraph.compile.cuda.libcuda import CudaDevice

_NO_SIZE = np.zeros(1, np.int64)


@dataclass(eq=False)
class Launch:
    """A kernel with its operands: `blocks` blocks of `threads` threads.

    function: what `CudaDevice.load` gave; arrays: int64 (n,), device addresses, outputs first;
    sizes: int64 (m,). Both are read when the kernel is launched, put into a graph or updated
    there; numbers may be changed in place. The kernel's two parameters are blocks of 8 n and 8 m
    bytes, passed by value; of m = 0 sizes, one zero is passed. For who looks on: name; step, the
    number of the plan's step that it is of; source, the kernel's text. Raises TypeError for arrays
    that are not int64 vectors without gaps.
    """

    function: int
    blocks: int
    threads: int
    arrays: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    name: str = ""
    step: int = -1
    source: str = ""
    _made: tuple[Any, KernelNode, Any, Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("arrays", "sizes"):
            block = getattr(self, name)
            if block.dtype != np.int64 or block.ndim != 1 or not block.flags.c_contiguous:
                got = f"{block.dtype}, shape {block.shape}, strides {block.strides}"
                problem = f"`{name}` of a launch is a contiguous vector of int64"
                raise TypeError(explain(self.name or "kernel", problem, got=got))

    def parameters(self) -> ctypes.Array[c_void_p]:
        """Where the driver reads the two parameters: within `arrays` and `sizes` themselves."""
        sizes = self.sizes if len(self.sizes) else _NO_SIZE
        return (c_void_p * 2)(self.arrays.ctypes.data, sizes.ctypes.data)

    def node(self) -> KernelNode:
        """What a graph is told; made once for these blocks, threads and vectors."""
        key = self.function, self.blocks, self.threads, id(self.arrays), id(self.sizes)
        if self._made is None or self._made[0] != key:
            grid, block = (self.blocks, 1, 1), (self.threads, 1, 1)
            node = KernelNode(self.function, grid, block, 0, self.parameters())
            self._made = key, node, self.arrays, self.sizes  # these keep their ids
        return self._made[1]

    def __str__(self) -> str:
        return f"{self.name or 'kernel'} ({self.blocks} blocks of {self.threads} threads)"


class Graph:
    """Kernels that one call launches: made by `CudaDevice.graph`.

    It holds addresses, not memory: what they point to must stay allocated.
    """

    def __init__(
        self,
        device: CudaDevice,
        launches: Sequence[Launch],
        dependencies: Sequence[Sequence[int]] | None,
    ) -> None:
        self.device, self.launches = device, list(launches)
        self._graph = self._executable = 0
        self._nodes: list[int] = []
        if dependencies is None:
            dependencies = [[k - 1] if k else [] for k in range(len(self.launches))]
        _check_order(dependencies, len(self.launches))
        call = device.use()
        self._graph = call.handle("cuGraphCreate", 0)
        try:
            for launch, before in zip(self.launches, dependencies, strict=True):
                self._nodes.append(self._add(call, launch, before))
            self._executable = call.handle("cuGraphInstantiateWithFlags", self._graph, 0)
        except BaseException:
            self.close()
            raise

    def _add(self, call: Api, launch: Launch, before: Sequence[int]) -> int:
        needed = (c_void_p * len(before))(*(self._nodes[k] for k in before))
        node = launch.node()
        try:
            return call.handle(
                "cuGraphAddKernelNode_v2", self._graph, needed, len(before), byref(node)
            )
        except CudaError as error:
            raise told(error, launch) from None

    def update(self, k: int) -> None:
        """Read `launches[k]` again; what is launched from now on runs with that."""
        call, launch = self._ready(), self.launches[k]
        node = byref(launch.node())
        with self.device.lock:
            try:
                call("cuGraphExecKernelNodeSetParams_v2", self._executable, self._nodes[k], node)
            except CudaError as error:
                raise told(error, launch) from None
            self.device.statistics.graph_updates += 1

    def launch(self) -> None:
        """Run all kernels once, after what the device was asked to do before; does not wait."""
        call = self._ready()
        with self.device.lock:
            call("cuGraphLaunch", self._executable, self.device.stream)
            self.device.statistics.graph_launches += 1

    def _ready(self) -> Api:
        call = self.device.use()
        if not self._executable:
            raise CudaError(explain("CUDA", "this graph was closed"), "cuGraphLaunch")
        return call

    def close(self) -> None:
        """Give the graph back; a launch that is under way ends well."""
        if self.device.alive():
            call = self.device.use()
            if self._executable:
                call("cuGraphExecDestroy", self._executable)
            if self._graph:
                call("cuGraphDestroy", self._graph)
        self._executable = self._graph = 0

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(CudaError):
                self.close()


def _check_order(dependencies: Sequence[Sequence[int]], count: int) -> None:
    if len(dependencies) != count or any(
        not 0 <= earlier < k for k, before in enumerate(dependencies) for earlier in before
    ):
        got = f"{count} launches, dependencies {[list(before) for before in dependencies]}"
        problem = "each launch of a graph has a list of earlier ones that it waits for"
        raise ValueError(explain("CUDA", problem, got=got))


def told(error: CudaError, launch: Launch) -> CudaError:
    """`error`, which also says which launch it is about."""
    error.args = (f"{error}\n  {'launch:':<10}{launch}",)
    return error
