"""The benchmark's harness on tiny subjects: what it reports, never how long anything takes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import contenders, install, limits, machine, measure, plot, report, run, worker
from benchmarks.contenders import ALL, CONTENDERS, Contender
from benchmarks.crew import Crew, Failed
from benchmarks.peers import numba as numba_peer
from benchmarks.peers import numpy as numpy_peer
from benchmarks.peers import symgraph as symgraph_peer
from benchmarks.subject import Bar, Family, Subject
from benchmarks.subjects import FAMILIES

PEER = """
import os, time
import numpy as np

class Peer:
    def __init__(self, variant, threads):
        print("a library that prints", threads)
        self.variant = variant

    @staticmethod
    def digest(result):
        return [np.asarray(result)]

    def double(self, n):
        factor = 3 if self.variant == "wrong" else 2
        return lambda: factor * np.arange(n)

    def slow(self):
        return lambda: time.sleep(1.0)

    def die(self):
        if self.variant == "mortal":
            os._exit(3)
        return lambda: 1.0

    def fail(self):
        if self.variant == "wrong":
            raise ValueError("no such thing\\nat all")
        return lambda: 1.0
"""


def effort() -> measure.Effort:
    return measure.Effort(rounds=3, least=1e-4, repeat=0.0)


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """symgraph and peers, all of them the module above; one cannot be imported."""
    (tmp_path / "tiny_peer.py").write_text(PEER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(contenders, "HOME", tmp_path / "home")
    variants = {"torch": "", "JAX": "wrong", "PyTensor": "slow", "NumPy": "mortal"}
    for name in ["symgraph", *variants]:
        contender = CONTENDERS[name]
        variant = variants.get(name, "")
        made = replace(contender, module="tiny_peer", package="json", variant=variant, slow=False)
        monkeypatch.setitem(CONTENDERS, name, made)
    gone = replace(CONTENDERS["torch channels_last"], package="no_such_package", kernels=None)
    monkeypatch.setitem(CONTENDERS, "torch channels_last", gone)
    with Crew(["symgraph", *variants, "torch channels_last"], tmp_path / "caches") as hands:
        yield hands


def measured(crew: Crew, kernel: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
    subject = Subject(kernel, kernel, arguments, **keywords)
    return measure.measure(subject, crew, effort())


# ---- workers and rounds


def test_who_is_missing_and_who_disagrees_is_said(crew: Crew) -> None:
    row = measured(crew, "double", 4)
    assert set(row["median"]) == {"symgraph", "torch", "JAX", "PyTensor"}
    assert row["reasons"] == {
        "torch channels_last": "ModuleNotFoundError: No module named 'no_such_package'"
    }
    assert row["disagree"] == {"JAX": "mean 4.5 of 4, not 3 of 4"}
    assert row["best_peer"] in {"torch", "JAX", "PyTensor"}
    low, high = row["ratio_range"]
    assert low <= row["ratio"] <= high
    assert all(len(times) == 3 for times in row["rounds"].values())
    assert crew.absent == row["reasons"]
    text = report.line(row)
    assert "torch channels_last: ModuleNotFoundError" in text
    assert "JAX differs: mean 4.5 of 4, not 3 of 4" in text


def test_a_kernel_that_a_peer_has_not_and_one_that_raises(crew: Crew) -> None:
    row = measured(crew, "missing")
    assert set(row["reasons"].values()) >= {"not offered"} and row["median"] == {}
    assert row["ratio"] is None
    row = measured(crew, "fail")
    assert row["reasons"]["JAX"] == "ValueError: no such thing"
    assert {"symgraph", "torch"} <= set(row["median"])


def test_a_process_that_dies_is_replaced(crew: Crew) -> None:
    row = measured(crew, "die", contenders=("symgraph", "NumPy"))
    assert row["reasons"] == {"NumPy": "its process died (status 3)"}
    row = measured(crew, "double", 2, contenders=("symgraph", "NumPy"))
    assert row["reasons"] == {} and set(row["median"]) == {"symgraph", "NumPy"}


def test_a_request_that_takes_too_long_ends_the_process(crew: Crew) -> None:
    hand = crew.hand("PyTensor")
    hand.make("slow", [])
    with pytest.raises(Failed, match="took more than 0 s"):
        hand.ask(0.01, do="run", slot="row", calls=100)
    assert hand.process.returncode is not None
    assert crew.hand("PyTensor") is not hand


def test_who_is_hopeless_sits_out_but_never_symgraph() -> None:
    rounds: dict[str, list[float | None]] = {
        "symgraph": [60.0, 70.0], "torch": [10.0, 10.0], "JAX": [99.0, 51.0], "PyTensor": [99, 49],
    }  # fmt: skip
    assert [name for name in rounds if measure.hopeless(name, rounds)] == ["JAX"]


def test_too_little_memory_is_a_reason(crew: Crew) -> None:
    row = measured(crew, "double", 4, memory=1e18)
    assert set(row["reasons"].values()) == {"needs 931322575 GiB of free memory"}


def test_quick_leaves_slow_contenders_out(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTENDERS, "JAX", replace(CONTENDERS["JAX"], slow=True))
    subject = Subject("double", "double", (4,), contenders=("symgraph", "JAX"))
    row = measure.measure(subject, crew, replace(effort(), quick=True))
    assert row["reasons"] == {"JAX": "left out by --quick"} and "JAX" not in row["median"]


@pytest.mark.parametrize("how", ["cold", "warm", "import", "peak"])
def test_measures_in_new_processes(crew: Crew, how: str) -> None:
    row = measured(crew, "double", 4, how=how, contenders=("symgraph", "torch"))
    assert row["unit"] == ("bytes" if how == "peak" else "s")
    assert all(value > 0 for value in row["median"].values()) and len(row["median"]) == 2
    assert not crew.pids()


def test_one_thread_and_two(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "symgraph, 1 thread"
    made = replace(CONTENDERS["symgraph"], name=name, threads=1)
    monkeypatch.setitem(CONTENDERS, name, made)
    crew.names.append(name)
    row = measured(crew, "double", 4, contenders=("symgraph", name))
    assert row["speed_up"] == {"symgraph": row["median"][name] / row["median"]["symgraph"]}
    assert "symgraph x" in report.line(row)


def test_timed_takes_medians_of_blocks_and_not_the_first_call() -> None:
    now, durations = [0.0], iter([7e-3, 1e-3, 9e-3, 1e-3])

    def step() -> None:
        now[0] += next(durations)

    seconds, count = worker.timed(step, 0.0105, clock=lambda: now[0])
    assert seconds == pytest.approx(1e-3) and count == 3
    now, durations = [0.0], iter([2.0])
    assert worker.timed(step, 1.0, lambda: now[0]) == (2.0, 1)


def test_short_steps_are_timed_in_blocks() -> None:
    now, calls = [0.0], [0]

    def step() -> None:
        now[0] += 1e-6
        calls[0] += 1

    seconds, count = worker.timed(step, 0.01, clock=lambda: now[0])
    assert seconds == pytest.approx(1e-6, rel=1e-3)
    assert count == calls[0] - 1 >= 10000


def test_what_the_machine_gives_is_measured_beside_a_row(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits.ROOFS, "flops", ("double", [8], 16.0))
    row = measured(crew, "double", 4, flops=8.0)
    assert set(row["limits"]) == {"symgraph", "torch", "NumPy"}
    assert row["fraction"] == row["rate"] / max(row["limits"].values())
    assert crew.hand("NumPy").prepared == {"flops"}
    assert "of the FLOP limit" in report.line(row)
    crew.hand("NumPy").close()
    assert crew.hand("NumPy").prepared == set()
    assert set(measured(crew, "double", 4, flops=8.0)["limits"]) == set(row["limits"])


# ---- statistics


def test_the_ratio_is_the_median_over_rounds_that_both_were_in() -> None:
    rounds: dict[str, list[float | None]] = {
        "symgraph": [1.0, 4.0, 2.0], "torch": [2.0, 4.0, None], "JAX": [9.0, 9.0, 9.0],
    }  # fmt: skip
    row = measure.row(Subject("x"), rounds, {})
    assert row["best_peer"] == "torch"
    assert row["ratio"] == 0.75 and row["ratio_range"] == [0.5, 1.0]
    assert row["median"] == {"symgraph": 2.0, "torch": 3.0, "JAX": 9.0}


def test_a_reference_is_no_peer() -> None:
    row = measure.row(Subject("x"), {"symgraph": [1.0], "NumPy": [0.5]}, {})
    assert row["best_peer"] is None and row["ratio"] is None


def test_spread_notices_rounds_that_differ() -> None:
    assert measure.spread([1.0, 1.01, 1.02, 1.0, 5.0]) < 1.25
    assert measure.spread([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]) > 1.25
    rounds: dict[str, list[float | None]] = {"symgraph": [1.0, 2.0, 1.0, 2.0]}
    assert measure.row(Subject("x"), rounds, {})["unsteady"] == ["symgraph"]


def test_disagreement_sees_sizes_values_and_nan() -> None:
    good = [[4.0, 1.0, 2.0]]
    for other in ([[5.0, 1.0, 2.0]], [[4.0, 1.1, 2.0]], [[4.0, float("nan"), 2.0]], good * 2):
        assert measure.disagreements({"symgraph": good, "torch": other}).keys() == {"torch"}
    assert not measure.disagreements({"symgraph": good, "torch": [[4.0, 1.0005, 2.0]]})


@pytest.mark.parametrize(
    ("bar", "row", "value", "met"),
    [
        (Bar("ratio", 0.5), {"ratio": 0.4}, "0.40", True),
        (Bar("ratio", 0.5), {"ratio": 0.51}, "0.51", False),
        (Bar("ratio", 1.0, against="torch"), {"ratio": 9.0}, "0.20", True),
        (Bar("seconds", 1.5e-6), {}, "2.00 s", False),
        (Bar("fraction", 0.5, least=True), {"fraction": 0.61}, "61%", True),
        (Bar("growth", 1.3), {"growth": 1.5}, "1.50", False),
    ],
)
def test_bars(bar: Bar, row: dict[str, Any], value: str, met: bool) -> None:
    verdict = bar.judge({"median": {"symgraph": 2.0, "torch": 10.0, "JAX": 1.0}, **row})
    assert verdict is not None
    assert (verdict["value"], verdict["met"]) == (value, met)


def test_bars_of_what_was_not_measured_are_not_judged() -> None:
    assert Bar("ratio", 0.5).judge({"median": {"torch": 1.0}, "ratio": None}) is None
    assert Bar("ratio", 0.5).judge({"median": {"symgraph": 1.0}, "ratio": None}) is None
    assert Bar("growth", 1.3).judge({"median": {"symgraph": 1.0}}) is None


def test_fractions_and_growth() -> None:
    limit = {"torch": 100.0, "NumPy": 50.0}
    row = measure.row(Subject("x", flops=50.0), {"symgraph": [1.0]}, {})
    measure.rate(row, limit)
    assert (row["rate"], row["fraction"], row["limits"]) == (50.0, 0.5, limit)
    cached = measure.row(Subject("x", bytes=1e6), {"symgraph": [1.0]}, {})
    measure.rate(cached, limit)
    assert cached["rate"] == 1e6 and "fraction" not in cached
    small = measure.row(Subject("x", scale=10), {"symgraph": [1.0]}, {})
    large = measure.row(Subject("x", scale=100), {"symgraph": [12.0]}, {})
    measure.growth(large, small)
    assert large["growth"] == pytest.approx(1.2)


# ---- the machine


def test_a_disturbed_machine_is_described() -> None:
    assert machine.complaints(0.0, [0.01], [0.0], [100.0, 110.0]) == []
    said = " ".join(machine.complaints(99.0, [0.01, 0.3], [0.0, 0.1], [80.0, 160.0]))
    assert "load average was 99.0" in said
    assert "(up to 30%) during 1 of 2 rows" in said
    assert "hypervisor gave more than 2 % of the machine (up to 10%)" in said
    assert "between 80 and 160 GFLOP/s" in said


def test_disturbed_rows_are_counted() -> None:
    rows = [{"others": 0.0, "stolen": 0.1}, {"others": 0.3}, {"others": 0.2}]
    assert report.disturbances(rows) == [
        "others used up to 30% of the machine, in 2 of 3 rows",
        "10% stolen by the hypervisor, in 1 of 3 rows",
    ]
    assert report.disturbances([{"others": 0.3}]) == ["others used 30% of the machine"]


def test_time_of_others_is_what_is_used_and_not_ours() -> None:
    before = machine.Ticks(total=1000, used=500, stolen=10, own=100)
    after = machine.Ticks(total=1200, used=650, stolen=14, own=200)
    assert after.others(before) == 0.25 and after.stolen_share(before) == 0.02


def test_the_machine_is_described() -> None:
    found = machine.describe()
    assert found["cpu"] and found["cpus"] >= 1 and found["python"]
    assert len(machine.cpus(2)) <= 2 and len(set(machine.cpus(2))) == len(machine.cpus(2))


# ---- installing the peers


def fake_run(status: int, calls: list[list[str]]) -> Callable[[list[str]], Any]:
    def answer(arguments: list[str]) -> Any:
        calls.append(arguments)
        bad = status if "pip" in arguments else 0
        return subprocess.CompletedProcess(arguments, bad, "", "noise\nERROR: no wheel\nmore")

    return answer


def test_a_peer_that_cannot_be_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "HOME", tmp_path)
    peer = CONTENDERS["JAX"]
    assert install.install(peer, fake_run(1, [])) == "ERROR: no wheel"
    with (
        Crew(["JAX"], tmp_path) as crew,
        pytest.raises(Failed, match="could not be installed: ERROR: no wheel"),
    ):
        crew.hand("JAX")


def test_a_peer_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "HOME", tmp_path)
    calls: list[list[str]] = []

    def run(arguments: list[str]) -> Any:
        Path(tmp_path / "peers" / "jax").mkdir(parents=True, exist_ok=True)
        return fake_run(0, calls)(arguments)

    assert install.install(CONTENDERS["JAX"], run) == ""
    assert calls[-1][-2:] == ["numpy", "jax"] and str(install.PINS) in calls[-1]
    assert install.install(CONTENDERS["JAX"], run) == "" and len(calls) == 2


def test_every_peer_is_pinned() -> None:
    pins = install.PINS.read_text(encoding="utf-8")
    for path in install.peers():
        assert f"\n{path.name}==" in pins


# ---- the subjects


def test_names_are_unique_and_kernels_exist() -> None:
    names = [s.name for f in FAMILIES for s in f.subjects]
    assert len(set(names)) == len(names)
    for subject in (s for f in FAMILIES for s in f.subjects):
        assert not subject.kernel or hasattr(symgraph_peer.Peer, subject.kernel)
        assert subject.entrants()


TINY: dict[str, tuple[Any, ...]] = {
    "network_step": ((784, 10), 2),
    "lstm_step": (3, 2, 4, 5),
    "conv_forward": (2, 2, 6, 3, 3, 2, 1),
    "conv_grad_weights": (2, 2, 6, 3, 3, 2, 1),
    "conv_grad_inputs": (2, 2, 6, 3, 3, 2, 1),
    "gemm": (3, 4, 5, True, False, "float64"),
    "stream": (5,),
    "chain": (5,),
    "reduction": ("sum of axis 0", 3, 4),
    "cross_entropy": (4, 3),
    "pool": (2, 3, 4, True),
    "add_scalars": (),
    "deep_chain": (3,),
    "deep_network": (2,),
}


@pytest.mark.parametrize("kernel", TINY)
def test_the_kernels_of_symgraph_run(kernel: str) -> None:
    import symgraph

    with symgraph.config.change_flags(floatX="float32"):
        peer = symgraph_peer.Peer("", 2)
        step = getattr(peer, kernel)(*TINY[kernel])
        got = worker.summary(peer.digest(step()))
    assert np.isfinite(got).all()
    if hasattr(numpy_peer.Peer, kernel) and kernel != "stream":
        wanted = numpy_peer.Peer("", 2)
        step = getattr(wanted, kernel)(*TINY[kernel])
        assert not measure.disagreements({"NumPy": worker.summary(wanted.digest(step())), "s": got})


def test_the_lstm_by_hand_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import symgraph

    monkeypatch.setattr(numba_peer, "_lstm", numba_peer._lstm.py_func)
    with symgraph.config.change_flags(floatX="float32"):
        ours = symgraph_peer.Peer("", 2).lstm_step(*TINY["lstm_step"])
    by_hand = numba_peer.Peer("", 2).lstm_step(*TINY["lstm_step"])
    costs = np.array([[ours(), by_hand()] for _ in range(10)])
    np.testing.assert_allclose(costs[:, 0], costs[:, 1], rtol=1e-5)
    assert costs[-1, 0] < costs[0, 0]


# ---- a whole run, its page and pictures, the command line


@pytest.fixture
def results(
    crew: Crew, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setitem(limits.ROOFS, "flops", ("double", [8], 16.0))
    bars = (Bar("ratio", 1e9), Bar("seconds", 1e-12))
    family = Family(
        "tiny", "Tiny", "Almost nothing.", (
            Subject("double of 4", "double", (4,), flops=8.0, bars=bars),
            Subject("nobody's", "missing"),
        ),
    )  # fmt: skip
    compiling = Family(
        "compiling", "Compile time", "Nodes.", tuple(
            Subject(f"chain of {n}", "double", (n,), "cold", scale=n, bars=(Bar("growth", 1e9),),
                    contenders=("symgraph", "torch"))
            for n in (10, 100)
        ),
    )  # fmt: skip
    found = run.run([family, compiling], crew, effort())
    found["printed"] = capsys.readouterr().out
    return found


def test_a_run_gives_lines_json_a_page_and_pictures(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = results.pop("printed")
    assert "[  1/4] double of 4" in printed and "MISSED" in printed and "met" in printed
    assert json.loads(json.dumps(results)) == results
    training = tmp_path / "training.json"
    training.write_text('{"minutes": 30.0, "test_error": 0.97, "epochs": 200}', encoding="utf-8")
    monkeypatch.setattr(command, "TRAINING", training)
    command.write_docs(results, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "**torch channels_last is missing**: ModuleNotFoundError" in text
    assert "| double of 4 | at most 0.00 ns |" in text and "**missed**" in text
    assert "| nobody's | - | - |" in text
    assert "| under 32.5 min | 30.0 min | met |" in text
    assert "| test error at most 0.95 % | 0.97 % | **missed** |" in text
    assert "| epochs | 200 |" in text
    for name in ("benchmarks.svg", "benchmarks-compile.svg"):
        assert name in text
        assert (tmp_path / name).read_text(encoding="utf-8").rstrip().endswith("</svg>")
    first = (tmp_path / "benchmarks.svg").read_text(encoding="utf-8")
    plot.ratios(results, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text(encoding="utf-8") == first


def test_pages_say_what_is_quiet_hasty_and_not_yet_run(results: dict[str, Any]) -> None:
    quiet = {**results, "complaints": []}
    assert "The machine was quiet" in report.page(quiet)
    assert "Not run yet" in report.page(quiet)
    loaded = {**results, "complaints": ["Too loud."]}
    assert "**The machine was not quiet.** Too loud." in report.page(loaded)
    hasty = {**results, "effort": {**results["effort"], "quick": True}}
    assert "(`--quick`): slow peers left out" in report.page(hasty)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert "lenet: LeNet" in listed and "chain of 100,000,000  (slow)" in listed
    assert "torch channels_last; torch.compile; JAX" in listed
    for arguments, words in (
        (["--only", "nonsense"], "no subject matches --only nonsense; --list names them all"),
        (["--peers", "tensorflow"], "no contender 'tensorflow'; there are symgraph, torch"),
    ):
        with pytest.raises(SystemExit):
            command.main(arguments)
        assert words in capsys.readouterr().err


def test_only_takes_families_and_parts_of_names() -> None:
    chosen = {f.key: [s.name for s in f.only(["gemm", "Batch 20"]).subjects] for f in FAMILIES}
    assert len(chosen["gemm"]) == 13
    assert chosen["lenet"] == ["LeNet step, batch 20"]
    assert not chosen["pooling"]


def test_a_page_is_rendered_anew_from_figures(results: dict[str, Any], tmp_path: Path) -> None:
    results.pop("printed")
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps(results), encoding="utf-8")
    assert command.main(["--render", "--json", str(figures), "--docs", str(tmp_path)]) == 0
    assert (tmp_path / "benchmarks.md").exists()


def made_up(*families: tuple[str, dict[str, float]], date: str = "then") -> dict[str, Any]:
    """Results with these seconds of symgraph's."""
    return {
        "date": date, "versions": {"symgraph": date}, "absent": {"JAX": date}, "machine": date,
        "families": [
            {"key": key, "title": key, "rows": [
                measure.row(Subject(name), {"symgraph": [value]}, {})
                for name, value in rows.items()
            ]}
            for key, rows in families
        ],
    }  # fmt: skip


