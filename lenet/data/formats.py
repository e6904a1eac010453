"""Reading the four forms in which MNIST is handed around, none of them trusted.

- IDX, raw or gzipped: the official files (LeCun, Cortes and Burges), torchvision's as well
- `NAME.npz` with x_train, y_train, x_test, y_test: Keras
- `NAME.pkl.gz`, three (images, labels) pairs for training, validation and test: the Theano
  tutorials

Every reader returns checked uint8 `Arrays` or raises `DataError`.
"""

from __future__ import annotations

import gzip
import io
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lenet.data.catalog import CLASSES, IMAGE_SHAPE, Arrays, Collection, DataError, idx_header

MAX_BYTES = 1 << 30  # of one file, unpacked: far above MNIST, far below what would hurt

_REPLACE = "replace the file, or delete it and run `python -m lenet data fetch`"
_NPZ_ERRORS = (ValueError, OSError, EOFError, MemoryError, RuntimeError)
_PIXELS = int(np.prod(IMAGE_SHAPE))


def read_path(path: Path, collection: Collection) -> Arrays | None:
    """The data set in a file (`.npz`, `.pkl.gz`, `.pkl`) or folder; None where there is none."""
    if path.is_dir():
        return read_folder(path, collection)
    if not path.exists():
        return None
    if path.name.endswith(".npz"):
        return read_npz(path)
    if path.name.endswith((".pkl.gz", ".pkl")):
        return read_pickle(path)
    raise DataError(
        path,
        "a file of unknown kind",
        "a folder of IDX files, an .npz or a .pkl.gz",
        "give the folder that holds the four IDX files",
    )


def read_folder(folder: Path, collection: Collection) -> Arrays | None:
    """The data set in `folder`: four IDX files, else NAME.npz, else NAME.pkl.gz; None if none."""
    paths = [_first(folder / file.name, folder / f"{file.name}.gz") for file in collection.files]
    present = [path for path in paths if path is not None]
    if len(present) == len(paths):
        return read_idx(present)
    for name, read in ((".npz", read_npz), (".pkl.gz", read_pickle)):
        path = folder / f"{collection.name}{name}"
        if path.exists():
            return read(path)
    if present:
        missing = [f.name for f, path in zip(collection.files, paths, strict=True) if path is None]
        raise DataError(
            folder,
            f"only {', '.join(path.name for path in present)}",
            f"also {', '.join(missing)} (raw or .gz)",
            "add the missing files, or run `python -m lenet data fetch`",
        )
    return None


def read_idx(paths: list[Path]) -> Arrays:
    """Four IDX files, raw or gzipped, in the order of `Arrays`."""
    parsed = (
        parse_idx(read_bytes(path), ndim, path)
        for path, ndim in zip(paths, (3, 1, 3, 1), strict=True)
    )
    return checked(Arrays(*parsed), paths[0].parent)


