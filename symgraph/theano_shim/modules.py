"""The modules of the alias, and the finder that makes them when they are imported."""

from __future__ import annotations

import importlib
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from symgraph.theano_shim.absent import advice
from symgraph.theano_shim.table import MODULES, NAMES, VALUES

_MISSING = object()


class TheanoModule(types.ModuleType):
    """A module of Theano's name, whose attributes are symgraph's."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return public_names(self.__name__)
        full = f"{self.__name__}.{name}"
        found = lookup(full)
        if found is not _MISSING:
            return found
        # Python itself asks every module for names like this: no advice, and no time lost
        raise AttributeError(full if name.startswith("__") else advice(full))

    def __setattr__(self, name: str, value: Any) -> None:
        """Importing a submodule binds its name here, where it may be that of a function too."""
        if not isinstance(value, TheanoModule):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *public_names(self.__name__)})

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}: symgraph under Theano's name>"


def lookup(full: str) -> Any:
    """What the Theano name `full` means, or `_MISSING`."""
    if full in VALUES:
        return VALUES[full]
    if full in NAMES:
        return _attribute(*NAMES[full])
    if full in MODULES:
        return importlib.import_module(full)
    module, _, name = full.rpartition(".")
    if name.startswith("__"):
        return _MISSING
    for source in MODULES.get(module, ()):
        found = _attribute(source, name)
        if found is not _MISSING and not isinstance(found, types.ModuleType):
            return found
    return _MISSING


def is_provided(full: str) -> bool:
    """Whether the Theano name `full`, of a module or of something in one, means something here."""
    return full in MODULES or lookup(full) is not _MISSING


def public_names(module: str) -> list[str]:
    """The names that `module` has: those of symgraph's modules behind it, and those of its own."""
    names = {full.rpartition(".")[2] for full in (*VALUES, *NAMES, *MODULES)
             if full.rpartition(".")[0] == module}  # fmt: skip
    for source in MODULES[module]:
        for name, value in vars(importlib.import_module(source)).items():
            home = getattr(value, "__module__", None) or "symgraph"
            foreign = isinstance(value, types.ModuleType) or home.split(".")[0] != "symgraph"
            if not name.startswith("_") and not foreign:
                names.add(name)
    return sorted(names)


def _attribute(source: str, name: str) -> Any:
    return getattr(importlib.import_module(source), name, _MISSING)


class _Finder(MetaPathFinder, Loader):
    """Finds `theano` and all below it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        if fullname != "theano" and not fullname.startswith("theano."):
            return None
        if fullname not in MODULES:
            # without a name of its own, so that `from theano.tensor import name` shows this text
            raise ModuleNotFoundError(advice(fullname))
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return TheanoModule(spec.name, f"symgraph under the name of {spec.name}.")

    def exec_module(self, module: types.ModuleType) -> None:
        """The attributes are looked up when they are asked for."""


FINDER = _Finder()
