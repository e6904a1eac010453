"""The layers of the Deep Learning Tutorials, under the tutorials' names.

Each layer has `input`, `output` (of LogisticRegression: `p_y_given_x` and `y_pred`), and its
shared variables `W` and `b`, listed in `params`. Their dtype is `symgraph.config.floatX`.
Sources: deeplearning.net tutorials "logreg", "mlp" and "lenet"; Glorot and Bengio, "Understanding
the difficulty of training deep feedforward neural networks", AISTATS 2010, for the initial range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import symgraph
from lenet.errors import RunError
from symgraph import tensor as T
from symgraph.tensor.nnet import conv2d
from symgraph.tensor.signal import pool


class LogisticRegression:
    """Multi-class logistic regression: softmax(input . W + b), its likelihood and its errors.

    `input` is a matrix (examples, n_in). W (n_in, n_out) and b (n_out,) start at zero.
    `p_y_given_x` is the matrix (examples, n_out) of class probabilities, `y_pred` the vector of
    the most probable classes, int64.
    """

    def __init__(self, input: Any, n_in: int, n_out: int) -> None:
        self.input = input
        self.W = _shared(np.zeros((n_in, n_out)), "W")
        self.b = _shared(np.zeros(n_out), "b")
        self.p_y_given_x = T.nnet.softmax(T.dot(input, self.W) + self.b)
        self.y_pred = T.argmax(self.p_y_given_x, axis=1)
        self.params = [self.W, self.b]

    def negative_log_likelihood(self, y: Any) -> Any:
        """Mean over the examples of -log p(label), a scalar; `y` is a vector of int labels.

        A mean, so that a good learning rate does not depend on the size of the batch.
        """
        return -T.mean(T.log(self.p_y_given_x)[T.arange(y.shape[0]), y])

    def errors(self, y: Any) -> Any:
        """The share of examples, 0 to 1, whose most probable class is not their label `y`.

        Raises TypeError if `y` is not a vector of integers.
        """
        if y.ndim != self.y_pred.ndim or "int" not in y.dtype:
            raise TypeError(
                f"LogisticRegression.errors: got labels of type {y.type}; expected a vector of "
                "integers. Cure: T.ivector('y'), or T.cast(y, 'int32')"
            )
        return T.mean(T.neq(self.y_pred, y))


class HiddenLayer:
    """A fully connected layer: output = activation(input . W + b).

    `input` is a matrix (examples, n_in), the output (examples, n_out). `rng` is a
    numpy.random.RandomState. Without `W`, weights are drawn uniformly from
    +-sqrt(6 / (n_in + n_out)), four times that for the sigmoid; without `b`, biases are zero.
    `activation` is a function of a variable, or None for a linear layer.
    """

    def __init__(
        self,
        rng: np.random.RandomState,
        input: Any,
        n_in: int,
        n_out: int,
        W: Any = None,
        b: Any = None,
        activation: Callable[[Any], Any] | None = T.tanh,
    ) -> None:
        self.input = input
        if W is None:
            bound = np.sqrt(6.0 / (n_in + n_out))
            values = rng.uniform(low=-bound, high=bound, size=(n_in, n_out))
            W = _shared(4 * values if activation is T.nnet.sigmoid else values, "W")
        if b is None:
            b = _shared(np.zeros(n_out), "b")
        self.W, self.b = W, b
        linear = T.dot(input, W) + b
        self.output = linear if activation is None else activation(linear)
        self.params = [W, b]


class LeNetConvPoolLayer:
    """Convolution, max pooling, bias, tanh: output = tanh(pool(input * W) + b).

    `input` is a 4-d tensor of `image_shape` (examples, input maps, height, width), in which None
    stands for a size that is not known yet. `filter_shape` is (output maps, input maps, height,
    width). Filters are flipped and applied where they fit whole; pooling windows of `poolsize` do
    not overlap, and what is left at the border is dropped. The output is a 4-d tensor of
    `output_shape`. Weights are drawn from `rng` (numpy.random.RandomState) uniformly in
    +-sqrt(6 / (fan in + fan out)); biases start at zero.

    Raises RunError if shapes do not fit each other.
    """

    def __init__(
        self,
        rng: np.random.RandomState,
        input: Any,
        filter_shape: Sequence[int],
        image_shape: Sequence[int | None],
        poolsize: Sequence[int] = (2, 2),
    ) -> None:
        self.input = input
        self.output_shape = conv_pool_shape(image_shape, filter_shape, poolsize)
        fan_in = np.prod(filter_shape[1:])
        fan_out = filter_shape[0] * np.prod(filter_shape[2:]) // np.prod(poolsize)
        bound = np.sqrt(6.0 / (fan_in + fan_out))
        self.W = _shared(rng.uniform(low=-bound, high=bound, size=tuple(filter_shape)), "W")
        self.b = _shared(np.zeros(filter_shape[0]), "b")
        conv_out = conv2d(
            input=input,
            filters=self.W,
            filter_shape=tuple(filter_shape),
            input_shape=tuple(image_shape),
        )
        pooled_out = pool.pool_2d(input=conv_out, ws=tuple(poolsize), ignore_border=True)
        self.output = T.tanh(pooled_out + self.b.dimshuffle("x", 0, "x", "x"))
        self.params = [self.W, self.b]


def conv_pool_shape(
    image_shape: Sequence[int | None], filter_shape: Sequence[int], poolsize: Sequence[int]
) -> tuple[Any, ...]:
    """The four sizes that LeNetConvPoolLayer gives, None where not known; RunError if none."""

    def refuse(got: str, expected: str, cure: str) -> RunError:
        return RunError("LeNetConvPoolLayer", got, expected, cure)

    if (len(image_shape), len(filter_shape), len(poolsize)) != (4, 4, 2):
        raise refuse(
            f"image_shape={tuple(image_shape)}, filter_shape={tuple(filter_shape)}, "
            f"poolsize={tuple(poolsize)}",
            "4, 4 and 2 sizes",
            "see the tutorial: (batch, maps, height, width), (filters, maps, height, width)",
        )
    if image_shape[1] not in (None, filter_shape[1]):
        raise refuse(
            f"images of {image_shape[1]} maps and filters for {filter_shape[1]}",
            "the same number",
            "make image_shape[1] and filter_shape[1] equal",
        )
    sizes: list[int | None] = []
    for image, filter, window in zip(image_shape[2:], filter_shape[2:], poolsize, strict=True):
        size = None if image is None else (image - filter + 1) // window
        if size is not None and size < 1:
            raise refuse(
                f"images of {image_shape[2]}x{image_shape[3]}",
                f"at least {filter + window - 1} pixels for filters of {filter} and pooling by "
                f"{window}",
                "use larger images, smaller filters or less pooling",
            )
        sizes.append(size)
    return image_shape[0], filter_shape[0], sizes[0], sizes[1]


def _shared(values: np.ndarray, name: str) -> Any:
    data = np.asarray(values, dtype=symgraph.config.floatX)
    return symgraph.shared(data, name=name, borrow=True)
