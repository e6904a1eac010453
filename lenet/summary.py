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
    body = [
        (
            layer.name,
            layer.kind,
            times(layer.output_shape),
            *_counts(layer.parameters, layer.connections, layer.flops),
        )
        for layer in model.layers
    ]
    layers = model.layers
    totals = _counts(
        model.parameters, sum(one.connections for one in layers), sum(one.flops for one in layers)
    )
    rows = [HEAD, ("input", "images", times(model.input_shape), "", "", ""), *body]
    rows.append(("total", "", "", *totals))
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


def _counts(*numbers: int) -> tuple[str, str, str]:
    parameters, connections, flops = (f"{number:,}" for number in numbers)
    return parameters, connections, flops
