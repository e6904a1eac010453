"""Checks in the graph: what they hand on, and what they refuse."""

from __future__ import annotations

from symgraph import tensor as T
from symgraph.ops.assertion import Assert, Raise, Require
from tests.zoo.case import Case, Failure, In
from tests.zoo.shape import called

V = In((4,))
FOUR = [1.0, 2.0, 3.0, 4.0]
POSITIVE = Require("roots", ("not above 0", "too large"), "positive numbers")

CASES: list[Case] = [
    Case("assert", lambda x: Assert("few")(x, x.size < 5, T.gt(x.sum(), -9)) * 2, (V,),
         lambda x: 2 * x, dtype="float64"),
    Case("assert-bare", Assert(), (In((2, 1), "int8", broadcastable=(False, True)),),
         lambda x: x, (), "int8", (False, True)),
    Case("require", lambda x: POSITIVE(x, T.gt(x, 0), T.lt(x.sum(keepdims=True), 99)) * 2,
         (In((4,), low=1.0, high=2.0),), lambda x: 2 * x, dtype="float64"),
]  # fmt: skip

FAILURES: list[Failure] = [
    Failure("assert-false", called(lambda x: Assert("few")(x, x.size < 5, x.size > 8), FOUR),
            AssertionError, ("few", "condition 1", "is false", "where")),
    Failure("assert-vector", lambda: Assert()(T.dvector("x"), T.dvector("c")),
            TypeError, ("a condition is not a scalar", "tensor.all")),
    Failure("require-each", called(lambda x: POSITIVE(x, x > 1.0, x < 9.0), FOUR),
            ValueError, ("roots: not above 0", "where", "positive numbers")),
    Failure("require-all",
            called(lambda x: POSITIVE(x, x > 0.0, T.lt(x.sum(keepdims=True), 9)), FOUR),
            ValueError, ("roots: too large",)),
    Failure("require-axes", lambda: POSITIVE(T.dvector("x"), T.dscalar() > 0, T.dscalar() > 1),
            TypeError, ("boolean condition",)),
    Failure("raise", called(Raise("no such thing", KeyError), FOUR),
            KeyError, ("no such thing", "where")),
]  # fmt: skip
