"""Canonical forms: what differentiation, broadcasting and views leave behind, tidied.

These rules hold at every optimisation level, since the stability rules rely on the forms.
Source: Theano, optimizations (fill cut, dimshuffle lift, shape promotion, merge of reshapes).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symgraph.compile.rules.terms import (
    REACH,
    dtype_of,
    identity,
    is_shape_of,
    node_of,
    pattern_of,
    shape_source,
    x,
)
from symgraph.graph import Apply, Constant
from symgraph.ops import elementwise as T
from symgraph.ops import reduce as R
from symgraph.ops.core import SECOND, SUM, DimShuffle, Elemwise, Reduce, dimshuffle
from symgraph.ops.index import FULL, Subtensor
from symgraph.ops.passing import PassThrough
from symgraph.ops.structure import MakeVector, Rebroadcast, Reshape, Shape, ShapeI, shape_i
from symgraph.rewrite import AnyRule, NodeRule, Replacement, Rule
from symgraph.types import FLOATS
from symgraph.variable import constant

# ---- axes ----------------------------------------------------------------------------------------


def _merge_dimshuffles(node: Apply) -> Replacement:
    """dimshuffle(dimshuffle(x)) -> dimshuffle(x); in the order that x has -> x"""
    (source,) = node.inputs
    assert isinstance(node.op, DimShuffle)
    order = node.op.new_order
    inner = source.owner
    if inner is not None and isinstance(inner.op, DimShuffle):
        below = inner.op.new_order
        return dimshuffle(inner.inputs[0], tuple("x" if a == "x" else below[a] for a in order))  # type: ignore[index,no-any-return]
    return source if order == tuple(range(source.type.ndim)) else None


def _reshape(node: Apply) -> Replacement:
    """reshape(reshape(x), s) -> reshape(x, s); reshape(x, x.shape), reshape(vector, -1) -> x"""
    source, sizes = node.inputs
    if source.type.ndim == 1 and isinstance(sizes, Constant) and sizes.data.tolist() == [-1]:
        return source
    if is_shape_of(sizes, source):
        return source
    inner = source.owner
    if inner is not None and isinstance(inner.op, Reshape):
        return node.op(inner.inputs[0], sizes)  # type: ignore[no-any-return]
    return None


def _rebroadcast(node: Apply) -> Replacement:
    """rebroadcast(x) to the pattern that x has -> x; of a rebroadcast -> one rebroadcast"""
    (source,) = node.inputs
    if source.type == node.outputs[0].type:
        return source
    inner = source.owner
    if inner is None or not isinstance(inner.op, Rebroadcast):
        return None
    below = inner.inputs[0]
    known = zip(inner.op.broadcastable, pattern_of(below), strict=True)
    if any(claimed and not had for claimed, had in known):
        return None  # the inner one checks that a size is 1
    return node.op(below)  # type: ignore[no-any-return]


def _whole(node: Apply) -> Replacement:
    """x[:] -> x"""
    assert isinstance(node.op, Subtensor)
    return node.inputs[0] if all(entry == FULL for entry in node.op.idx_list) else None


# ---- broadcasting --------------------------------------------------------------------------------


def _cut_fill(node: Apply) -> Replacement:
    """fill(x, y) -> y, where y has x's shape as far as the types tell"""
    model, value = node.inputs
    if value.type == node.outputs[0].type and (
        pattern_of(model) == pattern_of(value) or all(pattern_of(model))
    ):
        return value
    return None


def _fill_like_source(node: Apply) -> Replacement:
    """fill(f(x), y) -> fill(x, y): only the shape of the first argument counts"""
    model, value = node.inputs
    inner = model.owner
    if (
        inner is not None
        and node_of(model, SECOND)
        and pattern_of(inner.inputs[0]) == pattern_of(model)
    ):
        return node.op(inner.inputs[0], value)  # type: ignore[no-any-return]
    source = shape_source(model)
    return node.op(source, value) if source is not model else None


def _sink_fill(node: Apply) -> Replacement:
    """f(fill(x, y), z) -> f(y, z), where z alone gives the result its shape"""
    if not isinstance(node.op, Elemwise) or node.op.scalar_op is SECOND or len(node.inputs) < 2:
        return None
    for k, variable in enumerate(node.inputs):
        fill = node_of(variable, SECOND)
        if fill is None:
            continue
        inputs = list(node.inputs)
        inputs[k] = fill.inputs[1]
        patterns = zip(*map(pattern_of, inputs), strict=True)
        if tuple(map(all, patterns)) == pattern_of(node.outputs[0]):
            return node.op(*inputs)  # type: ignore[no-any-return]
    return None


