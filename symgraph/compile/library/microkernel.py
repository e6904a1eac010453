"""Matrix products out of register tiles: what the kernels of gemm and convolutions call.

Each factory takes literals (dtype, lanes, ...) and returns a function for kernels; addresses are in
bytes, strides and counts in elements.

**The tile** (K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM
TOMS 34, 2008). `rows` by `vectors` vectors of C stay in registers while k runs. One turn loads a
row of B, `vectors` vectors, and for every row of A one number into all lanes, and does rows *
vectors fused multiply-adds:

    C[r, j] += A[r, k] * B[k, j]        12 x 2 vectors of 16 lanes on AVX-512: 24 sums in registers,
                                        14 loads and 24 multiply-adds a turn, two of each a cycle

Enough sums that none waits for its last addition (4 cycles, two a cycle: 8 or more), few enough
for the registers. What else a turn does must fit beside that. The rows of A lie `a_row` apart, and
LLVM would walk them by adding that to one pointer eleven times, a chain as long as the turn
itself; every fourth row therefore has a pointer of its own, whose origin LLVM is not told
(`Emitter.opaque`). That was worth 8 % of the tile's speed.

**Edges.** The last columns are masked, never padded: nothing outside C is read or written. The
last rows get lower tiles: even heights only, since every height is a body to compile, and
`tile_rows` deals the rows out so that none is very low. Each element of C is one chain of
multiply-adds in the order of k, so its bits do not depend on the tile that it falls into.

**Where operands lie.** `block_product` wants the rows of B contiguous; a strip as wide as a tile
whose rows follow each other is fastest, since it stays in the first cache while all of A passes.
A has any strides; `pack_tiles` lays it out in the order in which tiles read it. Who packs what,
and when it pays, is gemm.py's and convolution.py's.

**Few rows** have tiles that are wider (`few_rows`); a B that lies along k has dot products, 4 by 4
at a time (`dot_products`).
"""

import functools
from typing import Any

import llvmlite.ir as ir

from symgraph.compile.helpers import helper
from symgraph.compile.library import blocking
from symgraph.compile.library.blocks import copy_block, transpose
from symgraph.compile.library.emit import (
    I64,
    Emitter,
    Value,
    by_height,
    itemsize,
    own_function,
    vector_function,
)

inline = helper
channel_block = inline(blocking.channel_block)
row_block = inline(blocking.row_block)
pixel_block = inline(blocking.pixel_block)
inside = inline(blocking.inside)
tile_rows = inline(blocking.tile_rows)
even_split = inline(blocking.even_split)
even_shares = inline(blocking.even_shares)
product_work = inline(blocking.product_work)
product_blocks = inline(blocking.product_blocks)
PACKED = -(1 << 62)  # a row stride that no array has

# ---- the tile ------------------------------------------------------------------------------------


