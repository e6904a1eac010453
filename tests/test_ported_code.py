"""Three generations of LeNet code, each in the style of its time, with the import line changed.

A book of 2014 (Theano 0.6: `nnet.conv`, `downsample`), short tutorials of 2015 (full convolutions,
partial pooling windows, RMSprop by hand), and the Deep Learning Tutorials before and after pooling
moved to `signal.pool`. Each trains on the shipped digits; where two say the same, results agree.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from lenet import data
from symgraph.tensor.nnet import conv, conv2d
from symgraph.tensor.signal import downsample, pool

SIZE, BATCH, MAPS, STEPS = 14, 20, 3, 6
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def floats() -> Iterator[None]:
    with symgraph.config.change_flags(floatX="float32"):
        yield


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """100 digits at half their size, in rows of float32 from 0 to 1, and their labels."""
    images, labels = data.load(source="sample").train
    small = images[:100].reshape(-1, SIZE, 2, SIZE, 2).mean(axis=(2, 4)) / 255
    return small.reshape(-1, SIZE**2).astype("float32"), labels[:100]


@pytest.fixture
def start() -> list[np.ndarray]:
    """Filters, weights and biases that all generations begin with."""
    rng = np.random.RandomState(23455)
    flat = MAPS * ((SIZE - 4) // 2) ** 2
    shapes = (MAPS, 1, 5, 5), (flat, 10)
    values = [rng.uniform(-0.3, 0.3, shape).astype("float32") for shape in shapes]
    return [values[0], np.zeros(MAPS, "float32"), values[1], np.zeros(10, "float32")]


# ---- the book: classes, givens by minibatch, rectified units, L2 over all layers -----------------


def ReLU(z: Any) -> Any:
    return T.maximum(0.0, z)


class ConvPoolLayer:
    def __init__(
        self,
        filter_shape: Any,
        image_shape: Any,
        w: np.ndarray,
        b: np.ndarray,
        activation_fn: Callable[[Any], Any],
        poolsize: tuple[int, int] = (2, 2),
    ) -> None:
        self.filter_shape, self.image_shape = filter_shape, image_shape
        self.poolsize, self.activation_fn = poolsize, activation_fn
        self.w = symgraph.shared(np.asarray(w, dtype=symgraph.config.floatX), borrow=True)
        self.b = symgraph.shared(np.asarray(b, dtype=symgraph.config.floatX), borrow=True)
        self.params = [self.w, self.b]

    def set_inpt(self, inpt: Any, mini_batch_size: int) -> None:
        self.inpt = inpt.reshape(self.image_shape)
        conv_out = conv.conv2d(
            input=self.inpt, filters=self.w, filter_shape=self.filter_shape,
            image_shape=self.image_shape,
        )  # fmt: skip
        pooled_out = downsample.max_pool_2d(input=conv_out, ds=self.poolsize, ignore_border=True)
        self.output = self.activation_fn(pooled_out + self.b.dimshuffle("x", 0, "x", "x"))


class SoftmaxLayer:
    def __init__(self, n_in: int, w: np.ndarray, b: np.ndarray) -> None:
        self.n_in = n_in
        self.w = symgraph.shared(w, name="w", borrow=True)
        self.b = symgraph.shared(b, name="b", borrow=True)
        self.params = [self.w, self.b]

    def set_inpt(self, inpt: Any, mini_batch_size: int) -> None:
        self.inpt = inpt.reshape((mini_batch_size, self.n_in))
        self.output = T.nnet.softmax(T.dot(self.inpt, self.w) + self.b)
        self.y_out = T.argmax(self.output, axis=1)

    def cost(self, y: Any) -> Any:
        return -T.mean(T.log(self.output)[T.arange(y.shape[0]), y])

    def accuracy(self, y: Any) -> Any:
        return T.mean(T.eq(y, self.y_out))


def book_network(
    digits: Arrays, start: list[np.ndarray], lmbda: float
) -> tuple[Any, Any, list[Any]]:
    """Functions of the minibatch's index: one that trains, one that measures; the parameters."""
    training_x = symgraph.shared(np.asarray(digits[0], dtype=symgraph.config.floatX), borrow=True)
    training_y = T.cast(symgraph.shared(digits[1].astype("float32"), borrow=True), "int32")
    x, y, i = T.matrix("x"), T.ivector("y"), T.lscalar()

    layers: list[Any] = [
        ConvPoolLayer((MAPS, 1, 5, 5), (BATCH, 1, SIZE, SIZE), start[0], start[1], ReLU),
        SoftmaxLayer(len(start[2]), start[2], start[3]),
    ]
    inpt = x
    for layer in layers:
        layer.set_inpt(inpt, BATCH)
        inpt = layer.output
    params = [param for layer in layers for param in layer.params]

    l2_norm_squared = sum([(layer.w**2).sum() for layer in layers])
    cost = layers[-1].cost(y) + 0.5 * lmbda * l2_norm_squared / 5
    grads = T.grad(cost, params)
    updates = [(param, param - 0.1 * grad) for param, grad in zip(params, grads, strict=True)]
    givens = {
        x: training_x[i * BATCH : (i + 1) * BATCH],
        y: training_y[i * BATCH : (i + 1) * BATCH],
    }
    train_mb = symgraph.function([i], cost, updates=updates, givens=givens)
    accuracy = symgraph.function([i], layers[-1].accuracy(y), givens=givens)
    return train_mb, accuracy, params


