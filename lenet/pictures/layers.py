"""Pictures of layers: what they give for an image, their filters, how their outputs are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lenet.inside import Activity
from lenet.network import Model
from lenet.pictures.figures import (
    SIGNED,
    SMALL,
    TEXT,
    WIDTH,
    Array,
    Sheet,
    Target,
    color_bar,
    draw_tiles,
    fitting,
    new_figure,
    save,
    show_image,
)

ROOM = WIDTH - 1.0  # inches for tiles, beside the margins and the colour bar
TALLEST = 11.0


def features(
    target: Target,
    model: Model,
    image: Array,
    outputs: Mapping[str, Array],
    *,
    layer: str | None = None,
    title: str = "feature maps",
) -> None:
    """What the layers of `model` make of one image: maps as tiles, rows of numbers as strips.

    `image` is uint8 (channels, height, width), `outputs` what `Classifier.outputs` gives for it,
    without the axis of examples; `layer` is drawn alone, else all that do not merely repeat the
    layer before. Red is positive, blue negative, white 0. Raises RunError for an unknown layer;
    ImportError without matplotlib.
    """
    chosen = [model.layer(layer)] if layer is not None else _telling(model, outputs)
    sheet = Sheet(title)
    side = 1.2
    sheet.row(
        f"input  {_sizes(image.shape)}", side * image.shape[2] / image.shape[1], side,
        lambda axes: show_image(axes, image),
    )  # fmt: skip
    for one in chosen:
        output = np.asarray(outputs[one.name], np.float64)
        words = f"{one.name}  {one.kind}  →  {_sizes(output.shape)}"
        if output.ndim == 3 and output.shape[1] * output.shape[2] > 1:
            _tile_row(sheet, words, output, most=2.0 if layer is not None else 1.2)
        elif one is model.layers[-1]:
            _score_row(sheet, words, output.ravel(), model.classes)
        else:
            _strip_row(sheet, words, output.ravel())
    sheet.save(target)


def filters(
    target: Target,
    weights: Array,
    *,
    title: str = "filters",
    names: Sequence[str] = (),
) -> None:
    """Weights as pictures, as lenet.inside.filters gives them; white is 0, one scale for all.

    (units, maps, height, width): for one map a tile for each unit; for more, a row of tiles for
    each of the first 64 units, a tile for each of the first 32 maps.
    (units, inputs): one picture of the matrix. `names` are those of the units, by default numbers.
    ImportError without matplotlib.
    """
    sheet = Sheet(title)
    if weights.ndim == 2:
        _matrix_row(sheet, weights)
    elif weights.shape[1] == 1:
        labels = list(names) or [str(i) for i in range(len(weights))]
        _tile_row(sheet, "", weights[:, 0], most=1.3, names=labels)
    else:
        _grid_row(sheet, weights)
    sheet.save(target)


def histograms(
    target: Target, activities: Mapping[str, Activity], *, title: str = "activations"
) -> None:
    """How the outputs of each layer are spread, and how many say nothing; counts on a log scale.

    `activities` is what lenet.inside.Inspector.activity gives. ImportError without matplotlib.
    """
    columns = 3
    rows = -(-len(activities) // columns)
    figure = new_figure(WIDTH, 1.95 * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, (name, activity) in zip(grid.flat, activities.items(), strict=False):
        axes.set_visible(True)
        axes.stairs(activity.counts, activity.edges, fill=True, color="tab:blue", alpha=0.8)
        axes.set_yscale("log")
        low = int(activity.counts[activity.counts > 0].min())
        axes.set_ylim(0.8 * 10 ** (len(str(low)) - 1), 1.6 * activity.counts.max())
        axes.yaxis.set_minor_formatter("")
        axes.set_title(name, fontsize=TEXT, loc="left")
        axes.set_xlabel(_said(activity), fontsize=SMALL + 0.5)
        axes.tick_params(labelsize=SMALL)
        axes.axvline(0, color="black", lw=0.5, alpha=0.5)
        axes.grid(alpha=0.25, which="major")
    for axes in grid[:, 0]:
        axes.set_ylabel("outputs", fontsize=SMALL + 0.5)
    figure.suptitle(title, fontsize=TEXT + 2, ha="left", x=0.01)
    save(figure, target)


def _said(activity: Activity) -> str:
    words = [f"{100 * activity.zero:.3g} % are 0"] if activity.zero else []
    if activity.saturated is not None:
        words.append(f"{100 * activity.saturated:.3g} % saturated")
    words.append(f"{activity.dead} of {activity.units} units dead")
    return ", ".join(words)


def _telling(model: Model, outputs: Mapping[str, Array]) -> list[Any]:
    """The layers of `model` but those that repeat their input, such as dropout."""
    found, before = [], None
    for layer in model.layers:
        output = outputs[layer.name]
        if before is None or not np.array_equal(output.ravel(), before.ravel()):
            found.append(layer)
        before = output
    return found


def _tile_row(
    sheet: Sheet, title: str, tiles: Array, *, most: float, names: Sequence[str] = ()
) -> None:
    height, width = tiles.shape[1:]
    columns, scale = fitting(len(tiles), height, width, ROOM, most)
    rows = -(-len(tiles) // columns)
    sheet.row(
        title, scale * (columns * (width + 1) - 1), scale * (rows * (height + 1) - 1),
        lambda axes: draw_tiles(axes, tiles, columns, names=names),
    )  # fmt: skip


def _strip_row(sheet: Sheet, title: str, values: Array) -> None:
    """A row of numbers as a strip, in lines of at most 120."""
    columns = min(len(values), 120)
    rows = -(-len(values) // columns)
    square = np.full(rows * columns, np.nan)
    square[: len(values)] = values
    tiles = square.reshape(1, rows, columns)
    sheet.row(
        title, min(ROOM, 0.15 * columns), max(0.25, rows * 0.16),
        lambda axes: draw_tiles(axes, tiles, 1, aspect="auto"),
    )  # fmt: skip


def _score_row(sheet: Sheet, title: str, scores: Array, classes: Sequence[str]) -> None:
    def draw(axes: Any) -> None:
        colors = ["tab:blue"] * len(scores)
        colors[int(scores.argmax())] = "tab:red"
        axes.bar(range(len(scores)), scores, color=colors)
        slanted = max(map(len, classes)) > 4
        axes.set_xticks(range(len(scores)), classes, fontsize=SMALL, rotation=30 if slanted else 0,
                        ha="right" if slanted else "center")  # fmt: skip
        axes.tick_params(axis="y", labelsize=SMALL)
        axes.yaxis.tick_right()
        axes.axhline(0, color="black", lw=0.5)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)

    sheet.row(f"{title}: the scores of the classes", 0.6 * WIDTH, 1.1, draw)
    sheet.row("", 1, 0.2 if max(map(len, classes)) <= 4 else 0.5, lambda axes: axes.axis("off"))


def _matrix_row(sheet: Sheet, weights: Array) -> None:
    height = min(5.0, max(0.8, ROOM * len(weights) / weights.shape[1]))

    def draw(axes: Any) -> None:
        most = float(np.abs(weights).max()) or 1.0
        drawn = axes.imshow(weights, cmap=SIGNED, vmin=-most, vmax=most, aspect="auto",
                            interpolation="nearest")  # fmt: skip
        axes.tick_params(labelsize=SMALL)
        axes.set_yticks([])
        color_bar(axes, drawn)

    sheet.row(f"units (rows) x inputs (columns), {_sizes(weights.shape)}", ROOM, height, draw)
    sheet.row("", 1, 0.1, lambda axes: axes.axis("off"))


def _grid_row(sheet: Sheet, weights: Array) -> None:
    """A row of tiles for each unit, a column for each input map."""
    shown = weights[:64, :32]
    units, maps, height, width = shown.shape
    scale = min(0.55 / width, ROOM / (maps * (width + 1)))
    blocks = max(1, min(-(-units // 8), int(ROOM / (scale * (maps + 1) * (width + 1)))))
    scale = min(scale, TALLEST / (-(-units // blocks) * (height + 1)))
    if blocks > 1:  # few input maps: several units side by side
        per = -(-units // blocks)
        gap = np.full((per * blocks, 1, height, width), np.nan)
        padded = np.full((per * blocks, maps, height, width), np.nan)
        padded[:units] = shown
        rows = np.concatenate([padded, gap], 1).reshape(blocks, per, maps + 1, height, width)
        tiles = rows.swapaxes(0, 1).reshape(-1, height, width)
        columns = blocks * (maps + 1)
    else:
        per, tiles, columns = units, shown.reshape(-1, height, width), maps
    numbers = {}
    for unit in range(units):
        block, row = divmod(unit, per)
        numbers[row * columns + block * (maps + 1) * (blocks > 1)] = str(unit)
    names = [numbers.get(i, "") for i in range(max(numbers) + 1)]
    more = "" if shown.size == weights.size else f", the first of {_sizes(weights.shape[:2])}"
    sheet.row(
        f"a row for each unit, a column for each input map: {units} x {maps}{more}",
        scale * (columns * (width + 1) - 1), scale * (per * (height + 1) - 1),
        lambda axes: draw_tiles(axes, tiles, columns, names=names),
    )  # fmt: skip


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
