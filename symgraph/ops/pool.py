"""The pooling functions that users call; the ops are in `pooling`.

Source: Theano, library/tensor/signal/pool and, up to 0.8, library/tensor/signal/downsample.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.ops.core import describe
from symgraph.ops.elementwise import cast
from symgraph.ops.pooling import MaxPoolGrad, Pool
from symgraph.ops.structure import known_integer
from symgraph.types import INTEGERS
from symgraph.variable import as_tensor_variable

__all__ = ["Pool", "max_pool_2d", "max_pool_2d_same_size", "pool_2d"]


def _numbers(name: str, value: Any) -> list[Any]:
    """Two numbers: ints where they are known when the graph is built, else int scalars."""
    if isinstance(value, (int, np.integer)):
        value = (value, value)
    items: Any = list(value) if isinstance(value, (tuple, list)) else None
    if items is None:
        vector: Any = as_tensor_variable(value)
        if vector.ndim != 1 or vector.dtype not in INTEGERS:
            raise TypeError(explain("pool_2d", f"{name} is two ints", got=describe((vector,))))
        known = [known_integer(vector, i) for i in (0, 1)]
        items = [vector[i] if k is None else k for i, k in enumerate(known)]
    if len(items) != 2:
        raise ValueError(explain("pool_2d", f"{name} must have length 2", got=repr(value)))
    result: list[Any] = []
    for item in items:
        v = as_tensor_variable(item)
        if v.dtype not in INTEGERS or v.ndim:
            raise TypeError(explain("pool_2d", f"{name} must be ints", got=repr(value)))
        known_item = known_integer(v)
        result.append(v if known_item is None else known_item)
    return result


def _renamed(new_name: str, new: Any, old_name: str, old: Any) -> Any:
    if new is not None and old is not None:
        raise ValueError(
            explain("pool_2d", f"{new_name} and {old_name} are both given",
                    cure=f"give {new_name} only: {old_name} is its former name")
        )  # fmt: skip
    return old if new is None else new


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
) -> Any:
    """Each window of the last two axes reduced to its "max", "sum", "average_inc_pad" or
    "average_exc_pad".

    `ws` (formerly `ds`): rows and columns of a window; `stride` (`st`): how far apart they begin,
    by default `ws`; `pad` (`padding`): zeros around the image, which max, sum and average_exc_pad
    do not count. With `ignore_border` only whole windows give an output, else partial ones too
    (the default, with a warning). All may be ints, pairs or symbolic int vectors; windows that are
    known when the graph is built get kernels of their own.

    The result has the input's dtype and leading axes. Every element that ties for a maximum gets
    the full gradient. NotImplementedError for inputs below 2-d, for padding without ignore_border
    or not below `ws`; ValueError for other modes. Source: Theano, library/tensor/signal/pool.
    """
    ws = _renamed("ws", ws, "ds", ds)
    if ws is None:
        raise ValueError(explain("pool_2d", "ws, the size of the windows, is missing"))
    stride = _renamed("stride", stride, "st", st)
    if padding is not None:
        none_given = isinstance(pad, tuple) and pad == (0, 0)
        pad = _renamed("pad", None if none_given else pad, "padding", padding)
    if ignore_border is None:
        warnings.warn(
            "pool_2d: ignore_border is not given: partial windows at the border are used "
            "(ignore_border=False); pass True to leave them out",
            stacklevel=2,
        )
        ignore_border = False
    x = as_tensor_variable(input)
    sizes = _numbers("ws", ws)
    strides = sizes if stride is None else _numbers("stride", stride)
    pads = _numbers("pad", pad)
    if x.ndim < 2:
        raise NotImplementedError(
            explain("pool_2d", "pooling needs at least 2 dimensions", got=describe((x,)))
        )
    wide = cast(x, "float32") if x.dtype == "float16" else x
    numbers = [*sizes, *strides, *pads]
    if all(isinstance(n, int) for n in numbers):
        op = Pool(mode, bool(ignore_border), *(tuple(p) for p in (sizes, strides, pads)))
        return cast(op(wide), x.dtype)
    window = as_tensor_variable([cast(as_tensor_variable(n), "int64") for n in numbers])
    return cast(Pool(mode, bool(ignore_border))(wide, window), x.dtype)


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
    return pool_2d(input, ds, ignore_border, st, padding, mode)
