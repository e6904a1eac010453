"""Memory: temporaries share what they can, and what is dropped is gone."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import expr
from symgraph import tensor as T
from symgraph.compile import arena, binding
from symgraph.compile.arena import arrange, largest_live_set

ROOT = Path(__file__).parent.parent
BOUND = 1.2  # times the largest simultaneous live set


def weights(*shape: int) -> Any:
    return symgraph.shared(np.random.RandomState(sum(shape)).randn(*shape).astype("float32") * 0.1)


def descent(inputs: list[Any], cost: Any, params: list[Any]) -> Any:
    grads = T.grad(cost, params)
    updates = [(p, p - np.float32(0.1) * g) for p, g in zip(params, grads, strict=True)]
    return symgraph.function(inputs, cost, updates=updates)


def convolutional() -> tuple[Any, list[np.ndarray]]:
    x, y = T.ftensor4("x"), T.ivector("y")
    params = [weights(6, 1, 3, 3), weights(8, 6, 3, 3), weights(32, 4)]
    h = x
    for w in params[:2]:
        pooled = T.signal.pool.pool_2d(T.nnet.conv2d(h, w), (2, 2), ignore_border=True)
        h = T.tanh(pooled)
    p = T.nnet.softmax(T.dot(h.flatten(2), params[2]))
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
    data = np.random.rand(40, 1, 14, 14).astype("float32")
    return descent([x, y], cost, params), [data, np.zeros(40, "int32")]


def perceptron() -> tuple[Any, list[np.ndarray]]:
    x, params = T.fmatrix("x"), [weights(50, 80), weights(80, 30), weights(30, 60), weights(60, 5)]
    h: Any = x
    for w in params:
        h = T.tanh(T.dot(h, w))
    return descent([x], T.sqr(h).sum(), params), [np.ones((100, 50), "float32")]


def deep_chain() -> tuple[Any, list[np.ndarray]]:
    x = T.fmatrix("x")
    h: Any = x
    for k in range(30):
        h = T.nnet.softmax(T.dot(h, weights(20 + 7 * k % 31, 20 + 7 * (k + 1) % 31)))
    return symgraph.function([x], h), [np.ones((60, 20), "float32")]


def branches() -> tuple[Any, list[np.ndarray]]:
    x = T.fmatrix("x")
    parts = []
    for k, width in enumerate((16, 64, 32, 128, 8)):
        h = T.nnet.sigmoid(T.dot(T.tanh(T.dot(x, weights(24, width))), weights(width, 24)))
        parts.append(h if k % 2 else T.dot(h, weights(24, 24)))
    joined = T.dot(T.concatenate(parts, axis=1), weights(120, 5)).sum(axis=0)
    return symgraph.function([x], [joined, T.grad(joined.sum(), x)]), [np.ones((50, 24), "float32")]


@pytest.mark.parametrize("make", [convolutional, perceptron, deep_chain, branches])
def test_the_arena_is_near_the_largest_live_set(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def recorded(lifetimes: Any, sizes: Any) -> Any:
        found = arrange(lifetimes, sizes)
        asked.append((largest_live_set(lifetimes, sizes), found[1], len(sizes)))
        return found

    monkeypatch.setattr(binding, "arrange", recorded)
    f, data = make()
    f(*data)
    ((least, size, count),) = asked
    assert size == f._compiled.program.current.arena
    assert size <= BOUND * least + arena.ALIGN * count


def chain_spans(draw: random.Random, count: int) -> dict[int, tuple[int, int]]:
    return {k: (k, k + 1) for k in range(count)}


def training_spans(draw: random.Random, count: int) -> dict[int, tuple[int, int]]:
    """Activations that the gradients read in the opposite order."""
    return {k: (k, 2 * count - k) for k in range(count)}


def random_spans(draw: random.Random, count: int) -> dict[int, tuple[int, int]]:
    return {k: (k, k + int(draw.expovariate(0.2))) for k in range(count)}


@pytest.mark.parametrize("spans", [chain_spans, training_spans, random_spans])
@pytest.mark.parametrize("count", [5, 40, 300, 2000])
def test_an_arrangement_is_near_the_best(spans: Callable[..., Any], count: int) -> None:
    for seed in range(3):
        draw = random.Random(seed)
        lifetimes = spans(draw, count)
        sizes = {k: arena.ALIGN * draw.randint(1, 500) for k in lifetimes}
        _, size = arrange(lifetimes, sizes)
        assert size <= BOUND * largest_live_set(lifetimes, sizes)


# ---- what is dropped ----------------------------------------------------------------------------


def compile_one(k: int) -> Any:
    x, w = T.dmatrix("x"), symgraph.shared(np.ones((4, 4)))
    h = T.tanh(T.dot(x, w) + k)
    cost = T.sqr(h).sum()
    f = symgraph.function([x], [cost, h[k % 3 :]], updates=[(w, w - 0.1 * T.grad(cost, w))])
    f(np.ones((5, 4)))
    return f


def test_dropped_functions_leave_no_object_behind() -> None:
    """Nor entries in the tables of interned expressions."""
    for k in range(20):
        compile_one(50 + k)
    gc.collect()
    before = len(gc.get_objects()), len(expr._TABLE)
    for k in range(70, 120):
        compile_one(k)
    gc.collect()
    after = len(gc.get_objects()), len(expr._TABLE)
    assert after[0] - before[0] < 50, "objects for 50 functions"
    assert after[1] - before[1] < 5


def test_a_dropped_function_frees_its_memory_at_once() -> None:
    """Without the garbage collector, that is: a large block must not wait for it."""
    f = compile_one(0)
    gc.collect()
    gc.disable()
    try:
        program = f._compiled.program
        kept = [weakref.ref(o) for o in (f, program, program.arena, program.binder)]
        del f, program
        assert [ref() for ref in kept] == [None] * 4
    finally:
        gc.enable()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system has no /proc")
def test_dropped_functions_give_their_memory_back() -> None:
    """40 functions, each with 10 MB of shared values, temporaries and results of its own."""
    code = (
        "import numpy as np, symgraph\n"
        "from symgraph import tensor as T\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "def one(k):\n"
        "    x, w = T.dmatrix('x'), symgraph.shared(np.ones((500, 500)))\n"
        "    y = T.dot(T.tanh(T.dot(x, w)), w) + k\n"
        "    f = symgraph.function([x], [y, T.grad(y.sum(), w)])\n"
        "    f(np.ones((500, 500)))\n"
        "for k in range(20): one(k)\n"
        "before = resident()\n"
        "for k in range(20, 60): one(k)\n"
        "raise SystemExit(resident() - before > 100_000_000)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=300).returncode == 0
