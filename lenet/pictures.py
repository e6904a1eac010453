"""The pictures of a run: its learning curve, its first filters, its graph.

A picture that cannot be made (no matplotlib, a full disk) is one line on stderr, never the end of
the job.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import symgraph.printing
from lenet.data import DataError
from lenet.data.sources import say, write_atomically
from lenet.train import Round

_CURE = "pip install 'symgraph[lenet]'"


def attempt(name: str, make: Callable[[], object]) -> None:
    """Make the picture `name`, or say on stderr why there is none."""
    try:
        make()
    except ImportError as error:
        say(f"no {name}: {error.name} is not installed. Cure: {_CURE}")
    except (OSError, DataError) as error:
        say(f"no {name}: {error}")


def curve(path: Path, history: list[Round]) -> None:
    """Errors and cost over the epochs, as a PNG; ImportError without matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
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
            fontsize=10,
        )
        errors.legend(frameon=False)
    errors.set_ylabel("error (%)")
    costs.plot(epochs, [entry.cost for entry in history], "o-", ms=3, color="tab:green")
    costs.set_title("mean cost of the minibatches", fontsize=10)
    costs.set_ylabel("negative log likelihood")
    for axes in (errors, costs):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if history and min(axes.get_lines()[0].get_ydata()) > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
            axes.tick_params(axis="y", which="minor", labelsize=7)
    _save(figure, path)


def filters(path: Path, weights: np.ndarray) -> None:
    """The filters (n, maps, height, width) of the first layer, their first map each, as a PNG.

    As they act on the image: a convolution flips its filters, so they are drawn flipped. One
    scale for all, white at zero. ImportError without matplotlib.
    """
    from matplotlib.figure import Figure

    count = len(weights)
    columns = min(count, 10)
    rows = -(-count // columns)
    figure = Figure(figsize=(0.9 * columns + 1.2, 0.95 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    limit = float(np.abs(weights[:, 0]).max()) or 1.0
    drawn: Any = None
    for place, axes in enumerate(grid.flat):
        axes.axis("off")
        if place < count:
            tile = weights[place, 0, ::-1, ::-1]
            drawn = axes.imshow(tile, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_title(str(place), fontsize=7, pad=2)
    figure.colorbar(drawn, ax=grid, shrink=0.9, pad=0.02)
    figure.suptitle("filters of the first layer", fontsize=10)
    _save(figure, path)


def graph(path: Path, function: Any, announce: bool = False) -> None:
    """The graph of a compiled function (or of expressions), in the format of path's suffix.

    An SVG where nothing can draw that format; `announce` says on standard output which file it is.
    """
    symgraph.printing.pydotprint(function, outfile=path, print_output_file=announce)


def _save(figure: Any, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    write_atomically(path, png.getvalue())
