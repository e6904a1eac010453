"""Theano's `theano.tensor.nlinalg`."""
# ruff: noqa: F401

from symgraph.ops.decomposition import SVD, Det, MatrixInverse, det, matrix_inverse, pinv, qr, svd
from symgraph.ops.decomposition import PseudoInverse as MatrixPinv
from symgraph.ops.diagonal import alloc_diag, extract_diag
from symgraph.ops.eigen import Eig, Eigh, eig, eigh
from symgraph.ops.linalg import trace
from symgraph.ops.linear_systems import Lstsq as lstsq
from symgraph.ops.linear_systems import tensorinv, tensorsolve
from symgraph.ops.matrix_functions import matrix_dot, matrix_power, norm
from symgraph.ops.shape import diag
