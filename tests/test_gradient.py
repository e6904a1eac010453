"""`grad`: values, dtypes, ties, connections, options; `verify_grad`; deep graphs.

Rule numbers are those of the semantics page: 20 connections, 21 dtypes, 22 ties, 23 clip, pow,
mod, prod and switch, 24 int_div, 25 broadcasting, 26 subtensors, 27 options.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import function, grad, shared
from symgraph import gradient as G
from symgraph import tensor as T
from symgraph.errors import DisconnectedInputError, NullTypeGradError
from symgraph.graph import Op
from symgraph.types import DisconnectedType, NullType


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


def slope(build: Callable[..., Any], *values: Any, wrt: int = 0) -> Any:
    """The gradient of sum(build(...)) by argument `wrt` at `values`."""
    arrays = [np.asarray(v, "float64") for v in values]
    inputs = [T.TensorType("float64", (False,) * a.ndim)() for a in arrays]
    g = grad(build(*inputs).sum(), inputs[wrt])
    return function(inputs, g, on_unused_input="ignore")(*arrays).tolist()


# ---- connections (rule 20) -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda x, y: y,
        lambda x, y: x.shape[0] * y,
        lambda x, y: T.zeros_like(x).sum() * y,
        lambda x, y: T.fill(x, y),
        lambda x, y: G.disconnected_grad(x).sum() * y,
        lambda x, y: T.arange(10.0)[T.cast(x, "int64")] * y,
    ],
)
def test_disconnected(build: Callable[..., Any]) -> None:
    x, y = T.dvector("x"), T.dscalar("y")
    cost = build(x, y).sum()
    with pytest.raises(DisconnectedInputError, match="not part of the computational graph") as e:
        grad(cost, x)
    assert isinstance(e.value, ValueError)
    zeros = grad(cost, x, disconnected_inputs="ignore")
    assert zeros.eval({x: [1, 2]}).tolist() == [0, 0]
    with pytest.warns(UserWarning, match="not part of"):
        grad(cost, x, disconnected_inputs="warn")
    nothing = grad(cost, [x, y], disconnected_inputs="ignore", return_disconnected="None")
    assert nothing[0] is None and nothing[1] is not None
    typed = grad(cost, x, disconnected_inputs="ignore", return_disconnected="Disconnected")
    assert isinstance(typed.type, DisconnectedType)
    for name in ("disconnected_inputs", "return_disconnected", "null_gradients"):
        with pytest.raises(ValueError, match=name):
            grad(cost, y, **{name: "perhaps"})


@pytest.mark.parametrize(
    "function_of",
    [
        T.floor, T.ceil, T.round, T.sgn, T.trunc, lambda x: x > 1, lambda x: T.eq(x, 2), T.isnan,
        lambda x: T.argmax(x), lambda x: T.cast(x, "int32"), lambda x: x // 2,
        lambda x: T.cast(x, "int32") * 3, G.zero_grad, G.consider_constant,
    ],
)  # fmt: skip
def test_zeros_are_not_disconnected(function_of: Callable[[Any], Any]) -> None:
    assert slope(lambda x: function_of(x) * 2.0, [1.5, 2.5]) == [0, 0]


# ---- dtypes (rule 21) ----------------------------------------------------------------------------


def test_gradients_are_floating() -> None:
    i, x, f = T.ivector("i"), T.dvector("x"), T.fvector("f")
    g = grad((i * 2.5).sum(), i)
    assert g.dtype == "float64" and g.eval({i: [1, 2]}).tolist() == [2.5, 2.5]
    g = grad((T.cast(i, "float64") ** 2).sum(), i)
    assert g.dtype == "float64" and g.eval({i: [1, 2]}).tolist() == [2, 4]
    by_float, by_double = grad((f * x).sum(), [f, x])
    assert (by_float.dtype, by_double.dtype) == ("float32", "float64")
    g = grad(T.cast(x, "int64").sum(), x)
    assert g.dtype == "float64" and g.eval({x: [1, 2]}).tolist() == [0, 0]
    y = f * 2
    middle = grad((y + T.lscalar("z")).sum(), [f, y])
    assert [v.dtype for v in middle] == ["float32", "float32"]
    with symgraph.config.change_flags(floatX="float32"):
        g = grad((i * T.cast(i, "int64")).sum(), i)
        assert g.dtype == "float32" and g.eval({i: [3]}).tolist() == [0]


def test_output_gradients_have_the_outputs_dtype() -> None:
    f = T.fscalar("f")
    seen: list[str] = []

    class Watch(Op):
        def output_types(self, x: Any) -> Any:
            return [x.type]

        def grad(self, inputs: Any, output_gradients: Any) -> Any:
            seen.append(output_gradients[0].dtype)
            return [output_gradients[0]]

    assert grad(Watch()(f) * T.dscalar(), f).dtype == "float32" and seen == ["float32"]


# ---- values at ties and kinks (rules 22 to 24) ---------------------------------------------------

KINKS: list[tuple[str, Callable[..., Any], list[Any], list[Any]]] = [
    ("max", lambda x: T.max(x), [[1, 3, 3]], [[0, 1, 1]]),
    ("min", lambda x: T.min(x), [[1, 1, 3]], [[1, 1, 0]]),
    ("max of axis", lambda x: T.max(x, axis=1), [[[2, 2], [1, 0]]], [[[1, 1], [1, 0]]]),
    ("maximum", T.maximum, [[1, 2, 3], [3, 2, 1]], [[0, 1, 1], [1, 0, 0]]),
    ("minimum", T.minimum, [[1, 2, 3], [3, 2, 1]], [[1, 1, 0], [0, 0, 1]]),
    ("maximum(x, 0)", lambda x: T.maximum(x, 0.0), [[0.0]], [[1]]),
    ("maximum(0, x)", lambda x: T.maximum(0.0, x), [[0.0]], [[0]]),
    ("relu", T.nnet.relu, [[-1, 0.0, 1]], [[0, 0.5, 1]]),
    ("switch", lambda x: T.switch(x > 0, x, 0), [[-1, 0.0, 1]], [[0, 0, 1]]),
    ("abs", abs, [[-2, 0.0, 2]], [[-1, 0, 1]]),
    ("clip", lambda x: T.clip(x, -1, 1), [[-2, -1, 0, 1, 2]], [[0, 1, 1, 1, 0]]),
    ("clip bounds", T.clip, [[-2.0, 0, 2], [-1.0] * 3, [1.0] * 3],
     [[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
    ("pow", lambda x, y: x**y, [[2.0, 0.0], [3.0, 2.0]], [[12, 0], [8 * np.log(2), 0]]),
    ("mod", lambda x, y: x % y, [[7.0], [3.0]], [[1], [-2]]),
    ("int_div", lambda x, y: x // y, [[7.0], [3.0]], [[0], [0]]),
    ("prod", T.prod, [[2, 3, 4.0]], [[12, 8, 6]]),
    ("prod with a zero", T.prod, [[2, 0, 4.0]], [[0, 8, 0]]),
    ("prod with two zeros", T.prod, [[0, 0, 4.0]], [[0, 0, 0]]),
    ("sum of broadcast", lambda x, y: x.dimshuffle(0, "x") * y, [[1, 2], [[3, 4], [5, 6]]],
     [[7, 11], [[1, 1], [2, 2]]]),
]  # fmt: skip


@pytest.mark.parametrize("case", KINKS, ids=lambda c: c[0])
def test_values_at_kinks(case: Any) -> None:
    _, build, values, expected = case
    for wrt, wanted in enumerate(expected):
        np.testing.assert_allclose(slope(build, *values, wrt=wrt), wanted)


def test_zero_to_the_zero() -> None:
    assert np.isnan(slope(lambda x, y: x**y, [0.0], [0.0])).all()
    assert slope(lambda x, y: x**y, [0.0], [0.0], wrt=1) == [0]


def test_the_second_derivative_of_prod_is_refused() -> None:
    x = T.dvector("x")
    g = grad(T.prod(x), x)
    with pytest.raises(NullTypeGradError):
        grad(g.sum(), x)


def test_broadcast_axes_are_summed() -> None:
    row, col, m = T.drow("r"), T.dcol("c"), T.dmatrix("m")
    g = grad((row * m + col).sum(), [row, col, m])
    assert [v.type for v in g] == [row.type, col.type, m.type]
    found = function([row, col, m], g, on_unused_input="ignore")(
        [[1, 2, 3]], [[1], [2]], np.ones((2, 3))
    )
    assert [v.tolist() for v in found] == [[[2, 2, 2]], [[3], [3]], [[1, 2, 3], [1, 2, 3]]]


# ---- subtensors (rule 26) ------------------------------------------------------------------------


def test_gradients_of_indexing_and_of_writing() -> None:
    index = np.array([0, 2, 2])
    assert slope(lambda x: x[index] * [1.0, 2.0, 3.0], [1, 2, 3, 4]) == [1, 0, 5, 0]
    assert slope(lambda x: x[::-2] * 2, [1, 2, 3, 4]) == [0, 2, 0, 2]
    weights = np.array([1.0, 2, 3, 4])
    for write, by_x in ((T.set_subtensor, [1, 0, 0, 4]), (T.inc_subtensor, [1, 2, 3, 4])):

        def build(x: Any, y: Any, write: Any = write) -> Any:
            return write(x[1:3], y) * weights

        assert slope(build, [1, 2, 3, 4], [5, 6]) == by_x
        assert slope(build, [1, 2, 3, 4], [5, 6], wrt=1) == [2, 3]
        assert slope(build, [1, 2, 3, 4], 5, wrt=1) == 5
    x, i = T.dvector("x"), T.lscalar("i")
    with pytest.raises(DisconnectedInputError):
        grad(x[i], i)


# ---- options (rule 27) ---------------------------------------------------------------------------


def test_forms_of_wrt_and_names() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    cost = x * y
    assert isinstance(grad(cost, [x, y]), list) and isinstance(grad(cost, (x, y)), tuple)
    assert grad(cost, []) == []
    assert grad(cost, x).name is None
    cost.name = "cost"
    assert [g.name for g in grad(cost, [x, y])] == ["(dcost/dx)", "(dcost/dy)"]
    assert grad(cost, x, add_names=False).name is None
    with pytest.raises(TypeError, match="set"):
        grad(cost, {x, y})
    with pytest.raises(TypeError, match="variables"):
        grad(cost, 3.0)
    with pytest.raises(TypeError, match="cost must be a scalar"):
        grad(T.dvector(), x)
    with pytest.raises(ValueError, match="nothing to differentiate"):
        grad(None, x)
    assert grad(x, x).eval({x: 2}) == 1


def test_consider_constant() -> None:
    x = T.dscalar("x")
    y = x * 2
    assert grad(x * y, x).eval({x: 3}) == 12
    assert grad(x * y, x, consider_constant=[y]).eval({x: 3}) == 6
    assert grad(x * G.consider_constant(y), x).eval({x: 3}) == 6
    with pytest.raises(DisconnectedInputError):
        grad(y * 3, x, consider_constant=[y])
    assert grad(y * 3, x, consider_constant=[y], disconnected_inputs="ignore").eval({x: 1}) == 0


def test_gradients_by_intermediate_results() -> None:
    x = T.dvector("x")
    h = T.tanh(x)
    cost = (h**3).sum()
    by_h, by_x = grad(cost, [h, x])
    a = np.array([0.1, 0.5])
    np.testing.assert_allclose(by_h.eval({x: a}), 3 * np.tanh(a) ** 2)
    np.testing.assert_allclose(by_x.eval({x: a}), 3 * np.tanh(a) ** 2 * (1 - np.tanh(a) ** 2))
    again = x + 1
    assert grad((x + 1).sum() + again.sum(), again).eval({x: a}).tolist() == [1, 1]


def test_known_grads() -> None:
    x, g = T.dvector("x"), T.dvector("g")
    y, z = x * 2, x**2
    found = grad(None, x, known_grads={y: g})
    assert function([g, x], found, on_unused_input="ignore")([1, 10], [0, 0]).tolist() == [2, 20]
    both = grad(None, x, known_grads=OrderedDict([(y, g), (z, g)]))
    assert function([g, x], both)([1, 10], [3, 4]).tolist() == [8, 100]
    with_cost = grad(y.sum() * 3, x, known_grads={z: g})
    assert function([g, x], with_cost)([1, 10], [3, 4]).tolist() == [12, 86]
    with pytest.raises(TypeError, match="known_grads"):
        grad(None, x, known_grads={y: T.dscalar()})
    # a chain of graphs: the gradient of the second is what starts the first
    middle = T.dvector()
    outer = grad((middle**2).sum(), middle)
    inner = grad(None, x, known_grads={y: outer})
    f = function([x], inner, givens={middle: y})
    assert f([1, 2]).tolist() == [8, 16]


def test_null_gradients() -> None:
    class Rough(Op):
        def output_types(self, x: Any, y: Any) -> Any:
            return [x.type]

        def grad(self, inputs: Any, output_gradients: Any) -> Any:
            return [output_gradients[0], G.grad_not_implemented(self, 1, inputs[1], "Not yet.")]

    x, y = T.dvectors("xy")
    cost = Rough()(x, y * 2).sum()
    assert grad(cost, x).type == x.type
    with pytest.raises(NullTypeGradError, match=r"not implemented\. Not yet\."):
        grad(cost, y)
    found = grad(cost, [x, y], null_gradients="return")
    assert found[0].type == x.type and isinstance(found[1].type, NullType)

    class Without(Op):
        def output_types(self, x: Any) -> Any:
            return [x.type]

    with pytest.raises(NullTypeGradError, match="no gradient"):
        grad(Without()(x).sum(), x)


def test_an_op_must_return_one_term_for_each_input() -> None:
    class Short(Op):
        def output_types(self, x: Any, y: Any) -> Any:
            return [x.type]

        def grad(self, inputs: Any, output_gradients: Any) -> Any:
            return [output_gradients[0]]

    x, y = T.dvectors("xy")
    with pytest.raises(TypeError, match="one term for each input"):
        grad(Short()(x, y).sum(), x)


def test_gradients_of_gradients() -> None:
    x, v = T.dvector("x"), T.dvector("v")
    cost = (T.exp(x) * T.sin(x) ** 2).sum() + (x**4).sum()
    first = grad(cost, x)
    second = grad(first.sum(), x)
    third = grad(second.sum(), x)
    hessian_vector = grad((first * v).sum(), x)
    a = np.array([0.3, -1.2, 2.0])
    e, s, c = np.exp(a), np.sin(2 * a), np.cos(2 * a)
    q = np.sin(a) ** 2
    expected = [
        e * (q + s) + 4 * a**3,
        e * (q + 2 * s + 2 * c) + 12 * a**2,
        e * (q + 3 * s + 6 * c - 4 * s) + 24 * a,
    ]
    for found, wanted in zip(function([x], [first, second, third])(a), expected, strict=True):
        np.testing.assert_allclose(found, wanted)
    np.testing.assert_allclose(function([x, v], hessian_vector)(a, a), expected[1] * a)


def test_gradients_that_are_changed_on_the_way() -> None:
    assert slope(lambda x: G.grad_clip(x, -1, 1) * [0.5, 2, -3], [1, 1, 1]) == [0.5, 1, -1]
    assert slope(lambda x: G.grad_scale(x, 3) ** 2, [1, 2]) == [6, 12]
    assert slope(lambda x: G.disconnected_grad(x) * x, [5, 6]) == [5, 6]
    assert slope(lambda x: G.zero_grad(x) * x, [5, 6]) == [5, 6]
    x = T.fmatrix("x")
    for op in (G.zero_grad, G.disconnected_grad, G.consider_constant):
        assert op(x).type == x.type and op(x).eval({x: [[1, 2]]}).tolist() == [[1, 2]]
    f = function([x], T.log(G.grad_clip(T.nnet.sigmoid(x), -1, 1)))
    assert np.isfinite(f([[-800]])).all()  # stable forms are found behind them
    assert "grad_clip" not in str(f.maker.fgraph.toposort())
    with pytest.raises(ValueError, match="crossed"):
        G.grad_clip(x, 1, -1)


def test_products_with_jacobians() -> None:
    rng = np.random.RandomState(3)
    x, w, v, u = T.dvector("x"), T.dmatrix("w"), T.dvector("v"), T.dvector("u")
    y, z = T.tanh(T.dot(x, w)) * x[0], T.exp(x).sum()
    a, b, c, d = rng.rand(3), rng.rand(3, 2), rng.rand(3), rng.rand(2)
    jacobian = np.array([grad(y[k], x).eval({x: a, w: b}) for k in range(2)])
    right = T.Rop([y, z], x, v)
    assert isinstance(right, list) and right[0].type == y.type
    found = function([x, w, v], right)(a, b, c)
    np.testing.assert_allclose(found[0], jacobian @ c)
    np.testing.assert_allclose(found[1], np.exp(a) @ c)
    left = function([x, w, u], T.Lop(y, [x, w], u))(a, b, d)
    np.testing.assert_allclose(left[0], d @ jacobian)
    both = function([x, w, v], T.Rop(y, [x, w], [v, w * 2]))(a, b, c)
    step = 1e-6
    values = function([x, w], y)
    ahead, behind = values(a + step * c, b + step * 2 * b), values(a - step * c, b - step * 2 * b)
    np.testing.assert_allclose(both, (ahead - behind) / (2 * step), rtol=1e-6)
    with pytest.raises(ValueError, match="eval_points"):
        T.Rop(y, x, w)
    with pytest.raises(DisconnectedInputError):
        T.Rop(w, u, u)


# ---- finite differences --------------------------------------------------------------------------


def test_verify_grad_accepts_and_refuses() -> None:
    rng = np.random.RandomState(0)
    for fun, shapes in (
        (lambda x, y: T.dot(T.tanh(x), y), [(3, 4), (4, 2)]),
        (lambda x: T.nnet.softmax(x), [(2, 3)]),
        (lambda x: x.sum(), [()]),
        (lambda x: x * 2, [(0, 3)]),
        (lambda x, b: x + b.dimshuffle("x", 0), [(2, 3), (3,)]),
    ):
        T.verify_grad(fun, [rng.rand(*s) for s in shapes], rng=rng)
    T.verify_grad(T.exp, [rng.rand(3).astype("float32")], rng=np.random.default_rng(0))
    T.verify_grad(T.exp, [rng.rand(3).astype("float16")], rng=rng, n_tests=1)
    with pytest.raises(G.GradientError, match="flat position") as error:
        G.verify_grad(lambda x: G.grad_scale(x, 1.01), [rng.rand(3)], rng=rng)
    assert isinstance(error.value, G.verify_grad.E_grad)
    G.verify_grad(lambda x: G.grad_scale(x, 1.01), [rng.rand(3)], rng=rng, rel_tol=0.02)
    with pytest.raises(TypeError, match="rng"):
        G.verify_grad(T.exp, [rng.rand(3)])
    with pytest.raises(TypeError, match="floats"):
        G.verify_grad(T.exp, [np.arange(3)], rng=rng)
    with pytest.raises(ValueError, match="several outputs"):
        G.verify_grad(lambda x: [x, x], [rng.rand(3)], rng=rng)


def test_numeric_grad() -> None:
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = G.numeric_grad(lambda x: (x**3).sum(), a)
    np.testing.assert_allclose(found.gf, 3 * a**2, rtol=1e-7)
    both = G.numeric_grad(lambda x, y: (x * y).sum(), [a, a + 1])
    np.testing.assert_allclose(both.gf[0], a + 1)
    assert both.max_err([a + 1, a], 1e-4, 1e-4)[2] < 1e-6
    number, at, absolute, relative = both.max_err([a + 1, a + np.diag([0, 1])], 1e-4, 1e-4)
    assert (number, at) == (1, 3) and abs(absolute - 1) < 1e-5 and abs(relative - 1 / 9) < 1e-5
    assert both.max_err([a + 1, a * np.nan], 1, 1)[0] == 1
    np.testing.assert_array_equal(a, [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="shape"):
        both.max_err([a, a[0]], 1, 1)


# ---- deep graphs ---------------------------------------------------------------------------------


def test_a_chain_of_fifty_thousand_nodes() -> None:
    """Built, differentiated, printed and compiled; nothing recurses. 10 s in all on one core."""
    depth = 25_000
    x, w = T.dscalar("x"), shared(1.0001, "w")
    h: Any = x
    for _ in range(depth):
        h = T.tanh(h) * w
    gradients = grad(h, [x, w])
    assert [g.type for g in gradients] == [x.type, w.type]
    text = symgraph.pp(h)
    assert text.count("tanh") == depth
    assert symgraph.printing.debugprint(h, file="str").count("tanh") == depth
    with symgraph.config.change_flags(target="cpu"):
        f = function([x], h)
    value = 0.5
    for _ in range(depth):
        value = np.tanh(value) * 1.0001
    np.testing.assert_allclose(f(0.5), value)


def test_no_warnings_escape() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert slope(lambda x: T.log(x) / x, [0.0]) is not None
