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
    def is_out_of_patience(self) -> bool:
        return self.patience < self.iteration

    def to_json(self) -> dict[str, Any]:
        """The state as what JSON can hold."""
        return {**asdict(self), "history": [list(entry) for entry in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> State:
        """The state that `to_json` gave; TypeError or ValueError if it is not."""
        return cls(**{**values, "history": [Round(*entry) for entry in values["history"]]})


class Trainer:
    """Trains `model` on `dataset` with minibatches of `batch_size`, from `state` on.

    Build it, and call it, under the floatX of the model. Raises RunError if a batch is larger
    than the training set.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        batch_size: int,
        learning_rate: float,
        state: State | None = None,
    ) -> None:
        count = len(dataset.train.labels)
        if batch_size > count:
            raise RunError(
                "--batch-size",
                f"{batch_size} for {count} training examples",
                f"at most {count}",
                f"a smaller batch, or more data than {dataset.source}",
            )
        self.state = state or State()
        self.batches = count // batch_size
        self.batch_size = batch_size
        # As in the tutorial: once an epoch, or more often where epochs are longer than patience.
        self.frequency = min(self.batches, PATIENCE // 2)
        grads = symgraph.grad(model.cost, model.params)
        self.train = self._function(
            "train",
            model,
            model.cost,
            dataset.train,
            [(p, p - learning_rate * g) for p, g in zip(model.params, grads, strict=True)],
        )
        self.validate = self._function("validate", model, model.errors, dataset.valid)
        self.test = self._function("test", model, model.errors, dataset.test)
        self.examples = {"valid": len(dataset.valid.labels), "test": len(dataset.test.labels)}

    def _function(
        self, name: str, model: Model, output: Any, split: Split, updates: Any = ()
    ) -> Callable[[int], Any]:
        x, y = shared_dataset(split)
        index = symgraph.tensor.lscalar("index")
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        compiled = symgraph.function(
            [index],
            output,
            updates=list(updates),
            givens={model.x: x[batch], model.y: y[batch]},
            name=name,
        )
        return compiled  # type: ignore[no-any-return]

    def is_done(self, epochs: int) -> bool:
        """Whether `epochs` are over, or patience is."""
        return self.state.is_out_of_patience or self.state.iteration >= epochs * self.batches

    def advance(
        self, epochs: int, tick: Callable[[float], object] = lambda cost: None
    ) -> Round | None:
        """Train until the next validation, or the end, and note in `state` what came of it.

        `tick` is called with the cost after each minibatch. Returns the round, also appended to
        the history; None when the end came before a validation. If it raises (KeyboardInterrupt),
        `state` is unchanged, but the parameters have moved on. Raises RunError if the cost is no
        longer a finite number.
        """
        state = self.state
        begin = time.perf_counter()
        next_validation = (state.iteration // self.frequency + 1) * self.frequency
        stop = min(next_validation, epochs * self.batches, state.patience + 1)
        cost_sum = state.cost_sum
        for iteration in range(state.iteration, stop):
            cost = float(self.train(iteration % self.batches))
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
        validation_error = self._mean_error(self.validate, "valid")
        is_best = validation_error < state.best_validation_error
        test_error = self._mean_error(self.test, "test") if is_best else None
        entry = Round(
            iteration=stop,
            epoch=stop / self.batches,
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

    def _mean_error(self, errors: Callable[[int], Any], split: str) -> float:
        """The share of errors over a whole split, its last minibatch being what is left."""
        count = self.examples[split]
        starts = range(0, count, self.batch_size)
        wrong = sum(
            float(errors(i)) * min(self.batch_size, count - start)
            for i, start in enumerate(starts)
        )
        return wrong / count


def shared_dataset(split: Split) -> tuple[Any, Any]:
    """`split` as shared variables: images (n, pixels) in floatX, 0 to 1, and labels int32 (n,)."""
    images = split.images.reshape(len(split.images), -1)
    x = np.multiply(images, 1 / 255, dtype=symgraph.config.floatX)
    return symgraph.shared(x, "images", borrow=True), symgraph.shared(split.labels, "labels")
