"""Training as in the Deep Learning Tutorials: minibatch gradient descent, early stopping.

The data lie in shared variables and a function gets the index of a minibatch, so that nothing is
copied from call to call. Source: deeplearning.net tutorials "gettingstarted" (early stopping by
patience) and "lenet".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

import symgraph
from lenet.data import Dataset, Split
from lenet.errors import RunError
from lenet.models import Model

PATIENCE = 10_000  # iterations that are done in any case
PATIENCE_INCREASE = 2  # a better model makes it last this many times as long as it took
IMPROVEMENT_THRESHOLD = 0.995  # ... if its error is below this share of the best before


class Round(NamedTuple):
    """What one stretch of training led to, a row of metrics.csv: normally one epoch.

    `iteration` and `epoch` count what was done by its end, `epoch` with a fraction where
    validation falls within one. `cost` is the mean over its minibatches. Errors are shares from 0
    to 1; `test_error` is None unless the validation error was the best so far. `seconds` is the
    time of all of it, `training_seconds` without validation and test.
    """

    iteration: int
    epoch: float
    cost: float
    validation_error: float
    test_error: float | None
    seconds: float
    training_seconds: float


@dataclass
class State:
    """Where training stands; with the parameters, all that going on needs."""

    iteration: int = 0
    patience: int = PATIENCE
    best_validation_error: float = math.inf
    best_epoch: float = 0.0
    test_error: float = math.inf
    history: list[Round] = field(default_factory=list)
    # of the stretch since the last validation
    cost_sum: float = 0.0
    seconds: float = 0.0

    @property
    def epoch(self) -> float:
        """Epochs done by the last validation."""
        return self.history[-1].epoch if self.history else 0.0

    @property
    def is_out_of_patience(self) -> bool:
        return self.patience < self.iteration

    def to_json(self) -> dict[str, Any]:
        """The state as what JSON can hold."""
        return {**asdict(self), "history": [list(entry) for entry in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> State:
        """The state that `to_json` gave; TypeError or ValueError if it is not."""
        return cls(**{**values, "history": [Round(*entry) for entry in values["history"]]})


@dataclass(frozen=True)
class Functions:
    """What training calls, each with the index of a minibatch.

    `train` makes a step and returns the cost; `validate` and `test` return the share of errors in
    a minibatch. There are `batches` minibatches of `batch_size` to train with, and `valid_count`
    and `test_count` examples to judge by, the last minibatch being what is left.
    """

    train: Callable[[int], Any]
    validate: Callable[[int], Any]
    test: Callable[[int], Any]
    batches: int
    batch_size: int
    valid_count: int
    test_count: int


def compile_functions(
    model: Model, dataset: Dataset, batch_size: int, learning_rate: float
) -> Functions:
    """The functions that train `model` on `dataset` by gradient descent.

    Call it under the floatX of the model. Raises RunError if a minibatch is larger than the
    training set.
    """
    index: Any = symgraph.tensor.lscalar("index")
    batch = slice(index * batch_size, (index + 1) * batch_size)

    def function(name: str, output: Any, split: Split, updates: Any = ()) -> Any:
        x, y = shared_dataset(split)
        givens = {model.x: x[batch], model.y: y[batch]}
        return symgraph.function([index], output, updates=updates, givens=givens, name=name)

    grads = symgraph.grad(model.cost, model.params)
    steps = [(p, p - learning_rate * g) for p, g in zip(model.params, grads, strict=True)]
    return Functions(
        train=function("train", model.cost, dataset.train, steps),
        validate=function("validate", model.errors, dataset.valid),
        test=function("test", model.errors, dataset.test),
        batches=count_batches(dataset, batch_size),
        batch_size=batch_size,
        valid_count=len(dataset.valid.labels),
        test_count=len(dataset.test.labels),
    )


class Trainer:
    """Calls `functions` until `epochs` are over or patience is, from `state` on."""

    def __init__(self, functions: Functions, epochs: int, state: State | None = None) -> None:
        self.functions, self.state = functions, state or State()
        self.iterations = epochs * functions.batches
        # As in the tutorial: once an epoch, or more often where epochs are longer than patience.
        self.frequency = min(functions.batches, PATIENCE // 2)

    @property
    def is_done(self) -> bool:
        return self.state.is_out_of_patience or self.state.iteration >= self.iterations

    def advance(self, tick: Callable[[float], object] = lambda cost: None) -> Round | None:
        """Train until the next validation, or the end, and note in `state` what came of it.

        `tick` is called with the cost after each minibatch. Returns the round, also appended to
        the history; None when the end came before a validation. If it raises (KeyboardInterrupt),
        `state` is unchanged, but the parameters have moved on. Raises RunError if the cost is no
        longer a finite number.
        """
        state, functions = self.state, self.functions
        begin = time.perf_counter()
        next_validation = (state.iteration // self.frequency + 1) * self.frequency
        stop = min(next_validation, self.iterations, state.patience + 1)
        cost_sum = state.cost_sum
        for iteration in range(state.iteration, stop):
            cost = float(functions.train(iteration % functions.batches))
            if not math.isfinite(cost):
                raise RunError(
                    f"iteration {iteration + 1}",
                    f"a cost of {cost}",
                    "a finite cost",
                    "train with a smaller --learning-rate",
                )
            cost_sum += cost
            tick(cost)
        training_seconds = state.seconds + time.perf_counter() - begin
        if stop != next_validation:
            state.iteration, state.cost_sum, state.seconds = stop, cost_sum, training_seconds
            return None
        validation_error = self._mean_error(functions.validate, functions.valid_count)
        is_best = validation_error < state.best_validation_error
        test_error = self._mean_error(functions.test, functions.test_count) if is_best else None
        entry = Round(
            iteration=stop,
            epoch=stop / functions.batches,
            cost=cost_sum / self.frequency,
            validation_error=validation_error,
            test_error=test_error,
            seconds=state.seconds + time.perf_counter() - begin,
            training_seconds=training_seconds,
        )
        if test_error is not None:
            if validation_error < state.best_validation_error * IMPROVEMENT_THRESHOLD:
                state.patience = max(state.patience, (stop - 1) * PATIENCE_INCREASE)
            state.best_validation_error = validation_error
            state.best_epoch = entry.epoch
            state.test_error = test_error
        state.iteration, state.cost_sum, state.seconds = stop, 0.0, 0.0
        state.history.append(entry)
        return entry

    def _mean_error(self, errors: Callable[[int], Any], count: int) -> float:
        """The share of errors over `count` examples, the last minibatch being what is left."""
        size = self.functions.batch_size
        wrong = 0
        for i in range(-(-count // size)):
            # Back to whole numbers: the result does not depend on the size of minibatches.
            wrong += round(float(errors(i)) * min(size, count - size * i))
        return wrong / count


def shared_dataset(split: Split) -> tuple[Any, Any]:
    """`split` as shared variables: images (n, pixels) in floatX, 0 to 1, and labels int32 (n,)."""
    images = split.images.reshape(len(split.images), -1)
    x = np.multiply(images, 1 / 255, dtype=symgraph.config.floatX)
    return symgraph.shared(x, "images", borrow=True), symgraph.shared(split.labels, "labels")


def count_batches(dataset: Dataset, batch_size: int) -> int:
    """How many minibatches the training set has; what is left over is not trained on.

    Raises RunError if there is not even one.
    """
    count = len(dataset.train.labels)
    if batch_size > count:
        raise RunError(
            "--batch-size",
            f"{batch_size} for {count} training images",
            f"at most {count}",
            "give a smaller --batch-size, or more data",
        )
    return count // batch_size
