"""Which tile of a convolution a block computes, and how it lies in shared memory.

A block takes `map_threads * maps` maps by `images * rows * segments` segments of `pixels` pixels
in a row, a thread `maps` maps of one segment: maps * pixels sums in registers. It walks over
channels and taps in chunks, whose filters and whose part of the images ("slab") it stages in shared
memory. A pixel and a tap add up to a place in the slab, so that patches are never copied out; and
neighbours in a row share what they see, so that a row of taps costs one load of a segment's window.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from .convolution_problem import Problem
from .stage import ceil_div

SHARED = 40 * 1024  # bytes of a block, at most
STAGED = 24  # elements that a thread stages in a chunk: they wait in registers
UNROLLED = 8  # taps of a row that are printed one by one
PROCESSORS = 132  # of the device that tiles are chosen for


@dataclass(frozen=True)
class Deal:
    """Elements with these digits, the fastest first, dealt to threads.

    A thread has one value of each digit that comes before `split`, every `together`-th of that
    one, and all of those behind it, so that its elements are literal distances apart.
    """

    digits: tuple[tuple[str, int], ...]
    threads: int

    whole: int = field(init=False)  # how many digits come before the one that is split
    apart: int = field(init=False)  # threads from one value of that one to the next

    def __post_init__(self) -> None:
        whole, apart = 0, 1
        while whole < len(self.digits) and apart * self.digits[whole][1] <= self.threads:
            apart *= self.digits[whole][1]
            whole += 1
        object.__setattr__(self, "whole", whole)
        object.__setattr__(self, "apart", apart)

    @property
    def split(self) -> tuple[str, int]:
        """The digit that is split, and its base."""
        return self.digits[self.whole] if self.whole < len(self.digits) else ("", 1)

    @property
    def together(self) -> int:
        """Values of the split digit that the threads have at once."""
        return self.threads // self.apart if self.split[0] else 1

    @property
    def outer(self) -> tuple[tuple[str, int], ...]:
        """Digits of which a thread has all values."""
        return self.digits[self.whole + 1 :]

    @property
    def turns(self) -> int:
        """Values of the split digit that a thread has."""
        return ceil_div(self.split[1], self.together)

    @property
    def active(self) -> int:
        """Threads that have elements."""
        return self.apart * self.together

    @property
    def count(self) -> int:
        """Elements of a thread."""
        return self.turns * prod(base for _, base in self.outer)


@dataclass(frozen=True)
class Tile:
    """What a block and a thread compute; `depth` threads share a sum, dealt the rows of taps.

    A chunk has `channels` times `taps_y` by `taps_x` taps.
    """

    problem: Problem
    maps: int
    map_threads: int
    pixels: int
    images: int
    rows: int
    segments: int
    depth: int = 1
    channels: int = 1
    taps_y: int = 1
    taps_x: int = 1
    pads: tuple[int, int] = (0, 0)  # of rows and of images of the slab

    # ---- threads

    @property
    def places(self) -> int:
        """Segments of the tile."""
        return self.images * self.rows * self.segments

    @property
    def lanes(self) -> int:
        return self.places * self.map_threads

    @property
    def threads(self) -> int:
        return ceil_div(self.lanes * self.depth, 32) * 32

    @property
    def sums(self) -> int:
        return self.maps * self.pixels

    @property
    def quads(self) -> int:
        """Maps of a thread that come in fours, to be loaded at once."""
        return self.maps // 4 if self.problem.dtype == "float32" else 0

    def lines(self, axis: str) -> int:
        """Rows or columns of the tile."""
        return self.rows if axis == "y" else self.segments * self.pixels

    def taps(self, axis: str) -> int:
        """Taps of a chunk, down or across."""
        return self.taps_y if axis == "y" else self.taps_x

    def whole(self, axis: str) -> bool:
        return self.whole_rows if axis == "y" else self.whole_columns

    # ---- the grid

    def tiles(self) -> tuple[int, int, int, int, int]:
        """Tiles of an image: by maps, columns, rows, phases, groups."""
        p = self.problem
        return (
            ceil_div(p.maps, self.maps * self.map_threads),
            ceil_div(p.x.outs, self.segments * self.pixels),
            ceil_div(p.y.outs, self.rows), p.y.phases * p.x.phases, p.groups,
        )  # fmt: skip

    def blocks(self, batch: int) -> int:
        """Tiles of a whole batch."""
        images = batch if self.problem.images is None else self.problem.images
        return ceil_div(images, self.images) * prod(self.tiles())

    def chunks(self, batch: int) -> int:
        """Chunks of a sum."""
        channels = batch if self.problem.channels is None else self.problem.channels
        return ceil_div(channels, self.channels) * self.cuts[0] * self.cuts[1]

    def parts(self, batch: int) -> int:
        """Parts that sums are cut into so that blocks keep the device busy; 1: they are not.

        Sums over a batch are always cut; 0 parts are those of no images.
        """
        blocks, chunks = self.blocks(batch), self.chunks(batch)
        if self.problem.channels is not None and (3 * blocks > PROCESSORS or not chunks):
            return 1
        share = ceil_div(chunks, max(1, 2 * PROCESSORS // max(1, blocks)))
        return ceil_div(chunks, max(1, share))

    @property
    def adders(self) -> int:
        """Threads that share one sum of parts: some, where sums are few and parts are many."""
        few = self.problem.channels is None and self.blocks(0) * self.lanes * self.sums < 1 << 16
        return 8 if few else 1

    @property
    def cuts(self) -> tuple[int, int]:
        """Chunks that the rows and the columns of taps are cut into."""
        p = self.problem
        return ceil_div(p.y.seen, self.taps_y), ceil_div(p.x.seen, self.taps_x)

    # ---- the slab

    @property
    def whole_rows(self) -> bool:
        """The slab holds the rows that there are, and taps beside the image are passed over."""
        y = self.problem.y
        one = self.rows >= y.outs and self.taps_y == y.taps and y.phases == 1
        return one and y.bordered

    @property
    def whole_columns(self) -> bool:
        """The same for columns: a thread has a whole row, where all of this is known in print."""
        x = self.problem.x
        one = self.segments == 1 and self.pixels >= x.outs and self.taps_x == x.taps <= UNROLLED
        return one and x.phases == 1 and x.bordered and x.span[1] - x.span[0] <= 32

    @property
    def height(self) -> int:
        y = self.problem.y
        return y.span[1] - y.span[0] if self.whole_rows else y.reach(self.rows, self.taps_y)

    @property
    def width(self) -> int:
        x = self.problem.x
        if self.whole_columns:
            return x.span[1] - x.span[0]
        return x.reach(self.segments * self.pixels, self.taps_x)

    @property
    def pitch(self) -> int:
        """From a row of the slab to the next: rows begin aligned where windows may."""
        x = self.problem.x
        aligned = self.whole_columns or self.pixels * x.stride % 4 == 0 or self.segments == 1
        return (ceil_div(self.width, 4) * 4 if aligned else self.width) + self.pads[0]

    @property
    def plane(self) -> int:
        """From an image of the slab to the next."""
        return ceil_div(self.height * self.pitch, 4) * 4 + self.pads[1]

    @property
    def slab(self) -> int:
        return self.channels * self.images * self.plane

    @property
    def digits(self) -> tuple[tuple[str, int], ...]:
        """What a lane has to do, the fastest digit first.

        Where rows of taps are passed over, lanes of a warp should be of the same row; otherwise
        they are neighbours in the result, which is stored together.
        """
        places = ("image", self.images), ("segment", self.segments), ("line", self.rows)
        maps = ("mine", self.map_threads)
        return (maps, *places) if self.whole_rows else (*places, maps)

    def window_of(self, lane: int) -> int:
        """Where in the slab the window of a lane begins, but for what all have in common."""
        at = {}
        for name, base in self.digits:
            lane, at[name] = divmod(lane, base)
        y, across = self.problem.y, 0 if self.whole_columns else self.pixels * self.problem.x.stride
        row = at["line"] * y.stride * self.pitch
        return at["image"] * self.plane + row + at["segment"] * across

    # ---- the filters

    @property
    def row(self) -> int:
        """From a tap to the next: the maps of the tile, an odd number of fours."""
        return (ceil_div(self.maps * self.map_threads, 4) | 1) * 4

    @property
    def tap_row(self) -> int:
        """From a row of taps to the next."""
        return self.taps_x * self.row + (4 if self.depth > 1 else 0)

    @property
    def filters(self) -> int:
        return self.channels * self.taps_y * self.tap_row

    # ---- what it needs

    @cached_property
    def dealt_taps(self) -> Deal:
        """Elements of the filters, in the order in which they lie in memory."""
        names = [("m", self.maps * self.map_threads), ("c", self.channels)]
        if self.problem.filter_strides[1] > self.problem.filter_strides[2]:
            names.reverse()
        return Deal((("s", self.taps_x), ("r", self.taps_y), *names), self.threads)

    @cached_property
    def dealt_slab(self) -> Deal:
        """Elements of the slab, in the order in which they lie there."""
        lines = (("x", self.width), ("y", self.height))
        return Deal((*lines, ("i", self.images), ("c", self.channels)), self.threads)

    @property
    def staged(self) -> int:
        """Elements that a thread stages."""
        return self.dealt_taps.count + self.dealt_slab.count

    @property
    def by_channels(self) -> bool:
        """Whether threads that share a sum are dealt channels, and not rows of taps."""
        return self.channels % self.depth == 0

    @property
    def folded(self) -> int:
        """Sums of a thread that are added up over `depth` at once."""
        room = SHARED // 2 // self.problem.itemsize
        return max(1, min(self.sums, room // (self.lanes * self.depth)))

    @property
    def room(self) -> int:
        """Elements of shared memory; windows may be loaded some elements beyond."""
        fold = self.folded * self.lanes * self.depth if self.depth > 1 else 0
        return max(self.filters + self.slab + 4, fold)

    @property
    def unrolled(self) -> int:
        """Taps of a row that are printed: all, or some of them in a loop."""
        return self.taps_x if self.taps_x <= UNROLLED else UNROLLED

    @property
    def window(self) -> int:
        """Elements that a segment sees through these taps."""
        if self.whole_columns:
            return self.width
        x = self.problem.x
        return (self.pixels - 1) * x.stride + (self.unrolled - 1) * x.move + 1

    @property
    def dense(self) -> bool:
        """Whether a window is loaded as a whole, for all its taps."""
        return self.window <= 32

    @property
    def vectors(self) -> bool:
        """Whether windows are loaded by fours."""
        x = self.problem.x
        starts = self.pixels * x.stride % 4 == 0 or self.segments == 1
        steps = self.unrolled * x.move % 4 == 0 or self.taps_x <= self.unrolled
        return self.dense and self.problem.dtype == "float32" and starts and steps

    @property
    def stored_by_fours(self) -> bool:
        """Whether pixels of the result are stored by fours, if it begins aligned."""
        p = self.problem
        aligned = (
            self.pixels % 4 == 0
            and p.x.size % 4 == 0
            and not any(stride % 4 for stride in p.result_strides)
        )
        plain = self.depth == 1 and not p.turned and p.x.phases == 1
        return p.dtype == "float32" and aligned and plain

    def fits(self) -> bool:
        return (
            self.room * self.problem.itemsize <= SHARED
            and self.staged <= STAGED
            and self.threads <= 512
        )

    def even(self) -> bool:
        """Whether threads that share a sum have as much to do."""
        return self.by_channels or self.taps_y % self.depth == 0
