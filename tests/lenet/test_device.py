"""Training on a device: the same model, no copies between the steps, a run that goes on anywhere.

The device is simulated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import symgraph
from lenet import checkpoint as checkpoints
from lenet import data, device, models, runs
from lenet.data import Dataset, Split
from lenet.display import Display
from lenet.errors import RunError
from lenet.job import Job
from lenet.options import Options
from lenet.train import Callback, Functions, Score, StopOnNaN, Trainer, compile_functions
from symgraph.compile.cuda import api
from symgraph.compile.cuda import device as devices
from symgraph.compile.cuda.device import Device
from symgraph.compile.cuda.simulated import Simulated
from tests.lenet.commands import done, refused, save_picture

OPTIONS = Options.of(
    model="tutorial", nkerns=(2, 3), hidden=5, batch_size=4, epochs=1, patience="none",
    learning_rate=0.5,
)  # fmt: skip


@lru_cache(maxsize=1)
def digits() -> Dataset:
    """Digits of 16 by 16 pixels: 8 to train with, 4 and 4 to judge by."""
    sample = data.load(source="sample", size=(16, 16))
    train, valid, test = (
        Split(part.images[:count], part.labels[:count])
        for part, count in ((sample.train, 8), (sample.valid, 4), (sample.test, 4))
    )
    return replace(sample, train=train, valid=valid, test=test)


@contextmanager
def on(name: str) -> Iterator[Device]:
    """Compile for the CPU, or for a simulated device."""
    flags = symgraph.config.change_flags(floatX="float32", device=name)
    with devices.use(Device(Simulated())) as simulated, flags:
        yield simulated


def functions_of(options: Options = OPTIONS) -> Functions:
    model = models.build(options, digits().image_shape, digits().classes)
    functions = compile_functions(model, digits(), options)
    functions.begin_epoch(0)
    return functions


def values(functions: Functions) -> dict[str, np.ndarray]:
    return {name: v.get_value() for name, v in functions.variables.items()}


# ---- a step


def test_the_same_parameters_without_copies() -> None:
    with on("cpu"):
        here = functions_of()
        expected = [float(here.train(0)), float(here.train(1))]
        judged = here.validate()
    assert here.fetched == 1
    with on("cuda") as simulated:
        there = functions_of()
        first = there.train(0)
        # The images are bytes there too: the uploads are far too small for anything else.
        images, parameters = digits().train.images, sum(v.nbytes for v in values(there).values())
        uploaded = simulated.statistics.uploaded_bytes
        assert images.nbytes + parameters <= uploaded < images.nbytes + parameters + 1000
        before = replace(simulated.statistics)
        second = there.train(1)
        traffic = simulated.statistics - before
        assert (traffic.uploads, traffic.downloads, traffic.launches) == (0, 0, 0)
        assert traffic.graph_launches == 1
        before = replace(simulated.statistics)
        third = there.train(0)  # now the graph is there: only what reads the minibatch is updated
        traffic = simulated.statistics - before
        assert (traffic.uploads, traffic.downloads, traffic.launches) == (0, 0, 0)
        assert traffic.graph_launches == 1 and 1 <= traffic.graph_updates <= 4
        assert there.fetched > 1 and math.isfinite(float(third))
        np.testing.assert_allclose([float(first), float(second)], expected, rtol=1e-5)
    with on("cpu"):
        here.train(0)
    for name, value in values(here).items():
        np.testing.assert_allclose(values(there)[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert judged.error <= 1


def test_validation_waits_once_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from lenet.train import functions as module

    monkeypatch.setattr(module, "EVALUATED_AT_ONCE", 2)
    with on("cpu"):
        expected = functions_of().validate()
    with on("cuda") as simulated:
        there = functions_of()
        order: list[str] = []
        for name in ("download", "launch"):
            plain = getattr(simulated.backend, name)
            monkeypatch.setattr(
                simulated.backend, name,
                lambda *given, name=name, plain=plain: (order.append(name), plain(*given))[1],
            )  # fmt: skip
        found = there.validate()
    assert found.error == expected.error
    assert found.cost == pytest.approx(expected.cost, rel=1e-5)
    assert "launch" not in order[order.index("download") :]


def test_a_step_whose_cost_is_not_finite_changes_nothing() -> None:
    with on("cuda"):
        there = functions_of(replace(OPTIONS, activation="relu"))
        variable = there.variables["layer1.W"]
        variable.set_value(np.full_like(variable.get_value(), 3e38))
        before = values(there)
        with pytest.raises(RunError, match=r"step 1: got a cost of .*, of which the output of"):
            Trainer(there, 1, callbacks=[StopOnNaN()]).run()
        for name, value in before.items():
            np.testing.assert_array_equal(values(there)[name], value, err_msg=name)


# ---- the loop, over functions that compute nothing


class Waited:
    """A cost on a device, which notes when it is looked at."""

    def __init__(self, value: float, noted: list[str]) -> None:
        self.value, self.noted = value, noted

    def __float__(self) -> float:
        self.noted.append(f"cost {self.value:g}")
        return self.value


def scripted(costs: list[float], fetched: int, noted: list[str]) -> Functions:
    def train(batch: int) -> Waited:
        noted.append(f"step {batch}")
        return Waited(costs[batch], noted)

    return Functions(
        train=train, validate=lambda: Score(0.5, 1.0), batches=len(costs), images=len(costs),
        blame=lambda i: f"variable {i}", fetched=fetched,
    )  # fmt: skip


def test_costs_are_fetched_together() -> None:
    noted: list[str] = []

    class Listening(Callback):
        def on_batch_end(self, trainer: Trainer, iteration: int, cost: object) -> None:
            noted.append(f"told {iteration}")

        def on_cost(self, trainer: Trainer, iteration: int, cost: float) -> None:
            noted.append(f"known {iteration}: {cost:g}")

    state = Trainer(scripted([1.0, 2.0, 4.0], 2, noted), 1, callbacks=[Listening()]).run()
    assert noted == [
        "step 0", "told 0", "step 1", "cost 1", "known 0: 1", "cost 2", "known 1: 2", "told 1",
        "step 2", "told 2", "cost 4", "known 2: 4",
    ]  # fmt: skip
    assert state.history[0].cost == 7 / 3


def test_a_cost_that_is_no_number_is_found_some_steps_later() -> None:
    noted: list[str] = []
    trainer = Trainer(
        scripted([1.0, math.nan, 3.0, 4.0, 5.0], 3, noted), 1, callbacks=[StopOnNaN()]
    )
    with pytest.raises(RunError, match="step 2: got a cost of nan, of which variable 1 is the"):
        trainer.run()
    assert noted[-3:] == ["step 2", "cost 1", "cost nan"] and not trainer.state.history


def test_a_stop_within_the_steps_that_are_waited_for() -> None:
    class StopAt(Callback):
        def on_batch_end(self, trainer: Trainer, iteration: int, cost: object) -> None:
            trainer.stop("test") if iteration == 1 else None

    trainer = Trainer(scripted([1.0, 2.0, 4.0], 100, []), 2, callbacks=[StopAt()])
    state = trainer.run()
    assert (state.iteration, state.cost_sum) == (2, 3.0)
    again = Trainer(scripted([1.0, 2.0, 4.0], 100, []), 1, state)
    assert again.run().history[0].cost == 7 / 3


# ---- runs


def trained(folder: Path, name: str, epochs: int, resume: bool = False) -> dict[str, np.ndarray]:
    """The parameters of a run of so many epochs on a device, as its last checkpoint has them."""
    options = replace(OPTIONS, epochs=epochs, shuffle=True)
    path = folder / runs.LAST
    with on(name):
        job = Job(options, digits(), Display(quiet=True))
        if resume:
            start = checkpoints.load(path)
            job = Job(start.options.resumed_with({"epochs": epochs}), digits(), Display(True))
            job.resume(path, start)
        folder.mkdir(exist_ok=True)
        assert job.run(folder) == 0
    result = json.loads((folder / runs.RESULT).read_text())
    assert result["machine"]["device"] == ("cpu" if name == "cpu" else "cuda: simulated")
    assert "device" not in result["options"]
    return checkpoints.load(path).variables


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_elsewhere(first: str, then: str, tmp_path: Path, capsys) -> None:
    expected = trained(tmp_path / "whole", "cpu", 2)
    trained(tmp_path / "moved", first, 1)
    for name, value in trained(tmp_path / "moved", then, 2, resume=True).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_checkpoint_says_nothing_of_devices() -> None:
    options = replace(OPTIONS, device="cuda")
    kept = options.to_json()
    assert "device" not in kept and Options.from_json(kept) == OPTIONS
    assert OPTIONS.resumed_with({"device": "cuda"}) == options


# ---- the commands


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without NVIDIA's driver."""
    monkeypatch.delenv("SYMGRAPH_LIBCUDA", raising=False)
    monkeypatch.setattr(api, "LIBRARIES", ("libnone.so.1",))
    monkeypatch.setattr(devices, "_current", None)
    monkeypatch.setattr(api, "_apis", {})


