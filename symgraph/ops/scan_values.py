"""What a backward step needs of the forward step: what is kept of it, and what computed again.

Cheap things are computed again. Costly ones are kept: products, reductions, exp and its like,
whatever runs in Python. But elementwise things and reductions that something is divided by are
computed again: the rules that keep y / p * p from overflowing must see what p is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from symgraph.graph import Apply, Variable, ancestors
from symgraph.ops.alloc import Alloc, ARange
from symgraph.ops.core import SECOND, Elemwise, Reduce
from symgraph.ops.elementwise import TRUE_DIV
from symgraph.ops.index import Increment, Selection
from symgraph.ops.join import Join, Piece
from symgraph.ops.scan import Recomputed
from symgraph.ops.structure import MakeVector, Shape, ShapeI

REPEATED = (Alloc, ARange, Increment, Join, MakeVector, Piece, Recomputed, Selection, Shape, ShapeI)
"""Ops whose results are computed again, with all those that give views."""

COSTLY = 20
"""The cost of an elementwise operation from which on its results are kept: that of exp."""


def kept(
    results: Sequence[Variable], at_hand: Collection[Variable], forward: Collection[Variable]
) -> dict[Variable, None]:
    """The variables to keep for `results`, of those that the steps of the loop compute (`forward`).
    What is `at_hand` need not be computed."""
    again = _divisors(results, at_hand)
    found: dict[Variable, None] = {}
    seen, stack = set(at_hand), list(results)
    while stack:  # through all whose value is needed, not only the shape
        x = stack.pop()
        if x in seen or x.owner is None:
            continue
        seen.add(x)
        if x in forward and x not in again and _is_costly(x.owner):
            found[x] = None
        else:
            stack += _values_read(x.owner)
    return found


def _is_costly(node: Apply) -> bool:
    if isinstance(node.op, Elemwise):
        return node.op.scalar_op.cost >= COSTLY
    return node.op.view_of is None and not isinstance(node.op, REPEATED)


def _divisors(results: Sequence[Variable], at_hand: Collection[Variable]) -> set[Variable]:
    """What something is divided by on the way to `results`, down to what is neither elementwise
    nor a reduction."""
    nodes = [x.owner for x in ancestors(results, at_hand) if x not in at_hand]
    stack = [
        node.inputs[1]
        for node in nodes
        if node is not None and isinstance(node.op, Elemwise) and node.op.scalar_op is TRUE_DIV
    ]
    found: set[Variable] = set()
    while stack:
        x = stack.pop()
        if x in found or x in at_hand or x.owner is None:
            continue
        if x.owner.op.view_of is not None or isinstance(x.owner.op, (Elemwise, Reduce)):
            found.add(x)
            stack += x.owner.inputs
    return found


def _values_read(node: Apply) -> list[Variable]:
    """The inputs of which a node needs more than the shape."""
    if isinstance(node.op, (Shape, ShapeI)):
        return []
    if isinstance(node.op, Elemwise) and node.op.scalar_op is SECOND:
        return node.inputs[1:]
    return node.inputs
