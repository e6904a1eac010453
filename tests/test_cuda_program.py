"""Whole functions on a device: what stays there, what is copied, what errors leave behind.

On the simulated device, and on the stub driver with the simulator in the place of kernels.
"""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from symgraph import In, Op, function, grad, shared
from symgraph import tensor as T
from symgraph.compile.cuda.array import DeviceArray
from symgraph.compile.cuda.device import Device
from symgraph.compile.cuda.program import DeviceProgram
from symgraph.graph import Apply
from symgraph.ops.assertion import Assert
from symgraph.tensor.shared_randomstreams import RandomStreams
from tests.cuda_programs import DEVICES, cpu, cuda, simulated, traffic

RNG = np.random.RandomState(3)
I = T.lscalar("i")  # noqa: E741
V = T.dvector("v")


@pytest.fixture(params=sorted(DEVICES))
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with DEVICES[request.param]() as made:
        yield made


@pytest.fixture
def one() -> Iterator[Device]:
    with simulated() as made:
        yield made


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape)


def raw(variable: Any) -> Any:
    """What a shared variable holds."""
    return variable.get_value(borrow=True, return_internal_type=True)


def same(got: Any, expected: Any) -> None:
    """The same bits, dtypes and shapes."""
    if isinstance(expected, (list, tuple)):
        for one, other in zip(got, expected, strict=True):
            same(one, other)
        return
    got = np.asarray(got)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)


# ---- a training step -----------------------------------------------------------------------------


class Model:
    """A small classifier of rows of a data set, minibatch `i`; `make` makes its step."""

    def __init__(self, make: Callable[..., Any], stays: bool, rows: int = 4) -> None:
        rng = np.random.RandomState(1)
        self.x = shared(rng.normal(size=(12, 5)), "x")
        self.y = shared(rng.randint(0, 3, 12), "y")
        self.w = shared(rng.normal(size=(5, 3)), "w")
        self.b = shared(rng.normal(size=3), "b")
        here = slice(I * rows, (I + 1) * rows)
        p = T.nnet.softmax(T.dot(self.x[here], self.w) + self.b)
        cost = -T.log(p)[T.arange(rows), self.y[here]].mean()
        updates = [(v, v - 0.5 * grad(cost, v)) for v in (self.w, self.b)]
        self.step = make([I], cost.transfer("cuda") if stays else cost, updates=updates)

    def values(self) -> list[np.ndarray]:
        return [self.w.get_value(), self.b.get_value()]


def test_a_step_that_stays_on_the_device(device: Device) -> None:
    """From the third call on: one graph launch, no copy between host and device, and only the
    launches that read the minibatch are updated."""
    model = Model(cuda, stays=True)
    model.step(0)
    model.step(1)
    launches = model.step._compiled.program.launched()
    places = {raw(v).address: raw(v).nbytes for v in (model.x, model.y)}
    slices = [
        any(a <= p < a + n for p in launch.arrays.tolist() for a, n in places.items())
        for launch in launches
    ]
    assert 0 < sum(slices) < len(slices)
    with traffic(device, graph_launches=1, graph_updates=sum(slices), copies=1):
        cost = model.step(2)
    with traffic(device, graph_launches=1, copies=1, allocations=1):  # `cost` is still there
        again = model.step(2)
    assert isinstance(cost, DeviceArray) and cost.shape == ()
    with traffic(device, downloads=3, downloaded_bytes=8 + 72 + 8):  # errors are asked for once
        assert float(again) < float(cost)


def test_a_step_whose_cost_is_fetched(device: Device) -> None:
    """The cost and what went wrong come with one copy."""
    model = Model(cuda, stays=False)
    model.step(0)
    model.step(1)
    with traffic(device, graph_launches=1, downloads=1, downloaded_bytes=64 + 8):
        cost = model.step(1)
    where = make(np.array(1))
    assert model.step(where) < cost  # an index that is on the device is fetched


def test_a_step_gives_what_the_cpu_gives(device: Device) -> None:
    for stays in (False, True):
        one, other = Model(cuda, stays), Model(cpu, False)
        for k in (0, 1, 2, 0, 2):
            np.testing.assert_allclose(float(one.step(k)), other.step(k), rtol=1e-12)
        for there, here in zip(one.values(), other.values(), strict=True):
            np.testing.assert_allclose(there, here, rtol=1e-12)


