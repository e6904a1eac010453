"""Matrix products out of register tiles: what the kernels of gemm and convolutions call.

Each factory takes literals (dtype, lanes, ...) and returns a function for kernels; addresses are in
bytes, strides and counts in elements. The tile product follows K. Goto, R. van de Geijn, "Anatomy
of high-performance matrix multiplication", ACM TOMS 34 (2008): a tile of C stays in registers while
k runs.
"""

import functools
from typing import Any

import llvmlite.ir as ir
from numba.extending import register_jitable

from symgraph.compile.library import blocking
from symgraph.compile.library.blocks import copy_block, transpose
from symgraph.compile.library.emit import (
    I64,
    Emitter,
    Value,
    itemsize,
    own_function,
    vector_function,
)

inline = register_jitable
channel_block = inline(blocking.channel_block)
row_block = inline(blocking.row_block)
inside = inline(blocking.inside)
tile_rows = inline(blocking.tile_rows)
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
    steps = [builder.mul(a_row, I64(i)) for i in range(rows)]

    def body(k: Value, *sums: Value) -> list[Value]:
        a_k = emit.offset(a, builder.mul(k, a_column))
        b_k = emit.offset(b, builder.mul(k, ldb))
        line = [emit.load(emit.offset(b_k, I64(j * lanes)), masks[j]) for j in range(vectors)]
        results = []
        for i in range(rows):
            scalar = emit.scalar(emit.offset(a_k, steps[i]))
            for j in range(vectors):
                total = sums[i * vectors + j]
                name = f"llvm.fma.{emit.suffix}"
                results.append(emit.call(name, emit.vector, scalar, line[j], total))
        return results

    for index, value in enumerate(emit.loop(depth, start, body)):
        i, j = divmod(index, vectors)
        emit.store(value, places[i][j], masks[j])


def _tile_function(dtype: str, lanes: int, rows: int, vectors: int) -> Any:
    """Intrinsic (count, a, a_row, a_column, b, ldb, c, ldc, depth, columns, accumulate).

    `count`, even and at most `rows`, or 1, chooses the body: fewer bodies compile in less time.
    Where masks cost (no AVX-512) full tiles have bodies of their own.
    """
    cheap_masks = lanes * itemsize(dtype) == 64

    def variant(outer: ir.IRBuilder, masked: bool) -> ir.Function:
        def body(builder: ir.IRBuilder, count: Value, *arguments: Value) -> None:
            done = builder.append_basic_block("end")
            switch = builder.switch(count, done)
            for height in (1, *range(2, rows + 1, 2)):
                block = builder.append_basic_block(f"rows{height}")
                switch.add_case(I64(height), block)
                builder.position_at_end(block)
                _emit_tile(Emitter(builder, dtype, lanes), height, vectors, masked, arguments)
                builder.branch(done)
            builder.position_at_end(done)

        name = f"tile_{dtype}_{rows}x{vectors}x{lanes}_{'masked' if masked else 'full'}"
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
    wide = _tile_function(dtype, lanes, rows, vectors)
    narrow = _tile_function(dtype, lanes, rows, 1)

    @register_jitable
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
def row_product(dtype: str, lanes: int, vectors: int = 8) -> Any:
    """`multiply_row(a, a_column, b, ldb, c, n, depth, accumulate)`: one row of C, as block_product.

    Its tiles are wide, since a row of two vectors would wait for each sum before the next.
    """
    size = itemsize(dtype)
    width = lanes * vectors
    tile = _tile_function(dtype, lanes, 1, vectors)

    @register_jitable
    def multiply_row(a, a_column, b, ldb, c, n, depth, accumulate):  # type: ignore[no-untyped-def]
        for j in range(0, n, width):
            at = j * size
            tile(1, a, 0, a_column, b + at, ldb, c + at, 0, depth, min(width, n - j), accumulate)

    return multiply_row


@functools.cache
def pack_tiles(dtype: str, lanes: int, rows: int) -> Any:
    """`pack(target, a, a_row, a_column, m, depth)`: A, tile by tile, each column after column."""
    size = itemsize(dtype)
    copy, transposed = copy_block(dtype, lanes), transpose(dtype, lanes)

    @register_jitable
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
def dot_rows(dtype: str, lanes: int) -> Any:
    """`dots(c, a, a_row, b, count, depth, accumulate)`: c[r] (+)= a[r * a_row :] . b.

    Rows of A and b are contiguous along k. Rows go four at a time and then one at a time; a row's
    sum has the same order of additions in every call that starts at a multiple of four.
    """
    size = itemsize(dtype)

    def rows_of(height: int, unroll: int) -> Any:
        def body(builder: ir.IRBuilder, *args: Value) -> None:
            c, a, a_row, b, depth, accumulate = args
            emit = Emitter(builder, dtype, lanes)
            fma = f"llvm.fma.{emit.suffix}"
            lines = [emit.offset(a, builder.mul(a_row, I64(r))) for r in range(height)]

            def step(at: Value, mask: Value, sums: list[Value]) -> list[Value]:
                factor = emit.load(emit.offset(b, at), mask)
                rows = [emit.load(emit.offset(line, at), mask) for line in lines]
                return [
                    emit.call(fma, emit.vector, row, factor, total)
                    for row, total in zip(rows, sums, strict=True)
                ]

            def many(k: Value, *sums: Value) -> list[Value]:
                results: list[Value] = []
                for u in range(unroll):
                    at = builder.add(builder.mul(k, I64(unroll * lanes)), I64(u * lanes))
                    results += step(at, None, list(sums[u * height : (u + 1) * height]))
                return results

            shift = (unroll * lanes).bit_length() - 1
            blocks = builder.ashr(depth, I64(shift))
            sums = emit.loop(blocks, [emit.zero] * (height * unroll), many)
            while len(sums) > height:
                half = len(sums) // 2
                sums = [builder.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)]
            done = builder.shl(blocks, I64(shift))
            rest = builder.sub(depth, done)
            vectors = builder.ashr(builder.add(rest, I64(lanes - 1)), I64(lanes.bit_length() - 1))

            def tail(k: Value, *sums: Value) -> list[Value]:
                at = builder.mul(k, I64(lanes))
                mask = emit.mask(builder.sub(rest, at))
                return step(builder.add(done, at), mask, list(sums))

            for r, total in enumerate(emit.loop(vectors, sums, tail)):
                value = emit.total(total)
                place = builder.inttoptr(emit.offset(c, I64(r)), emit.element.as_pointer())
                old = builder.load(place, align=emit.itemsize)
                more = builder.icmp_signed("!=", accumulate, I64(0))
                value = builder.select(more, builder.fadd(old, value), value)
                builder.store(value, place, align=emit.itemsize)

        def emit_call(emitter: Emitter, *args: Value) -> None:
            name = f"dot_{dtype}_{height}x{unroll}x{lanes}"
            emitter.builder.call(own_function(emitter.builder, name, 6, body), args)

        return vector_function("dot", dtype, lanes, 6, emit_call)

    four, one = rows_of(4, 2), rows_of(1, 8)

    @register_jitable
    def dots(c, a, a_row, b, count, depth, accumulate):  # type: ignore[no-untyped-def]
        fours = count // 4 * 4
        for r in range(0, fours, 4):
            four(c + r * size, a + r * a_row * size, a_row, b, depth, accumulate)
        for r in range(fours, count):
            one(c + r * size, a + r * a_row * size, a_row, b, depth, accumulate)

    return dots
