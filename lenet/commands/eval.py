"""The error of a trained model on a data set, as a whole and class by class.

precision: of the images that it calls a class, the share that are; recall: of the images of a
class, the share that it finds; F1: their harmonic mean; top-2 error: the share of images whose
class is neither the first nor the second answer.

examples:
  python -m lenet eval                              the latest run, on its test set
  python -m lenet eval runs/small --split valid
  python -m lenet eval runs/small/last.npz --source path/to/own/digits --json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet import run_data, runs
from lenet.classifier import Classifier
from lenet.commands.arguments import add_options, add_run
from lenet.inside import confusion

HELP = "error of a trained model, class by class"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of eval; `run` carries out what it parses."""
    add_run(parser)
    run_data.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_options(parser, ["device"])


def run(args: argparse.Namespace) -> int:
    """Evaluate as parsed. Returns 0; raises DataError for what is no model or no data."""
    classifier = Classifier(runs.find_checkpoint(args.folder))
    dataset = run_data.load(classifier.checkpoint, classifier.path, args)
    images, labels = run_data.part(dataset, args.split)
    cost, probabilities = classifier.judge(images, labels)
    figures = evaluate(labels, probabilities, classifier.classes)
    if args.json:
        about = {
            "model": str(classifier.path),
            "epoch": classifier.checkpoint.state.epoch,
            "data": dataset.name,
            "source": dataset.source,
            "split": args.split,
            "cost": cost,
        }
        sys.stdout.write(json.dumps({**about, **figures}, indent=2) + "\n")
        return 0
    sys.stdout.write(
        f"model {classifier.path}, epoch {classifier.checkpoint.state.epoch:g}\n"
        f"data  {args.split} part of {dataset.name} from {dataset.source}\n\n"
        f"{table(figures['classes'])}\n\n"
        f"mean cost {cost:.4f}, top-2 error {100 * figures['top_2_error']:.2f} %\n"
        f"error {100 * figures['error']:.2f} % ({figures['errors']} of {figures['images']})\n"
    )
    return 0


def evaluate(
    labels: NDArray[np.int32], probabilities: NDArray[Any], classes: Sequence[str]
) -> dict[str, Any]:
    """Figures of answers: `probabilities` (n, classes) for images of `labels` (n,), n above 0.

    Shares from 0 to 1, None where nothing is there to share: `error`, `top_2_error`, `images`,
    `errors`, and for each of `classes` its `class`, `images`, `errors`, `precision`, `recall`,
    `f1` and `taken_for`, what its images were mistaken for, by how many of them.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    matrix = confusion(labels, order[:, 0], len(classes))
    found = (order[:, :2] == labels[:, None]).any(axis=1)
    rows = []
    for i, name in enumerate(classes):
        right, count, called = int(matrix[i, i]), int(matrix[i].sum()), int(matrix[:, i].sum())
        others = np.argsort(-matrix[i], kind="stable")
        rows.append({
            "class": name,
            "images": count,
            "errors": count - right,
            "precision": right / called if called else None,
            "recall": right / count if count else None,
            "f1": 2 * right / (count + called) if count + called else None,
            "taken_for": {
                classes[j]: int(matrix[i, j]) for j in others if j != i and matrix[i, j]
            },
        })  # fmt: skip
    wrong = int(np.sum(order[:, 0] != labels))
    return {
        "error": wrong / len(labels),
        "top_2_error": 1 - float(found.mean()),
        "images": len(labels),
        "errors": wrong,
        "classes": rows,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The classes of `evaluate` as text, a line for each; shares in per cent."""
    width = max(5, *(len(row["class"]) for row in rows))
    lines = [
        f"{'class':>{width}} {'images':>7} {'errors':>7} {'error':>8} {'precision':>9} "
        f"{'recall':>7} {'F1':>7}  taken for"
    ]
    for row in rows:
        recall = row["recall"]
        error = "-" if recall is None else f"{100 * (1 - recall):.2f} %"
        shares = [
            "-" if row[key] is None else f"{100 * row[key]:.1f} %"
            for key in ("precision", "recall", "f1")
        ]
        taken = ", ".join(f"{name} ({n})" for name, n in list(row["taken_for"].items())[:3])
        lines.append(
            f"{row['class']:>{width}} {row['images']:>7} {row['errors']:>7} {error:>8} "
            f"{shares[0]:>9} {shares[1]:>7} {shares[2]:>7}  {taken}".rstrip()
        )
    return "\n".join(lines)
