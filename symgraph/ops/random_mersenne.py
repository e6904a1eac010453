"""Draws from NumPy's RandomState, bit for bit: the functions of Theano's `raw_random`.

Each function takes a state (see `symgraph.random_state`) and gives (the next state, a sample).
Uniform and normal numbers, and binomial ones of a single trial, are drawn by kernels of ours; the
other distributions by NumPy itself, in a Python step.
Source of names and semantics: Theano, tensor/raw_random.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.configuration import config
from symgraph.errors import explain
from symgraph.graph import Apply, Constant, Context, LibraryCall
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import cast_known
from symgraph.ops.core import describe
from symgraph.ops.elementwise import cast, gt, le, sub, switch
from symgraph.ops.random import (
    Draw,
    affine,
    fitting,
    parameter,
    range_of,
    sample_sizes,
    success_probability,
)
from symgraph.ops.structure import as_size, shape_i
from symgraph.random_state import STATE, WORDS, pack, unpack
from symgraph.types import TensorType, check_dtype, upcast
from symgraph.variable import as_tensor_variable, constant

# ---- the ops -------------------------------------------------------------------------------------


class TwisterDraw(Draw):
    """Base of draws from a RandomState: the next state, and the sample."""

    def output_types(self, state: Any, *inputs: Any) -> list[TensorType]:
        if state.type != STATE:
            raise TypeError(
                explain(self, "the first input is no random state", got=describe([state]),
                        expected="shared(numpy.random.RandomState(seed)), or what a draw gave",
                        cure="RandomStreams(seed) makes states by itself")
            )  # fmt: skip
        return [STATE, TensorType(self.dtype, self.broadcastable)]

    def state_size(self) -> int:
        return WORDS

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [(E.const(WORDS),), self.shape(node, ctx)]


@dataclass(frozen=True)
class MersenneDraw(TwisterDraw):
    """Numbers of `distribution`: "uniform" in [0, 1), or "normal", standard. float64."""

    distribution: str

    def lowering(self, node: Apply, ctx: Context) -> LibraryCall:
        count = E.product(self.shape(node, ctx))
        name = f"mersenne_{self.distribution}"
        return LibraryCall(name, self.dtype, {}, (node.inputs[0],), {"out1": (count,)})

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        state, shape = unpack(inputs[0]), tuple(int(n) for n in inputs[1:])
        draw = state.random_sample if self.distribution == "uniform" else state.standard_normal
        sample = np.asarray(draw(shape))
        return [pack(state), sample]

    def __str__(self) -> str:
        return f"RandomFunction{{{self.distribution}}}"


@dataclass(frozen=True)
class RandomFunction(TwisterDraw):
    """A sample that NumPy draws, by the function `fn` of `DRAWN`.

    Inputs are a state, the sizes, and the arguments of `fn`; with `added`, the last of the sizes is
    that of an axis which the distribution itself adds.
    """

    fn: str
    added: bool = False

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        rank = len(self.broadcastable)
        state, sizes, args = unpack(inputs[0]), inputs[1 : 1 + rank], inputs[1 + rank :]
        shape = tuple(int(n) for n in sizes)
        try:
            sample = DRAWN[self.fn](state, shape[: rank - self.added], *args)
        except ValueError as error:
            raise ValueError(
                explain(self, str(error), where=node.trace, got=describe(node.inputs[1 + rank :]))
            ) from None
        return [pack(state), np.asarray(sample).astype(self.dtype).reshape(shape)]

    def __str__(self) -> str:
        return f"RandomFunction{{{self.fn}}}"


# ---- what NumPy draws ----------------------------------------------------------------------------

Size = tuple[int, ...]


def _binomial(state: np.random.RandomState, size: Size, n: np.ndarray, p: np.ndarray) -> Any:
    return state.binomial(n, p, size)


def _poisson(state: np.random.RandomState, size: Size, lam: np.ndarray) -> Any:
    return state.poisson(lam, size)


def _random_integers(
    state: np.random.RandomState, size: Size, low: np.ndarray, high: np.ndarray
) -> Any:
    """One after another; NumPy draws the same ones at once between two numbers."""
    if low.size == high.size == 1:
        return state.randint(low.item(), high.item() + 1, size)
    low, high = np.broadcast_to(low, size), np.broadcast_to(high, size)
    drawn = [state.randint(a, b + 1) for a, b in zip(low.flat, high.flat, strict=True)]
    return np.array(drawn, "int64").reshape(size)


def _choice(
    state: np.random.RandomState,
    size: Size,
    a: np.ndarray,
    replace: np.ndarray,
    p: np.ndarray | None = None,
) -> Any:
    return state.choice(int(a) if a.ndim == 0 else a, size, bool(replace), p)


def _permutation(state: np.random.RandomState, size: Size, n: np.ndarray) -> Any:
    result = np.empty((*size, int(n)), "int64")
    for at in np.ndindex(*size):
        result[at] = state.permutation(int(n))
    return result


def _multinomial(state: np.random.RandomState, size: Size, n: np.ndarray, pvals: np.ndarray) -> Any:
    """For each distribution; probabilities that add up to 1 only nearly are made smaller."""
    n, pvals = np.broadcast_to(n, size), np.broadcast_to(pvals, (*size, pvals.shape[-1]))
    result = np.empty(pvals.shape, "int64")
    for at in np.ndindex(*size):
        p = pvals[at]
        if 1.0 < p.sum() < 1.0 + 1e-5 or (p.sum() <= 1.0 and p[-1] < 5e-5):
            p = p * (1.0 - 5e-5)
        if not p.sum() <= 1.0 or p.min() < 0:
            raise ValueError(f"the probabilities {p} do not add up to 1")
        result[at] = state.multinomial(int(n[at]), p.astype("float64"))
    return result


DRAWN: dict[str, Callable[..., Any]] = {
    "binomial": _binomial, "poisson": _poisson, "random_integers": _random_integers,
    "choice": _choice, "permutation": _permutation, "multinomial": _multinomial,
}  # fmt: skip


# ---- the functions -------------------------------------------------------------------------------


def _located(
    state: Any, distribution: str, size: Any, shift: Any, scale: Any, ndim: int | None,
    dtype: str,
) -> list[Any]:  # fmt: skip
    """(next state, numbers of the distribution, scaled and shifted in float64, as `dtype`)."""
    sizes, pattern = sample_sizes(size, ndim, distribution, [shift, scale])
    new, drawn = MersenneDraw("float64", pattern, distribution)(state, *sizes)
    sample = affine(drawn, parameter(scale), parameter(shift), "float64")
    return [new, cast(sample, dtype)]


def _dtype(dtype: str | None, *parameters: Any) -> str:
    if dtype is not None:
        return check_dtype(dtype)
    return upcast(config.floatX, *(p.dtype for p in parameters))


def uniform(
    random_state: Any, size: Any = None, low: Any = 0.0, high: Any = 1.0, ndim: int | None = None,
    dtype: str | None = None,
) -> list[Any]:  # fmt: skip
    """Numbers uniform in [low, high), drawn in float64.

    `size`: ints and scalars (-1: the parameters'), or an integer vector, `ndim` long; by default
    what the parameters broadcast to. `dtype`: by default the upcast of floatX and the parameters'.
    No gradient by the parameters.
    """
    low, high = as_tensor_variable(low), as_tensor_variable(high)
    scale = range_of(cast_known(low, "float64"), cast_known(high, "float64"))
    dtype = _dtype(dtype, low, high)
    return _located(random_state, "uniform", size, low, scale, ndim, dtype)


def normal(
    random_state: Any, size: Any = None, avg: Any = 0.0, std: Any = 1.0, ndim: int | None = None,
    dtype: str | None = None,
) -> list[Any]:  # fmt: skip
    """Numbers of the normal distribution of mean `avg` and deviation `std`; else as `uniform`."""
    avg, std = as_tensor_variable(avg), as_tensor_variable(std)
    return _located(random_state, "normal", size, avg, std, ndim, _dtype(dtype, avg, std))


def binomial(
    random_state: Any, size: Any = None, n: Any = 1, p: Any = 0.5, ndim: int | None = None,
    dtype: str = "int64", prob: Any = None,
) -> list[Any]:  # fmt: skip
    """How many of `n` trials succeed with probability `p` each, as `dtype`.

    For the number 1 as `n`, a uniform number is compared with `p`: NumPy's outcome but for a chance
    of 2**-52 (it takes the number 1 - p through a logarithm), and a symbolic `p` outside [0, 1]
    counts as the nearer bound, NaN as 0. Else NumPy draws, and raises ValueError for such a `p`.
    ValueError at once for a constant one. `prob` is the old name of `p`.
    """
    if prob is not None:
        warnings.warn("binomial: prob is called p now", DeprecationWarning, stacklevel=2)
        p = prob
    n, p = as_tensor_variable(n), success_probability(p, "binomial")
    sizes, _ = sample_sizes(size, ndim, "binomial", [n, p])
    pattern = (False,) * len(sizes)
    if isinstance(n, Constant) and n.data.size == 1 and n.data.item() == 1:
        new, u = MersenneDraw("float64", pattern, "uniform")(random_state, *sizes)
        wide = cast(p, "float64")
        one, half = (constant(x, dtype="float64") for x in (1, 0.5))
        hit = switch(le(wide, half), gt(u, sub(one, wide)), le(u, wide))
        return [new, cast(fitting(hit, u), dtype)]
    return _numpy("binomial", random_state, sizes, pattern, dtype, cast(n, "int64"), p)


def _numpy(
    fn: str, state: Any, sizes: Sequence[Any], pattern: Sequence[bool], dtype: str, *args: Any,
    added: bool = False,
) -> list[Any]:  # fmt: skip
    op = RandomFunction(check_dtype(dtype), tuple(pattern), fn, added)
    return op(state, *sizes, *args)  # type: ignore[no-any-return]


def random_integers(
    random_state: Any, size: Any = None, low: Any = 0, high: Any = 1, ndim: int | None = None,
    dtype: str = "int64",
) -> list[Any]:  # fmt: skip
    """Integers from `low` to `high`, both inclusive, as `dtype`; `size` as for `uniform`."""
    low, high = as_tensor_variable(low), as_tensor_variable(high)
    sizes, pattern = sample_sizes(size, ndim, "random_integers", [low, high])
    return _numpy("random_integers", random_state, sizes, pattern, dtype, low, high)


def choice(
    random_state: Any, size: Any = None, a: Any = 2, replace: Any = True, p: Any = None,
    ndim: int | None = None, dtype: str = "int64",
) -> list[Any]:  # fmt: skip
    """Numbers from 0 to below `a`, or elements of the vector `a`, as `dtype`; by default one.

    `p`: a vector of probabilities, by default equal ones. Without `replace` (a bool, or an integer
    scalar) all are different.
    """
    a = as_tensor_variable(a)
    if a.ndim > 1:
        raise ValueError(explain("choice", "a is a number or a vector", got=describe([a])))
    again = constant(replace, dtype="int8") if isinstance(replace, bool) else replace
    chances = [] if p is None else [parameter(p)]
    if chances and chances[0].ndim != 1:
        raise ValueError(explain("choice", "p is a vector", got=describe(chances)))
    sizes, pattern = sample_sizes(() if size is None else size, ndim, "choice")
    return _numpy("choice", random_state, sizes, pattern, dtype, a, again, *chances)


def poisson(
    random_state: Any, size: Any = None, lam: Any = 1.0, ndim: int | None = None,
    dtype: str = "int64",
) -> list[Any]:  # fmt: skip
    """Numbers of the Poisson distribution of mean `lam`, as `dtype`; `size` as for `uniform`."""
    lam = parameter(lam)
    sizes, pattern = sample_sizes(size, ndim, "poisson", [lam])
    return _numpy("poisson", random_state, sizes, pattern, dtype, lam)


def permutation(
    random_state: Any, size: Any = None, n: Any = 1, ndim: int | None = None,
    dtype: str = "int64",
) -> list[Any]:  # fmt: skip
    """Permutations of the numbers from 0 to below `n`: (*size, n), by default a single one.

    `ndim` is the number of axes of `size`.
    """
    if size is None or (isinstance(size, tuple) and size == ()):
        if ndim not in (None, 0, 1):
            raise TypeError(explain("permutation", "a single one has one axis", got=f"ndim={ndim}"))
        size, ndim = (), None
    count = as_size(n, "permutation")
    sizes, pattern = sample_sizes(size, ndim, "permutation")
    return _numpy("permutation", random_state, [*sizes, count], [*pattern, False], dtype, count,
                  added=True)  # fmt: skip


def multinomial(
    random_state: Any, size: Any = None, n: Any = 1, pvals: Any = (0.5, 0.5),
    ndim: int | None = None, dtype: str = "int64",
) -> list[Any]:  # fmt: skip
    """How often each class is drawn in `n` draws: (*size, classes), as `dtype`.

    `pvals`: (..., classes) probabilities, which broadcast with `n` to `size`, by default what they
    broadcast to; -1 in it is the size of theirs. ValueError at the call where they exceed 1.
    """
    n, pvals = as_tensor_variable(n), parameter(pvals)
    if not pvals.ndim:
        raise ValueError(explain("multinomial", "one probability for each class",
                                 got=describe([pvals])))  # fmt: skip
    sizes, pattern = sample_sizes(size, ndim, "multinomial", [n, pvals[..., 0]])
    last = shape_i(pvals, pvals.ndim - 1)
    pattern = (*pattern, pvals.broadcastable[-1])
    return _numpy("multinomial", random_state, [*sizes, last], pattern, dtype, n, pvals,
                  added=True)  # fmt: skip
