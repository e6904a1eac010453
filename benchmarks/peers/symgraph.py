"""symgraph, as its users write it; data in shared variables, minibatches sliced by an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

import symgraph
from benchmarks import data
from symgraph import tensor as T

Step = Callable[[], Any]


def _flipped(filters: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(filters[:, :, ::-1, ::-1])


def _minibatches(x: Any, y: Any, batch: int) -> tuple[Any, dict[Any, Any]]:
    images, targets = data.digits(batch)
    if x.ndim == 4:
        images = images.reshape(len(images), 1, 28, 28)
    index: Any = T.lscalar("index")
    rows = slice(index * batch, (index + 1) * batch)
    return index, {x: symgraph.shared(images)[rows], y: symgraph.shared(targets)[rows]}


def _in_turn(function: Callable[[int], Any]) -> Step:
    numbers = count()
    return lambda: function(next(numbers) % data.BATCHES)


def _loss(logits: Any, y: Any) -> Any:
    return -T.mean(T.log(T.nnet.softmax(logits))[T.arange(y.shape[0]), y])


def _descent(cost: Any, params: list[Any]) -> list[Any]:
    gradients = zip(params, T.grad(cost, params), strict=True)
    return [(p, p - np.float32(data.RATE) * g) for p, g in gradients]


def training(cost: Any, params: list[Any], x: Any, y: Any, batch: int) -> Any:
    """A function of a minibatch's number: it makes an SGD step and gives the cost."""
    index, givens = _minibatches(x, y, batch)
    return symgraph.function([index], cost, updates=_descent(cost, params), givens=givens)


def _sgd(cost: Any, params: list[Any], x: Any, y: Any, batch: int) -> Step:
    return _in_turn(training(cost, params, x, y, batch))


