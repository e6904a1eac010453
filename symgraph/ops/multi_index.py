"""Flat positions and their coordinates.

Both run in NumPy, as Python steps, for its checks. Source: Theano, tensor/extra_ops.py
(UnravelIndex, RavelMultiIndex); NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.core import describe, pad_left
from symgraph.ops.sizes import known_length
from symgraph.types import INTEGERS, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable

__all__ = ["ravel_multi_index", "unravel_index"]

Order = Literal["C", "F"]
Mode = Literal["raise", "wrap", "clip"]


@dataclass(frozen=True)
class _Positions(Op):
    """What both ops share: integers in, int64 out, and no gradient."""

    order: Order = "C"

    def _check(self, *inputs: Any) -> None:
        for x in inputs:
            if x.dtype not in INTEGERS:
                raise TypeError(
                    explain(self, f"'{x.dtype}' object cannot be interpreted as an index",
                            got=describe((x,)))
                )  # fmt: skip
        if inputs[-1].ndim != 1:
            raise TypeError(explain(self, "dims must be a 1D array", got=describe(inputs[-1:])))

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False] * len(node.outputs) for _ in node.inputs]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [DisconnectedType()() for _ in inputs]


@dataclass(frozen=True)
class UnravelIndex(_Positions):
    """The coordinates of flat positions in an array of `ndim` axes; inputs positions and shape."""

    ndim: int = 1

    def output_types(self, indices: Any, dims: Any) -> list[TensorType]:
        self._check(indices, dims)
        return [TensorType("int64", indices.broadcastable)] * self.ndim

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])] * self.ndim

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        indices, dims = inputs
        found = np.unravel_index(indices, tuple(dims), order=self.order)
        return [np.array(f, dtype="int64") for f in found]


@dataclass(frozen=True)
class RavelMultiIndex(_Positions):
    """The flat positions of coordinates; inputs are these, of one ndim, and the shape."""

    mode: Mode = "raise"

    def output_types(self, *inputs: Any) -> list[TensorType]:
        self._check(*inputs)
        pattern = [all(bs) for bs in zip(*(x.broadcastable for x in inputs[:-1]), strict=True)]
        return [TensorType("int64", pattern)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shapes = [ctx.shape(x) for x in node.inputs[:-1]]
        sizes = zip(*shapes, strict=True)
        return [tuple(next((n for n in axis if n is not E.ONE), E.ONE) for axis in sizes)]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        *indices, dims = inputs
        flat = np.ravel_multi_index(tuple(indices), tuple(dims), mode=self.mode, order=self.order)
        return [np.asarray(flat, dtype="int64")]


def unravel_index(
    indices: Any, dims: Any, order: Order = "C", ndim: int | None = None
) -> tuple[Any, ...]:
    """The coordinates of flat positions in an array of shape `dims`: a tuple of int64 arrays.

    `order`: "C" for rows first, "F" for columns first. `ndim` must be given where the length of
    `dims` is not known. TypeError for what is not an integer; ValueError for an unknown length or
    another one than `ndim`, and at the call for positions outside. Source: Theano,
    extra_ops.unravel_index; NumPy. (Theano takes `order`, and ignores it.)
    """
    _check_order("unravel_index", order)
    dims = as_tensor_variable(dims)
    known = known_length(dims) if dims.ndim == 1 else ndim or 1
    if None not in (ndim, known) and ndim != known:
        raise ValueError(
            explain("unravel_index", "ndim is not the length of dims", got=f"ndim={ndim} for "
                    f"{known} sizes, {describe((dims,))}", expected=f"ndim={known}",
                    cure="leave ndim out")
        )  # fmt: skip
    ndim = known if ndim is None else ndim
    if ndim is None or ndim < 1:
        raise ValueError(
            explain("unravel_index", "The length of the provided dimension list cannot be "
                    "determined", got=describe((dims,)), cure="give ndim=")
        )  # fmt: skip
    found = UnravelIndex(order, int(ndim))(indices, dims)
    return (found,) if ndim == 1 else tuple(found)


def ravel_multi_index(
    multi_index: Sequence[Any], dims: Any, mode: Mode = "raise", order: Order = "C"
) -> Any:
    """The flat int64 positions, in an array of shape `dims`, of coordinates: one array for an axis.

    What is out of range raises ValueError at the call, or is wrapped or clipped ("wrap", "clip").
    TypeError for coordinates that are no tuple or list, or no integers.
    Source: Theano, extra_ops.ravel_multi_index; NumPy.
    """
    _check_order("ravel_multi_index", order)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(
            explain("ravel_multi_index", f"mode {mode!r}", expected="'raise', 'wrap' or 'clip'")
        )
    if not isinstance(multi_index, (tuple, list)):
        raise TypeError(
            explain("ravel_multi_index", "multi_index must be a tuple or a list.",
                    got=type(multi_index).__name__)
        )  # fmt: skip
    indices = [as_tensor_variable(i) for i in multi_index]
    ndim = max((i.ndim for i in indices), default=0)
    indices = [i if i.ndim == ndim else pad_left(i, ndim) for i in indices]
    return RavelMultiIndex(order, mode)(*indices, as_tensor_variable(dims))


def _check_order(who: str, order: str) -> None:
    if order not in ("C", "F"):
        raise ValueError(explain(who, f"order {order!r}", expected="'C' or 'F'"))
