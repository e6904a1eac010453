"""The plan: steps in order, where everything lies, and what is allocated when.

Input: fused work. Output: a `Plan`, a list of segments of steps. A segment ends where sizes have
to be read from a result (a Python step of unknown size, an integer computed by a kernel): most
functions have a single segment, and then everything is bound once per set of sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from symgraph import expr as E
from symgraph.compile import chain, library
from symgraph.compile.fuse import (
    Fused,
    Kernel,
    Library,
    Loop,
    Sink,
    Work,
    contiguous,
    is_contiguous,
)
from symgraph.compile.host import leaves
from symgraph.compile.inner import Inner, variables_of
from symgraph.compile.kernel import lower
from symgraph.compile.loop import LoopStep, loop_step
from symgraph.compile.nest import Layout, LoopNest
from symgraph.compile.printer import Printed, print_kernel
from symgraph.compile.sizes import Sizes
from symgraph.compile.steps import (
    ERRORS,
    WORKSPACE,
    LibraryOperands,
    LibraryRows,
    LibraryStage,
    PythonStep,
    Scratch,
    Step,
    Temporaries,
)
from symgraph.expr import Expr, Fold
from symgraph.graph import Apply, LibraryCall, Shape, Variable
from symgraph.ops.rounds import Carried
from symgraph.types import TensorType


@dataclass
class Plan:
    """Steps in order, `segments` as ranges of them, and the memory they use.

    `temporaries` maps every root that the plan allocates to its shape; `unsized` are results of
    Python steps whose shape is known only once they are there. `in_place` maps the slots of
    updates to the shared variables whose memory they overwrite when the sizes agree.
    """

    steps: list[Step | PythonStep]
    segments: list[tuple[int, int]]
    chains: list[tuple[int, int]]  # steps first .. last - 1 that run chunk by chunk (chain.py)
    temporaries: dict[Variable, Shape]
    scratch: dict[Variable, Scratch]
    unsized: set[Variable]
    slots: dict[Variable, Shape]
    in_place: dict[Variable, Variable]
    late: list[Variable]  # results that later segments read sizes from
    layouts: dict[Variable, Layout]
    sizes: Sizes

    def size_exprs(self, root: Variable) -> list[Expr]:
        """What must be known to allocate `root`; nothing if only its step can tell."""
        if root in self.unsized:
            return []
        return size_exprs(root, self.temporaries, self.scratch, self.slots)

    def native_steps(self) -> list[Step]:
        return [step for step in self.steps if isinstance(step, Step)]

    def sources(self) -> list[str]:
        """The kernels of all steps, those of inner programs included."""
        found = []
        for step in self.native_steps():
            if isinstance(step, LoopStep):
                found += step.inner.plan.sources()
            else:
                found.append(step.source)
        return found


def make_plan(fused: Fused, sizes: Sizes, sinks: Sequence[Sink]) -> Plan:
    """Steps, layouts and memory for fused work."""
    return Planner(fused, sizes, sinks).run()


class Planner:
    """Gives fused work its steps and its memory; targets differ in the steps."""

    def __init__(self, fused: Fused, sizes: Sizes, sinks: Sequence[Sink]) -> None:
        self.fused, self.sizes = fused, sizes
        self.slots = {s.slot: sizes.shape(s.value) for s in sinks}
        self.updates = {s.slot: s for s in sinks if s.is_update}
        self.layouts: dict[Variable, Layout] = {}
        self.temporaries: dict[Variable, Shape] = {}
        self.scratch: dict[Variable, Scratch] = {}
        self.unsized: set[Variable] = set()
        self.in_place: dict[Variable, Variable] = {}
        self.steps: list[Step | PythonStep] = []

    # -- memory -----------------------------------------------------------------------------------

    def shape(self, variable: Variable) -> Shape:
        return self.slots[variable] if variable in self.slots else self.sizes.shape(variable)

    def layout(self, variable: Variable) -> Layout:
        """Where `variable` lies. Chains of views are followed iteratively."""
        chain = [variable]
        while chain[-1] not in self.layouts and chain[-1] in self.fused.views:
            chain.append(self.fused.views[chain[-1]])
        for item in reversed(chain):
            if item in self.layouts:
                continue
            source = self.fused.views.get(item)
            if source is None:
                self.layouts[item] = self.own(item)
                continue
            below, node = self.layouts[source], item.owner
            assert node is not None
            view = node.op.view(node, below.strides, self.sizes)
            assert view is not None, f"{node} cannot be a view of {source}"
            self.layouts[item] = Layout(below.root, E.add(below.offset, view[0]), tuple(view[1]))
        return self.layouts[variable]

    def own(self, variable: Variable) -> Layout:
        root = self.fused.stored_as.get(variable, variable)
        if root in self.fused.materialized and root not in self.temporaries:
            self.temporaries[root] = self.shape(root)
        return Layout(root, E.ZERO, contiguous(self.shape(variable)))

    def temporary(self, dtype: str, shape: Sequence[Expr]) -> Variable:
        variable = TensorType(dtype, (False,) * len(shape)).make_variable()
        self.temporaries[variable] = tuple(shape)
        self.layouts[variable] = Layout(variable, E.ZERO, contiguous(tuple(shape)))
        return variable

    # -- steps ------------------------------------------------------------------------------------

    def run(self) -> Plan:
        work = list(self.fused.work)
        commits, late_updates = self.order_commits()
        self.in_place = {k.stores[0][0]: _target(self.updates[k.stores[0][0]]) for k in commits}
        for item in [*work, *late_updates, *commits]:
            self.add(item)
        segments, late = self.segment()
        # what a later segment finds wrong must find no shared variable changed
        chains = self.chain() if len(segments) == 1 else []
        return Plan(
            self.steps, segments, chains, self.temporaries, self.scratch, self.unsized, self.slots,
            self.in_place, late, self.layouts, self.sizes,
        )  # fmt: skip

    def order_commits(self) -> tuple[list[Kernel], list[Kernel]]:
        """Updates that may overwrite the old value, in an order that lets all others read it first;
        and those that may not: they fill a new array, which replaces the old one at the end."""
        targets = {k: _target(self.updates[k.stores[0][0]]) for k in self.fused.commits}
        reads = {k: self._reads(k) for k in self.fused.commits}
        remaining, ordered, separate = list(self.fused.commits), [], []
        for kernel in list(remaining):
            if kernel.is_fallible or not self._may_overwrite(kernel, targets[kernel]):
                remaining.remove(kernel)
                separate.append(kernel)
        while remaining:
            readers: dict[Variable, int] = {}
            for kernel in remaining:
                for variable in reads[kernel]:
                    readers[variable] = readers.get(variable, 0) + 1
            free = [
                k for k in remaining
                if readers.get(targets[k], 0) - (targets[k] in reads[k]) == 0
            ]  # fmt: skip
            for kernel in free:
                remaining.remove(kernel)
                ordered.append(kernel)
            if not free:
                separate.append(remaining.pop())
        return ordered, separate

    def _reads(self, kernel: Kernel) -> set[Variable]:
        return {self.layout(load.head).root for load in kernel.loads()}

    def _may_overwrite(self, kernel: Kernel, target: Variable) -> bool:
        """Whether each element of the old value is read only to make the same of the new one."""
        _, indices, value = kernel.stores[0]
        may_keep = len(kernel.loops) > 1  # what it needs twice, in its result's memory
        if may_keep and any(map(_is_fold, E.walk([value]))) and target in self._reads(kernel):
            return False
        strides = contiguous(self.shape(target))
        return all(
            load.args == indices and self.layout(load.head).strides == strides
            for load in kernel.loads()
            if self.layout(load.head).root is target
        )

    def add(self, item: Work) -> None:
        if isinstance(item, Kernel):
            for nest in lower(item, self.layout, self.temporary):
                self.steps.append(self.native(nest, print_kernel(nest)))
        elif isinstance(item, Library):
            self.add_library(item)
        elif isinstance(item, Loop):
            self.add_loop(item)
        else:
            node = item.node
            inputs = [(v, self.layout(v), self.shape(v)) for v in node.inputs]
            roots = [self.layout(output).root for output in node.outputs]
            for output in self.sizes.unsized.intersection(node.outputs):
                self.unsized.add(output)
                self.temporaries.pop(output, None)
            self.steps.append(PythonStep(node, inputs, roots))

    def native(self, nest: LoopNest, printed: Printed) -> Step:
        operands: list[tuple[Variable | str, Expr]] = [(o.root, o.offset) for o in printed.operands]
        if printed.has_errors:
            operands.append((ERRORS, E.ZERO))
        if printed.workspace:
            operands.append((WORKSPACE, E.ZERO))
        return Step(
            printed.source, operands, list(printed.sizes), nest.nodes, printed.extent,
            printed.grain, printed.workspace, loops=nest,
            rows=None if printed.workspace else chain.loop_rows(nest),
            overwrites=tuple(
                self.in_place[o.root] for o, _, _ in nest.stores if o.root in self.in_place
            ),
        )  # fmt: skip

    def library_operands(
        self, item: Library, temporaries: Temporaries
    ) -> tuple[dict[str, Layout], LibraryOperands]:
        """Where the operands and temporaries of a library call lie, by name; their shapes."""
        where: dict[str, Layout] = {}
        shapes: dict[str, Shape] = {}
        for kind, variables in (("in", item.call.inputs), ("out", item.node.outputs)):
            for k, variable in enumerate(variables):
                where[f"{kind}{k}"] = self.layout(variable)
                shapes[f"{kind}{k}"] = self.shape(variable)
        operands = LibraryOperands(*operand_shapes(item.call, where, shapes), temporaries)
        for name, (dtype, _) in temporaries.items():
            # its size follows from concrete shapes: Python computes it when binding
            variable = TensorType(dtype, (False,)).make_variable()
            self.scratch[variable] = Scratch(name, operands)
            where[name] = Layout(variable, E.ZERO, ())
        return where, operands

    def add_library(self, item: Library) -> None:
        call, node = item.call, item.node
        lowering = library.lower(call.name, call.dtype, call.params)
        where, operands_of = self.library_operands(item, lowering.temporaries)
        for stage in lowering.stages:
            operands: list[tuple[Variable | str, Expr]] = [
                (WORKSPACE, E.ZERO) if name == "work" else (where[name].root, where[name].offset)
                for name in stage.operands
            ]
            call_of = LibraryStage(stage, operands_of)
            places = {name: (at.root, at.offset) for name, at in where.items()}
            rows = LibraryRows(call_of, places) if stage.slices is not None else None
            self.steps.append(Step(stage.source, operands, [], [node], library=call_of, rows=rows))

    def add_loop(self, item: Loop) -> None:
        for inner in item.inner:
            named = variables_of(inner.rounds)
            layouts = {v: self.layout(v) for v in named}
            shapes = {v: self.shape(v) for v in named}
            carries = [goal.end for goal in inner.rounds.goals if isinstance(goal, Carried)]
            spare = {v: self.temporary(v.type.dtype, shapes[v]) for v in carries}
            arena = TensorType("uint8", (False,)).make_variable()
            # how much it needs is known when the inner program is bound
            unknown = LibraryOperands({}, {}, {"arena": ("uint8", lambda shapes: (0,))})
            self.scratch[arena] = Scratch("arena", unknown)
            self.steps.append(self.loop_step(item.node, inner, layouts, shapes, spare, arena))

    def loop_step(
        self, node: Apply, inner: Inner, layouts: Any, shapes: Any, spare: Any, arena: Variable
    ) -> LoopStep:
        return loop_step(node, inner, layouts, shapes, spare, arena)

    def chain(self) -> list[tuple[int, int]]:
        """Put the steps so far in an order with chains; where those are. Steps between two Python
        steps stay there."""
        chains: list[tuple[int, int]] = []
        ordered: list[Step | PythonStep] = []
        for is_native, run in groupby(self.steps, lambda step: isinstance(step, Step)):
            steps: list[Any] = list(run)
            if is_native:
                steps, found = chain.arrange(steps)
                chains += [(len(ordered) + a, len(ordered) + b) for a, b in found]
            ordered += steps
        self.steps = ordered
        return chains

    # -- segments ---------------------------------------------------------------------------------

    def segment(self) -> tuple[list[tuple[int, int]], list[Variable]]:
        """Cut the steps where sizes must be read from results."""
        segments, start = [], 0
        late = dict.fromkeys(self._guarded())
        guarded = set(late)
        made: set[Variable] = set()
        for position, step in enumerate(self.steps):
            needs = {leaf.head[0] for leaf in leaves(self._host(step))}
            reads = {v for v in needs if v.owner is not None}
            late.update(dict.fromkeys(reads))
            reads |= guarded
            if reads & made or any(self.layout(v).root in made for v in reads):
                segments.append((start, position))
                start, made = position, set()
            made.update(step.written())
        segments.append((start, len(self.steps)))
        return segments, list(late)

    def _guarded(self) -> list[Variable]:
        """Results whose sizes or values a check asks for: no step may run before it has passed."""
        found: dict[Variable, None] = {}
        for _, check in self.sizes.checks:
            for leaf in leaves([check.holds, *check.facts]):
                variable = source = leaf.head[0]
                while source in self.fused.views:
                    source = self.fused.views[source]
                if variable.owner is not None and source in self.fused.materialized:
                    found.setdefault(variable)
        return list(found)

    def _host(self, step: Step | PythonStep) -> list[Expr]:
        """What must be known before the step: its own parameters and the sizes of its results."""
        exprs = step.host()
        for root in step.written():
            if root not in self.unsized:
                exprs += size_exprs(root, self.temporaries, self.scratch, self.slots)
        return exprs


def operand_shapes(
    call: LibraryCall, where: Mapping[str, Layout], shapes: Mapping[str, Shape]
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Shapes of a library call's operands, and strides of those that are not dense."""
    strides = {
        name: at.strides
        for name, at in where.items()
        if name not in call.shapes and not is_contiguous(shapes[name], at.strides)
    }
    known = {**shapes, **call.shapes}
    for name in call.turned:
        *batch, m, n = known[name]
        *outer, by_n, by_m = contiguous((*batch, n, m))
        strides[name] = (*outer, by_m, by_n)
    return known, strides


def size_exprs(
    root: Variable,
    temporaries: Mapping[Variable, Shape],
    scratch: Mapping[Variable, Scratch],
    slots: Mapping[Variable, Shape],
) -> list[Expr]:
    """What must be known to allocate the memory of `root`."""
    if root in scratch:
        return [e for shape in scratch[root].operands.shapes.values() for e in shape]
    return list(temporaries.get(root, slots.get(root, ())))


def _is_fold(expr: Expr) -> bool:
    return type(expr) is Fold


def _target(sink: Sink) -> Variable:
    target = sink.slot.tag.target
    assert isinstance(target, Variable)
    return target
