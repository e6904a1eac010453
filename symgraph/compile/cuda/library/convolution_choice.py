"""Which tile is best for a convolution: by counted instructions, on a device of 132 processors."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import fields, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

from symgraph.compile.cache import fetch, keep, key_of

from .convolution_problem import Axis, Problem
from .convolution_tiles import PROCESSORS, Tile
from .stage import ceil_div

SCHEDULERS = 4  # of a processor, each of which issues an instruction of a warp a cycle
LAUNCH = 1400  # cycles: what is shorter than the launch of a kernel should take few threads


def widened(tile: Tile) -> Tile | None:
    """`tile` with chunks as large as fit; None if there are none that its threads can share."""
    p, depth = tile.problem, tile.depth
    for name, most in (("taps_x", p.x.seen), ("taps_y", p.y.seen), ("channels", p.channels or 64)):
        pieces = _pieces(most)
        if name == "channels" and tile.taps_y % depth:
            pieces = tuple(depth * piece for piece in _pieces(ceil_div(most, depth)))
        with_piece = partial(_with, tile, name)
        fitting = bisect_left(pieces, True, key=lambda piece: not with_piece(piece).fits())
        if not fitting:
            return None
        tile = with_piece(pieces[fitting - 1])
        if getattr(tile, name) < most:
            break
    return tile if tile.even() else None


def _with(tile: Tile, name: str, value: int) -> Tile:
    return replace(tile, **{name: value})  # type: ignore[arg-type]


@cache
def _pieces(most: int) -> tuple[int, ...]:
    """Sizes of equal pieces of `most`."""
    return tuple(sorted({ceil_div(most, count) for count in range(1, min(most, 64) + 1)} | {1}))


@cache
def choose(problem: Problem, batch: int) -> Tile:
    """The tile that `cycles` thinks is best for a batch of about so many; kept with the kernels, as
    comparing all of them takes a tenth of a second."""
    key = key_of(f"tile of {problem}, {batch}\n{_model()}")
    kept = fetch(key, ".tile")
    if kept is not None:
        values = json.loads(kept)
        return Tile(problem, **{**values, "pads": tuple(values["pads"])})
    tile = _best(problem, batch)
    values = {f.name: getattr(tile, f.name) for f in fields(tile) if f.name != "problem"}
    keep(key, ".tile", json.dumps(values).encode())
    return tile


@cache
def _model() -> str:
    """What the choice follows from: the text of this file and of those that it counts by."""
    here = Path(__file__)
    names = ("choice", "tiles", "problem")
    return "".join(here.with_name(f"convolution_{n}.py").read_text("utf-8") for n in names)


def _best(problem: Problem, batch: int) -> Tile:
    wide = [w for w in map(widened, _candidates(problem)) if w is not None]
    best = min(wide, key=lambda tile: (max(cycles(tile, batch), LAUNCH), _warps(tile, batch)))
    pads = product(range(0, 32, 4), range(0, 32, 4))
    padded = (replace(best, pads=pair) for pair in pads)
    return min((w for w in padded if w.fits()), key=lambda tile: (conflicts(tile), tile.slab))


def _warps(tile: Tile, batch: int) -> int:
    return tile.blocks(batch) * max(1, tile.parts(batch)) * tile.threads // 32


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
    least = 8 if p.maps * p.x.outs >= 64 else 1
    tiles = []
    for map_threads in (1, 2, 4, 5, 8, 10, 16):
        maps = ceil_div(p.maps, map_threads * ceil_div(p.maps, map_threads * 14))
        if map_threads > p.maps:
            continue
        for pixels in sorted({min(p.x.outs, n) for n in (1, 2, 4, 5, 6, 8, 12, 16)}):
            if not least <= maps * pixels <= most or (pixels > 8 and pixels != p.x.outs):
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
    parts, blocks = max(1, tile.parts(batch)), tile.blocks(batch)
    chunks = ceil_div(tile.chunks(batch), parts)
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
    sectors = (tile.sums * 4 if parts > 1 else _sectors(tile)) * busiest * warps / 2
    added = parts * blocks * tile.sums * tile.lanes / PROCESSORS / 8
    return turns * total / (1 - 0.45 / together) + sectors + (added + 3000 if parts > 1 else 0)


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
