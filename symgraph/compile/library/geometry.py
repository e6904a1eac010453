"""What a convolution declares, and how it is printed into kernels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """What is declared of a convolution; sizes are those of image, filters and output."""

    flip: bool
    subsample: tuple[int, int]
    dilation: tuple[int, int]
    pad: str | tuple[tuple[int, int], tuple[int, int]]
    groups: int
    size: tuple[int | None, int | None]

    @classmethod
    def read(cls, params: Mapping[str, object]) -> "Geometry":
        """From the parameters of an operation; ValueError where they make no sense."""
        get = dict(params).get
        pad = get("pad", "valid")
        if isinstance(pad, str):
            if pad not in ("valid", "full", "half"):
                raise ValueError(f"pad must be 'valid', 'full', 'half' or four ints, got {pad!r}")
        else:
            pad = tuple((int(a), int(b)) for a, b in pad)  # type: ignore[attr-defined]
            if len(pad) != 2 or min(map(min, pad)) < 0:
                raise ValueError(f"pad must be ((top, bottom), (left, right)), got {pad!r}")
        subsample = tuple(map(int, get("subsample", (1, 1))))  # type: ignore[call-overload]
        dilation = tuple(map(int, get("filter_dilation", (1, 1))))  # type: ignore[call-overload]
        groups = int(get("num_groups", 1))  # type: ignore[call-overload]
        if len(subsample) != 2 or len(dilation) != 2 or min(*subsample, *dilation, groups) < 1:
            raise ValueError("subsample, filter_dilation and num_groups must be positive")
        size = (get("kh"), get("kw"))
        return cls(bool(get("filter_flip", True)), subsample, dilation, pad, groups, size)  # type: ignore[arg-type]

    def lines(self) -> str:
        """Kernel lines that set kh, kw, top and left where they are not read from sizes."""
        lines = [
            f"    {name} = {literal}"
            for name, literal in zip(("kh", "kw"), self.size, strict=True)
            if literal is not None
        ]
        for axis, name in enumerate(("top", "left")):
            reach = f"({('kh', 'kw')[axis]} - 1) * {self.dilation[axis]}"
            if self.pad == "valid":
                value = "0"
            elif self.pad == "full":
                value = reach
            elif self.pad == "half":
                value = f"({reach} + 1) // 2"
            else:
                value = str(self.pad[axis][0])
            lines.append(f"    {name} = {value}")
        return "\n".join(lines)

    @property
    def pointwise(self) -> bool:
        """Whether each pixel of the output sees the one pixel of the image at its place."""
        alone = self.pad in ("valid", "full", "half", ((0, 0), (0, 0)))
        return self.size == (1, 1) and self.subsample == (1, 1) and alone

    @property
    def bordered(self) -> bool:
        """Whether images may be padded."""
        return self.pad not in ("valid", ((0, 0), (0, 0)))

    def reach(self, kh: int, kw: int, rows: int, columns: int) -> Pair:
        """Lines and columns of the padded image that `rows` by `columns` of the output see."""
        (sh, sw), (dh, dw) = self.subsample, self.dilation
        return (rows - 1) * sh + (kh - 1) * dh + 1, max(0, (columns - 1) * sw + (kw - 1) * dw + 1)

    def output(self, image: Sequence[int], filters: Sequence[int]) -> tuple[int, int, int, int]:
        """The shape of the output for images (N, C, H, W) and filters (O, C / groups, kh, kw)."""
        sizes = []
        for axis in (0, 1):
            reach = (filters[2 + axis] - 1) * self.dilation[axis]
            named = {"valid": 0, "full": 2 * reach, "half": (reach + 1) // 2 * 2}
            pad = named[self.pad] if isinstance(self.pad, str) else sum(self.pad[axis])
            sizes.append(max(0, (image[2 + axis] + pad - reach - 1) // self.subsample[axis] + 1))
        return image[0], filters[0], sizes[0], sizes[1]

    def filter_sizes(self, shape: str) -> str:
        """`shape` with those of kh and kw that are literals left unread."""
        for name, literal in zip(("kh", "kw"), self.size, strict=True):
            if literal is not None:
                shape = shape.replace(name, "_")
        return shape

    def text(self) -> str:
        """For a comment."""
        size = " x ".join("?" if k is None else str(k) for k in self.size)
        return (
            f"filters {size}{', flipped' if self.flip else ''}, subsample {self.subsample}, "
            f"dilation {self.dilation}, pad {self.pad}, groups {self.groups}"
        )


@dataclass(frozen=True)
class Declared:
    """The sizes that a user declared: None for a group's channels or maps that are open.

    `sizes`: the shapes of the output, the images and the filters, if all is declared.
    """

    channels: int | None
    maps: int | None
    sizes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None

    @classmethod
    def read(cls, params: Mapping[str, object], geometry: Geometry) -> "Declared":
        """From the parameters "images" and "filters" of an operation: shapes or None."""
        given: list[Any] = [params.get(name) or (None,) * 4 for name in ("images", "filters")]
        images, filters = map(tuple, given)
        maps = None if filters[0] is None else filters[0] // geometry.groups
        sizes = None
        if None not in (*images, *filters):
            sizes = geometry.output(images, filters), images, filters
        return cls(filters[1], maps, sizes)

    def shapes(
        self, output: str, images: str, filters: str
    ) -> Mapping[str, tuple[int, ...]] | None:
        """The declared shapes by the names of operands; None unless all are declared."""
        names = (output, images, filters)
        return None if self.sizes is None else dict(zip(names, self.sizes, strict=True))
