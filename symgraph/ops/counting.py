"""Counting, searching in sorted vectors, distinct elements.

Source of names: Theano, tensor/extra_ops.py (bincount, searchsorted, Unique); NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check
from symgraph.graph import Apply, Context, Op, Write
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import full_like
from symgraph.ops.core import cast_expr, describe
from symgraph.ops.elementwise import ADD, add, cast, maximum
from symgraph.ops.shape import flatten
from symgraph.ops.sizes import checks_of
from symgraph.ops.structure import rebroadcast
from symgraph.types import DISCRETE, INTEGERS, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable, constant

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Bincount(Op):
    """y, where y[k] is the sum of weights[i] with x[i] == k; inputs are x, weights, length.

    IndexError at the call for x outside [0, length).
    """

    def output_types(self, x: Any, weights: Any, length: Any) -> list[TensorType]:
        if x.ndim != 1 or x.dtype not in INTEGERS or weights.ndim != 1:
            raise TypeError(
                explain("bincount", "takes an integer vector", got=describe([x, weights]))
            )
        return [TensorType(weights.dtype, (False,))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [(ctx.value(node.inputs[2]),)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        have, want = (ctx.shape(v)[0] for v in node.inputs[:2])

        def fail(*values: int) -> Exception:
            return ShapeError(
                explain("bincount", "not one weight for each element", where=node.trace,
                        got=f"{values[1]} weights for {values[0]} elements")
            )  # fmt: skip

        return checks_of([E.compare("eq", have, want)], (have, want), fail)

    def assemble(self, node: Apply, ctx: Context) -> list[Write]:
        x, weights, length = node.inputs
        out = node.outputs[0]
        dtype = out.type.dtype
        size = ctx.value(length)
        k = E.index(size)
        zero = E.const(0, "float32" if dtype == "float16" else dtype)
        i = E.index(ctx.shape(x)[0])
        label = cast_expr(E.load(x, (i,)), "int64")
        # a negative one is refused as the first that is too large would be
        at = E.checked(E.where(E.compare("lt", label, E.ZERO), size, label), size)
        more = ADD.apply((E.load(out, (at,)), E.load(weights, (i,))), dtype)
        return [Write((k,), (k,), zero), Write((i,), (at,), more, ordered=True)]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, weights, length = inputs
        if (x < 0).any():
            raise IndexError(explain("bincount", "a negative number", where=node.trace))
        result = np.zeros(int(length), dtype=weights.dtype)
        np.add.at(result, x, weights)
        return [result]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False], [True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        x, weights, _ = inputs
        off = DisconnectedType()
        if weights.dtype in DISCRETE:
            return [off(), weights.zeros_like("floatX"), off()]
        return [off(), rebroadcast(output_gradients[0][x], weights.broadcastable), off()]


def bincount(
    x: Any, weights: Any = None, minlength: Any = None, assert_nonneg: bool = False
) -> Any:
    """How often each of 0, ..., max(x) occurs in the vector `x`: int64, or the sums of `weights`.

    The result has at least `minlength` elements. Negative numbers in `x` raise IndexError at the
    call, whether `assert_nonneg` is given or not. TypeError if `x` is no vector of integers.
    Source: Theano, extra_ops.bincount.
    """
    from symgraph.ops.reduce import max as largest

    x = as_tensor_variable(x)
    if x.ndim != 1 or x.dtype not in INTEGERS:
        raise TypeError(explain("bincount", "takes an integer vector", got=describe([x])))
    length = add(cast(largest(x), "int64"), constant(1, dtype="int64"))
    if minlength is not None:
        length = maximum(length, cast(as_tensor_variable(minlength), "int64"))
    if weights is None:
        weights = full_like(x, 1, "int64")
    return Bincount()(x, weights, length)


@dataclass(frozen=True)
class SearchSorted(Op):
    """For each v, where to insert it into the sorted vector x to keep the order: int64."""

    side: Side

    def output_types(self, x: Any, v: Any) -> list[TensorType]:
        if x.ndim != 1:
            raise TypeError(explain("searchsorted", "takes a sorted vector", got=describe([x])))
        return [TensorType("int64", v.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [ctx.shape(node.inputs[1])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.asarray(np.searchsorted(inputs[0], inputs[1], side=self.side))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [DisconnectedType()(), DisconnectedType()()]


def searchsorted(x: Any, v: Any, side: Side = "left", sorter: Any = None) -> Any:
    """Where to insert each `v` into the sorted vector `x` ("left" or "right" of equals): int64.

    `sorter` holds the integer positions that sort `x`. Source: Theano, extra_ops.searchsorted.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side is 'left' or 'right', got {side!r}")
    x = as_tensor_variable(x)
    if sorter is not None:
        sorter = as_tensor_variable(sorter)
        if sorter.ndim != 1 or sorter.dtype not in INTEGERS:
            raise TypeError("searchsorted: sorter is an integer vector")
        x = x[sorter]
    return SearchSorted(side)(x, v)


@dataclass(frozen=True)
class Unique(Op):
    """The distinct elements of a vector, sorted, and what else is asked for, each int64.

    Where each first occurs, which one each element is, how often each occurs. A Python step.
    """

    return_index: bool = False
    return_inverse: bool = False
    return_counts: bool = False

    def output_types(self, x: Any) -> list[TensorType]:
        if x.ndim != 1:
            raise TypeError(explain(self, "takes a vector", got=describe([x])))
        others = self.return_index + self.return_inverse + self.return_counts
        return [TensorType(x.dtype, (False,))] + [TensorType("int64", (False,))] * others

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        shapes: list[Sizes | None] = [None] * len(node.outputs)
        if self.return_inverse:
            shapes[1 + self.return_index] = ctx.shape(node.inputs[0])
        return shapes

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        asked = self.return_index, self.return_inverse, self.return_counts
        values, *positions = np.unique(inputs[0], True, True, True)
        return [
            values,
            *(p.astype("int64") for p, ask in zip(positions, asked, strict=True) if ask),
        ]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[k == 0 for k in range(len(node.outputs))]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x,), g = inputs, output_gradients[0]
        if x.dtype in DISCRETE or isinstance(g.type, DisconnectedType):
            return [x.zeros_like("floatX" if x.dtype in DISCRETE else None)]
        from symgraph.ops.index import inc_subtensor

        _, first = Unique(return_index=True)(x)
        return [inc_subtensor(x.zeros_like()[first], g)]


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """The distinct elements of `ar` (flattened), sorted; a list with the positions asked for.

    As `numpy.unique`; the positions are int64. Source: Theano, extra_ops.Unique.
    """
    return Unique(return_index, return_inverse, return_counts)(flatten(ar))
