"""Convolution and its gradients on runs of interleaved images (see interleaved_tiles.py).

A run is as many images as a vector has lanes; the gradient by the images takes twice as many, since
there the pixels of one tile must be reached by the same taps. An item of a stage interleaves what
it reads of a run, multiplies, and puts the result back in the usual order, all in its workspace.
`suits` says, by shapes alone, where that is the better way; `convolution.py` has the other one.
"""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from .blocking import band_rows, even_rows, shared_channels, tile_rows
from .geometry import Geometry
from .interleaved_sources import FORWARD, GRAD_INPUTS, GRAD_WEIGHTS, IMPORTS, INTERLEAVE
from .stage import Shapes, Stage, ceil_div, chunk_of, read_sizes
from .tiles import Tile

STRIP = 64  # pixels between a tile and its operand or result: they stay in the first-level cache
ROOM = 1 << 20  # bytes of a run that an item holds at most: half of a second-level cache
MOVING = 40  # multiply-adds of a vector for one that is interleaved: then that is a quarter
SHORT = 100  # terms of a sum for which putting back the result costs too much
LONG = 2  # vectors of a row of pixels that is as good as it lies
PARTS = 16  # at most so many partial sums of the filters' gradient
PARTS_ELEMENTS = 1 << 24  # and at most so many elements in all of them


@dataclass(frozen=True)
class Runs:
    """A stage on runs of images, and the shapes for which it is the better one."""

    stage: Stage
    suits: Callable[[Shapes], bool]


def _heights(rule: Callable[[int, int, int], int], total: int | None, rows: int) -> tuple[int, ...]:
    """The heights of tiles that cover `total` rows by `rule`, or any number of rows."""
    heights = set()
    for rest in range(1, rows + 1) if total is None else (total,):
        first = 0
        while first < rest:
            heights.add(rule(rest, first, rows))
            first += rule(rest, first, rows)
    return tuple(sorted(heights)) or (1,)


def _nearly_full(n: int, images: int) -> bool:
    """Whether n images are full runs, but for an eighth."""
    return 0 < 8 * ceil_div(n, images) * images <= 9 * n


def _print(
    title: str, body: str, sizes: str, geometry: Geometry, literals: Mapping[str, object], deep: int
) -> str:
    """The source of a kernel whose items interleave images at an indentation of `deep`."""
    interleave = textwrap.indent(INTERLEAVE.format(**literals), " " * deep)
    comment = f"# {title}, {literals['dtype']}, on interleaved images: {geometry.text()}.\n"
    body = body.format(sizes=sizes, interleave=interleave, **literals)
    return comment + IMPORTS.format(**literals) + "\n" + body


