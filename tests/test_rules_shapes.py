"""Rules 31, 32 and 37 to 39 of Theano's semantics, each clause of each: shapes, indexing, dot.

The numbers are those of the project's list of rules; what is expected here is what Theano 1.0.5
gives for the same calls, but where a comment says otherwise.
"""

from __future__ import annotations

import numpy as np
import pytest

from symgraph import config, function
from symgraph import tensor as T
from symgraph.tensor import TensorType
from tests.under_alias import counted, same
from tests.under_alias import interpreted as interpreted

# ---- rule 31: broadcasting, dimshuffle, reshape --------------------------------------------------


def test_rule_31_an_axis_broadcasts_if_all_inputs_do() -> None:
    row, column, matrix = T.drow("r"), T.dcol("c"), T.dmatrix("m")
    assert (row + column).broadcastable == (False, False)
    assert (row + matrix).broadcastable == (False, False)
    assert (row * row).broadcastable == (True, False)
    assert (T.dvector() + matrix).broadcastable == (False, False)
    assert (T.dvector() + row).broadcastable == (True, False), "padded on the left"
    assert (T.dscalar() + row).broadcastable == (True, False)
    found = (row + column).eval({row: [[1.0, 2]], column: [[10.0], [20]]})
    assert found.tolist() == [[11, 12], [21, 22]]


@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE"])
def test_rule_31_a_size_of_one_that_was_not_declared_does_not_broadcast(mode: str) -> None:
    x, y = T.dmatrices("x", "y")
    f = function([x, y], x + y, mode=mode)
    same(f(np.ones((1, 3)), np.ones((1, 3))), [[2, 2, 2]])
    for left, right in (((1, 3), (2, 3)), ((2, 1), (2, 3)), ((2, 3), (3, 3))):
        with pytest.raises(ValueError):
            f(np.ones(left), np.ones(right))


def test_rule_31_dimshuffle() -> None:
    x, row = T.dmatrix("x"), T.drow("r")
    assert x.dimshuffle(1, "x", 0).broadcastable == (False, True, False)
    assert row.dimshuffle(1).broadcastable == (False,)
    assert row.dimshuffle(1).eval({row: [[1.0, 2]]}).tolist() == [1, 2]
    with pytest.raises(ValueError, match="You cannot drop a non-broadcastable dimension"):
        x.dimshuffle(0)
    with pytest.raises(ValueError):
        x.dimshuffle(0, 0)
    with pytest.raises((ValueError, IndexError)):
        x.dimshuffle(0, 1, 2)


def test_rule_31_reshape_and_flatten() -> None:
    x, n, shape = T.dtensor4("x"), T.lscalar("n"), T.lvector("shape")
    assert x.reshape((n, 1, 28, 28)).broadcastable == (False, True, False, False)
    assert x.reshape((1, -1)).broadcastable == (True, False)
    assert x.reshape((-1,)).broadcastable == (False,)
    assert x.reshape(shape, ndim=3).ndim == 3
    with pytest.raises(ValueError):
        x.reshape(shape)
    one = TensorType("float64", (True, False, True))("one")
    assert one.flatten(2).broadcastable[0] is True
    data = counted(1, 3, 1)
    assert one.flatten(2).eval({one: data}).shape == (1, 3)
    assert x.flatten(2).eval({x: counted(2, 3, 2, 2)}).shape == (2, 12)
    assert x.flatten().eval({x: counted(2, 1, 1, 2)}).tolist() == [1, 2, 3, 4]
    f = function([x, n], x.reshape((n, -1)))
    assert f(counted(2, 3, 2, 1), 4).shape == (4, 3)
    with pytest.raises(ValueError):
        f(counted(2, 3, 2, 1), 5)


# ---- rule 32: indexing ---------------------------------------------------------------------------


def test_rule_32_vectors_of_positions_are_paired() -> None:
    x, y, data = T.dmatrix("x"), T.ivector("y"), counted(3, 4)
    picked = x[T.arange(y.shape[0]), y]
    assert picked.eval({x: data, y: [3, 0, 1]}).tolist() == data[range(3), [3, 0, 1]].tolist()
    for dtype in ("int8", "int16", "int32", "int64"):
        i = TensorType(dtype, (False,))("i")
        where = np.array([2, -3, 0], dtype)
        assert x[i].eval({x: data, i: where}).tolist() == data[where].tolist()
        assert x[:, i].eval({x: data, i: where}).tolist() == data[:, where].tolist()
        with pytest.raises(IndexError):
            x[i].eval({x: data, i: np.array([3], dtype)})
        with pytest.raises(IndexError):
            x[i].eval({x: data, i: np.array([-4], dtype)})
    assert x[[0, 2]].eval({x: data}).tolist() == data[[0, 2]].tolist()


def test_rule_32_masks() -> None:
    x, data = T.dmatrix("x"), counted(2, 3)
    mask = data % 2 == 0
    assert x[mask].eval({x: data}).tolist() == data[mask].tolist()
    m = TensorType("bool", (False, False))("m")
    assert x[m].eval({x: data, m: mask}).tolist() == data[mask].tolist()
    assert x[x > 2].eval({x: data}).tolist() == [3, 4, 5, 6]
    assert x[m.nonzero()].eval({x: data, m: mask}).tolist() == data[mask].tolist()
    with pytest.raises(TypeError):
        x[[True, False]]


