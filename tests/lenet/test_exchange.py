"""Weights from program to program: `export`, `import`, and the layouts."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lenet import data, exchange
from lenet.classifier import Classifier
from lenet.errors import RunError
from lenet.exchange import Weights
from tests.lenet.commands import done, refused
from tests.lenet.shown import write_run

MODELS = {
    "tutorial": {"nkerns": (2, 3), "hidden": 12},
    "lenet5": {},
    "keras": {},
    "pytorch": {"preprocess": "mean,normalize"},
    "numpy": {},
    "custom": {"network": "conv 3 3 same, norm, maxout 3, max 2, fc 8, norm, relu, dropout 0.5"},
}


def some_images() -> np.ndarray:
    return data.load(source="sample").test.images[:20]


def answers(folder: Path) -> np.ndarray:
    return Classifier(folder / "best.npz").probabilities(some_images())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("exchange") / "run", model="pytorch", padding=2)


@pytest.fixture
def weights(run_folder: Path, tmp_path: Path, capsys) -> Path:
    """The weights of the run in PyTorch's layout, without a word on whose they are."""
    done(capsys, "export", run_folder, tmp_path / "said.npz", "--layout", "pytorch")
    arrays = exchange.read(tmp_path / "said.npz").arrays
    np.savez(tmp_path / "weights.npz", **arrays)
    return tmp_path / "weights.npz"


@pytest.mark.parametrize("layout", exchange.LAYOUTS)
@pytest.mark.parametrize("model", list(MODELS))
def test_there_and_back(model: str, layout: str, tmp_path: Path, capsys) -> None:
    folder = write_run(tmp_path / "run", model=model, **MODELS[model])
    suffix = ".npz" if layout == "symgraph" else ".safetensors"
    file, again = tmp_path / f"weights{suffix}", tmp_path / "again"
    assert f" in {file}" in done(capsys, "export", folder, file, "--layout", layout)
    assert f"{model}, " in done(capsys, "import", file, "--out", again)
    assert np.array_equal(answers(again), answers(folder))
    result = json.loads((again / "result.json").read_text())
    assert result["ended"] == "imported" and result["epochs"] == 0
    assert {path.name for path in again.iterdir()} == {"best.npz", "last.npz", "result.json"}


def test_pytorchs_layout(run_folder: Path, weights: Path) -> None:
    arrays = exchange.read(weights).arrays
    model = Classifier(run_folder / "best.npz").model
    assert np.array_equal(arrays["conv2.weight"], model.params["conv2.W"].get_value())
    assert np.array_equal(arrays["fc1.weight"], model.params["fc1.W"].get_value().T)
    assert list(arrays)[:2] == ["conv1.weight", "conv1.bias"]


def test_convolutions_are_flipped_and_the_table_is_filled(tmp_path: Path) -> None:
    model = Classifier(write_run(tmp_path / "run", model="lenet5") / "best.npz").model
    layer = model.layer("C3")
    value = model.params["C3.W"].get_value()
    filters = exchange.to_torch(layer, "W", value)
    assert filters.shape == (16, 6, 5, 5) and np.count_nonzero(filters) == value.size
    assert np.array_equal(filters[0, 1], value[1, ::-1, ::-1]) and not filters[0, 3].any()
    assert np.array_equal(exchange.from_torch(layer, "W", filters, Path("w")), value)
    filters[0, 3] = 1
    with pytest.raises(
        RunError, match=r"filters in C3\.weight between maps that are not connected"
    ):
        exchange.from_torch(layer, "W", filters, Path("w"))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_foreign_names_go_by_order_and_shape(
    suffix: str, weights: Path, run_folder: Path, tmp_path, capsys
) -> None:
    names = ["net.0", "net.3", "net.7", "net.9", "net.11"]
    ours = ["conv1", "conv2", "fc1", "fc2", "fc3"]
    arrays = exchange.read(weights).arrays
    named = {f"{a}.{k}": arrays[f"{b}.{k}"] for a, b in zip(names, ours, strict=True)
             for k in ("weight", "bias")}  # fmt: skip
    exchange.write(tmp_path / f"named{suffix}", Weights(named))
    words = ["import", tmp_path / f"named{suffix}", "--model", "pytorch", "--padding", 2]
    done(capsys, *words, "--out", tmp_path / "again")
    assert np.array_equal(answers(tmp_path / "again"), answers(run_folder))


def test_what_others_trained_sees_images_as_they_are(tmp_path: Path, capsys) -> None:
    """The recipe of `keras` normalises, which takes numbers that a file of others does not have."""
    folder = write_run(tmp_path / "run", model="keras", preprocess="")
    done(capsys, "export", folder, tmp_path / "ours.npz", "--layout", "pytorch")
    np.savez(tmp_path / "theirs.npz", **exchange.read(tmp_path / "ours.npz").arrays)
    again = tmp_path / "again"
    done(capsys, "import", tmp_path / "theirs.npz", "--model", "keras", "--out", again)
    assert np.array_equal(answers(again), answers(folder))


def test_imported_weights_are_used_and_tuned(weights: Path, tmp_path: Path, capsys) -> None:
    again = tmp_path / "again"
    done(capsys, "import", weights, "--model", "pytorch", "--padding", 2, "--out", again)
    assert "error " in done(capsys, "eval", again, "--source", "sample")
    words = ["--model", "pytorch", "--padding", 2, "--source", "sample", "--limit", 200]
    out = ["--epochs", 1, "--batch-size", 100, "--out", tmp_path / "tuned", "--quiet"]
    done(capsys, "train", "--finetune", again, *words, *out)
    words = ["--model", "pytorch", "--padding", 2, "--out", again]
    assert "a folder that holds a run" in refused(capsys, "import", weights, *words)


