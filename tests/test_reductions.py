"""Reductions: every combination of axes, NaN, and the forms that make them fast."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T

X = T.TensorType("float32", (False,) * 3)
KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (T.sum, np.sum),
    "max": (T.max, np.max),
    "var": (T.var, np.var),
    "prod": (T.prod, np.prod),
}
AXES = [None, *(c for n in (1, 2) for c in itertools.combinations(range(3), n))]


def sources(function: Any) -> list[str]:
    return [kernel.source for kernel in function.kernels()]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=["contiguous", "permuted"])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_combination_of_axes(kind, axis, order):
    """70 and 130 columns are more than a block of lanes, and no multiple of it."""
    ours, numpys = KINDS[kind]
    x = X("x")
    f = symgraph.function([x], ours(x.dimshuffle(*order), axis=axis))
    data = np.random.default_rng(1).uniform(0.9, 1.1, (5, 70, 130)).astype("f4")
    want = numpys(data.transpose(order).astype("f8"), axis=axis)
    np.testing.assert_allclose(f(data), want, rtol=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_positions_are_those_of_numpy(axis):
    """The first of several maxima; the first NaN, if there is one; -0 equals 0."""
    x = X("x")
    f = symgraph.function([x], [T.argmax(x, axis=axis), T.argmin(x, axis=axis)])
    rng = np.random.default_rng(2)
    data = rng.integers(-3, 4, (7, 70, 9)).astype("f4")
    data *= rng.choice(np.float32([1, -1]), data.shape)
    for array in (data, np.where(rng.random(data.shape) < 0.02, np.float32(np.nan), data)):
        for got, want in zip(
            f(array), (np.argmax(array, axis), np.argmin(array, axis)), strict=True
        ):
            np.testing.assert_array_equal(got, want)


def test_positions_of_bools_and_integers():
    for dtype in ("bool", "int8", "uint64"):
        x = T.TensorType(dtype, (False, False))("x")
        f = symgraph.function([x], T.argmax(T.cast(x, "int64") if dtype == "bool" else x, axis=1))
        data = np.random.default_rng(3).integers(0, 2, (5, 40)).astype(dtype)
        np.testing.assert_array_equal(f(data), np.argmax(data, axis=1))


def test_the_position_of_a_costly_value_computes_it_once():
    x = T.fmatrix("x")
    (source,) = sources(symgraph.function([x], T.argmax(T.tanh(x), axis=1)))
    assert source.count("tanh(") == 1


def test_a_variance_along_the_outer_axis_walks_blocks_of_columns():
    x = T.fmatrix("x")
    (source,) = sources(symgraph.function([x], T.var(x, axis=0)))
    assert "acc0[" in source
    assert "acc1[" in source


def test_a_softmax_computes_each_exponential_once():
    x, y = T.fmatrix("x"), T.lvector("y")
    cost = -T.mean(T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y])
    for inputs, output in (([x], T.nnet.softmax(x)), ([x, y], symgraph.grad(cost, x))):
        (source,) = [s for s in sources(symgraph.function(inputs, output)) if "exp(" in s]
        assert source.count("exp(") == 1


def test_a_softmax_may_overwrite_its_argument():
    w = symgraph.shared(np.random.default_rng(4).normal(size=(6, 33)).astype("f4"))
    want = np.exp(w.get_value()) / np.exp(w.get_value()).sum(1, keepdims=True)
    symgraph.function([], [], updates=[(w, T.nnet.softmax(w))])()
    np.testing.assert_allclose(w.get_value(), want, rtol=1e-5)


@pytest.mark.parametrize("reduce", [T.sum, T.max, T.var, T.argmax])
def test_a_reduction_of_a_whole_array_has_many_chunks(reduce):
    x = T.fvector("x")
    f = symgraph.function([x], reduce(x))
    data = np.random.default_rng(5).random(1 << 20).astype("f4")
    f(data)
    steps = f._compiled.program.current.tables[0].steps
    assert any(-(-extent // grain) >= 8 for extent, grain in steps[:, 4:6])


def test_small_reductions_are_one_chunk():
    x = T.fmatrix("x")
    for output in (x.sum(), x.sum(0), x.sum(1), T.nnet.softmax(x), T.argmax(x, axis=1)):
        f = symgraph.function([x], output)
        f(np.ones((20, 10), "f4"))
        steps = f._compiled.program.current.tables[0].steps
        assert all(extent <= grain for extent, grain in steps[:, 4:6])
