"""A compiled function on the device: bound once per set of sizes, then one graph launch a call.

Shared variables, constants and temporaries lie on the device and stay there; arguments are copied
to places of their own; results of no axes and the errors that kernels note lie in one mailbox,
which one copy fetches. When only addresses change, such as where a minibatch begins, the launches
that hold them are updated and nothing else is done.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from symgraph.compile.binding import nbytes
from symgraph.compile.cuda.array import DeviceArray, Doubt
from symgraph.compile.cuda.binding import HELD, DeviceBinder, DeviceBound, DeviceTables, Sites
from symgraph.compile.cuda.device import ALIGN, Device, Launch
from symgraph.compile.cuda.mailbox import Mailbox
from symgraph.compile.loop import KEPT
from symgraph.compile.plan import Plan
from symgraph.compile.program import Program
from symgraph.compile.steps import ERRORS, PythonStep, dense_strides
from symgraph.graph import Constant, Variable


class Feed:
    """Where an argument goes on the device. Numbers travel within commands, and only new ones."""

    def __init__(self, device: Device, dtype: str) -> None:
        self.device, self.dtype = device, np.dtype(dtype)
        self.place: DeviceArray | None = None
        self.content = b""  # the number that is there

    def bring(self, value: Any) -> DeviceArray:
        """`value` on the device: where the last one was, if it fits there."""
        value = np.asarray(value, self.dtype)
        place = self.place
        if place is None or place.shape != value.shape:
            place = self.place = None  # makes room for the new one
            self.content = b""
            place = self.place = DeviceArray(self.device, value.shape, self.dtype)
        if value.ndim:
            place.fill(value)
            return place
        content = value.tobytes()
        if content != self.content:
            self.content = b""  # should the driver refuse
            _fill_number(self.device, place.address, content)
            self.content = content
        return place


class DeviceProgram(Program):
    """A plan on a device. `stays` are the positions of outputs that are given as DeviceArray.

    `version` counts the changes of `bases`; `held` is what one call keeps alive: new memory of
    slots, copies of arguments, results of steps of the host.
    """

    binder: DeviceBinder

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
        self.binder = DeviceBinder(plan, inputs, shared)
        self.base, self.bases = self.binder.base, self.binder.bases
        self.sites = Sites(plan)
        self.version = 0
        self.is_native, self.own, self.lock = False, {}, device.lock
        self.bound: OrderedDict[Any, Any] = OrderedDict()
        self.current = self.unbound = DeviceBound()
        self.latest: DeviceBound | None = None  # what the last call ran
        self.values: list[Any] = [None] * len(self.shared)
        self.place = {variable: k for k, variable in enumerate(self.shared)}
        self.arrays: list[Any] = []
        self.held: dict[Variable, Any] = {}
        self.room: DeviceArray | None = None
        self.mail = Mailbox(device, self.sites, [s for s in self.output_slots if s.type.ndim == 0])
        self._aim(ERRORS, self.mail.address)
        for slot, place in self.mail.place.items():
            self._aim(slot, self.mail.address + place)
        self.is_fallible = any(step.is_fallible for step in plan.native_steps())
        self.has_host = any(isinstance(step, PythonStep) for step in plan.steps)
        self.fetched = [s for k, s in enumerate(self.output_slots) if k not in self.stays]
        self.waits = bool(self.fetched or self.has_host or plan.late)
        self.has_letter = any(slot in self.mail.place for slot in self.fetched)
        read = {root for step in plan.native_steps() for root, _ in step.operands}
        self.feeds = {k: Feed(device, v.type.dtype) for k, v in enumerate(self.inputs) if v in read}
        self.on_device: dict[Variable, DeviceArray] = {}  # constants
        for root in self.base:
            if isinstance(root, Constant) and root in read:
                self.on_device[root] = array = DeviceArray.of(device, np.asarray(root.data))
                self._aim(root, array.address)

    # -- what is on the device --------------------------------------------------------------------

    def _aim(self, root: Variable | str, address: int) -> None:
        """Say where the memory of `root` is."""
        number = self.base[root]
        if self.bases[number] != address:
            self.version += 1
            self.bases[number] = address

    def _hold(self, root: Variable, array: DeviceArray) -> None:
        """Let `root` be in `array` during this call."""
        self.held[root] = array
        self._aim(root, array.address)

    def point_shared(self) -> None:
        """Notice shared variables that hold another array than at the last call, and bring those
        of the host to the device."""
        self.current = self.unbound
        for k, variable in enumerate(self.shared):
            cell = variable.container  # type: ignore[attr-defined]
            value = cell.value
            if isinstance(value, DeviceArray) and value.device is not self.device:
                value = value.on_host()
            if isinstance(value, np.ndarray):
                cell.value = value = DeviceArray.of(self.device, value)
            if isinstance(value, DeviceArray):
                self._aim(variable, value.address)
            self.values[k] = value

    def activate(self, key: Any, arrays: Sequence[Any]) -> DeviceBound:
        """The tables for the sizes of this call, made if need be, and memory for temporaries and
        results. `key` is as for `Program`."""
        shapes = tuple(getattr(value, "shape", None) for value in self.values)
        bound: DeviceBound | None = self.bound.get((key, shapes))
        if bound is None:
            bound = self.bound[key, shapes] = self._bind([*arrays, *self.values])
            bound.key = key
            while len(self.bound) > 1 and (len(self.bound) > KEPT or self._held() > HELD):
                self.bound.popitem(last=False)
        self.bound.move_to_end((key, shapes))
        if bound is not self.current:
            self.current = self.unbound  # should one of these fail: memory may have moved
            self._reserve(bound)
            self.current = bound
        return bound

    def _held(self) -> int:
        return sum(bound.held for bound in self.bound.values())

    def _bind(self, arrays: Sequence[Any]) -> DeviceBound:
        bound: DeviceBound = self.binder.bind(arrays, DeviceBound())
        lengths = self.binder.lengths(bound)
        bound.tables = [
            DeviceTables(self.device, self.sites, work, lengths) for work in bound.tables
        ]
        for slot in self.fetched:
            if slot not in self.mail.place:  # behind the temporaries
                bound.offsets.append((self.base[slot], bound.arena))
                bound.arena += -(-nbytes(slot, bound.shapes[slot]) // ALIGN) * ALIGN
        return bound

    def _reserve(self, bound: DeviceBound) -> None:
        """Memory for the temporaries and the results of these sizes; where updates go: in place, if
        the new value has the old one's shape."""
        if self.room is None or self.room.nbytes < bound.arena:
            self.room = None
            self.room = DeviceArray(self.device, (bound.arena,), np.uint8)
        for number, offset in bound.offsets:
            self.bases[number] = self.room.address + offset
        self.version += 1
        bound.fresh = []
        for k, (target, slot) in enumerate(self.update_slots):
            old = self.values[self.place[target]]
            if old.shape == bound.shapes[slot]:
                self._aim(slot, old.address)
            else:
                bound.fresh.append((k, slot))
        stay = [self.output_slots[k] for k in sorted(self.stays)]
        bound.made = [*stay, *(slot for _, slot in bound.fresh)]

    def _feed(self, arguments: Sequence[Any]) -> None:
        """Bring to the device what kernels read of the arguments."""
        for k, feed in self.feeds.items():
            value = arguments[k]
            if isinstance(value, DeviceArray):
                if any(value is self.values[self.place[t]] for t, _ in self.update_slots):
                    value = value.copy()  # is about to be overwritten
                self._hold(self.inputs[k], value)
            else:
                self._aim(self.inputs[k], feed.bring(value).address)

    # -- calling ----------------------------------------------------------------------------------

    def run(  # type: ignore[override]
        self, bound: DeviceBound, arguments: Sequence[Any], moved: Sequence[int]
    ) -> list[Any]:
        """The outputs of one call whose sizes are bound; `moved` are the offsets that integers of
        the call decide. Nothing is launched before all memory is there."""
        doubts = self._doubts(arguments)
        self.latest = bound
        try:
            for slot in bound.made:
                array = DeviceArray(self.device, bound.shapes[slot], slot.type.dtype)
                if slot in self.mail.place:
                    self.held[slot] = array
                else:
                    self._hold(slot, array)
            self._feed(arguments)
            if self.has_host:
                self.arrays = [*arguments, *self.values]
            for tables in bound.tables:
                self._launch(tables, bound, moved)
            return self._finish(bound, doubts)
        finally:
            self.arrays = []
            self.held.clear()

    def _doubts(self, arguments: Sequence[Any]) -> set[Doubt]:
        """What must hold before anything counts that this call reads. Who waits for the device asks
        before anything is changed."""
        found: set[Doubt] = set()
        for value in (*self.values, *arguments):
            if type(value) is DeviceArray and value.doubts:
                found |= value.doubts
        found.discard(self.mail)
        if found and self.waits:
            for doubt in found:
                doubt.check()
            return set()
        return found

    def _launch(self, tables: DeviceTables, bound: DeviceBound, moved: Sequence[int]) -> None:
        if self.is_fallible:
            self.mail.is_checked = False
        for item in tables.work:
            if isinstance(item, PythonStep):
                self.mail.check()  # what the host does cannot be taken back
                self._run_python(item, bound)
            else:
                tables.place(self.bases, self.version, moved)
                item.run()

    def _finish(self, bound: DeviceBound, doubts: set[Doubt]) -> list[Any]:
        """The results, and shared variables of another shape."""
        mail = None
        refuses = any(tables.refuses for tables in bound.tables)  # what these will not know later
        waits = self.fetched or bound.fresh or refuses
        if self.has_letter or (waits and not self.mail.is_checked):
            mail = self.mail.open()
        for k, slot in bound.fresh:
            self.update_slots[k][0].container.replace(self.held[slot])  # type: ignore[attr-defined]
        results: list[Any] = []
        for k, slot in enumerate(self.output_slots):
            if k in self.stays:
                results.append(self._kept(slot))
            elif slot in self.mail.place:
                assert mail is not None
                results.append(self.mail.letter(mail, slot))
            else:
                results.append(self._fetch(slot, bound.shapes[slot]))
        if not self.mail.is_checked:
            doubts.add(self.mail)
        if doubts:
            old = [self.values[self.place[target]] for target, _ in self.update_slots]
            new = [self.held.get(slot) for _, slot in self.update_slots]
            for array in (*old, *new, *results):
                if isinstance(array, DeviceArray):
                    array.doubts |= doubts
        return results

    def _kept(self, slot: Variable) -> DeviceArray:
        """A result that stays on the device: memory of its own."""
        kept: DeviceArray = self.held[slot]
        if slot in self.mail.place:
            place = self.mail.address + self.mail.place[slot]
            self.device.copy(kept.address, place, kept.nbytes)
        return kept

    def _fetch(self, slot: Variable, shape: tuple[int, ...]) -> np.ndarray:
        array = np.empty(shape, slot.type.dtype)
        if array.nbytes:
            self.device.download(array, int(self.bases[self.base[slot]]))
        return array

    def call_staged(self, inputs: Sequence[Any]) -> list[Any]:
        """One call of a program whose sizes depend on results: bind and run by segments. Updates
        make new arrays, so that a later segment that fails has changed nothing."""
        with self.device.lock:
            self.point_shared()
            doubts = self._doubts(inputs)
            self.arrays = [*inputs, *self.values, *[None] * len(self.plan.late)]
            self.latest = bound = DeviceBound()
            bound.fresh = [(k, slot) for k, (_, slot) in enumerate(self.update_slots)]
            try:
                self._feed(inputs)
                for segment in range(len(self.plan.segments)):
                    self._run_late(segment, bound)
                return self._finish(bound, doubts)
            finally:
                self.arrays = []
                self.held.clear()

    def _run_late(self, segment: int, bound: DeviceBound) -> None:
        before = set(bound.shapes)
        work: Any = self.binder.bind_segment(segment, self.arrays, bound)
        alone = np.ones(len(self.base), np.int64)
        tables = bound.tables[-1] = DeviceTables(self.device, self.sites, work, alone)
        for root in set(bound.shapes) - before:
            array = DeviceArray(self.device, bound.shapes[root], root.type.dtype)
            if root in self.mail.place:
                self.held[root] = array
            else:
                self._hold(root, array)
        self._launch(tables, bound, ())
        for variable in self.plan.late:
            root = self.plan.layouts[variable].root
            if self.binder.made_in.get(root) == segment:
                self.mail.check()
                place = self.binder.sources[variable]
                self.arrays[place] = self._view_late(variable, self.arrays)

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

    def launched(self) -> Iterator[Launch]:
        """What the last call launched, in order."""
        for tables in self.latest.tables if self.latest is not None else ():
            for item in tables.work:
                if not isinstance(item, PythonStep):
                    yield from item.launches

    def free(self) -> None:
        """Let go of temporaries and of what was bound; calls make them anew."""
        with self.device.lock:
            self.bound.clear()
            self.binder.forget()
            self.current = self.unbound
            self.room = self.latest = None
            for feed in self.feeds.values():
                feed.place, feed.content = None, b""


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
