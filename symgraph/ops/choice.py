"""One of two branches, by a condition: `IfElse` in the user's graph, `Choice` in what is compiled.

Compiling moves what only one branch needs into that branch's own graph (compile/rules/lazy.py):
only then is it known whether anything else needs it. Source: Theano, ifelse.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.expr import Expr
from symgraph.graph import Apply, Context, Op, Shape, Variable, is_tensor
from symgraph.ops.core import describe
from symgraph.ops.elementwise import neq
from symgraph.ops.inner import InnerContext, InnerGraph
from symgraph.ops.rounds import InnerCall, Rounds, Whole
from symgraph.types import DISCRETE, FLOATS, DisconnectedType
from symgraph.variable import as_tensor_variable


@dataclass(frozen=True)
class IfElse(Op):
    """The first `n_outs` inputs after the condition if that is not 0, the others if it is.

    Inputs: a scalar condition of any dtype (NaN counts as true), n_outs values, n_outs more of the
    same types, sizes may differ. TypeError for other types and for a condition that has axes.
    """

    n_outs: int
    name: str | None = field(default=None, compare=False)
    sees_disconnected: ClassVar[bool] = True

    def make_node(self, *inputs: Any) -> Apply:
        condition, *values = (
            x if isinstance(x, Variable) else as_tensor_variable(x) for x in inputs
        )
        if len(values) != 2 * self.n_outs:
            raise TypeError(f"{self}: takes {2 * self.n_outs} values, got {len(values)}")
        if not is_tensor(condition) or condition.type.ndim:
            raise TypeError(
                explain(self, "Condition given to the op has to be a scalar with 0 standing for "
                        "False, anything else for True", where=condition.created,
                        got=describe([condition]) if is_tensor(condition) else str(condition.type),
                        expected="a 0-d tensor", cure="T.all(...) or T.any(...) of a comparison")
            )  # fmt: skip
        for a, b in zip(values[: self.n_outs], values[self.n_outs :], strict=True):
            if a.type != b.type:
                raise TypeError(
                    explain(self, "The two branches should have identical types", where=a.created,
                            got=f"{a} of {a.type} and {b} of {b.type}",
                            expected="equal dtypes and broadcast patterns",
                            cure="cast one (.astype), or drop what is known of its sizes "
                            "(tensor.unbroadcast)")
                )  # fmt: skip
        if condition.type.dtype != "bool":
            condition = neq(condition, 0)
        outputs = [v.type.make_variable() for v in values[: self.n_outs]]
        return Apply(self, [condition, *values], outputs)

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        condition, *values = node.inputs
        known = ctx.value(condition)
        return [
            _either(known, ctx.shape(a), ctx.shape(b)) if is_tensor(a) else None
            for a, b in zip(values[: self.n_outs], values[self.n_outs :], strict=True)
        ]

    def evaluate(self, node: Apply, *inputs: Any) -> Sequence[Any]:
        condition, *values = inputs
        return values[: self.n_outs] if condition else values[self.n_outs :]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        own = [[k == o for o in range(self.n_outs)] for k in range(self.n_outs)]
        return [[True] * self.n_outs, *own, *own]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        # the condition is taken to stay what it is when it changes a little
        condition, *values = inputs
        terms: list[Any] = [DisconnectedType()() for _ in values]
        reached = [k for k, g in enumerate(output_gradients) if not _is_disconnected(g)]
        gradients = [output_gradients[k] for k in reached]
        for first in (0, self.n_outs):
            zeros = [values[first + k].zeros_like(output_gradients[k].dtype) for k in reached]
            pair = [*gradients, *zeros] if first == 0 else [*zeros, *gradients]
            made = IfElse(len(reached), self.name).make_node(condition, *pair).outputs
            for k, term in zip(reached, made, strict=True):
                terms[first + k] = term
        return [condition.zeros_like("floatX"), *terms]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        """The chosen branch's derivatives; a point None: this value stays as it is."""
        (_, *values), (_, *points) = inputs, eval_points
        zeros = [
            v.zeros_like(v.type.dtype if v.type.dtype in FLOATS else "floatX")
            if p is None and is_tensor(v)
            else p
            for v, p in zip(values, points, strict=True)
        ]
        known = [k for k in range(self.n_outs) if zeros[k] is not None]
        pairs = [zeros[first + k] for first in (0, self.n_outs) for k in known]
        made = iter(IfElse(len(known), self.name).make_node(inputs[0], *pairs).outputs)
        return [next(made) if k in known else None for k in range(self.n_outs)]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        return f"{self}({', '.join(inputs)})"

    def __str__(self) -> str:
        return f"if{{{self.name or ''}}}"


