"""The convolutional network that people write from scratch in NumPy."""

from __future__ import annotations

from lenet.layers import Conv2D, Dense, Pool2D
from lenet.models.tutorial import two
from lenet.network import Declaration


def numpy(classes: int = 10, nkerns: tuple[int, ...] = (8, 16), hidden: int = 128) -> Declaration:
    """A "same" convolution, a "valid" one of stride 2, max pooling, `hidden` ReLU units, softmax.

    The layers of a network from scratch: both paddings, strides, and weight decay in its recipe.
    Filters are not flipped. Raises RunError unless `nkerns` are two numbers of filters.
    """
    first, second = two(nkerns, "8,16")
    return Declaration([
        Conv2D(first, 3, padding="same", activation="relu", init="he_normal", flip=False,
               name="conv1"),
        Conv2D(second, 5, stride=2, padding="valid", activation="relu", init="he_normal",
               flip=False, name="conv2"),
        Pool2D(2, stride=2, name="pool"),
        Dense(hidden, activation="relu", init="he_normal", name="fc1"),
        Dense(classes, init="he_normal", name="fc2"),
    ])  # fmt: skip
