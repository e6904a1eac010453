"""The gradient check: right gradients pass, wrong ones are found, kinks are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from lenet import models
from lenet.__main__ import main
from lenet.activations import relu
from lenet.commands.check import table
from lenet.errors import RunError
from lenet.gradient_check import (
    Checked,
    check,
    check_layer,
    check_model,
    random_batch,
    scatter,
)
from lenet.layers import Conv2D, Dense, Layer, Pool2D
from lenet.network import Declaration, Model
from lenet.options import Options
from symgraph import tensor as T
from tests.lenet.shown import write_run

DIGITS = tuple("0123456789")
SMALL = {"model": "tutorial", "nkerns": (2, 3), "hidden": 8}


class Wrong(Layer):
    """tanh, whose gradient comes out a hundredth too large."""

    label = "wrong"

    def apply(self, x: Any, how: Any) -> Any:
        a = x.type("a")
        op = symgraph.OpFromGraph(
            [a],
            [T.tanh(a)],
            grad_overrides=lambda inputs, g: [1.01 * g[0] / T.cosh(inputs[0]) ** 2],
        )
        return op(x)


def build(**options: Any) -> Model:
    with symgraph.config.change_flags(floatX="float64"):
        return models.build(Options.of(**options), (1, 28, 28), DIGITS)


def own(*layers: Layer, shape: tuple[int, int, int] = (1, 4, 4)) -> Model:
    with symgraph.config.change_flags(floatX="float64"):
        return Model("own", Declaration(layers), np.random.RandomState(0), shape, ("a", "b"))


def of(values: list[float], cost: Any, **settings: Any) -> Checked:
    """The check of cost(x), a scalar, at x = values."""
    x = symgraph.shared(np.array(values), "x")
    (row,) = check(cost(x), {"x": x}, {}, **settings)
    np.testing.assert_array_equal(x.get_value(), values)
    return row


def test_a_right_model_passes() -> None:
    model = build(**SMALL)
    scatter(model)
    before = {name: p.get_value() for name, p in model.params.items()}
    rows = check_model(model, *random_batch(model), entries=12)
    assert [row.name for row in rows] == [*model.params, "input"]
    assert all(row.ok and row.error < 1e-5 for row in rows)
    assert any(row.error > 0 for row in rows)
    sizes = {row.name: (row.checked, row.size) for row in rows}
    assert sizes["layer0.b"] == (2, 2) and sizes["layer0.W"] == (12, 50)
    assert all(abs(row.symbolic) > 0 for row in rows if row.error)
    for name, p in model.params.items():
        np.testing.assert_array_equal(p.get_value(), before[name])


def test_zeros_are_moved_before_they_hide_errors() -> None:
    model = build(**SMALL)
    assert not model.params["layer3.W"].get_value().any()
    drawn = model.params["layer1.W"].get_value()
    scatter(model)
    assert np.ptp(model.params["layer3.W"].get_value()) > 0.1
    np.testing.assert_array_equal(model.params["layer1.W"].get_value(), drawn)


def test_all_entries() -> None:
    model = own(Dense(3, activation="tanh"), Dense(2))
    rows = check_model(model, *random_batch(model, 2), entries=None)
    assert [(row.checked, row.size, row.ok) for row in rows] == [
        (n, n, True) for n in (48, 3, 6, 2, 32)
    ]


def test_dropout_drops_the_same_in_every_evaluation() -> None:
    model = build(
        model="custom", network="conv 2 5, norm, relu, max 4, fc 20, relu, dropout 0.5", seed=1
    )
    rows = check_model(model, *random_batch(model), entries=10)
    assert all(row.ok for row in rows), table(rows)


def test_a_wrong_gradient_is_found() -> None:
    model = own(Dense(4), Wrong(), Dense(2))
    rows = {row.name: row for row in check_model(model, *random_batch(model), entries=5)}
    assert [name for name, row in rows.items() if not row.ok] == ["dense1.W", "dense1.b", "input"]
    assert all(rows[name].ok for name in ("dense2.W", "dense2.b"))
    assert rows["dense1.b"].error == pytest.approx(0.01 / 2.01, rel=0.01)
    assert rows["dense1.b"].kinks == 0
    (row,) = check_layer(model.layers[1], entries=6)
    assert not row.ok and row.name == "input"


def test_a_gradient_that_is_not_a_number_is_found() -> None:
    assert of([0.0, 1.0], lambda x: T.sqrt(x).sum()).error == np.inf


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_costs_of_any_size(scale: float) -> None:
    assert of([0.3, -2.0, 5.0], lambda x: scale * T.sin(x).sum()).ok


def test_kinks() -> None:
    at = of([0.0, 1.0, -1.0], lambda x: relu(x).sum())
    assert (at.kinks, at.undecided, at.ok, at.error < 1e-9) == (1, 1, True, True)
    near = of([1e-6, 1.0], lambda x: relu(x).sum())
    assert (near.kinks, near.undecided, near.ok) == (1, 0, True)
    all_at = of([0.0, 0.0], lambda x: relu(x).sum())
    assert (all_at.kinks, all_at.undecided, all_at.ok) == (2, 2, False)
    # Both sides of a kink have slopes from 0 to 1: 2 is no gradient there.
    wrong = of([0.0, 1.0], lambda x: T.switch(x <= 0, 2 * x - symgraph.gradient.zero_grad(2 * x),
                                              x).sum())  # fmt: skip
    assert not wrong.ok and wrong.undecided == 0


def test_blank_areas_have_a_gradient() -> None:
    """Where a filter's results are all equal, they stay so when it changes: this is no kink."""
    layers = [Dense(8, activation="tanh"), Dense(2)]
    model = own(Conv2D(2, 3, activation="tanh"), Pool2D(2), *layers, shape=(1, 8, 8))
    scatter(model)
    images, labels = random_batch(model)
    images[:, :, :4] = 0
    rows = {row.name: row for row in check_model(model, images, labels, entries=None)}
    assert all(row.ok for row in rows.values()), table(list(rows.values()))
    assert [rows[name].kinks for name in ("conv1.W", "conv1.b")] == [0, 0]
    assert rows["input"].kinks > 0


