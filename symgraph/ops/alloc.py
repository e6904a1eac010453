"""New arrays: filled with a value, ranges, triangles, grids.

Source of names and semantics: Theano, tensor/basic.py, tensor/extra_ops.py (to_one_hot); of the
values: NumPy.
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
from symgraph.graph import Apply, Constant, Context, Op
from symgraph.graph import Shape as Sizes
from symgraph.ops.core import SUM, Reduce, cast_expr, describe, dimshuffle, restore_axes, sum_dtypes
from symgraph.ops.elementwise import cast, ceil, eq, ge, second, switch
from symgraph.ops.sizes import (
    at_least_zero,
    checks_of,
    known_integer,
    known_length,
    raise_known_failures,
)
from symgraph.ops.structure import (
    SpecifyLength,
    as_size,
    rebroadcast,
    shape_i,
    sizes_of,
)
from symgraph.types import DISCRETE, FLOATS, DisconnectedType, TensorType, check_dtype, upcast
from symgraph.variable import as_tensor_variable, constant, result_dtype

# ---- filled arrays -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alloc(Op):
    """An array of the given sizes, filled with a value that is broadcast from the right.

    Inputs are the value and one integer scalar for each axis; `broadcastable` is the result's
    pattern. ShapeError at the call for negative sizes and for a value that does not fit.
    """

    broadcastable: tuple[bool, ...]

    def output_types(self, value: Any, *sizes: Any) -> list[TensorType]:
        if value.ndim > len(sizes) or len(sizes) != len(self.broadcastable):
            raise TypeError(
                explain(self, "The Alloc value to use has more dimensions than the specified shape",
                        got=f"{describe([value])} and {len(sizes)} sizes",
                        expected="one size for each axis of the value, at least")
            )  # fmt: skip
        return [TensorType(value.dtype, self.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        pairs = zip(self.broadcastable, node.inputs[1:], strict=True)
        return [tuple(E.ONE if b else ctx.value(v) for b, v in pairs)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        value, *rest = node.inputs
        sizes = tuple(ctx.value(v) for v in rest)
        inner = ctx.shape(value)
        conditions = [E.compare("le", E.ZERO, at) for at in sizes if at is not at_least_zero(at)]
        outer = sizes[len(sizes) - len(inner) :]
        pattern = value.type.broadcastable
        for have, want, one in zip(inner, outer, pattern, strict=True):
            if not one:
                conditions.append(E.compare("eq", have, want))

        def fail(*values: int) -> Exception:
            have, want = tuple(values[: len(inner)]), tuple(values[len(inner) :])
            return ShapeError(
                explain(self, f"cannot fill shape {want} with a value of shape {have}",
                        where=node.trace, got=describe([value]),
                        expected="sizes from 0; the value's equal to them or known to be 1")
            )  # fmt: skip

        return checks_of(conditions, (*inner, *sizes), fail)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        value = node.inputs[0]
        return E.load(value, indices[len(indices) - value.type.ndim :])

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        value = node.inputs[0].type
        if value.ndim == 0 and value.dtype in DISCRETE:
            return ctx.value(node.inputs[0])
        return None

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        value, *sizes = inputs
        return [np.broadcast_to(value, tuple(int(n) for n in sizes)).copy()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True]] + [[False] for _ in node.inputs[1:]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (value, *sizes), (g,) = inputs, output_gradients
        rest = [DisconnectedType()() for _ in sizes]
        extra = g.ndim - value.ndim
        shared = [
            extra + a
            for a, one in enumerate(value.broadcastable)
            if one and not g.broadcastable[extra + a]
        ]
        axes = (*range(extra), *shared)
        if axes:
            g = Reduce(SUM, axes, *sum_dtypes(g.dtype))(g)
            g = dimshuffle(g, restore_axes(value.ndim, [a - extra for a in shared]))
        return [rebroadcast(g, value.broadcastable), *rest]

    def __str__(self) -> str:
        return "Alloc"


def alloc(value: Any, *shape: Any) -> Any:
    """An array of shape `shape` (integers, integer scalars) filled with `value`, in its dtype.

    Sizes that are the constant 1 are broadcastable. Source: Theano, `T.alloc`.
    """
    value = as_tensor_variable(value)
    sizes = [as_size(n, "alloc") for n in shape]
    node = Alloc(tuple(known_integer(n) == 1 for n in sizes)).make_node(value, *sizes)
    raise_known_failures(node)
    return node.out


def as_sizes(shape: Any, who: str, ndim: int | None = None) -> list[Any]:
    """A shape given by a user as a list of int64 scalars.

    It may be an integer, a list of integers and scalars, or an integer vector variable whose
    length is known or given by `ndim`. Raises TypeError and ValueError; ShapeError at the call for
    another length than `ndim`.
    """
    if isinstance(shape, (list, tuple)):
        return [as_size(n, who) for n in shape]
    shape = as_tensor_variable(shape)
    if shape.ndim == 0:
        return [as_size(shape, who)]
    if shape.ndim != 1 or shape.dtype not in DISCRETE:
        raise TypeError(
            explain(who, "a shape is a list of integers", got=describe([shape]),
                    expected="a list of integers and scalars, or an integer vector")
        )  # fmt: skip
    if isinstance(shape, Constant):
        return [as_size(int(n), who) for n in shape.data]
    length = known_length(shape)
    if ndim is not None and length != ndim:
        shape, length = SpecifyLength.of(shape, ndim), ndim
    if length is None:
        raise ValueError(
            explain(who, "the length of the shape is not known, so neither is the number of axes",
                    got=describe([shape]), cure="give a list of scalars: (n[0], n[1])")
        )  # fmt: skip
    return [shape[k] for k in range(length)]


def zeros(shape: Any, dtype: str | None = None) -> Any:
    """Zeros of `dtype` (default floatX). Source: Theano, `T.zeros`."""
    return full(shape, 0, dtype or config.floatX)


def ones(shape: Any, dtype: str | None = None) -> Any:
    """Ones of `dtype` (default floatX). Source: Theano, `T.ones`."""
    return full(shape, 1, dtype or config.floatX)


def full(shape: Any, fill_value: Any, dtype: str | None = None) -> Any:
    """An array filled with `fill_value`, as `dtype` (default: that of the value)."""
    value = as_tensor_variable(fill_value)
    return alloc(value if dtype is None else cast_known(value, dtype), *as_sizes(shape, "full"))


def cast_known(value: Any, dtype: str) -> Any:
    """`cast`, done at once for a constant."""
    dtype = check_dtype(dtype)
    if isinstance(value, Constant) and value.dtype != dtype:  # type: ignore[attr-defined]
        return constant(value.data, dtype=dtype)
    return cast(value, dtype)


def full_like(a: Any, fill_value: Any, dtype: str | None = None) -> Any:
    """`fill_value` in the shape and pattern of `a`, as `dtype` (default: a's). No gradient to a."""
    a = as_tensor_variable(a)
    return second(a, cast_known(as_tensor_variable(fill_value), dtype or a.dtype))


def zeros_like(model: Any, dtype: str | None = None, opt: bool = False) -> Any:
    """Zeros in the shape and pattern of `model`, as `dtype` (default: its own).

    The result is disconnected from `model`. With `opt`, a scalar gives the constant 0 itself.
    Source: Theano, `T.zeros_like`.
    """
    return _constant_like(model, 0, dtype, opt)


def ones_like(model: Any, dtype: str | None = None, opt: bool = False) -> Any:
    """As `zeros_like`, with ones. Source: Theano, `T.ones_like`."""
    return _constant_like(model, 1, dtype, opt)


def _constant_like(model: Any, value: int, dtype: str | None, opt: bool) -> Any:
    model = as_tensor_variable(model)
    number = constant(value, dtype=dtype or model.dtype)
    return number if opt and number.type == model.type else second(model, number)


# ---- ranges --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ARange(Op):
    """Integers from start to below stop by step (three int64 scalars), as `dtype`.

    Its length is ceil((stop - start) / step), at least 0. ZeroDivisionError for step 0.
    """

    dtype: str = "int64"

    def output_types(self, start: Any, stop: Any, step: Any) -> list[TensorType]:
        for x in (start, stop, step):
            if x.ndim != 0 or x.dtype not in DISCRETE:
                raise TypeError(explain(self, "takes integer scalars", got=describe([x])))
        return [TensorType(self.dtype, (False,))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        start, stop, step = (ctx.value(x) for x in node.inputs)
        if step is E.ONE:
            count = E.sub(stop, start)
        else:
            unless_zero = E.where(E.compare("eq", step, E.ZERO), E.ONE, step)
            count = E.sub(E.ZERO, E.floordiv(E.sub(start, stop), unless_zero))
        return [(at_least_zero(count),)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        step = ctx.value(node.inputs[2])

        def fail(*values: int) -> Exception:
            return ZeroDivisionError(explain(self, "the step is 0", where=node.trace))

        return checks_of([E.compare("ne", step, E.ZERO)], (step,), fail)

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        start, _, step = (ctx.value(x) for x in node.inputs)
        return E.add(start, E.mul(step, position)) if self.dtype in DISCRETE else None

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        start, _, step = (ctx.value(x) for x in node.inputs)
        return cast_expr(E.add(start, E.mul(step, indices[0])), self.dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.arange(*(int(x) for x in inputs)).astype(self.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [x.zeros_like("floatX") for x in inputs]


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: str | None = None) -> Any:
    """Numbers from `start` to below `stop` by `step`, all numbers or 0-d variables.

    `arange(stop)` starts at 0. Integers give int64, floats the dtype of their sum (rule 7), unless
    `dtype` says otherwise. ZeroDivisionError for step 0. Source: Theano, `T.arange`.
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (as_tensor_variable(x) for x in (start, stop, step))
    for x in (start, stop, step):
        if x.ndim != 0:
            raise TypeError(explain("arange", "the limits are scalars", got=describe([x])))
    kinds = [x.dtype for x in (start, stop, step)]
    if all(k in DISCRETE for k in kinds):
        out = "int64" if dtype is None else check_dtype(dtype)
        node = ARange(out).make_node(*(as_size(x, "arange") for x in (start, stop, step)))
        raise_known_failures(node)
        return node.out
    out = result_dtype(start, stop, step) if dtype is None else check_dtype(dtype)
    inner = upcast(out, *(k for k in kinds if k in FLOATS)) if out in FLOATS else upcast(*kinds)
    start, step = cast_known(start, inner), cast_known(step, inner)
    return cast(start + step * cast(arange(_float_count(start, stop, step)), inner), out)


def _float_count(start: Any, stop: Any, step: Any) -> Any:
    """ceil((stop - start) / step) as an int64 scalar; at once where all three are constants."""
    if all(isinstance(x, Constant) for x in (start, stop, step)):
        low, high, by = (float(x.data) for x in (start, stop, step))
        return constant(max(0, math.ceil((high - low) / by)), dtype="int64")
    low, high, by = (cast(x, "float64") for x in (start, stop, step))
    return cast(ceil((high - low) / by), "int64")


class _Grid:
    """`mgrid[a:b, c:d]`: coordinates, as full arrays or (`ogrid`) as one axis each.

    Slices take numbers and 0-d variables; a step defaults to 1; imaginary steps are not offered.
    Source: NumPy and Theano, `T.mgrid`, `T.ogrid`.
    """

    def __init__(self, sparse: bool) -> None:
        self.sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        slices = list(key) if isinstance(key, tuple) else [key]
        for item in slices:
            if not isinstance(item, slice) or isinstance(item.step, complex):
                raise NotImplementedError(f"a grid takes slices with real steps, got {item!r}")
        ranges = [arange(s.start or 0, s.stop, 1 if s.step is None else s.step) for s in slices]
        if not isinstance(key, tuple):
            return ranges[0]
        axes = range(len(ranges))
        open_grid = [
            dimshuffle(r, ["x" if axis != at else 0 for at in axes])
            for axis, r in enumerate(ranges)
        ]
        if self.sparse:
            return open_grid
        sizes = [shape_i(r, 0) for r in ranges]
        return [alloc(r, *sizes) for r in open_grid]


mgrid, ogrid = _Grid(sparse=False), _Grid(sparse=True)

# ---- diagonals and triangles ---------------------------------------------------------------------


def _columns_minus_rows(n: Any, m: Any) -> Any:
    rows = dimshuffle(arange(as_size(n, "tri")), 0, "x")
    return dimshuffle(arange(as_size(m, "tri")), "x", 0) - rows


def eye(n: Any, m: Any = None, k: Any = 0, dtype: str | None = None) -> Any:
    """The (n, m) matrix (m defaults to n) with ones where column - row == k; dtype floatX."""
    at = _columns_minus_rows(n, n if m is None else m)
    return cast(eq(at, as_size(k, "eye")), dtype or config.floatX)


def _matrix(name: str, m: Any) -> Any:
    m = as_tensor_variable(m)
    if m.ndim != 2:
        raise ValueError(explain(name, "takes a matrix", got=describe([m])))
    return m


def identity_like(x: Any) -> Any:
    """`eye` of the shape and dtype of the matrix `x`; ValueError for other ranks."""
    x = _matrix("identity_like", x)
    return eye(shape_i(x, 0), shape_i(x, 1), dtype=x.dtype)


def tri(N: Any, M: Any = None, k: Any = 0, dtype: str | None = None) -> Any:
    """The (N, M) matrix with ones where column - row <= k; dtype floatX. Source: `numpy.tri`."""
    at = _columns_minus_rows(N, N if M is None else M)
    return cast(ge(as_size(k, "tri"), at), dtype or config.floatX)


def tril(m: Any, k: Any = 0) -> Any:
    """The matrix `m` with zeros where column - row > k; ValueError for other ranks."""
    m = _matrix("tril", m)
    keep = ge(as_size(k, "tril"), _columns_minus_rows(*sizes_of(m)))
    return switch(keep, m, constant(0, dtype=m.dtype))


def triu(m: Any, k: Any = 0) -> Any:
    """The matrix `m` with zeros where column - row < k; ValueError for other ranks."""
    m = _matrix("triu", m)
    keep = ge(_columns_minus_rows(*sizes_of(m)), as_size(k, "triu"))
    return switch(keep, m, constant(0, dtype=m.dtype))


@dataclass(frozen=True)
class OneHot(Op):
    """A row of zeros with a one at y[i] for every i: (len(y), classes), as `dtype`.

    IndexError at the call for y outside [-classes, classes).
    """

    dtype: str

    def output_types(self, y: Any, classes: Any) -> list[TensorType]:
        if y.ndim != 1 or y.dtype not in DISCRETE or y.dtype == "bool":
            raise TypeError(
                explain(self, "the classes are not an integer vector", got=describe([y]))
            )
        return [TensorType(self.dtype, (y.broadcastable[0], False))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        y, classes = node.inputs
        return [(ctx.shape(y)[0], at_least_zero(ctx.value(classes)))]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        y, classes = node.inputs
        label = cast_expr(E.load(y, indices[:1]), "int64")
        at = E.checked(label, at_least_zero(ctx.value(classes)))
        return cast_expr(E.compare("eq", indices[1], at), self.dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        y, classes = inputs
        result = np.zeros((len(y), int(classes)), dtype=self.dtype)
        result[np.arange(len(y)), y] = 1
        return [result]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [DisconnectedType()(), DisconnectedType()()]


def bartlett(M: Any) -> Any:
    """The triangular window of M points, from 0 to 1 and back to 0: a float64 vector.

    M: an integer or integer scalar; empty for M < 1, [1] for M == 1. TypeError for what is no
    integer scalar. Source: Theano, extra_ops.bartlett; NumPy.
    """
    n = as_size(M, "bartlett")
    half = cast(n - 1, "float64") / 2
    return 1 - abs(cast(arange(n), "float64") - half) / switch(eq(n, 1), 1, half)


def to_one_hot(y: Any, nb_class: Any, dtype: str | None = None) -> Any:
    """The integer vector `y` as a (len(y), nb_class) matrix with one 1 in every row; dtype floatX.

    IndexError at the call for labels out of range. Source: Theano, extra_ops.to_one_hot.
    """
    return OneHot(check_dtype(dtype or config.floatX))(y, as_size(nb_class, "to_one_hot"))
