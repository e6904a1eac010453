"""LeNet-5 as published."""

from __future__ import annotations

from lenet.layers import Conv2D, Dense, Pad, RadialBasis, Rescale, Subsampling
from lenet.losses import MaximumAPosteriori
from lenet.network import Declaration

# The maps of S2 that each map of C3 reads: three neighbours, four, four in two pairs, all.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip


def lenet5(classes: int = 10) -> Declaration:
    """LeNet-5 as published in 1998, with its partly connected C3 and its radial basis output.

    28x28 images get a border of 2; the background becomes -0.1 and the foreground 1.175, so that
    inputs have about mean 0 and variance 1. Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based
    learning applied to document recognition", Proc. IEEE 86 (1998), II.B, table I and appendix A.
    """
    tanh, init = "scaled_tanh", "lecun1998"
    return Declaration(
        [
            Pad(2, name="border"),
            Rescale(-0.1, 1.175, name="range"),
            Conv2D(6, 5, activation=tanh, init=init, name="C1"),
            Subsampling(2, activation=tanh, init=init, name="S2"),
            Conv2D(16, 5, activation=tanh, init=init, table=C3_TABLE, name="C3"),
            Subsampling(2, activation=tanh, init=init, name="S4"),
            Conv2D(120, 5, activation=tanh, init=init, name="C5"),
            Dense(84, activation=tanh, init=init, name="F6"),
            RadialBasis(classes, name="output"),
        ],
        MaximumAPosteriori(),
    )
