"""Loops and branches on the device: what they give, what they launch, what they copy (nothing)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile.cuda import binding, program
from symgraph.compile.cuda.array import DeviceArray
from symgraph.compile.cuda.calls import conditional, copy_call, only_if, refusing_call
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.libcuda import Traffic
from symgraph.compile.cuda.loop import DeviceLoop, Turns
from symgraph.compile.cuda.simulated import Simulated
from symgraph.compile.mode import Options
from symgraph.compile.slots import REFUSED
from symgraph.compile.steps import PythonStep
from symgraph.ifelse import ifelse
from symgraph.loops import until
from symgraph.ops.inner import InnerGraph
from symgraph.ops.scan import Scan
from tests.cuda_assembly import ARCHITECTURES
from tests.cuda_kernels import check_resources

RNG = np.random.RandomState(5)
CUDA = Options("cuda")
X, H, W = T.dtensor3("x"), T.dmatrix("h"), T.dmatrix("w")
N = T.lscalar("n")


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.randn(*shape) * 0.5 for shape in shapes]


def loops_of(f: Any) -> list[DeviceLoop]:
    return [s for s in f._compiled.plan.steps if isinstance(s, DeviceLoop)]


def turns_of(f: Any) -> list[Turns]:
    """The loops as the last call ran them."""
    tables = f._compiled.program.latest.tables
    return [item for table in tables for item in table.bound if isinstance(item, Turns)]


def steps_of_the_host(f: Any) -> list[PythonStep]:
    return [s for s in f._compiled.plan.steps if isinstance(s, PythonStep)]


@contextmanager
def counted(device: Device) -> Iterator[Traffic]:
    """What is asked of the device within."""
    before, asked = replace(device.statistics), Traffic()
    yield asked
    vars(asked).update(vars(device.statistics - before))


def same_as_cpu(
    inputs: Sequence[Any], outputs: Any, *calls: Sequence[Any], rtol: float = 1e-12
) -> Any:
    """A function of the device that gives what the CPU's gives for each of `calls`, twice, and the
    same bits in the other order of its threads; all in one graph."""
    expected = symgraph.function(inputs, outputs, mode=Options("cpu"))
    found = []
    for order in (1, -1):
        with use(Device(Simulated(order))) as device:
            f = symgraph.function(inputs, outputs, mode=CUDA)
        assert not steps_of_the_host(f)
        results = []
        for values in calls:
            first = f(*values)
            with counted(device) as asked:
                again = f(*values)
            assert asked.graph_launches <= 1 and (asked.launches <= 2 or not asked.graph_launches)
            for one, other in zip(listed(first), listed(again), strict=True):
                np.testing.assert_array_equal(one, other)
            results += listed(first)
        found.append(results)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    wanted = [value for values in calls for value in listed(expected(*values))]
    for one, want in zip(found[0], wanted, strict=True):
        assert one.dtype == want.dtype
        np.testing.assert_allclose(one, want, rtol=rtol, atol=rtol)
    return f


def listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def rnn(x: Any, h: Any, w: Any) -> Any:
    return symgraph.scan(lambda x, h, w: T.tanh(T.dot(h, w) + x), x, h, w)[0]


# ---- what loops give


def test_a_recurrence_and_its_gradient_through_time() -> None:
    hs = rnn(X, H, W)
    cost = (hs[-1] ** 2).sum()
    shapes = ((4, 2, 3), (2, 3), (3, 3)), ((5, 2, 3), (2, 3), (3, 3)), ((1, 1, 2), (1, 2), (2, 2))
    calls = [arrays(*each) for each in shapes]
    f = same_as_cpu([X, H, W], [hs, cost, *T.grad(cost, [X, H, W])], *calls)
    assert len(loops_of(f)) == 2


def test_the_gradient_of_a_gradient() -> None:
    x, w = T.dvector("x"), T.dscalar("w")
    hs, _ = symgraph.scan(lambda x, h, w: T.tanh(h * w + x), x, T.constant(0.1), w)
    slope = T.grad(hs[-1], w)
    same_as_cpu([x, w], [slope, T.grad(slope, w)], [RNG.randn(3), 0.7])


def test_several_outputs_with_taps() -> None:
    def step(before: Any, now: Any, a: Any, b: Any, c: Any) -> Any:
        return [T.sin(a) + b * now, c - before, a * c]

    a0, c0 = T.dmatrix("a0"), T.dvector("c0")
    xs = T.dmatrix("xs")
    outputs = [dict(initial=a0, taps=[-3, -1]), dict(initial=c0, taps=[-1]), None]
    made, _ = symgraph.scan(step, dict(input=xs, taps=[-1, 0]), outputs)
    same_as_cpu([xs, a0, c0], made, arrays((5, 2), (3, 2), (2,)), arrays((1, 2), (3, 2), (2,)))


@pytest.mark.parametrize("last", [False, True])
def test_an_lstm(last: bool) -> None:
    units = 3

    def step(x: Any, h: Any, c: Any, u: Any, w: Any, b: Any) -> Any:
        gates = T.dot(x, u) + T.dot(h, w) + b
        i, f, o = (T.nnet.sigmoid(gates[:, k * units : (k + 1) * units]) for k in range(3))
        c = f * c + i * T.tanh(gates[:, 3 * units :])
        return o * T.tanh(c), c

    c0, u, b = T.dmatrix("c0"), T.dmatrix("u"), T.dvector("b")
    (hs, _), _ = symgraph.scan(step, X, [H, c0], [u, W, b])
    cost = (hs[-1] ** 2).sum() if last else hs.sum()
    values = arrays((3, 2, 4), (2, units), (2, units), (4, 12), (units, 12), (12,))
    same_as_cpu([X, H, c0, u, W, b], [cost, *T.grad(cost, [u, W, b])], values)


def test_carries_end_in_the_result_after_any_number_of_rounds() -> None:
    c, d = T.dvector("c"), T.dvector("d")
    op = Scan(InnerGraph([c, d], [d, c + d]), 0, (), 0, 2)
    c0, d0 = T.dvector("c0"), T.dvector("d0")
    values = [np.array([0.0, 1]), np.array([1.0, 1])]
    f = same_as_cpu([N, c0, d0], op(N, c0, d0), *([n, *values] for n in range(5)))
    (turns,) = turns_of(f)
    assert not turns.before  # the first round reads where they begin


def test_rows_in_any_order_and_of_any_layout() -> None:
    x, y = T.dmatrix("x"), T.dmatrix("y")
    made = [
        symgraph.scan(lambda a, b, h: h * b + a, [x[::-1], y.T], T.zeros((3,)))[0],
        symgraph.scan(lambda a, h: h + a, x[1:], x[0], go_backwards=True)[0],
    ]
    same_as_cpu([x, y], made, arrays((4, 3), (3, 4)), arrays((2, 3), (3, 2)))


def test_loops_within_loops() -> None:
    rows, w = T.dmatrix("rows"), T.dscalar("w")

    def of_row(row: Any, total: Any, w: Any) -> Any:
        return symgraph.scan(lambda e, h: T.tanh(h * w + e) * 1.5, row, total)[0][-1]

    sums, _ = symgraph.scan(of_row, rows, T.constant(0.5, dtype="float64"), w)
    f = same_as_cpu(
        [rows, w], [sums, T.grad(sums[-1], w)], [RNG.randn(3, 2), 0.3], [RNG.randn(1, 4), 0.3]
    )
    assert any(isinstance(s, DeviceLoop) for s in loops_of(f)[0].inner.plan.steps)


def test_constants_of_the_step_lie_on_the_device_once() -> None:
    table, row = np.arange(12.0).reshape(4, 3), T.dvector("row")
    held = T.constant(table)
    hs, _ = symgraph.scan(lambda h: T.tanh(T.dot(held, h)[:3]), None, row, n_steps=3)
    f = same_as_cpu([row], hs, arrays((3,)))
    on_device = f._compiled.program.on_device.values()
    assert [a.shape for a in on_device].count((4, 3)) == 1


def test_updates_of_shared_variables_by_a_scan() -> None:
    def made() -> tuple[Any, Any, Any]:
        total, seen = symgraph.shared(np.zeros(2)), T.dmatrix("seen")
        doubled, updates = symgraph.scan(lambda v: (v * 2, {total: total + v}), seen)
        return symgraph.function([seen], doubled.sum(), updates=updates, mode=CUDA), total, seen

    with use(Device(Simulated())) as device:
        f, total, _ = made()
        rows = RNG.randn(5, 2)
        expected = np.zeros(2)
        for _ in range(3):
            np.testing.assert_allclose(f(rows), 2 * rows.sum())
            expected = expected + rows.sum(0)
        assert device.statistics.downloads == 3 and not steps_of_the_host(f)
        np.testing.assert_allclose(total.get_value(), expected)


def test_updates_that_a_loop_makes_of_what_it_reads() -> None:
    def after(mode: Options) -> list[np.ndarray]:
        c, d = symgraph.shared(np.array([0.0, 1])), symgraph.shared(np.array([1.0, 1]))
        a, b = T.dvectors("a", "b")
        op = Scan(InnerGraph([a, b], [b, a + b]), 0, (), 0, 2)
        updates = list(zip((c, d), op(N, c, d), strict=True))
        f = symgraph.function([N], T.exp(c) + d, updates=updates, mode=mode)
        return [x for n in (3, 2, 0, 1) for x in (f(n), c.get_value(), d.get_value())]

    with use(Device(Simulated())):
        found = after(CUDA)
    np.testing.assert_allclose(found, after(Options("cpu")), rtol=1e-14)


def test_random_numbers_within_a_loop() -> None:
    from symgraph.rng_mrg import MRG_RandomStreams

    def drawn(mode: Options) -> list[np.ndarray]:
        stream = MRG_RandomStreams(3)
        rows, updates = symgraph.scan(lambda: stream.uniform((4,)), n_steps=3)
        f = symgraph.function([], rows, updates=updates, mode=mode)
        return [f(), f()]

    with use(Device(Simulated())):
        found = drawn(CUDA)
    np.testing.assert_array_equal(found, drawn(Options("cpu")))


# ---- what they launch and copy


def resident(steps: int) -> tuple[Any, list[Any], Device]:
    """A recurrence of which everything stays on the device."""
    values = arrays((steps, 2, 3), (2, 3), (3, 3))
    with use(Device(Simulated())) as device:
        shared = [symgraph.shared(value) for value in values]
        f = symgraph.function([], rnn(*shared).transfer("cuda"), mode=CUDA)
    return f, shared, device


def test_a_call_copies_nothing_and_is_one_graph() -> None:
    f, shared, device = resident(6)
    first = np.asarray(f())
    with counted(device) as asked:
        again = f()
    asked.allocations = asked.copies = 0  # of the result, which the next call must not overwrite
    assert asked == Traffic(graph_launches=1)
    np.testing.assert_array_equal(first, np.asarray(again))
    moved = DeviceArray.of(device, shared[0].get_value() * 2)
    shared[0].container.value = moved
    with counted(device) as asked:
        third = f()
    assert asked.graph_launches == 1 and not asked.launches
    assert asked.graph_updates == 6 + 1  # the rounds that read it, and what makes the result
    third = np.asarray(third)
    x, h, w = (variable.get_value() for variable in shared)
    for row, value in zip(x, third, strict=True):
        h = np.tanh(h @ w + row)
        np.testing.assert_allclose(value, h, rtol=1e-12)


class Idle(Simulated):
    """Runs nothing, and counts what it would run."""

    def _run(self, *launched: Any) -> None:
        pass


def test_launches_are_rounds_times_steps() -> None:
    u = T.dmatrix("u")

    def step(x: Any, h: Any, w: Any, u: Any) -> Any:
        return T.tanh(T.dot(x, u) + T.dot(h, w))

    hs, _ = symgraph.scan(step, X, H, [W, u])
    with use(Device(Idle())) as device:
        f = symgraph.function([X, H, W, u], hs, mode=CUDA)
    values = arrays((100, 2, 3), (2, 4), (4, 4), (3, 4))
    f(*values)
    (turns,) = turns_of(f)
    assert turns.times == 100 and len(turns.work) == 3  # two products, and a kernel for the rest
    assert turns.count == 1 + 100 * 3  # the first row is a copy
    assert device.statistics.launches == turns.count + 1  # and so is the result: the other rows
    f(*values)
    assert device.statistics.graph_launches == 1 and device.statistics.launches == turns.count + 1


def test_another_number_of_rounds_binds_no_round_anew() -> None:
    with use(Device(Idle())):
        f = symgraph.function([X, H, W], rnn(X, H, W), mode=CUDA)
    shown = f.kernels()
    assert "tanh" in "".join(kernel.source for kernel in shown)  # before anything is bound
    for steps in (3, 5, 4, 3):
        f(*arrays((steps, 2, 3), (2, 3), (3, 3)))
        (loop,) = loops_of(f)
        assert loop.bind_round.cache_info().misses == 1
    assert len(f._compiled.program.bound) == 3
    assert len(f.kernels()) == 2 + 2  # the first row, two for all rounds, the result


def test_places_that_move_are_not_bound_anew() -> None:
    """Sequences that are slices of an array of the device, by an index that the host knows."""
    rows, i = symgraph.shared(np.arange(24.0).reshape(12, 2)), T.lscalar("i")
    total, _ = symgraph.scan(lambda r, h: h * 0.5 + r, rows[3 * i : 3 * i + 3], T.zeros((2,)))
    with use(Device(Simulated())) as device:
        f = symgraph.function([i], total[-1], mode=CUDA)
        for k in range(4):
            value, expected = f(k), np.zeros(2)
            for row in np.arange(24.0).reshape(12, 2)[3 * k : 3 * k + 3]:
                expected = expected * 0.5 + row
            np.testing.assert_array_equal(value, expected)
    assert len(f._compiled.program.bound) == 1 and not steps_of_the_host(f)
    assert device.statistics.graph_launches == 3 and device.statistics.graph_updates == 2 * 3


def test_long_loops_are_launched_as_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many launches none is kept; results and errors are the same."""
    monkeypatch.setattr(binding, "MANY", 10)
    with use(Device(Simulated())) as device:
        f = symgraph.function([X, H, W], rnn(X, H, W) * 2, mode=CUDA)
        values = arrays((6, 2, 3), (2, 3), (3, 3))
        first = f(*values)
        with counted(device) as asked:
            np.testing.assert_array_equal(f(*values), first)
        (turns,) = turns_of(f)
        assert asked.launches == turns.count + 1 == 1 + 6 * 2 + 1 and not asked.graph_launches
    expected = symgraph.function([X, H, W], rnn(X, H, W) * 2, mode=Options("cpu"))(*values)
    np.testing.assert_allclose(first, expected, rtol=1e-12)
    g = picking()
    with pytest.raises(IndexError, match="in round 11 of"):
        g([0] * 11 + [5], np.arange(3.0))
    assert g([2] * 12, np.arange(3.0)).tolist() == [2] * 12


