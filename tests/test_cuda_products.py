"""Functions whose matrix products cuBLAS computes: on the simulated device, which has NumPy in its
place, and behind the stub driver, with a library that reads its arguments as cuBLAS does."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from symgraph import config, function, grad, scan, shared
from symgraph import tensor as T
from symgraph.compile import profiling
from symgraph.compile.cuda import cublas, report
from symgraph.compile.cuda.device import Device, current
from symgraph.compile.mode import Options
from symgraph.draw.kernels import kernel_picture
from symgraph.draw.picture import LIBRARY
from symgraph.subject import subject_of
from tests.cuda_programs import DEVICES, cpu, cuda, played


class Library:
    """Multiplies by columns, as NVIDIA's does, once the work before is done."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name not in cublas.ROUTINES.values():
            return lambda *arguments: 0
        dtype = next(d for d, routine in cublas.ROUTINES.items() if routine == name)

        def multiply(*arguments: Any) -> int:
            current().synchronize()
            given = [getattr(x, "value", x) for x in arguments]
            b_turned, a_turned, m, n, k = given[1:6]
            b, a, c = given[7:10], given[10:13], given[14:17]
            one = _columns(dtype, *b, given[17], *((k, m) if b_turned else (m, k)))
            other = _columns(dtype, *a, given[17], *((n, k) if a_turned else (k, n)))
            one = one.swapaxes(1, 2) if b_turned else one
            other = other.swapaxes(1, 2) if a_turned else other
            _columns(dtype, *c, given[17], m, n)[...] = one @ other
            return 0

        return multiply


def _columns(
    dtype: str, address: int, leading: int, batch: int, count: int, rows: int, columns: int
) -> np.ndarray:
    """Matrices in memory, column after column."""
    item = np.dtype(dtype).itemsize
    room = item * ((count - 1) * batch + (columns - 1) * leading + rows)
    flat = np.frombuffer((ctypes.c_ubyte * room).from_address(address), dtype)
    return as_strided(flat, (count, rows, columns), (item * batch, item, item * leading))


@pytest.fixture(params=sorted(DEVICES))
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    monkeypatch.setattr(cublas, "_load", Library)
    with DEVICES[request.param]() as made:
        yield made


def by_cublas(inputs: Any, outputs: Any = None, **more: Any) -> Any:
    return function(inputs, outputs, mode=Options("cuda", cublas=True), **more)


@contextmanager
def products(device: Device, count: int) -> Iterator[None]:
    """So many are cuBLAS's within."""
    before = replace(device.statistics)
    yield
    assert (device.statistics - before).products == count


