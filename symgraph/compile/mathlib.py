"""Elementary functions that LLVM can vectorise: branch-free, for float32 and float64.

A function here is written once over `Value`, which emits LLVM instructions by Python's operators;
constants take the type of what they meet. Its instructions carry the one flag `nsz`, so the flags
that a kernel is compiled with (reordering, contraction) never reach the two-part constants.

sin, cos and tan, their inverses and those of sinh, cosh and tanh, erf and erfc, gamma and pow have
files of their own. The greatest errors, which tests assert, are listed in docs/accuracy.md.

    function       method
    exp, exp2      2**k exp(r), |r| <= ln 2 / 2, polynomial
    expm1          the same: 2**k expm1(r) + (2**k - 1)
    log, log1p     2**k (1 + f): atanh series in f / (2 + f)
    log2, log10    the same; k added last, k log10(2) in two parts
    tanh           t / (t + 2), t = expm1(2|x|)
    sigmoid        exp(-|x|), so both tails keep relative accuracy
    softplus       max(x, 0) + log(1 + exp(-|x|)), whose argument needs no exponent taken out
    sinh, cosh     exp(|x|) / 2, which does not overflow too early; expm1 for a small sinh

Limits: exp overflows to inf and underflows through the subnormals to 0; tanh(large) is 1 exactly;
log(0) = log1p(-1) = -inf, log of a negative number is NaN; NaN gives NaN. Subnormals are kept.
Sources: two-part constants, W. J. Cody and W. Waite, Software Manual for the Elementary Functions
(1980); the series for log in the form of fdlibm (Sun Microsystems, 1993); the polynomials are our
own fits at Chebyshev nodes in 60 digits.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# (what Numba and llvmlite do not type)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Union

from llvmlite import ir
from numba.core import cgutils

from symgraph.compile import trigonometry
from symgraph.compile.formats import FLOAT32, FLOAT64, Format
from symgraph.compile.loopfacts import mark

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

    def exact_fma(self, b: Operand, c: Operand) -> Value:
        """self * b + c, rounded once: slowly where the machine has no such instruction."""
        return self.call("llvm.fma", b, c)

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
        return trigonometry.sin(self)

    def tan(self) -> Value:
        return trigonometry.tan(self)

    def exp_of_sum(self, low: Value, factor: Operand = 1.0) -> Value:
        """exp(self + low) * factor, for a low that is small beside self; rounded once where it is
        subnormal, and not 0 where the factor lifts it from below."""
        lowest, highest = self.format.exp_range
        k, r = _reduce(_clamp(self, lowest * 1.25, highest))
        return _scale((_expm1_reduced(r + low) + 1.0) * factor, k)

    def log_plus(self, rest: Value) -> Value:
        """log(self) + rest, for a rest that is small."""
        high, low = self.format.ln2
        k, f = _normalise(self)
        return _log_limits(self, k.fma(high, _log1p_reduced(f, k.fma(low, rest))))

    def short_exp(self) -> Value:
        """exp of a float64 to float32's digits, limited to its range."""
        k, r = _reduce(_clamp(self, -200.0, 200.0))
        return ((r * r).fma(r.poly(FLOAT32.exp), r) + 1.0) * _power_of_two(k)

    def split(self) -> tuple[Value, Value]:
        """The nearest integer to a small number: (as an integer, as a float)."""
        return _split(self, self)

    def scale(self, k: Value) -> Value:
        """self * 2**k, through overflow and the subnormals, for |k| below twice the bias."""
        return _scale(self, k)

    def normalise(self) -> tuple[Value, Value]:
        """x = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)): (k as a float, f), for x > 0."""
        return _normalise(self)

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

    def to_float(self) -> Value:
        """An integer as float64."""
        return self._new(self.builder.sitofp(self.ir, FLOAT64.real))

    def entry(self, name: str, table: Sequence[float]) -> Value:
        """The entry of a float64 table at this integer; the module keeps one table of a name."""
        module = self.builder.module
        found = module.globals.get("symgraph_" + name)
        if found is None:
            content = ir.Constant(ir.ArrayType(FLOAT64.real, len(table)), list(table))
            found = ir.GlobalVariable(module, content.type, "symgraph_" + name)
            found.initializer, found.linkage, found.global_constant = content, "internal", True
        index = self.ir
        if index.type != FLOAT64.bits:
            index = self.builder.sext(index, FLOAT64.bits)
        place = self.builder.gep(found, [FLOAT64.bits(0), index], inbounds=True)
        value = self.builder.load(place)
        mark(self.builder, value, "sizes")
        return self._new(value)

    def poly(self, coefficients: Sequence[float]) -> Value:
        """The polynomial with these coefficients, constant first, by Horner's rule."""
        result: Value = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            result = result.fma(self, coefficient)
        return result


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
    u = x + 1.0
    return u.log_plus((x - (u - 1.0)) / u)


def tanh(x: Value) -> Value:
    size = x.abs()
    limit = x.format.tanh_limit
    t = expm1((size > limit).where(limit, size) * 2.0)
    return (t / (t + 2.0)).copysign(x)


def sigmoid(x: Value) -> Value:
    e = exp(-x.abs())
    return (x < 0.0).where(e, e.constant(1.0)) / (e + 1.0)


def softplus(x: Value) -> Value:
    e = exp(-x.abs())
    s = e / (e + 2.0)
    z = s * s
    tail = (s * z).fma(z.poly(x.format.log_of_sum), s * 2.0)  # NaN where x is
    return (x > 0.0).where(x, 0.0) + tail


def _half_exp(x: Value) -> tuple[Value, Value]:
    """(exp(x) / 2, expm1(x)) for x >= 0; the first overflows only where sinh does."""
    k, r = _reduce(_clamp(x, 0.0, x.format.exp_range[1] + 1.0))
    p = _expm1_reduced(r)
    half = _power_of_two(k - 1)
    return _scale(p + 1.0, k - 1), half.fma(p, half - 0.5) * 2.0


def sinh(x: Value) -> Value:
    half, t = _half_exp(x.abs())
    near = (t + t / (t + 1.0)) * 0.5
    return (half < 1.5).where(near, half - 0.25 / half).copysign(x)


def cosh(x: Value) -> Value:
    half, _ = _half_exp(x.abs())
    return half + 0.25 / half
