"""One row: everybody prepares, then interleaved rounds; medians, ratios, what disturbed them."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.contenders import CONTENDERS
from benchmarks.crew import Crew, Failed, Hand
from benchmarks.limits import limits
from benchmarks.subject import Row, Subject, is_peer

PAUSE = 0.015
"""Between turns: the last contender's threads go to sleep."""

LEFT_OUT = "left out by --quick"

HOPELESS = 5.0
"""Whoever is so many times slower than the fastest sits out after two rounds."""


@dataclass(frozen=True)
class Effort:
    """How hard to look: rounds, seconds per turn, seconds for repeating what starts a process."""

    rounds: int = 7
    least: float = 0.05
    repeat: float = 5.0
    quick: bool = False


Say = Callable[[str], None]


def measure(subject: Subject, crew: Crew, effort: Effort, say: Say = lambda text: None) -> Row:
    """The row of a subject: see `row` for what it holds."""
    reasons = {
        c.name: LEFT_OUT if c.slow and effort.quick else crew.absent.get(c.name, "")
        for c in subject.entrants()
        if c.name in crew.names
    }
    if subject.memory > 0.8 * machine.free_memory():
        reasons = dict.fromkeys(reasons, f"needs {subject.memory / 2**30:.0f} GiB of free memory")
    if subject.how != "steady":
        values = _in_new_processes(subject, crew, reasons, effort, say)
        return row(subject, values, reasons)
    digests = _prepare(subject, crew, reasons, say)
    earlier, before = limits(crew, subject), machine.Ticks.now(crew.pids())
    rounds = _interleaved(crew, reasons, effort, say)
    after, later = machine.Ticks.now(crew.pids()), limits(crew, subject)
    result = row(subject, rounds, reasons, digests)
    rate(result, {name: max(earlier.get(name, 0.0), later[name]) for name in later})
    if before is not None and after is not None:
        result["others"] = round(after.others(before), 3)
        result["stolen"] = round(after.stolen_share(before), 3)
    for name in rounds:
        with suppress(Failed):
            crew.hand(name).drop()
    return result


def _prepare(subject: Subject, crew: Crew, reasons: dict[str, str], say: Say) -> dict[str, Any]:
    """Everybody makes the step; who cannot gets a reason. Returns digests of the results."""
    digests = {}
    for name in [name for name, reason in reasons.items() if not reason]:
        say(f"{subject.name}: {name} prepares")
        try:
            answer = crew.hand(name).make(subject.kernel, subject.arguments, check=True)
            digests[name] = answer["digest"]
        except Failed as error:
            reasons[name] = str(error)
    return digests


def _interleaved(
    crew: Crew, reasons: dict[str, str], effort: Effort, say: Say
) -> dict[str, list[float | None]]:
    """Seconds by contender and round, None where it sat out; another one begins each round."""
    names = [name for name, reason in reasons.items() if not reason]
    rounds: dict[str, list[float | None]] = {name: [] for name in names}
    for number in range(effort.rounds):
        shift = number % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            if reasons[name] or (number >= 2 and hopeless(name, rounds)):
                rounds[name].append(None)
                continue
            say(f"round {number + 1} of {effort.rounds}: {name}")
            time.sleep(PAUSE)
            try:
                rounds[name].append(crew.hand(name).time(effort.least))
            except Failed as error:
                reasons[name] = str(error)
                rounds[name].append(None)
    return {name: times for name, times in rounds.items() if not reasons[name]}


def hopeless(name: str, rounds: dict[str, list[float | None]]) -> bool:
    """Was a peer, at its best, `HOPELESS` times slower than the fastest?"""
    best = {k: min((t for t in times if t), default=0.0) for k, times in rounds.items()}
    return name != "symgraph" and best[name] > HOPELESS * min(t for t in best.values() if t)


# ---- what starts a process


def _in_new_processes(
    subject: Subject, crew: Crew, reasons: dict[str, str], effort: Effort, say: Say
) -> dict[str, list[float | None]]:
    """Values by contender, each from a new process: at most `rounds`, at least one, within
    `repeat` seconds. What a cold call leaves in its caches serves the warm ones."""
    values: dict[str, list[float | None]] = {}
    for name in [name for name, reason in reasons.items() if not reason]:
        say(f"{subject.name}: {name}")
        caches = crew.scratch / name / subject.kernel
        begin, found = time.perf_counter(), list[float | None]()
        try:
            if subject.how == "warm" and not caches.exists():
                once(subject, crew, name, caches)
            while len(found) < effort.rounds:
                if subject.how == "cold":
                    shutil.rmtree(caches, ignore_errors=True)
                found.append(once(subject, crew, name, caches))
                if time.perf_counter() - begin > effort.repeat:
                    break
            values[name] = found
        except Failed as error:
            reasons[name] = str(error)
    return values


