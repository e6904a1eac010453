"""New values of shared variables, by variable. Source: Theano, updates.py."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from symgraph.errors import explain
from symgraph.sharedvalue import SharedVariable


class Collision(KeyError):
    """Two new values for one variable; unlike a KeyError's, its text may have lines."""

    __str__ = Exception.__str__


class OrderedUpdates(OrderedDict[SharedVariable, Any]):
    """A mapping from shared variables to their new values, to be given to `function(updates=)`.

    Keys are shared variables (TypeError). `update` and `+` unite two such mappings; KeyError if
    both have another value for the same variable. Empty ones are falsy.
    Source: Theano, `theano.updates.OrderedUpdates`.
    """

    def __setitem__(self, key: SharedVariable, value: Any) -> None:
        if not isinstance(key, SharedVariable):
            raise TypeError(
                explain("updates", "OrderedUpdates keys must inherit from SharedVariable",
                        got=f"{key!r} of {type(key).__name__}", expected="a shared variable",
                        cure="make it with symgraph.shared(...)")
            )  # fmt: skip
        super().__setitem__(key, value)

    def update(self, other: Any = None, /) -> None:
        """Add the pairs of `other`, a mapping or a list of pairs."""
        for key, value in OrderedDict(other or ()).items():
            if key in self and self[key] is not value:
                raise Collision(
                    explain("updates", f"Collision: two new values for {key}", where=key.created,
                            got=f"{self[key]} and {value}", expected="one new value",
                            cure="add up what changes it, or leave one out")
                )  # fmt: skip
            self[key] = value

    def __add__(self, other: Any) -> OrderedUpdates:
        united = OrderedUpdates(self)
        united.update(other)
        return united

    def __radd__(self, other: Any) -> OrderedUpdates:
        return OrderedUpdates(other) + self