def _is_disconnected(g: Any) -> bool:
    return isinstance(g.type, DisconnectedType)


def _either(condition: Expr, a: Shape, b: Shape) -> Shape:
    return tuple(E.where(condition, m, n) for m, n in zip(a, b, strict=True))


@dataclass(frozen=True)
class Choice(Op):
    """What `then` makes of the inputs after the condition (a bool scalar), or what `orelse` does.

    Only that graph is run. Both have all these inputs, and outputs of the same types.
    """

    then: InnerGraph
    orelse: InnerGraph
    name: str | None = field(default=None, compare=False)
    folds: ClassVar[bool] = False

    @property
    def inner_graphs(self) -> tuple[InnerGraph, ...]:  # type: ignore[override]
        """Both branches."""
        return self.then, self.orelse

    @property
    def inner_outputs(self) -> list[Variable]:
        """The outputs of both branches, for those who print them."""
        return [*self.then.outputs, *self.orelse.outputs]

    @property
    def is_pure(self) -> bool:  # type: ignore[override]
        return self.then.is_pure and self.orelse.is_pure

    def make_node(self, *inputs: Any) -> Apply:
        outputs = [v.type.make_variable() for v in self.then.outputs]
        return Apply(self, inputs, outputs)

    def inside(self, node: Apply, ctx: Context) -> list[InnerContext]:
        """The sizes in both branches, in terms of those of the node's inputs."""
        given = node.inputs[1:]
        values = [
            (lambda k, v=v: ctx.value(v, k)) if is_tensor(v) and v.type.dtype in DISCRETE else None
            for v in given
        ]
        shapes = [ctx.shape(v) if is_tensor(v) else () for v in given]
        return [graph.infer_shapes(shapes, values) for graph in self.inner_graphs]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        then, orelse = self.inside(node, ctx)
        known = ctx.value(node.inputs[0])
        shapes: list[Shape | None] = []
        for a, b in zip(self.then.outputs, self.orelse.outputs, strict=True):
            pair = then.outer_shape(a), orelse.outer_shape(b)
            is_known = is_tensor(a) and None not in pair
            shapes.append(_either(known, *pair) if is_known else None)  # type: ignore[arg-type]
        return shapes

    def evaluate(self, node: Apply, *inputs: Any) -> Sequence[Any]:
        return self.evaluate_with(node, [g.evaluate for g in self.inner_graphs], *inputs)

    def evaluate_with(self, node: Apply, calls: Sequence[InnerCall], *inputs: Any) -> Sequence[Any]:
        """`evaluate`, where `calls` compute the branches."""
        condition, *given = inputs
        return calls[0 if condition else 1](given)

    def rounds(self, node: Apply, ctx: Context) -> list[Rounds]:
        """Each branch once, or not at all."""
        condition, *given = node.inputs
        feeds, goals = tuple(map(Whole, given)), tuple(map(Whole, node.outputs))
        shapes = [
            [inside.outer_shape(v) for v in graph.outputs]
            for graph, inside in zip(self.inner_graphs, self.inside(node, ctx), strict=True)
        ]
        if shapes[0] == shapes[1]:  # then sizes do not depend on the condition
            return [
                Rounds(graph, E.ONE, feeds, goals, when=(condition, wanted))
                for graph, wanted in zip(self.inner_graphs, (True, False), strict=True)
            ]
        known = ctx.value(condition)
        counts = E.where(known, 1, 0), E.where(known, 0, 1)
        return [
            Rounds(graph, count, feeds, goals)
            for graph, count in zip(self.inner_graphs, counts, strict=True)
        ]

    def __str__(self) -> str:
        return f"if{{{self.name or ''}}}"
