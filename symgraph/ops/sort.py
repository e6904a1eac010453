"""Sorting, cumulative sums and products, differences; hands on what `counting` has.

Sorting runs in NumPy, as a Python step; a GPU has kernels for it, which are stable whatever `kind`
says. Source of names: Theano, tensor/sort.py and
tensor/extra_ops.py (cumsum, cumprod, diff).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr, Index
from symgraph.graph import Apply, Context, LibraryCall, Op, Write
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import full_like
from symgraph.ops.core import cast_expr, describe
from symgraph.ops.counting import bincount, searchsorted, unique
from symgraph.ops.elementwise import ADD, MUL, cast, maximum, mul, sub
from symgraph.ops.join import as_axis, cut, join
from symgraph.ops.shape import flatten
from symgraph.ops.sizes import (
    at_least_zero,
    checks_of,
)
from symgraph.ops.structure import (
    rebroadcast,
    shape_i,
)
from symgraph.types import DISCRETE, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable, constant

__all__ = [
    "argsort", "bincount", "cumprod", "cumsum", "diff", "searchsorted", "sort", "unique",
]  # fmt: skip

Kind = Literal["quicksort", "mergesort", "heapsort", "stable"]


def _flat_or_axis(x: Any, axis: Any, who: str) -> tuple[Any, int]:
    """`x` and its axis; None means the flattened array."""
    x = as_tensor_variable(x)
    if axis is None:
        return flatten(x), 0
    return x, as_axis(axis, x.ndim, who)


# ---- sorting -------------------------------------------------------------------------------------


def lines_call(
    name: str, node: Apply, ctx: Context, axis: int, params: dict[str, Any] | None = None
) -> LibraryCall:
    """The device's kernel `name` on the lines of a node's input along `axis`, 0 or above: arrays go
    as (before, along, after) the axis."""
    (x, *_), (out,) = node.inputs, node.outputs
    shapes: dict[str, Sizes] = {}
    for operand, s in (("in0", ctx.shape(x)), ("out0", ctx.shape(out))):
        shapes[operand] = (E.product(s[:axis]), s[axis], E.product(s[axis + 1 :]))
    return LibraryCall(name, x.type.dtype, params or {}, (x,), shapes)


@dataclass(frozen=True)
class Sort(Op):
    """x sorted along `axis` by NumPy's algorithm `kind`; NaN comes last."""

    axis: int
    kind: Kind

    def output_types(self, x: Any) -> list[TensorType]:
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.sort(inputs[0], axis=self.axis, kind=self.kind)]

    def device_lowering(self, node: Apply, ctx: Context) -> LibraryCall:
        return lines_call("sort", node, ctx, self.axis)

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x,), (g,) = inputs, output_gradients
        order = ArgSort(self.axis, self.kind)(x)
        return [PermuteAlong(self.axis)(g, ArgSort(self.axis, "stable")(order))]


@dataclass(frozen=True)
class ArgSort(Op):
    """The positions along `axis` that sort x, int64. The gradient is zero."""

    axis: int
    kind: Kind

    def output_types(self, x: Any) -> list[TensorType]:
        return [TensorType("int64", x.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.argsort(inputs[0], axis=self.axis, kind=self.kind)]

    def device_lowering(self, node: Apply, ctx: Context) -> LibraryCall:
        return lines_call("argsort", node, ctx, self.axis)

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x,) = inputs
        return [x.zeros_like("floatX" if x.dtype in DISCRETE else None)]


@dataclass(frozen=True)
class PermuteAlong(Op):
    """x[..., order[..., i, ...], ...] along `axis`, where every line of `order` is a permutation.

    So the gradient is a permutation too: the inverse one.
    """

    axis: int

    def output_types(self, x: Any, order: Any) -> list[TensorType]:
        if order.ndim != x.ndim or order.dtype != "int64":
            raise TypeError(explain(self, "the order does not fit", got=describe([x, order])))
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [ctx.shape(node.inputs[0])]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x, order = node.inputs
        at = list(indices)
        at[self.axis] = E.load(order, indices)
        return E.load(x, at)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.take_along_axis(inputs[0], inputs[1], axis=self.axis)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        inverse = ArgSort(self.axis, "stable")(inputs[1])
        return [PermuteAlong(self.axis)(output_gradients[0], inverse), DisconnectedType()()]


def _check_kind(kind: Kind | None, order: Any, who: str) -> Kind:
    if order is not None:
        raise ValueError(f"{who}: order names the fields of structured arrays; there are none here")
    if kind is not None and kind not in get_args(Kind):
        raise ValueError(explain(who, f"unknown kind {kind!r}", expected=", ".join(get_args(Kind))))
    return kind or "quicksort"


