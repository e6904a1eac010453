"""Penalties on the size of weights, to be added to a cost: `cost + 1e-4 * l2(weights)`.

Source: deeplearning.net tutorial "mlp".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from lenet.errors import RunError
from symgraph import tensor as T


def l1(params: Sequence[Any]) -> Any:
    """The sum of |w| over all elements of all `params`, a scalar; RunError if there are none."""
    return _total("l1", [T.sum(abs(p)) for p in params])


def l2(params: Sequence[Any]) -> Any:
    """The sum of w**2 over all elements of all `params`, a scalar; RunError if there are none."""
    return _total("l2", [T.sum(T.sqr(p)) for p in params])


def _total(name: str, terms: list[Any]) -> Any:
    if not terms:
        raise RunError(name, "no parameters", "at least one", "leave the penalty out")
    return reduce(add, terms)
