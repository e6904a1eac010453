"""`In` and `Out`: what a function's inputs and outputs may say of themselves.

Source: Theano, library/compile/io.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.graph import Variable
from symgraph.sharedvalue import SharedVariable, shared
from symgraph.types import TensorType
from symgraph.variable import as_tensor_variable


class In:
    """An input: `value` is its default; with `update` (an expression) it keeps state: after each
    call its value becomes that of the expression. `strict` refuses all but exact arrays.

    `mutable`, `borrow`, `implicit` and `autoname` are accepted as in Theano; arguments are never
    modified. Raises TypeError for what is no variable, for a `value` that does not fit its type,
    and for an `update` without a `value`.
    """

    def __init__(
        self,
        variable: Variable,
        name: str | None = None,
        value: Any = None,
        update: Any = None,
        mutable: bool | None = None,
        strict: bool = False,
        allow_downcast: bool | None = None,
        autoname: bool = True,
        implicit: bool | None = None,
        borrow: bool | None = None,
        shared: bool = False,
    ) -> None:
        if not isinstance(variable, Variable):
            raise TypeError(
                explain("In", "the input is not a variable", got=repr(variable),
                        expected="a symbolic variable such as T.matrix('x')")
            )  # fmt: skip
        self.variable = variable
        self.name = name if name is not None else variable.name
        self.strict = strict
        self.allow_downcast = allow_downcast
        self.mutable, self.borrow, self.implicit = mutable, borrow, implicit
        kind = variable.type
        self.dtype = np.dtype(kind.dtype) if isinstance(kind, TensorType) else None
        self.ndim = kind.ndim
        self.state: Any = None
        self.update = None
        self.value = value
        if value is not None and not isinstance(value, SharedVariable):
            self.value = kind.filter(value, strict=strict, allow_downcast=allow_downcast)
        if update is not None:
            if value is None:
                raise TypeError(
                    explain("In", f"the input {self} has an update and needs an initial value",
                            where=variable.created, got=f"update={update}, no value",
                            expected=f"a value of {kind}",
                            cure="give it: In(variable, value=..., update=...)")
                )  # fmt: skip
            self.update = as_tensor_variable(update)
            self.state = value if isinstance(value, SharedVariable) else _state(self.value, kind)

    def copied(self, is_updated: bool = True) -> In:
        """The same input for another function: a state that is its own starts anew. What is no
        longer updated has its initial value as the default."""
        twin = copy.copy(self)
        if not is_updated:
            twin.update = twin.state = None
        elif self.state is not None and self.state is not self.value:
            twin.state = _state(self.value, self.variable.type)
        return twin

    def __str__(self) -> str:
        return str(self.name or self.variable)


def _state(value: Any, kind: Any) -> Any:
    return shared(value, broadcastable=kind.broadcastable)


class Out:
    """An output; `borrow=True` allows a result that later calls may overwrite."""

    def __init__(self, variable: Any, borrow: bool = False) -> None:
        self.variable = as_tensor_variable(variable)
        self.borrow = borrow


def as_input(item: Any, allow_downcast: bool | None) -> In:
    """An `In` from a variable, or from a tuple in Theano's old notation, or as it is."""
    if isinstance(item, In):
        return item
    if isinstance(item, (tuple, list)):
        return _from_tuple(item, allow_downcast)
    if not isinstance(item, Variable):
        raise TypeError(
            explain("function", "an input is not a variable", got=repr(item),
                    expected="a symbolic variable, or In(variable, ...)")
        )  # fmt: skip
    return In(item, allow_downcast=allow_downcast)


def _from_tuple(item: Any, allow_downcast: bool | None) -> In:
    """(name, variable or (variable, update), value), of which all but the second may be left out.

    Source: Theano, library/compile/io.
    """
    rest = [part for part in item if not isinstance(part, str)]
    names = [part for part in item if isinstance(part, str)]
    update = None
    if rest and isinstance(rest[0], (tuple, list)) and len(rest[0]) == 2:
        rest[0], update = rest[0]
    if len(names) > 1 or len(rest) not in (1, 2) or not isinstance(rest[0], Variable):
        raise TypeError(
            explain("function", "an input is not a variable", got=repr(item),
                    expected="a variable, (variable, value), or ((variable, update), value)",
                    cure="symgraph.In(variable, value=..., update=...)")
        )  # fmt: skip
    name = names[0] if names else None
    value = rest[1] if len(rest) == 2 else None
    return In(rest[0], name=name, value=value, update=update, allow_downcast=allow_downcast)
