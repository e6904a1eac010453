"""Gaussian blur, sharpening and Sobel edges on a photograph, each one symbolic convolution.

    python examples/filters_on_photo.py [IMAGE] [--out OUT.png] [--sigma 3] [--amount 2] [--grey]

A filter replaces each pixel by a weighted sum of its neighbours. The weights alone decide what it
does: a hill of positive weights blurs, a difference of two sides finds edges, and as convolution
is linear, "the picture, plus what the blur takes away from it" is again one filter: it sharpens. A
convolutional network is made of the same sums; it learns the weights.

T.nnet.conv2d flips the filter in both directions, as convolution is defined and as
scipy.ndimage.convolve does it. (The convolutions of PyTorch and Keras do not: in Theano's API that
is filter_flip=False, in SciPy scipy.ndimage.correlate.) For the symmetric blur it is all the same;
Sobel's edges would change their sign.

Each result is compared with SciPy's, and the largest difference printed. Without IMAGE the
photograph is the one that comes with matplotlib, an official (public-domain) portrait of Grace
Hopper, the computer pioneer.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

import symgraph
from lenet.data import DataError
from lenet.data.sources import write_atomically
from symgraph import tensor as T

Array = np.ndarray

# Written for a flipping convolution: the right neighbours minus the left ones, so that an edge
# from dark to bright is positive; one direction differs, the other is smoothed by 1 2 1.
SOBEL_X = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
SOBEL_Y = SOBEL_X.T
LUMA = (0.299, 0.587, 0.114)  # the brightness of red, green and blue: ITU-R BT.601


def gaussian(sigma: float) -> Array:
    """The weights of a Gaussian blur, float64 (k, k) of sum 1, with k = 2 ceil(3 sigma) + 1.

    `sigma` is in pixels, above 0. Source: scipy.ndimage.gaussian_filter with truncate=3.
    """
    radius = math.ceil(3 * sigma)
    hill = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = np.outer(hill, hill)
    return weights / weights.sum()


def sharpening(sigma: float, amount: float) -> Array:
    """Unsharp masking as one filter, float64 (k, k) of sum 1.

    x + amount (x - blur(x)): the filter that changes nothing, plus `amount` times its difference
    to the blur of `sigma` pixels.
    """
    blur = gaussian(sigma)
    nothing = np.zeros_like(blur)
    nothing[len(blur) // 2, len(blur) // 2] = 1
    return nothing + amount * (nothing - blur)


def convolution() -> Any:
    """A function of images (n, h, w) and weights (k, k), k odd, to the filtered images (n, h, w).

    Every channel of a picture counts as an image. Both are of floatX. Beyond the border, the
    outermost pixels go on; zeros would show as a dark frame. scipy.ndimage calls this "nearest".
    """
    images, weights = T.tensor3("images"), T.matrix("weights")
    height, width, radius = images.shape[1], images.shape[2], weights.shape[0] // 2
    rows = T.clip(T.arange(-radius, height + radius), 0, height - 1)
    columns = T.clip(T.arange(-radius, width + radius), 0, width - 1)
    wider = images[:, rows][:, :, columns]
    filtered = T.nnet.conv2d(
        wider.dimshuffle(0, "x", 1, 2), weights.dimshuffle("x", "x", 0, 1), border_mode="valid"
    )
    return symgraph.function([images, weights], filtered[:, 0])


def read_photo(path: str | None) -> Array:
    """The picture in a file, float64 (h, w, 3), 0 to 1, turned as its camera says.

    Any 8-bit format that Pillow reads, grey or colour; what is transparent is put on white.
    None: matplotlib's sample. DataError if it is not such a picture.
    """
    from matplotlib.cbook import get_sample_data
    from PIL import Image, ImageOps

    try:
        with Image.open(path or get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
            picture = ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise DataError(path, "no such file", "a picture", "correct the name") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            path, "a file that is not an image", "a picture such as PNG or JPEG", "convert it"
        ) from error
    if picture.mode[0] in "IF":
        raise DataError(
            path, f"pixels of more than 8 bits ({picture.mode})", "8 bits a channel",
            "save it as an 8-bit PNG",
        )  # fmt: skip
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture.convert("RGBA"))
    return np.asarray(ground.convert("RGB"), np.float64) / 255


def channels(picture: Array) -> Array:
    """(h, w) or (h, w, 3) as images (n, h, w) of floatX."""
    stack = np.atleast_3d(picture).transpose(2, 0, 1)
    return np.ascontiguousarray(stack, symgraph.config.floatX)


def filtered(convolve: Any, picture: Array, weights: Array, name: str) -> Array:
    """`picture`, (h, w) or (h, w, 3), under `weights`; the difference to SciPy's is printed."""
    result = convolve(channels(picture), weights.astype(symgraph.config.floatX))
    try:
        from scipy import ndimage
    except ImportError:
        against = "not compared: SciPy is missing (pip install scipy)"
    else:
        wide = channels(picture).astype("float64")
        expected = [ndimage.convolve(channel, weights, mode="nearest") for channel in wide]
        against = f"largest difference to SciPy {np.abs(result - expected).max():.1e}"
    size = "x".join(map(str, weights.shape))
    colours = "grey" if picture.ndim == 2 else "colour"
    sys.stdout.write(f"{name:<13} {size:>7} on {colours}: {against}\n")
    return result.transpose(1, 2, 0).reshape(picture.shape)


