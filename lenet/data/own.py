"""Finding out what a file or folder holds: a data set under its official names, or anything else.

`read_official` takes only the names under which a collection is handed around; `read_path` takes
whatever the user points to.
"""

from __future__ import annotations

from pathlib import Path

from lenet.data.arrays import TITLES, Parts
from lenet.data.catalog import Collection
from lenet.data.errors import DataError
from lenet.data.folders import listed, read_pictures
from lenet.data.formats import read_idx, read_npz
from lenet.data.matlab import read_mat
from lenet.data.pickles import read_pickle

_KINDS = (
    "IDX files of images and labels, an .npz, or sub-folders of pictures by class with as many "
    "names as classes"
)


def read_official(path: Path, collection: Collection) -> Parts | None:
    """The collection in a folder, or in the file `path` itself; None where there is none.

    In a folder: its official files, raw or gzipped, else NAME.npz, else NAME.pkl.gz.
    """
    if path.is_file():
        return _read_file(path)
    paths = [_first(path / file.name, path / f"{file.name}.gz") for file in collection.files]
    present = [file for file in paths if file is not None]
    if len(present) == len(paths):
        if len(present) == 2:
            return read_mat(*present)
        return read_idx({"train": (present[0], present[1]), "test": (present[2], present[3])}, path)
    for name, read in ((".npz", read_npz), (".pkl.gz", read_pickle)):
        if (file := path / f"{collection.name}{name}").exists():
            return read(file)
    if present:
        missing = [f.name for f, p in zip(collection.files, paths, strict=True) if p is None]
        raise DataError(
            path,
            f"only {', '.join(file.name for file in present)}",
            f"also {', '.join(missing)} (raw or .gz)",
            "add the missing files, or run `python -m lenet data fetch`",
        )
    return None


def read_path(path: Path, collection: Collection, size: tuple[int, int] | None = None) -> Parts:
    """The data set in the file or folder `path`, the user's own included.

    A file: `.npz`, `.pkl.gz` or `.pkl`. A folder: the official files of `collection`; other IDX
    files, of which "test" or "t10k" in a name says that it is of the test part, "val" of the
    validation part, and "label" that it holds labels; a single .npz or .pkl.gz; pictures in
    sub-folders by class, brought to `size` (height, width). Raises DataError.
    """
    parts = read_official(path, collection)
    if parts is not None:
        return parts
    content = listed(path)
    if found := [entry for entry in content if entry.is_file() and "idx" in entry.name.lower()]:
        return read_idx(_pairs(found, path), path)
    files = [entry for entry in content if entry.name.endswith((".npz", ".pkl.gz", ".pkl"))]
    if len(files) == 1:
        return _read_file(files[0])
    if files:
        names = ", ".join(file.name for file in files)
        raise DataError(path, f"several files: {names}", "one", "name the file itself")
    pictures = read_pictures(path, size)
    if pictures is None:
        names = ", ".join(entry.name for entry in content[:4]) or "an empty folder"
        raise DataError(path, names, _KINDS, "put the data there, or name another folder")
    return pictures


def _read_file(path: Path) -> Parts:
    if path.name.endswith(".npz"):
        return read_npz(path)
    if path.name.endswith((".pkl.gz", ".pkl")):
        return read_pickle(path)
    raise DataError(
        path,
        "a file of unknown kind",
        f"an .npz, a .pkl.gz, or a folder of {_KINDS}",
        "give the folder that holds the files",
    )


def _pairs(files: list[Path], where: Path) -> dict[str, tuple[Path, Path]]:
    """IDX files by part: (images, labels)."""
    found: dict[str, dict[str, Path]] = {}
    for file in files:
        name = file.name.lower()
        is_test = "test" in name or "t10k" in name
        part = "test" if is_test else "valid" if "val" in name else "train"
        kind = "labels" if "label" in name or "idx1" in name else "images"
        other = found.setdefault(part, {}).setdefault(kind, file)
        if other != file:
            got, cure = f"{other.name} and {file.name}", "leave one of them in the folder"
            raise DataError(where, got, f"one file of {TITLES[part]} {kind}", cure)
    names = ", ".join(file.name for file in files)
    for part in ("train", *found):
        for kind in ("images", "labels"):
            if kind not in found.get(part, {}):
                expected = f"also a file of {TITLES[part]} {kind}"
                raise DataError(where, f"only {names}", expected, "add it")
    return {part: (kinds["images"], kinds["labels"]) for part, kinds in found.items()}


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
