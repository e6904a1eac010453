"""The benchmark of a GPU where there is none: symgraph's part on a simulated device and on paper,
the parent with children made for it, what is written of it all. Never how long anything takes.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from benchmarks import __main__ as page
from benchmarks.cuda import __main__ as command
from benchmarks.cuda import child, estimate, report, run
from benchmarks.cuda.child import Effort
from benchmarks.cuda.subjects import CONTENDERS, FAMILIES, SUBJECTS, Row, Subject
from benchmarks.cuda.symgraph import Peer
from benchmarks.subjects.lenet import step_flops
from lenet.models.tutorial import tutorial
from lenet.network import Model
from symgraph import tensor as T
from symgraph.compile.cuda import api
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.simulated import Simulated
from tests import fakecuda

EFFORT = Effort(blocks=1, least=0.0, walls=1)
DEVICE = {
    "name": "Paper GPU", "arch": "sm_90", "multiprocessors": 132, "clock": 1.98e9,
    "memory": 1 << 30, "driver": "13.0", "peak": 66.9e12,
}  # fmt: skip


@pytest.fixture
def simulated() -> Iterator[None]:
    flags = symgraph.config.change_flags(device="cuda", floatX="float32")
    with use(Device(Simulated())), flags:
        yield


def found(peer: Any, *subjects: Subject) -> dict[str, Row]:
    """What a peer gives for subjects, through the child's own loop."""
    told: list[Row] = []
    child.serve(peer, subjects, EFFORT, told.append)
    assert [one["begin"] for one in told[::2]] == [s.name for s in subjects]
    return {one["end"]: one for one in told[1::2]}


# ---- symgraph's part


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_right(simulated: None, family: str) -> None:
    assert found(Peer(), Subject("x", "check", (family, 12), "check"))["x"]["error"] <= 1e-5


def test_a_wrong_kernel_is_found(simulated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.cuda import checks

    x = symgraph.shared(np.ones(3, "float32"))
    monkeypatch.setitem(checks.FAMILIES, "wrong", lambda n: [(x + 1, [2, 2, 3])])
    assert checks.error("wrong", 3) == pytest.approx(1 / 3)


def test_steps_on_the_simulated_device(simulated: None) -> None:
    shape = (2, 2, 6, 3, 3, 1, 0)
    rows = found(
        Peer(), Subject("copy", "copy", (100,)),
        Subject("gemm", "gemm", (9, 7, 5, False, False, "float32")),
        *(Subject(name, name, shape)
          for name in ("conv_forward", "conv_grad_weights", "conv_grad_inputs")),
        Subject("none", "no_such_kernel"),
    )  # fmt: skip
    assert rows.pop("none")["failed"].startswith("AttributeError: ")
    for row in rows.values():
        assert (
            row["device"] > 0 and row["wall"] > 0 and row["first"] > 0 and len(row["spread"]) == 2
        )


class Small(Peer):
    """With a narrow LeNet."""

    def _lenet(self) -> Model:
        rng = np.random.RandomState(0)
        return Model("small", tutorial(10, (2, 3), 5), rng, (1, 28, 28), "0123456789")


def test_training_is_as_in_float64_on_the_cpu(simulated: None) -> None:
    row = found(Small(), Subject("x", "five_steps", (2, 2), "check"))["x"]
    assert 0 < row["error"] < 1e-4
    assert (symgraph.config.device, symgraph.config.floatX) == ("cuda", "float32")


def test_all_subjects_on_paper() -> None:
    """Each subject of the real run is made and called, at its full size; nothing is computed."""
    with estimate.on_paper():
        mine = [s for s in SUBJECTS if s.how != "check"]
        rows = found(Peer(), *mine)
    assert not [row for row in rows.values() if "failed" in row]
    kernels = rows["LeNet step, kernel by kernel"]["kernels"]
    assert any("Conv2d" in kernel["what"] for kernel in kernels)
    assert all(kernel["blocks"] >= 1 and kernel["threads"] >= 32 for kernel in kernels)


# ---- on paper


def test_what_a_step_needs_is_counted() -> None:
    with estimate.on_paper():
        train = Peer().lenet(500)
    launches = train._compiled.program.launched()
    steps = [train._compiled.plan.steps[launch.step] for launch in launches]
    work = [estimate.flops(step) for step in steps]
    multiplied = sum(w for w, step in zip(work, steps, strict=True) if w > 0.2e6 * 16)
    assert multiplied == pytest.approx(step_flops(500), rel=1e-9)


def test_what_a_kernel_needs_is_counted() -> None:
    with estimate.on_paper():
        x = symgraph.shared(np.ones((1000, 30), "float32"))
        w = symgraph.shared(np.ones((30, 20), "float32"))
        f = symgraph.function([], [], updates=[(x, T.tanh(T.dot(T.dot(x, w), w.T)))])
        f()
    first, second, last = estimate.kernels(f, "sm_90")
    assert (first["what"], second["what"], last["what"]) == (
        "dot to 1000 x 20", "dot to 1000 x 30", "tanh",
    )  # fmt: skip
    assert first["flops"] == second["flops"] == 2 * 1000 * 30 * 20 and last["flops"] == 0
    assert first["bytes"] == 4 * (1000 * 30 + 30 * 20 + 1000 * 20)
    assert last["bytes"] == 2 * 4 * 1000 * 30
    for kernel in (first, second, last):
        assert kernel["ffma"] > 0 and kernel["memory"] > 0 and kernel["other"] > 0
        assert kernel["seconds"] > estimate.START
        assert kernel["registers"] is None or kernel["spills"] == 0 < kernel["registers"]


def test_instructions_are_told_apart() -> None:
    ptx = """
    .visible .entry kernel(.param .align 8 .b8 p[8]) .maxntid 256 {
        .reg .b32 %r<3>;
        ld.param.b64 %rd1, [p];
    $L__BB0_1:
        ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];
        @%p1 fma.rn.f32 %f1, %f2, %f3, %f4;
        st.shared.f32 [%r1], %f1; // a remark
        bar.sync 0;
        @!%p1 bra $L__BB0_1;
        ret;
    }"""
    assert estimate.mix(ptx) == {"ffma": 1, "memory": 2, "other": 4}


# ---- the parent and its children

CHILD = """
import json, os, sys, time
asked = json.load(sys.stdin)
def tell(**row):
    print(json.dumps(row), flush=True)
tell(begin="start")
if sys.argv[1] == "absent":
    tell(end="start", failed="ModuleNotFoundError: No module named 'jax'")
    sys.exit()
tell(end="start", versions={sys.argv[1]: "1"})
for subject in asked["subjects"]:
    name = subject["name"]
    tell(begin=name)
    if name == "dies":
        sys.exit("an illegal address")
    if name == "late":
        time.sleep(60)
    tell(end=name, device=0.001)
"""


def starts(tmp_path: Path, **kinds: str) -> Any:
    """What starts a child; `kinds`: contenders that behave otherwise."""
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD), encoding="utf-8")
    return lambda contender, python="": [
        sys.executable, str(script), kinds.get(contender, contender)
    ]  # fmt: skip


