"""Train a model and leave a run folder: result.json, metrics.csv, checkpoints and pictures.

examples:
  python -m lenet train --epochs 10                   the tutorial's LeNet, ten epochs
  python -m lenet train --epochs 1 --limit 5000       a quick look
  python -m lenet train --model pytorch --data fashion-mnist --augment shift=2 --dropout 0.3
  python -m lenet train --nkerns 6,16 --out runs/small --batch-size 20
  python -m lenet train --resume runs/small --epochs 20   go on with a run, for longer
  python -m lenet train --finetune runs/small --data fashion-mnist --freeze layer0

Ctrl-C finishes the step and saves; --resume goes on from there, and ends as if never stopped.
"""

from __future__ import annotations

import argparse
import textwrap

import symgraph
from lenet import checkpoint as checkpoints
from lenet import data, runs
from lenet.commands.arguments import FLOATX, add_options, given
from lenet.display import Display
from lenet.job import Job
from lenet.models import MODELS
from lenet.options import Options, flag, rows
from lenet.run_data import load_data

HELP = "train a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of train; `run` carries out what it parses."""
    add_options(parser, [row.name for row in rows()])
    parser.epilog = recipes()
    parser.add_argument("--root", help="data folder; default: $SYMGRAPH_DATA or the user's cache")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="DIR", help="run folder; default: runs/ and the time, UTC")
    where.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("--quiet", action="store_true", help="only the last line")


def recipes() -> str:
    """The options that each model has by default, as text."""
    lines = ["recipes, the defaults of the models:"]
    for name, entry in MODELS.items():
        words = [
            flag(key) if value is True else f'{flag(key)} "{value}"' if " " in str(value)
            else f"{flag(key)} {value}"
            for key, value in entry.recipe.items()
        ]  # fmt: skip
        lines += textwrap.wrap(f"{name:9} {' '.join(words)}", 78, initial_indent="  ",
                               subsequent_indent=" " * 12, break_on_hyphens=False)  # fmt: skip
    return "\n".join(lines)


def run(args: argparse.Namespace) -> int:
    """Train as parsed. Returns 0, or 130 if Ctrl-C ended it; raises DataError."""
    asked = given(args)
    display = Display(args.quiet)
    with symgraph.config.change_flags(floatX=FLOATX):
        if args.resume is not None:
            path = runs.find_checkpoint(args.resume, (runs.LAST,))
            start = checkpoints.load(path)
            options = start.options.resumed_with(asked)
            job = Job(options, load_data(options, args.root), display)
            job.resume(path, start)
            data.sources.check_writable(path.parent)
            return job.run(path.parent)
        if "finetune" in asked:
            path = runs.find_checkpoint(asked["finetune"])
            start = checkpoints.load(path)
            options = start.options.finetuned_with({**asked, "finetune": str(path)})
            job = Job(options, load_data(options, args.root), display)
            job.finetune(path, start)
        else:
            options = Options.of(**asked)
            job = Job(options, load_data(options, args.root), display)
        return job.run(runs.create(args.out))
