"""Seeing graphs: as formulas (`pp`), as trees (`debugprint`), as pictures (`pydotprint`); and
values while they are computed (`Print`).

Names and texts are Theano's (library/printing, tutorial/printing_drawing). Every walk is
iterative: depth is limited by memory only.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TextIO

from symgraph.graph import Apply, Constant, Variable
from symgraph.ops.output import Print as Print
from symgraph.sharedvalue import SharedVariable
from symgraph.subject import Subject, op_name, subject_of

# ---- formulas ------------------------------------------------------------------------------------

_HOLE = re.compile("\x00([0-9]+)\x00")


def pp(x: Any, limit: int = 10_000_000) -> str:
    """`x` (a variable or a node with one output) as a formula: `(x + y)`.

    An op says how it is written: `pprint(node, inputs) -> str` if it has one, where `inputs` are
    the texts of the inputs, to be put into the result as they are; else `infix` or `prefix` of
    its `scalar_op`; else its short name and the arguments in parentheses. An expression used in
    several places is written in each, so the text may be exponentially longer than the graph:
    after `limit` characters it is cut, and says so. Source: Theano, `theano.pp`.
    """
    variable = x.out if isinstance(x, Apply) else x
    if not isinstance(variable, Variable):
        raise TypeError(
            f"pp takes a variable, got {type(x).__name__}; see debugprint for functions"
        )
    pieces: list[str] = []
    length = 0
    stack: list[str | Variable] = [variable]
    while stack:
        top = stack.pop()
        if isinstance(top, str):
            pieces.append(top)
            length += len(top)
            if length > limit:
                return "".join(pieces)[:limit] + f" ... (cut after {limit} characters)"
        elif top.owner is None:
            stack.append(str(top))
        else:
            stack += _formula(top)[::-1]
    return "".join(pieces)


pprint = pp


def _formula(variable: Variable) -> list[str | Variable]:
    """How the op that computes `variable` is written: texts, and the inputs between them."""
    node = variable.owner
    assert node is not None
    op = node.op
    holes = [f"\x00{i}\x00" for i in range(len(node.inputs))]
    row = getattr(op, "scalar_op", op)
    infix, prefix = getattr(row, "infix", None), getattr(row, "prefix", None)
    if hasattr(op, "pprint"):
        text = op.pprint(node, holes)
    elif infix and len(holes) > 1:
        text = f"({f' {infix} '.join(holes)})"
    elif prefix and len(holes) == 1:
        text = f"({prefix}{holes[0]})"
    else:
        text = f"{op_name(op)}({', '.join(holes)})"
    if len(node.outputs) > 1:
        text += f".{variable.index}"
    parts: list[str | Variable] = list(_HOLE.split(text))
    for i in range(1, len(parts), 2):
        parts[i] = node.inputs[int(str(parts[i]))]
    return parts


# ---- trees ---------------------------------------------------------------------------------------

_RAIL = 200  # characters of indentation; what is deeper says its depth instead
_SCHEMES = ("CHAR", "int", "id", "")


class _Line(NamedTuple):
    variable: Variable
    rail: str  # what stands before the children of this line
    prefix: str  # what stands before this line
    level: int
    update_of: Variable | None = None


def debugprint(
    obj: Any,
    depth: int = -1,
    print_type: bool = False,
    file: TextIO | str | None = None,
    ids: str = "CHAR",
    stop_on_name: bool = False,
    done: dict[Any, str] | None = None,
    print_storage: bool = False,
    print_clients: bool = False,
    used_ids: dict[Any, str] | None = None,
) -> Any:
    """Print the graph of `obj` as a tree; a node met again is one line, without its inputs.

    `obj`: a variable, a node, a compiled function, or a list of these. `depth` limits the number
    of levels (-1: all). `file`: where to write (default standard output); "str" returns the text
    instead. `ids`: how nodes are numbered, "CHAR" (A, B, ...), "int", "id" (Python's) or "".
    `stop_on_name` does not look below named variables. `print_type` adds types, `print_clients`
    what uses each node, `print_storage` the values of constants and shared variables. Pass the
    same dicts as `done` and `used_ids` to several calls to go on with the same numbers, and not to
    print again what was printed. A line of a compiled function ends with the node's position in
    the order of execution; updates follow the outputs, marked `-> name`. Graphs inside of ops
    (`inner_outputs`: scan) follow below. Source: Theano, `theano.printing.debugprint`.
    """
    if not isinstance(depth, int) or isinstance(depth, bool):
        raise TypeError(f"debugprint: depth is a number of levels, got {depth!r}")
    if ids not in _SCHEMES:
        raise ValueError(f"debugprint: ids is one of {', '.join(map(repr, _SCHEMES))}; got {ids!r}")
    graph = subject_of(obj)
    printer = _TreePrinter(graph, ids, {} if done is None else done,
                           {} if used_ids is None else used_ids)  # fmt: skip
    printer.depth, printer.stop_on_name = depth, stop_on_name
    printer.print_type, printer.print_storage = print_type, print_storage
    if print_clients:
        printer.find_clients()
    out = io.StringIO() if file == "str" else sys.stdout if file is None else file
    assert not isinstance(out, str), f"file is a stream or 'str', got {out!r}"
    for line in printer.lines():
        out.write(line + "\n")
    if file == "str":
        return out.getvalue()  # type: ignore[union-attr]
    out.flush()
    return out if file is not None else None


class _TreePrinter:
    """State of one `debugprint`."""

    depth = -1
    stop_on_name = print_type = print_storage = False

    def __init__(
        self, graph: Subject, ids: str, done: dict[Any, str], used: dict[Any, str]
    ) -> None:
        self.graph, self.scheme, self.done, self.used = graph, ids, done, used
        self.clients: dict[Variable, list[tuple[Apply, int]]] | None = None
        order = graph.order if graph.is_compiled else ()
        self.position = {node: number for number, node in enumerate(order)}
        self.inner: dict[Variable, None] = {}
        self.outside: dict[Variable, Variable] = {}  # what inner inputs stand for

    def find_clients(self) -> None:
        self.clients = {}
        for node in self.graph.order:
            for i, variable in enumerate(node.inputs):
                self.clients.setdefault(variable, []).append((node, i))

    def lines(self) -> Iterator[str]:
        for variable in self.graph.outputs:
            yield from self.tree(variable)
        for shared, value in self.graph.updates.items():
            yield from self.tree(value, update_of=shared)
        if self.inner:
            yield ""
            yield "Inner graphs of the scan ops:"
        while self.inner:
            variable = next(iter(self.inner))
            del self.inner[variable]
            node = variable.owner
            assert node is not None
            self.outside.update(getattr(node.op, "outside", lambda _: {})(node))
            yield ""
            yield self.text(_Line(variable, "", "", 1))
            for output in node.op.inner_outputs:  # type: ignore[attr-defined]
                yield from self.tree(output, bar=" >")

    def identity(self, thing: Any) -> str:
        found = self.used.get(thing)
        if found is None:
            number = len(self.used)
            name = {"CHAR": _letters(number), "int": number, "id": id(thing)}.get(self.scheme)
            found = f"[id {name}]" if self.scheme else ""
            self.used[thing] = found
        return found

    def tree(
        self, root: Variable, update_of: Variable | None = None, bar: str = ""
    ) -> Iterator[str]:
        stack = [_Line(root, bar, bar, 1, update_of)]
        while stack:
            line = stack.pop()
            if self.depth >= 0 and line.level > self.depth:
                continue
            yield self.text(line)
            node = line.variable.owner
            if node is not None and getattr(node.op, "inner_outputs", None):
                self.inner.setdefault(line.variable)
            if node is None or node in self.done:
                continue
            self.done[node] = self.used[node]
            if self.stop_on_name and line.variable.name is not None:
                continue
            last = len(node.inputs) - 1
            for i in range(last, -1, -1):
                below = line.rail + (" |" if i < last else "  ")
                stack.append(
                    _Line(node.inputs[i], below[-_RAIL:], line.rail + " |", line.level + 1)
                )

    def text(self, line: _Line) -> str:
        variable, node = line.variable, line.variable.owner
        prefix = line.prefix
        if len(prefix) > _RAIL:  # a tree of depth n would else take n * n characters
            prefix = f"(level {line.level}) {prefix[-_RAIL:]}"
        kind = f" <{variable.type}>" if self.print_type else ""
        if node is None:
            parts = [str(variable), self.identity(variable) + kind]
            if variable in self.outside:
                outer = self.outside[variable]
                parts.append(f"-> {self.identity(outer.owner or outer)}")
        else:
            many = f".{variable.index}" if len(node.outputs) > 1 else ""
            parts = [f"{node.op}{many}", self.identity(node) + kind, f"'{variable.name or ''}'"]
            if node in self.position:
                parts.append(f"  {self.position[node]}")
        if self.clients is not None and variable in self.clients:
            users = (f"({self.identity(n)}, {i})" for n, i in self.clients[variable])
            parts.append(f"clients:[{', '.join(users)}]")
        if self.print_storage and isinstance(variable, (Constant, SharedVariable)):
            held = (
                variable.data if isinstance(variable, Constant) else variable.get_value(borrow=True)
            )
            parts.append(f"[{held}]")
        if line.update_of is not None:
            parts.append(f"-> {line.update_of}")
        return prefix + " ".join(p for p in parts if p)


def _letters(number: int) -> str:
    """A to Z, then BA, BB, ...: base 26 with A as zero, as Theano counts."""
    text = ""
    while True:
        number, rest = divmod(number, 26)
        text = chr(ord("A") + rest) + text
        if number == 0:
            return text


# ---- pictures ------------------------------------------------------------------------------------


class Image(NamedTuple):
    """A picture that a notebook shows. `format` is "png" or "svg", `data` the file's bytes."""

    format: str
    data: bytes

    def _repr_png_(self) -> bytes | None:
        return self.data if self.format == "png" else None

    def _repr_svg_(self) -> str | None:
        return self.data.decode() if self.format == "svg" else None


def pydotprint(
    fct: Any,
    outfile: str | os.PathLike[str] | None = None,
    compact: bool = True,
    format: str = "png",
    with_ids: bool = False,
    high_contrast: bool = True,
    cond_highlight: str | None = None,
    colorCodes: Mapping[str, str] | None = None,
    max_label_size: int = 70,
    scan_graphs: bool = False,
    var_with_name_simple: bool = False,
    print_output_file: bool = True,
    return_image: bool = False,
) -> Image | None:
    """Draw a compiled function, a variable or a list of these into a file.

    Inputs are green, outputs blue, shared variables cyan, unused inputs grey; ellipses are ops:
    orange ones are kernels of the library, pink ones are fused element by element, pale ones only
    rearrange, purple ones run in Python. Frames are kernels; dashed arrows are updates. Arrows
    say which input they are, dtype and the sizes that are known; SVGs have tooltips with the
    user's file and line. Of a function of a device, purple ones run on the host, with the copies
    written onto their arrows; boxes say what is on the device, and what is copied there or back.

    `outfile`: its extension (png, svg, pdf, dot, mmd) goes before `format`; without one,
    `symgraph.pydotprint.FORMAT` in the current folder. `compact` leaves out intermediate variables
    that have no name. `with_ids` numbers the ops. `high_contrast` fills shapes with colour instead
    of drawing their border in it. `cond_highlight` is the name of a lazy condition whose branches
    get borders: green (then), red (else), orange (both). `colorCodes` maps parts of ops' class
    names to colours. `max_label_size` cuts long names. `scan_graphs` draws the graphs inside of
    ops as well. `var_with_name_simple` leaves types out of named variables' boxes.
    `print_output_file` says on standard output what was written. `return_image` returns an
    `Image` instead of writing (unless `outfile` is given too).

    Raises OSError before any work if the file could not be written. Without Graphviz an SVG is
    written instead, with a line on stderr. Source: Theano, `theano.printing.pydotprint`.
    """
    from symgraph import draw

    path, _ = draw.split_format(outfile or "symgraph.pydotprint", format)
    is_written = outfile is not None or not return_image
    if is_written:
        draw.check_writable(path)
    picture = draw.graph_picture(
        subject_of(fct), compact=compact, with_ids=with_ids, high_contrast=high_contrast,
        cond_highlight=cond_highlight, colors=colorCodes, max_label_size=max_label_size,
        inner_graphs=scan_graphs, simple_names=var_with_name_simple,
    )  # fmt: skip
    if is_written:
        path = draw.write(picture, path)
        if print_output_file:
            sys.stdout.write(f"The output file is available at {path}\n")
    if not return_image:
        return None
    if is_written and path.suffix in (".png", ".svg"):
        return Image(path.suffix[1:], path.read_bytes())
    drawn = draw.render_picture(picture, format if format in ("png", "svg") else "svg")
    return Image(drawn.format, drawn.data)


def svg(x: Any) -> str:
    """`x` (as for `pydotprint`) as an SVG document; what notebooks show for a variable."""
    from symgraph import draw

    return draw.render_picture(draw.graph_picture(subject_of(x)), "svg").data.decode()


def to_mermaid(x: Any) -> str:
    """`x` (as for `pydotprint`) as a Mermaid flowchart, for web pages that draw these."""
    from symgraph import draw
    from symgraph.draw.mermaid import to_mermaid

    return to_mermaid(draw.graph_picture(subject_of(x)))
