"""Sums of products: `dot`, `tensordot`, `batched_dot` and their kin, all one op.

Source: Theano, library/tensor/basic (Linear Algebra); rule 37 of its semantics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.configuration import config
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check
from symgraph.graph import Apply, Constant, Context, LibraryCall, Op, Shape, Variable
from symgraph.ops.core import DimShuffle, describe, dimshuffle
from symgraph.ops.elementwise import cast, mul, neq
from symgraph.ops.join import join
from symgraph.ops.reduce import match_pattern, mean, sum
from symgraph.ops.structure import shape_i
from symgraph.types import FLOATS, TensorType
from symgraph.variable import as_tensor_variable, result_dtype


def known_shape(x: Any) -> tuple[int | None, ...]:
    """The sizes of `x` that are known when the graph is built; None for the others."""
    if isinstance(x, Constant):
        return tuple(x.data.shape)
    return tuple(1 if one else None for one in x.broadcastable)


@dataclass(frozen=True)
class Dot(Op):
    """The sum of products over the last `inner` axes of x and the first `inner` axes of y.

    `batch` (0 or 1) leading axes are common to both and to the result: (batch, rows, inner) by
    (batch, inner, columns) gives (batch, rows, columns), each a group of any number of axes. Both
    operands have one dtype, which is not float16 or bool; `inner` is at least 1.
    Source: Theano, tensor/basic, Dot and tensordot; tensor/blas, BatchedDot.
    """

    batch: int = 0
    inner: int = 1

    @property
    def _is_plain(self) -> bool:
        return (self.batch, self.inner) == (0, 1)

    def _pairs(self, x: Variable) -> list[tuple[int, int]]:
        """The axes of x and y whose sizes must agree."""
        batches = [(a, a) for a in range(self.batch)]
        first = x.type.ndim - self.inner
        return batches + [(first + i, self.batch + i) for i in range(self.inner)]

    def _fail(
        self, inputs: Sequence[Variable], x: Sequence[Any], y: Sequence[Any], pair: Any, where: Any
    ) -> ShapeError:
        a, b = pair
        if self._is_plain and len(x) <= 2 and len(y) <= 2:
            problem = f"Shape mismatch: x has {x[-1]} cols"
            problem += f" (and {x[0]} rows)" if len(x) > 1 else ""
            problem += f" but y has {y[0]} rows"
            problem += f" (and {y[1]} cols)" if len(y) > 1 else ""
        else:
            problem = f"Shape mismatch: x.shape[{a}] = {x[a]} but y.shape[{b}] = {y[b]}"
        return ShapeError(
            explain(self, problem, where=where,
                    got=f"Inputs shapes: [{tuple(x)}, {tuple(y)}] of {describe(inputs)}",
                    expected=f"axis {a} of x as long as axis {b} of y",
                    cure="transpose an operand, or check which axes are summed over")
        )  # fmt: skip

    def output_types(self, x: Any, y: Any) -> list[TensorType]:
        least = self.batch + self.inner
        if x.ndim < least or y.ndim < least:
            raise TypeError(explain(self, f"takes {least} axes or more", got=describe((x, y))))
        if x.dtype != y.dtype or x.dtype in ("float16", "bool"):
            raise TypeError(
                explain(self, "takes two operands of one dtype", got=describe((x, y)),
                        cure="symgraph.tensor.dot casts them")
            )  # fmt: skip
        left, right = known_shape(x), known_shape(y)
        for a, b in self._pairs(x):
            if None not in (left[a], right[b]) and left[a] != right[b]:
                shapes = [tuple("?" if s is None else s for s in known) for known in (left, right)]
                raise self._fail((x, y), shapes[0], shapes[1], (a, b), None)
        pattern = [x.broadcastable[a] or y.broadcastable[a] for a in range(self.batch)]
        pattern += x.broadcastable[self.batch : x.ndim - self.inner] + y.broadcastable[least:]
        return [TensorType(x.dtype, pattern)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        x, y = (ctx.shape(v) for v in node.inputs)
        batch = [y[a] if y[a] is E.ONE else x[a] for a in range(self.batch)]
        rows = x[self.batch : len(x) - self.inner]
        return [(*batch, *rows, *y[self.batch + self.inner :])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        x, y = (ctx.shape(v) for v in node.inputs)

        def check(a: int, b: int) -> Check:
            def fail(*sizes: int) -> Exception:
                return self._fail(node.inputs, sizes[: len(x)], sizes[len(x) :], (a, b), node.trace)

            return Check(E.compare("eq", x[a], y[b]), (*x, *y), fail)

        return [check(a, b) for a, b in self._pairs(node.inputs[0]) if x[a] is not y[b]]

    def lowering(self, node: Apply, ctx: Context) -> LibraryCall:
        x, y = node.inputs
        dtype: str = x.type.dtype
        left, right = ctx.shape(x), ctx.shape(y)
        rows = left[self.batch : len(left) - self.inner]
        inner = right[self.batch : self.batch + self.inner]
        columns = right[self.batch + self.inner :]
        # a plain vector stays one; any other group of axes is seen as one axis
        a_is_vector = not self.batch and not rows and self.inner == 1
        b_is_vector = not self.batch and not columns and self.inner == 1
        m = () if a_is_vector else (E.product(rows),)
        n = () if b_is_vector else (E.product(columns),)
        k, batch = (E.product(inner),), left[: self.batch]
        wanted = {"in0": (*batch, *m, *k), "in1": (*batch, *k, *n), "out0": (*batch, *m, *n)}
        ndims = {"in0": len(left), "in1": len(right), "out0": node.outputs[0].type.ndim}
        flat = {name: shape for name, shape in wanted.items() if len(shape) != ndims[name]}
        if self.inner > 1:
            flat = wanted
        params = {} if self.batch else {"a_ndim": len(m) + 1, "b_ndim": len(n) + 1}
        strided = tuple(name for name in ("in0", "in1") if name not in flat)
        # axes as one axis must be dense: of groups exchanged by a dimshuffle its input is
        splits = {"in0": len(rows), "in1": self.inner}
        inputs, turned = {"in0": x, "in1": y}, []
        for name, first in splits.items():
            source = _exchanged(inputs[name], self.batch, first) if name in flat else None
            if source is not None:
                inputs[name] = source
                turned.append(name)
        name = "batched_dot" if self.batch else "gemm"
        return LibraryCall(
            name, dtype, params, tuple(inputs.values()), flat, strided, tuple(turned)
        )

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, y = inputs
        for a, b in self._pairs(node.inputs[0]):
            if x.shape[a] != y.shape[b]:
                raise self._fail(node.inputs, x.shape, y.shape, (a, b), node.trace)
        if not self.batch:
            return [np.asarray(np.tensordot(x, y, self.inner)).astype(x.dtype)]
        shape = x.shape[: x.ndim - self.inner] + y.shape[self.batch + self.inner :]
        k = int(np.prod(y.shape[1 : 1 + self.inner]))
        m, n = (
            int(np.prod(s)) for s in (x.shape[1 : x.ndim - self.inner], y.shape[1 + self.inner :])
        )
        flat = np.matmul(x.reshape(len(x), m, k), y.reshape(len(y), k, n))
        return [flat.reshape(shape)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, y), (g,) = inputs, output_gradients
        x, y = cast(x, g.dtype), cast(y, g.dtype)  # (integers too have floating gradients)
        batch = range(self.batch)
        rows, columns = x.ndim - self.inner - self.batch, y.ndim - self.inner - self.batch
        inside = range(self.batch, self.batch + self.inner)
        y_turned = dimshuffle(y, (*batch, *range(self.batch + self.inner, y.ndim), *inside))
        inside = range(x.ndim - self.inner, x.ndim)
        x_turned = dimshuffle(x, (*batch, *inside, *range(self.batch, self.batch + rows)))
        by_x = _contract(g, y_turned, self.batch, columns)
        by_y = _contract(x_turned, g, self.batch, rows)
        return [match_pattern(by_x, x), match_pattern(by_y, y)]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        x, y = inputs
        return f"({x} \\dot {y})" if self._is_plain else f"{self}({x}, {y})"

    def __str__(self) -> str:
        if self._is_plain:
            return "dot"
        return f"BatchedDot{{{self.inner}}}" if self.batch else f"Tensordot{{{self.inner}}}"


@dataclass(frozen=True)
class Gemm(Dot):
    """The product of two matrices.

    It has a class of its own, as `Gemv` has, because programs look for these names among the nodes
    of a function. Source: Theano, tutorial/modes ("Used the cpu"); tensor/blas.
    """


@dataclass(frozen=True)
class Gemv(Dot):
    """The product of a matrix and a vector, or of a vector and a matrix."""


_ROUTINES = {(2, 2): Gemm, (2, 1): Gemv, (1, 2): Gemv}


def _exchanged(x: Variable, batch: int, first: int) -> Variable | None:
    """What `x` shows with two groups of axes exchanged, if it does: behind the axes of the batch
    come `first` that are the last of that, then those that come before them there."""
    ndim, node = x.type.ndim, x.owner
    order = (*range(batch), *range(ndim - first, ndim), *range(batch, ndim - first))
    if node is None or not isinstance(node.op, DimShuffle) or node.op.new_order != order:
        return None
    source = node.inputs[0]
    return source if source.type.ndim == ndim and batch < ndim - first < ndim else None


def _contract(x: Any, y: Any, batch: int, inner: int) -> Any:
    """`Dot`, also for no inner axes: then every element of x's rows meets every one of y's."""
    if inner:
        kind = Dot if batch or inner > 1 else _ROUTINES.get((x.ndim, y.ndim), Dot)
        return kind(batch, inner)(x, y)
    rows, columns = x.ndim - batch, y.ndim - batch
    x = dimshuffle(x, (*range(x.ndim), *"x" * columns))
    return mul(x, dimshuffle(y, (*range(batch), *"x" * rows, *range(batch, y.ndim))))


def _product(x: Any, y: Any, left: Sequence[int], right: Sequence[int], batch: int) -> Any:
    """Sum over axes `left` of x and `right` of y, in their common dtype.

    float16 is computed in float32, bool in int64.
    """
    pairs = sorted(zip(left, right, strict=True))  # in order, groups of axes need not be moved
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    result = result_dtype(x, y)
    wide = {"float16": "float32", "bool": "int64"}.get(result, result)
    kept = [[a for a in range(batch, v.ndim) if a not in s] for v, s in ((x, left), (y, right))]
    x = dimshuffle(cast(x, wide), (*range(batch), *kept[0], *left))
    y = dimshuffle(cast(y, wide), (*range(batch), *right, *kept[1]))
    out = _contract(x, y, batch, len(left))
    return neq(out, 0) if result == "bool" else cast(out, result)


# ---- the names users call ------------------------------------------------------------------------


def dot(a: Any, b: Any) -> Any:
    """The matrix product. dtypes are upcast as in arithmetic.

    A scalar multiplies elementwise; of two vectors it is the inner product; with more than 2 axes
    it sums over the last axis of `a` and the last but one of `b` (the only one of a vector).
    ValueError "Shape mismatch: x has ... cols but y has ... rows" for sizes that do not fit, when
    built if they are known, else when called. Source: Theano, library/tensor/basic, dot.
    """
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    if a.ndim == 0 or b.ndim == 0:
        return mul(a, b)
    return _product(a, b, [a.ndim - 1], [max(0, b.ndim - 2)], 0)


def _axes(name: str, a: Any, b: Any, axes: Any, batch: int) -> tuple[list[int], list[int]]:
    """The axes of `a` and of `b` that are summed over, paired, the batch axis counted."""

    def fail(problem: str) -> ValueError:
        return ValueError(
            explain(name, problem, got=f"axes={axes!r} for {describe((a, b))}",
                    expected="n, or two lists of as many axes, each of them once")
        )  # fmt: skip

    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(a.ndim, b.ndim) - batch:
            raise fail(f"{axes} axes cannot be summed over")
        return list(range(a.ndim - axes, a.ndim)), list(range(batch, batch + axes))
    if not isinstance(axes, (list, tuple, np.ndarray)) or len(axes) != 2:
        raise fail("axes should be an integer or a list of len 2")
    pair: list[list[int]] = []
    for x, chosen in zip((a, b), axes, strict=True):
        numbers = [int(c) for c in np.atleast_1d(chosen)]
        if [c for c in numbers if not -x.ndim <= c < x.ndim]:
            raise fail(f"{x} has {x.ndim} axes")
        numbers = [c % x.ndim for c in numbers]
        if len(set(numbers)) != len(numbers) or [c for c in numbers if c < batch]:
            raise fail("an axis is named twice, or is the batch axis")
        pair.append(numbers)
    if len(pair[0]) != len(pair[1]):
        raise fail("the lists are not equally long")
    return pair[0], pair[1]


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes.

    `axes`: n for the last n of `a` with the first n of `b`, or a pair of lists of axes. The
    result has the other axes of `a`, then those of `b`. ValueError for axes and sizes that do not
    fit. Source: Theano, library/tensor/basic, tensordot.
    """
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    return _product(a, b, *_axes("tensordot", a, b, axes, 0), 0)


