"""The vector vocabulary of library kernels: LLVM vectors made callable from Numba.

Addresses are int64, in bytes; strides and counts are in elements. Every access is aligned to its
element only, and nothing outside the counted elements is read or written: what is left over of a
vector is masked. Each factory takes literals (dtype, lanes, ...) and returns a function for kernels.

The tile product follows K. Goto, R. van de Geijn, "Anatomy of high-performance matrix
multiplication", ACM TOMS 34 (2008): a tile of C stays in registers while k runs.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from symgraph.compile.library import blocking

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
Value = Any  # an LLVM value; llvmlite has no types

inline = register_jitable
channel_block = inline(blocking.channel_block)
row_block = inline(blocking.row_block)
inside = inline(blocking.inside)
tile_rows = inline(blocking.tile_rows)
PACKED = -(1 << 62)  # a row stride that no array has


ELEMENTS = {
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    **{f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def _size(dtype: str) -> int:
    """Bytes of an element."""
    return int(dtype.lstrip("uintfloa")) // 8


class Emitter:
    """Emits vector code for one element type and lane count at a builder's position."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, lanes: int) -> None:
        self.builder, self.lanes, self.dtype = builder, lanes, dtype
        self.element, self.itemsize = ELEMENTS[dtype], _size(dtype)
        self.vector = ir.VectorType(self.element, lanes)
        self.floating = dtype.startswith("float")
        self.suffix = f"v{lanes}{'f' if self.floating else 'i'}{8 * self.itemsize}"
        self.zero = ir.Constant(self.vector, [0.0 if self.floating else 0] * lanes)

    def call(self, name: str, result: ir.Type, *arguments: Value) -> Value:
        """A call of the LLVM intrinsic `name`."""
        kind = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def offset(self, address: Value, elements: Value) -> Value:
        """The address `elements` further on."""
        builder = self.builder
        pointer = builder.inttoptr(address, self.element.as_pointer())
        return builder.ptrtoint(builder.gep(pointer, [elements]), I64)

    def scalar(self, address: Value) -> Value:
        """One element, in all lanes."""
        pointer = self.builder.inttoptr(address, self.element.as_pointer())
        return self.splat(self.builder.load(pointer, align=self.itemsize))

    def splat(self, value: Value) -> Value:
        """A vector with `value` in all lanes."""
        vector = ir.VectorType(value.type, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        one = self.builder.insert_element(undefined, value, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def mask(self, count: Value) -> Value:
        """True in the first `count` lanes; any int64 will do."""
        builder, most = self.builder, I64(self.lanes)
        fewer = builder.icmp_signed("<", count, most)
        count = builder.trunc(builder.select(fewer, count, most), I32)
        return builder.icmp_signed("<", self.numbers(), self.splat(count))

    def mask_between(self, first: Value, size: Value) -> Value:
        """True in lanes l where 0 <= first + l < size, in 32 bits."""
        builder = self.builder
        place = builder.add(self.splat(builder.trunc(first, I32)), self.numbers())
        return builder.icmp_unsigned("<", place, self.splat(builder.trunc(size, I32)))

    def numbers(self) -> Value:
        """0, 1, 2, ... in 32 bits."""
        return ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))

    def load(self, address: Value, mask: Value = None) -> Value:
        """A vector; lanes outside the mask are zero and not read."""
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.itemsize)
        name = f"llvm.masked.load.{self.suffix}.p0"
        return self.call(name, self.vector, pointer, I32(self.itemsize), mask, self.zero)

    def store(self, value: Value, address: Value, mask: Value = None) -> None:
        """Stores the lanes within the mask."""
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=self.itemsize)
            return
        name = f"llvm.masked.store.{self.suffix}.p0"
        self.call(name, ir.VoidType(), value, pointer, I32(self.itemsize), mask)

    def load_strided(self, address: Value, step: int, count: Value) -> Value:
        """Every `step`-th element, the first `count` of them (or all lanes, if fewer)."""
        builder, lanes = self.builder, self.lanes
        if step == 1:
            return self.load(address, self.mask(count))
        if step == 2:
            # Two neighbouring vectors; of the last pair only the first element is sure to exist.
            reach = builder.sub(builder.mul(count, I64(2)), I64(1))
            low = self.load(address, self.mask(reach))
            beyond = self.mask(builder.sub(reach, I64(lanes)))
            high = self.load(self.offset(address, I64(lanes)), beyond)
            return self.shuffle(low, high, range(0, 2 * lanes, 2))
        steps = [i * step * self.itemsize for i in range(lanes)]
        places = builder.add(self.splat(address), ir.Constant(ir.VectorType(I64, lanes), steps))
        places = builder.inttoptr(places, ir.VectorType(self.element.as_pointer(), lanes))
        name = f"llvm.masked.gather.{self.suffix}.v{lanes}p0"
        return self.call(
            name, self.vector, places, I32(self.itemsize), self.mask(count), self.zero
        )

    def add(self, a: Value, b: Value) -> Value:
        """a + b."""
        return self.builder.fadd(a, b) if self.floating else self.builder.add(a, b)

    def maximum(self, a: Value, b: Value) -> Value:
        """The larger, NaN if either is."""
        builder = self.builder
        if self.floating:
            greater = builder.fcmp_ordered(">", a, b)
            greater = builder.or_(greater, builder.fcmp_unordered("uno", a, a))
        elif self.dtype.startswith("u"):
            greater = builder.icmp_unsigned(">", a, b)
        else:
            greater = builder.icmp_signed(">", a, b)
        return builder.select(greater, a, b)

    def total(self, vector: Value) -> Value:
        """The sum of the lanes, by halves."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            low = self.shuffle(vector, vector, range(lanes))
            high = self.shuffle(vector, vector, range(lanes, 2 * lanes))
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, I32(0))

    def shuffle(self, a: Value, b: Value, lanes: Iterable[int]) -> Value:
        """Lanes picked from a (0 .. lanes - 1) and b (lanes .. 2 * lanes - 1)."""
        picks = list(lanes)
        kind = ir.VectorType(I32, len(picks))
        return self.builder.shuffle_vector(a, b, ir.Constant(kind, picks))

    def loop(self, count: Value, carried: list[Value], body: Callable[..., list[Value]]) -> list:
        """`for k in range(count): carried = body(k, *carried)`; the last carried values."""
        builder = self.builder
        before = builder.block
        run, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", count, I64(0)), run, done)
        builder.position_at_end(run)
        k = builder.phi(I64)
        phis = [builder.phi(value.type) for value in carried]
        results = body(k, *phis)
        following, last = builder.add(k, I64(1)), builder.block
        k.add_incoming(I64(0), before)
        k.add_incoming(following, last)
        for phi, value, result in zip(phis, carried, results, strict=True):
            phi.add_incoming(value, before)
            phi.add_incoming(result, last)
        builder.cbranch(builder.icmp_signed("<", following, count), run, done)
        builder.position_at_end(done)
        final = [builder.phi(value.type) for value in carried]
        for phi, value, result in zip(final, carried, results, strict=True):
            phi.add_incoming(value, before)
            phi.add_incoming(result, last)
        return final


def _function(builder: ir.IRBuilder, name: str, arguments: int, body: Callable) -> ir.Function:
    """The module's own function `name` of int64 arguments, emitted once, never inlined.

    Keeping the large bodies out of line is what keeps compile time and code size proportional to
    the number of tile shapes, not to the number of call sites.
    """
    module = builder.module
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    inner = ir.IRBuilder(function.append_basic_block("entry"))
    body(inner, *function.args)
    inner.ret_void()
    return function


def _vector_function(name: str, dtype: str, lanes: int, arguments: int, body: Callable) -> Any:
    """An intrinsic of int64 arguments whose body is emitted where it is called."""

    def typing(typingctx, *values):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            body(Emitter(builder, dtype, lanes), *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * arguments), codegen

    names = ", ".join(f"a{i}" for i in range(arguments))
    scope: dict[str, Any] = {"typing": typing}
    # Numba asks for a fixed number of named arguments.
    exec(f"def {name}(typingctx, {names}): return typing(typingctx, {names})", scope)
    return intrinsic(scope[name])


# ---- the tile ------------------------------------------------------------------------------------


def _emit_tile(emit: Emitter, rows: int, vectors: int, masked: bool, arguments: tuple) -> None:
    """C[rows, columns] (+)= sum over k of A[r, k] * B[k, :], all of C in registers."""
    a, a_row, a_column, b, ldb, c, ldc, depth, columns, accumulate = arguments
    builder, lanes = emit.builder, emit.lanes
    masks: list[Value] = [None] * vectors
    if masked:
        masks = [emit.mask(builder.sub(columns, I64(j * lanes))) for j in range(vectors)]
    places = [
        [emit.offset(c, builder.add(builder.mul(ldc, I64(i)), I64(j * lanes))) for j in range(vectors)]
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
    cheap_masks = lanes * _size(dtype) == 64

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
        return _function(outer, name, 11, body)

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

    return _vector_function("tile", dtype, lanes, 11, emit)


@functools.lru_cache(maxsize=None)
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
    size = _size(dtype)
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


@functools.lru_cache(maxsize=None)
def row_product(dtype: str, lanes: int, vectors: int = 8) -> Any:
    """`multiply_row(a, a_column, b, ldb, c, n, depth, accumulate)`: one row of C, as block_product.

    Its tiles are wide, since a row of two vectors would wait for each sum before the next.
    """
    size = _size(dtype)
    width = lanes * vectors
    tile = _tile_function(dtype, lanes, 1, vectors)

    @register_jitable
    def multiply_row(a, a_column, b, ldb, c, n, depth, accumulate):  # type: ignore[no-untyped-def]
        for j in range(0, n, width):
            at = j * size
            tile(1, a, 0, a_column, b + at, ldb, c + at, 0, depth, min(width, n - j), accumulate)

    return multiply_row


@functools.lru_cache(maxsize=None)
def pack_tiles(dtype: str, lanes: int, rows: int) -> Any:
    """`pack(target, a, a_row, a_column, m, depth)`: A, tile by tile, each column after column."""
    size = _size(dtype)
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


# ---- blocks of elements --------------------------------------------------------------------------


def _block_function(name: str, dtype: str, lanes: int, body: Callable) -> Any:
    """Intrinsic (target, target_row, source, source_row, rows, count) over `rows` rows of `count`.

    `body(emit, old, new, mask)` gives the vector to store, from addresses in target and source. The
    rows run innermost, so that a mask is made once for a column of vectors.
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        target, target_row, source, source_row, rows, count = args
        emit = Emitter(builder, dtype, lanes)
        shift = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(count, I64(lanes - 1)), shift)

        def column(first: Value, vectors: int) -> None:
            """The rows of one or two vectors from element `first` on."""
            starts = [builder.add(first, I64(v * lanes)) for v in range(vectors)]
            masks = [emit.mask(builder.sub(count, at)) for at in starts]

            def row(r: Value, goal: Value, origin: Value) -> list[Value]:
                values = []
                for v, mask in enumerate(masks):
                    to, by = emit.offset(goal, I64(v * lanes)), emit.offset(origin, I64(v * lanes))
                    values.append((body(emit, to, by, mask), to, mask))
                for value, to, mask in values:
                    emit.store(value, to, mask)
                return [emit.offset(goal, target_row), emit.offset(origin, source_row)]

            emit.loop(rows, [emit.offset(target, first), emit.offset(source, first)], row)

        def pair(v: Value) -> list[Value]:
            column(builder.shl(v, builder.add(shift, I64(1))), 2)
            return []

        # Two vectors of a row at a time meet its cache lines once; a last single one goes alone.
        emit.loop(builder.ashr(vectors, I64(1)), [], pair)
        odd = builder.icmp_signed("!=", builder.and_(vectors, I64(1)), I64(0))
        with builder.if_then(odd):
            column(builder.shl(builder.sub(vectors, I64(1)), shift), 1)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        function = _function(emitter.builder, f"{name}_{dtype}_{lanes}", 6, block)
        emitter.builder.call(function, args)

    return _vector_function(name, dtype, lanes, 6, emit_call)


