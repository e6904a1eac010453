"""The LeNet of the Theano tutorial."""

from __future__ import annotations

from lenet.errors import RunError
from lenet.layers import Dense, LeNetConvPoolLayer
from lenet.network import Declaration


def tutorial(
    classes: int = 10, nkerns: tuple[int, ...] = (20, 50), hidden: int = 500
) -> Declaration:
    """Twice (5x5 convolution, 2x2 max pooling, tanh), `hidden` tanh units, logistic regression.

    Raises RunError unless `nkerns` are two numbers of filters. Source: deeplearning.net tutorial
    "lenet", code/convolutional_mlp.py, whose order of random draws is kept.
    """
    first, second = two(nkerns, "20,50")
    return Declaration([
        LeNetConvPoolLayer(first, 5, name="layer0"),
        LeNetConvPoolLayer(second, 5, name="layer1"),
        Dense(hidden, activation="tanh", name="layer2"),
        Dense(classes, init="zeros", name="layer3"),
    ])  # fmt: skip


def two(nkerns: tuple[int, ...], example: str) -> tuple[int, int]:
    """Numbers of filters as two; RunError if they are not."""
    if len(nkerns) != 2:
        raise RunError(
            "--nkerns",
            ",".join(map(str, nkerns)),
            "two numbers, of filters in the first and in the second layer",
            f"give two, as {example}",
        )
    return nkerns[0], nkerns[1]
