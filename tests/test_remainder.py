"""fmod in integers, of which a CUDA device makes mod and floor_divide: bit by bit that of C."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from symgraph.compile import arithmetic, cache, codegen, native
from symgraph.compile.intrinsics import elementwise
from symgraph.compile.remainder import exact_remainder

from .test_mathlib import FLOATS, kernel_source

remainder = elementwise(exact_remainder)


@numba.njit
def remainders(a, b, out):
    for i in range(a.size):
        out[i] = remainder(a[i], b[i])


def assert_fmod(a: np.ndarray, b: np.ndarray) -> None:
    out = np.empty_like(a)
    remainders(a, b, out)
    with np.errstate(all="ignore"):
        want = np.fmod(a, b)
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(np.signbit(out[~np.isnan(want)]), np.signbit(a[~np.isnan(want)]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_exponent(dtype):
    """Random bits: quotients up to 2**2098, subnormals, infinities and NaN."""
    kind = np.dtype(dtype.replace("float", "uint"))
    high = int(np.iinfo(kind).max)
    a, b = np.random.default_rng(0).integers(0, high, (2, 50_000), kind, endpoint=True).view(dtype)
    assert_fmod(a, b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_close_numbers_and_subnormals(dtype):
    rng = np.random.default_rng(1)
    unit = np.finfo(dtype).smallest_subnormal
    small = (rng.integers(-9999, 9999, 20_000) * unit).astype(dtype)
    a, b = (rng.standard_normal((2, 20_000)) * [[100], [1]]).astype(dtype)
    assert_fmod(a, b)
    assert_fmod(small, small[::-1].copy())
    assert_fmod(a, small)
    assert_fmod(a * b, b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_numbers(dtype):
    info = np.finfo(dtype)
    every = [0, 1, 3, 0.1, info.tiny, info.smallest_subnormal, info.max, np.inf, np.nan]
    a, b = np.meshgrid([*every, *[-x for x in every]], [*every, *[-x for x in every]])
    assert_fmod(a.ravel().astype(dtype), b.ravel().astype(dtype))


@pytest.mark.parametrize("name", ["mod", "floor_divide"])
def test_a_device_uses_it_and_the_cpu_does_not(name):
    function = cache.execute(
        kernel_source(f"{name}(a, b)", ("float64",) * 2, "float64"), "test", native.VOCABULARY
    )
    arguments = function, codegen.KERNEL_ARGUMENTS, cache.OPTIONS, "test"
    assert "frem" in str(codegen.lower(*arguments))
    token = arithmetic.DEVICE.set(True)
    try:
        text = str(codegen.lower(*arguments))
    finally:
        arithmetic.DEVICE.reset(token)
    assert "frem" not in text and "urem" in text
