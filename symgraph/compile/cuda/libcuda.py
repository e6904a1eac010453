"""A CUDA device as the compiler uses it: memory, copies, kernels, graphs, time.

One device has its primary context (shared with other CUDA libraries of the process) and one
stream of its own, on which everything here happens in order. Importing this loads nothing of
NVIDIA's. Source: CUDA Driver API reference manual; CUDA Programming Guide, "CUDA graphs".
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import byref, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from symgraph.compile.cuda.api import (
    CAPABILITY,
    CURES,
    Api,
    CudaError,
    NoGPU,
    api,
    has_compiler,
    no_gpu,
    size,
)
from symgraph.compile.cuda.graphs import Graph, Launch, told
from symgraph.compile.cuda.staging import Staging
from symgraph.errors import explain

if TYPE_CHECKING:
    from symgraph.compile.cuda.cublas import Cublas, Multiplication

__all__ = [
    "CudaDevice", "CudaError", "Graph", "Launch", "NoGPU", "Timing", "Traffic", "device",
]  # fmt: skip

_BLOCKING = 0  # the stream waits for the null stream, where other libraries work
_LOG = 16384  # bytes kept of what the driver's assembler says


@dataclass
class Traffic:
    """What has been asked of a device: counts, and bytes copied each way.

    `launches` are kernels launched one by one, `graph_launches` whole graphs, `products` those of
    cuBLAS. It goes on counting: `dataclasses.replace(statistics)` keeps what is there.
    """

    uploads: int = 0
    downloads: int = 0
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    copies: int = 0
    fills: int = 0
    launches: int = 0
    graph_launches: int = 0
    graph_updates: int = 0
    allocations: int = 0
    products: int = 0

    def __sub__(self, before: Traffic) -> Traffic:
        """What came after `before`."""
        return Traffic(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))


class Timing:
    """Milliseconds on the device between two events; known when its `with` block has ended."""

    milliseconds: float = float("nan")


class CudaDevice:
    """Device `number`: its memory, its kernels, one stream. All methods may be called from any
    thread; a forked child gets a CudaError.

    library: the driver library; None: NVIDIA's own (see `Api`). Raises NoGPU where it cannot be
    used, CudaError where the driver refuses.

    Attributes: number; name; capability, as (9, 0); arch, as "sm_90"; memory, bytes;
    multiprocessors; driver_version, the CUDA version the driver supports, as (13, 0); statistics,
    what has been asked of it so far; closed.
    """

    def __init__(self, number: int = 0, library: str | None = None) -> None:
        asked = f"CUDA device {number}"
        self._api = call = api(library, asked)
        call.check_fork()
        if not 0 <= number < call.devices:
            raise no_gpu(asked, *_absent(number, call.devices))
        self.number, self.driver_version = number, call.version
        self._handle = call.number("cuDeviceGet", number)
        self.name, self.memory, self.capability, self.multiprocessors = call.describe(number)
        self.arch = "sm_{}{}".format(*self.capability)
        if self.capability < CAPABILITY:
            found = "it is too old: its compute capability is {}.{}".format(*self.capability)
            raise no_gpu(asked, found, self.name)
        self.statistics = Traffic()
        self.lock = threading.RLock()  # counting; graphs; finalisers may come in between
        self._modules: dict[bytes, int] = {}
        self._live: dict[int, int] = {}
        self._cublas: Cublas | None = None
        self._context = call.handle("cuDevicePrimaryCtxRetain", self._handle)
        self.closed = False
        try:
            self.use()
            self.stream = call.handle("cuStreamCreate", _BLOCKING)
        except BaseException:
            self.closed = True
            call("cuDevicePrimaryCtxRelease_v2", self._handle)
            raise
        self._staging = Staging(self._api, self.stream)

    # ---- the context

    def alive(self) -> bool:
        """Whether the device can be used in this process."""
        return not self.closed and not self._api.forked()

    def use(self) -> Api:
        """The driver, with this device's context current in the calling thread."""
        self._api.check_fork()
        if self.closed:
            raise CudaError(explain(f"CUDA device {self.number}", "it was closed"))
        self._api("cuCtxSetCurrent", self._context)
        return self._api

    def synchronize(self) -> None:
        """Wait until all that was asked is done. Raises CudaError for a kernel that failed."""
        self.use()("cuStreamSynchronize", self.stream)

    def close(self) -> None:
        """Wait, then give back the memory, the kernels and the context; a second call is nothing.
        Graphs of the device cannot be used any more."""
        with self.lock:
            if not self.alive():
                return
            call = self.use()
            try:
                call("cuStreamSynchronize", self.stream)
                if self._cublas is not None:
                    self._cublas.close()
                self._staging.close()
                for address in list(self._live):
                    self.free(address)
                for module in self._modules.values():
                    call("cuModuleUnload", module)
                call("cuStreamDestroy_v2", self.stream)
            finally:
                self.closed = True
                call("cuDevicePrimaryCtxRelease_v2", self._handle)

    # ---- memory

    def allocate(self, nbytes: int) -> int:
        """The address of new memory, aligned to 256 bytes; 0 for no bytes.

        Raises CudaError, status 2, where there is not enough.
        """
        if nbytes == 0:
            return 0
        call, address = self.use(), c_uint64()
        try:
            call("cuMemAlloc_v2", byref(address), nbytes)
        except CudaError as error:
            raise call.error(error.call, error.status, got=self._room(nbytes)) from None
        with self.lock:
            self._live[address.value] = nbytes
            self.statistics.allocations += 1
        return address.value

    def free(self, address: int) -> None:
        """Give memory back when the device is done with it; 0 is allowed.

        After `close`, and in a forked child, there is nothing to give back.
        """
        if address and self.alive():
            with self.lock:  # before another thread can be given the same address
                self._live.pop(address, None)
            self.use()("cuMemFree_v2", address)

    @property
    def allocated(self) -> int:
        """Bytes allocated and not freed."""
        with self.lock:
            return sum(self._live.values())

    def room(self) -> tuple[int, int]:
        """Bytes free on the device, and bytes in all."""
        free, total = c_size_t(), c_size_t()
        self.use()("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def _room(self, nbytes: int) -> str:
        text = f"{size(nbytes)} asked for, {size(self.allocated)} held by this process"
        with suppress(CudaError):
            text += ", {} of {} free on {}".format(*map(size, self.room()), self.name)
        return text

    def upload(self, address: int, array: npt.NDArray[Any]) -> None:
        """Copy a C-contiguous array to the device; the host memory may be changed at once.

        Raises ValueError for another memory layout.
        """
        source = _contiguous(array, "upload")
        if array.nbytes:
            self.use()
            self._staging.upload(address, source, array.nbytes)
            with self.lock:
                self.statistics.uploads += 1
                self.statistics.uploaded_bytes += array.nbytes

    def download(self, array: npt.NDArray[Any], address: int) -> None:
        """Fill a C-contiguous array from the device, when all before is done.

        Raises ValueError for another memory layout or an array that cannot be written to,
        CudaError also for a kernel before it that failed.
        """
        target = _contiguous(array, "download")
        if not array.flags.writeable:
            raise ValueError(explain("CUDA", "download needs an array that can be written to"))
        if array.nbytes:
            call = self.use()
            call("cuMemcpyDtoHAsync_v2", target, address, array.nbytes, self.stream)
            call("cuStreamSynchronize", self.stream)
            with self.lock:
                self.statistics.downloads += 1
                self.statistics.downloaded_bytes += array.nbytes

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy on the device; the two ranges do not overlap."""
        if nbytes:
            self.use()("cuMemcpyDtoDAsync_v2", target, source, nbytes, self.stream)
            with self.lock:
                self.statistics.copies += 1

    def fill(self, address: int, value: int, count: int) -> None:
        """Write the uint32 `value` to `count` words; `address` is a multiple of 4."""
        self._fill("cuMemsetD32Async", address, value, count)

    def fill8(self, address: int, value: int, count: int) -> None:
        """Write the uint8 `value` to `count` bytes."""
        self._fill("cuMemsetD8Async", address, value, count)

    def _fill(self, call: str, address: int, value: int, count: int) -> None:
        if count:
            self.use()(call, address, value, count, self.stream)
            with self.lock:
                self.statistics.fills += 1

    # ---- kernels

    def assemble(self, ptx: str) -> bytes:
        """The cubin of `ptx` for this device, by the driver's assembler.

        CudaError has what the assembler said.
        """
        call = self.use()
        text = ptx.encode() + b"\0"
        log = ctypes.create_string_buffer(_LOG)
        # CU_JIT_ERROR_LOG_BUFFER and CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES; a number stands in the
        # place of a pointer, and both must live as long as the link.
        options = (ctypes.c_int * 2)(5, 6)
        values = (c_void_p * 2)(ctypes.addressof(log), _LOG)
        link = c_void_p()
        try:
            call("cuLinkCreate_v2", 2, options, values, byref(link))
            call("cuLinkAddData_v2", link, 1, text, len(text), b"kernel", 0, None, None)  # 1: PTX
            cubin, count = c_void_p(), c_size_t()
            call("cuLinkComplete", link, byref(cubin), byref(count))
            return ctypes.string_at(cubin.value or 0, count.value)
        except CudaError as error:
            said = log.value.decode(errors="replace")
            raise call.error(error.call, error.status, log=said) from None
        finally:
            if link:
                call("cuLinkDestroy", link)

    def load(self, image: bytes, symbol: str) -> int:
        """The kernel `symbol` of a cubin, for `Launch`; it stays loaded until `close`."""
        call, key = self.use(), hashlib.sha256(image).digest()
        with self.lock:
            module = self._modules.get(key)
            if module is None:
                module = self._modules[key] = call.handle("cuModuleLoadData", image)
        try:
            return call.handle("cuModuleGetFunction", module, symbol.encode())
        except CudaError as error:
            raise call.error(error.call, error.status, f"on {symbol}") from None

    def launch(self, launch: Launch) -> None:
        """Run one kernel after what the device was asked to do before; does not wait."""
        grid = launch.blocks, 1, 1, launch.threads, 1, 1
        try:
            self.use()(
                "cuLaunchKernel", launch.function, *grid, 0, self.stream, launch.parameters(), None
            )
        except CudaError as error:
            raise told(error, launch) from None
        with self.lock:
            self.statistics.launches += 1

    def graph(
        self, launches: Sequence[Launch], dependencies: Sequence[Sequence[int]] | None = None
    ) -> Graph:
        """These kernels as one graph. Each runs after the ones that `dependencies` lists for it,
        by number; None: one after the other. Raises ValueError for one that lists a later one."""
        return Graph(self, launches, dependencies)

    def cublas(self) -> Cublas:
        """cuBLAS on this device's stream; made at the first call, which may raise what it does."""
        from symgraph.compile.cuda.cublas import Cublas

        with self.lock:
            if self._cublas is None:
                self._cublas = Cublas(self)
            return self._cublas

    def multiply(self, product: Multiplication) -> None:
        """Have cuBLAS compute one product after what was asked before; does not wait."""
        with self.lock:
            self.cublas().gemm(*product[:-1])
            self.statistics.products += 1

    @contextmanager
    def timing(self) -> Iterator[Timing]:
        """`with device.timing() as t: ...`, then `t.milliseconds`: how long the device took, to
        about half a microsecond. Waits at the end."""
        call, result = self.use(), Timing()
        events = [call.handle("cuEventCreate", 0)]
        try:
            events.append(call.handle("cuEventCreate", 0))
            call("cuEventRecord", events[0], self.stream)
            yield result
            self.use()("cuEventRecord", events[1], self.stream)
            call("cuEventSynchronize", events[1])
            elapsed = ctypes.c_float()
            call("cuEventElapsedTime", byref(elapsed), *events)
            result.milliseconds = elapsed.value
        finally:
            if self.alive():
                self.use()
                for event in events:
                    call("cuEventDestroy_v2", event)

    def __repr__(self) -> str:
        return f"<CUDA device {self.number}: {self.name}, {self.arch}, {size(self.memory)}>"


def _absent(number: int, count: int) -> tuple[str, str, str]:
    """What is found, got and the cure where the driver does not show device `number`."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = "the driver shows no device"
    if count:
        found = f"there is no such device: the driver shows {count}"
    if hidden is not None:
        cure = "unset CUDA_VISIBLE_DEVICES, or list the device there"
        return f"{found}; CUDA_VISIBLE_DEVICES may hide it", f"CUDA_VISIBLE_DEVICES={hidden}", cure
    if count == 0:
        return found, "", "see whether nvidia-smi lists one; in a container, start it with the GPUs"
    return found, "", "use device 0" if count == 1 else f"use one of the devices 0 to {count - 1}"


def _contiguous(array: npt.NDArray[Any], call: str) -> int:
    """Where the array's bytes are."""
    if not array.flags.c_contiguous:
        got = f"shape {array.shape}, strides {array.strides}"
        problem = f"{call} takes a C-contiguous array"
        raise ValueError(explain("CUDA", problem, got=got, cure="np.ascontiguousarray(array)"))
    return array.ctypes.data


_devices: dict[tuple[str, int], CudaDevice] = {}
_lock = threading.Lock()


def device(number: int = 0) -> CudaDevice:
    """Device `number`, counted as CUDA_VISIBLE_DEVICES leaves them; the same one each time.

    Raises NoGPU where it cannot be used: no driver, one that is too old or cannot start, no such
    device, compute capability below 7.0, an llvmlite without LLVM's NVPTX; CudaError in a forked
    child.
    """
    key = os.environ.get("SYMGRAPH_LIBCUDA", ""), number
    with _lock:
        made = _devices.get(key)
        if made is not None and not made.closed:
            made.use()
            return made
        asked = f"CUDA device {number}"
        try:
            made = CudaDevice(number)
        except CudaError as error:
            if not error.status:
                raise
            found = f"it cannot be used: {error.call} fails: {api().text(error.status)}"
            raise no_gpu(asked, found, cure=CURES.get(error.status, "")) from error
        if not has_compiler():
            made.close()
            cure = "pip install --force-reinstall llvmlite (NVIDIA's target is in its wheels)"
            raise no_gpu(asked, "llvmlite was built without LLVM's NVPTX target", cure=cure)
        _devices[key] = made
        return made
