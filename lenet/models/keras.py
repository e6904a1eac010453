"""The LeNet-5 of the Keras tutorials."""

from __future__ import annotations

from lenet.layers import Conv2D, Dense, Pool2D
from lenet.network import Declaration


def keras(classes: int = 10) -> Declaration:
    """6, 16 and 120 maps and 84 units with tanh, average pooling, softmax: LeNet-5 as in Keras.

    28x28 images as they are, so that C5 has 4x4 filters. Weights as `glorot_uniform`, which is the
    tutorial's range, and filters that are not flipped, as Keras has both.
    """
    return Declaration([
        Conv2D(6, 5, activation="tanh", flip=False, name="C1"),
        Pool2D(2, mode="average", name="S2"),
        Conv2D(16, 5, activation="tanh", flip=False, name="C3"),
        Pool2D(2, mode="average", name="S4"),
        Conv2D(120, 4, activation="tanh", flip=False, name="C5"),
        Dense(84, activation="tanh", name="F6"),
        Dense(classes, name="output"),
    ])  # fmt: skip
