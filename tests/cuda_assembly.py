"""Assembling PTX without a GPU: what a kernel needs of an architecture, and whether it spills.

NVIDIA's linker (nvJitLink, of the extra `cuda`) does it in this process, or `ptxas` where that is
on the path.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from symgraph.compile import cache as kernels
from symgraph.compile.cuda import codegen

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")


@dataclass(frozen=True)
class Resources:
    """What one thread (registers, bytes of stack and of spills) and one block (bytes) need."""

    registers: int
    spills: int
    stack: int
    shared: int
    log: str


def assembler() -> str | None:
    """'nvJitLink', 'ptxas' or None."""
    if _library() is not None:
        return "nvJitLink"
    return "ptxas" if shutil.which("ptxas") else None


def resources(source: str, arch: str) -> Resources:
    """Compile and assemble a kernel, once for all processes that share a cache of kernels.

    Raises RuntimeError with the assembler's words.
    """
    key = kernels.key_of(f"resources for {arch} by {assembler()}\n{source}")
    kept = kernels.fetch(key, ".resources")
    if kept is not None:
        return Resources(**json.loads(kept))
    found = assemble(codegen.ptx(source, arch), arch)
    kernels.keep(key, ".resources", json.dumps(asdict(found)).encode())
    return found


def assemble(ptx: str, arch: str) -> Resources:
    """Assemble PTX for an architecture."""
    log = _link(ptx, arch) if _library() is not None else _ptxas(ptx, arch)
    return Resources(
        _number(r"Used (\d+) registers", log),
        _number(r"(\d+) bytes spill stores", log) + _number(r"(\d+) bytes spill loads", log),
        _number(r"(\d+) bytes stack frame", log),
        _number(r"(\d+) bytes smem", log),
        log,
    )


def _number(pattern: str, log: str) -> int:
    found = re.search(pattern, log)
    return int(found[1]) if found else 0


def _ptxas(ptx: str, arch: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        command = ["ptxas", "-v", f"-arch={arch}", str(path), "-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stderr


@cache
def _library() -> ctypes.CDLL | None:
    name = "libnvJitLink.so.13" if sys.platform != "win32" else "nvJitLink_130_0.dll"
    found = importlib.util.find_spec("nvidia")
    for folder in found.submodule_search_locations or () if found else ():
        for path in Path(folder).rglob(name):
            return ctypes.CDLL(str(path))
    return None


def _link(ptx: str, arch: str) -> str:
    library = _library()
    assert library is not None
    handle = ctypes.c_void_p()
    options = [f"-arch={arch}".encode(), b"-verbose", b"-O3"]
    given = (ctypes.c_char_p * len(options))(*options)
    library.nvJitLinkCreate(ctypes.byref(handle), len(options), given)
    data = ptx.encode() + b"\0"
    failed = library.nvJitLinkAddData(handle, 2, data, ctypes.c_size_t(len(data)), b"kernel")
    failed = failed or library.nvJitLinkComplete(handle)
    words = [_log(library, handle, kind) for kind in ("Info", "Error")]
    library.nvJitLinkDestroy(ctypes.byref(handle))
    if failed:
        raise RuntimeError("\n".join(words))
    return words[0]


def _log(library: ctypes.CDLL, handle: ctypes.c_void_p, kind: str) -> str:
    size = ctypes.c_size_t()
    getattr(library, f"nvJitLinkGet{kind}LogSize")(handle, ctypes.byref(size))
    text = ctypes.create_string_buffer(max(size.value, 1))
    getattr(library, f"nvJitLinkGet{kind}Log")(handle, text)
    return text.value.decode()
