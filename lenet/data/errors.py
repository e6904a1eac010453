"""What goes wrong with data, in one line: where, what was got, what was expected, the cure."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used: says which file, what it is, what was expected, and the cure."""

    def __init__(self, where: object, got: str, expected: str, cure: str) -> None:
        super().__init__(f"{where}: got {got}; expected {expected}. Cure: {cure}")


class Unavailable(DataError):
    """A source that has nothing to give here and now (offline, not installed, no such files)."""

    def __init__(self, where: object, reason: str, cure: str) -> None:
        ValueError.__init__(self, f"{where}: {reason}. Cure: {cure}")
