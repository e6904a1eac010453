"""Theano's `theano.tensor.nnet.nnet`."""

from symgraph.ops.classes import *  # noqa: F403 - what it lists in __all__
from symgraph.ops.nnet import *  # noqa: F403
from symgraph.ops.softmax import *  # noqa: F403
