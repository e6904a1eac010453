"""One run of training: its model, its data, its folder, and what the person is told of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from lenet import checkpoint as checkpoints
from lenet import device, inside, models, pictures, runs
from lenet.checkpoint import Checkpoint
from lenet.data import Dataset, Split
from lenet.display import Display, Progress, result_line
from lenet.errors import RunError
from lenet.layers import Conv2D, LeNetConvPoolLayer
from lenet.network import Model
from lenet.options import Options
from lenet.preprocessing import Preprocessing
from lenet.train import Callback, Functions, State, Trainer, compile_functions
from lenet.train.callbacks import (
    PATIENCE,
    CSVLogger,
    EarlyStopping,
    Save,
    StopOnNaN,
    StopOnSignal,
    TutorialPatience,
)
from lenet.train.functions import rates_of


def limited(dataset: Dataset, limit: int | None) -> Dataset:
    """`dataset` with its first `limit` training examples; RunError if it has fewer."""
    images, labels = dataset.train
    if limit is None:
        return dataset
    if limit > len(labels):
        raise RunError(
            "--limit", str(limit), f"at most {len(labels)}, all there are", "a smaller number"
        )
    return replace(dataset, train=Split(images[:limit], labels[:limit]))


class Job:
    """A run of training as `options` say. Make it under the floatX that the model is to have.

    It is new, unless `resume` or `finetune` is called before `run`. All that is not possible is
    refused with a RunError before a folder is made.
    """

    def __init__(self, options: Options, dataset: Dataset, display: Display | None = None) -> None:
        self.gpu = device.gpu()
        self.options, self.dataset = options, limited(dataset, options.limit)
        self.display = display or Display()
        self.described = runs.describe_data(self.dataset)
        self.model: Model = models.build(options, dataset.image_shape, dataset.classes)
        rates_of(self.model, options)
        self.preprocessing = Preprocessing.parse(options.preprocess)
        self.is_fitted = not self.preprocessing
        self.state = State()
        self.start: tuple[Path, Checkpoint] | None = None
        count = len(self.dataset.train.labels)
        if options.batch_size > count:
            raise RunError(
                "--batch-size",
                f"{options.batch_size} for {count} training images",
                f"at most {count}",
                "give a smaller --batch-size, or more data",
            )

    def resume(self, path: Path, start: Checkpoint) -> None:
        """Go on with the checkpoint `start`, read from `path`."""
        runs.check_same_data(self.described, start.data)
        self.state, self.start = start.state, (path, start)
        self.preprocessing, self.is_fitted = start.preprocessing, True

    def finetune(self, path: Path, start: Checkpoint) -> None:
        """Begin with the layers of the checkpoint `start`, read from `path`, but for the last."""
        checkpoints.transfer(self.model, start, path)
        # What the layers were trained to see.
        self.preprocessing, self.is_fitted = start.preprocessing, True

    def run(self, folder: Path) -> int:
        """Compile, train, write everything into `folder`.

        Returns the exit status: 0, or that of the signal that ended it.
        """
        with runs.making(folder):
            return self._run(folder)

    def _run(self, folder: Path) -> int:
        display, options = self.display, self.options
        display.header(self.model, self.dataset, options)
        display.line(f"run    {folder}{self._begun()}")
        if self.gpu is not None:
            display.line(f"gpu    {self.gpu}")
        if not self.is_fitted:
            count = len(self.dataset.train.labels)
            with display.pause(f"fitting {self.preprocessing} to {count:,} images", "fitted"):
                self.preprocessing.fit(self.dataset.train.images)
        prepare = self.preprocessing.apply if self.preprocessing else None
        with display.pause("compiling 3 functions", "compiled, and kept for next time,") as seconds:
            functions = compile_functions(self.model, self.dataset, options, prepare)
        if self.start is not None:
            path, start = self.start
            checkpoints.restore(functions.variables, start.variables, path, self.model.name)
        signals = StopOnSignal()
        trainer = Trainer(
            functions,
            options.epochs,
            self.state,
            [*self._callbacks(folder, functions), signals],
            TutorialPatience.FREQUENCY if options.patience == "tutorial" else None,
        )
        if trainer.is_done:
            display.line(
                f"nothing left to do: {options.epochs} epochs are done; "
                f"--epochs {2 * options.epochs} goes on"
            )
        trainer.run()
        if trainer.ended == PATIENCE:
            display.line("stopped early: no better model for long")
        if trainer.ended == "interrupted":
            sys.stderr.write(
                f"lenet: stopped; {folder / runs.LAST} holds step {self.state.iteration:,}; "
                f"go on with: python -m lenet train --resume {folder}\n"
            )
        self._finish(folder, str(trainer.ended), seconds[0], functions)
        return 128 + signals.received if trainer.ended == "interrupted" and signals.received else 0

    def _begun(self) -> str:
        """How the run begins, if not from nothing."""
        if self.start is not None:
            steps = "" if not self.state.cost_sum else f", at step {self.state.iteration:,}"
            return f", resumed after epoch {self.state.epoch:g}{steps}"
        return f", fine-tuning {self.options.finetune}" if self.options.finetune else ""

    def _callbacks(self, folder: Path, functions: Functions) -> list[Callback]:
        """What watches this run, what saves it after what may refuse that."""

        def save(is_best: bool) -> None:
            now = checkpoints.snapshot(
                functions.variables, self.preprocessing, self.options, self.described, self.state
            )
            if is_best:
                checkpoints.save(folder / runs.BEST, now)
            checkpoints.save(folder / runs.LAST, now)

        patience = self.options.patience
        stopping: list[Callback] = []
        if patience == "tutorial":
            stopping.append(TutorialPatience())
        elif patience != "none":
            stopping.append(EarlyStopping(int(patience)))
        return [
            StopOnNaN(),
            *stopping,
            Save(save),
            CSVLogger(folder / runs.METRICS),
            Progress(self.display),
        ]

    def _finish(
        self, folder: Path, ended: str, compile_seconds: float, functions: Functions
    ) -> None:
        """Result and pictures."""
        runs.save_result(
            folder, self.model, self.options, self.described, self.state, ended, compile_seconds
        )
        graph, curve, filters = (folder / f"{name}.png" for name in ("graph", "curve", "filters"))
        pictures.attempt(graph.name, lambda: pictures.graph(graph, functions.compiled))
        if self.state.history:
            pictures.attempt(curve.name, lambda: pictures.curve(curve, self.state.history))
        first = next((layer for layer in self.model.layers if layer.params), None)
        if isinstance(first, (Conv2D, LeNetConvPoolLayer)):
            weights = inside.filters(self.model, first.name)
            title = f"{self.model.name}: the filters of {first.name}"
            pictures.attempt(filters.name, lambda: pictures.filters(filters, weights, title=title))
        self.display.line(f"look inside: python -m lenet report {folder}")
        sys.stdout.write(result_line(self.state, str(folder)) + "\n")
