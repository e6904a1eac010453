"""Binding on the device: from a plan and the sizes of one call to launches and graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from symgraph.compile.binding import Binder, Bound, nbytes
from symgraph.compile.cuda.calls import ROW, Call, ProductCall
from symgraph.compile.cuda.cublas import Multiplication
from symgraph.compile.cuda.dependencies import MOST, Access, Range, dependencies
from symgraph.compile.cuda.device import Device, Graph, Launch
from symgraph.compile.cuda.loop import DeviceLoop, Turns
from symgraph.compile.cuda.plan import CublasProduct
from symgraph.compile.plan import Plan
from symgraph.compile.program import fault
from symgraph.compile.steps import PythonStep
from symgraph.errors import in_round
from symgraph.expr import Expr
from symgraph.graph import Variable

FEW = 2  # so many launches are not worth a graph
MANY = 20_000  # launches of a loop that are kept; of more, each is made when its turn comes
LONG = 64  # launches of a branch that cost more than asking the device whether it is chosen
HELD = 200_000  # launches that a program keeps, for all sets of sizes together: 0.7 kB each
ROUND = 1 << 24  # sites of one round, at most
ERRORS_BASE = 0  # Binder numbers it first


class Sites:
    """Numbers for the places in a program where kernels may refuse data."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.known: dict[tuple[int, ...], int] = {}

    def number(self, site: tuple[int, ...]) -> int:
        """The number of a call's site. The outermost round is part of the number, so that a long
        loop needs no more of them than a short one."""
        outermost = site[1] if len(site) > 1 else 0
        key = (*site[:1], *site[2:])
        return ROUND * outermost + self.known.setdefault(key, len(self.known))

    def fault(self, words: np.ndarray) -> Exception:
        """What a kernel noted: a code, three facts, the number of its site."""
        outermost, number = divmod(int(words[4]), ROUND)
        position, *rest = list(self.known)[number]
        return _fault(self.plan, (position, outermost, *rest) if rest else (position,), words[:4])


def _fault(plan: Plan, site: Sequence[int], words: np.ndarray) -> Exception:
    position, *rest = site
    if not rest:
        return fault(plan, position, words)
    step, t = plan.steps[position], rest[0]
    assert isinstance(step, DeviceLoop)
    return in_round(_fault(step.inner.plan, rest[1:], words), t, step.nodes[0].op)


class Stretch:
    """Launches between two steps of the host: one graph, from the second run on. `stale` are those
    whose addresses have changed since the graph read them."""

    def __init__(
        self, tables: DeviceTables, calls: Sequence[Call], launches: Sequence[Launch], first: int
    ) -> None:
        self.tables, self.device, self.launches = tables, tables.device, launches
        self.calls = calls if len(calls) <= MOST else ()  # for a graph that is no chain
        counts = [len(launch.arrays) for launch in launches]
        self.rows = slice(first, first + sum(counts))
        self.launch_of = np.repeat(np.arange(len(counts)), counts)
        self.stale: set[int] = set()
        self.graph: Graph | None = None
        self.has_run = False

    def moved(self, changed: np.ndarray) -> None:
        """Take note of operands whose addresses have changed."""
        self.stale.update(self.launch_of[changed[self.rows]].tolist())

    def run(self) -> None:
        """Launch it all."""
        if not self.has_run or len(self.launches) <= FEW:
            for launch in self.launches:
                self.device.launch(launch)
            self.has_run = True
            return
        if self.graph is None:
            self.graph = self.device.graph(self.launches, self._dependencies())
        else:
            for k in self.stale:
                self.graph.update(k)
        self.stale.clear()
        self.graph.launch()

    def _dependencies(self) -> list[list[int]] | None:
        """Which launches each one waits for; None: one after the other."""
        if not self.calls:
            return None
        accesses = [self._access(call) for call in self.calls]
        self.calls = ()
        return dependencies(accesses)

    def _access(self, call: Call) -> Access:
        """What a launch touches, as whole roots: wherever within them an offset moves it."""
        bases, lengths = self.tables.bases, self.tables.lengths

        def ranges(numbers: Iterable[int]) -> list[Range]:
            found = [(int(bases[b]), int(bases[b] + lengths[b])) for b in numbers]
            return [(start, stop) for start, stop in found if start]  # nothing is at address 0

        numbers = call.rows[:, 0].tolist()
        noted = [b for b in numbers if b == ERRORS_BASE]
        touched = [b for b in numbers[call.written :] if b != ERRORS_BASE]
        return Access(
            ranges(touched),
            ranges([*numbers[: call.written], *call.also]),
            notes=[] if call.guarded else ranges(noted),
            asks=ranges(noted) if call.guarded else [],
        )


