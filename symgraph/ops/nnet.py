"""Softmax, cross-entropies and activations, as users call them; the ops are in `softmax`.

Source: Theano, library/tensor/nnet/nnet; rules 22 and 28 to 30 of its semantics.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.ops.advanced import subscript
from symgraph.ops.alloc import arange
from symgraph.ops.core import describe, dimshuffle, pad_left
from symgraph.ops.elementwise import (
    abs_,
    clip,
    exp,
    expm1,
    log,
    minimum,
    sigmoid,
    softplus,
    switch,
)
from symgraph.ops.reduce import argmax, max, sum
from symgraph.ops.softmax import CrossentropySoftmax1Hot, LogSoftmax, OneForEach, Softmax
from symgraph.ops.structure import shape_i
from symgraph.types import FLOATS, float_of
from symgraph.variable import as_tensor_variable

__all__ = [
    "binary_crossentropy", "categorical_crossentropy", "crossentropy_categorical_1hot",
    "crossentropy_softmax_1hot", "crossentropy_softmax_1hot_with_bias",
    "crossentropy_softmax_argmax_1hot_with_bias", "crossentropy_softmax_max_and_argmax_1hot",
    "crossentropy_softmax_max_and_argmax_1hot_with_bias", "elu", "hard_sigmoid", "logsoftmax",
    "relu", "selu", "sigmoid", "sigmoid_binary_crossentropy", "softmax", "softmax_graph",
    "softmax_with_bias", "softplus", "softsign", "ultra_fast_sigmoid",
]  # fmt: skip

# ---- softmax and cross-entropies, as users call them ---------------------------------------------


def _as_rows(name: str, x: Any) -> Any:
    """`x` as a matrix: a vector is one row of it (rule 28)."""
    x = as_tensor_variable(x)
    if x.ndim not in (1, 2) or x.dtype not in FLOATS:
        raise ValueError(
            explain(name, "x must be 1-d or 2-d tensor of floats.", got=describe((x,)),
                    cure="reshape to a matrix, and cast integers to a float dtype")
        )  # fmt: skip
    if x.broadcastable[-1]:
        warnings.warn(f"{name} over an axis of size 1 is constant: {describe((x,))}", stacklevel=3)
    if x.ndim == 1:
        warnings.warn(
            f"{name} of a vector is a matrix of one row, as in Theano; take [0] of the result, "
            "or pass x.dimshuffle('x', 0)",
            stacklevel=3,
        )
        return pad_left(x, 2)
    return x


def softmax(c: Any) -> Any:
    """exp(c) / sum of exp(c) over the last axis, stable for large values.

    `c`: a matrix of floats; a vector of n is taken as a matrix (1, n), with a warning. ValueError
    for other numbers of axes and for integers. Source: Theano, library/tensor/nnet/nnet, softmax.
    """
    return Softmax()(_as_rows("softmax", c))


def logsoftmax(c: Any) -> Any:
    """log(softmax(c)), finite where softmax is 0. Shapes and errors as for `softmax`."""
    return LogSoftmax()(_as_rows("logsoftmax", c))


def softmax_graph(c: Any) -> Any:
    """softmax(c), written with exp and sum. Source: Theano, tensor/nnet/nnet, softmax_graph."""
    powers = exp(c)
    return powers / sum(powers, axis=-1, keepdims=True)


def _with_bias(x: Any, b: Any) -> Any:
    b = as_tensor_variable(b)
    if b.ndim != 1 or b.dtype not in FLOATS:
        raise ValueError(
            explain("softmax_with_bias", "b is a vector of floats", got=describe((b,)))
        )
    return as_tensor_variable(x) + dimshuffle(b, ("x", 0))


def softmax_with_bias(x: Any, b: Any) -> Any:
    """softmax(x + b), b a vector that is added to each row of the matrix x."""
    return softmax(_with_bias(x, b))


def crossentropy_softmax_1hot(x: Any, y_idx: Any) -> tuple[Any, Any]:
    """(-log(softmax(x))[arange(n), y_idx], softmax(x)) for x (n, classes) and n integer labels.

    The first is computed without the softmax and is exact for large x. IndexError when called with
    a label out of range. Source: Theano, tensor/nnet/nnet, crossentropy_softmax_1hot.
    """
    x = _as_rows("crossentropy_softmax_1hot", x)
    return CrossentropySoftmax1Hot()(x, OneForEach()(y_idx, shape_i(x, 0))), Softmax()(x)


def crossentropy_softmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> tuple[Any, Any]:
    """`crossentropy_softmax_1hot` of x + b."""
    return crossentropy_softmax_1hot(_with_bias(x, b), y_idx)


def crossentropy_softmax_argmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> tuple[Any, Any, Any]:
    """`crossentropy_softmax_1hot` of x + b, and the position of each row's maximum."""
    shifted = _with_bias(x, b)
    return (*crossentropy_softmax_1hot(shifted, y_idx), argmax(shifted, axis=-1))


def crossentropy_softmax_max_and_argmax_1hot(x: Any, y_idx: Any) -> tuple[Any, Any, Any, Any]:
    """`crossentropy_softmax_1hot` of x, each row's largest probability, and its position.

    Source: Theano, tensor/nnet/nnet, crossentropy_softmax_max_and_argmax_1hot.
    """
    cost, p = crossentropy_softmax_1hot(x, y_idx)
    return cost, p, max(p, axis=-1), argmax(p, axis=-1)


def crossentropy_softmax_max_and_argmax_1hot_with_bias(
    x: Any, b: Any, y_idx: Any
) -> tuple[Any, Any, Any, Any]:
    """`crossentropy_softmax_max_and_argmax_1hot` of x + b."""
    return crossentropy_softmax_max_and_argmax_1hot(_with_bias(x, b), y_idx)