def sort(a: Any, axis: int | None = -1, kind: Kind | None = "quicksort", order: Any = None) -> Any:
    """`a` sorted along `axis` (None: flattened), in its dtype; NaN comes last.

    `kind` is NumPy's. ValueError for an axis or kind that does not exist, TypeError for an axis
    that is not a number. Source: Theano, `T.sort`.
    """
    kind = _check_kind(kind, order, "sort")
    a, axis = _flat_or_axis(a, axis, "sort")
    return Sort(axis, kind)(a)


def argsort(
    a: Any, axis: int | None = -1, kind: Kind | None = "quicksort", order: Any = None
) -> Any:
    """The int64 positions along `axis` (None: of the flattened array) that sort `a`.

    Raises as `sort` does. Source: Theano, `T.argsort`.
    """
    kind = _check_kind(kind, order, "argsort")
    a, axis = _flat_or_axis(a, axis, "argsort")
    return ArgSort(axis, kind)(a)


# ---- running sums --------------------------------------------------------------------------------


def _along(sizes: Sizes, axis: int, count: Expr) -> list[Expr]:
    """New indices over `sizes`, of which the one along `axis` takes `count` values."""
    extents = [count if a == axis else n for a, n in enumerate(sizes)]
    return [E.ZERO if n is E.ONE else E.index(n) for n in extents]


def _write(at: Sequence[Expr], axis: int, place: Expr, value: Expr, ordered: bool = False) -> Write:
    loops = tuple(i for i in at if isinstance(i, Index))
    return Write(loops, _at(at, axis, place), value, ordered)


def _at(indices: Sequence[Expr], axis: int, place: Expr) -> tuple[Expr, ...]:
    return tuple(place if a == axis else i for a, i in enumerate(indices))


def _recurrence(
    node: Apply,
    ctx: Context,
    axis: int,
    reverse: bool,
    first: Any,
    following: Any,
) -> list[Write]:
    """The stores of y, where y[0] = first(at) and y[i] = following(at, at_before, y[i - 1]).

    With `reverse` the line is walked from its end. Sums are added in this order alone.
    """
    out = node.outputs[0]
    sizes = ctx.shape(out)
    n = sizes[axis]

    def place(step: Expr) -> Expr:
        return E.sub(E.sub(n, E.ONE), step) if reverse else step

    at = _along(sizes, axis, E.minimum(n, E.ONE))
    begin = place(at[axis])
    writes = [_write(at, axis, begin, first(_at(at, axis, begin)))]
    if n is not E.ONE:
        at = _along(sizes, axis, at_least_zero(E.sub(n, E.ONE)))
        before, here = place(at[axis]), place(E.add(at[axis], E.ONE))
        was = E.load(out, _at(at, axis, before))
        value = following(_at(at, axis, here), _at(at, axis, before), was)
        writes.append(_write(at, axis, here, value, ordered=True))
    return writes


@dataclass(frozen=True)
class Cumulate(Op):
    """Running sums or products ("add", "mul") of x along `axis`, from its end with `reverse`."""

    mode: str
    axis: int
    reverse: bool = False

    def output_types(self, x: Any) -> list[TensorType]:
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [ctx.shape(node.inputs[0])]

    def assemble(self, node: Apply, ctx: Context) -> list[Write]:
        x = node.inputs[0]
        dtype = x.type.dtype
        row = ADD if self.mode == "add" else MUL

        def first(at: Sequence[Expr]) -> Expr:
            return cast_expr(E.load(x, at), dtype)

        def following(at: Sequence[Expr], _: Sequence[Expr], was: Expr) -> Expr:
            return row.apply((was, E.load(x, at)), dtype)

        return _recurrence(node, ctx, self.axis, self.reverse, first, following)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        running = (np.add if self.mode == "add" else np.multiply).accumulate
        turn = (slice(None),) * self.axis + (slice(None, None, -1 if self.reverse else 1),)
        with np.errstate(all="ignore"):
            return [running(x[turn], axis=self.axis, dtype=x.dtype)[turn]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,), (out,), (g,) = inputs, outputs, output_gradients
        if self.mode == "add":
            return [Cumulate("add", self.axis, not self.reverse)(g)]
        # by x[i]: the product before i, times g[i] + x[i+1] (g[i+1] + x[i+2] (...)); zeros are fine
        x, out = cast(x, g.dtype), cast(out, g.dtype)  # (integers too have floating gradients)
        after = Recurrence(self.axis, not self.reverse)(g, x)
        return [mul(_previous(out, self.axis, self.reverse, 1), after)]

    def __str__(self) -> str:
        return f"CumOp{{{self.axis}, {self.mode}}}"


