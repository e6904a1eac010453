"""Eigenvalues and eigenvectors, by LAPACK through NumPy, as Python steps.

Source: Theano, library/tensor/nlinalg (eig, eigh) and library/tensor/slinalg (eigvalsh).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.ops.alloc import identity_like, tril, triu
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.decomposition import OfMatrix, precise, typed
from symgraph.ops.diagonal import diag
from symgraph.ops.elementwise import cast
from symgraph.ops.linalg import dot
from symgraph.types import DisconnectedType, TensorType
from symgraph.variable import as_tensor_variable

__all__ = ["Eig", "Eigh", "GeneralizedEigh", "eig", "eigh", "eigvalsh"]


class _Eigensystem(Op):
    """Ops whose results are eigenvalues and eigenvectors, of the shape of their first input."""

    def output_types(self, a: Any, *b: Any) -> list[TensorType]:
        return [TensorType(a.dtype, (False,)), TensorType(a.dtype, (False, False))]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        shape = ctx.shape(node.inputs[0])
        return [shape[:1], shape]


@dataclass(frozen=True)
class Eigh(_Eigensystem, OfMatrix):
    """Eigenvalues, ascending, and eigenvectors (columns) of a symmetric matrix.

    Only the triangle `UPLO` ("L" or "U") is read, and only it has a gradient.
    """

    UPLO: str = "L"

    def __post_init__(self) -> None:
        if self.UPLO not in ("L", "U"):
            raise ValueError(explain(self, "UPLO is 'L' or 'U'"))

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return typed(node, *np.linalg.eigh(inputs[0], self.UPLO))  # type: ignore[call-overload]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        inner, _ = _rotations(outputs, output_gradients)
        v = outputs[1]
        return [in_triangle(dot(dot(v, inner), v.T), self.UPLO == "L")]


def _rotations(outputs: Sequence[Any], output_gradients: Sequence[Any]) -> tuple[Any, Any]:
    """The gradient by v.T @ a @ v, for eigenvalues w and vectors v of a, and v.T @ (that by v).

    Giles, "An extended collection of matrix derivative results" (2008), section 3.1.
    """
    (w, v), (by_w, by_v) = outputs, output_gradients
    inner = v.zeros_like() if isinstance(by_w.type, DisconnectedType) else diag(by_w)
    if isinstance(by_v.type, DisconnectedType):
        return inner, v.zeros_like()
    turned = dot(v.T, by_v)
    apart = dimshuffle(w, ("x", 0)) - dimshuffle(w, (0, "x"))
    ones = identity_like(apart)
    return inner + turned * (1 - ones) / (apart + ones), turned


def in_triangle(g: Any, lower: bool) -> Any:
    """The gradient by one triangle of a symmetric matrix, given that by all of it."""
    return tril(g) + tril(g.T, -1) if lower else triu(g) + triu(g.T, 1)


@dataclass(frozen=True)
class Eig(_Eigensystem, OfMatrix):
    """Eigenvalues and right eigenvectors (columns) of a square matrix, in LAPACK's order.

    ValueError at the call where they are complex. No gradient.
    """

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        w, v = np.linalg.eig(inputs[0])
        if np.iscomplexobj(w):
            raise ValueError(
                explain(self, "the matrix has complex eigenvalues", where=node.trace,
                        got=describe(node.inputs), expected="real ones: there are no complex "
                        "variables", cure="eigh for symmetric matrices")
            )  # fmt: skip
        return typed(node, w, v)

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        raise self.no_gradient()


@dataclass(frozen=True)
class GeneralizedEigh(_Eigensystem):
    """w, ascending, and v with a @ v = b @ v * w and v.T @ b @ v = 1: a symmetric, b positive.

    One triangle of each is read, and only it has a gradient.
    """

    lower: bool = True

    def make_node(self, *inputs: Any) -> Apply:
        pair = [as_tensor_variable(v) for v in inputs]
        if any(v.ndim != 2 for v in pair):
            raise TypeError(explain(self, "takes two matrices", got=describe(pair)))
        wide = precise(*(v.dtype for v in pair))
        return super().make_node(*(cast(v, wide) for v in pair))

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        a, b = (v if self.lower else v.T for v in inputs)
        inverse = np.linalg.inv(np.linalg.cholesky(b))
        whole = np.tril(a) + np.tril(a, -1).T
        w, v = np.linalg.eigh(inverse @ whole @ inverse.T)
        return typed(node, w, inverse.T @ v)

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        w, v = outputs
        inner, turned = _rotations(outputs, output_gradients)
        half = np.asarray(0.5, v.dtype)
        by_b = -inner * dimshuffle(w, ("x", 0)) - half * identity_like(turned) * turned
        return [in_triangle(dot(dot(v, term), v.T), self.lower) for term in (inner, by_b)]


def eig(x: Any) -> list[Any]:
    """[eigenvalues, right eigenvectors] of a square matrix; no gradient.

    ValueError at the call where they are complex. Source: Theano, nlinalg.eig.
    """
    return Eig()(x)  # type: ignore[no-any-return]


def eigh(a: Any, UPLO: str = "L") -> list[Any]:
    """[eigenvalues, eigenvectors] of a symmetric matrix, of which one triangle is read.

    Source: Theano, nlinalg.eigh.
    """
    return Eigh(UPLO)(a)  # type: ignore[no-any-return]


def eigvalsh(a: Any, b: Any = None, lower: bool = True) -> Any:
    """The w, ascending, with a @ v = w * b @ v for some v; b is the identity if not given.

    a is symmetric, b positive definite; one triangle of each is read.
    Source: Theano, slinalg.eigvalsh.
    """
    return Eigh("L" if lower else "U")(a)[0] if b is None else GeneralizedEigh(lower)(a, b)[0]
