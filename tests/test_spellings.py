"""Small functions of theano.tensor. Values and dtypes are those that Theano 1.0.5 gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


i, j = T.bvector("i"), T.wvector("j")
d, m, v, p = T.dvector("d"), T.dmatrix("m"), T.ivector("v"), T.imatrix("p")
M = np.arange(6.0).reshape(2, 3)
P = np.array([[2, 0, 1], [1, 0, 2]], "int32")


def value(x: Any, **given: Any) -> Any:
    named = {"i": i, "j": j, "d": d, "m": m, "v": v, "p": p}
    return x.eval({named[name]: array for name, array in given.items()}).tolist()


def test_dtypes_by_kind() -> None:
    assert T.int_dtypes == ["int8", "int16", "int32", "int64"]
    assert T.uint_dtypes == ["uint8", "uint16", "uint32", "uint64"]
    assert T.integer_dtypes == T.int_dtypes + T.uint_dtypes
    assert T.discrete_dtypes == ["bool", *T.integer_dtypes]
    assert T.float_dtypes == T.continuous_dtypes == ["float16", "float32", "float64"]
    assert T.all_dtypes == T.discrete_dtypes + T.float_dtypes
    assert T.complex_dtypes == []


def test_integer_division() -> None:
    up = T.ceil_intdiv(i, j)
    assert up.dtype == "int16"
    assert value(up, i=[7, -7, 6, 0], j=[2, 2, 3, 5]) == [4, -3, 2, 0]
    quotient, rest = T.divmod(i, j)
    assert (quotient.dtype, rest.dtype) == ("int16", "int16")
    assert value(quotient, i=[7, -7], j=[2, 2]) == [3, -4]
    assert value(rest, i=[7, -7], j=[2, 2]) == [1, 1]
    assert value(T.mod_check(i, j), i=[7, -7], j=[4, 4]) == [3, 1]
    assert value(T.power(T.constant(2), 3)) == 8


def test_division_of_python_2_follows_int_division() -> None:
    assert T.div_proxy(i, j).dtype == "int16"
    assert value(T.div_proxy(i, j), i=[7, -7], j=[2, 2]) == [3, -4]
    assert value(T.div_proxy(d, j), d=[7.0], j=[2]) == [3.5]
    with symgraph.config.change_flags(int_division="floatX"):
        assert T.div_proxy(i, j).dtype == "float64"
        assert value(T.div_proxy(i, j), i=[7], j=[2]) == [3.5]
    with symgraph.config.change_flags(int_division="raise"):
        assert T.div_proxy(d, j).dtype == "float64"
        with pytest.raises(TypeError, match="two integers are divided"):
            T.div_proxy(i, j)


def test_rounding_by_name() -> None:
    halves = [0.5, 1.5, -0.5, -2.5]
    assert value(T.round_half_away_from_zero(d), d=halves) == [1, 2, -1, -3]
    assert value(T.round_half_to_even(d), d=halves) == [0, 2, 0, -2]


def test_constants_and_scalars() -> None:
    assert T.extract_constant(T.constant(3) + 1) == 4
    assert T.extract_constant(m) is m
    assert (T.is_flat(m), T.is_flat(d), T.is_flat(m, ndim=2)) == (False, True, True)
    s = d.sum()
    assert T.scalar_from_tensor(s) is s
    assert T.tensor_from_scalar(s) is s
    assert T.transfer(m, "cpu") is m
    with pytest.raises(TypeError, match="takes a 0-d tensor"):
        T.scalar_from_tensor(d)
    with pytest.raises(T.NotScalarConstantError):
        T.get_scalar_constant_value(s)
    assert value(d.conjugate(), d=[1.5]) == [1.5]
    assert value(d.nonzero_values(), d=[0.0, 2.0, 3.0]) == [2, 3]
    assert value(d.searchsorted(np.array([1.5])), d=[1.0, 2.0]) == [1]


def test_permutations() -> None:
    assert T.inverse_permutation(p).dtype == "int32"
    assert value(T.inverse_permutation(p), p=P) == [[1, 2, 0], [1, 0, 2]]
    assert value(T.inverse_permutation(v), v=P[0]) == [1, 2, 0]
    rows = T.permute_row_elements(m, p)
    assert value(rows, m=M, p=P) == [[2, 0, 1], [4, 3, 5]]
    assert value(T.permute_row_elements(m, p, 1), m=M, p=P) == [[1, 2, 0], [4, 3, 5]]
    assert value(T.permute_row_elements(m, v), m=M, v=P[0]) == [[2, 0, 1], [5, 3, 4]]
    assert value(T.permute_row_elements(m, v, 1), m=M, v=P[0]) == [[1, 2, 0], [4, 5, 3]]
    assert value(T.permute_row_elements(d, p), d=M[0], p=P) == [[2, 0, 1], [1, 0, 2]]
    slope = T.grad((rows * M).sum(), m)
    assert value(slope, m=M, p=P) == [[1, 2, 0], [4, 3, 5]]
    with pytest.raises(TypeError, match="integers in y"):
        T.permute_row_elements(m, d)
