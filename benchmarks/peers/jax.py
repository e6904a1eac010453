"""JAX, jitted; images in its CPU's faster layout (channels last), parameters donated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import data

Step = Callable[[], Any]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def _last(images: np.ndarray) -> Any:
    return jnp.asarray(images.transpose(0, 2, 3, 1))


def _conv(x: Any, w: Any, s: int = 1, p: int = 0) -> Any:
    return lax.conv_general_dilated(x, w, (s, s), [(p, p)] * 2, dimension_numbers=LAYOUT)


def _pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _loss(logits: Any, y: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))


def _lenet(params: Sequence[Any], x: Any) -> Any:
    w0, b0, w1, b1, w2, b2, w3, b3 = params
    h = jnp.tanh(_pool(_conv(x, w0)) + b0)
    h = jnp.tanh(_pool(_conv(h, w1)) + b1)
    return jnp.tanh(h.reshape(len(x), -1) @ w2 + b2) @ w3 + b3


def _network(params: Sequence[Any], x: Any) -> Any:
    for k in range(0, len(params), 2):
        x = jnp.tanh(x) if k else x
        x = x @ params[k] + params[k + 1]
    return x


def _lstm(params: Sequence[Any], x: Any) -> Any:
    w, u, b, v, c = params

    def advance(state: tuple[Any, Any], z: Any) -> tuple[tuple[Any, Any], None]:
        hidden, cell = state
        i, f, g, o = jnp.split(z + hidden @ u, 4, axis=1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), None

    zero = jnp.zeros((x.shape[1], len(u)), x.dtype)
    (hidden, _), _ = lax.scan(advance, (zero, zero), x @ w + b)
    return hidden @ v + c


def _lenet_parameters() -> list[Any]:
    w0, b0, w1, b1, w2, *rest = data.lenet()
    # The hidden layer's rows follow the layout of the images: channels last.
    w2 = w2.reshape(50, 4, 4, 500).transpose(1, 2, 0, 3).reshape(800, 500)
    w0, w1 = (w.transpose(2, 3, 1, 0) for w in (w0, w1))
    return [jnp.asarray(p) for p in (w0, b0, w1, b1, w2, *rest)]


def _sgd(model: Callable[..., Any], params: list[Any], batches: list[Any]) -> Step:
    @partial(jax.jit, donate_argnums=0)
    def train(params: list[Any], x: Any, y: Any) -> Any:
        cost, grads = jax.value_and_grad(lambda p: _loss(model(p, x), y))(params)
        return cost, [p - data.RATE * g for p, g in zip(params, grads, strict=True)]

    state, turn = [params], cycle(batches)

    def step() -> float:
        cost, state[0] = train(state[0], *next(turn))
        return float(jax.block_until_ready((cost, state[0]))[0])

    return step


def _jitted(function: Callable[..., Any], *arrays: Any) -> Step:
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arrays))


def _batches(images: Any, batch: int) -> list[Any]:
    y = jnp.asarray(data.digits(batch)[1])
    return list(zip(jnp.split(images, data.BATCHES), jnp.split(y, data.BATCHES), strict=True))


class Peer:
    """See `benchmarks.peers`. The number of threads is that of the CPUs the process may use."""

    def __init__(self, variant: str, threads: int) -> None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)

    @staticmethod
    def digest(result: Any) -> list[np.ndarray]:
        return [np.asarray(r) for r in jax.tree.leaves(result)]

    # ---- networks

    def _digits(self, batch: int) -> list[Any]:
        return _batches(_last(data.digits(batch)[0].reshape(-1, 1, 28, 28)), batch)

    def lenet_step(self, batch: int) -> Step:
        return _sgd(_lenet, _lenet_parameters(), self._digits(batch))

    def lenet_forward(self, batch: int) -> Step:
        forward = jax.jit(lambda params, x: jax.nn.softmax(_lenet(params, x)))
        params, batches = _lenet_parameters(), cycle(self._digits(batch))
        return lambda: jax.block_until_ready(forward(params, next(batches)[0]))

    def network_step(self, sizes: Sequence[int], batch: int) -> Step:
        params = [jnp.asarray(p) for p in data.dense(sizes)]
        return _sgd(_network, params, _batches(jnp.asarray(data.digits(batch)[0]), batch))

    def lstm_step(self, steps: int, batch: int, inputs: int, units: int) -> Step:
        params = [jnp.asarray(p) for p in data.lstm(inputs, units)]
        return _sgd(_lstm, params, [tuple(map(jnp.asarray, data.sequences(steps, batch, inputs)))])

    # ---- convolution, products, pooling

    def _conv_operands(self, *shape: int) -> tuple[Any, Any, Any, Callable[..., Any]]:
        x, w, g = data.convolution(*shape)
        filters = jnp.asarray(w.transpose(2, 3, 1, 0))
        return _last(x), filters, _last(g), partial(_conv, s=shape[5], p=shape[6])

    def conv_forward(self, *shape: int) -> Step:
        x, w, _, conv = self._conv_operands(*shape)
        return _jitted(conv, x, w)

    def conv_grad_weights(self, *shape: int) -> Step:
        x, w, g, conv = self._conv_operands(*shape)
        return _jitted(lambda x, w, g: jax.vjp(lambda w: conv(x, w), w)[1](g)[0], x, w, g)

    def conv_grad_inputs(self, *shape: int) -> Step:
        x, w, g, conv = self._conv_operands(*shape)
        return _jitted(lambda x, w, g: jax.vjp(lambda x: conv(x, w), x)[1](g)[0], x, w, g)

    def gemm(self, m: int, k: int, n: int, ta: bool, tb: bool, dtype: str) -> Step:
        a = jnp.asarray(data.values((k, m) if ta else (m, k), 0, dtype))
        b = jnp.asarray(data.values((n, k) if tb else (k, n), 1, dtype))
        return _jitted(lambda a, b: (a.T if ta else a) @ (b.T if tb else b), a, b)

    def pool(self, n: int, c: int, size: int, gradient: bool) -> Step:
        x = _last(data.values((n, c, size, size)))
        if not gradient:
            return _jitted(_pool, x)
        g = _last(data.values((n, c, size // 2, size // 2), 1))

        def both(x: Any, g: Any) -> Any:
            y, pull = jax.vjp(_pool, x)
            return y, pull(g)[0]

        return _jitted(both, x, g)

    # ---- elementwise, reductions, softmax, calls

    def chain(self, n: int) -> Step:
        return _jitted(lambda x: jnp.tanh(0.5 * x + 0.25) * x, jnp.asarray(data.values((n,))))

    def reduction(self, kind: str, rows: int, columns: int) -> Step:
        functions = {
            "sum": jnp.sum, "max": jnp.max,
            "sum of axis 0": partial(jnp.sum, axis=0), "sum of axis 1": partial(jnp.sum, axis=1),
        }  # fmt: skip
        return _jitted(functions[kind], jnp.asarray(data.values((rows, columns))))

    def cross_entropy(self, rows: int, classes: int) -> Step:
        z, y = data.values((rows, classes)), data.labels(rows, classes)
        return _jitted(jax.value_and_grad(_loss), jnp.asarray(z), jnp.asarray(y))

    def add_scalars(self) -> Step:
        return _jitted(lambda a, b: a + b, jnp.float64(1), jnp.float64(2))

    # ---- many nodes

    def deep_chain(self, links: int) -> Step:
        def function(x: Any) -> Any:
            v = x
            for _ in range(links):
                v = jnp.tanh(v * x + x)
            return v

        return _jitted(function, jnp.asarray(data.values((3, 3))))

    def deep_network(self, layers: int) -> Step:
        params = [(jnp.eye(3, dtype="float32"), jnp.zeros(3, "float32")) for _ in range(layers)]

        def cost(params: Any, x: Any) -> Any:
            for w, b in params:
                x = jax.nn.sigmoid(x @ w + b)
            return -jnp.log(x).mean()

        return _jitted(jax.value_and_grad(cost), params, jnp.asarray(data.values((3, 3))))
