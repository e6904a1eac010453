"""Theano's `theano.tensor.extra_ops`."""
# ruff: noqa: F401

from symgraph.ops.advanced import compress
from symgraph.ops.alloc import bartlett, to_one_hot
from symgraph.ops.counting import Unique
from symgraph.ops.multi_index import ravel_multi_index, unravel_index
from symgraph.ops.shape import fill_diagonal, fill_diagonal_offset, repeat, squeeze
from symgraph.ops.sort import bincount, cumprod, cumsum, diff, searchsorted, unique
