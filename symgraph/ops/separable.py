"""Convolutions made of convolutions: depthwise and pointwise, causal in time.

Source: Theano, tensor/nnet/abstract_conv.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.errors import explain
from symgraph.ops.conv import conv2d
from symgraph.ops.conv3d import conv3d
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.sizes import known_integer
from symgraph.variable import as_tensor_variable

__all__ = ["causal_conv1d", "separable_conv2d", "separable_conv3d"]


def separable_conv2d(
    input: Any,
    depthwise_filters: Any,
    pointwise_filters: Any,
    num_channels: int,
    input_shape: Sequence[Any] | None = None,
    depthwise_filter_shape: Sequence[Any] | None = None,
    pointwise_filter_shape: Sequence[Any] | None = None,
    border_mode: Any = "valid",
    subsample: Sequence[int] = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Sequence[int] = (1, 1),
) -> Any:
    """Every channel convolved with filters of its own, then all channels mixed at each place.

    Images (n, num_channels, h, w), depthwise filters (m, 1, kh, kw), m a multiple of num_channels,
    pointwise filters (o, m, 1, 1): the result is (n, o, oh, ow). The other parameters are those of
    the first convolution; errors as `conv2d`. Source: Theano, abstract_conv.separable_conv2d.
    """
    by_channel = conv2d(
        input, depthwise_filters, input_shape, depthwise_filter_shape, border_mode, subsample,
        filter_flip, filter_dilation=filter_dilation, num_groups=num_channels,
    )  # fmt: skip
    return conv2d(by_channel, pointwise_filters, None, pointwise_filter_shape)


def separable_conv3d(
    input: Any,
    depthwise_filters: Any,
    pointwise_filters: Any,
    num_channels: int,
    input_shape: Sequence[Any] | None = None,
    depthwise_filter_shape: Sequence[Any] | None = None,
    pointwise_filter_shape: Sequence[Any] | None = None,
    border_mode: Any = "valid",
    subsample: Sequence[int] = (1, 1, 1),
    filter_flip: bool = True,
    filter_dilation: Sequence[int] = (1, 1, 1),
) -> Any:
    """`separable_conv2d` in three dimensions: depth, rows and columns.

    Source: Theano, abstract_conv.separable_conv3d.
    """
    by_channel = conv3d(
        input, depthwise_filters, input_shape, depthwise_filter_shape, border_mode, subsample,
        filter_flip, filter_dilation, num_channels,
    )  # fmt: skip
    return conv3d(by_channel, pointwise_filters, None, pointwise_filter_shape)


def causal_conv1d(
    input: Any,
    filters: Any,
    filter_shape: Sequence[Any],
    input_shape: Sequence[Any] | None = None,
    subsample: int = 1,
    filter_flip: bool = True,
    filter_dilation: int = 1,
    num_groups: int = 1,
    unshared: bool = False,
) -> Any:
    """Convolution in time whose output at t sees the input up to t, and zeros before its begin.

    Input (n, channels, length), filters (o, channels / num_groups, taps): the result is (n, o,
    length), every `subsample`-th of it. `filter_shape` has three entries, of which the last is an
    int: so many zeros, less one, stand before the input. ValueError for other numbers of axes and
    for a filter length that is not known; NotImplementedError for unshared filters, which three
    axes cannot hold. Source: Theano, abstract_conv.causal_conv1d; van den Oord et al., "WaveNet"
    (2016).
    """
    x, w = as_tensor_variable(input), as_tensor_variable(filters)
    if x.ndim != 3 or w.ndim != 3:
        raise ValueError(
            explain("causal_conv1d", "Input and filters should be 3D", got=describe((x, w)),
                    expected="(batch, channels, length) and (filters, channels, length)")
        )  # fmt: skip
    if unshared:
        raise NotImplementedError(
            explain("causal_conv1d", "3D filters cannot be unshared",
                    cure="use conv2d(..., unshared=True) with one column")
        )  # fmt: skip
    last = filter_shape[2] if len(filter_shape) == 3 else None
    taps = None if last is None else known_integer(as_tensor_variable(last))
    if taps is None or taps < 1:
        raise ValueError(
            explain("causal_conv1d", "filter_shape has three entries, the last of them known",
                    got=repr(filter_shape))
        )  # fmt: skip
    shape = None if input_shape is None else (*input_shape, 1)
    before = filter_dilation * (taps - 1)
    out = conv2d(
        dimshuffle(x, (0, 1, 2, "x")), dimshuffle(w, (0, 1, 2, "x")), shape, (*filter_shape, 1),
        ((before, 0), 0), (subsample, 1), filter_flip, filter_dilation=(filter_dilation, 1),
        num_groups=num_groups,
    )  # fmt: skip
    return out[:, :, :, 0]
