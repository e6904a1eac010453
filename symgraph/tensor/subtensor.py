"""Theano's `theano.tensor.subtensor`."""
# ruff: noqa: F401

from symgraph.ops.advanced import take
from symgraph.ops.gather import AdvancedIncSubtensor, AdvancedSubtensor
from symgraph.ops.index import IncSubtensor, Subtensor, inc_subtensor, set_subtensor
