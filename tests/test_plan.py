"""The plan: memory that is shared never overlaps, updates read old values, sizes come in stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import symgraph
import symgraph.tensor as T
from symgraph.compile.arena import ALIGN, arrange
from symgraph.compile.pipeline import Options
from symgraph.ops.core import DimShuffle
from symgraph.ops.counting import unique

lifetimes = st.tuples(st.integers(0, 20), st.integers(0, 8)).map(lambda t: (t[0], t[0] + t[1]))
items = st.lists(st.tuples(lifetimes, st.integers(0, 1000)), max_size=25)
TARGETS = ("python", "cpu")


def function(inputs: Sequence[Any], outputs: Any, target: str = "python", **more: Any) -> Any:
    return symgraph.function(inputs, outputs, mode=Options(target=target), **more)


# ---- the arena


@pytest.mark.parametrize("greedy", [1000, 0])
@given(items)
def test_places_of_the_living_do_not_overlap(greedy: int, found: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("symgraph.compile.arena.GREEDY", greedy)
        check_places(found)


def check_places(found: list[Any]) -> None:
    spans = {k: span for k, (span, _) in enumerate(found)}
    sizes = {k: size for k, (_, size) in enumerate(found)}
    places, total = arrange(spans, sizes)
    assert set(places) == set(spans)
    for a in spans:
        assert places[a] % ALIGN == 0
        assert places[a] + sizes[a] <= total
        for b in range(a):
            alive = spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]
            apart = places[a] + sizes[a] <= places[b] or places[b] + sizes[b] <= places[a]
            assert apart or not alive or not sizes[a] or not sizes[b]


@given(items)
def test_the_arena_is_no_larger_than_everything_side_by_side(found: list[Any]) -> None:
    _, total = arrange(dict(enumerate(s for s, _ in found)), dict(enumerate(n for _, n in found)))
    assert total <= sum(-(-n // ALIGN) * ALIGN for _, n in found)


@pytest.mark.parametrize("greedy", [1000, 0])
def test_a_chain_of_results_takes_two_places(greedy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each result dies when the next is there."""
    monkeypatch.setattr("symgraph.compile.arena.GREEDY", greedy)
    spans = {k: (k, k + 1) for k in range(10)}
    assert arrange(spans, dict.fromkeys(spans, 100))[1] == 2 * 128


def live_places(f: Any) -> list[tuple[int, int, int, int]]:
    """(first step, last step, start, end) of the temporaries of a function's latest call."""
    program = f._compiled.program
    bound = program.current
    offsets = {base: offset for base, offset in bound.offsets}
    found = []
    for root, (first, last) in program.binder.lifetimes.items():
        size = int(np.prod(bound.shapes[root], dtype=int)) * np.dtype(root.type.dtype).itemsize
        start = offsets[program.base[root]]
        found.append((first, last, start, start + size))
    return found


def test_live_temporaries_of_a_program_do_not_overlap() -> None:
    x, w, v = T.dmatrix("x"), T.dmatrix("w"), T.dmatrix("v")
    h = T.tanh(T.dot(x, w))
    cost = T.sqr(T.dot(h, v) - x).sum()
    f = function([x, w, v], [cost, *symgraph.grad(cost, [w, v])])
    rng = np.random.RandomState(0)
    f(rng.rand(7, 5), rng.rand(5, 9), rng.rand(9, 5))
    places = live_places(f)
    assert len(places) >= 3
    for k, (born, died, start, end) in enumerate(places):
        for other_born, other_died, other_start, other_end in places[:k]:
            if born <= other_died and other_born <= died:
                assert end <= other_start or other_end <= start


# ---- updates


def states() -> tuple[Any, Any, np.ndarray, np.ndarray]:
    rng = np.random.RandomState(3)
    a, b = rng.rand(4, 4), rng.rand(4, 4)
    return symgraph.shared(a, "A"), symgraph.shared(b, "B"), a, b


