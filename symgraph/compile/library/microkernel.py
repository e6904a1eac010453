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

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
Value = Any  # an LLVM value; llvmlite has no types

inline = register_jitable


def _element(dtype: str) -> ir.Type:
    return {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]


class Emitter:
    """Emits vector code for one element type and lane count at a builder's position."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, lanes: int) -> None:
        self.builder, self.lanes, self.element = builder, lanes, _element(dtype)
        self.vector = ir.VectorType(self.element, lanes)
        self.itemsize = 4 if dtype == "float32" else 8
        self.suffix = f"v{lanes}f{8 * self.itemsize}"
        self.zero = ir.Constant(self.vector, [0.0] * lanes)

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
        lanes = ir.VectorType(I64, self.lanes)
        numbers = ir.Constant(lanes, list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.splat(count))

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

    `count` of 1 .. rows chooses the body. Where masks cost (no AVX-512) full tiles have their own.
    """
    cheap_masks = lanes * {"float32": 4, "float64": 8}[dtype] == 64

    def variant(outer: ir.IRBuilder, masked: bool) -> ir.Function:
        def body(builder: ir.IRBuilder, count: Value, *arguments: Value) -> None:
            done = builder.append_basic_block("end")
            switch = builder.switch(count, done)
            for height in range(1, rows + 1):
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

    C[m, n] = A[m, depth] @ B[depth, n], added to C when `accumulate` is not 0. A has any strides;
    rows of B are contiguous and `ldb` apart, and each group of `lanes * vectors` columns starts
    `panel` elements after the one before (`lanes * vectors` for a plain matrix). Each element of C
    is one chain of fused multiply-adds in the order of k, whatever the tile it falls into.
    """
    width = lanes * vectors
    size = {"float32": 4, "float64": 8}[dtype]
    wide = _tile_function(dtype, lanes, rows, vectors)
    narrow = _tile_function(dtype, lanes, rows, 1)

    @register_jitable
    def multiply(a, a_row, a_column, b, ldb, panel, c, ldc, m, n, depth, accumulate):  # type: ignore[no-untyped-def]
        tiles = (m + rows - 1) // rows
        for strip in range((n + width - 1) // width):
            columns = min(width, n - strip * width)
            b_strip = b + strip * panel * size
            c_strip = c + strip * width * size
            for t in range(tiles):
                # Rows are dealt evenly: 50 is 5 tiles of 10, not 4 of 12 and a thin one of 2.
                first = m * t // tiles
                count = m * (t + 1) // tiles - first
                a_tile = a + first * a_row * size
                c_tile = c_strip + first * ldc * size
                if columns > lanes:
                    wide(
                        count, a_tile, a_row, a_column, b_strip, ldb, c_tile, ldc, depth, columns,
                        accumulate,
                    )  # fmt: skip
                else:
                    narrow(
                        count, a_tile, a_row, a_column, b_strip, ldb, c_tile, ldc, depth, columns,
                        accumulate,
                    )  # fmt: skip

    return multiply


# ---- blocks of elements --------------------------------------------------------------------------


def _block_function(name: str, dtype: str, lanes: int, body: Callable) -> Any:
    """Intrinsic (target, target_row, source, source_row, rows, count) over `rows` rows of `count`.

    `body(emit, old, new)` gives the vector to store; old and new load from target and source. The
    rows run innermost, so that a mask is made once for a column of vectors.
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        target, target_row, source, source_row, rows, count = args
        emit = Emitter(builder, dtype, lanes)
        shift = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(count, I64(lanes - 1)), shift)

        def column(v: Value) -> list[Value]:
            at = builder.shl(v, shift)
            mask = emit.mask(builder.sub(count, at))

            def row(r: Value, goal: Value, origin: Value) -> list[Value]:
                value = body(emit, lambda: emit.load(goal, mask), lambda: emit.load(origin, mask))
                emit.store(value, goal, mask)
                return [emit.offset(goal, target_row), emit.offset(origin, source_row)]

            emit.loop(rows, [emit.offset(target, at), emit.offset(source, at)], row)
            return []

        emit.loop(vectors, [], column)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        function = _function(emitter.builder, f"{name}_{dtype}_{lanes}", 6, block)
        emitter.builder.call(function, args)

    return _vector_function(name, dtype, lanes, 6, emit_call)


@functools.lru_cache(maxsize=None)
def copy_block(dtype: str, lanes: int) -> Any:
    """`copy(target, target_row, source, source_row, rows, count)`: rows of contiguous elements."""
    return _block_function("copy", dtype, lanes, lambda emit, old, new: new())


@functools.lru_cache(maxsize=None)
def add_block(dtype: str, lanes: int) -> Any:
    """`add(target, target_row, source, source_row, rows, count)`: source is added to target."""
    return _block_function(
        "add", dtype, lanes, lambda emit, old, new: emit.builder.fadd(old(), new())
    )


@functools.lru_cache(maxsize=None)
def zero_block(dtype: str, lanes: int) -> Any:
    """`zero(target, target_row, target, target_row, rows, count)`: target becomes 0."""
    return _block_function("zero", dtype, lanes, lambda emit, old, new: emit.zero)


@functools.lru_cache(maxsize=None)
def transpose(dtype: str, lanes: int) -> Any:
    """`transpose(target, target_row, source, source_row, rows, columns)`.

    target[c * target_row + r] = source[r * source_row + c] for r < rows, c < columns; squares of
    `lanes` by `lanes` elements are transposed in registers by log2(lanes) rounds of interleaving.
    """
    size = {"float32": 4, "float64": 8}[dtype]

    def square(builder: ir.IRBuilder, *args: Value) -> None:
        target, target_row, source, source_row, rows, columns = args
        emit = Emitter(builder, dtype, lanes)
        across, down = emit.mask(columns), emit.mask(rows)
        none = ir.Constant(across.type, [0] * lanes)
        lines = []
        for r in range(lanes):
            inside = builder.icmp_signed("<", I64(r), rows)
            mask = builder.select(inside, across, none)
            lines.append(emit.load(emit.offset(source, builder.mul(source_row, I64(r))), mask))
        half = lanes // 2
        low = [i // 2 + (i % 2) * lanes for i in range(lanes)]
        high = [i + half for i in low]
        for _ in range(lanes.bit_length() - 1):
            pairs = [(lines[i], lines[i + half]) for i in range(half)]
            lines = [emit.shuffle(a, b, pick) for a, b in pairs for pick in (low, high)]
        for c in range(lanes):
            inside = builder.icmp_signed("<", I64(c), columns)
            mask = builder.select(inside, down, none)
            emit.store(lines[c], emit.offset(target, builder.mul(target_row, I64(c))), mask)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        builder = emitter.builder
        function = _function(builder, f"transpose_{dtype}_{lanes}", 6, square)
        builder.call(function, args)

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
    size = {"float32": 4, "float64": 8}[dtype]

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
