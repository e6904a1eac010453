"""Hand-written kernels behind op names: matrix products, convolutions, pooling.

`lower(name, dtype, params)` gives the stages of one operation as printed kernel source; nothing is
compiled here. What was declared (dtype, filter size, strides, modes) is printed as literals, sizes
are read when the kernel runs.
"""

from collections.abc import Mapping

from .convolution import conv2d, conv2d_grad_inputs, conv2d_grad_weights
from .gemm import batched_dot, gemm
from .pooling import (
    max_pool_grad,
    max_pool_grad_grad,
    max_pool_marks,
    max_pool_marks_grad,
    pool,
    pool_grad,
)
from .random import mersenne_normal, mersenne_uniform, mrg_uniform
from .stage import Lowering, Shapes, Stage

__all__ = ["Lowering", "Shapes", "Stage", "lower", "names"]

BUILDERS = {
    builder.__name__: builder
    for builder in (
        gemm,
        batched_dot,
        conv2d,
        conv2d_grad_weights,
        conv2d_grad_inputs,
        pool,
        pool_grad,
        max_pool_grad,
        max_pool_grad_grad,
        max_pool_marks,
        max_pool_marks_grad,
        mrg_uniform,
        mersenne_uniform,
        mersenne_normal,
    )
}


def names() -> tuple[str, ...]:
    """The operations that have a kernel here."""
    return tuple(BUILDERS)


def lower(name: str, dtype: str, params: Mapping[str, object]) -> Lowering:
    """The kernels of operation `name` on `dtype`; `params` are described by its builder.

    KeyError for an unknown name, ValueError for parameters or a dtype that the operation lacks.
    """
    key = name, dtype, repr(sorted(params.items()))
    found = _lowered.get(key)
    if found is None:
        found = _lowered[key] = BUILDERS[name](dtype, params)
    return found


_lowered: dict[tuple[str, str, str], Lowering] = {}  # deep networks repeat a few
