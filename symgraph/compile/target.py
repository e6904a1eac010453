"""What differs between targets: which nodes the library computes, the plan, the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symgraph.compile.calling import CallPath
from symgraph.compile.fuse import Fused, LibraryCallOf, Sink, lowered
from symgraph.compile.mode import Options
from symgraph.compile.plan import Plan, make_plan
from symgraph.compile.program import Program
from symgraph.compile.sizes import Sizes
from symgraph.ops.rounds import Rounds

PathOf = Callable[..., Any]
"""What makes the call path of a program: of (program, inputs, form, trusted)."""


@dataclass(frozen=True)
class Target:
    """A place where functions run. `loops`: which inner graphs run natively there."""

    name: str
    call_of: LibraryCallOf
    loops: Callable[[Rounds], bool]
    make_plan: Callable[[Fused, Sizes, Sequence[Sink]], Plan]
    make_program: Callable[[Plan, Any, Any, Any, Any, Sequence[int]], Program]
    path: PathOf = CallPath


def _cpu(
    plan: Plan, inputs: Any, shared: Any, slots: Any, updates: Any, stays: Sequence[int]
) -> Program:
    return Program(plan, inputs, shared, slots, updates, "cpu")


def _python(
    plan: Plan, inputs: Any, shared: Any, slots: Any, updates: Any, stays: Sequence[int]
) -> Program:
    return Program(plan, inputs, shared, slots, updates, "python")


CPU = Target("cpu", lowered, lambda rounds: True, make_plan, _cpu)
PYTHON = Target("python", lambda node, sizes: None, lambda rounds: False, make_plan, _python)


def target(options: Options) -> Target:
    """The target that is asked for."""
    if options.target == "cuda":
        from symgraph.compile.cuda.target import CUBLAS, CUDA

        return CUBLAS if options.cublas else CUDA
    return {"cpu": CPU, "python": PYTHON}[options.target]
