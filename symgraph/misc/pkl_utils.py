"""Models as zip files: arrays as `.npy` entries that NumPy can read alone, the rest pickled.

Source: Theano, library/misc/pkl_utils.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count
from typing import IO, Any

import numpy as np

from symgraph.errors import Trace, explain
from symgraph.graph import Scratchpad
from symgraph.sharedvalue import SharedVariable

__all__ = [
    "CompatUnpickler",
    "PersistentNdarrayID",
    "PersistentNdarrayLoad",
    "PersistentSharedVariableID",
    "StripPickler",
    "dump",
    "load",
]

_PICKLE = "pkl"  # the entry that holds all but arrays


class PersistentNdarrayID:
    """Writes each array to an entry `array_0`, `array_1`, ... of a zip file.

    Called with any object, it returns the string that a pickle holds in its place, or None: the
    object is pickled. Arrays of Python objects are pickled.
    """

    def __init__(self, zip_file: zipfile.ZipFile) -> None:
        self.zip_file = zip_file
        self.entries: set[str] = set()
        self.numbers = count()
        self.seen: dict[int, tuple[str, Any]] = {}  # by id; the array is kept alive

    def name_of(self, array: np.ndarray) -> str:
        """The name of the entry for `array`, which has none yet."""
        return self.first_free(f"array_{k}" for k in self.numbers)

    def first_free(self, names: Iterable[str]) -> str:
        """The first of `names` that no entry has, which is taken from now on."""
        name = next(name for name in names if name not in self.entries)
        self.entries.add(name)
        return name

    def __call__(self, obj: Any) -> str | None:
        if type(obj) is not np.ndarray or obj.dtype.hasobject:
            return None
        if id(obj) not in self.seen:
            name = self.name_of(obj)
            with self.zip_file.open(name, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, obj, allow_pickle=False)
            self.seen[id(obj)] = f"ndarray.{name}", obj
        return self.seen[id(obj)][0]


class PersistentSharedVariableID(PersistentNdarrayID):
    """As `PersistentNdarrayID`, but values of shared variables are called as these are.

    Further variables of one name w are w_2, w_3 and so on, less those that others have. Raises
    ValueError for a variable without a name unless `allow_unnamed`, for a second one of a name
    unless `allow_duplicates`, and for the name 'pkl'.
    """

    def __init__(
        self, zip_file: zipfile.ZipFile, allow_unnamed: bool = True, allow_duplicates: bool = True
    ) -> None:
        super().__init__(zip_file)
        self.allow_unnamed, self.allow_duplicates = allow_unnamed, allow_duplicates
        self.names: dict[int, SharedVariable] = {}  # by the id of the value
        self.further: dict[str, Iterator[int]] = {}  # by name, the numbers of further variables

    def name_of(self, array: np.ndarray) -> str:
        variable = self.names.get(id(array))
        if variable is None:
            return super().name_of(array)
        name = str(variable.name)
        if name in self.further and not self.allow_duplicates:
            raise _unfit(variable, f"multiple shared variables with the name {name!r} found")
        numbers = self.further.setdefault(name, count(2))
        return self.first_free(chain([name], (f"{name}_{k}" for k in numbers)))

    def __call__(self, obj: Any) -> str | None:
        if isinstance(obj, SharedVariable):
            if obj.name == _PICKLE:
                raise _unfit(obj, f"a shared variable cannot be stored as {_PICKLE!r}")
            if obj.name:
                self.names[id(obj.container.value)] = obj
            elif not self.allow_unnamed:
                raise _unfit(obj, "a shared variable has no name")
        return super().__call__(obj)


def _unfit(variable: SharedVariable, problem: str) -> ValueError:
    return ValueError(
        explain("dump", problem, where=variable.created, got=f"{variable} of {variable.type}",
                expected="names that tell entries of a zip file apart",
                cure="give it another name: variable.name = '...'")
    )  # fmt: skip


class PersistentNdarrayLoad:
    """The reverse: the array that a string of `PersistentNdarrayID` stands for."""

    def __init__(self, zip_file: zipfile.ZipFile) -> None:
        self.zip_file = zip_file
        self.cache: dict[str, np.ndarray] = {}

    def __call__(self, persid: str) -> np.ndarray:
        kind, _, name = persid.partition(".")
        if kind != "ndarray":
            raise pickle.UnpicklingError(f"{persid!r}: entries of kind {kind!r} are not known")
        if name not in self.cache:
            with self.zip_file.open(name) as entry:
                self.cache[name] = np.lib.format.read_array(entry, allow_pickle=False)
        return self.cache[name]


class _Pickler(pickle.Pickler):
    def __init__(self, file: IO[bytes], protocol: int, persistent: Callable[[Any], Any]) -> None:
        super().__init__(file, protocol)
        self.persistent = persistent

    def persistent_id(self, obj: Any) -> Any:
        return self.persistent(obj)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], persistent: Callable[[Any], Any]) -> None:
        super().__init__(file)
        self.persistent = persistent

    def persistent_load(self, persid: Any) -> Any:
        return self.persistent(persid)


def dump(
    obj: Any,
    file_handler: IO[bytes],
    protocol: int = pickle.DEFAULT_PROTOCOL,
    persistent_id: Callable[[zipfile.ZipFile], Callable[[Any], Any]] = PersistentSharedVariableID,
) -> None:
    """Write `obj` to a zip file: each array as an entry, all else as the pickle `pkl`.

    `numpy.load(file)['w']` then reads the value of the shared variable called w. `persistent_id`
    makes, of the zip file, the function that decides what gets an entry. Raises what that function
    and pickle raise. Source: Theano, `theano.misc.pkl_utils.dump`.
    """
    with zipfile.ZipFile(file_handler, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        pickled = io.BytesIO()  # a zip file is written one entry at a time
        _Pickler(pickled, protocol, persistent_id(archive)).dump(obj)
        archive.writestr(_PICKLE, pickled.getvalue())


def load(
    f: IO[bytes],
    persistent_load: Callable[[zipfile.ZipFile], Callable[[Any], Any]] = PersistentNdarrayLoad,
) -> Any:
    """What `dump` wrote. As with any pickle, only files from people you trust should be loaded.

    Source: Theano, `theano.misc.pkl_utils.load`.
    """
    with zipfile.ZipFile(f, "r") as archive:
        return _Unpickler(io.BytesIO(archive.read(_PICKLE)), persistent_load(archive)).load()


def _absent() -> None:
    """What a `Trace` is loaded as that was left out."""


class StripPickler(pickle.Pickler):
    """A pickler that leaves out where variables were made, their test values, and other tags.

    `extra_tag_to_remove` names attributes of `tag` to leave out beside `trace` and `test_value`.
    The objects themselves stay as they are. Source: Theano, `theano.misc.pkl_utils.StripPickler`.
    """

    def __init__(
        self,
        file: IO[bytes],
        protocol: int = pickle.DEFAULT_PROTOCOL,
        extra_tag_to_remove: Iterable[str] | None = None,
    ) -> None:
        super().__init__(file, protocol)
        self.tag_to_remove = ["trace", "test_value", *(extra_tag_to_remove or ())]

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Trace):
            return _absent, ()
        if isinstance(obj, Scratchpad):
            kept = {k: v for k, v in vars(obj).items() if k not in self.tag_to_remove}
            return Scratchpad, (), kept
        return NotImplemented


class CompatUnpickler(pickle.Unpickler):
    """An unpickler that reads what Python 2 wrote, NumPy arrays included.

    Source: Theano, `theano.misc.pkl_utils.CompatUnpickler`.
    """

    def __init__(self, file: IO[bytes], encoding: str = "latin1", **options: Any) -> None:
        super().__init__(file, encoding=encoding, **options)
