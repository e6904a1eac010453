"""2-d convolution and its two gradients as matrix products on the micro-kernel.

No column matrix of a batch ever exists: each item gathers the panel it needs into the worker's
workspace and multiplies it while it is in cache ("implicit GEMM"; S. Chetlur et al., "cuDNN:
Efficient primitives for deep learning", 2014): some rows of pixels, or a part of one that is too
long for that, so that the workspace is bounded however wide an image is.
With K = channels * kh * kw and P output pixels:

    conv2d               out[o, p]  = filters[o, K] @ patches[K, p]
    conv2d_grad_inputs   patches[K, p] = filters'[K, o] @ grad[o, p], then added to the image
    conv2d_grad_weights  filters[o, K] = sum over images of grad[o, p] @ patches'[p, K]
"""

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from . import interleaved
from .blocking import channel_block, pixel_block, unit_share
from .convolution_sources import (
    BORDER,
    CLEAR,
    FOLD,
    FORWARD,
    GATHER,
    GRAD_INPUTS,
    GRAD_WEIGHTS,
    IMPORTS,
    NO_BORDER,
    PANEL,
    POINTS,
    SCATTER,
    SUM_PANELS,
    SUM_RUNS,
    SUM_WEIGHTS,
    UNFOLD,
)
from .geometry import Declared, Geometry
from .interleaved import PARTS, PARTS_ELEMENTS, Runs
from .stage import Lowering, Shapes, Stage, ceil_div, chunk_of, read_sizes
from .tiles import FLOATS, Tile, host_tile

DEPTH = 256  # rows of B that a panel has
ITEMS = 8  # enough items for the threads when images are few


def _setup(dtype: str, params: Mapping[str, object]) -> tuple[Geometry, Tile, dict[str, object]]:
    if dtype not in FLOATS:
        raise ValueError(f"convolutions are for float32 and float64, not {dtype}")
    geometry, tile = Geometry.read(params), host_tile(dtype)
    flipped = "(taps - 1 - tap % taps)"
    literals: dict[str, object] = {
        "dtype": dtype, "lanes": tile.lanes, "rows": tile.rows, "vectors": tile.vectors,
        "size": tile.itemsize, "width": tile.columns, "groups": geometry.groups, "depth": DEPTH,
        "sh": geometry.subsample[0], "sw": geometry.subsample[1],
        "dh": geometry.dilation[0], "dw": geometry.dilation[1],
        "geometry": geometry.lines(),
        "place": flipped if geometry.flip else "tap",
        "tap": f"(ch * taps + {flipped})" if geometry.flip else "tap",
        "row_tap": f"{flipped} // kw" if geometry.flip else "tap % taps // kw",
        "column_tap": f"{flipped} % kw" if geometry.flip else "tap % kw",
    }  # fmt: skip
    literals["panel"] = "    panel = work"
    literals["first_tap"] = "(taps - 1)" if geometry.flip else "0"
    literals["line_start"] = "taps - 1 - i * kw" if geometry.flip else "i * kw"
    literals["sign"] = -1 if geometry.flip else 1
    if geometry.pointwise:
        literals |= {
            "gather": POINTS.format(**literals),
            "clear": "", "scatter": "", "laid": f"ld, {tile.columns}",
            "patches": f"image + (y0 * w + x0) * {tile.itemsize}, h * w",
        }  # fmt: skip
        return geometry, tile, literals
    contiguous = geometry.subsample[1] == 1
    literals["border"] = (BORDER if geometry.bordered else NO_BORDER).format(**literals)
    if contiguous and geometry.bordered:
        literals["panel"] = PANEL.format(**literals)
    literals |= {
        "gather": (UNFOLD if contiguous else GATHER).format(**literals),
        "scatter": (FOLD if contiguous else SCATTER).format(**literals), "patches": "patches, ld",
        "laid": f"{tile.columns}, depth * {tile.columns}" if contiguous else f"ld, {tile.columns}",
        "clear": CLEAR.format(**literals),
    }  # fmt: skip
    return geometry, tile, literals


def _print(
    title: str, geometry: Geometry, body: str, sizes: str, literals: dict[str, object]
) -> str:
    comment = f"# {title}, {literals['dtype']}: {geometry.text()}.\n"
    return comment + IMPORTS.format(**literals) + "\n" + body.format(sizes=sizes, **literals)


def _either(direct: Stage, runs: Runs, known: Shapes | None) -> tuple[Stage, ...]:
    """The stage that `known` shapes want, or both of which one has no items."""
    if known is not None:
        return (runs.stage,) if runs.suits(known) else (direct,)

    def extent(shapes: Shapes) -> int:
        return 0 if runs.suits(shapes) else direct.extent(shapes)

    def workspace(shapes: Shapes) -> int:
        return 0 if runs.suits(shapes) else direct.workspace(shapes)

    return runs.stage, replace(direct, extent=extent, workspace=workspace)


