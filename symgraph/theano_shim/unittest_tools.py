"""What `theano.tests.unittest_tools` offers to the tests of ported code."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import numpy as np

from symgraph import gradient
from symgraph.configuration import config
from symgraph.types import FLOATS

__all__ = ["SkipTest", "WrongValue", "assert_allclose", "fetch_seed", "seed_rng", "verify_grad"]

_TOLERANCE = {"float16": (1e-3, 1e-3), "float32": (1e-5, 1e-5), "float64": (1e-5, 1e-8)}


class WrongValue(AssertionError):
    """`assert_allclose` found another value; the text shows where it differs most."""


def fetch_seed(pseed: Any = None) -> int | None:
    """`pseed`, or else `config.unittests.rseed` (666 by default); None for 'random'."""
    seed = pseed or config.unittests.rseed
    return None if seed == "random" else int(seed)


def seed_rng(pseed: Any = None) -> int | None:
    """Seed NumPy's global generator by `fetch_seed(pseed)`, and return that."""
    seed = fetch_seed(pseed)
    np.random.seed(seed)
    return seed


def verify_grad(
    op: Any, pt: Any, n_tests: int = 2, rng: Any = None, *args: Any, **kwargs: Any
) -> None:
    """`gradient.verify_grad`, with a generator seeded by `fetch_seed` if none is given."""
    rng = np.random.RandomState(fetch_seed()) if rng is None else rng
    gradient.verify_grad(op, pt, n_tests, rng, *args, **kwargs)


verify_grad.E_grad = gradient.verify_grad.E_grad  # type: ignore[attr-defined]


def assert_allclose(
    expected: Any, value: Any, rtol: float | None = None, atol: float | None = None
) -> None:
    """WrongValue unless `value` is close to `expected`, by the narrower dtype's tolerance.

    That is rtol and atol 1e-3 for float16, 1e-5 for float32, and 1e-5 with 1e-8 else. Shapes
    may broadcast. Source: Theano, tests/unittest_tools.
    """
    a, b = np.broadcast_arrays(expected, value)
    narrow = min(
        (d for d in map(str, (a.dtype, b.dtype)) if d in FLOATS),
        key=lambda d: np.dtype(d).itemsize,
        default="float64",
    )
    relative, absolute = _TOLERANCE[narrow]
    try:
        np.testing.assert_allclose(
            b, a, rtol=relative if rtol is None else rtol, atol=absolute if atol is None else atol
        )
    except AssertionError as error:
        raise WrongValue(str(error)) from None
