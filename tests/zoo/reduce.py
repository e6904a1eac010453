"""Records of the reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph.tensor as T
from tests.zoo.case import Case, Failure, In

A = In((2, 3, 4))
B = In((2, 3), "bool")
F = In((3, 5), "float32")
I8 = In((3, 4), "int8", -100, 100)
U8 = In((3, 4), "uint8", 0, 255)
TIES = In(values=[[1.0, 3.0, 3.0], [2.0, 2.0, 0.5]])
NAN = In(values=[[1.0, np.nan, 3.0], [2.0, 0.0, -np.inf]])
COLUMN = In((4, 1), broadcastable=(False, True))
EMPTY = In((0, 3))


def _flat_last(x: Any, *kept: int) -> Any:
    """`x` with the axes other than `kept` flattened, last."""
    rest = [a for a in range(x.ndim) if a not in kept]
    return x.transpose(*kept, *rest).reshape([x.shape[a] for a in kept] + [-1])


CASES = [
    Case("sum_all", T.sum, (A,), lambda x: x.sum(), dtype="float64", pattern=()),
    Case("sum_axis", lambda x: T.sum(x, 1), (A,), lambda x: x.sum(1)),
    Case("sum_negative_axis", lambda x: x.sum(-1), (A,), lambda x: x.sum(-1)),
    Case("sum_several_axes", lambda x: T.sum(x, (0, -1)), (A,), lambda x: x.sum((0, 2))),
    Case("sum_axis_list", lambda x: T.sum(x, [2, 1]), (A,), lambda x: x.sum((1, 2))),
    Case("sum_constant_axis", lambda x: T.sum(x, T.constant(1)), (A,), lambda x: x.sum(1)),
    Case("sum_keepdims", lambda x: T.sum(x, 1, keepdims=True), (A,),
         lambda x: x.sum(1, keepdims=True), pattern=(False, True, False)),
    Case("sum_all_keepdims", lambda x: T.sum(x, keepdims=True), (A,),
         lambda x: x.sum(keepdims=True), pattern=(True,) * 3),
    Case("sum_no_axis", lambda x: T.sum(x, ()), (A,), lambda x: x),
    Case("sum_scalar", T.sum, (In(()),), lambda x: x),
    Case("sum_empty", lambda x: T.sum(x, 0), (EMPTY,), lambda x: np.zeros(3)),
    Case("sum_column", lambda x: T.sum(x, 0), (COLUMN,), lambda x: x.sum(0), pattern=(True,)),
    Case("sum_of_column_axis", lambda x: T.sum(x, 1), (COLUMN,), lambda x: x[:, 0],
         pattern=(False,)),
    # rule 5
    Case("sum_bool", T.sum, (B,), lambda x: x.sum(), dtype="int64"),
    Case("sum_int8", T.sum, (I8,), lambda x: x.astype("int64").sum(), dtype="int64"),
    Case("sum_uint8", T.sum, (U8,), lambda x: x.astype("uint64").sum(), dtype="uint64"),
    Case("sum_float32_adds_in_float64", T.sum, (In(values=[1e8, 1.0, -1e8], dtype="float32"),),
         lambda x: np.float32(1), dtype="float32"),
    Case("sum_float16", T.sum, (In((50,), "float16"),),
         lambda x: x.astype("float32").sum().astype("float16"), dtype="float16", rtol=1e-2),
    Case("sum_dtype", lambda x: T.sum(x, dtype="float64"), (F,),
         lambda x: x.astype("float64").sum(), dtype="float64"),
    Case("sum_to_int", lambda x: T.sum(x * 3, dtype="int32"), (A,),
         lambda x: (x * 3).sum().astype("int32"), dtype="int32", grad=()),
    Case("sum_acc_dtype", lambda x: T.sum(x, acc_dtype="float64"), (I8,),
         lambda x: x.astype("int64").sum(), dtype="int64"),
    Case("prod", lambda x: T.prod(x, 1), (A,), lambda x: x.prod(1)),
    Case("prod_int8", T.prod, (In((2, 2), "int8", 1, 4),), lambda x: x.astype("int64").prod(),
         dtype="int64"),
    Case("prod_empty", lambda x: T.prod(x, 0), (EMPTY,), lambda x: np.ones(3)),
    Case("prod_no_zeros", lambda x: T.prod(x, 0, no_zeros_in_input=True), (In((3, 2), low=1.0),),
         lambda x: x.prod(0)),
    # rule 23: no zero, one zero, two zeros
    Case("prod_gradient_at_zeros",
         lambda x: T.grad(T.prod(x, axis=1).sum(), x),
         (In(values=[[2.0, 3.0, 5.0], [2.0, 0.0, 5.0], [0.0, 0.0, 5.0]]),),
         lambda x: np.array([[15.0, 10.0, 6.0], [0.0, 10.0, 0.0], [0.0, 0.0, 0.0]]), grad=()),
    # rule 6
    Case("mean", T.mean, (A,), lambda x: x.mean()),
    Case("mean_axis_keepdims", lambda x: T.mean(x, -2, keepdims=True), (A,),
         lambda x: x.mean(1, keepdims=True), pattern=(False, True, False)),
    Case("mean_several", lambda x: T.mean(x, (0, 2)), (A,), lambda x: x.mean((0, 2))),
    Case("mean_bool", T.mean, (B,), lambda x: x.mean(), dtype="float64"),
    Case("mean_int32", lambda x: T.mean(x, 0), (In((4, 2), "int32"),), lambda x: x.mean(0),
         dtype="float64"),
    Case("mean_float32", lambda x: T.mean(x, axis=1), (F,),
         lambda x: (x.astype("float64").sum(1).astype("float32") / np.float32(5)),
         dtype="float32", rtol=1e-6),
    Case("mean_float16", T.mean, (In((2000,), "float16", 30.0, 40.0),),
         lambda x: x.astype("float32").mean().astype("float16"), dtype="float16", rtol=1e-2),
    Case("mean_empty", lambda x: T.mean(x, 0), (EMPTY,), lambda x: np.full(3, np.nan), grad=()),
    Case("mean_dtype", lambda x: T.mean(x, dtype="float64"), (F,),
         lambda x: x.astype("float64").mean(), dtype="float64"),
    # rule 39
    Case("var", T.var, (A,), lambda x: x.var()),
    Case("var_axis", lambda x: T.var(x, 1, keepdims=True), (A,), lambda x: x.var(1, keepdims=True)),
    Case("var_ddof", lambda x: T.var(x, (0, 1), ddof=1), (A,), lambda x: x.var((0, 1), ddof=1)),
    Case("var_corrected", lambda x: T.var(x, 0, corrected=True), (A,), lambda x: x.var(0)),
    Case("var_two_passes", T.var, (In((50,), low=1e8, high=1e8 + 1),), lambda x: x.var(),
         grad=(), rtol=1e-6),
    Case("var_int", T.var, (In((5,), "int32"),), lambda x: x.var(), dtype="float64"),
    Case("std", lambda x: T.std(x, -1), (A,), lambda x: x.std(-1)),
    Case("std_float32", lambda x: x.std(0), (F,), lambda x: x.std(0), dtype="float32", rtol=1e-5),
    # rule 22
    Case("max", T.max, (A,), lambda x: x.max()),
    Case("max_axis", lambda x: T.max(x, 1), (A,), lambda x: x.max(1)),
    Case("max_keepdims", lambda x: T.max(x, (0, 2), keepdims=True), (A,),
         lambda x: x.max((0, 2), keepdims=True), pattern=(True, False, True)),
    Case("max_int8", lambda x: T.max(x, 0), (I8,), lambda x: x.max(0), dtype="int8"),
    Case("max_uint8", lambda x: T.max(x, 0), (U8,), lambda x: x.max(0), dtype="uint8"),
    Case("max_bool", lambda x: T.max(x, 1), (B,), lambda x: x.max(1), dtype="bool"),
    Case("max_float32", T.max, (F,), lambda x: x.max(), dtype="float32"),
    Case("max_float16", T.max, (In((4,), "float16"),), lambda x: x.max(), dtype="float16"),
    Case("max_nan", lambda x: T.max(x, 1), (NAN,), lambda x: np.array([np.nan, 2.0]), grad=()),
    Case("max_ties_share_nothing", lambda x: T.grad(T.max(x, 1).sum(), x), (TIES,),
         lambda x: np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]), grad=()),
    Case("min_ties_share_nothing", lambda x: T.grad(T.min(x), x),
         (In(values=[0.5, 2.0, 0.5]),), lambda x: np.array([1.0, 0.0, 1.0]), grad=()),
    Case("min", lambda x: T.min(x, -1), (A,), lambda x: x.min(-1)),
    Case("min_uint8", T.min, (U8,), lambda x: x.min(), dtype="uint8"),
    Case("min_infinity", lambda x: T.min(x, 1), (NAN,), lambda x: np.array([np.nan, -np.inf]),
         grad=()),
    # rule 7
    Case("argmax", T.argmax, (A,), lambda x: x.argmax(), dtype="int64", grad=()),
    Case("argmax_axis", lambda x: T.argmax(x, -1), (A,), lambda x: x.argmax(-1), grad=()),
    Case("argmax_several", lambda x: T.argmax(x, (0, 2)), (A,),
         lambda x: _flat_last(x, 1).argmax(-1), grad=()),
    Case("argmax_keepdims", lambda x: T.argmax(x, 0, keepdims=True), (A,),
         lambda x: x.argmax(0)[None], pattern=(True, False, False), grad=()),
    Case("argmax_first_of_ties", lambda x: T.argmax(x, 1), (TIES,), lambda x: np.array([1, 0]),
         grad=()),
    Case("argmax_nan", lambda x: T.argmax(x, 1), (NAN,), lambda x: x.argmax(1), grad=()),
    Case("argmax_bool", lambda x: T.argmax(x, 1), (B,), lambda x: x.argmax(1)),
    Case("argmax_uint8", T.argmax, (U8,), lambda x: x.argmax()),
    Case("argmin", lambda x: T.argmin(x, 0), (A,), lambda x: x.argmin(0), dtype="int64", grad=()),
    Case("argmin_int8", T.argmin, (I8,), lambda x: x.argmin(), dtype="int64"),
    Case("argmax_is_connected", lambda x: T.grad((T.argmax(x) * x.sum()).sum(), x), (In((3,)),),
         lambda x: np.full(3, float(x.argmax())), grad=()),
    Case("max_and_argmax", lambda x: T.max_and_argmax(x, 1)[1] + T.max_and_argmax(x, 1)[0], (A,),
         lambda x: x.max(1) + x.argmax(1)),
    Case("any", lambda x: T.any(x, 1), (B,), lambda x: x.any(1), dtype="bool"),
    Case("any_float", T.any, (In(values=[0.0, np.nan]),), lambda x: x.any(), grad=()),
    Case("any_empty", lambda x: T.any(x, 0), (EMPTY,), lambda x: x.any(0), grad=()),
    Case("all", T.all, (B,), lambda x: x.all(), dtype="bool"),
    Case("all_int", lambda x: T.all(x, 0, keepdims=True), (In((3, 2), "int32", 0, 2),),
         lambda x: x.all(0, keepdims=True), dtype="bool"),
    Case("ptp", lambda x: T.ptp(x, 1), (A,), lambda x: np.ptp(x, 1)),
    Case("norm_2", lambda x: x.norm(2), (A,), lambda x: np.sqrt((x * x).sum())),
    Case("norm_1", lambda x: x.norm(1, axis=0), (A,), lambda x: np.abs(x).sum(0)),
    Case("norm_3", lambda x: x.norm(3, axis=1, keepdims=True), (A,),
         lambda x: (np.abs(x) ** 3).sum(1, keepdims=True) ** (1 / 3)),
    Case("largest", T.largest, (In((3,)), In((3,)), In((3,))),
         lambda x, y, z: np.maximum(np.maximum(x, y), z)),
    Case("smallest", T.smallest, (In((3,)), In((3,))), np.minimum),
]  # fmt: skip

FAILURES = [
    Failure("no_such_axis", lambda: T.sum(T.dmatrix("x"), 2), ValueError,
            ("Not enough dimensions on x to reduce on axis 2",)),
    Failure("axis_twice", lambda: T.max(T.dmatrix("x"), (0, -2)), ValueError, ("twice",)),
    Failure("max_of_nothing",
            lambda: T.max(x := T.dmatrix("x"), axis=0).eval({x: np.zeros((0, 3))}), ValueError,
            ("zero-size array", "reduce.py")),
    Failure("float_axis", lambda: T.sum(T.dmatrix("x"), 0.5), TypeError, ("0.5",)),
    Failure("symbolic_axis", lambda: T.sum(T.dmatrix("x"), T.lscalar("i")), TypeError,
            ("constant integer",)),
    Failure("narrow_acc_dtype", lambda: T.sum(T.dmatrix("x"), acc_dtype="float32"), TypeError,
            ("acc_dtype float32", "float64")),
    Failure("norm_order", lambda: T.dvector("x").norm(0), NotImplementedError, ("order 0",)),
    Failure("second_derivative_of_prod",
            lambda: (lambda x: T.grad(T.grad(T.prod(x), x).sum(), x))(T.dvector("x")),
            TypeError, ("second derivative",)),
    Failure("ddof", lambda: T.var(T.dvector("x"), ddof=0.5), ValueError, ("ddof",)),
]  # fmt: skip
