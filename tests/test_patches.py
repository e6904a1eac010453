"""Unfold and fold against NumPy for any sizes: pieces far shorter and far longer than a vector."""

import ctypes
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symgraph.compile import cache
from symgraph.compile.library.tiles import Tile, host_tile

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3)
SOURCE = """\
from symgraph.compile.library.patches import fold_rows, unfold_block

unfold = unfold_block("{dtype}", {lanes}, {vectors})
fold = fold_rows("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
    target = address(pointer(arrays, 0, {dtype}))
    source = address(pointer(arrays, 1, {dtype}))
    {call}
"""
UNFOLD = ("target", "s0", "source", *(f"s{i}" for i in range(1, 13)))
FOLD = ("target", *(f"s{i}" for i in range(3)), "source + s11 * {size}",
        *(f"s{i}" for i in range(3, 11)))  # fmt: skip
FEW, SOME = st.integers(1, 3), st.integers(1, 70)


def call(words: Sequence[str], tile: Tile, arrays: Sequence[np.ndarray], *sizes: int) -> None:
    """Calls the function with arguments `words`; s0, s1, ... are `sizes`."""
    text = f"{'unfold' if words is UNFOLD else 'fold'}({', '.join(words)})"
    for k in reversed(range(13)):
        text = text.replace(f"s{k}", f"sizes[{k}]")
    source = SOURCE.format(
        dtype=tile.dtype, lanes=tile.lanes, vectors=tile.vectors,
        call=text.format(size=tile.itemsize),
    )  # fmt: skip
    pointers = np.array([a.ctypes.data for a in arrays], "int64")
    numbers = np.array(sizes, "int64")
    KERNEL(cache.build(source).address)(pointers.ctypes.data, numbers.ctypes.data, 0, 1, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(count=st.integers(0, 90), length=SOME, gap=st.integers(0, 5), loops=st.tuples(FEW, FEW, FEW))
def test_unfolded_rows(
    dtype: str, count: int, length: int, gap: int, loops: tuple[int, int, int]
) -> None:
    tile = host_tile(dtype)
    width, apart = tile.columns, length + gap
    reach = (count // length + 1) * apart
    steps = (7 * reach, 2 * reach, 1)
    x = np.arange(7 * reach * loops[0] + 2 * reach * loops[1] + loops[2] + reach, dtype=dtype)
    strips, rows = -(-count // width), int(np.prod(loops))
    got = np.full((strips, rows, width), -1, dtype)
    want = got.copy()
    outer = (loops[1] * loops[2] * width, loops[2] * width, width)
    for row, at in enumerate(np.ndindex(loops)):
        for e in range(count):
            place = np.dot(at, steps) + e // length * apart + e % length
            want[e // width, row, e % width] = x[place]
    nested = [n for triple in zip(loops, outer, steps, strict=True) for n in triple]
    call(UNFOLD, tile, (got, x), rows * width, count, length, apart, *nested)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    planes=st.integers(0, 9), count=SOME, lines=FEW, taps=FEW, reach=SOME,
    shift=st.integers(-3, 6), step=FEW,
)  # fmt: skip
def test_folded_rows(
    dtype: str, planes: int, count: int, lines: int, taps: int, reach: int, shift: int, step: int
) -> None:
    tile = host_tile(dtype)
    rng = np.random.default_rng(count)
    # Beyond what is to be read lies NaN.
    source = np.full((planes, lines, taps, reach + 2), np.nan, dtype)
    source[..., 1:-1] = rng.integers(-9, 9, (planes, lines, taps, reach))
    got = rng.integers(-9, 9, (planes, count + 1)).astype(dtype)
    want = got.copy()
    for c, i, j, x in np.ndindex(planes, lines, taps, count):
        t = x + shift - j * step
        if 0 <= t < reach:
            want[c, x] += source[c, i, j, 1 + t]
    row = reach + 2
    call(
        FOLD, tile, (got, source), count + 1, planes, count, lines * taps * row, lines, taps * row,
        taps, row, reach, shift, step, 1,
    )  # fmt: skip
    np.testing.assert_array_equal(got, want)
