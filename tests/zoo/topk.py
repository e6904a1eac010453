"""Records of the largest elements, flat positions and closeness."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.ops.topk import PutAlong, TakeAlong
from symgraph.tensor import extra_ops
from tests.zoo.case import Case, Failure, In
from tests.zoo.conv3d import called

M, T3 = In((4, 6)), In((2, 5, 3))
TIED = In(values=[[1.0, 2.0, 2.0, 0.0], [3.0, 3.0, 3.0, 3.0]])
AT = In(values=[[2, 0], [1, 5], [0, 3], [4, 2]], dtype="int8")
NEAR = In(values=[1, np.nan, np.inf, -np.inf, np.inf, 1e10, 1e-7, 3, np.inf, 2])
NEARBY = In(values=[1 + 1e-6, np.nan, np.inf, -np.inf, -np.inf, 1.00001e10, 1e-8, 4, 3, np.inf])
CLOSE = np.array([1, 0, 1, 1, 0, 1, 0, 0, 0, 0], dtype=bool)  # by Theano 1.0.5
FLAT = In(values=[22, 41, 37], dtype="int64")
ROWS, COLUMNS = In(values=[3, 6, 6], dtype="int32"), In(values=[4, 5, 1], dtype="int64")


def largest(x: np.ndarray, k: int, axis: int = -1) -> np.ndarray:
    """In descending order; of the smallest ones for a negative k."""
    line = np.flip(np.sort(x, axis), axis)
    size = x.shape[axis]
    return line.take(range(k) if k > 0 else range(size + k, size), axis)


def top(k: Any, **options: Any) -> Any:
    return lambda x: T.topk(x, k, **options)


def in_order(out: Any) -> Any:
    return T.sort(out, axis=-1)


CASES: list[Case] = [
    Case("topk", top(2), (M,), lambda x: largest(x, 2), dtype="float64", pattern=(False, False)),
    Case("topk_smallest", top(-2), (M,), lambda x: largest(x, -2)),
    Case("topk_first_axis", top(3, axis=0), (M,), lambda x: largest(x, 3, 0)),
    Case("topk_middle", top(4, axis=1), (T3,), lambda x: largest(x, 4, 1)),
    Case("topk_all", top(6), (M,), lambda x: largest(x, 6)),
    Case("topk_flat", top(5, axis=None), (M,), lambda x: largest(x.ravel(), 5), pattern=(False,)),
    Case("topk_symbolic", lambda x, k: T.topk(x, k), (M, In(values=3, dtype="int32")),
         lambda x, k: largest(x, int(k))),
    Case("topk_unsorted", lambda x: in_order(T.topk(x, 3, sorted=False)), (M,),
         lambda x: np.sort(x)[:, 3:]),
    Case("topk_unsorted_smallest", lambda x: in_order(T.topk(x, -3, sorted=False)), (M,),
         lambda x: np.sort(x)[:, :3]),
    Case("topk_int8", top(2), (In((3, 4), "int8", -9, 9),), lambda x: largest(x, 2), dtype="int8"),
    Case("topk_float32", top(2), (In((3, 4), "float32"),), lambda x: largest(x, 2),
         dtype="float32"),
    Case("argtopk", lambda x: T.argtopk(x, 2, idx_dtype="int32"), (M,),
         lambda x: np.argsort(-x)[:, :2], dtype="int32"),
    Case("argtopk_ties", lambda x: T.argtopk(x, 4), (TIED,),
         lambda x: np.array([[1, 2, 0, 3], [0, 1, 2, 3]]), dtype="int64"),
    Case("argtopk_unsorted", lambda x: T.sort(T.argtopk(x, 3, sorted=False)), (M,),
         lambda x: np.sort(np.argsort(x)[:, 3:]), dtype="int64"),
    Case("topk_and_argtopk", lambda x: (lambda v, i: v * i)(*T.topk_and_argtopk(x, 2)), (M,),
         lambda x: largest(x, 2) * np.argsort(-x)[:, :2]),
    Case("take_along", TakeAlong(1), (M, AT),
         lambda x, at: np.take_along_axis(x, at.astype(int), 1)),
    Case("put_along", lambda g, at: PutAlong(1)(g, at, 6), (In((4, 2)), AT),
         lambda g, at: np.stack([[dict(zip(p, v, strict=True)).get(j, 0.0) for j in range(6)]
                                 for p, v in zip(at, g, strict=True)])),
    Case("unravel_rows", lambda i: extra_ops.unravel_index(i, (7, 6))[0], (FLAT,),
         lambda i: np.array([3, 6, 6]), dtype="int64"),
    Case("unravel_columns", lambda i: extra_ops.unravel_index(i, (7, 6))[1], (FLAT,),
         lambda i: np.array([4, 5, 1])),
    Case("unravel_fortran", lambda i: extra_ops.unravel_index(i, (7, 6), order="F")[0], (FLAT,),
         lambda i: np.array([1, 6, 2])),
    Case("unravel_symbolic", lambda i, d: extra_ops.unravel_index(i, d, ndim=2)[1],
         (FLAT, In(values=[7, 6], dtype="int64")), lambda i, d: np.array([4, 5, 1])),
    Case("unravel_matrix", lambda i: extra_ops.unravel_index(i, (9,))[0],
         (In((2, 3), "int16", 0, 8),), lambda i: i.astype("int64")),
    Case("ravel", lambda a, b: extra_ops.ravel_multi_index((a, b), (7, 6)), (ROWS, COLUMNS),
         lambda a, b: np.array([22, 41, 37]), dtype="int64"),
    Case("ravel_fortran", lambda a, b: extra_ops.ravel_multi_index((a, b), (7, 6), order="F"),
         (ROWS, COLUMNS), lambda a, b: np.array([31, 41, 13])),
    Case("ravel_clip", lambda a, b: extra_ops.ravel_multi_index((a, b), (4, 6), mode="clip"),
         (ROWS, COLUMNS), lambda a, b: np.array([22, 23, 19])),
    Case("ravel_wrap", lambda a, b: extra_ops.ravel_multi_index((a, b), (4, 4), mode="wrap"),
         (ROWS, COLUMNS), lambda a, b: np.array([12, 9, 9])),
    Case("ravel_broadcast", lambda a, b: extra_ops.ravel_multi_index((a.dimshuffle(0, "x"), b),
                                                                     (7, 6)), (ROWS, COLUMNS),
         lambda a, b: a[:, None] * 6 + b, pattern=(False, False)),
    *(Case(f"bartlett_{n}", extra_ops.bartlett, (In(values=n, dtype="int64"),),
           lambda n: np.bartlett(n), dtype="float64") for n in (0, 1, 2, 5, 6)),
    Case("isclose", T.isclose, (NEAR, NEARBY), lambda a, b: CLOSE, dtype="bool", grad=()),
    Case("isclose_nan", partial(T.isclose, equal_nan=True), (NEAR, NEARBY),
         lambda a, b: CLOSE | np.isnan(a), grad=()),
    Case("isclose_tolerance", partial(T.isclose, rtol=1e-8, atol=2), (NEAR, NEARBY),
         lambda a, b: np.isclose(a, b, 1e-8, 2), grad=()),
    Case("allclose", T.allclose, (NEAR, NEARBY), lambda a, b: np.array(False), (), "bool", ()),
    Case("allclose_same", lambda x: T.allclose(x, x + 1e-9), (M,), lambda x: np.array(True), ()),
]  # fmt: skip

FAILURES: list[Failure] = [
    Failure("topk_none", called(top(0), np.ones((2, 3))), ValueError, ("k is zero",)),
    Failure("topk_too_many", called(top(4), np.ones((2, 3))), ValueError,
            ("larger than the size", "k=4 of 3")),
    Failure("topk_too_few", called(top(-4), np.ones((2, 3))), ValueError, ("k=-4 of 3",)),
    Failure("topk_of_scalar", lambda: T.topk(T.dscalar(), 1), ValueError, ("scalar",)),
    Failure("topk_axis", lambda: T.topk(T.dmatrix(), 1, axis=2), ValueError, ("axis 2",)),
    Failure("topk_positions", lambda: T.topk(T.dmatrix(), 1, idx_dtype="float32"), TypeError,
            ("float32",)),
    Failure("topk_float", lambda: T.topk(T.dmatrix(), 1.5), TypeError, ("not an integer",)),
    Failure("unravel_float", lambda: extra_ops.unravel_index(T.dvector(), (2, 3)), TypeError,
            ("cannot be interpreted as an index",)),
    Failure("unravel_unknown", lambda: extra_ops.unravel_index(T.lvector(), T.lvector()),
            ValueError, ("ndim=",)),
    Failure("unravel_ndim", lambda: extra_ops.unravel_index(T.lvector(), (2, 3), ndim=3),
            ValueError, ("ndim=3", "2 sizes", "ndim=2")),
    Failure("unravel_order", lambda: extra_ops.unravel_index(T.lvector(), (2, 3), "A"), ValueError,
            ("'A'",)),
    Failure("unravel_outside",
            called(lambda v: extra_ops.unravel_index(v.astype("int64"), (7, 6))[0],
                   np.full(1, 42.0)),
            ValueError, ("42",)),
    Failure("ravel_outside",
            called(lambda v: extra_ops.ravel_multi_index((v.astype("int8"),), (4,)),
                   np.full(1, 4.0)),
            ValueError, ()),
    Failure("ravel_of_array", lambda: extra_ops.ravel_multi_index(T.lmatrix(), (2, 3)), TypeError,
            ("tuple or a list",)),
    Failure("ravel_mode", lambda: extra_ops.ravel_multi_index((T.lvector(),), (2,), "cut"),
            ValueError, ("cut",)),
    Failure("bartlett_float", lambda: extra_ops.bartlett(T.dscalar()), TypeError, ("integer",)),
]  # fmt: skip
