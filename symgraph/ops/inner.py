"""A graph as a value: what ops that hold a program of their own compute with (scan, ifelse, ...).

Its inputs are variables that nobody else uses; all that it depends on are these and constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain, retold
from symgraph.expr import Check, Expr
from symgraph.graph import (
    Apply,
    Constant,
    Shape,
    Variable,
    clone_replace,
    graph_inputs,
    is_tensor,
    toposort,
)
from symgraph.ops.structure import rebroadcast
from symgraph.types import DISCRETE, TensorType, Type

Values = Callable[[int], Expr]
"""From a flat position to the host expression of an integer variable's element there."""


class InnerGraph:
    """`outputs` as a function of `inputs`. Equal graphs are interchangeable: the same ops, wired in
    the same way, of equal types and constants; names do not count.

    ValueError if the outputs depend on anything but the inputs and constants.
    """

    def __init__(self, inputs: Sequence[Variable], outputs: Sequence[Variable]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        known = set(self.inputs)
        if len(known) != len(self.inputs):
            raise ValueError(f"an inner graph has an input twice: {self.inputs}")
        for leaf in graph_inputs(self.outputs, stop_at=known):
            if leaf not in known and not isinstance(leaf, Constant):
                raise ValueError(
                    explain("inner graph", f"{leaf} is neither an input nor a constant",
                            where=leaf.created, expected=f"one of {self.inputs}")
                )  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return InnerGraph, (self.inputs, self.outputs)  # what is cached holds hashes

    @cached_property
    def nodes(self) -> tuple[Apply, ...]:
        """The nodes, each after those that it needs."""
        return tuple(toposort(self.outputs, stop_at=set(self.inputs)))

    # -- equality ---------------------------------------------------------------------------------

    @cached_property
    def _wiring(self) -> tuple[list[Constant], list[tuple[int, ...]], tuple[int, ...]]:
        """Every variable as a number: inputs, then constants, then results of nodes, in order.

        The constants, what each node reads, and the outputs.
        """
        place = {v: k for k, v in enumerate(self.inputs)}
        constants: list[Constant] = []
        for variable in (*(v for node in self.nodes for v in node.inputs), *self.outputs):
            if variable not in place and isinstance(variable, Constant):
                place[variable] = len(place)
                constants.append(variable)
        reads = []
        for node in self.nodes:
            reads.append(tuple(place[v] for v in node.inputs))
            for variable in node.outputs:
                place[variable] = len(place)
        return constants, reads, tuple(place[v] for v in self.outputs)

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        constants, reads, results = self._wiring
        nodes = tuple(
            (node.op, read, tuple(v.type for v in node.outputs))
            for node, read in zip(self.nodes, reads, strict=True)
        )
        kinds = tuple(v.type for v in self.inputs)
        return kinds, tuple(c.signature for c in constants), nodes, results

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, InnerGraph) and self._hash == other._hash and self._key == other._key
        )

    def __repr__(self) -> str:
        return f"<graph of {len(self.nodes)} nodes, {len(self.inputs)} -> {len(self.outputs)}>"

    # -- meaning ----------------------------------------------------------------------------------

    def apply(self, inputs: Sequence[Variable]) -> list[Variable]:
        """The outputs with `inputs` in place of the graph's own."""
        given = zip(self.inputs, inputs, strict=True)
        return clone_replace(self.outputs, {old: fitted(new, old.type) for old, new in given})

    def evaluate(self, arrays: Sequence[Any]) -> list[Any]:
        """The values of the outputs, node by node in NumPy: the oracle.

        What a node raises says where the user wrote it.
        """
        constants, reads, results = self._wiring
        values = [*arrays, *(c.data for c in constants)]
        for node, read in zip(self.nodes, reads, strict=True):
            try:
                made = node.op.evaluate(node, *[values[k] for k in read])
            except Exception as error:
                if node.trace is not None and str(node.trace) not in str(error):
                    retold(error, partial(explain, node.op, where=node.trace))
                raise
            for variable, value in zip(node.outputs, made, strict=True):
                values.append(np.asarray(value) if is_tensor(variable) else value)
        return [values[k] for k in results]

    # -- facts ------------------------------------------------------------------------------------

    @cached_property
    def is_pure(self) -> bool:
        """Whether equal inputs give equal outputs, and nothing else happens."""
        return all(node.op.is_pure for node in self.nodes)

    @cached_property
    def connections(self) -> tuple[int, ...]:
        """For each output, the inputs that a gradient could reach from it, as bits."""
        reached = {variable: 1 << k for k, variable in enumerate(self.inputs)}
        for node in self.nodes:
            before = [reached.get(v, 0) for v in node.inputs]
            if not any(before):
                continue
            pattern = node.op.connection_pattern(node)
            for o, output in enumerate(node.outputs):
                bits = 0
                for row, mask in zip(pattern, before, strict=True):
                    bits |= mask if row[o] else 0
                reached[output] = bits
        return tuple(reached.get(v, 0) for v in self.outputs)

    def infer_shapes(
        self, shapes: Sequence[Shape], values: Sequence[Values | None]
    ) -> InnerContext:
        """What is known of sizes inside, given the inputs' shapes as host expressions of the graph
        outside, and the values of the integer inputs that the host can know (None: it cannot)."""
        return InnerContext(self, shapes, values)


