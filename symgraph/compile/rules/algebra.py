"""Algebra that saves work: neutral elements, signs, powers, constants.

No rule here changes where a result is NaN or infinite: x * 0, x - x and x / x stay as they are.
Zero may change its sign, as it may in kernels. Source: Theano, optimizations (local_add_canonizer,
local_mul_canonizer, local_pow_specialize and their kin).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.compile.rules.terms import (
    abs_,
    add,
    c,
    d,
    div,
    inv,
    like,
    maximum,
    minimum,
    mul,
    neg,
    power,
    sqr,
    sub,
    u,
    v,
    x,
)  # fmt: skip
from symgraph.graph import Constant
from symgraph.ops import elementwise as T
from symgraph.rewrite import AnyRule, Replacement, Rule, constant_value
from symgraph.types import DISCRETE, FLOATS, upcast


def _inverse_root(x: Any) -> Any:
    """x ** -0.5, which is 0 for -inf and +inf for -0.0."""
    zero, infinity = np.asarray(0, x.dtype), np.asarray(np.inf, x.dtype)
    return T.switch(T.eq(x, -infinity), zero, T.inv(T.abs_(T.sqrt(x))))


_POWERS = {
    0: lambda x: x.ones_like(), 1: lambda x: x, 2: T.sqr, 3: lambda x: T.mul(x, T.sqr(x)),
    4: lambda x: T.sqr(T.sqr(x)), -1: T.inv, -2: lambda x: T.inv(T.sqr(x)), 0.5: T.sqrt,
    -0.5: _inverse_root,
}  # fmt: skip


def _power(x: Any, c: Any) -> Replacement:
    value = constant_value(c)
    dtype = upcast(x.dtype, c.dtype)
    if value not in _POWERS or (dtype in DISCRETE and (value < 0 or dtype == "bool")):
        return None
    return _POWERS[value](like(x, dtype))  # type: ignore[no-any-return]


def _constants_first(u: Any, c: Any, d: Any) -> Replacement:
    if isinstance(u, Constant) or c.dtype not in FLOATS or d.dtype not in FLOATS:
        return None
    product = T.mul(c, d)
    with np.errstate(all="ignore"):
        value = np.multiply(c.data, d.data, dtype=product.dtype)
    # a product that overflows or underflows would do so whatever x is
    normal = np.finfo(product.dtype).tiny <= np.abs(value)
    return T.mul(product, u) if (normal & np.isfinite(value)).all() else None


def _exact_inverse(u: Any, c: Any) -> Replacement:
    value = constant_value(c)
    if value is None or c.dtype not in FLOATS:
        return None
    mantissa, exponent = np.frexp(value)
    if abs(mantissa) != 0.5 or abs(exponent) > 10:
        return None  # only a power of two has an inverse that changes no bit
    return T.mul(u, np.asarray(1 / value, c.dtype))  # type: ignore[no-any-return]


def _negated(u: Any, c: Any) -> Replacement:
    return T.mul(T.neg(c), u) if c.dtype in FLOATS else None


ALGEBRA: Sequence[AnyRule] = [
    Rule("x + 0 -> x", add(x, 0), lambda x: x),
    Rule("x - 0 -> x", sub(x, 0), lambda x: x),
    Rule("0 - x -> -x", sub(0, u), lambda u: T.neg(u)),
    Rule("x * 1 -> x", mul(x, 1), lambda x: x),
    Rule("x * -1 -> -x", mul(u, -1), lambda u: T.neg(u)),
    Rule("x / 1 -> x", div(x, 1), lambda x: x),
    Rule("x / -1 -> -x", div(u, -1), lambda u: T.neg(u)),
    Rule("1 / x -> inv(x)", div(1, u), lambda u: T.inv(u)),
    Rule("x / c -> x * (1 / c), for a power of two", div(u, c), _exact_inverse),
    Rule("inv(inv(x)) -> x", inv(inv(u)), lambda u: u),
    Rule("-(-x) -> x", neg(neg(x)), lambda x: x),
    Rule("-(x - y) -> y - x", neg(sub(u, v)), lambda u, v: T.sub(v, u)),
    Rule("x + -y -> x - y", add(u, neg(v)), lambda u, v: T.sub(u, v)),
    Rule("x - -y -> x + y", sub(u, neg(v)), lambda u, v: T.add(u, v)),
    Rule("-x * -y -> x * y", mul(neg(u), neg(v)), lambda u, v: T.mul(u, v)),
    Rule("-x / -y -> x / y", div(neg(u), neg(v)), lambda u, v: T.true_div(u, v)),
    Rule("c * -x -> -c * x", mul(c, neg(u)), _negated),
    Rule("-(c * x) -> -c * x", neg(mul(c, u)), _negated),
    Rule("-x * y -> -(x * y)", mul(neg(u), v), lambda u, v: T.neg(T.mul(u, v))),
    Rule("-x / y -> -(x / y)", div(neg(u), v), lambda u, v: T.neg(T.true_div(u, v))),
    Rule("c * (d * x) -> (c * d) * x", mul(c, mul(d, u)), _constants_first),
    Rule("abs(-x) -> abs(x)", abs_(neg(u)), lambda u: T.abs_(u)),
    Rule("abs(abs(x)) -> abs(x)", abs_(abs_(x)), lambda x: T.abs_(x)),
    Rule("sqr(-x) -> sqr(x)", sqr(neg(u)), lambda u: T.sqr(u)),
    Rule("sqr(abs(x)) -> sqr(x)", sqr(abs_(u)), lambda u: T.sqr(u)),
    Rule("x * x -> sqr(x)", mul(x, x), lambda x: T.sqr(x)),
    Rule("x ** c -> products, sqr, sqrt, inv, for the c that have one", power(x, c), _power),
    Rule("maximum(x, x) -> x", maximum(x, x), lambda x: x),
    Rule("minimum(x, x) -> x", minimum(x, x), lambda x: x),
]
