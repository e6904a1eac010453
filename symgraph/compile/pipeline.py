"""The passes, in order: from the user's expressions to a program."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from symgraph.compile.fuse import Fused, Sink, fuse
from symgraph.compile.plan import Plan, make_plan
from symgraph.compile.program import Program
from symgraph.compile.progress import going_on
from symgraph.compile.request import Options
from symgraph.compile.sizes import Sizes
from symgraph.graph import Apply, Variable, toposort


@dataclass
class Compiled:
    """A program, and the stages it came through, for pictures and inspection."""

    nodes: list[Apply]
    outputs: list[Variable]
    updates: list[tuple[Variable, Variable]]
    fused: Fused
    plan: Plan
    program: Program


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

    values = rewrite_graph([*outputs, *(value for _, value in updates)], options.rewrites)
    outputs, new = values[: len(outputs)], values[len(outputs) :]
    updates = [(target, value) for (target, _), value in zip(updates, new, strict=True)]
    nodes = toposort(values)
    going_on(f"symgraph: compiling a graph of {len(nodes):,} nodes")
    sizes = Sizes(nodes)
    sinks, slots, pairs = [], [], []
    for value in outputs:
        slot = value.type.make_variable()
        slots.append(slot)
        sinks.append(Sink(slot, value, False))
    for target, value in updates:
        slot = value.type.make_variable()
        slot.tag.target = target
        pairs.append((target, slot))
        sinks.append(Sink(slot, value, True))
    fused = fuse(nodes, sizes, sinks, use_library=options.target == "cpu")
    plan = make_plan(fused, sizes, sinks)
    program = Program(plan, inputs, shared, slots, pairs, options.target)
    return Compiled(nodes, list(outputs), updates, fused, plan, program)
