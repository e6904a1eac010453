"""The subjects: each makes a function of no arguments that does one step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import symgraph
from lenet import models
from symgraph import tensor as T

Step = Callable[[], Any]


def batches(batch: int, size: int = 784) -> tuple[np.ndarray, np.ndarray]:
    """One batch of images in [0, 1) and labels."""
    rng = np.random.RandomState(0)
    return rng.rand(batch, size).astype("float32"), rng.randint(0, 10, batch).astype("int32")


def lenet_step(batch: int) -> Step:
    """One SGD step of the tutorial's LeNet, data set resident in a shared variable."""
    with symgraph.config.change_flags(floatX="float32"):
        model = models.tutorial(np.random.RandomState(23455))
        return _training_step(model.cost, model.params, model.x, model.y, batch)


def mlp_step(batch: int) -> Step:
    """One SGD step of a 784-500-10 tanh network."""
    with symgraph.config.change_flags(floatX="float32"):
        rng = np.random.RandomState(0)
        x, y = T.matrix("x"), T.ivector("y")
        sizes = (784, 500, 10)
        params: list[Any] = []
        layer = x
        for k, (a, b) in enumerate(pairwise(sizes)):
            bound = np.sqrt(6 / (a + b))
            params += [symgraph.shared(rng.uniform(-bound, bound, (a, b)).astype("float32")),
                       symgraph.shared(np.zeros(b, "float32"))]  # fmt: skip
            layer = T.dot(layer, params[-2]) + params[-1]
            layer = T.tanh(layer) if k == 0 else layer
        cost = -T.mean(T.log(T.nnet.softmax(layer))[T.arange(y.shape[0]), y])
        return _training_step(cost, params, x, y, batch)


def _training_step(cost: Any, params: list[Any], x: Any, y: Any, batch: int) -> Step:
    images, labels = batches(batch * 4)
    data, target = symgraph.shared(images), symgraph.shared(labels)
    index = T.lscalar("index")
    rows = slice(index * batch, (index + 1) * batch)
    grads = T.grad(cost, params)
    train = symgraph.function(
        [index], cost,
        updates=[(p, p - np.float32(0.1) * g) for p, g in zip(params, grads, strict=True)],
        givens={x: data[rows], y: target[rows]},
    )  # fmt: skip
    counter = iter(range(1 << 60))
    return lambda: train(next(counter) % 4)


def scalar_add() -> Step:
    """A function that adds two scalars: nothing but the cost of a call."""
    a, b = T.dscalars("a", "b")
    add = symgraph.function([a, b], a + b)
    one, two = np.array(1.0), np.array(2.0)
    return lambda: add(one, two)


# ---- PyTorch -------------------------------------------------------------------------------------


def torch_lenet_step(batch: int, channels_last: bool = False) -> Step:
    """The same network and step in PyTorch, eager."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 20, 5), torch.nn.MaxPool2d(2), torch.nn.Tanh(),
        torch.nn.Conv2d(20, 50, 5), torch.nn.MaxPool2d(2), torch.nn.Tanh(),
        torch.nn.Flatten(), torch.nn.Linear(800, 500), torch.nn.Tanh(), torch.nn.Linear(500, 10),
    ).to(memory_format=layout)  # fmt: skip
    images, labels = batches(batch)
    data = torch.tensor(images).reshape(batch, 1, 28, 28).to(memory_format=layout)
    return _torch_step(net, data, torch.tensor(labels, dtype=torch.int64))


def torch_mlp_step(batch: int) -> Step:
    """The same multi-layer perceptron in PyTorch, eager."""
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(784, 500), torch.nn.Tanh(), torch.nn.Linear(500, 10))
    images, labels = batches(batch)
    return _torch_step(net, torch.tensor(images), torch.tensor(labels, dtype=torch.int64))


def _torch_step(net: Any, data: Any, target: Any) -> Step:
    import torch

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss_of = torch.nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss = loss_of(net(data), target)
        loss.backward()
        optimizer.step()

    return step
