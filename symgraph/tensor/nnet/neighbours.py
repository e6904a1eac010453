"""Theano's `theano.tensor.nnet.neighbours`."""
# ruff: noqa: F401

from symgraph.ops.neighbours import images2neibs, neibs2images