class Peer:
    """See `benchmarks.peers`."""

    def __init__(self, variant: str, threads: int) -> None:
        symgraph.config.floatX = "float32"

    def _result(self, value: Any) -> Any:
        """What a function is to give of `value`."""
        return value

    @staticmethod
    def digest(result: Any) -> list[np.ndarray]:
        return [np.asarray(r) for r in (result if isinstance(result, list) else [result])]

    # ---- networks

    def _lenet(self) -> Any:
        from lenet.models.tutorial import tutorial
        from lenet.network import Model

        model = Model("tutorial", tutorial(), np.random.RandomState(0), (1, 28, 28), "0123456789")
        w0, b0, w1, b1, *dense = data.lenet()
        values = [_flipped(w0), b0, _flipped(w1), b1, *dense]
        for p, value in zip(model.params.values(), values, strict=True):
            p.set_value(value)
        return model

    def lenet_step(self, batch: int) -> Step:
        model = self._lenet()
        cost = self._result(model.cost)
        return _sgd(cost, [*model.params.values()], model.x, model.y, batch)

    def lenet_forward(self, batch: int) -> Step:
        model = self._lenet()
        index, givens = _minibatches(model.x, model.y, batch)
        return _in_turn(
            symgraph.function([index], model.probabilities, givens={model.x: givens[model.x]})
        )

    def network_step(self, sizes: Sequence[int], batch: int) -> Step:
        x: Any = T.matrix("x")
        y: Any = T.ivector("y")
        params = [symgraph.shared(p) for p in data.dense(sizes)]
        layer: Any = x
        for k in range(0, len(params), 2):
            layer = T.tanh(layer) if k else layer
            layer = T.dot(layer, params[k]) + params[k + 1]
        return _sgd(_loss(layer, y), params, x, y, batch)

    def lstm_step(self, steps: int, batch: int, inputs: int, units: int) -> Step:
        sequences, targets = data.sequences(steps, batch, inputs)
        x, y = symgraph.shared(sequences), symgraph.shared(targets)
        params = [symgraph.shared(p) for p in data.lstm(inputs, units)]
        w, u, b, v, c = params

        def advance(z: Any, hidden: Any, cell: Any) -> list[Any]:
            z = z + T.dot(hidden, u)
            i, f, g, o = (z[:, k * units : (k + 1) * units] for k in range(4))
            cell = T.nnet.sigmoid(f) * cell + T.nnet.sigmoid(i) * T.tanh(g)
            return [T.nnet.sigmoid(o) * T.tanh(cell), cell]

        zero = T.zeros((x.shape[1], units))
        (hidden, _), _ = symgraph.scan(advance, T.dot(x, w) + b, outputs_info=[zero, zero])
        cost = _loss(T.dot(hidden[-1], v) + c, y)
        return symgraph.function([], cost, updates=_descent(cost, params))

    # ---- convolution, products, pooling

    def _conv(self, pick: int, n: int, c: int, size: int, o: int, k: int, s: int, p: int) -> Step:
        x, w, g = map(symgraph.shared, data.convolution(n, c, size, o, k, s, p))
        y = T.nnet.conv2d(
            x, w, input_shape=(None, c, size, size), filter_shape=(o, c, k, k),
            border_mode=(p, p), subsample=(s, s), filter_flip=False,
        )  # fmt: skip
        wanted = y if pick == 0 else T.grad(None, [w, x][pick - 1], known_grads={y: g})
        return symgraph.function([], self._result(wanted))

    def conv_forward(self, *shape: int) -> Step:
        return self._conv(0, *shape)

    def conv_grad_weights(self, *shape: int) -> Step:
        return self._conv(1, *shape)

    def conv_grad_inputs(self, *shape: int) -> Step:
        return self._conv(2, *shape)

    def gemm(self, m: int, k: int, n: int, ta: bool, tb: bool, dtype: str) -> Step:
        a = symgraph.shared(data.values((k, m) if ta else (m, k), 0, dtype))
        b = symgraph.shared(data.values((n, k) if tb else (k, n), 1, dtype))
        return symgraph.function([], self._result(T.dot(a.T if ta else a, b.T if tb else b)))

    def pool(self, n: int, c: int, size: int, gradient: bool) -> Step:
        x = symgraph.shared(data.values((n, c, size, size)))
        y = T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)
        if not gradient:
            return symgraph.function([], y)
        g = symgraph.shared(data.values((n, c, size // 2, size // 2), 1))
        return symgraph.function([], [y, T.grad(None, x, known_grads={y: g})])

    # ---- elementwise, reductions, softmax, calls

    def stream(self, n: int) -> Step:
        a, b, c = (symgraph.shared(data.values((n,), seed)) for seed in range(3))
        return symgraph.function([], [], updates=[(c, a + b)])

    def chain(self, n: int) -> Step:
        x = symgraph.shared(data.values((n,)))
        return symgraph.function([], T.tanh(np.float32(0.5) * x + np.float32(0.25)) * x)

    def reduction(self, kind: str, rows: int, columns: int) -> Step:
        x = symgraph.shared(data.values((rows, columns)))
        results = {
            "sum": lambda: x.sum(), "max": lambda: x.max(),
            "sum of axis 0": lambda: x.sum(0), "sum of axis 1": lambda: x.sum(1),
        }  # fmt: skip
        return symgraph.function([], results[kind]())

    def cross_entropy(self, rows: int, classes: int) -> Step:
        z = symgraph.shared(data.values((rows, classes)))
        y = symgraph.shared(data.labels(rows, classes))
        cost = _loss(z, y)
        return symgraph.function([], [cost, T.grad(cost, z)])

    def add_scalars(self) -> Step:
        a: Any
        b: Any
        a, b = T.dscalars("a", "b")
        add = symgraph.function([a, b], a + b)
        one, two = np.array(1.0), np.array(2.0)
        return lambda: add(one, two)

    # ---- many nodes

    def deep_chain(self, links: int) -> Step:
        x: Any = T.matrix("x")
        v = x
        for _ in range(links):
            v = T.tanh(v * x + x)
        return _with(symgraph.function([x], v), data.values((3, 3)))

    def deep_network(self, layers: int) -> Step:
        x: Any = T.matrix("x")
        params = []
        v = x
        for _ in range(layers):
            w = symgraph.shared(np.eye(3, dtype="float32"))
            b = symgraph.shared(np.zeros(3, "float32"))
            params += [w, b]
            v = T.nnet.sigmoid(T.dot(v, w) + b)
        cost = -T.mean(T.log(v))
        return _with(symgraph.function([x], [cost, *T.grad(cost, params)]), data.values((3, 3)))


def _with(function: Callable[[np.ndarray], Any], x: np.ndarray) -> Step:
    return lambda: function(x)
