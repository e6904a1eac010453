"""The data of a run: those that its options name, or others to look at its model with."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

from lenet import data
from lenet.checkpoint import Checkpoint
from lenet.data import Dataset, Split
from lenet.errors import RunError
from lenet.layers.base import times
from lenet.options import Options

SPLITS = ("train", "valid", "test")


def load_data(
    options: Options,
    root: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    source: str | None = None,
) -> Dataset:
    """The data that `options` name, or those given, all of them: without the limit of training.

    Raises DataError as data.load does.
    """
    return data.load(
        name or options.data,
        source or options.source,
        root,
        validation=options.validation,
        seed=options.split_seed,
        size=_size(options),
    )


class Kind(NamedTuple):
    """What a model is built for: the name of the data, (channels, height, width), the classes."""

    name: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]


def kind(options: Options, root: str | os.PathLike[str] | None = None) -> Kind:
    """What the data are like that `options` name; DataError as `load_data`.

    Only a source that is named is read: what the data sets themselves are like is known.
    """
    if options.source != "auto":
        dataset = load_data(options, root)
        return Kind(dataset.name, dataset.image_shape, dataset.classes)
    known = data.COLLECTIONS[options.data]
    channels, *own = known.image_shape
    height, width = _size(options) or own
    return Kind(known.name, (channels, height, width), known.classes)


def add_arguments(parser: argparse.ArgumentParser, split: bool = True) -> None:
    """Give `parser` the options that say which data; `load` and `part` read them."""
    group = parser.add_argument_group("the data")
    group.add_argument("--data", choices=list(data.COLLECTIONS), help="default: the run's")
    group.add_argument("--source", help="where from, as for train; default: the run's")
    group.add_argument("--root", help="data folder; default: $SYMGRAPH_DATA or the user's cache")
    if split:
        group.add_argument(
            "--split", choices=SPLITS, default="test", help="which part; default: %(default)s"
        )


def load(checkpoint: Checkpoint, path: Path, args: argparse.Namespace) -> Dataset:
    """The data asked for, their labels counting the classes of the `checkpoint` read from `path`.

    Raises DataError for data that there are not, RunError for images of another shape than the
    model's.
    """
    name, source = getattr(args, "data", None), getattr(args, "source", None)
    if name is not None and source is None and name != checkpoint.data["name"]:
        source = "auto"  # where the run's data lie, these do not
    dataset = load_data(checkpoint.options, args.root, name=name, source=source)
    if dataset.image_shape != checkpoint.image_shape:
        raise RunError(
            f"data {dataset.name} from {dataset.source}",
            f"images of {times(dataset.image_shape)}",
            f"{times(checkpoint.image_shape)}, as the model {path} was trained on",
            "name other data with --data or --source",
        )
    if dataset.classes != checkpoint.classes:
        dataset = dataset.with_classes(checkpoint.classes)
    return dataset


def part(dataset: Dataset, name: str) -> Split:
    """The part `name` of `dataset`; RunError if it has no images."""
    split: Split = getattr(dataset, name)
    if not len(split.labels):
        raise RunError(f"--split {name}", "no images", "some", "use another part")
    return split


def _size(options: Options) -> tuple[int, int] | None:
    return None if options.size is None else (options.size[0], options.size[1])
