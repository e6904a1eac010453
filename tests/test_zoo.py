"""The op zoo: every record of tests/zoo crossed with targets, layouts, sizes and gradients.

What must agree, for each case: the record's own NumPy computation, the oracle (the ops' NumPy
meanings, node by node), compiled kernels and interpreted kernels; for floats, the symbolic
gradient and finite differences of the oracle. Kernels cost compile time, so each case is compiled
once, value and gradient together.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph.compile.pipeline import Options
from symgraph.errors import NullTypeGradError
from symgraph.gradient import grad
from symgraph.graph import Variable
from symgraph.types import TensorType
from tests import zoo
from tests.oracle import evaluate
from tests.zoo.case import Case, Failure, In

FAMILIES = sorted(m.name for m in pkgutil.iter_modules(zoo.__path__) if m.name != "case")
TOLERANCE = {"float16": 2e-2, "float32": 2e-5, "float64": 1e-10}
STEP = 1e-6  # of the finite differences
SECOND_ORDER = ("elementwise", "index", "linalg", "nnet", "reduce", "shape")


def collect(what: str) -> list[Any]:
    found = []
    for family in FAMILIES:
        records = getattr(importlib.import_module(f"tests.zoo.{family}"), what, ())
        found += [pytest.param(record, id=f"{family}-{record.name}") for record in records]
    return found


CASES = collect("CASES")
FAILURES = collect("FAILURES")


def rng_of(case: Case) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(case.name.encode()))


def variable_of(item: In, array: np.ndarray, name: str) -> Variable:
    pattern = item.broadcastable or (False,) * array.ndim
    return TensorType(item.dtype, pattern)(name)


@dataclass
class Built:
    """A case's graph: `slope` is the inner product of the gradients with given directions."""

    inputs: list[Variable]
    arrays: list[np.ndarray]
    out: Variable
    cost: Variable | None
    wrt: list[int]
    gradients: list[Variable]


def differentiated(case: Case) -> tuple[int, ...]:
    """The positions of the inputs whose gradients are checked."""
    if case.grad is not None:
        return case.grad
    return tuple(k for k, item in enumerate(case.inputs) if item.dtype == "float64")


@cache
def built(case: Case) -> Built:
    rng = rng_of(case)
    arrays = [item.array(rng) for item in case.inputs]
    names = [f"x{k}" for k in range(len(arrays))]
    inputs = [variable_of(*z) for z in zip(case.inputs, arrays, names, strict=True)]
    out = T.as_tensor_variable(case.build(*inputs))
    wrt = differentiated(case)
    if not wrt or out.dtype != "float64":  # narrower ones are too coarse for differences
        return Built(inputs, arrays, out, None, [], [])
    # weights that depend on the element's place alone, so that they fit whatever the sizes are
    cost = T.sum(out * T.cos(T.arange(out.size).reshape(out.shape, ndim=out.ndim) + 0.5))
    wanted = [inputs[k] for k in wrt]
    gradients = grad(cost, wanted, disconnected_inputs="ignore")
    return Built(inputs, arrays, out, cost, list(wrt), gradients)


def function(b: Built, target: str, outputs: Sequence[Variable], rewrites: str = "fast_run") -> Any:
    mode = Options(target=target, rewrites=rewrites)
    return symgraph.function(b.inputs, list(outputs), mode=mode, on_unused_input="ignore")


@cache
def compiled(case: Case) -> Any:
    """The value and the gradients as one compiled function."""
    b = built(case)
    return function(b, "cpu", [b.out, *b.gradients])


def check_type(case: Case, out: Variable) -> None:
    if case.dtype is not None:
        assert out.dtype == case.dtype
    if case.pattern is not None:
        assert out.broadcastable == case.pattern


def check_value(case: Case, out: Variable, got: Any, expected: Any) -> None:
    expected = np.asarray(expected)
    assert got.dtype == out.dtype
    assert got.shape == expected.shape
    for size, one in zip(got.shape, out.broadcastable, strict=True):
        assert size == 1 or not one
    same(got, expected, max(case.rtol, TOLERANCE.get(out.dtype, 0)))


def same(got: Any, expected: Any, rtol: float) -> None:
    """Equal to within rtol of the larger of each element and the array's typical magnitude."""
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
        return
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(np.median(finite)) if finite.size else 0.0
    np.testing.assert_allclose(
        got.astype("float64"), expected.astype("float64"), rtol=rtol, atol=rtol * scale
    )


@pytest.mark.parametrize("case", CASES)
def test_meaning(case: Case) -> None:
    """The oracle and the interpreted kernels equal the record's expectation."""
    b = built(case)
    check_type(case, b.out)
    expected = case.expect(*b.arrays)
    (value,) = evaluate([b.out], dict(zip(b.inputs, b.arrays, strict=True)))
    check_value(case, b.out, value, expected)
    (value,) = function(b, "python", [b.out])(*b.arrays)
    check_value(case, b.out, value, expected)