def once(subject: Subject, crew: Crew, name: str, caches: Path) -> float:
    """Seconds, or bytes, of one new process. Raises Failed."""
    hand = Hand(CONTENDERS[name], caches)
    crew.versions |= hand.versions
    try:
        if subject.how == "import":
            return hand.import_seconds
        made = hand.make(subject.kernel, subject.arguments)
        if subject.how != "peak":
            return float(made["first"])
        hand.run(20)
        return float(hand.ask(10, do="peak")["bytes"])
    finally:
        hand.close()


# ---- statistics


def row(
    subject: Subject,
    rounds: dict[str, list[float | None]],
    reasons: dict[str, str],
    digests: dict[str, Any] | None = None,
) -> Row:
    """What one subject gave: `median` by contender, `best_peer`, `ratio` (median over rounds of
    symgraph / best peer in the same round) and its range, `reasons` for who is missing,
    `unsteady` contenders, `disagree` (whose results are others than symgraph's)."""
    median = {
        name: statistics.median(t for t in times if t is not None)
        for name, times in rounds.items()
        if any(t is not None for t in times)
    }
    result: Row = {
        "name": subject.name, "unit": "bytes" if subject.how == "peak" else "s",
        "median": median, "rounds": rounds, "best_peer": None, "ratio": None,
        "ratio_range": None, "flops": subject.flops, "bytes": subject.bytes,
        "unsteady": [n for n, times in rounds.items() if spread(times) > 1.25],
        "disagree": disagreements(digests or {}), "scale": subject.scale,
        "bars": [], "reasons": {name: why for name, why in reasons.items() if why},
    }  # fmt: skip
    peers = {name: value for name, value in median.items() if is_peer(name)}
    if peers and "symgraph" in median:
        best = min(peers, key=lambda name: peers[name])
        pairs = [
            own / other
            for own, other in zip(rounds["symgraph"], rounds[best], strict=False)
            if own and other
        ] or [median["symgraph"] / median[best]]
        result["best_peer"] = best
        result["ratio"] = statistics.median(pairs)
        result["ratio_range"] = [min(pairs), max(pairs)]
    alone = [name for name in median if name.endswith(", 1 thread")]
    result["speed_up"] = {
        name.removesuffix(", 1 thread"): median[name] / median[name.removesuffix(", 1 thread")]
        for name in alone
        if name.removesuffix(", 1 thread") in median
    }
    return result


def spread(times: list[float | None]) -> float:
    """The third quartile over the first, 1 for a steady contender."""
    known = sorted(t for t in times if t is not None)
    if len(known) < 4:
        return 1.0
    first, _, third = statistics.quantiles(known, n=4, method="inclusive")
    return third / first


def disagreements(digests: dict[str, Any], tolerance: float = 2e-3) -> dict[str, str]:
    """Who computed something else than the first contender: size, mean or root mean square of a
    result differ by more than `tolerance` of the root mean square."""
    found: dict[str, str] = {}
    if not digests:
        return found
    (_, want), *rest = digests.items()
    for name, got in rest:
        if len(got) != len(want):
            found[name] = f"{len(got)} results instead of {len(want)}"
            continue
        for (n, mean, rms), (n0, mean0, rms0) in zip(got, want, strict=True):
            if n != n0 or not abs(mean - mean0) + abs(rms - rms0) <= tolerance * rms0 + 1e-7:
                found[name] = f"mean {mean:.6g} of {n:.0f}, not {mean0:.6g} of {n0:.0f}"
    return found


# ---- fractions of the machine's limits


def rate(row: Row, limits: dict[str, float]) -> None:
    """Add `rate` (FLOP or bytes a second of symgraph), `limits` and `fraction` of the highest.

    Arrays below 20 MB stay in caches: their rate is no fraction of the memory's.
    """
    own, key = row["median"].get("symgraph"), "flops" if row["flops"] else "bytes"
    if not own or not row[key]:
        return
    row["rate"], row["limits"] = row[key] / own, limits
    if limits and (key == "flops" or row["bytes"] >= 2e7):
        row["fraction"] = row["rate"] / max(limits.values())


def growth(row: Row, earlier: Row | None) -> None:
    """Add `growth`: seconds per node over those of the smaller graph before it."""
    own = row["median"].get("symgraph")
    before = earlier["median"].get("symgraph") if earlier else None
    if earlier and own and before and row["scale"] > earlier["scale"] > 0:
        row["growth"] = own / row["scale"] / (before / earlier["scale"])
