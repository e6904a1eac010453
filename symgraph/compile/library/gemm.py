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

import math
from collections.abc import Mapping

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


def _float_gemm(tile: Tile, a_ndim: int, b_ndim: int, batched: bool) -> Lowering:
    width, size, direct = tile.columns, tile.itemsize, 2 * tile.rows

    def problem(shapes: Shapes) -> tuple[int, int, int, int]:
        """(batch, m, n, k) as the kernel sees them."""
        a, b = shapes["in0"], shapes["in1"]
        m = a[-2] if a_ndim > 1 else 1
        n = b[-1] if b_ndim > 1 else 1
        if n <= THIN and n < m:
            m, n = n, m
        return a[0] if batched else 1, m, n, a[-1]

    def result(shapes: Shapes) -> tuple[int, int]:
        """The rows and columns of C."""
        return shapes["in0"][-2] if a_ndim > 1 else 1, shapes["in1"][-1] if b_ndim > 1 else 1

    def few_rows(shapes: Shapes) -> int:
        """Parts of a sum of few rows, where adding them is little work; 0 for one."""
        _, m, n, k = problem(shapes)
        count = ceil_div(n, product_blocks(m, n, k, tile.rows, width, False)[1])
        suits = 0 < m <= direct and m == result(shapes)[0] and not batched
        return count if suits and 1 < count <= k // (4 * m) else 0

    def parts(shapes: Shapes) -> int:
        """Parts of a long sum, or one of few rows; 0 for one."""
        if few_rows(shapes):
            return few_rows(shapes)
        _, m, n, k = problem(shapes)
        high, wide = product_blocks(m, n, k, tile.rows, width, False)
        count = min(PARTS, k // PART)
        blocks = ceil_div(m, high) * ceil_div(n, wide)
        return count if not batched and 0 < blocks < 8 and count > 1 else 0

    def strips(shapes: Shapes) -> int:
        """Strips of B that are packed once for all blocks."""
        _, m, n, k = problem(shapes)
        count = ceil_div(n, width)
        fits = k * count * width * size <= PANEL_BYTES
        return count if fits and m > direct and not batched and not parts(shapes) else 0

    def blocks(shapes: Shapes) -> tuple[int, int]:
        _, m, n, k = problem(shapes)
        return product_blocks(m, n, k, tile.rows, width, strips(shapes) > 0)

    def items(shapes: Shapes) -> int:
        batch, m, n, _ = problem(shapes)
        high, wide = blocks(shapes)
        return batch * ceil_div(m, high) * ceil_div(n, wide)

    def work_grain(shapes: Shapes) -> int:
        """Blocks, or parts of blocks, in a chunk."""
        _, m, n, k = problem(shapes)
        high, wide = blocks(shapes)
        pieces = 1 if few_rows(shapes) else max(parts(shapes), 1)
        work = product_work(min(m, high), min(n, wide), k // pieces)
        return ceil_div(CHUNK, work + 1)

    def first_extent(shapes: Shapes) -> int:
        return few_rows(shapes) or items(shapes) * parts(shapes) or strips(shapes)

    def first_grain(shapes: Shapes) -> int:
        if parts(shapes):
            return work_grain(shapes)
        count = max(strips(shapes), 1)
        return ceil_div(count, even_shares(count * problem(shapes)[3] * width, COPY))

    def extent(shapes: Shapes) -> int:
        return result(shapes)[0] if parts(shapes) else items(shapes)

    def grain(shapes: Shapes) -> int:
        if parts(shapes):
            return ceil_div(ADDED, 1 + result(shapes)[1] * parts(shapes))
        return work_grain(shapes)

    def slices(shapes: Shapes) -> tuple[int, int, int]:
        batch, m, n, _ = problem(shapes)
        high, wide = blocks(shapes)
        rows, columns = result(shapes)
        if batched:
            return 1, items(shapes) // max(batch, 1), batch
        if a_ndim == 1:
            return (columns if parts(shapes) else wide), 1, columns
        if parts(shapes):
            return 1, 1, rows
        return (high, ceil_div(n, wide), rows) if m == rows else (wide, 1, rows)

    def workspace(shapes: Shapes) -> int:
        _, m, n, k = problem(shapes)
        high, wide = blocks(shapes)
        apart = high * wide if 1 < m <= THIN or (n <= width and n < m) else 0
        panels = min(k, DEPTH) * (high + (0 if strips(shapes) else wide))
        return size * (apart + max(panels, THIN * min(k, THIN_DEPTH)))

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
        "tmp0": (tile.dtype, lambda shapes: (parts(shapes), math.prod(result(shapes)))),
        "tmp1": (tile.dtype, lambda shapes: (strips(shapes), problem(shapes)[3] * width)),
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