def forward(
    geometry: Geometry, tile: Tile, literals: Mapping[str, object], maps: int | None
) -> Runs:
    """conv2d: an item makes a band of rows of the output of a run. `maps`: of a group, if known."""
    images, rows, room = tile.lanes, tile.rows, ROOM // tile.itemsize
    shape = _heights(tile_rows, maps, rows)
    literals = {
        **literals, "images": images, "pitch": images * tile.itemsize, "room": room,
        "strip": STRIP, "rows": rows,
        "tile_imports": "band_rows, window_tile", "tile_name": "window_tile", "tile_shape": shape,
    }  # fmt: skip
    sizes = read_sizes(
        ("n o oh ow", "_ _ _ _"),
        ("_ _ h w", "_ _ _ _"),
        (geometry.filter_sizes("_ c kh kw"), "_ _ _ _"),
        ("work_bytes", ""),
    )

    def band(shapes: Shapes) -> tuple[int, int, int]:
        """Output rows of a band, lines and columns of the image below it."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["out0"], shapes["in1"]
        (height, width), step = geometry.reach(kh, kw, 1, ow), geometry.subsample[0]
        runs = ceil_div(n, images) * geometry.groups
        most = band_rows(oh, step, 1, height, c * width * images, room, runs)
        return most, (most - 1) * step + height, width

    def suits(shapes: Shapes) -> bool:
        (n, o, _, ow), (_, c, kh, kw) = shapes["out0"], shapes["in1"]
        # Short sums do not pay for putting back the output, nor long rows for taking the images;
        # filters of one tap are a product of matrices that lie as they should.
        if not _nearly_full(n, images) or ow >= LONG * tile.lanes:
            return False
        if c * kh * kw < SHORT or kh * kw == 1:
            return False
        most, height, width = band(shapes)
        moved, multiplied = height * width, most * ow * kh * kw * o // geometry.groups
        return most > 0 and MOVING * moved <= multiplied

    def items(shapes: Shapes) -> int:
        """Of a run."""
        return geometry.groups * ceil_div(shapes["out0"][2], max(1, band(shapes)[0]))

    def extent(shapes: Shapes) -> int:
        return ceil_div(shapes["out0"][0], images) * items(shapes) if suits(shapes) else 0

    def grain(shapes: Shapes) -> int:
        return chunk_of(extent(shapes), prod(shapes["out0"]) * prod(shapes["in1"][1:]))

    def workspace(shapes: Shapes) -> int:
        if not suits(shapes):
            return 0
        (_, c, kh, kw), (_, height, width) = shapes["in1"], band(shapes)
        elements = (c * height * width + rows * STRIP) * images + rows * c * kh * kw
        return elements * tile.itemsize + 16 * kh * kw

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        return images, items(shapes), shapes["out0"][0]

    source = _print("conv2d", FORWARD, sizes, geometry, literals, 8)
    operands = ("out0", "in0", "in1", "work")
    along = ("out0", "in0")
    return Runs(Stage(source, operands, extent, grain, workspace, along, slices), suits)


def grad_inputs(
    geometry: Geometry, tile: Tile, literals: Mapping[str, object], channels: int | None
) -> Runs:
    """conv2d_grad_inputs: an item makes a band of rows of the images of a double run.

    `channels`: of a group, if known.
    """
    images, rows, room = 2 * tile.lanes, tile.rows, ROOM // tile.itemsize
    shape = _heights(tile_rows, channels, rows)
    literals = {
        **literals, "images": images, "pitch": images * tile.itemsize, "room": room,
        "strip": STRIP, "rows": rows,
        "tile_imports": "band_rows, window_tile", "tile_name": "window_tile", "tile_shape": shape,
    }  # fmt: skip
    sizes = read_sizes(
        ("n _ h w", "_ _ _ _"),
        (geometry.filter_sizes("o c kh kw"), "_ _ _ _"),
        ("_ _ oh ow", "_ _ _ _"),
        ("work_bytes", ""),
    )

    def band(shapes: Shapes) -> tuple[int, int]:
        """Rows of a band of the image, lines of the gradient that reach it."""
        (n, _, h, _), (o, _, kh, kw), (_, _, oh, ow) = shapes["out0"], shapes["in0"], shapes["in1"]
        reach, step = geometry.reach(kh, kw, 1, 1)[0], geometry.subsample[0]
        line, runs = o // geometry.groups * ow * images, ceil_div(n, images) * geometry.groups
        most = band_rows(h, 1, step, reach, line, room, runs)
        return most, min(oh, (most + reach - 2) // step + 1)

    def suits(shapes: Shapes) -> bool:
        (n, _, _, w), (o, c, kh, kw), ow = shapes["out0"], shapes["in0"], shapes["in1"][3]
        share = kh * kw // prod(geometry.subsample)  # of the taps, that reach a pixel
        if not _nearly_full(n, images) or o // geometry.groups * share < SHORT or kh * kw == 1:
            return False
        most, height = band(shapes)
        moved, multiplied = height * ow, most * w * share * c
        return most > 0 and 4 * w <= 3 * LONG * tile.lanes and MOVING * moved <= multiplied

    def items(shapes: Shapes) -> int:
        """Of a run."""
        return geometry.groups * ceil_div(shapes["out0"][2], max(1, band(shapes)[0]))

    def extent(shapes: Shapes) -> int:
        return ceil_div(shapes["out0"][0], images) * items(shapes) if suits(shapes) else 0

    def grain(shapes: Shapes) -> int:
        return chunk_of(extent(shapes), prod(shapes["in1"]) * prod(shapes["in0"][1:]))

    def workspace(shapes: Shapes) -> int:
        if not suits(shapes):
            return 0
        (o, _, kh, kw), ow, height = shapes["in0"], shapes["in1"][3], band(shapes)[1]
        maps = o // geometry.groups
        elements = (maps * height * ow + rows * STRIP) * images + rows * maps * kh * kw
        return elements * tile.itemsize + 16 * kh * kw

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        return images, items(shapes), shapes["out0"][0]

    source = _print("conv2d_grad_inputs", GRAD_INPUTS, sizes, geometry, literals, 8)
    operands = ("out0", "in0", "in1", "work")
    along = ("out0", "in1")
    return Runs(Stage(source, operands, extent, grain, workspace, along, slices), suits)


@dataclass(frozen=True)
class PartialSums(Runs):
    """The filters' gradient on runs of images, in parts (0 if it goes straight into out0)."""

    parts: Callable[[Shapes], int]


