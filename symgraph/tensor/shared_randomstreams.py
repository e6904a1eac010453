"""`RandomStreams`: random numbers of NumPy's RandomState, bit for bit, as Theano has them.

Each draw has a RandomState of its own in a shared variable, seeded from the one that the object
keeps. The draws are as long as their state; new code has `symgraph.tensor.random`.
Source: Theano, tensor/shared_randomstreams.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.ops import random_mersenne
from symgraph.ops.random_samples import shuffled_rows
from symgraph.random_state import RandomStateSharedVariable, shared_state

__all__ = ["RandomStateSharedVariable", "RandomStreams"]


class RandomStreams:
    """A source of random numbers; every draw gets a RandomState of its own.

    `seed`: what NumPy's RandomState takes, None for entropy of the operating system. Samples carry
    `rng`, their shared state, and `update`, the pair that advances it, which functions apply by
    themselves. The methods hand `size`, parameters, `ndim` and `dtype` to the functions of
    `raw_random`, which say what they mean.
    """

    state_updates: list[tuple[Any, Any]]

    def __init__(self, seed: Any = None) -> None:
        self.state_updates = []
        self.default_instance_seed = seed
        self.gen_seedgen = np.random.RandomState(seed)

    def seed(self, seed: Any = None) -> None:
        """Give every stream a new seed, from `seed`, by default the one that was given first."""
        source = np.random.RandomState(self.default_instance_seed if seed is None else seed)
        for state, _ in self.state_updates:
            state.set_value(_next_state(source), borrow=True)

    def updates(self) -> list[tuple[Any, Any]]:
        """Pairs (state, its next value) of all streams."""
        return list(self.state_updates)

    def __getitem__(self, item: Any) -> np.random.RandomState:
        """A copy of the RandomState in one of the shared states."""
        return item.get_value(borrow=True)  # type: ignore[no-any-return]

    def __setitem__(self, item: Any, val: np.random.RandomState) -> None:
        item.set_value(val, borrow=True)

    def gen(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A sample of a new stream: the second result of `op(state, *args, **kwargs)`."""
        state = shared_state(_next_state(self.gen_seedgen))
        state.tag.is_rng = True
        new, sample = op(state, *args, **kwargs)
        state.default_update = new
        sample.rng, sample.update = state, (state, new)
        self.state_updates.append(sample.update)
        return sample

    def uniform(
        self, size: Any = None, low: Any = 0.0, high: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None,
    ) -> Any:  # fmt: skip
        """Numbers uniform in [low, high)."""
        return self.gen(random_mersenne.uniform, size, low, high, ndim=ndim, dtype=dtype)

    def normal(
        self, size: Any = None, avg: Any = 0.0, std: Any = 1.0, ndim: int | None = None,
        dtype: str | None = None,
    ) -> Any:  # fmt: skip
        """Numbers of the normal distribution."""
        return self.gen(random_mersenne.normal, size, avg, std, ndim=ndim, dtype=dtype)

    def binomial(
        self, size: Any = None, n: Any = 1, p: Any = 0.5, ndim: int | None = None,
        dtype: str = "int64", prob: Any = None,
    ) -> Any:  # fmt: skip
        """How many of `n` trials succeed with probability `p` each."""
        return self.gen(random_mersenne.binomial, size, n, p, ndim=ndim, dtype=dtype, prob=prob)

    def random_integers(
        self, size: Any = None, low: Any = 0, high: Any = 1, ndim: int | None = None,
        dtype: str = "int64",
    ) -> Any:  # fmt: skip
        """Integers from `low` to `high`, both inclusive."""
        return self.gen(random_mersenne.random_integers, size, low, high, ndim=ndim, dtype=dtype)

    def choice(
        self, size: Any = None, a: Any = 2, replace: Any = True, p: Any = None,
        ndim: int | None = None, dtype: str = "int64",
    ) -> Any:  # fmt: skip
        """Numbers below `a`, or elements of the vector `a`."""
        return self.gen(random_mersenne.choice, size, a, replace, p, ndim=ndim, dtype=dtype)

    def poisson(
        self, size: Any = None, lam: Any = 1.0, ndim: int | None = None, dtype: str = "int64"
    ) -> Any:
        """Numbers of the Poisson distribution."""
        return self.gen(random_mersenne.poisson, size, lam, ndim=ndim, dtype=dtype)

    def permutation(
        self, size: Any = None, n: Any = 1, ndim: int | None = None, dtype: str = "int64"
    ) -> Any:
        """Permutations of the numbers below `n`."""
        return self.gen(random_mersenne.permutation, size, n, ndim=ndim, dtype=dtype)

    def multinomial(
        self, size: Any = None, n: Any = 1, pvals: Any = (0.5, 0.5), ndim: int | None = None,
        dtype: str = "int64",
    ) -> Any:  # fmt: skip
        """How often each class is drawn in `n` draws."""
        return self.gen(random_mersenne.multinomial, size, n, pvals, ndim=ndim, dtype=dtype)

    def shuffle_row_elements(self, input: Any) -> Any:
        """`input` with the elements along its last axis shuffled, each row by itself.

        The result's `permutation` is the sample that says how. Differentiable.
        """
        return shuffled_rows(input, self.permutation)


def _next_state(source: np.random.RandomState) -> np.random.RandomState:
    """A RandomState with the next seed of `source`."""
    return np.random.RandomState(int(source.randint(2**30)))
