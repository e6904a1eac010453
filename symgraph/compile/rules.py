"""The rewrite rules: rows of pattern and replacement, with the algebra in the margin.

Three tables: CANONICAL tidies what differentiation and broadcasting leave behind, STABLE replaces
expressions that overflow or cancel by ones that do not, FAST saves work. The first two hold at
every optimisation level, since they keep results right; see theano-semantics in the docs for the
list that Theano's users rely on (its tensor/opt.py, nnet/sigm.py and nnet/nnet.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.graph import Apply, Constant, Variable
from symgraph.ops import elementwise as T
from symgraph.ops import reduce as R
from symgraph.ops.alloc import ARange
from symgraph.ops.core import SECOND, SUM, DimShuffle, Elemwise, Reduce, dimshuffle, restore_axes
from symgraph.ops.gather import AdvancedIncSubtensor, AdvancedSubtensor
from symgraph.ops.index import Subtensor
from symgraph.ops.passing import PassThrough
from symgraph.ops.softmax import (
    CrossentropySoftmax1Hot,
    CrossentropySoftmax1HotGrad,
    LogSoftmax,
    Softmax,
    SoftmaxGrad,
)
from symgraph.ops.structure import Rebroadcast, Reshape
from symgraph.rewrite import (
    Matcher,
    NodeRule,
    Replacement,
    Rewriter,
    Rule,
    Table,
    Wild,
    constant_value,
    table_of,
)
from symgraph.types import DISCRETE, FLOATS

x, y, z = Wild("x"), Wild("y"), Wild("z")
c, d = Wild("c", lambda v: isinstance(v, Constant)), Wild("d", lambda v: isinstance(v, Constant))

add, sub, mul, div = Matcher(T.ADD), Matcher(T.SUB), Matcher(T.MUL), Matcher(T.TRUE_DIV)
neg, power, exp, expm1 = Matcher(T.NEG), Matcher(T.POW), Matcher(T.EXP), Matcher(T.EXPM1)
log, log1p, sigmoid, softplus = (Matcher(r) for r in (T.LOG, T.LOG1P, T.SIGMOID, T.SOFTPLUS))
inv, sqr, abs_, sqrt = Matcher(T.INV), Matcher(T.SQR), Matcher(T.ABS), Matcher(T.SQRT)
erf, erfc, switch, cast = Matcher(T.ERF), Matcher(T.ERFC), Matcher(T.SWITCH), Matcher("cast")
softmax, softmax_grad = Matcher(Softmax), Matcher(SoftmaxGrad)
fill = Matcher(SECOND)


# ---- canonical -----------------------------------------------------------------------------------


def _merge_dimshuffles(node: Apply) -> Replacement:
    """dimshuffle(dimshuffle(x)) -> dimshuffle(x); the identity -> x"""
    (source,) = node.inputs
    order = node.op.new_order  # type: ignore[attr-defined]
    inner = source.owner
    if inner is not None and type(inner.op) is DimShuffle:
        below = inner.op.new_order
        return dimshuffle(inner.inputs[0], tuple("x" if a == "x" else below[a] for a in order))  # type: ignore[no-any-return]
    if order == tuple(range(source.type.ndim)):
        return source
    return None


def _cut_fill(node: Apply) -> Replacement:
    """second(x, y) -> y, where y has x's shape as far as the types tell"""
    like, value = node.inputs
    if value.type == node.outputs[0].type and (
        like.type.broadcastable == value.type.broadcastable or all(like.type.broadcastable)  # type: ignore[attr-defined]
    ):
        return value
    return None


