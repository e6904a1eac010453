"""`symgraph.config`: Theano's settings, read from SYMGRAPH_FLAGS, THEANO_FLAGS and .theanorc.

Only what users see reads it (default dtypes, what to do about unused inputs, the mode); the
compiler gets explicit arguments. Source: Theano, library/config.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Flag(NamedTuple):
    default: Any
    choices: tuple[Any, ...]  # empty: any value of the default's type
    meaning: str


FLAGS: dict[str, Flag] = {
    "floatX": Flag("float64", ("float64", "float32", "float16"), "default floating dtype"),
    "device": Flag("cpu", (), "where functions run; this version has 'cpu'"),
    "mode": Flag(
        "FAST_RUN", ("FAST_RUN", "FAST_COMPILE", "Mode"), "how functions are compiled by default"
    ),
    "target": Flag("cpu", ("cpu", "python"), "cpu: compiled kernels; python: interpreted ones"),
    "on_unused_input": Flag("raise", ("raise", "warn", "ignore"), "an input that nothing needs"),
    "cast_policy": Flag(
        "custom", ("custom", "numpy+floatX"), "dtype of Python numbers and of int with float32"
    ),
    "warn_float64": Flag("ignore", ("ignore", "warn", "raise"), "when a float64 variable is made"),
    "exception_verbosity": Flag("low", ("low", "high"), "how much of the graph errors show"),
    "compute_test_value": Flag("off", ("off", "ignore", "warn", "raise"), "accepted, not used"),
    "optimizer": Flag("fast_run", ("fast_run", "fast_compile", "None"), "as `mode`"),
    "conv.assert_shape": Flag(False, (), "accepted: declared shapes are always checked"),
}

_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


class Settings:
    """A namespace of flags; unknown names that Theano had are accepted and kept."""

    def __init__(self, prefix: str = "", root: Settings | None = None) -> None:
        object.__setattr__(self, "_prefix", prefix)
        object.__setattr__(self, "_root", root or self)
        if root is None:
            object.__setattr__(self, "_values", {name: f.default for name, f in FLAGS.items()})

    def _key(self, name: str) -> str:
        return f"{self._prefix}.{name}" if self._prefix else name  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        key = self._key(name)
        values = self._root._values  # type: ignore[attr-defined]
        if key in values:
            return values[key]
        if any(known.startswith(key + ".") for known in values) or name in _NAMESPACES:
            return Settings(key, self._root)  # type: ignore[attr-defined]
        raise AttributeError(f"symgraph.config has no flag {key!r}; it has {', '.join(FLAGS)}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.set(self._key(name), value)

    def set(self, key: str, value: Any) -> None:
        """Set a flag; ValueError if the value is not one of the flag's."""
        flag = FLAGS.get(key)
        if flag is not None:
            if isinstance(flag.default, bool) and isinstance(value, str):
                if value.lower() not in _TRUE | _FALSE:
                    raise ValueError(f"config.{key} is True or False, got {value!r}")
                value = value.lower() in _TRUE
            if flag.choices and value not in flag.choices:
                raise ValueError(
                    f"config.{key} takes one of {', '.join(map(str, flag.choices))}; got {value!r}"
                )
        self._root._values[key] = value  # type: ignore[attr-defined]

    @contextmanager
    def change_flags(self, **flags: Any) -> Iterator[None]:
        """Set flags for a while: as a context, or as a decorator (`theano.change_flags`)."""
        values = self._root._values  # type: ignore[attr-defined]
        before = dict(values)
        try:
            for key, value in flags.items():
                self.set(key.replace("__", "."), value)
            yield
        finally:
            values.clear()
            values.update(before)

    def describe(self) -> str:
        """A table of all flags, their values and meanings."""
        values = self._root._values  # type: ignore[attr-defined]
        rows = [f"{k:<22} {v!s:<14} {FLAGS[k].meaning if k in FLAGS else 'accepted, no meaning here'}"
                for k, v in sorted(values.items())]  # fmt: skip
        return "\n".join(rows)


_NAMESPACES = {"warn", "gcc", "blas", "dnn", "lib", "nvcc", "conv", "traceback", "NanGuardMode"}
_NAMESPACES |= {"DebugMode", "scan", "experimental", "tensor", "cuda", "gpuarray", "profiling"}


def _read_environment(settings: Settings, warn: Callable[[str], None]) -> None:
    def assign(key: str, value: str, source: str) -> None:
        try:
            settings.set(key.strip(), value.strip())
        except ValueError as error:
            warn(f"{source}: {error}; the default stays")

    path = Path(os.environ.get("THEANORC", "~/.theanorc")).expanduser()
    if path.is_file():
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read(path)
        except configparser.Error as error:
            warn(f"{path}: {error}")
        for section in parser.sections():
            for key, value in parser.items(section):
                assign(key if section == "global" else f"{section}.{key}", value, str(path))
    for variable in ("THEANO_FLAGS", "SYMGRAPH_FLAGS"):
        for part in os.environ.get(variable, "").split(","):
            if "=" in part:
                key, value = part.split("=", 1)
                assign(key, value, variable)
            elif part.strip():
                warn(f"{variable}: {part!r} is not of the form flag=value")


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, stacklevel=3)


config = Settings()
_read_environment(config, _warn)
change_flags = config.change_flags
