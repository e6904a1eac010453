"""The command line: a run from start to end, and every way to be told what is wrong."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet import checkpoint as checkpoints
from lenet import data, pictures
from lenet.__main__ import main
from lenet.predict import like_mnist, read_image
from lenet.train import Trainer

EXAMPLES = Path(__file__).parents[2] / "examples"
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


# ---- train -------------------------------------------------------------------------------------


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
    assert main(["train", *SMALL, "--epochs", "1", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for words in (
        "THE SAMPLE, NOT THE FULL SET",
        "1,000 to train",
        "10 batches of 100, learning rate 0.1, seed 23455",
        "layer1 convolution 5x5",
        "compiling 3 functions",
        "epoch 1/1  cost ",
        " images/s",
    ):
        assert words in said
    assert said.splitlines()[-1].startswith("best validation error ")
    assert said.splitlines()[-1].endswith(f"run folder {out}")


def test_a_resumed_run_ends_like_one_that_never_stopped(run_folder: Path, tmp_path, capsys) -> None:
    half = tmp_path / "half"
    assert main(["train", *SMALL, "--epochs", "1", "--out", str(half), "--quiet"]) == 0
    assert main(["train", "--resume", str(half), "--epochs", "2", "--quiet"]) == 0
    for name in ("last.npz", "best.npz"):
        whole, resumed = (checkpoints.load(folder / name) for folder in (run_folder, half))
        assert resumed.options == whole.options
        assert [e[:-2] for e in resumed.state.history] == [e[:-2] for e in whole.state.history]
        for key, value in whole.parameters.items():
            assert np.array_equal(resumed.parameters[key], value), key
    last_lines = capsys.readouterr().out.splitlines()
    assert last_lines[-1].split(";")[0] == json_line(run_folder)
    assert main(["train", "--resume", str(half)]) == 0
    assert "nothing left to do: 2 epochs are done" in capsys.readouterr().out


def json_line(folder: Path) -> str:
    result = json.loads((folder / "result.json").read_text())
    return (
        f"best validation error {result['best_validation_error']:.2f} % at epoch "
        f"{result['best_epoch']:g}, test error {result['test_error']:.2f} %"
    )


def test_ctrl_c_keeps_the_last_epoch(tmp_path: Path, monkeypatch, capsys) -> None:
    advance = Trainer.advance

    def interrupted(self: Trainer, *args: object) -> object:
        if self.state.history:
            self.functions.train(0)  # the parameters move on before the key is pressed
            raise KeyboardInterrupt
        return advance(self, *args)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", interrupted)
        assert main(["train", *SMALL, "--epochs", "2", "--out", str(folder)]) == 130
    said = capsys.readouterr()
    assert f"holds epoch 1; go on with: python -m lenet train --resume {folder}" in said.err
    assert "at epoch 1, " in said.out.splitlines()[-1]
    assert json.loads((folder / "result.json").read_text())["ended"] == "interrupted"
    assert main(["train", "--resume", str(folder), "--quiet"]) == 0
    assert json.loads((folder / "result.json").read_text())["steps"] == 20


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
    assert "--nkerns: got 20; expected two" in failing(capsys, "train", *out, "--nkerns", "20")
    assert "--epochs: got -1" in failing(capsys, "train", *out, "--epochs", "-1")
    assert not (tmp_path / "new").exists()


def test_resume_refuses(run_copy: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    resume = ["train", "--resume", str(run_copy)]
    refused = failing(capsys, *resume, "--nkerns", "4,4")
    assert "--nkerns: got (4, 4) for a run that was started with (2, 3)" in refused
    assert "nothing there" in failing(capsys, "train", "--resume", str(tmp_path / "none"))
    with monkeypatch.context() as patch:
        sample = data.load(source="sample")
        other = replace(sample, test=sample.valid, source="elsewhere")
        patch.setattr(data, "load", lambda *args: other)
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


# ---- eval, predict, draw -----------------------------------------------------------------------


def test_eval(run_folder: Path, capsys) -> None:
    assert main(["eval", str(run_folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    result = json.loads((run_folder / "result.json").read_text())
    assert said[-1].startswith(f"error {result['test_error']:.2f} % (")
    rows = [line.split() for line in said if line[:5].strip().isdigit()]
    sample = data.load(source="sample")
    assert [int(row[1]) for row in rows] == list(np.bincount(sample.test.labels))
    assert said[-1].endswith(f"({sum(int(row[2]) for row in rows)} of {len(sample.test.labels)})")
    assert main(["eval", str(run_folder / "last.npz"), "--split", "valid"]) == 0


def test_eval_refuses(run_copy: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no trained model" in failing(capsys, "eval")
    assert "expected" in failing(capsys, "eval", str(run_copy), "--source", "nowhere")
    (run_copy / "best.npz").write_bytes(b"PK\3\4 but no more")
    assert "best.npz: got a file that cannot be read" in failing(capsys, "eval", str(run_copy))


def save_picture(path: Path, pixels: np.ndarray, mode: str = "L") -> Path:
    from PIL import Image

    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_predict(run_folder: Path, tmp_path: Path, capsys) -> None:
    image = data.load(source="sample").test.images[0]
    big = np.pad(255 - image, 40, constant_values=255).repeat(5, 0).repeat(5, 1)
    names = [
        str(save_picture(tmp_path / name, pixels, mode))
        for name, pixels, mode in (
            ("plain.png", image, "L"),
            ("inverted.png", 255 - image, "RGB"),
            ("clear.png", 255 - image, "RGBA"),
            ("photo.jpg", big, "RGB"),
        )
    ]
    assert main(["predict", *names, "--run", str(run_folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    answers = [line.split(": ")[1][0] for line in said[1::2]]
    assert len(answers) == 4 and len(set(answers)) == 1
    assert [line.count("%") for line in said[2::2]] == [10] * 4


def test_mnists_own_images_stay_as_they_are(tmp_path: Path) -> None:
    images = data.load(source="sample").test.images[:100]
    same = [np.array_equal(like_mnist(image.astype(float)), image) for image in images]
    again = [np.abs(like_mnist(255.0 - image) - image.astype(float)).mean() for image in images]
    assert np.mean(same) > 0.5 and np.median(again) < 1


def test_pictures_of_digits_become_mnists() -> None:
    image = data.load(source="sample").test.images[0]
    rng = np.random.default_rng(0)
    big = np.kron(image, np.ones((9, 9)))
    photo = 230 - 0.7 * np.pad(big, ((20, 200), (150, 10))) + rng.normal(0, 5, (472, 412))
    found = like_mnist(np.clip(photo, 0, 255))
    assert found.shape == (28, 28) and found.dtype == np.uint8 and found.max() == 255
    assert np.corrcoef(found.ravel(), image.ravel())[0, 1] > 0.9
    thin = np.full((300, 300), 255.0)
    thin[50:250, 149:151] = 0
    line = like_mnist(thin)
    assert line[:, 13:16].max() == 255 and (line > 0).any(1).sum() == 20


def test_transparency(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((40, 40, 4), np.uint8)
    for ink, name in ((0, "dark.png"), (255, "light.png")):
        pixels[..., :3] = ink
        pixels[10:30, 18:22, 3] = 255
        Image.fromarray(pixels).save(tmp_path / name)
        grey = read_image(tmp_path / name)
        assert abs(grey[20, 20] - grey[0, 0]) == 255


def test_predict_refuses(run_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    grey = np.tile(np.arange(0, 250, 5, dtype=np.uint8), (50, 1))
    (tmp_path / "text.png").write_text("not a picture")
    save_picture(tmp_path / "cmyk.jpg", grey, "CMYK")
    save_picture(tmp_path / "blank.png", np.full((50, 50), 77, np.uint8))
    save_picture(tmp_path / "fine.png", grey)
    (tmp_path / "cut.png").write_bytes((tmp_path / "fine.png").read_bytes()[:60])
    run = ["--run", str(run_folder)]
    for name, words in (
        ("text.png", "got a file that is not an image"),
        ("cut.png", "got a file that is not an image"),
        ("cmyk.jpg", "got an image of 4 channels, CMYK; expected grey or colour"),
        ("blank.png", "a picture without a digit"),
        ("none.png", "got no such file"),
    ):
        refused = failing(capsys, "predict", name, *run)
        assert name in refused and words in refused
    assert "no trained model" in failing(capsys, "predict", "fine.png")


def test_draw(tmp_path: Path, capsys) -> None:
    words = ["draw", "--nkerns", "2,3", "--format", "svg", "--out", str(tmp_path / "new")]
    assert main(words) == 0
    layers, graph = (
        (tmp_path / "new" / f"tutorial_{name}.svg").read_text() for name in ("layers", "graph")
    )
    assert "29,715 parameters" in layers and "layer1" in layers
    assert "<svg" in graph and "layer0.W" in graph and "Conv2d" in graph
    (tmp_path / "file").touch()
    words = ["draw", "--nkerns", "2,3", "--out", str(tmp_path / "file" / "x")]
    assert "a folder that can be written" in failing(capsys, *words)


# ---- examples ----------------------------------------------------------------------------------


def example(name: str) -> dict[str, object]:
    return runpy.run_path(str(EXAMPLES / name))


def test_max_pooling_prints_the_tutorials_arrays(capsys) -> None:
    with np.printoptions():
        example("max_pooling.py")["main"]()
    said = " ".join(capsys.readouterr().out.split())
    assert "[[ 0.72032449 0.39676747] [ 0.6852195 0.87811744]]" in said
    assert (
        "[[ 0.67883553 0.58930554 0.69975836] [ 0.66379465 0.94459476 0.58655504] "
        "[ 0.90340192 0.80739129 0.39767684]]"
    ) in said
    assert "[[ 4.17022005e-01 7.20324493e-01 1.14374817e-04 3.02332573e-01 1.46755891e-01]" in said


def test_filters_on_photo(tmp_path: Path, capsys) -> None:
    example("filters_on_photo.py")["main"](str(tmp_path / "photo.png"))
    said = capsys.readouterr().out
    assert "photograph 600x512, filtered (1, 2, 592, 504)" in said
    assert "map 0: mean 0.413559, min 0.315338, max 0.508580" in said
    assert "map 1: mean 0.519152, min 0.363327, max 0.633159" in said
    assert (tmp_path / "photo.png").read_bytes().startswith(PNG)