@functools.lru_cache(maxsize=None)
def copy_block(dtype: str, lanes: int) -> Any:
    """`copy(target, target_row, source, source_row, rows, count)`: rows of contiguous elements."""
    return _block_function("copy", dtype, lanes, lambda emit, old, new, mask: emit.load(new, mask))


@functools.lru_cache(maxsize=None)
def add_block(dtype: str, lanes: int) -> Any:
    """`add(target, target_row, source, source_row, rows, count)`: source is added to target."""

    def body(emit: Emitter, old: Value, new: Value, mask: Value) -> Value:
        return emit.add(emit.load(old, mask), emit.load(new, mask))

    return _block_function("add", dtype, lanes, body)


@functools.lru_cache(maxsize=None)
def zero_block(dtype: str, lanes: int) -> Any:
    """`zero(target, target_row, target, target_row, rows, count)`: target becomes 0."""
    return _block_function("zero", dtype, lanes, lambda emit, old, new, mask: emit.zero)


@functools.lru_cache(maxsize=None)
def unfold_rows(dtype: str, lanes: int) -> Any:
    """`unfold(target, target_tap, columns, source, source_row, rows, taps, reach, shift, step)`.

    target[j * target_tap + y * columns + t] = source[y * source_row + x] where x = t + j * step -
    shift lies in 0 .. reach - 1, else 0; for t < columns, y < rows, j < taps: what the taps of one
    filter row see of image rows of `reach` elements.
    """

    def body(builder: ir.IRBuilder, *args: Value) -> None:
        target, target_tap, columns, source, source_row, rows, taps, reach, shift, step = args
        emit = Emitter(builder, dtype, lanes)
        bits = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(columns, I64(lanes - 1)), bits)

        def vector(v: Value) -> list[Value]:
            at = builder.shl(v, bits)
            inside = emit.mask(builder.sub(columns, at))

            def tap(j: Value) -> list[Value]:
                x = builder.sub(builder.add(at, builder.mul(j, step)), shift)
                seen = builder.and_(inside, emit.mask_between(x, reach))

                def row(y: Value, goal: Value, origin: Value) -> list[Value]:
                    emit.store(emit.load(origin, seen), goal, inside)
                    return [emit.offset(goal, columns), emit.offset(origin, source_row)]

                goal = emit.offset(target, builder.add(builder.mul(j, target_tap), at))
                emit.loop(rows, [goal, emit.offset(source, x)], row)
                return []

            emit.loop(taps, [], tap)
            return []

        emit.loop(vectors, [], vector)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        function = _function(emitter.builder, f"unfold_{dtype}_{lanes}", 10, body)
        emitter.builder.call(function, args)

    return _vector_function("unfold", dtype, lanes, 10, emit_call)


