"""Loops on the device: the rounds of an inner graph, written out as launches.

The inner graph is planned and bound like any other, once for all rounds. Each launch of a round is
one of the outer program, with operands among the outer program's: this round's rows of sequences
and histories, the carries of the round before. So a loop costs what its launches cost, and is part
of the one graph. An inner graph may stand under a condition (`Rounds.when`): its kernels look at
it, and the host need not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.compile.cuda.calls import ROW, Call, conditional, copy_call, refusing_call
from symgraph.compile.inner import Inner
from symgraph.compile.loop import LoopStep
from symgraph.compile.slots import REFUSED
from symgraph.compile.steps import ERRORS
from symgraph.expr import Expr
from symgraph.graph import Constant, Variable
from symgraph.ops.rounds import Carried, Rounds, Row, Whole


def unrolls(rounds: Rounds) -> bool:
    """Whether the number of rounds is known when they begin."""
    return not rounds.until


def others_of(inner: Inner) -> list[tuple[Variable | str, Expr]]:
    """What the launches of the rounds need besides what the rounds name."""
    steps = inner.plan.native_steps()
    roots = dict.fromkeys(root for step in steps for root in step.touched())
    found: list[tuple[Variable | str, Expr]] = [
        (root, E.ZERO) for root in roots if isinstance(root, Constant)
    ]
    if inner.rounds.when is not None or any(step.is_fallible for step in steps):
        found.append((ERRORS, E.ZERO))
    return found


@dataclass(eq=False)
class DeviceLoop(LoopStep):
    """The step that stands for all launches of the rounds; operands as a LoopStep's, then
    `others_of` the inner graph."""

    def variants(self) -> list[str]:
        return [source for step in self.inner.plan.native_steps() for source in step.variants()]

    def turns(self, value: Mapping[Expr, int], rows: np.ndarray, position: int) -> Turns:
        """The loop for concrete sizes. `rows` are its own operands', as in a Call; `position` is
        its place in the plan. Raises what `LoopStep.bind` does."""
        return Turns(self, value, rows, position)


class Turns:
    """The launches of a loop, in order, made as they are asked for. `count` says how many there
    are, `nbytes` how much memory the temporaries of a round take; `condition`, the row of a bool
    scalar, and the value without which none of them does anything."""

    def __init__(
        self, loop: DeviceLoop, value: Mapping[Expr, int], rows: np.ndarray, position: int
    ) -> None:
        self.rounds, self.rows, self.position = loop.inner.rounds, rows, position
        self.shape = {v: tuple([value[e] for e in s]) for v, s in loop.shapes.items()}
        self.number = loop.operand_numbers()
        self.times = max(value[self.rounds.times], 0)
        when = self.rounds.when
        self.condition = None if when is None else (rows[self.number[when[0]]], when[1])
        self.work: Sequence[Call | Turns] = ()
        self.nbytes = 0
        self.refusal: tuple[Exception, tuple[Any, ...]] | None = None
        if self.times:  # of no rounds nothing is asked, as of the branch that is not taken
            try:
                bound = loop.bind_inner(value, self.shape)
            except Exception as error:
                if self.rounds.when is None:
                    raise
                self.refusal = error.with_traceback(None), error.args
                key = next(loop.numbers)
                loop.refused[key] = self
                self.before = [refusing_call(rows[-1], REFUSED, key, (position,))]
            else:
                self.work, self.nbytes = bound.tables[0], bound.arena
                self._place(loop, value, bound.offsets)
        if self.refusal is None:
            self.before = list(self._copies())
        within = [item for item in self.work if isinstance(item, Turns)]
        inner = len(self.work) - len(within) + sum(turns.count for turns in within)
        self.count: int = len(self.before) + self.times * inner
        self.refuses: bool = self.refusal is not None or any(turns.refuses for turns in within)

    def _place(
        self, loop: DeviceLoop, value: Mapping[Expr, int], offsets: Sequence[tuple[int, int]]
    ) -> None:
        """Say where each base of the inner program lies: in the first round, and how much further
        in each one after it; carries aside."""
        base = loop.binder.base
        self.first = np.zeros((len(base), ROW), np.int64)
        self.stride = np.zeros(len(base), np.int64)
        self.carries: list[tuple[int, Carried, bool]] = []  # base, what, whether it is written
        for b, offset in offsets:
            self._put(b, loop.arena, offset)
        for k, (root, _) in enumerate(loop.operands):
            if root == ERRORS or (isinstance(root, Constant) and root in base):
                self.first[base[root]] = self.rows[k]
        feeds = zip(self.rounds.inner.inputs, self.rounds.feeds, strict=True)
        goals = zip(loop.inner.slots, self.rounds.goals, strict=True)
        for is_goal, pairs in ((False, feeds), (True, goals)):
            for variable, place in pairs:
                b = base[variable]
                if isinstance(place, Whole):
                    self._put(b, place.variable)
                elif isinstance(place, Row):
                    stride = loop.row_bytes(place, value, self.shape)
                    self._put(b, place.variable, place.offset * stride)
                    self.stride[b] = stride
                else:
                    self.carries.append((b, place, is_goal))
        self.spare = {end: self.number[spare] for end, spare in loop.spare.items()}

    def _put(self, base: int, variable: Variable, offset: int = 0) -> None:
        self.first[base] = self.rows[self.number[variable]]
        self.first[base, 1] += offset

    def _copies(self) -> Iterator[Call]:
        """The first rows of histories; where there is no round, what carries end with."""
        pairs = [*self.rounds.starts]
        if not self.times:
            carried = (goal for goal in self.rounds.goals if isinstance(goal, Carried))
            pairs += [(goal.end, goal.start) for goal in carried]
        for target, source in pairs:
            count, size = prod(self.shape[source]), np.dtype(source.type.dtype).itemsize
            if count:
                to, of = (self.rows[self.number[v]] for v in (target, source))
                yield copy_call(to, of, count, size, (self.position,))

    def __iter__(self) -> Iterator[Call]:
        if self.condition is None:
            yield from self._calls()
        else:
            yield from (conditional(call, *self.condition) for call in self._calls())

    def _calls(self) -> Iterator[Call]:
        yield from self.before
        for t in range(self.times) if self.work else ():
            places = self._places(t)
            for item in self.work:
                for call in (item,) if isinstance(item, Call) else item:
                    rows = places[call.rows[:, 0]]
                    rows[:, 1] += call.rows[:, 1]
                    yield call._replace(rows=rows, site=(self.position, t, *call.site))

    def _places(self, t: int) -> np.ndarray:
        """Where each base of the inner program lies in round t. Carries alternate between two
        places, so that the last round writes to the result."""
        places = self.first.copy()
        places[:, 1] += t * self.stride
        for b, carried, is_written in self.carries:
            later = self.times - t - is_written  # rounds after the one that makes the value
            if not is_written and t == 0:
                operand = self.number[carried.start]
            else:
                operand = self.spare[carried.end] if later % 2 else self.number[carried.end]
            places[b] = self.rows[operand]
        return places
