"""A picture: boxes, arrows and clusters, before anyone decides how it is drawn.

`graph_picture` makes one of a graph; `dot`, `svg` and `mermaid` print one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from symgraph import expr as E
from symgraph.draw.subject import Subject, op_name
from symgraph.graph import Apply, Constant, Variable, is_tensor
from symgraph.shared import SharedVariable

MAX_NODES = 300  # more are unreadable, and slow to lay out

# Theano's meanings (library/printing, pydotprint), in tints that black text can be read on.
INPUT, OUTPUT, SHARED, UNUSED = "#a8e6a1", "#a9c8ff", "#9eeaf0", "#d0d0d0"
PLAIN, NOTE = "#ffffff", "#fff3bf"
LIBRARY, FUSED, VIEW, PYTHON = "#ffd59e", "#ffe3ea", "#f1f1f1", "#e5ccff"
BRANCHES = {"then": "#2f9e44", "else": "#e03131", "both": "#f08c00"}


@dataclass(frozen=True)
class Box:
    """A thing in the picture. `shape`: ellipse, box, small (a box of small text), note or table.

    `notes` are lines of small text below the label; of a table, rows of name and value.
    """

    label: str
    shape: str = "ellipse"
    fill: str = PLAIN
    notes: tuple[Any, ...] = ()
    tooltip: str = ""
    cluster: str | None = None
    border: str = "#555555"


@dataclass(frozen=True)
class Arrow:
    """From box to box, by key; an `update` is dashed and does not push its target down."""

    source: str
    target: str
    label: str = ""
    tooltip: str = ""
    update: bool = False


@dataclass(frozen=True)
class Cluster:
    """A frame around the boxes that name its key."""

    label: str
    tooltip: str = ""


@dataclass
class Picture:
    title: str = ""
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)


def cut(text: str, size: int) -> str:
    """`text` in at most `size` characters, keeping both ends."""
    if len(text) <= size:
        return text
    head = max(1, (size - 1) * 2 // 3)
    tail = max(0, size - 1 - head)
    return f"{text[:head]}…{text[len(text) - tail :]}"


# ---- sizes ---------------------------------------------------------------------------------------


def static_shapes(order: Iterable[Apply]) -> dict[Variable, tuple[E.Expr, ...]]:
    """The sizes of every tensor in `order`, as host expressions; numbers where they are known."""
    shapes: dict[Variable, tuple[E.Expr, ...]] = {}

    def value(variable: Any) -> E.Expr:
        return E.const(variable.data) if isinstance(variable, Constant) else E.item(variable)

    for node in order:
        for variable in node.inputs:
            if variable not in shapes:
                shapes[variable] = leaf_shape(variable)
        try:
            inferred = node.op.infer_shape(node, [shapes[v] for v in node.inputs], value)
        except Exception:  # an op that is broken or unfinished is why someone draws its graph
            inferred = [None] * len(node.outputs)  # type: ignore[list-item]
        for variable, shape in zip(node.outputs, inferred, strict=False):
            known = shape is not None and len(shape) == variable.type.ndim
            shapes[variable] = tuple(shape) if known else leaf_shape(variable)
    return shapes


def leaf_shape(variable: Any) -> tuple[E.Expr, ...]:
    """Sizes of a variable that nothing computes: of its value, if it has one."""
    if not is_tensor(variable):
        return ()
    if isinstance(variable, (Constant, SharedVariable)):
        held = variable.data if isinstance(variable, Constant) else variable.container.value
        return tuple(E.const(size) for size in held.shape)
    return tuple(E.dim(variable, axis) for axis in range(variable.type.ndim))


def type_text(variable: Any, shape: Sequence[E.Expr] | None = None) -> str:
    """`float32 (?, 20, 12, 12)`: the dtype, and the sizes as far as they are known."""
    if not is_tensor(variable):
        return str(variable.type)
    sizes = leaf_shape(variable) if shape is None else shape
    texts = [str(s.value) if type(s) is E.Const else "?" for s in sizes]  # type: ignore[attr-defined]
    if not texts:
        return str(variable.type.dtype)
    return f"{variable.type.dtype} ({', '.join(texts)}{',' if len(texts) == 1 else ''})"


# ---- graph to picture ----------------------------------------------------------------------------


def graph_picture(
    subject: Subject,
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
    if len(subject.order) > max_nodes and subject.kernels:
        return kernel_picture(subject, max_nodes)
    builder = _Builder(subject, compact, max_label_size, simple_names, with_ids)
    builder.draw(subject.order[-max_nodes:], len(subject.order) - max_nodes)
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
        self, subject: Subject, compact: bool, max_label: int, simple_names: bool, with_ids: bool
    ) -> None:
        self.subject, self.compact, self.with_ids = subject, compact, with_ids
        self.max_label, self.simple_names = max_label, simple_names
        self.picture = Picture(subject.name)
        self.keys: dict[Apply, str] = {}
        self.holders: dict[Variable, str] = {}
        self.shapes: dict[Variable, tuple[E.Expr, ...]] = {}
        self.roots = {*subject.outputs, *subject.updates.values()}
        self.missing: set[Apply] = set()
        self.prefix = ""

    def draw(self, nodes: Sequence[Apply], omitted: int = 0) -> None:
        subject = self.subject
        self.shapes = static_shapes(nodes)
        if omitted > 0:
            text = f"{omitted:,} more nodes are not drawn"
            self.picture.boxes["omitted"] = Box(
                text, "note", NOTE, ("debugprint shows all of them",)
            )
        kernel_of: dict[Apply, str] = {}
        self._drawn = set(nodes)
        shown = [n for n in nodes if not self._is_folded(n)]
        drawn = set(shown)
        for number, kernel in enumerate(subject.kernels):
            members = [n for n in kernel.nodes if n in drawn]
            if len(members) > 1:
                self.picture.clusters[f"k{number}"] = Cluster(kernel.name, _about(kernel))
            for node in members:
                alone = len(members) == 1
                kernel_of[node] = kernel.name if alone else f"k{number}"
        position = {node: i for i, node in enumerate(subject.order)}
        for node in shown:
            self._node(node, position.get(node, 0), kernel_of.get(node))
        needed = {v for n in nodes for v in n.inputs} | self.roots
        for variable in subject.inputs:
            if variable not in needed and not isinstance(variable, SharedVariable):
                self._variable(variable, UNUSED, "unused input")
        for number, variable in enumerate(subject.outputs):
            self._output(variable, number)
        for shared, value in subject.updates.items():
            target = self._leaf(shared)
            base, views = self._resolve(value)
            text = "\n".join(("update", *views))
            self._arrow(base, target, text, "the shared variable's next value", update=True)

    # -- folding ----------------------------------------------------------------------------------

    def _is_folded(self, node: Apply) -> bool:
        """Whether `node` only rearranges one variable, and nobody asked for its result by name."""
        if not self.compact or node.op.view_of != 0 or len(node.outputs) != 1:
            return False
        out = node.outputs[0]
        rest = node.inputs[1:]
        return (
            out.name is None and out not in self.roots and all(isinstance(v, Constant) for v in rest)
        )

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

    def _node(self, node: Apply, position: int, kernel: str | None) -> None:
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
            text = label + type_text(variable, self.shapes[variable])
            arrows.append((base, "\n".join((*views, text))))
        in_cluster = kernel in self.picture.clusters
        if kernel and not in_cluster:
            notes.append(f"[{kernel}]")
        label = op_name(node.op) if hasattr(node.op, "scalar_op") else str(node.op)
        if self.with_ids:
            label += f" id={position}"
        self.picture.boxes[key] = Box(
            cut(label, self.max_label), "ellipse", _kind_color(node), tuple(notes),
            self._node_tooltip(node), kernel if in_cluster else None,
        )  # fmt: skip
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
        lines += [f"{v.name or 'result'}: {type_text(v, self.shapes[v])}" for v in node.outputs]
        if node.trace is not None:
            lines.append(str(node.trace))
        return "\n".join(lines)

    def _variable(self, variable: Variable, fill: str, role: str, name: str | None = None) -> str:
        key = f"{self.prefix}v{len(self.picture.boxes)}"
        shape = self.shapes.get(variable)
        label = name or variable.name or (str(variable) if variable.owner is None else "")
        kind = type_text(variable, shape)
        is_constant = isinstance(variable, Constant)
        simple = self.simple_names and variable.name is not None
        if label.startswith("<") or not label:  # str() of what has no name is its type
            label, notes = kind, ()
        else:
            notes = () if simple else (kind,)
        tooltip = f"{role} {variable.name or ''}".strip()
        if variable.trace is not None:
            tooltip += f"\n{variable.type}\n{variable.trace}"
        shape_name = "small" if is_constant else "box"
        self.picture.boxes[key] = Box(cut(label, self.max_label), shape_name, fill, notes, tooltip)
        return key

    def _leaf(self, variable: Variable) -> str:
        """The box of a variable that no drawn node computes."""
        if variable not in self.holders:
            if isinstance(variable, Constant):
                fill, role = PLAIN, "constant"
            elif isinstance(variable, SharedVariable):
                fill, role = SHARED, "shared variable"
            else:
                fill, role = (INPUT, "input") if variable.owner is None else (NOTE, "not drawn:")
            self.holders[variable] = self._variable(variable, fill, role)
            if variable.owner is not None and variable.owner not in self.missing:
                self.missing.add(variable.owner)
                self.picture.arrows.append(
                    Arrow("omitted", self.holders[variable], tooltip=str(variable.owner.op))
                )
        return self.holders[variable]

    def _output(self, variable: Variable, number: int) -> None:
        name = variable.name or (f"output {number}" if len(self.subject.outputs) > 1 else "output")
        key = self._variable(variable, OUTPUT, "output", name)
        base, views = self._resolve(variable)
        self._arrow(base, key, "\n".join(views), str(variable.type))

    # -- arrows -----------------------------------------------------------------------------------

    def _arrow(
        self, base: Variable, target: str, label: str, tooltip: str, update: bool = False
    ) -> None:
        node = base.owner
        if base in self.holders or node not in self.keys:
            self.picture.arrows.append(Arrow(self._leaf(base), target, label, tooltip, update))
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


def _kind_color(node: Apply) -> str:
    op = node.op
    if op.view_of is not None:
        return VIEW
    if op.library is not None:
        return LIBRARY
    return FUSED if op.compute is not None else PYTHON


def _about(kernel: Any) -> str:
    names = ", ".join(op_name(n.op) for n in kernel.nodes[:12])
    more = ", …" if len(kernel.nodes) > 12 else ""
    doc = (getattr(kernel, "doc", "") or "").strip()
    return "\n".join(t for t in (kernel.name, doc, f"{len(kernel.nodes)} ops: {names}{more}") if t)


def kernel_picture(subject: Subject, max_nodes: int = MAX_NODES) -> Picture:
    """A compiled function with one box a kernel; nodes of no kernel stand for themselves."""
    picture = Picture(subject.name)
    group_of: dict[Apply, int] = {}
    groups: list[tuple[str, str, int, str]] = []  # label, tooltip, number of ops, color
    for kernel in subject.kernels:
        group_of.update(dict.fromkeys(kernel.nodes, len(groups)))
        fill = LIBRARY if any(n.op.library for n in kernel.nodes) else FUSED
        groups.append((kernel.name, _about(kernel), len(kernel.nodes), fill))
    for node in subject.order:
        if node not in group_of:
            group_of[node] = len(groups)
            groups.append((op_name(node.op), str(node.op), 1, _kind_color(node)))
    last: dict[int, None] = {}  # groups by when their last node runs, the latest first
    for node in reversed(subject.order):
        last.setdefault(group_of[node])
    kept = set(list(last)[:max_nodes])
    for group in kept:
        label, tooltip, count, fill = groups[group]
        notes = (f"{count} ops",) if count > 1 else ()
        picture.boxes[f"g{group}"] = Box(cut(label, 70), "box", fill, notes, tooltip)
    if len(kept) < len(last):
        text = f"{len(last) - len(kept):,} more kernels are not drawn"
        picture.boxes["omitted"] = Box(text, "note", NOTE, ("debugprint shows all nodes",))

    seen: set[tuple[str, str]] = set()

    def arrow(variable: Variable, target: str, update: bool = False) -> None:
        node = variable.owner
        if node is not None:
            source = f"g{group_of[node]}"
            source = source if source in picture.boxes else "omitted"
        elif isinstance(variable, Constant):
            return
        else:
            source = f"v{id(variable)}"
            if source not in picture.boxes:
                fill = SHARED if isinstance(variable, SharedVariable) else INPUT
                name = cut(str(variable), 70)
                picture.boxes[source] = Box(name, "box", fill, (type_text(variable),))
        if source != target and (source, target) not in seen:
            seen.add((source, target))
            label = "update" if update else type_text(variable)
            picture.arrows.append(Arrow(source, target, label, str(variable), update))

    for node in subject.order:
        if group_of[node] in kept:
            for variable in node.inputs:
                arrow(variable, f"g{group_of[node]}")
    for number, variable in enumerate(subject.outputs):
        picture.boxes[f"o{number}"] = Box(
            variable.name or f"output {number}", "box", OUTPUT, (type_text(variable),)
        )
        arrow(variable, f"o{number}")
    for shared, value in subject.updates.items():
        target = f"v{id(shared)}"
        if target not in picture.boxes:
            picture.boxes[target] = Box(str(shared), "box", SHARED, (type_text(shared),))
        arrow(value, target, update=True)
    return picture


# ---- conditions and inner graphs -----------------------------------------------------------------


def _highlight_branches(builder: _Builder, name: str) -> None:
    """Give nodes that only one branch of the lazy condition `name` needs a border of its own.

    A lazy condition is a node whose op is called `name` and whose inputs are the condition and
    then as many values for "then" as for "else" (Theano's IfElse).
    """
    from symgraph.graph import toposort

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
        from symgraph.draw.subject import subject

        inner = _Builder(subject(list(outputs)), builder.compact, builder.max_label,
                         builder.simple_names, builder.with_ids)  # fmt: skip
        inner.prefix = f"i{number}_"
        inner.draw(inner.subject.order)
        cluster = f"inner{number}"
        label = f"{cut(str(node.op), builder.max_label)}: one step"
        builder.picture.clusters[cluster] = Cluster(label, f"inner graph of {key}")
        for name, box in inner.picture.boxes.items():
            builder.picture.boxes[name] = replace(box, cluster=cluster)
        builder.picture.arrows += inner.picture.arrows


# ---- layers --------------------------------------------------------------------------------------


def layers_picture(rows: Iterable[Any], title: str = "") -> Picture:
    """A column of layers, as tables: rows are (name, kind, output_shape, parameters).

    Objects with these attributes do as well. Unknown sizes (None) are shown as "?". Below stands
    the total number of parameters.
    """
    picture = Picture(title)
    total, before = 0, None
    for number, row in enumerate(rows):
        fields = ("name", "kind", "output_shape", "parameters")
        values = [getattr(row, f) for f in fields] if hasattr(row, "kind") else list(row)
        name, kind, shape, parameters = values
        sizes = ", ".join("?" if s is None else f"{s}" for s in shape)
        comma = "," if len(shape) == 1 else ""
        total += int(parameters)
        key = f"layer{number}"
        picture.boxes[key] = Box(
            f"{name}: {kind}" if kind else name, "table", FUSED if parameters else VIEW,
            (("output", f"({sizes}{comma})"), ("parameters", f"{int(parameters):,}")),
            f"{name}: {kind}, {math.prod(s for s in shape if s is not None):,} values an example"
            if shape and shape[0] is None else f"{name}: {kind}",
        )  # fmt: skip
        if before is not None:
            picture.arrows.append(Arrow(before, key))
        before = key
    if before is not None:
        picture.boxes["total"] = Box(f"{total:,} parameters", "note", NOTE)
        picture.arrows.append(Arrow(before, "total"))
    return picture
