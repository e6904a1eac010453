"""Softmax with a cross-entropy on it, fused in value and gradient.

Whatever form the user wrote, log(p)[arange(n), y], log(p[arange(n), y]), categorical_crossentropy,
the value is exact for logits of any size and the gradient is p - onehot(y).
Source: Theano, nnet/nnet.py (local_advanced_indexing_crossentropy_onehot and its gradient).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.compile.rules.products import multiplied
from symgraph.compile.rules.terms import dtype_of, is_size_of, is_zero, pattern_of
from symgraph.graph import Apply, Constant, Variable
from symgraph.ops import elementwise as T
from symgraph.ops import reduce as R
from symgraph.ops.alloc import ARange
from symgraph.ops.core import SECOND, Elemwise, dimshuffle
from symgraph.ops.gather import AdvancedIncSubtensor, AdvancedSubtensor
from symgraph.ops.index import Slot
from symgraph.ops.softmax import (
    CrossentropySoftmax1Hot,
    CrossentropySoftmax1HotGrad,
    LogSoftmax,
    OneForEach,
    Softmax,
    SoftmaxGrad,
)
from symgraph.rewrite import AnyRule, NodeRule, Replacement, constant_value
from symgraph.variable import constant


def _length(rows: Variable) -> Any:
    """n, if this is 0, 1, ..., n - 1; else None."""
    if isinstance(rows, Constant):
        size = rows.data.size
        return constant(size, dtype="int64") if (rows.data == np.arange(size)).all() else None
    node = rows.owner
    if node is None or not isinstance(node.op, ARange):
        return None
    start, stop, step = node.inputs
    return stop if constant_value(start) == 0 and constant_value(step) == 1 else None


def _labels(entries: Sequence[object], index: Sequence[Variable]) -> Variable | None:
    """y, if the index of a matrix is [arange(n), y] with a vector y, which is checked to be of
    length n where this does not follow from n."""
    if tuple(entries) != (Slot.ARRAY, Slot.ARRAY):
        return None
    rows, labels = index
    if rows.type.ndim != 1 or pattern_of(rows) != pattern_of(labels):
        return None  # one label for several rows, or one row for several labels: something else
    length = _length(rows)
    if length is None or is_size_of(length, labels, 0):
        return None if length is None else labels
    return OneForEach()(labels, length)  # type: ignore[no-any-return]


def _pick_log_softmax(node: Apply) -> Replacement:
    """logsoftmax(x)[arange(n), y] -> -crossentropy(x, y)"""
    source = node.inputs[0].owner
    if source is None or not isinstance(source.op, LogSoftmax):
        return None
    labels = _labels(node.op.idx_list, node.inputs[1:])  # type: ignore[attr-defined]
    if labels is None:
        return None
    result = T.neg(CrossentropySoftmax1Hot()(source.inputs[0], labels))
    if pattern_of(result) != pattern_of(node.outputs[0]):
        return None
    return result  # type: ignore[no-any-return]


def _softmax_grad(node: Apply) -> Replacement:
    """softmax_grad(g / p, p) -> g - p * sum(g); (p - onehot(y)) * h where g is -h at
    [arange(n), y] and 0 elsewhere"""
    gradient, p = node.inputs
    g = multiplied(gradient, p)
    if g is None:
        return None
    dtype = dtype_of(p)
    fused = _one_hot(g, p)
    if fused is not None:
        return fused
    g = T.cast(g, dtype)
    if pattern_of(g) != pattern_of(p):
        g = Elemwise(SECOND)(p, g)
    return T.sub(g, T.mul(p, R.sum(g, axis=1, keepdims=True, acc_dtype=dtype)))  # type: ignore[no-any-return]


def _one_hot(g: Variable, p: Variable) -> Variable | None:
    source, scatter = p.owner, g.owner
    if source is None or scatter is None or not isinstance(source.op, Softmax):
        return None
    if not isinstance(scatter.op, AdvancedIncSubtensor) or not is_zero(scatter.inputs[0]):
        return None
    labels = _labels(scatter.op.idx_list, scatter.inputs[2:])
    if labels is None:
        return None
    h = scatter.inputs[1]
    if pattern_of(h) != pattern_of(labels):
        h = Elemwise(SECOND)(labels, dimshuffle(h, ("x",)) if h.type.ndim == 0 else h)
    return CrossentropySoftmax1HotGrad()(T.neg(h), source.inputs[0], labels)  # type: ignore[no-any-return]


CROSSENTROPY: Sequence[AnyRule] = [
    NodeRule(_pick_log_softmax, AdvancedSubtensor),
    NodeRule(_softmax_grad, SoftmaxGrad),
]
