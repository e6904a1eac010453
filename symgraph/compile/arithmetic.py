"""Casts, comparisons and integer arithmetic for kernels: NumPy's semantics, defined for every bit.

An integer divided by 0 gives 0 and never traps (x86 would end the process): a kernel that must
report it compares the divisor itself. Casting a float to an integer truncates; what does not fit
saturates at 32 bits (64 for uint32, int64 and uint64) and then wraps, and NaN becomes 0: NumPy
leaves these undefined.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="attr-defined"
# (what Numba and llvmlite do not type)

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from symgraph.compile import powers
from symgraph.compile.intrinsics import as_intrinsic
from symgraph.compile.mathlib import Value
from symgraph.compile.remainder import exact_remainder

DEVICE: ContextVar[bool] = ContextVar("device", default=False)
"""Whether what is lowered runs on a GPU, where there is no C library."""

# ---- casts


def cast(context: Any, builder: ir.IRBuilder, value: ir.Value, source: Any, target: Any) -> Any:
    """`value` of the Numba type `source` as `target`, by the rules of this module."""
    if isinstance(source, types.Float) and isinstance(target, types.Integer):
        return _truncate(Value(builder, value), target)
    if isinstance(source, types.Float) and target == types.boolean:
        return builder.fcmp_unordered("!=", value, value.type(0.0))
    return context.cast(builder, value, source, target)


def _truncate(x: Value, target: types.Integer) -> ir.Value:
    """x as an integer; the comparisons vectorise, which LLVM's saturating conversion does not."""
    width = 32 if target.bitwidth < 32 or target == types.int32 else 64
    kind = ir.IntType(width)
    if target == types.uint64:
        low, high, convert = 0, 2**width, x.builder.fptoui
    else:
        low, high, convert = -(2 ** (width - 1)), 2 ** (width - 1), x.builder.fptosi
    above, below = x >= float(high), x <= float(low)
    inside = (above | below | x.is_nan()).where(0.0, x)
    whole = Value(x.builder, convert(inside.ir, kind))
    whole = below.where(low, above.where(high - 1, whole))
    if target.bitwidth == width:
        return whole.ir
    return x.builder.trunc(whole.ir, ir.IntType(target.bitwidth))


def dtype(name: str, target: types.Type) -> Any:
    """The cast to `target`, which also names the dtype of an operand."""

    def typer(typingctx, value):
        if not isinstance(value, (types.Number, types.Boolean)):
            return None

        def emit(context, builder, signature, args):
            return cast(context, builder, args[0], signature.args[0], target)

        return target(types.unliteral(value)), emit

    typer.__name__ = typer.__qualname__ = name
    return intrinsic(typer)


