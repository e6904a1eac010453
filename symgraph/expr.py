"""The kernel language: what one element of an array is, written as an expression.

An op's `compute` returns an `Expr`; fusing is substituting one `compute` into another; the
printers turn the result into loops. The same language, without `Load` and `Index`, is that of
*host expressions*: sizes, strides and offsets, evaluated before the kernels run.

Expressions are interned: equal ones are the same object, so sharing is free and `is` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import KeyedRef

import numpy as np

if TYPE_CHECKING:
    from symgraph.graph import Variable

_TABLE: dict[Any, KeyedRef[Any, Expr]] = {}  # what WeakValueDictionary does, in half its time


class Expr:
    """Base of all expressions. `args` are its subexpressions, `dtype` is that of its value."""

    __slots__ = ("__weakref__", "args", "dtype", "has_check", "head", "is_host")
    args: tuple[Expr, ...]
    dtype: str
    head: Any  # what distinguishes it besides its arguments
    is_host: bool  # free of Load, Index and Fold
    has_check: bool  # a checked index is among its subexpressions

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.args))
        return f"{type(self).__name__.lower()}({self.head}{', ' if inner else ''}{inner})"


def _forget(reference: KeyedRef[Any, Expr], table: dict[Any, KeyedRef[Any, Expr]] = _TABLE) -> None:
    if table.get(reference.key) is reference:
        del table[reference.key]


def _intern(kind: type, head: Any, args: tuple[Expr, ...], dtype: str, is_host: bool) -> Any:
    key = (kind, head, args, dtype)
    reference = _TABLE.get(key)
    if reference is not None and (found := reference()) is not None:
        return found
    made: Any = object.__new__(kind)
    made.head, made.args, made.dtype, made.is_host = head, args, dtype, is_host
    made.has_check = kind is Call and head is CHECKED
    for part in args:
        if part.has_check:
            made.has_check = True
    new = KeyedRef(made, _forget, key)
    kept = _TABLE.setdefault(key, new)
    if kept is not new:  # another thread was faster, or the old one is dead and not forgotten yet
        found = kept()
        if found is not None:
            return found
        _TABLE[key] = new
    return made


class Const(Expr):
    """A number; `head` is (value, its bytes), since 0.0 == -0.0 and nan != nan."""

    __slots__ = ()

    @property
    def value(self) -> Any:
        return self.head[0]


class Index(Expr):
    """A loop variable: `head` is unique, `extent` is the number of values it takes."""

    __slots__ = ("extent",)
    extent: Expr


class Dim(Expr):
    """The size of `head[0]` (a variable) along axis `head[1]`."""

    __slots__ = ()


class Item(Expr):
    """Element `head[1]` (a flat position) of the integer variable `head[0]`, read by the host."""

    __slots__ = ()


class Load(Expr):
    """The element of variable `head` at the indices `args`."""

    __slots__ = ()


class Call(Expr):
    """A scalar function `head` (a `Scalar`) of `args`."""

    __slots__ = ()


class Fold(Expr):
    """A reduction: `head` is (kind, the Index of each axis); `args[0]` is the body."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        return str(self.head[0])

    @property
    def axes(self) -> tuple[Index, ...]:
        return tuple(self.head[1])


@dataclass(frozen=True)
class Scalar:
    """A function of numbers: how it is printed, and what it costs.

    `code` is a format string over the printed arguments; both vocabularies know its names.
    `cost` is roughly in additions. `on_host`: the host can compute it, from sizes, as an integer.
    """

    name: str
    code: str
    cost: int = 1
    on_host: bool = False

    def __str__(self) -> str:
        return self.name


class Check(NamedTuple):
    """A condition on sizes: `holds` is a host expression; `fail(values)` makes the exception.

    `facts` are host expressions whose values `fail` gets.
    """

    holds: Expr
    facts: tuple[Expr, ...]
    fail: Callable[..., Exception]


