"""Tensor variables and constants, and how Python values become them.

The operators and methods of tensor variables are attached by `symgraph.ops.methods`, so that each
is written once, beside its op.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from symgraph.configuration import config
from symgraph.errors import AsTensorError, explain, start_debugger, warn_at
from symgraph.graph import Apply, Constant, Variable, user_trace
from symgraph.types import TensorType, Type, check_dtype, upcast


class TensorOperators(Variable):
    """What symbolic arrays, constant and shared ones have in common: `T.TensorVariable` is the
    class of the first only, as in Theano, whose users tell them apart by `isinstance`."""

    __slots__ = ()
    type: TensorType
    __array_priority__ = 1000
    # NumPy's functions and operators come to us: `ops.methods` says what they mean

    def __init__(
        self,
        type: Type,
        owner: Apply | None = None,
        index: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(type, owner, index, name)
        if config.warn_float64 != "ignore" and self.type.dtype == "float64":
            _float64(self)

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.ndim

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        return self.type.broadcastable

    def __bool__(self) -> bool:
        # `a < b < c` and `if a == b` would be silently wrong; `if W is None` style truth is not.
        if self.owner is not None and getattr(self.owner.op, "is_comparison", False):
            raise TypeError(
                "Variables do not support boolean operations. "
                "Combine comparisons with symgraph.tensor.and_ or switch."
            )
        return True

    def __len__(self) -> int:
        raise TypeError("a symbolic array has no len(); use x.shape[0], which is symbolic")

    def _repr_svg_(self) -> str:
        from symgraph.printing import svg

        return svg(self)


class TensorVariable(TensorOperators):
    """A symbolic array: an input, or the result of a node."""

    __slots__ = ()


class TensorConstant(Constant, TensorOperators):
    """A constant array."""

    __slots__ = ()
    type: TensorType

    @property
    def value(self) -> np.ndarray:
        return self.data  # type: ignore[no-any-return]


def _float64(variable: TensorOperators) -> None:
    """Do what `config.warn_float64` asks for."""
    where = user_trace()
    text = explain(
        "warn_float64", "You are creating a TensorVariable with float64 dtype", where=where,
        got=f"{variable.name or 'a result'} of {variable.type}", expected="float32 or narrower",
        cure="float32 with int32 or int64 gives float64, as do np.float64 and float literals under "
        "floatX='float64': cast the integers (.astype), or set config.cast_policy = 'numpy+floatX' "
        "or config.floatX = 'float32'",
    )  # fmt: skip
    action = config.warn_float64
    if action == "raise":
        raise TypeError(text)
    if action == "pdb":
        start_debugger(text)
    else:
        warn_at(where, text)


def _autocast(value: Any) -> np.ndarray:
    """A Python number as the smallest array that holds it exactly (Theano's rule)."""
    if isinstance(value, int):
        if config.cast_policy == "numpy+floatX":
            return np.asarray(value, dtype="int64")
        for dtype in ("int8", "int16", "int32", "int64", "uint64"):
            info = np.iinfo(dtype)
            if info.min <= value <= info.max:
                return np.asarray(value, dtype=dtype)
        raise AsTensorError(f"the integer {value} does not fit in 64 bits")
    if config.floatX != "float64" or config.cast_policy == "numpy+floatX":
        return np.asarray(value, dtype=config.floatX)
    with np.errstate(over="ignore"):
        single = np.asarray(value, dtype="float32")
    # NumPy 2 compares a Python float in the array's own precision: compare as float64
    exact = float(single) == value or value != value
    return single if exact else np.asarray(value, dtype="float64")


def constant(
    x: Any, name: str | None = None, ndim: int | None = None, dtype: str | None = None
) -> TensorConstant:
    """A constant of value `x`. Axes of size 1 are broadcastable.

    Raises AsTensorError (a TypeError) for what is not numeric. Source: Theano, `T.constant`.
    """
    if dtype is not None:
        data = np.asarray(x).astype(check_dtype(dtype))
    elif isinstance(x, (int, float)) and not isinstance(x, (bool, np.generic)):
        data = _autocast(x)
    else:
        try:
            data = np.asarray(x)
        except ValueError as error:
            raise AsTensorError(f"cannot make a tensor of {x!r}: {error}") from None
    if data.dtype.kind not in "biuf":
        cure = "complex numbers are not supported" if data.dtype.kind == "c" else ""
        raise AsTensorError(
            explain("constant", f"cannot make a tensor of {x!r}", where=user_trace(),
                    got=f"{type(x).__name__} of dtype {data.dtype}",
                    expected="a number or an array of numbers", cure=cure)
        )  # fmt: skip
    data = data.astype(check_dtype(data.dtype), copy=False)
    if ndim is not None:
        if data.ndim > ndim:
            raise ValueError(f"constant has {data.ndim} axes, more than ndim={ndim}")
        data = data.reshape((1,) * (ndim - data.ndim) + data.shape)
    pattern = tuple(size == 1 for size in data.shape)
    return TensorConstant(TensorType(str(data.dtype), pattern), data, name)


def as_tensor_variable(x: Any, name: str | None = None, ndim: int | None = None) -> TensorOperators:
    """`x` as a symbolic array: variables as they are, numbers and arrays as constants.

    A list that holds variables is stacked along a new first axis. Python's True and False are
    refused (AsTensorError), as in Theano: they are nearly always a mistake.
    """
    if isinstance(x, Apply):
        x = x.out
    if isinstance(x, Variable):
        if not isinstance(x.type, TensorType):
            raise AsTensorError(f"{x} is a {x.type}, not a tensor")
        if ndim is None or x.type.ndim == ndim:
            return x  # type: ignore[return-value]
        from symgraph.ops.shape import with_ndim

        return with_ndim(x, ndim)  # type: ignore[no-any-return]
    if isinstance(x, bool):
        raise AsTensorError(
            f"Cannot cast {x} to a tensor variable. Use a number, a NumPy array "
            "(np.array(True)), or a symbolic comparison."
        )
    if isinstance(x, (list, tuple)) and any(_holds_variable(item) for item in x):
        from symgraph.ops.shape import stack

        return as_tensor_variable(stack(list(x)), ndim=ndim)
    if type(x) in (int, float) and name is None and ndim is None:
        return _number(x)
    return constant(x, name=name, ndim=ndim)


_numbers: WeakValueDictionary[tuple[Any, ...], TensorConstant] = WeakValueDictionary()


def _number(x: int | float) -> TensorConstant:
    """The constant of a Python number: one object for as long as somebody uses it, as in Theano."""
    data = _autocast(x)
    key = (data.dtype.str, data.tobytes())
    found = _numbers.get(key)
    if found is None or found.name is not None:
        found = _numbers[key] = constant(data)
    return found


def _holds_variable(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(_holds_variable(item) for item in x)
    return isinstance(x, (Variable, Apply))


def result_dtype(*variables: Any) -> str:
    """The dtype of arithmetic between `variables`, under `config.cast_policy`."""
    dtypes = [v.dtype for v in variables]
    result = upcast(*dtypes)
    if (
        result == "float64"
        and config.cast_policy == "numpy+floatX"
        and config.floatX == "float32"
        and "float64" not in dtypes
    ):
        return "float32"
    return result
