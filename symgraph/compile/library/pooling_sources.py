"""The kernels of pooling.py as they are printed; names in braces are filled in there."""

FORWARD = """\
# {mode} pooling, {dtype}: {text}.
from symgraph.compile.library.blocks import copy_block, window_block

down = window_block("{dtype}", {lanes}, "{kind}", {wh}, 1)
along = window_block("{dtype}", {lanes}, "{kind}", {ww}, {sw})
copy = copy_block("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    out, image = pointer(arrays, 0, {dtype}), address(pointer(arrays, 1, {dtype}))
    work = pointer(arrays, 2, int8) + worker * work_bytes
    # The part of the padded image that windows cover.
    lines = (oh - 1) * {sh} + {wh}
    width = (ow - 1) * {sw} + {ww}
    framed = {ph} > 0 or {pw} > 0 or lines > h or width > w
    row = w
    step = 1
    if framed:
        row = width
    elif h == oh * {sh} and w == ow * {sw}:
        step = max(1, 8192 // (oh * w))  # windows of several planes follow one another
    frame = pointer_at(address(work), {dtype})
    halves = address(work)
    if framed:
        halves += lines * width * {size}
        for i in range(lines * width):  # images cover the same part of the frame each time
            frame[i] = {neutral}
    for plane in range(start, stop, step):
        planes = min(step, stop - plane)
        source = image + plane * h * w * {size}
        if framed:
            goal = address(frame) + ({ph} * width + {pw}) * {size}
            copy(goal, width, source, w, min(h, lines - {ph}), min(w, width - {pw}))
            source = address(frame)
        down(halves, row, source, {sh} * row, row, planes * oh, row)
        target = out + plane * oh * ow
        if row == ow * {sw}:
            along(address(target), 0, halves, 0, 1, 1, planes * oh * ow)
        else:
            along(address(target), ow, halves, row, 1, oh, ow)
{divide}"""

DIVIDE = """\
        if {whole} and lines <= h + 2 * {ph} and width <= w + 2 * {pw}:
            for i in range(planes * oh * ow):
                target[i] = target[i] * {dtype}({share})
        else:
            for y in range(planes * oh):
                y0 = y % oh * {sh} - {ph}
                tall = {tall}
                for t in range(ow):
                    t0 = t * {sw} - {pw}
                    target[y * ow + t] = target[y * ow + t] / {dtype}(tall * ({broad}))
"""

GRADIENT = """\
# Gradient of {mode} pooling, {dtype}: {text}.
from symgraph.compile.library.blocks import copy_block, spread_block, window_block, zero_block
from symgraph.compile.library.phases import interleave_block

spread = spread_block("{dtype}", {lanes}, "{kind}", {wh}, {ww}, {divisor})
zero = zero_block("{dtype}", {lanes})
copy = copy_block("{dtype}", {lanes})
apart = window_block("{dtype}", {lanes}, "sum", 1, {sw})
together = interleave_block("{dtype}", {lanes}, {sw})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
{operands}
    if {tiling} and oh * {wh} <= h and {tiled_columns}:
        columns = min(w, ow * {ww})
        if oh * {wh} < h or columns < w:
            place = address(dx + start * h * w)
            zero(place, 0, place, 0, 1, (stop - start) * h * w)
        step = 1
        if oh * {wh} == h:
            step = stop - start  # window rows of all planes follow one another
        for plane in range(start, stop, step):
            image, windows = plane * h * w, plane * oh * ow
            spread(
                address(dx + image), address(x + image), w, address(out + windows),
                address(dout + windows), ow, step * oh, columns
            )
        return
    # Padded line y and column t are at (y // {sh}, t // {sw}) of phase (y % {sh}, t % {sw}):
    # there, what a tap of all windows sees is contiguous, and as far apart as the windows' values.
    broad = max(ow + {far_column}, (w + {pw} + {sw} - 1) // {sw})
    phase = max(oh + {far_row}, (h + {ph} + {sh} - 1) // {sh}) * broad
    margin = {far_row} * broad + {far_column}
    room = (margin + phase) * {size}
    g_place = address(work) + worker * work_bytes
    best_place = g_place + room
    parts = g_place + 2 * room
    phase_size = phase * {size}
    g, from_g = pointer_out_at(g_place, {dtype}), pointer_in_at(g_place, {dtype})
    best, from_best = pointer_out_at(best_place, {dtype}), pointer_in_at(best_place, {dtype})
    for n in range(margin + phase):
        g[n] = {dtype}(0)
        best[n] = {dtype}(1e999 - 1e999)
{shares}
    for plane in range(start, stop):
        dout_place = address(dout) + plane * oh * ow * {size}
        copy(g_place + margin * {size}, broad, dout_place, ow, oh, ow)
{prepare}
{phases}
"""

SHARES = """\
    share = pointer_out_at(best_place, {dtype})
    for n in range(phase):
        share[n] = {dtype}(1)
    for y in range(oh):
        y0 = y * {sh} - {ph}
        tall = {tall}
        for t in range(ow):
            t0 = t * {sw} - {pw}
            share[y * broad + t] = {dtype}(1) / {dtype}(tall * ({broad}))"""

