"""The device that functions run on: a GPU, or the interpreter in its place.

Both allocate, copy, launch and build graphs alike (`libcuda.CudaDevice`, `simulated.Simulated`);
what is common to them is here: memory that is used again, and kernels by their source.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from symgraph.compile.cuda.graphs import Graph, Launch

__all__ = ["Backend", "Device", "Graph", "Launch", "current", "use"]


class Backend(Protocol):
    """What runs kernels."""

    name: str
    arch: str
    multiprocessors: int
    statistics: Any

    def build(self, sources: Sequence[str]) -> list[int]:
        """What `Launch.function` is for each source."""

    def allocate(self, nbytes: int) -> int: ...
    def free(self, address: int) -> None: ...
    def upload(self, address: int, array: Any) -> None: ...
    def download(self, array: Any, address: int) -> None: ...
    def copy(self, target: int, source: int, nbytes: int) -> None: ...
    def fill8(self, address: int, value: int, count: int) -> None: ...
    def launch(self, launch: Launch) -> None: ...
    def graph(self, launches: Sequence[Launch]) -> Any: ...
    def synchronize(self) -> None: ...


class Device:
    """A backend with a pool of memory and the kernels that it has been given.

    All work is queued in one order, so memory that is given back may be handed out again at once:
    whatever still runs in it was queued before what comes next.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.functions: dict[str, int] = {}
        self.lock = threading.RLock()
        self._spare: dict[int, list[int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def build(self, sources: Sequence[str]) -> list[int]:
        """The functions of these kernels; those that are new are compiled, or found on disk."""
        with self.lock:
            new = [s for s in dict.fromkeys(sources) if s not in self.functions]
            if new:
                self.functions.update(zip(new, self.backend.build(new), strict=True))
            return [self.functions[source] for source in sources]

    def reserve(self, nbytes: int) -> int:
        """The address of so many bytes, aligned to 256; 0 for none."""
        if not nbytes:
            return 0
        room = _room(nbytes)
        with self.lock:
            spare = self._spare.get(room)
            if spare:
                return spare.pop()
            try:
                return int(self.backend.allocate(room))
            except RuntimeError:
                self.release()
                return int(self.backend.allocate(room))

    def give(self, address: int, nbytes: int) -> None:
        """Let memory of `reserve(nbytes)` be used again."""
        with self.lock:
            self._spare.setdefault(_room(nbytes), []).append(address)

    def release(self) -> None:
        """Return to the driver what is not in use."""
        with self.lock:
            for addresses in self._spare.values():
                for address in addresses:
                    self.backend.free(address)
            self._spare.clear()


def _room(nbytes: int) -> int:
    """What is allocated for so many bytes: an eighth more at most, so that sizes repeat."""
    step = max(256, 1 << max(nbytes.bit_length() - 4, 0))
    return -(-nbytes // step) * step


_current: Device | None = None
_lock = threading.Lock()


def current() -> Device:
    """The device in use: the first GPU, unless `use` or config.device says otherwise.

    Raises libcuda.NoGPU where there is none.
    """
    global _current
    with _lock:
        if _current is None:
            from symgraph.compile.cuda.kernels import Gpu

            _current = Device(Gpu())
        return _current


@cache
def is_there() -> bool:
    """Whether there is a GPU to use. If not, it says so, once, on stderr."""
    from symgraph.compile.cuda.libcuda import NoGPU

    try:
        current()
    except NoGPU as error:
        sys.stderr.write(f"symgraph: device=auto: {str(error).splitlines()[0]}: using the CPU\n")
        return False
    return True


@contextmanager
def use(device: Device) -> Iterator[Device]:
    """Have functions that are compiled in this context run on `device`."""
    global _current
    before, _current = _current, device
    try:
        yield device
    finally:
        _current = before
