"""Test values: computed while the graph is built, with errors at the user's line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import config, function, grad, shared
from symgraph import tensor as T
from symgraph.errors import ShapeError
from symgraph.graph import Apply, Op, Variable
from symgraph.testvalues import get_debug_values, get_test_value, missing_test_message


@pytest.fixture
def on() -> Iterator[None]:
    with config.change_flags(compute_test_value="raise"):
        yield


def given(variable: Any, value: Any) -> Any:
    variable.tag.test_value = np.asarray(value)
    return variable


def test_nothing_is_computed_when_it_is_off() -> None:
    class Never(Op):
        def output_types(self, x: Any) -> Any:
            return [x.type]

        def evaluate(self, node: Apply, *inputs: Any) -> Any:
            raise AssertionError("evaluated")

    y = Never()(given(T.dvector("x"), [1.0]))
    assert not hasattr(y.tag, "test_value")


def test_a_model_gets_test_values(on: None) -> None:
    """Inputs, shared variables, constants, gradients, sizes, ops of several outputs."""
    x, y = given(T.dmatrix("x"), np.ones((2, 3))), given(T.ivector("y"), np.array([0, 1], "int32"))
    w = shared(np.eye(3, 4), "w")
    p = T.nnet.softmax(T.dot(x, w) + np.arange(4))
    np.testing.assert_allclose(p.tag.test_value.sum(axis=1), 1)
    cost = -T.log(p)[T.arange(y.shape[0]), y].mean()
    slope = grad(cost, w)
    f = function([x, y], [p, cost, slope])
    for symbolic, value in zip([p, cost, slope], f(np.ones((2, 3)), [0, 1]), strict=True):
        np.testing.assert_allclose(get_test_value(symbolic), value)
    values, places = T.max_and_argmax(x, axis=1)
    assert values.tag.test_value.tolist() == [1, 1] and places.tag.test_value.tolist() == [0, 0]
    assert x.reshape((3, 2)).tag.test_value.shape == (3, 2)
    assert T.concatenate([x, x]).tag.test_value.shape == (4, 3)
    assert T.zeros((2, 5)).tag.test_value.shape == (2, 5)
    assert T.set_subtensor(x[0], 7).tag.test_value.tolist() == [[7] * 3, [1] * 3]


def test_a_mistake_is_found_where_it_is_written(on: None) -> None:
    x, y = given(T.dvector("x"), np.ones(3)), given(T.dvector("y"), np.ones(2))
    with pytest.raises(ShapeError) as error:
        x + y  # here
    text = str(error.value)
    assert "Input dimension mis-match. (input[0].shape[0] = 3, input[1].shape[0] = 2)" in text
    assert "Inputs shapes: [(3,), (2,)]" in text and "# here" in text
    m = given(T.dmatrix("m"), np.ones((5, 10)))
    with pytest.raises(ShapeError, match=r"x has 10 cols \(and 5 rows\) but y has 5 rows"):
        T.dot(m, m)
    with pytest.raises(IndexError, match=r"(?s)test value cannot be computed.*where:.*# index"):
        x[given(T.lscalar("i"), 7)]  # index
    one = given(T.dvector("one"), np.ones(1))
    with pytest.raises(ShapeError, match="a size of 1 broadcasts only where the type says so"):
        x + one
    with pytest.raises(ValueError, match=r"(?s)into shape.*# reshape"):
        x.reshape((2, 2))  # reshape


def test_inputs_without_a_test_value() -> None:
    x, y = T.dvector("x"), given(T.dvector("y"), np.ones(2))
    with config.change_flags(compute_test_value="ignore"):
        assert not hasattr((x + y).tag, "test_value")
        assert (y * 2).tag.test_value.tolist() == [2, 2]
    with config.change_flags(compute_test_value="warn"):
        with pytest.warns(UserWarning, match=r"Cannot compute test value: input 0 \(x\)"):
            z = x + y
        assert not hasattr(z.tag, "test_value")
    with config.change_flags(compute_test_value="raise"):
        with pytest.raises(ValueError, match=r"(?s)Cannot compute test value.*x\.tag\.test_value"):
            x + y
    with pytest.raises(ValueError, match="compute_test_value takes one of off, ignore, warn"):
        config.compute_test_value = "on"


def test_warnings_point_at_the_users_line() -> None:
    x = T.dvector("x")
    with config.change_flags(compute_test_value="warn"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            T.exp(x)
    assert {w.filename for w in caught} == {__file__}


def test_the_debugger_starts(monkeypatch: Any, capsys: Any) -> None:
    started: list[bool] = []
    monkeypatch.setattr("pdb.set_trace", lambda: started.append(True))
    with config.change_flags(compute_test_value="pdb"):
        T.exp(T.dvector("x"))
    assert started == [True] and "Cannot compute test value" in capsys.readouterr().err


def test_values_must_be_of_the_variables_type(on: None) -> None:
    x = given(T.fvector("x"), np.ones(3))
    with pytest.raises(TypeError, match=r"(?s)test value is not of its type.*float64.*where"):
        x * 2
    x.tag.test_value = [1, 2]
    assert (x * 2).tag.test_value.tolist() == [2, 4]
    assert (x * 2).tag.test_value.dtype == "float32"
    x.tag.test_value = np.ones((2, 2), "f")
    with pytest.raises(TypeError, match="Wrong number of dimensions"):
        x * 2


def test_shared_variables_use_the_value_they_have_now(on: None) -> None:
    w = shared(np.zeros(2), "w")
    w.set_value(np.ones(3))
    assert (w + 1).tag.test_value.tolist() == [2, 2, 2]
    assert get_test_value(w) is w.get_value(borrow=True)
    assert get_test_value(3) == 3 and get_test_value(np.ones(2)).tolist() == [1, 1]
    with pytest.raises(AttributeError, match="has no test value"):
        get_test_value(T.dvector("v"))


def test_compiling_builds_no_test_values(on: None) -> None:
    """Givens, rewriting and copies may meet variables without: they are none of the user's."""
    x, y = given(T.dvector("x"), [1.0]), T.dvector("y")
    z = T.log(1 + T.exp(x))
    f = function([y], z, givens={x: y})
    assert f([0.0]) == pytest.approx(np.log(2)) and f.copy()([0.0]) is not None
    assert z.eval({x: [0.0]}) == pytest.approx(np.log(2))
    assert config.compute_test_value == "raise"


