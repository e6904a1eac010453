"""Pooling of the last two dimensions, and its gradients, over (planes, height, width) arrays.

Forward is separable: windows are reduced down the columns into the workspace, then along the rows.
An image that windows leave (padding, partial windows) is first copied into a border of the neutral
element. Windows that tile the image have a vector path for the gradient as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from .pooling_sources import (
    COPY_BEST,
    DIVIDE,
    FIRST,
    FORWARD,
    GRADIENT,
    MARKS,
    MARKS_GRADIENT,
    SECOND,
    SHARES,
    TIMES_SHARES,
)
from .stage import Lowering, Shapes, Size, Stage, ceil_div, read_sizes
from .tiles import FLOATS, host_lanes

MODES = ("max", "sum", "average_inc_pad", "average_exc_pad")
TIES = ("all", "first")
TOGETHER = 4096  # windows whose first maxima are looked for at once, where planes are small
CHUNK = 65536  # elements of the images in a chunk


@dataclass(frozen=True)
class Windows:
    """What is declared of a pooling: window, stride, padding, each (rows, columns), mode, and who
    gets the gradient of a maximum where several elements tie for it: "all" or the "first"."""

    ws: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    mode: str
    ties: str = "all"

    @classmethod
    def read(cls, params: Mapping[str, object]) -> "Windows":
        """From the parameters of an operation; ValueError where they make no sense."""

        def pair(name: str, default: object) -> tuple[int, int]:
            value = params.get(name, default)
            if not isinstance(value, tuple) or len(value) != 2:
                raise ValueError(f"{name} must be a pair of ints, got {value!r}")
            return int(value[0]), int(value[1])

        ws = pair("ws", None)
        words = str(params.get("mode", "max")), str(params.get("ties", "all"))
        windows = cls(ws, pair("stride", ws), pair("pad", (0, 0)), *words)
        if windows.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {windows.mode!r}")
        if windows.ties not in TIES:
            raise ValueError(f"ties must be one of {TIES}, got {windows.ties!r}")
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
        rows, columns = f"max(y0, 0), min(y0 + {wh}, h)", f"max(t0, 0), min(t0 + {ww}, w)"
        first = self.ties == "first"
        if first:  # SECOND goes backwards, and the last that it takes stays
            rows = f"min(y0 + {wh}, h) - 1, max(y0, 0) - 1, -1"
            columns = f"min(t0 + {ww}, w) - 1, max(t0, 0) - 1, -1"
        return {
            "wh": wh, "ww": ww, "sh": sh, "sw": sw, "ph": ph, "pw": pw, "tall": tall,
            "broad": broad, "mode": self.mode, "kind": kind,
            "dtype": dtype, "lanes": host_lanes(dtype), "size": np.dtype(dtype).itemsize,
            "neutral": f"{dtype}({neutral if kind == 'max' else 0})",
            "share": repr(1 / (wh * ww)),
            "whole": self.mode != "average_exc_pad" or self.pad == (0, 0),
            "tiling": self.ws == self.stride and self.pad == (0, 0),
            "rows": rows, "columns": columns, "takes": "=" if first else "+=",
            "which": ', "first"' if first else "",
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

    names = ("out0", "in0", "work")
    return Lowering((Stage(source, names, _extent, _chunk("in0"), workspace, names[:2], _planes),))


def _planes(shapes: Shapes) -> tuple[int, int, int]:
    """Every plane is one item."""
    return 1, 1, shapes["out0"][0]


def _extent(shapes: Shapes) -> int:
    return shapes["out0"][0] if prod(shapes["out0"]) else 0


def _gradient(dtype: str, windows: Windows) -> Lowering:
    if dtype not in FLOATS:
        raise ValueError(f"gradients are for float32 and float64, not {dtype}")
    literals = windows.literals(dtype)
    largest = windows.mode == "max"
    average = windows.mode.startswith("average")
    names = ("out0", "in0", "in1", "in2") if largest else ("out0", "in0")
    called = ("dx", "x", "out", "dout") if largest else ("dx", "dout")
    operands = [f"    {n} = pointer(arrays, {k}, {dtype})" for k, n in enumerate(called)]
    operands.append(f"    work = pointer(arrays, {len(called)}, int8)")
    if not largest:
        operands.append("    x = out = dout")
    (wh, ww), (sh, sw) = windows.ws, windows.stride
    prepare = TIMES_SHARES if average else COPY_BEST.format(**literals) if largest else ""
    source = GRADIENT.format(
        sizes=read_sizes(
            ("_ h w", "_ _ _"), *[("_ _ _", "_ _ _")] * largest, ("_ oh ow", "_ _ _"),
            *[("_ _ _", "_ _ _")] * largest, ("work_bytes", ""),
        ),
        operands="\n".join(operands),
        divisor=wh * ww if average else 1,
        tiled_columns=f"ow * {ww} <= w" if average else "True",
        far_row=(wh - 1) // sh,
        far_column=(ww - 1) // sw,
        shares=SHARES.format(**literals) if average else "",
        prepare=prepare,
        phases="\n".join(_phase_row(windows, literals, a) for a in range(sh)),
        **literals,
    )  # fmt: skip

    def workspace(shapes: Shapes) -> int:
        (_, h, w), (_, oh, ow) = shapes["out0"], shapes[names[-1]]
        broad = max(ow + (ww - 1) // sw, ceil_div(w + windows.pad[1], sw))
        phase = max(oh + (wh - 1) // sh, ceil_div(h + windows.pad[0], sh)) * broad
        margin = (wh - 1) // sh * broad + (ww - 1) // sw
        return np.dtype(dtype).itemsize * (2 * (margin + phase) + 2 * sw * phase)

    operand_names = (*names, "work")
    return Lowering(
        (Stage(source, operand_names, _extent, _chunk("out0"), workspace, names, _planes),)
    )


def _first_gradient(dtype: str, windows: Windows) -> Lowering:
    """The gradient of max pooling by the first maximum of each window."""
    if dtype not in FLOATS:
        raise ValueError(f"gradients are for float32 and float64, not {dtype}")
    shapeless = ("_ _ _", "_ _ _")
    source = FIRST.format(
        sizes=read_sizes(
            ("_ h w", "_ _ _"), shapeless, shapeless, ("_ oh ow", "_ _ _"), ("work_bytes", "")
        ),
        index=f"int{8 * np.dtype(dtype).itemsize}",
        together=TOGETHER,
        **windows.literals(dtype),
    )
    names = ("out0", "in0", "in1", "in2")

    def workspace(shapes: Shapes) -> int:
        (_, oh, ow), (wh, ww), (sh, sw) = shapes["in2"], windows.ws, windows.stride
        if not oh or not ow:
            return 0
        frame = ((oh - 1) * sh + wh) * ((ow - 1) * sw + ww)
        return np.dtype(dtype).itemsize * (max(TOGETHER, oh * ow) + frame)

    return Lowering(
        (Stage(source, (*names, "work"), _extent, _chunk("out0"), workspace, names, _planes),)
    )


def _phase_row(windows: Windows, literals: Mapping[str, object], a: int) -> str:
    """The lines that make dx in the image's lines that are a beyond a multiple of the stride.

    Column c of the image is column c + padding of the padded one: phase b, u columns in.
    """
    (wh, ww), (sh, sw), (ph, pw) = windows.ws, windows.stride, windows.pad
    dtype, size, largest = literals["dtype"], literals["size"], windows.mode == "max"
    v = max(0, ceil_div(ph - a, sh))  # the first of these lines within the image
    y = v * sh + a - ph
    lines = [f"rows = (h - {y} + {sh - 1}) // {sh}", "if rows > 0:"]
    starts = [divmod(pw + c, sw) for c in range(sw)]
    for c, (u, b) in enumerate(starts if largest else ()):
        place = f"parts + {b} * phase_size + ({v} * broad + {u}) * {size}"
        image = f"address(x) + ((plane * h + {y}) * w + {c}) * {size}"
        lines.append(
            f"    apart({place}, broad, {image}, {sh} * w, 0, rows, (w - {c} + {sw - 1}) // {sw})"
        )
    for b in range(sw):
        lines += [
            f"    x{b} = pointer_in_at(parts + {b} * phase_size, {dtype})",
            f"    d{b} = pointer_out_at(parts + {sw + b} * phase_size, {dtype})",
            f"    for n in range({v} * broad, ({v} + rows) * broad):",
            f"        total = {dtype}(0)",
        ]
        for i in range(a, wh, sh):
            for j in range(b, ww, sw):
                at = f"margin + n - {i // sh} * broad - {j // sw}"
                term = f"from_g[{at}]"
                if largest:
                    term = f"select(x{b}[n] == from_best[{at}], {term}, {dtype}(0))"
                lines.append(f"        total += {term}")
        lines.append(f"        d{b}[n] = total")
    sources = ", ".join(
        f"parts + {sw + b} * phase_size + ({v} * broad + {u}) * {size}" for u, b in starts
    )
    goal = f"address(dx) + (plane * h + {y}) * w * {size}"
    lines.append(f"    together({goal}, {sh} * w, {sources}, broad, rows, w)")
    return "\n".join("        " + line for line in lines)


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
    its window's maximum receives the full gradient, or with ties="first" the first of them, row by
    row; overlapping windows accumulate.
    """
    windows = Windows.read({**params, "mode": "max"})
    return (_gradient if windows.ties == "all" else _first_gradient)(dtype, windows)


