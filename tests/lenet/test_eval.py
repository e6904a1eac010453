"""`python -m lenet eval`: the figures, on every part, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lenet import data
from lenet.classifier import Classifier
from lenet.commands.eval import evaluate, table
from tests.lenet.commands import done, refused
from tests.lenet.shown import colour_data, write_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval") / "run"
    return write_run(folder, model="tutorial", nkerns=(2, 3), hidden=12, preprocess="mean")


def test_figures_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1], np.int32)
    answers = np.array(
        [[0.8, 0.1, 0.1], [0.7, 0.3, 0], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1], [0.2, 0.1, 0.7]]
    )
    found = evaluate(labels, answers, ("cat", "dog", "cow"))
    assert (found["error"], found["errors"], found["images"]) == (0.4, 2, 5)
    assert found["top_2_error"] == pytest.approx(0.2)
    cat, dog, cow = found["classes"]
    assert (cat["precision"], cat["recall"], cat["f1"]) == pytest.approx((1, 2 / 3, 0.8))
    assert (dog["precision"], dog["recall"], dog["f1"]) == pytest.approx((0.5, 0.5, 0.5))
    assert (cow["precision"], cow["recall"], cow["f1"]) == (0, None, 0)
    assert cat["taken_for"] == {"dog": 1} and dog["taken_for"] == {"cow": 1}
    lines = [line.split() for line in table(found["classes"]).splitlines()]
    assert lines[1] == "cat 3 1 33.33 % 100.0 % 66.7 % 80.0 % dog (1)".split()
    assert lines[3] == "cow 0 0 - 0.0 % - 0.0 %".split()


def test_eval(run_folder: Path, capsys) -> None:
    said = done(capsys, "eval", run_folder).splitlines()
    images, labels = data.load(source="sample").test
    classifier = Classifier(run_folder / "best.npz")
    probabilities = classifier.probabilities(images)
    wrong = int(np.sum(probabilities.argmax(1) != labels))
    assert said[0] == f"model {run_folder / 'best.npz'}, epoch 3"
    assert said[-1] == f"error {100 * wrong / len(labels):.2f} % ({wrong} of {len(labels)})"
    rows = [line.split() for line in said if line[:5].strip().isdigit()]
    assert [int(row[1]) for row in rows] == list(np.bincount(labels))
    assert sum(int(row[2]) for row in rows) == wrong
    cost = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    assert f"mean cost {cost:.4f}, " in said[-2]


def test_json_on_another_part_and_source(run_folder: Path, tmp_path: Path, capsys) -> None:
    images, labels = data.load(source="sample").valid
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    own = done(capsys, "eval", run_folder, "--source", tmp_path / "own.npz", "--json")
    same = done(capsys, "eval", run_folder / "last.npz", "--split", "valid", "--json")
    first, second = json.loads(own), json.loads(same)
    assert first["classes"] == second["classes"] and first["cost"] == second["cost"]
    assert (second["split"], second["images"]) == ("valid", len(labels))


def test_names_of_classes(tmp_path: Path, capsys) -> None:
    source = str(colour_data(tmp_path / "own.npz"))
    folder = write_run(tmp_path / "run", source=source, model="custom", network="conv 2 3, max 2")
    assert "a rather long name      10" in done(capsys, "eval", folder)


def test_other_data_are_not_looked_for_where_the_runs_are(home: Path, capsys) -> None:
    source = str(colour_data(home / "own.npz"))
    folder = write_run(home / "run", source=source, model="custom", network="conv 2 3, max 2")
    said = refused(capsys, "eval", folder, "--data", "mnist")
    assert "data mnist from sample" in said and "got images of 1x28x28; expected 3x12x12" in said


def test_eval_refuses(run_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no trained model" in refused(capsys, "eval")
    assert "expected" in refused(capsys, "eval", run_folder, "--source", "nowhere")
    other = colour_data(tmp_path / "own.npz")
    assert "3x12x12; expected 1x28x28" in refused(capsys, "eval", run_folder, "--source", other)
    (tmp_path / "best.npz").write_bytes(b"PK\3\4 but no more")
    assert "best.npz: got a file that cannot be read" in refused(capsys, "eval", tmp_path)
