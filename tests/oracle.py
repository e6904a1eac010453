"""Evaluates a graph node by node with the ops' NumPy meanings: no compiler involved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.graph import Constant, Variable, toposort
from symgraph.sharedvalue import SharedVariable


def evaluate(outputs: Sequence[Variable], values: Mapping[Variable, Any]) -> list[Any]:
    """The values of `outputs`, given those of the inputs; checks every node's type on the way."""
    env: dict[Variable, Any] = {v: np.asarray(x) for v, x in values.items()}

    def read(variable: Variable) -> Any:
        if variable in env:
            return env[variable]
        if isinstance(variable, Constant):
            return variable.data
        if isinstance(variable, SharedVariable):
            return variable.get_value()
        raise KeyError(f"no value for {variable}")

    for node in toposort(outputs, stop_at=env):
        results = node.op.evaluate(node, *(read(v) for v in node.inputs))
        for variable, value in zip(node.outputs, results, strict=True):
            value = np.asarray(value)
            kind = variable.type
            assert str(value.dtype) == kind.dtype, f"{node}: {value.dtype} instead of {kind}"
            assert value.ndim == kind.ndim, f"{node}: shape {value.shape} instead of {kind}"
            for size, one in zip(value.shape, kind.broadcastable, strict=True):
                assert size == 1 or not one, f"{node}: shape {value.shape} for {kind}"
            env[variable] = value
    return [read(v) for v in outputs]
