"""LLVM vectors for the functions that library kernels call.

Addresses are int64, in bytes; strides and counts are in elements. Every access is aligned to its
element only, and nothing outside the counted elements is read or written: what is left over of a
vector is masked.
"""

from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
Value = Any  # an LLVM value; llvmlite has no types


ELEMENTS = {
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    **{f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def itemsize(dtype: str) -> int:
    """Bytes of an element."""
    return int(dtype.lstrip("uintfloa")) // 8


class Emitter:
    """Emits vector code for one element type and lane count at a builder's position."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, lanes: int) -> None:
        self.builder, self.lanes, self.dtype = builder, lanes, dtype
        self.element, self.itemsize = ELEMENTS[dtype], itemsize(dtype)
        self.vector = ir.VectorType(self.element, lanes)
        self.floating = dtype.startswith("float")
        self.suffix = f"v{lanes}{'f' if self.floating else 'i'}{8 * self.itemsize}"
        self.zero = ir.Constant(self.vector, [0.0 if self.floating else 0] * lanes)

    def call(self, name: str, result: ir.Type, *arguments: Value) -> Value:
        """A call of the LLVM intrinsic `name`."""
        kind = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)  # type: ignore[no-untyped-call]
        return self.builder.call(function, arguments)

    def offset(self, address: Value, elements: Value) -> Value:
        """The address `elements` further on."""
        builder = self.builder
        pointer = builder.inttoptr(address, self.element.as_pointer())
        return builder.ptrtoint(builder.gep(pointer, [elements]), I64)

    def opaque(self, value: Value) -> Value:
        """`value`, of which LLVM must not know where it comes from."""
        kind = ir.FunctionType(I64, [I64])
        return self.builder.asm(kind, "", "=r,0", [value], False)

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

    def load(self, address: Value, mask: Value = None, other: Value = None) -> Value:
        """A vector; lanes outside the mask are zero, or those of `other`, and not read."""
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.itemsize)
        name = f"llvm.masked.load.{self.suffix}.p0"
        other = self.zero if other is None else other
        return self.call(name, self.vector, pointer, I32(self.itemsize), mask, other)

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
        return self.call(name, self.vector, places, I32(self.itemsize), self.mask(count), self.zero)

    def load_apart(self, address: Value, step: int, count: Value) -> list[Value]:
        """The first `count` groups of `step` elements: all first ones, all second ones, ..."""
        builder, lanes = self.builder, self.lanes
        if step == 2:
            reach = builder.mul(count, I64(2))
            low = self.load(address, self.mask(reach))
            beyond = self.mask(builder.sub(reach, I64(lanes)))
            high = self.load(self.offset(address, I64(lanes)), beyond)
            return [self.shuffle(low, high, range(j, 2 * lanes, 2)) for j in range(2)]
        return [self.load_strided(self.offset(address, I64(j)), step, count) for j in range(step)]

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

    def loop(
        self, count: Value, carried: list[Value], body: Callable[..., list[Value]]
    ) -> list[Value]:
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


def own_function(
    builder: ir.IRBuilder, name: str, arguments: int, body: Callable[..., Any]
) -> ir.Function:
    """The kernel's own function `name` of int64 arguments, compiled once, never inlined.

    Keeping the large bodies out of line is what keeps compile time and code size proportional to
    the number of tile shapes, not to the number of call sites.
    """
    module = builder.module
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * arguments), name)
    function.linkage = "linkonce_odr"  # helpers of one kernel share it
    function.attributes.add("noinline")
    inner = ir.IRBuilder(function.append_basic_block("entry"))
    body(inner, *function.args)
    inner.ret_void()
    return function


def by_height(
    builder: ir.IRBuilder, count: Value, heights: Iterable[int], body: Callable[[int], None]
) -> None:
    """`body(count)`, emitted for each of `heights`: `count` chooses when the kernel runs. Fewer
    bodies compile in less time."""
    done = builder.append_basic_block("end")
    switch = builder.switch(count, done)
    for height in heights:
        block = builder.append_basic_block(f"rows{height}")
        switch.add_case(I64(height), block)
        builder.position_at_end(block)
        body(height)
        builder.branch(done)
    builder.position_at_end(done)


def vector_function(
    name: str, dtype: str, lanes: int, arguments: int, body: Callable[..., Any]
) -> Any:
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
