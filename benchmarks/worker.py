"""One contender in a process of its own: `python -m benchmarks.worker SPEC`.

SPEC is JSON: module, package, variant, threads, cpus. Requests and answers are one line of JSON
each, on standard input and output; whatever a library prints goes to standard error.

    {"do": "start"}                                    {"versions", "import": seconds}
    {"do": "make", "slot", "kernel", "arguments", "check"}     {"first": seconds, "digest": [...]}
    {"do": "time", "slot", "least"}                    {"seconds": per call, "calls"}
    {"do": "run", "slot", "calls"}                     {}
    {"do": "peak"}                                     {"bytes": largest resident size so far}
    {"do": "drop", "slot"}                             {}

A slot holds one step. A request that fails is answered with {"failed": the exception's last line}.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

Clock = Callable[[], float]


def timed(
    step: Callable[[], Any], least: float, clock: Clock = time.perf_counter
) -> tuple[float, int]:
    """Seconds per call of `step`, and the number of timed calls: the median of blocks that take
    `least` seconds in all, each long enough (1 ms) for the clock.

    A first call, which wakes threads and fills caches, is not timed unless it takes longer than
    `least` itself.
    """
    start = clock()
    step()
    first = clock() - start
    if first >= least:
        return first, 1
    count = max(1, int(1e-3 / max(first, 1e-9)))
    blocks, spent = [], 0.0
    while spent < least:
        start = clock()
        for _ in range(count):
            step()
        took = clock() - start
        spent += took
        blocks.append(took / count)
        count = count * 2 if took < 5e-4 else count
    return float(np.median(blocks)), count * len(blocks)


def peak() -> int:
    """The largest resident size of this process so far, in bytes.

    From /proc where there is one: getrusage would count what the parent held at the fork.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else size * 1024


def summary(arrays: list[np.ndarray]) -> list[list[float]]:
    """Size, mean and root mean square of each array: equal for equal results in any layout."""
    result = []
    for array in arrays:
        wide = np.asarray(array, "float64")
        result.append([wide.size, float(wide.mean()), float(np.sqrt((wide * wide).mean()))])
    return result


class Worker:
    """Answers requests; holds the peer and a step in each slot."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.peer: Any = None
        self.steps: dict[str, Callable[[], Any]] = {}

    def start(self) -> dict[str, Any]:
        begin = time.perf_counter()
        importlib.import_module(self.spec["package"])
        took = time.perf_counter() - begin
        module = importlib.import_module(self.spec["module"])
        self.peer = module.Peer(self.spec["variant"], self.spec["threads"])
        package = self.spec["package"].partition(".")[0]
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "?"
        return {"versions": {package: version}, "import": took}

    def make(self, slot: str, kernel: str, arguments: list[Any], check: bool) -> dict[str, Any]:
        prepare = getattr(self.peer, kernel, None)
        if prepare is None:
            return {"failed": "not offered"}
        begin = time.perf_counter()
        step = self.steps[slot] = prepare(*arguments)
        result = step()
        answer: dict[str, Any] = {"first": time.perf_counter() - begin}
        if check:
            for _ in range(2):
                result = step()
            answer["digest"] = summary(self.peer.digest(result))
        return answer

    def time(self, slot: str, least: float) -> dict[str, Any]:
        seconds, calls = timed(self.steps[slot], least)
        return {"seconds": seconds, "calls": calls}

    def run(self, slot: str, calls: int) -> dict[str, Any]:
        for _ in range(calls):
            self.steps[slot]()
        return {}

    def peak(self) -> dict[str, Any]:
        return {"bytes": peak()}

    def drop(self, slot: str) -> dict[str, Any]:
        self.steps.pop(slot, None)
        gc.collect()
        return {}

    def serve(self, requests: TextIO, answers: TextIO) -> None:
        for line in requests:
            request = json.loads(line)
            try:
                answer = getattr(self, request.pop("do"))(**request)
            except Exception as error:
                traceback.print_exc()
                text = "".join(traceback.format_exception_only(error)).strip()
                answer = {"failed": text.splitlines()[0][:200]}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def main() -> None:
    spec = json.loads(sys.argv[1])
    if spec["cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec["cpus"])
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        Worker(spec).serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
