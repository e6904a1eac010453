"""Pictures of answers: which classes are mixed up, which images are hard, what decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.inside import hardest
from lenet.pictures.figures import (
    NARROW,
    SIGNED,
    SMALL,
    TEXT,
    WIDTH,
    Array,
    Target,
    as_picture,
    entitle,
    new_figure,
    save,
    show_image,
)


def confusion(
    target: Target,
    table: NDArray[np.int64],
    classes: Sequence[str],
    *,
    title: str = "confusion matrix",
) -> None:
    """How often each class (row) was taken for each (column), with the recall of each class.

    `table` is what lenet.inside.confusion gives. Shades are shares of the row: blue for right
    answers, red for wrong ones, these on a scale that shows single ones. ImportError without
    matplotlib.
    """
    count = len(classes)
    side = min(12.0, max(4.6, 0.46 * count + 1.2 + 0.07 * max(map(len, classes))))
    figure = new_figure(side + 0.9, side)
    axes = figure.subplots()
    totals = table.sum(1, keepdims=True)
    share = table / np.maximum(totals, 1)
    diagonal = np.eye(count, dtype=bool)
    for part, cmap, most in ((diagonal, "Blues", 1.3), (~diagonal, "Reds", None)):
        shade = np.where(part & (table > 0), share if most else np.sqrt(share), np.nan)
        axes.imshow(shade, cmap=cmap, vmin=0, vmax=most or 0.75)
    if count <= 30:
        for i, j in np.argwhere(table > 0):
            dark = share[i, j] > (0.6 if i == j else 0.3)
            axes.text(
                j, i, f"{table[i, j]}", ha="center", va="center",
                fontsize=SMALL + (count <= 12), color="white" if dark else "black",
            )  # fmt: skip
    slanted = max(map(len, classes)) > 4
    axes.set_xticks(range(count), classes, fontsize=SMALL + 1, rotation=40 if slanted else 0,
                    ha="right" if slanted else "center", rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(count), classes, fontsize=SMALL + 1)
    axes.set_xlabel("answer", fontsize=TEXT)
    axes.set_ylabel("label", fontsize=TEXT)
    recall = axes.secondary_yaxis("right")
    recall.set_yticks(
        range(count),
        [f"{100 * row[i]:.1f} %" if total else "-" for i, (row, total) in
         enumerate(zip(share, totals[:, 0], strict=True))],
        fontsize=SMALL + 1,
    )  # fmt: skip
    recall.tick_params(length=0)
    recall.set_ylabel("right answers (recall)", fontsize=TEXT)
    for spine in (*axes.spines.values(), *recall.spines.values()):
        spine.set_visible(False)
    right = int(np.trace(table))
    axes.set_title(f"{title}: {right:,} of {int(table.sum()):,} right", fontsize=TEXT + 1)
    save(figure, target)


def worst(
    target: Target,
    images: Array,
    labels: Array,
    probabilities: Array,
    classes: Sequence[str],
    *,
    count: int = 24,
    title: str = "the most wrong answers",
) -> None:
    """The `count` hardest of `images` uint8 (n, channels, height, width), the worst first.

    Each with its label and with the answer and its probability: red if wrong, green if right, which
    comes only when wrong ones are fewer than `count`. ImportError without matplotlib.
    """
    chosen = hardest(probabilities, labels, count)
    wrong = int(np.sum(probabilities.argmax(1) != labels))
    brief = max(map(len, classes)) <= 4
    columns = min(8 if brief else 6, len(chosen))
    rows = -(-len(chosen) // columns)
    width = WIDTH / (8 if brief else 6)
    figure = new_figure(
        max(width * columns, NARROW), (width + (0.32 if brief else 0.45)) * rows + 0.35
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, i in zip(grid.flat, chosen, strict=False):
        show_image(axes, images[i])
        answer, label = int(probabilities[i].argmax()), int(labels[i])
        gap = " " if brief else "\n"
        words = f"taken for {classes[answer]}" if answer != label else "found"
        axes.set_title(
            f"{classes[label]}{gap}{words}\n{100 * probabilities[i, answer]:.1f} %, no. {i}",
            fontsize=SMALL, pad=3, color="tab:red" if answer != label else "tab:green",
        )  # fmt: skip
    entitle(figure, f"{title}: {wrong:,} of {len(labels):,} are wrong")
    save(figure, target)


def saliency(
    target: Target,
    images: Array,
    x: Array,
    gradients: Array,
    captions: Sequence[str],
    *,
    title: str = "which pixels decide",
) -> None:
    """Images beside the gradients of their scores: magnitude, over the image, times the input.

    `images` uint8 (n, channels, height, width), `x` what the model got of them, `gradients` what
    lenet.inside.Inspector.saliency gives: a row for each, with its caption. Each has its own scale.
    ImportError without matplotlib.
    """
    count, side = len(images), 1.6
    figure = new_figure(4 * (side + 0.15) + 1.6, (side + 0.12) * count + 0.8)
    grid = figure.subplots(count, 4, squeeze=False)
    for axes, words in zip(
        grid[0], ("image", "|gradient|", "over the image", "gradient x input"), strict=True
    ):
        axes.set_title(words, fontsize=TEXT)
    for row, image, inputs, gradient, caption in zip(
        grid, images, x, gradients, captions, strict=True
    ):
        strength = np.abs(gradient).max(0)
        strength = strength / (strength.max() or 1.0)
        product = (gradient * inputs).sum(0)
        most = float(np.abs(product).max()) or 1.0
        show_image(row[0], image)
        row[1].imshow(strength, cmap="inferno", interpolation="nearest")
        grey = image.mean(0)[..., None]
        row[2].imshow(_overlaid(grey / 255, strength), interpolation="nearest")
        row[3].imshow(product, cmap=SIGNED, vmin=-most, vmax=most, interpolation="nearest")
        for axes in row:
            axes.axis("off")
        row[0].text(-0.08, 0.5, caption, transform=row[0].transAxes, ha="right", va="center",
                    fontsize=SMALL + 1)  # fmt: skip
    entitle(figure, title)
    save(figure, target)


def maximised(
    target: Target,
    pictures: Array,
    names: Sequence[str],
    *,
    limits: tuple[float, float] | None = (0.0, 1.0),
    title: str = "what units answer most to",
) -> None:
    """Pictures (n, channels, height, width) that maximise units, each under the unit's name.

    `limits` are black and white; None gives each picture the range that it has. ImportError without
    matplotlib.
    """
    columns = min(len(pictures), 5 if len(pictures) <= 10 else 8)
    rows = -(-len(pictures) // columns)
    width = WIDTH / max(columns, 5)
    figure = new_figure(max(width * columns, NARROW), (width + 0.12) * rows + 0.35)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture, name in zip(grid.flat, pictures, names, strict=False):
        low, high = limits or (float(picture.min()), float(picture.max()))
        shown = np.clip((picture - low) / ((high - low) or 1.0), 0, 1)
        axes.imshow(as_picture(shown), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(name, fontsize=SMALL + 1, pad=2)
    entitle(figure, title)
    save(figure, target)


def _overlaid(grey: Array, strength: Array) -> Array:
    """A grey picture (height, width, 1), 0 to 1, tinted red where `strength`, 0 to 1, is large."""
    alpha = strength[..., None]
    tint = np.array([1.0, 0.15, 0.05])
    mixed: Array = 0.75 * grey * (1 - alpha) + tint * alpha
    return mixed
