"""erf and erfc, branch-free, written over mathlib's `Value`.

Near zero, erf is x times a polynomial in x**2; beyond, erfc(x) = exp(-x**2) w G(w) with
w = 1 / (x + a), where G is a polynomial: erfc(x) exp(x**2) behaves as 1 / x for large x. The square
is kept in two parts, since a rounding of x**2 = 700 would cost 350 units in the last place.

Source of the forms: W. J. Cody, Rational Chebyshev approximation for the error function,
Mathematics of Computation 23 (1969); M. M. Shepherd and J. G. Laframboise, Chebyshev approximation
of (1 + 2x) exp(x**2) erfc(x), 36 (1981). The polynomials are our own fits at Chebyshev nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symgraph.compile.mathlib import Value

_NEAR = 0.65  # where the two forms meet

_CENTRE = {
    23: (0.1283791668089229, -0.376126340156796, 0.11283656194519352, -0.026852381028529416,
         0.005160076890408987, -0.000716019378151808),
    52: (0.1283791670955126, -0.3761263890318375, 0.11283791670954922, -0.026866170645055833,
         0.005223977624011282, -0.0008548326864938173, 0.0001205532202098794,
         -1.4925162650006643e-05, 1.644812562737759e-06, -1.6114976987186543e-07,
         1.2220982889794602e-08),
}  # fmt: skip
# a; the largest x; scale and shift that take w to [-1, 1]; G there
_TAIL = {
    23: (2.0, 10.1, 6.786243386243386, -1.560846560846561,
         (0.9683829674969728, 0.37911453451977845, 0.09378237737640531, 0.00878108638913285,
          -0.002249325776412134, -0.000557161945665857, 0.00010356671358335478,
          3.0738485381200154e-05, -6.85214249489937e-06, -1.3554355877218866e-06)),
    52: (4.0, 27.3, 10.922701688555348, -1.3489681050656661,
         (1.0843976294930657, 0.7018329963636459, 0.4044946469335676, 0.20636354023129688,
          0.09225299683781907, 0.03553408309911949, 0.011453074193754183, 0.0029153627616688074,
          0.0005033851773432274, 2.0264821353732262e-05, -1.9180474990199814e-05,
          -5.728919623659898e-06, -1.551811000743213e-07, 3.1508181979896856e-07,
          6.308139416734645e-08, -1.1814091829775342e-08, -5.870955821482495e-09,
          2.5360828279769074e-10, 4.4166521195300724e-10, 4.117064312086005e-12,
          -2.4420129343032454e-11)),
}  # fmt: skip


def _near(x: Value) -> Value:
    """erf(x) for |x| below 0.65."""
    return x.fma((x * x).poly(_CENTRE[x.format.mantissa]), x)


def _beyond(size: Value) -> Value:
    """erfc(size) for size above 0.65; NaN for NaN."""
    a, limit, scale, shift, coefficients = _TAIL[size.format.mantissa]
    size = (size > limit).where(limit, size)
    w = 1.0 / (size + a)
    square = size * size
    rest = size.exact_fma(size, -square)
    e = (-square).exp()
    return e.fma(-rest, e) * (w * w.fma(scale, w.constant(shift)).poly(coefficients))


def erf(x: Value) -> Value:
    size = x.abs()
    near = size < _NEAR
    return near.where(_near(x), (1.0 - _beyond(size)).copysign(x))


def erfc(x: Value) -> Value:
    size = x.abs()
    tail = _beyond(size)
    far = (x < 0.0).where(2.0 - tail, tail)
    return (size < _NEAR).where(1.0 - _near(x), far)
