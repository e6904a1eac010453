"""Theano's `theano.tensor.nnet.conv3d2d`: 3-d convolution with time before the channels."""
# ruff: noqa: F401

from symgraph.ops.conv3d import conv3d2d as conv3d
