"""A program that times its steps, for profiles (profiling.py); cuda/profiled.py is the device's."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile import driver
from symgraph.compile.binding import Bound, Tables
from symgraph.compile.host import compile_host, leaves
from symgraph.compile.pipeline import Compiled
from symgraph.compile.program import Program
from symgraph.compile.shown import describe
from symgraph.compile.steps import PythonStep
from symgraph.graph import Apply
from symgraph.types import TensorType

if TYPE_CHECKING:
    from symgraph.compile.profiling import ProfileStats

NANO = 1e-9
_WIDTH = 60  # of a step's description

_KERNEL: Any = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3)


@dataclass
class Timed:
    """A step and its time; `shares` say which part of it each node has.

    `in_python`: it is no kernel; of a device, a step of the host. `copy`: "to device" or "to host"
    for what is copied between them, `nbytes` in all.
    """

    name: str
    what: str
    shares: dict[Apply, float]
    in_python: bool = False
    in_chain: bool = False
    copy: str = ""
    calls: int = 0
    seconds: float = 0.0
    nbytes: int = 0

    def reset(self) -> None:
        """Forget all calls so far."""
        self.calls, self.seconds, self.nbytes = 0, 0.0, 0


@dataclass
class _Chain:
    """Which part of a chain's time each step has, how often it ran, and how long the last time."""

    parts: list[float]
    runs: int = 0
    seconds: float = 0.0

    def share(self, steps: Sequence[Timed], sign: int) -> None:
        """Give the steps their parts of the last run's time, or take them back."""
        for step, part in zip(steps, self.parts, strict=True):
            step.seconds += sign * part * self.seconds


