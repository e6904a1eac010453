"""Theano's `theano.tensor.nnet.sigm`."""
# ruff: noqa: F401

from symgraph.ops.nnet import hard_sigmoid, sigmoid, softplus, ultra_fast_sigmoid
