"""Special functions by published approximations, written over anything that has Value's operators.

`mathlib.Value` runs them as machine code, `interpreted.Scalar` as Python, both in float64: a
float32 argument is widened, so its result is right to about the last place. Branch-free.

Relative error in float64: 1e-14 for tri_gamma, erfinv and erfcinv; psi has 1e-14 relative to
max(1, |psi|), since it goes through 0 near 1.4616 and between the poles.

Sources: J. M. Bernardo, Algorithm AS 103: Psi (digamma) function, Applied Statistics 25 (1976);
B. E. Schneider, Algorithm AS 121: Trigamma function, 27 (1978), both with more terms of the
asymptotic series (Abramowitz and Stegun 6.3.18, 6.4.12) and the reflection formulas 6.3.7, 6.4.7;
M. J. Wichura, Algorithm AS 241: The percentage points of the normal distribution, 37 (1988).
"""

from __future__ import annotations

import math
from typing import Any

# Bernoulli numbers B2 to B16.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_PSI_SERIES = tuple(b / (2 * k) for k, b in enumerate(_BERNOULLI, 1))
_SHIFTS = 9
"""The series begins at 9: below, as many steps of the recurrence are undone."""


def psi(x: Any) -> Any:
    """The derivative of log(gamma(x)). psi(0) is -inf (as is 1/-0), NaN at negative integers."""
    negative = x < 0.0
    z = negative.where(1.0 - x, x)
    below = x.constant(0.0)
    for _ in range(_SHIFTS):
        small = z < float(_SHIFTS)
        below = below + small.where(1.0 / z, 0.0)
        z = small.where(z + 1.0, z)
    inverse = 1.0 / z
    square = inverse * inverse
    positive = z.log() - 0.5 * inverse - square * square.poly(_PSI_SERIES) - below
    fraction = x - x.rint()
    result = negative.where(positive - math.pi / (fraction * math.pi).tan(), positive)
    result = (negative & (fraction == 0.0)).where(math.nan, result)
    return (x == math.inf).where(math.inf, result)


def tri_gamma(x: Any) -> Any:
    """The second derivative of log(gamma(x)). inf at 0 and the negative integers."""
    negative = x < 0.0
    z = negative.where(1.0 - x, x)
    below = x.constant(0.0)
    for _ in range(_SHIFTS):
        small = z < float(_SHIFTS)
        below = below + small.where(1.0 / (z * z), 0.0)
        z = small.where(z + 1.0, z)
    inverse = 1.0 / z
    square = inverse * inverse
    positive = inverse * (square * square.poly(_BERNOULLI) + 0.5 * inverse + 1.0) + below
    sine = ((x - x.rint()) * math.pi).sin()
    reflected = math.pi**2 / (sine * sine) - positive
    return negative.where(reflected, positive)


# AS 241, PPND16: numerators and denominators for the centre and the two parts of the tail.
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
     1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
     3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
     5.2264952788528545610e3),
)  # fmt: skip
_NEAR = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
     1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
     2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
     2.04426310338993978564e-15),
)  # fmt: skip


def _erf_quantile(x: Any, tail: Any) -> Any:
    """|t| such that erf(t) = |x|, given tail = 1 - |x| without cancellation."""
    half = x * 0.5
    rest = 0.180625 - half * half
    centre = half * rest.poly(_CENTRE[0]) / rest.poly(_CENTRE[1])
    r = (0.0 - (tail * 0.5).log()).sqrt()
    near = (r - 1.6).poly(_NEAR[0]) / (r - 1.6).poly(_NEAR[1])
    far = (r - 5.0).poly(_FAR[0]) / (r - 5.0).poly(_FAR[1])
    outside = (r <= 5.0).where(near, far)
    outside = (r == math.inf).where(math.inf, outside)
    return (x.abs() <= 0.85).where(centre.abs(), outside) * math.sqrt(0.5)


def erfinv(x: Any) -> Any:
    """The inverse of erf on [-1, 1]; +-inf at the ends, NaN outside."""
    return _erf_quantile(x, 1.0 - x.abs()).copysign(x)


def erfcinv(x: Any) -> Any:
    """The inverse of erfc on [0, 2]; inf at 0, -inf at 2, NaN outside."""
    centred = 1.0 - x
    return _erf_quantile(centred, (x < 1.0).where(x, 2.0 - x)).copysign(centred)
