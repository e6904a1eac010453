"""Look inside a trained model: one picture (PNG) of what it does, sees or gets wrong.

examples:
  python -m lenet show features --image seven.png      what every layer makes of a photograph
  python -m lenet show features --index 3 --layer C3   ... one layer of test image 3
  python -m lenet show worst runs/small                the most wrong test digits
  python -m lenet show curves runs/a runs/b            learning curves in one plot
  python -m lenet show maximise --layer C1 --unit 0 1  the pictures that units answer most to
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lenet import checkpoint as checkpoints
from lenet import inside, pictures, run_data, runs
from lenet.classifier import Classifier
from lenet.commands.arguments import missing, real, whole
from lenet.data import Split
from lenet.data.sources import check_writable
from lenet.errors import RunError
from lenet.photograph import for_model

HELP = "what happens inside a trained model, as pictures"
UNITS = 40  # pictures of one sheet, where no units are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the pictures, each with its options; `run` carries out what it parses."""
    sub = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, picture in PICTURES.items():
        one = sub.add_parser(name, help=picture.help, description=f"{picture.help}.".capitalize())
        one.add_argument(
            "runs" if name == "curves" else "folder",
            nargs="*" if name == "curves" else "?",
            metavar="RUN",
            help="run folder or checkpoint (.npz); default: the latest in runs/",
        )
        picture.add_options(one)
        one.add_argument(
            "--out", metavar="FILE", default=f"{name}.png", help="default: %(default)s"
        )


def run(args: argparse.Namespace) -> int:
    """Draw as parsed, and say where. Returns 0; raises DataError for what can't be drawn."""
    target = Path(args.out).expanduser()
    if target.suffix.lower() != ".png":
        raise RunError("--out", str(target), "a name that ends in .png", "the pictures are PNGs")
    check_writable(target.parent)
    try:
        PICTURES[args.what].draw(args, target)
    except ImportError as error:
        raise missing("show", error) from error
    sys.stdout.write(f"{target}\n")
    return 0


# ---- the pictures --------------------------------------------------------------------------------


def _features(args: argparse.Namespace, target: Path) -> None:
    classifier = _open(args)
    if args.layer is not None:
        classifier.model.layer(args.layer)
    images, names = _images(classifier, args, [0])
    outputs = {name: values[0] for name, values in classifier.outputs(images).items()}
    pictures.features(
        target, classifier.model, images[0], outputs, layer=args.layer,
        title=f"feature maps of {names[0]}, {_about(classifier)}",
    )  # fmt: skip


def _filters(args: argparse.Namespace, target: Path) -> None:
    classifier = _open(args)
    layer = args.layer or inside.with_filters(classifier.model)[0]
    weights = inside.filters(classifier.model, layer)
    is_last = layer == classifier.model.layers[-1].name
    pictures.filters(
        target, weights, names=classifier.classes if is_last else (),
        title=f"filters of {layer}, {_about(classifier)}",
    )  # fmt: skip


def _histograms(args: argparse.Namespace, target: Path) -> None:
    _at_least("--images", args.images, 1)
    classifier = _open(args)
    images = _part(classifier, args).images[: args.images]
    activity = classifier.inspector.activity(classifier.inputs(images))
    pictures.histograms(
        target, activity,
        title=f"outputs for {len(images):,} {args.split} images, {_about(classifier)}",
    )  # fmt: skip


def _confusion(args: argparse.Namespace, target: Path) -> None:
    classifier = _open(args)
    images, labels = _part(classifier, args)
    answers = classifier.probabilities(images).argmax(1)
    pictures.confusion(
        target, inside.confusion(labels, answers, len(classifier.classes)), classifier.classes,
        title=f"{_about(classifier)}, {args.split} images",
    )  # fmt: skip


def _worst(args: argparse.Namespace, target: Path) -> None:
    _at_least("--count", args.count, 1)
    classifier = _open(args)
    images, labels = _part(classifier, args)
    pictures.worst(
        target, images, labels, classifier.probabilities(images), classifier.classes,
        count=args.count, title=f"the most wrong {args.split} images, {_about(classifier)}",
    )  # fmt: skip


def _saliency(args: argparse.Namespace, target: Path) -> None:
    classifier = _open(args)
    images, names = _images(classifier, args, range(5))
    x = classifier.inputs(images)
    probabilities = classifier.probabilities(images)
    captions = [
        f"{name}\nis {classifier.classes[row.argmax()]}: {100 * row.max():.1f} %"
        for name, row in zip(names, probabilities, strict=True)
    ]
    gradients = classifier.inspector.saliency(x)
    title = f"which pixels decide, {_about(classifier)}"
    pictures.saliency(target, images, x, gradients, captions, title=title)


def _maximise(args: argparse.Namespace, target: Path) -> None:
    for name, least in (("steps", 1), ("rate", 0), ("decay", 0), ("blur", 0), ("seed", 0)):
        _at_least(f"--{name}", getattr(args, name), least)
    classifier = _open(args)
    model = classifier.model
    layer = model.layers[-1] if args.layer is None else model.layer(args.layer)
    count = layer.output_shape[0]
    units = args.unit or list(range(min(count, UNITS)))
    limits = None if classifier.preprocessing else (0.0, 1.0)
    found = classifier.inspector.maximise(
        layer.name, units, steps=args.steps, rate=args.rate, decay=args.decay, blur=args.blur,
        limits=limits, seed=args.seed,
    )  # fmt: skip
    is_last = layer is model.layers[-1]
    names = [classifier.classes[u] if is_last else str(u) for u in units]
    what = "classes" if is_last else "maps" if len(layer.output_shape) == 3 else "units"
    some = f", the first {UNITS} of {count}" if args.unit is None and count > UNITS else ""
    title = f"what {what} of {layer.name} answer most to{some}, {_about(classifier)}"
    pictures.maximised(target, found, names, limits=limits, title=title)


