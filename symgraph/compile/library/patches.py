"""Patches of images: put together for a product (unfold), and added back to the image (fold).

Each factory takes literals (dtype, lanes) and returns a function for kernels; addresses are in
bytes, strides and counts in elements.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ir

from symgraph.compile.library.emit import I64, Emitter, Value, own_function, vector_function

PLANES = 4  # that are folded at a time


@functools.cache
def unfold_block(dtype: str, lanes: int, vectors: int) -> Any:
    """`unfold(target, strip, source, count, length, apart, n, target_n, source_n, m, ..., k, ...)`.

    target[a * target_n + b * target_m + d * target_k + e // w * strip + e % w] = source[a *
    source_n + b * source_m + d * source_k + e // length * apart + e % length] for a < n, b < m, d <
    k, e < count: rows put together from pieces of `length` elements that lie `apart`, and dealt to
    strips as wide as a tile, w = lanes * vectors.

    Lanes follow the row, not the pieces. Where a vector meets several, each is loaded from so far
    back that its lanes fit, over those before it, two of them for a store. Which lanes that are is
    found once for a vector of all rows.
    """

    def body(builder: ir.IRBuilder, *args: Value) -> None:
        target, strip, source, count, length, apart, *loops = args
        emit = Emitter(builder, dtype, lanes)
        bits = I64(lanes.bit_length() - 1)
        whole = builder.ashr(builder.add(count, I64(lanes - 1)), bits)
        back = builder.sub(apart, length)

        def rows(goal: Value, origin: Value, masks: Sequence[Value]) -> None:
            """One vector of all rows: of each piece the lanes that its mask gives."""
            stored = functools.reduce(builder.or_, masks)

            def level(loops: Sequence[Value], goal: Value, origin: Value) -> None:
                times, goal_step, origin_step, *inner = loops

                def step(_: Value, goal: Value, origin: Value) -> list[Value]:
                    if inner:
                        level(inner, goal, origin)
                    else:
                        value, place = emit.zero, origin
                        for mask in masks:
                            value = emit.load(place, mask, value)
                            place = emit.offset(place, back)
                        emit.store(value, goal, stored)
                    return [emit.offset(goal, goal_step), emit.offset(origin, origin_step)]

                emit.loop(times, [goal, origin], step)

            level(loops, goal, origin)

        def vector(v: Value) -> list[Value]:
            at = builder.shl(v, bits)
            rest = builder.sub(count, at)
            inside = emit.mask(rest)
            piece = builder.sdiv(at, length)
            done = builder.sub(at, builder.mul(piece, length))  # of this piece, before the vector
            strips = builder.mul(builder.sdiv(v, I64(vectors)), strip)
            beside = builder.mul(builder.srem(v, I64(vectors)), I64(lanes))
            goal = emit.offset(target, builder.add(strips, beside))
            origin = emit.offset(source, builder.add(builder.mul(piece, apart), done))

            def lanes_of(first: Value, pieces: int) -> list[Value]:
                """The lanes of pieces first, first + 1, ..."""
                begin = builder.sub(builder.mul(first, length), done)
                ends = [builder.add(begin, builder.mul(length, I64(i))) for i in range(pieces + 1)]
                below = [builder.and_(inside, emit.mask(end)) for end in ends]
                return [builder.xor(a, b) for a, b in itertools.pairwise(below)]

            def two(k: Value) -> list[Value]:
                first = builder.shl(k, I64(1))
                rows(goal, emit.offset(origin, builder.mul(first, back)), lanes_of(first, 2))
                return []

            fewer = builder.icmp_signed("<", rest, I64(lanes))
            end = builder.add(done, builder.select(fewer, rest, I64(lanes)))
            with builder.if_else(builder.icmp_signed("<=", end, length)) as (then, otherwise):
                with then:
                    rows(goal, origin, [inside])
                with otherwise:
                    pair = builder.shl(length, I64(1))
                    pairs = builder.sdiv(builder.add(end, builder.sub(pair, I64(1))), pair)
                    emit.loop(pairs, [], two)
            return []

        emit.loop(whole, [], vector)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        function = own_function(emitter.builder, f"unfold_{dtype}_{lanes}x{vectors}", 15, body)
        emitter.builder.call(function, args)

    return vector_function("unfold", dtype, lanes, 15, emit_call)


@functools.cache
def fold_rows(dtype: str, lanes: int) -> Any:
    """`fold(row, plane, planes, count, source, source_plane, lines, line_step, taps, tap_step,
    reach, shift, step)`.

    row[c * plane + x] += sum over i < lines, j < taps of source[c * source_plane + i * line_step +
    j * tap_step + t] where t = x + shift - j * step lies in 0 .. reach - 1; for c < planes, x <
    count: what patches add to a line of an image. The line is loaded and stored once, whatever the
    number of taps; four planes at a time share masks, and their sums do not wait for each other.
    """

    def body(builder: ir.IRBuilder, *args: Value) -> None:
        row, plane, planes, count, source, source_plane, *taking = args
        lines, line_step, taps, tap_step, reach, shift, step = taking
        emit = Emitter(builder, dtype, lanes)
        bits = I64(lanes.bit_length() - 1)
        vectors = builder.ashr(builder.add(count, I64(lanes - 1)), bits)
        next_tap = builder.sub(tap_step, step)

        def vector(v: Value) -> list[Value]:
            at = builder.shl(v, bits)
            inside = emit.mask(builder.sub(count, at))
            first = builder.add(at, shift)

            def some(height: int, goal: Value, origin: Value) -> list[Value]:
                """The line of `height` planes; where the next ones are."""
                numbers = [I64(c) for c in range(height + 1)]
                goals = [emit.offset(goal, builder.mul(plane, c)) for c in numbers]
                apart = [builder.mul(source_plane, c) for c in numbers]

                def line(_: Value, start: Value, *sums: Value) -> list[Value]:
                    def tap(j: Value, place: Value, *sums: Value) -> list[Value]:
                        t = builder.sub(first, builder.mul(j, step))
                        mask = emit.mask_between(t, reach)
                        sums = tuple(
                            emit.add(total, emit.load(emit.offset(place, far), mask))
                            for total, far in zip(sums, apart, strict=False)
                        )
                        return [emit.offset(place, next_tap), *sums]

                    sums = tuple(emit.loop(taps, [start, *sums], tap)[1:])
                    return [emit.offset(start, line_step), *sums]

                sums = [emit.load(place, inside) for place in goals[:height]]
                sums = emit.loop(lines, [origin, *sums], line)[1:]
                for place, total in zip(goals, sums, strict=False):
                    emit.store(total, place, inside)
                return [goals[height], emit.offset(origin, apart[height])]

            places = [emit.offset(row, at), emit.offset(source, first)]
            for height, times in (
                (PLANES, builder.sdiv(planes, I64(PLANES))),
                (1, builder.srem(planes, I64(PLANES))),
            ):
                turn = functools.partial(some, height)
                places = emit.loop(times, places, lambda _, *at, turn=turn: turn(*at))
            return []

        emit.loop(vectors, [], vector)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        function = own_function(emitter.builder, f"fold_{dtype}_{lanes}", 13, body)
        emitter.builder.call(function, args)

    return vector_function("fold", dtype, lanes, 13, emit_call)
