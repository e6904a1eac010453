"""Which register tile a processor gets: lanes of a vector, and rows and vectors of a tile of C.

The numbers are printed into the kernels as literals, so a kernel built for one processor is never
taken for another's. Shapes were chosen by measuring (AVX-512) or by counting registers: a tile
needs rows * vectors accumulators, one row of B and, without broadcasting loads, one scalar.
"""

import functools
from dataclasses import dataclass

import numpy as np

FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class Tile:
    """A register tile: `rows` by `vectors` vectors of `lanes` elements of `dtype`."""

    dtype: str
    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        """Columns of C that one tile covers."""
        return self.lanes * self.vectors

    @property
    def few_vectors(self) -> int:
        """Vectors of a tile of 4 rows that needs as many registers."""
        return self.rows * self.vectors // 4

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize


@functools.cache
def vector_bytes() -> int:
    """Bytes of a vector register of this processor."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512bw"):
        return 64
    return 32 if features.get("avx2") and features.get("fma") else 16


def host_lanes(dtype: str) -> int:
    """Lanes of a vector of `dtype`; at most 16, since masks of more cost more than they save."""
    return min(16, vector_bytes() // np.dtype(dtype).itemsize)


def host_tile(dtype: str) -> Tile:
    """The tile for "float32" or "float64" on this processor."""
    rows, vectors = {64: (12, 2), 32: (6, 2), 16: (6, 3)}[vector_bytes()]
    return Tile(dtype, host_lanes(dtype), rows, vectors)
