"""Products and quotients whose factors overflow or vanish together.

The gradient of log(p) divides by p, that of p = sigmoid(x) or softmax(x) multiplies by p: where p
underflows, 0 / 0 is not a number although the product is finite. So a product is looked at as a
whole: its factors above and below the line, through negation, squares, sums and views. This is what
Theano's AlgebraicCanonizer and local_greedy_distributor are for; here a sum is multiplied out only
where a factor cancels, and no more than `REACH` nodes are looked at, so that the work is linear
in the size of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from symgraph.compile.rules.stability import gaussian_over_erfc
from symgraph.compile.rules.terms import (
    REACH,
    are_opposite,
    argument,
    inverse_order,
    is_shape_of,
    is_zero,
    moved,
    node_of,
    opposite,
    pattern_of,
    reduced,
    views_of,
)  # fmt: skip
from symgraph.graph import Apply, Variable
from symgraph.ops import elementwise as T
from symgraph.ops.core import SECOND, SUM, DimShuffle, Elemwise, Reduce, dimshuffle
from symgraph.ops.gather import AdvancedIncSubtensor, AdvancedSubtensor
from symgraph.ops.index import Increment, IncSubtensor, Subtensor
from symgraph.ops.shape import reshape
from symgraph.ops.softmax import Softmax
from symgraph.ops.structure import Reshape, rebroadcast, sizes_of
from symgraph.ops.structure import product_of as number_of
from symgraph.rewrite import AnyRule, NodeRule, Replacement, constant_value
from symgraph.types import FLOATS

_PRODUCTS = (T.MUL, T.TRUE_DIV, T.INV, T.NEG, T.SQR)


# ---- factors -------------------------------------------------------------------------------------


@dataclass
class Product:
    """A product: the factors above and below the line, and the sign."""

    above: list[Any] = field(default_factory=list)
    below: list[Any] = field(default_factory=list)
    is_negative: bool = False

    def variable(self) -> Any:
        """The expression; None if there are no factors."""
        if not self.above and not self.below:
            return None
        below = self.below
        if self.above:
            result = self.above[0]
        else:
            result, below = T.inv(below[0]), below[1:]
        for factor in self.above[1:]:
            result = T.mul(result, factor)
        for factor in below:
            result = T.true_div(result, factor)
        return T.neg(result) if self.is_negative else result

    def shaped_like(self, node: Apply) -> Any:
        """The expression in the shape of `node`'s result, a product of more factors."""
        result = self.variable()
        if result is None:
            one = node.inputs[0].ones_like()  # type: ignore[attr-defined]
            result = T.neg(one) if self.is_negative else one
        wanted = pattern_of(node.outputs[0])
        for model in (*node.inputs, node.outputs[0]):
            if pattern_of(result) == wanted:
                break
            result = Elemwise(SECOND)(model, result)
        return T.cast(result, node.outputs[0].type.dtype)


def product_of(variable: Variable) -> Product:
    """The factors of `variable`, through dimshuffles too, as far as REACH nodes."""
    result = Product()
    stack: list[tuple[Variable, bool, tuple[int | str, ...] | None]] = [(variable, False, None)]
    reach = REACH
    while stack:
        factor, is_below, order = stack.pop()
        owner = factor.owner
        row = None if owner is None else getattr(owner.op, "scalar_op", None)
        reach -= 1
        if owner is None or row not in _PRODUCTS or reach < 0:
            if order is None and owner is not None and isinstance(owner.op, DimShuffle):
                if reach >= 0 and node_of(owner.inputs[0], *_PRODUCTS):
                    stack.append((owner.inputs[0], is_below, owner.op.new_order))
                    continue
            if owner is not None or constant_value(factor) != 1:
                (result.below if is_below else result.above).append(moved(factor, order))
            continue
        first = (owner.inputs[0], is_below, order)
        if row is T.NEG:
            result.is_negative ^= True
            stack.append(first)
        elif row is T.INV:
            stack.append((owner.inputs[0], not is_below, order))
        elif row is T.SQR:
            stack += [first, first]
        else:
            stack += [(owner.inputs[1], is_below ^ (row is T.TRUE_DIV), order), first]
    return result


def _remove(factors: list[Any], wanted: Any) -> bool:
    """Remove `wanted` once; whether it was there."""
    for position, factor in enumerate(factors):
        if factor is wanted:
            del factors[position]
            return True
    return False


# ---- quotients of exponentials -------------------------------------------------------------------


