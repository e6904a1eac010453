"""The loop as an op: an inner graph, run once for each step.

What users call is `symgraph.scan` (symgraph/loops.py). Source: Theano, scan_module and
library/scan; there is no counterpart of its outputs with several taps (mit_mot): a gradient is a
scan of the other outputs here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import and_
from typing import Any, ClassVar, NamedTuple

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain, in_round
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Context, Op, Shape, Variable
from symgraph.ops.core import describe
from symgraph.ops.inner import InnerContext, InnerGraph, Values
from symgraph.ops.rounds import Carried, InnerCall, Place, Rounds, Row, Whole
from symgraph.types import DISCRETE, INT64, DisconnectedType, TensorType


class Parts(NamedTuple):
    """The inputs of a Scan node, or of its inner graph, by what they are."""

    n_steps: Any  # of the inner graph: None
    sequences: list[Any]
    states: list[Any]  # inner graph: one list for each state, a variable for each tap
    carries: list[Any]
    fixed: list[Any]


class Results(NamedTuple):
    """The outputs of a Scan node, or of its inner graph, by what they are."""

    states: list[Any]
    mapped: list[Any]
    carries: list[Any]
    until: list[Any]  # at most one; inner graph: the condition; node: the number of steps made


@dataclass(frozen=True)
class Scan(Op):
    """`n_steps` times the graph `inner`, each time on the next element of the sequences and on what
    earlier steps gave.

    Inputs: n_steps (int64 scalar); sequences (time is their first axis, at least n_steps long);
    for each recurrent state its initial values, (L, *state) with L = -min(taps), in order of time;
    carries; non-sequences. Inputs of `inner`: an element of each sequence, for each state one
    variable per tap, the carries, the non-sequences. Outputs of `inner`: the states' new values,
    the mapped values, the new carries and, with `until`, whether this was the last step (bool).
    Outputs: for each state its history (L + n_steps rows, the initial ones first), the mapped
    values (n_steps rows), the last carries and, with `until`, the number of steps made (int64; rows
    of later steps are zero).

    `taps` are the steps of the past that each state reads: -1 is the step before. `truncate` is the
    number of steps that gradients go back (-1: all). Raises TypeError for inputs that do not fit
    when it is built; when called, ShapeError for sizes that do not, IndexError for n_steps < 0.
    """

    inner: InnerGraph
    sequences: int
    taps: tuple[tuple[int, ...], ...]
    mapped: int
    carries: int
    until: bool = False
    truncate: int = -1
    name: str = field(default="scan_fn", compare=False)
    at_least: int = 0  # steps: fewer raise IndexError, as the last of none would
    folds: ClassVar[bool] = False  # a loop is run when the function is called
    sees_disconnected: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for taps in self.taps:
            if not taps or max(taps) >= 0:
                raise ValueError(f"{self}: taps of a state are negative numbers, got {taps}")
        fixed = len(self.inner.inputs) - self.sequences - sum(map(len, self.taps)) - self.carries
        wanted = len(self.taps) + self.mapped + self.carries + self.until
        if fixed < 0 or len(self.inner.outputs) != wanted:
            raise ValueError(f"{self}: its inner graph is {self.inner}, with {wanted} outputs due")
        took, gave = self.inner_inputs(self.inner.inputs), self.results(self.inner.outputs)
        pairs = [(x, y) for taps, y in zip(took.states, gave.states, strict=True) for x in taps]
        for x, y in (*pairs, *zip(took.carries, gave.carries, strict=True)):
            if x.type != y.type:
                raise TypeError(
                    explain(self, "a step gives a state another type than it had", where=y.created,
                            got=describe([y]), expected=str(x.type))
                )  # fmt: skip
        if any(condition.type != TensorType("bool", ()) for condition in gave.until):
            raise TypeError(f"{self}: the condition is a bool scalar, got {describe(gave.until)}")

    # -- by name ----------------------------------------------------------------------------------

    @property
    def inner_outputs(self) -> list[Variable]:
        """The outputs of the inner graph, for those who print it."""
        return list(self.inner.outputs)

    @property
    def inner_graphs(self) -> tuple[InnerGraph, ...]:  # type: ignore[override]
        return (self.inner,)

    @property
    def is_pure(self) -> bool:  # type: ignore[override]
        return self.inner.is_pure

    def depth(self, state: int) -> int:
        """How many initial rows the state has."""
        return -min(self.taps[state])

    def inputs(self, values: Sequence[Any]) -> Parts:
        """A node's inputs, or what goes with them, by name."""
        rest = iter(values)
        n_steps = next(rest)
        sequences = [next(rest) for _ in range(self.sequences)]
        states = [next(rest) for _ in self.taps]
        carries = [next(rest) for _ in range(self.carries)]
        return Parts(n_steps, sequences, states, carries, list(rest))

    def inner_inputs(self, values: Sequence[Any]) -> Parts:
        """The inner graph's inputs, or what goes with them, by name."""
        rest = iter(values)
        sequences = [next(rest) for _ in range(self.sequences)]
        states = [[next(rest) for _ in taps] for taps in self.taps]
        carries = [next(rest) for _ in range(self.carries)]
        return Parts(None, sequences, states, carries, list(rest))

    def results(self, values: Sequence[Any]) -> Results:
        """The outputs of a node or of the inner graph, or what goes with them, by name."""
        rest = iter(values)
        states = [next(rest) for _ in self.taps]
        mapped = [next(rest) for _ in range(self.mapped)]
        carries = [next(rest) for _ in range(self.carries)]
        return Results(states, mapped, carries, list(rest))

    def outside(self, node: Apply) -> dict[Variable, Variable]:
        """The node's input behind each inner input, for those who print it."""
        outer, inner = self.inputs(node.inputs), self.inner_inputs(self.inner.inputs)
        states = ((x, y) for xs, y in zip(inner.states, outer.states, strict=True) for x in xs)
        others = ((a, b) for a, b in zip(inner, outer, strict=True) if a is not inner.states)
        pairs = [pair for a, b in others if a is not None for pair in zip(a, b, strict=True)]
        return dict([*states, *pairs])

    # -- building ---------------------------------------------------------------------------------

    def output_types(self, *inputs: Any) -> list[TensorType]:
        inner = self.inner_inputs(self.inner.inputs)
        fixed = len(inputs) - 1 - self.sequences - len(self.taps) - self.carries
        if fixed != len(inner.fixed):
            raise TypeError(f"{self}: takes {len(inputs) - fixed + len(inner.fixed)} inputs, "
                            f"got {len(inputs)}")  # fmt: skip
        given = self.inputs(inputs)
        if given.n_steps.type != INT64:
            raise TypeError(f"{self}: n_steps is an int64 scalar, got {describe([given.n_steps])}")
        pairs = [
            *zip(given.sequences, inner.sequences, [1] * self.sequences, strict=True),
            *((x, taps[0], 1) for x, taps in zip(given.states, inner.states, strict=True)),
            *((x, y, 0) for x, y in zip(given.carries, inner.carries, strict=True)),
            *((x, y, 0) for x, y in zip(given.fixed, inner.fixed, strict=True)),
        ]
        for outside, inside, axes in pairs:
            kind = outside.type
            if axes and isinstance(kind, TensorType):
                kind = kind.clone(broadcastable=kind.broadcastable[1:]) if kind.ndim else None
            if kind is None or (kind != inside.type and not inside.type.is_super(kind)):
                raise TypeError(
                    explain(self, f"{outside} does not fit", where=inside.created,
                            got=describe([outside]),
                            expected=f"{inside.type} for {inside}" + ", over time" * axes)
                )  # fmt: skip
        results = self.results(self.inner.outputs)
        over_time = [
            TensorType(v.type.dtype, (False, *v.type.broadcastable))
            for v in (*results.states, *results.mapped)
        ]
        return [*over_time, *(v.type for v in results.carries), *([INT64] if self.until else [])]

    # -- sizes ------------------------------------------------------------------------------------

    def inside(self, node: Apply, ctx: Context) -> InnerContext:
        """The sizes of the inner graph's variables, in terms of those of the node's inputs."""
        given = self.inputs(node.inputs)
        shapes: list[Shape] = [ctx.shape(x)[1:] for x in given.sequences]
        for x, taps in zip(given.states, self.taps, strict=True):
            shapes += [ctx.shape(x)[1:]] * len(taps)
        shapes += [ctx.shape(x) for x in (*given.carries, *given.fixed)]
        values: list[Values | None] = [None] * (len(shapes) - len(given.fixed))
        values += [_values(x, ctx) for x in given.fixed]
        return self.inner.infer_shapes(shapes, values)

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        n = E.maximum(E.ZERO, ctx.value(node.inputs[0]))
        inside = self.inside(node, ctx)
        given, results = self.inputs(node.inputs), self.results(self.inner.outputs)
        shapes: list[Shape | None] = []
        for k, initial in enumerate(given.states):
            shapes.append((E.add(n, self.depth(k)), *ctx.shape(initial)[1:]))
        for x in results.mapped:
            shape = inside.outer_shape(x)
            shapes.append(None if shape is None else (n, *shape))
        for x, outer in zip(results.carries, given.carries, strict=True):
            shapes.append(None if inside.outer_shape(x) is None else ctx.shape(outer))
        return [*shapes, ()] if self.until else shapes

    def shape_checks(self, node: Apply, ctx: Context) -> Iterator[Check]:
        n, given = ctx.value(node.inputs[0]), self.inputs(node.inputs)
        yield Check(E.compare("le", E.ZERO, n), (n,), lambda n: self._negative(node, n))
        if self.at_least:
            yield Check(E.compare("le", self.at_least, n), (n,), lambda n: self._none(node))
        for k, x in enumerate(given.sequences):
            length = ctx.shape(x)[0]
            yield Check(
                E.compare("le", n, length), (n, length),
                lambda n, length, k=k: self._too_short(node, k, n, length),
            )  # fmt: skip
        for k, x in enumerate(given.states):
            rows = ctx.shape(x)[0]
            yield Check(
                E.compare("eq", rows, self.depth(k)), (rows,),
                lambda rows, k=k: self._wrong_rows(node, k, rows),
            )  # fmt: skip
        inside = self.inside(node, ctx)
        results = self.results(self.inner.outputs)
        for k, (x, initial) in enumerate(zip(results.states, given.states, strict=True)):
            new, old = inside.outer_shape(x), ctx.shape(initial)[1:]
            for a, b in zip(new or (), old, strict=False):
                assert new is not None
                yield Check(
                    _if_any(n, E.compare("eq", a, b)), (*new, *old),
                    lambda *sizes, k=k: self._changes(
                        node, k, sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]
                    ),
                )  # fmt: skip
        for check in inside.checks():
            yield Check(_if_any(n, check.holds), check.facts, check.fail)

    def _negative(self, node: Apply, n: int) -> Exception:
        return IndexError(
            explain(self, "the number of steps is negative", where=node.trace, got=f"n_steps={n}",
                    expected="a number of at least 0", cure="go_backwards=True goes from the end")
        )  # fmt: skip

    def _none(self, node: Apply) -> Exception:
        return IndexError(
            explain(self, "the last of no steps is asked for", where=node.trace, got="no step",
                    expected="at least one", cure="longer sequences or a larger n_steps")
        )  # fmt: skip

    def _too_short(self, node: Apply, k: int, n: int, length: int) -> Exception:
        x = self.inputs(node.inputs).sequences[k]
        return ShapeError(
            explain(self, f"sequence {k} has too few elements for the steps", where=node.trace,
                    got=f"{length} elements of {describe([x])} for n_steps={n}",
                    expected=f"at least {n} elements, after taps",
                    cure="a smaller n_steps, or None: as many steps as the shortest sequence has")
        )  # fmt: skip

    def _wrong_rows(self, node: Apply, k: int, rows: int) -> Exception:
        x = self.inputs(node.inputs).states[k]
        return ShapeError(
            explain(self, f"the initial value of state {k} has {rows} rows", where=node.trace,
                    got=f"{rows} rows of {describe([x])} for the taps {self.taps[k]}",
                    expected=f"{self.depth(k)} rows, the oldest first")
        )  # fmt: skip

    def _changes(self, node: Apply, k: int, new: Sequence[int], old: Sequence[int]) -> Exception:
        x = self.results(self.inner.outputs).states[k]
        return ShapeError(
            explain(self, f"the step changes the shape of state {k}", where=x.created or node.trace,
                    got=f"shape {tuple(new)} of {describe([x])}",
                    expected=f"shape {tuple(old)}, that of its initial value")
        )  # fmt: skip

    # -- meaning ----------------------------------------------------------------------------------

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return self.evaluate_with(node, [self.inner.evaluate], *inputs)

    def evaluate_with(
        self, node: Apply, calls: Sequence[InnerCall], *inputs: np.ndarray
    ) -> Sequence[np.ndarray]:
        """`evaluate`, where the one of `calls` computes the inner graph."""
        given, (step,) = self.inputs(inputs), calls
        n, carries = int(given.n_steps), list(given.carries)
        self._check(node, given)
        results = self.results(self.inner.outputs)
        histories = []
        for k, initial in enumerate(given.states):
            history = np.zeros((self.depth(k) + n, *initial.shape[1:]), initial.dtype)
            history[: self.depth(k)] = initial
            histories.append(history)
        mapped: list[np.ndarray] | None = None
        t = 0
        while t < n:
            elements = [x[t] for x in given.sequences]
            for k, taps in enumerate(self.taps):
                elements += [histories[k][self.depth(k) + t + tap] for tap in taps]
            arrays = map(np.asarray, (*elements, *carries, *given.fixed))
            try:
                new = self.results(step(list(arrays)))
            except Exception as error:
                in_round(error, t, self)
                raise
            if mapped is None:
                mapped = [np.zeros((n, *x.shape), x.dtype) for x in new.mapped]
            for k, value in enumerate(new.states):
                if value.shape != histories[k].shape[1:]:
                    raise self._changes(node, k, value.shape, histories[k].shape[1:])
                histories[k][self.depth(k) + t] = value
            for x, rows, value in zip(results.mapped, mapped, new.mapped, strict=True):
                if value.shape != rows.shape[1:]:
                    raise self._uneven(node, x, t, value.shape, rows.shape[1:])
                rows[t] = value
            carries = new.carries
            t += 1
            if any(new.until):
                break
        if mapped is None:
            mapped = self._no_rows(node, inputs)
        made = [np.array(t, "int64")] if self.until else []
        return [*histories, *mapped, *(np.array(x) for x in carries), *made]

    def rounds(self, node: Apply, ctx: Context) -> list[Rounds]:
        given, results = self.inputs(node.inputs), self.results(node.outputs)
        states = list(enumerate(results.states))
        carries = [Carried(*pair) for pair in zip(given.carries, results.carries, strict=True)]
        feeds: list[Place] = [Row(x) for x in given.sequences]
        feeds += [Row(x, self.depth(k) + tap) for k, x in states for tap in self.taps[k]]
        feeds += [*carries, *(Whole(x) for x in given.fixed)]
        goals: list[Place] = [Row(x, self.depth(k)) for k, x in states]
        goals += [*(Row(x) for x in results.mapped), *carries]
        return [
            Rounds(
                self.inner, ctx.value(given.n_steps), tuple(feeds), tuple(goals),
                tuple(zip(results.states, given.states, strict=True)), self.until, *results.until,
            )
        ]  # fmt: skip

    def _check(self, node: Apply, given: Parts) -> None:
        n = int(given.n_steps)
        if n < 0:
            raise self._negative(node, n)
        if n < self.at_least:
            raise self._none(node)
        for k, x in enumerate(given.sequences):
            if len(x) < n:
                raise self._too_short(node, k, n, len(x))
        for k, x in enumerate(given.states):
            if len(x) != self.depth(k):
                raise self._wrong_rows(node, k, len(x))

    def _uneven(
        self, node: Apply, x: Variable, t: int, new: Sequence[int], old: Sequence[int]
    ) -> Exception:
        return ShapeError(
            explain(self, "an output has another shape in another step",
                    where=x.created or node.trace,
                    got=f"shape {tuple(new)} of {describe([x])} in step {t}",
                    expected=f"shape {tuple(old)}, as in the first step")
        )  # fmt: skip

    def _no_rows(self, node: Apply, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The mapped outputs of no steps: of the sizes that a step would give, as far as these
        follow from sizes; of size 0 where they do not."""
        inside = self.inside(node, _Concrete(dict(zip(node.inputs, inputs, strict=True))))
        made = []
        for x in self.results(self.inner.outputs).mapped:
            sizes = [n.value if isinstance(n, E.Const) else 0 for n in inside.shape(x)]
            made.append(np.zeros((0, *sizes), x.type.dtype))
        return made

    # -- gradient ---------------------------------------------------------------------------------

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> list[Any]:
        from symgraph.ops.scan_gradient import gradient

        terms = gradient(self, inputs, outputs, output_gradients)
        reached = [not isinstance(g.type, DisconnectedType) for g in output_gradients]
        for k, row in enumerate(self.connection_pattern(outputs[0].owner)):
            if isinstance(terms[k].type, DisconnectedType) and any(map(and_, row, reached)):
                terms[k] = inputs[k].zeros_like("floatX")  # connected by integers only
        return terms

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Through the inner graph, again and again until states reach no further inputs."""
        given = self.inputs([1 << k for k in range(len(node.inputs))])
        states, carries = list(given.states), list(given.carries)
        direct = self.results(self.inner.connections)
        before = None
        while before != (states, carries):
            before = list(states), list(carries)
            inside = [*given.sequences]
            for reached, taps in zip(states, self.taps, strict=True):
                inside += [reached] * len(taps)
            inside += [*carries, *given.fixed]
            states = [s | _through(d, inside) for s, d in zip(states, direct.states, strict=True)]
            carries = [
                c | _through(d, inside) for c, d in zip(carries, direct.carries, strict=True)
            ]
        reached = [*states, *(_through(d, inside) for d in direct.mapped), *carries]
        reached += [0] * self.until
        return [[bool(bits >> k & 1) for bits in reached] for k in range(len(node.inputs))]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        return f"{self}({', '.join(inputs)})"

    def __str__(self) -> str:
        kind = "do_while" if self.until else "for"
        return f"{kind}{{cpu,{self.name}}}"


class Recomputed(Scan):
    """A Scan that the gradient of a loop around it runs again, rather than keep its results."""


def _if_any(n: Expr, holds: Expr) -> Expr:
    """What must hold if there is a step at all."""
    if isinstance(holds, E.Const) or (isinstance(n, E.Const) and n.value > 0):
        return holds
    return E.compare("or", E.compare("le", n, E.ZERO), holds)


def _through(connected: int, reached: Sequence[int]) -> int:
    """The outer inputs behind the inner inputs that `connected` has a bit for."""
    bits = 0
    for k, outer in enumerate(reached):
        if connected >> k & 1:
            bits |= outer
    return bits


def _values(x: Variable, ctx: Context) -> Values | None:
    kind = x.type
    if isinstance(kind, TensorType) and kind.dtype in DISCRETE:
        return lambda position: ctx.value(x, position)
    return None


class _Concrete:
    """Sizes and values of arrays at hand; a `graph.Context`."""

    def __init__(self, arrays: dict[Variable, Any]) -> None:
        self.arrays = arrays

    def shape(self, variable: Variable) -> Shape:
        return tuple(E.const(n) for n in np.shape(self.arrays[variable]))

    def value(self, variable: Variable, position: int = 0) -> Expr:
        return E.const(np.asarray(self.arrays[variable]).reshape(-1)[position])
