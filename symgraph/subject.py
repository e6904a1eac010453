"""What there is to see in an object: its outputs, its updates and, if compiled, its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from symgraph.graph import Apply, Op, Variable, toposort


@dataclass
class Subject:
    """A graph to print or draw.

    `updates` maps shared variables to their next values, which `outputs` do not list; `inputs`
    are the declared ones (empty for plain expressions); `kernels` have `name`, `nodes`, `source`
    and `doc`; `order` holds the nodes in order of execution.
    """

    outputs: list[Variable]
    inputs: list[Variable] = field(default_factory=list)
    updates: dict[Variable, Variable] = field(default_factory=dict)
    kernels: Sequence[Any] = ()
    order: list[Apply] = field(default_factory=list)
    name: str = ""
    is_compiled: bool = False


def subject_of(x: Any) -> Subject:
    """The graph behind `x`: a variable, a node, a compiled function or a list of these.

    A function's graph is the rewritten one. Raises TypeError for anything else.
    """
    found = Subject([])
    _collect(x, found)
    roots = [*found.outputs, *found.updates.values()]
    if not found.order:
        found.order = toposort(roots)
    return found


def _collect(x: Any, into: Subject) -> None:
    if isinstance(x, Variable):
        into.outputs.append(x)
    elif isinstance(x, Apply):
        into.outputs.extend(x.outputs)
    elif isinstance(x, (list, tuple, set, frozenset)):
        for item in x:
            _collect(item, into)
    else:
        graph = x.maker.fgraph if hasattr(x, "maker") else x
        if not (hasattr(graph, "toposort") and hasattr(graph, "outputs")):
            raise TypeError(
                f"{x!r} holds no graph: give a variable, a node, a compiled function or a list "
                f"of these, not {type(x).__name__}"
            )
        updates = dict(getattr(graph, "updates", {}))
        into.outputs.extend(graph.outputs)
        into.inputs.extend(graph.inputs)
        into.updates.update(updates)
        into.order.extend(graph.toposort())
        into.name = getattr(x, "name", None) or into.name
        into.kernels = [*into.kernels, *(x.kernels() if hasattr(x, "kernels") else ())]
        into.is_compiled = True


def op_name(op: Op) -> str:
    """The short name by which expressions and pictures call `op`.

    Ops carry it: `pp_name` or `name` of `op.scalar_op`, else `pp_name` of the op itself, else the
    name of its class.
    """
    row = getattr(op, "scalar_op", None)
    if row is not None:
        return str(getattr(row, "pp_name", None) or row)
    return str(getattr(op, "pp_name", None) or type(op).__name__)
