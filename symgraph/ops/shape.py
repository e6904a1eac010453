"""What users call to rearrange arrays: reshape, flatten, transpose, squeeze, roll, repeat, tile.

They are compositions of `Reshape`, `DimShuffle`, `Alloc` and `Join`.
Source of names and semantics: Theano, tensor/basic.py and tensor/extra_ops.py; NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.deprecation import former
from symgraph.errors import ShapeError, explain
from symgraph.graph import Apply, Context, Op
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import alloc, as_sizes, cast_known
from symgraph.ops.core import describe, dimshuffle, pad_left
from symgraph.ops.diagonal import diag, diagonal, fill_diagonal, fill_diagonal_offset
from symgraph.ops.elementwise import maximum, mod
from symgraph.ops.join import as_axis, cut, join, stack
from symgraph.ops.sizes import (
    known_integer,
    known_length,
    raise_known_failures,
)
from symgraph.ops.structure import (
    MakeVector,
    Reshape,
    SpecifyShape,
    as_size,
    product_of,
    rebroadcast,
    shape,
    shape_i,
    size,
    sizes_of,
)
from symgraph.types import INTEGERS, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable, constant

__all__ = [
    "addbroadcast", "diag", "diagonal", "fill_diagonal", "fill_diagonal_offset", "flatten",
    "get_vector_length",
    "patternbroadcast", "ravel", "repeat", "reshape", "roll", "shape", "shape_i", "shape_padaxis",
    "shape_padleft", "shape_padright", "size", "specify_shape", "squeeze", "stack", "swapaxes",
    "tile", "transpose", "unbroadcast", "with_ndim",
]  # fmt: skip

# ---- another shape -------------------------------------------------------------------------------


def _shape_vector(newshape: Any, ndim: int | None, who: str) -> tuple[Any, int]:
    """A shape given by a user as an int64 vector variable, and its length."""
    if isinstance(newshape, (list, tuple)) or getattr(newshape, "ndim", 0) == 0:
        items = as_sizes(newshape, who)
        if not items:
            return constant(np.zeros(0, dtype="int64")), 0
        return MakeVector("int64")(*items), len(items)
    vector = as_tensor_variable(newshape)
    if vector.ndim != 1 or vector.dtype not in INTEGERS:
        raise TypeError(
            explain(who, "Shape must be integers", got=describe([vector]),
                    expected="a list of integers and scalars, or an integer vector")
        )  # fmt: skip
    length = known_length(vector)
    if length is None:
        length = ndim
    if length is None:
        raise ValueError(
            explain(who, "The length of the provided shape cannot be automatically determined",
                    got=describe([vector]), expected="the number of axes of the result",
                    cure="give ndim=, or a list of scalars")
        )  # fmt: skip
    return vector, length


def reshape(x: Any, newshape: Any, ndim: int | None = None) -> Any:
    """`x` in shape `newshape`, row-major: a view where memory allows it.

    `newshape` is a list of integers and integer scalars, or an integer vector (whose length must
    be known, or be `ndim`); one element may be -1. Elements that are the constant 1 become
    broadcastable. TypeError for shapes that are not integers, ValueError for a wrong `ndim`, and,
    when called (or at once, if known), for sizes that do not fit. Source: Theano, `T.reshape`.
    """
    x = as_tensor_variable(x)
    vector, length = _shape_vector(newshape, ndim, "reshape")
    if ndim is not None and length != ndim:
        raise ValueError(
            explain("reshape", "ndim is not the length of the new shape", got=f"ndim={ndim}",
                    expected=str(length))
        )  # fmt: skip
    wanted = [known_integer(vector, k) for k in range(length)]
    for n in wanted:
        if (n is not None and n < -1) or wanted.count(-1) > 1:
            raise ValueError(
                explain("reshape", "a size is negative", got=str(newshape),
                        expected="sizes from 0, and at most one -1")
            )  # fmt: skip
    node = Reshape(tuple(n == 1 for n in wanted)).make_node(x, vector)
    raise_known_failures(node)
    return node.out


def get_vector_length(v: Any) -> int:
    """The length of the vector `v`, if it is known while the graph is built; else ValueError.

    Source: Theano, `T.get_vector_length`.
    """
    v = as_tensor_variable(v)
    if v.ndim != 1:
        raise TypeError(explain("get_vector_length", "takes a vector", got=describe([v])))
    length = known_length(v)
    if length is None:
        raise ValueError(explain("get_vector_length", "length not known", got=describe([v])))
    return length


def flatten(x: Any, ndim: int | None = None, outdim: int | None = None) -> Any:
    """The first `ndim` - 1 axes of `x` as they are, the others as one; a vector by default.

    Keeps the broadcast pattern. ValueError for `ndim` outside of 1 to x.ndim (a scalar gives a
    vector of one element). `outdim` is an old name of `ndim`. Source: Theano, `T.flatten`.
    """
    if outdim is not None:
        if ndim is not None:
            raise ValueError("flatten: give ndim or its old name outdim, not both")
        former("flatten", "outdim", "ndim")
        ndim = outdim
    ndim = 1 if ndim is None else int(ndim)
    x = as_tensor_variable(x)
    if not 1 <= ndim <= max(1, x.ndim):
        raise ValueError(
            explain("flatten", f"invalid ndim {ndim}", got=describe([x]),
                    expected=f"from 1 to {max(1, x.ndim)}")
        )  # fmt: skip
    if x.ndim == ndim:
        return x
    sizes = sizes_of(x)
    return reshape(x, [*sizes[: ndim - 1], product_of(sizes[ndim - 1 :])])


def ravel(x: Any) -> Any:
    """`x` as a vector."""
    return flatten(x)


def with_ndim(x: Any, ndim: int) -> Any:
    """`x` with `ndim` axes, added or (if broadcastable) dropped on the left. ValueError if not."""
    if x.ndim <= ndim:
        return pad_left(x, ndim)
    surplus = x.ndim - ndim
    if not all(x.broadcastable[:surplus]):
        raise ValueError(
            explain("as_tensor_variable", f"cannot be given {ndim} axes", got=describe([x]),
                    expected="leading axes that are broadcastable")
        )  # fmt: skip
    return dimshuffle(x, tuple(range(surplus, x.ndim)))


# ---- other axes ----------------------------------------------------------------------------------


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """`x` with its axes in the order `axes` (default: reversed). A view."""
    x = as_tensor_variable(x)
    if axes is None:
        return dimshuffle(x, tuple(reversed(range(x.ndim))))
    if len(axes) != x.ndim:
        raise ValueError(explain("transpose", "axes do not match", got=f"{axes} for {x.ndim} axes"))
    return dimshuffle(x, tuple(as_axis(a, x.ndim, "transpose") for a in axes))


def swapaxes(y: Any, axis1: int, axis2: int) -> Any:
    """`y` with two axes exchanged. A view."""
    y = as_tensor_variable(y)
    order = list(range(y.ndim))
    a, b = as_axis(axis1, y.ndim, "swapaxes"), as_axis(axis2, y.ndim, "swapaxes")
    order[a], order[b] = order[b], order[a]
    return dimshuffle(y, order)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """`x` without its broadcastable axes, or without those in `axis`, which must be so.

    Source: Theano, extra_ops.squeeze; `axis` as in NumPy.
    """
    x = as_tensor_variable(x)
    if axis is None:
        drop = [a for a, one in enumerate(x.broadcastable) if one]
    else:
        axes = axis if isinstance(axis, (list, tuple)) else [axis]
        drop = [as_axis(a, x.ndim, "squeeze") for a in axes]
    return dimshuffle(x, [a for a in range(x.ndim) if a not in drop])


def shape_padleft(t: Any, n_ones: int = 1) -> Any:
    """`t` with `n_ones` new broadcastable axes on the left."""
    t = as_tensor_variable(t)
    return pad_left(t, t.ndim + n_ones)


def shape_padright(t: Any, n_ones: int = 1) -> Any:
    """`t` with `n_ones` new broadcastable axes on the right."""
    t = as_tensor_variable(t)
    return dimshuffle(t, (*range(t.ndim), *["x"] * n_ones))


def shape_padaxis(t: Any, axis: int) -> Any:
    """`t` with a new broadcastable axis at `axis` of the result."""
    t = as_tensor_variable(t)
    axis = as_axis(axis, t.ndim + 1, "shape_padaxis")
    return dimshuffle(t, (*range(axis), "x", *range(axis, t.ndim)))


# ---- promises about sizes ------------------------------------------------------------------------


def specify_shape(x: Any, shape: Any) -> Any:
    """`x`, of which `shape` is promised to be the shape; AssertionError at the call if it is not.

    `shape` is as for `reshape`, without -1. Constants 1 make the axis broadcastable.
    Source: Theano, `T.specify_shape`.
    """
    return with_shape(SpecifyShape, x, shape)


def with_shape(kind: type[SpecifyShape], x: Any, shape: Any) -> Any:
    """`x` with the promise `kind` that its shape is `shape`."""
    x = as_tensor_variable(x)
    vector, length = _shape_vector(shape, x.ndim, "specify_shape")
    if length != x.ndim:
        raise ValueError(
            explain("specify_shape", "wrong number of sizes", got=f"{length} for {describe([x])}",
                    expected=f"{x.ndim} sizes")
        )  # fmt: skip
    pattern = [
        one or known_integer(vector, k) == 1 for k, one in enumerate(x.broadcastable)
    ]  # fmt: skip
    node = kind(tuple(pattern)).make_node(x, vector)
    raise_known_failures(node)
    return node.out


def addbroadcast(x: Any, *axes: int) -> Any:
    """`x` with `axes` broadcastable; ValueError at the call where they are not of size 1."""
    return _change_pattern(x, axes, True)


def unbroadcast(x: Any, *axes: int) -> Any:
    """`x` with `axes` not broadcastable."""
    return _change_pattern(x, axes, False)


def _change_pattern(x: Any, axes: Sequence[int], value: bool) -> Any:
    x = as_tensor_variable(x)
    pattern = list(x.broadcastable)
    for axis in axes:
        pattern[as_axis(axis, x.ndim, "addbroadcast" if value else "unbroadcast")] = value
    return rebroadcast(x, pattern)


def patternbroadcast(x: Any, broadcastable: Sequence[bool]) -> Any:
    """`x` with exactly this pattern; ValueError at the call where a True is not of size 1."""
    return rebroadcast(as_tensor_variable(x), broadcastable)


# ---- repetition ----------------------------------------------------------------------------------


def roll(x: Any, shift: Any, axis: int | None = None) -> Any:
    """`x` moved by `shift` places along `axis`, what leaves at one end entering at the other.

    `shift` is an integer or an integer scalar; without `axis` the flattened array is rolled.
    Source: Theano, `T.roll`.
    """
    x = as_tensor_variable(x)
    if axis is None:
        return x if x.ndim == 0 else reshape(roll(flatten(x), shift, 0), sizes_of(x))
    axis = as_axis(axis, x.ndim, "roll")
    length = shape_i(x, axis)
    places = mod(as_size(shift, "roll"), maximum(length, constant(1, dtype="int64")))
    head, tail = cut(x, length - places, axis)
    return rebroadcast(join(axis, tail, head), x.broadcastable)


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element of `x` `repeats` times along `axis` (default: of the flattened array).

    `repeats` is an integer, an integer scalar, or an integer vector with one count for each
    element. ValueError for other ndims, and at the call for negative counts.
    Source: Theano, extra_ops.repeat.
    """
    x = as_tensor_variable(x)
    if axis is None:
        x, axis = flatten(x), 0
    axis = as_axis(axis, x.ndim, "repeat")
    counts = as_tensor_variable(repeats)
    if counts.ndim > 1 or counts.dtype not in INTEGERS:
        raise (ValueError if counts.ndim > 1 else TypeError)(
            explain("repeat", "repeats is not an integer or a vector of integers",
                    got=describe([counts]))
        )  # fmt: skip
    if counts.ndim == 1 and not counts.broadcastable[0]:
        from symgraph.ops.advanced import take

        return take(x, RepeatedPositions()(cast_known(counts, "int64"), shape_i(x, axis)), axis)
    count = as_size(counts if counts.ndim == 0 else dimshuffle(counts, ()), "repeat")
    sizes = sizes_of(x)
    wide = dimshuffle(x, (*range(axis + 1), "x", *range(axis + 1, x.ndim)))
    wide = alloc(wide, *sizes[: axis + 1], count, *sizes[axis + 1 :])
    sizes[axis] = product_of([sizes[axis], count])
    return reshape(wide, sizes)


