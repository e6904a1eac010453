"""Pictures of training: learning curves, and the graph of the compiled function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import symgraph.printing
from lenet.pictures.figures import SMALL, TEXT, Target, new_figure, save
from lenet.train import Round


def curve(target: Target, history: Sequence[Round]) -> None:
    """Errors and costs of one run over the epochs, as PNG; ImportError without matplotlib."""
    figure = new_figure(9, 3.6)
    errors, costs = figure.subplots(1, 2)
    epochs = [entry.epoch for entry in history]
    tested = [entry for entry in history if entry.test_error is not None]
    errors.plot(epochs, [100 * e.validation_error for e in history], "o-", ms=3, label="validation")
    errors.plot(
        [e.epoch for e in tested], [100 * (e.test_error or 0) for e in tested], "s", ms=4,
        label="test, at best validation",
    )  # fmt: skip
    if tested:
        best = tested[-1]
        errors.set_title(
            f"best {100 * best.validation_error:.2f} % at epoch {best.epoch:g}, "
            f"test {100 * (best.test_error or 0):.2f} %",
            fontsize=TEXT + 1,
        )
    costs.plot(epochs, [e.cost for e in history], "o-", ms=3, color="tab:green", label="training")
    costs.plot(
        epochs, [e.validation_cost for e in history], "o-", ms=3, color="tab:blue",
        label="validation",
    )  # fmt: skip
    costs.set_title("mean cost", fontsize=TEXT + 1)
    _finish(errors, "error (%)")
    _finish(costs, "cost")
    for axes in (errors, costs):
        if history:
            axes.legend(frameon=False, fontsize=TEXT)
    save(figure, target)


def curves(target: Target, histories: Mapping[str, Sequence[Round]]) -> None:
    """The learning curves of several runs: validation error, and cost in training and validation.

    `histories` by the runs' names; axes are logarithmic where all values are above 0. ImportError
    without matplotlib.
    """
    lines = -(-len(histories) // 2)
    figure = new_figure(9.6, 4.0 + 0.22 * lines)
    errors, costs = figure.subplots(1, 2)
    for number, (name, history) in enumerate(histories.items()):
        color = f"C{number % 10}"
        style = {"color": color, "ms": 3, "ls": "-" if number < 10 else "-.", "lw": 1.4}
        epochs = [entry.epoch for entry in history]
        best = min(history, key=lambda entry: entry.validation_error)
        errors.plot(
            epochs, [100 * e.validation_error for e in history], "o", **style,
            label=f"{name}: best {100 * best.validation_error:.2f} % at epoch {best.epoch:g}",
        )  # fmt: skip
        costs.plot(epochs, [e.cost for e in history], "o", **style)
        costs.plot(epochs, [e.validation_cost for e in history], color=color, ls=":", lw=1.2)
    costs.plot([], [], "-", color="grey", label="training")
    costs.plot([], [], ":", color="grey", label="validation")
    costs.legend(frameon=False, fontsize=SMALL + 1)
    _finish(errors, "validation error (%)")
    _finish(costs, "mean cost")
    figure.legend(
        *errors.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False,
        fontsize=SMALL + 1,
    )  # fmt: skip
    save(figure, target)


def graph(path: Path, function: Any, announce: bool = False) -> None:
    """The graph of a compiled function (or of expressions), in the format of path's suffix.

    An SVG where nothing can draw that format; `announce` says on standard output which file it is.
    """
    symgraph.printing.pydotprint(function, outfile=path, print_output_file=announce)


def _finish(axes: Any, label: str) -> None:
    """Labels, grid, whole epochs, and a log scale if all values are above 0."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=SMALL + 1)
    values = [y for line in axes.get_lines() for y in line.get_ydata()]
    if values and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}" if max(values) < 30 * min(values) else "")
        axes.tick_params(axis="y", which="minor", labelsize=SMALL)
