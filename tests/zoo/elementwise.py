"""Records of the elementwise functions: one at least per row of SCALAR_OPS and per name."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.ops import elementwise as F
from tests.zoo.case import Case, Failure, In

A, B = In((3, 4)), In((3, 4))
ROW, COL = In((1, 4), broadcastable=(True, False)), In((3, 1), broadcastable=(False, True))
UNIT, ABOVE, POSITIVE = In((3, 4), low=-0.9, high=0.9), In((5,), low=1.1), In((3, 4), low=0.2)
OFF_ZERO = In(values=[[-1.55, -0.25, 0.75], [2.3, -3.25, 1.25]])
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e-300, 1e300, np.inf, -np.inf, np.nan]
EDGE = In(values=EDGES)
EDGE32 = In(
    values=[0.0, -0.0, 1.0, -0.5, 2.5, 1e-40, 3e38, np.inf, -np.inf, np.nan], dtype="float32"
)
EDGE_COL = In(values=np.array(EDGES)[:, None], broadcastable=(False, True))
EDGE_ROW = In(values=[EDGES], broadcastable=(True, False))
I8 = In((4, 3), "int8", -100, 100)
INTS = {
    d: In(values=[[7, -7, 0, 127], [-128, 3, 1, -2]], dtype=d)
    if d[0] == "i"
    else In(values=[[7, 9, 0, 255], [128, 3, 1, 2]], dtype=d)
    for d in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
BITS = In(values=[[True, False], [True, True]], dtype="bool")
OTHER_BITS = In(values=[[True, True], [False, True]], dtype="bool")


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` without NumPy's warnings about NaN and infinity."""

    def call(*args: Any) -> Any:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args)

    return call


def each(function: Callable[[float], float]) -> Callable[..., Any]:
    return lambda x: np.array([function(float(v)) for v in x.flat]).reshape(x.shape)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def psi(x: float) -> float:
    """From the harmonic series with its Euler-Maclaurin tail, far out."""
    if x < 20:
        return psi(x + 1) - 1 / x
    return math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)


def tri_gamma(x: float) -> float:
    if x < 20:
        return tri_gamma(x + 1) + 1 / x**2
    return 1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5) + 1 / (42 * x**7)


def by_bisection(function: Callable[[float], float], low: float, high: float) -> Any:
    """The inverse of an increasing function."""

    def inverse(y: float) -> float:
        a, b = low, high
        for _ in range(200):
            middle = (a + b) / 2
            a, b = (middle, b) if function(middle) < y else (a, middle)
        return a

    return inverse


erfinv = by_bisection(math.erf, -6.0, 6.0)
erfcinv = by_bisection(lambda x: -math.erfc(x), -6.0, 6.0)


def power_of(x: Any, y: Any) -> Any:
    return np.power(x, y)


# (function, NumPy, an input on which it is smooth, whether edge values are checked exactly)
UNARY: list[tuple[Any, Any, In, bool]] = [
    (T.exp, np.exp, A, True),
    (T.exp2, np.exp2, A, True),
    (T.expm1, np.expm1, A, True),
    (T.log, np.log, POSITIVE, True),
    (T.log2, np.log2, POSITIVE, True),
    (T.log10, np.log10, POSITIVE, True),
    (T.log1p, np.log1p, UNIT, True),
    (T.sqrt, np.sqrt, POSITIVE, True),
    (T.sqr, np.square, A, True),
    (T.inv, np.reciprocal, OFF_ZERO, True),
    (T.sin, np.sin, A, False),
    (T.cos, np.cos, A, False),
    (T.tan, np.tan, UNIT, False),
    (T.arcsin, np.arcsin, UNIT, True),
    (T.arccos, np.arccos, UNIT, True),
    (T.arctan, np.arctan, A, True),
    (T.sinh, np.sinh, A, True),
    (T.cosh, np.cosh, A, True),
    (T.tanh, np.tanh, A, True),
    (T.arcsinh, np.arcsinh, A, False),
    (T.arccosh, np.arccosh, ABOVE, True),
    (T.arctanh, np.arctanh, UNIT, True),
    (T.deg2rad, np.deg2rad, A, True),
    (T.rad2deg, np.rad2deg, A, False),
    (T.nnet.sigmoid, sigmoid, A, True),
    (T.nnet.softplus, softplus, A, True),
    (T.erf, each(math.erf), A, True),
    (T.erfc, each(math.erfc), A, True),
    (T.erfinv, each(erfinv), UNIT, False),
    (T.erfcinv, lambda x: each(erfcinv)(-x), In((4,), low=0.1, high=1.9), False),
    (T.gamma, each(math.gamma), POSITIVE, False),
    (T.gammaln, each(math.lgamma), POSITIVE, False),
    (T.psi, each(psi), POSITIVE, False),
    (T.tri_gamma, each(tri_gamma), POSITIVE, False),
    (T.neg, np.negative, A, True),
    (T.abs_, np.abs, OFF_ZERO, True),
    (T.sgn, np.sign, OFF_ZERO, True),
    (T.ceil, np.ceil, OFF_ZERO, True),
    (T.floor, np.floor, OFF_ZERO, True),
    (T.trunc, np.trunc, OFF_ZERO, True),
    (F.tensor_copy, np.array, A, True),
]
NO_GRADIENT_OF = ("tri_gamma",)


