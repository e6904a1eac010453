"""Three libraries written for Theano, in tests/ported, with `import theano` meaning symgraph.

A book's layers (convolution, dropout by shared random streams), short tutorials in six steps
(partial pooling windows, RMSprop by hand), and layers in the manner of Lasagne.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from lenet import data
from tests.under_alias import modules_of

FOLDER = Path(__file__).with_name("ported")
Library = Callable[[str], Any]
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with modules_of(FOLDER) as library:
        yield library


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """200 digits as float32 rows from 0 to 1, and their labels."""
    images, labels = data.load(source="sample").train
    return (images[:200].reshape(-1, 784) / 255).astype("float32"), labels[:200]


# ---- the book's network3 -------------------------------------------------------------------------


def test_network3(library: Library, digits: Arrays) -> None:
    book = library("network3")
    np.random.seed(0)
    layers = [
        book.ConvPoolLayer((4, 1, 5, 5), (10, 1, 28, 28), (2, 2), book.ReLU),
        book.ConvPoolLayer((6, 4, 5, 5), (10, 4, 12, 12), (2, 2), book.ReLU),
        book.FullyConnectedLayer(6 * 4 * 4, 30, book.ReLU, p_dropout=0.2),
        book.SoftmaxLayer(30, 10, p_dropout=0.2),
    ]
    net = book.Network(layers, mini_batch_size=10)
    training, test = book.shared(digits), book.shared([part[:50] for part in digits])
    costs, accuracy = net.SGD(training, 18, 0.03, test, lmbda=0.1)
    assert costs[-1] < 0.6 * costs[0]
    assert accuracy > 0.7
    assert net.test_mb_predictions(0).shape == (10,)
    assert all(p.get_value().dtype == "float32" for p in net.params)


def test_a_dense_layer_of_the_book(library: Library, digits: Arrays) -> None:
    """What is trained drops out other units at each call; what judges is scaled and certain."""
    book = library("network3")
    np.random.seed(0)
    dense = book.FullyConnectedLayer(784, 20, book.linear, p_dropout=0.5)
    net = book.Network([dense], mini_batch_size=10)
    f = symgraph.function([net.x], [net.output, net.output_dropout])
    x = digits[0][:10]
    (quiet, noisy), (again, other) = f(x), f(x)
    w, b = (p.get_value() for p in net.params)
    np.testing.assert_allclose(quiet, 0.5 * x @ w + b, rtol=1e-4, atol=1e-5)
    assert np.array_equal(quiet, again) and not np.array_equal(noisy, other)


# ---- the short tutorials, 0 to 5 -----------------------------------------------------------------


def test_newmu_0_multiply(library: Library) -> None:
    multiply = library("newmu").multiply()
    assert (multiply(1, 2), multiply(3, 3)) == (2.0, 9.0)


def test_newmu_1_linear_regression(library: Library) -> None:
    trX = np.linspace(-1, 1, 101)
    trY = 2 * trX + np.random.RandomState(0).randn(*trX.shape) * 0.33
    slope = library("newmu").linear_regression(trX, trY, epochs=30)
    assert slope == pytest.approx((trX @ trY) / (trX @ trX), abs=0.05)


@pytest.mark.parametrize(
    ("name", "arguments", "epochs", "share"),
    [
        ("logistic_regression", (784, 10), 20, 0.8),
        ("net", (784, 40, 10), 80, 0.5),
        ("modern_net", (784, 60, 10), 40, 0.6),
    ],
)
def test_newmu_2_to_4(
    library: Library, digits: Arrays, name: str, arguments: Any, epochs: int, share: float
) -> None:
    train, predict = getattr(library("newmu"), name)(*arguments)
    x, y = digits[0].astype("float64"), np.eye(10)[digits[1]]  # cast to float32 by the function
    costs = [
        np.mean([train(x[i : i + 20], y[i : i + 20]) for i in range(0, 200, 20)])
        for _ in range(epochs)
    ]
    assert costs[-1] < costs[0]
    assert np.mean(predict(x) == digits[1]) > share


def test_newmu_5_conv_net(library: Library, digits: Arrays) -> None:
    train, predict, pooled = library("newmu").conv_net((4, 6, 8), 40, 10)
    x, y = digits[0].reshape(-1, 1, 28, 28), np.eye(10)[digits[1]]
    # A full convolution by 3 makes 30 of 28; windows at the border are pooled as far as they go.
    assert [out.shape[2:] for out in pooled(x[:2])[:2]] == [(15, 15), (7, 7)]
    assert pooled(x[:2])[2].shape == (2, 8 * 3 * 3)
    costs = [
        np.mean([train(x[i : i + 20], y[i : i + 20]) for i in range(0, 200, 20)]) for _ in range(40)
    ]
    assert costs[-1] < 0.8 * costs[0]
    assert np.mean(predict(x) == digits[1]) > 0.5


# ---- layers in the manner of Lasagne -------------------------------------------------------------


def network(layers: Any, stack: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The input and the top of a network for digits: `stack` of the images, then a softmax."""
    import theano.tensor as T

    images = layers.InputLayer((None, 1, 28, 28))
    top = layers.DenseLayer(stack(images), 10, nonlinearity=T.nnet.softmax)
    return images, top


