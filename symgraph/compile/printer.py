"""Loop nests as source text, in the kernel language of docs/decisions/001.

Every distinct expression becomes one assignment, in the innermost scope that its loop variables
need and no deeper: what does not change in an inner loop is computed outside of it. That is what
makes a row's maximum, its sum and its softmax one kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from symgraph import expr as E
from symgraph.compile.lanes import LANES, Lanes, Row, side_by_side
from symgraph.compile.nest import LoopNest, Operand
from symgraph.compile.reductions import KEEP
from symgraph.expr import Call, Const, Expr, Fold, Index, Load

WORK = 1 << 15  # elements in a chunk, if each takes ITEM additions: 5 to 10 microseconds
ITEM = 8  # the least that entering a scope costs
LITERAL = 256  # larger integers are parameters, so that another batch size finds the same kernel


@dataclass(frozen=True)
class Printed:
    """A kernel's text and what it must be called with.

    `operands` are in order, errors (None) and workspace aside; `sizes` are host expressions;
    `extent`, `grain` likewise; `workspace` is bytes per worker.
    """

    source: str
    operands: tuple[Operand, ...]
    has_errors: bool
    workspace: int
    sizes: tuple[Expr, ...]
    extent: Expr
    grain: Expr


@dataclass(eq=False)
class Scope:
    """A block of statements: the kernel's, or the body of a loop."""

    parent: Scope | None
    header: str
    loop: Index | None = None
    lines: list[str | Scope] = field(default_factory=list)

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1

    def render(self, indent: int) -> list[str]:
        pad = "    " * indent
        text = []
        for line in self.lines:
            if isinstance(line, str):
                text.append(pad + line)
            else:
                text.append(pad + line.header)
                text.extend(line.render(indent + 1))
        return text


_UNITS = {"sum": "0", "prod": "1", "any": "bool_(0)", "all": "bool_(1)"}
STEPS = {
    "sum": "{0} + {1}", "prod": "{0} * {1}", "max": "maximum({0}, {1})", "min": "minimum({0}, {1})",
    "any": "{0} | {1}", "all": "{0} & {1}",
}  # fmt: skip


def kernel_dtype(dtype: str) -> str:
    """The vocabulary's name of a dtype."""
    return "bool_" if dtype == "bool" else dtype


def literal(value: Expr) -> str:
    """A constant as source text of its own dtype."""
    assert type(value) is Const
    number = value.value
    if value.dtype == "int64":
        return str(number) if number >= 0 else f"({number})"
    if isinstance(number, float):
        if number != number:
            text = "1e999 - 1e999"
        else:
            text = repr(number).replace("inf", "1e999")
        return f"float64({text})" if "float64" in value.dtype else f"float32({text})"
    return f"{kernel_dtype(value.dtype)}({int(number)})"


def _lowest(dtype: str) -> str:
    if dtype == "bool":
        return "bool_(0)"
    if "float" in dtype:
        return f"{dtype}(-1e999)"
    return f"{dtype}({np.iinfo(dtype).min})"


def _highest(dtype: str) -> str:
    if dtype == "bool":
        return "bool_(1)"
    return f"{dtype}(1e999)" if "float" in dtype else f"{dtype}({np.iinfo(dtype).max})"


def unit_of(kind: str, dtype: str) -> str:
    """What a reduction begins with."""
    if kind in ("max", "min"):
        return _lowest(dtype) if kind == "max" else _highest(dtype)
    return _UNITS[kind] if dtype == "bool" else f"{dtype}({_UNITS[kind]})"


def step_of(kind: str, dtype: str, name: str, value: str) -> str:
    """The line that takes one more value into the reduction `name`."""
    step = STEPS[kind].format(name, value)
    natural = dtype in ("float32", "float64", "int64", "bool")
    return f"{name} = {step}" if natural else f"{name} = {dtype}({step})"


