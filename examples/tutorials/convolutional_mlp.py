"""LeNet-5, simplified, on MNIST: two layers of convolution and max pooling, then a perceptron.

    python -m symgraph run examples/tutorials/convolutional_mlp.py --epochs 10

Filters of 5x5, pooling by 2x2, tanh after pooling, a dense layer of 500 tanh units, logistic
regression; minibatch gradient descent and early stopping.

Model: Deep Learning Tutorials, "Convolutional Neural Networks (LeNet)", after LeCun, Bottou, Bengio
& Haffner, "Gradient-based learning applied to document recognition" (Proc. IEEE 1998). Documented
there: 0.91 % validation error, 0.92 % test error, in 200 epochs (380 minutes on a CPU of 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import digits
import early_stopping
import numpy
import theano
import theano.tensor as T
from command import options
from logistic_sgd import LogisticRegression
from mlp import HiddenLayer
from theano.tensor.nnet import conv2d
from theano.tensor.signal import pool


class LeNetConvPoolLayer:
    """tanh(max pooling of (input * W) + b).

    `filter_shape` is (filters, input maps, height, width), `image_shape` (batch, input maps,
    height, width), which fits `input`.
    """

    def __init__(
        self,
        rng: numpy.random.RandomState,
        input: Any,
        filter_shape: tuple[int, int, int, int],
        image_shape: tuple[int, int, int, int],
        poolsize: tuple[int, int] = (2, 2),
    ) -> None:
        assert image_shape[1] == filter_shape[1]
        self.input = input
        # A hidden unit reads fan_in numbers, and its gradient comes from fan_out units above.
        fan_in = numpy.prod(filter_shape[1:])
        fan_out = filter_shape[0] * numpy.prod(filter_shape[2:]) // numpy.prod(poolsize)
        bound = numpy.sqrt(6.0 / (fan_in + fan_out))
        self.W = theano.shared(
            numpy.asarray(
                rng.uniform(low=-bound, high=bound, size=filter_shape), dtype=theano.config.floatX
            ),
            borrow=True,
        )
        b_values = numpy.zeros((filter_shape[0],), dtype=theano.config.floatX)
        self.b = theano.shared(value=b_values, borrow=True)
        conv_out = conv2d(
            input=input, filters=self.W, filter_shape=filter_shape, input_shape=image_shape
        )
        pooled_out = pool.pool_2d(input=conv_out, ds=poolsize, ignore_border=True)
        self.output = T.tanh(pooled_out + self.b.dimshuffle("x", 0, "x", "x"))
        self.params = [self.W, self.b]


def evaluate_lenet5(
    learning_rate: float = 0.1,
    n_epochs: int = 200,
    nkerns: Sequence[int] = (20, 50),
    batch_size: int = 500,
    source: str = "auto",
) -> early_stopping.Result:
    """Train on the digits from `source`; `nkerns` are the numbers of filters of the two layers."""
    rng = numpy.random.RandomState(23455)
    train_set, valid_set, test_set = digits.load(source)

    index = T.lscalar()
    x = T.matrix("x")
    y = T.ivector("y")
    layer0_input = x.reshape((batch_size, 1, 28, 28))
    layer0 = LeNetConvPoolLayer(
        rng,
        input=layer0_input,
        image_shape=(batch_size, 1, 28, 28),
        filter_shape=(nkerns[0], 1, 5, 5),
        poolsize=(2, 2),
    )
    layer1 = LeNetConvPoolLayer(
        rng,
        input=layer0.output,
        image_shape=(batch_size, nkerns[0], 12, 12),
        filter_shape=(nkerns[1], nkerns[0], 5, 5),
        poolsize=(2, 2),
    )
    layer2 = HiddenLayer(
        rng, input=layer1.output.flatten(2), n_in=nkerns[1] * 4 * 4, n_out=500, activation=T.tanh
    )
    layer3 = LogisticRegression(input=layer2.output, n_in=500, n_out=10)
    cost = layer3.negative_log_likelihood(y)

    def judge(part: digits.Part) -> Any:
        model = theano.function(
            [index],
            layer3.errors(y),
            givens={
                x: part.x[index * batch_size : (index + 1) * batch_size],
                y: part.y[index * batch_size : (index + 1) * batch_size],
            },
        )
        return early_stopping.mean_over(model, part.batches(batch_size))

    params = layer3.params + layer2.params + layer1.params + layer0.params
    grads = T.grad(cost, params)
    updates = [
        (param_i, param_i - learning_rate * grad_i)
        for param_i, grad_i in zip(params, grads, strict=True)
    ]
    train_model = theano.function(
        [index],
        cost,
        updates=updates,
        givens={
            x: train_set.x[index * batch_size : (index + 1) * batch_size],
            y: train_set.y[index * batch_size : (index + 1) * batch_size],
        },
    )
    return early_stopping.train(
        train_model,
        judge(valid_set),
        judge(test_set),
        batches=train_set.batches(batch_size),
        epochs=n_epochs,
        patience=10000,
    )


def main(arguments: Sequence[str] | None = None) -> early_stopping.Result:
    chosen = options(
        __doc__,
        arguments,
        epochs=(200, "passes over the training set, at most"),
        batch_size=(500, "digits in a minibatch"),
        learning_rate=(0.1, "step along the gradient"),
        nkerns=((20, 50), "filters of the two layers"),
        data=digits.SOURCE,
    )
    return evaluate_lenet5(
        chosen.learning_rate, chosen.epochs, chosen.nkerns, chosen.batch_size, chosen.data
    )


if __name__ == "__main__":
    main()
