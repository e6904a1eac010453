"""sin, cos and tan for every finite argument, branch-free, written over mathlib's `Value`.

An argument is reduced by the method of Payne and Hanek: x is an integer m times a power of two, and
of 2**e * 2 / pi only what is left modulo 4 matters, since whole turns drop out. So large and small
arguments cost the same and no loop has to be left. float64 finds that remainder, in three parts, in
a table by the exponent e; float32, computed in float64, which has room for 28 more bits in m, needs
four rows only and selects. What remains of x beyond q quarter turns lies within half a quarter; two
polynomials give its sine and cosine.

Sources: M. H. Payne and R. N. Hanek, Radian reduction for trigonometric functions, SIGNUM
Newsletter 18 (1983); the polynomials are our own fits at Chebyshev nodes in 60 digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from symgraph.compile.twoparts import two_sum

if TYPE_CHECKING:
    from symgraph.compile.mathlib import Value

_SIN = {
    23: (-0.16666664650298102, 0.008332745937548115, -0.00019587387320241361),
    52: (-0.16666666666666666, 0.008333333333330925, -0.00019841269836722437,
         2.755731608382574e-06, -2.505112794596564e-08, 1.591784866512194e-10),
}  # fmt: skip
_COS = {
    23: (0.04166666464746341, -0.0013888300698073966, 2.454743746250183e-05),
    52: (0.041666666666666664, -0.0013888888888887382, 2.480158729874308e-05,
         -2.755731726001471e-07, 2.0876143829213935e-09, -1.1382456865840483e-11),
}  # fmt: skip
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
_ROW_BITS = 28  # exponents that share a row for float32


def _two_over_pi(bits: int) -> int:
    """2 / pi in units of 2**-bits, by Machin's formula."""

    def arctan_inverse(n: int, one: int) -> int:
        power = total = one // n
        for k in range(3, 1 << 30, 2):
            power //= -n * n
            if power in (0, -1):
                return total
            total += power // k
        raise AssertionError

    guard = 1 << (bits + 64)
    pi = 4 * (4 * arctan_inverse(5, guard) - arctan_inverse(239, guard))
    return (2 * guard << bits) // pi


@cache
def remainders(exponents: Sequence[int], count: int) -> tuple[tuple[float, ...], ...]:
    """2**e * 2 / pi modulo 4, in [-2, 2], for each e: the tuples of its first to `count`th part."""
    bits = max(exponents) + 256
    whole = _two_over_pi(bits)
    columns = []
    for e in exponents:
        unit = bits - e  # 2**e * 2 / pi in units of 2**-unit
        rest = whole % (4 << unit)
        rest -= (4 << unit) if rest > (2 << unit) else 0
        parts = []
        for _ in range(count):
            step = max(abs(rest).bit_length() - 53, 0)
            part = (rest + (1 << step >> 1)) >> step
            parts.append(math.ldexp(part, step - unit))
            rest -= part << step
        columns.append(parts)
    return tuple(zip(*columns, strict=True))


def _quarters_single(x: Value) -> tuple[Value, Value]:
    """|x| = (q + f) quarter turns: (q modulo 4 as an integer, f), f in float64, at most half."""
    size = x.abs().wide()
    exponents = range(0, 128 - 23, _ROW_BITS)
    high, low = remainders(exponents, 2)
    m, a, b = size, size.constant(high[0]), size.constant(low[0])
    for row, e in enumerate(exponents[1:], 1):
        above = size >= 2.0 ** (e + 23)
        m = above.where(size * 2.0**-e, m)
        a, b = above.where(high[row], a), above.where(low[row], b)
    product = m * a
    error = m.exact_fma(a, -product)
    turns = product - (product * 0.25).rint() * 4.0
    total = turns + error
    lost = error - (total - turns)
    q, whole = total.split()
    f = m.exact_fma(b, total - whole) + lost
    more, whole = f.split()  # the product with the lower part may reach beyond half a quarter
    return q + more, f - whole


def _quarters_double(x: Value) -> tuple[Value, Value, Value]:
    """|x| = (q + f + g) quarter turns: (q modulo 4 as an integer, f, g), f + g at most half."""
    form = x.format
    one = 1 << form.mantissa
    magnitude = x.bits() & ((one << 11) - 1)
    row = (magnitude >> form.mantissa) - (form.bias - 1)
    row = (row < 0).where(0, row)
    row = (row > form.bias + 1).where(form.bias + 1, row)  # infinity and NaN
    m = ((magnitude & (one - 1)) | one).to_float()
    table = remainders(range(-1 - form.mantissa, form.bias + 1 - form.mantissa), 3)
    high, middle, low = (row.entry(f"two_over_pi_{k}", part) for k, part in enumerate(table))
    product = m * high
    error = m.exact_fma(high, -product)
    second = m * middle
    turns, lost = two_sum(product - (product * 0.25).rint() * 4.0, error)
    turns, lost_again = two_sum(turns, second)
    lost, rest = two_sum(lost, lost_again)
    rest = rest + (m * low + m.exact_fma(middle, -second))
    q, whole = turns.split()
    f, g = two_sum(turns - whole, lost)
    return q, f, g + rest


def _sine_and_cosine(x: Value) -> tuple[Value, Value, Value]:
    """(q modulo 4, sin r, cos r) with |x| = q quarter turns + r; NaN where x is not finite."""
    form = x.format
    high, low = _HALF_PI
    size = x.abs()
    small = size < 0.78
    if form.mantissa == 23:
        q, f = _quarters_single(x)
        r = small.where(size, (f * high).narrow())
        tail = r * 0.0
    else:
        q, f, g = _quarters_double(x)
        r = f * high
        tail = f.exact_fma(high, -r) + (f * low + g * high)
        r, tail = small.where(size, r), small.where(0.0, tail)
    r = r + (x - x)  # infinity and NaN give NaN
    z = r * r
    sine = r + (z * r).fma(z.poly(_SIN[form.mantissa]), tail)
    half = z * 0.5
    start = 1.0 - half
    rest = (z * z).fma(z.poly(_COS[form.mantissa]), -(r * tail))
    cosine = start + (((1.0 - start) - half) + rest)
    return small.where(0, q), sine, cosine


def sin(x: Value) -> Value:
    q, sine, cosine = _sine_and_cosine(x)
    size = ((q & 1) == 1).where(cosine, sine)
    size = ((q & 2) == 2).where(-size, size)
    return (x.bits() < 0).where(-size, size)


def cos(x: Value) -> Value:
    q, sine, cosine = _sine_and_cosine(x)
    size = ((q & 1) == 1).where(sine, cosine)
    return (((q + 1) & 2) == 2).where(-size, size)


def tan(x: Value) -> Value:
    q, sine, cosine = _sine_and_cosine(x)
    odd = (q & 1) == 1
    size = odd.where(-cosine, sine) / odd.where(sine, cosine)
    return (x.bits() < 0).where(-size, size)
