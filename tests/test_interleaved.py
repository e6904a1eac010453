"""Convolutions on runs of interleaved images against plain NumPy, wherever they could be chosen.

What makes them the better way (long sums, short rows) is switched off, so that all shapes whose
images fill a run take it; a small room forces bands of rows.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from symgraph.compile import library
from symgraph.compile.library import Lowering, interleaved, lower, tiles
from symgraph.compile.library.blocking import band_rows, even_rows, shared_channels, unit_share
from symgraph.compile.library.convolution import PARTS
from symgraph.compile.library.geometry import Geometry
from tests.test_library import (
    assert_chunks_agree,
    assert_near,
    drawn,
    out_size,
    reference,
    run,
)

OPERATIONS = ("conv2d", "conv2d_grad_weights", "conv2d_grad_inputs")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interleave images whenever they fill a run; forget what was lowered before and after."""
    monkeypatch.setattr(library, "_lowered", {})
    monkeypatch.setattr(interleaved, "SHORT", 0)
    monkeypatch.setattr(interleaved, "MOVING", 0)
    monkeypatch.setattr(interleaved, "LONG", 100)


def operands(name: str, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple:
    """The output's shape and the inputs of an operation."""
    return {
        "conv2d": (dy.shape, x, w),
        "conv2d_grad_weights": (w.shape, x, dy),
        "conv2d_grad_inputs": (x.shape, w, dy),
    }[name]


def extents(lowering: Lowering, shape: tuple[int, ...], *inputs: np.ndarray) -> list[int]:
    """Items of the stages that multiply."""
    shapes = {"out0": shape} | {f"in{k}": a.shape for k, a in enumerate(inputs)}
    for name, (_, size) in lowering.temporaries.items():
        shapes[name] = size(shapes)
    return [stage.extent(shapes) for stage in lowering.stages if "in1" in stage.operands]


CASES = (  # n, c, o, h, w, kh, kw, what is declared beside filters and images
    (32, 4, 26, 9, 10, 3, 3, {}),
    (31, 3, 7, 12, 11, 5, 5, {"filter_flip": False}),
    (64, 6, 14, 7, 7, 2, 3, {"num_groups": 2, "pad": "half"}),
    (30, 2, 5, 8, 6, 3, 2, {"pad": ((2, 1), (0, 3)), "subsample": (2, 3)}),
    (32, 2, 3, 10, 9, 3, 3, {"pad": "full", "filter_dilation": (1, 2), "subsample": (2, 1)}),
    (61, 1, 13, 6, 5, 3, 5, {"filter_dilation": (2, 1), "pad": ((0, 1), (2, 2))}),
)


def check(case: tuple, dtype: str, declare: bool) -> None:
    params, pad, x, w, dy = drawn(np.random.default_rng(7), case[:7], case[7], dtype)
    params |= {"kh": w.shape[2], "kw": w.shape[3]}
    if declare:
        params |= {"images": x.shape, "filters": w.shape}
    doubles = [a.astype("float64") for a in (x, w, dy)]
    y, dw, dx = reference(*doubles, params, pad)
    sizes = reference(*map(abs, doubles), params, pad)
    for name, want, size in zip(OPERATIONS, (y, dw, dx), sizes, strict=True):
        shape, *inputs = operands(name, x, w, dy)
        lowering = lower(name, dtype, params)
        items = extents(lowering, shape, *inputs)
        assert "on interleaved images" in lowering.stages[0].source
        assert items[0] > 0 and len(items) == 2 - declare and not any(items[1:])
        assert_near(run(name, dtype, params, shape, *inputs), want, size)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("case", CASES)
def test_runs_of_images(case: tuple, dtype: str, always: None) -> None:
    check(case, dtype, declare=True)


@pytest.mark.parametrize("case", CASES[:3])
def test_both_ways_are_there_when_shapes_are_open(case: tuple, always: None) -> None:
    check(case, "float32", declare=False)


@pytest.mark.parametrize("case", CASES[2:6])
def test_bands_of_rows(case: tuple, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleaved, "ROOM", 50_000)
    monkeypatch.setattr(interleaved, "STRIP", 7)
    check(case, "float32", declare=True)


@pytest.mark.parametrize("width", (16, 32))
def test_narrower_vectors(width: int, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if width > tiles.vector_bytes():
        pytest.skip("wider than this processor's vectors")
    monkeypatch.setattr(tiles, "vector_bytes", lambda: width)
    for case in CASES[1:4]:
        for dtype in ("float32", "float64"):
            check(case, dtype, declare=True)


def test_chunks_do_not_change_a_bit(always: None) -> None:
    params, _, x, w, dy = drawn(np.random.default_rng(7), CASES[2][:7], CASES[2][7], "float32")
    for name in OPERATIONS:
        shape, *inputs = operands(name, x, w, dy)
        assert_chunks_agree(name, "float32", params, shape, *inputs)


def test_nan_stays_where_it_is(always: None) -> None:
    """Other images, and what lies beside the last one of a run, are as if it were not there."""
    params, _, x, w, dy = drawn(np.random.default_rng(7), CASES[1][:7], CASES[1][7], "float32")
    for name in OPERATIONS:
        shape, *inputs = operands(name, x, w, dy)
        clean = run(name, "float32", params, shape, *inputs)
        spoilt = [a.copy() for a in inputs]
        spoilt[-1 if name == "conv2d_grad_inputs" else 0][30] = np.nan
        got = run(name, "float32", params, shape, *spoilt)
        if name == "conv2d_grad_weights":
            assert np.isnan(got).all()
        else:
            np.testing.assert_array_equal(got[:30], clean[:30])
            assert np.isnan(got[30]).all()


def test_a_batch_that_hardly_fills_runs_is_not_interleaved() -> None:
    lanes = tiles.host_tile("float32").lanes
    for n, chosen in ((lanes // 2, 0), (lanes, 1), (lanes + 1, 0), (9 * lanes - 1, 1), (0, 0)):
        x, w, dy = np.zeros((n, 20, 12, 12)), np.zeros((50, 20, 5, 5)), np.zeros((n, 50, 8, 8))
        items = extents(lower("conv2d", "float32", {}), dy.shape, x, w)
        assert [count > 0 for count in items] == [bool(chosen), not chosen and n > 0]


def test_the_batch_size_is_not_printed() -> None:
    """Networks that differ in the number of images share their kernels."""
    for name in OPERATIONS:
        declared = {"kh": 5, "kw": 5, "filters": (50, 20, 5, 5)}
        texts = {
            lower(name, "float32", declared | {"images": (n, 20, 12, 12)}).stages[0].source
            for n in (496, 512)
        }
        assert len(texts) == 1


# ---- the slices of the leading axis that items touch


def touched(name: str, params: dict, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> Iterator:
    shape, *inputs = operands(name, x, w, dy)
    lowering = lower(name, "float32", params)
    shapes = {"out0": shape} | {f"in{k}": a.shape for k, a in enumerate(inputs)}
    for key, (_, size) in lowering.temporaries.items():
        shapes[key] = size(shapes)
    for stage in lowering.stages:
        if stage.slices is not None and stage.extent(shapes):
            yield stage.extent(shapes), stage.slices(shapes)


@pytest.mark.parametrize("images", (1, 5, 20, 32, 100, 500))
def test_slices_cover_the_images(images: int) -> None:
    for c, o, h, k in ((20, 50, 12, 5), (1, 20, 28, 5), (3, 8, 40, 3)):
        x, w = np.zeros((images, c, h, h), "float32"), np.zeros((o, c, k, k), "float32")
        dy = np.zeros((images, o, h - k + 1, h - k + 1), "float32")
        for name in OPERATIONS:
            for extent, (entries, items, length) in touched(name, {}, x, w, dy):
                assert length == images and entries > 0
                assert extent == -(-length // entries) * items


# ---- rules


@given(st.integers(0, 100), st.integers(1, 6))
def test_even_rows_cover_every_row(m: int, rows: int) -> None:
    first, seen = 0, []
    while first < m:
        seen.append(even_rows(m, first, rows))
        first += seen[-1]
    assert first == m and all(1 <= high <= rows for high in seen)
    assert not seen or max(seen) - min(seen) <= 1


@given(
    st.integers(1, 60), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9),
    st.integers(1, 500), st.integers(1, 20_000), st.integers(1, 20),
)  # fmt: skip
def test_bands_fit(
    rows: int, up: int, down: int, reach: int, line: int, room: int, runs: int
) -> None:
    band = band_rows(rows, up, down, reach, line, room, runs)
    assert 0 <= band <= rows
    for r in range(1, band + 1):
        assert (((r - 1) * up + reach - 1) // down + 1) * line <= room
    if not band:
        assert ((reach - 1) // down + 1) * line > room


@given(st.integers(1, 600), st.integers(1, 9), st.integers(1, PARTS))
def test_parts_have_equal_shares(images: int, units: int, most: int) -> None:
    share = unit_share(images, units, most)
    parts = -(-images * units // share)
    assert parts <= most
    again = unit_share(images, units, parts)
    assert (parts - 1) * again < images * units <= parts * again
    assert images < 16 or again % units == 0


@given(st.integers(1, 300), st.integers(1, 40))
def test_shared_channels(channels: int, shares: int) -> None:
    step = shared_channels(channels, shares)
    assert 1 <= step <= channels
    assert (
        shares >= 8 or step == 1 or shares * -(-channels // step) >= min(8, shares * channels) // 2
    )


@settings(max_examples=100)
@given(
    st.integers(1, 30), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3),
    st.sampled_from(("valid", "full", "half", ((1, 2), (0, 3)))),
)  # fmt: skip
def test_declared_shapes_give_the_output(
    size: int, k: int, step: int, gap: int, pad: object
) -> None:
    params = {"subsample": (step, step), "filter_dilation": (gap, gap), "pad": pad}
    reach = (k - 1) * gap
    both = {"valid": (0, 0), "full": (reach, reach), "half": ((reach + 1) // 2,) * 2}
    pads = [both[pad]] * 2 if isinstance(pad, str) else pad
    want = tuple(out_size(size, k, step, gap, p) for p in pads)  # type: ignore[attr-defined]
    assume(min(want) > 0)
    got = Geometry.read(params).output((3, 2, size, size), (4, 2, k, k))
    assert got == (3, 4, *want)
