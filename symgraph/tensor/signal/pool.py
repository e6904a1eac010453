"""Theano's `theano.tensor.signal.pool`."""
# ruff: noqa: F401

from symgraph.ops.pool import Pool, max_pool_2d_same_size, pool_2d
