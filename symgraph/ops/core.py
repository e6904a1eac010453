"""The three ops that nearly everything is made of: map a scalar function, permute axes, reduce.

The rows that fill them in (which functions, which reductions) are in `elementwise` and `reduce`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr, Index
from symgraph.graph import Apply, Context, Op, Shape, Variable
from symgraph.types import DISCRETE, FLOATS, TensorType, upcast
from symgraph.variable import as_tensor_variable

_CASTS: dict[str, E.Scalar] = {}


def cast_expr(value: Expr, dtype: str) -> Expr:
    """`value` converted to `dtype`; float16 is computed with as float32."""
    dtype = "float32" if dtype == "float16" else dtype
    if value.dtype == dtype:
        return value
    if type(value) is E.Const:
        return E.const(value.value, dtype)
    name = "bool_" if dtype == "bool" else dtype
    scalar = _CASTS.setdefault(dtype, E.Scalar("cast", name + "({})"))
    return E.call(scalar, (value,), dtype)


# ---- map -----------------------------------------------------------------------------------------


_ROWS: dict[tuple[str, str, str], Any] = {}


def _row(key: tuple[str, str, str]) -> Any:
    return _ROWS[key]


class _Row:
    """A row of a table. There is one of each: copies and pickles refer to it by its key."""

    name: str
    gradient: Callable[..., Any] | None

    @property
    def _key(self) -> tuple[str, str, str]:
        return type(self).__name__, self.name, getattr(self.gradient, "__name__", "")

    def __post_init__(self) -> None:
        _ROWS[self._key] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return _row, (self._key,)


@dataclass(frozen=True, eq=False)
class ScalarOp(_Row):
    """A function of numbers, as one row of a table.

    `result(*dtypes)` is the dtype of the result; `operands` says to what the arguments are cast
    first: "result", "upcast" (to their common dtype) or "branches" (all but the first to the
    result's). `gradient(g, out, *inputs)` gives one term per input (None: zero everywhere).
    `code` is the kernel language's text, `numpy` the meaning. `host` builds the same value as a
    host expression from integers.
    """

    name: str
    nin: int
    result: Callable[..., str]
    numpy: Callable[..., Any]
    code: str
    gradient: Callable[..., Sequence[Any]] | None = None
    operands: str = "result"
    cost: int = 1
    host: Callable[..., Expr] | None = None
    infix: str | None = None
    prefix: str | None = None
    pp_name: str | None = None
    commutative: bool = False
    is_comparison: bool = False
    target: str | None = None  # the dtype that a cast casts to

    def __str__(self) -> str:
        return self.name

    def operand_dtypes(self, dtypes: Sequence[str], result: str) -> list[str]:
        """What each argument is cast to before the function is applied."""
        if self.operands == "own":
            return list(dtypes)
        if self.operands == "upcast":
            return [upcast(*dtypes)] * len(dtypes)
        if self.operands == "branches":
            return [dtypes[0]] + [result] * (len(dtypes) - 1)
        return [result] * len(dtypes)

    def apply(self, args: Sequence[Expr], result: str) -> Expr:
        """The expression of this function of `args`."""
        wide = "float32" if result == "float16" else result
        wanted = self.operand_dtypes([a.dtype for a in args], wide)
        args = [cast_expr(a, d) for a, d in zip(args, wanted, strict=True)]
        if self.target is not None:
            return cast_expr(args[0], self.target)
        scalar = _SCALARS.get(self)
        if scalar is None:
            scalar = _SCALARS[self] = E.Scalar(self.name, self.code, self.cost)
        return E.call(scalar, args, wide)


_SCALARS: dict[ScalarOp, E.Scalar] = {}


@dataclass(frozen=True)
class Elemwise(Op):
    """`scalar_op` of every element, with broadcasting along axes of known size 1.

    Source: Theano, tensor/elemwise.
    """

    scalar_op: ScalarOp

    @property
    def commutative(self) -> bool:  # type: ignore[override]
        return self.scalar_op.commutative

    @property
    def is_comparison(self) -> bool:
        return self.scalar_op.is_comparison

    def make_node(self, *inputs: Any) -> Apply:
        variables = [as_tensor_variable(x) for x in inputs]
        if len(variables) != self.scalar_op.nin:
            raise TypeError(
                f"{self.scalar_op}: takes {self.scalar_op.nin} arguments, got {len(variables)}"
            )
        ndim = max((v.ndim for v in variables), default=0)
        variables = [v if v.ndim == ndim else pad_left(v, ndim) for v in variables]
        dtype = self.scalar_op.result(*(v.dtype for v in variables))
        pattern = [all(bs) for bs in zip(*(v.broadcastable for v in variables), strict=True)]
        return Apply(self, variables, [TensorType(dtype, pattern).make_variable()])

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shapes, sizes = [ctx.shape(x) for x in node.inputs], []
        for axis in range(node.outputs[0].type.ndim):
            real = [s[axis] for s in shapes if s[axis] is not E.ONE]
            known = [s for s in real if type(s) is E.Const]
            sizes.append((known or real or [E.ONE])[0])
        return [tuple(sizes)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        shapes: list[Shape] = [ctx.shape(x) for x in node.inputs]
        checks = []
        for axis in range(node.outputs[0].type.ndim):
            first: int | None = None
            for position, shape in enumerate(shapes):
                if node.inputs[position].type.broadcastable[axis]:
                    continue
                if first is None:
                    first = position
                elif shapes[first][axis] is not shape[axis]:
                    checks.append(_same_size(node, shapes, axis, first, position))
        return checks

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        host = self.scalar_op.host
        kinds = [v.type for v in node.inputs]
        if host is None or any(k.dtype not in DISCRETE or k.ndim > 1 for k in kinds):
            return None
        at = [0 if all(k.broadcastable) else position for k in kinds]
        return host(*(ctx.value(v, p) for v, p in zip(node.inputs, at, strict=True)))

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        if self.scalar_op is SECOND:  # of the first argument only the shape counts
            return cast_expr(E.load(node.inputs[1], indices), node.outputs[0].type.dtype)
        args = [E.load(v, indices) for v in node.inputs]
        return self.scalar_op.apply(args, node.outputs[0].type.dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        result = node.outputs[0].type.dtype
        wide = "float32" if result == "float16" else result
        wanted = self.scalar_op.operand_dtypes(
            ["float32" if x.dtype == "float16" else str(x.dtype) for x in inputs], wide
        )
        with np.errstate(all="ignore"):
            cast = [np.asarray(x).astype(d) for x, d in zip(inputs, wanted, strict=True)]
            return [np.asarray(self.scalar_op.numpy(*cast)).astype(result)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> list[Any]:
        (out,), (g,) = outputs, output_gradients
        if self.scalar_op.gradient is None or out.dtype not in FLOATS:
            return [x.zeros_like("floatX" if x.dtype not in FLOATS else None) for x in inputs]
        terms = self.scalar_op.gradient(g, out, *inputs)
        return [
            x.zeros_like("floatX" if x.dtype not in FLOATS else None)
            if term is None
            else sum_to_pattern(as_tensor_variable(term), x)
            for term, x in zip(terms, inputs, strict=True)
        ]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        if self.scalar_op.name == "second":
            return [[False], [True]]
        return [[True] for _ in node.inputs]

    def __str__(self) -> str:
        return f"Elemwise{{{self.scalar_op},no_inplace}}"

    @property
    def name(self) -> str:
        """Theano's second name for `str(op)`."""
        return str(self)


def _same_size(node: Apply, shapes: Sequence[Shape], axis: int, first: int, second: int) -> Check:
    a, b = shapes[first][axis], shapes[second][axis]
    flat = [size for shape in shapes for size in shape]

    def fail(*values: int) -> Exception:
        known, at = [], 0
        for shape in shapes:
            known.append(tuple(values[at : at + len(shape)]))
            at += len(shape)
        sizes = known[first][axis], known[second][axis]
        cure = ""
        if 1 in sizes:
            cure = (
                "a size of 1 broadcasts only where the type says so: declare the variable with "
                "broadcastable=..., or use dimshuffle or symgraph.tensor.addbroadcast"
            )
        return ShapeError(
            explain(
                node.op,
                f"Input dimension mis-match. (input[{first}].shape[{axis}] = {sizes[0]}, "
                f"input[{second}].shape[{axis}] = {sizes[1]})",
                where=node.trace,
                got=f"Inputs shapes: [{', '.join(map(str, known))}] of {describe(node.inputs)}",
                expected="equal sizes along every axis that is not broadcastable",
                cure=cure,
            )
        )

    return Check(E.compare("eq", a, b), tuple(flat), fail)


def describe(variables: Sequence[Variable]) -> str:
    """`x (float32 matrix), y (int64 vector)`, for messages."""
    return ", ".join(f"{v} ({v.type})" for v in variables)


# ---- permute -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DimShuffle(Op):
    """Permute axes; "x" makes a new axis of size 1; a broadcastable axis may be left out.

    Source: Theano, library/tensor/basic, dimshuffle.
    """

    input_broadcastable: tuple[bool, ...]
    new_order: tuple[int | str, ...]
    view_of: ClassVar[int | None] = 0

    def output_types(self, x: Any) -> list[TensorType]:
        if x.broadcastable != self.input_broadcastable:
            raise TypeError(
                f"{self}: made for the pattern {self.input_broadcastable}, got {x.broadcastable}"
            )
        pattern = [True if a == "x" else self.input_broadcastable[a] for a in self.new_order]  # type: ignore[index]
        return [TensorType(x.dtype, pattern)]

    @property
    def drop(self) -> tuple[int, ...]:
        return tuple(a for a in range(len(self.input_broadcastable)) if a not in self.new_order)

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shape = ctx.shape(node.inputs[0])
        return [tuple(E.ONE if a == "x" else shape[a] for a in self.new_order)]  # type: ignore[index]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        source: list[Expr] = [E.ZERO] * len(self.input_broadcastable)
        for axis, i in zip(self.new_order, indices, strict=True):
            if axis != "x":
                source[axis] = i  # type: ignore[index]
        return E.load(node.inputs[0], source)

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        return ctx.value(node.inputs[0], position) if len(self.new_order) <= 1 else None

    def view(self, node: Apply, strides: Shape, ctx: Context) -> tuple[Expr, Shape] | None:
        return E.ZERO, tuple(E.ZERO if a == "x" else strides[a] for a in self.new_order)  # type: ignore[index]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        x = x.squeeze(self.drop).transpose(
            np.argsort(np.argsort([a for a in self.new_order if a != "x"]))
        )
        return [np.expand_dims(x, tuple(i for i, a in enumerate(self.new_order) if a == "x"))]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        kept = {a: i for i, a in enumerate(self.new_order) if a != "x"}
        order = tuple(kept.get(a, "x") for a in range(len(self.input_broadcastable)))
        return [dimshuffle(output_gradients[0], order)]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        """New axes on the left go without saying; `x.T`; else all of it."""
        (x,), order, n = inputs, self.new_order, len(self.input_broadcastable)
        while order and order[0] == "x":
            order = order[1:]
        if order == tuple(range(n)):
            return x
        if order == tuple(reversed(range(n))) == self.new_order:
            return f"{x}.T"
        return f"DimShuffle{{{', '.join(map(str, self.new_order))}}}({x})"

    def __str__(self) -> str:
        return f"InplaceDimShuffle{{{','.join(map(str, self.new_order))}}}"


