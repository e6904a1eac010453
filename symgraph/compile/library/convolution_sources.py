"""The kernels of convolution.py as they are printed; names in braces are filled in there."""

IMPORTS = """\
from symgraph.compile.library.blocks import (
    add_block, copy_block, fold_row, transpose, unfold_rows, zero_block
)
from symgraph.compile.library.microkernel import block_product, channel_block, inside, row_block
from symgraph.compile.library.interleaved_tiles import unit_share

multiply = block_product("{dtype}", {lanes}, {rows}, {vectors})
copy = copy_block("{dtype}", {lanes})
add = add_block("{dtype}", {lanes})
fold = fold_row("{dtype}", {lanes})
unfold = unfold_rows("{dtype}", {lanes})
zero = zero_block("{dtype}", {lanes})
transposed = transpose("{dtype}", {lanes})
"""

FORWARD = """
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    out = address(pointer(arrays, 0, {dtype}))
    images = address(pointer(arrays, 1, {dtype}))
    filters = address(pointer(arrays, 2, {dtype}))
    work = address(pointer(arrays, 3, int8)) + worker * work_bytes
    taps = kh * kw
    maps = o // {groups}
    step = max(1, {depth} // max(1, taps))
    rows = row_block(oh, ow, min(step, c) * taps, n * {groups})
    blocks = (oh + rows - 1) // rows
    for item in range(start, stop):
        plane = item // blocks  # image * groups + group
        group = plane % {groups}
        y0 = (item - plane * blocks) * rows
        y1 = min(oh, y0 + rows)
        pixels = (y1 - y0) * ow
        # An odd number of strips: a power of two as row length would fill few sets of the cache.
        ld = ((pixels + {width} - 1) // {width} | 1) * {width}
        target = out + (plane * maps * oh + y0) * ow * {size}
        at = 0
        while at == 0 or at < c:
            channels = min(step, c - at)
{gather}            depth = channels * taps
            multiply(
                filters + (group * maps * c + at) * taps * {size}, c * taps, 1, work, ld, {width},
                target, oh * ow, maps, pixels, depth, int(at > 0)
            )
            at += step
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
    step = channel_block(c, taps, n * {groups})
    blocks = (c + step - 1) // step
    rows = row_block(oh, ow, step * taps, 8)
    strips = (rows * ow + {width} - 1) // {width}
    ld = (strips | 1) * {width}
    patches = address(pointer(arrays, 3, int8)) + worker * work_bytes
    panel = patches + step * taps * ld * {size}
    for item in range(start, stop):
        plane = item // blocks  # image * groups + group
        group = plane % {groups}
        at = (item - plane * blocks) * step
        channels = min(step, c - at)
        image = images + (plane * c + at) * h * w * {size}
{clear}        for y0 in range(0, oh, rows):
            y1 = min(oh, y0 + rows)
            pixels = (y1 - y0) * ow
            first = 0
            while first == 0 or first < maps:
                depth = min({depth}, maps - first)
                grad = grads + ((plane * maps + first) * oh + y0) * ow * {size}
                for p in range(0, pixels, {width}):
                    copy(
                        panel + p * depth * {size}, {width}, grad + p * {size}, oh * ow,
                        depth, min({width}, pixels - p)
                    )
                multiply(
                    filters + ((group * maps + first) * c + at) * taps * {size}, 1, c * taps,
                    panel, {width}, depth * {width}, {patches},
                    channels * taps, pixels, depth, int(first > 0)
                )
                first += {depth}
{scatter}"""

# The gradient of a filter of one tap needs no place of its own, and that of others starts with 0.
CLEAR = """\
        zero(image, 0, image, 0, 1, channels * h * w)
"""

# Patches of filters of one tap: the image itself, its planes side by side.
POINTS = """\
            source = images + ((plane * c + at) * h + y0) * w * {size}
            for ch in range(channels):
                copy(work + ch * ld * {size}, 0, source + ch * h * w * {size}, 0, 1, pixels)
"""

