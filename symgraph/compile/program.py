"""A compiled function at run time: sizes are bound to a plan once, then the driver walks its steps.

`Program.call` takes arrays that fit the inputs' types and returns new arrays. Between calls it
keeps, for each set of sizes it has met, the tables that the driver walks; when sizes repeat,
nothing is inferred, planned or allocated but the results.
"""

from __future__ import annotations

import ctypes
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.compile import cache, driver
from symgraph.compile.arena import Arena, Lifetime, arrange
from symgraph.compile.host import compile_host, compile_key, leaves
from symgraph.compile.plan import ERRORS, WORKSPACE, Plan, PythonStep, Step, dense_strides
from symgraph.errors import explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Constant, Variable
from symgraph.types import DISCRETE

SMALL = 2048  # bytes: smaller arguments and results are copied through memory of our own
KEPT = 64  # sets of sizes whose tables are kept


class _Tables:
    """One segment, bound to concrete sizes."""

    def __init__(self, steps: list[Any], operands: list[Any], sizes: list[int]) -> None:
        self.steps = np.array(steps, np.int64).reshape(-1, 6)
        self.operands = np.array(operands, np.int64).reshape(-1, 2)
        self.sizes = np.array(sizes or [0], np.int64)
        self.pointers = np.zeros(len(self.operands), np.int64)
        self.native: driver.Program | None = None


class _Bound:
    """Everything that follows from one set of sizes."""

    def __init__(self) -> None:
        self.tables: list[_Tables] = []
        self.shapes: dict[Variable, tuple[int, ...]] = {}  # of slots, temporaries and scratch
        self.offsets: list[tuple[int, int]] = []  # (base, offset in the arena)
        self.arena = 0
        self.workspace = 0
        self.stages: list[np.ndarray | None] = []  # small inputs are copied through these
        self.results: list[np.ndarray | None] = []  # small outputs are made here and copied
        self.fixed: list[tuple[int, int]] = []  # (base, address) of both
        self.moving: list[tuple[np.ndarray, int, int, int]] = []  # operands at moving offsets

    def hold_small(self, program: Program, arrays: Sequence[np.ndarray]) -> None:
        """Memory of our own for small arguments and results: copying costs less than addresses."""

        def hold(variable: Variable, shape: tuple[int, ...]) -> np.ndarray | None:
            if _nbytes(variable, shape) > SMALL:
                return None
            array = np.empty(shape, variable.type.dtype)
            self.fixed.append((program.base[variable], _address(array)))
            return array

        pairs = zip(program.inputs, arrays[: len(program.inputs)], strict=True)
        self.stages = [hold(v, a.shape) for v, a in pairs]
        self.results = [hold(slot, self.shapes[slot]) for slot in program.output_slots]


