"""Branches: what only one branch of an ifelse needs moves into it, and is computed only there.

Every node belongs to a place: outside, or in a branch of an ifelse that itself is somewhere. It is
the innermost place that contains all uses of the node's results: one walk backwards finds it. So
branches nest, and what two branches share is computed before the choice. Choices in the same place
by the same condition are made together, unless one depends on the other. Branches nest `DEEPEST`
levels; what is further in is computed there, chosen or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from symgraph.graph import Apply, Constant, Variable, is_tensor, reapply, toposort, tracing
from symgraph.ops.choice import Choice, IfElse
from symgraph.ops.inner import InnerGraph

DEEPEST = 40  # inner programs are planned one within the other, a few Python frames for each level


@dataclass(eq=False)
class _Place:
    """Outside (no parent), or a branch: the nodes and choices that belong there, what it results
    in, and what it needs from further out."""

    parent: _Place | None = None
    depth: int = 0
    nodes: list[Apply] = field(default_factory=list)
    choices: list[_Choices] = field(default_factory=list)
    results: list[Variable] = field(default_factory=list)  # of the graph as it was
    new: dict[Variable, Variable] = field(default_factory=dict)  # and what stands for them here
    needs: list[Variable] = field(default_factory=list)

    def resolve(self, variable: Variable) -> Variable:
        """What stands here for a variable of the graph as it was."""
        found = self.new.get(variable)
        if found is not None or self.parent is None or isinstance(variable, Constant):
            return variable if found is None else found
        fresh: Variable = variable.type.make_variable(variable.name)
        self.new[variable] = fresh
        self.needs.append(variable)
        return fresh


@dataclass(eq=False)
class _Choices:
    """Ifelses that become one: in one place, by one condition, of one level."""

    first: Apply
    level: int
    then: _Place
    orelse: _Place
    outputs: list[Variable] = field(default_factory=list)


def make_lazy(outputs: Sequence[Variable]) -> list[Variable]:
    """`outputs`, in which every `IfElse` became a `Choice` of graphs that hold their own work.

    One of values that are no arrays stays: they are there, or come from a step in Python.
    """
    nodes = toposort(outputs)
    if not any(map(_chooses, nodes)):
        return list(outputs)
    levels = _levels(nodes)
    outside = _Place(results=list(outputs))
    branches = _assign(nodes, levels, outside)
    for place in (*reversed(branches), outside):  # a branch comes after the place that it is in
        _build(place, levels)
    return [outside.resolve(v) for v in outputs]


def _chooses(node: Apply) -> bool:
    """Whether it is an ifelse of arrays."""
    return isinstance(node.op, IfElse) and all(map(is_tensor, node.outputs))


def _levels(nodes: Iterable[Apply]) -> dict[Apply, int]:
    """How many ifelses lie one behind the other up to each node, itself included."""
    levels: dict[Apply, int] = {}
    for node in nodes:
        before = max((levels[v.owner] for v in node.inputs if v.owner is not None), default=0)
        levels[node] = before + _chooses(node)
    return levels


def _common(a: _Place, b: _Place) -> _Place:
    """The innermost place that contains both."""
    while a is not b:
        if a.depth < b.depth:
            a, b = b, a
        assert a.parent is not None
        a = a.parent
    return a


def _assign(nodes: Sequence[Apply], levels: dict[Apply, int], outside: _Place) -> list[_Place]:
    """Put every node into its place. The branches, each after the place that it is in."""
    places: dict[Variable, _Place] = {}
    known: dict[tuple[_Place, Variable, int], _Choices] = {}
    branches: list[_Place] = []

    def use(variables: Iterable[Variable], place: _Place) -> None:
        for variable in variables:
            before = places.get(variable)
            places[variable] = place if before is None else _common(before, place)

    use(outside.results, outside)
    for node in reversed(nodes):
        used = [k for k, v in enumerate(node.outputs) if v in places]
        if not used:
            continue  # only results of an ifelse that nobody asks for need it
        place = places[node.outputs[used[0]]]
        for k in used[1:]:
            place = _common(place, places[node.outputs[k]])
        if not _chooses(node):
            place.nodes.append(node)
            use(node.inputs, place)
            continue
        condition, *values = node.inputs
        use([condition], place)
        key = place, condition, levels[node]
        if key not in known:
            then, orelse = (_Place(place, place.depth + 1) for _ in range(2))
            known[key] = _Choices(node, levels[node], then, orelse)
            place.choices.append(known[key])
            branches += [then, orelse]
        choices = known[key]
        choices.outputs += [node.outputs[k] for k in used]
        for branch, first in ((choices.then, 0), (choices.orelse, len(node.outputs))):
            chosen = [values[first + k] for k in used]
            branch.results += chosen
            use(chosen, branch if place.depth < DEEPEST else place)
    return branches


def _build(place: _Place, levels: dict[Apply, int]) -> None:
    """Build what belongs to `place` anew; its branches have been built."""
    # a choice needs nodes of lower levels only, a node those of its own and the choices there
    work: list[tuple[int, int, Apply | _Choices]] = [(c.level, 0, c) for c in place.choices]
    work += [(levels[node], 1, node) for node in reversed(place.nodes)]
    for _, _, item in sorted(work, key=lambda entry: entry[:2]):
        if isinstance(item, _Choices):
            _choose(item, place)
        else:
            _move(item, place)
    for variable in place.results:
        place.resolve(variable)


def _move(node: Apply, place: _Place) -> None:
    inputs = [place.resolve(v) for v in node.inputs]
    is_same = all(a is b for a, b in zip(node.inputs, inputs, strict=True))
    new = node if is_same else reapply(node, inputs)
    place.new.update(zip(node.outputs, new.outputs, strict=True))


def _choose(choices: _Choices, place: _Place) -> None:
    """The `Choice` that stands for `choices`."""
    needs = list(dict.fromkeys([*choices.then.needs, *choices.orelse.needs]))
    graphs = []
    for branch in (choices.then, choices.orelse):
        have = set(branch.needs)
        inputs = [branch.new[v] if v in have else v.type.make_variable(v.name) for v in needs]
        graphs.append(InnerGraph(inputs, [branch.new.get(v, v) for v in branch.results]))
    node = choices.first
    with tracing(node.trace):
        made = Choice(graphs[0], graphs[1], node.op.name).make_node(  # type: ignore[attr-defined]
            *(place.resolve(v) for v in (node.inputs[0], *needs))
        )
    for old, new in zip(choices.outputs, made.outputs, strict=True):
        place.new[old], new.name = new, old.name
