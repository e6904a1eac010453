"""Sorting on the device against NumPy's stable sort: dtypes, axes, NaN, ties, several passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

import symgraph
from symgraph.compile.cuda import library
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.simulated import Simulated
from symgraph.compile.pipeline import Options
from symgraph.ops.sort import argsort, sort
from symgraph.ops.topk import topk, topk_and_argtopk
from symgraph.types import DTYPES, FLOATS, TensorType
from tests.cuda_assembly import ARCHITECTURES
from tests.cuda_kernels import both_orders, check_resources, sources


def drawn(shape: tuple[int, ...], dtype: str, distinct: int = 9) -> np.ndarray:
    """Few different numbers, the ends of the dtype, and for floats NaN, infinities and both
    zeros."""
    rng = np.random.default_rng(len(dtype) + sum(shape))
    if dtype in FLOATS:
        values = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.5, -2.0, 1e-7, 60000], dtype)
    elif dtype == "bool":
        values = np.array([False, True])
    else:
        ends = np.iinfo(dtype)
        values = np.array([ends.min, ends.max, *range(distinct)], dtype)
    return values[rng.integers(0, len(values), shape)]


def check(x: np.ndarray) -> None:
    """`sort` and `argsort` of the middle axis of a device give NumPy's stable order."""
    dtype = str(x.dtype)
    (order,) = both_orders("argsort", dtype, {}, [x], [(x.shape, "int64")])
    np.testing.assert_array_equal(order, np.argsort(x, axis=1, kind="stable"))
    (line,) = both_orders("sort", dtype, {}, [x], [(x.shape, dtype)])
    np.testing.assert_array_equal(line, np.sort(x, axis=1, kind="stable"))
    assert np.array_equal(np.signbit(line), np.signbit(np.take_along_axis(x, order, 1))) or (
        dtype not in FLOATS
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_dtype(dtype: str) -> None:
    check(drawn((3, 13, 1), dtype))


@pytest.mark.parametrize(
    "shape",
    (
        (5, 1, 1), (1, 2, 1), (70, 16, 1), (3, 17, 1), (2, 9, 3), (1, 5, 70), (4, 0, 1), (0, 4, 2),
        (3, 4, 0), (1, 300, 1),
    ),
)  # fmt: skip
def test_short_lines(shape: tuple[int, ...]) -> None:
    """Lines that share a tile, that leave it ragged, that stand apart, that are empty."""
    check(drawn(shape, "float32"))


@pytest.mark.parametrize(("shape", "dtype"), (((1, 1024, 1), "float32"), ((2, 1100, 1), "int16"),
                                              ((1, 2500, 2), "float64")))  # fmt: skip
def test_passes(shape: tuple[int, ...], dtype: str) -> None:
    """Of none, of one and of two, of which the last run has nothing beside it in the first."""
    check(drawn(shape, dtype, 50))


def test_how_often_runs_are_merged() -> None:
    for n, passes in ((1, 0), (1024, 0), (1025, 1), (2048, 1), (2049, 2), (10**6, 10)):
        shapes = {"in0": (1, n, 1), "out0": (1, n, 1)}
        texts = sources("argsort", "float32", {}, shapes)
        assert len(texts) == 1 + passes
        widths = [1024 << k for k in range(passes)]
        assert all(f"runs of {w} are" in text for w, text in zip(widths, texts[1:], strict=True))
        assert [bool(shapes[f"keys{k}"][0]) for k in (0, 1)] == [passes > 0, passes > 1]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    hn.arrays(
        st.sampled_from(("float16", "float32", "uint8", "int64")),
        st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 2)),
    )
)
def test_anything(x: np.ndarray) -> None:
    check(x)


@pytest.mark.parametrize("dtype", ("float32", "uint8", "float16", "bool"))
@pytest.mark.parametrize(("n", "k"), ((7, 3), (7, 7), (40, 1), (1100, 5)))
def test_the_largest(n: int, k: int, dtype: str) -> None:
    x = drawn((2, n, 1 + (n < 99)), dtype)
    shape = (x.shape[0], k, x.shape[2])
    behind = np.flip(np.argsort(np.flip(x, 1), axis=1, kind="stable"), 1)
    descending = n - 1 - behind  # stable: equal elements in the order of their places
    for smallest, want in ((False, descending[:, :k]), (True, descending[:, n - k :])):
        params = {"smallest": smallest, "index": "int32"}
        (got,) = both_orders("argtopk", dtype, params, [x], [(shape, "int32")])
        np.testing.assert_array_equal(got, want)


def test_functions_of_a_device_sort_there() -> None:
    """Along any axis; `argtopk` for a k that is known. The order is the stable one."""
    x = TensorType("float32", (False,) * 3)("x")
    k = TensorType("int64", ())("k")
    device = Simulated()
    with use(Device(device)):
        outputs = [sort(x, 1), argsort(x, 0), *topk_and_argtopk(x, -2, axis=2)]
        f = symgraph.function([x], outputs, mode=Options(target="cuda"))
        host = symgraph.function([x, k], topk(x, k), mode=Options(target="cuda"))
        value = drawn((3, 4, 5), "float32")
        values = f(value)
        assert len(kernels(device)) == 3
        assert device.statistics.uploads == 1
        np.testing.assert_array_equal(host(value, 2), np.flip(np.sort(value, 2), 2)[..., :2])
        assert len(kernels(device)) == 3
    wanted = (
        np.sort(value, 1),
        np.argsort(value, 0, kind="stable"),
        np.flip(np.sort(value, 2)[..., :2], 2),
    )
    for got, want in zip(values, wanted, strict=False):
        np.testing.assert_array_equal(got, want)


def kernels(device: Simulated) -> list[str]:
    """The first lines of the library's kernels that were built for sorting."""
    return [text.splitlines()[0] for text in device.sources if " keys" in text.splitlines()[0]]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="complex64"):
        library.lower("sort", "complex64", {})
    with pytest.raises(ValueError, match="integers"):
        library.lower("argtopk", "float32", {"index": "float32"})


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_resources(arch: str) -> None:
    """Five blocks of 256 threads fit on a multiprocessor."""
    dtype = {"sm_75": "float32", "sm_80": "float64", "sm_90": "float16"}[arch]
    for name in ("sort", "argsort", "argtopk"):
        for shape in ((50, 10, 1), (20, 300, 8), (1, 3000, 1)):
            kept = (shape[0], 5, shape[2]) if name == "argtopk" else shape
            for source in sources(name, dtype, {}, {"in0": shape, "out0": kept}):
                check_resources(source, arch, 48)
