"""Loops made ready to run: what no rule of one node can say about `Scan`.

    two loops over the same things with the same step   ->  one loop with the outputs of both
    a history of which only the last row is used        ->  a carry: no history in memory
    a part of the step that is the same in each round   ->  computed once, outside
    x[i] in a step, where i changes                     ->  a gather: no offset changes
    results, states and inputs that nobody uses         ->  left out

The inner graphs are rewritten by the same tables as the graph around them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from symgraph.graph import Apply, Constant, Variable, clone_replace, rebuild, toposort, tracing
from symgraph.ops.alloc import Alloc
from symgraph.ops.gather import AdvancedIncSubtensor, AdvancedSubtensor
from symgraph.ops.index import FULL, IncSubtensor, Slot, Span, Subtensor
from symgraph.ops.inner import InnerGraph
from symgraph.ops.scan import Parts, Results, Scan
from symgraph.ops.structure import Shape, ShapeI
from symgraph.variable import constant

Rewrite = Callable[[Sequence[Variable]], Sequence[Variable]]
Users = dict[Variable, list[Apply]]

LAST = (-1,)


class Carry(NamedTuple):
    """A carry of a loop: what it starts as, what the step calls it, what the step makes of it."""

    start: Any
    inside: Variable
    new: Variable


def improve_loops(outputs: Sequence[Variable], rewrite: Rewrite) -> list[Variable]:
    """`outputs` with every loop made ready; `rewrite` is what inner graphs go through."""
    nodes = toposort(outputs)
    loops = [node for node in nodes if isinstance(node.op, Scan)]
    if not loops:
        return list(outputs)
    users = _users(nodes)
    kept = set(outputs)
    env: dict[Variable, Variable] = {}
    twins = _find_twins(loops, rewrite)
    for node in nodes:
        if all(v in env for v in node.outputs):
            continue
        if isinstance(node.op, Scan):
            with tracing(node.trace):
                env.update(_Loop(twins[node], users, kept, env).run())
            continue
        if any(v in _GONE for v in (env.get(v, v) for v in node.inputs)):
            env.update(dict.fromkeys(node.outputs, _NOTHING))
            continue
        new = rebuild(node, [env.get(v, v) for v in node.inputs])
        for old, fresh in zip(node.outputs, new.outputs, strict=True):
            env[old] = fresh
            fresh.name = fresh.name or old.name
    return [env.get(v, v) for v in outputs]


_NOTHING: Any = constant(np.zeros(()), name="a value that nobody uses")
_GONE = {_NOTHING}


def _users(nodes: Iterable[Apply]) -> Users:
    users: Users = {}
    for node in nodes:
        for v in dict.fromkeys(node.inputs):
            users.setdefault(v, []).append(node)
    return users


class Twin(NamedTuple):
    """A loop, and what its step makes of the inner inputs, which it shares with its twins."""

    node: Apply
    inputs: Sequence[Variable]
    step: Results


def _find_twins(loops: Sequence[Apply], rewrite: Rewrite) -> dict[Apply, list[Twin]]:
    """For each loop all those that differ from it in what they collect at most.

    The steps of loops over the same things are rewritten as one graph: what is equal in them is
    the same variable then.
    """
    groups: dict[Any, list[Any]] = {}
    for node in loops:
        op: Any = node.op
        key = type(op), tuple(node.inputs), op.sequences, op.taps, op.carries, op.until
        groups.setdefault(key, []).append(node)
    twins: dict[Apply, list[Twin]] = {}
    for nodes in groups.values():
        first = nodes[0].op
        outputs = [v for n in nodes for v in n.op.inner.apply(first.inner.inputs)]
        rest = iter(rewrite(outputs))
        alike: dict[Any, list[Twin]] = {}
        for node in nodes:
            op = node.op
            step = op.results([next(rest) for _ in op.inner.outputs])
            same = alike.setdefault((*step.states, *step.carries, *step.until), [])
            same.append(Twin(node, first.inner.inputs, step))
            twins[node] = same
    return twins


class _Loop:
    """One loop being rebuilt from its twins: the first is as good as any."""

    def __init__(
        self,
        twins: Sequence[Twin],
        users: Users,
        kept: set[Variable],
        env: dict[Variable, Variable],
    ) -> None:
        self.twins, self.users, self.kept = twins, users, kept
        node, self.inner_inputs, self.step = twins[0]
        self.op: Scan = node.op  # type: ignore[assignment]
        self.given: Parts = self.op.inputs([env.get(v, v) for v in node.inputs])
        self.inside: Parts = self.op.inner_inputs(self.inner_inputs)
        self.results = [t.node.op.results(t.node.outputs) for t in twins]  # type: ignore[attr-defined]

    def run(self) -> dict[Variable, Variable]:
        """What stands for the outputs of all twins, and for last rows of their histories."""
        uses = [self.use_of(k) for k in range(len(self.op.taps))]
        mapped = {v: out for v, out in self.collected().items() if any(map(self.is_used, out))}
        parts = zip(self.given.carries, self.inside.carries, self.step.carries, strict=True)
        carries = [Carry(*part) for part in parts]
        wanted = {
            c for c in range(self.op.carries)
            if any(self.is_used(r.carries[c]) for r in self.results)
        }  # fmt: skip
        last_of: dict[int, int] = {}  # the carries that have become of states
        for k, use in enumerate(uses):
            if use == "last":
                last_of[k] = len(carries)
                wanted.add(len(carries))
                carries += self.as_carries(k)
        whole = [k for k, use in enumerate(uses) if use == "rows"]
        states, kept = self.needed(carries, set(whole), wanted, list(mapped), set(last_of))
        steps = int(any(map(self.after_first, last_of)))
        made = self.build(states, list(mapped), [carries[c] for c in kept], steps)
        env: dict[Variable, Variable] = {}
        for results in self.results:
            gone = (*results.states, *results.mapped, *results.carries)
            env.update(dict.fromkeys(gone, _NOTHING))
            env.update(zip([results.states[k] for k in states], made.states, strict=True))
            env.update(zip(results.until, made.until, strict=True))
            for c, v in zip(kept, made.carries, strict=True):
                if c < self.op.carries:
                    env[results.carries[c]] = v
            for k, c in last_of.items():
                last = made.carries[kept.index(c)]
                env.update(dict.fromkeys(self.last_rows(results.states[k]), last))
        for places, v in zip(mapped.values(), made.mapped, strict=True):
            env.update(dict.fromkeys(places, v))
        return env

    # -- who uses what ----------------------------------------------------------------------------

    def is_used(self, variable: Variable) -> bool:
        return variable in self.kept or bool(self.users.get(variable))

    def use_of(self, k: int) -> str:
        """'rows', 'last' (the last row alone) or 'nothing' of a state's history in all twins."""
        histories = [r.states[k] for r in self.results]
        if not any(map(self.is_used, histories)):
            return "nothing"
        if any(v in self.kept for v in histories):
            return "rows"
        users = [(v, user) for v in histories for user in self.users.get(v, [])]
        ends = all(_is_index(user, v, LAST) or self.is_tail(user) for v, user in users)
        return "last" if ends else "rows"

    def last_rows(self, history: Variable) -> list[Variable]:
        """The variables that are the last row of a history, or of it without its first rows."""
        found = []
        for user in self.users.get(history, []):
            if _is_index(user, history, LAST):
                found.append(user.outputs[0])
            elif self.is_tail(user):
                found += [u.outputs[0] for u in self.users[user.outputs[0]]]
        return found

    def is_tail(self, user: Apply) -> bool:
        """Whether `user` is a history without its initial rows, used for its last row only."""
        (rows, *_) = user.inputs
        if not isinstance(user.op, Subtensor) or len(user.op.idx_list) != 1:
            return False
        depth = None
        for results in self.results:
            for k, v in enumerate(results.states):
                depth = self.op.depth(k) if v is rows else depth
        tail = user.outputs[0]
        return (
            depth is not None
            and user.op.idx_list == (Span(depth, None, 1),)
            and tail not in self.kept
            and bool(self.users.get(tail))
            and all(_is_index(u, tail, LAST) for u in self.users[tail])
        )

    def after_first(self, k: int) -> bool:
        """Whether the last row is asked for without the initial ones: there must be a step then."""
        users = [user for r in self.results for user in self.users.get(r.states[k], [])]
        return any(map(self.is_tail, users))

    def collected(self) -> dict[Variable, list[Variable]]:
        """What the twins collect, each once; and the outputs that are it."""
        places: dict[Variable, list[Variable]] = {}
        for twin, results in zip(self.twins, self.results, strict=True):
            for v, outer in zip(twin.step.mapped, results.mapped, strict=True):
                places.setdefault(v, []).append(outer)
        return places

    def as_carries(self, k: int) -> list[Carry]:
        """A state as carries, one for each step back that it remembers."""
        start, new = self.given.states[k], self.step.states[k]
        tapped = dict(zip(self.op.taps[k], self.inside.states[k], strict=True))
        carries = []
        for back in range(1, self.op.depth(k) + 1):
            inside = tapped.get(-back) or new.type.make_variable()
            carries.append(Carry(start[self.op.depth(k) - back], inside, new))
            new = inside
        return carries

    def needed(
        self,
        carries: Sequence[Carry],
        states: set[int],
        ends: set[int],
        mapped: Sequence[Variable],
        moved: set[int],
    ) -> tuple[list[int], list[int]]:
        """The states and carries that the step must go on computing for the sake of these.

        `moved` are states that are carries now.
        """
        known = {*self.inner_inputs, *(c.inside for c in carries)}
        whole = [k for k in range(len(self.op.taps)) if k not in moved]
        while True:
            outputs = [*(self.step.states[k] for k in states), *mapped, *self.step.until]
            read = _leaves([*outputs, *(carries[c].new for c in ends)], known)
            more = {k for k in whole if any(v in read for v in self.inside.states[k])} - states
            others = {k for k, c in enumerate(carries) if c.inside in read} - ends
            if not more and not others:
                return sorted(states), sorted(ends)
            states, ends = states | more, ends | others

    # -- the new loop -----------------------------------------------------------------------------

    def build(
        self,
        states: Sequence[int],
        mapped: Sequence[Variable],
        carries: Sequence[Carry],
        at_least: int,
    ) -> Results:
        """The outputs of the loop that keeps these."""
        outputs = [*(self.step.states[k] for k in states), *mapped, *(c.new for c in carries)]
        fixed = dict(zip(self.inside.fixed, self.given.fixed, strict=True))
        moving = {*self.inner_inputs, *(c.inside for c in carries)} - set(fixed)
        outputs, fixed = _hoist([*outputs, *self.step.until], fixed, moving)
        outputs = _gather(outputs, moving)
        read = _leaves(outputs, (*moving, *fixed))
        pairs = zip(self.inside.sequences, self.given.sequences, strict=True)
        sequences = {inside: x for inside, x in pairs if inside in read}
        fixed = {inside: x for inside, x in fixed.items() if inside in read}
        taps = [x for k in states for x in self.inside.states[k]]
        inner = [*sequences, *taps, *(c.inside for c in carries), *fixed]
        op = replace(
            self.op,
            inner=InnerGraph(inner, outputs),
            sequences=len(sequences),
            taps=tuple(self.op.taps[k] for k in states),
            mapped=len(mapped),
            carries=len(carries),
            at_least=max(self.op.at_least, at_least),
        )
        starts = [*(self.given.states[k] for k in states), *(c.start for c in carries)]
        node = op.make_node(self.given.n_steps, *sequences.values(), *starts, *fixed.values())
        return op.results(node.outputs)