def _quotients(node: Apply) -> Replacement:
    """y / (1 + exp(x)) -> y * sigmoid(-x); exp(x) * sigmoid(-x) -> sigmoid(x);
    exp(x) / (exp(x) + exp(y)) -> sigmoid(x - y); exp(x) / sum(exp(x)) -> softmax(x);
    exp(-x ** 2) / erfc(x) -> a series for large x; p / p -> 1 for p = sigmoid(x) or softmax(x)"""
    product = product_of(node.outputs[0])
    above = product.above
    changed = False
    for factor in list(product.below):
        made = _one_over(factor, above)
        if made is not None:
            _remove(product.below, factor)
            above.append(made)
            changed = True
    for factor in list(above):
        x = argument(factor, T.SIGMOID)
        if x is None:
            continue
        for other in above:
            power = argument(other, T.EXP)
            if power is not None and are_opposite(power, x):
                _remove(above, other)
                _remove(above, factor)
                above.append(T.sigmoid(opposite(x)))  # the form that 1 - sigmoid(x) takes
                changed = True
                break
    for factor in list(above) if product.below else ():
        if _is_probability(factor) and _remove(product.below, factor):
            _remove(above, factor)
            changed = True
    return product.shaped_like(node) if changed else None


def _is_probability(variable: Variable) -> bool:
    """Whether this shows a sigmoid or a softmax: where it is 0, it is so by underflow."""
    _, source = views_of(variable)
    node = source.owner
    return node is not None and (isinstance(node.op, Softmax) or bool(node_of(source, T.SIGMOID)))


def _one_over(factor: Any, above: list[Any]) -> Any:
    """What takes the place of 1 / factor; may remove a factor from `above`."""
    if factor.dtype not in FLOATS:
        return None
    sum_of_two = node_of(factor, T.ADD)
    if sum_of_two is not None:
        for one, other in (sum_of_two.inputs, sum_of_two.inputs[::-1]):
            x: Any = argument(other, T.EXP)
            if x is None or x.dtype not in FLOATS:
                continue
            if constant_value(one) == 1:
                return T.sigmoid(opposite(x))
            y = argument(one, T.EXP)
            if y is not None and _remove(above, other):
                return T.sigmoid(T.sub(x, y))
        return None
    x = argument(factor, T.ERFC)
    if x is not None:
        for other in above:
            power = argument(other, T.EXP)
            square = argument(power, T.NEG) if power is not None else None
            root = argument(square, T.SQR) if square is not None else None
            if root is not None and (root is x or are_opposite(root, x)):
                made = gaussian_over_erfc(x)
                if made is not None:
                    _remove(above, other)
                return made
    return _one_over_sum(factor, above)


def _one_over_sum(factor: Any, above: list[Any]) -> Any:
    """softmax(x) for factor = sum(exp(x)), with its axes put back, and exp(x) in `above`."""
    total = reduced(factor, SUM)
    x: Any = argument(total.inputs[0], T.EXP) if total is not None else None
    if total is None or x is None or x.dtype not in FLOATS:
        return None
    op = total.op
    assert isinstance(op, Reduce)
    ndim = x.ndim
    kept = [a for a in range(ndim) if a not in op.axis]
    order = factor.owner.op.new_order if factor.owner is not total else tuple(range(len(kept)))
    if len(order) != ndim:
        return None
    if any(order[a] != k for k, a in enumerate(kept)) or any(order[a] != "x" for a in op.axis):
        return None
    if not _remove(above, total.inputs[0]):
        return None
    return softmax_over(x, op.axis)


def softmax_over(x: Any, axes: Sequence[int]) -> Any:
    """exp(x) / sum(exp(x)) over `axes`, by way of the rows of a matrix."""
    if x.ndim == 2 and tuple(axes) == (1,):
        return Softmax()(x)
    kept = [a for a in range(x.ndim) if a not in axes]
    order = (*kept, *axes)
    there = dimshuffle(x, order)
    sizes = sizes_of(there)
    rows, columns = number_of(sizes[: len(kept)]), number_of(sizes[len(kept) :])
    matrix = Softmax()(rebroadcast(reshape(there, [rows, columns]), (False, False)))
    back = rebroadcast(reshape(matrix, sizes), there.broadcastable)
    return dimshuffle(back, inverse_order(order, x.ndim))


def _sum_over_constant(node: Apply) -> Replacement:
    """sum(y / sum(exp(x))) -> sum(y) / sum(exp(x)), where that is constant along the axes"""
    op = node.op
    assert isinstance(op, Reduce)
    if node_of(node.inputs[0], *_PRODUCTS) is None:
        return None
    product = product_of(node.inputs[0])
    for factor in product.below:
        total = reduced(factor, SUM)
        pattern = pattern_of(factor)
        if total is None or argument(total.inputs[0], T.EXP) is None:
            continue
        if all(pattern[a] for a in op.axis):
            _remove(product.below, factor)
            rest = product.variable()
            if rest is None or pattern_of(rest) != pattern_of(node.inputs[0]):
                return None
            kept = [a for a in range(len(pattern)) if a not in op.axis]
            return T.true_div(op(rest), dimshuffle(factor, kept))  # type: ignore[no-any-return]
    return None


# ---- p / p ---------------------------------------------------------------------------------------

Undo = Callable[[Variable], Variable | None]