def _curves(args: argparse.Namespace, target: Path) -> None:
    paths = [runs.find_checkpoint(name, (runs.LAST, runs.BEST)) for name in args.runs or (None,)]
    found = {}
    for path in paths:
        checkpoint = checkpoints.load(path)
        if not checkpoint.state.history:
            raise RunError(
                path, "a run without an epoch", "one at least", "train it, or leave it out"
            )
        others = [other for other in paths if other.parent.name == path.parent.name]
        name = path.parent.name if len(others) == 1 else str(path)
        found[f"{name} ({checkpoint.options.model})"] = checkpoint.state.history
    pictures.curves(target, found)


# ---- their options -------------------------------------------------------------------------------


def _layer_option(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--layer", metavar="NAME", help=f"default: {default}")


def _image_options(parser: argparse.ArgumentParser, default: str, several: bool) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--image", metavar="FILE", help="a photograph, as for predict")
    which.add_argument(
        "--index", type=whole, metavar="N", nargs="+" if several else 1,
        help=f"number of an image of the data; default: {default}",
    )  # fmt: skip
    run_data.add_arguments(parser)


def _features_options(parser: argparse.ArgumentParser) -> None:
    _layer_option(parser, "all that change anything")
    _image_options(parser, "0", several=False)


def _filters_options(parser: argparse.ArgumentParser) -> None:
    _layer_option(parser, "the first one that has filters")


def _histograms_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=whole, metavar="N", default=500, help="how many; default: %(default)s"
    )
    run_data.add_arguments(parser)


def _worst_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--count", type=whole, metavar="N", default=24, help="how many; default: %(default)s"
    )
    run_data.add_arguments(parser)


def _saliency_options(parser: argparse.ArgumentParser) -> None:
    _image_options(parser, "0 1 2 3 4", several=True)


def _maximise_options(parser: argparse.ArgumentParser) -> None:
    _layer_option(parser, "the last, whose units are the classes")
    parser.add_argument(
        "--unit", type=whole, metavar="N", nargs="+", help=f"default: all, {UNITS} at most"
    )
    for name, kind, default, text in (
        ("steps", whole, 200, "steps of gradient ascent"),
        ("rate", real, 0.1, "size of a step, in units of the input"),
        ("decay", real, 0.01, "share of the picture that each step takes away"),
        ("blur", real, 0.5, "pixels by which each step blurs"),
        ("seed", whole, 0, "of the noise that it begins with"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=default, metavar="N" if kind is whole else "X",
            help=f"{text}; default: {default}",
        )  # fmt: skip


def _no_options(parser: argparse.ArgumentParser) -> None:
    pass


class Picture(NamedTuple):
    """What can be shown: in words, its options, and what draws it."""

    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    draw: Callable[[argparse.Namespace, Path], None]


PICTURES = {
    "features": Picture("the maps of layers for one image", _features_options, _features),
    "filters": Picture("the weights of a layer as pictures", _filters_options, _filters),
    "histograms": Picture("how the outputs of each layer are spread, and which units are dead",
                          _histograms_options, _histograms),
    "confusion": Picture("which classes are taken for which", run_data.add_arguments, _confusion),
    "worst": Picture("the most wrong images", _worst_options, _worst),
    "saliency": Picture("which pixels decide, by the gradient", _saliency_options, _saliency),
    "maximise": Picture("the pictures that units answer most to", _maximise_options, _maximise),
    "curves": Picture("learning curves of several runs in one plot", _no_options, _curves),
}  # fmt: skip


# ---- what they share -----------------------------------------------------------------------------


def _open(args: argparse.Namespace) -> Classifier:
    return Classifier(runs.find_checkpoint(args.folder))


def _part(classifier: Classifier, args: argparse.Namespace) -> Split:
    dataset = run_data.load(classifier.checkpoint, classifier.path, args)
    return run_data.part(dataset, args.split)


def _about(classifier: Classifier) -> str:
    """The model and its run, for titles."""
    return f"{classifier.model.name} ({classifier.path.parent.name or classifier.path.name})"


def _images(
    classifier: Classifier, args: argparse.Namespace, default: Sequence[int]
) -> tuple[Any, list[str]]:
    """The images asked for, uint8 (n, *the model's shape), and what to call them."""
    if args.image is not None:
        image = for_model(args.image, classifier.checkpoint.data)
        return image[None], [Path(args.image).name]
    images, labels = _part(classifier, args)
    numbers = [i for i in default if i < len(images)] if args.index is None else args.index
    for i in numbers:
        if not 0 <= i < len(images):
            raise RunError("--index", str(i), f"0 to {len(images) - 1}", "choose another image")
    names = [f"{args.split} image {i} ({classifier.classes[labels[i]]})" for i in numbers]
    return np.asarray(images)[numbers], names


def _at_least(name: str, value: float, least: float) -> None:
    if not least <= value < float("inf"):
        raise RunError(name, f"{value:g}", f"a number from {least} on", "give such a number")
