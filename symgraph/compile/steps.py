"""The steps of a plan: what binding needs to know of each, whatever it runs.

A step knows its operands (where they lie, as host expressions), its sizes, how many items it has
and in which chunks, and which arrays its items follow (chain.py). Library stages work theirs out
from concrete shapes; printed loops have expressions for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

from symgraph import expr as E
from symgraph.compile import chain, library
from symgraph.compile.nest import Layout, LoopNest
from symgraph.expr import Expr
from symgraph.graph import Apply, Shape, Variable

ERRORS, WORKSPACE = "errors", "workspace"  # operands that are no variable's


Temporaries = Mapping[str, tuple[str, Callable[[library.Shapes], tuple[int, ...]]]]
"""A library kernel's temporaries by name: dtype, and shape for concrete shapes of the operands."""


@dataclass(eq=False)
class LibraryOperands:
    """Shapes of a library call's operands and temporaries, by name, for all stages; and strides of
    operands that are not dense. The shapes of temporaries follow from concrete shapes."""

    shapes: dict[str, Shape]
    strides: dict[str, Shape]
    temporaries: Temporaries
    latest: tuple[Mapping[Expr, int], dict[str, tuple[int, ...]], dict[str, list[int]]] | None = (
        None
    )

    def concrete(
        self, value: Mapping[Expr, int]
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, list[int]]]:
        """Shapes, and shapes followed by strides, by name; worked out once per binding."""
        latest = self.latest
        if latest is None or latest[0] is not value:
            known = value.__getitem__
            shapes = {n: tuple(map(known, s)) for n, s in self.shapes.items()}
            for name, (_, size) in self.temporaries.items():
                shapes[name] = size(shapes)
            sizes = {name: [*shape, *dense_strides(shape)] for name, shape in shapes.items()}
            for name, strides in self.strides.items():
                numbers, ndim = sizes[name], len(strides)
                for k, stride in enumerate(map(known, strides)):
                    if numbers[k] != 1:  # the stride of an axis of size 1 says nothing
                        numbers[ndim + k] = stride
            self.latest = latest = value, shapes, sizes
        return latest[1:]


@dataclass(frozen=True, eq=False)
class Scratch:
    """A library kernel's temporary: which of `operands`."""

    name: str
    operands: LibraryOperands

    def shape(self, value: Mapping[Expr, int]) -> tuple[int, ...]:
        """Its concrete shape."""
        return self.operands.concrete(value)[0][self.name]


@dataclass(frozen=True, eq=False)
class LibraryStage:
    """One stage of a library kernel."""

    stage: library.Stage
    operands: LibraryOperands

    def host(self) -> list[Expr]:
        """What its sizes are computed from."""
        both = (*self.operands.shapes.values(), *self.operands.strides.values())
        return [e for shape in both for e in shape]

    def bind(self, value: Mapping[Expr, int]) -> tuple[list[int], int, int, int]:
        """(sizes, extent, grain, workspace bytes per worker) for concrete sizes; the last of the
        sizes is for the latter, where the stage has a workspace."""
        stage = self.stage
        shapes, sizes = self.operands.concrete(value)
        numbers = [n for name in stage.operands if name != "work" for n in sizes[name]]
        if "work" in stage.operands:
            numbers.append(0)
        return numbers, stage.extent(shapes), stage.grain(shapes), stage.workspace(shapes)


