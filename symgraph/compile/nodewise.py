"""Functions that run node by node, each node a program of its own, so that others can look on.

Slower than a fused program, but between two nodes everything can be seen: NanGuardMode looks at
each result, MonitorMode hands each node to the user's functions. The nodes are those of the
rewritten graph; every one knows the user's line that it comes from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from symgraph.compile.calling import CallPath
from symgraph.compile.inputs import In
from symgraph.compile.mode import HostMode, Options
from symgraph.compile.pipeline import Compiled, assemble
from symgraph.compile.request import Form
from symgraph.compile.rules import rewrite_graph
from symgraph.compile.steps import PythonStep, Step
from symgraph.graph import Apply, Constant, Variable, reapply, toposort
from symgraph.rewrite import Rewriter, Table
from symgraph.sharedvalue import SharedVariable
from symgraph.types import DISCRETE, TensorType

Cell = list[Any]  # of one value


class NodeProgram:
    """One node, compiled alone: called with the values of `leaves`, it gives those of its outputs
    as a list, in arrays of their own. What is no array runs as the op's `evaluate`.

    The leaves are the node's inputs; in the place of an integer vector that is computed from
    integers, what it is computed from, since sizes may follow from its length.
    """

    def __init__(self, node: Apply, options: Options) -> None:
        self.node = node
        self.leaves = list(node.inputs)
        self.steps: list[Step | PythonStep] = []
        self._call: Callable[..., Any] | None = None
        self.free: Callable[[], None] = lambda: None
        if not all(isinstance(v.type, TensorType) for v in (*node.inputs, *node.outputs)):
            return
        env = {v: v.type.make_variable(v.name) for v in _leaves(node)}
        self.leaves = list(env)
        given = list(env.values())
        for below in [*toposort(node.inputs, stop_at=self.leaves), node]:
            copy = reapply(below, [env.get(v, v) for v in below.inputs])
            env.update(zip(below.outputs, copy.outputs, strict=True))
        compiled = assemble(given, copy.outputs, [], [], options)
        self.steps, self.free = compiled.plan.steps, compiled.free
        self._call = CallPath(compiled.program, [In(v) for v in given], "list", trusted=True).call

    @property
    def is_native(self) -> bool:
        """Whether the node, or a part of it, is computed by kernels."""
        return not all(isinstance(step, PythonStep) for step in self.steps)

    def __call__(self, *values: Any) -> list[Any]:
        if self._call is None:
            return list(self.node.op.evaluate(self.node, *values))
        return self._call(None, *map(_dense, values))  # type: ignore[no-any-return]


def _leaves(node: Apply) -> list[Variable]:
    found: dict[Variable, None] = {}
    stack = list(node.inputs)
    while stack:
        variable = stack.pop()
        if _is_of_sizes(variable):
            stack += variable.owner.inputs  # type: ignore[union-attr]
        elif not isinstance(variable, Constant):
            found[variable] = None
    return list(found)


def _is_of_sizes(variable: Variable) -> bool:
    kinds = [variable.type, *(v.type for v in variable.owner.inputs)] if variable.owner else []
    whole = (isinstance(kind, TensorType) and kind.dtype in DISCRETE for kind in kinds)
    return bool(kinds) and variable.type.ndim == 1 and all(whole)


def _dense(value: Any) -> Any:
    flags = value.flags
    return value if flags.c_contiguous and flags.aligned else np.array(value, order="C")


class Thunk:
    """A node of a running function. `inputs` and `outputs` are cells: lists that hold one value.
    Calling it computes the outputs from the inputs. Source: Theano, extending/pipeline (thunks).
    """

    def __init__(self, program: NodeProgram, cell: Callable[[Variable], Cell]) -> None:
        self.node, self.program = program.node, program
        self.inputs = list(map(cell, self.node.inputs))
        self.outputs = list(map(cell, self.node.outputs))
        self.leaves = list(map(cell, program.leaves))

    def __call__(self) -> None:
        results = self.program(*(cell[0] for cell in self.leaves))
        for cell, value in zip(self.outputs, results, strict=True):
            cell[0] = value


class Watch:
    """What looks on while a function runs; this one only lets it run."""

    def rewritten(self, variable: Variable, new: Variable) -> None:
        """While compiling: `new` stands for the result `variable` of the user's graph."""

    def leaf(self, variable: Variable, value: Any) -> None:
        """Before a call: an input, a constant or a shared variable, and its value."""

    def run(self, position: int, thunk: Thunk) -> None:
        """Has to call `thunk`, the node at `position`."""
        thunk()