def test_another_shape_is_bound_once(device: Device) -> None:
    """Sizes that alternate keep their graphs; memory stops growing."""
    x = T.dmatrix("x")
    f = cuda([x], [T.tanh(x).sum(0), T.dot(x, x.T), (x * 2).mean()])
    g = cpu([x], [T.tanh(x).sum(0), T.dot(x, x.T), (x * 2).mean()])
    values = [normal(2, 3), normal(7, 3), normal(1, 3), normal(0, 3)]
    for _ in range(2):
        for value in values:
            for got, expected in zip(f(value), g(value), strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-12)
    held = device.statistics.allocations
    for value in values * 2:
        before = device.statistics.graph_launches
        f(value)
        assert device.statistics.graph_launches - before == bool(value.size)
    assert device.statistics.allocations == held


# ---- shared variables ----------------------------------------------------------------------------


def test_set_value_of_the_same_shape_keeps_the_graph(device: Device) -> None:
    w = shared(normal(3), "w")
    f = cuda([V], [w * V, w + V, (w - V).sum()], updates=[(w, w * 2)])
    v = normal(3)
    f(v)
    f(v)
    there = raw(w)
    for new in (normal(3), normal(3).tolist()):
        w.set_value(new)
        assert raw(w) is there
        same(w.get_value(), np.array(new))
        with traffic(
            device, graph_launches=1, uploads=1, uploaded_bytes=24, downloads=3,
            downloaded_bytes=48 + 64 + 8,
        ):  # fmt: skip
            product, *_ = f(v)
        same(product, np.array(new) * v)


def test_set_value_of_another_shape(device: Device) -> None:
    w = shared(normal(3), "w")
    f = cuda([], [w.sum(), w * 2, w + 1, w - 1])
    for size in (3, 3, 5, 0, 3, 5):
        value = normal(size)
        w.set_value(value)
        for _ in range(2):
            total, double, *_ = f()
            np.testing.assert_allclose(total, value.sum(), rtol=1e-12)
            same(double, value * 2)


def test_get_value_is_a_copy_on_the_host(device: Device) -> None:
    w = shared(np.arange(3.0), "w")
    cuda([], [], updates=[(w, w + 1)])()
    for borrow in (False, True):
        value = w.get_value(borrow=borrow)
        assert type(value) is np.ndarray
        value[:] = 7
        same(w.get_value(), np.arange(1.0, 4))
    there = raw(w)
    assert isinstance(there, DeviceArray)
    twin = w.get_value(return_internal_type=True)
    assert twin is not there and twin.address != there.address
    same(twin, np.arange(1.0, 4))


def test_borrowed_memory_of_the_host_is_left_alone(device: Device) -> None:
    memory = np.arange(3.0)
    w = shared(memory, borrow=True)
    cuda([], [], updates=[(w, w + 1)])()
    same(memory, np.arange(3.0))
    other = np.full(4, 2.0)
    w.set_value(other, borrow=True)
    cuda([], [], updates=[(w, w + 1)])()
    same(other, np.full(4, 2.0))
    same(w.get_value(), np.full(4, 3.0))


def three(make: Callable[..., Any], rule: Callable[..., Any]) -> list[Any]:
    """Shared vectors after two calls of their updates by `rule`, and what the calls gave."""
    variables = [shared(np.arange(4.0) + 10 * k) for k in range(3)]
    f = make([V], [variables[0] + 1, V], updates=rule(*variables))
    results = [f(np.full(n, float(n))) for n in (4, 4, 2, 4)]
    return [results, [v.get_value() for v in variables]]


RULES: dict[str, Callable[..., Any]] = {
    "in a row": lambda a, b, c: [(a, b + 1), (b, c + 1), (c, a + 1)],
    "a swap": lambda a, b, c: [(a, b), (b, a)],
    "a reversed swap": lambda a, b, c: [(a, b[::-1]), (b, a[::-1])],
    "reversed": lambda a, b, c: [(a, a[::-1])],
    "sums of others": lambda a, b, c: [(a, a + b.sum()), (b, b + a.sum()), (c, a * b)],
    "an argument": lambda a, b, c: [(a, V), (b, V * 2), (c, a)],
    "another shape": lambda a, b, c: [(a, T.concatenate([b, c])), (b, a[1:]), (c, c * 2)],
    "a constant": lambda a, b, c: [(a, T.zeros(3)), (b, T.ones_like(a))],
    "an element": lambda a, b, c: [(a, T.set_subtensor(a[1], b[2])),
                                   (b, T.inc_subtensor(b[1:], 1))],
    "a number": lambda a, b, c: [(a, a * V.sum()), (b, b - a[0])],
    "a product": lambda a, b, c: [(a, T.dot(T.outer(a, b), a)), (b, T.dot(T.outer(a, b), b))],
    "itself": lambda a, b, c: [(a, a), (b, b * 1)],
}  # fmt: skip


