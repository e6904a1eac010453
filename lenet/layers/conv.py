"""Convolutions: plain, with a table of connections, and the tutorial's with its pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.initializers import bias, initializer
from lenet.layers.base import Application, Layer, Shape, pair, times
from lenet.layers.units import activate, pieces_of
from symgraph import tensor as T
from symgraph.tensor.nnet import conv2d
from symgraph.tensor.signal import pool

Table = Sequence[Sequence[int]]
Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclass(eq=False)
class Conv2D(Layer):
    """A convolution with a bias for each map: output = activation(input * W + b).

    W is (filters, maps, height, width) and b (filters,). With a `table`, a row of input maps for
    each output map as LeNet-5's C3 has it, W holds the filters of the connected pairs only,
    (connected, height, width), row after row. `padding` is a number of zeros at every border,
    "valid" (none), or "same", Keras's: as many as make the output ceil(input / stride), the odd one
    behind. `flip` filters, as convolution has it, or do not: cross-correlation, as PyTorch and
    Keras. `activation="maxout:K"` makes K * `filters` maps and keeps the largest of every K.
    `init` draws each map's filters by its own number of inputs.
    """

    filters: int
    size: int | tuple[int, int] = 5
    _: KW_ONLY
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] | str = 0
    activation: str = "linear"
    init: str = "tutorial"
    flip: bool = True
    table: Table | None = None

    label = "conv"

    @property
    def kind(self) -> str:
        words = [f"convolution {times(self.size)}"]
        if pair(self.stride) != (1, 1):
            words.append(f"stride {times(self.stride)}")
        if self.padding not in (0, "valid"):
            words.append(f"padding {self.padding}")
        if self.table is not None:
            words.append("partly connected")
        return ", ".join(words + ([self.activation] if self.activation != "linear" else []))

    def setup(self, rng: np.random.RandomState) -> Shape:
        maps, *extents = self.images()
        self.whole("filters", self.filters)
        size, strides = self.whole("size", self.size), self.whole("stride", self.stride)
        count = self.filters * pieces_of(self.activation)
        rows, columns = map(self._pads, extents, size, strides, self._padding())
        self.pads: Pads = (rows, columns)
        self.shape = (count, maps, *size)
        around = [n + sum(pads) for n, pads in zip(extents, self.pads, strict=True)]
        sizes = [(n - m) // s + 1 for n, m, s in zip(around, size, strides, strict=True)]
        if any(n < m for n, m in zip(around, size, strict=True)):
            raise self.refuse(
                f"images of {times(tuple(extents))}",
                f"at least {times(size)} with the padding, for filters of that size",
                "use larger images, smaller filters or less pooling before",
            )
        inputs = self._inputs(maps)
        area = int(np.prod(size))
        draw = initializer(self.init)
        if self.table is None:
            values = draw(rng, self.shape, maps * area, count * area)
        else:
            values = np.concatenate(
                [draw(rng, (len(row), *size), len(row) * area, count * area) for row in inputs]
            )
            self.pairs = np.array([(i, j) for i, row in enumerate(inputs) for j in row]).T
        self.W = self.param("W", values)
        fan_in = max(map(len, inputs)) * area
        self.b = self.param("b", bias(rng, self.init, (count,), fan_in))
        return (self.filters, *sizes)

    def apply(self, x: Any, how: Application) -> Any:
        filters = self.W
        if self.table is not None:
            blank = T.zeros(self.shape, dtype=self.W.dtype)
            filters = T.set_subtensor(blank[self.pairs[0], self.pairs[1]], self.W)
        if self.shape[1:] == self.input_shape and self.pads == ((0, 0), (0, 0)):
            # Filters as large as the images meet them once: a matrix product, several times faster.
            rows = filters[:, :, ::-1, ::-1] if self.flip else filters
            convolved = T.dot(x.flatten(2), rows.flatten(2).T).dimshuffle(0, 1, "x", "x")
        else:
            convolved = conv2d(
                x,
                filters,
                input_shape=(None, *self.input_shape),
                filter_shape=self.shape,
                border_mode=self.pads,
                subsample=pair(self.stride),
                filter_flip=self.flip,
            )
        return activate(self.activation, convolved + self.b.dimshuffle("x", 0, "x", "x"))

    @property
    def connections(self) -> int:
        return self.parameters * self._places

    @property
    def flops(self) -> int:
        return 2 * int(self.W.get_value(borrow=True).size) * self._places

    @property
    def _places(self) -> int:
        return int(np.prod(self.output_shape[1:]))

    def _inputs(self, maps: int) -> list[Sequence[int]]:
        """The input maps that each output map reads; RunError for a table that does not fit."""
        pieces = pieces_of(self.activation)
        if self.table is None:
            return [range(maps)] * (self.filters * pieces)
        if len(self.table) != self.filters or any(
            not row or len(set(row)) != len(row) for row in self.table
        ):
            raise self.refuse(
                f"a connection table of {len(self.table)} rows for {self.filters} output maps",
                "a row of different input maps for each output map",
                "give one row per output map, none of them empty, none with a map twice",
            )
        for j in (j for row in self.table for j in row if not 0 <= j < maps):
            raise self.refuse(
                f"a connection table that names input map {j}",
                f"numbers from 0 to {maps - 1}, of the {maps} input maps",
                "correct the table, or give the layer before it as many maps",
            )
        return [row for row in self.table for _ in range(pieces)]

    def _padding(self) -> tuple[int | None, int | None]:
        """Zeros at each border, of rows and of columns; None for "same"."""
        if self.padding == "same":
            return None, None
        if isinstance(self.padding, str) and self.padding != "valid":
            raise self.refuse(
                f"padding {self.padding!r}", "a number, 'valid' or 'same'", "use one of these"
            )
        return self.whole("padding", 0 if isinstance(self.padding, str) else self.padding, 0)

    @staticmethod
    def _pads(extent: int, size: int, stride: int, padding: int | None) -> tuple[int, int]:
        """Zeros before and behind along one axis."""
        if padding is not None:
            return padding, padding
        total = max((-(-extent // stride) - 1) * stride + size - extent, 0)
        return total // 2, total - total // 2


@dataclass(eq=False)
class LeNetConvPoolLayer(Layer):
    """The tutorial's layer: output = tanh(max_pool(input * W) + b).

    W (filters, maps, height, width) is drawn uniformly in +-sqrt(6 / (fan in + fan out)), where
    pooling divides the fan out; b (filters,) is 0. Pooling windows do not overlap, and what is left
    at the border is dropped. All pixels that tie for a maximum get its gradient, as in Theano; with
    Pool2D, the first does. Source: deeplearning.net tutorial "lenet".
    """

    filters: int
    size: int | tuple[int, int] = 5
    _: KW_ONLY
    pool: int | tuple[int, int] = 2
    activation: str = "tanh"
    init: str = "tutorial"

    label = "layer"

    @property
    def kind(self) -> str:
        return f"convolution {times(self.size)}, max pooling {times(self.pool)}, {self.activation}"

    def setup(self, rng: np.random.RandomState) -> Shape:
        maps, *extents = self.images()
        self.whole("filters", self.filters)
        size, window = self.whole("size", self.size), self.whole("pool", self.pool)
        self.shape = (self.filters * pieces_of(self.activation), maps, *size)
        self.convolved = [n - m + 1 for n, m in zip(extents, size, strict=True)]
        sizes = [n // m for n, m in zip(self.convolved, window, strict=True)]
        if min(sizes) < 1:
            least = tuple(n + m - 1 for n, m in zip(size, window, strict=True))
            raise self.refuse(
                f"images of {times(tuple(extents))}",
                f"at least {times(least)} for filters of {times(size)} and pooling by "
                f"{times(window)}",
                "use larger images, smaller filters or less pooling",
            )
        fan_in, area = maps * int(np.prod(size)), int(np.prod(size))
        fan_out = self.shape[0] * area // int(np.prod(window))
        self.W = self.param("W", initializer(self.init)(rng, self.shape, fan_in, fan_out))
        self.b = self.param("b", bias(rng, self.init, self.shape[:1], fan_in))
        return (self.filters, *sizes)

    def apply(self, x: Any, how: Application) -> Any:
        convolved = conv2d(
            x, self.W, input_shape=(None, *self.input_shape), filter_shape=self.shape
        )
        pooled = pool.pool_2d(convolved, ws=pair(self.pool), ignore_border=True)
        return activate(self.activation, pooled + self.b.dimshuffle("x", 0, "x", "x"))

    @property
    def connections(self) -> int:
        return self._products + self._pooled

    @property
    def flops(self) -> int:
        return 2 * self._products + self._pooled

    @property
    def _products(self) -> int:
        return int(self.W.get_value(borrow=True).size) * int(np.prod(self.convolved))

    @property
    def _pooled(self) -> int:
        """Links from the convolution and the bias into the pooled maps."""
        maps = self.shape[0] * int(np.prod(self.output_shape[1:]))
        return maps * (int(np.prod(pair(self.pool))) + 1)


def flips(layer: Layer) -> bool:
    """Whether a layer with filters convolves; else it correlates, as PyTorch and Keras."""
    return layer.flip if isinstance(layer, Conv2D) else isinstance(layer, LeNetConvPoolLayer)


def filters_seen(layer: Conv2D | LeNetConvPoolLayer, W: NDArray[Any]) -> NDArray[Any]:
    """The values `W` of a layer's parameter as the filters that meet its input.

    They are (filters, maps, height, width), with zeros between maps that are not connected, and
    turned round if the layer flips its filters.
    """
    if isinstance(layer, Conv2D) and layer.table is not None:
        full = np.zeros(layer.shape, W.dtype)
        full[tuple(layer.pairs)] = W
        W = full
    return W[:, :, ::-1, ::-1] if flips(layer) else W
