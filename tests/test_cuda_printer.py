"""Printed kernels of the device: which teams of threads work on what, and that all give the same.

The zoo's arrays are small; here are reductions for every size of team, and ordered stores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph
from symgraph import tensor as T
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.plan import PARTS
from symgraph.compile.cuda.printer import MANY, MOST, OWNERS, THREADS, WARP, print_device
from symgraph.compile.cuda.simulated import Simulated
from symgraph.compile.mode import Options
from tests import cuda_kernels


def on_device(
    inputs: Sequence[Any], outputs: Any, *arrays: np.ndarray
) -> tuple[Any, list[str], list[Any]]:
    """What a function gives in both orders of the threads (the same bits), its kernels and the
    launches of the last call."""
    results, sources, launches = [], [], []
    for order in (1, -1):
        backend = Simulated(order)
        with use(Device(backend)):
            f = symgraph.function(list(inputs), outputs, mode=Options(target="cuda"))
            results.append(f(*arrays))
        sources = backend.sources
        (bound,) = f._compiled.program.bound.values()
        launches = [one for work in bound.tables[0].work for one in getattr(work, "launches", [])]
    for one, other in zip(*(r if isinstance(r, list) else [r] for r in results), strict=True):
        np.testing.assert_array_equal(one, other)
    return results[0], sources, launches


def team(source: str) -> int:
    """The threads that work on an item, as the text shows it."""
    found = re.search(r"lane = thread\(\) % (\d+)", source)
    if found:
        return int(found[1])
    threads = re.search(r"# (\d+) threads", source)
    assert threads is not None
    return int(threads[1]) if "item, lane = block(), thread()" in source else 1


KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (T.sum, np.sum), "prod": (T.prod, np.prod), "max": (T.max, np.max),
    "min": (T.min, np.min), "argmax": (T.argmax, np.argmax), "mean": (T.mean, np.mean),
}  # fmt: skip


@pytest.mark.parametrize(
    "shape, axis, expected",
    [
        ((6, 5), 1, 1),
        ((6, 40), 1, WARP),
        ((3, MANY + 9), 1, THREADS),
        ((2, MOST + 5), 1, 1024),
        ((40, 6), 0, THREADS),
        ((30, 6), 0, WARP),
        ((3, 4, 30), (0, 2), WARP),
        ((5, 3, 200), (0, 2), THREADS),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_reductions_by_teams(kind: str, shape: tuple[int, ...], axis: Any, expected: int) -> None:
    if kind in ("argmax",) and not isinstance(axis, int):
        return  # along one axis only
    ours, numpys = KINDS[kind]
    x = T.TensorType("float32", (False,) * len(shape))("x")
    array = np.random.RandomState(1).uniform(0.9, 1.1, shape).astype("float32")
    array[(0,) * len(shape)] = 1.3
    got, sources, _ = on_device([x], ours(x, axis=axis), array)
    np.testing.assert_allclose(got, numpys(array.astype("float64"), axis), rtol=2e-4)
    assert max(map(team, sources)) == expected


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float64"])
@pytest.mark.parametrize("length", [5, 100, MANY + 50])
def test_any_dtype_meets_in_shuffles_and_shared_memory(dtype: str, length: int) -> None:
    x = T.TensorType(dtype, (False, False))("x")
    array = (np.random.RandomState(2).rand(3, length) * 9 - 4 * (dtype[0] != "u")).astype(dtype)
    outputs = [x.max(1), x.min(1), x.any(1), x.all(1), x.astype("float64").sum(1)]
    got, _, _ = on_device([x], outputs, array)
    wide = array.astype("float64")
    wanted = [wide.max(1), wide.min(1), wide.any(1), wide.all(1), wide.sum(1)]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one.astype("float64"), other, rtol=1e-12)


@pytest.mark.parametrize("length", [7, 60, MANY + 20])
def test_softmax_keeps_what_its_sum_has_computed(length: int) -> None:
    x = T.fmatrix("x")
    array = np.random.RandomState(3).randn(4, length).astype("float32")
    got, sources, _ = on_device([x], T.nnet.softmax(x), array)
    e = np.exp(array - array.max(1, keepdims=True))
    np.testing.assert_allclose(got, e / e.sum(1, keepdims=True), rtol=1e-5)
    (source,) = sources
    assert source.count("exp(") == 1


@pytest.mark.parametrize(
    "rows, classes, expected", [(3, 5, 1), (3, 40, WARP), (2, MANY + 9, THREADS), (2, 9000, 1024)]
)
def test_a_cost_over_many_classes_shares_the_classes(
    rows: int, classes: int, expected: int
) -> None:
    """It adds up few rows, each a softmax: who works on a row shares that."""
    x, y = T.fmatrix("x"), T.lvector("y")
    rng = np.random.RandomState(9)
    array, labels = rng.randn(rows, classes).astype("f"), rng.randint(0, classes, rows)
    cost = -T.log(T.nnet.softmax(x))[T.arange(x.shape[0]), y].sum()
    got, sources, _ = on_device([x, y], cost, array, labels)
    wide = array.astype("float64")
    rest = np.log(np.exp(wide).sum(1)) - wide[np.arange(rows), labels]
    np.testing.assert_allclose(got, rest.sum(), rtol=1e-5)
    assert team(next(s for s in sources if "exp(" in s)) == expected


@pytest.mark.parametrize("length, expected", [(40, WARP), (MANY + 9, THREADS), (9000, 1024)])
def test_sums_within_a_sum_use_their_memory_again(length: int, expected: int) -> None:
    x = T.ftensor3("x")
    array = np.random.RandomState(11).rand(2, 3, length).astype("f")
    got, (source,), _ = on_device([x], T.sqrt(T.sqr(x).sum(2)).sum(1), array)
    np.testing.assert_allclose(got, np.sqrt(np.square(array, dtype="d").sum(2)).sum(1), rtol=1e-5)
    assert team(source) == expected
    assert source.count("barrier()") == 2 * (expected > WARP)  # before it is read, and after


def test_many_rows_of_few_classes_share_the_rows() -> None:
    x, y = T.fmatrix("x"), T.lvector("y")
    rng = np.random.RandomState(10)
    rows = 20 * PARTS
    array, labels = rng.randn(rows, 2).astype("f"), rng.randint(0, 2, rows)
    cost = -T.log(T.nnet.softmax(x))[T.arange(x.shape[0]), y].sum()
    got, sources, _ = on_device([x, y], cost, array, labels)
    wide = array.astype("float64")
    rest = np.log(np.exp(wide).sum(1)) - wide[np.arange(rows), labels]
    np.testing.assert_allclose(got, rest.sum(), rtol=1e-5)
    (source,) = (s for s in sources if "exp(" in s)
    assert team(source) == WARP and source.count("shuffle_xor") == 5  # one sum, of the rows


def test_nan_in_reductions() -> None:
    x = T.fmatrix("x")
    array = np.random.RandomState(4).randn(3, 70).astype("float32")
    array[1, 33] = np.nan
    got, _, _ = on_device([x], [x.max(1), x.argmax(1), x.sum(1)], array)
    np.testing.assert_array_equal(np.isnan(got[0]), [False, True, False])
    np.testing.assert_array_equal(got[1], array.argmax(1))
    np.testing.assert_array_equal(np.isnan(got[2]), [False, True, False])


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.data(),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_any_axes(shape: list[int], data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    x = T.TensorType("float64", (False,) * len(shape))("x")
    array = np.random.RandomState(5).randn(*shape)
    out = T.exp(x - x.max(axis=axes, keepdims=True)).sum(axis=axes)
    got, _, _ = on_device([x], out, array)
    every = tuple(axes)
    np.testing.assert_allclose(
        got, np.exp(array - array.max(every, keepdims=True)).sum(every), rtol=1e-12
    )


# ---- stores whose order counts -------------------------------------------------------------------


def test_rows_are_added_by_threads_that_own_columns() -> None:
    x, i, y = T.fmatrix("x"), T.lvector("i"), T.fmatrix("y")
    rng = np.random.RandomState(6)
    a, k, b = rng.rand(5, 7).astype("f"), rng.randint(0, 5, 30), rng.rand(30, 7).astype("f")
    got, sources, launches = on_device([x, i, y], T.inc_subtensor(x[i], y), a, k, b)
    wanted = a.copy()
    for row, place in enumerate(k):  # in this order, as the CPU adds
        wanted[place] += b[row]
    np.testing.assert_array_equal(got, wanted)
    assert not any(f"% {OWNERS}" in source for source in sources)
    assert all(launch.blocks == 1 for launch in launches)


def test_elements_are_added_by_threads_that_own_addresses() -> None:
    x, i, y = T.fvector("x"), T.lvector("i"), T.fvector("y")
    rng = np.random.RandomState(7)
    a, k, b = rng.rand(9).astype("f"), rng.randint(-9, 9, 40), rng.rand(40).astype("f")
    got, sources, launches = on_device([x, i, y], T.inc_subtensor(x[i], y), a, k, b)
    wanted = a.copy()
    for place, value in zip(k, b, strict=True):
        wanted[place] += value
    np.testing.assert_array_equal(got, wanted)
    assert sum(f"% {OWNERS} == item" in source for source in sources) == 1
    assert max(launch.blocks for launch in launches) == OWNERS // THREADS


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_recurrence_goes_along_its_axis_in_one_thread(axis: int) -> None:
    x = T.dtensor3("x")
    array = np.random.RandomState(8).randn(4, 5, 3)
    got, sources, launches = on_device([x], T.cumsum(x, axis=axis), array)
    np.testing.assert_allclose(got, array.cumsum(axis), rtol=1e-12)
    assert len(launches) == len(sources)


# ---- errors --------------------------------------------------------------------------------------


def test_the_first_to_find_an_error_notes_it_whole() -> None:
    x, i = T.fvector("x"), T.lvector("i")
    backend = Simulated()
    with use(Device(backend)):
        f = symgraph.function([x, i], x[i] * 2, mode=Options(target="cuda"))
        data = np.arange(4, dtype="f")
        with pytest.raises(IndexError, match=r"index 9 is out of bounds for size 4"):
            f(data, np.array([1, 9, 11, -7]))
        np.testing.assert_array_equal(f(data, np.array([3, -1])), [6, 6])
    assert any("claim(errors, 1)" in source for source in backend.sources)


# ---- what the text needs of a device ------------------------------------------------------------


@pytest.mark.parametrize("arch", cuda_kernels.cuda_assembly.ARCHITECTURES)
@pytest.mark.parametrize("length", [5, 100, MANY + 50, MOST + 50])
def test_reductions_assemble(arch: str, length: int) -> None:
    x = T.fmatrix("x")
    backend = Simulated()
    with use(Device(backend)):
        f = symgraph.function(
            [x], [T.nnet.softmax(x), x.sum(1), x.argmax(1)], mode=Options(target="cuda")
        )
        f(np.ones((2, length), "f"))
    for source in backend.sources:
        cuda_kernels.check_resources(source, arch, registers=64)


def test_the_text_is_the_same_each_time() -> None:
    def texts() -> list[str]:
        x = T.fmatrix("x")
        with use(Device(Simulated())):
            f = symgraph.function([x], T.nnet.softmax(x.T), mode=Options(target="cuda"))
        steps = f._compiled.plan.native_steps()
        return [
            print_device(step.loops, (0, WARP)).source for step in steps if step.loops is not None
        ]

    assert texts() == texts()
