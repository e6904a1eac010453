"""The loop: minibatches, a validation after each epoch, and callbacks that are told of it all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import SupportsFloat

from lenet.train.functions import Functions
from lenet.train.state import Round, State


class Callback:
    """What training tells; a subclass says what it wants to hear. The names are Keras's.

        class Tell(Callback):
            def on_epoch_end(self, trainer, entry):
                print(entry.epoch, entry.validation_error)

    It may read all of `trainer` and call `trainer.stop`; an exception ends training at once. What
    must outlast the end of the process goes into `trainer.state.notes[self.name]`.
    """

    name = "callback"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first step, of a new run or of one that goes on."""

    def on_batch_end(self, trainer: Trainer, iteration: int, cost: SupportsFloat) -> None:
        """After each step; `iteration` is its number, from 0 on.

        On a GPU float(cost) waits for the step: `on_cost` does not.
        """

    def on_cost(self, trainer: Trainer, iteration: int, cost: float) -> None:
        """When the cost of a step is known: before `on_batch_end`, or on a GPU some steps later.

        It is told of every step, in order, before the validation that follows.
        """

    def on_epoch_end(self, trainer: Trainer, entry: Round) -> None:
        """After each validation; `entry` is in the history already."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last step, whatever ended training but an exception."""

    def close(self) -> None:
        """At the very end, after exceptions too: give back what on_train_begin took."""


class Trainer:
    """Calls `functions` until `epochs` are over or `stop` is called, from `state` on.

    Callbacks are told in the order in which they stand. Validation comes after every `frequency`
    steps, but at least once an epoch, which is the default.
    """

    def __init__(
        self,
        functions: Functions,
        epochs: int,
        state: State | None = None,
        callbacks: Sequence[Callback] = (),
        frequency: int | None = None,
    ) -> None:
        self.functions, self.state, self.epochs = functions, state or State(), epochs
        self.callbacks = tuple(callbacks)
        self.iterations = epochs * functions.batches
        self.frequency = min(functions.batches, frequency or functions.batches)
        self.ended: str | None = None  # why training was stopped
        self.rate = 0.0
        self._epoch: int | None = None  # for which order and learning rate are set
        self._costs: list[SupportsFloat] = []  # of the last steps, from number `_known` on
        self._known = 0
        # Steps may take a tenth of a millisecond: only those who listen are told of each.
        self._steps_told, self._costs_told = (
            [
                getattr(one, name)
                for one in self.callbacks
                if getattr(type(one), name) is not getattr(Callback, name)
            ]
            for name in ("on_batch_end", "on_cost")
        )

    def stop(self, reason: str) -> None:
        """End training after the step that is being made; `reason` is in a word or two."""
        self.ended = self.ended or reason

    @property
    def is_done(self) -> bool:
        return self.ended is not None or self.state.iteration >= self.iterations

    def run(self) -> State:
        """Train to the end; `ended` then says why: "epochs" unless something called `stop`."""
        with ExitStack() as stack:
            for callback in self.callbacks:
                stack.callback(callback.close)
                callback.on_train_begin(self)
            while not self.is_done:
                self.advance()
            if self.state.iteration >= self.iterations:
                self.ended = "epochs"
            for callback in self.callbacks:
                callback.on_train_end(self)
        return self.state

    def advance(self) -> Round | None:
        """Train until the next validation, or the end.

        Returns the round, also appended to the history; None when the end came before a validation:
        training can go on from there. `state` is as far as the steps at any moment, and its sum of
        costs as far as `functions.fetched` says.
        """
        state, functions = self.state, self.functions
        self._known = state.iteration
        begin = time.perf_counter()
        next_validation = (state.iteration // self.frequency + 1) * self.frequency
        stop = min(next_validation, self.iterations)
        while state.iteration < stop and self.ended is None:
            epoch, batch = divmod(state.iteration, functions.batches)
            if epoch != self._epoch:
                self.rate, self._epoch = functions.begin_epoch(epoch), epoch
            cost = functions.train(batch)
            self._costs += (cost,)
            state.iteration += 1
            if state.iteration - self._known >= functions.fetched:
                self._fetch()
            for tell in self._steps_told:
                tell(self, state.iteration - 1, cost)
        self._fetch()
        training_seconds = state.seconds + time.perf_counter() - begin
        if state.iteration != next_validation:
            state.seconds = training_seconds
            return None
        valid = functions.validate()
        is_best = valid.error < state.best_validation_error
        test = functions.test() if is_best and functions.test is not None else None
        entry = Round(
            iteration=state.iteration,
            epoch=state.iteration / functions.batches,
            learning_rate=self.rate,
            cost=state.cost_sum / self.frequency,
            validation_cost=valid.cost,
            validation_error=valid.error,
            test_error=None if test is None else test.error,
            seconds=state.seconds + time.perf_counter() - begin,
            training_seconds=training_seconds,
        )
        state.add(entry)
        for callback in self.callbacks:
            callback.on_epoch_end(self, entry)
        return entry

    def _fetch(self) -> None:
        """Wait for the costs of the last steps."""
        costs, self._costs = self._costs, []
        for one in costs:
            cost = float(one)
            self.state.cost_sum += cost
            self._known += 1
            for tell in self._costs_told:
                tell(self, self._known - 1, cost)
