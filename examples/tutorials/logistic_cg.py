"""Logistic regression on MNIST by conjugate gradients, SciPy's `fmin_cg`.

    THEANO_FLAGS=floatX=float64 python -m symgraph run examples/tutorials/logistic_cg.py

All parameters lie in one vector, theta, of which W and b are views; SciPy asks for the cost and the
gradient of the whole training set at points of its choice. Its line search computes in float64, so
floatX must be float64.

Model: Deep Learning Tutorials, code/logistic_cg.py. Documented there: about 7 % validation error in
50 epochs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import digits
import numpy
import theano
import theano.tensor as T
from command import options, say


class LogisticRegression:
    """Class probabilities of the rows of `input`, by parameters that lie in one vector `theta`."""

    def __init__(self, input: Any, n_in: int, n_out: int) -> None:
        self.theta = theano.shared(
            value=numpy.zeros(n_in * n_out + n_out, dtype=theano.config.floatX),
            name="theta",
            borrow=True,
        )
        self.W = self.theta[0 : n_in * n_out].reshape((n_in, n_out))
        self.b = self.theta[n_in * n_out : n_in * n_out + n_out]
        self.p_y_given_x = T.nnet.softmax(T.dot(input, self.W) + self.b)
        self.y_pred = T.argmax(self.p_y_given_x, axis=1)
        self.input = input

    def negative_log_likelihood(self, y: Any) -> Any:
        """The mean over the minibatch of -log p(y)."""
        return -T.mean(T.log(self.p_y_given_x)[T.arange(y.shape[0]), y])

    def errors(self, y: Any) -> Any:
        """The share of the minibatch that is classified wrongly."""
        return T.mean(T.neq(self.y_pred, y))


class Result(NamedTuple):
    """`costs` of the training set, one an epoch; errors are shares from 0 to 1."""

    costs: list[float]
    validation_error: float
    test_error: float


def cg_optimization_mnist(
    n_epochs: int = 50, batch_size: int = 600, source: str = "auto"
) -> Result:
    """Train on the digits from `source`. SystemExit without SciPy, or if floatX is not float64."""
    try:
        from scipy.optimize import fmin_cg
    except ImportError:
        raise SystemExit("logistic_cg: the minimiser is SciPy's. Cure: pip install scipy") from None
    if theano.config.floatX != "float64":
        raise SystemExit(
            f"logistic_cg: SciPy minimises in float64, floatX is {theano.config.floatX}. "
            "Cure: THEANO_FLAGS=floatX=float64"
        )
    train_set, valid_set, test_set = digits.load(source)
    n_in, n_out = 28 * 28, 10

    minibatch_offset = T.lscalar()
    x = T.matrix()
    y = T.ivector()
    classifier = LogisticRegression(input=x, n_in=n_in, n_out=n_out)
    cost = classifier.negative_log_likelihood(y).mean()

    def function(part: digits.Part, output: Any, name: str) -> tuple[Any, list[int]]:
        model = theano.function(
            [minibatch_offset],
            output,
            givens={
                x: part.x[minibatch_offset : minibatch_offset + batch_size],
                y: part.y[minibatch_offset : minibatch_offset + batch_size],
            },
            name=name,
        )
        return model, [i * batch_size for i in range(part.batches(batch_size))]

    test_model, test_offsets = function(test_set, classifier.errors(y), "test")
    validate_model, valid_offsets = function(valid_set, classifier.errors(y), "validate")
    batch_cost, train_offsets = function(train_set, cost, "batch_cost")
    batch_grad, _ = function(train_set, T.grad(cost, classifier.theta), "batch_grad")

    def train_fn(theta_value: Any) -> Any:
        classifier.theta.set_value(theta_value, borrow=True)
        return numpy.mean([batch_cost(offset) for offset in train_offsets])

    def train_fn_grad(theta_value: Any) -> Any:
        classifier.theta.set_value(theta_value, borrow=True)
        grad = batch_grad(train_offsets[0])
        for offset in train_offsets[1:]:
            grad += batch_grad(offset)
        return grad / len(train_offsets)

    costs: list[float] = []
    best = [numpy.inf, numpy.inf]

    def callback(theta_value: Any) -> None:
        classifier.theta.set_value(theta_value, borrow=True)
        costs.append(float(train_fn(theta_value)))
        error = numpy.mean([validate_model(offset) for offset in valid_offsets])
        line = f"epoch {len(costs)}: cost {costs[-1]:.4f}, validation error {100 * error:.4f} %"
        if error < best[0]:
            best[:] = error, numpy.mean([test_model(offset) for offset in test_offsets])
            line += f", test error {100 * best[1]:.4f} %"
        say(line)

    begin = time.perf_counter()
    fmin_cg(
        f=train_fn,
        x0=numpy.zeros((n_in + 1) * n_out, dtype=x.dtype),
        fprime=train_fn_grad,
        callback=callback,
        disp=0,
        maxiter=n_epochs,
    )
    say(
        f"best validation error {100 * best[0]:.4f} %, with test error {100 * best[1]:.4f} %; "
        f"{time.perf_counter() - begin:.1f} s"
    )
    return Result(costs, float(best[0]), float(best[1]))


def main(arguments: Sequence[str] | None = None) -> Result:
    chosen = options(
        __doc__,
        arguments,
        epochs=(50, "iterations of the minimiser, at most"),
        batch_size=(600, "digits that a call handles; the cost is that of all of them"),
        data=digits.SOURCE,
    )
    return cg_optimization_mnist(chosen.epochs, chosen.batch_size, chosen.data)


if __name__ == "__main__":
    main()
