"""Pictures as SVG, by ourselves: what is shown when there is no Graphviz.

A cluster is laid out first, by itself, and then stands as one big box in the layout of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from symgraph.draw.layout import GAP_Y, Point, Size, layered
from symgraph.draw.picture import Arrow, Box, Picture

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
LABEL, NOTE, EDGE = 12.0, 9.5, 8.5  # font sizes
LINE, PAD, HEAD = 1.3, 8.0, 14.0  # HEAD: a cluster's title
_NARROW, _WIDE = frozenset("iljtfr.,:;|!'()[]{} I"), frozenset("mwMW@%…")


def text_width(text: str, size: float) -> float:
    """Roughly the width of `text`, for the fonts that browsers use here."""
    units = sum(
        0.34 if c in _NARROW else 0.95 if c in _WIDE else 0.7 if c.isupper() else 0.6 for c in text
    )
    return units * size


def _size(box: Box) -> Size:
    if box.shape == "table":
        names, values = _columns(box)
        return max(names + values, text_width(box.label, LABEL) + 2 * PAD), 22.0 * (
            1 + len(box.notes)
        )
    lines = [(box.label, _font(box)), *((str(n), NOTE) for n in box.notes)]
    width = max(text_width(t, s) for t, s in lines) + 2 * PAD
    height = sum(s * LINE for _, s in lines) + PAD
    if box.shape == "ellipse":  # the text's corners must lie inside
        return width * 1.18, height * 1.25 + 4
    return (width, height) if box.shape != "small" else (width - PAD, height - PAD / 2)


def _font(box: Box) -> float:
    return NOTE if box.shape == "small" else LABEL


def _columns(box: Box) -> tuple[float, float]:
    names = max(text_width(str(n), NOTE) for n, _ in box.notes) + 2 * PAD
    return names, max(text_width(str(v), NOTE) for _, v in box.notes) + 2 * PAD


def _label_size(arrow: Arrow) -> Size | None:
    if not arrow.label:
        return None
    lines = arrow.label.split("\n")
    return max(text_width(t, EDGE) for t in lines) + 6, len(lines) * EDGE * LINE


def to_svg(picture: Picture) -> str:
    """`picture` as the text of a standalone SVG document, with tooltips."""
    sizes = {key: _size(box) for key, box in picture.boxes.items()}
    group = {key: box.cluster or "" for key, box in picture.boxes.items()}
    inside: dict[str, list[int]] = {name: [] for name in picture.clusters}
    outside: list[int] = []
    for number, arrow in enumerate(picture.arrows):
        a, b = group[arrow.source], group[arrow.target]
        if a and a == b:
            inside[a].append(number)
        else:
            outside.append(number)

    centres: dict[str, Point] = {}
    routes: dict[int, list[Point]] = {}
    labels: dict[int, Point] = {}
    inner = {}
    outer_sizes = {key: size for key, size in sizes.items() if not group[key]}
    for name, numbers in inside.items():
        members = {key: sizes[key] for key in sizes if group[key] == name}
        if not members:
            continue
        arrows = [picture.arrows[n] for n in numbers]
        layout = layered(members, [(a.source, a.target, _label_size(a)) for a in arrows])
        inner[name] = layout
        title = text_width(picture.clusters[name].label, NOTE)
        outer_sizes[_frame(name)] = (
            max(layout.width, title) + 2 * PAD,
            layout.height + 2 * PAD + HEAD,
        )

    def holder(key: str) -> str:
        return _frame(group[key]) if group[key] else key

    moving = picture.moving()
    forward = [n for n in outside if moving[n]]
    edges = [
        (holder(a.source), holder(a.target), _label_size(a))
        for a in (picture.arrows[n] for n in forward)
    ]
    outer = layered(outer_sizes, edges)
    for key in outer_sizes:
        if key in sizes:
            centres[key] = outer.centres[key]
    frames: list[tuple[str, float, float, float, float]] = []
    for number, points, label in zip(forward, outer.routes, outer.labels, strict=True):
        routes[number] = points
        if label is not None:
            labels[number] = label
    for name, layout in inner.items():
        x, y = outer.centres[_frame(name)]
        w, h = outer_sizes[_frame(name)]
        frames.append((name, x - w / 2, y - h / 2, w, h))
        dx, dy = x - layout.width / 2, y - h / 2 + PAD + HEAD
        centres.update({k: (cx + dx, cy + dy) for k, (cx, cy) in layout.centres.items()})
        for number, points, label in zip(inside[name], layout.routes, layout.labels, strict=True):
            routes[number] = [(px + dx, py + dy) for px, py in points]
            if label is not None:
                labels[number] = (label[0] + dx, label[1] + dy)

    width, height = outer.width, outer.height
    updates = [n for n in outside if not moving[n]]
    lane = width + 14.0
    for place, number in enumerate(updates, 1):  # round the outside: beside everything, back up
        arrow = picture.arrows[number]
        start = centres[arrow.source][1] + sizes[arrow.source][1] / 2 + GAP_Y * 0.3
        end = centres[arrow.target][1] - sizes[arrow.target][1] / 2 - GAP_Y * 0.3
        label_width = (_label_size(arrow) or (0.0, 0.0))[0]
        x = lane + label_width / 2
        routes[number] = [(x, start), (x, end)]
        labels[number] = (x, start + (end - start) * place / (len(updates) + 1))
        width = max(width, x + label_width / 2)
        lane += 7.0
    margin = 12.0
    head = 26.0 if picture.title else 0.0
    full_w = width + 2 * margin
    full_w = max(full_w, text_width(picture.title, LABEL) + 2 * margin)
    full_h = height + 2 * margin + head + (GAP_Y if updates else 0.0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{full_w:.0f}" height="{full_h:.0f}" '
        f'viewBox="0 0 {full_w:.0f} {full_h:.0f}" font-family="{escape(FONT)}" '
        f'text-anchor="middle">',
        f"<title>{_clean(picture.title or 'graph')}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,1 L8,4 L0,7 z" fill="#444"/></marker></defs>',
    ]
    if picture.title:
        out.append(_text(full_w / 2, margin + LABEL, picture.title, LABEL, bold=True))
    out.append(f'<g transform="translate({margin:.0f},{margin + head:.0f})">')
    for name, x, y, w, h in frames:
        cluster = picture.clusters[name]
        out.append(
            f'<g class="cluster">{_title(cluster.tooltip)}<rect x="{x:.1f}" y="{y:.1f}" '
            f'width="{w:.1f}" height="{h:.1f}" rx="6" fill="#fafafa" stroke="#888"/>'
            + _text(x + w / 2, y + NOTE * 1.25, cluster.label, NOTE, color="#444")
            + "</g>"
        )
    ports = _ports(picture, centres, sizes, routes)
    for number, arrow in enumerate(picture.arrows):
        out.append(_edge(arrow, ports[number], routes[number]))
    for number, (x, y) in labels.items():
        lines = picture.arrows[number].label.split("\n")
        w, h = _label_size(picture.arrows[number]) or (0.0, 0.0)
        out.append(
            f'<rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" '
            'fill="white" fill-opacity="0.85"/>'
        )
        for i, line in enumerate(lines):
            out.append(_text(x, y - h / 2 + EDGE * (LINE * i + 1), line, EDGE, color="#555"))
    out += [_box(box, *centres[key], *sizes[key]) for key, box in picture.boxes.items()]
    out += ["</g>", "</svg>"]
    return "\n".join(out) + "\n"


def _frame(cluster: str) -> str:
    return f"frame {cluster}"


def _ports(
    picture: Picture, centres: dict[str, Point], sizes: dict[str, Size],
    routes: dict[int, list[Point]],
) -> list[tuple[Point, Point]]:  # fmt: skip
    """Where arrows leave and enter: spread along the edge of a box in the order they come."""
    result: list[list[Point]] = [[(0, 0), (0, 0)] for _ in picture.arrows]
    for end in (0, 1):
        at: dict[str, list[tuple[float, int]]] = {}
        for number, arrow in enumerate(picture.arrows):
            key, other = (arrow.source, arrow.target)[:: 1 if end == 0 else -1]
            points = routes[number]
            near = points[0 if end == 0 else -1] if points else centres[other]
            at.setdefault(key, []).append((near[0], number))
        for key, arrows in at.items():
            arrows.sort()
            (cx, cy), (w, h) = centres[key], sizes[key]
            for i, (_, number) in enumerate(arrows):
                dx = w * 0.6 * ((i + 0.5) / len(arrows) - 0.5)
                dy = h / 2
                if picture.boxes[key].shape == "ellipse":
                    dy *= math.sqrt(1 - (2 * dx / w) ** 2)
                result[number][end] = (cx + dx, cy + dy if end == 0 else cy - dy)
    return [(a, b) for a, b in result]


def _edge(arrow: Arrow, ports: tuple[Point, Point], route: Sequence[Point]) -> str:
    points = [ports[0], *route, ports[1]]
    (x, y), path = points[0], [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for nx, ny in points[1:]:
        if abs(nx - x) < 0.5:
            path.append(f"L{nx:.1f},{ny:.1f}")
        else:
            middle = (y + ny) / 2
            path.append(f"C{x:.1f},{middle:.1f} {nx:.1f},{middle:.1f} {nx:.1f},{ny:.1f}")
        x, y = nx, ny
    style = 'stroke="#0b7285" stroke-dasharray="5,3"' if arrow.update else 'stroke="#444"'
    return (
        f'<g class="edge">{_title(arrow.tooltip)}<path d="{" ".join(path)}" fill="none" {style} '
        'stroke-width="1" marker-end="url(#tip)"/></g>'
    )


def _box(box: Box, x: float, y: float, w: float, h: float) -> str:
    left, top = x - w / 2, y - h / 2
    paint = f'fill="{escape(box.fill)}" stroke="{escape(box.border)}"'
    rect = f'<rect x="{left:.1f}" y="{top:.1f}" width="{w:.1f}" height="{h:.1f}" '
    out = ['<g class="node">', _title(box.tooltip)]
    if box.shape == "table":
        names, _ = _columns(box)
        out.append(f'{rect}fill="white" stroke="{escape(box.border)}"/>')
        out.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{w:.1f}" height="22" {paint}/>')
        out.append(_text(x, top + 15.5, box.label, LABEL, bold=True))
        for i, (name, value) in enumerate(box.notes, 1):
            line = top + 22 * i
            split = left + names
            out.append(f'<path d="M{left:.1f},{line:.1f}h{w:.1f}M{split:.1f},{line:.1f}v22" '
                       f'stroke="{escape(box.border)}"/>')  # fmt: skip
            out.append(_text(left + names / 2, line + 14.5, str(name), NOTE, color="#555"))
            out.append(_text((split + left + w) / 2, line + 14.5, str(value), NOTE))
        return "".join([*out, "</g>"])
    if box.shape == "ellipse":
        out.append(
            f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{w / 2:.1f}" ry="{h / 2:.1f}" {paint}/>'
        )
    else:
        out.append(f'{rect}rx="3" {paint}/>')
    font = _font(box)
    lines = [(box.label, font, "#000"), *((str(n), NOTE, "#444") for n in box.notes)]
    line = y - sum(s * LINE for _, s, _ in lines) / 2
    for text, size, color in lines:
        out.append(_text(x, line + size * 1.02, text, size, color=color))
        line += size * LINE
    return "".join([*out, "</g>"])


def _text(
    x: float, y: float, text: str, size: float, *, color: str = "#000", bold: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{color}"{weight}>'
        f"{_clean(text)}</text>"
    )


def _title(text: str) -> str:
    return f"<title>{_clean(text)}</title>" if text else ""


def _clean(text: str) -> str:
    """Escaped, and free of the characters that XML forbids."""
    return escape("".join(c for c in text if c >= " " or c in "\n\t"))
