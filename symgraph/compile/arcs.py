"""The inverse trigonometric and hyperbolic functions, branch-free, over mathlib's `Value`.

    function          method
    arctan, arctan2   a multiple of pi / 4 and the arc of a tangent of at most 1/2: of a / b, of
                      -b / a, or of (a - b) / (a + b); one division
    arcsin, arccos    a series up to 1/2; beyond, arccos(x) = 2 arcsin(sqrt((1 - x) / 2))
    arcsinh           a series up to 1/2; beyond, log(x + sqrt(x**2 + 1))
    arccosh           2 arcsinh(sqrt((x - 1) / 2)) up to 3/2; beyond, log(x + sqrt(x**2 - 1))
    arctanh           a series up to 1/2; beyond, log((1 + x) / (1 - x)) / 2

What a logarithm is taken of is kept in two parts. Limits are those of C: NaN where a function is
not defined, +-inf at the ends of arctanh, the four signs of arctan2(+-0, +-0), odd functions of
-0. Sources: Abramowitz and Stegun 4.4 and 4.6; sums in two parts, T. J. Dekker, A floating-point
technique for extending the available precision, Numerische Mathematik 18 (1971). The polynomials
are our own fits at Chebyshev nodes in 60 digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from symgraph.compile.twoparts import fast_two_sum, two_product, two_sum

if TYPE_CHECKING:
    from symgraph.compile.mathlib import Value

# arc(x) = x + x**3 P(x**2), for |x| up to 1/2
_ATAN = {
    23: (-0.33333332901484686, 0.1999987524978264, -0.14279801095810957, 0.11006880681346318,
         -0.08235505763636282, 0.04225685963021552),
    52: (-0.3333333333333333, 0.19999999999999488, -0.14285714285599188, 0.11111111100917376,
         -0.09090908620322523, 0.07692294712540285, -0.06666435677235948, 0.05879578429582425,
         -0.05240099507994713, 0.04628024868570153, -0.03806653672057366, 0.025006503566489507,
         -0.009215792047089858),
}  # fmt: skip
_ASIN = {
    23: (0.16666666337430908, 0.07500094543497424, 0.04459940152851218, 0.03110066273549457,
         0.017149238357677253, 0.03369084720283012),
    52: (0.16666666666666669, 0.07499999999998433, 0.04464285714635543, 0.030381944138531247,
         0.02237217294214989, 0.017352392720869973, 0.013971212973552933, 0.011479177415184906,
         0.01032281435018578, 0.005457506718640358, 0.01740087944269402, -0.014851887071247204,
         0.028757851367421566),
}  # fmt: skip
_ASINH = {
    23: (-0.16666666572814728, 0.07499972893955258, -0.04463002194351939, 0.030156178619349886,
         -0.020526793468189104, 0.009936504309239973),
    52: (-0.16666666666666666, 0.0749999999999864, -0.044642857140252436, 0.030381944248546365,
         -0.022372151449922602, 0.01735258771519257, -0.013962235682232349, 0.011526210169675569,
         -0.009591452221673173, 0.007622309427481728, -0.004992717198142511, 0.0018854117655039003),
}  # fmt: skip
_ATANH = {
    23: (0.33333333437307106, 0.19999959336215828, 0.14288286042811285, 0.11050830395223991,
         0.09751940865741168, 0.040916230718241735, 0.1562916538185637),
    52: (0.3333333333333333, 0.20000000000000864, 0.14285714285490106, 0.11111111133938968,
         0.09090907881509189, 0.07692345940270638, 0.06665886352701884, 0.05893099692590042,
         0.05160769881147162, 0.05441915418234587, 0.012292448728540531, 0.13557903913692299,
         -0.14450491183414468, 0.21098097885975797),
}  # fmt: skip
# pi / 4; the first part times 2, 3 or 4 is exact
_EIGHTH = {
    23: (0.785398006439209, 1.5695823932524066e-07),
    52: (0.7853981633974483, 3.061616997868383e-17),
}


def _series(x: Value, square: Value, table: Mapping[int, tuple[float, ...]]) -> Value:
    return x.fma(square * square.poly(table[x.format.mantissa]), x)


# ---- trigonometric


def _arc(a: Value, b: Value) -> tuple[Value, Value]:
    """(k, t) for a, b >= 0: the angle whose tangent is a / b is k pi / 4 + arctan(t), |t| <= 1/2.

    2 a, 2 b and a + b must not overflow.
    """
    near, far = a * 2.0 <= b, a > b * 2.0
    top = near.where(a, far.where(-b, a - b))
    bottom = near.where(b, far.where(a, a + b))
    return near.where(0.0, far.where(a.constant(2.0), 1.0)), top / bottom


def _angle(k: Value, t: Value) -> Value:
    """k pi / 4 + arctan(t)."""
    high, low = _EIGHTH[t.format.mantissa]
    z = t * t
    rest = (t * z).fma(z.poly(_ATAN[t.format.mantissa]), k * low)
    return k.fma(high, t + rest)


def arctan(x: Value) -> Value:
    size = x.abs()
    limit = 2.0 ** (x.format.mantissa + 3)  # pi / 2 to the last place
    size = (size > limit).where(limit, size)
    return _angle(*_arc(size, size.constant(1.0))).copysign(x)


def arctan2(y: Value, x: Value) -> Value:
    a, b = y.abs(), x.abs()
    largest = (a > b).where(a, b)
    scale = (largest > 2.0 ** (x.format.bias - 2)).where(x.constant(0.25), 1.0)
    infinite = largest == math.inf
    a = infinite.where((a == math.inf).where(a.constant(1.0), 0.0), a * scale)
    b = infinite.where((b == math.inf).where(b.constant(1.0), 0.0), b * scale)
    b = (largest == 0.0).where(1.0, b)
    k, t = _arc(a, b)
    left = x.bits() < 0
    angle = _angle(left.where(4.0 - k, k), left.where(-t, t)).copysign(y)
    return (x.is_nan() | y.is_nan()).where(x + y, angle)


def _arcsin(x: Value) -> tuple[Value, Value, Value]:
    """(|x| <= 1/2, s, rest): s + rest is arcsin(|x|) there, half of arccos(|x|) beyond."""
    size = x.abs()
    near = size <= 0.5
    square = near.where(size * size, (1.0 - size) * 0.5)
    s = near.where(size, square.sqrt())
    return near, s, s * square * square.poly(_ASIN[x.format.mantissa])


def arcsin(x: Value) -> Value:
    high, low = _EIGHTH[x.format.mantissa]
    near, s, rest = _arcsin(x)
    far, lost = fast_two_sum(s.constant(2.0 * high), s * -2.0)
    return near.where(s + rest, far + (lost + (2.0 * low - rest * 2.0))).copysign(x)


def arccos(x: Value) -> Value:
    high, low = _EIGHTH[x.format.mantissa]
    near, s, rest = _arcsin(x)
    arc = near.where(-(s + rest), (s + rest) * 2.0)
    k = near.where(x.constant(2.0), (x < 0.0).where(x.constant(4.0), 0.0))
    return k.fma(high, k.fma(low, (x < 0.0).where(-arc, arc)))


# ---- hyperbolic


def _log_of_root(x: Value, one: float) -> Value:
    """log(x + sqrt(x**2 + one)), for x >= 1/2 and one = 1, or x >= 3/2 and one = -1."""
    large = x > 2.0 ** (x.format.mantissa // 2 + 3)  # where it is log(2 x) to the last place
    square, square_low = two_product(x, x)
    square, lost = two_sum(square, square.constant(one))
    root = square.sqrt()
    error = root.exact_fma(-root, square) + (square_low + lost)  # of root**2
    total, total_low = two_sum(x, root)
    rest = root.fma(total_low * 2.0, error) / (root * total * 2.0)
    return large.where(x, total).log_plus(large.where(math.log(2), rest))


def arcsinh(x: Value) -> Value:
    size = x.abs()
    near = _series(size, size * size, _ASINH)
    return (size < 0.5).where(near, _log_of_root(size, 1.0)).copysign(x)


def arccosh(x: Value) -> Value:
    square = (x - 1.0) * 0.5
    near = _series(square.sqrt(), square, _ASINH) * 2.0
    return (x < 1.5).where(near, _log_of_root(x, -1.0))


def arctanh(x: Value) -> Value:
    size = x.abs()
    near = _series(size, size * size, _ATANH)
    top, top_low = fast_two_sum(size.constant(1.0), size)
    bottom = 1.0 - size
    ratio = top / bottom
    rest = (ratio.exact_fma(-bottom, top) + top_low) / top
    return (size < 0.5).where(near, ratio.log_plus(rest) * 0.5).copysign(x)