def _fill_dimshuffled(node: Apply) -> Replacement:
    """dimshuffle(fill(x, y)) -> fill(dimshuffle(x), dimshuffle(y))"""
    fill = node_of(node.inputs[0], SECOND)
    if fill is None:
        return None
    order = node.op.new_order  # type: ignore[attr-defined]
    drop = set(range(node.inputs[0].type.ndim)) - set(order)
    if not all(pattern_of(v)[a] for v in fill.inputs for a in drop):
        return None
    return Elemwise(SECOND)(*(dimshuffle(v, order) for v in fill.inputs))  # type: ignore[no-any-return]


def _fill_of_constant(node: Apply) -> Replacement:
    """f(fill(x, y)) -> fill(x, f(y)), where y is a constant"""
    if not isinstance(node.op, Elemwise) or len(node.inputs) != 1:
        return None
    fill = node_of(node.inputs[0], SECOND)
    if fill is None or not isinstance(fill.inputs[1], Constant):
        return None
    return Elemwise(SECOND)(fill.inputs[0], node.op(fill.inputs[1]))  # type: ignore[no-any-return]


# ---- dtypes --------------------------------------------------------------------------------------


def _holds(wide: str, narrow: str) -> bool:
    """Whether every number of dtype `narrow` is one of dtype `wide`."""
    if wide in FLOATS and narrow in ("int64", "uint64"):
        return False  # NumPy calls this safe, but it rounds
    return np.can_cast(narrow, wide, "safe")


def _merge_casts(node: Apply) -> Replacement:
    """cast(cast(x)) -> cast(x), where the inner cast loses nothing; to x's own dtype -> x"""
    (source,) = node.inputs
    wanted = dtype_of(node.outputs[0])
    if dtype_of(source) == wanted:
        return source
    inner = source.owner
    if inner is not None and getattr(getattr(inner.op, "scalar_op", None), "target", None):
        (below,) = inner.inputs
        if _holds(dtype_of(source), dtype_of(below)):
            return T.cast(below, wanted)  # type: ignore[no-any-return]
    return None


# ---- choice --------------------------------------------------------------------------------------


def _known_switch(node: Apply) -> Replacement:
    """switch(constant, x, y) -> x or y; switch(c, x, x) -> x"""
    condition, yes, no = node.inputs
    if yes is no and yes.type == node.outputs[0].type:
        return yes
    if not isinstance(condition, Constant) or not (
        condition.data.all() or not condition.data.any()
    ):
        return None
    if condition.data.size == 0:
        return None
    chosen, other = (yes, no) if condition.data.all() else (no, yes)
    result = T.cast(chosen, dtype_of(node.outputs[0]))
    for model in (condition, other):
        if any(
            one and not has for one, has in zip(pattern_of(result), pattern_of(model), strict=True)
        ):
            result = Elemwise(SECOND)(model, result)
    return result  # type: ignore[no-any-return]


# ---- reductions ----------------------------------------------------------------------------------


def _reduce_ones(node: Apply) -> Replacement:
    """sum(x) over axes of size 1 -> dimshuffle(x); prod, max and min too"""
    (source,) = node.inputs
    op = node.op
    assert isinstance(op, Reduce)
    pattern = pattern_of(source)
    if dtype_of(source) != op.dtype or not all(pattern[a] for a in op.axis):
        return None
    return dimshuffle(source, [a for a in range(len(pattern)) if a not in op.axis])  # type: ignore[no-any-return]


def _reduce_reduced(node: Apply) -> Replacement:
    """sum(sum(x)) -> sum(x); prod, max and min too"""
    source, op = node.inputs[0].owner, node.op
    assert isinstance(op, Reduce)
    if source is None or not isinstance(source.op, Reduce):
        return None
    inner = source.op
    same = inner.reduction is op.reduction and inner.dtype == op.dtype
    if not same or inner.acc_dtype != op.acc_dtype:
        return None
    kept = [a for a in range(source.inputs[0].type.ndim) if a not in inner.axis]
    axes = tuple(sorted((*inner.axis, *(kept[a] for a in op.axis))))
    return Reduce(op.reduction, axes, op.dtype, op.acc_dtype)(source.inputs[0])  # type: ignore[no-any-return]


