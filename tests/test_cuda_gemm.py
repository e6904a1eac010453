"""The device's matrix products against NumPy in float64: every tiling, layout and way to cut."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symgraph.compile.cuda import codegen
from symgraph.compile.cuda.library import gemm, lower
from symgraph.compile.cuda.library.gemm import LARGE, MIDDLE, SMALL, TALL, Cut, Tiling, choose
from tests import cuda_assembly
from tests.cuda_kernels import both_orders, run, sources

FLOATS = ("float32", "float64")
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
LAYOUTS = ("rows", "columns", "reversed", "broadcast", "shifted")


def stored(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, how: str) -> np.ndarray:
    """A random array of `shape` that lies in memory as `how` says."""

    def draw(*extents: int) -> np.ndarray:
        return rng.integers(-99, 99, extents).astype(dtype) / np.dtype(dtype).type(7)

    *batch, m, n = shape
    if how == "columns":
        return draw(*batch, n, m).swapaxes(-1, -2)
    if how == "reversed":
        return draw(*batch, m, 2 * n)[..., ::-1, ::-2]
    if how == "broadcast":
        return np.broadcast_to(draw(*batch, m, 1), shape)
    if how == "shifted":  # rows lie at multiples of 16 bytes from each other, not from 0
        return draw(*batch, m, n + 4 - n % 4)[..., 1 : n + 1]
    return draw(*batch, m, n)


def assert_product(a: np.ndarray, b: np.ndarray, name: str = "gemm", orders: bool = True) -> None:
    """`a` @ `b` on the device, within rounding."""
    params = {"a_ndim": a.ndim, "b_ndim": b.ndim} if name == "gemm" else {}
    dtype = a.dtype.name
    shape = (*a.shape[:-1], *(b.shape[1:] if name == "gemm" else b.shape[2:]))
    (got,) = (both_orders if orders else run)(name, dtype, params, (a, b), [(shape, dtype)])
    wide_a, wide_b = a.astype("float64"), b.astype("float64")
    bound = TOLERANCE[dtype] * np.matmul(abs(wide_a), abs(wide_b)) + 1e-30
    assert (abs(got - np.matmul(wide_a, wide_b)) <= bound).all()


def thin(columns: int) -> Tiling:
    return gemm._thin(columns, 4)


@pytest.mark.parametrize(
    "tiling, m, n, k, parts, left, right",
    [
        (LARGE, 130, 33, 17, 1, "rows", "rows"),
        (LARGE, 100, 132, 12, 1, "columns", "columns"),
        (LARGE, 64, 40, 40, 2, "shifted", "rows"),
        (MIDDLE, 70, 66, 20, 1, "rows", "columns"),
        (MIDDLE, 68, 36, 44, 2, "columns", "rows"),
        (TALL, 70, 33, 44, 2, "rows", "rows"),
        (SMALL, 40, 36, 72, 1, "columns", "reversed"),
        (SMALL, 33, 35, 150, 4, "shifted", "columns"),
        (SMALL, 36, 64, 0, 1, "rows", "rows"),
        (thin(16), 40, 20, 70, 1, "columns", "rows"),
        (thin(8), 36, 8, 140, 2, "rows", "columns"),
        (thin(4), 33, 10, 300, 1, "rows", "rows"),
        (thin(4), 32, 4, 262, 2, "columns", "columns"),
        (thin(1), 40, 1, 262, 2, "rows", "rows"),
    ],
)
def test_a_tiling(
    monkeypatch: pytest.MonkeyPatch,
    tiling: Tiling, m: int, n: int, k: int, parts: int, left: str, right: str,
) -> None:  # fmt: skip
    blocks = parts * gemm._tiles(tiling, m, n, 1)
    monkeypatch.setattr(gemm, "choose", lambda *sizes: Cut(tiling, parts, blocks, False))
    rng = np.random.default_rng(0)
    a, b = stored(rng, (m, k), "float32", left), stored(rng, (k, n), "float32", right)
    assert_product(a, b)


EXTENTS = st.sampled_from((0, 1, 2, 3, 4, 10, 16, 17, 24, 33, 36))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    EXTENTS, EXTENTS, st.sampled_from((0, 1, 3, 8, 20, 33, 64)),
    st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.sampled_from(FLOATS),
)  # fmt: skip
def test_gemm(m: int, n: int, k: int, left: str, right: str, dtype: str) -> None:
    rng = np.random.default_rng(m + 40 * n + 1600 * k)
    a, b = stored(rng, (m, k), dtype, left), stored(rng, (k, n), dtype, right)
    assert_product(a, b, orders=False)


@pytest.mark.parametrize("m, n", [(40, 10), (10, 40), (3, 33), (34, 1), (1, 34)])
@pytest.mark.parametrize("left, right", [("rows", "columns"), ("columns", "rows")])
def test_thin_products(m: int, n: int, left: str, right: str) -> None:
    rng = np.random.default_rng(m)
    assert_product(stored(rng, (m, 140), "float32", left), stored(rng, (140, n), "float32", right))


@pytest.mark.parametrize("k", (0, 1, 37, 2500))
@pytest.mark.parametrize("dtype", FLOATS)
def test_vectors(k: int, dtype: str) -> None:
    rng = np.random.default_rng(k)
    matrix = stored(rng, (k, 7), dtype, "rows")
    x, y = (stored(rng, (1, k), dtype, "reversed")[0] for _ in range(2))
    for a, b in ((x, y), (x, matrix), (matrix.T, y)):
        assert_product(a, b, orders=k < 100)


def test_a_long_dot_product_is_added_in_parts() -> None:
    rng = np.random.default_rng(0)
    x, y = (stored(rng, (1, 40_000), "float32", "rows")[0] for _ in range(2))
    assert choose(1, 1, 40_000).parts == 9
    assert_product(x, y, orders=False)


@pytest.mark.parametrize(
    "extents", [(3, 20, 30, 40), (2, 33, 70, 10), (1, 1, 9, 1), (4, 0, 3, 2), (0, 2, 2, 2)]
)
@pytest.mark.parametrize("left, right", [("rows", "columns"), ("broadcast", "shifted")])
def test_batched_dot(extents: tuple[int, ...], left: str, right: str) -> None:
    batch, m, k, n = extents
    rng = np.random.default_rng(1)
    a = stored(rng, (batch, m, k), "float32", left)
    b = stored(rng, (batch, k, n), "float32", right)
    assert_product(a, b, "batched_dot", orders=left == "rows")


def test_a_batch_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "choose", lambda *sizes: Cut(SMALL, 3, 6, False))
    rng = np.random.default_rng(1)
    a, b = (
        stored(rng, (2, 20, 100), "float32", "rows"),
        stored(rng, (2, 100, 24), "float32", "rows"),
    )
    assert_product(a, b, "batched_dot")


@pytest.mark.parametrize("dtype", ("int8", "uint16", "int64", "uint64"))
@pytest.mark.parametrize("m, n", [(5, 4), (33, 20)])
def test_integers_keep_their_dtype_and_wrap(dtype: str, m: int, n: int) -> None:
    rng = np.random.default_rng(2)
    info = np.iinfo(dtype)
    a = rng.integers(info.min, info.max, (m, 50), dtype)
    b = rng.integers(info.min, info.max, (50, n), dtype)
    with np.errstate(over="ignore"):  # NumPy's scalars tell, the device's do not
        (got,) = run("gemm", dtype, {}, (a, b), [((m, n), dtype)])
    np.testing.assert_array_equal(got, a @ b)


def test_nothing_runs_for_an_empty_product() -> None:
    for m, n in ((0, 5), (5, 0)):
        assert sources("gemm", "float32", {}, {"in0": (m, 3), "in1": (3, n), "out0": (m, n)}) == []


def test_the_table_of_choices_is_what_is_chosen() -> None:
    assert choose.__doc__ is not None
    rows = re.findall(
        r"^ +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) x (\d+) +(\d+) +(\d+) ", choose.__doc__, re.MULTILINE
    )
    assert len(rows) == 13
    for row in rows:
        m, n, k, batch, *expected = map(int, row)
        cut = choose(m, n, k, batch)
        assert [cut.tiling.rows, cut.tiling.columns, cut.parts, cut.blocks] == expected, row


@pytest.mark.parametrize("dtype", ("float32", "float64", "int8"))
def test_every_choice_fits(dtype: str) -> None:
    for m, n in ((1, 1), (7, 1), (20, 9), (9, 90), (500, 500), (3000, 3000)):
        for k in (1, 100, 10_000, 1_000_000):
            cut = choose(m, n, k, 2, dtype)
            assert cut.blocks == cut.parts * gemm._tiles(cut.tiling, max(m, n), min(m, n), 2)
            assert cut.parts == 1 or k // cut.parts >= 2 * cut.tiling.depth
            assert cut.swapped == (min(m, n) <= gemm.THIN and m < n)


def test_the_text_knows_no_batch_size() -> None:
    texts = [
        sources("gemm", "float32", {}, {"in0": (m, 800), "in1": (800, 500), "out0": (m, 500)})[0]
        for m in (100, 250, 500)
    ]
    assert len(set(texts)) == 1


def test_more_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="vectors and matrices"):
        lower("gemm", "float32", {"a_ndim": 3, "b_ndim": 2})


RESOURCES = [
    (dtype, tiling)
    for dtype, tilings in {
        "float32": (LARGE, MIDDLE, TALL, SMALL, thin(16), thin(4), thin(1), gemm._vector(4)),
        "float64": (MIDDLE, SMALL, gemm._thin(8, 8), gemm._vector(8)),
        "int64": (SMALL, gemm._thin(8, 8)),
        "int8": (SMALL,),
    }.items()
    for tiling in tilings
]


@pytest.mark.skipif(
    cuda_assembly.assembler() is None,
    reason="nothing here assembles PTX: pip install 'symgraph[cuda]'",
)
@pytest.mark.parametrize("dtype, tiling", RESOURCES)
def test_resources(dtype: str, tiling: Tiling) -> None:
    """The PTX of the oldest architecture, which later ones take; of large tiles each one's own."""
    source = gemm._source(gemm._Kind(dtype, 2, 2, False), tiling, False)
    blocks = tiling.resident // (2 if dtype in ("float64", "int64") else 1)
    text = codegen.ptx(source, "sm_75")
    for arch in cuda_assembly.ARCHITECTURES:
        if tiling == LARGE:
            text = codegen.ptx(source, arch)
        needed = cuda_assembly.assemble(text, arch)
        assert needed.spills == 0 and needed.stack == 0, needed.log
        assert needed.registers <= 65536 // (256 * blocks), needed.log
        assert needed.shared <= 48 * 1024, needed.log


def test_the_large_tile_multiplies_in_64_of_73_instructions() -> None:
    text = codegen.ptx(gemm._source(gemm._Kind("float32", 2, 2, False), LARGE, False))
    loop = max(re.split(r"^\$L\w+:", text, flags=re.MULTILINE), key=lambda s: s.count("fma.rn.f32"))
    loads = re.findall(r"ld\.shared\S*", loop)
    assert loop.count("fma.rn.f32") == 64
    assert loads == ["ld.shared.v4.b32"] * 4
    # comments, registers' moves and the branch aside: what is neither
    others = [line for line in loop.splitlines() if re.match(r"\s+(add|setp|mov|@)", line)]
    assert len(others) <= 5