def dimshuffle(x: Any, *pattern: Any) -> Any:
    """Permute the axes of `x`: each item of `pattern` is an axis of `x`, or "x" for a new one.

    An axis that is left out must be broadcastable. Raises ValueError and TypeError.
    Source: Theano, library/tensor/basic, dimshuffle.
    """
    x = as_tensor_variable(x)
    if len(pattern) == 1 and isinstance(pattern[0], (list, tuple)):
        pattern = tuple(pattern[0])
    order: list[int | str] = []
    for item in pattern:
        if item == "x":
            order.append("x")
            continue
        if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
            raise TypeError(f"dimshuffle: an axis is a number or 'x', got {item!r} in {pattern}")
        axis = int(item) + (x.ndim if item < 0 else 0)
        if not 0 <= axis < x.ndim:
            raise ValueError(
                explain("dimshuffle", f"{pattern} refers to axis {item}",
                        got=f"{x} with {x.ndim} axes",
                        expected=f"axes from 0 to {x.ndim - 1}, or 'x'")
            )  # fmt: skip
        if axis in order:
            raise ValueError(f"dimshuffle: axis {item} is used more than once in {pattern}")
        order.append(axis)
    for axis, one in enumerate(x.broadcastable):
        if axis not in order and not one:
            raise ValueError(
                explain("dimshuffle", "You cannot drop a non-broadcastable dimension.",
                        got=f"pattern {pattern} for {x} of {x.type}, which leaves out axis {axis}",
                        expected="every axis whose size is not known to be 1",
                        cure="index it (x[0]), sum over it, or use addbroadcast first")
            )  # fmt: skip
    if order == list(range(x.ndim)):
        return x
    return DimShuffle(x.broadcastable, tuple(order))(x)


