"""Records of the functions that SciPy computes, against their integrals and series."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import symgraph.tensor as T
from symgraph.errors import NullTypeGradError
from tests.zoo.case import Case, Failure, In

K, X = In((2, 3), low=0.3, high=4.0), In((2, 3), low=0.2, high=5.0)


def bessel(sign: float) -> Callable[[float, float], float]:
    """The series of Abramowitz and Stegun 9.1.10 (sign -1) and 9.6.10 (sign 1)."""

    def one(v: float, x: float) -> float:
        terms = [sign**k * (x / 2) ** (2 * k + v) / (math.factorial(k) * math.gamma(v + k + 1))
                 for k in range(60)]  # fmt: skip
        return math.fsum(terms)

    return one


def lower(k: float, x: float) -> float:
    """The lower incomplete gamma function by its series, 6.5.29."""
    k, x = float(k), float(x)
    return math.fsum((-1) ** n * x ** (k + n) / (math.factorial(n) * (k + n)) for n in range(60))


J, IV = (np.vectorize(bessel(sign)) for sign in (-1.0, 1.0))
LOWER, GAMMA = np.vectorize(lower), np.vectorize(math.gamma)


def erfcx(x: np.ndarray) -> np.ndarray:
    return np.exp(x**2) * np.vectorize(math.erfc)(x)


CASES = [
    Case("erfcx", T.erfcx, (In((4,), low=-2, high=4),), erfcx, dtype="float64"),
    Case("erfcx_large", T.erfcx, (In(values=[50.0, 1e9]),),
         lambda x: 1 / (x * math.sqrt(math.pi)) * (1 - 0.5 / x**2 + 0.75 / x**4), rtol=1e-9,
         grad=()),
    Case("j0", T.j0, (X,), lambda x: J(0.0, x)),
    Case("j1", T.j1, (X,), lambda x: J(1.0, x)),
    Case("jv", T.jv, (K, X), J, grad=()),
    Case("jv_by_x", lambda x: T.jv(1.5, x), (X,), lambda x: J(1.5, x)),
    Case("i0", T.i0, (X,), lambda x: IV(0.0, x)),
    Case("i1", T.i1, (X,), lambda x: IV(1.0, x)),
    Case("iv", T.iv, (K, X), IV, grad=()),
    Case("iv_by_x", lambda x: T.iv(2.5, x), (X,), lambda x: IV(2.5, x)),
    Case("gammainc", T.gammainc, (K, X), lambda k, x: LOWER(k, x) / GAMMA(k), grad=()),
    Case("gammainc_by_x", lambda x: T.gammainc(1.5, x), (X,),
         lambda x: LOWER(1.5, x) / math.gamma(1.5)),
    Case("gammaincc", lambda x: T.gammaincc(1.5, x), (X,),
         lambda x: 1 - LOWER(1.5, x) / math.gamma(1.5)),
    Case("gammal", lambda x: T.gammal(2.5, x), (X,), lambda x: LOWER(2.5, x)),
    Case("gammau", lambda x: T.gammau(2.5, x), (X,), lambda x: math.gamma(2.5) - LOWER(2.5, x)),
    Case("chi2sf", lambda x: T.chi2sf(x, 3), (X,),
         lambda x: 1 - LOWER(1.5, x / 2) / math.gamma(1.5)),
    Case("chi2sf_float32", T.chi2sf, (In((3,), "float32", 0.2, 5), In((3,), "float32", 1, 5)),
         lambda x, k: 1 - LOWER(k / 2.0, x / 2.0) / GAMMA(k / 2.0), dtype="float64", rtol=1e-6),
    Case("jv_broadcast", T.jv, (In((2, 1), low=0, high=3, broadcastable=(False, True)), X), J,
         grad=(), pattern=(False, False)),
    Case("j0_int16", T.j0, (In(values=[0, 1, 2], dtype="int16"),),
         lambda x: J(0.0, x.astype(float)).astype("float32"), dtype="float32"),
    Case("i0_int64", T.i0, (In(values=[0, 1, 2], dtype="int64"),), lambda x: IV(0.0, x * 1.0),
         dtype="float64"),
]  # fmt: skip

FAILURES = [
    Failure("jv_by_v", lambda: T.grad(T.jv(v := T.dscalar("v"), 1.0), v), NullTypeGradError,
            ("argument 0",)),
    Failure("chi2sf_by_k", lambda: T.grad(T.chi2sf(1.0, k := T.dscalar("k")), k),
            NullTypeGradError, ("argument 1",)),
]  # fmt: skip
