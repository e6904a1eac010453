"""What watches training: checkpoints, early stopping, a table, values gone bad, Ctrl-C."""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, SupportsFloat

from lenet.data.sources import write_atomically
from lenet.errors import RunError
from lenet.train.blame import first_not_finite
from lenet.train.state import Round
from lenet.train.trainer import Callback, Trainer

PATIENCE = "patience"  # why early stopping ends training, in `Trainer.ended`


class EarlyStopping(Callback):
    """Stop after `patience` epochs, above 0, without a lower validation error.

    Source: Keras, `EarlyStopping`; the best weights are in best.npz.
    """

    name = "early stopping"

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_train_begin(self, trainer: Trainer) -> None:
        if trainer.state.history:
            self.on_epoch_end(trainer, trainer.state.history[-1])

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        if entry.epoch - trainer.state.best_epoch >= self.patience:
            trainer.stop(PATIENCE)


class TutorialPatience(Callback):
    """Early stopping as in the Deep Learning Tutorials, counted in steps.

    STEPS are made in any case; a model better by half a per cent makes that twice the steps it
    took. Give the trainer `frequency=TutorialPatience.FREQUENCY`: long epochs are validated more
    often. Source: deeplearning.net tutorial "gettingstarted".
    """

    name = "tutorial patience"
    STEPS = 10_000
    INCREASE = 2
    THRESHOLD = 0.995
    FREQUENCY = STEPS // 2

    def on_train_begin(self, trainer: Trainer) -> None:
        fresh = {"steps": self.STEPS, "best": None}
        self.notes = trainer.state.notes.setdefault(self.name, fresh)
        self._check(trainer)

    def on_batch_end(self, trainer: Trainer, iteration: int, cost: SupportsFloat) -> None:
        if (iteration + 1) % trainer.frequency:  # else validation may still give more time
            self._check(trainer)

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        notes = self.notes
        if trainer.state.is_best:
            if notes["best"] is None or entry.validation_error < notes["best"] * self.THRESHOLD:
                notes["steps"] = max(notes["steps"], (entry.iteration - 1) * self.INCREASE)
            notes["best"] = entry.validation_error
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if self.notes["steps"] < trainer.state.iteration:
            trainer.stop(PATIENCE)


class Save(Callback):
    """Calls `save(is_best)` before the first step, after each validation and at the end.

    `is_best` is True after a validation with the lowest error so far.
    """

    name = "save"

    def __init__(self, save: Callable[[bool], None]) -> None:
        self.save = save
        self.saved: int | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        self.saved = trainer.state.iteration
        if self.saved == 0:  # something to resume from the first moment on
            self._save(trainer, False)

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        self._save(trainer, trainer.state.is_best)

    def on_train_end(self, trainer: Trainer) -> None:
        if trainer.state.iteration != self.saved:
            self._save(trainer, False)

    def _save(self, trainer: Trainer, is_best: bool) -> None:
        self.save(is_best)
        self.saved = trainer.state.iteration


class CSVLogger(Callback):
    """Writes the history to `path`, a row for each validation, whole or not at all.

    Columns are epoch, learning_rate, cost, validation_cost, validation_error, test_error (where it
    was measured: at a best validation error) and seconds; errors in per cent. Source: Keras,
    `CSVLogger`. Raises DataError if `path` cannot be written.
    """

    name = "csv"
    COLUMNS = (
        "epoch", "learning_rate", "cost", "validation_cost", "validation_error", "test_error",
        "seconds",
    )  # fmt: skip

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_train_begin(self, trainer: Trainer) -> None:
        # Anew when a run goes on: the last process may have ended before it could.
        self._write(trainer.state.history)

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        self._write(trainer.state.history)

    def _write(self, history: Sequence[Round]) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(self.COLUMNS)
        for entry in history:
            table.writerow([
                f"{entry.epoch:g}", f"{entry.learning_rate:.8g}", f"{entry.cost:.8g}",
                f"{entry.validation_cost:.8g}", f"{100 * entry.validation_error:.8g}",
                "" if entry.test_error is None else f"{100 * entry.test_error:.8g}",
                f"{entry.seconds:.3f}",
            ])  # fmt: skip
        write_atomically(self.path, text.getvalue().encode())


class StopOnNaN(Callback):
    """Raises RunError when cost or variables are not finite, with the first that went bad.

    It stands before what saves, so that nothing bad is ever saved. Source: Keras,
    `TerminateOnNaN`.
    """

    name = "nan"

    def on_cost(self, trainer: Trainer, iteration: int, cost: float) -> None:
        if not math.isfinite(cost):
            first = trainer.functions.blame(iteration % trainer.functions.batches)
            self._raise(iteration + 1, f"a cost of {cost}", first)

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        self.on_train_end(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        if first := first_not_finite(trainer.functions.variables):
            self._raise(trainer.state.iteration, "values that are not finite", first)

    def _raise(self, iteration: int, got: str, first: str | None) -> None:
        raise RunError(
            f"step {iteration:,}",
            got + (f", of which {first} is the first" if first else ""),
            "finite numbers",
            "train with a smaller --learning-rate, or with --clip 1",
        )


class StopOnSignal(Callback):
    """Makes the first Ctrl-C, or SIGTERM, end training after the step; the next is as always.

    `received` is the signal's number then, else None. Signals that are ignored stay so, and in
    other threads than the main one nothing is done.
    """

    name = "signals"
    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: int | None = None
        self.before: dict[signal.Signals, Any] = {}

    def on_train_begin(self, trainer: Trainer) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self.received = number
            trainer.stop("interrupted")
            self.close()

        if threading.current_thread() is not threading.main_thread():
            return
        for number in self.SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self.before[number] = signal.signal(number, stop)

    def close(self) -> None:
        while self.before:
            number, handler = self.before.popitem()
            signal.signal(number, handler or signal.SIG_DFL)
