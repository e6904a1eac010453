"""Scalar functions, one row each: dtype rule, meaning, kernel text, gradient.

A row's gradient is a tuple with one term per argument, of `(g, out, *arguments)`; None is zero.
Where Theano's choice at a tie or a kink is observable (rules 21 to 24), the comment says which.
Source of names and semantics: Theano, scalar/basic.py and library/tensor/basic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.configuration import config
from symgraph.deprecation import warn_user
from symgraph.errors import NullTypeGradError
from symgraph.ops.core import SECOND, Elemwise, ScalarOp
from symgraph.ops.special import erf_inverse, erfc_inverse, vectorized_psi, vectorized_tri_gamma
from symgraph.types import DISCRETE, DTYPES, INTEGERS, check_dtype, float_of, upcast
from symgraph.variable import as_tensor_variable, result_dtype

SCALAR_OPS: dict[str, ScalarOp] = {}
Function = Callable[..., Any]


def _row(*args: Any, **facts: Any) -> ScalarOp:
    made = ScalarOp(*args, **facts)
    SCALAR_OPS[made.name] = made
    return made


# ---- rules for the dtype of a result -------------------------------------------------------------


def _floating(*dtypes: str) -> str:
    return upcast(*map(float_of, dtypes))


def _boolean(*dtypes: str) -> str:
    return "bool"


def _no_bool(name: str) -> Callable[..., str]:
    def rule(*dtypes: str) -> str:
        if upcast(*dtypes) == "bool":
            raise TypeError(f"{name} of bool is not defined: cast to int8 first, or use invert/xor")
        return upcast(*dtypes)

    return rule


def _bits(name: str) -> Callable[..., str]:
    def rule(*dtypes: str) -> str:
        if not all(d in DISCRETE for d in dtypes):
            raise TypeError(f"{name} takes integers or bools, got {', '.join(dtypes)}")
        return upcast(*dtypes)

    return rule


# ---- arithmetic ----------------------------------------------------------------------------------

ADD = _row("add", 2, upcast, np.add, "({} + {})", lambda g, out, x, y: (g, g),
           infix="+", commutative=True, host=E.add)  # fmt: skip
SUB = _row("sub", 2, _no_bool("subtraction"), np.subtract, "({} - {})",
           lambda g, out, x, y: (g, -g), infix="-", host=E.sub)  # fmt: skip
MUL = _row("mul", 2, upcast, np.multiply, "({} * {})", lambda g, out, x, y: (g * y, g * x),
           infix="*", commutative=True, host=E.mul)  # fmt: skip
TRUE_DIV = _row("true_div", 2, _floating, np.true_divide, "({} / {})",
                lambda g, out, x, y: (g / y, -(g * x) / (y * y)), infix="/", cost=4)  # fmt: skip


def _np_int_div(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.floor_divide(x, y)
    if x.dtype.kind == "b":
        x, y = x.astype("int8"), y.astype("int8")
    if np.any(y == 0):
        raise ZeroDivisionError("integer division by zero")
    return np.floor_divide(x, y)


def _np_mod(x: Any, y: Any) -> Any:
    if x.dtype.kind == "b":
        x, y = x.astype("int8"), y.astype("int8")
    if x.dtype.kind != "f" and np.any(y == 0):
        raise ZeroDivisionError("integer modulo by zero")
    return np.mod(x, y)


# rule 24: the gradient of // is zero for floats too
INT_DIV = _row("int_div", 2, upcast, _np_int_div, "floor_divide({}, {})", None,
               infix="//", cost=10, host=E.floordiv)  # fmt: skip
MOD = _row("mod", 2, upcast, _np_mod, "mod({}, {})",
           lambda g, out, x, y: (g, -(x // y) * g), infix="%", cost=10, host=E.mod)  # fmt: skip


def _np_power(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.power(x, y)
    return np.power(x.astype("float64"), y.astype("float64")) if np.any(y < 0) else np.power(x, y)


def _power_dtype(*dtypes: str) -> str:
    return "int8" if upcast(*dtypes) == "bool" else upcast(*dtypes)


def _pow_gradient(g: Any, out: Any, x: Any, y: Any) -> Any:
    by_base = g * y * x ** (y - 1)
    by_exponent = g * switch(eq(x, 0), 0, log(x) * out)
    return by_base, by_exponent


POW = _row("pow", 2, _power_dtype, _np_power, "power({}, {})", _pow_gradient, infix="**", cost=40)

# rule 22: on ties the first argument gets all
MAXIMUM = _row("maximum", 2, upcast, np.maximum, "maximum({}, {})",
               lambda g, out, x, y: (switch(eq(out, x), g, 0), switch(eq(out, x), 0, g)),
               commutative=False, host=E.maximum)  # fmt: skip
MINIMUM = _row("minimum", 2, upcast, np.minimum, "minimum({}, {})",
               lambda g, out, x, y: (switch(eq(out, x), g, 0), switch(eq(out, x), 0, g)),
               host=E.minimum)  # fmt: skip
ARCTAN2 = _row("arctan2", 2, _floating, np.arctan2, "arctan2({}, {})",
               lambda g, out, y, x: (g * x / (x * x + y * y), -g * y / (x * x + y * y)),
               cost=60)  # fmt: skip

NEG = _row("neg", 1, _no_bool("negation"), np.negative, "(-{})", lambda g, out, x: (-g,),
           prefix="-", host=lambda x: E.sub(0, x))  # fmt: skip
INV = _row("inv", 1, _floating, np.reciprocal, "(1.0 / {})",
           lambda g, out, x: (-g * out * out,), cost=4)  # fmt: skip
SQR = _row("sqr", 1, upcast, np.square, "({0} * {0})", lambda g, out, x: (2 * g * x,))
ABS = _row("abs_", 1, upcast, np.abs, "absolute({})", lambda g, out, x: (g * sgn(x),),
           pp_name="abs")  # fmt: skip
SGN = _row("sgn", 1, _no_bool("sgn"), np.sign, "sgn({})", None)
IDENTITY = _row("identity", 1, upcast, np.array, "{}", lambda g, out, x: (g,), host=E.as_expr)

# ---- rounding ------------------------------------------------------------------------------------


def _away_from_zero(x: Any) -> Any:
    return np.where(x >= 0, np.floor(x + 0.5), np.ceil(x - 0.5)).astype(x.dtype)


CEIL = _row("ceil", 1, _floating, np.ceil, "ceil({})", None)
FLOOR = _row("floor", 1, _floating, np.floor, "floor({})", None)
TRUNC = _row("trunc", 1, _floating, np.trunc, "trunc({})", None)
ROUND_HALF_EVEN = _row("round_half_to_even", 1, _floating, np.rint, "rint({})", None)
ROUND_HALF_AWAY = _row("round_half_away_from_zero", 1, _floating, _away_from_zero,
                       "round_half_away_from_zero({})", None)  # fmt: skip

# ---- exponentials and their inverses -------------------------------------------------------------

EXP = _row("exp", 1, _floating, np.exp, "exp({})", lambda g, out, x: (g * out,), cost=20)
EXP2 = _row("exp2", 1, _floating, np.exp2, "exp2({})",
            lambda g, out, x: (g * out * math.log(2),), cost=20)  # fmt: skip
EXPM1 = _row(
    "expm1", 1, _floating, np.expm1, "expm1({})", lambda g, out, x: (g * (out + 1),), cost=25
)
LOG = _row("log", 1, _floating, np.log, "log({})", lambda g, out, x: (g / x,), cost=20)
LOG2 = _row("log2", 1, _floating, np.log2, "log2({})",
            lambda g, out, x: (g / (x * math.log(2)),), cost=20)  # fmt: skip
LOG10 = _row("log10", 1, _floating, np.log10, "log10({})",
             lambda g, out, x: (g / (x * math.log(10)),), cost=20)  # fmt: skip
LOG1P = _row(
    "log1p", 1, _floating, np.log1p, "log1p({})", lambda g, out, x: (g / (1 + x),), cost=25
)
SQRT = _row("sqrt", 1, _floating, np.sqrt, "sqrt({})", lambda g, out, x: (g * 0.5 / out,), cost=6)


def _np_sigmoid(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def _np_softplus(x: Any) -> Any:
    return (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)


SIGMOID = _row("sigmoid", 1, _floating, _np_sigmoid, "sigmoid({})",
               lambda g, out, x: (g * out * (1 - out),), cost=25)  # fmt: skip
SOFTPLUS = _row("softplus", 1, _floating, _np_softplus, "softplus({})",
                lambda g, out, x: (g * sigmoid(x),), cost=40)  # fmt: skip

# ---- trigonometry --------------------------------------------------------------------------------

SIN = _row("sin", 1, _floating, np.sin, "sin({})", lambda g, out, x: (g * cos(x),), cost=40)
COS = _row("cos", 1, _floating, np.cos, "cos({})", lambda g, out, x: (-g * sin(x),), cost=40)
TAN = _row("tan", 1, _floating, np.tan, "tan({})", lambda g, out, x: (g / sqr(cos(x)),), cost=60)
ARCSIN = _row("arcsin", 1, _floating, np.arcsin, "arcsin({})",
              lambda g, out, x: (g / sqrt(1 - sqr(x)),), cost=40)  # fmt: skip
ARCCOS = _row("arccos", 1, _floating, np.arccos, "arccos({})",
              lambda g, out, x: (-g / sqrt(1 - sqr(x)),), cost=40)  # fmt: skip
ARCTAN = _row("arctan", 1, _floating, np.arctan, "arctan({})",
              lambda g, out, x: (g / (1 + sqr(x)),), cost=40)  # fmt: skip
SINH = _row("sinh", 1, _floating, np.sinh, "sinh({})", lambda g, out, x: (g * cosh(x),), cost=40)
COSH = _row("cosh", 1, _floating, np.cosh, "cosh({})", lambda g, out, x: (g * sinh(x),), cost=40)
TANH = _row("tanh", 1, _floating, np.tanh, "tanh({})",
            lambda g, out, x: (g * (1 - sqr(out)),), cost=20)  # fmt: skip
ARCSINH = _row("arcsinh", 1, _floating, np.arcsinh, "arcsinh({})",
               lambda g, out, x: (g / sqrt(sqr(x) + 1),), cost=40)  # fmt: skip
ARCCOSH = _row("arccosh", 1, _floating, np.arccosh, "arccosh({})",
               lambda g, out, x: (g / sqrt(sqr(x) - 1),), cost=40)  # fmt: skip
ARCTANH = _row("arctanh", 1, _floating, np.arctanh, "arctanh({})",
               lambda g, out, x: (g / (1 - sqr(x)),), cost=40)  # fmt: skip
DEG2RAD = _row("deg2rad", 1, _floating, np.deg2rad, "({} * 0.017453292519943295)",
               lambda g, out, x: (g * (math.pi / 180),))  # fmt: skip
RAD2DEG = _row("rad2deg", 1, _floating, np.rad2deg, "({} * 57.29577951308232)",
               lambda g, out, x: (g * (180 / math.pi),))  # fmt: skip

# ---- special functions ---------------------------------------------------------------------------


def _elementwise(function: Callable[[float], float]) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        def one(value: float) -> float:
            try:
                return function(float(value))
            except (ValueError, OverflowError):
                return math.nan if value != value or value == -math.inf else math.inf

        return np.vectorize(one, otypes=[x.dtype])(x)

    return apply


_ROOT_PI = math.sqrt(math.pi)
ERF = _row("erf", 1, _floating, _elementwise(math.erf), "erf({})",
           lambda g, out, x: (g * (2 / _ROOT_PI) * exp(-sqr(x)),), cost=40)  # fmt: skip
ERFC = _row("erfc", 1, _floating, _elementwise(math.erfc), "erfc({})",
            lambda g, out, x: (g * (-2 / _ROOT_PI) * exp(-sqr(x)),), cost=40)  # fmt: skip
ERFINV = _row("erfinv", 1, _floating, erf_inverse, "erfinv({})",
              lambda g, out, x: (g * (_ROOT_PI / 2) * exp(sqr(out)),), cost=60)  # fmt: skip
ERFCINV = _row("erfcinv", 1, _floating, erfc_inverse, "erfcinv({})",
               lambda g, out, x: (g * (-_ROOT_PI / 2) * exp(sqr(out)),), cost=60)  # fmt: skip
GAMMA = _row("gamma", 1, _floating, _elementwise(math.gamma), "gamma({})",
             lambda g, out, x: (g * out * psi(x),), cost=80)  # fmt: skip
GAMMALN = _row("gammaln", 1, _floating, _elementwise(math.lgamma), "gammaln({})",
               lambda g, out, x: (g * psi(x),), cost=80)  # fmt: skip
PSI = _row("psi", 1, _floating, vectorized_psi, "psi({})", lambda g, out, x: (g * tri_gamma(x),),
           cost=80)  # fmt: skip


def _unwritten(name: str) -> Callable[..., Any]:
    def gradient(*args: Any) -> Any:
        raise NullTypeGradError(f"the gradient of {name} is not implemented")

    return gradient


TRI_GAMMA = _row("tri_gamma", 1, _floating, vectorized_tri_gamma, "tri_gamma({})",
                 _unwritten("tri_gamma"), cost=80)  # fmt: skip

# ---- comparison, logic, choice -------------------------------------------------------------------


def _comparison(name: str, function: Any, sign: str, host: Any, swap: bool = False) -> ScalarOp:
    return _row(name, 2, _boolean, function, f"({{}} {sign} {{}})", None, operands="upcast",
                is_comparison=True, host=host, commutative=name in ("eq", "neq"))  # fmt: skip


EQ = _comparison("eq", np.equal, "==", lambda a, b: E.compare("eq", a, b))
NEQ = _comparison("neq", np.not_equal, "!=", lambda a, b: E.compare("ne", a, b))
LT = _comparison("lt", np.less, "<", lambda a, b: E.compare("lt", a, b))
GT = _comparison("gt", np.greater, ">", lambda a, b: E.compare("lt", b, a))
LE = _comparison("le", np.less_equal, "<=", lambda a, b: E.compare("le", a, b))
GE = _comparison("ge", np.greater_equal, ">=", lambda a, b: E.compare("le", b, a))
ISNAN = _row("isnan", 1, _boolean, np.isnan, "isnan({})", operands="own")
ISINF = _row("isinf", 1, _boolean, np.isinf, "isinf({})", operands="own")

AND = _row("and_", 2, _bits("and_"), np.bitwise_and, "({} & {})", infix="&", commutative=True)
OR = _row("or_", 2, _bits("or_"), np.bitwise_or, "({} | {})", infix="|", commutative=True)
XOR = _row("xor", 2, _bits("xor"), np.bitwise_xor, "({} ^ {})", infix="^", commutative=True)
INVERT = _row("invert", 1, _bits("invert"), np.invert, "invert({})", prefix="~")

SWITCH = _row("switch", 3, lambda c, x, y: upcast(x, y),
              lambda c, x, y: np.where(c, x, y), "select({} != 0, {}, {})",
              lambda g, out, c, x, y: (None, switch(c, g, 0), switch(c, 0, g)),
              operands="branches", host=E.where)  # fmt: skip


def _clip_gradient(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    # rule 23: slope 1 on the closed interval
    return (
        switch(and_(ge(x, low), le(x, high)), g, 0),
        switch(lt(x, low), g, 0),
        switch(and_(gt(x, high), ge(x, low)), g, 0),
    )


CLIP = _row("clip", 3, upcast,
            lambda x, low, high: np.where(x < low, low, np.where(x > high, high, x)),
            "select({0} < {1}, {1}, select({0} > {2}, {2}, {0}))", _clip_gradient,
            cost=2)  # fmt: skip

# what scales and moves random numbers: two roundings, whatever it is fused with
AFFINE = _row("affine", 3, upcast, lambda x, scale, shift: x * scale + shift,
              "affine({}, {}, {})", lambda g, out, x, scale, shift: (g * scale, g * x, g),
              cost=2)  # fmt: skip

SCALAR_OPS["second"] = SECOND


def _host_cast(x: Any) -> Any:
    return x


def _cast(dtype: str) -> ScalarOp:
    def convert(x: Any) -> Any:
        return x.astype(dtype)

    return ScalarOp(
        f"Cast{{{dtype}}}", 1, lambda x: dtype, convert, "{}",
        None if dtype in DISCRETE else lambda g, out, x: (g,),
        operands="own", host=_host_cast if dtype in INTEGERS else None, target=dtype,
        pp_name=dtype,
    )  # fmt: skip


_CASTS = {dtype: _cast(dtype) for dtype in DTYPES}  # all: a pickle may name any of them
SCALAR_OPS.update((f"cast_{dtype}", op) for dtype, op in _CASTS.items())


def cast_op(dtype: str) -> ScalarOp:
    """The conversion to `dtype`, named as Theano names it."""
    return _CASTS[dtype]


# ---- the names users call ------------------------------------------------------------------------


def _function(row: ScalarOp, doc: str) -> Callable[..., Any]:
    op = Elemwise(row)
    if row.nin == 1:

        def function(x: Any) -> Any:
            return op(x)
    elif row.nin == 2:

        def function(x: Any, y: Any) -> Any:  # type: ignore[misc]
            return op(x, y)
    else:

        def function(x: Any, y: Any, z: Any) -> Any:  # type: ignore[misc]
            return op(x, y, z)

    function.__name__ = function.__qualname__ = row.name
    function.__doc__ = (
        f"{doc}\n\nElementwise, with broadcasting. Source: Theano, library/tensor/basic."
    )
    return function


def _arithmetic(row: ScalarOp, doc: str) -> Callable[..., Any]:
    """As `_function`, under `config.cast_policy`, for two or more arguments."""
    op = Elemwise(row)

    def function(x: Any, y: Any, *more: Any) -> Any:
        x, y = as_tensor_variable(x), as_tensor_variable(y)
        wanted = result_dtype(x, y)
        if wanted != upcast(x.dtype, y.dtype):
            x, y = cast(x, wanted), cast(y, wanted)
        result = op(x, y)
        for item in more:
            result = function(result, item)
        return result

    function.__name__ = function.__qualname__ = row.name
    function.__doc__ = (
        f"{doc}\n\nElementwise, with broadcasting. Source: Theano, library/tensor/basic."
    )
    return function


add: Function = _arithmetic(ADD, "x + y")
sub: Function = _arithmetic(SUB, "x - y")
mul: Function = _arithmetic(MUL, "x * y")
mod: Function = _arithmetic(
    MOD, "x % y, with the sign of y. ZeroDivisionError for integers modulo 0."
)
int_div: Function = _arithmetic(
    INT_DIV, "x // y, rounded down. ZeroDivisionError for integers by 0."
)
pow: Function = _arithmetic(POW, "x ** y")
maximum: Function = _arithmetic(
    MAXIMUM, "The larger one; NaN if either is. On a tie x gets the gradient."
)
minimum: Function = _arithmetic(
    MINIMUM, "The smaller one; NaN if either is. On a tie x gets the gradient."
)
neg: Function = _function(NEG, "-x")
inv: Function = _function(INV, "1 / x")
sqr: Function = _function(SQR, "x * x")
abs_: Function = _function(ABS, "|x|, in x's dtype.")
sgn: Function = _function(SGN, "The sign: -1, 0 or 1.")
ceil: Function = _function(CEIL, "The smallest whole number not below x.")
floor: Function = _function(FLOOR, "The largest whole number not above x.")
trunc: Function = _function(TRUNC, "x without its fractional part.")
exp: Function = _function(EXP, "e to the x.")
exp2: Function = _function(EXP2, "2 to the x.")
expm1: Function = _function(EXPM1, "exp(x) - 1, accurate near 0.")
log: Function = _function(LOG, "The natural logarithm.")
log2: Function = _function(LOG2, "The logarithm to base 2.")
log10: Function = _function(LOG10, "The logarithm to base 10.")
log1p: Function = _function(LOG1P, "log(1 + x), accurate near 0.")
sqrt: Function = _function(SQRT, "The square root.")
sigmoid: Function = _function(SIGMOID, "1 / (1 + exp(-x)).")
softplus: Function = _function(SOFTPLUS, "log(1 + exp(x)).")
sin: Function = _function(SIN, "The sine of x radians.")
cos: Function = _function(COS, "The cosine of x radians.")
tan: Function = _function(TAN, "The tangent of x radians.")
arcsin: Function = _function(ARCSIN, "The inverse sine, in radians.")
arccos: Function = _function(ARCCOS, "The inverse cosine, in radians.")
arctan: Function = _function(ARCTAN, "The inverse tangent, in radians.")
arctan2: Function = _function(
    ARCTAN2, "The angle of the point (y, x) = (first, second), in radians."
)
sinh: Function = _function(SINH, "The hyperbolic sine.")
cosh: Function = _function(COSH, "The hyperbolic cosine.")
tanh: Function = _function(TANH, "The hyperbolic tangent.")
arcsinh: Function = _function(ARCSINH, "The inverse hyperbolic sine.")
arccosh: Function = _function(ARCCOSH, "The inverse hyperbolic cosine.")
arctanh: Function = _function(ARCTANH, "The inverse hyperbolic tangent.")
deg2rad: Function = _function(DEG2RAD, "Degrees to radians.")
rad2deg: Function = _function(RAD2DEG, "Radians to degrees.")
erf: Function = _function(ERF, "The error function.")
erfc: Function = _function(ERFC, "1 - erf(x), accurate for large x.")
erfinv: Function = _function(ERFINV, "The inverse of erf.")
erfcinv: Function = _function(ERFCINV, "The inverse of erfc.")
gamma: Function = _function(GAMMA, "The gamma function.")
gammaln: Function = _function(GAMMALN, "log |gamma(x)|.")
psi: Function = _function(PSI, "The derivative of gammaln.")
tri_gamma: Function = _function(TRI_GAMMA, "The derivative of psi.")
eq: Function = _function(EQ, "x == y, a bool. (Variables' own == is identity.)")
neq: Function = _function(NEQ, "x != y, a bool.")
lt: Function = _function(LT, "x < y, a bool.")
gt: Function = _function(GT, "x > y, a bool.")
le: Function = _function(LE, "x <= y, a bool.")
ge: Function = _function(GE, "x >= y, a bool.")
and_: Function = _function(AND, "Bitwise and; logical for bools.")
bitwise_and = and_
or_: Function = _function(OR, "Bitwise or; logical for bools.")
bitwise_or = or_
xor: Function = _function(XOR, "Bitwise exclusive or; logical for bools.")
bitwise_xor = xor
invert: Function = _function(INVERT, "Bitwise not; logical for bools.")
bitwise_not = invert
switch: Function = _function(SWITCH, "x where the condition is true, else y. Both are computed.")
where = switch
second: Function = _function(SECOND, "The second argument in the shape of the first.")
fill = second
tensor_copy: Function = _function(IDENTITY, "x itself.")


def _floats_only(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def test(x: Any) -> Any:
        x = as_tensor_variable(x)
        return second(x, np.array(False)) if x.dtype in DISCRETE else function(x)

    return test


isnan = _floats_only(_function(ISNAN, "Whether x is not a number."))
isinf = _floats_only(_function(ISINF, "Whether x is infinite."))
isnan.__doc__, isinf.__doc__ = (
    "Whether x is not a number, a bool.",
    "Whether x is infinite, a bool.",
)


def true_div(x: Any, y: Any) -> Any:
    """x / y; the quotient of two integers is of dtype floatX. Source: Theano, `true_div`."""
    x, y = as_tensor_variable(x), as_tensor_variable(y)
    if x.dtype in DISCRETE and y.dtype in DISCRETE:
        x, y = cast(x, config.floatX), cast(y, config.floatX)
    wanted = result_dtype(x, y)
    if wanted != upcast(x.dtype, y.dtype):
        x, y = cast(x, wanted), cast(y, wanted)
    return Elemwise(TRUE_DIV)(x, y)


def cast(x: Any, dtype: str) -> Any:
    """`x` converted to `dtype` ("floatX" for the configured one), as NumPy's astype does.

    Casting to the dtype that `x` has gives `x` itself. TypeError for complex dtypes.
    """
    dtype = check_dtype(dtype)
    x = as_tensor_variable(x)
    return x if x.dtype == dtype else Elemwise(cast_op(dtype))(x)


def clip(x: Any, min: Any, max: Any) -> Any:
    """`x` limited to [min, max]; where x < min the result is min, even if min > max."""
    return Elemwise(CLIP)(x, min, max)


def round(x: Any, mode: str | None = None) -> Any:
    """The nearest whole number; `mode` "half_to_even" (default) or "half_away_from_zero"."""
    modes = {
        None: ROUND_HALF_EVEN,
        "half_to_even": ROUND_HALF_EVEN,
        "half_away_from_zero": ROUND_HALF_AWAY,
    }
    if mode not in modes:
        raise NotImplementedError(f"round: mode {mode!r}; use half_to_even or half_away_from_zero")
    if mode is None and config.warn.round:
        warn_user("round: ties go to the even number; give mode='half_to_even' to say so")
    return Elemwise(modes[mode])(x)


def iround(x: Any, mode: str | None = None) -> Any:
    """`round` as int64."""
    return cast(round(x, mode), "int64")


def real(x: Any) -> Any:
    """The real part: x itself, as there are no complex variables."""
    return as_tensor_variable(x)


conj = real


def imag(x: Any) -> Any:
    """The imaginary part: zeros, as there are no complex variables."""
    x = as_tensor_variable(x)
    return second(x, np.zeros((), x.dtype))


def angle(x: Any) -> Any:
    """The angle of a real number in the complex plane: 0, or pi for a negative one."""
    x = as_tensor_variable(x)
    pi = np.asarray(np.pi, float_of(x.dtype))
    return switch(lt(x, 0), pi, second(x, np.zeros_like(pi)))


# NumPy's function -> ours, so that np.exp(x) builds a graph
UFUNCS: dict[Any, Function] = {
    row.numpy: Elemwise(row) for row in SCALAR_OPS.values() if isinstance(row.numpy, np.ufunc)
}
UFUNCS |= {
    np.add: add, np.subtract: sub, np.multiply: mul, np.true_divide: true_div, np.mod: mod,
    np.floor_divide: int_div, np.power: pow, np.maximum: maximum, np.minimum: minimum,
}  # fmt: skip