def test_conditions_within_the_step_that_end_a_loop_are_for_the_host() -> None:
    x = T.dvector("x")
    with use(Device(Simulated())):
        zero = T.constant(0.0, dtype="float64")
        sums, _ = symgraph.scan(lambda e, h: (h + e, until(h + e > 2)), x, zero)
        f = symgraph.function([x], sums, mode=CUDA)
    assert len(steps_of_the_host(f)) == 1
    assert f(np.ones(6)).tolist() == [1, 2, 3]


# ---- errors


def picking() -> Any:
    i, v = T.lscalar("i"), T.dvector("v")
    op = Scan(InnerGraph([i, v], [v[i]]), 1, (), 1, 0)
    indices, w = T.lvector("indices"), T.dvector("w")
    with use(Device(Simulated())):
        return symgraph.function([indices, w], op(indices.shape[0], indices, w), mode=CUDA)


def test_an_error_names_its_round() -> None:
    f = picking()
    for _ in range(2):  # one by one, then as a graph
        with pytest.raises(IndexError) as caught:
            f([0, 1, 7, 9], np.arange(3.0))
        text = str(caught.value)
        assert "index 7 is out of bounds for size 3" in text and "test_cuda_loop.py" in text
        assert text.endswith("in round 2 of for{cpu,scan_fn}")
        assert f([2, 1, 0], np.arange(3.0)).tolist() == [2, 1, 0]


