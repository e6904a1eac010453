"""Stacked denoising auto-encoders on MNIST: layers trained one by one, then all for the labels.

    python -m symgraph run examples/tutorials/SdA.py --pretraining-epochs 5 --epochs 10

Each hidden layer shares its weights with a denoising auto-encoder, which is trained on what the
layer below gives; then the whole is a multilayer perceptron, trained with early stopping.

Model: Deep Learning Tutorials, "Stacked Denoising Autoencoders", after Vincent, Larochelle,
Lajoie, Bengio & Manzagol, "Stacked denoising autoencoders" (JMLR 11, 2010). Documented there:
1.39 % validation error, 1.3 % test error, after 15 epochs a layer with minibatches of one digit
and up to 1000 epochs for the labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import digits
import early_stopping
import finetuning
import numpy
import theano
import theano.tensor as T
from command import options, say
from dA import dA
from logistic_sgd import LogisticRegression
from mlp import HiddenLayer
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams


class SdA:
    """Sigmoid layers of the given sizes, an auto-encoder for each, and logistic regression on top.

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
        self.dA_layers: list[dA] = []
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
            # The visible biases of an auto-encoder are no parameters of the deep network.
            self.params.extend(sigmoid_layer.params)
            dA_layer = dA(
                numpy_rng=numpy_rng,
                theano_rng=theano_rng,
                input=layer_input,
                n_visible=input_size,
                n_hidden=size,
                W=sigmoid_layer.W,
                bhid=sigmoid_layer.b,
            )
            self.dA_layers.append(dA_layer)
            layer_input, input_size = sigmoid_layer.output, size
        self.logLayer = LogisticRegression(input=layer_input, n_in=input_size, n_out=n_outs)
        self.params.extend(self.logLayer.params)
        self.finetune_cost = self.logLayer.negative_log_likelihood(self.y)
        self.errors = self.logLayer.errors(self.y)

    def pretraining_functions(self, train_set_x: Any, batch_size: int) -> list[Any]:
        """For each layer a function of `index`, `corruption` and `lr` that makes a step."""
        index = T.lscalar("index")
        corruption_level = T.scalar("corruption")
        learning_rate = T.scalar("lr")
        batch_begin = index * batch_size
        batch_end = batch_begin + batch_size
        pretrain_fns = []
        for layer in self.dA_layers:
            cost, updates = layer.get_cost_updates(corruption_level, learning_rate)
            fn = theano.function(
                inputs=[
                    index,
                    theano.In(corruption_level, value=0.2),
                    theano.In(learning_rate, value=0.1),
                ],
                outputs=cost,
                updates=updates,
                givens={self.x: train_set_x[batch_begin:batch_end]},
            )
            pretrain_fns.append(fn)
        return pretrain_fns


class Result(NamedTuple):
    """`pretraining`: the mean cost of each epoch, layer by layer; `finetuning`: of the whole."""

    pretraining: list[list[float]]
    finetuning: early_stopping.Result


def train_SdA(
    finetune_lr: float = 0.1,
    pretraining_epochs: int = 15,
    pretrain_lr: float = 0.001,
    training_epochs: int = 1000,
    batch_size: int = 1,
    hidden_layers_sizes: Sequence[int] = (1000, 1000, 1000),
    corruption_levels: Sequence[float] = (0.1, 0.2, 0.3),
    source: str = "auto",
) -> Result:
    """Pretrain and train on the digits from `source`; one corruption level for each layer."""
    datasets = digits.load(source)
    n_train_batches = datasets[0].batches(batch_size)
    numpy_rng = numpy.random.RandomState(89677)
    sda = SdA(
        numpy_rng=numpy_rng, n_ins=28 * 28, hidden_layers_sizes=hidden_layers_sizes, n_outs=10
    )  # fmt: skip

    pretraining_fns = sda.pretraining_functions(train_set_x=datasets[0].x, batch_size=batch_size)
    begin = time.perf_counter()
    pretraining: list[list[float]] = []
    for i in range(sda.n_layers):
        pretraining.append([])
        for epoch in range(pretraining_epochs):
            costs = [
                pretraining_fns[i](
                    index=batch_index, corruption=corruption_levels[i], lr=pretrain_lr
                )
                for batch_index in range(n_train_batches)
            ]
            pretraining[i].append(float(numpy.mean(costs)))
            say(f"pretraining layer {i}, epoch {epoch + 1}: cost {pretraining[i][-1]:.4f}")
    say(f"pretraining: {time.perf_counter() - begin:.1f} s")

    train_fn, validate, test = finetuning.functions(sda, datasets, batch_size, finetune_lr)
    result = early_stopping.train(
        train_fn,
        validate,
        test,
        batches=n_train_batches,
        epochs=training_epochs,
        patience=10 * n_train_batches,
    )
    return Result(pretraining, result)


def main(arguments: Sequence[str] | None = None) -> Result:
    chosen = options(
        __doc__,
        arguments,
        pretraining_epochs=(15, "passes over the training set for each layer"),
        epochs=(1000, "passes over the training set for the whole, at most"),
        batch_size=(1, "digits in a minibatch"),
        pretraining_rate=(0.001, "step along the gradient of an auto-encoder"),
        learning_rate=(0.1, "step along the gradient of the whole"),
        sizes=((1000, 1000, 1000), "hidden units of each layer"),
        corruption=((0.1, 0.2, 0.3), "share of its input that each layer loses in pretraining"),
        data=digits.SOURCE,
    )
    if len(chosen.corruption) != len(chosen.sizes):
        raise SystemExit(
            f"SdA: got {len(chosen.corruption)} levels of --corruption, {len(chosen.sizes)} --sizes"
            "; expected as many of both. Cure: give --corruption a level for each size"
        )
    return train_SdA(
        chosen.learning_rate, chosen.pretraining_epochs, chosen.pretraining_rate, chosen.epochs,
        chosen.batch_size, chosen.sizes, chosen.corruption, chosen.data,
    )  # fmt: skip


if __name__ == "__main__":
    main()
