"""The vocabulary's functions on a CUDA device: exact instructions, no C library, no spills."""

from __future__ import annotations

import re

import pytest

from symgraph.compile.cuda import codegen
from tests import cuda_assembly
from tests.test_mathlib import BINARY, FLOATS, INTEGERS, QUESTIONS, UNARY

CALLS = [f"{name}(a)" for name in UNARY]
CALLS += [f"{name}(a, b)" for name in (*BINARY, "arctan2")]
CALLS += ["affine(a, b, a)", "a / b", "1.0 / a", "1.0 / sqrt(a)", "a * b + a"]
OF_INTEGERS = [f"{name}(a, b)" for name in BINARY]
OF_INTEGERS += [f"{name}(a)" for name in ("absolute", "sgn", "invert", "float32", "float64")]


def source(calls: list[str], dtype: str) -> str:
    """A kernel that writes each of `calls`, of two operands, to an output of its own."""
    lines = ["def kernel(arrays, sizes):  # 256 threads", "    i = block() * 256 + thread()"]
    for k, name in enumerate("ab"):
        lines.append(f"    in{k} = pointer_in(arrays, {len(calls) + k}, {dtype})")
        lines.append(f"    {name} = in{k}[i]")
    for k, call in enumerate(calls):
        result = "bool_" if call.split("(")[0] in QUESTIONS else dtype
        result = call[:7] if call.startswith("float") else result
        lines.append(f"    out{k} = pointer_out(arrays, {k}, {result})")
        lines.append(f"    out{k}[i] = {call}")
    return "\n".join(lines) + "\n"


def assert_exact(ptx: str) -> None:
    """No approximation, no flushing of subnormals, rounding to nearest, nothing called."""
    found = re.findall(r"\S*\.(?:approx|ftz|full)\b\S*|\.extern.*|\bcall\b.*", ptx)
    assert not found
    for operation in ("div", "sqrt", "rcp"):
        of_floats = re.findall(rf"\b{operation}\.\S*f(?:32|64)\b", ptx)
        assert all(text.startswith(f"{operation}.rn.") for text in of_floats)


@pytest.mark.parametrize("arch", cuda_assembly.ARCHITECTURES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_of_floats(dtype, arch):
    ptx = codegen.ptx(source(CALLS, dtype), arch)
    assert_exact(ptx)
    assert {"div.rn", "sqrt.rn", "fma.rn"} <= set(re.findall(r"\b(?:div|sqrt|fma)\.rn", ptx))
    if cuda_assembly.assembler() is not None:
        needed = cuda_assembly.assemble(ptx, arch)
        assert (needed.spills, needed.stack) == (0, 0), needed.log


@pytest.mark.parametrize("dtype", ["bool_", *INTEGERS])
def test_functions_of_integers(dtype):
    assert_exact(codegen.ptx(source(OF_INTEGERS, dtype), "sm_75"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws(dtype):
    bits = dtype[-2:]
    calls = [f"philox_{kind}{bits}(int64(a), int64(b), i)" for kind in ("uniform", "normal")]
    assert_exact(codegen.ptx(source(calls, dtype), "sm_75"))
