"""What a call of `function` asks for, checked: outputs and new values with givens in place.

Source: Theano, compile/pfunc.py (rebuild_collect_shared) and library/compile/function.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.compile.inputs import In, Out
from symgraph.errors import MissingInputError, UnusedInputError, explain
from symgraph.graph import (
    Constant,
    Variable,
    ancestors,
    clone_replace,
    graph_inputs,
    user_trace,
)
from symgraph.ops.shape import patternbroadcast
from symgraph.sharedvalue import SharedVariable, shared
from symgraph.types import TensorType
from symgraph.variable import TensorConstant, as_tensor_variable

Form = str | list[str]  # "single", "list", "none", or the keys of a dict


class Request:
    """The graph of a function: `outputs`, `updates` (pairs), the `shared` variables they need.

    `inputs` are the variables that stand in this graph for those of `ins`: the same ones, but for
    an input that is the result of a node a new variable, and for an input that keeps state its
    shared variable, `In.state`. `leaves` are the variables that the graph depends on.
    """

    def __init__(
        self,
        ins: Sequence[In],
        outputs: Any,
        updates: Any,
        givens: Any,
        no_default_updates: Any,
        strict: bool,
    ) -> None:
        _check_inputs(ins)
        self.form, flat = _flatten(outputs)
        exprs = [o.variable if isinstance(o, Out) else _output(o) for o in flat]
        self.borrowed = [isinstance(o, Out) and o.borrow for o in flat]
        self.inputs = [stand_in(item) for item in ins]
        inputs = {item.variable: v for item, v in zip(ins, self.inputs, strict=True)}
        replace = _givens(_pairs(givens, "givens"), inputs, strict)
        pairs = [(item.state, item.update) for item in ins if item.update is not None]
        pairs += _pairs(updates, "updates")
        new_values = [(t, _update_value(t, value)) for t, value in _checked_targets(pairs)]
        defaults = _Defaults(no_default_updates)
        targets = [t for t, _ in new_values]
        values = [value for _, value in new_values]
        while True:  # a default update may bring in shared variables with defaults of their own
            together = clone_replace([*exprs, *values], replace)
            leaves = graph_inputs(together)
            more = defaults.missing(leaves, targets)
            if not more:
                break
            targets += [t for t, _ in more]
            values += [value for _, value in more]
        _check_missing(leaves, self.inputs)
        self.leaves = set(leaves)
        clones = _clones([*targets, *leaves])
        if clones:
            together = clone_replace(together, clones)
            leaves = graph_inputs(together)
        self.outputs, values = together[: len(exprs)], together[len(exprs) :]
        self.updates = [(t, _fitting(t, value)) for t, value in zip(targets, values, strict=True)]
        found = [v for v in leaves if isinstance(v, SharedVariable)]
        every = dict.fromkeys([*found, *targets])
        self.shared = [v for v in every if isinstance(v.type, TensorType)]

    @property
    def arguments(self) -> list[Variable]:
        """The inputs that are given values: those that keep no state."""
        return [v for v in self.inputs if not isinstance(v, SharedVariable)]

    def selected(self, subset: Sequence[Any]) -> Request:
        """The same request for some of its outputs only, given by position, or by key if the
        outputs are a dict. Raises ValueError for one that does not exist."""
        keys: Sequence[Any] = range(len(self.outputs)) if isinstance(self.form, str) else self.form
        for key in subset:
            if key not in keys:
                raise ValueError(
                    explain("", f"output_subset: there is no output {key!r}", where=user_trace(),
                            got=f"output_subset={list(subset)!r}",
                            expected=f"of {', '.join(map(repr, keys))}")
                )  # fmt: skip
        new = copy.copy(self)
        new.form = "list" if isinstance(self.form, str) else list(subset)
        new.outputs = [self.outputs[keys.index(key)] for key in subset]
        new.borrowed = [self.borrowed[keys.index(key)] for key in subset]
        return new

    def exchanged(
        self,
        replace: Mapping[Variable, Variable],
        updates: Sequence[tuple[Variable, Variable]],
    ) -> Request:
        """The same request with other variables for shared ones, and these of its updates only."""
        new = copy.copy(self)
        values = clone_replace([*self.outputs, *(v for _, v in updates)], dict(replace))
        new.outputs = values[: len(self.outputs)]
        new.updates = [
            (replace.get(target, target), value)
            for (target, _), value in zip(updates, values[len(self.outputs) :], strict=True)
        ]
        _checked_targets(new.updates)
        new.inputs = [replace.get(v, v) for v in self.inputs]
        shared = dict.fromkeys(replace.get(v, v) for v in self.shared)
        new.shared = [v for v in shared if isinstance(v, SharedVariable)]
        return new


def _check_inputs(ins: Sequence[In]) -> None:
    """TypeError for inputs that cannot be given values, UnusedInputError for one listed twice."""
    seen: set[Variable] = set()
    for item in ins:
        variable = item.variable
        if isinstance(variable, SharedVariable):
            raise TypeError(
                explain("function", f"Cannot use a shared variable ({variable}) as explicit input. "
                        "Consider substituting a non-shared variable via the `givens` parameter",
                        where=variable.created, got=f"{variable} of {variable.type}",
                        expected="variables without a value of their own",
                        cure=f"givens={{{variable}: x}} with a variable x of the same type, "
                        "and x as the input")
            )  # fmt: skip
        if isinstance(variable, Constant):
            raise TypeError(
                explain("function", f"the input {variable} is a constant", where=variable.created,
                        expected="a variable without a value", cure="replace it by `givens`")
            )  # fmt: skip
        if variable in seen:
            raise UnusedInputError(
                explain("function", f"the variable {variable} is listed twice among the inputs",
                        where=variable.created, got=f"inputs [{', '.join(map(str, ins))}]",
                        expected="every input to be a variable of its own")
            )  # fmt: skip
        seen.add(variable)


def stand_in(item: In) -> Variable:
    """The variable of the compiled graph for this input, as `Request.inputs` holds it."""
    if item.update is not None:
        return item.state  # type: ignore[no-any-return]
    variable = item.variable
    return variable if variable.owner is None else variable.type.make_variable(str(item))


def _check_missing(leaves: Iterable[Variable], inputs: Sequence[Variable]) -> None:
    known = set(inputs)
    for leaf in leaves:
        if leaf not in known and not isinstance(leaf, (Constant, SharedVariable)):
            raise MissingInputError(
                explain("function", f"the graph needs {leaf}, which is not among the inputs",
                        where=leaf.created, got=f"inputs [{', '.join(map(str, inputs))}]",
                        expected=f"a value for {leaf} ({leaf.type})",
                        cure="add it to inputs, or replace it by `givens`")
            )  # fmt: skip


def _pairs(given: Any, what: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    items = given.items() if isinstance(given, Mapping) else given
    if not isinstance(items, Iterable):
        raise TypeError(f"function: {what} is a dict, or a list of pairs; got {given!r}")
    items = list(items)
    for item in items:
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            raise ValueError(f"function: {what} is a dict, or a list of pairs; got {item!r} in it")
    return [(item[0], item[1]) for item in items]


def _flatten(outputs: Any) -> tuple[Form, list[Any]]:
    """The form in which results are returned, and the outputs in a list."""
    if outputs is None:
        return "none", []
    if isinstance(outputs, Mapping):
        for key in outputs:
            if not isinstance(key, str):
                raise TypeError(f"function: keys of the outputs are strings, got {key!r}")
        keys = sorted(outputs)
        return keys, [outputs[k] for k in keys]
    if isinstance(outputs, (list, tuple)):
        return "list", list(outputs)
    return "single", [outputs]


def _output(x: Any) -> Variable:
    if not isinstance(x, (Variable, int, float, np.ndarray, np.generic)):
        raise TypeError(
            explain("function", f"an output is not a variable: {x!r}", got=type(x).__name__,
                    expected="a variable, Out(variable), or a list or dict of these")
        )  # fmt: skip
    if isinstance(x, Variable) and not isinstance(x.type, TensorType):
        raise TypeError(
            explain("function", f"the output {x} is no array", where=x.created, got=str(x.type),
                    expected="outputs of a TensorType: only steps in Python pass other values on",
                    cure="return what an op computes from it")
        )  # fmt: skip
    return as_tensor_variable(x)


def _clones(variables: Iterable[Variable]) -> dict[Variable, Variable]:
    """Shared variables whose value another one of `variables` holds, and the first that does."""
    first: dict[Any, SharedVariable] = {}
    clones: dict[Variable, Variable] = {}
    for variable in variables:
        if isinstance(variable, SharedVariable):
            same = first.setdefault(variable.container, variable)
            if same is not variable:
                clones[variable] = same
    return clones


# ---- givens --------------------------------------------------------------------------------------


def _givens(
    pairs: Sequence[tuple[Any, Any]], inputs: Mapping[Variable, Variable], strict: bool
) -> dict[Variable, Variable]:
    """What to exchange. Pairs apply in order: also within the replacements that follow them."""
    replace = {old: new for old, new in inputs.items() if old is not new}
    used: set[Variable] = set()  # by replacements so far
    for old, new in pairs:
        if not isinstance(old, Variable):
            raise TypeError(f"function: givens replaces variables, got {old!r}")
        if old in inputs:
            raise RuntimeError(
                explain("function", f"the input {old} is replaced by `givens` too",
                        where=old.created, got=f"givens {{{old}: {new}}}",
                        cure="drop it from the inputs, or from givens")
            )  # fmt: skip
        if old in used or old in replace:
            raise AssertionError(
                explain("function", "When using 'givens' with several (old_v, new_v) replacement "
                        "pairs, you can not have a new_v variable depend on an old_v one",
                        where=old.created, got=f"{old}, to be replaced by {new}, but "
                        + ("replaced already" if old in replace else "another new_v depends on it"),
                        expected="replacements that do not depend on each other")
            )  # fmt: skip
        new = _same_type(old, _as_variable(old, new, strict), strict)
        (new,) = clone_replace([new], replace)
        used.update(ancestors([new]))
        replace[old] = new
    return replace


def _as_variable(old: Variable, new: Any, strict: bool) -> Variable:
    if isinstance(new, Variable):
        return new
    kind = old.type
    if not isinstance(kind, TensorType):
        return shared(new)  # type: ignore[no-any-return]
    try:
        data = kind.filter(new)
    except TypeError as error:
        if not strict:
            return shared(np.asarray(new))  # type: ignore[no-any-return]
        raise TypeError(f"function: givens cannot replace {old} by {new!r}. {error}") from None
    return shared(data, broadcastable=kind.broadcastable)  # type: ignore[no-any-return]


def _same_type(old: Variable, new: Variable, strict: bool) -> Variable:
    """`new` in the type of `old`; TypeError if it has another dtype or number of axes. Not
    `strict`: these may differ, since every node is made anew for what it gets."""
    kind, have = old.type, new.type
    if kind == have or not isinstance(kind, TensorType):
        return new
    if isinstance(have, TensorType):
        if kind.is_super(have):
            return patternbroadcast(new, kind.broadcastable)  # type: ignore[no-any-return]
        if not strict:
            return new
    raise TypeError(
        explain("function", f"givens cannot replace {old} by {new}", where=new.created,
                got=f"{new} of {new.type}", expected=str(old.type),
                cure="cast it (.astype), or make an axis broadcastable with addbroadcast")
    )  # fmt: skip


# ---- updates -------------------------------------------------------------------------------------


def _checked_targets(updates: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    seen = set()
    result = []
    for target, value in updates:
        if not isinstance(target, SharedVariable):
            raise TypeError(
                explain("function", f"update target must be a SharedVariable, got {target!r}",
                        where=getattr(target, "created", None),
                        expected="pairs (shared variable, new value)",
                        cure="make it with symgraph.shared(...)")
            )  # fmt: skip
        if not isinstance(target.type, TensorType):
            raise TypeError(
                explain("function", f"{target} cannot be updated: its value is no array",
                        where=target.created, got=str(target.type), expected="an array",
                        cure="make it as shared(numpy.asarray(...))")
            )  # fmt: skip
        if target.container in seen:
            raise ValueError(
                explain("function", f"there are two updates of the shared variable {target}",
                        where=target.created, expected="one new value for each shared variable")
            )  # fmt: skip
        seen.add(target.container)
        result.append((target, value))
    return result


def _update_value(target: Any, value: Any) -> Variable:
    """The new value as a variable; numbers and arrays take the target's type, if they can."""
    kind = target.type
    if isinstance(value, Variable):
        return value
    try:
        return TensorConstant(kind, kind.filter(value))
    except TypeError as error:
        raise TypeError(
            explain("function", "An update must have the same type as the original shared variable",
                    where=target.created, got=f"the update {value!r}: {error}",
                    expected=f"{kind}, the type of {target}")
        ) from None  # fmt: skip


