"""Philox4x32-10, and how its words become uniform and normal numbers: written once, for all.

Philox is a bijection of 128 bits of counter under 64 bits of key: ten rounds, each of two products
of 32 bits and some exclusive ors. No state goes from one block to the next, so any element of a
sample can be computed by itself, anywhere.

The formulas use nothing but Python's operators and the five functions of a `Field`, each of which
IEEE arithmetic rounds in one way: NumPy, interpreted and compiled kernels give the same bits.
Source: J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # what the key grows by from round to round
MASK = 0xFFFFFFFF
Words = tuple[Any, Any, Any, Any]


def words(key: Any, calls: Any, index: Any) -> Words:
    """The four words of block `index` of draw `calls` under `key`, each below 2**32 in 64 bits.

    All three are 64-bit integers. The counter's two low words are `index`, its two high ones
    `calls`, each with its low half first; so is the key.
    """
    c0, c1 = index & MASK, index >> 32 & MASK
    c2, c3 = calls & MASK, calls >> 32 & MASK
    keys = key & MASK, key >> 32 & MASK
    for turn in range(ROUNDS):
        k0, k1 = (k + (turn * step & MASK) & MASK for k, step in zip(keys, WEYL, strict=True))
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> 32 & MASK) ^ c1 ^ k0, second & MASK,
            (first >> 32 & MASK) ^ c3 ^ k1, first & MASK,
        )  # fmt: skip
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Field:
    """What the formulas need of the numbers of one dtype besides operators.

    `real` makes a number of an integer (below 2**31 for float32), rounded to nearest; `bits` and
    `as_real` read a number's bits as an integer and back.
    """

    real: Callable[[Any], Any]
    bits: Callable[[Any], Any]
    as_real: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    where: Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Format:
    """A floating format: bits of the mantissa, of sqrt(1/2), and how many terms series have."""

    mantissa: int
    sqrt_half: int
    terms: int


SINGLE = Format(23, 0x3F3504F3, 5)
DOUBLE = Format(52, 0x3FE6A09E667F3BCD, 11)


def _whole(first: Any, second: Any) -> Any:
    """The top 53 bits of two words."""
    return first << 21 | second >> 11


def uniform(field: Field, dtype: str, block: Words) -> Any:
    """A number in [0, 1): a multiple of 2**-24 in float32, of 2**-53 in float64, and, for float16,
    of 2**-11, as a float32. Its bits are the top ones of word 0, followed by those of word 1."""
    if dtype == "float64":
        return field.real(_whole(block[0], block[1])) * 2.0**-53
    bits = 11 if dtype == "float16" else 24
    return field.real(block[0] >> (32 - bits)) * 2.0**-bits


def normal(field: Field, dtype: str, block: Words) -> Any:
    """A number of the standard normal distribution: sqrt(-2 log u) cos(2 pi v), of one block.

    float64: u in (0, 1] from words 0 and 1, v in [0, 1) from words 2 and 3, 53 bits each. float32:
    u = k 2**-31 + 2**-32 of the top 31 bits k of word 0, v the top 24 bits of word 1. The largest
    is 8.57, or 6.66 in float32.
    Source: G. E. P. Box and M. E. Muller, Annals of Mathematical Statistics 29 (1958).
    """
    if dtype == "float64":
        u = field.real(_whole(block[0], block[1]) + 1) * 2.0**-53
        return _radius(field, DOUBLE, u) * _cosine(field, DOUBLE, _whole(block[2], block[3]), 53)
    u = field.real(block[0] >> 1) * 2.0**-31 + 2.0**-32
    return _radius(field, SINGLE, u) * _cosine(field, SINGLE, block[1] >> 8, 24)


def _series(x: Any, coefficients: Sequence[float]) -> Any:
    result = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        result = result * x + coefficient
    return result


def _radius(field: Field, form: Format, u: Any) -> Any:
    """sqrt(-2 log u) for u in (0, 1]; u = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2))."""
    above = field.bits(u) - form.sqrt_half
    k = field.real(above >> form.mantissa)
    f = field.as_real((above & (1 << form.mantissa) - 1) + form.sqrt_half) - 1.0
    s = f / (f + 2.0)  # log(1 + f) = 2 artanh(s)
    z = s * s
    artanh = s * _series(z, [1 / (2 * n + 1) for n in range(form.terms)])
    return field.sqrt((k * math.log(2) + artanh * 2.0) * -2.0)


def _cosine(field: Field, form: Format, v: Any, bits: int) -> Any:
    """cos(2 pi v / 2**bits): the nearest quarter of the turn, and the angle from there."""
    quarter = v + (1 << bits - 3) >> bits - 2
    angle = field.real(v - (quarter << bits - 2)) * (math.pi * 2.0 ** (1 - bits))
    z = angle * angle
    count = (form.terms + 5) // 2
    sine = angle * _series(z, [(-1.0) ** n / math.factorial(2 * n + 1) for n in range(count)])
    cosine = _series(z, [(-1.0) ** n / math.factorial(2 * n) for n in range(count + 1)])
    size = field.where((quarter & 1) == 0, cosine, sine)
    return field.where((quarter + 1 & 2) == 0, size, size * -1.0)


FORMULAS = {"uniform": uniform, "normal": normal}


# ---- in NumPy ------------------------------------------------------------------------------------


def _numpy_field(real: str, integer: str) -> Field:
    return Field(
        lambda i: i.astype(real), lambda x: x.view(integer), lambda b: b.view(real), np.sqrt,
        np.where,
    )  # fmt: skip


_NUMPY = {
    "float32": _numpy_field("float32", "int32"), "float64": _numpy_field("float64", "int64"),
}  # fmt: skip


def draw(distribution: str, dtype: str, key: Any, calls: Any, index: Any) -> np.ndarray:
    """Element `index` of draw `calls` under `key` of "uniform" or "normal" numbers, broadcast.

    float16 gives float32, to be rounded.
    """
    wide = "float64" if dtype == "float64" else "float32"
    with np.errstate(over="ignore"):
        key, calls, index = (np.atleast_1d(np.asarray(x, "int64")) for x in (key, calls, index))
        block = words(key, calls, index)
        result = FORMULAS[distribution](_NUMPY[wide], dtype, block)
    assert result.dtype == wide
    return np.asarray(result)
