"""The pooling functions that users call; the ops are in `pooling`.

Source: Theano, library/tensor/signal/pool and, up to 0.8, library/tensor/signal/downsample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.deprecation import former, warn_user
from symgraph.errors import explain
from symgraph.ops.core import describe
from symgraph.ops.elementwise import cast
from symgraph.ops.pooling import TIES, MaxPoolGrad, Pool
from symgraph.ops.shape import reshape
from symgraph.ops.structure import known_integer, sizes_of
from symgraph.types import INTEGERS
from symgraph.variable import as_tensor_variable

__all__ = ["Pool", "max_pool_2d", "max_pool_2d_same_size", "pool_2d", "pool_3d"]


def _numbers(name: str, value: Any, axes: int = 2) -> list[Any]:
    """`axes` numbers: ints where they are known when the graph is built, else int scalars."""
    who = f"pool_{axes}d"
    if isinstance(value, (int, np.integer)):
        value = (value,) * axes
    items: Any = list(value) if isinstance(value, (tuple, list)) else None
    if items is None:
        vector: Any = as_tensor_variable(value)
        if vector.ndim != 1 or vector.dtype not in INTEGERS:
            raise TypeError(explain(who, f"{name} is {axes} ints", got=describe((vector,))))
        known = [known_integer(vector, i) for i in range(axes)]
        items = [vector[i] if k is None else k for i, k in enumerate(known)]
    if len(items) != axes:
        raise ValueError(explain(who, f"{name} must have length {axes}", got=repr(value)))
    result: list[Any] = []
    for item in items:
        v = as_tensor_variable(item)
        if v.dtype not in INTEGERS or v.ndim:
            raise TypeError(explain(who, f"{name} must be ints", got=repr(value)))
        known_item = known_integer(v)
        result.append(v if known_item is None else known_item)
    return result


def _renamed(new_name: str, new: Any, old_name: str, old: Any) -> Any:
    if new is not None and old is not None:
        raise ValueError(
            explain("pool", f"{new_name} and {old_name} are both given",
                    cure=f"give {new_name} only: {old_name} is its former name")
        )  # fmt: skip
    if old is None:
        return new
    former("pool", old_name, new_name)
    return old


def _windows(
    axes: int, ws: Any, stride: Any, pad: Any, ds: Any, st: Any, padding: Any
) -> list[list[Any]]:
    """ws, stride and pad, `axes` numbers each, under their names and their former ones."""
    ws = _renamed("ws", ws, "ds", ds)
    if ws is None:
        raise ValueError(explain(f"pool_{axes}d", "ws, the size of the windows, is missing"))
    stride = _renamed("stride", stride, "st", st)
    if padding is not None:
        none_given = isinstance(pad, tuple) and pad == (0,) * axes
        pad = _renamed("pad", None if none_given else pad, "padding", padding)
    sizes = _numbers("ws", ws, axes)
    strides = sizes if stride is None else _numbers("stride", stride, axes)
    return [sizes, strides, _numbers("pad", pad, axes)]


def _border(axes: int, ignore_border: bool | None) -> bool:
    if ignore_border is None:
        warn_user(
            f"pool_{axes}d: ignore_border is not given: partial windows at the border are used "
            "(ignore_border=False); pass True to leave them out"
        )
    return bool(ignore_border)


def pool_2d(
    input: Any,
    ws: Any = None,
    ignore_border: bool | None = None,
    stride: Any = None,
    pad: Any = (0, 0),
    mode: str = "max",
    ds: Any = None,
    st: Any = None,
    padding: Any = None,
    *,
    ties: str = "all",
) -> Any:
    """Each window of the last two axes reduced to its "max", "sum", "average_inc_pad" or
    "average_exc_pad".

    `ws` (formerly `ds`): rows and columns of a window; `stride` (`st`): how far apart they begin,
    by default `ws`; `pad` (`padding`): zeros around the image, which max, sum and average_exc_pad
    do not count. With `ignore_border` only whole windows give an output, else partial ones too
    (the default, with a warning). All may be ints, pairs or symbolic int vectors; windows that are
    known when the graph is built get kernels of their own.

    `ties`: of the elements of a window that tie for its maximum, "all" get the full gradient, as in
    Theano, or only the "first", row by row, as in PyTorch (torch.nn.MaxPool2d on the CPU), Keras
    and JAX; other modes have no ties. NaN wins a maximum and gets no gradient either way.

    The result has the input's dtype and leading axes. NotImplementedError for inputs below 2-d, for
    padding without ignore_border or not below `ws`; ValueError for other modes and ties. Source:
    Theano, library/tensor/signal/pool, which has no `ties`.
    """
    sizes, strides, pads = _windows(2, ws, stride, pad, ds, st, padding)
    ignore_border = _border(2, ignore_border)
    x = as_tensor_variable(input)
    if x.ndim < 2:
        raise NotImplementedError(
            explain("pool_2d", "pooling needs at least 2 dimensions", got=describe((x,)))
        )
    wide = cast(x, "float32") if x.dtype == "float16" else x
    if mode != "max" and ties in TIES:
        ties = "all"  # there are none: one op, not two
    numbers = [*sizes, *strides, *pads]
    if all(isinstance(n, int) for n in numbers):
        ws, stride, pad = map(tuple, (sizes, strides, pads))
        op = Pool(mode, ignore_border, ws, stride, pad, ties)
        return cast(op(wide), x.dtype)
    window = as_tensor_variable([cast(as_tensor_variable(n), "int64") for n in numbers])
    return cast(Pool(mode, ignore_border, ties=ties)(wide, window), x.dtype)


def pool_3d(
    input: Any,
    ws: Any = None,
    ignore_border: bool | None = None,
    stride: Any = None,
    pad: Any = (0, 0, 0),
    mode: str = "max",
    ds: Any = None,
    st: Any = None,
    padding: Any = None,
    *,
    ties: str = "all",
) -> Any:
    """Each window of the last three axes (depth, rows, columns) reduced; all else as `pool_2d`.

    All modes are products over the axes, so that rows and columns are pooled first, then the depth:
    the first maximum is that of the first depth, row by row. NotImplementedError for inputs below
    3-d. Source: Theano, library/tensor/signal/pool, pool_3d.
    """
    windows = _windows(3, ws, stride, pad, ds, st, padding)
    ignore_border = _border(3, ignore_border)
    x = as_tensor_variable(input)
    if x.ndim < 3:
        raise NotImplementedError(
            explain("pool_3d", "pooling needs at least 3 dimensions", got=describe((x,)))
        )
    sizes, strides, pads = ([n[0], n[1:]] for n in windows)
    flat = pool_2d(x, sizes[1], ignore_border, strides[1], pads[1], mode, ties=ties)
    *outer, depth, rows, columns = sizes_of(flat)
    flat = reshape(flat, [*outer, depth, rows * columns])
    out = pool_2d(
        flat, [sizes[0], 1], ignore_border, [strides[0], 1], [pads[0], 0], mode, ties=ties
    )
    return reshape(out, [*outer, sizes_of(out)[-2], rows, columns])


def max_pool_2d_same_size(input: Any, patch_size: Any) -> Any:
    """`input` with everything but the maximum of each window (patch_size) set to 0.

    Source: Theano, library/tensor/signal/pool, max_pool_2d_same_size.
    """
    x = as_tensor_variable(input)
    size = tuple(_numbers("patch_size", patch_size))
    if not all(isinstance(n, int) for n in size):
        raise TypeError(explain("max_pool_2d_same_size", "patch_size must be ints"))
    wide = cast(x, "float32") if x.dtype == "float16" else x
    out = Pool("max", True, size, size, (0, 0))(wide)
    return cast(MaxPoolGrad("max", True, size, size, (0, 0))(wide, out, out), x.dtype)


def max_pool_2d(
    input: Any,
    ds: Any,
    ignore_border: bool = False,
    st: Any = None,
    padding: Any = (0, 0),
    mode: str = "max",
) -> Any:
    """`pool_2d` under the name and with the defaults of theano.tensor.signal.downsample.

    Source: Theano 0.8, library/tensor/signal/downsample.
    """
    former("max_pool_2d", "downsample.max_pool_2d", "pool.pool_2d", "form")
    return pool_2d(input, ds, ignore_border, st, padding, mode)
