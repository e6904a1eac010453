"""What a run found, in words: the line of a row, and the page docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.cuda import report as gpu
from benchmarks.measure import LEFT_OUT
from benchmarks.subject import Row
from benchmarks.words import number

PAGE = """\
# Benchmarks

`make bench` writes this page, the pictures and `benchmarks/results.json`. The run: {date}, \
{minutes} minutes{quick}.

{machine}

{quiet}

## The bars

{bars}

![symgraph's time over the best peer's, row by row](benchmarks.svg)

## How it is measured

Each contender works in a process of its own, with {threads} threads on the same CPUs, all of \
them alive at once. A subject is prepared by everybody with the same numbers, and the results are \
compared. Then come {rounds} rounds: each contender in turn repeats its step for {least:.0f} ms \
and gives the median of its calls, another one first in each round. The tables show the medians \
of the rounds. Whoever is more than five times slower than the fastest sits out after two rounds. \
The **ratio** is symgraph's time over that of the fastest peer (in bold), the median over rounds; \
below 1 symgraph is faster. Training steps update the parameters in place and read the cost; data \
is in each framework's memory, in the layout it likes best. **Of limit** is the fraction of what \
the machine gave to anyone in the minutes before or after: FLOP a second of a float32 product of \
2048, or bytes a second of c = a + b over 200 MB (arrays below 20 MB stay in caches and have \
none). "-": not offered, or see below the table.

{families}
## The whole training

{training}

