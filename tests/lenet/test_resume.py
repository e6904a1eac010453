"""Runs that end early, by whatever means, and go on: equal to the bit, never damaged."""

from __future__ import annotations

import errno
import json
import random
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet import checkpoint as checkpoints
from lenet import runs
from lenet.__main__ import main
from lenet.data import DataError
from lenet.options import Options
from lenet.preprocessing import Preprocessing
from lenet.train import Callback, Functions, State, Trainer
from tests.lenet.small_runs import SMALL, compiled, numbers

BARE = Preprocessing.parse("")
ALL = replace(
    SMALL, epochs=2, batch_size=60, activation="relu", shuffle=True, dropout=0.3, batch_norm=True,
    augment="shift=2,rotate=10,scale=0.1,shear=5", optimizer="adam", learning_rate=0.01,
    schedule="exponential:0.5", layer_rates="layer1=0.5", freeze="layer0", l1=1e-5, l2=1e-4,
    clip=1.0,
)  # fmt: skip
CASES = {
    "everything": ALL,
    "lenet5": Options.of(model="lenet5", epochs=2, batch_size=60),
    "plain": replace(SMALL, epochs=2, batch_size=60),
}


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, trainer: Trainer, iteration: int, cost: float) -> None:
        if trainer.state.iteration == self.step:
            trainer.stop("test")


def values(functions: Functions) -> dict[str, np.ndarray]:
    return {name: v.get_value() for name, v in functions.variables.items()}


# ---- equal to the bit ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_interrupted_anywhere_and_resumed_is_the_same_to_the_bit(case: str, tmp_path) -> None:
    options = CASES[case]
    _, functions = compiled(options)
    start = values(functions)
    whole = Trainer(functions, options.epochs).run()
    expected = values(functions)
    assert whole.iteration == 14
    assert any(not np.array_equal(start[name], value) for name, value in expected.items())
    if case == "everything":
        kinds = {name.partition("/")[0] for name in expected if "/" in name}
        assert kinds == {"optimizer", "random"}

    _, again = compiled(options)  # the same seed, the same run
    assert numbers(Trainer(again, options.epochs).run()) == numbers(whole)
    for name, value in values(again).items():
        assert np.array_equal(value, expected[name]), name

    path = tmp_path / "last.npz"
    for step in (1, 5, 7, 8, 13):
        checkpoints.restore(functions.variables, start, path, "test")
        half = Trainer(functions, options.epochs, callbacks=[StopAt(step)]).run()
        assert half.iteration == step
        data = {"image_shape": [1, 28, 28], "classes": list("0123456789")}
        now = checkpoints.snapshot(functions.variables, BARE, options, data, half)
        checkpoints.save(path, now)

        loaded = checkpoints.load(path)
        assert (loaded.options, loaded.state) == (options, half)
        again.begin_epoch(1)  # another process: nothing of what it did before may matter
        again.train(3)
        checkpoints.restore(again.variables, loaded.variables, path, "test")
        rest = Trainer(again, options.epochs, loaded.state).run()
        assert numbers(rest) == numbers(whole), step
        for name, value in values(again).items():
            assert np.array_equal(value, expected[name]), (step, name)


# ---- files that cannot be written ----------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, checkpoints.Checkpoint]:
    _, functions = compiled(SMALL)
    data = {"image_shape": [1, 28, 28], "classes": list("0123456789")}
    checkpoint = checkpoints.snapshot(functions.variables, BARE, SMALL, data, State())
    path = tmp_path / "best.npz"
    checkpoints.save(path, checkpoint)
    return path, checkpoint


@pytest.mark.parametrize("function", ["os.replace", "os.fsync", "os.chmod"])
def test_saving_leaves_the_old_file_when_it_fails(saved, monkeypatch, function: str) -> None:
    path, checkpoint = saved
    before = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(function, full)
        with pytest.raises(DataError, match=r"got No space left.* before is unharmed"):
            checkpoints.save(path, checkpoint)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


TRAIN = [
    "train", "--source", "sample", "--nkerns", "2,3", "--hidden", "20", "--limit", "420",
    "--batch-size", "60",
]  # fmt: skip


