"""The kernel vocabulary for plain Python: the same source text, run by the interpreter.

Operands are read and written in memory through ctypes; values are NumPy scalars of the exact dtype
(float16 loads as float32). Slow, and meant to be: it says what a kernel means, for tests, debugging
and machines without a compiler. Needs neither Numba nor SciPy, and never warns.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.compile import special
from symgraph.ops import philox


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def silent(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arguments)

    return silent


# ---- dtypes and pointers


class DType:
    """A dtype's name: called, it casts as arithmetic.py says; it also types an operand."""

    def __init__(self, name: str) -> None:
        self.memory = np.dtype(name.rstrip("_"))
        self.value = np.dtype("float32") if name == "float16" else self.memory

    def __call__(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            number = np.asarray(x)
            if number.dtype.kind == "f" and self.memory.kind in "iu":
                return self._truncate(float(number))
            return number.astype(self.memory).astype(self.value)[()]

    def _truncate(self, x: float) -> Any:
        """Saturate at 32 or 64 bits (NaN gives 0), then wrap."""
        small = self.memory.itemsize < 4 or self.memory == np.int32
        bits = 31 if small else 63
        low, high = (0, 2**64 - 1) if self.memory == np.uint64 else (-(2**bits), 2**bits - 1)
        if math.isinf(x):
            whole = high if x > 0 else low
        else:
            whole = 0 if math.isnan(x) else min(max(int(x), low), high)
        return np.asarray(whole).astype(self.memory)[()]


DTYPES = {
    name: DType(name)
    for name in (
        "bool_",
        *(f"int{n}" for n in (8, 16, 32, 64)),
        *(f"uint{n}" for n in (8, 16, 32, 64)),
        *(f"float{n}" for n in (16, 32, 64)),
    )
}


class Pointer:
    """Elements of a dtype at an address; the index counts from there and may be negative."""

    __slots__ = ("address", "dtype")

    def __init__(self, address: int, dtype: DType) -> None:
        self.address, self.dtype = int(address), dtype

    def _bytes(self, index: Any) -> Any:
        size = self.dtype.memory.itemsize
        return (ctypes.c_char * size).from_address(self.address + int(index) * size)

    def __getitem__(self, index: Any) -> Any:
        value = np.frombuffer(self._bytes(index).raw, self.dtype.memory)[0]
        return self.dtype.value.type(value)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._bytes(index).raw = self.dtype(value).astype(self.dtype.memory).tobytes()

    def __add__(self, count: Any) -> Pointer:
        return Pointer(self.address + int(count) * self.dtype.memory.itemsize, self.dtype)


def pointer(arrays: Sequence[int], k: int, dtype: DType) -> Pointer:
    return Pointer(arrays[k], dtype)


def pointer_at(address: int, dtype: DType) -> Pointer:
    return Pointer(address, dtype)


def address(p: Pointer) -> int:
    return p.address


# ---- numbers of any dtype


def _meet(*arguments: Any) -> list[Any]:
    """The arguments as scalars of their common dtype; Python's own numbers count as 64 bits."""
    numbers = [np.asarray(argument) for argument in arguments]
    common = np.result_type(*(number.dtype for number in numbers))
    return [number.astype(common)[()] for number in numbers]


def select(c: Any, a: Any, b: Any) -> Any:
    a, b = _meet(a, b)
    return a if c else b


def sgn(x: Any) -> Any:
    (x,) = _meet(x)
    return x if x.dtype == bool else np.sign(x)


def absolute(x: Any) -> Any:
    return np.absolute(_meet(x)[0])


def invert(x: Any) -> Any:
    return np.invert(_meet(x)[0])


def maximum(a: Any, b: Any) -> Any:
    return np.maximum(*_meet(a, b))


def minimum(a: Any, b: Any) -> Any:
    return np.minimum(*_meet(a, b))


def mod(a: Any, b: Any) -> Any:
    a, b = _meet(a, b)
    return np.False_ if a.dtype == bool else np.mod(a, b)


def floor_divide(a: Any, b: Any) -> Any:
    a, b = _meet(a, b)
    return a & b if a.dtype == bool else np.floor_divide(a, b)


def power(a: Any, b: Any) -> Any:
    a, b = _meet(a, b)
    if a.dtype == bool:
        return a | ~b
    if a.dtype.kind == "i" and b < 0:
        return a if abs(a) == 1 and b % 2 else a.dtype.type(abs(a) == 1)
    # As vectors: NumPy turns a scalar exponent of 0.5 into a square root, which loses -inf.
    return np.power(np.atleast_1d(a), np.atleast_1d(b))[0]


def isnan(x: Any) -> Any:
    return np.isnan(x)


def isinf(x: Any) -> Any:
    return np.isinf(x)


def affine(x: Any, scale: Any, shift: Any) -> Any:
    x, scale, shift = _meet(x, scale, shift)
    return x * scale + shift


def _drawn(distribution: str, dtype: str) -> Callable[..., Any]:
    return lambda key, calls, index: philox.draw(distribution, dtype, key, calls, index)[0]


# ---- functions of floats


def _float(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of floats, computed in float64, rounded to the arguments' common dtype."""

    def rounded(*arguments: Any) -> Any:
        numbers = _meet(*arguments)
        if numbers[0].dtype.kind != "f":
            raise TypeError(f"expected float32 or float64, got {numbers[0].dtype}")
        result = function(*(np.float64(number) for number in numbers))
        return numbers[0].dtype.type(result)

    return rounded


def _softplus(x: np.float64) -> Any:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x: np.float64) -> Any:
    e = np.exp(-np.abs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)


def _round_half_away(x: np.float64) -> Any:
    whole = np.trunc(x)
    return np.copysign(whole + np.copysign(np.abs(x - whole) >= 0.5, x), x) if x - x == 0 else x


def _gamma(x: np.float64) -> float:
    """tgamma of C: NaN at negative integers and -inf, +-inf at +-0 and where it overflows."""
    if x == 0:
        return math.copysign(math.inf, x)
    if x == -math.inf or (x < 0 and x == np.floor(x)):
        return math.nan
    try:
        return math.gamma(x)
    except OverflowError:
        return math.inf


def _gammaln(x: np.float64) -> float:
    """lgamma of C: inf at 0 and the negative integers."""
    if np.isinf(x) or (x <= 0 and x == np.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


class Scalar:
    """A float64 or a bool with the operators of mathlib.Value, for the formulas of special.py."""

    __slots__ = ("x",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, x: Any) -> None:
        self.x = x

    def constant(self, number: float) -> Scalar:
        return Scalar(np.float64(number))

    def where(self, a: Any, b: Any) -> Scalar:
        return Scalar(np.float64(_plain(a if self.x else b)))

    def poly(self, coefficients: Sequence[float]) -> Scalar:
        result = np.float64(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            result = result * self.x + coefficient
        return Scalar(result)


def _plain(value: Any) -> Any:
    return value.x if isinstance(value, Scalar) else value


def _operator(name: str) -> Callable[..., Scalar]:
    def apply(self: Scalar, other: Any) -> Scalar:
        return Scalar(getattr(self.x, name)(np.float64(_plain(other))))

    def combine(self: Scalar, other: Any) -> Scalar:
        return Scalar(np.bool_(self.x) & np.bool_(_plain(other)))

    return combine if name == "__and__" else apply


def _method(name: str) -> Callable[..., Scalar]:
    call = getattr(np, name)
    return lambda self, *others: Scalar(call(self.x, *map(_plain, others)))


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "and",
              "lt", "le", "gt", "ge", "eq", "ne"):  # fmt: skip
    setattr(Scalar, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ("abs", "copysign", "rint", "sqrt", "log", "sin", "tan"):
    setattr(Scalar, _name, _method(_name))


def _special(function: Callable[[Any], Any]) -> Callable[[np.float64], Any]:
    return lambda x: function(Scalar(x)).x


_NUMPY = (
    "exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan arcsin arccos arctan arctan2 sinh cosh "
    "tanh arcsinh arccosh arctanh floor ceil trunc rint"
).split()
_FLOATS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _NUMPY},
    "round_half_away_from_zero": _round_half_away,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "erf": math.erf,
    "erfc": math.erfc,
    "gamma": _gamma,
    "gammaln": _gammaln,
    **{
        function.__name__: _special(function)
        for function in (special.psi, special.tri_gamma, special.erfinv, special.erfcinv)
    },
}
_ANY = (
    select, sgn, absolute, invert, maximum, minimum, mod, floor_divide, power, isnan, isinf, affine,
)  # fmt: skip

VOCABULARY: dict[str, Any] = {
    **DTYPES,
    "pointer": pointer,
    "pointer_in": pointer,
    "pointer_out": pointer,
    "pointer_at": pointer_at,
    "pointer_in_at": pointer_at,
    "pointer_out_at": pointer_at,
    "address": address,
    **{function.__name__: _quiet(function) for function in _ANY},
    **{
        name: _quiet(getattr(np, name))
        for name in ("logical_and", "logical_or", "logical_xor", "logical_not")
    },
    **{name: _quiet(_float(function)) for name, function in _FLOATS.items()},
    **{
        f"philox_{distribution}{bits}": _drawn(distribution, f"float{bits}")
        for distribution in philox.FORMULAS
        for bits in (16, 32, 64)
    },
}
"""The names of native.VOCABULARY, with their meaning in Python."""