def _through(p: Variable, undone: Sequence[Undo]) -> Callable[[Variable], bool]:
    """Whether a variable is p under the views that `undone` takes off, the outermost first."""

    def is_it(variable: Variable) -> bool:
        current: Variable | None = variable
        for undo in undone:
            current = undo(current)  # type: ignore[arg-type]
            if current is None:
                return False
        return current is p

    return is_it


class _Canceller:
    """Multiplies expressions by p where this cancels a division by p."""

    def __init__(self, p: Variable) -> None:
        self.p, self.reach = p, REACH

    def times(self, variable: Variable, undone: tuple[Undo, ...] = ()) -> Any:
        """variable * p, without p below the line; None if it is not there.

        p stands for p under views, while the walk is inside of what undoes them.
        """
        self.reach -= 1
        node = variable.owner
        if node is None or self.reach < 0:
            return None
        if node_of(variable, *_PRODUCTS):
            return self.times_product(variable, undone)
        if node_of(variable, T.ADD, T.SUB):
            return self.times_sum(node, undone)
        if isinstance(node.op, Increment):
            return self.times_scatter(node, undone)
        if isinstance(node.op, (DimShuffle, Reshape)):
            inner = self.times(node.inputs[0], (_undo_view(node), *undone))
            return None if inner is None else node.op(inner, *node.inputs[1:])
        return None

    def times_product(self, variable: Variable, undone: tuple[Undo, ...]) -> Any:
        is_p = _through(self.p, undone)
        product = product_of(variable)
        for factor in product.below:
            if is_p(factor):
                _remove(product.below, factor)
                result = product.variable()
                if result is None:  # 1 / p
                    one = factor.ones_like()
                    return T.neg(one) if product.is_negative else one
                return result
        for position, factor in enumerate(product.above):
            if factor is variable:
                return None
            if node_of(factor, T.ADD, T.SUB) or isinstance(
                factor.owner and factor.owner.op, (Increment, DimShuffle, Reshape)
            ):
                inner = self.times(factor, undone)
                if inner is not None:
                    product.above[position] = inner
                    return product.variable()
        return None

    def times_sum(self, node: Apply, undone: tuple[Undo, ...]) -> Any:
        if undone:
            return None  # the other term would need p under the views
        terms = [self.times(term) for term in node.inputs]
        if all(term is None for term in terms):
            return None
        return node.op(
            *(
                T.mul(term, self.p) if times is None else times
                for term, times in zip(node.inputs, terms, strict=True)
            )
        )

    def times_scatter(self, node: Apply, undone: tuple[Undo, ...]) -> Any:
        zeros, values, *indices = node.inputs
        if not is_zero(zeros):
            return None
        inner = self.times(values, (_undo_scatter(node), *undone))
        return None if inner is None else node.op(zeros, inner, *indices)


def _undo_view(node: Apply) -> Undo:
    """For a node that undoes a view: from the view to what it shows."""
    op = node.op

    def undo(variable: Variable) -> Variable | None:
        view = variable.owner
        if view is None or type(view.op) is not type(op):
            return None
        source = view.inputs[0]
        if isinstance(op, DimShuffle):
            below = view.op.new_order  # type: ignore[attr-defined]
            both = tuple("x" if a == "x" else below[a] for a in op.new_order)
            return source if both == tuple(range(source.type.ndim)) else None
        fits = source.type.ndim == op.ndim and is_shape_of(node.inputs[1], source)  # type: ignore[attr-defined]
        return source if fits else None

    return undo


def _undo_scatter(node: Apply) -> Undo:
    """For x[index] += y: from p[index] to p."""
    op = node.op
    assert isinstance(op, Increment)
    reading = {IncSubtensor: Subtensor, AdvancedIncSubtensor: AdvancedSubtensor}[type(op)]

    def undo(variable: Variable) -> Variable | None:
        taken = variable.owner
        if taken is None or type(taken.op) is not reading:
            return None
        same = taken.op.idx_list == op.idx_list and taken.inputs[1:] == node.inputs[2:]
        return taken.inputs[0] if same else None

    return undo


def multiplied(variable: Variable, p: Variable) -> Any:
    """variable * p, where `variable` divides by p somewhere; None if it does not."""
    return _Canceller(p).times(variable)


def _cancel(node: Apply) -> Replacement:
    """(y / p) * p -> y for p = sigmoid(x) or softmax(x), through sums, views and indexing"""
    for g, p in (node.inputs, node.inputs[::-1]):
        if _is_probability(p):
            result = multiplied(g, p)
            if result is None:
                continue
            wanted = node.outputs[0].type
            if pattern_of(result) != pattern_of(node.outputs[0]):
                result = Elemwise(SECOND)(p, result)
            return T.cast(result, wanted.dtype)  # type: ignore[no-any-return]
    return None


PRODUCTS: Sequence[AnyRule] = [
    NodeRule(_quotients, T.MUL, T.TRUE_DIV, T.INV),
    NodeRule(_cancel, T.MUL),
    NodeRule(_sum_over_constant, SUM),
]
