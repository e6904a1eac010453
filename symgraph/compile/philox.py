"""Random numbers that kernels draw: `philox_uniform32(key, calls, index)` and its kin.

The formulas are those of `symgraph.ops.philox`, over `mathlib.Value`, whose arithmetic no flag of a
kernel reaches: the same bits in every kernel. Branch-free.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# (what Numba and llvmlite do not type)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from symgraph.compile.mathlib import Value
from symgraph.ops.philox import Field, normal, uniform, words

I32, I64 = ir.IntType(32), ir.IntType(64)


def _single(i: Value) -> Value:
    """An integer of 32 bits, whatever its type, as float32: few machines convert wider ones."""
    narrow = i.ir if i.ir.type == I32 else i.builder.trunc(i.ir, I32)
    return i._new(i.builder.sitofp(narrow, ir.FloatType()))


def _where(condition: Value, a: Value, b: Value) -> Value:
    return condition.where(a, b)


SINGLE = Field(_single, Value.bits, Value.as_float, Value.sqrt, _where)
DOUBLE = Field(Value.to_float, Value.bits, Value.as_float, Value.sqrt, _where)


def _drawn(name: str, formula: Callable[..., Value], dtype: str) -> Any:
    field = DOUBLE if dtype == "float64" else SINGLE
    result = types.float64 if dtype == "float64" else types.float32

    def typer(typingctx, key, calls, index):
        kinds = [types.unliteral(x) for x in (key, calls, index)]
        if not all(isinstance(kind, types.Integer) for kind in kinds):
            return None

        def emit(context, builder, signature, args):
            wide = [
                Value(builder, context.cast(builder, value, source, types.int64))
                for value, source in zip(args, signature.args, strict=True)
            ]
            return formula(field, dtype, words(*wide)).ir

        return result(*kinds), emit

    typer.__name__ = typer.__qualname__ = name
    return intrinsic(typer)


VOCABULARY: dict[str, Any] = {
    f"philox_{formula.__name__}{bits}": _drawn(
        f"philox_{formula.__name__}{bits}", formula, f"float{bits}"
    )
    for formula in (uniform, normal)
    for bits in (16, 32, 64)
}
