"""The kernels of gemm.py as they are printed; names in braces are filled in there."""

PRODUCT = '''\
# C = A @ B, {what}, {dtype}: {lanes} lanes, tiles of {rows} x {vectors} vectors.
from symgraph.compile.library.blocks import add_block, copy_block, transpose
from symgraph.compile.library.microkernel import (
    PACKED, block_product, dot_products, even_split, few_rows, inline, pack_tiles, product_blocks
)

multiply = block_product("{dtype}", {lanes}, {rows}, {vectors})
multiply_few = few_rows("{dtype}", {lanes}, {few_vectors})
dots = dot_products("{dtype}", {lanes})
add = add_block("{dtype}", {lanes})
copy = copy_block("{dtype}", {lanes})
pack_a = pack_tiles("{dtype}", {lanes}, {rows})
transposed = transpose("{dtype}", {lanes})


@inline
def pack(target, strip, source, row, column, depth, n):
    """Strips of {width} of n columns, `strip` elements apart, each with its rows one by one."""
    for c in range(0, n, {width}):
        columns, line = min({width}, n - c), source + c * column * {size}
        if column == 1:
            copy(target, {width}, line, row, depth, columns)
        elif row == 1:
            transposed(target, {width}, line, column, columns, depth)
        else:
            for i in range(columns):
                copy(target + i * {size}, {width}, line + i * column * {size}, row, depth, 1)
        target += strip * {size}


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    c = address(pointer(arrays, 0, {dtype}))
    sums = address(pointer(arrays, 2, {dtype}))
    panel = address(pointer(arrays, 3, {dtype}))
    a, b = address(pointer(arrays, 4, {dtype})), address(pointer(arrays, 5, {dtype}))
    work = address(pointer(arrays, 6, int8)) + worker * work_bytes
    if first and strips > 0:
        line = b + start * {width} * b_column * {size}
        columns = min(n, stop * {width}) - start * {width}
        pack(panel + start * k * {width} * {size}, k * {width}, line, b_row, b_column, k, columns)
        return
    swapped = n <= {thin} and n < m
    if swapped:  # C' = B' @ A'
        m, n = n, m
        a, b = b, a
        a_batch, b_batch = b_batch, a_batch
        a_row, a_column, b_row, b_column = b_column, b_row, a_column, a_row
    high, wide = product_blocks(m, n, k, {rows}, {width}, strips > 0)
    column_blocks = (n + wide - 1) // wide
    row_blocks = (m + high - 1) // high
    if parts > 0:
        few = m <= {direct} and column_blocks > 1 and not swapped
        if few and b_column == 1:
            wide, column_blocks = n, 1
        elif few:
            parts = 1
        if not first:
            line = m if swapped else n
            for i in range(start, stop):
                row = c + i * line * {size}
                copy(row, 0, sums + i * line * {size}, 0, 1, line)
                for p in range(1, parts):
                    add(row, 0, sums + (p * m * n + i * line) * {size}, 0, 1, line)
            return
        c = sums
    turned = a_row == 1 and n <= {width} and n < m and not swapped  # as `swapped`, by blocks
    # Then a block of C' lies at the start of the workspace before it is transposed.
    apart = swapped and m > 1
    block = work
    if apart or turned:
        work += high * wide * {size}
    thin = not turned and b_row == 1 and (m <= {thin} or a_column == 1 and m <= {dotted})
    limit = {depth}
    if thin:
        limit = {thin_depth}
    parts = max(parts, 1)
    for item in range(start, stop):
        i = item // column_blocks
        c0 = (item - i * column_blocks) * wide
        columns = min(wide, n - c0)
        matrix = i // row_blocks
        r0 = (i - matrix * row_blocks) * high
        rows = min(high, m - r0)
        part = matrix % parts
        matrix //= parts
        k0, k1 = part * k // parts, (part + 1) * k // parts
        step = even_split(k1 - k0, limit)
        target, ldc = c + (((matrix * parts + part) * m + r0) * n + c0) * {size}, n
        if apart:
            target, ldc = block, columns
        elif turned:
            target, ldc = block, rows
        a_from = a + (matrix * a_batch + r0 * a_row) * {size}
        b_from = b + (matrix * b_batch + c0 * b_column) * {size}
        at = k0
        while at == k0 or at < k1:
            depth = min(step, k1 - at)
            a_block = a_from + at * a_column * {size}
            b_block = b_from + at * b_row * {size}
            more = int(at > k0)
            if thin:
                line = a_row
                if a_column != 1:
                    line = depth
                    for r in range(rows):
                        row = a_block + r * a_row * {size}
                        copy(work + r * depth * {size}, 1, row, a_column, depth, 1)
                    a_block = work
                dots(target, ldc, a_block, line, b_block, b_column, rows, columns, depth, more)
            elif b_column == 1 and m <= {thin}:
                multiply_few(
                    a_block, a_row, a_column, b_block, b_row,
                    target, ldc, rows, columns, depth, more
                )
            else:
                line, column, space, tall, broad = a_row, a_column, work, rows, columns
                if turned:
                    a_block, b_block = b_block, a_block
                    line, column, tall, broad = b_column, b_row, columns, rows
                    ldb, strip = a_column, {width}
                elif b_column == 1 and m <= {direct}:
                    ldb, strip = b_row, {width}
                elif strips > 0:
                    ldb, strip = {width}, k * {width}
                    b_block = panel + (c0 * k + at * {width}) * {size}
                else:
                    ldb, strip = {width}, depth * {width}
                    pack(space, strip, b_block, b_row, b_column, depth, columns)
                    b_block = space
                    space += depth * ((columns + {width} - 1) // {width}) * {width} * {size}
                if column != 1 and columns > {width}:
                    pack_a(space, a_block, a_row, a_column, rows, depth)
                    a_block, line = space, PACKED
                multiply(
                    a_block, line, column, b_block, ldb, strip,
                    target, ldc, tall, broad, depth, more
                )
            at += step
        if apart:
            place = c + (((matrix * parts + part) * n + c0) * m + r0) * {size}
            transposed(place, m, block, columns, rows, columns)
        elif turned:
            place = c + (((matrix * parts + part) * m + r0) * n + c0) * {size}
            transposed(place, n, block, rows, columns, rows)
'''

OTHER = """\
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
