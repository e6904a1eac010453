"""Making pictures look like the images that a model was trained with.

MNIST's way (yann.lecun.com/exdb/mnist): the digit is scaled to fit a box of 20x20 pixels, its
aspect ratio kept and its edges grey, and put into 28x28 with its centre of mass in the middle.
Before that, a photograph needs its light evened out and its digit found.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.data.pictures import read_picture, resized_picture
from lenet.errors import RunError

Pixels = NDArray[np.float32]

BOX = 20
IMAGE_SIZE = (28, 28)
LARGEST = 160  # pixels; larger pictures are first scaled down to that, which averages noise away
COARSE = 64  # pixels, for light and shadow
FAINTEST = 20  # grey levels between digit and background, of 255
STROKE = 0.4  # of the strongest ink, is surely ink; what is fainter may be the rim of a shadow
EDGE = 0.2  # the digit ends where its ink is fainter than this share of the strongest
NOISE = 4.0  # standard deviations of the background that are taken for no ink
THINNEST = 3.0  # pixels of 20, a thin stroke of MNIST's; a pen's are drawn that broad
GREY = {"1", "L", "LA", "La"}
STYLES = ("auto", "mnist", "whole", "inverted")
DEEP = {"I;16", "I;16L", "I;16B", "I", "F"}
COLOUR = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"}


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """The image in a file, 0 black to 255 white: (height, width), or (height, width, 3) in colour.

    Any format that Pillow reads, 8 or 16 bits, upright as its EXIF data say; what is transparent
    is put before a background as far from its ink as can be. Raises RunError if it is no such
    image; ImportError without Pillow.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large photographs, odd EXIF data: they can be read
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened)
                image.load()
    except FileNotFoundError as error:
        raise RunError(path, "no such file", "a picture", "correct the name") from error
    except IsADirectoryError as error:
        raise RunError(path, "a folder", "a picture", "name the pictures in it") from error
    except Image.DecompressionBombError as error:
        raise RunError(
            path, "more pixels than a photograph has", "a picture", "scale it down"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise RunError(
            path,
            f"a file that is not an image ({str(error).splitlines()[0]})",
            "a PNG or JPEG picture",
            "save the picture as PNG",
        ) from error
    if image.mode not in GREY | DEEP | COLOUR:
        raise RunError(
            path,
            f"an image of {len(image.getbands())} channels, {image.mode}",
            "grey or colour (RGB), with or without transparency",
            "convert it to RGB and save it as PNG",
        )
    if image.mode in DEEP:
        return _to_byte_range(np.asarray(image, np.float32))
    is_grey = image.mode in GREY
    if image.has_transparency_data:
        return _flattened(image.convert("LA" if is_grey else "RGBA"))
    return np.asarray(image.convert("L" if is_grey else "RGB"), np.float32)


def for_model(
    path: str | os.PathLike[str], data: Mapping[str, Any], style: str = "auto"
) -> NDArray[np.uint8]:
    """The picture in a file as a model gets its images: uint8 (channels, height, width).

    `data` is what the model's checkpoint says of its data. `style` "mnist" finds the digit and puts
    it as MNIST has it, "whole" reads and scales all of the picture as a training folder's,
    "inverted" also makes light of dark; "auto" is "mnist" for MNIST, "inverted" for Fashion-MNIST,
    whose things are light on black, and "whole" for other data. Raises DataError for what is no
    image, and for "mnist" where images are in colour; ImportError without Pillow, or SciPy for
    "mnist".
    """
    channels, height, width = map(int, data["image_shape"])
    if style == "auto":
        known = {"mnist": "mnist", "fashion-mnist": "inverted"} if channels == 1 else {}
        style = known.get(data["name"], "whole")
    if style != "mnist":
        inverted = style == "inverted"
        return like_data(read_picture(Path(path)), (channels, height, width), invert=inverted)
    if channels != 1:
        raise RunError(
            "--style mnist",
            f"a model of images of {channels}x{height}x{width}",
            "one of grey images, as MNIST's are",
            "leave the option out",
        )
    # Another size than 28x28 is one to which MNIST was brought.
    return resized_picture(like_mnist(read_image(path), path), (height, width))[None]


def like_mnist(image: NDArray[Any], name: object = "image") -> NDArray[np.uint8]:
    """The digit in `image` as MNIST has it: uint8 (28, 28), ink 255.

    `image` is (height, width) or (height, width, channels), 0 to 255; the digit dark on light,
    light on dark or of another colour, on a background that may change slowly. Raises RunError,
    about `name`, if there is nothing but background; ImportError without Pillow and SciPy.
    """
    pixels = np.asarray(image, np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    ink = _ink_of(_scaled_down(pixels, LARGEST), name)
    if max(pixels.shape) > LARGEST:
        # A small digit in a large picture: look again, closer.
        scale = max(pixels.shape) / LARGEST
        rows, columns = (_around(where, scale) for where in _extent(ink))
        closer = pixels[rows, columns]
        if 2 * max(closer.shape) < max(pixels.shape):
            return like_mnist(closer, name)
    return _framed(_thickened(ink))


def like_data(
    picture: NDArray[np.uint8], shape: tuple[int, int, int], invert: bool = False
) -> NDArray[np.uint8]:
    """All of `picture` as uint8 of `shape`, (channels, height, width): scaled, not centred.

    `picture` is uint8, (height, width) or (height, width, 3), as lenet.data.pictures reads it, and
    is scaled as there. Channels are 1 or 3: colours become grey by their luminance, grey is
    repeated. `invert` makes light of dark, for data that are light on dark, as Fashion-MNIST's.
    Raises RunError for other channels; ImportError without Pillow.
    """
    from PIL import Image

    channels, height, width = shape
    if channels not in (1, 3):
        raise RunError(
            "the model",
            f"images of {channels} channels",
            "1 or 3, as pictures have",
            "use eval, with such data",
        )
    coloured = Image.fromarray(picture).convert("L" if channels == 1 else "RGB")
    scaled = resized_picture(np.asarray(coloured), (height, width))
    pixels = scaled.reshape(height, width, channels).transpose(2, 0, 1)
    return np.ascontiguousarray(255 - pixels if invert else pixels)


def _scaled_down(pixels: Pixels, largest: int) -> Pixels:
    """`pixels` with at most so many rows and columns."""
    height, width, _ = pixels.shape
    if max(height, width) <= largest:
        return pixels
    scale = largest / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return np.stack([_resized(channel, size) for channel in np.moveaxis(pixels, 2, 0)], axis=2)


def _resized(plane: Pixels, size: tuple[int, int]) -> Pixels:
    """A plane (height, width) in another size; when it shrinks, means of what it was."""
    from PIL import Image

    by = Image.Resampling.BOX if plane.shape[0] > size[0] else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(plane).resize(size[::-1], by), np.float32)


def _ink_of(pixels: Pixels, name: object) -> Pixels:
    """How much ink is where, 0 to 1 (height, width), of the digit alone."""
    from scipy import ndimage

    # Strokes are what changes quickly, mostly along one direction of colours and to one side.
    reach = max(pixels.shape) / 8
    changes = pixels - ndimage.gaussian_filter(pixels, (reach, reach, 0), mode="nearest")
    flat = changes.reshape(-1, changes.shape[2]).astype(np.float64)
    direction = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    if ((flat @ direction) ** 3).sum() < 0:
        direction = -direction
    ink = (pixels @ direction).astype(np.float32)
    ink = ink - _lights(ink)
    # More than half is background: what its darker half tells of it, ink cannot disturb.
    level, low = np.quantile(ink, [0.3, 0.05])
    ink, noise = ink - level, (level - low) / 1.12
    strongest = float(np.sort(ink, axis=None)[-1 - ink.size // 500])
    if strongest < max(FAINTEST, 1.5 * NOISE * noise):
        raise RunError(
            name,
            "a picture without a digit (nothing stands out from the background)",
            "one digit, dark on light or light on dark",
            "take a picture with more contrast",
        )
    ink = np.where(ink <= NOISE * noise, 0, ink / strongest).clip(0, 1)
    return np.where(_belongs(ink), ink, 0).astype(np.float32)


def _lights(ink: Pixels) -> Pixels:
    """Light and shadow: of `ink`, what a disc as wide as 0.4 of the picture fits into."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(ink, 1, mode="nearest")
    coarse = _scaled_down(smooth[..., None], COARSE)[..., 0]
    reach = max(1, round(0.2 * max(coarse.shape)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    wider = np.pad(coarse, 2 * reach, mode="edge")  # light does not end where the picture does
    opened = ndimage.grey_opening(wider, footprint=np.hypot(y, x) <= reach + 0.5)
    return _resized(opened[2 * reach : -2 * reach, 2 * reach : -2 * reach], ink.shape)


def _belongs(ink: Pixels) -> NDArray[np.bool_]:
    """Which pixels are the digit's: the largest stroke near the middle and all not far smaller.

    Specks, and what comes in at the border of the picture, are neither.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(ink > STROKE, np.ones((3, 3)))
    rows, columns = (np.sin(np.pi * (np.arange(n) + 0.5) / n) for n in ink.shape)
    weights = ndimage.sum(ink * np.outer(rows, columns), pieces, np.arange(1, count + 1))
    kept = np.flatnonzero(weights >= 0.1 * weights.max()) + 1
    # A faint edge goes with what it is the edge of.
    reach = max(1, max(ink.shape) // 40)
    return np.asarray(ndimage.binary_dilation(np.isin(pieces, kept), iterations=reach))


def _extent(ink: Pixels) -> tuple[slice, slice]:
    """The rows and columns that hold the digit."""
    first, second = (np.flatnonzero((ink > EDGE).any(axis)) for axis in (1, 0))
    return slice(first[0], first[-1] + 1), slice(second[0], second[-1] + 1)


def _around(where: slice, scale: float) -> slice:
    """A range of a picture that was scaled down, in the picture itself, with background around."""
    room = 0.5 * (where.stop - where.start)
    return slice(max(0, int((where.start - room) * scale)), int((where.stop + room) * scale) + 1)


def _thickened(ink: Pixels) -> Pixels:
    """`ink` with strokes as broad as a thin one of MNIST's, if they are thinner."""
    from scipy import ndimage

    ink = ink[_extent(ink)]
    # The mean distance to the edge, in a bar, is a quarter of its breadth.
    breadth = (
        4
        * float(
            ndimage.distance_transform_edt(np.pad(ink, 1) > EDGE)[1:-1, 1:-1][ink > EDGE].mean()
        )
        - 1
    )
    lacking = THINNEST * max(ink.shape) / BOX - breadth
    radius = lacking / 2
    if radius < 0.5:
        return ink
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(
        ndimage.grey_dilation(np.pad(ink, reach), footprint=np.hypot(y, x) <= radius + 0.5)
    )


def _framed(ink: Pixels) -> NDArray[np.uint8]:
    """The digit in its box of 20x20, in the middle of the image."""
    ink = ink[_extent(ink)]
    height, width = (max(1, round(n * BOX / max(ink.shape))) for n in ink.shape)
    small = _resized(ink, (height, width)).clip(0, None)
    small = small / small.max()  # thin strokes fade when they are scaled down
    canvas = np.zeros(IMAGE_SIZE)
    corner = []
    for axis, (extent, room) in enumerate(zip(small.shape, IMAGE_SIZE, strict=True)):
        mass = small.sum(1 - axis)
        centre = float((mass * np.arange(extent)).sum() / mass.sum())
        corner.append(min(max(round(room // 2 - centre), 0), room - extent))
    top, left = corner
    canvas[top : top + height, left : left + width] = small
    return np.round(255 * canvas).astype(np.uint8)


def _flattened(image: Any) -> Pixels:
    """Colours or grey, and opacity, mixed with white, or with black if the visible ink is light."""
    values = np.asarray(image, np.float32)
    colours, alpha = values[..., :-1], values[..., -1:] / 255
    is_light = (colours * alpha).mean() > 127.5 * alpha.mean()
    background = 0.0 if is_light and alpha.min() < 1 else 255.0
    mixed = colours * alpha + background * (1 - alpha)
    return np.asarray(mixed[..., 0] if mixed.shape[2] == 1 else mixed, np.float32)


def _to_byte_range(values: Pixels) -> Pixels:
    """Values of a deeper image between their least and greatest: 0 to 255."""
    values = np.nan_to_num(values)
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) * (255 / ((high - low) or 1.0)), np.float32)
