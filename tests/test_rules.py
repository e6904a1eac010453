"""Every rewrite rule: that it fires, what it makes, and that the value stays the same.

One record per rule or form of it, in the order of docs/rewrites.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile.rules import ALGEBRA, LEVELS, RULES, document, rewrite_graph
from symgraph.ops.softmax import CrossentropySoftmax1Hot, CrossentropySoftmax1HotGrad
from symgraph.printing import pp
from symgraph.rewrite import Rewriter, verify
from tests.oracle import evaluate

a, b, s = T.dvector("a"), T.dvector("b"), T.dscalar("s")
m, n, row = T.dmatrix("m"), T.dmatrix("n"), T.drow("row")
i, k, u8 = T.ivector("i"), T.lscalar("k"), T.vector("u8", dtype="uint8")
y = T.ivector("y")
f = T.vector("f", dtype="float32")


def values(low: float = 0.5, high: float = 1.5) -> dict[Any, np.ndarray]:
    rng = np.random.RandomState(3)

    def draw(*shape: int) -> np.ndarray:
        return np.asarray(rng.uniform(low, high, shape))

    return {
        a: draw(4), b: draw(4), s: draw(), m: draw(3, 4), n: draw(3, 4), row: draw(1, 4),
        i: np.array([3, -2, 7, 0], "int32"), k: np.array(2), u8: np.array([1, 200, 3, 0], "uint8"),
        y: np.array([1, 3, 0], "int32"), f: draw(4).astype("float32"),
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """`rule` (its text, or how it begins) fires on `before()` and the result prints as `after`."""

    rule: str
    before: Callable[[], Any]
    after: str
    low: float = 0.5
    high: float = 1.5


def grad_of(cost: Any, wrt: Any) -> Any:
    return T.grad(cost.sum(), wrt)


CASES = [
CASES_HERE
]  # fmt: skip