class Program:
    """A plan with its kernels built. Thread-safe: calls take turns."""

    def __init__(
        self,
        plan: Plan,
        inputs: Sequence[Variable],
        shared: Sequence[Variable],
        slots: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
        target: str,
    ) -> None:
        self.plan, self.inputs, self.shared = plan, list(inputs), list(shared)
        self.output_slots = list(slots)
        self.update_slots = list(updates)  # (shared variable, slot)
        self.target = target
        self.kernels = [
            cache.build(s.source, target) if isinstance(s, Step) else None for s in plan.steps
        ]
        self.lock = threading.RLock()
        self._number_bases()
        self.sources = {v: k for k, v in enumerate([*self.inputs, *self.shared, *plan.late])}
        self._prepare_host()
        self.bound: OrderedDict[Any, _Bound] = OrderedDict()
        self.current: _Bound | None = None
        self.current_key: Any = None
        self.arena = Arena()
        self.workspace = Arena()
        self.held: list[Any] = [None] * len(self.bases)  # arrays that bases point into
        self.pointed: list[Any] = [None] * len(self.shared)
        self.arrays: list[Any] = []  # what sizes are read from: those of the current call

    def _number_bases(self) -> None:
        plan = self.plan
        roots: list[Variable | str] = [ERRORS, WORKSPACE, *self.inputs, *self.shared]
        roots += [*plan.slots, *plan.temporaries, *plan.scratch, *plan.unsized]
        constants: dict[Variable, None] = {}
        for step in plan.steps:
            used = (
                [at.root for _, at, _ in step.inputs]
                if isinstance(step, PythonStep)
                else [root for root, _ in step.operands]
            )
            constants.update((r, None) for r in used if isinstance(r, Constant))
        roots += list(constants)
        self.base: dict[Any, int] = {}
        for root in roots:
            self.base.setdefault(root, len(self.base))
        self.bases = np.zeros(len(self.base), np.int64)
        self.errors = np.zeros(4, np.int64)
        self.bases[self.base[ERRORS]] = self.errors.ctypes.data
        self.constants = []
        for variable in constants:
            data = np.ascontiguousarray(variable.data)  # type: ignore[attr-defined]
            self.constants.append(data)
            self.bases[self.base[variable]] = data.ctypes.data
        self.lifetimes = self._lifetimes()

    def _lifetimes(self) -> dict[Variable, Lifetime]:
        """First and last step that touches each temporary."""
        plan = self.plan
        spans: dict[Variable, Lifetime] = {}
        for position, step in enumerate(plan.steps):
            if isinstance(step, PythonStep):
                touched: list[Any] = [at.root for _, at, _ in step.inputs]
                touched += [plan.layouts[v].root for v in step.node.outputs if v in plan.layouts]
            else:
                touched = [root for root, _ in step.operands]
            for root in touched:
                if root in plan.temporaries or root in plan.scratch:
                    first, _ = spans.get(root, (position, position))
                    spans[root] = (first, position)
        return spans

    def _prepare_host(self) -> None:
        """The host code of each segment, and the checks that it can make."""
        plan = self.plan
        self.host_exprs: list[list[Expr]] = []
        self.checks: list[list[tuple[Apply, Check]]] = [[] for _ in plan.segments]
        made_in = {}
        for k, (first, last) in enumerate(plan.segments):
            for step in plan.steps[first:last]:
                roots = (
                    [plan.layouts[v].root for v in step.node.outputs]
                    if isinstance(step, PythonStep)
                    else [r for r, _ in step.operands[: step.writes]]
                )
                made_in.update({r: k for r in roots if r not in made_in})
        self.made_in = made_in
        for node, check in plan.sizes.checks:
            needs = [leaf.head[0] for leaf in E.walk([check.holds, *check.facts])
                     if type(leaf) in (E.Dim, E.Item)]  # fmt: skip
            late = [v for v in needs if v not in self.sources or v.owner is not None]
            if any(v not in self.sources for v in late):
                continue  # about a result that nothing needs
            at = max((made_in[plan.layouts[v].root] + 1 for v in late), default=0)
            if at < len(plan.segments):
                self.checks[at].append((node, check))
        every: list[Expr] = []
        for k, (first, last) in enumerate(plan.segments):
            wanted: dict[Expr, None] = {}
            for step in plan.steps[first:last]:
                wanted.update(dict.fromkeys(step.host()))
            for root in self._made(k):
                wanted.update(dict.fromkeys(self._shape_exprs(root)))
            for _, check in self.checks[k]:
                wanted.update(dict.fromkeys([check.holds, *check.facts]))
            if k == 0:  # results that no step makes: an output of size known from inputs alone
                for root in plan.slots:
                    if root not in made_in:
                        wanted.update(dict.fromkeys(plan.slots[root]))
            self.host_exprs.append(list(wanted))
            every += wanted
        self.hosts = [compile_host(exprs, self.sources) for exprs in self.host_exprs]
        self.key = compile_key(leaves(every), self.sources) if not plan.late else None
        self._find_moving(every)
        self.layouts_of = {
            step: compile_host(step.host(), self.sources)
            for step in plan.steps
            if isinstance(step, PythonStep)
        }

    def _find_moving(self, every: list[Expr]) -> None:
        """Tell offsets that integers move (a minibatch's place) from what decides the tables.

        When an integer changes, only these few are computed again: the tables of other calls fit
        if nothing but offsets differs.
        """
        depends = {e for e in dict.fromkeys(every) if any(type(x) is E.Item for x in leaves([e]))}
        steps = [step for step in self.plan.steps if isinstance(step, Step)]
        offsets = dict.fromkeys(e for s in steps for _, e in s.operands if e in depends)
        fixed = {e for s in steps for e in s.host()[len(s.operands) :]}
        fixed |= {e for root in self.base for e in self._shape_exprs(root)}
        self.moving = {e: k for k, e in enumerate(e for e in offsets if e not in fixed)}
        deciding = [e for e in depends if e not in self.moving]
        self.decide = compile_host([*self.moving, *deciding], self.sources)
        sizes = [leaf for leaf in leaves(every) if type(leaf) is E.Dim]
        self.shape_key = compile_key(sizes, self.sources)

    def _made(self, segment: int) -> list[Any]:
        return [r for r, k in self.made_in.items() if k == segment]

    def _shape_exprs(self, root: Any) -> list[Expr]:
        plan = self.plan
        if root in plan.unsized:
            return []
        if root in plan.scratch:
            return [e for shape in plan.scratch[root].shapes.values() for e in shape]
        return list(plan.temporaries.get(root, plan.slots.get(root, ())))

    # -- binding ----------------------------------------------------------------------------------

    def _bind(self, segment: int, arrays: list[Any], bound: _Bound) -> _Tables:
        exprs = self.host_exprs[segment]
        value = dict(zip(exprs, self.hosts[segment](arrays), strict=True))
        for _node, check in self.checks[segment]:
            if not value[check.holds]:
                raise check.fail(*(value[fact] for fact in check.facts))
        roots = self._made(segment)
        if segment == 0:
            roots = roots + [r for r in self.plan.slots if r not in self.made_in]
        for root in roots:
            self._bind_shape(root, value, bound)
        steps: list[Any] = []
        operands: list[Any] = []
        moving: list[tuple[int, int, int]] = []
        sizes: list[int] = []
        first, last = self.plan.segments[segment]
        for position in range(first, last):
            step = self.plan.steps[position]
            if isinstance(step, PythonStep):
                continue
            row = [0, len(operands), len(step.operands), len(sizes)]
            kernel = self.kernels[position]
            assert kernel is not None
            row[0] = kernel.address if self.target == "cpu" else position
            for root, offset in step.operands:
                itemsize = 1 if isinstance(root, str) else _itemsize(root)
                if offset in self.moving:
                    moving.append((len(operands), self.moving[offset], itemsize))
                operands.append((self.base[root], value[offset] * itemsize))
            if step.library is not None:
                numbers, extent, grain, workspace = step.library.bind(value)
            else:
                numbers = [int(value[e]) for e in step.sizes]
                assert step.extent is not None and step.grain is not None
                extent, grain = value[step.extent], value[step.grain]
                workspace = step.workspace
            sizes += numbers
            steps.append((*row, max(extent, 0), max(grain, 1)))
            bound.workspace = max(bound.workspace, workspace)
        tables = _Tables(steps, operands, sizes)
        bound.moving += [(tables.operands, row, k, itemsize) for row, k, itemsize in moving]
        bound.tables.append(tables)
        if self.target == "cpu" and len(steps):
            tables.native = driver.Program(
                tables.steps,
                tables.operands,
                tables.pointers,
                tables.sizes,
                self.bases,
                self.errors,
            )
        return tables

    def _bind_shape(self, root: Any, value: dict[Expr, int], bound: _Bound) -> None:
        plan = self.plan
        if root in plan.unsized:
            return
        if root in plan.scratch:
            scratch = plan.scratch[root]
            shapes = {n: tuple(value[e] for e in s) for n, s in scratch.shapes.items()}
            bound.shapes[root] = tuple(scratch.size(shapes))
        else:
            exprs = plan.temporaries.get(root, plan.slots.get(root))
            if exprs is not None:
                bound.shapes[root] = tuple(value[e] for e in exprs)

    def _activate(self, key: Any, arrays: list[Any]) -> _Bound:
        """The tables for these sizes, made if need be, and memory for their temporaries."""
        values = self.decide(arrays)
        signature = (self.shape_key(arrays), values[len(self.moving) :])
        bound = self.bound.get(signature)
        if bound is None:
            bound = _Bound()
            for segment in range(len(self.plan.segments)):
                self._bind(segment, arrays, bound)
            spans = {r: s for r, s in self.lifetimes.items() if r in bound.shapes}
            sizes = {r: _nbytes(r, bound.shapes[r]) for r in spans}
            places, bound.arena = arrange(spans, sizes)
            bound.offsets = [(self.base[r], offset) for r, offset in places.items()]
            bound.hold_small(self, arrays)
            self.bound[signature] = bound
            if len(self.bound) > KEPT:
                self.bound.popitem(last=False)
        for operands, row, k, itemsize in bound.moving:
            operands[row, 1] = values[k] * itemsize
        self.current_key = key
        if bound is self.current:
            return bound
        start = self.arena.reserve(bound.arena)
        for base, offset in bound.offsets:
            self.bases[base] = start + offset
        for base, address in bound.fixed:
            self.bases[base] = address
        self._reserve_workspace(bound)
        self.current = bound
        return bound

    def _reserve_workspace(self, bound: _Bound) -> None:
        if bound.workspace:
            place = self.workspace.reserve(bound.workspace * driver.workers())
            self.bases[self.base[WORKSPACE]] = place

    # -- calling ----------------------------------------------------------------------------------

    def call(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run once. Raises what a kernel or a Python step found wrong; then nothing was updated."""
        with self.lock:
            shared = [v.container.value for v in self.shared]  # type: ignore[attr-defined]
            arrays = self.arrays = [*inputs, *shared]
            for k, array in enumerate(shared):
                if array is not self.pointed[k]:
                    self._point(self.shared[k], array)
                    self.pointed[k] = array
            if self.key is None:
                return self._call_staged(arrays)
            key = self.key(arrays)
            bound = self.current
            if bound is None or key != self.current_key:
                bound = self._activate(key, arrays)
            for k, stage in enumerate(bound.stages):
                if stage is not None:
                    stage[...] = inputs[k]
                else:
                    self._point(self.inputs[k], inputs[k])
            results: list[Any] = []
            for k, result in enumerate(bound.results):
                if result is None:
                    slot = self.output_slots[k]
                    result = _empty(slot, bound.shapes[slot])
                    self._point(slot, result)
                results.append(result)
            if self.update_slots:
                self._place_updates([slot for _, slot in self.update_slots], bound)
            for segment, tables in enumerate(bound.tables):
                self._run_segment(segment, tables, bound)
            self._commit()
            return [
                r if own is None else own.copy()
                for r, own in zip(results, bound.results, strict=True)
            ]

    def _call_staged(self, arrays: list[Any]) -> list[np.ndarray]:
        for variable, array in zip(self.inputs, arrays, strict=False):
            self._point(variable, array)
        self._run_staged(arrays)
        self._commit()
        return [self.held[self.base[slot]] for slot in self.output_slots]

    def _point(self, variable: Variable, array: np.ndarray) -> None:
        number = self.base[variable]
        self.bases[number] = _address(array)
        self.held[number] = array

    def _place_updates(self, slots: Sequence[Variable], bound: _Bound) -> None:
        """Memory for new values: the shared variable's own where that is planned and fits."""
        for slot in slots:
            shape = bound.shapes[slot]
            target = self.plan.in_place.get(slot)
            old = target.container.value if target is not None else None  # type: ignore[attr-defined]
            if old is not None and old.shape == shape:
                self._protect(old)
                if self.held[self.base[slot]] is not old:
                    self._point(slot, old)
            else:
                self._point(slot, _empty(slot, shape))

    def _protect(self, array: np.ndarray) -> None:
        """Copy an argument that shares memory with a value that is about to be overwritten."""
        for variable in self.inputs:
            held = self.held[self.base[variable]]
            if held is not None and np.may_share_memory(held, array):
                self._point(variable, held.copy())

    def _run_segment(self, segment: int, tables: _Tables, bound: _Bound) -> None:
        first, last = self.plan.segments[segment]
        steps = self.plan.steps
        done = 0  # native steps of this segment
        position = first
        while position < last:
            step = steps[position]
            if isinstance(step, PythonStep):
                self._run_python(step, bound)
                position += 1
                continue
            stop = position
            while stop < last and not isinstance(steps[stop], PythonStep):
                stop += 1
            count = stop - position
            if tables.native is not None:
                reached = tables.native.run(done, done + count)
            else:
                functions: list[Any] = [k and k.function for k in self.kernels]
                reached = driver.run_interpreted(
                    functions, tables.steps, tables.operands, tables.pointers, tables.sizes,
                    self.bases, self.errors, done, done + count,
                )  # fmt: skip
            if reached != done + count:
                self._fail(position + reached - done)
            done, position = done + count, stop

    def _run_staged(self, arrays: list[Any]) -> _Bound:
        """Bind and run segment by segment: later sizes are read from earlier results."""
        bound = _Bound()
        memory: list[Any] = []
        arrays += [None] * len(self.plan.late)
        for segment in range(len(self.plan.segments)):
            before = set(bound.shapes)
            tables = self._bind(segment, arrays, bound)
            for root in set(bound.shapes) - before:
                if root in self.plan.in_place:
                    self._place_updates([root], bound)
                else:
                    block = np.empty(bound.shapes[root], root.type.dtype)
                    memory.append(block)
                    self._point(root, block)
            self._reserve_workspace(bound)
            self._run_segment(segment, tables, bound)
            for variable in self.plan.late:
                root = self.plan.layouts[variable].root
                if self.made_in.get(root) == segment:
                    arrays[self.sources[variable]] = self._view_late(variable, arrays, bound)
        return bound

    def _view_late(self, variable: Variable, arrays: list[Any], bound: _Bound) -> np.ndarray:
        at = self.plan.layouts[variable]
        held = self.held[self.base[at.root]]
        if variable in self.plan.unsized:
            return held  # type: ignore[no-any-return]
        exprs = [*self.plan.sizes.shape(variable), at.offset, *at.strides]
        values = compile_host(exprs, self.sources)(arrays)
        n = variable.type.ndim
        return self._array(variable, at.root, values[:n], values[n], values[n + 1 :])

    def _array(
        self,
        variable: Variable,
        root: Variable,
        shape: Sequence[int],
        offset: int,
        strides: Sequence[int],
    ) -> np.ndarray:
        """The memory of a variable as an array."""
        dtype = np.dtype(variable.type.dtype)
        if 0 in shape:
            return np.empty(shape, dtype)
        address = int(self.bases[self.base[root]]) + offset * dtype.itemsize
        low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
        high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0)
        count = (high - low + 1) * dtype.itemsize
        start = address + low * dtype.itemsize
        block: Any = (ctypes.c_char * count).from_address(start)
        memory = np.frombuffer(block, dtype)
        return np.lib.stride_tricks.as_strided(
            memory[-low:], tuple(shape), tuple(s * dtype.itemsize for s in strides)
        )

    def _run_python(self, step: PythonStep, bound: _Bound) -> None:
        segment_values = self._python_values(step)
        inputs = [
            self._array(v, at.root, shape, offset, strides)
            for (v, at, _), (shape, offset, strides) in zip(
                step.inputs, segment_values, strict=True
            )
        ]
        results = step.node.op.evaluate(step.node, *inputs)
        for variable, result in zip(step.node.outputs, results, strict=True):
            value = np.ascontiguousarray(variable.type.filter(np.asarray(result)))
            value = value.reshape(np.shape(result))
            root = self.plan.layouts[variable].root
            if root in self.plan.unsized:
                self._point(root, value)
                continue
            shape = bound.shapes.get(root)
            if shape is None:
                continue
            if value.shape != shape:
                raise ValueError(
                    explain(step.node.op, "its result has another shape than infer_shape says",
                            where=step.node.trace, got=str(value.shape), expected=str(shape))
                )  # fmt: skip
            self._array(variable, root, shape, 0, dense_strides(shape))[...] = value

    def _python_values(self, step: PythonStep) -> list[Any]:
        """(shape, offset, strides) of each input, all in elements."""
        values, result, at = self.layouts_of[step](self.arrays), [], 0
        for variable, _, _ in step.inputs:
            n = variable.type.ndim
            shape, offset = values[at : at + n], values[at + n]
            result.append((shape, offset, values[at + n + 1 : at + 2 * n + 1]))
            at += 2 * n + 1
        return result

    def _commit(self) -> None:
        """New values take the place of old ones: nothing can fail any more."""
        for shared, slot in self.update_slots:
            number = self.base[slot]
            value = self.held[number]
            if value is not shared.container.value:  # type: ignore[attr-defined]
                shared.container.replace(value)  # type: ignore[attr-defined]
                self.held[number] = None
        for variable in self.inputs:
            self.held[self.base[variable]] = None

    def _fail(self, position: int) -> None:
        """Raise what the step at `position` noted."""
        code, index, size, label = self.errors.tolist()
        self.errors[:] = 0
        step = self.plan.steps[position]
        assert isinstance(step, Step)
        if code == 2:
            node = next((n for n in step.nodes if _divides(n)), step.nodes[0])
            raise ZeroDivisionError(
                explain(node.op, "integer division or modulo by zero", where=node.trace,
                        expected="a divisor that is not 0")
            )  # fmt: skip
        node = step.nodes[label]
        raise IndexError(
            explain(node.op, f"index {index} is out of bounds for size {size}", where=node.trace,
                    got=f"index {index} into {node.inputs[0]}",
                    expected=f"an index from {-size} to {size - 1}")
        )  # fmt: skip


def _empty(variable: Variable, shape: tuple[int, ...]) -> np.ndarray:
    dtype: str = variable.type.dtype
    return np.empty(shape, dtype)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _divides(node: Apply) -> bool:
    row = getattr(node.op, "scalar_op", None)
    return str(row) in ("int_div", "mod") and node.outputs[0].type.dtype in DISCRETE


def _itemsize(root: Variable) -> int:
    return int(np.dtype(root.type.dtype).itemsize)


def _nbytes(root: Variable, shape: Sequence[int]) -> int:
    size = _itemsize(root)
    for n in shape:
        size *= n
    return size
