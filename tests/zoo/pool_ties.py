"""Records of max pooling with ties="first", on images where nearly every window has ties.

The expectation takes each window's argmax. Finite differences would meet the kinks of the image, so
they go by what is linear: the gradient by the pooled image, and what comes behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.ops.pool_marks import MaxPoolMarks
from symgraph.tensor.signal.pool import pool_2d, pool_3d
from tests.zoo.case import Case, Failure, In
from tests.zoo.pool import windows

first_of = partial(pool_2d, ties="first")
MARKED = MaxPoolMarks("max", True, (2, 2), (2, 2), (0, 0), "first")


def firsts(
    shape: tuple[int, ...], x: np.ndarray, ws: Any, ignore: bool, stride: Any, pad: Any
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Of each window: where it stands in the pooled array, and where its first maximum is in x."""
    sizes = zip(shape[-len(ws) :], ws, stride or ws, pad, strict=True)
    spans = [windows(*four, ignore) for four in sizes]
    for at in np.ndindex(*shape[: -len(ws)], *map(len, spans)):
        image, place = at[: -len(ws)], at[-len(ws) :]
        cuts = [spans[a][i][:2] for a, i in enumerate(place)]
        window = x[image][tuple(slice(*cut) for cut in cuts)]
        if not np.isnan(window).any():
            inside = np.unravel_index(window.argmax(), window.shape)
            starts = [cut[0] for cut in cuts]
            yield at, (*image, *(int(i) + s for i, s in zip(inside, starts, strict=True)))


def slope(
    x: np.ndarray,
    g: np.ndarray,
    ws: tuple[int, ...] = (2, 2),
    ignore: bool = True,
    stride: tuple[int, ...] | None = None,
    pad: tuple[int, ...] | None = None,
    times: float = 1.0,
) -> np.ndarray:
    """The gradient of the sum of g * pool(times * x)."""
    total = np.zeros(x.shape)
    for at, place in firsts(x.shape, x, ws, ignore, stride, pad or (0,) * len(ws)):
        total[place] += times * g[at]
    return total.astype(x.dtype)


def chosen(x: np.ndarray, v: np.ndarray, pooled: tuple[int, ...], **options: Any) -> np.ndarray:
    """v where the first maximum of each window of x is: what `slope` is, transposed."""
    out = np.zeros(pooled)
    filled = {"ws": (2, 2), "ignore": True, "stride": None, "pad": (0, 0), **options}
    for at, place in firsts(x.shape, x, **filled):
        out[at] = v[place]
    return out.astype(x.dtype)


def gradient(pool: Callable[..., Any], x: Any, g: Any, **options: Any) -> Any:
    return T.grad((pool(x, **options) * g).sum(), x)


def tied(*shape: int, dtype: str = "float64") -> In:
    """Whole numbers from 0 to 2, the same ones each time."""
    values = np.random.RandomState(sum(shape)).randint(0, 3, shape)
    return In(values=values.astype(dtype), dtype=dtype)


def case(
    name: str, x: In, pooled: tuple[int, ...], pool: Any = first_of, times: float = 1.0, **more: Any
) -> Case:
    """The gradient of pooling, by x, and its gradient by g."""
    options = {"ws": (2, 2), "ignore": True, **more}
    ignore = options.pop("ignore")
    computed = pool if times == 1.0 else lambda x, **kw: pool(x * times, **kw)
    build = partial(gradient, computed, ignore_border=ignore, **options)
    expect = partial(slope, times=times, ignore=ignore, **options)
    linear = (1,) if x.dtype == "float64" else ()
    return Case(f"ties_{name}", build, (x, In(pooled, x.dtype)), expect, grad=linear, rtol=1e-6)


def transposed(name: str, x: In, pooled: tuple[int, ...], **more: Any) -> Case:
    """The second derivative: the gradient's own, by g, and its gradient by v."""
    options = {"ws": (2, 2), "ignore": True, **more}
    ignore = options.pop("ignore")

    def build(x: Any, v: Any, g: Any) -> Any:
        return T.grad((gradient(first_of, x, g, ignore_border=ignore, **options) * v).sum(), g)

    return Case(f"ties_{name}_second", build, (x, In(x.values.shape), In(pooled)),
                lambda x, v, g: chosen(x, v, g.shape, ignore=ignore, **options),
                grad=(1,))  # fmt: skip


