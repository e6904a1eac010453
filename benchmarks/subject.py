"""What a subject and a bar are; the subjects themselves are in `benchmarks.subjects`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.words import number

Row = dict[str, Any]
"""What was measured of one subject, as the JSON file has it; `benchmarks.measure` makes it."""

_WORDS: dict[str, tuple[Callable[[float], str], str]] = {
    "ratio": ("{:.2f}".format, "of the best peer"),
    "seconds": (number, ""),
    "fraction": ("{:.0%}".format, "of the limit"),
    "growth": ("{:.2f}".format, "of the time per node of a graph a tenth as large"),
}


@dataclass(frozen=True)
class Bar:
    """A bar of the design: `key` of a row is at most (or `least`: at least) `limit`.

    Keys: ratio (symgraph / best peer; `against`: only peers whose name begins so), seconds,
    fraction (of the machine's limit), growth (seconds per node, over those of the row before).
    """

    key: str
    limit: float
    least: bool = False
    against: str = ""

    def judge(self, row: Row) -> dict[str, Any] | None:
        """{"bar", "value", "met"}, the first two in words; None where nothing was measured."""
        value = self._value(row)
        if value is None:
            return None
        form, of = _WORDS[self.key]
        of = f"of the best {self.against}" if self.against else of
        side = "at least" if self.least else "at most"
        met = (operator.ge if self.least else operator.le)(value, self.limit)
        bar = f"{side} {form(self.limit)} {of}".strip()
        return {"bar": bar, "value": form(value), "met": bool(met)}

    def _value(self, row: Row) -> float | None:
        own: float | None = row["median"].get("symgraph")
        if self.key == "seconds" or own is None:
            return own
        if self.key == "ratio":
            peers = [v for name, v in row["median"].items() if is_peer(name, self.against)]
            if not peers:
                return None
            return own / min(peers) if self.against else float(row["ratio"])
        value: float | None = row.get(self.key)
        return value


def is_peer(name: str, beginning: str = "") -> bool:
    """Is this one of the peers that ratios are taken against?"""
    contender = CONTENDERS[name]
    return (
        not contender.own
        and not contender.reference
        and contender.threads > 1
        and name.startswith(beginning)
    )


@dataclass(frozen=True)
class Subject:
    """One row: `kernel` of `benchmarks.peers`, called with `arguments`.

    `how`: "steady" (time per call, interleaved), or, each in a new process, "cold" (first call,
    empty caches), "warm" (first call, full caches), "import", "peak" (resident size after 20
    calls). `flops` and `bytes`: the least work of one call, for the fraction of the machine's
    limit. `memory`: bytes that all contenders together need. `slow`: left out by --quick.
    `contenders`: names; None means all that have the kernel. `scale`: nodes, for growth.
    """

    name: str
    kernel: str = ""
    arguments: tuple[Any, ...] = ()
    how: str = "steady"
    flops: float = 0
    bytes: float = 0
    memory: float = 0
    slow: bool = False
    scale: int = 0
    bars: tuple[Bar, ...] = ()
    contenders: tuple[str, ...] | None = None

    def entrants(self) -> list[Contender]:
        """Who is measured: by default two threads each, no mere reference."""
        if self.contenders is not None:
            return [CONTENDERS[name] for name in self.contenders]
        return [
            c for c in CONTENDERS.values()
            if c.threads > 1 and not c.reference
            and (c.kernels is None or not self.kernel or self.kernel in c.kernels)
        ]  # fmt: skip


@dataclass(frozen=True)
class Family:
    """Subjects that share a table. `key` is what --only takes, `text` goes above the table."""

    key: str
    title: str
    text: str
    subjects: tuple[Subject, ...]

    def only(self, wanted: Iterable[str]) -> Family:
        """The part whose key, or whose subjects' names, contain one of the words."""
        words = [word.strip().lower() for word in wanted]
        if any(word == self.key for word in words):
            return self
        chosen = [s for s in self.subjects if any(word in s.name.lower() for word in words)]
        return replace(self, subjects=tuple(chosen))
