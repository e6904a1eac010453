"""Train a model and leave a run folder: result.json, metrics.csv, checkpoints and pictures.

examples:
  python -m lenet train --epochs 10                   the tutorial's LeNet, ten epochs
  python -m lenet train --epochs 1 --limit 5000       a quick look
  python -m lenet train --nkerns 6,16 --out runs/small --batch-size 20
  python -m lenet train --resume runs/small --epochs 20   go on with a run, for longer

Ctrl-C stops; what was done up to the last epoch is kept, and --resume goes on from there.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import symgraph
from lenet import checkpoint as checkpoints
from lenet import data, pictures, runs
from lenet.data import Dataset, Split
from lenet.display import Display, result_line
from lenet.errors import RunError
from lenet.models import MODELS, Model, build
from lenet.options import Options
from lenet.train import State, Trainer, compile_functions, count_batches

HELP = "train a model"
FLOATX = "float32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of train; `run` carries out what it parses."""

    def option(name: str, type: Any, meaning: str, **more: Any) -> None:
        default = getattr(Options, name.replace("-", "_"))
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        text = meaning if default is None else f"{meaning}; default: {shown}"
        # No default here: a resumed run must know which options were given.
        parser.add_argument(f"--{name}", type=type, help=text, default=argparse.SUPPRESS, **more)

    option("model", str, "the model", choices=list(MODELS))
    option("data", str, "the data set", choices=list(data.COLLECTIONS))
    option("source", str, f"where from: auto, {', '.join(data.SOURCES)}, or a path")
    option("epochs", whole, "passes over the training set, unless patience ends it", metavar="N")
    option("batch-size", whole, "images in a minibatch", metavar="N")
    option("learning-rate", real, "step of gradient descent", metavar="X")
    option("nkerns", wholes, "filters in the convolutional layers", metavar="N,N")
    option("seed", whole, "of the initial weights", metavar="N")
    option("limit", whole, "use the first N training images only", metavar="N")
    parser.add_argument("--root", help="data folder; default: $SYMGRAPH_DATA or the user's cache")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="DIR", help="run folder; default: runs/ and the time, UTC")
    where.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("--quiet", action="store_true", help="only the last line")


def run(args: argparse.Namespace) -> int:
    """Train as parsed. Returns 0, or 130 if Ctrl-C ended it; raises DataError."""
    names = Options.__dataclass_fields__
    given = {name: value for name, value in vars(args).items() if name in names}
    with symgraph.config.change_flags(floatX=FLOATX):
        if args.resume is None:
            options, start = Options(**given), None
        else:
            path = runs.find_checkpoint(args.resume, (runs.LAST,))
            start = checkpoints.load(path)
            options = start.options.resumed_with(given)
        model = build(options)
        if start is not None:
            checkpoints.restore(model, start, path)
        dataset = limited(data.load(options.data, options.source, args.root), options.limit)
        described = runs.describe_data(dataset)
        if start is not None:
            runs.check_same_data(described, start.data)
        count_batches(dataset, options.batch_size)  # an error before anything is made
        if start is None:
            folder = runs.create(args.out)
        else:
            folder = path.parent
            data.sources.check_writable(folder)
        job = Job(model, dataset, options, described, folder, Display(args.quiet))
        return job.run(start.state if start else State())


class Job:
    """A run of training: the trainer, its folder and what the person at the terminal is told."""

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        options: Options,
        described: dict[str, Any],
        folder: Path,
        display: Display,
    ) -> None:
        self.model, self.dataset, self.options = model, dataset, options
        self.described, self.folder, self.display = described, folder, display

    def run(self, state: State) -> int:
        """Compile, train from `state` on, write everything. Returns the exit status."""
        display, options = self.display, self.options
        display.header(self.model, self.dataset, options)
        resumed = f", resumed after epoch {state.epoch:g}" if state.iteration else ""
        display.line(f"run    {self.folder}{resumed}")
        ended, seconds = "interrupted", []
        try:
            with display.compiling(3) as seconds:
                functions = compile_functions(
                    self.model, self.dataset, options.batch_size, options.learning_rate
                )
            trainer = Trainer(functions, options.epochs, state)
            if state.iteration == 0:
                self.save(state)  # so that there is something to resume from the first moment on
            elif trainer.is_done:
                display.line(f"nothing left to do: {self.reason(trainer)}")
            self.train(trainer)
            ended = "patience" if state.is_out_of_patience else "epochs"
            if ended == "patience":
                display.line(f"stopped early: {self.reason(trainer)}")
            pictures.attempt(
                "graph.png", lambda: pictures.graph(self.folder / "graph.png", functions.train)
            )
        except KeyboardInterrupt:
            display.line("")
        self.finish(ended, seconds[0] if seconds else 0.0)
        return 0 if ended != "interrupted" else 130

    def train(self, trainer: Trainer) -> None:
        """Round after round, each saved before the next."""
        images = trainer.frequency * trainer.functions.batch_size
        while not trainer.is_done:
            with self.display.bar(trainer) as tick:
                entry = trainer.advance(tick)
            self.save(trainer.state, is_best=entry is not None and entry.test_error is not None)
            if entry is not None:
                self.display.round(entry, self.options.epochs, images)

    def save(self, state: State, is_best: bool = False) -> None:
        snapshot = checkpoints.snapshot(self.model, self.options, self.described, state)
        if is_best:
            runs.save_best(self.folder, snapshot)
        runs.save_last(self.folder, snapshot)

    def finish(self, ended: str, compile_seconds: float) -> None:
        """Result and pictures from what was saved; the parameters in memory may have moved on."""
        folder = self.folder
        if not (folder / runs.LAST).exists():
            sys.stderr.write("lenet: stopped before the first step; nothing was saved\n")
            return
        last = checkpoints.load(folder / runs.LAST)
        runs.save_result(folder, self.model, last, ended, compile_seconds)
        if last.state.history:
            best = checkpoints.load(folder / runs.BEST).parameters[self.model.filters.name]
            pictures.attempt(
                "curve.png", lambda: pictures.curve(folder / "curve.png", last.state.history)
            )
            pictures.attempt("filters.png", lambda: pictures.filters(folder / "filters.png", best))
        if ended == "interrupted":
            sys.stderr.write(
                f"lenet: stopped; {folder / runs.LAST} holds epoch {last.state.epoch:g}; "
                f"go on with: python -m lenet train --resume {folder}\n"
            )
        sys.stdout.write(result_line(last.state, str(folder)) + "\n")

    def reason(self, trainer: Trainer) -> str:
        """Why `trainer` is done."""
        state = trainer.state
        if state.is_out_of_patience:
            return f"no better model for long: patience ended at iteration {state.patience}"
        return f"{self.options.epochs} epochs are done; --epochs {2 * self.options.epochs} goes on"


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


def whole(text: str) -> int:
    """An argument that is a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number, as 10") from None


def real(text: str) -> float:
    """An argument that is a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number, as 0.1") from None


def wholes(text: str) -> tuple[int, ...]:
    """An argument that is a list of whole numbers with commas between."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected whole numbers with commas between them, as 20,50"
        ) from None