def const(value: Any, dtype: str = "int64") -> Const:
    data = np.asarray(value).astype(dtype)
    return _intern(Const, (data.item(), data.tobytes()), (), dtype, True)  # type: ignore[no-any-return]


ZERO, ONE = const(0), const(1)
_SMALL = {n: const(n) for n in range(-16, 257)}
_counter = iter(range(1 << 62))


def index(extent: Expr) -> Index:
    """A new loop variable with values 0 to extent - 1."""
    made: Index = _intern(Index, next(_counter), (), "int64", False)
    made.extent = extent
    made.has_check = extent.has_check
    return made


def dim(variable: Variable, axis: int) -> Expr:
    if variable.type.broadcastable[axis]:
        return ONE
    return _intern(Dim, (variable, axis), (), "int64", True)  # type: ignore[no-any-return]


def item(variable: Variable, position: int = 0) -> Expr:
    return _intern(Item, (variable, position), (), "int64", True)  # type: ignore[no-any-return]


def load(variable: Variable, indices: Iterable[Expr]) -> Load:
    pattern = variable.type.broadcastable
    args = tuple(ZERO if one else i for one, i in zip(pattern, indices, strict=True))
    return _intern(Load, variable, args, variable.type.dtype, False)  # type: ignore[no-any-return]


def call(scalar: Scalar, args: Sequence[Expr], dtype: str) -> Expr:
    args = tuple(args)
    return _intern(Call, scalar, args, dtype, scalar.on_host and all(a.is_host for a in args))  # type: ignore[no-any-return]


def fold(kind: str, axes: Sequence[Index], body: Expr, dtype: str) -> Expr:
    """Reduce `body` over all values of `axes`, accumulating in `dtype`.

    Kinds: sum, prod, max, min, any, all, argmax, argmin (the first row-major position).
    """
    made: Fold = _intern(Fold, (kind, tuple(axes)), (body,), dtype, False)
    made.has_check = body.has_check or any(axis.has_check for axis in axes)
    return made


# ---- integer arithmetic of sizes and indices -----------------------------------------------------

_ADD = Scalar("add", "({} + {})", on_host=True)
_SUB = Scalar("sub", "({} - {})", on_host=True)
_MUL = Scalar("mul", "({} * {})", on_host=True)
_FLOORDIV = Scalar("floordiv", "({} // {})", 8, on_host=True)
_MOD = Scalar("mod", "({} % {})", 8, on_host=True)
_MAX = Scalar("max", "max({}, {})", on_host=True)
_MIN = Scalar("min", "min({}, {})", on_host=True)
_WHERE = Scalar("where", "({1} if {0} else {2})", on_host=True)
_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "and": "and", "or": "or"}
_COMPARE = {n: Scalar(n, f"({{}} {sign} {{}})", on_host=True) for n, sign in _SIGNS.items()}
_HELD = Scalar("held", "{}", on_host=True)
CHECKED = Scalar("checked", "checked_index({}, {}, errors, {})", 2)


def as_expr(value: Expr | int) -> Expr:
    if isinstance(value, Expr):
        return value
    found = _SMALL.get(value)
    return const(value) if found is None else found


def _values(a: Expr, b: Expr) -> tuple[int, int] | None:
    return (a.value, b.value) if type(a) is Const and type(b) is Const else None


def add(a: Expr | int, b: Expr | int) -> Expr:
    a, b = as_expr(a), as_expr(b)
    if known := _values(a, b):
        return const(known[0] + known[1])
    if a is ZERO:
        return b
    return a if b is ZERO else call(_ADD, (a, b), "int64")


def sub(a: Expr | int, b: Expr | int) -> Expr:
    a, b = as_expr(a), as_expr(b)
    if known := _values(a, b):
        return const(known[0] - known[1])
    if a is b:
        return ZERO
    if type(a) is Call and a.head is _ADD and b in a.args:  # (x + y) - y -> x
        return a.args[1 - a.args.index(b)]
    return a if b is ZERO else call(_SUB, (a, b), "int64")


