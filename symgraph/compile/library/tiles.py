"""Which register tile a processor gets: lanes of a vector, and rows and vectors of a tile of C.

The numbers are printed into the kernels as literals, so a kernel built for one processor is never
taken for another's. Shapes were chosen by measuring (AVX-512) or by counting registers: a tile needs
rows * vectors accumulators, one row of B and, without broadcasting loads, one scalar.
"""

import functools
from dataclasses import dataclass

FLOATS = {"float32": 4, "float64": 8}


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
    def itemsize(self) -> int:
        """Bytes of an element."""
        return FLOATS[self.dtype]


@functools.lru_cache(maxsize=None)
def host_tile(dtype: str) -> Tile:
    """The tile for "float32" or "float64" on the processor that runs this program."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        width, rows, vectors = 64, 12, 2
    elif features.get("avx2") and features.get("fma"):
        width, rows, vectors = 32, 6, 2
    elif features.get("neon") or features.get("asimd"):
        width, rows, vectors = 16, 7, 3
    else:
        width, rows, vectors = 16, 4, 2
    return Tile(dtype, width // FLOATS[dtype], rows, vectors)
