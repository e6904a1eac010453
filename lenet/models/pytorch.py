"""The LeNet-5 of the PyTorch tutorials."""

from __future__ import annotations

from lenet.layers import Conv2D, Dense, Layer, Pad, Pool2D
from lenet.network import Declaration


def pytorch(classes: int = 10, padding: int | None = None) -> Declaration:
    """6 and 16 maps, 120 and 84 units with ReLU, max pooling, log-softmax: LeNet-5 as in PyTorch.

    28x28 images get a border of 2, so that they are 32x32; with `padding` they stay as they are,
    and the first convolution has that padding: 2 gives the same sizes. Weights and biases are
    drawn, and filters not flipped, as torch.nn.Conv2d and Linear do it.
    """
    border: list[Layer] = [Pad(2, name="border")] if padding is None else []
    return Declaration([
        *border,
        Conv2D(6, 5, padding=padding or 0, activation="relu", init="pytorch", flip=False,
               name="conv1"),
        Pool2D(2, name="pool1"),
        Conv2D(16, 5, activation="relu", init="pytorch", flip=False, name="conv2"),
        Pool2D(2, name="pool2"),
        Dense(120, activation="relu", init="pytorch", name="fc1"),
        Dense(84, activation="relu", init="pytorch", name="fc2"),
        Dense(classes, init="pytorch", name="fc3"),
    ])  # fmt: skip
