"""Answers of a trained model, and making any picture of a digit look like one of MNIST's.

MNIST's way (yann.lecun.com/exdb/mnist): the digit is scaled to fit a box of 20x20 pixels, its
aspect ratio kept and its edges grey, and put into 28x28 with its centre of mass in the middle.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import symgraph
from lenet import checkpoint as checkpoints
from lenet.errors import RunError
from lenet.models import IMAGE_SIZE, build

BOX = 20
BATCH = 500
FAINTEST = 24  # grey levels between digit and background, of 255
EDGE = 0.2  # the digit ends where its ink is fainter than this share of the strongest
LARGEST = 112  # pixels; larger pictures are first scaled down to that, which averages noise away
GREY = {"1", "L", "LA", "I;16", "I;16L", "I;16B", "I", "F"}
COLOUR = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La"}


class Classifier:
    """The model of a checkpoint, ready to answer. Raises RunError as `checkpoint.load` does."""

    def __init__(self, path: Path) -> None:
        self.checkpoint = checkpoints.load(path)
        dtype = next(iter(self.checkpoint.parameters.values()), np.zeros(0, "float32")).dtype
        self.floatx = str(dtype)
        with symgraph.config.change_flags(floatX=self.floatx):
            self.model = build(self.checkpoint.options)
            checkpoints.restore(self.model, self.checkpoint, path)
            self._function = symgraph.function(
                [self.model.x], self.model.probabilities, name="predict"
            )

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Probabilities (n, classes) for images uint8 (n, 28, 28), ink 255 on background 0."""
        flat = images.reshape(len(images), -1)
        parts = [
            self._function(np.multiply(flat[i : i + BATCH], 1 / 255, dtype=self.floatx))
            for i in range(0, len(flat), BATCH)
        ]
        return np.concatenate(parts)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """The image in a file as grey values (height, width), 0 black to 255 white.

    Any format that Pillow reads, grey or colour, 8 or 16 bits; what is transparent is put before
    a background as far from its ink as can be. Raises RunError if it is not such an image;
    ImportError without Pillow.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError as error:
        raise RunError(path, "no such file", "a picture of a digit", "correct the name") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RunError(
            path,
            f"a file that is not an image ({str(error).splitlines()[0]})",
            "a PNG or JPEG picture of one digit",
            "save the picture as PNG",
        ) from error
    if image.mode not in GREY | COLOUR:
        bands = len(image.getbands())
        raise RunError(
            path,
            f"an image of {bands} channels, {image.mode}",
            "grey or colour (RGB), with or without transparency",
            "convert it to RGB and save it as PNG",
        )
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        return _flattened(image.convert("LA"))
    if image.mode in {"I;16", "I;16L", "I;16B", "I", "F"}:
        return _to_byte_range(np.asarray(image, np.float64))
    return np.asarray(image.convert("L"), np.float64)


def like_mnist(grey: NDArray[np.float64], name: object = "image") -> NDArray[np.uint8]:
    """The digit in `grey` (height, width), 0 to 255, as MNIST has it: uint8 (28, 28), ink 255.

    Light on dark or dark on light; the background is what most of the border shows. Raises
    RunError if there is nothing but background; ImportError without Pillow.
    """
    from PIL import Image

    if max(grey.shape) > LARGEST:
        size = [max(1, round(n * LARGEST / max(grey.shape))) for n in grey.shape[::-1]]
        small = Image.fromarray(grey.astype(np.float32)).resize(size, Image.Resampling.BOX)
        grey = np.asarray(small, np.float64)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(border))
    strongest = float(ink.max())
    if strongest < FAINTEST:
        raise RunError(
            name,
            "a picture without a digit (all of one shade)",
            "one digit, dark on light or light on dark",
            "take a picture with more contrast",
        )
    # How much the background itself varies; a stroke may well cross a tenth of the border.
    noise = 1.5 * np.quantile(np.abs(border - np.median(border)), 0.9)
    ink = np.where(ink <= noise, 0, ink / strongest)
    rows, columns = (np.flatnonzero((ink > EDGE).any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(n * BOX / max(ink.shape))) for n in ink.shape)
    scaled = Image.fromarray(ink.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    small = np.clip(np.asarray(scaled), 0, None)
    small /= small.max()  # thin strokes fade when they are scaled down
    canvas = np.zeros(IMAGE_SIZE)
    corner = []
    for axis, (extent, room) in enumerate(zip(small.shape, IMAGE_SIZE, strict=True)):
        mass = small.sum(1 - axis)
        centre = float((mass * np.arange(extent)).sum() / mass.sum())
        corner.append(min(max(round(room // 2 - centre), 0), room - extent))
    top, left = corner
    canvas[top : top + height, left : left + width] = small
    return np.round(255 * canvas).astype(np.uint8)


def _flattened(image: Any) -> NDArray[np.float64]:
    """Grey and opacity mixed with white, or with black if the visible ink is light."""
    grey, alpha = np.moveaxis(np.asarray(image, np.float64), 2, 0)
    alpha /= 255
    is_light = (grey * alpha).sum() > 127.5 * alpha.sum()
    background = 0.0 if is_light and alpha.min() < 1 else 255.0
    mixed: NDArray[np.float64] = grey * alpha + background * (1 - alpha)
    return mixed


def _to_byte_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a deeper image between their least and greatest: 0 to 255."""
    values = np.nan_to_num(values)
    low, high = float(values.min()), float(values.max())
    scaled: NDArray[np.float64] = (values - low) * (255 / ((high - low) or 1.0))
    return scaled