def process(words: list[str], before: str = "") -> subprocess.Popen[str]:
    """`python -m lenet` with `words` in a process of its own, which does `before` first."""
    code = f"""
import signal, sys, lenet.__main__
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
{textwrap.dedent(before)}
sys.exit(lenet.__main__.main())
"""
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_full_disk(tmp_path: Path, capsys) -> None:
    """A limit on the size of files: what does not fit is refused in the middle of writing."""
    folder = tmp_path / "run"
    assert main([*TRAIN, "--epochs", "1", "--out", str(folder), "--quiet"]) == 0
    files = {name: (folder / name).read_bytes() for name in (runs.BEST, runs.LAST)}
    room = len(files[runs.BEST]) // 2
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))"
    one = process(["train", "--resume", str(folder), "--epochs", "2"], before)
    _, said = one.communicate(timeout=300)
    assert one.returncode == 1, said
    last = said.splitlines()[-1]
    assert last.startswith("lenet: ") and "got File too large; expected room for it" in last
    assert "Traceback" not in said
    for name, blob in files.items():
        assert (folder / name).read_bytes() == blob
        assert checkpoints.load(folder / name).state.epoch == 1
    assert not list(folder.glob(".*"))
    assert main(["train", "--resume", str(folder), "--epochs", "2", "--quiet"]) == 0


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9 while a run saves again and again: what is there can be loaded and resumed."""
    folder = tmp_path / "run"
    assert main([*TRAIN, "--epochs", "1", "--out", str(folder), "--quiet"]) == 0
    # Saving is made long: the moments of writing are those that are hit.
    before = """
        import os
        from lenet.data import sources
        fsync = os.fsync
        def slow(number):
            fsync(number)
            import time; time.sleep(0.01)
        os.fsync = slow
    """
    rng = random.Random(5)
    epochs = [1.0]
    for _ in range(4):
        one = process(["train", "--resume", str(folder), "--epochs", "100000"], before)
        assert one.stdout is not None
        for line in one.stdout:
            if line.startswith("epoch "):
                break
        time.sleep(0.3 * rng.random())
        one.send_signal(signal.SIGKILL)
        one.communicate(timeout=60)
        assert one.returncode == -signal.SIGKILL
        for name in (runs.BEST, runs.LAST):
            checkpoint = checkpoints.load(folder / name)
            assert checkpoint.weights
        epochs.append(checkpoint.state.epoch)
    assert epochs == sorted(set(epochs))  # each went on where the one before was
    resumed = main(["train", "--resume", str(folder), "--epochs", f"{int(epochs[-1]) + 1}"])
    assert resumed == 0 and not list(folder.glob(".*"))
    rows = (folder / runs.METRICS).read_text().splitlines()
    assert len(rows) == int(epochs[-1]) + 2


# ---- signals to a process ------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: int, status: int) -> None:
    folder = tmp_path / "run"
    words = [*TRAIN, "--batch-size", "1", "--epochs", "10000", "--out", str(folder)]
    one = process(words)
    assert one.stdout is not None
    for line in one.stdout:
        if line.startswith("epoch "):
            break
    time.sleep(0.02)
    one.send_signal(number)
    out, said = one.communicate(timeout=60)
    assert one.returncode == status, said
    last = checkpoints.load(folder / runs.LAST)
    assert f"holds step {last.state.iteration:,}; go on with: python -m lenet train" in said
    assert f"--resume {folder}" in said and "Traceback" not in said
    assert out.splitlines()[-1].startswith("best validation error ")
    result = json.loads((folder / runs.RESULT).read_text())
    assert (result["ended"], result["steps"]) == ("interrupted", last.state.iteration)


@pytest.mark.parametrize("moment", ["loading", "compiling"])
def test_ctrl_c_before_the_first_step(tmp_path: Path, moment: str) -> None:
    function = {"loading": "lenet.run_data.load_data", "compiling": "lenet.job.compile_functions"}
    module, _, name = function[moment].rpartition(".")
    before = f"""
        import os, signal, {module}, lenet.commands.train
        def pressed(*args, **more):
            os.kill(os.getpid(), signal.SIGINT)
        {module}.{name} = lenet.commands.train.{name} = pressed
    """
    folder = tmp_path / "run"
    one = process([*TRAIN, "--out", str(folder)], before)
    _, said = one.communicate(timeout=60)
    assert one.returncode == 130 and said.splitlines()[-1] == "lenet: stopped"
    assert "Traceback" not in said and not folder.exists()
