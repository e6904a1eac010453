"""References in long double for functions that NumPy does not have."""

from __future__ import annotations

import functools

import numpy as np

LONG = np.longdouble


def exact_erfc(x: np.ndarray) -> np.ndarray:
    """erfc by the series of erf (Abramowitz and Stegun 7.1.6) below 1.5, and by the continued
    fraction 7.1.14 above, in long double."""
    size = abs(x)
    high = size.astype("f4").astype(LONG)  # its square is exact
    power = np.exp(-high * high) * np.exp((high - size) * (high + size))
    term = total = np.minimum(size, 1.5)
    for n in range(1, 60):
        term = term * 2 * np.minimum(size, 1.5) ** 2 / (2 * n + 1)
        total = total + term
    root = np.sqrt(np.arccos(LONG(-1)))
    below = 1 - 2 / root * power * total
    fraction = large = np.maximum(size, 1.5)
    for k in range(200, 0, -1):
        fraction = large + LONG(k) / 2 / fraction
    tail = np.where(size < 1.5, below, power / (root * fraction))
    return np.where(x < 0, 2 - tail, tail)


def exact_erf(x: np.ndarray) -> np.ndarray:
    size = abs(x)
    term = total = np.minimum(size, 1.0)
    for n in range(1, 60):
        term = term * 2 * np.minimum(size, 1.0) ** 2 / (2 * n + 1)
        total = total + term
    near = 2 / np.sqrt(np.arccos(LONG(-1))) * np.exp(-size * size) * total
    return np.copysign(np.where(size < 1.0, near, 1 - exact_erfc(size)), x)


@functools.cache
def _zeta_less_one(k: int) -> np.longdouble:
    """zeta(k) - 1 by the sum to 20 and Euler and Maclaurin's correction (23.2.9)."""
    n = LONG(20)
    total = sum(LONG(i) ** -k for i in range(19, 1, -1))
    total += n ** (1 - k) / (k - 1) + n**-k / 2
    term = k * n ** (-k - 1)
    bernoulli = (1 / LONG(6), -1 / LONG(30), 1 / LONG(42), -1 / LONG(30), 5 / LONG(66))
    for j, number in enumerate(bernoulli, 1):
        total += number * term / np.prod([LONG(i) for i in range(1, 2 * j + 1)])
        term = term * (k + 2 * j - 1) * (k + 2 * j) / (n * n)
    return total


def _near_two(f: np.ndarray) -> np.ndarray:
    """log(gamma(2 + f)) for |f| up to 1/2, by its power series (6.1.33)."""
    total = np.zeros_like(f)
    for k in range(45, 1, -1):
        total = f * (total + (-1) ** k * _zeta_less_one(k) / k)
    return f * (total + (1 - LONG("0.577215664901532860606512090082402431")))


def _steps(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log(gamma(2 + f)), p, q) with gamma(x) = gamma(2 + f) p / q, |f| <= 1/2, for |x| <= 300."""
    n = np.rint(x)
    f = x - n
    p, q = np.ones_like(x), np.ones_like(x)
    for k in range(2, 300):
        p = np.where(k < n, p * (f + k), p)
    for k in range(1, -300, -1):
        q = np.where(k >= n, q * (f + k), q)
    return _near_two(f), p, q


def exact_gamma(x: np.ndarray) -> np.ndarray:
    """gamma; as in C, inf of either sign at 0, NaN at negative integers and -inf."""
    near, p, q = _steps(np.clip(x, -300, 300))
    result = np.where(x > 300, np.inf, np.exp(near) * p / q)
    result = np.where(x == 0, np.copysign(np.inf, x), result)
    return np.where((x < 0) & (x == np.floor(x)), np.nan, result)


def exact_gammaln(x: np.ndarray) -> np.ndarray:
    """log |gamma|, by Stirling's series (6.1.41) from 250 on."""
    near, p, q = _steps(np.clip(x, -300, 250))
    z = np.maximum(x, 250)
    series = (1 - (1 / LONG(30) - 1 / (105 * z * z)) / (z * z)) / (12 * z)
    series += (z - 0.5) * np.log(z) - z + np.log(2 * np.arccos(LONG(-1))) / 2
    return np.where(x > 250, series, near + np.log(p) - np.log(abs(q)))
