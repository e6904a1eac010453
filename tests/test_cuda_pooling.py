"""Pooling of the device against NumPy: every kind of window, NaN, ties, integers; and assembled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from symgraph.compile import library as host
from symgraph.compile.cuda import codegen, library
from symgraph.ops import pool_marks, pooling
from tests.cuda_assembly import ARCHITECTURES
from tests.cuda_kernels import both_orders, check_resources, sources
from tests.test_library import pooled, pooled_size

MODES = ("max", "first", "sum", "average_inc_pad", "average_exc_pad")
CASES = (  # planes, ws, stride, pad, ignore_border
    ((3, 8, 6), (2, 2), (2, 2), (0, 0), True),  # tiles
    ((30, 5, 7), (2, 2), (2, 2), (0, 0), True),  # several blocks; rows and columns left over
    ((2, 5, 7), (2, 2), (2, 2), (0, 0), False),  # windows cut off
    ((2, 7, 6), (3, 2), (2, 1), (1, 1), True),  # padded, overlapping
    ((2, 9, 8), (3, 3), (2, 2), (0, 0), False),
    ((2, 5, 13), (2, 5), (4, 3), (0, 2), True),  # rows between windows
    ((5, 7, 6), (7, 6), (7, 6), (0, 0), True),  # a window a plane: a warp each
    ((2, 9, 20), (5, 9), (3, 8), (1, 4), True),
    ((1, 6, 5), (9, 8), (9, 8), (0, 0), False),  # larger than the plane
    ((2, 3, 3), (4, 4), (1, 1), (0, 0), True),  # no window
    ((0, 4, 4), (2, 2), (2, 2), (0, 0), True),
    ((2, 0, 3), (2, 2), (2, 2), (0, 0), True),
)
SHAPES = {  # as LeNet's, and as residual networks'
    "tiles": ((10_000, 24, 24), (2, 2), (2, 2), (0, 0)),
    "overlap": ((6400, 56, 56), (3, 3), (2, 2), (1, 1)),
    "plane": ((2048, 7, 7), (7, 7), (7, 7), (0, 0)),
}


def declared(case: tuple[Any, ...], mode: str) -> tuple[dict[str, object], tuple[int, ...]]:
    """The parameters and the shape of the pooled planes."""
    planes, ws, stride, pad, *ignore = case
    sizes = zip(planes[1:], ws, stride, pad, strict=True)
    out = (planes[0], *(pooled_size(*size, *(ignore or [True])) for size in sizes))
    ties = {"mode": "max", "ties": "first"} if mode == "first" else {"mode": mode}
    return {"ws": ws, "stride": stride, "pad": pad, **ties}, out


def integers(shape: tuple[int, ...], dtype: str = "float32", high: int = 4) -> np.ndarray:
    """Few different numbers, so that there are ties, and sums are exact."""
    rng = np.random.default_rng(sum(shape))
    return rng.integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_pooling_and_its_gradients(case: tuple[Any, ...], mode: str) -> None:
    planes = case[0]
    params, shape = declared(case, mode)
    dtype = "float64" if planes[0] % 2 else "float32"
    x, v = integers(planes, dtype), integers(planes, dtype, 90)
    dout = integers(shape, dtype, 100)
    want, want_dx, want_second = pooled(x.astype("float64"), *shape[1:], params, dout, v)
    rtol = 0 if params["mode"] in ("max", "sum") else 1e-6

    def check(name: str, inputs: tuple[np.ndarray, ...], wanted: np.ndarray) -> np.ndarray:
        (got,) = both_orders(name, dtype, params, inputs, [(wanted.shape, dtype)])
        np.testing.assert_allclose(got, wanted, rtol)
        return got

    out = check("pool", (x,), want)
    if params["mode"] == "max":
        check("max_pool_grad", (x, out, dout), want_dx)
        check("max_pool_grad_grad", (x, out, v), want_second)
    else:
        check("pool_grad", (dout,), want_dx)


@pytest.mark.parametrize("ties", ("all", "first"))
@pytest.mark.parametrize(
    ("planes", "ws"), (((30, 4, 6), (2, 2)), ((3, 5, 7), (2, 3)), ((2, 4, 9), (1, 8)))
)
def test_marks(planes: tuple[int, ...], ws: tuple[int, int], ties: str) -> None:
    params, shape = declared((planes, ws, ws, (0, 0)), "first" if ties == "first" else "max")
    x = integers(planes)
    x[0, 0, 1] = np.nan
    marker = pool_marks.MaxPoolMarks("max", True, ws, ws, (0, 0), ties)
    want = marker.evaluate(None, x)  # type: ignore[arg-type]
    got = both_orders(
        "max_pool_marks", "float32", params, [x], [(shape, "float32"), (shape, "uint8")]
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    dout = integers(shape, "float32", 100)
    gradient = pool_marks.MaxPoolMarksGrad("max", True, ws, ws, (0, 0), ties)
    (dx,) = gradient.evaluate(None, x, want[1], dout)  # type: ignore[arg-type]
    (given,) = both_orders(
        "max_pool_marks_grad", "float32", params, [want[1], dout], [(planes, "float32")]
    )
    np.testing.assert_array_equal(given, dx)


@pytest.mark.parametrize("ws", ((2, 2), (6, 6)))
def test_nan_is_the_maximum_and_equals_nothing(ws: tuple[int, int]) -> None:
    planes = (3, 6, 6)
    params, shape = declared((planes, ws, ws, (0, 0)), "max")
    x = integers(planes)
    x[1, 2, 3] = np.nan
    (out,) = both_orders("pool", "float32", params, [x], [(shape, "float32")])
    assert np.isnan(out).sum() == 1 and np.isnan(out[1, 2 // ws[0], 3 // ws[1]])
    ones = np.ones(shape, "float32")
    for ties in ("all", "first"):
        (dx,) = both_orders(
            "max_pool_grad", "float32", {**params, "ties": ties}, [x, out, ones],
            [(planes, "float32")],
        )  # fmt: skip
        equal = x == np.kron(out, np.ones((1, *ws)))
        assert not dx[~equal].any()
        assert ties == "first" or dx[equal].all()
        assert dx.sum() == out.size - 1 or ties == "all"


@pytest.mark.parametrize("dtype", ("int8", "uint8", "int16", "uint32", "int64", "uint64"))
@pytest.mark.parametrize("mode", ("max", "sum"))
def test_integers(mode: str, dtype: str) -> None:
    for case in (CASES[3], CASES[6]):
        params, shape = declared(case, mode)
        x = integers(case[0], dtype, 3)
        op = pooling.Pool(mode, True, *case[1:4])
        (want,) = op.evaluate(None, x)  # type: ignore[arg-type]
        (got,) = both_orders("pool", dtype, params, [x], [(shape, dtype)])
        np.testing.assert_array_equal(got, want)


def test_integers_wrap_as_on_the_cpu() -> None:
    params, shape = declared(CASES[6], "sum")
    x = np.full(CASES[6][0], 100, "int8")
    (got,) = both_orders("pool", "int8", params, [x], [(shape, "int8")])
    np.testing.assert_array_equal(got, np.full(shape, 4200 % 256 - 256 * (4200 % 256 > 127)))


@pytest.mark.parametrize(
    ("name", "dtype", "params"),
    (
        ("pool", "int32", {"ws": (2, 2), "mode": "average_inc_pad"}),
        ("pool", "float32", {"ws": (2, 2), "mode": "mean"}),
        ("pool_grad", "float32", {"ws": (2, 2)}),
        ("max_pool_grad", "int32", {"ws": (2, 2)}),
        ("max_pool_marks", "float32", {"ws": (3, 3)}),
    ),
)
def test_what_makes_no_sense_is_refused_as_on_the_cpu(
    name: str, dtype: str, params: dict[str, object]
) -> None:
    for where in (library, host):
        with pytest.raises(ValueError):
            where.lower(name, dtype, params)


@pytest.mark.parametrize("planes", (9, 8))
def test_several_planes_by_each_thread(planes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there are many; the last threads have fewer, or all have as many."""
    monkeypatch.setattr("symgraph.compile.cuda.library.pooling.MANY", 1)
    for case in (((planes, 8, 6), *CASES[0][1:]), ((planes, 7, 6), *CASES[3][1:])):
        for mode in MODES:
            test_pooling_and_its_gradients(case, mode)
    test_marks((planes, 5, 7), (2, 3), "first")


