"""Rules 33 to 36 of Theano's semantics, each clause of each: convolution and pooling.

The numbers are those of the project's list of rules; what is expected here is what Theano 1.0.5
gives for the same calls, but where a comment says otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symgraph import config, function
from symgraph import tensor as T
from symgraph.tensor import TensorType
from symgraph.tensor.nnet import conv
from symgraph.tensor.signal import pool
from tests.under_alias import counted, same
from tests.under_alias import interpreted as interpreted

# ---- rules 33 to 35: convolution -----------------------------------------------------------------


def correlated(x: Any, w: Any, stride: int = 1, pad: int = 0, dilation: int = 1) -> Any:
    """The correlation of NCHW images with OIHW filters, by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    high, wide = (dilation * (k - 1) + 1 for k in w.shape[2:])
    rows = range(0, x.shape[2] - high + 1, stride)
    columns = range(0, x.shape[3] - wide + 1, stride)
    out = np.zeros((x.shape[0], w.shape[0], len(rows), len(columns)))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            patch = x[:, :, row : row + high : dilation, column : column + wide : dilation]
            out[:, :, i, j] = np.tensordot(patch, w, ((1, 2, 3), (1, 2, 3)))
    return out


IMAGES, FILTERS = np.cos(counted(2, 3, 7, 6)), np.sin(counted(4, 3, 3, 2))


def test_rule_33_filters_are_flipped() -> None:
    x, w = T.dtensor4("x"), T.dtensor4("w")
    flipped = FILTERS[:, :, ::-1, ::-1]
    for convolve in (T.nnet.conv2d, conv.conv2d):
        same(convolve(x, w).eval({x: IMAGES, w: FILTERS}), correlated(IMAGES, flipped))
    kept = T.nnet.conv2d(x, w, filter_flip=False)
    same(kept.eval({x: IMAGES, w: FILTERS}), correlated(IMAGES, FILTERS))


