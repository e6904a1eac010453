"""Training, validation and test parts: which images, in which order, by which seed."""

from __future__ import annotations

import numpy as np
import pytest

from lenet import data
from lenet.data import DataError
from lenet.data.arrays import Parts, Split
from lenet.data.splits import split

CLASSES = ("a", "b", "c")


def part(labels: np.ndarray) -> Split:
    """Images that hold their place."""
    images = np.zeros((len(labels), 1, 1, 2), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return Split(images, labels.astype(np.int32))


MIXED = part(np.arange(60) % 3)
SORTED = part(np.repeat([0, 1, 2], [30, 18, 12]))
TEST = part(np.array([0, 1, 2]))


def places(split: Split) -> list[int]:
    return list(split.images[:, 0, 0, 0])


def test_the_last_ones_validate() -> None:
    train, valid, test = split(Parts(MIXED, CLASSES, test=TEST))
    assert places(train) == list(range(50)) and places(valid) == list(range(50, 60))
    assert test is TEST and np.shares_memory(train.images, MIXED.images)
    train, valid, _ = split(Parts(MIXED, CLASSES, test=TEST), validation=0.29)
    assert places(valid) == list(range(43, 60)) and len(train.labels) == 43


def test_a_seed_chooses() -> None:
    train, valid, _ = split(Parts(MIXED, CLASSES, test=TEST), validation=0.1, seed=5)
    chosen = np.random.RandomState(5).permutation(60)[:6]
    assert places(valid) == sorted(chosen)
    assert places(train) == [i for i in range(60) if i not in chosen]


@pytest.mark.parametrize("seed", [None, 3])
def test_images_that_come_class_by_class_are_shuffled(seed: int | None) -> None:
    train, valid, _ = split(Parts(SORTED, CLASSES, test=TEST), seed=seed)
    order = list(np.random.RandomState(seed or 0).permutation(60))
    assert places(train) == order[:50] and places(valid) == order[50:]
    assert list(train.labels) == [SORTED.labels[i] for i in places(train)]


@pytest.mark.parametrize("training", [MIXED, SORTED])
@pytest.mark.parametrize("seed", [None, 3])
def test_class_by_class_without_a_test_part(training: Split, seed: int | None) -> None:
    train, valid, test = split(Parts(training, CLASSES), seed=seed)
    everything = places(train) + places(valid) + places(test)
    assert sorted(everything) == list(range(60))
    for found, share in ((train, 4), (valid, 1), (test, 1)):
        counts = np.bincount(training.labels) * share // 6
        np.testing.assert_allclose(np.bincount(found.labels), counts, atol=1)
        assert np.any(np.diff(found.labels) < 0)  # mixed
        order = list(np.random.RandomState(seed or 0).permutation(60))
        assert places(found) == [i for i in order if i in places(found)]


def test_own_parts_are_kept() -> None:
    train, valid, test = split(Parts(MIXED, CLASSES, valid=TEST, test=TEST))
    assert train is MIXED and valid is TEST and test is TEST
    train, valid, test = split(Parts(MIXED, CLASSES, valid=TEST))
    assert valid is TEST and len(test.labels) == 9 and len(train.labels) == 51


def test_what_cannot_be_split() -> None:
    for share in (0.0, 1.0, -0.5, 2.0, float("nan")):
        with pytest.raises(DataError, match=r"validation: got a share of .*between 0 and 1"):
            data.load(source="sample", validation=share)
    with pytest.raises(DataError, match="got -1; expected a number from 0 to 4294967295"):
        data.load(source="sample", seed=-1)
    with pytest.raises(DataError, match="got 0 of 60 training images to validate with"):
        split(Parts(MIXED, CLASSES, test=TEST), validation=0.01)
    with pytest.raises(DataError, match="got 20 images of class 'a' for training and the others"):
        split(Parts(MIXED, CLASSES), validation=0.9)
    with pytest.raises(
        DataError, match=r"got 2 images of class 'b'.*expected images in every part"
    ):
        split(Parts(part(np.array([0, 1, 0, 0, 1])), CLASSES))
