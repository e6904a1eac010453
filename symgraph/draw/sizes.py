"""The sizes that can be told without calling anything, for labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from symgraph import expr as E
from symgraph.graph import Apply, Constant, Shape, Variable, is_tensor
from symgraph.sharedvalue import SharedVariable


class KnownSizes:
    """Implements `graph.Context` for some nodes of a graph, given in topological order.

    Other variables are leaves. Shared variables have the sizes of their present values. An op
    whose `infer_shape` fails leaves its outputs' sizes unknown: that an op is broken or unfinished
    may be why its graph is drawn.
    """

    def __init__(self, nodes: Iterable[Apply]) -> None:
        self._shapes: dict[Variable, Shape] = {}
        self._values: dict[tuple[Variable, int], E.Expr] = {}
        self._known: set[Apply] = set()
        for node in nodes:
            try:
                inferred = list(node.op.infer_shape(node, self))
            except Exception:
                inferred = []
            for variable, shape in zip(node.outputs, inferred, strict=False):
                if shape is not None and len(shape) == variable.type.ndim:
                    self._shapes[variable] = tuple(map(E.as_expr, shape))
            self._known.add(node)

    def shape(self, variable: Variable) -> Shape:
        """The sizes along each axis; () for what is no tensor."""
        found = self._shapes.get(variable)
        if found is None:
            if not is_tensor(variable):
                return ()
            if isinstance(variable, Constant):
                found = tuple(E.const(size) for size in variable.data.shape)
            elif isinstance(variable, SharedVariable):
                found = tuple(E.const(size) for size in variable.container.value.shape)
            else:
                found = tuple(E.dim(variable, axis) for axis in range(variable.type.ndim))
            self._shapes[variable] = found
        return found

    def value(self, variable: Variable, position: int = 0) -> E.Expr:
        """Element `position` of an integer variable."""
        key = (variable, position)
        found = self._values.get(key)
        if found is None:
            node = variable.owner
            if isinstance(variable, Constant):
                found = E.const(variable.data.reshape(-1)[position])
            elif node is not None and node in self._known:
                found = node.op.host_value(node, position, self)
            found = self._values[key] = E.item(variable, position) if found is None else found
        return found

    def text(self, variable: Any) -> str:
        """`float32 (?, 20, 12, 12)`: the dtype, and the sizes as far as they are known."""
        if not is_tensor(variable):
            return str(variable.type)
        sizes = [str(s.value) if isinstance(s, E.Const) else "?" for s in self.shape(variable)]
        if not sizes:
            return str(variable.type.dtype)
        return f"{variable.type.dtype} ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