def batched_tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """`tensordot` of x[i] and y[i] for every i; a list of axes counts the first one too.

    Source: Theano, library/tensor/basic, batched_tensordot.
    """
    x, y = as_tensor_variable(x), as_tensor_variable(y)
    _need_batch("batched_tensordot", x, y)
    return _product(x, y, *_axes("batched_tensordot", x, y, axes, 1), 1)


def batched_dot(a: Any, b: Any) -> Any:
    """`dot(a[i], b[i])` for every i.

    (b, m, k) by (b, k, n) gives (b, m, n), and either may be (b, k); of (b,) every number
    multiplies. ValueError for scalars and for sizes that do not fit.
    Source: Theano, library/tensor/basic, batched_dot.
    """
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    _need_batch("batched_dot", a, b)
    if a.ndim == 1 or b.ndim == 1:
        return _contract(a, b, 1, 0)
    return _product(a, b, [a.ndim - 1], [max(1, b.ndim - 2)], 1)


def _need_batch(name: str, a: Any, b: Any) -> None:
    if not a.ndim or not b.ndim:
        raise ValueError(explain(name, "a scalar has no batch axis", got=describe((a, b))))


def outer(x: Any, y: Any) -> Any:
    """The matrix of all products of an element of `x` and one of `y`, both flattened.

    Source: Theano, library/tensor/basic, outer.
    """
    x, y = as_tensor_variable(x), as_tensor_variable(y)
    x, y = (v if v.ndim == 1 else v.flatten() for v in (x, y))
    return _contract(x, y, 0, 0)


