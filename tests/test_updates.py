"""Updates, givens, default updates, memory that is shared, and calls that fail.

The expected values are Theano's (compile/tests/test_pfunc.py and test_updates.py state most).
Tests run on the interpreter where kernels add nothing; `target` runs a test on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import symgraph
from symgraph import In, function, shared
from symgraph import tensor as T
from symgraph.compile.pipeline import Options
from symgraph.graph import Op
from tests.oracle import evaluate


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


# ---- updates (rules 15, 16) ----------------------------------------------------------------------


def test_updates_read_old_values(target: str) -> None:
    x, y, z = (shared(np.asarray(v, "float64")) for v in (4.0, 4.0, 2.0))
    f = function([], [x, y, z], updates={x: 5 * x, y: 5 * x + y, z: (5 * x + y) ** z})
    assert [float(v) for v in f()] == [4, 4, 2]
    assert [float(v.get_value()) for v in (x, y, z)] == [20, 24, 576]


@pytest.mark.parametrize("size", [3, 4000])
def test_swaps_and_copies(target: str, size: int) -> None:
    a, b, c = (shared(np.full(size, v)) for v in (1.0, 2.0, 3.0))
    rotate = function([], [], updates=[(a, b), (b, c), (c, a)])
    rotate()
    assert [v.get_value()[-1] for v in (a, b, c)] == [2, 3, 1]
    rotate()
    assert [v.get_value()[-1] for v in (a, b, c)] == [3, 1, 2]
    function([], [], updates=[(a, b)])()
    assert not np.shares_memory(a.get_value(borrow=True), b.get_value(borrow=True))
    function([], [], updates=[(b, b + 1)])()
    assert (a.get_value()[0], b.get_value()[0]) == (1, 2)
    flip = function([], [], updates=[(a, a[::-1] + b), (b, a)])
    a.set_value(np.arange(float(size)))
    flip()
    same(a.get_value(), np.arange(float(size))[::-1] + 2)
    same(b.get_value(), np.arange(float(size)))


def test_an_updated_variable_returned_is_the_old_value(target: str) -> None:
    w = shared(np.zeros(4000))
    f = function([], [w, w + 1, w[::2]], updates=[(w, w + 1)])
    for call in range(3):
        old, new, part = f()
        assert (old[0], new[0], part[-1], w.get_value()[-1]) == (call, call + 1, call, call + 1)


def test_an_update_may_read_its_variable_out_of_order(target: str) -> None:
    start = np.random.RandomState(0).rand(40, 40)
    for change in (
        lambda w: w.T + 1,
        lambda w: w[::-1] * 2,
        lambda w: T.dot(w, w),
        lambda w: w - w.mean(axis=0),
        lambda w: T.set_subtensor(w[1:], w[:-1]),
    ):
        w = shared(start)
        expected = change(w).eval()
        function([], [], updates=[(w, change(w))])()
        same(w.get_value(), expected)


def test_values_of_updates_are_cast_if_they_are_not_variables() -> None:
    w, v = shared(np.float32(1)), shared(np.zeros((1, 2)))
    function([], [], updates=[(w, 0.5), (v, np.ones((1, 2), "int8"))])()
    assert w.get_value().dtype == "float32" and w.get_value() == 0.5
    same(v.get_value(), [[1, 1]])
    with pytest.raises(TypeError, match="same type"):
        function([], [], updates=[(w, 0.1)])


def test_updates_that_do_not_fit() -> None:
    x = T.dvector("x")
    w, m = shared(np.zeros(2, "float32"), "w"), shared(np.zeros((10, 10)), "m")
    cases: list[tuple[Any, type[Exception], str]] = [
        ([(w, w + x)], TypeError, r"astype\('float32'\)"),
        ([(w, w.sum())], TypeError, "must have the same type"),
        ([(m, m.sum().dimshuffle("x", "x"))], TypeError, "unbroadcast"),
        ([(x, x + 1)], TypeError, "SharedVariable"),
        ([(shared([1]), [2])], TypeError, "no array"),
        ([(w, w), (w, w + 1)], ValueError, "two updates of the shared variable w"),
        ([w], ValueError, "pairs"),
    ]
    for updates, kind, words in cases:
        with pytest.raises(kind, match=words):
            function([x], [], updates=updates, on_unused_input="ignore")
    function([], [], updates=[(m, T.unbroadcast(m.sum().dimshuffle("x", "x"), 0, 1))])()
    assert m.get_value().shape == (1, 1)


def test_updates_change_sizes(target: str) -> None:
    x, w = T.dmatrix("x"), shared(np.zeros((0, 3)))
    grow = function([x], w.sum(axis=0), updates=[(w, T.concatenate([w, x]))])
    for call in range(4):
        same(grow(np.ones((2, 3))), np.full(3, 2.0 * call))
        assert w.get_value().shape == (2 * call + 2, 3)
    drop = function([], w.shape, updates=[(w, w[2:])])
    for rows in (8, 6, 4, 2, 0, 0):
        assert drop().tolist() == [rows, 3]
    w.set_value(np.ones((5, 7)))
    assert drop().tolist() == [5, 7] and w.get_value().shape == (3, 7)


# ---- givens (rule 17) ----------------------------------------------------------------------------


def test_givens_of_every_sort(target: str) -> None:
    x, y, i = T.dvector("x"), T.dvector("y"), T.lscalar("i")
    data, w = shared(np.arange(6.0)), shared(np.ones(2), "w")
    cost = (x * w).sum()
    step = x * 2
    batch = data[i * 2 : i * 2 + 2]
    assert function([i], cost, givens={x: batch})(1) == 5
    assert function([i], cost, givens=[(x, batch)])(2) == 9
    assert function([], cost, givens={x: np.array([3, 4], "int32")})() == 7
    assert function([x, y], cost, givens={w: y})([1, 2], [10, 100]) == 210
    same(function([y], step, givens={x: y + 1})([1, 2]), [4, 6])
    same(function([x, y], step + 1, givens={step: y}, on_unused_input="ignore")([0], [1]), [2])
    same(function([], step, givens={x: shared(np.ones(1))})(), [2])
    function([y], [], updates=[(w, w + x)], givens={x: y})([1, 2])
    same(w.get_value(), [2, 3])
    constant = T.constant(2.0)
    assert function([y], y * constant, givens={constant: T.constant(3.0)})([1]) == [3]


def test_givens_apply_in_order() -> None:
    x, y, z = T.dscalars("xyz")
    f = function([z], x, givens=[(y, z * 2), (x, y + 1)])
    assert f(5) == 11
    for givens in ([(x, y), (y, x + 1)], [(x, y + 1), (y, z)], [(x, y), (x, z)]):
        with pytest.raises(AssertionError, match="replacement pairs"):
            function([z], x + y, givens=givens, on_unused_input="ignore")


def test_givens_of_a_shared_variable_by_itself() -> None:
    a = shared(1.0, "a")
    a.default_update = a + 3
    f = function([], a + 10, givens={a: a + 10})
    assert (float(f()), float(f())) == (21, 34)


def test_givens_that_are_refused() -> None:
    x, y = T.dvector("x"), T.dmatrix("y")
    w = shared(np.ones(2, "float32"))
    with pytest.raises(RuntimeError, match="replaced by `givens` too"):
        function([x], x, givens={x: x + 1})
    for new in (y, w, T.lvector()):
        with pytest.raises(TypeError, match="givens cannot replace x"):
            function([y], x * 2, givens={x: new}, on_unused_input="ignore")
    with pytest.raises(TypeError, match="givens replaces variables"):
        function([x], x, givens={"x": x})
    found = function([], x * 2, givens={x: w}, rebuild_strict=False)()
    same(found, [2, 2])


def test_givens_may_know_more_of_the_pattern() -> None:
    x, r, m = T.dmatrix("x"), T.drow("r"), T.dmatrix("m")
    f = function([r, m], [x.T + m, x.sum(axis=0)], givens={x: r})
    plus, total = f([[1, 2]], [[1], [1]])
    same(plus, [[2], [3]])
    same(total, [1, 2])


# ---- default updates (rule 18) -------------------------------------------------------------------


def test_default_updates() -> None:
    a, x = shared(0, "a"), T.lscalar("x")
    a.default_update = a + 1
    f = function([x], a + x)
    assert (int(f(10)), int(f(10)), int(a.get_value())) == (10, 11, 2)
    function([x], a + x, no_default_updates=True)(0)
    function([x], a + x, no_default_updates=[a])(0)
    assert a.get_value() == 2
    function([x], a + x, no_default_updates=[shared(0)])(0)
    assert a.get_value() == 3
    function([x], a + x, updates=[(a, a * 10)])(0)  # an explicit update wins
    assert a.get_value() == 30
    function([x], x * 2)(1)  # not in this graph
    assert a.get_value() == 30
    for wrong in ((a,), "a", 1):
        with pytest.raises(TypeError, match="no_default_updates"):
            function([x], a + x, no_default_updates=wrong)


def test_default_updates_bring_their_own() -> None:
    a, b, c = shared(0), shared(10), shared(100)
    a.default_update, b.default_update = a + b, b + c
    c.default_update = c + 1
    f = function([], a)
    f()
    assert [int(v.get_value()) for v in (a, b, c)] == [10, 110, 101]
    function([], [], updates=[(c, b)])()
    assert [int(v.get_value()) for v in (a, b, c)] == [10, 211, 110]


def test_default_updates_of_replaced_variables_do_not_run() -> None:
    a, x = shared(1), T.lscalar()
    a.default_update = a + 1
    assert function([x], a + 1, givens={a: x})(5) == 6
    assert a.get_value() == 1


def test_a_default_update_of_another_type_is_refused() -> None:
    a = shared(np.float32(1), "a")
    a.default_update = a * shared(np.float64(2))
    with pytest.raises(TypeError, match="same type"):
        function([], a)


# ---- memory that arguments share with shared variables -------------------------------------------


@pytest.mark.parametrize("size", [4, 4000])
def test_an_argument_may_share_memory_with_what_is_updated(target: str, size: int) -> None:
    x, y = T.dvector("x"), T.dvector("y")
    w = shared(np.ones(size))
    f = function([x, y], x + y, updates=[(w, w + x[::-1])])
    own = w.get_value(borrow=True)
    own[...] = np.arange(size)
    same(f(own, own), 2 * np.arange(size))
    same(w.get_value(), np.full(size, size - 1.0))
    w.set_value(np.arange(float(size)))
    own = w.get_value(borrow=True)
    same(f(own[::-1], own), np.full(size, size - 1.0))
    same(w.get_value(), 2 * np.arange(size))


def test_an_array_given_on_loan_is_updated_or_let_go() -> None:
    a = np.ones(3)
    w = shared(a, borrow=True)
    function([], [], updates=[(w, w + 1)])()
    same(w.get_value(), [2, 2, 2])
    v = shared(a)
    before = a.copy()
    function([], [], updates=[(v, v + 1)])()
    same(a, before)


# ---- calls that fail -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Refuse(Op):
    """x, but ValueError if its first element is negative: an op that runs in Python."""

    view_of: ClassVar[int | None] = None

    def output_types(self, x: Any) -> Any:
        return [x.type]

    def infer_shape(self, node: Any, ctx: Any) -> Any:
        return [ctx.shape(node.inputs[0])]

    def perform(self, node: Any, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        if inputs[0].flat[0] < 0:
            raise ValueError("refused")
        output_storage[0][0] = inputs[0] + 1


def test_a_failing_call_updates_nothing(target: str) -> None:
    x, i = T.dvector("x"), T.lscalar("i")
    u, v, w = (shared(np.full(3000, s)) for s in (1.0, 2.0, 3.0))
    everything = u, v, w
    index = T.cast(x, "int64")
    before: dict[Any, Any] = {u: u + 1, v: v * u + 0.7, w: w - v}
    updates: list[tuple[Any, type[Exception], list[Any], list[Any]]] = [
        ({**before, u: u + Refuse()(x)}, ValueError, [np.full(3000, -1.0)], [np.ones(3000)]),
        ({**before, w: w + x}, ValueError, [np.ones(2)], [np.ones(3000)]),
        (
            {**before, v: v + w[index] + 0.123},
            IndexError,
            [np.full(3000, 3000.0)],
            [np.zeros(3000)],
        ),
    ]
    for given, kind, bad, good in updates:
        f = function([x], [], updates=given)
        held = [s.get_value() for s in everything]
        f(*good)
        assert all((s.get_value() != h).any() for s, h in zip(everything, held, strict=True))
        held = [s.get_value() for s in everything]
        with pytest.raises(kind):
            f(*bad)
        for s, h in zip(everything, held, strict=True):
            np.testing.assert_array_equal(s.get_value(), h)
        f(*good)
        assert all((s.get_value() != h).any() for s, h in zip(everything, held, strict=True))
    f = function([i], u[i], updates=before)
    held = [s.get_value() for s in everything]
    with pytest.raises(IndexError):
        f(3000)
    for s, h in zip(everything, held, strict=True):
        np.testing.assert_array_equal(s.get_value(), h)
    assert f(-1) == held[0][-1]


def test_a_failing_call_keeps_the_state_of_inputs() -> None:
    x, s = T.dvector("x"), T.dvector("s")
    f = function([x, In(s, value=[1.0, 2.0], update=s + x)], s)
    with pytest.raises(ValueError):
        f([1, 2, 3])
    with pytest.raises(ValueError):
        f([1, 2], [1, 2, 3])
    same(f[s], [1, 2])
    same(f([1, 1]), [1, 2])
    same(f[s], [2, 3])


# ---- random programs -----------------------------------------------------------------------------

STEPS = (
    lambda a, b: a + b,
    lambda a, b: a.T - b,
    lambda a, b: a[::-1] + b * 0.5,
    lambda a, b: T.dot(a, b) / a.shape[0],
    lambda a, b: T.tanh(a) * b,
    lambda a, b: T.set_subtensor(a[1:], b[:-1]),
    lambda a, b: T.inc_subtensor(a[:, 0], b[0]),
    lambda a, b: a - b.mean(axis=0),
    lambda a, b: T.concatenate([a[1:], b[:1]]),
    lambda a, b: T.switch(a > b, a, b),
    lambda a, b: a * b.sum(axis=1).dimshuffle(0, "x"),
    lambda a, b: a[:, ::-1],
    lambda a, b: a.T,
    lambda a, b: T.nnet.softmax(a) + b,
    lambda a, b: a[T.argmax(b, axis=1)],
    lambda a, b: T.sort(a, axis=1),
)


def _program(rng: np.random.RandomState, size: int) -> tuple[Any, Any, list[Any], list[Any]]:
    """Three shared matrices, an input, outputs and updates made by a few random steps."""
    shareds = [shared(rng.uniform(-1, 1, (size, size)), f"w{k}") for k in range(3)]
    x = T.dmatrix("x")
    values = [*shareds, x]
    for _ in range(rng.randint(2, 9)):
        a, b = (values[rng.randint(len(values))] for _ in range(2))
        values.append(STEPS[rng.randint(len(STEPS))](a, b))

    def pick() -> Any:
        return values[-1 - min(rng.geometric(0.3), len(values)) % len(values)]

    updates = [(w, pick()) for w in shareds if rng.rand() < 0.8]
    return shareds, x, [pick() for _ in range(rng.randint(3))], updates


@pytest.mark.parametrize(
    ("mode", "seeds", "size"),
    [
        (Options("python", "none"), range(40), 4),
        (Options("python", "fast_run"), range(40, 120), 4),
        (Options("cpu", "fast_run"), range(10), 24),
    ],
    ids=["none", "rewritten", "compiled"],
)
def test_random_programs_read_old_values(mode: Options, seeds: range, size: int) -> None:
    """Also when the argument is the memory of a shared variable, or a view of it."""
    for seed in seeds:
        rng = np.random.RandomState(seed)
        shareds, x, outputs, updates = _program(rng, size)
        f = function([x], outputs, updates=updates, mode=mode, on_unused_input="ignore")
        for call in range(3):
            argument = rng.uniform(-1, 1, (size, size))
            if call:
                argument = shareds[call - 1].get_value(borrow=True)[:: 1 - 2 * (call - 1)]
            expected = evaluate([*outputs, *(v for _, v in updates)], {x: argument.copy()})
            expected = [np.array(v) for v in expected]
            found = [*f(argument), *(w.get_value() for w, _ in updates)]
            for value, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9, err_msg=str(seed))
