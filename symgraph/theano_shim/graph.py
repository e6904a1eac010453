"""Walks over graphs under the names of Theano's `theano.gof.graph`.

Orders are Theano's: depth first, the leftmost input first, the last output first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from symgraph.graph import Apply, Constant, Variable, clone_replace, reapply, toposort
from symgraph.types import Type

__all__ = [
    "Apply", "Constant", "Type", "Variable", "ancestors", "clone", "clone_get_equiv",
    "equal_computations", "flatten", "give_variables_names", "inputs", "io_toposort",
    "is_in_ancestors", "is_same_graph", "list_of_nodes", "ops", "orphans", "variables",
    "variables_and_orphans",
]  # fmt: skip


def _search(
    outputs: Iterable[Variable], stop_at: Collection[Variable], siblings: bool
) -> list[Variable]:
    found: dict[Variable, None] = {}
    stop = set(stop_at)
    stack = list(outputs)
    while stack:
        variable = stack.pop()
        if variable in found:
            continue
        found[variable] = None
        node = variable.owner
        if node is not None and variable not in stop:
            stack.extend(reversed([*node.inputs, *(node.outputs if siblings else ())]))
    return list(found)


def ancestors(
    variable_list: Iterable[Variable], blockers: Collection[Variable] | None = None
) -> list[Variable]:
    """What `variable_list` depends on, itself included; nothing above `blockers`."""
    return _search(variable_list, blockers or (), siblings=False)


def inputs(
    variable_list: Iterable[Variable], blockers: Collection[Variable] | None = None
) -> list[Variable]:
    """The variables without owner among `ancestors`: inputs, shared variables and constants."""
    return [v for v in ancestors(variable_list, blockers) if v.owner is None]


def variables_and_orphans(
    i: Collection[Variable], o: Iterable[Variable]
) -> tuple[list[Variable], list[Variable]]:
    """Every variable between `i` and `o`, and those of them without owner that are not in `i`."""
    found = _search(o, i, siblings=True)
    given = set(i)
    return found, [v for v in found if v.owner is None and v not in given]


def variables(i: Collection[Variable], o: Iterable[Variable]) -> list[Variable]:
    """Every variable between `i` and `o`, both included."""
    return variables_and_orphans(i, o)[0]


def orphans(i: Collection[Variable], o: Iterable[Variable]) -> list[Variable]:
    """What `o` depends on beside `i`: variables without owner."""
    return variables_and_orphans(i, o)[1]


def ops(i: Collection[Variable], o: Iterable[Variable]) -> set[Apply]:
    """The nodes (Theano calls them ops here) between `i` and `o`."""
    return set(toposort(o, stop_at=set(i)))


def list_of_nodes(inputs: Collection[Variable], outputs: Iterable[Variable]) -> list[Apply]:
    """The nodes between `inputs` and `outputs`."""
    return toposort(outputs, stop_at=set(inputs))


def io_toposort(inputs: Collection[Variable], outputs: Iterable[Variable]) -> list[Apply]:
    """The nodes between `inputs` and `outputs`, each after those that it needs."""
    return toposort(outputs, stop_at=set(inputs))


def is_in_ancestors(l_node: Apply, f_node: Apply) -> bool:
    """Whether `l_node` needs `f_node`, or is it."""
    return f_node in toposort(l_node.outputs)


def clone(
    i: Sequence[Variable],
    o: Sequence[Variable],
    copy_inputs: bool = True,
    copy_orphans: bool | None = None,
) -> tuple[list[Variable], list[Variable]]:
    """The graph from `i` to `o` again, of new nodes; with new inputs too if `copy_inputs`."""
    table = clone_get_equiv(
        i, o, copy_inputs, copy_inputs if copy_orphans is None else copy_orphans
    )
    return [table[v] for v in i], [table[v] for v in o]


def clone_get_equiv(
    inputs: Sequence[Variable],
    outputs: Sequence[Variable],
    copy_inputs: bool = True,
    copy_orphans: bool = True,
) -> dict[Any, Any]:
    """What stands for each variable and node of the graph in a copy of it."""
    table: dict[Any, Any] = {v: v.clone() if copy_inputs else v for v in inputs}
    for variable in orphans(inputs, outputs):
        table[variable] = variable.clone() if copy_orphans else variable
    for node in toposort(outputs, stop_at=set(inputs)):
        table[node] = reapply(node, [table[v] for v in node.inputs])
        for old, new in zip(node.outputs, table[node].outputs, strict=True):
            table.setdefault(old, new)
    return table


def equal_computations(
    xs: Sequence[Variable],
    ys: Sequence[Variable],
    in_xs: Sequence[Variable] | None = None,
    in_ys: Sequence[Variable] | None = None,
) -> bool:
    """Whether `xs` and `ys` are the same expressions, once each of `in_xs` stands for its partner
    in `in_ys`: the same ops on the same variables, or on equal constants."""
    if len(xs) != len(ys):
        return False
    same = set(zip(in_xs or (), in_ys or (), strict=True))
    stack = list(zip(xs, ys, strict=True))
    while stack:
        x, y = pair = stack.pop()
        if x is y or pair in same:
            continue
        same.add(pair)
        if isinstance(x, Constant) and isinstance(y, Constant):
            if x.signature != y.signature:
                return False
            continue
        a, b = x.owner, y.owner
        if a is None or b is None or x.index != y.index or a.op != b.op or a.nin != b.nin:
            return False
        stack.extend(zip(a.inputs, b.inputs, strict=True))
    return True


def is_same_graph(
    var1: Variable,
    var2: Variable,
    givens: Mapping[Variable, Variable] | None = None,
    debug: bool = False,
) -> bool:
    """Whether two variables are the same expression, once `givens` are applied to both.

    `debug` means nothing here.
    """
    replace = dict(givens or {})
    return equal_computations(clone_replace([var1], replace), clone_replace([var2], replace))


def flatten(a: Any) -> list[Any]:
    """Nested lists, tuples and sets as one list."""
    if not isinstance(a, (list, tuple, set)):
        return [a]
    return [item for part in a for item in flatten(part)]


def give_variables_names(variables: Sequence[Variable]) -> list[str]:
    """Name those of `variables` that have no name, or one that another has; the new names."""
    names = [v.name for v in variables]
    taken = {n for n in names if n is not None}
    seen: set[str] = set()
    fresh = (f"{v.type}_{k}" for k, v in enumerate(variables))
    for variable, spare in zip(variables, fresh, strict=True):
        if variable.name is None or variable.name in seen:
            while spare in taken:
                spare += "_"
            variable.name = spare
        seen.add(variable.name)
    return [str(v.name) for v in variables]