def _sink_fill(node: Apply) -> Replacement:
    """f(second(x, y), z) -> f(y, z), where z alone gives the result its shape"""
    if not isinstance(node.op, Elemwise) or kind_is(node, SECOND):
        return None
    for k, variable in enumerate(node.inputs):
        owner = variable.owner
        if owner is None or not kind_is(owner, SECOND):
            continue
        inputs = list(node.inputs)
        inputs[k] = owner.inputs[1]
        patterns = [v.type.broadcastable for v in inputs]  # type: ignore[attr-defined]
        if tuple(all(p) for p in zip(*patterns, strict=True)) == node.outputs[0].type.broadcastable:  # type: ignore[attr-defined]
            return node.op(*inputs)  # type: ignore[no-any-return]
    return None


def kind_is(node: Apply, row: Any) -> bool:
    return getattr(node.op, "scalar_op", None) is row


def _merge_casts(node: Apply) -> Replacement:
    """cast(cast(x)) -> cast(x), where the inner cast loses nothing; cast to its own dtype -> x"""
    (source,) = node.inputs
    wanted = node.outputs[0].type.dtype  # type: ignore[attr-defined]
    if source.type.dtype == wanted:  # type: ignore[attr-defined]
        return source
    inner = source.owner
    if inner is not None and getattr(getattr(inner.op, "scalar_op", None), "target", None):
        (below,) = inner.inputs
        if T.upcast(below.type.dtype, source.type.dtype) == source.type.dtype:  # type: ignore[attr-defined]
            return T.cast(below, wanted)  # type: ignore[no-any-return]
    return None


def _reshape(node: Apply) -> Replacement:
    """reshape(reshape(x), s) -> reshape(x, s)"""
    source = node.inputs[0].owner
    if source is not None and type(source.op) is Reshape:
        return node.op(source.inputs[0], *node.inputs[1:])  # type: ignore[no-any-return]
    return None


def _rebroadcast(node: Apply) -> Replacement:
    """rebroadcast to the pattern that x has -> x"""
    return node.inputs[0] if node.inputs[0].type == node.outputs[0].type else None


def _reduce_ones(node: Apply) -> Replacement:
    """A sum, product or extremum over axes of size 1 -> dimshuffle"""
    (source,) = node.inputs
    op = node.op
    assert isinstance(op, Reduce)
    pattern = source.type.broadcastable  # type: ignore[attr-defined]
    if source.type.dtype != op.dtype:  # type: ignore[attr-defined]
        return None
    if all(pattern[a] for a in op.axis):
        return dimshuffle(source, [a for a in range(len(pattern)) if a not in op.axis])  # type: ignore[no-any-return]
    return None


def _sum_sums(node: Apply) -> Replacement:
    """sum(sum(x)) -> sum(x)"""
    source, op = node.inputs[0].owner, node.op
    if source is None or not isinstance(source.op, Reduce) or source.op.reduction is not SUM:
        return None
    assert isinstance(op, Reduce)
    inner = source.op
    if inner.acc_dtype != op.acc_dtype or inner.dtype != op.dtype:
        return None
    kept = [a for a in range(source.inputs[0].type.ndim) if a not in inner.axis]
    axes = tuple(sorted((*inner.axis, *(kept[a] for a in op.axis))))
    return Reduce(SUM, axes, op.dtype, op.acc_dtype)(source.inputs[0])  # type: ignore[no-any-return]


CANONICAL: Sequence[Rule | NodeRule] = [
    NodeRule(DimShuffle, _merge_dimshuffles),
    NodeRule(SECOND, _cut_fill),
    NodeRule(None, _sink_fill),
    NodeRule("cast", _merge_casts),
    NodeRule(Reshape, _reshape),
    NodeRule(Rebroadcast, _rebroadcast),
    NodeRule(PassThrough, lambda node: node.inputs[0]),
    NodeRule(SUM, _reduce_ones),
    NodeRule(SUM, _sum_sums),
    *(NodeRule(row, _reduce_ones) for row in (R.PROD, R.MAX, R.MIN)),
]


# ---- algebra -------------------------------------------------------------------------------------


