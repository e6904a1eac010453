"""Rules 1 to 10 of Theano's semantics, each clause of each: dtypes, literals, types of results.

The numbers are those of the project's list of rules; what is expected here is what Theano 1.0.5
gives for the same calls, but where a comment says otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symgraph import config, function, shared
from symgraph import tensor as T
from symgraph.tensor import TensorType
from symgraph.types import upcast


def scalar(dtype: str, name: str = "x") -> Any:
    return TensorType(dtype, ())(name)


def vector(dtype: str, name: str = "x") -> Any:
    return TensorType(dtype, (False,))(name)


# ---- rule 1: literals ----------------------------------------------------------------------------

INTEGERS = [
    (0, "int8"), (127, "int8"), (128, "int16"), (-128, "int8"), (-129, "int16"), (32767, "int16"),
    (32768, "int32"), (-32769, "int32"), (2**31 - 1, "int32"), (2**31, "int64"),
    (-(2**31), "int32"), (-(2**31) - 1, "int64"), (2**63 - 1, "int64"),
]  # fmt: skip


@pytest.mark.parametrize("number, dtype", INTEGERS)
def test_rule_01_the_smallest_integer_that_holds_it(number: int, dtype: str) -> None:
    """Also at floatX=float32, and beyond the range of the smaller dtypes."""
    for floatX in ("float64", "float32"):
        with config.change_flags(floatX=floatX):
            assert T.constant(number).dtype == dtype
            assert T.as_tensor_variable(number).dtype == dtype
            assert (scalar("int8") + number).dtype == dtype


def test_rule_01_floats_take_the_first_dtype_that_is_exact() -> None:
    exact = [0.5, 1.5, 3.5, 0.0, 2.0**100, -1.0, float(2**24), float("inf")]
    rounded = [0.1, 1.1, 1e-300, 1e300, float(2**24 + 1), 1 / 3]  # NumPy 2 says 0.1 == float32(0.1)
    for numbers, dtype in ((exact, "float32"), (rounded, "float64")):
        for number in numbers:
            assert T.constant(number).dtype == dtype
            assert (T.fvector() * number).dtype == dtype
            assert (T.dvector() * number).dtype == "float64"
    with config.change_flags(floatX="float32"):
        for number in exact + rounded[:3]:
            assert T.constant(number).dtype == "float32"
            assert (T.fvector() * number).dtype == "float32"


def test_rule_01_a_literal_that_is_kept_exactly_stays_so() -> None:
    x = T.fvector("x")
    assert (x * 1.1).eval({x: [3.0]})[0] == np.float64(3) * 1.1
    assert (x * 1.5).eval({x: [3.0]})[0] == 4.5


def test_rule_01_numpys_numbers_and_lists_keep_their_dtype() -> None:
    for dtype in ("int8", "int64", "uint16", "float32", "float64"):
        number = np.dtype(dtype).type(1)
        for floatX in ("float64", "float32"):
            with config.change_flags(floatX=floatX):
                assert T.constant(number).dtype == dtype
                assert T.constant(np.array([1, 0], dtype)).dtype == dtype
                assert T.as_tensor_variable([1, 2]).dtype == "int64"
                assert T.as_tensor_variable([0.1, 0.2]).dtype == "float64"
    assert (T.fvector() * np.float64(1.5)).dtype == "float64"
    assert (T.fvector() * 1000000).dtype == "float64", "the literal is an int32"
    with config.change_flags(floatX="float32"):
        assert (T.fvector() * 1000000).dtype == "float64"


def test_rule_01_a_dtype_that_is_given() -> None:
    assert T.constant(1, dtype="float32").dtype == "float32"
    assert T.constant([1, 0], dtype="int8").dtype == "int8"


def test_rule_01a_booleans() -> None:
    """Python's own make a constant of bool (of int8 in Theano 1.0.5), but no operand."""
    assert T.constant(False).dtype == T.constant(np.bool_(True)).dtype == "bool"
    with pytest.raises(T.AsTensorError):
        T.as_tensor_variable(True)
    with pytest.raises(TypeError):
        T.dvector() + True
    with pytest.raises(TypeError):
        T.dvector() * False


# ---- rule 2: upcasting ---------------------------------------------------------------------------

