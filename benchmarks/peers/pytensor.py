"""PyTensor, compiled by Numba. It has no convolution or pooling of batches of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from benchmarks import data

Step = Callable[[], Any]


def _function(inputs: list[Any], outputs: Any, **keywords: Any) -> Callable[..., Any]:
    compiled: Callable[..., Any] = pytensor.function(inputs, outputs, mode="NUMBA", **keywords)
    return compiled


def _loss(logits: Any, y: Any) -> Any:
    return -pt.mean(pt.log(pt.special.softmax(logits, axis=-1))[pt.arange(y.shape[0]), y])


def _descent(cost: Any, params: list[Any]) -> list[Any]:
    gradients = zip(params, pt.grad(cost, params), strict=True)
    return [(p, p - np.float32(data.RATE) * g) for p, g in gradients]


class Peer:
    """See `benchmarks.peers`."""

    def __init__(self, variant: str, threads: int) -> None:
        pytensor.config.floatX = "float32"

    @staticmethod
    def digest(result: Any) -> list[np.ndarray]:
        return [np.asarray(r) for r in (result if isinstance(result, list) else [result])]

    def network_step(self, sizes: Sequence[int], batch: int) -> Step:
        x, y = pt.matrix("x", dtype="float32"), pt.vector("y", dtype="int32")
        params = [pytensor.shared(p) for p in data.dense(sizes)]
        layer: Any = x
        for k in range(0, len(params), 2):
            layer = pt.tanh(layer) if k else layer
            layer = pt.dot(layer, params[k]) + params[k + 1]
        cost = _loss(layer, y)
        images, targets = data.digits(batch)
        index = pt.lscalar("index")
        rows = slice(index * batch, (index + 1) * batch)
        train = _function(
            [index], cost,
            updates=_descent(cost, params),
            givens={x: pytensor.shared(images)[rows], y: pytensor.shared(targets)[rows]},
        )  # fmt: skip
        numbers = count()
        return lambda: train(next(numbers) % data.BATCHES)

    def lstm_step(self, steps: int, batch: int, inputs: int, units: int) -> Step:
        x, y = map(pytensor.shared, data.sequences(steps, batch, inputs))
        params = [pytensor.shared(p) for p in data.lstm(inputs, units)]
        w, u, b, v, c = params

        def advance(z: Any, hidden: Any, cell: Any) -> list[Any]:
            z = z + pt.dot(hidden, u)
            i, f, g, o = (z[:, k * units : (k + 1) * units] for k in range(4))
            cell = pt.sigmoid(f) * cell + pt.sigmoid(i) * pt.tanh(g)
            return [pt.sigmoid(o) * pt.tanh(cell), cell]

        zero = pt.zeros((x.shape[1], units), dtype="float32")
        hidden, _ = pytensor.scan(
            advance, pt.dot(x, w) + b, outputs_info=[zero, zero], return_updates=False
        )
        cost = _loss(pt.dot(hidden[-1], v) + c, y)
        return _function([], cost, updates=_descent(cost, params))

    def gemm(self, m: int, k: int, n: int, ta: bool, tb: bool, dtype: str) -> Step:
        a = pytensor.shared(data.values((k, m) if ta else (m, k), 0, dtype))
        b = pytensor.shared(data.values((n, k) if tb else (k, n), 1, dtype))
        return _function([], pt.dot(a.T if ta else a, b.T if tb else b))

    def chain(self, n: int) -> Step:
        x = pytensor.shared(data.values((n,)))
        return _function([], pt.tanh(np.float32(0.5) * x + np.float32(0.25)) * x)

    def reduction(self, kind: str, rows: int, columns: int) -> Step:
        x = pytensor.shared(data.values((rows, columns)))
        results = {
            "sum": lambda: x.sum(), "max": lambda: x.max(),
            "sum of axis 0": lambda: x.sum(0), "sum of axis 1": lambda: x.sum(1),
        }  # fmt: skip
        return _function([], results[kind]())

    def cross_entropy(self, rows: int, classes: int) -> Step:
        z = pytensor.shared(data.values((rows, classes)))
        y = pytensor.shared(data.labels(rows, classes))
        cost = _loss(z, y)
        return _function([], [cost, pt.grad(cost, z)])

    def add_scalars(self) -> Step:
        a, b = pt.dscalars("a", "b")
        add = _function([a, b], a + b)
        one, two = np.array(1.0), np.array(2.0)
        return lambda: add(one, two)

    def deep_chain(self, links: int) -> Step:
        x: Any = pt.matrix("x", dtype="float32")
        v = x
        for _ in range(links):
            v = pt.tanh(v * x + x)
        function, start = _function([x], v), data.values((3, 3))
        return lambda: function(start)

    def deep_network(self, layers: int) -> Step:
        x: Any = pt.matrix("x", dtype="float32")
        v, params = x, []
        for _ in range(layers):
            w = pytensor.shared(np.eye(3, dtype="float32"))
            b = pytensor.shared(np.zeros(3, "float32"))
            params += [w, b]
            v = pt.sigmoid(pt.dot(v, w) + b)
        cost = -pt.mean(pt.log(v))
        function, start = _function([x], [cost, *pt.grad(cost, params)]), data.values((3, 3))
        return lambda: function(start)
