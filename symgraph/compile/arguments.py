"""The arguments of a function: what a call gives its inputs, and what they keep between calls.

Source: Theano, library/compile/io (defaults, state) and library/compile/function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.compile.inputs import In
from symgraph.errors import explain
from symgraph.graph import Variable, user_trace
from symgraph.sharedvalue import SharedVariable


class Arguments:
    """The inputs `ins` of the function called `name`; `visible` are those without state.

    `defaults` hold for every call that gives no value, `assigned` values (`f[x] = 3`) for the next
    call only, as in Theano.
    """

    def __init__(self, ins: Sequence[In], name: str | None) -> None:
        self.ins, self.name = list(ins), name
        self.visible = [item for item in ins if item.update is None]
        self.defaults = {item: item.value for item in self.visible if item.value is not None}
        self.assigned: dict[In, Any] = {}

    @property
    def arity(self) -> int:
        """How many values by position are all that a call needs; -1: values must be bound."""
        return -1 if self.assigned or len(self.visible) < len(self.ins) else len(self.ins)

    # -- a call's values --------------------------------------------------------------------------

    def accept(self, position: int, value: Any) -> np.ndarray:
        """`value` as a C-contiguous array of the type of the visible input at `position`.

        Raises TypeError for values that do not fit.
        """
        data = self._filter(self.visible[position], value)
        flags = data.flags
        return data if flags.c_contiguous and flags.aligned else np.array(data, order="C")

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], list[tuple[Any, np.ndarray]]]:
        """Values of the visible inputs, from positions, names and defaults; and, for inputs that
        keep state and are given a value, pairs of state and value. Raises TypeError."""
        if len(args) > len(self.ins):
            raise self._misused(
                "Too many parameters passed to symgraph function", f"{len(args)} values",
                "give one value for each input",
            )  # fmt: skip
        given: dict[In, Any] = dict(zip(self.ins, args, strict=False))
        for key, value in kwargs.items():
            item = self._named(key)
            if item in given:
                raise self._misused(
                    f"symgraph function got two values for the input {key!r}",
                    "one by position and one by name", "leave one out",
                )  # fmt: skip
            given[item] = value
        values, states = [], []
        for item in self.ins:
            if item.update is not None:
                if item in given:
                    states.append((item.state, self._filter(item, given[item])))
                continue
            if item not in given:
                given[item] = self._kept(item, len(given))
            values.append(given[item])
        return values, states

    def _kept(self, item: In, count: int) -> Any:
        if item in self.assigned:
            return self.assigned[item]
        if item not in self.defaults:
            raise self._misused(
                f"Missing required input: {item}", f"{count} values",
                "give it, or a default: In(variable, value=...)", item.variable,
            )  # fmt: skip
        value = self.defaults[item]
        return value.get_value(borrow=True) if isinstance(value, SharedVariable) else value

    def _filter(self, item: In, value: Any) -> np.ndarray:
        try:
            return item.variable.type.filter(  # type: ignore[no-any-return]
                value, strict=item.strict, allow_downcast=item.allow_downcast
            )
        except TypeError as error:
            named = f' with name "{self.name}"' if self.name else ""
            label = item.variable.name or item.name
            kind = type(value).__name__
            if isinstance(value, np.ndarray):
                kind = f"array of {value.dtype}, shape {value.shape}"
            raise TypeError(
                explain(
                    "",
                    f"Bad input argument to symgraph function{named} at index "
                    f"{self.ins.index(item)} (0-based){f' (input {label!r})' if label else ''}. "
                    f"{error}",
                    where=item.variable.created,
                    got=kind,
                    expected=str(item.variable.type),
                )
            ) from None

    def _misused(
        self, problem: str, got: str, cure: str, about: Variable | None = None
    ) -> TypeError:
        where = user_trace() if about is None else about.created
        named = f"{self.name}(" if self.name else "("
        return TypeError(
            explain("", problem, where=where, got=got,
                    expected=f"{named}{', '.join(map(str, self.ins))})", cure=cure)
        )  # fmt: skip

    def _named(self, key: str) -> In:
        found = [item for item in self.ins if item.name == key]
        if len(found) == 1:
            return found[0]
        if found:
            raise self._misused(
                f"Ambiguous name: {key} - please check the names of the inputs of your function "
                "for duplicates.", f"{len(found)} inputs called {key!r}", "give In(..., name=...)",
            )  # fmt: skip
        names = [str(item.name) for item in self.ins if item.name is not None]
        rest = len(self.ins) - len(names)
        unnamed = (
            f", and {rest} unnamed input{'s' * (rest > 1)} which thus cannot be accessed "
            "through keyword argument (use 'name=...' in a variable's constructor to give it a "
            "name)"
        )
        raise self._misused(
            f"Unknown input or state: {key}. The function has {len(names)} named inputs "
            f"({', '.join(names)}){unnamed * (rest > 0)}.",
            f"the name {key!r}", "use one of these names, or give values by position",
        )  # fmt: skip

    # -- values between calls ---------------------------------------------------------------------

    def find(self, key: Any) -> In | None:
        """The input that `f[key]` is about: by variable, name or position. None if there is none.

        Raises TypeError for a name that several inputs have.
        """
        if isinstance(key, str):
            return self._named(key) if any(item.name == key for item in self.ins) else None
        for position, item in enumerate(self.ins):
            if key is item.variable or (type(key) is int and key == position):
                return item
        return None

    def value(self, item: In) -> Any:
        """What the input keeps for the next call: its state, its default, or None."""
        found = item.state if item.state is not None else self.defaults.get(item)
        found = self.assigned.get(item, found)
        return found.get_value() if isinstance(found, SharedVariable) else found

    def assign(self, item: In, value: Any) -> None:
        """Set a state, or the value that the next call uses if it gives none. Raises TypeError."""
        kept = item.state if item.state is not None else self.defaults.get(item)
        if kept is None:
            raise self._misused(
                f"the input {item} keeps no value between calls", f"{value!r} for it",
                "give the value in the call, or a default: In(variable, value=...)", item.variable,
            )  # fmt: skip
        data = self._filter(item, value)
        if isinstance(kept, SharedVariable):
            kept.set_value(data)
        else:
            self.assigned[item] = data
