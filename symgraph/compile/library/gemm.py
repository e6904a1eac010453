"""Matrix products: `gemm` (with matrix-vector, vector-matrix and vector-vector) and `batched_dot`.

One source serves every shape and every stride of a dtype. C is cut into blocks of up to 384 rows by
a few strips of tiles; a block packs its part of B strip by strip (Goto and van de Geijn 2008), and
of A where rows do not lie together. Thin products skip the packing, and products of small C and
very long K split K in parts, fixed by the problem, that a second stage adds in order.
"""

from collections.abc import Mapping

from .stage import Lowering, Shapes, Stage, ceil_div, read_sizes
from .tiles import FLOATS, Tile, host_tile

STRIPS = 8  # strips of tiles that a block of C is wide
DEPTH = 384  # rows of B that are packed at a time
THIN = 4  # rows of C up to which dot products along k are used
THIN_DEPTH = 4096  # elements of such a dot product at a time
CHUNK = 500_000  # multiply-adds worth a chunk
PARTS = 16  # at most so many parts of a long K
PART = 4096  # and each at least so long

FLOAT_SOURCE = '''\
# C = A @ B, {what}, {dtype}: {lanes} lanes, tiles of {rows} x {vectors} vectors.
from symgraph.compile.library.blocks import copy_block, transpose
from symgraph.compile.library.microkernel import (
    PACKED, block_product, dot_rows, inline, pack_tiles, row_product
)

multiply = block_product("{dtype}", {lanes}, {rows}, {vectors})
multiply_row = row_product("{dtype}", {lanes})
copy = copy_block("{dtype}", {lanes})
pack_a = pack_tiles("{dtype}", {lanes}, {rows})
transposed = transpose("{dtype}", {lanes})
dots = dot_rows("{dtype}", {lanes})


@inline
def pack(target, b, source, b_row, b_column, depth, n):
    """Strips of {width} columns of B, each with its rows one after another."""
    for c in range(0, n, {width}):
        columns = min({width}, n - c)
        if b_column == 1:
            copy(target, {width}, b + (source + c) * {size}, b_row, depth, columns)
        elif b_row == 1:
            line = b + (source + c * b_column) * {size}
            transposed(target, {width}, line, b_column, columns, depth)
        else:
            for i in range(columns):
                line = b + (source + (c + i) * b_column) * {size}
                copy(target + i * {size}, {width}, line, b_row, depth, 1)
        target += depth * {width} * {size}


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    c = address(pointer(arrays, 0, {dtype}))
    a, b = address(pointer(arrays, 2, {dtype})), address(pointer(arrays, 3, {dtype}))
    if parts > 0:
        c = address(pointer(arrays, 1, {dtype}))
    else:
        parts = 1
    work = address(pointer(arrays, 4, int8)) + worker * work_bytes
    if n == 1:  # the column C is as well the row B' @ A'
        m, n = n, m
        a, b = b, a
        a_batch, b_batch = b_batch, a_batch
        a_row, a_column, b_row, b_column = b_column, b_row, a_column, a_row
    column_blocks = (n + {block} - 1) // {block}
    row_blocks = 1
    if m > 96:
        row_blocks = (m + 767) // 768 * 2
    thin = m <= {thin} and b_row == 1
    step = {depth}
    if thin:
        step = {thin_depth}
    for item in range(start, stop):
        j = item // row_blocks
        r0 = m * (item - j * row_blocks) // row_blocks
        r1 = m * (item + 1 - j * row_blocks) // row_blocks
        c0 = j % column_blocks * {block}
        columns = min({block}, n - c0)
        matrix = j // column_blocks
        part = matrix % parts
        matrix //= parts
        k0, k1 = part * k // parts, (part + 1) * k // parts
        target = c + (((matrix * parts + part) * m + r0) * n + c0) * {size}
        a_from = a + (matrix * a_batch + r0 * a_row) * {size}
        b_from = matrix * b_batch + c0 * b_column
        at = k0
        while at == k0 or at < k1:
            depth = min(step, k1 - at)
            a_block = a_from + at * a_column * {size}
            b_block = b_from + at * b_row
            more = int(at > k0)
            if thin:
                for r in range(r1 - r0):
                    line = a_block + r * a_row * {size}
                    if a_column != 1:
                        copy(work, 1, line, a_column, depth, 1)
                        line = work
                    dots(
                        target + r * n * {size}, b + b_block * {size}, b_column, line,
                        columns, depth, more
                    )
            elif b_column == 1 and m == 1:
                multiply_row(
                    a_block, a_column, b + b_block * {size}, b_row, target, columns, depth, more
                )
            elif b_column == 1 and r1 - r0 <= {direct}:
                multiply(
                    a_block, a_row, a_column, b + b_block * {size}, b_row, {width},
                    target, n, r1 - r0, columns, depth, more
                )
            else:
                pack(work, b, b_block, b_row, b_column, depth, columns)
                row = a_row
                if a_column != 1:
                    row = PACKED
                    panel = work + depth * {block} * {size}
                    pack_a(panel, a_block, a_row, a_column, r1 - r0, depth)
                    a_block = panel
                multiply(
                    a_block, row, a_column, work, {width}, depth * {width},
                    target, n, r1 - r0, columns, depth, more
                )
            at += step
'''

OTHER_SOURCE = """\
# C = A @ B, {what}, {dtype}: sums in {dtype}, row by row.


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    c, a, b = pointer(arrays, 0, {dtype}), pointer(arrays, 1, {dtype}), pointer(arrays, 2, {dtype})
    for item in range(start, stop):
        matrix = item // m
        i = item - matrix * m
        for j in range(n):
            c[item * n + j] = {dtype}(0)
        for p in range(k):
            scale = a[matrix * a_batch + i * a_row + p * a_column]
            at = matrix * b_batch + p * b_row
            for j in range(n):
                c[item * n + j] = {dtype}(c[item * n + j] + scale * b[at + j * b_column])
"""

