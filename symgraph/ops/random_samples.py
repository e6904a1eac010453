"""From uniform numbers to samples of discrete distributions.

Source of names and semantics: Theano, sandbox/multinomial.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import NullTypeGradError, ShapeError, explain
from symgraph.expr import Check
from symgraph.graph import Apply, Context, Op
from symgraph.graph import Shape as Sizes
from symgraph.ops.alloc import arange
from symgraph.ops.assertion import Require
from symgraph.ops.core import describe
from symgraph.ops.elementwise import (
    abs_,
    cast,
    eq,
    ge,
    gt,
    le,
    log1p,
    lt,
    minimum,
    neg,
    or_,
    true_div,
)
from symgraph.ops.join import join
from symgraph.ops.random import fitting, parameter
from symgraph.ops.reduce import all as all_of
from symgraph.ops.reduce import sum as sum_of
from symgraph.ops.shape import shape_padleft, shape_padright
from symgraph.ops.sizes import checks_of
from symgraph.ops.sort import PermuteAlong, argsort, cumsum
from symgraph.ops.structure import shape_i, sizes_of
from symgraph.types import DISCRETE, FLOATS, TensorType
from symgraph.variable import as_tensor_variable


def trials(u: Any, p: Any, dtype: str) -> Any:
    """How many of the numbers along the first axis of `u` are below `p`."""
    return cast(sum_of(cast(fitting(lt(u, shape_padleft(p)), u), "int64"), axis=0), dtype)


def multinomial_counts(pvals: Any, u: Any, dtype: str, rest: bool = False) -> Any:
    """How often each class is drawn: (..., classes) counts as `dtype`.

    `pvals` (..., classes) are probabilities, `u` (n, ...) uniform numbers, one for each draw: the
    class is the first up to which the probabilities, added in float64, exceed the number. Where
    none does, nothing is drawn, or the last class, if it gets the `rest`.
    """
    reached = gt(shape_padleft(_cumulated(pvals)), shape_padright(u))
    if rest:
        count = shape_i(reached, reached.ndim - 1)
        reached = or_(reached, eq(arange(count), count - 1))
    upto = sum_of(cast(reached, "int64"), axis=0)
    before = (slice(None),) * (upto.ndim - 1)
    rest = upto[(*before, slice(1, None))] - upto[(*before, slice(None, -1))]
    return cast(join(upto.ndim - 1, upto[(*before, slice(None, 1))], rest), dtype)


def classes(pvals: Any, u: Any) -> Any:
    """The class of each number of `u`, int64, as in `multinomial_counts`; the last if none is
    reached. The first axes of `u` are those of `pvals` (..., classes) but the last.
    """
    upto = _cumulated(pvals)
    batch = upto.ndim - 1
    spread = upto.dimshuffle([*range(batch), *["x"] * (u.ndim - batch), batch])
    found = sum_of(cast(le(spread, shape_padright(u)), "int64"), axis=-1)
    return minimum(found, shape_i(upto, batch) - 1)


def equal_classes(u: Any, count: Any) -> Any:
    """The class of each number of `u`, int64, of `count` that are equally likely."""
    count = cast(count, "int64")
    u = cast(u, "float64")
    return minimum(cast(u * cast(count, "float64"), "int64"), count - 1)


def distinct_classes(pvals: Any, u: Any, count: Any) -> Any:
    """`count` different classes of each distribution, from a uniform number for each class.

    They are those with the smallest -log(1 - u) / p, which are distributed as draws one after
    another from what is left. Source: P. S. Efraimidis and P. G. Spirakis, Weighted random sampling
    with a reservoir, Information Processing Letters 97 (2006).
    """
    arrivals = true_div(neg(log1p(neg(cast(u, "float64")))), cast(pvals, "float64"))
    return first(argsort(arrivals), count)


def first(x: Any, count: Any) -> Any:
    """The first `count` elements along the last axis; IndexError at the call if there are fewer."""
    return x[(*(slice(None),) * (x.ndim - 1), arange(count))]


def shuffled_rows(x: Any, permutation: Callable[[Any, Any], Any]) -> Any:
    """`x` with the elements along its last axis in the orders that `permutation(sizes, n)` draws,
    which the result's `permutation` keeps; TypeError for a scalar."""
    x = as_tensor_variable(x)
    if not x.ndim:
        raise TypeError(explain("shuffle_row_elements", "takes at least a vector",
                                got=describe([x])))  # fmt: skip
    *rows, last = sizes_of(x)
    order = permutation(tuple(rows), last)
    shuffled = PermuteAlong(x.ndim - 1)(x, order)
    shuffled.permutation = order
    return shuffled


