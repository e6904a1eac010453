"""`function`: inputs, outputs, sizes that change, threads, what a function shows.

The expected values are Theano's (compile/tests/test_pfunc.py and library/compile/io state most).
Tests run on the interpreter where kernels add nothing; `target` runs a test on both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import In, Out, function, shared
from symgraph import tensor as T
from symgraph.errors import MissingInputError, UnusedInputError


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


@pytest.fixture(params=["python", "cpu"])
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with symgraph.config.change_flags(target=request.param):
        yield request.param


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected)


# ---- inputs (rules 11 and 12) --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (T.dmatrix, [[1, 2], [3, 4]]),
        (T.dvector, np.arange(3, dtype="int32")),
        (T.dvector, np.ones(2, "float32")),
        (T.dscalar, 3),
        (T.dscalar, 0.1),
        (T.dscalar, np.float32(0.1)),
        (T.fscalar, 0.5),  # floats that the dtype holds exactly
        (T.fscalar, np.float64(0.5)),
        (T.fvector, [0.5, 1]),
        (T.lscalar, 1.0),
        (T.bscalar, True),
        (T.lvector, []),
        (T.fvector, np.ones(2, "int16")),
        (T.ivector, [1, 2, 3]),
        (T.ivector, np.array([1], "int8")),
        (T.iscalar, np.int16(4)),
        (T.bscalar, 127),
        (T.lvector, np.array([True, False])),
        (T.drow, np.ones((1, 4))),
        (T.dtensor3, np.zeros((0, 2, 3))),
    ],
)
def test_arguments_that_lose_nothing_are_taken(kind: Any, value: Any) -> None:
    x = kind("x")
    found = function([x], x)(value)
    assert isinstance(found, np.ndarray) and found.dtype == x.dtype
    same(found, value)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (T.fvector, np.ones(2), "without risking loss of precision"),
        (T.fvector, np.ones(2, "int64"), "without risking loss of precision"),
        (T.fscalar, np.array(4), "without risking loss of precision"),
        (T.fscalar, 0.1, "losing information"),  # floatX is float64 here
        (T.fscalar, np.float64(0.1), "losing information"),
        (T.bscalar, 128, "losing information"),
        (T.ivector, [0.5], "losing information"),
        (T.lscalar, 1.5, "losing information"),
        (T.dmatrix, np.ones(3), "expected 2, got 1 with shape (3,)"),
        (T.dscalar, [1.0], "Wrong number of dimensions"),
        (T.drow, np.ones((2, 4)), "broadcastable dimension"),
        (T.dvector, T.dvector("v"), "symbolic variable"),
        (T.dvector, "text", "cannot take"),
        (T.dvector, None, "cannot take"),
        (T.dvector, np.ones(2, complex), "complex"),
    ],
)
def test_arguments_that_do_not_fit(kind: Any, value: Any, words: str) -> None:
    x = kind("x")
    with pytest.raises(TypeError) as error:
        function([x], x, name="f")(value)
    assert words in str(error.value)
    assert 'with name "f" at index 0 (0-based)' in str(error.value)
    assert "x = kind" in str(error.value)


def test_a_python_float_is_rounded_to_floatx() -> None:
    with symgraph.config.change_flags(floatX="float32"):
        x = T.scalar("x")
        f = function([x], x)
        assert f(0.1) == np.float32(0.1)
        with pytest.raises(TypeError):
            f(np.float64(0.1))
        with pytest.raises(TypeError):
            function([x], x, allow_input_downcast=False)(0.1)


def test_allow_input_downcast_casts_anything() -> None:
    x, i = T.fvector("x"), T.bvector("i")
    f = function([x, i], [x, i], allow_input_downcast=True)
    found = f(np.array([0.1]), np.array([257]))
    assert [a.dtype for a in found] == ["float32", "int8"]
    same(found, [np.array([0.1], "float32"), [1]])


def test_strict_inputs_take_exact_arrays_only() -> None:
    x = T.dvector("x")
    f = function([In(x, strict=True)], x)
    same(f(np.ones(2)), [1, 1])
    for value in (np.ones(2, "float32"), [1.0, 2.0]):
        with pytest.raises(TypeError, match="strict"):
            f(value)


def test_arrays_of_any_layout_are_taken(target: str) -> None:
    x = T.dmatrix("x")
    f = function([x], x * 2)
    a = np.arange(12.0).reshape(3, 4)
    unaligned = np.frombuffer(b"." + a.tobytes(), "u1")[1:].view("float64").reshape(3, 4)
    frozen = a.copy()
    frozen.flags.writeable = False
    for value in (a.T, a[::-1, ::2], np.asfortranarray(a), unaligned, frozen, a[:0]):
        same(f(value), np.asarray(value) * 2)
    same(f(a.astype(">f8")), a * 2)


def test_names_defaults_and_their_errors() -> None:
    x, y, w = T.dscalars("x", "y", "w")
    f = function([x, In(y, value=1), In(w, value=2, name="w_by_name")], (x + y) * w)
    calls = f(33), f(33, 2), f(33, 0, 1), f(33, w_by_name=1), f(33, w_by_name=1, y=0), f(x=33)
    assert [float(c) for c in calls] == [68, 70, 33, 34, 33, 68]
    with pytest.raises(TypeError, match="Missing required input: x"):
        f()
    with pytest.raises(
        TypeError, match=r"Unknown input or state: w\. The function has 3 named inp"
    ):
        f(1, w=2)
    with pytest.raises(TypeError, match="two values for the input 'x'"):
        f(1, x=2)
    with pytest.raises(TypeError, match="Too many parameters"):
        f(1, 2, 3, 4)
    twice = function([x, T.dscalar("x")], x, on_unused_input="ignore")
    with pytest.raises(TypeError, match="Ambiguous name: x"):
        twice(1, x=2)


def test_a_default_can_be_read_and_changed_and_may_be_shared() -> None:
    x, y = T.dscalars("xy")
    kept = shared(5.0)
    f = function([x, In(y, value=3.0)], x + y)
    assert f[y] == 3 and f.value["y"] == 3
    f[y] = 4
    assert f(1) == 5
    g = function([x, In(y, value=kept)], x + y)
    assert g(1) == 6 and g(1, 1) == 2
    kept.set_value(7.0)
    assert g(1) == 8 and kept.get_value() == 7


def test_inputs_that_keep_state() -> None:
    u, x, s = T.scalars("u", "x", "s")
    inc = function([u, In(x, value=3), In(s, update=(s + x * u), value=10.0)], [])
    assert inc(5) == [] and inc[s] == 25
    inc(3, 4)
    assert inc[s] == 37 and inc[x] == 3
    inc(3, 4, 7)
    assert inc["s"] == 19
    inc[s] = 10
    assert inc[s] == 10
    inc(1, s=1.0)
    assert inc[s] == 4
    assert inc[u] is None
    with pytest.raises(TypeError):
        inc(1, 1, "no number")
    assert inc[s] == 4


def test_two_functions_can_keep_state_in_one_shared_variable() -> None:
    x, s = T.dscalars("xs")
    store = shared(1.0)
    up = function([x, In(s, value=store, update=s + x)], s)
    down = function([x, In(s, value=store, update=s - x)], s)
    assert (float(up(5)), float(down(2)), float(store.get_value())) == (1, 6, 4)


def test_unused_missing_and_repeated_inputs() -> None:
    x, y = T.dscalars("xy")
    with pytest.raises(UnusedInputError, match=r"input variable at index 1 .*: y"):
        function([x, y], x)
    with pytest.warns(UserWarning, match="index 1"):
        assert function([x, y], x, on_unused_input="warn")(1, 2) == 1
    with symgraph.config.change_flags(on_unused_input="ignore"):
        assert function([x, y], x)(1, 2) == 1
    function([x, In(y, value=1.0, update=x)], x)
    with pytest.raises(MissingInputError, match="the graph needs y"):
        function([x], x + y)
    with pytest.raises(UnusedInputError, match="listed twice"):
        function([x, x], x)
    with pytest.raises(ValueError, match="on_unused_input"):
        function([x, y], x, on_unused_input="shrug")


def test_what_cannot_be_an_input() -> None:
    x, w = T.dscalar("x"), shared(1.0, "w")
    with pytest.raises(TypeError, match=r"Cannot use a shared variable \(w\) as explicit input"):
        function([w], w + 1)
    with pytest.raises(TypeError, match="is a constant"):
        function([T.constant(1)], x)
    with pytest.raises(TypeError, match="not a list"):
        function(x, x)
    with pytest.raises(TypeError, match="not a variable"):
        function([3], x)
    with pytest.raises(TypeError, match="In\\(variable"):
        function([(x, 1, 2)], x)
    with pytest.raises(TypeError, match="needs an initial value"):
        In(x, update=x + 1)
    with pytest.raises(ValueError, match="mode"):
        function([x], x, mode="FASTER")


def test_an_intermediate_result_can_be_an_input(target: str) -> None:
    x = T.dvector("x")
    y = x + 1
    f = function([y], y * 2)
    same(f([1, 2]), [2, 4])


# ---- outputs (rule 13) ---------------------------------------------------------------------------


def test_forms_of_outputs(target: str) -> None:
    x = T.dscalar("x")
    single = function([x], x + 1)(1)
    assert isinstance(single, np.ndarray) and single.shape == () and single == 2
    assert function([x], [x + 1])(1) == [2]
    assert function([x], (x + 1, x))(1) == [2, 1]
    found = function([x], {"b": x + 1, "a": x * 3})(2)
    assert found == {"a": 6, "b": 3} and list(found) == ["a", "b"]
    assert function([], 3)() == 3
    same(function([], np.arange(3.0))(), [0, 1, 2])
    assert function([], None)() == []
    with pytest.raises(TypeError, match="keys of the outputs"):
        function([x], {1: x})
    with pytest.raises(TypeError, match="not a variable"):
        function([x], "x")


def test_results_share_no_memory(target: str) -> None:
    x, w = T.dmatrix("x"), shared(np.ones((2, 3)))
    y = x * 2
    f = function([x], [x, y, y, y.T, w, w[0], Out(y, borrow=True), x.T, y[::-1]])
    a = np.arange(6.0).reshape(2, 3)
    first = f(a)
    values = [r.copy() for r in first]
    everything = [a, w.get_value(borrow=True), *first, *f(a)]
    for i, one in enumerate(everything):
        assert not any(np.shares_memory(one, other) for other in everything[:i])
    for result in first[:6]:
        result[...] = -1
    for found, expected in zip(f(a), values, strict=True):
        same(found, expected)
    same(w.get_value(), np.ones((2, 3)))


def test_large_results_share_no_memory(target: str) -> None:
    x, w = T.dvector("x"), shared(np.ones(5000))
    f = function([x], [x, w, x + 0.0, x[::-1]], updates=[(w, w + x)])
    a = np.ones(5000)
    first, second = f(a), f(a)
    everything = [a, w.get_value(borrow=True), *first, *second]
    for i, one in enumerate(everything):
        assert not any(np.shares_memory(one, other) for other in everything[:i])
    assert (first[1][0], second[1][0], w.get_value()[0]) == (1, 2, 3)


# ---- sizes ---------------------------------------------------------------------------------------


def test_sizes_change_between_calls(target: str) -> None:
    x, w, b = T.dmatrix("x"), shared(np.ones((4, 3))), shared(np.zeros(3))
    y = T.tanh(T.dot(x, w) + b)
    f = function([x], [y, y.mean(axis=0), T.argmax(y, axis=1)])

    def check(rows: int) -> None:
        a = np.random.RandomState(rows).randn(rows, w.get_value(borrow=True).shape[0])
        expected = np.tanh(a @ w.get_value() + b.get_value())
        found = f(a)
        same(found[0], expected)
        same(found[1], expected.mean(axis=0))
        same(found[2], expected.argmax(axis=1))

    for rows in (5, 1, 300, 5, 17, 300):
        check(rows)
    w.set_value(np.random.RandomState(1).randn(6, 2))
    b.set_value(np.ones(2))
    check(5)
    with pytest.raises(ValueError, match="Shape mismatch"):
        f(np.ones((5, 4)))
    b.set_value(np.ones(3))
    with pytest.raises(ValueError, match="mis-match"):
        f(np.ones((5, 6)))
    b.set_value(np.ones(2))
    check(2)


def test_empty_batches(target: str) -> None:
    x, y = T.dmatrix("x"), T.ivector("y")
    w = shared(np.ones((4, 3)))
    p = T.nnet.softmax(T.dot(x, w))
    total = -T.log(p)[T.arange(y.shape[0]), y].sum()
    f = function([x, y], [p, total, (p * 2).sum(axis=0), x.prod(axis=1)],
                 updates=[(w, w - T.grad(total, w))])  # fmt: skip
    for rows in (0, 3, 0):
        labels = np.zeros(rows, "int32")
        found = f(np.ones((rows, 4)), labels)
        assert found[0].shape == (rows, 3) and found[2].shape == (3,)
        same(found[3], np.ones(rows))
        if not rows:
            assert found[1] == 0 and not found[2].any()
    assert w.get_value()[0, 0] > 1


# ---- many callers --------------------------------------------------------------------------------


def test_two_threads_may_call(target: str) -> None:
    x, w = T.dvector("x"), shared(0)
    f = function([x], (x * x).sum(), updates=[(w, w + 1)])
    wrong: list[Any] = []

    def work(seed: int) -> None:
        a = np.arange(float(seed))
        wrong.extend(seed for _ in range(100) if f(a) != (a * a).sum())

    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 700)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert w.get_value() == 200


def test_eval_compiles_once() -> None:
    x, y = T.dscalars("xy")
    z = x + y
    assert z.eval({x: 1, y: 2}) == 3
    (compiled,) = z._eval_functions.values()
    assert z.eval({x: 5, y: 2}) == 7
    assert list(z._eval_functions.values()) == [compiled]
    assert z.eval({z: 3.5}) == 3.5
    assert (T.constant(2) * 3).eval() == 6
    with pytest.raises(MissingInputError):
        z.eval({x: 1})


# ---- looking at functions ------------------------------------------------------------------------


def test_what_a_function_shows(target: str) -> None:
    x, w = T.dvector("x"), shared(np.ones(2), "w")
    f = function([x], T.exp(x * w).sum(), updates=[(w, w + x)], name="step")
    f([1, 2])
    same(f["w"], [2, 3])
    f[w] = [0.0, 0.0]
    same(w.get_value(), [0, 0])
    assert f.get_shared() == [w] and f.name == "step" and "step" in repr(f)
    graph = f.maker.fgraph
    assert any("exp" in str(node.op) for node in graph.toposort())
    assert graph.outputs[0].type == T.dscalar and list(graph.updates) == [w]
    kernels = f.kernels()
    assert kernels and all(k.name and k.source and k.nodes for k in kernels)
    assert any("def kernel" in k.source for k in kernels)


def test_copies_of_functions() -> None:
    s, t, x = shared(0, "s"), shared(100, "t"), T.iscalar("x")
    f = function([x], s, updates=[(s, s + x)])
    f(10)
    g = f.copy(swap={s: t})
    assert g(5) == 100
    assert (int(s.get_value()), int(t.get_value())) == (10, 105)
    quiet = f.copy(delete_updates=True, name="quiet")
    assert quiet(3) == 10 and f.copy()(0) == 10
    assert s.get_value() == 10 and quiet.name == "quiet"
    with pytest.raises(TypeError, match="cannot take the place"):
        f.copy(swap={s: shared(1.0)})
    with pytest.raises(ValueError, match="swap"):
        f.copy(swap={t: s})


def test_trusted_arguments_are_not_looked_at() -> None:
    x = T.dscalar("x")
    f = function([x], x * 2)
    f.trust_input = True
    np.testing.assert_array_equal(f(np.array(3.0)), 6.0)
    with pytest.raises(TypeError, match=r"Missing required input: x[\s\S]*expected:[\s\S]*cure:"):
        f()
