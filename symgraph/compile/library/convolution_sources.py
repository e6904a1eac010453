"""The kernels of convolution.py as they are printed; names in braces are filled in there."""

IMPORTS = """\
from symgraph.compile.library.blocks import add_block, copy_block, transpose, zero_block
from symgraph.compile.library.microkernel import block_product, channel_block, inside, pixel_block
from symgraph.compile.library.interleaved_tiles import unit_share
from symgraph.compile.library.patches import fold_rows, unfold_block

multiply = block_product("{dtype}", {lanes}, {rows}, {vectors})
copy = copy_block("{dtype}", {lanes})
add = add_block("{dtype}", {lanes})
fold = fold_rows("{dtype}", {lanes})
unfold = unfold_block("{dtype}", {lanes}, {vectors})
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
    rows, columns = pixel_block(oh, ow, min(step, c) * taps, n * {groups})
    beside = (ow + columns - 1) // columns
    blocks = (oh + rows - 1) // rows * beside
{panel}
    for item in range(start, stop):
        plane = item // blocks  # image * groups + group
        group = plane % {groups}
        block = item - plane * blocks
        y0 = block // beside * rows
        y1 = min(oh, y0 + rows)
        x0 = block % beside * columns
        span = min(columns, ow - x0)
        pixels = (y1 - y0) * span
        # An odd number of strips: a power of two as row length would fill few sets of the cache.
        ld = ((pixels + {width} - 1) // {width} | 1) * {width}
        target = out + ((plane * maps * oh + y0) * ow + x0) * {size}
        at = 0
        while at == 0 or at < c:
            channels = min(step, c - at)
{gather}            depth = channels * taps
            multiply(
                filters + (group * maps * c + at) * taps * {size}, c * taps, 1, panel, {laid},
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
    rows, columns = pixel_block(oh, ow, min({depth}, maps) + step * taps, 8)
    beside = (ow + columns - 1) // columns
    strips = (rows * columns + {width} - 1) // {width}
    ld = (strips | 1) * {width}
    patches = address(pointer(arrays, 3, int8)) + worker * work_bytes
    panel = patches + step * taps * ld * {size}
    for item in range(start, stop):
        plane = item // blocks  # image * groups + group
        group = plane % {groups}
        at = (item - plane * blocks) * step
        channels = min(step, c - at)
        image = images + (plane * c + at) * h * w * {size}
{clear}        for block in range((oh + rows - 1) // rows * beside):
            y0 = block // beside * rows
            y1 = min(oh, y0 + rows)
            x0 = block % beside * columns
            span = min(columns, ow - x0)
            pixels = (y1 - y0) * span
            first = 0
            while first == 0 or first < maps:
                depth = min({depth}, maps - first)
                grad = grads + (((plane * maps + first) * oh + y0) * ow + x0) * {size}
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
            source = images + (((plane * c + at) * h + y0) * w + x0) * {size}
            for ch in range(channels):
                copy(panel + ch * ld * {size}, 0, source + ch * h * w * {size}, 0, 1, pixels)
"""

# Patches for columns one apart; the image has borders, if there are any.
UNFOLD = """\
{border}            unfold(
                panel + {first_tap} * {width} * {size}, channels * taps * {width},
                source, pixels, span, {sh} * width,
                channels, taps * {width}, area, kh, {sign} * kw * {width}, {dh} * width,
                kw, {sign} * {width}, {dw}
            )
"""

PANEL = """\
    # First in the workspace comes the image with its border.
    width = (columns - 1) * {sw} + (kw - 1) * {dw} + 1
    seen = (rows - 1) * {sh} + (kh - 1) * {dh} + 1
    panel = work + (min(step, c) * seen * width + {lanes} - 1) // {lanes} * {lanes} * {size}"""

NO_BORDER = """\
            width = w
            area = h * w
            source = images + (((plane * c + at) * h + y0 * {sh}) * w + x0) * {size}
"""

# The image below these output pixels, with zeros around it.
BORDER = """\
            seen = (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1
            area = seen * width
            sky = y0 * {sh} - top
            la, lb = inside(h, sky, 1, 0, seen)
            qa, qb = inside(w, x0 - left, 1, 0, width)
            zero(work, 0, work, 0, 1, channels * area)
            source = work
            for ch in range(channels):
                copy(
                    work + (ch * area + la * width + qa) * {size}, width,
                    images + (((plane * c + at + ch) * h + la + sky) * w + x0 + qa - left) * {size},
                    w, lb - la, qb - qa
                )
"""

# Any stride of columns: tap by tap, row by row.
GATHER = """\
            for tap in range(channels * taps):
                ch = tap // taps
                i = tap % taps // kw
                j = tap % kw
                place = panel + {tap} * ld * {size}
                ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                ta, tb = inside(w, j * {dw} - left, {sw}, x0, x0 + span)
                if yb - ya < y1 - y0 or tb - ta < span:
                    zero(place, 0, place, 0, 1, pixels)
                source = images + (
                    ((plane * c + at + ch) * h + ya * {sh} + i * {dh} - top) * w
                    + ta * {sw} + j * {dw} - left
                ) * {size}
                place += ((ya - y0) * span + ta - x0) * {size}
                for y in range(yb - ya):
                    line = source + y * {sh} * w * {size}
                    copy(place + y * span * {size}, 1, line, {sw}, tb - ta, 1)
"""

