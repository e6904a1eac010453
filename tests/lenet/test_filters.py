"""The examples that tutorials on convolution work out by hand, here with all numbers written down.

Their "convolution" does not flip the filter: filter_flip=False. With the flip of Theano's default,
the same numbers come from filters turned by 180 degrees.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

import symgraph
from symgraph import tensor as T
from symgraph.tensor.nnet import conv2d

IMAGE = [
    [1, 1, 1, 0, 0],
    [0, 1, 1, 1, 0],
    [0, 0, 1, 1, 1],
    [0, 0, 1, 1, 0],
    [0, 1, 1, 0, 0],
]
CROSS = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def convolved(images, filters, flip=False, **options):
    """`conv2d` of numbers, 4-d both, in float64."""
    x, w = T.dtensor4("x"), T.dtensor4("w")
    f = symgraph.function([x, w], conv2d(x, w, filter_flip=flip, **options))
    return f(np.asarray(images, "float64"), np.asarray(filters, "float64"))


def turned(filters):
    """By 180 degrees."""
    return np.asarray(filters)[..., ::-1, ::-1]


# ---- a 5x5 image under a 3x3 filter ------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("stride", "expected"), [(1, [[4, 3, 4], [2, 4, 3], [2, 3, 4]]), (2, [[4, 4], [2, 4]])]
)
def test_a_5x5_image_under_a_3x3_filter(stride, expected, flip) -> None:
    """The filter is its own mirror image, so the flip changes nothing."""
    out = convolved([[IMAGE]], [[CROSS]], flip, subsample=(stride, stride))
    assert out.tolist() == [[expected]]


def test_a_5x5_image_that_keeps_its_size() -> None:
    """With padding 1 ("half"), windows at the border see zeros."""
    assert convolved([[IMAGE]], [[CROSS]], border_mode="half").tolist() == [[[
        [2, 2, 3, 1, 1],
        [1, 4, 3, 4, 1],
        [1, 2, 4, 3, 3],
        [1, 2, 3, 4, 1],
        [0, 2, 2, 1, 1],
    ]]]  # fmt: skip


# ---- a 7x7x3 volume under two 3x3x3 filters, stride 2 ------------------------------------------

VOLUME = [  # three channels of 5x5, which padding makes 7x7
    [[2, 0, 1, 1, 0], [1, 2, 0, 2, 1], [0, 1, 1, 0, 2], [2, 2, 0, 1, 0], [1, 0, 2, 1, 1]],
    [[0, 1, 2, 0, 1], [2, 1, 0, 1, 1], [1, 0, 2, 2, 0], [0, 2, 1, 0, 1], [1, 1, 0, 2, 2]],
    [[1, 2, 0, 1, 2], [0, 0, 1, 2, 1], [2, 1, 0, 0, 1], [1, 0, 2, 1, 0], [0, 2, 1, 1, 2]],
]
FILTERS = [
    [
        [[1, 0, -1], [0, 1, 0], [-1, 1, 0]],
        [[0, -1, 1], [1, 0, 0], [1, -1, 1]],
        [[-1, 0, 0], [1, 1, -1], [0, 0, 1]],
    ],
    [
        [[0, 1, 1], [-1, 0, 1], [0, 0, -1]],
        [[1, 0, 0], [-1, 1, 0], [0, 1, -1]],
        [[0, -1, 1], [1, 0, -1], [1, 1, 0]],
    ],
]
BIASES = [1, 0]
VOLUME_OUT = [
    [[2, 6, 3], [3, 4, 3], [0, 6, 6]],
    [[-3, 1, 5], [1, 8, 1], [2, 3, 0]],
]


def by_loops(volume, filters, biases, stride, padding):
    """The definition, one product after the other: (maps, height, width)."""
    maps, channels, rows, columns = filters.shape
    x = np.pad(volume, ((0, 0), (padding, padding), (padding, padding)))
    height, width = ((x.shape[k] - filters.shape[k + 1]) // stride + 1 for k in (1, 2))
    out = np.zeros((maps, height, width))
    for m, i, j in np.ndindex(out.shape):
        out[m, i, j] = biases[m]
        for c, row, column in np.ndindex(channels, rows, columns):
            pixel = x[c, i * stride + row, j * stride + column]
            out[m, i, j] += pixel * filters[m, c, row, column]
    return out


def test_one_number_of_the_volume_by_hand() -> None:
    """The upper left window, padding above and left of it, under the first filter."""
    first = (2 * 1 + 0 * 0) + (1 * 1 + 2 * 0)  # four pixels of it are in the picture
    second = (0 * 0 + 1 * 0) + (2 * -1 + 1 * 1)
    third = (1 * 1 + 2 * -1) + (0 * 0 + 0 * 1)
    assert first + second + third + BIASES[0] == VOLUME_OUT[0][0][0] == 2


@pytest.mark.parametrize("flip", [False, True])
def test_a_7x7x3_volume_under_two_filters(flip) -> None:
    """5x5x3, padded by 1, stride 2, two filters with biases: 3x3x2. Source: CS231n's picture."""
    filters = turned(FILTERS) if flip else FILTERS
    out = convolved([VOLUME], filters, flip, border_mode=1, subsample=(2, 2))
    assert (out[0] + np.reshape(BIASES, (2, 1, 1))).tolist() == VOLUME_OUT
    assert by_loops(np.array(VOLUME), np.array(FILTERS), BIASES, 2, 1).tolist() == VOLUME_OUT


