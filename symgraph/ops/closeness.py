"""Equality within a tolerance.

Source: Theano, tensor/basic.py (isclose, allclose); NumPy.
"""

from __future__ import annotations

from typing import Any

from symgraph.ops.elementwise import (
    abs_,
    and_,
    eq,
    invert,
    isinf,
    isnan,
    le,
    or_,
)
from symgraph.ops.reduce import all
from symgraph.variable import as_tensor_variable

__all__ = ["allclose", "isclose"]


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |a - b| <= atol + rtol * |b|, elementwise: a bool, not symmetric in a and b.

    Infinities are close to themselves alone, NaNs to NaNs if `equal_nan`.
    Source: Theano, library/tensor/basic, isclose.
    """
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    near = and_(le(abs_(a - b), atol + rtol * abs_(b)), invert(isinf(b)))
    close = or_(near, eq(a, b))
    return or_(close, and_(isnan(a), isnan(b))) if equal_nan else close


def allclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether every element is close, as `isclose` says: a 0-d bool.

    Source: Theano, library/tensor/basic, allclose.
    """
    return all(isclose(a, b, rtol, atol, equal_nan))