@functools.lru_cache(maxsize=None)
def fold_row(dtype: str, lanes: int) -> Any:
    """`fold(row, count, source, lines, line_step, taps, tap_step, reach, shift, step)`.

    row[x] += sum over i < lines, j < taps of source[i * line_step + j * tap_step + t] where t = x +
    shift - j * step lies in 0 .. reach - 1; for x < count: the transpose of unfold, for one row of
    the image. The row is loaded and stored once, whatever the number of taps.
    """

    def body(builder: ir.IRBuilder, *args: Value) -> None:
        row, count, source, lines, line_step, taps, tap_step, reach, shift, step = args
        emit = Emitter(builder, dtype, lanes)
        bits = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(count, I64(lanes - 1)), bits)
        next_tap = builder.sub(tap_step, step)

        def vector(v: Value) -> list[Value]:
            at = builder.shl(v, bits)
            place = emit.offset(row, at)
            inside = emit.mask(builder.sub(count, at))
            first = builder.add(at, shift)

            def line(i: Value, start: Value, total: Value) -> list[Value]:
                def tap(j: Value, origin: Value, total: Value) -> list[Value]:
                    t = builder.sub(first, builder.mul(j, step))
                    value = emit.load(origin, emit.mask_between(t, reach))
                    return [emit.offset(origin, next_tap), emit.add(total, value)]

                total = emit.loop(taps, [start, total], tap)[1]
                return [emit.offset(start, line_step), total]

            start = [emit.offset(source, first), emit.load(place, inside)]
            emit.store(emit.loop(lines, start, line)[1], place, inside)
            return []

        emit.loop(vectors, [], vector)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        function = _function(emitter.builder, f"fold_{dtype}_{lanes}", 10, body)
        emitter.builder.call(function, args)

    return _vector_function("fold", dtype, lanes, 10, emit_call)


