"""The rules of functions, one test each: inputs (11 to 14), updates and givens (15 to 19), copies
and identity (42 to 44).

The numbers are those of the specification of Theano's semantics; the values, dtypes and error
classes below are what Theano 1.0.5 gives for the same calls, but where a comment says otherwise.
"""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import In, Out, function, shared
from symgraph import tensor as T
from symgraph.errors import MissingInputError, UnusedInputError
from symgraph.theano_shim import install_as_theano, uninstall


@pytest.fixture(autouse=True, params=["python", "cpu"])
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways to run; the functions here are small, and their kernels come from the cache."""
    with symgraph.config.change_flags(target=request.param):
        yield request.param


def passed(kind: Any, value: Any, **options: Any) -> Any:
    """`value` after it went through a function of one input of this type."""
    x = kind("x")
    return function([In(x, **options)], x, name="f")(value)


def refused(kind: Any, value: Any, **options: Any) -> str:
    with pytest.raises(TypeError) as error:
        passed(kind, value, **options)
    return str(error.value)


# ---- inputs --------------------------------------------------------------------------------------


def test_rule_11_what_an_input_accepts() -> None:
    """Arrays by dtype, numbers and lists by value."""
    for kind, value in (
        (T.fvector, np.ones(2, "float32")),
        (T.dvector, np.ones(2, "float32")),
        (T.fvector, np.ones(2, "int16")),
        (T.fvector, [1.5, 2]),
        (T.lvector, [1.0, 2.0]),
        (T.ivector, []),
        (T.fscalar, 1),
        (T.fscalar, 0.5),
        (T.fscalar, np.float64(0.5)),
        (T.fscalar, np.float32(0.1)),
        (T.bscalar, np.int64(3)),
        (T.bscalar, True),
        (T.lscalar, 2.0),
        (T.lscalar, np.float32(2)),
        (T.dscalar, np.bool_(True)),
        (T.dscalar, np.array(3, "float32")),
    ):
        found = passed(kind, value)
        assert found.dtype == kind.dtype
        np.testing.assert_array_equal(found, value)
    for kind, value in (
        (T.fvector, np.ones(2)),
        (T.fvector, np.ones(2, "int64")),
        (T.fscalar, np.array(4)),
    ):
        assert "without risking loss of precision" in refused(kind, value)
    for kind, value in (
        (T.fvector, [0.1, 2]),
        (T.fscalar, 16777217),
        (T.fscalar, np.float64(0.1)),
        (T.bscalar, 300),
        (T.bscalar, 1.5),
        (T.bvector, [1, 300]),
    ):
        assert "without losing information" in refused(kind, value)


def test_rule_11_only_a_python_float_is_rounded_to_floatX() -> None:
    with symgraph.config.change_flags(floatX="float32"):
        found = passed(T.scalar, 0.1)
        assert found.dtype == "float32" and found == np.float32(0.1)
        refused(T.scalar, np.float64(0.1))
        refused(T.vector, [0.1])
        refused(T.scalar, 0.1, allow_downcast=False)
    refused(T.fscalar, 0.1)  # floatX is float64


def test_rule_11_allow_downcast_wraps_and_rounds() -> None:
    for kind, value, expected in (
        (T.bscalar, 300, 44),
        (T.bscalar, 1.7, 1),
        (T.bscalar, -1.7, -1),
        (T.lscalar, 2.7, 2),
        (T.bvector, np.array([300, -129]), [44, 127]),
        (T.bvector, [300], [44]),
        (T.fvector, [0.1], np.array([0.1], "float32")),
    ):
        found = passed(kind, value, allow_downcast=True)
        assert found.dtype == kind.dtype
        np.testing.assert_array_equal(found, expected)
        refused(kind, value, allow_downcast=False)


def test_rule_11_strict_takes_arrays_of_the_dtype_only() -> None:
    np.testing.assert_array_equal(passed(T.dvector, np.ones(2), strict=True), [1, 1])
    assert passed(T.dscalar, np.array(1.0), strict=True) == 1
    for kind, value in (
        (T.dvector, np.ones(2, "float32")),
        (T.dvector, [1.0, 2.0]),
        (T.dscalar, 1.0),
        (T.dscalar, np.float64(1)),
    ):
        assert "strict" in refused(kind, value, strict=True)


def test_rule_11_dimensions_patterns_and_variables() -> None:
    text = refused(T.dmatrix, np.ones(3))
    assert text.startswith(
        'Bad input argument to symgraph function with name "f" at index 0 (0-based)'
    )
    assert "Wrong number of dimensions: expected 2, got 1 with shape (3,)." in text
    assert "Wrong number of dimensions" in refused(T.dvector, 1.0)
    assert "Wrong number of dimensions" in refused(T.dscalar, [1.0])
    assert "broadcastable dimension" in refused(T.drow, np.ones((2, 3)))
    assert "symbolic variable x" in refused(T.dvector, T.dvector("x"))
    refused(T.dscalar, "a")  # Theano: ValueError
    assert "x = kind" in text, "the user's line"


def test_rule_12_names_and_defaults() -> None:
    x, y, w = T.dscalars("x", "y", "w")
    f = function([x, In(y, value=1), In(w, value=2, name="w_by_name")], (x + y) * w, name="f")
    calls = f(33), f(33, 2), f(33, 0, 1), f(33, w_by_name=1), f(33, w_by_name=1, y=0), f(x=1)
    assert [float(c) for c in calls] == [68, 70, 33, 34, 33, 4]
    for wrong, words in (
        (lambda: f(), "Missing required input: x"),
        (lambda: f(y=1), "Missing required input: x"),
        (lambda: f(1, x=1), "two values for the input 'x'"),
        (lambda: f(1, 2, y=1), "two values for the input 'y'"),
        (lambda: f(1, 2, 3, 4), "Too many parameters"),
        (lambda: f(1, w=1), "Unknown input or state: w. The function has 3 named inputs "
         "(x, y, w_by_name)."),
    ):  # fmt: skip
        with pytest.raises(TypeError) as error:
            wrong()
        assert words in str(error.value) and __file__ in str(error.value)


def test_rule_12_defaults_are_restored_after_each_call() -> None:
    x, y = T.dscalars("x", "y")
    f = function([x, In(y, value=2.0)], x * y)
    f[y] = 5
    assert f[y] == 5 and f(1) == 5 and f[y] == 2 and f(1) == 2
    f["y"] = 7
    assert f(1, 3) == 3 and f(1) == 2
    f["y"] = 7
    with pytest.raises(TypeError):
        f("no number")
    assert f[y] == 2
    kept = shared(10.0)  # a default that is a shared variable is that variable
    g = function([x, In(y, value=kept)], x * y)
    g[y] = 4
    assert g(2) == 8 and g(2) == 8 and kept.get_value() == 4


def test_rule_12_state_is_kept() -> None:
    x, s = T.dscalars("x", "s")
    f = function([x, In(s, value=10.0, update=s + x)], s)
    assert (float(f(1)), float(f[s])) == (10, 11)
    f[s] = 3
    assert (float(f(1)), float(f["s"]), float(f.value[s])) == (3, 4, 4)
    assert s in f and "s" in f and 0 in f and "z" not in f and T.dscalar() not in f
    assert f[x] is None, "an input that keeps nothing"
    with pytest.raises(TypeError, match="Unknown input or state: z"):
        f["z"]
    with pytest.raises(TypeError, match="keeps no value"):
        f[x] = 1.0


def test_rule_13_forms_of_results() -> None:
    x = T.dscalar("x")
    single = function([x], x + 1)(1)
    assert type(single) is np.ndarray and single.shape == ()
    assert function([x], [x + 1])(1) == [2] and function([x], (x, x))(1) == [1, 1]
    assert function([], None)() == [] and function([], [])() == []
    assert function([x], None, on_unused_input="ignore")(1) == []
    found = function([x], {"b": x, "a": x + 1})(1)
    assert found == {"a": 2, "b": 1}


def test_rule_13_results_alias_nothing() -> None:
    s, x, y = shared(np.zeros(3)), T.dvector("x"), T.dvector("y")
    result = function([], s)()
    result += 1
    assert not s.get_value().any()
    a = np.ones(3)
    assert not np.shares_memory(function([x], x)(a), a)
    f = function([In(x, mutable=True), y], [T.set_subtensor(x[0], 9.0), y + 0])
    first, second = f(a, a)  # an array given twice, of which one input may be modified
    assert first.tolist() == [9, 1, 1] and second.tolist() == a.tolist() == [1, 1, 1]
    lent = function([], Out(s, borrow=True))()  # permitted to share memory; here it does not
    assert lent.tolist() == [0, 0, 0]


def test_rule_14_inputs_of_the_graph() -> None:
    x, y, z = T.dscalars("x", "y", "z")
    with pytest.raises(UnusedInputError, match="input variable at index 1"):
        function([x, y], x)
    with pytest.warns(UserWarning, match="index 1"):
        assert function([x, y], x, on_unused_input="warn")(1, 2) == 1
    assert function([x, y], x, on_unused_input="ignore")(1, 2) == 1
    assert function([x, In(y, value=1.0, update=x)], x)(2) == 2
    with pytest.raises(UnusedInputError, match="index 1"):
        function([x, y], x, givens={z: y})
    for action in ("raise", "ignore"):
        with pytest.raises(UnusedInputError, match="twice"):
            function([x, x], x, on_unused_input=action)
    with pytest.raises(MissingInputError, match="y"):
        function([x], x + y)
    with pytest.raises(TypeError, match=r"Cannot use a shared variable \(w\) as explicit input"):
        function([shared(1.0, "w")], x)


# ---- updates and givens --------------------------------------------------------------------------


def test_rule_15_all_expressions_read_old_values() -> None:
    x, y, z = shared(4.0), shared(4.0), shared(2.0)
    f = function([], [x, y, z], updates=[(x, x * 5), (y, x * 5 + y), (z, (x * 5 + y) ** z)])
    assert f() == [4, 4, 2]
    assert [float(v.get_value()) for v in (x, y, z)] == [20, 24, 576]


@pytest.mark.parametrize("size", [2, 5000])
def test_rule_15_swaps_and_copies(size: int) -> None:
    a, b = shared(np.zeros(size)), shared(np.ones(size))
    old = function([], [a + 0, b], updates=[(a, b), (b, a)])()
    assert not old[0].any() and old[1].all()
    assert a.get_value().all() and not b.get_value().any()
    function([], [], updates=[(a, b)])()
    assert not np.shares_memory(a.get_value(borrow=True), b.get_value(borrow=True))
    assert not a.get_value().any()


def test_rule_16_an_update_has_the_type_of_its_variable() -> None:
    w = shared(np.zeros((2, 3), "float32"), "w")
    row = shared(np.ones((1, 3)), broadcastable=(True, False))
    plain, count = shared(np.ones((1, 3))), shared(0)
    for target, value in (
        (w, w * np.float64(0.1)),  # no silent cast
        (w, w.sum()),
        (w, w.sum(axis=0, keepdims=True)),
        (w, np.zeros((2, 3))),
        (w, np.zeros(3, "float32")),
        (row, T.unbroadcast(row, 0)),
        (plain, T.addbroadcast(plain, 0)),
        (count, 3.5),
        (count, T.constant(3.0)),
        (shared(1.0), T.constant(3)),
    ):
        with pytest.raises(TypeError, match="must have the same type as the original shared"):
            function([], [], updates=[(target, value)])
    with pytest.raises(TypeError, match=r"tensor\.unbroadcast"):
        function([], [], updates=[(plain, T.addbroadcast(plain, 0))])
    function([], [], updates=[(row, row * 2)])()
    assert row.get_value().tolist() == [[2, 2, 2]]


def test_rule_16_constants_are_cast_and_targets_checked() -> None:
    v, count, x = shared(1.0), shared(0), T.dscalar("x")
    function([], [], updates=[(v, 3), (count, 3.0)])()
    assert v.get_value() == 3 and v.get_value().dtype == "float64"
    assert count.get_value() == 3 and count.get_value().dtype == "int64"
    function([], [], updates=OrderedDict([(v, np.float32(2))]))()
    assert v.get_value() == 2
    with pytest.raises(ValueError, match="two updates"):
        function([], [], updates=[(v, 1.0), (v, 2.0)])
    for target in (x, 3):
        with pytest.raises(TypeError, match="update target must be a SharedVariable"):
            function([], [], updates=[(target, 1.0)])
    with pytest.raises(ValueError, match="list of pairs"):
        function([], [], updates=[v])


def test_rule_17_givens() -> None:
    x, y, z = T.dscalars("x", "y", "z")
    assert function([], x + y, givens=[(x, 1.0), (y, 2.0)])() == 3
    assert function([], x + y, givens={x: np.float64(1), y: np.array(2.0)})() == 3
    assert function([z], x, givens={x: z * 2})(2) == 4
    assert function([], x * y, givens=[(y, 2.0), (x, y + 1)])() == 6, "applied in order"
    s = shared(0.0)
    function([y], [], updates=[(s, x * 2)], givens={x: y})(3)
    assert s.get_value() == 6, "in updates too"
    for pairs in ([(x, y + 1), (y, 2.0)], [(x, 2.0), (x, 3.0)], [(x, y), (y, x)]):
        with pytest.raises(AssertionError, match="When using 'givens'"):
            function([], x * y, givens=pairs)
    with pytest.raises(RuntimeError, match="input x"):
        function([x], x, givens={x: y})
    with pytest.raises(TypeError, match="givens replaces variables"):
        function([], x, givens={3: x})
    f32 = shared(np.float32(3))
    with pytest.raises(TypeError, match="givens cannot replace x"):
        function([], x + 1, givens={x: f32})
    assert function([], x + 1, givens={x: f32}, rebuild_strict=False)() == 4
    m = T.dmatrix("m")
    known = T.drow("r")  # filter_variable: a pattern that is known better is turned back
    assert function([known], m.sum(), givens={m: known})(np.ones((1, 3))) == 3


def test_rule_17_a_shared_variable_may_be_given_in_terms_of_itself() -> None:
    a, c = shared(1.0, "a"), shared(10.0, "c")
    a.default_update, c.default_update = a + 3, c * 2
    f = function([], c * a, givens={a: a + 10})
    assert (float(f()), float(f())) == (110, 480)
    assert (float(a.get_value()), float(c.get_value())) == (27, 40)


def test_rule_18_default_updates() -> None:
    a, b, x = shared(0.0), shared(0.0), T.dscalar("x")
    a.default_update = a + 2

    def after(*args: Any, **kwargs: Any) -> float:
        function(*args, **kwargs)()
        return float(a.get_value())

    assert after([], a) == 2
    assert after([], a, no_default_updates=True) == 2
    assert after([], a, no_default_updates=[a]) == 2
    assert after([], a, no_default_updates=[b]) == 4
    assert after([], a, updates={a: a - 1}) == 3, "an explicit update wins"
    assert after([], [], updates={b: a}) == 5, "met in an update"
    assert b.get_value() == 3
    assert after([], b) == 5, "not met"
    assert after([], x, givens={x: a}) == 7, "met in givens"
    assert after([], a + x, givens={x: 1.0}, no_default_updates=[]) == 9
    assert after([], x + 1, givens={x: 1.0}) == 9
    assert after([], a, updates=[(a, a + 1)], no_default_updates=True) == 10
    for wrong in ((a,), "a", {a}, 1, None, {a: 1}):
        with pytest.raises(TypeError, match="no_default_updates"):
            function([], a, no_default_updates=wrong)
    a.default_update = 3  # a number is cast, a variable is not
    assert after([], a) == 3
    a.default_update = T.constant(np.float32(3))
    with pytest.raises(TypeError):
        function([], a)


def test_rule_19_borrowing() -> None:
    data = np.ones(3)
    default, lent = shared(data), shared(data, borrow=True)
    data += 1
    assert default.get_value().tolist() == [1, 1, 1]
    assert lent.get_value().tolist() == [2, 2, 2], "on this CPU; never promised"
    lent.get_value()[...] = 9
    assert lent.get_value().tolist() == [2, 2, 2]
    assert lent.get_value(borrow=True) is data
    default.set_value(data)
    assert default.get_value(borrow=True, return_internal_type=True) is not data
    default.set_value(data, borrow=True)
    assert default.get_value(borrow=True, return_internal_type=True) is data
    lent.zero(borrow=True)
    assert data.tolist() == [0, 0, 0]
    other = shared(np.ones(3))
    before = other.get_value(borrow=True)
    other.zero()
    assert before.all() and not other.get_value().any()
    for attempt in (lambda: lent.value, lambda: setattr(lent, "value", 3)):
        with pytest.raises(AttributeError, match="get_value"):
            attempt()
    assert lent.container.value is lent.container.data is data


# ---- copies and identity -------------------------------------------------------------------------


def test_rule_42_copies_keep_what_they_share_together() -> None:
    class Model:
        def __init__(self) -> None:
            x = T.dvector("x")
            self.w = shared(np.zeros(3), "w")
            cost = T.sum((x - self.w) ** 2)
            self.params = [self.w]
            self.train = function([x], cost, updates=[(self.w, self.w - T.grad(cost, self.w) / 4)])
            self.normalize = function([], [], updates={self.w: self.w / T.sqrt(T.sum(self.w**2))})

    model = Model()
    model.train([1.0, 2.0, 3.0])
    best = copy.deepcopy(model)
    kept = best.w.get_value()
    model.train([1.0, 2.0, 3.0])
    assert (best.w.get_value() == kept).all() and (model.w.get_value() != kept).all()
    best.normalize()
    assert np.isclose(np.sum(best.w.get_value() ** 2), 1) and best.params == [best.w]
    assert best.train.get_shared() == best.normalize.get_shared() == [best.w]
    train, normalize, w = pickle.loads(pickle.dumps([model.train, model.normalize, model.w]))
    before = model.w.get_value()
    train([0.0, 0.0, 0.0])
    normalize()
    assert train.get_shared() == [w] and np.isclose(np.sum(w.get_value() ** 2), 1)
    assert (model.w.get_value() == before).all()


def test_rule_43_copies_of_functions() -> None:
    state, other, inc = shared(0, "state"), shared(100, "other"), T.iscalar("inc")
    f = function([inc], state, updates=[(state, state + inc)], name="f")
    assert f(10) == 0 and state.get_value() == 10
    g = f.copy(swap={state: other})
    assert g(5) == 100 and g.name == "f copy" and g.get_shared() == [other]
    assert (int(state.get_value()), int(other.get_value())) == (10, 105)
    quiet = f.copy(delete_updates=True, name="quiet")
    assert quiet(3) == 10 and state.get_value() == 10 and quiet.name == "quiet"
    install_as_theano()  # code for Theano expects lists
    try:
        assert f.copy(delete_updates=True)(0) == [np.array(10)]
        assert f.copy(swap={state: other})(1) == [np.array(105)]
        assert function([inc], {"a": inc}).copy()(1) == {"a": 1}
    finally:
        uninstall()
    assert type(f.copy()(0)) is np.ndarray


def test_rule_44_equality_is_identity() -> None:
    x, y = T.dscalars("x", "y")
    first, second = x + 1, x + 1
    assert x == x and x != y and first != second and (x == y) is False
    table = {x: 1, y: 2, first: 3, second: 4}
    assert [table[v] for v in (x, y, first, second)] == [1, 2, 3, 4]
    s = shared(1.0)
    assert s != s.clone() and len({s, s.clone()}) == 2
