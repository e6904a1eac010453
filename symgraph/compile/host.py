"""Host expressions as Python code: sizes, strides and offsets of one call.

The code is straight-line and reads sizes from a list of arrays, `a[3].shape[1]`; it runs when the
sizes differ from those of all recent calls, and takes microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from symgraph import expr as E
from symgraph.expr import Const, Dim, Expr, Item
from symgraph.graph import Variable


def leaves(exprs: Iterable[Expr]) -> list[Expr]:
    """The sizes and integers that `exprs` depend on."""
    return [e for e in E.walk(exprs) if type(e) in (Dim, Item)]


def _leaf(leaf: Expr, sources: Mapping[Variable, int]) -> str:
    variable, position = leaf.head
    array = f"a[{sources[variable]}]"
    if type(leaf) is Dim:
        return f"{array}.shape[{position}]"
    if variable.type.ndim == 0:
        return f"int({array})"
    return f"int({array}.flat[{position}])"


def _lines(exprs: Sequence[Expr], sources: Mapping[Variable, int]) -> tuple[list[str], list[str]]:
    names: dict[Expr, str] = {}
    lines = []
    for expr in E.walk(exprs):
        if type(expr) is Const:
            names[expr] = repr(expr.value)
            continue
        names[expr] = f"t{len(names)}"
        if type(expr) in (Dim, Item):
            text = _leaf(expr, sources)
        else:
            text = E.format_call(expr, [names[a] for a in expr.args])
        lines.append(f"    {names[expr]} = {text}")
    return lines, [names[e] for e in exprs]


def compile_host(exprs: Sequence[Expr], sources: Mapping[Variable, int]) -> Callable[[Any], Any]:
    """A function from the list of source arrays to the tuple of the values of `exprs`."""
    lines, results = _lines(exprs, sources)
    text = "\n".join(["def host(a):", *lines, f"    return ({', '.join([*results, ''])})"])
    return _define(text)


def compile_key(found: Iterable[Expr], sources: Mapping[Variable, int]) -> Callable[[Any], Any]:
    """A function from the source arrays to what decides the values of the leaves `found`."""
    parts: list[str] = []
    for leaf in found:
        variable = leaf.head[0]
        text = f"a[{sources[variable]}].shape" if type(leaf) is Dim else _leaf(leaf, sources)
        if text not in parts:
            parts.append(text)
    return _define(
        f"def host(a):\n    return ({', '.join([*parts, ''])})"
        if parts
        else "def host(a):\n    return ()"
    )


def _define(text: str) -> Callable[[Any], Any]:
    namespace: dict[str, Any] = {}
    exec(compile(text, "<symgraph sizes>", "exec"), namespace)
    function: Callable[[Any], Any] = namespace["host"]
    return function
