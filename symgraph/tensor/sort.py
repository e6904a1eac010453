"""Theano's `theano.tensor.sort`."""
# ruff: noqa: F401

from symgraph.ops.sort import argsort, sort
from symgraph.ops.topk import argtopk, topk, topk_and_argtopk