def max_pool_marks(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (L, OH, OW) = in0 (L, H, W) reduced to the maxima of windows that tile it, and out1, in
    uint8, the marks: ops/pool_marks.py. Windows are whole and have at most 8 elements.
    """
    windows = marked(dtype, params)
    source = MARKS.format(
        sizes=read_sizes(("_ oh ow", "_ _ _"), ("_ _ _", "_ _ _"), ("_ h w", "_ _ _")),
        **windows.literals(dtype),
    )
    names = ("out0", "out1", "in0")
    return Lowering((Stage(source, names, _extent, _chunk("in0"), along=names, slices=_planes),))


def max_pool_marks_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (L, H, W) = gradient of max pooling; in0: the marks, uint8, in1: the gradient by the
    pooled image, both (L, OH, OW). As for `max_pool_marks`; 0 where no window reaches.
    """
    windows = marked(dtype, params)
    source = MARKS_GRADIENT.format(
        sizes=read_sizes(("_ h w", "_ _ _"), ("_ oh ow", "_ _ _")), **windows.literals(dtype)
    )
    names = ("out0", "in0", "in1")

    def extent(shapes: Shapes) -> int:
        return shapes["out0"][0] if prod(shapes["out0"]) else 0

    return Lowering((Stage(source, names, extent, _chunk("out0"), along=names, slices=_planes),))


def marked(dtype: str, params: Mapping[str, object]) -> Windows:
    windows = Windows.read({**params, "mode": "max"})
    if dtype not in FLOATS:
        raise ValueError(f"marks are for float32 and float64, not {dtype}")
    if windows.stride != windows.ws or windows.pad != (0, 0) or prod(windows.ws) > 8:
        raise ValueError(f"marks are for whole windows side by side, of 8 elements, not {windows}")
    return windows


def max_pool_grad_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (L, OH, OW) = sum over each window of in2 where in0 equals in1, the pooled output; with
    ties="first", in2 at the first such place.

    What max_pool_grad is linear in its last operand with, transposed: the second derivatives.
    """
    windows = Windows.read({**params, "mode": "max"})
    if dtype not in FLOATS:
        raise ValueError(f"gradients are for float32 and float64, not {dtype}")
    source = SECOND.format(
        sizes=read_sizes(("_ oh ow", "_ _ _"), ("_ h w", "_ _ _")), **windows.literals(dtype)
    )
    names = ("out0", "in0", "in1", "in2")
    return Lowering((Stage(source, names, _extent, _chunk("in0"), along=names, slices=_planes),))
