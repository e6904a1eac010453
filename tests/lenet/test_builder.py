"""Networks from text and JSON: what they become, and where errors point."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet.activations import ACTIVATIONS
from lenet.errors import RunError
from lenet.layers import Layer
from lenet.models import MODELS, build, read_network
from lenet.models.custom import custom
from lenet.models.json_layers import KINDS
from lenet.models.notation import USAGE
from lenet.network import Model
from lenet.options import Options

SHAPE, DIGITS = (1, 28, 28), "0123456789"


def declared(network: str, classes: int = 10) -> list[Layer]:
    return list(custom(classes, network).layers)


def model(network: str, shape: tuple[int, int, int] = SHAPE) -> Model:
    return Model("custom", custom(10, network), np.random.RandomState(0), shape, DIGITS)


def said(layer: Layer) -> tuple[Any, ...]:
    """A layer as its class and what differs from the class's defaults."""
    given = {f.name: getattr(layer, f.name) for f in fields(layer)}
    return type(layer).__name__, {k: v for k, v in given.items() if k != "name"}


def summary(network: str) -> list[str]:
    return [f"{layer.name}: {layer.kind}" for layer in model(network).layers]


def test_the_usual_pattern() -> None:
    text = "[[conv 8 3 same -> relu]*2 -> max 2]*2 -> [fc 32 -> relu]*2 -> fc"
    assert summary(text) == [
        "conv1: convolution 3x3, padding same, relu",
        "conv2: convolution 3x3, padding same, relu",
        "pool1: max pooling 2x2",
        "conv3: convolution 3x3, padding same, relu",
        "conv4: convolution 3x3, padding same, relu",
        "pool2: max pooling 2x2",
        "dense1: fully connected, relu",
        "dense2: fully connected, relu",
        "output: fully connected",
    ]
    assert [layer.output_shape for layer in model(text).layers[-4:]] == [
        (8, 7, 7), (32,), (32,), (10,),
    ]  # fmt: skip
    # The output is understood, and may be written with its number; commas are arrows.
    for same in (text.removesuffix(" -> fc"), text + " 10", text.replace("->", ",")):
        assert summary(same) == summary(text)


def test_every_word() -> None:
    text = (
        "pad 2 -0.1, rescale -0.1 1.175, conv 6 5x3 stride 2x1 pad 1, norm, tanh, subsample 2, "
        "scaled_tanh, conv 8 3 valid, maxout 4, mean 2 stride 1, elu, max 3x2, flatten, fc 9, "
        "norm, relu, dropout 0.25, softplus"
    )
    assert [said(layer) for layer in declared(text)] == [
        ("Pad", {"size": 2, "value": -0.1}),
        ("Rescale", {"low": -0.1, "high": 1.175}),
        ("Conv2D", conv(filters=6, size=(5, 3), stride=(2, 1), padding=1)),
        ("BatchNormalization", {"activation": "tanh", "epsilon": 1e-5, "momentum": 0.1}),
        ("Subsampling", {"size": 2, "activation": "scaled_tanh", "init": "lecun1998"}),
        ("Conv2D", conv(filters=8, size=3, padding="valid", activation="maxout:4")),
        ("Pool2D", {"size": 2, "stride": 1, "mode": "average", "ties": "first"}),
        ("Activation", {"of": "elu"}),
        ("Pool2D", {"size": (3, 2), "stride": None, "mode": "max", "ties": "first"}),
        ("Flatten", {}),
        ("Dense", {"size": 9, "activation": "linear", "init": "tutorial"}),
        ("BatchNormalization", {"activation": "relu", "epsilon": 1e-5, "momentum": 0.1}),
        ("Dropout", {"rate": 0.25}),
        ("Activation", {"of": "softplus"}),
        ("Dense", {"size": 10, "activation": "linear", "init": "tutorial"}),
    ]
    assert {word for word in USAGE} <= {*text.replace(",", "").split(), *ACTIVATIONS}


