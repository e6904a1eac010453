"""How products and convolutions are cut up: integer rules that Python and the kernels both follow.

Plain Python here, for extents and workspaces; `microkernel.py` hands the same functions to kernels.
"""


def channel_block(channels: int, taps: int, images: int) -> int:
    """Channels of a panel: what 512 rows hold, fewer when images are too few to share out."""
    block = min(channels, 512 // max(1, taps), (channels * images + 7) // 8)
    return max(block, 1)


def row_block(rows: int, columns: int, depth: int, images: int) -> int:
    """Output rows of a panel of `depth` by pixels.

    Even blocks, of at most 65536 elements (the second-level cache holds them), small enough for
    eight blocks in all, but not below 32 pixels.
    """
    most = max(1, 65536 // max(1, depth * columns))
    wanted = (7 + max(1, images)) // max(1, images)
    least = (31 + columns) // max(1, columns)
    most = min(most, max(least, (rows + wanted - 1) // wanted))
    blocks = max(1, (rows + most - 1) // most)
    return max(1, (rows + blocks - 1) // blocks)


def pixel_block(rows: int, columns: int, depth: int, images: int) -> tuple[int, int]:
    """Output rows and columns of a panel of `depth` by pixels: whole rows, as `row_block` says.

    A row of more than 65536 elements is cut into even blocks of at most so many, or of 32 pixels.
    """
    most = max(32, 65536 // max(1, depth))
    if columns > most:
        return 1, even_split(columns, most)
    return row_block(rows, columns, depth, images), max(1, columns)


def inside(size: int, start: int, step: int, first: int, last: int) -> tuple[int, int]:
    """The range of t in first .. last - 1 for which 0 <= start + step * t < size; may be empty."""
    low = max(first, min(last, (step - 1 - start) // step))
    high = max(low, min(last, (size - 1 - start) // step + 1))
    return low, high


def tile_rows(m: int, first: int, rows: int) -> int:
    """Rows of the tile that begins at row `first` of m: an even number up to `rows`, or 1.

    What is left is dealt evenly: 50 rows are 5 tiles of 10, not 4 of 12 and a thin one of 2.
    """
    pairs = (m - first) // 2
    tiles = (2 * pairs + rows - 1) // rows
    return 2 * ((pairs + tiles - 1) // tiles) if pairs else 1


def even_rows(m: int, first: int, rows: int) -> int:
    """Rows of the tile that begins at row `first` of m: what is left is dealt evenly."""
    tiles = (m - first + rows - 1) // rows
    return (m - first + tiles - 1) // max(1, tiles)


def band_rows(rows: int, up: int, down: int, reach: int, line: int, room: int, runs: int) -> int:
    """Rows of a band of a convolution's result that is made from one block of interleaved images.

    R rows need ((R - 1) * up + reach - 1) // down + 1 lines, of `line` elements each, of which
    `room` elements may be held. Where there are few `runs` of images there are eight bands in all.
    Even bands; 0 where not one row fits.
    """
    most = min(rows, (room // max(1, line) * down - reach) // up + 1)
    if most < 1:
        return 0
    wanted = min(rows, (7 + max(1, runs)) // max(1, runs))
    most = min(most, (rows + wanted - 1) // wanted)
    bands = (rows + most - 1) // most
    return (rows + bands - 1) // bands


def shared_channels(channels: int, shares: int) -> int:
    """Channels of an item where there are `shares` items anyway: eight items in all, or more."""
    return max(1, min(channels, (channels * shares + 7) // 8))


def unit_share(images: int, units: int, parts: int) -> int:
    """Units of a part where `images` have `units` each: whole images if there are 16 or more."""
    if images >= 16:
        return (images + parts - 1) // parts * units
    return (images * units + parts - 1) // parts


def even_split(total: int, limit: int) -> int:
    """The length, at most `limit` and at least 1, of the fewest even pieces of `total`."""
    pieces = max(1, (total + limit - 1) // limit)
    return max(1, (total + pieces - 1) // pieces)


def even_shares(work: int, most: int) -> int:
    """Into how many shares `work` is cut so that each is at most `most`: a power of two, which two
    or four cores share evenly, up to 16."""
    shares = 1
    while shares < 16 and shares * most < work:
        shares *= 2
    return shares


def product_work(m: int, n: int, k: int) -> int:
    """What C[m, n] = A[m, k] @ B[k, n] costs in multiply-adds, if a number from afar costs 8."""
    return m * n * k + 8 * (m * k + k * n + m * n)


def product_blocks(m: int, n: int, k: int, rows: int, width: int, shared: bool) -> tuple[int, int]:
    """Rows and columns of the blocks into which C[m, n], a sum over k, is cut.

    A tile has `rows` by `width` elements. Where B is packed once for all blocks (`shared`), or not
    at all for so few rows, there are up to 16 blocks or a few more, by the work; for short sums
    many, since writing C is the work then, best done row by row. Else each block packs its part of
    B, and is as high and as wide as the caches allow. Where it can be, the number of blocks, and of
    rows of blocks from eight on, is one that cores share evenly.
    """
    work = product_work(m, n, k)
    wanted = even_shares(work, 2_000_000)
    tiles = max(1, (m + rows - 1) // rows)
    strips = max(1, (n + width - 1) // width)
    if shared and k <= 64:
        down, across = min((tiles + 1) // 2, 1 + work // 200_000), 1
    elif shared:
        down = min(wanted, (tiles + 4) // 5)
        down = 8 if 8 < down < 16 else down
        across = min(strips, (wanted + down - 1) // down)
    elif tiles <= 2:
        down, across = 1, min(strips, wanted)
    else:
        down = (tiles + 63) // 64
        across = max((strips + 7) // 8, min(strips, wanted // down))
    high = 2 * (((m + 1) // 2 + down - 1) // down)
    return max(1, high), width * ((strips + across - 1) // across)