@pytest.mark.parametrize(
    "border, size, stride, dilation",
    [("valid", 3, 1, 1), ("full", 3, 1, 1), ("half", 3, 1, 1), ("half", 2, 1, 1), (1, 3, 2, 1),
     ("valid", 3, 2, 1), ("half", 3, 1, 2), ("full", 2, 3, 1), ("valid", 2, 1, 3)],
)  # fmt: skip
def test_rule_33_sizes(border: Any, size: int, stride: int, dilation: int) -> None:
    x, w = T.dtensor4("x"), T.dtensor4("w")
    reach = (size - 1) * dilation + 1
    pad = {"valid": 0, "full": reach - 1, "half": reach // 2}.get(border, border)
    out = T.nnet.conv2d(
        x, w, border_mode=border, subsample=(stride, stride), filter_dilation=(dilation, dilation)
    )
    filters = np.sin(counted(4, 3, size, size))
    found = out.eval({x: IMAGES, w: filters})
    assert found.shape[2:] == tuple((i + 2 * pad - reach) // stride + 1 for i in (7, 6))
    same(found, correlated(IMAGES, filters[:, :, ::-1, ::-1], stride, pad, dilation))


def test_rule_33_types() -> None:
    first, w = TensorType("float32", (True, False, False, False))("x"), T.ftensor4("w")
    one = TensorType("float32", (True, True, False, False))("one")
    assert T.nnet.conv2d(first, w).broadcastable == (True, False, False, False)
    assert T.nnet.conv2d(T.ftensor4(), one).broadcastable == (False, True, False, False)
    assert T.nnet.conv2d(T.ftensor4(), w).dtype == "float32"
    assert T.nnet.conv2d(T.dtensor4(), T.dtensor4()).dtype == "float64"


def test_rule_33_empty_batches_and_channels() -> None:
    x, w = T.dtensor4("x"), T.dtensor4("w")
    out = T.nnet.conv2d(x, w)
    assert out.eval({x: IMAGES[:0], w: FILTERS}).shape == (0, 4, 5, 5)
    found = out.eval({x: IMAGES[:, :0], w: FILTERS[:, :0]})
    assert found.shape == (2, 4, 5, 5) and not found.any()


def test_rule_33_strides_pick_from_the_dense_result() -> None:
    x, w = T.dtensor4("x"), T.dtensor4("w")
    dense = T.nnet.conv2d(x, w).eval({x: IMAGES, w: FILTERS})
    strided = T.nnet.conv2d(x, w, subsample=(2, 3)).eval({x: IMAGES, w: FILTERS})
    same(strided, dense[:, :, ::2, ::3])


def test_rule_34_channels_must_agree() -> None:
    x, w = T.dtensor4("x"), T.dtensor4("w")
    for convolve in (T.nnet.conv2d, conv.conv2d):
        f = function([x, w], convolve(x, w))
        with pytest.raises(ValueError):
            f(IMAGES, FILTERS[:, :2])
        with pytest.raises(TypeError):
            convolve(T.dmatrix(), w)
        with pytest.raises(TypeError):
            convolve(x, T.dtensor3())


def test_rule_34_wrong_hints_are_an_error_of_the_call() -> None:
    """Always checked; in Theano the newer API does so only with config.conv.assert_shape, by an
    AssertionError."""
    x, w = T.dtensor4("x"), T.dtensor4("w")
    right = {"image_shape": (2, 3, 7, 6), "filter_shape": (4, 3, 3, 2)}
    for hints in ({"image_shape": (2, 3, 7, 7)}, {"filter_shape": (4, 3, 2, 2)},
                  {"image_shape": (3, 3, 7, 6)}):  # fmt: skip
        f = function([x, w], conv.conv2d(x, w, **{**right, **hints}))
        with pytest.raises(ValueError):
            f(IMAGES, FILTERS)
    same(conv.conv2d(x, w, **right).eval({x: IMAGES, w: FILTERS}),
         correlated(IMAGES, FILTERS[:, :, ::-1, ::-1]))  # fmt: skip
    with pytest.raises(AssertionError):
        conv.conv2d(x, w, image_shape=(2, 3, 7, 6), filter_shape=(4, 2, 3, 2))
    for checked in (True, False):
        with config.change_flags({"conv.assert_shape": checked}):
            f = function([x, w], T.nnet.conv2d(x, w, input_shape=(2, 3, 7, 7)))
            with pytest.raises((AssertionError, ValueError)):
                f(IMAGES, FILTERS)


def test_rule_34_hints_may_be_unknown_or_constants() -> None:
    x, w = T.dtensor4("x"), T.dtensor4("w")
    out = T.nnet.conv2d(
        x, w, input_shape=(None, T.constant(3), 7, None), filter_shape=(None, 3, T.constant(3), 2)
    )
    same(out.eval({x: IMAGES, w: FILTERS}), correlated(IMAGES, FILTERS[:, :, ::-1, ::-1]))


def test_rule_34_unknown_keywords_only_warn() -> None:
    with pytest.warns(UserWarning):
        T.nnet.conv2d(T.dtensor4(), T.dtensor4(), unroll_batch=2)


def test_rule_35_what_says_the_same_twice() -> None:
    x, w, shape = T.dtensor4("x"), T.dtensor4("w"), (2, 3, 7, 6)
    with pytest.raises(ValueError):
        T.nnet.conv2d(x, w, input_shape=shape, image_shape=shape)
    for old in ({"imshp_logical": (3, 7, 6)}, {"kshp_logical": (3, 2)}):
        with pytest.raises(ValueError):
            T.nnet.conv2d(x, w, **old)
    assert T.nnet.conv2d(x, w, image_shape=shape).ndim == 4


# ---- rule 36: pooling ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 28])
@pytest.mark.parametrize("window, stride", [(2, 2), (3, 3), (3, 2), (2, 3), (4, 1), (1, 2)])
def test_rule_36_sizes(n: int, window: int, stride: int) -> None:
    x = T.dtensor4("x")
    for ignore in (True, False):
        if ignore:
            size = n // window if window == stride else max((n - window) // stride + 1, 0)
        elif stride >= window:
            size = (n - 1) // stride + 1
        else:
            size = max(0, (n - 1 - window + stride) // stride) + 1
        out = pool.pool_2d(x, (window, window), ignore_border=ignore, stride=(stride, stride))
        assert out.eval({x: counted(1, 1, n, n)}).shape == (1, 1, size, size)


def test_rule_36_partial_windows() -> None:
    x, data = T.dmatrix("x"), counted(3, 3)
    for mode, whole, partial in (
        ("max", [[5]], [[5, 6], [8, 9]]),
        ("sum", [[12]], [[12, 9], [15, 9]]),
        ("average_inc_pad", [[3]], [[3, 4.5], [7.5, 9]]),
        ("average_exc_pad", [[3]], [[3, 4.5], [7.5, 9]]),
    ):
        for ignore, expected in ((True, whole), (False, partial)):
            out = pool.pool_2d(x, (2, 2), ignore_border=ignore, mode=mode)
            same(out.eval({x: data}), expected)


def test_rule_36_padding() -> None:
    """Sums and exc_pad averages leave it out; inc_pad counts it, within the padded image."""
    x, data = T.dmatrix("x"), -counted(3, 3)
    for mode, expected in (
        ("max", [[-1, -2], [-4, -5]]),
        ("sum", [[-1, -5], [-11, -28]]),
        ("average_inc_pad", [[-0.25, -1.25], [-2.75, -7]]),
        ("average_exc_pad", [[-1, -2.5], [-5.5, -7]]),
    ):
        out = pool.pool_2d(x, (2, 2), ignore_border=True, pad=(1, 1), mode=mode)
        same(out.eval({x: data}), expected)
    with pytest.raises(NotImplementedError):
        pool.pool_2d(x, (2, 2), ignore_border=False, pad=(1, 1))
    with pytest.raises(NotImplementedError):
        pool.pool_2d(x, (2, 2), ignore_border=True, pad=(2, 2))


def test_rule_36_defaults_and_symbolic_windows() -> None:
    x, ws, data = T.dtensor3("x"), T.ivector("ws"), counted(2, 5, 5)
    with pytest.warns(UserWarning):
        out = pool.pool_2d(x, (2, 2))
    assert out.eval({x: data}).shape == (2, 3, 3), "as ignore_border=False"
    f = function([x, ws], pool.pool_2d(x, ws, ignore_border=True))
    assert (
        f(data, [2, 2]).shape == (2, 2, 2) and f(data, [1, 5]).tolist() == data[:, :, 4:].tolist()
    )
    with pytest.raises(NotImplementedError):
        pool.pool_2d(T.dvector(), (2, 2), ignore_border=True)
    five = T.TensorType("float64", (False,) * 5)("five")
    out = pool.pool_2d(five, (2, 2), ignore_border=True)
    assert out.eval({five: counted(1, 2, 2, 4, 4)}).shape == (1, 2, 2, 2, 2)