def test_the_book(digits: Arrays, start: list[np.ndarray]) -> None:
    train_mb, accuracy, params = book_network(digits, start, lmbda=0.1)
    costs = [float(train_mb(0)) for _ in range(STEPS)]
    assert all(later < earlier for earlier, later in itertools.pairwise(costs)), costs
    assert accuracy(0).dtype == "float64" and 0 <= accuracy(0) <= 1
    assert [p.get_value().dtype.name for p in params] == ["float32"] * 4
    with pytest.raises(ValueError):  # the declared size of a batch holds
        train_mb(len(digits[0]) // BATCH)


# ---- the Deep Learning Tutorials: before and after signal.pool -----------------------------------


def pooled_by_downsample(out: Any) -> Any:
    return downsample.max_pool_2d(input=out, ds=(2, 2), ignore_border=True)


def pooled_by_ds(out: Any) -> Any:
    return pool.pool_2d(input=out, ds=(2, 2), ignore_border=True)


def pooled_by_ws(out: Any) -> Any:
    return pool.pool_2d(input=out, ws=(2, 2), ignore_border=True)


def tutorial_network(
    digits: Arrays, start: list[np.ndarray], pooled: Callable[[Any], Any]
) -> tuple[Any, Any, list[Any]]:
    def shared_dataset(data_xy: Arrays, borrow: bool = True) -> tuple[Any, Any]:
        data_x, data_y = data_xy
        shared_x = symgraph.shared(np.asarray(data_x, dtype=symgraph.config.floatX), borrow=borrow)
        shared_y = symgraph.shared(np.asarray(data_y, dtype=symgraph.config.floatX), borrow=borrow)
        return shared_x, T.cast(shared_y, "int32")

    train_set_x, train_set_y = shared_dataset(digits)
    assert train_set_x.get_value(borrow=True).shape[0] // BATCH == 5
    index, x, y = T.lscalar(), T.matrix("x"), T.ivector("y")
    filters, bias, weights, offsets = (symgraph.shared(v, borrow=False) for v in start)

    layer0_input = x.reshape((BATCH, 1, SIZE, SIZE))
    conv_out = conv2d(
        input=layer0_input, filters=filters, filter_shape=(MAPS, 1, 5, 5),
        input_shape=(BATCH, 1, SIZE, SIZE),
    )  # fmt: skip
    layer0_output = ReLU(pooled(conv_out) + bias.dimshuffle("x", 0, "x", "x"))
    p_y_given_x = T.nnet.softmax(T.dot(layer0_output.flatten(2), weights) + offsets)
    y_pred = T.argmax(p_y_given_x, axis=1)
    if y.ndim != y_pred.ndim or not y.dtype.startswith("int"):
        raise TypeError("y should have the same shape as y_pred")
    cost = -T.mean(T.log(p_y_given_x)[T.arange(y.shape[0]), y])

    params = [filters, bias, weights, offsets]
    updates = [
        (p_i, p_i - 0.1 * g_i) for p_i, g_i in zip(params, T.grad(cost, params), strict=True)
    ]
    givens = {
        x: train_set_x[index * BATCH : (index + 1) * BATCH],
        y: train_set_y[index * BATCH : (index + 1) * BATCH],
    }
    train_model = symgraph.function([index], cost, updates=updates, givens=givens)
    test_model = symgraph.function([index], T.mean(T.neq(y_pred, y)), givens=givens)
    return train_model, test_model, params


@pytest.mark.parametrize("pooled", [pooled_by_downsample, pooled_by_ds, pooled_by_ws])
def test_the_tutorials(
    digits: Arrays, start: list[np.ndarray], pooled: Callable[[Any], Any]
) -> None:
    """The same network as the book's without its L2, so the same numbers."""
    train_model, test_model, params = tutorial_network(digits, start, pooled)
    train_mb, accuracy, expected = book_network(digits, start, lmbda=0.0)
    before = float(test_model(1))
    assert before == pytest.approx(1 - float(accuracy(1)))
    costs = [float(train_model(k % 2)) for k in range(STEPS)]
    assert costs == pytest.approx([float(train_mb(k % 2)) for k in range(STEPS)], rel=1e-4)
    assert costs[-1] < costs[1] < 2.6
    for ours, theirs in zip(params, expected, strict=True):
        np.testing.assert_allclose(ours.get_value(), theirs.get_value(), rtol=1e-3, atol=1e-5)


# ---- short tutorials: functions, full convolutions, a softmax and RMSprop by hand ----------------


def floatX(X: Any) -> np.ndarray:
    return np.asarray(X, dtype=symgraph.config.floatX)


def rectify(X: Any) -> Any:
    return T.maximum(X, 0.0)


def softmax(X: Any) -> Any:
    e_x = T.exp(X - X.max(axis=1).dimshuffle(0, "x"))
    return e_x / e_x.sum(axis=1).dimshuffle(0, "x")


def RMSprop(
    cost: Any, params: list[Any], lr: float = 0.002, rho: float = 0.9, epsilon: float = 1e-6
) -> list[tuple[Any, Any]]:
    grads = T.grad(cost=cost, wrt=params)
    updates = []
    for p, g in zip(params, grads, strict=True):
        acc = symgraph.shared(p.get_value() * 0.0)
        acc_new = rho * acc + (1 - rho) * g**2
        gradient_scaling = T.sqrt(acc_new + epsilon)
        g = g / gradient_scaling
        updates.append((acc, acc_new))
        updates.append((p, p - lr * g))
    return updates


def model(X: Any, w: Any, w2: Any) -> tuple[Any, Any]:
    l1 = downsample.max_pool_2d(rectify(conv2d(X, w, border_mode="full")), (2, 2))
    return T.flatten(l1, outdim=2), softmax(T.dot(T.flatten(l1, outdim=2), w2))


@pytest.mark.filterwarnings("ignore:flatten. outdim:DeprecationWarning")
def test_the_short_tutorials(digits: Arrays) -> None:
    rng = np.random.RandomState(0)
    trX, trY = digits[0].reshape(-1, 1, SIZE, SIZE), np.eye(10)[digits[1]]
    X, Y = T.ftensor4(), T.fmatrix()
    pooled = (SIZE + 4 - 1 + 1) // 2  # of a full convolution by 4, the last window partial
    w = symgraph.shared(floatX(rng.randn(MAPS, 1, 4, 4) * 0.3))
    w2 = symgraph.shared(floatX(rng.randn(MAPS * pooled**2, 10) * 0.05))
    features, py_x = model(X, w, w2)
    y_x = T.argmax(py_x, axis=1)
    cost = T.mean(T.nnet.categorical_crossentropy(py_x, Y))
    train = symgraph.function(
        inputs=[X, Y],
        outputs=cost,
        updates=RMSprop(cost, [w, w2], lr=0.005),
        allow_input_downcast=True,
    )
    predict = symgraph.function(
        inputs=[X], outputs=[y_x, py_x, features], allow_input_downcast=True
    )

    expected = by_hand(trX[:5], w.get_value())
    labels, probabilities, found = predict(trX[:5].astype("float64"))  # cast to float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    scores = np.exp(expected @ w2.get_value().astype("float64"))
    np.testing.assert_allclose(probabilities, scores / scores.sum(1, keepdims=True), rtol=1e-4)
    assert labels.dtype == "int64" and np.array_equal(labels, probabilities.argmax(1))

    costs = [float(train(trX[:BATCH], trY[:BATCH])) for _ in range(STEPS)]
    assert all(later < earlier for earlier, later in itertools.pairwise(costs)), costs
    assert np.mean(predict(trX[:BATCH])[0] == digits[1][:BATCH]) > 0.5


def by_hand(images: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The features of `model` in float64: full convolution, rectified, pooled to the very edge."""
    reach = w.shape[-1] - 1
    wide = np.pad(images.astype("float64"), [(0, 0), (0, 0), (reach, reach), (reach, reach)])
    windows = np.lib.stride_tricks.sliding_window_view(wide, w.shape[2:], axis=(2, 3))
    out = np.einsum("nchwij,ocij->nohw", windows, w[:, :, ::-1, ::-1].astype("float64"))
    out = np.maximum(out, 0)
    odd = [(0, size % 2) for size in out.shape[2:]]
    out = np.pad(out, [(0, 0), (0, 0), *odd])  # zeros lose against rectified values
    n, c, h, v = out.shape
    return out.reshape(n, c, h // 2, 2, v // 2, 2).max((3, 5)).reshape(n, -1)
