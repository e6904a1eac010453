"""What classifiers want besides softmax: two-level softmax, the confusion matrix, a first column.

Source: Theano, tensor/nnet/nnet.
"""

from __future__ import annotations

from typing import Any

from symgraph.errors import explain
from symgraph.ops.advanced import subscript
from symgraph.ops.alloc import alloc, arange
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.counting import unique
from symgraph.ops.elementwise import cast, eq
from symgraph.ops.join import join
from symgraph.ops.linalg import batched_dot, dot, tensordot
from symgraph.ops.nnet import softmax
from symgraph.ops.shape import flatten, reshape
from symgraph.ops.structure import shape_i
from symgraph.variable import as_tensor_variable

__all__ = [
    "confusion_matrix", "h_softmax", "prepend_0_to_each_row", "prepend_1_to_each_row",
    "prepend_scalar_to_each_row",
]  # fmt: skip


def h_softmax(
    x: Any,
    batch_size: Any,
    n_outputs: Any,
    n_classes: Any,
    n_outputs_per_class: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    target: Any = None,
) -> Any:
    """The probabilities of `n_outputs` outputs that stand in classes of equal size.

    Output k is number k % n_outputs_per_class of class k // n_outputs_per_class; its probability is
    that of its class, softmax(x W1 + b1), times its own in the class, softmax(x W2[c] + b2[c]).
    Shapes: x (batch, d), W1 (d, n_classes), b1 (n_classes,), W2 (n_classes, d,
    n_outputs_per_class), b2 (n_classes, n_outputs_per_class). Without `target` the result is
    (batch, n_outputs); with `target`, one integer for each row, only those outputs are computed: a
    vector. Source: Theano, tensor/nnet/nnet, h_softmax; Goodman, "Classes for Fast Maximum Entropy
    Training" (2001).
    """
    x, W2, b2 = (as_tensor_variable(v) for v in (x, W2, b2))
    classes = softmax(dot(x, W1) + b1)
    if target is None:
        inner = tensordot(x, W2, (1, 1)) + b2
        inner = softmax(reshape(inner, [-1, n_outputs_per_class]))
        inner = reshape(inner, [batch_size, n_classes, -1])
        both = dimshuffle(classes, (0, 1, "x")) * inner
        return reshape(both, [batch_size, -1])[:, :n_outputs]
    target = flatten(as_tensor_variable(target))
    chosen, place = target // n_outputs_per_class, target % n_outputs_per_class
    rows = arange(batch_size)
    inner = softmax(batched_dot(x, subscript(W2, chosen)) + subscript(b2, chosen))
    return subscript(classes, (rows, chosen)) * subscript(inner, (rows, place))


def confusion_matrix(actual: Any, pred: Any) -> list[Any]:
    """[counts, labels]: how often label i came out as label j, and the labels, sorted.

    Both arguments are vectors of one length; the counts are int64, and the labels are those that
    occur in either. ValueError for other numbers of axes.
    Source: Theano, tensor/nnet/nnet, confusion_matrix.
    """
    pair = [as_tensor_variable(v) for v in (actual, pred)]
    for name, x in zip(("actual", "pred"), pair, strict=True):
        if x.ndim != 1:
            raise ValueError(
                explain("confusion_matrix", f"{name} must be 1-d tensor variable",
                        got=describe((x,)))
            )  # fmt: skip
    order = unique(join(0, *pair))
    hits = [cast(eq(dimshuffle(x, (0, "x")), order), "int64") for x in pair]
    return [dot(hits[0].T, hits[1]), order]


def prepend_scalar_to_each_row(val: Any, mat: Any) -> Any:
    """The matrix `mat` with `val` as new first column, in the matrix's dtype.

    TypeError for what is no scalar and for other than a matrix whose axes are not broadcastable.
    Source: Theano, tensor/nnet/nnet, Prepend_scalar_to_each_row.
    """
    val, mat = as_tensor_variable(val), as_tensor_variable(mat)
    if val.ndim != 0 or mat.broadcastable != (False, False):
        raise TypeError(
            explain("prepend_scalar_to_each_row", "Expected a matrix as input, and a scalar",
                    got=describe((val, mat)))
        )  # fmt: skip
    return join(1, alloc(cast(val, mat.dtype), shape_i(mat, 0), 1), mat)


def prepend_0_to_each_row(mat: Any) -> Any:
    """The matrix `mat` with a first column of zeros."""
    return prepend_scalar_to_each_row(0, mat)


def prepend_1_to_each_row(mat: Any) -> Any:
    """The matrix `mat` with a first column of ones: a bias as a weight."""
    return prepend_scalar_to_each_row(1, mat)
