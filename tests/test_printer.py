"""The printed kernels, compared with tests/golden/kernels, and how their text may vary."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import expr as E
from symgraph.compile.kernel import LoopNest, Operand
from symgraph.compile.pipeline import Options
from symgraph.compile.printer import literal, print_kernel


def source(inputs: list[Any], output: Any) -> str:
    f = symgraph.function(inputs, output, mode=Options(target="python"))
    return "\n".join(k.source for k in f.kernels())


def _softmax_cost(x: Any, y: Any) -> Any:
    return -T.mean(T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y])


M, V, L = T.fmatrix, T.fvector, T.lvector
GOLDEN: dict[str, tuple[list[Any], Callable[..., Any]]] = {
    "add_tanh": ([M, V], lambda x, b: T.tanh(x + b)),
    "row_sum": ([M], lambda x: x.sum(1)),
    "column_sum": ([M], lambda x: x.sum(0)),
    "full_sum": ([M], lambda x: x.sum()),
    "softmax": ([M], T.nnet.softmax),
    "cross_entropy_gradient": ([M, L], lambda x, y: symgraph.grad(_softmax_cost(x, y), x)),
    "gather": ([M, L], lambda x, i: x[i]),
    "set_subtensor": ([M, V], lambda x, v: T.set_subtensor(x[1:, ::2], v)),
    "argmax": ([M], lambda x: T.argmax(x, axis=1)),
    "inc_rows": ([M, L, M], lambda x, i, y: T.inc_subtensor(x[i], y)),
    "integer_division": ([L, L], lambda x, y: x // y),
    "half_precision": ([T.TensorType("float16", (False,))], lambda x: T.exp(x) * 2),
    "transposed_and_reversed": ([M, M], lambda x, y: x.T[::-1] * y),
}


def build(name: str) -> str:
    kinds, function = GOLDEN[name]
    inputs = [kind(f"x{k}") for k, kind in enumerate(kinds)]
    return source(inputs, function(*inputs))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"kernels/{name}.py", build(name))


def test_the_text_is_the_same_every_time() -> None:
    """Kernels are cached by their text."""
    first = {name: build(name) for name in GOLDEN}
    rubbish = [object() for _ in range(1000)]  # other addresses, other hashes
    assert {name: build(name) for name in GOLDEN} == first
    del rubbish


def test_equal_kernels_of_different_functions_are_one() -> None:
    """Names of variables, values of sizes and constants are no part of the text."""
    x, y = T.dmatrix("x"), T.dmatrix("another")
    assert source([x], T.tanh(x * 2)) == source([y], T.tanh(y * 3))


def test_no_kernel_mentions_a_size() -> None:
    x = T.matrix("x", dtype="float32")
    f = symgraph.function([x], T.nnet.softmax(x), mode=Options(target="python"))
    f(np.ones((17, 23), "float32"))
    assert not any(re.search(r"\b(17|23)\b", k.source) for k in f.kernels())


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [(3, "int64", "3"), (-3, "int64", "(-3)"), (3, "int8", "int8(3)"), (True, "bool", "bool_(1)"),
     (0.1, "float64", "float64(0.1)"), (0.5, "float32", "float32(0.5)"),
     (np.inf, "float64", "float64(1e999)"), (-np.inf, "float32", "float32(-1e999)"),
     (np.nan, "float64", "float64(1e999 - 1e999)"), (255, "uint8", "uint8(255)")],
)  # fmt: skip
def test_literals(value: Any, dtype: str, text: str) -> None:
    constant = E.const(value, dtype)
    assert literal(constant) == text
    names = {n: getattr(np, n) for n in ("float32", "float64", "int8", "uint8", "bool_")}
    np.testing.assert_array_equal(eval(text, names), np.asarray(value, dtype))


def test_what_does_not_change_in_a_loop_is_computed_outside() -> None:
    n, m = E.item(T.lscalar("n")), E.item(T.lscalar("m"))
    i, j = E.index(n), E.index(m)
    a = Operand(T.dvector("a"), E.ZERO, "float64")
    out = Operand(T.dmatrix("out"), E.ZERO, "float64")
    dear = E.call(
        E.Scalar("exp", "exp({})", 20), (E._intern(E.Load, a, (i,), "float64", False),), "float64"
    )
    nest = LoopNest((i, j), [(out, E.add(E.mul(i, m), j), dear)], [])
    lines = print_kernel(nest).source.splitlines()
    depth = {line.strip(): len(line) - len(line.lstrip()) for line in lines}
    inner = next(d for text, d in depth.items() if text.startswith("for i1"))
    outside = next(d for text, d in depth.items() if "exp(" in text)
    assert outside == inner


def test_items_are_whole_rows_where_a_row_is_reduced() -> None:
    x = T.dmatrix("x")
    text = source([x], T.nnet.softmax(x))
    assert "for i0 in range(start, stop)" in text
    assert text.index("range(start, stop)") < text.index("maximum(")


def test_grains_follow_from_sizes_alone() -> None:
    """Small work is one chunk: it runs on the calling thread."""
    x = T.dmatrix("x")
    f = symgraph.function([x], T.tanh(x), mode=Options(target="python"))
    step = f._compiled.plan.steps[0]
    f(np.ones((4, 4)))
    tables = f._compiled.program.current.tables[0]
    assert step.grain is not None
    assert tables.steps[0, 5] >= tables.steps[0, 4]
