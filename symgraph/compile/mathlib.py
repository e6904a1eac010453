"""Elementary functions that LLVM can vectorise: branch-free, for float32 and float64.

A function here is written once over `Value`, which emits LLVM instructions by Python's operators;
constants take the type of what they meet. Its instructions carry the one flag `nsz`, so the flags
that a kernel is compiled with (reordering, contraction) never reach the two-part constants.

Greatest error in units in the last place, inside a kernel (asserted by tests/test_mathlib.py; the
errors found are about a third less), and time for a million on one AVX-512 core:

    function   float32  float64  ms (float32, float64)   method
    exp, exp2    1.5      1.5        0.4   0.9   2**k exp(r), |r| <= ln 2 / 2, polynomial
    expm1        2.0      2.0        0.3   0.7   the same: 2**k expm1(r) + (2**k - 1)
    log, log1p   1.5      1.5        0.6   1.3   2**k (1 + f): atanh series in f / (2 + f)
    log2         2.5      2.5        0.5   1.1   the same, k added last
    log10        2.5      3.5        0.6   1.2   the same, k log10(2) in two parts
    tanh         3.0      3.0        0.4   1.1   t / (t + 2), t = expm1(2|x|)
    sigmoid      3.0      3.0        0.5   1.2   exp(-|x|), so both tails keep relative accuracy
    softplus     2.5      2.5        1.2   2.9   max(x, 0) + log1p(exp(-|x|))

Limits: exp overflows to inf and underflows through the subnormals to 0; tanh(large) is 1 exactly;
log(0) = log1p(-1) = -inf, log of a negative number is NaN; NaN gives NaN. Subnormals are kept.
Sources: two-part constants, W. J. Cody and W. Waite, Software Manual for the Elementary Functions
(1980); the series for log in the form of fdlibm (Sun Microsystems, 1993); the polynomials are our
own fits at Chebyshev nodes in 60 digits.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# (what Numba and llvmlite do not type)

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Union

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from symgraph.compile import special

Operand = Union["Value", float, int]


class Value:
    """An LLVM value with Python's operators: float32, float64, an integer of a width, or a bool.

    Integers are bit patterns of floats: signed in comparisons and shifts to the right.
    """

    __slots__ = ("builder", "ir")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.ir = builder, value

    @property
    def is_float(self) -> bool:
        return isinstance(self.ir.type, (ir.FloatType, ir.DoubleType))

    @property
    def format(self) -> Format:
        return FLOAT32 if self.ir.type in (FLOAT32.real, FLOAT32.bits) else FLOAT64

    def _new(self, value: ir.Value) -> Value:
        return Value(self.builder, value)

    def constant(self, number: float) -> Value:
        """`number` as a constant of this value's type."""
        return self._new(ir.Constant(self.ir.type, number))

    def _of(self, other: Operand) -> ir.Value:
        return other.ir if isinstance(other, Value) else self.constant(other).ir

    def _arithmetic(self, name: str, left: ir.Value, right: ir.Value) -> Value:
        if self.is_float:
            return self._new(getattr(self.builder, "f" + name)(left, right, flags=("nsz",)))
        return self._new(getattr(self.builder, name)(left, right))

    def __add__(self, other: Operand) -> Value:
        return self._arithmetic("add", self.ir, self._of(other))

    def __sub__(self, other: Operand) -> Value:
        return self._arithmetic("sub", self.ir, self._of(other))

    def __rsub__(self, other: Operand) -> Value:
        return self._arithmetic("sub", self._of(other), self.ir)

    def __mul__(self, other: Operand) -> Value:
        return self._arithmetic("mul", self.ir, self._of(other))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Operand) -> Value:
        return self._arithmetic("div", self.ir, self._of(other))

    def __rtruediv__(self, other: Operand) -> Value:
        return self._arithmetic("div", self._of(other), self.ir)

    def __neg__(self) -> Value:
        return self._new(self.builder.fneg(self.ir)) if self.is_float else 0 - self

    def __and__(self, other: Operand) -> Value:
        return self._new(self.builder.and_(self.ir, self._of(other)))

    def __or__(self, other: Operand) -> Value:
        return self._new(self.builder.or_(self.ir, self._of(other)))

    def __xor__(self, other: Operand) -> Value:
        return self._new(self.builder.xor(self.ir, self._of(other)))

    def __lshift__(self, other: Operand) -> Value:
        return self._new(self.builder.shl(self.ir, self._of(other)))

    def __rshift__(self, other: Operand) -> Value:
        return self._new(self.builder.ashr(self.ir, self._of(other)))

    def _compare(self, relation: str, other: Operand) -> Value:
        compare = self.builder.fcmp_ordered if self.is_float else self.builder.icmp_signed
        return self._new(compare(relation, self.ir, self._of(other)))

    def __lt__(self, other: Operand) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Operand) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Operand) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Operand) -> Value:
        return self._compare(">=", other)

    def __eq__(self, other: Operand) -> Value:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: Operand) -> Value:  # type: ignore[override]
        return self._compare("!=", other)

    def is_nan(self) -> Value:
        return self._new(self.builder.fcmp_unordered("uno", self.ir, self.ir))

    def where(self, a: Operand, b: Operand) -> Value:
        """`a` where this bool holds, else `b`; one of the two must be a Value."""
        kind = a if isinstance(a, Value) else b
        assert isinstance(kind, Value)
        return self._new(self.builder.select(self.ir, kind._of(a), kind._of(b)))

    def libm(self, name: str, *others: Operand) -> Value:
        """The C library's function, whose float32 form ends in f."""
        return self.call(name + "f" if self.format is FLOAT32 else name, *others)

    def call(self, name: str, *others: Operand) -> Value:
        """The LLVM intrinsic or C function `name` of this value and others of its type."""
        if name.startswith("llvm."):
            name += ".f32" if self.format is FLOAT32 else ".f64"
        kind = ir.FunctionType(self.ir.type, [self.ir.type] * (1 + len(others)))
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        values = [self.ir, *(self._of(other) for other in others)]
        return self._new(self.builder.call(function, values))

    def fma(self, b: Operand, c: Operand) -> Value:
        """self * b + c, rounded once where the machine can, else twice."""
        return self.call("llvm.fmuladd", b, c)

    def abs(self) -> Value:
        return self.call("llvm.fabs")

    def copysign(self, sign: Operand) -> Value:
        return self.call("llvm.copysign", sign)

    def rint(self) -> Value:
        """To the nearest integer, ties to even."""
        return self.call("llvm.roundeven")

    def sqrt(self) -> Value:
        return self.call("llvm.sqrt")

    def exp(self) -> Value:
        return exp(self)

    def log(self) -> Value:
        return log(self)

    def sin(self) -> Value:
        return self.libm("sin")

    def tan(self) -> Value:
        return self.libm("tan")

    def wide(self) -> Value:
        """As float64."""
        if self.format is FLOAT64:
            return self
        return self._new(self.builder.fpext(self.ir, FLOAT64.real))

    def narrow(self) -> Value:
        """A float64 as float32."""
        return self._new(self.builder.fptrunc(self.ir, FLOAT32.real))

    def bits(self) -> Value:
        return self._new(self.builder.bitcast(self.ir, self.format.bits))

    def as_float(self) -> Value:
        return self._new(self.builder.bitcast(self.ir, self.format.real))

    def poly(self, coefficients: Sequence[float]) -> Value:
        """The polynomial with these coefficients, constant first, by Horner's rule."""
        result: Value = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            result = result.fma(self, coefficient)
        return result


