"""Softmax and its fusion with cross-entropy: ops over the rows of a matrix.

Source: Theano, library/tensor/nnet/nnet; rules 28 to 30 of its semantics.
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
from symgraph.ops.core import cast_expr, describe, dimshuffle
from symgraph.ops.elementwise import EXP, LOG, MUL, SUB, SWITCH, TRUE_DIV, exp
from symgraph.ops.index import out_of_bounds
from symgraph.ops.reduce import sum
from symgraph.types import FLOATS, INTEGERS, DisconnectedType, TensorType

# ---- rows of a matrix ----------------------------------------------------------------------------


def _rows_of_floats(op: Op, x: Any) -> None:
    if x.ndim != 2 or x.dtype not in FLOATS:
        raise ValueError(
            explain(op, "x must be 1-d or 2-d tensor of floats.", got=describe((x,)),
                    cure="reshape to a matrix, and cast integers to a float dtype")
        )  # fmt: skip


def _wide(dtype: str) -> str:
    return "float32" if dtype == "float16" else dtype


def _numpy_wide(x: np.ndarray) -> np.ndarray:
    return x.astype("float32") if x.dtype == "float16" else x


def _shifted(x: Any, row: Expr, size: Expr, position: Expr) -> tuple[Expr, Expr]:
    """x - max of its row at `position`, and the sum over the row of the exponential of that."""
    dtype = _wide(x.type.dtype)
    k, m = E.index(size), E.index(size)
    top = E.fold("max", (m,), cast_expr(E.load(x, (row, m)), dtype), dtype)

    def below(at: Expr) -> Expr:
        return SUB.apply((cast_expr(E.load(x, (row, at)), dtype), top), dtype)

    total = E.fold("sum", (k,), EXP.apply((below(k),), dtype), dtype)
    return below(position), total


def _numpy_shifted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = _numpy_wide(x)
    top = x.max(axis=1, keepdims=True, initial=-np.inf)
    below = x - top.astype(x.dtype)
    return below, np.exp(below).sum(axis=1, keepdims=True, dtype=x.dtype)


def _equal(
    node: Apply, ctx: Context, *pairs: tuple[tuple[int, int], tuple[int, int]]
) -> list[Check]:
    """For each ((i, a), (j, b)): axis a of input i is as long as axis b of input j."""
    shapes = [ctx.shape(v) for v in node.inputs]
    facts = tuple(size for shape in shapes for size in shape)

    def check(i: int, a: int, j: int, b: int) -> Check:
        def fail(*sizes: int) -> Exception:
            rest = iter(sizes)
            known = [tuple(next(rest) for _ in shape) for shape in shapes]
            return ShapeError(
                explain(node.op, f"input[{i}].shape[{a}] = {known[i][a]} but "
                        f"input[{j}].shape[{b}] = {known[j][b]}", where=node.trace,
                        got=f"shapes {known} of {describe(node.inputs)}", expected="equal sizes")
            )  # fmt: skip

        return Check(E.compare("eq", shapes[i][a], shapes[j][b]), facts, fail)

    return [check(*p, *q) for p, q in pairs if shapes[p[0]][p[1]] is not shapes[q[0]][q[1]]]


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x) / sum of exp(x) over each row of a matrix of floats, shifted by the row's maximum."""

    def output_types(self, x: Any) -> list[TensorType]:
        _rows_of_floats(self, x)
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        (x,) = node.inputs
        dtype = _wide(x.type.dtype)
        below, total = _shifted(x, indices[0], ctx.shape(x)[1], indices[1])
        return TRUE_DIV.apply((EXP.apply((below,), dtype), total), dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        with np.errstate(all="ignore"):
            below, total = _numpy_shifted(inputs[0])
            return [(np.exp(below) / total).astype(inputs[0].dtype)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [SoftmaxGrad()(output_gradients[0], outputs[0])]

    def __str__(self) -> str:
        return "Softmax"


@dataclass(frozen=True)
class SoftmaxGrad(Op):
    """The gradient of softmax: s * (g - sum of g * s over the row), from g and the softmax s."""

    def output_types(self, g: Any, s: Any) -> list[TensorType]:
        _rows_of_floats(self, g)
        _rows_of_floats(self, s)
        if g.dtype != s.dtype:
            raise TypeError(explain(self, "takes one dtype", got=describe((g, s))))
        return [s.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[1])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        return _equal(node, ctx, ((0, 0), (1, 0)), ((0, 1), (1, 1)))

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        g, s = node.inputs
        dtype = _wide(s.type.dtype)
        row, k = indices[0], E.index(ctx.shape(s)[1])

        def at(v: Any, column: Expr) -> Expr:
            return cast_expr(E.load(v, (row, column)), dtype)

        total = E.fold("sum", (k,), MUL.apply((at(g, k), at(s, k)), dtype), dtype)
        rest = SUB.apply((at(g, indices[1]), total), dtype)
        return MUL.apply((at(s, indices[1]), rest), dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        g, s = (_numpy_wide(v) for v in inputs)
        result = s * (g - (g * s).sum(axis=1, keepdims=True, dtype=s.dtype))
        return [result.astype(inputs[1].dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (g, s), (gg,) = inputs, output_gradients
        along_g = sum(g * s, axis=1, keepdims=True)
        along_gg = sum(gg * s, axis=1, keepdims=True)
        return [s * (gg - along_gg), gg * (g - along_g) - g * along_gg]

    def __str__(self) -> str:
        return "SoftmaxGrad"


@dataclass(frozen=True)
class LogSoftmax(Op):
    """log(softmax(x)), computed as x - max - log(sum of exp(x - max)) over each row of a matrix."""

    def output_types(self, x: Any) -> list[TensorType]:
        _rows_of_floats(self, x)
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        (x,) = node.inputs
        dtype = _wide(x.type.dtype)
        below, total = _shifted(x, indices[0], ctx.shape(x)[1], indices[1])
        return SUB.apply((below, LOG.apply((total,), dtype)), dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        with np.errstate(all="ignore"):
            below, total = _numpy_shifted(inputs[0])
            return [(below - np.log(total)).astype(inputs[0].dtype)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (out,), (g,) = outputs, output_gradients
        return [g - sum(g, axis=1, keepdims=True) * exp(out)]

    def __str__(self) -> str:
        return "LogSoftmax"


# ---- cross-entropy of a softmax ------------------------------------------------------------------


def _labels(op: Op, y: Any) -> None:
    if y.ndim != 1 or y.dtype not in INTEGERS:
        raise TypeError(
            explain(op, "labels are a vector of integers", got=describe((y,)),
                    cure="cast them: y.astype('int32')")
        )  # fmt: skip


def _label(y: Any, row: Expr, classes: Expr) -> Expr:
    return E.checked(cast_expr(E.load(y, (row,)), "int64"), classes)


def _enough_rows(node: Apply, ctx: Context, x: int, y: int) -> list[Check]:
    """That the matrix, input `x`, has a row for each label of input `y`."""
    shapes = [ctx.shape(v) for v in node.inputs]
    rows, labels = shapes[x][0], shapes[y][0]

    def fail(have: int, want: int) -> Exception:
        return IndexError(
            explain(node.op, f"index {have} is out of bounds for axis 0 with size {have}",
                    where=node.trace, got=f"{have} rows and {want} labels: {describe(node.inputs)}",
                    expected="a row for each label")
        )  # fmt: skip

    if rows is labels:
        return []
    return [Check(E.compare("le", labels, rows), (rows, labels), fail)]


def _check_labels(node: Apply, x: np.ndarray, y: np.ndarray) -> None:
    """What the kernel checks, for `evaluate`."""
    if len(x) < len(y):
        raise IndexError(explain(node.op, "a row for each label", got=f"{len(x)} for {len(y)}"))
    classes = x.shape[1]
    bad = y[(y < -classes) | (y >= classes)]
    if bad.size:
        raise out_of_bounds(node, node.inputs[-2], 1, int(bad[0]), classes)


@dataclass(frozen=True)
class OneForEach(Op):
    """The vector y, of which there must be n elements (an integer scalar): one for each row.

    ShapeError when called with another number, as x[arange(n), y] raises.
    """

    view_of: ClassVar[int | None] = 0

    def output_types(self, y: Any, n: Any) -> list[TensorType]:
        if y.ndim != 1 or n.ndim != 0 or n.dtype not in INTEGERS:
            raise TypeError(explain(self, "takes a vector and an integer", got=describe((y, n))))
        return [y.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        (have,), wanted = ctx.shape(node.inputs[0]), ctx.value(node.inputs[1])

        def fail(labels: int, rows: int) -> Exception:
            return ShapeError(
                explain(node.op, f"{labels} labels for {rows} rows", where=node.trace,
                        got=f"{labels} labels of {describe(node.inputs[:1])} for {rows} rows",
                        expected="as many labels as rows")
            )  # fmt: skip

        return (
            [] if have is wanted else [Check(E.compare("eq", have, wanted), (have, wanted), fail)]
        )

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        return E.load(node.inputs[0], indices)

    def view(self, node: Apply, strides: Shape, ctx: Context) -> tuple[Expr, Shape] | None:
        return E.ZERO, strides

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        y, n = inputs
        if len(y) != n:
            raise ShapeError(explain(node.op, f"{len(y)} labels for {n} rows"))
        return [y]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [output_gradients[0], DisconnectedType().make_variable()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def __str__(self) -> str:
        return "OneForEach"


@dataclass(frozen=True)
class CrossentropySoftmax1Hot(Op):
    """-log(softmax(x))[arange(n), y] without the softmax: log(sum of exp(x)) - x[y] for each row.

    x: (n, classes) floats, or more rows, which are not read; y: n integers, which index as NumPy's
    do (negative ones count from the end). IndexError when called with a label out of range or with
    too few rows. Source: Theano, CrossentropySoftmaxArgmax1HotWithBias.
    """

    def output_types(self, x: Any, y: Any) -> list[TensorType]:
        _rows_of_floats(self, x)
        _labels(self, y)
        return [TensorType(x.dtype, y.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[1])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        return _enough_rows(node, ctx, 0, 1)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x, y = node.inputs
        dtype = _wide(x.type.dtype)
        classes = ctx.shape(x)[1]
        below, total = _shifted(x, indices[0], classes, _label(y, indices[0], classes))
        # the differences first: they are exact for large x
        return SUB.apply((LOG.apply((total,), dtype), below), dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, y = inputs
        _check_labels(node, x, y)
        with np.errstate(all="ignore"):
            below, total = _numpy_shifted(x)
            rows = np.arange(len(y))
            return [(np.log(total)[rows, 0] - below[rows, y]).astype(x.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, y), (g,) = inputs, output_gradients
        return [CrossentropySoftmax1HotGrad()(g, x, y), DisconnectedType().make_variable()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def __str__(self) -> str:
        return "CrossentropySoftmax1Hot"


@dataclass(frozen=True)
class CrossentropySoftmax1HotGrad(Op):
    """(softmax(x) - onehot(y)) * g for each row, from g (n,), x (n, classes) and y (n,).

    Rows of x after the first n have no label: their gradient is 0.
    """

    def output_types(self, g: Any, x: Any, y: Any) -> list[TensorType]:
        _rows_of_floats(self, x)
        _labels(self, y)
        if g.ndim != 1 or g.dtype != x.dtype:
            raise TypeError(explain(self, "g is a vector of x's dtype", got=describe((g, x))))
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[1])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        return [*_equal(node, ctx, ((0, 0), (2, 0))), *_enough_rows(node, ctx, 1, 2)]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        g, x, y = node.inputs
        dtype = _wide(x.type.dtype)
        row, column = indices
        (rows, classes), (labels,) = ctx.shape(x), ctx.shape(y)
        label, scale = _label(y, row, classes), cast_expr(E.load(g, (row,)), dtype)
        is_labelled: Expr | None = None
        if rows is not labels:
            # a sum over one element, or none: what is not there must not be read
            k = E.index(E.maximum(E.minimum(E.sub(labels, row), 1), 0))
            there = E.add(row, k)
            label = E.fold("sum", (k,), _label(y, there, classes), "int64")
            k = E.index(k.extent)
            there = E.add(row, k)
            scale = E.fold("sum", (k,), cast_expr(E.load(g, (there,)), dtype), dtype)
            is_labelled = E.compare("lt", row, labels)
        below, total = _shifted(x, row, classes, column)
        share = TRUE_DIV.apply((EXP.apply((below,), dtype), total), dtype)
        difference = SUB.apply((share, cast_expr(E.compare("eq", column, label), dtype)), dtype)
        product = MUL.apply((difference, scale), dtype)
        if is_labelled is None:
            return product
        return SWITCH.apply((is_labelled, product, E.const(0, dtype)), dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        g, x, y = inputs
        _check_labels(node, x, y)
        with np.errstate(all="ignore"):
            below, total = _numpy_shifted(x)
            result = np.exp(below) / total
            rows = np.arange(len(y))
            result[rows, y] -= 1
            result[: len(y)] *= g[:, None]
            result[len(y) :] = 0
            return [result.astype(x.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (g, x, y), (gg,) = inputs, output_gradients
        rows = CrossentropySoftmax1HotGrad()(g.ones_like(), x, y)
        by_x = SoftmaxGrad()(gg * dimshuffle(g, (0, "x")), Softmax()(x))
        return [sum(gg * rows, axis=1), by_x, DisconnectedType().make_variable()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [True], [False]]

    def __str__(self) -> str:
        return "CrossentropySoftmax1HotGrad"
