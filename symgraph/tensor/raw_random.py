"""Theano's `tensor.raw_random`: draws that take a random state and give the next one."""
# ruff: noqa: F401

from symgraph.ops.random_mersenne import (
    RandomFunction,
    binomial,
    choice,
    multinomial,
    normal,
    permutation,
    poisson,
    random_integers,
    uniform,
)
from symgraph.random_state import STATE as random_state_type
