"""Fixtures for tests of data: an empty home, and a small official data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lenet.data import catalog
from lenet.data.catalog import Arrays, File
from tests.lenet import data_files


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Small arrays that pass for the official MNIST: the table of checksums is theirs."""
    content = data_files.arrays()
    files = tuple(
        File(name, array.shape, digest)
        for name, array, digest in zip(
            data_files.NAMES, content, catalog.digests(content), strict=True
        )
    )
    small = replace(catalog.COLLECTIONS["mnist"], files=files)
    monkeypatch.setitem(catalog.COLLECTIONS, "mnist", small)
    return content


@pytest.fixture
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
