"""Native code that walks a table of steps again and again. Imported only to compile it.

`rounds` is called as a kernel is; sizes[0] is the address of its record, whose slots slots.py
names. The record and the lists it points to are made when sizes are bound (loop.py).
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="call-arg, var-annotated, no-untyped-def"
# (what Numba and llvmlite do not type)

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from symgraph.compile.helpers import helper
from symgraph.compile.native import pointer_at
from symgraph.compile.slots import (
    BASES,
    COPIES,
    COPIES_AT,
    DONE,
    ENDS,
    ENDS_AT,
    FINISHED,
    FIXED,
    FIXED_AT,
    INNER,
    INNER_STEPS,
    MOVING,
    MOVING_AT,
    NOTES,
    OUTER,
    PARALLEL_FOR,
    REFUSED,
    REST,
    REST_AT,
    THREADS,
    TIMES,
    UNTIL,
    WANTED,
    WHEN,
)

I64 = ir.IntType(64)
BYTES = ir.IntType(8).as_pointer()


@intrinsic
def walk_steps(typingctx, context, first, last):
    """The driver's walk."""

    def emit(context, builder, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [BYTES, I64, I64])
        walk = cgutils.get_or_insert_function(builder.module, kind, "symgraph_walk")
        builder.call(walk, [builder.bitcast(args[0], BYTES), *args[1:]])
        return context.get_dummy_value()

    return types.void(context, first, last), emit


@helper
def copy_bytes(target, source, count):
    """`count` bytes from one address to another."""
    into, from_ = pointer_at(target, types.int8), pointer_at(source, types.int8)
    for k in range(count):
        into[k] = from_[k]


def rounds(arrays, sizes, start, stop, worker):
    """Run the inner program: count times, or until it says so, or until a step fails."""
    record = pointer_at(sizes[0], types.int64)
    if record[WHEN] >= 0:
        if pointer_at(arrays[record[WHEN]], types.int8)[0] != record[WANTED]:
            return
        if record[TIMES] < 0:
            errors = pointer_at(arrays[record[NOTES]], types.int64)
            errors[0], errors[1] = REFUSED, -1 - record[TIMES]
            return
    inner, outer = pointer_at(record[INNER], types.int64), pointer_at(record[OUTER], types.int64)
    bases = inner
    if record[TIMES] > 0:
        bases = pointer_at(inner[BASES], types.int64)
        inner[THREADS], inner[PARALLEL_FOR] = outer[THREADS], outer[PARALLEL_FOR]
        fixed = pointer_at(record[FIXED_AT], types.int64)
        for k in range(record[FIXED]):  # base, operand, offset
            bases[fixed[3 * k]] = arrays[fixed[3 * k + 1]] + fixed[3 * k + 2]
    copies = pointer_at(record[COPIES_AT], types.int64)
    for k in range(record[COPIES]):  # to, from, bytes
        copy_bytes(arrays[copies[3 * k]], arrays[copies[3 * k + 1]], copies[3 * k + 2])
    moving = pointer_at(record[MOVING_AT], types.int64)
    t = 0
    while t < record[TIMES]:
        for k in range(record[MOVING]):  # base, operand of even rounds, of odd rounds, offset, step
            operand = moving[5 * k + 1 + t % 2]
            bases[moving[5 * k]] = arrays[operand] + moving[5 * k + 3] + t * moving[5 * k + 4]
        walk_steps(inner, 0, record[INNER_STEPS])
        if inner[FINISHED] != record[INNER_STEPS]:
            errors = pointer_at(arrays[record[NOTES]], types.int64)
            errors[0], errors[1], errors[2] = 3, t, inner[FINISHED]
            return
        t += 1
        if record[UNTIL] != 0 and pointer_at(record[UNTIL], types.int8)[0] != 0:
            break
    ends = pointer_at(record[ENDS_AT], types.int64)
    for k in range(record[ENDS] * (t % 2)):  # to, from, bytes: what odd rounds left elsewhere
        copy_bytes(arrays[ends[3 * k]], arrays[ends[3 * k + 1]], ends[3 * k + 2])
    rest = pointer_at(record[REST_AT], types.int64)
    for k in range(record[REST]):  # operand, offset, step: the rows of rounds that did not come
        row = rest[3 * k + 2]
        row_bytes = pointer_at(arrays[rest[3 * k]] + rest[3 * k + 1] + t * row, types.int8)
        for i in range((record[TIMES] - t) * row):
            row_bytes[i] = 0
    if record[DONE] >= 0:
        pointer_at(arrays[record[DONE]], types.int64)[0] = t
