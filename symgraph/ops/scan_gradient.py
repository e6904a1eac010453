"""The gradient of a scan: another scan, which walks back through the steps.

Step s of it stands for step t = n - 1 - s of the loop. It gets what reaches the results of step t
from outside (rows of the outputs' gradients) and from later steps: for a state read with tap k,
step t + |k| sends a gradient to the state's value at t. That is a state of the backward scan with
the same tap, or a carry if the tap is -1. Gradients by elements of sequences are mapped; those by
non-sequences are added up in carries, but for products (scan_products.py).

What the backward step needs of the forward one and is costly (scan_values.py) is kept: a twin of
the forward scan hands it out, and is merged with it when compiling. Source: Theano,
scan_module/scan_op.py (L_op), for the semantics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from symgraph.graph import Variable, ancestors, clone_replace
from symgraph.ops.alloc import alloc, zeros_like
from symgraph.ops.elementwise import add, eq, minimum, switch
from symgraph.ops.index import inc_subtensor, set_subtensor
from symgraph.ops.inner import InnerGraph, capture, fitted
from symgraph.ops.scan import Parts, Results, Scan
from symgraph.ops.scan_products import Sums
from symgraph.ops.scan_values import kept
from symgraph.ops.shape import shape_padleft
from symgraph.ops.sizes import BuildContext
from symgraph.ops.structure import rebroadcast, shape_i, sizes_of
from symgraph.testvalues import suspended
from symgraph.types import FLOATS, DisconnectedType, NullType, TensorType
from symgraph.variable import constant


class Link(NamedTuple):
    """A way for gradients from one step to an earlier one.

    `result` is what an earlier step gives, `before` the variable by which a step reads it, `lag`
    steps later; `at` is the variable of the backward step for the gradient that comes this way, and
    `start` the gradient that the last `lag` steps get.
    """

    result: Any
    before: Any
    lag: int
    at: Any
    start: Any


def gradient(
    op: Scan, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
) -> list[Any]:
    """One term for each input of a Scan node; what `Scan.L_op` returns."""
    return _Backward(op, inputs, outputs, output_gradients).terms()


class _Backward:
    """The backward scan of one node.

    `step` are the variables that the backward step gets for each step, with their values over time,
    backwards.
    """

    def __init__(
        self, op: Scan, inputs: Sequence[Any], outputs: Sequence[Any], gradients: Sequence[Any]
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.outer: Parts = op.inputs(inputs)
        self.outputs: Results = op.results(outputs)
        self.gradients: Results = op.results(gradients)
        self.inner: Parts = op.inner_inputs(op.inner.inputs)
        self.new: Results = op.results(op.inner.outputs)
        self.connected: Results = op.results(op.inner.connections)
        self.place = {x: k for k, x in enumerate(op.inner.inputs)}
        (self.steps,) = self.outputs.until or [self.outer.n_steps]
        self.count = self.steps if op.truncate < 0 else minimum(self.steps, op.truncate)
        self.step: dict[Any, Any] = {}
        self.sent: dict[Any, Any] = {}  # what came last along the links, by `before`
        self.by_element: dict[Any, Any] = {}
        self.sums: dict[Any, Any] = {}

    def terms(self) -> list[Any]:
        """One gradient for each input of the node."""
        links = self._links()
        found = self._differentiate(links)
        self._run([x for x in links if not _is_null(found[x.before])], found)
        return self._assembled(found)

    # -- which way gradients come -----------------------------------------------------------------

    def _links(self) -> list[Link]:
        """The ways from step to step; `reached` are the inner inputs that a gradient gets to, as
        bits, and `mapped`, `states` the places of outputs by which it comes from outside."""
        self.mapped = _arriving(self.new.mapped, self.gradients.mapped)
        self.states = _arriving(self.new.states, self.gradients.states)
        last = _arriving(self.new.carries, self.gradients.carries)
        self.reached = 0
        for k in self.mapped:
            self.reached |= self.connected.mapped[k]
        states, carries = set(self.states), set(last)
        before: tuple[int, ...] = ()
        while before != (self.reached, len(states), len(carries)):
            before = self.reached, len(states), len(carries)
            for k in states:
                self.reached |= self.connected.states[k]
            for k in carries:
                self.reached |= self.connected.carries[k]
            taps = enumerate(self.inner.states)
            states |= {k for k, xs in taps if _is_float(xs[0]) and self._is_reached(*xs)}
            passed = enumerate(self.inner.carries)
            carries |= {k for k, x in passed if _is_float(x) and self._is_reached(x)}
        links = []
        for k in sorted(states):
            outer = self.outer.states[k]
            for x, tap in zip(self.inner.states[k], self.op.taps[k], strict=True):
                if self._is_reached(x):
                    zero = constant(0, dtype=x.dtype)
                    sizes = sizes_of(outer)[1:]
                    start = alloc(zero, *sizes) if tap == -1 else alloc(zero, -tap, *sizes)
                    links.append(Link(self.new.states[k], x, -tap, x.clone(), start))
        for k in sorted(carries):
            x, outer = self.inner.carries[k], self.outer.carries[k]
            start = self.gradients.carries[k] if k in last else zeros_like(outer)
            links.append(Link(self.new.carries[k], x, 1, x.clone(), start))
        return links

    def _is_reached(self, *inner: Any) -> bool:
        return any(self.reached >> self.place[x] & 1 for x in inner)

    # -- the step ---------------------------------------------------------------------------------

    def _differentiate(self, links: Sequence[Link]) -> dict[Any, Any]:
        """The gradient of one step by those of the inner inputs that are reached."""
        from symgraph.backward import pullback

        starts: list[tuple[Any, Any]] = []
        for k in self.mapped:
            rows = self._back(self.gradients.mapped[k], 0, 0)
            starts.append((self.new.mapped[k], self._element(rows)))
        for k in self.states:
            rows = self._back(self.gradients.states[k], self.op.depth(k), 0)
            starts.append((self.new.states[k], self._element(rows)))
        starts += [(link.result, link.at) for link in links]
        wrt = [*self.inner.sequences, *(link.before for link in links), *self.inner.fixed]
        found: dict[Any, Any] = {x: DisconnectedType()() for x in wrt}
        wrt = [x for x in wrt if isinstance(x.type, TensorType) and self._is_reached(x)]
        nulls: dict[Any, Any] = {}  # by result: the gradient that comes to it is undefined
        while True:
            known: dict[Any, Any] = {}
            with suspended():
                for result, g in starts:
                    if result not in nulls:
                        known[result] = add(known[result], g) if result in known else g
                if known and wrt:
                    found.update(zip(wrt, pullback(known, wrt), strict=True))
            masks = zip(self.op.inner.outputs, self.op.inner.connections, strict=True)
            for result, mask in masks:
                for x in wrt if result in nulls else ():
                    if mask >> self.place[x] & 1:
                        found[x] = nulls[result]
            more = {x.result: found[x.before] for x in links if _is_null(found[x.before])}
            if more.keys() <= nulls.keys():
                return found
            nulls |= more

    def _element(self, rows: Any) -> Any:
        """A variable of the step for one of `rows`."""
        kind = rows.type
        x = kind.clone(broadcastable=kind.broadcastable[1:]).make_variable()
        self.step[x] = rows
        return x

    def _run(self, links: Sequence[Link], found: dict[Any, Any]) -> None:
        """Build the backward scan, for `sent`, `by_element` (the gradients by the elements of
        sequences) and `sums` (those by non-sequences)."""
        elements = [x for x in self.inner.sequences if _is_tensor(found.get(x))]
        fixed = [x for x in self.inner.fixed if _is_tensor(found.get(x))]
        if not (links or elements or fixed):
            return
        far, near = [x for x in links if x.lag > 1], [x for x in links if x.lag == 1]
        outside = dict(zip(self.inner.fixed, self.outer.fixed, strict=True))
        with suspended():
            sums = Sums({x: found[x] for x in fixed}, self.inner.fixed)
            added = [*sums.rest.items()]
            totals = [x.type.clone(dtype=rest.dtype).make_variable() for x, rest in added]
            states = [self._sent_by(x, found) for x in far]
            mapped = [rebroadcast(found[x], x.broadcastable) for x in elements]
            carries = [self._sent_by(x, found) for x in near]
            carries += [
                rebroadcast(add(total, rest), total.broadcastable)
                for total, (_, rest) in zip(totals, added, strict=True)
            ]
        own = [*(x.at for x in far), *(x.at for x in near), *totals]
        factors = sums.factors
        self._find_values([*states, *mapped, *factors, *carries], {*self.step, *own})
        fresh = [x for x in factors if x not in self.step]
        with suspended():
            results = [*states, *mapped, *fresh, *carries]
            graph, captured = capture([*self.step, *own], results)
        captured = clone_replace(captured, {x: fitted(y, x.type) for x, y in outside.items()})
        op = Scan(
            graph, len(self.step), tuple((-x.lag,) for x in far), len(mapped) + len(fresh),
            len(carries), name=f"grad_of_{self.op.name}",
        )  # fmt: skip
        carried = [x.start for x in near]
        carried += [zeros_like(outside[x], rest.dtype) for x, rest in added]
        ats = [*(x.at for x in near), *totals]
        carried = [rebroadcast(x, at.broadcastable) for x, at in zip(carried, ats, strict=True)]
        rows = [x.start for x in far]
        node = op.make_node(self.count, *self.step.values(), *rows, *carried, *captured)
        made = op.results(node.outputs)
        for link, history in zip(far, made.states, strict=True):
            # of the first steps of the loop, those that were gone back to
            rows = history[-link.lag :] if self.op.truncate < 0 else history[self.steps :]
            self.sent[link.before] = rows[::-1]
        for link, last in zip(near, made.carries, strict=False):
            if self.op.truncate >= 0:
                last = switch(eq(self.count, self.steps), last, zeros_like(last))
            self.sent[link.before] = last
        self.by_element.update(zip(elements, made.mapped, strict=False))
        factor_rows = {x: self._gone_back_to(self.step[x]) for x in factors if x in self.step}
        factor_rows.update(zip(fresh, made.mapped[len(elements) :], strict=True))
        self.sums = sums.totals(
            dict(zip(sums.rest, made.carries[len(near) :], strict=True)), factor_rows
        )

    def _sent_by(self, link: Link, found: dict[Any, Any]) -> Any:
        g, x = found[link.before], link.before
        return rebroadcast(g if _is_tensor(g) else zeros_like(x), x.broadcastable)

    # -- what the forward steps computed ----------------------------------------------------------

    def _find_values(self, results: Sequence[Any], own: set[Variable]) -> None:
        """Add to `step` what `results` need of the forward step, but for what is cheap to repeat.

        `own` are variables of the backward step.
        """
        rows = self._at_hand()
        carries = set(self.inner.carries)
        found = kept(results, {*rows, *own}, self._of_steps())
        for x in ancestors(results, {*rows, *found, *own}):
            if x in carries:
                found[x] = None
            elif x in rows and x not in own:
                self.step[x] = self._back(*rows[x])
        for x, values in zip(found, self._twin(list(found)), strict=True):
            self.step[x] = self._back(values, 0, 0)

    def _at_hand(self) -> dict[Variable, tuple[Any, int, int]]:
        """The inner variables whose values are inputs or outputs of the node, for `_back`."""
        rows: dict[Variable, tuple[Any, int, int]] = {}
        for x, outer in zip(self.inner.sequences, self.outer.sequences, strict=True):
            is_whole = self.op.until or self._is_exact(outer)  # `_back` cuts where until has
            rows[x] = (outer if is_whole else outer[: self.steps], 0, 0)
        for k, (taps, history) in enumerate(
            zip(self.inner.states, self.outputs.states, strict=True)
        ):
            for x, tap in zip(taps, self.op.taps[k], strict=True):
                rows[x] = history, self.op.depth(k) + tap, -tap
        known = {*self.inner.carries, *self.inner.fixed, *rows}
        for k, (x, history) in enumerate(zip(self.new.states, self.outputs.states, strict=True)):
            if x not in known and x.owner is not None:
                rows[x] = history, self.op.depth(k), 0
        for x, values in zip(self.new.mapped, self.outputs.mapped, strict=True):
            if x not in known and x.owner is not None:
                rows.setdefault(x, (values, 0, 0))
        return rows

    def _of_steps(self) -> set[Variable]:
        """The results of inner nodes that change from step to step."""
        changing: set[Variable] = set(self.op.inner.inputs) - set(self.inner.fixed)
        for node in self.op.inner.nodes:
            if not node.op.is_pure or any(v in changing for v in node.inputs):
                changing.update(node.outputs)
        return changing

    def _twin(self, wanted: list[Variable]) -> list[Any]:
        """The values of inner variables over time, from the same scan with them as outputs."""
        if not wanted:
            return []
        new, op = self.new, self.op
        results = [*new.states, *new.mapped, *wanted, *new.carries, *new.until]
        graph = InnerGraph(op.inner.inputs, results)
        twin = replace(op, inner=graph, mapped=op.mapped + len(wanted))
        return twin.results(twin.make_node(*self.inputs).outputs).mapped[op.mapped :]

    def _is_exact(self, sequence: Any) -> bool:
        """Whether the sequence surely has as many elements as there are steps."""
        known = BuildContext()
        steps = known.value(self.outer.n_steps)
        return not self.op.until and known.shape(sequence)[0] is steps

    def _back(self, x: Any, before: int, behind: int) -> Any:
        """A row of `x` for each step, from the last to the first; there are `before` rows before
        these, and `behind` after them."""
        if self.op.until:
            return x[before : add(self.steps, before)][::-1]
        part = x[before : -behind or None] if before or behind else x
        return part[::-1]

    def _gone_back_to(self, rows: Any) -> Any:
        """Those of `rows`, the last steps first, to which gradients go back."""
        return rows if self.op.truncate < 0 else rows[: self.count]

    # -- results ----------------------------------------------------------------------------------

    def _assembled(self, found: dict[Any, Any]) -> list[Any]:
        """What the node's inputs get of what the backward scan gave."""
        terms: list[Any] = [None]
        for x, outer in zip(self.inner.sequences, self.outer.sequences, strict=True):
            rows = self.by_element.get(x)
            terms.append(found[x] if rows is None else self._placed(outer, rows))
        terms += [self._by_initial(k, found) for k in range(len(self.op.taps))]
        terms += [self.sent.get(x, found.get(x)) for x in self.inner.carries]
        terms += [self.sums.get(x, found[x]) for x in self.inner.fixed]
        return [DisconnectedType()() if term is None else term for term in terms]

    def _placed(self, sequence: Any, rows: Any) -> Any:
        """The gradient by a whole sequence: nothing comes to elements that no step went back to."""
        rows = rows[::-1]
        if self.op.truncate < 0 and self._is_exact(sequence):
            return rebroadcast(rows, sequence.broadcastable)
        base = zeros_like(sequence, rows.dtype)
        if self.op.truncate < 0:
            return set_subtensor(base[: self.steps], rows)
        return set_subtensor(base[self.steps - self.count : self.steps], rows)

    def _by_initial(self, k: int, found: dict[Any, Any]) -> Any:
        """The gradient by the initial rows of state k."""
        outer, depth, taps = self.outer.states[k], self.op.depth(k), self.inner.states[k]
        for x in taps:
            if _is_null(found.get(x)):
                return found[x]
        total = self.gradients.states[k][:depth] if k in self.states else None
        for x, tap in zip(taps, self.op.taps[k], strict=True):
            rows = self.sent.get(x)
            if rows is None:
                continue
            rows = shape_padleft(rows) if tap == -1 else rows
            if -tap == depth and (tap == -1 or self.op.truncate < 0):
                total = rows if total is None else add(total, rows)
            else:
                base = zeros_like(outer) if total is None else total
                total = inc_subtensor(base[depth - shape_i(rows, 0) :], rows)
        return None if total is None else rebroadcast(total, outer.broadcastable)


def _arriving(new: Sequence[Any], gradients: Sequence[Any]) -> list[int]:
    """The places of outputs that are floats and reach the cost."""
    return [
        k
        for k, (x, g) in enumerate(zip(new, gradients, strict=True))
        if _is_float(x) and isinstance(g.type, TensorType)
    ]


def _is_tensor(term: Any) -> bool:
    return term is not None and isinstance(term.type, TensorType)


def _is_float(x: Any) -> bool:
    return x.dtype in FLOATS


def _is_null(term: Any) -> bool:
    return term is not None and isinstance(term.type, NullType)
