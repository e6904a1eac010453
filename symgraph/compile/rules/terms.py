"""What rules are written with: wildcards, matchers, and questions that several rules ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.graph import Apply, Constant, Variable
from symgraph.ops import elementwise as T
from symgraph.ops import reduce as R
from symgraph.ops.alloc import Alloc
from symgraph.ops.core import SECOND, DimShuffle, Elemwise, Reduce, dimshuffle
from symgraph.ops.gather import AdvancedIncSubtensor, AdvancedSubtensor
from symgraph.ops.index import IncSubtensor, Subtensor
from symgraph.ops.softmax import (
    CrossentropySoftmax1Hot,
    CrossentropySoftmax1HotGrad,
    LogSoftmax,
    Softmax,
    SoftmaxGrad,
)
from symgraph.ops.structure import MakeVector, Rebroadcast, Reshape, Shape, ShapeI
from symgraph.rewrite import Matcher, Wild, constant_value
from symgraph.types import FLOATS

REACH = 32  # nodes that a rule looks at, at most: what makes rewriting linear in the graph's size


def is_float(variable: Variable) -> bool:
    """Whether the elements are floats: what holds of real numbers fails for integers that wrap."""
    return dtype_of(variable) in FLOATS


def dtype_of(variable: Variable) -> str:
    return str(variable.type.dtype)


def pattern_of(variable: Variable) -> tuple[bool, ...]:
    return tuple(variable.type.broadcastable)


def _is_constant(variable: Variable) -> bool:
    return isinstance(variable, Constant)


x, y = Wild("x"), Wild("y")  # anything
u, v = Wild("u", is_float), Wild("v", is_float)  # floats
c, d = Wild("c", _is_constant), Wild("d", _is_constant)

add, sub, mul, div = Matcher(T.ADD), Matcher(T.SUB), Matcher(T.MUL), Matcher(T.TRUE_DIV)
neg, power, exp, expm1 = Matcher(T.NEG), Matcher(T.POW), Matcher(T.EXP), Matcher(T.EXPM1)
log, log1p, sigmoid, softplus = (Matcher(r) for r in (T.LOG, T.LOG1P, T.SIGMOID, T.SOFTPLUS))
inv, sqr, abs_, sqrt = Matcher(T.INV), Matcher(T.SQR), Matcher(T.ABS), Matcher(T.SQRT)
erf, erfc, switch, identity = (Matcher(r) for r in (T.ERF, T.ERFC, T.SWITCH, T.IDENTITY))
maximum, minimum = Matcher(T.MAXIMUM), Matcher(T.MINIMUM)
softmax = Matcher(Softmax)


def node_of(variable: Variable, *rows: Any) -> Apply | None:
    """The node that computes `variable`, if it applies one of these elementwise rows."""
    node = variable.owner
    return node if node is not None and getattr(node.op, "scalar_op", None) in rows else None


def argument(variable: Variable, row: Any) -> Variable | None:
    """x, if `variable` is row(x)."""
    node = node_of(variable, row)
    return node.inputs[0] if node is not None else None


def like(result: Any, dtype: str) -> Any:
    """`result` as `dtype`."""
    return T.cast(result, dtype)


def opposite(variable: Any) -> Any:
    """-x, or x for -x."""
    inner = argument(variable, T.NEG)
    return T.neg(variable) if inner is None else inner


def _linear(variable: Variable) -> dict[Variable | None, float]:
    """The terms of a sum and their coefficients, a few nodes deep; None stands for a number."""
    terms: dict[Variable | None, float] = {}
    stack = [(variable, 1.0)]
    for _ in range(REACH):
        if not stack:
            break
        item, factor = stack.pop()
        number = constant_value(item)
        if number is not None:
            terms[None] = terms.get(None, 0.0) + factor * number
        else:
            parts = _parts(item)
            if not parts:
                terms[item] = terms.get(item, 0.0) + factor
            stack += [(part, factor * by) for part, by in parts]
    for item, factor in stack:
        terms[item] = terms.get(item, 0.0) + factor
    return terms


def _parts(variable: Variable) -> list[tuple[Variable, float]]:
    """`variable` as a sum of (variable, coefficient); empty if it is not one."""
    if node := node_of(variable, T.NEG):
        return [(node.inputs[0], -1.0)]
    if node := node_of(variable, T.ADD, T.SUB):
        first, second = node.inputs
        return [(first, 1.0), (second, 1.0 if node_of(variable, T.ADD) else -1.0)]
    if node := node_of(variable, T.MUL, T.TRUE_DIV):
        first, second = node.inputs
        by = constant_value(second)
        if node_of(variable, T.TRUE_DIV):
            return [(first, 1 / by)] if by else []
        if by is not None:
            return [(first, by)]
        by = constant_value(first)
        return [] if by is None else [(second, by)]
    return []


def are_opposite(a: Variable, b: Variable) -> bool:
    """Whether one of the two is surely the negation of the other, however it is written."""
    if argument(a, T.NEG) is b or argument(b, T.NEG) is a:
        return True
    if a.type != b.type or not is_float(a):
        return False
    ours, theirs = _linear(a), _linear(b)
    return ours.keys() == theirs.keys() and all(theirs[t] == -ours[t] for t in ours)


def is_zero(variable: Variable) -> bool:
    """Zeros of any shape: a constant 0, or one broadcast to a shape."""
    for _ in range(REACH):
        if isinstance(variable, Constant):
            return isinstance(variable.data, np.ndarray) and not variable.data.any()
        owner = variable.owner
        if owner is None:
            return False
        if node_of(variable, SECOND):
            variable = owner.inputs[1]
        elif isinstance(owner.op, (DimShuffle, Alloc)):
            variable = owner.inputs[0]
        else:
            break
    return False


def reduced(variable: Variable, reduction: Any) -> Apply | None:
    """The node of a reduction of this kind, seen through a dimshuffle."""
    node = variable.owner
    if node is not None and type(node.op) is DimShuffle:
        node = node.inputs[0].owner
    if node is not None and isinstance(node.op, Reduce) and node.op.reduction is reduction:
        return node
    return None


def is_shifted(variable: Variable) -> bool:
    """Whether this is x - max(x): it cannot overflow in exp, and needs no shift of ours."""
    node = node_of(variable, T.SUB)
    if node is None:
        return False
    top = node.inputs[1]
    for _ in range(REACH):
        if reduced(top, R.MAX) is not None:
            return True
        if top.owner is None or not isinstance(top.owner.op, (DimShuffle, Elemwise)):
            break
        top = top.owner.inputs[-1]
    return False


# ---- shapes --------------------------------------------------------------------------------------


# which input has the shape of the output
_SHAPED_LIKE = {Softmax: 0, LogSoftmax: 0, SoftmaxGrad: 1, CrossentropySoftmax1Hot: 1,
                CrossentropySoftmax1HotGrad: 1, IncSubtensor: 0,
                AdvancedIncSubtensor: 0}  # fmt: skip


def shape_source(variable: Variable) -> Variable:
    """A variable of the same shape and pattern that takes less work: f(x) -> x.

    For a chain of more than REACH functions it is `variable`.
    """
    source = variable
    for _ in range(REACH):
        node = source.owner
        if node is None:
            return source
        if isinstance(node.op, Elemwise) and len(node.inputs) == 1:
            source = node.inputs[0]
        elif type(node.op) in _SHAPED_LIKE:
            source = node.inputs[_SHAPED_LIKE[type(node.op)]]
        else:
            return source
    return variable


def _same_shaped(variable: Variable) -> set[Variable]:
    """Variables that surely have the shape of `variable`, a few nodes deep."""
    found: dict[Variable, None] = {variable: None}
    stack = [variable]
    while stack and len(found) < 16:
        node = stack.pop().owner
        if node is None:
            continue
        same: Sequence[Variable] = ()
        if isinstance(node.op, Elemwise):
            wanted = pattern_of(node.outputs[0])
            same = [i for i in node.inputs if pattern_of(i) == wanted]
        elif type(node.op) in _SHAPED_LIKE:
            same = [node.inputs[_SHAPED_LIKE[type(node.op)]]]
        for item in same:
            if item not in found:
                found[item] = None
                stack.append(item)
    return set(found)


def is_shape_of(sizes: Variable, variable: Variable) -> bool:
    """Whether `sizes` is surely the shape of `variable`, as a vector."""
    node = sizes.owner
    if node is None:
        return False
    if isinstance(node.op, Shape):
        return not _same_shaped(node.inputs[0]).isdisjoint(_same_shaped(variable))
    if not isinstance(node.op, MakeVector) or len(node.inputs) != len(pattern_of(variable)):
        return False
    return all(is_size_of(size, variable, axis) for axis, size in enumerate(node.inputs))


def is_size_of(size: Variable, variable: Variable, axis: int) -> bool:
    """Whether the scalar `size` is surely the size of `variable` along `axis`."""
    if pattern_of(variable)[axis]:
        return constant_value(size) == 1
    node = size.owner
    if node is None or not isinstance(node.op, ShapeI) or node.op.i != axis:
        return False
    return not _same_shaped(node.inputs[0]).isdisjoint(_same_shaped(variable))


# ---- views ---------------------------------------------------------------------------------------

_VIEWS = (DimShuffle, Reshape, Subtensor, AdvancedSubtensor, Rebroadcast)


def views_of(variable: Variable) -> tuple[list[Apply], Variable]:
    """What `variable` shows, and the views that lie upon that, the innermost first."""
    views: list[Apply] = []
    for _ in range(REACH):
        if variable.owner is None or not isinstance(variable.owner.op, _VIEWS):
            break
        views.append(variable.owner)
        variable = variable.owner.inputs[0]
    return views[::-1], variable


def rearranged(variable: Variable, views: Sequence[Apply]) -> Variable:
    """`variable` under the ops of `views`, the first one first."""
    for view in views:
        variable = view.op(variable, *view.inputs[1:])
    return variable


def inverse_order(order: Sequence[int | str], ndim: int) -> tuple[int | str, ...]:
    """The dimshuffle that undoes one with this order of a variable with `ndim` axes."""
    place = {a: k for k, a in enumerate(order) if a != "x"}
    return tuple(place.get(a, "x") for a in range(ndim))


def moved(variable: Variable, order: Sequence[int | str] | None) -> Any:
    """dimshuffle(variable, order), or `variable` itself for None."""
    return variable if order is None else dimshuffle(variable, tuple(order))
