"""Make a run of weights from elsewhere, for eval, predict, show and train --finetune.

The file is an .npz, a .safetensors or, where PyTorch is installed, its .pt of a state dict; in our
layout or PyTorch's, which its names show. Layers are found by their names or, where these are
others, by order and shapes. A file of `python -m lenet export` knows its model; for others name it.

examples:
  python -m lenet import lenet.safetensors --model pytorch --padding 2 --out runs/theirs
  python -m lenet import weights.npz --out runs/again
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import symgraph
from lenet import checkpoint as checkpoints
from lenet import exchange, models, runs
from lenet.commands.arguments import BUILDING, FLOATX, add_options, given
from lenet.errors import RunError
from lenet.exchange import Weights
from lenet.options import Options
from lenet.preprocessing import PREFIX, Preprocessing
from lenet.run_data import kind
from lenet.train import State

HELP = "make a run of weights from elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of import; `run` carries out what it parses."""
    parser.add_argument("file", metavar="FILE", help=f"weights: {', '.join(exchange.SUFFIXES)}")
    add_options(parser, BUILDING)
    parser.add_argument("--out", metavar="DIR", help="run folder; default: runs/ and the time, UTC")


def run(args: argparse.Namespace) -> int:
    """Import as parsed. Returns 0; raises DataError for weights that are not of the model."""
    path = Path(args.file).expanduser()
    weights = exchange.read(path)
    options, described = belongings(weights, path, given(args))
    preprocessing = Preprocessing.restore(options.preprocess, weights.arrays)
    with symgraph.config.change_flags(floatX=FLOATX):
        channels, height, width = described["image_shape"]
        model = models.build(options, (channels, height, width), described["classes"])
        exchange.give(model, weights, path)
    network = {**model.params, **model.states}
    snapshot = checkpoints.snapshot(network, preprocessing, options, described, State())
    folder = runs.create(args.out)
    for name in (runs.BEST, runs.LAST):
        checkpoints.save(folder / name, snapshot)
    runs.save_result(folder, model, options, described, State(), "imported", 0.0)
    sys.stdout.write(
        f"{model.name}, {model.parameters:,} parameters from {path}; run folder {folder}\n"
    )
    return 0


def belongings(
    weights: Weights, path: Path, asked: dict[str, Any]
) -> tuple[Options, dict[str, Any]]:
    """The options and the data that `weights` are of: as they say, but for what is `asked`.

    Raises RunError if neither says which model.
    """
    options, described = said(weights, path)
    if options is not None and asked.get("model", options.model) == options.model:
        options = replace(options, **asked)
    elif "model" in asked:
        options = Options.of(**asked)
        if not any(
            name.startswith(PREFIX) for name in weights.arrays
        ):  # what others trained sees images as they are
            options = replace(options, preprocess="")
    else:
        raise RunError(
            path,
            "weights that do not say of which model",
            f"--model and one of {', '.join(models.MODELS)}",
            "name the model, and its options if it was not built with the default ones",
        )
    if described is None or {"data", "source", "size"} & set(asked):
        images = kind(options)
        described = {
            "name": images.name,
            "source": f"imported from {path.name}",
            "image_shape": list(images.image_shape),
            "classes": list(images.classes),
            "is_sample": False, "verified": False, "train": 0, "valid": 0, "test": 0, "sha256": "",
        }  # fmt: skip
    return options, described


def said(weights: Weights, path: Path) -> tuple[Options | None, dict[str, Any] | None]:
    """The options and the data in the metadata of `weights`, if any; RunError if they are odd."""
    try:
        if weights.metadata.get("format") != exchange.FORMAT:
            return None, None
        options = Options.from_json(json.loads(weights.metadata["options"]))
        described = dict(json.loads(weights.metadata["data"]))
        described["image_shape"] = [int(n) for n in described["image_shape"]]
        described["classes"] = [str(name) for name in described["classes"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            path,
            f"metadata that cannot be read ({type(error).__name__}: {error})",
            "those of python -m lenet export",
            "export the weights again",
        ) from error
    return replace(options, finetune=None), described
