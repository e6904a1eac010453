"""`ifelse`: only the chosen branch is computed, wherever it stands; checks; gradients.

Work is counted: by an op that counts its calls, and by the nodes that a branch holds.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.loops
from symgraph import function, grad, shared
from symgraph import tensor as T
from symgraph.compile.pipeline import Options
from symgraph.compile.rules.lazy import make_lazy
from symgraph.errors import AsTensorError, DisconnectedInputError, ShapeError
from symgraph.graph import toposort
from symgraph.ifelse import IfElse, ifelse
from symgraph.ops.choice import Choice
from symgraph.rewrite import verify
from tests.oracle import evaluate

CALLS: Counter[str] = Counter()


class Counted(symgraph.Op):
    """Its input; counts how often it is computed."""

    __props__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def make_node(self, x: Any) -> symgraph.Apply:
        return symgraph.Apply(self, [x], [x.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        CALLS[self.name] += 1
        output_storage[0][0] = inputs[0].copy()

    def infer_shape(self, node: Any, input_shapes: Any) -> Any:
        return input_shapes

    def grad(self, inputs: Any, output_gradients: Any) -> Any:
        return output_gradients


def counted(f: Any, *values: Any) -> tuple[Any, dict[str, int]]:
    CALLS.clear()
    return f(*values), dict(CALLS)


def choices(f: Any) -> list[Any]:
    return [n for n in f.maker.fgraph.toposort() if isinstance(n.op, Choice)]


C, D = T.dscalar("c"), T.dscalar("d")
X, Y = T.dvectors("x", "y")


# ---- laziness ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["FAST_RUN", "FAST_COMPILE", Options("python"), Options("cpu", "none")]
)
def test_only_the_chosen_branch_is_computed(mode: Any) -> None:
    z = ifelse(C > 1, Counted("then")(X * 2) + 1, Counted("else")(Y))
    f = function([C, X, Y], z, mode=mode)
    value, calls = counted(f, 2, [1, 2], [3, 4])
    assert value.tolist() == [3, 5] and calls == {"then": 1}
    value, calls = counted(f, 0, [1, 2], [3, 4, 5])
    assert value.tolist() == [3, 4, 5] and calls == {"else": 1}


def test_what_both_branches_or_others_need_is_computed_once_before() -> None:
    both, also = Counted("both")(X), Counted("also")(X + 1)
    z = ifelse(C, both + Counted("then")(X), both * also)
    f = function([C, X], [z, also])
    assert counted(f, 1, [1.0])[1] == {"both": 1, "also": 1, "then": 1}
    (z_value, also_value), calls = counted(f, 0, [1.0])
    assert calls == {"both": 1, "also": 1} and (z_value, also_value) == (2, 2)


def test_the_condition_is_no_branch() -> None:
    s = Counted("condition")(X).sum()
    f = function([X], ifelse(s > 1, s * 2, -Counted("else")(X).sum()))
    assert counted(f, [2.0]) == (4, {"condition": 1})
    assert counted(f, [0.5]) == (-0.5, {"condition": 1, "else": 1})


def test_branches_nest() -> None:
    inner = ifelse(D, Counted("a")(X), Counted("b")(X))
    f = function([C, D, X], ifelse(C, inner * 2, Counted("c")(X)))
    (outside,) = choices(f)
    assert [len(choices_of(g)) for g in outside.op.inner_graphs] == [1, 0]
    for c, d, name, factor in ((1, 1, "a", 2), (1, 0, "b", 2), (0, 1, "c", 1), (0, 0, "c", 1)):
        assert counted(f, c, d, [3.0]) == ([3.0 * factor], {name: 1})


def choices_of(graph: Any) -> list[Any]:
    return [n for n in graph.nodes if isinstance(n.op, Choice)]


def test_a_branch_of_a_branch_of_a_branch() -> None:
    """A chain of ifelses, each in the else branch of the one before: one leaf is computed.

    A longer one is cut (lazy.DEEPEST) and still right.
    """

    def chain(depth: int) -> Any:
        k = T.lscalar("k")
        z: Any = Counted("last")(X)
        for n in reversed(range(depth)):
            z = ifelse(T.eq(k, n), Counted(str(n))(X) + n, z)
        return function([k, X], z, mode=Options("python"))

    f = chain(30)
    assert counted(f, 21, [1.0]) == ([22.0], {"21": 1})
    assert counted(f, 30, [1.0]) == ([1.0], {"last": 1})
    f = chain(50)
    assert [f(k, [1.0]) for k in (3, 39, 40, 41, 49, 50)] == [4, 40, 41, 42, 50, 1]
    assert counted(f, 3, [1.0])[1] == {"3": 1}


def test_ifelses_of_one_condition_are_one_choice() -> None:
    h = Counted("h")(X)  # what several ifelses need in their then branches only
    first, second = ifelse(C, h + 1, X), ifelse(C, h * 2, -X)
    f = function([C, X], [first, second])
    assert len(choices(f)) == 1
    assert counted(f, 0, [3.0]) == ([3.0, -3.0], {})
    assert counted(f, 1, [3.0]) == ([4.0, 6.0], {"h": 1})
    behind = ifelse(C, first * Counted("k")(first), first)  # this one needs the other
    f = function([C, X], [first, second, behind])
    assert len(choices(f)) == 2
    assert counted(f, 1, [3.0]) == ([4.0, 6.0, 16.0], {"h": 1, "k": 1})


def test_outputs_that_nobody_uses_are_not_computed() -> None:
    a, _ = ifelse(C, [Counted("a")(X), Counted("b")(X)], [X, Counted("d")(X)])
    f = function([C, X], a)
    assert counted(f, 1, [1.0])[1] == {"a": 1}
    assert counted(f, 0, [1.0])[1] == {}


def python_steps(f: Any) -> list[Any]:
    return [s for s in f._compiled.plan.steps if type(s).__name__ == "PythonStep"]


def test_branches_of_native_work_run_without_the_interpreter() -> None:
    f = function([C, X], ifelse(X.sum() > C, T.tanh(X * 2) + 1, X**3))
    # one walk of the driver: sizes do not depend on the condition
    assert not python_steps(f) and len(f._compiled.plan.segments) == 1
    np.testing.assert_allclose(f(2, [1, 2]), np.tanh([2, 4]) + 1)
    assert f(4, [1, 2]).tolist() == [1, 8]
    f = function([C, X, Y], ifelse(C > 1, T.tanh(X * 2) + 1, Y[:1] * 2))
    assert not python_steps(f)
    np.testing.assert_allclose(f(2, [1, 2], [3]), np.tanh([2, 4]) + 1)
    assert f(0, [1, 2], [3, 4]).tolist() == [6]


def test_errors_of_the_other_branch_do_not_happen() -> None:
    f = function([C, X, Y], ifelse(C, X + Y, X[:1]))
    assert f(0, [1, 2], [1, 2, 3]).tolist() == [1]
    with pytest.raises((ShapeError, ValueError), match=r"mis-match|sizes|shape"):
        f(1, [1, 2], [1, 2, 3])
    i = T.lscalar("i")
    f = function([C, X, i], ifelse(C, X[i], X.sum()))
    assert f(0, [1, 2], 7) == 3 and f(1, [1, 2], 1) == 2
    with pytest.raises(IndexError, match="index 7"):
        f(1, [1, 2], 7)
    assert f(1, [1, 2], 0) == 1
    i, w = T.lvector("i"), shared(1.0, "w")
    f = function([C, X, i], ifelse(C, X[i] * 2, X + i), updates=[(w, w + 1)])
    assert f(0, [1, 2], [7, 7]).tolist() == [8, 9] and w.get_value() == 2
    with pytest.raises(IndexError, match="index 7"):
        f(1, [1, 2], [0, 7])
    assert w.get_value() == 2 and f(1, [1, 2], [1, 0]).tolist() == [4, 2]


def test_inside_scan_and_around_it() -> None:
    h0 = T.dscalar("h0")

    def step(v: Any, h: Any) -> Any:
        return ifelse(v > 0, h * v, h + 1)

    out, _ = symgraph.loops.scan(step, sequences=[X], outputs_info=[h0])
    f = function([X, h0], [out, *grad(out[-1], [X, h0])])
    assert not python_steps(f)
    found = [v.tolist() for v in f([1, -1, 2, -3, 4], 1)]
    assert found == [[1, 2, 4, 5, 20], [8, 0, 8, 0, 5], 8]

    def lazy(v: Any, h: Any) -> Any:
        return ifelse(v > 0, Counted("inside")(h * v), h + 1)

    out, _ = symgraph.loops.scan(lazy, sequences=[X], outputs_info=[h0])
    assert counted(function([X, h0], out[-1]), [1, -1, 2, -3, 4], 1) == (20, {"inside": 3})
    out, _ = symgraph.loops.scan(lambda v, h: h + v, sequences=[X], outputs_info=[h0])
    f = function([C, X, h0], ifelse(C, out[-1], -X.sum()))
    (choice,) = choices(f)
    assert [any("for{" in str(n.op) for n in g.nodes) for g in choice.op.inner_graphs] == [
        True, False,
    ]  # fmt: skip
    assert (f(1, [1, 2, 3], 1), f(0, [1, 2, 3], 1)) == (7, -6)


def test_updates_and_shared_variables() -> None:
    w = shared(np.zeros(2), "w")
    f = function([C, X], w.sum(), updates=[(w, ifelse(C, w + X, w))])
    assert [float(f(c, [1, 2])) for c in (1, 0, 1, 0)] == [0, 3, 3, 6]
    assert w.get_value().tolist() == [2, 4]


# ---- values --------------------------------------------------------------------------------------


def test_forms() -> None:
    assert isinstance(ifelse(C, [X], X), list)
    assert isinstance(ifelse(C, (X, Y), [Y, X]), tuple)
    assert ifelse(C, [], []) == []
    assert ifelse(C, X, np.zeros(3)).type == X.type
    f = function([C, X], [*ifelse(C, (X, 1.5), (2 * X, 2.5)), ifelse(C, X, np.zeros(3))])
    assert [v.tolist() for v in f(1, [4])] == [[4], 1.5, [4]]
    assert [v.tolist() for v in f(0, [4])] == [[8], 2.5, [0, 0, 0]]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float32", "float64"])
def test_conditions_of_any_dtype(dtype: str) -> None:
    c = T.scalar("c", dtype=dtype)
    f = function([c, X], ifelse(c, X, -X))
    assert f(np.array(1, dtype), [2]) == 2 and f(np.array(0, dtype), [2]) == -2
    if dtype.startswith("float"):
        assert f(np.array(np.nan, dtype), [2]) == 2  # as in Python
    assert function([X], ifelse(1, X, -X))([2]) == 2


def test_names_and_text() -> None:
    z = ifelse(C, X, Y, name="gate")
    assert str(z.owner.op) == "if{gate}" and str(ifelse(C, X, Y).owner.op) == "if{}"
    assert symgraph.pp(ifelse(T.eq(C, 0), X, Y)) == "if{}(eq(c, TensorConstant{0}), x, y)"
    assert IfElse(1) == IfElse(1, "other") != IfElse(2)


def test_sizes_of_what_follows() -> None:
    z = ifelse(C, X[:2], Y)
    f = function([C, X, Y], [z.shape[0], z.sum(), z + 1, T.concatenate([z, z])])
    assert [v.tolist() for v in f(1, [1, 2, 3], [9])] == [2, 3, [2, 3], [1, 2, 1, 2]]
    assert [v.tolist() for v in f(0, [1, 2, 3], [9])] == [1, 9, [10], [9, 9]]


def test_results_are_the_callers() -> None:
    f = function([C, X, Y], ifelse(C, X, Y))
    x, y = np.array([1.0]), np.array([2.0])
    value = f(1, x, y)
    value[:] = 7
    assert x == 1 and not np.shares_memory(value, x)


# ---- refusals ------------------------------------------------------------------------------------


def test_refusals() -> None:
    for build, error, words in (
        (lambda: ifelse(C, X, T.fvector()), TypeError, "identical types"),
        (lambda: ifelse(C, X, T.dmatrix()), TypeError, "identical types"),
        (lambda: ifelse(C, X, T.zeros((1,))), TypeError, "unbroadcast"),
        (lambda: ifelse(C, [X, X], [X]), ValueError, "variables on `then` 2"),
        (lambda: ifelse(X, X, Y), TypeError, "has to be a scalar"),
        (lambda: ifelse(True, X, Y), AsTensorError, "True"),
        (lambda: IfElse(2)(C, X, Y), TypeError, "takes 4 values"),
    ):
        with pytest.raises(error, match=words):
            build()


# ---- gradients -----------------------------------------------------------------------------------


def test_gradients() -> None:
    w = shared(np.arange(3.0), "w")
    z = ifelse(C, (w * X).sum(), (w**2).sum() * 3)
    g = grad(z, [w, X, C])
    f = function([C, X], g)
    assert [v.tolist() for v in f(1, [1, 2, 3])] == [[1, 2, 3], [0, 1, 2], 0]
    assert [v.tolist() for v in f(0, [1, 2, 3])] == [[0, 6, 12], [0, 0, 0], 0]
    with pytest.raises(DisconnectedInputError):
        grad(ifelse(C, [X, Y], [X, Y])[0].sum(), Y)  # only what goes with it is connected


def test_gradients_of_gradients_and_along() -> None:
    z = ifelse(C, (X**3).sum(), (X**2).sum())
    g = grad(grad(z, X).sum(), X)
    along = T.Rop(ifelse(C, X**3, Y**2), [X], [Y])
    f = function([C, X, Y], [g, along])
    assert [v.tolist() for v in f(1, [1, 2], [1, 1])] == [[6, 12], [3, 12]]
    assert [v.tolist() for v in f(0, [1, 2], [1, 1])] == [[2, 2], [0, 0]]


def test_gradients_by_float32_and_integers() -> None:
    x, i = T.fvector("x"), T.ivector("i")
    g = grad(ifelse(C, x * 2, x).sum() + ifelse(C, i, i + 1).sum() * 0.5, [x, i])
    assert [v.dtype for v in g] == ["float32", "float64"]


def test_the_graph_stays_as_it_was() -> None:
    z = ifelse(C, X * 2, Y)
    before = list(toposort([z]))
    function([C, X, Y], z)
    assert toposort([z]) == before and isinstance(z.owner.op, IfElse)


def test_the_pass_makes_a_sound_graph() -> None:
    a, b = ifelse(C, [X * 2, X + Y], [Y, ifelse(D, X, Y)])
    outputs = [a + b, ifelse(C, a, b), a]
    made = make_lazy(outputs)
    verify(made, {C, D, X, Y})
    assert [v.type for v in made] == [v.type for v in outputs]
    assert not [n for n in toposort(made) if isinstance(n.op, IfElse)]
    values = {C: 1.0, D: 0.0, X: np.array([1.0, 2]), Y: np.array([3.0, 4])}
    for given in (values, {**values, C: 0.0}, {**values, C: 0.0, D: 1.0}):
        for old, new in zip(evaluate(outputs, given), evaluate(made, given), strict=True):
            np.testing.assert_array_equal(old, new)
    plain = [X + 1, Y]
    assert make_lazy(plain) == plain  # nothing to do: the same variables
