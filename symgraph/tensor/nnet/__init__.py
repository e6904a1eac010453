"""Theano's `theano.tensor.nnet`. Source: Theano, library/tensor/nnet."""
# ruff: noqa: F401

from symgraph.ops.classes import (
    confusion_matrix,
    h_softmax,
    prepend_0_to_each_row,
    prepend_1_to_each_row,
    prepend_scalar_to_each_row,
)
from symgraph.ops.conv import (
    conv2d,
    conv2d_grad_wrt_inputs,
    conv2d_grad_wrt_weights,
    conv2d_transpose,
)
from symgraph.ops.conv import conv2d as abstract_conv2d
from symgraph.ops.conv3d import conv3d
from symgraph.ops.nnet import (
    binary_crossentropy,
    categorical_crossentropy,
    crossentropy_categorical_1hot,
    crossentropy_softmax_1hot,
    crossentropy_softmax_1hot_with_bias,
    crossentropy_softmax_argmax_1hot_with_bias,
    crossentropy_softmax_max_and_argmax_1hot,
    crossentropy_softmax_max_and_argmax_1hot_with_bias,
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
from symgraph.ops.normalization import batch_normalization
from symgraph.ops.separable import causal_conv1d, separable_conv2d, separable_conv3d

from . import abstract_conv, bn, conv, conv3d2d, neighbours, nnet, sigm
