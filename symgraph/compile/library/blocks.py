"""Copies, sums, windows and transposes of blocks of elements: what kernels move data with.

Each factory takes literals (dtype, lanes, ...) and returns a function for kernels; addresses are in
bytes, strides and counts in elements.
"""

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir

from symgraph.compile.library.emit import (
    I1,
    I64,
    Emitter,
    Value,
    own_function,
    vector_function,
)


def _block_function(name: str, dtype: str, lanes: int, body: Callable[..., Any]) -> Any:
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
        body_function = own_function(emitter.builder, f"{name}_{dtype}_{lanes}", 6, block)
        emitter.builder.call(body_function, args)

    return vector_function(name, dtype, lanes, 6, emit_call)


@functools.cache
def copy_block(dtype: str, lanes: int) -> Any:
    """`copy(target, target_row, source, source_row, rows, count)`: rows of contiguous elements."""
    return _block_function("copy", dtype, lanes, lambda emit, old, new, mask: emit.load(new, mask))


@functools.cache
def add_block(dtype: str, lanes: int) -> Any:
    """`add(target, target_row, source, source_row, rows, count)`: source is added to target."""

    def body(emit: Emitter, old: Value, new: Value, mask: Value) -> Value:
        return emit.add(emit.load(old, mask), emit.load(new, mask))

    return _block_function("add", dtype, lanes, body)


@functools.cache
def zero_block(dtype: str, lanes: int) -> Any:
    """`zero(target, target_row, target, target_row, rows, count)`: target becomes 0."""
    return _block_function("zero", dtype, lanes, lambda emit, old, new, mask: emit.zero)


@functools.cache
def window_block(dtype: str, lanes: int, mode: str, taps: int, step: int) -> Any:
    """`window(target, target_row, source, source_row, tap, rows, count)`: windows reduced.

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
        emitter.builder.call(own_function(emitter.builder, name, 7, block), args)

    return vector_function("window", dtype, lanes, 7, emit_call)


@functools.cache
def mark_block(dtype: str, lanes: int, height: int, width: int, ties: str = "all") -> Any:
    """`mark(out, marks, x, x_row, rows, count)`: maxima of tiling windows, and where they are.

    Windows of `height` by `width` (at most 8 elements) tile an image with lines `x_row` apart;
    there are `rows` rows of `count` of them, contiguous in `out`. Bit i * width + j of a mark is
    set where the element (i, j) of the window equals the maximum, with `ties` "first" for the
    first of them only; NaN wins and equals nothing.
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        out, marks, x, x_row, rows, count = args
        emit, bytewise = Emitter(builder, dtype, lanes), Emitter(builder, "uint8", lanes)
        shift = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(count, I64(lanes - 1)), shift)
        lines = builder.mul(x_row, I64(height))

        def column(v: Value) -> list[Value]:
            at = builder.shl(v, shift)
            rest = builder.sub(count, at)
            inside = emit.mask(rest)

            def row(r: Value, goal: Value, mark: Value, origin: Value) -> list[Value]:
                seen = []
                for i in range(height):
                    line = emit.offset(origin, builder.mul(x_row, I64(i)))
                    seen += emit.load_apart(line, width, rest)
                best = functools.reduce(emit.maximum, seen)
                bits = bytewise.zero
                for k, value in enumerate(seen):
                    equal = builder.fcmp_ordered("==", value, best)
                    bit = ir.Constant(bytewise.vector, [1 << k] * lanes)
                    bits = builder.or_(bits, builder.select(equal, bit, bytewise.zero))
                if ties == "first":  # the lowest bit that is set
                    bits = builder.and_(bits, builder.sub(bytewise.zero, bits))
                emit.store(best, goal, inside)
                bytewise.store(bits, mark, inside)
                return [emit.offset(goal, count), builder.add(mark, count),
                        emit.offset(origin, lines)]  # fmt: skip

            first = emit.offset(x, builder.mul(at, I64(width)))
            emit.loop(rows, [emit.offset(out, at), builder.add(marks, at), first], row)
            return []

        emit.loop(vectors, [], column)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        name = f"mark_{ties}_{height}x{width}_{dtype}_{lanes}"
        emitter.builder.call(own_function(emitter.builder, name, 6, block), args)

    return vector_function("mark", dtype, lanes, 6, emit_call)


