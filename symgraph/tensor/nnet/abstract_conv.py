"""Theano's `theano.tensor.nnet.abstract_conv`: convolutions, and their ops under Theano's names."""
# ruff: noqa: F401

from symgraph.ops.conv import (
    conv2d,
    conv2d_grad_wrt_inputs,
    conv2d_grad_wrt_weights,
    conv2d_transpose,
    get_conv_output_shape,
)
from symgraph.ops.convolution import Conv2d as AbstractConv2d
from symgraph.ops.convolution import Conv2dGradInputs as AbstractConv2d_gradInputs
from symgraph.ops.convolution import Conv2dGradWeights as AbstractConv2d_gradWeights
