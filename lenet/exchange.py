"""Weights in files that other programs read: .npz and .safetensors, in our layout or PyTorch's.

In our layout arrays have the names and shapes of the model's variables: "C1.W". PyTorch's layout is
that of a state dict: "C1.weight" (maps, input maps, height, width), for filters that are not
flipped, "F6.weight" (units, inputs), "norm1.running_mean" and so on. In both, "preprocess/..." is
what preprocessing was fitted to. Nothing that is read is ever executed. Sources: PyTorch, Conv2d,
Linear, BatchNorm2d; the safetensors format.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.checkpoint import Checkpoint
from lenet.data.sources import write_atomically
from lenet.errors import RunError
from lenet.layers import Conv2D, Layer, LeNetConvPoolLayer
from lenet.layers.conv import filters_seen, flips
from lenet.network import Model
from lenet.preprocessing import PREFIX

Array = NDArray[Any]

FORMAT = "lenet weights 1"
LAYOUTS = ("symgraph", "pytorch")
SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")
_METADATA = "metadata"
_TORCH_NAMES = {
    "W": "weight", "b": "bias", "gamma": "weight", "beta": "bias",
    "mean": "running_mean", "variance": "running_var",
}  # fmt: skip
_COUNTER = "num_batches_tracked"  # PyTorch's, of no use without its momentum of None


@dataclass(frozen=True, eq=False)
class Weights:
    """Arrays by name, in the order of the file, and what the file says of them, text by name."""

    arrays: dict[str, Array]
    metadata: dict[str, str] = field(default_factory=dict)


# ---- files ---------------------------------------------------------------------------------------


def write(path: Path, weights: Weights) -> None:
    """Write `weights` as the suffix of `path` says, .npz or .safetensors, whole or not at all.

    Raises RunError for another suffix or without the library safetensors, DataError if `path`
    cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES[:2]:
        raise RunError(
            path, f"a name that ends in {suffix!r}", "one in .npz or .safetensors", "rename it"
        )
    if suffix == ".npz":
        text = np.frombuffer(json.dumps(weights.metadata).encode(), np.uint8)
        buffer = io.BytesIO()
        content: dict[str, Any] = {_METADATA: text, **weights.arrays}
        np.savez(buffer, **content)
        write_atomically(path, buffer.getvalue())
        return
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.arrays.items()}
    write_atomically(path, _safetensors(path).save(arrays, weights.metadata))


