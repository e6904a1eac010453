"""Basic indexing: integers and slices, which show part of an array's memory.

`Selection` is what every indexing op shares: a static description of the index (`idx_list`), with
a slot for each part that is a variable, and a `layout` that says which element of the array is
which element of the result. `Increment` writes to the same elements. Integer arrays and masks are
in `gather`, what x[key] means is in `advanced`. Source: Theano, library/tensor/basic, Indexing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Context, Op, Shape, Variable, Write
from symgraph.ops.core import DimShuffle, cast_expr, describe, dimshuffle, pad_left
from symgraph.ops.elementwise import ADD, cast, second
from symgraph.ops.reduce import match_pattern
from symgraph.ops.sizes import checks_of, raise_known_failures
from symgraph.ops.structure import Reshape
from symgraph.types import DISCRETE, FLOATS, INTEGERS, DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable


class Slot(Enum):
    """A part of an index that is an input of the node: the next one."""

    SCALAR = "int64"  # a 0-d int64
    ARRAY = "array"  # integers of any ndim

    def __str__(self) -> str:
        return str(self.value)


Bound = int | Slot | None


class Span(NamedTuple):
    """A slice. (Python's own cannot be hashed before 3.12.)"""

    start: Bound = None
    stop: Bound = None
    step: int | Slot = 1

    def __str__(self) -> str:
        start, stop, step = ("" if b is None else str(b) for b in self)
        return f"{start}:{stop}" + ("" if step == "1" else f":{step}")


FULL = Span()
Entry = int | Slot | Span


class Run(NamedTuple):
    """Indices start, start + step, ... of an axis; `size` None: one index, the axis vanishes."""

    start: Expr
    step: Expr
    size: Expr | None


class Layout(NamedTuple):
    """The shape of what is selected, and the indices into the array for indices into that."""

    shape: Shape
    place: Callable[[Sequence[Expr]], tuple[Expr, ...]]


def run(entry: Entry, size: Expr, take: Callable[[Bound], Any]) -> Run:
    """What `entry` selects along an axis of `size`, by the rules of Python's `slice.indices`.

    `take` gives the host expression of a bound that may be a slot.
    """
    if not isinstance(entry, Span):
        return Run(_wrapped(take(entry), size), E.ONE, None)
    start, stop, step = (take(b) for b in entry)
    backwards = E.compare("lt", step, E.ZERO)
    sign = E.where(backwards, -1, 1)
    low = E.where(backwards, -1, 0)  # what a bound is cut to, from below and above
    high = E.where(backwards, E.sub(size, 1), size)
    first = E.where(backwards, high, low) if start is None else _clamped(start, size, low, high)
    last = E.where(backwards, low, high) if stop is None else _clamped(stop, size, low, high)
    if start is stop is None:
        distance = size
    elif stop is None and type(start) is type(step) is E.Const and start.value >= 0 < step.value:
        distance = E.maximum(E.sub(size, start), 0)  # the same expression as for x[:-start]
    else:
        distance = E.mul(E.sub(last, first), sign)
    stride = E.maximum(E.mul(step, sign), 1)  # a step of 0 is for `checks` to refuse
    count = E.floordiv(E.add(distance, E.sub(stride, 1)), stride)
    if start is not None and stop is not None:  # else the bounds cannot cross
        count = E.maximum(count, 0)
    return Run(first, step, count)


def _wrapped(position: Expr, size: Expr) -> Expr:
    """A negative position counts from the end."""
    if type(position) is E.Const:
        return E.sub(size, -position.value) if position.value < 0 else position
    return E.where(E.compare("lt", position, E.ZERO), E.add(position, size), position)


def _clamped(bound: Expr, size: Expr, low: Expr, high: Expr) -> Expr:
    inside = _wrapped(bound, size)
    if type(bound) is not E.Const:
        return E.maximum(E.minimum(inside, high), low)
    # a constant can only leave on one side
    return E.maximum(inside, low) if bound.value < 0 else E.minimum(inside, high)


@dataclass(frozen=True)
class Selection(Op):
    """What indexing ops share: x[idx_list], where slots stand for the inputs after x, in order."""

    idx_list: tuple[Entry, ...]

    def padded(self, ndim: int) -> tuple[Entry, ...]:
        """One entry per axis."""
        return self.idx_list + (FULL,) * (ndim - len(self.idx_list))

    def pattern(self, x: Any, indices: Sequence[Any]) -> tuple[bool, ...]:
        """The broadcast pattern of the result."""
        raise NotImplementedError

    def layout(self, x: Variable, indices: Sequence[Variable], ctx: Context) -> Layout:
        """The shape of the result, and where its elements are."""
        raise NotImplementedError

    def checks(
        self, node: Apply, x: Variable, indices: Sequence[Variable], ctx: Context
    ) -> list[Check]:
        """That integers are in range and steps are not 0."""
        take, checks = taker(indices, ctx), []
        entries = self.padded(x.type.ndim)
        for axis, (entry, size) in enumerate(zip(entries, ctx.shape(x), strict=True)):
            if isinstance(entry, Span):
                bounds = [take(b) for b in entry]
                checks.append(_step_check(node, axis, bounds[2]))
            elif entry is Slot.ARRAY:
                take(entry)
            else:
                checks.append(_range_check(node, x, axis, take(entry), size))
        return [c for check in checks for c in checks_of([check.holds], check.facts, check.fail)]

    def key(self, indices: Sequence[np.ndarray]) -> tuple[Any, ...]:
        """The same index for NumPy."""
        values: Iterator[Any] = iter(indices)

        def take(bound: Bound) -> Any:
            if not isinstance(bound, Slot):
                return bound
            return next(values) if bound is Slot.ARRAY else int(next(values))

        return tuple(
            slice(*(take(b) for b in e)) if isinstance(e, Span) else take(e) for e in self.idx_list
        )

    def normalized(self, indices: Sequence[Any], x: Any) -> list[Any]:
        """The index inputs as the op takes them."""
        return [cast(i, "int64") for i in indices]

    def make_node(self, x: Any, *indices: Any) -> Apply:
        x = as_tensor_variable(x)
        variables = self.normalized([as_tensor_variable(i) for i in indices], x)
        kind = TensorType(x.dtype, self.pattern(x, variables))
        node = Apply(self, [x, *variables], [kind.make_variable()])
        raise_known_failures(node)
        return node

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [self.layout(node.inputs[0], node.inputs[1:], ctx).shape]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        return self.checks(node, node.inputs[0], node.inputs[1:], ctx)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x, *index = node.inputs
        return E.load(x, self.layout(x, index, ctx).place(indices))

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.asarray(inputs[0][self.key(inputs[1:])])]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, *indices), (g,) = inputs, output_gradients
        zeros = x.zeros_like(g.dtype)  # (x may be an integer: its gradient is floating)
        return [self.increment(False)(zeros, g, *indices), *disconnected(indices)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True]] + [[False] for _ in node.inputs[1:]]

    def increment(self, set_instead_of_inc: bool) -> Increment:
        """The op that writes where this one reads."""
        raise NotImplementedError

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        x, *rest = inputs
        named = iter(rest)

        def text(entry: Entry | None) -> str:
            if isinstance(entry, Span):
                return str(Span(*(text(b) if isinstance(b, Slot) else b for b in entry)))  # type: ignore[arg-type]
            return next(named) if isinstance(entry, Slot) else str(entry)

        return f"{x}[{', '.join(map(text, self.idx_list))}]"

    def __str__(self) -> str:
        return f"{type(self).__name__}{{{', '.join(map(str, self.idx_list))}}}"


