"""Logarithms and exponentials that overflow or cancel, replaced by forms that do not.

These rules hold at every optimisation level. What a logarithm is taken of is seen through reshape,
dimshuffle and indexing. Source: Theano, tensor/opt.py, nnet/sigm.py (stability optimizations).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.compile.rules.terms import (
    add,
    argument,
    erf,
    erfc,
    exp,
    is_shifted,
    log,
    log1p,
    neg,
    node_of,
    opposite,
    pattern_of,
    rearranged,
    reduced,
    sigmoid,
    softmax,
    sub,
    u,
    v,
    views_of,
)  # fmt: skip
from symgraph.graph import Apply, Constant, Variable
from symgraph.ops import elementwise as T
from symgraph.ops import reduce as R
from symgraph.ops.core import SUM, Reduce, dimshuffle, restore_axes
from symgraph.ops.softmax import LogSoftmax, Softmax
from symgraph.rewrite import AnyRule, NodeRule, Replacement, Rule, constant_value
from symgraph.variable import constant

_INNER = (T.SIGMOID, T.EXP, T.ERFC, T.ADD, T.SUB, T.NEG)  # whose logarithm may have a stable form


# ---- logarithms through views --------------------------------------------------------------------


def _log_through_views(node: Apply) -> Replacement:
    """log(view(f(x))) -> view(log(f(x))) for softmax, log(f(view(x))) for elementwise f;
    log1p too"""
    views, variable = views_of(node.inputs[0])
    if not views:
        return None
    below = variable.owner
    if below is not None and (isinstance(below.op, Softmax) or reduced(variable, SUM)):
        if not isinstance(below.op, Softmax) and not _is_sum_of_exp(variable):
            return None
        return rearranged(node.op(variable), views)
    if below is None or node_of(variable, *_INNER) is None:
        return None
    inputs: list[Any] = []
    for operand in below.inputs:
        number = constant_value(operand)
        if number is not None:
            inputs.append(constant(np.asarray(number, operand.type.dtype)))
        elif pattern_of(operand) == pattern_of(variable):
            inputs.append(rearranged(operand, views))
        else:
            return None
    return node.op(below.op(*inputs))  # type: ignore[no-any-return]


def _one_minus_view(node: Apply) -> Replacement:
    """1 - view(sigmoid(x)) -> view(sigmoid(-x))"""
    if constant_value(node.inputs[0]) != 1:
        return None
    views, variable = views_of(node.inputs[1])
    below = argument(variable, T.SIGMOID)
    return rearranged(T.sigmoid(opposite(below)), views) if views and below is not None else None


def _is_sum_of_exp(variable: Variable) -> bool:
    total = reduced(variable, SUM)
    return total is not None and node_of(total.inputs[0], T.EXP) is not None


# ---- logarithms of sums of exponentials ----------------------------------------------------------


def _log_sum_exp(node: Apply) -> Replacement:
    """log(sum(exp(x))) -> max(x) + log(sum(exp(x - max(x))))"""
    source = node.inputs[0]
    total = reduced(source, SUM)
    if total is None or not _is_sum_of_exp(source):
        return None
    assert total.inputs[0].owner is not None
    arg, op = total.inputs[0].owner.inputs[0], total.op
    assert isinstance(op, Reduce)
    if arg.type.dtype != op.dtype or is_shifted(arg):
        return None
    top = R.max(arg, axis=op.axis)
    finite = T.switch(T.isinf(top), T.cast(0, top.dtype), top)  # inf - inf is not a number
    shifted = T.exp(T.sub(arg, dimshuffle(finite, restore_axes(arg.type.ndim, op.axis))))
    result = T.add(finite, T.log(Reduce(SUM, op.axis, op.dtype, op.acc_dtype)(shifted)))
    outer = source.owner
    assert outer is not None
    return dimshuffle(result, outer.op.new_order) if outer is not total else result  # type: ignore[attr-defined,no-any-return]


def _log_add_exp(u: Any, v: Any) -> Replacement:
    if u.dtype != v.dtype:
        return None
    same = T.eq(u, v)  # also both infinite, where the difference is not a number
    gap = T.switch(same, T.cast(0, u.dtype), T.neg(T.abs_(T.sub(u, v))))
    return T.add(T.maximum(u, v), T.log1p(T.exp(gap)))  # type: ignore[no-any-return]


# ---- the tail of erfc ----------------------------------------------------------------------------

_TAIL = {"float32": 9.0, "float64": 26.0}  # beyond it erfc(x) loses digits, then is 0


def _tail_series(x: Any) -> Any:
    """sqrt(pi) * x * exp(x ** 2) * erfc(x) for large x: an asymptotic series in 1 / (2 x ** 2).

    Source: Abramowitz and Stegun, 7.1.23.
    """
    t = T.inv(T.mul(np.asarray(2, x.dtype), T.sqr(x)))
    one = np.asarray(1, x.dtype)
    result: Any = one
    for odd in (11, 9, 7, 5, 3, 1):
        result = T.sub(one, T.mul(T.mul(np.asarray(odd, x.dtype), t), result))
    return result


def tail_of_erfc(x: Any) -> tuple[Any, Any, Any] | None:
    """(whether x is in the tail, x limited to outside of it, x limited to it); None if it is so
    limited already, or if erfc of its dtype is computed in another."""
    if x.dtype not in _TAIL:
        return None
    node = node_of(x, T.MINIMUM)
    if node is not None and any(isinstance(i, Constant) for i in node.inputs):
        return None
    start = np.asarray(_TAIL[x.dtype], x.dtype)
    return T.gt(x, start), T.minimum(x, start), T.maximum(x, start)


def _log_erfc(u: Any) -> Replacement:
    parts = tail_of_erfc(u)
    if parts is None:
        return None
    beyond, near, far = parts
    scale = T.log(T.mul(far, np.asarray(math.sqrt(math.pi), u.dtype)))
    tail = T.sub(T.sub(T.log(_tail_series(far)), T.sqr(far)), scale)
    return T.switch(beyond, tail, T.log(T.erfc(near)))  # type: ignore[no-any-return]


def gaussian_over_erfc(u: Any) -> Any:
    """exp(-u ** 2) / erfc(u), also where both underflow; None where `tail_of_erfc` is."""
    parts = tail_of_erfc(u)
    if parts is None:
        return None
    beyond, near, far = parts
    tail = T.true_div(T.mul(far, np.asarray(math.sqrt(math.pi), u.dtype)), _tail_series(far))
    return T.switch(beyond, tail, T.true_div(T.exp(T.neg(T.sqr(near))), T.erfc(near)))


# ---- the table -----------------------------------------------------------------------------------


def _minus_softplus(u: Any) -> Any:
    return T.neg(T.softplus(u))


STABILITY: Sequence[AnyRule] = [
    Rule("log(softmax(x)) -> logsoftmax(x)", log(softmax(u)), lambda u: LogSoftmax()(u)),
    NodeRule(_log_through_views, T.LOG, T.LOG1P),
    NodeRule(_one_minus_view, T.SUB),
    Rule("log(exp(x)) -> x", log(exp(u)), lambda u: u),
    Rule("log(sigmoid(x)) -> -softplus(-x)", log(sigmoid(u)),
         lambda u: _minus_softplus(opposite(u))),
    Rule("log1p(-sigmoid(x)) -> -softplus(x)", log1p(neg(sigmoid(u))), _minus_softplus),
    Rule("1 - sigmoid(x) -> sigmoid(-x)", sub(1, sigmoid(u)), lambda u: T.sigmoid(opposite(u))),
    Rule("1 + -sigmoid(x) -> sigmoid(-x)", add(1, neg(sigmoid(u))),
         lambda u: T.sigmoid(opposite(u))),
    Rule("log1p(exp(x)) -> softplus(x)", log1p(exp(u)), lambda u: T.softplus(u)),
    Rule("log(1 + exp(x)) -> softplus(x)", log(add(1, exp(u))), lambda u: T.softplus(u)),
    Rule("log(exp(x) + exp(y)) -> maximum(x, y) + log1p(exp(-|x - y|))",
         log(add(exp(u), exp(v))), _log_add_exp),
    NodeRule(_log_sum_exp, T.LOG),
    Rule("log(erfc(x)) -> an asymptotic series for large x", log(erfc(u)), _log_erfc),
    Rule("log(1 + x) -> log1p(x)", log(add(1, u)), lambda u: T.log1p(u)),
    Rule("log(1 - x) -> log1p(-x)", log(sub(1, u)), lambda u: T.log1p(T.neg(u))),
    Rule("exp(x) - 1 -> expm1(x)", sub(exp(u), 1), lambda u: T.expm1(u)),
    Rule("exp(x) + -1 -> expm1(x)", add(exp(u), -1), lambda u: T.expm1(u)),
    Rule("1 - erf(x) -> erfc(x)", sub(1, erf(u)), lambda u: T.erfc(u)),
    Rule("1 + -erf(x) -> erfc(x)", add(1, neg(erf(u))), lambda u: T.erfc(u)),
    Rule("1 + erf(x) -> erfc(-x)", add(1, erf(u)), lambda u: T.erfc(opposite(u))),
    Rule("erf(x) - 1 -> -erfc(x)", sub(erf(u), 1), lambda u: T.neg(T.erfc(u))),
    Rule("erf(x) + -1 -> -erfc(x)", add(erf(u), -1), lambda u: T.neg(T.erfc(u))),
    Rule("1 - erfc(x) -> erf(x)", sub(1, erfc(u)), lambda u: T.erf(u)),
    Rule("1 + -erfc(x) -> erf(x)", add(1, neg(erfc(u))), lambda u: T.erf(u)),
    Rule("erfc(x) - 1 -> -erf(x)", sub(erfc(u), 1), lambda u: T.neg(T.erf(u))),
    Rule("erfc(x) + -1 -> -erf(x)", add(erfc(u), -1), lambda u: T.neg(T.erf(u))),
]  # fmt: skip