@functools.cache
def first_block(dtype: str, lanes: int, height: int, width: int, step: int) -> Any:
    """`first(found, x, x_row, x_step, best, rows, count)`: where the first maxima of windows are.

    Window (r, t) of `height` by `width` elements begins at x[r * x_step + t * step], its lines are
    x_row apart, and its maximum is best[r * count + t]. found[r * count + t], an int as wide as an
    element, becomes the least i * width + j for which its element (i, j) equals the maximum, or -1.
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        found, x, x_row, x_step, best, rows, count = args
        emit = Emitter(builder, dtype, lanes)
        ints = Emitter(builder, f"int{8 * emit.itemsize}", lanes)
        shift = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(count, I64(lanes - 1)), shift)
        last = I64(height - 1)

        def column(v: Value) -> list[Value]:
            at = builder.shl(v, shift)
            rest = builder.sub(count, at)
            inside = emit.mask(rest)

            def row(r: Value, goal: Value, most: Value, origin: Value) -> list[Value]:
                maximum = emit.load(most, inside)

                def line(k: Value, place: Value, number: Value, least: Value) -> list[Value]:
                    """Line height - 1 - k, at `place`, whose first element has this `number`."""
                    if step == width:
                        seen = emit.load_apart(place, width, rest)
                    else:
                        seen = [
                            emit.load_strided(emit.offset(place, I64(j)), step, rest)
                            for j in range(width)
                        ]
                    for j, value in reversed(list(enumerate(seen))):
                        equal = builder.fcmp_ordered("==", value, maximum)
                        here = ints.splat(builder.add(number, ints.element(j)))
                        least = builder.select(equal, here, least)
                    return [emit.offset(place, builder.neg(x_row)),
                            builder.sub(number, ints.element(width)), least]  # fmt: skip

                below = emit.offset(origin, builder.mul(x_row, last))
                none = ir.Constant(ints.vector, [-1] * lanes)
                carried = [below, ints.element((height - 1) * width), none]
                least = emit.loop(I64(height), carried, line)[-1]
                ints.store(least, goal, inside)
                return [emit.offset(goal, count), emit.offset(most, count),
                        emit.offset(origin, x_step)]  # fmt: skip

            first = emit.offset(x, builder.mul(at, I64(step)))
            emit.loop(rows, [emit.offset(found, at), emit.offset(best, at), first], row)
            return []

        emit.loop(vectors, [], column)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        name = f"first_{height}x{width}_{step}_{dtype}_{lanes}"
        emitter.builder.call(own_function(emitter.builder, name, 7, block), args)

    return vector_function("first", dtype, lanes, 7, emit_call)


@functools.cache
def spread_block(
    dtype: str, lanes: int, mode: str, height: int, width: int, divisor: int = 1
) -> Any:
    """`spread(dx, x, x_row, out, dout, out_row, rows, count)`: the gradient of tiling windows.

    Windows of `height` by `width` tile an image with lines `x_row` apart; window row r is at line
    r * height. The first `count` columns of the image get dout / divisor of their window: "sum"
    always, "max" where x equals out, and 0 elsewhere; "marks" where out, which holds the marks of
    mark_block then, says so, "first" where out, which holds first_block's numbers, does (x is not
    read for either).
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        dx, x, x_row, out, dout, out_row, rows, count = args
        emit = Emitter(builder, dtype, lanes)
        marks = Emitter(builder, "uint8", lanes)
        numbers = Emitter(builder, f"int{8 * emit.itemsize}", lanes)
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
                if mode == "marks":
                    best = marks.load(builder.add(out, place), inside)
                if mode == "first":
                    best = numbers.load(numbers.offset(out, place), inside)
                line = builder.add(builder.mul(builder.mul(r, x_row), I64(height)), first)
                for s in range(width):
                    picks = [(s * lanes + i) // width for i in range(lanes)]
                    wide = emit.shuffle(gradient, gradient, picks)
                    if mode != "sum":
                        most = emit.shuffle(best, best, picks)
                    for i in range(height):
                        shift = builder.add(builder.mul(x_row, I64(i)), I64(s * lanes))
                        shift = builder.add(line, shift)
                        value = wide
                        if mode == "marks":
                            bits = [1 << i * width + (s * lanes + n) % width for n in range(lanes)]
                            bit = builder.and_(most, ir.Constant(marks.vector, bits))
                            chosen = builder.icmp_unsigned("!=", bit, marks.zero)
                            value = builder.select(chosen, wide, emit.zero)
                        if mode == "first":
                            own = [i * width + (s * lanes + n) % width for n in range(lanes)]
                            chosen = builder.icmp_signed(
                                "==", most, ir.Constant(numbers.vector, own)
                            )
                            value = builder.select(chosen, wide, emit.zero)
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
        emitter.builder.call(own_function(emitter.builder, name, 8, block), args)

    return vector_function("spread", dtype, lanes, 8, emit_call)


@functools.cache
def transpose(dtype: str, lanes: int, fill: bool = False) -> Any:
    """`transpose(target, target_row, source, source_row, rows, columns)`.

    target[c * target_row + r] = source[r * source_row + c] for r < rows, c < columns; squares of
    `lanes` by `lanes` elements are transposed in registers by log2(lanes) rounds of interleaving.
    With `fill`, rows up to `lanes` are as if they held zeros, and 0 or fewer rows may be given.
    """

    def square(full: bool) -> Callable[..., None]:
        def body(builder: ir.IRBuilder, *args: Value) -> None:
            target, target_row, source, source_row, rows, columns = args
            emit = Emitter(builder, dtype, lanes)
            none = ir.Constant(ir.VectorType(I1, lanes), [0] * lanes)
            across, down = emit.mask(columns), emit.mask(I64(lanes) if fill else rows)

            def place(
                base: Value, stride: Value, i: int, limit: Value, mask: Value
            ) -> tuple[Value, Value]:
                inside = builder.icmp_signed("<", I64(i), limit)
                mask = None if full else builder.select(inside, mask, none)
                return emit.offset(base, builder.mul(stride, I64(i))), mask

            lines = [emit.load(*place(source, source_row, r, rows, across)) for r in range(lanes)]
            half = lanes // 2
            low = [i // 2 + (i % 2) * lanes for i in range(lanes)]
            high = [i + half for i in low]
            for _ in range(lanes.bit_length() - 1):
                pairs = [(lines[i], lines[i + half]) for i in range(half)]
                lines = [emit.shuffle(a, b, pick) for a, b in pairs for pick in (low, high)]
            for c, line in enumerate(lines):
                emit.store(line, *place(target, target_row, c, columns, down))

        return body

    def one_square(builder: ir.IRBuilder, *args: Value) -> None:
        name, ending = f"transpose_{dtype}_{lanes}", "_filled" if fill else "_masked"
        whole = builder.and_(*(builder.icmp_signed("==", n, I64(lanes)) for n in args[4:]))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                builder.call(own_function(builder, name, 6, square(True)), args)
            with otherwise:
                builder.call(own_function(builder, name + ending, 6, square(False)), args)

    def matrix(builder: ir.IRBuilder, *args: Value) -> None:
        target, target_row, source, source_row, rows, columns = args
        emit = Emitter(builder, dtype, lanes)
        bits, width = I64(lanes.bit_length() - 1), I64(lanes)
        some = builder.icmp_signed("<", rows, I64(1))
        lines = builder.select(some, I64(int(fill)), rows)
        count = builder.ashr(builder.add(columns, I64(lanes - 1)), bits)

        def least(n: Value) -> Value:
            return builder.select(builder.icmp_signed("<", n, width), n, width)

        def line(r: Value) -> list[Value]:
            down = builder.shl(r, bits)
            high = least(builder.sub(rows, down))

            def column(c: Value, goal: Value, origin: Value) -> list[Value]:
                wide = least(builder.sub(columns, builder.shl(c, bits)))
                one_square(builder, goal, target_row, origin, source_row, high, wide)
                further = builder.mul(target_row, width)
                return [emit.offset(goal, further), emit.offset(origin, width)]

            origin = emit.offset(source, builder.mul(down, source_row))
            emit.loop(count, [emit.offset(target, down), origin], column)
            return []

        emit.loop(builder.ashr(builder.add(lines, I64(lanes - 1)), bits), [], line)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        name = f"transposed_{dtype}_{lanes}{'_filled' if fill else ''}"
        emitter.builder.call(own_function(emitter.builder, name, 6, matrix), args)

    return vector_function("transposed", dtype, lanes, 6, emit_call)