def conv(**given: Any) -> dict[str, Any]:
    default = {
        "filters": 1, "size": 5, "stride": 1, "padding": 0, "activation": "linear",
        "init": "tutorial", "flip": True, "table": None,
    }  # fmt: skip
    return {**default, **given}


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "linear"])
def test_activations(name: str) -> None:
    assert summary(f"fc 5, {name}") == [
        f"dense1: fully connected, {name}",
        "output: fully connected",
    ]


def test_spaces_and_lines_do_not_matter() -> None:
    assert summary("conv 6 5->relu,max 2") == summary("\n conv 6 5 ->\n\trelu ,max   2\n")
    assert summary("[[fc 5,relu]*2]*2")[3] == "dense4: fully connected, relu"
    assert summary("[fc 5, relu]") == summary("fc 5, relu")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("", "its end: got nothing more; expected one of conv, max"),
        ("conv 6 5, ", "its end: got nothing more; expected one of conv"),
        ("conv 6 5, swish", "column 11: got 'swish'; expected one of conv, max, mean"),
        ("conv 6 5, linear", "column 11: got 'linear'"),
        ("conv 6", "column 6: got 'conv 6', which ends there; expected conv FILTERS SIZE"),
        ("conv 6 5 5", "column 10: got '5'; expected conv FILTERS SIZE"),
        ("conv 6 5y5", "column 8: got '5y5'"),
        ("conv -6 5", "column 6: got '-6'"),
        ("conv 6 5 stride", "which ends there; expected conv FILTERS"),
        ("max 2 pad 1", "column 7: got 'pad'; expected max SIZE"),
        ("dropout x", "column 9: got 'x'; expected dropout RATE"),
        ("dropout 1e999", "column 9: got '1e999'"),
        ("fc 5 relu", "column 6: got 'relu'; expected fc"),
        ("fc 5, relu 3", "column 12: got '3'; expected relu"),
        ("[fc 5, relu", "its end: got nothing more; expected a comma, an arrow or ]"),
        ("fc 5, relu]", r"column 11: got '\]'; expected a comma, an arrow or the end"),
        ("[fc 5]*0", "column 8: got '0'; expected a number of repetitions from 1"),
        ("[fc 5]*", "its end: got nothing more; expected a number of repetitions"),
        ("[[[relu]*99]*99]*99", "got 9801 layers; expected at most 1000 layers"),
        ("fc 5 -> -> fc 6", "column 9: got '->'"),
        ("fc 5, relu, 'fc'", "column 13: got \"'fc'\""),
    ],
)
def test_errors_say_where(network: str, words: str) -> None:
    with pytest.raises(RunError, match=words) as error:
        declared(network)
    assert str(error.value).startswith("--network") and "Cure:" in str(error.value)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("conv 6 29", "layer conv1: got images of 28x28; expected at least 29x29"),
        ("fc 20, relu, conv 6 5", "layer conv1: got an input of shape"),
        ("conv 6 5, [max 2]*5", "layer pool5: got images of 1x1; expected at least 2x2"),
        ("fc 20", r"got an output of shape \(20,\); expected \(10,\), a score for each class"),
        ("conv 0 5", "got filters 0"),
        ("conv 7 5, max 2, maxout 2", "maxout:2 of 7 maps or units; expected a multiple of 2"),
        ("dropout 1.5", "got rate 1.5"),
    ],
)
def test_layers_that_do_not_fit(network: str, words: str) -> None:
    with pytest.raises(RunError, match=words):
        model(network)


# ---- JSON --------------------------------------------------------------------------------------


def test_json_has_every_layer_and_key() -> None:
    entries = [
        {"layer": "Pad", "size": [1, 2], "value": -1},
        {"layer": "Conv2D", "filters": 3, "size": 3, "activation": "relu", "name": "first"},
        {"layer": "Conv2D", "filters": 2, "table": [[0, 1], [2]], "flip": False, "padding": "same"},
        {"layer": "Pool2D", "stride": None, "mode": "average"},
        {"layer": "Dropout", "rate": 0},
        {"layer": "Dense", "size": 10},
    ]
    layers = model(json.dumps(entries)).layers
    assert [layer.name for layer in layers] == [
        "pad1", "first", "conv1", "pool1", "dropout1", "output",
    ]  # fmt: skip
    assert said(layers[0]) == ("Pad", {"size": (1, 2), "value": -1.0})
    assert said(layers[2])[1]["table"] == ((0, 1), (2,))
    assert len(KINDS) == 12 and all(issubclass(kind, Layer) for kind in KINDS.values())


