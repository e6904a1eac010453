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

from symgraph.compile import driver
from symgraph.compile.arena import Arena
from symgraph.compile.binding import Binder, Bound, Tables, address, empty
from symgraph.compile.host import compile_host
from symgraph.compile.plan import WORKSPACE, Plan, PythonStep, Step, dense_strides
from symgraph.errors import explain
from symgraph.graph import Apply, Variable
from symgraph.types import DISCRETE

KEPT = 64  # sets of sizes whose tables are kept


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
        self.binder = Binder(plan, inputs, shared, target)
        self.base, self.bases, self.errors = self.binder.base, self.binder.bases, self.binder.errors
        self.is_native = len(plan.segments) == 1 and len(plan.native_steps()) == len(plan.steps)
        self.input_bases = [self.base[variable] for variable in self.inputs]
        self.lock = threading.RLock()
        self.bound: OrderedDict[Any, Bound] = OrderedDict()
        self.current: Bound | None = None
        self.current_key: Any = None
        self.arena = Arena()
        self.workspace = Arena()
        self.held: list[Any] = [None] * len(self.bases)  # arrays that bases point into
        self.pointed: list[Any] = [None] * len(self.shared)
        self.arrays: list[Any] = []  # what sizes are read from: those of the current call

    # -- memory -----------------------------------------------------------------------------------

    def _activate(self, key: Any, arrays: list[Any]) -> Bound:
        """The tables for these sizes, made if need be, and memory for their temporaries."""
        signature, offsets = self.binder.signature(arrays)
        bound = self.bound.get(signature)
        if bound is None:
            bound = self.binder.bind(arrays)
            self.binder.hold_small(bound, arrays, self.output_slots)
            self.bound[signature] = bound
            if len(self.bound) > KEPT:
                self.bound.popitem(last=False)
        self.bound.move_to_end(signature)
        for operands, row, k, itemsize in bound.moving:
            operands[row, 1] = offsets[k] * itemsize
        self.current_key = key
        if bound is not self.current:
            start = self.arena.reserve(bound.arena)
            for base, offset in bound.offsets:
                self.bases[base] = start + offset
            for base, place in bound.fixed:
                self.bases[base] = place
            self._reserve_workspace(bound)
            self.current = bound
        return bound

    def _reserve_workspace(self, bound: Bound) -> None:
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
            if self.plan.late:
                return self._call_staged(arrays)
            key = self.binder.key(arrays)
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
                    result = empty(slot, bound.shapes[slot])
                    self._point(slot, result)
                results.append(result)
            if self.update_slots:
                self._place_updates([slot for _, slot in self.update_slots], bound)
            for segment, tables in enumerate(bound.tables):
                if self.is_native and tables.native is not None:
                    reached = tables.native.run(0, len(self.plan.steps))
                    if reached != len(self.plan.steps):
                        self._fail(reached)
                else:
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
        self.bases[number] = address(array)
        self.held[number] = array

    def _place_updates(self, slots: Sequence[Variable], bound: Bound) -> None:
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
                self._point(slot, empty(slot, shape))

    def _protect(self, array: np.ndarray) -> None:
        """Copy an argument that shares memory with a value that is about to be overwritten."""
        for variable in self.inputs:
            held = self.held[self.base[variable]]
            if held is not None and np.may_share_memory(held, array):
                self._point(variable, held.copy())

    def _run_segment(self, segment: int, tables: Tables, bound: Bound) -> None:
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
                functions: list[Any] = [k and k.function for k in self.binder.kernels]
                reached = driver.run_interpreted(
                    functions, tables.steps, tables.operands, tables.pointers, tables.sizes,
                    self.bases, self.errors, done, done + count,
                )  # fmt: skip
            if reached != done + count:
                self._fail(position + reached - done)
            done, position = done + count, stop

    def _run_staged(self, arrays: list[Any]) -> Bound:
        """Bind and run segment by segment: later sizes are read from earlier results."""
        bound = Bound()
        memory: list[Any] = []
        arrays += [None] * len(self.plan.late)
        for segment in range(len(self.plan.segments)):
            before = set(bound.shapes)
            tables = self.binder.bind_segment(segment, arrays, bound)
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
                if self.binder.made_in.get(root) == segment:
                    arrays[self.binder.sources[variable]] = self._view_late(variable, arrays, bound)
        return bound

    def _view_late(self, variable: Variable, arrays: list[Any], bound: Bound) -> np.ndarray:
        at = self.plan.layouts[variable]
        held = self.held[self.base[at.root]]
        if variable in self.plan.unsized:
            return held  # type: ignore[no-any-return]
        exprs = [*self.plan.sizes.shape(variable), at.offset, *at.strides]
        values = compile_host(exprs, self.binder.sources)(arrays)
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

    def _run_python(self, step: PythonStep, bound: Bound) -> None:
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
        values, result, at = self.binder.layouts_of[step](self.arrays), [], 0
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
        for number in self.input_bases:
            self.held[number] = None

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


def _divides(node: Apply) -> bool:
    row = getattr(node.op, "scalar_op", None)
    return str(row) in ("int_div", "mod") and node.outputs[0].type.dtype in DISCRETE
