"""Which variable was the first to be no longer finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import symgraph


def first_not_finite(variables: Mapping[str, Any]) -> str | None:
    """The name of the first shared variable of floats that holds NaN or infinity; None if none."""
    for name, variable in variables.items():
        value = np.asarray(variable.get_value(borrow=True))
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return name
    return None


def blame(
    variables: Mapping[str, Any],
    watched: Mapping[str, Any],
    index: Any,
    givens: Mapping[Any, Any],
) -> Callable[[int], str | None]:
    """A function that says, of minibatch `index`, what is the first that is not finite.

    It looks at shared `variables`, then computes the expressions `watched`, in their order, with
    the random numbers that the next step would get; nothing is compiled before it is called, and
    nothing changes.
    """

    def first(i: int) -> str | None:
        if name := first_not_finite(variables):
            return name
        compute = symgraph.function(
            [index], list(watched.values()), givens=givens, no_default_updates=True, name="blame"
        )
        for name, value in zip(watched, compute(i), strict=True):
            if not np.isfinite(value).all():
                return name
        return None

    return first
