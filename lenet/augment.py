"""Data augmentation as part of the training function: each image under a random affine map.

    x = augment(images, RandomStreams(seed), shift=2, rotate=10, scale=0.1)

The maps are drawn anew in each call of the compiled function, from streams whose states are shared
variables (`streams.state_updates`): the same seed gives the same pictures bit for bit, and a run
that saves those states goes on with the numbers it would have drawn.

Source of the distortions: LeCun et al., Gradient-based learning applied to document recognition,
1998, III-C (planar affine: translations, scaling, shearing); of the parameters: torchvision,
`RandomAffine`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lenet.errors import RunError
from symgraph import tensor as T


@dataclass(frozen=True)
class Augmentation:
    """How far images are distorted, at most; every amount is uniform and drawn for each image.

    `shift`: pixels, up or down and, drawn apart, left or right; not only whole ones. `rotate`:
    degrees (0 to 180) either way. `scale`: the factor is in [1 - scale, 1 + scale], the same along
    both axes; less than 1. `shear`: degrees (less than 90) by which vertical lines lean either way.
    All from 0; RunError if out of range. False if nothing is distorted.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("shift", 0 <= self.shift < math.inf, "a number of pixels from 0"),
            ("rotate", 0 <= self.rotate <= 180, "degrees from 0 to 180"),
            ("scale", 0 <= self.scale < 1, "a share from 0 to less than 1"),
            ("shear", 0 <= self.shear < 90, "degrees from 0 to less than 90"),
        ):
            if not fits:
                raise RunError(
                    "augmentation", f"{name}={getattr(self, name):g}", expected, f"mend {name}"
                )

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """The augmentation of a text such as "shift=2,rotate=10"; of an empty one, none.

        Raises RunError for other names, names twice, what is no number, and out of range.
        """
        amounts: dict[str, float] = {}
        known = [field.name for field in fields(cls)]
        for part in text.split(",") if text else []:
            name, _, value = part.partition("=")
            try:
                amount = float(value)
            except ValueError:
                amount = math.nan
            if name not in known or name in amounts or math.isnan(amount):
                raise RunError(
                    "augmentation",
                    repr(part),
                    f"NAME=NUMBER, each once, of {', '.join(known)}",
                    "write it as shift=2,rotate=10,scale=0.1,shear=5",
                )
            amounts[name] = amount
        return cls(**amounts)

    def __bool__(self) -> bool:
        return any((self.shift, self.rotate, self.scale, self.shear))

    def __call__(self, images: Any, streams: Any, fill: float = 0.0) -> Any:
        """`images` distorted, as `augment` says."""
        if not self:
            return images
        _check_images("augment", images)
        size = images.shape[2], images.shape[3]
        maps = self.draw(streams, images.shape[0], size, _precision(images.dtype))
        return affine(images, maps, fill)

    def draw(self, streams: Any, count: Any, size: Any, dtype: str = "float32") -> Any:
        """`count` random maps about the centre of images of `size` (height, width), for `affine`.

        (count, 2, 3) in `dtype`. `streams` is a symgraph.tensor.random.RandomStreams; `count` and
        sizes may be symbolic. An amount of 0 changes nothing that is drawn for the others.
        """
        u = streams.uniform((5, count), low=-1.0, high=1.0, dtype=dtype)

        def most(amount: float, draws: Any) -> Any:
            return np.asarray(amount, dtype) * draws

        return maps_about_centre(
            size,
            down=most(self.shift, u[0]),
            right=most(self.shift, u[1]),
            angle=most(math.radians(self.rotate), u[2]),
            factor=np.asarray(1, dtype) + most(self.scale, u[3]),
            slant=T.tan(most(math.radians(self.shear), u[4])),
        )


def augment(
    images: Any,
    streams: Any,
    shift: float = 0.0,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    fill: float = 0.0,
) -> Any:
    """`images` (n, channels, height, width), floats, each under a random affine map of its own.

    The amounts are those of `Augmentation`; sizes may be symbolic. `streams` is a
    symgraph.tensor.random.RandomStreams. Interpolation and `fill` are as for `affine`, the result
    is of the type of `images`; `images` itself if all amounts are 0. Raises RunError for amounts
    out of range and images that are not four axes of floats.
    """
    return Augmentation(shift, rotate, scale, shear)(images, streams, fill)


