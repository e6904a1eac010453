"""The kernels of convolutions, printed for a tile (convolution_tiles.py says what they do)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from textwrap import indent

from .convolution_tiles import Axis, Tile

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
    for e in range({sums}):
        sums[e] = {dtype}(0)
    step = begin
    if step < end:
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
    t = thread()
    slot = block() * 32 + t % 32
    value = {dtype}(0)
    if slot < {slots}:
        for part in range(t // 32, sizes[8], 8):
            value += parts[part * {slots} + slot]
    room[t] = value
    barrier()
    if t < 32 and slot < {slots}:
        value = {dtype}(0)
        for part in range(8):
            value += room[part * 32 + t]
        lane = slot % {lanes}
        i = slot // {over}
        j = slot // {lanes} % {pixels}
        rest = slot // {every}
{store}
"""


def _block(lines: Iterable[str], depth: int = 0) -> str:
    return indent("\n".join(line.rstrip("\n") for line in lines if line.strip()), "    " * depth)


def _digits(source: str, names: Iterable[tuple[str, int]]) -> list[str]:
    """Lines that read the digits of `source`, the last first; each name with its base."""
    lines, apart = [], 1
    for name, base in names:
        digit = f"{source} // {apart}" if apart > 1 else source
        lines.append(f"{name} = {digit} % {base}" if base > 1 else f"{name} = 0")
        apart *= base
    return lines


def _all(conditions: Iterable[str]) -> str:
    return " and ".join(c for c in conditions if c) or "True"


