"""Print a model as a table: layers, shapes, parameters, connections, FLOPs.

examples:
  python -m lenet summary                                       the tutorial's LeNet
  python -m lenet summary --model lenet5                        LeNet-5 as published
  python -m lenet summary --model keras --data svhn             for images in colour
  python -m lenet summary --model pytorch --batch-norm --dropout 0.5
  python -m lenet summary --model custom --network "[conv 32 3 same, relu]*2, max 2, fc 128, relu"
"""

from __future__ import annotations

import argparse
import sys

import symgraph
from lenet import models
from lenet.commands.arguments import BUILDING, FLOATX, add_options, given
from lenet.models.notation import USAGE
from lenet.options import Options
from lenet.run_data import kind
from lenet.summary import summary

HELP = "a model as a table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of summary; `run` carries out what it parses."""
    add_options(parser, BUILDING)
    words = "\n".join(f"  {usage}" for usage in USAGE.values())
    parser.epilog = (
        "steps of --network, joined by commas or arrows, repeated as [step, step]*2; sizes are\n"
        f"5 or 5x3; the output is added:\n{words}\n\n"
        "The same as JSON, by the classes of lenet.layers and their fields:\n"
        '  [{"layer": "Conv2D", "filters": 6, "size": 5}, {"layer": "Pool2D", "size": 2}]'
    )


def run(args: argparse.Namespace) -> int:
    """Print the table. Returns 0; raises DataError for models and data that there are not.

    Only a source that is named is read: the sizes of the known data sets are known.
    """
    options = Options.of(**given(args))
    images = kind(options)
    with symgraph.config.change_flags(floatX=FLOATX):
        model = models.build(options, images.image_shape, images.classes)
    sys.stdout.write(summary(model) + "\n")
    return 0
