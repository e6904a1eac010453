"""A whole run: family by family, a line per row."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from benchmarks import machine, measure
from benchmarks.crew import Crew
from benchmarks.report import line
from benchmarks.subject import Family, Row
from benchmarks.subjects import FAMILIES


def say(text: str) -> None:
    """A line of progress that the next one overwrites, where someone is watching."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:100]}")
        sys.stderr.flush()


def run(families: list[Family], crew: Crew, effort: measure.Effort) -> dict[str, Any]:
    """Measure and print; returns what the JSON file holds."""
    begin, load = time.time(), machine.load()
    total, done = sum(len(f.subjects) for f in families), 0
    results: list[dict[str, Any]] = []

    for family in families:
        sys.stdout.write(f"\n{family.title}\n")
        subjects = [s for s in family.subjects if not (s.slow and effort.quick)]
        rows: list[Row] = []
        for subject in subjects:
            rows.append(measure.measure(subject, crew, effort, say))
            measure.growth(rows[-1], rows[-2] if len(rows) > 1 else None)
            rows[-1]["bars"] = [v for bar in subject.bars if (v := bar.judge(rows[-1]))]
            say("")
            sys.stdout.write(line(rows[-1], f"[{done + len(rows):3}/{total}]") + "\n")
            sys.stdout.flush()
        done += len(family.subjects)
        results.append(
            {"key": family.key, "title": family.title, "text": family.text, "rows": rows}
        )
    all_rows = [row for result in results for row in result["rows"]]
    shares = [(row["others"], row["stolen"]) for row in all_rows if "others" in row]
    peaks = [max(row["limits"].values()) for row in all_rows if row["flops"] and row.get("limits")]
    return {
        "format": 1,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "minutes": round((time.time() - begin) / 60, 1),
        "effort": asdict(effort),
        "machine": machine.describe(),
        "threads": machine.THREADS,
        "versions": crew.versions,
        "absent": crew.absent,
        "load": load,
        "complaints": machine.complaints(
            load, [o for o, _ in shares], [s for _, s in shares], [peak / 1e9 for peak in peaks]
        ),
        "families": results,
    }  # fmt: skip


def merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """`earlier` results with the rows of a `later` run of some subjects, which say when that was.

    Rows of the same name are replaced; others come where `FAMILIES` has them. What `earlier` says
    of the machine and of its own run stays.
    """
    found = {name: row for f in earlier["families"] for name, row in _rows(f)}
    found |= {
        name: row | {"date": later["date"]} for f in later["families"] for name, row in _rows(f)
    }
    known = {f["key"]: f for f in (*earlier["families"], *later["families"])}
    families = []
    for family in FAMILIES:
        if family.key in known:
            rows = [found[s.name] for s in family.subjects if s.name in found]
            families.append(known[family.key] | {"rows": rows})
    return {
        **earlier,
        "versions": {**earlier["versions"], **later["versions"]},
        "absent": {**later["absent"], **earlier["absent"]},
        "families": families,
    }


def _rows(family: dict[str, Any]) -> list[tuple[str, Row]]:
    return [(row["name"], row) for row in family["rows"]]
