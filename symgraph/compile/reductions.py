"""Reductions made fast: positions of extrema, values kept for a second pass, whole arrays in parts.

Each of the three rewrites a loop nest into one that means the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from symgraph import expr as E
from symgraph.compile.nest import Layout, LoopNest, Operand, fetch
from symgraph.expr import Call, Expr, Fold, Index, Load, Scalar
from symgraph.graph import Variable

SPLIT = 64  # chunks into which the reduction of a whole array is cut
SPLITTABLE = {"sum", "prod", "max", "min", "any", "all"}
CHEAP = 4  # what may be computed twice rather than one element at a time
COSTLY = 15  # what is rather written down and read again

KEEP = Scalar("keep", "{0}", 0)
"""keep(value, address): the value, which the printer also stores in the kernel's only result."""

_EQUAL = Scalar("equal", "({} == {})")
_IS_NAN = Scalar("is_nan", "({0} != {0})")
_OR = Scalar("or", "({} | {})")
_SELECT = Scalar("select", "select({}, {}, {})")


# ---- positions -----------------------------------------------------------------------------------


def with_positions(nest: LoopNest) -> LoopNest:
    """argmax as the smallest position of what equals the maximum: two reductions that vectorise.

    A maximum of NaN equals nothing: then it is the first NaN that counts, as in NumPy.
    """
    values = [value for _, _, value in nest.stores]
    table: dict[Expr, Expr] = {}
    for fold in E.walk(values):
        if type(fold) is not Fold or fold.kind not in ("argmax", "argmin"):
            continue
        body = E.substitute(fold.args[0], table)
        if _cost(body) > CHEAP or any(not axis.extent.is_host for axis in fold.axes):
            continue
        again = [E.index(axis.extent) for axis in fold.axes]
        extremum = E.fold(
            fold.kind[3:], again, E.substitute(body, dict(zip(fold.axes, again, strict=True))),
            body.dtype,
        )  # fmt: skip
        found = E.call(_EQUAL, (body, extremum), "bool")
        if "float" in body.dtype:
            found = E.call(_OR, (found, E.call(_IS_NAN, (body,), "bool")), "bool")
        place: Expr = E.ZERO
        for axis in fold.axes:
            place = E.add(E.mul(place, axis.extent), axis)
        end = E.product(axis.extent for axis in fold.axes)
        place = E.call(_SELECT, (found, place, end), "int64")
        table[fold] = E.fold("min", fold.axes, place, fold.dtype)
    if not table:
        return nest
    stores = [(o, address, E.substitute(value, table)) for o, address, value in nest.stores]
    return replace(nest, stores=stores)


def _cost(value: Expr) -> int:
    every = E.walk([value])
    address = {a for e in every if type(e) is Load for i in e.args for a in E.walk([i])}
    return sum(e.head.cost for e in every if type(e) is Call and not e.is_host and e not in address)


# ---- values that a reduction and the result share ------------------------------------------------


def with_kept_values(nest: LoopNest) -> LoopNest:
    """Where a row's sum and its results need the same costly value, as softmax needs exp(x), the
    loop that sums writes it where the result goes, and the loop that stores reads it there.
    """
    if len(nest.loops) < 2 or len(nest.stores) != 1 or nest.ordered:
        return nest
    (target, address, value), last = nest.stores[0], nest.loops[-1]
    every = E.walk([value])
    if any(type(e) is Load and e.head.root is target.root for e in every):
        return nest
    moving = _moved_by(last, every)
    candidates = [
        e for e in every
        if type(e) is Call and e in moving and e.dtype == target.dtype and _cost(e) >= COSTLY
    ]  # fmt: skip
    for fold in every:
        if type(fold) is not Fold or fold in moving or len(fold.axes) != 1:
            continue
        axis = fold.axes[0]
        inside = set(E.walk(fold.args))
        for found in reversed(candidates):
            twin = E.substitute(found, {last: axis})
            if axis.extent is last.extent and twin in inside:
                kept = E.call(KEEP, (twin, E.substitute(address, {last: axis})), twin.dtype)
                body = E.substitute(fold.args[0], {twin: kept})
                table = {
                    fold: E.fold(fold.kind, fold.axes, body, fold.dtype),
                    found: fetch(target, address),
                }
                return replace(nest, stores=[(target, address, E.substitute(value, table))])
    return nest


def _moved_by(loop: Index, every: list[Expr]) -> set[Expr]:
    """Those of `every` (in order) whose value depends on the loop variable."""
    moved: set[Expr] = {loop}
    for expr in every:
        if any(part in moved for part in E.parts(expr)):
            moved.add(expr)
    return moved


# ---- reductions of whole arrays ------------------------------------------------------------------


def split(
    nest: LoopNest,
    layout: Callable[[Variable], Layout],
    temporary: Callable[..., Variable],
    parts: int = SPLIT,
) -> list[LoopNest]:
    """Cut each reduction that has no loops around it into `parts`, added up in order afterwards.

    One that needs the result of another comes after it.
    """
    if nest.loops or nest.ordered:
        return [nest]
    table: dict[Expr, Expr] = {}
    nests: list[LoopNest] = []
    within: set[Expr] = set()  # axes of reductions: what depends on them is no whole array's
    every = E.walk([value for _, _, value in nest.stores])
    for fold in every:
        if type(fold) is Fold:
            within |= set(fold.axes)
    for fold in every:
        if type(fold) is not Fold or fold.kind not in SPLITTABLE:
            continue
        first = fold.axes[0]
        if type(first.extent) is E.Const and first.extent.value <= parts:
            continue
        if _free(fold) & within:
            continue
        count = E.minimum(first.extent, parts)
        whole = E.held(first.extent)
        step = E.floordiv(E.add(whole, E.sub(count, 1)), E.maximum(count, 1))
        chunk = E.index(count)
        start = E.mul(chunk, step)
        length = E.maximum(E.minimum(step, E.sub(whole, start)), 0)
        inner = E.index(length)
        body = E.substitute(fold.args[0], table)
        part = E.fold(fold.kind, (inner, *fold.axes[1:]), body, fold.dtype)
        part = E.substitute(part, {first: E.add(start, inner)})
        partial = temporary(fold.dtype, (count,))
        place = layout(partial)
        operand = Operand(place.root, place.offset, partial.type.dtype)
        nests.append(
            LoopNest((chunk,), [(operand, chunk, part)], nest.nodes, False, nest.is_fallible)
        )
        again = E.index(count)
        table[fold] = E.fold(fold.kind, (again,), fetch(operand, again), fold.dtype)
    stores = [(o, a, E.substitute(value, table)) for o, a, value in nest.stores]
    return [*nests, LoopNest((), stores, nest.nodes, False, nest.is_fallible)]


def _free(fold: Fold) -> set[Index]:
    """The loop variables that a reduction depends on, its own aside."""
    every = E.walk([fold])
    own = {axis for e in every if type(e) is Fold for axis in e.axes}
    return {e for e in every if type(e) is Index} - own
