"""Records of the products."""

from __future__ import annotations

import numpy as np

import symgraph.tensor as T
from tests.zoo.case import Case, Failure, In

V3, V4 = In((3,)), In((4,))
M34, M45, M43 = In((3, 4)), In((4, 5)), In((4, 3))
T234 = In((2, 3, 4))
SQUARE = In(values=[[3.0, 1.0, -1.0], [0.5, 2.0, 0.25], [1.0, -1.0, 4.0]])
POSITIVE = In(values=[[4.0, 1.0, -1.0], [1.0, 3.0, 0.5], [-1.0, 0.5, 5.0]])
ROW, COLUMN = In((1, 4), broadcastable=(True, False)), In((4, 1), broadcastable=(False, True))


def _second_order(x, w):
    """The gradient of a function of the gradient of a dot."""
    (g,) = T.grad((T.dot(x, w) ** 3).sum(), [x])
    return T.grad((g**2).sum(), w)


def _second_order_by_hand(x, w):
    y = x @ w
    g = 3 * y**2 @ w.T  # gradient by x
    return (2 * g).T @ (3 * y**2) + x.T @ (6 * y * (2 * g @ w))


CASES = [
    Case("dot_matrices", T.dot, (M34, M45), lambda a, b: a @ b, dtype="float64"),
    Case("dot_vectors", T.dot, (V3, V3), lambda a, b: a @ b, pattern=()),
    Case("dot_matrix_vector", T.dot, (M34, V4), lambda a, b: a @ b),
    Case("dot_vector_matrix", T.dot, (V4, M45), lambda a, b: a @ b),
    Case("dot_scalar", T.dot, (In(()), M34), lambda a, b: a * b),
    Case("dot_by_scalar", T.dot, (M34, In(())), lambda a, b: a * b),
    Case("dot_transposed", lambda a, b: T.dot(a.T, b.T), (M43, In((5, 4))),
         lambda a, b: a.T @ b.T),
    Case("dot_reversed", lambda a, b: T.dot(a[::-1, ::2], b[::-2]), (In((3, 8)), In((8, 2))),
         lambda a, b: a[::-1, ::2] @ b[::-2]),
    Case("dot_3d", T.dot, (T234, M45), np.dot),
    Case("dot_3d_vector", T.dot, (T234, V4), np.dot),
    Case("dot_matrix_3d", T.dot, (In((2, 3)), In((4, 3, 5))), np.dot),
    Case("dot_vector_3d", T.dot, (V3, In((2, 3, 2))), np.dot),
    Case("dot_row", T.dot, (ROW, M45), lambda a, b: a @ b, pattern=(True, False)),
    Case("dot_column", T.dot, (M34, COLUMN), lambda a, b: a @ b, pattern=(False, True)),
    Case("dot_row_column", T.dot, (ROW, COLUMN), lambda a, b: a @ b, pattern=(True, True)),
    Case("dot_outer_patterns", T.dot, (COLUMN, ROW), lambda a, b: a @ b),
    Case("dot_inner_one", T.dot, (In((3, 1)), ROW), lambda a, b: a @ b),
    Case("dot_of_nothing", T.dot, (In((3, 0)), In((0, 2))), lambda a, b: np.zeros((3, 2))),
    Case("dot_empty", T.dot, (In((0, 3)), In((3, 2))), lambda a, b: np.zeros((0, 2))),
    Case("dot_float32", T.dot, (In((7, 33), "float32"), In((33, 5), "float32")),
         lambda a, b: a @ b, dtype="float32", rtol=1e-4),
    Case("dot_float16", T.dot, (In((3, 4), "float16"), In((4, 2), "float16")),
         lambda a, b: (a.astype("float32") @ b.astype("float32")).astype("float16"),
         dtype="float16", rtol=1e-2),
    Case("dot_int_float32", T.dot, (In((3, 4), "int8"), In((4, 2), "float32")),
         lambda a, b: a.astype("float32") @ b, dtype="float32", rtol=1e-5),
    Case("dot_int32_float32", T.dot, (In((3, 4), "int32"), In((4, 2), "float32")),
         lambda a, b: a.astype("float64") @ b.astype("float64"), dtype="float64"),
    Case("dot_int64", T.dot, (In((3, 4), "int64"), In((4, 2), "int64")), lambda a, b: a @ b,
         dtype="int64"),
    Case("dot_int8_wraps", T.dot, (In((3, 40), "int8", -99, 99), In((40,), "int8", -99, 99)),
         lambda a, b: a @ b, dtype="int8"),
    Case("dot_bool", T.dot, (In((3, 4), "bool"), In((4, 2), "bool")), lambda a, b: a @ b,
         dtype="bool"),
    Case("dot_second_order", _second_order, (M34, In((4, 2))), _second_order_by_hand),
    Case("matmul_operator", lambda a, b: a @ b, (M34, M45), lambda a, b: a @ b),
    Case("dot_method", lambda a, b: a.dot(b), (V4, M45), lambda a, b: a @ b),
    Case("tensordot_default", T.tensordot, (T234, In((3, 4, 5))), np.tensordot),
    Case("tensordot_1", lambda a, b: T.tensordot(a, b, 1), (T234, M45),
         lambda a, b: np.tensordot(a, b, 1)),
    Case("tensordot_0", lambda a, b: T.tensordot(a, b, 0), (V3, M45),
         lambda a, b: np.tensordot(a, b, 0)),
    Case("tensordot_lists", lambda a, b: T.tensordot(a, b, [[0, 2], [1, 0]]),
         (T234, In((4, 2, 5))), lambda a, b: np.tensordot(a, b, [[0, 2], [1, 0]])),
    Case("tensordot_negative", lambda a, b: T.tensordot(a, b, [[-1], [-2]]), (T234, M45),
         lambda a, b: np.tensordot(a, b, 1)),
    Case("tensordot_ints", lambda a, b: T.tensordot(a, b, (1, 0)), (T234, In((3, 2))),
         lambda a, b: np.tensordot(a, b, (1, 0))),
    Case("tensordot_to_scalar", lambda a, b: T.tensordot(a, b, 2), (M34, M34),
         lambda a, b: (a * b).sum(), pattern=()),
    Case("batched_dot", T.batched_dot, (T234, In((2, 4, 5))), lambda a, b: a @ b),
    Case("batched_dot_vectors", T.batched_dot, (M34, M34), lambda a, b: (a * b).sum(1)),
    Case("batched_dot_rows", T.batched_dot, (M34, In((3, 4, 2))),
         lambda a, b: np.einsum("bi,bij->bj", a, b)),
    Case("batched_dot_columns", T.batched_dot, (T234, In((2, 4))),
         lambda a, b: np.einsum("bij,bj->bi", a, b)),
    Case("batched_dot_numbers", T.batched_dot, (In((2,)), T234),
         lambda a, b: a[:, None, None] * b),
    Case("batched_dot_4d", T.batched_dot, (In((2, 3, 2, 4)), In((2, 4, 5))),
         lambda a, b: np.einsum("bxyk,bkj->bxyj", a, b)),
    Case("batched_dot_float32", T.batched_dot,
         (In((2, 3, 4), "float32"), In((2, 4, 5), "float32")),
         lambda a, b: a @ b, dtype="float32", rtol=1e-5),
    Case("batched_dot_one", T.batched_dot,
         (In((1, 3, 4), broadcastable=(True, False, False)), In((1, 4, 2))), lambda a, b: a @ b),
    Case("batched_tensordot", lambda a, b: T.batched_tensordot(a, b, [[1, 2], [2, 1]]),
         (T234, In((2, 4, 3))), lambda a, b: np.einsum("bij,bji->b", a, b)),
    Case("batched_tensordot_1", lambda a, b: T.batched_tensordot(a, b, 1),
         (T234, In((2, 4, 5))), lambda a, b: a @ b),
    Case("outer", T.outer, (V3, V4), np.outer),
    Case("outer_of_matrices", T.outer, (In((2, 2)), V3), np.outer),
    Case("matrix_transpose", T.matrix_transpose, (T234,), lambda a: a.transpose(0, 2, 1)),
    Case("trace", T.nlinalg.trace, (M34,), np.trace),
    Case("inverse", T.nlinalg.matrix_inverse, (SQUARE,), np.linalg.inv, rtol=1e-8),
    Case("inverse_float32", T.nlinalg.matrix_inverse, (In(values=np.diag([1, 2, 4]) + 1.0,
         dtype="float32"),), np.linalg.inv, dtype="float32", rtol=1e-5),
    Case("inverse_int", T.nlinalg.matrix_inverse, (In(values=[[2, 1], [1, 1]], dtype="int64"),),
         np.linalg.inv, dtype="float64"),
    Case("det", T.nlinalg.det, (SQUARE,), np.linalg.det, pattern=(), rtol=1e-8),
    Case("pinv_tall", T.nlinalg.pinv, (In((4, 2)),), np.linalg.pinv, rtol=1e-8),
    Case("pinv_wide", T.nlinalg.pinv, (In((2, 4)),), np.linalg.pinv, rtol=1e-8),
    Case("cholesky", T.slinalg.cholesky, (POSITIVE,), np.linalg.cholesky, rtol=1e-8),
    Case("cholesky_upper", lambda x: T.slinalg.cholesky(x, lower=False), (POSITIVE,),
         lambda x: np.linalg.cholesky(x).T, rtol=1e-8),
    Case("eigenvalues", lambda x: T.nlinalg.eigh(x)[0], (POSITIVE,), np.linalg.eigvalsh, grad=(),
         rtol=1e-8),
    Case("eigenvectors", lambda x: (lambda w, v: T.dot(v * w, v.T))(*T.nlinalg.eigh(x)),
         (POSITIVE,), lambda x: x, grad=(), rtol=1e-8),
    Case("qr", lambda x: T.dot(*T.nlinalg.qr(x)), (In((4, 3)),), lambda x: x, grad=(), rtol=1e-8),
    Case("singular_values", lambda x: T.nlinalg.svd(x)[1], (M34,),
         lambda x: np.linalg.svd(x, compute_uv=False), grad=(), rtol=1e-8),
    Case("svd", lambda x: (lambda u, s, v: T.dot(u * s, v))(*T.nlinalg.svd(x, False)), (M34,),
         lambda x: x, grad=(), rtol=1e-8),
    Case("solve_vector", T.slinalg.solve, (SQUARE, V3), np.linalg.solve, rtol=1e-8),
    Case("solve_matrix", T.slinalg.solve, (SQUARE, M34), np.linalg.solve, rtol=1e-8),
]  # fmt: skip

