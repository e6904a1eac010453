"""Records of comparisons, choices, bits, rounding and casts."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph.tensor as T
from tests.zoo.case import Case, In
from tests.zoo.elementwise import (
    BITS,
    COL,
    EDGE,
    EDGE32,
    EDGE_COL,
    EDGE_ROW,
    I8,
    INTS,
    OTHER_BITS,
    ROW,
    A,
    quiet,
)


def away(x: Any) -> Any:
    return np.where(x == x, np.copysign(np.floor(np.abs(x) + 0.5), x), x)


COMPARISONS = {
    "eq": np.equal,
    "neq": np.not_equal,
    "lt": np.less,
    "gt": np.greater,
    "le": np.less_equal,
    "ge": np.greater_equal,
}
COMPARED = [
    Case(f"{name}_{kind}", getattr(T, name), pair, function, (), "bool")
    for name, function in COMPARISONS.items()
    for kind, pair in {
        "float64": (EDGE_ROW, EDGE_COL),
        "int8_uint8": (INTS["int8"], INTS["uint8"]),
    }.items()
]

CHOICES = [
    Case("switch", T.switch, (In((3, 4), "bool"), A, ROW), np.where),
    Case(
        "switch_number",
        lambda c, x: T.switch(c, x, 0),
        (In((3, 1), "int8", 0, 1, (False, True)), A),
        lambda c, x: np.where(c, x, 0),
        dtype="float64",
    ),
    Case("switch_float_condition", T.switch, (EDGE, In(()), In(())), np.where, (1, 2)),
    Case(
        "switch_dtype",
        T.switch,
        (BITS, In((2, 2), "int8"), In((2, 2), "float32")),
        np.where,
        dtype="float32",
    ),
    Case(
        "switch_nan",
        lambda x: T.switch(T.isnan(x), 0, x),
        (EDGE,),
        lambda x: np.where(np.isnan(x), 0, x),
        (),
    ),
    # rule 23: slope 1 on the closed interval; x < min is asked first
    Case("clip", lambda x: T.clip(x, -0.5, 1.0), (A,), lambda x: np.clip(x, -0.5, 1.0)),
    Case(
        "clip_bounds",
        T.clip,
        (A, COL, In((), low=0.5, high=1.0)),
        lambda x, a, b: np.where(x < a, a, np.where(x > b, b, x)),
    ),
    Case(
        "clip_crossed",
        lambda x: T.clip(x, 1.0, -1.0),
        (A,),
        lambda x: np.where(x < 1, 1.0, -1.0),
        (),
    ),
    Case("clip_edges", lambda x: T.clip(x, -1, 1), (EDGE,), lambda x: np.clip(x, -1, 1), ()),
    Case("clip_int8", lambda x: T.clip(x, -5, 5), (I8,), lambda x: np.clip(x, -5, 5), dtype="int8"),
    Case(
        "clip_gradient_at_bounds",
        lambda x: T.grad(T.clip(x, 0.0, 1.0).sum(), x),
        (In(values=[0.0, 1.0, 0.5, -1.0, 2.0]),),
        lambda x: np.array([1.0, 1, 1, 0, 0]),
        (),
    ),
    Case("isnan", T.isnan, (EDGE,), np.isnan, dtype="bool"),
    Case("isinf", T.isinf, (EDGE,), np.isinf, dtype="bool"),
    Case("isnan_int", T.isnan, (I8,), np.isnan, dtype="bool"),
    Case("isinf_float32", T.isinf, (EDGE32,), np.isinf, dtype="bool"),
    Case("second", T.second, (A, ROW), lambda x, y: np.broadcast_to(y, x.shape), (1,)),
    Case(
        "fill",
        lambda x: T.fill(x, 7),
        (In((2, 3), "float32"),),
        lambda x: np.full((2, 3), 7, "int8"),
        dtype="int8",
    ),
    Case(
        "bits_bool",
        lambda x, y: T.stack([x & y, x | y, x ^ y, ~x]),
        (BITS, OTHER_BITS),
        lambda x, y: np.stack([x & y, x | y, x ^ y, ~x]),
        dtype="bool",
    ),
    Case(
        "bitwise_names",
        lambda x, y: T.bitwise_and(x, T.bitwise_or(y, T.bitwise_xor(x, T.bitwise_not(y)))),
        (INTS["int32"], INTS["int32"]),
        lambda x, y: x & (y | (x ^ ~y)),
        dtype="int32",
    ),
]

# rule 38
HALVES = In(
    values=[0.5, 1.5, 2.5, -0.5, -1.5, 0.49999999999999994, np.nan, np.inf, -np.inf, 4.5e15]
)
ROUNDING = [
    Case("round", lambda x: T.round(x, "half_to_even"), (HALVES,), np.rint, ()),
    Case(
        "round_away",
        lambda x: T.round(x, "half_away_from_zero"),
        (In(values=[0.5, 1.5, 2.5, -0.5, -1.5, 0.3, np.nan, np.inf]),),
        quiet(away),
        (),
    ),
    Case(
        "iround",
        lambda x: T.iround(x, "half_to_even"),
        (In(values=[0.5, 1.5, -2.5, 3.2]),),
        lambda x: np.rint(x).astype("int64"),
        dtype="int64",
    ),
    Case(
        "round_float32",
        lambda x: T.round(x, "half_to_even"),
        (In((5,), "float32"),),
        np.rint,
        dtype="float32",
    ),
    Case("abs_int8", abs, (INTS["int8"],), np.abs, dtype="int8"),
    Case("abs_bool", abs, (BITS,), np.abs, dtype="bool"),
    Case("sgn_int8", T.sgn, (I8,), np.sign, dtype="int8"),
    Case("sqr_int8", T.sqr, (INTS["int8"],), np.square, dtype="int8"),
    Case("neg_uint8", T.neg, (INTS["uint8"],), np.negative, dtype="uint8"),
]

CASTS = [
    Case(
        f"cast_{a}_{b}",
        lambda x, b=b: T.cast(x, b),
        (In((2, 3), a, 0, 100),),
        lambda x, b=b: x.astype(b),
        (),
        b,
    )
    for a, b in [
        ("float64", "float32"),
        ("float64", "int8"),
        ("float32", "uint8"),
        ("int64", "int8"),
        ("int8", "uint8"),
        ("bool", "float32"),
        ("float64", "bool"),
        ("float64", "float16"),
        ("float16", "float64"),
        ("uint64", "float32"),
        ("int32", "bool"),
        ("float16", "int64"),
    ]
] + [
    Case(
        "cast_gradient",
        lambda x: T.cast(x, "float32") * 3,
        (A,),
        lambda x: x.astype("float32") * np.float32(3),
        (),
        "float32",
    ),
    Case("cast_astype", lambda x: x.astype("int32"), (A,), lambda x: x.astype("int32")),
    Case(
        "cast_truncates",
        lambda x: T.cast(x, "int64"),
        (In(values=[1.9, -1.9, 2.5, -0.1]),),
        lambda x: np.array([1, -1, 2, 0]),
        (),
    ),
    Case("real", T.real, (A,), lambda x: x),
    Case("conj", T.conj, (A,), lambda x: x),
    Case(
        "float32_chain",
        lambda x: T.exp(-T.sqr(x)) / (1 + abs(x)),
        (In((6, 5), "float32"),),
        lambda x: np.exp(-np.square(x)) / (1 + np.abs(x)),
        dtype="float32",
    ),
    Case(
        "float16_chain",
        lambda x: T.tanh(x * 2) + x,
        (In((6,), "float16"),),
        lambda x: (np.tanh(x.astype("float32") * 2) + x).astype("float16"),
        dtype="float16",
    ),
    # rule 1
    Case(
        "literal_exact",
        lambda x: x * 1.5,
        (In((3,), "float32"),),
        lambda x: x * np.float32(1.5),
        dtype="float32",
    ),
    Case(
        "literal_inexact",
        lambda x: x * 1.1,
        (In((3,), "float32"),),
        lambda x: x.astype("float64") * 1.1,
        dtype="float64",
    ),
]

CASES = [*COMPARED, *CHOICES, *ROUNDING, *CASTS]
