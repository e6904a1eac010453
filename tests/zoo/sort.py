"""Sorting, running sums and products, differences, counting: what must come out, by NumPy."""

from __future__ import annotations

import numpy as np

from symgraph.ops import counting as C
from symgraph.ops import sort as S
from symgraph.types import TensorType
from tests.zoo.case import Case, Failure, In
from tests.zoo.shape import called

V, M, T3 = In((5,)), In((3, 4)), In((2, 3, 4))
INTS = In((6,), "int32", 0, 4)
ZEROS = In((2, 4), values=[[2.0, 0.0, 3.0, -1.0], [0.0, 0.0, 1.5, 2.0]])

CASES: list[Case] = [
    Case("sort", S.sort, (M,), np.sort, dtype="float64"),
    Case("sort-first-axis", lambda x: S.sort(x, 0), (M,), lambda x: np.sort(x, 0)),
    Case("sort-flat", lambda x: S.sort(x, None), (M,), lambda x: np.sort(x, None),
         pattern=(False,)),
    Case("sort-kind", lambda x: S.sort(x, kind="mergesort"), (T3,), np.sort),
    Case("sort-int8", S.sort, (In((7,), "int8"),), np.sort, (), "int8"),
    Case("sort-float32", S.sort, (In((7,), "float32"),), np.sort, (), "float32"),
    Case("sort-nan", S.sort, (In((3,), values=[np.nan, 2.0, 1.0]),), np.sort, ()),
    Case("sort-empty", S.sort, (In((0,)),), np.sort),
    Case("sort-pattern", S.sort, (In((1, 4), broadcastable=(True, False)),), np.sort,
         pattern=(True, False)),
    Case("argsort", S.argsort, (M,), np.argsort, (), "int64"),
    Case("argsort-first-axis", lambda x: S.argsort(x, 0), (M,), lambda x: np.argsort(x, 0), ()),
    Case("argsort-stable", lambda x: S.argsort(x, kind="stable"), (INTS,),
         lambda x: np.argsort(x, kind="stable"), (), "int64"),
    Case("argsort-flat", lambda x: S.argsort(x, None), (M,), lambda x: np.argsort(x, None), ()),
    Case("cumsum", S.cumsum, (M,), np.cumsum, pattern=(False,)),
    Case("cumsum-axis-0", lambda x: S.cumsum(x, 0), (M,), lambda x: np.cumsum(x, 0)),
    Case("cumsum-last", lambda x: S.cumsum(x, axis=-1), (T3,), lambda x: np.cumsum(x, -1)),
    Case("cumsum-middle", lambda x: S.cumsum(x, 1), (T3,), lambda x: np.cumsum(x, 1)),
    Case("cumsum-int16", lambda x: S.cumsum(x, 0), (In((4,), "int16"),),
         lambda x: np.cumsum(x, dtype="int16"), (), "int16"),
    Case("cumsum-float32", lambda x: S.cumsum(x, 0), (In((9,), "float32"),), np.cumsum, (),
         "float32", rtol=1e-5),
    Case("cumsum-bool", S.cumsum, (In((5,), "bool"),), np.cumsum, (), "int64"),
    Case("cumsum-empty", lambda x: S.cumsum(x, 0), (In((0, 3)),), lambda x: x),
    Case("cumsum-row", lambda x: S.cumsum(x, 0), (In((1, 4), broadcastable=(True, False)),),
         lambda x: x, pattern=(True, False)),
    Case("cumprod", S.cumprod, (M,), np.cumprod, pattern=(False,)),
    Case("cumprod-axis-0", lambda x: S.cumprod(x, 0), (M,), lambda x: np.cumprod(x, 0)),
    Case("cumprod-last", lambda x: S.cumprod(x, -1), (T3,), lambda x: np.cumprod(x, -1)),
    Case("cumprod-zeros", lambda x: S.cumprod(x, 1), (ZEROS,), lambda x: np.cumprod(x, 1)),
    Case("cumprod-empty", lambda x: S.cumprod(x, 1), (In((2, 0)),), lambda x: x),
    Case("cumprod-column", lambda x: S.cumprod(x, 1), (In((3, 1), broadcastable=(False, True)),),
         lambda x: x, pattern=(False, True)),
    Case("recurrence", lambda b, a: S.Recurrence(1, False)(b, a), (In((2, 3)), In((2, 3))),
         lambda b, a: np.stack(
             [b[:, 0], b[:, 1] + a[:, 1] * b[:, 0],
              b[:, 2] + a[:, 2] * (b[:, 1] + a[:, 1] * b[:, 0])], 1)),
    Case("recurrence-reverse", lambda b, a: S.Recurrence(0, True)(b, a), (In((3,)), In((3,))),
         lambda b, a: np.array([b[0] + a[1] * (b[1] + a[2] * b[2]), b[1] + a[2] * b[2], b[2]])),
    Case("diff", S.diff, (M,), np.diff),
    Case("diff-twice", lambda x: S.diff(x, 2, 0), (M,), lambda x: np.diff(x, 2, 0)),
    Case("diff-none", lambda x: S.diff(x, 0), (M,), lambda x: x),
    Case("bincount", C.bincount, (INTS,), np.bincount, (), "int64", (False,)),
    Case("bincount-minlength", lambda x: C.bincount(x, minlength=9), (INTS,),
         lambda x: np.bincount(x, minlength=9), ()),
    Case("bincount-weights", C.bincount, (INTS, In((6,))), np.bincount, (1,), "float64"),
    Case("searchsorted", C.searchsorted, (In((4,), values=[1, 2, 2, 5]), M),
         np.searchsorted, (), "int64"),
    Case("searchsorted-right", lambda x, v: C.searchsorted(x, v, side="right"),
         (In((4,), "int8", values=[1, 2, 2, 5]), In((), "int64", values=2)),
         lambda x, v: np.searchsorted(x, v, side="right"), (), "int64"),
    Case("searchsorted-sorter", lambda x, v, s: C.searchsorted(x, v, sorter=s),
         (In((3,), values=[5, 1, 2]), V, In((3,), "int64", values=[1, 2, 0])),
         lambda x, v, s: np.searchsorted(x, v, sorter=s), ()),
    Case("unique", C.unique, (In((3, 3), "int8", 0, 3),), np.unique, (), "int8", (False,)),
    Case("unique-gradient", C.unique, (V,), np.unique),
    Case("unique-index", lambda x: C.unique(x, return_index=True)[1], (INTS,),
         lambda x: np.unique(x, return_index=True)[1], (), "int64"),
    Case("unique-inverse", lambda x: C.unique(x, return_inverse=True)[1], (INTS,),
         lambda x: np.unique(x, return_inverse=True)[1], (), "int64"),
    Case("unique-counts", lambda x: C.unique(x, True, True, True)[3], (INTS,),
         lambda x: np.unique(x, return_counts=True)[1], (), "int64"),
]  # fmt: skip