def conv2d(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, O, OH, OW) = in0 (N, C, H, W) convolved with in1 (O, C / groups, kh, kw).

    params: filter_flip (default True: convolution; False: correlation), subsample, filter_dilation,
    pad ("valid", "full", "half" or ((top, bottom), (left, right))), num_groups, kh and kw where the
    filter size is declared, and "images" and "filters": shapes as far as they are declared, or
    None. OH = (H + top + bottom - ((kh - 1) * dilation + 1)) // stride + 1.
    Semantics of theano.tensor.nnet.conv2d; dtype float32 or float64, ValueError otherwise.
    """
    geometry, tile, literals = _setup(dtype, params)
    declared = Declared.read(params, geometry)
    sizes = read_sizes(
        ("n o oh ow", "_ _ _ _"),
        ("_ _ h w", "_ _ _ _"),
        (geometry.filter_sizes("_ c kh kw"), "_ _ _ _"),
        ("work_bytes", ""),
    )
    source = _print("conv2d", geometry, FORWARD, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int, int]:
        """(depth, output rows, output columns) of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["out0"], shapes["in1"]
        depth = min(c, max(1, DEPTH // (kh * kw))) * kh * kw
        return depth, *pixel_block(oh, ow, depth, n * geometry.groups)

    def extent(shapes: Shapes) -> int:
        n, o, oh, ow = shapes["out0"]
        _, rows, columns = panel(shapes)
        return n * geometry.groups * ceil_div(oh, rows) * ceil_div(ow, columns) if o else 0

    def grain(shapes: Shapes) -> int:
        return chunk_of(extent(shapes), prod(shapes["out0"]) * prod(shapes["in1"][1:]))

    def workspace(shapes: Shapes) -> int:
        kh, kw = shapes["in1"][2:]
        depth, rows, columns = panel(shapes)
        image = 0
        if geometry.bordered and geometry.subsample[1] == 1:
            image = depth // max(1, kh * kw) * prod(geometry.reach(kh, kw, rows, columns))
        return (image + tile.lanes + depth * _odd_strips(rows * columns, tile)) * tile.itemsize

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        n = shapes["out0"][0]
        return 1, extent(shapes) // max(1, n), n

    operands = ("out0", "in0", "in1", "work")
    direct = Stage(source, operands, extent, grain, workspace, ("out0", "in0"), slices)
    runs = interleaved.forward(geometry, tile, literals, declared.maps)
    return Lowering(_either(direct, runs, declared.shapes("out0", "in0", "in1")))


def conv2d_grad_inputs(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, C, H, W) = gradient of conv2d by the image.

    in0: filters (O, C / groups, kh, kw); in1: gradient of the output (N, O, OH, OW). Parameters as
    for conv2d; pixels that no filter reaches get 0.
    """
    geometry, tile, literals = _setup(dtype, params)
    declared = Declared.read(params, geometry)
    sizes = read_sizes(
        ("n _ h w", "_ _ _ _"),
        (geometry.filter_sizes("o c kh kw"), "_ _ _ _"),
        ("_ _ oh ow", "_ _ _ _"),
        ("work_bytes", ""),
    )
    source = _print("conv2d_grad_inputs", geometry, GRAD_INPUTS, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int]:
        """Channels of a panel; the elements of the workspace."""
        (n, _, oh, ow), (o, c, kh, kw) = shapes["in1"], shapes["in0"]
        channels = channel_block(c, kh * kw, n * geometry.groups)
        depth = min(o // geometry.groups, DEPTH) + channels * kh * kw
        return channels, depth * _odd_strips(prod(pixel_block(oh, ow, depth, ITEMS)), tile)

    def extent(shapes: Shapes) -> int:
        n, c = shapes["out0"][:2]
        return n * geometry.groups * ceil_div(c // geometry.groups, panel(shapes)[0])

    def grain(shapes: Shapes) -> int:
        return chunk_of(extent(shapes), prod(shapes["in1"]) * prod(shapes["in0"][1:]))

    def workspace(shapes: Shapes) -> int:
        return panel(shapes)[1] * tile.itemsize

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        n = shapes["out0"][0]
        return 1, extent(shapes) // max(1, n), n

    operands = ("out0", "in0", "in1", "work")
    direct = Stage(source, operands, extent, grain, workspace, ("out0", "in1"), slices)
    runs = interleaved.grad_inputs(geometry, tile, literals, declared.channels)
    return Lowering(_either(direct, runs, declared.shapes("in1", "out0", "in0")))


def conv2d_grad_weights(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (O, C / groups, kh, kw) = gradient of conv2d by the filters.

    in0: image (N, C, H, W); in1: gradient of the output (N, O, OH, OW). Parameters as for conv2d.
    The images are dealt to at most 16 parts, by the problem, each with its row of tmp0 (on runs of
    images) or tmp1; a second stage adds the rows in order.
    """
    geometry, tile, literals = _setup(dtype, params)
    declared = Declared.read(params, geometry)
    sums = (geometry.filter_sizes("parts o c kh kw"), "_ _ _ _ _")
    sizes = read_sizes(sums, ("n _ h w", "_ _ _ _"), ("_ _ oh ow", "_ _ _ _"), ("work_bytes", ""))
    if geometry.dilation[1] == 1:
        pieces = {
            "together": "kh", "piece": "kw", "apart": f"{geometry.dilation[0]} * width",
            "strip": f"(y1 - y0) * span * {tile.columns}", "pitch": tile.columns,
        }  # fmt: skip
    else:
        pieces = {
            "together": 1, "piece": 1, "apart": geometry.dilation[1],
            "strip": tile.columns, "pitch": "ld",
        }  # fmt: skip
    source = _print("conv2d_grad_weights", geometry, GRAD_WEIGHTS, sizes, literals | pieces)

    def panel(shapes: Shapes) -> tuple[int, int, tuple[int, int]]:
        """Channels of a panel, blocks of them, and output rows and columns of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["in1"], shapes["out0"]
        channels = channel_block(c, kh * kw, ITEMS)
        blocks = ceil_div(c, channels)
        return channels, blocks, pixel_block(
            oh, ow, channels * kh * kw, n * geometry.groups * blocks
        )  # fmt: skip

    def units(shapes: Shapes) -> int:
        """The panels that the output of an image makes."""
        (_, _, oh, ow), (rows, columns) = shapes["in1"], panel(shapes)[2]
        return ceil_div(oh, rows) * ceil_div(ow, columns)

    def split(shapes: Shapes) -> tuple[int, int]:
        """Parts, and units (panels of the output of an image) of a part."""
        n, pixel_blocks = shapes["in1"][0], units(shapes)
        most = PARTS_ELEMENTS // max(1, prod(shapes["out0"]))
        share = max(1, unit_share(n, pixel_blocks, max(1, min(PARTS, most))))
        parts = max(1, ceil_div(n * pixel_blocks, share))
        return parts, max(1, unit_share(n, pixel_blocks, parts))

    def extent(shapes: Shapes) -> int:
        return split(shapes)[0] * geometry.groups * panel(shapes)[1]

    def grain(shapes: Shapes) -> int:
        return chunk_of(extent(shapes), prod(shapes["in1"]) * prod(shapes["out0"][1:]))

    def workspace(shapes: Shapes) -> int:
        channels, _, (rows, columns) = panel(shapes)
        kh, kw = shapes["out0"][2:]
        height, width = geometry.reach(kh, kw, rows, columns)
        patches = rows * columns * _odd_strips(channels * kh * kw, tile)
        return (height * width * channels + tile.lanes + patches) * tile.itemsize

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        n, pixel_blocks = shapes["in1"][0], units(shapes)
        share, items = split(shapes)[1], geometry.groups * panel(shapes)[1]
        whole = pixel_blocks > 0 and share % pixel_blocks == 0
        return (share // pixel_blocks, items, n) if whole else (n, extent(shapes), n)

    direct = Stage(
        source, ("tmp1", "in0", "in1", "work"), extent, grain, workspace, ("in0", "in1"), slices
    )
    runs = interleaved.grad_weights(geometry, tile, literals, declared.maps)
    stages = _either(direct, runs, declared.shapes("in1", "in0", "out0"))
    temporaries = {}
    if runs.stage in stages:
        temporaries["tmp0"] = (tile.dtype, lambda s: (runs.parts(s), *s["out0"]))
    if runs.stage not in stages or len(stages) == 2:
        temporaries["tmp1"] = (
            tile.dtype, lambda s: (0 if runs.suits(s) else split(s)[0], *s["out0"])
        )  # fmt: skip
    return Lowering((*stages, _sum_weights(geometry, literals, tuple(temporaries))), temporaries)


def _sum_weights(
    geometry: Geometry, literals: Mapping[str, object], temporaries: tuple[str, ...]
) -> Stage:
    """The stage that adds the parts of the filters' gradient that are in `temporaries`."""
    pieces = {"tmp0": ("runs", SUM_RUNS), "tmp1": ("panels", SUM_PANELS)}
    sizes = [(geometry.filter_sizes("o c kh kw"), "_ _ _ _")]
    sizes += [(f"{pieces[name][0]} _ _ _ _", "_ _ _ _ _") for name in temporaries]
    body = "".join(
        pieces[name][1].format(operand=k, **literals) for k, name in enumerate(temporaries, 1)
    )
    source = SUM_WEIGHTS.format(
        sizes=read_sizes(*sizes, ("work_bytes", "")), body=body,
        work=1 + len(temporaries), **literals,
    )  # fmt: skip

    def elements(shapes: Shapes) -> int:
        return sum(prod(shapes[name]) for name in temporaries)

    def extent(shapes: Shapes) -> int:
        return shapes["out0"][0] if elements(shapes) else 0

    def grain(shapes: Shapes) -> int:
        return max(1, ceil_div(65536 * shapes["out0"][0], 1 + elements(shapes)))

    def workspace(shapes: Shapes) -> int:
        return prod(shapes["out0"][1:]) * int(literals["size"])  # type: ignore[call-overload,no-any-return]

    return Stage(source, ("out0", *temporaries, "work"), extent, grain, workspace)


def _odd_strips(pixels: int, tile: Tile) -> int:
    """The length of a row of a panel: an odd number of strips."""
    return (ceil_div(pixels, tile.columns) | 1) * tile.columns
