"""a**b of floats with C's special cases, branch-free, written over mathlib's `Value`.

exp(b log|a|), with the product known to more digits than the format has: it may be as large as 745,
and its error is the result's relative error. float32 computes in float64; float64 in sums of two
numbers, T. J. Dekker, A floating-point technique for extending the available precision, Numerische
Mathematik 18 (1971). The polynomials are our own fits at Chebyshev nodes in 60 digits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from symgraph.compile.twoparts import fast_two_sum

if TYPE_CHECKING:
    from symgraph.compile.mathlib import Value

# log((1 + s) / (1 - s)) = 2 s + s z (2/3 + z Q(z)), z = s * s, and the short form for float32
_Q = (0.40000000000000024, 0.28571428571338503, 0.22222222271102557, 0.18181808247519243,
      0.15385574797895432, 0.13285957396218243, 0.12913618079739866)  # fmt: skip
_SHORT = (0.6666666666737545, 0.39999998796848674, 0.2857175463573282, 0.22191394493172326,
          0.19362776836788823)  # fmt: skip
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
_LN2 = (0.6931471805598903, 5.497923018708371e-14)  # the first times an exponent is exact


def _log_limits(x: Value, result: Value) -> Value:
    result = (x == 0.0).where(-math.inf, result)
    result = (x == math.inf).where(math.inf, result)
    return x.is_nan().where(x, result)


def log_parts(x: Value) -> tuple[Value, Value]:
    """log(x) in two parts, for x >= 0; error about 2**-65 of it."""
    k, f = x.normalise()
    sum_high = f + 2.0
    sum_low = f - (sum_high - 2.0)
    inverse = 1.0 / sum_high
    s = f * inverse
    s_low = (s.exact_fma(-sum_high, f) - s * sum_low) * inverse
    z = s * s
    z_low = s.exact_fma(s, -z) + s * s_low * 2.0
    w = z * _TWO_THIRDS[0]
    w_low = z.exact_fma(_TWO_THIRDS[0], -w) + (z * _TWO_THIRDS[1] + z_low * _TWO_THIRDS[0])
    w, w_low = fast_two_sum(w, w_low + z * z * z.poly(_Q))
    cubic = s * w
    cubic_low = s.exact_fma(w, -cubic) + (s * w_low + s_low * w)
    fraction, lost = fast_two_sum(s * 2.0, cubic)
    high, low = fast_two_sum(k * _LN2[0], fraction)
    low = low + (lost + (k.fma(_LN2[1], cubic_low + s_low * 2.0)))
    high, low = fast_two_sum(high, low)
    return _log_limits(x, high), low


def short_log(x: Value) -> Value:
    """log of a float64 to float32's digits, for x >= 0."""
    k, f = x.normalise()
    s = f / (f + 2.0)
    z = s * s
    return _log_limits(x, k.fma(math.log(2), (s * z).fma(z.poly(_SHORT), s * 2.0)))


def _power_double(size: Value, b: Value) -> Value:
    """size**b for size >= 0, but for size = 1 with b infinite, and b = 0."""
    high, low = log_parts(size)
    product = b * high
    rest = b.exact_fma(high, -product) + b * low
    return product.exp_of_sum((product.abs() < 800.0).where(rest, 0.0))


def _power_single(size: Value, b: Value) -> Value:
    """The same for float32."""
    return (b.wide() * short_log(size.wide())).short_exp().narrow()


def power(a: Value, b: Value) -> Value:
    size = a.abs()
    result = (_power_single if a.format.mantissa == 23 else _power_double)(size, b)
    result = ((size == 1.0) & (b == b)).where(1.0, result)
    half = b * 0.5
    odd = (b.rint() == b) & (half.rint() != half)
    result = odd.where(result.copysign(a), result)
    undefined = (a < 0.0) & (a > -math.inf) & (b.rint() != b)
    result = undefined.where(math.nan, result)
    return ((a == 1.0) | (b == 0.0)).where(1.0, result)
