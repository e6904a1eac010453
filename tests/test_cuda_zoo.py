"""The op zoo on the device: every record in the simulator, in both orders of its threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.simulated import Simulated
from tests import test_zoo as zoo
from tests.oracle import evaluate
from tests.zoo.case import Case


def simulated(case: Case, order: int) -> tuple[Any, Device]:
    """Value and gradients as one function of a simulated device."""
    b = zoo.built(case)
    with use(Device(Simulated(order))) as device:
        return zoo.function(b, "cuda", [b.out, *b.gradients]), device


@pytest.mark.parametrize("case", zoo.CASES)
def test_simulated(case: Case) -> None:
    """Kernels give what the record expects, and gradients what the oracle gives; the second call,
    launched as a graph, gives the same bits, as do threads in the other order."""
    b = zoo.built(case)
    expected = case.expect(*b.arrays)
    first: list[np.ndarray] = []
    for order in (1, -1):
        f, _ = simulated(case, order)
        for _ in range(2):
            values = f(*b.arrays)
            first = first or values
            for one, other in zip(values, first, strict=True):
                np.testing.assert_array_equal(one, other)
    zoo.check_value(case, b.out, first[0], expected)
    slopes = evaluate(b.gradients, dict(zip(b.inputs, b.arrays, strict=True)))
    for value, slope in zip(first[1:], slopes, strict=True):
        zoo.same(value, slope, max(case.rtol, zoo.TOLERANCE["float64"]))
