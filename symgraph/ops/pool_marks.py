"""Max pooling that notes where each maximum was found.

The gradient of max pooling asks which elements of a window equal its maximum. Asking the image
again means that all of it must still be there; one bit for each element of a window says as much.
No user calls these ops: compile/rules/marks.py puts them where they pay, when gradients have been
taken; they have none of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.graph import Apply, Context, Shape, Variable
from symgraph.ops.pooling import _Pooling, _same_shapes
from symgraph.types import TensorType

MOST = 8  # elements of a window: the bits of a mark


@dataclass(frozen=True)
class MaxPoolMarks(_Pooling):
    """The maximum of each window, and a uint8 with bit i * columns + j set where the element in
    row i and column j of the window equals it; with ties="first", the lowest of these bits. NaN
    equals nothing.

    Windows tile the image, are whole and have at most 8 elements.
    """

    kernel_name = "max_pool_marks"
    arity = 1

    def output_types(self, *inputs: Any) -> list[TensorType]:
        (pooled,) = super().output_types(*inputs)
        return [pooled, TensorType("uint8", pooled.broadcastable)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [*super().infer_shape(node, ctx)] * 2

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x,) = inputs
        taps = [x[..., rows[:, None], columns] for rows, columns, _ in self._taps(x.shape, ())]
        with np.errstate(invalid="ignore"):
            best = np.maximum.reduce(taps)
        equal = sum((tap == best).astype("uint8") << k for k, tap in enumerate(taps))
        marks = np.asarray(equal, "uint8")
        return [best, marks & np.negative(marks) if self.ties == "first" else marks]


@dataclass(frozen=True)
class MaxPoolMarksGrad(_Pooling):
    """The gradient of max pooling, from x, of which only the shape counts, the marks and the
    gradient by the pooled x."""

    kernel_name = "max_pool_marks_grad"
    arity = 3

    def output_types(self, *inputs: Any) -> list[TensorType]:
        return [super().output_types(*inputs)[0]]

    def _pattern(self, *arrays: Any) -> tuple[bool, ...]:
        return arrays[0].broadcastable  # type: ignore[no-any-return]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Any]:
        return super().shape_checks(node, ctx) + _same_shapes(self, node, ctx)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False], [False], [True]]

    def _arrays(self, node: Apply) -> tuple[Variable, ...]:
        return tuple(node.inputs[1:])

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, marks, g = inputs
        total = np.zeros(x.shape, g.dtype)
        for k, (rows, columns, _) in enumerate(self._taps(x.shape, ())):
            total[..., rows[:, None], columns] = np.where(marks >> k & 1, g, 0)
        return [total]


def can_mark(op: Any) -> bool:
    """Whether the windows of a pooling op can be marked."""
    ws = op.ws
    return (
        op.mode == "max" and ws is not None and ws == op.stride and op.pad == (0, 0)
        and op.ignore_border and ws[0] * ws[1] <= MOST
    )  # fmt: skip
