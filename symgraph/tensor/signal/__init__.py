"""Theano's `theano.tensor.signal`. Source: Theano, library/tensor/signal."""

from . import conv, downsample, pool

__all__ = ["conv", "downsample", "pool"]
