"""Inverses, determinants and factorisations, by LAPACK through NumPy.

Each runs as a Python step. A singular matrix raises numpy.linalg.LinAlgError when called.
Eigenvalues are in `eigen`, linear systems in `linear_systems`, functions of matrices in
`matrix_functions`.
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
from symgraph.ops.elementwise import cast, isnan, switch
from symgraph.ops.linalg import dot
from symgraph.ops.reduce import sum
from symgraph.types import TensorType, float_of, upcast
from symgraph.variable import as_tensor_variable

__all__ = [
    "Cholesky", "cholesky", "det", "matrix_inverse", "pinv", "qr", "svd",
]  # fmt: skip


@dataclass(frozen=True)
class OfMatrix(Op):
    """What the ops of one matrix share: a float matrix goes in, and most want a square one."""

    square: ClassVar[bool] = True

    def make_node(self, *inputs: Any) -> Apply:
        x = as_tensor_variable(inputs[0])
        if x.ndim != 2:
            raise TypeError(explain(self, "takes a matrix", got=describe((x,))))
        return super().make_node(cast(x, precise(x.dtype)))

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

    def no_gradient(self) -> NullTypeGradError:
        return NullTypeGradError(explain(self, "its gradient is not implemented"))


def precise(*dtypes: str) -> str:
    """The dtype that LAPACK computes with: float32 or float64."""
    result = float_of(upcast(*dtypes))
    return "float32" if result == "float16" else result


def typed(node: Apply, *values: Any) -> list[np.ndarray]:
    return [np.asarray(v, o.type.dtype) for v, o in zip(values, node.outputs, strict=True)]


@dataclass(frozen=True)
class MatrixInverse(OfMatrix):
    """The inverse of a square matrix."""

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return typed(node, np.linalg.inv(inputs[0]))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        turned = outputs[0].T
        return [-dot(dot(turned, output_gradients[0]), turned)]


@dataclass(frozen=True)
class Det(OfMatrix):
    """The determinant of a square matrix."""

    def output_types(self, x: Any) -> list[TensorType]:
        return [TensorType(x.dtype, ())]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [()]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return typed(node, np.linalg.det(inputs[0]))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [output_gradients[0] * outputs[0] * MatrixInverse()(inputs[0]).T]


@dataclass(frozen=True)
class PseudoInverse(OfMatrix):
    """The Moore-Penrose inverse of a matrix."""

    square: ClassVar[bool] = False

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return typed(node, np.linalg.pinv(inputs[0]))

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
class Cholesky(OfMatrix):
    """The triangle L of a positive definite matrix L @ L.T, or its transpose if not `lower`.

    LinAlgError for other matrices, or NaN everywhere, gradients included, if `on_error` is "nan".
    """

    lower: bool = True
    on_error: str = "raise"

    def __post_init__(self) -> None:
        if self.on_error not in ("raise", "nan"):
            raise ValueError(explain(self, 'on_error must be one of "raise" or "nan"'))

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        try:
            # LAPACK reads one triangle: the one that is returned
            factor = np.linalg.cholesky(x if self.lower else x.T)
        except np.linalg.LinAlgError:
            if self.on_error == "raise":
                raise
            factor = np.full_like(x, np.nan)
        return typed(node, factor if self.lower else factor.T)

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
        if self.on_error == "nan":
            term = switch(isnan(sum(factor)), np.asarray(np.nan, out.dtype), term)
        return [term if self.lower else term.T]


@dataclass(frozen=True)
class QR(OfMatrix):
    """Q with orthonormal columns and R upper triangular, x = Q @ R; modes as in NumPy.

    "reduced": Q (m, k) and R (k, n), k = min(m, n); "complete": (m, m) and (m, n); "r": R alone;
    "raw": LAPACK's h (n, m) and tau (k,).
    """

    mode: str = "reduced"
    square: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.mode not in ("reduced", "complete", "r", "raw"):
            raise ValueError(
                explain(self, f"mode {self.mode!r}", expected="reduced, complete, r or raw")
            )

    def output_types(self, x: Any) -> list[TensorType]:
        matrix = TensorType(x.dtype, (False, False))
        if self.mode == "r":
            return [matrix]
        return [matrix, TensorType(x.dtype, (False,)) if self.mode == "raw" else matrix]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        rows, columns = ctx.shape(node.inputs[0])
        inner = E.minimum(rows, columns)
        shapes: dict[str, list[Shape | None]] = {
            "reduced": [(rows, inner), (inner, columns)],
            "complete": [(rows, rows), (rows, columns)],
            "r": [(inner, columns)],
            "raw": [(columns, rows), (inner,)],
        }
        return shapes[self.mode]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        made: Any = np.linalg.qr(inputs[0], self.mode)  # type: ignore[call-overload]
        return typed(node, *([made] if self.mode == "r" else made))

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise self.no_gradient()


@dataclass(frozen=True)
class SVD(OfMatrix):
    """U, the singular values (descending), and V transposed: x = U * s @ V.T; or s alone."""

    full_matrices: bool = True
    compute_uv: bool = True
    square: ClassVar[bool] = False

    def output_types(self, x: Any) -> list[TensorType]:
        matrix, vector = TensorType(x.dtype, (False, False)), TensorType(x.dtype, (False,))
        return [matrix, vector, matrix] if self.compute_uv else [vector]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        rows, columns = ctx.shape(node.inputs[0])
        inner = E.minimum(rows, columns)
        if not self.compute_uv:
            return [(inner,)]
        if self.full_matrices:
            return [(rows, rows), (inner,), (columns, columns)]
        return [(rows, inner), (inner,), (inner, columns)]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        made: Any = np.linalg.svd(inputs[0], self.full_matrices, self.compute_uv)  # type: ignore[call-overload]
        return typed(node, *(made if self.compute_uv else [made]))

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise self.no_gradient()


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


def qr(a: Any, mode: str = "reduced") -> Any:
    """[Q, R]: of a (m, n), in the form that `QR` says of `mode`; no gradient.

    Source: Theano, nlinalg.qr.
    """
    return QR(mode)(a)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """[U, singular values, V.T], or the singular values alone; no gradient.

    Source: Theano, nlinalg.svd.
    """
    return SVD(bool(full_matrices), bool(compute_uv))(a)
