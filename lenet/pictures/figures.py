"""What every picture needs: a sheet of rows, tiles, images as matplotlib takes them, saving.

Figures are matplotlib's, without pyplot: nothing is global, no window is opened. A `target` is a
path, written whole or not at all, or a binary buffer.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.data import DataError
from lenet.data.sources import say, write_atomically

Array = NDArray[Any]
Target = Path | io.BytesIO

CURE = "pip install 'symgraph[lenet]'"
DPI = 120
WIDTH = 9.0  # inches, of a full sheet
NARROW = 5.0  # inches, for few images: room for a title
SMALL, TEXT, HEAD = 7, 9, 11  # points
SIGNED = "RdBu_r"  # white is 0


def attempt(name: str, make: Callable[[], object]) -> None:
    """Make the picture `name`, or say on stderr why there is none (no matplotlib, a full disk)."""
    try:
        make()
    except ImportError as error:
        say(f"no {name}: {error.name} is not installed. Cure: {CURE}")
    except (OSError, DataError) as error:
        say(f"no {name}: {error}")


def save(figure: Any, target: Target) -> None:
    """Write `figure` as PNG. Raises DataError if a path cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    if isinstance(target, Path):
        write_atomically(target, png.getvalue())
    else:
        target.write(png.getvalue())


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, whose axes are arranged so that no texts overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def entitle(figure: Any, title: str) -> None:
    """Put `title` above all axes of `figure`, on several lines where it is longer than one."""
    figure.suptitle(title, fontsize=TEXT + 1, wrap=True)


@dataclass
class Sheet:
    """A picture of rows below each other, each with a title and of a size in inches."""

    title: str
    width: float = WIDTH
    rows: list[tuple[str, float, float, Callable[[Any], None]]] = field(default_factory=list)

    def row(self, title: str, width: float, height: float, draw: Callable[[Any], None]) -> None:
        """A row of that size for what `draw` draws into its axes."""
        self.rows.append((title, width, height, draw))

    def save(self, target: Target) -> None:
        """Draw all rows."""
        from matplotlib.figure import Figure

        head, left, right = 0.3, 0.15, 0.75
        captions = [0.34 if title else 0.1 for title, *_ in self.rows]
        total = head + sum(captions) + sum(height for _, _, height, _ in self.rows) + 0.12
        figure = Figure(figsize=(self.width, total))
        figure.text(left / self.width, 1 - 0.1 / total, self.title, fontsize=HEAD, va="top")
        top = total - head
        for (title, width, height, draw), caption in zip(self.rows, captions, strict=True):
            top -= caption
            figure.text(
                left / self.width, (top + 0.07) / total, title, fontsize=TEXT, color="#444444"
            )
            width = min(width, self.width - left - right)
            draw(figure.add_axes((left / self.width, (top - height) / total,
                                  width / self.width, height / total)))  # fmt: skip
            top -= height
        save(figure, target)


def mosaic(tiles: Array, columns: int) -> Array:
    """Tiles (n, height, width) or (n, height, width, 3) as one picture, NaN between them."""
    count, height, width = tiles.shape[:3]
    rows = -(-count // columns)
    shape = (rows * (height + 1) - 1, columns * (width + 1) - 1, *tiles.shape[3:])
    picture = np.full(shape, np.nan)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        picture[top : top + height, left : left + width] = tile
    return picture


def draw_tiles(
    axes: Any,
    tiles: Array,
    columns: int,
    *,
    names: Sequence[str] = (),
    aspect: str = "equal",
) -> None:
    """Signed tiles (n, height, width) in one scale, `names` in their corners, a bar beside them."""
    from matplotlib.patheffects import withStroke

    most = float(np.nanmax(np.abs(tiles))) or 1.0
    drawn = axes.imshow(
        mosaic(tiles, columns), cmap=SIGNED, vmin=-most, vmax=most, interpolation="nearest",
        aspect=aspect,
    )  # fmt: skip
    axes.axis("off")
    height, width = tiles.shape[1] + 1, tiles.shape[2] + 1
    for i, name in enumerate(names):
        axes.text(
            (i % columns) * width - 0.4, (i // columns) * height - 0.4, name, va="top",
            fontsize=SMALL - 1, path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )  # fmt: skip
    color_bar(axes, drawn)


def color_bar(axes: Any, drawn: Any) -> None:
    """The scale of `drawn` to the right of `axes`, at most 1.5 inches high."""
    figure = axes.figure
    axes.apply_aspect()
    width, height = figure.get_size_inches()
    box = axes.get_position()
    tall = min(box.height, 1.5 / height)
    beside = figure.add_axes((box.x1 + 0.08 / width, box.y1 - tall, 0.08 / width, tall))
    bar = figure.colorbar(drawn, cax=beside)
    bar.ax.tick_params(labelsize=SMALL - 1, length=2)
    bar.ax.locator_params(nbins=2 if tall * height < 0.5 else 5)
    bar.outline.set_visible(False)


def fitting(count: int, height: float, width: float, room: float, most: float) -> tuple[int, float]:
    """How many tiles stand side by side in `room` inches, and inches per pixel.

    Tiles are at most `most` inches wide, and shrink so that there are few rows.
    """
    for rows in range(1, count + 1):
        columns = -(-count // rows)
        scale = min(most / width, room / (columns * (width + 1)))
        if scale * width >= min(0.5, most) or rows >= 12:
            break
    return columns, scale


def show_image(axes: Any, image: Array) -> None:
    """An image uint8 (channels, height, width), 1 grey or 3 red, green, blue, without a frame."""
    axes.imshow(as_picture(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.axis("off")


def as_picture(image: Array) -> Array:
    """(channels, height, width) as (height, width), or (height, width, 3) for three channels."""
    return np.moveaxis(image, 0, 2) if len(image) == 3 else image[0]