UPCASTS = [
    ("int8", "float32", "float32"), ("int16", "float32", "float32"),
    ("int32", "float32", "float64"), ("int64", "float32", "float64"),
    ("uint8", "float32", "float32"), ("uint16", "float32", "float32"),
    ("uint32", "float32", "float64"), ("bool", "int8", "int8"), ("bool", "bool", "bool"),
    ("bool", "float32", "float32"), ("uint64", "int64", "float64"), ("uint8", "int8", "int16"),
    ("uint32", "int32", "int64"), ("int8", "float16", "float16"), ("int16", "float16", "float32"),
    ("float16", "float32", "float32"), ("float32", "float64", "float64"),
]  # fmt: skip


@pytest.mark.parametrize("left, right, both", UPCASTS)
def test_rule_02_binary_upcasts_are_numpys_of_0d_arrays(left: str, right: str, both: str) -> None:
    a, b = scalar(left), scalar(right, "y")
    assert upcast(left, right) == both
    for first, second in ((a, b), (b, a)):
        assert T.maximum(first, second).dtype == both
        assert (first + second).dtype == both and (first * second).dtype == both
    assert (vector(left) + b).dtype == both and (a + vector(right)).dtype == both


def test_rule_02_cast_policies() -> None:
    with config.change_flags(cast_policy="numpy+floatX", floatX="float32"):
        assert (T.ivector() * T.fvector()).dtype == "float32"
        assert (T.lvector() * T.fvector()).dtype == "float32"
        assert (T.fvector() * T.dvector()).dtype == "float64", "a float64 that is there"
    with config.change_flags(floatX="float32"):
        assert (T.ivector() * T.fvector()).dtype == "float64"


# ---- rule 3: functions that compute in floats ----------------------------------------------------

ELEVATED = [
    ("bool", "float32"), ("int8", "float32"), ("uint8", "float32"), ("int16", "float32"),
    ("uint16", "float32"), ("int32", "float64"), ("uint32", "float64"), ("int64", "float64"),
    ("uint64", "float64"), ("float16", "float16"), ("float32", "float32"), ("float64", "float64"),
]  # fmt: skip


@pytest.mark.parametrize("dtype, expected", ELEVATED)
def test_rule_03_functions_of_integers_are_floats(dtype: str, expected: str) -> None:
    for floatX in ("float64", "float32"):
        with config.change_flags(floatX=floatX):
            x = vector(dtype)
            names = "exp tanh sqrt log log2 log10 log1p expm1 exp2 sin cos tan sinh cosh arctan"
            for name in (*names.split(), "erf", "gammaln"):
                assert getattr(T, name)(x).dtype == expected, name
            assert T.nnet.sigmoid(x).dtype == expected


def test_rule_03_rounding_of_integers() -> None:
    for name in ("ceil", "floor", "trunc"):
        assert getattr(T, name)(T.fvector()).dtype == "float32"
    for dtype in ("int8", "int32"):
        assert T.ceil(vector(dtype)).dtype == T.exp(vector(dtype)).dtype
    x = T.bvector("x")
    found = T.exp(x).eval({x: [1]})
    np.testing.assert_allclose(found, np.exp(1.0), rtol=1e-6)


# ---- rule 4: division ----------------------------------------------------------------------------


def test_rule_04_true_division_of_integers_gives_floatX() -> None:
    for floatX in ("float64", "float32"):
        with config.change_flags(floatX=floatX):
            for left in ("int8", "int32", "int64", "uint8"):
                quotient = vector(left) / scalar("int64", "y")
                assert quotient.dtype == floatX
                assert (vector(left) / 2).dtype == floatX
                assert T.true_div(vector(left), 3).dtype == floatX
            assert (T.fvector() / 2).dtype == "float32"
            assert (T.dvector() / 2).dtype == "float64"
            x = T.ivector("x")
            assert (x / 4).eval({x: [1]}).tolist() == [0.25]