class Stream:
    """A loop of so many launches that none is kept."""

    def __init__(self, tables: DeviceTables, turns: Turns) -> None:
        self.tables, self.turns = tables, turns

    @property
    def launches(self) -> Iterator[Launch]:
        """Each in turn, with the addresses of this call."""
        for call in self.turns:
            yield self.tables.launch(call, self.tables.where(call.rows))

    def run(self) -> None:
        """Launch it all."""
        for launch in self.launches:
            self.tables.device.launch(launch)


class Branch:
    """Launches that would do nothing unless the bool scalar at the row `condition` is `wanted`:
    the host asks, and leaves them out."""

    def __init__(
        self, tables: DeviceTables, of: Stretch | Stream, condition: np.ndarray, wanted: bool
    ) -> None:
        self.tables, self.of, self.condition, self.wanted = tables, of, condition, wanted

    @property
    def launches(self) -> Iterable[Launch]:
        """As of what is left out or not."""
        return self.of.launches

    def run(self) -> None:
        """Launch it all, or nothing."""
        (address,) = self.tables.where(self.condition[None]).tolist()
        found = np.empty((), np.bool_)
        self.tables.device.download(found, address)
        if found == self.wanted:
            self.of.run()


class ByCublas:
    """A product by cuBLAS, between two graphs."""

    launches: tuple[Launch, ...] = ()

    def __init__(self, tables: DeviceTables, call: ProductCall) -> None:
        self.tables, self.call = tables, call

    def run(self) -> None:
        """Queue it, with the addresses of this call."""
        dtype, what, rows, step = self.call
        c, a, b = self.tables.where(rows).tolist()
        self.tables.device.multiply(Multiplication(dtype, what, c, a, b, step))


class DeviceTables:
    """One segment, bound to concrete sizes: what to run, and where its operands lie.

    `lengths`, int64: bytes of what each base points to, if other bases point close behind it.
    """

    def __init__(
        self,
        device: Device,
        sites: Sites,
        bound: Sequence[Bindable],
        lengths: np.ndarray,
    ) -> None:
        self.device, self.sites, self.lengths = device, sites, lengths
        self.bound = bound  # kept: an error may be told by it
        self.version = -1
        self.moved: Sequence[int] = ()
        self.refuses = any(isinstance(item, Turns) and item.refuses for item in bound)
        parts = list(_parts(bound))
        calls = [call for part, _ in parts if isinstance(part, list) for call in part]
        device.build([call.chosen.source for call in calls])
        none = np.empty((0, ROW), np.int64)
        self.rows = np.concatenate([none, *(call.rows for call in calls)])
        self.addresses = np.full(len(self.rows), -1, np.int64)
        self.bases = np.empty(0, np.int64)
        self.moving: list[tuple[Stretch, int, int, list[int]]] = []  # rows with moving offsets
        self.work: list[Stretch | Stream | Branch | ByCublas | PythonStep] = []
        self.stretches: list[Stretch] = []
        for part, asked in parts:
            if isinstance(part, PythonStep):
                self.work.append(part)
                continue
            if isinstance(part, ProductCall):
                self.work.append(ByCublas(self, part))
                continue
            item = Stream(self, part) if isinstance(part, Turns) else self._stretch(part)
            self.work.append(item if asked is None else Branch(self, item, *asked))

    def _stretch(self, calls: Sequence[Call]) -> Stretch:
        """The launches for `calls`, whose rows follow those of the stretch before."""
        first = start = self.stretches[-1].rows.stop if self.stretches else 0
        launches = []
        for call in calls:
            place = slice(first, first + len(call.rows))
            launches.append(self.launch(call, self.addresses[place]))
            first = place.stop
        stretch = Stretch(self, calls, launches, start)
        self.stretches.append(stretch)
        for row, k in enumerate(stretch.launch_of.tolist(), start):
            if self.rows[row, 2] >= 0:
                self.moving.append((stretch, k, row, self.rows[row].tolist()))
        return stretch

    def launch(self, call: Call, addresses: np.ndarray) -> Launch:
        """The launch for a call whose operands lie at `addresses`."""
        chosen, sizes = call.chosen, call.chosen.sizes
        if call.may_refuse:
            sizes = [*sizes, self.sites.number(call.site)]
        (function,) = self.device.build([chosen.source])
        return Launch(
            function, chosen.blocks, chosen.threads, addresses, np.array(sizes, np.int64),
            call.name, call.site[0], chosen.source,
        )  # fmt: skip

    def where(self, rows: np.ndarray) -> np.ndarray:
        """The addresses of operands."""
        base, offset, number, size = rows.T
        moved = np.array([*self.moved, 0], np.int64)  # the last is for what does not move
        return np.ascontiguousarray(self.bases[base] + offset + moved[number] * size)

    def place(self, bases: np.ndarray, version: int, moved: Sequence[int]) -> None:
        """Say where everything lies now; `version` counts the changes of `bases`."""
        if version == self.version and moved == self.moved:
            return
        known, self.version = self.version, -1  # until all is done: this may be interrupted
        self.bases, self.moved = bases, moved
        if known == version:
            self._move(moved)
        else:
            new = self.where(self.rows)
            changed = new != self.addresses
            if changed.any():
                for stretch in self.stretches:
                    stretch.moved(changed)
                self.addresses[:] = new
        self.version = version

    def _move(self, moved: Sequence[int]) -> None:
        """Only offsets have changed, which are few."""
        bases, addresses = self.bases.data, self.addresses.data
        for stretch, k, row, (base, offset, number, size) in self.moving:
            address = bases[base] + offset + moved[number] * size
            if addresses[row] != address:
                stretch.stale.add(k)
                addresses[row] = address