class Nodewise(Compiled):
    """A function's program, one node after the other under a `Watch`. Thread-safe by taking turns.

    New values of shared variables are put in place when all has been computed.
    """

    def __init__(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        shared: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
        options: Options,
        watch: Watch,
    ) -> None:
        asked = [*outputs, *(value for _, value in updates)]
        made: list[Rewriter] = []

        def rewriter(table: Table) -> Rewriter:
            made.append(Rewriter(table))
            return made[-1]

        values = rewrite_graph(
            asked, options.rewrites, options.excluding, options.requiring, rewriter
        )
        for node in toposort(asked):
            for variable in node.outputs:
                watch.rewritten(variable, made[-1].leaf(made[0].leaf(variable)))
        self.nodes = toposort(values)
        self.outputs = values[: len(outputs)]
        new = values[len(outputs) :]
        self.updates = [(target, value) for (target, _), value in zip(updates, new, strict=True)]
        self.inputs, self.watch, self.lock = list(inputs), watch, threading.RLock()
        self.cells: dict[Variable, Cell] = {v: [None] for v in (*inputs, *shared)}
        self.thunks = [Thunk(NodeProgram(node, options), self._cell) for node in self.nodes]
        for value in values:
            self._cell(value)
        self.shared = [v for v in self.cells if isinstance(v, SharedVariable)]
        # what `Function` and pictures look for
        self.plan = SimpleNamespace(  # type: ignore[assignment]
            steps=[step for thunk in self.thunks for step in thunk.program.steps]
        )
        self.program = SimpleNamespace(  # type: ignore[assignment]
            shared=[v for v in self.shared if isinstance(v.type, TensorType)]
        )

    def _cell(self, variable: Variable) -> Cell:
        value = variable.data if isinstance(variable, Constant) else None
        return self.cells.setdefault(variable, [value])

    def call_path(self, ins: Sequence[In], form: Form, trusted: bool) -> CallPath:
        return NodewisePath(self, form, trusted)  # type: ignore[return-value]

    def free(self) -> None:
        for thunk in self.thunks:
            thunk.program.free()

    def run(self, values: Sequence[Any]) -> list[Any]:
        """The outputs for these values of the inputs; shared variables are updated."""
        with self.lock:
            try:
                for variable, value in zip(self.inputs, values, strict=True):
                    self.cells[variable][0] = value
                for variable in self.shared:
                    self.cells[variable][0] = variable.container.on_host()
                for variable, cell in self.cells.items():
                    if variable.owner is None:
                        self.watch.leaf(variable, cell[0])
                for position, thunk in enumerate(self.thunks):
                    self.watch.run(position, thunk)
                results = [_own(self.cells[v][0]) for v in self.outputs]
                new = [_own(self.cells[value][0]) for _, value in self.updates]
            finally:
                for variable, cell in self.cells.items():
                    if not isinstance(variable, Constant):
                        cell[0] = None
            for (target, _), value in zip(self.updates, new, strict=True):
                target.container.replace(value)  # type: ignore[attr-defined]
            return results


def _own(value: Any) -> Any:
    """A copy: what is returned or kept shares no memory with anything."""
    return np.array(value, order="C") if isinstance(value, np.ndarray) else value


class NodewisePath:
    """The call path of a program with a method `run(values)`, which gives results in a list."""

    source = "(runs node by node)"

    def __init__(self, compiled: Any, form: Form, trusted: bool) -> None:
        self.compiled, self.form, self.trusted = compiled, form, trusted

    def call(self, owner: Any, *values: Any) -> Any:
        if not self.trusted:
            values = tuple(owner.accept(k, value) for k, value in enumerate(values))
        return self.packed(self.compiled.run(values))

    def packed(self, results: list[Any]) -> Any:
        """The results in the form in which they were asked for."""
        if self.form == "single":
            return results[0]
        return results if isinstance(self.form, str) else dict(zip(self.form, results, strict=True))


class WatchedMode(HostMode):
    """A mode whose functions run node by node on the CPU; `watch` makes what looks on."""

    def watch(self) -> Watch:
        return Watch()

    def compile(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        shared: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
    ) -> Compiled:
        return Nodewise(inputs, outputs, shared, updates, self.options, self.watch())
