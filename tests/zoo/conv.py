"""Records of convolution. The expectation is written as a loop over output pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.tensor.nnet import abstract_conv
from symgraph.tensor.nnet.conv import conv2d as legacy
from symgraph.tensor.signal.conv import conv2d as signal
from tests.zoo.case import Case, Failure, In

X, W = In((2, 3, 7, 6)), In((4, 3, 3, 2))


def convolve(
    x: np.ndarray,
    w: np.ndarray,
    pad: Any = ((0, 0), (0, 0)),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    flip: bool = True,
) -> np.ndarray:
    """The sum over the window of every output pixel, one after another (rule 33)."""
    x = np.pad(x, [(0, 0), (0, 0), *pad]).astype("float64")
    w = (w[:, :, ::-1, ::-1] if flip else w).astype("float64")
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    out = np.zeros((len(x), len(w), *size))
    channels, maps = w.shape[1], len(w) // groups
    for o in range(len(w)):
        first = o // maps * channels
        for i in range(size[0]):
            for j in range(size[1]):
                a, b = i * stride[0], j * stride[1]
                rows = slice(a, a + reach[0], dilation[0])
                columns = slice(b, b + reach[1], dilation[1])
                window = x[:, first : first + channels, rows, columns]
                out[:, o, i, j] = (window * w[o]).sum((1, 2, 3))
    return out


def conv(**options: Any) -> Callable[..., Any]:
    return partial(T.nnet.conv2d, **options)


def expect(**options: Any) -> Callable[..., Any]:
    return partial(convolve, **options)


def by_inputs(w: np.ndarray, g: np.ndarray, shape: tuple[int, ...], **options: Any) -> np.ndarray:
    """The adjoint of `convolve` in its image, one unit image after another."""
    out = np.zeros(shape)
    for at in np.ndindex(*shape[1:]):
        unit = np.zeros((1, *shape[1:]))
        unit[(0, *at)] = 1
        out[(slice(None), *at)] = (convolve(unit, w, **options) * g).sum((1, 2, 3))
    return out


def by_weights(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], **options: Any) -> np.ndarray:
    """The adjoint of `convolve` in its filters, one unit filter after another."""
    out = np.zeros(shape)
    for at in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[at] = 1
        out[at] = (convolve(x, unit, **options) * g).sum()
    return out


def second_order(x: Any, w: Any) -> Any:
    """A function of both gradients, so that its own gradient is a second derivative."""
    y = T.nnet.conv2d(x, w, border_mode=(1, 0), subsample=(2, 1))
    by_x, by_w = T.grad((y**2).sum(), [x, w])
    return (by_x**2).sum() + (by_w**2).sum()


def second_order_by_hand(x: np.ndarray, w: np.ndarray) -> Any:
    options: Any = {"pad": ((1, 1), (0, 0)), "stride": (2, 1)}
    g = 2 * convolve(x, w, **options)
    by_x, by_w = by_inputs(w, g, x.shape, **options), by_weights(x, g, w.shape, **options)
    return (by_x**2).sum() + (by_w**2).sum()


UNEVEN = ((1, 0), (2, 1))
G = In((2, 4, 5, 5))
CASES = [
    Case("conv_valid", T.nnet.conv2d, (X, W), convolve, dtype="float64", pattern=(False,) * 4),
    Case("conv_declared", conv(input_shape=(2, 3, 7, 6), filter_shape=(4, 3, 3, 2)), (X, W),
         convolve),
    Case("conv_partly_declared",
         conv(image_shape=(None, 3, None, 6), filter_shape=(4, None, T.constant(3), 2)), (X, W),
         convolve),
    Case("conv_full", conv(border_mode="full"), (X, W), expect(pad=((2, 2), (1, 1)))),
    Case("conv_half", conv(border_mode="half"), (X, W), expect(pad=((1, 1), (1, 1)))),
    Case("conv_half_of_declared", conv(border_mode="half", filter_shape=(4, 3, 3, 2)), (X, W),
         expect(pad=((1, 1), (1, 1)))),
    Case("conv_pad_number", conv(border_mode=1), (X, W), expect(pad=((1, 1), (1, 1)))),
    Case("conv_pad_pair", conv(border_mode=(2, 0)), (X, W), expect(pad=((2, 2), (0, 0)))),
    Case("conv_pad_uneven", conv(border_mode=UNEVEN), (X, W), expect(pad=UNEVEN)),
    Case("conv_pad_mixed", conv(border_mode=(1, (0, 2))), (X, W), expect(pad=((1, 1), (0, 2)))),
    Case("conv_stride", conv(subsample=(2, 3)), (X, W), expect(stride=(2, 3))),
    Case("conv_stride_full", conv(subsample=(3, 2), border_mode="full"), (X, W),
         expect(stride=(3, 2), pad=((2, 2), (1, 1)))),
    Case("conv_dilation", conv(filter_dilation=(2, 3)), (X, W), expect(dilation=(2, 3))),
    Case("conv_dilation_half", conv(filter_dilation=(2, 1), border_mode="half"), (X, W),
         expect(dilation=(2, 1), pad=((2, 2), (1, 1)))),
    Case("conv_dilation_full_stride",
         conv(filter_dilation=(1, 2), border_mode="full", subsample=(2, 2)), (X, W),
         expect(dilation=(1, 2), pad=((2, 2), (2, 2)), stride=(2, 2))),
    Case("conv_no_flip", conv(filter_flip=False), (X, W), expect(flip=False)),
    Case("conv_no_flip_everything",
         conv(filter_flip=False, border_mode=UNEVEN, subsample=(2, 1), filter_dilation=(1, 2)),
         (X, W), expect(flip=False, pad=UNEVEN, stride=(2, 1), dilation=(1, 2))),
    Case("conv_groups", conv(num_groups=2), (In((2, 4, 5, 5)), In((6, 2, 2, 3))),
         expect(groups=2)),
    Case("conv_depthwise", conv(num_groups=3, border_mode="half"), (X, In((3, 1, 3, 3))),
         expect(groups=3, pad=((1, 1), (1, 1)))),
    Case("conv_1x1", T.nnet.conv2d, (X, In((2, 3, 1, 1))), convolve),
    Case("conv_whole_image", T.nnet.conv2d, (X, In((2, 3, 7, 6))), convolve),
    Case("conv_one_image", T.nnet.conv2d,
         (In((1, 1, 6, 6), broadcastable=(True, True, False, False)), In((2, 1, 3, 3))), convolve,
         pattern=(True, False, False, False)),
    Case("conv_one_filter", T.nnet.conv2d,
         (X, In((1, 3, 3, 3), broadcastable=(True, False, False, False))), convolve,
         pattern=(False, True, False, False)),
    Case("conv_no_images", T.nnet.conv2d, (In((0, 3, 7, 6)), W),
         lambda x, w: np.zeros((0, 4, 5, 5))),
    Case("conv_no_channels", T.nnet.conv2d, (In((2, 0, 7, 6)), In((4, 0, 3, 2))),
         lambda x, w: np.zeros((2, 4, 5, 5))),
    Case("conv_no_filters", T.nnet.conv2d, (X, In((0, 3, 3, 2))),
         lambda x, w: np.zeros((2, 0, 5, 5))),
    Case("conv_float32", T.nnet.conv2d, (In((2, 3, 9, 9), "float32"), In((5, 3, 5, 5), "float32")),
         lambda x, w: convolve(x, w).astype("float32"), dtype="float32", rtol=1e-4),
    Case("conv_float16", T.nnet.conv2d, (In((1, 1, 5, 5), "float16"), In((2, 1, 3, 3), "float16")),
         lambda x, w: convolve(x, w).astype("float16"), dtype="float16", rtol=2e-2),
    Case("conv_mixed_dtypes", T.nnet.conv2d, (In((1, 2, 5, 5), "float32"), In((2, 2, 3, 3))),
         lambda x, w: convolve(x, w).astype("float32"), dtype="float32", grad=(), rtol=1e-5),
    Case("conv_of_shuffled", lambda x, w: T.nnet.conv2d(x.dimshuffle(3, 0, 1, 2), w[:, :, ::-1]),
         (In((3, 7, 6, 2)), W), lambda x, w: convolve(x.transpose(3, 0, 1, 2), w[:, :, ::-1])),
    Case("conv_second_order", second_order, (In((2, 2, 4, 3)), In((2, 2, 2, 2))),
         second_order_by_hand),
    Case("legacy_valid", legacy, (X, W), convolve),
    Case("legacy_full",
         partial(legacy, border_mode="full", image_shape=(2, 3, 7, 6), filter_shape=(4, 3, 3, 2),
                 unroll_batch=2), (X, W), expect(pad=((2, 2), (1, 1)))),
    Case("legacy_stride", partial(legacy, subsample=(2, 2)), (X, W), expect(stride=(2, 2))),
    Case("conv_transpose",
         lambda g, w: T.nnet.conv2d_transpose(g, w, (None, None, 7, 6)), (G, W),
         lambda g, w: by_inputs(w, g, (2, 3, 7, 6))),
    Case("conv_transpose_dilated",
         lambda g, w: T.nnet.conv2d_transpose(
             g, w, (2, 3, 7, 6), (4, 3, 3, 2), input_dilation=(2, 3)),
         (In((2, 4, 3, 2)), W), lambda g, w: by_inputs(w, g, (2, 3, 7, 6), stride=(2, 3))),
    Case("grad_wrt_inputs",
         lambda g, w: T.nnet.conv2d_grad_wrt_inputs(
             g, w, (2, 3, 7, 6), border_mode=(1, 2), subsample=(2, 2), filter_dilation=(2, 1)),
         (In((2, 4, 3, 5)), W),
         lambda g, w: by_inputs(w, g, (2, 3, 7, 6), pad=((1, 1), (2, 2)), stride=(2, 2),
                                dilation=(2, 1))),
    Case("grad_wrt_inputs_symbolic",
         lambda g, w, x: T.nnet.conv2d_grad_wrt_inputs(
             g, w, (None, None, x.shape[2], x.shape[3]), filter_flip=False),
         (G, W, X), lambda g, w, x: by_inputs(w, g, x.shape, flip=False), grad=(0, 1)),
    Case("grad_wrt_weights",
         lambda x, g: T.nnet.conv2d_grad_wrt_weights(x, g, (4, 3, 3, 2)), (X, G),
         lambda x, g: by_weights(x, g, (4, 3, 3, 2))),
    Case("grad_wrt_weights_groups",
         lambda x, g: T.nnet.conv2d_grad_wrt_weights(
             x, g, (4, 2, 2, 2), num_groups=2, border_mode="half"),
         (In((2, 4, 3, 3)), In((2, 4, 4, 4))),
         lambda x, g: by_weights(x, g, (4, 2, 2, 2), groups=2, pad=((1, 1), (1, 1)))),
    Case("grad_wrt_weights_no_images",
         lambda x, g: T.nnet.conv2d_grad_wrt_weights(x, g, (4, 3, 3, 2)),
         (In((0, 3, 7, 6)), In((0, 4, 5, 5))), lambda x, g: np.zeros((4, 3, 3, 2))),
    Case("signal_2d", signal, (In((6, 5)), In((3, 2))),
         lambda x, w: convolve(x[None, None], w[None, None])[0, 0]),
    Case("signal_images", signal, (In((3, 6, 5)), In((3, 2))),
         lambda x, w: convolve(x[:, None], w[None, None])[:, 0]),
    Case("signal_filters", signal, (In((6, 5)), In((3, 3, 2))),
         lambda x, w: convolve(x[None, None], w[:, None])[0]),
    Case("signal_both", partial(signal, image_shape=(2, 6, 5), filter_shape=(3, 3, 2)),
         (In((2, 6, 5)), In((3, 3, 2))), lambda x, w: convolve(x[:, None], w[:, None])),
]  # fmt: skip


def call(build: Callable[..., Any], x: tuple[int, ...], w: tuple[int, ...]) -> Any:
    """`build` of two variables, evaluated on zeros of these shapes."""
    a, b = T.dtensor4("x"), T.dtensor4("w")
    return build(a, b).eval({a: np.zeros(x), b: np.zeros(w)})


FAILURES = [
    Failure("conv_of_matrix", lambda: T.nnet.conv2d(T.dmatrix("x"), T.dtensor4("w")), TypeError,
            ("input must be 4D tensor", "x")),
    Failure("conv_of_integers", lambda: T.nnet.conv2d(T.itensor4("x"), T.dtensor4()), TypeError,
            ("astype",)),
    Failure("conv_channels", lambda: call(T.nnet.conv2d, (1, 3, 5, 5), (1, 2, 2, 2)), ValueError,
            ("images and kernel must have the same stack size", "conv.py", "(1, 3, 5, 5)")),
    Failure("conv_groups", lambda: call(conv(num_groups=2), (1, 4, 5, 5), (3, 2, 2, 2)),
            ValueError, ("groups",)),
    Failure("conv_too_large", lambda: call(T.nnet.conv2d, (1, 1, 5, 5), (1, 1, 6, 2)), ValueError,
            ("impossible output shape",)),
    Failure("conv_too_large_declared",
            lambda: conv(input_shape=(None, 1, 5, 5), filter_shape=(1, 1, 6, 2))(
                T.dtensor4(), T.dtensor4()), ValueError, ("impossible output shape",)),
    Failure("conv_wrong_input_shape",
            lambda: call(conv(input_shape=(1, 1, 5, 4)), (1, 1, 5, 5), (1, 1, 2, 2)), ValueError,
            ("(1, 1, 5, 4)", "image")),
    Failure("legacy_wrong_filter_shape",
            lambda: call(partial(legacy, filter_shape=(2, 1, 2, 2)), (1, 1, 5, 5), (1, 1, 2, 2)),
            ValueError, ("filter", "(2, 1, 2, 2)")),
    Failure("legacy_channels",
            lambda: legacy(T.dtensor4(), T.dtensor4(), (1, 3, 5, 5), (1, 2, 2, 2)),
            AssertionError, ("filter_shape[1]",)),
    Failure("legacy_half", lambda: legacy(T.dtensor4(), T.dtensor4(), border_mode="half"),
            ValueError, ("half",)),
    Failure("both_shapes",
            lambda: T.nnet.conv2d(T.dtensor4(), T.dtensor4(), input_shape=(1, 1, 5, 5),
                                  image_shape=(1, 1, 5, 5)), ValueError, ("image_shape",)),
    Failure("logical_shape",
            lambda: T.nnet.conv2d(T.dtensor4(), T.dtensor4(), imshp_logical=(1, 5, 5)), ValueError,
            ("imshp_logical",)),
    Failure("unknown_keyword", lambda: T.nnet.conv2d(T.dtensor4(), T.dtensor4(), version=3),
            UserWarning, ("version",)),
    Failure("border_mode", lambda: T.nnet.conv2d(T.dtensor4(), T.dtensor4(), border_mode="odd"),
            ValueError, ("odd", "valid")),
    Failure("negative_pad", lambda: T.nnet.conv2d(T.dtensor4(), T.dtensor4(), border_mode=-1),
            ValueError, ("-1",)),
    Failure("output_shape_unknown",
            lambda: abstract_conv.conv2d_grad_wrt_inputs(
                T.dtensor4(), T.dtensor4(), (1, 1, None, 5)), ValueError, ("input_shape",)),
    Failure("signal_of_vector", lambda: signal(T.dvector(), T.dmatrix()), TypeError, ("2-d",)),
]  # fmt: skip
