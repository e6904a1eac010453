"""Functions that kernels call, and what Numba's front end does for them."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import types
from numba.core.codegen import CPUCodeLibrary
from numba.core.errors import TypingError
from numba.core.registry import cpu_target

from symgraph.compile import cache, codegen, frontend
from symgraph.compile.helpers import helper
from symgraph.compile.native import VOCABULARY
from tests.test_cache import CALL


@helper
def third(x: Any) -> Any:
    return x / 3 + x


@helper
def twice(x: Any) -> Any:
    return third(x) + third(x + 1)


@helper
def no_sum(x: Any) -> Any:
    return x + "text"


SOURCE = """\
from tests.test_helpers import no_sum, third, twice


def kernel(arrays, sizes, start, stop, worker):
    a = pointer_out(arrays, 0, float64)
    a[0] = {}
"""


def lowered(expression: str) -> llvm.ModuleRef:
    function = cache.execute(SOURCE.format(expression), "kernel", VOCABULARY)
    return codegen.lower(function, codegen.KERNEL_ARGUMENTS, cache.OPTIONS, "symbol")


def test_helpers_call_helpers() -> None:
    kernel = cache.build(SOURCE.format("twice(3.0) + third(6)"))
    out = np.zeros(1)
    arrays = np.array([out.ctypes.data])
    CALL(kernel.address)(arrays.ctypes.data, 0, 0, 1, 0)
    assert out[0] == pytest.approx((1 + 3) + (4 / 3 + 4) + (2 + 6), rel=1e-15)


def test_a_helper_is_in_a_kernel_once_and_with_its_flags() -> None:
    module = lowered("twice(a[1]) + third(a[2])")
    bodies = [f for f in module.functions if "third" in f.name and not f.is_declaration]
    assert len(bodies) == 1
    assert "fadd reassoc nsz arcp contract" in str(bodies[0])


def test_nothing_is_made_ready_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = []
    monkeypatch.setattr(CPUCodeLibrary, "finalize", lambda self: ready.append(self.name))
    lowered("third(float32(a[1]))")
    assert ready == []


def test_numba_is_asked_once_about_the_same_types(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = type(cpu_target.typing_context).resolve_function_type

    def watch(self: Any, function: Any, args: Any, kws: Any) -> Any:
        asked.append((function, tuple(map(types.unliteral, args))))
        return real(self, function, args, kws)

    monkeypatch.setattr(type(cpu_target.typing_context), "resolve_function_type", watch)
    frontend._typing.cache_clear()
    lowered("(a[1] + 1.0) * (a[2] + 2.0) + (a[3] + 3.0)")
    sums = [args for _, args in asked if args == (types.float64, types.float64)]
    assert len(sums) == 2  # one for +, one for *


def test_an_error_in_a_helper_is_told() -> None:
    with pytest.raises(TypingError, match="no_sum"):
        lowered("no_sum(a[1])")
