"""Theano's `theano.tensor.signal.downsample`, as it was in Theano 0.6 to 0.8."""
# ruff: noqa: F401

from symgraph.ops.pool import max_pool_2d, max_pool_2d_same_size
