"""How long a very deep network takes to build, differentiate and compile.

    python examples/residual_network.py --layers 164

A residual network for images of 32 x 32 in three stages of bottleneck blocks (He, Zhang, Ren &
Sun, "Identity mappings in deep residual networks", 2016), with batch normalisation. Theano took
hours for 38 layers and found no end for 164; here the time is linear in the layers, and the number
of different kernels does not depend on them. An empty folder as SYMGRAPH_CACHE shows a first run.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import symgraph
from symgraph import tensor as T
from symgraph.tensor.nnet.bn import batch_normalization_train

STAGES = (64, 128, 256)  # channels


class ResidualNetwork:
    """`cost` of images `x` (batch, 3, 32, 32) with labels `y` (int32), and the `params`, all of
    float32. `layers` is 9 n + 2; ValueError otherwise."""

    def __init__(self, layers: int) -> None:
        if layers < 11 or (layers - 2) % 9:
            raise ValueError(
                f"a network of {layers} layers: expected 9 n + 2, such as 29, 110, 164"
            )
        self.rng = np.random.RandomState(0)
        self.params: list[Any] = []
        self.x, self.y = T.ftensor4("x"), T.ivector("y")
        h, channels = self.conv(self.x, 3, 16, 3), 16
        for stage, width in enumerate(STAGES):
            for block in range((layers - 2) // 9):
                h = self.block(h, channels, width, 2 if stage and not block else 1)
                channels = width
        features = self.normalized(h, channels).mean((2, 3))
        w, b = self.param(self.rng.randn(channels, 10) * 0.01), self.param(np.zeros(10))
        p = T.nnet.softmax(T.dot(features, w) + b)
        self.cost = -T.mean(T.log(p)[T.arange(self.y.shape[0]), self.y])

    def param(self, value: np.ndarray) -> Any:
        self.params.append(symgraph.shared(value.astype("float32")))
        return self.params[-1]

    def conv(self, x: Any, channels: int, filters: int, size: int, stride: int = 1) -> Any:
        shape = (filters, channels, size, size)
        scale = np.sqrt(2.0 / (channels * size * size))
        w = self.param(self.rng.randn(*shape) * scale)
        return T.nnet.conv2d(
            x, w, filter_shape=shape, border_mode="half", subsample=(stride, stride)
        )

    def normalized(self, x: Any, channels: int) -> Any:
        gamma, beta = self.param(np.ones(channels)), self.param(np.zeros(channels))
        return T.nnet.relu(batch_normalization_train(x, gamma, beta, axes="spatial")[0])

    def block(self, x: Any, channels: int, width: int, stride: int) -> Any:
        narrow = width // 4
        start = self.normalized(x, channels)
        h = self.conv(start, channels, narrow, 1, stride)
        h = self.conv(self.normalized(h, narrow), narrow, narrow, 3)
        h = self.conv(self.normalized(h, narrow), narrow, width, 1)
        same = channels == width and stride == 1
        return h + (x if same else self.conv(start, channels, width, 1, stride))

    def training_function(self, rate: float = 0.01) -> Any:
        """Images and labels to the cost, followed by a step of gradient descent."""
        gradients = T.grad(self.cost, self.params)
        updates = [
            (w, w - np.float32(rate) * g) for w, g in zip(self.params, gradients, strict=True)
        ]
        return symgraph.function([self.x, self.y], self.cost, updates=updates)


def main(arguments: list[str] | None = None) -> float:
    """The seconds until the first step is done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=164, help="9 n + 2; default: 164")
    parser.add_argument("--batch", type=int, default=4, help="images in the step; default: 4")
    chosen = parser.parse_args(arguments)
    begin = time.perf_counter()
    network = ResidualNetwork(chosen.layers)
    train = network.training_function()
    compiled = time.perf_counter()
    kernels = train.kernels()
    different = len({kernel.source for kernel in kernels})
    images = np.random.RandomState(1).rand(chosen.batch, 3, 32, 32).astype("float32")
    cost = train(images, np.arange(chosen.batch, dtype="int32") % 10)
    seconds = time.perf_counter() - begin
    print(  # noqa: T201
        f"{chosen.layers} layers: {len(kernels):,} steps of {different} different kernels, "
        f"built and compiled in {compiled - begin:.1f} s, first step after {seconds:.1f} s, "
        f"cost {float(cost):.3f}"
    )
    return seconds


if __name__ == "__main__":
    main()
