"""Memory for temporaries: one block, in which results whose lifetimes do not overlap share places.

Results are placed in order of time, each in the smallest gap that it fits: those that live long at
the lower end of it, those that die soon at the upper end, so that the former do not split what the
latter leave (a gap that begins the block is filled from its start). The block starts as large as
the largest set of results alive at once, which no arrangement can beat, and grows only if a result
fits nowhere. If it grew much, another meaning of "soon" may do better; and up to a thousand
results are also placed by size, largest first, each at the lowest offset that is free during its
whole life (Pisarchyk and Lee, 2020, "greedy by size"), which takes quadratic time. The smallest
block wins. Measured: 1.0 times the live set for networks, at most 1.2 times for random lifetimes.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ALIGN = 64  # bytes: a cache line, and the widest vector
GREEDY = 1000  # results up to which placing by size is affordable
SOON = (0.5, 0.25, 0.75, 0.9)  # how many of all results count as those that die soon: try each
NEAR = 1.02  # times the least possible: near enough to look no further
Lifetime = tuple[int, int]


class Arena:
    """A block that only ever grows."""

    def __init__(self) -> None:
        self.block = np.empty(0, np.uint8)
        self.start = 0

    def reserve(self, size: int) -> int:
        """The aligned address of at least `size` bytes. What was there is lost if it grows."""
        if size + ALIGN > self.block.nbytes:
            self.block = np.empty(0, np.uint8)  # let go of the old block first
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
    rounded = {item: -(-sizes[item] // ALIGN) * ALIGN for item in lifetimes if sizes[item]}
    spans = {item: lifetimes[item] for item in rounded}
    places, total = _best(spans, rounded)
    return {**dict.fromkeys(lifetimes, 0), **places}, total  # what has no bytes lies anywhere


def _best(
    lifetimes: Mapping[Any, Lifetime], sizes: Mapping[Any, int]
) -> tuple[dict[Any, int], int]:
    """As `arrange`, of items with multiples of ALIGN bytes."""
    least = largest_live_set(lifetimes, sizes)
    lengths = sorted([last - first for first, last in lifetimes.values()])
    order = sorted(lifetimes, key=lambda r: (lifetimes[r][0], -sizes[r]))
    found: list[tuple[dict[Any, int], int]] = [] if lengths else [({}, 0)]
    for part in SOON if lengths else ():
        soon = lengths[int(part * len(lengths))]
        found.append(_by_time(order, lifetimes, sizes, least, soon))
        if found[-1][1] <= NEAR * least:
            return found[-1]
    if len(lengths) <= GREEDY:
        found.append(_by_size(lifetimes, sizes))
    return min(found, key=lambda arrangement: arrangement[1])


def largest_live_set(lifetimes: Mapping[Any, Lifetime], sizes: Mapping[Any, int]) -> int:
    """The most bytes that are alive at one step."""
    change: dict[int, int] = {}
    for item, (first, last) in lifetimes.items():
        change[first] = change.get(first, 0) + sizes[item]
        change[last + 1] = change.get(last + 1, 0) - sizes[item]
    alive = most = 0
    for step in sorted(change):
        alive += change[step]
        most = max(most, alive)
    return most


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
        insort(placed, (offset, offset + size, first, last))
    return places, total


def _by_time(
    order: Sequence[Any],
    lifetimes: Mapping[Any, Lifetime],
    sizes: Mapping[Any, int],
    total: int,
    soon: int,
) -> tuple[dict[Any, int], int]:
    places: dict[Any, int] = {}
    gaps = [(0, total)]  # (start, end), in order, none touches the next
    alive: list[tuple[int, int, int]] = []  # (last step, start, end), a heap
    for item in order:
        first, last = lifetimes[item]
        size = sizes[item]
        while alive and alive[0][0] < first:
            _free(gaps, *heapq.heappop(alive)[1:])
        fitting = [(end - start, start, end) for start, end in gaps if end - start >= size]
        if not fitting:  # the last gap, or an empty one, has to grow
            start = gaps.pop()[0] if gaps and gaps[-1][1] == total else total
            total = start + size
            gaps.append((start, total))
            fitting = [(size, start, total)]
        _, start, end = min(fitting)
        is_high = last - first <= soon and (start > 0 or end == total)
        offset = end - size if is_high else start
        k = bisect_left(gaps, (start, end))
        left = [(start, offset), (offset + size, end)]
        gaps[k : k + 1] = [gap for gap in left if gap[0] < gap[1]]
        heapq.heappush(alive, (last, offset, offset + size))
        places[item] = offset
    return places, total


def _free(gaps: list[tuple[int, int]], start: int, end: int) -> None:
    """Add the gap start..end, and join it with those that it touches."""
    k = bisect_left(gaps, (start, end))
    stop = k
    if k < len(gaps) and gaps[k][0] == end:
        end, stop = gaps[k][1], k + 1
    if k and gaps[k - 1][1] == start:
        start, k = gaps[k - 1][0], k - 1
    gaps[k:stop] = [(start, end)]
