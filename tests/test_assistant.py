"""The second process that compiles: it does the same work, and nothing depends on it."""

from __future__ import annotations

import io
import sys
from collections import deque
from pathlib import Path

import pytest

from symgraph.compile import assistant, cache
from symgraph.compile.assistant import Assistant, Job
from tests.test_cache import files, fresh, result, source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path / "kernels"))
    fresh(monkeypatch)
    return tmp_path / "kernels"


def job(text: str, symbol: str = "symbol") -> Job:
    return Job("kernel", text, symbol)


def test_it_compiles_what_it_takes(folder: Path) -> None:
    texts = [source(number) for number in (1, 2)]
    jobs = deque(job(text, cache._symbol(text)) for text in [*texts, "def kernel(: no Python"])
    helper = Assistant(jobs)
    helper._thread.join()
    helper.close()
    assert not jobs
    assert set(helper.made) == {cache._symbol(text) for text in texts}
    places = [cache._add(text, helper.made[cache._symbol(text)]) for text in texts]
    kernels = [cache.Kernel("", text, "cpu", at) for text, at in zip(texts, places, strict=True)]
    assert [result(kernel) for kernel in kernels] == [1, 2]


def test_what_is_much_is_shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assistant, "_processors", lambda: 2)
    started = []
    monkeypatch.setattr(
        assistant, "Assistant", lambda jobs: started.append(jobs) or Assistant(jobs)
    )
    numbers = range(assistant.ENOUGH)
    kernels = cache.build_all([source(number) for number in (*numbers, 0)])
    assert [result(kernel) for kernel in kernels] == [*numbers, 0]
    assert len(started) == 1
    seen = cache.statistics()
    assert (seen.compiled, seen.hits, len(files(folder))) == (len(numbers), 0, len(numbers))
    cache.build_all([source(number) for number in numbers])
    assert cache.statistics() == seen
    fresh(monkeypatch)
    cache.build_all([source(number) for number in numbers])
    assert (cache.statistics().hits, cache.statistics().compiled) == (len(numbers), 0)


def test_an_error_is_this_process_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assistant, "_processors", lambda: 2)
    wrong = "def kernel(arrays, sizes, start, stop, worker):\n    nothing_here(1)\n"
    texts = [source(number) for number in range(assistant.ENOUGH)]
    with pytest.raises(Exception, match="nothing_here"):
        cache.build_all([*texts, wrong])
    assert result(cache.build(texts[0])) == 0


def test_it_may_die(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assistant, "_processors", lambda: 2)

    class Dead(Assistant):
        def __init__(self, jobs: deque[Job]) -> None:
            super().__init__(jobs)
            self._process.kill()
            self._thread.join()

    monkeypatch.setattr(assistant, "Assistant", Dead)
    kernels = cache.build_all([source(number) for number in range(assistant.ENOUGH)])
    assert [result(kernel) for kernel in kernels] == list(range(assistant.ENOUGH))


@pytest.mark.parametrize(
    ("executable", "processors"),
    [("", 2), ("/opt/program", 2), ("/nowhere/python", 2), (sys.executable, 1)],
)
def test_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, executable: str, processors: int
) -> None:
    monkeypatch.setattr(assistant, "_processors", lambda: processors)
    monkeypatch.setattr(sys, "executable", executable)
    assert assistant.assistant(deque([job("")] * assistant.ENOUGH)) is None
    assert assistant.assistant(deque([job("")] * (assistant.ENOUGH - 1))) is None


def test_messages() -> None:
    pipe = io.BytesIO()
    assistant._send(pipe, b"")
    assistant._send(pipe, b"text")
    pipe.seek(0)
    assert [assistant._receive(pipe) for _ in range(2)] == [b"", b"text"]
    with pytest.raises(EOFError):
        assistant._receive(pipe)