Step = Callable[[Any, Any], Any]
# (new A, new B) of the old ones; both written for arrays and variables alike
UPDATES: dict[str, tuple[Step, Step]] = {
    "swap": (lambda a, b: b, lambda a, b: a),
    "one becomes the other": (lambda a, b: b, lambda a, b: b * 1),
    "each of both": (lambda a, b: a + b, lambda a, b: a - b),
    "transposed": (lambda a, b: a.T, lambda a, b: b + a.T),
    "reversed": (lambda a, b: a[::-1], lambda a, b: b[:, ::-1] + a),
    "rows moved": (lambda a, b: a + a[0], lambda a, b: b * b.sum()),
    "column by its sum": (lambda a, b: a / a.sum(0), lambda a, b: b / b.sum(1, keepdims=True)),
    "through a product": (lambda a, b: a.dot(b), lambda a, b: b.dot(a) + b),
    "crossed and moved": (lambda a, b: b[::-1] + a, lambda a, b: a.T),
    "flattened": (lambda a, b: a.reshape((16,))[::-1].reshape((4, 4)), lambda a, b: b + a),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates_read_old_values(name: str) -> None:
    A, B, a, b = states()
    of_a, of_b = UPDATES[name]
    f = function([], [A + B, A, of_b(A, B)], updates=[(A, of_a(A, B)), (B, of_b(A, B))])
    for _ in range(3):
        results = f()
        expected = [a + b, a, of_b(a, b)]
        a, b = np.array(of_a(a, b)), np.array(of_b(a, b))
        for value, wanted in zip(
            [*results, A.get_value(), B.get_value()], [*expected, a, b], strict=True
        ):
            np.testing.assert_allclose(value, wanted, rtol=1e-12)
        inner = [v.get_value(borrow=True) for v in (A, B)]
        assert not np.shares_memory(*inner)
        for value in results:
            assert not any(np.shares_memory(value, i) for i in inner)


@pytest.mark.parametrize("name", ["swap", "reversed", "column by its sum"])
def test_compiled_updates(name: str) -> None:
    A, B, a, b = states()
    of_a, of_b = UPDATES[name]
    f = function([], A.sum(), "cpu", updates=[(A, of_a(A, B)), (B, of_b(A, B))])
    for _ in range(3):
        np.testing.assert_allclose(f(), a.sum())
        a, b = np.array(of_a(a, b)), np.array(of_b(a, b))
    np.testing.assert_allclose(A.get_value(), a)
    np.testing.assert_allclose(B.get_value(), b)


def test_an_elementwise_update_stays_where_it_is() -> None:
    A, B, _, _ = states()
    memory = A.get_value(borrow=True)
    f = function([], [], updates=[(A, A - 0.1 * B)])
    f()
    assert np.shares_memory(A.get_value(borrow=True), memory)


def test_updates_may_change_sizes() -> None:
    v = symgraph.shared(np.arange(3.0), "v")
    f = function([], v.sum(), updates=[(v, T.concatenate([v, v + 10]))])
    expected = np.arange(3.0)
    for _ in range(4):
        assert f() == expected.sum()
        expected = np.concatenate([expected, expected + 10])
    np.testing.assert_array_equal(v.get_value(), expected)


def test_results_are_nobodys() -> None:
    x = T.dmatrix("x")
    s = symgraph.shared(np.ones((2, 3)), "s")
    f = function([x], [x, x.T, x[::-1], s, s.T, x * 1, x * 1, T.constant(np.ones((2, 3)))])
    given_x = np.random.rand(2, 3)
    for call in (f(given_x), f(given_x)):
        others = [given_x, s.get_value(borrow=True), *f(given_x)]
        for k, value in enumerate(call):
            assert value.flags.writeable
            assert not any(np.shares_memory(value, o) for o in (*others, *call[:k]))


# ---- sizes that are read from results

x, v, m = T.dmatrix("x"), T.dvector("v"), T.lvector("m")
X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0], [2.5, 0.0, 1.5], [-1.0, 2.0, 0.25]])
V = np.array([3.0, 1.0, 3.0, 2.0])
STAGED: list[Any] = [
    pytest.param(v, V, unique, np.unique, id="unique"),
    pytest.param(
        v, V, lambda v: T.nonzero(v > 1.5)[0], lambda v: np.nonzero(v > 1.5)[0], id="nonzero"
    ),
    pytest.param(v, V, lambda v: v[v > 1.5], lambda v: v[v > 1.5], id="mask"),
    pytest.param(x, X, lambda x: x[x[:, 0] > 0] * 2, lambda x: x[x[:, 0] > 0] * 2, id="mask_rows"),
    pytest.param(x, X, lambda x: x[x > 0].sum(), lambda x: x[x > 0].sum(), id="mask_sum"),
    pytest.param(
        v, V, lambda v: T.arange(v.sum()), lambda v: np.arange(v.sum()), id="arange_of_float"
    ),
    pytest.param(
        x, X, lambda x: T.zeros((T.argmax(x),)), lambda x: np.zeros(np.argmax(x)), id="zeros_argmax"
    ),
    pytest.param(
        x, X, lambda x: x[x[:, 0].argmax()], lambda x: x[x[:, 0].argmax()], id="row_of_argmax"
    ),
    pytest.param(
        x,
        X,
        lambda x: x[x.sum(1).argmax()],
        lambda x: x[x.sum(1).argmax()],
        id="row_of_largest_sum",
    ),
    pytest.param(
        x,
        X,
        lambda x: x[: x[:, 0].argmax()].sum(0) + x[0],
        lambda x: x[: x[:, 0].argmax()].sum(0) + x[0],
        id="rows_to_argmax",
    ),
    pytest.param(
        m,
        np.array([2, 3]),
        lambda m: T.ones((m[0], m.sum())),
        lambda m: np.ones((m[0], m.sum())),
        id="ones_of_sum",
    ),
    pytest.param(
        v,
        V,
        lambda v: v[v > 1.5][v[v > 1.5] > 2.5] + 1,
        lambda v: v[v > 2.5] + 1,
        id="masked_twice",
    ),
    pytest.param(
        x,
        X,
        lambda x: T.dot(x[x[:, 0] > 0], x.T),
        lambda x: np.dot(x[x[:, 0] > 0], x.T),
        id="dot_of_masked",
    ),
    pytest.param(
        x,
        X,
        lambda x: symgraph.grad((x[x > 0] ** 2).sum(), x),
        lambda x: np.where(x > 0, 2 * x, 0),
        id="grad_of_masked",
    ),
    pytest.param(
        v,
        V,
        lambda v: T.repeat(v, T.cast(v, "int64")),
        lambda v: np.repeat(v, v.astype(int)),
        id="repeat",
    ),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("variable", "array", "build", "expect"), STAGED)
