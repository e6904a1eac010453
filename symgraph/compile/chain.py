"""Chains: neighbouring steps that run chunk by chunk: what one leaves in cache, the next reads.

A convolution, the pooling of its result and the tanh of that need not each walk through all images:
sixteen images go through all three, then the next sixteen. `Rows` says how the items of a step
follow the leading axis of an array; steps whose items follow the same axis of the arrays that pass
between them can form a chain. Which steps may is decided once (`arrange`), with their order; chunks
are cut when sizes are known (`cut`), by the problem alone, never by the number of threads.
See docs/decisions/005.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd, lcm
from typing import NamedTuple, Protocol

from symgraph import expr as E
from symgraph.compile.nest import LoopNest
from symgraph.expr import Expr, Index
from symgraph.graph import Variable

LONGEST = 12  # steps in a chain: all that they make is in memory at the same time
REACH = 24  # steps that may be passed over to find the next member
CHUNKS = 8  # with fewer the steps run one after the other: each may have more
MOST = 64  # chunks of a chain; more would not balance better


class Slices(NamedTuple):
    """Concrete: an axis of `length` entries, every `entries` of which are dealt with by `items`
    consecutive items of the step, and by no others."""

    entries: int
    items: int
    length: int


class Rows(Protocol):
    """How the items of a step follow the leading axis of arrays that it touches."""

    @property
    def roots(self) -> frozenset[Variable]:
        """The arrays that are followed."""

    def host(self) -> list[Expr]:
        """What must be known to tell."""

    def slices(
        self, value: Mapping[Expr, int], shared: Mapping[Variable, int], extent: int
    ) -> Slices | None:
        """For these sizes: None if items touch more of an array in `shared` (array -> its number
        of elements) than their own part. `extent`: items of the step."""


@dataclass(frozen=True)
class LoopRows:
    """Of printed loops: the outermost one, and how far it moves each array's addresses.

    `accesses`: (array, elements from one turn to the next, (elements, extent) of the loops inside).
    """

    roots: frozenset[Variable]
    extent: Expr
    accesses: tuple[tuple[Variable, Expr, tuple[tuple[Expr, Expr], ...]], ...]

    def host(self) -> list[Expr]:
        found = [self.extent]
        for _, step, inner in self.accesses:
            found += [step, *(e for pair in inner for e in pair)]
        return found

    def slices(
        self, value: Mapping[Expr, int], shared: Mapping[Variable, int], extent: int
    ) -> Slices | None:
        length = value[self.extent]
        if length < 1 or extent % length:
            return None
        for root, step, inner in self.accesses:
            if root not in shared:
                continue
            turns = [(value[by], value[count] - 1) for by, count in inner]
            reach = sum(by * count for by, count in turns)
            whole = value[step] * length == shared[root]
            if not whole or reach >= value[step] or any(by < 0 or n < 0 for by, n in turns):
                return None
        return Slices(1, extent // length, length)


def loop_rows(nest: LoopNest) -> LoopRows | None:
    """The rows of printed loops whose items run over one or more of them, the outermost first."""
    if not nest.loops or nest.ordered or nest.is_fallible:
        return None
    outer = nest.loops[0]
    touched: dict[Variable, list[tuple[Expr, Expr]]] = {}
    for operand, address, _ in nest.stores:
        touched.setdefault(operand.root, []).append((operand.offset, address))
    for load in E.walk([e for _, address, value in nest.stores for e in (address, value)]):
        if type(load) is E.Load:
            touched.setdefault(load.head.root, []).append((load.head.offset, load.args[0]))
    accesses, followed = [], set()
    for root, places in touched.items():
        found = [_access(root, address, outer) for offset, address in places if offset is E.ZERO]
        if len(found) == len(places) and None not in found:
            accesses += [access for access in dict.fromkeys(found) if access is not None]
            followed.add(root)
    if not followed or not outer.extent.is_host:
        return None
    return LoopRows(frozenset(followed), outer.extent, tuple(accesses))


def _access(
    root: Variable, address: Expr, outer: Index
) -> tuple[Variable, Expr, tuple[tuple[Expr, Expr], ...]] | None:
    terms, rest = E.linear(address)
    if rest is not E.ZERO or outer not in terms:
        return None
    inner = [(by, i.extent) for i, by in terms.items() if i is not outer]
    if not all(e.is_host for pair in inner for e in pair) or not terms[outer].is_host:
        return None
    return root, terms[outer], tuple(inner)


class Link(Protocol):
    """What is asked of a step."""

    rows: Rows | None

    @property
    def is_fallible(self) -> bool: ...

    @property
    def overwrites(self) -> tuple[Variable, ...]:
        """Shared variables that it changes: nothing that can fail may come later."""

    def touched(self) -> list[Variable]: ...

    def written(self) -> list[Variable]: ...


# ---- which steps, in which order -----------------------------------------------------------------


class _Chain:
    """Steps of a chain in the making, and what they touch."""

    def __init__(self, first: Link) -> None:
        self.steps = [first]
        self.touched: dict[Variable, bool] = {}  # -> followed by every member that touches it
        self.written: set[Variable] = set()
        self._note(first)

    def _note(self, step: Link) -> None:
        roots = step.rows.roots if step.rows is not None else frozenset()
        for root in step.touched():
            self.touched[root] = self.touched.get(root, True) and root in roots
        self.written.update(step.written())

    def admits(self, step: Link) -> bool:
        """Whether `step` may run right after each chunk of the members: it shares an array with
        them, and every array that one side writes is followed by both."""
        rows = step.rows
        if rows is None or len(self.steps) == LONGEST:
            return False
        own, common = set(step.written()), False
        for root in step.touched():
            if root in self.touched:
                both = self.touched[root] and root in rows.roots
                if not both and (root in self.written or root in own):
                    return False
                common = common or both
        return common

    def add(self, step: Link) -> None:
        self.steps.append(step)
        self._note(step)


def arrange(steps: Sequence[Link]) -> tuple[list[Link], list[tuple[int, int]]]:
    """An order of `steps` in which chains are neighbours, and the (first, last + 1) of each chain.

    What a member needs comes before the chain, everything else that stood between stays behind it.
    """
    waiting = deque(steps)
    order: list[Link] = []
    chains = []
    while waiting:
        chain = _Chain(waiting.popleft())
        before, behind = _extend(chain, waiting) if chain.steps[0].rows is not None else ([], [])
        order += before
        if len(chain.steps) > 1:
            chains.append((len(order), len(order) + len(chain.steps)))
        order += chain.steps
        waiting.extendleft(reversed(behind))
    return order, chains


class _Touched:
    """What some steps touch and write."""

    def __init__(self) -> None:
        self.touched: set[Variable] = set()
        self.written: set[Variable] = set()
        self.can_fail = self.overwrites = False

    def add(self, step: Link) -> None:
        self.touched.update(step.touched())
        self.written.update(step.written())
        self.can_fail = self.can_fail or step.is_fallible
        self.overwrites = self.overwrites or bool(step.overwrites)

    def is_independent_of(self, step: Link) -> bool:
        """Whether `step` and they may change places."""
        if (self.can_fail and step.overwrites) or (self.overwrites and step.is_fallible):
            return False
        return self.written.isdisjoint(step.touched()) and self.touched.isdisjoint(step.written())


def _extend(chain: _Chain, waiting: deque[Link]) -> tuple[list[Link], list[Link]]:
    """Move members from `waiting` to `chain`, and what members need to the first list; what else
    was passed over on the way to the last member is the second."""
    members, late = _Touched(), _Touched()
    members.add(chain.steps[0])
    passed: list[tuple[Link, bool]] = []  # up to the last member; whether it must stay behind
    recent: list[tuple[Link, bool]] = []  # since then
    while waiting and len(passed) + len(recent) < REACH:
        step = waiting.popleft()
        may_move = late.is_independent_of(step)
        if may_move and chain.admits(step):
            chain.add(step)
            members.add(step)
            passed += recent
            recent = []
            continue
        stays = not (may_move and members.is_independent_of(step))
        recent.append((step, stays))
        if stays:
            late.add(step)
    waiting.extendleft(step for step, _ in reversed(recent))
    before: list[Link] = []
    behind: list[Link] = []
    for step, stays in reversed(passed):
        # what no member needs stays behind too: it need not live through the chain
        if stays or members.is_independent_of(step):
            behind.append(step)
        else:
            before.append(step)
            members.add(step)
    return before[::-1], behind[::-1]


# ---- chunks for concrete sizes -------------------------------------------------------------------


class Cut(NamedTuple):
    """A chain for concrete sizes: items of a chunk for each of its members, by number (those
    between have nothing to do), and what part of the rows a chunk is: `chunk` of `units`."""

    items: dict[int, int]
    chunk: int
    units: int


def cut(
    members: Sequence[Link],
    value: Mapping[Expr, int],
    shared: Mapping[Variable, int],
    alone: Sequence[tuple[int, int]],
) -> list[Cut]:
    """Chunks over the same rows for runs of members, each as long as these sizes allow.

    `shared`: how many elements the arrays have that are passed on between members with something
    to do; `alone`: (extent, grain) of each member for itself.
    """
    working = [k for k, (extent, _) in enumerate(alone) if extent > 0]
    if all(extent <= (CHUNKS - 1) * grain for extent, grain in alone):
        return []  # even the smallest chunks are too few
    found: dict[int, Slices | None] = {}
    for k in working:
        rows = members[k].rows
        part = rows.slices(value, shared, alone[k][0]) if rows is not None else None
        found[k] = part if part is not None and part.entries and part.length else None
    cuts: list[Cut] = []
    while working:
        best, last = None, 0
        while last < len(working) and found[working[last]] is not None:
            last += 1
            if last > 1:
                run = working[:last]
                longer = _cut(run, [found[k] for k in run], [alone[k] for k in run])  # type: ignore[misc]
                if longer is None:
                    break
                best = longer
        if best is not None:
            cuts.append(best)
        del working[: len(best.items) if best is not None else 1]
    return cuts


def _cut(
    run: Sequence[int], slices: Sequence[Slices], alone: Sequence[tuple[int, int]]
) -> Cut | None:
    units = gcd(*[s.length for s in slices])  # of the axis that all have in common
    if units < CHUNKS:
        return None
    multiple = lcm(*[s.entries // gcd(s.entries, s.length // units) for s in slices])
    least = min([
        grain * s.entries * units // (s.items * s.length)
        for s, (_, grain) in zip(slices, alone, strict=True)
    ])  # fmt: skip
    chunk = -(-max(least, -(-units // MOST), 1) // multiple) * multiple
    chunks = -(-units // chunk)
    if chunks < CHUNKS:
        return None
    items = {}
    for k, s, (extent, _) in zip(run, slices, alone, strict=True):
        items[k] = n = chunk * s.length // units // s.entries * s.items
        if -(-extent // n) != chunks:
            return None
    return Cut(items, chunk, units)


def passed_on(members: Sequence[Link]) -> set[Variable]:
    """The arrays that a member writes and another touches."""
    seen: set[Variable] = set()
    again: set[Variable] = set()
    for step in members:
        touched = set(step.touched())
        again |= touched & seen
        seen |= touched
    return again.intersection(root for step in members for root in step.written())
