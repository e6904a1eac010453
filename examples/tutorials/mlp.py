"""A multilayer perceptron on MNIST: one hidden layer of tanh units, then logistic regression.

    python -m symgraph run examples/tutorials/mlp.py --epochs 20

Minibatch gradient descent on the negative log likelihood plus an L1 and an L2 penalty of the
weights; early stopping.

Model: Deep Learning Tutorials, "Multilayer Perceptron"; weights drawn as in Glorot & Bengio,
"Understanding the difficulty of training deep feedforward neural networks" (AISTATS 2010).
Documented there: 1.69 % validation error, 1.65 % test error, after up to 1000 epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import digits
import early_stopping
import numpy
import theano
import theano.tensor as T
from command import options
from logistic_sgd import LogisticRegression


class HiddenLayer:
    """A dense layer of `input` (n, n_in): `output` (n, n_out) = activation(input W + b)."""

    def __init__(
        self,
        rng: numpy.random.RandomState,
        input: Any,
        n_in: int,
        n_out: int,
        W: Any = None,
        b: Any = None,
        activation: Callable[[Any], Any] | None = T.tanh,
    ) -> None:
        self.input = input
        if W is None:
            bound = numpy.sqrt(6.0 / (n_in + n_out))
            W_values = numpy.asarray(
                rng.uniform(low=-bound, high=bound, size=(n_in, n_out)), dtype=theano.config.floatX
            )
            # The sigmoid is four times flatter than tanh.
            if activation == theano.tensor.nnet.sigmoid:
                W_values *= 4
            W = theano.shared(value=W_values, name="W", borrow=True)
        if b is None:
            b_values = numpy.zeros((n_out,), dtype=theano.config.floatX)
            b = theano.shared(value=b_values, name="b", borrow=True)
        self.W = W
        self.b = b
        lin_output = T.dot(input, self.W) + self.b
        self.output = lin_output if activation is None else activation(lin_output)
        self.params = [self.W, self.b]


class MLP:
    """A tanh hidden layer and logistic regression on it; `L1` and `L2_sqr` of the weights."""

    def __init__(
        self, rng: numpy.random.RandomState, input: Any, n_in: int, n_hidden: int, n_out: int
    ) -> None:
        self.hiddenLayer = HiddenLayer(
            rng=rng, input=input, n_in=n_in, n_out=n_hidden, activation=T.tanh
        )
        self.logRegressionLayer = LogisticRegression(
            input=self.hiddenLayer.output, n_in=n_hidden, n_out=n_out
        )
        self.L1 = abs(self.hiddenLayer.W).sum() + abs(self.logRegressionLayer.W).sum()
        self.L2_sqr = (self.hiddenLayer.W**2).sum() + (self.logRegressionLayer.W**2).sum()
        self.negative_log_likelihood = self.logRegressionLayer.negative_log_likelihood
        self.errors = self.logRegressionLayer.errors
        self.params = self.hiddenLayer.params + self.logRegressionLayer.params
        self.input = input


def sgd_optimization_mlp(
    learning_rate: float = 0.01,
    L1_reg: float = 0.00,
    L2_reg: float = 0.0001,
    n_epochs: int = 1000,
    batch_size: int = 20,
    n_hidden: int = 500,
    source: str = "auto",
) -> early_stopping.Result:
    """Train on the digits from `source`."""
    train_set, valid_set, test_set = digits.load(source)

    index = T.lscalar()
    x = T.matrix("x")
    y = T.ivector("y")
    rng = numpy.random.RandomState(1234)
    classifier = MLP(rng=rng, input=x, n_in=28 * 28, n_hidden=n_hidden, n_out=10)
    cost = (
        classifier.negative_log_likelihood(y)
        + L1_reg * classifier.L1
        + L2_reg * classifier.L2_sqr
    )  # fmt: skip

    def judge(part: digits.Part) -> Any:
        model = theano.function(
            inputs=[index],
            outputs=classifier.errors(y),
            givens={
                x: part.x[index * batch_size : (index + 1) * batch_size],
                y: part.y[index * batch_size : (index + 1) * batch_size],
            },
        )
        return early_stopping.mean_over(model, part.batches(batch_size))

    gparams = [T.grad(cost, param) for param in classifier.params]
    updates = [
        (param, param - learning_rate * gparam)
        for param, gparam in zip(classifier.params, gparams, strict=True)
    ]
    train_model = theano.function(
        inputs=[index],
        outputs=cost,
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
        epochs=(1000, "passes over the training set, at most"),
        batch_size=(20, "digits in a minibatch"),
        learning_rate=(0.01, "step along the gradient"),
        n_hidden=(500, "hidden units"),
        l1=(0.0, "weight of the L1 penalty"),
        l2=(0.0001, "weight of the squared L2 penalty"),
        data=digits.SOURCE,
    )
    return sgd_optimization_mlp(
        chosen.learning_rate, chosen.l1, chosen.l2, chosen.epochs, chosen.batch_size,
        chosen.n_hidden, chosen.data,
    )  # fmt: skip


if __name__ == "__main__":
    main()