@dataclass(frozen=True)
class RepeatedPositions(Op):
    """Position i, counts[i] times, for each i below n: an int64 vector. ShapeError if they differ.

    Its length depends on data, so it runs as a Python step.
    """

    def output_types(self, counts: Any, n: Any) -> list[TensorType]:
        return [TensorType("int64", (False,))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [None]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        counts, n = inputs
        if len(counts) != n or (counts < 0).any():
            raise ShapeError(
                explain("repeat", "the counts do not fit", where=node.trace,
                        got=f"{len(counts)} counts, the smallest {counts.min(initial=0)}, "
                        f"for {int(n)} elements", expected="one count from 0 for each element")
            )  # fmt: skip
        return [np.repeat(np.arange(int(n), dtype="int64"), counts)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [DisconnectedType()(), DisconnectedType()()]


def tile(x: Any, reps: Any, ndim: int | None = None) -> Any:
    """`x` repeated as a whole, `reps` times along each axis (a list, or a number for the last).

    Fewer reps than axes are padded with ones on the left, and so are fewer axes than reps; `ndim`
    asks for more axes still. ValueError if it is less. Source: Theano, `T.tile`; NumPy.
    """
    x = as_tensor_variable(x)
    counts = as_sizes(reps, "tile", ndim=None if isinstance(reps, (list, tuple)) else ndim)
    least = max(x.ndim, len(counts))
    if ndim is not None and ndim < least:
        raise ValueError(
            explain("tile", "ndim is too small", got=f"ndim={ndim}", expected=f"{least} or more")
        )
    total = least if ndim is None else ndim
    counts = [constant(1, dtype="int64")] * (total - len(counts)) + counts
    x = pad_left(x, total)
    sizes = sizes_of(x)
    pattern: list[int | str] = []
    shape: list[Any] = []
    for axis in range(total):
        pattern += ["x", axis]
        shape += [counts[axis], sizes[axis]]
    wide = alloc(dimshuffle(x, pattern), *shape)
    return reshape(wide, [product_of(pair) for pair in zip(counts, sizes, strict=True)])