def trained(library: Library, layers: Any, images: Any, top: Any, digits: Arrays, steps: int,
            update: str = "adam", **options: Any) -> tuple[list[float], float]:  # fmt: skip
    """Costs of `steps` steps on the first 50 digits, and the share of these that is right then."""
    import theano
    import theano.tensor as T

    training = library("training")
    y = T.ivector("y")
    prediction = layers.get_output(top)
    loss = training.categorical_crossentropy(prediction, y).mean()
    loss += 1e-4 * training.l2(layers.get_all_params(top, "regularizable"))
    params = layers.get_all_params(top, "trainable")
    updates = getattr(training, update)(loss, params, **options)
    train = theano.function([images.input_var, y], loss, updates=updates)
    certain = layers.get_output(top, deterministic=True)
    accuracy = theano.function(
        [images.input_var, y],
        T.mean(T.eq(T.argmax(certain, axis=1), y), dtype=theano.config.floatX),
    )
    x, labels = digits[0][:50].reshape(-1, *images.shape[1:]), digits[1][:50]
    costs = [float(train(x, labels)) for _ in range(steps)]
    return costs, float(accuracy(x, labels))


def test_dense_and_dropout(library: Library, digits: Arrays) -> None:
    layers = library("layers")
    images, top = network(
        layers, lambda i: layers.DropoutLayer(layers.DenseLayer(layers.DropoutLayer(i, 0.2), 60))
    )
    costs, right = trained(library, layers, images, top, digits, 60, "adam", learning_rate=0.005)
    assert costs[-1] < 0.5 * costs[0] and right > 0.9


def test_convolution_pooling_batch_normalisation(library: Library, digits: Arrays) -> None:
    layers = library("layers")

    def stack(images: Any) -> Any:
        conv = layers.Conv2DLayer(images, 6, (3, 3), stride=(2, 2))
        normal = layers.BatchNormLayer(layers.DropoutLayer(conv, 0.1, shared_axes=(2, 3)))
        pooled = layers.Pool2DLayer(normal, (3, 3), stride=(2, 2), pad=(1, 1))
        grouped = layers.Conv2DLayer(pooled, 6, (3, 3), num_groups=2, flip_filters=False)
        both = layers.ElemwiseSumLayer([pooled, grouped])
        assert both.output_shape == (None, 6, 7, 7)
        return layers.BatchNormLayer(both)

    images, top = network(layers, stack)
    costs, right = trained(library, layers, images, top, digits, 40, "adam", learning_rate=0.01)
    assert costs[-1] < 0.3 * costs[0]
    # Running averages were updated: deterministic output is right as well.
    assert right > 0.9
    mean = next(p for p in layers.get_all_params(top) if p.name == "mean")
    assert mean.get_value().any()


def test_the_running_average(library: Library) -> None:
    """One step moves it by alpha, in functions that do not leave out default updates."""
    import theano

    layers = library("layers")
    images = layers.InputLayer((None, 3))
    normal = layers.BatchNormLayer(images, alpha=0.25)
    f = theano.function([images.input_var], layers.get_output(normal))
    x = np.random.RandomState(0).rand(8, 3).astype("float32")
    out = f(x)
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-2)
    np.testing.assert_allclose(normal.mean.get_value(), 0.25 * x.mean(0), rtol=1e-4)
    deterministic = theano.function(
        [images.input_var], layers.get_output(normal, deterministic=True)
    )
    before = normal.mean.get_value()
    inv_std = normal.inv_std.get_value()
    np.testing.assert_allclose(deterministic(x), (x - before) * inv_std, rtol=1e-4, atol=1e-5)
    assert np.array_equal(before, normal.mean.get_value())


def test_transposed_convolution(library: Library, digits: Arrays) -> None:
    """An auto-encoder that makes images small by a convolution, and large by a transposed one."""
    import theano
    import theano.tensor as T

    layers, training = library("layers"), library("training")
    images = layers.InputLayer((None, 1, 28, 28))
    small = layers.Conv2DLayer(images, 8, (4, 4), stride=(2, 2), pad=0, nonlinearity=T.tanh)
    large = layers.TransposedConv2DLayer(
        small, 1, (4, 4), stride=(2, 2), nonlinearity=T.nnet.sigmoid
    )
    assert small.output_shape == (None, 8, 13, 13) and large.output_shape == (None, 1, 28, 28)
    x = images.input_var
    loss = T.nnet.binary_crossentropy(layers.get_output(large), x).mean()
    updates = training.adam(loss, layers.get_all_params(large), learning_rate=0.05)
    train = theano.function([x], loss, updates=updates)
    pictures = digits[0][:20].reshape(-1, 1, 28, 28)
    costs = [float(train(pictures)) for _ in range(40)]
    assert costs[-1] < 0.3 * costs[0]


