"""What all random ops share: the sizes of a sample, and how it is scaled and shifted.

Source of names and semantics: Theano, tensor/raw_random.py and sandbox/rng_mrg.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check
from symgraph.graph import Apply, Constant, Context, Op, Variable
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import as_sizes, cast_known
from symgraph.ops.core import DimShuffle, Elemwise, describe
from symgraph.ops.elementwise import AFFINE, add, sub
from symgraph.ops.passing import PassThrough, undefined_grad
from symgraph.ops.sizes import at_least_zero, checks_of, known_integer
from symgraph.ops.structure import as_size, sizes_of
from symgraph.types import DisconnectedType, NullType
from symgraph.variable import as_tensor_variable, constant

TRUNCATED_DEVIATION = 0.87962566103423978  # of a normal distribution cut at two deviations


P = ParamSpec("P")
R = TypeVar("R")


def whole(method: Callable[P, R]) -> Callable[P, R]:
    """A draw that, if it fails, leaves its source of random numbers as it was.

    The source has `state_updates`, a list, and other attributes that are replaced, not changed.
    """

    @wraps(method)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        source: Any = args[0]
        before, length = dict(vars(source)), len(source.state_updates)
        try:
            return method(*args, **kwargs)
        except Exception:
            vars(source).update(before)
            del source.state_updates[length:]
            raise

    return draw


def affine(x: Any, scale: Any, shift: Any, dtype: str) -> Any:
    """`x * scale + shift`, both rounded to `dtype` in every kernel; `x` itself for 1 and 0.

    The result has the pattern of `x`, see `fitting`.
    """
    x = cast_known(x, dtype)
    if _is_number(scale, 1) and _is_number(shift, 0):
        return x
    scale, shift = cast_known(scale, dtype), cast_known(shift, dtype)
    return fitting(Elemwise(AFFINE)(x, scale, shift), x)


def fitting(result: Any, x: Any) -> Any:
    """`result`, made of the numbers `x` and of parameters; NotImplementedError if these have more
    axes, or sizes where `x` is known to have 1."""
    if result.broadcastable != x.broadcastable:
        raise NotImplementedError(
            explain("random", "the parameters have a size along an axis along which the sample "
                    "has 1", got=str(result.type), expected=f"what fits {x.type}",
                    cure="increase the size to match the broadcasting pattern of the parameters")
        )  # fmt: skip
    return result


def _is_number(x: Any, number: float) -> bool:
    """Whether `x` is this number, which may be dimshuffled and said to have no gradient."""
    while isinstance(x, Variable) and x.owner and isinstance(x.owner.op, (DimShuffle, PassThrough)):
        x = x.owner.inputs[0]
    return isinstance(x, Constant) and x.data.size == 1 and float(x.data.item()) == number


def range_of(low: Any, high: Any) -> Any:
    """`high - low`, at once for constants."""
    low, high = as_tensor_variable(low), as_tensor_variable(high)
    if isinstance(low, Constant) and isinstance(high, Constant):
        return constant(high.data - low.data)
    return sub(high, low)


def parameter(x: Any) -> Any:
    """A parameter of a distribution, by which samples have no gradient."""
    return undefined_grad(as_tensor_variable(x))


def success_probability(p: Any, who: str) -> Any:
    """The parameter `p`; ValueError for a constant of which a number is not in [0, 1]."""
    given = as_tensor_variable(p)
    if isinstance(given, Constant) and not ((given.data >= 0) & (given.data <= 1)).all():
        raise ValueError(explain(who, "p < 0, p > 1 or p is NaN", got=f"p={given.data}",
                                 expected="probabilities from 0 to 1",
                                 cure="tensor.clip(p, 0, 1)"))  # fmt: skip
    return parameter(given)


def sample_sizes(
    size: Any, ndim: int | None, who: str, parameters: Sequence[Any] = ()
) -> tuple[list[Any], tuple[bool, ...]]:
    """The sizes of a sample, as int64 scalars, and its pattern.

    `size` is None (what the parameters broadcast to), a list of ints and scalars, or an integer
    vector, whose length `ndim` gives if need be; -1 in a list is the size of the parameters there.
    Sizes that are the int 1 are broadcastable. ValueError where `ndim` or the parameters' axes do
    not fit, TypeError for what is no size.
    """
    rank = max((p.ndim for p in parameters), default=0)
    if size is None:
        if not parameters:
            raise TypeError(explain(who, "no size is given, and there are no parameters to take "
                                    "it from", cure="size=(...), or ndim with a size"))  # fmt: skip
        whole = add(*parameters) if len(parameters) > 1 else parameters[0]
        return list(sizes_of(whole)), whole.broadcastable
    if isinstance(size, (list, tuple)):
        if ndim is not None and ndim != len(size):
            raise ValueError(explain(who, "ndim should be equal to len(size)",
                                     got=f"ndim={ndim}, size={tuple(size)}",
                                     expected=f"ndim={len(size)}",
                                     cure="leave ndim out"))  # fmt: skip
        found = [
            _borrowed(k - len(size), parameters, who) if isinstance(n, int) and n == -1 else n
            for k, n in enumerate(size)
        ]
        sizes = [as_size(n, who) for n in found]
        ones = [isinstance(n, (int, np.integer)) and n == 1 for n in found]
    else:
        sizes = as_sizes(size, who, ndim)
        ones = [False] * len(sizes)
    known = [known_integer(n) for n in sizes]
    if any(n is not None and n < 0 for n in known):
        raise ValueError(explain(who, "negative dimensions are not allowed", got=f"size={size}",
                                 expected="sizes from 0",
                                 cure="-1, in a list or tuple, is the size of a "
                                 "parameter"))  # fmt: skip
    if rank > len(sizes):
        raise ValueError(explain(who, f"the sample has {len(sizes)} axes, fewer than its "
                                 "parameters", got=describe(parameters),
                                 expected=f"parameters of at most {len(sizes)} axes",
                                 cure="a size for each axis of the parameters"))  # fmt: skip
    return sizes, tuple(ones)


def _borrowed(axis: int, parameters: Sequence[Any], who: str) -> Any:
    """The size that the parameters have along `axis`, counted from the end."""
    having = [p for p in parameters if p.ndim >= -axis]
    if not having:
        raise ValueError(explain(who, "a size of -1 is that of a parameter, and none reaches there",
                                 got=describe(parameters),
                                 expected="a size from 0 there"))  # fmt: skip
    for p in having:
        if not p.broadcastable[axis]:
            return p.shape[p.ndim + axis]
    return 1


@dataclass(frozen=True)
class Draw(Op):
    """Base of ops that draw. Inputs: a state, an int64 scalar for each axis of the sample, others.

    A draw is a function of these: the same state gives the same sample. `dtype` and `broadcastable`
    are the sample's.
    """

    dtype: str
    broadcastable: tuple[bool, ...]

    def axes(self, node: Apply) -> list[Variable]:
        """The inputs that give the sample's sizes."""
        return node.inputs[1 : 1 + len(self.broadcastable)]

    def shape(self, node: Apply, ctx: Context) -> Sizes:
        """The sample's sizes."""
        pairs = zip(self.broadcastable, self.axes(node), strict=True)
        return tuple(E.ONE if one else at_least_zero(ctx.value(n)) for one, n in pairs)

    def state_size(self) -> int:
        """The size of the last axis of a state."""
        raise NotImplementedError

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        state = node.inputs[0]
        sizes = tuple(ctx.value(v) for v in self.axes(node))
        have, want = ctx.shape(state)[-1], self.state_size()

        def negative(*values: int) -> Exception:
            return ShapeError(explain(self, "negative dimensions are not allowed",
                                      where=node.trace, got=f"size {values}",
                                      expected="sizes from 0"))  # fmt: skip

        def misfit(*values: int) -> Exception:
            return ShapeError(explain(self, "this is no state of the generator", where=node.trace,
                                      got=f"{state} with {values[0]} columns",
                                      expected=f"{want}",
                                      cure="give back what get_value gave, or call seed"
                                      ))  # fmt: skip

        conditions = [E.compare("le", E.ZERO, n) for n in sizes if n is not at_least_zero(n)]
        return [
            *checks_of(conditions, sizes, negative),
            *checks_of([E.compare("eq", have, want)], (have,), misfit),
        ]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        sizes = set(range(1, 1 + len(self.broadcastable)))
        return [[k not in sizes] * len(node.outputs) for k in range(len(node.inputs))]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        why = f"no gradient goes through {self}, which draws random numbers"
        sizes = range(1, 1 + len(self.broadcastable))
        return [DisconnectedType()() if k in sizes else NullType(why)() for k in range(len(inputs))]

    def __str__(self) -> str:
        return f"{type(self).__name__}{{{self.dtype}}}"
