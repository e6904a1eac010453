"""Runs to look into, for the tests of pictures: written without training, so in no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import symgraph
from lenet import checkpoint as checkpoints
from lenet import data, models, runs
from lenet.data import Dataset
from lenet.gradient_check import scatter
from lenet.options import Options
from lenet.preprocessing import Preprocessing
from lenet.train import Round, State

HISTORY = [
    Round(20 * e, float(e), 0.1, 2.0 / e, 2.1 / e, 0.5 / e, 0.6 / e, 3.0, 2.5) for e in (1, 2, 3)
]


def write_run(folder: Path, history: Sequence[Round] = HISTORY, **options: object) -> Path:
    """The folder of a run of `options`, its weights as drawn, no layer of it silent."""
    asked = Options.of(**{"source": "sample", **options})
    dataset = data.load(asked.data, asked.source)
    with symgraph.config.change_flags(floatX="float32"):
        model = models.build(asked, dataset.image_shape, dataset.classes)
    scatter(model)
    preprocessing = Preprocessing.parse(asked.preprocess)
    preprocessing.fit(dataset.train.images[:200])
    state = State(iteration=60, history=list(history))
    if history:
        state = replace(state, best_validation_error=history[-1].validation_error, best_epoch=3.0)
    checkpoint = checkpoints.snapshot(
        {**model.params, **model.states}, preprocessing, asked, runs.describe_data(dataset), state
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (runs.BEST, runs.LAST):
        checkpoints.save(folder / name, checkpoint)
    return folder


def colour_data(path: Path) -> Path:
    """An .npz of 3x12x12 images in three classes, whose names want escaping and room."""
    rng = np.random.default_rng(0)
    names = np.array(["<b>left</b>", "a rather long name", "right & wrong"])
    np.savez(
        path,
        x_train=rng.integers(0, 256, (60, 3, 12, 12), np.uint8), y_train=names[np.arange(60) % 3],
        x_test=rng.integers(0, 256, (30, 3, 12, 12), np.uint8), y_test=names[np.arange(30) % 3],
    )  # fmt: skip
    return path


def small(dataset: Dataset) -> Dataset:
    """`dataset` with 60 test images."""
    images, labels = dataset.test
    return replace(dataset, test=type(dataset.test)(images[:60], labels[:60]))