def crossentropy_categorical_1hot(coding_dist: Any, true_one_of_n: Any) -> Any:
    """-log(coding_dist)[arange(n), true_one_of_n]: a vector.

    TypeError unless the labels are a vector of int32 or int64 (rule 30).
    Source: Theano, tensor/nnet/nnet, crossentropy_categorical_1hot.
    """
    p, y = as_tensor_variable(coding_dist), as_tensor_variable(true_one_of_n)
    if p.ndim != 2 or p.dtype not in FLOATS:
        raise TypeError(
            explain("categorical_crossentropy", "matrix of floats required", got=describe((p,)))
        )
    if y.ndim != 1 or y.dtype not in ("int32", "int64"):
        raise TypeError(
            explain("categorical_crossentropy", "integer vector required for argument: "
                    "true_one_of_n", got=describe((y,)), expected="int32 or int64",
                    cure="cast it: y.astype('int32')")
        )  # fmt: skip
    return -subscript(log(p), (arange(shape_i(p, 0)), y))


def categorical_crossentropy(coding_dist: Any, true_dist: Any) -> Any:
    """The cross-entropy of each row: of two matrices, or of a matrix and integer labels.

    -sum(true_dist * log(coding_dist)) over the last axis, or -log(coding_dist)[arange(n), labels];
    a vector, not averaged. TypeError for labels that are not int32 or int64, or that have another
    number of axes. Source: Theano, library/tensor/nnet/nnet, categorical_crossentropy.
    """
    p, t = as_tensor_variable(coding_dist), as_tensor_variable(true_dist)
    if t.ndim == p.ndim:
        return -sum(t * log(p), axis=p.ndim - 1)
    if t.ndim == p.ndim - 1:
        return crossentropy_categorical_1hot(p, t)
    raise TypeError(
        explain("categorical_crossentropy", "rank mismatch between coding and true distributions",
                got=describe((p, t)), expected="as many axes, or one less for labels")
    )  # fmt: skip


def binary_crossentropy(output: Any, target: Any) -> Any:
    """-(target * log(output) + (1 - target) * log(1 - output)), elementwise.

    Source: Theano, library/tensor/nnet/nnet, binary_crossentropy.
    """
    output, target = as_tensor_variable(output), as_tensor_variable(target)
    return -(target * log(output) + (1.0 - target) * log(1.0 - output))


def sigmoid_binary_crossentropy(output: Any, target: Any) -> Any:
    """binary_crossentropy(sigmoid(output), target), stable for large outputs.

    Source: Theano, library/tensor/nnet/nnet, sigmoid_binary_crossentropy.
    """
    output, target = as_tensor_variable(output), as_tensor_variable(target)
    return target * softplus(-output) + (1.0 - target) * softplus(output)


# ---- activations ---------------------------------------------------------------------------------


def _number(value: float, x: Any) -> np.ndarray:
    """A number in the float dtype of `x`, so that it does not widen the result."""
    return np.asarray(value, dtype=float_of(x.dtype))


def hard_sigmoid(x: Any) -> Any:
    """clip(0.2 * x + 0.5, 0, 1). Source: Theano, tensor/nnet/sigm, hard_sigmoid."""
    x = as_tensor_variable(x)
    return clip(x * _number(0.2, x) + _number(0.5, x), _number(0, x), _number(1, x))


def ultra_fast_sigmoid(x: Any) -> Any:
    """An approximation of sigmoid by parts: a rational function, a line, a constant.

    Off by at most 0.025. Source: Theano, tensor/nnet/sigm, UltraFastScalarSigmoid.
    """
    x = as_tensor_variable(x)
    half = abs_(x) * _number(0.5, x)
    curve = _number(1.5, x) * half / (half + _number(1, x))
    line = _number(0.935409070603099, x) + _number(0.0458812946797165, x) * (half - _number(1.7, x))
    upper = switch(half < 1.7, curve, switch(half < 3.0, line, _number(0.99505475368673, x)))
    return _number(0.5, x) * (switch(x >= 0, upper, -upper) + _number(1, x))


def softsign(x: Any) -> Any:
    """x / (1 + |x|). Source: Theano, library/tensor/nnet/nnet, softsign."""
    x = as_tensor_variable(x)
    return x / (1.0 + abs_(x))


def relu(x: Any, alpha: Any = 0) -> Any:
    """max(x, alpha * x): x above 0, alpha * x below. The slope at 0 is (1 + alpha) / 2 (rule 22).

    `alpha`: a number, or an array that broadcasts. Source: Theano, tensor/nnet/nnet, relu.
    """
    x = as_tensor_variable(x)
    if isinstance(alpha, (int, float)) and alpha == 0:
        return 0.5 * (x + abs_(x))
    alpha = as_tensor_variable(alpha)
    return 0.5 * (1 + alpha) * x + 0.5 * (1 - alpha) * abs_(x)


def elu(x: Any, alpha: Any = 1) -> Any:
    """x above 0, alpha * (exp(x) - 1) below. Source: Theano, tensor/nnet/nnet, elu."""
    x = as_tensor_variable(x)
    # the other branch stays finite above 0, or its gradient would be 0 * inf
    return switch(x > 0, x, alpha * expm1(minimum(x, _number(0, x))))


def selu(x: Any) -> Any:
    """elu with the constants of self-normalising networks (Klambauer et al., 2017)."""
    x = as_tensor_variable(x)
    alpha, scale = 1.6732632423543772848, 1.0507009873554804934
    return _number(scale, x) * elu(x, _number(alpha, x))
