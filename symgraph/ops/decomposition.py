"""Inverses, determinants, factorisations and linear systems, by LAPACK through NumPy.

Each runs as a Python step. A singular matrix raises numpy.linalg.LinAlgError when called.
Source: Theano, library/tensor/nlinalg and library/tensor/slinalg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import NullTypeGradError, ShapeError, explain
from symgraph.expr import Check
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.alloc import tril, triu
from symgraph.ops.core import describe
from symgraph.ops.elementwise import cast
from symgraph.ops.linalg import dot, outer
from symgraph.types import TensorType, float_of, upcast
from symgraph.variable import as_tensor_variable

__all__ = [
    "cholesky", "det", "eigh", "matrix_inverse", "pinv", "qr", "solve", "svd",
]  # fmt: skip


@dataclass(frozen=True)
class _OfMatrix(Op):
    """What the ops of one matrix share: a float matrix goes in, and most want a square one."""

    square: ClassVar[bool] = True

    def make_node(self, *inputs: Any) -> Apply:
        x = as_tensor_variable(inputs[0])
        if x.ndim != 2:
            raise TypeError(explain(self, "takes a matrix", got=describe((x,))))
        return super().make_node(cast(x, _precise(x.dtype)))

    def output_types(self, x: Any) -> list[TensorType]:
        return [TensorType(x.dtype, (False, False))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        rows, columns = ctx.shape(node.inputs[0])
        return [(columns, rows)]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        rows, columns = ctx.shape(node.inputs[0])
        if not self.square or rows is columns:
            return []

        def fail(*sizes: int) -> Exception:
            return ShapeError(
                explain(self, "takes a square matrix", where=node.trace,
                        got=f"shape {sizes} of {describe(node.inputs)}")
            )  # fmt: skip

        return [Check(E.compare("eq", rows, columns), (rows, columns), fail)]

    def _no_gradient(self) -> NullTypeGradError:
        return NullTypeGradError(explain(self, "its gradient is not implemented"))


def _precise(*dtypes: str) -> str:
    """The dtype that LAPACK computes with: float32 or float64."""
    result = float_of(upcast(*dtypes))
    return "float32" if result == "float16" else result


def _typed(node: Apply, *values: Any) -> list[np.ndarray]:
    return [np.asarray(v, o.type.dtype) for v, o in zip(values, node.outputs, strict=True)]


@dataclass(frozen=True)
class MatrixInverse(_OfMatrix):
    """The inverse of a square matrix."""

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return _typed(node, np.linalg.inv(inputs[0]))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        turned = outputs[0].T
        return [-dot(dot(turned, output_gradients[0]), turned)]


@dataclass(frozen=True)
class Det(_OfMatrix):
    """The determinant of a square matrix."""

    def output_types(self, x: Any) -> list[TensorType]:
        return [TensorType(x.dtype, ())]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [()]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return _typed(node, np.linalg.det(inputs[0]))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [output_gradients[0] * outputs[0] * MatrixInverse()(inputs[0]).T]


@dataclass(frozen=True)
class PseudoInverse(_OfMatrix):
    """The Moore-Penrose inverse of a matrix."""

    square: ClassVar[bool] = False

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return _typed(node, np.linalg.pinv(inputs[0]))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        # Golub and Pereyra (1973), theorem 4.3
        (a,), (p,), (g,) = inputs, outputs, output_gradients
        g = g.T
        first = dot(dot(p.T, g.T), p.T)
        second = dot(g - dot(dot(a, p), g), dot(p, p.T))
        third = dot(dot(p.T, p), g - dot(dot(g, p), a))
        return [second + third - first]


@dataclass(frozen=True)
class Cholesky(_OfMatrix):
    """The triangle L of a positive definite matrix L @ L.T, or its transpose if not `lower`."""

    lower: bool = True

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        # LAPACK reads one triangle: the one that is returned
        factor = np.linalg.cholesky(x if self.lower else x.T)
        return _typed(node, factor if self.lower else factor.T)

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        # Murray, "Differentiation of the Cholesky decomposition" (2016)
        (out,), (g,) = outputs, output_gradients
        factor, g = (out, g) if self.lower else (out.T, g.T)
        inner = tril(dot(factor.T, g))
        inner = inner - tril(triu(inner)) * np.asarray(0.5, out.dtype)
        inverse = MatrixInverse()(factor)
        whole = dot(dot(inverse.T, inner), inverse)
        term = tril(whole + whole.T) - tril(triu(whole))
        return [term if self.lower else term.T]


@dataclass(frozen=True)
class Eigh(_OfMatrix):
    """Eigenvalues, ascending, and eigenvectors (columns) of a symmetric matrix."""

    UPLO: str = "L"

    def output_types(self, x: Any) -> list[TensorType]:
        return [TensorType(x.dtype, (False,)), TensorType(x.dtype, (False, False))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shape = ctx.shape(node.inputs[0])
        return [shape[:1], shape]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return _typed(node, *np.linalg.eigh(inputs[0], self.UPLO))  # type: ignore[call-overload]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise self._no_gradient()


@dataclass(frozen=True)
class QR(_OfMatrix):
    """Q with orthonormal columns and R upper triangular, x = Q @ R, in the reduced form."""

    square: ClassVar[bool] = False

    def output_types(self, x: Any) -> list[TensorType]:
        return [TensorType(x.dtype, (False, False))] * 2

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        rows, columns = ctx.shape(node.inputs[0])
        inner = E.minimum(rows, columns)
        return [(rows, inner), (inner, columns)]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return _typed(node, *np.linalg.qr(inputs[0]))

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise self._no_gradient()


@dataclass(frozen=True)
class SVD(_OfMatrix):
    """U, the singular values (descending), and V transposed: x = U * s @ V.T."""

    full_matrices: bool = True
    square: ClassVar[bool] = False

    def output_types(self, x: Any) -> list[TensorType]:
        matrix = TensorType(x.dtype, (False, False))
        return [matrix, TensorType(x.dtype, (False,)), matrix]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        rows, columns = ctx.shape(node.inputs[0])
        inner = E.minimum(rows, columns)
        if self.full_matrices:
            return [(rows, rows), (inner,), (columns, columns)]
        return [(rows, inner), (inner,), (inner, columns)]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return _typed(node, *np.linalg.svd(inputs[0], self.full_matrices))

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise self._no_gradient()


@dataclass(frozen=True)
class Solve(Op):
    """The solution x of a @ x = b, a square; b is a vector or the columns of a matrix."""

    def make_node(self, *inputs: Any) -> Apply:
        a, b = (as_tensor_variable(v) for v in inputs)
        if a.ndim != 2 or b.ndim not in (1, 2):
            raise TypeError(
                explain(self, "takes a matrix, and a vector or a matrix", got=describe((a, b)))
            )
        wide = _precise(a.dtype, b.dtype)
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
        columns = b if b.ndim == 2 else b[:, None]  # NumPy 2 takes a stack for a vector
        return _typed(node, np.linalg.solve(a, columns).reshape(b.shape))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (a, _), (x,), (g,) = inputs, outputs, output_gradients
        by_b = Solve()(a.T, g)
        by_a = -outer(by_b, x) if x.ndim == 1 else -dot(by_b, x.T)
        return [by_a, by_b]


def matrix_inverse(x: Any) -> Any:
    """The inverse of a square matrix. Source: Theano, nlinalg.matrix_inverse."""
    return MatrixInverse()(x)


def det(x: Any) -> Any:
    """The determinant of a square matrix, 0-d. Source: Theano, nlinalg.det."""
    return Det()(x)


def pinv(x: Any) -> Any:
    """The Moore-Penrose inverse of a matrix. Source: Theano, nlinalg.pinv."""
    return PseudoInverse()(x)


def cholesky(x: Any, lower: bool = True) -> Any:
    """The triangular factor of a positive definite matrix. Source: Theano, slinalg.cholesky."""
    return Cholesky(lower)(x)


def eigh(x: Any, UPLO: str = "L") -> list[Any]:
    """[eigenvalues, eigenvectors] of a symmetric matrix; no gradient. Source: nlinalg.eigh."""
    return Eigh(UPLO)(x)  # type: ignore[no-any-return]


def qr(x: Any) -> list[Any]:
    """[Q, R], the reduced form; no gradient. Source: Theano, nlinalg.qr."""
    return QR()(x)  # type: ignore[no-any-return]


def svd(x: Any, full_matrices: bool = True) -> list[Any]:
    """[U, singular values, V.T]; no gradient. Source: Theano, nlinalg.svd."""
    return SVD(full_matrices)(x)  # type: ignore[no-any-return]


def solve(a: Any, b: Any) -> Any:
    """The solution of a @ x = b. Source: Theano, slinalg.solve."""
    return Solve()(a, b)
