"""A driver to test against where there is no GPU: libcuda.c, built with the machine's compiler.

    with fakecuda.loaded() as fake:
        device = CudaDevice(library=fake.path)
        ...
        assert fake.calls("cuGraphLaunch") == 1

Every `loaded()` is a library of its own, with nothing in it. For `device()`, put `fake.path` into
SYMGRAPH_LIBCUDA. A kernel does nothing unless `on_launch` says what it does.
"""

from __future__ import annotations

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

SOURCE = Path(__file__).with_name("libcuda.c")
LIMIT, EDGES = 1 << 12, 16
_copies = count()


class _Record(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 128),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("graph", ctypes.c_int),
        ("waits", ctypes.c_int),
        ("before", ctypes.c_int * EDGES),
        ("sizes", ctypes.c_size_t * 2),
        ("values", ctypes.c_ubyte * LIMIT * 2),
    )


class Launched(NamedTuple):
    """A kernel as the device ran it. `before`: None, or in a graph the nodes it waited for."""

    name: str
    blocks: int
    threads: int
    arrays: list[int]
    sizes: list[int]
    before: list[int] | None


def _launched(record: _Record) -> Launched:
    arrays, sizes = (
        np.frombuffer(bytes(record.values[k])[: record.sizes[k]], np.int64).tolist()
        for k in range(2)
    )
    before = list(record.before[: record.waits]) if record.graph else None
    return Launched(
        record.name.decode(), record.grid[0], record.block[0], arrays, sizes, before
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Record))


class FakeCuda:
    """The stub at `path`, from the test's side."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._library = ctypes.CDLL(self.path)
        self._library.fake_record.restype = ctypes.POINTER(_Record)
        self._library.fake_calls.restype = ctypes.c_long
        self._library.fake_held.restype = ctypes.c_size_t
        self._library.fake_waiting.restype = ctypes.c_long
        self._callback: ctypes._FuncPointer | None = None
        self._failures: list[BaseException] = []

    def machine(
        self,
        devices: int = 1,
        capability: tuple[int, int] = (9, 0),
        version: int = 13000,
        memory: int = 1 << 30,
    ) -> None:
        """What the driver shows from now on; `version` as cuDriverGetVersion gives it."""
        self._library.fake_machine(devices, *capability, version, ctypes.c_size_t(memory))

    def fail(self, call: str, status: int, after: int = 0) -> None:
        """Calls of `call` fail with `status` when `after` more have gone well; 0 ends it."""
        self._library.fake_fail(call.encode(), status, ctypes.c_long(after))

    def calls(self, call: str) -> int:
        """How often the driver's function `call` was called, failed calls included."""
        return int(self._library.fake_calls(call.encode()))

    def launched(self) -> list[Launched]:
        """The kernels that have run, in order; what waits on the stream is run first."""
        self._library.fake_drain()
        self.check()
        records = (self._library.fake_record(ctypes.c_long(k)) for k in range(self._recorded()))
        return [_launched(record.contents) for record in records]

    def _recorded(self) -> int:
        return int(self._library.fake_recorded())

    def waiting(self) -> int:
        """Copies, fills, kernels and events that the stream has still to do."""
        return int(self._library.fake_waiting())

    def held(self) -> int:
        """Bytes of device memory that are allocated."""
        return int(self._library.fake_held())

    def retained(self) -> int:
        """How often the primary context is held."""
        return int(self._library.fake_retained())

    def blocks(self) -> list[np.ndarray]:
        """Device memory, one uint8 array for each allocation; no copies."""
        room = self._library.fake_blocks(0, None, None)
        starts, sizes = (ctypes.c_uint64 * room)(), (ctypes.c_uint64 * room)()
        self._library.fake_blocks(room, starts, sizes)
        return [
            np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(start))
            for start, size in zip(starts, sizes, strict=True)
        ]

    def on_launch(self, run: Callable[[Launched], None]) -> None:
        """Call `run` in place of each kernel: with addresses of host memory, in order. What it
        raises, `check` raises again; the driver does not see it."""

        def call(record: ctypes._Pointer[_Record]) -> None:
            try:
                run(_launched(record.contents))
            except BaseException as error:
                self._failures.append(error)

        self._callback = _CALLBACK(call)
        self._library.fake_on_launch(self._callback)

    def check(self) -> None:
        """Raise the first error of `on_launch`'s function."""
        if self._failures:
            raise self._failures.pop(0)


@cache
def _built() -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler `cc` to build the stub driver with")
    folder = Path(tempfile.mkdtemp(prefix="fakecuda"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "libcuda.so"
    command = [compiler, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", path, SOURCE, "-lpthread"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return path


@contextmanager
def loaded() -> Iterator[FakeCuda]:
    """A stub driver of its own; skips the test where there is no C compiler. At the end, errors
    of `on_launch`'s function that nobody has seen are raised."""
    original = _built()
    path = original.with_name(f"libcuda{next(_copies)}.so")
    shutil.copyfile(original, path)
    fake = FakeCuda(path)
    yield fake
    fake.check()