# Patches for columns one apart: all taps of a filter row at a time.
UNFOLD = """\
            for ch in range(channels):
                for i in range(kh):
                    first = ch * taps + {line_start}
                    place = work + first * ld * {size}
                    ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                    for j in range(kw):
                        line = place + {sign} * j * ld * {size}
                        zero(line, 0, line, 0, 1, (ya - y0) * ow)
                        zero(line + (yb - y0) * ow * {size}, 0, line, 0, 1, (y1 - yb) * ow)
                    source = images + (
                        (plane * c + at + ch) * h + ya * {sh} + i * {dh} - top
                    ) * w * {size}
                    unfold(
                        place + (ya - y0) * ow * {size}, {sign} * ld, ow, source, {sh} * w,
                        yb - ya, kw, w, left, {dw}
                    )
"""

# Any stride of columns: tap by tap, row by row.
GATHER = """\
            for tap in range(channels * taps):
                ch = tap // taps
                i = tap % taps // kw
                j = tap % kw
                place = work + {tap} * ld * {size}
                ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                ta, tb = inside(w, j * {dw} - left, {sw}, 0, ow)
                if yb - ya < y1 - y0 or tb - ta < ow:
                    zero(place, 0, place, 0, 1, pixels)
                source = images + (
                    ((plane * c + at + ch) * h + ya * {sh} + i * {dh} - top) * w
                    + ta * {sw} + j * {dw} - left
                ) * {size}
                place += ((ya - y0) * ow + ta) * {size}
                for y in range(yb - ya):
                    line = source + y * {sh} * w * {size}
                    copy(place + y * ow * {size}, 1, line, {sw}, tb - ta, 1)
"""

FOLD = """\
            sky, ground = y0 * {sh} - top, (y1 - 1) * {sh} + (kh - 1) * {dh} - top + 1
            for ch in range(channels):
                for line in range(max(0, sky), min(h, ground)):
                    row = image + (ch * h + line) * w * {size}
                    # Filter rows i that bring an output row of this panel here.
                    low = max(0, (line + top - (y1 - 1) * {sh} + {dh} - 1) // {dh})
                    high = min(kh, (line + top - y0 * {sh}) // {dh} + 1)
                    lines = high - low
                    if {sh} > 1:
                        lines = 1
                    for i in range(low, high, max(1, lines)):
                        y = line + top - i * {dh}
                        if y % {sh} == 0:
                            first = ch * taps + {line_start}
                            fold(
                                row, w, patches + (first * ld + (y // {sh} - y0) * ow) * {size},
                                lines, {sign} * kw * ld - {dh} * ow, kw, {sign} * ld, ow,
                                left, {dw}
                            )
"""

SCATTER = """\
            for tap in range(channels * taps):
                ch = tap // taps
                i = {row_tap}
                j = {column_tap}
                ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                ta, tb = inside(w, j * {dw} - left, {sw}, 0, ow)
                source = patches + (tap * ld + (ya - y0) * ow + ta) * {size}
                target = image + (
                    (ch * h + ya * {sh} + i * {dh} - top) * w + ta * {sw} + j * {dw} - left
                ) * {size}
                for y in range(yb - ya):
                    line = target + y * {sh} * w * {size}
                    add(line, {sw}, source + y * ow * {size}, 1, tb - ta, 1)
"""

