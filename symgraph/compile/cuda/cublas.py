"""NVIDIA's cuBLAS for matrix products: optional, used only where it is asked for.

Called through ctypes. No TF32, no atomics: products are float32 or float64 throughout and the same
each time. Source: NVIDIA, cuBLAS Library, User Guide.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_int, c_longlong, c_void_p
from typing import TYPE_CHECKING, Any, NamedTuple

from symgraph.errors import explain

if TYPE_CHECKING:
    from symgraph.compile.cuda.libcuda import CudaDevice

ROUTINES = {"float32": "cublasSgemmStridedBatched", "float64": "cublasDgemmStridedBatched"}
SCALARS = {"float32": ctypes.c_float, "float64": ctypes.c_double}
WORKSPACE = 32 << 20  # bytes, what the guide recommends for Hopper; 256-byte aligned
DEFAULT_MATH, NO_ATOMICS = 0, 0
PLAIN, TRANSPOSED = 0, 1  # cublasOperation_t
LARGEST = 2**31 - 1
MEANINGS = {
    1: "not initialised", 3: "no memory", 7: "invalid value", 8: "the device lacks a feature",
    11: "memory cannot be reached", 13: "the kernel failed", 14: "internal error",
    15: "not supported",
}  # fmt: skip
"""cublasStatus_t in words."""


class Product(NamedTuple):
    """What the routine of ROUTINES is told of C = A @ B, in its order, addresses apart.

    cuBLAS counts by columns, and sees each of our matrices transposed: it computes C' = B' A'.
    `b_first` and what follows are of B', the left factor there.
    """

    b_operation: int
    a_operation: int
    rows: int
    columns: int
    depth: int
    b_leading: int
    b_batch: int
    a_leading: int
    a_batch: int
    c_leading: int
    c_batch: int
    batch: int


class Multiplication(NamedTuple):
    """One product for a device (`Backend.multiply`), of operands at these addresses.

    step, for who looks on: the number of the plan's step that it is of.
    """

    dtype: str
    what: Product
    c: int
    a: int
    b: int
    step: int = -1


def matmul(a: Sequence[int], b: Sequence[int]) -> Product | None:
    """`product` of a, b: shapes followed by strides, of one to three dimensions as in numpy.matmul;
    both have one batch size."""
    batch, m, k, *left = _as_three(a, 0)
    _, _, n, *right = _as_three(b, 1)
    return product(m, n, k, batch, tuple(left), tuple(right))  # type: ignore[arg-type]


def _as_three(numbers: Sequence[int], missing: int) -> list[int]:
    """Shape and strides in three dimensions; a vector lacks the one of a matrix at `missing`."""
    ndim = len(numbers) // 2
    shape, strides = [*numbers[:ndim]], [*numbers[ndim:]]
    if ndim == 1:
        shape.insert(missing, 1)
        strides.insert(missing, 0)
    before = 3 - len(shape)
    return [1] * before + shape + [0] * before + strides


def product(
    m: int, n: int, k: int, batch: int, a: tuple[int, int, int], b: tuple[int, int, int]
) -> Product | None:
    """How (batch, m, k) by (batch, k, n) is put to cuBLAS; None: it cannot be, or need not.

    a, b: strides by batch, row and column, in elements. cuBLAS takes matrices whose rows or columns
    lie dense, and sizes below 2**31.
    """
    left, right = _seen(m, k, *a[1:]), _seen(k, n, *b[1:])
    if left is None or right is None or 0 in (m, n, k, batch) or a[0] < 0 or b[0] < 0:
        return None
    (a_operation, a_leading), (b_operation, b_leading) = left, right
    if max(m, n, k, batch, a_leading, b_leading) > LARGEST:
        return None
    return Product(b_operation, a_operation, n, m, k, b_leading, b[0], a_leading, a[0], n, m * n,
                   batch)  # fmt: skip


def _seen(rows: int, columns: int, row: int, column: int) -> tuple[int, int] | None:
    """The operation and the leading dimension of a matrix of these strides."""
    if (column == 1 or columns == 1) and (row >= columns or rows == 1):
        return PLAIN, max(row if rows > 1 else columns, 1)
    if (row == 1 or rows == 1) and (column >= rows or columns == 1):
        return TRANSPOSED, max(column if columns > 1 else rows, 1)
    return None


class Cublas:
    """cuBLAS on the stream of a device; its workspace stays where it is, as graphs need.

    library: the loaded library, or None for the one that `report.cublas` finds. Raises RuntimeError
    where there is none or it refuses; a call that fails raises RuntimeError too.
    """

    def __init__(self, device: CudaDevice, library: Any = None) -> None:
        self.device, self._library = device, _load() if library is None else library
        device.use()
        self._handle, self._workspace = c_void_p(), 0
        self._call("cublasCreate_v2", byref(self._handle))
        try:
            self._call("cublasSetStream_v2", self._handle, _pointer(device.stream))
            self._workspace = device.allocate(WORKSPACE)
            # After the stream, which takes the workspace back (cublasSetStream).
            self._call("cublasSetWorkspace_v2", self._handle, c_void_p(self._workspace),
                       ctypes.c_size_t(WORKSPACE))  # fmt: skip
            self._call("cublasSetMathMode", self._handle, DEFAULT_MATH)
            self._call("cublasSetAtomicsMode", self._handle, NO_ATOMICS)
        except BaseException:
            self.close()
            raise

    def gemm(self, dtype: str, what: Product, c: int, a: int, b: int) -> None:
        """C = A @ B on the device's stream, of operands at these addresses; does not wait.

        c is contiguous. While a stream is captured this adds to its graph. ValueError for a dtype
        other than float32 and float64.
        """
        if dtype not in ROUTINES:
            raise ValueError(explain("cuBLAS", "multiplies float32 and float64", got=dtype))
        self.device.use()
        one, zero = SCALARS[dtype](1), SCALARS[dtype](0)
        self._call(
            ROUTINES[dtype], self._handle, what.b_operation, what.a_operation,
            what.rows, what.columns, what.depth, byref(one),
            c_void_p(b), what.b_leading, c_longlong(what.b_batch),
            c_void_p(a), what.a_leading, c_longlong(what.a_batch), byref(zero),
            c_void_p(c), what.c_leading, c_longlong(what.c_batch), what.batch,
        )  # fmt: skip

    def close(self) -> None:
        """Wait for the device, then give back the handle and its workspace."""
        if self._handle and self.device.alive():
            self.device.use()
            self._library.cublasDestroy_v2(self._handle)
            self.device.free(self._workspace)
        self._handle, self._workspace = c_void_p(), 0

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            meaning = MEANINGS.get(status, "see cublasStatus_t in its guide")
            raise RuntimeError(explain("cuBLAS", f"{name} failed with status {status}: {meaning}"))


def _pointer(handle: Any) -> c_void_p:
    return handle if isinstance(handle, c_void_p) else c_void_p(handle)


def _load() -> Any:
    from symgraph.compile.cuda.report import cublas

    found = cublas()
    if found is None:
        raise RuntimeError(
            explain("gpu.cublas", "cuBLAS was asked for and is not here",
                    got="no libcublas among Python's packages, of a toolkit or on the library path",
                    expected="NVIDIA's library, which is installed apart",
                    cure="pip install nvidia-cublas (nvidia-cublas-cu12 for a driver of CUDA 12), "
                    "or leave gpu.cublas off")
        )  # fmt: skip
    try:
        library = ctypes.CDLL(str(found))
    except OSError as error:
        raise RuntimeError(explain("cuBLAS", f"{found} cannot be loaded: {error}")) from error
    for name in ("cublasCreate_v2", "cublasSetStream_v2", *ROUTINES.values()):
        getattr(library, name).restype = c_int
    return library
