"""The rewriting engine: one pass over the graph, each node interned and rewritten until it rests.

Nodes are rebuilt in topological order, so a rule sees inputs that are final. Equal nodes (same
op, same inputs) are one node, so equal expressions are computed once without a pass for it. What
a rule makes is processed in the same way, within a budget. A rule that fails raises.

A rule never changes a type: a replacement of another dtype or broadcast pattern is turned down,
which is how a row says that it holds only where dtypes and patterns agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from symgraph.errors import RewriteError, explain
from symgraph.graph import Apply, Constant, Op, Variable, reapply, toposort, tracing
from symgraph.sharedvalue import SharedVariable
from symgraph.types import TensorType
from symgraph.variable import TensorConstant

FOLD_LIMIT = 4096  # elements: larger constants are computed when the function runs
BUDGET = 200  # rule firings that one node of the user's graph may set off

Replacement = Variable | Sequence[Variable] | None


# ---- patterns ------------------------------------------------------------------------------------


class Pattern:
    """A shape of expression. Patterns combine by calling a `Matcher` on patterns and numbers."""

    def match(self, variable: Variable, found: dict[str, Any]) -> bool:
        """Whether `variable` has this shape; fills `found` with what the wildcards stand for."""
        raise NotImplementedError


class Wild(Pattern):
    """Anything; the same thing everywhere in a pattern. `where` restricts it."""

    def __init__(self, name: str, where: Callable[[Variable], bool] | None = None) -> None:
        self.name, self.where = name, where

    def match(self, variable: Variable, found: dict[str, Any]) -> bool:
        known = found.get(self.name)
        if known is not None:
            return known is variable
        if self.where is not None and not self.where(variable):
            return False
        found[self.name] = variable
        return True


class Number(Pattern):
    """A constant of one element with this value."""

    def __init__(self, value: float) -> None:
        self.value = value

    def match(self, variable: Variable, found: dict[str, Any]) -> bool:
        return constant_value(variable) == self.value


class Term(Pattern):
    """A node of a given kind over patterns; of a commutative op in either order."""

    def __init__(self, matcher: Matcher, args: Sequence[Pattern]) -> None:
        self.matcher, self.args = matcher, list(args)

    def match(self, variable: Variable, found: dict[str, Any]) -> bool:
        node = variable.owner
        if node is None or variable.index != 0 or kind_of(node.op) is not self.matcher.key:
            return False
        if len(node.inputs) != len(self.args):
            return False
        orders = [node.inputs]
        if node.op.commutative and len(node.inputs) == 2:
            orders.append(node.inputs[::-1])
        for inputs in orders:
            attempt = dict(found)
            for pattern, given in zip(self.args, inputs, strict=True):
                if not pattern.match(given, attempt):
                    break
            else:
                found.update(attempt)
                return True
        return False


def kind_of(op: Op) -> Any:
    """What rules are filed under: an elementwise op's row ("cast" for all casts), a reduction's
    row, another op's class."""
    row = getattr(op, "scalar_op", None)
    if row is not None:
        return "cast" if row.target is not None else row
    return getattr(op, "reduction", None) or type(op)


