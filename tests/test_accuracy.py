"""The errors that docs/accuracy.md promises, and limits, of the functions that kernels call."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .exact_functions import LONG, exact_erf, exact_erfc, exact_gamma, exact_gammaln
from .test_mathlib import FLOATS, evaluate

DOCUMENT = Path(__file__).parent.parent / "docs" / "accuracy.md"


def promised() -> dict[str, tuple[float, float]]:
    """The table: function to greatest error in ulp, (float32, float64)."""
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", DOCUMENT.read_text(), re.M)
    return {name: (float(single), float(double)) for name, single, double in rows}


REFERENCES: dict[str, Callable[..., np.ndarray]] = {
    **{
        name: getattr(np, name)
        for name in (
            "exp exp2 expm1 log log2 log10 log1p tanh sinh cosh sin cos tan power arcsin arccos "
            "arctan arctan2 arcsinh arccosh arctanh"
        ).split()
    },
    "sigmoid": lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-abs(x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
    "erf": exact_erf,
    "erfc": exact_erfc,
    "gamma": exact_gamma,
    "gammaln": exact_gammaln,
}
needs_longdouble = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="no wider reference for float64"
)
EITHER = [FLOATS[0], pytest.param(FLOATS[1], marks=needs_longdouble)]


@functools.cache
def samples(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    n = 10_000
    parts = (
        rng.standard_normal(n) * np.exp(rng.uniform(-80, 7, n)),
        rng.uniform(-100, 100, n),
        rng.uniform(-745, 745, n),
        rng.uniform(-3, 3, n),
        1 + rng.standard_normal(n) * np.exp(rng.uniform(-15, 0, n)),
        np.arange(-2000, 2000) * (np.pi / 4),
    )
    return np.concatenate(parts).astype(dtype)


def assert_within(name: str, dtype: str, *inputs: np.ndarray) -> None:
    """That the kernel's errors are within the promise, and NaN where the reference is."""
    letters = ", ".join("ab"[: len(inputs)])
    with np.errstate(all="ignore"):
        exact = REFERENCES[name](*[x.astype(LONG) for x in inputs])
        nearest = exact.astype(dtype)
        got = evaluate(f"{name}({letters})", (dtype,) * len(inputs), dtype, *inputs)
        error = abs(got.astype(LONG) - exact) / np.spacing(abs(nearest)).astype(LONG)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(nearest))
    finite = np.isfinite(nearest) & np.isfinite(got)
    # One may round to inf where the other does not, at the very end of the range only.
    edge = np.isinf(got) != np.isinf(nearest)
    assert np.all(abs(exact[edge]) > 0.999999 * np.finfo(dtype).max)
    worst = np.argmax(np.where(finite, error, 0))
    assert error[worst] <= promised()[name][dtype == "float64"], [x[worst] for x in inputs]


def test_every_promise_is_kept_by_a_test():
    assert set(promised()) == set(REFERENCES)


@pytest.mark.parametrize("dtype", EITHER)
@pytest.mark.parametrize("name", sorted(set(REFERENCES) - {"power", "arctan2", "gammaln"}))
def test_error_in_ulps(name, dtype):
    assert_within(name, dtype, samples(dtype))


@pytest.mark.parametrize("dtype", EITHER)
def test_log_gamma_of_positive_numbers(dtype):
    near = [2.0 * (1 + 2.0**-k) for k in range(1, 24)]
    x = np.concatenate([abs(samples(dtype)), near, np.divide(near, 2)])
    assert_within("gammaln", dtype, x.astype(dtype))


@pytest.mark.parametrize("dtype", EITHER)
def test_log_gamma_of_negative_numbers(dtype):
    """It crosses zero between the poles: what counts is the error beside 1."""
    x = np.random.default_rng(9).uniform(-30, 0, 20_000).astype(dtype)
    exact = exact_gammaln(x.astype(LONG))
    error = abs(evaluate("gammaln(a)", (dtype,), dtype, x) - exact)
    assert np.all(error <= 5 * np.finfo(dtype).eps * np.maximum(1, abs(exact)))


