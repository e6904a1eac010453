"""CUDA kernels run by the interpreter: what they mean, and whether they keep the rules.

The threads of a block are generators that stop at barriers and shuffles, which stand alone on
their lines. Warps run one after another, as do the lanes of each, forwards or backwards, up to the
next barrier: a result that depends on the order lacks one. Shared memory starts poisoned. An access
beyond an allocation, a barrier that some threads miss and a shuffle that some lanes miss are
errors.
"""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from functools import cache
from typing import Any

import numpy as np

from symgraph.compile import interpreted
from symgraph.compile.cache import execute

WARP = 32
POISON = 0xA5  # of shared memory and registers that nobody has written
_STOPS = (
    (re.compile(r"^(\s*)barrier\(\)$", re.MULTILINE), r"\1yield"),
    (
        re.compile(r"^(\s*)(\w+) = shuffle_(xor|down)\((\w+), (.+)\)$", re.MULTILINE),
        r'\1\2 = yield "\3", \4, \5',
    ),
)

Thread = Generator[Any, Any, None]


class SimulationError(RuntimeError):
    """A kernel that breaks the rules of the device."""


class Memory:
    """What kernels may touch: allocations of the host's memory by address."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.blocks: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> int:
        """Let kernels touch `block`, C-contiguous; its address."""
        flat = block.reshape(-1).view(np.uint8)
        start = int(flat.ctypes.data)
        at = bisect_right(self.starts, start)
        self.starts.insert(at, start)
        self.blocks.insert(at, flat)
        return start

    def remove(self, start: int) -> None:
        """Forget the allocation at `start`."""
        at = self.starts.index(start)
        del self.starts[at], self.blocks[at]

    def find(self, address: int) -> tuple[np.ndarray, int] | None:
        """The allocation around an address and the offset there, if there is one."""
        at = bisect_right(self.starts, address) - 1
        if at >= 0 and address - self.starts[at] <= self.blocks[at].nbytes:
            return self.blocks[at], address - self.starts[at]
        return None


class Pointer:
    """Elements of a dtype in one allocation; an index beyond it is an error."""

    __slots__ = ("base", "dtype", "view")

    def __init__(self, view: np.ndarray, base: int, dtype: interpreted.DType) -> None:
        self.view, self.base, self.dtype = view, base, dtype

    def _place(self, index: int) -> int:
        place = self.base + int(index)
        if not 0 <= place < len(self.view):
            raise SimulationError(
                f"element {int(index)} of an operand: its memory has {-self.base} to "
                f"{len(self.view) - self.base - 1}"
            )
        return place

    def __getitem__(self, index: int) -> Any:
        value = self.view[self._place(index)]
        return np.float32(value) if self.dtype.memory == np.float16 else value

    def __setitem__(self, index: int, value: Any) -> None:
        place = self._place(index)
        if type(value) is not self.dtype.memory.type:
            value = self.dtype(value)
        self.view[place] = value

    def __add__(self, count: int) -> Pointer:
        return Pointer(self.view, self.base + int(count), self.dtype)

    @property
    def address(self) -> int:
        return int(self.view.ctypes.data) + self.base * self.view.itemsize


def _typed(block: np.ndarray, offset: int, dtype: interpreted.DType) -> Pointer:
    """A pointer to the element at a byte offset, which may lie anywhere in the block."""
    size = dtype.memory.itemsize
    shift = offset % size
    whole = (len(block) - shift) // size * size
    return Pointer(block[shift : shift + whole].view(dtype.memory), offset // size, dtype)


class Block:
    """One block of threads at work: what its kernel's vocabulary asks of it."""

    def __init__(self, memory: Memory, index: int, threads: int) -> None:
        self.memory, self.index, self.threads = memory, index, threads
        self.thread = 0
        self.shared: dict[Any, Pointer] = {}

    def pointer(self, arrays: Sequence[int], k: int, dtype: interpreted.DType) -> Pointer:
        found = self.memory.find(int(arrays[k]))
        if found is None:  # an operand of no elements may lie anywhere
            return Pointer(np.empty(0, dtype.memory), 0, dtype)
        return _typed(*found, dtype)

    def share(self, name: Any, dtype: interpreted.DType, count: int) -> Pointer:
        if name not in self.shared:
            self.shared[name] = _poisoned(dtype, count)
        return self.shared[name]

    def run(self, kernel: Callable[..., Any], arguments: tuple[Any, Any], order: int) -> None:
        """Run all threads to their end."""
        places = list(range(self.threads))[::order]
        running: dict[int, Thread] = {}
        for place in places:
            self.thread = place
            started = kernel(*arguments)
            if started is not None:
                running[place] = started
        warps = range(0, self.threads, WARP)
        while running:
            waiting: set[int] = set()
            for first in warps[::order]:
                lanes = range(first, min(first + WARP, self.threads))
                waiting |= self._advance([p for p in lanes[::order] if p in running], running)
            if waiting and len(waiting) != self.threads:
                raise SimulationError(
                    f"{len(waiting)} of {self.threads} threads of block {self.index} are at a "
                    "barrier, the others have ended"
                )

    def _advance(self, lanes: Sequence[int], running: dict[int, Thread]) -> set[int]:
        """Run the lanes of a warp to their end or to a barrier; those that are at one."""
        waiting: set[int] = set()
        answers: dict[int, Any] = dict.fromkeys(lanes)
        while answers:
            asked: dict[int, Any] = {}
            for place, answer in answers.items():
                self.thread = place
                try:
                    stop = running[place].send(answer)
                except StopIteration:
                    del running[place]
                    continue
                if stop is None:
                    waiting.add(place)
                else:
                    asked[place] = stop
            answers = self._shuffled(asked) if asked else {}
        return waiting

    def _shuffled(self, asked: dict[int, Any]) -> dict[int, Any]:
        """What each lane of a warp is given."""
        warp = next(iter(asked)) // WARP
        lanes = range(warp * WARP, warp * WARP + WARP)
        kinds = {asked[p][0] if p in asked else None for p in lanes}
        if len(kinds) != 1:
            raise SimulationError(f"some lanes of warp {warp} miss a shuffle: {kinds}")
        answers = {}
        for place in asked:
            kind, _, by = asked[place]
            lane = place % WARP
            source = lane ^ int(by) if kind == "xor" else lane + int(by)
            answers[place] = asked[lanes[source if 0 <= source < WARP else lane]][1]
        return answers


