"""Data files written here, for the tests of reading them: small arrays in each of the formats."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lenet import data
from lenet.data import catalog
from lenet.data.arrays import Parts, assemble

NAMES = [file.name for file in catalog.COLLECTIONS["mnist"].files]


class Arrays(NamedTuple):
    """What the four official IDX files hold: images (n, height, width) and labels (n,)."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def parts(self) -> Parts:
        return assemble({"train": self[:2], "test": self[2:]}, "test")


def arrays(train: int = 60, test: int = 10, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return Arrays(
        rng.integers(0, 256, (train, 28, 28), np.uint8),
        rng.integers(0, 10, train).astype(np.uint8),
        rng.integers(0, 256, (test, 28, 28), np.uint8),
        rng.integers(0, 10, test).astype(np.uint8),
    )


def idx(array: np.ndarray) -> bytes:
    return catalog.idx_header(array.shape) + array.tobytes()


def write_idx(folder: Path, content: Arrays, *, gz: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, content, strict=True):
        blob = idx(array)
        (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(blob) if gz else blob)


def write_npz(path: Path, content: Arrays) -> None:
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez_compressed(path, **dict(zip(names, content, strict=True)))


def write_pickle(path: Path, content: Arrays, divisor: float = 256, protocol: int = 2) -> None:
    """As the tutorials' file: three parts of which the second is the last sixth of training."""
    x, y, test_x, test_y = content
    cut = len(y) - len(y) // 6
    parts = tuple(
        ((images.reshape(-1, 784) / divisor).astype("f4"), labels.astype("i8"))
        for images, labels in ((x[:cut], y[:cut]), (x[cut:], y[cut:]), (test_x, test_y))
    )
    path.write_bytes(gzip.compress(pickle.dumps(parts, protocol)))


def same(dataset: data.Dataset, content: Arrays) -> bool:
    images = np.concatenate([dataset.train.images, dataset.valid.images])
    labels = np.concatenate([dataset.train.labels, dataset.valid.labels])
    found = (images[:, 0], labels, dataset.test.images[:, 0], dataset.test.labels)
    return all(np.array_equal(a, b) for a, b in zip(found, content, strict=True))