def probabilities(p: Any, who: str) -> Any:
    """Given probabilities as a variable of at least one axis, by which there is no gradient."""
    if p is None:
        raise TypeError(explain(who, "the probabilities are missing", got="None",
                                expected="(..., classes) probabilities"))  # fmt: skip
    p = parameter(p)
    if not p.ndim:
        raise ValueError(explain(who, "one probability for each class", got=describe([p]),
                                 expected="a vector at least"))  # fmt: skip
    return p


def distribution(p: Any, who: str, total: bool, count: Any = None) -> Any:
    """`probabilities`, checked at the call as NumPy checks them: ValueError for those that are
    negative or NaN, and for sums that are not 1 within sqrt(eps) of their dtype.

    Without `total` only sums above 1 are refused, of all but the last, which gets what is left.
    `count`: how many classes must have a chance.
    """
    p = probabilities(p, who)
    last = p.ndim - 1
    added = p if total else p[(*(slice(None),) * last, slice(None, -1))]
    beyond = sum_of(cast(added, "float64"), axis=last, keepdims=True) - 1.0
    eps = np.finfo(p.dtype if p.dtype in FLOATS else "float64").eps
    conditions = {
        "probabilities are negative or NaN": all_of(ge(p, 0), axis=last, keepdims=True),
        "probabilities do not add up to 1": le(abs_(beyond) if total else beyond, float(eps**0.5)),
    }
    if count is not None:
        likely = sum_of(cast(gt(p, 0), "int64"), axis=last, keepdims=True)
        conditions["fewer classes than are drawn have a probability above 0"] = ge(likely, count)
    expected = "numbers from 0 that add up to 1 along the last axis"
    return Require(who, tuple(conditions), expected)(p, *conditions.values())


def _cumulated(pvals: Any) -> Any:
    pvals = as_tensor_variable(pvals)
    return cumsum(cast(pvals, "float64"), axis=pvals.ndim - 1)


@dataclass(frozen=True)
class ChoiceFromUniform(Op):
    """`count` classes for each row of pvals, each drawn from what the ones before have left.

    Inputs: pvals (rows, classes) of floats; uniform numbers (count * rows,), draw after draw; the
    count. Output: (rows, count) classes as `odtype`. The probabilities are scaled to 1 again, in
    their dtype, after each draw; -1 stands where they did not reach the number.
    Source: Theano, sandbox/multinomial.py, ChoiceFromUniform.
    """

    odtype: str = "int64"

    def output_types(self, pvals: Any, unis: Any, n: Any) -> list[TensorType]:
        for x, ndim in ((pvals, 2), (unis, 1)):
            if x.ndim != ndim:
                raise NotImplementedError(
                    explain(self, "takes a matrix of probabilities and a vector of numbers",
                            got=describe([pvals, unis]))
                )  # fmt: skip
        if n.ndim or n.dtype not in DISCRETE:
            raise TypeError(explain(self, "the count is an integer", got=describe([n])))
        return [TensorType(self.odtype, (pvals.broadcastable[0], False))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        pvals, _, n = node.inputs
        return [(ctx.shape(pvals)[0], ctx.value(n))]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        pvals, unis, n = node.inputs
        (rows, count), given, wanted = ctx.shape(pvals), ctx.shape(unis)[0], ctx.value(n)

        def fail(*values: int) -> Exception:
            return ShapeError(
                explain(self, "Cannot sample without replacement n samples bigger than the size of "
                        "the distribution.", where=node.trace,
                        got="{} rows of {} classes, {} numbers, n = {}".format(*values),
                        expected="n from 0 to the number of classes, and n numbers for each row")
            )  # fmt: skip

        conditions = [
            E.compare("le", E.ZERO, wanted), E.compare("le", wanted, count),
            E.compare("eq", given, E.mul(rows, wanted)),
        ]  # fmt: skip
        return checks_of(conditions, (rows, count, given, wanted), fail)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        pvals, unis, n = inputs
        left, rows, count = pvals.copy(), np.arange(len(pvals)), int(n)
        result = np.full((len(rows), count), -1, self.odtype)
        for c, u in enumerate(unis.reshape(count, len(rows))):
            upto = np.cumsum(left, axis=1, dtype="float64")
            reached = upto > u[:, None]
            found = rows[reached.any(axis=1)]
            at = reached.argmax(axis=1)[found]
            result[found, c] = at
            # the rest is added up, one by one in its dtype, to what came before the class
            terms = np.where(np.arange(left.shape[1]) > at[:, None], left[found], 0)
            terms[:, 0] = (upto[found, at] - left[found, at]).astype(left.dtype)
            left[found, at] = 0
            with np.errstate(invalid="ignore", divide="ignore"):
                left[found] /= np.cumsum(terms, axis=1, dtype=left.dtype)[:, -1:]
        return [result]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [True], [False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise NullTypeGradError(explain(self, "classes that are drawn have no gradient"))
