"""Random numbers that need their generator's state: MRG31k3p in many streams, the Mersenne Twister.

The same bits as on the CPU. Streams of MRG31k3p have a thread each. The Twister is one stream: one
block of threads makes its next 624 words together, then the numbers that these give.
"""

from __future__ import annotations

from collections.abc import Mapping

from symgraph.compile.library.random import NUMBERS

from .stage import Lowering, Stage, ceil_div, read_sizes

STREAMS = 64  # in a block: few, so that few thousand streams reach every multiprocessor

MRG = """\
# Uniform numbers of MRG31k3p, {dtype}.


def kernel(arrays, sizes):  # {threads} threads
{sizes}
    after, sample = pointer_out(arrays, 0, int32), pointer_out(arrays, 1, {dtype})
    before = pointer_in(arrays, 2, int32)
    # What is cast to uint32 lies below 2**32: 64 bits stand in the text only, not in the machine.
    stream = block() * {threads} + thread()
    if stream < streams:
        x1, x2 = uint32(before[6 * stream]), uint32(before[6 * stream + 1])
        x3, y1 = uint32(before[6 * stream + 2]), uint32(before[6 * stream + 3])
        y2, y3 = uint32(before[6 * stream + 4]), uint32(before[6 * stream + 5])
        for place in range(stream, count, streams):
            a, b = int64(x2), int64(x3)
            x = int64(uint32(((a & 511) << 22) + (a >> 9) + ((b & 16777215) << 7) + (b >> 24)))
            x = int64(uint32(x - select(x >= {m1}, {m1}, 0) + b))
            x = int64(uint32(x - select(x >= {m1}, {m1}, 0)))
            x3, x2, x1 = x2, x1, uint32(x)
            a, b = int64(y1), int64(y3)
            y = int64(uint32(((b & 65535) << 15) + 21069 * (b >> 16)))
            y = int64(uint32(y - select(y >= {m2}, {m2}, 0) + b))
            y = int64(uint32(y - select(y >= {m2}, {m2}, 0)))
            z = int64(uint32(((a & 65535) << 15) + 21069 * (a >> 16)))
            y = int64(uint32(y + z - select(z >= {m2}, {m2}, 0)))
            y = int64(uint32(y - select(y >= {m2}, {m2}, 0)))
            y3, y2, y1 = y2, y1, uint32(y)
            z = int32(x - y + select(x <= y, {m1}, 0))
            sample[place] = {number}
        after[6 * stream], after[6 * stream + 1] = int32(x1), int32(x2)
        after[6 * stream + 2], after[6 * stream + 3] = int32(x3), int32(y1)
        after[6 * stream + 4], after[6 * stream + 5] = int32(y2), int32(y3)
"""

TWISTER = """\
# Uniform numbers of the Mersenne Twister, float64.


def kernel(arrays, sizes):  # 256 threads
{sizes}
    after, sample = pointer(arrays, 0, uint32), pointer_out(arrays, 1, float64)
    before = pointer(arrays, 2, uint32)
    me = thread()
    # Words are counted from the first of the key. Word w follows from w - 624, w - 623 and w - 227,
    # so that 227 are made at once; they lie in a ring, where none lies on one that is still needed.
    words = shared("words", uint32, 1024)
    for w in range(me, 624, 256):
        words[w] = before[w]
    first = int64(before[624])  # number j is made of words first + 2 j and the next
    end = first + 2 * count
    goal = 624 * (max(end - 1, 0) // 624 + 1)  # whole keys
    done = 0
    barrier()
    for made in range(624, goal + 227, 227):
        ready = min(count, (min(made, goal) - first) // 2)
        for j in range(done + me, ready, 256):
            a, b = int64(words[(first + 2 * j) & 1023]), int64(words[(first + 2 * j + 1) & 1023])
            a ^= a >> 11
            a ^= (a << 7) & 0x9D2C5680
            a ^= (a << 15) & 0xEFC60000
            a ^= a >> 18
            b ^= b >> 11
            b ^= (b << 7) & 0x9D2C5680
            b ^= (b << 15) & 0xEFC60000
            b ^= b >> 18
            sample[j] = (float64(uint32(a >> 5)) * 67108864.0 + float64(uint32(b >> 6))) * {unit}
        done = ready
        w = made + me
        if me < 227 and w < goal:
            y = int64(words[(w - 624) & 1023]) & 0x80000000
            y |= int64(words[(w - 623) & 1023]) & 0x7FFFFFFF
            word = int64(words[(w - 227) & 1023]) ^ (y >> 1) ^ ((y & 1) * 0x9908B0DF)
            words[w & 1023] = uint32(word)
        barrier()
    for k in range(me, 624, 256):
        after[k] = words[(goal - 624 + k) & 1023]
    if me == 0:
        after[624] = uint32(end - goal + 624)
        after[625] = before[625]
        after[626] = before[626]
        after[627] = before[627]
"""


def mrg_uniform(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's: out0 (S, 6), out1 (N,) and in0 (S, 6) are contiguous; out0 may be in0."""
    if dtype not in NUMBERS:
        raise ValueError(f"random numbers are floats, not {dtype}")
    text = MRG.format(
        sizes=read_sizes(("streams _", "_ _"), ("count", "_")), dtype=dtype, threads=STREAMS,
        m1=2147483647, m2=2147462579, number=NUMBERS[dtype],
    )  # fmt: skip
    names = ("out0", "out1", "in0")
    return Lowering(
        (Stage(lambda s: text, names, lambda s: ceil_div(s["in0"][0], STREAMS), written=2),)
    )


def mersenne_uniform(dtype: str, params: Mapping[str, object]) -> Lowering:
    """As the CPU's: out0 and in0 (628,), out1 (N,), float64; out0 may be in0."""
    text = TWISTER.format(
        sizes=read_sizes(("_", "_"), ("count", "_")), unit=repr(1 / 9007199254740992.0)
    )
    return Lowering((Stage(lambda s: text, ("out0", "out1", "in0"), lambda s: 1, written=2),))


def mersenne_normal(dtype: str, params: Mapping[str, object]) -> None:
    """The host's: NumPy's polar method takes the logarithm of the C library, the last bit of which
    differs from one library to the next. What a device computes could not have the same bits."""
    return
