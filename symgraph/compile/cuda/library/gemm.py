"""Matrix products on the device: `gemm` and `batched_dot`.

One kernel text serves every product; a `Tiling` says how a block of threads shares a tile of C.
Each thread keeps a rectangle of sums in registers; tiles of A and B pass through shared memory,
where the next pair is copied while one is multiplied. Source: Volkov and Demmel, "Benchmarking GPUs
to tune dense linear algebra", 2008; NVIDIA, CUTLASS, "Efficient GEMM in CUDA".

**Strides** are known when the kernel runs: rows or columns that lie dense are copied by fours, 16
bytes a thread, whichever of the two it is.

**Long sums** of a small C are cut twice. Groups of the threads of a block take every second,
fourth, eighth term and add their sums in the end; and blocks take parts of a sum, which a second
kernel adds. Both add in a fixed order, and everything is cut by the sizes alone.

**Thin products**, of up to 16 columns (or rows: then the transpose is computed), are tiles of 32
rows, one for each lane of a warp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from textwrap import indent
from typing import NamedTuple

import numpy as np

from .gemm_sources import (
    ADD,
    DENSE,
    FOURS,
    KEEP,
    KEEP_FOURS,
    LAST,
    LOOP,
    MEET,
    MULTIPLY,
    PART,
    PART_FOURS,
    PRODUCT,
    READ,
    READ_FOURS,
    SETUP,
    WRITE,
    WRITE_FOURS,
)
from .stage import Lowering, Shapes, Stage, ceil_div, read_sizes

THREADS = 256
PROCESSORS = 132  # of an H200; a device of another number only finds another choice best
THIN = 16  # rows or columns of C up to which it counts as thin
SHORTEST = 64  # terms of a part of a sum, at least
PARTS = 64  # of a sum, at most
UNROLLED = 128  # multiply-adds that LLVM writes out for a loop
START = 64  # what beginning and ending a block costs, in steps of its sums
SECOND = 750_000  # what a second kernel costs, in multiply-adds of one processor (3 us)
ADDED = 0.5  # what a partial sum costs there


@dataclass(frozen=True)
class Tiling:
    """How 256 threads share a tile of C: `groups` of them, each thread with `high` x `wide` sums.

    `depth` terms of the sums are in shared memory at a time. A multiprocessor has registers for
    `resident` blocks, half as many where an element has 8 bytes. `rate`: multiply-adds in a cycle,
    as a share of what the largest tile reaches (estimated).
    """

    rows: int
    columns: int
    high: int
    wide: int
    groups: int
    depth: int
    resident: int
    rate: float = 1.0


LARGE = Tiling(128, 128, 8, 8, 1, 8, 2)
MIDDLE = Tiling(64, 64, 8, 4, 2, 16, 2, 0.75)
TALL = Tiling(64, 32, 8, 4, 4, 32, 2, 0.75)
SMALL = Tiling(32, 32, 4, 4, 4, 32, 3, 0.5)
TILINGS = {"float32": (LARGE, MIDDLE, TALL, SMALL), "float64": (MIDDLE, SMALL)}
"""Of products that are not thin, of other dtypes SMALL: what has room in registers."""


class Cut(NamedTuple):
    """A product's tiling, the parts of its sums, its blocks, and whether C' = B' @ A' is made."""

    tiling: Tiling
    parts: int
    blocks: int
    swapped: bool


def _thin(columns: int, itemsize: int) -> Tiling:
    """Of shared memory the four-byte tilings take up to 45 KB, those of eight bytes 24 KB."""
    depth = 32 if itemsize > 4 else 128 if columns <= 4 else 64
    return Tiling(32, columns, 1, columns, 8, depth, 2)


def _vector(itemsize: int) -> Tiling:
    return Tiling(1, 1, 1, 1, THREADS, 1024 if itemsize > 4 else 2048, 2)


@lru_cache(maxsize=1024)
def choose(m: int, n: int, k: int, batch: int = 1, dtype: str = "float32") -> Cut:
    """How the product of (batch, m, k) and (batch, k, n) is cut up.

    Thin products have tilings of their own; others that of which `_time` expects least. For float32

    ======  =====  =======  =====  =========  =====  ======  =========================
    m       n      k        batch  tile       parts  blocks  e.g.
    ======  =====  =======  =====  =========  =====  ======  =========================
    4096    4096   4096     1      128 x 128  1      1024    large
    500     500    500000   1      128 x 128  33     528     a long sum
    1024    1024   1024     1      64 x 64    1      256     too few tiles of 128
    500     500    800      1      64 x 32    1      128     LeNet, forward
    800     500    500      1      64 x 32    1      208     LeNet, a weight's gradient
    100     500    800      1      64 x 32    7      224     forward, 100 images
    20      500    800      1      32 x 32    7      112     forward, 20 images
    64      64     64       100    64 x 32    1      200     batched
    50000   10     784      1      32 x 16    1      1563    a classifier, all images
    500     10     500      1      32 x 4     1      48      a classifier, 500 images
    4096    1      4096     1      32 x 1     3      384     matrix by vector
    1       4096   4096     1      32 x 1     3      384     vector by matrix
    1       1      70000    1      1 x 1      17     17      dot product
    ======  =====  =======  =====  =========  =====  ======  =========================
    """
    if not m * n * batch:
        return Cut(SMALL, 1, 0, False)
    if min(m, n) > THIN:
        options = [(t, parts) for t in TILINGS.get(dtype, (SMALL,)) for parts in range(1, PARTS + 1)
                   if parts == 1 or k >= parts * max(SHORTEST, 2 * t.depth)]  # fmt: skip
        tiling, parts = min(options, key=lambda o: _time(o[0], o[1], m, n, k, batch))
        return Cut(tiling, parts, parts * _tiles(tiling, m, n, batch), False)
    rows, columns, itemsize = max(m, n), min(m, n), np.dtype(dtype).itemsize
    if rows == 1:
        tiling, least = _vector(itemsize), 2
    else:
        wide = next(w for w in (1, 4, 8, 16) if w >= columns or (w == 8 and itemsize > 4))
        tiling, least = _thin(wide, itemsize), 8
        if wide > 4 and _tiles(tiling, rows, columns, batch) < PROCESSORS:
            tiling = _thin(4, itemsize)
    tiles = _tiles(tiling, rows, columns, batch)
    parts = min(ceil_div(2 * PROCESSORS, tiles), k // (least * tiling.depth))
    return Cut(tiling, max(1, parts), max(1, parts) * tiles, m < n)


def _tiles(tiling: Tiling, m: int, n: int, batch: int) -> int:
    return batch * ceil_div(m, tiling.rows) * ceil_div(n, tiling.columns)


def _time(tiling: Tiling, parts: int, m: int, n: int, k: int, batch: int) -> float:
    """Multiply-adds that one processor could do meanwhile.

    The busiest one has `rounds` blocks, of which one alone does not keep it busy.
    """
    rounds = max(ceil_div(parts * _tiles(tiling, m, n, batch), PROCESSORS), 1.5)
    terms = tiling.depth * ceil_div(k, tiling.depth * parts)
    time = rounds * tiling.rows * tiling.columns * (terms + START) / tiling.rate
    return time + (SECOND + ADDED * parts * batch * m * n if parts > 1 else 0)


def _operand_sizes(x: str, ndim: int, batched: bool, first: bool, axis: str) -> tuple[str, str]:
    """Names of the extents and strides of an operand for `read_sizes`.

    x: "a" or "b", what the kernel calls it, whose rows or columns it calls m or n (`axis`).
    """
    extents, strides = [axis, "k" if first else "_"], [f"{x}_outer", f"{x}_inner"]
    if ndim == 1:
        extents, strides = extents[1:], strides[1:]
    elif not first:
        extents.reverse()
        strides.reverse()
    if batched:
        extents.insert(0, "batch" if first else "_")
        strides.insert(0, f"{x}_batch")
    return " ".join(extents), " ".join(strides)


class _Kind(NamedTuple):
    """What the text of a product depends on besides its tiling."""

    dtype: str
    a_ndim: int
    b_ndim: int
    batched: bool


def _source(kind: _Kind, tiling: Tiling, swapped: bool) -> str:
    """The text of the kernel that computes tiles of C, or of C' where `swapped`."""
    dtype, a_ndim, b_ndim, batched = kind
    itemsize = np.dtype(dtype).itemsize
    fours = dtype == "float32"  # what load4 takes
    left, right = ("b", "a") if swapped else ("a", "b")
    axes = {left: "n" if swapped else "m", right: "m" if swapped else "n"}
    ndims = {left: a_ndim, right: b_ndim}
    c_axes = "_ " * (batched + (a_ndim > 1) + (b_ndim > 1))
    lines = [
        read_sizes(
            (c_axes, c_axes), ("parts _", "_ _"),
            _operand_sizes(left, a_ndim, batched, True, axes[left]),
            _operand_sizes(right, b_ndim, batched, False, axes[right]),
        )
    ]  # fmt: skip
    lines += [] if batched else ["    batch, a_batch, b_batch = 1, 0, 0"]
    lines += [f"    {axes[x]}, {x}_outer = 1, 0" for x in (left, right) if ndims[x] == 1]

    high_unit, wide_unit = min(4, tiling.high), min(4, tiling.wide)
    team = THREADS // tiling.groups
    teams_across = tiling.columns // tiling.wide
    a_pitch, b_pitch = _pitch(tiling.rows), _pitch(tiling.columns)
    half = tiling.depth * (a_pitch + b_pitch)
    meeting = (tiling.groups - 1) * team * tiling.high * tiling.wide
    names: dict[str, object] = {
        "what": f"{'batched, ' if batched else ''}{a_ndim}-d by {b_ndim}-d",
        "dtype": dtype, "threads": THREADS, "rows": tiling.rows, "columns": tiling.columns,
        "high": tiling.high, "wide": tiling.wide, "groups": tiling.groups, "depth": tiling.depth,
        "a_operand": 3 if swapped else 2, "b_operand": 2 if swapped else 3,
        "c_strides": "1, m" if swapped else "n, 1", "room": max(2 * half, meeting), "half": half,
        "team": team, "teams_across": teams_across,
        "resident": tiling.resident // 2 if itemsize > 4 else tiling.resident,
        "high_unit": high_unit, "wide_unit": wide_unit,
        "high_hop": team // teams_across * high_unit, "wide_hop": teams_across * wide_unit,
        "a_pitch": a_pitch, "b_pitch": b_pitch, "b_place": tiling.depth * a_pitch,
    }  # fmt: skip
    operands = [
        {**names, **_copying(x, tile, tiling.depth)}
        for x, tile in (("a", tiling.rows), ("b", tiling.columns))
    ]
    operands[0] |= {"side": tiling.high, "unit": high_unit, "hop": names["high_hop"]}
    operands[1] |= {"side": tiling.wide, "unit": wide_unit, "hop": names["wide_hop"]}
    operands[1]["place"] = names["b_place"]

    def both(template: str) -> str:
        return "".join(template.format(**operand) for operand in operands)

    part = "".join(
        (PART_FOURS if fours and operand["unit"] == 4 else PART).format(**operand)
        for operand in operands
    )
    deep = tiling.depth // tiling.groups
    # two steps of the largest tile at once need more registers than two blocks leave
    once = 1 if tiling == LARGE else min(deep, UNROLLED // (tiling.high * tiling.wide))
    multiply = MULTIPLY.format(part=part, once=once, first=0 if once == deep else "s", **names)
    if once < deep:
        multiply = f"            for s in range(0, {deep}, {once}):\n" + indent(multiply, "    ")

    def loop(count: str, read: str, keep: str) -> str:
        last = "".join(LAST.format(count=operand[count], **operand) for operand in operands)
        return LOOP.format(last=last, read=both(read), multiply=multiply, keep=both(keep), **names)

    one_by_one = loop("ones", READ, KEEP)
    dense, loops = "    fours = a_by_i = b_by_i = False\n", one_by_one
    if fours:
        by_fours = loop("held_fours", READ_FOURS, KEEP_FOURS)
        dense = both(DENSE) + FOURS
        loops = "".join(
            f"    {case}:\n" + indent(text, "    ")
            for case, text in (("if fours", by_fours), ("else", one_by_one))
        )
    return PRODUCT.format(
        sizes="\n".join(lines),
        dense=dense,
        setup=both(SETUP),
        loops=loops,
        meet=MEET.format(**names) if tiling.groups > 1 else "",
        write=((WRITE_FOURS if fours and wide_unit == 4 else "") + WRITE).format(**names),
        **names,
    )


def _pitch(tile: int) -> int:
    """Elements from one term of a tile to the next: 4 more avoid conflicts of the banks."""
    return tile + 4 if tile >= 4 else tile


def _copying(x: str, tile: int, depth: int) -> dict[str, object]:
    """How the threads share the copying of a tile of operand `x`."""
    lanes = min(4, depth // 4)
    area, ones = lanes * tile, ceil_div(tile * depth, THREADS)
    quads = ceil_div(tile * depth, 4 * THREADS)
    return {
        "x": x, "tile": tile, "pitch": _pitch(tile), "lanes": lanes,
        "extent": "m" if x == "a" else "n", "first": "r0" if x == "a" else "c0", "place": 0,
        "slot": 0 if x == "a" else 1,
        "whole": tile % 4 == 0, "quads": max(1, tile // 4), "area": area,
        "width": min(depth, THREADS), "down": THREADS // depth,
        "along": THREADS if depth > THREADS else 0, "reach": 4 * lanes,
        "ones": ones, "held_fours": quads, "held": max(ones, 4 * quads),
        "some_four": _guard(tile * depth // 4), "some_one": _guard(tile * depth),
    }  # fmt: skip


def _guard(count: int) -> str:
    """Whether a thread takes part, where there are fewer things to do than threads."""
    return "True" if count >= THREADS else f"t < {count}"


def _add_groups(parts: int, count: int) -> int:
    """Threads that add the parts of one element."""
    if parts < 8 or count > 65536:
        return 1
    return 8 if count >= 64 else THREADS


def _product(kind: _Kind) -> Lowering:
    """The two stages: tiles of C or of its parts, and the sum of the parts."""
    dtype, a_ndim, b_ndim, batched = kind

    def cut(shapes: Shapes) -> Cut:
        a, b = shapes["in0"], shapes["in1"]
        m, n = a[-2] if a_ndim > 1 else 1, b[-1] if b_ndim > 1 else 1
        return choose(m, n, a[-1], a[0] if batched else 1, dtype)

    def text(shapes: Shapes) -> str:
        chosen = cut(shapes)
        return _source(kind, chosen.tiling, chosen.swapped)

    def partial(shapes: Shapes) -> tuple[int, int]:
        parts = cut(shapes).parts
        return (parts, int(np.prod(shapes["out0"]))) if parts > 1 else (0, 0)

    def add_text(shapes: Shapes) -> str:
        parts, count = partial(shapes)
        groups = _add_groups(parts, count)
        axes = "_ " * len(shapes["out0"])
        sizes = read_sizes((axes, axes), ("parts count", "_ _"))
        return ADD.format(sizes=sizes, dtype=dtype, groups=groups, team=THREADS // groups)

    def add_blocks(shapes: Shapes) -> int:
        parts, count = partial(shapes)
        return ceil_div(count * _add_groups(parts, count), THREADS) if parts else 0

    tiles = Stage(text, ("out0", "tmp0", "in0", "in1"), lambda shapes: cut(shapes).blocks, 2)
    add = Stage(add_text, ("out0", "tmp0"), add_blocks)
    return Lowering((tiles, add), {"tmp0": (dtype, partial)})


def gemm(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 = in0 @ in1, in `dtype` throughout; numpy.matmul for one or two dimensions.

    params: "a_ndim" and "b_ndim", 1 or 2 (default 2). in0 is (M, K) or (K,), in1 (K, N) or (K,),
    out0 (M, N) without the dimension of a vector. Inputs may have any strides; out0 is contiguous.
    ValueError for other dimensions.
    """
    a_ndim, b_ndim = params.get("a_ndim", 2), params.get("b_ndim", 2)
    if a_ndim not in (1, 2) or b_ndim not in (1, 2):
        raise ValueError(f"gemm takes vectors and matrices, got {a_ndim} and {b_ndim} dimensions")
    return _product(_Kind(dtype, 1 if a_ndim == 1 else 2, 1 if b_ndim == 1 else 2, False))


def batched_dot(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0[b] = in0[b] @ in1[b]: (B, M, K) by (B, K, N) gives (B, M, N); any strides of inputs."""
    return _product(_Kind(dtype, 2, 2, True))
