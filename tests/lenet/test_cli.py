"""The command line of training: a run from start to end, and every way to be told what is wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lenet.run_data
from lenet import checkpoint as checkpoints
from lenet import data, pictures
from lenet.__main__ import main
from lenet.display import Display, Progress
from lenet.models import MODELS
from lenet.train import Functions, Score, Trainer
from tests.lenet.small_runs import numbers

SMALL = ["--source", "sample", "--nkerns", "2,3", "--batch-size", "100", "--limit", "1000"]
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *SMALL, "--epochs", "2", "--out", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def run_copy(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "copy"))


def failing(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The line with which `python -m lenet WORDS` refuses."""
    capsys.readouterr()
    assert main(words) == 1
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if "USING THE SAMPLE" not in line]
    assert lines[-1].startswith("lenet: ") and "Cure: " in lines[-1], said
    return lines[-1]


# ---- a run -------------------------------------------------------------------------------------


def test_run_folder(run_folder: Path) -> None:
    assert {path.name for path in run_folder.iterdir()} == {
        "result.json", "metrics.csv", "best.npz", "last.npz",
        "curve.png", "filters.png", "graph.png",
    }  # fmt: skip
    for name in ("curve.png", "filters.png", "graph.png"):
        assert (run_folder / name).read_bytes().startswith(PNG), name

    result = json.loads((run_folder / "result.json").read_text())
    assert result["model"]["name"] == "tutorial" and result["ended"] == "epochs"
    assert result["data"]["is_sample"] and result["data"]["train"] == 1000
    assert (result["epochs"], result["steps"], result["options"]["nkerns"]) == (2, 20, [2, 3])
    assert 0 < result["best_validation_error"] < 100 and 0 < result["test_error"] < 100
    assert result["seconds"] > 0 and result["steps_per_second"] > 0
    assert result["versions"]["numpy"] == np.__version__

    with (run_folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = min(rows, key=lambda row: float(row["validation_error"]))
    assert float(best["validation_error"]) == result["best_validation_error"]
    assert float(best["test_error"]) == result["test_error"]
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_what_training_says(tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    more = ["--augment", "shift=1", "--preprocess", "mean,contrast", "--freeze", "layer0"]
    assert main(["train", *SMALL, *more, "--epochs", "1", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for words in (
        "THE SAMPLE, NOT THE FULL SET",
        "1,000 to train",
        "train  up to 1 epoch of batches of 100, sgd, learning rate 0.1, seed 23455",
        "augment shift=1; preprocess mean,contrast; frozen layer0",
        "layer1  convolution 5x5",
        "fitting mean,contrast to 1,000 images ...\nfitted in ",
        "compiling 3 functions ...\ncompiled, and kept for next time, in ",
        "epoch 1/1  cost ",
        " images/s",
    ):
        assert words in said
    assert said.splitlines()[-1].startswith("best validation error ")
    assert said.splitlines()[-1].endswith(f"run folder {out}")
    options = checkpoints.load(out / "best.npz").options
    assert (options.preprocess, options.augment) == ("mean,contrast", "shift=1")
    assert main(["train", "--resume", str(out), "--epochs", "2", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def arrays(path: Path) -> dict[str, np.ndarray]:
    return checkpoints.load(path).arrays


def test_the_same_seed_is_the_same_run(run_folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["train", *SMALL, "--epochs", "2", "--out", str(again), "--quiet"]) == 0
    for name in ("last.npz", "best.npz"):
        first, second = arrays(run_folder / name), arrays(again / name)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[key], second[key]) for key in first)
    other = tmp_path / "other"
    words = ["train", *SMALL, "--epochs", "1", "--seed", "1", "--out", str(other), "--quiet"]
    assert main(words) == 0
    first, second = arrays(run_folder / "last.npz"), arrays(other / "last.npz")
    assert not np.array_equal(first["layer0.W"], second["layer0.W"])


def test_a_resumed_run_ends_like_one_that_never_stopped(run_folder: Path, tmp_path, capsys) -> None:
    half = tmp_path / "half"
    assert main(["train", *SMALL, "--epochs", "1", "--out", str(half), "--quiet"]) == 0
    assert main(["train", "--resume", str(half), "--epochs", "2", "--quiet"]) == 0
    for name in ("last.npz", "best.npz"):
        whole, resumed = (checkpoints.load(folder / name) for folder in (run_folder, half))
        assert resumed.options == whole.options
        assert numbers(resumed.state) == numbers(whole.state)
        assert resumed.arrays.keys() == whole.arrays.keys()
        for key, value in whole.arrays.items():
            assert np.array_equal(resumed.arrays[key], value), key
    last_lines = capsys.readouterr().out.splitlines()
    assert last_lines[-1].split(";")[0] == json_line(run_folder)
    assert main(["train", "--resume", str(half)]) == 0
    assert "nothing left to do: 2 epochs are done; --epochs 4" in capsys.readouterr().out


def json_line(folder: Path) -> str:
    result = json.loads((folder / "result.json").read_text())
    return (
        f"best validation error {result['best_validation_error']:.2f} % at epoch "
        f"{result['best_epoch']:g}, test error {result['test_error']:.2f} %"
    )


@pytest.mark.parametrize("model", [name for name in MODELS if name != "tutorial"])
def test_every_model_trains(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", "--model", model, "--source", "sample", "--limit", "300", "--epochs", "1"]
    assert main([*words, "--batch-size", "50", "--out", str(folder), "--quiet"]) == 0
    checkpoint = checkpoints.load(folder / "best.npz")
    assert checkpoint.options.model == model and checkpoint.state.iteration == 6
    assert checkpoints.build(checkpoint, folder / "best.npz").params


def test_all_options_at_once(tmp_path: Path) -> None:
    """The step is that of test_resume.py's "everything": its kernels are compiled once."""
    folder = tmp_path / "run"
    words = [
        "train", "--source", "sample", "--limit", "420", "--nkerns", "2,3", "--hidden", "20",
        "--activation", "relu", "--init", "he_normal", "--dropout", "0.3", "--batch-norm",
        "--size", "28,28", "--validation", "0.2", "--split-seed", "1", "--shuffle",
        "--preprocess", "normalize", "--augment", "shift=2,rotate=10,scale=0.1,shear=5",
        "--epochs", "2", "--batch-size", "60", "--optimizer", "adam:beta1=0.8",
        "--learning-rate", "0.01", "--schedule", "cosine:2", "--layer-rates", "layer1=0.5",
        "--freeze", "layer0", "--l1", "1e-5", "--l2", "1e-4", "--clip", "1", "--patience", "5",
        "--seed", "3",
    ]  # fmt: skip
    assert main([*words, "--out", str(folder), "--quiet"]) == 0
    last = checkpoints.load(folder / "last.npz")
    assert last.image_shape == (1, 28, 28) and last.state.epoch == 2
    assert [entry.learning_rate for entry in last.state.history] == pytest.approx([0.01, 0.005])
    assert main(["train", "--resume", str(folder), "--epochs", "3", "--quiet"]) == 0


def test_early_stopping_says_so(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    words = ["--learning-rate", "1e-12", "--patience", "1", "--epochs", "9"]
    assert main(["train", *SMALL, *words, "--out", str(folder)]) == 0
    assert "stopped early: no better model for long" in capsys.readouterr().out
    assert json.loads((folder / "result.json").read_text())["ended"] == "patience"


# ---- fine-tuning -------------------------------------------------------------------------------


def own_data(folder: Path, shape: tuple[int, ...] = (28, 28), classes: int = 3) -> Path:
    """An .npz of images that differ by class, as a user might have."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % classes
    images = rng.integers(0, 60, (300, *shape), np.uint8)
    for label in range(classes):
        images[labels == label, ..., 3 * label : 3 * label + 4, 5:20] = 250
    path = folder / "own.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[:60], y_test=labels[:60])
    return path


def test_fine_tuning(tmp_path: Path, capsys) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    words = ["--hidden", "20", "--batch-norm", "--preprocess", "mean", "--epochs", "1", "--quiet"]
    assert main(["train", *SMALL, *words, "--out", str(first)]) == 0
    taken = checkpoints.load(first / "best.npz")
    source = own_data(tmp_path)
    capsys.readouterr()
    words = [
        "train", "--finetune", str(first), "--source", str(source), "--batch-size", "30",
        "--freeze", "layer0,layer0_norm,layer1,layer1_norm", "--layer-rates", "layer2=0.1",
    ]  # fmt: skip
    assert main([*words, "--epochs", "3", "--out", str(second)]) == 0
    said = capsys.readouterr().out
    assert f"fine-tuning {first / 'best.npz'}" in said and "3 classes" not in said
    result = json.loads((second / "result.json").read_text())
    assert result["options"]["finetune"] == str(first / "best.npz")
    assert result["best_validation_error"] < 20
    best = checkpoints.load(second / "best.npz")
    assert best.options.nkerns == (2, 3) and best.options.batch_norm
    assert best.classes == ("0", "1", "2")
    for name, array in taken.weights.items():
        if name.startswith(("layer0", "layer1")):
            assert np.array_equal(best.weights[name], array), name
    assert best.weights["layer3.W"].shape == (20, 3)
    assert not np.array_equal(best.weights["layer2.W"], taken.weights["layer2.W"])
    # The images are prepared as for the first run, which is not needed any more.
    for name, array in taken.arrays.items():
        if name.startswith("preprocess/"):
            assert np.array_equal(best.arrays[name], array)
    shutil.rmtree(first)
    assert main(["train", "--resume", str(second), "--epochs", "4", "--quiet"]) == 0
    assert checkpoints.load(second / "last.npz").state.epoch == 4


def test_fine_tuning_begins_with_the_layers_as_they_were(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "--finetune", str(run_folder), "--source", str(own_data(tmp_path))]
    words += ["--learning-rate", "1e-30", "--batch-size", "50", "--epochs", "1", "--quiet"]
    assert main([*words, "--out", str(out)]) == 0
    taken, last = (arrays(folder / "best.npz") for folder in (run_folder, out))
    for name in ("layer0.W", "layer0.b", "layer1.W", "layer1.b", "layer2.W", "layer2.b"):
        assert np.array_equal(last[name], taken[name])


def test_fine_tuning_refuses(run_copy: Path, tmp_path: Path, capsys) -> None:
    words = ["train", "--finetune", str(run_copy), "--out", str(tmp_path / "new")]
    words += ["--batch-size", "50"]
    refused = failing(capsys, *words, "--source", str(own_data(tmp_path, (20, 20))))
    assert "layers for images of shape 1x28x28" in refused and "not 1x20x20" in refused
    refused = failing(capsys, *words, "--source", "sample", "--nkerns", "5,5")
    assert "--nkerns: got 5,5 for a run that was started with 2,3" in refused
    refused = failing(capsys, *words, "--source", "sample", "--model", "keras")
    assert "--model: got keras for a run that was started with tutorial" in refused
    checkpoint = checkpoints.load(run_copy / "best.npz")
    other = {**checkpoint.arrays, "layer1.W": np.zeros((3, 2, 3, 3), "float32")}
    checkpoints.save(run_copy / "best.npz", replace(checkpoint, arrays=other))
    refused = failing(capsys, *words, "--source", "sample")
    assert "other arrays than the model's" in refused and "layer1.W" in refused
    refused = failing(capsys, "train", "--finetune", str(tmp_path / "none"), "--source", "sample")
    assert "nothing there" in refused
    assert not (tmp_path / "new").exists()


# ---- what is refused -----------------------------------------------------------------------------


def test_pictures_that_cannot_be_made_do_not_end_the_job(run_folder, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    pictures.attempt("curve.png", lambda: pictures.curve(run_folder / "never.png", []))
    assert "no curve.png: matplotlib.figure is not installed. Cure: pip" in capsys.readouterr().err
    assert not (run_folder / "never.png").exists()


def test_train_refuses(run_copy: Path, tmp_path: Path, capsys) -> None:
    out = ["--out", str(tmp_path / "new")]
    refused = failing(capsys, "train", *SMALL, "--out", str(run_copy))
    assert "got a folder that holds a run (best.npz, last.npz, result.json, metrics.csv" in refused
    assert f"--resume {run_copy}" in refused
    (tmp_path / "file").touch()
    refused = failing(capsys, "train", *SMALL, "--out", str(tmp_path / "file" / "run"))
    assert "a folder that can be written" in refused
    refused = failing(capsys, "train", *SMALL, *out, "--batch-size", "5000")
    assert "--batch-size: got 5000 for 1000 training images; expected at most 1000" in refused
    refused = failing(capsys, "train", "--source", "sample", *out, "--limit", "60000")
    assert "--limit: got 60000; expected at most 1853, all there are" in refused
    nkerns = ["--source", "sample", "--nkerns", "20"]
    assert "--nkerns: got 20; expected two" in failing(capsys, "train", *out, *nkerns)
    assert "--epochs: got -1" in failing(capsys, "train", *out, "--epochs", "-1")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--freeze", "C1"], "layer 'C1': got a name that no layer has"),
        (["--freeze", "layer0,layer1,layer2,layer3"], "--freeze: got every layer"),
        (["--learning-rate", "1e38", "--activation", "relu"], "is the first; expected finite"),
    ],
)
def test_what_is_found_only_later(words: list[str], said: str, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "new"
    assert said in failing(capsys, "train", *SMALL, *words, "--out", str(folder))
    if folder.exists():  # training had begun: what it began with is there, and nothing bad
        weights = checkpoints.load(folder / "last.npz").weights
        assert all(np.isfinite(array).all() for array in weights.values())
        assert not (folder / "best.npz").exists()


def test_resume_refuses(run_copy: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    resume = ["train", "--resume", str(run_copy)]
    refused = failing(capsys, *resume, "--nkerns", "4,4")
    assert "--nkerns: got 4,4 for a run that was started with 2,3" in refused
    assert "nothing there" in failing(capsys, "train", "--resume", str(tmp_path / "none"))
    with monkeypatch.context() as patch:
        sample = data.load(source="sample")
        other = replace(sample, test=sample.valid, source="elsewhere")
        patch.setattr(lenet.run_data.data, "load", lambda *args, **more: other)
        refused = failing(capsys, *resume)
    assert "other data (mnist from elsewhere" in refused and "--source" in refused
    (run_copy / "last.npz").write_bytes((run_copy / "last.npz").read_bytes()[:-100])
    assert "a file that cannot be read" in failing(capsys, *resume)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--nkerns", "20;50"], "got '20;50', expected whole numbers with commas"),
        (["train", "--epochs", "many"], "got 'many', expected a whole number, as 10"),
        (["train", "--learning-rate", "fast"], "got 'fast', expected a number, as 0.1"),
        (["train", "--model", "vgg"], "invalid choice: 'vgg'"),
        (["train", "--data", "cifar"], "invalid choice: 'cifar'"),
        (["train", "--speed", "9"], "unrecognized arguments: --speed"),
        (["train", "--out", "a", "--resume", "b"], "not allowed with argument"),
        (["dance"], "invalid choice: 'dance'"),
        ([], "required: COMMAND"),
    ],
)
def test_words_that_are_not_understood(words: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["train"], ["eval"], ["predict"], ["draw"], ["data"]])
def test_help_teaches(command: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert command == ["data"] or "examples:\n  python -m lenet " in said


def test_help_of_train_says_what_the_defaults_are(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "the model: --model {tutorial,lenet5,keras,pytorch,numpy,custom} which one; default: tut",
        "--data {mnist,fashion-mnist,svhn} the data set; default: mnist",
        "--batch-size N images in a minibatch; 1: single examples, 0: all at once; default: the",
        "keras --epochs 5 --batch-size 64 --optimizer adam --learning-rate 0.001",
    ):
        assert words in said


# ---- the bar -----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched(monkeypatch, stream: io.StringIO, quiet: bool = False) -> str:
    """What the bar writes to `stream` in two epochs."""
    monkeypatch.setattr(sys, "stderr", stream)
    functions = Functions(
        train=lambda i: 0.5, validate=lambda: Score(0.25, 1.0), batches=3, images=300
    )
    Trainer(functions, 2, callbacks=[Progress(Display(quiet))]).run()
    return stream.getvalue()


def test_the_bar_is_for_terminals(monkeypatch, capsys) -> None:
    tqdm = pytest.importorskip("tqdm", reason="the bar is tqdm's, of the extra lenet")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
    bar = watched(monkeypatch, Terminal())
    assert "epoch 1" in bar and "epoch 2" in bar and "/3 [" in bar and "validating" in bar
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2  cost 0.5000  validation 25.00 %")
    assert watched(monkeypatch, io.StringIO()) == ""
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert watched(monkeypatch, Terminal(), quiet=True) == capsys.readouterr().out == ""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert watched(monkeypatch, Terminal()) == ""
