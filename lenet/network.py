"""A network: declared as layers and a loss, built for its images, then a set of expressions.

declared = Declaration([Conv2D(6), Pool2D(), Dense(10)])
model = Model("small", declared, rng, (1, 28, 28), digits)
predict = symgraph.function([model.x], model.probabilities)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from lenet.augment import Augmentation
from lenet.errors import RunError
from lenet.layers import Application, Layer, Shape
from lenet.losses import CrossEntropy
from symgraph import tensor as T
from symgraph.tensor.random import RandomStreams


class Loss(Protocol):
    """What turns scores, (examples, classes), into a cost and into probabilities."""

    name: str

    def probabilities(self, scores: Any) -> Any: ...

    def cost(self, scores: Any, y: Any) -> Any: ...


@dataclass(frozen=True)
class Declaration:
    """What the functions of lenet.models give: layers that are not built yet, and the loss."""

    layers: Sequence[Layer]
    loss: Loss = field(default_factory=CrossEntropy)


class Training(NamedTuple):
    """The network as it is trained: the cost to minimise, the layers' outputs by name, and the
    updates of the layers' own states and of those of random numbers, in order: pairs (shared
    variable, next value)."""

    cost: Any
    outputs: dict[str, Any]
    updates: list[tuple[Any, Any]]
    random_updates: list[tuple[Any, Any]]


class Model:
    """A classifier of images as symbolic expressions; dtype `symgraph.config.floatX` throughout.

    `x` (examples, channels, height, width), normally 0 to 1, and `y` (examples,) int32 are its
    inputs. `outputs` holds each layer's output by name, `scores` (examples, classes) the last;
    `probabilities`, `prediction` (examples,), `cost` and `errors`, the share of wrong answers,
    follow from them, as in use: nothing dropped, running means. `training` gives the cost as in
    training. `params` are the shared variables to train, `states` what else belongs to the network,
    both by their full names: "C1.W".

    Raises RunError if layers do not fit each other, the images or the number of classes.
    """

    def __init__(
        self,
        name: str,
        declaration: Declaration,
        rng: np.random.RandomState,
        input_shape: tuple[int, int, int],
        classes: Sequence[str],
    ) -> None:
        self.name, self.loss = name, declaration.loss
        self.layers, self.input_shape = list(declaration.layers), input_shape
        self.classes = tuple(classes)
        self._name_layers()
        shape: Shape = input_shape
        for layer in self.layers:
            shape = layer.build(rng, shape)
        if shape != (len(classes),):
            raise RunError(
                f"model {name}",
                f"an output of shape {shape}",
                f"({len(classes)},), a score for each class of the data",
                f"end the network with a fully connected layer of {len(classes)} units",
            )
        self.x: Any = T.tensor4("x")
        self.y: Any = T.ivector("y")

    @property
    def params(self) -> dict[str, Any]:
        return {p.name: p for layer in self.layers for p in layer.params.values()}

    @property
    def states(self) -> dict[str, Any]:
        return {s.name: s for layer in self.layers for s in layer.states.values()}

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(layer.parameters for layer in self.layers)

    def layer(self, name: str) -> Layer:
        """The layer of that name; RunError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers)
        raise RunError(
            f"layer {name!r}",
            "a name that no layer has",
            f"one of {known}",
            f"`python -m lenet summary --model {self.name}` lists them",
        )

    def apply(self, x: Any, how: Application, frozen: Collection[str] = ()) -> dict[str, Any]:
        """The output of every layer for the expression `x`, by the layers' names, in order.

        Layers named in `frozen` behave as in use, however the others do.
        """
        outputs = {}
        for layer in self.layers:
            one = Application() if layer.name in frozen else how
            x = outputs[layer.name] = layer.apply(x, one)
        return outputs

    def training(
        self,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        *,
        fill: float = 0.0,
        frozen: Collection[str] = (),
    ) -> Training:
        """The cost of `x` and `y` in training, where random numbers are drawn from `seed`.

        Outside of distorted images is `fill`. Layers named in `frozen` behave as in use: their
        running means stay, nothing is dropped. Source: Keras, `Layer.trainable`.
        """
        streams = RandomStreams(seed)
        how = Application(training=True, streams=streams)
        x = self.x if augmentation is None else augmentation(self.x, streams, fill)
        outputs = self.apply(x, how, frozen)
        cost = self.loss.cost(outputs[self.layers[-1].name], self.y)
        return Training(cost, outputs, how.updates, streams.state_updates)

    @cached_property
    def outputs(self) -> Mapping[str, Any]:
        return self.apply(self.x, Application())

    @property
    def scores(self) -> Any:
        return self.outputs[self.layers[-1].name]

    @cached_property
    def probabilities(self) -> Any:
        return self.loss.probabilities(self.scores)

    @cached_property
    def prediction(self) -> Any:
        return T.argmax(self.scores, axis=1)

    @cached_property
    def cost(self) -> Any:
        return self.loss.cost(self.scores, self.y)

    @cached_property
    def errors(self) -> Any:
        return T.mean(T.neq(self.prediction, self.y))

    def _name_layers(self) -> None:
        """Names for layers that have none: their label and a number, as conv1, conv2, dense1."""
        counts: dict[str, int] = {}
        taken = {layer.name for layer in self.layers}
        for layer in self.layers:
            while not layer.name:
                counts[layer.label] = counts.get(layer.label, 0) + 1
                name = f"{layer.label}{counts[layer.label]}"
                layer.name = "" if name in taken else name
        names = [layer.name for layer in self.layers]
        for name in names:
            if set(name) & set("/,="):  # of the names in checkpoints and of --layer-rates
                raise RunError(
                    f"model {self.name}", f"a layer named {name!r}", "no / , = in it", "rename it"
                )
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise RunError(
                f"model {self.name}", f"two layers named {twice!r}", "different names", "rename one"
            )