def disconnected(variables: Sequence[Any]) -> list[Any]:
    """The gradients by indices: there are none."""
    return [DisconnectedType()() for _ in variables]


def taker(indices: Sequence[Variable], ctx: Context) -> Callable[[Bound], Any]:
    """From a bound to its host expression; slots take the inputs in order."""
    rest = iter(indices)

    def take(bound: Bound) -> Any:
        if bound is Slot.ARRAY:
            return next(rest)
        if bound is Slot.SCALAR:
            return ctx.value(next(rest))
        return None if bound is None else E.const(bound)

    return take


def _range_check(node: Apply, x: Variable, axis: int, position: Expr, size: Expr) -> Check:
    if type(position) is E.Const and position.value >= 0:
        holds = E.compare("lt", position, size)
    else:
        holds = E.compare("le", E.sub(0, size), position)
        if type(position) is not E.Const:
            holds = E.compare("and", holds, E.compare("lt", position, size))

    def fail(index: int, extent: int) -> Exception:
        return out_of_bounds(node, x, axis, index, extent)

    return Check(holds, (position, size), fail)


def out_of_bounds(node: Apply, x: Variable, axis: int, index: int, size: int) -> IndexError:
    """What an index outside of its axis raises."""
    return IndexError(
        explain(node.op, f"index {index} is out of bounds for axis {axis} with size {size}",
                where=node.trace, got=f"{index} for axis {axis} of {describe([x])}",
                expected=f"an integer from {-size} to {size - 1}" if size else "no index at all")
    )  # fmt: skip


def _step_check(node: Apply, axis: int, step: Expr) -> Check:
    def fail(*_: int) -> Exception:
        return ValueError(
            explain(node.op, f"slice step cannot be zero (axis {axis})", where=node.trace)
        )

    return Check(E.compare("ne", step, E.ZERO), (), fail)


