"""Ops that are graphs (`OpFromGraph`) give way to these graphs, which fuse with what is around."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.graph import Variable, reapply, toposort
from symgraph.op_from_graph import OpFromGraph


def inline_graphs(outputs: Sequence[Variable]) -> list[Variable]:
    """`outputs`, in which no `OpFromGraph` is left; each round takes out one layer of them."""
    outputs = list(outputs)
    while True:
        nodes = toposort(outputs)
        if not any(isinstance(node.op, OpFromGraph) for node in nodes):
            return outputs
        env: dict[Variable, Variable] = {}
        for node in nodes:
            inputs = [env.get(v, v) for v in node.inputs]
            if isinstance(node.op, OpFromGraph):
                new: Sequence[Variable] = node.op.graph.apply(inputs)
            elif all(a is b for a, b in zip(node.inputs, inputs, strict=True)):
                continue
            else:
                new = reapply(node, inputs).outputs
            env.update(zip(node.outputs, new, strict=True))
        outputs = [env.get(v, v) for v in outputs]
