"""`python -m lenet compare`: the table, CSV, curves, damaged runs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.lenet.commands import done, refused
from tests.lenet.shown import HISTORY, write_run


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    small = {"nkerns": (2, 3), "hidden": 12}
    worse = write_run(Path("runs/a"), HISTORY[:2], model="tutorial", **small)
    better = write_run(Path("runs/b"), model="tutorial", dropout=0.25, shuffle=True, **small)
    return worse, better


def test_table(two, capsys) -> None:
    head, first, second = done(capsys, "compare").splitlines()
    assert head.split()[:4] == ["run", "model", "data", "epochs"]
    assert first.startswith("runs/b  tutorial  mnist       3    16.67")
    assert first.endswith("--dropout 0.25 --shuffle") and "nkerns" not in first
    assert second.startswith("runs/a  tutorial  mnist       2    25.00")
    assert " 3.00 " in second and "%" not in second


def test_no_error_at_all_stands_first(two, capsys) -> None:
    perfect = [entry._replace(validation_error=0.0) for entry in HISTORY[:1]]
    write_run(Path("runs/c"), perfect, model="tutorial", nkerns=(2, 3), hidden=12)
    lines = done(capsys, "compare").splitlines()
    assert [line.split()[0] for line in lines] == ["run", "runs/c", "runs/b", "runs/a"]


def test_csv(two, capsys) -> None:
    rows = list(csv.DictReader(io.StringIO(done(capsys, "compare", *two, "--csv"))))
    assert [row["run"] for row in rows] == ["runs/b", "runs/a"]
    assert [row["dropout"] for row in rows] == ["0.25", "0.0"] and "seed" not in rows[0]
    assert float(rows[1]["validation_error"]) == pytest.approx(25)


def test_curves(two, capsys) -> None:
    assert done(capsys, "compare", "--curves", "c.png").endswith("c.png\n")
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    assert "--curves: got c.pdf" in refused(capsys, "compare", "--curves", "c.pdf")


def test_a_run_without_an_epoch(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_run(Path("new"), (), model="tutorial", nkerns=(2, 3), hidden=12)
    assert " 0        -       -        - " in done(capsys, "compare", folder)
    said = refused(capsys, "compare", folder, "--curves", "c.png")
    assert "runs without an epoch" in said


def test_damaged_runs_are_left_out(two, capsys) -> None:
    worse, better = two
    (worse / "last.npz").write_bytes(b"PK\3\4 but no more")
    from lenet.__main__ import main

    assert main(["compare", str(worse), str(better), "nowhere"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 and "runs/b" in said.out
    assert f"left out: {worse / 'last.npz'}: got a file that cannot be read" in said.err
    assert "left out: nowhere: got nothing there" in said.err
    assert "no run to compare" in refused(capsys, "compare", worse)


def test_no_runs(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "runs: got no run to compare" in refused(capsys, "compare")