def panels(photo: Array, sigma: float, amount: float) -> list[tuple[str, Array, float]]:
    """Title, picture and the value shown as black of each panel; white is 1."""
    convolve = convolution()
    grey = photo @ LUMA if photo.ndim == 3 else photo
    blurred = filtered(convolve, photo, gaussian(sigma), "Gaussian blur")
    sharp = filtered(convolve, photo, sharpening(sigma / 2, amount), "sharpening")
    across = filtered(convolve, grey, SOBEL_X, "Sobel x")
    down = filtered(convolve, grey, SOBEL_Y, "Sobel y")
    return [
        ("the photograph", photo, 0.0),
        (f"Gaussian blur, sigma {sigma:g} pixels", blurred, 0.0),
        (f"sharpened: + {amount:g} (picture - blur)", sharp, 0.0),
        ("Sobel x (white: brighter to the right)", across, -1.0),
        ("Sobel y (white: brighter downwards)", down, -1.0),
        ("Sobel magnitude, sqrt(x² + y²)", np.hypot(across, down), 0.0),
    ]


def draw(shown: list[tuple[str, Array, float]]) -> bytes:
    """The panels as a PNG, three in a line."""
    from matplotlib.figure import Figure

    height, width = shown[0][1].shape[:2]
    figure = Figure(figsize=(9, 6 * min(2.0, height / width) + 0.6), layout="constrained")
    for axes, (title, picture, low) in zip(figure.subplots(2, 3).flat, shown, strict=True):
        axes.axis("off")
        axes.set_title(title, fontsize=10)
        axes.imshow(np.clip(picture, low, 1), cmap="gray", vmin=low, vmax=1)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()


def strength(text: str) -> float:
    value = float(text)
    if not 0 < value <= 50:
        raise argparse.ArgumentTypeError(f"got {text}; expected a number above 0, at most 50")
    return value


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", nargs="?", help="photograph to filter (default: matplotlib's)")
    parser.add_argument("--out", type=Path, default=Path("filters_on_photo.png"),
                        help="picture to write (default: %(default)s)")  # fmt: skip
    parser.add_argument("--sigma", type=strength, default=3.0,
                        help="of the blur, pixels; sharpening has half (default: 3)")  # fmt: skip
    parser.add_argument("--amount", type=strength, default=2.0,
                        help="strength of the sharpening (default: 2)")  # fmt: skip
    parser.add_argument("--grey", action="store_true", help="take the colours out first")
    chosen = parser.parse_args(arguments)
    try:
        photo = read_photo(chosen.image)
        height, width = photo.shape[:2]
        sys.stdout.write(f"{chosen.image or 'grace_hopper.jpg'}: {height} rows, {width} columns\n")
        shown = panels(photo @ LUMA if chosen.grey else photo, chosen.sigma, chosen.amount)
        write_atomically(chosen.out, draw(shown))
    except DataError as error:
        parser.exit(1, f"filters_on_photo.py: {error}\n")
    sys.stdout.write(f"wrote {chosen.out}\n")


if __name__ == "__main__":
    main()
