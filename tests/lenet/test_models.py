"""The models: what they draw, name, count and refuse, and what options change in them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from lenet.commands import summary as summary_command
from lenet.data import DataError, Dataset, Split
from lenet.errors import RunError
from lenet.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Layer
from lenet.models import MODELS, build
from lenet.models.changes import with_batch_norm, with_dropout
from lenet.network import Declaration, Model
from lenet.options import Options
from lenet.summary import summary
from lenet.train import compile_functions

SHAPE, DIGITS = (1, 28, 28), tuple("0123456789")


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    with symgraph.config.change_flags(floatX="float32"):
        yield


def made(model: str, shape: tuple[int, int, int] = SHAPE, **given: Any) -> Model:
    return build(Options.of(model=model, **given), shape, DIGITS)


def kinds(model: Model) -> list[str]:
    return [f"{layer.name}: {layer.kind}" for layer in model.layers]


# ---- as declared -------------------------------------------------------------------------------


def test_tutorial_draws_its_weights_in_the_tutorials_order() -> None:
    model = made("tutorial")
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
    assert list(model.params) == [f"layer{i}.{kind}" for i in range(4) for kind in "Wb"]
    for name, p in model.params.items():
        value = p.get_value()
        assert value.dtype == np.float32
        assert np.array_equal(value, expected.get(name, np.zeros(value.shape)))


@pytest.mark.parametrize(
    ("model", "shapes", "parameters"),
    [
        (
            "tutorial",
            [(20, 12, 12), (50, 4, 4), (500,), (10,)],
            [520, 25_050, 400_500, 5_010],
        ),
        (
            "keras",
            [(6, 24, 24), (6, 12, 12), (16, 8, 8), (16, 4, 4), (120, 1, 1), (84,), (10,)],
            [156, 0, 2_416, 0, 30_840, 10_164, 850],
        ),
        (
            "pytorch",
            [(1, 32, 32), (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,)],
            [0, 156, 0, 2_416, 0, 48_120, 10_164, 850],
        ),
        (
            "numpy",
            [(8, 28, 28), (16, 12, 12), (16, 6, 6), (128,), (10,)],
            [80, 3_216, 0, 73_856, 1_290],
        ),
    ],
)
def test_shapes_and_parameters(model: str, shapes: list[Any], parameters: list[int]) -> None:
    found = made(model)
    assert [layer.output_shape for layer in found.layers] == shapes
    assert [layer.parameters for layer in found.layers] == parameters
    assert found.parameters == sum(parameters)


@pytest.mark.parametrize("name", MODELS)
def test_every_model(name: str) -> None:
    assert len(MODELS[name].summary) > 20
    options = Options.of(model=name)
    model = build(options, SHAPE, DIGITS)
    assert (model.x.dtype, model.y.dtype, model.cost.dtype) == ("float32", "int32", "float32")
    training = model.training(options.seed)
    gradients = symgraph.grad(training.cost, list(model.params.values()))
    assert [g.type for g in gradients] == [p.type for p in model.params.values()]
    assert (model.cost.ndim, model.probabilities.ndim, model.prediction.dtype) == (0, 2, "int64")
    function = symgraph.function(
        [model.x, model.y], [model.cost, model.errors, model.probabilities, model.prediction]
    )
    x = np.random.RandomState(0).uniform(size=(3, *SHAPE)).astype("float32")
    cost, errors, probabilities, prediction = function(x, np.array([0, 1, 2], "int32"))
    assert np.isfinite(cost)
    assert errors == pytest.approx((prediction != [0, 1, 2]).mean())
    assert probabilities.shape == (3, 10) and (probabilities.sum(1) < 1 + 1e-5).all()
    colour = build(options, (3, 32, 32), ("a", "b", "c"))
    assert colour.layers[-1].output_shape == (3,)


def test_pytorchs_padding_is_its_border() -> None:
    x = np.random.RandomState(0).uniform(size=(3, *SHAPE)).astype("float32")
    found = []
    for given in ({}, {"padding": 2}):
        model = made("pytorch", **given)
        found.append(symgraph.function([model.x], model.probabilities)(x))
    assert model.layers[0].kind == "convolution 5x5, padding 2, relu"
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert made("pytorch", padding=0).layer("conv1").output_shape == (6, 24, 24)


def test_sizes_can_be_chosen() -> None:
    assert made("tutorial", nkerns=(2, 3), hidden=7).parameters == 52 + 153 + 7 * 49 + 80
    assert made("numpy", nkerns=(2, 3), hidden=7).layer("fc1").output_shape == (7,)


def test_model_without_names() -> None:
    layers = [Conv2D(2, 3), Dense(4, name="dense2"), Dense(4), Dense(4), Dense(10)]
    model = Model("own", Declaration(layers), np.random.RandomState(0), SHAPE, DIGITS)
    assert [layer.name for layer in model.layers] == [
        "conv1", "dense2", "dense1", "dense3", "dense4",
    ]  # fmt: skip
    assert list(model.outputs) == [layer.name for layer in layers]


# ---- what options change -----------------------------------------------------------------------


def test_activation_of_all_hidden_layers() -> None:
    assert kinds(made("keras", activation="relu")) == [
        "C1: convolution 5x5, relu",
        "S2: average pooling 2x2",
        "C3: convolution 5x5, relu",
        "S4: average pooling 2x2",
        "C5: convolution 4x4, relu",
        "F6: fully connected, relu",
        "output: fully connected",
    ]
    five = made("lenet5", activation="tanh")
    assert [getattr(layer, "activation", None) for layer in five.layers].count("tanh") == 6
    maxout = made("keras", activation="maxout:3")
    assert maxout.layer("C3").params["W"].get_value().shape == (48, 6, 5, 5)
    own = made("custom", network="conv 3 5, max 2, relu, fc 5, norm, relu", activation="elu")
    assert [layer.kind for layer in own.layers][2:] == [
        "elu", "fully connected", "batch normalisation, elu", "fully connected",
    ]  # fmt: skip


def test_init_of_all_weights() -> None:
    a, b = made("pytorch"), made("pytorch", init="he_normal")
    assert b.params["conv1.W"].get_value().std() != a.params["conv1.W"].get_value().std()
    assert a.params["fc3.b"].get_value().any() and not b.params["fc3.b"].get_value().any()
    tutorial = made("tutorial", init="orthogonal", hidden=40)
    w = tutorial.params["layer2.W"].get_value()
    np.testing.assert_allclose(w.T @ w, np.eye(40), atol=1e-5)
    assert not tutorial.params["layer3.W"].get_value().any()  # a logistic regression starts at 0


def test_batch_norm_before_each_activation() -> None:
    model = made("keras", batch_norm=True)
    assert kinds(model)[:3] == [
        "C1: convolution 5x5",
        "C1_norm: batch normalisation, tanh",
        "S2: average pooling 2x2",
    ]
    assert model.parameters == made("keras").parameters + 2 * (6 + 16 + 120 + 84)
    assert set(model.states) == {
        f"{name}_norm.{state}"
        for name in ("C1", "C3", "C5", "F6")
        for state in ("mean", "variance")
    }
    maxout = made("lenet5", batch_norm=True, activation="maxout:2")
    assert maxout.layer("C3").output_shape == (32, 10, 10)
    assert maxout.layer("C3_norm").output_shape == (16, 10, 10)
    assert maxout.layer("F6_norm").output_shape == (84,)
    assert made("tutorial", batch_norm=True, activation="maxout").layer("layer0").parameters == 1040
    twice = with_batch_norm([Dense(5), BatchNormalization(activation="relu"), Dense(10)])
    assert [type(layer) for layer in twice] == [Dense, BatchNormalization, Dense]


def test_dropout_behind_hidden_fully_connected_layers() -> None:
    model = made("pytorch", dropout=0.5, batch_norm=True)
    assert [layer.name for layer in model.layers][-7:] == [
        "fc1", "fc1_norm", "fc1_dropout", "fc2", "fc2_norm", "fc2_dropout", "fc3",
    ]  # fmt: skip
    layers = with_dropout([Dense(5), Activation("relu"), Dense(10)], 0.25)
    assert [type(layer) for layer in layers] == [Dense, Activation, Dropout, Dense]


def test_dropout_repeats_and_its_state_is_kept() -> None:
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (40, *SHAPE)).astype(np.uint8)
    part = Split(images, rng.randint(0, 10, 40).astype(np.int32))
    dataset = Dataset("random", part, part, part, "the test", False, False, DIGITS)
    options = Options.of(
        model="custom", network="fc 20, norm, relu, dropout 0.5", batch_size=20, shuffle=False
    )

    def functions() -> Any:
        return compile_functions(build(options, SHAPE, DIGITS), dataset, options)

    def steps(one: Any, count: int) -> list[float]:
        return [float(one.train(i % 2)) for i in range(count)]

    first, second, third = functions(), functions(), functions()
    costs = steps(first, 6)
    assert costs == steps(second, 6) and len(set(costs)) == 6
    steps(third, 3)
    kept = {name: v.get_value() for name, v in third.variables.items()}
    assert {"norm1.mean", "norm1.variance", "random/0"} <= set(kept)
    steps(third, 3)
    for name, variable in third.variables.items():
        variable.set_value(kept[name])
    assert steps(third, 3) != costs[3:]  # the minibatches are the other ones: 0, 1, 0
    for name, variable in third.variables.items():
        variable.set_value(kept[name])
    assert [float(third.train(i)) for i in (1, 0, 1)] == costs[3:]


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        ("lenet5", {"nkerns": (6, 16)}, "--nkerns: got .* model lenet5; expected none of these"),
        ("pytorch", {"hidden": 9}, "--hidden: got 9 for the model pytorch; expected --padding"),
        ("tutorial", {"padding": 2}, "expected --nkerns --hidden"),
        ("tutorial", {"nkerns": (1, 2, 3)}, "--nkerns: got 1,2,3; expected two numbers"),
        ("numpy", {"nkerns": (1,)}, "Cure: give two, as 8,16"),
        ("custom", {"network": "fc", "activation": "relu"}, "--activation: got relu"),
        ("custom", {"network": "fc", "batch_norm": True}, "--batch-norm: got on"),
        ("custom", {"network": "conv 3 5, relu", "dropout": 0.5}, "--dropout: got 0.5"),
        ("keras", {"init": "xavier"}, "initializer: got 'xavier'"),
    ],
)
def test_refused(model: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(RunError, match=words) as error:
        made(model, **given)
    assert "Cure:" in str(error.value)


def test_images_too_small_for_the_model() -> None:
    with pytest.raises(RunError, match="layer layer1: got images of 4x4; expected at least 6x6"):
        made("tutorial", (1, 12, 12))


def test_networks_that_do_not_fit() -> None:
    def model(*layers: Layer) -> Model:
        return Model("own", Declaration(layers), np.random.RandomState(0), SHAPE, DIGITS)

    with pytest.raises(
        RunError, match=r"model own: got an output of shape \(9,\); expected \(10,\)"
    ):
        model(Dense(9))
    with pytest.raises(RunError, match="a layer named 'a/b'; expected no / , = in it"):
        model(Dense(10, name="a/b"))
    with pytest.raises(RunError, match="two layers named 'a'"):
        model(Dense(10, name="a"), Dense(10, name="a"))
    with pytest.raises(
        RunError, match="layer 'b': got a name that no layer has; expected one of a"
    ):
        model(Dense(10, name="a")).layer("b")


# ---- the table ---------------------------------------------------------------------------------


def test_summary() -> None:
    lines = summary(made("lenet5")).splitlines()
    assert lines[0] == "model lenet5, maximum a posteriori"
    words = {line.split()[0]: line.split() for line in lines if line}
    assert words["C3"][-4:] == ["16x10x10", "1,516", "151,600", "300,000"]
    assert words["input"] and words["total"] == ["total", "60,000", "340,908", "663,808"]
    assert lines[-1] == "besides, not trained: 840 numbers"
    assert max(map(len, lines)) <= 110 and lines[3] == lines[-3] == "-" * len(lines[3])
    assert "not trained" not in summary(made("tutorial"))


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    parser = argparse.ArgumentParser()
    summary_command.add_arguments(parser)
    assert summary_command.run(parser.parse_args(argv)) == 0
    return capsys.readouterr().out


def test_summary_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys) == summary(made("tutorial")) + "\n"
    assert "3x32x32" in run(capsys, "--model", "keras", "--data", "svhn")
    assert "input images 1x40x36" in " ".join(run(capsys, "--size", "40,36").split())
    assert run(capsys, "--model", "keras", "--source", "sample") == summary(made("keras")) + "\n"
    own = run(capsys, "--model", "custom", "--network", "conv 3 5, max 2", "--batch-norm")
    assert "conv1_norm" not in own and "batch normalisation" in own
    with pytest.raises(DataError, match="no_such_folder"):
        run(capsys, "--source", "no_such_folder")
    with pytest.raises(RunError, match="column 1"):
        run(capsys, "--model", "custom", "--network", "convolution 3 5")
