"""LeNet-5 is the paper's: its numbers, its table, its cost, and one step, by hand in NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import symgraph
from lenet.errors import RunError
from lenet.layers import Application
from lenet.layers.radial import bitmaps
from lenet.losses import CrossEntropy, MaximumAPosteriori
from lenet.models.lenet5 import C3_TABLE, lenet5
from lenet.network import Model
from symgraph import tensor as T
from tests.lenet.by_hand import Arrays, conv, conv_gradients

DIGITS = "0123456789"
A, S = 1.7159, 2 / 3


@pytest.fixture(params=["float64", "float32"])
def floatx(request: pytest.FixtureRequest) -> Iterator[str]:
    with symgraph.config.change_flags(floatX=request.param):
        yield request.param


def model(shape: tuple[int, int, int] = (1, 28, 28), classes: str = DIGITS) -> Model:
    return Model("lenet5", lenet5(len(classes)), np.random.RandomState(1), shape, classes)


# ---- the paper's numbers -----------------------------------------------------------------------


def test_parameters_and_connections_are_the_papers() -> None:
    layers = {layer.name: (layer.parameters, layer.connections) for layer in model().layers}
    assert layers == {
        "border": (0, 0),
        "range": (0, 0),
        "C1": (156, 122_304),
        "S2": (12, 5_880),
        "C3": (1_516, 151_600),
        "S4": (32, 2_000),
        "C5": (48_120, 48_120),
        "F6": (10_164, 10_164),
        "output": (0, 840),
    }
    assert model().parameters == 60_000
    assert sum(connections for _, connections in layers.values()) == 340_908


def test_connections_counted_from_the_graph() -> None:
    """What each layer reads: where its output moves with its input, counted pixel by pixel."""
    with symgraph.config.change_flags(floatX="float64"):
        built = model()
        found = {}
        for name in ("C1", "S2", "C3", "S4", "C5", "F6"):
            layer = built.layer(name)
            for p in layer.params.values():
                p.set_value(np.ones_like(p.get_value()))
            x = T.TensorType("float64", (False,) * (1 + len(layer.input_shape)))("x")
            # All weights 1 and tanh undone: an output of ones counts its links.
            sums = T.arctanh(layer.apply(x, Application()) / A) / S
            scale = 1e-3  # so small that tanh is far from its ends
            for p in layer.params.values():
                p.set_value(p.get_value() * scale)
            links = symgraph.function([x], sums.sum())(np.ones((1, *layer.input_shape)))
            found[name] = round(float(links) / scale)
    assert found == {
        "C1": 122_304, "S2": 5_880, "C3": 151_600, "S4": 2_000, "C5": 48_120, "F6": 10_164,
    }  # fmt: skip


def test_table_is_the_papers() -> None:
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len(set(map(frozenset, C3_TABLE))) == 16
    feeds = [sum(j in row for row in C3_TABLE) for j in range(6)]
    assert feeds == [10] * 6  # each map of S2 is read by ten of C3


def test_input_is_that_of_the_paper() -> None:
    built = model()
    image = np.zeros((1, 1, 28, 28))
    image[0, 0, 3, 4] = 1
    function = symgraph.function([built.x], built.outputs["range"])
    found = function(image.astype(built.x.dtype))
    assert found.shape == (1, 1, 32, 32)
    assert found[0, 0, 5, 6] == pytest.approx(1.175)
    assert np.delete(found.ravel(), 5 * 32 + 6) == pytest.approx(-0.1)


def test_weights_are_drawn_by_the_fan_in() -> None:
    built = model()
    for name, fans in (("C1", 25), ("C5", 400), ("F6", 120)):
        drawn = np.abs(built.params[f"{name}.W"].get_value())
        assert 0.9 * 2.4 / fans < drawn.max() <= 2.4 / fans * (1 + 1e-6)
        assert not built.params[f"{name}.b"].get_value().any()
    assert np.array_equal(built.states["output.codes"].get_value(), bitmaps())


def test_other_numbers_of_classes_have_random_codes() -> None:
    built = model(classes="abcd")
    codes = built.states["output.codes"].get_value()
    assert codes.shape == (4, 84) and set(np.unique(codes)) == {-1, 1}
    assert model((3, 32, 32)).layer("C1").parameters == 6 * 76  # colour: a border of 2 as well


def test_table_that_does_not_fit() -> None:
    declared = lenet5()
    declared.layers[2].filters = 5  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="layer C3: got a connection table that names input map 5"):
        Model("lenet5", declared, np.random.RandomState(0), (1, 28, 28), DIGITS)


# ---- the loss ----------------------------------------------------------------------------------


def test_maximum_a_posteriori() -> None:
    rng, loss = np.random.RandomState(0), MaximumAPosteriori(j=2.5)
    d, labels = rng.uniform(0, 9, (6, 4)), rng.randint(0, 4, 6)
    scores, y = T.dmatrix("scores"), T.ivector("y")
    cost, p = symgraph.function([scores, y], [loss.cost(scores, y), loss.probabilities(scores)])(
        -d, labels.astype("int32")
    )
    total = np.exp(-2.5) + np.exp(-d).sum(1)
    assert cost == pytest.approx((d[np.arange(6), labels] + np.log(total)).mean(), rel=1e-12)
    np.testing.assert_allclose(p, np.exp(-d) / total[:, None], rtol=1e-12)
    assert (p.sum(1) < 1).all()


def test_losses_are_exact_at_any_distance() -> None:
    scores, y = T.fmatrix("scores"), T.ivector("y")
    cost = MaximumAPosteriori(1.0).cost(scores, y)
    function = symgraph.function([scores, y], [cost, symgraph.grad(cost, scores)])
    far = np.array([[-1e6, -3e6], [-1e6, 0]], "float32")
    value, slope = function(far, np.array([0, 0], "int32"))
    # The first is rubbish, the second taken for the other class: the distance is the cost.
    expected = (1e6 - 1 + 1e6 + np.log(1 + np.exp(-1))) / 2
    assert value == pytest.approx(expected, rel=1e-6)
    p = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(slope, [[-0.5, 0], [-0.5, p / 2]], rtol=1e-5)


def test_losses_refuse_and_name_themselves() -> None:
    for j in (0, -1, float("nan"), float("inf")):
        with pytest.raises(RunError, match="expected a number above 0"):
            MaximumAPosteriori(j)
    assert CrossEntropy().name != MaximumAPosteriori().name
    assert isinstance(model().loss, MaximumAPosteriori)


# ---- a step by hand ----------------------------------------------------------------------------


def squash(z: np.ndarray) -> np.ndarray:
    return A * np.tanh(S * z)


def slope(a: np.ndarray) -> np.ndarray:
    """The derivative of `squash`, by its result."""
    return A * S * (1 - (a / A) ** 2)


def subsample(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).sum((3, 5))


def spread(g: np.ndarray) -> np.ndarray:
    return g.repeat(2, 2).repeat(2, 3)


def whole(w: np.ndarray) -> np.ndarray:
    """The filters of C3 with zeros where there is no connection."""
    full, pairs = np.zeros((16, 6, 5, 5)), [(i, j) for i, row in enumerate(C3_TABLE) for j in row]
    for (i, j), one in zip(pairs, w, strict=True):
        full[i, j] = one
    return full


def by_hand(p: Arrays, x: np.ndarray, y: np.ndarray, j: float) -> tuple[float, Arrays]:
    """Cost and gradients of LeNet-5; `p` by the names of the model's parameters."""
    n = len(y)

    def wide(name: str) -> np.ndarray:
        return p[name][:, None, None]

    a0 = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)]) * 1.275 - 0.1
    c1 = squash(conv(a0, p["C1.W"]) + wide("C1.b"))
    t2 = subsample(c1)
    s2 = squash(wide("S2.coefficient") * t2 + wide("S2.b"))
    w3 = whole(p["C3.W"])
    c3 = squash(conv(s2, w3) + wide("C3.b"))
    t4 = subsample(c3)
    s4 = squash(wide("S4.coefficient") * t4 + wide("S4.b"))
    c5 = squash(conv(s4, p["C5.W"]) + wide("C5.b"))
    flat = c5.reshape(n, -1)
    f6 = squash(flat @ p["F6.W"] + p["F6.b"])
    apart = f6[:, None] - bitmaps()
    d = (apart**2).sum(2)
    total = np.exp(-j) + np.exp(-d).sum(1, keepdims=True)
    cost = (d[np.arange(n), y] + np.log(total[:, 0])).mean()

    g: Arrays = {}
    by_d = (np.eye(10)[y] - np.exp(-d) / total) / n
    z = 2 * np.einsum("nk,nki->ni", by_d, apart) * slope(f6)
    g["F6.W"], g["F6.b"] = flat.T @ z, z.sum(0)
    z = (z @ p["F6.W"].T).reshape(c5.shape) * slope(c5)
    g["C5.b"] = z.sum((0, 2, 3))
    g["C5.W"], z = conv_gradients(s4, p["C5.W"], z)
    z = z * slope(s4)
    g["S4.coefficient"], g["S4.b"] = (z * t4).sum((0, 2, 3)), z.sum((0, 2, 3))
    z = spread(z * wide("S4.coefficient")) * slope(c3)
    g["C3.b"] = z.sum((0, 2, 3))
    full, z = conv_gradients(s2, w3, z)
    g["C3.W"] = np.array([full[i, k] for i, row in enumerate(C3_TABLE) for k in row])
    z = z * slope(s2)
    g["S2.coefficient"], g["S2.b"] = (z * t2).sum((0, 2, 3)), z.sum((0, 2, 3))
    z = spread(z * wide("S2.coefficient")) * slope(c1)
    g["C1.b"] = z.sum((0, 2, 3))
    g["C1.W"], _ = conv_gradients(a0, p["C1.W"], z)
    return float(cost), g


