"""A denoising auto-encoder on MNIST, without and with corrupted input.

    python -m symgraph run examples/tutorials/dA.py --epochs 15 --filters dA.png

Pixels are set to zero at random; y = sigmoid(corrupted W + b), z = sigmoid(y W' + b'), and the cost
is the cross-entropy of z and the whole input, so the network learns to fill in what is missing.

Model: Deep Learning Tutorials, "Denoising Autoencoders", after Vincent, Larochelle, Bengio &
Manzagol, "Extracting and composing robust features with denoising autoencoders" (ICML 2008).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import digits
import numpy
import pictures
import theano
import theano.tensor as T
from command import options, say
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams


class dA:
    """An auto-encoder with tied weights: `W` (n_visible, n_hidden), biases `b` and `b_prime`.

    `W`, `bhid` and `bvis` may be shared with another layer, as a deep network of these does.
    """

    def __init__(
        self,
        numpy_rng: numpy.random.RandomState,
        theano_rng: Any = None,
        input: Any = None,
        n_visible: int = 784,
        n_hidden: int = 500,
        W: Any = None,
        bhid: Any = None,
        bvis: Any = None,
    ) -> None:
        self.n_visible = n_visible
        self.n_hidden = n_hidden
        if not theano_rng:
            theano_rng = RandomStreams(numpy_rng.randint(2**30))
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
        self.theano_rng = theano_rng
        self.x = T.dmatrix(name="input") if input is None else input
        self.params = [self.W, self.b, self.b_prime]

    def get_corrupted_input(self, input: Any, corruption_level: Any) -> Any:
        """`input` with a share of `corruption_level` of its elements set to zero."""
        kept = self.theano_rng.binomial(
            size=input.shape, n=1, p=1 - corruption_level, dtype=theano.config.floatX
        )
        return kept * input

    def get_hidden_values(self, input: Any) -> Any:
        return T.nnet.sigmoid(T.dot(input, self.W) + self.b)

    def get_reconstructed_input(self, hidden: Any) -> Any:
        return T.nnet.sigmoid(T.dot(hidden, self.W_prime) + self.b_prime)

    def get_cost_updates(
        self, corruption_level: Any, learning_rate: Any
    ) -> tuple[Any, list[tuple[Any, Any]]]:
        """The mean cross-entropy over the minibatch, and a step down its gradient."""
        tilde_x = self.get_corrupted_input(self.x, corruption_level)
        y = self.get_hidden_values(tilde_x)
        z = self.get_reconstructed_input(y)
        L = -T.sum(self.x * T.log(z) + (1 - self.x) * T.log(1 - z), axis=1)
        cost = T.mean(L)
        gparams = T.grad(cost, self.params)
        updates = [
            (param, param - learning_rate * gparam)
            for param, gparam in zip(self.params, gparams, strict=True)
        ]
        return cost, updates


def train_dA(
    corruption_level: float,
    learning_rate: float = 0.1,
    training_epochs: int = 15,
    batch_size: int = 20,
    n_hidden: int = 500,
    source: str = "auto",
    filters: str = "",
) -> list[float]:
    """Train one auto-encoder; the mean cost of each epoch.

    A picture of the weights of each hidden unit goes to the file `filters`, unless empty.
    """
    train_set = digits.load(source)[0]
    n_train_batches = train_set.batches(batch_size)

    index = T.lscalar()
    x = T.matrix("x")
    rng = numpy.random.RandomState(123)
    theano_rng = RandomStreams(rng.randint(2**30))
    da = dA(
        numpy_rng=rng, theano_rng=theano_rng, input=x, n_visible=28 * 28, n_hidden=n_hidden
    )  # fmt: skip
    cost, updates = da.get_cost_updates(
        corruption_level=corruption_level, learning_rate=learning_rate
    )
    train_da = theano.function(
        [index],
        cost,
        updates=updates,
        givens={x: train_set.x[index * batch_size : (index + 1) * batch_size]},
    )

    say(f"corruption {100 * corruption_level:.0f} %")
    costs = []
    begin = time.perf_counter()
    for epoch in range(training_epochs):
        costs.append(float(numpy.mean([train_da(batch) for batch in range(n_train_batches)])))
        say(f"epoch {epoch + 1}: cost {costs[-1]:.4f}")
    say(f"{time.perf_counter() - begin:.1f} s")
    if filters:
        pictures.save(filters, da.W.get_value(borrow=True).T)
    return costs


def main(arguments: Sequence[str] | None = None) -> dict[float, list[float]]:
    chosen = options(
        __doc__,
        arguments,
        epochs=(15, "passes over the training set"),
        batch_size=(20, "digits in a minibatch"),
        learning_rate=(0.1, "step along the gradient"),
        corruption=((0.0, 0.3), "shares of the pixels set to zero, an auto-encoder for each"),
        n_hidden=(500, "hidden units"),
        filters=("", "PNG file for a picture of the weights; the corruption joins its name"),
        data=digits.SOURCE,
    )

    def picture(level: float) -> str:
        path = Path(chosen.filters)
        return str(path.with_stem(f"{path.stem}_{100 * level:.0f}")) if chosen.filters else ""

    return {
        level: train_dA(
            level, chosen.learning_rate, chosen.epochs, chosen.batch_size, chosen.n_hidden,
            chosen.data, picture(level),
        )
        for level in chosen.corruption
    }  # fmt: skip


if __name__ == "__main__":
    main()
