"""Shared variables: values that functions read and update between calls.

Source: Theano, library/compile/shared.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.flags import DEVICES
from symgraph.graph import Variable
from symgraph.types import Generic, TensorType, Type, check_dtype
from symgraph.variable import TensorOperators


def owned(data: np.ndarray) -> np.ndarray:
    """`data` as kernels read and overwrite it: dense, aligned, writeable; copied if need be."""
    flags = data.flags
    dense = flags.c_contiguous and flags.aligned and flags.writeable
    if type(data) is np.ndarray and dense and data.dtype.isnative:
        return data
    return np.array(data, data.dtype.newbyteorder("="), order="C")


class Container:
    """The cell that holds a shared variable's value; clones share it.

    `strict` and `allow_downcast` say which new values it takes, as for `Type.filter`; `is_home`
    whether functions that use it run on the device.
    """

    __slots__ = ("__weakref__", "allow_downcast", "is_home", "strict", "value", "version")

    def __init__(
        self, value: Any, strict: bool = False, allow_downcast: bool | None = None
    ) -> None:
        self.value = value
        self.strict, self.allow_downcast = strict, allow_downcast
        self.is_home = False
        self.version = 0  # counts replacements of the array, so that functions notice

    def on_host(self) -> Any:
        """The value, on the host: an array that is on a device comes back, and a
        function of the device takes it there again."""
        if hasattr(self.value, "on_host"):
            self.value = self.value.on_host()
        return self.value

    @property
    def data(self) -> Any:
        """Theano's second name for `value`."""
        return self.value

    @property
    def storage(self) -> list[Any]:
        """The value in a list, as Theano keeps it; a new list, so assigning in it does nothing."""
        return [self.value]

    def replace(self, value: Any) -> None:
        self.value = value
        self.version += 1

    def __reduce__(self) -> tuple[Any, ...]:
        value = self.value.on_host() if hasattr(self.value, "on_host") else self.value
        return Container, (None, self.strict, self.allow_downcast), {"value": value}

    def __setstate__(self, state: dict[str, Any]) -> None:
        value = state["value"]  # buffers out of band and maps of files may be of any sort
        self.value = owned(value) if isinstance(value, np.ndarray) else value


class SharedVariable(Variable):
    """A variable with a value. A `default_update` is applied by every function that uses it."""

    __slots__ = ("container", "default_update")

    def __init__(
        self,
        type: Type,
        value: Any,
        name: str | None = None,
        container: Container | None = None,
    ) -> None:
        super().__init__(type, None, None, name)
        self.container = container if container is not None else Container(value)
        self.default_update: Any = None

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> Any:
        """The current value; a copy unless `borrow`, which may share memory with the variable.

        Of a value on a device this is a copy on the host, in any case; `return_internal_type` gives
        the array there.
        """
        value = self.container.value
        if hasattr(value, "on_host") and not return_internal_type:
            return value.on_host()
        return value if borrow else copy.deepcopy(value)

    def set_value(self, new_value: Any, borrow: bool = False) -> None:
        """Replace the value. dtype and number of axes must fit (TypeError); sizes may change."""
        cell = self.container
        try:
            data = self.type.filter(new_value, cell.strict, cell.allow_downcast)
        except TypeError as error:
            raise TypeError(f"set_value of shared variable {self}: {error}") from None
        if isinstance(data, np.ndarray):
            shares = data is new_value or (
                isinstance(new_value, np.ndarray) and np.shares_memory(data, new_value)
            )
            data = np.array(data, order="C") if shares and not borrow else owned(data)
        elif not borrow:
            data = copy.deepcopy(data)
        there = cell.value
        if hasattr(there, "on_host") and isinstance(data, np.ndarray) and data.shape == there.shape:
            there.fill(data)  # in its place, which graphs of kernels know
        elif hasattr(there, "on_host") and cell.is_home:
            cell.replace(there.like(data))
        else:
            cell.replace(data)

    def zero(self, borrow: bool = False) -> None:
        """Set every element to 0; `borrow=True` in the memory of the present value."""
        value = self.container.value
        if hasattr(value, "on_host"):
            value.fill(np.zeros(value.shape, value.dtype))
        elif borrow:
            value[...] = 0
        else:
            self.container.replace(np.zeros_like(value))

    def clone(self) -> SharedVariable:
        """Another variable that holds the same value: updating one updates both."""
        twin = type(self)(self.type, None, self.name, self.container)
        twin.default_update = self.default_update
        return twin

    def _no_value(self, *value: Any) -> Any:
        raise AttributeError(
            f"shared variable {self} has no attribute `value`: use get_value() and set_value()"
        )

    value = property(_no_value, _no_value)


class GenericSharedVariable(SharedVariable):
    """A shared value that is not an array."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        raise TypeError(
            f"shared variable {self} holds a {type(self.container.value).__name__}, which is no "
            "array: wrap it as shared(numpy.asarray(...))"
        )


class TensorSharedVariable(SharedVariable, TensorOperators):
    """A shared array."""

    __slots__ = ()
    type: TensorType


def shared(
    value: Any,
    name: str | None = None,
    strict: bool = False,
    allow_downcast: bool | None = None,
    borrow: bool = False,
    broadcastable: Sequence[bool] | None = None,
    target: str = "cpu",
) -> Any:
    """A shared variable of initial value `value`.

    Arrays and NumPy scalars give tensors of their own dtype (`shared(0)` is int64, `shared(0.)`
    float64, whatever floatX); no axis is broadcastable unless `broadcastable` says so. A
    NumPy RandomState gives the state of a random stream. Anything else, lists included, gives a
    generic variable that no op computes with. `borrow=True` may share memory with `value`. With
    `target='cuda'` the value is on the GPU, as is every function that uses it. `set_value` takes
    only arrays of exactly this dtype if `strict`, and casts anything if `allow_downcast`.
    Raises TypeError for symbolic and complex values, RuntimeError (NoGPU) for a GPU that is not
    there. Source: Theano, `shared`.
    """
    if isinstance(value, Variable):
        raise TypeError(
            explain("shared", "the value is symbolic", got=str(value),
                    expected="a NumPy array or a number",
                    cure="compute it first: value.eval(), or another shared variable's get_value()")
        )  # fmt: skip
    device = DEVICES.get(target)
    if device is None or device == "auto":
        raise ValueError(
            explain("shared", f"target {target!r} is not known", expected="'cpu' or 'cuda'")
        )
    is_number = isinstance(value, (int, float, np.number))
    if not isinstance(value, np.ndarray) and not is_number:
        if isinstance(value, complex):
            raise TypeError("shared: complex numbers are not supported")
        if isinstance(value, np.random.RandomState):
            from symgraph.random_state import shared_state

            return shared_state(value, name)
        return GenericSharedVariable(Generic(), value if borrow else copy.deepcopy(value), name)
    data = np.asarray(value)
    pattern = (False,) * data.ndim if broadcastable is None else tuple(broadcastable)
    kind = TensorType(check_dtype(data.dtype), pattern)
    data = data.astype(kind.dtype, copy=False)
    kind.filter(data)
    data = owned(data) if borrow else np.array(data, order="C")
    cell = Container(data, strict, allow_downcast)
    if device == "cuda":
        from symgraph.compile.cuda import on_device

        cell.value, cell.is_home = on_device(data), True
    return TensorSharedVariable(kind, data, name, cell)


def lives_there(variable: Any) -> bool:
    """Whether a shared variable's value was put on a device by `shared(..., target='cuda')`."""
    return bool(variable.container.is_home)