def maps_about_centre(size: Any, down: Any, right: Any, angle: Any, factor: Any, slant: Any) -> Any:
    """Maps for `affine`, (n, 2, 3), from vectors (n,) that say what they do to an image.

    About its centre it becomes `factor` times as large, is then sheared so that what lies one pixel
    higher moves `slant` pixels to the right, then turned counterclockwise by `angle` radians, then
    moved by `down` and `right` pixels. `size` is (height, width), ints or scalars.
    """
    dtype = angle.dtype
    middle = [(T.cast(side, dtype) - np.asarray(1, dtype)) / np.asarray(2, dtype) for side in size]
    cosine, sine = T.cos(angle) / factor, T.sin(angle) / factor
    # From a pixel of the result back: turn, shear and scale, each undone.
    linear = (cosine, sine), (slant * cosine - sine, slant * sine + cosine)
    rows = []
    for (along_rows, along_columns), centre in zip(linear, middle, strict=True):
        from_centre = along_rows * (middle[0] + down) + along_columns * (middle[1] + right)
        rows.append(T.stack([along_rows, along_columns, centre - from_centre], axis=1))
    return T.stack(rows, axis=1)


def affine(images: Any, matrices: Any, fill: float = 0.0) -> Any:
    """`images` (n, channels, height, width), floats, each under the affine map of its own.

    `matrices` (n, 2, 3), floats: pixel (row, column) of the result is what the image has at
    matrix[:, :2] . (row, column) + matrix[:, 2], interpolated linearly along both axes; outside,
    images go on as `fill`. The result is of the type of `images`; NaN where a map leads to NaN.
    Differentiable by both. Raises RunError for other types.
    Source: SciPy, `ndimage.affine_transform` with order=1, mode="grid-constant"; Jaderberg,
    Simonyan, Zisserman, Kavukcuoglu, Spatial transformer networks, 2015.
    """
    _check_images("affine", images)
    matrices = T.as_tensor_variable(matrices)
    if matrices.ndim != 3 or not matrices.dtype.startswith("float"):
        raise RunError(
            "affine", f"matrices of type {matrices.type}", "floats (n, 2, 3)",
            "give a row and a column of three numbers for each image",
        )  # fmt: skip
    count, channels, height, width = (images.shape[axis] for axis in range(4))
    # A border of `fill` makes all pixels alike: no neighbour is outside, no weight is masked.
    tall, wide = height + 3, width + 3
    bordered = T.alloc(np.asarray(fill, images.dtype), count, channels, tall, wide)
    bordered = T.set_subtensor(bordered[:, :, 1:-2, 1:-2], images)
    row, below = _place(matrices[:, 0], height, height, width)
    column, beside = _place(matrices[:, 1], width, height, width)

    def flat(plane: Any) -> Any:
        # Reshaped, planes are stored: computed once for all channels, in a loop of their own that
        # vectorises, as gathers do not.
        return plane.reshape((count, height * width)).dimshuffle(0, "x", 1)

    number = _along(T.arange(count), 0, 3) * channels + _along(T.arange(channels), 1, 3)
    at = number * (tall * wide) + flat(row * wide + column)
    below, beside = (flat(T.cast(share, images.dtype)) for share in (below, beside))
    pixels = bordered.flatten()
    upper = pixels[at] + beside * (pixels[at + 1] - pixels[at])
    lower = pixels[at + wide] + beside * (pixels[at + (wide + 1)] - pixels[at + wide])
    return (upper + below * (lower - upper)).reshape(images.shape)


def _place(rows: Any, side: Any, height: Any, width: Any) -> tuple[Any, Any]:
    """Where pixels come from along one axis: index in the bordered image, and share of the next.

    `rows` (n, 3) are this axis' rows of the matrices; the results are (n, height, width).
    """
    exact = rows.dtype
    y, x = (_along(T.cast(T.arange(n), exact), axis, 3) for n, axis in ((height, 1), (width, 2)))
    by_row, by_column, offset = (_along(rows[:, k], 0, 3) for k in range(3))
    position = by_row * y + (by_column * x + (offset + np.asarray(1, exact)))
    inside = T.clip(position, np.asarray(0, exact), T.cast(side + 1, exact))
    index = T.cast(T.switch(inside >= 0, inside, np.asarray(0, exact)), "int64")  # NaN as 0
    return index, inside - T.cast(index, exact)


def _along(vector: Any, axis: int, ndim: int) -> Any:
    """A vector as the given one of `ndim` axes."""
    return vector.dimshuffle(*(0 if axis == place else "x" for place in range(ndim)))


def _precision(dtype: str) -> str:
    """The dtype of coordinates: that of the images, at least float32."""
    return "float32" if dtype == "float16" else dtype


def _check_images(where: str, images: Any) -> None:
    if getattr(images, "ndim", None) != 4 or not images.dtype.startswith("float"):
        raise RunError(
            where, f"images of type {getattr(images, 'type', type(images).__name__)}",
            "floats (n, channels, height, width)", "reshape and cast them",
        )  # fmt: skip