def random(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.RandomState(len(shape)).standard_normal(shape).astype(dtype)


X, Y, U, V = T.fmatrix("x"), T.fmatrix("y"), T.fvector("u"), T.fvector("v")
P, Q = T.dtensor3("p"), T.dtensor3("q")
INPUTS = {1: (U, V), 2: (X, Y), 3: (P, Q)}  # by dimensions


def check(device: Device, output: Any, shapes: Any, count: int) -> None:
    """A function has the CPU's results, by so many products of cuBLAS."""
    inputs = [INPUTS[len(shape)][k] for k, shape in enumerate(shapes)]
    values = [random(*s, dtype=v.dtype) for s, v in zip(shapes, inputs, strict=True)]
    f, expected = by_cublas(inputs, output), cpu(inputs, output)(*values)
    with products(device, count):
        np.testing.assert_allclose(f(*values), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    "output, shapes",
    [
        (T.dot(X, Y), ((3, 4), (4, 5))),
        (T.dot(X.astype("float64"), Y.astype("float64")), ((3, 4), (4, 5))),
        (T.dot(X.T, Y.T), ((4, 3), (5, 4))),
        (T.dot(X[1:, 1:], Y[:, :3]), ((3, 5), (4, 5))),
        (T.dot(X, Y[:, 2]), ((3, 4), (4, 5))),
        (T.dot(X[1], Y), ((3, 4), (4, 5))),
        (T.dot(X, V), ((3, 4), (4,))),
        (T.dot(U, V), ((4,), (4,))),
        (T.dot(U, Y), ((4,), (4, 5))),
        (T.batched_dot(P, Q), ((2, 3, 4), (2, 4, 5))),
        (T.batched_dot(P.dimshuffle(0, 2, 1), Q[:, 1:]), ((2, 4, 3), (2, 5, 4))),
    ],
    ids=[
        "matrices", "float64", "transposed", "part of a matrix", "column", "row", "vector",
        "vectors", "vector first", "batches", "batches turned",
    ],
)  # fmt: skip
def test_what_cublas_computes(device: Device, output: Any, shapes: Any) -> None:
    check(device, output, shapes, 1)


@pytest.mark.parametrize(
    "output, shapes",
    [
        (T.dot(X[:, ::2], Y), ((3, 8), (4, 5))),
        (T.dot(X[::-1], Y), ((3, 4), (4, 5))),
        (T.dot(X, Y), ((3, 0), (0, 5))),
        (T.dot(X.astype("int32"), Y.astype("int32")), ((3, 4), (4, 5))),
    ],
    ids=["no dense axis", "backwards", "empty sums", "int32"],
)
def test_what_the_kernels_compute(device: Device, output: Any, shapes: Any) -> None:
    check(device, output, shapes, 0)


def test_sizes_decide(device: Device) -> None:
    f = by_cublas([X, Y], T.dot(X, Y))
    for k in (0, 4, 0, 4):
        x, y = random(3, k), random(k, 5)
        with products(device, int(k > 0)):
            np.testing.assert_allclose(f(x, y), x @ y, rtol=1e-5)


def test_the_flag(device: Device) -> None:
    values = random(3, 4), random(4, 5)
    assert config.gpu.cublas is False
    for flag in (False, True):
        with config.change_flags({"device": "cuda", "gpu.cublas": flag}):
            f = function([X, Y], T.dot(X, Y))
        with products(device, int(flag)):
            f(*values)


def training(compiled: Callable[..., Any], **more: Any) -> tuple[Any, list[Any]]:
    """Steps over minibatches of data on the device; two layers."""
    data, v, w = shared(random(12, 4)), shared(random(4, 6), "v"), shared(random(6, 5), "w")
    i = T.lscalar("i")
    hidden = T.tanh(T.dot(data[i * 3 : i * 3 + 3], v))
    cost = (T.tanh(T.dot(hidden, w)) ** 2).sum()
    updates = [(p, p - np.float32(0.1) * grad(cost, p)) for p in (v, w)]
    return compiled([i], cost, updates=updates, **more), [data, v, w]


def test_offsets_that_move_and_arrays_that_are_replaced(device: Device) -> None:
    (f, own), (g, theirs) = training(by_cublas), training(cpu)
    for i in (0, 1, 3, 0, 2, 2):
        before = replace(device.statistics)
        np.testing.assert_allclose(f(i), g(i), rtol=1e-5)
        done = device.statistics - before
        assert done.products == 5 and done.downloads == 1 and done.copies == 0
    for data, v, _ in (own, theirs):
        data.set_value(random(12, 4)[::-1].copy())
        v.set_value(random(4, 6) / 2)
    for i in (1, 2, 1):
        np.testing.assert_allclose(f(i), g(i), rtol=1e-5)
    for one, other in zip(own, theirs, strict=True):
        np.testing.assert_allclose(one.get_value(), other.get_value(), rtol=1e-5)


def test_products_stand_between_graphs(device: Device) -> None:
    x, y = shared(random(4, 4)), shared(random(4, 3))
    parts = [T.exp(x * k).sum(0) for k in range(4)]
    product = T.dot(T.exp(x), y)
    outputs = [*parts, *((product * k).sum(1) for k in range(2, 6))]
    f = by_cublas([], [out.transfer("cuda") for out in outputs])
    g = cpu([], outputs)
    f(), f()
    before = replace(device.statistics)
    found = f()
    done = device.statistics - before
    assert done.products == 1 and done.uploads == done.downloads == 0
    assert done.graph_launches == len(current_work(f)) - 1 > 0
    for one, other in zip(found, g(), strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-5)


def current_work(f: Any) -> list[Any]:
    (tables,) = f._compiled.program.latest.tables
    return list(tables.work)


def test_a_product_replaces_its_own_factor(device: Device) -> None:
    x = shared(random(4, 4) / 2)
    f, value = by_cublas([], updates=[(x, T.dot(x, x.T))]), x.get_value()
    for _ in range(3):
        with products(device, 1):
            f()
        value = value @ value.T
    np.testing.assert_allclose(x.get_value(), value, rtol=1e-5)


def test_loops_run_by_kernels(device: Device) -> None:
    w = shared(random(4, 4) / 4)
    hidden, _ = scan(lambda x, h: T.tanh(T.dot(h, w) + x), X, T.zeros((4,), "float32"))
    f, x = by_cublas([X], T.dot(hidden, w)), random(3, 4)
    with products(device, 1):
        found = f(x)
    np.testing.assert_allclose(found, cpu([X], T.dot(hidden, w))(x), rtol=1e-5)


def test_sizes_that_depend_on_results(device: Device) -> None:
    chosen = Y[T.nonzero(V)[0]]
    output = T.dot(T.dot(X, Y), chosen.T)
    f, g = by_cublas([X, Y, V], output), cpu([X, Y, V], output)
    for mask in ([1, 0, 1, 1], [0, 0, 1, 0]):
        values = random(3, 4), random(4, 5), np.float32(mask)
        with products(device, 2):
            np.testing.assert_allclose(f(*values), g(*values), rtol=1e-5)


def test_kernels_and_pictures(device: Device) -> None:
    f, _ = training(by_cublas)
    assert [k.library for k in f.kernels()].count("gemm") == 10  # may run: two stages each
    f(1), f(2)
    assert {k.library for k in f.kernels()} == {""}
    boxes = kernel_picture(subject_of(f)).boxes.values()
    assert sum(box.fill == LIBRARY for box in boxes) == 5
    only = by_cublas([X, Y], T.dot(X, Y))
    only(random(3, 4), random(4, 5))
    assert only.kernels() == []


def test_a_profile(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "_at_exit", [])
    (f, _), (g, _) = training(by_cublas, profile=True), training(cuda)
    with products(device, 3 * 5):
        for i in (1, 2, 1):
            np.testing.assert_allclose(f(i), g(i), rtol=1e-5)
    rows = [s for s in f.profile.steps if "cuBLAS" in s.name]
    assert [(s.what, s.calls) for s in rows] == [("dot: cuBLAS gemm", 3)] * 5
    assert all(np.isfinite(s.seconds) for s in rows)
    out = io.StringIO()
    f.profile.summary(file=out)
    assert "dot: cuBLAS gemm" in out.getvalue()


def test_where_the_library_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "cublas", lambda: None)
    with played():
        with pytest.raises(RuntimeError, match="pip install nvidia-cublas") as caught:
            by_cublas([X, Y], T.dot(X, Y))
        assert "got:" in str(caught.value) and "expected:" in str(caught.value)
        by_cublas([X], T.exp(X))(random(3, 4))  # needs no product


def test_one_handle_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Library] = []

    def load() -> Library:
        made.append(Library())
        return made[-1]

    monkeypatch.setattr(cublas, "_load", load)
    with played() as device:
        for output in (T.dot(X, Y), T.dot(Y, X)):
            by_cublas([X, Y], output)(random(4, 4), random(4, 4))
        assert len(made) == 1 and device.cublas() is device.cublas()
