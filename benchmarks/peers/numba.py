"""Loops written by hand for Numba, as one does without a framework: forward, backward, update.

Products are OpenBLAS's, which Numba takes from SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit

from benchmarks import data

Step = Callable[[], Any]


class Peer:
    """See `benchmarks.peers`."""

    def __init__(self, variant: str, threads: int) -> None: ...

    @staticmethod
    def digest(result: Any) -> list[np.ndarray]:
        return [np.asarray(result)]

    def lstm_step(self, steps: int, batch: int, inputs: int, units: int) -> Step:
        x, y = data.sequences(steps, batch, inputs)
        params, train = data.lstm(inputs, units), cast("Any", _lstm)
        return lambda: train(x, y, *params, np.float32(data.RATE))


@njit(fastmath=True, error_model="numpy", cache=True)
def _lstm(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, u: np.ndarray, b: np.ndarray, v: np.ndarray,
    c: np.ndarray, rate: np.float32,
) -> np.float32:  # fmt: skip
    """One step of gradient descent, in place. `gates` becomes the gradient by what the gates'
    functions take."""
    steps, rows, inputs = x.shape
    units, one = len(u), np.float32(1)
    flat = x.reshape(steps * rows, inputs)
    gates = np.dot(flat, w).reshape(steps, rows, 4 * units)
    hidden = np.zeros((steps + 1, rows, units), np.float32)
    cells = np.zeros((steps + 1, rows, units), np.float32)
    for t in range(steps):
        product = np.dot(hidden[t], u)
        for r in range(rows):
            z, p, cell = gates[t, r], product[r], cells[t, r]
            for j in range(units):
                i = one / (one + np.exp(-(z[j] + p[j] + b[j])))
                k = j + units
                f = one / (one + np.exp(-(z[k] + p[k] + b[k])))
                k += units
                g = np.tanh(z[k] + p[k] + b[k])
                k += units
                o = one / (one + np.exp(-(z[k] + p[k] + b[k])))
                new = f * cell[j] + i * g
                cells[t + 1, r, j] = new
                hidden[t + 1, r, j] = o * np.tanh(new)
                z[j], z[j + units], z[j + 2 * units], z[k] = i, f, g, o

    scores = np.dot(hidden[steps], v) + c
    cost = np.float32(0)
    for r in range(rows):
        scores[r] -= scores[r].max()
        cost -= scores[r, y[r]]
        scores[r] = np.exp(scores[r])
        total = scores[r].sum()
        cost += np.log(total)
        scores[r] /= total
        scores[r, y[r]] -= one
    scores /= np.float32(rows)
    by_hidden = np.dot(scores, v.T)
    v -= rate * np.dot(hidden[steps].T, scores)
    c -= rate * scores.sum(axis=0)

    by_cell = np.zeros((rows, units), np.float32)
    turned = np.ascontiguousarray(u.T)
    for t in range(steps - 1, -1, -1):
        for r in range(rows):
            z, above = gates[t, r], by_hidden[r]
            for j in range(units):
                i, f, g, o = z[j], z[j + units], z[j + 2 * units], z[j + 3 * units]
                squashed = np.tanh(cells[t + 1, r, j])
                d = by_cell[r, j] + above[j] * o * (one - squashed * squashed)
                by_cell[r, j] = d * f
                z[j] = d * g * i * (one - i)
                z[j + units] = d * cells[t, r, j] * f * (one - f)
                z[j + 2 * units] = d * i * (one - g * g)
                z[j + 3 * units] = above[j] * squashed * o * (one - o)
        by_hidden = np.dot(gates[t], turned)

    by_gates = gates.reshape(steps * rows, 4 * units)
    w -= rate * np.dot(flat.T, by_gates)
    u -= rate * np.dot(hidden[:steps].reshape(steps * rows, units).T, by_gates)
    b -= rate * by_gates.sum(axis=0)
    return cost / np.float32(rows)
