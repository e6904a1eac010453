"""Records of two-level softmax, the confusion matrix and first columns."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph.tensor as T
from tests.zoo.case import Case, Failure, In
from tests.zoo.nnet import picked, softmax

X = In((3, 5))
# 10 outputs in 4 classes of 3
TWO_LEVELS = (X, In((5, 4)), In((4,)), In((4, 5, 3)), In((4, 3)))
TARGET = In(values=[0, 7, 9], dtype="int64")


def h_softmax(*args: Any) -> Any:
    x, w1, b1, w2, b2, *target = args
    return T.nnet.h_softmax(x, 3, 10, 4, 3, w1, b1, w2, b2, *target)


def two_levels(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    outer = softmax(x @ w1 + b1)
    inner = softmax(np.einsum("ni,cij->ncj", x, w2) + b2)
    return (outer[:, :, None] * inner).reshape(3, 12)[:, :10]


ACTUAL, PREDICTED = [2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2]
COUNTS = np.array([[2, 0, 0], [0, 0, 1], [1, 0, 2]])  # Theano's documentation
CASES = [
    Case("h_softmax", h_softmax, TWO_LEVELS, two_levels, pattern=(False, False)),
    Case("h_softmax_target", h_softmax, (*TWO_LEVELS, TARGET),
         lambda *a: two_levels(*a[:5])[np.arange(3), a[5]], pattern=(False,)),
    Case("h_softmax_column", h_softmax,
         (*TWO_LEVELS, In(values=[[0], [7], [9]], dtype="int32")),
         lambda *a: two_levels(*a[:5])[np.arange(3), a[5][:, 0]], grad=()),
    Case("confusion", lambda a, p: T.nnet.confusion_matrix(a, p)[0],
         (In(values=ACTUAL, dtype="int64"), In(values=PREDICTED, dtype="int64")),
         lambda a, p: COUNTS, dtype="int64"),
    Case("confusion_labels", lambda a, p: T.nnet.confusion_matrix(a, p)[1],
         (In(values=ACTUAL, dtype="float32"), In(values=PREDICTED, dtype="float32")),
         lambda a, p: np.array([0, 1, 2], "float32"), dtype="float32"),
    Case("prepend", T.nnet.prepend_scalar_to_each_row, (In(()), X),
         lambda v, x: np.concatenate([np.full((3, 1), v), x], 1), pattern=(False, False)),
    Case("prepend_0", T.nnet.prepend_0_to_each_row, (X,),
         lambda x: np.concatenate([np.zeros((3, 1)), x], 1)),
    Case("prepend_1", T.nnet.prepend_1_to_each_row, (In((3, 2), "float32"),),
         lambda x: np.concatenate([np.ones((3, 1), "float32"), x], 1), dtype="float32"),
    Case("xent_and_max", lambda x, b, y: T.concatenate(
        T.nnet.crossentropy_softmax_max_and_argmax_1hot_with_bias(x, b, y)[::2]),
         (X, In((5,)), In(values=[1, 0, 4], dtype="int64")),
         lambda x, b, y: np.concatenate([picked(x + b, y), softmax(x + b).max(1)])),
    Case("xent_and_argmax",
         lambda x, y: T.nnet.crossentropy_softmax_max_and_argmax_1hot(x, y)[3],
         (X, In(values=[1, 0, 4], dtype="int64")), lambda x, y: x.argmax(1), (), "int64"),
]  # fmt: skip

FAILURES = [
    Failure("confusion_of_matrix", lambda: T.nnet.confusion_matrix(T.dmatrix(), T.dvector()),
            ValueError, ("actual must be 1-d",)),
    Failure("prepend_to_row", lambda: T.nnet.prepend_0_to_each_row(T.drow()), TypeError,
            ("Expected a matrix",)),
    Failure("prepend_vector", lambda: T.nnet.prepend_scalar_to_each_row(T.dvector(), T.dmatrix()),
            TypeError, ("a scalar",)),
]  # fmt: skip
