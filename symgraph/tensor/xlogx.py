"""Theano's `theano.tensor.xlogx`."""
# ruff: noqa: F401

from symgraph.ops.xlogx import xlogx, xlogy0
