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
    few = {"in0": (20, 784), "in1": (784, 500), "out0": (20, 500)}
    assert packing.extent(small) > 0 and packing.extent(large) == packing.extent(few) == 0