def _fitting(target: Any, value: Variable) -> Variable:
    """`value`, checked to be of the target's type."""
    kind, have = target.type, value.type
    if kind == have:
        return value
    cure = f"cast the update: .astype('{getattr(kind, 'dtype', '')}')"
    if isinstance(have, TensorType) and getattr(kind, "dtype", None) == have.dtype:
        cure = "give the update as many axes as the variable has"
        if kind.ndim == have.ndim:
            cure = (
                "if the broadcast pattern differs as it should, use symgraph.tensor.unbroadcast or "
                "addbroadcast on the update, or declare shared(..., broadcastable=...)"
            )
    raise TypeError(
        explain("function", "An update must have the same type as the original shared variable",
                where=value.created, got=f"update {value} of {have}",
                expected=f"{kind}, the type of {target}", cure=cure)
    )  # fmt: skip


class _Defaults:
    """Which default updates apply: `no_default_updates` is a bool or a list of variables."""

    def __init__(self, excluded: Any) -> None:
        if not isinstance(excluded, (bool, list)):
            raise TypeError(
                "function: no_default_updates is True, False or a list of shared variables, "
                f"got {excluded!r}"
            )
        self.all = excluded is True
        self.excluded = set(excluded) if isinstance(excluded, list) else set()

    def missing(
        self, leaves: Iterable[Variable], targets: Sequence[Any]
    ) -> list[tuple[Any, Variable]]:
        """The default updates among `leaves` that `targets` do not have yet."""
        done = {target.container for target in targets}
        found: list[tuple[Any, Variable]] = []
        for leaf in () if self.all else leaves:
            if (
                isinstance(leaf, SharedVariable)
                and leaf.default_update is not None
                and leaf not in self.excluded
                and leaf.container not in done
            ):
                done.add(leaf.container)
                found.append((leaf, _update_value(leaf, leaf.default_update)))
        return found
