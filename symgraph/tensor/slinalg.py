"""Theano's `theano.tensor.slinalg`."""
# ruff: noqa: F401

from symgraph.ops.decomposition import Cholesky, cholesky
from symgraph.ops.eigen import eigvalsh
from symgraph.ops.linear_systems import (
    Solve,
    solve,
    solve_lower_triangular,
    solve_symmetric,
    solve_upper_triangular,
)
from symgraph.ops.matrix_functions import Expm, expm, kron
