"""Say which digits pictures show, with the probability of each.

The pictures may be PNG or JPEG, of any size, grey or in colour, dark on light or light on dark;
each should show one digit on a plain background.

examples:
  python -m lenet predict seven.png
  python -m lenet predict --run runs/small *.png
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from lenet import runs
from lenet.errors import RunError
from lenet.predict import Classifier, like_mnist, read_image

HELP = "say which digits pictures show"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of predict; `run` carries out what it parses."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG or JPEG file")
    parser.add_argument(
        "--run",
        dest="folder",
        metavar="DIR",
        help="run folder or checkpoint; default: the latest in runs/",
    )


def run(args: argparse.Namespace) -> int:
    """Predict as parsed. Returns 0; raises RunError for what is no model or no image."""
    path = runs.find_checkpoint(args.folder)
    try:
        digits = np.stack([like_mnist(read_image(image), image) for image in args.images])
    except ImportError as error:
        raise RunError(
            "predict", f"no {error.name}", "Pillow", "pip install 'symgraph[lenet]'"
        ) from error
    classifier = Classifier(path)
    sys.stdout.write(f"model {path}\n")
    for image, row in zip(args.images, classifier.probabilities(digits), strict=True):
        best = int(row.argmax())
        sys.stdout.write(f"{image}: {best} ({100 * row[best]:.1f} %)\n")
        shares = "  ".join(f"{digit}: {100 * p:.1f} %" for digit, p in enumerate(row))
        sys.stdout.write(f"  {shares}\n")
    return 0
