"""The tutorials of Theano's documents, with the values that they print.

One test for each section, named after the page, run by `import theano`. NumPy prints numbers
differently now, so values are compared as numbers; what pages print is in test_theano_pages.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.under_alias import imported, logistic_regression, same
from tests.under_alias import interpreted as interpreted

theano, T = imported("theano", "theano.tensor")
RandomStreams = imported("theano.tensor.shared_randomstreams")[0].RandomStreams
ifelse = imported("theano.ifelse")[0].ifelse
In, Out, function, grad, shared = theano.In, theano.Out, theano.function, theano.grad, theano.shared
pp = theano.pp


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
    state, new_state, inc = shared(0), shared(0), T.iscalar("inc")
    accumulator = function([inc], state, updates=[(state, state + inc)])
    accumulator(10)
    assert state.get_value() == 10
    new_accumulator = accumulator.copy(swap={state: new_state})
    assert new_accumulator(100) == [np.array(0)], "a copy returns a list"
    assert new_state.get_value() == 100 and state.get_value() == 10
    null_accumulator = accumulator.copy(delete_updates=True)
    assert null_accumulator(9000) == [np.array(10)] and state.get_value() == 10


def test_examples_copying_random_state_between_graphs() -> None:
    class Graph:
        def __init__(self, seed: int) -> None:
            self.rng = RandomStreams(seed)
            self.y = self.rng.uniform(size=(1,))

    g1, g2 = Graph(seed=123), Graph(seed=987)
    f1, f2 = function([], g1.y), function([], g2.y)
    same(f1(), [0.72803009], rtol=1e-7)
    same(f2(), [0.55056769], rtol=1e-7)
    for mine, theirs in zip(g1.rng.state_updates, g2.rng.state_updates, strict=True):
        theirs[0].set_value(mine[0].get_value())
    same(f1(), [0.59044123], rtol=1e-7)
    same(f2(), [0.59044123], rtol=1e-7)


def test_examples_random_numbers() -> None:
    streams = RandomStreams(seed=234)
    rv_u, rv_n = streams.uniform((2, 2)), streams.normal((2, 2))
    f, g = function([], rv_u), function([], rv_n, no_default_updates=True)
    nearly_zeros = function([], rv_u + rv_u - 2 * rv_u)
    assert (f() != f()).all() and (g() == g()).all()
    assert not nearly_zeros().any()
    generator = rv_u.rng.get_value(borrow=True)
    generator.seed(89234)
    rv_u.rng.set_value(generator, borrow=True)
    same(f(), np.random.RandomState(89234).uniform(size=(2, 2)))
    streams.seed(902340)
    first = np.random.RandomState(902340).randint(2**30)
    same(f(), np.random.RandomState(first).uniform(size=(2, 2)))
    state = rv_u.rng.get_value().get_state()
    nearly_zeros()  # moves the stream that f draws from
    v1 = f()
    generator = rv_u.rng.get_value(borrow=True)
    generator.set_state(state)
    rv_u.rng.set_value(generator, borrow=True)
    v2, v3 = f(), f()
    assert (v2 != v1).all() and (v3 == v1).all()


@pytest.mark.slow  # 10,000 steps, as on the page
def test_examples_logistic_regression() -> None:
    m = logistic_regression()
    with theano.change_flags(target="cpu"):
        train = function(
            inputs=[m.x, m.y],
            outputs=[m.prediction, m.xent],
            updates=((m.w, m.w - 0.1 * m.gw), (m.b, m.b - 0.1 * m.gb)),
        )
        predict = function(inputs=[m.x], outputs=m.prediction)
    first = train(*m.data)[1].mean()
    for _ in range(10_000):
        _, loss = train(*m.data)
    assert np.isfinite(loss).all() and loss.mean() < 0.1 < first
    found = predict(m.data[0])
    assert found.dtype == "bool" and (found == m.data[1]).all()


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


def test_gradients_jacobian_and_hessian_by_scan() -> None:
    x = T.dvector("x")
    y = x**2
    steps = {"sequences": T.arange(y.shape[0]), "non_sequences": [y, x]}
    J, updates = theano.scan(lambda i, y, x: T.grad(y[i], x), **steps)
    same(function([x], J, updates=updates)([4, 4]), [[8, 0], [0, 8]])
    gy = T.grad(y.sum(), x)
    steps = {"sequences": T.arange(gy.shape[0]), "non_sequences": [gy, x]}
    H, updates = theano.scan(lambda i, gy, x: T.grad(gy[i], x), **steps)
    same(function([x], H, updates=updates)([4, 4]), [[2, 0], [0, 2]])
    same(function([x], theano.gradient.jacobian(y, x))([4, 4]), [[8, 0], [0, 8]])
    same(function([x], theano.gradient.hessian(y.sum(), x))([4, 4]), [[2, 0], [0, 2]])


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


# ---- tutorial/conditions -------------------------------------------------------------------------


def test_conditions_ifelse_evaluates_one_branch() -> None:
    a, b = T.scalars("a", "b")
    x, y = T.matrices("x", "y")
    evaluated = []

    def counted(name: str, branch: Any) -> Any:
        return theano.printing.Print(global_fn=lambda op, value: evaluated.append(name))(branch)

    means = counted("x", T.mean(x)), counted("y", T.mean(y))
    z_switch = T.switch(T.lt(a, b), *means)
    z_lazy = ifelse(T.lt(a, b), *means)
    f_switch = function([a, b, x, y], z_switch, mode=theano.Mode(linker="vm"))
    f_lazyifelse = function([a, b, x, y], z_lazy, mode=theano.Mode(linker="vm"))
    ones, twos = np.ones((10, 3)), np.full((10, 3), 2.0)
    assert f_switch(0.0, 1.0, ones, twos) == 1 and sorted(evaluated) == ["x", "y"]
    evaluated.clear()
    assert f_lazyifelse(0.0, 1.0, ones, twos) == 1 and evaluated == ["x"]
    assert f_lazyifelse(1.0, 0.0, ones, twos) == 2 and evaluated == ["x", "y"]


# ---- tutorial/shape_info -------------------------------------------------------------------------


def test_shape_info_is_found_without_the_values() -> None:
    x = T.matrix("x")
    f = function([x], (x**2).shape)
    assert not any(isinstance(n.op, T.Elemwise) for n in f.maker.fgraph.toposort())
    assert f(np.ones((5, 4))).tolist() == [5, 4]


def test_shape_info_of_what_does_not_fit() -> None:
    x, y = T.matrix("x"), T.matrix("y")
    z = T.join(0, x, y)
    xv, yv = np.ones((5, 4)), np.ones((3, 3))
    with pytest.raises(ValueError):
        function([x, y], z)(xv, yv)
    with pytest.raises(ValueError):  # the page: gives [8, 4], and "does not raise as it should"
        function([x, y], z.shape)(xv, yv)


def test_shape_info_that_is_specified() -> None:
    x = T.matrix()
    f = function([x], (T.specify_shape(x, (2, 2)) ** 2).shape)
    assert f(np.ones((2, 2))).tolist() == [2, 2]
    assert not any(isinstance(n.op, T.Elemwise) for n in f.maker.fgraph.toposort())
    with pytest.raises((ValueError, AssertionError)):  # the page's function is a constant
        f(np.ones((3, 2)))


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
