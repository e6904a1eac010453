"""NVIDIA's driver library as this package calls it: found, declared, its errors told.

Nothing is loaded before `api()` is called. The names are those of the CUDA driver API (CUDA Driver
API reference manual); its version 12.0 or later is needed, for kernel nodes of graphs in their
second form.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

from symgraph.errors import explain

LIBRARIES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
MINIMUM = (12, 0)
"""The driver's CUDA version that is needed: NVIDIA's driver 525."""
CAPABILITY = (7, 0)
"""The compute capability that is needed: Volta's, the first with a program counter per thread."""


class KernelNode(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2: what a kernel node of a graph runs."""

    _fields_ = (
        ("func", c_void_p),
        ("grid", c_uint * 3),
        ("block", c_uint * 3),
        ("shared_bytes", c_uint),
        ("parameters", POINTER(c_void_p)),
        ("extra", c_void_p),
        ("kern", c_void_p),
        ("ctx", c_void_p),
    )


_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76  # CUdevice_attribute
_INT, _SIZE, _ADDRESS, _HANDLE = POINTER(c_int), POINTER(c_size_t), POINTER(c_uint64), c_void_p
_NEW = POINTER(c_void_p)  # where a new handle is put
_NODE, _PARAMETERS = POINTER(KernelNode), POINTER(c_void_p)

PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (_INT,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuDeviceGetCount": (_INT,),
    "cuDeviceGet": (_INT, c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (_INT, c_int, c_int),
    "cuDeviceTotalMem_v2": (_SIZE, c_int),
    "cuDevicePrimaryCtxRetain": (_NEW, c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (_HANDLE,),
    "cuMemGetInfo_v2": (_SIZE, _SIZE),
    "cuMemAlloc_v2": (_ADDRESS, c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemHostAlloc": (_NEW, c_size_t, c_uint),
    "cuMemFreeHost": (_HANDLE,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, _HANDLE),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, _HANDLE),
    "cuMemcpyDtoDAsync_v2": (c_uint64, c_uint64, c_size_t, _HANDLE),
    "cuMemsetD8Async": (c_uint64, ctypes.c_ubyte, c_size_t, _HANDLE),
    "cuMemsetD32Async": (c_uint64, c_uint, c_size_t, _HANDLE),
    "cuStreamCreate": (_NEW, c_uint),
    "cuStreamDestroy_v2": (_HANDLE,),
    "cuStreamSynchronize": (_HANDLE,),
    "cuEventCreate": (_NEW, c_uint),
    "cuEventDestroy_v2": (_HANDLE,),
    "cuEventRecord": (_HANDLE, _HANDLE),
    "cuEventSynchronize": (_HANDLE,),
    "cuEventElapsedTime": (POINTER(ctypes.c_float), _HANDLE, _HANDLE),
    "cuLinkCreate_v2": (c_uint, _INT, _PARAMETERS, _NEW),
    "cuLinkAddData_v2": (
        _HANDLE, c_int, c_char_p, c_size_t, c_char_p, c_uint, _INT, _PARAMETERS,
    ),
    "cuLinkComplete": (_HANDLE, _NEW, _SIZE),
    "cuLinkDestroy": (_HANDLE,),
    "cuModuleLoadData": (_NEW, c_char_p),
    "cuModuleUnload": (_HANDLE,),
    "cuModuleGetFunction": (_NEW, _HANDLE, c_char_p),
    "cuLaunchKernel": (_HANDLE, *[c_uint] * 7, _HANDLE, _PARAMETERS, c_void_p),
    "cuGraphCreate": (_NEW, c_uint),
    "cuGraphDestroy": (_HANDLE,),
    "cuGraphAddKernelNode_v2": (_NEW, _HANDLE, _PARAMETERS, c_size_t, _NODE),
    "cuGraphInstantiateWithFlags": (_NEW, _HANDLE, ctypes.c_ulonglong),
    "cuGraphExecKernelNodeSetParams_v2": (_HANDLE, _HANDLE, _NODE),
    "cuGraphExecDestroy": (_HANDLE,),
    "cuGraphLaunch": (_HANDLE, _HANDLE),
}  # fmt: skip

UPDATE = "update NVIDIA's driver: PTX and CUDA graphs as used here need CUDA 12.0, driver 525"
_FAULT = (
    "start Python anew: nothing runs on the device in this process any more. A kernel of symgraph"
    " should never do this: please report it; compute-sanitizer names the kernel"
)
_REBOOT = "reboot: the driver was updated while its older kernel module stayed loaded"
CURES = {
    2: "use smaller batches, end other processes that hold the device's memory, or let"
    " device=cpu compute",
    3: "start the process without a fork (multiprocessing: set_start_method('spawn'))",
    34: "take the CUDA toolkit's folder `stubs` off the library path",
    36: UPDATE,
    46: "end the process that has the device to itself, or set its compute mode to Default:"
    " nvidia-smi -c 0",
    201: "start Python anew: another library of this process has destroyed the device's context",
    209: "the kernel was made for another GPU: empty the cache, python -m symgraph cache clear",
    214: "restart the machine: the device's memory is faulty; nvidia-smi -q -d ECC tells more",
    218: "empty the cache, python -m symgraph cache clear; if it stays, please report it",
    221: "install the driver's libnvidia-ptxjitcompiler; in a container, give it the driver's"
    " capability `compute`",
    222: UPDATE,
    223: "unset CUDA_DISABLE_PTX_JIT and CUDA_DISABLE_JIT",
    500: "empty the cache, python -m symgraph cache clear; if it stays, please report it",
    700: _FAULT,
    701: "please report it: a block of this kernel wants more than the device has",
    702: "use smaller batches, or a device that drives no display: one kernel took longer than the"
    " display allows",
    714: _FAULT,
    715: _FAULT,
    716: _FAULT,
    717: _FAULT,
    718: _FAULT,
    719: _FAULT,
    802: "start the service nvidia-fabricmanager, or wait until it is up",
    803: _REBOOT,
    804: "take CUDA's compatibility package off the library path: it does not suit this device",
}
"""What to do, by the driver's error number (CUDA Driver API, CUresult)."""


class CudaError(RuntimeError):
    """A call of the CUDA driver failed. `call` is its name, `status` the driver's number (0 where
    the call was not made), `log` what its compiler wrote."""

    def __init__(self, message: str, call: str = "", status: int = 0, log: str = "") -> None:
        super().__init__(message)
        self.call, self.status, self.log = call, status, log


class NoGPU(RuntimeError):
    """A GPU was asked for, and none can be used here: `found` says why, `cure` what to do."""

    def __init__(self, message: str, found: str = "", cure: str = "") -> None:
        super().__init__(message)
        self.found, self.cure = found, cure


def no_gpu(asked: str, found: str, got: str = "", cure: str = "") -> NoGPU:
    """The error for who asked for `asked`, on a machine of which `found` is true."""
    expected = "a GPU of compute capability {}.{} or later, a driver for CUDA {}.{} or later"
    anywhere = "use device=cpu, which runs anywhere"
    cure = cure or anywhere
    told = cure if "device=cpu" in cure else f"{cure}; or {anywhere}"
    numbers = expected.format(*CAPABILITY, *MINIMUM)
    return NoGPU(explain(asked, found, got=got, expected=numbers, cure=told), found, cure)


class Api:
    """A loaded driver library, initialised: `api("cuMemFree_v2", address)` calls and checks.

    library: file or name; None: SYMGRAPH_LIBCUDA, else NVIDIA's. Raises NoGPU where it is missing,
    too old, or cannot start.
    """

    def __init__(self, library: str | None = None, asked: str = "CUDA") -> None:
        self.library, loaded = _load(library, asked)
        self.pid = os.getpid()
        self._functions: dict[str, Any] = {}
        missing = []
        for name, arguments in PROTOTYPES.items():
            function = getattr(loaded, name, None)
            if function is None:
                missing.append(name)
                continue
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function
        if "cuInit" in missing or "cuDriverGetVersion" in missing:
            without = f"without {', '.join(missing)}"
            raise no_gpu(asked, f"{self.library} is no CUDA driver", without)
        version = c_int()
        self("cuDriverGetVersion", byref(version))
        self.version = (version.value // 1000, version.value % 1000 // 10)
        if missing or self.version < MINIMUM:
            got = f"a driver for CUDA {self.version[0]}.{self.version[1]}"
            got += f", without {', '.join(missing)}" if missing else ""
            raise no_gpu(asked, "NVIDIA's driver is too old", got, UPDATE)
        try:
            self("cuInit", 0)
        except CudaError as error:
            listed = "CUDA_VISIBLE_DEVICES" in os.environ  # perhaps what does not exist: status 101
            if error.status != 100 and not (listed and error.status == 101):
                cure = CURES.get(error.status, "see whether nvidia-smi runs")
                found = f"NVIDIA's driver cannot start: {self.text(error.status)}"
                raise no_gpu(asked, found, cure=cure) from error
            self.devices = 0
        else:
            self.devices = self.number("cuDeviceGetCount")

    def __call__(self, call: str, *arguments: Any) -> None:
        status = self._functions[call](*arguments)
        if status:
            raise self.error(call, status)

    def number(self, call: str, *arguments: Any) -> int:
        """The int that a call puts where its first argument says."""
        result = c_int()
        self(call, byref(result), *arguments)
        return result.value

    def handle(self, call: str, *arguments: Any) -> int:
        """The handle that a call puts where its first argument says."""
        result = c_void_p()
        self(call, byref(result), *arguments)
        return result.value or 0

    def text(self, status: int) -> str:
        """The driver's name, number and words for an error."""
        words = []
        for call in ("cuGetErrorName", "cuGetErrorString"):
            found = c_char_p()
            known = call in self._functions
            if known and self._functions[call](status, byref(found)) == 0 and found.value:
                words.append(found.value.decode(errors="replace"))
        name, meaning = (*words, "", "")[:2]
        return f"{name or 'error'} ({status})" + (f": {meaning}" if meaning else "")

    def error(
        self, call: str, status: int, doing: str = "", got: str = "", log: str = ""
    ) -> CudaError:
        """The error for `status` of `call`; `doing` says on what, `got` with what numbers."""
        problem = f"{call} failed{' ' + doing if doing else ''}: {self.text(status)}"
        log = log.strip()
        said = "; ".join(part for part in (got, log.replace("\n", "\n            ")) if part)
        message = explain("CUDA", problem, got=said, cure=CURES.get(status, ""))
        return CudaError(message, call, status, log)

    def describe(self, number: int) -> tuple[str, int, tuple[int, int], int]:
        """Name, bytes of memory, compute capability and multiprocessors; needs no context."""
        handle = self.number("cuDeviceGet", number)
        name, memory = ctypes.create_string_buffer(256), c_size_t()
        self("cuDeviceGetName", name, len(name), handle)
        self("cuDeviceTotalMem_v2", byref(memory), handle)
        major, minor, multiprocessors = (
            self.number("cuDeviceGetAttribute", attribute, handle)
            for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS)
        )
        return name.value.decode(errors="replace"), memory.value, (major, minor), multiprocessors

    def forked(self) -> bool:
        """Whether this process is a child that inherited the driver's state, and cannot use it."""
        return os.getpid() != self.pid

    def check_fork(self) -> None:
        """CudaError in such a child."""
        if self.forked():
            problem = "this process was forked from one that uses the GPU, and cannot use it itself"
            got = f"a child of process {self.pid}"
            raise CudaError(explain("CUDA", problem, got=got, cure=CURES[3]))


def _load(library: str | None, asked: str) -> tuple[str, ctypes.CDLL]:
    chosen = library or os.environ.get("SYMGRAPH_LIBCUDA")
    if chosen:
        try:
            return chosen, ctypes.CDLL(chosen)
        except OSError as error:
            cure = "name a file that is there, or unset SYMGRAPH_LIBCUDA"
            found = "the driver library that was named cannot be loaded"
            raise no_gpu(asked, found, str(error), cure) from error
    for name in LIBRARIES:
        with suppress(OSError):
            return name, ctypes.CDLL(name)
    names = " or ".join(LIBRARIES)
    found = f"NVIDIA's driver is not installed: no {names}"
    raise no_gpu(asked, found, cure=install())


_COMMANDS = {
    "ubuntu": "sudo ubuntu-drivers install",
    "debian": "sudo apt-get install nvidia-driver (section non-free)",
    "fedora": "sudo dnf install akmod-nvidia (from RPM Fusion)",
    "arch": "sudo pacman -S nvidia-open",
}


def install() -> str:
    """How to get NVIDIA's driver on this system, in one line."""
    import platform

    if sys.platform == "darwin":
        return "use device=cpu: there is no NVIDIA driver for macOS"
    if sys.platform == "win32":
        return "install NVIDIA's driver from https://www.nvidia.com/drivers"
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return "start the container with the host's GPUs: docker run --gpus all ..."
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    for name in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        if name in _COMMANDS:
            return _COMMANDS[name]
    return "install NVIDIA's driver: https://www.nvidia.com/drivers"


@cache
def has_compiler() -> bool:
    """Whether llvmlite's LLVM can write PTX."""
    try:
        import llvmlite.binding as llvm

        llvm.initialize_all_targets()
        llvm.Target.from_triple("nvptx64-nvidia-cuda")
    except (ImportError, RuntimeError):
        return False
    return True


def size(nbytes: int) -> str:
    """Bytes in words, as 1.5 GB."""
    if nbytes < 1000:
        return f"{nbytes} bytes"
    power = next((p for p in (1, 2) if nbytes < 0.99995 * 1000 ** (p + 1)), 3)
    return f"{nbytes / 1000**power:.1f} {'kMG'[power - 1]}B"


_apis: dict[str, Api] = {}
_lock = threading.Lock()


def api(library: str | None = None, asked: str = "CUDA") -> Api:
    """The driver library, loaded and started once in a process (`Api` says what it raises).

    `asked` is what the user asked for, where there is no driver.
    """
    name = library or os.environ.get("SYMGRAPH_LIBCUDA") or ""
    with _lock:
        found = _apis.get(name)
        if found is None:
            found = _apis[name] = Api(library, asked)
        return found
