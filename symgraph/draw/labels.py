"""What boxes and arrows say of a node, a leaf or a kernel, and in which colours."""

from __future__ import annotations

from typing import Any

from symgraph.draw.picture import FUSED, INPUT, LIBRARY, NOTE, PLAIN, PYTHON, SHARED, VIEW
from symgraph.graph import Apply, Constant, Variable
from symgraph.ops.structure import Shape, ShapeI
from symgraph.sharedvalue import SharedVariable
from symgraph.subject import Placement, op_name


def leaf_color(variable: Variable) -> tuple[str, str]:
    if isinstance(variable, Constant):
        return PLAIN, "constant"
    if isinstance(variable, SharedVariable):
        return SHARED, "shared variable"
    return (INPUT, "input") if variable.owner is None else (NOTE, "not drawn:")


def kind_color(node: Apply, placement: Placement | None) -> str:
    op = node.op
    if placement is not None and node in placement.host:
        return PYTHON
    if op.view_of is not None:
        return VIEW
    if op.lowering is not None or (placement is not None and op.device_lowering is not None):
        return LIBRARY
    is_printed = op.compute is not None or op.assemble is not None or placement is not None
    return FUSED if is_printed else PYTHON


def copies(placed: Placement, base: Variable, reader: Apply | None) -> list[str]:
    """What crosses between device and host when `reader` (None: a kernel, a result) reads `base`.
    Arguments and constants are on the host anyway, and sizes are."""
    if reader is not None and isinstance(reader.op, (Shape, ShapeI)):
        return []
    crossed = ["copy to device"] if base.owner in placed.host else []
    is_made_there = base.owner is not None or base in placed.shared
    return [*crossed, "copy to host"] if reader in placed.host and is_made_there else crossed


def place(placed: Placement, leaf: Variable) -> str:
    """What a leaf's box says of where it is."""
    if leaf in placed.shared:
        return "on the device"
    return "copied to the device" if leaf in placed.fed else ""


def result_place(placement: Placement | None, number: int) -> str:
    """What the box of an output says of where it is."""
    if placement is None:
        return ""
    return "on the device" if number in placement.stays else "copied to the host"


def called(kernel: Any) -> str:
    """A kernel's name, and the library's for it."""
    library = getattr(kernel, "library", "")
    return f"{kernel.name}: {library}" if library else str(kernel.name)


def about(kernel: Any) -> str:
    names = ", ".join(op_name(n.op) for n in kernel.nodes[:12])
    more = ", …" if len(kernel.nodes) > 12 else ""
    doc = (getattr(kernel, "doc", "") or "").strip()
    return "\n".join(t for t in (kernel.name, doc, f"{len(kernel.nodes)} ops: {names}{more}") if t)
