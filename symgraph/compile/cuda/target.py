"""The CUDA target: its library, plans and programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.compile.cuda.calling import DeviceCallPath
from symgraph.compile.cuda.device import current
from symgraph.compile.cuda.loop import unrolls
from symgraph.compile.cuda.plan import call_of, make_plan
from symgraph.compile.cuda.program import DeviceProgram
from symgraph.compile.plan import Plan
from symgraph.compile.target import Target


def _program(
    plan: Plan, inputs: Any, shared: Any, slots: Any, updates: Any, stays: Sequence[int]
) -> DeviceProgram:
    return DeviceProgram(plan, inputs, shared, slots, updates, current(), stays)


CUDA = Target("cuda", call_of, unrolls, make_plan, _program, DeviceCallPath)
