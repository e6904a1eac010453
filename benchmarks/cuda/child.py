"""One contender in a process of its own: `python -m benchmarks.cuda.child CONTENDER`.

Standard input: a JSON list of subjects. Standard output: a line of JSON before each, {"begin":
name}, and one after it, {"end": name} with what was found or {"failed": why}. Whatever a library
prints goes to standard error. A fault of a kernel ends all use of the device in the process that
made it: whoever asked goes on with a new one.

Found of "time": `device`, seconds per call between two events, the median of many blocks of calls,
`spread`, their 10th and 90th percentile, `wall`, seconds of a call whose result is waited for
(median), `first`, seconds of making the step and its first call. Of "check": `error`, the largest
difference over the largest value. Of "kernels": `kernels`, a list of {what, blocks, threads,
device}, in order.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.cuda.subjects import Row, Subject

MODULES = {
    "symgraph": ("benchmarks.cuda.symgraph", ""),
    "torch": ("benchmarks.cuda.torch", "eager"),
    "torch.compile": ("benchmarks.cuda.torch", "compiled"),
    "JAX": ("benchmarks.cuda.jax", ""),
}


@dataclass(frozen=True)
class Effort:
    """How hard to look: blocks of calls, seconds that one takes at least, calls waited for."""

    blocks: int = 25
    least: float = 2e-3
    walls: int = 100


def measure(peer: Any, subject: Subject, effort: Effort) -> Row:
    """What `peer` gives for a subject."""
    made = getattr(peer, subject.kernel)
    if subject.how == "check":
        return {"error": float(made(*subject.arguments))}
    if subject.how == "kernels":
        runs = list(made(*subject.arguments))
        return {"kernels": [what | {"device": timed(peer, run, effort)[0]} for what, run in runs]}
    begin = time.perf_counter()
    step = made(*subject.arguments)
    peer.wait(step())
    first = time.perf_counter() - begin
    if subject.how.startswith("first"):
        return {"device": first}
    for _ in range(3):  # a second call makes the graph, further ones find it made
        peer.wait(step())
    device, spread = timed(peer, step, effort)
    walls: list[float] = []
    while len(walls) < effort.walls and sum(walls) < 2.0:
        begin = time.perf_counter()
        peer.wait(step())
        walls.append(time.perf_counter() - begin)
    return {"device": device, "spread": spread, "wall": float(np.median(walls)), "first": first}


def timed(peer: Any, step: Callable[[], Any], effort: Effort) -> tuple[float, list[float]]:
    """Seconds per call on the device: the median of blocks, their 10th and 90th percentile."""
    once = max(peer.events(step, 1), 1e-7)
    count = max(1, min(1000, int(effort.least / once)))
    enough = max(3, min(effort.blocks, int(10.0 / (once * count))))
    blocks = [peer.events(step, count) / count for _ in range(min(enough, effort.blocks))]
    return float(np.median(blocks)), [float(q) for q in np.quantile(blocks, (0.1, 0.9))]


def serve(
    peer: Any, subjects: Sequence[Subject], effort: Effort, tell: Callable[[Row], None]
) -> None:
    """Measure them all; `tell` is called before and after each."""
    for subject in subjects:
        tell({"begin": subject.name})
        try:
            tell({"end": subject.name, **measure(peer, subject, effort)})
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip().splitlines() or [""]
            failed = f"{type(error).__name__}: {text[0]}"[:200]
            tell({"end": subject.name, "failed": failed})


def main(arguments: Sequence[str]) -> None:
    module, variant = MODULES[arguments[0]]
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def tell(row: Row) -> None:
            answers.write(json.dumps(row) + "\n")
            answers.flush()

        asked = json.load(sys.stdin)
        try:
            peer = importlib.import_module(module).Peer(variant)
            tell({"begin": "start"})
            tell({"end": "start", "versions": peer.versions()})
        except Exception as error:
            traceback.print_exc()
            tell({"end": "start", "failed": f"{type(error).__name__}: {error}".splitlines()[0]})
            return
        subjects = [Subject(**{**one, "bars": ()}) for one in asked["subjects"]]
        serve(peer, subjects, Effort(**asked["effort"]), tell)


def request(subjects: Sequence[Subject], effort: Effort) -> str:
    """What `main` reads."""
    return json.dumps({"subjects": [asdict(s) for s in subjects], "effort": asdict(effort)})


if __name__ == "__main__":
    main(sys.argv[1:])
