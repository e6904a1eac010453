"""Sums of arrays that are zero but for a slice each: the gradient by an array that was cut up.

    inc(0, a, [:k]) + inc(0, b, [k:])   ->   join(a, b)

as for the gates of an LSTM, which are slices of one product, for any number of slices that do not
overlap; zeros fill what none covers. The sum would go over the whole array once for each piece. No
rule of one node could say it: the sum must be whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from symgraph.compile.rules.terms import is_zero
from symgraph.graph import Apply, Variable, clone_replace, toposort, tracing
from symgraph.ops.alloc import zeros_like
from symgraph.ops.core import Elemwise
from symgraph.ops.elementwise import ADD
from symgraph.ops.index import FULL, IncSubtensor, Span, Subtensor
from symgraph.ops.join import Join

MOST = 64  # terms of a sum that are looked at


class Piece(NamedTuple):
    """`value` from `start` to `stop` (None: the end) of an axis of `whole`, zeros elsewhere."""

    start: int
    stop: int | None
    axis: int
    value: Variable
    whole: Variable


def join_pieces(outputs: Sequence[Variable]) -> list[Variable]:
    """`outputs` with such sums joined. A sum is looked at as a whole: where it is not a term."""
    nodes = toposort(outputs)
    terms = {v for node in nodes if _is_sum(node) for v in node.inputs}
    others = {v for node in nodes if not _is_sum(node) for v in node.inputs}
    others.update(outputs)
    replace: dict[Variable, Variable] = {}
    for node in nodes:
        out = node.outputs[0]
        if _is_sum(node) and (out not in terms or out in others):
            with tracing(node.trace):
                joined = _joined(node)
            if joined is not None and joined.type == out.type:
                replace[out] = joined
    return clone_replace(outputs, replace) if replace else list(outputs)


def _is_sum(node: Apply) -> bool:
    return isinstance(node.op, Elemwise) and node.op.scalar_op is ADD


def _joined(node: Apply) -> Variable | None:
    """The sum as a join; None if its terms are not slices, or overlap."""
    terms = _terms(node)
    pieces = [piece for piece in map(_piece, terms) if piece is not None]
    if len(pieces) < 2 or len(pieces) != len(terms):
        return None
    pieces.sort(key=lambda p: p.start)
    axis, whole = pieces[0].axis, pieces[0].whole
    parts: list[Any] = []
    end: int | None = 0
    for piece in pieces:
        if piece.axis != axis or end is None or piece.start < end:
            return None
        if piece.start > end:
            parts.append(_nothing(whole, axis, end, piece.start))
        parts.append(piece.value)
        end = piece.stop
    if end is not None:
        parts.append(_nothing(whole, axis, end, None))
    return Join(axis)(*parts)  # type: ignore[no-any-return]


def _nothing(whole: Any, axis: int, start: int, stop: int | None) -> Any:
    """Zeros for these entries of an axis, as far as there are any."""
    return zeros_like(Subtensor((FULL,) * axis + (Span(start, stop),))(whole))


def _terms(node: Apply) -> list[Variable]:
    """What is added up, if it is not too much."""
    found: list[Variable] = []
    rest = list(node.inputs)
    while rest and len(found) < MOST:
        v = rest.pop()
        owner = v.owner
        if owner is not None and _is_sum(owner):
            rest += owner.inputs
        else:
            found.append(v)
    return [] if rest else found


def _piece(variable: Variable) -> Piece | None:
    node = variable.owner
    if node is None or not isinstance(node.op, IncSubtensor) or not is_zero(node.inputs[0]):
        return None
    whole, value = node.inputs[:2]
    cut = [(axis, e) for axis, e in enumerate(node.op.idx_list) if e != FULL]
    if len(cut) != 1 or value.type.broadcastable != whole.type.broadcastable:
        return None
    ((axis, span),) = cut
    if not isinstance(span, Span) or span.step != 1 or value.type.broadcastable[axis]:
        return None
    start, stop = span.start or 0, span.stop
    if not isinstance(start, int) or not isinstance(stop, (int, type(None))):
        return None
    if start < 0 or (stop is not None and stop < start):
        return None
    return Piece(start, stop, axis, value, whole)
