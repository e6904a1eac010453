"""Initial weights: functions `(rng, shape, fan_in, fan_out) -> float64 array` of that shape.

`rng` is a numpy.random.RandomState. `fan_in` and `fan_out` say how many numbers flow into and out
of one unit; `fans` counts them from a shape. They are arguments of their own since a layer knows
more than its shape: the tutorial divides the fan-out of a convolution by the size of the pooling.
`INITIALIZERS` holds the functions under the names users say; those of normal distributions are not
truncated, as PyTorch's. Raises RunError for fans below 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.errors import RunError

Weights = NDArray[np.float64]
Initializer = Callable[[np.random.RandomState, Sequence[int], int, int], Weights]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan in, fan out) of a matrix (n_in, n_out) or of filters (out, in, height, width, ...).

    A filter's are its maps times its receptive field. Raises RunError for fewer than two axes.
    Source: Glorot and Bengio 2010; Keras, `compute_fans`.
    """
    if len(shape) < 2:
        raise RunError(
            "fans",
            f"a shape of {tuple(shape)}",
            "(n_in, n_out) or (out, in, height, width)",
            "give the shape of weights; biases have `bias`",
        )
    if len(shape) == 2:
        return int(shape[0]), int(shape[1])
    field = math.prod(shape[2:])
    return int(shape[1] * field), int(shape[0] * field)


def tutorial(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Uniform in +-sqrt(6 / (fan in + fan out)): the tutorials' draw, bit for bit.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010; deeplearning.net tutorials "mlp" and "lenet".
    """
    return _uniform(rng, shape, np.sqrt(6.0 / _positive(fan_in + fan_out)))


def glorot_normal(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Normal of variance 2 / (fan in + fan out). Source: Glorot and Bengio 2010."""
    return _normal(rng, shape, np.sqrt(2.0 / _positive(fan_in + fan_out)))


def lecun_uniform(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Uniform in +-sqrt(3 / fan in). Source: LeCun, Bottou, Orr, Müller, Efficient BackProp, 1998;
    Keras, `LecunUniform`."""
    return _uniform(rng, shape, np.sqrt(3.0 / _positive(fan_in)))


def lecun_normal(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Normal of variance 1 / fan in. Source: as for `lecun_uniform`."""
    return _normal(rng, shape, np.sqrt(1.0 / _positive(fan_in)))


def he_uniform(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Uniform in +-sqrt(6 / fan in), for ReLU. Source: He, Zhang, Ren, Sun, Delving deep into
    rectifiers, ICCV 2015."""
    return _uniform(rng, shape, np.sqrt(6.0 / _positive(fan_in)))


def he_normal(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Normal of variance 2 / fan in, for ReLU. Source: He et al. 2015."""
    return _normal(rng, shape, np.sqrt(2.0 / _positive(fan_in)))


def lecun1998(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Uniform in +-2.4 / fan in, for LeNet-5's scaled tanh.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, appendix A.
    """
    return _uniform(rng, shape, 2.4 / _positive(fan_in))


def pytorch(rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int) -> Weights:
    """Uniform in +-1 / sqrt(fan in): PyTorch's default for Linear and Conv2d, also for biases.

    Source: PyTorch, `torch.nn.Linear`, `torch.nn.Conv2d`: kaiming_uniform_ with a = sqrt(5).
    """
    return _uniform(rng, shape, 1.0 / np.sqrt(_positive(fan_in)))


def normal(rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int) -> Weights:
    """Normal of deviation 0.01, whatever the fans. Source: Krizhevsky, Sutskever, Hinton, ImageNet
    classification with deep convolutional neural networks, 2012."""
    return _normal(rng, shape, 0.01)


def orthogonal(
    rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int
) -> Weights:
    """Orthonormal rows of the matrix (shape[0], the rest), or columns where those are fewer.

    Raises RunError for fewer than two axes. Source: Saxe, McClelland, Ganguli, Exact solutions to
    the nonlinear dynamics of learning in deep linear neural networks, 2014; PyTorch, `orthogonal_`.
    """
    fans(shape)
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = rng.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # every such matrix is then equally likely
    return np.ascontiguousarray(q if rows >= columns else q.T).reshape(tuple(shape))


def zeros(rng: np.random.RandomState, shape: Sequence[int], fan_in: int, fan_out: int) -> Weights:
    """Zeros, for the layer of a logistic regression. Draws nothing."""
    return np.zeros(tuple(shape))


INITIALIZERS: dict[str, Initializer] = {
    "tutorial": tutorial,
    "glorot_normal": glorot_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "lecun1998": lecun1998,
    "pytorch": pytorch,
    "normal": normal,
    "orthogonal": orthogonal,
    "zeros": zeros,
}


def initializer(name: str | Initializer) -> Initializer:
    """The initialiser of that name; a function is returned as it is. RunError for other names."""
    if callable(name):
        return name
    if name not in INITIALIZERS:
        raise RunError(
            "initializer", repr(name), f"one of {', '.join(INITIALIZERS)}", "use one of these names"
        )
    return INITIALIZERS[name]


def bias(
    rng: np.random.RandomState, name: str | Initializer, shape: Sequence[int], fan_in: int
) -> Weights:
    """The biases that go with the weights of initialiser `name`, float64, of `shape`.

    Zeros, without a draw; for `pytorch` the range of its weights. RunError for unknown names.
    """
    if initializer(name) is pytorch:
        return pytorch(rng, shape, fan_in, 0)
    return np.zeros(tuple(shape))


def _uniform(rng: np.random.RandomState, shape: Sequence[int], bound: Any) -> Weights:
    return rng.uniform(low=-bound, high=bound, size=tuple(shape))


def _normal(rng: np.random.RandomState, shape: Sequence[int], deviation: Any) -> Weights:
    return rng.normal(0.0, deviation, size=tuple(shape))


def _positive(fan: int) -> int:
    if fan < 1:
        raise RunError(
            "initializer", f"a fan of {fan}", "at least 1", "give a layer of at least one unit"
        )
    return fan