class Printer:
    """One nest on its way to text: names, scopes, and what is printed where."""

    def __init__(self, nest: LoopNest) -> None:
        self.nest = nest
        self.names: dict[Expr, str] = {}
        self.operands: dict[Operand, str] = {}
        self.sizes: dict[Expr, str] = {}
        self.free: dict[Expr, frozenset[Index]] = {}
        self.scopes: dict[Index, Scope] = {}
        self.owners: dict[Index, Fold] = {}
        self.is_fallible = False
        self.targets = {operand for operand, _, _ in nest.stores}
        self.stored = {operand.root for operand in self.targets}
        for operand, _, _ in nest.stores:
            self.operands.setdefault(operand, f"out{len(self.operands)}")
        roots = [e for _, address, value in nest.stores for e in (address, value)]
        self.lanes, self.roots = self.side_by_side(roots)
        self.lanes_of = {lanes.fold: lanes for lanes in self.lanes}
        self.accumulate: dict[Lanes, Scope] = {}
        self.units: dict[Lanes, str] = {}
        self.order = E.walk([*self.lanes_of, *self.roots])
        for expr in self.order:
            self._free(expr)

    def side_by_side(self, roots: Sequence[Expr]) -> tuple[list[Lanes], list[Expr]]:
        """Reductions to do as blocks of columns, and `roots` in terms of them."""
        return side_by_side(self.nest, roots)

    def _free(self, expr: Expr) -> None:
        if type(expr) is Index:
            self.free[expr] = frozenset((expr,))
            return
        free: frozenset[Index] = frozenset()
        for a in expr.args:
            free |= self.free[a]
        if type(expr) is Fold:
            for axis in expr.axes:
                self.owners[axis] = expr
                if not axis.extent.is_host:
                    free |= self.free[axis.extent]
            free -= set(expr.axes)
        if type(expr) is Load and self.nest.ordered and self._is_stored(expr.head):
            free |= set(self.nest.loops)  # each turn reads what the one before has stored
        self.free[expr] = free

    def _is_stored(self, operand: object) -> bool:
        return type(operand) is Operand and operand.root in self.stored

    # -- scopes -----------------------------------------------------------------------------------

    def scope_of(self, expr: Expr) -> Scope:
        free = sorted(self.free[expr], key=lambda i: i.head)  # the text must not depend on hashes
        scopes = [self.scope_of_index(i) for i in free]
        return max(scopes, key=lambda s: s.depth, default=self.top)

    def scope_of_index(self, i: Index) -> Scope:
        found = self.scopes.get(i)
        if found is not None:
            return found
        fold = self.owners[i]
        lanes = self.lanes_of.get(fold)
        scope = self.scope_of(fold) if lanes is None else self.around_lanes
        for axis in fold.axes:
            name = f"r{len(self.names)}"
            self.names[axis] = name
            low, high = "0", self.text(axis.extent)
            if lanes is not None and axis is lanes.lane:
                low, high = "first", "last"
            scope = Scope(scope, f"for {name} in range({low}, {high}):", axis)
            self.scopes[axis] = scope
        return self.scopes[i]

    # -- text -------------------------------------------------------------------------------------

    def text(self, expr: Expr) -> str:
        """What stands for `expr` in the source."""
        if type(expr) is Const and not (expr.dtype == "int64" and abs(expr.value) > LITERAL):
            return literal(expr)
        if expr.is_host:
            if expr not in self.sizes:
                self.sizes[expr] = f"s{len(self.sizes)}"
            name = self.sizes[expr]
            return name if expr.dtype == "int64" else f"{kernel_dtype(expr.dtype)}({name})"
        return self.names[expr]

    def operand(self, operand: Operand) -> str:
        if operand not in self.operands:
            self.operands[operand] = f"in{len(self.operands)}"
        return self.operands[operand]

    def emit(self, expr: Expr) -> None:
        scope = self.scope_of(expr)
        if type(expr) is Fold:
            self.emit_fold(expr, scope)
            return
        if type(expr) is E.Call and expr.head is KEEP:
            self.names[expr] = self.text(expr.args[0])
            ((target, _, _),) = self.nest.stores
            place = f"{self.operand(target)}[{self.text(expr.args[1])}]"
            scope.lines.append(f"{place} = {self.names[expr]}")
            return
        name = self.names[expr] = f"t{len(self.names)}"
        if type(expr) is Load and type(expr.head) is Row:
            scope.lines.append(f"{name} = {expr.head.name}[{self.text(expr.args[0])} - first]")
            return
        if type(expr) is Load:
            scope.lines.append(f"{name} = {self.operand(expr.head)}[{self.text(expr.args[0])}]")
            return
        if E.is_checked(expr):
            self.emit_checked(expr, name, scope)
            return
        args = [self.text(a) for a in expr.args]
        if E.is_fallible(expr):
            scope.lines += [f"if {args[1]} == 0:", *self.refusal(2)]
        text = E.format_call(expr, args)
        natural = (
            expr.dtype in ("bool", "int64")
            or expr.head.name == "cast"
            or (
                expr.dtype in ("float32", "float64")
                and all(a.dtype in (expr.dtype, "bool") for a in expr.args)
                and "." not in expr.head.code
            )
        )
        scope.lines.append(f"{name} = {text}" if natural else f"{name} = {expr.dtype}({text})")

    def emit_checked(self, expr: Expr, name: str, scope: Scope) -> None:
        position, size, label = (self.text(a) for a in expr.args)
        scope.lines += [
            f"{name} = int64({position})",
            f"if {name} < 0:",
            f"    {name} += {size}",
            f"if {name} < 0 or {name} >= {size}:",
            *self.refusal(1, f"int64({position})", size, label),
            f"    {name} = 0",
        ]

    def refusal(self, code: int, *facts: str) -> list[str]:
        """Lines of a branch that note an error."""
        self.is_fallible = True
        return [f"    errors[{k}] = {fact}" for k, fact in enumerate((str(code), *facts))]

    def emit_fold(self, fold: Fold, scope: Scope) -> None:
        body, dtype = fold.args[0], fold.dtype
        first, last = self.scope_of_index(fold.axes[0]), self.scope_of_index(fold.axes[-1])
        name = f"a{len(self.names)}"
        self.names[fold] = name
        for axis in fold.axes[1:]:
            inner = self.scope_of_index(axis)
            if inner.parent is not None and inner not in inner.parent.lines:
                inner.parent.lines.append(inner)
        if fold.kind in ("argmax", "argmin"):
            best = f"b{name}"
            low = _lowest(body.dtype) if fold.kind == "argmax" else _highest(body.dtype)
            sign = ">" if fold.kind == "argmax" else "<"
            value = self.text(body)
            place = "0"
            for axis in fold.axes:
                place = f"({place} * {self.text(axis.extent)} + {self.names[axis]})"
            scope.lines += [f"{name} = 0", f"{best} = {low}"]
            last.lines += [
                f"if {value} {sign} {best} or ({value} != {value} and {best} == {best}):",
                f"    {best} = {value}",
                f"    {name} = {place}",
            ]
            scope.lines.append(first)
            return
        unit = unit_of(fold.kind, dtype)
        if fold in self.lanes_of:
            lanes = self.lanes_of[fold]
            at = f"{lanes.row.name}[{self.names[lanes.lane]} - first]"
            self.units[lanes] = unit
            last.lines.append(f"{at} = {STEPS[fold.kind].format(at, self.text(body))}")
            self.accumulate[lanes] = first
            return
        scope.lines.append(f"{name} = {unit}")
        last.lines.append(step_of(fold.kind, dtype, name, self.text(body)))
        scope.lines.append(first)

    # -- the whole --------------------------------------------------------------------------------

    def run(self) -> Printed:
        nest = self.nest
        self.top = Scope(None, "")
        scope = self.top
        for depth, loop in enumerate(nest.loops):
            self.names[loop] = f"i{depth}"
            # the outermost runs over the items that the kernel is given, whatever its extent
            size = self.text(loop.extent) if depth else ""
            scope = Scope(scope, f"for i{depth} in range({size}):", loop)
            self.scopes[loop] = scope
        self.around_lanes = scope.parent or self.top
        items = self._items()
        for expr in self.order:
            if not expr.is_host and type(expr) is not Index:
                self.emit(expr)
        for k, (operand, _, _) in enumerate(nest.stores):
            address, value = self.roots[2 * k], self.roots[2 * k + 1]
            scope.lines.append(
                f"{self.operands[operand]}[{self.text(address)}] = {self.text(value)}"
            )
        body = self._body(items)
        grain = self._grain(items)
        extent: Expr = E.ONE
        for loop in nest.loops[:items]:
            extent = E.mul(extent, loop.extent)
        if self.lanes:
            extent = E.mul(extent, self.blocks)
        if nest.ordered:
            grain = E.maximum(extent, 1)
        return Printed(
            self._header() + "\n".join(body) + "\n", tuple(self.operands), self.is_fallible,
            LANES * 8 * len(self.lanes), tuple(self.sizes), extent, grain,
        )  # fmt: skip

    def _items(self) -> int:
        """How many of the outer loops the items run over."""
        loops = self.nest.loops
        if self.lanes:
            last = loops[-1].extent
            self.blocks = E.floordiv(E.add(last, LANES - 1), LANES)
            return len(loops) - 1
        if len(loops) <= 1:
            return len(loops)
        folds = [e for e in self.order if type(e) is Fold]
        if not folds:
            return len(loops) - 1
        depths = [self.scope_of(f).depth for f in folds]
        return max(1, min(d for d in [*depths, len(loops)] if d <= len(loops)) if depths else 1)

    def _body(self, items: int) -> list[str]:
        loops = self.nest.loops
        scopes = [self.scopes[loop] for loop in loops]
        if self.lanes:
            return self.top.render(1) + self._lane_body(items, scopes)
        if not items:
            return ["    for item in range(start, stop):", *self.top.render(2)]
        for outer, inner in zip(scopes[items - 1 :], scopes[items:], strict=False):
            outer.lines.append(inner)
        return self.top.render(1) + self._item_loop(items, scopes)

    def _item_loop(self, items: int, scopes: list[Scope]) -> list[str]:
        if items == 1:
            return ["    for i0 in range(start, stop):", *scopes[0].render(2)]
        names = [f"i{k}" for k in range(items)]
        extents = [self.text(loop.extent) for loop in self.nest.loops[:items]]
        lines = _decode("start", names, extents)
        lines.append("    for item in range(start, stop):")
        for scope in scopes[:items]:
            lines += scope.render(2)
        return lines + _advance(names, extents)

    def _lane_body(self, items: int, scopes: list[Scope]) -> list[str]:
        """Items are blocks of LANES columns; their sums are kept side by side in the workspace."""
        size = self.text(self.nest.loops[-1].extent)
        blocks = self.text(self.blocks)
        names = [f"i{k}" for k in range(items)] + ["block"]
        extents = [self.text(loop.extent) for loop in self.nest.loops[:items]] + [blocks]
        width = LANES * 8
        lines = [
            f"    {lanes.row.name} = pointer_at(address(work) + "
            f"worker * {width * len(self.lanes)} + {width * k}, {kernel_dtype(lanes.row.dtype)})"
            for k, lanes in enumerate(self.lanes)
        ]
        lines += _decode("start", names, extents) if items else ["    block = start"]
        lines.append("    for item in range(start, stop):")
        lines += [
            f"        first = block * {LANES}",
            f"        last = min(first + {LANES}, {size})",
        ]
        for scope in scopes[:items]:
            lines += [line for line in scope.render(2)]
        for lanes in self.lanes:
            lines += [
                "        for r in range(first, last):",
                f"            {lanes.row.name}[r - first] = {self.units[lanes]}",
            ]
            scope = self.accumulate[lanes]
            lines += ["        " + scope.header, *scope.render(3)]
        lines += [f"        for i{items} in range(first, last):", *scopes[-1].render(3)]
        return lines + (_advance(names, extents) if items else ["        block += 1"])

    def _grain(self, items: int) -> Expr:
        """So many items that a chunk does WORK: the cost of scopes times how often they run."""
        outer = set(self.nest.loops[:items])
        costs: dict[tuple[Expr, ...], int] = {}
        for expr in self.order:
            if not expr.is_host and type(expr) is not Index:
                scope = self.scopes[expr.axes[-1]] if type(expr) is Fold else self.scope_of(expr)
                turns = self._turns(scope, outer)
                cost = expr.head.cost if type(expr) is Call else 1
                costs[turns] = costs.get(turns, 0) + cost
        work: Expr = E.ZERO
        for turns, cost in costs.items():
            work = E.add(work, E.mul(E.product(turns), max(cost, ITEM)))
        return E.maximum(1, E.floordiv(E.const(WORK * ITEM), E.maximum(work, ITEM)))

    def _turns(self, scope: Scope, outer: set[Index]) -> tuple[Expr, ...]:
        """The sizes of the loops around a scope, those of the items aside."""
        turns: list[Expr] = []
        side_by_side = {lanes.lane for lanes in self.lanes}
        at: Scope | None = scope
        while at is not None:
            loop, at = at.loop, at.parent
            if loop is None or loop in outer:
                continue
            if loop in side_by_side or (self.lanes and loop is self.nest.loops[-1]):
                turns.append(E.const(LANES))
                continue
            # the length of a part: that of the first
            moving = [e for e in E.walk([loop.extent]) if type(e) is Index]
            size = E.substitute(loop.extent, dict.fromkeys(moving, E.ZERO))
            turns.append(E.maximum(size, 1) if size.is_host else E.ONE)
        return tuple(turns)

    def _header(self) -> str:
        lines = ["def kernel(arrays, sizes, start, stop, worker):"]
        position = 0
        for operand, name in self.operands.items():
            # a target that is also read at other indices promises nothing about its accesses
            if operand in self.targets:
                kind = "pointer" if self.nest.ordered or self._rereads(operand) else "pointer_out"
            else:
                kind = "pointer_in"
            lines.append(f"    {name} = {kind}(arrays, {position}, {kernel_dtype(operand.dtype)})")
            position += 1
        if self.is_fallible:
            lines.append(f"    errors = pointer(arrays, {position}, int64)")
            position += 1
        if self.lanes:
            lines.append(f"    work = pointer(arrays, {position}, uint8)")
        lines += [f"    {name} = sizes[{k}]" for k, name in enumerate(self.sizes.values())]
        return "\n".join(lines) + "\n"

    def _rereads(self, operand: Operand) -> bool:
        addresses = {address for o, address, _ in self.nest.stores if o == operand}
        return any(
            type(e) is Load and e.head == operand and e.args[0] not in addresses for e in self.order
        )


def _decode(item: str, names: Sequence[str], extents: Sequence[str]) -> list[str]:
    """Lines that set loop variables to those of the first item."""
    lines = [f"    rest = {item}"]
    for name, extent in zip(reversed(names), reversed(extents), strict=True):
        if name == names[0]:
            lines.append(f"    {name} = rest")
        else:
            lines += [f"    {name} = rest % {extent}", f"    rest = rest // {extent}"]
    return lines


def _advance(names: Sequence[str], extents: Sequence[str]) -> list[str]:
    """Lines that step the loop variables on, like an odometer."""
    lines, indent = [], 2
    for k in range(len(names) - 1, -1, -1):
        pad = "    " * indent
        lines.append(f"{pad}{names[k]} += 1")
        if k:
            lines += [f"{pad}if {names[k]} == {extents[k]}:", f"{pad}    {names[k]} = 0"]
            indent += 1
    return lines


def print_kernel(nest: LoopNest) -> Printed:
    """The source of a loop nest, and what its steps are called with."""
    return Printer(nest).run()
