"""The training loop and its state: patience as in the tutorial, checkpoints, resuming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import symgraph
from lenet import checkpoint as checkpoints
from lenet import data, runs
from lenet.data import DataError, Dataset, Split
from lenet.errors import RunError
from lenet.models import build
from lenet.options import Options
from lenet.train import Functions, Round, State, Trainer, compile_functions, count_batches

SMALL = Options(source="sample", epochs=4, batch_size=50, nkerns=(2, 3), limit=400)


def small_dataset() -> Dataset:
    sample = data.load(source="sample")
    train, valid, test = (
        Split(part.images[:count], part.labels[:count])
        for part, count in ((sample.train, 400), (sample.valid, 130), (sample.test, 90))
    )
    return replace(sample, train=train, valid=valid, test=test)


# ---- early stopping ----------------------------------------------------------------------------


def tutorials_loop(errors: Sequence[float], batches: int, epochs: int) -> tuple[int, int, float]:
    """Iterations done, iteration of the best, its error: mlp.py of the tutorials, in essence."""
    patience, frequency = 10_000, min(batches, 5_000)
    best, best_iteration, given = np.inf, 0, iter(errors)
    for i in range(epochs * batches):
        if (i + 1) % frequency == 0:
            error = next(given)
            if error < best:
                if error < best * 0.995:
                    patience = max(patience, i * 2)
                best, best_iteration = error, i + 1
        if patience <= i:
            return i + 1, best_iteration, best
    return epochs * batches, best_iteration, best


def scripted(errors: Sequence[float], batches: int) -> Functions:
    """Functions that compute nothing: one validation example of 10,000, errors as given."""
    given = iter(errors)
    return Functions(
        train=lambda i: 0.5, validate=lambda i: next(given), test=lambda i: 0.25,
        batches=batches, batch_size=10_000, valid_count=10_000, test_count=10_000,
    )  # fmt: skip


@pytest.mark.parametrize("batches", [100, 2_500, 7_000])
@pytest.mark.parametrize(
    "errors",
    [
        [0.5] * 400,
        [0.9 - 0.002 * i for i in range(400)],
        [0.5 - 0.0001 * i for i in range(400)],  # each better, but by less than the threshold
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.6, 0.7] * 60,
    ],
    ids=["flat", "falling", "slowly", "waves"],
)
def test_patience_is_the_tutorials(batches: int, errors: list[float]) -> None:
    epochs = 25_000 // batches
    trainer = Trainer(scripted(errors, batches), epochs)
    while not trainer.is_done:
        trainer.advance()
    done, best_iteration, best = tutorials_loop(errors, batches, epochs)
    assert trainer.state.iteration == done
    assert trainer.state.best_epoch == best_iteration / batches
    assert trainer.state.best_validation_error == pytest.approx(best, abs=1e-4)


def test_errors_count_every_example_once() -> None:
    shares = iter([0.5, 0.5, 1.0])
    functions = replace(
        scripted([0.0], 1), validate=lambda i: next(shares), batch_size=4, valid_count=9
    )
    entry = Trainer(functions, 1).advance()
    assert entry is not None and entry.validation_error == 5 / 9


def test_a_cost_that_is_no_number_ends_training() -> None:
    costs = iter([0.5, float("nan")])
    trainer = Trainer(replace(scripted([0.5], 5), train=lambda i: next(costs)), 1)
    with pytest.raises(RunError, match=r"iteration 2: got a cost of nan.*smaller --learning-rate"):
        trainer.advance()
    assert trainer.state == State()


def test_state_survives_json() -> None:
    state = State(7, 10_001, 0.1, 1.5, 0.2, [Round(7, 1.5, 0.3, 0.1, None, 1.0, 0.7)], 0.25, 3.0)
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert State.from_json(json.loads(json.dumps(State().to_json()))) == State()


# ---- training for real -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session():
    """A model and its compiled functions, trained by several tests, which set it back."""
    with symgraph.config.change_flags(floatX="float32"):
        model = build(SMALL)
        functions = compile_functions(model, small_dataset(), SMALL.batch_size, 0.1)
    start = checkpoints.snapshot(model, SMALL, {}, State())
    return model, functions, start


def train(functions: Functions, epochs: int, state: State) -> Trainer:
    trainer = Trainer(functions, epochs, state)
    while not trainer.is_done:
        trainer.advance()
    return trainer


def numbers(state: State) -> list[tuple[object, ...]]:
    """The history without its times."""
    return [entry[:-2] for entry in state.history]


def test_it_learns(session) -> None:
    model, functions, start = session
    checkpoints.restore(model, start, Path("start"))
    state = train(functions, 4, State()).state
    costs = [entry.cost for entry in state.history]
    assert state.iteration == 32 and costs == sorted(costs, reverse=True)
    assert costs[0] == pytest.approx(2.3, abs=0.2) and costs[-1] < 1.8
    assert state.best_validation_error < 0.6 and state.test_error < 0.6


def test_resumed_training_is_the_same_to_the_bit(session, tmp_path: Path) -> None:
    model, functions, start = session
    checkpoints.restore(model, start, tmp_path)
    whole = train(functions, 4, State()).state
    expected = checkpoints.snapshot(model, SMALL, {}, whole)

    checkpoints.restore(model, start, tmp_path)
    half = train(functions, 2, State()).state
    checkpoints.save(tmp_path / "last.npz", checkpoints.snapshot(model, SMALL, {}, half))
    functions.train(0)  # and more, which resuming forgets
    loaded = checkpoints.load(tmp_path / "last.npz")
    checkpoints.restore(model, loaded, tmp_path)
    assert loaded.options == SMALL and loaded.state == half
    rest = train(functions, 4, loaded.state).state

    assert numbers(rest) == numbers(whole)
    for p in model.params:
        assert np.array_equal(p.get_value(), expected.parameters[p.name]), p.name


# ---- checkpoints that are refused --------------------------------------------------------------


@pytest.fixture
def saved(session, tmp_path: Path) -> Path:
    path = tmp_path / "best.npz"
    checkpoints.save(path, session[2])
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
    "how", ["cut", "empty", "flipped", "foreign", "one array", "pickle", "metadata", "list"]
)
def test_damaged_checkpoints(saved: Path, how: str) -> None:
    damaged(saved, how)
    with pytest.raises(RunError, match=r"best\.npz: got a file that cannot be read .*Cure:"):
        checkpoints.load(saved)


def test_checkpoint_of_another_model(session, saved: Path) -> None:
    with symgraph.config.change_flags(floatX="float32"):
        other = build(replace(SMALL, nkerns=(3, 3)))
    before = [p.get_value() for p in other.params]
    with pytest.raises(RunError, match=r"layer0.W float32\[2, 1, 5, 5\].*expected.*\[3, 1, 5, 5\]"):
        checkpoints.restore(other, checkpoints.load(saved), saved)
    assert all(
        np.array_equal(p.get_value(), old) for p, old in zip(other.params, before, strict=True)
    )


def test_saving_leaves_the_old_file_when_it_fails(session, saved: Path, monkeypatch) -> None:
    before = saved.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DataError, match="No space left"):
        checkpoints.save(saved, session[2])
    assert saved.read_bytes() == before and len(list(saved.parent.iterdir())) == 1


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
    assert runs.find_checkpoint(None) == Path("runs/b/last.npz")
    assert runs.find_checkpoint("runs/a") == Path("runs/a/best.npz")
    assert runs.find_checkpoint("runs/a/best.npz") == Path("runs/a/best.npz")
    for place in ("runs/c", "nowhere"):
        with pytest.raises(RunError, match=r"expected best\.npz or last\.npz"):
            runs.find_checkpoint(place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "--epochs: got 0; expected a number from 1"),
        ({"batch_size": -3}, "--batch-size: got -3"),
        ({"learning_rate": float("nan")}, "--learning-rate: got nan"),
        ({"learning_rate": 0.0}, "--learning-rate: got 0.0"),
        ({"seed": 2**32}, "--seed: got 4294967296"),
        ({"nkerns": (20, 0)}, "--nkerns: got 20,0"),
        ({"limit": 0}, "--limit: got 0"),
    ],
)
def test_options_out_of_range(change: dict[str, object], words: str) -> None:
    with pytest.raises(RunError, match=words):
        replace(SMALL, **change)


def test_options_of_a_resumed_run() -> None:
    assert SMALL.resumed_with({"epochs": 9, "batch_size": 50}) == replace(SMALL, epochs=9)
    with pytest.raises(RunError, match="--batch-size: got 20 for a run that was started with 50"):
        SMALL.resumed_with({"batch_size": 20})
    assert Options.from_json(json.loads(json.dumps(SMALL.to_json()))) == SMALL


def test_batch_larger_than_the_data() -> None:
    with pytest.raises(RunError, match="--batch-size: got 500 for 400 training images"):
        count_batches(small_dataset(), 500)
