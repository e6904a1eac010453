"""Modes, copies, pickles and settings with `config.device = 'cuda'`, on a simulated device."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import config, function, grad, shared
from symgraph import tensor as T
from symgraph.compile.cuda import device as devices
from symgraph.compile.cuda.array import DeviceArray
from symgraph.compile.cuda.device import Device
from symgraph.compile.cuda.program import DeviceProgram
from symgraph.compile.monitormode import MonitorMode
from symgraph.compile.nanguardmode import NanGuardMode
from tests.cuda_programs import simulated
from tests.test_alias import python

WATCHING = ("DebugMode", "NanGuardMode", MonitorMode())


@pytest.fixture
def device() -> Iterator[Device]:
    """A simulated device, which `config.device` asks for."""
    with simulated() as made, config.change_flags(device="cuda"):
        yield made


def step(mode: Any = None, target: str = "cpu", **options: Any) -> tuple[Any, Any]:
    """A function that reads and updates a shared variable, and the variable."""
    x = T.fvector("x")
    w = shared(np.float32([1, 2, 3]), "w", target=target)
    cost = ((x - w) ** 2).sum()
    updates = [(w, w - np.float32(0.25) * grad(cost, w))]
    return function([x], cost, updates=updates, mode=mode, **options), w


X = np.float32([2, 2, 2])


def runs_there(f: Any) -> bool:
    return isinstance(f._compiled.program, DeviceProgram)


# ---- modes that watch ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", WATCHING, ids=str)
def test_modes_that_watch_run_on_the_cpu(mode: Any, device: Device) -> None:
    f, w = step(mode)
    assert not runs_there(f) and f(X) == 2 and f(X) == 0.5
    assert w.get_value().tolist() == [1.75, 2, 2.25]
    assert device.statistics.launches == 0 and f.kernels()


@pytest.mark.parametrize("mode", WATCHING, ids=str)
def test_they_take_shared_variables_from_the_device_and_give_them_back(
    mode: Any, device: Device
) -> None:
    plain, w = step()
    assert runs_there(plain) and plain(X) == 2
    x = T.fvector("x")
    watched = function([x], (x * w).sum(), updates=[(w, w + x)], mode=mode)
    assert watched(X) == 12 and isinstance(w.container.value, np.ndarray)
    assert w.get_value().tolist() == [3.5, 4, 4.5]
    assert plain(X) == 1.5**2 + 2**2 + 2.5**2
    assert isinstance(w.container.value, DeviceArray)


@pytest.mark.parametrize("mode", WATCHING, ids=str)
def test_what_was_put_on_the_device_stays_at_home_there(mode: Any, device: Device) -> None:
    with config.change_flags(device="cpu"):
        watched, w = step(mode, target="cuda")
        assert not runs_there(watched) and watched(X) == 2
        f = function([], w * 2)
        assert runs_there(f) and f().tolist() == [3, 4, 5]
        w.set_value(np.zeros(2, "f"))
        assert isinstance(w.get_value(return_internal_type=True), DeviceArray)
        assert runs_there(function([], w + 1))


@pytest.mark.parametrize("mode", WATCHING, ids=str)
def test_their_results_are_on_the_host(mode: Any, device: Device) -> None:
    x = T.fvector("x")
    f = function([x], [(x * 2).transfer("cuda"), x + 1], mode=mode)
    first, second = f(X)
    assert type(first) is np.ndarray and first.tolist() == [4, 4, 4] and second.tolist() == [3] * 3
    there = function([x], (x * 3).transfer("cuda"))(X)
    assert isinstance(there, DeviceArray) and f(there)[0].tolist() == [12] * 3


def test_nan_guard_finds_nan(device: Device) -> None:
    x = T.fvector("x")
    w = shared(np.float32([0, 0, 0]), "w", target="cuda")
    f = function([x], T.log(x), updates=[(w, T.log(x))], mode=NanGuardMode())
    with pytest.raises(AssertionError, match="NaN detected"):
        f(-X)
    assert w.get_value().tolist() == [0, 0, 0]


def test_debug_mode_puts_old_values_back(device: Device) -> None:
    class Wrong(symgraph.Op):
        __props__ = ()

        def make_node(self, x: Any) -> Any:
            x = T.as_tensor_variable(x)
            return symgraph.Apply(self, [x], [x.type()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            inputs[0][...] = 0
            output_storage[0][0] = inputs[0] + 1

    w = shared(np.float32([1, 2, 3]), "w", target="cuda")
    f = function([], Wrong()(w), updates=[(w, w + 1)], mode="DebugMode")
    with pytest.raises(Exception, match="has changed its input 0"):
        f()
    assert w.get_value().tolist() == [1, 2, 3]


def test_test_values_are_computed_by_numpy(device: Device) -> None:
    w = shared(np.float32([1, 2, 3]), "w", target="cuda")
    with config.change_flags(compute_test_value="raise"):
        x = T.fvector("x")
        x.tag.test_value = X
        y = (x * w).sum()
        assert y.tag.test_value == 12
        with pytest.raises(ValueError, match="x has 3 cols but y has 2 rows"):
            T.dot(w, T.zeros((2, 2), "float32"))
        f = function([x], y)
    assert runs_there(f) and f(X) == 12


def test_verbose_errors(device: Device) -> None:
    x, k = T.fvector("x"), T.lscalar("k")
    w = shared(np.float32([1, 2, 3]), "w")
    with config.change_flags(exception_verbosity="high"):
        f = function([x, k], x[k] + w[0], updates=[(w, w * x[k])])
        assert f(X, 1) == 3
        with pytest.raises(IndexError) as caught:
            f(X, 5)
        text = str(caught.value)
        there = function([x, k], x[k])
        with pytest.raises(IndexError, match="Apply node that caused the error"):
            there(DeviceArray.of(device, X), 7)
    for words in ("Apply node that caused the error: Subtensor{int64}", "Storage map footprint:",
                  "w, Shared Input, Shape: (3,)", "Inputs values: ["):  # fmt: skip
        assert words in text, text
    assert w.get_value().tolist() == [2, 4, 6] and f(X, 0) == 4


# ---- functions -----------------------------------------------------------------------------------


def test_copies_of_functions(device: Device) -> None:
    f, w = step(name="f")
    v = shared(np.float32([2, 2, 3]), "v")
    assert f(X) == 2
    g, h, k = f.copy(), f.copy(swap={w: v}), f.copy(delete_updates=True)
    assert all(map(runs_there, (g, h, k)))
    assert k(X) == 0.5 and k(X) == 0.5 and g(X) == 0.5 and h(X) == 1
    assert w.get_value().tolist() == [1.75, 2, 2.25] and v.get_value().tolist() == [2, 2, 2.5]


def test_a_function_that_was_freed_goes_on(device: Device) -> None:
    f, w = step()
    assert f(X) == 2
    f.free()
    assert f(X) == 0.5 and f(X) == 0.125
    assert w.get_value().tolist() == [1.875, 2, 2.125]


def test_trusted_input(device: Device) -> None:
    f, _ = step()
    f.trust_input = True
    assert f(X) == 2 and f(DeviceArray.of(device, X)) == 0.5


@pytest.mark.parametrize("again", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_functions_can_be_pickled(again: Any, device: Device) -> None:
    f, w = step()
    assert f(X) == 2
    g = again(f)
    assert g(X) == 0.5 and runs_there(g) and g(X) == 0.125
    assert w.get_value().tolist() == [1.5, 2, 2.5] and f(X) == 0.5
    with config.change_flags(device="cpu"):
        other = again(f)
        assert other(X) == 0.125 and not runs_there(other)


def test_pickles_hold_no_address(device: Device) -> None:
    """What was on the device is read back on the host, on machines without one too."""
    w = shared(np.float32([1, 2, 3]), "w", target="cuda")
    data = pickle.dumps([w, w.container.value])
    with config.change_flags(device="cpu"):
        again, array = pickle.loads(data)
        assert type(array) is np.ndarray and type(again.container.value) is np.ndarray
        assert again.get_value().tolist() == [1, 2, 3]
        assert not runs_there(function([], again + 1))
    twin = copy.deepcopy(w)
    twin.set_value(np.zeros(3, "f"))
    assert w.get_value().tolist() == [1, 2, 3]


def test_states_defaults_and_names(device: Device) -> None:
    x = T.fvector("x")
    state = T.fscalar("state")
    f = function(
        [x, symgraph.In(state, value=np.float32(1), update=state + x.sum(), mutable=True)],
        {"twice": state * 2, "x": x},
    )
    assert runs_there(f)
    assert f(X)["twice"] == 2 and f(x=X)["twice"] == 14 and f["state"] == 13
    f["state"] = np.float32(3)
    assert f(X, output_subset=["twice"]) == {"twice": 6} and f["state"] == 9


# ---- where there is no GPU -----------------------------------------------------------------------

NOWHERE = {"SYMGRAPH_LIBCUDA": "/no/such/driver.so"}
ONE = "from symgraph import function, tensor as T\nx = T.dvector()\n"
CALL = "f, g = function([x], x + 1), function([x], x + 2)\nprint(f([1.0]), g([1.0]))\n"


def test_no_gpu_where_one_is_asked_for() -> None:
    asked = (("device=cuda", ONE + CALL),
             ("", ONE + "function([x], (x + 1).transfer('cuda'))\n"),
             ("", "import symgraph\nsymgraph.shared(1.0, target='cuda')\n"),
             ("", "import symgraph\nsymgraph.config.device = 'gpu'\n"))  # fmt: skip
    for flags, script in asked:
        done = python("-c", script, SYMGRAPH_FLAGS=flags, **NOWHERE)
        assert done.returncode == 1 and done.stdout == ""
        problem = "CUDA device 0: the driver library that was named cannot be loaded\n"
        assert done.stderr.count(problem) == 1
        assert done.stderr.endswith("; or use device=cpu, which runs anywhere\n"), done.stderr


def test_auto_says_once_that_the_cpu_is_used() -> None:
    done = python("-c", ONE + CALL, SYMGRAPH_FLAGS="device=auto", **NOWHERE)
    assert (done.stdout, done.returncode) == ("[2.] [3.]\n", 0)
    told = "the driver library that was named cannot be loaded"
    assert done.stderr == f"symgraph: device=auto: {told}: using the CPU\n"


def test_auto_takes_the_device_that_is_there(device: Device) -> None:
    with config.change_flags(device="auto"):
        f, _ = step()
    assert devices.is_there() and runs_there(f) and f(X) == 2


def test_importing_looks_for_nothing() -> None:
    script = (
        "import sys, symgraph\nfound = [m for m in sys.modules if m.startswith('symgraph.compile."
        "cuda') or m in ('numba', 'llvmlite')]\nprint(found, callable(symgraph.gpu_report))\n"
    )
    done = python("-c", script, SYMGRAPH_FLAGS="device=cuda", **NOWHERE)
    assert (done.stdout, done.stderr) == ("[] True\n", "")


def test_the_report_is_a_command(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from symgraph.__main__ import main

    monkeypatch.setenv("SYMGRAPH_LIBCUDA", NOWHERE["SYMGRAPH_LIBCUDA"])
    assert main(["gpu"]) == 0
    out = capsys.readouterr().out
    assert out == symgraph.gpu_report() + "\n"
    assert "to use it  SYMGRAPH_FLAGS=device=cuda" in out
    assert main(["gpu", "all"]) == 2
