"""2-d convolution and its two gradients on the device: one correlation, in three roles.

`convolution_problem.py` has the roles, `convolution_tiles.py` how a block computes a part of one.
A sum over a batch, and any whose tiles are too few to keep the device busy, is cut into parts in a
temporary, which a second kernel adds in order. Source: S. Chetlur et al., "cuDNN: Efficient
primitives for deep learning", 2014: the matrix product without a matrix of patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from symgraph.compile.library.geometry import Geometry
from symgraph.compile.library.tiles import FLOATS

from .convolution_choice import choose
from .convolution_problem import FILTERS, IMAGES, correlation
from .convolution_sources import Printer
from .convolution_tiles import Tile
from .stage import Lowering, Shapes, Stage, ceil_div

BATCHES = (1, 16, 100, 500)  # tiles are chosen for the last of these that is not larger


def conv2d(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, O, OH, OW) = in0 (N, C, H, W) convolved with in1 (O, C / groups, kh, kw).

    Parameters and errors as the CPU's.
    """
    return _lowering("conv2d", dtype, params, ("in0", "in1", "out0"))


def conv2d_grad_inputs(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, C, H, W) = gradient of conv2d by the image.

    in0: filters (O, C / groups, kh, kw); in1: gradient of the output (N, O, OH, OW).
    """
    return _lowering("conv2d_grad_inputs", dtype, params, ("out0", "in0", "in1"))


def conv2d_grad_weights(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (O, C / groups, kh, kw) = gradient of conv2d by the filters.

    in0: image (N, C, H, W); in1: gradient of the output (N, O, OH, OW).
    """
    return _lowering("conv2d_grad_weights", dtype, params, ("in0", "out0", "in1"))


def _lowering(
    name: str, dtype: str, params: Mapping[str, object], operands: tuple[str, str, str]
) -> Lowering:
    """The launches of an operation whose images, filters and output are these operands.

    One computes the result; or, if its tiles are too few, one computes parts of its sums and
    another adds them.
    """
    if dtype not in FLOATS:
        raise ValueError(f"convolutions are for float32 and float64, not {dtype}")
    geometry = Geometry.read(params)
    title = f"{name}, {dtype}: {geometry.text()}"
    role = operands.index("out0")
    images, filters = (2, 1) if role == IMAGES else (1, 2)

    def tile(shapes: Shapes) -> Tile:
        problem = correlation(dtype, geometry, role, *(shapes[name] for name in operands))
        return choose(problem, _typical(batch(shapes)))

    def batch(shapes: Shapes) -> int:
        return shapes[operands[0]][0]

    def parts(shapes: Shapes) -> int:
        return tile(shapes).parts(batch(shapes))

    def split(shapes: Shapes) -> bool:
        return prod(shapes["out0"]) > 0 and (role == FILTERS or parts(shapes) > 1)

    def tiles(shapes: Shapes) -> int:
        return tile(shapes).blocks(batch(shapes)) if prod(shapes["out0"]) else 0

    def slots(shapes: Shapes) -> int:
        """Sums of a part, with those of ragged tiles."""
        return tiles(shapes) * tile(shapes).lanes * tile(shapes).sums

    def printer(shapes: Shapes) -> Printer:
        return Printer(tile(shapes), title, split(shapes))

    def convolve(shapes: Shapes) -> str:
        return printer(shapes).convolve(images, filters)

    def shape(shapes: Shapes) -> tuple[int, int]:
        return (parts(shapes), slots(shapes)) if split(shapes) else (0, 0)

    whole = Stage(convolve, ("out0", "in0", "in1"), lambda s: 0 if split(s) else tiles(s))
    partial = Stage(
        convolve, ("tmp0", "in0", "in1"), lambda s: parts(s) * tiles(s) if split(s) else 0
    )
    added = Stage(
        lambda s: printer(s).sum(), ("out0", "tmp0"),
        lambda s: ceil_div(slots(s) * tile(s).adders, 256) if split(s) else 0,
    )  # fmt: skip
    stages = (partial, added) if role == FILTERS else (whole, partial, added)
    return Lowering(stages, {"tmp0": (dtype, shape)})


def _typical(batch: int) -> int:
    """The batch that tiles are chosen for."""
    return max((size for size in BATCHES if size <= batch), default=BATCHES[0])
