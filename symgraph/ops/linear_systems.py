"""Linear systems and least squares, by LAPACK through NumPy.

Each runs as a Python step. A singular matrix raises numpy.linalg.LinAlgError when called.
Source: Theano, library/tensor/slinalg (Solve) and library/tensor/nlinalg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import expr as E
from symgraph.errors import NullTypeGradError, ShapeError, explain
from symgraph.expr import Check
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.alloc import tril, triu
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.decomposition import matrix_inverse, precise, typed
from symgraph.ops.elementwise import cast
from symgraph.ops.join import as_axis
from symgraph.ops.linalg import dot, outer
from symgraph.ops.shape import reshape
from symgraph.ops.structure import product_of, sizes_of
from symgraph.types import INT64, TensorType
from symgraph.variable import as_tensor_variable

__all__ = [
    "Lstsq", "Solve", "solve", "solve_lower_triangular", "solve_symmetric",
    "solve_upper_triangular", "tensorinv", "tensorsolve",
]  # fmt: skip

STRUCTURES = (
    "general", "symmetric", "lower_triangular", "upper_triangular", "hermitian", "banded",
    "diagonal", "toeplitz",
)  # fmt: skip


@dataclass(frozen=True)
class Solve(Op):
    """The solution x of a @ x = b, a square; b is a vector or the columns of a matrix.

    `A_structure`: of a matrix said to be triangular only that triangle is read, and only it has a
    gradient; the other structures are solved as general ones. The other fields are accepted for
    Theano's sake and mean nothing.
    """

    A_structure: str = "general"
    lower: bool = False
    overwrite_A: bool = False
    overwrite_b: bool = False

    def __post_init__(self) -> None:
        if self.A_structure not in STRUCTURES:
            raise ValueError(
                explain("Solve", f"Invalid matrix structure argument {self.A_structure!r}",
                        expected=", ".join(STRUCTURES))
            )  # fmt: skip

    def make_node(self, *inputs: Any) -> Apply:
        a, b = (as_tensor_variable(v) for v in inputs)
        if a.ndim != 2 or b.ndim not in (1, 2):
            raise TypeError(
                explain(self, "takes a matrix, and a vector or a matrix", got=describe((a, b)))
            )
        wide = precise(a.dtype, b.dtype)
        return super().make_node(cast(a, wide), cast(b, wide))

    def output_types(self, a: Any, b: Any) -> list[TensorType]:
        return [TensorType(b.dtype, (False, *b.broadcastable[1:]))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [(ctx.shape(node.inputs[0])[1], *ctx.shape(node.inputs[1])[1:])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        (rows, columns), b = (ctx.shape(v) for v in node.inputs)

        def fail(*sizes: int) -> Exception:
            return ShapeError(
                explain(self, "takes a square matrix and as many equations", where=node.trace,
                        got=f"shapes {sizes[:2]} and {sizes[2:]} of {describe(node.inputs)}")
            )  # fmt: skip

        pairs = ((rows, columns), (rows, b[0]))
        return [
            Check(E.compare("eq", p, q), (rows, columns, *b), fail) for p, q in pairs if p is not q
        ]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        a, b = inputs
        triangle = {"lower_triangular": np.tril, "upper_triangular": np.triu}.get(self.A_structure)
        a = a if triangle is None else triangle(a)
        columns = b if b.ndim == 2 else b[:, None]  # NumPy 2 takes a stack for a vector
        return typed(node, np.linalg.solve(a, columns).reshape(b.shape))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (a, _), (x,), (g,) = inputs, outputs, output_gradients
        turned = {"lower_triangular": "upper_triangular", "upper_triangular": "lower_triangular"}
        by_b = Solve(turned.get(self.A_structure, self.A_structure))(a.T, g)
        by_a = -outer(by_b, x) if x.ndim == 1 else -dot(by_b, x.T)
        triangle = {"lower_triangular": tril, "upper_triangular": triu}.get(self.A_structure)
        return [by_a if triangle is None else triangle(by_a), by_b]


@dataclass(frozen=True)
class Lstsq(Op):
    """The x that makes |a @ x - b| least, the sums of squares left over, a's rank, and its singular
    values; Lstsq()(a, b, rcond).

    b is a vector or the columns of a matrix; singular values below `rcond` times the largest count
    as zero. The sums are empty where the rank is not full or a has no more rows than columns. No
    gradient. Source: Theano, nlinalg.lstsq; NumPy.
    """

    def make_node(self, *inputs: Any) -> Apply:
        a, b, rcond = (as_tensor_variable(v) for v in inputs)
        if a.ndim != 2 or b.ndim not in (1, 2) or rcond.ndim != 0:
            raise TypeError(
                explain("lstsq", "takes a matrix, a vector or a matrix, and a number",
                        got=describe((a, b, rcond)))
            )  # fmt: skip
        wide = precise(a.dtype, b.dtype)
        return super().make_node(cast(a, wide), cast(b, wide), rcond)

    def output_types(self, a: Any, b: Any, rcond: Any) -> list[TensorType]:
        vector = TensorType(a.dtype, (False,))
        return [TensorType(a.dtype, (False,) * b.ndim), vector, INT64, vector]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        (rows, columns), b = (ctx.shape(v) for v in node.inputs[:2])
        return [(columns, *b[1:]), None, (), (E.minimum(rows, columns),)]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        a, b, rcond = inputs
        return typed(node, *np.linalg.lstsq(a, b, float(rcond)))

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise NullTypeGradError(explain("lstsq", "its gradient is not implemented"))


# ---- the names users call ------------------------------------------------------------------------


def solve(A: Any, b: Any) -> Any:
    """The solution x of A @ x = b; b is a vector or a matrix. Source: Theano, slinalg.solve."""
    return Solve()(A, b)


def solve_lower_triangular(A: Any, b: Any) -> Any:
    """`solve` for the lower triangle of A. Source: Theano, slinalg.solve_lower_triangular."""
    return Solve("lower_triangular", lower=True)(A, b)


def solve_upper_triangular(A: Any, b: Any) -> Any:
    """`solve` for the upper triangle of A. Source: Theano, slinalg.solve_upper_triangular."""
    return Solve("upper_triangular")(A, b)


def solve_symmetric(A: Any, b: Any) -> Any:
    """`solve` for a symmetric A. Source: Theano, slinalg.solve_symmetric."""
    return Solve("symmetric")(A, b)


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of `a` for `tensordot(a, ., ind)`: of shape a.shape[ind:] + a.shape[:ind].

    ValueError (when called, if sizes are symbolic) unless the first `ind` axes have as many
    elements as the others. Source: Theano, nlinalg.tensorinv; NumPy.
    """
    a = as_tensor_variable(a)
    if not 0 < ind < a.ndim:
        raise ValueError(
            explain("tensorinv", "Invalid ind argument.", got=f"ind={ind} for {describe((a,))}")
        )
    sizes = sizes_of(a)
    flat = reshape(a, [product_of(sizes[:ind]), product_of(sizes[ind:])])
    return reshape(matrix_inverse(flat), [*sizes[ind:], *sizes[:ind]])


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Any:
    """The x with `tensordot(a, x, x.ndim) == b`: x has the last axes of `a`, b the first ones.

    `axes` of `a` are moved to its end first. ValueError for axes that do not exist, and unless b
    has fewer axes than a and, at the call, the sizes fit.
    Source: Theano, nlinalg.tensorsolve; NumPy.
    """
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    if b.ndim >= a.ndim:
        raise ValueError(
            explain("tensorsolve", "the solution would have no axes", got=describe((a, b)))
        )
    if axes is not None:
        last = [as_axis(axis, a.ndim, "tensorsolve") for axis in axes]
        a = dimshuffle(a, [*(k for k in range(a.ndim) if k not in last), *last])
    rest = sizes_of(a)[b.ndim :]
    flat = reshape(a, [product_of(sizes_of(b)), product_of(rest)])
    return reshape(solve(flat, b.flatten()), rest)
