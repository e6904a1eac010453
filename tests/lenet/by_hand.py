"""Convolutions and pooling in NumPy, forwards and backwards, for the models that tests compute."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Arrays = dict[str, np.ndarray]


def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Images (n, c, h, w) under flipped filters (o, c, i, j), where they fit whole."""
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w[:, :, ::-1, ::-1], optimize=True)


def conv_gradients(x: np.ndarray, w: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By the filters and by the images, for the gradient `g` by the convolution."""
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    by_w = np.einsum("nchwij,nohw->ocij", windows, g, optimize=True)[:, :, ::-1, ::-1]
    reach = [(k - 1, k - 1) for k in w.shape[2:]]
    around = sliding_window_view(np.pad(g, [(0, 0), (0, 0), *reach]), w.shape[2:], axis=(2, 3))
    return by_w, np.einsum("nohwij,ocij->nchw", around, w, optimize=True)


def pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of 2x2 windows, and where they were."""
    n, c, h, w = x.shape
    tiles = x.reshape(n, c, h // 2, 2, w // 2, 2)
    top = tiles.max((3, 5), keepdims=True)
    return top[:, :, :, 0, :, 0], (tiles == top)


def unpool(g: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The gradient by the pixels, for the gradient `g` by the maxima."""
    n, c, h, w = g.shape
    return (where * g[:, :, :, None, :, None]).reshape(n, c, 2 * h, 2 * w)
