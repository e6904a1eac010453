"""Max pooling of a random array, both ways, as in the Theano tutorial "lenet".

    python examples/max_pooling.py

With ignore_border, windows that do not fit whole are dropped: 5x5 gives 2x2. Without, they are
pooled as far as they go: 5x5 gives 3x3.
"""

from __future__ import annotations

import argparse
import sys

import numpy

import symgraph
from symgraph import tensor as T
from symgraph.tensor.signal import pool


def main() -> None:
    # The tutorial's page was printed by an older NumPy: this is its way to write arrays.
    numpy.set_printoptions(legacy="1.13", linewidth=120)
    say = sys.stdout.write

    input = T.dtensor4("input")
    maxpool_shape = (2, 2)
    pool_out = pool.pool_2d(input, maxpool_shape, ignore_border=True)
    f = symgraph.function([input], pool_out)

    invals = numpy.random.RandomState(1).rand(3, 2, 5, 5)
    say("With ignore_border set to True:\n")
    say(f"invals[0, 0, :, :] =\n{invals[0, 0, :, :]}\n")
    say(f"output[0, 0, :, :] =\n{f(invals)[0, 0, :, :]}\n")

    pool_out = pool.pool_2d(input, maxpool_shape, ignore_border=False)
    f = symgraph.function([input], pool_out)
    say("With ignore_border set to False:\n")
    say(f"invals[1, 0, :, :] =\n{invals[1, 0, :, :]}\n")
    say(f"output[1, 0, :, :] =\n{f(invals)[1, 0, :, :]}\n")


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    main()