@dataclass(frozen=True)
class Subtensor(Selection):
    """x[integers and slices]: a view. `idx_list` may be shorter than x has axes.

    Bounds follow Python's `slice.indices`, steps may be negative; an integer out of range raises
    IndexError when called. Source: Theano, library/tensor/basic, Indexing.
    """

    view_of: ClassVar[int | None] = 0

    def pattern(self, x: Any, indices: Sequence[Any]) -> tuple[bool, ...]:
        entries = zip(self.padded(x.ndim), x.broadcastable, strict=True)
        return tuple(stays_one(e, one) for e, one in entries if isinstance(e, Span))

    def runs(self, x: Variable, indices: Sequence[Variable], ctx: Context) -> list[Run]:
        take = taker(indices, ctx)
        entries = zip(self.padded(x.type.ndim), ctx.shape(x), strict=True)
        return [run(entry, size, take) for entry, size in entries]

    def layout(self, x: Variable, indices: Sequence[Variable], ctx: Context) -> Layout:
        runs = self.runs(x, indices, ctx)

        def place(outer: Sequence[Expr]) -> tuple[Expr, ...]:
            rest = iter(outer)
            return tuple(
                r.start if r.size is None else E.add(r.start, E.mul(next(rest), r.step))
                for r in runs
            )

        return Layout(tuple(r.size for r in runs if r.size is not None), place)

    def view(self, node: Apply, strides: Shape, ctx: Context) -> tuple[Expr, Shape] | None:
        runs = self.runs(node.inputs[0], node.inputs[1:], ctx)
        pairs = list(zip(runs, strides, strict=True))
        offset: Expr = E.ZERO
        for r, stride in pairs:
            offset = E.add(offset, E.mul(r.start, stride))
        return offset, tuple(E.mul(r.step, s) for r, s in pairs if r.size is not None)

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        x = node.inputs[0]
        if x.type.ndim != 1 or x.type.dtype not in INTEGERS:
            return None
        (r,) = self.runs(x, node.inputs[1:], ctx)
        at = r.start if r.size is None else E.add(r.start, E.mul(r.step, position))
        return ctx.value(x, at.value) if type(at) is E.Const and at.value >= 0 else None

    def increment(self, set_instead_of_inc: bool) -> Increment:
        return IncSubtensor(self.idx_list, set_instead_of_inc)


def stays_one(entry: Span, one: bool) -> bool:
    """Whether a slice of an axis is known to have size 1: of one that has, with constant bounds."""
    if not one or any(isinstance(b, Slot) for b in entry):
        return False
    return len(range(*slice(*entry).indices(1))) == 1


@dataclass(frozen=True)
class Increment(Op):
    """A copy of x with x[idx_list] set to y, or increased by y; the inputs are x, y, indices.

    y has the axes of x[idx_list] (fewer are padded on the left) and is broadcast over them where
    its type says so; it is cast to x's dtype. Gradients: rule 26 of Theano's semantics.
    """

    idx_list: tuple[Entry, ...]
    set_instead_of_inc: bool
    selecting: ClassVar[type[Selection]]
    ordered: ClassVar[bool] = False  # whether two elements of y may be for one of x

    @property
    def selection(self) -> Selection:
        return self.selecting(self.idx_list)

    def make_node(self, x: Any, y: Any, *indices: Any) -> Apply:
        x, y = as_tensor_variable(x), as_tensor_variable(y)
        variables = self.selection.normalized([as_tensor_variable(i) for i in indices], x)
        ndim = len(self.selection.pattern(x, variables))
        if y.ndim > ndim:
            raise TypeError(
                explain(self, f"Trying to increment a {ndim}-dimensional subtensor "
                        f"with a {y.ndim}-dimensional value.", got=describe([x, y]),
                        expected=f"a value with at most {ndim} axes",
                        cure="index the value, or sum over its first axes")
            )  # fmt: skip
        if not self.set_instead_of_inc and x.dtype in DISCRETE and y.dtype in FLOATS:
            raise TypeError(
                explain(self, "cannot add floats to integers in place", got=describe([x, y]),
                        expected="integers", cure=f"cast the value: y.astype('{x.dtype}')")
            )  # fmt: skip
        y = pad_left(cast(y, x.dtype), ndim) if y.ndim < ndim else cast(y, x.dtype)
        node = Apply(self, [x, y, *variables], [x.type.make_variable()])
        raise_known_failures(node)
        return node

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        x, y, *indices = node.inputs
        region = self.selection.layout(x, indices, ctx).shape
        sizes, facts = ctx.shape(y), (*region, *ctx.shape(y))

        def fail(*values: int) -> Exception:
            wanted, got = values[: len(region)], values[len(region) :]
            return ShapeError(
                explain(node.op, f"a value of shape {got} does not fit where it is put, "
                        f"which has shape {wanted}", where=node.trace, got=describe([x, y]),
                        expected="equal sizes along every axis that is not broadcastable")
            )  # fmt: skip

        fits = [
            Check(E.compare("eq", size, wanted), facts, fail)
            for size, wanted, one in zip(sizes, region, y.type.broadcastable, strict=True)
            if not one and size is not wanted
        ]
        return self.selection.checks(node, x, indices, ctx) + fits

    def assemble(self, node: Apply, ctx: Context) -> list[Write]:
        (x, y, *indices), out = node.inputs, node.outputs[0]
        region = self.selection.layout(x, indices, ctx)
        everywhere = tuple(E.index(size) for size in ctx.shape(x))
        inside = tuple(E.index(size) for size in region.shape)
        target = region.place(inside)
        value: Expr = E.load(y, inside)
        if not self.set_instead_of_inc:
            dtype = out.type.dtype
            value = cast_expr(ADD.apply([E.load(out, target), value], dtype), dtype)
        return [
            Write(everywhere, everywhere, E.load(x, everywhere)),
            Write(inside, target, value, ordered=self.ordered),
        ]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, y, *indices = inputs
        out, key = x.copy(), self.selection.key(indices)
        if self.set_instead_of_inc:
            out[key] = y
        else:
            np.add.at(out, key, y)
        return [out]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, y, *indices), (g,) = inputs, output_gradients
        if x.dtype not in FLOATS:
            zeros = [x.zeros_like("floatX"), y.zeros_like("floatX")]
            return [*zeros, *disconnected(indices)]
        by_x = g
        if self.set_instead_of_inc:
            by_x = type(self)(self.idx_list, True)(g, np.zeros((), g.dtype), *indices)
        by_y = match_pattern(self.selection(g, *indices), y)
        return [by_x, by_y, *disconnected(indices)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [True]] + [[False] for _ in node.inputs[2:]]

    def __str__(self) -> str:
        what = "Set" if self.set_instead_of_inc else "Inc"
        return f"{type(self).__name__}{{{what};{', '.join(map(str, self.idx_list))}}}"


