"""Memory for temporaries: one block, in which results whose lifetimes do not overlap share places.

The placing is greedy by size, largest first, each at the lowest offset that is free during its
whole life (Pisarchyk and Lee, 2020, "greedy by size").
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from typing import Any

import numpy as np

ALIGN = 64  # bytes: a cache line, and the widest vector
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
    places: dict[Any, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    order = sorted(lifetimes, key=lambda r: (-sizes[r], lifetimes[r]))
    for item in order:
        first, last = lifetimes[item]
        size = -(-sizes[item] // ALIGN) * ALIGN
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
