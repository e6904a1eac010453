"""What a run on a GPU found, in words: lines as it goes, and a section of docs/benchmarks.md."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.cuda.subjects import CONTENDERS, EPOCHS, SUBJECTS, Bar, Row, Subject
from benchmarks.words import digits, number

Rows = dict[str, dict[str, Row]]
"""By subject, by contender."""

NOT_RUN = """\
Not measured: no GPU was at hand when this page was written. `make bench-cuda` measures on a \
machine that has one, and writes this section."""
METHOD = """\
`make bench-cuda` writes this section. Each contender has a process of its own and float32 without \
TF32. Times are the device's, between two events around blocks of calls ({blocks} blocks of \
{least:.0f} ms or more, the median); JAX's are the clock's for such a block. The ratio is \
symgraph's time over the fastest peer's of the same run; below 1 symgraph is faster. Shares are of \
the device's float32 peak ({peak:.1f} TFLOP/s: multiprocessors, lanes, clock), or bytes a second."""
ESTIMATE = """\
### The step's kernels, on paper

An **estimate**: nothing here was run. The kernels of a LeNet step of batch {batch}, compiled for \
{arch} and assembled. Instructions are counted as they stand in the code, however often they run. \
FLOP are those of the operation (two for a multiply-add); bytes are its operands, each once. The \
time is the larger of FLOP at {share:.0%} of {peak:.1f} TFLOP/s and bytes at {memory:.1f} TB/s, \
and {start} for starting a kernel."""


# ---- as it goes


def line(contender: str, subject: str, row: Row, device: Row) -> str:
    """What one contender gave."""
    return f"{subject:44} {contender:14} {told(subject_of(subject), row, device)}"


def subject_of(name: str) -> Subject:
    """The subject of that name; an empty one for those of tests."""
    return next((s for s in SUBJECTS if s.name == name), Subject(name, ""))


def told(subject: Subject, row: Row, device: Row) -> str:
    """A row in words."""
    if "failed" in row:
        return f"FAILED: {row['failed']}"
    if "versions" in row:
        return ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    if "error" in row:
        return f"largest error {row['error']:.1e}"
    if "kernels" in row:
        whole = sum(kernel["device"] for kernel in row["kernels"])
        return f"{len(row['kernels'])} kernels, {number(whole)} in all"
    parts = [number(row["device"]), share(subject, row, device)]
    if "wall" in row:
        parts.append(f"waited for: {number(row['wall'])}")
    return "  ".join(filter(None, parts))


def share(subject: Subject, row: Row, device: Row) -> str:
    """What of the device's peak a row reached, or bytes a second."""
    if "device" not in row or not (subject.flops or subject.bytes):
        return ""
    if subject.flops:
        rate = subject.flops / row["device"]
        peak = f" ({rate / device['peak']:.0%})" if device.get("peak") else ""
        return f"{rate / 1e12:.2f} TFLOP/s{peak}"
    return f"{subject.bytes / row['device'] / 1e9:,.0f} GB/s"


# ---- bars


def judged(rows: Rows, device: Row) -> Iterator[tuple[str, str, str, bool]]:
    """(subject, bar, value, whether it is met) of all that was measured."""
    for subject in SUBJECTS:
        for bar in subject.bars:
            found = _value(bar, subject, rows.get(subject.name, {}), device)
            if found is not None:
                met = (operator.ge if bar.least else operator.le)(found, bar.limit)
                side = "at least" if bar.least else "at most"
                text = f"{side} {_written(bar, bar.limit)}"
                yield subject.name, text, _written(bar, found), bool(met)


def _value(bar: Bar, subject: Subject, rows: dict[str, Row], device: Row) -> float | None:
    own = rows.get("symgraph", {})
    if bar.value == "error":
        return own.get("error")
    seconds = own.get("device")
    if seconds is None:
        return None
    if bar.value == "ratio":
        other = rows.get(bar.against, {}).get("device")
        return None if other is None else float(seconds / other)
    if bar.value == "peak":
        peak = device.get("peak")
        return float(subject.flops / seconds / peak) if peak else None
    return float(seconds) * (EPOCHS if bar.value == "total seconds" else 1)


def _written(bar: Bar, value: float) -> str:
    words = {
        "error": f"{value:.1e}", "ratio": f"{value:.2f} of {bar.against}",
        "peak": f"{value:.0%} of the peak", "seconds": number(value),
        "total seconds": f"{value:.1f} s for {EPOCHS} epochs",
    }  # fmt: skip
    return words[bar.value]


# ---- the section


def section(found: dict[str, Any] | None) -> str:
    """The section of docs/benchmarks.md of what benchmarks/cuda.json holds."""
    found = found or {}
    run, estimate = found.get("run"), found.get("estimate")
    parts = ["## On a GPU", _run(run) if run else NOT_RUN]
    if estimate:
        parts.append(paper(estimate))
    return "\n\n".join(parts) + "\n"