def matrix_transpose(x: Any) -> Any:
    """The last two axes of `x` exchanged. ValueError below 2 axes."""
    x = as_tensor_variable(x)
    if x.ndim < 2:
        raise ValueError(explain("matrix_transpose", "takes 2 axes or more", got=describe((x,))))
    return dimshuffle(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def trace(x: Any) -> Any:
    """The sum of the diagonal of a matrix, square or not. TypeError for other than 2 axes.

    Source: Theano, library/tensor/nlinalg, trace.
    """
    x = as_tensor_variable(x)
    if x.ndim != 2:
        raise TypeError(explain("trace", "x must be a matrix", got=describe((x,))))
    return sum(x.diagonal())


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
) -> Any:
    """The covariance matrix of the variables in the rows of `m` (columns if not `rowvar`).

    `y` holds more variables of the same observations. The sum of squares is divided by n - ddof;
    ddof defaults to 1, to 0 with `bias`. Vectors of a number for each observation: `fweights`, how
    often it was made, and `aweights`, how much it counts. A single variable gives a 0-d result.
    Raises ValueError for more than two axes. Source: Theano, library/tensor/basic (which has no
    weights); NumPy, `cov`.
    """
    rows = []
    for part in (m, y):
        if part is None:
            continue
        part = as_tensor_variable(part)
        if part.ndim > 2:
            raise ValueError(explain("cov", "takes at most two axes", got=describe((part,))))
        if part.ndim < 2:
            part = dimshuffle(part, ("x",) * (2 - part.ndim) + tuple(range(part.ndim)))
        elif not rowvar:
            part = dimshuffle(part, (1, 0))
        rows.append(part)
    stacked = rows[0] if len(rows) == 1 else join(0, *rows)
    ddof = (0 if bias else 1) if ddof is None else ddof
    given = [_weights(w) for w in (fweights, aweights) if w is not None]
    if given:
        w = given[0] if len(given) == 1 else given[0] * given[1]
        total = sum(w)
        centred = stacked - sum(stacked * w, axis=1, keepdims=True) / total
        lost = ddof if aweights is None else ddof * sum(w * given[-1]) / total
        count = total - lost
        other = centred * w
    else:
        centred = other = stacked - mean(stacked, axis=1, keepdims=True)
        count = shape_i(stacked, 1) - ddof
    result = dot(centred, dimshuffle(other, (1, 0))) / count
    single = len(rows) == 1 and rows[0].broadcastable[0]
    return dimshuffle(result, ()) if single else result


def _weights(weights: Any) -> Any:
    """Weights of observations, as floats; ValueError for what is no vector."""
    weights = as_tensor_variable(weights)
    if weights.ndim != 1:
        raise ValueError(explain("cov", "weights are a vector", got=describe((weights,))))
    return weights if weights.dtype in FLOATS else cast(weights, config.floatX)
