"""The pickles in which the tutorials' data were published, read without running what they say."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lenet.data import DataError
from lenet.data.pickles import ArrayUnpickler

Data = TypeVar("Data")


def load(path: str, expected: str, convert: Callable[..., Data], count: int = 1) -> Data:
    """What `convert` makes of the `count` pickles in a row in a file, gzipped if it ends in .gz.

    Only containers, numbers, texts and NumPy's arrays of numbers are unpickled. Ends the script
    with one line where the file cannot be read, asks for anything else, or is not as `expected`.
    """
    opened = gzip.open if path.endswith(".gz") else open
    try:
        with opened(Path(path).expanduser(), "rb") as file:
            parts = [ArrayUnpickler(file, encoding="latin1").load() for _ in range(count)]
        return convert(*parts)
    except Exception as error:  # a damaged stream or another form can make these raise anything
        got = f"{type(error).__name__}: {error}"
        cure = "give the file as published, or leave --data out and use generated data"
        raise SystemExit(str(DataError(path, got, expected, cure))) from error
