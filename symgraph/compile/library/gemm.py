"""Matrix products: `gemm` (with matrix-vector, vector-matrix and vector-vector) and `batched_dot`.

One source serves every shape and every stride of a dtype (Goto and van de Geijn 2008): tiles of C
in registers (microkernel.py), strips of B as wide as a tile in the caches.

**Blocks.** C is cut into blocks by its sizes alone (`product_blocks`); a block is an item.

**Packing.** A tile wants the rows of its strip of B one after another, and the columns of its rows
of A. A small B is copied so by the first stage, once for all blocks; of a large one each block
copies what it needs, a few hundred rows at a time. B is read where it lies if C has few rows: then
a copy costs more than it saves. A is copied tile by tile, a few hundred columns at a time, where
enough strips meet it.

**Thin products.** Of a C of up to four columns the transpose is computed, and, where A lies along
m, of blocks of a C that is no wider than a tile: A is then read as it lies. Up to four rows have
tiles of their own, and where B lies along k, elements of C are dot products.

**Long sums** of a small C are cut in parts, fixed by the sizes: the first stage computes them, the
second adds them in order. So the second stage alone writes C, whatever the sizes.

**Few rows** of C: reading B is the work. There too the sum is cut, so that a part reads rows of B
one after the other: where B is a weight, those that the same worker updated (walk.py, `share`). For
the same reason a B that lies along k is cut by columns, and the sum has one part.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from .blocking import even_shares, product_blocks, product_work
from .gemm_sources import OTHER, PRODUCT
from .stage import Lowering, Shapes, Stage, ceil_div, read_sizes
from .tiles import FLOATS, Tile, host_tile

DEPTH = 320  # rows of B that a tile runs over at a time: a strip of them fits the first cache
PANEL_BYTES = 1 << 22  # up to this size B is packed once for all
THIN = 4  # rows of C up to which dot products along k are used
DOTTED = 16  # the same where A as well lies along k
THIN_DEPTH = 4096  # elements of such a dot product at a time
CHUNK = 500_000  # multiply-adds, or as much work, worth a chunk
COPY = 65_536  # elements copied worth a chunk
ADDED = 131_072  # elements of parts added, the same
PARTS = 16  # at most so many parts of a long K
PART = 4096  # and each at least so long
OPERANDS = ("tmp0", "tmp1", "in0", "in1", "work")


def _extents(a_ndim: int, b_ndim: int, batched: bool) -> tuple[tuple[str, str], tuple[str, str]]:
    """Names of the extents and strides of A and of B, for `read_sizes`."""
    a = ("m k", "a_row a_column") if a_ndim > 1 else ("k", "a_column")
    b = ("_ n", "b_row b_column") if b_ndim > 1 else ("_", "b_row")
    if batched:
        a, b = (f"_ {a[0]}", f"a_batch {a[1]}"), (f"_ {b[0]}", f"b_batch {b[1]}")
    return a, b


def _defaults(a_ndim: int, b_ndim: int, batched: bool) -> str:
    """Kernel lines for the extents and strides that vectors and single products lack."""
    lines = [] if batched else ["    a_batch = b_batch = 0"]
    lines += ["    m, a_row = 1, 0"] if a_ndim == 1 else []
    lines += ["    n, b_column = 1, 0"] if b_ndim == 1 else []
    return "".join("\n" + line for line in lines)


class Cutting(NamedTuple):
    """How a product is cut up. `m`, `n` and `k` are as the kernel sees them, of C or of C'."""

    batch: int
    m: int
    n: int
    k: int
    rows: int  # of C
    columns: int
    few: int  # parts of a sum of few rows, where adding them is little work; 0 for one
    parts: int  # parts of a long sum, or one of few rows; 0 for one
    strips: int  # strips of B that are packed once for all blocks
    high: int  # rows of a block
    wide: int  # its columns
    items: int  # blocks
    grain: int  # blocks, or parts of blocks, in a chunk


