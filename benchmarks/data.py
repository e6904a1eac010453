"""The numbers that every peer computes with: drawn by NumPy from fixed seeds, equal for all.

Only NumPy is imported, since peers live in environments of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

BATCHES = 4
"""Minibatches in a resident data set; training steps go through them in turn."""

RATE = 0.1
"""The learning rate of every training step."""


def values(shape: Sequence[int], seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Normal numbers of any shape, repeating after 65,521 (a prime), so that 1e8 are made fast."""
    block = np.random.RandomState(seed).standard_normal(65521).astype(dtype)
    return np.resize(block, shape)


def digits(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """`BATCHES` minibatches: images (batch * 4, 784) in [0, 1), labels (batch * 4,) int32."""
    rng = np.random.RandomState(0)
    count = batch * BATCHES
    return rng.rand(count, 784).astype("float32"), rng.randint(0, 10, count).astype("int32")


def labels(rows: int, classes: int) -> np.ndarray:
    """Labels (rows,), int32, below `classes`."""
    return np.random.RandomState(1).randint(0, classes, rows).astype("int32")


def dense(sizes: Sequence[int], seed: int = 2) -> list[np.ndarray]:
    """Weights (a, b) and biases (b,) of fully connected layers, in turn, as the tutorials draw."""
    rng = np.random.RandomState(seed)
    result = []
    for a, b in pairwise(sizes):
        bound = np.sqrt(6 / (a + b))
        result += [rng.uniform(-bound, bound, (a, b)).astype("float32"), np.zeros(b, "float32")]
    return result


def lenet() -> list[np.ndarray]:
    """Parameters of the tutorial's LeNet from the input on: filters (o, c, 5, 5) of a
    cross-correlation, biases (o,), then the two fully connected layers of 800-500-10."""
    result = []
    for seed, (o, c) in enumerate(((20, 1), (50, 20))):
        bound = np.sqrt(6 / (c * 25 + o * 25 / 4))
        filters = np.random.RandomState(seed).uniform(-bound, bound, (o, c, 5, 5))
        result += [filters.astype("float32"), np.zeros(o, "float32")]
    return result + dense((800, 500, 10))


def lstm(inputs: int, units: int) -> list[np.ndarray]:
    """Parameters of an LSTM without peepholes and of the softmax on its last state: weights of the
    inputs (inputs, 4 units) and of the state (units, 4 units), biases (4 units,), then (units, 10)
    and (10,). The gates stand side by side: input, forget, cell, output, as PyTorch has them."""
    rng = np.random.RandomState(3)
    bound = 1 / np.sqrt(units)
    shapes = (inputs, 4 * units), (units, 4 * units), (4 * units,), (units, 10), (10,)
    return [rng.uniform(-bound, bound, shape).astype("float32") for shape in shapes]


def sequences(steps: int, batch: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (steps, batch, inputs) and their labels (batch,), int32, below 10."""
    return values((steps, batch, inputs)), labels(batch, 10)


def convolution(
    n: int, c: int, size: int, o: int, k: int, stride: int, pad: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, c, size, size), filters (o, c, k, k) and a gradient of the result's shape."""
    out = (size + 2 * pad - k) // stride + 1
    return values((n, c, size, size)), values((o, c, k, k), 1), values((n, o, out, out), 2)