def test_rule_04_floor_division_and_modulo_as_pythons() -> None:
    x, y = T.lvector("x"), T.lvector("y")
    a, b = np.array([7, -7, 7, -7, 6, 0]), np.array([2, 2, -2, -2, 3, 5])
    pairs = np.stack([a, b], axis=1).tolist()
    assert (x // y).dtype == "int64" and (vector("int8") // vector("int16")).dtype == "int16"
    assert (x // y).eval({x: a, y: b}).tolist() == [i // j for i, j in pairs]
    assert (x % y).eval({x: a, y: b}).tolist() == [i % j for i, j in pairs]
    x, y = T.dvector("x"), T.dvector("y")
    assert (x // y).dtype == "float64"
    given = {x: a + 0.5, y: b * 1.0}
    assert (x // y).eval(given).tolist() == [(i + 0.5) // j for i, j in pairs]
    assert (x % y).eval(given).tolist() == [(i + 0.5) % j for i, j in pairs]


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8"])
@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE"])
def test_rule_04_integers_divided_by_zero(dtype: str, mode: str) -> None:
    """ZeroDivisionError, as Theano's C code does; its Python code gives 0 and a warning."""
    x, y = vector(dtype), vector(dtype, "y")
    for quotient in (x // y, x % y):
        f = function([x, y], quotient, mode=mode)
        assert f(np.array([6], dtype), np.array([3], dtype)).dtype == dtype
        with pytest.raises(ZeroDivisionError):
            f(np.array([6, 6], dtype), np.array([3, 0], dtype))


# ---- rules 5 and 6: sums, products, means --------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, total",
    [("bool", "int64"), ("int8", "int64"), ("int16", "int64"), ("int32", "int64"),
     ("int64", "int64"), ("uint8", "uint64"), ("uint16", "uint64"), ("uint32", "uint64"),
     ("uint64", "uint64"), ("float16", "float16"), ("float32", "float32"),
     ("float64", "float64")],
)  # fmt: skip
def test_rule_05_dtypes_of_sums_and_products(dtype: str, total: str) -> None:
    x = TensorType(dtype, (False, False))("x")
    for axis in (None, 0, 1):
        assert T.sum(x, axis=axis).dtype == total and T.prod(x, axis=axis).dtype == total
        assert x.sum(axis=axis).dtype == total and x.prod(axis=axis).dtype == total
    assert T.sum(x, dtype="float64").dtype == "float64"


def test_rule_05_floats_are_summed_in_a_wider_dtype() -> None:
    """float32 in float64: the ones are not lost beside 2**24. float16 in float32."""
    big = np.array([2.0**24] + [1.0] * 4096, "float32")
    small = np.array([2048.0] + [1.0] * 1024, "float16")
    for data, total in ((big, 2.0**24 + 4096), (small, 3072), (np.full(3, 100, "int8"), 300)):
        x = vector(str(data.dtype))
        assert x.sum().eval({x: data}) == total


def test_rule_05_only_an_accumulator_that_is_narrower_is_refused() -> None:
    for x, narrow in ((T.dvector(), "float32"), (T.lvector(), "int32"), (T.fvector(), "float16")):
        with pytest.raises(TypeError):
            x.sum(acc_dtype=narrow)
    assert T.sum(T.dvector(), dtype="int32").dtype == "int32"
    assert T.sum(T.dvector(), dtype="float32").dtype == "float32"
    assert T.sum(T.ivector(), acc_dtype="int64").dtype == "int64"


def test_rule_06_means() -> None:
    for dtype, expected in (
        ("bool", "float64"), ("int8", "float64"), ("int64", "float64"), ("uint8", "float64"),
        ("float16", "float16"), ("float32", "float32"), ("float64", "float64"),
    ):  # fmt: skip
        for floatX in ("float64", "float32"):
            with config.change_flags(floatX=floatX):
                x = TensorType(dtype, (False, False))("x")
                for axis in (None, 0, [0, 1]):
                    assert T.mean(x, axis=axis).dtype == expected
    with config.change_flags(floatX="float32"):
        a, b = T.ivectors("ab")
        error_rate = T.mean(T.neq(a, b))
        assert error_rate.dtype == "float64"
        assert error_rate.eval({a: [1, 2, 3, 4], b: [1, 2, 3, 5]}) == 0.25
    halves = np.full(4096, 16.0, "float16")  # their sum, 65536, is beyond float16
    x = vector("float16")
    assert T.mean(x).eval({x: halves}) == 16
    assert T.mean(T.ivector(), dtype="float32").dtype == "float32"


# ---- rules 7 and 8: comparisons, positions, casts ------------------------------------------------


def test_rule_07_comparisons_are_booleans() -> None:
    x, y = T.dmatrix(), T.fmatrix()
    for name in ("eq", "neq", "lt", "le", "gt", "ge"):
        assert getattr(T, name)(x, y).dtype == "bool"
    for comparison in (x < y, x <= y, x > 0, x >= 0, T.isnan(x), T.isinf(y)):
        assert comparison.dtype == "bool"


def test_rule_07_positions_of_maxima() -> None:
    m = T.dmatrix("m")
    data = np.array([[1.0, 3, 3], [4, 4, 0]])
    assert T.argmax(m).dtype == T.argmin(m).dtype == T.argmax(T.bvector()).dtype == "int64"
    assert T.argmax(m, axis=1).eval({m: data}).tolist() == [1, 0], "the first of equal ones"
    assert T.argmin(m, axis=0).eval({m: data}).tolist() == [0, 0, 1]
    assert T.argmax(m).eval({m: data}) == 3 and T.argmax(m).ndim == 0
    t = T.dtensor3("t")
    cube = np.arange(24.0).reshape(2, 3, 4) % 7
    found = T.argmax(t, axis=(0, 2)).eval({t: cube})
    assert found.tolist() == cube.transpose(1, 0, 2).reshape(3, 8).argmax(1).tolist()
    assert T.max(t, axis=(0, 2)).eval({t: cube}).tolist() == cube.max((0, 2)).tolist()


def test_rule_07_dtypes_of_constructors() -> None:
    for stop in (3, np.int8(3), T.bscalar(), T.iscalar(), T.lscalar()):
        assert T.arange(stop).dtype == "int64"
    assert T.arange(3.0).dtype == "float32", "by rule 1"
    assert T.arange(0.1, 1).dtype == "float64" and T.arange(T.fscalar()).dtype == "float32"
    assert T.arange(3, dtype="int8").dtype == "int8"
    for floatX in ("float64", "float32"):
        with config.change_flags(floatX=floatX):
            assert T.zeros((2, 3)).dtype == T.ones((2,)).dtype == T.eye(3).dtype == floatX
    assert T.zeros((2,), dtype="int8").dtype == "int8"
    assert T.zeros_like(T.ivector()).dtype == "int32"
    assert T.dmatrix().shape.type == T.lvector and T.dmatrix().shape[0].dtype == "int64"


def test_rule_08_casts() -> None:
    x = T.fvector("x")
    assert T.cast(x, "float32") is x and x.astype("float32") is x
    assert T.cast(x, "float64") is not x and T.cast(x, "int8").dtype == "int8"
    assert T.cast(x, "int32").eval({x: [1.5, -1.5]}).tolist() == [1, -1]
    assert T.cast(x, "bool").eval({x: [0, 0.5]}).tolist() == [False, True]
    with config.change_flags(floatX="float32"):
        assert T.cast(x, "floatX") is x
    with pytest.raises(TypeError):
        T.cast(x, "complex64").astype("float32")


# ---- rules 9 and 10: shared variables, truth -----------------------------------------------------


def test_rule_09_types_of_shared_variables() -> None:
    for floatX in ("float64", "float32"):
        with config.change_flags(floatX=floatX):
            assert shared(0).type == T.lscalar and shared(0.0).type == T.dscalar
            assert shared(np.float32(7)).type == T.fscalar
            assert shared(np.zeros((1, 3), "int8")).type == T.bmatrix
    assert shared(np.zeros((1, 1))).broadcastable == (False, False)
    row = shared(np.zeros((1, 3)), broadcastable=(True, False))
    assert row.type == T.drow
    for other in ([1, 2], np.bool_(True), "text", {}):
        assert not isinstance(shared(other).type, TensorType)
    flag = shared(np.array(True))
    assert flag.type == TensorType("bool", ())


def test_rule_10_comparisons_have_no_truth() -> None:
    a, b, c = T.dscalars("a", "b", "c")
    # the functions too, which in Theano are true
    for comparison in (a < b, a <= b, a > b, a >= b, T.eq(a, b), T.neq(a, b), T.lt(a, b)):
        with pytest.raises(TypeError, match="boolean operations"):
            bool(comparison)
    with pytest.raises(TypeError):
        a < b < c  # noqa: B015
    for other in (a, a + b, T.dvector(), shared(0.0), T.constant(0), T.isnan(a), a.sum()):
        assert bool(other)


# ---- traps of NumPy 2 ----------------------------------------------------------------------------


def test_traps_of_numpy_2_in_constants() -> None:
    """Numbers of Python no longer take part in NumPy's promotion, and overflow is an error."""
    x = T.fscalar("x")
    assert (x / 3.0).dtype == "float32" and (x * 0.1).dtype == "float64"
    i = T.ivector("i")
    assert (i & 0xFF).eval({i: [-1, 256]}).tolist() == [255, 0]
    wide = i & 0xFFFFFFFF
    assert wide.dtype == "int64" and wide.eval({i: [-1]}).tolist() == [2**32 - 1]
    for dtype in ("int8", "int32", "uint8", "float16", "float32"):
        x = vector(dtype)
        for name in ("ceil", "floor", "trunc", "sqr", "sqrt", "gammaln", "erf"):
            y = getattr(T, name)(x)
            assert y.eval({x: np.array([1], dtype)}).dtype == y.dtype, (name, dtype)
