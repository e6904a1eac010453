"""Records of windows, patches of images, interpolation, and 3-d pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.ops.windows import OverlapAdd, Windows, crop_axis, pad_axis
from symgraph.tensor.nnet.abstract_conv import (
    bilinear_kernel_1D,
    bilinear_kernel_2D,
    bilinear_upsampling,
    frac_bilinear_upsampling,
)
from symgraph.tensor.nnet.neighbours import images2neibs, neibs2images
from symgraph.tensor.signal.pool import pool_3d
from tests.zoo.case import Case, Failure, In
from tests.zoo.conv3d import called

V, M, IMAGES = In((9,)), In((3, 7)), In((2, 2, 6, 6))


def windows(x: np.ndarray, axis: int, width: int, stride: int, dilation: int) -> np.ndarray:
    reach = (width - 1) * dilation + 1
    starts = range(0, x.shape[axis] - reach + 1, stride)
    cut = [x.take(range(i, i + reach, dilation), axis) for i in starts]
    return np.stack(cut, axis)


def overlapped(w: np.ndarray, axis: int, size: int, stride: int, dilation: int) -> np.ndarray:
    w = np.moveaxis(w, (axis, axis + 1), (0, 1))
    out = np.zeros((size, *w.shape[2:]))
    for i, j in np.ndindex(*w.shape[:2]):
        out[i * stride + j * dilation] += w[i, j]
    return np.moveaxis(out, 0, axis)


def patches(x: np.ndarray, shape: Any, step: Any = None, mode: str = "valid") -> np.ndarray:
    """The docstring's loops: images, channels, rows, columns."""
    (r, c), (dr, dc) = shape, step or shape
    pads = {"half": (r // 2, c // 2), "full": (r - 1, c - 1), "wrap_centered": (r // 2, c // 2)}
    a, b = pads.get(mode, (0, 0))
    kind = "wrap" if mode == "wrap_centered" else "constant"
    x = np.pad(x, [(0, 0), (0, 0), (a, a), (b, b)], kind)
    return np.array([
        image[i : i + r, j : j + c].ravel()
        for images in x
        for image in images
        for i in range(0, image.shape[0] - r + 1, dr)
        for j in range(0, image.shape[1] - c + 1, dc)
    ])  # fmt: skip


def neibs(*args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda x: images2neibs(x, *args, **options)


def loops(*args: Any, **options: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: patches(x, *args, **options)


def interpolated(x: np.ndarray, up: int, down: int, axis: int) -> np.ndarray:
    """At (i * down - (up - 1) // 2) / up, by NumPy's interpolation, which repeats the edges."""
    n = x.shape[axis]
    places = (np.arange((n * up - 1) // down + 1) * down - (up - 1) // 2) / up
    return np.apply_along_axis(lambda line: np.interp(places, np.arange(n), line), axis, x)


def upsampled(x: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    return interpolated(interpolated(x, *rows, 2), *columns, 3)


def pooled(
    x: np.ndarray, ws: Any, ignore: bool, stride: Any = None, pad: Any = (0, 0, 0),
    mode: str = "max",
) -> np.ndarray:  # fmt: skip
    """Window by window, whatever they share."""
    stride = stride or ws
    size = []
    for n, w, s, p in zip(x.shape[-3:], ws, stride, pad, strict=True):
        n += 2 * p
        overlap = max(0, (n - 1 - w + s) // s) + 1
        size.append((n - w) // s + 1 if ignore else (n - 1) // s + 1 if s >= w else overlap)
    out = np.zeros((*x.shape[:-3], *size))
    for place in np.ndindex(*size):
        inside, padded = [], 1
        for i, n, w, s, p in zip(place, x.shape[-3:], ws, stride, pad, strict=True):
            start = i * s - p
            inside.append(slice(max(start, 0), min(start + w, n)))
            padded *= min(start + w, n + p) - start
        window = x[(..., *inside)].reshape(*x.shape[:-3], -1)
        if mode == "average_inc_pad":
            out[(..., *place)] = window.sum(-1) / padded
        else:
            kind = {"max": np.max, "sum": np.sum, "average_exc_pad": np.mean}[mode]
            out[(..., *place)] = kind(window, -1)
    return out


def pool(*args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda x: pool_3d(x, *args, **options)


STRIDED: dict[str, Any] = {"stride": (2, 1, 2), "pad": (1, 2, 0)}
CASES: list[Case] = [
    Case("windows", lambda x: Windows(0)(x, 3, 2), (V,), lambda x: windows(x, 0, 3, 2, 1),
         pattern=(False, False)),
    Case("windows_dilated", lambda x: Windows(1, 2)(x, 3, 1), (M,),
         lambda x: windows(x, 1, 3, 1, 2)),
    Case("windows_symbolic", lambda x, n: Windows(1)(x, n[0], n[1]),
         (M, In((2,), "int64", values=[2, 3])), lambda x, n: windows(x, 1, *n, 1)),
    Case("windows_of_one", lambda x: Windows(1)(x, 1, 2), (M,), lambda x: windows(x, 1, 1, 2, 1),
         pattern=(False, False, True)),
    Case("windows_squared", lambda x: T.sqr(Windows(0)(x, 4, 1)).sum(1), (V,),
         lambda x: (windows(x, 0, 4, 1, 1) ** 2).sum(1)),
    Case("overlap_add", lambda w: OverlapAdd(0)(w, 9, 2), (In((4, 3, 2)),),
         lambda w: overlapped(w, 0, 9, 2, 1)),
    Case("overlap_add_dilated", lambda w: OverlapAdd(1, 3)(w, 8, 1), (In((2, 2, 3)),),
         lambda w: overlapped(w, 1, 8, 1, 3)),
    Case("overlap_add_gaps", lambda w: OverlapAdd(0)(w, 12, 5), (In((2, 3)),),
         lambda w: overlapped(w, 0, 12, 5, 1)),
    Case("pad_axis", lambda x: pad_axis(x, 1, 2, T.constant(1)), (M,),
         lambda x: np.pad(x, [(0, 0), (2, 1)]), pattern=(False, False)),
    Case("crop_axis", lambda x: crop_axis(x, 0, 2, 4), (V,), lambda x: x[2:6]),
    Case("neibs", neibs((2, 3)), (IMAGES,), loops((2, 3)), pattern=(False, False)),
    Case("neibs_step", neibs((2, 2), (1, 2)), (IMAGES,), loops((2, 2), (1, 2))),
    Case("neibs_ignore", neibs((4, 4), mode="ignore_borders"), (IMAGES,),
         loops((4, 4), mode="ignore_borders")),
    Case("neibs_half", neibs((3, 3), (1, 1), "half"), (IMAGES,), loops((3, 3), (1, 1), "half")),
    Case("neibs_full", neibs((3, 3), (1, 1), "full"), (IMAGES,), loops((3, 3), (1, 1), "full")),
    Case("neibs_wrap", neibs((3, 3), (1, 2), "wrap_centered"), (IMAGES,),
         loops((3, 3), (1, 2), "wrap_centered")),
    Case("neibs_symbolic", lambda x, n: images2neibs(x, n),
         (IMAGES, In((2,), "int64", values=[2, 3])), lambda x, n: patches(x, tuple(n))),
    Case("neibs_back", lambda x: neibs2images(images2neibs(x, (2, 3)), (2, 3), x.shape), (IMAGES,),
         lambda x: x),
    Case("neibs_back_ignored", lambda x: neibs2images(
        images2neibs(x, (4, 4), mode="ignore_borders"), (4, 4), x.shape, "ignore_borders"),
         (IMAGES,), lambda x: np.pad(x[..., :4, :4], [(0, 0), (0, 0), (0, 2), (0, 2)])),
    Case("upsampled", lambda x: bilinear_upsampling(x, 3), (In((2, 1, 3, 4)),),
         lambda x: upsampled(x, (3, 1), (3, 1)), dtype="float64"),
    Case("upsampled_even", lambda x: bilinear_upsampling(x, T.constant(4), use_1D_kernel=False),
         (In((1, 2, 1, 3)),), lambda x: upsampled(x, (4, 1), (4, 1))),
    Case("upsampled_fraction",
         lambda x: bilinear_upsampling(x, frac_ratio=(6, 4), use_1D_kernel=False),
         (In((2, 1, 3, 4)),), lambda x: upsampled(x, (3, 2), (3, 2))),
    Case("upsampled_two", lambda x: frac_bilinear_upsampling(x, ((2, 3), (7, 2))),
         (In((1, 1, 5, 4)),), lambda x: upsampled(x, (2, 3), (7, 2))),
    Case("kernel_1d", lambda n: bilinear_kernel_1D(n), (In(values=3, dtype="int64"),),
         lambda n: np.array([1, 2, 3, 2, 1]) / 3, grad=()),
    Case("kernel_2d", lambda n: bilinear_kernel_2D((n, 1), normalize=False),
         (In(values=2, dtype="int64"),), lambda n: np.array([[1.0], [2], [1]]), grad=()),
    Case("pool3d", pool((2, 3, 2), ignore_border=True, **STRIDED), (In((2, 1, 4, 4, 5)),),
         lambda x: pooled(x, (2, 3, 2), True, **STRIDED)),
    Case("pool3d_partial", pool(2, ignore_border=False), (In((3, 4, 5)),),
         lambda x: pooled(x, (2, 2, 2), False)),
    Case("pool3d_sum", pool((2, 3, 2), True, mode="sum", **STRIDED), (In((1, 4, 4, 5)),),
         lambda x: pooled(x, (2, 3, 2), True, mode="sum", **STRIDED)),
    Case("pool3d_average", pool((2, 3, 2), True, mode="average_exc_pad", **STRIDED),
         (In((1, 4, 4, 5)),),
         lambda x: pooled(x, (2, 3, 2), True, mode="average_exc_pad", **STRIDED)),
    Case("pool3d_average_pad", pool((2, 3, 2), True, mode="average_inc_pad", **STRIDED),
         (In((1, 4, 4, 5)),),
         lambda x: pooled(x, (2, 3, 2), True, mode="average_inc_pad", **STRIDED)),
    Case("pool3d_symbolic", lambda x, n: pool_3d(x, n, True), (In((1, 4, 4, 5)),
         In((3,), "int64", values=[2, 1, 3])), lambda x, n: pooled(x, tuple(n), True)),
]  # fmt: skip

IMAGE = np.ones((1, 1, 6, 6))
FAILURES = [
    Failure("windows_too_wide", called(lambda x: Windows(0)(x, 4, 1), np.ones(3)), ValueError,
            ("no window fits", "size 3")),
    Failure("windows_step", called(lambda x: Windows(0)(x, 2, 0), np.ones(3)), ValueError,
            ("at every 0",)),
    Failure("overlap_count", called(lambda w: OverlapAdd(0)(w, 9, 2), np.ones((3, 3))), ValueError,
            ("3 windows", "4 windows")),
    Failure("neibs_rest", called(neibs((4, 4)), IMAGE), TypeError, ("not consistent", "size 6")),
    Failure("neibs_large", called(neibs((7, 2)), IMAGE), TypeError, ("not consistent",)),
    Failure("neibs_even", lambda: images2neibs(T.dtensor4(), (2, 2), None, "wrap_centered"),
            TypeError, ("odd sizes",)),
    Failure("neibs_mode", lambda: images2neibs(T.dtensor4(), (2, 2), mode="nope"),
            NotImplementedError, ("nope",)),
    Failure("neibs_axes", lambda: images2neibs(T.dtensor3(), (2, 2)), TypeError, ("4 axes",)),
    Failure("neibs_back_mode",
            lambda: neibs2images(T.dmatrix(), (2, 2), (1, 1, 4, 4), "half"),
            NotImplementedError, ("half",)),
    Failure("neibs_back_rest",
            called(lambda m: neibs2images(m, (4, 4), (1, 1, 6, 6)), np.ones((1, 16))), ValueError,
            ("cannot reshape",)),
    Failure("upsampled_twice", lambda: bilinear_upsampling(T.dtensor4(), 2, (3, 2)), ValueError,
            ("one of the two",)),
    Failure("upsampled_by_nothing", lambda: bilinear_upsampling(T.dtensor4()), ValueError,
            ("No ratio",)),
    Failure("upsampled_1d_fraction", lambda: bilinear_upsampling(T.dtensor4(), frac_ratio=(3, 2)),
            ValueError, ("use_1D_kernel=False",)),
    Failure("upsampled_symbolic", lambda: bilinear_upsampling(T.dtensor4(), T.iscalar()),
            ValueError, ("positive constants",)),
    Failure("upsampled_axes", lambda: bilinear_upsampling(T.dtensor3(), 2), TypeError, ("4D",)),
    Failure("pool3d_axes", lambda: pool_3d(T.dmatrix(), 2, True), NotImplementedError,
            ("3 dimensions",)),
    Failure("pool3d_ws", lambda: pool_3d(T.dtensor3(), (2, 2), True), ValueError, ("length 3",)),
]  # fmt: skip
