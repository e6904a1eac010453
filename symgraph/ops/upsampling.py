"""Upsampling of images by bilinear interpolation.

The weights are those of Theano's transposed convolution with a pyramid, but each axis is
interpolated by itself between two neighbours: both axes together are one kernel of four loads.
Source: Theano, tensor/nnet/abstract_conv, bilinear_upsampling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.configuration import config
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.alloc import arange
from symgraph.ops.core import cast_expr, describe
from symgraph.ops.elementwise import ADD, MUL, SWITCH, cast
from symgraph.ops.join import join
from symgraph.ops.linalg import outer
from symgraph.ops.sizes import known_integer
from symgraph.ops.structure import shape_i
from symgraph.types import FLOATS, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable

__all__ = [
    "Interpolate", "InterpolateGrad", "bilinear_kernel_1D", "bilinear_kernel_2D",
    "bilinear_upsampling", "frac_bilinear_upsampling",
]  # fmt: skip


@dataclass(frozen=True)
class _Interpolation(Op):
    """Along `axis`, `up` / `down` points for each of the old ones, but for the first and last.

    New point i lies (i * down - (up - 1) // 2) / up behind old point 1: old points 0 and -1 only
    hold the edges.
    """

    axis: int
    up: int
    down: int

    @property
    def _offset(self) -> int:
        return (self.up - 1) // 2

    def _count(self, size: Expr) -> Expr:
        """How many new points `size` old ones give, the edges among them."""
        inner = E.mul(E.sub(size, 2), self.up)
        return E.add(E.floordiv(E.sub(inner, 1), self.down), 1)

    def output_types(self, x: Any, *size: Any) -> list[TensorType]:
        if x.dtype not in FLOATS:
            raise TypeError(explain(self, "takes floats", got=describe((x,))))
        return [TensorType(x.dtype, [b and a != self.axis for a, b in enumerate(x.broadcastable)])]

    def _weights(self, size: int) -> np.ndarray:
        """The matrix (new, old) of the interpolation."""
        new = np.arange(((size - 2) * self.up - 1) // self.down + 1) * self.down - self._offset
        distance = np.abs(new[:, None] - (np.arange(size) - 1) * self.up)
        weights: np.ndarray = np.maximum(self.up - distance, 0) / self.up
        return weights


@dataclass(frozen=True)
class Interpolate(_Interpolation):
    """The new points, each from two old ones. The adjoint of `InterpolateGrad`."""

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        x, a = ctx.shape(node.inputs[0]), self.axis
        return [(*x[:a], self._count(x[a]), *x[a + 1 :])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        size = ctx.shape(node.inputs[0])[self.axis]

        def fail(*values: int) -> Exception:
            return ShapeError(explain(self, "an image with no rows or columns", where=node.trace,
                                      got=describe(node.inputs)))  # fmt: skip

        return [Check(E.compare("lt", 2, size), (size,), fail)]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        (x,), a = node.inputs, self.axis
        dtype = "float32" if x.type.dtype == "float16" else x.type.dtype
        # counted from old point 0, so that nothing is negative
        place = E.add(E.mul(indices[a], self.down), self.up - self._offset)
        left, after = E.floordiv(place, self.up), E.mod(place, self.up)
        terms = []
        for point, weight in ((left, E.sub(self.up, after)), (E.add(left, 1), after)):
            value = cast_expr(E.load(x, (*indices[:a], point, *indices[a + 1 :])), dtype)
            share = MUL.apply((cast_expr(weight, dtype), E.const(1 / self.up, dtype)), dtype)
            terms.append(MUL.apply((value, share), dtype))
        return ADD.apply(terms, dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        out = np.tensordot(self._weights(x.shape[self.axis]), x, (1, self.axis))
        return [np.moveaxis(out, 0, self.axis).astype(x.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        size = shape_i(inputs[0], self.axis)
        return [InterpolateGrad(self.axis, self.up, self.down)(output_gradients[0], size)]


@dataclass(frozen=True)
class InterpolateGrad(_Interpolation):
    """For each of `size` old points, the weighted sum of the new ones around it."""

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        x, a = ctx.shape(node.inputs[0]), self.axis
        return [(*x[:a], ctx.value(node.inputs[1]), *x[a + 1 :])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        count, size = ctx.shape(node.inputs[0])[self.axis], ctx.value(node.inputs[1])

        def fail(*values: int) -> Exception:
            return ShapeError(explain(self, f"{values[0]} points do not come from {values[1]}",
                                      where=node.trace, got=describe(node.inputs)))  # fmt: skip

        return [Check(E.compare("eq", count, self._count(size)), (count, size), fail)]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x, a = node.inputs[0], self.axis
        dtype = "float32" if x.type.dtype == "float16" else x.type.dtype
        count = ctx.shape(x)[a]
        centre = E.add(E.mul(E.sub(indices[a], 1), self.up), self._offset)
        # the new points less than `up` away from the centre
        first = E.add(E.floordiv(E.sub(centre, self.up), self.down), 1)
        step = E.index(E.const((2 * self.up - 1) // self.down + 1))
        new = E.add(first, step)
        near = E.maximum(E.minimum(new, E.sub(count, 1)), 0)
        distance = E.sub(E.mul(near, self.down), centre)
        distance = E.maximum(distance, E.sub(0, distance))
        weight = E.where(E.compare("eq", near, new), E.maximum(E.sub(self.up, distance), 0), 0)
        value = cast_expr(E.load(x, (*indices[:a], near, *indices[a + 1 :])), dtype)
        share = MUL.apply((cast_expr(weight, dtype), E.const(1 / self.up, dtype)), dtype)
        hit = E.compare("lt", 0, weight)  # a NaN elsewhere stays there
        term = SWITCH.apply((hit, MUL.apply((value, share), dtype), E.const(0, dtype)), dtype)
        return E.fold("sum", (step,), term, dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, size = inputs
        out = np.tensordot(self._weights(int(size)).T, x, (1, self.axis))
        return [np.moveaxis(out, 0, self.axis).astype(x.dtype)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        again = Interpolate(self.axis, self.up, self.down)(output_gradients[0])
        return [again, DisconnectedType()()]


# ---- the names users call ------------------------------------------------------------------------


def bilinear_kernel_1D(ratio: Any, normalize: bool = True) -> Any:
    """1, 2, ..., ratio, ..., 2, 1 as a floatX vector; divided by `ratio` if `normalize`.

    `ratio`: an int or int scalar. Source: Theano, abstract_conv.bilinear_kernel_1D.
    """
    last: Any = as_tensor_variable(ratio)
    half = arange(1, last + 1, dtype=config.floatX)
    kernel = join(0, half, half[-2::-1])
    return kernel / cast(ratio, config.floatX) if normalize else kernel


def bilinear_kernel_2D(ratio: Any, normalize: bool = True) -> Any:
    """The outer product of two `bilinear_kernel_1D`, for rows and columns.

    `ratio`: an int or int scalar, or a pair of them, rows first.
    Source: Theano, abstract_conv.bilinear_kernel_2D.
    """
    rows, columns = ratio if isinstance(ratio, tuple) else (ratio, ratio)
    return outer(bilinear_kernel_1D(rows, normalize), bilinear_kernel_1D(columns, normalize))


def _fraction(name: str, up: Any, down: Any) -> tuple[int, int]:
    """Two positive ints without a common factor; ValueError for anything else."""
    known = [known_integer(as_tensor_variable(n)) or 0 for n in (up, down)]
    if min(known) < 1:
        raise ValueError(
            explain("bilinear_upsampling", f"{name} is not made of positive constants",
                    got=f"{up!r}, {down!r}", expected="ints, or constants")
        )  # fmt: skip
    common = math.gcd(*known)
    return known[0] // common, known[1] // common


def _interpolated(input: Any, ratios: Sequence[tuple[int, int]]) -> Any:
    """Rows and columns interpolated, edges repeated; in floatX, as Theano's kernels are."""
    x = as_tensor_variable(input)
    if x.ndim != 4:
        raise TypeError(
            explain("bilinear_upsampling", "input must be 4D tensor", got=describe((x,)),
                    expected="(batch, channels, rows, columns)")
        )  # fmt: skip
    x = cast(x, config.floatX)
    for axis, (up, down) in enumerate(ratios, 2):
        before = (slice(None),) * axis
        x = join(axis, x[(*before, slice(None, 1))], x, x[(*before, slice(-1, None))])
        x = Interpolate(axis, up, down)(x)
    return x


def bilinear_upsampling(
    input: Any,
    ratio: Any = None,
    frac_ratio: Any = None,
    batch_size: int | None = None,
    num_input_channels: int | None = None,
    use_1D_kernel: bool = True,
) -> Any:
    """Images (n, c, h, w) with `ratio` times as many rows and columns, interpolated: floatX.

    `frac_ratio`: (up, down), or a pair of such fractions for rows and columns; then `use_1D_kernel`
    must be False, as in Theano. Otherwise that, `batch_size` and `num_input_channels` mean nothing:
    all is one kernel. New point i lies at (i * down - (up - 1) // 2) / up, edges repeated.
    ValueError unless exactly one ratio is given, of constants.
    Source: Theano, abstract_conv.bilinear_upsampling.
    """
    if (ratio is None) == (frac_ratio is None):
        raise ValueError(
            explain("bilinear_upsampling", "No ratio, or both ratio and frac_ratio",
                    expected="one of the two")
        )  # fmt: skip
    if ratio is not None:
        return _interpolated(input, (_fraction("ratio", ratio, 1),) * 2)
    if use_1D_kernel:
        raise ValueError(
            explain("bilinear_upsampling", "For fractional ratios 1D kernel method not implemented",
                    cure="use_1D_kernel=False")
        )  # fmt: skip
    return frac_bilinear_upsampling(input, frac_ratio)


def frac_bilinear_upsampling(input: Any, frac_ratio: Any) -> Any:
    """`bilinear_upsampling` by a fraction (up, down), or one for rows and one for columns.

    The result has (size * up - 1) // down + 1 rows and columns. ValueError for what is no tuple.
    Source: Theano, abstract_conv.frac_bilinear_upsampling.
    """
    if not isinstance(frac_ratio, tuple) or len(frac_ratio) != 2:
        raise ValueError(
            explain("bilinear_upsampling", "frac_ratio must be a tuple", got=repr(frac_ratio),
                    expected="(up, down), or two such pairs")
        )  # fmt: skip
    pairs = frac_ratio if isinstance(frac_ratio[0], tuple) else (frac_ratio,) * 2
    return _interpolated(input, [_fraction("frac_ratio", *pair) for pair in pairs])
