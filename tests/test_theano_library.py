"""The library reference of Theano's documents, with the values that it prints.

One test for each section, named after the page, run by `import theano`. NumPy prints numbers
differently now, so values are compared as numbers; texts are exact.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.under_alias import imported, same
from tests.under_alias import interpreted as interpreted

theano, T, pool = imported("theano", "theano.tensor", "theano.tensor.signal.pool")
In, Out, function, shared = theano.In, theano.Out, theano.function, theano.shared


# ---- tutorial/broadcasting, library/tensor/basic -------------------------------------------------


def test_broadcasting_rows_and_columns() -> None:
    r, c = T.row(), T.col()
    assert r.broadcastable == (True, False) and c.broadcastable == (False, True)
    mtr = T.matrix()
    assert mtr.broadcastable == (False, False)
    f_row = function([mtr, r], [mtr + r])
    R, M = np.arange(3).reshape(1, 3), np.arange(9).reshape(3, 3)
    same(f_row(M, R), [[[0, 2, 4], [3, 5, 7], [6, 8, 10]]])
    f_col = function([c, mtr], [c + mtr])
    same(f_col(np.arange(3).reshape(3, 1), M), [[[0, 1, 2], [4, 5, 6], [8, 9, 10]]])


def test_basic_dimshuffle_and_shapes() -> None:
    assert T.matrix().dimshuffle(0, "x", 1).type.broadcastable == (False, True, False)
    assert repr(T.ftensor3().type) == "TensorType(float32, 3D)"
    assert repr(T.ftensor3().dimshuffle("x", 2, 0, 1).type).endswith("(True, False, False, False))")
    x = T.tensor3()
    for axis, text in ((0, "{x,0,1,2}"), (1, "{0,x,1,2}"), (3, "{0,1,2,x}"), (-1, "{0,1,2,x}")):
        padded = T.shape_padaxis(x, axis=axis)
        assert repr(padded) == f"InplaceDimShuffle{text}.0"
        assert padded.broadcastable[axis] and sum(padded.broadcastable) == 1
    a = T.ftensor3("a")
    assert (a * 3.5).type == T.ftensor3 and (a + 2).type == T.ftensor3
    assert (a + np.float64(2)).dtype == "float64" and (T.iscalar() * a).dtype == "float64"


def test_basic_stacking() -> None:
    a, b, c, d = T.scalars("abcd")
    x = T.stacklists([[a, b], [c, d]])
    same(function([a, b, c, d], x)(1, 2, 3, 4), [[1, 2], [3, 4]])
    a, b, c, d = T.matrices("abcd")
    f = function([a, b, c, d], T.stacklists([[a, b], [c, d]]))
    assert f(*[np.ones((4, 4))] * 4).shape == (2, 2, 4, 4)
    assert function([a, b], T.stack([a, b], axis=1).shape)(*[np.ones((2, 3))] * 2).tolist() == [
        2, 2, 3,
    ]  # fmt: skip


def test_basic_axes_of_stacks() -> None:
    tensors = T.tensor4s("a", "b", "c")
    given = {t: np.zeros((2, 2, 2, 2)) for t in tensors}
    for axis, shape in ((0, (3, 2, 2, 2, 2)), (3, (2, 2, 2, 3, 2)), (-2, (2, 2, 2, 3, 2))):
        x = T.stack(tensors, axis=axis)
        assert x.ndim == 5 and x.eval(given).shape == shape
    with pytest.warns(DeprecationWarning):
        assert T.stack(*T.scalars("abc")).ndim == 1
    x = T.concatenate([T.fmatrix(), T.ftensor3()[0], T.shape_padright(T.fvector())], axis=1)
    assert x.ndim == 2 and x.dtype == "float32"


def test_basic_constructors_and_masks() -> None:
    for x in (T.scalar("myvar", dtype="int32"), T.iscalar("myvar"),
              T.TensorType(dtype="int32", broadcastable=())("myvar")):  # fmt: skip
        assert x.type == T.iscalar and x.name == "myvar"
    assert len(T.dmatrices(3)) == 3 and [v.name for v in T.dmatrices("x", "y")] == ["x", "y"]
    assert T.TensorType("float64", (False,) * 2) == T.dmatrix
    t = T.arange(9).reshape((3, 3))
    assert t[(t > 4).nonzero()].eval().tolist() == [5, 6, 7, 8]
    assert t[t > 4].eval().tolist() == [5, 6, 7, 8]


def test_basic_indexing_and_grids() -> None:
    m = T.mgrid[0:4:1, 0:6:3]
    same(m[0].eval(), [[0, 0], [1, 1], [2, 2], [3, 3]])
    same(m[1].eval(), [[0, 3], [0, 3], [0, 3], [0, 3]])
    rows, columns = T.ogrid[0:4:1, 0:6:3]
    same(rows.eval(), [[0], [1], [2], [3]])
    same(columns.eval(), [[0, 3]])
    x, v = T.vector("x"), T.dscalar("v")
    f = function([x, v], T.set_subtensor(x[1:3], v))
    same(f([1, 2, 3, 4], 10), [1, 10, 10, 4])
    assert T.dvector().sum().type == T.dscalar and T.bvector().sum().type == T.lscalar


# ---- library/compile/io --------------------------------------------------------------------------


def test_io_state_and_defaults() -> None:
    u, x, s = T.scalars("u", "x", "s")
    inc = function([u, In(x, value=3), In(s, update=(s + x * u), value=10.0)], [])
    assert inc(5) == [] and inc[s] == 25
    assert inc(3, 4) == [] and inc[s] == 37 and inc[x] == 3
    assert inc(3, 4, 7) == [] and inc[s] == 19
    inc[s] = 10
    assert inc[s] == 10


def test_io_values_by_name() -> None:
    a, b, c = T.scalars("xys")
    fn = function([a, b, ((c, c + a + b), 10.0)], [])
    assert fn["s"] == fn.value[c] == fn.container[c].value == 10
    assert fn(1, 2) == [] and fn["s"] == 13
    fn["s"] = 99.0
    fn(1, 0)
    assert fn["s"] == 100
    fn.value[c] = 99.0
    fn(1, 0)
    assert fn["s"] == 100 == fn.value[c] == fn.container["s"].value
    fn.container[c].value = 7.0
    assert fn[2] == 7
    with pytest.raises(TypeError):
        fn.container["z"]


def test_io_shortcuts() -> None:
    x, y, z, w = T.scalar(), T.scalar("y"), T.scalar("z"), T.scalar("w")
    fn = function(inputs=[x, y, In(z, value=42), ((w, w + x), 0)], outputs=x + y + z)
    with pytest.raises(TypeError, match="Missing required input: y"):
        fn(1)
    assert fn(1, 2) == 45 and fn(1, y=2) == 45
    with pytest.raises(TypeError) as error:
        fn(x=1, y=2)
    assert str(error.value).startswith(
        "Unknown input or state: x. The function has 3 named inputs (y, z, w), and 1 unnamed "
        "input which thus cannot be accessed through keyword argument (use 'name=...' in a "
        "variable's constructor to give it a name)."
    )
    assert fn(1, 2, 3) == 6 and fn(1, z=3, y=2) == 6
    assert fn[w] == 4
    assert fn(1, 2, w=400) == 45 and fn[w] == 401
    assert fn(1, 2) == 45 and fn[w] == 402


def test_io_tuples_for_inputs() -> None:
    x, y = T.dscalars("x", "y")
    assert function([("given", x), (y, 2.0)], x * y)(given=3) == 6
    f = function([x, ("kept", (y, y + x), 5.0)], y)
    assert [float(f(1)), float(f(1)), float(f["kept"])] == [5, 6, 7]
    assert function([("a", x), ("b", y, 4.0)], x - y)(1) == -3


def test_io_outputs() -> None:
    x = T.matrix("x")
    eye = np.asarray([[1, 0], [0, 1]])
    found = function([x], [x + x, Out((x + x).T, borrow=True)])(eye)
    assert isinstance(found, list)
    same(found, [eye * 2, eye * 2])
    assert isinstance(function([x], [x + x])(eye), list)
    same(function([x], outputs=x + x)(eye), eye * 2)


# ---- Deep Learning Tutorials, doc/lenet.txt ------------------------------------------------------


def test_lenet_max_pooling() -> None:
    x = T.dtensor4("input")
    invals = np.random.RandomState(1).rand(3, 2, 5, 5)
    f = function([x], pool.pool_2d(x, (2, 2), ignore_border=True))
    same(f(invals)[0, 0], [[0.72032449, 0.39676747], [0.6852195, 0.87811744]])
    f = function([x], pool.pool_2d(x, (2, 2), ignore_border=False))
    same(
        f(invals)[1, 0],
        [
            [0.67883553, 0.58930554, 0.69975836],
            [0.66379465, 0.94459476, 0.58655504],
            [0.90340192, 0.80739129, 0.39767684],
        ],
    )


def test_lenet_convolution_of_an_image() -> None:
    rng = np.random.RandomState(23455)
    x = T.dtensor4("input")
    bound = np.sqrt(3 * 9 * 9)
    w = shared(rng.uniform(-1.0 / bound, 1.0 / bound, (2, 3, 9, 9)), name="W")
    b = shared(rng.uniform(-0.5, 0.5, (2,)), name="b")
    out = T.nnet.sigmoid(T.nnet.conv2d(x, w) + b.dimshuffle("x", 0, "x", "x"))
    with theano.change_flags(target="cpu"):
        f = function([x], out)
    image = rng.rand(1, 3, 639, 516)
    found = f(image)
    assert found.shape == (1, 2, 631, 508)
    patch = image[0, :, 100:109, 200:209]
    for k in range(2):
        z = (w.get_value()[k, :, ::-1, ::-1] * patch).sum() + b.get_value()[k]
        same(found[0, k, 100, 200], 1 / (1 + np.exp(-z)))
