"""Reverse-mode differentiation: graph in, graph out.

`grad` walks the nodes between `wrt` and the cost once, in reverse order, and adds up what each
consumer contributes. Source of the rules: Theano, gradient.py and library/gradient.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from symgraph.configuration import config
from symgraph.errors import DisconnectedInputError, NullTypeGradError, explain, warn_at
from symgraph.graph import Apply, Variable, toposort, tracing, user_trace
from symgraph.ops.elementwise import add, cast, second
from symgraph.types import DISCRETE, FLOATS, DisconnectedType, NullType, TensorType
from symgraph.variable import as_tensor_variable, constant


def disconnected() -> Variable:
    """The gradient along a path that does not exist; ops return it for shapes and indices."""
    return DisconnectedType().make_variable()


def grad(
    cost: Any,
    wrt: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
    add_names: bool = True,
    known_grads: Mapping[Variable, Any] | None = None,
    return_disconnected: str = "zero",
    null_gradients: str = "raise",
) -> Any:
    """Symbolic gradients of the scalar `cost` with respect to each variable of `wrt`.

    `wrt` is a variable, a list or a tuple, and the result is of the same form. Gradients are
    floating: of the variable's dtype, or floatX for an integer variable. `consider_constant`
    blocks paths; `known_grads` (then `cost` may be None) gives the gradients by some variables:
    theirs are taken as they are, whatever else would flow to them, and one of DisconnectedType
    stops there; `disconnected_inputs` is 'raise', 'warn' or 'ignore';
    `return_disconnected` 'zero', 'None' or 'Disconnected'; `null_gradients` 'raise' or 'return'.

    Raises TypeError (cost not a scalar, `wrt` a set), DisconnectedInputError,
    NullTypeGradError. Source: Theano, `theano.grad`.
    """
    if isinstance(wrt, (set, frozenset)):
        raise TypeError(
            explain("grad", "wrt is a set, which has no order", got=repr(wrt),
                    expected="a variable, a list or a tuple", cure="give a list or a tuple")
        )  # fmt: skip
    single = not isinstance(wrt, (list, tuple))
    targets: list[Variable] = [wrt] if single else list(wrt)
    gradients = _start(cost, known_grads)
    results = _propagated(gradients, set(gradients), targets, consider_constant, cost,
                          disconnected_inputs, return_disconnected, null_gradients)  # fmt: skip
    cost_name = getattr(cost, "name", None)
    for target, g in zip(targets, results, strict=True):
        if add_names and g is not None and g.name is None and g is not gradients.get(target):
            if cost_name is not None and target.name is not None:
                g.name = f"(d{cost_name}/d{target.name})"
    if single:
        return results[0]
    return tuple(results) if isinstance(wrt, tuple) else results


def pullback(
    gradients: Mapping[Variable, Any],
    wrt: Sequence[Variable],
    consider_constant: Iterable[Variable] | None = None,
    disconnected_inputs: str = "ignore",
    return_disconnected: str = "Disconnected",
    null_gradients: str = "return",
) -> list[Any]:
    """The gradients by `wrt` of the sum of the variables of `gradients`, each times its value.

    What flows from one of them to another adds to its value, unlike with `known_grads`.
    """
    return _propagated(dict(gradients), set(), wrt, consider_constant, None,
                       disconnected_inputs, return_disconnected, null_gradients)  # fmt: skip


def _propagated(
    starts: Mapping[Variable, Any],
    known: Set[Variable],
    targets: Sequence[Variable],
    consider_constant: Iterable[Variable] | None,
    cost: Any,
    disconnected_inputs: str,
    return_disconnected: str,
    null_gradients: str,
) -> list[Any]:
    """The gradients by `targets`, from those in `starts`; those by `known` stay as they are."""
    _check_choice("disconnected_inputs", disconnected_inputs, ("raise", "warn", "ignore"))
    _check_choice("return_disconnected", return_disconnected, ("zero", "None", "Disconnected"))
    _check_choice("null_gradients", null_gradients, ("raise", "return"))
    blocked = set(consider_constant or ())
    for name, variables in (("wrt", targets), ("consider_constant", blocked)):
        for variable in variables:
            if not isinstance(variable, Variable):
                raise TypeError(
                    explain("grad", f"{name} holds variables",
                            got=f"{variable!r} of {type(variable).__name__}",
                            expected="variables of the graph of the cost",
                            cure="a shared variable itself, not its value")
                )  # fmt: skip
    gradients = dict(starts)
    _backpropagate(gradients, known, targets, blocked)
    results: list[Any] = []
    for target in targets:
        g = gradients.get(target)
        if g is None or isinstance(g.type, DisconnectedType):
            g = of_disconnected(target, cost, disconnected_inputs, return_disconnected)
        elif isinstance(g.type, NullType) and null_gradients == "raise":
            raise NullTypeGradError(
                explain("grad", f"the gradient of {cost} by {target} does not exist",
                        where=cost.created if isinstance(cost, Variable) else None,
                        got=g.type.why, expected="differentiable ops on the way",
                        cure="stop the path with disconnected_grad or consider_constant")
            )  # fmt: skip
        results.append(g)
    return results


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            explain("grad", f"{name} is one of {', '.join(choices)}", got=repr(value),
                    expected=" or ".join(map(repr, choices)))
        )  # fmt: skip


def _start(cost: Any, known_grads: Mapping[Variable, Any] | None) -> dict[Variable, Any]:
    """The gradients that are known before anything is propagated."""
    if cost is None and known_grads is None:
        raise ValueError(
            explain("grad", "nothing to differentiate", got="neither a cost nor known_grads",
                    expected="a scalar cost, or gradients to start from, or both",
                    cure="grad(cost, wrt), or grad(None, wrt, known_grads={y: gradient_by_y})")
        )  # fmt: skip
    gradients: dict[Variable, Any] = {}
    if cost is not None:
        cost = as_tensor_variable(cost)
        if cost.ndim != 0:
            raise TypeError(
                explain("grad", "cost must be a scalar.", where=cost.created,
                        got=f"{cost} of {cost.type}", expected="an expression with no axes",
                        cure="reduce it first, for example with .mean() or .sum()")
            )  # fmt: skip
        one = constant(1.0, dtype=cost.dtype if cost.dtype in FLOATS else config.floatX)
        with tracing(cost.created):
            gradients[cost] = second(cost, one)
    if known_grads is not None:
        if len(known_grads) > 1 and not isinstance(known_grads, (OrderedDict, dict)):
            raise TypeError(
                explain("grad", "known_grads must be an ordered mapping",
                        got=type(known_grads).__name__, expected="a dict or an OrderedDict")
            )  # fmt: skip
        for variable, g in known_grads.items():
            if isinstance(getattr(g, "type", None), (DisconnectedType, NullType)):
                gradients[variable] = g
                continue
            g = as_tensor_variable(g)
            if isinstance(variable.type, TensorType) and g.ndim != variable.type.ndim:
                raise TypeError(
                    explain("grad", f"the gradient by {variable} in known_grads has {g.ndim} axes",
                            where=variable.created, got=str(g.type), expected=str(variable.type),
                            cure="a gradient has the shape of what it is taken by")
                )  # fmt: skip
            gradients[variable] = g  # that by the cost is 1 unless it is given here
    return gradients


def of_disconnected(
    target: Variable, cost: Any, disconnected_inputs: str, return_disconnected: str
) -> Any:
    """What stands for the gradient by a variable that `cost` does not depend on, or the error."""
    text = explain(
        "grad",
        "grad method was asked to compute the gradient with respect to a variable that is not part "
        "of the computational graph of the cost, or is used only by a non-differentiable operator",
        where=target.created,
        got=f"{target} ({target.type}), cost {cost}",
        expected="a differentiable path from the variable to the cost",
        cure="pass disconnected_inputs='ignore' for zeros, or differentiate by the variable that "
        "the cost really uses",
    )
    if disconnected_inputs == "raise":
        raise DisconnectedInputError(text)
    if disconnected_inputs == "warn":
        warn_at(user_trace(), text)
    if return_disconnected == "None":
        return None
    if return_disconnected == "Disconnected":
        return disconnected()
    kind = target.type
    dtype = kind.dtype if isinstance(kind, TensorType) and kind.dtype in FLOATS else "floatX"
    return target.zeros_like(dtype)  # type: ignore[attr-defined]


def _connected(
    order: Sequence[Apply], targets: Sequence[Variable], blocked: set[Variable]
) -> set[Variable]:
    """The variables on a differentiable path from `targets`."""
    live = set(targets)
    for node in order:
        if not any(v in live for v in node.inputs):
            continue
        pattern = node.op.connection_pattern(node)
        for o, output in enumerate(node.outputs):
            if output in blocked:
                continue
            if any(pattern[i][o] and v in live for i, v in enumerate(node.inputs)):
                live.add(output)
    return live


def _backpropagate(
    gradients: dict[Variable, Any],
    known: Set[Variable],
    targets: Sequence[Variable],
    blocked: set[Variable],
) -> None:
    order = toposort(list(gradients), stop_at=blocked)
    live = _connected(order, targets, blocked)
    for node in reversed(order):
        reached = [
            o in gradients
            and o not in blocked
            and not isinstance(gradients[o].type, DisconnectedType)
            for o in node.outputs
        ]
        if not any(reached) or not any(v in live for v in node.inputs):
            continue
        pattern = node.op.connection_pattern(node)
        wanted = [
            v in live and any(pattern[i][o] and reached[o] for o in range(len(reached)))
            for i, v in enumerate(node.inputs)
        ]
        if not any(wanted):
            continue
        with tracing(node.trace):
            terms = terms_of(node, [
                gradients[o] if is_reached else None
                for o, is_reached in zip(node.outputs, reached, strict=True)
            ])  # fmt: skip
            for variable, term, is_wanted in zip(node.inputs, terms, wanted, strict=True):
                if is_wanted and variable not in known:
                    _accumulate(gradients, node, variable, term)


def terms_of(node: Apply, gradients: Sequence[Any]) -> Sequence[Any]:
    """What `node` contributes to the gradient of each of its inputs; `gradients` are those by its
    outputs, None for one that does not reach the cost."""
    given = []
    for output, g in zip(node.outputs, gradients, strict=True):
        kind = output.type
        is_float = isinstance(kind, TensorType) and kind.dtype in FLOATS
        if g is None and (not isinstance(kind, TensorType) or node.op.sees_disconnected):
            g = disconnected()
        elif g is None:
            g = output.zeros_like(None if is_float else "floatX")  # type: ignore[attr-defined]
        elif isinstance(g.type, NullType):
            return [g if isinstance(v.type, TensorType) else disconnected() for v in node.inputs]
        elif is_float:
            g = cast(g, kind.dtype)
        given.append(g)
    terms = node.op.L_op(list(node.inputs), list(node.outputs), given)
    if not isinstance(terms, (list, tuple)) or len(terms) != len(node.inputs):
        raise TypeError(
            explain(node.op, "its grad must return one term for each input", where=node.trace,
                    got=repr(terms), expected=f"a list of {len(node.inputs)} variables")
        )  # fmt: skip
    return terms


def _accumulate(gradients: dict[Variable, Any], node: Apply, variable: Variable, term: Any) -> None:
    if term is None:
        raise TypeError(
            explain(node.op, f"its grad returned None for the input {variable}", where=node.trace,
                    expected="a variable",
                    cure="return zeros, or DisconnectedType()() of symgraph.gradient")
        )  # fmt: skip
    if isinstance(term, Variable) and isinstance(term.type, DisconnectedType):
        return
    before = gradients.get(variable)
    if before is not None and isinstance(before.type, NullType):
        return
    if not isinstance(term, Variable) or isinstance(term.type, TensorType):
        term = as_tensor_variable(term)
        kind = variable.type
        if not isinstance(kind, TensorType):
            return
        if term.ndim != kind.ndim:
            raise ValueError(
                explain(node.op, f"its grad for {variable} has {term.ndim} axes",
                        where=node.trace, got=str(term.type), expected=str(kind))
            )  # fmt: skip
        if kind.dtype in FLOATS and term.dtype != kind.dtype:
            term = cast(term, kind.dtype)
        elif term.dtype in DISCRETE:
            term = cast(term, config.floatX)
        if before is not None:
            term = add(before, term)
    gradients[variable] = term
