"""Theano's `theano.tensor.nlinalg`."""
# ruff: noqa: F401

from symgraph.ops.decomposition import det, eigh, matrix_inverse, pinv, qr, svd
from symgraph.ops.linalg import trace
from symgraph.ops.shape import diag
