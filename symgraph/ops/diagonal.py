"""Diagonals: taken out of matrices, spread into them, filled.

Source of names: Theano, tensor/basic.py (diag, diagonal) and extra_ops (fill_diagonal); NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr, Index
from symgraph.graph import Apply, Context, Op, Write
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import arange, cast_known
from symgraph.ops.core import cast_expr, describe, dimshuffle
from symgraph.ops.elementwise import add, eq, switch
from symgraph.ops.join import as_axis
from symgraph.ops.sizes import (
    at_least_zero,
)
from symgraph.ops.structure import (
    as_size,
    rebroadcast,
    shape_i,
    sizes_of,
)
from symgraph.types import DISCRETE, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable, constant


def _corner(offset: int) -> tuple[int, int]:
    """Row and column where the diagonal begins."""
    return max(0, -offset), max(0, offset)


def _length(rows: Expr, columns: Expr, offset: int) -> Expr:
    row, column = _corner(offset)
    return at_least_zero(E.minimum(E.sub(rows, row), E.sub(columns, column)))


@dataclass(frozen=True)
class Diagonal(Op):
    """The diagonals of the matrices along `axis1` and `axis2`, as a new last axis. A view."""

    offset: int
    axis1: int
    axis2: int
    view_of: ClassVar[int | None] = 0

    def output_types(self, x: Any) -> list[TensorType]:
        pattern = [b for a, b in enumerate(x.broadcastable) if a not in (self.axis1, self.axis2)]
        return [TensorType(x.dtype, [*pattern, False])]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        sizes = ctx.shape(node.inputs[0])
        rest = [n for a, n in enumerate(sizes) if a not in (self.axis1, self.axis2)]
        return [(*rest, _length(sizes[self.axis1], sizes[self.axis2], self.offset))]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        *outer, k = indices
        row, column = _corner(self.offset)
        rest = iter(outer)
        at = {self.axis1: E.add(k, row), self.axis2: E.add(k, column)}
        x = node.inputs[0]
        return E.load(x, [at[a] if a in at else next(rest) for a in range(x.type.ndim)])

    def view(self, node: Apply, strides: Sizes, ctx: Context) -> tuple[Expr, Sizes] | None:
        row, column = _corner(self.offset)
        down, right = strides[self.axis1], strides[self.axis2]
        # of an empty diagonal nothing is read, but its address stays inside of the array
        length = self.infer_shape(node, ctx)[0][-1]  # type: ignore[index]
        start = E.add(E.mul(row, down), E.mul(column, right))
        start = E.where(E.compare("lt", E.ZERO, length), start, E.ZERO)
        rest = [s for a, s in enumerate(strides) if a not in (self.axis1, self.axis2)]
        return start, (*rest, E.add(down, right))

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [inputs[0].diagonal(self.offset, self.axis1, self.axis2)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        x = inputs[0]
        if x.dtype in DISCRETE:
            return [x.zeros_like("floatX")]
        sizes = shape_i(x, self.axis1), shape_i(x, self.axis2)
        spread = SpreadDiagonal(self.offset, self.axis1, self.axis2)(output_gradients[0], *sizes)
        return [rebroadcast(spread, x.broadcastable)]


@dataclass(frozen=True)
class SpreadDiagonal(Op):
    """Zeros but for the diagonals along `axis1` and `axis2`, which are the last axis of x.

    Inputs are x and the two sizes of the matrices. The adjoint of `Diagonal`.
    """

    offset: int
    axis1: int
    axis2: int

    def output_types(self, x: Any, rows: Any, columns: Any) -> list[TensorType]:
        rest = iter(x.broadcastable[:-1])
        inner = (self.axis1, self.axis2)
        return [TensorType(x.dtype, [a not in inner and next(rest) for a in range(x.ndim + 1)])]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        x, rows, columns = node.inputs
        rest = iter(ctx.shape(x)[:-1])
        inner = {self.axis1: ctx.value(rows), self.axis2: ctx.value(columns)}
        return [tuple(inner[a] if a in inner else next(rest) for a in range(x.type.ndim + 1))]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        (sizes,) = self.infer_shape(node, ctx)
        assert sizes is not None
        have = ctx.shape(node.inputs[0])[-1]
        want = _length(sizes[self.axis1], sizes[self.axis2], self.offset)

        def fail(*values: int) -> Exception:
            return ShapeError(explain(self, "the diagonal does not fit", where=node.trace,
                                      got=f"length {values[0]}",
                                      expected=f"length {values[1]}"))  # fmt: skip

        return [Check(E.compare("eq", have, want), (have, want), fail)]

    def assemble(self, node: Apply, ctx: Context) -> list[Write]:
        (sizes,) = self.infer_shape(node, ctx)
        assert sizes is not None
        at = [E.ZERO if n is E.ONE else E.index(n) for n in sizes]
        x = node.inputs[0]
        zero = E.const(0, "float32" if x.type.dtype == "float16" else x.type.dtype)
        clear = Write(tuple(i for i in at if isinstance(i, Index)), tuple(at), zero)
        source = [E.ZERO if n is E.ONE else E.index(n) for n in ctx.shape(x)]
        *outer, k = source
        row, column = _corner(self.offset)
        rest = iter(outer)
        inner = {self.axis1: E.add(k, row), self.axis2: E.add(k, column)}
        target = tuple(inner[a] if a in inner else next(rest) for a in range(len(sizes)))
        loops = tuple(i for i in source if isinstance(i, Index))
        value = cast_expr(E.load(x, source), x.type.dtype)
        return [clear, Write(loops, target, value)]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, rows, columns = inputs
        result = np.zeros((*x.shape[:-1], int(rows), int(columns)), dtype=x.dtype)
        row, column = _corner(self.offset)
        k = np.arange(x.shape[-1])
        result[..., k + row, k + column] = x
        return [np.moveaxis(result, (-2, -1), (self.axis1, self.axis2))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        x, (g,) = inputs[0], output_gradients
        taken = Diagonal(self.offset, self.axis1, self.axis2)(g)
        return [rebroadcast(taken, x.broadcastable), DisconnectedType()(), DisconnectedType()()]


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonals (column - row == offset) of the matrices along two axes, as the last axis.

    A view. ValueError for fewer than two axes. Source: Theano, `T.diagonal`; NumPy.
    """
    a = as_tensor_variable(a)
    if a.ndim < 2:
        raise ValueError(explain("diagonal", "takes two axes or more", got=describe([a])))
    first, second = as_axis(axis1, a.ndim, "diagonal"), as_axis(axis2, a.ndim, "diagonal")
    if first == second:
        raise ValueError("diagonal: axis1 and axis2 cannot be the same")
    return Diagonal(int(offset), first, second)(a)


