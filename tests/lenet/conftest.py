"""Fixtures for tests of data: an empty home, a small official data set, a mirror of it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lenet.data import catalog
from tests.lenet import data_files
from tests.lenet.data_files import Arrays


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Small arrays that pass for the official MNIST: the table of checksums is theirs."""
    content = data_files.arrays()
    digests = catalog.digests(content.parts())
    files = tuple(
        catalog.idx_file(name, array.shape, digest)
        for name, array, digest in zip(data_files.NAMES, content, digests, strict=True)
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


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mirror on this machine: its folder. The catalogue points to it and to a dead one."""
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
        for name, collection in list(catalog.COLLECTIONS.items()):
            monkeypatch.setitem(catalog.COLLECTIONS, name, replace(collection, mirrors=urls))
        monkeypatch.setenv("SYMGRAPH_OFFLINE", "0")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield folder
        server.shutdown()
