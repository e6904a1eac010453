"""`ifelse`: one of two branches, of which only the chosen one is computed."""

from __future__ import annotations

from typing import Any

from symgraph.errors import explain
from symgraph.graph import Variable
from symgraph.ops.choice import IfElse
from symgraph.variable import as_tensor_variable

__all__ = ["IfElse", "ifelse"]


def ifelse(condition: Any, then_branch: Any, else_branch: Any, name: str | None = None) -> Any:
    """`then_branch` where the scalar `condition` is not 0, else `else_branch`.

    A branch is a variable, a list or a tuple; the result has the form of `then_branch`. What only
    the other branch needs is not computed. Values that go together have the same dtype, number of
    axes and broadcast pattern, sizes may differ. The condition is a 0-d tensor of any dtype or a
    number (NaN counts as true); the gradient by it is zero, that by the branch not taken too.

    Raises TypeError for types that differ and for a condition with axes, ValueError for branches
    that are not equally long. Source: Theano, `theano.ifelse.ifelse`.
    """
    branches = [
        [x if isinstance(x, Variable) else as_tensor_variable(x) for x in branch]
        for branch in (
            b if isinstance(b, (list, tuple)) else [b] for b in (then_branch, else_branch)
        )
    ]
    if len(branches[0]) != len(branches[1]):
        raise ValueError(
            explain("ifelse", "The number of values on the `then` branch should be that on the "
                    "`else` branch", got=f"variables on `then` {len(branches[0])}, "
                    f"variables on `else` {len(branches[1])}", expected="as many")
        )  # fmt: skip
    results = (
        IfElse(len(branches[0]), name).make_node(condition, *branches[0], *branches[1]).outputs
    )
    if not isinstance(then_branch, (list, tuple)):
        return results[0]
    return tuple(results) if isinstance(then_branch, tuple) else list(results)
