"""A compiled function on the device: bound once per set of sizes, then one graph launch a call.

Shared variables, constants and temporaries lie on the device and stay there; arguments are copied
to places of their own; results of no axes and the errors that kernels note lie in one *mailbox*,
which one copy fetches. When only addresses change, such as where a minibatch begins, the launches
that hold them are updated and nothing else is done.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from symgraph.compile.binding import Binder, Bound
from symgraph.compile.cuda.array import DeviceArray
from symgraph.compile.cuda.device import Device, Graph, Launch
from symgraph.compile.cuda.plan import Chosen
from symgraph.compile.host import compile_host
from symgraph.compile.inputs import In
from symgraph.compile.loop import KEPT
from symgraph.compile.plan import Plan
from symgraph.compile.program import Program, fault
from symgraph.compile.request import Form
from symgraph.compile.steps import ERRORS, PythonStep, dense_strides
from symgraph.graph import Constant, Variable, is_tensor

MAIL = 64  # bytes of the mailbox for errors; each result of no axes takes 8 more
FEW = 2  # so many launches are not worth a graph


class Stretch:
    """Launches between two steps of the host: one graph, from the second run on."""

    def __init__(self, device: Device, launches: Sequence[tuple[Launch, slice]]) -> None:
        self.device = device
        self.launches = [launch for launch, _ in launches]
        self.rows = [rows for _, rows in launches]
        self.stale: set[int] = set()
        self.graph: Graph | None = None
        self.has_run = False

    def moved(self, changed: np.ndarray) -> None:
        """Take note of operands whose addresses have changed."""
        if self.graph is not None:
            self.stale |= {k for k, rows in enumerate(self.rows) if changed[rows].any()}

    def run(self) -> None:
        """Launch it all."""
        if not self.has_run or len(self.launches) <= FEW:
            for launch in self.launches:
                self.device.launch(launch)
            self.has_run = True
            return
        if self.graph is None:
            self.graph = self.device.graph(self.launches)
        for k in self.stale:
            self.graph.update(k)
        self.stale.clear()
        self.graph.launch()


class DeviceTables:
    """One segment, bound to concrete sizes: what to run, and where its operands lie."""

    def __init__(self, rows: np.ndarray) -> None:
        self.base, self.offsets = rows[:, 0].copy(), rows[:, 1].copy()
        self.addresses = np.full(len(rows), -1, np.int64)
        self.moving: list[tuple[int, int, int]] = []  # (row, number of the offset, bytes)
        self.work: list[Stretch | PythonStep] = []

    def place(self, bases: np.ndarray, moved: Sequence[int]) -> None:
        """Say where everything lies now."""
        for row, k, size in self.moving:
            self.offsets[row] = moved[k] * size
        new = bases[self.base] + self.offsets
        changed = new != self.addresses
        if changed.any():
            self.addresses[:] = new
            for item in self.work:
                if isinstance(item, Stretch):
                    item.moved(changed)


class DeviceBound(Bound):
    """Everything that follows from one set of sizes: launches, and places for results."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Any] = []  # DeviceTables, one for each segment
        self.slots: dict[Variable, DeviceArray] = {}


