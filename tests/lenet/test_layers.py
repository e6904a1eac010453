"""Layers: what they draw, compute, count and refuse, against NumPy and finite differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import symgraph
from lenet.errors import RunError
from lenet.layers import (
    Activation,
    Application,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeNetConvPoolLayer,
    Pad,
    Pool2D,
    RadialBasis,
    Rescale,
    Subsampling,
)
from lenet.layers.radial import bitmaps
from symgraph import tensor as T
from symgraph.tensor.random import RandomStreams

IMAGES, ROW = (3, 8, 7), (6,)
TABLE = ((0, 1), (2,), (0, 1, 2), (1, 2))


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with symgraph.config.change_flags(floatX="float64"):
        yield


def built(layer: Layer, shape: tuple[int, ...], seed: int = 0) -> Layer:
    """`layer` for inputs of `shape`, with no parameter left at zero."""
    layer.name = layer.name or "it"
    rng = np.random.RandomState(seed)
    assert layer.build(rng, shape) == layer.output_shape
    for p in layer.params.values():
        if not p.get_value().any():
            p.set_value(rng.uniform(-0.5, 0.5, p.get_value().shape))
    return layer


def some(shape: tuple[int, ...], seed: int = 1, examples: int = 4) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, (examples, *shape))


def output(layer: Layer, values: np.ndarray) -> np.ndarray:
    x = T.TensorType("float64", (False,) * values.ndim)("x")
    found = symgraph.function([x], layer.apply(x, Application()))(values)
    assert found.shape == (len(values), *layer.output_shape) and found.dtype == "float64"
    return found  # type: ignore[no-any-return]


def correlate(x: np.ndarray, w: np.ndarray, stride: tuple[int, int] = (1, 1)) -> np.ndarray:
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    return np.einsum("nchwij,ocij->nohw", windows, w)


# ---- every layer: its gradients ----------------------------------------------------------------

EVERY = [
    Activation("scaled_tanh"),
    Activation("maxout:3"),
    BatchNormalization(activation="tanh"),
    BatchNormalization(epsilon=1e-3, momentum=0.5),
    Conv2D(2, 3, activation="tanh"),
    Conv2D(4, (3, 2), table=TABLE, activation="sigmoid"),
    Conv2D(2, 3, stride=2, padding="same", flip=False),
    Conv2D(2, 3, padding=(1, 2), activation="maxout:2"),
    Conv2D(5, (8, 7), activation="tanh", flip=False),
    Conv2D(5, (8, 7)),
    Dense(5, activation="tanh"),
    Dense(5, activation="maxout"),
    Flatten(),
    LeNetConvPoolLayer(2, 3),
    Pad(2, value=-0.1),
    Pool2D(3, stride=2),
    Pool2D(2, ties="all"),
    Pool2D(2, mode="average"),
    RadialBasis(4),
    Rescale(-0.1, 1.175),
    Subsampling(2),
]


def name_of(layer: Layer) -> str:
    return f"{type(layer).__name__} {layer.kind}"


@pytest.mark.parametrize("layer", EVERY, ids=name_of)
def test_gradients(layer: Layer) -> None:
    built(layer, IMAGES)
    keys = list(layer.params)

    def apply(x: Any, *params: Any) -> Any:
        result = layer.apply(x, Application(training=True))
        given = dict(zip(layer.params.values(), params, strict=True))
        return symgraph.clone_replace([result], given)[0] if given else result

    points = [some(IMAGES), *(layer.params[key].get_value() for key in keys)]
    symgraph.gradient.verify_grad(apply, points, rng=np.random.RandomState(3))


@pytest.mark.parametrize("layer", EVERY, ids=name_of)
def test_parameters_are_named_and_counted(layer: Layer) -> None:
    layer.name = "it"
    with symgraph.config.change_flags(floatX="float32"):
        layer.build(np.random.RandomState(0), IMAGES)
    for key, variable in {**layer.params, **layer.states}.items():
        assert variable.name == f"it.{key}" and variable.dtype == "float32"
    assert layer.parameters == sum(p.get_value().size for p in layer.params.values())
    assert layer.connections >= 0 and layer.flops >= 0 and layer.kind


# ---- convolutions ------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True], ids=["correlation", "convolution"])
@pytest.mark.parametrize("size", [3, (2, 3), (8, 7)], ids=["3", "2x3", "whole"])
def test_convolution(size: Any, flip: bool) -> None:
    layer = built(Conv2D(4, size, flip=flip, activation="tanh"), IMAGES)
    x, (w, b) = some(IMAGES), (p.get_value() for p in layer.params.values())
    expected = np.tanh(correlate(x, w[:, :, ::-1, ::-1] if flip else w) + b[:, None, None])
    np.testing.assert_allclose(output(layer, x), expected, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, (3, 1)], ids=str)
@pytest.mark.parametrize("size", [1, 2, 5, (4, 3)], ids=str)
def test_same_padding_is_that_of_keras(size: Any, stride: Any) -> None:
    layer = built(Conv2D(2, size, stride=stride, padding="same", flip=False), IMAGES)
    (rows, columns), strides = np.broadcast_to(size, 2), tuple(np.broadcast_to(stride, 2))
    assert layer.output_shape == (2, *(-(-n // s) for n, s in zip((8, 7), strides, strict=True)))
    around = []
    for n, k, s in zip((8, 7), (rows, columns), strides, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        around.append((total // 2, total - total // 2))
    x, (w, b) = some(IMAGES), (p.get_value() for p in layer.params.values())
    expected = correlate(np.pad(x, [(0, 0), (0, 0), *around]), w, strides) + b[:, None, None]
    np.testing.assert_allclose(output(layer, x), expected, atol=1e-12)


@pytest.mark.parametrize("padding", [0, "valid", 1, (2, 1)], ids=str)
def test_padding_by_zeros(padding: Any) -> None:
    layer = built(Conv2D(2, 3, stride=2, padding=padding, flip=False), IMAGES)
    rows, columns = np.broadcast_to(0 if padding == "valid" else padding, 2)
    x, (w, b) = some(IMAGES), (p.get_value() for p in layer.params.values())
    padded = np.pad(x, [(0, 0), (0, 0), (rows, rows), (columns, columns)])
    expected = correlate(padded, w, (2, 2)) + b[:, None, None]
    np.testing.assert_allclose(output(layer, x), expected, atol=1e-12)


def test_table_is_a_sum_over_the_connected_maps() -> None:
    layer = built(Conv2D(4, 3, table=TABLE, flip=False), IMAGES)
    w, b = (p.get_value() for p in layer.params.values())
    assert w.shape == (8, 3, 3)
    x, at, maps = some(IMAGES), 0, []
    for row, bias in zip(TABLE, b, strict=True):
        filters = w[at : at + len(row)][None]
        maps.append(correlate(x[:, list(row)], filters) + bias)
        at += len(row)
    np.testing.assert_allclose(output(layer, x), np.concatenate(maps, 1), atol=1e-12)
    assert layer.connections == (8 * 9 + 4) * 6 * 5


def convolutions(layer: Layer) -> int:
    """How many convolutions are computed for its output and its gradient by its input."""
    x = T.tensor4("x")
    y = layer.apply(x, Application())
    function = symgraph.function([x], [y, symgraph.grad(y.sum(), x)])
    nodes = function.maker.fgraph.toposort()
    return sum("Conv2d" in type(node.op).__name__ for node in nodes)


def test_table_is_one_convolution() -> None:
    assert convolutions(built(Conv2D(4, 3, table=TABLE), IMAGES)) == 2


def test_filters_as_large_as_images_are_a_matrix_product() -> None:
    assert convolutions(built(Conv2D(5, (8, 7)), IMAGES)) == 0
    assert convolutions(built(Conv2D(5, (8, 7), padding=1), IMAGES)) == 2


def test_each_map_of_a_table_is_drawn_by_its_own_fan() -> None:
    layer = built(Conv2D(4, 3, table=TABLE, init="lecun1998"), IMAGES)
    w, at = layer.params["W"].get_value(), 0
    for row in TABLE:
        own = np.abs(w[at : at + len(row)])
        assert own.max() <= 2.4 / (9 * len(row)) and own.max() > 1.6 / (9 * len(row))
        at += len(row)


def test_maxout_of_a_table_repeats_its_rows() -> None:
    one, two = Conv2D(4, 3, table=TABLE), Conv2D(4, 3, table=TABLE, activation="maxout:2")
    built(one, IMAGES), built(two, IMAGES)
    assert two.parameters == 2 * one.parameters and two.output_shape == one.output_shape


def test_conv_pool_layer() -> None:
    layer = built(LeNetConvPoolLayer(2, (3, 2), pool=(2, 3)), IMAGES)
    assert layer.output_shape == (2, 3, 2)
    x, (w, b) = some(IMAGES), (p.get_value() for p in layer.params.values())
    maps = correlate(x, w[:, :, ::-1, ::-1])
    pooled = maps.reshape(4, 2, 3, 2, 2, 3).max((3, 5))
    np.testing.assert_allclose(output(layer, x), np.tanh(pooled + b[:, None, None]), atol=1e-12)


@pytest.mark.parametrize("init", ["tutorial", "he_normal", "pytorch", "orthogonal"])
def test_init(init: str) -> None:
    layer = built(Conv2D(2, 3, init=init, name="a"), IMAGES, seed=7)
    again = Conv2D(2, 3, init=init, name="a")
    again.build(np.random.RandomState(7), IMAGES)
    assert np.array_equal(layer.params["W"].get_value(), again.params["W"].get_value())
    assert again.params["b"].get_value().any() == (init == "pytorch")


# ---- pooling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), ((2, 3), (3, 1)), (1, 2)])
def test_pooling(size: Any, stride: Any, mode: str) -> None:
    layer = built(Pool2D(size, stride=stride, mode=mode), IMAGES)
    window = tuple(np.broadcast_to(size, 2))
    down, across = window if stride is None else np.broadcast_to(stride, 2)
    windows = sliding_window_view(some(IMAGES), window, axis=(2, 3))[:, :, ::down, ::across]
    expected = windows.max((4, 5)) if mode == "max" else windows.mean((4, 5))
    np.testing.assert_allclose(output(layer, some(IMAGES)), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shares"),
    [
        (Pool2D(), [[1, 0], [0, 0]]),
        (Pool2D(ties="all"), [[1, 1], [1, 1]]),
        (LeNetConvPoolLayer(1, 1, activation="linear"), [[1, 1], [1, 1]]),
    ],
    ids=["first", "all", "tutorial"],
)
def test_ties(layer: Layer, shares: list[list[int]]) -> None:
    built(layer, (1, 4, 6))
    if layer.params:
        layer.params["W"].set_value(np.ones((1, 1, 1, 1)))
    x = T.dtensor4("x")
    slope = T.grad(layer.apply(x, Application()).sum(), x)
    found = symgraph.function([x], slope)(np.zeros((2, 1, 4, 6)))
    np.testing.assert_array_equal(found, np.tile(shares, (2, 1, 2, 3)))


def test_subsampling() -> None:
    layer = built(Subsampling(2), IMAGES)
    coefficient, b = (p.get_value()[:, None, None] for p in layer.params.values())
    assert np.abs(coefficient).max() <= 2.4 / 4
    sums = some(IMAGES)[:, :, :, :6].reshape(4, 3, 4, 2, 3, 2).sum((3, 5))
    expected = 1.7159 * np.tanh(2 / 3 * (coefficient * sums + b))
    np.testing.assert_allclose(output(layer, some(IMAGES)), expected, atol=1e-12)


# ---- units -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [IMAGES, ROW], ids=["images", "row"])
def test_dense(shape: tuple[int, ...]) -> None:
    layer = built(Dense(5, activation="tanh"), shape)
    w, b = (p.get_value() for p in layer.params.values())
    expected = np.tanh(some(shape).reshape(4, -1) @ w + b)
    np.testing.assert_allclose(output(layer, some(shape)), expected, atol=1e-12)
    assert layer.connections == layer.parameters == w.size + 5


def test_dense_draws_four_times_as_wide_for_the_sigmoid() -> None:
    one, four = (built(Dense(2, activation=name), ROW).params["W"] for name in ("tanh", "sigmoid"))
    np.testing.assert_allclose(four.get_value(), 4 * one.get_value())


@pytest.mark.parametrize("shape", [(6, 5, 4), (6,)], ids=["images", "row"])
@pytest.mark.parametrize("pieces", [2, 3])
def test_maxout(shape: tuple[int, ...], pieces: int) -> None:
    layer = built(Activation(f"maxout:{pieces}"), shape)
    x = some(shape)
    expected = x.reshape(4, 6 // pieces, pieces, *shape[1:]).max(2)
    assert np.array_equal(output(layer, x), expected)


def test_maxout_of_layers_takes_the_largest_of_their_pieces() -> None:
    layer = built(Dense(2, activation="maxout:3"), ROW)
    w, b = (p.get_value() for p in layer.params.values())
    assert w.shape == (6, 6)
    expected = (some(ROW) @ w + b).reshape(4, 2, 3).max(2)
    np.testing.assert_allclose(output(layer, some(ROW)), expected, atol=1e-12)


def test_radial_basis() -> None:
    layer = built(RadialBasis(4), ROW)
    codes = layer.states["codes"].get_value()
    assert codes.shape == (4, 6) and set(np.unique(codes)) == {-1, 1} and not layer.params
    assert len(np.unique(codes, axis=0)) == 4
    expected = -((some(ROW)[:, None] - codes) ** 2).sum(2)
    np.testing.assert_allclose(output(layer, some(ROW)), expected, atol=1e-12)


def test_radial_basis_of_ten_digits_are_bitmaps() -> None:
    layer = built(RadialBasis(10), (84,))
    codes = layer.states["codes"].get_value()
    assert np.array_equal(codes, bitmaps()) and set(np.unique(codes)) == {-1, 1}
    apart = ((codes[:, None] - codes) ** 2).sum(2)
    assert apart[~np.eye(10, dtype=bool)].min() == 48  # what MaximumAPosteriori says of them
    one = codes[1].reshape(12, 7)
    assert (one[1:-1, 3] == 1).all() and (one[0] == -1).all()  # a stroke down the middle


# ---- images ------------------------------------------------------------------------------------


def test_pad() -> None:
    x = some(IMAGES)
    around = [(0, 0), (0, 0), (1, 1), (2, 2)]
    expected = np.pad(x, around, constant_values=0.5)
    assert np.array_equal(output(built(Pad((1, 2), value=0.5), IMAGES), x), expected)
    assert np.array_equal(output(built(Pad(0), IMAGES), x), x)


def test_rescale() -> None:
    layer = built(Rescale(-0.1, 1.175), (1, 2, 2))
    found = output(layer, np.array([[[[0.0, 1.0], [0.5, 0.2]]]]))
    np.testing.assert_allclose(found.ravel(), [-0.1, 1.175, 0.5375, 0.155])


def test_flatten() -> None:
    assert np.array_equal(
        output(built(Flatten(), IMAGES), some(IMAGES)), some(IMAGES).reshape(4, -1)
    )


# ---- dropout and batch normalisation -----------------------------------------------------------


def test_dropout_in_training() -> None:
    layer, streams = built(Dropout(0.3), (1000,)), RandomStreams(5)
    x = T.matrix("x")
    function = symgraph.function([x], layer.apply(x, Application(True, streams)))
    ones = np.ones((100, 1000))
    first, second = function(ones), function(ones)
    assert set(np.unique(first)) == {0.0, 1 / 0.7}
    assert abs((first == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / first.size)
    assert not np.array_equal(first, second)
    # Its state is what repeats it.
    state = streams.state_updates[0][0]
    kept = state.get_value()
    third = function(ones)
    state.set_value(kept)
    assert np.array_equal(function(ones), third)
    streams.seed()
    assert np.array_equal(function(ones), first)


def test_dropout_in_use_and_of_nothing() -> None:
    assert np.array_equal(output(built(Dropout(0.5), ROW), some(ROW)), some(ROW))
    x = T.matrix("x")
    assert built(Dropout(0.0), ROW).apply(x, Application(True, RandomStreams(0))) is x


@pytest.mark.parametrize("shape", [IMAGES, ROW], ids=["images", "row"])
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    layer = built(BatchNormalization(activation="tanh", epsilon=1e-3, momentum=0.25), shape)
    layer.params["gamma"].set_value(np.linspace(0.5, 2, shape[0]))
    x, how = T.TensorType("float64", (False,) * (1 + len(shape)))("x"), Application(True)
    trained = symgraph.function([x], layer.apply(x, how), updates=how.updates)
    over = (0, *range(2, 1 + len(shape)))
    wide = (slice(None), *[None] * (len(shape) - 1))
    gamma, beta = (p.get_value()[wide] for p in layer.params.values())
    mean, variance = np.zeros(shape[0]), np.ones(shape[0])
    for seed in (1, 2):
        values = 3 * some(shape, seed) + 1
        m, v = values.mean(over), values.var(over)
        expected = np.tanh(gamma * (values - m[wide]) / np.sqrt(v[wide] + 1e-3) + beta)
        np.testing.assert_allclose(trained(values), expected, atol=1e-12)
        count = values.size / shape[0]
        mean, variance = 0.75 * mean + 0.25 * m, 0.75 * variance + 0.25 * v * count / (count - 1)
        np.testing.assert_allclose(layer.states["mean"].get_value(), mean, atol=1e-12)
        np.testing.assert_allclose(layer.states["variance"].get_value(), variance, atol=1e-12)
    expected = np.tanh(gamma * (values - mean[wide]) / np.sqrt(variance[wide] + 1e-3) + beta)
    np.testing.assert_allclose(output(layer, values), expected, atol=1e-12)


def test_batch_normalization_of_one_value_keeps_the_variance() -> None:
    layer, how, x = built(BatchNormalization(), ROW), Application(True), T.matrix("x")
    result = symgraph.function([x], layer.apply(x, how), updates=how.updates)(some(ROW)[:1])
    assert np.array_equal(result[0], layer.params["beta"].get_value())
    assert np.array_equal(layer.states["variance"].get_value(), np.ones(6))
    np.testing.assert_allclose(layer.states["mean"].get_value(), 0.1 * some(ROW)[0])


# ---- what does not fit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Conv2D(2, 9), IMAGES, "got images of 8x7; expected at least 9x9 with the padding"),
        (Conv2D(2, 3), ROW, r"got an input of shape \(6,\); expected images"),
        (Conv2D(0, 3), IMAGES, "got filters 0; expected from 1 on"),
        (Conv2D(2, 0), IMAGES, "got size 0"),
        (Conv2D(2, 3, stride=0), IMAGES, "got stride 0"),
        (Conv2D(2, 3, padding=-1), IMAGES, "got padding -1; expected from 0 on"),
        (Conv2D(2, 3, padding="full"), IMAGES, "got padding 'full'; expected a number, 'valid'"),
        (Conv2D(2, 3, activation="cube"), IMAGES, "activation: got 'cube'"),
        (Conv2D(2, 3, activation="maxout:1"), IMAGES, "maxout:K with K from 2"),
        (Conv2D(2, 3, activation="maxout:"), IMAGES, "maxout:K with K from 2"),
        (Conv2D(2, 3, init="zero"), IMAGES, "initializer: got 'zero'"),
        (Conv2D(2, 3, table=TABLE), IMAGES, "table of 4 rows for 2 output maps"),
        (Conv2D(2, 3, table=((0,), ())), IMAGES, "a row of different input maps"),
        (Conv2D(2, 3, table=((0,), (1, 1))), IMAGES, "a row of different input maps"),
        (Conv2D(2, 3, table=((0,), (3,))), IMAGES, "names input map 3; expected numbers from 0 to"),
        (LeNetConvPoolLayer(2, 8), IMAGES, "at least 9x9 for filters of 8x8 and pooling by 2x2"),
        (LeNetConvPoolLayer(2, pool=0), IMAGES, "got pool 0"),
        (Pool2D(8), IMAGES, "at least 8x8, the pooling window"),
        (Pool2D(2, stride=0), IMAGES, "got stride 0"),
        (Pool2D(2, mode="mean"), IMAGES, "got mode 'mean'; expected max or average"),
        (Pool2D(2, ties="last"), IMAGES, "got ties 'last'; expected first or all"),
        (Subsampling(9), IMAGES, "the pooling window"),
        (Dense(0), ROW, "got units 0"),
        (Activation("maxout:4"), ROW, "maxout:4 of 6 maps or units; expected a multiple of 4"),
        (Activation("cube"), ROW, "got 'cube'"),
        (BatchNormalization(epsilon=0), ROW, "got epsilon 0; expected 1e-5 at least"),
        (BatchNormalization(momentum=1.5), ROW, "got momentum 1.5; expected above 0, at most 1"),
        (Dropout(1.0), ROW, "got rate 1; expected a share from 0 to less than 1"),
        (Pad(-1), IMAGES, "got size -1"),
        (Pad(1), ROW, "expected images"),
        (Rescale(1.0, 1.0), ROW, "two different finite numbers"),
        (RadialBasis(65), ROW, "6 inputs for 65 classes; expected 7 at least"),
    ],
    ids=lambda value: name_of(value) if isinstance(value, Layer) else None,
)
def test_refused(layer: Layer, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(RunError, match=words) as error:
        layer.build(np.random.RandomState(0), shape)
    assert "Cure:" in str(error.value)
