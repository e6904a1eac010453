"""The snippets of Theano's documents, with the values and texts that they print.

One test for each section, named after the page. NumPy prints numbers differently now, so values
are compared as numbers; texts are exact unless a comment says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import In, Out, function, grad, pp, shared
from symgraph.printing import debugprint, pprint
from symgraph.tensor.signal import pool


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


def same(found: Any, expected: Any, **options: Any) -> None:
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-6, **options})


def tree(x: Any, **options: Any) -> list[str]:
    return [line.rstrip() for line in debugprint(x, file="str", **options).splitlines()]  # type: ignore[union-attr]


# ---- tutorial/adding -----------------------------------------------------------------------------


def test_adding_two_scalars() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    z = x + y
    f = function([x, y], z)
    assert f(2, 3) == 5 and np.allclose(f(16.3, 12.1), 28.4)
    assert str(type(f(2, 3))) == "<class 'numpy.ndarray'>"
    assert repr(T.dscalar) == "TensorType(float64, scalar)"
    assert x.type is T.dscalar and repr(x.type) == "TensorType(float64, scalar)"
    assert pp(z) == "(x + y)"
    same(z.eval({x: 16.3, y: 12.1}), 28.4)


def test_adding_two_matrices() -> None:
    x, y = T.dmatrix("x"), T.dmatrix("y")
    f = function([x, y], x + y)
    same(f([[1, 2], [3, 4]], [[10, 20], [30, 40]]), [[11, 22], [33, 44]])
    same(f(np.array([[1, 2], [3, 4]]), np.array([[10, 20], [30, 40]])), [[11, 22], [33, 44]])


def test_adding_exercise() -> None:
    a, b = T.vector(), T.vector()
    same(function([a], a + a**10)([0, 1, 2]), [0, 2, 1026])
    same(function([a, b], a**2 + b**2 + 2 * a * b)([1, 2], [4, 5]), [25, 49])


# ---- tutorial/examples ---------------------------------------------------------------------------

LOGISTIC = [[0.5, 0.73105858], [0.26894142, 0.11920292]]


def test_examples_logistic_function() -> None:
    x = T.dmatrix("x")
    for s in (1 / (1 + T.exp(-x)), (1 + T.tanh(x / 2)) / 2):
        same(function([x], s)([[0, 1], [-1, -2]]), LOGISTIC, rtol=1e-7)


def test_examples_several_outputs() -> None:
    a, b = T.dmatrices("a", "b")
    diff = a - b
    f = function([a, b], [diff, abs(diff), diff**2])
    found = f([[1, 1], [1, 1]], [[0, 1], [2, 3]])
    same(found, [[[1, 0], [-1, -2]], [[1, 0], [1, 2]], [[1, 0], [1, 4]]])


def test_examples_defaults() -> None:
    x, y, w = T.dscalars("x", "y", "w")
    f = function([x, In(y, value=1)], x + y)
    assert f(33) == 34 and f(33, 2) == 35
    f = function([x, In(y, value=1), In(w, value=2, name="w_by_name")], (x + y) * w)
    calls = f(33), f(33, 2), f(33, 0, 1), f(33, w_by_name=1), f(33, w_by_name=1, y=0)
    assert [float(c) for c in calls] == [68, 70, 33, 34, 33]


def test_examples_accumulator() -> None:
    state, inc = shared(0), T.iscalar("inc")
    accumulator = function([inc], state, updates=[(state, state + inc)])
    assert state.get_value() == 0
    assert accumulator(1) == 0 and state.get_value() == 1
    assert accumulator(300) == 1 and state.get_value() == 301
    state.set_value(-1)
    assert accumulator(3) == -1 and state.get_value() == 2
    decrementor = function([inc], state, updates=[(state, state - inc)])
    assert decrementor(2) == 2 and state.get_value() == 0
    foo = T.scalar(dtype=state.dtype)
    skip_shared = function([inc, foo], state * 2 + inc, givens=[(state, foo)])
    assert skip_shared(1, 3) == 7 and state.get_value() == 0


def test_examples_copying_functions() -> None:
    # a copy returns an array where Theano's returns a list of one
    state, new_state, inc = shared(0), shared(0), T.iscalar("inc")
    accumulator = function([inc], state, updates=[(state, state + inc)])
    accumulator(10)
    assert state.get_value() == 10
    new_accumulator = accumulator.copy(swap={state: new_state})
    assert new_accumulator(100) == 0
    assert new_state.get_value() == 100 and state.get_value() == 10
    null_accumulator = accumulator.copy(delete_updates=True)
    assert null_accumulator(9000) == 10 and state.get_value() == 10


def logistic_regression() -> dict[str, Any]:
    rng = np.random.RandomState(0)
    x, y = T.dmatrix("x"), T.dvector("y")
    w, b = shared(rng.randn(784), name="w"), shared(0.0, name="b")
    p_1 = 1 / (1 + T.exp(-T.dot(x, w) - b))
    prediction = p_1 > 0.5
    xent = -y * T.log(p_1) - (1 - y) * T.log(1 - p_1)
    cost = xent.mean() + 0.01 * (w**2).sum()
    return locals()


def test_examples_logistic_regression() -> None:
    m = logistic_regression()
    x, y, w, b = m["x"], m["y"], m["w"], m["b"]
    data = m["rng"].randn(400, 784), m["rng"].randint(size=400, low=0, high=2).astype("float64")
    gw, gb = grad(m["cost"], [w, b])
    with symgraph.config.change_flags(target="cpu"):
        train = function(
            inputs=[x, y], outputs=[m["prediction"], m["xent"]],
            updates=((w, w - 0.1 * gw), (b, b - 0.1 * gb)), name="train",
        )  # fmt: skip
        predict = function(inputs=[x], outputs=m["prediction"], name="predict")
    first = train(*data)[1].mean()
    for _ in range(2000):
        _, loss = train(*data)
    assert np.isfinite(loss).all() and loss.mean() < 0.1 < first
    found = predict(data[0])
    assert found.dtype == "bool" and (found == data[1]).all()


# ---- tutorial/gradients --------------------------------------------------------------------------


def test_gradients_of_a_square() -> None:
    x = T.dscalar("x")
    gy = grad(x**2, x)
    assert pp(gy) == (
        "((fill((x ** TensorConstant{2}), TensorConstant{1.0}) * TensorConstant{2}) "
        "* (x ** (TensorConstant{2} - TensorConstant{1})))"
    )
    f = function([x], gy)
    assert f(4) == 8 and np.allclose(f(94.2), 188.4)


def test_gradients_of_the_logistic_function() -> None:
    x = T.dmatrix("x")
    s = T.sum(1 / (1 + T.exp(-x)))
    dlogistic = function([x], T.grad(s, x))
    same(dlogistic([[0, 1], [-1, -2]]), [[0.25, 0.19661193], [0.19661193, 0.10499359]])


def test_gradients_jacobian_times_a_vector() -> None:
    W, V, x = T.dmatrix("W"), T.dmatrix("V"), T.dvector("x")
    y = T.dot(x, W)
    f = function([W, V, x], T.Rop(y, W, V))
    same(f([[1, 1], [1, 1]], [[2, 2], [2, 2]], [0, 1]), [2, 2])
    v = T.dvector("v")
    f = function([v, x], T.Lop(y, W, v))
    same(f([2, 2], [0, 1]), [[0, 0], [2, 2]])


def test_gradients_hessian_times_a_vector() -> None:
    x, v = T.dvector("x"), T.dvector("v")
    gy = T.grad(T.sum(x**2), x)
    same(function([x, v], T.grad(T.sum(gy * v), x))([4, 4], [2, 2]), [4, 4])
    same(function([x, v], T.Rop(gy, x, v))([4, 4], [2, 2]), [4, 4])


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
    assert repr(T.shape_padaxis(x, 0).type.broadcastable) == "(True, False, False, False)"
    assert repr(T.shape_padaxis(x, -1).type.broadcastable) == "(False, False, False, True)"
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


def test_basic_indexing_and_grids() -> None:
    m = T.mgrid[0:4:1, 0:6:3]
    same(m[0].eval(), [[0, 0], [1, 1], [2, 2], [3, 3]])
    same(m[1].eval(), [[0, 3], [0, 3], [0, 3], [0, 3]])
    x, v = T.vector("x"), T.dscalar("v")
    f = function([x, v], T.set_subtensor(x[1:3], v))
    same(f([1, 2, 3, 4], 10), [1, 10, 10, 4])
    assert T.dvector().sum().type == T.dscalar and T.bvector().sum().type == T.lscalar


# ---- tutorial/shape_info -------------------------------------------------------------------------


def test_shape_info() -> None:
    x, y = T.matrix("x"), T.matrix("y")
    f = function([x], (x**2).shape)
    assert not any("pow" in str(n.op) or "sqr" in str(n.op) for n in f.maker.fgraph.toposort())
    assert f(np.ones((5, 4))).tolist() == [5, 4]
    z = T.join(0, x, y)
    with pytest.raises(ValueError):
        function([x, y], z)(np.ones((5, 4)), np.ones((3, 3)))
    f = function([x], (T.specify_shape(x, (2, 2)) ** 2).shape)
    assert f(np.ones((2, 2))).tolist() == [2, 2]


# ---- tutorial/aliasing ---------------------------------------------------------------------------


def test_aliasing() -> None:
    np_array = np.ones(2, dtype="float32")
    s_default, s_false = shared(np_array), shared(np_array, borrow=False)
    s_true = shared(np_array, borrow=True)
    np_array += 1
    assert str(s_default.get_value()) == "[1. 1.]" and str(s_false.get_value()) == "[1. 1.]"
    assert str(s_true.get_value()) == "[2. 2.]"
    s = shared(np_array)
    s.set_value(s.get_value(borrow=True) * 2, borrow=True)
    assert s.get_value(borrow=True, return_internal_type=True).tolist() == [4, 4]
    x = T.matrix()
    f = function([In(x, borrow=True)], Out(2 * x, borrow=True))
    same(f([[1, 2]]), [[2, 4]])


# ---- tutorial/faq_tutorial -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["inc", "set"])
def test_faq_updating_a_subset_of_weights(how: str) -> None:
    start = np.arange(12.0).reshape(4, 3)
    table, indices = shared(start, "table"), T.lvector("indices")
    subset = table[indices]
    cost = (subset**2).sum()
    g = grad(cost, subset)
    if how == "inc":
        changed = T.inc_subtensor(subset, g * -0.1)
    else:
        changed = T.set_subtensor(subset, subset - g * 0.1)
    f = function([indices], cost, updates=[(table, changed)])
    assert f([0, 2]) == (start[[0, 2]] ** 2).sum()
    expected = start.copy()
    expected[[0, 2]] *= 0.8
    same(table.get_value(), expected)


# ---- tutorial/printing_drawing, library/printing -------------------------------------------------


def test_printing_before_compilation() -> None:
    prediction = logistic_regression()["prediction"]
    assert pprint(prediction) == (
        "gt((TensorConstant{1} / (TensorConstant{1} + exp(((-(x \\dot w)) - b)))), "
        "TensorConstant{0.5})"
    )
    assert tree(prediction) == [
        "Elemwise{gt,no_inplace} [id A] ''",
        " |Elemwise{true_div,no_inplace} [id B] ''",
        " | |InplaceDimShuffle{x} [id C] ''",
        " | | |TensorConstant{1} [id D]",
        " | |Elemwise{add,no_inplace} [id E] ''",
        " |   |InplaceDimShuffle{x} [id F] ''",
        " |   | |TensorConstant{1} [id D]",
        " |   |Elemwise{exp,no_inplace} [id G] ''",
        " |     |Elemwise{sub,no_inplace} [id H] ''",
        " |       |Elemwise{neg,no_inplace} [id I] ''",
        " |       | |dot [id J] ''",
        " |       |   |x [id K]",
        " |       |   |w [id L]",
        " |       |InplaceDimShuffle{x} [id M] ''",
        " |         |b [id N]",
        " |InplaceDimShuffle{x} [id O] ''",
        "   |TensorConstant{0.5} [id P]",
    ]


def test_printing_a_gradient() -> None:
    x = T.dscalar("x")
    gy = grad(x**2, x)
    # Theano leaves ",no_inplace" out of ops that its own gradients made, and wraps the last
    # constant in a DimShuffle that does nothing
    assert tree(gy) == [
        "Elemwise{mul,no_inplace} [id A] ''",
        " |Elemwise{mul,no_inplace} [id B] ''",
        " | |Elemwise{second,no_inplace} [id C] ''",
        " | | |Elemwise{pow,no_inplace} [id D] ''",
        " | | | |x [id E]",
        " | | | |TensorConstant{2} [id F]",
        " | | |TensorConstant{1.0} [id G]",
        " | |TensorConstant{2} [id F]",
        " |Elemwise{pow,no_inplace} [id H] ''",
        "   |x [id E]",
        "   |Elemwise{sub,no_inplace} [id I] ''",
        "     |TensorConstant{2} [id F]",
        "     |TensorConstant{1} [id J]",
    ]
    assert tree(gy, depth=2) == [
        "Elemwise{mul,no_inplace} [id A] ''",
        " |Elemwise{mul,no_inplace} [id B] ''",
        " |Elemwise{pow,no_inplace} [id C] ''",
    ]
    assert tree(gy, depth=1, print_type=True) == [
        "Elemwise{mul,no_inplace} [id A] <TensorType(float64, scalar)> ''"
    ]


def test_printing_after_compilation() -> None:
    m = logistic_regression()
    predict = function([m["x"]], m["prediction"])
    ops = [str(node.op) for node in predict.maker.fgraph.toposort()]
    assert any("sigmoid" in op for op in ops) and not any("exp" in op for op in ops)
    with_sigmoid = [k for k in predict.kernels() if "sigmoid" in k.source]
    assert len(with_sigmoid) == 1 and "gt" in with_sigmoid[0].doc
    x = T.dscalar("x")
    f = function([x], grad(x**2, x))
    text = pp(f.maker.fgraph.outputs[0])
    assert text == "(TensorConstant{2.0} * x)"
    assert tree(f.maker.fgraph.outputs[0]) == [
        "Elemwise{mul,no_inplace} [id A] ''",
        " |TensorConstant{2.0} [id B]",
        " |x [id C]",
    ]


def test_formulas_of_other_ops() -> None:
    x, i = T.matrix("x"), T.lscalar("i")
    for expression, text in (
        (x.T, "x.T"),
        (x.dimshuffle("x", 0, 1), "x"),
        (x.dimshuffle(0, "x", 1), "DimShuffle{0, x, 1}(x)"),
        (x.sum(), "sum(x)"),
        (x.max(axis=1), "max(x, axis=1)"),
        (x[0], "x[0]"),
        (x[1:3, ::2], "x[1:3, ::2]"),
        (x[i:], "x[i:]"),
        (T.cast(x, "float32"), "float32(x)"),
        (T.switch(x > 0, x, 0), "switch(gt(x, TensorConstant{0}), x, TensorConstant{0})"),
        (x.shape[0], "x.shape[0]"),
        (-abs(x), "(-abs(x))"),
    ):
        assert pp(expression) == text


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
    # Theano's page writes the third input as ((c, c+a+b), 10.0); here it is In(...)
    a, b, c = T.scalars("xys")
    fn = function([a, b, In(c, update=c + a + b, value=10.0)], [])
    assert fn["s"] == 10 and fn.value[c] == 10
    fn(1, 2)
    assert fn["s"] == 13
    fn["s"] = 99.0
    fn(1, 0)
    assert fn["s"] == 100
    fn.value[c] = 99.0
    fn(1, 0)
    assert fn["s"] == 100 == fn.value[c]


def test_io_shortcuts() -> None:
    x, y, z, w = T.scalar(), T.scalar("y"), T.scalar("z"), T.scalar("w")
    fn = function([x, y, In(z, value=42), In(w, value=0, update=w + x)], x + y + z)
    with pytest.raises(TypeError, match="Missing required input: y"):
        fn(1)
    assert fn(1, 2) == 45 and fn(1, y=2) == 45
    with pytest.raises(TypeError) as error:
        fn(x=1, y=2)
    assert str(error.value) == (
        "Unknown input or state: x. The function has 3 named inputs (y, z, w), and 1 unnamed "
        "input which thus cannot be accessed through keyword argument (use 'name=...' in a "
        "variable's constructor to give it a name)."
    )
    assert fn(1, 2, 3) == 6 and fn(1, z=3, y=2) == 6
    assert fn[w] == 4
    assert fn(1, 2, w=400) == 45 and fn[w] == 401
    assert fn(1, 2) == 45 and fn[w] == 402


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
    with symgraph.config.change_flags(target="cpu"):
        f = function([x], out)
    image = rng.rand(1, 3, 639, 516)
    found = f(image)
    assert found.shape == (1, 2, 631, 508)
    patch = image[0, :, 100:109, 200:209]
    for k in range(2):
        z = (w.get_value()[k, :, ::-1, ::-1] * patch).sum() + b.get_value()[k]
        same(found[0, k, 100, 200], 1 / (1 + np.exp(-z)))
