"""What compiling costs, counted: work linear in the graph, and nothing compiled twice."""

from __future__ import annotations

import gc
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile import cache
from symgraph.compile.function import _say
from symgraph.compile.pipeline import Options

PACKAGE = str(symgraph.__path__[0])


def calls_in(function: Callable[[], Any]) -> int:
    """How many functions of symgraph are called while `function` runs."""
    count = 0

    def watch(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def chain(x: Any, size: int) -> Any:
    for _ in range(size):
        x = T.sin(T.tanh(x))
    return x


def wide(x: Any, size: int) -> Any:
    parts = [T.tanh(x * (k + 1.5)) for k in range(size)]
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def residual(x: Any, size: int) -> Any:
    for _ in range(size):
        x = x + T.tanh(x.sum(axis=0, keepdims=True) * x)
    return x


def layers(x: Any, size: int) -> Any:
    w = symgraph.shared(np.eye(4))
    for _ in range(size):
        x = T.tanh(T.dot(x, w))
    return x


@pytest.mark.parametrize("build", [chain, wide, residual, layers])
def test_work_is_linear_in_the_size_of_the_graph(build: Callable[..., Any]) -> None:
    def compiled(size: int) -> int:
        x = T.dmatrix("x")

        def work() -> None:
            cost = build(x, size).sum()
            symgraph.function([x], [cost, T.grad(cost, x)], mode=Options("python"))

        return calls_in(work)

    compiled(8)  # what is made once for all
    small, large = compiled(64), compiled(256)
    assert large < 4 * 1.15 * small


def test_the_collector_is_on_again() -> None:
    x = T.dscalar("x")
    assert gc.isenabled()
    symgraph.function([x], x + 1, mode=Options("python"))
    assert gc.isenabled()
    with pytest.raises(symgraph.errors.MissingInputError):
        symgraph.function([], x + 1)
    assert gc.isenabled()


def test_the_line_about_compiling_can_be_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    _say("symgraph: compiling")
    with symgraph.config.change_flags(announce_compiling=False):
        _say("symgraph: still compiling")
    assert capsys.readouterr().err == "symgraph: compiling\n"


def network() -> tuple[Any, Any, Any, list[Any]]:
    rng = np.random.RandomState(0)
    x, y = T.ftensor4("x"), T.ivector("y")
    w = symgraph.shared(rng.randn(4, 1, 3, 3).astype("float32"))
    v = symgraph.shared(rng.randn(4 * 9, 5).astype("float32"))
    h = T.nnet.conv2d(x, w, filter_shape=(4, 1, 3, 3), input_shape=(None, 1, 8, 8))
    h = T.tanh(T.signal.pool.pool_2d(h, (2, 2), ignore_border=True))
    return x, y, T.nnet.softmax(T.dot(h.flatten(2), v)), [w, v]


def kernels_compiled(function: Callable[[], Any]) -> int:
    before = cache.statistics()
    function()
    after = cache.statistics()
    return after.compiled + after.hits - before.compiled - before.hits


def test_functions_of_one_model_share_kernels() -> None:
    x, y, p, params = network()
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
    error = T.mean(T.neq(T.argmax(p, axis=1), y))
    updates = [(w, w - np.float32(0.1) * T.grad(cost, w)) for w in params]
    train = symgraph.function([x, y], cost, updates=updates)
    first = symgraph.function([x, y], error)
    forward = {source for source in sources(first) if source in sources(train)}
    assert len(forward) >= 2  # the convolution and the product
    other, labels, q, _ = network()
    again = T.mean(T.neq(T.argmax(q, axis=1), labels))
    assert kernels_compiled(lambda: symgraph.function([other, labels], again)) == 0


def sources(function: Any) -> set[str]:
    return {kernel.source for kernel in function.kernels()}


def test_another_batch_size_compiles_nothing() -> None:
    """Also where it is declared: of the batch, a kernel holds no literal."""
    found = []
    for batch in (6, 10):
        x = T.ftensor4("x")
        w = symgraph.shared(np.ones((4, 1, 3, 3), "float32"))
        shape = (batch, 1, 8, 8)
        h = T.nnet.conv2d(x, w, filter_shape=(4, 1, 3, 3), input_shape=shape)
        h = T.tanh(T.signal.pool.pool_2d(h, (2, 2), ignore_border=True))
        cost = (h.flatten(2) ** 2).sum()
        f = symgraph.function([x], cost, updates=[(w, w - T.grad(cost, w))])
        f(np.ones(shape, "float32"))
        found.append(sources(f))
    assert found[0] == found[1]


def test_a_deeper_residual_network_needs_no_further_kernels() -> None:
    path = Path(__file__).parent.parent / "examples" / "residual_network.py"
    network = runpy.run_path(str(path))["ResidualNetwork"]
    found = [sources(network(layers).training_function()) for layers in (20, 29)]
    assert found[0] == found[1]
    with pytest.raises(ValueError, match=r"21 layers: expected 9 n \+ 2"):
        network(21)