def test_an_error_deep_inside_names_every_round() -> None:
    i, u, row, w = T.lscalar("i"), T.dvector("u"), T.lvector("row"), T.dvector("w")
    within = Scan(InnerGraph([i, u], [u[i]]), 1, (), 1, 0, name="within")
    op = Scan(InnerGraph([row, w], [within(row.shape[0], row, w)]), 1, (), 1, 0, name="around")
    rows, v = T.lmatrix("rows"), T.dvector("v")
    with use(Device(Simulated())):
        f = symgraph.function([rows, v], op(rows.shape[0], rows, v), mode=CUDA)
    values = RNG.randn(4)
    with pytest.raises(IndexError) as caught:
        f([[1, 2], [3, 0], [9, 1]], values)
    text = str(caught.value)
    assert "index 9 is out of bounds for size 4" in text
    assert text.endswith("in round 0 of for{cpu,within}\n  in round 2 of for{cpu,around}")
    np.testing.assert_array_equal(f([[1, 2], [3, 0]], values), values[[[1, 2], [3, 0]]])


def test_a_failing_loop_changes_no_shared_variable() -> None:
    i, v = T.lscalar("i"), T.dvector("v")
    picked = Scan(InnerGraph([i, v], [v[i]]), 1, (), 1, 0)
    indices, w = T.lvector("indices"), symgraph.shared(np.arange(3.0))
    with use(Device(Simulated())):
        updates = [(w, picked(indices.shape[0], indices, w) * 2)]
        f = symgraph.function([indices], [], updates=updates, mode=CUDA)
        f([2, 1, 0])
        np.testing.assert_array_equal(w.get_value(), [4, 2, 0])
        f([0, 3, 0])  # nobody has asked yet
        with pytest.raises(IndexError, match="in round 1"):
            w.get_value()
        np.testing.assert_array_equal(w.get_value(), [4, 2, 0])


