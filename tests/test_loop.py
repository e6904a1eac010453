"""Loops that run natively: against the oracle, and what does not run in them any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile import driver
from symgraph.compile.binding import Binder
from symgraph.compile.loop import KEPT, LoopStep
from symgraph.compile.steps import PythonStep
from symgraph.graph import Op
from symgraph.ifelse import ifelse
from symgraph.ops.gather import AdvancedIncSubtensor, AdvancedSubtensor
from symgraph.ops.inner import InnerGraph
from symgraph.ops.linalg import Dot
from symgraph.ops.scan import Scan

RNG = np.random.RandomState(7)
N = T.lscalar("n")


def steps_of(f: Any) -> list[Any]:
    return list(f._compiled.plan.steps)


def loops_of(f: Any) -> list[LoopStep]:
    return [s for s in steps_of(f) if isinstance(s, LoopStep)]


def inner_ops(f: Any) -> list[Op]:
    (loop,) = loops_of(f)
    return [node.op for node in loop.inner.rounds.inner.nodes]


def oracle(node: Any, *arrays: Any) -> Sequence[Any]:
    return node.op.evaluate(node, *map(np.asarray, arrays))  # type: ignore[no-any-return]


def assert_close(got: Sequence[Any], want: Sequence[Any]) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def recurrence() -> tuple[Any, list[Any]]:
    """h' = tanh(h W + x), collecting sum(h'): the node, and its inputs."""
    x, h, w = T.dmatrix("x"), T.dmatrix("h"), T.dmatrix("w")
    new = T.tanh(T.dot(h, w) + x)
    op = Scan(InnerGraph([x, h, w], [new, new.sum()]), 1, ((-1,),), 1, 0)
    inputs = [N, T.dtensor3("xs"), T.dtensor3("h0"), T.dmatrix("w")]
    return op.make_node(*inputs), inputs


def arrays_for(steps: int, batch: int, width: int) -> list[Any]:
    xs, h0 = RNG.randn(steps, batch, width), RNG.randn(1, batch, width)
    return [steps, xs, h0, RNG.randn(width, width)]


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_a_recurrence(steps: int) -> None:
    node, inputs = recurrence()
    f = symgraph.function(inputs, node.outputs)
    assert [type(s) for s in steps_of(f)] == [LoopStep]
    for batch in (3, 4, 3):  # other sizes are bound anew
        values = arrays_for(steps, batch, 5)
        assert_close(f(*values), oracle(node, *values))


def test_a_sequence_may_have_any_stride_over_time() -> None:
    node, (n, xs, h0, w) = recurrence()
    f = symgraph.function([n, xs, h0, w], node.op(n, xs[::-1], h0, w))
    steps, x, h, weights = arrays_for(6, 3, 4)
    assert_close(f(steps, x, h, weights), oracle(node, steps, x[::-1], h, weights))
    assert [type(s) for s in steps_of(f)] == [LoopStep]


def test_rows_that_are_not_contiguous_are_copied_first() -> None:
    node, (n, xs, h0, w) = recurrence()
    f = symgraph.function([n, xs, h0, w], node.op(n, xs.dimshuffle(1, 0, 2), h0, w))
    steps, x, h, weights = arrays_for(6, 3, 4)
    x = x.transpose(1, 0, 2).copy()
    assert_close(f(steps, x, h, weights), oracle(node, steps, x.transpose(1, 0, 2), h, weights))


def test_long_steps_are_shared_among_threads_with_the_same_bits() -> None:
    node, inputs = recurrence()
    f = symgraph.function(inputs, node.outputs)
    values = arrays_for(3, 200, 150)
    before = driver.workers()
    try:
        driver.set_threads(2)
        two = f(*values)
        driver.set_threads(1)
        one = symgraph.function(inputs, node.outputs)(*values)
    finally:
        driver.set_threads(before)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_close(two, oracle(node, *values))


def test_a_state_with_several_taps() -> None:
    a, b, k = T.dvector("a"), T.dvector("b"), T.dscalar("k")
    op = Scan(InnerGraph([a, b, k], [a + k * b]), 0, ((-1, -3),), 0, 0)
    start = T.dmatrix("start")
    f = symgraph.function([N, start, k], op(N, start, k))
    node = op.make_node(N, start, k)
    for steps in (0, 1, 2, 9):
        values = steps, RNG.randn(3, 4), np.array(0.5)
        assert_close([f(*values)], oracle(node, *values))


def test_until_ends_the_loop_and_clears_what_is_left() -> None:
    x, s = T.dvector("x"), T.dvector("s")
    new = s + x
    op = Scan(InnerGraph([x, s], [new, 2 * new, new.sum() > 3]), 1, ((-1,),), 1, 0, until=True)
    xs, s0 = T.dmatrix("xs"), T.dmatrix("s0")
    node = op.make_node(xs.shape[0], xs, s0)
    f = symgraph.function([xs, s0], node.outputs)
    assert loops_of(f)
    values = np.ones((9, 1)), np.zeros((1, 1))
    for _ in range(2):  # the second call finds memory in use
        states, doubled, count = f(*values)
        assert count == 4
        np.testing.assert_array_equal(states[:, 0], [0, 1, 2, 3, 4, 0, 0, 0, 0, 0])
        np.testing.assert_array_equal(doubled[:, 0], [2, 4, 6, 8, 0, 0, 0, 0, 0])
    assert_close(f(*values), oracle(node, 9, *values))


def test_carries_alternate_between_two_places() -> None:
    c, d = T.dvector("c"), T.dvector("d")
    op = Scan(InnerGraph([c, d], [d, c + d]), 0, (), 0, 2)
    c0, d0 = T.dvector("c0"), T.dvector("d0")
    node = op.make_node(N, c0, d0)
    f = symgraph.function([N, c0, d0], node.outputs)
    assert loops_of(f)
    for steps in range(6):
        values = steps, np.array([0.0, 1]), np.array([1.0, 1])
        assert_close(f(*values), oracle(node, *values))


def test_the_last_row_alone_needs_no_history() -> None:
    node, (n, xs, h0, w) = recurrence()
    history, sums = node.outputs
    last = symgraph.function([n, xs, h0, w], history[1:][-1])
    every = symgraph.function([n, xs, h0, w], [history, sums])
    values = arrays_for(50, 20, 30)
    np.testing.assert_array_equal(last(*values), every(*values)[0][-1])
    (loop,) = loops_of(last)
    assert (loop.nodes[0].op.taps, loop.nodes[0].op.carries) == ((), 1)  # type: ignore[attr-defined]
    assert last._compiled.program.current.arena < 50 * 20 * 30 * 8
    with pytest.raises(IndexError, match="the last of no steps"):
        last(0, *values[1:])
    assert_close([symgraph.function([n, xs, h0, w], history[-1])(0, *values[1:])], [values[2][0]])


def test_what_does_not_change_is_computed_once() -> None:
    x, u = T.dvector("x"), T.dmatrix("u")
    op = Scan(InnerGraph([x, u], [x * T.exp(T.dot(u, u)).sum()]), 1, (), 1, 0)
    xs, w = T.dmatrix("xs"), T.dmatrix("w")
    node = op.make_node(xs.shape[0], xs, w)
    f = symgraph.function([xs, w], node.outputs)
    assert not any(isinstance(op, Dot) for op in inner_ops(f))
    values = RNG.randn(5, 3), RNG.randn(4, 4)
    assert_close(f(*values), oracle(node, 5, *values))


def test_loops_over_the_same_things_are_one() -> None:
    node, inputs = recurrence()
    op, inner = node.op, node.op.inner
    x, h, w = inner.inputs
    twin = Scan(InnerGraph([x, h, w], [*inner.outputs, T.dot(h, w)]), 1, ((-1,),), 2, 0)
    both = [*op(*inputs), *twin(*inputs)]
    f = symgraph.function(inputs, both)
    assert sum(isinstance(op, Dot) for op in inner_ops(f)) == 1
    values = arrays_for(4, 3, 5)
    want = [*oracle(node, *values), *oracle(twin.make_node(*inputs), *values)]
    assert_close(f(*values), want)


def test_unused_results_are_not_computed() -> None:
    node, inputs = recurrence()
    x, h, w = node.op.inner.inputs
    op = Scan(InnerGraph([x, h, w], [h + 1, T.dot(x, w), x * 2]), 1, ((-1,),), 2, 0)
    f = symgraph.function(inputs, op(*inputs)[2], on_unused_input="ignore")
    (loop,) = loops_of(f)
    assert len(loop.inner.rounds.inner.outputs) == 1 and not loop.nodes[0].op.taps  # type: ignore[attr-defined]
    values = arrays_for(4, 3, 5)
    assert_close([f(*values)], [values[1] * 2])


def test_integers_that_change_read_and_write_as_arrays_do() -> None:
    i, u = T.lscalar("i"), T.dvector("u")
    picked, put = u[i] * 2, T.set_subtensor(u[i], 0.0)
    op = Scan(InnerGraph([i, u], [picked, put]), 1, (), 2, 0)
    indices, v = T.lvector("indices"), T.dvector("v")
    node = op.make_node(indices.shape[0], indices, v)
    f = symgraph.function([indices, v], node.outputs)
    assert {AdvancedSubtensor, AdvancedIncSubtensor} <= {type(op) for op in inner_ops(f)}
    values = np.array([2, 0, -1, 2]), RNG.randn(3)
    assert_close(f(*values), oracle(node, 4, *values))
    with pytest.raises(IndexError, match=r"index 3 is out of bounds for size 3(.|\n)*in round 1"):
        f(np.array([0, 3, 0]), values[1])


def test_bounds_that_change_run_in_python() -> None:
    i, u = T.lscalar("i"), T.dvector("u")
    op = Scan(InnerGraph([i, u], [u[i : i + 2].sum()]), 1, (), 1, 0)
    indices, v = T.lvector("indices"), T.dvector("v")
    node = op.make_node(indices.shape[0], indices, v)
    f = symgraph.function([indices, v], node.outputs)
    assert any(isinstance(s, PythonStep) for s in steps_of(f))
    values = np.array([2, 0, 1]), RNG.randn(5)
    assert_close(f(*values), oracle(node, 3, *values))


@dataclass(frozen=True)
class Halved(Op):
    """x / 2 in Python: an op without a kernel."""

    def output_types(self, x: Any) -> list[Any]:
        return [x.type]

    def infer_shape(self, node: Any, ctx: Any) -> list[Any]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Any, *inputs: np.ndarray) -> list[np.ndarray]:
        return [inputs[0] / 2]


def test_a_step_that_needs_python() -> None:
    x, h = T.dvector("x"), T.dvector("h")
    op = Scan(InnerGraph([x, h], [Halved()(h) + T.exp(x) * 2]), 1, ((-1,),), 0, 0)
    xs, h0 = T.dmatrix("xs"), T.dmatrix("h0")
    node = op.make_node(xs.shape[0], xs, h0)
    f = symgraph.function([xs, h0], node.outputs)
    assert not loops_of(f)
    for steps in (0, 1, 5):
        values = RNG.randn(steps, 3), RNG.randn(1, 3)
        assert_close(f(*values), oracle(node, steps, *values))


def test_a_loop_within_a_loop() -> None:
    x, total = T.dscalar("x"), T.dscalar("total")
    within = Scan(InnerGraph([x, total], [total + x]), 1, ((-1,),), 0, 0)
    row, start = T.dvector("row"), T.dvector("start")
    sums = within(row.shape[0], row, start)
    op = Scan(InnerGraph([row, start], [sums[1:], sums[-1]]), 1, (), 2, 0)
    rows, zero = T.dmatrix("rows"), T.dvector("zero")
    node = op.make_node(rows.shape[0], rows, zero)
    f = symgraph.function([rows, zero], node.outputs)
    (outer,) = loops_of(f)
    assert any(isinstance(s, LoopStep) for s in outer.inner.plan.steps)
    for shape in ((4, 3), (1, 6), (4, 3), (0, 2)):
        values = RNG.randn(*shape), np.zeros(1)
        want = values[0].cumsum(1), values[0].sum(1)
        assert_close(f(*values), want)


def test_another_number_of_rounds_binds_no_round_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do sequences of another length, forward and back."""
    binds: list[Binder] = []
    bind = Binder.bind

    def noted(self: Binder, arrays: Any) -> Any:
        binds.append(self)
        return bind(self, arrays)

    monkeypatch.setattr(Binder, "bind", noted)
    node, (n, xs, h0, w) = recurrence()
    f = symgraph.function([n, xs, h0, w], node.outputs)
    cost = symgraph.scan(lambda x, h: T.tanh(T.dot(h, w) + x), [xs], h0[0])[0][-1].sum()
    g = symgraph.function([xs, h0, w], [cost, *T.grad(cost, [h0, w])])
    values = arrays_for(20, 2, 3)
    for run, of in (
        (lambda k: f(k, *values[1:]), f),
        (lambda k: g(values[1][:k], *values[2:]), g),
    ):
        run(5)
        loops = loops_of(of)
        assert len(binds) == 1 + len(loops)
        binds.clear()
        for length in (6, 20, 5, 11, 12, 1, 3):
            run(length)
        assert set(binds) == {of._compiled.program.binder}
        assert len(binds) == 6  # once for each length
        binds.clear()
        of._compiled.free()
        run(7)
        assert len(binds) == 1 + len(loops)
        binds.clear()
    assert_close(f(11, *values[1:]), oracle(node, 11, *values[1:]))


