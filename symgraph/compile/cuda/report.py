"""`gpu_report()`: what of a GPU is there, what is missing, and how to get it, in plain words."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from symgraph.compile.cuda.api import CAPABILITY, Api, CudaError, NoGPU, api, has_compiler, size

_REINSTALL = "pip install --force-reinstall llvmlite"
_SYSTEM = [
    Path(folder)
    for folder in (
        "/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
    )
]  # fmt: skip
_CUBLAS = ("libcublas.so", "libcublas.so.[0-9]*", "cublas64_*.dll")


class Report(str):
    """Text that shows itself as it is, at a prompt too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def gpu_report(library: str | None = None) -> Report:
    """What symgraph finds of NVIDIA GPUs on this machine, a line for each thing.

    The driver, each device, the compiler, where kernels are kept, cuBLAS, what is missing with the
    command that gets it, and how to use it all. Never raises. `library` names another driver
    library than NVIDIA's. Starts the driver, so a process forked later cannot use the GPU.
    """
    missing: list[str] = []
    rows = [
        *_guarded("driver", lambda: _driver(library, missing)),
        *_guarded("compiler", lambda: _compiler(missing)),
        *_guarded("cubins", _cubins),
        *_guarded("cuBLAS", _cublas),
    ]
    rows += [("missing", text) for text in missing] or [("missing", "nothing")]
    rows.append(("to use it", "SYMGRAPH_FLAGS=device=cuda python your_script.py"))
    lines = ["NVIDIA GPUs, as symgraph finds them"]
    before = ""
    for label, text in rows:
        lines.append(f"  {label if label != before else '':<10} {text}")
        before = label
    return Report("\n".join(lines))


Row = tuple[str, str]


def _guarded(label: str, rows: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """The rows; what goes wrong is a row too."""
    try:
        yield from rows()
    except Exception as error:
        text = str(error).splitlines() or [type(error).__name__]
        yield label, f"cannot be looked at: {text[0]}"


def _driver(library: str | None, missing: list[str]) -> Iterator[Row]:
    try:
        call = api(library)
    except NoGPU as error:
        yield "driver", error.found
        missing.append(f"a driver that can be used: {error.cure}")
        return
    yield "driver", "for CUDA {}.{} ({})".format(*call.version, call.library)
    call.check_fork()
    usable = 0
    for number in range(call.devices):
        try:
            text, fits = _device(call, number)
        except CudaError as error:
            text, fits = f"cannot be looked at: {str(error).splitlines()[0]}", False
        usable += fits
        yield "devices", f"{number}: {text}"
    if call.devices == 0:
        yield "devices", f"none{_hidden()}"
    if usable == 0:
        cure = "unset CUDA_VISIBLE_DEVICES, or " if _hidden() else ""
        need = "{}.{} (Volta, 2017)".format(*CAPABILITY)
        missing.append(f"a GPU: {cure}use a machine with one of compute capability {need} or later")


def _hidden() -> str:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden} decides what is shown)"


def _device(call: Api, number: int) -> tuple[str, bool]:
    name, memory, capability, multiprocessors = call.describe(number)
    fits = capability >= CAPABILITY
    text = (
        f"{name}, {size(memory)}, compute capability {capability[0]}.{capability[1]}, "
        f"{multiprocessors} multiprocessors"
    )
    return text if fits else f"{text}; too old", fits


def _compiler(missing: list[str]) -> Iterator[Row]:
    version = importlib.metadata.version("llvmlite")
    if has_compiler():
        import llvmlite.binding as llvm

        number = ".".join(map(str, llvm.llvm_version_info))
        yield "compiler", f"NVPTX of LLVM {number} (llvmlite {version}); the driver assembles"
    else:
        yield "compiler", f"none: llvmlite {version} is built without LLVM's NVPTX"
        missing.append(f"a compiler: {_REINSTALL}")


def _cubins() -> Iterator[Row]:
    from symgraph.compile.cache import cache_dir

    yield "cubins", f"kept in {cache_dir()}"


def _cublas() -> Iterator[Row]:
    found = cublas()
    if found:
        yield "cuBLAS", f"{found} (used only where it is asked for)"
    else:
        yield "cuBLAS", "not found; nothing needs it (pip install nvidia-cublas; for a driver of"
        yield "cuBLAS", "CUDA 12: nvidia-cublas-cu12)"


def cublas() -> Path | None:
    """The file of NVIDIA's cuBLAS: of a wheel, a toolkit or the library path; the first found."""
    wheels = [Path(folder) / "nvidia" for folder in sys.path if folder]
    folders = [place for wheel in wheels for place in sorted(wheel.glob("*/*")) if place.is_dir()]
    toolkits = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX")]
    for toolkit in filter(None, toolkits):
        folders += [Path(toolkit) / name for name in ("lib64", "lib", "bin", "bin/x64")]
    paths = os.environ.get("PATH" if sys.platform == "win32" else "LD_LIBRARY_PATH", "")
    folders += [Path(folder) for folder in paths.split(os.pathsep) if folder]
    folders += _SYSTEM
    for folder in folders:
        for pattern in _CUBLAS:
            for file in sorted(folder.glob(pattern), reverse=True):
                return file
    return None
