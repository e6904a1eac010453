"""Draws of the counter-based generator Philox4x32-10: elementwise, so they fuse with their readers.

A state is an int64 vector: a key, and the number of draws made so far. Element i (row by row) of a
draw comes from block i of the counter whose high half is that number: see `symgraph.ops.philox`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import explain
from symgraph.expr import Expr
from symgraph.graph import Apply, Context
from symgraph.graph import Shape as Sizes
from symgraph.ops import philox
from symgraph.ops.core import describe
from symgraph.ops.elementwise import add
from symgraph.ops.random import Draw
from symgraph.ops.sizes import contiguous_strides
from symgraph.types import FLOATS, TensorType
from symgraph.variable import constant

STATE = TensorType("int64", (False,))
COST = {"uniform": 20, "normal": 60}  # in additions


@dataclass(frozen=True)
class PhiloxDraw(Draw):
    """Numbers of `distribution` ("uniform" in [0, 1), "normal") in a floating `dtype`."""

    distribution: str

    @property
    def recompute(self) -> bool:  # type: ignore[override]
        return self.distribution == "uniform"

    def output_types(self, state: Any, *sizes: Any) -> list[TensorType]:
        if state.type != STATE or len(sizes) != len(self.broadcastable):
            raise TypeError(explain(self, "takes a state and sizes", got=describe([state, *sizes])))
        if self.dtype not in FLOATS:
            raise TypeError(explain(self, "draws floats", got=self.dtype))
        return [TensorType(self.dtype, self.broadcastable)]

    def state_size(self) -> int:
        return 2

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Sizes | None]:
        return [self.shape(node, ctx)]

    def compute(self, node: Apply, indices: Sequence[Expr], ctx: Context) -> Expr:
        flat: Expr = E.ZERO
        for at, stride in zip(indices, contiguous_strides(self.shape(node, ctx)), strict=True):
            flat = E.add(flat, E.mul(at, stride))
        key, calls = (E.load(node.inputs[0], [E.const(k)]) for k in (0, 1))
        name = f"philox_{self.distribution}{self.dtype[5:]}"
        wide = "float32" if self.dtype == "float16" else self.dtype
        code = name + "({}, {}, {})"
        if self.dtype == "float16":  # whoever reads it, in this kernel or from memory
            code = f"float16({code})"
        scalar = E.Scalar(name, code, COST[self.distribution])
        return E.call(scalar, (key, calls, flat), wide)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        state, *sizes = inputs
        shape = tuple(int(n) for n in sizes)
        index = np.arange(np.prod(shape, dtype="int64")).reshape(shape)
        drawn = philox.draw(self.distribution, self.dtype, state[0], state[1], index)
        return [drawn.reshape(shape).astype(self.dtype)]

    def __str__(self) -> str:
        return f"Philox{{{self.distribution}, {self.dtype}}}"


def following(state: Any) -> Any:
    """The state after a draw: one more has been made."""
    return add(state, constant([0, 1], dtype="int64"))


def key_of(seed: int, stream: int) -> int:
    """The key of stream number `stream` of those that begin with `seed`, as a signed int64.

    Two words of the block that stands at `stream` under the key `seed`: streams have keys of their
    own that do not follow one another.
    """
    if not -(2**63) <= seed < 2**64:
        raise ValueError(explain("RandomStreams", "the seed has more than 64 bits", got=str(seed),
                                 expected="-2**63 to 2**64 - 1", cure="seed % 2**64"))  # fmt: skip
    signed = np.array([seed % 2**64], "uint64").view("int64")
    with np.errstate(over="ignore"):
        low, high, *_ = philox.words(signed, np.array([-1]), np.array([stream]))
    return int((low | high << 32)[0])
