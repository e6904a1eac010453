"""How matrix products are cut up: blocks cover C, and items follow its rows as the stage says."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symgraph.compile.library import lower
from symgraph.compile.library.blocking import even_split, product_blocks
from tests.test_library import Chunks, one_chunk, run

EXTENT = st.integers(0, 3000)


@given(EXTENT, EXTENT, EXTENT, st.sampled_from(((12, 32), (6, 8), (6, 12))), st.booleans())
def test_blocks_are_whole_tiles_and_few(
    m: int, n: int, k: int, tile: tuple[int, int], shared: bool
) -> None:
    high, wide = product_blocks(m, n, k, *tile, shared)
    assert high >= 1 and wide >= tile[1] and wide % tile[1] == 0
    assert high % 2 == 0 or high == 1
    if k > 64 and (shared or m <= 2 * tile[0]):
        assert -(-m // high) * -(-n // wide) <= 32


@given(st.integers(0, 10**6), st.integers(1, 5000))
def test_even_split(total: int, limit: int) -> None:
    step = even_split(total, limit)
    pieces = -(-total // step)
    assert 1 <= step <= limit
    assert pieces == -(-total // limit)
    assert pieces == 0 or total - (pieces - 1) * step > total // pieces - pieces


SHAPES = (  # name, shapes of the operands and of the result
    ("gemm", (500, 70), (70, 90), (500, 90)),
    ("gemm", (500, 300), (300, 90), (500, 90)),
    ("gemm", (20, 300), (300, 500), (20, 500)),
    ("gemm", (700, 3000), (3000, 3), (700, 3)),
    ("gemm", (700, 3000), (3000, 1), (700, 1)),
    ("gemm", (3, 300), (300, 700), (3, 700)),
    ("gemm", (300,), (300, 7000), (7000,)),
    ("gemm", (7000, 300), (300,), (7000,)),
    ("gemm", (30, 3000), (3000, 600), (30, 600)),
    ("batched_dot", (5, 40, 30), (5, 30, 20), (5, 40, 20)),
)


@pytest.mark.parametrize(("name", "left", "right", "result"), SHAPES)
def test_items_follow_the_rows_of_the_result(
    name: str, left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype("float32") for shape in (left, right))
    params = {"a_ndim": len(left), "b_ndim": len(right)} if name == "gemm" else {}
    stages = lower(name, "float32", params).stages
    (place,) = (k for k, stage in enumerate(stages) if stage.slices is not None)
    stage = stages[place]
    assert stage.slices is not None
    shapes = {"in0": left, "in1": right, "out0": result}
    entries, items, length = stage.slices(shapes)
    runs = -(-length // entries)
    assert length == result[0] and stage.extent(shapes) == runs * items
    for chosen in range(runs):
        calls = iter(range(len(stages)))

        def chunks(
            extent: int, grain: int, calls: Iterator[int] = calls, first: int = chosen * items
        ) -> Chunks:
            return [(first, first + items)] if next(calls) == place else one_chunk(extent, grain)

        got = run(name, "float32", params, result, a, b, chunks=chunks)
        written = ~np.isnan(got.reshape(length, -1))
        assert written[chosen * entries : (chosen + 1) * entries].all()
        assert written.sum() == written[chosen * entries : (chosen + 1) * entries].size


def test_the_second_stage_adds_parts() -> None:
    shapes = {"in0": (40, 70_000), "in1": (70_000, 40), "out0": (40, 40)}
    first, second = lower("gemm", "float32", {}).stages
    assert first.source == second.source and second.slices is not None
    assert first.extent(shapes) == 32 and second.extent(shapes) == 40
    assert second.slices(shapes) == (1, 1, 40)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_a_large_b_is_packed_by_each_block(dtype: str) -> None:
    packing = lower("gemm", dtype, {}).stages[0]
    small = {"in0": (500, 784), "in1": (784, 500), "out0": (500, 500)}
    large = {"in0": (500, 4000), "in1": (4000, 4000), "out0": (500, 4000)}
    assert packing.extent(small) > 0 and packing.extent(large) == 0


def strided(rng: np.random.Generator, shape: tuple[int, int], layout: str) -> np.ndarray:
    """Random float32 numbers whose rows ("rows") or columns ("columns") or neither lie dense."""
    rows, columns = shape
    if layout == "columns":
        return rng.standard_normal((columns, rows)).astype("float32").T
    wide = rng.standard_normal((rows, columns * (2 if layout == "neither" else 1)))
    return wide.astype("float32")[:, :: 2 if layout == "neither" else 1]


@pytest.mark.parametrize("left", ("rows", "columns", "neither"))
@pytest.mark.parametrize("right", ("rows", "columns", "neither"))
@pytest.mark.parametrize(
    "m, k, n",
    (
        (20, 784, 500), (1, 800, 500), (3, 900, 700), (24, 1000, 333),  # few rows
        (500, 300, 10), (301, 70, 31), (40, 9000, 20), (6, 5, 5),  # no wider than a tile
    ),
)  # fmt: skip
def test_thin_products_of_any_layout(m: int, k: int, n: int, left: str, right: str) -> None:
    rng = np.random.default_rng(0)
    a, b = strided(rng, (m, k), left), strided(rng, (k, n), right)
    got = run("gemm", "float32", {}, (m, n), a, b)
    want = a.astype("float64") @ b.astype("float64")
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-6 * k**0.5 * np.sqrt(np.log(m * n * k)))


def test_a_sum_of_few_rows_is_cut_unless_adding_costs_more() -> None:
    def parts(m: int, k: int, n: int) -> int:
        lowering = lower("gemm", "float32", {})
        shapes = {"in0": (m, k), "in1": (k, n), "out0": (m, n)}
        first, second = lowering.stages
        cut = lowering.temporaries["tmp0"][1](shapes)[0]
        assert lowering.temporaries["tmp1"][1](shapes)[0] == 0  # B is read where it lies
        assert first.extent(shapes) == cut and second.extent(shapes) == (m if cut else 1)
        return cut

    assert parts(20, 784, 500) == 8
    assert parts(20, 60, 33) == 0
    assert parts(1, 20, 50) == 0
