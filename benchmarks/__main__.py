"""symgraph and its peers, in interleaved rounds of one run.

Every contender works in a process of its own, with two threads on the same CPUs; each row shows
symgraph, the fastest peer, the ratio of the two (below 1: symgraph is faster) and its range over
the rounds, the fraction of what the machine can do, and the bar where the design sets one. Peers
that are missing are named with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import measure, report
from benchmarks.contenders import CONTENDERS, HOME, ROOT
from benchmarks.crew import Crew
from benchmarks.run import merged, run
from benchmarks.subjects import FAMILIES

EXAMPLES = """\
examples:
  make bench                                        everything, into docs/benchmarks.md
  python -m benchmarks --only lenet,gemm            two families
  python -m benchmarks --only lstm --json benchmarks/results.json --docs docs
                                                    the same, put into the published results
  python -m benchmarks --only "batch 500" --rounds 15
  python -m benchmarks --only conv --peers "torch,torch channels_last"
  python -m benchmarks --quick                      three short rounds, nothing that takes minutes
  python -m benchmarks --render                     the page anew, from results.json
"""
TRAINING = Path(__file__).with_name("training.json")
CUDA = Path(__file__).with_name("cuda.json")
RESULTS = Path(__file__).with_name("results.json")


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--only", metavar="WORDS", help="families, or parts of subjects' names, with commas")
    add("--peers", metavar="NAMES", help="only these contenders beside symgraph, with commas")
    add("--rounds", type=int, help="rounds per row (default 7, with --quick 3)")
    add("--quick", action="store_true", help="short rounds; no slow peers, no huge subjects")
    add(
        "--json", type=Path, metavar="FILE",
        help="also write all figures here; with --only into what the file holds already",
    )  # fmt: skip
    add(
        "--docs", type=Path, metavar="FOLDER", help="also write benchmarks.md and its pictures here"
    )
    add("--render", action="store_true", help="measure nothing: write --docs from results.json")
    add("--list", action="store_true", help="list families, subjects and contenders, and stop")
    return parser


def page_of(results: dict[str, Any], cuda: dict[str, Any] | None = None) -> str:
    """benchmarks.md as text, with the records of the whole training and of the GPU; `cuda`: in
    place of the latter."""
    training, there = (
        json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        for file in (TRAINING, CUDA)
    )  # fmt: skip
    return report.page(results, training, there if cuda is None else cuda)


def write_docs(results: dict[str, Any], folder: Path) -> None:
    """benchmarks.md, benchmarks.svg and benchmarks-compile.svg in `folder`."""
    from benchmarks import plot

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text(page_of(results), encoding="utf-8")
    plot.ratios(results, folder / "benchmarks.svg")
    plot.compile_times(results, folder / "benchmarks-compile.svg")


def list_subjects() -> None:
    for family in FAMILIES:
        sys.stdout.write(f"{family.key}: {family.title}\n")
        for subject in family.subjects:
            sys.stdout.write(f"    {subject.name}{'  (slow)' * subject.slow}\n")
    sys.stdout.write("contenders: " + "; ".join(CONTENDERS) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = options()
    args = parser.parse_args(arguments)
    if args.list:
        list_subjects()
        return 0
    if args.render:
        source = args.json or RESULTS
        write_docs(json.loads(source.read_text(encoding="utf-8")), args.docs or ROOT / "docs")
        return 0
    families = [f.only(args.only.split(",")) if args.only else f for f in FAMILIES]
    families = [f for f in families if f.subjects]
    if not families:
        parser.error(f"no subject matches --only {args.only}; --list names them all")
    names = list(CONTENDERS)
    if args.peers is not None:
        names = ["symgraph", *(name.strip() for name in args.peers.split(","))]
        if unknown := [name for name in names if name not in CONTENDERS]:
            parser.error(f"no contender {unknown[0]!r}; there are {', '.join(CONTENDERS)}")
    rounds = args.rounds or (3 if args.quick else 7)
    effort = (
        measure.Effort(rounds, least=0.02, repeat=3.0, quick=True)
        if args.quick
        else measure.Effort(rounds)
    )
    with Crew(names, HOME / "cache") as crew:
        results = run(families, crew, effort)
    for name, why in results["absent"].items():
        sys.stdout.write(f"\n{name} is missing: {why}")
    sys.stdout.write(f"\n{report.machine(results)}\n{report.quiet(results)}\n")
    sys.stdout.write(f"{results['minutes']} minutes\n")
    if args.json and args.only and args.json.exists():
        results = merged(json.loads(args.json.read_text(encoding="utf-8")), results)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if args.docs:
        write_docs(results, args.docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
