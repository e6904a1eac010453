"""What a library kernel is handed over as: stages, and the temporaries between them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Shapes = Mapping[str, tuple[int, ...]]
Size = Callable[[Shapes], int]


def nothing(shapes: Shapes) -> int:
    """The workspace of a kernel that needs none."""
    return 0


@dataclass(frozen=True)
class Stage:
    """One step: printed kernel source and how it is cut up.

    `operands` names the arrays in order, outputs first: "out0", "in0", "tmp0", ..., "work". For
    every operand but "work" `sizes` holds its shape and then its strides in elements; where "work"
    is an operand, its bytes per worker (a multiple of 64) come last.

    `extent`, `grain` and `workspace` take the concrete shapes by operand name and return the number
    of items, the items in a chunk, and the bytes of "work" each worker needs. They depend on the
    problem alone, never on the number of threads.

    `along` names the operands of which items touch disjoint runs of the leading axis, and `slices`
    how: (entries, items, length): every `entries` entries of that axis, of `length` in all, are
    touched by `items` consecutive items and by no others; the last run may be shorter. Such stages
    can run chunk by chunk with what comes before and after them (compile/chain.py).
    """

    source: str
    operands: tuple[str, ...]
    extent: Size
    grain: Size
    workspace: Size = nothing
    along: tuple[str, ...] = ()
    slices: Callable[[Shapes], tuple[int, int, int]] | None = None


@dataclass(frozen=True)
class Lowering:
    """The stages of one operation, in order, and its temporaries: name -> (dtype, shape)."""

    stages: tuple[Stage, ...]
    temporaries: Mapping[str, tuple[str, Callable[[Shapes], tuple[int, ...]]]] = field(
        default_factory=dict
    )


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def chunk_of(extent: int, total: int) -> int:
    """Items in a chunk, of `extent` that share `total` multiply-adds: a chunk has 400,000 or more
    of them, and there are at most 64 chunks."""
    work = total // max(1, extent)
    return max(1, ceil_div(400_000, work + 1), ceil_div(extent, 64))


def read_sizes(*operands: tuple[str, str]) -> str:
    """Kernel lines that name the extents and strides of operands, e.g. ("m n", "_ _").

    Each operand gives the names of its extents and of its strides; "_" leaves one unread.
    """
    lines, at = [], 0
    for extents, strides in operands:
        for name in extents.split() + strides.split():
            if name != "_":
                lines.append(f"    {name} = sizes[{at}]")
            at += 1
    return "\n".join(lines)
