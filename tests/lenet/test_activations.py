"""Activations and penalties: their values, slopes and types."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph
from lenet.activations import ACTIVATIONS, activation, elu, leaky_relu, linear, relu, scaled_tanh
from lenet.errors import RunError
from lenet.penalties import l1, l2
from symgraph import tensor as T

EXPECTED = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "scaled_tanh": lambda x: 1.7159 * np.tanh(2 * x / 3),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
}


def test_the_names() -> None:
    assert list(ACTIVATIONS) == list(EXPECTED)
    assert activation("relu") is relu and activation(T.tanh) is T.tanh
    assert ACTIVATIONS["linear"] is linear and ACTIVATIONS["sigmoid"] is T.nnet.sigmoid


@pytest.mark.parametrize("name", ["swish", "", "Tanh", "maxout"])
def test_unknown_names(name) -> None:
    with pytest.raises(RunError, match=r"expected one of linear, tanh, .*Cure: use one"):
        activation(name)


@pytest.mark.parametrize("name", EXPECTED)
def test_values_and_slopes(name) -> None:
    x = T.dmatrix("x")
    values = np.array([[-3.0, -0.7, -1e-3], [1e-3, 0.4, 5.0]])
    got = symgraph.function([x], activation(name)(x))(values)
    assert np.allclose(got, EXPECTED[name](values), rtol=1e-12, atol=0)
    symgraph.gradient.verify_grad(
        activation(name), [values], rng=np.random.RandomState(0), eps=1e-7
    )


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("floatX", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_stay(name, floatX, dtype) -> None:
    with symgraph.config.change_flags(floatX=floatX):
        x = T.TensorType(dtype, (False, True))("x")
        y = activation(name)(x)
        assert y.type == x.type
        assert symgraph.grad(y.sum(), x).type == x.type


def test_integers_give_floats() -> None:
    x = T.ivector("x")
    for one in (scaled_tanh, leaky_relu, elu):
        got = symgraph.function([x], one(x))(np.array([-2, 3], "int32"))
        assert got.dtype.kind == "f"
        assert np.allclose(got, EXPECTED[one.__name__](np.array([-2.0, 3.0])))


def test_the_slope_of_a_relu_at_0_is_pytorchs() -> None:
    x = T.dvector("x")
    zero = np.array([0.0, -0.0])
    slopes = [
        symgraph.function([x], symgraph.grad(f(x).sum(), x))(zero) for f in (relu, leaky_relu)
    ]
    assert np.array_equal(slopes, [[0, 0], [0.01, 0.01]])


@pytest.mark.parametrize("name", EXPECTED)
def test_nan_is_not_hidden(name) -> None:
    x = T.dvector("x")
    assert np.isnan(symgraph.function([x], activation(name)(x))(np.array([np.nan]))).all()


def test_lecuns_tanh_keeps_1() -> None:
    x = T.dvector("x")
    ends = symgraph.function([x], scaled_tanh(x))(np.array([-1.0, 1.0, 100.0]))
    assert np.allclose(ends, [-1, 1, 1.7159], atol=1e-4)


def test_penalties() -> None:
    w = symgraph.shared(np.array([[1.0, -2.0], [0.0, 3.0]]))
    b = symgraph.shared(np.array([-0.5]))
    assert float(l1([w, b]).eval()) == 6.5 and float(l2([w, b]).eval()) == 14.25
    gradient = symgraph.function([], symgraph.grad(l1([w]) + l2([w]), w))()
    assert np.array_equal(gradient, np.sign(w.get_value()) + 2 * w.get_value())
    v = symgraph.shared(np.ones((2, 2), "float32"))
    assert l1([v]).dtype == l2([v]).dtype == "float32" and l1([v]).ndim == 0


@pytest.mark.parametrize("penalty", [l1, l2])
def test_a_penalty_on_nothing(penalty) -> None:
    with pytest.raises(RunError, match="got no parameters"):
        penalty([])
