"""The meaning of a graph: its nodes evaluated in NumPy, and what users' ops may not do meanwhile.

Source of the errors: Theano, library/compile/debugmode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.compile.comparison import rounded, same, shown
from symgraph.errors import explain
from symgraph.graph import Apply, Constant, Op, Variable, toposort
from symgraph.testvalues import copied
from symgraph.types import TensorType


class DebugModeError(Exception):
    """DebugMode found an inconsistency."""


class BadThunkOutput(DebugModeError):
    """A kernel gives another result than its op means."""


class BadOptimization(DebugModeError):
    """A rewrite rule changed a value."""


class BadDestroyMap(DebugModeError):
    """An op modified an input without saying so in its `destroy_map`."""


class BadViewMap(DebugModeError):
    """An op's output shares memory with an input, and its `view_map` does not say so."""


class InvalidValueError(DebugModeError):
    """A result is not of its variable's type, or is not finite though that is asked for."""


class Walk:
    """The values of graphs' variables by `Op.evaluate`, as they are asked for.

    With `random`, every float that is not a constant is rounded at random.
    """

    def __init__(
        self, leaves: Mapping[Variable, Any], random: np.random.Generator | None = None
    ) -> None:
        self.random = random
        self.values = {v: self._settled(x) for v, x in leaves.items()}

    def _settled(self, value: Any) -> Any:
        return value if self.random is None else rounded(value, self.random)

    def __getitem__(self, variable: Variable) -> Any:
        if variable not in self.values:
            for node in toposort([variable], stop_at=self.values):
                for output, value in zip(node.outputs, self.evaluate(node), strict=True):
                    self.values[output] = self._settled(value)
        return self.read(variable)

    def read(self, variable: Variable) -> Any:
        """The value of what has been evaluated, or of a constant."""
        if isinstance(variable, Constant):
            return variable.data
        return self.values[variable]

    def evaluate(self, node: Apply) -> list[Any]:
        """The outputs of a node whose inputs are known, checked to be of their types."""
        inputs = [self.read(v) for v in node.inputs]
        if self.random is not None:
            return list(node.op.evaluate(node, *inputs))
        return checked_evaluate(node, inputs)


def checked_evaluate(node: Apply, inputs: Sequence[Any]) -> list[Any]:
    """`Op.evaluate`, and DebugModeError for what an op may not do to its inputs and outputs."""
    op: Any = node.op
    given = [copied(x) for x in inputs]
    is_users = type(op).perform is not Op.perform
    outputs = _performed(node, given) if is_users else list(op.evaluate(node, *given))
    destroyed = {i for places in (getattr(op, "destroy_map", None) or {}).values() for i in places}
    for k, (before, after) in enumerate(zip(inputs, given, strict=True)):
        if isinstance(after, np.ndarray) and k not in destroyed and not same(before, after):
            raise BadDestroyMap(
                explain(op, f"it has changed its input {k} ({node.inputs[k]})", where=node.trace,
                        got=f"{shown(before)} before, {shown(after)} after",
                        expected="inputs that are left as they are",
                        cure=f"work on a copy, or declare destroy_map = {{0: [{k}]}}")
            )  # fmt: skip
    if is_users:
        _check_views(node, given, outputs, destroyed)
    for variable, value in zip(node.outputs, outputs, strict=True):
        check_type(node, variable, value)
    return [copied(value) for value in outputs] if is_users else outputs


def _performed(node: Apply, inputs: list[Any]) -> list[Any]:
    """What `perform` of a user's op stores, as it is."""
    op: Any = node.op
    storage: list[list[Any]] = [[None] for _ in node.outputs]
    try:
        params = [op.get_params(node)]
    except (AttributeError, NotImplementedError):  # it takes none
        params = []
    op.perform(node, inputs, storage, *params)
    return [cell[0] for cell in storage]


def _check_views(
    node: Apply, inputs: Sequence[Any], outputs: Sequence[Any], destroyed: set[int]
) -> None:
    declared = getattr(node.op, "view_map", None) or {}
    for o, output in enumerate(outputs):
        allowed = {*declared.get(o, ()), *destroyed}
        for i, value in enumerate(inputs):
            both = isinstance(value, np.ndarray) and isinstance(output, np.ndarray)
            if both and i not in allowed and np.may_share_memory(value, output):
                raise BadViewMap(
                    explain(node.op, f"its output {o} shares memory with its input {i}",
                            where=node.trace, got=f"{node.outputs[o]} and {node.inputs[i]}",
                            expected="outputs with memory of their own",
                            cure=f"return a copy, or declare view_map = {{{o}: [{i}]}}")
                )  # fmt: skip


def check_type(node: Apply, variable: Variable, value: Any) -> None:
    """InvalidValueError if `value` is not of the type of `variable`."""
    kind = variable.type
    if not isinstance(kind, TensorType):
        return
    got = np.asarray(value)
    ones = zip(kind.broadcastable, got.shape, strict=False)
    if str(got.dtype) != kind.dtype or got.ndim != kind.ndim or any(b and n != 1 for b, n in ones):
        raise InvalidValueError(
            explain(node.op, f"its result is not of the type of {variable}", where=node.trace,
                    got=f"{got.dtype} of shape {got.shape}", expected=str(kind),
                    cure="make output_types (or make_node) and the computation agree")
        )  # fmt: skip
