"""What a layer is: declared with its options, built for the shape it meets, applied to expressions.

    layer = Conv2D(filters=6, size=5, activation="tanh", name="C1")
    layer.build(rng, (1, 28, 28))          # draws the parameters; output_shape is (6, 24, 24)
    y = layer.apply(x, Application())      # x: tensor4 (examples, 1, 28, 28)

Shapes are those of one example, without the axis of the batch: (maps, height, width) or (units,).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np

import symgraph
from lenet.errors import RunError
from symgraph.tensor.random import RandomStreams

Shape = tuple[int, ...]


@dataclass
class Application:
    """One application of layers to an input: how they should behave, and what they leave behind.

    In `training`, dropout drops units, by numbers from `streams`, and batch normalisation uses the
    statistics of the batch; `updates` then collects the pairs (shared, expression) of the layers'
    own states, for symgraph.function.
    """

    training: bool = False
    streams: RandomStreams | None = None
    updates: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False)
class Layer:
    """One layer of a network; subclasses say in `setup` and `apply` what it does.

    `params` are the shared variables that training moves, `states` those that it keeps besides
    (running means), each under a short name such as "W"; dtype `symgraph.config.floatX` of the
    time of `build`.
    """

    _: KW_ONLY
    name: str = ""

    label: ClassVar[str] = "layer"  # of layers that were given no name, with a number

    def build(self, rng: np.random.RandomState, input_shape: Shape) -> Shape:
        """Draw the parameters from `rng`, for inputs of `input_shape`; returns the output's shape.

        Raises RunError if the layer does not fit such inputs.
        """
        self.params: dict[str, Any] = {}
        self.states: dict[str, Any] = {}
        self.input_shape = input_shape
        self.output_shape = self.setup(rng)
        return self.output_shape

    def setup(self, rng: np.random.RandomState) -> Shape:
        """Draw the parameters; returns the shape of the output."""
        return self.input_shape

    def apply(self, x: Any, how: Application) -> Any:
        """The output for the expression `x`: (examples, *input_shape)."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """What the layer does, in a few words, for tables and pictures."""
        return self.label

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(int(p.get_value(borrow=True).size) for p in self.params.values())

    @property
    def connections(self) -> int:
        """Links into the units of this layer for one example, biases counted, as LeCun counts."""
        return 0

    @property
    def flops(self) -> int:
        """Multiplications and additions for one example, forwards, activations not counted."""
        return 0

    def param(self, key: str, values: Any) -> Any:
        """A new trained parameter."""
        self.params[key] = self._shared(key, values)
        return self.params[key]

    def state(self, key: str, values: Any) -> Any:
        """A new variable that is kept with the parameters but not trained by gradients."""
        self.states[key] = self._shared(key, values)
        return self.states[key]

    def refuse(self, got: str, expected: str, cure: str) -> RunError:
        """The error of a layer that does not fit."""
        return RunError(f"layer {self.name or self.label}", got, expected, cure)

    def whole(self, what: str, value: int | tuple[int, int], least: int = 1) -> tuple[int, int]:
        """One or two whole numbers as two; RunError, which says `what`, for those below `least`."""
        if min(sizes := pair(value)) < least:
            got = value if isinstance(value, int) else times(value)
            raise self.refuse(f"{what} {got}", f"from {least} on", "give a larger number")
        return sizes

    def images(self) -> tuple[int, int, int]:
        """The input's maps, height and width; RunError if it is not images."""
        if len(self.input_shape) != 3:
            raise self.refuse(
                f"an input of shape {self.input_shape}",
                "images: (maps, height, width)",
                "put the layer before the fully connected ones",
            )
        maps, height, width = self.input_shape
        return maps, height, width

    def units(self) -> int:
        """The number of input units, those of images in a row."""
        return int(np.prod(self.input_shape))

    def _shared(self, key: str, values: Any) -> Any:
        data = np.asarray(values, dtype=symgraph.config.floatX)
        return symgraph.shared(data, name=f"{self.name}.{key}", borrow=True)


def flat(x: Any, shape: Shape) -> Any:
    """`x`, (examples, *shape), as a matrix (examples, units)."""
    return x if len(shape) == 1 else x.flatten(2)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Two sizes from one or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def times(size: int | tuple[int, ...]) -> str:
    """Sizes as people write them: 5x5."""
    return "x".join(map(str, pair(size) if isinstance(size, int) else size))
