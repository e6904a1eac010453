"""Sums of slices that lie side by side: joined, with the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile.rules import rewrite_graph
from symgraph.graph import toposort
from symgraph.ops.join import Join

RNG = np.random.RandomState(3)


def joins(outputs: list[Any]) -> int:
    nodes = toposort(rewrite_graph(outputs, "fast_run"))
    return sum(isinstance(node.op, Join) for node in nodes)


def gradient(*slices: slice, axis: int = 1) -> tuple[Any, Any]:
    x = T.dmatrix("x")
    index = [(slice(None),) * axis + (s,) for s in slices]
    cost = sum(((k + 2) * T.tanh(x[i]).sum() for k, i in enumerate(index)), T.constant(0.0))
    return x, T.grad(cost, x)


@pytest.mark.parametrize(
    "slices",
    [
        (slice(None, 2), slice(2, 4), slice(4, None)),
        (slice(4, None), slice(None, 2), slice(2, 4)),
        (slice(0, 2), slice(2, 4)),  # zeros at the end, of sizes above 4
        (slice(1, 2), slice(3, 5)),  # and between
    ],
)
@pytest.mark.parametrize("size", [0, 1, 3, 4, 7])
def test_disjoint_slices_are_joined(slices: tuple[slice, ...], size: int) -> None:
    x, g = gradient(*slices)
    assert joins([g]) == 1
    values = RNG.randn(3, size)
    expected = np.zeros_like(values)
    for k, s in enumerate(slices):
        expected[:, s] += (k + 2) * (1 - np.tanh(values[:, s]) ** 2)
    np.testing.assert_allclose(symgraph.function([x], g)(values), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "slices",
    [
        (slice(None, 3), slice(2, None)),  # they overlap
        (slice(None, -2), slice(-2, None)),  # where they begin depends on the size
        (slice(None, None, 2), slice(1, None, 2)),
        (slice(None, 2), slice(2, 2), slice(1, 4)),
    ],
)
def test_others_are_added(slices: tuple[slice, ...]) -> None:
    x, g = gradient(*slices, axis=0)
    assert joins([g]) == 0
    values = RNG.randn(6, 2)
    expected = np.zeros_like(values)
    for k, s in enumerate(slices):
        expected[s] += (k + 2) * (1 - np.tanh(values[s]) ** 2)
    np.testing.assert_allclose(symgraph.function([x], g)(values), expected, rtol=1e-12)


def test_a_part_of_a_sum_that_is_used_by_itself() -> None:
    x = T.dmatrix("x")
    parts = [T.inc_subtensor(T.zeros_like(x)[:, s], 2 * x[:, s]) for s in
             (slice(None, 1), slice(1, 3), slice(3, None))]  # fmt: skip
    first = parts[0] + parts[1]
    f = symgraph.function([x], [first, first + parts[2], first + x])
    values = RNG.randn(2, 5)
    two = np.concatenate([2 * values[:, :3], 0 * values[:, 3:]], 1)
    for got, want in zip(f(values), (two, 2 * values, two + values), strict=True):
        np.testing.assert_allclose(got, want)
