"""One training step of the tutorial's LeNet equals NumPy's, written out by hand in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import symgraph
from lenet.data import Dataset, Split
from lenet.models.tutorial import tutorial
from lenet.network import Model
from lenet.options import Options
from lenet.train import compile_functions
from tests.lenet.by_hand import Arrays, conv, conv_gradients, pool, unpool

NKERNS, HIDDEN, EXAMPLES, RATE = (4, 6), 30, 7, 0.1
DIGITS = tuple("0123456789")


# ---- the model by hand -------------------------------------------------------------------------


def by_hand(p: Arrays, x: np.ndarray, y: np.ndarray) -> tuple[float, Arrays]:
    """Cost and gradients. `p` as in the model: layer0.W to layer3.b."""
    n = len(y)
    a0 = x
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
    declared = tutorial(nkerns=NKERNS, hidden=HIDDEN)
    model = Model("tutorial", declared, np.random.RandomState(1), (1, 28, 28), DIGITS)
    rng = np.random.RandomState(2)
    for p in model.params.values():
        value = p.get_value()
        if not value.any():
            p.set_value(rng.uniform(-0.3, 0.3, value.shape).astype(value.dtype))
    return model


def digits() -> Split:
    rng = np.random.RandomState(3)
    return Split(
        rng.randint(0, 256, (EXAMPLES, 1, 28, 28)).astype(np.uint8),
        rng.randint(0, 10, EXAMPLES).astype(np.int32),
    )


def test_one_step(floatx: str) -> None:
    model, split = lively_model(), digits()
    before = {name: p.get_value().astype("float64") for name, p in model.params.items()}
    x = split.images / 255
    cost, expected = by_hand(before, x, split.labels)

    gradients = symgraph.grad(model.cost, list(model.params.values()))
    function = symgraph.function([model.x, model.y], [model.cost, *gradients])
    found_cost, *found = function(x.astype(floatx), split.labels)
    # float64: equal to 1e-6 in every element; float32: to a few roundings of the largest one.
    tolerance = 1e-9 if floatx == "float64" else 2e-6
    assert found_cost == pytest.approx(cost, rel=tolerance)
    for name, gradient in zip(model.params, found, strict=True):
        assert gradient.dtype == floatx
        scale = np.abs(expected[name]).max()
        assert scale > 1e-4, name
        exact = 1e-6 if floatx == "float64" else 0
        np.testing.assert_allclose(
            gradient, expected[name], rtol=exact, atol=tolerance * scale, err_msg=name
        )

    dataset = Dataset("random", split, split, split, "the test", False, False, DIGITS)
    options = Options(batch_size=EXAMPLES, optimizer="sgd", learning_rate=RATE)
    functions = compile_functions(model, dataset, options)
    assert float(functions.train(0)) == pytest.approx(cost, rel=tolerance)
    for name, p in model.params.items():
        after = before[name] - RATE * expected[name]
        np.testing.assert_allclose(p.get_value(), after, rtol=0, atol=4e-7, err_msg=name)
    assert float(functions.train(0)) < cost