@pytest.mark.parametrize("rule", sorted(RULES))
def test_updates(device: Device, rule: str) -> None:
    got, expected = three(cuda, RULES[rule]), three(cpu, RULES[rule])
    for one, other in zip(got[0], expected[0], strict=True):
        same(one, other)
    same(got[1], expected[1])


def test_an_update_of_another_shape_waits_for_nothing(device: Device) -> None:
    w = shared(np.arange(3.0))
    f = cuda([], [], updates=[(w, T.concatenate([w, w]))])
    f()
    before = copy.copy(device.statistics)
    f()
    done = device.statistics - before
    assert (done.downloads, done.uploads, done.copies) == (0, 0, 0)
    same(w.get_value(), np.tile(np.arange(3.0), 4))


def test_random_streams_give_the_bits_of_the_cpu(device: Device) -> None:
    def draws(make: Callable[..., Any]) -> list[Any]:
        streams = RandomStreams(7)
        f = make([], [streams.uniform((3,)), streams.normal((2, 2)), streams.permutation(n=4)])
        return [f() for _ in range(3)]

    for one, other in zip(draws(cuda), draws(cpu), strict=True):
        same(one, other)


def test_default_updates(device: Device) -> None:
    count = shared(np.int64(0))
    count.default_update = count + 1
    f = cuda([], count * 1)
    assert [int(f()) for _ in range(4)] == [0, 1, 2, 3]
    assert count.get_value() == 4 and isinstance(raw(count), DeviceArray)
    with traffic(device, launches=2, downloads=1, downloaded_bytes=72):  # too few for a graph
        f()


def test_cpu_and_device_in_turn(device: Device) -> None:
    w = shared(np.arange(3.0))
    here = cpu([], w.sum(), updates=[(w, w + 1)])
    there = cuda([], w.sum(), updates=[(w, w * 2)])
    seen = [float(f()) for _ in range(3) for f in (here, there)]
    value, expected = np.arange(3.0), []
    for _ in range(3):
        expected += [value.sum(), (value + 1).sum()]
        value = (value + 1) * 2
    assert seen == expected
    same(w.get_value(), value)


def test_a_shared_target_decides_where_functions_run(device: Device) -> None:
    w = shared(np.arange(3.0), target="cuda")
    f = function([V], V[V > 0].sum(), updates=[(w, T.concatenate([w, V[V > 0]]))])
    assert isinstance(f._compiled.program, DeviceProgram)
    f(np.array([1.0, -1, 2]))
    f(np.array([5.0]))
    w.set_value(np.append(w.get_value(), 3.0))
    g = function([], w * 2)
    assert isinstance(g._compiled.program, DeviceProgram)
    same(g(), np.array([0.0, 2, 4, 2, 4, 10, 6]))


def test_set_value_copies_from_the_device(device: Device) -> None:
    a, b = shared(np.arange(3.0)), shared(np.zeros(3))
    f = cuda([], [], updates=[(a, a + 1), (b, b * 2)])
    f()
    for borrow in (False, True):
        b.set_value(raw(a), borrow=borrow)
        assert raw(b) is not raw(a)
        value = a.get_value()
        f()
        same([a.get_value(), b.get_value()], [value + 1, value * 2])


def test_states_of_inputs(device: Device) -> None:
    state = T.dvector("state")
    f = cuda([In(state, value=np.zeros(2), update=state + V), In(V, "v")], state * 2)
    same([f(v=np.ones(2)), f(v=np.ones(2))], [np.zeros(2), np.full(2, 2.0)])
    same(f[state], np.full(2, 2.0))
    f[state] = np.full(2, 5.0)
    same(f(v=np.ones(2)), np.full(2, 10.0))


# ---- arguments and results -----------------------------------------------------------------------


