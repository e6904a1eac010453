"""What happens inside a network, as arrays and as pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import symgraph
from lenet import data, inside, models, pictures
from lenet.data import DataError
from lenet.errors import RunError
from lenet.inside import Inspector
from lenet.layers import Dense, Dropout
from lenet.network import Declaration, Model
from lenet.options import Options
from lenet.pictures import figures
from tests.lenet.shown import HISTORY

DIGITS = tuple("0123456789")


def build(**options: object) -> Model:
    with symgraph.config.change_flags(floatX="float32"):
        return models.build(Options.of(**options), (1, 28, 28), DIGITS)


@pytest.fixture(scope="module")
def model() -> Model:
    found = build(model="tutorial", nkerns=(2, 3), hidden=12)
    rng = np.random.RandomState(3)
    w = found.params["layer3.W"]
    w.set_value(rng.normal(0, 0.5, w.get_value().shape).astype("float32"))
    return found


@pytest.fixture(scope="module")
def inspector(model: Model) -> Inspector:
    return Inspector(model)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    images = data.load(source="sample").test.images[:20]
    return (images / 255).astype("float32")


def png(draw, *args, **more) -> np.ndarray:
    """What `draw` draws, as levels (height, width, 3); it must not be blank."""
    from PIL import Image

    target = io.BytesIO()
    draw(target, *args, **more)
    pixels = np.asarray(Image.open(io.BytesIO(target.getvalue())).convert("RGB"))
    assert pixels.min() < 100 and pixels.max() == 255
    return pixels


# ---- arrays --------------------------------------------------------------------------------------


def test_outputs_are_those_of_the_layers(model: Model, inspector: Inspector, x: np.ndarray) -> None:
    outputs = inspector.outputs(x)
    assert list(outputs) == [layer.name for layer in model.layers]
    for layer in model.layers:
        assert outputs[layer.name].shape == (len(x), *layer.output_shape)
    w, b = (model.params[f"layer3.{name}"].get_value() for name in "Wb")
    np.testing.assert_allclose(outputs["layer3"], outputs["layer2"] @ w + b, rtol=1e-4, atol=1e-5)


def test_saliency_is_the_slope_of_the_score(inspector: Inspector) -> None:
    # Noise: where pixels of blank areas tie in max pooling, as in Theano, there is no derivative.
    x = np.random.default_rng(5).uniform(size=(3, 1, 28, 28)).astype("float32")
    gradient = inspector.saliency(x)
    assert gradient.shape == x.shape and gradient.dtype == np.float32
    scores = inspector.outputs(x)["layer3"]
    top = scores.argmax(1)
    np.testing.assert_array_equal(gradient, inspector.saliency(x, top))
    assert not np.array_equal(gradient, inspector.saliency(x, (top + 1) % 10))
    step = 1e-3 * gradient / np.sqrt(np.sum(gradient**2, (1, 2, 3), keepdims=True))
    up, down = (inspector.outputs(x + s)["layer3"] for s in (step, -step))
    measured = (up - down)[np.arange(3), top]
    expected = 2 * np.sum(step * gradient, (1, 2, 3))
    np.testing.assert_allclose(measured, expected, rtol=0.05)


@pytest.mark.parametrize("layer", [None, "layer0"])
def test_maximise_raises_the_answer(inspector: Inspector, layer: str | None) -> None:
    settings = {"steps": 40, "blur": 0.0, "decay": 0.0}
    found = inspector.maximise(layer, [1, 0], **settings)
    assert found.shape == (2, 1, 28, 28) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(found, inspector.maximise(layer, [1, 0], **settings))
    noise = np.random.default_rng(0).uniform(size=(50, 1, 28, 28)).astype("float32")

    def answers(pictures: np.ndarray) -> np.ndarray:
        output = inspector.outputs(pictures)[layer or "layer3"][:, [1, 0]]
        return output.mean((2, 3)) if output.ndim == 4 else output

    assert np.all(np.diagonal(answers(found)) > answers(noise).max(0))
    free = inspector.maximise(layer, [1], steps=5, limits=None)
    assert free.min() < 0


def test_maximise_refuses(inspector: Inspector) -> None:
    with pytest.raises(RunError, match=r"unit 10 of layer layer3: .* expected 0 to 9"):
        inspector.maximise(units=[10])
    with pytest.raises(RunError, match="expected one of layer0, layer1"):
        inspector.maximise("nowhere")


def test_activity(inspector: Inspector, model: Model, x: np.ndarray, monkeypatch) -> None:
    found = inspector.activity(x, bins=7)
    monkeypatch.setattr(inside, "AT_ONCE", 3)
    for one, other in zip(found.values(), inspector.activity(x, bins=7).values(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    output = inspector.outputs(x)["layer0"]
    one = found["layer0"]
    assert one.counts.sum() == output.size and len(one.edges) == 8
    assert one.units == 2 and one.saturated == np.mean(np.abs(output) > 0.95)
    assert found["layer3"].saturated is None


def test_dead_and_silent_units() -> None:
    layers = [Dense(5, activation="relu"), Dropout(0.5), Dense(3)]
    with symgraph.config.change_flags(floatX="float32"):
        rng = np.random.RandomState(0)
        found = Model("dead", Declaration(layers), rng, (1, 4, 4), ("a", "b", "c"))
    b = found.params["dense1.b"]
    b.set_value(np.float32([-99, 9, 9, -99, 9]))
    x = np.random.default_rng(0).uniform(size=(30, 1, 4, 4)).astype("float32")
    activity = Inspector(found).activity(x)
    assert (activity["dense1"].dead, activity["dense1"].units) == (2, 5)
    assert activity["dense1"].zero == 0.4 and activity["dense1"].saturated is None
    outputs = {name: value[0] for name, value in Inspector(found).outputs(x[:1]).items()}
    image = np.zeros((1, 4, 4), np.uint8)
    with_all = png(pictures.features, found, image, outputs)
    alone = png(pictures.features, found, image, outputs, layer="dense1")
    assert len(with_all) > len(alone)  # dropout repeats its input, and has no row of its own


def test_filters_are_what_meets_the_input(model: Model) -> None:
    tutorial = inside.filters(model, "layer0")
    np.testing.assert_array_equal(tutorial, model.params["layer0.W"].get_value()[:, :, ::-1, ::-1])
    dense = inside.filters(model, "layer2")
    assert dense.shape == (12, 3, 4, 4)
    np.testing.assert_array_equal(dense[5].ravel(), model.params["layer2.W"].get_value()[:, 5])
    assert inside.filters(model, "layer3").shape == (10, 12)
    pytorch = build(model="pytorch")
    np.testing.assert_array_equal(
        inside.filters(pytorch, "conv2"), pytorch.params["conv2.W"].get_value()
    )
    with pytest.raises(RunError, match=r"'pool1': got a layer without filters .*conv1, conv2, fc1"):
        inside.filters(pytorch, "pool1")
    flattened = build(model="custom", network="conv 2 3, relu, flatten, dropout 0.1, fc 4, tanh")
    name = flattened.layers[3].name
    assert inside.filters(flattened, name).shape == (4, 2, 26, 26)


def test_filters_of_lenet5() -> None:
    lenet5 = build(model="lenet5")
    c3 = inside.filters(lenet5, "C3")
    connected = np.any(c3 != 0, axis=(2, 3))
    assert c3.shape == (16, 6, 5, 5)
    assert connected.sum(1).tolist() == [3] * 6 + [4] * 9 + [6]
    assert inside.filters(lenet5, "output").shape == (10, 1, 12, 7)
    assert inside.with_filters(lenet5) == ["C1", "C3", "C5", "F6", "output"]
    assert inside.filters(lenet5, "F6").shape == (84, 120)


def test_confusion_counts() -> None:
    labels, answers = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 2, 0])
    table = inside.confusion(labels, answers, 4)
    assert table.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]]


def test_hardest_come_first() -> None:
    p = np.array([[0.9, 0.1, 0.0], [0.4, 0.5, 0.1], [0.35, 0.33, 0.32], [0.0, 0.0, 1.0]])
    labels = np.array([0, 0, 0, 0])
    assert inside.hardest(p, labels).tolist() == [3, 1, 2, 0]
    assert inside.hardest(p, labels, 2).tolist() == [3, 1]
    assert inside.hardest(p, labels, 100).tolist() == [3, 1, 2, 0]


# ---- pictures ------------------------------------------------------------------------------------


def test_every_picture_can_be_drawn(model: Model, inspector: Inspector, x: np.ndarray) -> None:
    images = np.round(x * 255).astype(np.uint8)
    outputs = {name: values[0] for name, values in inspector.outputs(x[:1]).items()}
    png(pictures.features, model, images[0], outputs)
    png(pictures.histograms, inspector.activity(x))
    png(pictures.saliency, images[:2], x[:2], inspector.saliency(x[:2]), ["one", "two"])
    png(pictures.maximised, x[:9], [str(i) for i in range(9)])
    png(pictures.maximised, 3 * x[:1] - 1, ["1"], limits=None, title="a long title " * 9)
    png(pictures.curve, HISTORY)
    png(pictures.curve, [])
    png(pictures.curves, {"a": HISTORY, "b": HISTORY[:1]})


@pytest.mark.parametrize(
    "shape", [(6, 1, 5, 5), (4, 3, 5, 5), (80, 40, 3, 3), (84, 120), (1, 1, 1, 1)]
)
def test_filters_of_any_shape(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(size=shape)
    png(pictures.filters, weights)


def test_pictures_of_silence(model: Model) -> None:
    silent = {layer.name: np.zeros(layer.output_shape) for layer in model.layers}
    png(pictures.features, model, np.zeros((1, 28, 28), np.uint8), silent)
    png(pictures.filters, np.zeros((2, 1, 5, 5)))
    x = np.zeros((1, 1, 28, 28), np.float32)
    png(pictures.saliency, x.astype(np.uint8), x, x, ["blank"])


@pytest.mark.parametrize("classes", [("cat", "dog"), tuple(f"class no. {i}" for i in range(40))])
def test_answers_for_other_classes(classes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(50) % len(classes)
    p = rng.dirichlet(np.ones(len(classes)), 50)
    images = rng.integers(0, 256, (50, 3, 9, 14), np.uint8)
    png(pictures.confusion, inside.confusion(labels, p.argmax(1), len(classes)), classes)
    png(pictures.worst, images, labels, p, classes)
    png(pictures.worst, images[:1], labels[:1], np.eye(len(classes))[:1], classes)


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    pictures.curve(tmp_path / "curve.png", HISTORY)
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
    with pytest.raises(DataError, match="a folder that can be written"):
        pictures.curve(tmp_path / "none" / "curve.png", HISTORY)


def test_long_titles_take_several_lines() -> None:
    figure = figures.new_figure(figures.NARROW, 3)
    figures.entitle(figure, "what maps of C3 answer most to, lenet5 (a folder of some length)")
    figures.save(figure, io.BytesIO())
    (title,) = figure.texts
    drawn, whole = title.get_window_extent(), figure.bbox
    assert whole.x0 <= drawn.x0 and drawn.x1 <= whole.x1