def _unary() -> list[Case]:
    cases = []
    for function, numpy, smooth, has_edges in UNARY:
        name = function.__name__
        grad = () if name in NO_GRADIENT_OF else None
        cases.append(Case(name, function, (smooth,), numpy, grad, "float64"))
        if has_edges:
            cases.append(Case(f"{name}_edges", function, (EDGE,), quiet(numpy), (), rtol=1e-12))
    return cases


def _dtypes() -> list[Case]:
    """Rule 3: what becomes of small and large integers, and of narrow floats."""
    cases = []
    for dtype, result in [
        ("bool", "float32"),
        ("int8", "float32"),
        ("uint16", "float32"),
        ("int32", "float64"),
        ("uint64", "float64"),
        ("float16", "float16"),
        ("float32", "float32"),
    ]:
        x = In((2, 3), dtype, 0, 3)
        wide = "float64" if result == "float64" else "float32"
        cases += [
            Case(
                f"tanh_{dtype}",
                T.tanh,
                (x,),
                lambda v, w=wide, r=result: np.tanh(v.astype(w)).astype(r),
                (),
                result,
            ),
            Case(
                f"sigmoid_{dtype}",
                T.nnet.sigmoid,
                (x,),
                lambda v, w=wide, r=result: sigmoid(v.astype(w)).astype(r),
                (),
                result,
            ),
            Case(
                f"ceil_{dtype}",
                T.ceil,
                (x,),
                lambda v, w=wide, r=result: np.ceil(v.astype(w)).astype(r),
                (),
                result,
            ),
        ]
    return cases


