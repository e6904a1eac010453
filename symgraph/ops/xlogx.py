"""x log(x) and x log(y) with the value 0 at x = 0, as entropies want it.

Source: Theano, tensor/xlogx.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.ops.core import Elemwise, ScalarOp
from symgraph.ops.elementwise import log
from symgraph.types import float_of, upcast


def _floating(*dtypes: str) -> str:
    return float_of(upcast(*dtypes))


def _xlogx(x: Any) -> Any:
    return np.where(x == 0, x, x * np.log(x))


def _xlogy0(x: Any, y: Any) -> Any:
    return np.where(x == 0, x, x * np.log(y))


XLOGX = ScalarOp("xlogx", 1, _floating, _xlogx, "select({0} == 0, {0}, {0} * log({0}))",
                 lambda g, out, x: (g * (1 + log(x)),), cost=22)  # fmt: skip
XLOGY0 = ScalarOp("xlogy0", 2, _floating, _xlogy0, "select({0} == 0, {0}, {0} * log({1}))",
                  lambda g, out, x, y: (g * log(y), g * x / y), cost=22)  # fmt: skip


def xlogx(x: Any) -> Any:
    """x * log(x), elementwise; 0 where x is 0, where the gradient is -inf."""
    return Elemwise(XLOGX)(x)


def xlogy0(x: Any, y: Any) -> Any:
    """x * log(y), elementwise with broadcasting; 0 where x is 0, whatever y is."""
    return Elemwise(XLOGY0)(x, y)
