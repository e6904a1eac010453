"""Random numbers that need their generator's state: MRG31k3p in many streams, the Mersenne Twister.

`mrg_uniform` runs streams side by side, whole vectors of them; the Mersenne Twister is one stream
and its kernels are one item. Both write the state after the draw beside the sample.
"""

from collections.abc import Mapping

from .stage import Lowering, Shapes, Stage, ceil_div, read_sizes

BLOCK = 64  # streams that are stepped together

MRG = """\
# {count} of MRG31k3p, {dtype}.


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    after, sample = pointer_out(arrays, 0, int32), pointer_out(arrays, 1, {dtype})
    before = pointer_in(arrays, 2, int32)
    work = address(pointer(arrays, 3, int8)) + worker * work_bytes
    x1, x2 = pointer_out_at(work, int32), pointer_out_at(work + {step}, int32)
    x3, y1 = pointer_out_at(work + 2 * {step}, int32), pointer_out_at(work + 3 * {step}, int32)
    y2, y3 = pointer_out_at(work + 4 * {step}, int32), pointer_out_at(work + 5 * {step}, int32)
    for first in range(start, stop, {block}):
        n = min({block}, stop - first)
        if first >= count:  # streams that have nothing to give
            for at in range(6 * first, 6 * (first + n)):
                after[at] = before[at]
            continue
        for s in range(n):
            at = 6 * (first + s)
            x1[s] = before[at]
            x2[s] = before[at + 1]
            x3[s] = before[at + 2]
            y1[s] = before[at + 3]
            y2[s] = before[at + 4]
            y3[s] = before[at + 5]
        for place in range(first, count, streams):
            for s in range(min(n, count - place)):
                a, b = int64(x2[s]), int64(x3[s])
                x = ((a & 511) << 22) + (a >> 9) + ((b & 16777215) << 7) + (b >> 24)
                x -= select(x >= {m1}, {m1}, 0)
                x += b
                x -= select(x >= {m1}, {m1}, 0)
                x3[s] = a
                x2[s] = x1[s]
                x1[s] = x
                a, b = int64(y1[s]), int64(y3[s])
                y = ((b & 65535) << 15) + 21069 * (b >> 16)
                y -= select(y >= {m2}, {m2}, 0)
                y += b
                y -= select(y >= {m2}, {m2}, 0)
                z = ((a & 65535) << 15) + 21069 * (a >> 16)
                y += z - select(z >= {m2}, {m2}, 0)
                y -= select(y >= {m2}, {m2}, 0)
                y3[s] = y2[s]
                y2[s] = a
                y1[s] = y
                z = x - y
                z += select(z <= 0, {m1}, 0)
                sample[place + s] = {number}
        for s in range(n):
            at = 6 * (first + s)
            after[at] = x1[s]
            after[at + 1] = x2[s]
            after[at + 2] = x3[s]
            after[at + 3] = y1[s]
            after[at + 4] = y2[s]
            after[at + 5] = y3[s]
"""

NUMBERS = {
    "float16": "float32(int32(z & 32767) + 1) * float32(511 * 5.9604644775390625e-08)",
    "float32": "float32(int32(z)) * float32(4.656612595521636e-10)",
    "float64": "float64(z) * 4.656612873077392578125e-10",
}
"""z in [1, 2**31) as a number below 1: the norm of float32 is the number before 2**-31, as z may
round to 2**31; float16 keeps 15 bits of z."""

TWISTER = """\
# {what} of the Mersenne Twister, float64.
from symgraph.compile.library.mersenne import {imports}


def kernel(arrays, sizes, start, stop, worker):
{sizes}
    mt, sample = pointer(arrays, 0, uint32), pointer_out(arrays, 1, float64)
    before = pointer(arrays, 2, uint32)
    for k in range(628):
        mt[k] = before[k]
    {fill}(mt, sample, count)
"""


def mrg_uniform(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out1 (N,) = uniform numbers from (0, 1) of the streams whose states are in0 (S, 6), int32;
    out0 (S, 6): the states after it. Element i is the next number of stream i modulo S.
    """
    if dtype not in NUMBERS:
        raise ValueError(f"random numbers are floats, not {dtype}")
    source = MRG.format(
        count="Uniform numbers",
        sizes=read_sizes(("streams _", "_ _"), ("count", "_"), ("_ _", "_ _"), ("work_bytes", "")),
        m1=2147483647, m2=2147462579, block=BLOCK, step=4 * BLOCK, dtype=dtype,
        number=NUMBERS[dtype],
    )  # fmt: skip

    def grain(shapes: Shapes) -> int:
        """Whole blocks of streams that make 65,536 numbers or more together."""
        turns = ceil_div(shapes["out1"][0], max(1, shapes["in0"][0]))
        return BLOCK * ceil_div(65536, BLOCK * max(1, turns))

    names = ("out0", "out1", "in0", "work")
    return Lowering((Stage(source, names, lambda s: s["in0"][0], grain, lambda s: 24 * BLOCK),))


def _twister(what: str, fill: str) -> Lowering:
    source = TWISTER.format(
        what=what, imports=fill, fill=fill,
        sizes=read_sizes(("_", "_"), ("count", "_"), ("_", "_")),
    )  # fmt: skip
    names = ("out0", "out1", "in0")
    return Lowering((Stage(source, names, lambda s: 1, lambda s: 1),))


def mersenne_uniform(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out1 (N,) = float64 numbers from [0, 1), 53 bits each, of the state in0 (628,), uint32:
    NumPy's key (624 words), position, has_gauss and cached gauss; out0: the state after it."""
    return _twister("Uniform numbers", "fill_uniform")


def mersenne_normal(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As `mersenne_uniform`, of the standard normal distribution, by Marsaglia's polar method."""
    return _twister("Normal numbers", "fill_normal")
