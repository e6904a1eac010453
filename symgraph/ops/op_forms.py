"""Convolution and pooling in the form of Theano's ops: set up first, then called with arrays.

They build what the functions of `conv` and `pool` build. Those of 3-d convolution are in `conv3d`.
Source: Theano, tensor/nnet/abstract_conv and tensor/signal/pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from symgraph.errors import explain
from symgraph.ops.conv import convolution, in_common_dtype
from symgraph.ops.conv_sizes import Hint, Mode, Pair
from symgraph.ops.convolution import Conv2d, Conv2dGradInputs, Conv2dGradWeights
from symgraph.ops.pool import pool_2d, pool_3d

__all__ = ["AbstractConv2d", "AbstractConv2d_gradInputs", "AbstractConv2d_gradWeights", "Pool"]


@dataclass(frozen=True)
class _Convolution2d:
    """A convolution of these parameters; their meaning, and the errors, are those of `conv2d`.

    `unshared`: filters have six axes, and `kshp` six entries.
    """

    imshp: Hint = None
    kshp: Hint = None
    border_mode: Mode = "valid"
    subsample: Pair = (1, 1)
    filter_flip: bool = True
    filter_dilation: Pair = (1, 1)
    num_groups: int = 1
    unshared: bool = False

    def __post_init__(self) -> None:
        self._op(Conv2d)  # parameters that are none are refused here

    def _op(self, kind: type) -> Any:
        """What builds the op of class `kind`."""
        return convolution(
            kind, type(self).__name__, self.unshared, self.imshp, self.kshp, self.border_mode,
            self.subsample, self.filter_flip, self.filter_dilation, self.num_groups,
        )  # fmt: skip

    def _build(self, kind: type, *operands: Any) -> Any:
        return in_common_dtype(self._op(kind), type(self).__name__, *operands)


class AbstractConv2d(_Convolution2d):
    """`conv2d`, called with images and filters."""

    def __call__(self, img: Any, kern: Any) -> Any:
        return self._build(Conv2d, img, kern)


class AbstractConv2d_gradInputs(_Convolution2d):
    """`conv2d_grad_wrt_inputs`, called with filters, the gradient by the output, and the rows and
    columns of the images (two ints or scalars, or a vector)."""

    def __call__(self, kern: Any, topgrad: Any, shape: Any) -> Any:
        return self._build(Conv2dGradInputs, kern, topgrad, shape)


class AbstractConv2d_gradWeights(_Convolution2d):
    """`conv2d_grad_wrt_weights`, called with images, the gradient by the output, and the rows and
    columns of the filters (two ints or scalars, or a vector)."""

    def __call__(self, img: Any, topgrad: Any, shape: Any) -> Any:
        return self._build(Conv2dGradWeights, img, topgrad, shape)


@dataclass(frozen=True)
class Pool:
    """`pool_2d`, or `pool_3d` with `ndim=3`, called with an array, `ws`, `stride` and `pad`.

    `openmp` means nothing. Errors as for these functions; ValueError for another `ndim`.
    """

    ignore_border: bool = False
    mode: str = "max"
    ndim: int = 2
    openmp: bool | None = None

    def __post_init__(self) -> None:
        if self.ndim not in (2, 3):
            raise ValueError(
                explain("Pool", f"ndim is {self.ndim}", expected="2 or 3",
                        cure="add an axis of size 1 to pool along one axis")
            )  # fmt: skip

    def __call__(self, x: Any, ws: Any, stride: Any = None, pad: Any = None) -> Any:
        pad = (0,) * self.ndim if pad is None else pad
        pool = pool_2d if self.ndim == 2 else pool_3d
        return pool(x, ws, self.ignore_border, stride, pad, self.mode)
