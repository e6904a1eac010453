"""Where training stands: what was reached in each round, and all that going on needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


class Round(NamedTuple):
    """What one stretch of training led to, a row of metrics.csv: normally one epoch.

    `iteration` and `epoch` count what was done by its end, `epoch` with a fraction where
    validation falls within one. `cost` is the mean over its minibatches, as in training (with
    penalties, dropout, distortions); `validation_cost` is without them. Errors are shares from 0 to
    1; `test_error` is None unless the validation error was the best so far. `seconds` is the
    time of all of it, `training_seconds` without validation and test.
    """

    iteration: int
    epoch: float
    learning_rate: float
    cost: float
    validation_cost: float
    validation_error: float
    test_error: float | None
    seconds: float
    training_seconds: float


@dataclass
class State:
    """Where training stands; with the variables of its functions, all that going on needs.

    `iteration` counts the steps made, `best_epoch` is when the validation error was lowest and
    `test_error` what the test set gave then; infinity stands for what is not known yet.
    `notes` is what callbacks want kept, under their names: dictionaries of what JSON can hold.
    """

    iteration: int = 0
    best_validation_error: float = math.inf
    best_epoch: float = 0.0
    test_error: float = math.inf
    history: list[Round] = field(default_factory=list)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    # of the stretch since the last validation
    cost_sum: float = 0.0
    seconds: float = 0.0

    @property
    def epoch(self) -> float:
        """Epochs done by the last validation."""
        return self.history[-1].epoch if self.history else 0.0

    @property
    def is_best(self) -> bool:
        """Whether the last validation gave the lowest error so far."""
        return bool(self.history) and self.best_epoch == self.history[-1].epoch

    def add(self, entry: Round) -> None:
        """Note what a validation found; a new stretch begins."""
        if entry.validation_error < self.best_validation_error:
            self.best_validation_error, self.best_epoch = entry.validation_error, entry.epoch
            if entry.test_error is not None:
                self.test_error = entry.test_error
        self.history.append(entry)
        self.cost_sum = self.seconds = 0.0

    def to_json(self) -> dict[str, Any]:
        """The state as what JSON can hold."""
        return {**asdict(self), "history": [list(entry) for entry in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> State:
        """The state that `to_json` gave; TypeError or ValueError if it is not."""
        return cls(**{**values, "history": [Round(*entry) for entry in values["history"]]})
