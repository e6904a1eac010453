"""A deep belief network on MNIST: layers trained one by one as Boltzmann machines, then all.

    python -m symgraph run examples/tutorials/DBN.py --pretraining-epochs 5 --epochs 10

Each hidden layer shares its weights with a restricted Boltzmann machine, trained by CD-k on what
the layer below gives; then the whole is a multilayer perceptron, trained with early stopping.

Model: Deep Learning Tutorials, "Deep Belief Networks", after Hinton, Osindero & Teh, "A fast
learning algorithm for deep belief nets" (Neural Computation 18, 2006). Documented there: 1.27 %
validation error, 1.34 % test error, after 100 epochs a layer and up to 1000 for the labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import digits
import early_stopping
import finetuning
import numpy
import theano
import theano.tensor as T
from command import options, say
from logistic_sgd import LogisticRegression
from mlp import HiddenLayer
from rbm import RBM
from SdA import Result
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams


class DBN:
    """Sigmoid layers of the given sizes, a Boltzmann machine for each, logistic regression on top.

    `finetune_cost` and `errors` are of a minibatch `x` (n, n_ins) with labels `y` (n,).
    """

    def __init__(
        self,
        numpy_rng: numpy.random.RandomState,
        theano_rng: Any = None,
        n_ins: int = 784,
        hidden_layers_sizes: Sequence[int] = (500, 500),
        n_outs: int = 10,
    ) -> None:
        self.sigmoid_layers: list[HiddenLayer] = []
        self.rbm_layers: list[RBM] = []
        self.params: list[Any] = []
        self.n_layers = len(hidden_layers_sizes)
        assert self.n_layers > 0
        if not theano_rng:
            theano_rng = RandomStreams(numpy_rng.randint(2**30))
        self.x = T.matrix("x")
        self.y = T.ivector("y")

        layer_input, input_size = self.x, n_ins
        for size in hidden_layers_sizes:
            sigmoid_layer = HiddenLayer(
                rng=numpy_rng,
                input=layer_input,
                n_in=input_size,
                n_out=size,
                activation=T.nnet.sigmoid,
            )
            self.sigmoid_layers.append(sigmoid_layer)
            # The visible biases of a Boltzmann machine are no parameters of the deep network.
            self.params.extend(sigmoid_layer.params)
            rbm_layer = RBM(
                numpy_rng=numpy_rng,
                theano_rng=theano_rng,
                input=layer_input,
                n_visible=input_size,
                n_hidden=size,
                W=sigmoid_layer.W,
                hbias=sigmoid_layer.b,
            )
            self.rbm_layers.append(rbm_layer)
            layer_input, input_size = sigmoid_layer.output, size
        self.logLayer = LogisticRegression(input=layer_input, n_in=input_size, n_out=n_outs)
        self.params.extend(self.logLayer.params)
        self.finetune_cost = self.logLayer.negative_log_likelihood(self.y)
        self.errors = self.logLayer.errors(self.y)

    def pretraining_functions(self, train_set_x: Any, batch_size: int, k: int) -> list[Any]:
        """For each layer a function of `index` and `lr` that makes a step of CD-k."""
        index = T.lscalar("index")
        learning_rate = T.scalar("lr")
        batch_begin = index * batch_size
        batch_end = batch_begin + batch_size
        pretrain_fns = []
        for rbm in self.rbm_layers:
            cost, updates = rbm.get_cost_updates(learning_rate, persistent=None, k=k)
            fn = theano.function(
                inputs=[index, theano.In(learning_rate, value=0.1)],
                outputs=cost,
                updates=updates,
                givens={self.x: train_set_x[batch_begin:batch_end]},
            )
            pretrain_fns.append(fn)
        return pretrain_fns


def train_DBN(
    finetune_lr: float = 0.1,
    pretraining_epochs: int = 100,
    pretrain_lr: float = 0.01,
    k: int = 1,
    training_epochs: int = 1000,
    batch_size: int = 10,
    hidden_layers_sizes: Sequence[int] = (1000, 1000, 1000),
    source: str = "auto",
) -> Result:
    """Pretrain and train on the digits from `source`."""
    datasets = digits.load(source)
    n_train_batches = datasets[0].batches(batch_size)
    numpy_rng = numpy.random.RandomState(123)
    dbn = DBN(
        numpy_rng=numpy_rng, n_ins=28 * 28, hidden_layers_sizes=hidden_layers_sizes, n_outs=10
    )  # fmt: skip

    pretraining_fns = dbn.pretraining_functions(
        train_set_x=datasets[0].x, batch_size=batch_size, k=k
    )
    begin = time.perf_counter()
    pretraining: list[list[float]] = []
    for i in range(dbn.n_layers):
        pretraining.append([])
        for epoch in range(pretraining_epochs):
            costs = [
                pretraining_fns[i](index=batch_index, lr=pretrain_lr)
                for batch_index in range(n_train_batches)
            ]
            pretraining[i].append(float(numpy.mean(costs)))
            say(f"pretraining layer {i}, epoch {epoch + 1}: cost {pretraining[i][-1]:.4f}")
    say(f"pretraining: {time.perf_counter() - begin:.1f} s")

    train_fn, validate, test = finetuning.functions(dbn, datasets, batch_size, finetune_lr)
    result = early_stopping.train(
        train_fn,
        validate,
        test,
        batches=n_train_batches,
        epochs=training_epochs,
        patience=4 * n_train_batches,
    )
    return Result(pretraining, result)


def main(arguments: Sequence[str] | None = None) -> Result:
    chosen = options(
        __doc__,
        arguments,
        pretraining_epochs=(100, "passes over the training set for each layer"),
        epochs=(1000, "passes over the training set for the whole, at most"),
        batch_size=(10, "digits in a minibatch"),
        pretraining_rate=(0.01, "step along the gradient of a Boltzmann machine"),
        learning_rate=(0.1, "step along the gradient of the whole"),
        k=(1, "Gibbs steps of a minibatch in pretraining"),
        sizes=((1000, 1000, 1000), "hidden units of each layer"),
        data=digits.SOURCE,
    )
    return train_DBN(
        chosen.learning_rate, chosen.pretraining_epochs, chosen.pretraining_rate, chosen.k,
        chosen.epochs, chosen.batch_size, chosen.sizes, chosen.data,
    )  # fmt: skip


if __name__ == "__main__":
    main()
