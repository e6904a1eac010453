"""Checkpoints: a model and all that resuming needs in one .npz, read without running code.

The file holds one array per variable, under its name: the parameters ("C1.W"), what layers keep
besides ("norm1.mean"), the optimiser's state ("optimizer/..."), that of random numbers
("random/0"), what preprocessing was fitted to ("preprocess/..."); and `metadata`, JSON as bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import symgraph
from lenet import models
from lenet.data.sources import write_atomically
from lenet.errors import RunError
from lenet.layers.base import times
from lenet.network import Model
from lenet.options import Options
from lenet.preprocessing import PREFIX, Preprocessing
from lenet.train.state import State

FORMAT = "lenet checkpoint 2"
_METADATA = "metadata"
_DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, MemoryError,
           zipfile.BadZipFile, zlib.error)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model in training: what was asked, on which data, how far it is, all its arrays.

    `data` is what lenet.runs.describe_data gives.
    """

    options: Options
    data: dict[str, Any]
    state: State
    arrays: dict[str, np.ndarray]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The arrays of the network itself, trained and kept, without the optimiser's."""
        return {name: array for name, array in self.arrays.items() if "/" not in name}

    @property
    def variables(self) -> dict[str, np.ndarray]:
        """The arrays of all that training changes."""
        return {name: a for name, a in self.arrays.items() if not name.startswith(PREFIX)}

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing that the model's images go through."""
        return Preprocessing.restore(self.options.preprocess, self.arrays)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        channels, height, width = map(int, self.data["image_shape"])
        return channels, height, width

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(str(name) for name in self.data["classes"])


def snapshot(
    variables: Mapping[str, Any],
    preprocessing: Preprocessing,
    options: Options,
    data: dict[str, Any],
    state: State,
) -> Checkpoint:
    """A checkpoint of shared `variables` as they are now. They are copied; `state` is not."""
    arrays = {name: variable.get_value() for name, variable in variables.items()}
    return Checkpoint(options, data, state, {**arrays, **preprocessing.arrays()})


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint`, whole or not at all. Raises DataError if `path` cannot be written."""
    metadata = {
        "format": FORMAT,
        "options": checkpoint.options.to_json(),
        "data": checkpoint.data,
        "state": checkpoint.state.to_json(),
    }
    text = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {_METADATA: text, **checkpoint.arrays}
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> Checkpoint:
    """The checkpoint in `path`. Raises RunError if there is none, or it is damaged or foreign."""
    try:
        # NumPy takes whatever is no zip file for a pickle, and says how to load that.
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        metadata = json.loads(arrays.pop(_METADATA).tobytes())
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']!r}, not {FORMAT!r}")
        checkpoint = Checkpoint(
            Options.from_json(metadata["options"]),
            dict(metadata["data"]),
            State.from_json(metadata["state"]),
            arrays,
        )
        if not (checkpoint.image_shape and checkpoint.classes):  # used later, and only then missed
            raise ValueError("no classes")
        return checkpoint
    except FileNotFoundError as error:
        raise RunError(path, "no such file", "a checkpoint", "name a run's best.npz") from error
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = f"it has no {reason}" if isinstance(error, KeyError) else reason
        raise RunError(
            path,
            f"a file that cannot be read ({reason})",
            "an undamaged checkpoint (.npz) of python -m lenet train",
            "use the run's other one of best.npz and last.npz, or train again",
        ) from error


def transfer(model: Model, checkpoint: Checkpoint, path: Path) -> None:
    """Give `model` the layers of `checkpoint`, read from `path`, but for the output.

    That is the last layer with parameters; from there on all stays as it was drawn. Raises RunError
    for images of another shape, and for layers that are not those of the checkpoint.
    """
    if model.input_shape != checkpoint.image_shape:
        raise RunError(
            path,
            f"layers for images of shape {times(checkpoint.image_shape)}",
            f"images of that shape, not {times(model.input_shape)} as the data have",
            "choose other data, bring them to that size with --size, or train anew",
        )
    last = max(i for i, layer in enumerate(model.layers) if layer.params)
    anew = {layer.name for layer in model.layers[last:]}
    variables = {**model.params, **model.states}
    restore(
        {name: v for name, v in variables.items() if _layer_of(name) not in anew},
        {name: a for name, a in checkpoint.weights.items() if _layer_of(name) not in anew},
        path,
        model.name,
    )


def build(checkpoint: Checkpoint, path: Path) -> Model:
    """The model of `checkpoint`, read from `path`, with its weights and in their dtype.

    Raises RunError if names, shapes or dtypes of the arrays are not those of the model.
    """
    weights = checkpoint.weights
    dtypes = {str(array.dtype) for array in weights.values()} or {"float32"}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        raise RunError(
            path,
            f"arrays of {', '.join(sorted(dtypes))}",
            "float32 or float64 alone",
            "use an undamaged checkpoint",
        )
    with symgraph.config.change_flags(floatX=dtypes.pop()):
        model = models.build(checkpoint.options, checkpoint.image_shape, checkpoint.classes)
    restore({**model.params, **model.states}, weights, path, model.name)
    return model


def restore(
    variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], path: Path, model: str
) -> None:
    """Give shared `variables` the values `arrays`, read from `path`, by their names.

    Raises RunError, and leaves them as they were, if names, shapes or dtypes are not theirs.
    """
    wanted = _describe({name: v.get_value(borrow=True) for name, v in variables.items()})
    got = _describe(arrays)
    if wanted != got:
        foreign, lacking = sorted(got - wanted), sorted(wanted - got)
        raise RunError(
            path,
            f"other arrays than the model's ({', '.join(foreign) or 'some lack'})",
            f"{', '.join(lacking) or 'no more than it has'}, for the model {model}",
            "use the checkpoint with the model and the options that it was trained with",
        )
    for name, variable in variables.items():
        variable.set_value(arrays[name])


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0]


def _describe(arrays: Mapping[str, np.ndarray]) -> set[str]:
    return {f"{name} {a.dtype}{list(a.shape)}" for name, a in arrays.items()}