def asked(tmp_path: Path, names: list[str], kind: str = "torch", **more: Any) -> list[Any]:
    noted: list[Any] = []
    run.ask(
        starts(tmp_path)(kind), [Subject(name, "") for name in names], EFFORT,
        lambda contender, name, row: noted.append((name, row.get("failed", ""))), "torch",
        **{"deadline": time.monotonic() + 100, "variables": run.environment(), **more},
    )  # fmt: skip
    return noted


def test_a_child_that_ends_costs_one_subject(tmp_path: Path) -> None:
    noted = asked(tmp_path, ["a", "dies", "b"])
    why = "its process ended (status 1): an illegal address"
    assert noted == [("start", ""), ("a", ""), ("dies", why), ("start", ""), ("b", "")]


def test_a_child_that_is_late_is_ended(tmp_path: Path) -> None:
    noted = asked(tmp_path, ["late", "b"], patience=3.0)
    assert noted == [("start", ""), ("late", "took more than 3 s"), ("start", ""), ("b", "")]


def test_a_contender_that_is_not_there(tmp_path: Path) -> None:
    noted = asked(tmp_path, ["a", "b"], kind="absent")
    assert noted == [("start", "ModuleNotFoundError: No module named 'jax'")]


def test_the_time_is_up(tmp_path: Path) -> None:
    assert asked(tmp_path, ["a", "b"], deadline=time.monotonic()) == [
        ("a", "left out: the time was up"), ("b", "left out: the time was up"),
    ]  # fmt: skip


def test_a_child_is_a_process_of_this_repository() -> None:
    """The real child, which has no device here: it says so, and nothing of a traceback."""
    variables = run.environment() | {"SYMGRAPH_LIBCUDA": "/none/libcuda.so"}
    noted: list[Any] = []
    run.ask(
        run.command("symgraph"), [Subject("x", "copy", (8,))], EFFORT,
        lambda *given: noted.append(given), "symgraph", time.monotonic() + 100, variables,
    )  # fmt: skip
    ((contender, name, row),) = noted
    assert (contender, name) == ("symgraph", "start")
    assert row["failed"].startswith(
        "NoGPU: CUDA device 0: the driver library that was named cannot"
    )


