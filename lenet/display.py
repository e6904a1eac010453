"""What a person sees while a model trains: a header, a bar during an epoch, a line after it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, SupportsFloat

from lenet.data import Dataset
from lenet.network import Model
from lenet.options import Options
from lenet.summary import summary
from lenet.train import Callback, Round, State, Trainer


class Display:
    """Writes to standard output; the bar is tqdm's, on a terminal, where it is installed."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def line(self, text: str) -> None:
        if not self.quiet:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def header(self, model: Model, dataset: Dataset, options: Options) -> None:
        """What is about to be trained, on what."""
        sizes = [f"{len(p.labels):,}" for p in (dataset.train, dataset.valid, dataset.test)]
        loud = "  THE SAMPLE, NOT THE FULL SET: errors will be higher" if dataset.is_sample else ""
        at_once = f"batches of {options.batch_size}" if options.batch_size else "all images at once"
        epochs = "1 epoch" if options.epochs == 1 else f"{options.epochs} epochs"
        lines = [
            summary(model),
            "",
            f"data   {dataset.name} from {dataset.source}{loud}",
            "       {} to train, {} to validate, {} to test".format(*sizes),
            f"train  up to {epochs} of {at_once}, {options.optimizer}, "
            f"learning rate {options.learning_rate:g}, seed {options.seed}",
        ]
        more = {
            "schedule": options.schedule if options.schedule != "constant" else "",
            "augment": options.augment,
            "preprocess": options.preprocess,
            "rates": options.layer_rates,
            "frozen": options.freeze,
        }
        extras = [f"{name} {value}" for name, value in more.items() if value]
        self.line("\n".join(lines + (["       " + "; ".join(extras)] if extras else [])))

    @contextmanager
    def pause(self, begun: str, done: str) -> Iterator[list[float]]:
        """Around what takes a while: a line before, and one after that says how long it took.

        The seconds are put into the list that is given.
        """
        begin = time.perf_counter()
        taken: list[float] = []
        self.line(f"{begun} ...")
        yield taken
        taken.append(time.perf_counter() - begin)
        self.line(f"{done} in {taken[0]:.1f} s")

    def round(self, entry: Round, epochs: int, images: int) -> None:
        """A line for a finished round of `images` images."""
        width = len(str(epochs))
        test = f"  test {100 * entry.test_error:5.2f} %" if entry.test_error is not None else ""
        rate = images / entry.training_seconds if entry.training_seconds else 0.0
        self.line(
            f"epoch {entry.epoch:{width}g}/{epochs}  cost {entry.cost:.4f}  "
            f"validation {100 * entry.validation_error:5.2f} %{test or ' ' * 14}  "
            f"{entry.seconds:.1f} s  {rate:,.0f} images/s"
        )


class Progress(Callback):
    """A bar during an epoch, where standard error is a terminal, and a line after it."""

    name = "progress"

    def __init__(self, display: Display | None = None) -> None:
        self.display = display or Display()
        self.bar: Any = None

    def on_train_begin(self, trainer: Trainer) -> None:
        self._open(trainer)

    def on_batch_end(self, trainer: Trainer, iteration: int, cost: SupportsFloat) -> None:
        if self.bar is None:
            return
        if self.bar.update():  # it was drawn: the cost is for the next time
            self.bar.set_postfix_str(f"cost {float(cost):.4f}{self.error}", refresh=False)
        if (iteration + 1) % trainer.frequency == 0:
            self.bar.set_description_str(f"{self.bar.desc}, validating")

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        self.close()
        images = round(trainer.functions.images * trainer.frequency / trainer.functions.batches)
        self.display.round(entry, trainer.epochs, images)
        self._open(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _open(self, trainer: Trainer) -> None:
        if self.display.quiet or trainer.is_done or not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        state = trainer.state
        last = state.history[-1:]
        self.error = "".join(f", validation {100 * e.validation_error:.2f} %" for e in last)
        self.bar = tqdm(
            total=trainer.frequency,
            initial=state.iteration % trainer.frequency,
            desc=f"epoch {state.iteration // trainer.functions.batches + 1}",
            unit="batch",
            leave=False,
        )


def result_line(state: State, folder: str) -> str:
    """The last line of a run."""
    if not state.history:
        return f"no epoch was finished; run folder {folder}"
    return (
        f"best validation error {100 * state.best_validation_error:.2f} % at epoch "
        f"{state.best_epoch:g}, test error {100 * state.test_error:.2f} %; run folder {folder}"
    )
