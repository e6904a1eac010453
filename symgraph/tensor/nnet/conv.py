"""Theano's `theano.tensor.nnet.conv`: the convolution of before 0.8, whose shapes are enforced."""
# ruff: noqa: F401

from symgraph.ops.conv import legacy_conv2d as conv2d
from symgraph.ops.conv_shapes import get_conv_output_shape, get_conv_shape_1axis
