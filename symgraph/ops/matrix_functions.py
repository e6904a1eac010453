"""Functions of matrices: powers, the exponential, norms, Kronecker products.

Source: Theano, library/tensor/nlinalg and library/tensor/slinalg.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.graph import Apply, Context, Shape
from symgraph.ops.alloc import identity_like
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.decomposition import OfMatrix, matrix_inverse, typed
from symgraph.ops.elementwise import abs_, neq
from symgraph.ops.join import join
from symgraph.ops.linalg import dot, outer
from symgraph.ops.reduce import max, min, sum
from symgraph.ops.shape import flatten, reshape
from symgraph.ops.structure import shape_i, sizes_of
from symgraph.variable import as_tensor_variable

__all__ = ["expm", "kron", "matrix_dot", "matrix_power", "norm"]

# the numerators of Higham's Pade approximants of degree 13, and up to which 1-norm they are exact
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
    129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0,
    960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_LARGEST = 5.371920351148152


def _expm(a: np.ndarray) -> np.ndarray:
    """The exponential by scaling and squaring (Higham, SIAM J. Matrix Anal. Appl. 26, 2005)."""
    size = float(np.linalg.norm(a, 1)) if a.size else 0.0
    if not math.isfinite(size):
        return np.full_like(a, np.nan)
    squarings = int(np.ceil(np.log2(size / _LARGEST))) if size > _LARGEST else 0
    a = a / 2.0**squarings
    a2 = a @ a
    a4, eye = a2 @ a2, np.eye(len(a), dtype=a.dtype)
    a6, b = a4 @ a2, _PADE
    odd = a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2)
    odd = a @ (odd + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * eye)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2)
    even = even + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * eye
    result = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        result = result @ result
    return result


@dataclass(frozen=True)
class Expm(OfMatrix):
    """The exponential of a square matrix; a Python step, computed in float64."""

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        return typed(node, _expm(inputs[0].astype("float64")))

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        # expm([[A, G], [0, A]]) holds the derivative along G above: Mathias (1996). The adjoint of
        # the derivative at A is that at A.T.
        (a,), (g,) = inputs, output_gradients
        n = shape_i(a, 0)
        top = join(1, a.T, g)
        whole = join(0, top, join(1, a.zeros_like(), a.T))
        return [Expm()(whole)[:n, n:]]


def expm(A: Any) -> Any:
    """The exponential of a square matrix, sum of A**k / k!. Source: Theano, slinalg.expm."""
    return Expm()(A)


def matrix_dot(*args: Any) -> Any:
    """The product of all the arguments, from left to right. Source: Theano, nlinalg.matrix_dot."""
    result = as_tensor_variable(args[0])
    for factor in args[1:]:
        result = dot(result, factor)
    return result


def matrix_power(M: Any, n: int) -> Any:
    """The square matrix M to the integer power n, by repeated squaring; the inverse for n < 0.

    The power 0 is the identity. TypeError for an n that is no int.
    Source: Theano, nlinalg.matrix_power; NumPy.
    """
    M = as_tensor_variable(M)
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(explain("matrix_power", "the exponent is an int", got=repr(n)))
    if M.ndim != 2:
        raise TypeError(explain("matrix_power", "takes a matrix", got=describe((M,))))
    base = matrix_inverse(M) if n < 0 else M
    result, left = None, abs(int(n))
    while left:
        if left & 1:
            result = base if result is None else dot(result, base)
        left >>= 1
        base = dot(base, base) if left else base
    return identity_like(M) if result is None else result


def norm(x: Any, ord: Any) -> Any:
    """The norm of a vector or matrix.

    Vectors: None is the Euclidean norm, "inf" and "-inf" the largest and smallest |x|, 0 the number
    of elements that are not 0 (an int64), else sum(|x|**ord)**(1/ord). Matrices: None and "fro" is
    Frobenius', "inf" and "-inf" the largest and smallest sum of a row's |x|, 1 and -1 those of a
    column. Infinities may be floats. ValueError for scalars and other orders, NotImplementedError
    for more axes. Source: Theano, nlinalg.norm.
    """
    x = as_tensor_variable(x)
    if isinstance(ord, float) and math.isinf(ord):
        ord = "inf" if ord > 0 else "-inf"
    if x.ndim == 0:
        raise ValueError(explain("norm", "'axis' entry is out of bounds.", got=describe((x,))))
    if x.ndim > 2:
        raise NotImplementedError(
            explain("norm", "We don't support norm with ndim > 2", got=describe((x,)))
        )
    if ord is None or (ord == "fro" and x.ndim == 2):
        return sum(x**2) ** 0.5
    if x.ndim == 1:
        if ord in ("inf", "-inf"):
            return (max if ord == "inf" else min)(abs_(x))
        if isinstance(ord, str):
            raise ValueError(explain("norm", "Invalid norm order for vectors.", got=repr(ord)))
        return sum(neq(x, 0)) if ord == 0 else sum(abs_(x) ** ord) ** (1.0 / ord)
    if ord not in ("inf", "-inf", 1, -1):
        raise ValueError(explain("norm", "Invalid norm order for matrices.", got=repr(ord)))
    lines = sum(abs_(x), 1 if isinstance(ord, str) else 0)
    return (max if ord in ("inf", 1) else min)(lines)


def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: of two matrices, every element of `a` times all of `b`, in blocks.

    With other numbers of axes, at least 3 in all: as SciPy up to 1.16, and Theano, rows with rows,
    columns with columns, further axes behind. TypeError for fewer axes.
    Source: Theano, slinalg.kron.
    """
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    if a.ndim + b.ndim <= 2:
        raise TypeError(
            explain("kron", "inputs dimensions must sum to 3 or more.", got=describe((a, b)))
        )
    whole = reshape(outer(a, b), [*sizes_of(a), *sizes_of(b)])
    if whole.ndim == 3:
        return flatten(dimshuffle(whole, (1, 0, 2)))
    turned = dimshuffle(whole, (0, 2, 1, *range(3, whole.ndim)))
    n = sizes_of(turned)
    return reshape(turned, [n[0] * n[1], n[2] * n[3], *n[4:]])
