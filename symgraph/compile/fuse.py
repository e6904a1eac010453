"""Fusion: which nodes become one kernel, which results are kept in memory.

Walking the nodes backwards, every result is either *inlined* into the kernels that load it (its
`compute` takes the place of the load), or gets memory and a step of its own. A result is inlined
where that costs no work twice: it is nearly free, or a single kernel loads it once, at indices
that are a prefix of the loops around the load, so that the printer can compute it once per value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from symgraph import expr as E
from symgraph.compile.host import leaves
from symgraph.compile.inner import Inner, variables_of
from symgraph.compile.sizes import Sizes
from symgraph.expr import Dim, Expr, Fold, Index, Item, Load
from symgraph.graph import Apply, LibraryCall, Shape, Variable
from symgraph.ops.rounds import Row
from symgraph.types import TensorType

MAX_CALLS = 150  # a kernel that is larger is cut: compile time grows faster than its size
MAX_STORES = 40  # likewise, and every store is an operand
CHEAP = 4  # a result of at most this cost and one load is computed again rather than stored

NEEDS = ("strided", "rows", "contiguous")
"""How memory may be wanted, the least first: any strides, each row of the leading axis contiguous,
all contiguous."""

Nest = tuple[Index, ...]
LibraryCallOf = Callable[[Apply, Sizes], "LibraryCall | None"]


@dataclass(eq=False)
class Kernel:
    """Loops with stores at their innermost level; folds inside the values have their own loops."""

    loops: tuple[Index, ...]
    stores: list[tuple[Variable, tuple[Expr, ...], Expr]]
    nodes: list[Apply]
    position: int
    ordered: bool = False
    calls: int = 0
    inlined: dict[Expr, Expr] = field(default_factory=dict)

    def resolve(self) -> None:
        """Replace the loads of inlined results by what computes them."""
        if self.inlined:
            roots = [e for _, target, value in self.stores for e in (*target, value)]
            done = _resolve(roots, self.inlined)
            self.stores = [
                (v, tuple(done[t] for t in target), done[value]) for v, target, value in self.stores
            ]
            self.inlined = {}

    def loads(self) -> list[Load]:
        roots = [e for _, target, value in self.stores for e in (*target, value)]
        return [e for e in E.walk(roots) if type(e) is Load]

    @property
    def is_fallible(self) -> bool:
        """Whether it may meet data that it must refuse (an index out of range)."""
        roots = (e for _, target, value in self.stores for e in (*target, value))
        return any(map(E.is_fallible, E.walk(roots)))


@dataclass(eq=False)
class Library:
    """A library kernel's call."""

    node: Apply
    call: LibraryCall
    position: int


@dataclass(eq=False)
class Loop:
    """A node whose inner graphs run natively."""

    node: Apply
    inner: Sequence[Inner]
    position: int


@dataclass(eq=False)
class Python:
    """A node whose meaning runs in Python."""

    node: Apply
    position: int


Work = Kernel | Library | Loop | Python


