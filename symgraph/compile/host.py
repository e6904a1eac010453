"""Host expressions as Python code: sizes, strides and offsets of one call.

The code is straight-line and reads sizes from the arrays of the call, `a[3].shape[1]`; it runs when
the sizes differ from those of all recent calls, and takes microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from symgraph import expr as E
from symgraph.expr import Const, Dim, Expr, Item
from symgraph.graph import Variable


def leaves(exprs: Iterable[Expr]) -> list[Expr]:
    """The sizes and integers that `exprs` depend on."""
    return [e for e in E.walk(exprs) if type(e) in (Dim, Item)]


def _leaf(leaf: Expr, arrays: Mapping[Variable, str]) -> str:
    variable, position = leaf.head
    array = arrays[variable]
    if type(leaf) is Dim:
        return f"{array}.shape[{position}]"
    if variable.type.ndim == 0:
        return f"int({array})"
    # where there is no such element, a check says so: the size is not asked for again
    return f"(int({array}.flat[{position}]) if {array}.size > {position} else 0)"


def print_host(
    exprs: Sequence[Expr], arrays: Mapping[Variable, str]
) -> tuple[list[str], list[str]]:
    """Assignments that compute `exprs`, and what their values are called then.

    `arrays` are the names of the arrays that sizes and integers are read from.
    """
    names: dict[Expr, str] = {}
    lines = []
    for expr in E.walk(exprs):
        if type(expr) is Const:
            names[expr] = repr(expr.value)
            continue
        names[expr] = f"t{len(names)}"
        if type(expr) in (Dim, Item):
            text = _leaf(expr, arrays)
        else:
            text = E.format_call(expr, [names[a] for a in expr.args])
        lines.append(f"{names[expr]} = {text}")
    return lines, [names[e] for e in exprs]


def compile_host(exprs: Sequence[Expr], sources: Mapping[Variable, int]) -> Callable[[Any], Any]:
    """A function from the list of source arrays to the tuple of the values of `exprs`."""
    lines, results = print_host(exprs, {v: f"a[{k}]" for v, k in sources.items()})
    text = "\n    ".join(["def host(a):", *lines, f"return ({', '.join([*results, ''])})"])
    namespace: dict[str, Any] = {}
    exec(compile(text.replace("(, )", "()"), "<symgraph sizes>", "exec"), namespace)
    function: Callable[[Any], Any] = namespace["host"]
    return function


def decided(exprs: Iterable[Expr], given: Collection[Expr]) -> dict[Expr, bool]:
    """For all subexpressions, whether the shapes of arrays and the values of `given` decide them.

    Those of `given` count as decided when what they are computed from is.
    """
    known: dict[Expr, bool] = {}
    for e in E.walk(exprs):
        known[e] = type(e) is not Item and all(a in given or known[a] for a in e.args)
    return known
