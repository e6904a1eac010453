"""The kernels of convolutions, printed for a tile (convolution_tiles.py says what they do)."""

from __future__ import annotations

from textwrap import indent

from .convolution_problem import Axis
from .convolution_products import Products
from .convolution_staging import Staging, block, both, digits, loops
from .convolution_tiles import Tile

CONVOLVE = """\
# {title}
def kernel(arrays, sizes):  # {threads} threads
    result = pointer_out(arrays, 0, {dtype})
    images = pointer_in(arrays, {images}, {dtype})
    filters = pointer_in(arrays, {filters}, {dtype})
    room = shared("room", {dtype}, {room})
    sums = registers({dtype}, {sums})
    seen = registers({dtype}, {seen})
    taps = registers({dtype}, {maps})
    ahead = registers({dtype}, {staged})
    t = thread()
    lane = t % {lanes}
{setup}
{clear}
    chunk = begin
    if chunk < end:
{fetch}
    for step in range(begin, end):
        barrier()
{put}
        barrier()
{compute}
{store}
"""

PHASE = """\
first_{a} = {taps}
for k in range({skip}):
    if first_{a} == {taps} and (phase_{a} - {pad} + k * {dilation}) % {phases} == 0:
        first_{a} = k
taps_{a} = (({taps} + {skip} - 1) - first_{a}) // {skip}
pad_{a} = ({pad} - phase_{a} - first_{a} * {dilation}) // {phases}
"""

FOLD = """\
barrier()
if t < {shared}:
{put}
barrier()
if t < {shared}:
    for e in range(level, {count}, {depth}):
        value = {dtype}(0)
        for k in range({depth}):
            value += room[e * {shared} + k * {lanes} + lane]
        i = (e + {first}) // {pixels}
        j = (e + {first}) % {pixels}
        m = {map}
{store}
"""

SUM = """\
# {title}: its parts added in order
def kernel(arrays, sizes):  # 256 threads
    result = pointer_out(arrays, 0, {dtype})
    parts = pointer_in(arrays, 1, {dtype})
    room = shared("room", {dtype}, 256)
    count = sizes[0]
    slots = sizes[9]
    t = thread()
    slot = block() * {slots} + t % {slots}
    value = {dtype}(0)
    if slot < slots:
        for part in range(t // {slots}, sizes[8], {adders}):
            value += parts[part * slots + slot]
    room[t] = value
    barrier()
    if t < {slots} and slot < slots:
        value = {dtype}(0)
        for k in range({adders}):
            value += room[k * {slots} + t]
        lane = slot % {lanes}
        i = slot // {over}
        j = slot // {lanes} % {pixels}
        rest = slot // {every}
{store}
"""


