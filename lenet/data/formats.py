"""Reading the forms in which sets of images are handed around, none of them trusted.

- IDX, raw or gzipped: the official files of MNIST (LeCun, Cortes and Burges) and of its heirs
- `.npz` of NumPy arrays: x_train, y_train, x_test, y_test as Keras names them, and other names
- `.pkl.gz`: the Theano tutorials (`pickles`)
- `.mat`: the cropped digits of SVHN (`matlab`)

Every reader returns checked `Parts` or raises `DataError`. Folders of pictures: `folders`.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import Parts, assemble
from lenet.data.errors import DataError

MAX_BYTES = 1 << 32  # of one file, unpacked: above what such sets hold, below what would hurt
REPLACE = "replace the file, or delete it and run `python -m lenet data fetch`"

# IDX: the third byte of the magic number (yann.lecun.com/exdb/mnist)
IDX_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
IMAGE_AXES, LABEL_AXES = (3, 4), (1,)
# .npz: the words for parts, images and labels, joined either way round and in any case
NPZ_PARTS = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}
NPZ_IMAGES = ("x", "images", "image", "data")
NPZ_LABELS = ("y", "labels", "label", "targets", "target")
_NPZ_ERRORS = (ValueError, OSError, EOFError, MemoryError, RuntimeError,
               zipfile.BadZipFile, zlib.error)  # fmt: skip


# ---- IDX ---------------------------------------------------------------------------------------


def read_idx(pairs: Mapping[str, tuple[Path, Path]], where: Path) -> Parts:
    """IDX files, raw or gzipped: for each part the images' (n, height, width) and the labels'.

    Images may have four axes, the channels second or last.
    """
    return assemble(
        {
            part: (
                parse_idx(read_bytes(images), images, IMAGE_AXES),
                parse_idx(read_bytes(labels), labels, LABEL_AXES),
            )
            for part, (images, labels) in pairs.items()
        },
        where,
    )


def parse_idx(data: bytes, where: object, axes: tuple[int, ...]) -> NDArray[Any]:
    """The array in the bytes of an IDX file: any of its dtypes, as many axes as `axes` allows."""
    ndim = data[3] if len(data) > 3 else 0
    if data[:2] != b"\0\0" or len(data) < 4 or data[2] not in IDX_DTYPES or ndim not in axes:
        kind = "images" if axes == IMAGE_AXES else "labels"
        raise DataError(
            where,
            f"magic number {int.from_bytes(data[:4], 'big')}",
            f"{0x800 + axes[0]} ({kind}, IDX)",
            REPLACE,
        )
    dtype = np.dtype(IDX_DTYPES[data[2]])
    start = 4 + 4 * ndim
    # A header that is cut off is followed by nothing: the length says so.
    shape = tuple(int(n) for n in np.frombuffer(data[4:start].ljust(4 * ndim, b"\0"), ">u4"))
    length = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(data) != length:
        raise DataError(
            where, f"{len(data):,} bytes", f"{length:,} for the shape {shape} it states", REPLACE
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


# ---- NumPy -------------------------------------------------------------------------------------


def read_npz(path: Path) -> Parts:
    """Arrays of images and labels in an .npz, in the names of Keras and others.

    A pair for each part: x_train and y_train, train_images and train_labels and so on, also with
    valid or val, and with test; or one pair without parts: x and y, images and labels, data and
    target. Object arrays, which would run code as they load, are refused.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise _too_large(path)
        with np.load(path, allow_pickle=False) as archive:
            keys = _npz_keys(archive.files, path)
            pairs = {part: (archive[x], archive[y]) for part, (x, y) in keys.items()}
    except DataError:
        raise
    except _NPZ_ERRORS as error:
        raise DataError(path, f"{error}", "plain numeric arrays in an .npz", REPLACE) from error
    return assemble(pairs, path)


def _npz_keys(names: list[str], path: Path) -> dict[str, tuple[str, str]]:
    """The names of images and labels of each part that is there."""
    known = {name.lower(): name for name in names}
    found: dict[str, tuple[str, str]] = {}
    for part, words in NPZ_PARTS.items():
        patterns = [form.format("{}", word) for word in words for form in ("{}_{}", "{1}_{0}")]
        for pattern in (*patterns, "{}") if part == "train" else patterns:
            x, y = (
                next((known[key] for kind in kinds if (key := pattern.format(kind)) in known), None)
                for kinds in (NPZ_IMAGES, NPZ_LABELS)
            )
            if x and y:
                found.setdefault(part, (x, y))
            elif x or y:
                missing = pattern.format("y" if x else "x")
                got, cure = ", ".join(sorted(names)), "save images and labels of each part"
                raise DataError(path, got, f"also {missing}", cure)
    if "train" not in found:
        got = ", ".join(sorted(names)) or "no arrays"
        expected = "x_train, y_train, x_test and y_test, or x and y"
        raise DataError(path, got, expected, "save the arrays under these names")
    return found


# ---- bytes -------------------------------------------------------------------------------------


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a file, unpacked if its name ends in `.gz`; at most `limit`, or MAX_BYTES."""
    limit = limit or MAX_BYTES
    try:
        with open(path, "rb") as file:
            return gunzip(file, path, limit) if path.suffix == ".gz" else _read(file, path, limit)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a readable file", REPLACE) from error


def gunzip(file: IO[bytes], where: object, limit: int) -> bytes:
    """What is in a gzip stream; DataError if it is damaged, cut off, or above `limit` bytes."""
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _read(unpacked, where, limit)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(where, f"{error}", "a whole gzip file", REPLACE) from error


def _read(file: IO[bytes] | gzip.GzipFile, where: object, limit: int) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise _too_large(where, limit)
    return data


def _too_large(where: object, limit: int | None = None) -> DataError:
    got = f"more than {limit or MAX_BYTES:,} bytes unpacked"
    return DataError(where, got, "a smaller file", REPLACE)
