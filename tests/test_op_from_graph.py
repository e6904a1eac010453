"""`OpFromGraph`: what it computes, its derivatives and overrides of these, nesting; `clone`."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import OpFromGraph, function, grad, shared
from symgraph import tensor as T
from symgraph.errors import DisconnectedInputError, MissingInputError, NullTypeGradError
from symgraph.gradient import DisconnectedType, NullType, disconnected_type
from symgraph.graph import toposort

INLINE = pytest.mark.parametrize("inline", [False, True])

X, Y, Z = T.dmatrices("x", "y", "z")
U, V, W = T.dvectors("u", "v", "w")
ONES = np.ones((2, 2))


def values(*wanted: Any, **given: Any) -> list[list[Any]]:
    """The values of expressions of U, V, W."""
    inputs = {"u": U, "v": V, "w": W}
    f = function([inputs[k] for k in given], list(wanted), on_unused_input="ignore")
    return [v.tolist() for v in f(*given.values())]


# ---- computing -----------------------------------------------------------------------------------


@INLINE
def test_it_is_an_op_like_any_other(inline: bool) -> None:
    op = OpFromGraph([X, Y, Z], [X + Y * Z], inline=inline)
    f = function([X, Y, Z], op(X, Y, Z) - op(Y, Z, X))
    for _ in range(2):
        assert f(ONES, ONES * 3, ONES * 5).tolist() == (ONES * 8).tolist()
    assert not [n for n in f.maker.fgraph.toposort() if isinstance(n.op, OpFromGraph)]
    assert len(f.kernels()) == 1  # it fuses with what is around
    op = OpFromGraph([X, Y], [T.dot(X, Y)], inline=inline)
    f = function([X, Y, Z], op(X, op(Y, Z)))
    found = f(np.ones((2, 3)), np.ones((3, 4)) * 3, np.ones((4, 5)) * 5)
    assert found.tolist() == np.full((2, 5), 180.0).tolist()


@INLINE
def test_shared_variables_go_along(inline: bool) -> None:
    s = shared(np.array([[0.5, 1], [2, 3]]), "s")
    op = OpFromGraph([X, Y, Z], [X + Y * Z + s], inline=inline)
    assert op.shared_inputs == [s] and op(X, Y, Z).owner.inputs == [X, Y, Z, s]
    f = function([X, Y, Z], op(X, Y, Z) - grad(op(X, Y, Z).sum(), Y))
    given = ONES, ONES * 3, ONES * 5
    np.testing.assert_allclose(f(*given), 11 + s.get_value())
    f = function([X, Y, Z], op(X, Y, Z) - grad(op(X, Y, Z).sum(), s))
    np.testing.assert_allclose(f(*given), 15 + s.get_value())
    f = function([], [], updates=[(s, OpFromGraph([X], [X * s])(s))])
    f()
    assert s.get_value().tolist() == [[0.25, 1], [4, 9]]
    op = OpFromGraph([X, s], [X * s])  # here it is an input
    assert not op.shared_inputs and function([X], op(X, X))(ONES * 3).tolist() == [[9, 9], [9, 9]]


@INLINE
def test_nested(inline: bool) -> None:
    there = OpFromGraph([U, V], [U + V, U - V], inline=inline)
    back = OpFromGraph([U, V], [U / 2, V / 2], inline=not inline)
    both = OpFromGraph([U, V], back(*there(*there(U, V))), inline=inline)
    assert values(*both(U, V), u=[1, 2], v=[3, 5]) == [[1, 2], [3, 5]]
    assert values(*grad((both(U, V)[0] * U).sum(), [U]), u=[1, 2], v=[3, 5]) == [[2, 4]]
    op = both
    for _ in range(50):
        op = OpFromGraph([U, V], op(U, V))
    assert values(op(U, V)[1], u=[1], v=[3]) == [[3]]


def test_sizes_and_the_oracle() -> None:
    op = OpFromGraph([U, V], [T.outer(U, V), U.sum(), T.concatenate([U, V])])
    node = op.make_node(U, V)
    first, second, third = op.evaluate(node, np.array([1.0, 2]), np.array([3.0]))
    assert first.tolist() == [[3], [6]] and second == 3 and third.tolist() == [1, 2, 3]
    f = function([U, V], [v.shape for v in node.outputs])
    assert [v.tolist() for v in f([1, 2], [3])] == [[2, 1], [], [3]]


def test_inputs_may_be_results_and_numbers() -> None:
    h = U * 2
    op = OpFromGraph([h, V], [h + V])
    assert values(op(U, [1.0, 1.0]), u=[1, 2]) == [[2, 3]]
    row = OpFromGraph([X], [X * 2])(T.drow("r"))
    assert row.type == X.type


def test_text_and_pickles() -> None:
    op = OpFromGraph([U], [U * 2], name="double")
    assert str(op) == "double{inline=False}"
    assert str(OpFromGraph([U], [U], inline=True)) == "OpFromGraph{inline=True}"
    assert op != OpFromGraph([U], [U * 2], name="double")
    twin = pickle.loads(pickle.dumps(op))
    assert values(twin(U), u=[4]) == [[8]]


def test_test_values() -> None:
    with symgraph.config.change_flags(compute_test_value="raise"):
        x, y = T.dvectors("x", "y")
        x.tag.test_value, y.tag.test_value = np.array([1.0, 2]), np.array([3.0, 4])
        op = OpFromGraph([x], [x**3, x.sum()])
        z = op(y)[0]
        assert grad(z.sum(), y).tag.test_value.tolist() == [27, 48]
        assert T.Rop(z, y, x).tag.test_value.tolist() == [27, 96]
        assert T.jacobian(z, y).tag.test_value.tolist() == [[27, 0], [0, 48]]


def test_refusals() -> None:
    for build, error, words in (
        (lambda: OpFromGraph([U], U), TypeError, "outputs must be a list"),
        (lambda: OpFromGraph([U], [3]), TypeError, "variables\n.*3 of int"),
        (lambda: OpFromGraph([U], [U], updates={}), TypeError, "not allowed"),
        (lambda: OpFromGraph([U], [U], name=3), TypeError, "string"),
        (lambda: OpFromGraph([U], [U + V]), MissingInputError, "need v"),
        (lambda: OpFromGraph([U], [U], connection_pattern=[[1], [1]]), ValueError, "1 rows"),
        (lambda: OpFromGraph([U], [U])(U, V), ValueError, "Expected 1 inputs, got 2"),
        (lambda: OpFromGraph([U], [U])(X), TypeError, r"TensorType\(float64, matrix\)"),
        (lambda: OpFromGraph([U], [U])("a"), TypeError, "'a'"),
    ):
        with pytest.raises(error, match=words):
            build()


# ---- gradients -----------------------------------------------------------------------------------


@INLINE
def test_gradients_and_their_gradients(inline: bool) -> None:
    op = OpFromGraph([X, Y, Z], [X + Y * Z], inline=inline)
    given = ONES, ONES * 3, ONES * 5
    f = op(X, Y, Z)
    f = f - grad(f.sum(), Y)
    assert function([X, Y, Z], f)(*given).tolist() == (ONES * 11).tolist()
    f = f - grad(f.sum(), Y)
    assert function([X, Y, Z], f)(*given).tolist() == (ONES * 6).tolist()
    cube = OpFromGraph([U, V], [T.tanh(U) * V, U**3], inline=inline)
    rng = np.random.RandomState(0)
    T.verify_grad(lambda u, v: cube(u, v)[0] * cube(v, u)[1], [*rng.rand(2, 3)], rng=rng)
    T.verify_grad(lambda u: grad(cube(u, u)[0].sum(), u), [rng.rand(3)], rng=rng)
    found = values(grad(cube(U, U)[1].sum(), U), u=[1, 2])  # one variable as two inputs
    assert found == [[3, 12]]


def test_one_result_twice_and_inputs_as_results() -> None:
    h = U * V
    a, b, c = OpFromGraph([U, V], [h, h, U])(U, V)
    assert values(*grad((a + 2 * b + 3 * c).sum(), [U, V]), u=[2], v=[5]) == [[18], [6]]
    assert values(grad(b.sum(), U), u=[2], v=[5]) == [[5]]


def test_what_does_not_reach_the_cost_is_not_computed() -> None:
    a, _ = OpFromGraph([U, V], [U * 2, T.log(V) * U])(U, V)
    assert values(grad(a.sum(), U), u=[1], v=[0]) == [[2]]  # and not 2 + 0 * log(0)
    with pytest.raises(DisconnectedInputError):
        grad(a.sum(), V)


def test_connection_pattern() -> None:
    op = OpFromGraph([X, Y, Z], [X * Y, Y * Z])
    assert op.connection_pattern(None) == [[True, False], [True, True], [False, True]]
    a, b = op(X, Y, Z)
    outer = OpFromGraph([X, Y, Z, T.dmatrix("q")], op(a, X, b))
    assert outer.connection_pattern(None) == [
        [True, True], [True, True], [False, True], [False, False],
    ]  # fmt: skip
    s = shared(np.ones(2))
    op = OpFromGraph([U, V], [U + s, V + 3, 3 + s])
    assert op.connection_pattern(None) == [
        [True, False, False], [False, True, False], [True, False, True],
    ]  # fmt: skip


# ---- overrides -----------------------------------------------------------------------------------


def scaled(inputs: Any, gradients: Any) -> Any:
    (u, v), (g,) = inputs, gradients
    return [g * v * 2, g * u * 1.5]


@INLINE
def test_grad_overrides(inline: bool) -> None:
    g = T.dvector("g")
    as_op = OpFromGraph([U, V, g], scaled([U, V], [g]))
    for overrides in (scaled, as_op):
        op = OpFromGraph([U, V], [U * V], inline=inline, grad_overrides=overrides)
        assert values(op(U, V), *grad(op(U, V).sum(), [U, V]), u=[2, 3], v=[4, 5]) == [
            [8, 15], [8, 10], [3, 4.5],
        ]  # fmt: skip
        second = grad(grad(op(U, V).sum(), U).sum(), V)  # of what the override says
        assert values(second, u=[2], v=[4]) == [[2]]


@INLINE
def test_a_list_of_overrides(inline: bool) -> None:
    def first(inputs: Any, gradients: Any) -> Any:
        return gradients[0] * inputs[1] * 2

    def second(inputs: Any, gradients: Any) -> Any:
        return gradients[0] * inputs[0] * 1.5

    linear = [U * V + W]
    op = OpFromGraph([U, V, W], linear, inline=inline, grad_overrides=[first, second, "default"])
    assert values(*grad(op(U, V, W).sum(), [U, V, W]), u=[2], v=[4], w=[6]) == [[8], [3], [1]]
    op = OpFromGraph([U, V, W], linear, grad_overrides=[first, None, None])
    assert values(*grad(op(U, V, W).sum(), [U, V, W]), u=[2], v=[4], w=[6]) == [[8], [2], [1]]
    special = [first, NullType()(), DisconnectedType()()]
    op = OpFromGraph([U, V, W], linear, inline=inline, grad_overrides=special)
    by_u, by_v, by_w = grad(
        op(U, V, W).sum(), [U, V, W], return_disconnected="Disconnected",
        disconnected_inputs="ignore", null_gradients="return",
    )  # fmt: skip
    assert by_u.type == U.type and isinstance(by_v.type, NullType)
    assert isinstance(by_w.type, DisconnectedType)
    with pytest.raises(NullTypeGradError):
        grad(op(U, V, W).sum(), V)
    with pytest.raises(DisconnectedInputError):
        grad(op(U, V, W).sum(), W)


def test_one_override_for_all() -> None:
    op = OpFromGraph([U, V], [U * V], grad_overrides=NullType()())
    with pytest.raises(NullTypeGradError):
        grad(op(U, V).sum(), U)
    op = OpFromGraph([U, V], [U * V], lop_overrides=DisconnectedType()())
    with pytest.raises(DisconnectedInputError):
        grad(op(U, V).sum(), V)


@INLINE
def test_lop_overrides_get_the_outputs(inline: bool) -> None:
    def lop(inputs: Any, outputs: Any, gradients: Any) -> Any:
        (y,), (g,) = outputs, gradients
        return [2.0 * y * (1.0 - y) * g]

    y, g = T.dvectors("y", "g")
    as_op = OpFromGraph([U, y, g], [2.0 * y * (1.0 - y) * g])
    expected = grad(T.nnet.sigmoid(U).sum(), U) * 2
    for overrides in (lop, as_op, [lambda *a: lop(*a)[0]]):
        op = OpFromGraph([U], [1 / (1 + T.exp(-U))], inline=inline, lop_overrides=overrides)
        f = function([U], [grad(op(U).sum(), U), expected])
        np.testing.assert_allclose(*f([-1, 0.5, 3]))


def test_a_pattern_for_gradients_of_ones_own() -> None:
    def back(inputs: Any, gradients: Any) -> Any:
        return [gradients[0], disconnected_type]

    op = OpFromGraph([U, V], [V + T.round(V)], grad_overrides=back,
                     connection_pattern=[[True], [False]], on_unused_input="ignore")  # fmt: skip
    assert values(grad(op(U, V).sum(), U), u=[1, 1], v=[2, 2]) == [[1, 1]]
    with pytest.raises(DisconnectedInputError):
        grad(op(U, V).sum(), V)


@INLINE
def test_rop(inline: bool) -> None:
    a, m = T.dvector("a"), T.dmatrix("m")
    op = OpFromGraph([a, m], [T.dot(a, m), T.tanh(a)], inline=inline)
    f = function([U, X, V], T.Rop(list(op(U * 2, X)), U, V))
    u, x, v = np.arange(2.0), np.arange(6.0).reshape(2, 3), np.array([3.0, 4])
    product, slope = f(u, x, v)
    np.testing.assert_allclose(product, 2 * v @ x)
    np.testing.assert_allclose(slope, 2 * v * (1 - np.tanh(2 * u) ** 2))


@INLINE
def test_rop_overrides(inline: bool) -> None:
    def along(inputs: Any, points: Any) -> Any:
        (u, v), (p, q) = inputs, points
        return [p * v * 2.0 + u * q * 1.5]

    p, q = T.dvectors("p", "q")
    as_op = OpFromGraph([U, V, p, q], along([U, V], [p, q]))
    for overrides in (along, as_op, [lambda *a: along(*a)[0]]):
        op = OpFromGraph([U, V], [U * V], inline=inline, rop_overrides=overrides)
        f = function([U, V, p, q], T.Rop(op(U, V), [U, V], [p, q]))
        assert f([2], [3], [5], [7]).tolist() == [5 * 3 * 2 + 2 * 7 * 1.5]
        assert values(T.Rop(op(U, V), V, W), u=[2], v=[3], w=[7]) == [[21]]
    op = OpFromGraph([U], [U * 2, U * 3], rop_overrides=["default", DisconnectedType()()])
    assert values(T.Rop(op(U)[0], U, V), u=[1], v=[3]) == [[6]]
    with pytest.raises(DisconnectedInputError):
        T.Rop(op(U)[1], U, V)
    with pytest.raises(NullTypeGradError):
        T.Rop(OpFromGraph([U], [U], rop_overrides=NullType()())(U), U, V)


def test_overrides_that_are_none() -> None:
    def one(inputs: Any, gradients: Any) -> Any:
        return [gradients[0]]

    for overrides, error, words in (
        ([one], ValueError, "Need to override 2 gradients, got 1"),
        (3, TypeError, "cannot be 3"),
        (U, ValueError, "cannot be u"),
        ([one, "none"], TypeError, "'none'"),
    ):
        with pytest.raises(error, match=words):
            OpFromGraph([U, V], [U * V], grad_overrides=overrides)
    with pytest.raises(ValueError, match="mutually exclusive"):
        OpFromGraph([U, V], [U * V], grad_overrides=one, lop_overrides=one)
    for wrong, error, words in (
        (one, ValueError, "2 variables"),
        (lambda *a: None, TypeError, "return a list"),
        (lambda *a: [1, 2], TypeError, "1 is no variable"),
    ):
        op = OpFromGraph([U, V], [U * V], grad_overrides=wrong)
        with pytest.raises(error, match=words):
            grad(op(U, V).sum(), U)


# ---- clone ---------------------------------------------------------------------------------------


def test_clone_is_a_copy() -> None:
    s = shared(np.ones(2), "s")
    y = T.exp(U * s)
    y.name = "y"
    twin = symgraph.clone(y)
    assert twin is not y and twin.type == y.type and twin.name == "y"
    assert not set(toposort([twin])) & set(toposort([y]))
    assert isinstance(symgraph.clone([y, U]), list) and symgraph.clone([y, U])[1] is U
    apart = symgraph.clone(y, share_inputs=False)
    inputs = [v for n in toposort([apart]) for v in n.inputs if v.owner is None]
    assert U not in inputs and s not in inputs
    copied = next(v for v in inputs if v.name == "s")
    s.set_value(np.array([2.0, 3]))
    assert copied.get_value().tolist() == [2, 3]


def test_clone_replaces() -> None:
    h = U * 2
    y = T.tanh(h) + U
    z = symgraph.clone(y, {h: U + 1})
    np.testing.assert_allclose(z.eval({U: [1, 2]}), [np.tanh(2) + 1, np.tanh(3) + 2])
    z = symgraph.clone(y, [(U, U * 3)])  # the new one may depend on the old one
    np.testing.assert_allclose(z.eval({U: [1, 2]}), [np.tanh(6) + 3, np.tanh(12) + 6])
    z = symgraph.clone([y, h], {U: np.array([1.0, 2])})
    np.testing.assert_allclose(function([], z[1])(), [2, 4])
    z = symgraph.clone(y, {U: V, V: U})
    assert z.eval({V: [0.0]}) == 0
    row = symgraph.clone(X + 1, {X: T.drow("r")})
    assert row.type == X.type


def test_clone_refuses() -> None:
    y = U * 2
    for replace, error, words in (
        (3, ValueError, "neither a dict nor pairs"),
        ([(U,)], ValueError, "neither a dict nor pairs"),
        ({"u": V}, TypeError, "'u'"),
        ({U: T.fvector()}, TypeError, "astype"),
        ({U: X}, TypeError, "strict=False"),
    ):
        with pytest.raises(error, match=words):
            symgraph.clone(y, replace)
    assert symgraph.clone(y, {U: T.fvector()}, strict=False).dtype == "float32"
    assert symgraph.clone(y, {U: X}, strict=False).ndim == 2