def _poisoned(dtype: interpreted.DType, count: int) -> Pointer:
    size = count * dtype.memory.itemsize
    return Pointer(np.full(size, POISON, np.uint8).view(dtype.memory), 0, dtype)


class _Integer(interpreted.DType):
    """A cast that leaves Python's integers alone where they fit: these are indices."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.low, self.high = np.iinfo(name).min, np.iinfo(name).max

    def __call__(self, x: Any) -> Any:
        if type(x) is int and self.low <= x <= self.high:
            return x
        return super().__call__(x)


def _claim(p: Pointer, code: int) -> bool:
    first = not p[0]
    if first:
        p[0] = code
    return first


def _load4(p: Pointer, i: int) -> tuple[Any, ...]:
    _aligned(p, i)
    return tuple(p[i + k] for k in range(4))


def _store4(p: Pointer, i: int, *values: Any) -> None:
    _aligned(p, i)
    for k, value in enumerate(values):
        p[i + k] = value


def _aligned(p: Pointer, i: int) -> None:
    if (p.base + int(i)) % 4:
        raise SimulationError(f"an access to four elements at {int(i)} is not aligned to 16 bytes")


_INTEGERS = {
    name: _Integer(name) for name in (f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))
}
VOCABULARY: dict[str, Any] = {
    **interpreted.VOCABULARY,
    **_INTEGERS,
    "claim": _claim,
    "load4": _load4,
    "store4": _store4,
    "registers": _poisoned,
}


@cache
def _kernel(source: str) -> Callable[..., Any]:
    for pattern, replacement in _STOPS:
        source = pattern.sub(replacement, source)
    return execute(source, "simulated", VOCABULARY)  # type: ignore[no-any-return]


def run(
    source: str,
    blocks: int,
    threads: int,
    arrays: Sequence[int],
    sizes: Sequence[int],
    memory: Memory,
    order: int = 1,
) -> None:
    """Run a kernel's `blocks`, one after another, with the addresses `arrays` in `memory`.

    order: 1 or -1, the order of the threads and of the blocks. Raises SimulationError.
    """
    kernel = _kernel(source)
    names = kernel.__globals__
    plain = [int(size) for size in sizes]
    for index in range(blocks)[::order]:
        block = Block(memory, index, threads)
        names["thread"] = lambda block=block: block.thread
        names["block"] = lambda index=index: index
        names["shared"] = block.share
        for name in ("pointer", "pointer_in", "pointer_out"):
            names[name] = block.pointer
        with np.errstate(all="ignore"):
            block.run(kernel, (arrays, plain), order)


def simulate(
    source: str,
    blocks: int,
    arrays: Sequence[np.ndarray],
    sizes: Sequence[int],
    order: int = 1,
) -> None:
    """`run` on arrays of the host, of any strides, written in place: for tests of one kernel."""
    from symgraph.compile.cuda.signature import threads

    memory = Memory()
    for array in arrays:
        if array.size:
            spans = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
            low, high = sum(min(s, 0) for s in spans), sum(max(s, 0) for s in spans)
            memory.add(host_bytes(array.ctypes.data + low, high - low + array.itemsize))
    places = [int(array.ctypes.data) if array.size else 0 for array in arrays]
    run(source, blocks, threads(source), places, sizes, memory, order)


def host_bytes(address: int, count: int) -> np.ndarray:
    """`count` bytes of the host's memory, as an array that shares them."""
    block: Any = (ctypes.c_uint8 * count).from_address(address)
    return np.frombuffer(block, np.uint8)
