"""The folder of a run: where it is, what is in it, and that nothing in it is ever half-written.

result.json    what was trained on what, and how well it went; errors in per cent
metrics.csv    a row per epoch, see lenet.train.callbacks.CSVLogger
best.npz       the checkpoint with the lowest validation error, last.npz the latest
curve.png, graph.png, filters.png
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import symgraph
from lenet import device
from lenet.data import DataError, Dataset
from lenet.data.sources import check_writable, write_atomically
from lenet.errors import RunError
from lenet.network import Model
from lenet.options import Options
from lenet.train.state import State

ROOT = Path("runs")
BEST, LAST, RESULT, METRICS = "best.npz", "last.npz", "result.json", "metrics.csv"


def create(out: str | os.PathLike[str] | None = None) -> Path:
    """A folder for a new run: `out`, else runs/ and the time in UTC. Made, and found writable.

    Raises RunError if it holds a run already, DataError if it cannot be made or written.
    """
    if out is None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        check_writable(ROOT)
        for number in range(1, 1000):
            folder = ROOT / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    folder = Path(out or ROOT).expanduser()
    taken = [name for name in (BEST, LAST, RESULT, METRICS) if (folder / name).exists()]
    if taken:
        raise RunError(
            folder,
            f"a folder that holds a run ({', '.join(taken)})",
            "a new folder",
            f"go on with that run: --resume {folder}; or name another folder, or delete this one",
        )
    check_writable(folder)
    return folder


def find_checkpoint(
    run: str | os.PathLike[str] | None, names: tuple[str, ...] = (BEST, LAST)
) -> Path:
    """The checkpoint of `run`: a file itself, or the first of `names` in the folder.

    None is the run in runs/ that was trained last. Raises RunError if there is none.
    """
    if run is None:
        # Folders get younger when a report is written into them; checkpoints do not.
        paths = (path for name in names for path in ROOT.glob(f"*/{name}") if path.is_file())
        found = {path.parent: path for path in paths}
        if not found:
            raise RunError(
                ROOT,
                "no trained model",
                "a run folder in it",
                "train one: python -m lenet train --epochs 1; or name its folder",
            )
        run = max(found, key=lambda folder: (found[folder].stat().st_mtime_ns, folder.name))
    path = Path(run).expanduser()
    if path.is_file():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    got = "a folder without them" if path.is_dir() else "nothing there"
    raise RunError(path, got, " or ".join(names), "name the folder of a run, or a checkpoint")


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Around work on a run: at its end nothing half-written is left, nor an empty folder."""
    tidy(folder)
    try:
        yield
    finally:
        tidy(folder)
        if not any(folder.iterdir()):
            folder.rmdir()


def tidy(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote."""
    for name in (BEST, LAST, RESULT, METRICS):
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def save_result(
    folder: Path,
    model: Model,
    options: Options,
    data: dict[str, Any],
    state: State,
    ended: str,
    compile_seconds: float,
) -> None:
    """Write result.json. `ended` is why training stopped: "epochs", "patience", "interrupted"."""
    history = state.history
    training_seconds = sum(entry.training_seconds for entry in history)
    steps = history[-1].iteration if history else 0
    gpu = device.gpu()
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "output_shape": list(layer.output_shape),
            "parameters": layer.parameters,
        }
        for layer in model.layers
    ]
    result = {
        "model": {"name": model.name, "parameters": model.parameters, "layers": layers},
        "data": data,
        "ended": ended,
        "epochs": state.epoch,
        "steps": state.iteration,
        "best_epoch": state.best_epoch,
        "best_validation_error": _percent(state.best_validation_error) if history else None,
        "test_error": _percent(state.test_error) if history else None,
        "error_unit": "percent",
        "seconds": round(sum(entry.seconds for entry in history), 3),
        "steps_per_second": round(steps / training_seconds, 3) if training_seconds else None,
        "compile_seconds": round(compile_seconds, 3),
        "versions": versions(),
        "machine": {
            "cpu": platform.machine(),
            "cores": os.cpu_count(),
            "device": f"cuda: {gpu}" if gpu else "cpu",
            "system": platform.system(),
        },
        "options": options.to_json(),
    }
    text = json.dumps(result, indent=2, allow_nan=False)
    write_atomically(folder / RESULT, f"{text}\n".encode())


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """What a run records of its data: name, source, sizes, and a digest of all of it."""
    digest = hashlib.sha256()
    for part in (dataset.train, dataset.valid, dataset.test):
        for array in part:
            digest.update(np.ascontiguousarray(array).data)
    return {
        "name": dataset.name,
        "source": dataset.source,
        "image_shape": list(dataset.image_shape),
        "classes": list(dataset.classes),
        "is_sample": dataset.is_sample,
        "verified": dataset.verified,
        "train": len(dataset.train.labels),
        "valid": len(dataset.valid.labels),
        "test": len(dataset.test.labels),
        "sha256": digest.hexdigest(),
    }


def check_same_data(now: dict[str, Any], then: dict[str, Any]) -> None:
    """Raise DataError unless a resumed run gets the data that it was started with."""
    if now["sha256"] != then.get("sha256"):
        raise DataError(
            "--resume",
            f"other data ({now['name']} from {now['source']}, {now['train']} to train)",
            f"those the run was started with ({then.get('name')} from {then.get('source')}, "
            f"{then.get('train')} to train)",
            "name their place with --source or --root",
        )


def versions() -> dict[str, str]:
    """The versions of what results may depend on."""
    return {
        "symgraph": symgraph.__version__,
        "numba": version("numba"),
        "numpy": version("numpy"),
        "python": platform.python_version(),
    }


def _percent(share: float) -> float:
    return round(100 * share, 6)
