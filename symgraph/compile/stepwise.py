"""Looking for the kernel that computes something wrong: a program run step by step, each result
compared with what it should be as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from symgraph.compile.binding import Bound, Tables
from symgraph.compile.calling import CallPath
from symgraph.compile.inputs import In
from symgraph.compile.pipeline import Compiled
from symgraph.compile.program import Program
from symgraph.compile.steps import PythonStep, dense_strides
from symgraph.graph import Variable

Look = Callable[[Variable, np.ndarray], bool]  # whether a result is wrong


class _Found(Exception):
    """Ends the run."""

    def __init__(self, position: int, variable: Variable, value: np.ndarray) -> None:
        super().__init__()
        self.position, self.variable, self.value = position, variable, value


class _Stepwise(Program):
    """A program without chains whose results are looked at after each step."""

    def __init__(self, compiled: Compiled, is_wrong: Look) -> None:
        plain = compiled.program
        # a loop's step knows the binder of the one program that it is in
        steps = [copy(step) for step in compiled.plan.steps]
        super().__init__(
            replace(compiled.plan, chains=[], steps=steps), plain.inputs, plain.shared,
            plain.output_slots, plain.update_slots, plain.binder.target,
        )  # fmt: skip
        self.is_native = False
        self.is_wrong = is_wrong
        self.last = {
            root: position for position, step in enumerate(steps) for root in step.written()
        }
        values = [*compiled.outputs, *(value for _, value in compiled.updates)]
        slots = [*plain.output_slots, *(slot for _, slot in plain.update_slots)]
        self.held_by = dict(zip(slots, values, strict=True))  # the variable in each root
        self.held_by |= {v: v for v in compiled.plan.temporaries if v.owner is not None}

    def _run_segment(self, segment: int, tables: Tables, bound: Bound) -> None:
        first, last = self.plan.segments[segment]
        done = 0
        for position in range(first, last):
            step = self.plan.steps[position]
            if isinstance(step, PythonStep):
                self._run_python(step, bound)
            else:
                if self.walk(tables, done, done + 1) == done:
                    self.fail(position)
                done += 1
            for root in step.written():
                variable = self.held_by.get(root)
                if variable is None or root not in bound.shapes or self.last[root] > position:
                    continue
                shape = bound.shapes[root]
                value = self._array(root, root, shape, 0, dense_strides(shape)).copy()
                if self.is_wrong(variable, value):
                    raise _Found(position, variable, value)


def first_wrong(
    compiled: Compiled, inputs: Sequence[Any], is_wrong: Look
) -> tuple[int, Variable, np.ndarray] | None:
    """The first step with a result that `is_wrong`: its position, the variable and the value.

    None if there is none, or if sizes depend on results. Shared variables may be updated.
    """
    if compiled.plan.late:
        return None
    program = _Stepwise(compiled, is_wrong)
    path = CallPath(program, [In(v) for v in program.inputs], "list", trusted=True)
    try:
        path.call(None, *inputs)
    except _Found as found:
        return found.position, found.variable, found.value
    return None