GRAD_WEIGHTS = """
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    sums = address(pointer(arrays, 0, {dtype}))
    images = address(pointer(arrays, 1, {dtype}))
    grads = address(pointer(arrays, 2, {dtype}))
    taps = kh * kw
    maps = o // {groups}
    step = channel_block(c, taps, 8)
    blocks = (c + step - 1) // step
    rows = row_block(oh, ow, step * taps, n * {groups} * blocks)
    row_blocks = (oh + rows - 1) // rows
    units = n * row_blocks
    share = unit_share(n, row_blocks, parts)
    # The image lies here channels last and padded, so that a row of filter taps is contiguous.
    width = max(0, (ow - 1) * {sw} + (kw - 1) * {dw} + 1)
    height = (rows - 1) * {sh} + (kh - 1) * {dh} + 1
    image = address(pointer(arrays, 3, int8)) + worker * work_bytes
    patches = image + (height * width * step + {lanes}) * {size}
    for item in range(start, stop):
        part = item // ({groups} * blocks)
        group = item // blocks % {groups}
        at = item % blocks * step
        channels = min(step, c - at)
        across = channels * taps
        ld = ((across + {width} - 1) // {width} | 1) * {width}
        target = sums + ((part * o + group * maps) * c + at) * taps * {size}
        more = 0
        for unit in range(part * share, min(units, (part + 1) * share)):
            plane = unit // row_blocks * {groups} + group
            y0 = unit % row_blocks * rows
            y1 = min(oh, y0 + rows)
            # Lines and columns of the image that these output rows see; the others are zero.
            sky = y0 * {sh} - top
            la, lb = inside(h, sky, 1, 0, (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1)
            qa, qb = inside(w, -left, 1, 0, width)
            if qb - qa < width or lb - la < (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1:
                zero(image, 0, image, 0, 1, height * width * channels)
            source = images + (((plane * c + at) * h + la + sky) * w + qa - left) * {size}
            goal = image + (la * width + qa) * channels * {size}
            if channels == 1:
                copy(goal, width, source, w, lb - la, qb - qa)
            elif qb - qa == width and w == width:
                transposed(goal, channels, source, h * w, channels, (lb - la) * w)
            else:
                for y in range(lb - la):
                    transposed(
                        goal + y * width * channels * {size}, channels,
                        source + y * w * {size}, h * w, channels, qb - qa
                    )
            for y in range(y1 - y0):
                place = patches + y * ow * ld * {size}
                for i in range(kh):
                    line = image + (y * {sh} + i * {dh}) * width * channels * {size}
                    if {dw} == 1:
                        copy(
                            place + i * kw * channels * {size}, ld, line, {sw} * channels,
                            ow, kw * channels
                        )
                    else:
                        for j in range(kw):
                            copy(
                                place + (i * kw + j) * channels * {size}, ld,
                                line + j * {dw} * channels * {size}, {sw} * channels, ow, channels
                            )
            multiply(
                grads + (plane * maps * oh + y0) * ow * {size}, oh * ow, 1, patches, ld, {width},
                target, c * taps, maps, across, (y1 - y0) * ow, more
            )
            more = 1
        if more == 0:
            zero(target, c * taps, target, c * taps, maps, across)
"""

SUM_WEIGHTS = """\
# The parts of the gradient by filters, added in order and put into their places, {dtype}.
from symgraph.compile.library.blocks import add_block, copy_block, transpose
from symgraph.compile.library.microkernel import channel_block

copy = copy_block("{dtype}", {lanes})
add = add_block("{dtype}", {lanes})
transposed = transpose("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    out = address(pointer(arrays, 0, {dtype}))
    work = address(pointer(arrays, {work}, int8)) + worker * work_bytes
    taps = kh * kw
    step = channel_block(c, taps, 8)
    row = c * taps
    for item in range(start, stop):
        goal = out + item * row * {size}
{body}"""

SUM_RUNS = """\
        if runs > 0:
            part = address(pointer(arrays, {operand}, {dtype})) + item * row * {size}
            copy(goal, 0, part, 0, 1, row)
            for k in range(1, runs):
                add(goal, 0, part + k * o * row * {size}, 0, 1, row)
"""

# Panels have all channels of a tap side by side.
SUM_PANELS = """\
        if panels > 0:
            part = address(pointer(arrays, {operand}, {dtype})) + item * row * {size}
            total = part
            if panels > 1:
                total = work
                copy(work, 0, part, 0, 1, row)
                for k in range(1, panels):
                    add(work, 0, part + k * o * row * {size}, 0, 1, row)
            for at in range(0, c, step):
                channels = min(step, c - at)
                tap = 0
                first = (at * taps + {place} * channels) * {size}
                transposed(
                    goal + at * taps * {size}, taps, total + first, {sign} * channels,
                    taps, channels
                )
"""