def test_cost_and_gradients(floatx: str) -> None:
    built = model()
    rng = np.random.RandomState(2)
    for p in built.params.values():
        if not p.get_value().any():
            p.set_value(rng.uniform(-0.3, 0.3, p.get_value().shape).astype(floatx))
    values = {name: p.get_value().astype("float64") for name, p in built.params.items()}
    x = rng.randint(0, 256, (5, 1, 28, 28)) / 255
    y = rng.randint(0, 10, 5).astype("int32")
    loss = built.loss
    assert isinstance(loss, MaximumAPosteriori)
    cost, expected = by_hand(values, x, y, loss.j)
    gradients = symgraph.grad(built.cost, list(built.params.values()))
    found_cost, *found = symgraph.function([built.x, built.y], [built.cost, *gradients])(
        x.astype(floatx), y
    )
    # float64: equal to 1e-9; float32: to a few roundings of the largest element.
    tolerance = 1e-9 if floatx == "float64" else 1e-5
    assert found_cost == pytest.approx(cost, rel=tolerance)
    for name, gradient in zip(built.params, found, strict=True):
        scale = np.abs(expected[name]).max()
        assert gradient.dtype == floatx and scale > 1e-4, name
        np.testing.assert_allclose(
            gradient, expected[name], rtol=0, atol=tolerance * scale, err_msg=name
        )
