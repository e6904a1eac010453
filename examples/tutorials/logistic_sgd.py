"""Logistic regression on MNIST by minibatch gradient descent.

    python -m symgraph run examples/tutorials/logistic_sgd.py --epochs 100
    python -m symgraph run examples/tutorials/logistic_sgd.py --predict best_model.pkl

p(y = k | x) = softmax(x W + b)_k; the cost is the mean negative log likelihood of a minibatch. The
best model is pickled, `--predict` reads it again and names ten test digits.

Model: Deep Learning Tutorials, "Classifying MNIST digits using Logistic Regression". Documented
there: 7.5 % validation error, 7.489583 % test error, at epoch 73.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import digits
import early_stopping
import numpy
import theano
import theano.tensor as T
from command import options, say


class LogisticRegression:
    """Class probabilities of the rows of `input` (n, n_in): `p_y_given_x` (n, n_out)."""

    def __init__(self, input: Any, n_in: int, n_out: int) -> None:
        self.W = theano.shared(
            value=numpy.zeros((n_in, n_out), dtype=theano.config.floatX), name="W", borrow=True
        )
        self.b = theano.shared(
            value=numpy.zeros((n_out,), dtype=theano.config.floatX), name="b", borrow=True
        )
        self.p_y_given_x = T.nnet.softmax(T.dot(input, self.W) + self.b)
        self.y_pred = T.argmax(self.p_y_given_x, axis=1)
        self.params = [self.W, self.b]
        self.input = input

    def negative_log_likelihood(self, y: Any) -> Any:
        """The mean over the minibatch of -log p(y), y (n,) of an integer type."""
        return -T.mean(T.log(self.p_y_given_x)[T.arange(y.shape[0]), y])

    def errors(self, y: Any) -> Any:
        """The share of the minibatch that is classified wrongly."""
        if y.ndim != self.y_pred.ndim:
            raise TypeError(f"labels: got {y.type}; expected a vector. Cure: y = T.ivector()")
        if not y.dtype.startswith("int"):
            raise TypeError(f"labels: got {y.type}; expected integers. Cure: T.cast(y, 'int32')")
        return T.mean(T.neq(self.y_pred, y))


def sgd_optimization_mnist(
    learning_rate: float = 0.13,
    n_epochs: int = 1000,
    batch_size: int = 600,
    source: str = "auto",
    save: str = "best_model.pkl",
) -> early_stopping.Result:
    """Train on the digits from `source`; the best model goes to the file `save`, unless empty."""
    train_set, valid_set, test_set = digits.load(source)

    index = T.lscalar()
    x = T.matrix("x")
    y = T.ivector("y")
    classifier = LogisticRegression(input=x, n_in=28 * 28, n_out=10)
    cost = classifier.negative_log_likelihood(y)

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

    g_W = T.grad(cost=cost, wrt=classifier.W)
    g_b = T.grad(cost=cost, wrt=classifier.b)
    train_model = theano.function(
        inputs=[index],
        outputs=cost,
        updates=[
            (classifier.W, classifier.W - learning_rate * g_W),
            (classifier.b, classifier.b - learning_rate * g_b),
        ],
        givens={
            x: train_set.x[index * batch_size : (index + 1) * batch_size],
            y: train_set.y[index * batch_size : (index + 1) * batch_size],
        },
    )

    def keep() -> None:
        if save:
            with open(save, "wb") as file:
                pickle.dump(classifier, file)

    return early_stopping.train(
        train_model,
        judge(valid_set),
        judge(test_set),
        batches=train_set.batches(batch_size),
        epochs=n_epochs,
        on_best=keep,
    )


def predict(saved: str = "best_model.pkl", source: str = "auto") -> tuple[Any, Any]:
    """What the pickled model takes the first ten test digits for, and what they are.

    Unpickling a model runs what the file says: use your own.
    """
    with open(saved, "rb") as file:
        classifier = pickle.load(file)
    predict_model = theano.function(inputs=[classifier.input], outputs=classifier.y_pred)
    test_set = digits.load(source)[2]
    found = predict_model(test_set.x.get_value()[:10])
    return found, test_set.y[:10].eval()


def main(arguments: Sequence[str] | None = None) -> Any:
    chosen = options(
        __doc__,
        arguments,
        epochs=(1000, "passes over the training set, at most"),
        batch_size=(600, "digits in a minibatch"),
        learning_rate=(0.13, "step along the gradient"),
        data=digits.SOURCE,
        save=("best_model.pkl", "file for the best model; '' keeps none"),
        predict=("", "do not train: name ten test digits by the model in this file"),
    )
    if chosen.predict:
        found, actual = predict(chosen.predict, chosen.data)
        say(f"predicted {found.tolist()}\nactually  {actual.tolist()}")
        return found, actual
    return sgd_optimization_mnist(
        chosen.learning_rate, chosen.epochs, chosen.batch_size, chosen.data, chosen.save
    )


if __name__ == "__main__":
    main()
