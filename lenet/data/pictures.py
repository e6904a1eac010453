"""Pictures in files as bytes, and bringing images to a size: what Pillow does for us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import grey_levels
from lenet.data.errors import DataError

MAX_SIDE = 4096
_DEEP = {"I;16", "I;16L", "I;16B", "I"}


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture in a file as uint8: (height, width) if it is grey, else (height, width, 3).

    Any format and mode that Pillow reads, turned as its EXIF data say. A picture is grey if red,
    green and blue are the same in every pixel, however it is stored. 16-bit levels are scaled to
    0 to 255; what is transparent is put before white. Raises DataError if it is no image.
    """
    Image, ImageOps = _pillow(path)
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except FileNotFoundError as error:
        raise DataError(path, "no such file", "a picture", "correct the name") from error
    except Exception as error:  # a damaged file can make a decoder raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            path,
            f"a file that is not an image ({reason})",
            "PNG, JPEG or another image",
            "remove the file, or save the picture as PNG",
        ) from error
    if image.mode in _DEEP:
        levels = np.asarray(image, np.float64) / 257
        return grey_levels(np.rint(levels).astype(np.int64), path)
    if image.mode == "F":
        return grey_levels(np.asarray(image), path)
    if {"A", "a"} & set(image.getbands()) or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode in {"1", "L"}:
        return np.asarray(image.convert("L"))
    colour = np.asarray(image.convert("RGB"))
    red, green, blue = np.moveaxis(colour, 2, 0)
    return red if np.array_equal(red, green) and np.array_equal(red, blue) else colour


def resized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Images (n, channels, height, width) brought to `size` (height, width), bilinearly.

    Every pixel of a larger image counts (Pillow's resize).
    """
    if images.shape[2:] == size:
        return images
    out = np.empty((*images.shape[:2], *size), np.uint8)
    for i, image in enumerate(images):
        for channel, plane in enumerate(image):
            out[i, channel] = resized_picture(plane, size)
    return out


def resized_picture(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """One picture (height, width) or (height, width, 3) brought to `size`, as `resized` does."""
    if picture.shape[:2] == size:
        return picture
    Image, _ = _pillow("size")
    height, width = size
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def check_size(size: Any) -> tuple[int, int]:
    """`size` as (height, width); DataError unless each is a whole number from 1 to 4096."""
    try:
        height, width = (int(side) for side in size)
        is_size = (height, width) == tuple(size) and 1 <= min(height, width)
    except (TypeError, ValueError):
        height = width = 0
        is_size = False
    if not is_size or max(height, width) > MAX_SIDE:
        expected = f"(height, width), each from 1 to {MAX_SIDE}"
        raise DataError("size", repr(size), expected, "give such a size, as (28, 28)")
    return height, width


def _pillow(where: object) -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        cure = "pip install 'symgraph[lenet]'"
        raise DataError(where, "no Pillow to read images", "Pillow", cure) from error
    return Image, ImageOps
