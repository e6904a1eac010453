"""What is done to images as they are: a border around them, another range, a row of numbers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from lenet.layers.base import Application, Layer, Shape, flat, pair, times
from symgraph import tensor as T


@dataclass(eq=False)
class Pad(Layer):
    """Images with `size` pixels more at every border, or (rows, columns), all of them `value`."""

    size: int | tuple[int, int]
    _: KW_ONLY
    value: float = 0.0

    label = "pad"

    @property
    def kind(self) -> str:
        size = self.size if isinstance(self.size, int) else times(self.size)
        return f"border of {size}" + (f", {self.value:g}" if self.value else "")

    def setup(self, rng: np.random.RandomState) -> Shape:
        maps, height, width = self.images()
        rows, columns = self.whole("size", self.size, 0)
        return maps, height + 2 * rows, width + 2 * columns

    def apply(self, x: Any, how: Application) -> Any:
        (rows, columns), (_, height, width) = pair(self.size), self.input_shape
        blank = T.alloc(np.asarray(self.value, x.dtype), x.shape[0], *self.output_shape)
        inside = blank[:, :, rows : rows + height, columns : columns + width]
        return T.set_subtensor(inside, x)


@dataclass(eq=False)
class Rescale(Layer):
    """Pixels from 0 to 1 as numbers from `low` to `high`: low + (high - low) * input."""

    low: float
    high: float

    label = "rescale"

    @property
    def kind(self) -> str:
        return f"0..1 to {self.low:g}..{self.high:g}"

    def setup(self, rng: np.random.RandomState) -> Shape:
        if not (np.isfinite([self.low, self.high]).all() and self.low != self.high):
            raise self.refuse(
                f"the range {self.low:g} to {self.high:g}",
                "two different finite numbers",
                "give such, as -0.1 and 1.175",
            )
        return self.input_shape

    def apply(self, x: Any, how: Application) -> Any:
        return np.asarray(self.high - self.low, x.dtype) * x + np.asarray(self.low, x.dtype)

    @property
    def flops(self) -> int:
        return 2 * self.units()


@dataclass(eq=False)
class Flatten(Layer):
    """Images as rows of numbers, map after map, row after row."""

    label = "flatten"

    def setup(self, rng: np.random.RandomState) -> Shape:
        return (self.units(),)

    def apply(self, x: Any, how: Application) -> Any:
        return flat(x, self.input_shape)
