"""Theano's `theano.tensor.basic`: the same names as `symgraph.tensor`."""

from symgraph.tensor import *  # noqa: F403
