"""Interleaving: rows put together from every step-th element of other rows.

The way there is `blocks.window_block` with one tap: it reads every step-th element of a row. In an
image taken apart by the strides of its windows, what one tap of all windows sees is contiguous.
"""

import functools
from typing import Any

import llvmlite.ir as ir

from symgraph.compile.library.emit import I64, Emitter, Value, own_function, vector_function


@functools.cache
def interleave_block(dtype: str, lanes: int, step: int) -> Any:
    """`interleave(target, target_row, source 0, ..., source step - 1, source_row, rows, count)`.

    target[r * target_row + c] = source (c % step)[r * source_row + c // step] for r < rows, c <
    count. Addresses in bytes, strides and counts in elements.
    """

    def block(builder: ir.IRBuilder, *args: Value) -> None:
        target, target_row, *sources, source_row, rows, count = args
        emit = Emitter(builder, dtype, lanes)
        shift = I64(lanes.bit_length() - 1)
        shares = [
            builder.sdiv(builder.add(count, I64(step - 1 - p)), I64(step)) for p in range(step)
        ]
        vectors = builder.ashr(builder.add(shares[0], I64(lanes - 1)), shift)

        def column(v: Value) -> list[Value]:
            at = builder.shl(v, shift)
            inside = [emit.mask(builder.sub(share, at)) for share in shares]
            first = builder.mul(at, I64(step))
            masks = [
                emit.mask(builder.sub(count, builder.add(first, I64(s * lanes))))
                for s in range(step)
            ]

            def row(r: Value, goal: Value, *origins: Value) -> list[Value]:
                parts = [emit.load(o, mask) for o, mask in zip(origins, inside, strict=True)]
                for s in range(step):
                    places = [divmod(s * lanes + i, step) for i in range(lanes)]
                    whole = emit.shuffle(parts[0], parts[0], [at for at, _ in places])
                    for p in range(1, step):
                        picks = [lanes + at if q == p else i for i, (at, q) in enumerate(places)]
                        whole = emit.shuffle(whole, parts[p], picks)
                    emit.store(whole, emit.offset(goal, I64(s * lanes)), masks[s])
                return [
                    emit.offset(goal, target_row), *(emit.offset(o, source_row) for o in origins)
                ]  # fmt: skip

            starts = [emit.offset(target, first), *(emit.offset(s, at) for s in sources)]
            emit.loop(rows, starts, row)
            return []

        emit.loop(vectors, [], column)

    def emit_call(emitter: Emitter, *args: Value) -> None:
        name = f"interleave_{step}_{dtype}_{lanes}"
        body = own_function(emitter.builder, name, 5 + step, block)
        emitter.builder.call(body, args)

    return vector_function("interleave", dtype, lanes, 5 + step, emit_call)
