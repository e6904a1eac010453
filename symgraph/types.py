"""Types of variables: dtype and broadcast pattern are static, sizes are not.

Source of the rules: Theano, `tensor/type.py` and `scalar/basic.py` (upcast); `docs/semantics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.errors import explain

if TYPE_CHECKING:
    from symgraph.graph import Variable

DTYPES = ("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64").split()
_NAMES = frozenset(DTYPES)
_EXACT = {float: "float64"}  # Python numbers that are exactly of a dtype
FLOATS = frozenset(("float16", "float32", "float64"))
INTEGERS = frozenset(d for d in DTYPES if "int" in d)
DISCRETE = INTEGERS | {"bool"}


@cache
def upcast(*dtypes: str) -> str:
    """The smallest dtype that holds all of `dtypes` by NumPy's rule for arrays.

    int8 with float32 is float32, int32 with float32 is float64, uint64 with int64 is float64.
    """
    return str(np.result_type(*(np.dtype(d) for d in dtypes)))


def float_of(dtype: str) -> str:
    """The floating dtype in which `exp` and its kind compute: `upgrade_to_float` of Theano."""
    if dtype in FLOATS:
        return dtype
    return "float32" if np.dtype(dtype).itemsize <= 2 else "float64"


def check_dtype(dtype: Any) -> str:
    """Normalise a dtype's name; TypeError for what symgraph does not compute with.

    The byte order is left out: values are kept in the machine's.
    """
    if type(dtype) is str and dtype in _NAMES:
        return dtype
    if dtype == "floatX":
        from symgraph.configuration import config

        return str(config.floatX)
    try:  # NumPy takes None for float64
        name = "None" if dtype is None else str(np.dtype(dtype).newbyteorder("="))
    except TypeError:
        name = repr(dtype)
    if name in DTYPES:
        return name
    problem = f"dtype {name} is not supported"
    expected = ", ".join(DTYPES)
    cure = "split complex numbers into real and imaginary parts" if "complex" in name else ""
    raise TypeError(explain("TensorType", problem, got=name, expected=expected, cure=cure))


class Type:
    """What values a variable may hold. Equal types are interchangeable."""

    ndim = 0

    def filter(self, value: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        """`value` in the form that kernels take; TypeError if it does not fit."""
        raise NotImplementedError

    def make_variable(self, name: str | None = None) -> Variable:
        from symgraph.graph import Variable

        return Variable(self, name=name)

    def __call__(self, name: str | None = None) -> Variable:
        return self.make_variable(name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Type:
        return self  # a type is never changed

    def __ne__(self, other: object) -> bool:
        return not self == other


class Generic(Type):
    """Any Python object; `shared([1, 2])` is one. No op computes with it."""

    def filter(self, value: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        return value

    def __eq__(self, other: object) -> bool:
        return type(other) is Generic

    def __hash__(self) -> int:
        return hash(Generic)

    def __repr__(self) -> str:
        return "Generic"


generic = Generic()
"""The type of any Python value."""


class NullType(Type):
    """The type of a gradient that does not exist; `why` says why."""

    def __init__(self, why: str = "(no explanation given)") -> None:
        self.why = why

    def __eq__(self, other: object) -> bool:
        return type(other) is NullType

    def __hash__(self) -> int:
        return hash(NullType)

    def __repr__(self) -> str:
        return "NullType"


class DisconnectedType(Type):
    """The type of a gradient along a path that does not exist."""

    def __eq__(self, other: object) -> bool:
        return type(other) is DisconnectedType

    def __hash__(self) -> int:
        return hash(DisconnectedType)

    def __repr__(self) -> str:
        return "DisconnectedType"


class TensorType(Type):
    """An array type: `dtype` and, for each axis, whether its size is known to be 1.

    Calling a type makes a variable of it: `TensorType('float32', (False, True))('x')`.
    Source: Theano, library/tensor/basic, TensorType.
    """

    __slots__ = ("broadcastable", "dtype", "name", "ndim")

    def __init__(
        self, dtype: str, broadcastable: Sequence[bool | int], name: str | None = None
    ) -> None:
        self.dtype = check_dtype(dtype)
        self.broadcastable = tuple(bool(b) for b in broadcastable)
        self.ndim = len(self.broadcastable)
        self.name = name

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TensorType)
            and self.dtype == other.dtype
            and self.broadcastable == other.broadcastable
        )

    def __hash__(self) -> int:
        return hash((self.dtype, self.broadcastable))

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorType, (self.dtype, self.broadcastable, self.name)

    def __repr__(self) -> str:
        named = {
            (): "scalar",
            (False,): "vector",
            (False, False): "matrix",
            (False, True): "col",
            (True, False): "row",
        }
        pattern = self.broadcastable
        if pattern in named:
            shape = named[pattern]
        elif not any(pattern):
            shape = f"{self.ndim}D"
        else:
            shape = str(pattern)
        return f"TensorType({self.dtype}, {shape})"

    def clone(
        self, dtype: str | None = None, broadcastable: Sequence[bool] | None = None
    ) -> TensorType:
        """The same type but for what is given."""
        pattern = self.broadcastable if broadcastable is None else broadcastable
        return TensorType(dtype or self.dtype, pattern)

    def make_variable(self, name: str | None = None) -> Variable:
        from symgraph.variable import TensorVariable

        return TensorVariable(self, name=name)

    def filter(
        self, value: Any, strict: bool = False, allow_downcast: bool | None = None
    ) -> np.ndarray:
        """`value` as an array of this type.

        An ndarray is accepted when no precision is lost. Lists, Python and NumPy scalars are
        accepted when they fit exactly; a Python float may also be rounded to floatX unless
        `allow_downcast` is False. `allow_downcast=True` casts anything; `strict=True` takes only
        an ndarray of exactly this dtype. Raises TypeError.
        """
        if not self.ndim and _EXACT.get(type(value)) == self.dtype and not strict:
            return np.array(value)  # the usual number, without the questions
        data = value if isinstance(value, np.ndarray) else None
        if data is None:
            data = self._from_python(value, strict, allow_downcast)
        elif data.dtype != self.dtype:
            data = self._from_array(data, strict, allow_downcast)
        if data.ndim != self.ndim:
            raise TypeError(
                f"Wrong number of dimensions: expected {self.ndim}, "
                f"got {data.ndim} with shape {data.shape}."
            )
        for axis, one in enumerate(self.broadcastable):
            if one and data.shape[axis] != 1:
                raise TypeError(
                    "Non-unit value on shape on a broadcastable dimension: "
                    f"axis {axis} of {self} must have size 1, got shape {data.shape}."
                )
        if type(data) is not np.ndarray:
            data = np.asarray(data)
        return data

    def _from_array(
        self, data: np.ndarray, strict: bool, allow_downcast: bool | None
    ) -> np.ndarray:
        if strict:
            raise TypeError(
                f"{self} (strict) cannot take dtype {data.dtype}; "
                f"cast it with .astype('{self.dtype}')"
            )
        if allow_downcast:
            return data.astype(self.dtype)
        if data.dtype.kind in "biuf" and upcast(self.dtype, str(data.dtype)) == self.dtype:
            return data.astype(self.dtype)
        raise TypeError(
            f"{self} cannot store a value of dtype {data.dtype} without risking loss of precision. "
            f"If you do not mind this loss, you can: 1) cast your data to {self.dtype}, "
            "or 2) set allow_input_downcast=True when calling function."
        )

    def _from_python(self, value: Any, strict: bool, allow_downcast: bool | None) -> np.ndarray:
        from symgraph.graph import Variable

        if isinstance(value, Variable):
            raise TypeError(
                f"{self} takes a number or an array, got the symbolic variable {value}. "
                "Give a value, or use `givens` to replace one variable by another."
            )
        if strict:
            raise TypeError(f"{self} (strict) takes a numpy.ndarray, got {type(value).__name__}.")
        try:
            raw = np.asarray(value)
        except ValueError as error:
            raise TypeError(f"{self} cannot take {value!r}: {error}") from None
        if raw.dtype.kind not in "biuf":
            raise TypeError(f"{self} cannot take {value!r} of dtype {raw.dtype}.")
        with np.errstate(all="ignore"):
            data = raw.astype(self.dtype)
        if allow_downcast or raw.dtype == self.dtype:
            return data
        is_float = isinstance(value, float) and not isinstance(value, np.generic)
        if is_float and allow_downcast is None and self.dtype == check_dtype("floatX"):
            return data
        if isinstance(value, np.generic):
            lossless = upcast(self.dtype, str(raw.dtype)) == self.dtype
        else:
            lossless = raw.dtype == data.dtype
        same = bool(np.all((raw == data) | ((raw != raw) & (data != data))))
        if lossless or (same and np.array_equal(data.astype(raw.dtype), raw, equal_nan=True)):
            return data
        raise TypeError(
            f"{self} cannot take {value!r} without losing information: "
            f"its dtype is {raw.dtype}. Cast it to {self.dtype}, "
            "or use allow_input_downcast=True when calling function."
        )

    @staticmethod
    def values_eq(a: Any, b: Any) -> bool:
        """Whether two arrays have one dtype, one shape and the same values, NaN equal to NaN."""
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")

    @staticmethod
    def values_eq_approx(
        a: Any, b: Any, rtol: float | None = None, atol: float | None = None
    ) -> bool:
        """`values_eq`, but for rounding: by default 1e-5, and 1e-3 for float16."""
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.kind != "f":
            return bool(np.array_equal(a, b))
        near = {"float16": (1e-3, 1e-3), "float32": (1e-5, 1e-5), "float64": (1e-5, 1e-8)}
        relative, absolute = near[str(a.dtype)]
        relative = relative if rtol is None else rtol
        return bool(np.allclose(a, b, relative, absolute if atol is None else atol, equal_nan=True))

    def is_super(self, other: Type) -> bool:
        """Whether every value of `other` is one of this type (a known 1 may become unknown)."""
        return (
            isinstance(other, TensorType)
            and other.dtype == self.dtype
            and other.ndim == self.ndim
            and all(b >= a for a, b in zip(self.broadcastable, other.broadcastable, strict=True))
        )


def tensor(dtype: str, ndim: int) -> TensorType:
    """`TensorType` with no broadcastable axis."""
    return TensorType(dtype, (False,) * ndim)


INT64 = TensorType("int64", ())
