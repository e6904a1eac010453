"""The functions of floats as kernels call them: our own, and LLVM's instructions."""

# mypy: allow-untyped-defs, allow-untyped-calls
# (what Numba and llvmlite do not type)

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from symgraph.compile import arcs, errorfunction, gammafunction, mathlib, special, trigonometry
from symgraph.compile.mathlib import Value


def as_intrinsic(typer: Callable[..., Any], function: Callable[..., Any], skip: int = 0) -> Any:
    """`typer` as a Numba intrinsic with the name and the parameters (but `skip`) of `function`."""
    typer.__name__ = typer.__qualname__ = function.__name__
    typer.__doc__ = function.__doc__
    parameters = [inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += list(inspect.signature(function).parameters.values())[skip:]
    typer.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(typer)


def elementwise(function: Callable[..., Value], *, in_float64: bool = False) -> Any:
    """`function` over Values as a Numba intrinsic of floats, returning the arguments' type.

    Arguments of two types meet in the wider one; an integer is a typing error. `in_float64`
    computes a float32 in float64 and rounds.
    """

    def typer(typingctx, *arguments):
        result = typingctx.unify_types(*arguments)
        if not isinstance(result, types.Float):
            return None
        widen = in_float64 and result != types.float64

        def emit(context, builder, signature, values):
            kind = types.float64 if widen else result
            cast = [
                Value(builder, context.cast(builder, value, source, kind))
                for value, source in zip(values, signature.args, strict=True)
            ]
            value = function(*cast)
            return (value.narrow() if widen else value).ir

        return result(*arguments), emit

    return as_intrinsic(typer, function)


def _instruction(name: str, callee: str) -> Callable[..., Value]:
    def function(x: Value) -> Value:
        return x.call(callee)

    function.__name__ = name
    return function


_CALLED = {
    "sqrt": "llvm.sqrt", "floor": "llvm.floor", "ceil": "llvm.ceil", "trunc": "llvm.trunc",
    "rint": "llvm.roundeven", "round_half_away_from_zero": "llvm.round",
}  # fmt: skip
"""Functions that LLVM turns into instructions."""

_OURS = (
    mathlib.exp, mathlib.exp2, mathlib.expm1, mathlib.log, mathlib.log2, mathlib.log10,
    mathlib.log1p, mathlib.tanh, mathlib.sigmoid, mathlib.softplus, mathlib.sinh, mathlib.cosh,
    trigonometry.sin, trigonometry.cos, trigonometry.tan, arcs.arcsin, arcs.arccos, arcs.arctan,
    arcs.arctan2, arcs.arcsinh, arcs.arccosh, arcs.arctanh, errorfunction.erf, errorfunction.erfc,
    gammafunction.gamma, gammafunction.gammaln,
)  # fmt: skip


def affine(x: Value, scale: Value, shift: Value) -> Value:
    """x * scale + shift, each rounded, in every kernel: samples must not depend on fusion."""
    return x * scale + shift


_SPECIAL = (special.psi, special.tri_gamma, special.erfinv, special.erfcinv)

VOCABULARY: dict[str, Any] = {
    **{function.__name__: elementwise(function) for function in (*_OURS, affine)},
    **{name: elementwise(_instruction(name, callee)) for name, callee in _CALLED.items()},
    **{function.__name__: elementwise(function, in_float64=True) for function in _SPECIAL},
}
