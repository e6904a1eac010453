"""Write the weights of a trained model into a file that other programs read.

PyTorch's layout is that of a state dict: load_state_dict of a torch.nn.Module whose layers have the
same names takes it. The options and the data of the run go with it, as metadata.

examples:
  python -m lenet export weights.npz                             the latest run
  python -m lenet export runs/small lenet.safetensors --layout pytorch
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lenet import exchange, runs
from lenet.classifier import Classifier
from lenet.commands.arguments import add_run
from lenet.preprocessing import PREFIX

HELP = "write a model's weights for other programs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of export; `run` carries out what it parses."""
    add_run(parser)
    parser.add_argument("file", metavar="FILE", help="to be written: .npz or .safetensors")
    parser.add_argument(
        "--layout", choices=exchange.LAYOUTS, default="symgraph", help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Export as parsed. Returns 0; raises DataError for no model, or a file not to be written."""
    classifier = Classifier(runs.find_checkpoint(args.folder))
    path = Path(args.file).expanduser()
    weights = exchange.of_model(classifier.model, classifier.checkpoint, args.layout)
    exchange.write(path, weights)
    for name, array in weights.arrays.items():
        sys.stdout.write(f"{name:24} {array.dtype} {list(array.shape)}\n")
    sys.stdout.write(f"{len(weights.arrays)} arrays of {classifier.path} in {path}\n")
    if args.layout == "pytorch" and classifier.preprocessing.arrays():
        sys.stdout.write(
            f"{PREFIX} is what images went through before the network: subtract and divide as it "
            "says, and load_state_dict(..., strict=False) passes over it\n"
        )
    return 0
