"""Checks in the graph: what they hand on, and what they refuse."""

from __future__ import annotations

from symgraph import tensor as T
from symgraph.ops.assertion import Assert, Raise
from tests.zoo.case import Case, Failure, In
from tests.zoo.shape import called

V = In((4,))
FOUR = [1.0, 2.0, 3.0, 4.0]

CASES: list[Case] = [
    Case("assert", lambda x: Assert("few")(x, x.size < 5, T.gt(x.sum(), -9)) * 2, (V,),
         lambda x: 2 * x, dtype="float64"),
    Case("assert-bare", Assert(), (In((2, 1), "int8", broadcastable=(False, True)),),
         lambda x: x, (), "int8", (False, True)),
]  # fmt: skip

FAILURES: list[Failure] = [
    Failure("assert-false", called(lambda x: Assert("few")(x, x.size < 5, x.size > 8), FOUR),
            AssertionError, ("few", "condition 1", "is false", "where")),
    Failure("assert-vector", lambda: Assert()(T.dvector("x"), T.dvector("c")),
            TypeError, ("a condition is not a scalar", "tensor.all")),
    Failure("raise", called(Raise("no such thing", KeyError), FOUR),
            KeyError, ("no such thing", "where")),
]  # fmt: skip