class Matcher:
    """Makes patterns for one kind of op: `LOG = Matcher(elementwise.LOG)`, then `LOG(x)`."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def __call__(self, *args: Pattern | float) -> Term:
        return Term(self, [a if isinstance(a, Pattern) else Number(a) for a in args])


def constant_value(variable: Variable) -> float | None:
    """The number that a constant of one element holds; None for anything else."""
    if isinstance(variable, Constant) and isinstance(variable.data, np.ndarray):
        if variable.data.size == 1 and all(variable.type.broadcastable):
            return variable.data.reshape(-1)[0].item()  # type: ignore[no-any-return]
    return None


# ---- rules ---------------------------------------------------------------------------------------


class Rule:
    """`pattern` becomes `replacement(**wildcards)`; the replacement may decline by returning None.

    `text` is the algebra, for people: in the list of rules, in messages and in tests.
    """

    def __init__(self, text: str, pattern: Term, replacement: Callable[..., Replacement]) -> None:
        self.text, self.pattern, self.replacement = text, pattern, replacement
        self.keys: tuple[Any, ...] = (pattern.matcher.key,)

    def apply(self, node: Apply) -> Replacement:
        found: dict[str, Any] = {}
        if not self.pattern.match(node.outputs[0], found):
            return None
        return self.replacement(**found)

    def __str__(self) -> str:
        return self.text


class NodeRule:
    """A rule written as a function of the node, for what no pattern can say.

    `keys` are the kinds of op that it is tried on (None: every op). Its text is the first
    paragraph of the function's docstring.
    """

    def __init__(self, function: Callable[[Apply], Replacement], *keys: Any) -> None:
        self.apply, self.keys = function, keys
        self.text = " ".join((function.__doc__ or function.__name__).split("\n\n")[0].split())

    def __str__(self) -> str:
        return self.text


AnyRule = Rule | NodeRule
Table = dict[Any, list[AnyRule]]


def table_of(rules: Iterable[AnyRule]) -> Table:
    """Rules by the kind of op that they start at; key None is for every op."""
    table: Table = {}
    for rule in rules:
        for key in rule.keys:
            table.setdefault(key, []).append(rule)
    return table


# ---- engine --------------------------------------------------------------------------------------


class Rewriter:
    """Rebuilds graphs through an intern table, under the rules of `table`.

    `fired` counts how often each rule was used. RewriteError for a rule that raises, and for rules
    that go on for ever; it names the rule, the op and the user's line.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.nodes: dict[Any, Apply] = {}
        self.constants: dict[Any, Constant] = {}
        self.done: dict[Variable, Variable] = {}
        self.fired: dict[AnyRule, int] = {}
        self.given: set[Apply] = set()  # the user's nodes, which are left as they are

    def rewrite(self, outputs: Sequence[Variable]) -> list[Variable]:
        """`outputs`, rewritten; of the same types."""
        nodes = toposort(outputs)
        self.given.update(nodes)
        for node in nodes:
            self.fuel = BUDGET
            self.settle(node)
        return [self.leaf(v) for v in outputs]

    def leaf(self, variable: Variable) -> Variable:
        """What stands for `variable` after rewriting, as far as that has come."""
        found = self.done.get(variable)
        if found is not None:
            return found
        if isinstance(variable, Constant) and isinstance(variable.data, np.ndarray):
            return self.constants.setdefault(variable.signature, variable)
        return variable

    def settle(self, node: Apply) -> None:
        """Fill `done` for the outputs of a node whose inputs are done."""
        new = self.intern(node, [self.leaf(v) for v in node.inputs])
        if new.outputs and new.outputs[0] in self.done:
            results: Sequence[Variable] = [self.done[v] for v in new.outputs]
        else:
            results = self.improve(new)
        for old, fresh, result in zip(node.outputs, new.outputs, results, strict=True):
            self.done[old] = self.done[fresh] = result
            if old.name is not None and result.name is None:
                owner = result.owner
                if owner is not None and owner not in self.given:
                    result.name = old.name

    def intern(self, node: Apply, inputs: list[Variable]) -> Apply:
        """The one node of this op and these inputs. Its types are those of `node`: what is known
        of a pattern must not change under it."""
        is_pair = node.op.commutative and len(inputs) == 2
        key = (node.op, frozenset(inputs) if is_pair else tuple(inputs))
        found = self.nodes.get(key)
        if found is None:
            found = node
            if any(a is not b for a, b in zip(node.inputs, inputs, strict=True)):
                found = reapply(node, inputs)
            if node.op.is_pure:
                self.nodes[key] = found
        return found

    def improve(self, node: Apply) -> Sequence[Variable]:
        folded = fold_constants(node)
        if folded is not None:
            return [self.leaf(v) for v in folded]
        with tracing(node.trace):
            rule, new = self.first(node)
        if rule is None:
            return node.outputs
        self.fired[rule] = self.fired.get(rule, 0) + 1
        self.fuel -= 1
        if self.fuel < 0:
            raise RewriteError(
                explain(node.op, "rewriting does not come to an end", where=node.trace,
                        got=f"{BUDGET} uses of rules for one node, the last: {rule}",
                        cure="report this; mode='FAST_COMPILE' uses fewer rules")
            )  # fmt: skip
        for made in toposort(new, stop_at=self.done):
            self.settle(made)
        return [self.leaf(v) for v in new]

    def first(self, node: Apply) -> tuple[AnyRule | None, list[Variable]]:
        """The first rule that holds for `node`, and what it makes of it."""
        for rules in (self.table.get(kind_of(node.op), ()), self.table.get(None, ())):
            for rule in rules:
                new = self.attempt(rule, node)
                if new is not None:
                    return rule, new
        return None, []

    def attempt(self, rule: AnyRule, node: Apply) -> list[Variable] | None:
        """What `rule` makes of `node`, or None if it does not hold there."""
        try:
            result = rule.apply(node)
        except Exception as error:
            raise RewriteError(
                explain(node.op, f"a rewrite rule failed: {type(error).__name__}: {error}",
                        where=node.trace, got=f"{node}, rule: {rule}",
                        cure="report this; mode='FAST_COMPILE' uses fewer rules")
            ) from error  # fmt: skip
        if result is None:
            return None
        new = [result] if isinstance(result, Variable) else list(result)
        if any(a.type != b.type for a, b in zip(new, node.outputs, strict=True)):
            return None
        return new


