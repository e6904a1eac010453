"""A book's library of layers, as its readers have it: Theano 0.6 and 0.7, shared random streams.

Convolution with pooling, dense and softmax layers with dropout, gradient descent over minibatches
that are cut out of shared variables by index. What it calls is that of Nielsen, "Neural networks
and deep learning", chapter 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import theano
import theano.tensor as T
from theano.tensor import shared_randomstreams
from theano.tensor.nnet import conv, sigmoid
from theano.tensor.signal import downsample

GPU = True
if GPU:
    try:
        theano.config.device = "gpu"
    except Exception:
        pass  # it is set already, or there is none
    theano.config.floatX = "float32"


def linear(z: Any) -> Any:
    return z


def ReLU(z: Any) -> Any:
    return T.maximum(0.0, z)


def normal(scale: float, size: Any) -> Any:
    values = np.random.normal(loc=0.0, scale=scale, size=size)
    return theano.shared(np.asarray(values, dtype=theano.config.floatX), borrow=True)


def shared(data: Any) -> tuple[Any, Any]:
    """Both as floatX, the labels cast back."""
    shared_x = theano.shared(np.asarray(data[0], dtype=theano.config.floatX), borrow=True)
    shared_y = theano.shared(np.asarray(data[1], dtype=theano.config.floatX), borrow=True)
    return shared_x, T.cast(shared_y, "int32")


def size(data: Any) -> int:
    return int(data[0].get_value(borrow=True).shape[0])


def dropout_layer(layer: Any, p_dropout: float) -> Any:
    srng = shared_randomstreams.RandomStreams(np.random.RandomState(0).randint(999999))
    mask = srng.binomial(n=1, p=1 - p_dropout, size=layer.shape)
    return layer * T.cast(mask, theano.config.floatX)


class ConvPoolLayer:
    def __init__(
        self,
        filter_shape: Any,
        image_shape: Any,
        poolsize: Any = (2, 2),
        activation_fn: Any = sigmoid,
    ) -> None:
        self.filter_shape, self.image_shape = filter_shape, image_shape
        self.poolsize, self.activation_fn = poolsize, activation_fn
        n_out = filter_shape[0] * np.prod(filter_shape[2:]) / np.prod(poolsize)
        self.w = normal(np.sqrt(1.0 / n_out), filter_shape)
        self.b = normal(1.0, (filter_shape[0],))
        self.params = [self.w, self.b]

    def set_inpt(self, inpt: Any, inpt_dropout: Any, mini_batch_size: int) -> None:
        self.inpt = inpt.reshape(self.image_shape)
        conv_out = conv.conv2d(
            input=self.inpt,
            filters=self.w,
            filter_shape=self.filter_shape,
            image_shape=self.image_shape,
        )
        pooled_out = downsample.max_pool_2d(input=conv_out, ds=self.poolsize, ignore_border=True)
        self.output = self.activation_fn(pooled_out + self.b.dimshuffle("x", 0, "x", "x"))
        self.output_dropout = self.output  # none in the convolutional layers


class FullyConnectedLayer:
    def __init__(
        self, n_in: int, n_out: int, activation_fn: Any = sigmoid, p_dropout: float = 0.0
    ) -> None:
        self.n_in, self.n_out = n_in, n_out
        self.activation_fn, self.p_dropout = activation_fn, p_dropout
        self.w = normal(np.sqrt(1.0 / n_out), (n_in, n_out))
        self.b = normal(1.0, (n_out,))
        self.params = [self.w, self.b]

    def set_inpt(self, inpt: Any, inpt_dropout: Any, mini_batch_size: int) -> None:
        self.inpt = inpt.reshape((mini_batch_size, self.n_in))
        self.output = self.activation_fn((1 - self.p_dropout) * T.dot(self.inpt, self.w) + self.b)
        self.y_out = T.argmax(self.output, axis=1)
        self.inpt_dropout = dropout_layer(
            inpt_dropout.reshape((mini_batch_size, self.n_in)), self.p_dropout
        )
        self.output_dropout = self.activation_fn(T.dot(self.inpt_dropout, self.w) + self.b)

    def accuracy(self, y: Any) -> Any:
        return T.mean(T.eq(y, self.y_out))


class SoftmaxLayer:
    def __init__(self, n_in: int, n_out: int, p_dropout: float = 0.0) -> None:
        self.n_in, self.n_out, self.p_dropout = n_in, n_out, p_dropout
        zeros = np.zeros((n_in, n_out), dtype=theano.config.floatX)
        self.w = theano.shared(zeros, name="w", borrow=True)
        self.b = theano.shared(
            np.zeros((n_out,), dtype=theano.config.floatX), name="b", borrow=True
        )
        self.params = [self.w, self.b]

    def set_inpt(self, inpt: Any, inpt_dropout: Any, mini_batch_size: int) -> None:
        self.inpt = inpt.reshape((mini_batch_size, self.n_in))
        self.output = T.nnet.softmax((1 - self.p_dropout) * T.dot(self.inpt, self.w) + self.b)
        self.y_out = T.argmax(self.output, axis=1)
        self.inpt_dropout = dropout_layer(
            inpt_dropout.reshape((mini_batch_size, self.n_in)), self.p_dropout
        )
        self.output_dropout = T.nnet.softmax(T.dot(self.inpt_dropout, self.w) + self.b)

    def cost(self, net: Network) -> Any:
        return -T.mean(T.log(self.output_dropout)[T.arange(net.y.shape[0]), net.y])

    def accuracy(self, y: Any) -> Any:
        return T.mean(T.eq(y, self.y_out))


class Network:
    def __init__(self, layers: list[Any], mini_batch_size: int) -> None:
        self.layers, self.mini_batch_size = layers, mini_batch_size
        self.params = [param for layer in self.layers for param in layer.params]
        self.x = T.matrix("x")
        self.y = T.ivector("y")
        init_layer = self.layers[0]
        init_layer.set_inpt(self.x, self.x, self.mini_batch_size)
        for prev_layer, layer in zip(self.layers[:-1], self.layers[1:], strict=True):
            layer.set_inpt(prev_layer.output, prev_layer.output_dropout, self.mini_batch_size)
        self.output = self.layers[-1].output
        self.output_dropout = self.layers[-1].output_dropout

    def SGD(
        self, training_data: Any, epochs: int, eta: float, test_data: Any, lmbda: float = 0.0
    ) -> tuple[list[float], float]:
        """The mean cost of each epoch, and the accuracy on the test data."""
        training_x, training_y = training_data
        test_x, test_y = test_data
        num_training_batches = size(training_data) // self.mini_batch_size
        num_test_batches = size(test_data) // self.mini_batch_size

        l2_norm_squared = sum([(layer.w**2).sum() for layer in self.layers])
        cost = self.layers[-1].cost(self) + 0.5 * lmbda * l2_norm_squared / num_training_batches
        grads = T.grad(cost, self.params)
        updates = [
            (param, param - eta * grad) for param, grad in zip(self.params, grads, strict=True)
        ]
        i = T.lscalar()

        def batch(x: Any, y: Any) -> dict[Any, Any]:
            return {
                self.x: x[i * self.mini_batch_size : (i + 1) * self.mini_batch_size],
                self.y: y[i * self.mini_batch_size : (i + 1) * self.mini_batch_size],
            }

        train_mb = theano.function([i], cost, updates=updates, givens=batch(training_x, training_y))
        accuracy = self.layers[-1].accuracy(self.y)
        test_mb_accuracy = theano.function([i], accuracy, givens=batch(test_x, test_y))
        self.test_mb_predictions = theano.function(
            [i],
            self.layers[-1].y_out,
            givens={self.x: test_x[i * self.mini_batch_size : (i + 1) * self.mini_batch_size]},
        )
        costs = [
            float(np.mean([train_mb(minibatch) for minibatch in range(num_training_batches)]))
            for _ in range(epochs)
        ]
        return costs, float(np.mean([test_mb_accuracy(j) for j in range(num_test_batches)]))
