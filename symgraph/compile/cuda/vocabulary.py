"""What CUDA kernels call besides the CPU's vocabulary: threads, barriers, shuffles, shared memory.

* `thread()`, `block()`: this thread's index in its block, its block's in the grid.
* `barrier()`: all threads of the block meet, and see what the others have written.
* `shuffle_xor(v, mask)`, `shuffle_down(v, n)`: `v` of lane ^ mask, of lane + n; all 32 lanes of a
  warp take part, and a lane beyond the warp gives one's own.
* `shared(name, dtype, count)`: memory of the block, not filled; a literal name and count.
* `registers(dtype, count)`: memory of the thread; registers, if every index is known to LLVM.
* `claim(p, code)`: whether this thread is the first to find 0 in int64 `p[0]` and put `code` there.
* `load4(p, i)`, `store4(p, i, a, b, c, d)`: four float32 from element `i` on, 16-byte aligned.

`barrier` and shuffles stand alone on their line, as `barrier()` and `x = shuffle_xor(v, 16)`: the
simulator stops there. Source: NVIDIA, CUDA C++ Programming Guide; LLVM, NVPTX intrinsics.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="misc, no-any-return"
# (what Numba and llvmlite do not type)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from symgraph.compile import native
from symgraph.compile.native import PointerType, dtype_of

I32 = ir.IntType(32)
SHARED = 3  # NVPTX's address space of a block's memory
WARP = 32


def _declared(builder: ir.IRBuilder, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, arguments), name)
    return function


# ---- who am I


def _place(register: str) -> Callable[..., Any]:
    def typer(typingctx):
        def emit(context, builder, signature, args):
            read = _declared(builder, f"llvm.nvvm.read.ptx.sreg.{register}.x", I32, ())
            return builder.zext(builder.call(read, ()), ir.IntType(64))

        return types.int64(), emit

    return typer


@intrinsic
def thread(typingctx):
    return _place("tid")(typingctx)


@intrinsic
def block(typingctx):
    return _place("ctaid")(typingctx)


@intrinsic
def barrier(typingctx):
    def emit(context, builder, signature, args):
        builder.call(_declared(builder, "llvm.nvvm.barrier0", ir.VoidType(), ()), ())
        return context.get_dummy_value()

    return types.none(), emit


# ---- shuffles


def _shuffle(kind: str) -> Callable[..., Any]:
    def typer(typingctx, value, distance):
        if not isinstance(value, (types.Number, types.Boolean)):
            return None
        result = types.unliteral(value)

        def emit(context, builder, signature, args):
            by = context.cast(builder, args[1], signature.args[1], types.int32)
            return _by_words(builder, args[0], lambda word: _exchange(builder, kind, word, by))

        return result(result, types.unliteral(distance)), emit

    return typer


def _exchange(builder: ir.IRBuilder, kind: str, word: ir.Value, by: ir.Value) -> ir.Value:
    function = _declared(builder, f"llvm.nvvm.shfl.sync.{kind}.i32", I32, (I32,) * 4)
    return builder.call(function, (I32(-1), word, by, I32(WARP - 1)))


def _by_words(
    builder: ir.IRBuilder, value: ir.Value, exchange: Callable[[ir.Value], ir.Value]
) -> ir.Value:
    """`exchange` of each 32-bit word of a number."""
    kind = value.type
    if isinstance(kind, ir.FloatType):
        return builder.bitcast(exchange(builder.bitcast(value, I32)), kind)
    if isinstance(kind, ir.IntType) and kind.width <= 32:
        wide = value if kind.width == 32 else builder.zext(value, I32)
        moved = exchange(wide)
        return moved if kind.width == 32 else builder.trunc(moved, kind)
    i64 = ir.IntType(64)
    bits = builder.bitcast(value, i64)
    low = exchange(builder.trunc(bits, I32))
    high = exchange(builder.trunc(builder.lshr(bits, i64(32)), I32))
    joined = builder.or_(builder.zext(low, i64), builder.shl(builder.zext(high, i64), i64(32)))
    return builder.bitcast(joined, kind)


@intrinsic
def shuffle_xor(typingctx, value, mask):
    return _shuffle("bfly")(typingctx, value, mask)


@intrinsic
def shuffle_down(typingctx, value, count):
    return _shuffle("down")(typingctx, value, count)


# ---- memory


@intrinsic(prefer_literal=True)
def shared(typingctx, name, dtype, count):
    element = dtype_of(typingctx, dtype)
    literal = isinstance(name, types.Literal) and isinstance(count, types.IntegerLiteral)
    if element is None or not literal:
        return None
    result = PointerType(element, "any")
    title, length = f"shared_{name.literal_value}", count.literal_value

    def emit(context, builder, signature, args):
        memory = builder.module.globals.get(title)
        if memory is None:
            kind = ir.ArrayType(result.stored, length)
            memory = ir.GlobalVariable(builder.module, kind, title, addrspace=SHARED)
            memory.linkage, memory.align = "internal", 16
            memory.initializer = ir.Constant(kind, ir.Undefined)
        return builder.addrspacecast(memory, result.stored.as_pointer())

    return result(name, dtype, count), emit


@intrinsic(prefer_literal=True)
def registers(typingctx, dtype, count):
    element = dtype_of(typingctx, dtype)
    if element is None or not isinstance(count, types.IntegerLiteral):
        return None
    result = PointerType(element, "any")
    length = count.literal_value

    def emit(context, builder, signature, args):
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(result.stored, length))
        memory.align = 16
        return builder.bitcast(memory, result.stored.as_pointer())

    return result(dtype, count), emit


@intrinsic
def claim(typingctx, p, code):
    if not isinstance(p, PointerType) or p.dtype != types.int64:
        return None

    def emit(context, builder, signature, args):
        wanted = context.cast(builder, args[1], signature.args[1], types.int64)
        zero = ir.Constant(ir.IntType(64), 0)
        found = builder.cmpxchg(args[0], zero, wanted, "monotonic", "monotonic")
        return builder.extract_value(found, 1)

    return types.boolean(p, types.unliteral(code)), emit


FOUR = ir.VectorType(ir.FloatType(), 4)


def _four(context, builder, signature, args):
    index = context.cast(builder, args[1], signature.args[1], types.int64)
    place = builder.gep(args[0], [index])
    return builder.bitcast(place, FOUR.as_pointer())


@intrinsic
def load4(typingctx, p, i):
    if not isinstance(p, PointerType) or p.dtype != types.float32:
        return None

    def emit(context, builder, signature, args):
        value = builder.load(_four(context, builder, signature, args), align=16, typ=FOUR)
        parts = [builder.extract_element(value, I32(k)) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(types.float32, 4)(p, types.unliteral(i)), emit


@intrinsic
def store4(typingctx, p, i, a, b, c, d):
    if not isinstance(p, PointerType) or p.dtype != types.float32:
        return None

    def emit(context, builder, signature, args):
        value = ir.Constant(FOUR, ir.Undefined)
        for k, part in enumerate(args[2:]):
            value = builder.insert_element(value, part, I32(k))
        builder.store(value, _four(context, builder, signature, args), align=16)
        return context.get_dummy_value()

    return types.none(p, types.unliteral(i), *[types.float32] * 4), emit


OWN = (
    thread, block, barrier, shuffle_xor, shuffle_down, shared, registers, claim, load4,
    store4,
)  # fmt: skip
VOCABULARY: dict[str, Any] = {
    **native.VOCABULARY,
    **{function._defn.__name__: function for function in OWN},
}
"""Every name that a CUDA kernel may use besides Python's own range, min, max, abs."""
