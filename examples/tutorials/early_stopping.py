"""Training until nothing more is learned: early stopping by patience.

Source: Deep Learning Tutorials, "Getting Started". A run lasts at least `patience` minibatches;
each time that the validation error becomes clearly better, it may last `increase` times as long as
it has taken so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
from command import say


class Result(NamedTuple):
    """Errors are shares from 0 to 1; `history`: (epoch, validation error) of each validation."""

    validation_error: float
    test_error: float
    epoch: int
    seconds: float
    history: list[tuple[int, float]]


def mean_over(model: Callable[[int], Any], batches: int) -> Callable[[], float]:
    """A function that averages what `model` returns for each of the minibatches."""
    return lambda: float(numpy.mean([model(index) for index in range(batches)]))


def train(
    step: Callable[[int], Any],
    validation_error: Callable[[], float],
    test_error: Callable[[], float],
    batches: int,
    epochs: int,
    patience: int = 5000,
    increase: float = 2,
    threshold: float = 0.995,
    on_best: Callable[[], object] = lambda: None,
) -> Result:
    """Call `step` with the index of each minibatch, for `epochs` or until patience is over.

    `threshold` is the share of the best error so far below which a new one counts as clearly
    better. `on_best` is called whenever the validation error is the best so far. Raises
    FloatingPointError if a cost is not a finite number.
    """
    frequency = min(batches, patience // 2)
    best = Result(math.inf, math.inf, 0, 0.0, [])
    begin, iteration, cost = time.perf_counter(), 0, math.nan
    for epoch in range(1, epochs + 1):
        for index in range(batches):
            cost = float(step(index))
            if not math.isfinite(cost):
                raise FloatingPointError(f"epoch {epoch}: the cost is {cost}; learn more slowly")
            iteration += 1
            if iteration % frequency == 0:
                error = validation_error()
                best.history.append((epoch, error))
                line = f"epoch {epoch}, minibatch {index + 1}/{batches}: cost {cost:.4f}, "
                line += f"validation error {100 * error:.4f} %"
                if error < best.validation_error:
                    if error < threshold * best.validation_error:
                        patience = max(patience, int(iteration * increase))
                    seconds = time.perf_counter() - begin
                    best = Result(error, test_error(), epoch, seconds, best.history)
                    line += f", test error {100 * best.test_error:.4f} %"
                    on_best()
                say(line)
            if patience <= iteration:
                return _finish(best, begin)
    return _finish(best, begin)


def _finish(best: Result, begin: float) -> Result:
    seconds = time.perf_counter() - begin
    say(
        f"best validation error {100 * best.validation_error:.4f} % at epoch {best.epoch}, with "
        f"test error {100 * best.test_error:.4f} %; {seconds:.1f} s"
    )
    return best._replace(seconds=seconds)