class DeviceBinder(Binder):
    """Binds a plan's steps to launches; kernels are compiled when sizes first ask for them."""

    def __init__(
        self, plan: Plan, inputs: Sequence[Variable], shared: Sequence[Variable], device: Device
    ) -> None:
        self.device = device
        super().__init__(plan, inputs, shared, "cuda")

    def build(self) -> None:
        self.workers = 1

    def _number_bases(self, shared: Sequence[Variable]) -> None:
        super()._number_bases(shared)
        self.bases[:] = 0
        self.on_device = {}
        for root, number in self.base.items():
            if isinstance(root, Constant) and is_tensor(root):
                array = DeviceArray.of(self.device, np.asarray(root.data))
                self.on_device[root] = array
                self.bases[number] = array.address

    def bind_segment(self, segment: int, arrays: Sequence[Any], bound: Any) -> Any:
        value = self.known(segment, arrays, bound)
        rows, varying = self.operands[segment]
        tables = DeviceTables(rows)
        for row, offset, size in varying:
            tables.offsets[row] = value[offset] * size
            if offset in self.moving:
                tables.moving.append((row, self.moving[offset], size))
        first, last = self.plan.segments[segment]
        work: list[PythonStep | tuple[Chosen, slice, str]] = []
        at = 0
        for position in range(first, last):
            step = self.plan.steps[position]
            if isinstance(step, PythonStep):
                work.append(step)
                continue
            chosen = step.choose(value, position)  # type: ignore[attr-defined]
            operands = slice(at, at + len(step.operands))
            at = operands.stop
            if chosen.blocks > 0:
                work.append((chosen, operands, ", ".join(str(n.op) for n in step.nodes[:3])))
        sources = [item[0].source for item in work if isinstance(item, tuple)]
        functions = dict(zip(sources, self.device.build(sources), strict=True))
        launches: list[tuple[Launch, slice]] = []
        for item in [*work, None]:
            if isinstance(item, tuple):
                chosen, operands, name = item
                launch = Launch(
                    functions[chosen.source], chosen.blocks, chosen.threads,
                    tables.addresses[operands], np.array(chosen.sizes, np.int64), name,
                )  # fmt: skip
                launches.append((launch, operands))
                continue
            if launches:
                tables.work.append(Stretch(self.device, launches))
                launches = []
            if item is not None:
                tables.work.append(item)
        bound.tables.append(tables)
        return tables


