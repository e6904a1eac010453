"""A training step of three models is PyTorch's, from the same weights on the same images.

In float32 the loss agrees to 1e-5 of itself, each gradient to 1e-5 of its largest element; in
float64 both to 1e-10, and the weights after three steps of the optimiser to 1e-9 of its rate.
The images are noise, or strokes on a blank ground as digits are: there whole windows of max pooling
are equal, and their gradient goes to one pixel. The tutorial's layer, Theano's, gives it to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph
from lenet.models import build
from lenet.optimizers import parse_optimizer
from lenet.options import Options

torch = pytest.importorskip("torch", reason="PyTorch is what these steps are compared with")
F = torch.nn.functional

SHAPE, DIGITS, EXAMPLES = (1, 28, 28), tuple("0123456789"), 32


def tutorial(p: dict[str, Any], x: Any) -> Any:
    for i in (0, 1):
        flipped = torch.flip(p[f"layer{i}.W"], (2, 3))  # PyTorch's convolution is a correlation
        pooled = F.max_pool2d(F.conv2d(x, flipped), 2)
        x = torch.tanh(pooled + p[f"layer{i}.b"][:, None, None])
    x = torch.tanh(x.flatten(1) @ p["layer2.W"] + p["layer2.b"])
    return x @ p["layer3.W"] + p["layer3.b"]


def keras(p: dict[str, Any], x: Any) -> Any:
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, p["C1.W"], p["C1.b"])), 2)
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, p["C3.W"], p["C3.b"])), 2)
    x = torch.tanh(F.conv2d(x, p["C5.W"], p["C5.b"])).flatten(1)
    x = torch.tanh(F.linear(x, p["F6.W"].T, p["F6.b"]))
    return F.linear(x, p["output.W"].T, p["output.b"])


def pytorch(p: dict[str, Any], x: Any) -> Any:
    x = F.max_pool2d(F.relu(F.conv2d(x, p["conv1.W"], p["conv1.b"], padding=2)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, p["conv2.W"], p["conv2.b"])), 2).flatten(1)
    for name in ("fc1", "fc2"):
        x = F.relu(F.linear(x, p[f"{name}.W"].T, p[f"{name}.b"]))
    return F.linear(x, p["fc3.W"].T, p["fc3.b"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("network", "blank"),
    [(tutorial, False), (keras, False), (keras, True), (pytorch, False), (pytorch, True)],
    ids=lambda value: value.__name__ if callable(value) else "blank" if value else "noise",
)
def test_step(network: Callable[[dict[str, Any], Any], Any], blank: bool, dtype: str) -> None:
    rng = np.random.RandomState(0)
    x = rng.uniform(size=(EXAMPLES, *SHAPE)).astype(dtype)
    if blank:
        x[:, :, :8] = x[:, :, 20:] = x[..., :8] = x[..., 20:] = 0
    y = rng.randint(0, 10, EXAMPLES).astype("int32")
    options = Options.of(model=network.__name__)
    rate = options.learning_rate
    with symgraph.config.change_flags(floatX=dtype):
        model = build(options, SHAPE, DIGITS)
        for p in model.params.values():
            if not p.get_value().any():  # zeros would hide the gradients behind them
                p.set_value(rng.uniform(-0.1, 0.1, p.get_value().shape).astype(dtype))
        if blank:  # so that ReLUs pass the ties on
            for name in ("conv1.b", "conv2.b"):
                if name in model.params:
                    model.params[name].set_value(abs(model.params[name].get_value()))
        start = {name: p.get_value() for name, p in model.params.items()}
        params = list(model.params.values())
        gradients = symgraph.grad(model.cost, params)
        updates = parse_optimizer(options.optimizer)(gradients, params, learning_rate=rate)
        step = symgraph.function([model.x, model.y], [model.cost, *gradients], updates=updates)
        results = [step(x, y) for _ in range(3)]

    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    rule = torch.optim.Adam if options.optimizer == "adam" else torch.optim.SGD
    optimizer = rule(theirs.values(), lr=rate)
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    for number, (ours, *found) in enumerate(results):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(theirs, torch.tensor(x)), torch.tensor(y, dtype=torch.int64))
        loss.backward()
        assert ours == pytest.approx(loss.item(), rel=tolerance if number == 0 else 100 * tolerance)
        if number == 0:
            for (name, p), gradient in zip(theirs.items(), found, strict=True):
                assert gradient.dtype == dtype
                scale = p.grad.abs().max().item()
                assert scale > 1e-4, name
                np.testing.assert_allclose(
                    gradient, p.grad.numpy(), rtol=0, atol=tolerance * scale, err_msg=name
                )
        optimizer.step()
    if dtype == "float64":
        # In float32 Adam's first steps, rate * sign(gradient), make much of gradients near 0.
        for name, p in theirs.items():
            np.testing.assert_allclose(
                model.params[name].get_value(), p.detach().numpy(), atol=1e-9 * rate, err_msg=name
            )
