"""Compare runs: a table, the lowest validation error first.

Errors are those at the best validation error, in per cent; options stand there only where the runs
differ. Runs that cannot be read are named and left out.

examples:
  python -m lenet compare                              all runs in runs/
  python -m lenet compare runs/a runs/b --curves curves.png
  python -m lenet compare --csv > runs.csv
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lenet import checkpoint as checkpoints
from lenet import pictures, runs
from lenet.checkpoint import Checkpoint
from lenet.data.sources import check_writable, say
from lenet.errors import RunError
from lenet.options import Options, flag

HELP = "several runs beside each other"
# Columns that every table has, and options that say nothing of a difference.
SHOWN = ("model", "data", "optimizer", "learning_rate", "epochs", "source")


@dataclass(frozen=True, eq=False)
class Run:
    """A run to compare: what to call it, its latest checkpoint, its number of parameters."""

    name: str
    checkpoint: Checkpoint
    parameters: int

    @property
    def figures(self) -> dict[str, Any]:
        """The columns of the table: errors in per cent, seconds per epoch; None for none."""
        state, options = self.checkpoint.state, self.checkpoint.options
        history = state.history
        seconds = sum(entry.seconds for entry in history)
        best, test = (
            100 * error if history and math.isfinite(error) else None
            for error in (state.best_validation_error, state.test_error)
        )
        return {
            "run": self.name,
            "model": options.model,
            "data": self.checkpoint.data["name"],
            "epochs": state.epoch,
            "validation_error": best,
            "test_error": test,
            "seconds_per_epoch": seconds / state.epoch if state.epoch else None,
            "parameters": self.parameters,
            "optimizer": options.optimizer,
            "learning_rate": options.learning_rate,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of compare; `run` carries out what it parses."""
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="run folders or checkpoints; default: all in runs/"
    )
    parser.add_argument("--csv", action="store_true", help="print CSV, an option per column")
    parser.add_argument("--curves", metavar="FILE", help="draw the learning curves into a PNG")


def run(args: argparse.Namespace) -> int:
    """Compare as parsed. Returns 0; raises RunError if there is no run to compare."""
    found = read(args.runs)
    found.sort(key=lambda one: one.checkpoint.state.best_validation_error)
    options = differing([one.checkpoint.options for one in found])
    sys.stdout.write(as_csv(found, options) if args.csv else as_text(found, options))
    if args.curves is not None:
        draw_curves(found, Path(args.curves).expanduser())
    return 0


def read(names: Sequence[str]) -> list[Run]:
    """The runs `names`, or all in runs/; what is damaged is said on stderr and left out.

    Raises RunError if none is left.
    """
    places = [Path(name).expanduser() for name in names] or sorted(
        place.parent for place in runs.ROOT.glob(f"*/{runs.LAST}")
    )
    found = []
    for place in dict.fromkeys(places):
        try:
            path = runs.find_checkpoint(place, (runs.LAST, runs.BEST))
            checkpoint = checkpoints.load(path)
            parameters = checkpoints.build(checkpoint, path).parameters
        except RunError as error:
            say(f"left out: {error}")
            continue
        found.append(Run(str(place), checkpoint, parameters))
    if not found:
        raise RunError(
            ", ".join(names) or runs.ROOT,
            "no run to compare",
            "folders of runs",
            "train one: python -m lenet train --epochs 1; or name their folders",
        )
    return found


def differing(options: Sequence[Options]) -> list[str]:
    """The names of the options that are not the same in all runs, without those always shown."""
    return [
        row.name
        for row in fields(Options)
        if row.name not in SHOWN and len({getattr(one, row.name) for one in options}) > 1
    ]


def as_text(found: Sequence[Run], options: Sequence[str]) -> str:
    """The table for people; of the differing options, what is not the default."""
    head = (
        "run", "model", "data", "epochs", "valid %", "test %", "s/epoch", "parameters",
        "optimizer", "rate", "differing options",
    )  # fmt: skip
    lines = [head]
    for one in found:
        row = one.figures
        shares = ["-" if row[k] is None else f"{row[k]:.2f}" for k in list(row)[4:7]]
        lines.append((
            row["run"], row["model"], row["data"], f"{row['epochs']:g}", *shares,
            f"{row['parameters']:,}", row["optimizer"], f"{row['learning_rate']:g}",
            " ".join(filter(None, (_said(one.checkpoint.options, name) for name in options))),
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    is_text = {0, 1, 2, 8, 10}
    text = [
        "  ".join(
            cell.ljust(width) if i in is_text else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join(text) + "\n"


def as_csv(found: Sequence[Run], options: Sequence[str]) -> str:
    """The table for programs: a row per run, a column for each figure and each differing option."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*found[0].figures, *options])
    for one in found:
        values = one.checkpoint.options.to_json()
        table.writerow([*one.figures.values(), *(values[name] for name in options)])
    return text.getvalue()


def draw_curves(found: Sequence[Run], path: Path) -> None:
    """Draw the learning curves of the runs that have some into `path`, and say so.

    Raises RunError if none has, without matplotlib, or for a name that is not a PNG's.
    """
    if path.suffix.lower() != ".png":
        raise RunError("--curves", str(path), "a name that ends in .png", "curves are drawn as PNG")
    histories = {one.name: one.checkpoint.state.history for one in found}
    histories = {name: history for name, history in histories.items() if history}
    if not histories:
        raise RunError("--curves", "runs without an epoch", "some that were trained", "train them")
    check_writable(path.parent)
    try:
        pictures.curves(path, histories)
    except ImportError as error:
        raise RunError("--curves", f"no {error.name}", "matplotlib", pictures.CURE) from error
    sys.stdout.write(f"{path}\n")


def _said(options: Options, name: str) -> str:
    """An option as it would be written, or nothing for its default."""
    value = getattr(options, name)
    default = next(row.default for row in fields(Options) if row.name == name)
    if value == default or value is None:
        return ""
    if isinstance(value, bool):
        return flag(name) if value else flag("no_" + name)
    text = ",".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
    return f"{flag(name)} {text if len(text) <= 30 else text[:29] + '~'}"
