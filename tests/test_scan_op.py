"""The Scan op and its inner graph: equality, types, meaning, how it is printed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import function, scan
from symgraph.graph import Constant
from symgraph.ops.inner import InnerGraph, capture
from symgraph.ops.scan import Scan
from symgraph.rewrite import fold_constants, verify
from tests import oracle

SIX = np.arange(6.0)


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def zero() -> Any:
    return T.constant(0.0, dtype="float64")


def loop_of(output: Any) -> Any:
    """The Scan node that `output` comes from."""
    node = output.owner
    while not isinstance(node.op, Scan):
        node = node.inputs[0].owner
    return node


def example(name: str = "scan_fn", power: int = 2) -> Scan:
    x, h, w = T.dvector("x"), T.dvector("h"), T.dmatrix("w")
    new = T.tanh(T.dot(h, w) + x)
    return Scan(InnerGraph([x, h, w], [new, (new**power).sum()]), 1, ((-1,),), 1, 0, name=name)


def test_equal_loops_are_equal() -> None:
    assert example() == example("another") and hash(example()) == hash(example("another"))
    assert example() != example(power=3)
    again = pickle.loads(pickle.dumps(example()))
    assert again == example() and hash(again) == hash(example())


def test_the_types_of_a_loop_are_checked() -> None:
    op = example()
    x, w = T.dmatrix("x"), T.dmatrix("w")
    n = T.constant(2, dtype="int64")
    node = op.make_node(n, x, x[:1], w)
    assert [v.type for v in node.outputs] == [T.dmatrix, T.dvector]
    verify(node.outputs, [x, w])
    with pytest.raises(TypeError, match="x does not fit"):
        op(n, T.fmatrix("x"), x[:1], w)
    with pytest.raises(TypeError, match="int64 scalar"):
        op(x[0, 0], x, x[:1], w)
    with pytest.raises(TypeError, match="inputs"):
        op(n, x, x[:1])
    h = T.dvector("h")
    with pytest.raises(TypeError, match="another type"):
        Scan(InnerGraph([h], [h.sum()]), 0, ((-1,),), 0, 0)
    with pytest.raises(ValueError, match="taps"):
        Scan(InnerGraph([h], [h]), 0, ((0,),), 0, 0)


def test_which_inputs_reach_which_outputs() -> None:
    """Through states: a reaches the second one in the second step."""
    a, b, x, k = T.dscalar("a"), T.dscalar("b"), T.dscalar("x"), T.lscalar("k")
    graph = InnerGraph([x, a, b, k], [x * 2, a * b, T.arange(3.0)[k]])
    node = Scan(graph, 1, ((-1,), (-1,)), 1, 0).make_node(
        T.constant(3, dtype="int64"), T.dvector(), T.dvector(), T.dvector(), k
    )
    n, by_x, by_a, by_b, by_k = node.op.connection_pattern(node)
    assert n == [False] * 3 and by_k == [False] * 3
    assert by_x == [True, True, False]
    assert by_a == [True, True, False] and by_b == [False, True, False]


def test_the_oracle_agrees() -> None:
    x, h, w = T.dmatrix("x"), T.dmatrix("h"), T.dmatrix("w")
    outputs = example()(T.shape(x)[0], x, h, w)
    rng = np.random.RandomState(0)
    values = {x: rng.randn(4, 3), h: rng.randn(1, 3), w: rng.randn(3, 3)}
    state, norms = values[h], []
    for row in values[x]:
        state = np.vstack([state, np.tanh(state[-1].dot(values[w]) + row)])
        norms.append((state[-1] ** 2).sum())
    for value, expected in zip(oracle.evaluate(outputs, values), (state, norms), strict=True):
        same(value, expected)


def test_inner_graphs() -> None:
    x, y, z = T.dvector("x"), T.dvector("y"), T.dvector("z")
    graph = InnerGraph([x], [T.exp(x) + 1])
    (applied,) = graph.apply([y])
    same(function([y], applied)(SIX), np.exp(SIX) + 1)
    (row,) = graph.apply([T.constant(np.ones(1))])  # a broadcastable one
    same(row.eval(), [np.e + 1])
    with pytest.raises(TypeError, match="cannot take the place"):
        graph.apply([T.fvector("f")])
    with pytest.raises(ValueError, match="y is neither an input nor a constant"):
        InnerGraph([x], [x + y])
    with pytest.raises(ValueError, match="twice"):
        InnerGraph([x, x], [x])
    inner, outer = capture([x], [x + T.exp(y) * T.zeros((2,)), z])
    assert [str(v.type) for v in inner.inputs] == [str(x.type)] * 3
    assert outer[1] is z and isinstance(outer[0].owner.inputs[0], type(y))
    assert not any(isinstance(v, Constant) for v in outer)


def test_a_loop_over_constants_runs_when_the_function_is_called() -> None:
    result, _ = scan(lambda e, h: h + e, np.arange(3.0), zero())
    assert fold_constants(loop_of(result)) is None
    same(function([], result)(), [0, 1, 3])


def test_a_long_step_needs_no_recursion() -> None:
    x = T.dvector("x")

    def step(e: Any, h: Any) -> Any:
        for _ in range(3000):
            h = T.tanh(h + e)
        return h

    result, _ = scan(step, sequences=x, outputs_info=zero())
    op = loop_of(result).op
    assert len(op.inner.nodes) == 6000 and hash(op) == hash(op)
    symgraph.grad(result.sum(), x)
    again = pickle.loads(pickle.dumps(result))
    assert loop_of(again).op == op


def test_printed_inner_graphs_say_what_their_inputs_are() -> None:
    x, w = T.dvector("x"), symgraph.shared(1.5, "w")
    results, _ = scan(lambda a, h: [h * w + a, a * 2], x, [T.dscalar("h0"), None], name="lp")
    assert symgraph.pp(results[1]) == "for{cpu,lp}(x.shape[0], x, h0, w).1"
    text = symgraph.printing.debugprint(results, file="str")
    assert text.split("Inner graphs of the scan ops:\n")[1] == (
        "\nfor{cpu,lp}.0 [id B] ''\n"
        " >Elemwise{add,no_inplace} [id H] ''\n"
        " > |Elemwise{mul,no_inplace} [id I] ''\n"
        " > | |h0[t-1] [id J] -> [id E]\n"
        " > | |w_copy [id K] -> [id G]\n"
        " > |x[t] [id L] -> [id D]\n"
        " >Elemwise{mul,no_inplace} [id M] ''\n"
        " > |x[t] [id L] -> [id D]\n"
        " > |TensorConstant{2} [id N]\n"
        "\nfor{cpu,lp}.1 [id B] ''\n"
        " >Elemwise{add,no_inplace} [id H] ''\n"
        " >Elemwise{mul,no_inplace} [id M] ''\n"
    )


def test_test_values_show_mistakes_in_the_step() -> None:
    x, y = T.dmatrix("x"), T.dvector("y")
    x.tag.test_value, y.tag.test_value = np.ones((2, 3)), np.ones(4)
    with symgraph.config.change_flags(compute_test_value="raise"):
        with pytest.raises(ValueError, match="mis-match"):
            scan(lambda row: row * y, sequences=x)
        total, _ = scan(lambda row, h: h + row, sequences=x, outputs_info=T.zeros((3,)))
        g = symgraph.grad((total**2).sum(), x)
    same(total.tag.test_value, [[1, 1, 1], [2, 2, 2]])
    same(g.tag.test_value, [[6, 6, 6], [4, 4, 4]])


def test_a_loop_that_runs_in_python_says_in_which_step_it_failed() -> None:
    i, u = T.lvector("i"), T.dvector("u")
    # a bound that changes: no kernel runs this step
    y, _ = scan(lambda k, u: u[k : k + 2].sum() + u[k], i, non_sequences=u, name="picks")
    f = function([i, u], y)
    same(f([0, 4], SIX), [1, 13])
    node = loop_of(y)
    calls = (
        lambda: f([0, 4, 9], SIX),
        lambda: node.op.evaluate(node, np.array(3), np.array([0, 4, 9]), SIX),
    )
    for call in calls:
        with pytest.raises(IndexError, match=r"index 9(.|\n)*in round 2 of for{cpu,picks}"):
            call()
