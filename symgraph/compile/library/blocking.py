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
