"""What is declared of a convolution, and the sizes that follow from it.

Source: Theano, tensor/nnet/abstract_conv; rule 33 of its semantics.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.expr import Expr
from symgraph.graph import Constant

Pair = tuple[int, int]
Mode = str | tuple[Pair, ...]
Hint = tuple[int | None, ...] | None


# ---- sizes ---------------------------------------------------------------------------------------


def canonical_mode(border_mode: Any, axes: int = 2) -> Mode:
    """ "valid", "full", "half", or ((top, bottom), (left, right)) from an int or a pair.

    `axes`: how many there are, 2 or 3. ValueError for anything else and for negative numbers.
    """
    if isinstance(border_mode, str):
        if border_mode in ("valid", "full", "half"):
            return border_mode
    else:
        sides = border_mode if isinstance(border_mode, (tuple, list)) else (border_mode,) * axes
        pads = [tuple(s) if isinstance(s, (tuple, list)) else (s, s) for s in sides]
        numbers = [n for side in pads for n in side]
        whole = all(isinstance(n, (int, np.integer)) and n >= 0 for n in numbers)
        if len(pads) == axes and all(len(side) == 2 for side in pads) and whole:
            return tuple((int(a), int(b)) for a, b in pads)
    each = "(rows, columns)" if axes == 2 else "(depth, rows, columns)"
    raise ValueError(
        explain(f"conv{axes}d", f"invalid border_mode {border_mode!r}",
                expected=f"'valid', 'full', 'half', n or {each}, each n or (before, after), none "
                "negative")
    )  # fmt: skip


def positive_numbers(name: str, value: Any, axes: int = 2) -> tuple[int, ...]:
    """Strides or dilations, one for each axis; ValueError unless so many positive ints."""
    items = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(items) != axes or not all(isinstance(n, (int, np.integer)) and n > 0 for n in items):
        each = "(rows, columns)" if axes == 2 else "(depth, rows, columns)"
        raise ValueError(
            explain(f"conv{axes}d", f"{name} is {axes} positive ints", got=repr(value),
                    cure=f"write {name}={each}")
        )  # fmt: skip
    return tuple(int(n) for n in items)


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
    image: Any, kernel: Any, mode: Mode, stride: Any, dilation: int, axis: int
) -> tuple[Expr, Expr]:
    """The size of the output, and the room for moves that it follows from: below 0 is no output.

    (image + padding - ((kernel - 1) * dilation + 1)) // stride + 1: Dumoulin and Visin,
    "A guide to convolution arithmetic for deep learning" (2016).
    """
    before, after = padding(mode, axis, kernel, dilation)
    reach = E.add(E.mul(E.sub(kernel, 1), dilation), 1)
    room = E.sub(E.add(image, E.add(before, after)), reach)
    return E.add(E.floordiv(room, stride), 1), room


def declared(name: str, shape: Any, entries: int = 4) -> Hint:
    """A declared shape: None, or `entries` ints and Nones; constants are read."""
    if shape is None:
        return None
    who = "conv3d" if entries == 5 else "conv2d"  # (unshared filters have 6)
    if isinstance(shape, Constant):
        shape = shape.data.tolist()
    if not isinstance(shape, (tuple, list)):
        raise ValueError(
            explain(who, f"{name} is not a tuple", got=str(shape),
                    expected=f"{entries} ints, constants or Nones",
                    cure="leave it away where sizes are symbolic")
        )  # fmt: skip
    sizes: list[int | None] = []
    for size in shape:
        if isinstance(size, Constant):
            size = size.data.item()
        if size is not None and not (isinstance(size, (int, np.integer)) and size >= 0):
            raise ValueError(
                explain(who, f"{name}: {size!r} is not a size",
                        expected="ints, constants, or None for what is not known")
            )  # fmt: skip
        sizes.append(None if size is None else int(size))
    if len(sizes) != entries:
        raise ValueError(explain(who, f"{name} must have {entries} entries", got=repr(shape)))
    return tuple(sizes)
