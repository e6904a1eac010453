"""Shared variables: types, copies, borrowing, new values, clones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import function, shared
from symgraph import tensor as T
from symgraph.sharedvalue import GenericSharedVariable, TensorSharedVariable


@pytest.mark.parametrize(
    ("value", "dtype", "ndim"),
    [
        (0, "int64", 0),
        (0.0, "float64", 0),
        (True, "bool", 0),
        (np.float32(7), "float32", 0),
        (np.int8(7), "int8", 0),
        (np.array(7, "uint16"), "uint16", 0),
        (np.ones((2, 3), "float32"), "float32", 2),
        (np.ones((1, 1, 4), bool), "bool", 3),
        (np.zeros(0), "float64", 1),
    ],
)
@pytest.mark.parametrize("floatx", ["float32", "float64"])
def test_types_are_those_of_the_values(value: Any, dtype: str, ndim: int, floatx: str) -> None:
    with symgraph.config.change_flags(floatX=floatx):
        w = shared(value, "w")
    assert isinstance(w, TensorSharedVariable) and w.name == "w" and str(w) == "w"
    assert (w.dtype, w.ndim, w.broadcastable) == (dtype, ndim, (False,) * ndim)
    found = w.get_value()
    assert isinstance(found, np.ndarray) and found.dtype == dtype
    np.testing.assert_array_equal(found, value)


def test_broadcastable_axes_are_declared() -> None:
    w = shared(np.ones((1, 3)), broadcastable=(True, False))
    assert w.type == T.drow
    w.set_value(np.ones((1, 5)))
    with pytest.raises(TypeError, match="broadcastable"):
        w.set_value(np.ones((2, 5)))
    with pytest.raises(TypeError, match="broadcastable"):
        shared(np.ones((2, 3)), broadcastable=(True, False))
    x = T.dmatrix()
    assert function([x], x + w)(np.ones((2, 5))).shape == (2, 5)


@pytest.mark.parametrize("value", [[1, 2], (1.0,), {"a": 1}, None, "text", np.bool_(True)])
def test_other_objects_are_generic(value: Any) -> None:
    w = shared(value)
    assert isinstance(w, GenericSharedVariable) and repr(w.type) == "Generic"
    assert w.get_value() == value
    with pytest.raises(TypeError, match=r"numpy\.asarray"):
        w[0]


def test_a_generic_value_is_copied_unless_borrowed() -> None:
    kept = [1, 2]
    w, v = shared(kept), shared(kept, borrow=True)
    kept.append(3)
    assert w.get_value() == [1, 2] and v.get_value() == [1, 2, 3]
    assert v.get_value(borrow=True) is kept
    w.set_value("anything")
    assert w.get_value() == "anything"


def test_symbolic_and_complex_values_are_refused() -> None:
    x = T.dscalar("x")
    with pytest.raises(TypeError, match="value is symbolic"):
        shared(x)
    with pytest.raises(TypeError, match="symbolic variable"):
        shared(1.0).set_value(x)
    for value in (1j, np.ones(2, complex)):
        with pytest.raises(TypeError, match="complex"):
            shared(value)
    with pytest.raises(ValueError, match="target"):
        shared(1.0, target="cuda1")


def test_values_are_copied_unless_borrowed() -> None:
    a = np.ones(2, "float32")
    default, borrowed = shared(a), shared(a, borrow=True)
    a += 1
    assert default.get_value().tolist() == [1, 1] and borrowed.get_value().tolist() == [2, 2]
    default.get_value()[0] = 9
    default.get_value(borrow=False, return_internal_type=True)[0] = 9
    assert default.get_value()[0] == 1
    default.get_value(borrow=True)[0] = 9
    assert default.get_value()[0] == 9
    default.set_value(a)
    a += 1
    assert default.get_value().tolist() == [2, 2]
    default.set_value(a, borrow=True)
    a += 1
    assert default.get_value().tolist() == [4, 4]


def test_values_of_any_layout() -> None:
    a = np.arange(6.0).reshape(2, 3)
    frozen = a.copy()
    frozen.flags.writeable = False
    for value in (a.T, a[:, ::-1], frozen, np.asfortranarray(a)):
        for w in (shared(value, borrow=True), shared(np.zeros((0, 0)))):
            w.set_value(value, borrow=True)
            function([], [], updates=[(w, w + 1)])()
            np.testing.assert_array_equal(w.get_value(), value + 1)
    np.testing.assert_array_equal(a, np.arange(6.0).reshape(2, 3))


def test_new_values_must_fit_but_for_their_sizes() -> None:
    w = shared(np.ones((2, 3), "float32"), "w")
    w.set_value(np.ones((5, 0), "float32"))
    assert w.get_value().shape == (5, 0)
    w.set_value([[1, 2]])
    assert w.get_value().dtype == "float32"
    for value, words in (
        (np.ones((2, 3)), "float64 without risking loss"),
        (np.ones(2, "float32"), "Wrong number of dimensions: expected 2, got 1"),
        ([[0.1]], "losing information"),
    ):
        with pytest.raises(TypeError, match=words) as error:
            w.set_value(value)
        assert "shared variable w" in str(error.value)
    assert w.get_value().tolist() == [[1, 2]]


def test_strict_and_downcast_hold_for_new_values() -> None:
    strict = shared(np.ones(2), strict=True)
    strict.set_value(np.zeros(3))
    for value in ([1.0, 2.0], np.ones(2, "float32")):
        with pytest.raises(TypeError, match="strict"):
            strict.set_value(value)
    loose = shared(np.ones(2, "float32"), allow_downcast=True)
    loose.set_value([0.1, 1e300])
    assert loose.get_value().dtype == "float32"
    with pytest.raises(TypeError):
        shared(np.float32(1), allow_downcast=False).set_value(0.1)


def test_zero_and_value() -> None:
    w = shared(np.ones((2, 2), "float32"))
    w.zero()
    assert w.get_value().tolist() == [[0, 0], [0, 0]] and w.get_value().dtype == "float32"
    with pytest.raises(AttributeError, match="get_value"):
        w.value  # noqa: B018


def test_clones_share_the_value() -> None:
    w = shared(1.0, "w")
    w.default_update = w + 1
    twin = w.clone()
    assert twin is not w and twin.type == w.type and twin.name == "w"
    w.set_value(5.0)
    assert twin.get_value() == 5 and twin.container is w.container
    function([], twin)()
    assert w.get_value() == 6


def test_clones_in_one_function_are_updated_together() -> None:
    w = shared(np.ones(3), "w")
    twin = w.clone()
    function([], [], updates=[(w, twin * 2)])()
    assert twin.get_value().tolist() == [2, 2, 2]
    old, read = function([], [w, twin], updates=[(twin, w + twin)])()
    assert old.tolist() == read.tolist() == [2, 2, 2] and w.get_value().tolist() == [4, 4, 4]
    with pytest.raises(ValueError, match="two updates"):
        function([], [], updates=[(w, w), (twin, w)])


def test_methods_and_trace() -> None:
    w = shared(np.arange(9.0).reshape(3, 3))
    assert w.trace().eval() == 12 and w.T[0, 1].eval() == 3 and (w @ w).eval()[0, 0] == 15
    assert w.created is not None and w.created.lineno > 0