@functools.lru_cache(maxsize=None)
def window_block(dtype: str, lanes: int, mode: str, taps: int, step: int) -> Any:
    """`window(target, target_row, source, source_row, tap, rows, count)`: sums or maxima of windows.

    target[r * target_row + t] = mode of source[r * source_row + t * step + i * tap], i < taps;
    mode is "sum" or "max" (NaN wins). `taps` and `step` are literals, the strides are not.
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        target, target_row, source, source_row, tap, rows, count = args
        emit = Emitter(builder, dtype, lanes)
        combine = emit.maximum if mode == "max" else emit.add
        shift = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(count, I64(lanes - 1)), shift)

        def column(v: Value) -> list[Value]:
            at = builder.shl(v, shift)
            rest = builder.sub(count, at)

            def row(r: Value, goal: Value, origin: Value) -> list[Value]:
                value = emit.load_strided(origin, step, rest)
                for i in range(1, taps):
                    place = emit.offset(origin, builder.mul(tap, I64(i)))
                    value = combine(value, emit.load_strided(place, step, rest))
                emit.store(value, goal, emit.mask(rest))
                return [emit.offset(goal, target_row), emit.offset(origin, source_row)]

            first = emit.offset(source, builder.mul(at, I64(step)))
            emit.loop(rows, [emit.offset(target, at), first], row)
            return []

        emit.loop(vectors, [], column)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        name = f"window_{mode}_{taps}_{step}_{dtype}_{lanes}"
        emitter.builder.call(_function(emitter.builder, name, 7, block), args)

    return _vector_function("window", dtype, lanes, 7, emit_call)


@functools.lru_cache(maxsize=None)
def spread_block(
    dtype: str, lanes: int, mode: str, height: int, width: int, divisor: int = 1
) -> Any:
    """`spread(dx, x, x_row, out, dout, out_row, rows, count)`: the gradient of tiling windows.

    Windows of `height` by `width` tile an image with lines `x_row` apart; window row r is at line
    r * height. The first `count` columns of the image get dout / divisor of their window: "sum"
    always, "max" where x equals out, and 0 elsewhere.
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        dx, x, x_row, out, dout, out_row, rows, count = args
        emit = Emitter(builder, dtype, lanes)
        windows = builder.sdiv(builder.add(count, I64(width - 1)), I64(width))
        shift = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(windows, I64(lanes - 1)), shift)

        def column(v: Value) -> list[Value]:
            at = builder.shl(v, shift)
            inside = emit.mask(builder.sub(windows, at))
            first = builder.mul(at, I64(width))
            masks = [
                emit.mask(builder.sub(count, builder.add(first, I64(s * lanes))))
                for s in range(width)
            ]

            def row(r: Value) -> list[Value]:
                place = builder.add(builder.mul(r, out_row), at)
                gradient = emit.load(emit.offset(dout, place), inside)
                if divisor != 1:
                    whole = ir.Constant(emit.vector, [float(divisor)] * lanes)
                    gradient = builder.fdiv(gradient, whole)
                if mode == "max":
                    best = emit.load(emit.offset(out, place), inside)
                line = builder.add(builder.mul(builder.mul(r, x_row), I64(height)), first)
                for s in range(width):
                    picks = [(s * lanes + i) // width for i in range(lanes)]
                    wide = emit.shuffle(gradient, gradient, picks)
                    if mode == "max":
                        most = emit.shuffle(best, best, picks)
                    for i in range(height):
                        shift = builder.add(builder.mul(x_row, I64(i)), I64(s * lanes))
                        shift = builder.add(line, shift)
                        value = wide
                        if mode == "max":
                            here = emit.load(emit.offset(x, shift), masks[s])
                            equal = builder.fcmp_ordered("==", here, most)
                            value = builder.select(equal, wide, emit.zero)
                        emit.store(value, emit.offset(dx, shift), masks[s])
                return []

            emit.loop(rows, [], row)
            return []

        emit.loop(vectors, [], column)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        name = f"spread_{mode}_{height}x{width}_{divisor}_{dtype}_{lanes}"
        emitter.builder.call(_function(emitter.builder, name, 8, block), args)

    return _vector_function("spread", dtype, lanes, 8, emit_call)


@functools.lru_cache(maxsize=None)
def transpose(dtype: str, lanes: int) -> Any:
    """`transpose(target, target_row, source, source_row, rows, columns)`.

    target[c * target_row + r] = source[r * source_row + c] for r < rows, c < columns; squares of
    `lanes` by `lanes` elements are transposed in registers by log2(lanes) rounds of interleaving.
    """
    size = _size(dtype)

    def square(full: bool) -> Callable:
        def body(builder: ir.IRBuilder, *args: Value) -> None:
            target, target_row, source, source_row, rows, columns = args
            emit = Emitter(builder, dtype, lanes)
            none = ir.Constant(ir.VectorType(I1, lanes), [0] * lanes)
            across, down = emit.mask(columns), emit.mask(rows)

            def place(base: Value, stride: Value, i: int, limit: Value, mask: Value) -> tuple:
                inside = builder.icmp_signed("<", I64(i), limit)
                mask = None if full else builder.select(inside, mask, none)
                return emit.offset(base, builder.mul(stride, I64(i))), mask

            lines = [
                emit.load(*place(source, source_row, r, rows, across)) for r in range(lanes)
            ]
            half = lanes // 2
            low = [i // 2 + (i % 2) * lanes for i in range(lanes)]
            high = [i + half for i in low]
            for _ in range(lanes.bit_length() - 1):
                pairs = [(lines[i], lines[i + half]) for i in range(half)]
                lines = [emit.shuffle(a, b, pick) for a, b in pairs for pick in (low, high)]
            for c, line in enumerate(lines):
                emit.store(line, *place(target, target_row, c, columns, down))

        return body

    def emit_call(emitter: Emitter, *args: Value) -> None:
        builder = emitter.builder
        name = f"transpose_{dtype}_{lanes}"
        whole = builder.and_(*(builder.icmp_signed("==", n, I64(lanes)) for n in args[4:]))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                builder.call(_function(builder, name, 6, square(True)), args)
            with otherwise:
                builder.call(_function(builder, name + "_masked", 6, square(False)), args)

    one_square = _vector_function("square", dtype, lanes, 6, emit_call)

    @register_jitable
    def matrix(target, target_row, source, source_row, rows, columns):  # type: ignore[no-untyped-def]
        for r in range(0, rows, lanes):
            for c in range(0, columns, lanes):
                one_square(
                    target + (c * target_row + r) * size,
                    target_row,
                    source + (r * source_row + c) * size,
                    source_row,
                    min(lanes, rows - r),
                    min(lanes, columns - c),
                )

    return matrix


# ---- dot products --------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def dot_rows(dtype: str, lanes: int) -> Any:
    """`dots(c, a, a_row, b, count, depth, accumulate)`: c[r] (+)= a[r * a_row :] . b.

    Rows of A and b are contiguous along k. Rows go four at a time and then one at a time; a row's
    sum has the same order of additions in every call that starts at a multiple of four.
    """
    size = _size(dtype)

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
                sums = [
                    builder.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)
                ]
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
            emitter.builder.call(_function(emitter.builder, name, 6, body), args)

        return _vector_function("dot", dtype, lanes, 6, emit_call)

    four, one = rows_of(4, 2), rows_of(1, 8)

    @register_jitable
    def dots(c, a, a_row, b, count, depth, accumulate):  # type: ignore[no-untyped-def]
        fours = count // 4 * 4
        for r in range(0, fours, 4):
            four(c + r * size, a + r * a_row * size, a_row, b, depth, accumulate)
        for r in range(fours, count):
            one(c + r * size, a + r * a_row * size, a_row, b, depth, accumulate)

    return dots
