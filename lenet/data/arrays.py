"""Arrays of any origin as the images and labels that networks are given, or a DataError.

Inside lenet images are uint8 (n, channels, height, width), one or three channels, and labels are
int32 (n,), the numbers 0 to k-1 of k named classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lenet.data.errors import DataError

CHANNELS = (1, 3)  # grey and colour
MAX_CLASSES = 1000  # as in ImageNet: a larger label is a mistake in all likelihood
TITLES = {"train": "training", "valid": "validation", "test": "test"}
_CHUNK = 1 << 22  # elements converted at a time: floats of a large set never stand beside it

Labels = NDArray[np.int32]


class Split(NamedTuple):
    """Images uint8 (n, channels, height, width), 0 to 255, and labels int32 (n,); read-only."""

    images: NDArray[np.uint8]
    labels: Labels

    def take(self, which: slice | NDArray[Any]) -> Split:
        """The examples in a slice (views) or at indices (copies)."""
        return Split(self.images[which], self.labels[which])


@dataclass(frozen=True, eq=False)
class Parts:
    """What a reader found. `test` and `valid` are None where the data have no such part.

    `digests` are the SHA-256 of the files where it is these, not the arrays, that are listed in
    the catalogue.
    """

    train: Split
    classes: tuple[str, ...]
    valid: Split | None = None
    test: Split | None = None
    digests: tuple[str, ...] = ()

    def named(self) -> Iterator[tuple[str, Split]]:
        """The parts that are there, with their names: "train", "valid", "test"."""
        for part in TITLES:
            split = getattr(self, part)
            if split is not None:
                yield part, split


def channels_first(images: NDArray[Any], where: object = "images") -> NDArray[Any]:
    """Images of either layout as (n, channels, height, width), a view where NumPy can make one.

    (n, height, width) are grey images. Of four axes, the second (PyTorch, Theano) or the last
    (Keras, TensorFlow) counts the channels: the one of extent 1 or 3. Where both could, it is
    the last one. Any dtype. Raises DataError for other shapes.
    """
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.ndim == 4:
        if images.shape[3] in CHANNELS:
            return images.transpose(0, 3, 1, 2)
        if images.shape[1] in CHANNELS:
            return images
    raise DataError(
        where,
        f"images of shape {images.shape}",
        "(n, height, width), (n, channels, height, width) or (n, height, width, channels) "
        "with 1 or 3 channels",
        "reshape the array; keep 1 or 3 channels",
    )


def channels_last(images: NDArray[Any], where: object = "images") -> NDArray[Any]:
    """Images of either layout as (n, height, width, channels); the rules of `channels_first`."""
    return channels_first(images, where).transpose(0, 2, 3, 1)


def assemble(
    pairs: Mapping[str, tuple[Any, Any]], where: object, classes: Iterable[str] = ()
) -> Parts:
    """The parts in `pairs` ("train", "valid", "test" to images and labels), converted and checked.

    `classes` are the names of labels that are numbers; without it they are "0", "1" and so on.
    Labels that are text name their classes themselves. Raises DataError.
    """
    images = {part: _bytes(pair[0], where, part) for part, pair in pairs.items()}
    labels = {part: _flat(pair[1], where, part) for part, pair in pairs.items()}
    for part in pairs:
        counts, title = (len(images[part]), len(labels[part])), TITLES[part]
        if counts[0] != counts[1]:
            got = f"{counts[0]:,} {title} images, {counts[1]:,} labels"
            raise DataError(where, got, "as many", "give each image one label")
        if counts[0] < 2:
            raise DataError(where, f"{counts[0]} {title} images", "at least 2", "add images")
    shape = images["train"].shape[1:]
    for part, array in images.items():
        if array.shape[1:] != shape:
            got = f"{TITLES[part]} images of shape {array.shape}"
            expected = f"(n, {', '.join(map(str, shape))}) as in the training part"
            raise DataError(where, got, expected, "bring all images to one shape")
        if 0 in shape:
            raise DataError(
                where, f"images of shape {array.shape}", "pixels in them", "replace them"
            )
    names, numbers = _numbered(labels, where, tuple(classes))
    if len(np.unique(numbers["train"])) < 2:
        name = names[numbers["train"][0]]
        cure = "add images of another class: there is nothing to tell apart"
        raise DataError(where, f"one class only, {name!r}", "at least two", cure)
    splits = {part: Split(images[part], numbers[part]) for part in pairs}
    return Parts(splits["train"], names, splits.get("valid"), splits.get("test"))


def natural(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes in order: as numbers if all of them are, else as text."""
    found = sorted(set(names))
    if all(name.isdecimal() for name in found):
        found.sort(key=int)
    return tuple(found)


