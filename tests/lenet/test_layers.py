"""Layers and models: what they draw, name, compute and refuse."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph
from lenet.display import summary
from lenet.errors import RunError
from lenet.layers import HiddenLayer, LeNetConvPoolLayer, LogisticRegression, conv_pool_shape
from lenet.models import build, tutorial
from lenet.options import Options
from symgraph import tensor as T


def test_tutorial_draws_its_weights_in_the_tutorials_order() -> None:
    with symgraph.config.change_flags(floatX="float32"):
        model = build(Options())
    rng = np.random.RandomState(23455)
    expected = {}
    for name, shape, fans in (
        ("layer0.W", (20, 1, 5, 5), 25 + 20 * 25 // 4),
        ("layer1.W", (50, 20, 5, 5), 20 * 25 + 50 * 25 // 4),
        ("layer2.W", (800, 500), 800 + 500),
    ):
        bound = np.sqrt(6.0 / fans)
        expected[name] = rng.uniform(-bound, bound, shape).astype("float32")
    expected["layer3.W"] = np.zeros((500, 10), "float32")
    names = [p.name for p in model.params]
    assert names == [f"layer{i}.{kind}" for i in (3, 2, 1, 0) for kind in "Wb"]
    for p in model.params:
        value = p.get_value()
        assert value.dtype == np.float32
        assert np.array_equal(value, expected.get(p.name, np.zeros(value.shape)))
    assert model.filters.name == "layer0.W"


def test_summary_counts_parameters() -> None:
    model = tutorial(np.random.RandomState(0))
    assert [layer.parameters for layer in model.layers] == [520, 25_050, 400_500, 5_010]
    assert [layer.output_shape for layer in model.layers] == [
        (20, 12, 12),
        (50, 4, 4),
        (500,),
        (10,),
    ]
    assert model.parameters == 431_080 and "431,080" in summary(model)


def test_types() -> None:
    with symgraph.config.change_flags(floatX="float32"):
        model = tutorial(np.random.RandomState(0), nkerns=(2, 3))
        grads = symgraph.grad(model.cost, model.params)
    assert (model.x.dtype, model.y.dtype, model.cost.dtype) == ("float32", "int32", "float32")
    assert [g.type for g in grads] == [p.type for p in model.params]
    assert (model.cost.ndim, model.probabilities.ndim, model.prediction.dtype) == (0, 2, "int64")


def test_hidden_layer_takes_given_parameters() -> None:
    x = T.dmatrix("x")
    W, b = symgraph.shared(np.ones((3, 2))), symgraph.shared(np.array([1.0, -1.0]))
    layer = HiddenLayer(np.random.RandomState(0), x, 3, 2, W=W, b=b, activation=None)
    assert layer.params == [W, b]
    value = layer.output.eval({x: np.arange(6.0).reshape(2, 3)})
    assert np.array_equal(value, [[4.0, 2.0], [13.0, 11.0]])


def test_hidden_layer_draws_four_times_as_wide_for_the_sigmoid() -> None:
    x = T.dmatrix("x")
    one, four = (
        HiddenLayer(np.random.RandomState(0), x, 3, 2, activation=activation).W.get_value()
        for activation in (T.tanh, T.nnet.sigmoid)
    )
    assert np.allclose(four, 4 * one)


def test_logistic_regression() -> None:
    x, y = T.dmatrix("x"), T.ivector("y")
    layer = LogisticRegression(x, 3, 4)
    values, labels = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([0, 1, 3], "int32")
    function = symgraph.function([x, y], [layer.negative_log_likelihood(y), layer.errors(y)])
    cost, errors = function(values, labels)
    assert cost == pytest.approx(np.log(4)) and errors == pytest.approx(2 / 3)  # argmax of ties: 0
    layer.W.set_value(np.eye(3, 4))
    cost, errors = function(values, labels)
    scores = np.exp(values @ np.eye(3, 4))
    share = scores[np.arange(3), labels] / scores.sum(1)
    assert cost == pytest.approx(-np.log(share).mean()) and errors == pytest.approx(1 / 3)


@pytest.mark.parametrize("labels", [T.fvector("y"), T.imatrix("y")], ids=["float", "matrix"])
def test_errors_wants_a_vector_of_integers(labels) -> None:
    with pytest.raises(TypeError, match="expected a vector of integers"):
        LogisticRegression(T.matrix("x"), 3, 4).errors(labels)


def test_conv_pool_shapes() -> None:
    assert conv_pool_shape((None, 1, 28, 28), (20, 1, 5, 5), (2, 2)) == (None, 20, 12, 12)
    assert conv_pool_shape((7, 3, 30, None), (2, 3, 4, 9), (3, 2)) == (7, 2, 9, None)
    layer = LeNetConvPoolLayer(
        np.random.RandomState(0), T.tensor4("x"), (2, 3, 4, 5), (7, 3, 30, 20), (3, 2)
    )
    assert layer.output_shape == (7, 2, 9, 8)


@pytest.mark.parametrize(
    ("image_shape", "filter_shape", "words"),
    [
        ((None, 3, 28, 28), (20, 1, 5, 5), "images of 3 maps and filters for 1"),
        ((None, 1, 5, 5), (20, 1, 5, 5), "got images of 5x5; expected at least 6 pixels"),
        ((1, 28, 28), (20, 1, 5, 5), "expected 4, 4 and 2 sizes"),
    ],
)
def test_shapes_that_do_not_fit(image_shape, filter_shape, words) -> None:
    with pytest.raises(RunError, match=words) as error:
        LeNetConvPoolLayer(np.random.RandomState(0), T.tensor4("x"), filter_shape, image_shape)
    assert "Cure:" in str(error.value)


def test_images_too_small_for_the_model() -> None:
    with pytest.raises(RunError, match="images of 4x4; expected at least 6 pixels"):
        tutorial(np.random.RandomState(0), nkerns=(2, 3), image_size=(12, 12))
