"""Pooling of the last two dimensions, and its gradients, over (planes, height, width) arrays.

Forward is separable: windows are reduced down the columns into the workspace, then along the rows.
An image that windows leave (padding, partial windows) is first copied into a border of the neutral
element. Windows that tile the image have a vector path for the gradient as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from .stage import Lowering, Shapes, Size, Stage, ceil_div, read_sizes
from .tiles import FLOATS, host_lanes

MODES = ("max", "sum", "average_inc_pad", "average_exc_pad")
CHUNK = 65536  # elements of the images in a chunk

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
    for plane in range(start, stop, step):
        planes = min(step, stop - plane)
        source = image + plane * h * w * {size}
        if framed:
            for i in range(lines * width):
                frame[i] = {neutral}
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
        for y in range(planes * oh):
            y0 = y % oh * {sh} - {ph}
            tall = {tall}
            for t in range(ow):
                t0 = t * {sw} - {pw}
                target[y * ow + t] = target[y * ow + t] / {dtype}(tall * ({broad}))
"""

GRADIENT = """\
# Gradient of {mode} pooling, {dtype}: {text}.
from symgraph.compile.library.blocks import spread_block, zero_block

spread = spread_block("{dtype}", {lanes}, "{kind}", {wh}, {ww}, {divisor})
zero = zero_block("{dtype}", {lanes})


def kernel(arrays, sizes, start, stop, worker):
{sizes}
{operands}
    tiled = {tiling} and oh * {wh} <= h and {tiled_columns}
    columns = min(w, ow * {ww})
    if not tiled or oh * {wh} < h or columns < w:
        place = address(dx + start * h * w)
        zero(place, 0, place, 0, 1, (stop - start) * h * w)
    step = 1
    if oh * {wh} == h:
        step = stop - start  # window rows of all planes follow one another
    if tiled:
        for plane in range(start, stop, step):
            image, windows = plane * h * w, plane * oh * ow
            spread(
                address(dx + image), address(x + image), w, address(out + windows),
                address(dout + windows), ow, step * oh, columns
            )
        return
    for plane in range(start, stop):
        for y in range(oh):
            y0 = y * {sh} - {ph}
            for t in range(ow):
                t0 = t * {sw} - {pw}
                at = (plane * oh + y) * ow + t
                value = {value}
                for yy in range(max(y0, 0), min(y0 + {wh}, h)):
                    for tt in range(max(t0, 0), min(t0 + {ww}, w)):
                        place = (plane * h + yy) * w + tt
{accumulate}
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
                for yy in range(max(y0, 0), min(y0 + {wh}, h)):
                    for tt in range(max(t0, 0), min(t0 + {ww}, w)):
                        place = (plane * h + yy) * w + tt
                        if x[place] == best[at]:
                            total += v[place]
                out[at] = total
"""


@dataclass(frozen=True)
class Windows:
    """What is declared of a pooling: window, stride, padding, each (rows, columns), and mode."""

    ws: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    mode: str

    @classmethod
    def read(cls, params: Mapping[str, object]) -> "Windows":
        """From the parameters of an operation; ValueError where they make no sense."""

        def pair(name: str, default: object) -> tuple[int, int]:
            value = params.get(name, default)
            if not isinstance(value, tuple) or len(value) != 2:
                raise ValueError(f"{name} must be a pair of ints, got {value!r}")
            return int(value[0]), int(value[1])

        ws = pair("ws", None)
        windows = cls(ws, pair("stride", ws), pair("pad", (0, 0)), str(params.get("mode", "max")))
        if windows.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {windows.mode!r}")
        if min(*windows.ws, *windows.stride) < 1 or min(windows.pad) < 0:
            raise ValueError(f"windows and strides must be positive, pads not negative: {windows}")
        return windows

    def literals(self, dtype: str) -> dict[str, object]:
        """What the sources print."""
        kind = "max" if self.mode == "max" else "sum"
        neutral = "-1e999" if dtype in FLOATS else str(np.iinfo(dtype).min)
        (wh, ww), (sh, sw), (ph, pw) = self.ws, self.stride, self.pad
        if self.mode == "average_exc_pad":
            tall, broad = f"min(y0 + {wh}, h) - max(y0, 0)", f"min(t0 + {ww}, w) - max(t0, 0)"
        else:
            tall, broad = f"min(y0 + {wh}, h + {ph}) - y0", f"min(t0 + {ww}, w + {pw}) - t0"
        return {
            "wh": wh, "ww": ww, "sh": sh, "sw": sw, "ph": ph, "pw": pw, "tall": tall,
            "broad": broad, "mode": self.mode, "kind": kind,
            "dtype": dtype, "lanes": host_lanes(dtype), "size": np.dtype(dtype).itemsize,
            "neutral": f"{dtype}({neutral if kind == 'max' else 0})",
            "text": f"windows {self.ws}, stride {self.stride}, pad {self.pad}",
        }  # fmt: skip


