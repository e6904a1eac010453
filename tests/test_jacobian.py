"""Jacobians, Hessians, products with them, gradients of parts of graphs, and of integers.

After tutorial/gradients and library/gradient of Theano's documents, whose values these are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import function, grad, shared, subgraph_grad
from symgraph import gradient as G
from symgraph import tensor as T
from symgraph.compile.pipeline import Options
from symgraph.errors import DisconnectedInputError, NullTypeGradError
from symgraph.ops.scan import Scan

X, Y, V = T.dvectors("x", "y", "v")
S, M = T.dscalar("s"), T.dmatrix("m")


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


# ---- jacobian ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE", Options("cpu")])
def test_jacobian_of_a_vector(mode: Any) -> None:
    f = function([X], T.jacobian(X**2, X), mode=mode)
    assert f([4, 4]).tolist() == [[8, 0], [0, 8]]
    assert f(np.zeros(0)).shape == (0, 0)
    f = function([X, Y], T.jacobian(T.tanh(X * Y[0]), [X, Y]), mode=mode)
    a, b = np.array([0.1, -0.2, 0.3]), np.array([2.0, 7.0])
    slope = 1 - np.tanh(a * 2) ** 2
    by_x, by_y = f(a, b)
    np.testing.assert_allclose(by_x, np.diag(2 * slope))
    np.testing.assert_allclose(by_y, np.stack([slope * a, 0 * a], axis=1))


def test_forms_and_shapes_of_jacobians() -> None:
    y = M.sum(axis=0) * 2
    as_tuple = T.jacobian(y, (M,))
    assert isinstance(as_tuple, tuple)
    (by_m,) = as_tuple
    found = function([M], by_m)(np.ones((3, 4)))
    expected = np.zeros((4, 3, 4))
    for k in range(4):
        expected[k, :, k] = 2
    assert found.tolist() == expected.tolist() and by_m.ndim == 3
    as_list = T.jacobian(X * S, [X, S])
    assert isinstance(as_list, list) and [v.ndim for v in as_list] == [2, 1]
    by_x, by_s = function([X, S], as_list)([1, 2], 3)
    assert by_x.tolist() == [[3, 0], [0, 3]] and by_s.tolist() == [1, 2]
    (by_x,) = T.jacobian((X**2).sum(), [X])  # a scalar: its gradient
    assert by_x.eval({X: [1, 2]}).tolist() == [2, 4]
    assert T.jacobian(X, X).eval({X: [1, 2]}).tolist() == [[1, 0], [0, 1]]


def test_jacobians_by_intermediate_results_and_dtypes() -> None:
    h = X * 3
    assert T.jacobian(h**2, h).eval({X: [1, 2]}).tolist() == [[6, 0], [0, 12]]
    f, i = T.fvector("f"), T.ivector("i")
    assert T.jacobian(f * 2, f).dtype == "float32"
    assert T.jacobian(f * X, f).dtype == "float32"
    by_i = T.jacobian(i * 2.5, i)
    assert by_i.dtype == "float64" and by_i.eval({i: [1, 2]}).tolist() == [[2.5, 0], [0, 2.5]]
    one = T.TensorType("float64", (True,))("one")
    assert T.jacobian(one * 2, one).eval({one: [3]}).tolist() == [[2]]


def test_disconnected_jacobians() -> None:
    with pytest.raises(DisconnectedInputError):
        T.jacobian(X * 2, Y)
    zeros = T.jacobian(1 + X, Y, disconnected_inputs="ignore")
    f = function([X, Y], zeros)
    assert f([1, 2, 3], [4, 5]).tolist() == np.zeros((3, 2)).tolist()
    assert T.jacobian(S, Y, disconnected_inputs="ignore").eval({Y: [1]}).tolist() == [0]
    constant = X * 2
    by_x = T.jacobian(constant * X, X, consider_constant=[constant])
    assert by_x.eval({X: [1, 2]}).tolist() == [[2, 0], [0, 4]]


def test_what_rows_have_in_common_is_computed_once() -> None:
    h = T.exp(X)
    f = function([X], T.jacobian(h * h.sum(), X))
    (loop,) = [n for n in f.maker.fgraph.toposort() if isinstance(n.op, Scan)]
    assert "exp" not in str(loop.op.inner.nodes)
    a = np.array([0.1, 0.2])
    e = np.exp(a)
    np.testing.assert_allclose(f(a), np.diag(e * e.sum()) + np.outer(e, e))


def test_gradients_of_jacobians() -> None:
    j = T.jacobian(X**3, X)
    f = function([X], [grad(j.sum(), X), T.jacobian(T.diag(j), X)])
    first, second = f([1, 2])
    assert first.tolist() == [6, 12] and second.tolist() == [[6, 0], [0, 12]]


def test_refused_jacobians() -> None:
    for build in (
        lambda: T.jacobian(M, M),
        lambda: T.hessian(X, X),
        lambda: T.hessian(M.sum(), M),
        lambda: T.hessian(M.sum(), [M]),
    ):
        with pytest.raises(AssertionError, match=r"(vector|axes)(.|\n)*where: .*test_jacobian"):
            build()
    with pytest.raises(AssertionError, match="expression is not a vector"):
        T.jacobian(3, X)


# ---- hessian -------------------------------------------------------------------------------------


def test_hessians() -> None:
    assert T.hessian((X**2).sum(), X).eval({X: [4, 4]}).tolist() == [[2, 0], [0, 2]]
    a, b = np.array([0.3, -1.2]), np.array([0.5, 2.0])
    cost = T.exp(X[0] * X[1]) + (X * Y**2).sum()
    forms = T.hessian(cost, (X, Y))
    assert isinstance(forms, tuple)
    by_x, by_y = function([X, Y], list(forms))(a, b)
    p, e = a[0] * a[1], np.exp(a[0] * a[1])
    np.testing.assert_allclose(by_x, e * np.array([[a[1] ** 2, 1 + p], [1 + p, a[0] ** 2]]))
    np.testing.assert_allclose(by_y, np.diag(2 * a))
    linear = function([X, Y], T.hessian((X * Y).sum(), [X, Y]))
    assert [v.tolist() for v in linear([1, 2], [3, 4])] == [[[0, 0], [0, 0]]] * 2
    assert T.hessian(X.sum(), X).eval({X: [1, 2]}).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DisconnectedInputError):
        T.hessian(X.sum(), Y)


# ---- products ------------------------------------------------------------------------------------


def test_products_of_the_tutorial() -> None:
    w, v, x = T.dmatrix("W"), T.dmatrix("V"), T.dvector("x")
    f = function([w, v, x], T.Rop(T.dot(x, w), w, v))
    assert f([[1, 1], [1, 1]], [[2, 2], [2, 2]], [0, 1]).tolist() == [2, 2]
    f = function([V, x], T.Lop(T.dot(x, w), w, V))
    assert f([2, 2], [0, 1]).tolist() == [[0, 0], [2, 2]]
    y = (X**2).sum()
    by_lop = function([X, V], grad((grad(y, X) * V).sum(), X))
    by_rop = function([X, V], T.Rop(grad(y, X), X, V))
    assert by_lop([4, 4], [2, 2]).tolist() == by_rop([4, 4], [2, 2]).tolist() == [4, 4]


@pytest.mark.parametrize(
    "build",
    [
        lambda x: T.tanh(x) * x[0],
        lambda x: T.nnet.softmax(T.stack([x, x * 2])),
        lambda x: T.concatenate([x, T.exp(x)])[::2],
        lambda x: x.sum() * T.ones((2, 3)),
        lambda x: T.dot(T.outer(x, x), x) / x.norm(2),
        lambda x: T.max(x) + T.sort(x),
        lambda x: T.set_subtensor(x[1:], x[:-1] ** 2),
        lambda x: x[np.array([0, 0, 2])] * x.mean(),
        lambda x: T.jacobian(x**2, x),
        lambda x: T.switch(x > 0, x, 0) * x.shape[0],
        lambda x: T.cumsum(x).reshape((3, 1)) ** 3,
    ],
)
def test_rop_is_the_derivative_along_a_direction(build: Any) -> None:
    out = build(X)
    f, along = function([X], out), T.Rop(out, X, V)
    assert along.type.ndim == out.ndim
    a, d, step = np.array([0.7, -0.4, 1.3]), np.array([0.2, 1.1, -0.6]), 1e-6
    found = function([X, V], along)(a, d)
    expected = (f(a + step * d) - f(a - step * d)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_rop_where_nothing_moves() -> None:
    assert T.Rop(T.floor(X) + (X > 1), X, V).eval({X: [1, 2]}).tolist() == [0, 0]
    assert T.Rop(T.argmax(X), X, V).eval({X: [1, 2]}) == 0
    assert T.Rop(X, X, V).eval({X: [0], V: [3]}).tolist() == [3]
    h = X * 2  # a variable that is computed from another stands for itself
    found = function([X, V], T.Rop(h * X, [X, h], [V, V]))([1, 2], [1, 1])
    assert found.tolist() == [3, 6]
    cost = T.dot(T.arange(3.0), X)  # linear: its gradient does not depend on it
    assert T.Rop(grad(cost, X), X, V).eval({X: [1, 1, 1]}).tolist() == [0, 0, 0]
    for y in (Y, G.disconnected_grad(X), X.shape, T.exp(G.disconnected_grad(X)).sum()):
        with pytest.raises(DisconnectedInputError):
            T.Rop(y, X, V)
    zeros = T.Rop([Y, X * 2], [X], [V], disconnected_outputs="ignore")
    f = function([X, Y, V], zeros, on_unused_input="ignore")
    assert [v.tolist() for v in f([1], [5, 5], [3])] == [[0, 0], [6]]
    options = {"disconnected_outputs": "ignore"}
    assert T.Rop(Y, X, V, return_disconnected="None", **options) is None
    with pytest.warns(UserWarning, match="not part of"):
        T.Rop(Y, X, V, disconnected_outputs="warn")
    with pytest.raises(NullTypeGradError):
        T.Rop(G.undefined_grad(X) * 2, X, V)


def test_rop_walks_each_node_once() -> None:
    """The graph it makes grows as the graph it differentiates does."""
    counts = []
    for depth in (50, 100, 200):
        y = X
        for _ in range(depth):
            y = T.tanh(y) * 1.5 + y
        counts.append(len(symgraph.graph.toposort([T.Rop(y, X, V)])))
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0])


# ---- parts of graphs -----------------------------------------------------------------------------


def test_subgraph_grad_layer_by_layer() -> None:
    rng = np.random.RandomState(4)
    x, t = T.dvector("x"), T.dvector("t")
    w1, w2 = shared(rng.randn(3, 4), "w1"), shared(rng.randn(4, 2), "w2")
    a1 = T.tanh(T.dot(x, w1))
    a2 = T.tanh(T.dot(a1, w2))
    cost2 = T.sqr(a2 - t).sum() + T.sqr(w2.sum())
    cost1 = T.sqr(w1.sum())
    found: list[Any] = []
    start = None
    for wrt, end, cost in (([w2], [a1], cost2), ([w1], [x], cost1)):
        by_wrt, by_end = subgraph_grad(wrt=wrt, end=end, start=start, cost=cost)
        start = dict(zip(end, by_end, strict=True))
        found += by_wrt
    whole = grad(cost2 + cost1, [w2, w1])
    f = function([x, t], [*found, *whole])
    values = f(rng.rand(3), rng.rand(2))
    for part, expected in zip(values[:2], values[2:], strict=True):
        np.testing.assert_allclose(part, expected)


def test_subgraph_grad_in_detail() -> None:
    h = X * 2
    y = h * Y
    by_wrt, by_end, from_start, from_cost = subgraph_grad(
        [Y], [h], start={y: V}, cost=(Y**2).sum() + h.sum(), details=True
    )
    f = function([X, Y, V], [*by_wrt, *by_end, *from_start, *from_cost])
    assert [v.tolist() for v in f([1], [3], [5])] == [[16], [16], [10], [15], [6], [1]]
    _, _, nothing, _ = subgraph_grad([Y], [h], cost=y.sum(), details=True)
    assert nothing is None
    (by_x,), _ = subgraph_grad([X], [h], cost=y.sum())  # behind the end: not connected
    assert by_x.eval({X: [1, 2]}).tolist() == [0, 0]
    (by_x,), (by_h,) = subgraph_grad([X], [h], start={})  # from nothing comes nothing
    assert [g.eval({X: [1, 2]}).tolist() for g in (by_x, by_h)] == [[0, 0], [0, 0]]
    for wrong in (
        lambda: subgraph_grad([Y], [h]),
        lambda: subgraph_grad(Y, [h], cost=y.sum()),
        lambda: subgraph_grad([Y], h, cost=y.sum()),
        lambda: subgraph_grad([Y], [h], start=[(y, V)]),
    ):
        with pytest.raises(AssertionError, match="lists wrt and end"):
            wrong()


def test_consider_constant_blocks_what_is_behind() -> None:
    y = S * 2
    assert [v.eval({S: 3.0}) for v in grad(S * y, [S, y], consider_constant=[y])] == [6, 3]
    assert grad(S**3, S, consider_constant=[S]).eval({S: 3}) == 27
    z = y * y
    found = grad(z * y, [S, y, z], consider_constant=[y, z], disconnected_inputs="ignore")
    assert [v.eval({S: 3.0}) for v in found] == [0, 36, 6]
    found = grad(z * y, [S, y, z], consider_constant=[y], disconnected_inputs="ignore")
    assert [v.eval({S: 3.0}) for v in found] == [0, 108, 6]
    with pytest.raises(TypeError):
        grad(z, y, consider_constant=[[y]])


def test_undefined_grad() -> None:
    assert G.undefined_grad(X).eval({X: [1, 2]}).tolist() == [1, 2]
    with pytest.raises(NullTypeGradError, match="undefined_grad"):
        grad(G.undefined_grad(X).sum(), X)
    for name in ("DisconnectedType", "NullType", "disconnected_type", "grad_not_implemented"):
        assert hasattr(G, name)


# ---- integers (rule 21) --------------------------------------------------------------------------


def test_the_gradient_by_an_integer_is_that_of_the_float_computation() -> None:
    w, b = T.dmatrix("w"), T.dvector("b")
    rng = np.random.RandomState(5)
    x = (rng.randn(5, 3) * 127).astype("int32")
    given = rng.randn(3, 4), rng.randn(4)
    found = []
    for kind in (T.imatrix, T.dmatrix):
        m = kind("m")
        g = grad(T.nnet.sigmoid(T.dot(m, w) + b).sum(), m)
        found.append(function([m, w, b], g)(x.astype(m.dtype), *given))
    np.testing.assert_allclose(*found)


PASSES = {
    "dot": lambda m: T.dot(m, m.T),
    "batched_dot": lambda m: T.batched_dot(m, m),
    "gather": lambda m: m[np.array([0, 0]), np.array([1, 2])],
    "take": lambda m: T.take(m, [1, 1, 0]),
    "slice": lambda m: m[1:, ::2],
    "reshape": lambda m: m.reshape((3, 2)),
    "transpose": lambda m: m.T,
    "alloc": lambda m: T.alloc(m, 2, 2, 3),
    "sort": lambda m: T.sort(m),
    "cumsum": lambda m: T.cumsum(m),
    "cumprod": lambda m: T.cumprod(m),
    "split": lambda m: T.split(m, [1, 2], 2, 1)[1],
    "max": lambda m: T.max(m, axis=1),
    "clip": lambda m: G.grad_clip(m, -1, 1),
}


@pytest.mark.parametrize("name", PASSES)
def test_gradients_pass_through_integer_results(name: str) -> None:
    """As through the same computation of floats, wherever Theano's do."""
    a = np.array([[3, 1, 2], [5, 4, 6]])
    found = []
    for kind in (T.lmatrix, T.dmatrix):
        m = kind("m")
        y = PASSES[name](m)
        weights = T.cos(T.arange(y.size)).reshape(y.shape, ndim=y.ndim)
        g = grad((y * weights).sum(), m)
        assert g.dtype == "float64"
        found.append(g.eval({m: a.astype(m.dtype)}))
    np.testing.assert_allclose(*found)
    assert np.any(found[0])


def test_arithmetic_of_integers_is_flat() -> None:
    i = T.lvector("i")
    for y in (i * 2, i + i, i // 2, i % 3, -i, i**2, abs(i), i.sum(), i.prod(), T.sqr(i)):
        assert not np.any(grad((y * 1.5).sum(), i).eval({i: [3, 1]}))


def test_a_warning_of_what_is_disconnected_points_at_the_call() -> None:
    other = T.dvector("other")
    for call in (
        lambda: T.grad(X.sum(), other, disconnected_inputs="warn"),
        lambda: T.Lop(X, other, X, disconnected_inputs="warn"),
        lambda: T.Rop(other, X, X, disconnected_outputs="warn"),
    ):
        with pytest.warns(UserWarning, match="not part of the computational graph") as caught:
            call()
        assert [w.filename for w in caught] == [__file__]
