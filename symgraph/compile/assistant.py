"""A second process that compiles kernels while this one does: two halve the wait for many.

Numba holds one lock and the interpreter's while it compiles, so threads would take turns. The
process imports nothing of the user's: it gets sources through a pipe and gives back object code.
Where it cannot be started, or fails, everything is compiled here.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

ENOUGH = 8  # kernels to compile: for fewer, importing Numba once more takes longer than it saves


class Job(NamedTuple):
    """A kernel to compile, as the C function `symbol`."""

    name: str
    source: str
    symbol: str


class Assistant:
    """Takes jobs from the left of `jobs`, as its owner does, until there are none.

    `made` maps the symbols of what it has compiled to object code (see codegen.emit). A job that
    it took and could not do is in neither.
    """

    def __init__(self, jobs: deque[Job]) -> None:
        import subprocess  # a process that finds all kernels needs none

        self.made: dict[str, bytes] = {}
        self._jobs = jobs
        self._lock = threading.Lock()
        self._busy = False
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            "from symgraph.compile.assistant import serve; serve()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None and answers is not None
        with suppress(OSError, EOFError):
            _receive(answers)  # it has imported what it needs
            while job := self._take():
                _send(pipe, json.dumps(job).encode())
                payload = _receive(answers)
                if payload:
                    self.made[job.symbol] = payload

    def _take(self) -> Job | None:
        with self._lock:
            self._busy = bool(self._jobs)
            return self._jobs.popleft() if self._busy else None

    def take(self) -> Job | None:
        """The next job for this process; None if there is none."""
        with self._lock:
            return self._jobs.popleft() if self._jobs else None

    def close(self) -> None:
        """Wait for the job that it is at, and let it go. Jobs must have run out, or be dropped."""
        with self._lock:
            self._jobs.clear()
            if not self._busy:
                self._process.kill()
        self._thread.join()
        self._process.kill()
        self._process.communicate()


def assistant(jobs: deque[Job]) -> Assistant | None:
    """An assistant for these jobs, if it is worth one and there is a processor for it."""
    if len(jobs) < ENOUGH or _processors() < 2:
        return None
    # Where Python is embedded, `executable` is another program, which must not be started.
    is_python = Path(sys.executable or "").name.lower().startswith(("python", "pypy"))
    if not is_python or getattr(sys, "frozen", False):
        return None
    try:
        return Assistant(jobs)
    except OSError:
        return None


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ---- the other side


def serve() -> None:
    """Compile what standard input asks for until it ends: the assistant's main function."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get among the answers
    from symgraph.compile import cache, frontend

    gc.disable()  # it ends soon, and what it makes stays
    frontend.refresh()
    _send(answers, b"ready")
    with suppress(OSError, EOFError):
        while True:
            job = Job(*json.loads(_receive(sys.stdin.buffer)))
            payload = b""
            with suppress(Exception):  # the owner compiles it again, and meets the error
                payload = cache.compile_kernel(*job)
            _send(answers, payload)


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(8, "little") + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """What the other side sent; EOFError where it has gone."""
    length = int.from_bytes(_exactly(pipe.read, 8), "little")
    return _exactly(pipe.read, length)


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    data = read(count)
    if len(data) < count:
        raise EOFError
    return data
