"""The rewriting engine: one pass over the graph, each node interned and rewritten until it rests.

Nodes are rebuilt in topological order, so a rule sees inputs that are final. Equal nodes (same
op, same inputs) are one node, so equal expressions are computed once without a pass for it. What
a rule makes is processed in the same way, within a budget. A rule that fails raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from symgraph.errors import RewriteError, explain
from symgraph.graph import Apply, Constant, Op, Variable, rebuild, toposort, tracing
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
            if all(p.match(v, attempt) for p, v in zip(self.args, inputs, strict=True)):
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
        if variable.data.size == 1 and variable.data.ndim == sum(variable.type.broadcastable):  # type: ignore[attr-defined]
            return variable.data.reshape(-1)[0].item()  # type: ignore[no-any-return]
    return None


# ---- rules ---------------------------------------------------------------------------------------


class Rule:
    """`pattern -> replacement(**wildcards)`; the replacement may decline by returning None."""

    def __init__(self, pattern: Term, replacement: Callable[..., Replacement]) -> None:
        self.pattern, self.replacement = pattern, replacement
        self.key = pattern.matcher.key

    def apply(self, node: Apply) -> Replacement:
        found: dict[str, Any] = {}
        if not self.pattern.match(node.outputs[0], found):
            return None
        return self.replacement(**found)


class NodeRule:
    """A rule written as a function of the node, for what no pattern can say."""

    def __init__(self, key: Any, function: Callable[[Apply], Replacement]) -> None:
        self.key, self.apply = key, function


Table = dict[Any, list[Rule | NodeRule]]


def table_of(rules: Iterable[Rule | NodeRule]) -> Table:
    """Rules by the kind of op that they start at; key None is for every op."""
    table: Table = {}
    for rule in rules:
        table.setdefault(rule.key, []).append(rule)
    return table


# ---- engine --------------------------------------------------------------------------------------


class Rewriter:
    """Rebuilds graphs through an intern table, under the rules of `table`."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.nodes: dict[Any, Apply] = {}
        self.constants: dict[Any, Constant] = {}
        self.done: dict[Variable, Variable] = {}
        self.fired: dict[Any, int] = {}

    def rewrite(self, outputs: Sequence[Variable]) -> list[Variable]:
        """`outputs`, rewritten; of the same types."""
        for node in toposort(outputs):
            self.fuel = BUDGET
            self.settle(node)
        return [self.leaf(v) for v in outputs]

    def leaf(self, variable: Variable) -> Variable:
        found = self.done.get(variable)
        if found is not None:
            return found
        if isinstance(variable, Constant) and isinstance(variable.data, np.ndarray):
            return self.constants.setdefault(variable.signature, variable)
        return variable

    def settle(self, node: Apply) -> None:
        """Fill `done` for the outputs of a node whose inputs are done."""
        new = self.intern(node, [self.leaf(v) for v in node.inputs])
        results: Sequence[Variable] = new.outputs
        for variable in new.outputs:
            if variable in self.done and new is not node:
                results = [self.done[v] for v in new.outputs]
                break
        else:
            results = self.improve(new)
        for old, fresh, result in zip(node.outputs, new.outputs, results, strict=True):
            self.done[old] = self.done[fresh] = result

    def intern(self, node: Apply, inputs: list[Variable]) -> Apply:
        key_inputs = inputs
        if node.op.commutative and len(inputs) == 2 and id(inputs[0]) > id(inputs[1]):
            key_inputs = inputs[::-1]
        key = (node.op, tuple(map(id, key_inputs)))
        found = self.nodes.get(key)
        if found is None:
            found = rebuild(node, inputs)
            for old, new in zip(node.outputs, found.outputs, strict=True):
                if old.type != new.type:
                    found = self._as_before(node, inputs, found)
                    break
            self.nodes[key] = found
        return found

    def _as_before(self, node: Apply, inputs: list[Variable], made: Apply) -> Apply:
        """`made` with the types of `node`: what is known of a pattern must not change under it."""
        return Apply(node.op, inputs, [v.type.make_variable() for v in node.outputs])

    def improve(self, node: Apply) -> Sequence[Variable]:
        folded = fold_constants(node)
        if folded is not None:
            return [self.leaf(v) for v in folded]
        for rule in (*self.table.get(kind_of(node.op), ()), *self.table.get(None, ())):
            with tracing(node.trace):
                result = rule.apply(node)
            if result is None:
                continue
            new = [result] if isinstance(result, Variable) else list(result)
            if any(a.type != b.type for a, b in zip(new, node.outputs, strict=True)):
                continue  # the rule does not hold at these dtypes or patterns
            self.fired[rule] = self.fired.get(rule, 0) + 1
            self.fuel -= 1
            if self.fuel < 0:
                raise RewriteError(
                    explain(node.op, f"rewriting does not come to an end (last rule: {rule})",
                            where=node.trace, cure="report this; mode='FAST_COMPILE' avoids it")
                )  # fmt: skip
            for made in toposort(new, stop_at=self.done):
                self.settle(made)
            return [self.leaf(v) for v in new]
        return node.outputs


def fold_constants(node: Apply) -> list[Variable] | None:
    """The outputs as constants, if all inputs are and the results are small."""
    if not node.inputs or not all(isinstance(v, Constant) for v in node.inputs):
        return None
    if not all(isinstance(v.type, TensorType) for v in (*node.inputs, *node.outputs)):
        return None
    data = [v.data for v in node.inputs]  # type: ignore[attr-defined]
    if any(d.size > FOLD_LIMIT for d in data) or not node.op.is_pure:
        return None
    try:
        values = node.op.evaluate(node, *data)
    except (ArithmeticError, IndexError, ValueError):
        return None  # the error belongs to the call, where the user meets it
    results: list[Variable] = []
    for variable, value in zip(node.outputs, values, strict=True):
        array = np.asarray(value)
        if array.size > max(FOLD_LIMIT, sum(d.size for d in data)):
            return None
        results.append(TensorConstant(variable.type, np.array(array)))
    return results
