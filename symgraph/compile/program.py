"""A compiled function at run time: sizes are bound to a plan once, then the driver walks its steps.

`calling` prints the Python function that runs for each call; it finds here what it needs. Between
calls a program keeps, for each set of sizes it has met, the tables that the driver walks; when
sizes repeat, nothing is inferred, planned or allocated but the results.
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
from symgraph.compile.loop import KEPT, LoopStep
from symgraph.compile.plan import Plan
from symgraph.compile.slots import REFUSED
from symgraph.compile.steps import WORKSPACE, PythonStep, Step, dense_strides
from symgraph.errors import explain, in_round
from symgraph.graph import Apply, Constant, Variable, is_tensor
from symgraph.sharedvalue import SharedVariable
from symgraph.types import DISCRETE


class Program:
    """A plan with its kernels built. Thread-safe: calls take turns by holding `lock`.

    `values` are the arrays of the shared variables that bases point to. `own` is memory for inputs
    and outputs of no axes, which are copied.
    """

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
        self.is_native &= target == "cpu"
        self.lock = threading.RLock()
        self.bound: OrderedDict[Any, Bound] = OrderedDict()
        self.unbound = Bound()
        self.current = self.unbound
        self.arena = Arena()
        self.workspace = Arena()
        self.values: list[Any] = [None] * len(self.shared)
        self.place = {variable: k for k, variable in enumerate(self.shared)}
        self.low = self.high = 0  # all memory that updates overwrite lies in between
        self.arrays: list[Any] = []  # what sizes are read from during a call
        self.held: dict[Variable, Any] = {}  # arrays that bases point into, and other objects
        self.own: dict[Variable, np.ndarray] = {}
        for variable in [] if plan.late else [*self.inputs, *self.output_slots]:
            if variable.type.ndim == 0 and hasattr(variable.type, "dtype"):
                self.own[variable] = empty(variable, ())
                self.bases[self.base[variable]] = address(self.own[variable])

    # -- memory -----------------------------------------------------------------------------------

    def activate(self, key: Any, arrays: Sequence[Any]) -> Bound:
        """The tables for the sizes of this call, made if need be, and memory for temporaries.

        `key` are the shapes of `arrays`, the inputs, and the integers that decide sizes.
        """
        signature = (key, tuple(value.shape for value in self.values))
        bound = self.bound.get(signature)
        if bound is None:
            bound = self.binder.bind([*arrays, *self.values])
            bound.key = key
            bound.outputs = [bound.shapes[slot] for slot in self.output_slots]
            bound.run = bound.tables[0].native and bound.tables[0].native.run
            self.bound[signature] = bound
            if len(self.bound) > KEPT:
                self.bound.popitem(last=False)
        self.bound.move_to_end(signature)
        if bound is not self.current:
            self.current = self.unbound  # should one of these fail: memory may have moved
            start = self.arena.reserve(bound.arena)
            for base, offset in bound.offsets:
                self.bases[base] = start + offset
            self._reserve_workspace(bound)
            self._place_updates(bound)
            self.current = bound
        return bound

    def _reserve_workspace(self, bound: Bound) -> None:
        if bound.workspace:
            place = self.workspace.reserve(bound.workspace * driver.workers())
            self.bases[self.base[WORKSPACE]] = place

    def _point(self, variable: Variable, array: np.ndarray) -> None:
        self.bases[self.base[variable]] = address(array)
        self.held[variable] = array

    # -- shared variables -------------------------------------------------------------------------

    def point_shared(self) -> None:
        """Notice shared variables that hold another array than at the last call."""
        for k, variable in enumerate(self.shared):
            array = variable.container.on_host()  # type: ignore[attr-defined]
            if array is not self.values[k]:
                self.values[k] = array
                self.bases[self.base[variable]] = address(array)
        self.current = self.unbound

    def _place_updates(self, bound: Bound) -> None:
        """Updates overwrite the shared variable's own memory where that is planned and fits."""
        bound.fresh, written = [], []
        for k, (_, slot) in enumerate(self.update_slots):
            target = self.plan.in_place.get(slot)
            old = target.container.value if target is not None else None  # type: ignore[attr-defined]
            if old is not None and old.shape == bound.shapes[slot]:
                self.bases[self.base[slot]] = address(old)
                written.append(old)
            else:
                bound.fresh.append((k, slot))
        self.written = [(address(array), address(array) + array.nbytes) for array in written]
        self.low = min((low for low, _ in self.written), default=0)
        self.high = max((high for _, high in self.written), default=0)

    def apart(self, array: np.ndarray) -> np.ndarray:
        """`array`, copied if it shares memory with a value that is about to be overwritten."""
        start = address(array)
        stop = start + array.nbytes
        return array.copy() if any(a < stop and start < b for a, b in self.written) else array

    def make_room(self, bound: Bound) -> list[np.ndarray]:
        """Memory for the new values that do not overwrite old ones."""
        made = []
        for _, slot in bound.fresh:
            made.append(empty(slot, bound.shapes[slot]))
            self.bases[self.base[slot]] = address(made[-1])
        return made

    def commit(self, bound: Bound, made: Sequence[np.ndarray]) -> None:
        """New values take the place of old ones: nothing can fail any more."""
        for (k, slot), value in zip(bound.fresh, made, strict=True):
            shared, number = self.update_slots[k][0], self.place[self.update_slots[k][0]]
            shared.container.replace(value)  # type: ignore[attr-defined]
            if self.values[number].shape == value.shape:  # or point_shared will see to it
                self.values[number] = value
                self.bases[self.base[shared]] = self.bases[self.base[slot]]

    def free(self) -> None:
        """Let go of temporaries and of the tables of every set of sizes; calls make them anew."""
        with self.lock:
            self.bound.clear()
            self.binder.forget()
            self.current = self.unbound
            self.arena, self.workspace = Arena(), Arena()

    # -- calling ----------------------------------------------------------------------------------

    def run(self, bound: Bound, arrays: Sequence[Any]) -> None:
        """Run the steps of a program that is not a single walk of the driver."""
        self.arrays = [*arrays, *self.values]
        try:
            self._run_segment(0, bound.tables[0], bound)
        finally:
            self.arrays = []
            self.held.clear()

    def call_staged(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """One call of a program whose sizes depend on results: bind and run by segments."""
        with self.lock:
            self.point_shared()
            values = [
                np.asarray(x, v.type.dtype) if is_tensor(v) else x
                for v, x in zip(self.inputs, inputs, strict=True)
            ]
            self.arrays = [*values, *self.values]
            try:
                for variable, array in zip(self.inputs, values, strict=True):
                    if is_tensor(variable):
                        self._point(variable, array)
                bound = self._run_staged(self.arrays)
                self.commit(bound, [self.held[slot] for _, slot in bound.fresh])
                return [self.held[slot] for slot in self.output_slots]
            finally:
                self.arrays = []
                self.held.clear()

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
            reached = self.walk(tables, done, done + count)
            if reached != done + count:
                self.fail(position + reached - done)
            done, position = done + count, stop

    def walk(self, tables: Tables, first: int, last: int) -> int:
        """Run the native steps first..last of a segment; the one that was reached."""
        if tables.native is not None:
            return tables.native.run(first, last)
        functions: list[Any] = [k and k.function for k in self.binder.kernels]
        return driver.run_interpreted(
            functions, tables.steps, tables.operands, tables.sizes,
            self.bases, self.errors, first, last,
        )  # fmt: skip

    def _run_staged(self, arrays: list[Any]) -> Bound:
        """Bind and run segment by segment: later sizes are read from earlier results."""
        bound = Bound()
        bound.fresh = [(k, slot) for k, (_, slot) in enumerate(self.update_slots)]
        arrays += [None] * len(self.plan.late)
        for segment in range(len(self.plan.segments)):
            before = set(bound.shapes)
            tables = self.binder.bind_segment(segment, arrays, bound)
            for root in set(bound.shapes) - before:
                self._point(root, empty(root, bound.shapes[root]))
            self._reserve_workspace(bound)
            self._run_segment(segment, tables, bound)
            for variable in self.plan.late:
                root = self.plan.layouts[variable].root
                if self.binder.made_in.get(root) == segment:
                    arrays[self.binder.sources[variable]] = self._view_late(variable, arrays)
        return bound

    def _view_late(self, variable: Variable, arrays: list[Any]) -> np.ndarray:
        at = self.plan.layouts[variable]
        if variable in self.plan.unsized:
            return self.held[at.root]  # type: ignore[no-any-return]
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
            self._array(v, at.root, shape, offset, strides) if is_tensor(v) else self._object(v)
            for (v, at, _), (shape, offset, strides) in zip(
                step.inputs, segment_values, strict=True
            )
        ]
        results = step.run(*inputs)
        for variable, result in zip(step.node.outputs, results, strict=True):
            if not is_tensor(variable):
                self.held[variable] = result
                continue
            value = np.ascontiguousarray(variable.type.filter(np.asarray(result)))
            value = value.reshape(np.shape(result))
            root = self.plan.layouts[variable].root
            if root in self.plan.unsized:
                arrays = (x for x in inputs if isinstance(x, np.ndarray))
                shared = any(np.may_share_memory(value, x) for x in arrays)
                self._point(root, value.copy() if shared else value)
                continue
            shape = bound.shapes.get(root)
            if shape is None:
                continue
            if value.shape != shape:
                raise ValueError(
                    explain(step.node.op, "its result has another shape than infer_shape says",
                            where=step.node.trace, got=str(value.shape), expected=str(shape))
                )  # fmt: skip
            self._fill(variable, root, value)

    def _fill(self, variable: Variable, root: Variable, value: np.ndarray) -> None:
        """Put `value` into the memory of `root`."""
        self._array(variable, root, value.shape, 0, dense_strides(value.shape))[...] = value

    def _object(self, variable: Variable) -> Any:
        """The value of a variable that is no array."""
        if isinstance(variable, Constant):
            return variable.data
        if isinstance(variable, SharedVariable):
            return variable.get_value(borrow=True)
        if variable.owner is None:
            return self.arrays[self.inputs.index(variable)]
        return self.held[variable]

    def _python_values(self, step: PythonStep) -> list[Any]:
        """(shape, offset, strides) of each input, all in elements."""
        values, result, at = self.binder.layouts_of[step](self.arrays), [], 0
        for variable, _, _ in step.inputs:
            n = variable.type.ndim
            shape, offset = values[at : at + n], values[at + n]
            result.append((shape, offset, values[at + n + 1 : at + 2 * n + 1]))
            at += 2 * n + 1
        return result

    def fail(self, position: int) -> None:
        """Raise what the step at `position` noted."""
        raise fault(self.plan, position, self.errors)


def fault(plan: Plan, position: int, errors: np.ndarray) -> Exception:
    """What the step at `position` of a plan noted in `errors`, which is cleared."""
    code, index, size, label = errors.tolist()
    errors[:] = 0
    step = plan.steps[position]
    assert isinstance(step, Step)
    if isinstance(step, LoopStep) and code == REFUSED:
        raised: Exception
        raised, arguments = step.refused[index].refusal
        raised.args = arguments
        return raised.with_traceback(None)
    if isinstance(step, LoopStep):
        error = fault(step.inner.plan, size, step.binder.errors)
        return in_round(error, index, step.nodes[0].op)
    if code == 2:
        node = next((n for n in step.nodes if _divides(n)), step.nodes[0])
        return ZeroDivisionError(
            explain(node.op, "integer division or modulo by zero", where=node.trace,
                    expected="a divisor that is not 0")
        )  # fmt: skip
    node = step.nodes[label]
    refused: Exception = node.op.index_error(node, index, size)
    return refused


def _divides(node: Apply) -> bool:
    row = getattr(node.op, "scalar_op", None)
    return str(row) in ("int_div", "mod") and node.outputs[0].type.dtype in DISCRETE
