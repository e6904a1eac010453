"""The ops of indexing by integer arrays and masks, with NumPy's rules.

A mask becomes the positions of its True elements (`Nonzero`), an integer beside an array becomes an
array; so one op gathers (`AdvancedSubtensor`) and one writes (`AdvancedIncSubtensor`).
Source: Theano, library/tensor/basic, Indexing; NumPy, user/basics.indexing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Context, Op, Shape, Variable
from symgraph.ops.core import cast_expr, describe, pad_left
from symgraph.ops.elementwise import SWITCH, cast
from symgraph.ops.index import (
    Increment,
    Layout,
    Run,
    Selection,
    Slot,
    Span,
    out_of_bounds,
    run,
    stays_one,
    taker,
)
from symgraph.types import INTEGERS, DisconnectedType, TensorType


@dataclass(frozen=True)
class AdvancedSubtensor(Selection):
    """x[integer arrays and slices]: a gather.

    The arrays are broadcast together, into one block of axes. If they stand side by side, the block
    stands there in the result, else in front. Negative positions count from the end; a position
    out of range raises IndexError when called.
    """

    def normalized(self, indices: Sequence[Any], x: Any) -> list[Any]:
        slots = self.slots()
        ndim = max(i.ndim for i, slot in zip(indices, slots, strict=True) if slot is Slot.ARRAY)
        result = []
        for index, slot in zip(indices, slots, strict=True):
            if index.dtype not in INTEGERS:
                raise TypeError(
                    explain(self, "an index is not an integer array", got=describe([index]),
                            expected="integers", cure="cast the index: index.astype('int64')")
                )  # fmt: skip
            if slot is Slot.SCALAR:
                result.append(cast(index, "int64"))
            else:
                result.append(index if index.ndim == ndim else pad_left(index, ndim))
        return result

    def slots(self) -> list[Slot]:
        """The slots of `idx_list`, one per index input."""
        flat = (b for e in self.idx_list for b in (e if isinstance(e, Span) else (e,)))
        return [b for b in flat if isinstance(b, Slot)]

    def arrays(self, indices: Sequence[Any]) -> list[Any]:
        """The index inputs that are arrays."""
        return [i for i, s in zip(indices, self.slots(), strict=True) if s is Slot.ARRAY]

    def block(self) -> int:
        """Where in the result the axes of the arrays begin."""
        at = [axis for axis, entry in enumerate(self.idx_list) if entry is Slot.ARRAY]
        return at[0] if at[-1] - at[0] == len(at) - 1 else 0

    def pattern(self, x: Any, indices: Sequence[Any]) -> tuple[bool, ...]:
        patterns = [i.broadcastable for i in self.arrays(indices)]
        block = [all(ones) for ones in zip(*patterns, strict=True)]
        entries = zip(self.padded(x.ndim), x.broadcastable, strict=True)
        rest = [stays_one(e, one) for e, one in entries if isinstance(e, Span)]
        return (*rest[: self.block()], *block, *rest[self.block() :])

    def runs(
        self, x: Variable, indices: Sequence[Variable], ctx: Context
    ) -> list[Run | tuple[Variable, Expr]]:
        """For each axis of x: the run of a slice, or the array that indexes it and its size."""
        take = taker(indices, ctx)
        entries = zip(self.padded(x.type.ndim), ctx.shape(x), strict=True)
        return [
            (take(entry), size) if entry is Slot.ARRAY else run(entry, size, take)
            for entry, size in entries
        ]

    def layout(self, x: Variable, indices: Sequence[Variable], ctx: Context) -> Layout:
        runs, arrays, first = self.runs(x, indices, ctx), self.arrays(indices), self.block()
        block = _broadcast_shape(arrays, ctx)
        rest = [r.size for r in runs if isinstance(r, Run) and r.size is not None]

        def place(outer: Sequence[Expr]) -> tuple[Expr, ...]:
            inner = outer[first : first + len(block)]
            spans = iter((*outer[:first], *outer[first + len(block) :]))
            where: list[Expr] = []
            for r in runs:
                if isinstance(r, Run):
                    where.append(E.add(r.start, E.mul(next(spans), r.step)))
                else:
                    position = cast_expr(E.load(r[0], inner), "int64")
                    where.append(E.checked(position, r[1]))
            return tuple(where)

        return Layout((*rest[:first], *block, *rest[first:]), place)

    def checks(
        self, node: Apply, x: Variable, indices: Sequence[Variable], ctx: Context
    ) -> list[Check]:
        arrays = self.arrays(indices)
        shapes = [ctx.shape(a) for a in arrays]
        count = E.product(_broadcast_shape(arrays, ctx))
        checks = super().checks(node, x, indices, ctx)
        for axis, r in enumerate(self.runs(x, indices, ctx)):
            if not isinstance(r, Run):  # where there is nothing, no position is right
                some = E.compare("or", E.compare("lt", 0, r[1]), E.compare("eq", count, 0))
                checks.append(Check(some, (r[1],), _nothing_there(node, x, axis)))
        flat = tuple(size for shape in shapes for size in shape)
        for position in range(len(shapes[0])):
            known = [
                s[position] for s, a in zip(shapes, arrays, strict=True)
                if not a.type.broadcastable[position]
            ]  # fmt: skip
            checks += [
                Check(E.compare("eq", known[0], size), flat, _mismatch(node, arrays))
                for size in known[1:]
                if size is not known[0]
            ]
        return checks

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        x, *index = node.inputs
        dtype: str = x.type.dtype
        where = self.layout(x, index, ctx).place(indices)
        value: Expr = E.load(x, where)
        for position, one in zip(where, x.type.broadcastable, strict=True):
            if one and E.is_checked(position):
                # a load from an axis of size 1 drops its index: keep the check of it
                inside = E.compare("eq", position, E.ZERO)
                value = SWITCH.apply([inside, value, E.const(0, dtype)], dtype)
        return value

    def increment(self, set_instead_of_inc: bool) -> Increment:
        return AdvancedIncSubtensor(self.idx_list, set_instead_of_inc)


def _broadcast_shape(arrays: Sequence[Variable], ctx: Context) -> Shape:
    shapes = [ctx.shape(a) for a in arrays]
    sizes = []
    for together in zip(*shapes, strict=True):
        real = [s for s in together if s is not E.ONE]
        known = [s for s in real if type(s) is E.Const]
        sizes.append((known or real or [E.ONE])[0])
    return tuple(sizes)


def _nothing_there(node: Apply, x: Variable, axis: int) -> Any:
    return lambda size: out_of_bounds(node, x, axis, 0, size)


def _mismatch(node: Apply, arrays: Sequence[Variable]) -> Any:
    def fail(*sizes: int) -> Exception:
        ndim = arrays[0].type.ndim
        shapes = [sizes[k : k + ndim] for k in range(0, len(sizes), ndim)]
        return ShapeError(
            explain(node.op, "the index arrays do not fit together", where=node.trace,
                    got=f"shapes {', '.join(map(str, shapes))} of {describe(arrays)}",
                    expected="equal sizes along every axis that is not broadcastable")
        )  # fmt: skip

    return fail


@dataclass(frozen=True)
class AdvancedIncSubtensor(Increment):
    """`Increment` for integer arrays: where a position recurs, sums add up, the last set stays."""

    selecting: ClassVar[type[Selection]] = AdvancedSubtensor
    ordered: ClassVar[bool] = True


@dataclass(frozen=True)
class Nonzero(Op):
    """The positions of the elements of x that are not 0: one int64 vector per axis, row-major.

    The inputs after x are sizes (0-d int64) that those of x must be equal to, else IndexError: a
    mask must have the shape of what it masks.
    """

    def output_types(self, x: Any, *sizes: Any) -> list[TensorType]:
        if x.ndim == 0:
            raise ValueError(
                explain("nonzero", "a 0-d array has no positions", got=describe([x]),
                        expected="at least one axis", cure="use x.dimshuffle('x')")
            )  # fmt: skip
        return [TensorType("int64", (False,)) for _ in range(x.ndim)]

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.make_node(*inputs).outputs

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [None] * len(node.outputs)

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        have = ctx.shape(node.inputs[0])
        want = tuple(ctx.value(size) for size in node.inputs[1:])

        def fail(*sizes: int) -> Exception:
            return _mask_error(node, sizes[: len(have)], sizes[len(have) :])

        return [
            Check(E.compare("eq", a, b), have + want, fail)
            for a, b in zip(have, want, strict=False)
            if a is not b
        ]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, *sizes = inputs
        want = tuple(int(size) for size in sizes)
        if want and x.shape != want:
            raise _mask_error(node, x.shape, want)
        return [positions.astype("int64") for positions in np.nonzero(x)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [DisconnectedType()() for _ in inputs]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False] * len(node.outputs) for _ in node.inputs]


def _mask_error(node: Apply, have: Sequence[int], want: Sequence[int]) -> IndexError:
    return IndexError(
        explain("boolean index", f"a mask of shape {tuple(have)} did not match "
                f"the indexed axes of shape {tuple(want)}", where=node.trace,
                got=describe(node.inputs[:1]), expected="a mask as large as what it masks")
    )  # fmt: skip
