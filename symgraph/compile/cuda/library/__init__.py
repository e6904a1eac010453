"""The device's hand-written kernels behind op names.

`lower(name, dtype, params)` gives the launches of one operation. Names, parameters and operands are
those of the CPU's library (compile/library), whose builders document them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from .stage import Lowering, Shapes, Stage

__all__ = ["Lowering", "Shapes", "Stage", "lower", "names"]

BUILDERS = {
    "gemm": "gemm",
    "batched_dot": "gemm",
    "conv2d": "convolution",
    "conv2d_grad_weights": "convolution",
    "conv2d_grad_inputs": "convolution",
    "pool": "pooling",
    "pool_grad": "pooling",
    "max_pool_grad": "pooling",
    "max_pool_grad_grad": "pooling",
    "max_pool_marks": "pooling",
    "max_pool_marks_grad": "pooling",
    "mrg_uniform": "random",
    "mersenne_uniform": "random",
    "mersenne_normal": "random",
    "sort": "sorting",
    "argsort": "sorting",
    "argtopk": "sorting",
}
"""Operation -> the module here that has its builder."""


def names() -> tuple[str, ...]:
    """The operations that have a kernel here."""
    return tuple(BUILDERS)


def lower(name: str, dtype: str, params: Mapping[str, object]) -> Lowering | None:
    """The kernels of operation `name` on `dtype`; None if the host must do it.

    ValueError for parameters that make no sense.
    """
    if name not in BUILDERS:
        return None
    builder: Callable[..., Lowering | None]
    builder = getattr(import_module(f"{__name__}.{BUILDERS[name]}"), name)
    return builder(dtype, params)
