"""Kernel lines that multiply and add: a chunk's taps with what a thread's pixels see."""

from __future__ import annotations

from textwrap import indent

from .convolution_staging import Staging, block
from .convolution_tiles import Tile


class Products:
    """The lines of a tile. `at` and `tap` are where a row of taps lies in the slab and in the
    filters; windows of the slab are loaded once for `tile.unrolled` taps."""

    def __init__(self, tile: Tile) -> None:
        self.tile, self.p = tile, tile.problem

    def loops(self) -> str:
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
        _, to = Staging(tile).strides("tap")
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
        lines.append(indent(block(body), "    " * (3 if guard else 2)))
        return block(lines)

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
                lines.append(block(products, 1))
            else:
                lines += products
        return block(lines)

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
        lines += [
            f"taps[{i}] = room[tap + mine + {at + i * threads}]"
            for i in range(4 * tile.quads, tile.maps)
        ]
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
