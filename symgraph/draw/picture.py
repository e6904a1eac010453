"""A picture: boxes, arrows and clusters, before anyone decides how it is drawn.

`graphs` makes one of a graph; `dot`, `svg` and `mermaid` print one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Theano's meanings (library/printing, pydotprint), in tints that black text can be read on.
INPUT, OUTPUT, SHARED, UNUSED = "#a8e6a1", "#a9c8ff", "#9eeaf0", "#d0d0d0"
PLAIN, NOTE = "#ffffff", "#fff3bf"
LIBRARY, FUSED, VIEW, PYTHON = "#ffd59e", "#ffe3ea", "#f1f1f1", "#e5ccff"
BRANCHES = {"then": "#2f9e44", "else": "#e03131", "both": "#f08c00"}

MAX_NODES = 300  # more are unreadable, and slow to lay out


@dataclass(frozen=True)
class Box:
    """A thing in the picture. `shape`: ellipse, box, small (a box of small text), note or table.

    `notes` are lines of small text below the label; of a table, rows of name and value.
    """

    label: str
    shape: str = "ellipse"
    fill: str = PLAIN
    notes: tuple[Any, ...] = ()
    tooltip: str = ""
    cluster: str | None = None
    border: str = "#555555"


@dataclass(frozen=True)
class Arrow:
    """From box to box, by key; an `update` is dashed."""

    source: str
    target: str
    label: str = ""
    tooltip: str = ""
    update: bool = False


@dataclass(frozen=True)
class Cluster:
    """A frame around the boxes that name its key."""

    label: str
    tooltip: str = ""


@dataclass
class Picture:
    title: str = ""
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)

    def moving(self) -> list[bool]:
        """Which arrows push their target down: not an update of what is read in this picture."""
        read = {arrow.source for arrow in self.arrows}
        return [not arrow.update or arrow.target not in read for arrow in self.arrows]


def cut(text: str, size: int) -> str:
    """`text` in at most `size` characters, keeping both ends."""
    if len(text) <= size:
        return text
    head = max(1, (size - 1) * 2 // 3)
    tail = max(0, size - 1 - head)
    return f"{text[:head]}…{text[len(text) - tail :]}"


# ---- layers --------------------------------------------------------------------------------------


def layers_picture(rows: Iterable[Any], title: str = "") -> Picture:
    """A column of layers, as tables: rows are (name, kind, output_shape, parameters).

    Objects with these attributes do as well, and may have an input_shape. Unknown sizes (None) are
    shown as "?". Below stands the total number of parameters.
    """
    picture = Picture(title)
    total, before = 0, None
    for number, row in enumerate(rows):
        fields = ("name", "kind", "output_shape", "parameters")
        values = [getattr(row, f) for f in fields] if hasattr(row, "kind") else list(row)
        name, kind, shape, parameters = values
        into = getattr(row, "input_shape", None)
        notes = [("input", _sizes(into))] if into is not None else []
        notes += [("output", _sizes(shape)), ("parameters", f"{int(parameters):,}")]
        total += int(parameters)
        key = f"layer{number}"
        picture.boxes[key] = Box(
            f"{name}: {kind}" if kind else name, "table", FUSED if parameters else VIEW,
            tuple(notes), f"{name}: {kind}",
        )  # fmt: skip
        if before is not None:
            picture.arrows.append(Arrow(before, key))
        before = key
    if before is not None:
        picture.boxes["total"] = Box(f"{total:,} parameters", "note", NOTE)
        picture.arrows.append(Arrow(before, "total"))
    return picture


def _sizes(shape: Iterable[int | None]) -> str:
    """A shape as Python writes it, with "?" for sizes that are not known."""
    sizes = ["?" if size is None else f"{size}" for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
