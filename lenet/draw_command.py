"""Draw a model: its layers, and the graph of the function that trains it.

The graph is that of the compiled function: frames are its kernels, dashed arrows its updates.

examples:
  python -m lenet draw                             two PNGs in the current folder
  python -m lenet draw --format svg --out pictures --nkerns 6,16
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import symgraph
import symgraph.draw
from lenet import pictures
from lenet.data import Dataset, Split
from lenet.errors import RunError
from lenet.models import IMAGE_SIZE, MODELS, build
from lenet.options import Options
from lenet.train import compile_functions
from lenet.train_command import FLOATX, wholes

HELP = "the model as pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of draw; `run` carries out what it parses."""
    parser.add_argument(
        "--model", choices=list(MODELS), default=Options.model, help="default: %(default)s"
    )
    parser.add_argument(
        "--nkerns",
        type=wholes,
        default=Options.nkerns,
        metavar="N,N",
        help="filters in the convolutional layers; default: 20,50",
    )
    parser.add_argument("--out", default=".", metavar="DIR", help="folder; default: this one")
    parser.add_argument(
        "--format", choices=symgraph.draw.FORMATS, default="png", help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Draw as parsed. Returns 0; raises RunError for a folder that cannot be written."""
    options = Options(model=args.model, nkerns=args.nkerns)
    folder = Path(args.out).expanduser()
    with symgraph.config.change_flags(floatX=FLOATX):
        model = build(options)
        try:
            written = symgraph.draw.layers(
                model.layers, folder / f"{model.name}_layers.{args.format}", title=model.name
            )
            sys.stdout.write(f"The output file is available at {written}\n")
            blank = Split(np.zeros((1, *IMAGE_SIZE), np.uint8), np.zeros(1, np.int32))
            dataset = Dataset("blank", blank, blank, blank, "nowhere", False, False)
            functions = compile_functions(model, dataset, 1, options.learning_rate)
            path = folder / f"{model.name}_graph.{args.format}"
            pictures.graph(path, functions.train, announce=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(
                folder, reason, "a folder that can be written", "choose another with --out"
            ) from error
    return 0
