"""Answers of a trained model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import symgraph
from lenet import checkpoint as checkpoints
from lenet.inside import Inspector

BATCH = 500


class Classifier:
    """The model of the checkpoint at `path`, ready to answer; RunError as checkpoint.load does.

    Images are uint8 (n, channels, height, width), 0 to 255, as the data sets have them: ink is 255
    on a background of 0 for MNIST. They go through the preprocessing of the model's training.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = checkpoints.load(path)
        self.model = checkpoints.build(self.checkpoint, path)
        self.preprocessing = self.checkpoint.preprocessing

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.model.classes

    def inputs(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """What the model gets of `images`: `model.x` in its dtype, of the same shape."""
        return self.preprocessing.apply(images).astype(self.model.x.dtype, copy=False)

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Probabilities (n, classes)."""
        parts = [
            self._predict(self.inputs(images[i : i + BATCH])) for i in range(0, len(images), BATCH)
        ]
        return np.concatenate(parts or [np.zeros((0, len(self.classes)), self.model.x.dtype)])

    def judge(
        self, images: NDArray[np.uint8], labels: NDArray[np.int32]
    ) -> tuple[float, NDArray[Any]]:
        """The mean cost of images, one at least, with labels (n,); probabilities (n, classes)."""
        total, parts = 0.0, []
        for i in range(0, len(images), BATCH):
            part = slice(i, i + BATCH)
            cost, probabilities = self._judge(self.inputs(images[part]), labels[part])
            total += float(cost) * len(probabilities)
            parts.append(probabilities)
        return total / len(images), np.concatenate(parts)

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The output of every layer, (n, *its shape), by the layers' names."""
        return self.inspector.outputs(self.inputs(images))

    @cached_property
    def inspector(self) -> Inspector:
        """What looks into the model."""
        return Inspector(self.model)

    @cached_property
    def _predict(self) -> Any:
        return symgraph.function([self.model.x], self.model.probabilities, name="predict")

    @cached_property
    def _judge(self) -> Any:
        model = self.model
        return symgraph.function(
            [model.x, model.y], [model.cost, model.probabilities], name="judge"
        )
