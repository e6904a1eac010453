"""What options change in any model: activations, initial weights, batch normalisation, dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lenet.errors import RunError
from lenet.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Layer,
    LeNetConvPoolLayer,
)
from lenet.layers.units import pieces_of

# The layers with weights; all but the last layer of a network are hidden.
Weighted = (Conv2D, LeNetConvPoolLayer, Dense)


def with_activation(layers: Sequence[Layer], name: str) -> list[Layer]:
    """`layers` with the activation `name` in every hidden layer that has one."""
    changed = [_activated(layer, name) for layer in layers[:-1]]
    if all(new is old for new, old in zip(changed, layers, strict=False)):
        raise _nowhere("--activation", name, "a hidden layer with an activation")
    return [*changed, layers[-1]]


def with_init(layers: Sequence[Layer], name: str) -> list[Layer]:
    """`layers` with weights drawn by the initialiser `name`, but for those declared as zeros."""
    return [
        replace(layer, init=name)
        if isinstance(layer, Weighted) and layer.init != "zeros"
        else layer
        for layer in layers
    ]


def with_batch_norm(layers: Sequence[Layer]) -> list[Layer]:
    """`layers` with batch normalisation before the activations of hidden layers with weights.

    Layers that a batch normalisation follows already stay as they are.
    """
    followers = [*layers[1:], None]
    changed: list[Layer] = []
    for layer, follower in zip(layers, followers, strict=True):
        if follower is None or isinstance(follower, BatchNormalization):
            changed.append(layer)
        else:
            changed += _normalized(layer)
    if not any(isinstance(layer, BatchNormalization) for layer in changed):
        raise _nowhere("--batch-norm", "on", "a hidden layer with weights")
    return changed


def with_dropout(layers: Sequence[Layer], rate: float) -> list[Layer]:
    """`layers` with dropout behind each hidden fully connected layer and its activation."""
    changed: list[Layer] = []
    waiting = None  # the fully connected layer whose output is not complete yet
    for layer in layers:
        if waiting is not None and not isinstance(layer, (Activation, BatchNormalization)):
            changed.append(Dropout(rate, name=waiting.name and f"{waiting.name}_dropout"))
            waiting = None
        changed.append(layer)
        if isinstance(layer, Dense):
            waiting = layer
    if len(changed) == len(layers):
        raise _nowhere("--dropout", f"{rate:g}", "a hidden fully connected layer")
    return changed


def _activated(layer: Layer, name: str) -> Layer:
    if isinstance(layer, Activation):
        return replace(layer, of=name)
    other: Any = layer
    changed: Layer = (
        replace(other, activation=name)
        if getattr(layer, "activation", "linear") != "linear"
        else layer
    )
    return changed


def _normalized(layer: Layer) -> Iterator[Layer]:
    """`layer` without its activation, and that behind a batch normalisation."""
    if not isinstance(layer, Weighted):
        yield layer
        return
    pieces, norm = pieces_of(layer.activation), layer.name and f"{layer.name}_norm"
    if isinstance(layer, Dense):
        yield replace(layer, size=layer.size * pieces, activation="linear")
    elif isinstance(layer, LeNetConvPoolLayer):
        yield replace(layer, filters=layer.filters * pieces, activation="linear")
    else:
        table = layer.table and [row for row in layer.table for _ in range(pieces)]
        yield replace(layer, filters=layer.filters * pieces, activation="linear", table=table)
    yield BatchNormalization(activation=layer.activation, name=norm)


def _nowhere(option: str, got: str, expected: str) -> RunError:
    return RunError(option, f"{got} for a model without such layers", expected, "leave it out")
