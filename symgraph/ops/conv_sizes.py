"""What is declared of a convolution, and the sizes that follow from it.

Source: Theano, tensor/nnet/abstract_conv; rule 33 of its semantics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.expr import Expr
from symgraph.graph import Constant

Pair = tuple[int, int]
Mode = str | tuple[Pair, Pair]
Hint = tuple[int | None, ...] | None


# ---- sizes ---------------------------------------------------------------------------------------


def canonical_mode(border_mode: Any) -> Mode:
    """ "valid", "full", "half", or ((top, bottom), (left, right)) from an int or a pair.

    ValueError for anything else and for negative numbers.
    """
    if isinstance(border_mode, str):
        if border_mode in ("valid", "full", "half"):
            return border_mode
    else:
        sides = border_mode if isinstance(border_mode, (tuple, list)) else (border_mode,) * 2
        pads = [tuple(s) if isinstance(s, (tuple, list)) else (s, s) for s in sides]
        numbers = [n for side in pads for n in side]
        whole = all(isinstance(n, (int, np.integer)) and n >= 0 for n in numbers)
        if len(pads) == 2 and len(numbers) == 4 and len(pads[0]) == 2 and whole:
            (a, b), (c, d) = pads
            return ((int(a), int(b)), (int(c), int(d)))
    raise ValueError(
        explain("conv2d", f"invalid border_mode {border_mode!r}",
                expected="'valid', 'full', 'half', n, (rows, columns) or "
                "((top, bottom), (left, right)), none negative")
    )  # fmt: skip


def positive_pair(name: str, value: Any) -> tuple[int, int]:
    """Strides or dilations by rows and columns; ValueError if `value` is not two positive ints."""
    items = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(items) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in items):
        raise ValueError(
            explain("conv2d", f"{name} is a pair of positive ints", got=repr(value),
                    cure=f"write {name}=(rows, columns)")
        )  # fmt: skip
    return int(items[0]), int(items[1])


def padding(mode: Mode, axis: int, kernel: Any, dilation: int) -> tuple[Expr, Expr]:
    """How many zeros stand before and behind the image along `axis` (0: rows, 1: columns)."""
    reach = E.mul(E.sub(kernel, 1), dilation)
    if mode == "valid":
        return E.ZERO, E.ZERO
    if mode == "full":
        return reach, reach
    if mode == "half":
        half = E.floordiv(E.add(reach, 1), 2)
        return half, half
    pads: Any = mode
    before, after = pads[axis]
    return E.const(before), E.const(after)


def out_size(
    image: Any, kernel: Any, mode: Mode, stride: int, dilation: int, axis: int
) -> tuple[Expr, Expr]:
    """The size of the output, and the room for moves that it follows from: below 0 is no output.

    (image + padding - ((kernel - 1) * dilation + 1)) // stride + 1: Dumoulin and Visin,
    "A guide to convolution arithmetic for deep learning" (2016).
    """
    before, after = padding(mode, axis, kernel, dilation)
    reach = E.add(E.mul(E.sub(kernel, 1), dilation), 1)
    room = E.sub(E.add(image, E.add(before, after)), reach)
    return E.add(E.floordiv(room, stride), 1), room


def get_conv_output_shape(
    image_shape: Sequence[int | None],
    kernel_shape: Sequence[int | None],
    border_mode: Any,
    subsample: Sequence[int],
    filter_dilation: Sequence[int] | None = None,
) -> tuple[int | None, ...]:
    """The shape of conv2d's output: of ints, with None for what is not known.

    Source: Theano, tensor/nnet/abstract_conv, get_conv_output_shape.
    """
    mode = canonical_mode(border_mode)
    shape: list[int | None] = [image_shape[0], kernel_shape[0]]
    for axis in range(2):
        image, kernel = image_shape[2 + axis], kernel_shape[2 + axis]
        if image is None or kernel is None:
            shape.append(None)
            continue
        dilation = 1 if filter_dilation is None else filter_dilation[axis]
        size, _ = out_size(image, kernel, mode, subsample[axis], dilation, axis)
        shape.append(size.value)  # type: ignore[attr-defined]
    return tuple(shape)


def declared(name: str, shape: Any) -> Hint:
    """A declared shape: None, or four ints and Nones; constants are read."""
    if shape is None:
        return None
    if not isinstance(shape, (tuple, list)):
        raise ValueError(
            explain("conv2d", f"{name} is not a tuple", got=str(shape),
                    expected="four ints, constants or Nones",
                    cure="leave it away where sizes are symbolic")
        )  # fmt: skip
    sizes: list[int | None] = []
    for size in shape:
        if isinstance(size, Constant):
            size = size.data.item()
        if size is not None and not (isinstance(size, (int, np.integer)) and size >= 0):
            raise ValueError(
                explain("conv2d", f"{name}: {size!r} is not a size",
                        expected="ints, constants, or None for what is not known")
            )  # fmt: skip
        sizes.append(None if size is None else int(size))
    if len(sizes) != 4:
        raise ValueError(explain("conv2d", f"{name} must have 4 entries", got=repr(shape)))
    return tuple(sizes)