def test_nesterov_and_clipped_gradients(library: Library, digits: Arrays) -> None:
    import theano
    import theano.tensor as T

    layers, training = library("layers"), library("training")
    images, top = network(layers, layers.GlobalPoolLayer)
    loss = T.mean(
        training.categorical_crossentropy(layers.get_output(top), training.one_hot(T.arange(2), 10))
    )
    params = layers.get_all_params(top)
    grads = training.total_norm_constraint(T.grad(loss, params), 1e-3)
    norm = theano.function([images.input_var], T.sqrt(sum(T.sum(g**2) for g in grads)))
    assert norm(digits[0][:2].reshape(-1, 1, 28, 28)) == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(ValueError, match="only shared variables"):
        training.adam(loss, [images.input_var])

    images, top = network(layers, lambda i: layers.DenseLayer(i, 40, nonlinearity=T.tanh))
    costs, right = trained(
        library, layers, images, top, digits, 40, "nesterov_momentum", learning_rate=0.05
    )
    assert costs[-1] < 0.3 * costs[0] and right > 0.9


@pytest.mark.parametrize("kind", ["RecurrentLayer", "LSTMLayer", "GRULayer"])
@pytest.mark.parametrize("backwards", [False, True])
def test_recurrent_layers(library: Library, digits: Arrays, kind: str, backwards: bool) -> None:
    """Digits read row by row, gradients clipped at each step."""
    import theano.tensor as T

    layers, recurrent = library("layers"), library("recurrent")
    images = layers.InputLayer((None, 28, 28))
    states = getattr(recurrent, kind)(
        images, 24, grad_clip=0.5, backwards=backwards, last=True
    )  # fmt: skip
    top = layers.DenseLayer(states, 10, nonlinearity=T.nnet.softmax)
    costs, right = trained(library, layers, images, top, digits, 60, "adam", learning_rate=0.01)
    assert costs[-1] < 0.5 * costs[0] and right > 0.6


@pytest.mark.parametrize("kind", ["RecurrentLayer", "LSTMLayer", "GRULayer"])
def test_masks_hold_the_state(library: Library, kind: str) -> None:
    import theano

    layers, recurrent = library("layers"), library("recurrent")
    sequence, mask = layers.InputLayer((None, None, 5)), layers.InputLayer((None, None))
    states = getattr(recurrent, kind)([sequence, mask], 4, grad_clip=1.0)
    f = theano.function([sequence.input_var, mask.input_var], layers.get_output(states))
    x = np.random.RandomState(0).randn(3, 6, 5).astype("float32")
    m = np.ones((3, 6), "float32")
    m[1, 2:] = 0
    out, whole = f(x, m), f(x, np.ones_like(m))
    assert out.shape == (3, 6, 4)
    np.testing.assert_array_equal(out[[0, 2]], whole[[0, 2]])
    np.testing.assert_array_equal(out[1, 2:], np.broadcast_to(whole[1, 1], (4, 4)))


def test_grad_clip_bounds_what_flows_back(library: Library) -> None:
    """With a bound of almost nothing, almost nothing reaches the weights of the loop."""
    import theano
    import theano.tensor as T

    layers, recurrent = library("layers"), library("recurrent")
    x = np.random.RandomState(0).randn(2, 5, 3).astype("float32")
    norms = {}
    for bound in (0.0, 1e-6):
        sequence = layers.InputLayer((None, 5, 3))
        states = recurrent.GRULayer(sequence, 4, grad_clip=bound, last=True)
        cost = T.sum(layers.get_output(states) ** 2)
        gradient = theano.function([sequence.input_var], T.grad(cost, states.W_hid))
        norms[bound] = np.abs(gradient(x)).max()
    assert norms[0.0] > 1e-4 > 1e-5 > norms[1e-6] > 0


# Costs that Theano 1.0.5 gave for the same code: gradients clipped, dropout drawn, in float64.
OF_THEANO = {
    "RecurrentLayer": [2.3051540700088764, 2.299157114870779, 2.293570126437647],
    "LSTMLayer": [2.301494393012259, 2.2956378208499846, 2.2892883968474624],
    "GRULayer": [2.302818797588661, 2.2951860422260006, 2.287697067002794],
    "BatchNormLayer": [2.8426948122244027, 1.5885794207671453, 1.1923291103189126],
    "DropoutLayer": [2.307764678136634, 2.2343508350510204, 2.0734119503130644],
}


@pytest.mark.parametrize("kind", OF_THEANO)
def test_the_numbers_are_those_of_theano(library: Library, digits: Arrays, kind: str) -> None:
    import theano.tensor as T

    layers, recurrent = library("layers"), library("recurrent")
    layers.numbers.seed(1)
    with symgraph.config.change_flags(floatX="float64"):
        if hasattr(recurrent, kind):
            images = layers.InputLayer((None, 28, 28))
            states = getattr(recurrent, kind)(images, 6, grad_clip=0.01, last=True)
            top = layers.DenseLayer(states, 10, nonlinearity=T.nnet.softmax)
        else:
            layer = getattr(layers, kind)
            images, top = network(layers, lambda i: layer(layers.DenseLayer(i, 10)))
        costs, _ = trained(library, layers, images, top, digits, 3, "adam", learning_rate=0.01)
    np.testing.assert_allclose(costs, OF_THEANO[kind], rtol=1e-6)
