"""Layers that behave differently in training: dropout and batch normalisation."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from lenet.layers.base import Application, Layer, Shape
from lenet.layers.units import activate, activated
from symgraph import tensor as T
from symgraph.tensor.nnet import bn


@dataclass(eq=False)
class Dropout(Layer):
    """In training, each unit is 0 with probability `rate`, in [0, 1), else divided by 1 - rate.

    In use it does nothing: thanks to the division, means are those of training. Source: Srivastava
    et al., "Dropout", JMLR 15 (2014); Keras and PyTorch divide likewise.
    """

    rate: float = 0.5

    label = "dropout"

    @property
    def kind(self) -> str:
        return f"dropout {self.rate:g}"

    def setup(self, rng: np.random.RandomState) -> Shape:
        if not 0 <= self.rate < 1:
            raise self.refuse(
                f"rate {self.rate:g}", "a share from 0 to less than 1", "use one such as 0.5"
            )
        return self.input_shape

    def apply(self, x: Any, how: Application) -> Any:
        if not how.training or not self.rate:
            return x
        assert how.streams is not None, "training needs random numbers"
        kept = how.streams.binomial(x.shape, p=1 - self.rate, dtype=x.dtype)
        return x * kept * np.asarray(1 / (1 - self.rate), x.dtype)


@dataclass(eq=False)
class BatchNormalization(Layer):
    """gamma * (input - mean) / sqrt(variance + epsilon) + beta, then `activation`.

    Mean and variance are those of each map over examples and places, or of each unit over
    examples: in training of the minibatch, in use the states `mean` and `variance`, (maps,) or
    (units,), which every training step moves: new = (1 - momentum) * old + momentum * the
    minibatch's, the variance being the unbiased one. `gamma` and `beta` of that shape are trained.
    `epsilon` is 1e-5 at least and `momentum` in (0, 1]; both default to PyTorch's (Keras: 1e-3, and
    a momentum of 0.99 that means 1 - 0.99 here). Source: Ioffe, Szegedy, "Batch normalization",
    ICML 2015; PyTorch, BatchNorm2d.
    """

    _: KW_ONLY
    activation: str = "linear"
    epsilon: float = 1e-5
    momentum: float = 0.1

    label = "norm"

    @property
    def kind(self) -> str:
        words = "batch normalisation"
        return words if self.activation == "linear" else f"{words}, {self.activation}"

    def setup(self, rng: np.random.RandomState) -> Shape:
        for word, value, fits, expected in (
            ("epsilon", self.epsilon, self.epsilon >= 1e-5, "1e-5 at least"),
            ("momentum", self.momentum, 0 < self.momentum <= 1, "above 0, at most 1"),
        ):
            if not fits:
                raise self.refuse(f"{word} {value:g}", expected, "use such a number")
        maps = self.input_shape[0]
        self.gamma = self.param("gamma", np.ones(maps))
        self.beta = self.param("beta", np.zeros(maps))
        self.mean = self.state("mean", np.zeros(maps))
        self.variance = self.state("variance", np.ones(maps))
        return activated(self.activation, self.input_shape, self)

    def apply(self, x: Any, how: Application) -> Any:
        parameters = (self.gamma, self.beta)
        if not how.training:
            y = bn.batch_normalization_test(
                x, *parameters, self.mean, self.variance, "spatial", self.epsilon
            )
            return activate(self.activation, y)
        y, _, _, mean, variance = bn.batch_normalization_train(
            x, *parameters, "spatial", self.epsilon, self.momentum, self.mean, self.variance
        )
        # One value has no variance: a last minibatch of one example says nothing of it.
        numbers = x.size // x.shape[1]
        variance = T.switch(numbers > 1, variance, self.variance)
        how.updates += [(self.mean, mean), (self.variance, variance)]
        return activate(self.activation, y)

    @property
    def flops(self) -> int:
        return 2 * self.units()