# ---- pixels ------------------------------------------------------------------------------------


def _bytes(values: Any, where: object, part: str) -> NDArray[np.uint8]:
    images = _array(values, where, f"{TITLES[part]} images")
    if images.dtype.kind not in "biuf":
        got = f"{TITLES[part]} images of dtype {images.dtype}"
        raise DataError(where, got, "an array of numbers", "save the pixels as numbers")
    if images.ndim == 2 and (side := round(images.shape[1] ** 0.5)) ** 2 == images.shape[1]:
        images = images.reshape(-1, side, side)  # rows of pixels, as in the tutorials
    return np.ascontiguousarray(grey_levels(channels_first(images, where), where))


def grey_levels(images: NDArray[Any], where: object) -> NDArray[np.uint8]:
    """Pixels as bytes, 0 to 255, the same shape.

    Integers 0 to 255 are taken as they are. Floats are levels from 0 to 1 or, if one is larger
    than 1, from 0 to 255; they are rounded. Where all are whole 256ths, as in the tutorials'
    file, the levels were divided by 256. False and True are 0 and 255. Raises DataError for
    values outside, NaN included.
    """
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.bool_:
        return images * np.uint8(255)
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if not (low >= 0 and high <= 255):  # neither holds for NaN
        raise DataError(
            where,
            f"{images.dtype} images from {low} to {high}",
            "grey levels: 0 to 255, or floats 0 to 1, none of them NaN",
            "rescale the images",
        )
    scale = 1
    if images.dtype.kind == "f" and high <= 1:
        is_256ths = high <= 255 / 256 and all(
            np.array_equal(part * 256, np.rint(part * 256)) for part in _chunks(images)
        )
        scale = 256 if is_256ths else 255
    levels = np.empty(images.shape, np.uint8)
    for source, target in zip(_chunks(images), _chunks(levels), strict=True):
        target[...] = np.rint(source * scale) if images.dtype.kind == "f" else source
    return levels


def _chunks(images: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, _CHUNK // max(1, int(np.prod(images.shape[1:]))))
    for i in range(0, len(images), step):
        yield images[i : i + step]


# ---- labels ------------------------------------------------------------------------------------


def _flat(values: Any, where: object, part: str) -> NDArray[Any]:
    """Labels as (n,): numbers or text."""
    labels = _array(values, where, f"{TITLES[part]} labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        got = f"{TITLES[part]} labels of shape {labels.shape}"
        cure = "one number or name an image; of one-hot rows take argmax(1)"
        raise DataError(where, got, "(n,)", cure)
    return labels.astype(str) if labels.dtype.kind == "S" else labels


def _numbered(
    labels: dict[str, NDArray[Any]], where: object, classes: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    """The names of the classes, and each part's labels as their numbers."""
    if all(array.dtype.kind == "U" for array in labels.values()):
        names = classes or natural(map(str, np.unique(labels["train"])))
        numbers = {name: i for i, name in enumerate(names)}
        found = {}
        for part, array in labels.items():
            present, inverse = np.unique(array, return_inverse=True)
            if unknown := [str(name) for name in present if name not in numbers]:
                got = f"the {TITLES[part]} label {unknown[0]!r}"
                expected = "a class that has training images: " + ", ".join(map(repr, names[:10]))
                raise DataError(where, got, expected, "add training images of it, or correct it")
            found[part] = np.array([numbers[str(name)] for name in present], np.int32)[inverse]
        return names, found
    largest = 0
    limit = len(classes) or MAX_CLASSES
    for part, array in labels.items():
        low, high = (array.min(), array.max()) if array.dtype.kind in "iuf" else (0, 0)
        if array.dtype.kind not in "iu":
            got = f"{TITLES[part]} labels of dtype {array.dtype}"
        elif low < 0 or high >= limit:
            got = f"the {TITLES[part]} label {low if low < 0 else high}"
        else:
            largest = max(largest, int(high))
            continue
        cure = "number the classes from 0; names of classes may be text"
        raise DataError(where, got, f"integers 0 to {limit - 1}", cure)
    names = classes or tuple(map(str, range(largest + 1)))
    return names, {part: array.astype(np.int32) for part, array in labels.items()}


def _array(values: Any, where: object, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # nested lists of different lengths
        cure = "save them as one array"
        raise DataError(where, f"{what}: {error}", "an array of numbers", cure) from error
