"""From a graph to its picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace

from symgraph.draw import labels
from symgraph.draw.kernels import kernel_picture
from symgraph.draw.picture import (
    BRANCHES,
    MAX_NODES,
    NOTE,
    OUTPUT,
    PLAIN,
    UNUSED,
    Arrow,
    Box,
    Cluster,
    Picture,
    cut,
)  # fmt: skip
from symgraph.draw.sizes import KnownSizes
from symgraph.graph import Apply, Constant, Variable, toposort
from symgraph.sharedvalue import SharedVariable
from symgraph.subject import Placement, Subject, op_name, subject_of

COPY_FROM = 30  # from this many on, what many ops read has a box by each of them


def graph_picture(
    graph: Subject,
    *,
    compact: bool = True,
    with_ids: bool = False,
    high_contrast: bool = True,
    cond_highlight: str | None = None,
    colors: Mapping[str, str] | None = None,
    max_label_size: int = 70,
    inner_graphs: bool = False,
    simple_names: bool = False,
    max_nodes: int = MAX_NODES,
) -> Picture:
    """The picture of a graph: ellipses apply ops, boxes are variables.

    `compact` leaves out variables without a name (arrows go from op to op, labelled by dtype and
    sizes), writes constants of one element into the ops that use them, and rearrangements
    (dimshuffle, reshape to constant sizes) onto the arrows. More than `max_nodes` nodes: a
    compiled function is drawn kernel by kernel, and of what is left only the last nodes, those
    nearest to the outputs, with a note that says how many are missing.
    """
    if len(graph.order) > max_nodes and graph.kernels:
        return kernel_picture(graph, max_nodes)
    builder = _Builder(graph, compact, max_label_size, simple_names, with_ids)
    builder.draw(graph.order[-max_nodes:], len(graph.order) - max_nodes)
    picture = builder.picture
    if colors:
        for node, key in builder.keys.items():
            for name, color in colors.items():
                if name in type(node.op).__name__:
                    picture.boxes[key] = replace(picture.boxes[key], fill=color)
    if cond_highlight is not None:
        _highlight_branches(builder, cond_highlight)
    if inner_graphs:
        _add_inner_graphs(builder)
    if not high_contrast:
        for key, box in picture.boxes.items():
            if box.fill != PLAIN:
                picture.boxes[key] = replace(box, fill=PLAIN, border=box.fill)
    return picture


class _Builder:
    """Fills a picture; `keys` are the boxes of nodes, `holders` those of variables."""

    def __init__(
        self, graph: Subject, compact: bool, max_label: int, simple_names: bool, with_ids: bool
    ) -> None:
        self.graph, self.compact, self.with_ids = graph, compact, with_ids
        self.placed = graph.placement or Placement()
        self.max_label, self.simple_names = max_label, simple_names
        self.picture = Picture(graph.name)
        self.keys: dict[Apply, str] = {}
        self.holders: dict[Variable, str] = {}
        self.sizes = KnownSizes(())
        self.roots = {*graph.outputs, *graph.updates.values()}
        self.copies: dict[tuple[Variable, str], str] = {}
        self.is_copying = False
        self.missing: set[Apply] = set()
        self.prefix = ""

    def draw(self, nodes: Sequence[Apply], omitted: int = 0) -> None:
        graph = self.graph
        self.sizes = KnownSizes(nodes)
        if omitted > 0:
            text = f"{omitted:,} more nodes are not drawn"
            self.picture.boxes["omitted"] = Box(
                text, "note", NOTE, ("debugprint shows all of them",)
            )
        kernels_of: dict[Apply, list[str]] = {}
        self._drawn = set(nodes)
        shown = [n for n in nodes if not self._is_folded(n)]
        self.is_copying = self.compact and len(shown) >= COPY_FROM
        drawn = set(shown)
        for number, kernel in enumerate(graph.kernels):
            members = [n for n in kernel.nodes if n in drawn]
            if len(members) > 1:
                self.picture.clusters[f"k{number}"] = Cluster(kernel.name, labels.about(kernel))
            alone = len(members) == 1
            for node in members:
                kernels_of.setdefault(node, []).append(
                    labels.called(kernel) if alone else f"k{number}"
                )
        position = {node: i for i, node in enumerate(graph.order)}
        for node in shown:
            self._node(node, position.get(node, 0), kernels_of.get(node, []))
        needed = {v for n in nodes for v in n.inputs} | self.roots
        for variable in graph.inputs:
            if variable not in needed and not isinstance(variable, SharedVariable):
                self._variable(variable, UNUSED, "unused input")
        for number, variable in enumerate(graph.outputs):
            if number not in graph.unseen:
                self._output(variable, number)
        for shared, value in graph.updates.items():
            target = self._leaf(shared, "update" if shared in self.holders else "")
            base, views = self._resolve(value)
            text = "\n".join(("update", *views, *labels.copies(self.placed, base, None)))
            self._arrow(base, target, text, "the shared variable's next value", update=True)

    # -- folding ----------------------------------------------------------------------------------

    def _is_folded(self, node: Apply) -> bool:
        """Whether `node` only rearranges one variable, into one that has no name."""
        if not self.compact or node.op.view_of != 0 or len(node.outputs) != 1:
            return False
        rest = node.inputs[1:]
        return node.outputs[0].name is None and all(isinstance(v, Constant) for v in rest)

    def _resolve(self, variable: Variable) -> tuple[Variable, list[str]]:
        """The variable that is drawn for `variable`, and what rearranges it on the way."""
        views: list[str] = []
        while (node := variable.owner) in self._drawn and node and self._is_folded(node):
            views.append(cut(str(node.op), self.max_label))
            variable = node.inputs[0]
        return variable, views[::-1]

    def _literal(self, variable: Variable) -> str | None:
        if not self.compact or not isinstance(variable, Constant) or variable.name is not None:
            return None
        data = variable.data
        return f"{data.item():.6g}" if getattr(data, "size", 0) == 1 else None

    # -- boxes ------------------------------------------------------------------------------------

    def _node(self, node: Apply, position: int, kernels: Sequence[str]) -> None:
        key = self.keys[node] = f"{self.prefix}n{len(self.keys)}"
        notes: list[str] = []
        arrows: list[tuple[Variable, str]] = []
        for i, variable in enumerate(node.inputs):
            base, views = self._resolve(variable)
            literal = self._literal(base)
            if literal is not None:
                notes.append(f"input {i} = {literal}" if len(node.inputs) > 1 else literal)
                continue
            label = f"{i}: " if len(node.inputs) > 1 else ""
            text = label + self.sizes.text(variable)
            arrows.append(
                (base, "\n".join((*views, text, *labels.copies(self.placed, base, node))))
            )
        in_cluster = bool(kernels) and kernels[-1] in self.picture.clusters
        if node in self.placed.host:
            notes.append("[host]")
        elif not in_cluster:
            few = [kernels[0], "…", kernels[-1]] if len(kernels) > 3 else kernels
            notes += [f"[{kernel}]" for kernel in few]
        text = op_name(node.op) if hasattr(node.op, "scalar_op") else str(node.op)
        label, brace, rest = cut(text, self.max_label).partition("{")
        parameters = textwrap.wrap(brace + rest, 36, break_long_words=False)
        if self.with_ids:
            label += f" id={position}"
        self.picture.boxes[key] = Box(
            label,
            "ellipse",
            labels.kind_color(node, self.graph.placement),
            (*parameters, *notes),
            self._node_tooltip(node),
            kernels[-1] if in_cluster else None,
        )
        for base, text in arrows:
            self._arrow(base, key, text, f"{base}: {base.type}")
        for variable in node.outputs:
            if self._has_box(variable):
                box = self._variable(variable, PLAIN, "")
                self.holders[variable] = box
                self._arrow_from(key, node, variable, box, "", str(variable.type))

    def _has_box(self, variable: Variable) -> bool:
        is_output = variable in self.roots
        return not is_output and (variable.name is not None or not self.compact)

    def _node_tooltip(self, node: Apply) -> str:
        lines = [str(node.op)]
        lines += [f"{v.name or 'result'}: {self.sizes.text(v)}" for v in node.outputs]
        if node.trace is not None:
            lines.append(str(node.trace))
        return "\n".join(lines)

    def _variable(
        self, variable: Variable, fill: str, role: str, name: str | None = None, place: str = ""
    ) -> str:
        key = f"{self.prefix}v{len(self.picture.boxes)}"
        label = name or variable.name or (str(variable) if variable.owner is None else "")
        kind = self.sizes.text(variable)
        is_constant = isinstance(variable, Constant)
        simple = self.simple_names and variable.name is not None
        if label.startswith("<") or not label:  # str() of what has no name is its type
            label, notes = kind, []
        else:
            notes = [] if simple else [kind]
        if place:
            notes.append(place)
        tooltip = f"{role} {variable.name or ''}".strip()
        if variable.created is not None:
            tooltip += f"\n{variable.type}\n{variable.created}"
        shape_name = "small" if is_constant else "box"
        self.picture.boxes[key] = Box(
            cut(label, self.max_label), shape_name, fill, tuple(notes), tooltip
        )
        return key

    def _leaf(self, variable: Variable, reader: str) -> str:
        """The box of a variable that no drawn node computes; its own for each reader, if many."""
        held = self.holders.get(variable)
        if held is None:
            fill, role = labels.leaf_color(variable)
            place = labels.place(self.placed, variable)
            held = self._variable(variable, fill, role, place=place)
            self.copies[variable, reader] = held
            self.holders[variable] = held
            if variable.owner is not None and variable.owner not in self.missing:
                self.missing.add(variable.owner)
                self.picture.arrows.append(Arrow("omitted", held, tooltip=str(variable.owner.op)))
        elif self.is_copying and variable.owner is None:
            if (variable, reader) not in self.copies:
                key = f"{self.prefix}v{len(self.picture.boxes)}"
                original = self.picture.boxes[held]
                self.picture.boxes[key] = replace(original, shape="small", notes=())
                self.copies[variable, reader] = key
            return self.copies[variable, reader]
        return held

    def _output(self, variable: Variable, number: int) -> None:
        several = len(self.graph.outputs) - len(self.graph.unseen) > 1
        name = variable.name or (f"output {number}" if several else "output")
        place = labels.result_place(self.graph.placement, number)
        key = self._variable(variable, OUTPUT, "output", name, place)
        base, views = self._resolve(variable)
        copies = labels.copies(self.placed, base, None)
        self._arrow(base, key, "\n".join((*views, *copies)), str(variable.type))

    # -- arrows -----------------------------------------------------------------------------------

    def _arrow(
        self, base: Variable, target: str, label: str, tooltip: str, update: bool = False
    ) -> None:
        node = base.owner
        if base in self.holders or node not in self.keys:
            reader = self.picture.boxes[target].cluster or target
            source = self._leaf(base, reader)
            self.picture.arrows.append(Arrow(source, target, label, tooltip, update))
        else:
            assert node is not None
            self._arrow_from(self.keys[node], node, base, target, label, tooltip, update)

    def _arrow_from(
        self, key: str, node: Apply, variable: Variable, target: str,
        label: str, tooltip: str, update: bool = False,
    ) -> None:  # fmt: skip
        if len(node.outputs) > 1:
            label = f"output {variable.index}" + (f", {label}" if label else "")
        self.picture.arrows.append(Arrow(key, target, label, tooltip, update))


# ---- conditions and inner graphs -----------------------------------------------------------------


def _highlight_branches(builder: _Builder, name: str) -> None:
    """Give nodes that only one branch of the lazy condition `name` needs a border of its own.

    A lazy condition is a node whose op is called `name` and whose inputs are the condition and
    then as many values for "then" as for "else" (Theano's IfElse).
    """
    found = [n for n in builder.keys if getattr(n.op, "name", None) == name]
    if not found:
        raise ValueError(f"cond_highlight: no node of this graph has an op named {name!r}")
    for condition in found:
        half = (len(condition.inputs) - 1) // 2
        then = set(toposort(condition.inputs[1 : 1 + half]))
        other = set(toposort(condition.inputs[1 + half :]))
        for node in (then | other) & set(builder.keys):
            side = "both" if node in then and node in other else "then" if node in then else "else"
            box = builder.picture.boxes[builder.keys[node]]
            builder.picture.boxes[builder.keys[node]] = replace(box, border=BRANCHES[side])


def _add_inner_graphs(builder: _Builder) -> None:
    """Draw, beside the graph, the graph that each op with `inner_outputs` repeats (scan)."""
    for number, (node, key) in enumerate(list(builder.keys.items())):
        outputs = getattr(node.op, "inner_outputs", None)
        if not outputs:
            continue
        inner = _Builder(subject_of(list(outputs)), builder.compact, builder.max_label,
                         builder.simple_names, builder.with_ids)  # fmt: skip
        inner.prefix = f"i{number}_"
        inner.draw(inner.graph.order)
        cluster = f"inner{number}"
        label = f"{cut(str(node.op), builder.max_label)}: one step"
        builder.picture.clusters[cluster] = Cluster(label, f"inner graph of {key}")
        for name, box in inner.picture.boxes.items():
            builder.picture.boxes[name] = replace(box, cluster=cluster)
        builder.picture.arrows += inner.picture.arrows