def test_sizes_that_do_not_fit() -> None:
    with use(Device(Simulated())):
        f = symgraph.function([X, H, W], rnn(X, H, W), mode=CUDA)
    x, h, _ = arrays((3, 2, 4), (2, 4), (4, 4))
    with pytest.raises(symgraph.ShapeError, match=r"test_cuda_loop\.py"):
        f(x, h, RNG.randn(4, 5))


# ---- branches


C, A = T.bscalar("c"), T.dmatrix("a")


@pytest.mark.parametrize("condition", ["argument", "computed"])
def test_a_branch(condition: str) -> None:
    """Both branches are among the launches, and the kernels of the other one do nothing."""
    c = C > 0 if condition == "argument" else A.sum() * C > 0
    z = ifelse(c, T.dot(A, W) + 1, T.exp(A) * 2)
    values = arrays((3, 3), (3, 3))
    values[0] = abs(values[0])
    f = same_as_cpu(
        [C, A, W],
        z + A,
        [1, *values],
        [-1, *values],
    )
    assert len(loops_of(f)) == 2 and len(turns_of(f)) == 2


def test_a_branch_of_a_loop_and_a_loop_of_a_branch() -> None:
    x, w = T.dvector("x"), T.dscalar("w")
    hs, _ = symgraph.scan(
        lambda e, h: ifelse(h > 0, T.tanh(h - e), ifelse(e > 0, e * w, h + 1)), x, T.constant(0.2)
    )
    values = [np.array([0.5, 1.0, -0.5, 0.1, -2]), 0.3]
    f = same_as_cpu([x, w], [hs, T.grad(hs.sum(), w)], values)
    assert len(loops_of(f)) == 2


