"""The windows of an axis, as a view, and their adjoint; zeros around an axis.

What 3-d and unshared convolutions and `images2neibs` are written with.
Source of the sizes: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"
(2016); NumPy's `sliding_window_view`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.alloc import zeros
from symgraph.ops.conv_sizes import out_size
from symgraph.ops.core import cast_expr, describe
from symgraph.ops.elementwise import SWITCH
from symgraph.ops.index import set_subtensor
from symgraph.ops.sizes import checks_of, known_integer
from symgraph.ops.structure import as_size, rebroadcast, shape_i, sizes_of
from symgraph.types import DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable


@dataclass(frozen=True)
class _Windowed(Op):
    """Windows of an axis: window i holds the elements i * stride + j * dilation, j below `width`.

    `axis` is that of the windows in the result of `Windows`; the places in a window are the next
    one. `stride` is the last input, an int64 scalar. With `exact` the last window must end where
    the axis does.
    """

    axis: int
    dilation: int = 1
    exact: bool = False

    def _stride(self, node: Apply, ctx: Context) -> Expr:
        return E.maximum(ctx.value(node.inputs[2]), E.ONE)

    def _count(self, size: Expr, width: Expr, stride: Expr) -> tuple[Expr, Expr]:
        """How many windows there are, and the room for moves of the first one."""
        return out_size(size, width, "valid", stride, self.dilation, 0)

    def _place(self, window: Expr, inner: Expr, stride: Expr) -> Expr:
        return E.add(E.mul(window, stride), E.mul(inner, self.dilation))

    def _fitting(self, node: Apply, size: Expr, width: Expr, ctx: Context) -> list[Check]:
        stride = ctx.value(node.inputs[2])
        room = self._count(size, width, self._stride(node, ctx))[1]

        def got(size: int, width: int, stride: int) -> str:
            return (
                f"size {size}, windows of {width} at every {stride}, dilation {self.dilation}, "
                f"of {describe(node.inputs[:1])}"
            )

        def fail(*values: int) -> Exception:
            return ShapeError(
                explain(self, "no window fits", where=node.trace, got=got(*values),
                        expected="windows and steps of at least 1, and an axis as long as one")
            )  # fmt: skip

        def inexact(*values: int) -> Exception:
            # Theano's class for this error is TypeError
            return TypeError(
                explain(self, "windows and size are not consistent", where=node.trace,
                        got=got(*values), expected="(size - window) to be a multiple of the step",
                        cure="mode='ignore_borders' leaves the rest away")
            )  # fmt: skip

        facts = (size, width, stride)
        checks = checks_of([E.compare("lt", E.ZERO, n) for n in (width, stride)], facts, fail)
        fits = [E.compare("le", E.ZERO, room)]
        if self.exact:
            fits.append(E.compare("eq", E.mod(room, self._stride(node, ctx)), E.ZERO))
        return checks + checks_of(fits, facts, inexact if self.exact else fail)

    def _positions(self, size: int, width: int, stride: int) -> np.ndarray:
        """The positions in the axis: one row for each window; ShapeError if there is none."""
        room = size - (width - 1) * self.dilation - 1
        if min(width, stride) < 1 or room < 0 or (self.exact and room % stride):
            raise ShapeError(explain(self, "windows do not fit", got=f"{size}, {width}, {stride}"))
        first = stride * np.arange(room // stride + 1)
        return first[:, None] + self.dilation * np.arange(width)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False], [False]]

    def _terms(self, x: Any, term: Any) -> list[Any]:
        """The gradients by the inputs: `term`, and none by the numbers."""
        return [rebroadcast(term, x.broadcastable), DisconnectedType()(), DisconnectedType()()]


@dataclass(frozen=True)
class Windows(_Windowed):
    """The windows along an axis: two axes in its place, the windows and the places in a window.

    Inputs are x, the width of a window and the stride, int64 scalars. A view. ShapeError at the
    call where no window fits, TypeError where they should be exact and are not.
    """

    view_of: ClassVar[int | None] = 0

    def output_types(self, x: Any, width: Any, stride: Any) -> list[TensorType]:
        pattern = list(x.broadcastable)
        pattern[self.axis : self.axis + 1] = (False, known_integer(width) == 1)
        return [TensorType(x.dtype, pattern)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        x, width = ctx.shape(node.inputs[0]), self._width(node, ctx)
        count = self._count(x[self.axis], width, self._stride(node, ctx))[0]
        return [(*x[: self.axis], count, width, *x[self.axis + 1 :])]

    def _width(self, node: Apply, ctx: Context) -> Expr:
        one = node.outputs[0].type.broadcastable[self.axis + 1]
        return E.ONE if one else ctx.value(node.inputs[1])

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        size = ctx.shape(node.inputs[0])[self.axis]
        return self._fitting(node, size, ctx.value(node.inputs[1]), ctx)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        a = self.axis
        place = self._place(indices[a], indices[a + 1], self._stride(node, ctx))
        return E.load(node.inputs[0], (*indices[:a], place, *indices[a + 2 :]))

    def view(self, node: Apply, strides: Shape, ctx: Context) -> tuple[Expr, Shape] | None:
        a = self.axis
        step = strides[a]
        both = E.mul(step, self._stride(node, ctx)), E.mul(step, self.dilation)
        return E.ZERO, (*strides[:a], *both, *strides[a + 1 :])

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, width, stride = inputs
        positions = self._positions(x.shape[self.axis], int(width), int(stride))
        return [x[(slice(None),) * self.axis + (positions,)]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, _, stride), (g,) = inputs, output_gradients
        back = OverlapAdd(self.axis, self.dilation)(g, shape_i(x, self.axis), stride)
        return self._terms(x, back)


@dataclass(frozen=True)
class OverlapAdd(_Windowed):
    """The adjoint of `Windows`: every element is the sum of what windows hold for its place.

    Inputs are windows (..., windows, places, ...), the size of the axis that takes their place, and
    the stride.
    ShapeError at the call unless so many windows fit into that size.
    """

    def output_types(self, x: Any, size: Any, stride: Any) -> list[TensorType]:
        pattern = list(x.broadcastable)
        pattern[self.axis : self.axis + 2] = (known_integer(size) == 1,)
        return [TensorType(x.dtype, pattern)]

    def _size(self, node: Apply, ctx: Context) -> Expr:
        one = node.outputs[0].type.broadcastable[self.axis]
        return E.ONE if one else ctx.value(node.inputs[1])

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        x, a = ctx.shape(node.inputs[0]), self.axis
        return [(*x[:a], self._size(node, ctx), *x[a + 2 :])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        count, width = ctx.shape(node.inputs[0])[self.axis : self.axis + 2]
        size = ctx.value(node.inputs[1])
        stride = self._stride(node, ctx)
        wanted, _ = self._count(size, width, stride)

        def fail(*values: int) -> Exception:
            return ShapeError(
                explain(self, f"{values[0]} windows of {values[1]} do not fit", where=node.trace,
                        got=f"an axis of {values[2]}, a window at every {values[4]}, dilation "
                        f"{self.dilation}", expected=f"{values[3]} windows")
            )  # fmt: skip

        facts = (count, width, size, wanted, stride)
        same = checks_of([E.compare("eq", count, wanted)], facts, fail)
        return self._fitting(node, size, width, ctx) + same

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x, a = node.inputs[0], self.axis
        (count, width), stride = ctx.shape(x)[a : a + 2], self._stride(node, ctx)
        dtype = "float32" if x.type.dtype == "float16" else x.type.dtype
        inner: Expr = E.ZERO if width is E.ONE else E.index(width)
        start = E.sub(indices[a], E.mul(inner, self.dilation))
        window = E.floordiv(start, stride)
        # there is a window at least, so that the element nearest to it can always be read
        near = E.maximum(E.minimum(window, E.sub(count, E.ONE)), E.ZERO)
        term = cast_expr(E.load(x, (*indices[:a], near, inner, *indices[a + 1 :])), dtype)
        hit = E.compare("eq", self._place(near, inner, stride), indices[a])
        term = SWITCH.apply((hit, term, E.const(0, dtype)), dtype)
        return term if type(inner) is not E.Index else E.fold("sum", (inner,), term, dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, size, stride = inputs
        x = np.moveaxis(x, (self.axis, self.axis + 1), (0, 1))
        positions = self._positions(int(size), x.shape[1], int(stride))
        if positions.shape != x.shape[:2]:
            raise ShapeError(explain(self, "windows do not fit", got=f"{x.shape[:2]}, {size}"))
        total = np.zeros((int(size), *x.shape[2:]), x.dtype)
        np.add.at(total, positions, x)
        return [np.moveaxis(total, 0, self.axis)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, _, stride), (g,) = inputs, output_gradients
        taken = Windows(self.axis, self.dilation)(g, shape_i(x, self.axis + 1), stride)
        return self._terms(x, taken)


def pad_axis(x: Any, axis: int, before: Any, after: Any) -> Any:
    """`x` with `before` and `after` zeros around `axis`: numbers or integer scalars from 0 on."""
    x = as_tensor_variable(x)
    before, after = (as_size(n, "pad_axis") for n in (before, after))
    if known_integer(before) == known_integer(after) == 0:
        return x
    sizes = sizes_of(x)
    end = before + sizes[axis]
    sizes[axis] = end + after
    region = (*(slice(None),) * axis, slice(before, end))
    return rebroadcast(
        set_subtensor(zeros(sizes, x.dtype)[region], x),
        [b and a != axis for a, b in enumerate(x.broadcastable)],
    )


def crop_axis(x: Any, axis: int, before: Any, size: Any) -> Any:
    """`size` elements of `axis`, from `before` on: what `pad_axis` took in."""
    before = as_size(before, "crop_axis")
    return x[(*(slice(None),) * axis, slice(before, before + as_size(size, "crop_axis")))]
