"""Reading the Theano tutorials' `mnist.pkl.gz` without running what is in it."""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import Parts, Split, assemble
from lenet.data.errors import DataError
from lenet.data.formats import REPLACE, read_bytes


def read_pickle(path: Path) -> Parts:
    """The tutorials' `mnist.pkl.gz`: pickled (training, validation, test) pairs.

    Images are (n, 784) of floats, grey level / 256 or / 255. Training and validation are joined:
    they are the official training set. Nothing but plain containers and numeric arrays is
    unpickled, so a hostile file cannot run code.
    """
    data = read_bytes(path)
    try:
        pairs = ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a damaged stream can make the unpickler raise anything
        raise DataError(
            path, f"{error or type(error).__name__}", "a pickle of plain arrays only", REPLACE
        ) from error
    if not isinstance(pairs, (tuple, list)) or len(pairs) != 3:
        raise DataError(path, f"a pickled {type(pairs).__name__}", "three pairs", REPLACE)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            got = f"a {type(pair).__name__}"
            raise DataError(path, got, "a pair (images, labels)", REPLACE)
    names = ("train", "valid", "test")
    parts = assemble(dict(zip(names, map(tuple, pairs), strict=True)), path)
    train, valid = parts.train, parts.valid
    assert valid is not None
    joined = Split(
        np.concatenate([train.images, valid.images]), np.concatenate([train.labels, valid.labels])
    )
    return replace(parts, train=joined, valid=None)


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