def test_the_padding_may_be_done_before() -> None:
    """The 7x7x3 volume itself, with its frame of zeros, and no padding: the same."""
    padded = np.pad(VOLUME, ((0, 0), (1, 1), (1, 1)))
    out = convolved([padded], FILTERS, subsample=(2, 2))
    assert (out[0] + np.reshape(BIASES, (2, 1, 1))).tolist() == VOLUME_OUT


# ---- sensitivity maps of a strided convolution -------------------------------------------------
#
# A convolution of stride S takes every S-th result of the one of stride 1. So the sensitivity map
# of the latter is that of the former with zeros for what was left out, and both gradients are
# those of stride 1: by the input, the full convolution of the map with the filter turned by 180
# degrees; by the filter, the input under the map.


def gradients(images, filters, sensitivity, stride, padding):
    """By images and filters, of the results' sum weighted with `sensitivity`: through `grad`."""
    x, w, delta = T.dtensor4("x"), T.dtensor4("w"), T.dtensor4("delta")
    out = conv2d(x, w, border_mode=padding, subsample=(stride, stride), filter_flip=False)
    by = T.grad((out * delta).sum(), [x, w])
    return symgraph.function([x, w, delta], by)(images, filters, sensitivity)


def restored(sensitivity, stride, height, width):
    """Maps (n, o, oh, ow) with zeros between, and after, as of stride 1: (n, o, height, width)."""
    out = np.zeros((*sensitivity.shape[:2], height, width))
    out[:, :, ::stride, ::stride] = sensitivity
    return out


def test_a_sensitivity_map_restored_by_hand() -> None:
    """Stride 2 over the 5x5 image: the 2x2 map becomes 3x3."""
    sensitivity = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert restored(sensitivity, 2, 3, 3).tolist() == [[[[1, 0, 2], [0, 0, 0], [3, 0, 4]]]]
    images, filters = np.array([[IMAGE]], "float64"), np.array([[CROSS]], "float64")
    by_image, by_filter = gradients(images, filters, sensitivity, 2, 0)
    assert by_image.tolist() == [[[
        [1, 0, 3, 0, 2],
        [0, 1, 0, 2, 0],
        [4, 0, 10, 0, 6],
        [0, 3, 0, 4, 0],
        [3, 0, 7, 0, 4],
    ]]]  # fmt: skip
    assert by_filter.tolist() == [[[[7, 5, 8], [6, 7, 4], [6, 5, 6]]]]


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3])
@settings(max_examples=20)
@given(data=st.data())
def test_sensitivity_maps_restored_from_a_stride(stride, padding, data) -> None:
    n, channels, maps = (data.draw(st.integers(1, 3)) for _ in range(3))
    rows, columns = (data.draw(st.integers(1, 4)) for _ in range(2))
    # Also sizes of which a stride leaves some rows or columns unseen: their gradient is zero.
    h, w = (data.draw(st.integers(max(1, k - 2 * padding), 9)) for k in (rows, columns))
    rng = np.random.RandomState(data.draw(st.integers(0, 99)))
    images, filters = rng.randn(n, channels, h, w), rng.randn(maps, channels, rows, columns)
    height, width = h + 2 * padding - rows + 1, w + 2 * padding - columns + 1  # of stride 1
    sensitivity = rng.randn(n, maps, (height - 1) // stride + 1, (width - 1) // stride + 1)
    dense = restored(sensitivity, stride, height, width)

    by_images, by_filters = gradients(images, filters, sensitivity, stride, padding)

    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    expected, wanted = np.zeros_like(padded), np.zeros_like(filters)
    for i, m, c in np.ndindex(n, maps, channels):
        expected[i, c] += correlate2d(dense[i, m], turned(filters[m, c]), "full")
        wanted[m, c] += correlate2d(padded[i, c], dense[i, m], "valid")
    inside = (slice(padding, padding + h), slice(padding, padding + w))
    np.testing.assert_allclose(by_images, expected[(..., *inside)], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_filters, wanted, rtol=1e-12, atol=1e-12)

    # The same two convolutions, as graphs of stride 1.
    full = convolved(dense, turned(filters).swapaxes(0, 1), border_mode="full")
    np.testing.assert_allclose(full[(..., *inside)], by_images, rtol=1e-12, atol=1e-12)
    under = convolved(padded.swapaxes(0, 1), dense.swapaxes(0, 1)).swapaxes(0, 1)
    np.testing.assert_allclose(under, by_filters, rtol=1e-12, atol=1e-12)