TIMES_SHARES = """\
        for n in range(phase):
            g[margin + n] = g[margin + n] * share[n]"""

COPY_BEST = """\
        out_place = address(out) + plane * oh * ow * {size}
        copy(best_place + margin * {size}, broad, out_place, ow, oh, ow)"""

FIRST = """\
# Gradient of max pooling by the first maximum, {dtype}: {text}.
from symgraph.compile.library.blocks import copy_block, first_block, spread_block, zero_block

first = first_block("{dtype}", {lanes}, {wh}, {ww}, {sw})
spread = spread_block("{dtype}", {lanes}, "first", {wh}, {ww})
zero = zero_block("{dtype}", {lanes})
copy = copy_block("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    dx, x = pointer(arrays, 0, {dtype}), pointer(arrays, 1, {dtype})
    out, dout = pointer(arrays, 2, {dtype}), pointer(arrays, 3, {dtype})
    found = address(pointer(arrays, 4, int8)) + worker * work_bytes
    # The part of the padded image that windows cover; NaN, which equals nothing, is around it.
    lines = (oh - 1) * {sh} + {wh}
    width = (ow - 1) * {sw} + {ww}
    framed = {ph} > 0 or {pw} > 0 or lines > h or width > w
    tiled = {tiling} and not framed
    if not tiled or lines < h or width < w:
        place = address(dx + start * h * w)
        zero(place, 0, place, 0, 1, (stop - start) * h * w)
    if oh * ow == 0:
        return
    step = 1
    if tiled and lines == h:
        step = max(1, {together} // (oh * ow))  # window rows of several planes follow one another
    numbers = pointer_at(found, {index})
    frame = pointer_at(found + max({together}, oh * ow) * {size}, {dtype})
    if framed:
        for i in range(lines * width):
            frame[i] = {dtype}(1e999 - 1e999)
    for plane in range(start, stop, step):
        planes = min(step, stop - plane)
        image, windows = plane * h * w, plane * oh * ow
        source, row = address(x + image), w
        if framed:
            goal = address(frame) + ({ph} * width + {pw}) * {size}
            copy(goal, width, source, w, min(h, lines - {ph}), min(w, width - {pw}))
            source, row = address(frame), width
        first(found, source, row, {sh} * row, address(out + windows), planes * oh, ow)
        if tiled:
            place = address(dx + image)
            spread(
                place, place, w, found, address(dout + windows), ow, planes * oh, ow * {ww}
            )
            continue
        for y in range(oh):
            y0 = y * {sh} - {ph}
            for t in range(ow):
                t0 = t * {sw} - {pw}
                number = int64(numbers[y * ow + t])
                if number >= 0:
                    place = image + (y0 + number // {ww}) * w + t0 + number % {ww}
                    dx[place] += dout[windows + y * ow + t]
"""

MARKS = """\
# Max pooling that marks where the maxima are, {dtype}: {text}.
from symgraph.compile.library.blocks import mark_block

mark = mark_block("{dtype}", {lanes}, {wh}, {ww}{which})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    out, marks = address(pointer(arrays, 0, {dtype})), address(pointer(arrays, 1, uint8))
    image = address(pointer(arrays, 2, {dtype}))
    step = 1
    if oh * {wh} == h:
        step = stop - start  # window rows of all planes follow one another
    for plane in range(start, stop, step):
        at = plane * oh * ow
        source = image + plane * h * w * {size}
        mark(out + at * {size}, marks + at, source, w, step * oh, ow)
"""

MARKS_GRADIENT = """\
# Gradient of max pooling by its marks, {dtype}: {text}.
from symgraph.compile.library.blocks import spread_block, zero_block

spread = spread_block("{dtype}", {lanes}, "marks", {wh}, {ww})
zero = zero_block("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    dx, marks = address(pointer(arrays, 0, {dtype})), address(pointer(arrays, 1, uint8))
    grads = address(pointer(arrays, 2, {dtype}))
    if oh * {wh} < h or ow * {ww} < w:
        place = dx + start * h * w * {size}
        zero(place, 0, place, 0, 1, (stop - start) * h * w)
    step = 1
    if oh * {wh} == h:
        step = stop - start  # window rows of all planes follow one another
    for plane in range(start, stop, step):
        image, at = dx + plane * h * w * {size}, plane * oh * ow
        spread(image, image, w, marks + at, grads + at * {size}, ow, step * oh, ow * {ww})
"""

SECOND = """\
# Sum over each window of v where x is the window's maximum, {dtype}: {text}.


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    out = pointer(arrays, 0, {dtype})
    x, best = pointer(arrays, 1, {dtype}), pointer(arrays, 2, {dtype})
    v = pointer(arrays, 3, {dtype})
    for plane in range(start, stop):
        for y in range(oh):
            y0 = y * {sh} - {ph}
            for t in range(ow):
                t0 = t * {sw} - {pw}
                at = (plane * oh + y) * ow + t
                total = {dtype}(0)
                for yy in range({rows}):
                    for tt in range({columns}):
                        place = (plane * h + yy) * w + tt
                        if x[place] == best[at]:
                            total {takes} v[place]
                out[at] = total
"""
