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
from symgraph.compile.kernel import LoopNest, Operand
from symgraph.expr import Call, Const, Expr, Fold, Index, Load

WORK = 1 << 15  # additions in a chunk, roughly: 10 microseconds
LITERAL = 256  # larger integers are parameters, so that another batch size finds the same kernel
LANES = 64  # columns that are reduced together where memory runs along the kept axis


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
class _Scope:
    """A block of statements: the kernel's, or the body of a loop."""

    parent: _Scope | None
    header: str
    lines: list[str | _Scope] = field(default_factory=list)

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
_STEPS = {
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


class _Printer:
    def __init__(self, nest: LoopNest) -> None:
        self.nest = nest
        self.names: dict[Expr, str] = {}
        self.operands: dict[Operand, str] = {}
        self.sizes: dict[Expr, str] = {}
        self.free: dict[Expr, frozenset[Index]] = {}
        self.scopes: dict[Index, _Scope] = {}
        self.owners: dict[Index, Fold] = {}
        self.is_fallible = False
        self.targets = {operand for operand, _, _ in nest.stores}
        for operand, _, _ in nest.stores:
            self.operands.setdefault(operand, f"out{len(self.operands)}")
        roots = [e for _, address, value in nest.stores for e in (address, value)]
        self.lanes = self._lane_fold(roots)
        if self.lanes is not None:
            roots = self._with_lanes(roots)
        self.roots = roots
        self.order = E.walk(roots)
        for expr in self.order:
            self._free(expr)

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
            if expr is self.lanes:  # its value is known once the loop over lanes is entered again
                free |= {self.nest.loops[-1]}
        self.free[expr] = free

    # -- reductions along the outer axis of memory ------------------------------------------------

    def _lane_fold(self, roots: Sequence[Expr]) -> Fold | None:
        """The only fold, if memory runs along the last loop rather than along the fold's axes."""
        loops = self.nest.loops
        folds = [e for e in E.walk(roots) if type(e) is Fold]
        if not loops or len(folds) != 1 or self.nest.ordered or folds[0].kind not in _STEPS:
            return None
        fold, last = folds[0], loops[-1]
        if not all(a.extent.is_host for a in fold.axes):
            return None
        runs = False
        for e in E.walk([fold.args[0]]):
            if type(e) is Load:
                terms, _ = E.linear(e.args[0])
                if any(terms.get(a) is E.ONE for a in fold.axes):
                    return None
                runs = runs or (terms.get(last) is E.ONE and any(a in terms for a in fold.axes))
        return fold if runs else None

    def _with_lanes(self, roots: Sequence[Expr]) -> list[Expr]:
        """Give the fold's body its own copy of the last loop, innermost."""
        fold, last = self.lanes, self.nest.loops[-1]
        assert fold is not None
        self.lane = E.index(last.extent)
        body = E.substitute(fold.args[0], {last: self.lane})
        self.lanes = E.fold(fold.kind, (*fold.axes, self.lane), body, fold.dtype)  # type: ignore[assignment]
        return [E.substitute(r, {fold: self.lanes}) for r in roots]  # type: ignore[dict-item]

    # -- scopes -----------------------------------------------------------------------------------

    def scope_of(self, expr: Expr) -> _Scope:
        free = sorted(self.free[expr], key=lambda i: i.head)  # the text must not depend on hashes
        scopes = [self.scope_of_index(i) for i in free]
        return max(scopes, key=lambda s: s.depth, default=self.top)

    def scope_of_index(self, i: Index) -> _Scope:
        found = self.scopes.get(i)
        if found is not None:
            return found
        fold = self.owners[i]
        scope = self.innermost if fold is self.lanes else self.scope_of(fold)
        for axis in fold.axes:
            name = f"r{len(self.names)}"
            self.names[axis] = name
            low, high = "0", self.text(axis.extent)
            if fold is self.lanes and axis is self.lane:
                low, high = "first", "last"
            scope = _Scope(scope, f"for {name} in range({low}, {high}):")
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
        name = self.names[expr] = f"t{len(self.names)}"
        if type(expr) is Load:
            scope.lines.append(f"{name} = {self.operand(expr.head)}[{self.text(expr.args[0])}]")
            return
        if E.is_checked(expr):
            self.emit_checked(expr, name, scope)
            return
        args = [self.text(a) for a in expr.args]
        if E.is_fallible(expr):
            self.is_fallible = True
            scope.lines += [f"if {args[1]} == 0:", "    errors[0] = 2"]
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

    def emit_checked(self, expr: Expr, name: str, scope: _Scope) -> None:
        self.is_fallible = True
        position, size, label = (self.text(a) for a in expr.args)
        scope.lines += [
            f"{name} = int64({position})",
            f"if {name} < 0:",
            f"    {name} += {size}",
            f"if {name} < 0 or {name} >= {size}:",
            "    errors[0] = 1",
            f"    errors[1] = int64({position})",
            f"    errors[2] = {size}",
            f"    errors[3] = {label}",
            f"    {name} = 0",
        ]

    def emit_fold(self, fold: Fold, scope: _Scope) -> None:
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
        if fold.kind in ("max", "min"):
            unit = _lowest(dtype) if fold.kind == "max" else _highest(dtype)
        else:
            unit = _UNITS[fold.kind]
            unit = unit if dtype == "bool" else f"{dtype}({unit})"
        if fold is self.lanes:
            last_name = self.names[self.nest.loops[-1]]
            at = f"acc[{self.names[self.lane]} - first]"
            self.prepare = [f"acc[r - first] = {unit}"]
            last.lines.append(f"{at} = {_STEPS[fold.kind].format(at, self.text(body))}")
            self.accumulate = first
            self.names[fold] = name
            scope.lines.append(f"{name} = acc[{last_name} - first]")
            return
        step = _STEPS[fold.kind].format(name, self.text(body))
        natural = dtype in ("float32", "float64", "int64", "bool")
        scope.lines.append(f"{name} = {unit}")
        last.lines.append(f"{name} = {step}" if natural else f"{name} = {dtype}({step})")
        scope.lines.append(first)

    # -- the whole --------------------------------------------------------------------------------

    def run(self) -> Printed:
        nest = self.nest
        self.top = _Scope(None, "")
        scope = self.top
        for depth, loop in enumerate(nest.loops):
            self.names[loop] = f"i{depth}"
            scope = _Scope(scope, f"for i{depth} in range({self.text(loop.extent)}):")
            self.scopes[loop] = scope
        self.innermost = scope if self.lanes is None else (scope.parent or self.top)
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
        if self.lanes is not None:
            extent = E.mul(extent, self.blocks)
        if nest.ordered:
            grain = E.maximum(extent, 1)
        return Printed(
            self._header() + "\n".join(body) + "\n", tuple(self.operands), self.is_fallible,
            LANES * 8 if self.lanes is not None else 0, tuple(self.sizes), extent, grain,
        )  # fmt: skip

    def _items(self) -> int:
        """How many of the outer loops the items run over."""
        loops = self.nest.loops
        if self.lanes is not None:
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
        if self.lanes is not None:
            return self.top.render(1) + self._lane_body(items, scopes)
        if not items:
            return ["    for item in range(start, stop):", *self.top.render(2)]
        for outer, inner in zip(scopes[items - 1 :], scopes[items:], strict=False):
            outer.lines.append(inner)
        return self.top.render(1) + self._item_loop(items, scopes)

    def _item_loop(self, items: int, scopes: list[_Scope]) -> list[str]:
        if items == 1:
            return ["    for i0 in range(start, stop):", *scopes[0].render(2)]
        names = [f"i{k}" for k in range(items)]
        extents = [self.text(loop.extent) for loop in self.nest.loops[:items]]
        lines = _decode("start", names, extents)
        lines.append("    for item in range(start, stop):")
        for scope in scopes[:items]:
            lines += scope.render(2)
        return lines + _advance(names, extents)

    def _lane_body(self, items: int, scopes: list[_Scope]) -> list[str]:
        """Items are blocks of LANES columns; their sums are kept side by side in the workspace."""
        assert self.lanes is not None
        dtype = kernel_dtype(self.lanes.dtype)
        size = self.text(self.nest.loops[-1].extent)
        blocks = self.text(self.blocks)
        names = [f"i{k}" for k in range(items)] + ["block"]
        extents = [self.text(loop.extent) for loop in self.nest.loops[:items]] + [blocks]
        lines = [f"    acc = pointer_at(address(work) + worker * {LANES * 8}, {dtype})"]
        lines += _decode("start", names, extents) if items else ["    block = start"]
        lines.append("    for item in range(start, stop):")
        lines += [
            f"        first = block * {LANES}",
            f"        last = min(first + {LANES}, {size})",
        ]
        for scope in scopes[:items]:
            lines += [line for line in scope.render(2)]
        lines += [
            "        for r in range(first, last):",
            *["            " + x for x in self.prepare],
        ]
        lines += ["        " + self.accumulate.header, *self.accumulate.render(3)]
        lines += [f"        for i{items} in range(first, last):", *scopes[-1].render(3)]
        return lines + (_advance(names, extents) if items else ["        block += 1"])

    def _grain(self, items: int) -> Expr:
        work: Expr = E.ONE
        cost = 1
        for loop in self.nest.loops[items:]:
            work = E.mul(work, loop.extent)
        if self.lanes is not None:
            work = E.const(LANES)
        for expr in self.order:
            if type(expr) is Fold:
                for axis in expr.axes:
                    if axis.extent.is_host and axis is not getattr(self, "lane", None):
                        work = E.mul(work, E.maximum(axis.extent, 1))
            elif type(expr) is Call and not expr.is_host:
                cost += expr.head.cost
        weight = max(1, cost // 8)
        return E.maximum(1, E.floordiv(E.const(WORK), E.maximum(1, E.mul(work, weight))))

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
        if self.lanes is not None:
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
    return _Printer(nest).run()
