"""What watches training: early stopping, files, values that are not finite, signals."""

from __future__ import annotations

import csv
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet.data import DataError
from lenet.errors import RunError
from lenet.train import (
    Callback,
    CSVLogger,
    EarlyStopping,
    Functions,
    Round,
    Save,
    Score,
    State,
    StopOnNaN,
    StopOnSignal,
    Trainer,
    TutorialPatience,
)
from tests.lenet.small_runs import SMALL, compiled


def scripted(errors: Sequence[float], batches: int = 2) -> Functions:
    """Functions that compute nothing; validation gives `errors`, one after the other."""
    given = iter(errors)
    return Functions(
        train=lambda i: 0.5,
        validate=lambda: Score(next(given), 1.0),
        batches=batches,
        images=10 * batches,
        test=lambda: Score(0.25, 1.0),
    )


class Noting(Callback):
    """Notes what it is told; raises when it is told `bad`."""

    def __init__(self, notes: list[object], bad: str = "") -> None:
        self.notes, self.bad = notes, bad

    def _note(self, what: str, *more: object) -> None:
        self.notes.append((what, *more) if more else what)
        if what == self.bad:
            raise RunError("test", what, "no error", "none")

    def on_train_begin(self, trainer: Trainer) -> None:
        self._note("begin")

    def on_batch_end(self, trainer: Trainer, iteration: int, cost: float) -> None:
        assert trainer.state.iteration == iteration + 1
        self._note("step", iteration, cost)

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        assert trainer.state.history[-1] is entry
        self._note("epoch", entry.epoch)

    def on_train_end(self, trainer: Trainer) -> None:
        self._note("end")

    def close(self) -> None:
        self._note("close")


def test_what_callbacks_are_told() -> None:
    notes: list[object] = []
    Trainer(scripted([0.5, 0.4]), 2, callbacks=[Noting(notes)]).run()
    assert notes == [
        "begin", ("step", 0, 0.5), ("step", 1, 0.5), ("epoch", 1.0),
        ("step", 2, 0.5), ("step", 3, 0.5), ("epoch", 2.0), "end", "close",
    ]  # fmt: skip


@pytest.mark.parametrize("bad", ["begin", "step", "epoch", "end"])
def test_all_are_closed_after_an_error(bad: str) -> None:
    first: list[object] = []
    second: list[object] = []
    with pytest.raises(RunError):
        Trainer(
            scripted([0.5, 0.4]), 2, callbacks=[Noting(first), Noting(second, bad), Noting([])]
        ).run()
    assert first[-1] == second[-1] == "close" and first.count("close") == 1


def test_a_callback_can_stop_training() -> None:
    class Enough(Callback):
        def on_batch_end(self, trainer: Trainer, iteration: int, cost: float) -> None:
            if iteration == 2:
                trainer.stop("enough")
                trainer.stop("too late to be the reason")

    trainer = Trainer(scripted([0.5, 0.4]), 5, callbacks=[Enough()])
    state = trainer.run()
    assert (state.iteration, len(state.history), trainer.ended) == (3, 1, "enough")
    assert state.cost_sum == 0.5 and state.seconds >= 0


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


CURVES = {
    "flat": [0.5] * 400,
    "falling": [0.9 - 0.002 * i for i in range(400)],
    "slowly": [0.5 - 0.0001 * i for i in range(400)],  # each better, but by less than the threshold
    "waves": [0.9, 0.8, 0.7, 0.6, 0.5, 0.6, 0.7] * 60,
    "late": [0.9] * 5 + [0.1] * 395,
}


def patient(errors: Sequence[float], batches: int, epochs: int, state: State | None) -> Trainer:
    return Trainer(
        scripted(errors, batches), epochs, state, [TutorialPatience()], TutorialPatience.FREQUENCY
    )


