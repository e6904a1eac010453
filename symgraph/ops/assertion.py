"""Checks in the graph: values that are handed on if conditions hold.

Source: Theano, tensor/opt.py (Assert) and raise_op.py (Raise).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.expr import Expr
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.core import describe
from symgraph.types import DisconnectedType, Type


@dataclass(frozen=True)
class Assert(Op):
    """`Assert(msg)(x, *conditions)` is x; a call where a condition is false (zero) raises.

    x may be of any type, the conditions are scalars. AssertionError with the message and the
    user's line; TypeError for conditions with axes. The gradient by x passes through. Runs in
    Python. The result must be used: what no output needs is not computed.
    """

    msg: str = "an Assert failed"
    folds: ClassVar[bool] = False

    def output_types(self, x: Any, *conditions: Any) -> Sequence[Type]:
        if any(c.ndim for c in conditions):
            raise TypeError(
                explain(self, "a condition is not a scalar", got=describe(conditions),
                        expected="scalars", cure="use tensor.all(condition)")
            )  # fmt: skip
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[Any]:
        x, *conditions = inputs
        for position, condition in enumerate(conditions):
            if not np.all(condition):
                raise AssertionError(
                    explain("Assert", self.msg, where=node.trace,
                            got=f"condition {position}, {node.inputs[1 + position]}, is false")
                )  # fmt: skip
        return [x]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [*output_gradients, *(DisconnectedType()() for _ in inputs[1:])]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], *([False] for _ in node.inputs[1:])]


@dataclass(frozen=True)
class Require(Op):
    """`Require(who, problems, expected)(x, *conditions)` is x, of which every element must satisfy
    the boolean conditions, one for each of `problems`; they have x's axes, broadcast along some.

    ValueError at the call, with a problem, where its condition does not hold. A part of the kernel
    that reads x. The gradient by x passes through.
    """

    who: str
    problems: tuple[str, ...]
    expected: str = ""

    def output_types(self, x: Any, *conditions: Any) -> Sequence[Type]:
        fits = all(c.dtype == "bool" and c.ndim == x.ndim for c in conditions)
        if len(conditions) != len(self.problems) or not fits:
            raise TypeError(
                explain(self, "takes one boolean condition, of as many axes, for each problem",
                        got=describe((x, *conditions)))
            )  # fmt: skip
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x: Any
        x, *conditions = node.inputs
        problem: Expr = E.ZERO
        for k, c in reversed(list(enumerate(conditions, 1))):
            ones = c.type.broadcastable
            at = [E.ZERO if one else i for i, one in zip(indices, ones, strict=True)]
            problem = E.where(E.load(c, at), problem, k)
        found = E.checked(problem, E.ONE)  # anything but 0 is no index of one place
        value = E.load(x, indices)
        return E.where(E.compare("eq", found, E.ZERO), value, E.const(0, value.dtype))

    def index_error(self, node: Apply, index: int, size: int) -> Exception:
        return ValueError(
            explain(self.who, self.problems[index - 1], where=node.trace,
                    got=describe(node.inputs[:1]), expected=self.expected)
        )  # fmt: skip

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[Any]:
        x, *conditions = inputs
        for k, condition in enumerate(conditions, 1):
            if not np.broadcast_to(condition, x.shape).all():
                raise self.index_error(node, k, 1)
        return [x]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [*output_gradients, *(DisconnectedType()() for _ in inputs[1:])]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], *([False] for _ in node.inputs[1:])]

    def __str__(self) -> str:
        return "Require"


@dataclass(frozen=True)
class Raise(Op):
    """`Raise(msg, exc)(x)` has x's type, and raises `exc(msg)` when it is computed."""

    msg: str = ""
    exc: type[Exception] = NotImplementedError
    folds: ClassVar[bool] = False

    def output_types(self, x: Any) -> Sequence[Type]:
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[Any]:
        raise self.exc(explain("Raise", self.msg, where=node.trace))


assert_op = Assert()
