"""Learning rates over epochs: functions from the epoch, an int from 0, to a factor of the rate.

    rate.set_value(0.1 * exponential(0.95)(epoch))

`parse` reads them from text such as "step:10,0.5". What is out of range raises RunError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import signature
from typing import Any

from lenet.errors import RunError

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """1 for ever."""
    return lambda epoch: 1.0


def exponential(decay: float) -> Schedule:
    """decay**epoch, of a `decay` above 0, at most 1. Source: PyTorch, `ExponentialLR`."""
    _check("exponential", "decay", decay, 0 < decay <= 1, "a number above 0, at most 1")
    return lambda epoch: decay**epoch


def inverse(decay: float) -> Schedule:
    """1 / (1 + decay * epoch), of a `decay` from 0. Source: Keras, `InverseTimeDecay`."""
    _check("inverse", "decay", decay, 0 <= decay < math.inf, "a number from 0")
    return lambda epoch: 1.0 / (1.0 + decay * epoch)


def step(every: float, factor: float) -> Schedule:
    """`factor` (above 0, at most 1) times as much after each `every` epochs, a whole number from 1.

    Source: PyTorch, `StepLR`.
    """
    _check("step", "every", every, every >= 1 and every % 1 == 0, "a whole number from 1")
    _check("step", "factor", factor, 0 < factor <= 1, "a number above 0, at most 1")
    return lambda epoch: factor ** (epoch // int(every))


def cosine(epochs: float) -> Schedule:
    """(1 + cos(pi * epoch / epochs)) / 2: from 1 down to 0 at `epochs`, a whole number from 1.

    Source: Loshchilov and Hutter, SGDR, 2017; PyTorch, `CosineAnnealingLR`, without restarts.
    """
    _check("cosine", "epochs", epochs, epochs >= 1 and epochs % 1 == 0, "a whole number from 1")
    return lambda epoch: (1.0 + math.cos(math.pi * min(epoch, epochs) / epochs)) / 2


def lecun1998() -> Schedule:
    """LeNet-5's: 0.0005 for two passes, 0.0002 for three, 0.0001 for three, 0.00005 for four, then
    0.00001, as shares of the first.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, III-B.
    """
    table = ((2, 1.0), (5, 0.4), (8, 0.2), (12, 0.1))  # pass at which the next one begins, factor
    return lambda epoch: next((factor for end, factor in table if epoch < end), 0.02)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "exponential": exponential,
    "inverse": inverse,
    "step": step,
    "cosine": cosine,
    "lecun1998": lecun1998,
}


def parse(text: str, epochs: int = 1) -> Schedule:
    """The schedule that `text` names, with its numbers after a colon: "exponential:0.95".

    `epochs` is how many there are in all: "cosine" alone falls over all of them. Raises RunError
    for other names, what is no number, too many or too few, and what is out of range.
    """
    name, _, rest = text.partition(":")
    if name not in SCHEDULES:
        known = ", ".join(map(form, SCHEDULES))
        raise RunError("schedule", repr(text), f"one of {known}", "use one of these")
    if text == "cosine":
        return cosine(epochs)
    words = rest.split(",") if rest else []
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(words) != len(numbers) or len(numbers) != len(_parameters(name)):
        raise RunError("schedule", repr(text), form(name), "give these numbers, comma-separated")
    return SCHEDULES[name](*numbers)


def form(name: str) -> str:
    """How `parse` wants that schedule written: "step:every,factor"."""
    parameters = ",".join(_parameters(name))
    return f"{name}:{parameters}" if parameters else name


def _parameters(name: str) -> list[str]:
    return list(signature(SCHEDULES[name]).parameters)


def _check(schedule: str, what: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        cure = f"write it as {form(schedule)}"
        raise RunError(f"schedule {schedule}", f"{what}={value:g}", expected, cure)