class Format:
    """What the functions need to know of a floating-point format."""

    def __init__(self, real: ir.Type, width: int, mantissa: int, **constants: Any) -> None:
        self.real, self.bits, self.mantissa = real, ir.IntType(width), mantissa
        self.bias = (1 << (width - mantissa - 2)) - 1
        # Adding this rounds a small number to an integer and leaves it in the low bits.
        self.magic = 1.5 * 2.0**mantissa
        self.magic_bits = ((self.bias + mantissa) << mantissa) + (1 << (mantissa - 1))
        self.tiny = 2.0 ** (1 - self.bias)
        self.ln2: tuple[float, float] = constants["ln2"]
        self.log10_2: tuple[float, float] = constants["log10_2"]
        self.sqrt_half_bits: int = constants["sqrt_half_bits"]
        self.exp_range: tuple[float, float] = constants["exp_range"]
        self.exp2_range: tuple[float, float] = constants["exp2_range"]
        self.tanh_limit: float = constants["tanh_limit"]
        self.exp: tuple[float, ...] = constants["exp"]
        self.log: tuple[float, ...] = constants["log"]


FLOAT32 = Format(
    ir.FloatType(),
    32,
    23,
    ln2=(0.693359375, -2.12194440054690583e-4),
    log10_2=(0.301025390625, 4.6050389811952137e-6),
    sqrt_half_bits=0x3F3504F3,
    exp_range=(-105.0, 89.0),
    exp2_range=(-151.0, 129.0),
    tanh_limit=10.0,
    exp=(0.5, 0.16666666681704215, 0.04166646419740569, 0.008333310844647862,
         0.0013933730715792083, 0.00019891080463998843),
    log=(0.6666666655358509, 0.40000122584957254, 0.2855073636310781, 0.23332762955117523),
)  # fmt: skip
FLOAT64 = Format(
    ir.DoubleType(),
    64,
    52,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    log10_2=(3.01029995663611771306e-01, 3.69423907715893078616e-13),
    sqrt_half_bits=0x3FE6A09E667F3BCD,
    exp_range=(-746.0, 710.0),
    exp2_range=(-1076.0, 1025.0),
    tanh_limit=22.0,
    exp=(0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326084,
         0.0013888888888883711, 0.0001984126987500228, 2.480158732567746e-05,
         2.755725517000089e-06, 2.755727347871858e-07, 2.5105312729622103e-08,
         2.09147553258932e-09),
    log=(0.666666666666667, 0.3999999999989827, 0.2857142862653362, 0.22222211043776857,
         0.18182895750119193, 0.1533150161114533, 0.1461916613488797),
)  # fmt: skip


