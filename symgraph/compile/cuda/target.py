"""The CUDA target: its library, plans and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from symgraph.compile.cuda.calling import DeviceCallPath
from symgraph.compile.cuda.device import current
from symgraph.compile.cuda.loop import unrolls
from symgraph.compile.cuda.plan import CublasProduct, call_of, make_plan
from symgraph.compile.cuda.program import DeviceProgram
from symgraph.compile.plan import Plan
from symgraph.compile.target import Target


def _program(
    plan: Plan, inputs: Any, shared: Any, slots: Any, updates: Any, stays: Sequence[int]
) -> DeviceProgram:
    device = current()
    if any(isinstance(step, CublasProduct) for step in plan.steps):
        device.cublas()  # raises now, where there is none
    return DeviceProgram(plan, inputs, shared, slots, updates, device, stays)


CUDA = Target("cuda", call_of, unrolls, make_plan, _program, DeviceCallPath)
CUBLAS = replace(CUDA, make_plan=partial(make_plan, has_cublas=True))
