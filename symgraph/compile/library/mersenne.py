"""The Mersenne Twister MT19937 as NumPy's RandomState runs it, on a state of 628 words in memory.

Words 0 to 623 are the key, 624 is the position in it, 625 says whether words 626 and 627 hold a
normal number that was drawn and not yet given.
Source: M. Matsumoto and T. Nishimura, Mersenne Twister, ACM TOMACS 8 (1998); the order in which
numbers are made of words: NumPy, legacy distributions of RandomState.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="name-defined"
# (what Numba types; the vocabulary of kernels)

from __future__ import annotations

from typing import Any

from symgraph.compile import native
from symgraph.compile.helpers import helper
from symgraph.compile.intrinsics import elementwise
from symgraph.compile.mathlib import Value

int64, uint32, float64 = (native.VOCABULARY[name] for name in ("int64", "uint32", "float64"))
address, pointer_at = native.VOCABULARY["address"], native.VOCABULARY["pointer_at"]
POSITION, HAS_GAUSS = 624, 625
GAUSS = 626 * 4  # its address, in bytes
UNIT = 1 / 9007199254740992.0


def _radius_square(x: Value, y: Value) -> Value:
    return x * x + y * y


def _polar_factor(square: Value) -> Value:
    """By the C library's logarithm, as in NumPy: the last bit counts."""
    return (square.call("log") * -2.0 / square).sqrt()


radius_square: Any = elementwise(_radius_square)
polar_factor: Any = elementwise(_polar_factor)


@helper
def twist(mt):
    """The next 624 words of the key."""
    for k in range(227):
        y = (int64(mt[k]) & 0x80000000) | (int64(mt[k + 1]) & 0x7FFFFFFF)
        mt[k] = uint32(int64(mt[k + 397]) ^ (y >> 1) ^ ((y & 1) * 0x9908B0DF))
    for k in range(227, 623):
        y = (int64(mt[k]) & 0x80000000) | (int64(mt[k + 1]) & 0x7FFFFFFF)
        mt[k] = uint32(int64(mt[k - 227]) ^ (y >> 1) ^ ((y & 1) * 0x9908B0DF))
    y = (int64(mt[623]) & 0x80000000) | (int64(mt[0]) & 0x7FFFFFFF)
    mt[623] = uint32(int64(mt[396]) ^ (y >> 1) ^ ((y & 1) * 0x9908B0DF))


@helper
def tempered(mt, k):
    """Word k as it is given out."""
    y = int64(mt[k])
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    return y ^ (y >> 18)


@helper
def next_word(mt):
    k = int64(mt[POSITION])
    if k >= 624:
        twist(mt)
        k = 0
    mt[POSITION] = uint32(k + 1)
    return tempered(mt, k)


@helper
def next_double(mt):
    a = next_word(mt) >> 5
    b = next_word(mt) >> 6
    return (float64(a) * 67108864.0 + float64(b)) * UNIT


@helper
def fill_uniform(mt, sample, count):
    done = 0
    while done < count:
        at = int64(mt[POSITION])
        pairs = max(0, min((624 - at) // 2, count - done))
        for j in range(pairs):
            a = tempered(mt, at + 2 * j) >> 5
            b = tempered(mt, at + 2 * j + 1) >> 6
            sample[done + j] = (float64(a) * 67108864.0 + float64(b)) * UNIT
        done += pairs
        mt[POSITION] = uint32(at + 2 * pairs)
        if done < count:  # at the end of the key, or one word before it
            sample[done] = next_double(mt)
            done += 1


@helper
def fill_normal(mt, sample, count):
    kept = pointer_at(address(mt) + GAUSS, float64)
    done = 0
    if count > 0 and mt[HAS_GAUSS] != 0:
        sample[0] = kept[0]
        kept[0] = 0.0
        mt[HAS_GAUSS] = uint32(0)
        done = 1
    while done < count:
        square = 0.0
        x = y = 0.0
        while square >= 1.0 or square == 0.0:
            x = 2.0 * next_double(mt) - 1.0
            y = 2.0 * next_double(mt) - 1.0
            square = radius_square(x, y)
        factor = polar_factor(square)
        sample[done] = factor * y
        done += 1
        if done < count:
            sample[done] = factor * x
            done += 1
        else:
            kept[0] = factor * x
            mt[HAS_GAUSS] = uint32(1)
