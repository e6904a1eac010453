"""Details of Theano 1.0.5 that ported libraries and tests of their own rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


def test_verify_grad_makes_inputs_of_size_one_broadcastable() -> None:
    rng = np.random.RandomState(0)
    T.verify_grad(lambda x, y: T.tanh(x) * y, [rng.rand(3, 4), rng.rand(1, 4)], rng=rng)
    patterns: list[Any] = []
    T.verify_grad(lambda x: patterns.append(x.broadcastable) or x**2, [rng.rand(1, 3)], rng=rng)
    assert patterns == [(True, False)]


@pytest.mark.parametrize("axes", ["per-activation", "spatial", (1, 2)])
def test_parameters_of_batch_normalization_may_have_all_axes(axes: Any) -> None:
    """They are 1 where it normalises, whether or not their type says so."""
    rng = np.random.RandomState(1)
    x, scale, shift = T.tensor3("x"), T.tensor3("scale"), T.tensor3("shift")
    over = {"per-activation": (0,), "spatial": (0, 2)}.get(axes, axes)
    data = rng.rand(4, 3, 5)
    shape = [1 if a in over else n for a, n in enumerate(data.shape)]
    factor, offset = rng.rand(*shape), rng.rand(*shape)
    out, mean, _ = T.nnet.bn.batch_normalization_train(x, scale, shift, axes)
    got, centre = symgraph.function([x, scale, shift], [out, mean])(data, factor, offset)
    np.testing.assert_allclose(centre, data.mean(over, keepdims=True))
    spread = np.sqrt(data.var(over, keepdims=True) + 1e-4)
    np.testing.assert_allclose(got, (data - centre) / spread * factor + offset)
    with pytest.raises(ValueError, match="size"):
        symgraph.function([x, scale, shift], out)(data, data, offset)


@pytest.mark.parametrize("axis", [np.array(1), np.array([1]), [np.int8(-1)], T.constant(1)])
def test_axes_of_reductions_as_arrays(axis: Any) -> None:
    m = T.dmatrix("m")
    data = np.arange(6.0).reshape(2, 3)
    for reduce, expected in [(T.sum, data.sum(1)), (T.max, data.max(1)), (T.var, data.var(1))]:
        np.testing.assert_allclose(reduce(m, axis=axis).eval({m: data}), expected)


def test_a_constant_vector_declares_the_shapes_of_the_old_conv2d() -> None:
    images, filters = T.tensor4("images"), T.tensor4("filters")
    declared = T.constant(np.array([3, 2, 7, 5]))
    out = T.nnet.conv.conv2d(images, filters, image_shape=declared)
    f = symgraph.function([images, filters], out)
    assert f(np.ones((3, 2, 7, 5)), np.ones((4, 2, 2, 2))).shape == (3, 4, 6, 4)
    with pytest.raises(ValueError, match="7"):
        f(np.ones((3, 2, 8, 5)), np.ones((4, 2, 2, 2)))


def test_types_compare_values() -> None:
    kind = T.dvector
    nan = np.array([np.nan, 1.0])
    assert kind.values_eq(nan, nan.copy())
    assert not kind.values_eq(nan, nan + 1e-9)
    assert not kind.values_eq(nan, nan.astype("float32"))
    assert not kind.values_eq(nan, nan[:1])
    assert kind.values_eq(np.arange(3), np.arange(3))
    assert kind.values_eq_approx(nan, nan + 1e-9)
    assert not kind.values_eq_approx(nan, nan + 1e-3)
    assert kind.values_eq_approx(nan, nan + 1e-3, atol=1e-2)
    assert not kind.values_eq_approx(nan, nan.astype("float32"))
    assert not kind.values_eq_approx(np.arange(3), np.arange(1, 4))


def test_containers_show_the_value_as_theano_keeps_it() -> None:
    w = symgraph.shared(np.ones(2), borrow=True)
    assert w.container.storage[0] is w.get_value(borrow=True)