def _resolve(roots: Iterable[Expr], inlined: dict[Expr, Expr]) -> dict[Expr, Expr]:
    done: dict[Expr, Expr] = {}
    stack = list(roots)
    while stack:
        expr = stack[-1]
        if expr in done:
            stack.pop()
            continue
        replacement = inlined.get(expr)
        needs = (replacement,) if replacement is not None else E.parts(expr)
        waiting = [a for a in needs if a not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        if replacement is not None:
            done[expr] = done[replacement]
        else:
            done[expr] = E.with_parts(expr, done)
    return done


@dataclass(frozen=True)
class Sink:
    """Where a result goes: `slot` is the output, or the shared variable, that receives it."""

    slot: Variable
    value: Variable
    is_update: bool


@dataclass
class Fused:
    """The work in order, and where results live: `stored_as` names the slot that a result is
    written to directly, `views` the results that only show another's memory."""

    work: list[Work]
    commits: list[Kernel]  # stores into shared variables, after everything that can fail
    stored_as: dict[Variable, Variable]
    views: dict[Variable, Variable]
    materialized: set[Variable]


def contiguous(shape: Sequence[Expr]) -> Shape:
    """The strides, in elements, of a C-contiguous array."""
    strides: list[Expr] = []
    step: Expr = E.ONE
    for size in reversed(shape):
        strides.append(E.ZERO if size is E.ONE else step)
        step = E.mul(size, step)
    return tuple(reversed(strides))


def is_contiguous(shape: Sequence[Expr], strides: Sequence[Expr]) -> bool:
    """Whether these strides are those of a contiguous array, wherever the size is not 1."""
    return all(
        size is E.ONE or have is want
        for size, have, want in zip(shape, strides, contiguous(shape), strict=True)
    )


class _Fuser:
    def __init__(
        self,
        nodes: Sequence[Apply],
        sizes: Sizes,
        sinks: Sequence[Sink],
        call_of: LibraryCallOf,
        joins: bool,
        loops: Mapping[Apply, Sequence[Inner]],
    ) -> None:
        self.nodes, self.sizes, self.loops = nodes, sizes, loops
        self.call_of, self.joins = call_of, joins
        self.uses: dict[Variable, dict[Kernel, dict[Load, Nest]]] = {}
        self.needs: dict[Variable, str] = {}  # memory that someone needs, and how: see NEEDS
        self.seen: set[Expr] = set()  # what the host reads
        self.work: list[Work] = []
        self.stored_as: dict[Variable, Variable] = {}
        self.views: dict[Variable, Variable] = {}
        self.materialized: set[Variable] = set()
        self.sinks: dict[Kernel, Sink] = {}
        place = {node: k for k, node in enumerate(nodes)}
        for sink in sinks:
            owner = sink.value.owner
            position = 2 * place[owner] + 1 if owner is not None else -1
            nest, indices = self.loop_over(sink.value)
            value = E.load(sink.value, indices)
            kernel = Kernel(nest, [(sink.slot, indices, value)], [], position)
            self.sinks[kernel] = sink
            self.work.append(kernel)
            self.register(kernel, [value], nest)

    def loop_over(self, variable: Variable) -> tuple[Nest, tuple[Expr, ...]]:
        """Loops over the elements of `variable`, none along axes of known size 1."""
        shape = self.sizes.shape(variable)
        pattern = variable.type.broadcastable
        indices = tuple(
            E.ZERO if one or size is E.ONE else E.index(size)
            for one, size in zip(pattern, shape, strict=True)
        )
        return tuple(i for i in indices if type(i) is Index), indices

    def register(self, kernel: Kernel, roots: Sequence[Expr], nest: Nest) -> None:
        """Note every load below `roots`, with the loops around it."""
        seen: set[Expr] = set()
        stack = [(e, nest) for e in roots]
        while stack:
            expr, around = stack.pop()
            if expr in seen:
                continue
            seen.add(expr)
            if expr.is_host:
                self.read(expr)
                continue
            if type(expr) is Load:
                self.uses.setdefault(expr.head, {}).setdefault(kernel, {}).setdefault(expr, around)
            elif type(expr) is Fold:
                around = around + expr.axes
            elif type(expr) is not Index:
                kernel.calls += 1
            stack.extend((p, around) for p in E.parts(expr))

    def read(self, *exprs: Expr) -> None:
        """The host will read these: results among their leaves need memory."""
        new = [e for e in exprs if e not in self.seen]
        self.seen.update(new)
        for leaf in leaves(new) if new else ():
            variable = leaf.head[0]
            if variable.owner is not None:
                self.need(variable, "contiguous")

    def run(self) -> Fused:
        for position in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[position]
            used = any(v in self.uses or v in self.needs for v in node.outputs)
            if used:
                self.place(node, 2 * position)
        commits = [k for k, s in self.sinks.items() if s.is_update]
        apart = set(commits)
        work = [w for w in self.work if w not in apart]
        for item in self.work:
            if isinstance(item, Kernel):
                item.resolve()
        work.sort(key=lambda w: w.position)
        if self.joins:
            work = _merge_maps(work, self.views)
        return Fused(work, commits, self.stored_as, self.views, self.materialized)

    # -- one node ---------------------------------------------------------------------------------

    def place(self, node: Apply, position: int) -> None:
        op, output = node.op, node.outputs[0]
        for variable in (*node.outputs, *node.inputs):
            if isinstance(variable.type, TensorType):
                self.read(*self.sizes.shape(variable))
        if op.view_of is not None and self.place_view(node):
            return
        if op.compute is not None:
            if output not in self.needs and self.try_inline(node):
                return
            loops, indices = self.loop_over(output)
            value = op.compute(node, indices, self.sizes)
            kernel = Kernel(loops, [(output, indices, value)], [node], position)
            self.work.append(kernel)
            self.register(kernel, [value], loops)
            self.keep(node)
        elif op.assemble is not None:
            for write in op.assemble(node, self.sizes):
                store = (output, write.target, write.value)
                kernel = Kernel(write.loops, [store], [node], position, write.ordered)
                self.work.append(kernel)
                self.register(kernel, [*write.target, write.value], write.loops)
            self.drop_own_loads(output)
            self.keep(node)
        elif (call := self.call_of(node, self.sizes)) is not None:
            for k, operand in enumerate(call.inputs):
                self.need(operand, "strided" if f"in{k}" in call.strided else "contiguous")
            self.work.append(Library(node, call, position))
            self.keep(node)
        elif node in self.loops:
            self.place_loop(node, position)
            self.keep(node)
        else:
            for operand in node.inputs:
                self.need(operand, "contiguous")
            self.work.append(Python(node, position))
            self.keep(node)

    def place_loop(self, node: Apply, position: int) -> None:
        for inner in self.loops[node]:
            self.read(inner.rounds.times, *inner.reads.values())
            rows = {place.variable for place in inner.rounds.feeds if isinstance(place, Row)}
            for variable in variables_of(inner.rounds):
                if variable.owner is not node:
                    self.need(variable, "rows" if variable in rows else "contiguous")
        self.work.append(Loop(node, self.loops[node], position))

    def need(self, variable: Variable, how: str) -> None:
        known = self.needs.get(variable)
        if known is None or NEEDS.index(how) > NEEDS.index(known):
            self.needs[variable] = how

    def drop_own_loads(self, output: Variable) -> None:
        """An assembling kernel may load what it has stored: that is no use of a result."""
        for kernel in list(self.uses.get(output, ())):
            if kernel.stores[0][0] is output:
                del self.uses[output][kernel]

    def keep(self, node: Apply) -> None:
        """Give the results of `node` memory: an output's own where one wants just this."""
        for output in node.outputs:
            self.materialized.add(output)
            if output in self.sizes.unsized:
                continue  # an output's memory is made before the step runs
            for kernel in self.uses.get(output, ()):
                sink = self.sinks.get(kernel)
                plain = sink is not None and sink.value is output and not kernel.inlined
                if plain and sink is not None and not sink.is_update:
                    self.stored_as[output] = sink.slot
                    self.work.remove(kernel)
                    del self.sinks[kernel]
                    break

    def place_view(self, node: Apply) -> bool:
        """Try to let output 0 show the memory of an input."""
        op, output = node.op, node.outputs[0]
        assert op.view_of is not None
        source = node.inputs[op.view_of]
        need = self.needs.get(output)
        if need is None and op.compute is not None and self.try_inline(node):
            return True
        shape = self.sizes.shape(output)
        view = op.view(node, contiguous(self.sizes.shape(source)), self.sizes)
        if view is None or (need == "contiguous" and not is_contiguous(shape, view[1])):
            return False
        if need == "rows" and not is_contiguous(shape[1:], view[1][1:]):
            return False
        self.read(view[0], *view[1])
        exact = op.compute is None or need in ("contiguous", "rows")
        self.need(source, "contiguous" if exact else "strided")
        self.views[output] = source
        return True

    def try_inline(self, node: Apply) -> bool:
        output = node.outputs[0]
        kernels = self.uses[output]
        loads = [(k, load, nest) for k, found in kernels.items() for load, nest in found.items()]
        values = [node.op.compute(node, load.args, self.sizes) for _, load, _ in loads]  # type: ignore[misc]
        cost, count, folds = _cost(values[0])
        if not self.joins and (cost[0] or folds):
            return False
        if any(k.calls + cost[1] > MAX_CALLS for k in kernels):
            return False
        is_cheap = node.op.recompute or cost[0] == 0 or (cost[0] <= CHEAP and count <= 1)
        is_cheap = is_cheap and not folds
        if not is_cheap:
            if len(loads) > 1:
                return False
            _, load, nest = loads[0]
            used = {e for e in E.walk(load.args) if type(e) is Index}
            if used != set(nest[: len(used)]) or (folds and nest and not used):
                return False
        for (kernel, load, nest), value in zip(loads, values, strict=True):
            if node not in kernel.nodes:
                kernel.nodes.append(node)
            value = _labelled(value, kernel.nodes.index(node), load.args)
            kernel.inlined[load] = value
            self.register(kernel, [value], nest)
        del self.uses[output]
        return True


def _labelled(value: Expr, label: int, given: Sequence[Expr]) -> Expr:
    """`value` with this label on its checks, so that an error names the node it comes from.

    The indices `given` to the node hold checks of other nodes: these keep their labels.
    """
    if not value.has_check:
        return value
    new: dict[Expr, Expr] = {e: e for e in E.walk(given)}
    for expr in E.walk([value]):
        if expr in new:
            continue
        new[expr] = E.with_parts(expr, new)
        if E.is_checked(expr):
            position, size, _ = new[expr].args
            new[expr] = E.checked(position, size, label)
    return new[value]


def _merge_maps(work: Sequence[Work], views: Mapping[Variable, Variable]) -> list[Work]:
    """Join neighbours that run over the same loops into one kernel with several stores.

    What the first stores and the second loads at the same place stays in a register.
    """
    merged: list[Work] = []
    joint: _Joint | None = None
    for item in work:
        last = merged[-1] if merged else None
        if isinstance(item, Kernel) and isinstance(last, Kernel):
            if joint is None or joint.kernel is not last:
                joint = _Joint(last, views)
            if joint.take(item):
                continue
        merged.append(item)
    return merged


class _Joint:
    """A kernel that others are joined to, and what is known of it: each is looked at once."""

    def __init__(self, kernel: Kernel, views: Mapping[Variable, Variable]) -> None:
        self.kernel, self.views = kernel, views
        self.made: set[Variable] = set()
        self.values: dict[Expr, Expr] = {}  # what it stores, by the load that would read it
        self.shares: set[Variable] = set()  # what it touches
        self.has_folds = False
        self.seen: set[Expr] = set()
        self.note(kernel.stores)

    def note(self, stores: Iterable[tuple[Variable, tuple[Expr, ...], Expr]]) -> None:
        """Take down these stores of the kernel."""
        for variable, target, value in stores:
            self.made.add(variable)
            self.values[E.load(variable, target)] = value
        values = E.walk((value for _, _, value in stores), self.seen)
        self.shares |= {e.head for e in values if type(e) is Load} | self.made
        every = (*values, *E.walk((t for _, target, _ in stores for t in target), self.seen))
        self.has_folds = self.has_folds or any(type(e) is Fold for e in every)

    def take(self, second: Kernel) -> bool:
        """Join `second` to the kernel; whether that could be done."""
        first = self.kernel
        if len(first.loops) != len(second.loops) or first.calls + second.calls > MAX_CALLS:
            return False
        if any(a.extent is not b.extent for a, b in zip(first.loops, second.loops, strict=True)):
            return False
        if first.ordered or second.ordered or len(first.stores) >= MAX_STORES or self.has_folds:
            return False
        stores = self.rewritten(second)
        if stores is None:
            return False
        self.note(stores)
        first.stores += stores
        first.nodes += [n for n in second.nodes if n not in first.nodes]
        first.calls += second.calls
        return True

    def rewritten(self, second: Kernel) -> list[tuple[Variable, tuple[Expr, ...], Expr]] | None:
        """The stores of `second` in terms of the kernel's loops and values, if they fit."""
        roots = [e for _, target, value in second.stores for e in (*target, value)]
        every = E.walk(roots)
        if any(e.has_check for e in roots) or any(type(e) is Fold for e in every):
            return None  # (a check is labelled with its node's place in its own kernel)
        if not self.made.isdisjoint(variable for variable, _, _ in second.stores):
            return None
        if any(type(e) in (Dim, Item) and e.head[0] in self.made for e in every):
            return None
        loops: dict[Expr, Expr] = dict(zip(second.loops, self.kernel.loops, strict=True))
        table = E.substitute_all(roots, loops)
        loads = [e for e in E.walk(table[e] for e in roots) if type(e) is Load]
        if not any(e.head in self.shares for e in loads):
            return None
        if any(_root(e.head, self.views) in self.made and e not in self.values for e in loads):
            return None
        done = E.substitute_all([table[e] for e in roots], self.values)
        return [
            (variable, tuple(done[table[t]] for t in target), done[table[value]])
            for variable, target, value in second.stores
        ]


def _root(variable: Variable, views: Mapping[Variable, Variable]) -> Variable:
    while variable in views:
        variable = views[variable]
    return variable


def _cost(value: Expr) -> tuple[tuple[int, int], int, int]:
    """((cost, calls), loads, folds) of computing `value` once; what no loop moves is read once."""
    every = E.walk([value])
    calls = [e for e in every if type(e) is E.Call and not e.is_host]
    loads = [e for e in every if type(e) is Load]
    address = set(E.walk(i for e in loads for i in e.args if i.args))
    work = sum(e.head.cost for e in calls if e not in address)
    moved = sum(any(not i.is_host for i in e.args) for e in loads)
    folds = sum(type(e) is Fold for e in every)
    return (work, len(calls)), moved, folds


def lowered(node: Apply, sizes: Sizes) -> LibraryCall | None:
    """The library call that the op of a node names, if it does."""
    return node.op.lowering(node, sizes) if node.op.lowering is not None else None


def fuse(
    nodes: Sequence[Apply],
    sizes: Sizes,
    sinks: Sequence[Sink],
    call_of: LibraryCallOf = lowered,
    joins: bool = True,
    loops: Mapping[Apply, Sequence[Inner]] | None = None,
) -> Fused:
    """Group `nodes` (in topological order) into kernels, library calls, loops and Python steps.

    `call_of` tells which nodes library kernels compute. Without `joins`,
    each node that does arithmetic is a kernel of its own. `loops` are the planned inner graphs of
    nodes that run natively.
    """
    return _Fuser(nodes, sizes, sinks, call_of, joins, loops or {}).run()