# Taps that reach much farther than the block is wide are folded in turns.
FOLD = """\
            sky, ground = y0 * {sh} - top, (y1 - 1) * {sh} + (kh - 1) * {dh} - top + 1
            turn = max(1, max(columns, 64) // {dw})
            for j in range(0, kw, turn):
                near = min(turn, kw - j)
                from_x = x0 + j * {dw} - left
                qa, qb = inside(w, from_x, 1, 0, span + (near - 1) * {dw})
                for line in range(max(0, sky), min(h, ground)):
                    # Filter rows i that bring an output row of this panel here.
                    low = max(0, (line + top - (y1 - 1) * {sh} + {dh} - 1) // {dh})
                    high = min(kh, (line + top - y0 * {sh}) // {dh} + 1)
                    lines = high - low
                    if {sh} > 1:
                        lines = 1
                    for i in range(low, high, max(1, lines)):
                        y = line + top - i * {dh}
                        if y % {sh} == 0:
                            first = ({line_start} + {sign} * j) * ld + (y // {sh} - y0) * span
                            fold(
                                image + (line * w + from_x + qa) * {size}, h * w, channels, qb - qa,
                                patches + first * {size}, taps * ld, lines,
                                {sign} * kw * ld - {dh} * span, near, {sign} * ld, span, qa, {dw}
                            )
"""

SCATTER = """\
            for tap in range(channels * taps):
                ch = tap // taps
                i = {row_tap}
                j = {column_tap}
                ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                ta, tb = inside(w, j * {dw} - left, {sw}, x0, x0 + span)
                source = patches + (tap * ld + (ya - y0) * span + ta - x0) * {size}
                target = image + (
                    (ch * h + ya * {sh} + i * {dh} - top) * w + ta * {sw} + j * {dw} - left
                ) * {size}
                for y in range(yb - ya):
                    line = target + y * {sh} * w * {size}
                    add(line, {sw}, source + y * span * {size}, 1, tb - ta, 1)
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
    rows, columns = pixel_block(oh, ow, step * taps, n * {groups} * blocks)
    beside = (ow + columns - 1) // columns
    pixel_blocks = (oh + rows - 1) // rows * beside
    units = n * pixel_blocks
    share = unit_share(n, pixel_blocks, parts)
    # The image lies here channels last and padded, so that a row of filter taps is contiguous.
    width = max(0, (columns - 1) * {sw} + (kw - 1) * {dw} + 1)
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
            plane = unit // pixel_blocks * {groups} + group
            block = unit % pixel_blocks
            y0 = block // beside * rows
            y1 = min(oh, y0 + rows)
            x0 = block % beside * columns
            span = min(columns, ow - x0)
            # Lines and columns of the image that these output pixels see; the others are zero.
            sky = y0 * {sh} - top
            la, lb = inside(h, sky, 1, 0, (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1)
            from_x = x0 * {sw} - left
            qa, qb = inside(w, from_x, 1, 0, width)
            if qb - qa < width or lb - la < (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1:
                zero(image, 0, image, 0, 1, height * width * channels)
            source = images + (((plane * c + at) * h + la + sky) * w + from_x + qa) * {size}
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
            # Rows of taps are pieces, with all their channels; dilated, the taps of one row are.
            strip = {strip}
            for i in range(0, kh, {together}):
                unfold(
                    patches + i * kw * channels * {size}, strip,
                    image + i * {dh} * width * channels * {size},
                    {together} * kw * channels, {piece} * channels, {apart} * channels,
                    y1 - y0, span * {pitch}, {sh} * width * channels,
                    span, {pitch}, {sw} * channels,
                    1, 0, 0
                )
            multiply(
                grads + ((plane * maps * oh + y0) * ow + x0) * {size}, oh * ow, 1,
                patches, {pitch}, strip,
                target, c * taps, maps, across, (y1 - y0) * span, more
            )
            more = 1
        if more == 0:
            zero(target, c * taps, target, c * taps, maps, across)
"""

SUM_WEIGHTS = """\
# The parts of the gradient by filters, added in order and put into their places, {dtype}.
from symgraph.compile.library.blocks import copy_block, transpose
from symgraph.compile.library.microkernel import channel_block
from symgraph.compile.library.patches import fold_rows

copy = copy_block("{dtype}", {lanes})
fold = fold_rows("{dtype}", {lanes})
transposed = transpose("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    out = address(pointer(arrays, 0, {dtype}))
    work = address(pointer(arrays, {work}, int8)) + worker * work_bytes
    taps = kh * kw
    step = channel_block(c, taps, 8)
    row = c * taps
    all = o * row * {size}
    for item in range(start, stop):
        goal = out + item * row * {size}
{body}"""

SUM_RUNS = """\
        if runs > 0:
            part = address(pointer(arrays, {operand}, {dtype})) + item * row * {size}
            copy(goal, 0, part, 0, 1, row)
            fold(goal, 0, 1, row, part + all, 0, runs - 1, o * row, 1, 0, row, 0, 0)
"""

# Panels have all channels of a tap side by side.
SUM_PANELS = """\
        if panels > 0:
            part = address(pointer(arrays, {operand}, {dtype})) + item * row * {size}
            total = part
            if panels > 1:
                total = work
                copy(work, 0, part, 0, 1, row)
                fold(work, 0, 1, row, part + all, 0, panels - 1, o * row, 1, 0, row, 0, 0)
            for at in range(0, c, step):
                channels = min(step, c - at)
                tap = 0
                first = (at * taps + {place} * channels) * {size}
                transposed(
                    goal + at * taps * {size}, taps, total + first, {sign} * channels,
                    taps, channels
                )
"""