def test_json_gets_an_output_too() -> None:
    layers = model('[{"layer": "Dense", "size": 7, "activation": "tanh"}]').layers
    assert [layer.output_shape for layer in layers] == [(7,), (10,)]
    assert [layer.name for layer in model("[]").layers] == ["output"]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ('[{"layer": "Dense", "size": 7},]', "got bad JSON: .*line 1 column"),
        ('{"layer": "Dense"}', "JSON of {.*}; expected a list of layers"),
        ('[{"layer": "Dense", "size": 7}, 5]', "layer 2: got 5; expected an object"),
        ("[{}]", "layer 1: got no key 'layer'; expected one of Activation, "),
        ('[{"layer": "Layer"}]', 'layer 1: got "layer": "Layer"'),
        ('[{"layer": ["Dense"]}]', 'got "layer": .*"Dense"'),
        ('[{"layer": "Dense"}]', "layer 1, Dense: got no 'size'; expected the key 'size'"),
        ('[{"layer": "Dense", "units": 7}]', "the key 'units'; expected keys .*size, activation"),
        ('[{"layer": "Dense", "size": 7.5}]', "Dense, 'size': got 7.5; expected a whole number"),
        ('[{"layer": "Dense", "size": true}]', "got true; expected a whole number"),
        ('[{"layer": "Dense", "size": 7, "activation": 1}]', "got 1; expected a string"),
        ('[{"layer": "Dropout", "rate": NaN}]', "got NaN; expected a number"),
        ('[{"layer": "Pool2D", "size": [1, 2, 3]}]', "a whole number or a list of two whole"),
        ('[{"layer": "Conv2D", "filters": 1, "flip": 0}]', "got 0; expected true or false"),
        (
            '[{"layer": "Conv2D", "filters": 1, "table": [1]}]',
            "a list of lists of whole numbers or null",
        ),
    ],
)
def test_bad_json(network: str, words: str) -> None:
    with pytest.raises(RunError, match=words) as error:
        declared(network)
    assert str(error.value).startswith("--network") and "Cure:" in str(error.value)


# ---- files and options -------------------------------------------------------------------------


def test_files_are_read_and_kept_as_text(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text('[{"layer": "Dense", "size": 7, "activation": "tanh"}]')
    content = read_network(str(path))
    assert content == path.read_text()
    plain = tmp_path / "net.txt"
    plain.write_text("fc 7, tanh")
    assert read_network(str(plain)) == "fc 7, tanh"
    assert read_network("fc 7, tanh") == "fc 7, tanh" and read_network("fc 7" * 5000)
    options = Options.of(model="custom", network=content)
    path.unlink()  # a checkpoint needs the text only
    again = Options.from_json(json.loads(json.dumps(options.to_json())))
    assert build(again, SHAPE, DIGITS).layers[0].output_shape == (7,)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none.json: got No such file"):
        read_network(str(tmp_path / "none.json"))
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="expected a text file that describes a network"):
        read_network(str(path))
    with pytest.raises(RunError, match="a text file"):
        (tmp_path / "folder.json").mkdir()
        read_network(str(tmp_path / "folder.json"))


def test_the_recipe_has_a_network() -> None:
    options = Options.of(model="custom")
    assert options.network == MODELS["custom"].recipe["network"]
    assert build(options, SHAPE, DIGITS).layers[-1].name == "output"


def test_only_custom_takes_a_network() -> None:
    with pytest.raises(RunError, match="--network: got fc 5 for the model lenet5"):
        build(Options.of(model="lenet5", network="fc 5"), SHAPE, DIGITS)
