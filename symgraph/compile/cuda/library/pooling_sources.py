"""The kernels of pooling.py as they are printed; names in braces are filled in there.

A thread finds its place in a plane once and works there in several planes, one after the other.
"""

_PLANES = """\
    for k in range({together}):
        plane = n // {each} * {together} + k
        if plane < sizes[0]:
"""

# A window of `image`: element (i, j) of it is window[i * w + j].
_WINDOW = """\
    y0, t0 = n % {ohw} // {ow} * {sh} - {ph}, n % {ow} * {sw} - {pw}
"""

FORWARD = (
    """\
# {mode} pooling, {dtype}: {text}.


def kernel(arrays, sizes):  # {threads} threads
    out, image = pointer_out(arrays, 0, {dtype}), pointer_in(arrays, 1, {dtype})
    n, h, w = {index}(block() * {threads} + thread()), {h}, {w}
"""
    + _WINDOW
    + _PLANES
    + """\
            window = image + plane * {hw} + y0 * {w} + t0
            total = {neutral}
            for i in range({wh}):
                for j in range({ww}):
                    {if_inside}total = {with_tap}
            out[plane * {ohw} + n % {ohw}] = {pooled}
"""
)

WARPS = (
    """\
# {mode} pooling, {dtype}, a warp a window: {text}.


def kernel(arrays, sizes):  # {threads} threads
    out, image = pointer_out(arrays, 0, {dtype}), pointer_in(arrays, 1, {dtype})
    lane = thread() % 32
    n, h, w = {index}((block() * {threads} + thread()) // 32), {h}, {w}
"""
    + _WINDOW
    + """\
    if n < sizes[0] * {ohw}:
        window = image + n // {ohw} * {hw} + y0 * {w} + t0
        total = {neutral}
        for tap in range(lane, {taps}, 32):
            i, j = tap // {ww}, tap % {ww}
            {if_inside}total = {with_tap}
        other = shuffle_xor(total, 16)
        total = {with_other}
        other = shuffle_xor(total, 8)
        total = {with_other}
        other = shuffle_xor(total, 4)
        total = {with_other}
        other = shuffle_xor(total, 2)
        total = {with_other}
        other = shuffle_xor(total, 1)
        total = {with_other}
        if lane == 0:
            out[n] = {pooled}
"""
)

GRADIENT = (
    """\
# Gradient of {mode} pooling, {dtype}: {text}.


def kernel(arrays, sizes):  # {threads} threads
    dx = pointer_out(arrays, 0, {dtype})
{operands}
    n, h, w = {index}(block() * {threads} + thread()), {h}, {w}
    y, t = n % {hw} // {w}, n % {w}
"""
    + _PLANES
    + """\
            here = plane * {hw} + n % {hw}
            total = {dtype}(0)
            for i in range({far_row}):
                for j in range({far_column}):
                    p, q = (y + {ph}) // {sh} - i, (t + {pw}) // {sw} - j
                    if {reached}:
                        at = plane * {ohw} + p * {ow} + q
{taken}
            dx[here] = {gathered}
"""
)

DOUT = """\
    dout = pointer_in(arrays, 1, {dtype})"""
OPERANDS = """\
    x, best = pointer_in(arrays, 1, {dtype}), pointer_in(arrays, 2, {dtype})
    dout = pointer_in(arrays, 3, {dtype})"""

TAKEN = {
    "sum": """\
                        total += dout[at]""",
    "share": """\
                        y0, t0 = p * {sh} - {ph}, q * {sw} - {pw}
                        total += dout[at] / {dtype}(({tall}) * ({broad}))""",
    "all": """\
                        if best[at] == x[here]:
                            total += dout[at]""",
    "first": """\
                        first = best[at] == x[here]
                        for yy in range(max(p * {sh} - {ph}, 0), y + 1):
                            if first:
                                end = select(yy < y, min(q * {sw} - {pw} + {ww}, {w}), t)
                                for tt in range(max(q * {sw} - {pw}, 0), end):
                                    if x[plane * {hw} + yy * {w} + tt] == x[here]:
                                        first = False
                                        break
                        if first:
                            total += dout[at]""",
}
"""What an element gets of the window (p, q), number `at`, that holds it."""

MARKS = (
    """\
# Max pooling that marks where the maxima are, {dtype}: {text}.


def kernel(arrays, sizes):  # {threads} threads
    out, marks = pointer_out(arrays, 0, {dtype}), pointer_out(arrays, 1, uint8)
    image = pointer_in(arrays, 2, {dtype})
    n = {index}(block() * {threads} + thread())
"""
    + _WINDOW
    + _PLANES
    + """\
            window = image + plane * {hw} + y0 * {w} + t0
            total = window[0]
            for i in range({wh}):
                for j in range({ww}):
                    total = {with_tap}
            mark = 0
            for i in range({wh}):
                for j in range({ww}):
                    mark |= select(window[i * {w} + j] == total, 1 << (i * {ww} + j), 0)
            out[plane * {ohw} + n % {ohw}] = total
            marks[plane * {ohw} + n % {ohw}] = {mark}
"""
)

MARKS_GRADIENT = (
    """\
# Gradient of max pooling by its marks, {dtype}: {text}.


def kernel(arrays, sizes):  # {threads} threads
    dx, marks = pointer_out(arrays, 0, {dtype}), pointer_in(arrays, 1, uint8)
    dout = pointer_in(arrays, 2, {dtype})
    n = {index}(block() * {threads} + thread())
    y, t = n % {hw} // {w}, n % {w}
    bit = y % {wh} * {ww} + t % {ww}
"""
    + _PLANES
    + """\
            total = {dtype}(0)
            if y < {oh} * {wh} and t < {ow} * {ww}:
                at = plane * {ohw} + y // {wh} * {ow} + t // {ww}
                total = select((marks[at] >> bit) & 1 != 0, dout[at], {dtype}(0))
            dx[plane * {hw} + n % {hw}] = total
"""
)

SECOND = (
    """\
# Sum over each window of v where x is the window's maximum, {dtype}: {text}.


def kernel(arrays, sizes):  # {threads} threads
    out, image = pointer_out(arrays, 0, {dtype}), pointer_in(arrays, 1, {dtype})
    best, v = pointer_in(arrays, 2, {dtype}), pointer_in(arrays, 3, {dtype})
    n = {index}(block() * {threads} + thread())
"""
    + _WINDOW
    + _PLANES
    + """\
            at = plane * {hw} + y0 * {w} + t0
            here = plane * {ohw} + n % {ohw}
            total = {dtype}(0)
            for i in {rows}:
                for j in {columns}:
                    if {inside}image[at + i * {w} + j] == best[here]:
                        total {takes} v[at + i * {w} + j]
            out[here] = total
"""
)