def test_rule_32_more_axes_and_slices_between() -> None:
    x, i, data = T.dtensor3("x"), T.imatrix("i"), counted(3, 4, 5)
    where = np.array([[0, 2], [1, 1]], "int32")
    assert x[i].eval({x: data, i: where}).tolist() == data[where].tolist()
    v = T.ivector("v")
    three = np.array([2, 0, 1], "int32")
    for found, expected in (
        (x[v, 1:3], data[three, 1:3]),
        (x[v, :, v], data[three, :, three]),
        (x[:, v, v], data[:, three, three]),
        (x[1, :, v], data[1, :, three]),
        (x[..., v], data[..., three]),
        (x[v, None, ::2], data[three, None, ::2]),
        (x[None, v, v], data[None, three, three]),
        (x[::-1, v], data[::-1, three]),
        (x[-1], data[-1]),
        (x[..., -2:], data[..., -2:]),
        (x[:, None, 3:0:-1], data[:, None, 3:0:-1]),
    ):
        needed = {x: data} if "v" not in str(found.owner.inputs) else {x: data, v: three}
        assert found.eval(needed).tolist() == expected.tolist()


def test_rule_32_indices_of_scalars_and_symbolic_bounds() -> None:
    x, i, data = T.dvector("x"), T.lscalar("i"), counted(6)
    f = function([x, i], [x[i], x[i:], x[:i], x[i::-1], x[-i:]])
    for at in (2, -2, 5):
        expected = [data[at], data[at:], data[:at], data[at::-1], data[-at:]]
        for found, right in zip(f(data, at), expected):  # noqa: B905
            assert found.tolist() == right.tolist()
    for at in (6, -7):
        with pytest.raises(IndexError):
            x[i].eval({x: data, i: at})
    with pytest.raises(IndexError):
        T.dscalar()[0]
    with pytest.raises(IndexError):
        x[0, 0]


def test_rule_32_nothing_iterates() -> None:
    for x in (T.dvector(), T.dmatrix()):
        with pytest.raises(TypeError):
            list(x)
        with pytest.raises(TypeError):
            sum(x)
    with pytest.raises(TypeError, match="TensorType does not support iteration"):
        list(T.dmatrix())


# ---- rules 37 to 39: dot, rounding, variance -----------------------------------------------------


def test_rule_37_dot() -> None:
    s, v, m, t = T.dscalar("s"), T.dvector("v"), T.dmatrix("m"), T.dtensor3("t")
    three, square, cube = counted(3), counted(2, 3), counted(2, 4, 3)
    for out, given, expected in (
        (T.dot(s, m), {s: 2.0, m: square}, 2 * square),
        (T.dot(v, s), {v: three, s: 2.0}, 2 * three),
        (T.dot(m, v), {m: square, v: three}, square.dot(three)),
        (T.dot(m, m.T), {m: square}, square.dot(square.T)),
        (T.dot(t, v), {t: cube, v: three}, cube.dot(three)),
        (T.dot(t, m.T), {t: cube, m: square}, cube.dot(square.T)),
        (T.dot(m, t.dimshuffle(0, 2, 1)), {m: square, t: cube},
         np.tensordot(square, cube.transpose(0, 2, 1), (1, 1))),
    ):  # fmt: skip
        same(out.eval(given), expected)
    assert T.dot(v, v).ndim == 0 and T.dot(v, v).eval({v: three}) == 14
    with pytest.raises(ValueError, match="Shape mismatch: x has 3 cols"):
        T.dot(m, m).eval({m: square})
    assert T.dot(T.imatrix(), T.fmatrix()).dtype == "float64"
    assert T.dot(T.bmatrix(), T.fmatrix()).dtype == "float32"
    i = T.imatrix("i")
    product = T.dot(i, m.T)
    assert product.dtype == "float64"
    same(product.eval({i: square.astype("int32"), m: square}), square.dot(square.T))


def test_rule_38_rounding() -> None:
    x, data = T.dvector("x"), np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.6])
    rounded = T.round(x)
    assert rounded.eval({x: data}).tolist() == [0, 2, 2, -0.0, -2, 3], "half to even"
    with config.change_flags({"warn.round": True}), pytest.warns(UserWarning):
        T.round(x)
    away = T.round(x, mode="half_away_from_zero")
    assert away.eval({x: data}).tolist() == [1, 2, 3, -1, -2, 3]
    whole = T.iround(x, mode="half_to_even")
    assert whole.dtype == "int64" and whole.eval({x: data}).tolist() == [0, 2, 2, 0, -2, 3]


def test_rule_38_signs() -> None:
    flag = TensorType("bool", (False,))("flag")
    with pytest.raises(TypeError):
        T.sgn(flag)
    with pytest.raises(TypeError):
        -flag  # noqa: B018
    for dtype in ("int8", "uint8", "int64", "float32", "float64"):
        x = TensorType(dtype, (False,))("x")
        assert abs(x).dtype == T.abs_(x).dtype == T.sgn(x).dtype == dtype
        same(T.sgn(x).eval({x: np.array([3, 0], dtype)}), [1, 0])


def test_rule_39_variances_and_norms() -> None:
    x, data = T.dmatrix("x"), np.array([[1.0, 2, 4], [1e8, 1e8 + 1, 1e8 + 2]])
    same(T.var(x, axis=1).eval({x: data}), [14 / 9, 2 / 3])  # two passes: nothing cancels
    same(T.std(x, axis=1).eval({x: data}), np.sqrt([14 / 9, 2 / 3]))
    same(T.var(x, axis=1, ddof=1).eval({x: data}), [7 / 3, 1])
    for order in (1, 2, 3):
        expected = (np.abs(data) ** order).sum(0) ** (1.0 / order)
        same(x.norm(order, axis=0).eval({x: data}), expected)
        found = x.norm(order, axis=0, keepdims=True)
        assert found.broadcastable == (True, False)
        same(found.eval({x: data}), expected[None])
    for order in (0, float("inf")):
        with pytest.raises(NotImplementedError):
            x.norm(order)
