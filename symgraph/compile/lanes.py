"""Reductions along the outer axis of memory: many columns side by side.

Where memory runs along the last loop of a kernel rather than along the axes it reduces, walking
down one column at a time would touch a cache line for every number. So a block of columns is
reduced together: the kernel's last loop goes innermost, and the sums stand side by side in the
workspace. A second reduction that needs the first, as a variance needs the mean, follows over the
same block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symgraph import expr as E
from symgraph.compile.nest import LoopNest
from symgraph.expr import Expr, Fold, Index, Load

LANES = 256  # columns that are reduced together: a kilobyte of each row, for the sake of the pages
KINDS = {"sum", "prod", "max", "min", "any", "all"}


@dataclass(frozen=True)
class Row:
    """The place of the sums of a block, one for each column: `name` in the source."""

    name: str
    dtype: str


@dataclass(frozen=True, eq=False)
class Lanes:
    """A reduction whose last axis is a copy of the kernel's last loop; its sums go to `row`."""

    fold: Fold
    row: Row

    @property
    def lane(self) -> Index:
        return self.fold.axes[-1]


def side_by_side(nest: LoopNest, roots: Sequence[Expr]) -> tuple[list[Lanes], list[Expr]]:
    """The reductions in `roots` as blocks of columns, in order, and roots that read their rows.

    No lanes, and `roots` as they are, where that is not how memory runs.
    """
    every = E.walk(roots)
    folds = [e for e in every if type(e) is Fold]
    if not nest.loops or not folds or nest.ordered:
        return [], list(roots)
    if not all(_fits(fold, nest) for fold in folds) or not _runs_along(nest.loops[-1], folds):
        return [], list(roots)
    last = nest.loops[-1]
    table: dict[Expr, Expr] = {}
    lanes: list[Lanes] = []
    for fold in folds:
        lane = E.index(last.extent)
        body = E.substitute(E.substitute(fold.args[0], table), {last: lane})
        row = Row(f"acc{len(lanes)}", fold.dtype)
        lanes.append(Lanes(E.fold(fold.kind, (*fold.axes, lane), body, fold.dtype), row))  # type: ignore[arg-type]
        table[fold] = E._intern(Load, row, (last,), fold.dtype, False)
    return lanes, [E.substitute(root, table) for root in roots]


def _fits(fold: Fold, nest: LoopNest) -> bool:
    """Whether its loops are its own, the kernel's, and those of reductions inside that fit."""
    every = E.walk(fold.args)
    own = set(fold.axes).union(*[e.axes for e in every if type(e) is Fold])
    loops = {e for e in every if type(e) is Index} - own
    return (
        fold.kind in KINDS
        and all(axis.extent.is_host for axis in fold.axes)
        and loops <= set(nest.loops)
        and not any(
            type(e) is Load and E.linear(e.args[0])[0].get(axis) is E.ONE
            for e in every
            for axis in fold.axes
        )
    )


def _runs_along(last: Index, folds: Sequence[Fold]) -> bool:
    """Whether each reduction has an operand that moves by 1 with `last`, and with its own axes."""
    for fold in folds:
        loads = [e for e in E.walk(fold.args) if type(e) is Load]
        terms = [E.linear(e.args[0])[0] for e in loads]
        if not any(t.get(last) is E.ONE and any(a in t for a in fold.axes) for t in terms):
            return False
    return True