def test_what_a_branch_refuses_is_kept_while_its_sizes_are() -> None:
    c, x, y = T.dscalar("c"), T.dvector("x"), T.dvector("y")
    f = symgraph.function([c, x, y], ifelse(c, T.dot(x, y), x.sum()))
    loops = loops_of(f)
    for size in range(3, 150):
        f(0, np.ones(2), np.ones(size))
    assert 0 < sum(len(loop.refused) for loop in loops) <= KEPT
    for size in (149, 3, 149):
        with pytest.raises(ValueError, match=rf"\b{size}\b"):
            f(1, np.ones(2), np.ones(size))


def test_an_error_deep_inside_names_every_round() -> None:
    i, u, row, w = T.lscalar("i"), T.dvector("u"), T.lvector("row"), T.dvector("w")
    within = Scan(InnerGraph([i, u], [u[i]]), 1, (), 1, 0)
    op = Scan(InnerGraph([row, w], [within(row.shape[0], row, w)]), 1, (), 1, 0)
    rows, v = T.lmatrix("rows"), T.dvector("v")
    f = symgraph.function([rows, v], op(rows.shape[0], rows, v))
    values = RNG.randn(4)
    assert_close([f([[1, 2], [3, 0]], values)], [values[[[1, 2], [3, 0]]]])
    with pytest.raises(IndexError) as caught:
        f([[1, 2], [3, 9]], values)
    text = str(caught.value)
    assert "index 9 is out of bounds for size 4" in text and "test_loop.py" in text
    assert text.count("in round 1") == 2
    assert_close([f([[1, 2], [3, 0]], values)], [values[[[1, 2], [3, 0]]]])  # and goes on


