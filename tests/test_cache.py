"""The kernel cache: found by content, never trusted, and useless folders only cost time."""

import ctypes
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from symgraph.compile import cache, progress

CALL = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)


def source(number: int) -> str:
    return (
        "def kernel(arrays, sizes, start, stop, worker):\n"
        "    out = pointer_out(arrays, 0, int64)\n"
        f"    for i in range(start, stop):\n        out[i] = {number}\n"
    )


def result(kernel: cache.Kernel) -> int:
    out = np.zeros(3, np.int64)
    arrays = np.array([out.ctypes.data])
    CALL(kernel.address)(arrays.ctypes.data, 0, 0, 3, 0)
    return int(out.sum()) // 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder and a process that has built nothing."""
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path / "kernels"))
    fresh(monkeypatch)
    return tmp_path / "kernels"


engines = []


def fresh(monkeypatch) -> None:
    """Forget what this process has built, as a new one would. Loaded code stays where it is."""
    engines.append(cache._Engine())
    monkeypatch.setattr(cache, "_state", cache._State())
    monkeypatch.setattr(cache, "_engine", lambda: engines[-1])


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


def test_the_same_source_is_compiled_once(folder, monkeypatch):
    first = cache.build(source(1), name="one")
    assert cache.build(source(1)) is first
    assert (first.name, first.source, first.target) == ("one", source(1), "cpu")
    assert (result(first), len(files(folder))) == (1, 1)
    fresh(monkeypatch)
    assert result(cache.build(source(1))) == 1
    assert result(cache.build(source(2))) == 2
    seen = cache.statistics()
    assert (seen.hits, seen.compiled) == (1, 1)
    assert seen.seconds > 0
    cache.clear()
    assert not files(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:50],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: b"#!/bin/sh\n" + content,
    ],
)
def test_a_damaged_file_is_made_again(folder, monkeypatch, damage):
    cache.build(source(3))
    (path,) = files(folder)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    fresh(monkeypatch)
    assert result(cache.build(source(3))) == 3
    assert cache.statistics().compiled == 1
    fresh(monkeypatch)
    cache.build(source(3))
    assert cache.statistics().hits == 1


def test_a_file_of_another_kernel_is_not_taken(folder, monkeypatch):
    cache.build(source(4))
    cache.build(source(5))
    first, second = files(folder)
    first.write_bytes(second.read_bytes())
    fresh(monkeypatch)
    assert result(cache.build(source(4))) == 4
    assert result(cache.build(source(5))) == 5
    assert cache.statistics().compiled == 1


def test_a_missing_symbol_is_no_accident(folder, monkeypatch):
    # An object that calls what this process lacks: LLVM would end the process on loading it.
    cache.build(source(6))
    (path,) = files(folder)
    content = path.read_bytes()
    start = len(cache.MAGIC) + 96
    payload = content[start:]
    needed = b"no_such_symbol"
    forged = len(needed).to_bytes(4, "little") + needed + payload[4:]
    key = content[len(cache.MAGIC) : len(cache.MAGIC) + 64].decode()
    cache._write(path, key, forged)
    fresh(monkeypatch)
    assert result(cache.build(source(6))) == 6
    assert cache.statistics().compiled == 1


@pytest.mark.parametrize("place", ["missing/in/a/file", "file"])
def test_an_unusable_folder_is_slower_not_broken(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "missing").write_text("in the way")
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path / place))
    fresh(monkeypatch)
    assert result(cache.build(source(7))) == 7


def test_the_key_follows_everything_that_shapes_the_object(monkeypatch):
    key = cache.key_of("x")
    assert key == cache.key_of("x") != cache.key_of("y")
    cache._environment.cache_clear()
    monkeypatch.setattr(cache, "__version__", "0")
    assert cache.key_of("x") != key
    monkeypatch.undo()
    cache._environment.cache_clear()
    monkeypatch.setattr(cache, "_cpu", lambda: ("another", "+cpu"))
    assert cache.key_of("x") != key
    monkeypatch.undo()
    cache._environment.cache_clear()
    assert cache.key_of("x") == key


