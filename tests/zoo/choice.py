"""Records of ifelse: a scalar condition, two branches of the same type."""

from __future__ import annotations

import numpy as np

import symgraph.tensor as T
from symgraph.ifelse import ifelse
from symgraph.op_from_graph import OpFromGraph
from tests.zoo.case import Case, In

A, B = In((3, 4)), In((3, 4))
LONG, SHORT = In((5,)), In((2,))
X, Y = T.dmatrices("x", "y")
SCALED = OpFromGraph([X, Y], [T.tanh(X) * Y + X])

CASES = [
    Case(
        "ifelse",
        lambda c, x, y: ifelse(c, T.tanh(x) * 2, y + 1),
        (In((), "bool", values=True), A, B),
        lambda c, x, y: np.tanh(x) * 2,
    ),
    Case(
        "ifelse_other_sizes",
        lambda c, x, y: ifelse(c, x[1:] * 2, T.exp(y)),
        (In((), "int8", values=0), LONG, SHORT),
        lambda c, x, y: np.exp(y),
    ),
    Case(
        "ifelse_of_ifelse",
        lambda c, d, x, y: ifelse(c, ifelse(d > 1, x, x * y), y) * x,
        (In((), values=2.0), In((), values=0.5), A, B),
        lambda c, d, x, y: x * y * x,
        (2, 3),
    ),
    Case(
        "ifelse_shared_work",
        lambda c, x, y: ifelse(c, T.exp(x) + y, T.exp(x) * y) + ifelse(c, y, x),
        (In((), values=0.0), A, B),
        lambda c, x, y: np.exp(x) * y + x,
        (1, 2),
    ),
    Case(
        "op_from_graph",
        lambda x, y: SCALED(SCALED(x, y), x),
        (A, B),
        lambda x, y: np.tanh(np.tanh(x) * y + x) * x + np.tanh(x) * y + x,
    ),
]
