"""What cuBLAS is told, against NumPy reading it as cuBLAS does; its calls, which a library records.

That NVIDIA's own library loads and multiplies can only be seen on a machine with a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symgraph.compile.cuda import cublas
from symgraph.compile.cuda.cublas import Cublas, product

EXTENT = st.integers(1, 5)


def stored(rng: np.random.Generator, shape: tuple[int, int, int], how: str) -> np.ndarray:
    batch, m, n = shape
    if how == "columns":
        return rng.standard_normal((batch, n, m)).swapaxes(1, 2)
    if how == "wide":
        return rng.standard_normal((batch, m, n + 3))[:, :, :n]
    return rng.standard_normal(shape)


def column_major(flat: np.ndarray, at: int, rows: int, columns: int, leading: int) -> np.ndarray:
    """The matrix that cuBLAS sees `at` elements into memory."""
    assert leading >= rows
    return np.array([[flat[at + i + j * leading] for j in range(columns)] for i in range(rows)])


def memory(x: np.ndarray) -> np.ndarray:
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x.reshape(-1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    EXTENT, EXTENT, EXTENT, st.integers(1, 3),
    st.sampled_from(("rows", "columns", "wide")), st.sampled_from(("rows", "columns", "wide")),
)  # fmt: skip
def test_a_product_as_cublas_reads_it(
    m: int, n: int, k: int, batch: int, left: str, right: str
) -> None:
    rng = np.random.default_rng(0)
    a, b = stored(rng, (batch, m, k), left), stored(rng, (batch, k, n), right)
    strides = [tuple(s // 8 for s in x.strides) for x in (a, b)]
    p = product(m, n, k, batch, *strides)  # type: ignore[arg-type]
    assert p is not None
    c = np.full(batch * m * n, np.nan)
    for i in range(p.batch):
        shape = (p.rows, p.depth) if p.b_operation == 0 else (p.depth, p.rows)
        first = column_major(memory(b), i * p.b_batch, *shape, p.b_leading)
        shape = (p.depth, p.columns) if p.a_operation == 0 else (p.columns, p.depth)
        second = column_major(memory(a), i * p.a_batch, *shape, p.a_leading)
        first = first.T if p.b_operation else first
        second = second.T if p.a_operation else second
        for j in range(p.columns):
            at = i * p.c_batch + j * p.c_leading
            c[at : at + p.rows] = (first @ second)[:, j]
    np.testing.assert_allclose(c.reshape(batch, m, n), a @ b, atol=1e-12)


@pytest.mark.parametrize(
    "a",
    [(0, 8, 2), (0, -4, 1), (0, 0, 1), (0, 1, 0), (-12, 4, 1), (0, 2**31, 1)],
    ids=["no dense axis", "backwards", "broadcast", "broadcast too", "batch backwards", "too far"],
)
def test_what_cublas_does_not_take(a: tuple[int, int, int]) -> None:
    assert product(3, 5, 4, 2, a, (20, 5, 1)) is None


def test_an_empty_sum_is_left_to_the_kernels() -> None:
    assert product(3, 5, 0, 1, (0, 1, 1), (0, 5, 1)) is None


class Library:
    """Records what is called; `failing` names the call that gives status 13."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, arguments))
            if name == "cublasCreate_v2":
                arguments[0]._obj.value = 77
            return 13 if name == self.failing else 0

        return call


class Device:
    """Of a CUDA device what cuBLAS needs."""

    stream = 55

    def __init__(self) -> None:
        self.live: set[int] = set()

    def use(self) -> None:
        pass

    def alive(self) -> bool:
        return True

    def allocate(self, nbytes: int) -> int:
        assert nbytes == cublas.WORKSPACE
        self.live.add(4096)
        return 4096

    def free(self, address: int) -> None:
        self.live.discard(address)


def test_its_calls_in_order() -> None:
    library, device = Library(), Device()
    handle = Cublas(device, library)  # type: ignore[arg-type]
    what = product(3, 5, 4, 2, (12, 4, 1), (20, 1, 4))
    assert what is not None
    handle.gemm("float32", what, 1, 2, 3)
    handle.gemm("float64", what, 1, 2, 3)
    with pytest.raises(ValueError, match="float32 and float64"):
        handle.gemm("int32", what, 1, 2, 3)
    handle.close()
    handle.close()
    assert [name for name, _ in library.calls] == [
        "cublasCreate_v2", "cublasSetStream_v2", "cublasSetWorkspace_v2", "cublasSetMathMode",
        "cublasSetAtomicsMode", "cublasSgemmStridedBatched", "cublasDgemmStridedBatched",
        "cublasDestroy_v2",
    ]  # fmt: skip
    assert not device.live
    _, given = library.calls[5]
    plain = [getattr(g, "value", g) for g in given]
    assert plain[1:6] == [1, 0, 5, 3, 4]  # C' = B' A': B by rows is seen turned
    assert [plain[k] for k in (7, 8, 9, 10, 11, 12, 14, 15, 16, 17)] == [
        3, 4, 20, 2, 4, 12, 1, 5, 15, 2,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ("cublasSetWorkspace_v2", "cublasSetStream_v2"))
def test_a_refusal_gives_all_back(name: str) -> None:
    library, device = Library(name), Device()
    with pytest.raises(RuntimeError, match=f"{name} failed with status 13: the kernel failed"):
        Cublas(device, library)  # type: ignore[arg-type]
    assert library.calls[-1][0] == "cublasDestroy_v2" and not device.live


def test_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from symgraph.compile.cuda import report

    monkeypatch.setattr(report, "cublas", lambda: None)
    with pytest.raises(RuntimeError, match="pip install nvidia-cublas"):
        Cublas(Device())  # type: ignore[arg-type]
