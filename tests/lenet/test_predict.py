"""`python -m lenet predict`: answers as bars and as JSON, feature maps, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lenet import data
from lenet.classifier import Classifier
from tests.lenet.commands import done, refused, save_picture
from tests.lenet.shown import colour_data, write_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "run"
    return write_run(folder, model="tutorial", nkerns=(2, 3), hidden=12)


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    image = data.load(source="sample").test.images[0, 0]
    return save_picture(tmp_path / "digit.png", 255 - image)


def test_predict(run_folder: Path, digit: Path, capsys) -> None:
    image = 255 - data.load(source="sample").test.images[0, 0]
    large = np.pad(image, 40, constant_values=255).repeat(5, 0).repeat(5, 1)
    clear = save_picture(digit.with_name("clear.png"), image, "RGBA")
    photo = save_picture(digit.with_name("photo.jpg"), large, "RGB")
    said = done(capsys, "predict", digit, clear, photo, "--run", run_folder).splitlines()
    assert said[0] == f"model {run_folder / 'best.npz'}"
    expected = Classifier(run_folder / "best.npz").probabilities(255 - image[None, None])[0]
    best = int(expected.argmax())
    for i, name in enumerate((digit, clear, photo)):
        head, *bars = said[1 + 4 * i : 5 + 4 * i]
        assert head.startswith(f"{name}: {best} (")
        shares = [float(bar.split()[1]) for bar in bars]
        assert shares == sorted(shares, reverse=True)
        assert [bar.count("#") for bar in bars] == pytest.approx([0.4 * s for s in shares], abs=0.6)
    assert f"{digit}: {best} ({100 * expected[best]:.1f} %)" in said


def test_json(run_folder: Path, digit: Path, capsys) -> None:
    said = json.loads(done(capsys, "predict", digit, "--run", run_folder, "--json"))
    (answer,) = said["answers"]
    assert said["model"].endswith("best.npz") and answer["image"] == str(digit)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert max(answer["probabilities"], key=answer["probabilities"].get) == answer["answer"]


def test_explain(run_folder: Path, digit: Path, capsys) -> None:
    said = done(capsys, "predict", digit, "--run", run_folder, "--explain", "--top", 1)
    written = digit.with_name("digit.png.features.png")
    assert f"  feature maps: {written}\n" in said and written.read_bytes().startswith(b"\x89PNG")


def test_a_model_of_other_data_sees_all_of_the_picture(tmp_path: Path, capsys) -> None:
    source = str(colour_data(tmp_path / "own.npz"))
    folder = write_run(tmp_path / "run", source=source, model="custom", network="conv 2 3, max 2")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    picture = save_picture(tmp_path / "own.png", pixels, "RGB")
    (answer,) = json.loads(done(capsys, "predict", picture, "--run", folder, "--json"))["answers"]
    row = Classifier(folder / "best.npz").probabilities(pixels.transpose(2, 0, 1)[None])[0]
    assert list(answer["probabilities"].values()) == pytest.approx(list(row), abs=1e-6)
    assert set(answer["probabilities"]) == {"<b>left</b>", "a rather long name", "right & wrong"}


def test_predict_refuses(run_folder: Path, digit: Path, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("not a picture")
    save_picture(tmp_path / "blank.png", np.full((50, 50), 77, np.uint8))
    (tmp_path / "folder").mkdir()
    run = ["--run", run_folder]
    for name, words in (
        ("text.png", "got a file that is not an image"),
        ("blank.png", "a picture without a digit"),
        ("none.png", "got no such file"),
        ("folder", "got a folder; expected a picture"),
    ):
        said = refused(capsys, "predict", name, *run)
        assert name in said and words in said
    assert "no trained model" in refused(capsys, "predict", digit)
    assert "--top: got 0" in refused(capsys, "predict", digit, *run, "--top", 0)
    assert "nothing there" in refused(capsys, "predict", digit, "--run", "nowhere")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install 'symgraph[lenet]'" in refused(capsys, "predict", digit, *run)
