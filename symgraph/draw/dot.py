"""Pictures as Graphviz source, through the `graphviz` package."""

from __future__ import annotations

from html import escape

import graphviz

from symgraph.draw.picture import Arrow, Box, Picture

FONT = {"fontname": "Helvetica"}
_SHAPES = {"ellipse": "ellipse", "box": "box", "small": "box", "note": "note", "table": "plain"}


def to_dot(picture: Picture) -> str:
    """`picture` in the DOT language (graphviz.org/doc/info/lang.html)."""
    graph = graphviz.Digraph(
        graph_attr=FONT
        | {"ranksep": "0.35", "nodesep": "0.2", "bgcolor": "white", "newrank": "true"},
        node_attr=FONT | {"fontsize": "12", "margin": "0.08,0.04", "height": "0.3"},
        edge_attr=FONT | {"fontsize": "9", "arrowsize": "0.6", "color": "#444444"},
    )
    if picture.title:
        title = graphviz.escape(_clean(picture.title))
        graph.attr(label=title, labelloc="t", fontsize="14")
    grouped: dict[str | None, list[str]] = {}
    for key, box in picture.boxes.items():
        grouped.setdefault(box.cluster, []).append(key)
    for name, cluster in picture.clusters.items():
        with graph.subgraph(name=f"cluster_{name}") as inner:
            inner.attr(
                label=graphviz.escape(_clean(cluster.label)), style="rounded,filled",
                fillcolor="#fafafa", color="#888888", fontsize="10", margin="8", labelloc="t",
                tooltip=graphviz.escape(_clean(cluster.tooltip)),
            )  # fmt: skip
            for key in grouped.get(name, ()):
                _node(inner, key, picture.boxes[key])
    for key in grouped.get(None, ()):
        _node(graph, key, picture.boxes[key])
    for arrow, moves in zip(picture.arrows, picture.moving(), strict=True):
        _edge(graph, arrow, moves)
    return str(graph.source)


def _node(graph: graphviz.Digraph, key: str, box: Box) -> None:
    options = {"style": "filled"} if box.shape != "table" else {}
    if box.shape == "small":
        options.update(fontsize="9", margin="0.04,0.02", height="0.2", width="0.3")
    graph.node(
        key, _label(box), shape=_SHAPES[box.shape], fillcolor=box.fill, color=box.border,
        tooltip=graphviz.escape(_clean(box.tooltip or box.label)), **options,
    )  # fmt: skip


def _label(box: Box) -> str:
    title = escape(_clean(box.label))
    if box.shape == "table":
        rows = "".join(
            f'<tr><td><font point-size="10" color="#555555">{escape(_clean(str(name)))}</font></td>'
            f'<td><font point-size="10">{escape(_clean(str(value)))}</font></td></tr>'
            for name, value in box.notes
        )
        return (
            '<<table border="0" cellborder="1" cellspacing="0" cellpadding="5">'
            f'<tr><td colspan="2" bgcolor="{box.fill}"><b>{title}</b></td></tr>{rows}</table>>'
        )
    small = "".join(
        f'<br/><font point-size="9" color="#444444">{escape(_clean(str(note)))}</font>'
        for note in box.notes
    )
    return f"<{title}{small}>"


def _edge(graph: graphviz.Digraph, arrow: Arrow, moves: bool) -> None:
    options = {}
    if arrow.label:
        lines = _clean(arrow.label).split("\n")  # with room between the text and the arrow
        options["label"] = graphviz.escape("\n".join(f" {line} " for line in lines))
        options["fontcolor"] = "#555555"
    if arrow.tooltip:
        options["tooltip"] = options["labeltooltip"] = graphviz.escape(_clean(arrow.tooltip))
    if arrow.update:
        options.update(style="dashed", color="#0b7285", constraint=str(moves).lower())
    graph.edge(arrow.source, arrow.target, **options)


def _clean(text: str) -> str:
    return "".join(c for c in text if c >= " " or c == "\n")
