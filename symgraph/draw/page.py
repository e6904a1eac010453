"""A web page of its own that shows a graph, to be dragged and zoomed: Theano's `d3viz`."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from symgraph.draw.graphs import graph_picture
from symgraph.draw.picture import Picture
from symgraph.draw.render import check_writable, render_picture, replacing
from symgraph.subject import subject_of

_STYLE = """
html, body { height: 100%; margin: 0; overflow: hidden; font: 14px sans-serif; }
p { position: fixed; margin: 0; padding: 6px 10px; background: #ffffffcc; }
#view { width: 100%; height: 100%; cursor: grab; }
#view > svg { transform-origin: 0 0; }
"""

# one matrix: wheel zooms about the pointer, dragging moves, a double click starts over
_SCRIPT = """
const view = document.getElementById("view"), picture = view.querySelector("svg");
let scale = 1, x = 0, y = 40;
const show = () => picture.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
view.addEventListener("wheel", event => {
  const factor = Math.exp(-event.deltaY / 500);
  x = event.clientX - (event.clientX - x) * factor;
  y = event.clientY - (event.clientY - y) * factor;
  scale *= factor;
  event.preventDefault();
  show();
}, {passive: false});
view.addEventListener("pointermove", event => {
  if (event.buttons & 1) { x += event.movementX; y += event.movementY; show(); }
});
view.addEventListener("dblclick", () => { scale = 1; x = 0; y = 40; show(); });
show();
"""


def d3viz(
    fct: Any,
    outfile: str | os.PathLike[str],
    copy_deps: bool = True,
    *args: Any,
    **options: Any,
) -> None:
    """Write a page (HTML) that shows a compiled function, a variable or a list of these.

    The wheel zooms, dragging moves, resting on a node shows its types and the user's line. The
    page needs nothing else, neither files nor a network; so `copy_deps` means nothing. `options`
    are those of `graph_picture`: `compact`, `max_label_size`, ... Raises OSError if the file cannot
    be written. Source: Theano, `theano.d3viz.d3viz`.
    """
    path = Path(outfile)
    check_writable(path)
    page = page_of(graph_picture(subject_of(fct), **options), path.stem)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def page_of(picture: Picture, title: str) -> str:
    """The page's HTML."""
    drawn = render_picture(picture, "svg").data.decode()
    svg = drawn[drawn.index("<svg") :]  # without the XML declaration, which HTML does not have
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}'
        f"</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        f"<p>{escape(title)}: wheel zooms, drag moves, double click starts over</p>\n"
        f'<div id="view">{svg}</div>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n'
    )