def _emit_tile(
    emit: Emitter, rows: int, vectors: int, masked: bool, arguments: tuple[Value, ...]
) -> None:
    """C[rows, columns] (+)= sum over k of A[r, k] * B[k, :], all of C in registers."""
    a, a_row, a_column, b, ldb, c, ldc, depth, columns, accumulate = arguments
    builder, lanes = emit.builder, emit.lanes
    masks: list[Value] = [None] * vectors
    if masked:
        masks = [emit.mask(builder.sub(columns, I64(j * lanes))) for j in range(vectors)]
    places = [
        [
            emit.offset(c, builder.add(builder.mul(ldc, I64(i)), I64(j * lanes)))
            for j in range(vectors)
        ]
        for i in range(rows)
    ]
    begin = builder.block
    with builder.if_then(builder.icmp_signed("!=", accumulate, I64(0))):
        loaded = [emit.load(places[i][j], masks[j]) for i in range(rows) for j in range(vectors)]
        loading = builder.block
    start = []
    for value in loaded:
        phi = builder.phi(emit.vector)
        phi.add_incoming(emit.zero, begin)
        phi.add_incoming(value, loading)
        start.append(phi)
    groups = [emit.opaque(emit.offset(a, builder.mul(a_row, I64(i)))) for i in range(0, rows, 4)]
    steps = [builder.mul(a_row, I64(i)) for i in range(4)]
    steps[3:] = [emit.opaque(steps[3])]

    def body(k: Value, b_k: Value, *carried: Value) -> list[Value]:
        bases, sums = carried[: len(groups)], carried[len(groups) :]
        line = [emit.load(emit.offset(b_k, I64(j * lanes)), masks[j]) for j in range(vectors)]
        results = []
        for i in range(rows):
            scalar = emit.scalar(emit.offset(bases[i // 4], steps[i % 4]))
            for j in range(vectors):
                total = sums[i * vectors + j]
                name = f"llvm.fma.{emit.suffix}"
                results.append(emit.call(name, emit.vector, scalar, line[j], total))
        following = [emit.offset(base, a_column) for base in bases]
        return [emit.offset(b_k, ldb), *following, *results]

    sums = emit.loop(depth, [b, *groups, *start], body)[1 + len(groups) :]
    for index, value in enumerate(sums):
        i, j = divmod(index, vectors)
        emit.store(value, places[i][j], masks[j])


def _tile_function(dtype: str, lanes: int, vectors: int, heights: tuple[int, ...]) -> Any:
    """Intrinsic (count, a, a_row, a_column, b, ldb, c, ldc, depth, columns, accumulate).

    `count` is one of `heights`. Where masks cost (no AVX-512) full tiles have bodies of their own.
    """
    cheap_masks = lanes * itemsize(dtype) == 64

    def variant(outer: ir.IRBuilder, masked: bool) -> ir.Function:
        def body(builder: ir.IRBuilder, count: Value, *arguments: Value) -> None:
            emitter = Emitter(builder, dtype, lanes)
            by_height(
                builder, count, heights,
                lambda height: _emit_tile(emitter, height, vectors, masked, arguments),
            )  # fmt: skip

        name = f"tile_{dtype}_{heights[-1]}x{vectors}x{lanes}_{'masked' if masked else 'full'}"
        return own_function(outer, name, 11, body)

    def emit(emitter: Emitter, *args: Value) -> None:
        builder = emitter.builder
        if cheap_masks:
            builder.call(variant(builder, True), args)
            return
        full = builder.icmp_signed("==", args[9], I64(vectors * lanes))
        with builder.if_else(full) as (then, otherwise):
            with then:
                builder.call(variant(builder, False), args)
            with otherwise:
                builder.call(variant(builder, True), args)

    return vector_function("tile", dtype, lanes, 11, emit)


@functools.cache
def block_product(dtype: str, lanes: int, rows: int, vectors: int) -> Any:
    """The function for kernels

        multiply(a, a_row, a_column, b, ldb, panel, c, ldc, m, n, depth, accumulate)

    C[m, n] = A[m, depth] @ B[depth, n], added to C when `accumulate` is not 0. A has any strides,
    or lies as `pack_tiles` left it, said by an `a_row` of PACKED;
    rows of B are contiguous and `ldb` apart, and each group of `lanes * vectors` columns starts
    `panel` elements after the one before (`lanes * vectors` for a plain matrix). Each element of C
    is one chain of fused multiply-adds in the order of k, whatever the tile it falls into.
    """
    width = lanes * vectors
    size = itemsize(dtype)
    heights = (1, *range(2, rows + 1, 2))
    wide = _tile_function(dtype, lanes, vectors, heights)
    narrow = _tile_function(dtype, lanes, 1, heights)

    @helper
    def multiply(a, a_row, a_column, b, ldb, panel, c, ldc, m, n, depth, accumulate):  # type: ignore[no-untyped-def]
        for strip in range((n + width - 1) // width):
            columns = min(width, n - strip * width)
            b_strip = b + strip * panel * size
            c_strip = c + strip * width * size
            first = 0
            while first < m:
                count = tile_rows(m, first, rows)
                a_tile = a + first * a_row * size
                row, column = a_row, a_column
                if a_row == PACKED:
                    a_tile = a + first * depth * size
                    row, column = 1, count
                c_tile = c_strip + first * ldc * size
                if columns > lanes:
                    wide(
                        count, a_tile, row, column, b_strip, ldb, c_tile, ldc, depth, columns,
                        accumulate,
                    )  # fmt: skip
                else:
                    narrow(
                        count, a_tile, row, column, b_strip, ldb, c_tile, ldc, depth, columns,
                        accumulate,
                    )  # fmt: skip
                first += count

    return multiply


@functools.cache
def few_rows(dtype: str, lanes: int, vectors: int) -> Any:
    """`multiply_few(a, a_row, a_column, b, ldb, c, ldc, m, n, depth, accumulate)`.

    As block_product, for C of few rows and B as it lies: tiles of up to 4 rows are `vectors` wide,
    so that sums do not wait for each other and B is read in long runs.
    """
    size = itemsize(dtype)
    width = lanes * vectors
    tile = _tile_function(dtype, lanes, vectors, (1, 2, 3, 4))

    @helper
    def multiply_few(a, a_row, a_column, b, ldb, c, ldc, m, n, depth, accumulate):  # type: ignore[no-untyped-def]
        for j in range(0, n, width):
            for first in range(0, m, 4):
                count = min(4, m - first)
                tile(
                    count, a + first * a_row * size, a_row, a_column, b + j * size, ldb,
                    c + (first * ldc + j) * size, ldc, depth, min(width, n - j), accumulate,
                )  # fmt: skip

    return multiply_few


@functools.cache
def pack_tiles(dtype: str, lanes: int, rows: int) -> Any:
    """`pack(target, a, a_row, a_column, m, depth)`: A, tile by tile, each column after column."""
    size = itemsize(dtype)
    copy, transposed = copy_block(dtype, lanes), transpose(dtype, lanes)

    @helper
    def pack(target, a, a_row, a_column, m, depth):  # type: ignore[no-untyped-def]
        first = 0
        while first < m:
            count = tile_rows(m, first, rows)
            tile, source = target + first * depth * size, a + first * a_row * size
            if a_row == 1:
                copy(tile, count, source, a_column, depth, count)
            elif a_column == 1:
                transposed(tile, count, source, a_row, count, depth)
            else:
                for r in range(count):
                    copy(tile + r * size, count, source + r * a_row * size, a_column, depth, 1)
            first += count

    return pack


# ---- dot products --------------------------------------------------------------------------------


@functools.cache
def dot_products(dtype: str, lanes: int) -> Any:
    """`dots(c, ldc, a, a_row, b, b_row, m, n, depth, accumulate)`: C[i, j] (+)= a[i] . b[j].

    Rows of A and of B are contiguous along k, which the lanes run along. Four rows of B meet up to
    four of A at a time, rows of B that are left one of A; a block of C that starts at a multiple of
    four has the same sums in every call.
    """
    size = itemsize(dtype)

    def tile(height: int, width: int, unroll: int) -> Any:
        """Intrinsic (c, ldc, a, a_row, b, b_row, depth, accumulate) for height by width dots."""
        pairs = [(i, j) for i in range(height) for j in range(width)]

        def body(builder: ir.IRBuilder, *args: Value) -> None:
            c, ldc, a, a_row, b, b_row, depth, accumulate = args
            emit = Emitter(builder, dtype, lanes)
            fma = f"llvm.fma.{emit.suffix}"
            lines = [emit.offset(a, builder.mul(a_row, I64(i))) for i in range(height)]
            others = [emit.offset(b, builder.mul(b_row, I64(j))) for j in range(width)]

            def step(at: Value, mask: Value, sums: list[Value]) -> list[Value]:
                left = [emit.load(emit.offset(line, at), mask) for line in lines]
                right = [emit.load(emit.offset(line, at), mask) for line in others]
                return [
                    emit.call(fma, emit.vector, left[i], right[j], total)
                    for (i, j), total in zip(pairs, sums, strict=True)
                ]

            def many(k: Value, *sums: Value) -> list[Value]:
                results: list[Value] = []
                for u in range(unroll):
                    at = builder.add(builder.mul(k, I64(unroll * lanes)), I64(u * lanes))
                    results += step(at, None, list(sums[u * len(pairs) : (u + 1) * len(pairs)]))
                return results

            shift = (unroll * lanes).bit_length() - 1
            blocks = builder.ashr(depth, I64(shift))
            sums = emit.loop(blocks, [emit.zero] * (len(pairs) * unroll), many)
            while len(sums) > len(pairs):
                half = len(sums) // 2
                sums = [builder.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)]
            done = builder.shl(blocks, I64(shift))
            rest = builder.sub(depth, done)
            vectors = builder.ashr(builder.add(rest, I64(lanes - 1)), I64(lanes.bit_length() - 1))

            def tail(k: Value, *sums: Value) -> list[Value]:
                at = builder.mul(k, I64(lanes))
                mask = emit.mask(builder.sub(rest, at))
                return step(builder.add(done, at), mask, list(sums))

            more = builder.icmp_signed("!=", accumulate, I64(0))
            for (i, j), total in zip(pairs, emit.loop(vectors, sums, tail), strict=True):
                value = emit.total(total)
                place = emit.offset(c, builder.add(builder.mul(ldc, I64(i)), I64(j)))
                place = builder.inttoptr(place, emit.element.as_pointer())
                with builder.if_else(more) as (then, otherwise):
                    with then:
                        old = builder.load(place, align=emit.itemsize)
                        builder.store(builder.fadd(old, value), place, align=emit.itemsize)
                    with otherwise:
                        builder.store(value, place, align=emit.itemsize)

        def emit_call(emitter: Emitter, *args: Value) -> None:
            name = f"dot_{dtype}_{height}x{width}x{unroll}x{lanes}"
            emitter.builder.call(own_function(emitter.builder, name, 8, body), args)

        return vector_function("dot", dtype, lanes, 8, emit_call)

    four, two, one, single = tile(4, 4, 1), tile(2, 4, 1), tile(1, 4, 2), tile(1, 1, 8)

    @helper
    def dots(c, ldc, a, a_row, b, b_row, m, n, depth, accumulate):  # type: ignore[no-untyped-def]
        fours = n // 4 * 4
        for j in range(0, fours, 4):
            line, i = b + j * b_row * size, 0
            while m - i >= 4:
                at, place = a + i * a_row * size, c + (i * ldc + j) * size
                four(place, ldc, at, a_row, line, b_row, depth, accumulate)
                i += 4
            if m - i >= 2:
                at, place = a + i * a_row * size, c + (i * ldc + j) * size
                two(place, ldc, at, a_row, line, b_row, depth, accumulate)
                i += 2
            if m > i:
                at, place = a + i * a_row * size, c + (i * ldc + j) * size
                one(place, ldc, at, a_row, line, b_row, depth, accumulate)
        for j in range(fours, n):
            for i in range(m):
                at, place = a + i * a_row * size, c + (i * ldc + j) * size
                single(place, ldc, at, a_row, b + j * b_row * size, b_row, depth, accumulate)

    return dots