# ---- what is written


def whole_run(tmp_path: Path) -> Row:
    kept: list[int] = []
    results = command.measured(
        DEVICE, list(SUBJECTS), [*CONTENDERS], EFFORT, "",
        lambda now: kept.append(len(now["rows"])), starts(tmp_path, JAX="absent"),
    )  # fmt: skip
    assert kept == sorted(kept) and kept[-1] == len(SUBJECTS)  # there is something at any time
    return results


def test_a_run_and_its_section(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = whole_run(tmp_path)
    said = capsys.readouterr().out
    assert "JAX            FAILED: ModuleNotFoundError" in said and "TFLOP/s" in said
    assert results["absent"] == {"JAX": "ModuleNotFoundError: No module named 'jax'"}
    rows = results["rows"]
    rows["check: gemm"]["symgraph"] = {"error": 1e-7}
    rows["check: scan"]["symgraph"] = {"failed": "NoSense: none"}
    rows["LeNet step, batch 500"]["symgraph"] = {"device": 0.3e-3, "wall": 0.4e-3}
    rows["LeNet step, kernel by kernel"]["symgraph"] = {
        "kernels": [{"what": "Conv2d", "blocks": 7, "threads": 256, "device": 1e-5}]
    }
    text = report.section({"run": results})
    for part in (
        "Paper GPU, sm_90, 132 multiprocessors at 1.98 GHz, driver for CUDA 13.0",
        "| LeNet step, batch 500 | at most 350 us | 300 us | met |",
        "| LeNet step, batch 500 | at most 1.00 of torch | 0.30 of torch | met |",
        "| gemm 4096 | at most 1.67 of torch | 1.00 of torch | met |",
        "| conv2 forward | at least 50% of the peak | 2% of the peak | **missed** |",
        "| an epoch of the tutorial | at most 10.0 s for 200 epochs | 0.2 s for 200 epochs | met |",
        "* **JAX is missing**: ModuleNotFoundError",
        "11 families of kernels against NumPy in float64: **wrong**: ",
        "| LeNet step, batch 500 | 300 us | 1.00 ms | 1.00 ms | 0.30 | 21.97 TFLOP/s (33%) |",
        "| LeNet step, batch 500 | 400 us | - | - |", "| Conv2d | 7 | 256 | 10.0 us |",
        "* check: scan, symgraph: NoSense: none",
    ):  # fmt: skip
        assert part in text, (part, text)


def test_without_a_run_the_page_says_so() -> None:
    assert report.section(None) == f"## On a GPU\n\n{report.NOT_RUN}\n"
    results = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    assert page.page_of(results, {}).endswith(report.section(None))


# ---- the command


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYMGRAPH_LIBCUDA", raising=False)
    monkeypatch.setattr(api, "LIBRARIES", ("libnone.so.1",))
    monkeypatch.setattr(api, "_apis", {})


def test_no_gpu_is_one_line(no_gpu: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == command.main(["--sanitize"]) == 1
    said = capsys.readouterr()
    line = (
        f"NVIDIA's driver is not installed: no libnone.so.1: {api.install()}; or see --estimate\n"
    )
    assert (said.out, said.err) == ("", 2 * line)


def test_words_that_name_nothing(no_gpu: None, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--only", "nothing"], ["--peers", "nobody"]):
        with pytest.raises(SystemExit):
            command.main(words)
    assert "no contender 'nobody'" in capsys.readouterr().err
    assert {s.name for s in command.selected("gemm, conv2 f")} == {
        "check: gemm", "gemm 4096", "gemm 500x800 by 800x500", "conv2 forward",
    }  # fmt: skip


def test_the_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with fakecuda.loaded() as fake:
        monkeypatch.setenv("SYMGRAPH_LIBCUDA", fake.path)
        about = command.about()
        assert fake.retained() == 0
    assert (about["arch"], about["multiprocessors"], about["driver"]) == ("sm_90", 132, "13.0")
    assert about["peak"] == 2 * 128 * 132 * about["clock"]


def test_without_compute_sanitizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "not on the path" in run.sanitize(("memcheck",), [])["failed"]


def test_what_compute_sanitizer_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "compute-sanitizer"
    program.write_text(
        "#!/bin/sh\necho '========= ERROR SUMMARY: 0 errors'\n[ \"$2\" = memcheck ]\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert run.sanitize(("memcheck", "racecheck"), []) == {
        "memcheck": "ERROR SUMMARY: 0 errors", "memcheck found": False,
        "racecheck": "ERROR SUMMARY: 0 errors", "racecheck found": True,
    }  # fmt: skip
