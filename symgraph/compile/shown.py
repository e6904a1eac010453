"""What a compiled function shows: its kernels, and the rewritten graph as in Theano."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from symgraph.compile.inputs import In, Out
from symgraph.subject import Placement

if TYPE_CHECKING:
    from symgraph.compile.function import Function
    from symgraph.compile.pipeline import Compiled
    from symgraph.compile.request import Request


class KernelInfo:
    """A kernel of a compiled function: `name`, `doc` (what it computes), `source`, `nodes`.

    Of a device: in how many `blocks` of how many `threads` the last call launched it, and its
    source is what ran then. Before any call they are None, and the source holds all variants among
    which sizes choose. `library` is the name of the library's operation that it is a stage of.
    """

    def __init__(
        self,
        name: str,
        doc: str,
        source: str,
        nodes: tuple[Any, ...],
        blocks: int | None = None,
        threads: int | None = None,
        library: str = "",
    ) -> None:
        self.name, self.doc, self.source, self.nodes = name, doc, source, nodes
        self.blocks, self.threads, self.library = blocks, threads, library

    def __repr__(self) -> str:
        grid = f" ({self.blocks} blocks of {self.threads} threads)" if self.blocks else ""
        return f"# {self.name}: {self.doc}{grid}\n{self.source}"


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
    """The kernels in order; of a device's function without its steps of the host."""
    from symgraph.compile.steps import PythonStep

    if compiled.device is not None:
        return list(_device_kernels(compiled))
    infos = []
    for position, step in enumerate(compiled.plan.steps):
        source = "(runs in Python)" if isinstance(step, PythonStep) else step.source
        what = describe(step, source)
        infos.append(KernelInfo(f"kernel{position}", what, source, tuple(step.nodes)))
    return infos


def _device_kernels(compiled: Compiled) -> Iterator[KernelInfo]:
    from symgraph.compile.cuda.plan import CublasProduct
    from symgraph.compile.steps import PythonStep

    program: Any = compiled.program
    launches: dict[int, dict[str, Any]] = {}  # by step, by source: of a loop there are many
    for launch in program.launched():
        launches.setdefault(launch.step, {}).setdefault(launch.source, launch)
    for position, step in enumerate(compiled.plan.steps):
        if isinstance(step, (PythonStep, CublasProduct)):
            continue
        nodes, ran = tuple(step.nodes), launches.get(position, {})
        library = getattr(step, "called", "")
        for number, (source, launch) in enumerate(ran.items()):
            name = f"kernel{position}" + (f".{number}" if len(ran) > 1 else "")
            what = describe(step, source)
            yield KernelInfo(name, what, source, nodes, launch.blocks, launch.threads, library)
        if program.latest is None:
            source = "\n\n".join(step.variants())
            shown = source or "# printed when its sizes are known"
            what = describe(step, source)
            yield KernelInfo(f"kernel{position}", what, shown, nodes, library=library)


def describe(step: Any, source: str) -> str:
    """What a step computes, in a line."""
    what = ", ".join(dict.fromkeys(str(node.op) for node in step.nodes)) or "copy"
    if source.startswith("# "):  # a library kernel says which stage it is
        return f"{what}: {source.splitlines()[0][2:]}"
    library = getattr(step, "called", "")
    return f"{what}: {library}" if library else what


def _placement(compiled: Compiled) -> Placement | None:
    from symgraph.compile.steps import PythonStep

    if compiled.device is None:
        return None
    program: Any = compiled.program
    host = (step.node for step in compiled.plan.steps if isinstance(step, PythonStep))
    fed = (program.inputs[k] for k in program.feeds)
    return Placement(frozenset(host), frozenset(fed), frozenset(program.shared), program.stays)


def maker(function: Function, compiled: Compiled, request: Request) -> SimpleNamespace:
    """Theano's `f.maker`.

    `fgraph` is the rewritten graph: `inputs`, `outputs` (those of updates last, after as many as
    `returned`), `updates`, `apply_nodes`, `toposort()`, `placement` (what is where in a function of
    a device, else None). `inputs` and `outputs` are `In` and `Out` objects, of which shared
    variables are the last inputs. Source: Theano, extending/graphstructures, tutorial/modes.
    """
    graph = SimpleNamespace(
        name=function.name,
        inputs=[*request.arguments, *request.shared],
        outputs=[*compiled.outputs, *(value for _, value in compiled.updates)],
        returned=len(compiled.outputs),
        updates=dict(compiled.updates),
        apply_nodes=set(compiled.nodes),
        toposort=lambda: list(compiled.nodes),
        placement=_placement(compiled),
    )
    implicit = [In(v, value=v, implicit=True) for v in function.get_shared()]
    outs = [Out(*pair) for pair in zip(request.outputs, request.borrowed, strict=True)]
    ins = [*function.inputs, *implicit]
    return SimpleNamespace(
        fgraph=graph, inputs=ins, outputs=outs, mode=function.mode, function=function
    )
