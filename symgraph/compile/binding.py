"""Binding: from a plan and the sizes of one call to the tables that the driver walks.

The host code of each segment computes every number that its steps need; what it depends on decides
which earlier tables fit. Offsets that only integers move, such as a minibatch's place in a data
set, are kept apart: when nothing else differs, the tables of the call before are used, with these
few numbers changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.compile import cache, driver
from symgraph.compile.arena import Lifetime, arrange
from symgraph.compile.host import compile_host, compile_key, leaves
from symgraph.compile.plan import ERRORS, WORKSPACE, Plan, PythonStep, Step
from symgraph.expr import Check, Expr
from symgraph.graph import Constant, Variable

SMALL = 2048  # bytes: smaller arguments and results are copied through memory of our own


class Tables:
    """One segment, bound to concrete sizes."""

    def __init__(self, steps: list[Any], operands: list[Any], sizes: list[int]) -> None:
        self.steps = np.array(steps, np.int64).reshape(-1, 6)
        self.operands = np.array(operands, np.int64).reshape(-1, 2)
        self.sizes = np.array(sizes or [0], np.int64)
        self.pointers = np.zeros(len(self.operands), np.int64)
        self.native: driver.Program | None = None


class Bound:
    """Everything that follows from one set of sizes."""

    def __init__(self) -> None:
        self.tables: list[Tables] = []
        self.shapes: dict[Variable, tuple[int, ...]] = {}  # of slots, temporaries and scratch
        self.offsets: list[tuple[int, int]] = []  # (base, offset in the arena)
        self.arena = 0
        self.workspace = 0  # bytes per worker
        self.stages: list[np.ndarray | None] = []  # small inputs are copied through these
        self.results: list[np.ndarray | None] = []  # small outputs are made here and copied
        self.fixed: list[tuple[int, int]] = []  # (base, address) of both
        self.moving: list[tuple[np.ndarray, int, int, int]] = []  # operands at moving offsets


class Binder:
    """What is known of a plan before any size is: bases, lifetimes, host code, checks.

    `base` numbers the memory that operands lie in, `bases` holds the addresses; `sources` numbers
    the arrays that host code reads sizes from.
    """

    def __init__(
        self, plan: Plan, inputs: Sequence[Variable], shared: Sequence[Variable], target: str
    ) -> None:
        self.plan, self.inputs, self.target = plan, list(inputs), target
        self.kernels = [
            cache.build(s.source, target) if isinstance(s, Step) else None for s in plan.steps
        ]
        self.sources = {v: k for k, v in enumerate([*inputs, *shared, *plan.late])}
        self._number_bases(shared)
        self._find_lifetimes()
        self._prepare_host()

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
        for position, step in enumerate(plan.steps):
            for root in step.touched():
                if root in plan.temporaries or root in plan.scratch:
                    first, _ = self.lifetimes.get(root, (position, position))
                    self.lifetimes[root] = (first, position)
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
        self.layouts_of = {
            step: compile_host(step.host(), self.sources)
            for step in plan.steps
            if isinstance(step, PythonStep)
        }
        found = leaves(every)
        self.key = compile_key(found, self.sources)
        self.shape_key = compile_key([e for e in found if type(e) is E.Dim], self.sources)
        self._find_moving(list(every))

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

    def _find_moving(self, every: list[Expr]) -> None:
        """Tell offsets that integers move from what decides the tables."""
        depends = [e for e in every if any(type(x) is E.Item for x in leaves([e]))]
        steps = self.plan.native_steps()
        offsets = dict.fromkeys(e for s in steps for _, e in s.operands)
        fixed = {e for s in steps for e in s.host()[len(s.operands) :]}
        fixed |= {e for root in self.base for e in self.plan.size_exprs(root)}
        moving = [e for e in depends if e in offsets and e not in fixed]
        deciding = [e for e in depends if e not in offsets or e in fixed]
        self.moving = {e: k for k, e in enumerate(moving)}
        self.decide = compile_host([*moving, *deciding], self.sources)

    def made(self, segment: int) -> list[Variable]:
        """The roots that the segment makes."""
        return [root for root, k in self.made_in.items() if k == segment]

    def signature(self, arrays: Sequence[Any]) -> tuple[Any, Sequence[int]]:
        """What decides the tables, and the values of the moving offsets."""
        values = self.decide(arrays)
        count = len(self.moving)
        return (self.shape_key(arrays), values[count:]), values[:count]

    # -- binding ----------------------------------------------------------------------------------

    def bind(self, arrays: Sequence[Any]) -> Bound:
        """The tables of all segments, and places for temporaries. Raises what a check finds."""
        bound = Bound()
        for segment in range(len(self.plan.segments)):
            self.bind_segment(segment, arrays, bound)
        spans = {r: s for r, s in self.lifetimes.items() if r in bound.shapes}
        places, bound.arena = arrange(spans, {r: nbytes(r, bound.shapes[r]) for r in spans})
        bound.offsets = [(self.base[r], offset) for r, offset in places.items()]
        return bound

    def hold_small(
        self, bound: Bound, arrays: Sequence[np.ndarray], outputs: Sequence[Variable]
    ) -> None:
        """Memory of our own for small arguments and results: copying costs less than addresses."""

        def hold(variable: Variable, shape: tuple[int, ...]) -> np.ndarray | None:
            if nbytes(variable, shape) > SMALL:
                return None
            array = empty(variable, shape)
            bound.fixed.append((self.base[variable], address(array)))
            return array

        bound.stages = [hold(v, a.shape) for v, a in zip(self.inputs, arrays, strict=False)]
        bound.results = [hold(slot, bound.shapes[slot]) for slot in outputs]

    def bind_segment(self, segment: int, arrays: Sequence[Any], bound: Bound) -> Tables:
        """The tables of one segment. `arrays` hold the sources that it reads."""
        value = dict(zip(self.exprs[segment], self.hosts[segment](arrays), strict=True))
        for check in self.checks[segment]:
            if not value[check.holds]:
                raise check.fail(*(value[fact] for fact in check.facts))
        for root in self.made(segment):
            self._bind_shape(root, value, bound)
        steps: list[Any] = []
        operands: list[tuple[int, int]] = []
        moving: list[tuple[int, int, int]] = []
        sizes: list[int] = []
        first, last = self.plan.segments[segment]
        for position in range(first, last):
            step, kernel = self.plan.steps[position], self.kernels[position]
            if isinstance(step, PythonStep) or kernel is None:
                continue
            start = len(operands), len(step.operands), len(sizes)
            for place, offset in step.operands:
                size = 1 if isinstance(place, str) else itemsize(place)
                if offset in self.moving:
                    moving.append((len(operands), self.moving[offset], size))
                operands.append((self.base[place], value[offset] * size))
            numbers, extent, grain, workspace = step.bind(value)
            sizes += numbers
            code = kernel.address if self.target == "cpu" else position
            steps.append((code, *start, max(extent, 0), max(grain, 1)))
            bound.workspace = max(bound.workspace, workspace)
        tables = Tables(steps, operands, sizes)
        bound.moving += [(tables.operands, row, k, size) for row, k, size in moving]
        bound.tables.append(tables)
        if self.target == "cpu" and steps:
            tables.native = driver.Program(
                tables.steps,
                tables.operands,
                tables.pointers,
                tables.sizes,
                self.bases,
                self.errors,
            )
        return tables

    def _bind_shape(self, root: Variable, value: Mapping[Expr, int], bound: Bound) -> None:
        plan = self.plan
        if root in plan.scratch:
            scratch = plan.scratch[root]
            shapes = {n: tuple(value[e] for e in s) for n, s in scratch.shapes.items()}
            bound.shapes[root] = tuple(scratch.size(shapes))
        elif root in plan.temporaries or root in plan.slots:
            bound.shapes[root] = tuple(value[e] for e in plan.size_exprs(root))


def empty(variable: Variable, shape: tuple[int, ...]) -> np.ndarray:
    """An array of this variable's dtype, not filled."""
    dtype: str = variable.type.dtype
    return np.empty(shape, dtype)


def address(array: np.ndarray) -> int:
    """Where the first element lies."""
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def itemsize(root: Variable) -> int:
    """Bytes of one element."""
    return int(np.dtype(root.type.dtype).itemsize)


def nbytes(root: Variable, shape: Sequence[int]) -> int:
    """Bytes of an array of this variable's dtype."""
    size = itemsize(root)
    for n in shape:
        size *= n
    return size
