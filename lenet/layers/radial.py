"""LeNet-5's output: Euclidean distances to fixed codes, which are pictures of the digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.layers.base import Application, Layer, Shape, flat
from symgraph import tensor as T

# Ten digits as type of 7x12 pixels, as the paper's figure 3 has ASCII: like digits have like codes.
_DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...#...  .#####.  #######  ....##.  #######  ..####.  #######  .#####.  .#####.
.#...#.  ..##...  #.....#  .....#.  ...#.#.  #......  .#.....  ......#  #.....#  #.....#
#.....#  .#.#...  ......#  ....#..  ..#..#.  #......  #......  .....#.  #.....#  #.....#
#.....#  ...#...  ......#  ...#...  .#...#.  #.###..  #......  .....#.  #.....#  #.....#
#.....#  ...#...  .....#.  ..###..  #....#.  ##...#.  #.###..  ....#..  .#####.  #....##
#.....#  ...#...  ....#..  .....#.  #....#.  ......#  ##...#.  ....#..  #.....#  .####.#
#.....#  ...#...  ...#...  ......#  #######  ......#  #.....#  ...#...  #.....#  ......#
#.....#  ...#...  ..#....  ......#  .....#.  ......#  #.....#  ...#...  #.....#  ......#
.#...#.  ...#...  .#.....  #.....#  .....#.  #....#.  #.....#  ..#....  #.....#  .....#.
..###..  .#####.  #######  .#####.  .....#.  .####..  .#####.  ..#....  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def bitmaps() -> NDArray[np.float64]:
    """The codes of the digits 0 to 9, (10, 84): 7x12 pixels by rows, 1 for ink, -1 for none."""
    rows = [line.split() for line in _DIGITS.split("\n") if line]
    return np.array(
        [[1.0 if c == "#" else -1.0 for row in rows for c in row[digit]] for digit in range(10)]
    )


@dataclass(eq=False)
class RadialBasis(Layer):
    """Scores of `size` classes: minus the squared Euclidean distances of the input to fixed codes.

    The codes, (classes, units) of 1 and -1, are a state and not trained. For ten classes and 84
    inputs they are the `bitmaps` of the digits, else drawn at random, the other way that the paper
    names. RunError if there are not so many different ones. Source: LeCun et al. 1998, II.B and
    figure 3.
    """

    size: int

    label = "radial"

    @property
    def kind(self) -> str:
        return "radial basis functions"

    def setup(self, rng: np.random.RandomState) -> Shape:
        self.whole("units", self.size)
        shape = (self.size, self.units())
        codes = bitmaps()
        if shape != codes.shape:
            codes = self._random(rng, shape)
        self.codes = self.state("codes", codes)
        return (self.size,)

    def apply(self, x: Any, how: Application) -> Any:
        apart = flat(x, self.input_shape).dimshuffle(0, "x", 1) - self.codes.dimshuffle("x", 0, 1)
        return -T.sum(apart * apart, axis=2)

    @property
    def connections(self) -> int:
        return self.size * self.units()

    @property
    def flops(self) -> int:
        return 3 * self.connections

    def _random(self, rng: np.random.RandomState, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Codes of which no two are the same; RunError if there are not so many."""
        if shape[1] < 63 and shape[0] > 2 ** shape[1]:
            raise self.refuse(
                f"{shape[1]} inputs for {shape[0]} classes",
                f"{(shape[0] - 1).bit_length()} at least, for codes that differ",
                "make the layer before it larger",
            )
        codes: list[NDArray[np.float64]] = []
        while len(codes) < shape[0]:
            code = rng.choice([-1.0, 1.0], shape[1])
            if not any(np.array_equal(code, other) for other in codes):
                codes.append(code)
        return np.array(codes)
