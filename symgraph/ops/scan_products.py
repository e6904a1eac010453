"""Sums over the steps of a loop of products in each step, as one product over all the steps.

The gradient by a weight is such a sum. Added up step by step, the whole weight is read and written
in every step, for a product of a few rows. Source: Theano, scan_module/scan_opt (the rewriting
that moves a dot and its sum out of a loop).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from symgraph.graph import Constant, Variable, graph_inputs
from symgraph.ops.core import DimShuffle, Elemwise, dimshuffle
from symgraph.ops.elementwise import ADD, MUL, add
from symgraph.ops.linalg import Dot, tensordot


class Factor(NamedTuple):
    """`whole` with its axes in this order."""

    whole: Variable
    order: tuple[Any, ...]


class Product(NamedTuple):
    """The sum of products over the last `inner` axes of `left` and the first ones of `right`."""

    left: Factor
    right: Factor
    inner: int

    def over_time(self, rows: Mapping[Variable, Any]) -> Any:
        """The sum of this over all steps, of which `rows` has the factors."""
        left, right = (
            dimshuffle(rows[x.whole], (0, *(axis + 1 for axis in x.order)))
            for x in (self.left, self.right)
        )
        last = range(left.ndim - self.inner, left.ndim)
        return tensordot(left, right, [[0, *last], [*range(self.inner + 1)]])


class Sums:
    """The sums of `terms` over the steps: of `products` outside, of the `rest` step by step.

    `still` are the inner variables that no step changes: a product with one is no gain outside.
    """

    def __init__(self, terms: Mapping[Variable, Any], still: Sequence[Variable]) -> None:
        self.products: dict[Variable, list[Product]] = {}
        self.rest: dict[Variable, Any] = {}
        for x, term in terms.items():
            found: list[Product] = []
            rest: list[Variable] = []
            for part in _summands(term):  # one may be there twice
                p = _product(part)
                if p is None or _is_still(p.left, still) or _is_still(p.right, still):
                    rest.append(part)
                else:
                    found.append(p)
            self.products[x] = found
            if rest:
                whole = add(*rest) if len(rest) > 1 else rest[0]
                self.rest[x] = whole if found else term

    @property
    def factors(self) -> list[Variable]:
        """What is needed of every step."""
        pairs = ((p.left, p.right) for some in self.products.values() for p in some)
        return list(dict.fromkeys(factor.whole for pair in pairs for factor in pair))

    def totals(
        self, added: Mapping[Variable, Any], rows: Mapping[Variable, Any]
    ) -> dict[Variable, Any]:
        """The sums, from those of the `rest` and from `rows`, the factors over time."""
        result = {}
        for x, products in self.products.items():
            terms = [p.over_time(rows) for p in products] + [added[y] for y in (x,) if y in added]
            result[x] = add(*terms) if len(terms) > 1 else terms[0]
        return result


def _summands(term: Variable) -> list[Variable]:
    node = term.owner
    if node is None or not isinstance(node.op, Elemwise) or node.op.scalar_op is not ADD:
        return [term]
    if any(x.type != term.type for x in node.inputs):
        return [term]
    return [part for x in node.inputs for part in _summands(x)]


def _is_still(factor: Factor, still: Sequence[Variable]) -> bool:
    leaves = graph_inputs([factor.whole])
    return all(v in still or isinstance(v, Constant) for v in leaves)


def _product(x: Variable) -> Product | None:
    """`x` as a product of two arrays: by `Dot`, or of each element of one by each of the other."""
    node = x.owner
    if node is not None and isinstance(node.op, Dot) and not node.op.batch:
        left, right = map(_factor, node.inputs)
        return Product(left, right, node.op.inner)
    if node is None or not isinstance(node.op, Elemwise) or node.op.scalar_op is not MUL:
        return None
    views = [_turned(y) for y in node.inputs]
    if len(views) != 2 or None in views:
        return None
    for left, right in (views, views[::-1]):
        rows = [a for a in left.order if a != "x"]
        columns = [a for a in right.order if a != "x"]
        new = ["x"] * len(rows), ["x"] * len(columns)
        if (*left.order, *right.order) == (*rows, *new[1], *new[0], *columns):
            return Product(Factor(left.whole, (*rows,)), Factor(right.whole, (*columns,)), 0)
    return None


def _turned(x: Variable) -> Any:
    """`x` as a factor, "x" for new axes, if it shows all that something else has; or None."""
    node = x.owner
    if node is None or not isinstance(node.op, DimShuffle) or node.op.drop:
        return None
    return Factor(node.inputs[0], node.op.new_order)


def _factor(x: Variable) -> Factor:
    turned = _turned(x)
    return Factor(x, (*range(x.type.ndim),)) if not turned or "x" in turned.order else turned
