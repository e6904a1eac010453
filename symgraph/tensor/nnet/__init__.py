"""Theano's `theano.tensor.nnet`. Source: Theano, library/tensor/nnet."""
# ruff: noqa: F401

from symgraph.ops.conv import (
    conv2d,
    conv2d_grad_wrt_inputs,
    conv2d_grad_wrt_weights,
    conv2d_transpose,
)
from symgraph.ops.nnet import (
    binary_crossentropy,
    categorical_crossentropy,
    crossentropy_categorical_1hot,
    crossentropy_softmax_1hot,
    crossentropy_softmax_1hot_with_bias,
    crossentropy_softmax_argmax_1hot_with_bias,
    elu,
    hard_sigmoid,
    logsoftmax,
    relu,
    selu,
    sigmoid,
    sigmoid_binary_crossentropy,
    softmax,
    softmax_graph,
    softmax_with_bias,
    softplus,
    softsign,
    ultra_fast_sigmoid,
)

from . import abstract_conv, bn, conv, nnet, sigm