def test_arrays_of_the_device_as_arguments(device: Device) -> None:
    there = cuda([V], V.transfer("cuda"))(np.arange(3.0))
    f = cuda([V], [V + 1, V.sum(), (V * 2).transfer("cuda")])
    f(there)
    with traffic(device, graph_launches=1, downloads=2, downloaded_bytes=24 + 72):
        one, total, double = f(there)
    same([one, total, double], [np.arange(1.0, 4), np.float64(3), np.arange(3.0) * 2])
    single = T.fvector("single")
    with pytest.raises(TypeError, match="Bad input argument"):
        cuda([single], single + 1)(there)
    cpu_sum = cpu([V], V.sum())
    assert cpu_sum(there) == 3.0


def test_an_argument_that_is_the_updated_variable(device: Device) -> None:
    w = shared(np.arange(4.0))
    f = cuda([V], V[::-1] + w, updates=[(w, w + V[::-1])])
    f(np.zeros(4))
    for _ in range(3):
        before = w.get_value()
        same(f(raw(w)), before[::-1] + before)
        same(w.get_value(), before + before[::-1])


def test_results_that_stay_are_not_overwritten(device: Device) -> None:
    f = cuda([V], [(V * 2).transfer("cuda"), V.sum().transfer("cuda"), V * 3])
    kept = [f(np.full(3, float(k))) for k in range(4)]
    for k, (double, total, triple) in enumerate(kept):
        same([double, total, triple], [np.full(3, 2.0 * k), np.float64(3 * k), np.full(3, 3.0 * k)])


def test_outputs_that_nothing_computes(device: Device) -> None:
    """The same variable twice, an input, a constant, a shared variable, views of these."""
    w, x = shared(normal(2, 3)), T.dmatrix("x")
    double = x * 2
    outputs = [
        double,
        double,
        x,
        x.T,
        T.constant(np.arange(3.0)),
        w,
        w[::-1],
        T.constant(5),
        double,
    ]
    f, g = cuda([x], outputs), cpu([x], outputs)
    for _ in range(2):
        value = normal(2, 3)
        results = f(value)
        same(results, g(value))
        for result in results:
            assert type(result) is np.ndarray
            result[...] = 0
    assert not np.shares_memory(results[0], results[1])
    same(w.get_value(), g(value)[5])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float16", "float32", "int64"])
def test_dtypes(device: Device, dtype: str) -> None:
    x, s = T.TensorType(dtype, (False,))("x"), T.TensorType(dtype, ())("s")
    outputs = [x, s, x[::-1], T.eq(x, s), T.concatenate([x, T.stack([s])]), s.transfer("cuda")]
    f, g = cuda([x, s], outputs), cpu([x, s], [*outputs[:-1], s])
    for size in (3, 3, 1, 0):
        values = RNG.randint(0, 2, size).astype(dtype), np.array(size % 2, dtype)
        same(f(*values), g(*values))


def test_numbers_travel_only_when_they_are_new(device: Device) -> None:
    rate = T.dscalar("rate")
    w = shared(np.ones(3))
    f = cuda([rate], [], updates=[(w, w * rate)])
    f(2.0)
    with traffic(device, launches=1):
        f(2.0)
    with traffic(device, launches=1, fills=2):
        f(0.5)
    with traffic(device, launches=1):
        f(np.float64(0.5))
    same(w.get_value(), np.ones(3))


def test_views_of_arguments(device: Device) -> None:
    x = T.dmatrix("x")
    outputs = [x[::-1, ::2].sum(0), x.T[1:], T.dot(x[:, ::-1], x.T), x[1:-1]]
    f, g = cuda([x], outputs), cpu([x], outputs)
    big = normal(8, 10)
    for value in (big[::2, 1:6], big[::-1, ::-1][:4, :5], np.asfortranarray(big[:4, :5]), big):
        for got, expected in zip(f(value), g(value), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_trusted_arguments(device: Device) -> None:
    f = cuda([V, I], V[I:] * 2)
    f.trust_input = True
    there = cuda([V], V.transfer("cuda"))(np.arange(3.0))
    for value in (np.arange(3.0), there):
        same(f(value, np.int64(1)), np.array([2.0, 4]))


def test_forms_of_results(device: Device) -> None:
    assert set(cuda([V], {"a": V + 1, "b": V.sum()})(np.zeros(2))) == {"a", "b"}
    assert cuda([V], [V.sum()])(np.ones(2)) == [2.0]
    assert cuda([], [])() == []
    f = cuda([V], [V + 1, V.sum()])
    assert f(np.ones(2), output_subset=[1]) == [2.0]
    assert "program.run(bound, [x0], ())" in f.call_source


# ---- sizes that depend on results ----------------------------------------------------------------


class Twice(Op):
    """A step of the host. `fails` makes it raise."""

    fails = False

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [x.type()])

    def perform(self, node: Apply, inputs: Any, outputs: Any) -> None:
        if self.fails:
            raise KeyError("on purpose")
        outputs[0][0] = inputs[0] * 2

    def infer_shape(self, node: Apply, shapes: Any) -> Any:
        return shapes