def _cutter(tile: Tile, a_ndim: int, b_ndim: int, batched: bool) -> Callable[[Shapes], Cutting]:
    """The cutting of a product of such operands from their shapes, worked out once for each."""
    width, direct = tile.columns, 2 * tile.rows

    @lru_cache(maxsize=1024)
    def cutting(a: tuple[int, ...], b: tuple[int, ...]) -> Cutting:
        rows = m = a[-2] if a_ndim > 1 else 1
        columns = n = b[-1] if b_ndim > 1 else 1
        if n <= THIN and n < m:
            m, n = n, m
        batch, k = a[0] if batched else 1, a[-1]
        high, wide = product_blocks(m, n, k, tile.rows, width, False)
        down, across = ceil_div(m, high), ceil_div(n, wide)
        few = parts = strips = 0
        if not batched:
            if 0 < m <= direct and m == rows and 1 < across <= k // (4 * m):
                few = across
            parts = few or min(PARTS, k // PART)
            parts = parts if few or (0 < down * across < 8 and parts > 1) else 0
            count = ceil_div(n, width)
            fits = k * count * width * tile.itemsize <= PANEL_BYTES
            strips = count if fits and m > direct and not parts else 0
        if strips:
            high, wide = product_blocks(m, n, k, tile.rows, width, True)
            down, across = ceil_div(m, high), ceil_div(n, wide)
        pieces = 1 if few else max(parts, 1)
        grain = ceil_div(CHUNK, product_work(min(m, high), min(n, wide), k // pieces) + 1)
        return Cutting(batch, m, n, k, rows, columns, few, parts, strips, high, wide,
                       batch * down * across, grain)  # fmt: skip

    return lambda shapes: cutting(shapes["in0"], shapes["in1"])


def _float_gemm(tile: Tile, a_ndim: int, b_ndim: int, batched: bool) -> Lowering:
    width, size, direct = tile.columns, tile.itemsize, 2 * tile.rows
    cutting = _cutter(tile, a_ndim, b_ndim, batched)

    def first_extent(shapes: Shapes) -> int:
        cut = cutting(shapes)
        return cut.few or cut.items * cut.parts or cut.strips

    def first_grain(shapes: Shapes) -> int:
        cut = cutting(shapes)
        if cut.parts:
            return cut.grain
        count = max(cut.strips, 1)
        return ceil_div(count, even_shares(count * cut.k * width, COPY))

    def extent(shapes: Shapes) -> int:
        cut = cutting(shapes)
        return cut.rows if cut.parts else cut.items

    def grain(shapes: Shapes) -> int:
        cut = cutting(shapes)
        return ceil_div(ADDED, 1 + cut.columns * cut.parts) if cut.parts else cut.grain

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        cut = cutting(shapes)
        if batched:
            return 1, cut.items // max(cut.batch, 1), cut.batch
        if a_ndim == 1:
            return (cut.columns if cut.parts else cut.wide), 1, cut.columns
        if cut.parts:
            return 1, 1, cut.rows
        if cut.m == cut.rows:
            return cut.high, ceil_div(cut.n, cut.wide), cut.rows
        return cut.wide, 1, cut.rows

    def workspace(shapes: Shapes) -> int:
        cut = cutting(shapes)
        is_apart = 1 < cut.m <= THIN or (cut.n <= width and cut.n < cut.m)
        apart = cut.high * cut.wide if is_apart else 0
        panels = min(cut.k, DEPTH) * (cut.high + (0 if cut.strips else cut.wide))
        return size * (apart + max(panels, THIN * min(cut.k, THIN_DEPTH)))

    def sums(shapes: Shapes) -> tuple[int, int]:
        cut = cutting(shapes)
        return cut.parts, cut.rows * cut.columns

    def panel(shapes: Shapes) -> tuple[int, int]:
        cut = cutting(shapes)
        return cut.strips, cut.k * width

    literals = {
        "dtype": tile.dtype, "lanes": tile.lanes, "rows": tile.rows, "vectors": tile.vectors,
        "size": size, "width": width, "depth": DEPTH, "thin": THIN, "thin_depth": THIN_DEPTH,
        "direct": direct, "dotted": DOTTED, "few_vectors": tile.few_vectors,
        "what": f"{'batched, ' if batched else ''}{a_ndim}-d by {b_ndim}-d",
    }  # fmt: skip
    c_axes = "_ " * (batched + (a_ndim > 1) + (b_ndim > 1))
    sizes = read_sizes(
        (c_axes, c_axes), ("first", "_"), ("parts _", "_ _"), ("strips _", "_ _"),
        *_extents(a_ndim, b_ndim, batched), ("work_bytes", ""),
    )  # fmt: skip
    source = PRODUCT.format(sizes=sizes + _defaults(a_ndim, b_ndim, batched), **literals)
    product = Stage(
        source, ("out0", "tmp3", *OPERANDS), extent, grain, workspace,
        ("out0", "in0", "in1") if batched else ("out0", "in0") if a_ndim > 1 else ("out0",),
        slices,
    )  # fmt: skip
    temporaries = {
        "tmp0": (tile.dtype, sums),
        "tmp1": (tile.dtype, panel),
        "tmp2": (tile.dtype, lambda shapes: (1,)),
        "tmp3": (tile.dtype, lambda shapes: (0,)),
    }
    # The second operand says by its length which stage it is: one kernel is compiled for both.
    first = Stage(source, ("out0", "tmp2", *OPERANDS), first_extent, first_grain, workspace)
    return Lowering((product,) if batched else (first, product), temporaries)


def _other_gemm(dtype: str, a_ndim: int, b_ndim: int, batched: bool) -> Lowering:
    def extent(shapes: Shapes) -> int:
        a = shapes["in0"]
        return (a[-2] if a_ndim > 1 else 1) * (a[0] if batched else 1)

    def grain(shapes: Shapes) -> int:
        columns = shapes["in1"][-1] if b_ndim > 1 else 1
        return max(1, ceil_div(CHUNK, columns * shapes["in0"][-1] + 1))

    c_axes = "_ " * (batched + (a_ndim > 1) + (b_ndim > 1))
    sizes = read_sizes((c_axes, c_axes), *_extents(a_ndim, b_ndim, batched))
    source = OTHER.format(
        sizes=sizes + _defaults(a_ndim, b_ndim, batched),
        dtype=dtype,
        what=f"{'batched, ' if batched else ''}{a_ndim}-d by {b_ndim}-d",
    )
    return Lowering((Stage(source, ("out0", "in0", "in1"), extent, grain),))


def _gemm(dtype: str, a_ndim: int, b_ndim: int, batched: bool) -> Lowering:
    if dtype in FLOATS:
        return _float_gemm(host_tile(dtype), a_ndim, b_ndim, batched)
    return _other_gemm(dtype, a_ndim, b_ndim, batched)


def gemm(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 = in0 @ in1, in `dtype` throughout; numpy.matmul for one or two dimensions.

    params: "a_ndim" and "b_ndim", 1 or 2 (default 2). in0 is (M, K) or (K,), in1 (K, N) or (K,),
    out0 (M, N) without the dimension of a vector. Inputs may have any strides; out0 is contiguous.
    """
    a_ndim, b_ndim = params.get("a_ndim", 2), params.get("b_ndim", 2)
    if a_ndim not in (1, 2) or b_ndim not in (1, 2):
        raise ValueError(f"gemm takes vectors and matrices, got {a_ndim} and {b_ndim} dimensions")
    return _gemm(dtype, 1 if a_ndim == 1 else 2, 1 if b_ndim == 1 else 2, False)


def batched_dot(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0[b] = in0[b] @ in1[b]: (B, M, K) by (B, K, N) gives (B, M, N); any strides of inputs."""
    return _gemm(dtype, 2, 2, True)
