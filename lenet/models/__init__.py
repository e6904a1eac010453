"""The models by name, each with the recipe that trains it best, and `build`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet.errors import RunError
from lenet.models import changes
from lenet.models.custom import custom, read_network
from lenet.models.keras import keras
from lenet.models.lenet5 import lenet5
from lenet.models.numpy import numpy
from lenet.models.pytorch import pytorch
from lenet.models.tutorial import tutorial
from lenet.network import Declaration, Model

if TYPE_CHECKING:
    from lenet.options import Options

__all__ = ["MODELS", "Entry", "Model", "build", "declare", "read_network"]


@dataclass(frozen=True)
class Entry:
    """A model: the function that declares it, and the options of training that are its own."""

    declare: Callable[..., Declaration]
    recipe: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The first paragraph of what the function says of itself."""
        return " ".join((inspect.getdoc(self.declare) or "").split("\n\n")[0].split())


MODELS: dict[str, Entry] = {
    "tutorial": Entry(tutorial, {
        "epochs": 200, "batch_size": 500, "optimizer": "sgd", "learning_rate": 0.1,
        "patience": "tutorial", "seed": 23455,
    }),
    "lenet5": Entry(lenet5, {
        "epochs": 20, "batch_size": 20, "optimizer": "momentum", "learning_rate": 0.002,
        "schedule": "exponential:0.85", "l2": 4e-3, "validation": 0.1, "shuffle": True,
    }),
    "keras": Entry(keras, {
        "epochs": 5, "batch_size": 64, "optimizer": "adam", "learning_rate": 1e-3,
        "validation": 0.1, "shuffle": True, "preprocess": "normalize",
    }),
    "pytorch": Entry(pytorch, {
        "epochs": 15, "batch_size": 256, "optimizer": "adam", "learning_rate": 2e-3,
        "shuffle": True,
    }),
    "numpy": Entry(numpy, {
        "epochs": 10, "batch_size": 64, "optimizer": "momentum", "learning_rate": 0.05,
        "schedule": "exponential:0.8", "l2": 1e-4, "shuffle": True,
    }),
    "custom": Entry(custom, {
        "network": "[conv 16 3 same, norm, relu, max 2]*2, fc 128, relu, dropout 0.5",
        "epochs": 10, "batch_size": 64, "optimizer": "adam", "learning_rate": 1e-3,
        "shuffle": True,
    }),
}  # fmt: skip

# Options that only some models take, as arguments of their functions.
TAKEN = ("nkerns", "hidden", "padding", "network")


def declare(options: Options, classes: int) -> Declaration:
    """The model that `options` ask for, for so many classes; RunError for what it does not take."""
    entry = MODELS[options.model]
    accepted = inspect.signature(entry.declare).parameters
    given = {name: getattr(options, name) for name in TAKEN if getattr(options, name) is not None}
    for name in given:
        if name not in accepted:
            takes = [f"--{other}" for other in TAKEN if other in accepted]
            raise RunError(
                f"--{name}",
                f"{given[name]} for the model {options.model}",
                f"{' '.join(takes) or 'none of these'}: the model has no other such options",
                "leave it out, or choose another --model",
            )
    declaration = entry.declare(classes=classes, **given)
    layers = list(declaration.layers)
    if options.activation is not None:
        layers = changes.with_activation(layers, options.activation)
    if options.init is not None:
        layers = changes.with_init(layers, options.init)
    if options.batch_norm:
        layers = changes.with_batch_norm(layers)
    if options.dropout:
        layers = changes.with_dropout(layers, options.dropout)
    return replace(declaration, layers=layers)


def build(options: Options, input_shape: tuple[int, int, int], classes: Sequence[str]) -> Model:
    """The model that `options` ask for, its parameters drawn from their seed.

    Raises RunError for sizes that do not fit.
    """
    declaration = declare(options, len(classes))
    rng = np.random.RandomState(options.seed)
    return Model(options.model, declaration, rng, input_shape, classes)
