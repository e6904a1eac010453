"""What a library kernel of the device is handed over as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from symgraph.compile.library.stage import Shapes, Size, ceil_div, read_sizes

__all__ = ["Lowering", "Shapes", "Size", "Stage", "ceil_div", "read_sizes"]


@dataclass(frozen=True)
class Stage:
    """One launch: `source(shapes)` is the kernel's text, `blocks(shapes)` how many run it.

    `operands` names the arrays in order, outputs and temporaries that are written first: "out0",
    "tmp0", ..., "in0". `sizes` holds each one's shape and then its strides in elements. With no
    blocks a stage is not run, nor even printed: variants for other shapes stand side by side.
    The text may hold, as literals, what is fixed for a model (channels, filters, image sizes) but
    not how many images there are, so that another batch size finds the same kernel.
    """

    source: Callable[[Shapes], str]
    operands: tuple[str, ...]
    blocks: Size
    written: int = 1  # so many of the operands, the first, are written


@dataclass(frozen=True)
class Lowering:
    """The stages of one operation, in order, and its temporaries: name -> (dtype, shape)."""

    stages: tuple[Stage, ...]
    temporaries: Mapping[str, tuple[str, Callable[[Shapes], tuple[int, ...]]]] = field(
        default_factory=dict
    )
