"""Every family of kernels on the device against NumPy in float64: is it right at all?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import symgraph
from benchmarks import data
from symgraph import tensor as T

Pairs = list[tuple[Any, Any]]
"""Expressions, and what NumPy gives for each."""


def error(family: str, size: int) -> float:
    """The largest difference from NumPy of any result of a family, over the largest value of that
    result, for about `size` rows. Each result is computed twice, the second time by a graph; NaN
    where the two differ."""
    found = FAMILIES[family](size)
    function = symgraph.function([], [expr for expr, _ in found], no_default_updates=True)
    first, second = function(), function()
    worst = 0.0
    for (_, wanted), one, other in zip(found, first, second, strict=True):
        if not np.array_equal(one, other):
            return float("nan")
        wide = np.asarray(wanted, "float64")
        worst = max(worst, float(np.abs(one - wide).max() / max(np.abs(wide).max(), 1e-30)))
    return worst


def _pair(*shape: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    """A shared variable of these sizes, and its value in float64."""
    value = data.values(shape, seed)
    return symgraph.shared(value), value.astype("float64")


def elementwise(n: int) -> Pairs:
    x, a = _pair(n, 37)
    y, b = _pair(37, seed=1)
    return [
        (T.tanh(x) * y + T.exp(-(x**2)), np.tanh(a) * b + np.exp(-(a**2))),
        (T.switch(x > y, T.sqrt(abs(x)), x[::-1]), np.where(a > b, np.sqrt(abs(a)), a[::-1])),
        (T.cast(x.T * 3, "int32"), np.trunc(a.T.astype("float32") * np.float32(3))),
    ]


def reductions(n: int) -> Pairs:
    x, a = _pair(n, 37)
    return [
        (x.sum(), a.sum()), (x.sum(0), a.sum(0)), (x.mean(1), a.mean(1)), (x.max(), a.max()),
        (T.argmax(x, 1), a.argmax(1)), ((x**2).sum(axis=0), (a**2).sum(0)),
    ]  # fmt: skip


def softmax(n: int) -> Pairs:
    x, a = _pair(n, 10)
    labels = data.labels(n, 10)
    p = np.exp(a - a.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    y = symgraph.shared(labels)
    cost = -T.mean(T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y])
    return [
        (T.nnet.softmax(x), p),
        (cost, -np.log(p[np.arange(n), labels]).mean()),
        (T.grad(cost, x), (p - np.eye(10)[labels]) / n),
    ]


def gemm(n: int) -> Pairs:
    x, a = _pair(n, 83)
    y, b = _pair(83, 131, seed=1)
    z, c = _pair(n, 131, seed=2)
    return [
        (T.dot(x, y), a @ b), (T.dot(x.T, z), a.T @ c), (T.dot(z, y.T), c @ b.T),
        (T.dot(x, y[:, 0]), a @ b[:, 0]), (z - T.dot(x, y), c - a @ b),
    ]  # fmt: skip


def _convolved(
    a: np.ndarray, w: np.ndarray, g: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cross-correlation, and the gradients by images and by filters for the gradient g."""
    h, k = a.shape[2], w.shape[2]
    windows = sliding_window_view(a, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    top = np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)
    by_filters = np.einsum("nchwij,nohw->ocij", windows, g, optimize=True)
    by_images = np.zeros_like(a)
    for i in range(k):
        for j in range(k):
            part = np.einsum("nohw,oc->nchw", g, w[:, :, i, j], optimize=True)
            by_images[:, :, i : h - k + 1 + i : stride, j : h - k + 1 + j : stride] += part
    return top, by_images, by_filters


def _convolutions(n: int, c: int, size: int, o: int, k: int, stride: int) -> Pairs:
    images, filters, gradient = data.convolution(n, c, size, o, k, stride, 0)
    x, w, g = map(symgraph.shared, (images, filters, gradient))
    y = T.nnet.conv2d(
        x, w, input_shape=(None, c, size, size), filter_shape=(o, c, k, k),
        subsample=(stride, stride), filter_flip=False,
    )  # fmt: skip
    wide_x, wide_w, wide_g = (array.astype("float64") for array in (images, filters, gradient))
    expected = _convolved(wide_x, wide_w, wide_g, stride)
    given = T.grad(None, [x, w], known_grads={y: g})
    return list(zip((y, *given), expected, strict=True))


def convolution(n: int) -> Pairs:
    return _convolutions(max(n // 10, 2), 3, 12, 10, 5, 1)


def strided_convolution(n: int) -> Pairs:
    return _convolutions(max(n // 10, 2), 2, 11, 5, 3, 2)


def pooling(n: int) -> Pairs:
    x, a = _pair(max(n // 10, 2), 3, 8, 8)
    g, b = _pair(max(n // 10, 2), 3, 4, 4, seed=1)
    y = T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)
    tiles = a.reshape(*a.shape[:2], 4, 2, 4, 2)
    top = tiles.max((3, 5), keepdims=True)
    by_x = ((tiles == top) * b.reshape(top.shape)).reshape(a.shape)
    mean = T.signal.pool.pool_2d(x, (2, 2), ignore_border=True, mode="average_exc_pad")
    return [
        (y, top.reshape(b.shape)), (T.grad(None, x, known_grads={y: g}), by_x),
        (mean, tiles.mean((3, 5))),
    ]  # fmt: skip


def indexing(n: int) -> Pairs:
    x, a = _pair(n, 7)
    rows = data.labels(n, n)
    i = symgraph.shared(rows)
    added = a.copy()
    np.add.at(added, rows, a)
    return [
        (x[i], a[rows]), (x[2:-1:3, 1:], a[2:-1:3, 1:]), (T.inc_subtensor(x[i], x), added),
        (T.concatenate([x, x[:, :2]], axis=1), np.concatenate([a, a[:, :2]], axis=1)),
    ]  # fmt: skip


def sorting(n: int) -> Pairs:
    x, a = _pair(n, 7)
    return [
        (T.sort(x, axis=0), np.sort(a, axis=0)),
        (T.argsort(x, axis=1), np.argsort(a, axis=1, kind="stable")),
    ]


def random_numbers(n: int) -> Pairs:
    """The bits of the CPU."""
    from symgraph.tensor.random import RandomStreams

    with symgraph.config.change_flags(device="cpu"):
        wanted = symgraph.function([], RandomStreams(7).uniform((n, 7)), no_default_updates=True)()
    return [(RandomStreams(7).uniform((n, 7)), wanted)]


def scan(n: int) -> Pairs:
    x, a = _pair(5, max(n // 10, 2))
    sums, _ = symgraph.scan(lambda row, total: T.tanh(total + row), x, T.zeros_like(x[0]))
    states = [np.zeros_like(a[0])]
    for row in a:
        states.append(np.tanh(states[-1] + row))
    return [(sums, np.stack(states[1:]))]


FAMILIES: dict[str, Callable[[int], Pairs]] = {
    function.__name__.replace("_", " "): function
    for function in (
        elementwise, reductions, softmax, gemm, convolution, strided_convolution, pooling,
        indexing, sorting, random_numbers, scan,
    )
}  # fmt: skip
