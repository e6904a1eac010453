"""The exact remainder of floats, fmod of C, in integers: for machines whose `frem` is not exact.

Long division on the significands (D. E. Knuth, The Art of Computer Programming 2, 4.3.1): a turn of
the loop brings down as many bits of the quotient as an integer of the format's width has room for
beside the divisor, 8 for float32 and 11 for float64, so quotients below 2**8 or 2**11 take one.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# (what Numba and llvmlite do not type)

from __future__ import annotations

import math

from llvmlite import ir

from symgraph.compile.mathlib import Value


def _significand(x: Value) -> tuple[Value, Value]:
    """(e, m) with |x| = m 2**(e - bias - mantissa), the top bit of m set, for a finite x != 0."""
    form = x.format
    magnitude = x.abs().bits()
    exponent = magnitude >> form.mantissa
    fraction = magnitude & ((1 << form.mantissa) - 1)
    zeros = x._new(x.builder.ctlz(fraction.ir, ir.IntType(1)(0)))
    lift = zeros - (form.bits.width - form.mantissa - 1)
    subnormal = exponent == 0
    normal = fraction | (1 << form.mantissa)
    return subnormal.where(1 - lift, exponent), subnormal.where(fraction << lift, normal)


def exact_remainder(a: Value, b: Value) -> Value:
    """a - n b for the integer n = a / b towards zero, exact, with the sign of a.

    NaN for an infinite a, for b = 0 and where either is NaN; a where b is infinite.
    """
    form, builder = a.format, a.builder
    defined = (a.abs() < math.inf) & (b.abs() > 0.0)
    inside = defined & (a.abs() >= b.abs())
    top, first = _significand(inside.where(a, 1.0))
    bottom, divisor = _significand(inside.where(b, 1.0))
    room = form.bits.width - form.mantissa - 1

    start = builder.block
    turn, done = (builder.append_basic_block(name) for name in ("remainder", "remaindered"))
    distance = top - bottom
    builder.branch(turn)
    builder.position_at_end(turn)
    left, rest = (a._new(builder.phi(form.bits)) for _ in range(2))
    step = (left < room).where(left, room)
    remaining = left - step
    reduced = a._new(builder.urem((rest << step).ir, divisor.ir))
    for value, before, after in ((left, distance, remaining), (rest, first, reduced)):
        value.ir.add_incoming(before.ir, start)
        value.ir.add_incoming(after.ir, turn)
    builder.cbranch((remaining > 0).ir, turn, done)
    builder.position_at_end(done)

    result = a._new(builder.sitofp(reduced.ir, form.real)).scale(
        bottom - (form.bias + form.mantissa)
    )
    return defined.where(inside.where(result.copysign(a), a), math.nan)
