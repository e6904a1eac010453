"""Profiles: what is counted, how time is shared, what the tables say. Nothing here is timed."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import config, function, grad, shared
from symgraph import tensor as T
from symgraph.compile import profiling
from symgraph.compile.profiling import ProfileStats
from symgraph.compile.program import Program
from symgraph.printing import Print


def text_of(profile: ProfileStats, **limits: int) -> str:
    out = io.StringIO()
    profile.summary(file=out, **limits)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.fixture(autouse=True)
def no_printing_at_exit(monkeypatch: Any) -> None:
    monkeypatch.setattr(profiling, "_at_exit", [])


def network(**options: Any) -> tuple[Any, list[Any]]:
    """A training step with a chain of steps."""
    rng = np.random.RandomState(3)
    x, y = T.fmatrix("x"), T.ivector("y")
    w = shared(rng.randn(20, 30).astype("f"), "w")
    v = shared(rng.randn(30, 4).astype("f"), "v")
    hidden = T.tanh(T.dot(x, w))  # hidden
    p = T.nnet.softmax(T.dot(hidden, v))
    cost = -T.log(p)[T.arange(y.shape[0]), y].mean()
    steps = [(u, u - np.float32(0.1) * grad(cost, u)) for u in (w, v)]
    f = function([x, y], cost, updates=steps, **options)
    return f, [rng.randn(200, 20).astype("f"), rng.randint(0, 4, 200).astype("int32")]


def test_calls_and_results_are_those_of_a_plain_function() -> None:
    plain, values = network()
    profiled, _ = network(profile=True)
    assert plain.profile is None and type(plain._compiled.program) is Program
    for _ in range(3):
        np.testing.assert_array_equal(plain(*values), profiled(*values))
    for a, b in zip(plain.get_shared(), profiled.get_shared(), strict=True):
        np.testing.assert_array_equal(a.get_value(), b.get_value())
    stats = profiled.profile
    assert stats.fct_callcount == 3
    assert {s.calls for s in stats.steps} == {3} and len(stats.steps) == len(plain.kernels())
    assert all(s.seconds >= 0 for s in stats.steps)
    inside = sum(s.seconds for s in stats.steps)
    assert 0 < inside == pytest.approx(stats.vm_call_time) and inside < stats.fct_call_time
    assert stats.compile_time > 0 and stats.bind_time > 0


def test_time_is_shared_among_nodes_and_lines() -> None:
    f, values = network(profile=True)
    for _ in range(2):
        f(*values)
    stats = f.profile
    for step in stats.steps:
        assert sum(step.shares.values()) == pytest.approx(1) or not step.shares
    nodes = f.maker.fgraph.toposort()
    assert set(stats.apply_time) <= set(nodes) and set(stats.apply_callcount.values()) == {2}
    total = sum(step.seconds for step in stats.steps)
    for table in (stats.apply_time, stats.op_time(), stats.line_time()):
        assert sum(table.values()) == pytest.approx(total)
    lines = stats.line_time()
    assert any("# hidden" in line and "test_profile.py:" in line for line in lines)
    assert any("tanh" in op for op in stats.op_time())


def test_work_decides_the_shares() -> None:
    """A fused kernel over 1000 x 3 elements whose result has 3: the large part has the time."""
    x = T.dmatrix("x")
    f = function([x], T.exp(x).sum(axis=0) + 1, profile=True)
    f(np.ones((1000, 3)))
    (step,) = f.profile.steps
    of = {str(node.op): share for node, share in step.shares.items()}
    assert of["Elemwise{exp,no_inplace}"] > 0.9 and of["Elemwise{add,no_inplace}"] < 0.01


def test_steps_of_a_chain_have_parts_of_its_time() -> None:
    f, values = network(profile=True)
    chained = [k for a, b in f._compiled.plan.chains for k in range(a, b)]
    assert chained, "this network is to have a chain"
    for n in (200, 200, 3):
        f(values[0][:n], values[1][:n])
    assert [k for k, s in enumerate(f.profile.steps) if s.in_chain] == chained
    assert {s.calls for s in f.profile.steps} == {3}
    chains = f._compiled.program.chains.values()
    assert {chain.runs for chain in chains} <= {1, 2, 3}
    for chain in chains:
        assert sum(chain.parts) == pytest.approx(1)
    inside = sum(s.seconds for s in f.profile.steps)
    assert inside == pytest.approx(f.profile.vm_call_time)
    assert "* runs in a chain" in text_of(f.profile)
    g, values = network(profile=True)
    g(*values)
    g.profile.reset()
    g(*values)
    assert {s.calls for s in g.profile.steps} == {1}
    assert all(s.seconds >= 0 for s in g.profile.steps)


def test_the_summary() -> None:
    x = T.dvector("x")
    y = Print("x", global_fn=lambda op, value: None)(x * 2)
    f = function([x], [T.tanh(y), y.nonzero()[0]], profile=True, name="noted")
    for n in (3, 5):
        f(np.ones(n))
    text = text_of(f.profile)
    for words in ("Function profiling\n==================\n  Message: noted\n",
                  "Time in 2 calls to Function.__call__: ", "Time in kernels: ",
                  "Time in Python steps: ", "Time in binding sizes: ", "Total compile time: ",
                  "\nKernels\n-------\n", "\nOps\n---\n", "\nLines\n-----\n", "\nMemory\n------\n",
                  "Print{message='x'", "Elemwise{tanh", __file__):  # fmt: skip
        assert words in text, text
    assert sum(s.in_python for s in f.profile.steps) >= 1
    short = text_of(f.profile, n_ops_to_print=1, n_apply_to_print=1)
    assert short.count("... (remaining ") == 3
    with config.change_flags(profiling__n_ops=1):
        assert text_of(f.profile).count("... (remaining ") == 2  # of ops, of lines


def test_sizes_of_memory() -> None:
    f, values = network(profile=True)
    f(*values)
    memory = f.profile.memory
    assert memory["results"] == 4
    assert memory["shared variables"] == 4 * (20 * 30 + 30 * 4)
    assert memory["temporaries (the arena)"] > 0
    assert f"{memory['shared variables'] / 1024:,.1f} KiB  shared variables" in text_of(f.profile)


def test_one_profile_for_several_functions() -> None:
    stats = ProfileStats(atexit_print=False, message="both")
    x = T.dvector("x")
    f, g = function([x], x * 2, profile=stats), function([x], x + 1, profile=stats)
    f([1]), g([1]), g([2])
    assert f.profile is g.profile is stats and profiling._at_exit == []
    assert stats.fct_callcount == 3 and [s.calls for s in stats.steps] == [1, 2]
    stats.reset()
    assert stats.fct_callcount == 0 and [s.calls for s in stats.steps] == [0, 0]
    f([1])
    assert stats.fct_callcount == 1


def test_what_profile_takes() -> None:
    x = T.dvector("x")
    assert function([x], x, profile="my name").profile.message == "my name"
    assert __file__ in function([x], x, profile=True).profile.message
    assert function([x], x, profile=False).profile is None
    with pytest.raises(TypeError, match="profile is no profile"):
        function([x], x, profile=3)
    with config.change_flags(profile=True):
        assert function([x], x).profile is not None
        assert function([x], x, profile=False).profile is None
    f = function([x], x * 2, profile=True)
    f([1])
    assert f.copy().profile is None and f.copy(profile=True).profile is not f.profile
    again = copy.deepcopy(f)
    assert again([2.0]).tolist() == [4] and again.profile.fct_callcount == 1
    assert f.profile.fct_callcount == 1


@pytest.mark.parametrize("mode", ["DebugMode", "NanGuardMode", "FAST_COMPILE"])
def test_other_modes_count_calls(mode: str) -> None:
    x = T.dvector("x")
    f = function([x], T.exp(x), mode=mode, profile=True)
    f([0.0]), f([1.0])
    assert f.profile.fct_callcount == 2 and "Time in 2 calls" in text_of(f.profile)


def test_interpreted_kernels_are_timed_too() -> None:
    x = T.dvector("x")
    with config.change_flags(target="python"):
        f = function([x], T.exp(x).sum(), profile=True)
    assert f([0.0]) == 1 and {s.calls for s in f.profile.steps} == {1}


def test_errors_of_steps_are_the_same() -> None:
    x, k = T.dvector("x"), T.lscalar("k")
    w = shared(np.zeros(2), "w")
    picked = x[k]  # picked
    f = function([x, k], picked, updates=[(w, w + picked)], profile=True)
    with pytest.raises(IndexError, match="# picked"):
        f([1.0], 3)
    assert w.get_value().tolist() == [0, 0] and f.profile.fct_callcount == 1
    assert f([1.0], 0) == 1


def test_profiles_are_printed_at_exit(capsys: Any, tmp_path: Any) -> None:
    x = T.dvector("x")
    f = function([x], x * 3, profile="used")
    function([x], x * 4, profile="unused")
    f([1])
    profiling.print_at_exit()
    assert capsys.readouterr().err == ""  # not asked for
    with config.change_flags(profile=True):
        profiling.print_at_exit()
        assert "Message: used" in (text := capsys.readouterr().err) and "unused" not in text
        with config.change_flags(profiling__destination="stdout"):
            profiling.print_at_exit()
            assert "Message: used" in capsys.readouterr().out
        with config.change_flags(profiling__destination=str(tmp_path / "profile.txt")):
            profiling.print_at_exit()
    assert "Message: used" in (tmp_path / "profile.txt").read_text()


def test_names() -> None:
    assert symgraph.compile.profiling.ProfileStats is ProfileStats  # type: ignore[attr-defined]
