"""Random numbers for new code: streams of the counter-based generator Philox4x32-10.

    rng = symgraph.tensor.random.RandomStreams(seed=1)
    mask = rng.binomial(x.shape, p=0.5, dtype=x.dtype)

The methods are those of Theano's `MRG_RandomStreams`, with the same keywords. What differs:

* A draw is elementwise: the kernels that read it compute it. A dropout mask costs about as much
  time as copying the array, and no memory.
* The state is two integers: nothing has to be prepared for a size, which may be symbolic.
* Samples have gradients by the parameters that move and scale them (`low`, `high`, `avg`, `std`);
  by probabilities there is none, and `grad` says so.
* `multinomial` and `choice` take distributions of any number of axes, with and without replacement.

Uniform and normal numbers have the same bits on every target, in every kernel and for any number of
threads; `symgraph.ops.philox` says how they are made. `shared_randomstreams.RandomStreams` gives
NumPy's numbers, `rng_mrg.MRG_RandomStreams` those of Theano's, for ported code.
Source: J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.configuration import config
from symgraph.errors import explain
from symgraph.ops.core import describe
from symgraph.ops.elementwise import add, cast, erfinv, lt, sub, true_div
from symgraph.ops.random import (
    TRUNCATED_DEVIATION,
    affine,
    fitting,
    range_of,
    sample_sizes,
    success_probability,
    whole,
)
from symgraph.ops.random_philox import PhiloxDraw, following, key_of
from symgraph.ops.random_samples import (
    classes,
    distinct_classes,
    distribution,
    equal_classes,
    first,
    multinomial_counts,
    shuffled_rows,
    trials,
)
from symgraph.ops.sort import argsort
from symgraph.ops.structure import as_size, shape_i, sizes_of
from symgraph.sharedvalue import shared
from symgraph.types import DISCRETE, FLOATS, check_dtype, upcast
from symgraph.variable import as_tensor_variable


class RandomStreams:
    """A source of independent streams of random numbers; every draw gets a stream of its own.

    `seed`: an integer of at most 64 bits; None takes one from the operating system. Two objects
    with the same seed give the same numbers for the same calls in the same order. Raises
    ValueError for larger seeds, TypeError for what is no integer.

    Samples carry `rng`, their state, and `update`, the pair that advances it; functions apply it
    by themselves. `nstreams` is accepted in every method for MRG's sake and means nothing.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.state_updates: list[tuple[Any, Any]] = []
        self.default_instance_seed = _checked(seed)

    def seed(self, seed: int | None = None) -> None:
        """Begin every stream anew, from `seed`, by default the one that this object began with."""
        if seed is not None:
            seed = _checked(seed)
        start = self.default_instance_seed if seed is None else seed
        for stream, (state, _) in enumerate(self.state_updates):
            state.set_value(np.array([key_of(start, stream), 0]))

    def updates(self) -> list[tuple[Any, Any]]:
        """Pairs (state, its next value) of all streams."""
        return list(self.state_updates)

    def _draw(
        self, distribution: str, sizes: Sequence[Any], pattern: Sequence[bool], dtype: str
    ) -> Any:
        """A sample of a new stream: uniform in [0, 1), or standard normal."""
        if dtype not in FLOATS:
            raise TypeError(explain("RandomStreams", f"{distribution} numbers are floats",
                                    got=f"dtype {dtype}", expected=", ".join(sorted(FLOATS)),
                                    cure="random_integers, or cast the sample"))  # fmt: skip
        state = shared(np.array([key_of(self.default_instance_seed, len(self.state_updates)), 0]))
        state.tag.is_rng = True
        new = state.default_update = following(state)
        self.state_updates.append((state, new))
        sample = PhiloxDraw(dtype, tuple(pattern), distribution)(state, *sizes)
        sample.rng, sample.update = state, (state, new)
        return sample

    def _uniform(self, sizes: Sequence[Any], pattern: Sequence[bool] = ()) -> Any:
        """Uniform numbers that are compared with probabilities."""
        dtype = "float64" if config.floatX == "float64" else "float32"
        return self._draw("uniform", sizes, pattern or [False] * len(sizes), dtype)

    def _located(
        self, distribution: str, size: Any, shift: Any, scale: Any, ndim: int | None,
        dtype: str | None, truncate: bool = False,
    ) -> Any:  # fmt: skip
        shift, scale = as_tensor_variable(shift), as_tensor_variable(scale)
        if dtype is None:
            dtype = upcast(config.floatX, shift.dtype, scale.dtype)
        sizes, pattern = sample_sizes(size, ndim, distribution, [shift, scale])
        drawn = self._draw(distribution, sizes, pattern, check_dtype(dtype))
        standard = _truncated_normal(drawn) if truncate else drawn
        return _from(drawn, affine(standard, scale, shift, drawn.dtype))

    # -- distributions ----------------------------------------------------------------------------

    @whole
    def uniform(
        self, size: Any = None, low: Any = 0.0, high: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None, nstreams: Any = None,
    ) -> Any:  # fmt: skip
        """Numbers uniform in [low, high), in steps of 2**-24 (float32) or 2**-53 of the range.

        `size`: ints and scalars, or an integer vector (`ndim` long), by default what `low` and
        `high` broadcast to. `dtype`: by default the upcast of floatX and theirs. Differentiable by
        `low` and `high`. Raises TypeError (a dtype that is no float, what is no size), ValueError
        (a negative size, fewer axes than the parameters have), NotImplementedError (parameters that
        do not fit a size of 1).
        """
        low = as_tensor_variable(low)
        return self._located("uniform", size, low, range_of(low, high), ndim, dtype)

    @whole
    def normal(
        self, size: Any = None, avg: Any = 0.0, std: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None, nstreams: Any = None, truncate: bool = False,
    ) -> Any:  # fmt: skip
        """Numbers of the normal distribution of mean `avg` and deviation `std`, differentiable by
        both; the rest as for `uniform`. With `truncate`, of that distribution cut at two deviations
        on each side, whose own deviation is 0.8796 times as large."""
        kind = "uniform" if truncate else "normal"
        return self._located(kind, size, avg, std, ndim, dtype, truncate)

    @whole
    def truncated_normal(
        self, size: Any = None, avg: Any = 0.0, std: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None, nstreams: Any = None,
    ) -> Any:  # fmt: skip
        """Numbers of a normal distribution that is cut at two of its deviations, of mean `avg` and
        deviation `std` after the cut; the rest as for `uniform`."""
        std = true_div(std, TRUNCATED_DEVIATION)
        return self.normal(size, avg, std, ndim, dtype, truncate=True)

    @whole
    def binomial(
        self, size: Any = None, n: int = 1, p: Any = 0.5, ndim: int | None = None,
        dtype: str = "int64", nstreams: Any = None,
    ) -> Any:  # fmt: skip
        """How many of `n` trials (an int from 1) succeed with probability `p` each, as `dtype`.

        `size` by default that of `p`. Each trial compares a uniform number in floatX with `p`, so
        `n` is best small. No gradient by `p`. Raises ValueError for another `n`, and for a constant
        `p` outside [0, 1]; a symbolic one counts as the nearer bound, NaN as 0.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(explain("binomial", "the number of trials", got=f"n={n}",
                                     expected="an int from 1"))  # fmt: skip
        p = success_probability(p, "binomial")
        sizes, pattern = sample_sizes(size, ndim, "binomial", [p])
        dtype = check_dtype(dtype)
        if n == 1:
            drawn = self._uniform(sizes, pattern)
            return _from(drawn, cast(fitting(lt(drawn, p), drawn), dtype))
        drawn = self._uniform([as_size(int(n), "binomial"), *sizes], [False, *pattern])
        return _from(drawn, trials(drawn, p, dtype))

    @whole
    def multinomial(
        self, size: Any = None, n: Any = 1, pvals: Any = None, ndim: int | None = None,
        dtype: str = "int64", nstreams: Any = None,
    ) -> Any:  # fmt: skip
        """How often each class is drawn in `n` draws (an int or an int scalar), as `dtype`.

        `pvals`: (..., classes) probabilities. The result has their shape, or (*size, classes), to
        which they are broadcast. No gradient by `pvals`. As in NumPy the last class gets what the
        others leave; ValueError at the call for negative probabilities, NaN, and others that add
        up to more than 1.
        """
        pvals = distribution(pvals, "multinomial", total=False)
        sizes, _ = sample_sizes(size, ndim, "multinomial", [pvals[..., 0]])
        drawn = self._uniform([as_size(n, "multinomial"), *sizes])
        return _from(drawn, multinomial_counts(pvals, drawn, check_dtype(dtype), rest=True))

    @whole
    def choice(
        self, size: Any = 1, a: Any = None, replace: bool = True, p: Any = None,
        ndim: int | None = None, dtype: str = "int64", nstreams: Any = None,
    ) -> Any:  # fmt: skip
        """Classes drawn from 0 to below `a`, or elements drawn from a vector `a`.

        Without `p` all are equally likely. With `p`, (..., classes) probabilities, `size` of them
        are drawn from each distribution, into (..., *size), and `a` may be left out. Without
        `replace` all are different, and `size` is one number: IndexError at the call where there
        are fewer classes. The result has `dtype`, or that of a vector `a`. No gradient by `p`.
        ValueError at the call for probabilities that are negative or NaN or do not add up to 1,
        within sqrt(eps) of their dtype, and where fewer are above 0 than different ones are drawn.
        """
        items: Any = None if a is None else as_tensor_variable(a)
        if items is not None and items.ndim > 1:
            raise ValueError(explain("choice", "a is a number or a vector", got=describe([items]),
                                     cure="draw the indices, and take rows by them"))  # fmt: skip
        if p is None and items is None:
            raise TypeError(explain("choice", "neither a nor p says what to choose from",
                                    cure="a=10 for the numbers below 10"))  # fmt: skip
        sizes, _ = sample_sizes(size, ndim, "choice")
        wanted = None if replace or len(sizes) != 1 else sizes[0]
        pvals = None if p is None else distribution(p, "choice", total=True, count=wanted)
        batch = [] if pvals is None else list(sizes_of(pvals))[:-1]
        if replace:
            drawn = self._uniform([*batch, *sizes])
        elif len(sizes) == 1:
            drawn = self._uniform([*batch, _count(items, pvals)])
        else:
            raise ValueError(explain("choice", "without replacement, size is one number",
                                     got=f"size={size}", expected="an int or an int scalar",
                                     cure="choice(n, ...).reshape(size)"))  # fmt: skip
        if pvals is not None and replace:
            index = classes(pvals, drawn)
        elif pvals is not None:
            index = distinct_classes(pvals, drawn, sizes[0])
        elif replace:
            index = equal_classes(drawn, _count(items, pvals))
        else:
            index = first(argsort(drawn), sizes[0])
        chosen = index if items is None or items.ndim == 0 else items[index]
        return _from(drawn, chosen if chosen is not index else cast(index, dtype))

    @whole
    def random_integers(
        self, size: Any = None, low: Any = 0, high: Any = 1, ndim: int | None = None,
        dtype: str = "int64", nstreams: Any = None,
    ) -> Any:  # fmt: skip
        """Integers from `low` to `high`, both inclusive, equally likely up to ranges of 2**52, as
        `dtype`; `size` as for `uniform`. TypeError for bounds that are no integers."""
        low, high = as_tensor_variable(low), as_tensor_variable(high)
        if low.dtype not in DISCRETE or high.dtype not in DISCRETE:
            raise TypeError(explain("random_integers", "takes integers", got=describe([low, high]),
                                    cure="uniform draws floats"))  # fmt: skip
        sizes, pattern = sample_sizes(size, ndim, "random_integers", [low, high])
        drawn = self._draw("uniform", sizes, pattern, "float64")
        low = cast(low, "int64")
        found = add(low, equal_classes(drawn, add(sub(high, low), 1)))
        return _from(drawn, cast(fitting(found, drawn), dtype))

    @whole
    def permutation(
        self, size: Any = (), n: Any = 1, ndim: int | None = None, dtype: str = "int64"
    ) -> Any:
        """Permutations of the numbers from 0 to below `n`: (*size, n), as `dtype`."""
        sizes, _ = sample_sizes(() if size is None else size, ndim, "permutation")
        drawn = self._draw("uniform", [*sizes, as_size(n, "permutation")],
                           [False] * (len(sizes) + 1), "float64")  # fmt: skip
        return _from(drawn, cast(argsort(drawn), dtype))

    @whole
    def shuffle_row_elements(self, input: Any) -> Any:
        """`input` with the elements along its last axis shuffled, each row by itself.

        The result's `permutation` says how. Differentiable.
        """
        shuffled = shuffled_rows(input, self.permutation)
        return _from(shuffled.permutation, shuffled)


def _checked(seed: Any) -> int:
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(explain("RandomStreams", "the seed is no integer", got=repr(seed),
                                expected="an int of at most 64 bits, or None"))  # fmt: skip
    key_of(int(seed), 0)  # ValueError for one of more than 64 bits
    return int(seed)


def _from(drawn: Any, sample: Any) -> Any:
    """`sample`, which says from which stream it was drawn, as Theano's samples do."""
    sample.rng, sample.update = drawn.rng, drawn.update
    return sample


def _count(items: Any, pvals: Any) -> Any:
    """How many classes there are to choose from."""
    if pvals is not None:
        return shape_i(pvals, pvals.ndim - 1)
    return as_size(items, "choice") if items.ndim == 0 else shape_i(items, 0)


def _truncated_normal(u: Any) -> Any:
    """Uniform numbers as normal ones within two deviations, by the inverse of the distribution."""
    root = math.sqrt(2)
    area = math.erf(root)
    return np.asarray(root, u.dtype) * erfinv(affine(u, 2 * area, -area, u.dtype))