class DeviceProgram(Program):
    """A plan on a device. `stays` are the positions of outputs that are given as DeviceArray."""

    def __init__(
        self,
        plan: Plan,
        inputs: Sequence[Variable],
        shared: Sequence[Variable],
        slots: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
        device: Device,
        stays: Sequence[int] = (),
    ) -> None:
        self.device, self.stays = device, frozenset(stays)
        self.plan, self.inputs, self.shared = plan, list(inputs), list(shared)
        self.output_slots, self.update_slots = list(slots), list(updates)
        self.binder = DeviceBinder(plan, inputs, shared, device)
        self.base, self.bases = self.binder.base, self.binder.bases
        self.is_native = False
        self.lock = threading.RLock()
        self.bound: OrderedDict[Any, Any] = OrderedDict()
        self.values: list[Any] = [None] * len(self.shared)
        self.arrays: list[Any] = []
        self.held: dict[Variable, Any] = {}
        self.room: DeviceArray | None = None
        self.letters: dict[Variable, int] = {}  # results of no axes: where in the mailbox
        for slot in self.output_slots:
            if slot.type.ndim == 0:
                self.letters[slot] = MAIL + 8 * len(self.letters)
        self.mailbox = DeviceArray(device, (MAIL + 8 * len(self.letters),), np.uint8)
        device.fill8(self.mailbox.address, 0, MAIL)
        self.bases[self.base[ERRORS]] = self.mailbox.address
        for slot, place in self.letters.items():
            self.bases[self.base[slot]] = self.mailbox.address + place
        self.is_fallible = any(step.is_fallible for step in plan.native_steps())
        self.is_checked = True  # no call has been made whose errors nobody has asked for
        read = {root for step in plan.native_steps() for root, _ in step.operands}
        self.fed = [v for v in self.inputs if v in read]  # inputs that kernels read
        self.staged: dict[Variable, DeviceArray] = {}
        self.fed_last: dict[Variable, bytes] = {}
        numbers = [*self.binder.moving, *self.binder.deciding]
        self.host: Callable[[Any], Any] = compile_host(numbers, self.binder.sources)

    # -- what is on the device --------------------------------------------------------------------

    def point_shared(self) -> None:
        """Bring shared variables that hold arrays of the host to the device."""
        for k, variable in enumerate(self.shared):
            cell = variable.container  # type: ignore[attr-defined]
            value = cell.value
            if isinstance(value, np.ndarray):
                cell.value = value = DeviceArray.of(self.device, value)
            elif isinstance(value, DeviceArray) and value.device is not self.device:
                cell.value = value = DeviceArray.of(self.device, value.on_host())
            if value is not self.values[k]:
                self.values[k] = value
                if isinstance(value, DeviceArray):
                    self.bases[self.base[variable]] = value.address

    def _feed(self, values: Sequence[Any]) -> None:
        """Bring arguments to the device, each to the place where the last one was if it fits."""
        written = {
            value.address for value in self.values if isinstance(value, DeviceArray)
        } if self.update_slots else set()  # fmt: skip
        given = dict(zip(self.inputs, values, strict=True))
        for variable in self.fed:
            value = given[variable]
            if isinstance(value, DeviceArray):
                array = value.copy() if value.address in written else value
                self.held[variable] = array
            else:
                array = self._staged(variable, np.asarray(value, variable.type.dtype))
            self.bases[self.base[variable]] = array.address

    def _staged(self, variable: Variable, value: np.ndarray) -> DeviceArray:
        """`value` on the device. Numbers travel within commands, and only if they are new."""
        place = self.staged.get(variable)
        if place is None or place.shape != value.shape:
            place = self.staged[variable] = DeviceArray(self.device, value.shape, value.dtype)
            self.fed_last.pop(variable, None)
        if value.ndim:
            place.fill(value)
            return place
        content = value.tobytes()
        if self.fed_last.get(variable) != content:
            _fill_number(self.device, place.address, content)
            self.fed_last[variable] = content
        return place

    def _reserve(self, bound: DeviceBound) -> None:
        """Memory for the temporaries and the results of these sizes."""
        if self.room is None or self.room.nbytes < bound.arena:
            self.room = DeviceArray(self.device, (bound.arena,), np.uint8)
        for base, offset in bound.offsets:
            self.bases[base] = self.room.address + offset
        for slot, array in bound.slots.items():
            self.bases[self.base[slot]] = array.address
        bound.fresh = []
        for k, (target, slot) in enumerate(self.update_slots):
            old = target.container.value  # type: ignore[attr-defined]
            if old.shape == bound.shapes[slot]:
                self.bases[self.base[slot]] = old.address
            else:
                new = DeviceArray(self.device, bound.shapes[slot], slot.type.dtype)
                new.is_home = old.is_home
                self.held[slot] = new
                self.bases[self.base[slot]] = new.address
                bound.fresh.append((k, slot))

    # -- calling ----------------------------------------------------------------------------------

    def call(self, values: Sequence[Any]) -> list[Any]:
        """The outputs for these values of the inputs, arrays of the right types."""
        with self.lock, self.device.lock:
            try:
                self.point_shared()
                self.arrays = [*values, *self.values]
                if self.plan.late:
                    return self._call_staged(values)
                bound, moved = self._bound(values)
                self._feed(values)
                self._reserve(bound)
                for tables in bound.tables:
                    self._run(tables, bound, moved)
                return self._finish(bound, [bound.slots.get(s) for s in self.output_slots])
            finally:
                self.arrays = []
                self.held.clear()

    def _bound(self, values: Sequence[Any]) -> tuple[DeviceBound, Sequence[int]]:
        """The tables for the sizes of this call, and the offsets that moved."""
        numbers = self.host(self.arrays)
        moving = len(self.binder.moving)
        shapes = tuple(getattr(array, "shape", None) for array in self.arrays)
        key = shapes, numbers[moving:]
        bound = self.bound.get(key)
        if bound is None:
            bound = self.binder.bind(self.arrays, DeviceBound())
            bound.slots = {
                slot: DeviceArray(self.device, bound.shapes[slot], slot.type.dtype)
                for slot in self.output_slots if slot not in self.letters
            }  # fmt: skip
            self.bound[key] = bound
            if len(self.bound) > KEPT:
                self.bound.popitem(last=False)
        self.bound.move_to_end(key)
        return bound, numbers[:moving]

    def _run(self, tables: DeviceTables, bound: DeviceBound, moved: Sequence[int]) -> None:
        self.is_checked = self.is_checked and not self.is_fallible
        tables.place(self.bases, moved)
        for item in tables.work:
            if isinstance(item, Stretch):
                item.run()
            else:
                self.check()  # what the host does cannot be taken back
                self._run_python(item, bound)
                tables.place(self.bases, moved)  # its results may lie elsewhere than the last ones

    def check(self) -> None:
        """Raise what kernels have noted since this was last asked."""
        if not self.is_checked:
            self._open()

    def _open(self) -> np.ndarray:
        """What is in the mailbox. Raises the error that is."""
        mail = self.mailbox.on_host()
        self.is_checked = True
        words = mail[:MAIL].view(np.int64)
        if words[0]:
            self.device.fill8(self.mailbox.address, 0, MAIL)
            raise fault(self.plan, int(words[4]), words[:4])
        return mail

    def _finish(self, bound: DeviceBound, arrays: Sequence[DeviceArray | None]) -> list[Any]:
        """The results, and shared variables of another size. `arrays` None: in the mailbox."""
        here = [k for k in range(len(arrays)) if k not in self.stays]
        mail = None
        if bound.fresh or any(arrays[k] is None for k in here) or (here and not self.is_checked):
            mail = self._open()
        for k, slot in bound.fresh:
            self.update_slots[k][0].container.replace(self.held[slot])  # type: ignore[attr-defined]
        results = [
            self._kept(k, array) if k in self.stays else self._brought(k, array, mail)
            for k, array in enumerate(arrays)
        ]
        if not self.is_checked:
            for target, _ in self.update_slots:
                target.container.value.checks.add(self.check)  # type: ignore[attr-defined]
        return results

    def _brought(self, k: int, array: DeviceArray | None, mail: np.ndarray | None) -> np.ndarray:
        """Result `k` as an array of the host."""
        if array is not None:
            return array.on_host()
        slot, dtype = self.output_slots[k], np.dtype(self.output_slots[k].type.dtype)
        assert mail is not None
        place = self.letters[slot]
        return mail[place : place + dtype.itemsize].view(dtype).reshape(()).copy()

    def _kept(self, k: int, array: DeviceArray | None) -> DeviceArray:
        """Result `k` on the device: a copy, as the next call writes to the same place."""
        slot = self.output_slots[k]
        kept: DeviceArray
        if array is None:
            kept = DeviceArray(self.device, (), slot.type.dtype)
            self.device.copy(kept.address, self.mailbox.address + self.letters[slot], kept.nbytes)
        else:
            kept = array.copy() if array is not self.held.get(slot) else array
        if not self.is_checked:
            kept.checks.add(self.check)
        return kept

    def _call_staged(self, values: Sequence[Any]) -> list[Any]:
        """One call of a program whose sizes depend on results."""
        self._feed(values)
        bound = DeviceBound()
        bound.fresh = [(k, slot) for k, (_, slot) in enumerate(self.update_slots)]
        self.arrays += [None] * len(self.plan.late)
        for segment in range(len(self.plan.segments)):
            before = set(bound.shapes)
            tables: Any = self.binder.bind_segment(segment, self.arrays, bound)
            for root in set(bound.shapes) - before:
                if root not in self.letters:
                    self._hold(root, DeviceArray(self.device, bound.shapes[root], root.type.dtype))
            self._run(tables, bound, [])
            for variable in self.plan.late:
                root = self.plan.layouts[variable].root
                if self.binder.made_in.get(root) == segment:
                    self.check()
                    at = self.binder.sources[variable]
                    self.arrays[at] = self._view_late(variable, self.arrays)
        return self._finish(bound, [self.held.get(slot) for slot in self.output_slots])

    def _hold(self, root: Variable, array: DeviceArray) -> None:
        self.held[root] = array
        self.bases[self.base[root]] = array.address

    # -- steps of the host ------------------------------------------------------------------------

    def _point(self, variable: Variable, array: np.ndarray) -> None:
        """Put the result of a step of the host on the device."""
        self._hold(variable, DeviceArray.of(self.device, array))

    def _fill(self, variable: Variable, root: Variable, value: np.ndarray) -> None:
        if value.nbytes:
            self.device.upload(int(self.bases[self.base[root]]), np.ascontiguousarray(value))

    def _known(self, root: Variable) -> Any:
        """What the host has of `root` anyway: a constant, or an argument."""
        if isinstance(root, Constant):
            return root.data
        return self.arrays[self.inputs.index(root)] if root in self.inputs else None

    def _array(
        self,
        variable: Variable,
        root: Variable,
        shape: Sequence[int],
        offset: int,
        strides: Sequence[int],
    ) -> np.ndarray:
        """A copy of a variable's memory."""
        dtype = np.dtype(variable.type.dtype)
        if 0 in shape:
            return np.empty(tuple(shape), dtype)
        known = self._known(root)
        if known is not None:
            whole = np.ascontiguousarray(known, dtype).reshape(-1)
            return np.array(_strided(whole, offset, shape, strides))
        low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
        high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0)
        whole = np.empty(high - low + 1, dtype)
        start = int(self.bases[self.base[root]]) + (offset + low) * dtype.itemsize
        self.device.download(whole, start)
        view = _strided(whole, -low, shape, strides)
        return view if tuple(strides) == dense_strides(shape) else np.array(view)

    def _view_late(self, variable: Variable, arrays: list[Any]) -> np.ndarray:
        value: Any = super()._view_late(variable, arrays)
        return np.asarray(value)  # what the host reads sizes from

    def free(self) -> None:
        """Let go of temporaries and of what was bound; calls make them anew."""
        with self.lock:
            self.bound.clear()
            self.binder.forget()
            self.room = None
            self.staged.clear()
            self.fed_last.clear()