@pytest.mark.parametrize("case", CASES)
def test_compiled(case: Case) -> None:
    """Compiled kernels equal the expectation, for any layout of the arguments."""
    b = built(case)
    expected = case.expect(*b.arrays)
    for arrays in (b.arrays, *(layout(b.arrays) for layout in LAYOUTS)):
        before = [a.copy() for a in arrays]
        value = compiled(case)(*arrays)[0]
        check_value(case, b.out, value, expected)
        for array, old in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, old)
            assert not np.shares_memory(value, array)


def strided(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same values, every other element of larger arrays."""
    made = []
    for array in arrays:
        wide = np.zeros([2 * n for n in array.shape], array.dtype)
        view = wide[(..., *(slice(None, None, 2),) * array.ndim)]
        view[...] = array
        made.append(view)
    return made


def fortran(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.asfortranarray(a) if a.ndim else a for a in arrays]


def reversed_(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same values, in memory from back to front."""
    back = [(..., *(slice(None, None, -1),) * a.ndim) for a in arrays]
    return [a[i].copy()[i] for a, i in zip(arrays, back, strict=True)]


LAYOUTS = (strided, fortran, reversed_)


def emptied(case: Case) -> list[bool]:
    """Which inputs get a first axis of size 0: all of them, where they have it in common."""
    random = [i for i in case.inputs if i.shape and i.values is None]
    same = len({len(i.shape) for i in random}) == len({i.shape[0] for i in random}) == 1
    size = random[0].shape[0] if same else None
    return [
        np.shape(i.values if i.values is not None else np.empty(i.shape))[:1] == (size,)
        and not (i.broadcastable and i.broadcastable[0])
        for i in case.inputs
    ]


@pytest.mark.parametrize("case", [c for c in CASES if any(emptied(*c.values))])
def test_empty(case: Case) -> None:
    """With first axes of size 0 a case gives what the oracle gives, or both refuse."""
    b = built(case)
    shrunk = [a[:0] if e else a for a, e in zip(b.arrays, emptied(case), strict=True)]
    try:
        with np.errstate(all="ignore"):
            (expected,) = evaluate([b.out], dict(zip(b.inputs, shrunk, strict=True)))
    except (ValueError, IndexError, AssertionError, ZeroDivisionError):
        with pytest.raises((ValueError, IndexError, AssertionError, ZeroDivisionError)):
            compiled(case)(*shrunk)
        return
    check_value(case, b.out, compiled(case)(*shrunk)[0], expected)


DIFFERENTIATED = [c for c in CASES if differentiated(*c.values)]


@pytest.mark.parametrize("case", DIFFERENTIATED)
def test_gradient(case: Case) -> None:
    """Along random directions the compiled gradient is the slope of the oracle."""
    b = built(case)
    if b.cost is None:
        return  # its result is no float64
    directions = [rng_of(case).uniform(-1, 1, b.arrays[k].shape) for k in b.wrt]
    values = compiled(case)(*b.arrays)[1:]
    for k, value in zip(b.wrt, values, strict=True):
        assert value.dtype == b.inputs[k].dtype
        assert value.shape == b.arrays[k].shape
    slope = sum(float(np.sum(v * d)) for v, d in zip(values, directions, strict=True))
    check_slope(slope, b, b.cost, directions)


def check_slope(slope: float, b: Built, cost: Variable, directions: list[np.ndarray]) -> None:
    def at(step: float) -> float:
        moved = list(b.arrays)
        for k, d in zip(b.wrt, directions, strict=True):
            moved[k] = moved[k] + step * d
        return float(evaluate([cost], dict(zip(b.inputs, moved, strict=True)))[0])

    difference = (at(STEP) - at(-STEP)) / (2 * STEP)
    # rounding errors of the cost, blown up by the division, are no errors of the gradient
    noise = 1e-15 * max(abs(at(0.0)), 1.0) * len(b.arrays) * 10 / STEP
    np.testing.assert_allclose(slope, difference, rtol=2e-5, atol=1e-6 + noise)


@pytest.mark.parametrize(
    "case", [c for c in DIFFERENTIATED if str(c.id).split("-")[0] in SECOND_ORDER]
)
def test_second_order(case: Case) -> None:
    """The gradient of a weighted sum of the gradients, all by the oracle."""
    b = built(case)
    if b.cost is None:
        return  # its result is no float64
    rng = rng_of(case)
    weighted = [
        T.sum(g * rng.uniform(-1, 1, b.arrays[k].shape))
        for k, g in zip(b.wrt, b.gradients, strict=True)
    ]
    cost = T.add(*weighted) if len(weighted) > 1 else weighted[0]
    try:
        gradients = grad(cost, [b.inputs[k] for k in b.wrt], disconnected_inputs="ignore")
    except NullTypeGradError:
        pytest.skip("it has no second derivative")
    values = evaluate(gradients, dict(zip(b.inputs, b.arrays, strict=True)))
    directions = [rng.uniform(-1, 1, b.arrays[k].shape) for k in b.wrt]
    slope = sum(float(np.sum(v * d)) for v, d in zip(values, directions, strict=True))
    check_slope(slope, b, cost, directions)


@pytest.mark.parametrize("failure", FAILURES)
def test_failure(failure: Failure) -> None:
    with pytest.raises(failure.error) as caught:
        failure.provoke()
    for word in failure.words:
        assert word in str(caught.value)
