"""Training, validation and test parts: the ones that data have, and those cut from their training.

All choices are seeded: the same data and seed give the same parts, on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import Parts, Split
from lenet.data.errors import DataError

VALIDATION = 1 / 6  # the Theano tutorials': 10,000 of MNIST's 60,000
TEST = 1 / 6  # of data without a test part of their own

Indices = NDArray[np.intp]


def split(
    parts: Parts, validation: float | None = None, seed: int | None = None
) -> tuple[Split, Split, Split]:
    """(train, valid, test); what is missing in `parts` is taken out of their training part.

    Data with a test part give the share `validation` of the training images, rounded down: the
    last ones as they stand or, with `seed`, those that stand first in
    RandomState(seed).permutation(n). All keep their order. Training images that come class by
    class are shuffled before, by the same permutation (seed 0 by default): neither minibatches
    nor the last ones are then of one class.

    Data without a test part are split class by class, test : valid : train = 1 : 1 : 4 by
    default: of each class, permuted, the first sixth, at least one image, is for testing, the
    share `validation` of them, at least one, for validating. The parts come shuffled.

    Raises DataError if a share is not between 0 and 1, if a part would be empty, and if
    `validation` is given for data with a validation part of their own.
    """
    if validation is not None and not 0 < validation < 1:
        raise DataError(
            "validation", f"a share of {validation:g}", "a number between 0 and 1",
            "give the share of the training images that validates, as 0.1",
        )  # fmt: skip
    if seed is not None and not 0 <= seed < 2**32:
        cure = "give such a number"
        raise DataError("seed of the split", str(seed), "a number from 0 to 4294967295", cure)
    if parts.valid is not None and validation is not None:
        raise DataError(
            "validation",
            f"a share of {validation:g} for data with their own validation part",
            "none",
            "leave it out, or remove that part from the data",
        )
    share = VALIDATION if validation is None else validation
    train, valid, test = parts.train, parts.valid, parts.test
    if test is None:
        return _by_class(parts, 0.0 if valid else share, 0 if seed is None else seed)
    count = len(train.labels)
    if np.all(np.diff(train.labels) >= 0):  # class by class, as from folders
        train = train.take(_permutation(count, seed))
        seed = None
    if valid is not None:
        return train, valid, test
    chosen = int(count * share + 1e-9)
    if not 0 < chosen < count:
        raise _empty(f"{chosen} of {count} training images to validate with")
    if seed is None:
        cut = count - chosen
        return train.take(slice(cut)), train.take(slice(cut, None)), test
    is_valid = np.zeros(count, bool)
    is_valid[_permutation(count, seed)[:chosen]] = True
    return train.take(~is_valid), train.take(is_valid), test


def _by_class(parts: Parts, share: float, seed: int) -> tuple[Split, Split, Split]:
    """Split the training part class by class: TEST for testing, `share` for validating."""
    labels = parts.train.labels
    order = _permutation(len(labels), seed)
    places: list[list[Indices]] = [[], [], []]
    for number in np.unique(labels):
        of_class = order[labels[order] == number]
        counts = [max(1, round(len(of_class) * part)) if part else 0 for part in (TEST, share)]
        if sum(counts) >= len(of_class):
            name = parts.classes[number]
            raise _empty(f"{len(of_class)} images of class {name!r} for training and the others")
        for found, piece in zip(places, np.split(of_class, np.cumsum(counts)), strict=True):
            found.append(piece)
    # Back into the order of the permutation: the classes are mixed.
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    test, valid, train = (
        parts.train.take(order[np.sort(rank[np.concatenate(found)])]) for found in places
    )
    return train, parts.valid or valid, test


def _permutation(count: int, seed: int | None) -> Indices:
    return np.random.RandomState(seed or 0).permutation(count)


def _empty(got: str) -> DataError:
    return DataError(
        "splitting the data", got, "images in every part", "add images, or change the share"
    )