def test_a_loop_in_a_branch() -> None:
    x = T.dvector("x")
    hs, _ = symgraph.scan(lambda e, h: T.tanh(h * 0.5 + e), x, T.constant(0.2))
    same_as_cpu([C, x], ifelse(C, hs, x * 2), [1, *arrays((4,))], [0, *arrays((4,))])


def test_a_long_branch_is_left_out() -> None:
    """The host asks for the condition: that takes less than launches that do nothing."""
    x = T.dvector("x")
    hs, _ = symgraph.scan(lambda e, h: T.tanh(h + e), x, T.zeros(()))
    z = ifelse(x.sum() > 0, hs[-1], x[0])
    with use(Device(Simulated())) as device:
        f = symgraph.function([x], z * 2, mode=CUDA)
        for value in (0.01, -0.01, 0.01):
            expected = value
            if value > 0:
                expected = 0.0
                for _ in range(binding.LONG + 1):
                    expected = np.tanh(expected + value)
            with counted(device) as asked:
                found = f(np.full(binding.LONG + 1, value))
            np.testing.assert_allclose(found, 2 * expected, rtol=1e-12)
            assert asked.downloads == 2  # the condition, one byte, and the result
    then, _ = turns_of(f)
    assert then.count > binding.LONG
    assert asked.graph_launches == 1  # of the second run of the branch; the rest is few launches
    assert device.statistics.launches < 2 * then.count


