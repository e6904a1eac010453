"""The largest or smallest elements along an axis, and where they are.

The positions are found by NumPy's partition, as a Python step, or on a GPU by its sorting; the
elements are then read there.
Source: Theano, tensor/sort.py (TopKOp, topk, argtopk).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.expr import Check, Expr, Index
from symgraph.graph import Apply, Constant, Context, LibraryCall, Op, Shape, Write
from symgraph.ops.core import cast_expr, describe
from symgraph.ops.join import as_axis
from symgraph.ops.shape import flatten
from symgraph.ops.sizes import checks_of
from symgraph.ops.sort import lines_call
from symgraph.ops.structure import as_size, rebroadcast, shape_i
from symgraph.types import INTEGERS, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable

__all__ = ["argtopk", "topk", "topk_and_argtopk"]


@dataclass(frozen=True)
class ArgTopK(Op):
    """Where the k largest elements along `axis` are (k < 0: the -k smallest), as `dtype`.

    Inputs are x and k, an int64 scalar. With `descending` the largest comes first, and of equal
    ones the first; else the order is that of NumPy's argpartition. ValueError at the call for k = 0
    and for k beyond the size.
    """

    axis: int
    descending: bool
    dtype: str

    def output_types(self, x: Any, k: Any) -> list[TensorType]:
        return [
            TensorType(self.dtype, [b and a != self.axis for a, b in enumerate(x.broadcastable)])
        ]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shape, k = ctx.shape(node.inputs[0]), ctx.value(node.inputs[1])
        count = E.maximum(k, E.sub(E.ZERO, k))
        return [(*shape[: self.axis], count, *shape[self.axis + 1 :])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        size, k = ctx.shape(node.inputs[0])[self.axis], ctx.value(node.inputs[1])
        count = E.maximum(k, E.sub(E.ZERO, k))

        def fail(*values: int) -> Exception:
            problem = "kth cannot be larger than the size of the axis" if values[1] else "k is zero"
            return ValueError(
                explain("topk", problem, where=node.trace,
                        got=f"k={values[1]} of {values[0]} along axis {self.axis} of "
                        f"{describe(node.inputs[:1])}", expected="1 to size, or -size to -1")
            )  # fmt: skip

        holds = [E.compare("lt", E.ZERO, count), E.compare("le", count, size)]
        return checks_of(holds, (size, k), fail)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, k, axis = inputs[0], int(inputs[1]), self.axis
        if not 0 < abs(k) <= x.shape[axis]:
            raise ValueError(explain("topk", "k does not fit", got=f"k={k}, shape {x.shape}"))
        if abs(k) == x.shape[axis]:
            at = np.broadcast_to(np.expand_dims(
                np.arange(abs(k)), [a for a in range(x.ndim) if a != axis]), x.shape)  # fmt: skip
        else:
            part = slice(-k, None) if k > 0 else slice(None, -k)
            at = np.argpartition(x, -k if k > 0 else -k - 1, axis=axis)
            at = at[(slice(None),) * axis + (part,)]
        if self.descending:
            at = np.flip(np.sort(at, axis=axis), axis)  # a stable sort, read from behind
            order = np.argsort(np.take_along_axis(x, at, axis), axis=axis, kind="stable")
            at = np.take_along_axis(at, np.flip(order, axis), axis)
        return [at.astype(self.dtype)]

    def device_lowering(self, node: Apply, ctx: Context) -> LibraryCall | None:
        """In descending order in any case. None where it is not known whether k is negative."""
        k = node.inputs[1]
        if not isinstance(k, Constant):
            return None
        params = {"smallest": int(k.data) < 0, "index": self.dtype}
        return lines_call("argtopk", node, ctx, self.axis, params)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [inputs[0].zeros_like(output_gradients[0].dtype), DisconnectedType()()]


@dataclass(frozen=True)
class TakeAlong(Op):
    """x[..., at[..., i, ...], ...] along `axis`: `numpy.take_along_axis` for positions from 0 on.

    No position may occur twice in a line of `at`.
    """

    axis: int

    def output_types(self, x: Any, at: Any) -> list[TensorType]:
        if at.ndim != x.ndim or at.dtype not in INTEGERS:
            raise TypeError(explain(self, "positions do not fit", got=describe((x, at))))
        return [TensorType(x.dtype, at.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[1])]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x, at = node.inputs
        place = cast_expr(E.load(at, indices), "int64")
        return E.load(x, [place if a == self.axis else i for a, i in enumerate(indices)])

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, at = inputs
        return [np.take_along_axis(x, at.astype("int64"), self.axis)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        x, at = inputs
        back = PutAlong(self.axis)(output_gradients[0], at, shape_i(x, self.axis))
        return [rebroadcast(back, x.broadcastable), DisconnectedType()()]


@dataclass(frozen=True)
class PutAlong(Op):
    """Zeros with g at the positions along `axis`: the adjoint of `TakeAlong`.

    Inputs are g, positions of its shape, none twice in a line, and the size of the axis.
    """

    axis: int

    def output_types(self, g: Any, at: Any, size: Any) -> list[TensorType]:
        return [TensorType(g.dtype, [b and a != self.axis for a, b in enumerate(g.broadcastable)])]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shape, size = ctx.shape(node.inputs[1]), ctx.value(node.inputs[2])
        return [(*shape[: self.axis], size, *shape[self.axis + 1 :])]

    def assemble(self, node: Apply, ctx: Context) -> list[Write]:
        g, at, _ = node.inputs
        (sizes,) = self.infer_shape(node, ctx)
        assert sizes is not None
        everywhere = [E.ZERO if n is E.ONE else E.index(n) for n in sizes]
        dtype = "float32" if g.type.dtype == "float16" else g.type.dtype
        source = [E.ZERO if n is E.ONE else E.index(n) for n in ctx.shape(at)]
        place = cast_expr(E.load(at, source), "int64")
        target = [place if a == self.axis else i for a, i in enumerate(source)]

        def loops(indices: Sequence[Expr]) -> tuple[Index, ...]:
            return tuple(i for i in indices if isinstance(i, Index))

        return [
            Write(loops(everywhere), tuple(everywhere), E.const(0, dtype)),
            Write(loops(source), tuple(target), cast_expr(E.load(g, source), dtype), ordered=True),
        ]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        g, at, size = inputs
        total = np.zeros((*g.shape[: self.axis], int(size), *g.shape[self.axis + 1 :]), g.dtype)
        np.put_along_axis(total, at.astype("int64"), g, self.axis)
        return [total]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        g, at, _ = inputs
        taken = rebroadcast(TakeAlong(self.axis)(output_gradients[0], at), g.broadcastable)
        return [taken, DisconnectedType()(), DisconnectedType()()]


def topk_and_argtopk(
    x: Any, kth: Any, axis: int | None = -1, sorted: bool = True, idx_dtype: str = "int64"
) -> tuple[Any, Any]:
    """The `kth` largest elements along `axis` (None: of the flattened array), and where they are.

    `kth`: an int or int scalar, not 0; if negative the -kth smallest. `sorted`: in descending
    order, equal elements by position; else in no order that is promised. (Theano lacks sorted=True,
    its default.) `idx_dtype`: the integer dtype of the positions. TypeError for other dtypes,
    ValueError for scalars and axes that do not exist, and, at the call, for a `kth` of 0 or beyond
    the size. Source: Theano, tensor/sort.py, topk_and_argtopk.
    """
    x = as_tensor_variable(x)
    if idx_dtype not in INTEGERS:
        raise TypeError(explain("topk", "idx_dtype is an integer dtype", got=repr(idx_dtype)))
    if axis is None:
        x, axis = flatten(x), 0
    if x.ndim == 0:
        raise ValueError(explain("topk", "Cannot take scalar as input", got=describe((x,))))
    axis = as_axis(axis, x.ndim, "topk")
    at = ArgTopK(axis, bool(sorted), idx_dtype)(x, as_size(kth, "topk"))
    return TakeAlong(axis)(x, at), at


def topk(
    x: Any, kth: Any, axis: int | None = -1, sorted: bool = True, idx_dtype: str = "int64"
) -> Any:
    """The `kth` largest elements along `axis`, in x's dtype; see `topk_and_argtopk`.

    Source: Theano, tensor/sort.py, topk.
    """
    return topk_and_argtopk(x, kth, axis, sorted, idx_dtype)[0]


def argtopk(
    x: Any, kth: Any, axis: int | None = -1, sorted: bool = True, idx_dtype: str = "int64"
) -> Any:
    """The positions of the `kth` largest elements along `axis`; see `topk_and_argtopk`.

    Source: Theano, tensor/sort.py, argtopk.
    """
    return topk_and_argtopk(x, kth, axis, sorted, idx_dtype)[1]
