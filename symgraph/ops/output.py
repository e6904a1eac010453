"""Print: a value is shown when it is computed.

Source: Theano, library/printing, tutorial/debug_faq ("How do I print an intermediate value").
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph.errors import explain
from symgraph.graph import Apply, Context, Op, Shape
from symgraph.types import TensorType


def print_attributes(op: Print, value: np.ndarray) -> None:
    """What `Print` does: a line `message attribute = value` for each attribute; methods are
    called."""
    for name in op.attrs:
        found = getattr(value, name)
        sys.stdout.write(f"{op.message} {name} = {found() if callable(found) else found}\n")


@dataclass(frozen=True)
class Print(Op):
    """`Print("a message")(x)` is x, and prints `a message __str__ = [1. 2. 3.]` whenever it is
    computed: in place, once per call, in the order of the graph.

    `attrs`: which attributes or methods of the array to print, such as ("shape", "min", "max").
    `global_fn(op, array)` is called instead of printing. Any shape and dtype; the gradient passes
    through. A Print that no result needs prints nothing; it may keep a rule from seeing through.
    Runs as a Python step. TypeError where `attrs` is a string. Source: Theano, `printing.Print`.
    """

    message: str = ""
    attrs: Sequence[str] = ("__str__",)
    global_fn: Callable[[Print, np.ndarray], Any] = print_attributes
    is_pure: ClassVar[bool] = False
    folds: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.attrs, str):
            raise TypeError(
                explain("Print", "attrs is a string", got=repr(self.attrs),
                        expected="a list of names", cure=f"attrs=[{self.attrs!r}]")
            )  # fmt: skip
        object.__setattr__(self, "attrs", tuple(self.attrs))

    def output_types(self, x: Any) -> list[TensorType]:
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        self.global_fn(self, inputs[0])
        return [inputs[0]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return output_gradients

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return eval_points

    def __str__(self) -> str:
        return f"Print{{message={self.message!r}, attrs={self.attrs}}}"
