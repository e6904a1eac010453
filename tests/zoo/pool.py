"""Records of pooling. The expectation is written window by window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.ops.pool_marks import MaxPoolMarks, MaxPoolMarksGrad
from symgraph.tensor.signal.downsample import max_pool_2d
from symgraph.tensor.signal.pool import max_pool_2d_same_size, pool_2d
from tests.zoo.case import Case, Failure, In

X = In((2, 3, 7, 6))
MARKED = MaxPoolMarks("max", True, (2, 2), (2, 2), (0, 0))
MODES = ("max", "sum", "average_inc_pad", "average_exc_pad")


def windows(n: int, ws: int, stride: int, pad: int, ignore: bool) -> list[tuple[int, int, int]]:
    """First and last-but-one place in the image of each window, and its size with padding."""
    found, start, padded = [], 0, n + 2 * pad
    while start + ws <= padded if ignore else start < padded:
        stop = min(start + ws, padded)
        found.append((max(start - pad, 0), min(stop - pad, n), stop - start))
        if not ignore and start + ws >= padded and stride < ws:
            break  # the border is reached; another window would see nothing new
        start += stride
    return found


def pool(
    x: np.ndarray,
    ws: tuple[int, int] = (2, 2),
    ignore: bool = True,
    stride: tuple[int, int] | None = None,
    pad: tuple[int, int] = (0, 0),
    mode: str = "max",
) -> np.ndarray:
    """Rule 36."""
    stride = stride or ws
    rows = windows(x.shape[-2], ws[0], stride[0], pad[0], ignore)
    columns = windows(x.shape[-1], ws[1], stride[1], pad[1], ignore)
    out = np.zeros((*x.shape[:-2], len(rows), len(columns)), x.dtype)
    for i, (a, b, tall) in enumerate(rows):
        for j, (c, d, broad) in enumerate(columns):
            window = x[..., a:b, c:d]
            if mode == "max":
                out[..., i, j] = window.max((-2, -1))
            elif mode == "average_inc_pad":
                out[..., i, j] = window.sum((-2, -1)) / (tall * broad)
            else:
                reduce = np.sum if mode == "sum" else np.mean
                out[..., i, j] = reduce(window, (-2, -1)).astype(x.dtype)
    return out


def second_order(x: Any, mode: str) -> Any:
    y = pool_2d(x, (3, 2), True, (2, 1), (1, 1), mode)
    return (T.grad((y**2).sum(), x) ** 3).sum()


def second_order_by_hand(x: np.ndarray, mode: str) -> Any:
    y = pool(x, (3, 2), True, (2, 1), (1, 1), mode)
    g = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):  # d pool / dx from a small difference, exact but for rounding
        step = np.zeros(x.shape)
        step[at] = 1e-7
        up, down = (pool(x + s, (3, 2), True, (2, 1), (1, 1), mode) for s in (step, -step))
        g[at] = (2 * y * (up - down) / 2e-7).sum()
    return (g**3).sum()


def case(name: str, inputs: In = X, rtol: float = 1e-10, **options: Any) -> Case:
    """Pooling with the same options here and there."""
    here = dict(options)
    ignore = here.pop("ignore", True)
    here.setdefault("ws", (2, 2))
    build = partial(pool_2d, ignore_border=ignore, **here)
    return Case(name, build, (inputs,), partial(pool, **options), rtol=rtol)


CASES = [
    case("pool"),
    case("pool_partial", ignore=False),
    case("pool_even", In((2, 1, 4, 4))),
    case("pool_uneven_window", ws=(3, 2)),
    case("pool_overlapping", ws=(3, 3), stride=(2, 1)),
    case("pool_overlapping_partial", ws=(3, 3), stride=(2, 2), ignore=False),
    case("pool_apart", ws=(2, 1), stride=(3, 2)),
    case("pool_apart_partial", ws=(2, 1), stride=(3, 4), ignore=False),
    case("pool_window_too_large", In((2, 3, 4)), ws=(5, 2)),
    case("pool_window_too_large_partial", In((2, 3, 4)), ws=(5, 2), ignore=False),
    case("pool_1x1", ws=(1, 1)),
    *(case(f"pool_{mode}", mode=mode) for mode in MODES),
    *(case(f"pool_{mode}_partial", ws=(3, 4), mode=mode, ignore=False) for mode in MODES),
    *(case(f"pool_{mode}_overlapping_padded", ws=(3, 3), stride=(2, 1), pad=(2, 1), mode=mode)
      for mode in MODES),
    *(case(f"pool_{mode}_padded", ws=(2, 3), pad=(1, 2), mode=mode) for mode in MODES),
    case("pool_matrix", In((5, 4))),
    case("pool_3d", In((2, 5, 4)), mode="sum"),
    case("pool_5d", In((2, 1, 2, 5, 4)), mode="average_exc_pad"),
    case("pool_no_images", In((0, 3, 4, 4))),
    case("pool_no_rows", In((2, 0, 4)), mode="sum"),
    case("pool_float32", In((2, 3, 24, 24), "float32")),
    case("pool_float32_average", In((2, 5, 5), "float32"), mode="average_exc_pad", rtol=1e-5),
    case("pool_float16", In((2, 4, 4), "float16")),
    case("pool_int32", In((2, 5, 5), "int32", -50, 50), ignore=False),
    case("pool_uint8", In((2, 5, 5), "uint8", 0, 255)),
    case("pool_int8_sum", In((4, 4), "int8", -100, 100), mode="sum"),
    case("pool_negative", In((2, 5, 5), low=-3.0, high=-1.0), ws=(2, 2), pad=(1, 1)),
    case("pool_broadcastable", In((1, 4, 4), broadcastable=(True, False, False))),
    Case("pool_column", partial(pool_2d, ws=(2, 1), ignore_border=True),
         (In((4, 1), broadcastable=(False, True)),), partial(pool, ws=(2, 1)),
         pattern=(False, False)),
    Case("pool_nan", partial(pool_2d, ws=(2, 2), ignore_border=True),
         (In(values=[[1.0, np.nan, 2.0, 3.0], [0.0, 1.0, -np.inf, 0.0]]),),
         lambda x: np.array([[np.nan, 3.0]]), grad=()),
    Case("pool_ds", partial(pool_2d, ds=(2, 3), ignore_border=True), (X,),
         partial(pool, ws=(2, 3))),
    Case("pool_st_padding", partial(pool_2d, ds=(3, 3), ignore_border=True, st=(1, 2),
                                    padding=(1, 2)), (X,),
         partial(pool, ws=(3, 3), stride=(1, 2), pad=(1, 2))),
    Case("pool_one_number", partial(pool_2d, ws=3, ignore_border=True), (X,),
         partial(pool, ws=(3, 3))),
    Case("pool_constant_window", lambda x: pool_2d(x, T.constant([2, 3]), True), (X,),
         partial(pool, ws=(2, 3))),
    Case("pool_symbolic", lambda x, ws: pool_2d(x, ws, True), (X, In(values=[2, 3], dtype="int64")),
         lambda x, ws: pool(x, tuple(ws)), grad=(0,)),
    *(Case(f"pool_symbolic_{mode}",
           lambda x, ws, st, pad, mode=mode: pool_2d(x, ws, True, st, pad, mode),
           (X, In(values=[3, 2], dtype="int32"), In(values=[1, 2], dtype="int64"),
            In(values=[2, 1], dtype="int64")),
           lambda x, ws, st, pad, mode=mode: pool(x, (3, 2), True, (1, 2), (2, 1), mode), grad=(0,))
      for mode in MODES),
    # rule 22
    Case("pool_ties", lambda x: T.grad(pool_2d(x, (2, 2), True, (1, 1)).sum(), x),
         (In(values=[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]),),
         lambda x: np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]), grad=()),
    *(Case(f"pool_{mode}_second_order", partial(second_order, mode=mode), (In((1, 1, 5, 4)),),
           partial(second_order_by_hand, mode=mode), rtol=1e-5) for mode in MODES),
    Case("pool_same_size", partial(max_pool_2d_same_size, patch_size=(2, 3)), (X,),
         lambda x: np.where(_spread(pool(x, (2, 3)), x.shape, (2, 3)) == x, x, 0)),
    # the gradient goes by marks where the image is computed and used for nothing else
    *(Case(f"pool_of_computed_{ws[0]}x{ws[1]}",
           lambda x, ws=ws: pool_2d(x * 2, ws, ignore_border=True), (In((2, 3, 9, 38)),),
           lambda x, ws=ws: pool(x * 2, ws)) for ws in ((2, 2), (3, 2), (2, 4), (1, 3), (8, 1))),
    Case("pool_of_computed_whole", lambda x: pool_2d(x * 2, (2, 2), ignore_border=True),
         (In((3, 2, 4, 70)),), lambda x: pool(x * 2, (2, 2))),
    Case("pool_of_computed_float32", lambda x: T.grad(
             (pool_2d(x * 2, (2, 2), ignore_border=True) ** 2).sum(), x),
         (In((3, 2, 4, 24), "float32"),), lambda x: _squares(x), rtol=1e-6),
    Case("pool_of_computed_ties", lambda x: T.grad(
             pool_2d(x * 2, (2, 2), ignore_border=True).sum(), x),
         (In(values=[[1.0, 1.0, np.nan, 2.0], [1.0, 0.0, -np.inf, 0.0]]),),
         lambda x: np.array([[2.0, 2.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]]), grad=()),
    Case("pool_marks", lambda x: MARKED(x)[1],
         (In(values=[[1.0, 1.0, np.nan, 2.0, 9.0], [1.0, 0.0, -np.inf, 0.0, 9.0]]),),
         lambda x: np.array([[7, 0]], "uint8"), grad=(), dtype="uint8"),
    Case("pool_marks_grad",
         lambda x, marks, g: MaxPoolMarksGrad("max", True, (2, 2), (2, 2), (0, 0))(x, marks, g),
         (In((2, 5)), In((1, 2), "uint8", 0, 15), In((1, 2))),
         lambda x, marks, g: _from_marks(x, marks, g), grad=()),
    # 0.6 to 0.8: partial windows are the default
    Case("downsample", lambda x: max_pool_2d(x, (2, 2)), (X,), partial(pool, ignore=False)),
    Case("downsample_ignore", lambda x: max_pool_2d(x, ds=(2, 2), ignore_border=True, st=(1, 1)),
         (X,), partial(pool, stride=(1, 1))),
    # DeepLearningTutorials, lenet: the two pools of RandomState(1).rand(3, 2, 5, 5)
    Case("pool_tutorial", lambda x: pool_2d(x, (2, 2), ignore_border=True)[0, 0],
         (In(values=np.random.RandomState(1).rand(3, 2, 5, 5)),),
         lambda x: np.array([[0.72032449, 0.39676747], [0.6852195, 0.87811744]]), rtol=1e-7),
]  # fmt: skip


def _squares(x: np.ndarray) -> np.ndarray:
    """The gradient of the sum of squares of the maxima of 2 x, windows 2 by 2."""
    best = pool(2 * x, (2, 2))
    return np.where(_spread(best, x.shape, (2, 2)) == 2 * x, 8 * x, 0).astype(x.dtype)


def _from_marks(x: np.ndarray, marks: np.ndarray, g: np.ndarray) -> np.ndarray:
    """What each element of windows 2 by 2 gets of g."""
    assert marks.shape == g.shape == (x.shape[0] // 2, x.shape[1] // 2)
    out = np.zeros(x.shape)
    for at in np.ndindex(*marks.shape):
        for k in range(4):
            if marks[at] >> k & 1:
                out[2 * at[0] + k // 2, 2 * at[1] + k % 2] = g[at]
    return out


def _spread(y: np.ndarray, shape: tuple[int, ...], ws: tuple[int, int]) -> np.ndarray:
    """Each pooled value over its window; NaN where no window is."""
    out = np.full(shape, np.nan)
    large = y.repeat(ws[0], -2).repeat(ws[1], -1)
    out[..., : large.shape[-2], : large.shape[-1]] = large
    return out


def late(build: Callable[..., Any], *window: int) -> Any:
    x, w = T.dmatrix("x"), T.lvector("w")
    return build(x, w).eval({x: np.zeros((4, 4)), w: np.array(window)})


FAILURES = [
    Failure("pool_vector", lambda: pool_2d(T.dvector("x"), (2, 2), True), NotImplementedError,
            ("2 dimensions",)),
    Failure("pool_mode", lambda: pool_2d(T.dmatrix(), (2, 2), True, mode="mean"), ValueError,
            ("mean", "average_inc_pad")),
    Failure("pool_pad_without_ignore", lambda: pool_2d(T.dmatrix(), (2, 2), False, pad=(1, 1)),
            NotImplementedError, ("ignore_border=True",)),
    Failure("pool_pad_too_large", lambda: pool_2d(T.dmatrix(), (2, 2), True, pad=(0, 2)),
            NotImplementedError, ("padding",)),
    Failure("pool_no_window", lambda: pool_2d(T.dmatrix(), ignore_border=True), ValueError,
            ("ws",)),
    Failure("pool_both_names", lambda: pool_2d(T.dmatrix(), (2, 2), True, ds=(2, 2)), ValueError,
            ("ws and ds",)),
    Failure("pool_unsaid_border", lambda: pool_2d(T.dmatrix(), (2, 2)), UserWarning,
            ("ignore_border",)),
    Failure("pool_float_window", lambda: pool_2d(T.dmatrix(), (2.0, 2), True), TypeError,
            ("ints",)),
    Failure("pool_three_numbers", lambda: pool_2d(T.dmatrix(), (2, 2, 2), True), ValueError,
            ("length 2",)),
    Failure("pool_empty_window", lambda: pool_2d(T.dmatrix(), (2, 0), True), ValueError,
            ("positive",)),
    Failure("pool_average_of_ints",
            lambda: pool_2d(T.imatrix("x"), (2, 2), True, mode="average_inc_pad"), TypeError,
            ("int32", "cast")),
    Failure("pool_late_window", lambda: late(lambda x, w: pool_2d(x, w, True), 2, 0), ValueError,
            ("positive",)),
]  # fmt: skip
