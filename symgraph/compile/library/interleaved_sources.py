"""The kernels of interleaved.py as they are printed; names in braces are filled in there.

`images` of them make a run, which lies in the workspace as [channel][line][column][image]. In
tables are offsets in bytes, for the tiles of interleaved_tiles.py.
"""

IMPORTS = """\
from symgraph.compile.library.blocks import transpose, zero_block
from symgraph.compile.library.interleaved_tiles import {tile_imports}
from symgraph.compile.library.microkernel import inside, tile_rows

tile = {tile_name}("{dtype}", {lanes}, {tile_shape})
interleave = transpose("{dtype}", {lanes}, True)
transposed = transpose("{dtype}", {lanes})
zero = zero_block("{dtype}", {lanes})
"""

# The image below output rows y0 .. y1 - 1, channels at .. at + channels - 1, of a run, into x.
INTERLEAVE = """\
# Lines and columns of the image that these output rows see; the others are zero.
sky = y0 * {sh} - top
seen = (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1
la, lb = inside(h, sky, 1, 0, seen)
qa, qb = inside(w, -left, 1, 0, width)
if lb - la < seen or qb - qa < width:
    zero(x, 0, x, 0, 1, channels * area * {images})
goal = x + (la * width + qa) * {pitch}
source = images + (
    (((first * {groups} + group) * c + at) * h + la + sky) * w + qa - left
) * {size}
image = {groups} * c * h * w
if qb - qa < width or width < w:
    for ch in range(channels):
        for y in range(lb - la):
            interleave(
                goal + (ch * height + y) * width * {pitch}, {images},
                source + (ch * h + y) * w * {size}, image, count, qb - qa
            )
elif lb - la == h and height == h:
    interleave(goal, {images}, source, image, count, channels * h * w)
else:
    for ch in range(channels):
        interleave(
            goal + ch * height * width * {pitch}, {images},
            source + ch * h * w * {size}, image, count, (lb - la) * w
        )
"""

FORWARD = """
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    out = address(pointer(arrays, 0, {dtype}))
    images = address(pointer(arrays, 1, {dtype}))
    filters = address(pointer(arrays, 2, {dtype}))
    taps = kh * kw
    maps = o // {groups}
    reach = (kh - 1) * {dh} + 1
    width = max(0, (ow - 1) * {sw} + (kw - 1) * {dw} + 1)
    runs = (n + {images} - 1) // {images}
    rows = band_rows(oh, {sh}, 1, reach, c * width * {images}, {room}, runs * {groups})
    bands = (oh + rows - 1) // max(1, rows)
    height = (rows - 1) * {sh} + reach
    area = height * width
    x = address(pointer(arrays, 3, int8)) + worker * work_bytes
    tops = x + c * area * {pitch}
    table = tops + {rows} * {strip} * {pitch}
    packed = table + 16 * taps
    entries = pointer_at(table, int64)
    at = 0
    channels = c
    for item in range(start, stop):
        plane = item // bands  # run * groups + group
        group = plane % {groups}
        first = plane // {groups} * {images}
        count = min({images}, n - first)
        y0 = (item - plane * bands) * rows
        y1 = min(oh, y0 + rows)
        pixels = (y1 - y0) * ow
{interleave}
        m = 0
        while m < maps:
            high = tile_rows(maps, m, {rows})
            transposed(
                packed, high, filters + (group * maps + m) * c * taps * {size}, c * taps,
                high, c * taps
            )
            for tap in range(taps):
                entries[2 * tap] = tap * high * {size}
                place = {row_tap} * {dh} * width + {column_tap} * {dw}
                entries[2 * tap + 1] = place * {pitch}
            goal = out + (((first * {groups} + group) * maps + m) * oh + y0) * ow * {size}
            line = x
            column = 0
            for p in range(0, pixels, {strip}):
                length = min({strip}, pixels - p)
                for q in range(0, length, 2):
                    # Two pixels at a time; an odd last one is its own partner.
                    here = line + column * {sw} * {pitch}
                    column += 1
                    if column == ow:
                        column = 0
                        line += {sh} * width * {pitch}
                    step = line + column * {sw} * {pitch} - here
                    apart = {images}
                    if q + 1 == length:
                        step = apart = 0
                    else:
                        column += 1
                        if column == ow:
                            column = 0
                            line += {sh} * width * {pitch}
                    tile(
                        high, packed, taps * high, here, area * {images}, step // {size},
                        table, taps, c, tops + q * {pitch}, {strip} * {images}, apart
                    )
                for r in range(high):
                    transposed(
                        goal + (r * oh * ow + p) * {size}, o * oh * ow,
                        tops + r * {strip} * {pitch}, {images}, length, count
                    )
            m += high
"""

