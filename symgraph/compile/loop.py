"""Loops: an inner graph planned as a table of steps that the driver walks round after round.

The outer program sees one step (`LoopStep`), whose kernel is compile/rounds.py: before each round
it points the inner program's bases at this round's rows and carries, then walks its steps, in
which long ones are shared among the threads as anywhere. Sizes are bound once for all rounds, so an
inner graph can run like this only if no size or offset in it changes from round to round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from math import prod
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from symgraph import expr as E
from symgraph.compile import driver, slots
from symgraph.compile.inner import Inner, source_of
from symgraph.compile.nest import Layout
from symgraph.compile.steps import ERRORS, WORKSPACE, Step
from symgraph.errors import ShapeError, explain
from symgraph.expr import Dim, Expr
from symgraph.graph import Apply, Variable
from symgraph.ops.rounds import Carried, Place, Row, Whole

ALIGN = 64
KEPT = 64  # sets of sizes whose tables are kept, of rounds too


class _Known(NamedTuple):
    """What host code asks of an array: its shape and, of integers, elements."""

    shape: tuple[int, ...]
    elements: tuple[tuple[int, int], ...]  # (place, value)

    @property
    def flat(self) -> dict[int, int]:
        return dict(self.elements)

    def __int__(self) -> int:
        return self.flat[0]


class LoopTables:
    """A loop bound to concrete sizes: the record that compile/rounds.py reads, and its lists."""

    def __init__(self) -> None:
        self.record = np.zeros(slots.RECORD, np.int64)
        self.lists: list[np.ndarray] = []
        self.native: driver.Program | None = None
        self.offsets: list[tuple[int, int]] = []  # of temporaries in the arena
        self.top = self.nbytes = 0  # of the arena: where the workspace begins, and the end
        # What is raised should it be run, each time with the arguments that it has now.
        self.refusal: tuple[Exception, tuple[Any, ...]] | None = None

    def take(self, bound: Any, workers: int) -> None:
        """What has been bound for a round."""
        self.native, self.offsets = bound.tables[0].native, bound.offsets
        self.top = -(-bound.arena // ALIGN) * ALIGN
        self.nbytes = self.top + bound.workspace * workers
        assert self.native is not None, "an inner graph without results"
        self.record[slots.INNER] = self.native.place
        self.record[slots.INNER_STEPS] = len(self.native.steps)

    def add(self, slot: int, rows: Sequence[tuple[int, ...]]) -> None:
        """Put a list into the record: its length at `slot`, then its address."""
        table = np.array([*rows, *([()] if not rows else [])], np.int64)
        self.lists.append(table)
        self.record[slot], self.record[slot + 1] = len(rows), table.ctypes.data

    def run_in(self, program: driver.Program) -> None:
        """Take threads from the program that this loop is a step of."""
        self.record[slots.OUTER] = program.place
        program.parallel |= self.native is not None and self.native.parallel


@dataclass(eq=False)
class LoopStep(Step):
    """The step that runs an inner program. `layouts` and `shapes` are those of the variables that
    the rounds name; `spare` has room for what each carry alternates with; `arena` is memory for
    the inner program's temporaries."""

    inner: Inner = None  # type: ignore[assignment]
    layouts: dict[Variable, Layout] = field(default_factory=dict)
    shapes: dict[Variable, tuple[Expr, ...]] = field(default_factory=dict)
    spare: dict[Variable, Variable] = field(default_factory=dict)
    arena: Variable = None  # type: ignore[assignment]
    binder: Any = None  # of the inner plan
    bind_round: Any = None  # its `bind`, which remembers
    latest: LoopTables | None = None  # what `bind` has just made
    # what has a `refusal`
    refused: WeakValueDictionary[int, Any] = field(default_factory=WeakValueDictionary)
    numbers: Iterator[int] = field(default_factory=count)  # of those
    flag: np.ndarray = field(default_factory=lambda: np.zeros(1, np.bool_))  # is it the last round?

    def use(self, binder: Any) -> None:
        """Bind the inner plan by `binder`, once for all numbers of rounds of the same sizes."""
        self.binder, self.bind_round = binder, lru_cache(maxsize=KEPT)(binder.bind)

    def written(self) -> list[Variable]:
        rounds = self.inner.rounds
        goals = [g.end if isinstance(g, Carried) else g.variable for g in rounds.goals]
        goals += [out for out, _ in rounds.starts] + ([rounds.done] if rounds.done else [])
        return [self.layouts[v].root for v in dict.fromkeys(goals)] + [
            *self.spare.values(),
            self.arena,
        ]

    def host(self) -> list[Expr]:
        exprs = [offset for _, offset in self.operands]
        exprs += [self.inner.rounds.times, *self.inner.reads.values()]
        for variable, layout in self.layouts.items():
            exprs += [*layout.strides, *self.shapes[variable]]
        return exprs

    def bind(self, value: Mapping[Expr, int]) -> tuple[list[int], int, int, int]:
        """As for any step; `latest` are the tables whose record the first size is the address of.

        Raises what the inner graph's checks find, ShapeError where a carry or a state changes its
        shape from round to round; of rounds that are perhaps not run this is noted instead.
        """
        rounds, number = self.inner.rounds, self.operand_numbers()
        shape = {v: tuple([value[e] for e in s]) for v, s in self.shapes.items()}
        self.latest = tables = LoopTables()
        record = tables.record
        record[slots.TIMES] = max(value[rounds.times], 0)
        record[slots.DONE] = number[rounds.done] if rounds.done is not None else -1
        record[slots.NOTES] = len(self.operands) - 1
        record[slots.WHEN] = -1
        if rounds.when is not None:
            record[slots.WHEN], record[slots.WANTED] = number[rounds.when[0]], rounds.when[1]
        if record[slots.TIMES]:  # of no rounds nothing is asked, as of the branch that is not taken
            try:
                bound = self.bind_inner(value, shape)
            except Exception as error:
                if rounds.when is None:
                    raise
                tables.refusal = error.with_traceback(None), error.args
                number_of = next(self.numbers)
                self.refused[number_of] = tables
                record[slots.TIMES] = -1 - number_of
                return [record.ctypes.data], 1, 1, 0
            tables.take(bound, self.binder.workers)
            if rounds.until:
                record[slots.UNTIL] = self.flag.ctypes.data
                self.binder.bases[self.binder.base[self.inner.slots[-1]]] = record[slots.UNTIL]
        self._fill(tables, value, shape)
        return [record.ctypes.data], 1, 1, 0

    def bind_inner(
        self, value: Mapping[Expr, int], shape: Mapping[Variable, tuple[int, ...]]
    ) -> Any:
        """The inner program, bound to the sizes of one round."""
        rounds = self.inner.rounds
        numbers: dict[Variable, list[tuple[int, int]]] = {}
        for leaf, expr in self.inner.reads.items():
            if type(leaf) is not Dim:
                numbers.setdefault(leaf.head[0], []).append((leaf.head[1], value[expr]))
        places = zip(rounds.inner.inputs, rounds.feeds, strict=True)
        bound = self.bind_round(
            tuple(_Known(_row_shape(at, shape), tuple(numbers.get(v, ()))) for v, at in places)
        )
        for slot, goal in zip(self.inner.slots, rounds.goals, strict=False):
            if bound.shapes[slot] != _row_shape(goal, shape):
                raise self._changed(goal, bound.shapes[slot], _row_shape(goal, shape))
        return bound

    def operand_numbers(self) -> dict[Variable, int]:
        """Which operand each variable is."""
        every = [*self.layouts, *self.spare.values(), self.arena]
        return {variable: k for k, variable in enumerate(every)}

    def _fill(
        self,
        tables: LoopTables,
        value: Mapping[Expr, int],
        shape: Mapping[Variable, tuple[int, ...]],
    ) -> None:
        rounds, base = self.inner.rounds, self.binder.base
        number = self.operand_numbers()
        size = {v: np.dtype(v.type.dtype).itemsize for v in self.layouts}
        arena = number[self.arena]
        fixed = [(b, arena, offset) for b, offset in tables.offsets]
        fixed.append((base[WORKSPACE], arena, tables.top))
        moving, copies, ends, rest = [], [], [], []
        places = [*zip(rounds.inner.inputs, rounds.feeds, strict=True)]
        goals = [*zip(self.inner.slots, rounds.goals, strict=False)]
        for at, (variable, place) in enumerate([*places, *goals]):
            if isinstance(place, Whole):
                fixed.append((base[variable], number[place.variable], 0))
            elif isinstance(place, Row):
                stride = self.row_bytes(place, value, shape)
                operand = number[place.variable]
                offset = place.offset * stride
                moving.append((base[variable], operand, operand, offset, stride))
                if at >= len(places) and rounds.until:
                    rest.append((operand, offset, stride))
            else:
                pair = [number[place.end], number[self.spare[place.end]]]
                if at >= len(places):  # what is read in this round must stay whole
                    pair.reverse()
                moving.append((base[variable], *pair, 0, 0))
        for place in rounds.goals:
            if isinstance(place, Carried):
                nbytes = prod(shape[place.start]) * size[place.start]
                copies.append((number[place.end], number[place.start], nbytes))
                ends.append((number[place.end], number[self.spare[place.end]], nbytes))
        for output, start in rounds.starts:
            nbytes = prod(shape[start]) * size[start]
            copies.append((number[output], number[start], nbytes))
        tables.add(slots.FIXED, fixed)
        tables.add(slots.COPIES, copies)
        tables.add(slots.MOVING, moving)
        tables.add(slots.ENDS, ends)
        tables.add(slots.REST, rest)

    def row_bytes(
        self, place: Row, value: Mapping[Expr, int], shape: Mapping[Variable, tuple[int, ...]]
    ) -> int:
        """How many bytes the row of a round is from that of the round before."""
        rows, *row = shape[place.variable]
        # the stride of a single row may say 0
        count = prod(row) if rows == 1 else value[self.layouts[place.variable].strides[0]]
        return int(count * np.dtype(place.variable.type.dtype).itemsize)

    def _changed(self, goal: Place, got: tuple[int, ...], want: tuple[int, ...]) -> ShapeError:
        (node,) = self.nodes
        return ShapeError(
            explain(node.op, f"a round makes a value of shape {got} where the round before and the "
                    f"result have {want}", where=node.trace, got=str(got), expected=str(want),
                    cure="give the initial value the shape that each step returns")
        )  # fmt: skip


