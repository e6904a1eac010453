"""Pictures as Mermaid flowcharts, which many web pages of code draw by themselves."""

from __future__ import annotations

from symgraph.draw.picture import Box, Picture

_BRACKETS = {"ellipse": ("([", "])"), "note": (">", "]")}


def to_mermaid(picture: Picture) -> str:
    """`picture` as a Mermaid flowchart (mermaid.js.org/syntax/flowchart.html)."""
    ids = {key: f"n{number}" for number, key in enumerate(picture.boxes)}
    lines = ["flowchart TD"]

    def node(key: str, box: Box, indent: str) -> str:
        left, right = _BRACKETS.get(box.shape, ("[", "]"))
        rows = [": ".join(note) if isinstance(note, tuple) else str(note) for note in box.notes]
        text = "<br/>".join(_quoted(t) for t in (box.label, *rows))
        return f'{indent}{ids[key]}{left}"{text}"{right}'

    for number, (name, cluster) in enumerate(picture.clusters.items()):
        lines.append(f'  subgraph c{number}["{_quoted(cluster.label)}"]')
        lines += [node(k, b, "    ") for k, b in picture.boxes.items() if b.cluster == name]
        lines.append("  end")
    lines += [node(k, b, "  ") for k, b in picture.boxes.items() if b.cluster is None]
    for arrow in picture.arrows:
        label = "<br/>".join(_quoted(t) for t in arrow.label.split("\n"))
        line = "-.->" if arrow.update else "-->"
        text = f'|"{label}"|' if label else ""
        lines.append(f"  {ids[arrow.source]} {line}{text} {ids[arrow.target]}")
    by_color: dict[tuple[str, str], list[str]] = {}
    for key, box in picture.boxes.items():
        by_color.setdefault((box.fill, box.border), []).append(ids[key])
    for number, ((fill, border), keys) in enumerate(by_color.items()):
        lines.append(f"  classDef k{number} fill:{fill},stroke:{border},color:#000")
        lines.append(f"  class {','.join(keys)} k{number}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Text inside double quotes: Mermaid has entities, not backslashes."""
    table = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\n": " "}
    return "".join(table.get(c, c) for c in text)
