"""Records of softmax, cross-entropies and activations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.ops.softmax import CrossentropySoftmax1HotGrad, SoftmaxGrad
from tests.zoo.case import Case, Failure, In

X, V = In((3, 5)), In((5,))
F32 = In((4, 7), "float32")
Y = In(values=[0, 4, 2], dtype="int64")
Y32 = In(values=[1, 0, 3], dtype="int32")
P = In((3, 5), low=0.1, high=0.9)
OFF_TIES = In(values=[[-3.0, -0.5, 0.25], [2.0, 4.0, -1.5]])
LARGE = In(values=[[1e5, 0.0, -1e5], [-1e300, 0.0, 1.0], [700.0, 710.0, 709.0]])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    below = x - x.max(-1, keepdims=True)
    return below - np.log(np.exp(below).sum(-1, keepdims=True))


def picked(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -log_softmax(x)[np.arange(len(x)), y]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def silent(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` without its warnings."""

    def call(*args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args)

    return call


def by_rows(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The gradient of a function of a matrix, squared and summed: its gradient is a second one."""
    return lambda x: (T.grad((function(x) ** 2).sum(), x) ** 2).sum()


def softmax_by_rows(x: np.ndarray) -> Any:
    s = softmax(x)
    g = 2 * s
    return ((s * (g - (g * s).sum(1, keepdims=True))) ** 2).sum()


def log_softmax_by_rows(x: np.ndarray) -> Any:
    g = 2 * log_softmax(x)
    return ((g - softmax(x) * g.sum(1, keepdims=True)) ** 2).sum()


def xent_by_rows(x: np.ndarray, y: np.ndarray) -> Any:
    rows = softmax(x) - np.eye(x.shape[1])[y]
    return ((2 * picked(x, y)[:, None] * rows) ** 2).sum()


def fused(x: Any, y: Any) -> Any:
    return T.nnet.crossentropy_softmax_1hot(x, y)[0]


def ultra_fast(x: np.ndarray) -> np.ndarray:
    def one(v: float) -> float:
        h = abs(v) / 2
        if h < 1.7:
            z = 1.5 * h / (1 + h)
        elif h < 3:
            z = 0.935409070603099 + 0.0458812946797165 * (h - 1.7)
        else:
            z = 0.99505475368673
        return 0.5 * (math.copysign(z, v) + 1)

    return np.vectorize(one)(x)


def _c(v: np.ndarray) -> np.ndarray:
    return v[None, :, None, None]


N = T.nnet
train = N.bn.batch_normalization_train
IMAGES = In((4, 3, 2, 5))
CASES = [
    # rule 28
    Case("softmax", N.softmax, (X,), softmax, dtype="float64", pattern=(False, False)),
    Case("softmax_vector", silent(N.softmax), (V,), lambda x: softmax(x)[None],
         pattern=(True, False)),
    Case("softmax_float32", N.softmax, (F32,), softmax, dtype="float32", rtol=1e-5),
    Case("softmax_float16", N.softmax, (In((2, 3), "float16"),),
         lambda x: softmax(x.astype("float32")).astype("float16"), dtype="float16", rtol=1e-2),
    Case("softmax_large", N.softmax, (LARGE,), softmax, grad=()),
    Case("softmax_infinite", N.softmax, (In(values=[[-np.inf, 0.0, 0.0]]),),
         lambda x: np.array([[0.0, 0.5, 0.5]]), grad=()),
    Case("softmax_nan", N.softmax, (In(values=[[np.nan, 0.0], [1.0, 1.0]]),),
         lambda x: np.array([[np.nan, np.nan], [0.5, 0.5]]), grad=()),
    Case("softmax_no_rows", N.softmax, (In((0, 4)),), lambda x: x),
    Case("softmax_no_columns", N.softmax, (In((3, 0)),), lambda x: x),
    Case("softmax_column", silent(N.softmax), (In((3, 1), broadcastable=(False, True)),),
         np.ones_like),
    Case("softmax_second_order", by_rows(N.softmax), (X,), softmax_by_rows),
    Case("softmax_grad", SoftmaxGrad(), (X, P), lambda g, s: s * (g - (g * s).sum(1)[:, None])),
    Case("softmax_graph", N.softmax_graph, (X,), softmax),
    Case("softmax_with_bias", N.softmax_with_bias, (X, V), lambda x, b: softmax(x + b)),
    Case("logsoftmax", N.logsoftmax, (X,), log_softmax),
    Case("logsoftmax_vector", silent(N.logsoftmax), (V,), lambda x: log_softmax(x)[None]),
    Case("logsoftmax_large", N.logsoftmax, (LARGE,), log_softmax, grad=()),
    Case("logsoftmax_float32", N.logsoftmax, (F32,), log_softmax, dtype="float32", rtol=1e-5),
    Case("logsoftmax_second_order", by_rows(N.logsoftmax), (X,), log_softmax_by_rows),
    # rule 30
    Case("fused_xent", fused, (X, Y), picked, pattern=(False,)),
    Case("fused_xent_int8", fused, (X, In(values=[0, -1, 2], dtype="int8")),
         lambda x, y: picked(x, y.astype("int64"))),
    Case("fused_xent_float32", fused, (F32, In(values=[6, 0, 3, 3], dtype="int32")),
         picked, dtype="float32", rtol=1e-5),
    Case("fused_xent_exact_differences", fused,
         (In(values=[[61750000.0, 1.0, 2.0], [0.0, -4e7, 4e7]], dtype="float32"),
          In(values=[1, 2], dtype="int64")),
         lambda x, y: np.array([61749999.0, 0.0], "float32"), dtype="float32"),
    Case("fused_xent_gradient",
         lambda x, y: T.grad(fused(x, y).sum(), x),
         (In(values=[[0.0, 0.0, 0.0, 0.0], [0.0, 9e7, 0.0, 0.0]]),
          In(values=[3, 2], dtype="int64")),
         lambda x, y: np.array([[0.25, 0.25, 0.25, -0.75], [0.0, 1.0, -1.0, 0.0]]), grad=()),
    Case("fused_xent_no_rows", fused, (In((0, 3)), In((0,), "int64")), lambda x, y: np.zeros(0)),
    Case("fused_xent_second_order",
         lambda x, y: (T.grad((fused(x, y) ** 2).sum(), x) ** 2).sum(), (X, Y), xent_by_rows),
    Case("fused_xent_grad", CrossentropySoftmax1HotGrad(), (In((3,)), X, Y),
         lambda g, x, y: (softmax(x) - np.eye(5)[y]) * g[:, None]),
    Case("fused_xent_and_softmax", lambda x, y: N.crossentropy_softmax_1hot(x, y)[1], (X, Y),
         lambda x, y: softmax(x)),
    Case("fused_xent_with_bias",
         lambda x, b, y: N.crossentropy_softmax_1hot_with_bias(x, b, y)[0], (X, V, Y),
         lambda x, b, y: picked(x + b, y)),
    Case("fused_xent_argmax",
         lambda x, b, y: N.crossentropy_softmax_argmax_1hot_with_bias(x, b, y)[2], (X, V, Y),
         lambda x, b, y: (x + b).argmax(1), dtype="int64", grad=()),
    Case("xent_labels", N.categorical_crossentropy, (P, Y),
         lambda p, y: -np.log(p[np.arange(3), y])),
    Case("xent_int32_labels", N.categorical_crossentropy, (P, Y32),
         lambda p, y: -np.log(p[np.arange(3), y])),
    Case("xent_distributions", N.categorical_crossentropy, (P, P),
         lambda p, t: -(t * np.log(p)).sum(1)),
    Case("xent_1hot", N.crossentropy_categorical_1hot, (P, Y),
         lambda p, y: -np.log(p[np.arange(3), y])),
    Case("xent_of_softmax", lambda x, y: N.categorical_crossentropy(N.softmax(x), y), (X, Y),
         picked),
    Case("mean_negative_log_likelihood",
         lambda x, y: -T.mean(T.log(N.softmax(x))[T.arange(y.shape[0]), y]), (X, Y),
         lambda x, y: picked(x, y).mean()),
    Case("binary_xent", N.binary_crossentropy, (P, P),
         lambda p, t: -(t * np.log(p) + (1 - t) * np.log(1 - p))),
    Case("sigmoid_binary_xent", N.sigmoid_binary_crossentropy, (X, P),
         lambda x, t: -(t * np.log(sigmoid(x)) + (1 - t) * np.log(1 - sigmoid(x)))),
    Case("sigmoid_binary_xent_large", N.sigmoid_binary_crossentropy,
         (In(values=[1000.0, -1000.0, 1000.0]), In(values=[1.0, 1.0, 0.5])),
         lambda x, t: np.array([0.0, 1000.0, 500.0]), grad=()),
    Case("sigmoid_binary_xent_gradient_at_0",
         lambda x, t: T.grad(N.sigmoid_binary_crossentropy(x, t).sum(), x),
         (In(values=[0.0]), In(values=[0.25])), lambda x, t: np.array([0.25]), grad=()),
    # activations
    Case("sigmoid", N.sigmoid, (X,), sigmoid),
    Case("softplus", N.softplus, (X,), lambda x: np.log1p(np.exp(x))),
    Case("hard_sigmoid", N.hard_sigmoid, (OFF_TIES,), lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    Case("hard_sigmoid_float32", N.hard_sigmoid, (F32,), lambda x: np.clip(0.2 * x + 0.5, 0, 1),
         dtype="float32", rtol=1e-6),
    Case("ultra_fast_sigmoid", N.ultra_fast_sigmoid,
         (In(values=[-9.0, -5.0, -1.0, -0.1, 0.3, 2.0, 4.0, 8.0]),), ultra_fast),
    Case("ultra_fast_sigmoid_float32", N.ultra_fast_sigmoid, (F32,), ultra_fast,
         dtype="float32", rtol=1e-5),
    Case("softsign", N.softsign, (X,), lambda x: x / (1 + np.abs(x))),
    Case("relu", N.relu, (X,), lambda x: np.maximum(x, 0)),
    Case("relu_float32", N.relu, (F32,), lambda x: np.maximum(x, 0), dtype="float32"),
    Case("relu_leaky", lambda x: N.relu(x, 0.125), (OFF_TIES,),
         lambda x: np.where(x > 0, x, 0.125 * x)),
    Case("relu_alphas", N.relu, (OFF_TIES, In((3,))), lambda x, a: np.where(x > 0, x, a * x)),
    Case("relu_slope_at_0", lambda x: T.grad(N.relu(x).sum(), x), (In(values=[0.0, -1.0, 1.0]),),
         lambda x: np.array([0.5, 0.0, 1.0]), grad=()),
    Case("elu", N.elu, (OFF_TIES,), lambda x: np.where(x > 0, x, np.expm1(x))),
    Case("elu_alpha", lambda x: N.elu(x, 2), (OFF_TIES,),
         lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
    Case("elu_large", N.elu, (In(values=[1000.0, -1000.0]),), lambda x: np.array([1000.0, -1.0])),
    Case("selu", N.selu, (OFF_TIES,),
         lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    Case("selu_float32", N.selu, (F32,),
         lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
         dtype="float32", rtol=1e-5),
    Case("bn", N.bn.batch_normalization, (X, V, V, V, In((5,), low=1.0)),
         lambda x, g, b, m, s: (x - m) * g / s + b),
    Case("bn_train", lambda x, g, b: train(x, g, b)[0], (In((6, 4)), In((4,)), In((4,))),
         lambda x, g, b: (x - x.mean(0)) * g / np.sqrt(x.var(0) + 1e-4) + b),
    Case("bn_train_mean", lambda x, g, b: train(x, g, b)[1], (In((6, 4)), In((4,)), In((4,))),
         lambda x, g, b: x.mean(0), pattern=(False,), grad=(0,)),
    Case("bn_train_spatial",
         lambda x, g, b: train(x, g, b, "spatial", 1e-3)[0], (IMAGES, In((3,)), In((3,))),
         lambda x, g, b: (x - x.mean((0, 2, 3), keepdims=True)) * _c(g)
         / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-3) + _c(b)),
    Case("bn_train_invstd",
         lambda x, g, b: train(x, g, b, (0, 2, 3))[2],
         (IMAGES, *[In((1, 3, 1, 1), broadcastable=(True, False, True, True))] * 2),
         lambda x, g, b: 1 / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-4), grad=(0,)),
    Case("bn_train_running_var",
         lambda x, g, m, v: train(x, g, g, "spatial", 1e-4, 0.25, m, v)[4],
         (IMAGES, In((3,)), In((3,)), In((3,))),
         lambda x, g, m, v: 0.75 * v + 0.25 * x.var((0, 2, 3), ddof=1), grad=(0, 3)),
    Case("bn_train_running_mean",
         lambda x, g, m, v: train(x, g, g, running_mean=m, running_var=v)[3],
         (X, V, V, V), lambda x, g, m, v: 0.9 * m + 0.1 * x.mean(0), grad=(0, 2)),
    Case("bn_float32", lambda x, g: train(x, g, g)[0], (F32, In((7,), "float32")),
         lambda x, g: (x - x.mean(0)) * g / np.sqrt(x.var(0) + 1e-4) + g, dtype="float32",
         rtol=1e-4),
    Case("bn_test", N.bn.batch_normalization_test, (X, V, V, V, In((5,), low=0.5)),
         lambda x, g, b, m, v: (x - m) * g / np.sqrt(v + 1e-4) + b),
    Case("xlogx", T.xlogx.xlogx, (In((4,), low=0.1),), lambda x: x * np.log(x)),
    Case("xlogx_at_0", T.xlogx.xlogx, (In(values=[0.0, 1.0]),), np.zeros_like, grad=()),
    Case("xlogy0", T.xlogx.xlogy0, (In((2, 3)), In((3,), low=0.1)), lambda x, y: x * np.log(y)),
    Case("xlogy0_at_0", T.xlogx.xlogy0, (In(values=[0.0, 0.0]), In(values=[0.0, np.inf])),
         lambda x, y: np.zeros(2), grad=()),
]  # fmt: skip


def labels_out_of_range(label: int) -> Any:
    x, y = T.dmatrix("x"), T.lvector("y")
    return fused(x, y).eval({x: np.zeros((2, 3)), y: np.array([0, label])})


FAILURES = [
    Failure("bn_epsilon", lambda: train(T.dmatrix(), T.dvector(), T.dvector(), epsilon=1e-6),
            ValueError, ("epsilon must be at least 1e-5",)),
    Failure("bn_axes", lambda: train(T.dmatrix(), T.dvector(), T.dvector(), axes="all"),
            ValueError, ("invalid axes 'all'",)),
    Failure("bn_parameters", lambda: train(T.dmatrix(), T.dtensor3("g"), T.dvector()), ValueError,
            ("g does not fit",)),
    Failure("softmax_of_3d", lambda: N.softmax(T.dtensor3("x")), ValueError, ("1-d or 2-d",)),
    Failure("softmax_of_integers", lambda: N.softmax(T.imatrix("x")), ValueError, ("floats",)),
    Failure("softmax_of_vector_warns", lambda: N.softmax(T.dvector()), UserWarning, ("matrix",)),
    Failure("softmax_of_column_warns", lambda: N.softmax(T.dcol()), UserWarning, ("size 1",)),
    Failure("xent_int8_labels",
            lambda: N.categorical_crossentropy(T.dmatrix(), T.bvector("y")), TypeError,
            ("int8", "int32")),
    Failure("xent_ranks", lambda: N.categorical_crossentropy(T.dmatrix(), T.lscalar()), TypeError,
            ("rank mismatch",)),
    Failure("fused_xent_float_labels", lambda: fused(T.dmatrix(), T.dvector("y")), TypeError,
            ("integers", "astype")),
    Failure("label_too_large", lambda: labels_out_of_range(3), IndexError, ("3",)),
    Failure("label_too_small", lambda: labels_out_of_range(-4), IndexError, ("-4",)),
]  # fmt: skip
