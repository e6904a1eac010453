"""Print: the value itself, whatever is done with it on the way."""

from __future__ import annotations

from typing import Any

from symgraph.ops.output import Print
from tests.zoo.case import Case, Failure, In


def silently(op: Print, value: Any) -> None:
    """Prints nothing: the zoo's logs stay short."""


CASES: list[Case] = [
    Case("print", Print("m", global_fn=silently), (In((3, 4)),), lambda x: x, dtype="float64"),
    Case("print-within", lambda x: (Print("m", (), silently)(x * 2) + 1).sum(axis=0),
         (In((3, 4)),), lambda x: (2 * x + 1).sum(0)),
    Case("print-int8", Print("m", ["shape"], silently), (In((3,), "int8"),), lambda x: x, (),
         "int8"),
    Case("print-row", Print(global_fn=silently), (In((1, 4), broadcastable=(True, False)),),
         lambda x: x, pattern=(True, False)),
]  # fmt: skip

FAILURES: list[Failure] = [
    Failure("print-attrs", lambda: Print("m", attrs="shape"), TypeError, ("attrs=['shape']",)),
]
