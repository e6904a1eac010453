"""MRG31k3p in many streams: the draw, and the starting points of streams.

A state is an int32 matrix, one row of six numbers for each stream: three of each of the two
recurrences, modulo M1 = 2**31 - 1 and M2 = 2**31 - 21069.
Source: P. L'Ecuyer and R. Touzin, Fast combined multiple recursive generators with multipliers of
the form a = +-2^d +- 2^e, Winter Simulation Conference 2000; the spacing of streams: P. L'Ecuyer,
R. Simard, E. J. Chen and W. D. Kelton, An object-oriented random-number package with many long
streams and substreams, Operations Research 50 (2002); Theano, sandbox/rng_mrg.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check
from symgraph.graph import Apply, Context, LibraryCall
from symgraph.graph import Shape as Sizes
from symgraph.ops.core import describe
from symgraph.ops.random import Draw
from symgraph.ops.sizes import checks_of
from symgraph.types import FLOATS, TensorType

M1, M2 = 2147483647, 2147462579
STATE = TensorType("int32", (False, False))
NORMS = {"float32": np.float32(4.6566126e-10), "float64": 4.656612873077392578125e-10}
Matrix = np.ndarray  # (3, 3), int64

STEP: tuple[Matrix, Matrix] = (
    np.array([[0, 4194304, 129], [1, 0, 0], [0, 1, 0]]),
    np.array([[32768, 0, 32769], [1, 0, 0], [0, 1, 0]]),
)
"""What one step makes of each recurrence's three numbers, newest first."""


def _times(a: Matrix, b: Matrix, modulus: int) -> Matrix:
    """a @ b modulo `modulus`; no product of two numbers below 2**31 is lost."""
    return np.asarray((a[:, :, None] * b[None, :, :] % modulus).sum(axis=1) % modulus)


@cache
def jump(power: int) -> tuple[Matrix, Matrix]:
    """`STEP` to the 2**power: what as many steps make of a state."""
    first, second = STEP
    for _ in range(power):
        first, second = _times(first, first, M1), _times(second, second, M2)
    return first, second


def jumped(states: np.ndarray, matrices: tuple[Matrix, Matrix]) -> np.ndarray:
    """Each row (..., 6) of int32 states carried on by `matrices`."""
    wide = states.astype("int64")
    halves = [
        _times(wide[..., part].reshape(-1, 3), matrix.T, modulus)
        for part, matrix, modulus in zip(
            (slice(0, 3), slice(3, 6)), matrices, (M1, M2), strict=True
        )
    ]
    return np.concatenate(halves, axis=1).reshape(states.shape).astype("int32")


def streams_from(state: np.ndarray, count: int, spacing: int = 72) -> np.ndarray:
    """`count` streams from `state` on, each 2**spacing steps behind the one before: (count, 6)."""
    rows, power = state.reshape(1, 6), spacing
    while len(rows) < count:  # as many more, as far behind as these are long
        rows = np.concatenate([rows, jumped(rows, jump(power))])
        power += 1
    return rows[:count].copy()


@dataclass(frozen=True)
class MRGUniform(Draw):
    """Uniform numbers from (0, 1): the states after the draw, and the sample.

    Element i, row by row, is the next number of stream i modulo the number of streams.
    """

    def output_types(self, state: Any, *sizes: Any) -> list[TensorType]:
        if state.type != STATE or len(sizes) != len(self.broadcastable):
            raise TypeError(explain(self, "takes states and sizes", got=describe([state, *sizes]),
                                    expected=f"{STATE} and one scalar for each axis"))  # fmt: skip
        if self.dtype not in FLOATS:
            raise TypeError(explain(self, "draws floats", got=self.dtype))
        return [STATE, TensorType(self.dtype, self.broadcastable)]

    def state_size(self) -> int:
        return 6

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [ctx.shape(node.inputs[0]), self.shape(node, ctx)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        streams, count = ctx.shape(node.inputs[0])[0], E.product(self.shape(node, ctx))

        def fail(*values: int) -> Exception:
            return ShapeError(
                explain(self, "rng_mrg does not support more than 2**31 - 1 samples, of one stream "
                        "at least", where=node.trace, got="{} streams, {} samples".format(*values))
            )  # fmt: skip

        conditions = [E.compare("lt", E.ZERO, streams), E.compare("le", count, M1)]
        return [*super().shape_checks(node, ctx), *checks_of(conditions, (streams, count), fail)]

    def lowering(self, node: Apply, ctx: Context) -> LibraryCall:
        count = E.product(self.shape(node, ctx))
        return LibraryCall("mrg_uniform", self.dtype, {}, (node.inputs[0],), {"out1": (count,)})

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        state, *sizes = inputs
        if state.shape[1:] != (6,) or not len(state):
            raise ShapeError(explain(self, "these are no states", got=f"shape {state.shape}",
                                     expected="(streams, 6), one stream at least"))  # fmt: skip
        shape = tuple(int(n) for n in sizes)
        count, streams = int(np.prod(shape, dtype="int64")), len(state)
        after, sample = state.copy(), np.zeros(count, self.dtype)
        for place in range(0, count, streams):
            now = after[: count - place]
            z = _advance(now)
            sample[place : place + len(now)] = _numbers(z, self.dtype)
        return [after, sample.reshape(shape)]


def _advance(states: np.ndarray) -> np.ndarray:
    """Step each row in place; the integers in [1, M1] that the steps give."""
    x1, x2, x3, y1, y2, y3 = states.astype("int64").T
    x = ((x2 & 511) << 22) + (x2 >> 9) + ((x3 & 16777215) << 7) + (x3 >> 24)
    x = _reduced(_reduced(x, M1) + x3, M1)
    y, z = (_reduced(((k & 65535) << 15) + 21069 * (k >> 16), M2) for k in (y3, y1))
    y = _reduced(_reduced(y + y3, M2) + z, M2)
    states[...] = np.stack([x, x1, x2, y, y1, y2], axis=1)
    return np.asarray(np.where(x <= y, x - y + M1, x - y))


def _reduced(x: np.ndarray, modulus: int) -> np.ndarray:
    """A number of up to twice the modulus, less it once: as the reference, which keeps 0 as 0 or as
    the modulus."""
    return np.where(x >= modulus, x - modulus, x)


def _numbers(z: np.ndarray, dtype: str) -> np.ndarray:
    """z as numbers in (0, 1). In float32 z may round to 2**31, hence the norm below 2**-31; float16
    takes 15 bits of z and the norm 3.0458e-5."""
    if dtype == "float16":
        return ((z & 32767) + 1) * 511 * 2.0**-24
    return np.asarray(z.astype(dtype) * NORMS[dtype])
