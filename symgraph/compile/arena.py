"""Memory for temporaries: one block, in which results whose lifetimes do not overlap share places.

Up to a thousand results are placed greedily by size, largest first, each at the lowest offset that
is free during its whole life (Pisarchyk and Lee, 2020, "greedy by size"). That takes quadratic
time, so beyond, places are handed on in order of time, to the next result that fills at least half.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Any

import numpy as np

ALIGN = 64  # bytes: a cache line, and the widest vector
GREEDY = 1000  # results up to which placing by size is affordable
Lifetime = tuple[int, int]


class Arena:
    """A block that only ever grows."""

    def __init__(self) -> None:
        self.block = np.empty(0, np.uint8)
        self.start = 0

    def reserve(self, size: int) -> int:
        """The aligned address of at least `size` bytes. What was there is lost if it grows."""
        if size + ALIGN > self.block.nbytes:
            self.block = np.empty(size + ALIGN, np.uint8)
            address = self.block.ctypes.data
            self.start = address + -address % ALIGN
        return self.start


def arrange(
    lifetimes: Mapping[Any, Lifetime], sizes: Mapping[Any, int]
) -> tuple[dict[Any, int], int]:
    """Offsets such that no two items that are alive at the same step overlap; and the total size.

    `lifetimes` are inclusive ranges of steps, `sizes` bytes.
    """
    rounded = {item: -(-sizes[item] // ALIGN) * ALIGN for item in lifetimes}
    return (_by_size if len(rounded) <= GREEDY else _by_time)(lifetimes, rounded)


def _by_size(
    lifetimes: Mapping[Any, Lifetime], sizes: Mapping[Any, int]
) -> tuple[dict[Any, int], int]:
    places: dict[Any, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    order = sorted(lifetimes, key=lambda r: (-sizes[r], lifetimes[r]))
    for item in order:
        first, last = lifetimes[item]
        size = sizes[item]
        offset = 0
        for start, end, born, died in placed:
            if born > last or died < first:
                continue
            if start >= offset + size:
                break
            offset = max(offset, end)
        places[item] = offset
        total = max(total, offset + size)
        if size:
            insort(placed, (offset, offset + size, first, last))
    return places, total


def _by_time(
    lifetimes: Mapping[Any, Lifetime], sizes: Mapping[Any, int]
) -> tuple[dict[Any, int], int]:
    places: dict[Any, int] = {}
    free: list[tuple[int, int]] = []  # (size, offset), sorted
    alive: list[tuple[int, int, int]] = []  # (last step, size, offset), a heap
    total = 0
    for item in sorted(lifetimes, key=lambda r: lifetimes[r]):
        first, last = lifetimes[item]
        while alive and alive[0][0] < first:
            _, size, offset = heapq.heappop(alive)
            insort(free, (size, offset))
        size = sizes[item]
        k = bisect_left(free, (size, -1))
        if k < len(free) and free[k][0] <= 2 * size:
            size, offset = free.pop(k)
        else:
            offset, total = total, total + size
        places[item] = offset
        if size:
            heapq.heappush(alive, (last, size, offset))
    return places, total
