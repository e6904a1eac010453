"""Pictures of graphs and of layers. `symgraph.printing.pydotprint` is the face Theano's users know.

`graph_picture` makes a `Picture`; `write` draws it by Graphviz or by our own SVG writer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from symgraph.draw.graphs import graph_picture
from symgraph.draw.picture import Arrow, Box, Cluster, Picture, layers_picture
from symgraph.draw.render import (
    FORMATS,
    check_writable,
    find_dot,
    render_picture,
    split_format,
    write,
)
from symgraph.subject import Subject, subject_of

__all__ = [
    "FORMATS", "Arrow", "Box", "Cluster", "Picture", "Subject", "check_writable", "find_dot",
    "graph_picture", "layers", "layers_picture", "render_picture", "split_format", "subject_of",
    "write",
]  # fmt: skip


def layers(
    rows: Iterable[Any], outfile: str | os.PathLike[str], title: str = "", format: str = "png"
) -> Path:
    """Draw a column of layers, one table each, and below it the number of parameters.

    `rows` are (name, kind, output_shape, parameters), or objects with these attributes:
    output_shape is a tuple whose unknown sizes are None, parameters a number; objects may also have
    an input_shape. Returns the path
    that was written; formats and errors are those of `write`. Source of the form: Keras,
    `plot_model` with show_shapes.
    """
    return write(layers_picture(rows, title), outfile, format)
