"""Check gradients: of a model or of one layer, against finite differences in float64.

Every parameter, and the input, gets a row: how many of its entries were compared, and the largest
relative error. The cost is that of training without penalties: batch normalisation uses the batch,
dropout drops the same units in every evaluation. Parameters of a new model that are all alike
(zeros) are moved a little first, since they hide errors.

Entries at kinks are counted apart. A kink is where a ReLU gets 0, or where elements tie in max
pooling: all of them then get the gradient, as in Theano, and blank areas of real images are full of
such ties. These entries are compared with a smaller step, and on images with a little noise; what
that can't tell either is undecided.

examples:
  python -m lenet check --model lenet5                     a new model, on random images
  python -m lenet check runs/small --data mnist            a trained one, on real images
  python -m lenet check --model pytorch --layer conv1 --all   one layer alone, every entry
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import symgraph
from lenet import checkpoint as checkpoints
from lenet import models, run_data, runs
from lenet.commands.arguments import BUILDING, add_options, add_run, given, real, whole
from lenet.data import Dataset
from lenet.errors import RunError
from lenet.gradient_check import (
    ENTRIES,
    EPSILON,
    TOLERANCE,
    Checked,
    check_layer,
    check_model,
    random_batch,
    scatter,
)
from lenet.network import Model
from lenet.options import Options, flag
from lenet.preprocessing import Preprocessing

HELP = "check gradients against finite differences"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of check; `run` carries out what it parses."""
    add_run(parser, "a new model")
    how = parser.add_argument_group("the check")
    how.add_argument("--layer", metavar="NAME", help="check this layer alone, on random input")
    how.add_argument("--all", action="store_true", help="compare every entry")
    for name, kind, default, text in (
        ("entries", whole, ENTRIES, "entries of each variable to compare"),
        ("batch", whole, 8, "images in the batch"),
        ("epsilon", real, EPSILON, "step of the central differences"),
        ("tolerance", real, TOLERANCE, "largest relative error that is right"),
        ("seed", whole, 0, "of entries, random images, dropout"),
    ):
        how.add_argument(
            f"--{name}", type=kind, default=default, metavar="N" if kind is whole else "X",
            help=f"{text}; default: {default}",
        )  # fmt: skip
    how.add_argument("--root", help="data folder; default: $SYMGRAPH_DATA or the user's cache")
    add_options(parser, BUILDING)


def run(args: argparse.Namespace) -> int:
    """Check as parsed. Returns 0 if all gradients are right, 1 if not; raises DataError."""
    cure = "give such a number"
    for name, least in (("entries", 1), ("batch", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise RunError(f"--{name}", str(getattr(args, name)), f"{least} or more", cure)
    for name in ("epsilon", "tolerance"):
        if not 0 < getattr(args, name) < 1:
            raise RunError(f"--{name}", f"{getattr(args, name):g}", "between 0 and 1", cure)
    with symgraph.config.change_flags(floatX="float64"):
        model, about, dataset, preprocessing = _model(args)
        if args.layer is not None:
            model.layer(args.layer)  # an error before any work
        settings = {
            "entries": None if args.all else args.entries,
            "seed": args.seed,
            "epsilon": args.epsilon,
            "tolerance": args.tolerance,
        }
        if args.layer is not None:
            rows = check_layer(model.layer(args.layer), batch=args.batch, **settings)
            on = f"layer {args.layer} of {about}, {args.batch} random inputs"
        else:
            if dataset is None:
                x, y = random_batch(model, args.batch, args.seed)
                on = f"{about}, {args.batch} random images"
            else:
                test = run_data.part(dataset, "test")
                x = preprocessing.apply(test.images[: args.batch]).astype("float64")
                y = test.labels[: args.batch]
                on = f"{about}, {len(y)} test images of {dataset.name} from {dataset.source}"
            rows = check_model(model, x, y, **settings)
    sys.stdout.write(
        f"gradients of {on}\nfloat64, central differences of {args.epsilon:g}\n\n{table(rows)}\n\n"
    )
    failed = [row for row in rows if not row.ok]
    sys.stdout.write("".join(f"{_complaint(row)}\n" for row in failed))
    sys.stdout.write(
        f"FAILED: {len(failed)} of {len(rows)} gradients are wrong or undecided\n"
        if failed
        else f"ok: all {len(rows)} gradients are right, to {args.tolerance:g}\n"
    )
    return 1 if failed else 0


def table(rows: Sequence[Checked]) -> str:
    """A line for each variable: what was compared, kinks, the largest error, the verdict."""
    lines = [("variable", "shape", "compared", "kinks", "undecided", "relative error", "")]
    for row in rows:
        lines.append((  # noqa: PERF401
            row.name, "x".join(map(str, row.shape)), f"{row.checked:,} of {row.size:,}",
            str(row.kinks), str(row.undecided), f"{row.error:.1e}", "ok" if row.ok else "FAILED",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < i < 6 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _complaint(row: Checked) -> str:
    if row.error <= row.tolerance:
        return f"{row.name}: all {row.checked} entries lie at kinks; check it on other images"
    at = ", ".join(map(str, row.at))
    return (
        f"{row.name}[{at}]: symgraph {row.symbolic:.8g}, finite differences {row.numeric:.8g}, "
        f"relative error {row.error:.1e}"
    )


def _model(args: argparse.Namespace) -> tuple[Model, str, Dataset | None, Preprocessing]:
    """The model asked for, in float64, what to call it, and the real images if some are wanted."""
    asked = {name: value for name, value in given(args).items() if name in BUILDING}
    wants_data = bool({"data", "source"} & asked.keys())
    if args.folder is None:
        options = Options.of(**asked)
        dataset = run_data.load_data(options, args.root) if wants_data else None
        images = dataset or run_data.kind(options)
        model = models.build(options, images.image_shape, images.classes)
        scatter(model, args.seed)
        return model, f"a new {model.name}", dataset, Preprocessing.parse("")
    for name in asked:
        if name not in ("data", "source"):
            raise RunError(
                flag(name), f"{asked[name]} for a trained model", "no options of the model",
                "leave it out, or leave out the run",
            )  # fmt: skip
    path = runs.find_checkpoint(args.folder)
    checkpoint = checkpoints.load(path)
    weights = {name: array.astype("float64") for name, array in checkpoint.weights.items()}
    model = checkpoints.build(replace(checkpoint, arrays={**checkpoint.arrays, **weights}), path)
    dataset = run_data.load(checkpoint, path, args) if wants_data else None
    return model, f"{model.name} from {path}", dataset, checkpoint.preprocessing
