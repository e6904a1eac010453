"""Theano's `misc`: what belongs to no stage."""