LATE: dict[str, Callable[[Any], Any]] = {
    "nonzero": lambda v: [v.nonzero()[0], v[v.nonzero()].sum()],
    "a mask": lambda v: [v[v > 0], v[v > 0] * 2, T.sqr(v[v > 0]).sum()],
    "unique": lambda v: [T.extra_ops.Unique()(v)],
    "a range": lambda v: [T.arange(T.cast(abs(v).sum(), "int64")) * 2, v],
    "two masks": lambda v: [v[v > 0][v[v > 0] < 1], v.sum()],
    "a step of the host": lambda v: [Twice()(v[v > 0]) + 1, Twice()(v) * 2, Twice()(v)],
}


@pytest.mark.parametrize("name", sorted(LATE))
def test_sizes_that_depend_on_results(device: Device, name: str) -> None:
    outputs = LATE[name](V)
    f, g = cuda([V], outputs), cpu([V], outputs)
    stays = cuda([V], [out.transfer("cuda") for out in outputs])
    for value in ([1.0, -2, 0.5, 0, 3], [0.25], [-1.0, 0], [], [2.0, 2, 2]):
        expected = g(np.array(value))
        same(f(np.array(value)), expected)
        same(stays(np.array(value)), expected)


def test_late_sizes_are_read_without_the_content(one: Device) -> None:
    """The number of elements that a step of the host finds is known without fetching them."""
    f = cuda([V], (V.nonzero()[0] * 2).transfer("cuda"))
    value = np.array([1.0, 0, 2])
    f(value)
    with traffic(one, launches=1, uploads=1, uploaded_bytes=16):
        f(value)


# ---- errors --------------------------------------------------------------------------------------


class Faulty:
    """A function with two updates that `good` suits and `bad` does not; `error` is raised."""

    def __init__(self, stays: bool = False, fetches: bool = True) -> None:
        self.w, self.n = shared(np.arange(4.0), "w"), shared(np.float64(0), "n")
        indices = T.lvector("indices")
        picked = self.w[indices]
        outputs = [picked.sum()] if fetches else []
        outputs = [out.transfer("cuda") for out in outputs] if stays else outputs
        self.call = cuda(
            [indices], outputs, updates=[(self.w, self.w + picked.sum()), (self.n, self.n + 1)]
        )

    def values(self) -> list[np.ndarray]:
        return [self.w.get_value(), self.n.get_value()]


GOOD, BAD = np.array([1, 2]), np.array([1, 4])


def test_a_failed_call_changes_nothing(device: Device) -> None:
    f = Faulty()
    f.call(GOOD)
    before = f.values()
    for _ in range(2):
        with pytest.raises(IndexError) as caught:
            f.call(BAD)
        text = str(caught.value)
        for part in ("got:", "4", "expected:", "where:", "picked = self.w[indices]"):
            assert part in text, text
        same(f.values(), before)
        assert f.call(GOOD) == [before[0][1:3].sum()]
        before = f.values()
    assert before[1] == 3


@pytest.mark.parametrize("look", ["cost", "w", "n", "numpy", "copy", "another function"])
def test_an_error_that_nobody_waited_for(device: Device, look: str) -> None:
    """It is told when something of the call is looked at, once; meanwhile nothing changes."""
    f = Faulty(stays=True)
    double = cuda([], f.w * 2)
    doubled = cuda([], (f.w * 2).transfer("cuda"))
    f.call(GOOD)
    before = f.values()
    (cost,) = f.call(BAD)
    f.call(GOOD)  # changes nothing: it would build on what is wrong
    looks: dict[str, Callable[[], Any]] = {
        "cost": lambda: float(cost),
        "w": f.w.get_value,
        "n": f.n.get_value,
        "numpy": lambda: cost + 1,
        "copy": lambda: copy.deepcopy(cost).on_host(),
        "another function": lambda: double(),
    }
    late = doubled()
    with pytest.raises(IndexError, match="out of bounds"):
        looks[look]()
    same(f.values(), before)
    same(late, before[0] * 2)
    f.call(GOOD)
    same(f.values()[1], before[1] + 1)


