"""Records of 3-d, unshared and composed convolutions. The expectation is a loop over places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.tensor.nnet import abstract_conv, conv3d2d
from tests.zoo.case import Case, Failure, In
from tests.zoo.conv import convolve

X, W = In((2, 4, 5, 4, 5)), In((6, 2, 3, 2, 2))
ONES = (1, 1, 1)


def convolve3(
    x: np.ndarray,
    w: np.ndarray,
    pad: Any = ((0, 0),) * 3,
    stride: Sequence[int] = ONES,
    dilation: Sequence[int] = ONES,
    groups: int = 2,
    flip: bool = True,
) -> np.ndarray:
    """The sum over the window of every place of the output."""
    x = np.pad(x, [(0, 0), (0, 0), *pad]).astype("float64")
    w = (w[:, :, ::-1, ::-1, ::-1] if flip else w).astype("float64")
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    out = np.zeros((len(x), len(w), *size))
    channels, maps = w.shape[1], len(w) // groups
    for o in range(len(w)):
        first = o // maps * channels
        for place in np.ndindex(*size):
            box = zip(place, stride, reach, dilation, strict=True)
            cut = [slice(i * s, i * s + r, d) for i, s, r, d in box]
            window = x[(slice(None), slice(first, first + channels), *cut)]
            out[(slice(None), o, *place)] = (window * w[o]).sum((1, 2, 3, 4))
    return out


def unshared(
    x: np.ndarray, w: np.ndarray, pad: Any, stride: Sequence[int], groups: int, flip: bool
) -> np.ndarray:
    """As `convolve`, with the filters of each place."""
    whole = []
    for i, j in np.ndindex(*w.shape[1:3]):
        every = convolve(x, w[:, i, j], pad, tuple(stride), groups=groups, flip=flip)  # type: ignore[arg-type]
        whole.append(every[:, :, i, j])
    return np.stack(whole, 2).reshape(len(x), len(w), *w.shape[1:3])


def conv(**options: Any) -> Callable[..., Any]:
    return partial(T.nnet.conv3d, **options)


def adjoint(forward: Callable[..., np.ndarray], shape: Sequence[int], g: np.ndarray) -> np.ndarray:
    """What a linear `forward` hands back for g, one unit vector after another."""
    out = np.zeros(shape)
    for at in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[at] = 1
        out[at] = (forward(unit) * g).sum()
    return out


def film(x: np.ndarray, w: np.ndarray, **options: Any) -> np.ndarray:
    turn = (0, 2, 1, 3, 4)
    return convolve3(x.transpose(turn), w.transpose(turn), groups=1, **options).transpose(turn)


U = In((4, 3, 5, 2, 2, 1))
FIVE = (False,) * 5
ONE_FILM = (True, False, False, False, False)
CASES = [
    Case("conv3d", conv(num_groups=2), (X, W), convolve3, dtype="float64", pattern=FIVE),
    Case("conv3d_half_stride", conv(num_groups=2, border_mode="half", subsample=(2, 1, 2)), (X, W),
         partial(convolve3, pad=((1, 1),) * 3, stride=(2, 1, 2))),
    Case("conv3d_full_dilation",
         conv(num_groups=2, border_mode="full", filter_dilation=(2, 1, 1), filter_flip=False),
         (X, W), partial(convolve3, pad=((4, 4), (1, 1), (1, 1)), dilation=(2, 1, 1), flip=False)),
    Case("conv3d_declared",
         conv(num_groups=2, border_mode=((1, 0), 2, (0, 1)), input_shape=(2, 4, 5, None, 5),
              filter_shape=(6, 2, 3, 2, 2)), (X, W),
         partial(convolve3, pad=((1, 0), (2, 2), (0, 1)))),
    Case("conv3d_one_film", T.nnet.conv3d,
         (In((1, 1, 4, 3, 3), broadcastable=ONE_FILM), In((2, 1, 2, 2, 2))),
         partial(convolve3, groups=1), pattern=ONE_FILM),
    Case("conv3d_float32", conv(num_groups=2), (In((2, 4, 5, 4, 5), "float32"),
         In((6, 2, 3, 2, 2), "float32")), convolve3, dtype="float32", rtol=1e-4),
    Case("conv3d_grad_wrt_inputs",
         lambda w, g: abstract_conv.conv3d_grad_wrt_inputs(
             g, w, (None, None, 5, 4, 5), subsample=(2, 1, 1), num_groups=2),
         (W, In((2, 6, 2, 3, 4))),
         lambda w, g: adjoint(lambda x: convolve3(x, w, stride=(2, 1, 1)), (2, 4, 5, 4, 5), g),
         grad=()),
    Case("conv3d_grad_wrt_weights",
         lambda x, g: abstract_conv.conv3d_grad_wrt_weights(
             x, g, (6, 2, 3, 2, 2), border_mode=(1, 0, 0), num_groups=2),
         (X, In((2, 6, 5, 3, 4))),
         lambda x, g: adjoint(lambda w: convolve3(x, w, ((1, 1), (0, 0), (0, 0))),
                              (6, 2, 3, 2, 2), g), grad=()),
    Case("conv3d2d", conv3d2d.conv3d, (In((2, 4, 2, 4, 3)), In((3, 2, 2, 2, 2))), film),
    Case("conv3d2d_own_time", partial(conv3d2d.conv3d, border_mode=("valid", "full", "full")),
         (In((2, 4, 2, 4, 3)), In((3, 2, 2, 2, 2))),
         partial(film, pad=((0, 0), (1, 1), (1, 1))), grad=()),
    Case("unshared", partial(T.nnet.conv2d, unshared=True, num_groups=2, border_mode=(1, 2),
                             subsample=(2, 1), filter_shape=(4, 3, 5, 2, 2, 1)),
         (In((2, 4, 5, 1)), U),
         lambda x, w: unshared(x, w, ((1, 1), (2, 2)), (2, 1), 2, True)),
    Case("unshared_no_flip", partial(T.nnet.conv2d, unshared=True, filter_flip=False),
         (In((2, 2, 4, 5)), In((3, 3, 5, 2, 2, 1))),
         lambda x, w: unshared(x, w, ((0, 0), (0, 0)), (1, 1), 1, False)),
    Case("unshared_grad_wrt_inputs",
         lambda w, g: T.nnet.conv2d_grad_wrt_inputs(
             g, w, (None, None, 5, 1), border_mode=(1, 2), subsample=(2, 1), num_groups=2,
             unshared=True), (U, In((2, 4, 3, 5))),
         lambda w, g: adjoint(lambda x: unshared(x, w, ((1, 1), (2, 2)), (2, 1), 2, True),
                              (2, 4, 5, 1), g)),
    Case("unshared_grad_wrt_weights",
         lambda x, g: T.nnet.conv2d_grad_wrt_weights(
             x, g, (4, 3, 5, 2, 2, 1), border_mode=(1, 2), subsample=(2, 1), num_groups=2,
             unshared=True), (In((2, 4, 5, 1)), In((2, 4, 3, 5))),
         lambda x, g: adjoint(lambda w: unshared(x, w, ((1, 1), (2, 2)), (2, 1), 2, True),
                              (4, 3, 5, 2, 2, 1), g)),
    Case("separable_conv2d",
         lambda x, d, p: T.nnet.separable_conv2d(x, d, p, 3, border_mode="half"),
         (In((2, 3, 4, 5)), In((6, 1, 3, 3)), In((2, 6, 1, 1))),
         lambda x, d, p: convolve(convolve(x, d, ((1, 1), (1, 1)), groups=3), p)),
    Case("separable_conv3d",
         lambda x, d, p: T.nnet.separable_conv3d(x, d, p, 2, subsample=(2, 1, 1)),
         (In((1, 2, 5, 3, 3)), In((4, 1, 2, 2, 2)), In((3, 4, 1, 1, 1))),
         lambda x, d, p: convolve3(convolve3(x, d, stride=(2, 1, 1)), p, groups=1), grad=()),
    Case("causal_conv1d",
         lambda x, w: T.nnet.causal_conv1d(x, w, (3, 2, 3), filter_dilation=2, subsample=2),
         (In((2, 2, 9)), In((3, 2, 3))),
         lambda x, w: convolve(x[..., None], w[..., None], ((4, 0), (0, 0)), (2, 1),
                               (2, 1))[..., 0]),
]  # fmt: skip


def called(build: Callable[..., Any], *arrays: np.ndarray) -> Callable[[], Any]:
    def call() -> Any:
        inputs = [T.TensorType("float64", (False,) * a.ndim)() for a in arrays]
        return build(*inputs).eval(dict(zip(inputs, arrays, strict=True)))

    return call


five, four = T.TensorType("float64", FIVE), T.TensorType("float64", (False,) * 4)
FAILURES = [
    Failure("conv3d_of_images", lambda: T.nnet.conv3d(four(), five()), TypeError, ("5D",)),
    Failure("conv3d_integers", lambda: T.nnet.conv3d(five().astype("int32"), five()), TypeError,
            ("floats",)),
    Failure("conv3d_mode", lambda: T.nnet.conv3d(five(), five(), border_mode="same"), ValueError,
            ("border_mode", "(depth, rows, columns)")),
    Failure("conv3d_stride", lambda: T.nnet.conv3d(five(), five(), subsample=(1, 1)), ValueError,
            ("3 positive ints",)),
    Failure("conv3d_shape", lambda: T.nnet.conv3d(five(), five(), (1, 2, 3, 4)), ValueError,
            ("5 entries",)),
    Failure("conv3d_stack_size", called(T.nnet.conv3d, np.ones((1, 2, 3, 3, 3)),
                                        np.ones((1, 3, 1, 1, 1))), ValueError, ("stack size",)),
    Failure("conv3d_short_film", called(T.nnet.conv3d, np.ones((1, 2, 3, 3, 3)),
                                        np.ones((1, 2, 4, 1, 1))), ValueError, ("no window fits",)),
    Failure("conv3d2d_modes",
            lambda: conv3d2d.conv3d(five(), five(), border_mode=("valid", "full", "half")),
            NotImplementedError, ("height and width",)),
    Failure("unshared_places", called(partial(T.nnet.conv2d, unshared=True),
                                      np.ones((1, 1, 4, 4)), np.ones((1, 2, 4, 1, 2, 1))),
            ValueError, ("(1, 2, 4, 1, 2, 1)", "(1, 3, 4, 1, 2, 1)")),
    Failure("unshared_declared", called(partial(T.nnet.conv2d, unshared=True,
                                                input_shape=(1, 1, 4, 5)),
                                        np.ones((1, 1, 4, 4)), np.ones((1, 3, 4, 1, 2, 1))),
            ValueError, ("(1, 1, 4, 4)", "(1, 1, 4, 5)", "convolution")),
    Failure("conv3d_declared", called(partial(T.nnet.conv3d, input_shape=(1, 1, 2, 2, 3)),
                                      np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 1, 1, 1))),
            ValueError, ("(1, 1, 2, 2, 2)", "(1, 1, 2, 2, 3)", "convolution")),
    Failure("conv3d_declared_filters", called(partial(T.nnet.conv3d, filter_shape=(1, 1, 2, 1, 1)),
                                              np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 1, 1, 1))),
            ValueError, ("(1, 1, 1, 1, 1)", "(1, 1, 2, 1, 1)")),
    Failure("unshared_axes", lambda: T.nnet.conv2d(four(), four(), unshared=True), TypeError,
            ("6D",)),
    Failure("causal_axes", lambda: T.nnet.causal_conv1d(four(), four(), (1, 1, 1)), ValueError,
            ("3D",)),
    Failure("causal_length",
            lambda: T.nnet.causal_conv1d(T.dtensor3(), T.dtensor3(), (1, 1, None)), ValueError,
            ("filter_shape",)),
]  # fmt: skip
