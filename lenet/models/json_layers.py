"""Networks as JSON: a list of objects, each a layer's class and its fields.

[{"layer": "Conv2D", "filters": 6, "size": 5, "activation": "relu"}, {"layer": "Pool2D"}]
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Sequence
from typing import Any

from lenet import layers as _layers
from lenet.errors import RunError
from lenet.layers import Layer

KINDS: dict[str, type[Layer]] = {
    name: getattr(_layers, name)
    for name in _layers.__all__
    if name not in ("Application", "Layer", "Shape")
}
_CURE = 'write a list as [{"layer": "Conv2D", "filters": 6, "size": 5}, {"layer": "Pool2D"}]'


def parse(text: str) -> list[Layer]:
    """The layers of the JSON list `text`, not built yet.

    Raises RunError for bad JSON, and for layers, keys and values that there are not.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError("--network", f"bad JSON: {error}", "a JSON list of layers", _CURE) from error
    if not isinstance(entries, list):
        raise RunError("--network", f"JSON of {_shown(entries)}", "a list of layers", _CURE)
    return [_layer(entry, f"--network, layer {i}") for i, entry in enumerate(entries, 1)]


def _layer(entry: Any, where: str) -> Layer:
    if not isinstance(entry, dict):
        raise RunError(where, _shown(entry), "an object with the key 'layer'", _CURE)
    given = dict(entry)
    kind = given.pop("layer", None)
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(KINDS)
        got = f'"layer": {_shown(kind)}' if "layer" in entry else "no key 'layer'"
        raise RunError(where, got, f"one of {known}", "use one of these")
    where = f"{where}, {kind}"
    cls = KINDS[kind]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = _hints(cls)
    for key in given:
        if key not in fields:
            raise RunError(
                where, f"the key {key!r}", f"keys {', '.join(fields)}", "correct the key"
            )
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in given:
            raise RunError(where, f"no {name!r}", f"the key {name!r}", "add it with its value")
    values = {key: _value(hints[key], raw, f"{where}, {key!r}") for key, raw in given.items()}
    return cls(**values)


def _hints(cls: type[Layer]) -> dict[str, Any]:
    """The types of the fields of `cls`."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        # Python 3.10 stumbles over `_: KW_ONLY`.
        own = {k: v for k, v in vars(base).get("__annotations__", {}).items() if k != "_"}
        hints |= typing.get_type_hints(
            type("Fields", (), {"__annotations__": own, "__module__": base.__module__})
        )
    return hints


def _value(hint: Any, raw: Any, where: str) -> Any:
    """`raw` as a value of the type `hint`; RunError if it is none."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        kind = typing.get_origin(option) or option
        if kind is float:
            if type(raw) in (int, float) and math.isfinite(raw):
                return float(raw)
        elif kind is tuple:
            if _are_whole(raw) and len(raw) == 2:
                return tuple(raw)
        elif kind is Sequence:
            if isinstance(raw, list) and all(map(_are_whole, raw)):
                return tuple(map(tuple, raw))
        elif type(raw) is kind:
            return raw
    words = " or ".join(_WORDS[typing.get_origin(option) or option] for option in options)
    raise RunError(where, _shown(raw), words, "give such a value")


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    bool: "true or false",
    type(None): "null",
    tuple: "a list of two whole numbers",
    Sequence: "a list of lists of whole numbers",
}


def _are_whole(raw: Any) -> bool:
    return isinstance(raw, list) and all(type(n) is int for n in raw)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