def _power(x: Any, c: Any) -> Replacement:
    """x ** c for the exponents that have a name"""
    value = constant_value(c)
    table = {1: lambda: x, 2: lambda: T.sqr(x), 0.5: lambda: T.sqrt(x), -1: lambda: T.inv(x),
             0: lambda: x.ones_like(), 3: lambda: T.mul(x, T.sqr(x)), 4: lambda: T.sqr(T.sqr(x)),
             -2: lambda: T.inv(T.sqr(x)), -0.5: lambda: T.inv(T.sqrt(x))}  # fmt: skip
    if value not in table or (x.dtype in DISCRETE and value < 0):
        return None
    return _like(table[value](), x, c)  # type: ignore[index]


def _like(result: Any, *inputs: Any) -> Any:
    """`result` in the dtype that the inputs' arithmetic has."""
    return T.cast(result, T.upcast(*(v.dtype for v in inputs)))


def _constants_first(x: Any, c: Any, d: Any) -> Replacement:
    """c * (d * x) -> (c * d) * x"""
    if x.dtype not in FLOATS or isinstance(x, Constant):
        return None
    return T.mul(T.mul(c, d), x)  # type: ignore[no-any-return]


def _log_of_exp(x: Any) -> Replacement:
    return x if x.dtype in FLOATS else None


FAST: Sequence[Rule | NodeRule] = [
    Rule(add(x, 0), lambda x: x),                            # x + 0 -> x
    Rule(sub(x, 0), lambda x: x),                            # x - 0 -> x
    Rule(sub(0, x), lambda x: T.neg(x)),                     # 0 - x -> -x
    Rule(mul(x, 1), lambda x: x),                            # x * 1 -> x
    Rule(mul(x, -1), lambda x: T.neg(x)),                    # x * -1 -> -x
    Rule(div(x, 1), lambda x: x),                            # x / 1 -> x
    Rule(div(x, -1), lambda x: T.neg(x)),                    # x / -1 -> -x
    Rule(div(1, x), lambda x: T.inv(x)),                     # 1 / x -> inv(x)
    Rule(inv(inv(x)), lambda x: x),                          # inv(inv(x)) -> x
    Rule(neg(neg(x)), lambda x: x),                          # --x -> x
    Rule(neg(sub(x, y)), lambda x, y: T.sub(y, x)),          # -(x - y) -> y - x
    Rule(add(x, neg(y)), lambda x, y: T.sub(x, y)),          # x + -y -> x - y
    Rule(sub(x, neg(y)), lambda x, y: T.add(x, y)),          # x - -y -> x + y
    Rule(mul(neg(x), neg(y)), lambda x, y: T.mul(x, y)),     # -x * -y -> x * y
    Rule(div(neg(x), neg(y)), lambda x, y: T.true_div(x, y)),
    Rule(mul(neg(x), y), lambda x, y: T.neg(T.mul(x, y))),   # -x * y -> -(x * y)
    Rule(div(neg(x), y), lambda x, y: T.neg(T.true_div(x, y))),
    Rule(abs_(neg(x)), lambda x: T.abs_(x)),                 # |-x| -> |x|
    Rule(abs_(abs_(x)), lambda x: T.abs_(x)),
    Rule(sqr(neg(x)), lambda x: T.sqr(x)),
    Rule(sqr(abs_(x)), lambda x: T.sqr(x)),
    Rule(mul(x, x), lambda x: T.sqr(x)),                     # x * x -> x ** 2
    Rule(power(x, c), _power),
    Rule(mul(c, mul(d, x)), _constants_first),
    Rule(mul(c, neg(x)), lambda x, c: T.mul(T.neg(c), x)),   # c * -x -> -c * x
    Rule(neg(mul(c, x)), lambda x, c: T.mul(T.neg(c), x)),   # -(c * x) -> -c * x
    Rule(switch(x, y, y), lambda x, y: y),                   # both branches the same
    Rule(log(exp(x)), _log_of_exp),                          # log(exp(x)) -> x
]  # fmt: skip


