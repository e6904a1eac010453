"""Checkpoints: parameters and all that resuming needs in one .npz, read without running code.

The file holds one array per parameter, under its name, and `metadata`, JSON as bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenet.data.sources import write_atomically
from lenet.errors import RunError
from lenet.models import Model
from lenet.options import Options
from lenet.train import State

FORMAT = "lenet checkpoint 1"
_METADATA = "metadata"
_DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, MemoryError,
           zipfile.BadZipFile, zlib.error)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model in training: what was asked, on which data, how far it is, its parameters."""

    options: Options
    data: dict[str, Any]
    state: State
    parameters: dict[str, np.ndarray]


def snapshot(model: Model, options: Options, data: dict[str, Any], state: State) -> Checkpoint:
    """A checkpoint of `model` as it is now. The parameters are copied; `state` is not."""
    return Checkpoint(options, data, state, {p.name: p.get_value() for p in model.params})


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
    arrays: dict[str, Any] = {_METADATA: text, **checkpoint.parameters}
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> Checkpoint:
    """The checkpoint in `path`. Raises RunError if there is none, or it is damaged or foreign."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        metadata = json.loads(arrays.pop(_METADATA).tobytes())
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']!r}")
        return Checkpoint(
            Options.from_json(metadata["options"]),
            dict(metadata["data"]),
            State.from_json(metadata["state"]),
            arrays,
        )
    except FileNotFoundError as error:
        raise RunError(path, "no such file", "a checkpoint", "name a run's best.npz") from error
    except (*_DAMAGE, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            path,
            f"a file that cannot be read ({reason})",
            "an undamaged checkpoint (.npz) of python -m lenet train",
            "use the run's other one of best.npz and last.npz, or train again",
        ) from error


def restore(model: Model, checkpoint: Checkpoint, path: Path) -> None:
    """Give `model` the parameters of `checkpoint`, read from `path`.

    Raises RunError, and leaves the model as it was, if names, shapes or dtypes are not the model's.
    """
    wanted = {p.name: p.get_value(borrow=True) for p in model.params}
    if _describe(wanted) != _describe(checkpoint.parameters):
        raise RunError(
            path,
            f"parameters {_describe(checkpoint.parameters)}",
            f"{_describe(wanted)}, those of the model {model.name!r}",
            "use the checkpoint with the model and the options that it was trained with",
        )
    for p in model.params:
        p.set_value(checkpoint.parameters[p.name])


def _describe(arrays: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{k} {a.dtype}{list(a.shape)}" for k, a in sorted(arrays.items()))
