"""The kernels of sorting.py as they are printed; names in braces are filled in there.

Both merge two sorted runs that stand side by side: a key goes behind as many of the other run as
belong before it, and a binary search counts those.
"""

TILES = """\
# {what}, {dtype}: within runs of {run}.


def kernel(arrays, sizes):  # {threads} threads
{operands}
{sizes}
    keys = shared("keys", {held}, 2048)
{room}{tile}    for q in range({slots}):
        s = q * {threads} + thread()
        p, line = s % {run}, {line}
        if {inside}:
            keys[s] = source[(line // after * n + start + p) * after + line % after]
{numbered}\
    barrier()
    here, width = 0, 1
    while width < {run}:
        for q in range({slots}):
            s = q * {threads} + thread()
            p, line = s % {run}, {line}
            if {inside}:
                key = keys[here + s]
                later = p & width != 0
                first = int32(min((p & -width) ^ width, size))
                low, high = first, int32(min(first + width, size))
                while low < high:
                    middle = int32(low + (int32(high - low) >> 1))
                    other = keys[here + s - p + middle]
                    if {before}:
                        low = int32(middle + 1)
                    else:
                        high = middle
                goal = 1024 - here + s - p + (p & -2 * width) + (p & width - 1) + low - first
                keys[goal] = key
{moved}\
        barrier()
        here, width = 1024 - here, 2 * width
    for q in range({slots}):
        s = q * {threads} + thread()
        p, line = s % {run}, {line}
        if {inside}:
            key = keys[here + s]
{place}\
            p += start
{stored}\
"""

PLACES_ROOM = """\
    places = shared("places", int32, 2048)
"""

WHOLE = """\
    start, size = 0, n  # several lines in a tile
"""

CUT = """\
    across = (n + 1023) // 1024  # tiles in a line
    row = int64(uint32(block()) // uint32(across))
    start = (block() - row * across) * 1024
    size = min(1024, n - start)
"""

MERGE = """\
# {what}, {dtype}: runs of {width} are merged.


def kernel(arrays, sizes):  # {threads} threads
{operands}
{sizes}
    across = (n + {threads} - 1) // {threads}
    line = int64(uint32(block()) // uint32(across))
    p = (block() - line * across) * {threads} + thread()
    if p < n:
        key = source[line * n + p]
        later = p & {width} != 0
        first = min((p & -{width}) ^ {width}, n)
        low, high = first, min(first + {width}, n)
        while low < high:
            middle = (low + high) >> 1
            other = source[line * n + middle]
            if {before}:
                low = middle + 1
            else:
                high = middle
{place}\
        p = (p & -2 * {width}) + (p & {width} - 1) + low - first
{stored}\
"""

RESULT = """\
p -= {skipped}
if p >= 0 and p < kept:
    to[(line // after * kept + p) * after + line % after] = {value}
"""

BEFORE = {
    False: "other < key or (later and other == key)",
    True: "other > key or (later and other == key)",
}
"""By `descending`: whether `other` belongs before `key`, whose run may be the `later` one."""

BEFORE_NAN = {
    False: "(key != key and (later or other == other))",
    True: "(other != other and (later or key == key))",
}
"""What floats ask besides: NaN is the largest."""
