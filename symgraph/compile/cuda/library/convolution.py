"""2-d convolution and its two gradients on the device: one correlation, in three roles.

With the roles of convolution_tiles.Problem:

    conv2d               maps = filters, channels = channels
    conv2d_grad_inputs   the gradient correlated with the filters the other way round: a gather, so
                         that nothing is added up in memory; maps = channels, channels = filters.
                         Strides become phases.
    conv2d_grad_weights  the images correlated with the gradient: images = channels, channels =
                         images, taps = pixels, and strides and dilations change places. The sum is
                         dealt to parts in a temporary, which a second kernel adds in order.

V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, has the
arithmetic of the roles; S. Chetlur et al., "cuDNN: Efficient primitives for deep learning", 2014,
the matrix product without a matrix of patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from symgraph.compile.library.geometry import Geometry
from symgraph.compile.library.tiles import FLOATS

from .convolution_sources import Printer
from .convolution_tiles import PROCESSORS, Axis, Problem, Tile, choose
from .stage import Lowering, Shapes, Stage, ceil_div

BATCHES = (16, 100, 500)  # a batch is taken for the last that is not larger, or for the first


def conv2d(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, O, OH, OW) = in0 (N, C, H, W) convolved with in1 (O, C / groups, kh, kw).

    Parameters and errors as the CPU's.
    """
    geometry = _geometry(dtype, params)

    def problem(shapes: Shapes) -> Problem:
        return _roles(dtype, geometry, "top", shapes["in0"], shapes["in1"], shapes["out0"])

    return _direct("conv2d", geometry, problem, images=1, filters=2)


def conv2d_grad_inputs(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, C, H, W) = gradient of conv2d by the image.

    in0: filters (O, C / groups, kh, kw); in1: gradient of the output (N, O, OH, OW).
    """
    geometry = _geometry(dtype, params)

    def problem(shapes: Shapes) -> Problem:
        return _roles(dtype, geometry, "images", shapes["out0"], shapes["in0"], shapes["in1"])

    return _direct("conv2d_grad_inputs", geometry, problem, images=2, filters=1)


def conv2d_grad_weights(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (O, C / groups, kh, kw) = gradient of conv2d by the filters.

    in0: image (N, C, H, W); in1: gradient of the output (N, O, OH, OW).
    """
    geometry = _geometry(dtype, params)
    title = f"conv2d_grad_weights: {geometry.text()}"

    def tile(shapes: Shapes) -> Tile:
        operands = shapes["in0"], shapes["out0"], shapes["in1"]
        return choose(_roles(dtype, geometry, "filters", *operands), _batch(shapes["in0"][0]))

    def tiles(shapes: Shapes) -> int:
        return tile(shapes).blocks(shapes["out0"][1]) if prod(shapes["out0"]) else 0

    def parts(shapes: Shapes) -> int:
        """As many as keep the device busy; each has some chunks."""
        count = tiles(shapes)
        chunks = tile(shapes).chunks(shapes["in0"][0]) if count else 0
        share = ceil_div(chunks, max(1, 2 * PROCESSORS // max(1, count)))
        return ceil_div(chunks, max(1, share))

    def sums(shapes: Shapes) -> int:
        chosen = tile(shapes) if tiles(shapes) else None
        return 0 if chosen is None else tiles(shapes) * chosen.lanes * chosen.sums

    return Lowering(
        (
            Stage(
                lambda shapes: Printer(tile(shapes), title).convolve(1, 2),
                ("tmp0", "in0", "in1"), lambda shapes: parts(shapes) * tiles(shapes),
            ),
            Stage(
                lambda shapes: Printer(tile(shapes), title).sum(),
                ("out0", "tmp0"), lambda shapes: ceil_div(sums(shapes), 32),
            ),
        ),
        {"tmp0": (dtype, lambda shapes: (parts(shapes), sums(shapes)))},
    )  # fmt: skip


def _direct(
    name: str, geometry: Geometry, problem: Callable[[Shapes], Problem], images: int, filters: int
) -> Lowering:
    """One launch that computes `out0`."""
    title = f"{name}: {geometry.text()}"

    def tile(shapes: Shapes) -> Tile:
        return choose(problem(shapes), _batch(shapes["out0"][0]))

    def blocks(shapes: Shapes) -> int:
        return tile(shapes).blocks(shapes["out0"][0]) if prod(shapes["out0"]) else 0

    def source(shapes: Shapes) -> str:
        return Printer(tile(shapes), title).convolve(images, filters)

    return Lowering((Stage(source, ("out0", "in0", "in1"), blocks),))


def _batch(count: int) -> int:
    """The batch that tiles are chosen for."""
    return max((batch for batch in BATCHES if batch <= count), default=BATCHES[0])


def _geometry(dtype: str, params: Mapping[str, object]) -> Geometry:
    if dtype not in FLOATS:
        raise ValueError(f"convolutions are for float32 and float64, not {dtype}")
    return Geometry.read(params)


# ---- the roles


def _roles(
    dtype: str,
    geometry: Geometry,
    role: str,
    images: tuple[int, ...],
    filters: tuple[int, ...],
    top: tuple[int, ...],
) -> Problem:
    """The correlation that computes `role`, "top", "images" or "filters", from the others."""
    (_, c, *image), (o, cg, *taps), (_, _, *out) = images, filters, top
    groups, og = geometry.groups, o // geometry.groups
    pixels, weights, size = prod(image), prod(taps), prod(out)
    axes = []
    for axis, (stride, dilation) in enumerate(zip(geometry.subsample, geometry.dilation)):
        reach = (taps[axis] - 1) * dilation
        named = {"valid": 0, "full": reach, "half": (reach + 1) // 2}
        pad = named[geometry.pad] if isinstance(geometry.pad, str) else geometry.pad[axis][0]
        h, k, oh = image[axis], taps[axis], out[axis]
        axes.append(
            {
                "top": Axis(oh, h, k, stride, dilation, pad),
                "images": Axis(h, oh, k, 1, dilation, reach - pad, stride),
                "filters": Axis(k, h, oh, dilation, stride, pad),
            }[role]
        )
    image_strides = (cg * pixels, c * pixels, pixels)  # group, image, channel
    filter_strides = (og * cg * weights, cg * weights, weights)  # group, filter, channel
    top_strides = (og * size, o * size, size)  # group, image, filter
    if role == "top":
        return Problem(
            dtype, None, og, cg, groups, *axes, geometry.flip, False,
            image_strides, filter_strides, top_strides,
        )  # fmt: skip
    if role == "images":
        return Problem(
            dtype, None, cg, og, groups, *axes, not geometry.flip, False,
            top_strides, _swapped(filter_strides), image_strides,
        )  # fmt: skip
    return Problem(
        dtype, cg, og, None, groups, *axes, False, geometry.flip,
        _swapped(image_strides), _swapped(top_strides), _swapped(filter_strides),
    )  # fmt: skip


def _swapped(strides: tuple[int, int, int]) -> tuple[int, int, int]:
    """Those of the group, and the others the other way round."""
    return strides[0], strides[2], strides[1]