# ---- stability -----------------------------------------------------------------------------------


def _is_view(node: Apply | None) -> bool:
    return node is not None and isinstance(
        node.op, (DimShuffle, Reshape, Subtensor, AdvancedSubtensor, Rebroadcast)
    )


_LOG_STABLE = (T.SIGMOID, T.EXP, T.ERFC)


def _log_through_views(node: Apply) -> Replacement:
    """log(view(f(x))) -> view(log(f(x))), for the f whose logarithm has a stable form"""
    chain: list[Apply] = []
    variable = node.inputs[0]
    while _is_view(variable.owner):
        assert variable.owner is not None
        chain.append(variable.owner)
        variable = variable.owner.inputs[0]
    owner = variable.owner
    if not chain or owner is None:
        return None
    row = getattr(owner.op, "scalar_op", None)
    is_one_minus = row is T.SUB and constant_value(owner.inputs[0]) == 1
    if not (isinstance(owner.op, Softmax) or row in _LOG_STABLE or is_one_minus):
        return None
    result = node.op(variable)
    for view in reversed(chain):
        result = view.op(result, *view.inputs[1:])
    return result  # type: ignore[no-any-return]


def _log_sum_exp(node: Apply) -> Replacement:
    """log(sum(exp(x))) -> max(x) + log(sum(exp(x - max(x))))"""
    source = node.inputs[0]
    order = None
    if source.owner is not None and type(source.owner.op) is DimShuffle:
        order, source = source.owner.op.new_order, source.owner.inputs[0]
    total = source.owner
    if total is None or not isinstance(total.op, Reduce) or total.op.reduction is not SUM:
        return None
    inner = total.inputs[0].owner
    if inner is None or not kind_is(inner, T.EXP):
        return None
    arg, op = inner.inputs[0], total.op
    if arg.type.dtype != op.dtype:  # type: ignore[attr-defined]
        return None
    top = R.max(arg, axis=op.axis)
    finite = T.switch(T.isinf(top), T.cast(0, top.dtype), top)
    shifted = T.exp(T.sub(arg, dimshuffle(finite, restore_axes(arg.type.ndim, op.axis))))
    result = T.add(finite, T.log(Reduce(SUM, op.axis, op.dtype, op.acc_dtype)(shifted)))
    return dimshuffle(result, order) if order is not None else result  # type: ignore[no-any-return]


def _log_add_exp(x: Any, y: Any) -> Replacement:
    """log(exp(x) + exp(y)) -> max(x, y) + log1p(exp(-|x - y|))"""
    if x.dtype not in FLOATS or x.dtype != y.dtype:
        return None
    same = T.eq(x, y)  # also both infinite, where the difference is not a number
    gap = T.switch(same, T.cast(0, x.dtype), T.neg(T.abs_(T.sub(x, y))))
    return T.add(T.maximum(x, y), T.log1p(T.exp(gap)))  # type: ignore[no-any-return]


def _is_arange_of(variable: Variable) -> bool:
    node = variable.owner
    return (
        node is not None
        and isinstance(node.op, ARange)
        and constant_value(node.inputs[0]) == 0
        and constant_value(node.inputs[2]) == 1
    )


def _pairs(node: Apply, index: Sequence[Variable]) -> Variable | None:
    """y, if the index of a matrix is [arange(n), y] with a vector y."""
    slots = node.op.slots() if isinstance(node.op, AdvancedSubtensor) else None
    if slots is not None and len(slots) != 2:
        return None
    if len(index) != 2 or len(node.op.idx_list) != 2:  # type: ignore[attr-defined]
        return None
    rows, columns = index
    if not _is_arange_of(rows) or any(v.type.ndim != 1 for v in index):
        return None
    if any(v.type.broadcastable[0] for v in index):  # type: ignore[attr-defined]
        return None
    return columns