def test_an_error_is_passed_on_with_what_depends_on_it(device: Device) -> None:
    f = Faulty(fetches=False)
    total = shared(np.float64(0))
    add = cuda([], [], updates=[(total, total + f.w.sum())])
    f.call(BAD)
    add()
    with pytest.raises(IndexError):
        total.get_value()
    f.call(BAD)
    f.w.set_value(np.zeros(4))  # what is set counts
    same(f.w.get_value(), np.zeros(4))
    with pytest.raises(IndexError):
        f.n.get_value()


def test_the_host_does_nothing_with_what_is_in_doubt(device: Device) -> None:
    f, op = Faulty(fetches=False), Twice()
    g = cuda([V], (op(f.w) + V).transfer("cuda"))
    f.call(BAD)
    op.fails = True
    with pytest.raises(IndexError):
        g(np.zeros(4))
    given = make(np.zeros(4))
    keeps = cuda([V], (V + f.w).transfer("cuda"))
    f.call(BAD)
    kept = keeps(given)
    same(given, np.zeros(4))  # an argument is none the worse
    with pytest.raises(IndexError):
        kept.on_host()


def test_who_is_told_does_not_change_anything(device: Device) -> None:
    """A call that waits for results asks about what it reads before it changes anything."""
    f = Faulty(fetches=False)
    other = shared(np.float64(1))
    g = cuda([], f.w.sum(), updates=[(other, other * 2)])
    g()
    f.call(BAD)
    with pytest.raises(IndexError):
        g()
    assert other.get_value() == 2 and g() == 6 and other.get_value() == 4


