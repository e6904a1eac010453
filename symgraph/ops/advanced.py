"""x[key] for any key, and the functions made of it: take, choose, nonzero, compress.

What a key means is decided here, once: which parts are integers, slices, new axes, arrays or masks.
Source: Theano, library/tensor/basic, Indexing; NumPy, user/basics.indexing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.graph import Constant
from symgraph.ops.core import describe, dimshuffle, pad_left
from symgraph.ops.elementwise import cast, clip, eq, lt, mod, switch
from symgraph.ops.gather import AdvancedSubtensor, Nonzero
from symgraph.ops.index import FULL, Entry, Selection, Slot, Span, Subtensor
from symgraph.types import DISCRETE, FLOATS
from symgraph.variable import as_tensor_variable, constant

# ---- x[key] --------------------------------------------------------------------------------------


def subscript(x: Any, key: Any) -> Any:
    """`x[key]`: integers, slices, None, Ellipsis, integer arrays and masks, in any mix.

    0-d integer variables are integers, others arrays; bounds of slices may be symbolic. Integers
    and slices alone give a view. Raises IndexError for too many indices (when built), positions out
    of range (when called); TypeError for floats, Python's booleans and lists of them. A list that
    holds a slice counts as a tuple, as in Theano. Source: library/tensor/basic, Indexing.
    """
    x = as_tensor_variable(x)
    if isinstance(key, list) and any(isinstance(item, slice) for item in key):
        key = tuple(key)
    keys = key if isinstance(key, tuple) else (key,)
    items = [_item(x, item) for item in keys]
    used = sum(item.axes for item in items)
    if used > x.ndim or sum(item.kind == "ellipsis" for item in items) > 1:
        more = used > x.ndim
        raise IndexError(
            explain("x[...]", "too many indices for array" if more else "more than one Ellipsis",
                    got=f"{used} indices for {describe([x])}", expected=f"at most {x.ndim}")
        )  # fmt: skip
    order: list[int | str] = []  # x with the new axes
    parsed: list[tuple[Entry, list[Any]]] = []
    axis = 0
    for item in items:
        if item.kind == "new":
            order.append("x")
            parsed.append((FULL, []))
            continue
        axes = x.ndim - used if item.kind == "ellipsis" else item.axes
        order += range(axis, axis + axes)
        if item.kind == "mask":
            sizes = [x.shape[a] for a in range(axis, axis + axes)]
            parsed += [(Slot.ARRAY, [p]) for p in Nonzero()(item.inputs[0], *sizes)]
        elif item.kind == "ellipsis":
            parsed += [(FULL, [])] * axes
        else:
            parsed.append((item.entry, item.inputs))
        axis += axes
    view = dimshuffle(x, (*order, *range(axis, x.ndim)))
    if any(entry is Slot.ARRAY for entry, _ in parsed):
        parsed = [_as_array(entry, inputs) for entry, inputs in parsed]
        make: type[Selection] = AdvancedSubtensor
    else:
        make = Subtensor
    while parsed and parsed[-1][0] == FULL:
        parsed.pop()
    return make(tuple(e for e, _ in parsed))(view, *(i for _, inputs in parsed for i in inputs))


@dataclass(frozen=True)
class _Item:
    """One part of an index: its kind, its entry and inputs, how many axes of x it is for."""

    kind: str
    axes: int = 1
    entry: Any = None
    inputs: Any = ()


def _item(x: Any, item: Any) -> _Item:
    if item is None:
        return _Item("new", 0)
    if item is Ellipsis:
        return _Item("ellipsis", 0)
    if isinstance(item, slice):
        return _slice(x, item)
    if isinstance(item, (list, tuple)):
        if _holds_bool(item):
            raise _bad_index(x, item, "a list of Python booleans",
                             "a mask is an array: numpy.array([...]), or a comparison")  # fmt: skip
        item = constant(np.zeros(0, "int64")) if len(item) == 0 else as_tensor_variable(item)
    entry, inputs = _scalar(x, item)
    if entry is not Slot.ARRAY:
        return _Item("basic", 1, entry, inputs)
    (index,) = inputs
    if index.dtype == "bool":
        return _Item("mask", index.ndim, None, inputs)
    return _Item("array", 1, entry, inputs)


def _slice(x: Any, item: slice) -> _Item:
    bounds, inputs = [], []
    for bound in (item.start, item.stop, 1 if item.step is None else item.step):
        entry, more = (None, []) if bound is None else _scalar(x, bound)
        if entry is Slot.ARRAY:
            raise _bad_index(x, item, "a slice bound is not a single integer",
                             "a bound is an integer, 0-d or left out")  # fmt: skip
        bounds.append(entry)
        inputs += more
    start, stop, step = bounds
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if start == 0 and isinstance(step, int) and step > 0:
        start = None
    return _Item("basic", 1, Span(start, stop, step), inputs)  # type: ignore[arg-type]


def _scalar(x: Any, item: Any) -> tuple[Any, list[Any]]:
    """An integer as itself; a 0-d variable or an array as a slot and its input."""
    if isinstance(item, (bool, np.bool_)):
        raise _bad_index(x, item, "a Python boolean", "use x[None] for a new axis, or a mask array")
    if isinstance(item, (int, np.integer)):
        return int(item), []
    index = as_tensor_variable(item)
    if index.dtype in FLOATS or (index.ndim == 0 and index.dtype == "bool"):
        raise _bad_index(x, item, f"an index of dtype {index.dtype}",
                         "use .astype('int64'), or a mask array")  # fmt: skip
    if index.ndim:
        return Slot.ARRAY, [index]
    if isinstance(index, Constant):
        return int(index.data), []
    return Slot.SCALAR, [cast(index, "int64")]


def _as_array(entry: Entry, inputs: list[Any]) -> tuple[Entry, list[Any]]:
    """Beside an array, an integer is an array too."""
    if isinstance(entry, Span) or entry is Slot.ARRAY:
        return entry, inputs
    return Slot.ARRAY, inputs or [constant(np.asarray(entry, "int64"))]


def _holds_bool(items: Sequence[Any]) -> bool:
    return any(
        _holds_bool(i) if isinstance(i, (list, tuple)) else isinstance(i, (bool, np.bool_))
        for i in items
    )


def _bad_index(x: Any, item: Any, problem: str, cure: str) -> TypeError:
    return TypeError(
        explain("x[...]", f"{problem} is no index", got=f"{item!r} for {describe([x])}",
                expected="integers, slices, None, Ellipsis, integer arrays, masks", cure=cure)
    )  # fmt: skip


# ---- the functions -------------------------------------------------------------------------------


def _in_mode(indices: Any, size: Any, mode: str, where: str) -> Any:
    """`indices` so that `mode` is obeyed by one who raises."""
    if mode == "wrap":
        return mod(indices, size)
    if mode == "clip":
        return clip(indices, 0, size - 1)
    if mode != "raise":
        raise ValueError(f"{where}: mode {mode!r}; use 'raise', 'wrap' or 'clip'")
    return indices


def take(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    """The elements of `a` at the integers `indices` along `axis`, of the flattened `a` if None.

    The result has the axes of `indices` in the place of `axis`. Out of range: `mode` "raise" is an
    IndexError (and negative counts from the end), "wrap" counts on from the start, "clip" takes the
    nearest. Source: Theano, `take`; NumPy, `take`.
    """
    a, indices = as_tensor_variable(a), as_tensor_variable(indices)
    if axis is None:
        a, axis = (a.flatten() if a.ndim != 1 else a), 0
    if not -a.ndim <= axis < a.ndim:
        raise ValueError(f"take: axis {axis} of {describe([a])}")
    axis %= a.ndim
    indices = _in_mode(indices, a.shape[axis], mode, "take")
    return subscript(a, (slice(None),) * axis + (indices,))


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    """Elementwise `choices[a]`: for each element of the integers `a`, that of the choice it names.

    `choices` is a list of tensors, or one tensor with the choices along its first axis; they and
    `a` are broadcast together. `mode` is that of `take`, but negative integers are out of range
    (IndexError; NumPy raises ValueError). Source: Theano, `choose`.
    """
    if out is not None:
        raise TypeError("choose: there is no `out`: variables are never changed")
    a = as_tensor_variable(a)
    if a.dtype not in DISCRETE:
        raise TypeError(
            explain("choose", "the first argument chooses, by integers", got=describe([a]),
                    expected="integers", cure="a.astype('int64')")
        )  # fmt: skip
    a = cast(a, "int64")
    if isinstance(choices, (list, tuple)):
        which = _in_range(a, len(choices), mode)
        which = subscript(constant(np.arange(len(choices))), which)  # raises where out of range
        result = as_tensor_variable(choices[-1])
        for k in reversed(range(len(choices))):
            result = switch(eq(which, k), choices[k], result)
        return result
    return _choose_along_first_axis(a, as_tensor_variable(choices), mode)


def _in_range(a: Any, size: Any, mode: str) -> Any:
    a = _in_mode(a, size, mode, "choose")
    return switch(lt(a, 0), size, a) if mode == "raise" else a


def _choose_along_first_axis(a: Any, choices: Any, mode: str) -> Any:
    from symgraph.ops.alloc import arange  # which needs indexing itself

    ndim = max(a.ndim, choices.ndim - 1)
    key = [pad_left(_in_range(a, choices.shape[0], mode), ndim)]
    for axis in range(1, choices.ndim):
        if choices.broadcastable[axis]:
            positions = constant(np.zeros(1, "int64"))
        else:
            positions = arange(choices.shape[axis])
        key.append(dimshuffle(positions, (0, *["x"] * (choices.ndim - 1 - axis))))
    return subscript(choices, tuple(key))


def nonzero(a: Any, return_matrix: bool = False) -> Any:
    """The positions of the elements of `a` that are not 0: a tuple of int64 vectors, one per axis.

    `return_matrix=True` stacks them as rows. ValueError for a 0-d `a`. Source: Theano, `nonzero`.
    """
    positions = tuple(Nonzero()(as_tensor_variable(a)))
    return as_tensor_variable(list(positions)) if return_matrix else positions


def flatnonzero(a: Any) -> Any:
    """The positions in the flattened `a` of what is not 0, an int64 vector."""
    a = as_tensor_variable(a)
    return nonzero(a if a.ndim == 1 else a.flatten())[0]


def nonzero_values(a: Any) -> Any:
    """The elements of `a` that are not 0, a vector, in row-major order."""
    a = as_tensor_variable(a)
    return subscript(a, nonzero(a)) if a.ndim else subscript(a.flatten(), flatnonzero(a))


def compress(condition: Any, x: Any, axis: int | None = None) -> Any:
    """The slices of `x` along `axis` where the vector `condition` is true.

    `axis=None` takes from the flattened `x`. A condition longer than the axis is an IndexError
    if true beyond its end. Source: Theano, library/tensor/extra_ops, `compress`.
    """
    return take(x, flatnonzero(condition), axis)
