"""Theano's `theano.tensor.signal.pool`."""
# ruff: noqa: F401

from symgraph.ops.op_forms import Pool
from symgraph.ops.pool import max_pool_2d_same_size, pool_2d, pool_3d
