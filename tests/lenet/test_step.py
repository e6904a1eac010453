"""One training step of the tutorial's LeNet equals NumPy's, written out by hand in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import symgraph
from lenet.data import Dataset, Split
from lenet.models import Model, tutorial
from lenet.train import compile_functions

NKERNS, HIDDEN, EXAMPLES, RATE = (4, 6), 30, 7, 0.1
Arrays = dict[str, np.ndarray]


# ---- the model by hand -------------------------------------------------------------------------


def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w[:, :, ::-1, ::-1], optimize=True)


def conv_gradients(x: np.ndarray, w: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    by_w = np.einsum("nchwij,nohw->ocij", windows, g, optimize=True)[:, :, ::-1, ::-1]
    reach = [(k - 1, k - 1) for k in w.shape[2:]]
    around = sliding_window_view(np.pad(g, [(0, 0), (0, 0), *reach]), w.shape[2:], axis=(2, 3))
    return by_w, np.einsum("nohwij,ocij->nchw", around, w, optimize=True)


def pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of 2x2 windows, and where they were."""
    n, c, h, w = x.shape
    tiles = x.reshape(n, c, h // 2, 2, w // 2, 2)
    top = tiles.max((3, 5), keepdims=True)
    return top[:, :, :, 0, :, 0], (tiles == top)


def unpool(g: np.ndarray, where: np.ndarray) -> np.ndarray:
    n, c, h, w = g.shape
    return (where * g[:, :, :, None, :, None]).reshape(n, c, 2 * h, 2 * w)


def by_hand(p: Arrays, x: np.ndarray, y: np.ndarray) -> tuple[float, Arrays]:
    """Cost and gradients. `p` as in the model: layer0.W to layer3.b."""
    n = len(y)
    a0 = x.reshape(n, 1, 28, 28)
    m0, where0 = pool(conv(a0, p["layer0.W"]))
    a1 = np.tanh(m0 + p["layer0.b"][:, None, None])
    m1, where1 = pool(conv(a1, p["layer1.W"]))
    a2 = np.tanh(m1 + p["layer1.b"][:, None, None])
    flat = a2.reshape(n, -1)
    a3 = np.tanh(flat @ p["layer2.W"] + p["layer2.b"])
    scores = a3 @ p["layer3.W"] + p["layer3.b"]
    scores -= scores.max(1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    cost = -logs[np.arange(n), y].mean()

    g: Arrays = {}
    d = (np.exp(logs) - np.eye(10)[y]) / n
    g["layer3.W"], g["layer3.b"] = a3.T @ d, d.sum(0)
    d = d @ p["layer3.W"].T * (1 - a3**2)
    g["layer2.W"], g["layer2.b"] = flat.T @ d, d.sum(0)
    d = (d @ p["layer2.W"].T).reshape(a2.shape) * (1 - a2**2)
    g["layer1.b"] = d.sum((0, 2, 3))
    g["layer1.W"], d = conv_gradients(a1, p["layer1.W"], unpool(d, where1))
    d = d * (1 - a1**2)
    g["layer0.b"] = d.sum((0, 2, 3))
    g["layer0.W"], _ = conv_gradients(a0, p["layer0.W"], unpool(d, where0))
    return float(cost), g


# ---- against the graph -------------------------------------------------------------------------


@pytest.fixture(params=["float64", "float32"])
def floatx(request: pytest.FixtureRequest) -> Iterator[str]:
    with symgraph.config.change_flags(floatX=request.param):
        yield request.param


def lively_model() -> Model:
    """A small model without zeros among its parameters, so that every gradient says something."""
    model = tutorial(np.random.RandomState(1), NKERNS, n_hidden=HIDDEN)
    rng = np.random.RandomState(2)
    for p in model.params:
        value = p.get_value()
        if not value.any():
            p.set_value(rng.uniform(-0.3, 0.3, value.shape).astype(value.dtype))
    return model


def digits() -> Split:
    rng = np.random.RandomState(3)
    return Split(
        rng.randint(0, 256, (EXAMPLES, 28, 28)).astype(np.uint8),
        rng.randint(0, 10, EXAMPLES).astype(np.int32),
    )


def test_one_step(floatx: str) -> None:
    model, split = lively_model(), digits()
    before = {p.name: p.get_value().astype("float64") for p in model.params}
    x = split.images.reshape(EXAMPLES, -1) / 255
    cost, expected = by_hand(before, x, split.labels)

    grads = symgraph.function(
        [model.x, model.y], [model.cost, *symgraph.grad(model.cost, model.params)]
    )
    found_cost, *found = grads(x.astype(floatx), split.labels)
    # float64: equal to 1e-6 in every element; float32: to a few roundings of the largest one.
    tolerance = 1e-9 if floatx == "float64" else 2e-6
    assert found_cost == pytest.approx(cost, rel=tolerance)
    for p, gradient in zip(model.params, found, strict=True):
        assert gradient.dtype == floatx
        scale = np.abs(expected[p.name]).max()
        assert scale > 1e-4, p.name
        exact = 1e-6 if floatx == "float64" else 0
        np.testing.assert_allclose(
            gradient, expected[p.name], rtol=exact, atol=tolerance * scale, err_msg=p.name
        )

    dataset = Dataset("random", split, split, split, "the test", False, False)
    functions = compile_functions(model, dataset, EXAMPLES, RATE)
    assert float(functions.train(0)) == pytest.approx(cost, rel=tolerance)
    for p in model.params:
        after = before[p.name] - RATE * expected[p.name]
        np.testing.assert_allclose(p.get_value(), after, rtol=0, atol=4e-7, err_msg=p.name)
    assert float(functions.train(0)) < cost
