"""Which launches must wait for which: a graph of kernels may run those at once that share nothing.

Two launches depend on each other if one writes where the other reads or writes. Memory is told
apart by addresses, so temporaries that follow each other in one place keep their order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

MOST = 2000  # launches that are worth the search; more form a chain

Range = tuple[int, int]  # addresses, from and up to


@dataclass(frozen=True)
class Access:
    """What a launch touches. `notes` and `asks`: places where notes are left, in any order, and
    where someone looks for what was noted before."""

    reads: Sequence[Range]
    writes: Sequence[Range]
    notes: Sequence[Range] = ()
    asks: Sequence[Range] = ()


@dataclass
class _Cell:
    """A stretch of memory that ranges cover as a whole: who touched it last."""

    writer: int = -1
    readers: list[int] = field(default_factory=list)
    noters: list[int] = field(default_factory=list)


def dependencies(accesses: Sequence[Access]) -> list[list[int]]:
    """For each launch, in order, those before it that must have ended; none that others imply."""
    if len(accesses) > MOST:
        return [[k - 1] if k else [] for k in range(len(accesses))]
    every = [r for a in accesses for part in (a.reads, a.writes, a.notes, a.asks) for r in part]
    edges = sorted({edge for r in every for edge in r})
    cells = [_Cell() for _ in edges]

    def covered(ranges: Sequence[Range]) -> list[_Cell]:
        found: list[_Cell] = []
        for start, stop in ranges:
            found += cells[bisect_left(edges, start) : bisect_left(edges, stop)]
        return found

    before: list[int] = []  # all that each one waits for, as bits
    result: list[list[int]] = []
    for k, access in enumerate(accesses):
        wanted: set[int] = set()
        for cell in covered(access.reads):
            wanted |= {cell.writer, *cell.noters}
        for cell in covered(access.asks):
            wanted |= {cell.writer, *cell.noters}
        for cell in covered(access.notes):
            wanted |= {cell.writer, *cell.readers}
        for cell in covered(access.writes):
            wanted |= {cell.writer, *cell.readers, *cell.noters}
        for cell in (*covered(access.reads), *covered(access.asks)):
            cell.readers.append(k)
        for cell in covered(access.notes):
            cell.noters.append(k)
        for cell in covered(access.writes):
            cell.writer = k
            cell.readers.clear()
            cell.noters.clear()
        implied, needed = 0, []
        for other in sorted(wanted - {-1, k}, reverse=True):
            if not implied >> other & 1:
                needed.append(other)
                implied |= before[other] | 1 << other
        before.append(implied)
        result.append(needed)
    return result


def latest_first(dependencies: Sequence[Sequence[int]]) -> list[int]:
    """An order of all launches that keeps to their dependencies and is else as wrong as can be."""
    waiting = [len(needed) for needed in dependencies]
    after: list[list[int]] = [[] for _ in dependencies]
    for k, needed in enumerate(dependencies):
        for other in needed:
            after[other].append(k)
    free = [k for k, count in enumerate(waiting) if not count]
    order = []
    while free:
        free.sort()
        k = free.pop()
        order.append(k)
        for other in after[k]:
            waiting[other] -= 1
            if not waiting[other]:
                free.append(other)
    return order
