"""A device that the interpreter stands in for: slow, exact about what a GPU may and may not do.

Memory is the host's, poisoned when it is given out. A graph keeps the numbers that it was made
with until it is updated, as the driver's do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

import numpy as np

from symgraph.compile.cuda import simulator
from symgraph.compile.cuda.cublas import TRANSPOSED, Multiplication
from symgraph.compile.cuda.dependencies import latest_first
from symgraph.compile.cuda.graphs import Launch
from symgraph.compile.cuda.libcuda import Timing, Traffic
from symgraph.compile.cuda.signature import threads

POISON = 0xA5


class Simulated:
    """Runs kernels in the order `order` of their threads (1 or -1); counts what is asked of it."""

    name, arch, multiprocessors = "simulated", "sm_90", 132

    def __init__(self, order: int = 1) -> None:
        self.order = order
        self.statistics = Traffic()
        self.memory = simulator.Memory()
        self.sources: list[str] = []
        self.held: dict[int, np.ndarray] = {}

    def build(self, sources: Sequence[str]) -> list[int]:
        self.sources += sources
        return list(range(len(self.sources) - len(sources), len(self.sources)))

    def allocate(self, nbytes: int) -> int:
        self.statistics.allocations += 1
        whole = np.full(nbytes + 256, POISON, np.uint8)
        start = -whole.ctypes.data % 256
        block = whole[start : start + nbytes]
        address = self.memory.add(block)
        self.held[address] = block
        return address

    def free(self, address: int) -> None:
        self.memory.remove(address)
        del self.held[address]

    def _bytes(self, address: int, count: int) -> np.ndarray:
        found = self.memory.find(address)
        assert found is not None, f"a copy at {address:#x}, where nothing is"
        block, offset = found
        assert offset + count <= len(block), "a copy beyond an allocation"
        return block[offset : offset + count]

    def upload(self, address: int, array: Any) -> None:
        self.statistics.uploads += 1
        self.statistics.uploaded_bytes += array.nbytes
        self._bytes(address, array.nbytes)[:] = array.reshape(-1).view(np.uint8)

    def download(self, array: Any, address: int) -> None:
        self.statistics.downloads += 1
        self.statistics.downloaded_bytes += array.nbytes
        array.reshape(-1).view(np.uint8)[:] = self._bytes(address, array.nbytes)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        self.statistics.copies += 1
        self._bytes(target, nbytes)[:] = self._bytes(source, nbytes).copy()

    def fill8(self, address: int, value: int, count: int) -> None:
        self.statistics.fills += 1
        self._bytes(address, count)[:] = value

    def fill(self, address: int, value: int, count: int) -> None:
        self.statistics.fills += 1
        self._bytes(address, 4 * count).view(np.uint32)[:] = value

    def launch(self, launch: Launch) -> None:
        self.statistics.launches += 1
        self._run(launch.function, launch.blocks, launch.arrays, launch.sizes)

    def _run(self, function: int, blocks: int, arrays: np.ndarray, sizes: np.ndarray) -> None:
        source = self.sources[function]
        simulator.run(
            source, blocks, threads(source), arrays.tolist(), sizes.tolist(), self.memory,
            self.order,
        )  # fmt: skip

    def graph(
        self, launches: Sequence[Launch], dependencies: Sequence[Sequence[int]] | None = None
    ) -> SimulatedGraph:
        return SimulatedGraph(self, launches, dependencies)

    def cublas(self) -> None:
        """NumPy stands in for it."""

    def multiply(self, product: Multiplication) -> None:
        """A product of NumPy's of what cuBLAS would read."""
        self.statistics.products += 1
        dtype, what, c, a, b, _ = product

        def matrices(address: int, shape: tuple[int, int], batch: int, *strides: int) -> np.ndarray:
            sizes = (what.batch, *shape)
            last = sum((n - 1) * s for n, s in zip(sizes, (batch, *strides), strict=True))
            item = np.dtype(dtype).itemsize
            memory = self._bytes(address, (last + 1) * item).view(dtype)
            steps = [item * s for s in (batch, *strides)]
            return np.lib.stride_tricks.as_strided(memory, sizes, steps)

        def factor(
            address: int, shape: tuple[int, int], batch: int, operation: int, leading: int
        ) -> np.ndarray:
            strides = (1, leading) if operation == TRANSPOSED else (leading, 1)
            return matrices(address, shape, batch, *strides)

        m, n, k = what.columns, what.rows, what.depth
        left = factor(a, (m, k), what.a_batch, what.a_operation, what.a_leading)
        right = factor(b, (k, n), what.b_batch, what.b_operation, what.b_leading)
        matrices(c, (m, n), what.c_batch, what.c_leading, 1)[...] = left @ right

    def synchronize(self) -> None:
        """Nothing is ever under way."""

    @contextmanager
    def timing(self) -> Iterator[Timing]:
        """As of a GPU, by the wall clock."""
        result, start = Timing(), perf_counter_ns()
        yield result
        result.milliseconds = (perf_counter_ns() - start) * 1e-6


class SimulatedGraph:
    """Launches with the numbers that they had. They run in the order in which they were made or, if
    threads run backwards, in the one that is furthest from it among those that are allowed."""

    def __init__(
        self,
        device: Simulated,
        launches: Sequence[Launch],
        dependencies: Sequence[Sequence[int]] | None,
    ) -> None:
        self.device, self.launches = device, list(launches)
        self._known = [self._numbers(launch) for launch in launches]
        self.order = list(range(len(self.launches)))
        if dependencies is not None and device.order < 0:
            self.order = latest_first(dependencies)

    def _numbers(self, launch: Launch) -> tuple[Any, ...]:
        return launch.function, launch.blocks, launch.arrays.copy(), launch.sizes.copy()

    def update(self, k: int) -> None:
        """Read the numbers of one launch again."""
        self.device.statistics.graph_updates += 1
        self._known[k] = self._numbers(self.launches[k])

    def launch(self) -> None:
        """Run them all."""
        self.device.statistics.graph_launches += 1
        for k in self.order:
            self.device._run(*self._known[k])

    def close(self) -> None:
        """Nothing to give back."""