def _is_index(user: Apply, x: Variable, index: tuple[int, ...]) -> bool:
    op = user.op
    return isinstance(op, Subtensor) and user.inputs[0] is x and op.idx_list == index


def _leaves(outputs: Iterable[Variable], inputs: Iterable[Variable]) -> set[Variable]:
    """Those of `inputs` that `outputs` depend on."""
    known = set(inputs)
    outputs = list(outputs)
    read = {v for node in toposort(outputs, stop_at=known) for v in node.inputs}
    return known & (read | set(outputs))


def _hoist(
    outputs: Sequence[Variable], fixed: dict[Variable, Variable], moving: set[Variable]
) -> tuple[list[Variable], dict[Variable, Variable]]:
    """Move what depends on `fixed` alone out of the step; `fixed` with what takes its place."""
    nodes = toposort(outputs, stop_at={*fixed, *moving})
    still: set[Variable] = set(fixed)
    for node in nodes:
        if node.op.is_pure and all(v in still or isinstance(v, Constant) for v in node.inputs):
            if any(v in still for v in node.inputs):
                still.update(node.outputs)
    wanted: dict[Variable, None] = {}
    ends = [v for node in nodes if node.outputs[0] not in still for v in node.inputs]
    while ends:
        v = ends.pop()
        if v in still and v not in fixed and v not in wanted:
            if _is_work(v):
                wanted[v] = None
            elif v.owner is not None:  # a view, say: of something that may be work
                ends += v.owner.inputs
    if not wanted:
        return list(outputs), fixed
    made = clone_replace(list(wanted), dict(fixed))
    stands = {v: v.type.make_variable(v.name) for v in wanted}
    fixed = {**fixed, **{stands[v]: x for v, x in zip(wanted, made, strict=True)}}
    return clone_replace(list(outputs), dict(stands)), fixed