def test_weights_that_do_not_fit(weights: Path, run_folder: Path, tmp_path, capsys) -> None:
    arrays = exchange.read(weights).arrays
    model = ["--model", "pytorch", "--padding", 2, "--out", tmp_path / "new"]

    def importing(changed: dict[str, np.ndarray], *words: object) -> str:
        np.savez(tmp_path / "changed.npz", **changed)
        return refused(capsys, "import", tmp_path / "changed.npz", *(words or model))

    said = importing({**arrays, "fc1.weight": arrays["fc1.weight"].T})
    assert (
        "got fc1.weight [400, 120]; expected fc1.weight [120, 400], for the model pytorch" in said
    )
    said = importing({k: a for k, a in arrays.items() if k != "conv2.bias"})
    assert "got no conv2.bias; nothing in its place; expected conv2.bias [16]" in said
    said = importing({**arrays, "fc4.bias": np.zeros(3, "f4")})
    assert "got also fc4.bias [3]; expected no more than pytorch has" in said
    said = importing({f"net.{k}": a for k, a in arrays.items() if "fc1" not in k})
    assert "got no fc1.weight; nothing in its place" in said
    said = importing(arrays, "--model", "keras", "--out", tmp_path / "new")
    assert "got no C5.weight" in said and "for the model keras" in said
    assert "NaN or infinity in conv1.bias" in importing(
        {**arrays, "conv1.bias": np.full(6, np.nan)}
    )
    assert "an array of int64 in conv1.bias" in importing({**arrays, "conv1.bias": np.arange(6)})
    assert "weights that do not say of which model" in importing(arrays, "--out", tmp_path / "new")
    assert "no arrays" in importing({})
    assert not (tmp_path / "new").exists()
    classifier = Classifier(run_folder / "best.npz")
    before = classifier.model.params["fc1.b"].get_value()
    with pytest.raises(RunError):
        exchange.give(classifier.model, Weights({"fc1.bias": before + 1}), Path("few"))
    assert np.array_equal(classifier.model.params["fc1.b"].get_value(), before)


def test_files_that_are_no_weights(weights: Path, tmp_path: Path, capsys) -> None:
    model = ["--model", "pytorch"]
    objects = io.BytesIO()
    np.savez(objects, **{"conv1.weight": np.array([{"a": 1}], dtype=object)})
    for name, content, words in (
        ("text.npz", b"not weights", "cannot be read"),
        ("cut.npz", weights.read_bytes()[:-200], "cannot be read"),
        ("pickle.npz", objects.getvalue(), "cannot be read (Object arrays cannot be loaded"),
        ("text.safetensors", b"not weights", "cannot be read"),
        ("weights.h5", b"", "a name that ends in '.h5'"),
    ):
        (tmp_path / name).write_bytes(content)
        said = refused(capsys, "import", tmp_path / name, *model)
        assert name in said and words in said
    assert "no such file" in refused(capsys, "import", tmp_path / "none.npz", *model)
    odd = {"format": exchange.FORMAT, "options": "{}", "data": "{}"}
    exchange.write(tmp_path / "odd.npz", Weights(exchange.read(weights).arrays, odd))
    assert "metadata that cannot be read" in refused(capsys, "import", tmp_path / "odd.npz")


def test_missing_libraries(run_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "w.safetensors"
    assert "pip install 'symgraph[safetensors]'" in refused(capsys, "export", run_folder, out)
    assert not out.exists()
    out.write_bytes(b"")
    said = refused(capsys, "import", out, "--model", "pytorch")
    assert "pip install 'symgraph[safetensors]'" in said
    (tmp_path / "w.pt").write_bytes(b"")
    said = refused(capsys, "import", tmp_path / "w.pt", "--model", "pytorch")
    assert "without PyTorch to read it" in said and "pip install torch" in said


def test_export_refuses(run_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no trained model" in refused(capsys, "export", "w.npz")
    assert "one in .npz or .safetensors" in refused(capsys, "export", run_folder, "w.bin")
    assert "nowhere" in refused(capsys, "export", run_folder, "nowhere/w.npz")


def test_pytorch_computes_the_same(run_folder: Path, weights: Path, tmp_path, capsys) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not a requirement of the tests")
    nn, classifier = torch.nn, Classifier(run_folder / "best.npz")
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    arrays = [torch.from_numpy(a.copy()) for a in exchange.read(weights).arrays.values()]
    net.load_state_dict(dict(zip(net.state_dict(), arrays, strict=True)))
    images = some_images()
    with torch.no_grad():
        scores = net(torch.from_numpy(images.astype("f4") / 255)).numpy()
    ours = classifier.outputs(images)["fc3"]
    assert np.abs(scores - ours).max() <= 1e-5 * np.abs(scores).max()
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "net.pt")
    words = ["--model", "pytorch", "--padding", 2, "--out", tmp_path / "again"]
    done(capsys, "import", tmp_path / "net.pt", *words)
    assert np.array_equal(answers(tmp_path / "again"), answers(run_folder))
    torch.save(net, tmp_path / "code.pt")
    assert "cannot be read" in refused(capsys, "import", tmp_path / "code.pt", *words)
