"""2-d convolution and its two gradients as matrix products on the micro-kernel.

No column matrix of a batch ever exists: each item gathers the panel it needs into the worker's
workspace and multiplies it while it is in cache ("implicit GEMM"; S. Chetlur et al., "cuDNN:
Efficient primitives for deep learning", 2014). With K = channels * kh * kw and P output pixels:

    conv2d               out[o, p]  = filters[o, K] @ patches[K, p]
    conv2d_grad_inputs   patches[K, p] = filters'[K, o] @ grad[o, p], then added to the image
    conv2d_grad_weights  filters[o, K] = sum over images of grad[o, p] @ patches'[p, K]
"""

from collections.abc import Mapping
from math import prod

from .blocking import channel_block, row_block
from .convolution_sources import (
    FOLD,
    FORWARD,
    GATHER,
    GRAD_INPUTS,
    GRAD_WEIGHTS,
    IMPORTS,
    SCATTER,
    SUM_WEIGHTS,
    UNFOLD,
)
from .geometry import Geometry
from .stage import Lowering, Shapes, Stage, ceil_div, read_sizes
from .tiles import FLOATS, Tile, host_tile

DEPTH = 256  # rows of B that a panel has
ITEMS = 8  # enough items for the threads when images are few
PARTS = 16  # at most so many partial sums of the filters' gradient
PARTS_ELEMENTS = 1 << 24  # and at most so many elements in all of them


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
    literals["line_start"] = "taps - 1 - i * kw" if geometry.flip else "i * kw"
    literals["sign"] = -1 if geometry.flip else 1
    contiguous = geometry.subsample[1] == 1
    literals["gather"] = (UNFOLD if contiguous else GATHER).format(**literals)
    literals["scatter"] = (FOLD if contiguous else SCATTER).format(**literals)
    return geometry, tile, literals


def _print(
    title: str, geometry: Geometry, body: str, sizes: str, literals: dict[str, object]
) -> str:
    comment = f"# {title}, {literals['dtype']}: {geometry.text()}.\n"
    return comment + IMPORTS.format(**literals) + "\n" + body.format(sizes=sizes, **literals)


