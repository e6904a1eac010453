"""Images cut into patches, the rows of a matrix, and put together again.

Source: Theano, tensor/nnet/neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.errors import explain
from symgraph.ops.alloc import as_sizes
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.join import join
from symgraph.ops.shape import reshape
from symgraph.ops.sizes import known_integer
from symgraph.ops.structure import sizes_of
from symgraph.ops.windows import Windows, pad_axis
from symgraph.variable import as_tensor_variable

__all__ = ["images2neibs", "neibs2images"]

MODES = ("valid", "ignore_borders", "wrap_centered", "half", "full")


def _bordered(x: Any, axis: int, width: Any, mode: str) -> Any:
    """`x` with what windows of `width` see beyond the ends of `axis`."""
    if mode == "half":
        return pad_axis(x, axis, width // 2, width // 2)
    if mode == "full":
        return pad_axis(x, axis, width - 1, width - 1)
    if mode == "wrap_centered":
        before, half = (slice(None),) * axis, width // 2
        size = sizes_of(x)[axis]
        return join(axis, x[(*before, slice(size - half, None))], x,
                    x[(*before, slice(None, half))])  # fmt: skip
    return x


def images2neibs(ten4: Any, neib_shape: Any, neib_step: Any = None, mode: str = "valid") -> Any:
    """The patches of images (n, c, h, w), one in each row of a matrix of rows * columns columns.

    `neib_shape`: rows and columns of a patch; `neib_step`: how far apart they begin, by default the
    patch's own size. Both are pairs of ints or scalars, or an int vector. The rows of the matrix
    run over images, channels, and places from left to right and down. Modes: "valid", where patches
    must end where the image ends (TypeError at the call); "ignore_borders", the rest is left out;
    "half" and "full", valid of the image with size // 2, or size - 1, zeros around it;
    "wrap_centered", patches of odd constant sizes around every place of the grid, the image going
    on at its other side (TypeError for even ones). NotImplementedError for other modes, TypeError
    for other numbers of axes, ValueError at the call where no patch fits.
    Source: Theano, tensor/nnet/neighbours, images2neibs.
    """
    if mode not in MODES:
        raise NotImplementedError(
            explain("images2neibs", f"mode {mode!r}", expected=", ".join(MODES))
        )
    x = as_tensor_variable(ten4)
    if x.ndim != 4:
        raise TypeError(
            explain("images2neibs", "takes images of 4 axes", got=describe((x,)),
                    expected="(batch, channels, rows, columns)")
        )  # fmt: skip
    shape = as_sizes(neib_shape, "images2neibs", 2)
    step = shape if neib_step is None else as_sizes(neib_step, "images2neibs", 2)
    if len(shape) != 2 or len(step) != 2:
        raise ValueError(
            explain("images2neibs", "neib_shape and neib_step are rows and columns",
                    got=f"{neib_shape!r}, {neib_step!r}")
        )  # fmt: skip
    if mode == "wrap_centered" and any((known_integer(n) or 0) % 2 != 1 for n in shape):
        raise TypeError(
            explain("images2neibs", "mode wrap_centered needs patches of odd sizes",
                    got=repr(neib_shape), expected="odd ints that are known when this is built")
        )  # fmt: skip
    exact = mode in ("valid", "half", "full")
    for axis, width, stride in zip((2, 4), shape, step, strict=True):
        x = _bordered(x, axis, width, mode)
        x = Windows(axis, exact=exact)(x, width, stride)
    n, c, grid_rows, rows, grid_columns, columns = sizes_of(x)
    x = dimshuffle(x, (0, 1, 2, 4, 3, 5))
    return reshape(x, [n * c * grid_rows * grid_columns, rows * columns])


def neibs2images(
    neibs: Any, neib_shape: Any, original_shape: Sequence[Any] | Any, mode: str = "valid"
) -> Any:
    """The images of shape `original_shape` whose patches, `images2neibs` says, are `neibs`.

    Patches must not overlap. "valid", or "ignore_borders", which fills the rest with zeros;
    NotImplementedError for other modes, ValueError for sizes that do not fit.
    Source: Theano, tensor/nnet/neighbours, neibs2images.
    """
    if mode not in ("valid", "ignore_borders"):
        raise NotImplementedError(
            explain("neibs2images", f"mode {mode!r}", expected="valid or ignore_borders")
        )
    x = as_tensor_variable(neibs)
    patch, whole = (
        as_sizes(s, "neibs2images", k) for s, k in ((neib_shape, 2), (original_shape, 4))
    )
    if len(patch) != 2 or len(whole) != 4:
        raise ValueError(
            explain("neibs2images", "neib_shape has 2 entries, original_shape has 4",
                    got=f"{neib_shape!r}, {original_shape!r}",
                    expected="(rows, columns) and (batch, channels, rows, columns)")
        )  # fmt: skip
    (rows, columns), (n, c, h, w) = patch, whole
    grid = h // rows, w // columns
    x = reshape(x, [n, c, *grid, rows, columns])
    x = reshape(dimshuffle(x, (0, 1, 2, 4, 3, 5)), [n, c, grid[0] * rows, grid[1] * columns])
    if mode == "valid":  # a remainder makes the sizes differ, which is refused
        return reshape(x, [n, c, h, w])
    return pad_axis(pad_axis(x, 2, 0, h - grid[0] * rows), 3, 0, w - grid[1] * columns)
