"""What a training run is asked to do; kept in its checkpoints, so that it can be resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lenet.errors import RunError


@dataclass(frozen=True)
class Options:
    """The options of `python -m lenet train`; the defaults are the tutorial's.

    Raises RunError if a value is out of range.
    """

    model: str = "tutorial"
    data: str = "mnist"
    source: str = "auto"
    epochs: int = 200
    batch_size: int = 500
    learning_rate: float = 0.1
    nkerns: tuple[int, ...] = (20, 50)
    seed: int = 23455
    limit: int | None = None

    # These may differ when a run is resumed: how long to train, and where the same data lie.
    CHANGEABLE = ("epochs", "source")

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "limit"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 10**9:
                raise _out_of_range(name, value, "a number from 1 to 1,000,000,000")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise _out_of_range("learning_rate", self.learning_rate, "a number above 0, as 0.1")
        if not 0 <= self.seed < 2**32:
            raise _out_of_range("seed", self.seed, "a number from 0 to 4294967295")
        if not self.nkerns or not all(1 <= n <= 10_000 for n in self.nkerns):
            given = ",".join(map(str, self.nkerns))
            raise _out_of_range("nkerns", given, "numbers from 1 to 10,000, as 20,50")

    def resumed_with(self, given: Mapping[str, Any]) -> Options:
        """These options of a run, with those `given` now that may change; RunError for others."""
        for name, value in given.items():
            if name not in self.CHANGEABLE and value != (kept := getattr(self, name)):
                raise RunError(
                    flag(name),
                    f"{value} for a run that was started with {kept}",
                    f"{kept}",
                    "leave the option out, or start a new run without --resume",
                )
        return replace(self, **given)

    def to_json(self) -> dict[str, Any]:
        """The options as what JSON can hold."""
        return {**asdict(self), "nkerns": list(self.nkerns)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Options:
        """The options that `to_json` gave; TypeError or ValueError if they are not."""
        values = dict(values)
        for field in fields(cls):
            value = values[field.name]
            if field.name == "nkerns":
                values["nkerns"] = tuple(int(n) for n in value)
            elif not (value is None and field.name == "limit"):
                kind = int if field.name == "limit" else type(getattr(cls, field.name))
                values[field.name] = kind(value)
        return cls(**values)


def flag(name: str) -> str:
    """How the option `name` is written on the command line."""
    return "--" + name.replace("_", "-")


def _out_of_range(name: str, got: object, expected: str) -> RunError:
    return RunError(flag(name), str(got), expected, "give the option such a value")