def _run(run: dict[str, Any]) -> str:
    device, rows = run["device"], run["rows"]
    versions = ", ".join(f"{name} {v}" for name, v in sorted(run["versions"].items()))
    parts = [
        f"{device['name']}, {device['arch']}, {device['multiprocessors']} multiprocessors at "
        f"{device['clock'] / 1e9:.2f} GHz, driver for CUDA {device['driver']}; {run['date']}, "
        f"{run['minutes']} minutes; {versions}",
        METHOD.format(**run["effort"] | {"least": run["effort"]["least"] * 1e3},
                      peak=device["peak"] / 1e12),
    ]  # fmt: skip
    parts += [f"* **{name} is missing**: {why}" for name, why in run["absent"].items()]
    bars = [(n, b, v, "met" if met else "**missed**") for n, b, v, met in judged(rows, device)
            if not n.startswith("check: ")]  # fmt: skip
    parts += [_table(("what", "bar", "measured", ""), bars), _checks(rows)]
    timed = [s for s in SUBJECTS if s.how in ("time", "first", "first again") and s.name in rows]
    names = [c for c in CONTENDERS if any(c in rows[s.name] for s in timed)]
    parts.append(_table(
        ("", *names, "ratio", "share"),
        [(s.name, *(_time(rows[s.name].get(c)) for c in names), _ratio(rows[s.name]),
          share(s, rows[s.name].get("symgraph", {}), device)) for s in timed],
    ))  # fmt: skip
    waited = [s for s in timed if s.kernel == "lenet_step" and s.how == "time"]
    if waited:
        parts.append("With the cost of each step read before the next:")
        parts.append(_table(
            ("", *names),
            [(s.name, *(_time(rows[s.name].get(c), "wall") for c in names)) for s in waited],
        ))  # fmt: skip
    for subject in (s for s in SUBJECTS if s.how == "kernels"):
        kernels = rows.get(subject.name, {}).get("symgraph", {}).get("kernels", [])
        if kernels:
            parts.append(f"### {subject.name}")
            parts.append(_table(
                ("kernel", "blocks", "threads", "time"),
                [(k["what"], k["blocks"], k["threads"], number(k["device"])) for k in kernels],
            ))  # fmt: skip
    failed = [f"* {subject}, {contender}: {row['failed']}" for subject, by in rows.items()
              for contender, row in by.items() if "failed" in row]  # fmt: skip
    parts += ["\n".join(failed)] * bool(failed)
    for name, text in run.get("sanitizer", {}).items():
        if not name.endswith(" found"):
            parts.append(f"* compute-sanitizer, {name}: {text}")
    return "\n\n".join(parts)


def _checks(rows: Rows) -> str:
    """One sentence on the families of kernels."""
    checks = {n: by["symgraph"] for n, by in rows.items() if n.startswith("check: ")}
    wrong = [name.partition(": ")[2] for name, row in checks.items()
             if not row.get("error", float("nan")) <= 1e-4]  # fmt: skip
    errors = [row["error"] for row in checks.values() if "error" in row]
    verdict = f"**wrong**: {', '.join(wrong)}" if wrong else "all right"
    largest = f", largest error {max(errors):.1e} of the largest value" if errors else ""
    return f"{len(checks)} families of kernels against NumPy in float64: {verdict}{largest}."


def _time(row: Row | None, key: str = "device") -> str:
    return number(row[key]) if row and key in row else "-"


def _ratio(by: dict[str, Row]) -> str:
    peers = [row["device"] for name, row in by.items() if name != "symgraph" and "device" in row]
    own = by.get("symgraph", {}).get("device")
    return f"{own / min(peers):.2f}" if own and peers else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def paper(found: dict[str, Any]) -> str:
    """The table of an estimate (benchmarks.cuda.estimate)."""
    rows = []
    for k in found["kernels"]:
        needs = ("-" if k[key] is None else k[key] for key in ("registers", "spills", "shared"))
        mix = f"{k['ffma']}, {k['memory']}, {k['other']}"
        work = digits(k["flops"] / 1e6) if k["flops"] else "-", digits(k["bytes"] / 1e6)
        launch = f"{k['blocks']} x {k['threads']}"
        rows.append((k["what"], launch, *needs, mix, *work, number(k["seconds"])))
    total = sum(k["seconds"] for k in found["kernels"])
    head = (
        "kernel", "blocks", "registers", "spills", "shared", "FMA, memory, other", "MFLOP", "MB",
        "estimate",
    )  # fmt: skip
    about = {key: found[key] / 1e12 for key in ("peak", "memory")}
    text = ESTIMATE.format(**{**found, **about, "start": number(found["start"])})
    return "\n\n".join((text, _table(head, rows), f"In all, estimated: {number(total)} a step."))
