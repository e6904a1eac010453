"""Settings: flags, their kinds, where they come from, and what the modes make of them."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile import mode as modes
from symgraph.compile.cache import cache_dir
from symgraph.compile.mode import Mode, Options, get_default_mode, get_mode
from symgraph.configuration import Settings, _read_environment
from symgraph.flags import ACCEPTED, FLAGS
from symgraph.theano_shim.unittest_tools import fetch_seed

config = symgraph.config


def settings_of(monkeypatch: Any, flags: str = "", rc: str | None = None) -> tuple[Settings, list]:
    """Settings read from THEANO_FLAGS and a .theanorc, and the warnings that this gave."""
    monkeypatch.setenv("THEANO_FLAGS", flags)
    monkeypatch.setenv("SYMGRAPH_FLAGS", "")
    monkeypatch.setenv("THEANORC", os.devnull if rc is None else rc)
    settings, warned = Settings(), []
    _read_environment(settings, warned.append)
    return settings, warned


# ---- values --------------------------------------------------------------------------------------


def test_every_flag_has_its_default() -> None:
    fresh = Settings()
    for key, flag in (FLAGS | ACCEPTED).items():
        value: Any = fresh
        for part in key.split("."):
            value = getattr(value, part)
        assert value == flag.default, key
        assert not flag.choices or flag.default in flag.choices, key


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("floatX", "float32", "float32"),
        ("conv.assert_shape", "True", True),
        ("profile", "1", True),
        ("allow_gc", "false", False),
        ("traceback.limit", "20", 20),
        ("gpuarray.preallocate", "0.5", 0.5),
        ("optimizer_excluding", "fusion:inplace", "fusion:inplace"),
        ("cast_policy", "numpy+floatX", "numpy+floatX"),
        ("NanGuardMode.action", "warn", "warn"),
        ("gcc.cxxflags", "-O3 -ffast-math", "-O3 -ffast-math"),
        ("warn.some_old_bug", "False", "False"),
        ("dnn.conv.algo_of_the_past", "x", "x"),
    ],
)
def test_strings_are_read_as_the_kind_of_the_flag(
    monkeypatch: Any, key: str, text: str, value: Any
) -> None:
    settings, warned = settings_of(monkeypatch, f'{key}="{text}"')
    assert not warned
    assert settings._values[key] == value
    assert type(settings._values[key]) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("floatX", "float8", "floatX takes one of float64, float32, float16; got 'float8'"),
        ("profile", "maybe", "profile is True or False, got 'maybe'"),
        ("traceback.limit", "many", "traceback.limit is a whole number"),
        ("gpuarray.preallocate", None, "is a number"),
        ("compiledir", 3, "is a string"),
        ("mode", "FAST", "mode takes one of Mode, FAST_RUN"),
        ("linker", "jax", "linker takes one of cvm"),
        ("compute_test_value", "on", "compute_test_value takes one of off, ignore, warn, raise"),
        ("int_division", "float", "int_division takes one of int, raise, floatX"),
        ("device", "cuda1", "CUDA_VISIBLE_DEVICES says which one that is"),
        ("device", "opencl0:0", "use cuda for the first GPU"),
        ("device", "tpu", "device takes one of cpu, cuda, cuda0, gpu, gpu0, auto; got 'tpu'"),
    ],
)
def test_values_are_checked(key: str, value: Any, said: str) -> None:
    before = config._values[key]
    with pytest.raises(ValueError, match=said):
        config.set(key, value)
    assert config._values[key] == before


def test_assignment_as_ported_code_does_it(monkeypatch: Any) -> None:
    monkeypatch.setattr("symgraph.compile.cuda.device._current", None)
    monkeypatch.setenv("SYMGRAPH_LIBCUDA", "/no/such/driver")
    with config.change_flags({"warn.subtensor_merge_bug": True}, floatX="float64"):
        config.warn.subtensor_merge_bug = False
        assert config.warn.subtensor_merge_bug is False
        with pytest.raises(RuntimeError, match="the driver library that was named cannot be load"):
            config.device = "gpu"  # Nielsen's network3 goes on from here
        assert config.device == "cpu"
        config.floatX = "float32"
        assert T.scalar().dtype == "float32"
    assert config.floatX == "float64"


def test_change_flags_restores_what_it_set_and_nothing_else() -> None:
    before = config.traceback.limit
    try:
        with pytest.raises(KeyError), config.change_flags(floatX="float32", warn__round=True):
            config.traceback.limit = 3
            raise KeyError
        assert (config.floatX, config.warn.round, config.traceback.limit) == ("float64", False, 3)
    finally:
        config.traceback.limit = before

    @symgraph.change_flags(floatX="float32")
    def made() -> str:
        return T.vector().dtype

    assert [made(), made(), T.vector().dtype] == ["float32", "float32", "float64"]
    with pytest.raises(AttributeError), config.change_flags(floatX="float32", no_such_flag=1):
        pass
    assert config.floatX == "float64"


@pytest.mark.parametrize("before", ["float64", "float32"])
def test_values_that_tests_patch_come_back(before: str) -> None:
    config = symgraph.config
    with config.change_flags(floatX=before, unittests__rseed=5):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(config, "floatX", "float16")
            patch.setattr(config.unittests, "rseed", 7)
            assert (config.floatX, config.unittests.rseed) == ("float16", 7)
        with mock.patch.object(config, "floatX", "float16"):
            assert T.vector().dtype == "float16"
        assert (config.floatX, config.unittests.rseed) == (before, 5)
        assert vars(config)["floatX"] == before and vars(config.unittests) == {"rseed": 5}
        assert {"floatX", "unittests", "change_flags"} <= set(dir(config))


def test_there_is_one_configuration() -> None:
    config = symgraph.config
    assert copy.deepcopy(config) is config is pickle.loads(pickle.dumps(config))
    with config.change_flags(unittests__rseed=5):
        assert pickle.loads(pickle.dumps(config.unittests)).rseed == 5


def test_the_seed_of_unit_tests_may_be_random() -> None:
    with symgraph.config.change_flags(unittests__rseed="random"):
        assert symgraph.config.unittests.rseed == "random" and fetch_seed() is None
    with pytest.raises(ValueError, match="a whole number"):
        symgraph.config.unittests.rseed = "often"


def test_describe_lists_what_means_something_and_what_does_not() -> None:
    with config.change_flags({"lib.amdlibm": True, "dnn.speculative": "yes"}):
        text = config.describe()
    meaning, accepted = text.split("Accepted, without meaning here:")
    for key in FLAGS:
        assert f"\n{key} " in "\n" + meaning
    assert "lib.amdlibm                True" in meaning
    assert "dnn.speculative            yes            accepted, no meaning here" in meaning
    for key in ACCEPTED.keys() - {"lib.amdlibm"}:
        assert key in accepted
    assert str(config) == config.describe()
    assert max(map(len, text.splitlines())) <= 100


# ---- where they come from ------------------------------------------------------------------------


def test_theanorc_and_flags(monkeypatch: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("[global]\nfloatX = float32\nopenmp=True\n[lib]\ncnmem=0.8\n[odd]\nx=1\n")
    second.write_text("[global]\nfloatX = float16\n[gcc]\ncxxflags = -O2 -D'a=%b'\n")
    settings, warned = settings_of(
        monkeypatch,
        "optimizer=fast_compile,,warn.round=True,rubbish",
        f"{first}{os.pathsep}{second}",
    )
    assert settings.floatX == "float16"
    assert settings.openmp is True
    assert settings.lib.cnmem == 0.8
    assert settings.gcc.cxxflags == "-O2 -D'a=%b'"
    assert (settings.optimizer, settings.warn.round) == ("fast_compile", True)
    assert len(warned) == 2
    assert "'rubbish' is not of the form flag=value" in warned[0]
    assert "no flag 'odd.x'" in warned[1]


def test_flags_win_over_the_file_whose_mistakes_they_mend(monkeypatch: Any, tmp_path: Path) -> None:
    rc = tmp_path / "theanorc"
    rc.write_text("[global]\ndevice = gpu\nfloatX = float32\n")
    settings, warned = settings_of(monkeypatch, "device=cpu,floatX=float64", str(rc))
    assert (settings.device, settings.floatX, warned) == ("cpu", "float64", [])


def test_a_device_that_cannot_be_named(monkeypatch: Any) -> None:
    settings, warned = settings_of(monkeypatch, "device=cuda0,floatX=float32")
    assert (settings.device, settings.floatX, warned) == ("cuda0", "float32", [])
    settings, warned = settings_of(monkeypatch, "device=cuda1,floatX=float32")
    assert (settings.device, settings.floatX) == ("cpu", "float32")
    assert "CUDA_VISIBLE_DEVICES" in warned[0]
    with pytest.raises(ValueError, match="force_device is set"):
        settings_of(monkeypatch, "force_device=True,device=cuda1")


def test_a_broken_file_is_a_warning(monkeypatch: Any, tmp_path: Path) -> None:
    rc = tmp_path / "theanorc"
    rc.write_text("floatX = float32\n")
    settings, warned = settings_of(monkeypatch, "", str(rc))
    assert settings.floatX == "float64"
    assert "File contains no section headers" in warned[0]


def test_compiledir_is_the_folder_of_kernels(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.delenv("SYMGRAPH_CACHE", raising=False)
    with config.change_flags(base_compiledir=str(tmp_path / "base")):
        assert cache_dir() == tmp_path / "base"
        with config.change_flags(compiledir=str(tmp_path / "exactly")):
            assert cache_dir() == tmp_path / "exactly"
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path / "env"))
    with config.change_flags(base_compiledir=str(tmp_path / "base")):
        assert cache_dir() == tmp_path / "env"


def test_the_environment_reaches_a_new_process() -> None:
    code = (
        "import symgraph; from symgraph import tensor as T; "
        "print(T.scalar().dtype, symgraph.config.warn.reduce_join)"
    )
    environment = os.environ | {
        "THEANO_FLAGS": "floatX=float32,warn.reduce_join=True", "THEANORC": os.devnull,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["float32", "True"]


# ---- modes ---------------------------------------------------------------------------------------

x = T.dvector("x")


def kernels(expression: Any, mode: Any) -> int:
    with config.change_flags(target="python"):
        return len(symgraph.function([x], expression, mode=mode).kernels())


@pytest.mark.parametrize(
    ("optimizer", "level"),
    [
        ("fast_run", "fast_run"), ("o4", "fast_run"), ("o3", "fast_run"), ("unsafe", "fast_run"),
        ("fast_run_stable", "fast_run"), ("fast_compile", "fast_compile"), ("o2", "fast_compile"),
        ("o1", "fast_compile"), ("merge", "fast_compile"), ("stabilize", "fast_compile"),
        ("None", "fast_compile"), (None, "fast_compile"),
    ],
)  # fmt: skip
def test_optimizers_have_their_rules(optimizer: Any, level: str) -> None:
    assert Mode(optimizer=optimizer).options == Options("cpu", level)
    assert Mode(optimizer=optimizer, linker="py").options == Options("cpu", level)


def test_modes_are_values() -> None:
    mode = Mode("vm", "fast_compile")
    assert mode == modes.FAST_COMPILE != modes.FAST_RUN
    assert hash(mode) == hash(modes.FAST_COMPILE)
    assert str(mode) == "Mode(linker = vm, optimizer = fast_compile)"
    fewer = mode.including("fast_run").excluding("fusion", "inplace").requiring("stabilize")
    assert mode == modes.FAST_COMPILE
    assert fewer.options == Options(
        "cpu", "fast_run", frozenset({"fusion", "inplace"}), frozenset({"stabilize"})
    )
    assert fewer.including("fusion").excluded == {"inplace"}
    assert mode.clone(optimizer="fast_run") == Mode("vm", "fast_run")
    assert mode.clone() == mode
    assert (mode.provided_linker, mode.provided_optimizer) == ("vm", "fast_compile")
    with config.change_flags(target="python"):
        assert mode.options.target == "python"
    for wrong in ({"linker": "numba"}, {"optimizer": "fastest"}):
        with pytest.raises(ValueError, match="is not known"):
            Mode(**wrong)


def test_modes_by_name() -> None:
    assert get_mode("FAST_RUN") is modes.FAST_RUN
    assert get_mode("Mode") == Mode()
    assert get_mode(modes.FAST_COMPILE) is modes.FAST_COMPILE
    assert get_mode(Options("python", "none")).options == Options("python", "none")
    with pytest.raises(ValueError, match="mode 'FASTER' is not known"):
        get_mode("FASTER")
    with pytest.raises(TypeError, match="mode is no mode: 3"):
        get_mode(3)
    modes.register_mode("mine", Mode(optimizer="fast_compile").excluding("fusion"))
    try:
        assert kernels(T.tanh(T.exp(x)), "mine") == 2
        with pytest.raises(ValueError, match="Mode name already taken: mine"):
            modes.register_mode("mine", Mode())
    finally:
        del modes.predefined_modes["mine"]


def test_the_default_mode_follows_the_configuration() -> None:
    assert get_default_mode() == Mode()
    with config.change_flags(optimizer="fast_compile", optimizer_excluding="fusion:stabilize"):
        assert get_default_mode().options == Options(
            "cpu", "fast_compile", frozenset({"fusion", "stabilize"})
        )
        assert get_mode("FAST_RUN").options == Options("cpu", "fast_run")
    with config.change_flags(mode="FAST_COMPILE", optimizer_including="fast_run"):
        assert get_default_mode().options == Options("cpu", "fast_run")
    with config.change_flags(mode="DEBUG_MODE"):
        assert type(get_default_mode()).__name__ == "DebugMode"
    with config.change_flags(optimizer_requiring="canonicalize"):
        assert get_default_mode().options.requiring == {"canonicalize"}


def test_tags_choose_rules() -> None:
    def rewritten(mode: Mode) -> str:
        with config.change_flags(target="python"):
            f = symgraph.function([x], T.log(1 + T.exp(x)) + x**1, mode=mode)
        return symgraph.pp(f.maker.fgraph.outputs[0])

    assert rewritten(Mode()) == "(softplus(x) + x)"
    assert "softplus" in rewritten(Mode(optimizer=None))
    unstable = rewritten(Mode().excluding("stabilize"))
    assert "softplus" not in unstable
    assert "log" in unstable
    rules = ("log(1 + exp(x)) -> softplus(x)", "log1p(exp(x)) -> softplus(x)")
    assert "log1p(exp(x))" in rewritten(Mode().excluding(*rules))
    assert "softplus" not in rewritten(Mode().requiring("specialize"))
    assert rewritten(Mode().excluding("no_such_tag")) == rewritten(Mode())


def test_excluding_fusion_gives_a_kernel_for_each_node() -> None:
    y = T.exp(T.tanh(x) + 1)
    assert kernels(y, Mode()) == 1
    assert kernels(y, Mode().excluding("fusion")) == 3
    w = symgraph.shared(np.ones(3), "w")
    with config.change_flags(target="python"):
        f = symgraph.function(
            [x], T.exp(w * x), updates=[(w, T.tanh(w + x))], mode=Mode().excluding("fusion")
        )
    np.testing.assert_allclose(f([1, 2, 3]), np.exp([1, 2, 3]))
    np.testing.assert_allclose(w.get_value(), np.tanh([2, 3, 4]))