def conv2d(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, O, OH, OW) = in0 (N, C, H, W) convolved with in1 (O, C / groups, kh, kw).

    params: filter_flip (default True: convolution; False: correlation), subsample, filter_dilation,
    pad ("valid", "full", "half" or ((top, bottom), (left, right))), num_groups, and kh and kw where
    the filter size is declared. OH = (H + top + bottom - ((kh - 1) * dilation + 1)) // stride + 1.
    Semantics of theano.tensor.nnet.conv2d; dtype float32 or float64, ValueError otherwise.
    """
    geometry, tile, literals = _setup(dtype, params)
    sizes = read_sizes(
        ("n o oh ow", "_ _ _ _"),
        ("_ _ h w", "_ _ _ _"),
        (geometry.filter_sizes("_ c kh kw"), "_ _ _ _"),
        ("work_bytes", ""),
    )
    source = _print("conv2d", geometry, FORWARD, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int]:
        """(depth, output rows) of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["out0"], shapes["in1"]
        depth = min(c, max(1, DEPTH // (kh * kw))) * kh * kw
        return depth, row_block(oh, ow, depth, n * geometry.groups)

    def extent(shapes: Shapes) -> int:
        n, o, oh, ow = shapes["out0"]
        return n * geometry.groups * ceil_div(oh, panel(shapes)[1]) if o and ow else 0

    def grain(shapes: Shapes) -> int:
        o, (_, c, kh, kw) = shapes["out0"][1], shapes["in1"]
        pixels = panel(shapes)[1] * shapes["out0"][3]
        return _grain(extent(shapes), o // geometry.groups * c * kh * kw * pixels)

    def workspace(shapes: Shapes) -> int:
        depth, rows = panel(shapes)
        return depth * _odd_strips(rows * shapes["out0"][3], tile) * tile.itemsize

    return Lowering((Stage(source, ("out0", "in0", "in1", "work"), extent, grain, workspace),))


def conv2d_grad_inputs(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, C, H, W) = gradient of conv2d by the image.

    in0: filters (O, C / groups, kh, kw); in1: gradient of the output (N, O, OH, OW). Parameters as
    for conv2d; pixels that no filter reaches get 0.
    """
    geometry, tile, literals = _setup(dtype, params)
    sizes = read_sizes(
        ("n _ h w", "_ _ _ _"),
        (geometry.filter_sizes("o c kh kw"), "_ _ _ _"),
        ("_ _ oh ow", "_ _ _ _"),
        ("work_bytes", ""),
    )
    source = _print("conv2d_grad_inputs", geometry, GRAD_INPUTS, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int]:
        """(channels, output rows) of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["in1"], shapes["in0"]
        channels = channel_block(c, kh * kw, n * geometry.groups)
        return channels, row_block(oh, ow, channels * kh * kw, ITEMS)

    def extent(shapes: Shapes) -> int:
        n, c = shapes["out0"][:2]
        return n * geometry.groups * ceil_div(c // geometry.groups, panel(shapes)[0])

    def grain(shapes: Shapes) -> int:
        (o, _, kh, kw), (_, _, oh, ow) = shapes["in0"], shapes["in1"]
        work = o // geometry.groups * panel(shapes)[0] * kh * kw * oh * ow
        return _grain(extent(shapes), work)

    def workspace(shapes: Shapes) -> int:
        channels, rows = panel(shapes)
        o, _, kh, kw = shapes["in0"]
        depth = min(o // geometry.groups, DEPTH) + channels * kh * kw
        return depth * _odd_strips(rows * shapes["in1"][3], tile) * tile.itemsize

    return Lowering((Stage(source, ("out0", "in0", "in1", "work"), extent, grain, workspace),))


def conv2d_grad_weights(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (O, C / groups, kh, kw) = gradient of conv2d by the filters.

    in0: image (N, C, H, W); in1: gradient of the output (N, O, OH, OW). Parameters as for conv2d.
    The images are dealt to at most 16 parts, by the problem, each with its row of tmp0; a second
    stage adds the rows in order.
    """
    geometry, tile, literals = _setup(dtype, params)
    sums = (geometry.filter_sizes("parts o c kh kw"), "count _ _ _ _")
    sizes = read_sizes(sums, ("n _ h w", "_ _ _ _"), ("_ _ oh ow", "_ _ _ _"), ("work_bytes", ""))
    source = _print("conv2d_grad_weights", geometry, GRAD_WEIGHTS, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int, int]:
        """(channels, blocks of them, output rows) of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["in1"], shapes["out0"]
        channels = channel_block(c, kh * kw, ITEMS)
        blocks = ceil_div(c, channels)
        rows = row_block(oh, ow, channels * kh * kw, n * geometry.groups * blocks)
        return channels, blocks, rows

    def parts(shapes: Shapes) -> tuple[int, ...]:
        n, _, oh, _ = shapes["in1"]
        units = n * ceil_div(oh, panel(shapes)[2])
        most = PARTS_ELEMENTS // max(1, prod(shapes["out0"]))
        return (max(1, min(PARTS, units, most)), *shapes["out0"])

    def extent(shapes: Shapes) -> int:
        return parts(shapes)[0] * geometry.groups * panel(shapes)[1]

    def grain(shapes: Shapes) -> int:
        (n, _, oh, ow), (o, c, kh, kw) = shapes["in1"], shapes["out0"]
        total = n * oh * ow * (o // geometry.groups) * c * kh * kw * geometry.groups
        return _grain(extent(shapes), total // max(1, extent(shapes)))

    def workspace(shapes: Shapes) -> int:
        channels, _, rows = panel(shapes)
        (_, _, _, ow), (_, _, kh, kw) = shapes["in1"], shapes["out0"]
        (sh, sw), (dh, dw) = geometry.subsample, geometry.dilation
        height = (rows - 1) * sh + (kh - 1) * dh + 1
        width = max(0, (ow - 1) * sw + (kw - 1) * dw + 1)
        patches = rows * ow * _odd_strips(channels * kh * kw, tile)
        return (height * width * channels + tile.lanes + patches) * tile.itemsize

    total = SUM_WEIGHTS.format(sizes=read_sizes(("_ _ _ _", "_ _ _ _"), sums), **literals)
    return Lowering(
        (
            Stage(source, ("tmp0", "in0", "in1", "work"), extent, grain, workspace),
            Stage(
                total,
                ("out0", "tmp0"),
                lambda shapes: shapes["out0"][0],
                lambda shapes: max(1, ceil_div(65536, 1 + prod(shapes["tmp0"][2:]))),
            ),
        ),
        {"tmp0": (tile.dtype, parts)},
    )


def _grain(extent: int, work: int) -> int:
    """Items in a chunk: a million multiply-adds or more, in at most 64 chunks."""
    return max(1, ceil_div(400_000, work + 1), ceil_div(extent, 64))


def _odd_strips(pixels: int, tile: Tile) -> int:
    """The length of a row of a panel: an odd number of strips."""
    return (ceil_div(pixels, tile.columns) | 1) * tile.columns