@pytest.mark.parametrize("batches", [100, 2_500, 5_000, 7_000, 30_000])
@pytest.mark.parametrize("curve", CURVES)
def test_patience_is_the_tutorials(batches: int, curve: str) -> None:
    epochs = max(1, 30_000 // batches)
    done, best_iteration, best = tutorials_loop(CURVES[curve], batches, epochs)
    trainer = patient(CURVES[curve], batches, epochs, None)
    state = trainer.run()
    assert (state.iteration, state.best_validation_error) == (done, best)
    assert state.best_epoch == best_iteration / batches
    assert trainer.ended == ("patience" if done < epochs * batches else "epochs")


@pytest.mark.parametrize("curve", CURVES)
def test_patience_outlasts_the_process(curve: str) -> None:
    whole = patient(CURVES[curve], 2_500, 12, None).run()
    state = patient(CURVES[curve], 2_500, 2, None).run()
    kept = State.from_json(state.to_json())
    rest = patient(CURVES[curve][2:], 2_500, 12, kept).run()
    assert (rest.iteration, rest.notes) == (whole.iteration, whole.notes)
    again = patient([], 2_500, 12, rest)
    assert again.run().iteration == whole.iteration


def test_early_stopping_counts_epochs() -> None:
    errors = [0.5, 0.4, 0.4, 0.45, 0.3, 0.35]
    trainer = Trainer(scripted(errors), 6, callbacks=[EarlyStopping(2)])
    assert trainer.run().epoch == 4 and trainer.ended == "patience"
    trainer = Trainer(scripted(errors), 6, callbacks=[EarlyStopping(3)])
    assert trainer.run().epoch == 6 and trainer.ended == "epochs"
    done = Trainer(scripted(errors), 6, callbacks=[EarlyStopping(2)]).run()
    again = Trainer(scripted([]), 6, done, [EarlyStopping(2)])
    assert again.run().epoch == 4 and again.ended == "patience"


# ---- files -------------------------------------------------------------------------------------


def test_save_is_called_when_there_is_something_new() -> None:
    saved: list[tuple[int, bool]] = []
    state = State()
    save = Save(lambda is_best: saved.append((state.iteration, is_best)))

    class Stop(Callback):
        def on_batch_end(self, trainer: Trainer, iteration: int, cost: float) -> None:
            if iteration == 4:
                trainer.stop("test")

    Trainer(scripted([0.5, 0.6]), 3, state, [save, Stop()]).run()
    assert saved == [(0, False), (2, True), (4, False), (5, False)]
    saved.clear()
    Trainer(scripted([0.4]), 3, state, [save]).run()
    assert saved == [(6, True)]
    saved.clear()
    Trainer(scripted([]), 3, state, [save]).run()
    assert not saved


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    state = Trainer(scripted([0.5, 0.6]), 2, callbacks=[CSVLogger(path)]).run()
    path.write_text("of a process that was killed")
    Trainer(scripted([0.125]), 3, state, callbacks=[CSVLogger(path)]).run()
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["validation_error"] for row in rows] == ["50", "60", "12.5"]
    assert [row["test_error"] for row in rows] == ["25", "", "25"]
    assert tuple(rows[0]) == CSVLogger.COLUMNS and float(rows[0]["seconds"]) >= 0
    with pytest.raises(DataError, match="a folder that can be written"):
        Trainer(scripted([0.5]), 1, callbacks=[CSVLogger(tmp_path / "none" / "x.csv")]).run()


# ---- values that are not finite ------------------------------------------------------------------


def test_a_cost_that_is_no_number_ends_training() -> None:
    costs = iter([0.5, math.nan])
    functions = replace(
        scripted([0.5], 5), train=lambda i: next(costs), blame=lambda i: f"variable {i}"
    )
    trainer = Trainer(functions, 1, callbacks=[StopOnNaN()])
    words = r"step 2: got a cost of nan, of which variable 1 is the first; .*--learning-rate"
    with pytest.raises(RunError, match=words):
        trainer.run()
    assert not trainer.state.history


def fails(options: object, **values: float) -> tuple[str, dict[str, np.ndarray], dict]:
    """The error of training with `options`, elements of variables set; variables around it."""
    _, functions = compiled(options)
    for name, value in values.items():
        variable = functions.variables[name.replace("__", ".")]
        array = variable.get_value()
        array[...] = value
        variable.set_value(array)
    before = {name: v.get_value() for name, v in functions.variables.items()}
    with pytest.raises(RunError) as error:
        Trainer(functions, 3, callbacks=[StopOnNaN()]).run()
    after = {name: v.get_value() for name, v in functions.variables.items()}
    return str(error.value), before, after


def test_the_first_to_go_bad_is_named() -> None:
    said, *_ = fails(replace(SMALL, learning_rate=1e30, activation="relu"))
    assert "step 2: got a cost of" in said and "of which the output of layer" in said
    said, *_ = fails(replace(SMALL, learning_rate=1e38))
    assert "of which the cost is the first" in said  # tanh keeps all outputs in bounds
    # Weights that are finite, but whose products are not.
    said, before, after = fails(replace(SMALL, activation="relu"), layer1__W=3e38)
    assert "step 1: got a cost of" in said and "of which the output of layer1 is the first" in said
    for name, value in before.items():
        assert np.array_equal(after[name], value), name  # the step changed nothing
    said, *_ = fails(SMALL, layer1__b=math.nan)
    assert "of which layer1.b is the first" in said
    said, *_ = fails(replace(SMALL, l2=1e38, learning_rate=1e-30), layer2__W=10.0)
    assert "of which the cost is the first" in said