matrix, vector = TensorType("float64", (False, False)), TensorType("float64", (False,))

FAILURES: list[Failure] = [
    Failure("sort-axis", lambda: S.sort(matrix("x"), 2), ValueError, ("2",)),
    Failure("sort-axis-type", lambda: S.sort(matrix("x"), 0.5), TypeError, ("0.5",)),
    Failure("sort-kind", lambda: S.sort(matrix("x"), kind="bubble"), ValueError, ("bubble",)),
    Failure("argsort-order", lambda: S.argsort(matrix("x"), order="f"), ValueError, ("order",)),
    Failure("cumsum-axis", lambda: S.cumsum(matrix("x"), -3), ValueError, ("-3",)),
    Failure("diff-order", lambda: S.diff(vector("v"), -1), ValueError, ("-1",)),
    Failure("bincount-float", lambda: C.bincount(vector("v")), TypeError, ("v",)),
    Failure("searchsorted-side", lambda: C.searchsorted(vector("v"), 1.0, "top"), ValueError,
            ("top",)),
    # found when called
    Failure("call-bincount-negative", called(C.bincount, [0, -1]), IndexError, ()),
    Failure("call-bincount-weights", called(C.bincount, [0, 1], [1.0, 2.0, 3.0]), ValueError,
            ("3 weights", "2 elements")),
]  # fmt: skip
