"""The passes, in order: from the user's expressions to a program."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from symgraph.compile.calling import CallPath
from symgraph.compile.fuse import Fused, Sink, fuse
from symgraph.compile.inner import Inner, inner_of
from symgraph.compile.inputs import In
from symgraph.compile.mode import Options
from symgraph.compile.plan import Plan
from symgraph.compile.program import Program
from symgraph.compile.progress import going_on
from symgraph.compile.request import Form
from symgraph.compile.sizes import Sizes
from symgraph.compile.steps import PythonStep
from symgraph.compile.target import PathOf, target
from symgraph.graph import Apply, Constant, Variable, toposort
from symgraph.ops.inner import InnerGraph
from symgraph.ops.passing import stays_there
from symgraph.ops.rounds import InnerCall
from symgraph.sharedvalue import lives_there


@dataclass
class Compiled:
    """A program, and the stages it came through, for pictures and inspection."""

    nodes: list[Apply]
    outputs: list[Variable]
    updates: list[tuple[Variable, Variable]]
    fused: Fused
    plan: Plan
    program: Program
    path: PathOf = CallPath

    def call_path(self, ins: Sequence[In], form: Form, trusted: bool) -> CallPath:
        """What a call runs; `ins` are the inputs that are given values."""
        return self.path(self.program, ins, form, trusted)  # type: ignore[no-any-return]

    @property
    def device(self) -> Any:
        """The device that it runs on; None: the CPU."""
        return getattr(self.program, "device", None)

    def free(self) -> None:
        """Let go of what calls have left behind for the next ones."""
        self.program.free()


def compile_graph(
    inputs: Sequence[Variable],
    outputs: Sequence[Variable],
    shared: Sequence[Variable],
    updates: Sequence[tuple[Variable, Variable]],
    options: Options,
) -> Compiled:
    """Compile `outputs` and the new values of `updates` (pairs of shared variable and expression).

    `shared` lists the shared variables that these need, or that are updated.
    """
    with _no_collector():
        return _compile(inputs, outputs, shared, updates, options)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Compiling makes objects that stay; collecting garbage among them took a fifth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _compile(
    inputs: Sequence[Variable],
    outputs: Sequence[Variable],
    shared: Sequence[Variable],
    updates: Sequence[tuple[Variable, Variable]],
    options: Options,
) -> Compiled:
    from symgraph.compile.rules import rewrite_graph

    values = [*outputs, *(value for _, value in updates)]
    stays = [k for k, value in enumerate(outputs) if stays_there(value)]
    if options.target == "cpu" and (stays or any(map(lives_there, shared))):
        options = replace(options, target="cuda")
    values = rewrite_graph(values, options.rewrites, options.excluding, options.requiring)
    outputs, new = values[: len(outputs)], values[len(outputs) :]
    updates = [(target, value) for (target, _), value in zip(updates, new, strict=True)]
    return assemble(inputs, outputs, shared, updates, options, stays)


def assemble(
    inputs: Sequence[Variable],
    outputs: Sequence[Variable],
    shared: Sequence[Variable],
    updates: Sequence[tuple[Variable, Variable]],
    options: Options,
    stays: Sequence[int] = (),
) -> Compiled:
    """Compile what has been rewritten. `stays`: positions of outputs that stay on the device."""
    nodes = toposort([*outputs, *(value for _, value in updates)])
    going_on(f"symgraph: compiling a graph of {len(nodes):,} nodes")
    sinks, slots, pairs = [], [], []
    for value in outputs:
        slot = value.type.make_variable()
        slots.append(slot)
        sinks.append(Sink(slot, value, False))
    for goal, value in updates:
        slot = value.type.make_variable()
        slot.tag.target = goal
        pairs.append((goal, slot))
        sinks.append(Sink(slot, value, True))
    fused, plan = plan_graph(nodes, sinks, options)
    for step in plan.steps:
        if isinstance(step, PythonStep):
            _prepare(step, options)
    where = target(options)
    program = where.make_program(plan, inputs, shared, slots, pairs, stays)
    return Compiled(nodes, list(outputs), list(updates), fused, plan, program, where.path)


def plan_graph(
    nodes: Sequence[Apply], sinks: Sequence[Sink], options: Options
) -> tuple[Fused, Plan]:
    """Sizes, fused work and steps; inner graphs first."""
    sizes = Sizes(nodes)
    where = target(options)
    looped = (node for node in nodes if node.op.rounds)
    found = ((node, _inner(node, sizes, options)) for node in looped)
    loops = {node: inner for node, inner in found if inner is not None}
    joins = "fusion" not in options.excluding
    fused = fuse(nodes, sizes, sinks, where.call_of, joins, loops)
    return fused, where.make_plan(fused, sizes, sinks)


def _inner(node: Apply, sizes: Sizes, options: Options) -> list[Inner] | None:
    """The inner graphs of a node, planned; None if one of them cannot run natively."""
    planned = []
    options = replace(options, cublas=False)  # a round's launches are kernels
    assert node.op.rounds is not None
    for rounds in node.op.rounds(node, sizes):
        if not target(options).loops(rounds):
            return None
        sinks = [Sink(v.type.make_variable(), v, False) for v in rounds.inner.outputs]
        _, plan = plan_graph(rounds.inner.nodes, sinks, options)
        inner = inner_of(rounds, plan, [sink.slot for sink in sinks], sizes)
        if inner is None:
            return None
        planned.append(inner)
    return planned


def _prepare(step: PythonStep, options: Options) -> None:
    """Have a step that runs in Python run what can be compiled compiled: for a device, the CPU's
    kernels of its node, else its inner graphs."""
    node = step.node
    if options.target == "cuda" and (node.op.lowering is not None or node.op.rounds is not None):
        given = [v if isinstance(v, Constant) else v.type.make_variable() for v in node.inputs]
        twin = node.clone_with_new_inputs(given)
        free = [v for v in given if not isinstance(v, Constant)]
        call = _inner_call(InnerGraph(free, twin.outputs), replace(options, target="cpu"))
        known = [isinstance(v, Constant) for v in given]
        step.run = lambda *arrays: call(
            [a for a, fixed in zip(arrays, known, strict=True) if not fixed]
        )
    elif node.op.rounds is not None:
        run = node.op.evaluate_with
        assert run is not None
        graphs = [_inner_call(graph, options) for graph in node.op.inner_graphs]
        step.run = partial(run, node, graphs)


def _inner_call(graph: InnerGraph, options: Options) -> InnerCall:
    compiled = assemble(graph.inputs, graph.outputs, [], [], options)
    path = compiled.call_path([In(v) for v in graph.inputs], "list", trusted=True)

    def call(arrays: Sequence[Any]) -> Sequence[np.ndarray]:
        dense = (a if a.flags.c_contiguous else a.copy() for a in map(np.asarray, arrays))
        return path.call(None, *dense)  # type: ignore[no-any-return]

    return call