def grad_weights(
    geometry: Geometry, tile: Tile, literals: Mapping[str, object], maps: int | None
) -> PartialSums:
    """conv2d_grad_weights: an item sums over an equal share of the runs, for some channels.

    `maps`: of a group, if known. The sums are in tmp0, (parts, O, C / groups, kh, kw).
    """
    images, room = tile.lanes, ROOM // tile.itemsize
    # A vector of the gradient by five of the image: thirty registers of 32, and of 16 all.
    rows, width = (5, 5) if tile.lanes * tile.itemsize == 64 else (4, min(3, tile.lanes))
    literals = {
        **literals, "images": images, "pitch": images * tile.itemsize, "room": room,
        "strip": STRIP, "rows": rows, "width": width,
        "tile_imports": "band_rows, even_rows, shared_channels, sum_tile", "tile_name": "sum_tile",
        "tile_shape": f"{width}, {_heights(even_rows, maps, rows)}",
    }  # fmt: skip
    sizes = read_sizes(
        (geometry.filter_sizes("o c kh kw"), "_ _ _ _"),
        ("parts _ _ _ _", "_ _ _ _ _"),
        ("n _ h w", "_ _ _ _"),
        ("_ _ oh ow", "_ _ _ _"),
        ("work_bytes", ""),
    )

    def split(shapes: Shapes) -> tuple[int, int]:
        """Parts, and runs of a part."""
        runs = ceil_div(shapes["in0"][0], images)
        most = PARTS_ELEMENTS // max(1, prod(shapes["out0"]))
        parts = ceil_div(runs, ceil_div(runs, max(1, min(PARTS, most))))
        return parts, ceil_div(runs, parts)

    def band(shapes: Shapes) -> tuple[int, int, int, int]:
        """Channels of an item, output rows of a band, lines and columns of the image below it."""
        (_, c, kh, kw), (_, _, oh, ow) = shapes["out0"], shapes["in1"]
        channels = shared_channels(c, split(shapes)[0] * geometry.groups)
        (height, wide), step = geometry.reach(kh, kw, 1, ow), geometry.subsample[0]
        most = band_rows(oh, step, 1, height, channels * wide * images, room, 8)
        return channels, most, (most - 1) * step + height, wide

    def suits(shapes: Shapes) -> bool:
        (o, _, kh, kw), (n, _, _, ow) = shapes["out0"], shapes["in1"]
        if not _nearly_full(n, images) or not prod(shapes["out0"]) or ow >= LONG * tile.lanes:
            return False
        channels, most, height, wide = band(shapes)
        maps = o // geometry.groups
        moved, multiplied = height * wide * channels, most * ow * maps * channels * kh * kw
        return most > 0 and MOVING // 2 * (moved + most * ow * maps) <= multiplied

    def items(shapes: Shapes) -> int:
        """Of a part."""
        return geometry.groups * ceil_div(shapes["out0"][1], band(shapes)[0])

    def extent(shapes: Shapes) -> int:
        return split(shapes)[0] * items(shapes) if suits(shapes) else 0

    def grain(shapes: Shapes) -> int:
        return chunk_of(extent(shapes), prod(shapes["in1"]) * prod(shapes["out0"][1:]))

    def workspace(shapes: Shapes) -> int:
        if not suits(shapes):
            return 0
        (_, _, kh, kw), ow = shapes["out0"], shapes["in1"][3]
        channels, most, height, wide = band(shapes)
        elements = (channels * height * wide + rows * STRIP) * images
        return elements * tile.itemsize + 8 * (channels * kh * kw + width - 1 + most * ow)

    def parts(shapes: Shapes) -> int:
        count = split(shapes)[0] if suits(shapes) else 0
        return count if count > 1 else 0

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        return split(shapes)[1] * images, items(shapes), shapes["in0"][0]

    source = _print("conv2d_grad_weights", GRAD_WEIGHTS, sizes, geometry, literals, 12)
    operands = ("out0", "tmp0", "in0", "in1", "work")
    stage = Stage(source, operands, extent, grain, workspace, ("in0", "in1"), slices)
    return PartialSums(stage, suits, parts)