def _reduce_dimshuffled(node: Apply) -> Replacement:
    """sum(dimshuffle(x)) -> dimshuffle(sum(x)); prod, max and min too"""
    source, op = node.inputs[0].owner, node.op
    assert isinstance(op, Reduce)
    if source is None or not isinstance(source.op, DimShuffle):
        return None
    order, (below,) = source.op.new_order, source.inputs
    axes = [order[a] for a in op.axis if order[a] != "x"]
    if not axes:
        return None
    axes = sorted([*axes, *source.op.drop])
    kept = [a for a in range(below.type.ndim) if a not in axes]
    left = [order[a] for a in range(len(order)) if a not in op.axis]
    result = Reduce(op.reduction, tuple(axes), op.dtype, op.acc_dtype)(below)  # type: ignore[arg-type]
    return dimshuffle(result, ["x" if a == "x" else kept.index(a) for a in left])  # type: ignore[arg-type,no-any-return]


# ---- shapes --------------------------------------------------------------------------------------


def _shape_of(node: Apply) -> Replacement:
    """shape(f(x)) -> shape(x), for f that keeps the shape"""
    source = shape_source(node.inputs[0])
    return node.op(source) if source is not node.inputs[0] else None


def _size_of(node: Apply) -> Replacement:
    """shape_i(f(x), i) -> the size of x there, for f that keeps the size"""
    assert isinstance(node.op, ShapeI)
    axis, (variable,) = node.op.i, node.inputs
    source = variable
    for _ in range(REACH):
        if pattern_of(source)[axis]:
            return constant(1, dtype="int64")
        below = shape_source(source)
        inner = below.owner
        if inner is not None and isinstance(inner.op, DimShuffle):
            below, at = inner.inputs[0], inner.op.new_order[axis]
            assert isinstance(at, int)
            axis = at
        elif inner is not None and isinstance(inner.op, Elemwise):
            sized = {v for v in inner.inputs if not pattern_of(v)[axis]}
            if len(sized) == 1:  # of several, their equality has still to be checked
                (below,) = sized
        if below is source:
            return shape_i(source, axis) if source is not variable else None
        source = below
    return None  # a longer chain is left as it is, at each of its nodes


def _element(node: Apply) -> Replacement:
    """shape(x)[i] -> shape_i(x, i); [a, b, ...][i] -> the element"""
    assert isinstance(node.op, Subtensor)
    source, entries = node.inputs[0].owner, node.op.idx_list
    if source is None or len(entries) != 1 or type(entries[0]) is not int:
        return None
    (position,) = entries
    assert isinstance(position, int)
    if isinstance(source.op, Shape):
        ndim = source.inputs[0].type.ndim
        return shape_i(source.inputs[0], position) if -ndim <= position < ndim else None
    if isinstance(source.op, MakeVector) and -len(source.inputs) <= position < len(source.inputs):
        return T.cast(source.inputs[position], source.op.dtype)  # type: ignore[no-any-return]
    return None


def _pass_through(node: Apply) -> Replacement:
    """consider_constant(x), grad_clip(x) and their kin -> x"""
    return node.inputs[0]


_FOLDS = (SUM, R.PROD, R.MAX, R.MIN)

CANONICAL: Sequence[AnyRule] = [
    NodeRule(_merge_dimshuffles, DimShuffle),
    NodeRule(_reshape, Reshape),
    NodeRule(_rebroadcast, Rebroadcast),
    NodeRule(_pass_through, PassThrough),
    NodeRule(_whole, Subtensor),
    NodeRule(_element, Subtensor),
    NodeRule(_cut_fill, SECOND),
    NodeRule(_fill_like_source, SECOND),
    NodeRule(_sink_fill, None),
    NodeRule(_fill_dimshuffled, DimShuffle),
    NodeRule(_fill_of_constant, None),
    NodeRule(_merge_casts, "cast"),
    NodeRule(_known_switch, T.SWITCH),
    NodeRule(_reduce_ones, *_FOLDS),
    NodeRule(_reduce_reduced, *_FOLDS),
    NodeRule(_reduce_dimshuffled, *_FOLDS),
    NodeRule(_shape_of, Shape),
    NodeRule(_size_of, ShapeI),
    Rule("copy(x) -> x", identity(x), lambda x: x),
]
