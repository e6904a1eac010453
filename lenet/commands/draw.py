"""Draw a model: its layers, and the graph of the function that trains it or answers.

The graph is that of the compiled function: frames are its kernels, dashed arrows its updates.

examples:
  python -m lenet draw                             the tutorial's LeNet: layers and training
  python -m lenet draw runs/small --what layers    the model of a run
  python -m lenet draw --model lenet5 --what forward --format svg --out pictures
  python -m lenet draw --model custom --network "conv 8 3 same, relu, max 2" --data svhn
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import symgraph
import symgraph.draw
from lenet import checkpoint as checkpoints
from lenet import models, pictures, runs
from lenet.commands.arguments import BUILDING, FLOATX, add_options, add_run, given
from lenet.data import Dataset, Split
from lenet.errors import RunError
from lenet.network import Model
from lenet.options import Options, flag
from lenet.run_data import kind
from lenet.train import compile_functions

HELP = "the model as pictures"
WHAT = {
    "layers": "a box for each layer",
    "graph": "the compiled function of a training step",
    "forward": "the compiled function of an answer",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of draw; `run` carries out what it parses."""
    add_run(parser, "a new model")
    add_options(parser, BUILDING)
    parser.add_argument(
        "--what",
        nargs="+",
        choices=list(WHAT),
        default=["layers", "graph"],
        help="; ".join(f"{name}: {words}" for name, words in WHAT.items())
        + "; default: layers graph",
    )
    parser.add_argument("--out", default=".", metavar="DIR", help="folder; default: this one")
    parser.add_argument(
        "--format", choices=symgraph.draw.FORMATS, default="png", help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Draw as parsed, and say where. Returns 0; raises DataError for models that there are not and
    for a folder that cannot be written.
    """
    asked = given(args)
    folder = Path(args.out).expanduser()
    with symgraph.config.change_flags(floatX=FLOATX):
        model, options = new_model(asked) if args.folder is None else model_of(args.folder, asked)
        try:
            for what in dict.fromkeys(args.what):
                draw(what, model, options, folder / f"{model.name}_{what}.{args.format}")
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(
                folder, reason, "a folder that can be written", "choose another with --out"
            ) from error
    return 0


def draw(what: str, model: Model, options: Options, path: Path) -> None:
    """Draw one of WHAT into `path` and say so; OSError if it cannot be written."""
    if what == "layers":
        written = symgraph.draw.layers(model.layers, path, title=model.name)
        sys.stdout.write(f"The output file is available at {written}\n")
        return
    if what == "graph":
        data = blank(model.input_shape, model.classes)
        prepare = (lambda images: images.astype(np.float32)) if options.preprocess else None
        function = compile_functions(model, data, options, prepare).compiled
    else:
        function = symgraph.function([model.x], model.probabilities, name="predict")
    pictures.graph(path, function, announce=True)


def new_model(asked: dict[str, object]) -> tuple[Model, Options]:
    """The model of the options `asked`. Only a source that is named is read: sizes are known."""
    options = Options.of(**asked)
    images = kind(options)
    return models.build(options, images.image_shape, images.classes), options


def model_of(run: str, asked: dict[str, object]) -> tuple[Model, Options]:
    """The model of a run; RunError if other options are `asked` for it."""
    if asked:
        raise RunError(
            flag(next(iter(asked))),
            f"together with the run {run}",
            "a run or options of a model",
            "leave one of them out",
        )
    path = runs.find_checkpoint(run)
    checkpoint = checkpoints.load(path)
    return checkpoints.build(checkpoint, path), checkpoint.options


def blank(shape: Sequence[int], classes: tuple[str, ...]) -> Dataset:
    """Data of one blank image (channels, height, width), to compile training for."""
    part = Split(np.zeros((1, *shape), np.uint8), np.zeros(1, np.int32))
    return Dataset("blank", part, part, part, "nowhere", False, False, classes)