def _integers() -> list[Case]:
    """Arithmetic wraps; // and % round down and take the divisor's sign (rule 4)."""
    cases = []
    for dtype, x in INTS.items():
        y = In(values=[[2, 3, 5, 7]], dtype=dtype, broadcastable=(True, False))
        cases.append(
            Case(
                f"arithmetic_{dtype}",
                lambda x, y: T.stack([x + y, x - y, x * y, x // y, x % y]),
                (x, y),
                lambda x, y: np.stack([x + y, x - y, x * y, x // y, x % y]),
                (),
                dtype,
            )
        )
        bits = Case(
            f"bits_{dtype}",
            lambda x, y: T.stack([x & y, x | y, x ^ y, ~x]),
            (x, y),
            lambda x, y: np.stack([x & y, x | y, x ^ y, np.invert(x)]),
            (),
            dtype,
        )
        order = Case(
            f"order_{dtype}",
            lambda x, y: T.stack([T.maximum(x, y), T.minimum(x, y), abs(x)]),
            (x, y),
            lambda x, y: np.stack([np.maximum(x, y), np.minimum(x, y), np.abs(x)]),
            (),
            dtype,
        )
        if dtype in ("int8", "int64", "uint8", "uint64"):
            cases += [bits, order]
    return cases


def _upcasts() -> list[Case]:
    """Rule 2: the result's dtype is that of NumPy's 0-d arrays."""
    pairs = [
        ("int8", "int16", "int16"),
        ("int16", "float32", "float32"),
        ("int32", "float32", "float64"),
        ("bool", "int8", "int8"),
        ("uint64", "int64", "float64"),
        ("uint8", "int8", "int16"),
        ("float16", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("int8", "float16", "float16"),
        ("bool", "float32", "float32"),
    ]
    return [
        Case(
            f"add_{a}_{b}",
            lambda x, y: x + y,
            (In((2, 3), a, 0, 5), In((3,), b, 0, 5)),
            lambda x, y, d=d: x.astype(d) + y.astype(d),
            (),
            d,
        )
        for a, b, d in pairs
    ]


BINARY = [
    Case("add", lambda x, y: x + y, (A, B), np.add, pattern=(False, False)),
    Case("add_edges", lambda x, y: x + y, (EDGE_ROW, EDGE_COL), quiet(np.add), ()),
    Case("add_many", lambda x, y, z: T.add(x, y, z), (A, ROW, COL), lambda x, y, z: x + y + z),
    Case("add_row_column", lambda x, y: x + y, (ROW, COL), np.add, pattern=(False, False)),
    Case("add_rows", lambda x, y: x + y, (ROW, ROW), np.add, pattern=(True, False)),
    Case("add_vector", lambda x, y: x + y, (A, In((4,))), np.add),
    Case("add_scalar", lambda x, y: x + y, (A, In(())), np.add),
    Case("add_scalars", lambda x, y: x + y, (In(()), In(())), np.add, pattern=()),
    Case("add_3d_row", lambda x, y: x + y, (In((2, 3, 4)), ROW), np.add, pattern=(False,) * 3),
    Case("add_bool", lambda x, y: x + y, (BITS, OTHER_BITS), np.add, dtype="bool"),
    Case("sub", lambda x, y: x - y, (A, COL), np.subtract),
    Case("mul", lambda x, y: x * y, (A, ROW), np.multiply),
    Case("mul_edges", lambda x, y: x * y, (EDGE_ROW, EDGE_COL), quiet(np.multiply), ()),
    Case("mul_bool", lambda x, y: x * y, (BITS, OTHER_BITS), np.multiply, dtype="bool"),
    Case("mul_itself", lambda x: x * x, (A,), np.square),
    Case("true_div", lambda x, y: x / y, (A, OFF := In((3, 4), low=0.5)), np.true_divide),
    Case("true_div_edges", lambda x, y: x / y, (EDGE_ROW, EDGE_COL), quiet(np.true_divide), ()),
    Case("true_div_ints", lambda x: x / 4, (INTS["int32"],), lambda x: x / 4.0, dtype="float64"),
    Case("true_div_bools", lambda x: x / np.int8(2), (BITS,), lambda x: x / 2.0, dtype="float64"),
    Case(
        "true_div_float32",
        lambda x: x / 3,
        (In((4,), "float32"),),
        lambda x: x / np.float32(3),
        dtype="float32",
    ),
    # rule 24: the gradient of // is zero
    Case(
        "int_div",
        lambda x, y: x // y,
        (OFF_ZERO, In(values=[[0.7], [-0.4]], broadcastable=(False, True))),
        lambda x, y: x // y,
    ),
    Case(
        "int_div_gradient",
        lambda x, y: T.grad((x * (x // y)).sum(), x),
        (A, OFF),
        lambda x, y: x // y,
        (),
    ),
    Case("int_div_edges", lambda x, y: x // y, (EDGE_ROW, EDGE_COL), quiet(np.floor_divide), ()),
    Case(
        "int_div_bool", lambda x, y: x // T.ones_like(x), (BITS, BITS), lambda x, y: x, dtype="bool"
    ),
    Case(
        "mod",
        lambda x, y: x % y,
        (OFF_ZERO, In(values=[[0.7], [-0.4]], broadcastable=(False, True))),
        np.mod,
        (0, 1),
    ),
    Case("mod_negative", lambda x: x % -1.75, (A,), lambda x: np.mod(x, -1.75), ()),
    Case("mod_edges", lambda x, y: x % y, (EDGE_ROW, EDGE_COL), quiet(np.mod), ()),
    Case("pow", lambda x, y: x**y, (POSITIVE, B), power_of),
    Case("pow_2", lambda x: x**2, (A,), np.square, dtype="float64"),
    Case("pow_half", lambda x: x**0.5, (POSITIVE,), np.sqrt),
    Case("pow_minus_1", lambda x: x**-1, (OFF_ZERO,), lambda x: 1 / x),
    Case("pow_of_2", lambda x: 2**x, (A,), np.exp2),
    Case("pow_int8", lambda x: x**2, (INTS["int8"],), lambda x: x**2, dtype="int8"),
    Case("pow_int64", lambda x: x**3, (INTS["int64"],), lambda x: x**3, dtype="int64"),
    Case("pow_edges", lambda x, y: x**y, (EDGE_ROW, EDGE_COL), quiet(power_of), ()),
    # rule 23: by the exponent, 0 where the base is 0
    Case(
        "pow_gradient_at_0",
        lambda x, y: T.grad((x**y).sum(), y),
        (In(values=[0.0, 2.0]), In(values=[2.0, 3.0])),
        lambda x, y: np.array([0.0, 8 * np.log(2)]),
        (),
    ),
    Case("maximum", T.maximum, (A, COL), np.maximum),
    Case("minimum", T.minimum, (A, ROW), np.minimum),
    Case("maximum_edges", T.maximum, (EDGE_ROW, EDGE_COL), quiet(np.maximum), ()),
    Case("minimum_edges", T.minimum, (EDGE_ROW, EDGE_COL), quiet(np.minimum), ()),
    Case(
        "maximum_float32",
        T.maximum,
        (EDGE32, In((1,), "float32", broadcastable=(True,))),
        quiet(np.maximum),
        (),
        "float32",
    ),
    # rule 22: on a tie the first argument gets all
    Case(
        "maximum_tie",
        lambda x: T.grad(T.maximum(x, 0.0).sum(), x),
        (In(values=[0.0, 1.0, -1.0]),),
        lambda x: np.array([1.0, 1.0, 0.0]),
        (),
    ),
    Case(
        "maximum_tie_second",
        lambda x: T.grad(T.maximum(0.0, x).sum(), x),
        (In(values=[0.0, 1.0, -1.0]),),
        lambda x: np.array([0.0, 1.0, 0.0]),
        (),
    ),
    Case(
        "minimum_tie",
        lambda x: T.grad(T.minimum(x, 0.0).sum(), x),
        (In(values=[0.0, 1.0, -1.0]),),
        lambda x: np.array([1.0, 0.0, 1.0]),
        (),
    ),
    Case(
        "abs_at_0", lambda x: T.grad(abs(x).sum(), x), (In(values=[0.0, 2.0, -2.0]),), np.sign, ()
    ),
    Case("arctan2", T.arctan2, (OFF_ZERO, In((3,), low=0.5)), np.arctan2),
    Case("arctan2_edges", T.arctan2, (EDGE_ROW, EDGE_COL), np.arctan2, (), rtol=1e-12),
]

CASES = [*_unary(), *_dtypes(), *_integers(), *_upcasts(), *BINARY]


def called(build: Callable[..., Any], *values: Any) -> Callable[[], Any]:
    """Builds, compiles for the interpreter and calls."""

    def provoke() -> Any:
        import symgraph
        from symgraph.compile.pipeline import Options
        from symgraph.types import TensorType

        arrays = [np.asarray(v) for v in values]
        xs = [TensorType(str(a.dtype), (False,) * a.ndim)(f"x{k}") for k, a in enumerate(arrays)]
        return symgraph.function(xs, build(*xs), mode=Options(target="python"))(*arrays)

    return provoke


FAILURES = [
    Failure(
        "sub_bool",
        lambda: T.TensorType("bool", (False,))("x") - np.array(True),
        TypeError,
        ("bool",),
    ),
    Failure("neg_bool", lambda: -T.TensorType("bool", (False,))("x"), TypeError, ("bool",)),
    Failure("sgn_bool", lambda: T.sgn(T.TensorType("bool", ())("x")), TypeError, ("bool",)),
    Failure("and_float", lambda: T.dvector("x") & 1, TypeError, ("and_", "float64")),
    Failure("invert_float", lambda: ~T.dvector("x"), TypeError, ("invert", "float64")),
    Failure("cast_complex", lambda: T.cast(T.dvector(), "complex128"), TypeError, ("complex128",)),
    Failure("round_mode", lambda: T.round(T.dvector(), "up"), NotImplementedError, ("'up'",)),
    Failure("chained", lambda: T.dscalar("a") < T.dscalar("b") < 1, TypeError, ()),
    Failure(
        "called_int_div_0",
        called(lambda x: 5 // x, np.array([1, 0])),
        ZeroDivisionError,
        ("int_div", "elementwise.py"),
    ),
    Failure(
        "called_mod_0",
        called(lambda x: 5 % x, np.array([1, 0], "int8")),
        ZeroDivisionError,
        ("mod", "elementwise.py"),
    ),
    # rule 31
    Failure(
        "called_sizes",
        called(lambda x, y: x + y, [1.0, 2.0], [1.0, 2.0, 3.0]),
        ValueError,
        ("Input dimension mis-match", "x0", "elementwise.py"),
    ),
    Failure(
        "called_size_1",
        called(lambda x, y: x + y, [[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]),
        ValueError,
        ("broadcastable",),
    ),
]
