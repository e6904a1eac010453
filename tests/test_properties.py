"""Random graphs: compiled, interpreted and rewritten in any way, they mean what the oracle says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import symgraph
import symgraph.tensor as T
from symgraph.compile.pipeline import Options
from symgraph.graph import Variable
from tests.oracle import evaluate

SIZES = (1, 2, 3, 5)
SLICES = (slice(None), slice(None, None, -1), slice(0, 2), slice(1, None), slice(None, None, 2))

UNARY = (T.tanh, T.sqr, T.neg, abs, lambda x: T.exp(-T.sqr(x)), lambda x: x * 0.5 + 1)
BINARY = (T.add, T.sub, T.mul, T.maximum, lambda x, y: T.switch(x > y, x, y * 2))
REDUCTIONS = (T.sum, T.max, T.min, T.mean)


@dataclass
class Grown:
    inputs: list[Variable]
    arrays: list[np.ndarray]
    outputs: list[Variable]


def _reduced(draw: Any, x: Any) -> Any:
    kind = draw(st.sampled_from(REDUCTIONS))
    axis = draw(st.sampled_from([None, *range(x.ndim)])) if x.ndim else None
    return kind(x, axis=axis, keepdims=draw(st.booleans()))


def _sliced(draw: Any, x: Any) -> Any:
    return x[tuple(draw(st.sampled_from(SLICES)) for _ in range(x.ndim))]


def _shuffled(draw: Any, x: Any) -> Any:
    order = list(draw(st.permutations(range(x.ndim))))
    if x.ndim < 3 and draw(st.booleans()):
        order.insert(draw(st.integers(0, len(order))), "x")
    return x.dimshuffle(*order)


def _picked(draw: Any, x: Any) -> Any:
    """Rows at positions that are themselves computed from what is there."""
    if not x.ndim:
        return x + 1
    kind = draw(st.sampled_from(["argsort", "argmax", "mask", "arange"]))
    if kind == "argsort":
        return x[T.argsort(x.sum(tuple(range(1, x.ndim))))]
    if kind == "argmax":
        return x[T.argmax(x.sum(tuple(range(1, x.ndim))))]
    if kind == "mask":
        return x[x.sum(tuple(range(1, x.ndim))) > 0]
    return x[T.arange(x.shape[0] - 1, -1, -1)]


def _written(draw: Any, x: Any) -> Any:
    if not x.ndim:
        return T.zeros_like(x)
    at = draw(st.sampled_from([0, slice(1, None), slice(None, None, -2)]))
    write = draw(st.sampled_from([T.set_subtensor, T.inc_subtensor]))
    value = draw(st.sampled_from([0.5, x[at] * 2]))
    return write(x[at], value)


def _gathered(draw: Any, x: Any) -> Any:
    """Joined, reshaped, cumulated or multiplied with itself."""
    if not x.ndim:
        return T.stack([x, x * 2])
    kind = draw(st.sampled_from(["join", "flat", "cumsum", "dot", "softmax"]))
    if kind == "join":
        return T.concatenate([x, T.tanh(x)], axis=x.ndim - 1)
    if kind == "flat":
        return x.flatten()
    if kind == "cumsum":
        return T.cumsum(x, axis=0)
    if x.ndim != 2 or x.broadcastable[1]:
        return T.sqr(x)
    return T.dot(x, x.T) if kind == "dot" else T.nnet.softmax(x)


def _shape(x: Variable, known: dict[Variable, np.ndarray]) -> tuple[int, ...]:
    return evaluate([x], known)[0].shape


def _fit(x: tuple[int, ...], y: tuple[int, ...], a: Any, b: Any) -> bool:
    """Whether the patterns let arrays of these shapes be combined."""
    pairs = list(
        zip(
            reversed(list(zip(x, a, strict=True))),
            reversed(list(zip(y, b, strict=True))),
            strict=False,
        )
    )
    return all(m == n or p or q for (m, p), (n, q) in pairs)


@st.composite
def graphs(draw: Any) -> Grown:
    """Two or three arrays, and what a few random steps make of them."""
    rng = np.random.RandomState(draw(st.integers(0, 1000)))
    rows, columns = draw(st.sampled_from(SIZES)), draw(st.sampled_from(SIZES))
    inputs = [T.dmatrix("x"), T.dmatrix("y"), T.dvector("v")]
    arrays = [rng.uniform(-2, 2, s) for s in ((rows, columns), (rows, columns), (columns,))]
    known = dict(zip(inputs, arrays, strict=True))
    pool: list[Any] = list(inputs)
    for _ in range(draw(st.integers(2, 8))):
        x = draw(st.sampled_from(pool))
        step = draw(st.sampled_from("ubbrstpwg"))
        shape = _shape(x, known)
        if 0 in shape and step in "rpwg":
            step = "u"
        if step == "b":
            fitting = [
                y for y in pool if _fit(shape, _shape(y, known), x.broadcastable, y.broadcastable)
            ]
            made = draw(st.sampled_from(BINARY))(x, draw(st.sampled_from(fitting)))
        elif step == "r":
            made = _reduced(draw, x)
        elif step == "p":
            made = _picked(draw, x)
        elif step == "w":
            made = _written(draw, x)
        elif step == "g":
            made = _gathered(draw, x)
        elif step == "s":
            made = _sliced(draw, x)
        elif step == "t":
            made = _shuffled(draw, x)
        else:
            made = draw(st.sampled_from(UNARY))(x)
        pool.append(made)
    outputs = pool[3:][-draw(st.integers(1, 3)) :]
    return Grown(inputs, arrays, outputs)


def check(grown: Grown, target: str, rewrites: str) -> None:
    note(f"{', '.join(map(symgraph.pp, grown.outputs))}")
    expected = evaluate(grown.outputs, dict(zip(grown.inputs, grown.arrays, strict=True)))
    f = symgraph.function(
        grown.inputs,
        grown.outputs,
        mode=Options(target=target, rewrites=rewrites),
        on_unused_input="ignore",
    )
    for value, wanted in zip(f(*grown.arrays), expected, strict=True):
        assert value.shape == wanted.shape
        assert value.dtype == wanted.dtype
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(graphs())
def test_interpreted(grown: Grown) -> None:
    """Under all sets of rewrites."""
    for rewrites in ("none", "fast_compile", "fast_run"):
        check(grown, "python", rewrites)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_compiled(grown: Grown) -> None:
    check(grown, "cpu", "fast_run")


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_gradients(grown: Grown) -> None:
    """What the compiler makes of gradients is what the oracle makes of them."""
    cost = sum((T.sum(T.sqr(o)) for o in grown.outputs), T.constant(0.0))
    gradients = symgraph.grad(cost, grown.inputs, disconnected_inputs="ignore")
    check(Grown(grown.inputs, grown.arrays, gradients), "python", "fast_run")
