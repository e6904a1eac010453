"""What is done to each unit: activations, maxout among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lenet.activations import activation
from lenet.errors import RunError
from lenet.layers.base import Application, Layer, Shape
from symgraph import tensor as T

MAXOUT = "maxout"


def pieces_of(name: str) -> int:
    """How many linear pieces each unit takes the largest of: K for "maxout:K", else 1.

    "maxout" alone has two. Raises RunError for what is no activation.
    """
    word, colon, count = name.partition(":")
    if word != MAXOUT:
        activation(name)
        return 1
    if not colon:
        return 2
    if not (count.isdecimal() and 2 <= int(count) <= 1000):
        raise RunError(
            "activation", repr(name), "maxout:K with K from 2 to 1000", "write it as maxout:2"
        )
    return int(count)


def activate(name: str, z: Any) -> Any:
    """The activation `name` of `z`: (examples, units) or (examples, maps, height, width).

    Maxout divides the size of axis 1 by its number of pieces. Source: Goodfellow et al., "Maxout
    networks", ICML 2013.
    """
    pieces = pieces_of(name)
    if pieces == 1:
        return activation(name)(z)
    largest = z[:, ::pieces]
    for k in range(1, pieces):
        largest = T.maximum(largest, z[:, k::pieces])
    return largest


def activated(name: str, shape: Shape, layer: Layer) -> Shape:
    """The shape that `activate` makes of `shape`; RunError if maxout's pieces do not divide it."""
    pieces = pieces_of(name)
    if shape[0] % pieces:
        raise layer.refuse(
            f"{name} of {shape[0]} maps or units",
            f"a multiple of {pieces}",
            "change the layer before it, or the number behind maxout:",
        )
    return (shape[0] // pieces, *shape[1:])


@dataclass(eq=False)
class Activation(Layer):
    """The activation `of` each unit of its input, by its name."""

    of: str

    label = "activation"

    @property
    def kind(self) -> str:
        return self.of

    def setup(self, rng: np.random.RandomState) -> Shape:
        return activated(self.of, self.input_shape, self)

    def apply(self, x: Any, how: Application) -> Any:
        return activate(self.of, x)
