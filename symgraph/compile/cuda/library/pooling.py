"""Pooling and its gradients over (planes, height, width) arrays: a thread a place of the result.

Gradients gather: an element of the image asks the windows that hold it, so no two threads meet. The
sizes of a plane are literals, and what they decide is decided while the text is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from symgraph.compile.library.pooling import Windows, marked
from symgraph.compile.library.tiles import FLOATS

from .pooling_sources import (
    DOUT,
    FORWARD,
    GRADIENT,
    MARKS,
    MARKS_GRADIENT,
    OPERANDS,
    SECOND,
    TAKEN,
    WARPS,
)
from .stage import Lowering, Shapes, Stage, ceil_div

THREADS = 256
NARROW = 2**31  # so many elements are numbered by 32 bits
MANY = 2**20  # elements of a result from which on a thread works in several planes,
TOGETHER = 4  # so many, if finding its place would cost more than a small window
SECTOR = 8  # columns from one window to the next with which threads no longer share 32 bytes


def pool(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's. Large windows far apart have a warp each, whose lanes read side by side."""
    windows = Windows.read(params)
    if windows.mode.startswith("average") and dtype not in FLOATS:
        raise ValueError(f"averages are for float32 and float64, not {dtype}")

    def warps(shapes: Shapes) -> bool:
        apart = windows.stride[1] >= SECTOR or shapes["out0"][2] == 1
        return apart and prod(windows.ws) >= 32

    return _launch(dtype, windows, FORWARD, ("out0", "in0"), ("in0", "out0"), warps=warps)


def pool_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's."""
    windows = Windows.read(params)
    if windows.mode == "max":
        raise ValueError("the gradient of max pooling needs its operands: use max_pool_grad")
    return _launch(_float(dtype), windows, GRADIENT, ("out0", "in0"), ("out0", "in0"))


def max_pool_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's. With ties="first" an element that is a maximum looks for an equal one before it
    in the window."""
    windows = Windows.read({**params, "mode": "max"})
    operands = ("out0", "in0", "in1", "in2")
    return _launch(_float(dtype), windows, GRADIENT, operands, ("out0", "in1"))


def max_pool_grad_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's."""
    windows = Windows.read({**params, "mode": "max"})
    operands = ("out0", "in0", "in1", "in2")
    return _launch(_float(dtype), windows, SECOND, operands, ("in0", "out0"))


def max_pool_marks(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's."""
    operands = ("out0", "out1", "in0")
    return _launch(dtype, marked(dtype, params), MARKS, operands, ("in0", "out0"), written=2)


def max_pool_marks_grad(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's."""
    operands = ("out0", "in0", "in1")
    return _launch(dtype, marked(dtype, params), MARKS_GRADIENT, operands, ("out0", "in0"))


def _float(dtype: str) -> str:
    if dtype not in FLOATS:
        raise ValueError(f"gradients are for float32 and float64, not {dtype}")
    return dtype


def _launch(
    dtype: str,
    windows: Windows,
    text: str,
    operands: tuple[str, ...],
    planes: tuple[str, str],
    *,
    written: int = 1,
    warps: Callable[[Shapes], bool] = lambda shapes: False,
) -> Lowering:
    """One launch with a thread for each element of out0 in one plane or in several, or with WARPS;
    `planes` names the operands that have the shapes of the image and of the windows."""

    def together(shapes: Shapes) -> int:
        return TOGETHER if prod(windows.ws) <= 8 and prod(shapes["out0"]) >= MANY else 1

    def source(shapes: Shapes) -> str:
        template = WARPS if warps(shapes) else text
        image, out = (shapes[name] for name in planes)
        return template.format(
            index="uint32" if prod(shapes["out0"]) < NARROW else "int64",
            together=together(shapes), each=prod(shapes["out0"][1:]),
            **_literals(dtype, windows, image, out),
        )  # fmt: skip

    def blocks(shapes: Shapes) -> int:
        if warps(shapes):
            return ceil_div(prod(shapes["out0"]) * 32, THREADS)
        count, *plane = shapes["out0"]
        return ceil_div(ceil_div(count, together(shapes)) * prod(plane), THREADS)

    return Lowering((Stage(source, operands, blocks, written),))


def _literals(
    dtype: str, windows: Windows, image: tuple[int, ...], out: tuple[int, ...]
) -> dict[str, object]:
    """What the sources print for planes of these sizes."""
    (_, h, w), (_, oh, ow) = image, out
    (wh, ww), (sh, sw), (ph, pw) = windows.ws, windows.stride, windows.pad
    lowest, rightmost = (oh - 1) * sh - ph + wh, (ow - 1) * sw - pw + ww  # where windows end
    inside = _all(
        (ph > 0, "y0 + i >= 0"), (lowest > h, f"y0 + i < {h}"),
        (pw > 0, "t0 + j >= 0"), (rightmost > w, f"t0 + j < {w}"),
    )  # fmt: skip
    reached = _all(
        (True, "p >= 0 and q >= 0"),
        ((h - 1 + ph) // sh >= oh, f"p < {oh}"),
        ((w - 1 + pw) // sw >= ow, f"q < {ow}"),
        (wh % sh > 0, f"y + {ph} < p * {sh} + {wh}"),
        (ww % sw > 0, f"t + {pw} < q * {sw} + {ww}"),
    )
    own = windows.literals(dtype)  # the CPU's
    largest, first = windows.mode == "max", windows.ties == "first"
    average = windows.mode.startswith("average")
    equal = average and bool(own["whole"]) and lowest <= h + ph and rightmost <= w + pw
    kind = windows.ties if largest else "share" if average and not equal else "sum"
    shared = f"total * {dtype}({own['share']})" if equal else "total"
    divided = f"total / {dtype}(({own['tall']}) * ({own['broad']}))"
    wide = dtype if dtype in FLOATS else "int64"
    joined = "maximum(total, {})" if largest else f"total + {wide}({{}})"
    numbers: dict[str, object] = {
        "h": h, "w": w, "oh": oh, "ow": ow, "hw": h * w, "ohw": oh * ow, "wh": wh, "ww": ww,
        "sh": sh, "sw": sw, "ph": ph, "pw": pw, "dtype": dtype, "threads": THREADS,
        "tall": own["tall"], "broad": own["broad"],
    }  # fmt: skip
    return {
        **numbers, "text": own["text"], "mode": windows.mode, "taps": wh * ww,
        "inside": inside and f"{inside} and ", "if_inside": inside and f"if {inside}: ",
        "neutral": own["neutral"] if largest else f"{wide}(0)",
        "with_tap": joined.format(f"window[i * {w} + j]"), "with_other": joined.format("other"),
        "pooled": divided if average and not equal else shared,
        "far_row": ceil_div(wh, sh), "far_column": ceil_div(ww, sw), "reached": reached,
        "operands": (OPERANDS if largest else DOUT).format(**numbers),
        "taken": TAKEN[kind].format(**numbers), "gathered": shared,
        "rows": f"range({wh - 1}, -1, -1)" if first else f"range({wh})",
        "columns": f"range({ww - 1}, -1, -1)" if first else f"range({ww})",
        "takes": own["takes"], "mark": "mark & -mark" if first else "mark",
    }  # fmt: skip


def _all(*conditions: tuple[bool, str]) -> str:
    """Those of the conditions that must be asked, joined."""
    return " and ".join(text for asked, text in conditions if asked)
