"""Sizes as variables, and the ops that change a type but not the memory behind it.

`Shape`, `ShapeI` and `MakeVector` carry sizes through the graph; the host computes them before any
kernel runs. `Reshape`, `Rebroadcast` and `SpecifyShape` are views. What users call is in `shape`.
Source: Theano, compile/ops.py (Shape, Rebroadcast, SpecifyShape), tensor/opt.py (MakeVector),
tensor/basic.py (Reshape).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Constant, Context, Op
from symgraph.graph import Shape as Sizes
from symgraph.ops.core import cast_expr, describe
from symgraph.ops.elementwise import SWITCH, cast, mul
from symgraph.ops.sizes import (
    cancel,
    contiguous,
    contiguous_strides,
    never_negative,
)
from symgraph.ops.sizes import (
    checks_of as checks_of,
)
from symgraph.ops.sizes import (
    known_integer as known_integer,
)
from symgraph.ops.sizes import (
    raise_known_failures as raise_known_failures,
)
from symgraph.types import DISCRETE, INT64, DisconnectedType, TensorType, upcast
from symgraph.variable import as_tensor_variable, constant

# ---- sizes as variables --------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape(Op):
    """The sizes of x, an int64 vector with one element for each axis. No gradient flows."""

    def output_types(self, x: Any) -> list[TensorType]:
        return [TensorType("int64", (False,))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [(E.const(node.inputs[0].type.ndim),)]

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        return ctx.shape(node.inputs[0])[position]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        sizes = ctx.shape(node.inputs[0]) or (E.ZERO,)
        result = sizes[-1]
        for axis in reversed(range(len(sizes) - 1)):
            result = E.where(E.compare("eq", indices[0], axis), sizes[axis], result)
        return result

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.array(inputs[0].shape, dtype="int64")]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [DisconnectedType()()]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        return f"{inputs[0]}.shape"


@dataclass(frozen=True)
class ShapeI(Op):
    """The size of x along axis `i`, an int64 scalar. No gradient flows."""

    i: int

    def output_types(self, x: Any) -> list[TensorType]:
        if not 0 <= self.i < x.ndim:
            raise IndexError(f"{self}: {describe([x])} has no axis {self.i}")
        return [INT64]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [()]

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        return ctx.shape(node.inputs[0])[self.i]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        return ctx.shape(node.inputs[0])[self.i]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.array(inputs[0].shape[self.i], dtype="int64")]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [DisconnectedType()()]

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        return f"{inputs[0]}.shape[{self.i}]"

    def __str__(self) -> str:
        return f"Shape_i{{{self.i}}}"


@dataclass(frozen=True)
class MakeVector(Op):
    """The vector whose elements are the scalar inputs, as `dtype`."""

    dtype: str = "int64"

    def output_types(self, *inputs: Any) -> list[TensorType]:
        for position, x in enumerate(inputs):
            if x.ndim != 0:
                raise TypeError(
                    explain(self, f"input {position} is not a scalar", got=describe([x]),
                            expected="0-d variables or numbers", cure="use stack or concatenate")
                )  # fmt: skip
            if upcast(self.dtype, x.dtype) != self.dtype:
                raise TypeError(
                    explain(self, f"input {position} does not fit", got=describe([x]),
                            expected=f"what {self.dtype} holds", cure="cast it first")
                )  # fmt: skip
        return [TensorType(self.dtype, (False,))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [(E.const(len(node.inputs)),)]

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        return ctx.value(node.inputs[position]) if self.dtype in DISCRETE else None

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        items = [E.load(x, ()) for x in node.inputs]
        result = cast_expr(items[-1], self.dtype) if items else E.const(0, self.dtype)
        for k in reversed(range(len(items) - 1)):
            chosen = E.compare("eq", indices[0], k)
            result = SWITCH.apply((chosen, items[k], result), self.dtype)
        return result

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return [np.array(inputs, dtype=self.dtype).reshape(len(inputs))]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (g,) = output_gradients
        if self.dtype in DISCRETE:
            return [x.zeros_like("floatX") for x in inputs]
        return [g[k] if x.dtype not in DISCRETE else x.zeros_like("floatX")
                for k, x in enumerate(inputs)]  # fmt: skip

    def __str__(self) -> str:
        return f"MakeVector{{dtype={self.dtype!r}}}"


def shape(x: Any) -> Any:
    """The sizes of `x`: an int64 vector of length x.ndim. Source: Theano, `T.shape`."""
    return Shape()(x)


def shape_i(x: Any, i: int) -> Any:
    """The size of `x` along axis `i` (from -ndim to ndim - 1): an int64 scalar.

    It is the constant 1 where the type says so. IndexError if there is no such axis.
    """
    x = as_tensor_variable(x)
    if not -x.ndim <= i < x.ndim:
        raise IndexError(f"shape_i: {describe([x])} has no axis {i}")
    i %= x.ndim
    return constant(1, dtype="int64") if x.broadcastable[i] else ShapeI(i)(x)


def sizes_of(x: Any) -> list[Any]:
    """`shape_i` for every axis."""
    return [shape_i(x, axis) for axis in range(x.ndim)]


def product_of(sizes: Iterable[Any]) -> Any:
    """The product of int64 scalars; that of none is the constant 1."""
    factors = [as_size(s, "product") for s in sizes]
    factors = [s for s in factors if known_integer(s) != 1]
    if not factors:
        return constant(1, dtype="int64")
    return factors[0] if len(factors) == 1 else mul(*factors)


def size(x: Any) -> Any:
    """The number of elements of `x`: an int64 scalar. Source: Theano, `x.size`."""
    return product_of(sizes_of(as_tensor_variable(x)))


def as_size(x: Any, who: str) -> Any:
    """A size given by a user, as an int64 scalar variable; TypeError if it is not an integer."""
    if isinstance(x, bool):
        raise TypeError(explain(who, "a size is not an integer", got=repr(x)))
    v = as_tensor_variable(x)
    if v.dtype not in DISCRETE or v.dtype == "bool" or v.ndim != 0:
        raise TypeError(
            explain(who, "a size is not an integer", got=describe([v]),
                    expected="integers and 0-d integer variables", cure="cast it to int64")
        )  # fmt: skip
    if isinstance(v, Constant):
        return constant(v.data, dtype="int64")
    return cast(v, "int64")


# ---- views ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reshape(Op):
    """x in another shape, row-major; inputs are x and an integer vector, where one -1 is inferred.

    `broadcastable` is the result's pattern. ShapeError at the call if the sizes do not multiply up
    to the number of elements.
    """

    broadcastable: tuple[bool, ...]
    view_of: ClassVar[int | None] = 0

    @property
    def ndim(self) -> int:
        return len(self.broadcastable)

    def output_types(self, x: Any, sizes: Any) -> list[TensorType]:
        if sizes.ndim != 1 or sizes.dtype not in DISCRETE:
            raise TypeError(
                explain(self, "the new shape is not an integer vector", got=describe([sizes]))
            )
        return [TensorType(x.dtype, self.broadcastable)]

    def _sizes(self, node: Apply, ctx: Context) -> tuple[Sizes, list[Expr]]:
        """The result's sizes, and the conditions under which they are right."""
        x, vector = node.inputs
        total = E.product(ctx.shape(x))
        wanted = [ctx.value(vector, k) for k in range(self.ndim)]
        unsure = [k for k, w in enumerate(wanted) if not never_negative(w)]
        inferred = [k for k in unsure if wanted[k] is E.const(-1)]
        if len(inferred) == 1:
            (k,) = inferred
            known = E.product(w for j, w in enumerate(wanted) if j != k)
            top, bottom = cancel(total, known)
            wanted[k] = E.floordiv(top, E.maximum(E.ONE, bottom))
            conditions = [E.compare("lt", E.ZERO, known),
                          E.compare("eq", E.mul(wanted[k], bottom), top)]  # fmt: skip
        else:
            if unsure:
                rest = E.maximum(E.ONE, E.sub(E.ZERO, E.product(wanted)))
                filled = E.floordiv(total, rest)
                for k in unsure:
                    wanted[k] = E.where(E.compare("eq", wanted[k], -1), filled, wanted[k])
            conditions = [E.compare("eq", *cancel(E.product(wanted), total))]
        conditions += [E.compare("le", E.ZERO, wanted[k]) for k in unsure if k not in inferred]
        for k, one in enumerate(self.broadcastable):
            if one:
                conditions.append(E.compare("eq", wanted[k], E.ONE))
                wanted[k] = E.ONE
        return tuple(wanted), conditions

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [self._sizes(node, ctx)[0]]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        conditions = self._sizes(node, ctx)[1]
        x, vector = node.inputs
        old = ctx.shape(x)

        def fail(*values: int) -> Exception:
            had, want = tuple(values[: len(old)]), tuple(values[len(old) :])
            return ShapeError(
                explain(self, f"cannot reshape an array of shape {had} into shape {want}",
                        where=node.trace, got=f"{math.prod(had)} elements of {describe([x])}",
                        expected="as many elements after as before, and at most one -1")
            )  # fmt: skip

        def misfit(length: int) -> Exception:
            return ShapeError(
                explain(self, "the new shape has another length than the result has axes",
                        where=node.trace, got=f"{length} sizes in {vector}",
                        expected=f"{self.ndim} sizes", cure="give ndim=")
            )  # fmt: skip

        new = tuple(ctx.value(vector, k) for k in range(self.ndim))
        length = ctx.shape(vector)
        return [
            *checks_of([E.compare("eq", length[0], self.ndim)], length, misfit),
            *checks_of(conditions, (*old, *new), fail),
        ]

    def view(self, node: Apply, strides: Sizes, ctx: Context) -> tuple[Expr, Sizes] | None:
        if not contiguous(ctx.shape(node.inputs[0]), strides):
            return None
        return E.ZERO, contiguous_strides(self._sizes(node, ctx)[0])

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, sizes = inputs
        if len(sizes) != self.ndim:
            raise ShapeError(explain(self, f"the new shape has {len(sizes)} elements"))
        return [x.reshape(tuple(sizes))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        x = inputs[0]
        return [Reshape(x.broadcastable)(output_gradients[0], shape(x)), DisconnectedType()()]

    def __str__(self) -> str:
        return f"Reshape{{{self.ndim}}}"


@dataclass(frozen=True)
class Rebroadcast(Op):
    """x with another broadcast pattern. ShapeError at the call where a True is not of size 1."""

    broadcastable: tuple[bool, ...]
    view_of: ClassVar[int | None] = 0

    def output_types(self, x: Any) -> list[TensorType]:
        if x.ndim != len(self.broadcastable):
            raise ValueError(
                explain(self, "wrong number of axes", got=f"{describe([x])} with {x.ndim} axes",
                        expected=f"{len(self.broadcastable)} axes")
            )  # fmt: skip
        return [TensorType(x.dtype, self.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        sizes = ctx.shape(node.inputs[0])
        return [tuple(E.ONE if b else n for b, n in zip(self.broadcastable, sizes, strict=True))]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        sizes = ctx.shape(node.inputs[0])
        pairs = zip(self.broadcastable, sizes, strict=True)
        ones = [E.compare("eq", n, E.ONE) for b, n in pairs if b]

        def fail(*values: int) -> Exception:
            return ShapeError(
                explain(self, "an axis declared broadcastable is not of size 1", where=node.trace,
                        got=f"shape {values} of {describe(node.inputs)}",
                        expected=f"size 1 where the pattern {self.broadcastable} is True")
            )  # fmt: skip

        return checks_of(ones, sizes, fail)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        return E.load(node.inputs[0], indices)

    def view(self, node: Apply, strides: Sizes, ctx: Context) -> tuple[Expr, Sizes] | None:
        return E.ZERO, strides

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        if any(b and n != 1 for b, n in zip(self.broadcastable, x.shape, strict=True)):
            raise ShapeError(f"{self}: an array of shape {x.shape} is not of size 1 there")
        return [x]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [rebroadcast(output_gradients[0], inputs[0].broadcastable)]


def rebroadcast(x: Any, broadcastable: Sequence[bool]) -> Any:
    """`x` with this pattern; `x` itself if it has it."""
    pattern = tuple(bool(b) for b in broadcastable)
    return x if x.broadcastable == pattern else Rebroadcast(pattern)(x)


@dataclass(frozen=True)
class SpecifyShape(Op):
    """x, whose sizes are promised to be those of an integer vector; `broadcastable` is its pattern.

    AssertionError at the call if they are not. Source: Theano, `T.specify_shape`.
    """

    broadcastable: tuple[bool, ...]
    view_of: ClassVar[int | None] = 0
    error: ClassVar[type[Exception]] = AssertionError
    problem: ClassVar[str] = "the shape is not the one promised"

    def output_types(self, x: Any, sizes: Any) -> list[TensorType]:
        if sizes.ndim != 1 or sizes.dtype not in DISCRETE:
            raise TypeError(explain(self, "sizes are an integer vector", got=describe([sizes])))
        if x.ndim != len(self.broadcastable):
            raise ValueError(explain(self, "wrong number of sizes", got=describe([x]),
                                     expected=f"{len(self.broadcastable)} axes"))  # fmt: skip
        return [TensorType(x.dtype, self.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        pattern = self.broadcastable
        return [tuple(E.ONE if b else ctx.value(node.inputs[1], k) for k, b in enumerate(pattern))]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        x, vector = node.inputs
        sizes = ctx.shape(x)
        wanted = tuple(ctx.value(vector, k) for k in range(len(sizes)))
        equal = [E.compare("eq", n, w) for n, w in zip(sizes, wanted, strict=True)]

        def fail(*values: int) -> Exception:
            half = len(values) // 2
            return self.error(
                explain(self, self.problem, where=node.trace,
                        got=f"shape {values[:half]} of {describe([x])}",
                        expected=f"shape {values[half:]}")
            )  # fmt: skip

        return checks_of(equal, (*sizes, *wanted), fail)

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        return E.load(node.inputs[0], indices)

    def view(self, node: Apply, strides: Sizes, ctx: Context) -> tuple[Expr, Sizes] | None:
        return E.ZERO, strides

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, sizes = inputs
        if x.shape != tuple(sizes):
            raise self.error(f"{self}: got shape {x.shape}, expected {tuple(sizes)}")
        return [x]

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        return ctx.value(node.inputs[0], position)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        pattern = inputs[0].broadcastable
        return [rebroadcast(output_gradients[0], pattern), DisconnectedType()()]


@dataclass(frozen=True)
class DeclaredShape(SpecifyShape):
    """x, whose sizes a convolution declares; ShapeError at the call if they are others."""

    error: ClassVar[type[Exception]] = ShapeError
    problem: ClassVar[str] = "the shape is not the one that the convolution was given"

    def __str__(self) -> str:
        return "DeclaredShape"


@dataclass(frozen=True)
class SpecifyLength(SpecifyShape):
    """A vector of sizes, of which the length is promised; ShapeError at the call for another."""

    error: ClassVar[type[Exception]] = ShapeError
    problem: ClassVar[str] = "a shape has another length than the result has axes"

    @classmethod
    def of(cls, vector: Any, length: int) -> Any:
        """`vector`, which has `length` entries."""
        return cls((False,))(vector, np.array([length]))

    def __str__(self) -> str:
        return "SpecifyLength"
