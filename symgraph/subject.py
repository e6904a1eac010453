"""What there is to see in an object: its outputs, its updates and, if compiled, its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from symgraph.graph import Apply, Op, Variable, toposort


@dataclass(frozen=True)
class Placement:
    """Where things are in a function of a device: nodes that run on the host, inputs that are
    copied to the device, shared variables that are there, positions of outputs that stay there."""

    host: frozenset[Apply] = frozenset()
    fed: frozenset[Variable] = frozenset()
    shared: frozenset[Variable] = frozenset()
    stays: frozenset[int] = frozenset()

    def joined(self, other: Placement, outputs: int) -> Placement:
        """Both; before the outputs of `other` there are as many as `outputs`."""
        return Placement(
            self.host | other.host, self.fed | other.fed, self.shared | other.shared,
            self.stays | {outputs + k for k in other.stays},
        )  # fmt: skip


@dataclass
class Subject:
    """A graph to print or draw.

    `updates` maps shared variables to their next values; `unseen` are positions of `outputs` that
    are these alone, and are not given to who calls. `inputs` are the declared ones (empty for plain
    expressions); `kernels` have `name`, `nodes`, `source` and `doc`; `order` holds the nodes in
    order of execution; `placement` is None but for functions of a device.
    """

    outputs: list[Variable]
    inputs: list[Variable] = field(default_factory=list)
    updates: dict[Variable, Variable] = field(default_factory=dict)
    unseen: set[int] = field(default_factory=set)
    kernels: Sequence[Any] = ()
    order: list[Apply] = field(default_factory=list)
    name: str = ""
    is_compiled: bool = False
    placement: Placement | None = None


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
        start, count = len(into.outputs), len(graph.outputs)
        into.unseen.update(range(start + getattr(graph, "returned", count), start + count))
        placement = getattr(graph, "placement", None)
        if placement is not None:
            before = into.placement or Placement()
            into.placement = before.joined(placement, start)
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