def _pick_log_softmax(node: Apply) -> Replacement:
    """logsoftmax(x)[arange(n), y] -> -crossentropy(x, y)"""
    source = node.inputs[0].owner
    if source is None or not isinstance(source.op, LogSoftmax):
        return None
    labels = _pairs(node, node.inputs[1:])
    if labels is None:
        return None
    return T.neg(CrossentropySoftmax1Hot()(source.inputs[0], labels))  # type: ignore[no-any-return]


def _softmax_grad(node: Apply) -> Replacement:
    """softmax_grad(g / p, p) -> g - p * sum(g); where g is h at [arange(n), y] and 0 elsewhere,
    that is (p - onehot(y)) * -h"""
    g, p = node.inputs
    quotient = g.owner
    if quotient is None or not kind_is(quotient, T.TRUE_DIV) or quotient.inputs[1] is not p:
        return None
    g = quotient.inputs[0]
    source, scatter = p.owner, g.owner
    if (
        source is not None
        and isinstance(source.op, Softmax)
        and scatter is not None
        and isinstance(scatter.op, AdvancedIncSubtensor)
        and not scatter.op.set_instead_of_inc
        and is_zero(scatter.inputs[0])
    ):
        labels = _pairs(scatter, scatter.inputs[2:])
        h = scatter.inputs[1]
        if labels is not None and h.type.ndim <= 1 and h.type.dtype == p.type.dtype:  # type: ignore[attr-defined]
            h = h if h.type.ndim == 1 else dimshuffle(h, ("x",))
            if h.type.broadcastable[0]:  # type: ignore[attr-defined]
                h = Elemwise(SECOND)(labels, h)
            return CrossentropySoftmax1HotGrad()(T.neg(h), source.inputs[0], labels)  # type: ignore[no-any-return]
    return T.sub(g, T.mul(p, R.sum(g, axis=1, keepdims=True, acc_dtype=p.type.dtype)))  # type: ignore[attr-defined,no-any-return]


def is_zero(variable: Variable) -> bool:
    """Zeros of any shape: a constant 0, or one broadcast to a shape."""
    while True:
        if constant_value(variable) == 0:
            return True
        owner = variable.owner
        if owner is None:
            return isinstance(variable, Constant) and not variable.data.any()
        if kind_is(owner, SECOND):
            variable = owner.inputs[1]
        elif isinstance(owner.op, DimShuffle) or type(owner.op).__name__ == "Alloc":
            variable = owner.inputs[0]
        else:
            return False


def _scatter_quotient(node: Apply) -> Replacement:
    """zeros with (u / p[i]) added at i -> (zeros with u added at i) / p, off p = 0"""
    zeros, u = node.inputs[:2]
    quotient = u.owner
    if quotient is None or not kind_is(quotient, T.TRUE_DIV) or not is_zero(zeros):
        return None
    taken = quotient.inputs[1].owner
    if taken is None or not isinstance(taken.op, AdvancedSubtensor):
        return None
    if taken.op.idx_list != node.op.idx_list or taken.inputs[1:] != node.inputs[2:]:  # type: ignore[attr-defined]
        return None
    p = taken.inputs[0]
    if p.owner is None or not isinstance(p.owner.op, Softmax) or node.op.set_instead_of_inc:  # type: ignore[attr-defined]
        return None
    return T.true_div(node.op(zeros, quotient.inputs[0], *node.inputs[2:]), p)  # type: ignore[no-any-return]