OVERLAPPING = {"ws": (3, 3), "stride": (2, 1), "pad": (2, 1)}
PARTIAL = {"ws": (3, 4), "ignore": False}
APART = {"ws": (2, 1), "stride": (3, 2)}

CASES = [
    case("side_by_side", tied(2, 3, 7, 6), (2, 3, 3, 3)),
    case("whole", tied(3, 2, 4, 70), (3, 2, 2, 35)),
    case("float32", tied(2, 3, 24, 24, dtype="float32"), (2, 3, 12, 12)),
    case("large_windows", tied(2, 9, 20), (2, 3, 4), ws=(3, 5)),
    case("partial", tied(2, 2, 7, 6), (2, 2, 3, 2), **PARTIAL),
    case("overlapping", tied(2, 2, 7, 6), (2, 2, 5, 6), **OVERLAPPING),
    case("overlapping_float32", tied(2, 2, 7, 36, dtype="float32"), (2, 2, 5, 36), **OVERLAPPING),
    case("padded", tied(2, 7, 6), (2, 4, 3), ws=(2, 3), pad=(1, 2)),
    case("apart", tied(2, 7, 6), (2, 2, 3), **APART),
    case("too_high", tied(2, 3, 4), (2, 0, 2), ws=(5, 2)),
    case("too_wide", tied(2, 4, 3), (2, 2, 0), ws=(2, 5)),
    case("too_wide_apart", tied(2, 4, 3), (2, 2, 0), ws=(2, 5), stride=(2, 9)),
    case("no_images", In((0, 4, 4)), (0, 2, 2)),
    case("depth", tied(1, 5, 4, 7), (1, 2, 2, 3), pool=partial(pool_3d, ties="first"),
         ws=(2, 2, 2)),
    case("depth_overlapping", tied(5, 4, 7), (3, 3, 3), pool=partial(pool_3d, ties="first"),
         ws=(2, 3, 3), stride=(2, 2, 3), pad=(1, 2, 1)),
    # by marks
    *(case(f"of_computed_{ws[0]}x{ws[1]}", tied(2, 3, 9, 38), (2, 3, 9 // ws[0], 38 // ws[1]),
           times=2.0, ws=ws) for ws in ((2, 2), (3, 2), (2, 4), (1, 3), (8, 1))),
    case("of_computed_float32", tied(3, 2, 4, 24, dtype="float32"), (3, 2, 2, 12), times=2.0),
    Case("ties_marks", lambda x: MARKED(x)[1],
         (In(values=[[1.0, 1.0, 2.0, 0.0, np.nan, 0.0], [1.0, 0.0, 0.0, 2.0, 0.0, 0.0]]),),
         lambda x: np.array([[1, 1, 0]], "uint8"), grad=(), dtype="uint8"),
    *(transposed(name, tied(2, 7, 6), pooled, **options) for name, pooled, options in (
        ("side_by_side", (2, 3, 3), {}), ("partial", (2, 3, 2), PARTIAL),
        ("overlapping", (2, 5, 6), OVERLAPPING), ("apart", (2, 2, 3), APART))),
    Case("ties_symbolic", lambda x, g, ws: gradient(first_of, x, g, ws=ws, ignore_border=True),
         (tied(2, 7, 6), In((2, 3, 2)), In(values=[2, 3], dtype="int64")),
         lambda x, g, ws: slope(x, g, tuple(ws)), grad=(1,)),
    Case("ties_nan", lambda x: gradient(first_of, x, 1.0, ws=(2, 2), ignore_border=True),
         (In(values=[[np.nan, 1.0, 2.0, 2.0, -np.inf, -np.inf, 0.0],
                     [1.0, 1.0, 2.0, 0.0, -np.inf, -np.inf, 0.0]]),),
         lambda x: np.array([[0.0, 0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0]]), grad=()),
    # means and sums have none
    Case("ties_of_means", partial(first_of, ws=(2, 2), ignore_border=True, mode="average_inc_pad"),
         (In((2, 4, 6)),), lambda x: x.reshape(2, 2, 2, 3, 2).mean((2, 4))),
]  # fmt: skip

FAILURES = [
    Failure(f"pool_ties_of_{mode}",
            lambda mode=mode: pool_2d(T.dmatrix(), (2, 2), True, mode=mode, ties="last"),
            ValueError, ("ties='last'", "all or first"))
    for mode in ("max", "sum")
] + [
    Failure("pool_ties_3d", lambda: pool_3d(T.dtensor3(), 2, True, ties="last"), ValueError,
            ("ties='last'",)),
]  # fmt: skip