def _row_shape(place: Place, shape: Mapping[Variable, tuple[int, ...]]) -> tuple[int, ...]:
    whole = shape[source_of(place)]
    return whole[1:] if isinstance(place, Row) else whole


def loop_step(
    node: Apply,
    inner: Inner,
    layouts: Mapping[Variable, Layout],
    shapes: Mapping[Variable, Sequence[Expr]],
    spare: Mapping[Variable, Variable],
    arena: Variable,
    kind: type[LoopStep] = LoopStep,
    others: Sequence[tuple[Variable | str, Expr]] = ((ERRORS, E.ZERO),),
) -> LoopStep:
    """The step for a planned inner graph. `layouts` and `shapes`: of `variables_of` the rounds;
    `others`: the last operands."""
    sources = [step.source for step in inner.plan.native_steps()]
    operands: list[tuple[Variable | str, Expr]] = [
        *((at.root, at.offset) for at in layouts.values()),
        *((variable, E.ZERO) for variable in (*spare.values(), arena)),
        *others,
    ]
    return kind(
        source="\n".join([f"# {len(sources)} steps, again and again", *sources]),
        operands=operands,
        sizes=[],
        nodes=[node],
        inner=inner,
        layouts=dict(layouts),
        shapes={v: tuple(s) for v, s in shapes.items()},
        spare=dict(spare),
        arena=arena,
    )
