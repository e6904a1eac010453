"""Binding: from a plan and the sizes of one call to the tables that the driver walks.

The host code of each segment computes every number that its steps need; what it depends on decides
which earlier tables fit. Offsets that only integers move, such as a minibatch's place in a data
set, are kept apart: when nothing else differs, the tables of the call before are used, with these
few numbers changed.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from symgraph.compile import cache, chain, driver
from symgraph.compile.arena import Lifetime, arrange
from symgraph.compile.host import compile_host, decided, leaves
from symgraph.compile.loop import LoopStep, LoopTables
from symgraph.compile.plan import Plan
from symgraph.compile.steps import ERRORS, WORKSPACE, PythonStep, Scratch, Step
from symgraph.expr import Check, Const, Expr
from symgraph.graph import Constant, Variable

HEAD = object.__basicsize__  # bytes before the fields of an object's own type


class Tables:
    """One segment, bound to concrete sizes."""

    def __init__(self, steps: list[Any], operands: np.ndarray, sizes: list[int]) -> None:
        self.steps = np.array(steps, np.int64).reshape(-1, 7)
        self.operands = operands
        self.sizes = np.array(sizes or [0], np.int64)
        self.native: driver.Program | None = None
        self.loops: list[LoopTables] = []  # kept alive: sizes hold their addresses


class Bound:
    """Everything that follows from one set of sizes."""

    def __init__(self) -> None:
        self.tables: list[Tables] = []
        self.shapes: dict[Variable, tuple[int, ...]] = {}  # of slots, temporaries and scratch
        self.memory: dict[Variable, int] = {}  # bytes, where the shape does not tell
        self.offsets: list[tuple[int, int]] = []  # (base, offset in the arena)
        self.arena = 0
        self.workspace = 0  # bytes per worker
        # operands at moving offsets: (where, place in it, number of the offset, bytes per element)
        self.moving: list[tuple[memoryview, int, int, int]] = []
        self.key: Any = None  # what the latest call with these sizes was recognised by
        self.outputs: list[tuple[int, ...]] = []  # the shapes of results
        self.fresh: list[tuple[int, Variable]] = []  # (update's number, slot) that need new memory
        self.run: Any = None  # the only table's driver


class Binder:
    """What is known of a plan before any size is: bases, lifetimes, host code, checks.

    `base` numbers the memory that operands lie in, `bases` holds the addresses; `sources` numbers
    the arrays that host code reads sizes from.
    """

    def __init__(
        self, plan: Plan, inputs: Sequence[Variable], shared: Sequence[Variable], target: str
    ) -> None:
        self.plan, self.inputs, self.target = plan, list(inputs), target
        self.build()
        self.passed_on = functools.cache(chain.passed_on)
        self.sources = {v: k for k, v in enumerate([*inputs, *shared, *plan.late])}
        self._number_bases(shared)
        self._find_lifetimes()
        self._prepare_host()

    def build(self) -> None:
        """Have the kernels of all steps at hand."""
        plan, target = self.plan, self.target
        sources = plan.sources()
        built = cache.build_all(sources, target, before=driver.prepare)
        kernel_of = dict(zip(sources, built, strict=True))
        self.kernels = [
            kernel_of.get(s.source) if isinstance(s, Step) else None for s in plan.steps
        ]
        for step in plan.steps:
            if isinstance(step, LoopStep):
                step.use(Binder(step.inner.plan, step.inner.rounds.inner.inputs, [], target))
        self.workers = driver.workers()

    def _number_bases(self, shared: Sequence[Variable]) -> None:
        plan = self.plan
        roots: list[Any] = [ERRORS, WORKSPACE, *self.inputs, *shared]
        roots += [*plan.slots, *plan.temporaries, *plan.scratch, *plan.unsized]
        roots += [r for s in plan.steps for r in s.touched() if isinstance(r, Constant)]
        self.base: dict[Any, int] = {}
        for root in roots:
            self.base.setdefault(root, len(self.base))
        self.bases = np.zeros(len(self.base), np.int64)
        self.errors = np.zeros(4, np.int64)
        self.bases[self.base[ERRORS]] = self.errors.ctypes.data
        self.constants = []  # kept alive: bases point into them
        for root, number in self.base.items():
            if isinstance(root, Constant):
                self.constants.append(np.ascontiguousarray(root.data))
                self.bases[number] = address(self.constants[-1])

    def _find_lifetimes(self) -> None:
        """First and last step that touches each temporary; the segment that makes each root."""
        plan = self.plan
        self.lifetimes: dict[Variable, Lifetime] = {}
        self.touching: dict[Variable, Lifetime] = {}  # likewise, chain or not
        spans = {k: (first, last - 1) for first, last in plan.chains for k in range(first, last)}
        for position, step in enumerate(plan.steps):
            start, stop = spans.get(position, (position, position))  # a chain is one moment
            for root in step.touched():
                if root in plan.temporaries or root in plan.scratch:
                    self.lifetimes[root] = (self.lifetimes.get(root, (start, stop))[0], stop)
                    first = self.touching.get(root, (position, position))[0]
                    self.touching[root] = (first, position)
        self.made_in: dict[Variable, int] = {}
        for segment, (first, last) in enumerate(plan.segments):
            for step in plan.steps[first:last]:
                for root in step.written():
                    self.made_in.setdefault(root, segment)
        for root in plan.slots:  # an update of no elements has no step
            self.made_in.setdefault(root, 0)

    # -- host code --------------------------------------------------------------------------------

    def _prepare_host(self) -> None:
        """The host code of each segment, and the checks that it can make."""
        plan = self.plan
        self.checks = self._place_checks()
        self.exprs: list[list[Expr]] = []
        every: dict[Expr, None] = {}
        for segment, (first, last) in enumerate(plan.segments):
            wanted: dict[Expr, None] = {}
            for step in plan.steps[first:last]:
                wanted.update(dict.fromkeys(step.host()))
            for root in self.made(segment):
                wanted.update(dict.fromkeys(plan.size_exprs(root)))
            for check in self.checks[segment]:
                wanted.update(dict.fromkeys([check.holds, *check.facts]))
            self.exprs.append(list(wanted))
            every.update(wanted)
        self.hosts = [compile_host(exprs, self.sources) for exprs in self.exprs]
        self.operands = [self._operands(first, last) for first, last in plan.segments]
        self.allocated = [self._allocated(k) for k in range(len(plan.segments))]
        self.layouts_of = {
            step: compile_host(step.host(), self.sources)
            for step in plan.steps
            if isinstance(step, PythonStep)
        }
        self._find_moving([] if plan.late else every)

    def _operands(self, first: int, last: int) -> tuple[np.ndarray, list[tuple[int, Expr, int]]]:
        """The operands of these steps, (base, byte offset, share), and which offsets sizes decide:
        (row, offset in elements, bytes per element)."""
        rows: list[tuple[int, int, int]] = []
        varying: list[tuple[int, Expr, int]] = []
        for step in self.plan.steps[first:last]:
            for root, offset in step.operands if isinstance(step, Step) else ():
                size = 1 if isinstance(root, str) else itemsize(root)
                if type(offset) is not Const:
                    varying.append((len(rows), offset, size))
                known = offset.value * size if type(offset) is Const else 0
                rows.append((self.base[root], known, 0))
        return np.array(rows, np.int64).reshape(-1, 3), varying

    def _allocated(self, segment: int) -> list[tuple[Variable, Scratch | None, list[Expr]]]:
        """The roots that the segment makes whose shapes are known before, and what tells them."""
        plan = self.plan
        return [
            (root, plan.scratch.get(root), plan.size_exprs(root))
            for root in self.made(segment)
            if root in plan.scratch or root in plan.temporaries or root in plan.slots
        ]

    def _place_checks(self) -> list[list[Check]]:
        """Each check goes into the first segment that knows what it asks for."""
        plan = self.plan
        checks: list[list[Check]] = [[] for _ in plan.segments]
        for _, check in plan.sizes.checks:
            needs = [leaf.head[0] for leaf in leaves([check.holds, *check.facts])]
            if any(v not in self.sources for v in needs):
                continue  # about a result that nothing needs
            late = [self.made_in[plan.layouts[v].root] + 1 for v in needs if v.owner is not None]
            at = max(late, default=0)
            if at < len(checks):
                checks[at].append(check)
        return checks

    def _find_moving(self, every: Iterable[Expr]) -> None:
        """Tell offsets that integers move from what decides the tables.

        `moving` numbers the former, `deciding` are the latter, as few as will do.
        """
        steps = self.plan.native_steps() if every else []
        offsets = dict.fromkeys(e for s in steps for _, e in s.operands)
        fixed = {e for s in steps for e in s.host()[len(s.operands) :]}
        fixed |= {e for root in self.base for e in self.plan.size_exprs(root)}
        free = {e for e in offsets if e not in fixed}
        asked = dict.fromkeys(e for e in every if e not in free)
        known = decided(asked, asked)
        self.deciding = [e for e in asked if not known[e]]
        known = decided(free, set(self.deciding))
        moving = [e for e in offsets if e in free and not known[e]]
        self.moving = {e: k for k, e in enumerate(moving)}

    def forget(self) -> None:
        """Let go of the tables of inner graphs."""
        for step in self.plan.steps:
            if isinstance(step, LoopStep):
                step.bind_round.cache_clear()
                step.binder.forget()

    def made(self, segment: int) -> list[Variable]:
        """The roots that the segment makes."""
        return [root for root, k in self.made_in.items() if k == segment]

    # -- binding ----------------------------------------------------------------------------------

    def bind(self, arrays: Sequence[Any], bound: Any = None) -> Any:
        """The tables of all segments, and places for temporaries, in a `Bound`, by default a new
        one. Raises what a check finds."""
        bound = Bound() if bound is None else bound
        for segment in range(len(self.plan.segments)):
            self.bind_segment(segment, arrays, bound)
        shapes, memory = bound.shapes, bound.memory
        spans = {r: s for r, s in self.lifetimes.items() if r in shapes}
        sizes = {r: memory[r] if r in memory else nbytes(r, shapes[r]) for r in spans}
        places, bound.arena = arrange(spans, sizes)
        bound.offsets = [(self.base[r], offset) for r, offset in places.items()]
        return bound

    def known(self, segment: int, arrays: Sequence[Any], bound: Bound) -> dict[Expr, Any]:
        """The numbers that the segment depends on, checked; fills in the shapes of what it makes.

        `arrays` hold the sources that it reads.
        """
        value = dict(zip(self.exprs[segment], self.hosts[segment](arrays), strict=True))
        for check in self.checks[segment]:
            if not value[check.holds]:
                raise check.fail(*(value[fact] for fact in check.facts))
        known = value.__getitem__
        for root, scratch, exprs in self.allocated[segment]:
            bound.shapes[root] = scratch.shape(value) if scratch else tuple(map(known, exprs))
        return value

    def bind_segment(self, segment: int, arrays: Sequence[Any], bound: Bound) -> Tables:
        """The tables of one segment. `arrays` hold the sources that it reads."""
        value = self.known(segment, arrays, bound)
        rows, varying = self.operands[segment]
        steps: list[list[int]] = []
        sizes: list[int] = []
        loops: list[LoopTables] = []
        at = 0  # the first operand of the step
        row_of: dict[int, int] = {}
        spaces: list[int] = []  # sizes that say how far one worker's workspace is from the next's
        first, last = self.plan.segments[segment]
        for position in range(first, last):
            step = self.plan.steps[position]
            if isinstance(step, PythonStep):
                continue
            row_of[position] = len(steps)
            numbers, extent, grain, workspace = step.bind(value)
            code = self._code(position)
            if isinstance(step, LoopStep):
                assert step.latest is not None
                loops.append(step.latest)
                bound.shapes[step.arena] = (step.latest.nbytes,)
            count = len(step.operands)
            steps.append([code, at, count, len(sizes), max(extent, 0), max(grain, 1), 0])
            at += count
            sizes += numbers
            bound.workspace = max(bound.workspace, -(-workspace // 64) * 64)
            if step.library is not None and workspace:
                spaces.append(len(sizes) - 1)
        for k in spaces:  # the same for all: in a chain two workers may be at different steps
            sizes[k] = bound.workspace
        shares: list[tuple[int, int]] = []
        for start, stop in self.plan.chains if segment == 0 else ():
            row = row_of[start]
            shares += self._cut(start, steps[row : row + stop - start], value, bound)
        tables = Tables(steps, rows.copy(), sizes)
        numbers_at = tables.operands.reshape(-1).data
        for row, share in shares:
            tables.operands[row, 2] = share
        for row, offset, size in varying:
            place = 3 * row + 1
            numbers_at[place] = value[offset] * size
            if offset in self.moving:
                bound.moving.append((numbers_at, place, self.moving[offset], size))
        bound.tables.append(tables)
        if self.target == "cpu" and steps:
            tables.native = driver.Program(
                tables.steps,
                tables.operands,
                tables.sizes,
                self.bases,
                self.errors,
            )
            for loop in loops:
                loop.run_in(tables.native)
        tables.loops = loops
        return tables

    def _code(self, position: int) -> int:
        """What the driver calls for the step at `position`."""
        kernel = self.kernels[position]
        if kernel is None:
            return driver.rounds()
        return kernel.address if self.target == "cpu" else position

    def _cut(
        self, at: int, steps: list[list[int]], value: Mapping[Expr, int], bound: Bound
    ) -> list[tuple[int, int]]:
        """Have the steps from position `at` on run as chains, as far as these sizes allow it.

        Returns (operand, share) for arrays of which each worker needs but a chunk at a time.
        """
        members: list[Any] = self.plan.steps[at : at + len(steps)]
        alone = [(extent, grain) for *_, extent, grain, _ in steps]
        shares: list[tuple[int, int]] = []
        working = tuple(m for m, (extent, _) in zip(members, alone, strict=True) if extent)
        # A shared variable that is overwritten is found under its update's slot.
        elements = {
            root: prod(bound.shapes[root]) if root in bound.shapes else -1
            for root in self.passed_on(working)
        }
        for cut in chain.cut(members, value, elements, alone):
            first, last = min(cut.items), max(cut.items) + 1
            steps[first][6] = last - first
            idle = next((k for k in range(first, 0, -1) if alone[k - 1][0]), 0)
            inside = {
                root: nbytes(root, bound.shapes[root]) // cut.units * cut.chunk
                for root in self.passed_on(tuple(members[k] for k in cut.items))
                if root in self.lifetimes
                and at + idle <= self.touching[root][0]  # who has nothing to do touches nothing
                and self.touching[root][1] < at + last
            }
            for root, share in inside.items():
                bound.memory[root] = -(-share // 64) * 64 * driver.workers()
            for k, items in cut.items.items():
                steps[k][5] = items
                shares += [
                    (steps[k][1] + place, inside[root])
                    for place, (root, _) in enumerate(members[k].operands)
                    if root in inside
                ]
        return shares


def empty(variable: Variable, shape: tuple[int, ...]) -> np.ndarray:
    """An array of this variable's dtype, not filled."""
    dtype: str = variable.type.dtype
    return np.empty(shape, dtype)


def address(array: np.ndarray) -> int:
    """Where the first element lies.

    It is the first field of NumPy's PyArrayObject, which is part of its binary interface (NumPy C
    API, "Array structure"). `array.ctypes.data` says the same in ten times the time.
    """
    return ctypes.c_int64.from_address(id(array) + HEAD).value


def itemsize(root: Variable) -> int:
    """Bytes of one element."""
    dtype: str = root.type.dtype
    return _itemsize(dtype)


@functools.cache
def _itemsize(dtype: str) -> int:
    return int(np.dtype(dtype).itemsize)


def nbytes(root: Variable, shape: Sequence[int]) -> int:
    """Bytes of an array of this variable's dtype."""
    return itemsize(root) * prod(shape)
