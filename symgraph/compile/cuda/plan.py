"""Plans for the device: the same work and memory, other steps.

Commits look for an error first (`guarded`): the host need not wait to know whether a call failed
before it lets shared variables change. A new value that may not overwrite the old one as it is
computed is copied over it last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from symgraph import expr as E
from symgraph.compile.cuda import library
from symgraph.compile.cuda.calls import Chosen
from symgraph.compile.cuda.cublas import ROUTINES, Product, matmul
from symgraph.compile.cuda.library.stage import Stage
from symgraph.compile.cuda.loop import DeviceLoop, others_of
from symgraph.compile.cuda.printer import ALONE, Team, print_device
from symgraph.compile.cuda.printer import Shape as Cut
from symgraph.compile.cuda.signature import threads
from symgraph.compile.fuse import Fused, Kernel, Library, Sink, Work
from symgraph.compile.inner import Inner
from symgraph.compile.kernel import lower
from symgraph.compile.loop import LoopStep, loop_step
from symgraph.compile.nest import LoopNest
from symgraph.compile.plan import Plan, Planner
from symgraph.compile.printer import Printed
from symgraph.compile.sizes import Sizes
from symgraph.compile.steps import ERRORS, LibraryOperands, Step
from symgraph.expr import Const, Expr, Index
from symgraph.graph import Apply, LibraryCall, Variable

PARTS = 1024  # of the reduction of a whole array
PRODUCTS = ("gemm", "batched_dot")  # what cuBLAS may compute


@dataclass(eq=False)
class DeviceStep(Step):
    """A printed nest, for each size of team that it may be worked on by."""

    cut: Cut = None  # type: ignore[assignment]
    printed: dict[Team, Printed] = field(default_factory=dict)
    guarded: bool = False

    @property
    def outs(self) -> int:
        """So many of the operands, the first, are written."""
        return len({operand for operand, _, _ in self.cut.nest.stores})

    def host(self) -> list[Expr]:
        exprs = [offset for _, offset in self.operands]
        for printed in self.printed.values():
            exprs += [*printed.sizes, printed.extent]
        return exprs + self.cut.host()

    def variants(self) -> list[str]:
        return list(dict.fromkeys(printed.source for printed in self.printed.values()))

    def choose(self, value: Mapping[Expr, int]) -> Chosen:
        """The launch for concrete sizes. A kernel that may refuse data takes one size more, the
        number of its site."""
        printed = self.printed[self.cut.choose(value)]
        sizes = [*map(value.__getitem__, printed.sizes)]
        return Chosen(printed.source, value[printed.extent], threads(printed.source), sizes)


@dataclass(eq=False)
class LibraryPart(Step):
    """A step of the library's operation `called`; the first `outs` operands are written."""

    shapes_of: LibraryOperands = None  # type: ignore[assignment]
    called: str = ""

    @property
    def outs(self) -> int:
        return 1

    def written(self) -> list[Variable]:
        return self.touched()[: self.outs]

    def host(self) -> list[Expr]:
        known = (*self.shapes_of.shapes.values(), *self.shapes_of.strides.values())
        return [offset for _, offset in self.operands] + [e for shape in known for e in shape]


@dataclass(eq=False)
class CublasProduct(LibraryPart):
    """A matrix product by cuBLAS: operands C, A, B."""

    dtype: str = ""

    def variants(self) -> list[str]:
        """It is no kernel."""
        return []

    def choose(self, value: Mapping[Expr, int]) -> Product | None:
        """The product for concrete sizes; None: cuBLAS cannot compute it."""
        _, sizes = self.shapes_of.concrete(value)
        return matmul(sizes["in0"], sizes["in1"])


@dataclass(eq=False)
class DeviceStage(LibraryPart):
    """A launch of a library kernel, unless `instead` computes the operation."""

    guarded = False
    stage: Stage = None  # type: ignore[assignment]
    instead: CublasProduct | None = None

    @property
    def outs(self) -> int:
        return self.stage.written

    def variants(self) -> list[str]:
        """None where sizes that are not known yet decide what is printed."""
        asked = self.host()[len(self.operands) :]
        known: dict[Expr, int] = {e: e.value for e in asked if isinstance(e, Const)}
        source = self.choose(known).source if len(known) == len(set(asked)) else ""
        return [source] if source else []

    def choose(self, value: Mapping[Expr, int]) -> Chosen:
        """The launch for concrete sizes."""
        shapes, sizes = self.shapes_of.concrete(value)
        blocks = self.stage.blocks(shapes)
        if not blocks or (self.instead is not None and self.instead.choose(value) is not None):
            return Chosen("", 0, 0, [])
        source = self.stage.source(shapes)
        numbers = [n for name in self.stage.operands for n in sizes[name]]
        return Chosen(source, blocks, threads(source), numbers)