@dataclass(frozen=True, eq=False)
class LibraryRows:
    """How a stage's items follow the leading axis of the operands that it names (chain.Rows)."""

    call: LibraryStage
    places: Mapping[str, tuple[Variable, Expr]]

    @property
    def roots(self) -> frozenset[Variable]:
        """The arrays that are followed."""
        operands = self.call.operands
        return frozenset(
            self.places[name][0]
            for name in self.call.stage.along
            if self.places[name][1] is E.ZERO and name not in operands.strides
        )

    def host(self) -> list[Expr]:
        """Nothing that the step itself does not ask for."""
        return []

    def slices(
        self, value: Mapping[Expr, int], shared: Mapping[Variable, int], extent: int
    ) -> chain.Slices | None:
        """As chain.Rows says: arrays in `shared` must be whole and dense."""
        call = self.call
        assert call.stage.slices is not None
        shapes, sizes = call.operands.concrete(value)
        entries, items, length = call.stage.slices(shapes)
        for name, (root, _) in self.places.items():
            if root in shared:
                shape = shapes[name]
                dense = [*shape, *dense_strides(shape)]
                is_dense = name not in call.operands.strides or sizes[name] == dense
                if not is_dense or shape[0] != length or prod(shape) != shared[root]:
                    return None
        return chain.Slices(entries, items, length)


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a C-contiguous array of concrete shape."""
    strides = accumulate(shape[:0:-1], mul, initial=1)
    return tuple(strides)[::-1] if shape else ()


@dataclass(eq=False)
class Step:
    """One native step: its kernel's source, operands (root, offset) and host parameters.

    A library stage computes its sizes, extent, grain and workspace from the concrete shapes.
    """

    source: str
    operands: list[tuple[Variable | str, Expr]]
    sizes: list[Expr]
    nodes: list[Apply]
    extent: Expr | None = None
    grain: Expr | None = None
    workspace: int = 0
    library: LibraryStage | None = None
    loops: LoopNest | None = None
    rows: chain.Rows | None = None
    overwrites: tuple[Variable, ...] = ()  # shared variables whose memory it may write to

    def variants(self) -> list[str]:
        """The texts of the kernels among which concrete sizes choose."""
        return [self.source]

    @property
    def is_fallible(self) -> bool:
        """Whether it may meet data that it must refuse."""
        return any(root == ERRORS for root, _ in self.operands if isinstance(root, str))

    def touched(self) -> list[Variable]:
        """The roots of the memory that it reads or writes."""
        own = [root for root, _ in self.operands if isinstance(root, Variable)]
        return [*self.overwrites, *own]

    def written(self) -> list[Variable]:
        """The roots of the memory that it writes: its first operands."""
        if self.library is not None:
            names = self.library.stage.operands
            return self.touched()[: sum(not name.startswith(("in", "work")) for name in names)]
        assert self.loops is not None
        count = len({operand for operand, _, _ in self.loops.stores})
        return self.touched()[: len(self.overwrites) + count]

    def host(self) -> list[Expr]:
        """Every host expression that binding this step needs."""
        exprs = [offset for _, offset in self.operands] + list(self.sizes)
        if self.extent is not None and self.grain is not None:
            exprs += [self.extent, self.grain]
        if self.rows is not None:
            exprs += self.rows.host()
        return exprs + (self.library.host() if self.library is not None else [])

    def bind(self, value: Mapping[Expr, int]) -> tuple[list[int], int, int, int]:
        """(sizes, extent, grain, workspace bytes per worker) for concrete sizes."""
        if self.library is not None:
            return self.library.bind(value)
        assert self.extent is not None and self.grain is not None
        sizes = [*map(value.__getitem__, self.sizes)]
        return sizes, value[self.extent], value[self.grain], self.workspace


@dataclass(eq=False)
class PythonStep:
    """A node that runs in Python; inputs are arrays of these layouts, results go to these roots."""

    node: Apply
    inputs: list[tuple[Variable, Layout, Shape]]
    roots: list[Variable]
    run: Callable[..., Sequence[Any]] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.run is None:
            self.run = partial(self.node.op.evaluate, self.node)

    @property
    def nodes(self) -> list[Apply]:
        return [self.node]

    def touched(self) -> list[Variable]:
        return [at.root for _, at, _ in self.inputs] + self.roots

    def written(self) -> list[Variable]:
        return self.roots

    def host(self) -> list[Expr]:
        return [e for _, at, shape in self.inputs for e in (*shape, at.offset, *at.strides)]
