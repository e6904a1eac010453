"""The vocabulary that kernel source is compiled against: dtypes, pointers, small functions.

`VOCABULARY` is what a kernel's source sees as globals; `interpreted.py` offers the same names to
plain Python. The mathematics comes through `intrinsics.py`.

dtypes: `float32(x)` casts as arithmetic.py says (`bool_` is `x != 0`), and `pointer(arrays, k,
float32)` types an operand. A `bool_` is one byte in memory, 0 or 1. `float16` exists in memory
only: it loads as float32, and `float16(x)` is x rounded to half precision, as a float32.

Pointers: `p[i]` loads, `p[i] = v` casts and stores; `p + n` is `n` elements on. A negative index
counts back from the first element; nothing is checked.

* `pointer(arrays, k, dtype)`: no promise about other operands.
* `pointer_in`, `pointer_out`: the same, with a promise that lets LLVM vectorise without comparing
  addresses when it runs: *an element stored through a `pointer_out` is not touched, by way of any
  `pointer_in` or `pointer_out`, in another iteration of the innermost loop around the store.*
  An output on top of an input at the same index is fine; a sum kept in memory is not (keep it in a
  local). A loop that also goes through a plain `pointer` gets no such help.
* `pointer_at(address, dtype)`, `address(p)`: to carve a workspace; `pointer_in_at` and
  `pointer_out_at`: the same with the promise.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="attr-defined, misc, has-type, no-any-return"
# (what Numba and llvmlite do not type)

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from symgraph.compile import arithmetic, intrinsics, philox
from symgraph.compile.loopfacts import mark

I64 = ir.IntType(64)
GLOBAL = 1  # NVPTX's address space of what kernels are given (docs/decisions/017)


class PointerType(types.Type):
    """The address of elements of `dtype`, read and written under the promise that `kind` names.

    kind: "any" (none), "in" and "out" (see the module), "sizes" (nobody writes it while the kernel
    runs).
    """

    def __init__(self, dtype: types.Type, kind: str) -> None:
        self.dtype, self.kind = dtype, kind
        super().__init__(name=f"pointer({dtype}, {kind})")

    @property
    def loaded(self) -> types.Type:
        """The type that a load gives."""
        return types.float32 if self.dtype == types.float16 else self.dtype

    @property
    def stored(self) -> ir.Type:
        """The LLVM type of an element in memory."""
        if self.dtype == types.float16:
            return ir.IntType(16)
        if self.dtype == types.boolean:
            return ir.IntType(8)
        if isinstance(self.dtype, types.Integer):
            return ir.IntType(self.dtype.bitwidth)
        return ir.FloatType() if self.dtype == types.float32 else ir.DoubleType()


@register_model(PointerType)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: PointerType) -> None:
        super().__init__(manager, kind, kind.stored.as_pointer())


# ---- half precision by integer arithmetic: no compiler run time, and it vectorises everywhere


def _half_to_float(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """IEEE half to float, exactly: scale the shifted bits by 2**112, which also normalises."""
    i32, f32 = ir.IntType(32), ir.FloatType()
    wide = builder.zext(bits, i32)
    shifted = builder.shl(builder.and_(wide, i32(0x7FFF)), i32(13))
    scaled = builder.fmul(builder.bitcast(shifted, f32), f32(2.0**112), flags=("nsz",))
    special = builder.icmp_unsigned(">=", shifted, i32(0x0F800000))
    extended = builder.or_(shifted, i32(0x7F800000))
    magnitude = builder.select(special, extended, builder.bitcast(scaled, i32))
    sign = builder.shl(builder.and_(wide, i32(0x8000)), i32(16))
    return builder.bitcast(builder.or_(magnitude, sign), f32)


def _float_to_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Float to IEEE half, to nearest, ties to even; overflow gives infinity, NaN stays NaN."""
    i32, f32 = ir.IntType(32), ir.FloatType()
    bits = builder.bitcast(value, i32)
    magnitude = builder.and_(bits, i32(0x7FFFFFFF))
    odd = builder.and_(builder.lshr(magnitude, i32(13)), i32(1))
    # 0xC8000000 moves the exponent's bias from 127 to 15; 0xFFF and the odd bit round to even.
    rounded = builder.add(builder.add(magnitude, i32(0xC8000FFF - (1 << 32))), odd)
    normal = builder.lshr(rounded, i32(13))
    # Adding one half makes the last kept bit of a half subnormal the float's last bit.
    absolute = builder.bitcast(magnitude, f32)
    small = builder.bitcast(builder.fadd(absolute, f32(0.5), flags=("nsz",)), i32)
    subnormal = builder.sub(small, i32(0x3F000000))
    result = builder.select(
        builder.icmp_unsigned("<", magnitude, i32(0x38800000)), subnormal, normal
    )
    large = builder.icmp_unsigned(">=", magnitude, i32(0x477FF000))
    result = builder.select(large, i32(0x7C00), result)
    result = builder.select(
        builder.icmp_unsigned(">", magnitude, i32(0x7F800000)), i32(0x7E00), result
    )
    sign = builder.and_(builder.lshr(bits, i32(16)), i32(0x8000))
    return builder.trunc(builder.or_(result, sign), ir.IntType(16))