def diag(v: Any, k: int = 0) -> Any:
    """A vector as the diagonal `k` of a square matrix of zeros; the diagonal `k` of a matrix.

    ValueError for other ndims. Source: Theano, `T.diag`.
    """
    v = as_tensor_variable(v)
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ValueError(explain("diag", "takes a vector or a matrix", got=describe([v])))
    side = add(shape_i(v, 0), constant(abs(int(k)), dtype="int64"))
    return SpreadDiagonal(int(k), 0, 1)(v, side, side)


def alloc_diag(x: Any) -> Any:
    """A vector as the diagonal of a square matrix of zeros. TypeError for other ndims.

    Source: Theano, nlinalg.alloc_diag.
    """
    x = as_tensor_variable(x)
    if x.ndim != 1:
        raise TypeError(explain("alloc_diag", "takes a vector", got=describe([x])))
    return diag(x)


def extract_diag(x: Any) -> Any:
    """The diagonal of a matrix, a vector. ValueError for fewer than two axes.

    Source: Theano, nlinalg.extract_diag.
    """
    return diagonal(x)


def fill_diagonal(a: Any, val: Any) -> Any:
    """A copy of the matrix `a` with the scalar `val` on its diagonal. Source: Theano, extra_ops."""
    return fill_diagonal_offset(a, val, 0)


def fill_diagonal_offset(a: Any, val: Any, offset: int) -> Any:
    """As `fill_diagonal`, where column - row == offset. TypeError for other ndims and kinds."""
    a, val = as_tensor_variable(a), as_tensor_variable(val)
    if a.ndim != 2 or val.ndim != 0:
        raise TypeError(
            explain("fill_diagonal", "takes a matrix and a scalar", got=describe([a, val]))
        )
    rows, columns = (arange(n) for n in sizes_of(a))
    on = eq(dimshuffle(columns, "x", 0) - dimshuffle(rows, 0, "x"), as_size(offset, "offset"))
    return switch(on, cast_known(val, a.dtype), a)
