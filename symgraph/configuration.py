"""`symgraph.config`: Theano's settings, read from SYMGRAPH_FLAGS, THEANO_FLAGS and .theanorc.

Only what users see reads it (default dtypes, what to do about unused inputs, the mode); the
compiler gets explicit arguments. Source: Theano, library/config.
"""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from symgraph.errors import explain
from symgraph.flags import ACCEPTED, DEVICES, FLAGS, NAMESPACES, Flag

_ALL = FLAGS | ACCEPTED
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}
_GPUS = ("cuda", "gpu", "opencl")


class Settings:
    """A namespace of flags. Those of Theano that mean nothing here are accepted and kept."""

    __slots__ = ("_prefix", "_root", "_values")
    _prefix: str
    _root: Settings
    _values: dict[str, Any]

    def __init__(self, prefix: str = "", root: Settings | None = None) -> None:
        object.__setattr__(self, "_prefix", prefix)
        object.__setattr__(self, "_root", root or self)
        if root is None:
            object.__setattr__(self, "_values", {name: f.default for name, f in _ALL.items()})

    def _key(self, name: str) -> str:
        return f"{self._prefix}.{name}" if self._prefix else name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        key = self._key(name)
        values = self._root._values
        if key in values:
            return values[key]
        if key in NAMESPACES:
            return Settings(key, self._root)
        raise AttributeError(_unknown(key))

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """The flags of this namespace: what `vars` and `dir` show, and what pytest's monkeypatch
        and `mock.patch` read to put a value back."""
        start = self._prefix and f"{self._prefix}."
        names = {k.removeprefix(start).partition(".")[0]: None for k in self._root._values
                 if k.startswith(start)}  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def __reduce__(self) -> Any:  # copies and pickles of the settings are the settings
        return (getattr, (self._root, self._prefix)) if self._prefix else "config"

    def __setattr__(self, name: str, value: Any) -> None:
        """As `set`. `config.device = 'cuda'` raises NoGPU (RuntimeError) where there is none; the
        same in SYMGRAPH_FLAGS or `change_flags` waits for the first function."""
        key = self._key(name)
        if key == "device" and DEVICES.get(str(value)) == "cuda":
            from symgraph.compile.cuda.device import current

            current()
        self.set(key, value)

    def set(self, key: str, value: Any) -> None:
        """Set a flag; a string is read as the flag's type.

        AttributeError for an unknown flag, ValueError for a value of another kind. In a namespace
        of Theano's, as in `config.warn`, any flag may be set.
        """
        flag = _ALL.get(key)
        if flag is None and key.rpartition(".")[0] not in NAMESPACES:
            raise AttributeError(_unknown(key))
        self._root._values[key] = value if flag is None else _checked(key, flag, value)

    @contextmanager
    def change_flags(self, args: Any = (), **flags: Any) -> Iterator[None]:
        """Set flags for a while: as a context, or as a decorator (`theano.change_flags`).

        Flags with a dot in their name are given in a dict, or with `__` in place of the dot.
        """
        given = {**dict(args), **{key.replace("__", "."): value for key, value in flags.items()}}
        values = self._root._values
        before = {key: values[key] for key in given if key in values}
        try:
            for key, value in given.items():
                self.set(key, value)
            yield
        finally:
            for key in given:
                values.pop(key, None)
            values.update(before)

    def describe(self) -> str:
        """A table of all flags that mean something, their values and meanings; then those of
        Theano's other flags that were set, and the names of the rest, which may be."""
        values = self._root._values
        chosen = sorted(k for k in values if k not in FLAGS and values[k] != _default(k))
        rows = [
            f"{key:<26} {_shown(values[key]):<14} {_ALL.get(key, _NOTHING).meaning}"
            for key in (*sorted(FLAGS), *chosen)
        ]
        rest = ", ".join(sorted(ACCEPTED.keys() - set(chosen)))
        rows += ["", "Accepted, without meaning here:"]
        rows += textwrap.wrap(rest, 99, break_on_hyphens=False, break_long_words=False)
        return "\n".join(rows)

    def __str__(self) -> str:
        return self._root.describe()


_NOTHING = Flag(None)


def _default(key: str) -> Any:
    return ACCEPTED.get(key, _NOTHING).default


def _shown(value: Any) -> str:
    return repr(value) if value == "" else str(value)


def _checked(key: str, flag: Flag, value: Any) -> Any:
    """`value` in the flag's type; ValueError if it has none."""
    if isinstance(value, str) and value in flag.also:
        return value
    kind = type(flag.default)
    new: Any
    if value is None and kind is str:
        value = "None"
    try:
        if kind is bool:
            new = _BOOLEANS[str(value).lower()]
        elif kind is str:
            new = str(value) if isinstance(value, (str, os.PathLike, bool)) else None
        else:
            new = kind(value)
    except (KeyError, TypeError, ValueError):
        new = None
    if new is None:
        raise ValueError(
            explain("config", f"config.{key} is {_KINDS[kind]}, got {value!r}",
                    got=type(value).__name__, expected=_KINDS[kind])
        )  # fmt: skip
    if flag.choices and new not in flag.choices:
        cure = ""
        if key == "device" and new.startswith(_GPUS):
            cure = "use cuda for the first GPU; CUDA_VISIBLE_DEVICES says which one that is"
        raise ValueError(
            explain("config", f"config.{key} takes one of {', '.join(flag.choices)}; got {new!r}",
                    cure=cure)
        )  # fmt: skip
    return new


def _unknown(key: str) -> str:
    import difflib

    near = difflib.get_close_matches(key, _ALL, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return explain(
        "config", f"symgraph.config has no flag {key!r}{hint}", expected=", ".join(FLAGS)
    )


def _read_environment(settings: Settings, warn: Callable[[str], None]) -> None:
    """Set what `.theanorc` says (or the files in THEANORC), then THEANO_FLAGS, SYMGRAPH_FLAGS."""
    refused: dict[str, str] = {}

    def assign(key: str, value: str, source: str) -> None:
        refused.pop(key, None)
        try:
            settings.set(key, value)
        except (AttributeError, ValueError) as error:
            refused[key] = f"{source}: {error}; the default stays"

    paths = os.environ.get("THEANORC", "~/.theanorc").split(os.pathsep)
    for path in (Path(p).expanduser() for p in paths if p):
        if path.is_file():
            for key, value in _read_file(path, warn).items():
                assign(key, value, str(path))
    for variable in ("THEANO_FLAGS", "SYMGRAPH_FLAGS"):
        for part in _parts(os.environ.get(variable, "")):
            key, equals, value = part.partition("=")
            if equals:
                assign(key.strip(), value.strip(), variable)
            else:
                warn(f"{variable}: {part!r} is not of the form flag=value")
    if settings.force_device and "device" in refused:
        raise ValueError(f"{refused['device']}, but force_device is set")
    for text in refused.values():
        warn(text)


def _parts(text: str) -> list[str]:
    """`text` cut at its commas, but for those within quotes."""
    splitter = shlex.shlex(text, posix=True, punctuation_chars=False)
    splitter.whitespace = ","
    splitter.whitespace_split = True
    splitter.commenters = ""
    return [part.strip() for part in splitter if part.strip()]


def _read_file(path: Path, warn: Callable[[str], None]) -> Mapping[str, str]:
    """The flags of a file: those in its section `global`, and `section.name` of the others."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as error:
        warn(f"{path}: {error}")
    return {
        key if section == "global" else f"{section}.{key}": value.strip()
        for section in parser.sections()
        for key, value in parser.items(section)
    }


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, stacklevel=3)


config = Settings()
_read_environment(config, _warn)
change_flags = config.change_flags
