"""Loop nests as CUDA source: the CPU printer's bodies in other loops.

Each *item*, a turn of the outer loops, is worked out by a *team* of threads: one thread, a warp or
a block. A team shares out what each reduction adds up, and then the inner loops; partial results
meet by shuffles and, in a block, in shared memory, always in the same order. Which team is best
depends on sizes, so a step holds the text for each and takes one when sizes are bound.

Stores whose order counts (two of them may be to one element) are made by threads that own
elements: those along loops that tell elements apart, else by address. Each thread goes through the
others in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from symgraph import expr as E
from symgraph.compile.lanes import Lanes
from symgraph.compile.nest import LoopNest
from symgraph.compile.printer import Printed, Printer, Scope, kernel_dtype, step_of, unit_of
from symgraph.expr import Expr, Fold, Index, Load

THREADS = 256  # of a block, unless a team has more
WARP = 32
TEAMS = (1, WARP, THREADS, 1024)
OWNERS = 4096  # threads among which the elements of an ordered store are dealt out
FEW, MANY, MOST = 8, 512, 8192  # elements of a reduction: the most for a thread, a warp, a block
COLUMNS, ROWS, SUMS = 32768, 1024, 264  # items that keep the device busy with so small teams


Team = tuple[int, int]
"""Which level of reductions (`Shape.levels`) is shared, and by how many threads."""
ALONE: Team = (0, 1)


class Level:
    """Reductions that a team can share: all of a nest, or all within those."""

    def __init__(self, folds: Sequence[Fold]) -> None:
        self.folds = [
            fold for fold in folds if fold.kind not in ("argmax", "argmin") and _is_even(fold)
        ]

    @cached_property
    def lengths(self) -> list[Expr]:
        """What the reductions add up, each; host expressions."""
        found = []
        for fold in self.folds:
            total: Expr = E.ONE
            for axis in fold.axes:
                moving = [e for e in E.walk([axis.extent]) if type(e) is Index]
                size = E.substitute(axis.extent, dict.fromkeys(moving, E.ZERO))
                total = E.mul(total, size) if size.is_host else total
            found.append(total)
        return found

    def longest(self, value: Mapping[Expr, int]) -> int:
        """The length of the longest reduction, for concrete sizes."""
        return max((value[e] for e in self.lengths), default=0)

    @cached_property
    def is_along(self) -> bool:
        """Whether some reduction walks along memory."""
        return any(
            type(e) is Load and E.linear(e.args[0])[0].get(axis) is E.ONE
            for fold in self.folds
            for e in E.walk(fold.args)
            for axis in fold.axes
        )

    def team(self, items: int, length: int) -> int:
        """The threads for each of so many items, if the longest reduction is so long."""
        if length <= FEW:
            return 1
        if length > MOST and items < SUMS:
            return TEAMS[-1]
        if self.is_along:
            return WARP if length <= MANY else THREADS
        if items >= COLUMNS:
            return 1
        return WARP if items >= ROWS or length <= WARP else THREADS


class Shape:
    """How a nest is cut: `items` are its outer loops, `inner` those within, `levels` the reductions
    that a team may share: the outermost or those inside them. A batch's cost adds up few rows, each
    of which may have a softmax over many classes."""

    def __init__(self, nest: LoopNest) -> None:
        self.nest = nest
        loops, stores = nest.loops, nest.stores
        self.levels: list[Level] = []
        if nest.ordered:
            again = {(operand, address) for operand, address, _ in stores}
            roots = {operand.root for operand, _, _ in stores}
            alone = all(
                type(e) is not Load or e.head.root not in roots or (e.head, e.args[0]) in again
                for e in E.walk([value for _, _, value in stores])
            )
            self.items = tuple(i for i in loops if i in nest.apart)
            self.inner = tuple(i for i in loops if i not in self.items)
            self.owners = OWNERS if alone and not self.items and self.inner else 1
            return
        self.owners = 1
        depth = {loop: k for k, loop in enumerate(loops, 1)}
        folds = _folds(nest)
        outer = [fold for fold in folds if _free(fold) <= set(loops)]
        depths = [max((depth[i] for i in _free(fold)), default=0) for fold in outer]
        count = min(depths, default=len(loops))
        self.items, self.inner = loops[:count], loops[count:]
        first = [fold for fold, d in zip(outer, depths, strict=True) if d <= count]
        around = {*self.items, *(axis for fold in first for axis in fold.axes)}
        second = [fold for fold in folds if fold not in outer and _free(fold) <= around]
        self.levels = [level for level in map(Level, (first, second)) if level.folds]

    @cached_property
    def teams(self) -> list[Team]:
        """The teams that make sense; the first is a single thread."""
        several = [(k, team) for k in range(len(self.levels)) for team in TEAMS[1:]]
        return [ALONE, *several]

    @cached_property
    def count(self) -> Expr:
        """How many items there are."""
        return E.mul(E.product(i.extent for i in self.items), self.owners)

    def host(self) -> list[Expr]:
        """What `choose` asks for."""
        return [self.count, *(e for level in self.levels for e in level.lengths)]

    def choose(self, value: Mapping[Expr, int]) -> Team:
        """The team for concrete sizes: it shares the longest reductions."""
        longest = [level.longest(value) for level in self.levels]
        if not longest:
            return ALONE
        k = longest.index(max(longest))
        team = self.levels[k].team(value[self.count], longest[k])
        return (k, team) if team > 1 else ALONE


def _folds(nest: LoopNest) -> list[Fold]:
    return [e for e in E.walk([v for _, _, v in nest.stores]) if type(e) is Fold]


def _free(fold: Fold) -> set[Index]:
    """The loop variables that a reduction depends on, its own and those inside it aside."""
    every = E.walk([fold])
    own = {axis for e in every if type(e) is Fold for axis in e.axes}
    return {e for e in every if type(e) is Index} - own


def _is_even(fold: Fold) -> bool:
    """Whether the extent of each axis is the same for all turns of the others."""
    return not any(e in fold.axes for axis in fold.axes for e in E.walk([axis.extent]))


class DevicePrinter(Printer):
    """A nest for teams of one sort. `guarded`: it does nothing once an error is noted."""

    def __init__(self, nest: LoopNest, team: Team = ALONE, guarded: bool = False) -> None:
        super().__init__(nest)
        self.shape, self.guarded = Shape(nest), guarded
        level, self.team = team
        self.threads = max(THREADS, self.team)
        self.shared_folds = set(self.shape.levels[level].folds) if self.team > 1 else set()
        self.is_within = level > 0
        self.top = Scope(None, "")

    def side_by_side(self, roots: Sequence[Expr]) -> tuple[list[Lanes], list[Expr]]:
        return [], list(roots)

    # -- scopes -----------------------------------------------------------------------------------

    def scope_of_index(self, i: Index) -> Scope:
        fold = self.owners.get(i)
        if i not in self.scopes and fold is not None and fold in self.shared_folds:
            scope = self.flat(fold.axes, self.scope_of(fold))
            for axis in fold.axes:
                self.scopes[axis] = scope
        return super().scope_of_index(i)

    def flat(self, loops: Sequence[Index], parent: Scope) -> Scope:
        """One loop over all turns of `loops`, which the threads of a team share."""
        extents = [self.text(i.extent) for i in loops]
        names = [f"r{len(self.names) + k}" for k in range(len(loops))]
        for loop, name in zip(loops, names, strict=True):
            self.names[loop] = name
        turn = names[0] if len(loops) == 1 else f"q{names[0]}"
        reach = " * ".join(extents)
        steps = f"lane, {reach}, {self.team}" if self.team > 1 else f"{reach}"
        scope = Scope(parent, f"for {turn} in range({steps}):", loops[-1])
        if len(loops) > 1:
            scope.lines += _decoded(turn, names, extents)
        return scope

    # -- text -------------------------------------------------------------------------------------

    def refusal(self, code: int, *facts: str) -> list[str]:
        self.is_fallible = True
        noted = (*facts, *["0"] * (3 - len(facts)), "step")
        lines = [f"    errors[{k}] = {fact}" for k, fact in enumerate(noted, 1)]
        return [f"    if claim(errors, {code}):", *("    " + line for line in lines)]

    def emit_fold(self, fold: Fold, scope: Scope) -> None:
        if fold not in self.shared_folds:
            super().emit_fold(fold, scope)
            return
        loop = self.scope_of_index(fold.axes[0])
        name = self.names[fold] = f"a{len(self.names)}"
        scope.lines.append(f"{name} = {unit_of(fold.kind, fold.dtype)}")
        loop.lines.append(step_of(fold.kind, fold.dtype, name, self.text(fold.args[0])))
        scope.lines.append(loop)
        for distance in (16, 8, 4, 2, 1):
            scope.lines += [
                f"o{name} = shuffle_xor({name}, {distance})",
                step_of(fold.kind, fold.dtype, name, f"o{name}"),
            ]
        if self.team > WARP:
            warps = self.team // WARP
            row = f"w{name}"
            scope.lines += [
                f"{row} = shared({name[1:]}, {kernel_dtype(fold.dtype)}, {warps})",
                f"if lane % {WARP} == 0:",
                f"    {row}[lane // {WARP}] = {name}",
                "barrier()",
                f"{name} = {row}[0]",
                *(step_of(fold.kind, fold.dtype, name, f"{row}[{k}]") for k in range(1, warps)),
            ]
            if self.is_within:
                scope.lines.append("barrier()")  # the next turn around it writes there again

    def run(self) -> Printed:
        shape, scope = self.shape, self.top
        for k, loop in enumerate(shape.items):
            self.names[loop] = f"i{k}"
            self.scopes[loop] = self.top
        scope = self._inner(scope)
        total = self.text(shape.count)
        extents = [self.text(loop.extent) for loop in shape.items]
        for expr in self.order:
            if not expr.is_host and type(expr) is not Index:
                self.emit(expr)
        self._store(scope)
        self._nest(scope)
        begin = self._begin(total, [f"i{k}" for k in range(len(extents))], extents)
        body = [*begin, *self.top.render(1)]
        per_block = self.threads // self.team
        blocks = E.floordiv(E.add(shape.count, per_block - 1), per_block)
        return Printed(
            self._head() + "\n".join(body) + "\n", tuple(self.operands),
            self.is_fallible or self.guarded, 0, tuple(self.sizes), blocks, E.ONE,
        )  # fmt: skip

    def _inner(self, scope: Scope) -> Scope:
        """The scope of the stores: that of the inner loops."""
        inner = self.shape.inner
        if not inner:
            return scope
        if not self.nest.ordered:
            scope = self.flat(inner, scope)
            self.scopes.update(dict.fromkeys(inner, scope))
            return scope
        for loop in inner:
            self.names[loop] = name = f"j{len(self.names)}"
            scope = Scope(scope, f"for {name} in range({self.text(loop.extent)}):", loop)
            self.scopes[loop] = scope
        return scope

    def _store(self, scope: Scope) -> None:
        pad = ""
        if self.team > 1 and not self.shape.inner:
            scope.lines.append("if lane == 0:")
            pad = "    "
        for k, (operand, _, _) in enumerate(self.nest.stores):
            address, value = (self.text(self.roots[2 * k + part]) for part in (0, 1))
            if self.shape.owners > 1:
                scope.lines.append(f"if ({address}) % {self.shape.owners} == item:")
                pad = "    "
            scope.lines.append(f"{pad}{self.operands[operand]}[{address}] = {value}")

    def _nest(self, scope: Scope) -> None:
        """Put the loops of the stores, the innermost first, behind what comes before them."""
        while scope.parent is not None:
            if scope not in scope.parent.lines:
                scope.parent.lines.append(scope)
            scope = scope.parent

    def _begin(self, total: str, names: Sequence[str], extents: Sequence[str]) -> list[str]:
        """Which item this thread is for, and its loop variables."""
        per_block = self.threads // self.team
        lines = ["    if errors[0] != 0:", "        return"] if self.guarded else []
        if per_block == 1:
            lines += ["    item, lane = block(), thread()"]
        elif self.team == 1:
            lines += [f"    item = block() * {THREADS} + thread()"]
        else:
            lines += [
                f"    item = block() * {per_block} + thread() // {self.team}",
                f"    lane = thread() % {self.team}",
            ]
        if per_block > 1:
            lines += [f"    if item >= {total}:", "        return"]
        rest = f"item // {self.shape.owners}" if self.shape.owners > 1 else "item"
        return lines + ["    " + line for line in _decoded(rest, names, extents)]

    def _head(self) -> str:
        lines = self._header().rstrip("\n").split("\n")
        lines[0] = f"def kernel(arrays, sizes):  # {self.threads} threads"
        if self.guarded and not self.is_fallible:
            lines.insert(
                1 + len(self.operands), f"    errors = pointer(arrays, {len(self.operands)}, int64)"
            )
        if self.is_fallible:
            lines.append(f"    step = sizes[{len(self.sizes)}]")
        return "\n".join(lines) + "\n"


def _decoded(turn: str, names: Sequence[str], extents: Sequence[str]) -> list[str]:
    """Lines that find loop variables from the number of the turn."""
    if not names:
        return []
    lines, rest = [], turn
    for name, extent in zip(reversed(names[1:]), reversed(extents[1:]), strict=True):
        lines += [f"{name} = {rest} % {extent}", f"n{name} = {rest} // {extent}"]
        rest = f"n{name}"
    return [*lines, f"{names[0]} = {rest}"]


def print_device(nest: LoopNest, team: Team = ALONE, guarded: bool = False) -> Printed:
    """The CUDA source of a nest and what it is launched with: `extent` is the number of blocks.

    A kernel that may refuse data takes its step's number as one size more. `guarded`: it first
    looks for an error of the steps before it.
    """
    return DevicePrinter(nest, team, guarded).run()
