"""Small things to train, for the tests of training: the shipped digits, a narrow network."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

import symgraph
from lenet import data, models
from lenet.data import Dataset, Split
from lenet.models import Model
from lenet.options import Options
from lenet.train import Functions, Round, State, compile_functions

SMALL = Options.of(
    model="tutorial", source="sample", epochs=3, batch_size=50, nkerns=(2, 3), hidden=20,
    patience="none",
)  # fmt: skip


@lru_cache(maxsize=1)
def small_dataset() -> Dataset:
    """The first 420 digits of the shipped sample to train with, 130 and 90 to judge by."""
    sample = data.load(source="sample")
    train, valid, test = (
        Split(part.images[:count], part.labels[:count])
        for part, count in ((sample.train, 420), (sample.valid, 130), (sample.test, 90))
    )
    return replace(sample, train=train, valid=valid, test=test)


def lively_model(options: Options) -> Model:
    """The model of `options`, float32, without zeros for weights: every gradient says something."""
    dataset = small_dataset()
    with symgraph.config.change_flags(floatX="float32"):
        model = models.build(options, dataset.image_shape, dataset.classes)
    rng = np.random.RandomState(2)
    for name, p in model.params.items():
        value = p.get_value()
        if name.endswith(".W") and not value.any():
            p.set_value(rng.uniform(-0.3, 0.3, value.shape).astype(value.dtype))
    return model


def compiled(options: Options) -> tuple[Model, Functions]:
    """The model of `options` and the functions that train it on the small data set."""
    model = lively_model(options)
    with symgraph.config.change_flags(floatX="float32"):
        return model, compile_functions(model, small_dataset(), options)


def numbers(state: State) -> list[tuple[object, ...]]:
    """The history without its times."""
    times = {"seconds", "training_seconds"}
    return [
        tuple(value for name, value in zip(Round._fields, entry, strict=True) if name not in times)
        for entry in state.history
    ]
