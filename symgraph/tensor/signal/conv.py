"""Theano's `theano.tensor.signal.conv`."""
# ruff: noqa: F401

from symgraph.ops.conv import signal_conv2d as conv2d
