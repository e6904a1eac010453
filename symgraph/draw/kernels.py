"""Pictures of large compiled functions: one box a kernel."""

from __future__ import annotations

from symgraph.draw import labels
from symgraph.draw.picture import FUSED, LIBRARY, MAX_NODES, NOTE, OUTPUT, Arrow, Box, Picture, cut
from symgraph.draw.sizes import KnownSizes
from symgraph.graph import Apply, Constant, Variable
from symgraph.subject import Placement, Subject, op_name


def kernel_picture(graph: Subject, max_nodes: int = MAX_NODES) -> Picture:
    """A compiled function with one box a kernel; nodes of no kernel stand for themselves."""
    picture, sizes = Picture(graph.name), KnownSizes(())
    placed = graph.placement or Placement()
    group_of: dict[Apply, int] = {}
    groups: list[tuple[str, str, int, str]] = []  # label, tooltip, number of ops, color
    for kernel in graph.kernels:
        group_of.update(dict.fromkeys(kernel.nodes, len(groups)))
        is_library = any(labels.kind_color(n, graph.placement) == LIBRARY for n in kernel.nodes)
        fill = LIBRARY if is_library else FUSED
        groups.append((labels.called(kernel), labels.about(kernel), len(kernel.nodes), fill))
    for node in graph.order:
        if node not in group_of:
            group_of[node] = len(groups)
            color = labels.kind_color(node, graph.placement)
            label = op_name(node.op) + " [host]" * (node in placed.host)
            groups.append((label, str(node.op), 1, color))
    last: dict[int, None] = {}  # groups by when their last node runs, the latest first
    for node in reversed(graph.order):
        last.setdefault(group_of[node])
    kept = set(list(last)[:max_nodes])
    for group in kept:
        label, tooltip, count, fill = groups[group]
        notes = (f"{count} ops",) if count > 1 else ()
        picture.boxes[f"g{group}"] = Box(cut(label, 70), "box", fill, notes, tooltip)
    if len(kept) < len(last):
        text = f"{len(last) - len(kept):,} more kernels are not drawn"
        picture.boxes["omitted"] = Box(text, "note", NOTE, ("debugprint shows all nodes",))

    leaves: dict[Variable, str] = {}
    seen: set[tuple[str, str]] = set()

    def leaf(variable: Variable) -> str:
        if variable not in leaves:
            key = leaves[variable] = f"v{len(leaves)}"
            fill, _ = labels.leaf_color(variable)
            name, place = cut(str(variable), 70), labels.place(placed, variable)
            texts = (sizes.text(variable), place)
            picture.boxes[key] = Box(name, "box", fill, tuple(filter(None, texts)))
        return leaves[variable]

    def arrow(
        variable: Variable, target: str, reader: Apply | None = None, update: bool = False
    ) -> None:
        node = variable.owner
        if node is not None:
            source = f"g{group_of[node]}"
            source = source if source in picture.boxes else "omitted"
        elif isinstance(variable, Constant):
            return
        else:
            source = leaf(variable)
        if source != target and (source, target) not in seen:
            seen.add((source, target))
            text = "update" if update else sizes.text(variable)
            label = "\n".join([text, *labels.copies(placed, variable, reader)])
            picture.arrows.append(Arrow(source, target, label, str(variable), update))

    for node in graph.order:
        if group_of[node] in kept:
            for variable in node.inputs:
                arrow(variable, f"g{group_of[node]}", node)
    for number, variable in enumerate(graph.outputs):
        if number in graph.unseen:
            continue
        place = labels.result_place(graph.placement, number)
        name, texts = variable.name or f"output {number}", (sizes.text(variable), place)
        picture.boxes[f"o{number}"] = Box(name, "box", OUTPUT, tuple(filter(None, texts)))
        arrow(variable, f"o{number}")
    for shared, value in graph.updates.items():
        arrow(value, leaf(shared), update=True)
    return picture