def test_integer_division_by_zero(device: Device) -> None:
    a, b = T.lvector("a"), T.lvector("b")
    w = shared(np.arange(3))
    f = cuda([a, b], a % b, updates=[(w, w + a // b)])
    same(f(np.array([4, 5, 6]), np.array([2, 3, 4])), np.array([0, 2, 2]))
    with pytest.raises(ZeroDivisionError, match=r"expected: a divisor that is not 0"):
        f(np.array([4, 5, 6]), np.array([2, 0, 4]))
    same(w.get_value(), np.array([2, 2, 3]))


def test_checks_and_assertions(device: Device) -> None:
    w = shared(np.zeros(3))
    fits = cuda([V], [], updates=[(w, w + V)])
    fits(np.ones(3))
    with pytest.raises(ValueError, match="got:"):
        fits(np.ones(4))
    positive = Assert("must be positive")(V, T.all(V > 0))
    asserts = cuda([V], positive.sum(), updates=[(w, w + positive)])
    asserts(np.ones(3))
    for _ in range(2):
        with pytest.raises(AssertionError, match="must be positive"):
            asserts(np.array([1.0, -1, 1]))
        same(w.get_value(), np.full(3, 2.0))


@pytest.mark.parametrize("late", [False, True])
def test_a_step_of_the_host_that_raises(device: Device, late: bool) -> None:
    op, w = Twice(), shared(np.zeros(2))
    value = V[V > 0] if late else V
    f = cuda([V], [], updates=[(w, w + op(value * 3))])
    f(np.ones(2))
    op.fails = True
    for _ in range(2):
        with pytest.raises(KeyError, match="on purpose"):
            f(np.ones(2))
    op.fails = False
    same(w.get_value(), np.full(2, 6.0))
    f(np.ones(2))
    same(w.get_value(), np.full(2, 12.0))


def test_kernels_are_looked_at_before_the_host_goes_on(device: Device) -> None:
    op, indices = Twice(), T.lvector("indices")
    f = cuda([V, indices], op(V[indices]))
    op.fails = True
    with pytest.raises(IndexError):
        f(np.zeros(2), np.array([3]))


# ---- DeviceArray ---------------------------------------------------------------------------------


def make(value: np.ndarray) -> DeviceArray:
    x = T.TensorType(value.dtype, (False,) * value.ndim)("x")
    there = cuda([x], x.transfer("cuda"))(value)
    assert isinstance(there, DeviceArray)
    return there


def test_numpy_computes_with_it(one: Device) -> None:
    here = np.arange(6.0).reshape(2, 3)
    there = make(here)
    assert (there.shape, there.ndim, there.size, there.nbytes) == ((2, 3), 2, 6, 48)
    assert (there.dtype, len(there)) == (np.float64, 2)
    for compute in (
        lambda a: a + 1, lambda a: 1 - a, lambda a: a * a, lambda a: -a, lambda a: a > 2,
        lambda a: np.exp(a), lambda a: np.add.reduce(a), lambda a: np.sum(a, 0), np.mean,
        lambda a: np.concatenate([a, a]), lambda a: a[1], lambda a: a[:, ::2], np.asarray,
        lambda a: np.asarray(a, "float32"), lambda a: np.stack(list(a)),
        lambda a: np.dot(a, a.flat[:3]),
    ):  # fmt: skip
        same(compute(there), np.asarray(compute(here)))
    double = np.empty((2, 3))
    same(np.multiply(there, 2, out=double), here * 2)
    with pytest.raises(TypeError, match=r"a DeviceArray as `out`[\s\S]*cure: +a = a \+ 1"):
        there += 1
    with pytest.raises(ValueError, match="memory in common"):
        there.__array__(copy=False)
    assert repr(there) == f"DeviceArray({here!r})"


def test_numbers(one: Device) -> None:
    there = make(np.array(2.5))
    assert (float(there), int(there), bool(there), there.item(), f"{there:.2f}") == (
        2.5,
        2,
        True,
        2.5,
        "2.50",
    )
    assert [10, 20, 30][make(np.array(1))] == 20
    for wrong in (there, make(np.arange(2))):
        with pytest.raises(TypeError, match="integer"):
            [10, 20, 30][wrong]
    with pytest.raises(TypeError, match="without axes"):
        len(there)


def test_copies_and_pickles(device: Device) -> None:
    here = np.arange(3.0)
    there = make(here)
    for twin in (there.copy(), copy.copy(there), copy.deepcopy(there)):
        assert isinstance(twin, DeviceArray) and twin.address != there.address
        same(twin, here)
    back = pickle.loads(pickle.dumps(there))
    assert type(back) is np.ndarray
    same(back, here)


def test_memory_is_used_again(device: Device) -> None:
    gc.collect()
    f = cuda([V], (V * 2).transfer("cuda"))
    value = normal(1000)
    for _ in range(3):
        result = f(value)
    held = device.statistics.allocations
    for _ in range(5):
        result = f(value)
    assert device.statistics.allocations == held
    same(result, value * 2)


def test_functions_give_their_memory_back(one: Device) -> None:
    """Also where an error has been noted that nobody has looked at."""

    def use() -> None:
        f = Faulty(fetches=False)
        f.call(GOOD)
        f.call(BAD)

    def collect() -> None:  # expressions first, then the variables that they were found by
        gc.collect()
        gc.collect()

    use()
    collect()
    held = one.statistics.allocations
    for _ in range(3):
        use()
        collect()
    assert one.statistics.allocations == held
    one.release()
    assert sum(block.nbytes for block in one.backend.held.values()) == 0


def test_free_gives_temporaries_back(one: Device) -> None:
    w = shared(np.ones(3))
    f = cuda([V], [T.dot(T.outer(V, V), V).sum(), V * 2], updates=[(w, w + V)])
    expected = f(np.ones(3))
    gc.collect()
    one.release()
    before = len(one.backend.held)
    f.free()
    gc.collect()
    one.release()
    assert len(one.backend.held) < before
    for _ in range(3):
        same(f(np.ones(3)), expected)
    same(w.get_value(), np.full(3, 5.0))


# ---- two devices ---------------------------------------------------------------------------------


def test_a_variable_on_two_devices_in_turn() -> None:
    w = shared(np.arange(3.0), "w")
    with simulated() as first:
        f = cuda([V], w.sum().transfer("cuda"), updates=[(w, w + V)])
    with simulated() as second:
        g = cuda([V], w.sum(), updates=[(w, w * V)])
    value, ones, twos = np.arange(3.0), np.ones(3), np.full(3, 2.0)
    for _ in range(3):
        kept = f(ones)
        assert raw(w).device is first
        assert float(g(twos)) == value.sum() + 3
        assert raw(w).device is second and float(kept) == value.sum()
        value = (value + 1) * 2
        same(w.get_value(), value)
    other = make_on(second, np.full(3, 4.0))
    f(other)  # comes over
    same(w.get_value(), value + 4)


def make_on(device: Device, value: np.ndarray) -> DeviceArray:
    return DeviceArray.of(device, value)
