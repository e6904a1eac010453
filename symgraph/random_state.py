"""NumPy's RandomState as an array, so that functions compute with it as with anything else.

The array is 628 numbers of uint32: the 624 words of the Mersenne Twister's key, the position in it,
whether a normal number is kept, and the bits of that number, a float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.sharedvalue import Container, TensorSharedVariable
from symgraph.types import TensorType

WORDS = 628


class RandomStateType(TensorType):
    """The type of a state: an array for functions, which take a RandomState as well and copy it.

    Source: Theano, tensor/raw_random.py, RandomStateType.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("uint32", (False,))

    def filter(
        self, value: Any, strict: bool = False, allow_downcast: bool | None = None
    ) -> np.ndarray:
        """The array of a RandomState, or an array as it is; TypeError for anything else."""
        if isinstance(value, np.random.RandomState):
            return pack(value)
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{self} takes a numpy.random.RandomState, got {value!r}.")
        return super().filter(value, strict, allow_downcast)

    def __reduce__(self) -> tuple[Any, ...]:
        return RandomStateType, ()

    def __repr__(self) -> str:
        return "RandomStateType"


STATE = RandomStateType()


def pack(state: np.random.RandomState) -> np.ndarray:
    """The array of `state`; TypeError for one that does not run the Mersenne Twister."""
    facts: Any = state.get_state(legacy=False)
    if facts["bit_generator"] != "MT19937":
        raise TypeError(
            explain("RandomState", "only the Mersenne Twister's state is an array",
                    got=facts["bit_generator"], expected="numpy.random.RandomState(seed)")
        )  # fmt: skip
    array = np.zeros(WORDS, "uint32")
    array[:624] = facts["state"]["key"]
    array[624:626] = facts["state"]["pos"], facts["has_gauss"]
    array[626:].view("float64")[0] = facts["gauss"]
    return array


def unpack(array: np.ndarray) -> np.random.RandomState:
    """The RandomState of an array of uint32 (628,); ValueError for another shape."""
    if array.shape != (WORDS,):
        raise ValueError(
            explain("RandomState", "this array is no state", got=f"shape {array.shape}",
                    expected=f"shape ({WORDS},)", cure="give a numpy.random.RandomState")
        )  # fmt: skip
    state = np.random.RandomState(0)
    gauss = float(array[626:].view("float64")[0])
    state.set_state(("MT19937", array[:624], min(int(array[624]), 624), int(array[625]), gauss))
    return state


class RandomStateSharedVariable(TensorSharedVariable):
    """A shared RandomState: `get_value` gives one and `set_value` takes one, as Theano's does.

    The one that `get_value` gives is always a copy: what is drawn from it counts only once it is
    given back. Functions see the array.
    """

    __slots__ = ()

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> Any:
        """The state as a RandomState; with `return_internal_type`, as its array."""
        if return_internal_type:
            return super().get_value(borrow)
        return unpack(self.container.value)

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Replace the state by a RandomState, or by an array of one (ValueError if it is none)."""
        array = pack(value) if isinstance(value, np.random.RandomState) else value
        if isinstance(array, np.ndarray):
            unpack(array)
        super().set_value(array, borrow)


def shared_state(
    value: np.random.RandomState, name: str | None = None
) -> RandomStateSharedVariable:
    """A shared variable that holds a copy of `value`."""
    return RandomStateSharedVariable(STATE, None, name, Container(pack(value)))
