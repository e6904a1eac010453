"""A contractive auto-encoder on MNIST.

    python -m symgraph run examples/tutorials/cA.py --epochs 10 --filters cA.png

y = sigmoid(x W + b), z = sigmoid(y W' + b'); the cost is the cross-entropy of x and z plus
`contraction` times the squared Frobenius norm of the Jacobian dy/dx. The published code divides
that norm by the size of the minibatch with `//`; the gradient of a floor division is zero, so there
the penalty is reported but not learned from. `--exact` divides with `/`, as the paper means it.

Model: Deep Learning Tutorials, code/cA.py, after Rifai, Vincent, Muller, Glorot & Bengio,
"Contractive auto-encoders: explicit invariance during feature extraction" (ICML 2011).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import digits
import numpy
import pictures
import theano
import theano.tensor as T
from command import options, say


class cA:
    """An auto-encoder with tied weights: `W` (n_visible, n_hidden), biases `b` and `b_prime`.

    `n_batchsize` is the number of rows of `input`, which the Jacobian's shape needs.
    """

    def __init__(
        self,
        numpy_rng: numpy.random.RandomState,
        input: Any = None,
        n_visible: int = 784,
        n_hidden: int = 100,
        n_batchsize: int = 1,
        W: Any = None,
        bhid: Any = None,
        bvis: Any = None,
    ) -> None:
        self.n_visible = n_visible
        self.n_hidden = n_hidden
        self.n_batchsize = n_batchsize
        if not W:
            bound = 4 * numpy.sqrt(6.0 / (n_hidden + n_visible))
            initial_W = numpy.asarray(
                numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden)),
                dtype=theano.config.floatX,
            )
            W = theano.shared(value=initial_W, name="W", borrow=True)
        if not bvis:
            bvis = theano.shared(
                value=numpy.zeros(n_visible, dtype=theano.config.floatX), borrow=True
            )
        if not bhid:
            bhid = theano.shared(
                value=numpy.zeros(n_hidden, dtype=theano.config.floatX), name="b", borrow=True
            )
        self.W = W
        self.b = bhid
        self.b_prime = bvis
        self.W_prime = self.W.T
        self.x = T.dmatrix(name="input") if input is None else input
        self.params = [self.W, self.b, self.b_prime]

    def get_hidden_values(self, input: Any) -> Any:
        return T.nnet.sigmoid(T.dot(input, self.W) + self.b)

    def get_jacobian(self, hidden: Any, W: Any) -> Any:
        """dy_j/dx_i for each row of `hidden`: (n_batchsize, n_visible, n_hidden)."""
        return T.reshape(hidden * (1 - hidden), (self.n_batchsize, 1, self.n_hidden)) * T.reshape(
            W, (1, self.n_visible, self.n_hidden)
        )

    def get_reconstructed_input(self, hidden: Any) -> Any:
        return T.nnet.sigmoid(T.dot(hidden, self.W_prime) + self.b_prime)

    def get_cost_updates(
        self, contraction_level: float, learning_rate: float, exact: bool = False
    ) -> tuple[Any, list[tuple[Any, Any]]]:
        """The cost and a step down its gradient; sets `L_rec` (n_batchsize,) and `L_jacob` ()."""
        y = self.get_hidden_values(self.x)
        z = self.get_reconstructed_input(y)
        J = self.get_jacobian(y, self.W)
        self.L_rec = -T.sum(self.x * T.log(z) + (1 - self.x) * T.log(1 - z), axis=1)
        norm = T.sum(J**2)
        self.L_jacob = norm / self.n_batchsize if exact else norm // self.n_batchsize
        cost = T.mean(self.L_rec) + contraction_level * T.mean(self.L_jacob)
        gparams = T.grad(cost, self.params)
        updates = [
            (param, param - learning_rate * gparam)
            for param, gparam in zip(self.params, gparams, strict=True)
        ]
        return cost, updates


def train_cA(
    learning_rate: float = 0.01,
    training_epochs: int = 20,
    batch_size: int = 10,
    contraction_level: float = 0.1,
    n_hidden: int = 500,
    source: str = "auto",
    filters: str = "",
    exact: bool = False,
) -> list[tuple[float, float]]:
    """Train; the mean reconstruction cost and the mean Jacobian norm of each epoch.

    A picture of the weights of each hidden unit goes to the file `filters`, unless empty.
    """
    train_set = digits.load(source)[0]
    n_train_batches = train_set.batches(batch_size)

    index = T.lscalar()
    x = T.matrix("x")
    rng = numpy.random.RandomState(123)
    ca = cA(
        numpy_rng=rng, input=x, n_visible=28 * 28, n_hidden=n_hidden, n_batchsize=batch_size
    )  # fmt: skip
    _cost, updates = ca.get_cost_updates(contraction_level, learning_rate, exact)
    train_ca = theano.function(
        [index],
        [T.mean(ca.L_rec), ca.L_jacob],
        updates=updates,
        givens={x: train_set.x[index * batch_size : (index + 1) * batch_size]},
    )

    history = []
    begin = time.perf_counter()
    for epoch in range(training_epochs):
        losses = numpy.mean([train_ca(batch) for batch in range(n_train_batches)], axis=0)
        history.append((float(losses[0]), float(losses[1])))
        say(f"epoch {epoch + 1}: cost {losses[0]:.4f}, Jacobian norm {losses[1]:.4f}")
    say(f"{time.perf_counter() - begin:.1f} s")
    if filters:
        pictures.save(filters, ca.W.get_value(borrow=True).T)
    return history


def main(arguments: Sequence[str] | None = None) -> list[tuple[float, float]]:
    chosen = options(
        __doc__,
        arguments,
        epochs=(20, "passes over the training set"),
        batch_size=(10, "digits in a minibatch"),
        learning_rate=(0.01, "step along the gradient"),
        contraction=(0.1, "weight of the penalty"),
        exact=(False, "divide with /: learn from the penalty"),
        n_hidden=(500, "hidden units"),
        filters=("", "PNG file for a picture of the weights"),
        data=digits.SOURCE,
    )
    return train_cA(
        chosen.learning_rate, chosen.epochs, chosen.batch_size, chosen.contraction,
        chosen.n_hidden, chosen.data, chosen.filters, chosen.exact,
    )  # fmt: skip


if __name__ == "__main__":
    main()
