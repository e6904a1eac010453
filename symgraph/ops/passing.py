"""Ops that hand their input on as it is, and have a gradient of their own.

Compiled functions do not contain them: a rewrite takes them out once gradients are built.
Source: Theano, gradient.py and library/gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.expr import Expr
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.core import describe
from symgraph.ops.elementwise import clip, mul
from symgraph.types import DisconnectedType, NullType, TensorType
from symgraph.variable import as_tensor_variable

_GRADIENTS: dict[str, Callable[..., Any]] = {  # of the gradient by the output, and the numbers
    "consider_constant": lambda g: g.zeros_like(),
    "zero_grad": lambda g: g.zeros_like(),
    "disconnected_grad": lambda g: DisconnectedType()(),
    "undefined_grad": lambda g: NullType("undefined_grad says that there is none")(),
    "grad_clip": lambda g, low, high: clip(g, low, high),
    "grad_scale": lambda g, factor: mul(g, factor),
    "transfer_cuda": lambda g: g,
}


@dataclass(frozen=True)
class PassThrough(Op):
    """x itself; `kind` and `numbers` say what becomes of the gradient."""

    kind: str
    numbers: tuple[float, ...] = ()
    view_of: ClassVar[int | None] = 0

    def output_types(self, x: Any) -> list[TensorType]:
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        return ctx.value(node.inputs[0], position)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        return E.load(node.inputs[0], indices)

    def view(self, node: Apply, strides: Shape, ctx: Context) -> tuple[Expr, Shape] | None:
        return E.ZERO, strides

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [inputs[0]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (g,) = output_gradients
        numbers = [np.asarray(n, g.dtype) for n in self.numbers]
        return [_GRADIENTS[self.kind](g, *numbers)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[self.kind != "disconnected_grad"]]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        return f"{self.kind}({', '.join([inputs[0], *map(str, self.numbers)])})"

    def __str__(self) -> str:
        return f"{self.kind}{{{', '.join(map(str, self.numbers))}}}" if self.numbers else self.kind


def transfer(x: Any, device: str) -> Any:
    """`x` on 'cuda' or on the 'cpu': where the results of a function are to be.

    A function of which a result is to be on the device runs there as a whole; within a graph,
    placing things is the compiler's affair. Source: Theano, `TensorVariable.transfer`.
    """
    if device == "cuda":
        return PassThrough("transfer_cuda")(x)
    return x.owner.inputs[0] if stays_there(x) else x


def stays_there(x: Any) -> bool:
    """Whether an output is to be left on the device."""
    return x.owner is not None and x.owner.op == PassThrough("transfer_cuda")


def consider_constant(x: Any) -> Any:
    """`x`, whose gradient is zero: what is behind it counts as a constant.

    Any shape and dtype. Source: Theano, `gradient.consider_constant`.
    """
    return PassThrough("consider_constant")(x)


def zero_grad(x: Any) -> Any:
    """`x`, whose gradient is zero. Any shape and dtype. Source: Theano, `gradient.zero_grad`."""
    return PassThrough("zero_grad")(x)


def disconnected_grad(x: Any) -> Any:
    """`x`, through which no gradient flows: `grad` says that what is behind it is disconnected.

    Any shape and dtype. Source: Theano, `gradient.disconnected_grad`.
    """
    return PassThrough("disconnected_grad")(x)


def undefined_grad(x: Any) -> Any:
    """`x`, through which there is no gradient: `grad` raises NullTypeGradError where it meets this.

    Any shape and dtype. Source: Theano, `gradient.undefined_grad`.
    """
    return PassThrough("undefined_grad")(x)


def grad_clip(x: Any, lower_bound: float, upper_bound: float) -> Any:
    """`x`, whose gradient is limited to [lower_bound, upper_bound], element by element.

    ValueError if the bounds are crossed. Source: Theano, `gradient.grad_clip`.
    """
    x, low, high = as_tensor_variable(x), float(lower_bound), float(upper_bound)
    if not low <= high:
        raise ValueError(
            explain("grad_clip", "the bounds are crossed", expected="lower_bound <= upper_bound",
                    got=f"[{low}, {high}] for {describe([x])}")
        )  # fmt: skip
    return PassThrough("grad_clip", (low, high))(x)


def grad_scale(x: Any, multiplier: float) -> Any:
    """`x`, whose gradient is multiplied by `multiplier`. Source: Theano, `gradient.grad_scale`."""
    return PassThrough("grad_scale", (float(multiplier),))(x)
