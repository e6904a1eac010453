"""All three convolutions as one sum, a correlation of `images` with `filters`:

    result[i, m, y, x] = sum over channels c and taps r, s of filters[m, c, r, s]
                         * images[i, c, y * stride - pad + r * dilation, x * ...]

    conv2d               maps = filters, channels = channels
    conv2d_grad_inputs   the gradient correlated with the filters the other way round: a gather, so
                         that nothing is added up in memory; maps = channels, channels = filters.
                         Strides become phases.
    conv2d_grad_weights  the images correlated with the gradient: images = channels, channels =
                         images, taps = pixels, and strides and dilations change places.

Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

from symgraph.compile.library.geometry import Geometry

from .stage import ceil_div

IMAGES, FILTERS, TOP = range(3)  # which of them is computed from the others


@dataclass(frozen=True)
class Axis:
    """Rows or columns: sizes of the result, the images and the filters, and how they move.

    With `phases` z > 1 (the gradient of a stride) only pixels of the same remainder by z see the
    same taps: each phase is a correlation of its own with stride 1, of every `skip`-th tap.
    """

    size: int
    image: int
    taps: int
    stride: int
    dilation: int
    pad: int
    phases: int = 1

    @property
    def skip(self) -> int:
        """Taps from one that a phase sees to its next."""
        return self.phases // gcd(self.phases, self.dilation)

    @property
    def move(self) -> int:
        """Pixels of the image from one of these taps to the next."""
        return self.dilation // gcd(self.phases, self.dilation)

    @property
    def outs(self) -> int:
        """Lines of the result in a phase."""
        return ceil_div(self.size, self.phases)

    @property
    def seen(self) -> int:
        """Taps in a phase."""
        return ceil_div(self.taps, self.skip)

    @property
    def span(self) -> tuple[int, int]:
        """The first and, plus 1, the last line of the image that all lines of the result see."""
        stop = (self.size - 1) * self.stride + (self.taps - 1) * self.dilation + 1 - self.pad
        return max(0, -self.pad), max(max(0, -self.pad), min(self.image, stop))

    @property
    def bordered(self) -> bool:
        """Whether taps fall beside the image."""
        stop = (self.size - 1) * self.stride + (self.taps - 1) * self.dilation - self.pad
        return self.phases > 1 or self.pad > 0 or stop >= self.image

    def reach(self, lines: int, taps: int) -> int:
        """Lines of the image that so many lines of the result see through so many taps."""
        return (lines - 1) * self.stride + (taps - 1) * self.move + 1


@dataclass(frozen=True)
class Problem:
    """A correlation, in elements; `None` for how many images or channels there are: the batch."""

    dtype: str
    images: int | None
    maps: int
    channels: int | None
    groups: int
    y: Axis
    x: Axis
    flipped: bool  # the taps lie backwards in the filters
    turned: bool  # the result is laid down backwards
    image_strides: tuple[int, int, int]  # group, image, channel
    filter_strides: tuple[int, int, int]  # group, map, channel
    result_strides: tuple[int, int, int]  # group, image, map

    @property
    def axes(self) -> tuple[tuple[str, Axis], ...]:
        return ("y", self.y), ("x", self.x)

    def axis(self, name: str) -> Axis:
        return self.y if name == "y" else self.x

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 8


def correlation(
    dtype: str,
    geometry: Geometry,
    role: int,
    images: tuple[int, ...],
    filters: tuple[int, ...],
    top: tuple[int, ...],
) -> Problem:
    """The correlation that computes `role`, one of IMAGES, FILTERS, TOP, from the others."""
    (_, c, *image), (o, cg, *taps), (_, _, *out) = images, filters, top
    groups, og = geometry.groups, o // geometry.groups
    pixels, weights, size = prod(image), prod(taps), prod(out)
    image_strides = (cg * pixels, c * pixels, pixels)  # group, image, channel
    filter_strides = (og * cg * weights, cg * weights, weights)  # group, filter, channel
    top_strides = (og * size, o * size, size)  # group, image, filter
    y, x = (_axis(geometry, role, a, image[a], taps[a], out[a]) for a in (0, 1))
    if role == TOP:
        return Problem(
            dtype, None, og, cg, groups, y, x, geometry.flip, False,
            image_strides, filter_strides, top_strides,
        )  # fmt: skip
    if role == IMAGES:
        return Problem(
            dtype, None, cg, og, groups, y, x, not geometry.flip, False,
            top_strides, _swapped(filter_strides), image_strides,
        )  # fmt: skip
    return Problem(
        dtype, cg, og, None, groups, y, x, False, geometry.flip,
        _swapped(image_strides), _swapped(top_strides), _swapped(filter_strides),
    )  # fmt: skip


def _axis(geometry: Geometry, role: int, axis: int, image: int, taps: int, out: int) -> Axis:
    """Rows or columns of that correlation."""
    stride, dilation = geometry.subsample[axis], geometry.dilation[axis]
    reach = (taps - 1) * dilation
    named = {"valid": 0, "full": reach, "half": (reach + 1) // 2}
    pad = named[geometry.pad] if isinstance(geometry.pad, str) else geometry.pad[axis][0]
    if role == TOP:
        return Axis(out, image, taps, stride, dilation, pad)
    if role == IMAGES:
        return Axis(image, out, taps, 1, dilation, reach - pad, stride)
    return Axis(taps, image, out, dilation, stride, pad)


def _swapped(strides: tuple[int, int, int]) -> tuple[int, int, int]:
    """Those of the group, and the others the other way round."""
    return strides[0], strides[2], strides[1]
