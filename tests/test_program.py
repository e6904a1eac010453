"""Compiled functions at run time: binding, threads, processes, memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile import cache, driver

ROOT = Path(__file__).parent.parent


def network() -> tuple[Any, list[Any], np.ndarray, np.ndarray]:
    """A small convolutional network's training function on `index`, its parameters and data."""
    rng = np.random.RandomState(3)
    images = rng.rand(60, 1, 12, 12).astype("float32")
    labels = rng.randint(0, 4, 60).astype("int32")
    x, y, index = T.ftensor4("x"), T.ivector("y"), T.lscalar("index")
    w = symgraph.shared(rng.randn(6, 1, 3, 3).astype("float32"), name="w")
    v = symgraph.shared(rng.randn(150, 4).astype("float32") * np.float32(0.1), name="v")
    hidden = T.tanh(T.signal.pool.pool_2d(T.nnet.conv2d(x, w), (2, 2), ignore_border=True))
    p = T.nnet.softmax(T.dot(hidden.flatten(2), v))
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
    data, target = symgraph.shared(images), symgraph.shared(labels)
    rows = slice(index * 20, (index + 1) * 20)
    train = symgraph.function(
        [index], cost,
        updates=[(q, q - np.float32(0.1) * T.grad(cost, q)) for q in (w, v)],
        givens={x: data[rows], y: target[rows]},
    )  # fmt: skip
    return train, [w, v], images, labels


def run_steps(threads: int) -> list[np.ndarray]:
    before = driver.workers()
    driver.set_threads(threads)
    try:
        train, params, _, _ = network()
        costs = [train(k % 3) for k in range(6)]
        return [np.array(costs), *(p.get_value() for p in params)]
    finally:
        driver.set_threads(before)


def test_bits_do_not_depend_on_threads() -> None:
    for one, two in zip(run_steps(1), run_steps(2), strict=True):
        assert one.tobytes() == two.tobytes()


def test_a_minibatch_at_another_place_binds_nothing() -> None:
    train, _, _, _ = network()
    for k in (0, 1, 2, 1):
        train(k)
    assert len(train._compiled.program.bound) == 1


def test_a_new_batch_size_compiles_nothing() -> None:
    x, w = T.matrix("x"), symgraph.shared(np.ones((3, 4)))
    f = symgraph.function([x], T.tanh(T.dot(x, w)).sum(axis=0))
    f(np.ones((2, 3)))
    before = cache.statistics().compiled
    for n in (1, 5, 0, 7, 2):
        np.testing.assert_allclose(f(np.ones((n, 3))), n * np.tanh([3.0] * 4))
    assert cache.statistics().compiled == before


def test_two_threads_may_call_the_same_function() -> None:
    x = T.vector("x")
    f = symgraph.function([x], [T.exp(x).sum(), x * 2])
    wrong: list[int] = []

    def work(n: int) -> None:
        data = np.full(n, 0.5)
        for _ in range(200):
            total, double = f(data)
            if abs(total - n * np.exp(0.5)) > 1e-9 * n or not (double == 1).all():
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in (10, 1000, 3000)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_results_are_the_callers_own() -> None:
    x = T.vector("x")
    s = symgraph.shared(np.arange(3.0))
    f = symgraph.function([x], [x, s, x[1:], x.reshape((1, 3)), x.dimshuffle(0)])
    data = np.array([1.0, 2, 3])
    first = f(data)
    for result in first:
        result[...] = -1
    np.testing.assert_array_equal(data, [1, 2, 3])
    np.testing.assert_array_equal(s.get_value(), [0, 1, 2])
    second = f(data)
    np.testing.assert_array_equal(second[1], [0, 1, 2])
    assert not any(np.shares_memory(a, b) for a in second for b in (*first, data))


def test_arguments_that_share_memory_with_an_update_are_read_first() -> None:
    for size in (4, 4000):  # small arguments are copied anyway
        s = symgraph.shared(np.ones(size))
        x = T.vector("x")
        f = symgraph.function([x], x.sum(), updates=[(s, s * 0 + x[::-1].cumsum())])
        own = s.get_value(borrow=True)
        assert f(own) == size
        np.testing.assert_array_equal(s.get_value(), np.arange(1, size + 1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes() -> None:
    code = (
        "import os, numpy as np, symgraph\n"
        "from symgraph import tensor as T\n"
        "x = T.vector('x')\n"
        "f = symgraph.function([x], T.tanh(x).sum())\n"
        "data = np.ones(1_000_000)\n"
        "want = f(data)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os._exit(0 if f(data) == want else 3)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    assert subprocess.run(command, cwd=ROOT, timeout=120).returncode == 0


def test_importing_loads_little() -> None:
    """Neither Numba nor the compiler, the pictures, or what only they use."""
    late = (
        "numba", "llvmlite", "matplotlib", "graphviz", "symgraph.draw", "symgraph.compile.plan",
        "symgraph.compile.cache", "symgraph.compile.library", "importlib.metadata", "subprocess",
    )  # fmt: skip
    code = (
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import symgraph\n"
        f"found = [m for m in {late} if m in sys.modules and m not in before]\n"
        "assert symgraph.draw.layers and not hasattr(symgraph, 'drawings')\n"
        "raise SystemExit(', '.join(found) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


def test_many_calls_keep_no_memory() -> None:
    x = T.matrix("x")
    f = symgraph.function([x], [T.tanh(x).sum(axis=0), x.T * 2])
    sizes = [np.ones((n, 5)) for n in (1, 2, 3, 400)]
    for data in sizes * 5:
        f(data)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            for data in sizes:
                f(data)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
