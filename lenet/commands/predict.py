"""Say what pictures show, with the probability of each class.

The pictures may be PNG or JPEG, of any size, grey or in colour. A model of MNIST looks for one
digit, dark on light or light on dark, and sees it centred and scaled as MNIST's are; models of
other data see all of the picture, scaled to the size of their images. --style says otherwise.

examples:
  python -m lenet predict seven.png
  python -m lenet predict --run runs/small --explain *.png     feature maps beside each picture
  python -m lenet predict seven.png --json                     all probabilities, for programs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lenet import pictures, runs
from lenet.classifier import Classifier
from lenet.commands.arguments import add_options, whole
from lenet.errors import RunError
from lenet.photograph import STYLES, for_model

HELP = "say what pictures show"
BAR = 40  # characters of a probability of 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of predict; `run` carries out what it parses."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG or JPEG file")
    parser.add_argument(
        "--run",
        dest="folder",
        metavar="DIR",
        help="run folder or checkpoint; default: the latest in runs/",
    )
    parser.add_argument(
        "--style",
        choices=STYLES,
        default="auto",
        help="how pictures become the model's images: digits as MNIST has them, the whole picture, "
        "or that with light for dark; default: as the model's data need it",
    )
    parser.add_argument(
        "--top", type=whole, default=3, metavar="N", help="classes to show; default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with all classes")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="write the feature maps of each picture beside it, as IMAGE.features.png",
    )
    add_options(parser, ["device"])


def run(args: argparse.Namespace) -> int:
    """Predict as parsed. Returns 0; raises RunError for what is no model or no image."""
    if args.top < 1:
        raise RunError("--top", str(args.top), "a number from 1 on", "give such a number")
    classifier = Classifier(runs.find_checkpoint(args.folder))
    try:
        images = np.stack(
            [for_model(image, classifier.checkpoint.data, args.style) for image in args.images]
        )
        rows = classifier.probabilities(images)
        explained = [
            explain(classifier, Path(name), image) if args.explain else None
            for name, image in zip(args.images, images, strict=True)
        ]
    except ImportError as error:
        raise RunError(
            "predict", f"no {error.name}", "Pillow, SciPy and matplotlib", pictures.CURE
        ) from error
    say = as_json if args.json else as_text
    sys.stdout.write(say(classifier, args.images, rows, explained, args.top))
    return 0


def as_text(
    classifier: Classifier,
    names: Sequence[str],
    probabilities: Any,
    explained: Sequence[Path | None],
    top: int,
) -> str:
    """For each picture the answer and, as bars, the `top` most probable classes."""
    width = max(map(len, classifier.classes))
    lines = [f"model {classifier.path}"]
    for name, row, written in zip(names, probabilities, explained, strict=True):
        order = np.argsort(-row, kind="stable")[:top]
        lines.append(f"{name}: {classifier.classes[order[0]]} ({100 * row[order[0]]:.1f} %)")
        for i in order:
            bar = "#" * round(BAR * float(row[i]))
            lines.append(f"  {classifier.classes[i]:>{width}} {100 * row[i]:5.1f} % {bar}".rstrip())
        if written is not None:
            lines.append(f"  feature maps: {written}")
    return "\n".join(lines) + "\n"


def as_json(
    classifier: Classifier,
    names: Sequence[str],
    probabilities: Any,
    explained: Sequence[Path | None],
    top: int,
) -> str:
    """The same as JSON: the model, for each picture the answer and all probabilities, 0 to 1."""
    answers = [
        {
            "image": name,
            "answer": classifier.classes[int(row.argmax())],
            "probabilities": {
                label: float(p) for label, p in zip(classifier.classes, row, strict=True)
            },
            **({} if written is None else {"features": str(written)}),
        }
        for name, row, written in zip(names, probabilities, explained, strict=True)
    ]
    return json.dumps({"model": str(classifier.path), "answers": answers}, indent=2) + "\n"


def explain(classifier: Classifier, path: Path, image: Any) -> Path:
    """Write the feature maps of `image`, uint8 (channels, height, width), beside `path`.

    Returns where. Raises DataError if it cannot be written; ImportError without matplotlib.
    """
    target = path.with_name(f"{path.name}.features.png")
    outputs = {name: values[0] for name, values in classifier.outputs(image[None]).items()}
    pictures.features(
        target, classifier.model, image, outputs, title=f"feature maps of {path.name}"
    )
    return target