def test_sizes_from_results(
    variable: Any, array: Any, build: Any, expect: Any, target: str
) -> None:
    f = function([variable], [build(variable), variable.shape], target)
    for value in (array, array[::-1].copy(), array):
        result, shape = f(value)
        np.testing.assert_allclose(result, expect(value))
        assert tuple(shape) == value.shape


def test_most_functions_have_one_segment() -> None:
    f = function([x], [x[:2].sum(), x.shape[0] * 2, T.zeros_like(x), T.arange(x.shape[0])])
    assert len(f._compiled.plan.segments) == 1
    g = function([x], x[x[:, 0].argmax()])
    assert len(g._compiled.plan.segments) == 2


def test_axes_that_lead_or_trail_are_summed_over_where_they_lie() -> None:
    a, b, w = T.tensor3("a"), T.tensor3("b"), symgraph.shared(np.ones((4, 2)))
    c, d = T.tensor3("c"), T.tensor4("d")
    cost = T.sqr(T.dot(a, w)).sum()
    products = (
        T.tensordot(a, b, [[0, 1], [0, 1]]),  # leading ones of both
        T.tensordot(a, b, [[1, 0], [1, 0]]),
        T.tensordot(b, c, [[1, 2], [1, 2]]),  # trailing ones of both
        T.tensordot(a, d, [[0], [0]]),
        T.tensordot(a, b.dimshuffle(2, 0, 1), [[0, 1], [1, 2]]),
        T.grad(cost, w),
    )
    for product in products:
        f = function([a, b, c, d], product, target="cpu", on_unused_input="ignore")
        copied = [n.op for s in f._compiled.plan.steps for n in s.nodes]
        assert not [op for op in copied if isinstance(op, DimShuffle)], product
    f = function([a, b], T.tensordot(a, b, [[1, 2], [0, 1]]), target="cpu")
    assert all(s.library for s in f._compiled.plan.steps)
    f = function([a, b], T.tensordot(a, b, [[0, 2], [1, 0]]), target="cpu")
    assert sum(s.library is None for s in f._compiled.plan.steps) == 2  # these must be copied


def test_new_sizes_are_bound_without_compiling() -> None:
    f = function([x], T.tanh(x).sum(1))
    kernels = [id(k) for k in f._compiled.program.binder.kernels]
    for rows in (3, 0, 5, 3):
        value = np.random.rand(rows, 4)
        np.testing.assert_allclose(f(value), np.tanh(value).sum(1))
    assert kernels == [id(k) for k in f._compiled.program.binder.kernels]


def late_mismatches() -> list[Any]:
    mask, other = v > 1.5, v > 2.5
    return [
        pytest.param(v, V, v[mask] + v, id="masked_and_whole"),
        pytest.param(v, V, v + v[mask], id="whole_and_masked"),
        pytest.param(v, V, (v[mask] + v[other]).sum(), id="two_masks"),
        pytest.param(v, V, v[mask].reshape((2, 2)) * 2, id="reshaped"),
        pytest.param(v, V, T.dot(v[mask], v), id="product"),
        pytest.param(x, X, T.tanh(x[x[:, 0] > 0] - x), id="rows"),
    ]


@pytest.mark.parametrize(("variable", "array", "output"), late_mismatches())
def test_sizes_known_late_are_checked_before_they_are_used(
    variable: Any, array: Any, output: Any
) -> None:
    f = function([variable], output)
    with pytest.raises(ValueError, match=r"mis-?match|reshape"):
        f(array)


def test_sizes_known_late_that_agree() -> None:
    f = function([v], [v[v > 0] + v, v + v[v > 0], (v[v > 0] * v[v < 9]).sum()])
    for result, wanted in zip(f(V), [2 * V, 2 * V, (V * V).sum()], strict=True):
        np.testing.assert_allclose(result, wanted)