Bindable = Call | Turns | ProductCall | PythonStep
Part = list[Call] | Turns | ProductCall | PythonStep


def _parts(
    bound: Iterable[Bindable],
) -> Iterator[tuple[Part, tuple[np.ndarray, bool] | None]]:
    """The launches between two steps of the host or products by cuBLAS as a list; apart, loops of
    more than are kept, and long branches, with the condition that the host asks for."""
    calls: list[Call] = []
    for item in bound:
        part: Part
        part, asked = [item] if isinstance(item, Call) else item, None
        if isinstance(item, Turns):
            part = list(item) if item.count <= MANY else item
            asked = item.condition if item.count > LONG else None
        if isinstance(part, list) and asked is None:
            calls += part
            continue
        if calls:
            yield calls, None
        calls = []
        yield part, asked
    if calls:
        yield calls, None


class DeviceBound(Bound):
    """Everything that follows from one set of sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Any] = []  # DeviceTables, one for each segment
        self.made: list[Variable] = []  # slots that get new memory in each call

    @property
    def held(self) -> int:
        """How many launches it keeps."""
        return sum(len(s.launches) for tables in self.tables for s in tables.stretches)


class DeviceBinder(Binder):
    """Binds a plan's steps to calls. `is_inner`: it is the plan of a loop's rounds, of which
    nothing changes from call to call without being bound anew."""

    def __init__(
        self,
        plan: Plan,
        inputs: Sequence[Variable],
        shared: Sequence[Variable],
        is_inner: bool = False,
    ) -> None:
        self.is_inner = is_inner
        super().__init__(plan, inputs, shared, "cuda")

    def build(self) -> None:
        self.workers = 1
        for step in self.plan.steps:
            if isinstance(step, DeviceLoop):
                step.use(DeviceBinder(step.inner.plan, step.inner.rounds.inner.inputs, [], True))

    def _number_bases(self, shared: Sequence[Variable]) -> None:
        super()._number_bases(shared)
        self.bases[:] = 0

    def lengths(self, bound: Bound) -> np.ndarray:
        """Bytes of each temporary, by base; 1 for all that lies by itself."""
        found = np.ones(len(self.base), np.int64)
        for root in self.lifetimes:
            if root in bound.shapes:
                found[self.base[root]] = max(1, nbytes(root, bound.shapes[root]))
        return found

    def _find_moving(self, every: Iterable[Expr]) -> None:
        super()._find_moving([] if self.is_inner else every)

    def bind_segment(self, segment: int, arrays: Sequence[Any], bound: Any) -> Any:
        """Calls, loops and steps of the host in order; also the last of `bound.tables`."""
        value = self.known(segment, arrays, bound)
        known, varying = self.operands[segment]
        rows = np.zeros((len(known), ROW), np.int64)
        rows[:, :2], rows[:, 2] = known[:, :2], -1
        for row, offset, size in varying:
            if offset in self.moving:
                rows[row, 2:] = self.moving[offset], size
            else:
                rows[row, 1] = value[offset] * size
        first, last = self.plan.segments[segment]
        work: list[Bindable] = []
        at = 0
        for position in range(first, last):
            step: Any = self.plan.steps[position]
            if isinstance(step, PythonStep):
                work.append(step)
                continue
            own = rows[at : at + len(step.operands)]
            at += len(own)
            if isinstance(step, DeviceLoop):
                turns = step.turns(value, own, position)
                bound.shapes[step.arena] = (turns.nbytes,)
                work.append(turns)
                continue
            if isinstance(step, CublasProduct):
                what = step.choose(value)
                if what is not None:
                    work.append(ProductCall(step.dtype, what, own, position))
                continue
            chosen = step.choose(value)
            if chosen.blocks > 0:
                name = ", ".join(str(n.op) for n in step.nodes[:3])
                also = tuple(self.base[target] for target in step.overwrites)
                work.append(
                    Call(chosen, own, name, (position,), step.is_fallible, step.outs, step.guarded,
                         also)
                )  # fmt: skip
        bound.tables.append(work)
        return work