GRAD_INPUTS = """
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    images = address(pointer(arrays, 0, {dtype}))
    filters = address(pointer(arrays, 1, {dtype}))
    grads = address(pointer(arrays, 2, {dtype}))
    taps = kh * kw
    maps = o // {groups}
    reach = (kh - 1) * {dh} + 1
    runs = (n + {images} - 1) // {images}
    rows = band_rows(h, 1, {sh}, reach, maps * ow * {images}, {room}, runs * {groups})
    bands = (h + rows - 1) // max(1, rows)
    height = min(oh, (rows - 1 + reach - 1) // {sh} + 1)
    g = address(pointer(arrays, 3, int8)) + worker * work_bytes
    area = height * ow
    bottoms = g + maps * area * {pitch}
    table = bottoms + {rows} * {strip} * {pitch}
    packed = table + 16 * taps
    entries = pointer_at(table, int64)
    for item in range(start, stop):
        plane = item // bands  # run * groups + group
        group = plane % {groups}
        first = plane // {groups} * {images}
        count = min({images}, n - first)
        y0 = (item - plane * bands) * rows
        y1 = min(h, y0 + rows)
        pixels = (y1 - y0) * w
        # Lines of the gradient that reach these rows of the image.
        ga = max(0, min(oh, (y0 + top - reach + {sh}) // {sh}))
        gb = max(ga, min(oh, (y1 - 1 + top) // {sh} + 1))
        lines = (gb - ga) * ow
        grad = grads + ((first * {groups} + group) * maps * oh + ga) * ow * {size}
        for v in range(0, {images}, {lanes}):
            source = grad + v * o * oh * ow * {size}
            if gb - ga == oh and height == oh:
                interleave(g + v * {size}, {images}, source, o * oh * ow, count - v, maps * area)
            else:
                for q in range(maps):
                    interleave(
                        g + q * area * {pitch} + v * {size}, {images},
                        source + q * oh * ow * {size}, o * oh * ow, count - v, lines
                    )
        m = 0
        while m < c:
            high = tile_rows(c, m, {rows})
            for q in range(maps):
                transposed(
                    packed + q * taps * high * {size}, high,
                    filters + ((group * maps + q) * c + m) * taps * {size}, taps, high, taps
                )
            goal = images + (((first * {groups} + group) * c + m) * h + y0) * w * {size}
            y = y0 + top
            x = left
            for p in range(0, pixels, {strip}):
                length = min({strip}, pixels - p)
                for q in range(length):
                    # The taps of the filter that this pixel was seen by, and from where.
                    some = 0
                    for i in range(kh):
                        oy = (y - i * {dh}) // {sh}
                        if ga <= oy and oy < gb and oy * {sh} == y - i * {dh}:
                            for j in range(kw):
                                ox = (x - j * {dw}) // {sw}
                                if 0 <= ox and ox < ow and ox * {sw} == x - j * {dw}:
                                    tap = i * kw + j
                                    entries[2 * some] = {place} * high * {size}
                                    place = (oy - ga) * ow + ox
                                    entries[2 * some + 1] = place * {pitch}
                                    some += 1
                    tile(
                        high, packed, taps * high, g, area * {images}, {lanes},
                        table, some, maps, bottoms + q * {pitch},
                        {strip} * {images}, {lanes}
                    )
                    x += 1
                    if x == left + w:
                        x = left
                        y += 1
                for r in range(high):
                    transposed(
                        goal + (r * h * w + p) * {size}, {groups} * c * h * w,
                        bottoms + r * {strip} * {pitch}, {images}, length, count
                    )
            m += high
"""

GRAD_WEIGHTS = """
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    out = address(pointer(arrays, 0, {dtype}))
    sums = address(pointer(arrays, 1, {dtype}))
    images = address(pointer(arrays, 2, {dtype}))
    grads = address(pointer(arrays, 3, {dtype}))
    taps = kh * kw
    maps = o // {groups}
    runs = (n + {images} - 1) // {images}
    if parts == 0:
        sums = out
    share = (runs + max(1, parts) - 1) // max(1, parts)
    step = shared_channels(c, max(1, parts) * {groups})
    blocks = (c + step - 1) // step
    reach = (kh - 1) * {dh} + 1
    width = max(0, (ow - 1) * {sw} + (kw - 1) * {dw} + 1)
    rows = band_rows(oh, {sh}, 1, reach, step * width * {images}, {room}, 8)
    bands = (oh + rows - 1) // max(1, rows)
    height = (rows - 1) * {sh} + reach
    area = height * width
    x = address(pointer(arrays, 4, int8)) + worker * work_bytes
    g = x + step * area * {pitch}
    places = g + {rows} * {strip} * {pitch}
    steps = places + 8 * (step * taps + {width} - 1)
    entries = pointer_at(places, int64)
    for k in range(step * taps + {width} - 1):
        tap = k % taps
        place = min(k // taps, step - 1) * area + {row_tap} * {dh} * width + {column_tap} * {dw}
        entries[k] = place * {pitch}
    entries = pointer_at(steps, int64)
    for y in range(rows):
        for t in range(ow):
            entries[y * ow + t] = (y * {sh} * width + t * {sw}) * {pitch}
    for item in range(start, stop):
        part = item // ({groups} * blocks)
        group = item // blocks % {groups}
        at = item % blocks * step
        channels = min(step, c - at)
        across = channels * taps
        target = sums + ((part * o + group * maps) * c + at) * taps * {size}
        for unit in range(part * share * bands, min(runs, (part + 1) * share) * bands):
            first = unit // bands * {images}
            count = min({images}, n - first)
            y0 = unit % bands * rows
            y1 = min(oh, y0 + rows)
            pixels = (y1 - y0) * ow
{interleave}
            m = 0
            while m < maps:
                high = even_rows(maps, m, {rows})
                grad = grads + (((first * {groups} + group) * maps + m) * oh + y0) * ow * {size}
                for p in range(0, pixels, {strip}):
                    length = min({strip}, pixels - p)
                    for r in range(high):
                        interleave(
                            g + r * {strip} * {pitch}, {images},
                            grad + (r * oh * ow + p) * {size}, o * oh * ow, count, length
                        )
                    more = int(unit > part * share * bands or p > 0)
                    for k in range(0, across, {width}):
                        tile(
                            high, g, {strip} * {images}, x, places + 8 * k, steps + 8 * p, length,
                            target + (m * c * taps + k) * {size}, c * taps,
                            min({width}, across - k), more
                        )
                m += high
"""
