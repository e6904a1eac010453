"""SVHN's cropped digits: MATLAB files, read, fetched, refused."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet import data
from lenet.commands import data as data_command
from lenet.data import DataError, catalog, matlab
from lenet.data.catalog import File
from lenet.data.errors import Unavailable
from tests.lenet.data_files import arrays, write_idx

scipy_io = pytest.importorskip("scipy.io", reason="SVHN's files are read by SciPy")

pytestmark = pytest.mark.usefixtures("home")

NAMES = ["train_32x32.mat", "test_32x32.mat"]
RNG = np.random.default_rng(0)
X = [RNG.integers(0, 256, (32, 32, 3, n), np.uint8) for n in (60, 12)]
Y = [(np.arange(n) % 10 + 1).astype(np.uint8)[:, None] for n in (60, 12)]  # 1 to 10
BLOBS = []
for x, y in zip(X, Y, strict=True):
    buffer = io.BytesIO()
    scipy_io.savemat(buffer, {"X": x, "y": y}, do_compression=True)
    BLOBS.append(buffer.getvalue())


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small files pass for the official ones."""
    files = tuple(
        File(name, hashlib.sha256(blob).hexdigest(), len(blob))
        for name, blob in zip(NAMES, BLOBS, strict=True)
    )
    small = replace(catalog.COLLECTIONS["svhn"], files=files)
    monkeypatch.setitem(catalog.COLLECTIONS, "svhn", small)


def write(folder: Path, blobs: list[bytes] = BLOBS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in zip(NAMES, blobs, strict=True):
        (folder / name).write_bytes(blob)
    return folder


def is_svhn(dataset: data.Dataset) -> bool:
    images = np.concatenate([dataset.train.images, dataset.valid.images])
    labels = np.concatenate([dataset.train.labels, dataset.valid.labels])
    return (
        np.array_equal(images, X[0].transpose(3, 2, 0, 1))
        and np.array_equal(dataset.test.images, X[1].transpose(3, 2, 0, 1))
        and np.array_equal(labels, Y[0][:, 0] % 10)  # ten is the digit nought
    )


def test_files(official: None, tmp_path: Path, home: Path) -> None:
    for folder in ("svhn", "SVHN", ""):
        write(tmp_path / f"root{folder}" / folder)
        svhn = data.load("svhn", root=tmp_path / f"root{folder}")
        assert is_svhn(svhn) and svhn.verified and svhn.name == "svhn"
    assert svhn.image_shape == (3, 32, 32) and svhn.classes == tuple("0123456789")
    assert svhn.train.images.flags.c_contiguous and len(svhn.valid.labels) == 10
    assert data.load("svhn", source=write(tmp_path / "own")).verified
    write(home / "data")  # where torchvision's dataset leaves it
    assert data.load("svhn").source.startswith("torchvision")
    with pytest.raises(Unavailable, match="keras: no svhn in Keras"):
        data.load("svhn", source="keras")


def test_own_digits_in_its_form(tmp_path: Path, capsys) -> None:
    svhn = data.load("svhn", source=write(tmp_path / "own"))
    assert is_svhn(svhn) and not svhn.verified and svhn.name == "own"
    assert "not the official svhn; used as your own data" in capsys.readouterr().err


def test_mirror(official: None, mirror: Path, tmp_path: Path) -> None:
    write(mirror)
    root = tmp_path / "root"
    svhn = data.fetch("svhn", root=root)
    assert is_svhn(svhn) and svhn.verified and svhn.source.startswith("mirrors: http://127.0.0.1")
    assert sorted(os.listdir(root / "svhn")) == sorted(NAMES)
    assert data.load("svhn", root=root).source.startswith("files")
    write(mirror, [BLOBS[0], BLOBS[1][:-9]])
    with pytest.raises(Unavailable, match=r"test_32x32.mat: SHA-256"):
        data.load("svhn", source="mirrors", root=tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def mat(**variables: object) -> bytes:
    buffer = io.BytesIO()
    scipy_io.savemat(buffer, variables)
    return buffer.getvalue()


BAD = {
    "cut": (BLOBS[0][:-99], "expected X uint8"),
    "text": (b"<html>", "expected X uint8"),
    "empty": (b"", "expected X uint8"),
    "no X": (mat(y=Y[0]), r"got X float64 \(0,\), y uint8 \(60, 1\) from 1 to 10; expected X"),
    "floats": (mat(X=X[0] / 255, y=Y[0]), r"got X float64 \(32, 32, 3, 60\)"),
    "grey": (mat(X=X[0][:, :, :1], y=Y[0]), r"got X uint8 \(32, 32, 1, 60\)"),
    "labels": (mat(X=X[0], y=Y[0] + 1), r"from 2 to 11; expected X"),
    "counts": (mat(X=X[0], y=Y[0][1:]), "got 60 training images, 59 labels; expected as many"),
    "size": (mat(X=X[0][1:], y=Y[0]), r"got test images of shape \(12, 3, 32, 32\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case: str, tmp_path: Path) -> None:
    blob, message = BAD[case]
    write(tmp_path, [blob, BLOBS[1]])
    with pytest.raises(DataError, match=f"{message}.*Cure: "):
        data.load("svhn", source="files", root=tmp_path)


def test_too_large_is_found_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="got more than 1,000 elements"):
        data.load("svhn", source=write(tmp_path))


def test_one_file_is_not_enough(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(DataError, match=r"only train_32x32\.mat; expected also test_32x32\.mat"):
        data.load("svhn", root=tmp_path)


def test_without_scipy(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    message = r"got no SciPy to read \.mat files; .*symgraph\[lenet\]"
    with pytest.raises(DataError, match=message):
        data.load("svhn", source=write(tmp_path / "own"))
    with pytest.raises(DataError, match=f"^svhn: {message}"):  # before it downloads them
        data.load("svhn", source="mirrors", root=tmp_path / "root")


def test_mnist_cannot_stand_for_it(tmp_path: Path) -> None:
    write_idx(tmp_path, arrays())
    with pytest.raises(Unavailable, match="files: no svhn in"):
        data.load("svhn", source="files", root=tmp_path)


def test_described_by_channel(tmp_path: Path, capsys) -> None:
    text = data_command.describe(data.load("svhn", source=write(tmp_path)))
    assert "images of 3x32x32 (channels, height, width), colour; 10 classes" in text
    blue = X[0][:, :, 2, :50] / 255
    assert f"mean blue{blue.mean():>10.4f}" in text and f"std blue {blue.std():>10.4f}" in text