def mul(a: Expr | int, b: Expr | int) -> Expr:
    a, b = as_expr(a), as_expr(b)
    if known := _values(a, b):
        return const(known[0] * known[1])
    if a is ZERO or b is ZERO:
        return ZERO
    if a is ONE:
        return b
    return a if b is ONE else call(_MUL, (a, b), "int64")


def floordiv(a: Expr | int, b: Expr | int) -> Expr:
    a, b = as_expr(a), as_expr(b)
    if (known := _values(a, b)) and known[1] != 0:
        return const(known[0] // known[1])
    return a if b is ONE else call(_FLOORDIV, (a, b), "int64")


def mod(a: Expr | int, b: Expr | int) -> Expr:
    a, b = as_expr(a), as_expr(b)
    if (known := _values(a, b)) and known[1] != 0:
        return const(known[0] % known[1])
    return ZERO if b is ONE else call(_MOD, (a, b), "int64")


def maximum(a: Expr | int, b: Expr | int) -> Expr:
    a, b = as_expr(a), as_expr(b)
    if known := _values(a, b):
        return const(max(known))
    return a if a is b else call(_MAX, (a, b), "int64")


def minimum(a: Expr | int, b: Expr | int) -> Expr:
    a, b = as_expr(a), as_expr(b)
    if known := _values(a, b):
        return const(min(known))
    return a if a is b else call(_MIN, (a, b), "int64")


def where(condition: Expr | int, a: Expr | int, b: Expr | int) -> Expr:
    condition, a, b = as_expr(condition), as_expr(a), as_expr(b)
    if type(condition) is Const:
        return a if condition.value else b
    return a if a is b else call(_WHERE, (condition, a, b), "int64")


def compare(name: str, a: Expr | int, b: Expr | int) -> Expr:
    """`name`: eq, ne, lt, le, and, or."""
    a, b = as_expr(a), as_expr(b)
    if known := _values(a, b):
        x, y = known
        table = {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y}
        return const(table.get(name, bool(x and y) if name == "and" else bool(x or y)), "bool")
    if a is b:
        return const(name in ("eq", "le"), "bool") if name not in ("and", "or") else a
    return call(_COMPARE[name], (a, b), "bool")


def held(size: Expr) -> Expr:
    """`size` as a parameter of kernels, never a literal in their text: for where knowing a declared
    size gains nothing, and another one should find the same kernel."""
    return call(_HELD, (size,), "int64") if type(size) is Const else size


def product(factors: Iterable[Any]) -> Expr:
    result: Expr = ONE
    for factor in factors:
        result = mul(result, factor)
    return result


def checked(position: Expr, size: Expr, label: int = 0) -> Expr:
    """`position` as an index below `size`: negative counts from the end; out of range is noted.

    `label` tells checks of one kernel apart: fusion sets it to the place of the node.
    """
    return call(CHECKED, (position, size, const(label)), "int64")


def parts(expr: Expr) -> tuple[Expr, ...]:
    """What `expr` is made of: its arguments, and the sizes of loops that other loops decide."""
    if type(expr) is Index:
        return () if expr.extent.is_host else (expr.extent,)
    if type(expr) is Fold:
        return (*(axis for axis in expr.axes if not axis.extent.is_host), *expr.args)
    return expr.args


_PLAIN = {Const, Dim, Item, Load, Call}  # what is made of its arguments alone


def with_parts(expr: Expr, new: Mapping[Expr, Expr]) -> Expr:
    """The same expression of the new parts; a loop of another size is another loop."""
    for part in parts(expr):
        if new[part] is not part:
            break
    else:
        return expr
    if type(expr) is Index:
        return index(new[expr.extent])
    args = tuple(new[a] for a in expr.args)
    if type(expr) is Fold:
        axes = [axis if axis.extent.is_host else new[axis] for axis in expr.axes]
        return fold(expr.kind, axes, args[0], expr.dtype)  # type: ignore[arg-type]
    return with_args(expr, args)


def substitute(root: Expr, table: Mapping[Expr, Expr]) -> Expr:
    """`root` with every key of `table` replaced, each distinct subexpression visited once."""
    return substitute_all([root], table)[root]


def substitute_all(roots: Iterable[Expr], table: Mapping[Expr, Expr]) -> dict[Expr, Expr]:
    """What `substitute` makes of the roots and of everything below them."""
    done: dict[Expr, Expr] = dict(table)
    stack = list(roots)
    while stack:
        expr = stack[-1]
        if expr in done:
            stack.pop()
            continue
        waiting = [p for p in parts(expr) if p not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        done[expr] = with_parts(expr, done)
    return done


def with_args(expr: Expr, args: tuple[Expr, ...]) -> Expr:
    """The same expression over other arguments; host arithmetic is simplified again."""
    if type(expr) is Call and expr.dtype == "int64" and expr.head in _SIMPLIFIERS:
        return _SIMPLIFIERS[expr.head](*args)
    if type(expr) is Call:
        return call(expr.head, args, expr.dtype)
    return _intern(type(expr), expr.head, args, expr.dtype, expr.is_host)  # type: ignore[no-any-return]


_SIMPLIFIERS: dict[Any, Callable[..., Expr]] = {
    _ADD: add, _SUB: sub, _MUL: mul, _FLOORDIV: floordiv, _MOD: mod,
    _MAX: maximum, _MIN: minimum, _WHERE: where,
}  # fmt: skip


def walk(roots: Iterable[Expr], done: set[Expr] | None = None) -> list[Expr]:
    """Every distinct subexpression, arguments before what uses them. Iterative.

    Those in `done`, and what only they need, are left out; the others are put into it.
    """
    done = set() if done is None else done
    order: list[Expr] = []
    stack = list(roots)[::-1]
    while stack:
        expr = stack[-1]
        if expr in done:
            stack.pop()
            continue
        inside = expr.args if type(expr) in _PLAIN else parts(expr)
        waiting = [p for p in inside if p not in done]
        if waiting:
            stack.extend(reversed(waiting))
            continue
        stack.pop()
        done.add(expr)
        order.append(expr)
    return order


def equal_sizes(holds: Expr) -> tuple[Expr, Expr] | None:
    """The two sides, if the condition is that two sizes are equal."""
    if type(holds) is Call and holds.head is _COMPARE["eq"]:
        return holds.args[0], holds.args[1]
    return None


# ---- printing ------------------------------------------------------------------------------------


def format_call(expr: Expr, args: Sequence[str]) -> str:
    """The text of a Call over printed arguments."""
    return expr.head.code.format(*args)  # type: ignore[no-any-return]


def is_checked(expr: Expr) -> bool:
    return type(expr) is Call and expr.head is CHECKED


def linear(expr: Expr) -> tuple[dict[Index, Expr], Expr]:
    """`expr` as a sum of host coefficients times loop variables, and the rest.

    The rest is a host expression where the whole is linear in the loop variables.
    """
    if type(expr) is Index:
        return {expr: ONE}, ZERO
    if expr.is_host or type(expr) is not Call:
        return {}, expr
    if expr.head in (_ADD, _SUB):
        terms, rest = linear(expr.args[0])
        more, other = linear(expr.args[1])
        sign = add if expr.head is _ADD else sub
        for i, coefficient in more.items():
            terms[i] = sign(terms.get(i, ZERO), coefficient)
        return terms, sign(rest, other)
    if expr.head is _MUL:
        for host, other_side in (expr.args, expr.args[::-1]):
            if host.is_host:
                terms, rest = linear(other_side)
                return {i: mul(c, host) for i, c in terms.items()}, mul(rest, host)
    return {}, expr


def is_fallible(expr: Expr) -> bool:
    """Whether computing it may have to note an error: a checked index, an integer division."""
    if type(expr) is not Call or expr.is_host:
        return False
    return expr.head is CHECKED or (
        expr.head.name in ("int_div", "mod") and "float" not in expr.dtype
    )
