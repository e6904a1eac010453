"""What only old code calls: `theano._asarray` and `theano.Param`."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.compile.inputs import In
from symgraph.deprecation import former
from symgraph.types import check_dtype


def _asarray(a: Any, dtype: Any, order: Any = None) -> np.ndarray:
    """`numpy.asarray(a, dtype)`; `dtype` may be 'floatX'. TypeError for an unknown dtype."""
    return np.asarray(a, dtype=check_dtype(dtype), order=order)


def Param(
    variable: Any,
    default: Any = None,
    name: str | None = None,
    mutable: bool = False,
    strict: bool = False,
    allow_downcast: bool | None = None,
    implicit: bool | None = None,
    borrow: bool | None = None,
) -> In:
    """`In(variable, value=default, ...)`, as Theano 0.7 spelt it."""
    former("Param", "Param(x, default=1)", "In(x, value=1)", "form")
    return In(
        variable, name=name, value=default, mutable=mutable, strict=strict,
        allow_downcast=allow_downcast, implicit=implicit, borrow=borrow,
    )  # fmt: skip
