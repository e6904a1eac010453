"""What a convolution declares, and how it is printed into kernels."""

from collections.abc import Mapping
from dataclasses import dataclass

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