{cuda}"""


EXPECTED = ("not offered", LEFT_OUT)
"""Reasons that need no remark beside each row."""


# ---- the console


def line(row: Row, count: str = "") -> str:
    """A row for the console: symgraph, the best peer, the ratio and its range, limits, bars."""
    own, unit = row["median"].get("symgraph"), row["unit"]
    parts = [f"{count} {row['name']:52}", f"{number(own, unit) if own else '-':>9}"]
    if row["best_peer"]:
        low, high = row["ratio_range"]
        parts.append(f"{number(row['median'][row['best_peer']], unit):>9} {row['best_peer']:19}")
        parts.append(f"{row['ratio']:5.2f} ({low:.2f} to {high:.2f})")
    if "fraction" in row:
        parts.append(f"{row['fraction']:4.0%} of the {_roof(row)} limit")
    for name, factor in row["speed_up"].items():
        parts.append(f"{name} x{factor:.2f}")
    parts += [f"{b['bar']}: {b['value']} {'met' if b['met'] else 'MISSED'}" for b in row["bars"]]
    parts += remarks(row) + disturbances([row])
    return "  ".join(parts)


def remarks(row: Row) -> list[str]:
    """What a reader must know about a row: who is missing and why, what is unsteady."""
    found = [f"{name}: {why}" for name, why in row["reasons"].items() if why not in EXPECTED]
    found += [f"{name} differs: {why}" for name, why in row["disagree"].items()]
    if row["unsteady"]:
        found.append(f"unsteady: {', '.join(row['unsteady'])}")
    if "date" in row:
        found.append(f"measured apart, {row['date']}")
    return found


def disturbances(rows: list[Row]) -> list[str]:
    """How much of the machine others had during these rows, where that matters."""
    found = []
    for key, least, text in (
        ("others", 0.05, "others used {} of the machine"),
        ("stolen", 0.02, "{} stolen by the hypervisor"),
    ):
        shares = [row[key] for row in rows if row.get(key, 0) > least]
        if shares:
            most = f"{'up to ' * (len(shares) > 1)}{max(shares):.0%}"
            during = f", in {len(shares)} of {len(rows)} rows" if len(rows) > 1 else ""
            found.append(text.format(most) + during)
    return found


# ---- the page


def page(
    results: dict[str, Any],
    training: dict[str, Any] | None = None,
    cuda: dict[str, Any] | None = None,
) -> str:
    """docs/benchmarks.md as text."""
    families = [family(f) for f in results["families"]]
    return PAGE.format(
        date=results["date"], minutes=results["minutes"],
        quick=", in haste (`--quick`): slow peers left out" if results["effort"]["quick"] else "",
        threads=results["threads"],
        rounds=results["effort"]["rounds"], least=results["effort"]["least"] * 1e3,
        machine=machine(results), quiet=quiet(results), bars=bars(results, training),
        families="\n".join(families), training=trained(training),
        cuda=gpu.section(cuda),
    )  # fmt: skip


def machine(results: dict[str, Any]) -> str:
    """The machine, its limits and the versions, as a list."""
    m = results["machine"]
    caches = ", ".join(f"{name} {size}" for name, size in m.get("caches", {}).items())
    known = {"family, model, stepping": "family {}", "vectors": "{}", "hypervisor": "virtual"}
    about = [m["cpu"], *(text.format(m[key]) for key, text in known.items() if key in m)]
    lines = [
        f"* {', '.join(about)}; {m['cpus']} CPUs, {results['threads']} used; caches {caches}; "
        f"{m.get('memory', '?')} GiB; {m['system']}, Python {m['python']}",
    ]
    for key, text in (("flops", "FLOP/s, float32 product of 2048"), ("bytes", "B/s, c = a + b")):
        found: dict[str, list[float]] = {}
        rows = [row for f in results["families"] for row in f["rows"] if "limits" in row]
        for row in (row for row in rows if bool(row["flops"]) == (key == "flops")):
            for name, value in row["limits"].items():
                found.setdefault(name, []).append(value / 1e9)
        if found:
            ranges = (f"{n} {min(v):.0f} to {max(v):.0f}" for n, v in found.items())
            lines.append(f"* throughout the run, G{text}: {', '.join(ranges)}")
    versions = ", ".join(f"{k} {v}" for k, v in sorted(results["versions"].items()))
    lines.append(f"* {versions}")
    lines += [f"* **{name} is missing**: {why}" for name, why in results["absent"].items()]
    return "\n".join(lines)


def quiet(results: dict[str, Any]) -> str:
    """Was anyone else using the machine?"""
    if results["complaints"]:
        return "**The machine was not quiet.** " + " ".join(results["complaints"])
    return "The machine was quiet: nobody else used it, and its clock was steady."


def bars(results: dict[str, Any], training: dict[str, Any] | None) -> str:
    """Every bar of the design beside what was measured."""
    lines = ["| what | bar | measured | |", "|---|---|---|---|"]
    found = [(r["name"], b) for f in results["families"] for r in f["rows"] for b in r["bars"]]
    found += [("tutorial's whole training", b) for b in trained_bars(training)]
    for name, bar in found:
        verdict = "met" if bar["met"] else "**missed**"
        lines.append(f"| {name} | {bar['bar']} | {bar['value']} | {verdict} |")
    return "\n".join(lines)


def family(found: dict[str, Any]) -> str:
    """One section: a table, and remarks below it."""
    rows = found["rows"]
    if not rows:
        return ""
    present = {name for row in rows for name in [*row["median"], *row["reasons"]]}
    names = [n for n in CONTENDERS if n in present and not n.endswith(", 1 thread")]
    compared = any(row["ratio"] is not None for row in rows)
    limited = any("fraction" in row for row in rows)
    head = ["", *names, *["ratio"] * compared, *["of limit"] * limited]
    lines = [f"## {found['title']}", "", found["text"], ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["name"], *(_cell(row, name) for name in names)]
        if compared:
            cells.append("-" if row["ratio"] is None else f"{row['ratio']:.2f}")
        if limited:
            cells.append(_limit(row))
        lines.append("| " + " | ".join(cells) + " |")
    notes = _notes(rows)
    if notes:
        lines += ["", *(f"* {note}" for note in notes)]
    if found["key"] == "compiling":
        lines += ["", "![Seconds to compile against the number of nodes](benchmarks-compile.svg)"]
    return "\n".join(lines) + "\n"


def _cell(row: Row, name: str) -> str:
    if name not in row["median"]:
        return "-"
    text = number(row["median"][name], row["unit"])
    text = f"**{text}**" if name == row["best_peer"] else text
    return f"{text}, x{row['speed_up'][name]:.2f}" if name in row["speed_up"] else text


def _limit(row: Row) -> str:
    return f"{row['fraction']:.0%} {_roof(row)}" if "fraction" in row else "-"


def _roof(row: Row) -> str:
    return "FLOP" if row["flops"] else "memory"


def _notes(rows: list[Row]) -> list[str]:
    """Remarks of all rows, equal ones together."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for remark in remarks(row):
            found.setdefault(remark, []).append(row["name"])
    return [
        f"{remark} ({'all rows' if len(names) == len(rows) > 1 else '; '.join(names)})"
        for remark, names in found.items()
    ] + disturbances(rows)


# ---- the 200 epochs


def trained_bars(training: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The two bars of the whole training, judged; none before it has been run."""
    if training is None:
        return []
    minutes, error = training["minutes"], training["test_error"]
    return [
        {"bar": "under 32.5 min", "value": f"{minutes:.1f} min", "met": minutes < 32.5},
        {"bar": "test error at most 0.95 %", "value": f"{error:.2f} %", "met": error <= 0.95},
    ]


def trained(training: dict[str, Any] | None) -> str:
    """The record in benchmarks/training.json, one line per entry.

    `minutes` and `test_error` (in percent) are required; other entries are shown as they are.
    """
    if training is None:
        return "Not run yet: `benchmarks/training.json` will hold its record."
    names = {"minutes": "minutes", "test_error": "test error, percent"}
    lines = ["| | |", "|---|---|"]
    lines += [f"| {names.get(key, key.replace('_', ' '))} | {v} |" for key, v in training.items()]
    return "\n".join(lines)
