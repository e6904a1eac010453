"""Sizes of everything in a graph, as host expressions, and the checks they are subject to.

The leaves are the sizes of what comes from outside (inputs, shared variables, results of Python
steps whose size nobody can foretell) and the values of integers that the host can read.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph import expr as E
from symgraph.compile.host import leaves
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Constant, Shape, Variable
from symgraph.types import DISCRETE, TensorType


class Sizes:
    """Implements `graph.Context` for the nodes of one function, given in topological order.

    Sizes that a check requires to be equal are made the same expression, so that kernels see one
    extent where the user wrote two arrays. `checks` keeps the conditions in terms of the leaves.
    """

    def __init__(self, nodes: Sequence[Apply]) -> None:
        self._same: dict[Expr, Expr] = {}
        self._nodes = nodes
        self._place = {node: k for k, node in enumerate(nodes)}
        self.checks: list[tuple[Apply, Check]] = []
        self.unsized: set[Variable] = set()  # results whose size only their step can tell
        self._infer(collect=True)
        if self._same:
            self._infer(collect=False)

    def _infer(self, collect: bool) -> None:
        self._shapes: dict[Variable, Shape] = {}
        self._values: dict[tuple[Variable, int], Expr] = {}
        for node in self._nodes:
            shapes = node.op.infer_shape(node, self)
            for output, shape in zip(node.outputs, shapes, strict=True):
                if shape is None:
                    self.unsized.add(output)
                else:
                    self._shapes[output] = tuple(map(E.as_expr, shape))
            output = node.outputs[0]
            kind = output.type
            if isinstance(kind, TensorType) and kind.ndim == 0 and kind.dtype in DISCRETE:
                self.value(output)
            if collect:
                for check in node.op.shape_checks(node, self):
                    if not (type(check.holds) is E.Const and check.holds.value):
                        self.checks.append((node, check))
                        self._unify(check.holds)

    def _unify(self, holds: Expr) -> None:
        """Remember which of two sizes that must be equal stands for both."""
        pair = E.equal_sizes(holds)
        if pair is None:
            return
        a, b = (self._find(x) for x in pair)
        if a is b:
            return
        if type(a) is E.Dim and (type(b) is not E.Dim) and self._known(b) <= self._known(a):
            self._same[a] = b
        elif type(b) is E.Dim and self._known(a) <= self._known(b):
            self._same[b] = a
        elif type(a) is E.Dim and self._known(b) <= self._known(a):
            self._same[a] = b

    def _known(self, size: Expr) -> int:
        """The place of the node after which a size is known; -1 for those of inputs."""
        owners = [leaf.head[0].owner for leaf in leaves([size])]
        return max((self._place.get(owner, -1) for owner in owners), default=-1)

    def _find(self, size: Expr) -> Expr:
        while size in self._same:
            size = self._same[size]
        return size

    def shape(self, variable: Variable) -> Shape:
        """The sizes along each axis."""
        found = self._shapes.get(variable)
        if found is None:
            if isinstance(variable, Constant):
                found = tuple(E.const(n) for n in variable.data.shape)
            else:
                axes = range(variable.type.ndim)
                found = tuple(self._find(E.dim(variable, axis)) for axis in axes)
            self._shapes[variable] = found
        return found

    def value(self, variable: Variable, position: int = 0) -> Expr:
        """Element `position` (flat) of an integer variable; read from memory if need be."""
        key = (variable, position)
        found = self._values.get(key)
        if found is None:
            if isinstance(variable, Constant):
                found = E.const(variable.data.reshape(-1)[position])
            elif variable.owner is not None:
                found = variable.owner.op.host_value(variable.owner, position, self)
            found = self._values[key] = E.item(variable, position) if found is None else found
        return found
