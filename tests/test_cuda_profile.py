"""Profiles of functions on a device: rows of kernels, of steps of the host and of copies."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from symgraph import config, function, grad, shared
from symgraph import tensor as T
from symgraph.compile import profiling
from symgraph.compile.cuda.device import Device
from symgraph.compile.profiling import ProfileStats
from symgraph.tensor import slinalg
from tests.cuda_programs import DEVICES

UP, DOWN = "to the device", "to the host"


@pytest.fixture(autouse=True)
def no_printing_at_exit(monkeypatch: Any) -> None:
    monkeypatch.setattr(profiling, "_at_exit", [])


@pytest.fixture(params=sorted(DEVICES))
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """A simulated device, and one behind the stub driver, whose events tell the time."""
    with DEVICES[request.param]() as made, config.change_flags(device="cuda"):
        yield made


def network(**options: Any) -> tuple[Any, list[Any]]:
    """A training step with a step of the host, a number and a matrix as results."""
    rng = np.random.RandomState(3)
    x, rate = T.fmatrix("x"), T.fscalar("rate")
    w = shared(rng.randn(4, 3).astype("f"), "w")
    a = T.tanh(T.dot(x, w))
    spread = slinalg.cholesky(T.dot(a.T, a) + T.eye(3, dtype="float32"))  # on the host
    cost = (a**2).sum() + spread.sum()
    updates = [(w, w - rate * grad((a**2).sum(), w))]
    f = function([x, rate], [cost, spread], updates=updates, **options)
    return f, [rng.randn(5, 4).astype("f"), np.float32(0.1)]


def text_of(profile: ProfileStats, **limits: int) -> str:
    out = io.StringIO()
    profile.summary(file=out, **limits)  # type: ignore[arg-type]
    return out.getvalue()


def test_results_are_those_of_a_plain_function(device: Device) -> None:
    (plain, values), (profiled, _) = network(), network(profile=True)
    backend = device.backend
    for _ in range(3):
        for one, other in zip(plain(*values), profiled(*values), strict=True):
            np.testing.assert_array_equal(one, other)
    assert device.backend is backend
    (w,), (v,) = plain.get_shared(), profiled.get_shared()
    np.testing.assert_array_equal(w.get_value(), v.get_value())
    assert profiled.profile.fct_callcount == 3


def test_rows(device: Device) -> None:
    f, values = network(profile=True)
    before = replace(device.statistics)
    for _ in range(3):
        f(*values)
    done = device.statistics - before
    stats, steps = f.profile, f.profile.steps
    assert stats.devices == [f"{device.name} ({device.arch})"]
    ran = [s for s in steps if s.calls and not s.copy and not s.in_python]
    assert {s.calls for s in ran} == {3} and len(ran) == len(f.kernels())
    assert [s.name for s in ran] == [k.name for k in f.kernels()]
    (host,) = (s for s in steps if s.in_python)
    assert host.calls == 3 and host.what.startswith("Cholesky")
    assert done.launches == 3 * len(ran) and done.graph_launches == 0
    copies = {(s.name, s.copy): (s.calls, s.nbytes) for s in steps if s.copy}
    own = f"{host.name}, {host.what}"
    assert copies == {
        ("shared variables", UP): (1, 48), ("argument x", UP): (3, 240),
        (own, DOWN): (3, 108), (own, UP): (3, 108), ("result 1", DOWN): (3, 108),
        ("results of no axes, errors, conditions", DOWN): (3, 3 * 72),
    }  # fmt: skip
    assert sum(n for (_, way), (_, n) in copies.items() if way == UP) == done.uploaded_bytes
    assert sum(n for (_, way), (_, n) in copies.items() if way == DOWN) == done.downloaded_bytes
    assert all(s.seconds >= 0 for s in steps)
    inside = sum(s.seconds for s in steps)
    assert 0 < inside == pytest.approx(stats.vm_call_time) and inside < stats.fct_call_time
    assert stats.compile_time > 0 and stats.bind_time > 0
    assert stats.memory["shared variables"] == 48 and stats.memory["constants"] > 0
    stats.reset()
    assert not any(s.calls or s.seconds or s.nbytes for s in steps)


def test_time_is_shared_among_nodes_and_lines(device: Device) -> None:
    f, values = network(profile=True)
    f(*values), f(*values)
    stats = f.profile
    for step in stats.steps:
        assert sum(step.shares.values()) == pytest.approx(1) or not step.shares
    total = sum(step.seconds for step in stats.steps if step.shares)
    for table in (stats.apply_time, stats.op_time(), stats.line_time()):
        assert sum(table.values()) == pytest.approx(total)
    assert any("# on the host" in line for line in stats.line_time())
    assert {n for n in stats.apply_callcount.values() if n} == {2}


def test_the_summary_says_where_it_ran(device: Device) -> None:
    f, values = network(profile=True, name="noted")
    f(*values), f(*values)
    text = text_of(f.profile, n_apply_to_print=100)
    for words in (
        f"  Message: noted\n  Runs on: {device.name} ({device.arch}); kernels are launched one",
        "Time in kernels: ", "Time in steps of the host: ", "Time in copies to the device: ",
        "Time in copies to the host: ", "Time in binding sizes: ", "Time in the calls themselves: ",
        "\nKernels, steps of the host, copies\n---", "Cholesky", "dot: gemm",
        "argument x: to the device, 80 bytes a call\n", "result 1: to the host, 36 bytes a call\n",
        "\nOps\n---\n", "\nLines\n-----\n", "KiB  temporaries and results on the device\n",
    ):  # fmt: skip
        assert words in text, text
    with config.change_flags(device="cpu"):
        x = T.dvector("x")
        g = function([x], x * 2, profile=f.profile)
    assert g([1.0]).tolist() == [2] and "Runs on: " in text_of(g.profile)


def test_sizes_that_depend_on_results(device: Device) -> None:
    x = T.fvector("x")
    f = function([x], T.exp(x[x.nonzero()[0]] * 2), profile=True)
    for values in ([1, 0, 2], [0, 0, 1], [0, 0, 0]):
        expected = np.exp(np.float32([v for v in values if v]) * 2)
        np.testing.assert_allclose(f(np.float32(values)), expected, rtol=1e-6)
    stats = f.profile
    (host,) = (s for s in stats.steps if s.in_python)
    assert host.calls == 3 and "Nonzero" in host.what
    assert any(s.copy == UP and s.name == "argument x" and s.calls == 3 for s in stats.steps)


def test_results_that_stay_are_not_copied(device: Device) -> None:
    x, w = T.fvector("x"), shared(np.ones(3, "f"))
    f = function([x], (x * w).transfer("cuda"), profile=True)
    x_there = function([x], (x + 1).transfer("cuda"))(np.zeros(3, "f"))
    assert f(x_there)[1] == 1
    assert {(s.name, s.copy) for s in f.profile.steps if s.copy} == {("shared variables", UP)}


def test_loops_are_rows(device: Device) -> None:
    import symgraph

    x = T.fvector("x")
    y, _ = symgraph.scan(lambda a, s: s + T.tanh(a), [x], [T.zeros((), "float32")])
    plain, f = function([x], y), function([x], y, profile=True)
    values = np.float32([1, 2, 3, 4])
    for _ in range(2):
        np.testing.assert_array_equal(f(values), plain(values))
    assert all(s.seconds > 0 for s in f.profile.steps if s.calls)
    assert any(s.calls for s in f.profile.steps if not s.copy)


def test_errors_are_the_same(device: Device) -> None:
    x, k = T.fvector("x"), T.lscalar("k")
    w = shared(np.zeros(2, "f"), "w")
    picked = x[k]  # picked
    f = function([x, k], picked, updates=[(w, w + picked)], profile=True)
    backend = device.backend
    for _ in range(2):
        with pytest.raises(IndexError, match="# picked"):
            f(np.ones(1, "f"), 3)
    assert w.get_value().tolist() == [0, 0] and f.profile.fct_callcount == 2
    assert f(np.ones(1, "f"), 0) == 1 and device.backend is backend


def test_config_and_copies(device: Device) -> None:
    x = T.fvector("x")
    with config.change_flags(profile=True):
        f = function([x], x * 2)
    assert f(np.ones(2, "f")).tolist() == [2, 2] and f.profile.devices
    again = copy.deepcopy(f)
    assert again(np.ones(1, "f")).tolist() == [2] and again.profile.fct_callcount == 1
    f.free()
    assert f(np.ones(3, "f")).tolist() == [2] * 3 and f.profile.fct_callcount == 2
