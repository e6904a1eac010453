"""Theano's `theano.tensor.slinalg`."""
# ruff: noqa: F401

from symgraph.ops.decomposition import cholesky, solve