def read(path: Path) -> Weights:
    """The weights in an .npz, a .safetensors, or PyTorch's .pt or .pth of a state dict.

    Raises RunError for what is none of these, for a damaged file, arrays that are not of finite
    real numbers, and where the library that reads the format is missing.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise RunError(
            path,
            f"a name that ends in {suffix!r}",
            f"weights in {', '.join(SUFFIXES)}",
            "save them in one of these formats",
        )
    if not path.is_file():
        raise RunError(path, "no such file", "a file of weights", "correct the name")
    reader: Callable[[Path], Weights] = {
        ".npz": _read_npz, ".safetensors": _read_safetensors,
    }.get(suffix, _read_torch)  # fmt: skip
    try:
        weights = reader(path)
    except RunError:
        raise
    except Exception as error:  # each library has its own for a damaged file
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        raise RunError(
            path,
            f"a file that cannot be read ({reason})",
            f"arrays alone, in an undamaged {suffix} file",
            "write it again; objects that are no arrays are not read, as they could run code",
        ) from error
    if not weights.arrays:
        raise RunError(path, "no arrays", "those of a model", "save the model's state dict")
    for name, array in weights.arrays.items():
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            what = "NaN or infinity" if array.dtype.kind == "f" else f"an array of {array.dtype}"
            raise RunError(
                path,
                f"{what} in {name}",
                "finite floating-point numbers",
                "save the weights of a model that was trained well",
            )
    return weights


def _read_npz(path: Path) -> Weights:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    text = arrays.pop(_METADATA, None)
    metadata = {} if text is None else json.loads(text.tobytes())
    return _weights(arrays, metadata)


def _read_safetensors(path: Path) -> Weights:
    _safetensors(path)
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as content:
        arrays = {name: content.get_tensor(name) for name in content.keys()}
        metadata = content.metadata()
    # The format keeps no order.
    ordered = sorted(arrays, key=lambda name: [(len(p), p) for p in re.findall(r"\d+|\D+", name)])
    return _weights({name: arrays[name] for name in ordered}, metadata or {})


def _read_torch(path: Path) -> Weights:
    try:
        import torch
    except ImportError as error:
        raise RunError(
            path,
            "a file of PyTorch, without PyTorch to read it",
            ".npz or .safetensors, or an installed PyTorch",
            "pip install torch; or save the state dict by safetensors.torch.save_file",
        ) from error
    content = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return _weights({name: tensor.detach().numpy() for name, tensor in content.items()}, {})


def _weights(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> Weights:
    kept = {name: array for name, array in arrays.items() if not name.endswith(_COUNTER)}
    return Weights(kept, dict(metadata))


def _safetensors(path: Path) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise RunError(
            path,
            f"no {error.name}",
            "the library safetensors, for such files",
            "pip install 'symgraph[safetensors]', or use .npz",
        ) from error
    return safetensors.numpy


# ---- layouts -------------------------------------------------------------------------------------


def of_model(model: Model, checkpoint: Checkpoint, layout: str) -> Weights:
    """The weights of `model`, that of `checkpoint`, in one of LAYOUTS, with what they belong to."""
    arrays = {}
    for layer, key, variable in variables(model):
        value = variable.get_value()
        if layout == "pytorch":
            arrays[torch_name(layer, key)] = to_torch(layer, key, value)
        else:
            arrays[variable.name] = value
    metadata = {
        "format": FORMAT,
        "layout": layout,
        "options": json.dumps(checkpoint.options.to_json()),
        "data": json.dumps(checkpoint.data),
    }
    return Weights({**arrays, **checkpoint.preprocessing.arrays()}, metadata)


def give(model: Model, weights: Weights, path: Path) -> None:
    """Give `model` the `weights` that were read from `path`, in the layout that their names show.

    Names of our layout or of PyTorch's are taken as they are. Other names are put in our order:
    each layer gets the first arrays left, under one common name, that have its shapes. Raises
    RunError, and leaves the model as it was, if an array is missing, left over or of a wrong shape.
    """
    arrays = {k: a for k, a in weights.arrays.items() if not k.startswith(PREFIX)}
    wanted = list(variables(model))
    own = {variable.name for _, _, variable in wanted}
    theirs = {torch_name(layer, key) for layer, key, _ in wanted}
    # Some names are the same in both.
    if len(own & set(arrays)) > len(theirs & set(arrays)):
        shapes = {v.name: v.get_value(borrow=True).shape for _, _, v in wanted}
        _check(path, model.name, shapes, arrays)
        values = [arrays[v.name] for _, _, v in wanted]
    else:
        shapes = {
            torch_name(layer, key): to_torch(layer, key, v.get_value(borrow=True)).shape
            for layer, key, v in wanted
        }
        if not theirs & set(arrays):
            arrays = _in_our_names(shapes, arrays)
        _check(path, model.name, shapes, arrays)
        values = [
            from_torch(layer, key, arrays[torch_name(layer, key)], path) for layer, key, _ in wanted
        ]
    for (_, _, variable), value in zip(wanted, values, strict=True):
        variable.set_value(np.ascontiguousarray(value, dtype=variable.dtype))


def variables(model: Model) -> list[tuple[Layer, str, Any]]:
    """The variables of a model in order: layer, short name, shared variable."""
    return [
        (layer, key, variable)
        for layer in model.layers
        for key, variable in [*layer.params.items(), *layer.states.items()]
    ]


def torch_name(layer: Layer, key: str) -> str:
    """The name of a variable in a state dict: C1.weight."""
    return f"{layer.name}.{_TORCH_NAMES.get(key, key)}"


def to_torch(layer: Layer, key: str, value: Array) -> Array:
    """The value of a layer's variable as PyTorch has it; a table's missing filters are zeros."""
    if key != "W":
        return value
    if value.ndim == 2:
        return value.T
    return filters_seen(layer, value) if isinstance(layer, (Conv2D, LeNetConvPoolLayer)) else value


def from_torch(layer: Layer, key: str, value: Array, path: Path) -> Array:
    """What `to_torch` made, back; RunError for filters between maps that are not connected."""
    if key != "W":
        return value
    if value.ndim == 2:
        return value.T
    value = value[:, :, ::-1, ::-1] if flips(layer) else value
    if isinstance(layer, Conv2D) and layer.table is not None:
        rows, columns = layer.pairs
        others = np.ones(value.shape[:2], bool)
        others[rows, columns] = False
        if value[others].any():
            raise RunError(
                path,
                f"filters in {torch_name(layer, key)} between maps that are not connected",
                f"zeros there, where the table of {layer.name} has no connection",
                "import it into a model that is fully connected there",
            )
        value = value[rows, columns]
    return value


def _in_our_names(
    shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """Arrays of foreign names under those of `shapes`: layer by layer, in order, what fits."""
    ours, theirs = _layers(shapes), _layers(arrays)
    named: dict[str, Array] = {}
    for layer, keys in ours.items():
        for other, their_keys in theirs.items():
            fits = sorted(keys) == sorted(their_keys) and all(
                arrays[f"{other}.{key}"].shape == shapes[f"{layer}.{key}"] for key in keys
            )
            if fits:
                named |= {f"{layer}.{key}": arrays[f"{other}.{key}"] for key in keys}
                del theirs[other]
                break
    return {
        **named,
        **{f"{other}.{key}": arrays[f"{other}.{key}"] for other in theirs for key in theirs[other]},
    }


def _layers(names: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names such as conv1.weight by their first parts, in order."""
    found: dict[str, list[str]] = {}
    for name in names:
        layer, _, key = name.rpartition(".")
        found.setdefault(layer, []).append(key)
    return found


def _check(
    path: Path, model: str, shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Array]
) -> None:
    """Raise RunError about the first array that is missing, wrong or too much."""
    left = [f"{name} {list(a.shape)}" for name, a in arrays.items() if name not in shapes]
    cure = "name the model that the weights are of, with its options"
    for name, shape in shapes.items():
        if name not in arrays:
            got = f"instead {', '.join(left)}" if left else "nothing in its place"
            raise RunError(
                path, f"no {name}; {got}", f"{name} {list(shape)}, for the model {model}", cure
            )
        if arrays[name].shape != shape:
            raise RunError(
                path,
                f"{name} {list(arrays[name].shape)}",
                f"{name} {list(shape)}, for the model {model}",
                cure,
            )
    if left:
        raise RunError(path, f"also {', '.join(left)}", f"no more than {model} has", cure)