def test_gradients_are_blamed() -> None:
    """Scores may be finite where their gradients are not."""
    _, functions = compiled(replace(SMALL, activation="relu"))
    for name, value in (("layer3.W", 3e38), ("layer2.W", 0.0)):
        variable = functions.variables[name]
        variable.set_value(np.full_like(variable.get_value(), value))
    signs = functions.variables["layer3.W"].get_value()
    signs[:, ::2] *= -1
    functions.variables["layer3.W"].set_value(signs)
    functions.variables["layer2.b"].set_value(np.ones(20, "float32") * 1e-38)
    assert functions.blame(0) is not None and "gradient of" in str(functions.blame(0))


def test_blame_sees_what_the_step_saw() -> None:
    """The same dropped units: blaming draws no random numbers, and changes nothing."""
    _, functions = compiled(replace(SMALL, dropout=0.5, augment="shift=2", batch_norm=True))
    before = {name: v.get_value() for name, v in functions.variables.items()}
    assert functions.blame(0) is None
    for name, v in functions.variables.items():
        assert np.array_equal(v.get_value(), before[name]), name


def test_nothing_bad_is_saved() -> None:
    """A step of finite cost may still spoil the weights: they are looked at before each saving."""
    _, functions = compiled(SMALL)
    weights = functions.variables["layer2.W"]
    train = functions.train
    saved: list[int] = []

    def spoiling(batch: int) -> object:
        cost = train(batch)
        if batch == functions.batches - 1:
            weights.set_value(np.full_like(weights.get_value(), np.inf))
        return cost

    trainer = Trainer(
        replace(functions, train=spoiling),
        2,
        callbacks=[StopOnNaN(), Save(lambda is_best: saved.append(trainer.state.iteration))],
    )
    words = r"step 9: got values that are not finite, of which layer2.W is the first"
    with pytest.raises(RunError, match=words):
        trainer.run()
    assert saved == [0]


# ---- signals -------------------------------------------------------------------------------------


@pytest.fixture
def handlers() -> Iterator[dict[int, object]]:
    """The usual handlers, which must be the same afterwards."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    # Of a process in the background SIGINT is ignored.
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield usual
    after = {number: signal.getsignal(number) for number in usual}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == usual


class Kill(Callback):
    """Sends a signal to this process after some steps."""

    def __init__(self, number: int, *steps: int) -> None:
        self.number, self.steps = number, steps

    def on_batch_end(self, trainer: Trainer, iteration: int, cost: float) -> None:
        if iteration in self.steps:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_the_step(handlers, number: int) -> None:
    watching = StopOnSignal()
    saved: list[int] = []
    trainer = Trainer(
        scripted([0.5, 0.4], 3),
        2,
        callbacks=[
            Save(lambda is_best: saved.append(trainer.state.iteration)),
            watching,
            Kill(number, 4),
        ],
    )
    state = trainer.run()
    assert (state.iteration, trainer.ended, watching.received) == (5, "interrupted", number)
    assert saved == [0, 3, 5]


def test_the_second_one_is_immediate(handlers) -> None:
    class Impatient(Callback):
        def on_batch_end(self, trainer: Trainer, iteration: int, cost: float) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            assert trainer.ended == "interrupted"
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not reached")

    trainer = Trainer(scripted([0.5]), 1, callbacks=[StopOnSignal(), Impatient()])
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


def test_handlers_come_back_after_an_error(handlers) -> None:
    with pytest.raises(RunError):
        Trainer(scripted([0.5]), 1, callbacks=[StopOnSignal(), Noting([], "epoch")]).run()


def test_a_signal_after_the_last_step_is_no_interruption(handlers) -> None:
    trainer = Trainer(scripted([0.5]), 1, callbacks=[StopOnSignal(), Kill(signal.SIGINT, 1)])
    trainer.run()
    assert trainer.ended == "epochs"


def test_ignored_signals_stay_ignored(handlers) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trainer = Trainer(scripted([0.5]), 1, callbacks=[StopOnSignal(), Kill(signal.SIGINT, 0)])
        trainer.run()
        assert trainer.ended == "epochs" and trainer.state.iteration == 2
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handlers[signal.SIGINT])


def test_other_threads_have_no_signals(handlers) -> None:
    done = []

    def work() -> None:
        done.append(Trainer(scripted([0.5]), 1, callbacks=[StopOnSignal()]).run())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done[0].epoch == 1
