"""NumPy: no peer in the comparisons, a measure of what the machine gives in the same minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import data

Step = Callable[[], Any]


class Peer:
    """See `benchmarks.peers`."""

    def __init__(self, variant: str, threads: int) -> None: ...

    @staticmethod
    def digest(result: Any) -> list[np.ndarray]:
        return [np.asarray(result)]

    def gemm(self, m: int, k: int, n: int, ta: bool, tb: bool, dtype: str) -> Step:
        a = data.values((k, m) if ta else (m, k), 0, dtype)
        b = data.values((n, k) if tb else (k, n), 1, dtype)
        return lambda: (a.T if ta else a) @ (b.T if tb else b)

    def stream(self, n: int) -> Step:
        a, b, c = (data.values((n,), seed) for seed in range(3))
        return lambda: np.add(a, b, out=c)