def modules_named(path: Path) -> set[str]:
    """Modules of the vocabulary that a file, or the kernel source in it, imports."""
    found: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r" *from symgraph\.compile import (.+)", line):
            found.update(name.strip() for name in match[1].split(","))
        elif match := re.match(r" *from symgraph\.compile\.library import (.+)", line):
            found.update("library/" + name.strip() for name in match[1].split(","))
        elif match := re.match(r" *from symgraph\.compile\.([\w.]+) import", line):
            found.add(match[1].replace(".", "/"))
    return found


def test_the_key_covers_every_file_that_kernels_are_made_of():
    here = Path(cache.__file__).parent
    waiting = {"codegen", "native", "walk"}
    for path in (here / "library").glob("*.py"):  # these import each other by relative names
        waiting |= modules_named(path)
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting |= modules_named(here / (name + ".py")) - needed
    assert needed <= set(cache.VOCABULARY_FILES)
    assert all((here / (name + ".py")).exists() for name in cache.VOCABULARY_FILES)


def test_a_new_process_needs_no_numba(folder):
    program = (
        "import sys\nfrom symgraph.compile import cache, driver\n"
        f"cache.build({source(8)!r})\ndriver._entry()\n"
        "print(cache.statistics().hits, 'numba' in sys.modules)"
    )
    environment = {**os.environ, "SYMGRAPH_CACHE": str(folder)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert outputs == [[b"0", b"True"], [b"2", b"False"]]


def test_importing_costs_little():
    program = (
        "import sys, symgraph.compile.cache, symgraph.compile.driver\n"
        "assert not {'numba', 'llvmlite'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_processes_share_the_folder(folder):
    program = (
        "from symgraph.compile import cache\n"
        f"for number in range(20, 24): cache.build({source(0)!r}.replace('= 0', f'= {{number}}'))"
    )
    environment = {**os.environ, "SYMGRAPH_CACHE": str(folder)}
    processes = [
        subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(files(folder)) == 4
    assert result(cache.build(source(22))) == 22
    assert cache.statistics().hits == 1


def test_threads_and_hooks(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(cache, "on_compile", lambda name, text: asked.append((name, text)))
    kernels = []
    threads = [
        threading.Thread(target=lambda: kernels.append(cache.build(source(9), name="nine")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [("nine", source(9))]
    assert len({kernel.address for kernel in kernels}) == 1
    said = []
    with progress.announce_after(0.0, said.append):
        for number in (10, 11, 12):
            cache.build(source(number))
    assert said == [f"symgraph: compiling a kernel; the next process finds them in {folder}"]
    progress.going_on("nobody listens")


def test_what_a_kernel_must_not_do(folder):
    with pytest.raises(ValueError, match="unknown target"):
        cache.build(source(1), "abacus")
    head = "import numpy\ndef kernel(arrays, sizes, start, stop, worker):\n"
    with pytest.raises(Exception, match="empty"):
        cache.build(head + "    numpy.empty(sizes[0])\n")
    with pytest.raises(RuntimeError, match="must not allocate, print"):
        cache.build(head + "    print(start)\n")
    wrong = "def kernel(arrays, sizes, start, stop, worker):\n    nothing_here(1)\n"
    with pytest.raises(Exception, match="nothing_here"):
        cache.build(wrong)


def test_the_source_shows_in_tracebacks():
    kernel = cache.build("def kernel(arrays, sizes, start, stop, worker):\n    1 / 0\n", "python")
    with pytest.raises(ZeroDivisionError) as caught:
        kernel.function([], [], 0, 0, 0)
    assert "1 / 0" in str(caught.getrepr())


CALLS_HELPER = """
from numba import njit

@njit
def triple(x):
    return 3 * x

def kernel(arrays, sizes, start, stop, worker):
    out = pointer_out(arrays, 0, int64)
    for i in range(start, stop):
        out[i] = triple(triple(i))
"""


def test_a_kernel_may_call_compiled_functions(folder):
    assert result(cache.build(CALLS_HELPER)) == 9
