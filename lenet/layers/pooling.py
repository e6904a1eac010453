"""Pooling: by maximum or mean, and LeNet-5's with a trained coefficient and bias for each map."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from lenet.initializers import initializer
from lenet.layers.base import Application, Layer, Shape, pair, times
from lenet.layers.units import activate
from symgraph.tensor.signal import pool

MODES = {"max": "max", "average": "average_exc_pad"}
TIES = ("first", "all")


@dataclass(eq=False)
class Pool2D(Layer):
    """The `mode` ("max" or "average") of windows of `size` pixels, `stride` apart.

    By default windows do not overlap. What is left at the border is dropped. `ties`: where several
    pixels of a window are its maximum, as in blank areas, the "first" of them, row by row, gets the
    gradient, as in PyTorch and Keras, or "all" of them do, as in Theano.
    """

    size: int | tuple[int, int] = 2
    _: KW_ONLY
    stride: int | tuple[int, int] | None = None
    mode: str = "max"
    ties: str = "first"

    label = "pool"

    @property
    def kind(self) -> str:
        apart = self.stride is not None and pair(self.stride) != pair(self.size)
        stride = f", stride {times(self.stride)}" if apart and self.stride is not None else ""
        return f"{self.mode} pooling {times(self.size)}{stride}"

    def setup(self, rng: np.random.RandomState) -> Shape:
        maps, *extents = self.images()
        if self.mode not in MODES:
            raise self.refuse(f"mode {self.mode!r}", " or ".join(MODES), "use one of these")
        if self.ties not in TIES:
            raise self.refuse(f"ties {self.ties!r}", " or ".join(TIES), "use one of these")
        window = self.whole("size", self.size)
        stride = window if self.stride is None else self.whole("stride", self.stride)
        sizes = [(n - w) // s + 1 for n, w, s in zip(extents, window, stride, strict=True)]
        if any(n < w for n, w in zip(extents, window, strict=True)):
            raise self.refuse(
                f"images of {times(tuple(extents))}",
                f"at least {times(window)}, the pooling window",
                "use larger images or less pooling",
            )
        return (maps, *sizes)

    def apply(self, x: Any, how: Application) -> Any:
        stride = None if self.stride is None else pair(self.stride)
        return pool.pool_2d(
            x,
            ws=pair(self.size),
            stride=stride,
            ignore_border=True,
            mode=MODES[self.mode],
            ties=self.ties,
        )

    @property
    def connections(self) -> int:
        return int(np.prod(self.output_shape)) * int(np.prod(pair(self.size)))

    @property
    def flops(self) -> int:
        return self.connections


@dataclass(eq=False)
class Subsampling(Layer):
    """LeNet-5's S layers: output = activation(coefficient * sum of the window + b).

    `coefficient` and `b` are (maps,), trained; `init` draws the coefficients, by default in
    +-2.4 / inputs. Windows do not overlap. Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based
    learning applied to document recognition", Proc. IEEE 86 (1998), II.B.
    """

    size: int | tuple[int, int] = 2
    _: KW_ONLY
    activation: str = "scaled_tanh"
    init: str = "lecun1998"

    label = "pool"

    @property
    def kind(self) -> str:
        return f"subsampling {times(self.size)}, {self.activation}"

    def setup(self, rng: np.random.RandomState) -> Shape:
        shape = Pool2D(self.size, mode="average", name=self.name).build(rng, self.images())
        area = int(np.prod(pair(self.size)))
        values = initializer(self.init)(rng, shape[:1], area, area)
        self.coefficient = self.param("coefficient", values)
        self.b = self.param("b", np.zeros(shape[0]))
        return shape

    def apply(self, x: Any, how: Application) -> Any:
        total = pool.pool_2d(x, ws=pair(self.size), ignore_border=True, mode="sum")
        coefficient, b = (v.dimshuffle("x", 0, "x", "x") for v in (self.coefficient, self.b))
        return activate(self.activation, total * coefficient + b)

    @property
    def connections(self) -> int:
        return int(np.prod(self.output_shape)) * (int(np.prod(pair(self.size))) + 1)

    @property
    def flops(self) -> int:
        return self.connections