# ---- pieces


def _clamp(x: Value, low: float, high: float) -> Value:
    """x within [low, high]; NaN stays NaN."""
    x = (x < low).where(low, x)
    return (x > high).where(high, x)


def _split(x: Value, scaled: Value) -> tuple[Value, Value]:
    """(k as an integer, k as a float): `scaled` rounded to an integer."""
    shifted = scaled + x.format.magic
    return shifted.bits() - x.format.magic_bits, shifted - x.format.magic


def _power_of_two(k: Value) -> Value:
    """2**k for an integer k within the normal range."""
    form = k.format
    return ((k + form.bias) << form.mantissa).as_float()


def _scale(x: Value, k: Value) -> Value:
    """x * 2**k in two steps, through overflow and the subnormals."""
    half = k >> 1
    return x * _power_of_two(half) * _power_of_two(k - half)


def _reduce(x: Value) -> tuple[Value, Value]:
    """x = k ln 2 + r: (k as an integer, r)."""
    high, low = x.format.ln2
    k, kf = _split(x, x * (1 / math.log(2)))
    return k, kf.fma(-low, kf.fma(-high, x))


def _expm1_reduced(r: Value) -> Value:
    """expm1(r) for |r| <= ln 2 / 2."""
    return (r * r).fma(r.poly(r.format.exp), r)


def _normalise(x: Value) -> tuple[Value, Value]:
    """x = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)): (k as a float, f), for x > 0."""
    form = x.format
    small = x < form.tiny
    lift = float(form.mantissa + 2)
    bits = small.where(x * 2.0**lift, x).bits() - form.sqrt_half_bits
    k = (bits >> form.mantissa) + form.magic_bits
    kf = k.as_float() - form.magic - small.where(x.constant(lift), 0.0)
    fraction = (bits & ((1 << form.mantissa) - 1)) + form.sqrt_half_bits
    return kf, fraction.as_float() - 1.0


def _log1p_reduced(f: Value, rest: Value) -> Value:
    """log(1 + f) + rest, for 1 + f in [sqrt(1/2), sqrt(2)) and a small rest."""
    s = f / (f + 2.0)
    z = s * s
    square = f * f * 0.5
    return f - (square - s.fma(z.fma(z.poly(f.format.log), square), rest))


def _log_limits(x: Value, result: Value) -> Value:
    """`result`, a logarithm of x, put right for x = 0, negative, infinite or NaN."""
    result = (x == 0.0).where(-math.inf, result)
    result = (x == math.inf).where(math.inf, result)
    result = (x < 0.0).where(math.nan, result)
    return x.is_nan().where(x, result)


# ---- the functions


def exp(x: Value) -> Value:
    k, r = _reduce(_clamp(x, *x.format.exp_range))
    return _scale(_expm1_reduced(r) + 1.0, k)


def exp2(x: Value) -> Value:
    x = _clamp(x, *x.format.exp2_range)
    k, kf = _split(x, x)
    return _scale(_expm1_reduced((x - kf) * math.log(2)) + 1.0, k)