FAILURES = [
    Failure("dot_known_sizes",
            lambda: T.dot(T.constant(np.ones((5, 10))), T.constant(np.ones((20, 10)))), ValueError,
            ("Shape mismatch: x has 10 cols (and 5 rows) but y has 20 rows (and 10 cols)",)),
    Failure("dot_sizes_when_called",
            lambda: T.dot(x := T.dmatrix("x"), y := T.dmatrix("y")).eval(
                {x: np.ones((5, 10)), y: np.ones((20, 10))}), ValueError,
            ("Shape mismatch: x has 10 cols (and 5 rows) but y has 20 rows (and 10 cols)",
             "linalg.py")),
    Failure("tensordot_axes", lambda: T.tensordot(T.dmatrix(), T.dmatrix(), 3), ValueError,
            ("3 axes",)),
    Failure("tensordot_unequal", lambda: T.tensordot(T.dmatrix(), T.dmatrix(), [[0], [0, 1]]),
            ValueError, ("equally long",)),
    Failure("batched_dot_of_scalar", lambda: T.batched_dot(T.dscalar(), T.dmatrix()), ValueError,
            ("scalar",)),
    Failure("inverse_of_vector", lambda: T.nlinalg.matrix_inverse(T.dvector()), TypeError,
            ("matrix",)),
    Failure("inverse_of_oblong",
            lambda: T.nlinalg.matrix_inverse(x := T.dmatrix("x")).eval({x: np.ones((2, 3))}),
            ValueError, ("square", "(2, 3)")),
    Failure("inverse_of_singular",
            lambda: T.nlinalg.matrix_inverse(x := T.dmatrix("x")).eval({x: np.ones((2, 2))}),
            np.linalg.LinAlgError, ("Singular",)),
    Failure("trace_of_vector", lambda: T.nlinalg.trace(T.dvector()), TypeError, ("matrix",)),
]  # fmt: skip