def test_graphs_inside_of_ops(on: None) -> None:
    """The loop, the branch and the graph as an op have test values; what is inside needs none."""
    x = given(T.dmatrix("x"), np.ones((4, 3)))
    w = shared(np.eye(3), "w")
    h, _ = symgraph.scan(lambda a, h: a + T.dot(h, w), sequences=x, outputs_info=T.zeros((3,)))
    assert h.tag.test_value.tolist() == [[k] * 3 for k in (1, 2, 3, 4)]
    assert grad(h.sum(), w).tag.test_value.tolist() == [[10.0] * 3] * 3
    chosen = symgraph.ifelse.ifelse(T.gt(x.sum(), 0), x * 2, x[:1])
    assert chosen.tag.test_value.shape == (4, 3)
    a = T.dmatrix("a")
    a.tag.test_value = np.zeros((1, 1))
    double = symgraph.op_from_graph.OpFromGraph([a], [a * 2])
    assert double(x).tag.test_value.sum() == 24
    assert grad(double(x).sum(), x).tag.test_value.sum() == 24


def test_an_op_cannot_change_test_values(on: None) -> None:
    class Destroys(Op):
        def output_types(self, x: Any) -> Any:
            return [x.type]

        def infer_shape(self, node: Apply, ctx: Any) -> Any:
            return [ctx.shape(node.inputs[0])]

        def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
            inputs[0][:] = 0
            output_storage[0][0] = inputs[0]

    x = given(T.dvector("x"), [1.0, 2.0])
    assert Destroys()(x).tag.test_value.tolist() == [0, 0]
    assert x.tag.test_value.tolist() == [1, 2]


def test_debug_values() -> None:
    x, y = given(T.dscalar("x"), 1.0), T.dscalar("y")
    assert get_debug_values(x) == []
    with config.change_flags(compute_test_value="ignore"):
        assert get_debug_values(x) == [1] and get_debug_values(x, 2) == [(1, 2)]
        assert get_debug_values(x, y) == []
        missing_test_message("said to nobody")
    with config.change_flags(compute_test_value="warn"), pytest.warns(UserWarning, match="1 .y."):
        assert get_debug_values(x, y) == []
    with config.change_flags(compute_test_value="raise"), pytest.raises(AttributeError):
        get_debug_values(x, y)


def test_test_values_are_printed_if_asked() -> None:
    x, y = given(T.dscalar("x"), 2.5), T.dscalar("y")
    assert repr(x) == "x"
    with config.change_flags(print_test_value=True):
        assert repr(x) == "x\narray(2.5)" and repr(y) == "y" and str(x) == "x"
        assert isinstance(x, Variable) and repr(symgraph.tensor.constant(1)).startswith("Tensor")