def pad_left(x: Any, ndim: int) -> Any:
    """`x` with new axes of size 1 on the left, `ndim` axes in all."""
    return dimshuffle(x, ("x",) * (ndim - x.ndim) + tuple(range(x.ndim)))


# ---- reduce --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reduction(_Row):
    """A way to combine numbers, as one row: `kind` is that of `expr.fold`.

    `dtypes(x)` gives the default dtypes of the result and of the accumulator.
    `gradient(g, out, x, op)` gets g and out with the reduced axes restored as broadcastable.
    """

    name: str
    kind: str
    numpy: Callable[..., Any]
    dtypes: Callable[[str], tuple[str, str]]
    gradient: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Reduce(Op):
    """Combine the elements along `axis` (a sorted tuple); the axes vanish.

    `dtype` is the result's, `acc_dtype` the accumulator's. Source: Theano, CAReduce and its kin.
    """

    reduction: Reduction
    axis: tuple[int, ...]
    dtype: str
    acc_dtype: str

    def output_types(self, x: Any) -> list[TensorType]:
        pattern = [b for a, b in enumerate(x.broadcastable) if a not in self.axis]
        return [TensorType(self.dtype, pattern)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shape = ctx.shape(node.inputs[0])
        return [tuple(s for a, s in enumerate(shape) if a not in self.axis)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        if self.reduction.kind not in ("max", "min", "argmax", "argmin"):
            return []
        return [nonempty(node, ctx.shape(node.inputs[0]), self.axis)]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        shape = ctx.shape(node.inputs[0])
        axes: list[Index] = [E.index(shape[a]) for a in self.axis]
        inner = dict(zip(self.axis, axes, strict=True))
        outer = iter(indices)
        where = [inner[a] if a in inner else next(outer) for a in range(len(shape))]
        accumulator = "float32" if self.acc_dtype == "float16" else self.acc_dtype
        body = cast_expr(E.load(node.inputs[0], where), accumulator)
        kind = self.reduction.kind
        if not axes and kind in ("argmax", "argmin"):
            return E.const(0, self.dtype)
        if not axes:
            return cast_expr(
                cast_expr(body, "bool") if kind in ("any", "all") else body, self.dtype
            )
        if kind in ("any", "all"):
            body = cast_expr(body, "bool")
        folded = E.fold(kind, axes, body, self._fold_dtype(accumulator))
        return cast_expr(folded, self.dtype)

    def _fold_dtype(self, accumulator: str) -> str:
        kind = self.reduction.kind
        if kind in ("argmax", "argmin"):
            return "int64"
        return "bool" if kind in ("any", "all") else accumulator

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        acc = "float32" if self.acc_dtype == "float16" else self.acc_dtype
        with np.errstate(all="ignore"):
            if self.reduction.kind in ("argmax", "argmin"):
                rest = [a for a in range(x.ndim) if a not in self.axis]
                flat = x.transpose(rest + list(self.axis))
                kept = [x.shape[a] for a in rest]
                flat = flat.reshape([*kept, math.prod(x.shape[a] for a in self.axis)])
                return [np.asarray(self.reduction.numpy(flat, axis=-1)).astype(self.dtype)]
            if not self.axis:
                return [x.astype(acc).astype(self.dtype)]
            return [
                np.asarray(self.reduction.numpy(x.astype(acc), axis=self.axis)).astype(self.dtype)
            ]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,), (out,), (g,) = inputs, outputs, output_gradients
        # an extremum of integers is differentiable where a float follows it, as in Theano
        is_flat = out.dtype not in FLOATS and self.reduction.kind not in ("max", "min")
        if self.reduction.gradient is None or is_flat:
            return [x.zeros_like("floatX" if x.dtype not in FLOATS else None)]
        keep = restore_axes(x.ndim, self.axis)
        return [self.reduction.gradient(dimshuffle(g, keep), dimshuffle(out, keep), x, self)]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        axes = self.axis if len(self.axis) != 1 else self.axis[0]
        along = "" if len(self.axis) == node.inputs[0].type.ndim else f", axis={axes}"
        return f"{self.reduction}({inputs[0]}{along})"

    def __str__(self) -> str:
        axes = f"axis={list(self.axis)}, " if self.axis else ""
        return f"{self.reduction.name.capitalize()}{{{axes}acc_dtype={self.acc_dtype}}}"


def restore_axes(ndim: int, axis: Sequence[int]) -> tuple[int | str, ...]:
    """The dimshuffle pattern that puts reduced axes back, as axes of size 1."""
    kept = iter(range(ndim))
    return tuple("x" if a in axis else next(kept) for a in range(ndim))


def nonempty(node: Apply, shape: Shape, axis: Sequence[int]) -> Check:
    """The check that a reduction without identity has something to reduce."""

    def fail(*sizes: int) -> Exception:
        return ShapeError(
            explain(node.op, "zero-size array to reduction operation which has no identity",
                    where=node.trace, got=f"shape {sizes} of {describe(node.inputs)}",
                    expected=f"at least one element along axes {tuple(axis)}")
        )  # fmt: skip

    return Check(E.compare("lt", E.ZERO, E.product(shape[a] for a in axis)), tuple(shape), fail)


# second(x, y): y, broadcast to the shape of x; only x's shape is used
SECOND = ScalarOp(
    "second", 2, lambda x, y: y, lambda x, y: y + np.zeros_like(x, y.dtype), "{1}",
    lambda g, out, x, y: (None, g), operands="own", pp_name="fill",
)  # fmt: skip


def _sum_gradient(g: Any, out: Any, x: Any, op: Reduce) -> Any:
    return Elemwise(SECOND)(x, g)


def sum_dtypes(dtype: str) -> tuple[str, str]:
    """Integers add up in 64 bits; floats in the next wider float, and come back narrow."""
    if dtype in ("bool", "int8", "int16", "int32", "int64"):
        return "int64", "int64"
    if dtype.startswith("uint"):
        return "uint64", "uint64"
    return dtype, {"float16": "float32", "float32": "float64", "float64": "float64"}[dtype]


SUM = Reduction("sum", "sum", np.sum, sum_dtypes, _sum_gradient)


def sum_to_pattern(term: Any, x: Any) -> Any:
    """`term`, summed over the axes along which `x` was broadcast to make it, in `x`'s dtype."""
    if term.ndim < x.ndim:
        term = pad_left(term, x.ndim)
    axes = tuple(
        a for a, (tb, xb) in enumerate(zip(term.broadcastable, x.broadcastable, strict=True))
        if xb and not tb
    )  # fmt: skip
    if axes:
        dtype, acc = sum_dtypes(term.dtype)
        term = dimshuffle(Reduce(SUM, axes, dtype, acc)(term), restore_axes(x.ndim, axes))
    return term
