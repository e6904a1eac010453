"""Worker processes from the parent's side: started when first asked, replaced when they fail."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import machine
from benchmarks.contenders import CONTENDERS, HOME, Contender, settings

PATIENCE = {"make": 120.0, "time": 90.0}
"""Seconds that a contender may take for one request."""


class Failed(Exception):
    """A contender cannot do what it was asked; the text says why, in one line."""


class Hand:
    """One contender's process. Raises Failed, with the reason, for whatever goes wrong in it.

    `prepared`: slots that hold a step to be used again.
    """

    def __init__(self, contender: Contender, caches: Path) -> None:
        self.contender = contender
        if contender.failure:
            raise Failed(f"could not be installed: {contender.failure}")
        spec = {
            "module": contender.module, "package": contender.package,
            "variant": contender.variant, "threads": contender.threads,
            "cpus": machine.cpus(contender.threads),
        }  # fmt: skip
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [contender.python, "-m", "benchmarks.worker", json.dumps(spec)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
            env=settings(contender.threads, caches), start_new_session=True,
        )  # fmt: skip
        try:
            started = self.ask(120, do="start")
        except Failed:
            self.close()
            raise
        self.versions: dict[str, str] = started["versions"]
        self.import_seconds: float = started["import"]
        self.prepared: set[str] = set()

    def make(
        self, kernel: str, arguments: Sequence[Any], slot: str = "row", check: bool = False
    ) -> dict[str, Any]:
        """Prepare a step and call it once: seconds of that, and with `check` its digest."""
        return self.ask(
            PATIENCE["make"], do="make", slot=slot, kernel=kernel, arguments=arguments, check=check
        )

    def time(self, least: float, slot: str = "row") -> float:
        """Seconds per call of the step in a slot, over `least` seconds."""
        return float(self.ask(PATIENCE["time"], do="time", slot=slot, least=least)["seconds"])

    def run(self, calls: int, slot: str = "row") -> None:
        """Call the step in a slot."""
        self.ask(PATIENCE["time"], do="run", slot=slot, calls=calls)

    def drop(self, slot: str = "row") -> None:
        self.ask(PATIENCE["time"], do="drop", slot=slot)

    def ask(self, patience: float, **request: Any) -> dict[str, Any]:
        """The answer to a request, within `patience` seconds. A late one ends the process."""
        pipe_in, pipe_out = self.process.stdin, self.process.stdout
        assert pipe_in is not None and pipe_out is not None
        try:
            pipe_in.write(json.dumps(request) + "\n")
            pipe_in.flush()
        except BrokenPipeError:
            pass
        if not select.select([pipe_out], [], [], patience)[0]:
            self.close()
            raise Failed(f"took more than {patience:.0f} s")
        line = pipe_out.readline()
        if not line:
            self.close()
            raise Failed(f"its process died (status {self.process.returncode})")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def close(self) -> None:
        """End the process and those that it started, torch's compilers."""
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


class Crew:
    """The contenders of a run, each in at most one process that lives as long as the crew.

    `absent` says why a contender cannot take part at all; `caches` outlives the run, so that peers
    that compile for minutes do so once a machine; `scratch` holds the caches of first calls.
    """

    def __init__(self, names: list[str] | None = None, caches: Path = HOME / "cache") -> None:
        self.names = list(CONTENDERS) if names is None else names
        self.caches = caches
        self.absent: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self._hands: dict[str, Hand] = {}
        self._folder = tempfile.TemporaryDirectory()
        self.scratch = Path(self._folder.name)

    def hand(self, name: str) -> Hand:
        """The running process of a contender. Raises Failed; one that never starts is `absent`."""
        if name in self.absent:
            raise Failed(self.absent[name])
        held = self._hands.get(name)
        if held is None or held.process.returncode is not None:
            try:
                held = self._hands[name] = Hand(CONTENDERS[name], self.caches)
            except Failed as error:
                self.absent[name] = str(error)
                raise
            self.versions |= held.versions
        return held

    def pids(self) -> list[int]:
        return [h.process.pid for h in self._hands.values() if h.process.returncode is None]

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for hand in self._hands.values():
            hand.close()
        self._folder.cleanup()