class Printer:
    """Prints the kernels of one tile."""

    def __init__(self, tile: Tile, title: str) -> None:
        self.tile, self.title, self.p = tile, title, tile.problem
        self.split = self.p.channels is None  # into parts of the sum, for another kernel to add
        self.axes = {"y": self.p.y, "x": self.p.x}
        self.taps = {"y": tile.taps_y, "x": tile.taps_x}
        self.lines = {"y": tile.rows, "x": tile.segments * tile.pixels}

    # ---- the kernels

    def convolve(self, images: int, filters: int) -> str:
        """The kernel whose operands `images` and `filters` are those."""
        tile = self.tile
        ahead = ["if step + 1 < end:", indent("step += 1", "    "), self._fetch(1)]
        return CONVOLVE.format(
            title=self.title, threads=tile.threads, dtype=self.p.dtype, images=images,
            filters=filters, room=tile.room, sums=tile.sums, maps=tile.maps, staged=tile.staged,
            seen=max(tile.pixels, -(-tile.window // 4) * 4 if tile.dense else 0),
            lanes=tile.lanes, setup=self._setup(), fetch=self._fetch(2), put=self._put(2),
            compute=_block([*ahead, self._compute()], 2), store=self._store(),
        )  # fmt: skip

    def sum(self) -> str:
        """The kernel that adds the parts."""
        tile = self.tile
        place = [
            *self._decode(),
            *self._lane(),
            f"m = {self._map('i')}",
            self._direct("j", "result[{place}] = value"),
        ]
        return SUM.format(
            title=self.title, dtype=self.p.dtype, slots=self.slots, lanes=tile.lanes,
            over=f"{tile.lanes * tile.pixels} % {tile.maps}", pixels=tile.pixels,
            every=tile.lanes * tile.sums, store=_block(place, 2),
        )  # fmt: skip

    @property
    def slots(self) -> int:
        """Sums of a part, with those of ragged tiles."""
        assert self.p.images is not None
        return self.tile.blocks(self.p.images) * self.tile.lanes * self.tile.sums

    # ---- who computes what

    def _setup(self) -> str:
        tile, p = self.tile, self.p
        cuts = tile.cuts[0] * tile.cuts[1]
        if self.split:
            assert p.images is not None
            tiles = tile.blocks(p.images)
            lines = [
                "channels = sizes[4]", f"steps = (channels + {tile.channels - 1}) "
                f"// {tile.channels} * {cuts}", "share = (steps + sizes[0] - 1) // sizes[0]",
                f"begin = block() // {tiles} * share", "end = min(begin + share, steps)",
                f"rest = block() % {tiles}",
                f"result = result + block() * {tile.lanes * tile.sums}",
            ]  # fmt: skip
        else:
            assert p.channels is not None
            lines = ["count = sizes[0]", f"begin, end = 0, {tile.chunks(p.channels)}"]
            lines += ["rest = block()"]
        lines += self._decode()
        for a, axis in self.axes.items():
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
        _, to = self._strides("tap")
        lines.append(f"taps_at = level * {to['c'] if tile.by_channels else to['r']}")
        unit = tile.images * tile.plane if tile.by_channels else p.y.move * tile.pitch
        lines.append(f"window = {self._window()} + level * {unit}")
        lines += self._dealt()
        (ig, ii, _), (fg, fm, _) = p.image_strides, p.filter_strides
        lines.append(f"images = images + group * {ig} + image_tile * {tile.images * ii}")
        lines.append(
            f"filters = filters + group * {fg} + map_tile * {tile.maps * tile.map_threads * fm}"
        )
        return _block(lines, 1)

    def _decode(self) -> list[str]:
        """From `rest`, the number of a tile, what it covers."""
        maps, columns, rows, phases, groups = self.tile.tiles()
        names = [("map_tile", maps), ("tile_x", columns), ("tile_y", rows)]
        names += [("phase_x", self.p.x.phases), ("phase_y", self.p.y.phases), ("group", groups)]
        every = maps * columns * rows * phases * groups
        return [*_digits("rest", names), f"image_tile = rest // {every}"]

    def _lane(self) -> list[str]:
        """From `lane`, the maps and the segment of a thread."""
        return _digits("lane", self.tile.digits)

    def _map(self, i: str) -> str:
        """Of a tile, the map that is a thread's `i`-th: by fours, then one by one."""
        quads, threads = 4 * self.tile.quads, self.tile.map_threads
        last = f"({i} - {quads}) * {threads} + mine + {quads * threads}" if quads else ""
        if not quads:
            return f"{i} * {threads} + mine"
        first = f"{i} // 4 * {4 * threads} + mine * 4 + {i} % 4"
        return first if self.tile.maps == quads else f"{first} if {i} < {quads} else {last}"

    def _window(self) -> str:
        """Where in shared memory the window of a thread's segment begins, for tap 0."""
        tile, y = self.tile, self.p.y
        shift = -y.pad - y.span[0] if tile.whole_rows else 0
        across = 0 if tile.whole_columns else tile.pixels * self.p.x.stride
        return (
            f"{tile.filters + shift * tile.pitch} + image * {tile.plane} "
            f"+ line * {y.stride * tile.pitch} + segment * {across}"
        )

    # ---- chunks

    def _chunk(self) -> list[str]:
        """From `step`, the first channel and taps of a chunk, and where they lie."""
        tile, p = self.tile, self.p
        down, across = tile.cuts
        sign = -1 if p.flipped else 1
        _, _, fc = p.filter_strides
        _, _, ic = p.image_strides
        return [
            f"c0 = step // {down * across} * {tile.channels}",
            f"r0 = step // {across} % {down} * {tile.taps_y}" if down > 1 else "r0 = 0",
            f"s0 = step % {across} * {tile.taps_x}" if across > 1 else "s0 = 0",
            f"y0 = {self._origin('y')}",
            f"x0 = {self._origin('x')}",
            f"tap = tap_at + c0 * {fc} + r0 * {sign * p.y.skip * p.x.taps} "
            f"+ s0 * {sign * p.x.skip}",
            f"pixel = pixel_at + c0 * {ic} + y0 * {p.x.image} + x0",
        ]

    def _dealt(self) -> list[str]:
        """A thread's digits of what it stages, and where that lies in memory and in the room."""
        tile, p = self.tile, self.p
        lines = []
        for which, deal in (("tap", tile.dealt_taps), ("pixel", tile.dealt_slab)):
            names = [(f"{which}_{name}", base) for name, base in deal.digits]
            lines += _digits("t", names[: deal.whole])
            if deal.split[0]:
                lines.append(f"{which}_{deal.split[0]} = t // {deal.apart}")
            lines += [f"{which}_{name} = 0" for name, _ in deal.outer]
            for place, strides in zip(("at", "to"), self._strides(which), strict=True):
                terms = [f"{which}_{name} * {stride}" for name, stride in strides.items()]
                lines.append(f"{which}_{place} = {' + '.join(terms)}")
        lines[-1] += f" + {tile.filters}"
        first = {a: f"first_{a}" if axis.phases > 1 else "0" for a, axis in self.axes.items()}
        if p.flipped:
            first = {a: f"({axis.taps - 1} - {first[a]})" for a, axis in self.axes.items()}
        lines.append(f"tap_at = tap_at + {first['y']} * {p.x.taps} + {first['x']}")
        return lines

    def _strides(self, which: str) -> tuple[dict[str, int], dict[str, int]]:
        """How far values of a digit lie apart in memory, and in the room."""
        tile, p = self.tile, self.p
        if which == "tap":
            sign = -1 if p.flipped else 1
            _, fm, fc = p.filter_strides
            return (
                {"s": sign * p.x.skip, "r": sign * p.y.skip * p.x.taps, "m": fm, "c": fc},
                {"s": tile.row, "r": tile.tap_row, "m": 1, "c": tile.taps_y * tile.tap_row},
            )
        _, ii, ic = p.image_strides
        plane = tile.plane
        return (
            {"x": 1, "y": p.x.image, "i": ii, "c": ic},
            {"x": 1, "y": tile.pitch, "i": plane, "c": tile.images * plane},
        )

    def _limits(self) -> dict[str, list[tuple[str, str, str, str]]]:
        """What must hold of a digit's value: lower limit, what is added to it, upper limit."""
        tile, p = self.tile, self.p
        channels = "channels" if self.split else str(p.channels)
        ragged = self.split or not p.channels or p.channels % tile.channels
        channel = [("", "c0 + ", channels, "c")] if ragged else []
        every = tile.maps * tile.map_threads
        some = list(channel)
        if p.maps % every:
            some.append(("", f"map_tile * {every} + ", str(p.maps), "m"))
        for a, name, first in (("y", "r", "r0"), ("x", "s", "s0")):
            axis = self.axes[a]
            if axis.phases > 1:
                some.append(("", f"{first} + ", f"taps_{a}", name))
            elif axis.taps % self.taps[a]:
                some.append(("", f"{first} + ", str(axis.taps), name))
        others = list(channel)
        if p.images is None and tile.images > 1:
            others.append(("", f"image_tile * {tile.images} + ", "count", "i"))
        elif p.images is not None and p.images % tile.images:
            others.append(("", f"image_tile * {tile.images} + ", str(p.images), "i"))
        for a in "yx":
            if self._leaves(a):
                others.append(("0 <= ", f"{a}0 + ", str(self.axes[a].image), a))
        return {"tap": some, "pixel": others}

    def _fetch(self, depth: int) -> str:
        """What a chunk needs, from memory into registers."""
        return _block([*self._chunk(), *self._staged(fetch=True)], depth)

    def _put(self, depth: int) -> str:
        """The same, from registers into shared memory."""
        return _block(self._staged(fetch=False), depth)

    def _staged(self, fetch: bool) -> list[str]:
        lines, k, limits = [], 0, self._limits()
        deals = (
            ("tap", "filters", self.tile.dealt_taps),
            ("pixel", "images", self.tile.dealt_slab),
        )
        for which, array, deal in deals:
            strides = self._strides(which)[0 if fetch else 1]
            for values in product(*(range(base) for _, base in reversed(deal.outer))):
                at = dict(zip((name for name, _ in reversed(deal.outer)), values, strict=True))
                place = str(sum(strides[name] * value for name, value in at.items()))
                where = {name: f"{which}_{name} + {at.get(name, 0)}" for name in strides}
                some = [f"t < {deal.active}" if deal.active < deal.threads else ""]
                name, base = deal.split
                if name:
                    place += f" + e * {deal.together * strides[name]}"
                    where[name] = f"{which}_{name} + e * {deal.together}"
                    if base % deal.together:
                        some.append(f"{where[name]} < {base}")
                if fetch:
                    for low, first, high, name in limits[which]:
                        if low:
                            some.append(f"{low}{first}{where[name]}")
                        some.append(f"{first}{where[name]} < {high}")
                    lines += [
                        f"for e in range({deal.turns}):",
                        f"    ahead[{k} + e] = {self.p.dtype}(0)",
                        f"    if {_all(some)}:",
                        f"        ahead[{k} + e] = {array}[{which} + {place}]",
                    ]
                else:
                    lines += [
                        f"for e in range({deal.turns}):",
                        f"    if {_all(some)}:",
                        f"        room[{which}_to + {place}] = ahead[{k} + e]",
                    ]
                k += deal.turns
        return lines

    def _whole(self, a: str) -> bool:
        return self.tile.whole_rows if a == "y" else self.tile.whole_columns

    def _origin(self, a: str) -> str:
        """The first row or column of the slab, in the image."""
        axis = self.axes[a]
        if self._whole(a):
            return str(axis.span[0])
        pad = f"pad_{a}" if axis.phases > 1 else str(axis.pad)
        first = {"y": "r0", "x": "s0"}[a]
        return f"tile_{a} * {self.lines[a] * axis.stride} + {first} * {axis.move} - ({pad})"

    def _leaves(self, a: str) -> bool:
        """Whether the slab may reach beyond the image."""
        axis = self.axes[a]
        if self._whole(a):
            return False
        lines = -(-axis.outs // self.lines[a]) * self.lines[a]
        taps = -(-axis.seen // self.taps[a]) * self.taps[a]
        return axis.phases > 1 or axis.pad > 0 or axis.reach(lines, taps) - axis.pad > axis.image

    def _image_within(self) -> str:
        tile, p = self.tile, self.p
        if p.images is None:
            limit = "count" if tile.images > 1 else ""
        else:
            limit = str(p.images) if p.images % tile.images else ""
        return f"image_tile * {tile.images} + image < {limit}" if limit else ""

    # ---- the sums

    def _compute(self) -> str:
        """Loops over the channels and the rows of taps of a chunk that are a thread's."""
        tile, y = self.tile, self.p.y
        each = tile.depth if tile.by_channels else 1
        every = 1 if tile.by_channels else tile.depth
        guard = ""
        if tile.whole_rows:
            first = "" if tile.by_channels else f" + level * {y.move}"
            line = f"line * {y.stride} + r * {every * y.move} - ({y.pad}){first}"
            guard = f"{y.span[0]} <= {line} and {line} < {y.span[1]}"
        elif y.phases > 1:
            down, across = tile.cuts
            first = f"step // {across} % {down} * {tile.taps_y} + " if down > 1 else ""
            first += "" if tile.by_channels else "level + "
            guard = f"{first}r * {every} < taps_y"
        _, to = self._strides("tap")
        body = [
            f"at = window + c * {each * tile.images * tile.plane} "
            f"+ r * {every * y.move * tile.pitch}",
            f"tap = taps_at + c * {each * to['c']} + r * {every * to['r']}",
        ]
        full, rest = divmod(tile.taps_x, tile.unrolled)
        if tile.taps_x > tile.unrolled:
            body += [
                f"for k in range({full}):", indent(self._taps(0, tile.unrolled), "    "),
                f"    at += {tile.unrolled * self.p.x.move}",
                f"    tap += {tile.unrolled * tile.row}",
            ]  # fmt: skip
        else:
            body.append(self._taps(0, tile.unrolled))
        if rest:
            body.append(self._taps(full * tile.unrolled, rest))
        lines = [f"for c in range({tile.channels // each}):"]
        lines.append(f"    for r in range({tile.taps_y // every}):")
        if guard:
            lines.append(f"        if {guard}:")
        lines.append(indent(_block(body), "    " * (3 if guard else 2)))
        return _block(lines)

    def _taps(self, first: int, count: int) -> str:
        """Products of `count` taps in a row; `first`, with the loop's steps, is in `at`, `tap`."""
        tile, x = self.tile, self.p.x
        lines = []
        if tile.dense:
            window = (tile.pixels - 1) * x.stride + (count - 1) * x.move + 1
            lines += self._see(tile.width if tile.whole_columns else window)
        for s in range(count):
            pixels = self._pixels(s)
            if not len(pixels):
                continue
            products = []
            if not tile.dense:
                products.append(f"for j in range({tile.pixels}):")
                products.append(f"    seen[j] = room[at + {s * x.move} + j * {x.stride}]")
            products += self._load_taps(s)
            products += self._multiply(s, pixels)
            if x.phases > 1:
                across = self.tile.cuts[1]
                start = f"step % {across} * {tile.taps_x} + " if across > 1 else ""
                begun = f"k * {tile.unrolled} + " if tile.taps_x > count and not first else ""
                lines.append(f"if {start}{begun}{first + s} < taps_x:")
                lines.append(_block(products, 1))
            else:
                lines += products
        return _block(lines)

    def _see(self, count: int) -> list[str]:
        """The window of a segment."""
        if not self.tile.vectors:
            return [f"for j in range({count}):", "    seen[j] = room[at + j]"]
        lines = []
        for j in range(0, count, 4):
            fours = ", ".join(f"seen[{j + k}]" for k in range(4))
            lines.append(f"{fours} = load4(room, at + {j})")
        return lines

    def _pixels(self, s: int) -> range:
        """The pixels of a thread that see something through tap s."""
        tile, x = self.tile, self.p.x
        if not tile.whole_columns:
            return range(tile.pixels)
        hits = [j for j in range(x.outs) if 0 <= self._column(j, s) < tile.width]
        return range(hits[0], hits[-1] + 1) if hits else range(0)

    def _column(self, j: int, s: int) -> int:
        """The place in the window of what pixel j sees through tap s."""
        x = self.p.x
        return j * x.stride + s * x.move - (x.pad + x.span[0] if self.tile.whole_columns else 0)

    def _load_taps(self, s: int) -> list[str]:
        tile = self.tile
        lines, at, threads = [], s * tile.row, tile.map_threads
        for q in range(tile.quads):
            fours = ", ".join(f"taps[{4 * q + k}]" for k in range(4))
            lines.append(f"{fours} = load4(room, tap + mine * 4 + {at + q * 4 * threads})")
        for i in range(4 * tile.quads, tile.maps):
            lines.append(f"taps[{i}] = room[tap + mine + {at + i * threads}]")
        return lines

    def _multiply(self, s: int, pixels: range) -> list[str]:
        tile, stride = self.tile, self.p.x.stride
        shift = self._column(0, s)
        place = f"j * {stride} + {shift}" if tile.dense else "j"
        lines, rows = [], max(1, 48 // len(pixels))  # LLVM unrolls nests of about so many
        for i in range(0, tile.maps, rows):
            lines += [
                f"for i in range({i}, {min(i + rows, tile.maps)}):",
                f"    for j in range({pixels.start}, {pixels.stop}):",
                f"        sums[i * {tile.pixels} + j] += taps[i] * seen[{place}]",
            ]
        return lines

    # ---- the results

    def _store(self) -> str:
        tile = self.tile
        if tile.depth > 1:
            return self._fold()
        plain = self._rows(by_fours=False)
        if tile.stored_by_fours:
            plain = [
                "if address(result) & 15 == 0:", _block(self._rows(by_fours=True), 1),
                "else:", _block(plain, 1),
            ]  # fmt: skip
        if tile.threads > tile.lanes:
            plain = [f"if t < {tile.lanes}:", _block(plain, 1)]
        return _block(plain, 1)

    def _rows(self, by_fours: bool) -> list[str]:
        """Lines that store a thread's sums, map by map."""
        tile, lines = self.tile, []
        for i in range(tile.maps):
            lines.append(f"m = {self._map(str(i))}")
            first = i * tile.pixels
            if by_fours:
                for j in range(0, tile.pixels, 4):
                    fours = ", ".join(f"sums[{first + j + k}]" for k in range(4))
                    lines.append(self._direct(str(j), f"store4(result, {{place}}, {fours})"))
                continue
            lines.append(f"for j in range({tile.pixels}):")
            lines.append(indent(self._result(str(i), f"sums[{first} + j]"), "    "))
        return lines

    def _fold(self) -> str:
        """Add the sums of the threads that share them, some at a time; each stores some."""
        tile = self.tile
        blocks = []
        shared = tile.lanes * tile.depth
        for first in range(0, tile.sums, tile.folded):
            count = min(tile.folded, tile.sums - first)
            put = []
            for e in range(0, count, 16):
                put.append(f"for e in range({e}, {min(e + 16, count)}):")
                put.append(f"    room[e * {shared} + t] = sums[e + {first}]")
            blocks.append(
                FOLD.format(
                    shared=shared, first=first, dtype=self.p.dtype, put=_block(put, 1),
                    count=count, depth=tile.depth, lanes=tile.lanes, pixels=tile.pixels,
                    map=self._map("i"), store=indent(self._result("i", "value"), "        "),
                )
            )  # fmt: skip
        return _block(blocks, 1)

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
            a: self._line(axis, f"tile_{a} * {self.lines[a]} + {local[a]}", f"phase_{a}")
            for a, axis in self.axes.items()
        }
        some = [f"{m} < {p.maps}" if p.maps % every else "", self._image_within()]
        for a, axis in self.axes.items():
            if axis.outs % self.lines[a] or axis.size % axis.phases:
                some.append(f"{line[a]} < {axis.size}")
        at = {
            a: f"({axis.size - 1} - ({line[a]}))" if p.turned else f"({line[a]})"
            for a, axis in self.axes.items()
        }
        place = (
            f"group * {rg} + (image_tile * {tile.images} + image) * {ri} + ({m}) * {rm} "
            f"+ {at['y']} * {p.x.size} + {at['x']}"
        )
        store, inside = store.format(place=place), _all(some)
        return store if inside == "True" else f"if {inside}:\n    {store}"

    @staticmethod
    def _line(axis: Axis, line: str, phase: str) -> str:
        return f"{phase} + ({line}) * {axis.phases}" if axis.phases > 1 else line
