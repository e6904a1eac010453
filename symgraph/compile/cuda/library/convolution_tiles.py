"""Which tile of a convolution a block computes, and how it lies in shared memory.

All three operations are one sum, a correlation of `images` with `filters`:

    result[i, m, y, x] = sum over channels c and taps r, s of filters[m, c, r, s]
                         * images[i, c, y * stride - pad + r * dilation, x * ...]

A block takes `map_threads * maps` maps by `images * rows * segments` segments of `pixels` pixels
in a row, a thread `maps` maps of one segment: maps * pixels sums in registers. It walks over
channels and taps in chunks, whose filters and whose part of the images ("slab") it stages in shared
memory. A pixel and a tap add up to a place in the slab, so that patches are never copied out; and
neighbours in a row share what they see, so that a row of taps costs one load of a segment's window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from math import gcd, prod

from .stage import ceil_div

SHARED = 40 * 1024  # bytes of a block, at most
STAGED = 24  # elements that a thread stages in a chunk: they wait in registers
UNROLLED = 8  # taps of a row that are printed one by one
PROCESSORS, SCHEDULERS = 132, 4  # of the device that tiles are chosen for


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
class Deal:
    """Elements with these digits, the fastest first, dealt to threads.

    A thread has one value of each digit that comes before `split`, every `together`-th of that
    one, and all of those behind it, so that its elements are literal distances apart.
    """

    digits: tuple[tuple[str, int], ...]
    threads: int

    @cached_property
    def whole(self) -> int:
        """How many digits come before the one that is split."""
        apart = 1
        for k, (_, base) in enumerate(self.digits):
            apart *= base
            if apart > self.threads:
                return k
        return len(self.digits)

    @cached_property
    def apart(self) -> int:
        """Threads from one value of the split digit to the next."""
        return prod(base for _, base in self.digits[: self.whole])

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

    @cached_property
    def count(self) -> int:
        """Elements of a thread."""
        return self.turns * prod(base for _, base in self.outer)


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
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 8


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

    # ---- the grid

    def tiles(self) -> tuple[int, int, int, int, int]:
        """Tiles of an image: by maps, columns, rows, phases, groups."""
        p = self.problem
        return (
            ceil_div(p.maps, self.maps * self.map_threads),
            ceil_div(p.x.outs, self.segments * self.pixels),
            ceil_div(p.y.outs, self.rows), p.y.phases * p.x.phases, p.groups,
        )  # fmt: skip

    def blocks(self, images: int) -> int:
        """Tiles of so many images."""
        count = ceil_div(images, self.images)
        for tiles in self.tiles():
            count *= tiles
        return count

    def chunks(self, channels: int) -> int:
        return ceil_div(channels, self.channels) * self.cuts[0] * self.cuts[1]

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
        plain = self.depth == 1 and p.channels is not None and not p.turned and p.x.phases == 1
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


def widened(tile: Tile) -> Tile | None:
    """`tile` with chunks as large as fit; None if there are none that its threads can share."""
    p, depth = tile.problem, tile.depth
    for name, most in (("taps_x", p.x.seen), ("taps_y", p.y.seen), ("channels", p.channels or 64)):
        pieces = _pieces(most)
        if name == "channels" and tile.taps_y % depth:
            pieces = tuple(depth * piece for piece in _pieces(ceil_div(most, depth)))
        wider = (replace(tile, **{name: piece}) for piece in pieces)  # type: ignore[arg-type]
        fitting = next((w for w in wider if w.fits()), None)
        if fitting is None:
            return None
        tile = fitting
        if getattr(tile, name) < most:
            break
    return tile if tile.even() else None


@cache
def _pieces(most: int) -> tuple[int, ...]:
    """Sizes of equal pieces of `most`, the largest first."""
    sizes = {ceil_div(most, pieces) for pieces in range(1, min(most, 64) + 1)} | {1}
    return tuple(sorted(sizes, reverse=True))


@cache
def choose(problem: Problem, batch: int) -> Tile:
    """The tile that `cycles` thinks is best for a batch of about so many."""
    wide = [w for w in map(widened, _candidates(problem)) if w is not None]
    best = min(wide, key=lambda tile: cycles(tile, batch))
    padded = (replace(best, pads=pads) for pads in product(range(0, 32, 4), repeat=2))
    return min((w for w in padded if w.fits()), key=lambda tile: (conflicts(tile), tile.slab))


def conflicts(tile: Tile) -> int:
    """Turns that shared memory takes to load a window's first element, or four, for a warp.

    Eight lanes load fours at once if these are on different banks, or the same ones.
    """
    width = 4 if tile.vectors else 1
    lanes, turns = 32 // width, 0
    for first in range(0, 32, lanes):
        places = {tile.window_of(lane) // width for lane in range(first, first + lanes)}
        banks = [place % lanes for place in places]
        turns += max(map(banks.count, banks))
    return turns


def _candidates(p: Problem) -> list[Tile]:
    """Tiles with the smallest chunks; the last fits whatever the problem is."""
    most = 104 if p.dtype == "float32" else 32
    tiles = []
    for map_threads in (1, 2, 4, 5, 8, 10, 16):
        maps = ceil_div(p.maps, map_threads * ceil_div(p.maps, map_threads * 14))
        if map_threads > p.maps:
            continue
        for pixels in sorted({min(p.x.outs, n) for n in (1, 2, 4, 5, 6, 8, 12, 16)}):
            if maps * pixels > most or (pixels > 8 and pixels != p.x.outs):
                continue
            for lanes, depth in product((32, 64, 128, 256, 384), (1, 2, 4, 8, 16)):
                places = lanes // (map_threads * depth)
                if not places:
                    continue
                segments = min(ceil_div(p.x.outs, pixels), places)
                rows = min(p.y.outs, places // segments)
                images = min(p.images or 64, places // (segments * rows))
                rows = ceil_div(p.y.outs, ceil_div(p.y.outs, rows))
                tiles.append(Tile(p, maps, map_threads, pixels, images, rows, segments, depth))
    return list(dict.fromkeys([*tiles, Tile(p, 1, 1, 1, 1, 1, 1)]))


def cycles(tile: Tile, batch: int) -> float:
    """Cycles of the busiest processor, by counted instructions: an estimate to compare tiles by."""
    p = tile.problem
    images, channels = p.images or batch, batch if p.channels is None else p.channels
    blocks, chunks = tile.blocks(images), tile.chunks(channels)
    parts = 1
    if p.channels is None:
        parts = max(1, min(chunks, 2 * PROCESSORS // blocks))
        chunks = ceil_div(chunks, parts)
    # instructions of a thread
    loads = tile.unrolled * (tile.quads + tile.maps - 4 * tile.quads)
    loads += ceil_div(tile.window, 4 if tile.vectors else 1) if tile.dense else tile.pixels * 8
    hits = _hits(p.x) if tile.whole_columns else 1.0
    products = tile.unrolled * tile.sums * hits * (1 if p.dtype == "float32" else 2)
    rows = tile.channels * tile.taps_y / tile.depth * (_walked(tile) if tile.whole_rows else 1)
    issued = products + loads + 6
    row = max(issued, SCHEDULERS * _turns(tile)) * tile.taps_x / tile.unrolled
    chunk = rows * row + 5 * tile.staged + 30
    fold = tile.sums * (2 + tile.depth) / tile.depth if tile.depth > 1 else 0
    total = chunks * chunk + fold + 3 * tile.sums / tile.depth + 150
    # blocks at a time, and warps of a scheduler
    registers = tile.sums + min(tile.window, 32) + tile.maps + tile.staged + 32
    resident = min(65536 // (min(registers, 255) * tile.threads), 2048 // tile.threads, 32)
    resident = max(1, min(resident, 220 * 1024 // (tile.room * p.itemsize + 1024)))
    warps, busiest = tile.threads // 32, ceil_div(blocks * parts, PROCESSORS)
    turns = (
        busiest * warps / SCHEDULERS if busiest > resident else -(-busiest * warps // SCHEDULERS)
    )
    together = max(1, min(busiest, resident) * warps / SCHEDULERS)
    sectors = _sectors(tile) * busiest * warps / 2
    added = parts * blocks * tile.sums * tile.lanes / PROCESSORS / 8
    return turns * total / (1 - 0.45 / together) + sectors + (added if parts > 1 else 0) + 600


def _turns(tile: Tile) -> float:
    """Turns of shared memory that a row of taps takes a warp, if banks do not conflict much."""
    places, maps = min(32, tile.places), min(32, tile.map_threads)
    if tile.whole_rows:
        places = ceil_div(32, maps)
    else:
        maps = ceil_div(32, places)
    fours = ceil_div(places, 8) * 1.2
    windows = ceil_div(tile.window, 4) * fours if tile.vectors else tile.window * 1.2
    windows = windows if tile.dense else tile.pixels * tile.unrolled * 1.2
    singles = tile.maps - 4 * tile.quads
    return windows + tile.unrolled * (tile.quads * ceil_div(maps, 8) + singles)


def _sectors(tile: Tile) -> float:
    """Sectors of 32 bytes that a warp's stores touch: neighbours store `pixels` apart."""
    p = tile.problem
    if p.channels is None:
        return tile.sums * 4
    apart = 32 if tile.whole_rows else min(32, tile.pixels * p.itemsize)
    if tile.stored_by_fours:
        return tile.sums / 4 * max(16, min(32, apart))
    return tile.sums / tile.depth * apart


def _hits(axis: Axis) -> float:
    """The share of taps that fall on the image."""
    hits = sum(
        0 <= k * axis.stride - axis.pad + r * axis.dilation < axis.image
        for k in range(axis.size) for r in range(axis.taps)
    )  # fmt: skip
    return hits / max(1, axis.size * axis.taps)


def _walked(tile: Tile) -> float:
    """The share of rows of taps that the warps of a tile walk: lanes pass them over together."""
    y, each = tile.problem.y, tile.map_threads * tile.images * tile.segments
    walked = 0
    for warp in range(0, tile.threads, 32):
        lines = {lane % tile.lanes // each for lane in (warp, warp + 31)}
        if warp % tile.lanes + 32 > tile.lanes:
            lines = {0, tile.rows - 1}
        for r in range(y.taps):
            walked += any(
                0 <= line * y.stride + r * y.dilation - y.pad < y.image
                for line in range(min(lines), max(lines) + 1)
            )
    return walked / max(1, tile.threads // 32 * y.taps)
