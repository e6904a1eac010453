"""NumPy oracles of special functions that NumPy and `math` lack.

`psi` and `tri_gamma`: recurrence up to x >= 6, then the asymptotic series with Bernoulli numbers
(Abramowitz and Stegun 6.3.18, 6.4.12); reflection below zero (6.3.7, 6.4.7). `erfinv`: Giles'
starting point (2010), then Newton steps with `math.erf` and `math.erfc`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)


def psi(x: float) -> float:
    """The digamma function; NaN at the poles 0, -1, -2, ..."""
    if x != x or x == -math.inf or (x <= 0 and x == math.floor(x)):
        return math.nan
    if x == math.inf:
        return x
    if x < 0:
        return psi(1 - x) - math.pi / math.tan(math.pi * x)
    shift = 0.0
    while x < 6:
        shift -= 1 / x
        x += 1
    series = sum(b / (2 * n * x ** (2 * n)) for n, b in enumerate(_BERNOULLI, 1))
    return shift + math.log(x) - 0.5 / x - series


def tri_gamma(x: float) -> float:
    """The derivative of psi; infinite at the poles."""
    if x != x or x == -math.inf:
        return math.nan
    if x <= 0 and x == math.floor(x):
        return math.inf
    if x < 0:
        return (math.pi / math.sin(math.pi * x)) ** 2 - tri_gamma(1 - x)
    shift = 0.0
    while x < 6:
        shift += 1 / (x * x)
        x += 1
    series = sum(b / x ** (2 * n + 1) for n, b in enumerate(_BERNOULLI, 1))
    return shift + 1 / x + 0.5 / (x * x) + series


def erfinv(y: float) -> float:
    """The x with erf(x) = y; infinite at -1 and 1, NaN outside."""
    if not -1 <= y <= 1:
        return math.nan
    return -erfcinv(1 + y) if y < -0.5 else erfcinv(1 - y) if y > 0.5 else _newton(y)


def _newton(y: float) -> float:
    x = y * math.sqrt(math.pi) / 2
    for _ in range(60):
        step = (math.erf(x) - y) * math.sqrt(math.pi) / 2 * math.exp(x * x)
        x -= step
        if abs(step) <= 1e-17 * abs(x):
            break
    return x


def erfcinv(y: float) -> float:
    """The x with erfc(x) = y, for y from 0 (infinite) to 2."""
    if not 0 <= y <= 2:
        return math.nan
    if y in (0, 2):
        return math.inf if y == 0 else -math.inf
    if y > 1:
        return -erfcinv(2 - y)
    if y > 0.5:
        return _newton(1 - y)
    x = math.sqrt(-math.log(y * math.sqrt(math.pi * -math.log(y))))
    for _ in range(60):  # Newton on log erfc, which is nearly quadratic
        value = math.erfc(x)
        step = (math.log(value) - math.log(y)) * value * math.sqrt(math.pi) / 2 * math.exp(x * x)
        x += step
        if abs(step) <= 1e-16 * abs(x):
            break
    return x


def _vectorized(function: Any) -> Any:
    def apply(x: Any) -> Any:
        return np.vectorize(function, otypes=["float64"])(x).astype(x.dtype)

    return apply


vectorized_psi, vectorized_tri_gamma = _vectorized(psi), _vectorized(tri_gamma)
erf_inverse, erfc_inverse = _vectorized(erfinv), _vectorized(erfcinv)
