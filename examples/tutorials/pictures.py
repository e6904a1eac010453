"""Rows of a matrix as a sheet of grey tiles, in a PNG file: filters, samples."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy

GAP = 1


def sheet(rows: numpy.ndarray, tile: tuple[int, int], columns: int = 0) -> numpy.ndarray:
    """`rows`, (n, height * width), as uint8 tiles, `columns` side by side; 0: about a square.

    Each tile is stretched to the full range of grey, so that filters of any scale can be seen.
    """
    height, width = tile
    columns = columns or math.ceil(math.sqrt(len(rows)))
    lines = math.ceil(len(rows) / columns)
    out = numpy.zeros((lines * (height + GAP), columns * (width + GAP)), numpy.uint8)
    for place, row in enumerate(rows):
        spread = row - row.min()
        grey = 255 * spread / (spread.max() or 1)
        top, left = (height + GAP) * (place // columns), (width + GAP) * (place % columns)
        out[top : top + height, left : left + width] = grey.reshape(height, width)
    return out


def save(
    path: str | Path, rows: numpy.ndarray, tile: tuple[int, int] = (28, 28), columns: int = 0
) -> None:
    """Write the sheet of `rows` to `path` as a grey PNG."""
    picture = sheet(rows, tile, columns)
    height, width = picture.shape
    lines = numpy.hstack([numpy.zeros((height, 1), numpy.uint8), picture])  # 0: no PNG filter
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes())),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + body)
