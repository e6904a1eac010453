"""What a compiled function shows: its kernels, and the rewritten graph as in Theano."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from symgraph.compile.inputs import In, Out

if TYPE_CHECKING:
    from symgraph.compile.function import Function
    from symgraph.compile.pipeline import Compiled
    from symgraph.compile.request import Request


class KernelInfo:
    """A kernel of a compiled function: `name`, `doc` (what it computes), `source`, `nodes`."""

    def __init__(self, name: str, doc: str, source: str, nodes: tuple[Any, ...]) -> None:
        self.name, self.doc, self.source, self.nodes = name, doc, source, nodes

    def __repr__(self) -> str:
        return f"# {self.name}: {self.doc}\n{self.source}"


class Containers:
    """`f.container`: by input, name or position, what holds the value between calls.

    Source: Theano, library/compile/io.
    """

    def __init__(self, function: Function) -> None:
        self._function = function

    def __getitem__(self, key: Any) -> Cell:
        self._function[key]  # raises TypeError for an unknown key
        return Cell(self._function, key)


class Cell:
    """`value` reads and assigns what `f[key]` does; `data` is Theano's second name for it."""

    def __init__(self, function: Function, key: Any) -> None:
        self._function, self._key = function, key

    @property
    def value(self) -> Any:
        return self._function[self._key]

    @value.setter
    def value(self, new: Any) -> None:
        self._function[self._key] = new

    data = value


def kernels(compiled: Compiled) -> list[KernelInfo]:
    """The kernels in order."""
    from symgraph.compile.steps import PythonStep

    infos = []
    for position, step in enumerate(compiled.plan.steps):
        if isinstance(step, PythonStep):
            nodes, source = [step.node], "(runs in Python)"
        else:
            nodes, source = step.nodes, step.source
        what = ", ".join(dict.fromkeys(str(n.op) for n in nodes)) or "copy"
        if source.startswith("# "):  # a library kernel says which stage it is
            what += f": {source.splitlines()[0][2:]}"
        infos.append(KernelInfo(f"kernel{position}", what, source, tuple(nodes)))
    return infos


def maker(function: Function, compiled: Compiled, request: Request) -> SimpleNamespace:
    """Theano's `f.maker`.

    `fgraph` is the rewritten graph: `inputs`, `outputs` (those of updates last), `updates`,
    `apply_nodes`, `toposort()`. `inputs` and `outputs` are `In` and `Out` objects, of which shared
    variables are the last inputs. Source: Theano, extending/graphstructures, tutorial/modes.
    """
    graph = SimpleNamespace(
        name=function.name,
        inputs=[*request.arguments, *request.shared],
        outputs=[*compiled.outputs, *(value for _, value in compiled.updates)],
        updates=dict(compiled.updates),
        apply_nodes=set(compiled.nodes),
        toposort=lambda: list(compiled.nodes),
    )
    implicit = [In(v, value=v, implicit=True) for v in function.get_shared()]
    outs = [Out(*pair) for pair in zip(request.outputs, request.borrowed, strict=True)]
    ins = [*function.inputs, *implicit]
    return SimpleNamespace(
        fgraph=graph, inputs=ins, outputs=outs, mode=function.mode, function=function
    )
