"""A network of the user's own, from a description on the command line or in a file."""

from __future__ import annotations

import re
from pathlib import Path

from lenet.errors import RunError
from lenet.layers import Dense, Layer
from lenet.models import json_layers, notation
from lenet.network import Declaration


def custom(classes: int = 10, network: str = "") -> Declaration:
    """The layers that `network` describes, with softmax.

    INPUT -> [[CONV -> activation]*N -> POOL?]*M -> [FC -> activation]*K -> FC, as text
    (lenet.models.notation) or as JSON (lenet.models.json_layers). A description that ends in a
    fully connected layer without an activation has its output; else one is added with a unit for
    each class. Raises RunError that says where something is not understood.
    """
    layers: list[Layer]
    if re.match(r"\s*(\{|\[\s*[{\]])", network):
        layers = json_layers.parse(network)
    else:
        layers = notation.parse(network, classes)
    last = layers[-1] if layers else None
    if not isinstance(last, Dense) or last.activation != "linear":
        layers.append(last := Dense(classes))
    last.name = last.name or "output"
    return Declaration(layers)


def read_network(argument: str) -> str:
    """What `--network` was given: the description itself, or what the file of that name holds.

    Raises RunError for a file that cannot be read.
    """
    path = Path(argument).expanduser()
    try:
        if path.suffix != ".json" and not path.is_file():
            return argument
    except (OSError, ValueError):  # a long description is no name of a file
        return argument
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(
            f"--network {argument}",
            reason,
            "a text file that describes a network",
            "give such a file, or the description itself",
        ) from error