@intrinsic
def float16(typingctx, value):
    def codegen(context, builder, sig, args):
        single = context.cast(builder, args[0], sig.args[0], types.float32)
        return _half_to_float(builder, _float_to_half(builder, single))

    return types.float32(value), codegen


# ---- making a pointer


_ELEMENTS = {
    float16: types.float16,
    **{arithmetic.CASTS[name]: element for name, element in arithmetic.DTYPES.items()},
}


def dtype_of(typingctx: Any, dtype: types.Type) -> types.Type | None:
    if isinstance(dtype, types.NumberClass):
        return dtype.instance_type
    for cast, element in _ELEMENTS.items():
        if dtype == typingctx.resolve_value_type(cast):
            return element
    return None


def _operand(kind: str) -> Callable[..., Any]:
    def typer(typingctx, arrays, k, dtype):
        element = dtype_of(typingctx, dtype)
        if element is None or not isinstance(k, types.Integer):
            return None
        result = PointerType(element, kind)

        def codegen(context, builder, sig, args):
            index = context.cast(builder, args[1], sig.args[1], types.int64)
            base = builder.load(builder.gep(args[0], [index]))
            mark(builder, base, "sizes")
            if arithmetic.DEVICE.get():  # LLVM follows it from here: loads and stores name it too
                base = builder.addrspacecast(base, ir.PointerType(addrspace=GLOBAL))
                base = builder.addrspacecast(base, result.stored.as_pointer())
            return builder.bitcast(base, result.stored.as_pointer())

        return result(arrays, types.unliteral(k), dtype), codegen

    return typer


@intrinsic
def pointer(typingctx, arrays, k, dtype):
    return _operand("any")(typingctx, arrays, k, dtype)


@intrinsic
def pointer_in(typingctx, arrays, k, dtype):
    return _operand("in")(typingctx, arrays, k, dtype)


@intrinsic
def pointer_out(typingctx, arrays, k, dtype):
    return _operand("out")(typingctx, arrays, k, dtype)


def _carved(kind: str) -> Callable[..., Any]:
    def typer(typingctx, address, dtype):
        element = dtype_of(typingctx, dtype)
        if element is None or not isinstance(address, types.Integer):
            return None
        result = PointerType(element, kind)

        def codegen(context, builder, sig, args):
            place = context.cast(builder, args[0], sig.args[0], types.int64)
            return builder.inttoptr(place, result.stored.as_pointer())

        return result(types.unliteral(address), dtype), codegen

    return typer


@intrinsic
def pointer_at(typingctx, address, dtype):
    return _carved("any")(typingctx, address, dtype)


@intrinsic
def pointer_in_at(typingctx, address, dtype):
    return _carved("in")(typingctx, address, dtype)


@intrinsic
def pointer_out_at(typingctx, address, dtype):
    return _carved("out")(typingctx, address, dtype)


@intrinsic
def address(typingctx, p):
    if not isinstance(p, PointerType):
        return None

    def codegen(context, builder, sig, args):
        return builder.ptrtoint(args[0], I64)

    return types.int64(p), codegen


# ---- reading and writing through it


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], PointerType) and isinstance(args[1], types.Integer):
            return signature(args[0].loaded, args[0], types.int64)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], PointerType) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.int64, args[2])
        return None


@infer_global(operator.add)
class _Shift(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], PointerType) and isinstance(args[1], types.Integer):
            return signature(args[0], args[0], types.int64)
        return None


@lower_builtin(operator.getitem, PointerType, types.Integer)
def _load(context, builder, sig, args):
    kind = sig.args[0]
    value = builder.load(builder.gep(args[0], [args[1]]))
    mark(builder, value, kind.kind)
    if kind.dtype == types.float16:
        return _half_to_float(builder, value)
    if kind.dtype == types.boolean:
        return builder.icmp_unsigned("!=", value, value.type(0))
    return value


@lower_builtin(operator.setitem, PointerType, types.Integer, types.Any)
def _store(context, builder, sig, args):
    kind = sig.args[0]
    value = arithmetic.cast(context, builder, args[2], sig.args[2], kind.loaded)
    if kind.dtype == types.float16:
        value = _float_to_half(builder, value)
    elif kind.dtype == types.boolean:
        value = builder.zext(value, ir.IntType(8))
    access = builder.store(value, builder.gep(args[0], [args[1]]))
    mark(builder, access, kind.kind)
    return context.get_dummy_value()


@lower_builtin(operator.add, PointerType, types.Integer)
def _shift(context, builder, sig, args):
    return builder.gep(args[0], [args[1]])


VOCABULARY: dict[str, Any] = {
    **arithmetic.VOCABULARY,
    **intrinsics.VOCABULARY,
    **philox.VOCABULARY,
    "float16": float16,
    "pointer": pointer,
    "pointer_in": pointer_in,
    "pointer_out": pointer_out,
    "pointer_at": pointer_at,
    "pointer_in_at": pointer_in_at,
    "pointer_out_at": pointer_out_at,
    "address": address,
}
"""Every name that a kernel's source may use besides Python's own range, len, min, max, abs."""
