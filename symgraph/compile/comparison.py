"""Whether two values of one variable are the same, but for rounding.

Two right ways to compute the same differ by rounding, and how much depends on the expression:
log(1 - sigmoid(36)) has lost all but one digit before the logarithm is taken. So a difference that
exceeds the dtype's tolerance is compared with how far the reference itself moves when each of its
steps is randomly rounded up or down (D. S. Parker, Monte Carlo arithmetic, UCLA CSD-970002, 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

TOLERANCE = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-8}  # relative, and absolute below 1
SAMPLES = 4  # randomly rounded evaluations
MARGIN = 16  # how many times what these differ by is still rounding


def differences(expected: Any, found: Any) -> np.ndarray | None:
    """Where two values of one variable differ by more than rounding; None if nowhere.

    NaN equals NaN; integers must be the same. Where shapes or dtypes differ, everything does.
    """
    a, b = np.asarray(expected), np.asarray(found)
    if a.dtype != b.dtype or a.shape != b.shape:
        return np.ones(a.shape, bool)
    if a.dtype.kind != "f":
        bad = a != b
    else:
        tolerance = TOLERANCE[str(a.dtype)]
        wide, other = a.astype("float64"), b.astype("float64")
        with np.errstate(all="ignore"):
            near = np.isfinite(wide) & (np.abs(wide - other) <= tolerance * (1 + np.abs(wide)))
        bad = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
    return np.asarray(bad) if np.any(bad) else None


def rounded(value: Any, random: np.random.Generator) -> Any:
    """A float array with each element up to one unit in the last place larger or smaller."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    with np.errstate(all="ignore"):
        off = random.uniform(-1, 1, value.shape) * np.finfo(value.dtype).eps
        return np.asarray(value * (1 + off.astype(value.dtype)), value.dtype)


def is_rounding(bad: np.ndarray, expected: Any, found: Any, samples: Sequence[Any]) -> bool:
    """Whether `found` is among what `expected` becomes when its steps are rounded otherwise."""
    if any(np.shape(s) != np.shape(expected) for s in samples) or np.shape(found) != bad.shape:
        return False
    with np.errstate(all="ignore"):
        reference = np.asarray(expected, "float64")[bad]
        spread = np.zeros(reference.shape)
        for sample in samples:
            moved = np.abs(np.asarray(sample, "float64")[bad] - reference)
            spread = np.maximum(spread, np.where(np.isnan(moved), np.inf, moved))
        spread[~np.isfinite(reference)] = 0  # what is not finite in all samples has not moved
        return bool(
            np.all(np.abs(np.asarray(found, "float64")[bad] - reference) <= MARGIN * spread)
        )


def is_mended(bad: np.ndarray, expected: Any, found: Any) -> bool:
    """Whether all differences are finite numbers in the place of NaN or infinity."""
    a, b = np.asarray(expected), np.asarray(found)
    if a.shape != b.shape or a.dtype != b.dtype or a.dtype.kind != "f":
        return False
    return bool(np.all(np.isfinite(b[bad]) & ~np.isfinite(a[bad])))


def describe_difference(bad: np.ndarray, expected: Any, found: Any) -> str:
    """How many elements differ, by how much, and the first of them."""
    a, b = np.asarray(expected), np.asarray(found)
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{b.dtype} of shape {b.shape} instead of {a.dtype} of shape {a.shape}"
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    with np.errstate(all="ignore"):
        distance = np.abs(a[bad].astype("float64") - b[bad].astype("float64"))
    largest = f", by at most {np.nanmax(distance):.6g}" if not np.isnan(distance).all() else ""
    return (
        f"{bad.sum()} of {bad.size} elements differ{largest}; element {list(at)} is {b[at]}, "
        f"and should be {a[at]}"
    )


def shown(value: Any) -> str:
    """A value for a message: itself if it is small, else its shape."""
    if isinstance(value, np.ndarray) and value.size > 10:
        return f"{value.dtype} of shape {value.shape}"
    return repr(value)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same; NaN equals NaN."""
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
