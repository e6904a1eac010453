"""PyTorch: eager, eager with channels_last, and compiled (channels_last too, which is faster)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import data

Step = Callable[[], Any]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


class Peer:
    """See `benchmarks.peers`; `variant` is "eager", "channels_last" or "compiled"."""

    def __init__(self, variant: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.compiled = variant == "compiled"
        last = variant != "eager"
        self.layout = torch.channels_last if last else torch.contiguous_format

    def _images(self, array: np.ndarray) -> torch.Tensor:
        return _tensor(array).contiguous(memory_format=self.layout)

    def _made(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, dynamic=False) if self.compiled else function

    @staticmethod
    def digest(result: Any) -> list[np.ndarray]:
        results = result if isinstance(result, tuple) else (result,)
        return [torch.as_tensor(r).detach().numpy() for r in results]

    @staticmethod
    def _inference(function: Callable[..., Any], *tensors: torch.Tensor) -> Step:
        def step() -> Any:
            with torch.inference_mode():
                return function(*tensors)

        return step

    # ---- networks

    def _lenet(self) -> torch.nn.Module:
        net = torch.nn.Sequential(
            torch.nn.Conv2d(1, 20, 5), torch.nn.MaxPool2d(2), torch.nn.Tanh(),
            torch.nn.Conv2d(20, 50, 5), torch.nn.MaxPool2d(2), torch.nn.Tanh(), torch.nn.Flatten(),
            torch.nn.Linear(800, 500), torch.nn.Tanh(), torch.nn.Linear(500, 10),
        )  # fmt: skip
        _fill(net, data.lenet())
        return net.to(memory_format=self.layout)

    def _sgd(self, net: torch.nn.Module, images: torch.Tensor, batch: int) -> Step:
        targets = _tensor(data.digits(batch)[1]).long()
        batches = list(zip(images.split(batch), targets.split(batch), strict=True))
        return self._descent(net, net.parameters(), batches)

    def _descent(self, net: Callable[..., Any], params: Any, minibatches: list[Any]) -> Step:
        optimizer = torch.optim.SGD(params, lr=data.RATE, fused=True)
        loss_of = self._made(lambda x, y: F.cross_entropy(net(x), y))
        batches = cycle(minibatches)

        def step() -> float:
            optimizer.zero_grad()
            loss = loss_of(*next(batches))
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    def _digits(self, batch: int) -> torch.Tensor:
        return self._images(data.digits(batch)[0].reshape(-1, 1, 28, 28))

    def lenet_step(self, batch: int) -> Step:
        return self._sgd(self._lenet(), self._digits(batch), batch)

    def lenet_forward(self, batch: int) -> Step:
        net = self._lenet()
        forward = self._made(lambda x: torch.softmax(net(x), 1))
        batches = cycle(self._digits(batch).split(batch))

        def step() -> torch.Tensor:
            with torch.inference_mode():
                return forward(next(batches))

        return step

    def network_step(self, sizes: Sequence[int], batch: int) -> Step:
        layers: list[torch.nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [torch.nn.Tanh()] * bool(layers) + [torch.nn.Linear(a, b)]
        net = torch.nn.Sequential(*layers)
        _fill(net, data.dense(sizes))
        return self._sgd(net, _tensor(data.digits(batch)[0]), batch)

    def lstm_step(self, steps: int, batch: int, inputs: int, units: int) -> Step:
        x, y = map(_tensor, data.sequences(steps, batch, inputs))
        w, u, b, v, c = data.lstm(inputs, units)
        lstm, last = torch.nn.LSTM(inputs, units), torch.nn.Linear(units, 10)
        _fill(lstm, [w, u, b, np.zeros_like(b)])
        _fill(last, [v, c])
        params = [p for p in (*lstm.parameters(), *last.parameters()) if p is not lstm.bias_hh_l0]
        lstm.bias_hh_l0.requires_grad_(False)  # cuDNN has a second bias
        return self._descent(lambda x: last(lstm(x)[0][-1]), params, [(x, y.long())])

    # ---- convolution, products, pooling

    def conv_forward(self, n: int, c: int, size: int, o: int, k: int, s: int, p: int) -> Step:
        x, w, _ = map(self._images, data.convolution(n, c, size, o, k, s, p))
        return self._inference(lambda x, w: F.conv2d(x, w, None, s, p), x, w)

    def _conv_backward(self, pick: int, *shape: int) -> Step:
        x, w, g = map(self._images, data.convolution(*shape))
        s, p = shape[5:]
        mask = [pick == 0, pick == 1, False]
        backward = torch.ops.aten.convolution_backward
        return self._inference(
            lambda x, w, g: backward(
                g, x, w, None, [s, s], [p, p], [1, 1], False, [0, 0], 1, mask
            )[pick], x, w, g
        )  # fmt: skip

    def conv_grad_weights(self, *shape: int) -> Step:
        return self._conv_backward(1, *shape)

    def conv_grad_inputs(self, *shape: int) -> Step:
        return self._conv_backward(0, *shape)

    def gemm(self, m: int, k: int, n: int, ta: bool, tb: bool, dtype: str) -> Step:
        a = _tensor(data.values((k, m) if ta else (m, k), 0, dtype))
        b = _tensor(data.values((n, k) if tb else (k, n), 1, dtype))
        return self._inference(torch.mm, a.t() if ta else a, b.t() if tb else b)

    def pool(self, n: int, c: int, size: int, gradient: bool) -> Step:
        x = self._images(data.values((n, c, size, size)))
        if not gradient:
            return self._inference(lambda x: F.max_pool2d(x, 2), x)
        g = self._images(data.values((n, c, size // 2, size // 2), 1))
        x.requires_grad_()

        def step() -> tuple[torch.Tensor, torch.Tensor]:
            x.grad = None
            y = F.max_pool2d(x, 2)
            y.backward(g)
            return y, x.grad

        return step

    # ---- elementwise, reductions, softmax, calls

    def stream(self, n: int) -> Step:
        a, b, c = (_tensor(data.values((n,), seed)) for seed in range(3))
        return self._inference(lambda a, b: torch.add(a, b, out=c), a, b)

    def chain(self, n: int) -> Step:
        function = self._made(lambda x: torch.tanh(0.5 * x + 0.25) * x)
        return self._inference(function, _tensor(data.values((n,))))

    def reduction(self, kind: str, rows: int, columns: int) -> Step:
        functions = {
            "sum": lambda x: x.sum(), "max": lambda x: x.max(),
            "sum of axis 0": lambda x: x.sum(0), "sum of axis 1": lambda x: x.sum(1),
        }  # fmt: skip
        return self._inference(functions[kind], _tensor(data.values((rows, columns))))

    def cross_entropy(self, rows: int, classes: int) -> Step:
        z = _tensor(data.values((rows, classes))).requires_grad_()
        y = _tensor(data.labels(rows, classes)).long()

        def step() -> tuple[float, torch.Tensor]:
            z.grad = None
            cost = F.cross_entropy(z, y)
            cost.backward()
            return cost.item(), z.grad

        return step

    def add_scalars(self) -> Step:
        one, two = (torch.tensor(v, dtype=torch.float64) for v in (1.0, 2.0))
        return self._inference(self._made(lambda a, b: a + b), one, two)

    # ---- many nodes

    def deep_chain(self, links: int) -> Step:
        def function(x: torch.Tensor) -> torch.Tensor:
            v = x
            for _ in range(links):
                v = torch.tanh(v * x + x)
            return v

        return self._inference(self._made(function), _tensor(data.values((3, 3))))

    def deep_network(self, layers: int) -> Step:
        weights = [torch.eye(3).requires_grad_() for _ in range(layers)]
        biases = [torch.zeros(3).requires_grad_() for _ in range(layers)]

        def function(x: torch.Tensor) -> torch.Tensor:
            v = x
            for w, b in zip(weights, biases, strict=True):
                v = torch.sigmoid(v @ w + b)
            return -v.log().mean()

        cost_of, x = self._made(function), _tensor(data.values((3, 3)))

        def step() -> tuple[torch.Tensor, ...]:
            cost = cost_of(x)
            return (cost, *torch.autograd.grad(cost, weights + biases))

        return step


def _fill(net: torch.nn.Module, values: Sequence[np.ndarray]) -> None:
    """Put these weights into the net's parameters; those of linear layers are transposed."""
    with torch.no_grad():
        for p, value in zip(net.parameters(), values, strict=True):
            p.copy_(_tensor(value.T if value.ndim == 2 else value))