class InnerContext:
    """Sizes and integers of the variables of an inner graph; a `graph.Context` for its nodes.

    Those that cannot be known outside are written in terms of the inner variables; `outer` tells.
    """

    def __init__(
        self, graph: InnerGraph, shapes: Sequence[Shape], values: Sequence[Values | None]
    ) -> None:
        self.graph = graph
        self._given = dict(zip(graph.inputs, values, strict=True))
        self._shapes: dict[Variable, Shape] = dict(zip(graph.inputs, shapes, strict=True))
        self._values: dict[tuple[Variable, int], Expr] = {}
        self._known: dict[Expr, bool] = {}
        self._walked: set[Expr] = set()
        self._inside = set(graph.inputs)
        for node in graph.nodes:
            self._inside.update(node.outputs)
            inferred = node.op.infer_shape(node, self)
            for output, shape in zip(node.outputs, inferred, strict=True):
                if shape is not None:
                    self._shapes[output] = tuple(map(E.as_expr, shape))
                kind = output.type
                if is_tensor(output) and kind.ndim == 0 and kind.dtype in DISCRETE:
                    self.value(output)  # in this order, what it asks for is there already

    def shape(self, variable: Variable) -> Shape:
        """The sizes along each axis."""
        found = self._shapes.get(variable)
        if found is None:
            if isinstance(variable, Constant):
                found = tuple(E.const(n) for n in variable.data.shape)
            else:
                found = tuple(E.dim(variable, axis) for axis in range(variable.type.ndim))
            self._shapes[variable] = found
        return found

    def value(self, variable: Variable, position: int = 0) -> Expr:
        """Element `position` (flat) of an integer variable."""
        key = (variable, position)
        found = self._values.get(key)
        if found is None:
            given = self._given.get(variable)
            if isinstance(variable, Constant):
                found = E.const(variable.data.reshape(-1)[position])
            elif given is not None:
                found = given(position)
            elif variable.owner is not None and variable not in self._given:
                if variable.index == 0:
                    found = variable.owner.op.host_value(variable.owner, position, self)
            found = self._values[key] = E.item(variable, position) if found is None else found
        return found

    def outer(self, *sizes: Expr) -> bool:
        """Whether `sizes` depend on nothing that is known only inside."""
        for e in E.walk(sizes, self._walked):
            if type(e) in (E.Dim, E.Item):
                self._known[e] = e.head[0] not in self._inside
            else:
                self._known[e] = all(self._known[a] for a in e.args)
        return all(self._known[s] for s in sizes)

    def outer_shape(self, variable: Variable) -> Shape | None:
        """The shape of `variable` in terms of what is known outside, None if it is not."""
        shape = self.shape(variable)
        return shape if self.outer(*shape) else None

    def checks(self) -> list[Check]:
        """What must hold of sizes inside, as far as it can be asked outside."""
        return [
            check
            for node in self.graph.nodes
            for check in node.op.shape_checks(node, self)
            if self.outer(check.holds, *check.facts)
        ]


def fitted(variable: Any, kind: Type) -> Variable:
    """`variable` as one of `kind`, which may know less of its pattern; TypeError if it is not."""
    if variable.type == kind:
        return variable  # type: ignore[no-any-return]
    if isinstance(kind, TensorType) and kind.is_super(variable.type):
        return rebroadcast(variable, kind.broadcastable)  # type: ignore[no-any-return]
    raise TypeError(
        explain("inner graph", f"{variable} cannot take the place of an input",
                where=variable.created, got=str(variable.type), expected=str(kind))
    )  # fmt: skip


def capture(
    inputs: Sequence[Variable],
    outputs: Sequence[Variable],
    outside: Sequence[Variable] = (),
    also: Sequence[Variable] = (),
) -> tuple[InnerGraph, list[Variable]]:
    """`outputs` as a graph of `inputs` and of what else they depend on, and that: a list of outer
    variables, for which the graph has further inputs.

    Inside is what depends on `inputs` or on constants alone, and what is not pure; the rest is
    computed outside, once. `outside` are variables known to be so: their graphs are not walked.
    `also` are outer variables that are given as well, needed or not, as in Theano: then no function
    has them unused.
    All inputs of the graph are new variables of the same types; names say that they are copies.
    """
    dependent: set[Variable] = set(inputs)
    of_constants: set[Variable] = set()
    nodes = toposort(outputs, stop_at={*inputs, *outside})
    for node in nodes:
        if not node.op.is_pure or any(v in dependent for v in node.inputs):
            dependent.update(node.outputs)
        elif all(isinstance(v, Constant) or v in of_constants for v in node.inputs):
            of_constants.update(node.outputs)
    inside = dependent | of_constants
    frontier: dict[Variable, None] = {}
    reads = [v for node in nodes if node.outputs[0] in inside for v in node.inputs]
    for variable in (*reads, *outputs, *also):
        if variable not in inside and not isinstance(variable, Constant):
            frontier[variable] = None
    fresh: dict[Variable, Variable] = {v: v.type.make_variable(v.name) for v in inputs}
    fresh |= {v: v.type.make_variable(v.name and f"{v.name}_copy") for v in frontier}
    return InnerGraph(list(fresh.values()), clone_replace(outputs, fresh)), list(frontier)
