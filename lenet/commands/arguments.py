"""What the commands' arguments have in common: options of training, numbers, missing libraries."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import Field
from typing import Any

from lenet import pictures
from lenet.errors import RunError
from lenet.models import MODELS
from lenet.options import MODEL, flag, parser_of, rows

FLOATX = "float32"
# The options that say what a model is, and for which images.
BUILDING = (
    *(row.name for row in rows() if row.metadata["group"] == MODEL and row.name != "finetune"),
    "data", "source", "size",
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Give `parser` those options of training, in groups; `given` collects them.

    They have no defaults for the parser: a resumed run must know which ones were given, and models
    differ.
    """
    groups: dict[str, Any] = {}
    for row in rows():
        if row.name not in names:
            continue
        meta = row.metadata
        group = groups.get(meta["group"]) or parser.add_argument_group(meta["group"])
        groups[meta["group"]] = group
        kind = parser_of(row)
        more: dict[str, Any] = {
            "help": meta["help"] + default_of(row),
            "default": argparse.SUPPRESS,
        }
        if kind is bool:
            more["action"] = argparse.BooleanOptionalAction
        else:
            more["type"] = READERS.get(kind, str)
            more["metavar"] = meta["metavar"] or row.name.upper()
        if meta.get("choices"):
            more |= {"choices": meta["choices"], "metavar": None}
        group.add_argument(flag(row.name), **more)


def add_run(parser: argparse.ArgumentParser, default: str = "the latest in runs/") -> None:
    """Give `parser` the run that a command is about, `folder`, which may be left out."""
    parser.add_argument(
        "folder", nargs="?", metavar="RUN",
        help=f"run folder or checkpoint (.npz); default: {default}",
    )  # fmt: skip


def default_of(row: Field[Any]) -> str:
    """What --help says of the default of an option."""
    words = [] if row.default in (None, "", False) else [str(row.default)]
    having = [row.name in entry.recipe for entry in MODELS.values()]
    if any(having):
        words = [*([] if all(having) else words), "the model's"]
    return f"; default: {' or '.join(words)}" if words else ""


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The options of training that were given on the command line; those in files are read."""
    values = {}
    for row in rows():
        if (value := getattr(args, row.name, None)) is not None:
            read = row.metadata.get("read")
            values[row.name] = read(value) if read else value
    return values


def whole(text: str) -> int:
    """An argument that is a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number, as 10") from None


def real(text: str) -> float:
    """An argument that is a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number, as 0.1") from None


def wholes(text: str) -> tuple[int, ...]:
    """An argument that is a list of whole numbers with commas between."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected whole numbers with commas between them, as 20,50"
        ) from None


READERS: dict[Any, Callable[[str], Any]] = {int: whole, float: real, tuple: wholes}


def missing(where: str, error: ImportError) -> RunError:
    """The error of a command that needs a library which is not installed."""
    return RunError(where, f"no {error.name}", "matplotlib, Pillow and SciPy", pictures.CURE)
