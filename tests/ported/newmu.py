"""Short tutorials in six steps, from a product of two numbers to a convolutional network.

What they call is that of Newmu's Theano-Tutorials: updates as lists of lists, a softmax and RMSprop
by hand, `X *= mask` on variables, pooling without `ignore_border`, `flatten(outdim=)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import theano
from theano import tensor as T
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams
from theano.tensor.nnet.conv import conv2d
from theano.tensor.signal.downsample import max_pool_2d

srng = RandomStreams()
numbers = np.random.RandomState(7)


def floatX(X: Any) -> np.ndarray:
    return np.asarray(X, dtype=theano.config.floatX)


def init_weights(shape: Any, scale: float = 0.01) -> Any:
    return theano.shared(floatX(numbers.randn(*shape) * scale))


# 0: a product


def multiply() -> Any:
    a = T.scalar()
    b = T.scalar()
    return theano.function(inputs=[a, b], outputs=a * b)


# 1: a line through points


def linear_regression(trX: np.ndarray, trY: np.ndarray, epochs: int) -> float:
    X = T.scalar()
    Y = T.scalar()
    w = theano.shared(np.asarray(0.0, dtype=theano.config.floatX))
    y = X * w
    cost = T.mean(T.sqr(y - Y))
    gradient = T.grad(cost=cost, wrt=w)
    updates = [[w, w - gradient * 0.01]]
    train = theano.function(
        inputs=[X, Y], outputs=cost, updates=updates, allow_input_downcast=True
    )  # fmt: skip
    for _ in range(epochs):
        for x, y in zip(trX, trY, strict=True):
            train(x, y)
    return float(w.get_value())


# 2 and 3: logistic regression; a network with one hidden layer


def sgd(cost: Any, params: list[Any], lr: float = 0.05) -> list[list[Any]]:
    grads = T.grad(cost=cost, wrt=params)
    return [[p, p - g * lr] for p, g in zip(params, grads, strict=True)]


def logistic_regression(n: int, classes: int) -> tuple[Any, Any]:
    X = T.fmatrix()
    Y = T.fmatrix()
    w = init_weights((n, classes))
    py_x = T.nnet.softmax(T.dot(X, w))
    return functions(X, Y, py_x, py_x, lambda cost: sgd(cost, [w]))


def net(n: int, hidden: int, classes: int) -> tuple[Any, Any]:
    X = T.fmatrix()
    Y = T.fmatrix()
    w_h = init_weights((n, hidden))
    w_o = init_weights((hidden, classes))
    h = T.nnet.sigmoid(T.dot(X, w_h))
    py_x = T.nnet.softmax(T.dot(h, w_o))
    return functions(X, Y, py_x, py_x, lambda cost: sgd(cost, [w_h, w_o]))


def functions(X: Any, Y: Any, noisy: Any, quiet: Any, updates: Any) -> tuple[Any, Any]:
    """A training step on `noisy`, which returns the cost, and the labels by `quiet`."""
    y_x = T.argmax(quiet, axis=1)
    cost = T.mean(T.nnet.categorical_crossentropy(noisy, Y))
    train = theano.function(
        inputs=[X, Y], outputs=cost, updates=updates(cost), allow_input_downcast=True
    )
    return train, theano.function(inputs=[X], outputs=y_x, allow_input_downcast=True)


# 4: rectified units, dropout, RMSprop


def rectify(X: Any) -> Any:
    return T.maximum(X, 0.0)


def softmax(X: Any) -> Any:
    e_x = T.exp(X - X.max(axis=1).dimshuffle(0, "x"))
    return e_x / e_x.sum(axis=1).dimshuffle(0, "x")


def dropout(X: Any, p: float = 0.0) -> Any:
    if p > 0:
        retain_prob = 1 - p
        X *= srng.binomial(X.shape, p=retain_prob, dtype=theano.config.floatX)
        X /= retain_prob
    return X


def RMSprop(
    cost: Any, params: list[Any], lr: float = 0.001, rho: float = 0.9, epsilon: float = 1e-6
) -> list[tuple[Any, Any]]:
    grads = T.grad(cost=cost, wrt=params)
    updates = []
    for p, g in zip(params, grads, strict=True):
        acc = theano.shared(p.get_value() * 0.0)
        acc_new = rho * acc + (1 - rho) * g**2
        gradient_scaling = T.sqrt(acc_new + epsilon)
        g = g / gradient_scaling
        updates.append((acc, acc_new))
        updates.append((p, p - lr * g))
    return updates


def modern_net(n: int, hidden: int, classes: int) -> tuple[Any, Any]:
    X = T.fmatrix()
    Y = T.fmatrix()
    w_h = init_weights((n, hidden))
    w_h2 = init_weights((hidden, hidden))
    w_o = init_weights((hidden, classes))

    def model(X: Any, p_drop_input: float, p_drop_hidden: float) -> Any:
        h = rectify(T.dot(dropout(X, p_drop_input), w_h))
        h2 = rectify(T.dot(dropout(h, p_drop_hidden), w_h2))
        return softmax(T.dot(dropout(h2, p_drop_hidden), w_o))

    return functions(
        X, Y, model(X, 0.2, 0.5), model(X, 0.0, 0.0), lambda c: RMSprop(c, [w_h, w_h2, w_o])
    )


# 5: convolutions


def conv_net(maps: tuple[int, int, int], hidden: int, classes: int) -> tuple[Any, Any, Any]:
    """For images of 28x28; also a function that gives what each pooling layer gives."""
    X = T.ftensor4()
    Y = T.fmatrix()
    w = init_weights((maps[0], 1, 3, 3), 0.1)
    w2 = init_weights((maps[1], maps[0], 3, 3), 0.1)
    w3 = init_weights((maps[2], maps[1], 3, 3), 0.1)
    w4 = init_weights((maps[2] * 3 * 3, hidden), 0.1)
    w_o = init_weights((hidden, classes), 0.1)

    def model(X: Any, p_drop_conv: float, p_drop_hidden: float) -> Any:
        l1a = rectify(conv2d(X, w, border_mode="full"))
        l1 = dropout(max_pool_2d(l1a, (2, 2)), p_drop_conv)
        l2a = rectify(conv2d(l1, w2))
        l2 = dropout(max_pool_2d(l2a, (2, 2)), p_drop_conv)
        l3a = rectify(conv2d(l2, w3))
        l3b = max_pool_2d(l3a, (2, 2))
        l3 = dropout(T.flatten(l3b, outdim=2), p_drop_conv)
        l4 = dropout(rectify(T.dot(l3, w4)), p_drop_hidden)
        return l1, l2, l3, l4, softmax(T.dot(l4, w_o))

    noisy, quiet = model(X, 0.2, 0.5), model(X, 0.0, 0.0)
    params = [w, w2, w3, w4, w_o]
    train, predict = functions(X, Y, noisy[-1], quiet[-1], lambda c: RMSprop(c, params))
    pooled = theano.function([X], list(quiet[:3]), allow_input_downcast=True)
    return train, predict, pooled
