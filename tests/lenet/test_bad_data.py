"""Data that cannot be used: each kind is one DataError that says what, and runs no code."""

from __future__ import annotations

import gzip
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenet import data
from lenet.data import DataError, formats
from tests.lenet.data_files import NAMES, Arrays, arrays, idx, write_idx, write_npz, write_pickle

pytestmark = pytest.mark.usefixtures("home")

TINY = arrays(6, 3)


class Payload:
    def __reduce__(self) -> object:
        return os.mkdir, ("executed",)


def with_labels(label: int) -> Arrays:
    content = arrays()
    content.train_labels[3] = label
    return content


def write_cut_gz(folder: Path) -> None:
    write_idx(folder, arrays(), gz=True)
    path = folder / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-20])


def write_cut_idx(folder: Path) -> None:
    write_idx(folder, arrays())
    (folder / NAMES[2]).write_bytes(idx(arrays().test_images)[:-1])


def write_swapped(folder: Path) -> None:
    write_idx(folder, arrays())
    (folder / NAMES[0]).write_bytes(idx(arrays().train_labels))


def write_not_gz(folder: Path) -> None:
    write_idx(folder, arrays(), gz=True)
    (folder / f"{NAMES[1]}.gz").write_bytes(b"<html>captive portal</html>")


BAD_FOLDERS = {
    "cut gz": (write_cut_gz, "train-images-idx3-ubyte.gz: got Compressed file ended"),
    "not gz": (write_not_gz, "train-labels-idx1-ubyte.gz: got Not a gzipped file"),
    "cut": (write_cut_idx, r"t10k-images.*got 7,855 bytes; expected 7,856 for the shape"),
    "swapped": (write_swapped, r"train-images.*magic number 2049; expected 2051 \(images, IDX\)"),
    "header only": (
        lambda f: (write_idx(f, arrays()), (f / NAMES[1]).write_bytes(b"\0\0\10\1\0")),
        "train-labels.*got 5 bytes; expected 8",
    ),
    "three files": (
        lambda f: (write_idx(f, arrays()), (f / NAMES[3]).unlink()),
        "expected also t10k-labels-idx1-ubyte",
    ),
    "counts": (
        lambda f: write_idx(f, arrays()._replace(train_labels=np.zeros(59, np.uint8))),
        "got 60 training images, 59 labels; expected as many",
    ),
    "labels": (lambda f: write_idx(f, with_labels(10)), "the training label 10; expected 0 to 9"),
    "size": (
        lambda f: write_idx(f, arrays()._replace(test_images=np.zeros((10, 28, 27), np.uint8))),
        r"test images of shape \(10, 1, 28, 27\); expected \(n, 1, 28, 28\)",
    ),
    "empty": (lambda f: write_idx(f, arrays(test=0)), "got 0 test images; expected at least 2"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folder(case: str, tmp_path: Path) -> None:
    write, message = BAD_FOLDERS[case]
    folder = tmp_path / "bad"
    folder.mkdir()
    write(folder)
    with pytest.raises(DataError, match=f"(?s){message}.*Cure: "):
        data.load(root=folder)


def pickled(value: object) -> bytes:
    return gzip.compress(pickle.dumps(value, 2))


IMAGES, LABELS = np.zeros((6, 784), "f4"), np.zeros(6, "i8")
BAD_PICKLES = {
    "code": (pickled((Payload(),) * 3), "a reference to .*mkdir, which is refused"),
    "objects": (pickled(((np.array([None]), LABELS),) * 3), "an array of dtype 'O8'"),
    "class call": (gzip.compress(b"cnumpy\nndarray\n(I9\ntR."), "expected a pickle of plain"),
    "garbage": (gzip.compress(b"garbage"), "expected a pickle of plain arrays only"),
    "two parts": (pickled(((IMAGES, LABELS),) * 2), "a pickled tuple; expected three pairs"),
    "no pair": (pickled((IMAGES,) * 3), r"a ndarray; expected a pair \(images, labels\)"),
    "ragged": (pickled((([[1], [1, 2]], LABELS),) * 3), "images: .*inhomogeneous"),
    "one class": (
        pickled(((IMAGES, ["a"] * 6),) * 3),
        "one class only, 'a'; expected at least two",
    ),
    "range": (pickled(((IMAGES - 0.5, LABELS),) * 3), "images from -0.5 to -0.5; expected grey"),
    "nan": (pickled(((IMAGES * np.nan, LABELS),) * 3), "images from nan to nan; expected grey"),
    "labels": (pickled(((IMAGES, LABELS - 1),) * 3), "the training label -1; expected integers"),
    "float": (
        pickled(((IMAGES, LABELS / 2),) * 3),
        "training labels of dtype float64; expected integers",
    ),
    "shape": (
        pickled(((IMAGES[:, 1:], LABELS),) * 3),
        "images of shape .6, 783.; expected .n, height, width.",
    ),
}


@pytest.mark.parametrize("case", BAD_PICKLES)
def test_bad_pickle(case: str, tmp_path: Path) -> None:
    blob, message = BAD_PICKLES[case]
    (tmp_path / "mnist.pkl.gz").write_bytes(blob)
    with pytest.raises(DataError, match=f"mnist.pkl.gz: got .*{message}"):
        data.load(root=tmp_path)
    assert not Path("executed").exists()


@pytest.mark.parametrize("case", ["objects", "not a zip", "cut", "names"])
def test_bad_npz(case: str, tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    write_npz(path, arrays())
    message = "expected plain numeric arrays"
    if case == "objects":
        np.savez(path, x_train=np.array([Payload()]), y_train=1, x_test=1, y_test=1)
    elif case == "not a zip":
        path.write_bytes(b"nothing")
    elif case == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    else:
        np.savez(path, x_train=1, y_train=1, x_test=1)
        message = "x_test, x_train, y_train; expected also y_test"
    with pytest.raises(DataError, match=f"mnist.npz: got .*{message}"):
        data.load(root=tmp_path)
    assert not Path("executed").exists()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    form=st.sampled_from(["mnist.npz", "mnist.pkl", "mnist.pkl.gz", NAMES[0], f"{NAMES[1]}.gz"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4),
)
def test_damage_loads_or_is_a_data_error(
    form: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, form)
        if form.endswith(".npz"):
            write_npz(path, TINY)
        elif ".pkl" in form:
            write_pickle(path, TINY)
            if path.suffix == ".pkl":
                path.write_bytes(gzip.decompress(path.read_bytes()))
        else:
            write_idx(Path(folder), TINY, gz=form.endswith(".gz"))
        blob = bytearray(path.read_bytes())
        for place, bits in flips:
            blob[int(place * len(blob))] ^= bits
        path.write_bytes(blob[: round(cut * len(blob))] if not flips else blob)
        try:
            loaded = data.load(source=path if path.name.startswith("mnist") else folder)
        except DataError as error:
            assert "Cure: " in str(error)
        else:
            assert loaded.image_shape[0] in (1, 3) and loaded.train.labels.max() < len(
                loaded.classes
            )


def test_unpacked_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(DataError, match="more than 1,000 bytes unpacked"):
        formats.read_bytes(path, limit=1000)
    monkeypatch.setattr(formats, "MAX_BYTES", 1000)
    write_npz(tmp_path / "mnist.npz", arrays())
    with pytest.raises(DataError, match=r"more than .* bytes unpacked"):
        data.load(root=tmp_path)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 'mnits'; expected 'mnist', 'fashion-mnist', 'svhn'"):
        data.load("mnits")
    with pytest.raises(DataError, match=r"got 'mirors'; expected auto, files, .* or a path"):
        data.load(source="mirors")
    (tmp_path / "digits.csv").write_text("1")
    with pytest.raises(
        DataError, match=r"a file of unknown kind; expected an \.npz, .* or a folder"
    ):
        data.load(source=tmp_path / "digits.csv")


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMGRAPH_OFFLINE", "0")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"expected a folder that can be written\. Cure: choose"):
        data.fetch(root=tmp_path / "file" / "data")
