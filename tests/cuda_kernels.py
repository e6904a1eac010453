"""Library kernels of the device in the simulator, in both orders of the threads, and assembled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from symgraph.compile.cuda import library, signature, simulator
from tests import cuda_assembly


def sizes_of(array: np.ndarray) -> list[int]:
    """The shape of an array, then its strides in elements."""
    return [*array.shape, *(s // array.itemsize for s in array.strides)]


def run(
    name: str,
    dtype: str,
    params: Mapping[str, object],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[tuple[tuple[int, ...], str]],
    order: int = 1,
) -> list[np.ndarray]:
    """The outputs, of these (shape, dtype), of an operation; its memory begins as NaN (0xFF)."""
    lowering = library.lower(name, dtype, params)
    assert lowering is not None
    arrays = {f"in{k}": array for k, array in enumerate(inputs)}
    arrays |= {f"out{k}": _unset(*kind) for k, kind in enumerate(outputs)}
    shapes = {key: array.shape for key, array in arrays.items()}
    for key, (kind, size) in lowering.temporaries.items():
        shapes[key] = size(shapes)
        arrays[key] = _unset(shapes[key], kind)
    for stage in lowering.stages:
        blocks = stage.blocks(shapes)
        if not blocks:
            continue
        operands = [arrays[key] for key in stage.operands]
        before = [operand.copy() for operand in operands[stage.written :]]
        sizes = [n for operand in operands for n in sizes_of(operand)]
        simulator.simulate(stage.source(shapes), blocks, operands, sizes, order)
        for operand, old in zip(operands[stage.written :], before, strict=True):
            np.testing.assert_array_equal(operand, old)  # only the first are written
    return [arrays[f"out{k}"] for k in range(len(outputs))]


def both_orders(
    name: str,
    dtype: str,
    params: Mapping[str, object],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[tuple[tuple[int, ...], str]],
) -> list[np.ndarray]:
    """`run`, forwards and backwards: the same bits."""
    results = run(name, dtype, params, inputs, outputs)
    for one, other in zip(
        results, run(name, dtype, params, inputs, outputs, order=-1), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    return results


def sources(
    name: str, dtype: str, params: Mapping[str, object], shapes: dict[str, tuple[int, ...]]
) -> list[str]:
    """The kernels that run for operands of these shapes."""
    lowering = library.lower(name, dtype, params)
    assert lowering is not None
    for key, (_, size) in lowering.temporaries.items():
        shapes[key] = size(shapes)
    return [stage.source(shapes) for stage in lowering.stages if stage.blocks(shapes)]


def check_resources(source: str, arch: str, registers: int = 255) -> cuda_assembly.Resources:
    """Assemble a kernel: no spill, no stack frame, no more registers than this or than fit."""
    if cuda_assembly.assembler() is None:
        pytest.skip("nothing here assembles PTX: pip install 'symgraph[cuda]'")
    needed = cuda_assembly.resources(source, arch)
    assert needed.spills == 0 and needed.stack == 0, needed.log
    assert needed.registers <= min(registers, 65536 // signature.threads(source)), needed.log
    assert needed.shared <= 48 * 1024, needed.log
    return needed


def _unset(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.full(count, 0xFF, np.uint8).view(dtype).reshape(shape)
