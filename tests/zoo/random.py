"""Draws from states that are given: what must come out, by NumPy and by the generators' papers."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.ops import random_mersenne as M
from symgraph.ops.philox import draw
from symgraph.ops.random import affine
from symgraph.ops.random_mrg import MRGUniform, streams_from
from symgraph.ops.random_philox import PhiloxDraw
from symgraph.ops.random_samples import (
    ChoiceFromUniform,
    classes,
    distinct_classes,
    multinomial_counts,
    trials,
)
from symgraph.random_state import pack, unpack
from tests.zoo.case import Case, Failure, In


def mersenne(seed: int, skip: int = 0, gauss: bool = False) -> In:
    state = np.random.RandomState(seed)
    state.randint(0, 2**32, skip, dtype="uint32")
    if gauss:
        state.standard_normal()
    return In((628,), "uint32", values=pack(state))


def philox(*state: int) -> In:
    return In((2,), "int64", values=state)


FRESH, NEARLY_USED = mersenne(5), mersenne(6, skip=623)
STREAMS = In((4, 6), "int32", values=streams_from(np.array([1, 2, 3, 4, 5, 6], "int32"), 4))
STEP_1 = np.array([[0, 4194304, 129], [1, 0, 0], [0, 1, 0]], dtype=object)
STEP_2 = np.array([[32768, 0, 32769], [1, 0, 0], [0, 1, 0]], dtype=object)


def mrg(states: np.ndarray, count: int) -> list[int]:
    """The numbers of MRG31k3p by its definition, in exact integers: one for each stream in turn."""
    rows = [(row[:3].astype(object), row[3:].astype(object)) for row in states]
    drawn = []
    for k in range(count):
        x, y = rows[k % len(rows)]
        x, y = STEP_1 @ x % (2**31 - 1), STEP_2 @ y % (2**31 - 21069)
        rows[k % len(rows)] = x, y
        drawn.append(int((x[0] - y[0] - 1) % (2**31 - 1) + 1))
    return drawn


def as_floats(z: list[int], dtype: str) -> Any:
    norm = {"float32": np.float32(4.6566126e-10), "float64": 2.0**-31}
    return np.array(z, dtype) * norm[dtype]


def drawn_by_philox(distribution: str, dtype: str, shape: tuple[int, ...]) -> Any:
    def expect(state: np.ndarray) -> Any:
        index = np.arange(np.prod(shape)).reshape(shape)
        return draw(distribution, dtype, state[0], state[1], index).astype(dtype)

    return expect


def philox_case(distribution: str, dtype: str, shape: tuple[int, ...]) -> Case:
    op = PhiloxDraw(dtype, (False,) * len(shape), distribution)
    return Case(f"philox-{distribution}-{dtype}", lambda s: op(s, *shape), (philox(-7, 3),),
                drawn_by_philox(distribution, dtype, shape), (), dtype)  # fmt: skip


def mersenne_case(name: str, build: Any, expect: Any, state: In = FRESH) -> Case:
    return Case(f"mersenne-{name}", lambda s: build(s)[1], (state,),
                lambda s: expect(unpack(s)), ())  # fmt: skip


def after(state: np.random.RandomState, draw: Any) -> np.ndarray:
    draw(state)
    return pack(state)


P = In((2, 3), values=[[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])

CASES: list[Case] = [
    *(
        philox_case(distribution, dtype, shape)
        for distribution in ("uniform", "normal")
        for dtype, shape in (("float16", (70,)), ("float32", (3, 33)), ("float64", (2, 3, 7)))
    ),
    Case("philox-fused", lambda s, x: PhiloxDraw("float32", (False,), "normal")(s, 9) * x,
         (philox(1, 2**40), In((9,), "float32")),
         lambda s, x: drawn_by_philox("normal", "float32", (9,))(s) * x, ()),
    Case("mrg-float64", lambda s: MRGUniform("float64", (False, False))(s, 3, 5)[1], (STREAMS,),
         lambda s: as_floats(mrg(s, 15), "float64").reshape(3, 5), (), "float64"),
    Case("mrg-float32", lambda s: MRGUniform("float32", (False,))(s, 1000)[1], (STREAMS,),
         lambda s: as_floats(mrg(s, 1000), "float32"), (), "float32", rtol=0),
    Case("mrg-float16", lambda s: MRGUniform("float16", (False,))(s, 300)[1], (STREAMS,),
         lambda s: ((np.array(mrg(s, 300)) & 32767) + 1) * np.float64(np.float16(3.0458e-5)), (),
         "float16"),
    Case("mrg-state", lambda s: MRGUniform("float32", (False,))(s, 3)[0], (STREAMS,),
         lambda s: np.array([
             [(4194304 * r[1] + 129 * r[2]) % (2**31 - 1), r[0], r[1],
              (32768 * r[3] + 32769 * r[5]) % (2**31 - 21069), r[3], r[4]]
             for r in s.astype(object)[:3]
         ] + [list(s[3])]).astype("int64"), (), "int32"),
    mersenne_case("uniform", lambda s: M.uniform(s, (40, 20)), lambda r: r.random_sample((40, 20))),
    mersenne_case("odd", lambda s: M.uniform(s, (1000,)), lambda r: r.random_sample(1000),
                  NEARLY_USED),
    mersenne_case("range", lambda s: M.uniform(s, (9,), -1.3, 2.7),
                  lambda r: r.uniform(-1.3, 2.7, 9)),
    mersenne_case("normal", lambda s: M.normal(s, (700,), 0.3, 1.7),
                  lambda r: r.normal(0.3, 1.7, 700)),
    mersenne_case("normal-kept", lambda s: M.normal(s, (5,)), lambda r: r.normal(size=5),
                  mersenne(7, gauss=True)),
    mersenne_case("binomial", lambda s: M.binomial(s, (500,), 1, 0.3),
                  lambda r: r.binomial(1, 0.3, 500)),
    mersenne_case("likely", lambda s: M.binomial(s, (500,), 1, 0.8),
                  lambda r: r.binomial(1, 0.8, 500)),
    mersenne_case("binomial-7", lambda s: M.binomial(s, (9,), 7, 0.3),
                  lambda r: r.binomial(7, 0.3, 9)),
    mersenne_case("integers", lambda s: M.random_integers(s, (9,), 3, 17),
                  lambda r: r.randint(3, 18, 9)),
    mersenne_case("integers-one-by-one", lambda s: M.random_integers(s, None, [0, 10], [5, 1000]),
                  lambda r: [r.randint(0, 6), r.randint(10, 1001)]),
    mersenne_case("choice", lambda s: M.choice(s, (9,), 5), lambda r: r.choice(5, 9)),
    mersenne_case("choice-distinct", lambda s: M.choice(s, (3,), np.array([4, 6, 8]), False),
                  lambda r: r.choice([4, 6, 8], 3, False)),
    mersenne_case("choice-weighted", lambda s: M.choice(s, (9,), 3, p=[0.1, 0.2, 0.7]),
                  lambda r: r.choice(3, 9, p=[0.1, 0.2, 0.7])),
    mersenne_case("poisson", lambda s: M.poisson(s, (9,), 3.5), lambda r: r.poisson(3.5, 9)),
    mersenne_case("permutation", lambda s: M.permutation(s, (2,), 5),
                  lambda r: [r.permutation(5), r.permutation(5)]),
    mersenne_case("multinomial", lambda s: M.multinomial(s, (3,), 10, [0.2, 0.3, 0.5]),
                  lambda r: r.multinomial(10, [0.2, 0.3, 0.5], 3)),
    Case("mersenne-state", lambda s: M.uniform(s, (700,))[0], (FRESH,),
         lambda s: after(unpack(s), lambda r: r.random_sample(700)), (), "uint32"),
    Case("mersenne-state-kept", lambda s: M.normal(s, (3,))[0], (FRESH,),
         lambda s: after(unpack(s), lambda r: r.normal(size=3)), (), "uint32"),
    Case("affine", lambda x, a, b: affine(x, a, b, "float64"), (In((3, 4)), In((4,)), In()),
         lambda x, a, b: x * a + b),
    Case("trials", lambda u, p: trials(u, p, "int64"), (In((20, 3), low=0, high=1), In((3,))),
         lambda u, p: (u < p).sum(0), (), "int64"),
    Case("multinomial-counts", lambda p, u: multinomial_counts(p, u, "int64"),
         (P, In((4, 2), values=[[0.05, 0.5], [0.15, 0.6], [0.2, 0.9], [0.35, 0.99]])),
         lambda p, u: [[1, 2, 1], [0, 2, 2]], (), "int64"),
    Case("classes", classes, (P, In((2, 3), values=[[0.0, 0.2, 0.35], [0.49, 0.5, 1.5]])),
         lambda p, u: [[0, 1, 2], [0, 1, 2]], (), "int64"),
    Case("distinct-classes", lambda p, u: distinct_classes(p, u, 2),
         (P, In((2, 3), values=[[0.5, 0.5, 0.5], [0.5, 0.5, 0.0]])),
         lambda p, u: [[2, 1], [2, 0]], (), "int64"),
    Case("choice-from-uniform", lambda p, u: ChoiceFromUniform()(p, u, 2),
         (P, In((4,), values=[0.95, 0.1, 0.4, 0.7])), lambda p, u: [[2, 1], [0, 2]], (), "int64"),
]  # fmt: skip

FAILURES: list[Failure] = [
    Failure("no-state", lambda: M.uniform(np.zeros(3), (2,)), TypeError, ("random state",)),
    Failure("negative", lambda: M.uniform(pack(np.random.RandomState(1)), (-2,)), ValueError,
            ("negative",)),
    Failure("ndim", lambda: M.uniform(pack(np.random.RandomState(1)), (2,), ndim=3), ValueError,
            ("ndim=3",)),
    Failure("probability", lambda: M.binomial(pack(np.random.RandomState(1)), (2,), 1, 1.5),
            ValueError, ("p > 1", "1.5")),
]  # fmt: skip