def test_a_step_that_changes_a_shape() -> None:
    node, inputs = recurrence()
    f = symgraph.function(inputs, node.outputs)
    steps, xs, h0, _ = arrays_for(3, 2, 4)
    with pytest.raises(symgraph.ShapeError, match=r"test_loop\.py"):
        f(steps, xs, h0, RNG.randn(4, 5))
    with pytest.raises(IndexError, match="number of steps is negative"):
        f(-1, xs, h0, RNG.randn(4, 4))


def test_a_failing_loop_changes_no_shared_variable() -> None:
    i, v = T.lscalar("i"), T.dvector("v")
    picked = Scan(InnerGraph([i, v], [v[i]]), 1, (), 1, 0)
    indices, w = T.lvector("indices"), symgraph.shared(np.arange(3.0))
    f = symgraph.function([indices], [], updates=[(w, picked(indices.shape[0], indices, w) * 2)])
    f([2, 1, 0])
    with pytest.raises(IndexError):
        f([0, 3, 0])
    np.testing.assert_array_equal(w.get_value(), [4, 2, 0])


@pytest.mark.parametrize("target", ["cpu", "python"])
def test_both_targets(target: str) -> None:
    node, inputs = recurrence()
    with symgraph.config.change_flags(target=target):
        f = symgraph.function(inputs, node.outputs)
    values = arrays_for(3, 2, 4)
    assert_close(f(*values), oracle(node, *values))


def test_the_kernels_of_the_step_can_be_read() -> None:
    node, inputs = recurrence()
    (kernel,) = symgraph.function(inputs, node.outputs).kernels()
    assert kernel.doc == "for{cpu,scan_fn}: 5 steps, again and again"
    assert kernel.source.count("def kernel(") == 5 and "tanh" in kernel.source