@pytest.mark.parametrize("dtype", EITHER)
def test_angles_of_points(dtype):
    rng = np.random.default_rng(10)
    reach = 38 if dtype == "float32" else 307
    y, x = 10.0 ** rng.uniform(-reach, reach, (2, 10_000)) * rng.choice([-1, 1], (2, 10_000))
    close = rng.uniform(-1, 1, (2, 10_000))
    assert_within("arctan2", dtype, *np.hstack([close, (y, x)]).astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_angles_of_special_points(dtype):
    """Every pair of zeros, ones, the ends of the range, infinities and NaN, as in C."""
    info = np.finfo(dtype)
    every = np.array([0, 1, info.smallest_subnormal, info.max, np.inf, np.nan], dtype)
    y, x = (grid.ravel() for grid in np.meshgrid([*every, *-every], [*every, *-every]))
    y, x = y.astype(dtype), x.astype(dtype)
    with np.errstate(all="ignore"):
        want = np.arctan2(y, x)
    got = evaluate("arctan2(a, b)", (dtype, dtype), dtype, y, x)
    np.testing.assert_allclose(got, want, rtol=4 * info.eps)
    np.testing.assert_array_equal(np.signbit(got)[want == 0], np.signbit(want)[want == 0])


@pytest.mark.parametrize("dtype", EITHER)
def test_gamma_between_poles_where_it_underflows(dtype):
    """Subnormal results, lifted where a pole is near: 1 / gamma(-x) alone would be 0."""
    poles = -np.arange(1, 185)[:, None] * np.ones(60)
    offset = 10 ** np.random.default_rng(11).uniform(-15, -1, poles.shape)
    assert_within("gamma", dtype, (poles + offset).ravel().astype(dtype))


@pytest.mark.parametrize("dtype", EITHER)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_turns_of_huge_arguments_are_exact(name, dtype):
    """The last ones are those nearest to a multiple of pi / 2 (Kahan; Muller, 2016, chapter 11)."""
    rng = np.random.default_rng(7)
    size = 10.0 ** rng.uniform(2, 38 if dtype == "float32" else 308, 20_000)
    hard = [16367173.0 * 2.0**72] if dtype == "float32" else [6381956970095103.0 * 2.0**797]
    assert_within(name, dtype, np.append(size, [*hard, -hard[0]]).astype(dtype))


@pytest.mark.parametrize("dtype", EITHER)
def test_powers(dtype):
    rng = np.random.default_rng(8)
    n, largest = 10_000, np.log(np.finfo(dtype).max)
    base = np.concatenate(
        [rng.uniform(0, 3, n), np.exp(rng.uniform(-1, 1, n) * largest), 1 + rng.normal(0, 1e-4, n)]
    ).astype(dtype)
    with np.errstate(all="ignore"):
        reach = largest / abs(np.log(base.astype("f8")))
    exponent = np.where(np.isfinite(reach), rng.uniform(-1.1, 1.1, 3 * n) * reach, 2.0)
    assert_within("power", dtype, base, exponent.astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_powers(dtype):
    """Every pair of zeros, ones, halves, integers, subnormals, infinities and NaN, as in C."""
    tiny = np.finfo(dtype).smallest_subnormal
    every = [0, 1, 2, 0.5, 3, np.inf, 1e30, tiny]
    grid = np.meshgrid(
        [*every, *[-x for x in every], np.nan], [*every, *[-x for x in every], np.nan]
    )
    base, exponent = (values.ravel().astype(dtype) for values in grid)
    with np.errstate(all="ignore"):
        want = np.power(base, exponent)
    got = evaluate("power(a, b)", (dtype, dtype), dtype, base, exponent)
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.signbit(got)[want == 0], np.signbit(want)[want == 0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_signs_of_zero(dtype):
    zeros = np.array([0.0, -0.0] * 20, dtype)
    for name in "sin tan tanh sinh erf arcsin arctan arcsinh arctanh".split():
        got = evaluate(f"{name}(a)", (dtype,), dtype, zeros)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(zeros), err_msg=name)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("exp", [(-np.inf, 0), (np.inf, np.inf), (0, 1), (-1e4, 0), (1e4, np.inf)]),
        ("exp2", [(-np.inf, 0), (np.inf, np.inf), (0, 1), (10, 1024), (-3, 0.125)]),
        ("expm1", [(-np.inf, -1), (np.inf, np.inf), (0, 0), (-1e4, -1), (1e-30, 1e-30)]),
        ("log", [(0, -np.inf), (-0.0, -np.inf), (-1, np.nan), (-np.inf, np.nan), (1, 0)]),
        ("log2", [(0, -np.inf), (np.inf, np.inf), (8, 3), (2.0**-130, -130), (1, 0)]),
        ("log10", [(0, -np.inf), (np.inf, np.inf), (-1, np.nan), (1, 0), (1000, 3)]),
        ("log1p", [(-1, -np.inf), (-2, np.nan), (np.inf, np.inf), (0, 0), (1e-30, 1e-30)]),
        ("tanh", [(1e4, 1), (-1e4, -1), (np.inf, 1), (-np.inf, -1), (0, 0), (30, 1)]),
        ("sigmoid", [(-np.inf, 0), (np.inf, 1), (0, 0.5), (1e4, 1)]),
        ("softplus", [(-np.inf, 0), (np.inf, np.inf), (1e4, 1e4)]),
        ("sinh", [(-np.inf, -np.inf), (np.inf, np.inf), (1e4, np.inf), (1e-30, 1e-30)]),
        ("cosh", [(-np.inf, np.inf), (np.inf, np.inf), (1e4, np.inf), (0, 1)]),
        ("sin", [(-np.inf, np.nan), (np.inf, np.nan), (0, 0), (1e-30, 1e-30)]),
        ("cos", [(-np.inf, np.nan), (np.inf, np.nan), (0, 1), (1e-30, 1)]),
        ("tan", [(-np.inf, np.nan), (np.inf, np.nan), (0, 0), (1e-30, 1e-30)]),
        ("erf", [(-np.inf, -1), (np.inf, 1), (0, 0), (30, 1), (-30, -1)]),
        ("erfc", [(-np.inf, 2), (np.inf, 0), (0, 1), (30, 0), (-30, 2)]),
        ("arcsin", [(-np.inf, np.nan), (1.5, np.nan), (0, 0), (1e-30, 1e-30)]),
        ("arccos", [(np.inf, np.nan), (-1.5, np.nan), (1, 0)]),
        ("arctan", [(0, 0), (1e-30, 1e-30)]),
        ("arcsinh", [(-np.inf, -np.inf), (np.inf, np.inf), (0, 0), (1e-30, 1e-30)]),
        ("arccosh", [(-np.inf, np.nan), (0.5, np.nan), (-2, np.nan), (1, 0), (np.inf, np.inf)]),
        ("arctanh", [(-1, -np.inf), (1, np.inf), (1.5, np.nan), (-np.inf, np.nan), (0, 0)]),
        ("gamma", [(0, np.inf), (-0.0, -np.inf), (1, 1), (2, 1), (5, 24), (1e4, np.inf)]),
        ("gamma", [(-1, np.nan), (-np.inf, np.nan), (np.inf, np.inf), (-1e4 - 0.5, 0)]),
        ("gammaln", [(0, np.inf), (-0.0, np.inf), (-3, np.inf), (1, 0), (2, 0)]),
        ("gammaln", [(-np.inf, np.inf), (np.inf, np.inf)]),
    ],
)
def test_limits(name, pairs, dtype):
    x, expected = np.array([*pairs, (np.nan, np.nan)], dtype).T.copy()
    np.testing.assert_array_equal(evaluate(f"{name}(a)", (dtype,), dtype, x), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_subnormals_are_kept(dtype):
    tiny = np.finfo(dtype).tiny
    x = (tiny * np.array([1, 0.5, 0.25, 2.0**-10])).astype(dtype)
    np.testing.assert_allclose(
        evaluate("log(a)", (dtype,), dtype, x), np.log(x.astype(LONG)), rtol=1e-6
    )
    same = "tanh sin tan sinh expm1 log1p arcsin arctan arcsinh arctanh"
    for name in same.split():
        np.testing.assert_array_equal(evaluate(f"{name}(a)", (dtype,), dtype, x), x)
    exact = x.astype(LONG) * (2 / np.sqrt(LONG(np.pi)))
    got = evaluate("erf(a)", (dtype,), dtype, x)
    assert np.all(abs(got.astype(LONG) - exact) <= np.spacing(x))
    low = np.log(x.astype("f8"))
    got = evaluate("exp(a)", (dtype,), dtype, low.astype(dtype))
    np.testing.assert_allclose(got, x, rtol=1e-3)
