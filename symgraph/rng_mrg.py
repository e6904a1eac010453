"""`MRG_RandomStreams`: the random numbers of Theano's `sandbox.rng_mrg`, bit for bit.

The generator is MRG31k3p: each draw has streams of its own, 2**72 steps apart, and each new draw
begins 2**134 steps behind the one before. Uniform numbers (and so binomial and multinomial ones)
have the bits of Theano's C code; normal ones follow the same formulas with this machine's logarithm
and cosine. New code has `symgraph.tensor.random`, which needs no state for each element.
Source: Theano, sandbox/rng_mrg.py; the papers are named in `symgraph.ops.random_mrg`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.configuration import config
from symgraph.errors import explain
from symgraph.graph import Variable
from symgraph.ops.advanced import nonzero
from symgraph.ops.alloc import cast_known
from symgraph.ops.elementwise import cast, cos, invert, log, lt, mul, or_, sin, sqrt, true_div
from symgraph.ops.join import join
from symgraph.ops.random import (
    TRUNCATED_DEVIATION,
    affine,
    fitting,
    parameter,
    range_of,
    sample_sizes,
    whole,
)
from symgraph.ops.random_mrg import M1, M2, MRGUniform, jump, jumped, streams_from
from symgraph.ops.random_samples import ChoiceFromUniform, classes, multinomial_counts, trials
from symgraph.ops.shape import reshape
from symgraph.ops.structure import as_size, shape_i
from symgraph.sharedvalue import shared
from symgraph.types import check_dtype, upcast
from symgraph.variable import as_tensor_variable

MOST_STREAMS = 60 * 256


def guess_n_streams(size: Any, warn: bool = False) -> int:
    """How many streams a draw of `size` has: a sixth of its elements, at most 15,360.

    So many too where the size is symbolic; with `warn`, a UserWarning says so. Up to six elements
    have a stream each. Source: Theano, sandbox/rng_mrg.py, guess_n_streams.
    """
    if isinstance(size, (tuple, list)) and all(isinstance(n, int) for n in size):
        count = math.prod(size)
        return min(count // 6 if count > 6 else count, MOST_STREAMS)
    if warn:
        warnings.warn(
            f"MRG_RandomStreams: the number of streams cannot be found from the size {size}, which "
            f"is symbolic: {MOST_STREAMS} are made; give nstreams=...",
            stacklevel=3,
        )
    return MOST_STREAMS


class MRG_RandomStreams:
    """A source of random numbers of the generator MRG31k3p.

    `seed`: an integer from 1 to below 2147462579, or six numbers: three below 2147483647 and three
    below 2147462579, neither three all 0. ValueError for other numbers, TypeError for another
    count. Samples carry `rstate`, their state, and `update`, the pair that advances it; functions
    apply it by themselves.
    """

    def __init__(self, seed: int | Sequence[int] = 12345) -> None:
        self.state_updates: list[tuple[Any, Any, Any, int | None]] = []
        self.default_instance_seed = seed
        self.set_rstate(seed)

    def set_rstate(self, seed: int | Sequence[int]) -> None:
        """Let the next draw begin at `seed`; ValueError or TypeError as for the class."""
        self.rstate = _state_of(seed)

    def seed(self, seed: int | Sequence[int] | None = None) -> None:
        """Begin the streams of every draw anew, from `seed`, by default the one given first."""
        self.set_rstate(self.default_instance_seed if seed is None else seed)
        for state, new, size, nstreams in self.state_updates:
            count = self.n_streams(size) if nstreams is None else nstreams
            dtype = new.owner.outputs[1].dtype
            state.set_value(self.get_substream_rstates(count, dtype), borrow=True)

    def inc_rstate(self) -> None:
        """Move on by 2**134 steps."""
        self.rstate = jumped(self.rstate, jump(134))

    def get_substream_rstates(
        self, n_streams: int, dtype: str, inc_rstate: bool = True
    ) -> np.ndarray:
        """The states of `n_streams` streams from here on, 2**72 steps apart: int32 (n_streams, 6).

        `dtype` is that of the numbers to be drawn and means nothing here. With `inc_rstate`, the
        next streams begin 2**134 steps on. ValueError for a number of streams below 1, TypeError
        for one that is no int.
        """
        is_int = isinstance(n_streams, (int, np.integer)) and not isinstance(n_streams, bool)
        if not is_int or n_streams < 1:
            kind = ValueError if is_int else TypeError
            raise kind(explain("MRG_RandomStreams", "a draw has one stream at least",
                               got=f"nstreams={n_streams!r}", expected="an int from 1",
                               cure="leave nstreams out"))  # fmt: skip
        states = streams_from(self.rstate, n_streams)
        if inc_rstate:
            self.inc_rstate()
        return states

    def n_streams(self, size: Any) -> int:
        """How many streams a draw of `size` has."""
        return guess_n_streams(size)

    def updates(self) -> list[tuple[Any, Any, Any, int | None]]:
        """(state, its next value, size, nstreams) of all draws."""
        return list(self.state_updates)

    def _unit(
        self, size: Any, ndim: int | None, dtype: str, nstreams: int | None, target: Any = None
    ) -> Any:
        """Uniform numbers from (0, 1) of new streams."""
        if isinstance(size, tuple):
            for n in size:
                if isinstance(n, bool) or not isinstance(n, (int, np.integer, Variable)):
                    raise AssertionError(explain("uniform", "size must be a tuple of int or a "
                                                 "Theano variable", got=repr(size),
                                                 expected="ints and int scalars"))  # fmt: skip
            _positive(size)
        elif not (isinstance(size, Variable) and size.type.ndim == 1):
            raise TypeError(explain("uniform", "size must be a tuple of int or a Theano Variable "
                                    "with 1 dimension", got=f"{size!r}, {type(size)}",
                                    cure="tuple(size), or (size,) for a number"))  # fmt: skip
        sizes, pattern = sample_sizes(size, None if isinstance(size, tuple) else ndim, "uniform")
        count = self.n_streams(size) if nstreams is None else nstreams
        state = shared(self.get_substream_rstates(count, dtype), target=target or "cpu")
        state.tag.is_rng = True
        new, sample = MRGUniform(dtype, pattern)(state, *sizes)
        state.default_update = new
        self.state_updates.append((state, new, size, nstreams))
        sample.rstate, sample.update = state, (state, new)
        return sample

    # -- distributions ----------------------------------------------------------------------------

    @whole
    def uniform(
        self, size: Any, low: Any = 0.0, high: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None, nstreams: int | None = None, target: Any = None,
    ) -> Any:  # fmt: skip
        """Numbers uniform between `low` and `high`, both excluded but for rounding.

        `size`: a tuple of ints from 1 and of int scalars, or an int vector variable whose length is
        known or `ndim`. `dtype`: by default the upcast of floatX and the bounds'. `nstreams`: see
        `guess_n_streams`. No gradient by the bounds. Raises ValueError (sizes below 1), TypeError
        (another size, a dtype that is no float), AssertionError (a tuple of something else),
        NotImplementedError (bounds that do not fit the size).
        """
        low, high = as_tensor_variable(low), as_tensor_variable(high)
        dtype = (
            upcast(config.floatX, low.dtype, high.dtype) if dtype is None else check_dtype(dtype)
        )
        scale = range_of(cast_known(low, dtype), cast_known(high, dtype))
        drawn = self._unit(size, ndim, dtype, nstreams, target)
        return _from(drawn, affine(drawn, parameter(scale), parameter(low), dtype))

    @whole
    def binomial(
        self, size: Any = None, n: Any = 1, p: Any = 0.5, ndim: int | None = None,
        dtype: str = "int64", nstreams: int | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """How many of `n` trials succeed with probability `p` each, as `dtype`; the rest as for
        `uniform`. Theano has n = 1 only; NotImplementedError for an `n` that is no int from 1. As
        in Theano, a `p` outside [0, 1] counts as the nearer bound, NaN as 0."""
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise NotImplementedError(explain("MRG_RandomStreams.binomial", "n is an int from 1",
                                              got=f"n={n}",
                                              cure="tensor.shared_randomstreams has symbolic n"
                                              ))  # fmt: skip
        p = parameter(p)
        if n == 1:
            x = self.uniform(size, ndim=ndim, nstreams=nstreams, **kwargs)
            return _from(x, cast(fitting(lt(x, p), x), dtype))
        sizes, _ = sample_sizes(size, ndim, "binomial")
        given = size if isinstance(size, tuple) else tuple(sizes)
        x = self.uniform((int(n), *given), nstreams=nstreams, **kwargs)
        return _from(x, trials(x, p, check_dtype(dtype)))

    @whole
    def multinomial(
        self, size: Any = None, n: Any = 1, pvals: Any = None, ndim: int | None = None,
        dtype: str = "int64", nstreams: int | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """How often each class is drawn in `n` draws for each row of `pvals` (rows, classes).

        The shape of `pvals`, as `dtype`. The probabilities are not checked: where those of a row
        add up to less than 1, it may have fewer draws. `size` and `ndim` must be None (ValueError).
        """
        pvals = _rows("multinomial", pvals, size, ndim)
        unis = self.uniform((as_size(n, "multinomial") * shape_i(pvals, 0),), nstreams=nstreams,
                            **kwargs)  # fmt: skip
        by_draw = reshape(unis, (as_size(n, "multinomial"), shape_i(pvals, 0)))
        return _from(unis, multinomial_counts(pvals, by_draw, check_dtype(dtype)))

    @whole
    def choice(
        self, size: Any = 1, a: Any = None, replace: bool = True, p: Any = None,
        ndim: int | None = None, dtype: str = "int64", nstreams: int | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """`size` (an int or int scalar) classes for each row of `p` (rows, classes): (rows, size).

        Without `replace` all of a row are different; ValueError at the call if there are fewer
        classes. `a` must be None (TypeError), `ndim` too (ValueError). Theano has no `replace`.
        """
        if a is not None:
            raise TypeError(explain("MRG_RandomStreams.choice", "a has to be None: classes from 0 "
                                    "to p.shape[1] - 1 are drawn", got=f"a={a}",
                                    cure="a[choice(...)] for elements of a vector"))  # fmt: skip
        p = _rows("choice", p, None, ndim)
        count, rows = as_size(size, "choice"), shape_i(p, 0)
        unis = self.uniform((count * rows,), nstreams=nstreams, **kwargs)
        if replace:
            index = cast(classes(p, reshape(unis, (count, rows)).T), dtype)
        else:
            index = ChoiceFromUniform(check_dtype(dtype))(p, unis, count)
        return _from(unis, index)

    def multinomial_wo_replacement(
        self, size: Any = None, n: Any = 1, pvals: Any = None, ndim: int | None = None,
        dtype: str = "int64", nstreams: int | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """`choice(size=n, replace=False, p=pvals)`, under the name that it had before."""
        warnings.warn(
            "MRG_RandomStreams.multinomial_wo_replacement is deprecated: use choice instead",
            DeprecationWarning, stacklevel=2,
        )  # fmt: skip
        if size is not None:
            raise AssertionError(explain("multinomial_wo_replacement", "size must be None",
                                         got=f"size={size}", cure="n says how many"))  # fmt: skip
        return self.choice(n, None, False, pvals, ndim, dtype, nstreams, **kwargs)

    @whole
    def normal(
        self, size: Any, avg: Any = 0.0, std: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None, nstreams: int | None = None, truncate: bool = False,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Numbers of the normal distribution of mean `avg` and deviation `std`.

        By Box and Muller: cosines and sines of half of the uniform numbers, lengths from the other
        half. With `truncate`, those beyond two deviations are drawn once more within. `size`: an
        int, a tuple or list, an int scalar or vector; ValueError for another, or sizes below 1.
        """
        avg, std = as_tensor_variable(avg), as_tensor_variable(std)
        dtype = upcast(config.floatX, avg.dtype, std.dtype) if dtype is None else check_dtype(dtype)
        sizes, _ = sample_sizes(_checked_size(size), ndim, "normal")
        count = _product(sizes)
        half = (count + 1) // 2
        uniform = self.uniform((half * 2,), dtype=dtype, nstreams=nstreams, **kwargs)
        length = sqrt(log(uniform[:half]) * np.asarray(-2, dtype))
        angle = uniform[half:] * np.asarray(2 * np.pi, dtype)
        parts = [length * cos(angle), length * sin(angle)]
        if truncate:
            parts = self._truncated(parts, angle, dtype, nstreams, **kwargs)
        standard = reshape(join(0, *parts)[:count], sizes)
        return _from(uniform, affine(standard, parameter(std), parameter(avg), dtype))

    def _truncated(
        self, parts: Sequence[Any], angle: Any, dtype: str, nstreams: int | None, **kwargs: Any
    ) -> list[Any]:
        """The numbers within two deviations, followed by those drawn anew, of both halves."""
        beyond = [or_(z < -2.0, z > 2.0) for z in parts]
        within = [z[nonzero(invert(far))] for z, far in zip(parts, beyond, strict=True)]
        where = [nonzero(far)[0] for far in beyond]
        first, second = (shape_i(at, 0) for at in where)
        # lengths of at most 2, by the same angles
        again = self.uniform((first + second,), low=np.asarray(1 / np.e**2, dtype), high=1.0,
                             dtype=dtype, nstreams=nstreams, **kwargs)  # fmt: skip
        length = sqrt(log(again) * np.asarray(-2, dtype))
        mended = [length[:first] * cos(angle)[where[0]], length[first:] * sin(angle)[where[1]]]
        return [within[0], mended[0], within[1], mended[1]]

    @whole
    def truncated_normal(
        self, size: Any, avg: Any = 0.0, std: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None, nstreams: int | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Numbers of a normal distribution that is cut at two of its deviations, of mean `avg` and
        deviation `std` after the cut; the rest as for `normal`."""
        std = true_div(std, TRUNCATED_DEVIATION)
        return self.normal(size, avg, std, ndim, dtype, nstreams, truncate=True, **kwargs)


def _state_of(seed: Any) -> np.ndarray:
    """The six numbers that a seed stands for, checked."""
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if seed == 0:
            raise _seed_error("seed should not be 0", seed, f"an int from 1 to {M2 - 1}")
        if not 0 < seed < M2:
            raise _seed_error(f"seed should be less than {M2}", seed, f"an int from 1 to {M2 - 1}")
        return np.full(6, seed, "int32")
    if isinstance(seed, str) or not hasattr(seed, "__len__") or len(seed) != 6:
        raise TypeError(explain("MRG_RandomStreams", "seed should be 1 integer or 6 integers",
                                got=repr(seed), cure="MRG_RandomStreams(12345)"))  # fmt: skip
    for half, place, modulus in ((seed[:3], "first", M1), (seed[3:], "last", M2)):
        expected = f"ints from 0 to {modulus - 1}, not all 0"
        if not any(half):
            problem = f"The {place} 3 values of seed should not be all 0"
            raise _seed_error(problem, seed, expected)
        if not all(0 <= n < modulus for n in half):
            problem = f"The {place} 3 values of seed should be less than {modulus}"
            raise _seed_error(problem, seed, expected)
    return np.asarray(seed, dtype="int32")


def _seed_error(problem: str, seed: Any, expected: str) -> ValueError:
    return ValueError(
        explain("MRG_RandomStreams", problem, got=repr(seed), expected=expected,
                cure="give another seed, e.g. 12345, the default")
    )  # fmt: skip


def _positive(size: Sequence[Any]) -> None:
    if any(isinstance(n, (int, np.integer)) and n <= 0 for n in size):
        raise ValueError(
            explain("MRG_RandomStreams", "The specified size contains a dimension with value <= 0",
                    got=f"size={tuple(size)}", expected="sizes from 1",
                    cure="a size that may be 0 can be symbolic")
        )  # fmt: skip


def _checked_size(size: Any) -> Any:
    """A size in one of the forms that `normal` takes; ValueError for another."""
    items = size if isinstance(size, (tuple, list)) else [size]
    for n in items:
        whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
        most = 1 if items is not size else 0
        if not whole and not (isinstance(n, Variable) and n.type.ndim <= most):
            raise ValueError(explain("normal", "size is an int, a list or tuple of ints and int "
                                     "scalars, or an int vector", got=repr(size),
                                     cure="tensor.stack(sizes) for a vector"))  # fmt: skip
    _positive([n for n in items if not isinstance(n, Variable)])
    return size


def _product(sizes: Sequence[Any]) -> Any:
    """How many elements there are, as an int64 scalar, which makes the number of streams 15,360."""
    count = as_size(1, "normal")
    for n in sizes:
        count = mul(count, n)
    return count


def _rows(who: str, p: Any, size: Any, ndim: int | None) -> Any:
    """Probabilities as a matrix, by which there is no gradient."""
    who = f"MRG_RandomStreams.{who}"
    if p is None:
        raise TypeError(explain(who, "You have to specify the probabilities", got="None",
                                expected="a matrix, one row for each draw"))  # fmt: skip
    for name, value in (("size", size), ("ndim", ndim)):
        if value is not None:
            raise ValueError(explain(who, f"{name} is not used: the probabilities say it all",
                                     got=f"{name}={value}", cure=f"leave {name} out"))  # fmt: skip
    p = parameter(p)
    if p.ndim != 2:
        raise NotImplementedError(explain(who, "the probabilities are a matrix", got=str(p.type),
                                          cure="p.dimshuffle('x', 0) for a vector"))  # fmt: skip
    return p


def _from(drawn: Any, sample: Any) -> Any:
    """`sample`, which says from which state it was drawn."""
    sample.rstate, sample.update = drawn.rstate, drawn.update
    return sample