def _is_work(variable: Variable) -> bool:
    """Whether computing it once is worth the memory: it is no view and not a number repeated."""
    node = variable.owner
    if node is None or node.op.view_of is not None or isinstance(node.op, (Alloc, Shape, ShapeI)):
        return False
    return variable.type.ndim != 0 or not _is_size(node)


def _is_size(node: Apply) -> bool:
    """Whether the host computes it, as it does sizes."""
    return all(isinstance(n.op, (Shape, ShapeI)) or n is node for n in toposort(node.inputs))


def _gather(outputs: Sequence[Variable], moving: set[Variable]) -> list[Variable]:
    """Integers that change from step to step index as arrays do: they are read by the kernel."""
    moved = set(moving)
    env: dict[Variable, Variable] = {}
    for node in toposort(outputs, stop_at=moving):
        if not isinstance(node.op, (Shape, ShapeI)) and any(v in moved for v in node.inputs):
            moved.update(node.outputs)
        inputs = [env.get(v, v) for v in node.inputs]
        new = _as_gather(node, inputs, moved) or rebuild(node, inputs)
        env.update(zip(node.outputs, new.outputs, strict=True))
    return [env.get(v, v) for v in outputs]


def _as_gather(node: Apply, inputs: Sequence[Any], moved: set[Variable]) -> Apply | None:
    """`node` as a gather or scatter, if it is an index whose integers move and no bound does."""
    op = node.op
    if not isinstance(op, (Subtensor, IncSubtensor)):
        return None
    operands = 1 if isinstance(op, Subtensor) else 2
    rest = iter(zip(node.inputs[operands:], inputs[operands:], strict=True))
    entries: list[Any] = []
    index: list[Any] = []
    moves = False
    for entry in op.idx_list:
        if isinstance(entry, Span):
            entries.append(entry)
            bounds = [next(rest) for b in entry if isinstance(b, Slot)]
            if any(old in moved for old, _ in bounds):
                return None
            index += [new for _, new in bounds]
        elif isinstance(entry, Slot):
            old, new = next(rest)
            entries.append(Slot.ARRAY)
            index.append(new)
            moves = moves or old in moved
        else:
            entries.append(Slot.ARRAY)
            index.append(constant(np.asarray(entry, "int64")))
    if not moves:
        return None
    while entries and entries[-1] == FULL:
        entries.pop()
    gather: Any = AdvancedSubtensor(tuple(entries))
    if isinstance(op, IncSubtensor):
        gather = AdvancedIncSubtensor(tuple(entries), op.set_instead_of_inc)
    with tracing(node.trace):
        made: Apply = gather.make_node(*inputs[:operands], *index)
    return made if made.outputs[0].type == node.outputs[0].type else None
