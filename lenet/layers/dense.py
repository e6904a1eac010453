"""Fully connected layers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from lenet.initializers import bias, initializer
from lenet.layers.base import Application, Layer, Shape, flat
from lenet.layers.units import activate, pieces_of
from symgraph import tensor as T


@dataclass(eq=False)
class Dense(Layer):
    """A fully connected layer: output = activation(input . W + b).

    W is (inputs, units), b (units,); images are taken as rows of numbers. `init="tutorial"` draws
    weights uniformly in +-sqrt(6 / (inputs + units)), and four times that for the sigmoid: X.
    Glorot, Y. Bengio, AISTATS 2010. `activation="maxout:K"` makes K * `units` and keeps the largest
    of every K.
    """

    size: int
    _: KW_ONLY
    activation: str = "linear"
    init: str = "tutorial"

    label = "dense"

    @property
    def kind(self) -> str:
        words = "fully connected"
        return words if self.activation == "linear" else f"{words}, {self.activation}"

    def setup(self, rng: np.random.RandomState) -> Shape:
        self.whole("units", self.size)
        inputs, units = self.units(), self.size * pieces_of(self.activation)
        values = initializer(self.init)(rng, (inputs, units), inputs, units)
        if self.activation == "sigmoid" and self.init == "tutorial":
            values = 4 * values
        self.W = self.param("W", values)
        self.b = self.param("b", bias(rng, self.init, (units,), inputs))
        return (self.size,)

    def apply(self, x: Any, how: Application) -> Any:
        return activate(self.activation, T.dot(flat(x, self.input_shape), self.W) + self.b)

    @property
    def connections(self) -> int:
        return self.parameters

    @property
    def flops(self) -> int:
        return 2 * int(self.W.get_value(borrow=True).size)
