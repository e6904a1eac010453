"""What is known of sizes while the graph is built, and arithmetic on sizes as host expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from symgraph import expr as E
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Constant, Variable
from symgraph.graph import Shape as Sizes
from symgraph.types import DISCRETE


class BuildContext:
    """The sizes and integers that are known while the graph is built; a `Context`.

    It sees through the ops that sizes pass through, a few steps deep, never further: building a
    graph must not cost more than its nodes.
    """

    def __init__(self, depth: int = 8) -> None:
        self.depth = depth

    def shape(self, variable: Variable) -> Sizes:
        if isinstance(variable, Constant):
            return tuple(E.const(size) for size in variable.data.shape)
        kind, node = variable.type, variable.owner
        small = kind.ndim == 1 and kind.dtype in DISCRETE
        if node is not None and small and self.depth:
            inner = BuildContext(self.depth - 1)
            sizes = node.op.infer_shape(node, inner)[variable.index or 0]
            if sizes is not None:
                return sizes
        return tuple(E.dim(variable, axis) for axis in range(kind.ndim))

    def value(self, variable: Variable, position: int = 0) -> Expr:
        if isinstance(variable, Constant):
            return E.const(variable.data.reshape(-1)[position])
        node = variable.owner
        if node is not None and variable.index == 0 and self.depth:
            found = node.op.host_value(node, position, BuildContext(self.depth - 1))
            if found is not None:
                return found
        return E.item(variable, position)


def known_integer(variable: Variable, position: int = 0) -> int | None:
    """Element `position` of an integer variable if it is the same in every call, else None."""
    value = BuildContext().value(variable, position)
    return int(value.value) if isinstance(value, E.Const) else None


def known_length(vector: Variable) -> int | None:
    """The length of a vector if it is the same in every call, else None."""
    size = BuildContext().shape(vector)[0]
    return int(size.value) if isinstance(size, E.Const) else None


def never_negative(size: Expr) -> bool:
    """Whether a host expression is surely at least 0."""
    sure: dict[Expr, bool] = {}
    for e in E.walk([size]):
        if isinstance(e, E.Const):
            sure[e] = e.value >= 0
        elif isinstance(e, E.Call):
            parts = [sure[a] for a in e.args]
            name = e.head.name
            some = name == "max" and any(parts)
            sure[e] = some or (name in ("add", "mul", "floordiv", "min", "max") and all(parts))
            if name == "mod":
                sure[e] = parts[1]
            elif name == "where":
                sure[e] = all(parts[1:])
        else:
            sure[e] = isinstance(e, E.Dim)
    return sure[size]


def at_least_zero(size: Expr) -> Expr:
    return size if never_negative(size) else E.maximum(E.ZERO, size)


def _factors(size: Expr) -> tuple[int, list[Expr]]:
    number, rest, stack = 1, [], [size]
    while stack:
        e = stack.pop()
        if isinstance(e, E.Const):
            number *= e.value
        elif isinstance(e, E.Call) and e.head.name == "mul":
            stack.extend(reversed(e.args))
        else:
            rest.append(e)
    return number, rest


def cancel(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """`a` and `b` without their common factors."""
    (m, left), (n, right) = _factors(a), _factors(b)
    for factor in list(right):
        if factor in left:
            left.remove(factor)
            right.remove(factor)
    common = math.gcd(m, n) or 1
    return E.product([m // common, *left]), E.product([n // common, *right])


def same_size(a: Expr, b: Expr) -> bool:
    """Whether two host expressions are surely equal, whatever the order of their factors."""
    left, right = cancel(a, b)
    return left is right


def checks_of(
    conditions: Iterable[Expr], facts: Sizes, fail: Callable[..., Exception]
) -> list[Check]:
    """One check for each condition that is not surely true."""
    return [
        Check(condition, facts, fail)
        for condition in conditions
        if not (isinstance(condition, E.Const) and condition.value)
    ]


def raise_known_failures(node: Apply) -> None:
    """Raise now what would fail in every call, as far as sizes are known."""
    for check in node.op.shape_checks(node, BuildContext()):
        facts = [f.value for f in check.facts if isinstance(f, E.Const)]
        if isinstance(check.holds, E.Const) and not check.holds.value:
            if len(facts) == len(check.facts):
                raise check.fail(*facts)


def contiguous_strides(sizes: Sequence[Expr]) -> Sizes:
    """The strides, in elements, of a row-major array."""
    strides: list[Expr] = []
    step: Expr = E.ONE
    for n in reversed(sizes):
        strides.append(E.ZERO if n is E.ONE else step)
        step = E.mul(n, step)
    return tuple(reversed(strides))


def contiguous(sizes: Sequence[Expr], strides: Sequence[Expr]) -> bool:
    """Whether an array with these strides is surely row-major without gaps."""
    expected = contiguous_strides(sizes)
    return all(
        n is E.ONE or same_size(have, want)
        for n, have, want in zip(sizes, strides, expected, strict=True)
    )
