"""symgraph on an NVIDIA GPU, beside PyTorch and JAX where they are installed, in one run.

Every family of kernels is compared with NumPy first; then come products, convolutions, copies, the
tutorial's LeNet step, whole and kernel by kernel, training against float64 on the CPU, an epoch of
the tutorial, and the first step of a new process. It takes some minutes, at most nine; figures are
printed, and written to --json, as they come. Without a GPU there is --estimate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.cuda import report
from benchmarks.cuda.child import Effort
from benchmarks.cuda.run import command, run, sanitize
from benchmarks.cuda.subjects import CONTENDERS, SUBJECTS, Row, Subject

EXAMPLES = """\
examples:
  make bench-cuda                                   everything, into docs/benchmarks.md
  python -m benchmarks.cuda --only check            every family of kernels against NumPy
  python -m benchmarks.cuda --only "lenet,gemm" --peers torch
  python -m benchmarks.cuda --python /usr/bin/python3      the peers that this Python has
  python -m benchmarks.cuda --sanitize              compute-sanitizer's memcheck and racecheck
  python -m benchmarks.cuda --estimate --docs docs  no GPU: what the step's kernels need
"""
FILE = Path(__file__).parent.with_name("cuda.json")
SANITIZED = "memcheck", "racecheck"
_CLOCK = 13  # CU_DEVICE_ATTRIBUTE_CLOCK_RATE, kHz
_LANES = {(7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}
"""Float32 lanes of a multiprocessor, where they are not 128 (CUDA Programming Guide, "Arithmetic
Instructions")."""


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cuda", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--only", metavar="WORDS", help="subjects with one of these words in their name")
    add("--peers", metavar="NAMES", help=f"of {', '.join(CONTENDERS[1:])}; with commas")
    add("--python", default="", metavar="FILE", help="the interpreter that has torch and jax")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="where figures go; default: benchmarks/cuda.json, if all is measured",
    )
    add("--docs", type=Path, metavar="FOLDER", help="also write the page benchmarks.md here")
    add("--sanitize", action="store_true", help="run the checks in compute-sanitizer instead")
    add("--estimate", action="store_true", help="without a GPU: registers, work and time on paper")
    return parser


def about() -> Row:
    """The first GPU: name, arch, multiprocessors, clock (Hz), memory (bytes), driver, and peak,
    the float32 FLOP a second that this makes. Raises NoGPU."""
    from symgraph.compile.cuda.libcuda import device

    there = device()
    clock = 1e3 * there.use().number("cuDeviceGetAttribute", _CLOCK, there._handle)
    lanes = _LANES.get(there.capability, 128)
    found = {
        "name": there.name, "arch": there.arch, "multiprocessors": there.multiprocessors,
        "clock": clock, "memory": there.memory, "peak": 2 * lanes * there.multiprocessors * clock,
        "driver": "{}.{}".format(*there.driver_version),
    }  # fmt: skip
    there.close()  # the memory is for those that measure
    return found


def selected(only: str | None) -> list[Subject]:
    """The subjects that `--only` names."""
    words = [word.strip().lower() for word in (only or "").split(",")]
    return [s for s in SUBJECTS if any(word in s.name.lower() for word in words)]


def measured(
    device: Row, subjects: list[Subject], contenders: list[str], effort: Effort, python: str,
    keep: Callable[[Row], None], starts: Callable[..., list[str]] = command,
) -> Row:  # fmt: skip
    """A whole run; `keep` gets what there is after each figure."""
    begin = time.monotonic()
    results: Row = {
        "format": 1, "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": device, "effort": asdict(effort), "versions": {}, "absent": {}, "rows": {},
        "minutes": 0.0,
    }  # fmt: skip

    def found(contender: str, subject: str, row: Row) -> None:
        sys.stdout.write(report.line(contender, subject, row, device) + "\n")
        sys.stdout.flush()
        if subject != "start":
            results["rows"].setdefault(subject, {})[contender] = row
        elif "failed" in row:
            results["absent"][contender] = row["failed"]
        else:
            results["versions"] |= row["versions"]
        results["minutes"] = round((time.monotonic() - begin) / 60, 1)
        keep(results)

    run(subjects, contenders, effort, found, python, starts=starts)
    return results


def load(file: Path) -> dict[str, Any]:
    """What a file of figures holds: "run", "estimate"."""
    found: dict[str, Any] = {}
    if file.exists():
        found = json.loads(file.read_text(encoding="utf-8"))
    return found


def save(file: Path | None, found: dict[str, Any]) -> None:
    """Write a file of figures; without one they are only printed."""
    if file is not None:
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write_page(folder: Path, found: dict[str, Any]) -> None:
    """The page with these figures of the GPU, and the CPU's of before."""
    from benchmarks.__main__ import RESULTS, page_of

    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    (folder / "benchmarks.md").write_text(page_of(results, found), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    import symgraph

    parser = options()
    args = parser.parse_args(arguments)
    file = args.json or (None if args.only or args.peers is not None else FILE)
    found = load(file or FILE)
    subjects = selected(args.only)
    if not subjects:
        parser.error(f"no subject matches --only {args.only}")
    contenders = [*CONTENDERS]
    if args.peers is not None:
        contenders = ["symgraph", *(name.strip() for name in args.peers.split(",") if name.strip())]
        if unknown := [name for name in contenders if name not in CONTENDERS]:
            parser.error(f"no contender {unknown[0]!r}; there are {', '.join(CONTENDERS)}")
    if args.estimate:
        from benchmarks.cuda.estimate import estimate

        found["estimate"] = estimate()
        save(file, found)
        sys.stdout.write(report.paper(found["estimate"]) + "\n")
    else:
        try:
            device = about()
        except symgraph.NoGPU as error:
            sys.stderr.write(f"{error.found}: {error.cure}; or see --estimate\n")
            return 1
        if args.sanitize:
            return _sanitize(file, found, [s for s in subjects if s.how == "check"])

        def keep(results: Row) -> None:
            found["run"] = results
            save(file, found)

        sys.stdout.write(f"{device['name']}, {device['arch']}\n")
        keep(measured(device, subjects, contenders, Effort(), args.python, keep))
        for name, bar, value, met in report.judged(found["run"]["rows"], device):
            sys.stdout.write(f"{name}: {bar}: {value} {'met' if met else 'MISSED'}\n")
        sys.stdout.write(f"{found['run']['minutes']} minutes\n")
    if args.docs:
        write_page(args.docs, found)
    return 0


def _sanitize(file: Path | None, found: dict[str, Any], subjects: list[Subject]) -> int:
    said = sanitize(SANITIZED, subjects)
    for name, text in said.items():
        sys.stdout.write(f"{name}: {text}\n")
    if "run" in found:
        found["run"]["sanitizer"] = said
        save(file, found)
    return int("failed" in said or any(said[f"{tool} found"] for tool in SANITIZED))


if __name__ == "__main__":
    sys.exit(main())