def _fill_number(device: Device, address: int, content: bytes) -> None:
    """Write a number of 1 to 8 bytes by commands that carry it."""
    if len(content) % 4:
        for k, byte in enumerate(content):
            device.fill8(address + k, byte, 1)
        return
    for k in range(0, len(content), 4):
        device.fill(address + k, int.from_bytes(content[k : k + 4], "little"), 1)


def _strided(
    whole: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int]
) -> np.ndarray:
    size = whole.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
        whole[offset:], tuple(shape), tuple(s * size for s in strides)
    )


class DeviceCallPath:
    """How a function that runs on a device takes its arguments and gives its results."""

    def __init__(
        self, program: DeviceProgram, ins: Sequence[In], form: Form, trusted: bool
    ) -> None:
        self.program, self.ins, self.form, self.trusted = program, list(ins), form, trusted

    def call(self, owner: Any, *values: Any) -> Any:
        """One call of the `Function` that owns this."""
        given = list(values) if self.trusted else list(self._accepted(owner, values))
        results = self.program.call(given)
        if self.form == "single":
            return results[0]
        if isinstance(self.form, str):
            return results
        return dict(zip(self.form, results, strict=True))

    def _accepted(self, owner: Any, values: Sequence[Any]) -> Iterator[Any]:
        for k, (item, value) in enumerate(zip(self.ins, values, strict=True)):
            if isinstance(value, DeviceArray) and self._fits(item, value):
                yield value
            else:
                if isinstance(value, DeviceArray):
                    value = value.on_host()
                yield owner.accept(k, value)

    def _fits(self, item: In, value: DeviceArray) -> bool:
        kind = item.variable.type
        return (
            value.device is self.program.device
            and is_tensor(item.variable)
            and value.dtype == kind.dtype
            and value.ndim == kind.ndim
            and all(n == 1 for n, one in zip(value.shape, kind.broadcastable, strict=True) if one)
        )