@dataclass(frozen=True)
class IncSubtensor(Increment):
    """`Increment` for integers and slices."""

    selecting: ClassVar[type[Selection]] = Subtensor


def set_subtensor(
    x: Any, y: Any, inplace: bool = False, tolerate_inplace_aliasing: bool = False
) -> Any:
    """A copy of the array that `x` is an index of, with `y` there: `set_subtensor(a[1:3], y)`.

    `y` has at most as many axes as `x` and is broadcast over `x` where its type says so; it is cast
    to x's dtype. Where an index names an element twice, the last value stays. Nothing is changed
    in place, whatever the flags say: that is planned when compiling. Raises TypeError if `x` is not
    the result of indexing, or y has more axes. Source: Theano, `set_subtensor`.
    """
    return _written(x, y, True)


def inc_subtensor(
    x: Any,
    y: Any,
    inplace: bool = False,
    set_instead_of_inc: bool = False,
    tolerate_inplace_aliasing: bool = False,
) -> Any:
    """As `set_subtensor`, but `y` is added; an element that an index names twice grows twice.

    Source: Theano, `inc_subtensor`.
    """
    return _written(x, y, set_instead_of_inc)


def _written(x: Any, y: Any, set_instead_of_inc: bool) -> Any:
    x, y = as_tensor_variable(x), as_tensor_variable(y)
    if y.ndim > x.ndim:
        raise TypeError(
            explain("set_subtensor" if set_instead_of_inc else "inc_subtensor",
                    f"Trying to increment a {x.ndim}-dimensional subtensor "
                    f"with a {y.ndim}-dimensional value.", got=describe([x, y]))
        )  # fmt: skip
    op = x.owner.op if x.owner is not None else None
    if isinstance(op, Selection):
        base, *indices = x.owner.inputs
        return op.increment(set_instead_of_inc)(base, y, *indices)
    if isinstance(op, DimShuffle):
        # a permuted index: y is permuted back, and the result permuted as the index is
        inner = x.owner.inputs[0]
        order = op.new_order
        back = [order.index(a) if a in order else "x" for a in range(inner.ndim)]
        written = _written(inner, dimshuffle(pad_left(y, x.ndim), back), set_instead_of_inc)
        if written.ndim == inner.ndim:
            return dimshuffle(written, order)
    elif isinstance(op, Reshape):
        inner = x.owner.inputs[0]
        if y.ndim:
            y = second(x, y).reshape(inner.shape, ndim=inner.ndim)
        return _written(inner, y, set_instead_of_inc)
    raise TypeError(
        explain("set_subtensor" if set_instead_of_inc else "inc_subtensor",
                "x must be the result of a subtensor operation", got=describe([x]),
                expected="an indexed variable, as in set_subtensor(x[0], y)")
    )  # fmt: skip