@pytest.mark.parametrize("ties", ["first", "all"])
def test_ties_of_real_images_are_no_errors(ties: str) -> None:
    layers = [Dense(16, activation="relu"), Dense(2)]
    model = own(Pool2D(2, ties=ties), *layers)
    images, labels = random_batch(model)
    images[:, :, :2, :2] = 0.5
    rows = check_model(model, images, labels, entries=None)
    assert all(row.ok for row in rows), table(rows)
    assert rows[-1].name == "input" and rows[-1].kinks >= 4 * len(images) * 0.5


def test_float32_is_refused() -> None:
    x = symgraph.shared(np.zeros(2, np.float32), "x")
    with pytest.raises(RunError, match="of x: got float32; expected float64"):
        check(T.sum(x), {"x": x}, {})


# ---- the command ---------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> list[str]:
    capsys.readouterr()
    assert main(["check", *words]) == status
    captured = capsys.readouterr()
    return (captured.err if status and captured.err else captured.out).splitlines()


def test_check_a_new_model(capsys) -> None:
    lines = said(capsys, "--nkerns", "2,3", "--hidden", "8", "--entries", "3", "--batch", "2")
    assert lines[0] == "gradients of a new tutorial, 2 random images"
    assert lines[1] == "float64, central differences of 1e-05"
    rows = [line.split() for line in lines[4:13]]
    assert [row[0] for row in rows][::8] == ["layer0.W", "input"]
    assert rows[0][1:5] == ["2x1x5x5", "3", "of", "50"] and all(row[-1] == "ok" for row in rows)
    assert lines[-1] == "ok: all 9 gradients are right, to 1e-05"


def test_check_a_layer(capsys) -> None:
    lines = said(capsys, "--nkerns", "2,3", "--hidden", "8", "--layer", "layer3", "--batch", "2")
    assert lines[0] == "gradients of layer layer3 of a new tutorial, 2 random inputs"
    assert [line.split()[0] for line in lines[4:7]] == ["layer3.W", "layer3.b", "input"]


def test_check_a_run_on_real_images(tmp_path: Path, capsys) -> None:
    run = write_run(tmp_path / "run", **SMALL)
    lines = said(capsys, str(run), "--source", "sample", "--entries", "3", "--batch", "4")
    assert "4 test images of mnist from sample" in lines[0] and "best.npz" in lines[0]
    assert lines[-1].startswith("ok: all 9")


def test_a_failure_is_told(monkeypatch, capsys) -> None:
    model = own(Dense(3), Wrong(), Dense(2), shape=(1, 28, 28))
    monkeypatch.setattr(models, "build", lambda *args: model)
    lines = said(capsys, "--entries", "4", "--batch", "2", status=1)
    assert lines[-1] == "FAILED: 3 of 5 gradients are wrong or undecided"
    assert any(line.startswith("dense1.b[") and "finite differences" in line for line in lines)
    assert sum(line.endswith("FAILED") for line in lines) == 3


def test_rows_that_are_undecided_are_told(monkeypatch, capsys) -> None:
    row = Checked("b", (2,), 2, 2, 0.0, (0,), 0.0, 0.5, 2, 2, 1e-5)
    monkeypatch.setattr("lenet.commands.check.check_model", lambda *args, **more: [row])
    lines = said(capsys, "--nkerns", "2,3", "--hidden", "8", status=1)
    assert "b: all 2 entries lie at kinks; check it on other images" in lines


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--layer", "C9"], "'C9': got a name that no layer has; expected one of layer0"),
        (["--entries", "0"], "--entries: got 0; expected 1 or more"),
        (["--epsilon", "0"], "--epsilon: got 0; expected between 0 and 1"),
        (["--tolerance", "nan"], "--tolerance: got nan"),
        (["--source", "nowhere"], "nowhere"),
        (["no/run"], "nothing there"),
        (["no/run", "--model", "keras"], "--model: got keras for a trained model"),
    ],
)
def test_check_refuses(words: list[str], told: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    lines = said(capsys, *words, status=1)
    assert lines[-1].startswith("lenet: ") and told in lines[-1] and "Cure: " in lines[-1]
