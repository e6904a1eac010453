"""Checkpoints that are refused, the folders of runs, and the options that runs are asked with."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet import checkpoint as checkpoints
from lenet import runs
from lenet.errors import RunError
from lenet.models import MODELS
from lenet.options import Options
from lenet.preprocessing import Preprocessing
from lenet.train import State
from tests.lenet.small_runs import SMALL, compiled, small_dataset

BARE = Preprocessing.parse("")


# ---- checkpoints that are refused --------------------------------------------------------------


@pytest.fixture(scope="module")
def start() -> tuple[object, checkpoints.Checkpoint]:
    model, functions = compiled(SMALL)
    dataset = small_dataset()
    described = runs.describe_data(dataset)
    return model, checkpoints.snapshot(functions.variables, BARE, SMALL, described, State())


@pytest.fixture
def saved(start, tmp_path: Path) -> Path:
    path = tmp_path / "best.npz"
    checkpoints.save(path, start[1])
    return path


def damaged(path: Path, how: str) -> None:
    blob = path.read_bytes()
    if how == "cut":
        path.write_bytes(blob[: len(blob) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        middle = len(blob) // 2
        path.write_bytes(blob[:middle] + bytes([blob[middle] ^ 255]) + blob[middle + 1 :])
    elif how == "text":
        path.write_text("epoch,cost\n1,2.3\n")
    elif how == "foreign":
        np.savez(path, weights=np.zeros(3))
    elif how == "one array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif how == "pickle":
        np.savez(path, metadata=np.array([{"format": checkpoints.FORMAT}], object))
    elif how == "metadata":
        np.savez(path, metadata=np.frombuffer(b'{"format": "lenet checkpoint 1"}', np.uint8))
    elif how == "list":
        np.savez(path, metadata=np.frombuffer(b"[1, 2]", np.uint8))
    else:
        raise AssertionError(how)


@pytest.mark.parametrize(
    "how", ["cut", "empty", "flipped", "text", "foreign", "one array", "pickle", "metadata", "list"]
)
def test_damaged_checkpoints(saved: Path, how: str) -> None:
    damaged(saved, how)
    refused = r"best\.npz: got a file that cannot be read .*Cure:"
    with pytest.raises(RunError, match=refused) as error:
        checkpoints.load(saved)
    assert "unsafely" not in str(error.value)  # NumPy's advice for what is no zip file
    assert how != "foreign" or "(it has no 'metadata')" in str(error.value)


def test_checkpoint_of_another_model(start, saved: Path) -> None:
    other, functions = compiled(replace(SMALL, nkerns=(3, 3)))
    before = [p.get_value() for p in other.params.values()]
    with pytest.raises(RunError, match=r"layer0.W float32\[2, 1, 5, 5\].*expected.*\[3, 1, 5, 5\]"):
        checkpoints.restore(
            functions.variables, checkpoints.load(saved).variables, saved, "tutorial"
        )
    assert all(
        np.array_equal(p.get_value(), old)
        for p, old in zip(other.params.values(), before, strict=True)
    )


def test_a_checkpoint_builds_its_model(start, saved: Path) -> None:
    model = checkpoints.build(checkpoints.load(saved), saved)
    for name, p in start[0].params.items():
        assert np.array_equal(model.params[name].get_value(), p.get_value())
    assert model.classes == tuple("0123456789") and model.input_shape == (1, 28, 28)


# ---- run folders and options -------------------------------------------------------------------


def test_new_folders_do_not_collide(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *args: "20260101T000000Z")
    assert [runs.create().name for _ in range(2)] == ["20260101T000000Z", "20260101T000000Z-2"]


def test_the_latest_run_is_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"no trained model.*train one"):
        runs.find_checkpoint(None)
    for name, checkpoint in (("a", "best.npz"), ("b", "last.npz"), ("c", "other.txt")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / checkpoint).touch()
        os.utime(folder / checkpoint, ns=(0, ord(name)))
    (tmp_path / "runs" / "a" / "report.html").touch()
    assert runs.find_checkpoint(None) == Path("runs/b/last.npz")
    assert runs.find_checkpoint("runs/a") == Path("runs/a/best.npz")
    assert runs.find_checkpoint("runs/a/best.npz") == Path("runs/a/best.npz")
    for place in ("runs/c", "nowhere"):
        with pytest.raises(RunError, match=r"expected best\.npz or last\.npz"):
            runs.find_checkpoint(place)


def test_folders_are_left_tidy(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".last.npz.abcd").touch()  # of a process that was killed
    with runs.making(folder):
        assert not list(folder.iterdir())
        (folder / "last.npz").touch()
        (folder / ".own").touch()
    assert {path.name for path in folder.iterdir()} == {"last.npz", ".own"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(KeyboardInterrupt), runs.making(tmp_path / "empty"):
        raise KeyboardInterrupt
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "--epochs: got 0; expected a number from 1"),
        ({"batch_size": -3}, "--batch-size: got -3"),
        ({"learning_rate": float("nan")}, "--learning-rate: got nan"),
        ({"learning_rate": 0.0}, "--learning-rate: got 0.0"),
        ({"seed": 2**32}, "--seed: got 4294967296"),
        ({"split_seed": -1}, "--split-seed: got -1"),
        ({"nkerns": (20, 0)}, "--nkerns: got 20,0"),
        ({"limit": 0}, "--limit: got 0"),
        ({"size": (28,)}, "--size: got 28; expected height and width"),
        ({"clip": 0.0}, "--clip: got 0.0"),
        ({"l1": -1.0}, "--l1: got -1.0"),
        ({"l2": float("inf")}, "--l2: got inf"),
        ({"dropout": 1.0}, "--dropout: got 1.0"),
        ({"patience": "0"}, "--patience: got 0"),
        ({"patience": "long"}, "--patience: got long"),
        ({"activation": "swash"}, "swash"),
        ({"optimizer": "lion"}, "lion"),
        ({"schedule": "step:1"}, "schedule"),
        ({"augment": "shift=x"}, "shift"),
        ({"preprocess": "blur"}, "blur"),
        ({"layer_rates": "C1=-1"}, "--layer-rates: got C1=-1"),
        ({"layer_rates": "C1"}, "--layer-rates: got C1"),
    ],
)
def test_options_out_of_range(change: dict[str, object], words: str) -> None:
    with pytest.raises(RunError, match=words):
        replace(SMALL, **change)


def test_recipes_fill_in_what_is_not_given() -> None:
    for name, entry in MODELS.items():
        options = Options.of(model=name)
        assert {key: getattr(options, key) for key in entry.recipe} == dict(entry.recipe)
    assert Options.of(model="pytorch", batch_size=7).batch_size == 7
    # Another optimiser's rate is its own, unless one is given.
    assert Options.of(model="tutorial", optimizer="adam").learning_rate == 0.001
    assert Options.of(model="pytorch", optimizer="adam:beta1=0.8").learning_rate == 2e-3
    assert Options.of(optimizer="adam", learning_rate=0.5).learning_rate == 0.5
    with pytest.raises(RunError, match=r"--model: got vgg; expected one of tutorial, lenet5"):
        Options.of(model="vgg")


def test_options_of_a_resumed_run() -> None:
    assert SMALL.resumed_with({"epochs": 9, "batch_size": 50}) == replace(SMALL, epochs=9)
    with pytest.raises(RunError, match="--batch-size: got 20 for a run that was started with 50"):
        SMALL.resumed_with({"batch_size": 20})
    sized = replace(SMALL, size=(28, 28))
    for options in (SMALL, sized):
        assert Options.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_options_of_a_fine_tuned_run() -> None:
    first = replace(SMALL, preprocess="mean", dropout=0.2, epochs=99, seed=4)
    options = first.finetuned_with({"data": "fashion-mnist", "nkerns": (2, 3), "epochs": 2})
    assert (options.nkerns, options.preprocess, options.dropout) == ((2, 3), "mean", 0.2)
    assert (options.data, options.epochs, options.seed) == ("fashion-mnist", 2, 23455)
    for change, words in (
        ({"nkerns": (4, 4)}, "--nkerns: got 4,4 for a run that was started with 2,3"),
        ({"model": "keras"}, "--model: got keras for a run that was started with tutorial"),
        ({"preprocess": "zca"}, "--preprocess: got zca for a run that was started with mean"),
    ):
        with pytest.raises(RunError, match=words):
            first.finetuned_with(change)