class DevicePlanner(Planner):
    def __init__(self, fused: Fused, sizes: Sizes, sinks: Sequence[Sink], has_cublas: bool) -> None:
        super().__init__(fused, sizes, sinks)
        self.has_cublas = has_cublas
        self.commits: set[Kernel] = set()

    def order_commits(self) -> tuple[list[Kernel], list[Kernel]]:
        ordered, separate = super().order_commits()
        copies = [self._copied(kernel) for kernel in separate]
        self.commits = {*ordered, *copies}
        return [*ordered, *copies], separate

    def _copied(self, kernel: Kernel) -> Kernel:
        """Have `kernel` store into a temporary; a commit that copies it."""
        ((slot, target, value),) = kernel.stores
        shape = self.shape(slot)
        made = self.temporary(slot.type.dtype, shape)
        kernel.stores = [(made, target, value)]
        indices = tuple(E.ZERO if size is E.ONE else E.index(size) for size in shape)
        loops = tuple(i for i in indices if type(i) is Index)
        return Kernel(loops, [(slot, indices, E.load(made, indices))], [], kernel.position)

    def add(self, item: Work) -> None:
        if not isinstance(item, Kernel):
            super().add(item)
            return
        guarded = item in self.commits and any(s.is_fallible for s in self._native())
        for nest in lower(item, self.layout, self.temporary, PARTS):
            self.steps.append(self.device_step(nest, guarded))

    def _native(self) -> list[Step]:
        return [step for step in self.steps if isinstance(step, Step)]

    def device_step(self, nest: LoopNest, guarded: bool) -> DeviceStep:
        cut = Cut(nest)
        printed = {team: print_device(nest, team, guarded) for team in cut.teams}
        first = printed[ALONE]
        assert all(p.operands == first.operands for p in printed.values())
        operands: list[tuple[Variable | str, Expr]] = [(o.root, o.offset) for o in first.operands]
        if first.has_errors:
            operands.append((ERRORS, E.ZERO))
        return DeviceStep(
            first.source, operands, [], nest.nodes, loops=nest, cut=cut, printed=printed,
            guarded=guarded,
            overwrites=tuple(
                self.in_place[o.root] for o, _, _ in nest.stores if o.root in self.in_place
            ),
        )  # fmt: skip

    def add_library(self, item: Library) -> None:
        call, node = item.call, item.node
        lowering = library.lower(call.name, call.dtype, call.params)
        assert lowering is not None
        where, operands_of = self.library_operands(item, lowering.temporaries)

        def operands(names: Sequence[str]) -> list[tuple[Variable | str, Expr]]:
            return [(where[name].root, where[name].offset) for name in names]

        instead = None
        if self.has_cublas and call.name in PRODUCTS and call.dtype in ROUTINES:
            instead = CublasProduct(
                "", operands(("out0", "in0", "in1")), [], [node], shapes_of=operands_of,
                called=f"cuBLAS {call.name}", dtype=call.dtype,
            )  # fmt: skip
            self.steps.append(instead)
        for stage in lowering.stages:
            self.steps.append(
                DeviceStage(
                    "", operands(stage.operands), [], [node], shapes_of=operands_of,
                    called=call.name, stage=stage, instead=instead,
                )
            )  # fmt: skip

    def loop_step(
        self, node: Apply, inner: Inner, layouts: Any, shapes: Any, spare: Any, arena: Variable
    ) -> LoopStep:
        others = others_of(inner)
        return loop_step(node, inner, layouts, shapes, spare, arena, DeviceLoop, others)

    def chain(self) -> list[tuple[int, int]]:
        return []  # the device's caches are no place to wait in


def make_plan(fused: Fused, sizes: Sizes, sinks: Sequence[Sink], has_cublas: bool = False) -> Plan:
    """Steps, layouts and memory for fused work on the device."""
    return DevicePlanner(fused, sizes, sinks, has_cublas).run()


def call_of(node: Apply, sizes: Any) -> LibraryCall | None:
    """The library kernel that computes a node on the device, if there is one."""
    lowering = node.op.device_lowering or node.op.lowering
    call = lowering(node, sizes) if lowering is not None else None
    if call is None or library.lower(call.name, call.dtype, call.params) is None:
        return None
    return call
