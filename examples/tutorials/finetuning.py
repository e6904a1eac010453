"""The second half of training a deep network that was pretrained layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import digits
import early_stopping
import theano
import theano.tensor as T


def functions(
    network: Any, datasets: Sequence[digits.Part], batch_size: int, learning_rate: float
) -> tuple[Any, Any, Any]:
    """Functions that train `network` for the labels by gradient descent, and judge it.

    `network` has inputs `x` and `y`, a scalar `finetune_cost`, `errors` and `params`.
    Returns a step by the index of a minibatch, and functions without arguments that give the
    validation and the test error.
    """
    index = T.lscalar("index")

    def batch_of(part: digits.Part) -> dict[Any, Any]:
        return {
            network.x: part.x[index * batch_size : (index + 1) * batch_size],
            network.y: part.y[index * batch_size : (index + 1) * batch_size],
        }

    def judge(part: digits.Part, name: str) -> Callable[[], float]:
        model = theano.function([index], network.errors, givens=batch_of(part), name=name)
        return early_stopping.mean_over(model, part.batches(batch_size))

    gparams = T.grad(network.finetune_cost, network.params)
    updates = [
        (param, param - gparam * learning_rate)
        for param, gparam in zip(network.params, gparams, strict=True)
    ]
    train_fn = theano.function(
        inputs=[index],
        outputs=network.finetune_cost,
        updates=updates,
        givens=batch_of(datasets[0]),
        name="train",
    )
    return train_fn, judge(datasets[1], "valid"), judge(datasets[2], "test")
