"""Wrong input, wherever a user can give it: the class of the error, and what its text names.

`test_errors` checks that messages state their facts and the user's line; this is the wide sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import function, grad, shared
from symgraph import tensor as T
from symgraph.errors import (
    AsTensorError,
    DisconnectedInputError,
    MissingInputError,
    ShapeError,
    UnusedInputError,
)
from symgraph.tensor.nnet import conv, conv2d
from symgraph.tensor.signal import pool

Attempt = tuple[Callable[[], Any], type[Exception], str]

X, Y = T.dvectors("x", "y")
M, S, K, LABELS = T.dmatrix("m"), T.dscalar("s"), T.lscalar("k"), T.ivector("i")
IMAGES = T.ftensor4("images")
W = shared(np.ones((2, 3, 3, 3), "f"), "W")
V = shared(np.ones((2, 3), "f"), "v")
PHOTOS = np.ones((2, 3, 6, 6), "f")


@pytest.fixture(autouse=True)
def in_python() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


def run(inputs: list[Any], output: Any, *values: Any, **options: Any) -> Callable[[], Any]:
    return lambda: function(inputs, output, **options)(*values)


FUNCTIONS: list[Attempt] = [
    (run(X, X), TypeError, "inputs is not a list.*write \\[x\\]"),
    (run(["x"], X), TypeError, "'x'"),
    (run([None], X), TypeError, "None"),
    (run([X], "x"), TypeError, "output is not a variable"),
    (run([X], {1: X}), TypeError, "strings"),
    (run([X], X, mode="FAST"), ValueError, "FAST_RUN"),
    (run([X], X, on_unused_input="shrug"), ValueError, "raise, warn or ignore"),
    (run([T.constant(1.0)], X), TypeError, "constant"),
    (run([X, Y], X + Y, [1.0]), TypeError, "Missing required input: y"),
    (run([X], X, [1.0], [2.0]), TypeError, "Too many parameters"),
    (lambda: function([X], X)(z=[1.0]), TypeError, "Unknown input or state: z"),
    (lambda: function([X], X)([1.0], x=[1.0]), TypeError, "two values"),
    (run([X], X + Y, [1.0]), MissingInputError, "needs y"),
    (run([X, Y], X), UnusedInputError, "index 1"),
    (run([X, X], X), UnusedInputError, "twice"),
    (run([V], V), TypeError, "shared variable"),
    (lambda: symgraph.In("x"), TypeError, "not a variable"),
    (lambda: symgraph.In(X, update=X + 1), TypeError, "initial value"),
    (lambda: symgraph.In(X, value="a"), TypeError, "'a'"),
    (run([X], X, None), TypeError, "None"),
    (run([X], X, "abc"), TypeError, "'abc'"),
    (run([X], X, {}), TypeError, "{}"),
    (run([M], M, [[1, 2], [3]]), TypeError, "inhomogeneous"),
    (run([X], X, np.ones(2, complex)), TypeError, "complex128"),
    (run([X], X, np.array([1, None], object)), TypeError, "object"),
    (run([LABELS], LABELS, [1.5]), TypeError, "losing information"),
    (run([LABELS], LABELS, np.array([1, 2])), TypeError, "int64 without risking loss"),
    (run([LABELS], LABELS, [2**40]), TypeError, "losing information"),
    (run([LABELS], LABELS, [2**70]), TypeError, "dtype object"),
    (run([S], S, [1.0]), TypeError, "Wrong number of dimensions: expected 0, got 1"),
]

UPDATES: list[Attempt] = [
    (run([X], [], updates=[(X, X)]), TypeError, "SharedVariable, got x"),
    (run([], [], updates=3), TypeError, "list of pairs"),
    (run([], [], updates=[V, V]), ValueError, "list of pairs"),
    (run([], [], updates=[(V, V, V)]), ValueError, "list of pairs"),
    (run([], [], updates=[(V, V), (V, V)]), ValueError, "two updates"),
    (run([], [], updates=[(V, T.cast(V, "float64"))]), TypeError, "same type"),
    (run([], [], updates=[(V, V.sum())]), TypeError, "same type"),
    (run([], [], updates=[(V, None)]), TypeError, "same type"),
    (run([], [], updates=[(V, np.zeros((2, 3)))]), TypeError, "without risking loss"),
    (run([X], X, givens={X: Y}), RuntimeError, "givens"),
    (run([], X.sum(), givens={X: M}), TypeError, "cannot replace x by m"),
    (run([], X.sum(), givens={X: np.ones((2, 2))}), TypeError, "expected 1, got 2"),
    (run([], X.sum(), givens={"x": Y}), TypeError, "'x'"),
    (run([], X.sum(), givens=[X, Y]), ValueError, "list of pairs"),
    (lambda: V.set_value(np.ones((2, 3))), TypeError, "float64 without risking loss"),
    (lambda: V.set_value(np.ones(3, "f")), TypeError, "expected 2, got 1"),
    (lambda: V.set_value("a"), TypeError, "'a'"),
    (lambda: V.set_value(M), TypeError, "symbolic variable m"),
    (lambda: shared(M), TypeError, "symbolic"),
    (lambda: shared(1j), TypeError, "complex"),
    (lambda: shared(2**70), TypeError, "object"),
    (lambda: shared(np.ones((2, 3)), broadcastable=(True, False)), TypeError, "size 1"),
]

GRADIENTS: list[Attempt] = [
    (lambda: grad(X, X), TypeError, "cost must be a scalar"),
    (lambda: grad(X.sum(), Y), DisconnectedInputError, "not part of the computational graph"),
    (lambda: grad((X * 1).sum(), X * 1), DisconnectedInputError, "not part"),
    (lambda: grad(X.sum(), {X}), TypeError, "set"),
    (lambda: grad(X.sum(), "x"), TypeError, "'x'"),
    (lambda: grad(None, X), ValueError, "nothing to differentiate"),
    (lambda: grad(X.sum(), X, disconnected_inputs="shrug"), ValueError, "raise, warn, ignore"),
]

INDICES: list[Attempt] = [
    (lambda: M[0, 0, 0], IndexError, "too many indices"),
    (lambda: S[0], IndexError, "too many indices"),
    (lambda: M["a"], AsTensorError, "'a'"),
    (lambda: M[S], TypeError, "float64 is no index"),
    (lambda: M[[True, False]], TypeError, "mask is an array"),
    (lambda: M[..., ...], IndexError, "more than one Ellipsis"),
    (lambda: M[::0], ValueError, "step cannot be zero"),
    (run([M], M[7], np.ones((2, 2))), IndexError, "index 7 .* size 2"),
    (run([M], M[-3], np.ones((2, 2))), IndexError, "index -3 .* size 2"),
    (run([X, LABELS], X[LABELS], [1.0, 2.0], [0, 2]), IndexError, "index 2 .* size 2"),
    (run([M], M[np.array([True])], np.ones((2, 2))), IndexError, "mask of shape"),
    (run([X], T.take(X, [9]), [1.0]), IndexError, "index 9"),
    (run([X, Y], T.set_subtensor(X[:2], Y), [1, 2, 3], [1, 2, 3]), ValueError, "does not fit"),
    (lambda: T.set_subtensor(X, Y), TypeError, "result of a subtensor"),
    (lambda: T.set_subtensor(X[:1], M), TypeError, "2-dimensional"),
    (lambda: X.__setitem__(0, 1), TypeError, "set_subtensor"),
    (lambda: list(X), TypeError, "iteration"),
    (lambda: len(X), TypeError, "x.shape\\[0\\]"),
    (lambda: bool(X < Y), TypeError, "boolean operations"),
]

SHAPES: list[Attempt] = [
    (run([M], M.reshape((4, 5)), np.ones((3, 3))), ShapeError, "\\(3, 3\\) into shape \\(4, 5\\)"),
    (run([M], M.reshape((-1, 4)), np.ones((3, 3))), ShapeError, "into shape"),
    (lambda: M.reshape((-1, -1)), ValueError, "at most one -1"),
    (lambda: M.reshape((2.0, 3)), TypeError, "not an integer"),
    (lambda: M.reshape(T.lvector()), ValueError, "ndim="),
    (lambda: M.dimshuffle(0), ValueError, "cannot drop"),
    (lambda: M.dimshuffle(0, 0, 1), ValueError, "more than once"),
    (lambda: M.dimshuffle(0, 2), ValueError, "axis 2"),
    (lambda: M.flatten(3), ValueError, "from 1 to 2"),
    (lambda: M.sum(axis=5), ValueError, "Not enough dimensions"),
    (lambda: M.sum(axis="a"), TypeError, "'a'"),
    (lambda: T.concatenate([]), ValueError, "nothing to join"),
    (lambda: T.concatenate([X, M]), TypeError, "same number of dimensions"),
    (lambda: T.concatenate([X, Y], axis=1), ValueError, "no axis 1"),
    (lambda: T.stack([X, M]), TypeError, "different numbers of axes"),
    (lambda: T.tril(S), ValueError, "tril: takes a matrix"),
    (lambda: T.triu(X), ValueError, "triu: takes a matrix"),
    (run([K], T.zeros((K,)), -1), ShapeError, "-1"),
    (run([K], T.arange(0, 5, K), 0), ZeroDivisionError, "step"),
    (run([M], T.addbroadcast(M, 0), np.ones((2, 3))), ShapeError, "not of size 1"),
    (run([X], X.max(), []), ValueError, "no identity"),
    (run([X, Y], X + Y, [1.0, 2.0], [1.0]), ShapeError, "shape\\[0\\] = 2"),
    (run([X, M], T.dot(X, M), [1, 2], np.ones((3, 2))), ShapeError, "Shape mismatch"),
    (lambda: X + "a", TypeError, "unsupported operand"),
    (lambda: X + None, TypeError, "unsupported operand"),
    (lambda: X & Y, TypeError, "integers or bools"),
    (lambda: -(X < Y), TypeError, "negation of bool"),
    (lambda: X.astype("complex64"), TypeError, "not supported"),
    (lambda: T.zmatrix(), TypeError, "complex"),
    (lambda: T.constant(2**70), AsTensorError, "64 bits"),
    (lambda: T.nnet.softmax(T.dtensor3()), ValueError, "1-d or 2-d"),
    (lambda: T.nnet.categorical_crossentropy(M, X), TypeError, "integer vector"),
]

LAYERS: list[Attempt] = [
    (lambda: conv2d(M, W), TypeError, "4D"),
    (lambda: conv2d(T.itensor4(), W), TypeError, "floats"),
    (run([IMAGES], conv2d(IMAGES, W), PHOTOS[:, :2]), ShapeError, "same stack size"),
    (run([IMAGES], conv2d(IMAGES, W), PHOTOS[:, :, :2]), ShapeError, "no rows"),
    (run([IMAGES], conv2d(IMAGES, W, (5, 3, 6, 6)), PHOTOS), ShapeError, "image shape given"),
    (
        run([IMAGES], conv2d(IMAGES, W, None, (9, 3, 3, 3)), PHOTOS),
        ShapeError,
        "filter shape given",
    ),
    (lambda: conv.conv2d(IMAGES, W, (2, 4, 6, 6), (2, 3, 3, 3)), AssertionError, "differ"),
    (lambda: conv.conv2d(IMAGES, W, border_mode="half"), ValueError, "'valid' or 'full'"),
    (
        lambda: conv2d(IMAGES, W, input_shape=(2, 3, 6, 6), image_shape=(2, 3, 6, 6)),
        ValueError,
        "both given",
    ),
    (lambda: conv2d(IMAGES, W, input_shape=IMAGES.shape), ValueError, "not a tuple"),
    (lambda: conv2d(IMAGES, W, input_shape=(3, 6, 6)), ValueError, "4 entries"),
    (lambda: conv2d(IMAGES, W, input_shape=(-1, 3, 6, 6)), ValueError, "-1 is not a size"),
    (lambda: conv2d(IMAGES, W, border_mode="same"), ValueError, "'valid', 'full', 'half'"),
    (lambda: conv2d(IMAGES, W, border_mode=-1), ValueError, "none negative"),
    (lambda: conv2d(IMAGES, W, subsample=2), ValueError, "subsample=\\(rows, columns\\)"),
    (lambda: conv2d(IMAGES, W, subsample=(1.5, 1)), ValueError, "positive ints"),
    (lambda: conv2d(IMAGES, W, filter_dilation=(0, 1)), ValueError, "positive ints"),
    (lambda: conv2d(IMAGES, W, imshp_logical=(3, 3)), ValueError, "not supported"),
    (lambda: pool.pool_2d(X, (2, 2), True), NotImplementedError, "2 dimensions"),
    (lambda: pool.pool_2d(IMAGES, ignore_border=True), ValueError, "missing"),
    (lambda: pool.pool_2d(IMAGES, (0, 2), True), ValueError, "positive"),
    (lambda: pool.pool_2d(IMAGES, (2.0, 2), True), TypeError, "ints"),
    (lambda: pool.pool_2d(IMAGES, (2, 2), True, mode="avg"), ValueError, "average_inc_pad"),
    (lambda: pool.pool_2d(IMAGES, (2, 2), True, ds=(2, 2)), ValueError, "both given"),
    (lambda: pool.pool_2d(IMAGES, (2, 2), False, pad=(1, 1)), NotImplementedError, "ignore_border"),
    (
        run([IMAGES, LABELS], pool.pool_2d(IMAGES, LABELS, True), PHOTOS, [0, 2]),
        ValueError,
        "positive",
    ),
]

ATTEMPTS = FUNCTIONS + UPDATES + GRADIENTS + INDICES + SHAPES + LAYERS


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda a: a[2][:30])
def test_wrong_input(attempt: Attempt) -> None:
    call, kind, words = attempt
    with pytest.raises(kind, match=f"(?s){words}") as error:
        call()
    assert "symgraph/" not in str(error.value).partition("where:")[2].partition("\n")[0]
    np.testing.assert_array_equal(V.get_value(), np.ones((2, 3), "f"))


def test_a_failing_call_changes_nothing() -> None:
    a, b = shared(np.ones(3), "a"), shared(np.ones(3), "b")
    f = function([X, K], [], updates=[(a, a + 1), (b, b + X[K])])
    with pytest.raises(IndexError, match="index 5"):
        f([1.0], 5)
    assert a.get_value().tolist() == b.get_value().tolist() == [1, 1, 1]


def test_what_is_no_error() -> None:
    """Odd, but meant: scalars of nothing to choose from, sizes of vectors, declared open sizes."""
    assert function([S], [T.argmax(S), T.argmin(S)])(3.0) == [0, 0]
    assert X.shape.broadcastable == T.stack([S]).broadcastable == (False,)
    size = shared(np.zeros(1, "int64"))
    function([X], [], updates=[(size, X.shape)])([1.0, 2.0])
    assert size.get_value().tolist() == [2]
    both = function([LABELS, X], grad((T.concatenate([LABELS, X]) ** 2).sum(), [LABELS, X]))(
        [3], [4.0]
    )
    assert [g.tolist() for g in both] == [[6], [8]]
    out = conv2d(IMAGES, W, input_shape=(None, 3, T.constant(6), None))
    assert function([IMAGES], out.shape)(PHOTOS).tolist() == [2, 2, 4, 4]


def test_unknown_dtypes_are_named() -> None:
    for dtype in ("foo", None, "complex64"):
        with pytest.raises(TypeError, match=r"not supported[\s\S]*expected:.*float32"):
            T.cast(T.dmatrix("m"), dtype)


def test_values_of_another_byte_order_are_converted() -> None:
    data = np.arange(3.0, dtype=">f8")
    assert symgraph.shared(data).get_value().dtype == "float64"
    assert T.constant(data).dtype == "float64"
    np.testing.assert_array_equal((T.dvector("v") * data).owner.inputs[1].eval(), [0, 1, 2])
