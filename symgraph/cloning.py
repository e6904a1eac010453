"""`clone`: a copy of a graph, with parts of it exchanged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from symgraph.deprecation import former
from symgraph.errors import explain
from symgraph.graph import Constant, Variable, reapply, rebuild, toposort
from symgraph.ops.shape import patternbroadcast
from symgraph.sharedvalue import shared
from symgraph.types import TensorType


def clone(
    output: Any,
    replace: Any = None,
    strict: bool = True,
    share_inputs: bool = True,
    copy_inputs: bool | None = None,
) -> Any:
    """A copy of the graph of `output`, a variable or a list, in which keys of `replace` (a dict or
    pairs) are exchanged for their values.

    A value may depend on its own key: values are taken as they are, and not searched for keys. What
    is no variable becomes a shared one. `strict` demands that a value has its key's dtype and
    number of axes (TypeError), else nodes are built anew for what they get. With `share_inputs` the
    copy has the inputs and shared variables of the original, without it copies of these; a copied
    shared variable holds the same value. Values of `replace` are shared in any case. `copy_inputs`
    is the former name of `share_inputs`. Names stay. Raises ValueError for another form of
    `replace`, TypeError for keys that are no variables. Source: Theano, `theano.clone`.
    """
    if copy_inputs is not None:
        former("clone", "copy_inputs", "share_inputs")
        share_inputs = copy_inputs
    pairs = replace.items() if isinstance(replace, Mapping) else () if replace is None else replace
    is_pairs = isinstance(pairs, Collection) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs
    )
    if not is_pairs:
        raise ValueError(
            explain("clone", "replace is neither a dict nor pairs", got=f"{replace!r}",
                    expected="{variable: replacement}, or pairs of these")
        )  # fmt: skip
    env: dict[Variable, Variable] = {old: _fitting(old, new, strict) for old, new in pairs}
    outputs = list(output) if isinstance(output, (list, tuple)) else [output]

    def found(variable: Variable) -> Variable:
        if variable not in env:  # it has no owner: those of nodes are there before they are read
            is_shared = share_inputs or isinstance(variable, Constant)
            env[variable] = variable if is_shared else variable.clone()
        return env[variable]

    for node in toposort(outputs, stop_at=set(env)):
        inputs = [found(v) for v in node.inputs]
        is_fit = strict or all(a.type == b.type for a, b in zip(node.inputs, inputs, strict=True))
        new = reapply(node, inputs) if is_fit else rebuild(node, inputs)
        for old, fresh in zip(node.outputs, new.outputs, strict=True):
            if env.setdefault(old, fresh) is fresh:
                fresh.name = old.name
    results = [found(v) for v in outputs]
    return results if isinstance(output, (list, tuple)) else results[0]


def _fitting(old: Any, new: Any, strict: bool) -> Variable:
    if not isinstance(old, Variable):
        raise TypeError(
            explain("clone", f"{old!r} cannot be replaced: it is no variable",
                    got=type(old).__name__, expected="keys of `replace` that are variables")
        )  # fmt: skip
    kind = old.type
    if not isinstance(new, Variable):
        pattern = kind.broadcastable if isinstance(kind, TensorType) else None
        new = shared(kind.filter(new), broadcastable=pattern)
    have = new.type
    if have == kind or not strict:
        return new  # type: ignore[no-any-return]
    if isinstance(kind, TensorType) and kind.is_super(have):
        return patternbroadcast(new, kind.broadcastable)  # type: ignore[no-any-return]
    raise TypeError(
        explain("clone", f"{old} cannot be replaced by {new}", where=new.created,
                got=f"{new} of {have}", expected=str(kind),
                cure="cast it (.astype), or pass strict=False")
    )  # fmt: skip
