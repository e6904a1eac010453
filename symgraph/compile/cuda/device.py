"""The device that functions run on: a GPU, or the interpreter in its place.

Both allocate, copy, launch and build graphs alike (`libcuda.CudaDevice`, `simulated.Simulated`);
what is common to them is here: memory that is used again, and kernels by their source.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from symgraph.compile.cuda.graphs import Graph, Launch

if TYPE_CHECKING:
    from symgraph.compile.cuda.cublas import Multiplication
    from symgraph.compile.cuda.libcuda import Timing

ALIGN = 256  # bytes: of all memory

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
    def graph(
        self, launches: Sequence[Launch], dependencies: Sequence[Sequence[int]] | None = None
    ) -> Any: ...
    def cublas(self) -> Any:
        """Load cuBLAS. Raises RuntimeError where there is none."""

    def multiply(self, product: Multiplication) -> None: ...
    def synchronize(self) -> None: ...
    def timing(self) -> AbstractContextManager[Timing]: ...


class Device:
    """A backend with a pool of memory and the kernels that it has been given.

    All work is queued in one order, so memory that is given back may be handed out again at once:
    whatever still runs in it was queued before what comes next.
    """

    lock = threading.RLock()
    """Held by calls. One for all devices: a call may wait for what another device has computed."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.functions: dict[str, int] = {}
        self._pool = threading.Lock()
        self._spare: dict[int, list[int]] = {}
        self._given: deque[tuple[int, int]] = deque()  # given back, to be put there

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
        """The address of so many bytes, aligned to ALIGN; 0 for none."""
        if not nbytes:
            return 0
        room = _room(nbytes)
        with self._pool:
            self._sort()
            spare = self._spare.get(room)
            if spare:
                return spare.pop()
        try:
            return int(self.backend.allocate(room))
        except RuntimeError:
            gc.collect()
            self.release()
            return int(self.backend.allocate(room))

    def give(self, address: int, nbytes: int) -> None:
        """Let memory of `reserve(nbytes)` be used again. Takes no lock: the garbage collector calls
        it in any thread, whatever that holds."""
        self._given.append((address, nbytes))

    def _sort(self) -> None:
        while self._given:
            address, nbytes = self._given.popleft()
            self._spare.setdefault(_room(nbytes), []).append(address)

    def release(self) -> None:
        """Return to the driver what is not in use."""
        with self._pool:
            self._sort()
            for addresses in self._spare.values():
                for address in addresses:
                    self.backend.free(address)
            self._spare.clear()


def _room(nbytes: int) -> int:
    """What is allocated for so many bytes: an eighth more at most, so that sizes repeat."""
    step = max(ALIGN, 1 << max(nbytes.bit_length() - 4, 0))
    return -(-nbytes // step) * step


def _renew_lock() -> None:
    # The forked child has one thread; a lock that another thread of the parent held stays shut.
    Device.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


_current: Device | None = None
_lock = threading.Lock()


def current() -> Device:
    """The device in use: the first GPU, unless `use` says otherwise.

    Raises libcuda.NoGPU where there is none.
    """
    global _current
    with _lock:
        if _current is None:
            from symgraph.compile.cuda.kernels import Gpu

            _current = Device(Gpu())
        return _current


def is_there() -> bool:
    """Whether there is a device to use. If not, it says so, once, on stderr."""
    return _current is not None or _finds_one()


@cache
def _finds_one() -> bool:
    from symgraph.compile.cuda.libcuda import NoGPU

    try:
        current()
    except NoGPU as error:
        if sys.stderr is not None:
            sys.stderr.write(f"symgraph: device=auto: {error.found}: using the CPU\n")
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
