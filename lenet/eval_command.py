"""The error of a trained model on a data set, as a whole and class by class.

examples:
  python -m lenet eval                              the latest run, on its test set
  python -m lenet eval runs/small --split valid
  python -m lenet eval runs/small/last.npz --source path/to/own/digits
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

from lenet import data, runs
from lenet.data import Split
from lenet.errors import RunError
from lenet.models import CLASSES
from lenet.predict import Classifier

HELP = "error of a trained model, class by class"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of eval; `run` carries out what it parses."""
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="RUN",
        help="run folder or checkpoint (.npz); default: the latest in runs/",
    )
    parser.add_argument("--data", choices=list(data.COLLECTIONS), help="default: the run's")
    parser.add_argument("--source", help="where from, as for train; default: the run's")
    parser.add_argument("--root", help="data folder; default: $SYMGRAPH_DATA or the user's cache")
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test"),
        default="test",
        help="which part; default: %(default)s",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate as parsed. Returns 0; raises DataError for what is no model or no data."""
    path = runs.find_checkpoint(args.folder)
    classifier = Classifier(path)
    options = classifier.checkpoint.options
    dataset = data.load(args.data or options.data, args.source or options.source, args.root)
    split: Split = getattr(dataset, args.split)
    if not len(split.labels):
        raise RunError(f"--split {args.split}", "no images", "some", "use another part")
    predicted = classifier.probabilities(split.images).argmax(1)
    sys.stdout.write(
        f"model {path}, epoch {classifier.checkpoint.state.epoch:g}\n"
        f"data  {args.split} part of {dataset.name} from {dataset.source}\n\n"
        f"{per_class(split.labels, predicted)}\n\n"
        f"error {100 * np.mean(predicted != split.labels):.2f} % "
        f"({np.sum(predicted != split.labels)} of {len(split.labels)})\n"
    )
    return 0


def per_class(labels: NDArray[np.int32], predicted: NDArray[np.int64]) -> str:
    """A table of the classes: images, errors, their share, and what they are mostly taken for."""
    lines = [f"{'class':>5} {'images':>7} {'errors':>7} {'error':>8}  taken for"]
    for digit in range(CLASSES):
        answers = np.bincount(predicted[labels == digit], minlength=CLASSES)
        count = int(answers.sum())
        wrong = count - int(answers[digit])
        answers[digit] = 0
        order = np.argsort(-answers, kind="stable")[:3]
        taken = ", ".join(f"{i} ({answers[i]})" for i in order if answers[i])
        share = f"{100 * wrong / count:.2f} %" if count else "-"
        lines.append(f"{digit:>5} {count:>7} {wrong:>7} {share:>8}  {taken}".rstrip())
    return "\n".join(lines)
