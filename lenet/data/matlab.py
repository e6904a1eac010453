"""Reading SVHN's cropped digits, MATLAB files of 32x32 colour images.

Source: Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011;
ufldl.stanford.edu/housenumbers, "Format 2".
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import Parts, assemble
from lenet.data.errors import DataError
from lenet.data.formats import MAX_BYTES, REPLACE, read_bytes

_EXPECTED = "X uint8 (height, width, 3, n) and y (n, 1), 1 to 10, in a MATLAB 5 file"


def read_mat(train: Path, test: Path) -> Parts:
    """SVHN's two files: X uint8 (height, width, 3, n) and y (n, 1), 1 to 10, where 10 is digit 0.

    The digests are those of the files. Raises DataError if they are damaged or other files, or
    if SciPy, which reads them, is not installed.
    """
    digests, pairs = [], {}
    for part, path in (("train", train), ("test", test)):
        data = read_bytes(path)
        digests.append(hashlib.sha256(data).hexdigest())
        pairs[part] = _read(data, path)
    parts = assemble(pairs, train.parent, map(str, range(10)))
    return replace(parts, digests=tuple(digests))


def scipy_io(where: object) -> Any:
    """The module scipy.io; DataError without SciPy."""
    try:
        from scipy import io
    except ImportError as error:
        cure = "pip install 'symgraph[lenet]'"
        raise DataError(where, "no SciPy to read .mat files", "SciPy", cure) from error
    return io


def _read(data: bytes, path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    reader = scipy_io(path)
    try:
        sizes = {name: shape for name, shape, _ in reader.whosmat(io.BytesIO(data))}
        if any(np.prod(shape, dtype=object) > MAX_BYTES for shape in sizes.values()):
            raise ValueError(f"more than {MAX_BYTES:,} elements")
        content = reader.loadmat(io.BytesIO(data), variable_names=("X", "y"))
    except Exception as error:  # a damaged stream can make the reader raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(path, reason, _EXPECTED, REPLACE) from error
    images, labels = (np.asarray(content.get(name, ())) for name in ("X", "y"))
    is_whole = labels.dtype.kind in "iu" and labels.size
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[2] != 3
        or not (is_whole and 0 <= labels.min() and labels.max() <= 10)
    ):
        got = f"X {images.dtype} {images.shape}, y {labels.dtype} {labels.shape}"
        if is_whole:
            got += f" from {labels.min()} to {labels.max()}"
        raise DataError(path, got, _EXPECTED, REPLACE)
    return images.transpose(3, 0, 1, 2), labels.reshape(-1) % 10
