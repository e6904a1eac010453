"""Activations: functions from a variable to a variable, applied to each element.

The result has the input's shape and its dtype (integers give floatX or wider, as in arithmetic);
NaN stays NaN, so that a diverging run shows. `ACTIVATIONS` holds them under the names users say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph
from lenet.errors import RunError
from symgraph import tensor as T

Activation = Callable[[Any], Any]

tanh = T.tanh
sigmoid = T.nnet.sigmoid
softplus = T.nnet.softplus


def linear(x: Any) -> Any:
    """x itself."""
    return x


def scaled_tanh(x: Any) -> Any:
    """1.7159 tanh(2 x / 3), which maps +-1 to +-1, where its curvature is largest.

    Source: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document
    recognition, Proc. IEEE 86 (1998), appendix A.
    """
    return _number(1.7159, x) * T.tanh(_number(2 / 3, x) * x)


def relu(x: Any) -> Any:
    """max(x, 0), of slope 0 at 0 as in PyTorch and Keras.

    `symgraph.tensor.nnet.relu` is Theano's, of slope 1/2 there.
    Source: Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, 2010.
    """
    return T.switch(x <= 0, _number(0, x), x)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x above 0, `slope` x from 0 down.

    Source: Maas, Hannun, Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.
    """
    return T.switch(x <= 0, _number(slope, x) * x, x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, `alpha` (exp(x) - 1) from 0 down.

    Source: Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by
    exponential linear units, 2016.
    """
    return T.nnet.elu(x, _number(alpha, x))


def _number(value: float, x: Any) -> np.ndarray:
    """A number that does not widen `x`, whatever floatX is."""
    dtype = x.dtype if x.dtype.startswith("float") else symgraph.config.floatX
    return np.asarray(value, dtype)


ACTIVATIONS: dict[str, Activation] = {
    "linear": linear,
    "tanh": tanh,
    "scaled_tanh": scaled_tanh,
    "sigmoid": sigmoid,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "softplus": softplus,
    "elu": elu,
}


def activation(name: str | Activation) -> Activation:
    """The activation of that name; a function is returned as it is. RunError for other names."""
    if callable(name):
        return name
    if name not in ACTIVATIONS:
        raise RunError(
            "activation", repr(name), f"one of {', '.join(ACTIVATIONS)}", "use one of these names"
        )
    return ACTIVATIONS[name]
