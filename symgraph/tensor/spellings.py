"""Small functions and constants of `theano.tensor` that say in other words what is elsewhere.

Source: Theano, tensor/basic.py.
"""

from __future__ import annotations

from typing import Any

from symgraph.configuration import config
from symgraph.deprecation import former
from symgraph.errors import NotConstantError, explain
from symgraph.ops.alloc import arange
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.elementwise import cast, int_div, mod, neq, pow, round, true_div
from symgraph.ops.methods import get_scalar_constant_value
from symgraph.ops.shape import shape_padleft
from symgraph.ops.sort import argsort
from symgraph.types import DISCRETE, INTEGERS, upcast
from symgraph.variable import as_tensor_variable

int_dtypes = ["int8", "int16", "int32", "int64"]
uint_dtypes = ["uint8", "uint16", "uint32", "uint64"]
float_dtypes = ["float16", "float32", "float64"]
complex_dtypes: list[str] = []
integer_dtypes = int_dtypes + uint_dtypes
discrete_dtypes = ["bool", *integer_dtypes]
continuous_dtypes = float_dtypes
all_dtypes = discrete_dtypes + continuous_dtypes

power = pow
mod_check = mod
NotScalarConstantError = NotConstantError


def divmod(x: Any, y: Any) -> tuple[Any, Any]:
    """`x // y` and `x % y`."""
    return int_div(x, y), mod(x, y)


def ceil_intdiv(a: Any, b: Any) -> Any:
    """`a / b` of integers, rounded up, in the wider of their dtypes."""
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    return cast(int_div(a, b) + neq(mod(a, b), 0), upcast(a.dtype, b.dtype))


def div_proxy(x: Any, y: Any) -> Any:
    """Python 2's `x / y`: true division, but of two integers what `config.int_division` says.

    'int': whole numbers, 'floatX': true division in floatX, 'raise': a TypeError.
    """
    x, y = as_tensor_variable(x), as_tensor_variable(y)
    if not {x.dtype, y.dtype} <= DISCRETE:
        return true_div(x, y)
    if config.int_division == "raise":
        raise TypeError(
            explain("div_proxy", "two integers are divided", got=describe([x, y]),
                    cure="use // or true_div, or config.int_division = 'int' or 'floatX'")
        )  # fmt: skip
    return int_div(x, y) if config.int_division == "int" else true_div(x, y)


def round_half_to_even(a: Any) -> Any:
    """`round` with mode "half_to_even"."""
    return round(a, "half_to_even")


def round_half_away_from_zero(a: Any) -> Any:
    """`round` with mode "half_away_from_zero"."""
    return round(a, "half_away_from_zero")


def extract_constant(x: Any, elemwise: bool = True, only_process_constants: bool = False) -> Any:
    """The value of the scalar `x` as a 0-d array if it follows from constants alone, else `x`.

    `elemwise` and `only_process_constants` are accepted and mean nothing here.
    """
    try:
        return get_scalar_constant_value(x)
    except NotConstantError:
        return x


def is_flat(var: Any, ndim: int | None = None, outdim: int | None = None) -> bool:
    """Whether `var` has `ndim` axes (1 by default), so that `flatten(var, ndim)` would be `var`."""
    if outdim is not None:
        former("is_flat", "outdim", "ndim")
        ndim = outdim
    return bool(var.ndim == (1 if ndim is None else ndim))


def transfer(var: Any, target: str) -> Any:
    """`var.transfer(target)`: the variable on a device, 'cuda' or 'cpu'."""
    x: Any = as_tensor_variable(var)
    return x.transfer(target)


def tensor_from_scalar(s: Any) -> Any:
    """`s` itself: scalars are tensors without axes here."""
    return as_tensor_variable(s)


def scalar_from_tensor(t: Any) -> Any:
    """`t` itself, which has no axes: scalars are tensors here. TypeError if it has some."""
    t = as_tensor_variable(t)
    if t.ndim:
        raise TypeError(explain("scalar_from_tensor", "takes a 0-d tensor", got=describe([t])))
    return t


def inverse_permutation(perm: Any) -> Any:
    """The permutations that undo those in the rows (along the last axis) of `perm`, integers."""
    perm = as_tensor_variable(perm)
    return cast(argsort(perm, axis=-1), perm.dtype)


def _along(axis: int, ndim: int) -> list[Any]:
    """The dimshuffle pattern that puts a vector along `axis` of `ndim`."""
    return ["x"] * axis + [0] + ["x"] * (ndim - 1 - axis)


def permute_row_elements(x: Any, y: Any, inverse: int = 0) -> Any:
    """`x` with the elements along its last axis in the order of the permutations `y`.

    `y`: integers, one permutation for all rows of `x`, or one for each; their leading axes
    broadcast where they are declared broadcastable. With `inverse`, the permutations are undone.
    TypeError for permutations that are not integers.
    """
    x, y = as_tensor_variable(x), as_tensor_variable(y)
    if y.dtype not in INTEGERS or not x.ndim or not y.ndim:
        raise TypeError(
            explain("permute_row_elements", "takes a tensor and permutations",
                    got=describe([x, y]), expected="at least one axis each, integers in y")
        )  # fmt: skip
    y = inverse_permutation(y) if inverse else y
    ndim = max(x.ndim, y.ndim)
    x, y = shape_padleft(x, ndim - x.ndim), shape_padleft(y, ndim - y.ndim)
    rows: list[Any] = [
        0 if x.broadcastable[k] else dimshuffle(arange(x.shape[k]), _along(k, ndim))
        for k in range(ndim - 1)
    ]
    return x[(*rows, y)]


__all__ = [
    "NotScalarConstantError", "all_dtypes", "ceil_intdiv", "complex_dtypes", "continuous_dtypes",
    "discrete_dtypes", "div_proxy", "divmod", "extract_constant", "float_dtypes", "int_dtypes",
    "integer_dtypes", "inverse_permutation", "is_flat", "mod_check", "permute_row_elements",
    "power", "round_half_away_from_zero", "round_half_to_even", "scalar_from_tensor",
    "tensor_from_scalar", "transfer", "uint_dtypes",
]  # fmt: skip
