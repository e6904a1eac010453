"""From a fused kernel to loops over memory: indices become addresses, loops merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from symgraph import expr as E
from symgraph.compile import reductions
from symgraph.compile.fuse import Kernel
from symgraph.compile.nest import Layout, LoopNest, Operand, address_of, fetch
from symgraph.expr import Expr, Fold, Index, Load
from symgraph.graph import Variable


def lower(
    kernel: Kernel,
    layout: Callable[[Variable], Layout],
    temporary: Callable[..., Variable],
    parts: int = reductions.SPLIT,
) -> list[LoopNest]:
    """The loop nests of `kernel` in order; `temporary(dtype, shape)` is for partial sums, of which
    a reduction of a whole array has so many `parts`."""
    nest = reductions.with_positions(_addressed(kernel, layout))
    nest = reductions.with_kept_values(_collapsed(nest))
    return reductions.split(nest, layout, temporary, parts)


def _operand(variable: Variable, layout: Layout) -> Operand:
    return Operand(layout.root, layout.offset, variable.type.dtype)


def _place(variable: Variable, at: Layout, indices: Sequence[Expr]) -> tuple[Operand, Expr]:
    """The operand and address of an element. What the host knows of the address, such as where a
    slice begins, goes into the operand: then it may change without touching the kernel's sizes."""
    operand, address = _operand(variable, at), address_of(indices, at.strides)
    terms, rest = E.linear(address)
    if rest.is_host and type(rest) is not E.Const:
        address = E.ZERO
        for i, coefficient in terms.items():
            address = E.add(address, E.mul(i, coefficient))
        operand = Operand(operand.root, E.add(operand.offset, rest), operand.dtype)
    return operand, address


def _addressed(kernel: Kernel, layout: Callable[[Variable], Layout]) -> LoopNest:
    new: dict[Expr, Expr] = {}
    roots = [e for _, target, value in kernel.stores for e in (*target, value)]
    for expr in E.walk(roots):
        args = tuple(new[a] for a in expr.args)
        if type(expr) is Load:
            place = layout(expr.head)
            new[expr] = fetch(*_place(expr.head, place, args))
        else:
            new[expr] = expr if args == expr.args else E.with_args(expr, args)
    stores = []
    for variable, target, value in kernel.stores:
        place = layout(variable)
        operand, address = _place(variable, place, [new[t] for t in target])
        stores.append((operand, address, new[value]))
    apart = frozenset(set(kernel.loops).intersection(*_coordinates(kernel)))
    return LoopNest(kernel.loops, stores, kernel.nodes, kernel.ordered, kernel.is_fallible, apart)


def _coordinates(kernel: Kernel) -> Iterator[set[Expr]]:
    """The loops that are coordinates of what a store, or a load of a result, touches: the same
    axis of the same loop throughout."""
    for variable, target, _ in kernel.stores:
        places = [target, *(load.args for load in kernel.loads() if load.head is variable)]
        yield {same[0] for same in zip(*places, strict=True) if len(set(same)) == 1}


# ---- collapsing ----------------------------------------------------------------------------------


def _collapsed(nest: LoopNest) -> LoopNest:
    """Merge neighbouring loops that walk memory as one would."""
    roots = [value for _, _, value in nest.stores]
    every = E.walk([e for _, address, value in nest.stores for e in (address, value)])
    addresses = {address for _, address, _ in nest.stores}
    addresses |= {e.args[0] for e in every if type(e) is Load}
    forms = {address: E.linear(address) for address in addresses}
    tied = _tied(roots, forms)
    groups = [list(nest.loops)] + [list(e.axes) for e in every if type(e) is Fold]
    merged: dict[Index, tuple[Index, Expr]] = {}  # loop -> (merged loop, its step there)
    chains: dict[tuple[Index, ...], tuple[Index, ...]] = {}
    for group in groups:
        chains[tuple(group)] = _merge(group, forms, tied, merged)
    if not merged:
        return nest
    new: dict[Expr, Expr] = {}

    def rebuilt(address: Expr) -> Expr:
        terms, rest = forms[address]
        total = (
            rest
            if rest.is_host
            else E.substitute(rest, {k: v for k, v in new.items() if v is not k})
        )
        for i, coefficient in terms.items():
            if i not in merged:
                total = E.add(total, E.mul(new.get(i, i), coefficient))
            elif merged[i][1] is E.ONE:  # the innermost of its group carries the stride
                total = E.add(total, E.mul(merged[i][0], coefficient))
        return total

    for expr in every:
        if type(expr) is Load:
            new[expr] = fetch(expr.head, rebuilt(expr.args[0]))
        elif type(expr) is Fold:
            axes = [new.get(axis, axis) for axis in chains[expr.axes]]
            new[expr] = E.fold(expr.kind, axes, new[expr.args[0]], expr.dtype)  # type: ignore[arg-type]
        else:
            new[expr] = E.with_parts(expr, new)
    stores = [(operand, rebuilt(address), new[value]) for operand, address, value in nest.stores]
    loops = chains[tuple(nest.loops)]
    apart = {i for i in nest.apart if i not in merged}
    apart |= {joint for joint in loops if _made_of(joint, merged) <= nest.apart}
    return LoopNest(
        loops, stores, nest.nodes, nest.ordered, nest.is_fallible, frozenset(apart & set(loops))
    )


def _made_of(joint: Index, merged: dict[Index, tuple[Index, Expr]]) -> set[Index]:
    return {i for i, (into, _) in merged.items() if into is joint} or {joint}


def _tied(roots: Sequence[Expr], forms: dict[Expr, tuple[dict[Index, Expr], Expr]]) -> set[Index]:
    """Loop variables that are used other than linearly in an address: these loops stay."""
    tied: set[Index] = set()
    stack = [rest for _, rest in forms.values()] + list(roots)
    seen: set[Expr] = set()
    while stack:
        expr = stack.pop()
        if expr in seen:
            continue
        seen.add(expr)
        if type(expr) is Index:
            tied.add(expr)
            stack.extend(E.parts(expr))
        elif type(expr) is Fold and expr.kind in ("argmax", "argmin"):
            stack.append(expr.args[0])
        elif type(expr) is not Load:
            stack.extend(E.parts(expr))
    return tied


def _merge(
    group: list[Index],
    forms: dict[Expr, tuple[dict[Index, Expr], Expr]],
    tied: set[Index],
    merged: dict[Index, tuple[Index, Expr]],
) -> tuple[Index, ...]:
    """Merge runs of `group`; fills `merged` for the loops that went into one."""
    runs: list[list[Index]] = []
    for inner in group:
        if runs and inner not in tied and runs[-1][-1] not in tied:
            outer = runs[-1][-1]
            extent = inner.extent
            if extent.is_host and all(
                E.mul(extent, terms.get(inner, E.ZERO)) is terms.get(outer, E.ZERO)
                for terms, _ in forms.values()
            ):
                runs[-1].append(inner)
                continue
        runs.append([inner])
    result = []
    for run in runs:
        if len(run) == 1:
            result.append(run[0])
            continue
        extent = E.ONE
        for i in reversed(run):
            extent = E.mul(i.extent, extent)
        joint = E.index(extent)
        for i in run:
            merged[i] = (joint, E.ONE if i is run[-1] else E.ZERO)
        result.append(joint)
    return tuple(result)
