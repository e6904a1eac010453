"""Batch normalization (Ioffe and Szegedy, 2015).

Source: Theano, library/tensor/nnet/bn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.elementwise import cast, inv, sqrt
from symgraph.ops.reduce import mean as average
from symgraph.ops.shape import addbroadcast
from symgraph.ops.structure import product_of, shape_i
from symgraph.variable import as_tensor_variable

__all__ = ["batch_normalization", "batch_normalization_test", "batch_normalization_train"]


def _number(value: float, x: Any) -> np.ndarray:
    return np.asarray(value, dtype=x.dtype)


def _prepare(
    inputs: Any, axes: Any, epsilon: float, parameters: Sequence[Any]
) -> tuple[Any, tuple[int, ...], list[Any], tuple[int, ...]]:
    """Inputs, the axes to normalise over, the parameters with broadcastable axes there, and the
    axes of parameters that were given without them (all if they were given with)."""
    x = as_tensor_variable(inputs)
    if isinstance(axes, str) and axes in ("per-activation", "spatial"):
        axes = (0,) if axes == "per-activation" else (0, *range(2, x.ndim))
    if not isinstance(axes, (tuple, list)) or any(not -x.ndim <= a < x.ndim for a in axes):
        raise ValueError(
            explain("batch_normalization", f"invalid axes {axes!r}", got=describe((x,)),
                    expected="'per-activation', 'spatial' or a tuple of axes")
        )  # fmt: skip
    if epsilon < 1e-5:
        raise ValueError(
            explain("batch_normalization", "epsilon must be at least 1e-5", got=str(epsilon))
        )
    over = tuple(sorted(a % x.ndim for a in axes))
    kept = tuple(a for a in range(x.ndim) if a not in over)
    whole, shown = [], tuple(range(x.ndim))
    given = [as_tensor_variable(p) for p in parameters]
    for p in given:
        if p.ndim not in (len(kept), x.ndim) or p.ndim != given[-1].ndim:
            raise ValueError(
                explain("batch_normalization", f"{p} does not fit axes {over}",
                        got=describe((*given, x)),
                        expected=f"parameters of {len(kept)} axes, or all of {x.ndim}")
            )  # fmt: skip
        if p.ndim != x.ndim:
            shown = kept
            p = dimshuffle(p, [kept.index(a) if a in kept else "x" for a in range(x.ndim)])
        whole.append(addbroadcast(p, *over))
    return x, over, whole, shown


def batch_normalization(
    inputs: Any, gamma: Any, beta: Any, mean: Any, std: Any, mode: str = "low_mem"
) -> Any:
    """(inputs - mean) * gamma / std + beta, with broadcasting.

    `mode` is "low_mem" or "high_mem" (else ValueError) and means nothing: the whole is one kernel.
    Source: Theano, bn.batch_normalization.
    """
    if mode not in ("low_mem", "high_mem"):
        raise ValueError(
            explain("batch_normalization", f"mode {mode!r}", expected="'low_mem' or 'high_mem'")
        )
    x = as_tensor_variable(inputs)
    return (x - mean) * (as_tensor_variable(gamma) / std) + beta


def batch_normalization_train(
    inputs: Any,
    gamma: Any,
    beta: Any,
    axes: Any = "per-activation",
    epsilon: float = 1e-4,
    running_average_factor: float = 0.1,
    running_mean: Any = None,
    running_var: Any = None,
) -> tuple[Any, ...]:
    """Normalise over `axes` by the batch's own statistics.

    `axes`: "per-activation" (0), "spatial" (all but 1) or a tuple. Parameters have the axes that
    remain, or all with `axes` broadcastable. Returns (out, mean, invstd), invstd being
    1 / sqrt(var + epsilon), and, with running_mean and running_var, their new values, the variance
    being the unbiased one. ValueError for an epsilon below 1e-5 and for axes that do not fit.
    Source: Theano, bn.batch_normalization_train.
    """
    given = [p for p in (running_mean, running_var) if p is not None]
    if len(given) == 1:
        raise ValueError(
            explain("batch_normalization_train", "running_mean and running_var go together")
        )
    x, over, (g, b, *running), shown = _prepare(inputs, axes, epsilon, (gamma, beta, *given))
    mean = average(x, over, keepdims=True)
    centered = x - mean
    variance = average(centered * centered, over, keepdims=True)
    invstd = inv(sqrt(variance + _number(epsilon, variance)))
    results = [mean, invstd]
    if running:
        rate = _number(running_average_factor, x)
        size = cast(product_of(shape_i(x, a) for a in over), x.dtype)
        unbiased = variance * (size / (size - _number(1, x)))
        for old, new in zip(running, (mean, unbiased), strict=True):
            results.append(old * (_number(1, x) - rate) + new * rate)
    return (centered * (g * invstd) + b, *(dimshuffle(r, shown) for r in results))


def batch_normalization_test(
    inputs: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    var: Any,
    axes: Any = "per-activation",
    epsilon: float = 1e-4,
) -> Any:
    """(inputs - mean) * gamma / sqrt(var + epsilon) + beta; arguments as for training.

    Source: Theano, bn.batch_normalization_test.
    """
    x, _, (g, b, m, v), _ = _prepare(inputs, axes, epsilon, (gamma, beta, mean, var))
    return (x - m) * (g / sqrt(v + _number(epsilon, v))) + b