def expm1(x: Value) -> Value:
    k, r = _reduce(_clamp(x, -50.0, x.format.exp_range[1]))
    half = _power_of_two(k - 1)
    return half.fma(_expm1_reduced(r), half - 0.5) * 2.0


def log(x: Value) -> Value:
    high, low = x.format.ln2
    k, f = _normalise(x)
    return _log_limits(x, k.fma(high, _log1p_reduced(f, k * low)))


def log2(x: Value) -> Value:
    k, f = _normalise(x)
    return _log_limits(x, _log1p_reduced(f, f * 0.0).fma(1 / math.log(2), k))


def log10(x: Value) -> Value:
    high, low = x.format.log10_2
    k, f = _normalise(x)
    tail = _log1p_reduced(f, f * 0.0).fma(1 / math.log(10), k * low)
    return _log_limits(x, k.fma(high, tail))


def log1p(x: Value) -> Value:
    high, low = x.format.ln2
    u = x + 1.0
    lost = (x - (u - 1.0)) / u
    k, f = _normalise(u)
    return _log_limits(u, k.fma(high, _log1p_reduced(f, k.fma(low, lost))))


def tanh(x: Value) -> Value:
    size = x.abs()
    limit = x.format.tanh_limit
    t = expm1((size > limit).where(limit, size) * 2.0)
    return (t / (t + 2.0)).copysign(x)


def sigmoid(x: Value) -> Value:
    e = exp(-x.abs())
    return (x < 0.0).where(e, e.constant(1.0)) / (e + 1.0)


def softplus(x: Value) -> Value:
    # The sum is NaN through log1p where x is NaN.
    return (x > 0.0).where(x, 0.0) + log1p(exp(-x.abs()))


# ---- making them callable from a kernel


def as_intrinsic(typer: Callable[..., Any], function: Callable[..., Any], skip: int = 0) -> Any:
    """`typer` as a Numba intrinsic with the name and the parameters (but `skip`) of `function`."""
    typer.__name__ = typer.__qualname__ = function.__name__
    typer.__doc__ = function.__doc__
    parameters = [inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += list(inspect.signature(function).parameters.values())[skip:]
    typer.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(typer)


def elementwise(function: Callable[..., Value], *, in_float64: bool = False) -> Any:
    """`function` over Values as a Numba intrinsic of floats, returning the arguments' type.

    Arguments of two types meet in the wider one; an integer is a typing error. `in_float64`
    computes a float32 in float64 and rounds.
    """

    def typer(typingctx, *arguments):
        result = typingctx.unify_types(*arguments)
        if not isinstance(result, types.Float):
            return None
        widen = in_float64 and result != types.float64

        def emit(context, builder, signature, values):
            kind = types.float64 if widen else result
            cast = [
                Value(builder, context.cast(builder, value, source, kind))
                for value, source in zip(values, signature.args, strict=True)
            ]
            value = function(*cast)
            return (value.narrow() if widen else value).ir

        return result(*arguments), emit

    return as_intrinsic(typer, function)


def _named(name: str, function: Callable[..., Value]) -> Callable[..., Value]:
    function.__name__ = name
    return function


def _unary(name: str, callee: str) -> Callable[..., Value]:
    if callee.startswith("llvm."):
        return _named(name, lambda x: x.call(callee))
    return _named(name, lambda x: x.libm(callee))


_CALLED = {
    "sqrt": "llvm.sqrt", "floor": "llvm.floor", "ceil": "llvm.ceil", "trunc": "llvm.trunc",
    "rint": "llvm.roundeven", "round_half_away_from_zero": "llvm.round",
    "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "sinh": "sinh", "cosh": "cosh", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "erf": "erf", "erfc": "erfc", "gamma": "tgamma", "gammaln": "lgamma",
}  # fmt: skip
"""Functions that LLVM turns into instructions, and those left to the C library, one at a time."""

_OURS = (exp, exp2, expm1, log, log2, log10, log1p, tanh, sigmoid, softplus)
_SPECIAL = (special.psi, special.tri_gamma, special.erfinv, special.erfcinv)

VOCABULARY: dict[str, Any] = {
    **{function.__name__: elementwise(function) for function in _OURS},
    **{name: elementwise(_unary(name, callee)) for name, callee in _CALLED.items()},
    "arctan2": elementwise(_named("arctan2", lambda y, x: y.libm("atan2", x))),
    **{function.__name__: elementwise(function, in_float64=True) for function in _SPECIAL},
}