class Printer:
    """Prints the kernels of one tile; `split`: sums are cut into parts, for another to add."""

    def __init__(self, tile: Tile, title: str, split: bool) -> None:
        self.tile, self.title, self.p, self.split = tile, title, tile.problem, split
        self.staging = Staging(tile)

    # ---- the kernels

    def convolve(self, images: int, filters: int) -> str:
        """The kernel whose operands `images` and `filters` are those."""
        tile = self.tile
        ahead = ["chunk = step + 1", "if chunk < end:", self.staging.fetch(1)]
        return CONVOLVE.format(
            title=self.title, threads=tile.threads, dtype=self.p.dtype, images=images,
            filters=filters, room=tile.room, sums=tile.sums, maps=tile.maps, staged=tile.staged,
            seen=max(tile.pixels, -(-tile.window // 4) * 4 if tile.dense else 0),
            lanes=tile.lanes, setup=self._setup(images), fetch=self.staging.fetch(2),
            put=self.staging.put(2), clear=self._clear(), store=self._store(),
            compute=block([*ahead, Products(tile).loops()], 2),
        )  # fmt: skip

    def sum(self) -> str:
        """The kernel that adds the parts."""
        tile = self.tile
        place = [
            *self._decode(),
            *self._lane(),
            f"m = {self._some_map()}",
            self._direct("j", "result[{place}] = value"),
        ]
        return SUM.format(
            title=self.title, dtype=self.p.dtype, lanes=tile.lanes, adders=tile.adders,
            slots=256 // tile.adders, over=f"{tile.lanes * tile.pixels} % {tile.maps}",
            pixels=tile.pixels, every=tile.lanes * tile.sums, store=block(place, 2),
        )  # fmt: skip

    # ---- who computes what

    def _setup(self, images: int) -> str:
        tile, p = self.tile, self.p
        batch = "sizes[0]"
        if self.split:
            batch = f"sizes[{4 if images == 1 or p.images is not None else 12}]"
        lines = [f"{'count' if p.channels is not None else 'channels'} = {batch}"]
        steps = str(tile.chunks(0))
        if p.channels is None:
            every = tile.cuts[0] * tile.cuts[1]
            steps = f"(channels + {tile.channels - 1}) // {tile.channels} * {every}"
        if self.split:
            sums = tile.lanes * tile.sums
            lines += [
                f"tiles = sizes[1] // {sums}", "rest = block() % tiles", f"steps = {steps}",
                "share = (steps + sizes[0] - 1) // sizes[0]", "begin = block() // tiles * share",
                "end = min(begin + share, steps)", f"result = result + block() * {sums}",
            ]  # fmt: skip
        else:
            lines += ["rest = block()", "begin = 0", f"end = {steps}"]
        lines += self._decode()
        for a, axis in self.p.axes:
            if axis.phases > 1:
                lines.append(
                    PHASE.format(
                        a=a, taps=axis.taps, skip=axis.skip, pad=axis.pad,
                        dilation=axis.dilation, phases=axis.phases,
                    )
                )  # fmt: skip
        lines += self._lane()
        level = f"t // {tile.lanes}"
        full = tile.lanes * tile.depth
        lines.append(
            f"level = {level if full == tile.threads else f'min({level}, {tile.depth - 1})'}"
        )
        _, to = self.staging.strides("tap")
        lines.append(f"taps_at = level * {to['c'] if tile.by_channels else to['r']}")
        unit = tile.images * tile.plane if tile.by_channels else p.y.move * tile.pitch
        lines.append(f"window = {self._window()} + level * {unit}")
        lines += self.staging.dealt()
        (ig, ii, _), (fg, fm, _) = p.image_strides, p.filter_strides
        lines.append(f"images = images + group * {ig} + image_tile * {tile.images * ii}")
        lines.append(
            f"filters = filters + group * {fg} + map_tile * {tile.maps * tile.map_threads * fm}"
        )
        return block(lines, 1)

    def _decode(self) -> list[str]:
        """From `rest`, the number of a tile, what it covers."""
        maps, columns, rows, phases, groups = self.tile.tiles()
        names = [("map_tile", maps), ("tile_x", columns), ("tile_y", rows)]
        names += [("phase_x", self.p.x.phases), ("phase_y", self.p.y.phases), ("group", groups)]
        every = maps * columns * rows * phases * groups
        return [*digits("rest", names), f"image_tile = rest // {every}"]

    def _lane(self) -> list[str]:
        """From `lane`, the maps and the segment of a thread."""
        return digits("lane", self.tile.digits)

    def _map(self, i: int) -> str:
        """Of a tile, the map that is a thread's `i`-th: by fours, then one by one."""
        quads, threads = 4 * self.tile.quads, self.tile.map_threads
        if i < quads:
            return f"mine * 4 + {i // 4 * 4 * threads + i % 4}"
        return f"mine + {i * threads}"

    def _some_map(self) -> str:
        """The same for map `i`, which is not known in print."""
        quads, threads = 4 * self.tile.quads, self.tile.map_threads
        one = f"mine + i * {threads}"
        four = f"i // 4 * {4 * threads} + mine * 4 + i % 4"
        return f"{four} if i < {quads} else {one}" if quads else one

    def _clear(self) -> str:
        lines = []
        for loop in loops("e", self.tile.sums, 32):
            lines += [loop, f"    sums[e] = {self.p.dtype}(0)"]
        return block(lines, 1)

    def _window(self) -> str:
        """Where in shared memory the window of a thread's segment begins, for tap 0."""
        tile, y = self.tile, self.p.y
        shift = -y.pad - y.span[0] if tile.whole_rows else 0
        across = 0 if tile.whole_columns else tile.pixels * self.p.x.stride
        return (
            f"{tile.filters + shift * tile.pitch} + image * {tile.plane} "
            f"+ line * {y.stride * tile.pitch} + segment * {across}"
        )

    def _image_within(self) -> str:
        tile, p = self.tile, self.p
        if p.images is None:
            limit = "count" if tile.images > 1 else ""
        else:
            limit = str(p.images) if p.images % tile.images else ""
        return f"image_tile * {tile.images} + image < {limit}" if limit else ""

    # ---- the results

    def _store(self) -> str:
        tile = self.tile
        if tile.depth > 1:
            return self._fold()
        plain = self._rows(by_fours=False)
        if tile.stored_by_fours and not self.split:
            plain = [
                "if address(result) & 15 == 0:", block(self._rows(by_fours=True), 1),
                "else:", block(plain, 1),
            ]  # fmt: skip
        if tile.threads > tile.lanes:
            plain = [f"if t < {tile.lanes}:", block(plain, 1)]
        return block(plain, 1)

    def _rows(self, by_fours: bool) -> list[str]:
        """Lines that store a thread's sums, map by map."""
        tile, lines = self.tile, []
        for i in range(tile.maps):
            lines.append(f"m = {self._map(i)}")
            first = i * tile.pixels
            if by_fours:
                for j in range(0, tile.pixels, 4):
                    fours = ", ".join(f"sums[{first + j + k}]" for k in range(4))
                    lines.append(self._direct(str(j), f"store4(result, {{place}}, {fours})"))
                continue
            for loop in loops("j", tile.pixels, 8):
                lines += [loop, indent(self._result(str(i), f"sums[{first} + j]"), "    ")]
        return lines

    def _fold(self) -> str:
        """Add the sums of the threads that share them, some at a time; each stores some."""
        tile = self.tile
        blocks = []
        shared = tile.lanes * tile.depth
        for first in range(0, tile.sums, tile.folded):
            count = min(tile.folded, tile.sums - first)
            put = []
            for loop in loops("e", count, 16):
                put += [loop, f"    room[e * {shared} + t] = sums[e + {first}]"]
            blocks.append(
                FOLD.format(
                    shared=shared, first=first, dtype=self.p.dtype, put=block(put, 1),
                    count=count, depth=tile.depth, lanes=tile.lanes, pixels=tile.pixels,
                    map=self._some_map(), store=indent(self._result("i", "value"), "        "),
                )
            )  # fmt: skip
        return block(blocks, 1)

    def _result(self, i: str, value: str) -> str:
        """Store the sum of a thread's `i`-th map, map m of the tile, and pixel j."""
        if self.split:
            return f"result[({i} * {self.tile.pixels} + j) * {self.tile.lanes} + lane] = {value}"
        return self._direct("j", f"result[{{place}}] = {value}")

    def _direct(self, j: str, store: str) -> str:
        """`store` at the place of map m and pixel `j`, if it is there."""
        tile, p = self.tile, self.p
        every = tile.maps * tile.map_threads
        m, (rg, ri, rm) = f"map_tile * {every} + m", p.result_strides
        local = {"y": "line", "x": f"segment * {tile.pixels} + {j}"}
        line = {
            a: self._line(axis, f"tile_{a} * {tile.lines(a)} + {local[a]}", f"phase_{a}")
            for a, axis in self.p.axes
        }
        some = [f"{m} < {p.maps}" if p.maps % every else "", self._image_within()]
        for a, axis in self.p.axes:
            if axis.outs % tile.lines(a) or axis.size % axis.phases:
                some.append(f"{line[a]} < {axis.size}")
        at = {
            a: f"({axis.size - 1} - ({line[a]}))" if p.turned else f"({line[a]})"
            for a, axis in self.p.axes
        }
        place = (
            f"group * {rg} + (image_tile * {tile.images} + image) * {ri} + ({m}) * {rm} "
            f"+ {at['y']} * {p.x.size} + {at['x']}"
        )
        store, inside = store.format(place=place), both(some)
        return store if inside == "True" else f"if {inside}:\n    {store}"

    @staticmethod
    def _line(axis: Axis, line: str, phase: str) -> str:
        return f"{phase} + ({line}) * {axis.phases}" if axis.phases > 1 else line
