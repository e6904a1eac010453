"""Loops: states, taps, mapped values, carries, conditions, loops in loops."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph.tensor as T
from symgraph.loops import scan, scan_checkpoints, until
from symgraph.ops.inner import InnerGraph
from symgraph.ops.scan import Scan
from tests.zoo.case import Case, Failure, In

X, H, W = In((4, 3)), In((3,)), In((3, 3))


def rnn(x: Any, h: Any, w: Any) -> Any:
    return scan(lambda x, h, w: T.tanh(T.dot(h, w) + x), x, h, w)[0]


def rnn_of_numpy(x: Any, h: Any, w: Any) -> Any:
    rows = []
    for row in x:
        h = np.tanh(h.dot(w) + row)
        rows.append(h)
    return np.array(rows).reshape(x.shape)


def fibonacci(initial: Any, w: Any) -> Any:
    def step(a: Any, b: Any, w: Any) -> Any:
        return T.sin(a) * w + b

    return scan(step, None, [dict(initial=initial, taps=[-3, -1])], w, n_steps=5)[0]


def fibonacci_of_numpy(initial: Any, w: Any) -> Any:
    rows = list(initial)
    for _ in range(5):
        rows.append(np.sin(rows[-3]) * w + rows[-1])
    return np.array(rows[3:])


def pairs(x: Any, w: Any) -> Any:
    return scan(lambda a, b, w: T.dot(a * b, w), dict(input=x, taps=[-1, 1]), None, w)[0]


def carried(x: Any, c: Any) -> Any:
    row, kept = T.dvector("row"), T.dvector("kept")
    op = Scan(InnerGraph([row, kept], [row * kept, kept * 0.5 + row]), 1, (), 1, 1)
    mapped, end = op(T.shape(x)[0], x, c)
    return T.concatenate([mapped, end.dimshuffle("x", 0)])


def carried_of_numpy(x: Any, c: Any) -> Any:
    rows = []
    for row in x:
        rows.append(row * c)
        c = c * 0.5 + row
    return np.array([*rows, c])


def stopped(x: Any) -> Any:
    one = T.constant(1.0, dtype="float64")
    (m, h), _ = scan(lambda e, h: ([e * h, h + e], until(h + e > 2.5)), x, [None, one])
    return m + h


def nested(x: Any, w: Any) -> Any:
    def row_of(row: Any, total: Any, w: Any) -> Any:
        return scan(lambda e, h: T.tanh(h * w + e), row, total)[0][-1]

    return scan(row_of, x, T.constant(0.5, dtype="float64"), w)[0]


def nested_of_numpy(x: Any, w: Any) -> Any:
    h, rows = 0.5, []
    for row in x:
        for e in row:
            h = np.tanh(h * w + e)
        rows.append(h)
    return np.array(rows)


def blocks(x: Any, h: Any, w: Any) -> Any:
    return scan_checkpoints(lambda x, h, w: T.tanh(T.dot(h, w) + x), x, [h], w, save_every_N=3)[0]


CASES: list[Case] = [
    Case("states", rnn, (X, H, W), rnn_of_numpy, pattern=(False, False)),
    Case("no-steps", rnn, (In((0, 3)), H, W), rnn_of_numpy),
    Case("taps", fibonacci, (In((3, 2)), In()), fibonacci_of_numpy),
    Case("mapped", pairs, (X, W), lambda x, w: (x[:-2] * x[2:]).dot(w)),
    Case("carries", carried, (X, H), carried_of_numpy),
    Case("until", stopped, (In((5,), values=[0.2, -0.1, 2.0, 5.0, 7.0]),),
         lambda x: np.array([0.2 + 1.2, -0.12 + 1.1, 2.2 + 3.1]), ()),
    Case("nested", nested, (In((3, 2)), In()), nested_of_numpy),
    Case("checkpoints", blocks, (X, H, W), lambda x, h, w: rnn_of_numpy(x, h, w)[[2, 3]]),
    Case("float32", lambda x: scan(lambda e, h: h * e, x, np.float32(1))[0],
         (In((5,), "float32"),), np.cumprod, (), "float32"),
    Case("integers", lambda x: scan(lambda e, h: h * 3 + e, x, np.int64(1))[0],
         (In((4,), "int64", values=[1, -2, 3, 4]),), lambda x: np.array([4, 10, 33, 103]), (),
         "int64"),
]  # fmt: skip

vector = T.dvector

FAILURES: list[Failure] = [
    Failure("scan-dtype", lambda: scan(lambda e, h: e + h, vector("x"), np.float32(0)), TypeError,
            ("float64", "float32", "zoo/scan.py")),
    Failure("scan-ndim", lambda: scan(lambda h: h * vector("x"), None, 1.0, n_steps=3), TypeError,
            ("output 0",)),
    Failure("scan-no-length", lambda: scan(lambda: vector("x")), ValueError, ("number of steps",)),
]  # fmt: skip
