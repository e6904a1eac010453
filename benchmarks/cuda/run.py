"""The parent of a run: children measure, what they say is printed and kept as it comes."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS as INSTALLED
from benchmarks.contenders import ROOT
from benchmarks.cuda.child import Effort, request
from benchmarks.cuda.subjects import Row, Subject

PATIENCE = 100.0
"""Seconds that a child may take to start, or for one subject: compilers included."""
BUDGET, GRACE = 490.0, 20.0
"""Seconds after which no other subject is begun, and seconds that one may take beyond."""

Found = Callable[[str, str, Row], None]
"""Is told of (contender, subject, what was found)."""


def command(contender: str, python: str = "") -> list[str]:
    """What starts a contender: in symgraph's own interpreter, or that of its environment."""
    own = contender == "symgraph"
    python = sys.executable if own else python or INSTALLED[contender].python
    return [python, "-m", "benchmarks.cuda.child", contender]


def environment(cache: Path | None = None) -> dict[str, str]:
    """The variables of a child; `cache`: of its kernels."""
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return given if cache is None else {**given, "SYMGRAPH_CACHE": str(cache)}


class Ended(Exception):
    """A child ended, or was late; the text says why, in one line."""


def ask(
    start: Sequence[str], subjects: Sequence[Subject], effort: Effort, found: Found,
    contender: str, deadline: float, variables: dict[str, str], patience: float = PATIENCE,
) -> None:  # fmt: skip
    """Have a contender measure subjects. One that ends its process has failed; the rest goes on in
    a new one. `deadline`: of time.monotonic, after which the rest is left out."""
    left = list(subjects)
    while left and time.monotonic() < deadline:
        has_started = False
        try:
            for name, answer in _answers(start, left, effort, variables, patience, deadline):
                if name != "start":
                    left.pop(0)
                found(contender, name, answer)
                if name == "start" and "failed" in answer:
                    return
                has_started = True
                if time.monotonic() > deadline:
                    break
        except Ended as why:
            if not has_started:
                found(contender, "start", {"failed": str(why)})
                return
            found(contender, left.pop(0).name, {"failed": str(why)})
    for subject in left:
        found(contender, subject.name, {"failed": "left out: the time was up"})


def _answers(
    start: Sequence[str], subjects: Sequence[Subject], effort: Effort, variables: dict[str, str],
    patience: float, deadline: float,
) -> Iterator[tuple[str, Row]]:  # fmt: skip
    """What a child says of "start" and of each subject, as it comes; Ended if it stops before."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env=variables, start_new_session=True,
        )  # fmt: skip
        pipe_in, pipe_out = process.stdin, process.stdout
        assert pipe_in is not None and pipe_out is not None
        said: queue.SimpleQueue[str] = queue.SimpleQueue()

        def listen() -> None:
            for line in pipe_out:
                said.put(line)
            said.put("")

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            with suppress(BrokenPipeError):
                pipe_in.write(request(subjects, effort))
                pipe_in.close()
            open_ = 1 + len(subjects)
            while open_:
                wait = min(patience, max(deadline + GRACE - time.monotonic(), 1.0))
                try:
                    line = said.get(timeout=wait)
                except queue.Empty:
                    raise Ended(f"took more than {wait:.0f} s") from None
                if not line:
                    status = process.wait()
                    log.seek(0)
                    last = log.read().strip().splitlines()[-1:] or ["it said nothing"]
                    raise Ended(f"its process ended (status {status}): {last[0]}"[:200])
                answer: Row = json.loads(line)
                if "end" in answer:
                    open_ -= 1
                    yield answer.pop("end"), answer
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            listener.join()
            pipe_out.close()


def run(
    subjects: Sequence[Subject], contenders: Sequence[str], effort: Effort, found: Found,
    python: str = "", budget: float = BUDGET, starts: Callable[..., list[str]] = command,
) -> None:  # fmt: skip
    """Measure it all, contender by contender, symgraph's first calls after the rest of its own."""
    deadline = time.monotonic() + budget
    for contender in contenders:
        mine = [s for s in subjects if contender in s.contenders]
        start = starts(contender, python)
        fresh = [s for s in mine if s.how.startswith("first")]
        if rest := [s for s in mine if s not in fresh]:
            ask(start, rest, effort, found, contender, deadline, environment())
        with tempfile.TemporaryDirectory(prefix="symgraph-cuda-") as cache:
            for subject in fresh:  # each in a process of its own; the first fills the cache
                variables = environment(Path(cache))
                ask(start, [subject], effort, found, contender, deadline, variables)


def sanitize(tools: Sequence[str], subjects: Sequence[Subject]) -> dict[str, Any]:
    """What compute-sanitizer's tools say of symgraph's kernels; a reason where there is none."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {"failed": "compute-sanitizer is not on the path: it comes with the CUDA toolkit"}
    said: dict[str, Any] = {}
    for tool in tools:
        begin = [program, "--tool", tool, "--error-exitcode", "9", *command("symgraph")]
        done = subprocess.run(
            begin, input=request(subjects, Effort(1, 0.0, 1)), capture_output=True, text=True,
            env=environment(), timeout=3600,
        )  # fmt: skip
        lines = (done.stdout + done.stderr).splitlines()
        failed = [line for line in lines if '"failed"' in line]
        verdict = [line.strip("= ") for line in lines if "SUMMARY" in line] + failed
        said[tool] = "; ".join(verdict) or f"it said nothing (status {done.returncode})"
        said[f"{tool} found"] = bool(done.returncode or failed)
    return said