def parse_idx(data: bytes, ndim: int, where: object) -> NDArray[np.uint8]:
    """The array in the bytes of an IDX file of unsigned bytes with `ndim` axes."""
    magic = idx_header((0,) * ndim)[:4]
    if data[:4] != magic:
        raise DataError(
            where,
            f"magic number {int.from_bytes(data[:4], 'big')}",
            f"{int.from_bytes(magic, 'big')} ({'images' if ndim == 3 else 'labels'}, IDX)",
            _REPLACE,
        )
    start = 4 + 4 * ndim
    # A header that is cut off is followed by nothing: the length says so.
    shape = tuple(int(n) for n in np.frombuffer(data[4:start].ljust(4 * ndim, b"\0"), ">u4"))
    length = start + int(np.prod(shape, dtype=object))
    if len(data) != length:
        raise DataError(
            where, f"{len(data):,} bytes", f"{length:,} for the shape {shape} it states", _REPLACE
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_npz(path: Path) -> Arrays:
    """Keras' `mnist.npz`. Object arrays, which would run code as they load, are refused."""
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise _too_large(path)
        with np.load(path, allow_pickle=False) as archive:
            if missing := [name for name in names if name not in archive]:
                found = ", ".join(sorted(archive)) or "no arrays"
                raise DataError(path, found, f"also {', '.join(missing)}", _REPLACE)
            train_x, train_y, test_x, test_y = (archive[name] for name in names)
    except DataError:
        raise
    except (*_NPZ_ERRORS, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(path, f"{error}", "plain numeric arrays in an .npz", _REPLACE) from error
    return checked(
        Arrays(_pixels(train_x, path), _labels(train_y, path), *_pair((test_x, test_y), path)), path
    )


def read_pickle(path: Path) -> Arrays:
    """The tutorials' `mnist.pkl.gz`: pickled (training, validation, test) pairs.

    Images are (n, 784) of floats, grey level / 256 or / 255. Training and validation are joined:
    they are the official training set. Nothing but plain containers and numeric arrays is
    unpickled, so a hostile file cannot run code.
    """
    data = read_bytes(path)
    try:
        parts = ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a damaged stream can make the unpickler raise anything
        raise DataError(
            path, f"{error or type(error).__name__}", "a pickle of plain arrays only", _REPLACE
        ) from error
    if not isinstance(parts, (tuple, list)) or len(parts) != 3:
        raise DataError(path, f"a pickled {type(parts).__name__}", "three pairs", _REPLACE)
    (train_x, train_y), (valid_x, valid_y), test = (_pair(part, path) for part in parts)
    train_x, train_y = np.concatenate([train_x, valid_x]), np.concatenate([train_y, valid_y])
    return checked(Arrays(train_x, train_y, *test), path)


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a file, unpacked if its name ends in `.gz`."""
    try:
        with open(path, "rb") as file:
            return gunzip(file, path, limit) if path.suffix == ".gz" else _read(file, path, limit)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a readable file", _REPLACE) from error


def gunzip(file: IO[bytes], where: object, limit: int) -> bytes:
    """What is in a gzip stream; DataError if it is damaged, cut off, or above `limit` bytes."""
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _read(unpacked, where, limit)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(where, f"{error}", "a whole gzip file", _REPLACE) from error


def checked(arrays: Arrays, where: object) -> Arrays:
    """`arrays`, found to be what training can use: shapes, counts and labels."""
    for part, images, labels in (("training", *arrays[:2]), ("test", *arrays[2:])):
        if images.ndim != 3 or images.shape[1:] != IMAGE_SHAPE:
            got, expected = f"{part} images of shape {images.shape}", "(n, 28, 28)"
        elif labels.ndim != 1:
            got, expected = f"{part} labels of shape {labels.shape}", "(n,)"
        elif len(images) != len(labels):
            got, expected = f"{len(images):,} {part} images, {len(labels):,} labels", "as many"
        elif len(images) < 2:
            got, expected = f"{len(images)} {part} images", "at least 2"
        elif labels.max() >= CLASSES:
            got, expected = f"the {part} label {labels.max()}", f"0 to {CLASSES - 1}"
        else:
            continue
        raise DataError(where, got, expected, _REPLACE)
    return arrays


def _read(file: IO[bytes] | gzip.GzipFile, where: object, limit: int) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise _too_large(where, limit)
    return data


def _too_large(where: object, limit: int = MAX_BYTES) -> DataError:
    return DataError(where, f"more than {limit:,} bytes unpacked", "a smaller file", _REPLACE)


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _pair(part: Any, where: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if not isinstance(part, (tuple, list)) or len(part) != 2:
        raise DataError(where, f"a {type(part).__name__}", "a pair (images, labels)", _REPLACE)
    return _pixels(part[0], where), _labels(part[1], where)


def _pixels(values: Any, where: Path) -> NDArray[np.uint8]:
    """Images as grey levels: integers are taken as they are, floats are scaled back."""
    images = _numeric(values, where, "images")
    if images.ndim == 2 and images.shape[1] == _PIXELS:
        images = images.reshape(-1, *IMAGE_SHAPE)
    for scale in (1,) if images.dtype.kind in "iu" else (255, 256, 1):
        levels = images if scale == 1 else images * scale
        rounded: NDArray[Any] = np.rint(levels)
        if not images.size or (
            levels.min() >= 0 and rounded.max() <= 255 and np.abs(levels - rounded).max() < 1e-3
        ):
            return rounded.astype(np.uint8)
    raise DataError(
        where,
        f"{images.dtype} images from {images.min()} to {images.max()}",
        "grey levels: whole numbers 0 to 255, or these divided by 255 or 256",
        _REPLACE,
    )


def _labels(values: Any, where: Path) -> NDArray[np.uint8]:
    labels = _numeric(values, where, "labels")
    if labels.size and (labels.dtype.kind == "f" or labels.min() < 0 or labels.max() >= CLASSES):
        got = f"{labels.dtype} labels from {labels.min()} to {labels.max()}"
        raise DataError(where, got, f"integers 0 to {CLASSES - 1}", _REPLACE)
    return labels.astype(np.uint8)


def _numeric(values: Any, where: Path, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:  # nested lists of different lengths
        raise DataError(where, f"{what}: {error}", "an array of numbers", _REPLACE) from error
    if array.dtype.kind not in "iuf":
        raise DataError(where, f"{what} of dtype {array.dtype}", "numbers", _REPLACE)
    return array


# ---- unpickling arrays, and nothing else -------------------------------------------------------


class _ArrayClass:
    """Stands for `numpy.ndarray` in a pickle, which only ever hands it to `_reconstruct`."""


def _reconstruct(cls: object, shape: object, typecode: object) -> NDArray[Any]:
    # NumPy pickles an empty array first and sets its contents afterwards.
    return np.empty(0, np.uint8)


def _dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype[Any]:
    if not re.fullmatch(r"[<>=|]?[iuf][1248]", code):
        raise pickle.UnpicklingError(f"an array of dtype {code!r}")
    return np.dtype(code)


def _frombuffer(buffer: bytes, dtype: np.dtype[Any], shape: Any, order: str) -> NDArray[Any]:
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    # Python 3 writes bytes into old pickle protocols as latin-1 text.
    return text.encode("latin1")


class ArrayUnpickler(pickle.Unpickler):
    """Every global that a pickled numeric array names, and no other.

    Theano's data sets were pickled by Python 2 and an old NumPy, later copies by newer ones: the
    module names differ, the functions are the same.
    """

    def find_class(self, module: str, name: str) -> Any:
        root = module.removeprefix("numpy._core").removeprefix("numpy.core")
        known = {
            ("numpy", "ndarray"): _ArrayClass,
            ("numpy", "dtype"): _dtype,
            (".multiarray", "_reconstruct"): _reconstruct,
            (".numeric", "_frombuffer"): _frombuffer,
            ("_codecs", "encode"): _encode,
        }
        if (root, name) not in known:
            raise pickle.UnpicklingError(f"a reference to {module}.{name}, which is refused")
        return known[root, name]
