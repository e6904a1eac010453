"""Values and gradients that rewriting keeps finite and exact, in whatever form the user wrote them.

Rules 28 to 30 of Theano's semantics; every test runs at every optimisation level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile.rules import rewrite_graph
from symgraph.errors import ShapeError
from symgraph.ops.softmax import CrossentropySoftmax1Hot, CrossentropySoftmax1HotGrad
from symgraph.printing import pp
from symgraph.rewrite import verify
from tests.oracle import evaluate

m, y = T.dmatrix("m"), T.ivector("y")
MATRIX = np.random.RandomState(3).uniform(0.5, 1.5, (3, 4))


def grad_of(cost: Any, wrt: Any) -> Any:
    return T.grad(cost.sum(), wrt)


# ---- logistic forms ------------------------------------------------------------------------------

LEVEL = pytest.mark.parametrize("level", ["fast_run", "fast_compile"])
DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])
POINTS = np.array([-1000.0, -100, -20, -1, 0, 1, 20, 100, 1000])
TARGETS = np.linspace(0, 1, len(POINTS))


def np_sigmoid(v: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -v))


def np_softplus(v: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, v)


def logistic(v: Any) -> Any:
    return 1 / (1 + T.exp(-v))


LOGISTIC: dict[str, Callable[[Any, Any], Any]] = {
    "log p": lambda v, t: T.log(T.nnet.sigmoid(v)),
    "log p, written out": lambda v, t: T.log(logistic(v)),
    "log p[i]": lambda v, t: T.log(T.nnet.sigmoid(v)[::-1])[::-1],
    "log p[array]": lambda v, t: T.log(T.nnet.sigmoid(v)[T.arange(v.shape[0])]),
    "log p, reshaped": lambda v, t: T.log(T.nnet.sigmoid(v).reshape((3, 3)).T).T.flatten(),
    "log 1-p": lambda v, t: T.log(1 - T.nnet.sigmoid(v)),
    "log 1-p, written out": lambda v, t: T.log(1 - logistic(v)),
    "log1p": lambda v, t: T.log1p(-T.nnet.sigmoid(v)),
    "log 1-p, reshaped": lambda v, t: T.log(1 - T.nnet.sigmoid(v).reshape((3, 3)).T).T.flatten(),
    "cross-entropy": lambda v, t: -T.nnet.binary_crossentropy(T.nnet.sigmoid(v), t),
    "cross-entropy, written out": lambda v, t: (
        t * T.log(logistic(v)) + (1 - t) * T.log(1 - logistic(v))),
    "sigmoid_binary_crossentropy": lambda v, t: -T.nnet.sigmoid_binary_crossentropy(v, t),
}  # fmt: skip


@LEVEL
@DTYPE
@pytest.mark.parametrize("form", LOGISTIC)
def test_logistic_values_and_gradients(form: str, dtype: str, level: str) -> None:
    v, t = T.vector("v", dtype=dtype), T.vector("t", dtype=dtype)
    value = LOGISTIC[form](v, t)
    outs = rewrite_graph([value, grad_of(value, v)], level)
    verify(outs)
    got = evaluate(outs, {v: POINTS.astype(dtype), t: TARGETS.astype(dtype)})
    weight = TARGETS if "cross" in form else np.ones(9) * ("1" not in form)
    expected = -weight * np_softplus(-POINTS) - (1 - weight) * np_softplus(POINTS)
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(got[0], expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got[1], weight - np_sigmoid(POINTS), rtol=tolerance, atol=tolerance)


EXPONENTS: list[Callable[[Any, Any], Any]] = [
    lambda v, w: -v - w, lambda v, w: -(v + w), lambda v, w: w - v, lambda v, w: -(v - w),
    lambda v, w: -2.0 * v, lambda v, w: -(v * 3.0 + 1.0), lambda v, w: -v / 0.3,
    lambda v, w: -(v / 0.3), lambda v, w: -1 * (v + 2.0 * w), lambda v, w: 3.0 - v,
    lambda v, w: -v * w,
]  # fmt: skip


@LEVEL
@pytest.mark.parametrize("exponent", EXPONENTS, ids=[str(k) for k in range(len(EXPONENTS))])
def test_logistic_regression_however_it_is_written(exponent: Any, level: str) -> None:
    """The Theano tutorial's: 1 / (1 + exp(-dot(x, w) - b)) and its cross-entropy, written out."""
    v, w, t = T.dvector("v"), T.dvector("w"), T.dvector("t")
    p = 1 / (1 + T.exp(exponent(v, w)))
    cost = (-t * T.log(p) - (1 - t) * T.log(1 - p)).sum()
    outs = rewrite_graph([cost, T.grad(cost, v)], level)
    inputs = {v: POINTS, w: np.linspace(1, 2, 9), t: TARGETS}
    got = evaluate(outs, inputs)
    (z,), (slope,) = (evaluate([e], inputs) for e in (
        -exponent(v, w), T.grad(-exponent(v, w).sum(), v)))  # fmt: skip
    expected = TARGETS * np_softplus(-z) + (1 - TARGETS) * np_softplus(z)
    np.testing.assert_allclose(got[0], expected.sum(), rtol=1e-13)
    np.testing.assert_allclose(got[1], (np_sigmoid(z) - TARGETS) * slope, rtol=1e-12, atol=1e-13)


