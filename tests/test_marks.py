"""When the gradient of max pooling goes by marks, and what that saves."""

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.ops.pool_marks import MaxPoolMarks, MaxPoolMarksGrad
from symgraph.ops.pooling import MaxPoolGrad, Pool
from symgraph.tensor.signal.pool import pool_2d

IMAGES = np.random.default_rng(0).integers(-3, 3, (3, 2, 6, 8)).astype("f4")


def pooled(image, ws=(2, 2), **options):
    return pool_2d(image, ws, **{"ignore_border": True, **options})


def gradient(image, x, ws=(2, 2), **options):
    return T.grad((pooled(image, ws, **options) ** 2).sum(), x)


def kinds(f):
    ops = {type(node.op) for node in f._compiled.nodes}
    return ops & {Pool, MaxPoolGrad, MaxPoolMarks, MaxPoolMarksGrad}


def test_a_computed_image_that_only_pooling_uses_is_not_kept():
    x = T.ftensor4("x")
    marked = symgraph.function([x], gradient(x * 2, x))
    assert kinds(marked) == {MaxPoolMarks, MaxPoolMarksGrad}
    asked = symgraph.function([x], gradient(x * 2, x), mode="FAST_COMPILE")
    assert kinds(asked) == {Pool, MaxPoolGrad}
    np.testing.assert_array_equal(marked(IMAGES), asked(IMAGES))


def test_of_tied_maxima_the_first_is_marked():
    x = T.ftensor4("x")
    slope = gradient(x * 2, x, ties="first")
    marked = symgraph.function([x], slope)
    assert kinds(marked) == {MaxPoolMarks, MaxPoolMarksGrad}
    asked = symgraph.function([x], slope, mode="FAST_COMPILE")
    assert kinds(asked) == {Pool, MaxPoolGrad}
    np.testing.assert_array_equal(marked(IMAGES), asked(IMAGES))
    windows = marked(IMAGES - 4).reshape(3, 2, 3, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5)
    assert (np.count_nonzero(windows, (4, 5)) == 1).all()


def test_two_poolings_one_behind_the_other():
    x = T.ftensor4("x")
    f = symgraph.function([x], gradient(pooled(x * 2) * 3, x, (1, 2)))
    assert kinds(f) == {MaxPoolMarks, MaxPoolMarksGrad}
    plain = symgraph.function([x], gradient(pooled(x * 2) * 3, x, (1, 2)), mode="FAST_COMPILE")
    np.testing.assert_array_equal(f(IMAGES), plain(IMAGES))


@pytest.mark.parametrize(
    "build",
    [
        lambda x, y: [gradient(x, x)],  # an input is there anyway
        lambda x, y: [gradient(y, x), y],  # asked for
        lambda x, y: [gradient(y, x), T.exp(y).sum()],  # used by someone else
        lambda x, y: [pooled(y)],  # no gradient
        lambda x, y: [gradient(y, x, (3, 3))],  # more elements than a mark has bits
        lambda x, y: [gradient(y, x, stride=(1, 1))],  # windows overlap
        lambda x, y: [gradient(y, x, ignore_border=False)],  # windows may be cut off
        lambda x, y: [gradient(y, x) + gradient(y, x, ties="first")],  # asked for both
        lambda x, y: [T.grad((gradient(y, x) ** 2).sum(), x)],  # the second gradient asks again
    ],
)
def test_everything_else_stays(build):
    x = T.ftensor4("x")
    results = build(x, x * 2)
    f = symgraph.function([x], results)
    assert not kinds(f) & {MaxPoolMarks, MaxPoolMarksGrad}