def fold_constants(node: Apply) -> list[Variable] | None:
    """The outputs as constants, if all inputs are and the results are small."""
    if not node.inputs or not all(isinstance(v, Constant) for v in node.inputs):
        return None
    if not all(isinstance(v.type, TensorType) for v in (*node.inputs, *node.outputs)):
        return None
    data = [v.data for v in node.inputs]  # type: ignore[attr-defined]
    if any(d.size > FOLD_LIMIT for d in data) or not (node.op.is_pure and node.op.folds):
        return None
    try:
        values = node.op.evaluate(node, *data)
    except Exception:  # also of a user's own op: it belongs to the call, where the user meets it
        return None
    results: list[Variable] = []
    for variable, value in zip(node.outputs, values, strict=True):
        array = np.asarray(value)
        if str(array.dtype) != variable.type.dtype or array.ndim != variable.type.ndim:
            return None  # a mistake in a user's op: the call says so
        if array.size > max(FOLD_LIMIT, sum(d.size for d in data)):
            return None
        results.append(TensorConstant(variable.type, np.array(array)))
    return results


# ---- verifier ------------------------------------------------------------------------------------


def verify(outputs: Sequence[Variable], inputs: Collection[Variable] | None = None) -> None:
    """Check a graph after a pass: it has no cycle, every node's types follow from its inputs, every
    output knows its node, every leaf is a constant, a shared variable, or one of `inputs` (None:
    any leaf will do). AssertionError, with the node, where it is not so.
    """
    state: dict[Apply, bool] = {}  # False: being visited, True: verified
    stack = [v.owner for v in outputs if v.owner is not None]
    known = None if inputs is None else set(inputs)
    for variable in outputs:
        _verify_leaf(variable, known)
    while stack:
        node = stack[-1]
        if node in state:
            stack.pop()
            if not state[node]:
                _verify_node(node, known)
                state[node] = True
            continue
        state[node] = False
        for variable in node.inputs:
            if variable.owner is not None:
                assert state.get(variable.owner, True), f"a cycle goes through {node}"
                if variable.owner not in state:
                    stack.append(variable.owner)


def _verify_leaf(variable: Variable, known: set[Variable] | None) -> None:
    if variable.owner is None and known is not None and variable not in known:
        assert isinstance(variable, (Constant, SharedVariable)), f"nobody gives {variable}"


def _verify_node(node: Apply, known: set[Variable] | None) -> None:
    for variable in node.inputs:
        _verify_leaf(variable, known)
    for position, output in enumerate(node.outputs):
        assert output.owner is node and output.index == position, f"{node}: output {position}"
    with tracing(node.trace):
        again = node.op.make_node(*node.inputs)
    for output, fresh in zip(node.outputs, again.outputs, strict=True):
        assert output.type == fresh.type, f"{node} of {output.type}: its op gives {fresh.type}"
    assert len(again.inputs) == len(node.inputs), f"{node}: its op takes other inputs"