@dataclass(frozen=True)
class Recurrence(Op):
    """y[i] = b[i] + a[i] y[i - 1] along `axis`; with `reverse`, y[i] = b[i] + a[i + 1] y[i + 1].

    Inputs are b and a, of the same type; y is 0 outside. Each is the adjoint of the other.
    """

    axis: int
    reverse: bool

    def output_types(self, b: Any, a: Any) -> list[TensorType]:
        if a.type != b.type or a.dtype in DISCRETE:
            raise TypeError(explain(self, "takes floats of one type", got=describe([b, a])))
        return [b.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [ctx.shape(node.inputs[0])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        have, want = (ctx.shape(x) for x in node.inputs)

        def fail(*values: int) -> Exception:
            half = len(have)
            return ShapeError(explain(self, "shapes differ", where=node.trace,
                                      got=f"{values[:half]} and {values[half:]}"))  # fmt: skip

        equal = [E.compare("eq", m, n) for m, n in zip(have, want, strict=True)]
        return checks_of(equal, (*have, *want), fail)

    def assemble(self, node: Apply, ctx: Context) -> list[Write]:
        b, a = node.inputs
        dtype = b.type.dtype

        def first(at: Sequence[Expr]) -> Expr:
            return cast_expr(E.load(b, at), dtype)

        def following(at: Sequence[Expr], before: Sequence[Expr], was: Expr) -> Expr:
            factor = E.load(a, before if self.reverse else at)
            return ADD.apply((E.load(b, at), MUL.apply((factor, was), dtype)), dtype)

        return _recurrence(node, ctx, self.axis, self.reverse, first, following)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        b, a = (np.moveaxis(x, self.axis, 0) for x in inputs)
        y = b.copy()
        places = range(len(b))
        order = reversed(places[:-1]) if self.reverse else places[1:]
        for i in order:
            y[i] += a[i + 1] * y[i + 1] if self.reverse else a[i] * y[i - 1]
        return [np.moveaxis(y, 0, self.axis)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (_, a), (y,), (g,) = inputs, outputs, output_gradients
        by_b = Recurrence(self.axis, not self.reverse)(g, a)
        if self.reverse:
            return [by_b, mul(_previous(by_b, self.axis, False, 0), y)]
        return [by_b, mul(by_b, _previous(y, self.axis, False, 0))]


def _previous(x: Any, axis: int, reverse: bool, outside: float) -> Any:
    """The element before each one along `axis` (after it, with `reverse`); `outside` at the end."""
    zero, one = constant(0, dtype="int64"), constant(1, dtype="int64")
    length = shape_i(x, axis)
    rest = maximum(sub(length, one), zero)
    if reverse:
        gone, kept = cut(x, sub(length, rest), axis)
        moved = join(axis, kept, full_like(gone, outside))
    else:
        kept, gone = cut(x, rest, axis)
        moved = join(axis, full_like(gone, outside), kept)
    return rebroadcast(moved, x.broadcastable)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sums along `axis` (None: of the flattened array), in x's dtype; int64 for bools.

    Raises ValueError for an axis that does not exist. Source: Theano, extra_ops.cumsum.
    """
    x, axis = _flat_or_axis(x, axis, "cumsum")
    return Cumulate("add", axis)(cast(x, "int64") if x.dtype == "bool" else x)


def cumprod(x: Any, axis: int | None = None) -> Any:
    """Running products along `axis` (None: of the flattened array), in x's dtype; bools: int64.

    The gradient is right where x has zeros. Source: Theano, extra_ops.cumprod.
    """
    x, axis = _flat_or_axis(x, axis, "cumprod")
    return Cumulate("mul", axis)(cast(x, "int64") if x.dtype == "bool" else x)


def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """The `n`-th differences x[i + 1] - x[i] along `axis`. ValueError for negative `n`.

    Source: Theano, extra_ops.diff; NumPy.
    """
    x = as_tensor_variable(x)
    axis = as_axis(axis, x.ndim, "diff")
    if n < 0:
        raise ValueError(explain("diff", "order must be non-negative", got=f"n={n}"))
    before = (slice(None),) * axis
    for _ in range(n):
        x = sub(x[(*before, slice(1, None))], x[(*before, slice(None, -1))])
    return x
