"""Kernel lines that stage chunks of filters and images in shared memory."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from textwrap import indent

from .convolution_tiles import Tile


def block(lines: Iterable[str], depth: int = 0) -> str:
    return indent("\n".join(line.rstrip("\n") for line in lines if line.strip()), "    " * depth)


def digits(source: str, names: Iterable[tuple[str, int]]) -> list[str]:
    """Lines that read the digits of `source`, the last first; each name with its base."""
    lines, apart = [], 1
    for name, base in names:
        digit = f"{source} // {apart}" if apart > 1 else source
        lines.append(f"{name} = {digit} % {base}" if base > 1 else f"{name} = 0")
        apart *= base
    return lines


def loops(name: str, count: int, most: int) -> list[str]:
    """Heads of loops over `count` values, each of so few that LLVM writes it out."""
    return [
        f"for {name} in range({first}, {min(first + most, count)}):"
        for first in range(0, count, most)
    ]


def both(conditions: Iterable[str]) -> str:
    return " and ".join(c for c in conditions if c) or "True"


class Staging:
    """The lines of a tile. Elements are dealt to threads by their digits (`Deal`).

    A thread's digits have names: of the filters tap_s and tap_r (column and row), tap_m and tap_c
    (map and channel); of the images pixel_x, pixel_y, pixel_i and pixel_c.
    """

    def __init__(self, tile: Tile) -> None:
        self.tile, self.p = tile, tile.problem

    def chunk(self) -> list[str]:
        """From its number, the first channel and taps of a chunk, and where they lie."""
        tile, p = self.tile, self.p
        down, across = tile.cuts
        sign = -1 if p.flipped else 1
        _, _, fc = p.filter_strides
        _, _, ic = p.image_strides
        return [
            f"c0 = chunk // {down * across} * {tile.channels}",
            f"r0 = chunk // {across} % {down} * {tile.taps_y}" if down > 1 else "r0 = 0",
            f"s0 = chunk % {across} * {tile.taps_x}" if across > 1 else "s0 = 0",
            f"y0 = {self._origin('y')}",
            f"x0 = {self._origin('x')}",
            f"tap = tap_at + c0 * {fc} + r0 * {sign * p.y.skip * p.x.taps} "
            f"+ s0 * {sign * p.x.skip}",
            f"pixel = pixel_at + c0 * {ic} + y0 * {p.x.image} + x0",
        ]

    def dealt(self) -> list[str]:
        """A thread's digits of what it stages, and where that lies in memory and in the room."""
        tile, p = self.tile, self.p
        lines = []
        for which, deal in (("tap", tile.dealt_taps), ("pixel", tile.dealt_slab)):
            names = [(f"{which}_{name}", base) for name, base in deal.digits]
            lines += digits("t", names[: deal.whole])
            if deal.split[0]:
                lines.append(f"{which}_{deal.split[0]} = t // {deal.apart}")
            lines += [f"{which}_{name} = 0" for name, _ in deal.outer]
            for place, strides in zip(("at", "to"), self.strides(which), strict=True):
                terms = [f"{which}_{name} * {stride}" for name, stride in strides.items()]
                lines.append(f"{which}_{place} = {' + '.join(terms)}")
        lines[-1] += f" + {tile.filters}"
        first = {a: f"first_{a}" if axis.phases > 1 else "0" for a, axis in self.p.axes}
        if p.flipped:
            first = {a: f"({axis.taps - 1} - {first[a]})" for a, axis in self.p.axes}
        lines.append(f"tap_at = tap_at + {first['y']} * {p.x.taps} + {first['x']}")
        return lines

    def strides(self, which: str) -> tuple[dict[str, int], dict[str, int]]:
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
        channels = "channels" if p.channels is None else str(p.channels)
        ragged = not p.channels or p.channels % tile.channels
        channel = [("", "c0 + ", channels, "c")] if ragged else []
        every = tile.maps * tile.map_threads
        some = list(channel)
        if p.maps % every:
            some.append(("", f"map_tile * {every} + ", str(p.maps), "m"))
        for a, name, first in (("y", "r", "r0"), ("x", "s", "s0")):
            axis = self.p.axis(a)
            if axis.phases > 1:
                some.append(("", f"{first} + ", f"taps_{a}", name))
            elif axis.taps % self.tile.taps(a):
                some.append(("", f"{first} + ", str(axis.taps), name))
        others = list(channel)
        if p.images is None and tile.images > 1:
            others.append(("", f"image_tile * {tile.images} + ", "count", "i"))
        elif p.images is not None and p.images % tile.images:
            others.append(("", f"image_tile * {tile.images} + ", str(p.images), "i"))
        others += [
            ("0 <= ", f"{a}0 + ", str(axis.image), a) for a, axis in self.p.axes if self._leaves(a)
        ]
        return {"tap": some, "pixel": others}

    def fetch(self, depth: int) -> str:
        """What a chunk needs, from memory into registers."""
        return block([*self.chunk(), *self._staged(fetch=True)], depth)

    def put(self, depth: int) -> str:
        """The same, from registers into shared memory."""
        return block(self._staged(fetch=False), depth)

    def _staged(self, fetch: bool) -> list[str]:
        lines, k, limits = [], 0, self._limits()
        deals = (
            ("tap", "filters", self.tile.dealt_taps),
            ("pixel", "images", self.tile.dealt_slab),
        )
        for which, array, deal in deals:
            strides = self.strides(which)[0 if fetch else 1]
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
                    body = [
                        f"    ahead[{k} + e] = {self.p.dtype}(0)",
                        f"    if {both(some)}:",
                        f"        ahead[{k} + e] = {array}[{which} + {place}]",
                    ]
                else:
                    body = [
                        f"    if {both(some)}:",
                        f"        room[{which}_to + {place}] = ahead[{k} + e]",
                    ]
                for loop in loops("e", deal.turns, 8):
                    lines += [loop, *body]
                k += deal.turns
        return lines

    def _origin(self, a: str) -> str:
        """The first row or column of the slab, in the image."""
        axis = self.p.axis(a)
        if self.tile.whole(a):
            return str(axis.span[0])
        pad = f"pad_{a}" if axis.phases > 1 else str(axis.pad)
        first = {"y": "r0", "x": "s0"}[a]
        return f"tile_{a} * {self.tile.lines(a) * axis.stride} + {first} * {axis.move} - ({pad})"

    def _leaves(self, a: str) -> bool:
        """Whether the slab may reach beyond the image."""
        axis = self.p.axis(a)
        if self.tile.whole(a):
            return False
        lines = -(-axis.outs // self.tile.lines(a)) * self.tile.lines(a)
        taps = -(-axis.seen // self.tile.taps(a)) * self.tile.taps(a)
        return axis.phases > 1 or axis.pad > 0 or axis.reach(lines, taps) - axis.pad > axis.image