def test_a_run_of_some_subjects_is_put_into_the_results() -> None:
    names = {f.key: [s.name for s in f.subjects] for f in FAMILIES}
    lenet, gemm, lstm = names["lenet"], names["gemm"], names["lstm"]
    then = made_up(("lenet", {lenet[0]: 1.0, lenet[1]: 2.0}), ("gemm", {gemm[0]: 3.0}))
    now = made_up(("lenet", {lenet[1]: 20.0}), ("lstm", {lstm[0]: 4.0}), date="now")
    found = run.merged(then, now)
    rows = [row for family in found["families"] for row in family["rows"]]
    assert [(row["name"], row["median"]["symgraph"], row.get("date")) for row in rows] == [
        (lenet[0], 1.0, None), (lenet[1], 20.0, "now"), (lstm[0], 4.0, "now"), (gemm[0], 3.0, None)
    ]  # fmt: skip
    assert (found["date"], found["machine"]) == ("then", "then")
    assert found["versions"] == {"symgraph": "now"} and found["absent"] == {"JAX": "then"}
    assert report.remarks(rows[1]) == ["measured apart, now"] and report.remarks(rows[0]) == []


def test_contenders_keep_to_one_thread_count_and_their_own_caches(tmp_path: Path) -> None:
    made = contenders.settings(2, tmp_path)
    threads = {value for name, value in made.items() if name.endswith("_NUM_THREADS")}
    assert threads == {"2"}
    assert all(
        str(tmp_path) in made[name]
        for name in ("SYMGRAPH_CACHE", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
    )
    assert {c.name for c in ALL if c.reference} == {"NumPy"}
    assert isinstance(CONTENDERS["torch, 1 thread"], Contender)
