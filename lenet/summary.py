"""A model as a table of text, as Keras's `model.summary()` has it."""

from __future__ import annotations

from lenet.layers.base import times
from lenet.network import Model

HEAD = ("layer", "what it does", "output", "parameters", "connections", "FLOPs")


def summary(model: Model) -> str:
    """A row for each layer, and the totals; several lines, without a line feed at the end.

    Output shapes are those of one example. Connections are counted as LeCun counts them: the links
    into the units of a layer, biases too. FLOPs are the multiplications and additions for one
    example, forwards, without activations. Numbers that are kept but not trained are named below.
    """
    rows = [HEAD, *summary_rows(model)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    head, *middle, total = lines
    table = [f"model {model.name}, {model.loss.name}", "", head, rule, *middle, rule, total]
    fixed = sum(int(state.get_value(borrow=True).size) for state in model.states.values())
    return "\n".join(table + ([f"besides, not trained: {fixed:,} numbers"] if fixed else []))


def summary_rows(model: Model) -> list[tuple[str, ...]]:
    """The cells under HEAD: the images, each layer, the totals."""
    layers = model.layers
    connections, flops = (sum(getattr(one, n) for one in layers) for n in ("connections", "flops"))
    return [
        ("input", "images", times(model.input_shape), "", "", ""),
        *(
            (
                layer.name,
                layer.kind,
                times(layer.output_shape),
                *_counts(layer.parameters, layer.connections, layer.flops),
            )
            for layer in layers
        ),
        ("total", "", "", *_counts(model.parameters, connections, flops)),
    ]


def _counts(*numbers: int) -> tuple[str, str, str]:
    parameters, connections, flops = (f"{number:,}" for number in numbers)
    return parameters, connections, flops
