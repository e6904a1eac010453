"""What a person sees while a model trains: a header, a bar during an epoch, a line after it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lenet.data import Dataset
from lenet.models import Model
from lenet.options import Options
from lenet.train import Round, State, Trainer, count_batches


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
        self.line(summary(model))
        self.line(f"data   {dataset.name} from {dataset.source}{loud}")
        self.line("       {} to train, {} to validate, {} to test".format(*sizes))
        self.line(
            f"train  up to {options.epochs} epochs of {count_batches(dataset, options.batch_size)} "
            f"batches of {options.batch_size}, learning rate {options.learning_rate:g}, "
            f"seed {options.seed}"
        )

    @contextmanager
    def compiling(self, count: int) -> Iterator[list[float]]:
        """Around compilation; the seconds it took are put into the list that is given."""
        begin = time.perf_counter()
        taken: list[float] = []
        self.line(f"compiling {count} functions ...")
        yield taken
        taken.append(time.perf_counter() - begin)
        self.line(f"compiled in {taken[0]:.1f} s (kept for next time)")

    @contextmanager
    def bar(self, trainer: Trainer) -> Iterator[Callable[[float], object]]:
        """A function to call with the cost after each minibatch of the next round."""
        try:
            from tqdm import tqdm
        except ImportError:
            yield lambda cost: None
            return
        state, total = trainer.state, trainer.frequency
        label = f"epoch {state.iteration // trainer.functions.batches + 1}"
        error = f"{100 * state.history[-1].validation_error:.2f} %" if state.history else "?"
        # disable=None: tqdm keeps silent when stderr is not a terminal.
        disable = True if self.quiet else None
        with tqdm(total=total, desc=label, unit="batch", leave=False, disable=disable) as bar:

            def tick(cost: float) -> None:
                bar.set_postfix_str(f"cost {cost:.4f}, validation error {error}", refresh=False)
                bar.update()

            yield tick

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


def summary(model: Model) -> str:
    """A table of the layers: name, kind, shape of the output, number of parameters."""
    rows = [
        (layer.name, layer.kind, "x".join(map(str, layer.output_shape)), f"{layer.parameters:,}")
        for layer in model.layers
    ]
    rows = [("model", model.name, "output", "parameters"), *rows]
    rows.append(("", "", "total", f"{model.parameters:,}"))
    a, b, c, d = (max(len(row[i]) for row in rows) for i in range(4))
    return "\n".join(f"{row[0]:{a}} {row[1]:{b}}  {row[2]:>{c}}  {row[3]:>{d}}" for row in rows)


def result_line(state: State, folder: str) -> str:
    """The last line of a run."""
    if not state.history:
        return f"no epoch was finished; run folder {folder}"
    return (
        f"best validation error {100 * state.best_validation_error:.2f} % at epoch "
        f"{state.best_epoch:g}, test error {100 * state.test_error:.2f} %; run folder {folder}"
    )
