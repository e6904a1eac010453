"""`python -m lenet draw`: layers and graphs of every model, of new ones and of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lenet.models import MODELS
from tests.lenet.commands import done, refused
from tests.lenet.shown import colour_data, write_run


def test_draw(tmp_path: Path, capsys) -> None:
    out = tmp_path / "new"
    said = done(capsys, "draw", "--nkerns", "2,3", "--format", "svg", "--out", out)
    layers, graph = ((out / f"tutorial_{name}.svg") for name in ("layers", "graph"))
    assert str(layers) in said and str(graph) in said
    assert "29,715 parameters" in layers.read_text() and "layer1" in layers.read_text()
    assert "<svg" in graph.read_text() and "layer0.W" in graph.read_text()
    assert "Conv2d" in graph.read_text()


@pytest.mark.parametrize("model", list(MODELS))
def test_layers_of_every_model(model: str, tmp_path: Path, capsys) -> None:
    done(capsys, "draw", "--model", model, "--what", "layers", "--format", "svg", "--out", tmp_path)
    drawn = (tmp_path / f"{model}_layers.svg").read_text()
    assert "(1, 28, 28)" in drawn and "(10,)" in drawn and "input" in drawn


def test_a_run_in_colour_forwards(tmp_path: Path, capsys) -> None:
    source = str(colour_data(tmp_path / "own.npz"))
    folder = write_run(tmp_path / "run", source=source, model="custom", network="conv 2 3, max 2")
    words = ["--what", "forward", "layers", "--format", "svg", "--out", tmp_path]
    done(capsys, "draw", folder, *words)
    assert "Softmax" in (tmp_path / "custom_forward.svg").read_text()
    assert "(3, 12, 12)" in (tmp_path / "custom_layers.svg").read_text()
    assert not (tmp_path / "custom_graph.svg").exists()
    assert "--model: got together with the run" in refused(
        capsys, "draw", folder, "--model", "keras"
    )


def test_draw_refuses(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    words = ["draw", "--what", "layers", "--out", tmp_path / "file" / "x"]
    assert "a folder that can be written" in refused(capsys, *words)
    assert "--nkerns: got" in refused(capsys, "draw", "--nkerns", "20")
    assert "nothing there" in refused(capsys, "draw", tmp_path / "nowhere")