DTYPES: dict[str, types.Type] = {
    "bool_": types.boolean,
    **{f"int{n}": getattr(types, f"int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}": getattr(types, f"uint{n}") for n in (8, 16, 32, 64)},
    "float32": types.float32,
    "float64": types.float64,
}
CASTS = {name: dtype(name, target) for name, target in DTYPES.items()}


# ---- functions of numbers of any dtype


def _generic(
    function: Callable[..., ir.Value],
    *,
    returns: types.Type | None = None,
    condition: bool = False,
) -> Any:
    """`function(builder, type, *values)` as an intrinsic; its numbers meet in one type.

    returns: the result's type where it is not that one. condition: the first argument is a bool of
    its own.
    """

    def typer(typingctx, *arguments):
        plain = [types.unliteral(argument) for argument in arguments]
        if not all(isinstance(kind, (types.Number, types.Boolean)) for kind in plain):
            return None
        common = typingctx.unify_types(*plain[condition:])
        kinds = [types.boolean] * condition + [common] * (len(plain) - condition)

        def emit(context, builder, signature, args):
            values = [
                cast(context, builder, value, source, kind)
                for value, source, kind in zip(args, signature.args, kinds, strict=True)
            ]
            return function(builder, common, *values)

        return (returns or common)(*plain), emit

    return as_intrinsic(typer, function, skip=2)


def _less(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    """a < b, of integers or bools."""
    signed = isinstance(kind, types.Integer) and kind.signed
    return (builder.icmp_signed if signed else builder.icmp_unsigned)("<", a, b)


def _is_nan(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    return builder.fcmp_unordered("uno", x, x) if isinstance(kind, types.Float) else _bit(0)


def _bit(value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(1), value)


def _true(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    if isinstance(kind, types.Float):
        return builder.fcmp_unordered("!=", x, x.type(0.0))
    return builder.icmp_unsigned("!=", x, x.type(0))


def maximum(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    # LLVM's own, which gives NaN where either is NaN, vectorises as a reduction too.
    if isinstance(kind, types.Float):
        return Value(builder, a).call("llvm.maximum", Value(builder, b)).ir
    return builder.select(_less(builder, kind, b, a), a, b)


def minimum(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    if isinstance(kind, types.Float):
        return Value(builder, a).call("llvm.minimum", Value(builder, b)).ir
    return builder.select(_less(builder, kind, a, b), a, b)


def select(builder: ir.IRBuilder, kind: Any, c: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(c, a, b)


def absolute(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    if isinstance(kind, types.Float):
        return Value(builder, x).abs().ir
    if not getattr(kind, "signed", False):
        return x
    return builder.select(builder.icmp_signed("<", x, x.type(0)), builder.neg(x), x)


def sgn(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    if isinstance(kind, types.Float):
        value = Value(builder, x)
        return (value > 0.0).where(value.constant(1.0), (value < 0.0).where(-1.0, value)).ir
    positive = builder.zext(_true(builder, kind, x), x.type) if kind != types.boolean else x
    if not getattr(kind, "signed", False):
        return positive
    return builder.select(builder.icmp_signed("<", x, x.type(0)), x.type(-1), positive)


def invert(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    return builder.not_(x)


def isnan(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    return _is_nan(builder, kind, x)


def isinf(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    if not isinstance(kind, types.Float):
        return _bit(0)
    return (Value(builder, x).abs() == math.inf).ir


def logical_and(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.and_(_true(builder, kind, a), _true(builder, kind, b))


def logical_or(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.or_(_true(builder, kind, a), _true(builder, kind, b))


def logical_xor(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.xor(_true(builder, kind, a), _true(builder, kind, b))


def logical_not(builder: ir.IRBuilder, kind: Any, x: ir.Value) -> ir.Value:
    return builder.not_(_true(builder, kind, x))


# ---- division, with Python's signs


def _divide(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> tuple[Any, Any]:
    """(floor(a / b), remainder with b's sign) of integers; (0, 0) for b = 0; -a wraps if b = -1."""
    zero, one = a.type(0), a.type(1)
    by_zero = builder.icmp_unsigned("==", b, zero)
    if not getattr(kind, "signed", False):
        safe = builder.select(by_zero, one, b)
        quotient, rest = builder.udiv(a, safe), builder.urem(a, safe)
        return builder.select(by_zero, zero, quotient), builder.select(by_zero, zero, rest)
    by_minus_one = builder.icmp_signed("==", b, a.type(-1))
    safe = builder.select(builder.or_(by_zero, by_minus_one), one, b)
    quotient, rest = builder.sdiv(a, safe), builder.srem(a, safe)
    differ = builder.icmp_signed("<", builder.xor(a, safe), zero)
    down = builder.and_(differ, builder.icmp_signed("!=", rest, zero))
    quotient = builder.sub(quotient, builder.zext(down, a.type))
    rest = builder.add(rest, builder.select(down, safe, zero))
    quotient = builder.select(by_minus_one, builder.neg(a), quotient)
    return builder.select(by_zero, zero, quotient), rest


def _divide_floats(a: Value, b: Value) -> tuple[Value, Value]:
    """The same for floats: the remainder is exact, the quotient follows from it, as in NumPy."""
    if DEVICE.get():
        rest = exact_remainder(a, b)
    else:
        rest = a._new(a.builder.frem(a.ir, b.ir, flags=("nsz",)))
    quotient = (a - rest) / b
    down = (rest != 0.0) & ((rest < 0.0) ^ (b < 0.0))
    rest = down.where(rest + b, rest)
    rest = (rest == 0.0).where(rest.copysign(b), rest)
    quotient = down.where(quotient - 1.0, quotient)
    floor = quotient.call("llvm.floor")
    quotient = (quotient - floor > 0.5).where(floor + 1.0, floor)
    exact = a / b
    quotient = (quotient == 0.0).where(quotient.copysign(exact), quotient)
    return (b == 0.0).where(exact, quotient), rest


def floor_divide(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    if isinstance(kind, types.Float):
        return _divide_floats(Value(builder, a), Value(builder, b))[0].ir
    return _divide(builder, kind, a, b)[0]


def mod(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    if isinstance(kind, types.Float):
        return _divide_floats(Value(builder, a), Value(builder, b))[1].ir
    return _divide(builder, kind, a, b)[1]


# ---- powers


def power(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    """a**b. Integers wrap; an integer to a negative power is 0, but for bases 1 and -1."""
    if isinstance(kind, types.Float):
        return powers.power(Value(builder, a), Value(builder, b)).ir
    return _power_integer(builder, kind, a, b)


def _power_integer(builder: ir.IRBuilder, kind: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    """Squaring and multiplying, one turn of a loop for a bit of the exponent."""
    if kind == types.boolean:
        return builder.or_(a, builder.not_(b))
    zero, one = a.type(0), a.type(1)
    negative = builder.icmp_signed("<", b, zero) if kind.signed else _bit(0)
    exponent = builder.select(negative, zero, b)
    before, turn = builder.block, builder.append_basic_block("power")
    builder.branch(turn)
    builder.position_at_end(turn)
    result, square, rest = (builder.phi(a.type) for _ in range(3))
    odd = builder.trunc(rest, ir.IntType(1))
    product = builder.mul(result, builder.select(odd, square, one))
    following = (product, builder.mul(square, square), builder.lshr(rest, one))
    for phi, first, then in zip((result, square, rest), (one, a, exponent), following, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, turn)
    done = builder.append_basic_block("powered")
    builder.cbranch(builder.icmp_unsigned("!=", following[2], zero), turn, done)
    builder.position_at_end(done)
    if not kind.signed:
        return product
    minus = builder.icmp_signed("==", a, a.type(-1))
    sign = builder.select(builder.trunc(b, ir.IntType(1)), a, one)
    unit = builder.select(builder.icmp_signed("==", a, one), one, zero)
    return builder.select(negative, builder.select(minus, sign, unit), product)


_NUMBERS = (
    maximum, minimum, absolute, sgn, invert, floor_divide, mod, power,
)  # fmt: skip
_QUESTIONS = (isnan, isinf, logical_and, logical_or, logical_xor, logical_not)

VOCABULARY: dict[str, Any] = {
    **CASTS,
    **{function.__name__: _generic(function) for function in _NUMBERS},
    **{function.__name__: _generic(function, returns=types.boolean) for function in _QUESTIONS},
    "select": _generic(select, condition=True),
}
