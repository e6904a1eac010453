"""What `config.exception_verbosity = 'high'` adds to an error of a call.

The user's graph is evaluated once more, node by node, up to the one that fails: its inputs' values
and the tree above it follow, and a list of what all values of the call take in memory.
Source: Theano, library/config (exception_verbosity), tutorial/debug_faq.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.graph import Apply, Constant, Variable, graph_inputs, toposort
from symgraph.printing import debugprint
from symgraph.sharedvalue import SharedVariable
from symgraph.testvalues import check_sizes, copied


def elaborate(
    error: Exception, outputs: Sequence[Variable], inputs: Mapping[Variable, Any]
) -> None:
    """Append to the text of `error`, which computing `outputs` from the values of `inputs` has
    raised. An error without a text stays as it is."""
    if error.args and isinstance(error.args[0], str):
        lines = [error.args[0], *_failing(outputs, inputs), *_footprint(outputs, inputs)]
        error.args = ("\n".join(lines), *error.args[1:])


def _value(variable: Variable, known: Mapping[Variable, Any]) -> Any:
    if isinstance(variable, Constant):
        return variable.data
    if isinstance(variable, SharedVariable):
        return variable.get_value(borrow=True)
    return known[variable]


def _failing(outputs: Sequence[Variable], inputs: Mapping[Variable, Any]) -> Iterator[str]:
    """About the first node that raises something."""
    known: dict[Variable, Any] = dict(inputs)
    for node in toposort(outputs, stop_at=known):
        values = [_value(v, known) for v in node.inputs]
        try:
            check_sizes(node, values)
            results = node.op.evaluate(node, *map(copied, values))
        except Exception:
            yield from _about(node, values)
            return
        known.update(zip(node.outputs, results, strict=True))


def _about(node: Apply, values: Sequence[Any]) -> Iterator[str]:
    yield f"Apply node that caused the error: {node}"
    yield f"Inputs types: {[v.type for v in node.inputs]}"
    yield f"Inputs shapes: {[getattr(x, 'shape', 'No shapes') for x in values]}"
    yield f"Inputs values: {[_shown(x) for x in values]}"
    yield "Debugprint of the apply node:"
    yield debugprint(node, print_type=True, file="str").rstrip()


def _shown(value: Any) -> Any:
    return value if not isinstance(value, np.ndarray) or value.size <= 5 else "not shown"


def _footprint(outputs: Sequence[Variable], inputs: Mapping[Variable, Any]) -> Iterator[str]:
    """The leaves of the graph, their shapes and sizes, the largest first."""
    rows = []
    for variable in dict.fromkeys([*inputs, *graph_inputs(outputs, inputs)]):
        kind = "Input" if variable in inputs else "Constant"
        kind = "Shared Input" if isinstance(variable, SharedVariable) else kind
        value = _value(variable, inputs)
        if isinstance(value, np.ndarray):
            sizes = f"ElemSize: {value.itemsize} Byte(s), TotalSize: {value.nbytes} Byte(s)"
            text = f" - {variable}, {kind}, Shape: {value.shape}, {sizes}"
            rows.append((value.nbytes, text))
    yield "Storage map footprint:"
    yield from (text for _, text in sorted(rows, key=lambda row: -row[0]))
    yield f" TotalSize: {sum(size for size, _ in rows)} Byte(s)"
