"""Joining arrays along an axis, and splitting them.

Source: Theano, tensor/basic.py (Join, Split, stack, concatenate, stacklists).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.deprecation import former
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr, Index
from symgraph.graph import Apply, Constant, Context, Op, Variable, Write
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import alloc, as_sizes
from symgraph.ops.core import cast_expr, describe, dimshuffle
from symgraph.ops.elementwise import add
from symgraph.ops.sizes import (
    checks_of,
    raise_known_failures,
)
from symgraph.ops.structure import (
    MakeVector,
    rebroadcast,
    shape_i,
    sizes_of,
)
from symgraph.types import DISCRETE, DisconnectedType, TensorType, upcast
from symgraph.variable import as_tensor_variable, constant


def as_axis(axis: Any, ndim: int, who: str) -> int:
    """An axis given by a user, from 0 to ndim - 1. TypeError and ValueError (IndexError)."""
    if isinstance(axis, Constant) and axis.data.ndim == 0:
        axis = axis.data.item()
    if isinstance(axis, np.ndarray) and axis.ndim == 0:
        axis = axis.item()
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(
            explain(who, "the axis is not an integer", got=repr(axis),
                    expected="an integer known when the graph is built")
        )  # fmt: skip
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(
            explain(who, f"there is no axis {axis}", got=f"{ndim} axes",
                    expected=f"an axis from {-ndim} to {ndim - 1}")
        )  # fmt: skip
    return int(axis) % ndim


@dataclass(frozen=True)
class Join(Op):
    """The inputs one after the other along `axis`; their other sizes are equal.

    The dtype is the common one. ShapeError at the call for sizes that differ.
    """

    axis: int

    def output_types(self, *inputs: Any) -> list[TensorType]:
        if not inputs:
            raise ValueError("Join: nothing to join")
        ndims = {x.ndim for x in inputs}
        if len(ndims) > 1:
            raise TypeError(
                explain("Join", "Join() can only join tensors with the same number of dimensions.",
                        got=describe(inputs))
            )  # fmt: skip
        if ndims == {0}:
            raise TypeError(
                explain("Join", "Join cannot handle arguments of dimension 0.",
                        got=describe(inputs), cure="use stack to join scalars")
            )  # fmt: skip
        pattern = [any(bs) for bs in zip(*(x.broadcastable for x in inputs), strict=True)]
        pattern[self.axis] = len(inputs) == 1 and inputs[0].broadcastable[self.axis]
        return [TensorType(upcast(*(x.dtype for x in inputs)), pattern)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        shapes = [ctx.shape(x) for x in node.inputs]
        result = []
        for axis, sizes in enumerate(zip(*shapes, strict=True)):
            if axis == self.axis:
                total: Expr = E.ZERO
                for n in sizes:
                    total = E.add(total, n)
                result.append(total)
            else:
                known = [n for n in sizes if isinstance(n, E.Const)]
                result.append((known or list(sizes))[0])
        return [tuple(result)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        shapes = [ctx.shape(x) for x in node.inputs]
        conditions = [
            E.compare("eq", shapes[0][axis], other[axis])
            for other in shapes[1:]
            for axis in range(len(other))
            if axis != self.axis
        ]

        def fail(*values: int) -> Exception:
            step = len(shapes[0])
            found = [tuple(values[at : at + step]) for at in range(0, len(values), step)]
            return ShapeError(
                explain(self, "all the input array dimensions except for the concatenation axis "
                        "must match exactly", where=node.trace,
                        got=f"shapes {', '.join(map(str, found))} of {describe(node.inputs)}",
                        expected=f"equal sizes along every axis but {self.axis}")
            )  # fmt: skip

        return checks_of(conditions, tuple(n for s in shapes for n in s), fail)

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        if node.outputs[0].type.ndim != 1 or node.outputs[0].type.dtype not in DISCRETE:
            return None
        for x in node.inputs:
            length = ctx.shape(x)[0]
            if not isinstance(length, E.Const):
                return None
            if position < length.value:
                return ctx.value(x, position)
            position -= length.value
        return None

    def assemble(self, node: Apply, ctx: Context) -> list[Write]:
        dtype = node.outputs[0].type.dtype
        (sizes,) = self.infer_shape(node, ctx)
        assert sizes is not None
        start: Expr = E.ZERO
        writes = []
        for x in node.inputs:
            length = ctx.shape(x)[self.axis]
            extents = [length if a == self.axis else n for a, n in enumerate(sizes)]
            at = [E.ZERO if n is E.ONE else E.index(n) for n in extents]
            target = [E.add(start, i) if a == self.axis else i for a, i in enumerate(at)]
            value = cast_expr(E.load(x, at), dtype)
            writes.append(Write(tuple(i for i in at if isinstance(i, Index)), tuple(target), value))
            start = E.add(start, length)
        return writes

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        dtype = node.outputs[0].type.dtype
        return [np.concatenate([x.astype(dtype) for x in inputs], axis=self.axis)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (g,) = output_gradients
        if g.dtype in DISCRETE or upcast(*(x.dtype for x in inputs)) in DISCRETE:
            return [x.zeros_like("floatX") for x in inputs]
        lengths = [shape_i(x, self.axis) for x in inputs]
        return [
            rebroadcast(Piece(self.axis, k)(g, *lengths), x.broadcastable)
            for k, x in enumerate(inputs)
        ]

    def __str__(self) -> str:
        return "Join"


@dataclass(frozen=True)
class Piece(Op):
    """Part number `position` of x, cut along `axis` into parts of the given lengths.

    Inputs are x and the lengths of all parts, integers that add up to x's size. A view.
    """

    axis: int
    position: int
    view_of: ClassVar[int | None] = 0

    def output_types(self, x: Any, *lengths: Any) -> list[TensorType]:
        pattern = list(x.broadcastable)
        pattern[self.axis] = False
        return [TensorType(x.dtype, pattern)]

    def _cut(self, node: Apply, ctx: Context) -> tuple[Expr, Expr]:
        """Where the part begins, and its length."""
        start: Expr = E.ZERO
        _, *lengths = node.inputs
        for length in lengths[: self.position]:
            start = E.add(start, ctx.value(length))
        return start, ctx.value(lengths[self.position])

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        sizes = list(ctx.shape(node.inputs[0]))
        sizes[self.axis] = self._cut(node, ctx)[1]
        return [tuple(sizes)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        x, *lengths = node.inputs
        whole = ctx.shape(x)[self.axis]
        parts = tuple(map(ctx.value, lengths))
        total: Expr = E.ZERO
        for n in parts:
            total = E.add(total, n)

        def fail(*values: int) -> Exception:
            return ShapeError(
                explain("Split", f"the parts {values[1:]} do not add up to {values[0]}",
                        where=node.trace, got=f"axis {self.axis} of {describe([x])}",
                        expected="lengths from 0 whose sum is the size of the axis")
            )  # fmt: skip

        conditions = [E.compare("eq", total, whole)]
        conditions += [E.compare("le", E.ZERO, n) for n in parts]
        return checks_of(conditions, (whole, *parts), fail)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        at = list(indices)
        at[self.axis] = E.add(self._cut(node, ctx)[0], at[self.axis])
        return E.load(node.inputs[0], at)

    def view(self, node: Apply, strides: Sizes, ctx: Context) -> tuple[Expr, Sizes] | None:
        return E.mul(self._cut(node, ctx)[0], strides[self.axis]), strides

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, *parts = inputs
        lengths = np.array(parts, "int64")
        if lengths.sum() != x.shape[self.axis] or (lengths < 0).any():
            raise ShapeError(f"Split: parts {lengths} of {x.shape[self.axis]}")
        return [np.split(x, np.cumsum(lengths)[:-1], axis=self.axis)[self.position]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], *([False] for _ in node.inputs[1:])]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, *lengths), (g,) = inputs, output_gradients
        zero, sizes = constant(0, dtype=g.dtype), sizes_of(x)

        def gap(parts: Sequence[Any]) -> list[Any]:
            if not parts:
                return []
            total = add(*parts) if len(parts) > 1 else parts[0]
            return [alloc(zero, *(total if a == self.axis else n for a, n in enumerate(sizes)))]

        before, after = lengths[: self.position], lengths[self.position + 1 :]
        whole = join(self.axis, *gap(before), g, *gap(after))
        return [rebroadcast(whole, x.broadcastable), *(DisconnectedType()() for _ in lengths)]

    def __str__(self) -> str:
        return f"Split{{axis={self.axis}}}.{self.position}"


def join(axis: Any, *tensors: Any) -> Any:
    """`tensors` (of equal ndim, at least 1) one after the other along `axis`, an integer.

    The dtype is the common one. TypeError for different numbers of axes, ShapeError (a ValueError)
    for sizes that differ elsewhere. Source: Theano, `T.join`.
    """
    variables = [as_tensor_variable(x) for x in tensors]
    if not variables:
        raise ValueError("join: nothing to join")
    if len(variables) == 1 and variables[0].ndim:
        as_axis(axis, variables[0].ndim, "join")
        return variables[0]
    ndim = variables[0].ndim
    node = Join(as_axis(axis, ndim, "join") if ndim else 0).make_node(*variables)
    raise_known_failures(node)
    return node.out


def concatenate(tensor_list: Any, axis: Any = 0) -> Any:
    """`join` of a list or tuple. Source: Theano, `T.concatenate`."""
    if not isinstance(tensor_list, (list, tuple)):
        raise TypeError(
            "The 'tensors' argument must be either a tuple or a list, make sure you did not forget "
            f"() or [] around arguments of concatenate. Got {tensor_list!r}"
        )
    return join(axis, *tensor_list)


def stack(*arrays: Any, axis: Any = 0, tensors: Any = None) -> Any:
    """Arrays of one shape along a new axis: `stack(tensors, axis=0)`, or the old `stack(a, b)`.

    Scalars make a vector. Raises as `join` does. Source: Theano, `T.stack`.
    """
    if tensors is not None:
        arrays = (tensors, *arrays)
    if not arrays:
        raise TypeError("stack: no tensor arguments provided")
    if isinstance(arrays[0], (list, tuple)):
        if len(arrays) > 2:
            raise TypeError("stack(tensors, axis=0) takes a list and an axis")
        if len(arrays) == 2:
            axis = arrays[1]
        arrays = tuple(arrays[0])
        if not arrays:
            raise ValueError("stack: the list of tensors is empty")
    else:
        former("stack", "stack(a, b)", "stack([a, b])", "form")
    variables = [as_tensor_variable(x) for x in arrays]
    if len({x.ndim for x in variables}) > 1:
        raise TypeError(explain("stack", "the tensors have different numbers of axes",
                                got=describe(variables)))  # fmt: skip
    ndim = variables[0].ndim
    axis = as_axis(axis, ndim + 1, "stack")
    if ndim == 0:
        return MakeVector(upcast(*(x.dtype for x in variables)))(*variables)
    pattern = [*range(axis), "x", *range(axis, ndim)]
    return join(axis, *(dimshuffle(x, pattern) for x in variables))


def stacklists(arg: Any) -> Any:
    """A nested list of tensors of one shape, stacked along one new first axis a level."""
    return stack([stacklists(item) for item in arg]) if isinstance(arg, (list, tuple)) else arg


def split(x: Any, splits_size: Any, n_splits: int, axis: Any = 0) -> list[Any]:
    """`x` cut along `axis` into `n_splits` parts of the lengths in `splits_size`.

    Returns the list of parts. ShapeError (a ValueError) at the call if the lengths do not add up.
    Source: Theano, `T.split`.
    """
    x = as_tensor_variable(x)
    axis = as_axis(axis, x.ndim, "split")
    n_splits = int(n_splits)
    sizes = as_sizes(splits_size, "split", ndim=n_splits)
    if len(sizes) != n_splits:
        raise ValueError(f"split: n_splits is {n_splits}, splits_size has {len(sizes)} elements")
    return [Piece(axis, k)(x, *sizes) for k in range(n_splits)]


def cut(x: Any, at: Variable, axis: int) -> tuple[Any, Any]:
    """The parts of `x` before and from `at` along `axis`."""
    first, second = split(x, [at, shape_i(x, axis) - at], 2, axis)
    return first, second


def horizontal_stack(*args: Any) -> Any:
    """Matrices side by side: `concatenate(args, axis=1)`. ValueError for other ndims."""
    return concatenate(_matrices(args), axis=1)


def vertical_stack(*args: Any) -> Any:
    """Matrices below each other: `concatenate(args, axis=0)`. ValueError for other ndims."""
    return concatenate(_matrices(args), axis=0)


def _matrices(args: Sequence[Any]) -> list[Any]:
    variables = [as_tensor_variable(x) for x in args]
    if len(variables) < 2 or any(x.ndim != 2 for x in variables):
        raise ValueError(explain("stack of matrices", "takes two matrices or more",
                                 got=describe(variables)))  # fmt: skip
    return variables