def test_no_gpu_is_one_line(no_gpu, home: Path, capsys) -> None:
    words = "--source", "sample", "--limit", "50", "--batch-size", "50", "--epochs", "1"
    line = refused(capsys, "train", "--device", "cuda", *words)
    assert line.startswith(
        "lenet: --device: got cuda (NVIDIA's driver is not installed: no libnone"
    )
    assert line.endswith(f"Cure: {api.install()}; or use --device cpu")
    assert not runs.ROOT.exists()
    with symgraph.config.change_flags(device="cuda"):  # as SYMGRAPH_FLAGS does
        assert refused(capsys, "train", *words) == line
    assert symgraph.config.device == "cpu"


def test_auto_is_the_cpu_without_a_gpu(no_gpu, home: Path, capsys) -> None:
    with symgraph.config.change_flags(device="auto"):
        assert device.gpu() is None
    with on("auto"):
        assert device.gpu() == "simulated"


def test_predict_on_a_device(tmp_path: Path, home: Path, capsys) -> None:
    folder = tmp_path / "run"
    trained(folder, "cpu", 1)
    picture = save_picture(tmp_path / "digit.png", digits().test.images[0, 0])
    words = "predict", picture, "--run", folder, "--json"
    (here,) = json.loads(done(capsys, *words))["answers"]
    with devices.use(Device(Simulated())) as simulated:
        (there,) = json.loads(done(capsys, *words, "--device", "cuda"))["answers"]
    assert simulated.statistics.launches > 0
    assert there["probabilities"] == pytest.approx(here["probabilities"], rel=1e-5)


def test_the_device_of_a_command(home: Path) -> None:
    before = symgraph.config.device
    with device.chosen("cuda"):
        assert symgraph.config.device == "cuda"
    with device.chosen(None):
        assert symgraph.config.device == before