class ProfiledProgram(Program):
    """A program that runs step by step, and notes how long each takes in `stats`."""

    def __init__(self, compiled: Compiled, stats: ProfileStats) -> None:
        plain = compiled.program
        super().__init__(
            compiled.plan, plain.inputs, plain.shared, plain.output_slots, plain.update_slots,
            plain.binder.target,
        )  # fmt: skip
        self.is_native = False
        self.stats = stats
        self.timed = [timed(f"kernel{k}", step) for k, step in enumerate(self.plan.steps)]
        stats.steps += self.timed
        for start, stop in self.plan.chains:
            for step in self.timed[start:stop]:
                step.in_chain = True
        self.chains: dict[tuple[int, int], _Chain] = {}  # by first step and number of steps
        self.shares_for: Bound | None = None  # whose sizes the steps' shares are of

    def activate(self, key: Any, arrays: Sequence[Any]) -> Bound:
        start = perf_counter_ns()
        bound = super().activate(key, arrays)
        self.stats.bind_time += (perf_counter_ns() - start) * NANO
        self._measure(bound)
        return bound

    def _measure(self, bound: Bound) -> None:
        """Take down sizes of memory."""
        results = (prod(shape) for shape in bound.outputs)
        sizes = (np.dtype(slot.type.dtype).itemsize for slot in self.output_slots)
        now = {
            "temporaries (the arena)": bound.arena,
            "workspace of kernels": bound.workspace * driver.workers(),
            "results": sum(n * size for n, size in zip(results, sizes, strict=True)),
            "shared variables": sum(getattr(value, "nbytes", 0) for value in self.values),
        }
        memory = self.stats.memory
        memory.update({what: max(size, memory.get(what, 0)) for what, size in now.items()})

    def run(self, bound: Bound, arrays: Sequence[Any]) -> None:
        if self.shares_for is not bound:
            share_out(self, self.timed, [*arrays, *self.values])
            self.shares_for = bound
        super().run(bound, arrays)

    def _run_segment(self, segment: int, tables: Tables, bound: Bound) -> None:
        position, last = self.plan.segments[segment]
        done = 0
        while position < last:
            step = self.plan.steps[position]
            start = perf_counter_ns()
            if isinstance(step, PythonStep):
                self._run_python(step, bound)
                self._note(position, start)
                position += 1
                continue
            count = max(int(tables.steps[done, 6]), 1)
            if count > 1 and tables.native is not None:
                reached = self._run_chain(position, tables, done, count)
            else:
                reached = self.walk(tables, done, done + count)
                self._note(position, start)
            if reached != done + count:
                self.fail(position + reached - done)
            done, position = done + count, position + count

    def _note(self, position: int, start: int) -> None:
        seconds = (perf_counter_ns() - start) * NANO
        self.stats.vm_call_time += seconds
        self.timed[position].seconds += seconds
        self.timed[position].calls += 1

    def _run_chain(self, position: int, tables: Tables, first: int, count: int) -> int:
        """Run a chain, and share its time among its steps."""
        chain = self.chains.setdefault((position, count), _Chain([1 / count] * count))
        steps = self.timed[position : position + count]
        start = perf_counter_ns()
        if chain.runs == 1:  # in the first run memory was new
            times = self._run_apart(tables, range(first, first + count))
            reached = first + count if self.errors[0] == 0 else first
            noted = steps[0].calls > 0  # or the profile was reset
            chain.share(steps, -noted)
            chain.parts = [t / (sum(times) or 1) for t in times]
            chain.share(steps, noted)
        else:
            reached = self.walk(tables, first, first + count)
        chain.runs, chain.seconds = chain.runs + 1, (perf_counter_ns() - start) * NANO
        self.stats.vm_call_time += chain.seconds
        chain.share(steps, 1)
        for step in steps:
            step.calls += 1
        return reached

    def _run_apart(self, tables: Tables, members: range) -> list[int]:
        """Run a chain chunk by chunk on this thread, as walk.py does; nanoseconds by step."""
        times = [0] * len(members)
        _, _, _, _, extent, grain, _ = tables.steps[members[0]].tolist()
        parameters = tables.sizes.ctypes.data
        for chunk in range(-(-extent // grain)):
            for k, m in enumerate(members):
                code, operand, count, size, extent, grain, _ = tables.steps[m].tolist()
                base, offset, share = tables.operands[operand : operand + count].T
                places = np.ascontiguousarray(self.bases[base] + offset - chunk * share)
                begin = chunk * grain
                if begin >= extent:
                    continue
                start = perf_counter_ns()
                _KERNEL(code)(
                    places.ctypes.data, parameters + 8 * size, begin, min(begin + grain, extent), 0
                )
                times[k] += perf_counter_ns() - start
        return times


def share_out(program: Program, steps: Sequence[Timed], arrays: Sequence[Any]) -> None:
    """Say which part of each step's time its nodes have, for these sizes."""
    if program.plan.late:
        return
    shape, sources = program.plan.sizes.shape, program.binder.sources
    nodes = dict.fromkeys(node for step in steps for node in step.shares)
    variables = dict.fromkeys(
        v for node in nodes for v in (*node.inputs, *node.outputs)
        if isinstance(v.type, TensorType)
        and all(leaf.head[0] in sources for leaf in leaves(shape(v)))
    )  # fmt: skip
    exprs = list(dict.fromkeys(e for v in variables for e in shape(v)))
    value = dict(zip(exprs, compile_host(exprs, sources)(arrays), strict=True))
    elements = {v: prod(value[e] for e in shape(v)) for v in variables}
    for step in steps:
        work = {node: _work(node, elements) for node in step.shares}
        whole = sum(work.values())
        step.shares = {node: part / whole for node, part in work.items()}


def timed(name: str, step: Any) -> Timed:
    """The row for a step of a plan."""
    in_python = isinstance(step, PythonStep)
    what = describe(step, "" if in_python else step.source)
    what = what if len(what) <= _WIDTH else what[: _WIDTH - 3] + "..."
    return Timed(name, what, {node: 1 / len(step.nodes) for node in step.nodes}, in_python)


def profiled(compiled: Compiled, stats: ProfileStats) -> Program:
    """The program of a compiled function, noting in `stats` how long its steps take."""
    if compiled.device is None:
        return ProfiledProgram(compiled, stats)
    from symgraph.compile.cuda.profiled import ProfiledDeviceProgram

    return ProfiledDeviceProgram(compiled, stats)


def _work(node: Apply, elements: Mapping[Any, int]) -> float:
    cost = getattr(getattr(node.op, "scalar_op", None), "cost", 1)
    return float(cost * max(1, *(elements.get(v, 1) for v in (*node.inputs, *node.outputs))))