def _quotient_through_view(node: Apply) -> Replacement:
    """view(g / view'(p)) -> view(g) / p, where view undoes view' and p is a softmax"""
    quotient = node.inputs[0].owner
    if quotient is None or not kind_is(quotient, T.TRUE_DIV):
        return None
    below = quotient.inputs[1].owner
    if below is None or type(below.op) is not type(node.op):
        return None
    p = below.inputs[0]
    if p.owner is None or not isinstance(p.owner.op, Softmax) or p.type != node.outputs[0].type:
        return None
    if isinstance(node.op, DimShuffle):
        order = [below.op.new_order[a] if a != "x" else "x" for a in node.op.new_order]  # type: ignore[attr-defined,index]
        if order != list(range(p.type.ndim)):
            return None
    return T.true_div(node.op(quotient.inputs[0], *node.inputs[1:]), p)  # type: ignore[no-any-return]


STABLE: Sequence[Rule | NodeRule] = [
    Rule(log(softmax(x)), lambda x: LogSoftmax()(x)),             # log(softmax(x)) -> logsoftmax(x)
    NodeRule(T.LOG, _log_through_views),
    NodeRule(T.LOG1P, _log_through_views),
    NodeRule(AdvancedSubtensor, _pick_log_softmax),
    NodeRule(SoftmaxGrad, _softmax_grad),
    NodeRule(AdvancedIncSubtensor, _scatter_quotient),
    NodeRule(Reshape, _quotient_through_view),
    NodeRule(DimShuffle, _quotient_through_view),
    Rule(log(sigmoid(x)), lambda x: T.neg(T.softplus(T.neg(x)))), # log(sigmoid(x)) -> -softplus(-x)
    Rule(log(sub(1, sigmoid(x))), lambda x: T.neg(T.softplus(x))),  # log(1-sigmoid(x)) -> -softplus(x)
    Rule(log1p(neg(sigmoid(x))), lambda x: T.neg(T.softplus(x))),
    Rule(sub(1, sigmoid(x)), lambda x: T.sigmoid(T.neg(x))),      # 1 - sigmoid(x) -> sigmoid(-x)
    Rule(inv(add(1, exp(neg(x)))), lambda x: T.sigmoid(x)),       # 1 / (1 + exp(-x)) -> sigmoid(x)
    Rule(div(1, add(1, exp(neg(x)))), lambda x: T.sigmoid(x)),
    Rule(inv(add(1, exp(x))), lambda x: T.sigmoid(T.neg(x))),
    Rule(div(1, add(1, exp(x))), lambda x: T.sigmoid(T.neg(x))),
    Rule(div(exp(x), add(1, exp(x))), lambda x: T.sigmoid(x)),
    Rule(log1p(exp(x)), lambda x: T.softplus(x)),                 # log(1 + exp(x)) -> softplus(x)
    Rule(log(add(1, exp(x))), lambda x: T.softplus(x)),
    Rule(log(add(exp(x), exp(y))), _log_add_exp),
    NodeRule(T.LOG, _log_sum_exp),
    Rule(log(add(1, x)), lambda x: T.log1p(x) if x.dtype in FLOATS else None),  # log(1+x) -> log1p(x)
    Rule(log(sub(1, x)), lambda x: T.log1p(T.neg(x)) if x.dtype in FLOATS else None),
    Rule(sub(exp(x), 1), lambda x: T.expm1(x)),                   # exp(x) - 1 -> expm1(x)
    Rule(add(exp(x), -1), lambda x: T.expm1(x)),
    Rule(sub(1, erf(x)), lambda x: T.erfc(x)),                    # 1 - erf(x) -> erfc(x)
    Rule(sub(1, erfc(x)), lambda x: T.erf(x)),
    Rule(sub(erf(x), 1), lambda x: T.neg(T.erfc(x))),
]  # fmt: skip

LEVELS: dict[str, Table] = {
    "fast_run": table_of([*STABLE, *CANONICAL, *FAST]),
    "fast_compile": table_of([*STABLE, *CANONICAL]),
    "none": {},
}


def rewrite_graph(outputs: Sequence[Variable], level: str) -> list[Variable]:
    """`outputs` rewritten by the tables of `level`: fast_run, fast_compile or none."""
    return Rewriter(LEVELS[level]).rewrite(outputs)