SUM_SOURCE = """\
# The parts of C = A @ B, added in order, {dtype}.
from symgraph.compile.library.blocks import add_block, copy_block

add = add_block("{dtype}", {lanes})
copy = copy_block("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    c = address(pointer(arrays, 0, {dtype}) + start)
    part = address(pointer(arrays, 1, {dtype}) + start)
    copy(c, 0, part, 0, 1, stop - start)
    for p in range(1, parts):
        add(c, 0, part + p * count * {size}, 0, 1, stop - start)
"""


def _sizes(a_ndim: int, b_ndim: int, batched: bool, splits: bool) -> str:
    """The kernel lines that name extents and strides of C, the parts, A and B."""
    c = "_ " * (batched + (a_ndim > 1) + (b_ndim > 1))
    a = ("m k", "a_row a_column") if a_ndim > 1 else ("k", "a_column")
    b = ("_ n", "b_row b_column") if b_ndim > 1 else ("_", "b_row")
    operands = [(c, c), ("parts count", "_ _")] if splits else [(c, c)]
    if batched:
        operands += [("_ " + a[0], "a_batch " + a[1]), ("_ " + b[0], "b_batch " + b[1])]
    else:
        operands += [a, b]
    lines = [read_sizes(*operands, ("work_bytes", "")) if splits else read_sizes(*operands)]
    if not batched:
        lines.append("    a_batch = b_batch = 0")
    if a_ndim == 1:
        lines.append("    m, a_row = 1, 0")
    if b_ndim == 1:
        lines.append("    n, b_column = 1, 0")
    return "\n".join(lines)


def _float_gemm(tile: Tile, a_ndim: int, b_ndim: int, batched: bool) -> Lowering:
    block = STRIPS * tile.columns

    def problem(shapes: Shapes) -> tuple[int, int, int, int]:
        """(batch, m, n, k) as the kernel sees them: a column of C is a row."""
        a, b = shapes["in0"], shapes["in1"]
        m = a[-2] if a_ndim > 1 else 1
        n = b[-1] if b_ndim > 1 else 1
        if n == 1:
            m, n = n, m
        return a[0] if batched else 1, m, n, a[-1]

    def blocks(shapes: Shapes) -> tuple[int, int, int]:
        batch, m, n, _ = problem(shapes)
        if not m:
            return 0, 0, 0
        return batch, ceil_div(n, block), 1 if m <= 96 else 2 * ceil_div(m, 768)

    def parts(shapes: Shapes) -> int:
        batch, columns, rows = blocks(shapes)
        count = min(PARTS, problem(shapes)[3] // PART)
        return count if 0 < batch * columns * rows < 8 and count > 1 and not batched else 0

    def extent(shapes: Shapes) -> int:
        batch, columns, rows = blocks(shapes)
        return batch * max(parts(shapes), 1) * columns * rows

    def grain(shapes: Shapes) -> int:
        _, m, n, k = problem(shapes)
        work = ceil_div(m, blocks(shapes)[2] or 1) * min(n, block) * k
        return max(1, ceil_div(CHUNK, work // max(parts(shapes), 1) + 1))

    def workspace(shapes: Shapes) -> int:
        _, m, _, k = problem(shapes)
        panels = min(k, DEPTH) * (block + ceil_div(m, blocks(shapes)[2] or 1))
        return tile.itemsize * max(panels, min(k, THIN_DEPTH))

    def elements(shapes: Shapes) -> int:
        _, m, n, _ = problem(shapes)
        return m * n

    literals = {
        "dtype": tile.dtype, "lanes": tile.lanes, "rows": tile.rows, "vectors": tile.vectors,
        "size": tile.itemsize, "width": tile.columns, "block": block, "depth": DEPTH,
        "thin": THIN, "thin_depth": THIN_DEPTH, "direct": 2 * tile.rows,
        "what": f"{'batched, ' if batched else ''}{a_ndim}-d by {b_ndim}-d",
    }  # fmt: skip
    source = FLOAT_SOURCE.format(sizes=_sizes(a_ndim, b_ndim, batched, True), **literals)
    product = Stage(source, ("out0", "tmp0", "in0", "in1", "work"), extent, grain, workspace)
    c_axes = "_ " * (batched + (a_ndim > 1) + (b_ndim > 1))
    source = SUM_SOURCE.format(sizes=read_sizes((c_axes, c_axes), ("parts count", "")), **literals)
    total = Stage(
        source,
        ("out0", "tmp0"),
        lambda shapes: elements(shapes) if parts(shapes) else 0,
        lambda shapes: 8192,
    )
    temporaries = {
        "tmp0": (tile.dtype, lambda shapes: (parts(shapes), elements(shapes) * bool(parts(shapes))))
    }
    return Lowering((product,) if batched else (product, total), temporaries)


def _other_gemm(dtype: str, a_ndim: int, b_ndim: int, batched: bool) -> Lowering:
    def extent(shapes: Shapes) -> int:
        a = shapes["in0"]
        return (a[-2] if a_ndim > 1 else 1) * (a[0] if batched else 1)

    def grain(shapes: Shapes) -> int:
        columns = shapes["in1"][-1] if b_ndim > 1 else 1
        return max(1, ceil_div(CHUNK, columns * shapes["in0"][-1] + 1))

    source = OTHER_SOURCE.format(
        sizes=_sizes(a_ndim, b_ndim, batched, False),
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
