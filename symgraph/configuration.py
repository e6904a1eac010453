"""`symgraph.config`: Theano's settings, read from SYMGRAPH_FLAGS, THEANO_FLAGS and .theanorc.

Only what users see reads it (default dtypes, what to do about unused inputs, the mode); the
compiler gets explicit arguments. Source: Theano, library/config.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from symgraph.errors import explain


class Flag(NamedTuple):
    default: Any
    choices: tuple[Any, ...]  # empty: any value of the default's type
    meaning: str


FLAGS: dict[str, Flag] = {
    "floatX": Flag("float64", ("float64", "float32", "float16"), "default floating dtype"),
    "device": Flag("cpu", ("cpu",), "where functions run"),
    "mode": Flag(
        "FAST_RUN", ("FAST_RUN", "FAST_COMPILE", "Mode"), "how functions are compiled by default"
    ),
    "target": Flag("cpu", ("cpu", "python"), "cpu: compiled kernels; python: interpreted ones"),
    "on_unused_input": Flag("raise", ("raise", "warn", "ignore"), "an input that nothing needs"),
    "cast_policy": Flag(
        "custom", ("custom", "numpy+floatX"), "dtype of Python numbers and of int with float32"
    ),
    "warn_float64": Flag("ignore", ("ignore", "warn", "raise"), "when a float64 variable is made"),
    "announce_compiling": Flag(True, (), "a line on stderr where compiling takes over two seconds"),
    "exception_verbosity": Flag("low", ("low", "high"), "how much of the graph errors show"),
    "compute_test_value": Flag("off", ("off", "ignore", "warn", "raise"), "accepted, not used"),
    "optimizer": Flag("fast_run", ("fast_run", "fast_compile", "None"), "as `mode`"),
    "conv.assert_shape": Flag(False, (), "accepted: declared shapes are always checked"),
}

# Theano's other flags: they may be set, and mean nothing here; so may any in these namespaces.
IGNORED = frozenset(
    "allow_gc assert_no_cpu_op base_compiledir cache_optimizations check_input check_stack_trace "
    "compiledir compiledir_format compute_test_value_opt contexts cxx cycle_detection "
    "deterministic force_device gpuarray init_gpu_device int_division linker nocleanup "
    "on_opt_error on_shape_error openmp openmp_elemwise_minsize optimizer_excluding "
    "optimizer_including optimizer_requiring optimizer_verbose pickle_test_value "
    "print_active_device print_global_stats print_test_value profile profile_memory "
    "profile_optimizer reoptimize_unpickled_function unpickle_function".split()
)
NAMESPACES = frozenset(
    "DebugMode NanGuardMode blas cmodule compile conv ctc cuda dnn experimental gcc gpu gpuarray "
    "gpuelemwise lib magma metaopt numpy nvcc optdb profiling scan tensor traceback unittests vm "
    "warn".split()
)

_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


class Settings:
    """A namespace of flags. Those of Theano that mean nothing here are accepted and kept."""

    _prefix: str
    _root: Settings
    _values: dict[str, Any]

    def __init__(self, prefix: str = "", root: Settings | None = None) -> None:
        object.__setattr__(self, "_prefix", prefix)
        object.__setattr__(self, "_root", root or self)
        if root is None:
            object.__setattr__(self, "_values", {name: f.default for name, f in FLAGS.items()})

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

    def __setattr__(self, name: str, value: Any) -> None:
        self.set(self._key(name), value)

    def set(self, key: str, value: Any) -> None:
        """Set a flag. AttributeError for an unknown one, ValueError for a value of another kind."""
        flag = FLAGS.get(key)
        namespace, dot, _ = key.partition(".")
        if flag is None and key not in IGNORED and not (dot and namespace in NAMESPACES):
            raise AttributeError(_unknown(key))
        if flag is not None:
            if isinstance(flag.default, bool) and isinstance(value, str):
                if value.lower() not in _TRUE | _FALSE:
                    raise ValueError(f"config.{key} is True or False, got {value!r}")
                value = value.lower() in _TRUE
            if flag.choices and value not in flag.choices:
                raise ValueError(
                    f"config.{key} takes one of {', '.join(map(str, flag.choices))}; got {value!r}"
                )
        self._root._values[key] = value

    @contextmanager
    def change_flags(self, **flags: Any) -> Iterator[None]:
        """Set flags for a while: as a context, or as a decorator (`theano.change_flags`)."""
        values = self._root._values
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
        rows = []
        for key, value in sorted(self._root._values.items()):
            meaning = FLAGS[key].meaning if key in FLAGS else "accepted, no meaning here"
            rows.append(f"{key:<22} {value!s:<14} {meaning}")
        return "\n".join(rows)


def _unknown(key: str) -> str:
    import difflib

    near = difflib.get_close_matches(key, [*FLAGS, *IGNORED], n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return explain(
        "config", f"symgraph.config has no flag {key!r}{hint}", expected=", ".join(FLAGS)
    )


def _read_environment(settings: Settings, warn: Callable[[str], None]) -> None:
    def assign(key: str, value: str, source: str) -> None:
        try:
            settings.set(key.strip(), value.strip())
        except (AttributeError, ValueError) as error:
            warn(f"{source}: {error}; the default stays")

    path = Path(os.environ.get("THEANORC", "~/.theanorc")).expanduser()
    if path.is_file():
        import configparser

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
