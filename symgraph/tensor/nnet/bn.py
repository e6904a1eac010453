"""Theano's `theano.tensor.nnet.bn`."""

from symgraph.ops.normalization import *  # noqa: F403 - what it lists in __all__
