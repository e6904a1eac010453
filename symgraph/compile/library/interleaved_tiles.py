"""Register tiles over interleaved images: a vector holds one element of as many images as it can.

Where the image index is innermost, whatever a convolution reads for one output pixel is a whole
vector: no mask, no patch matrix, and any stride, dilation or border. (The layout is known from
E. Georganas et al., "Anatomy of high-performance deep learning convolutions on SIMD architectures",
2018, with channels where we have images.) Addresses and tables are in bytes, the rest in elements.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir

from symgraph.compile.helpers import helper
from symgraph.compile.library import blocking
from symgraph.compile.library.emit import (
    I64,
    Emitter,
    Value,
    by_height,
    own_function,
    vector_function,
)

band_rows = helper(blocking.band_rows)
even_rows = helper(blocking.even_rows)
shared_channels = helper(blocking.shared_channels)
unit_share = helper(blocking.unit_share)


def _tile_function(
    name: str,
    dtype: str,
    lanes: int,
    heights: Sequence[int],
    arguments: int,
    tile: Callable[[Emitter, int, tuple[Value, ...]], None],
) -> Any:
    """Intrinsic (count, *arguments): `tile(emitter, count, arguments)` for counts in `heights`."""

    def body(builder: ir.IRBuilder, count: Value, *args: Value) -> None:
        emitter = Emitter(builder, dtype, lanes)
        by_height(builder, count, heights, lambda height: tile(emitter, height, args))

    def emit(emitter: Emitter, *args: Value) -> None:
        shapes = "_".join(map(str, heights))
        title = f"{name}_{dtype}_{lanes}_{shapes}"
        emitter.builder.call(own_function(emitter.builder, title, 1 + arguments, body), args)

    return vector_function(name, dtype, lanes, 1 + arguments, emit)


def _entry(emit: Emitter, table: Value, index: Value) -> Value:
    """An int64 of a table."""
    return emit.builder.load(emit.builder.gep(table, [index]))


@functools.cache
def window_tile(dtype: str, lanes: int, heights: tuple[int, ...]) -> Any:
    """The function for kernels

        tile(count, a, a_outer, b, b_outer, b_step, table, taps, outer, c, c_row, c_step)

    C[r, v] = sum over q < outer, t < taps of A_qt[r] * B_qt[v], where the elements A_qt lie at a +
    q * a_outer and table[2 * t], and the two vectors B_qt at b + q * b_outer and table[2 * t + 1],
    `b_step` apart: two pixels of as many images as a vector has lanes, or one pixel of twice as
    many. Rows of C are `c_row` apart, its vectors `c_step`. `count` is one of `heights`.
    """

    def tile(emit: Emitter, height: int, args: tuple[Value, ...]) -> None:
        a, a_outer, b, b_outer, b_step, table, taps, outer, c, c_row, c_step = args
        builder = emit.builder
        fma = f"llvm.fma.{emit.suffix}"
        table = builder.inttoptr(table, I64.as_pointer())
        rows = [emit.offset(c, builder.mul(c_row, I64(i))) for i in range(height)]
        places = [place for row in rows for place in (row, emit.offset(row, c_step))]

        def channel(q: Value, a_q: Value, b_q: Value, *sums: Value) -> list[Value]:
            def tap(t: Value, *sums: Value) -> list[Value]:
                at = builder.shl(t, I64(1))
                a_t = builder.add(a_q, _entry(emit, table, at))
                b_t = builder.add(b_q, _entry(emit, table, builder.add(at, I64(1))))
                line = [emit.load(b_t), emit.load(emit.offset(b_t, b_step))]
                results = []
                for i in range(height):
                    scalar = emit.scalar(emit.offset(a_t, I64(i)))
                    for v in range(2):
                        total = sums[2 * i + v]
                        results.append(emit.call(fma, emit.vector, scalar, line[v], total))
                return results

            sums = tuple(emit.loop(taps, list(sums), tap))
            return [emit.offset(a_q, a_outer), emit.offset(b_q, b_outer), *sums]

        sums = emit.loop(outer, [a, b, *[emit.zero] * (2 * height)], channel)[2:]
        for total, place in zip(sums, places, strict=True):
            emit.store(total, place)

    return _tile_function("window", dtype, lanes, heights, 11, tile)


@functools.cache
def sum_tile(dtype: str, lanes: int, width: int, heights: tuple[int, ...]) -> Any:
    """The function for kernels

        sums(count, g, g_row, x, places, pixels, steps, out, out_row, columns, accumulate)

    out[r, t] (+)= sum over p < steps and lanes of g[r * g_row + p * lanes] * x[places[t] +
    pixels[p]] for r < count and t < columns, at most `width`; `places` always has `width` entries.
    The sum runs over the images of a vector, so lanes are added up at the end.
    """

    def tile(emit: Emitter, height: int, args: tuple[Value, ...]) -> None:
        g, g_row, x, places, pixels, steps, out, out_row, columns, accumulate = args
        builder = emit.builder
        fma = f"llvm.fma.{emit.suffix}"
        places = builder.inttoptr(places, I64.as_pointer())
        pixels = builder.inttoptr(pixels, I64.as_pointer())
        windows = [builder.add(x, _entry(emit, places, I64(t))) for t in range(width)]
        lines = [builder.mul(g_row, I64(r)) for r in range(height)]

        def pixel(p: Value, g_p: Value, *sums: Value) -> list[Value]:
            place = _entry(emit, pixels, p)
            seen = [emit.load(builder.add(window, place)) for window in windows]
            results = []
            for r in range(height):
                factor = emit.load(emit.offset(g_p, lines[r]))
                for t in range(width):
                    total = sums[r * width + t]
                    results.append(emit.call(fma, emit.vector, factor, seen[t], total))
            return [emit.offset(g_p, I64(lanes)), *results]

        sums = emit.loop(steps, [g, *[emit.zero] * (height * width)], pixel)[1:]
        mask = emit.mask(columns)
        more = builder.icmp_signed("!=", accumulate, I64(0))
        for r in range(height):
            place = emit.offset(out, builder.mul(out_row, I64(r)))
            total = _totals(emit, sums[r * width : (r + 1) * width])
            before = emit.load(place, mask)
            # Not before + 0: what lay there may be NaN.
            total = builder.select(more, builder.fadd(before, total), total)
            emit.store(total, place, mask)

    return _tile_function("sums", dtype, lanes, heights, 10, tile)


def _totals(emit: Emitter, vectors: Sequence[Value]) -> Value:
    """A vector whose lane i is the sum of the lanes of `vectors[i]`, of at most as many as lanes.

    Pairs of vectors are halved into one, again and again: one shuffle and a half for each vector.
    """
    lanes = emit.lanes
    group = 1
    while group < lanes:
        pairs = [(*vectors[i : i + 2], emit.zero)[:2] for i in range(0, len(vectors), 2)]
        low = [i // group % 2 * lanes + i // (2 * group) * 2 * group + i % group
               for i in range(lanes)]  # fmt: skip
        high = [i + group for i in low]
        vectors = [
            emit.builder.fadd(emit.shuffle(a, b, low), emit.shuffle(a, b, high)) for a, b in pairs
        ]
        group *= 2
    return vectors[0]