def test_the_number_of_planes_is_not_printed() -> None:
    params, _ = declared(SHAPES["tiles"], "max")
    texts = {
        sources("pool", "float32", params, {"in0": (n, 24, 24), "out0": (n, 12, 12)})[0]
        for n in (1, 500, 10_000, 20_000)
    }
    assert len(texts) == 2  # for few, and for many


def kernels() -> Iterator[tuple[str, dict[str, object], dict[str, tuple[int, ...]]]]:
    """All operations for the shapes of networks: name, parameters, shapes."""
    for title, case in SHAPES.items():
        for mode in MODES:
            params, out = declared(case, mode)
            image = case[0]
            yield "pool", params, {"out0": out, "in0": image}
            if params["mode"] == "max":
                yield "max_pool_grad", params, {"out0": image, "in0": image, "in1": out, "in2": out}
                yield (
                    "max_pool_grad_grad", params,
                    {"out0": out, "in0": image, "in1": out, "in2": image},
                )  # fmt: skip
            else:
                yield "pool_grad", params, {"out0": image, "in0": out}
            if title == "tiles" and params["mode"] == "max":
                yield "max_pool_marks", params, {"out0": out, "out1": out, "in0": image}
                yield "max_pool_marks_grad", params, {"out0": image, "in0": out, "in1": out}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_resources(arch: str) -> None:
    """Four blocks of 256 threads fit on a multiprocessor, and no index is divided at run time."""
    dtype = "float32" if arch != "sm_80" else "float64"
    for name, params, shapes in kernels():
        for source in sources(name, dtype, params, shapes):
            check_resources(source, arch, 64)
            text = codegen.ptx(source, arch)
            assert "div.s" not in text and "div.u" not in text and "rem." not in text