def test_tables_are_kept_while_their_launches_are_not_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "HELD", 40)
    with use(Device(Idle())):
        f = symgraph.function([X, H, W], rnn(X, H, W), mode=CUDA)
    for steps in (3, 4, 5, 6, 30, 2):
        f(*arrays((steps, 2, 3), (2, 3), (3, 3)))
        kept: list[Any] = list(f._compiled.program.bound.values())
        assert sum(bound.held for bound in kept) <= 40 or len(kept) == 1
    assert len(kept) == 1


def test_branches_of_different_sizes_are_bound_when_the_condition_is_known() -> None:
    y = T.dmatrix("y")
    z = ifelse(A.sum() > 0, A[1:] * 2, T.dot(y, y.T))
    with use(Device(Simulated())):
        f = symgraph.function([A, y], z, mode=CUDA)
    assert not steps_of_the_host(f)
    a, b = abs(arrays((3, 2))[0]), arrays((4, 3))[0]
    np.testing.assert_array_equal(f(a, b), a[1:] * 2)
    np.testing.assert_allclose(f(-a, b), b @ b.T, rtol=1e-12)


def test_a_branch_that_does_not_fit_is_refused_when_it_is_chosen() -> None:
    x, y = T.dvector("x"), T.dvector("y")
    chosen = ifelse(C, T.dot(x, y), x.sum())
    w = symgraph.shared(0.0)
    with use(Device(Simulated())):
        f = symgraph.function([C, x, y], chosen, mode=CUDA)
        g = symgraph.function([C, x, y], [], updates=[(w, chosen)], mode=CUDA)
        for size in (3, 4, 3):
            assert f(0, np.ones(2), np.ones(size)) == 2
            for called in (f, g):
                with pytest.raises(ValueError, match=rf"\b{size}\b"):
                    called(1, np.ones(2), np.ones(size))
            assert f(1, np.ones(2), np.ones(2)) == 2
        g(0, np.ones(2), np.ones(5))
        assert w.get_value() == 2


def test_a_refusal_within_a_loop_names_its_round() -> None:
    x, y, flags = T.dvector("x"), T.dvector("y"), T.bvector("flags")
    z, _ = symgraph.scan(lambda c: ifelse(c, T.dot(x * c, y), x.sum() * 2), flags)
    with use(Device(Simulated())):
        f = symgraph.function([flags, x, y], z, mode=CUDA)
    off, on = np.zeros(3, np.int8), np.array([0, 1, 1], np.int8)
    assert f(off, np.ones(2), np.ones(3)).tolist() == [4, 4, 4]
    with pytest.raises(ValueError, match=r"(?s)Shape mismatch.*in round 1 of for"):
        f(on, np.ones(2), np.ones(3))
    assert f(on, np.ones(2), np.ones(2)).tolist() == [4, 2, 2]


def test_a_kernel_under_a_condition() -> None:
    text = "# what\ndef kernel(arrays, sizes):  # 32 threads\n    pass\n"
    assert only_if(text, 3, True) == (
        "# what\ndef kernel(arrays, sizes):  # 32 threads\n"
        "    if pointer(arrays, 3, int8)[0] != 1:\n        return\n    pass\n"
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_loops_add_is_assembled(arch: str) -> None:
    """Copies of each size of element; a refusal, under a condition; a product under one."""
    row = np.zeros(4, np.int64)
    calls = [copy_call(row, row, 5, size, (0,)) for size in (1, 2, 4, 8)]
    calls.append(conditional(refusing_call(row, REFUSED, 0, (0,)), row, True))
    with use(Device(Idle())):
        f = symgraph.function([C, A, W], ifelse(C, T.dot(A, W), A), mode=CUDA)
        f(1, *arrays((4, 4), (4, 4)))
    sources = {call.chosen.source for call in [*calls, *(c for t in turns_of(f) for c in t)]}
    assert len(sources) > len(calls)
    for source in sources:
        check_resources(source, arch)
