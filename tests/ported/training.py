"""Objectives and updates in the manner of Lasagne."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import theano
import theano.tensor as T

Updates = OrderedDict[Any, Any]


def categorical_crossentropy(predictions: Any, targets: Any) -> Any:
    return T.nnet.categorical_crossentropy(predictions, targets)


def one_hot(y: Any, m: int) -> Any:
    return T.extra_ops.to_one_hot(y, m)


def l2(params: list[Any]) -> Any:
    return sum(T.sum(p**2) for p in params)


def total_norm_constraint(grads: list[Any], max_norm: float, epsilon: float = 1e-7) -> list[Any]:
    """Gradients scaled so that the norm of all of them together is at most `max_norm`."""
    norm = T.sqrt(sum(T.sum(tensor**2) for tensor in grads))
    dtype = np.dtype(theano.config.floatX).type
    target_norm = T.clip(norm, 0, dtype(max_norm))
    multiplier = target_norm / (dtype(epsilon) + norm)
    return [step * multiplier for step in grads]


def _zeros_like(param: Any) -> Any:
    value = param.get_value(borrow=True)
    return theano.shared(
        np.zeros(value.shape, dtype=value.dtype), broadcastable=param.broadcastable
    )


def _gradients(loss_or_grads: Any, params: list[Any]) -> list[Any]:
    if any(not isinstance(p, theano.compile.SharedVariable) for p in params):
        raise ValueError("only shared variables can be trained")
    return loss_or_grads if isinstance(loss_or_grads, list) else theano.grad(loss_or_grads, params)


def nesterov_momentum(
    loss_or_grads: Any, params: list[Any], learning_rate: float, momentum: float = 0.9
) -> Updates:
    updates: Updates = OrderedDict()
    for param, grad in zip(params, _gradients(loss_or_grads, params), strict=True):
        updates[param] = param - learning_rate * grad
    for param in params:
        velocity = _zeros_like(param)
        x = momentum * velocity + updates[param] - param
        updates[velocity] = x
        updates[param] = momentum * x + updates[param]
    return updates


def adam(
    loss_or_grads: Any,
    params: list[Any],
    learning_rate: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Updates:
    """Kingma & Ba, "Adam: a method for stochastic optimization" (2014)."""
    all_grads = _gradients(loss_or_grads, params)
    t_prev = theano.shared(np.asarray(0.0, dtype=theano.config.floatX))
    updates: Updates = OrderedDict()
    one = T.constant(1)
    t = t_prev + 1
    a_t = learning_rate * T.sqrt(one - beta2**t) / (one - beta1**t)
    for param, g_t in zip(params, all_grads, strict=True):
        m_prev, v_prev = _zeros_like(param), _zeros_like(param)
        m_t = beta1 * m_prev + (one - beta1) * g_t
        v_t = beta2 * v_prev + (one - beta2) * g_t**2
        updates[m_prev] = m_t
        updates[v_prev] = v_t
        updates[param] = param - a_t * m_t / (T.sqrt(v_t) + epsilon)
    updates[t_prev] = t
    return updates
