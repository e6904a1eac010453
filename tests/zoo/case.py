"""The op zoo's records. One record per op says how to build it, on what, and what must come out.

`tests/test_zoo.py` crosses every record with the targets, with memory layouts and, where the
inputs are floats, with finite differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class In:
    """An input array: random in [low, high) unless `values` gives it."""

    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    low: float = -2.0
    high: float = 2.0
    broadcastable: tuple[bool, ...] | None = None
    values: Any = None

    def array(self, rng: np.random.RandomState) -> np.ndarray:
        if self.values is not None:
            return np.array(self.values, dtype=self.dtype)
        if self.dtype == "bool":
            return rng.rand(*self.shape) < 0.5
        if "int" in self.dtype:
            low = 0 if self.dtype.startswith("u") and self.low < 0 else int(self.low)
            return rng.randint(low, int(self.high) + 1, self.shape).astype(self.dtype)
        return np.asarray(rng.uniform(self.low, self.high, self.shape)).astype(self.dtype)


@dataclass(frozen=True, eq=False)
class Case:
    """`build(*variables)` must equal `expect(*arrays)`, a NumPy computation of its own.

    `grad`: the positions of inputs to check by finite differences (None: every float64 input;
    () : none). `dtype` and `pattern`: what the result's must be, where the record says so.
    """

    name: str
    build: Callable[..., Any]
    inputs: tuple[In, ...]
    expect: Callable[..., Any]
    grad: tuple[int, ...] | None = None
    dtype: str | None = None
    pattern: tuple[bool, ...] | None = None
    rtol: float = 1e-10


@dataclass(frozen=True)
class Failure:
    """`provoke()` must raise `error`, with all of `words` in its text."""

    name: str
    provoke: Callable[[], Any]
    error: type[BaseException]
    words: tuple[str, ...]