def _chunk(image: str) -> Size:
    """So many planes that a chunk has CHUNK elements of the operand `image`."""
    return lambda shapes: max(1, ceil_div(CHUNK, prod(shapes[image][1:]) + 1))


def pool(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (L, OH, OW) = in0 (L, H, W) reduced over windows.

    params: ws, stride (default ws), pad (default (0, 0)), pairs of ints, and mode ("max", "sum",
    "average_inc_pad", "average_exc_pad"). Windows are clipped to the image; OH and OW are taken
    from out0. max is NaN where a window has NaN. average_exc_pad divides by the elements of the
    image in the window, average_inc_pad by those of the padded image. Semantics of
    theano.tensor.signal.pool.Pool. dtype: any float or int, floats for the averages.
    """
    windows = Windows.read(params)
    literals = windows.literals(dtype)
    average = windows.mode.startswith("average")
    if average and dtype not in FLOATS:
        raise ValueError(f"averages are for float32 and float64, not {dtype}")
    source = FORWARD.format(
        sizes=read_sizes(("_ oh ow", "_ _ _"), ("_ h w", "_ _ _"), ("work_bytes", "")),
        divide=DIVIDE.format(**literals) if average else "",
        **literals,
    )

    def workspace(shapes: Shapes) -> int:
        (_, oh, ow), (_, _, w) = shapes["out0"], shapes["in0"]
        if not oh or not ow:
            return 0
        width = (ow - 1) * windows.stride[1] + windows.ws[1]
        frame = ((oh - 1) * windows.stride[0] + windows.ws[0] + oh) * width
        return np.dtype(dtype).itemsize * max(frame, 8192, oh * w)

    return Lowering((Stage(source, ("out0", "in0", "work"), _extent, _chunk("in0"), workspace),))


def _extent(shapes: Shapes) -> int:
    return shapes["out0"][0] if prod(shapes["out0"]) else 0


def _gradient(dtype: str, windows: Windows) -> Lowering:
    if dtype not in FLOATS:
        raise ValueError(f"gradients are for float32 and float64, not {dtype}")
    literals = windows.literals(dtype)
    largest = windows.mode == "max"
    average = windows.mode.startswith("average")
    names = ("out0", "in0", "in1", "in2") if largest else ("out0", "in0")
    places = {"dx": 0, "x": 1, "out": 2, "dout": 3} if largest else {"dx": 0, "dout": 1}
    operands = [f"    {n} = pointer(arrays, {k}, {dtype})" for n, k in places.items()]
    if not largest:
        operands.append("    x = out = dout")
    value, accumulate = "dout[at]", "dx[place] += value"
    if average:
        value += f" / {dtype}(({literals['tall']}) * ({literals['broad']}))"
    if largest:
        accumulate = f"if x[place] == out[at]:\n{' ' * 28}{accumulate}"
    source = GRADIENT.format(
        sizes=read_sizes(("_ h w", "_ _ _"), *[("_ _ _", "_ _ _")] * largest, ("_ oh ow", "_ _ _")),
        operands="\n".join(operands),
        divisor=windows.ws[0] * windows.ws[1] if average else 1,
        tiling=windows.ws == windows.stride and windows.pad == (0, 0),
        tiled_columns=f"ow * {windows.ws[1]} <= w" if average else "True",
        value=value,
        accumulate=" " * 24 + accumulate,
        **literals,
    )
    return Lowering((Stage(source, names, _extent, _chunk("out0")),))


def pool_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (L, H, W) = gradient of `pool`, a sum or an average, by its input; in0: that of its
    output (L, OH, OW). Parameters as for `pool`; overlapping windows accumulate.
    """
    windows = Windows.read(params)
    if windows.mode == "max":
        raise ValueError("the gradient of max pooling needs its operands: use max_pool_grad")
    return _gradient(dtype, windows)


def max_pool_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (L, H, W) = gradient of max pooling by its input.

    in0: the input, in1: the pooled output, in2: the gradient of the output. Every element equal to
    its window's maximum receives the full gradient; overlapping windows accumulate.
    """
    return _gradient(dtype, Windows.read({**params, "mode": "max"}))


def max_pool_grad_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (L, OH, OW) = sum over each window of in2 where in0 equals in1, the pooled output.

    What max_pool_grad is linear in its last operand with, transposed: the second derivatives.
    """
    windows = Windows.read({**params, "mode": "max"})
    if dtype not in FLOATS:
        raise ValueError(f"gradients are for float32 and float64, not {dtype}")
    source = SECOND.format(
        sizes=read_sizes(("_ oh ow", "_ _ _"), ("_ h w", "_ _ _")), **windows.literals(dtype)
    )
    return Lowering((Stage(source, ("out0", "in0", "in1", "in2"), _extent, _chunk("in0")),))