@LEVEL
@DTYPE
def test_sums_of_exponentials(dtype: str, level: str) -> None:
    x = T.matrix("x", dtype=dtype)
    v, w = T.vector("v", dtype=dtype), T.vector("w", dtype=dtype)
    rows = np.array([[1e4, -1e4, 3], [-1e4, -1e4, -1e4], [0.0, 1.0, np.inf]], dtype)
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    for build, expected, slope in (
        (lambda: T.log(1 + T.exp(v)), np_softplus(POINTS), np_sigmoid(POINTS)),
        (lambda: T.log1p(T.exp(v)), np_softplus(POINTS), np_sigmoid(POINTS)),
        (lambda: T.log(T.exp(v) + T.exp(w)), np.logaddexp(POINTS, TARGETS),
         np_sigmoid(POINTS - TARGETS)),
        (lambda: T.exp(v) / (1 + T.exp(v)), np_sigmoid(POINTS),
         np_sigmoid(POINTS) * np_sigmoid(-POINTS)),
    ):  # fmt: skip
        outs = rewrite_graph([build(), grad_of(build(), v)], level)
        got = evaluate(outs, {v: POINTS.astype(dtype), w: TARGETS.astype(dtype)})
        np.testing.assert_allclose(got[0], expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(got[1], slope, rtol=tolerance, atol=tolerance)
    for axis in (1, 0, None):
        total = T.log(T.exp(x).sum(axis=axis))
        outs = rewrite_graph([total, grad_of(total, x)], level)
        got = evaluate(outs, {x: rows[:2]})
        expected = np.logaddexp.reduce(rows[:2].astype("float64"), axis=axis)
        np.testing.assert_allclose(got[0], expected, rtol=tolerance)
        assert np.isfinite(got[1]).all()
        np.testing.assert_allclose(got[1].sum(axis=axis), np.ones_like(expected), rtol=tolerance)
    (total,) = rewrite_graph([T.log(T.exp(x).sum(axis=1))], level)
    assert evaluate([total], {x: rows})[0][2] == np.inf


def log_erfc(p: float) -> float:
    """By the continued fraction (Abramowitz and Stegun, 7.1.14)."""
    fraction = p
    for j in range(60, 0, -1):
        fraction = p + j / 2 / fraction
    return -p * p - math.log(fraction * math.sqrt(math.pi))


@LEVEL
@DTYPE
def test_the_tail_of_erfc(dtype: str, level: str) -> None:
    v = T.vector("v", dtype=dtype)
    value = T.log(T.erfc(v))
    outs = rewrite_graph([value, grad_of(value, v)], level)
    at = np.array([-3.0, 0, 1, 5, 8.9, 9.1, 25.9, 26.1, 100], dtype)
    got = evaluate(outs, {v: at})
    logs = [math.log(math.erfc(p)) if p < 26 else log_erfc(p) for p in at.astype("float64")]
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(got[0], logs, rtol=tolerance, atol=tolerance)
    slopes = [-2 / math.sqrt(math.pi) * math.exp(-p * p - q) for p, q in zip(at, logs, strict=True)]
    if dtype == "float64":
        np.testing.assert_allclose(got[1], slopes, rtol=1e-10)
    # the slope tends to -2 x - 1 / x
    np.testing.assert_allclose(got[1][5:], -2 * at[5:] - 1 / at[5:] + 1 / at[5:] ** 3, rtol=1e-4)


# ---- softmax and cross-entropy -------------------------------------------------------------------

LOGITS = np.array([[1e8, -1e8, 0], [1e4, 0, -1e4], [1, 2, 3]])
LABELS = np.array([1, 2, 0], "int32")

CROSSENTROPIES: dict[str, Callable[[Any, Any], Any]] = {
    "-mean(log(p)[arange, y])": lambda p, y: -T.mean(T.log(p)[T.arange(y.shape[0]), y]),
    "mean(-log(p)[arange, y])": lambda p, y: (-T.log(p))[T.arange(y.shape[0]), y].mean(),
    "-log(p[arange, y]).mean()": lambda p, y: -T.log(p[T.arange(y.shape[0]), y]).mean(),
    "categorical_crossentropy": lambda p, y: T.nnet.categorical_crossentropy(p, y).mean(),
    "one-hot matrix": lambda p, y: T.nnet.categorical_crossentropy(
        p, T.extra_ops.to_one_hot(y, 3, dtype=p.dtype)).mean(),
    "reshaped": lambda p, y: -T.log(p.flatten().reshape(p.shape))[T.arange(y.shape[0]), y].mean(),
    "transposed": lambda p, y: -T.log(p.T)[y, T.arange(y.shape[0])].mean(),
    "transposed twice": lambda p, y: -T.log(p.T).T[T.arange(y.shape[0]), y].mean(),
    "flat": lambda p, y: -T.log(p.flatten())[T.arange(y.shape[0]) * 3 + y].mean(),
    "constant rows": lambda p, y: -T.log(p)[T.arange(3), y].mean(),
    "summed and divided": lambda p, y: -T.log(p)[T.arange(y.shape[0]), y].sum() / y.shape[0],
    "with a penalty": lambda p, y: -T.log(p)[T.arange(y.shape[0]), y].mean() + 0 * T.sqr(p).sum(),
}  # fmt: skip


@LEVEL
@DTYPE
@pytest.mark.parametrize("written", ["softmax", "exp / sum(exp)"])
@pytest.mark.parametrize("form", CROSSENTROPIES)
def test_crossentropy_of_big_logits(form: str, written: str, dtype: str, level: str) -> None:
    """Rule 30: exact differences of the logits, and a gradient of exactly p - onehot(y)."""
    v, t = T.matrix("v", dtype=dtype), T.ivector("t")
    p = (
        T.nnet.softmax(v)
        if written == "softmax"
        else T.exp(v) / T.exp(v).sum(axis=1, keepdims=True)
    )
    cost = CROSSENTROPIES[form](p, t)
    outs = rewrite_graph([cost, T.grad(cost, v)], level)
    verify(outs, [v, t])
    got = evaluate(outs, {v: LOGITS.astype(dtype), t: LABELS})
    p3 = np.exp(LOGITS[2] - 3) / np.exp(LOGITS[2] - 3).sum()
    np.testing.assert_allclose(got[0], (2e8 + 2e4 - np.log(p3[0])) / 3, rtol=1e-6)
    expected = np.array([[1, -1, 0], [1, 0, -1], p3 - [1, 0, 0]]) / 3
    np.testing.assert_allclose(got[1], expected, rtol=1e-6)


@LEVEL
def test_theanos_asymptotic_case(level: str) -> None:
    v, t = T.fmatrix("v"), T.lvector("t")
    cost = T.sum(-T.log(T.nnet.softmax(v))[T.arange(t.shape[0]), t])
    outs = rewrite_graph([cost, T.grad(cost, v)], level)
    at = np.zeros((5, 4), "float32")
    at[:, 0] = 61750000.0
    value, slope = evaluate(outs, {v: at, t: np.array([1, 1, 0, 0, 0])})
    assert value == 2 * 61750000.0
    np.testing.assert_array_equal(slope, [[1, -1, 0, 0]] * 2 + [[0, 0, 0, 0]] * 3)


def test_a_vector_written_with_exp_is_a_softmax() -> None:
    v = T.dvector("v")
    share = T.exp(v) / T.exp(v).sum()
    cost = -T.log(share)[0]
    outs = rewrite_graph([share, cost, T.grad(cost, v)], "fast_compile")
    got = evaluate(outs, {v: np.array([1e4, 0, 1e4])})
    np.testing.assert_array_equal(got[0], [0.5, 0, 0.5])
    np.testing.assert_allclose(got[2], [-0.5, 0, 0.5])


@pytest.mark.parametrize("target", ["python", pytest.param("cpu", marks=pytest.mark.slow)])
def test_more_rows_than_labels(target: str) -> None:
    """log(p)[arange(n), y] of a matrix with more than n rows: the others are not looked at."""
    v, t = T.fmatrix("v"), T.ivector("t")
    cost = -T.log(T.nnet.softmax(v))[T.arange(t.shape[0]), t].sum()
    with symgraph.config.change_flags(target=target):
        fn = symgraph.function([v, t], [cost, T.grad(cost, v)])
    made = {type(node.op) for node in fn.maker.fgraph.toposort()}
    assert {CrossentropySoftmax1Hot, CrossentropySoftmax1HotGrad} <= made
    at = np.array([[1e8, -1e8, 0], [1e4, 0, -1e4], [np.nan, 2, 3], [4, 5, 6]], "float32")
    value, slope = fn(at, LABELS[:2] - 3)  # negative labels count from the end
    assert value == np.float32(2e8 + 2e4)
    np.testing.assert_array_equal(slope, [[1, -1, 0], [1, 0, -1], [0, 0, 0], [0, 0, 0]])
    value, slope = fn(at, LABELS[:0])
    assert value == 0 and not slope.any()
    with pytest.raises(IndexError, match="4 rows and 5 labels"):
        fn(at, np.zeros(5, "int32"))
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        fn(at, np.array([3], "int32"))


def test_one_label_for_all_rows_is_not_one_for_each() -> None:
    column = T.TensorType("int32", (True,))("column")
    form = T.log(T.nnet.softmax(m))[T.arange(y.shape[0]), column]
    (after,) = rewrite_graph([form], "fast_run")
    assert "Crossentropy" not in pp(after)
    np.testing.assert_allclose(
        *evaluate([form, after], {m: MATRIX, y: LABELS, column: np.array([2], "int32")})
    )


@pytest.mark.parametrize("rows", ["the matrix's", "a number", "the labels'"])
def test_as_many_labels_as_rows_are_asked_for(rows: str) -> None:
    """What x[arange(n), y] refuses, its fused form refuses too."""
    count = {"the matrix's": m.shape[0], "a number": 3, "the labels'": y.shape[0]}[rows]
    cost = -T.log(T.nnet.softmax(m))[T.arange(count), y].sum()
    with symgraph.config.change_flags(target="python"):
        fn = symgraph.function([m, y], [cost, T.grad(cost, m)])
    fn(MATRIX, np.array([0, 1, 2], "int32"))
    two = np.array([0, 1], "int32")
    if rows == "the labels'":
        assert not fn(MATRIX, two)[1][2].any()
        return
    with pytest.raises(ShapeError, match="2 labels for 3 rows") as error:
        fn(MATRIX, two)
    assert __file__ in str(error.value)
