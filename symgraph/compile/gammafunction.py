"""gamma and log |gamma|, branch-free, written over mathlib's `Value`.

Both rest on Stirling's series from 3 on: (z - 1/2) log z - z + log(2 pi) / 2 + W(z), where z W(z)
is a polynomial in 1 / z**2.

gamma: the exponential of that series, its argument in two parts; below 3, gamma(y) is
gamma(y + 3) / (y (y + 1) (y + 2)), of numbers in two parts; for a negative x, pi / (x sin(pi x))
over gamma(-x), so that the exponential is of the negative series.
gammaln: the series from 3 on; below, f R(f), which is gammaln(2 + f), less a logarithm of what
leads there: 0 at 1 and at 2 to full relative accuracy. For a negative x, another logarithm for
the reflection: about the zeros between the poles, that leaves an absolute error of some units in
the last place of 1.

float32 computes in float64. Limits are those of C: gamma is +-inf at +-0 and NaN at negative
integers and -inf, gammaln is inf at all of these. Sources: Abramowitz and Stegun 6.1.15, 6.1.17,
6.1.41; the polynomials are our own fits at Chebyshev nodes in 60 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from symgraph.compile import powers
from symgraph.compile.twoparts import fast_two_sum, two_product, two_sum

if TYPE_CHECKING:
    from symgraph.compile.mathlib import Value

# W(z) z, by 1 / z**2, for z from 3 on
_STIRLING = {
    23: (0.08333333267263356, -0.0027775862247647813, 0.0007847184126522215,
         -0.00045442831797559084),
    52: (0.0833333333333333, -0.0027777777777198706, 0.0007936507724234067,
         -0.0005952350113118337, 0.000841516377813639, -0.0019068288114271366, 0.006092364447557875,
         -0.023023388614202698, 0.08133072111207505, -0.2070933006703759, 0.26180852870052634),
}  # fmt: skip
# R(f), for f from -1/2 to 1
_NEAR_TWO = {
    23: (0.422784335066951, 0.32246703271175725, -0.06735229600449497, 0.020580838386013687,
         -0.007385695159825894, 0.002890232196618212, -0.0011912552562852792, 0.0005098540400566062,
         -0.0002292360766540735, 0.00010494907140492508, -3.9087712565666506e-05,
         7.50933338182912e-06),
    52: (0.42278433509846713, 0.3224670334241132, -0.06735230105319796, 0.020580808427787502,
         -0.007385551028687111, 0.0028905103306125996, -0.0011927539111748094,
         0.0005096695270786523, -0.00022315476914202685, 9.945749459386184e-05,
         -4.4926118904862264e-05, 2.050723289467849e-05, -9.440199753274835e-06,
         4.375472004777847e-06, -2.0371195482358996e-06, 9.511969731319312e-07,
         -4.5041997201473635e-07, 2.2102374422908605e-07, -1.0784595012220329e-07,
         4.4561979632842775e-08, -1.2394516911278076e-08, 1.6305432352127331e-09),
}  # fmt: skip
# sin(pi f) / pi = f + f**3 P(f**2), for |f| up to 1/2
_SINE = {
    23: (-1.6449340665733154, 0.8117423702881529, -0.19075006208997916, 0.02612805885863882,
         -0.002255062816899857),
    52: (-1.6449340668482264, 0.8117424252833519, -0.19075182412194128, 0.026147847813078808,
         -0.0023460809634923995, 0.00014842817816693618, -6.97296055556422e-06,
         2.4591803848159366e-07),
}  # fmt: skip
_SLOPE = (0.42278433509846713, 4.942915152430645e-18)  # R(0)
_HALF_LOG_TAU = (0.9189385332046728, -3.8782941580672414e-17)  # log(2 pi) / 2
_START = 3.0


def _stirling(inverse: Value, digits: int) -> Value:
    return inverse * (inverse * inverse).poly(_STIRLING[digits])


def _sine(x: Value, digits: int) -> tuple[Value, Value, Value]:
    """(n, f, sin(pi f) / pi) with x = n + f, |f| at most 1/2; NaN where x is infinite."""
    n = x.rint()
    f = x - n
    z = f * f
    return n, f, (f * z).fma(z.poly(_SINE[digits]), f)


def _rounded(function: Callable[[Value, int], Value], x: Value) -> Value:
    """`function` of x and the bits of its fraction, in float64, as the type of x."""
    result = function(x.wide(), x.format.mantissa)
    return result if x.format.mantissa == 52 else result.narrow()


def _log(x: Value, digits: int) -> tuple[Value, Value]:
    """log(x) in two parts, for x >= 0; the second is 0 for float32."""
    if digits == 23:
        return powers.short_log(x), x.constant(0.0)
    return powers.log_parts(x)


def _log_gamma(z: Value, log: tuple[Value, Value], digits: int) -> tuple[Value, Value]:
    """log(gamma(z)) in two parts, for z >= 3, given log(z)."""
    half, (tail, rest) = z - 0.5, _HALF_LOG_TAU
    series = _stirling(1.0 / z, digits)
    if digits == 23:
        return half.fma(log[0], tail - z) + series, z.constant(0.0)
    product, product_low = two_product(half, log[0])
    high, lost = two_sum(product, -z)
    high, lost_again = two_sum(high, z.constant(tail))
    low = (lost + lost_again + half.fma(log[1], product_low)) + (series + rest)
    return high, (product < math.inf).where(low, 0.0)


# ---- gamma


def _gamma(x: Value, digits: int) -> Value:
    limit = 60.0 if digits == 23 else 200.0  # gamma overflows before, and its inverse underflows
    y = x.abs()
    y = (y > limit).where(limit, y)
    negative, below = x < 0.0, y < _START
    n, f, sine = _sine(x, digits)
    first, first_low = two_sum(y, y.constant(1.0))
    second, second_low = two_sum(y, y.constant(2.0))
    rising, rising_low = two_product(first, second)
    top = negative.where(below.where(rising, 1.0), 1.0)
    bottom = negative.where(below.where(sine, sine * y), below.where(y * rising, 1.0))
    factor = top / bottom
    half = n * 0.5
    factor = (negative & (half.rint() != half)).where(-factor, factor)

    z, z_low = two_sum(y, below.where(y.constant(_START), 0.0))
    log = _log(z, digits)
    high, low = _log_gamma(z, log, digits)
    high = negative.where(-high, high)
    if digits == 23:
        result = high.short_exp() * factor
    else:
        rising_low = rising_low + first.fma(second_low, second * first_low)
        low = low + z_low * (1.0 / z).fma(-0.5, log[0]) - below.where(rising_low / rising, 0.0)
        high, low = fast_two_sum(high, negative.where(-low, low))
        result = high.exp_of_sum(low, factor)
    result = (x == 0.0).where(result.constant(math.inf).copysign(x), result)
    return (negative & (f == 0.0)).where(math.nan, result)


def gamma(x: Value) -> Value:
    return _rounded(_gamma, x)


# ---- gammaln


def _near_two(f: Value, log: tuple[Value, Value], digits: int) -> Value:
    """f R(f) - log, where both may be large beside the result."""
    coefficients = _NEAR_TWO[digits]
    if digits == 23:
        return f * f.poly(coefficients) - log[0]
    slope, rest = _SLOPE
    lead, lead_low = two_product(f, slope)
    high, lost = two_sum(lead, -log[0])
    low = lost + lead_low + f.fma(rest, -log[1])
    return high + (f * f).fma(f.poly(coefficients[1:]), low)


def _gammaln(x: Value, digits: int) -> Value:
    y = x.abs()
    far, below, half = y >= _START, y < 1.5, y < 0.5
    f = y - half.where(y.constant(0.0), below.where(y.constant(1.0), 2.0))
    of = half.where(y.fma(y, y), below.where(y, 1.0))
    log = _log(far.where(y, of), digits)
    high, low = _log_gamma(y, log, digits)
    result = far.where(high + low, _near_two(f, log, digits))

    _, fraction, sine = _sine(x, digits)
    negative = x < -1e-20  # above, gamma(x) is 1 / x to the last place
    reflection = _log(y * sine.abs(), digits)[0]
    result = negative.where(-reflection - result, result)
    return ((y == math.inf) | ((x <= 0.0) & (fraction == 0.0))).where(math.inf, result)


def gammaln(x: Value) -> Value:
    return _rounded(_gammaln, x)
