"""Reverse-mode differentiation: graph in, graph out.

`grad` walks the nodes between `wrt` and the cost once, in reverse order, and adds up what each
consumer contributes. Source of the rules: Theano, gradient.py and library/gradient.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.configuration import config
from symgraph.errors import DisconnectedInputError, NullTypeGradError, explain
from symgraph.gradient_check import GradientError, numeric_grad, verify_grad
from symgraph.graph import Apply, Variable, clone_replace, toposort, tracing
from symgraph.ops.elementwise import add, cast, second
from symgraph.ops.passing import (
    consider_constant,
    disconnected_grad,
    grad_clip,
    grad_scale,
    zero_grad,
)
from symgraph.types import FLOATS, DisconnectedType, NullType, TensorType
from symgraph.variable import as_tensor_variable, constant

__all__ = [
    "DisconnectedInputError",
    "DisconnectedType",
    "GradientError",
    "Lop",
    "NullTypeGradError",
    "Rop",
    "consider_constant",
    "disconnected_grad",
    "grad",
    "grad_clip",
    "grad_not_implemented",
    "grad_scale",
    "grad_undefined",
    "numeric_grad",
    "verify_grad",
    "zero_grad",
]


def disconnected() -> Variable:
    """The gradient along a path that does not exist; ops return it for shapes and indices."""
    return DisconnectedType().make_variable()


def grad_undefined(op: Any, position: int, x: Variable, comment: str = "") -> Variable:
    """For an op's `grad`: mathematically there is none by this input."""
    return NullType(
        f"the gradient of {op} by its input {position} ({x}) is undefined. {comment}"
    ).make_variable()


def grad_not_implemented(op: Any, position: int, x: Variable, comment: str = "") -> Variable:
    """For an op's `grad`: it exists, but nobody has written it."""
    return NullType(
        f"the gradient of {op} by its input {position} ({x}) is not implemented. {comment}"
    ).make_variable()


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
    blocks paths; `known_grads` (then `cost` may be None) starts from given gradients of
    intermediate variables; `disconnected_inputs` is 'raise', 'warn' or 'ignore';
    `return_disconnected` 'zero', 'None' or 'Disconnected'; `null_gradients` 'raise' or 'return'.

    Raises TypeError (cost not a scalar, `wrt` a set), DisconnectedInputError,
    NullTypeGradError. Source: Theano, `theano.grad`.
    """
    _check_choice("disconnected_inputs", disconnected_inputs, ("raise", "warn", "ignore"))
    _check_choice("return_disconnected", return_disconnected, ("zero", "None", "Disconnected"))
    _check_choice("null_gradients", null_gradients, ("raise", "return"))
    if isinstance(wrt, (set, frozenset)):
        raise TypeError("grad: wrt is a set, which has no order; give a list or a tuple")
    single = not isinstance(wrt, (list, tuple))
    targets: list[Variable] = [wrt] if single else list(wrt)
    for target in targets:
        if not isinstance(target, Variable):
            raise TypeError(f"grad: wrt holds variables, got {target!r}")
    gradients = _start(cost, known_grads)
    starts = list(gradients)
    blocked = set(consider_constant or ())
    _backpropagate(gradients, starts, targets, blocked)

    results: list[Any] = []
    for target in targets:
        g = gradients.get(target)
        if g is None:
            g = _of_disconnected(target, cost, disconnected_inputs, return_disconnected)
        elif isinstance(g.type, NullType) and null_gradients == "raise":
            raise NullTypeGradError(
                explain("grad", f"the gradient of {cost} by {target} does not exist",
                        where=cost.created if isinstance(cost, Variable) else None,
                        got=g.type.why, expected="differentiable ops on the way",
                        cure="stop the path with disconnected_grad or consider_constant")
            )  # fmt: skip
        if add_names and g is not None and g.name is None and target not in starts:
            cost_name = getattr(cost, "name", None)
            if cost_name is not None and target.name is not None:
                g.name = f"(d{cost_name}/d{target.name})"
        results.append(g)
    if single:
        return results[0]
    return tuple(results) if isinstance(wrt, tuple) else results


def Lop(
    f: Any,
    wrt: Any,
    eval_points: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """The Jacobian of `f` by `wrt`, multiplied from the left by `eval_points`.

    `f` is a tensor or a list, `eval_points` of the same form and shapes; the result has the form of
    `wrt` and its shapes. Errors as for `grad`. Source: Theano, `theano.gradient.Lop`.
    """
    outputs, points = _paired("Lop", f, eval_points)
    known = dict(zip(outputs, points, strict=True))
    return grad(None, wrt, consider_constant, disconnected_inputs, known_grads=known)


def Rop(f: Any, wrt: Any, eval_points: Any) -> Any:
    """The Jacobian of `f` by `wrt`, multiplied from the right by `eval_points`.

    `wrt` is a variable or a list, `eval_points` of the same form and shapes; the result has the
    form of `f` and its shapes. It is the derivative of `Lop`, which is linear in its points, so
    every op on the way must have a gradient of its gradient. Raises DisconnectedInputError if an
    output depends on no `wrt`. Source: Theano, `theano.gradient.Rop`; the method: J. Townsend, A
    new trick for calculating Jacobian vector products, 2017.
    """
    targets, points = _paired("Rop", wrt, eval_points)
    results = []
    for output in f if isinstance(f, (list, tuple)) else [f]:
        free = output.type.make_variable()
        back = grad(None, targets, None, "ignore", False, {output: free}, "Disconnected")
        along = [(b, p) for b, p in zip(back, points, strict=True)
                 if not isinstance(b.type, DisconnectedType)]  # fmt: skip
        if not along:
            _of_disconnected(targets[0], output, "raise", "zero")
        starts = {b: cast(p, b.dtype) for b, p in along}
        product = second(output, grad(None, free, known_grads=starts))
        # what is left of `free` is its shape
        results += clone_replace([product], {free: output.zeros_like()})
    if not isinstance(f, (list, tuple)):
        return results[0]
    return tuple(results) if isinstance(f, tuple) else results


def _paired(name: str, variables: Any, points: Any) -> tuple[list[Any], list[Any]]:
    """Both in lists; ValueError if they do not go together."""
    if not isinstance(variables, (list, tuple)):
        variables, points = [variables], [points]
    variables, points = list(variables), [as_tensor_variable(p) for p in points]
    if len(variables) != len(points) or any(
        v.type.ndim != p.ndim for v, p in zip(variables, points, strict=True)
    ):
        raise ValueError(
            explain(name, "eval_points do not go with the variables",
                    got=", ".join(str(p.type) for p in points),
                    expected=", ".join(f"{v} of {v.type}" for v in variables))
        )  # fmt: skip
    return variables, points


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"grad: {name} is one of {', '.join(choices)}; got {value!r}")


def _start(cost: Any, known_grads: Mapping[Variable, Any] | None) -> dict[Variable, Any]:
    """The gradients that are known before anything is propagated."""
    if cost is None and not known_grads:
        raise ValueError("grad: cost is None and known_grads is empty: nothing to differentiate")
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
            raise TypeError("grad: known_grads must be an ordered mapping")
        for variable, g in known_grads.items():
            g = as_tensor_variable(g)
            if isinstance(variable.type, TensorType) and g.ndim != variable.type.ndim:
                raise TypeError(
                    f"grad: known_grads gives {variable} of {variable.type} a gradient of {g.type}"
                )
            gradients[variable] = add(gradients[variable], g) if variable in gradients else g
    return gradients


def _of_disconnected(
    target: Variable, cost: Any, disconnected_inputs: str, return_disconnected: str
) -> Any:
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
        import warnings

        warnings.warn(text, stacklevel=4)
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
    live = set(targets) - blocked
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
    starts: Sequence[Variable],
    targets: Sequence[Variable],
    blocked: set[Variable],
) -> None:
    order = toposort(starts)
    live = _connected(order, targets, blocked)
    for variable in blocked:
        gradients.pop(variable, None)
    for node in reversed(order):
        if not any(o in gradients for o in node.outputs):
            continue
        if not any(v in live for v in node.inputs):
            continue
        pattern = node.op.connection_pattern(node)
        reached = [o in gradients for o in node.outputs]
        wanted = [
            v in live and any(pattern[i][o] and reached[o] for o in range(len(reached)))
            for i, v in enumerate(node.inputs)
        ]
        if not any(wanted):
            continue
        with tracing(node.trace):
            terms = _terms(node, gradients)
            for variable, term, is_wanted in zip(node.inputs, terms, wanted, strict=True):
                if is_wanted:
                    _accumulate(gradients, node, variable, term)


def _terms(node: Apply, gradients: dict[Variable, Any]) -> Sequence[Any]:
    """What `node` contributes to the gradient of each of its inputs."""
    given = []
    for output in node.outputs:
        g = gradients.get(output)
        if g is None:
            g = disconnected()
        elif isinstance(g.type, NullType):
            return [g if isinstance(v.type, TensorType) else disconnected() for v in node.inputs]
        elif isinstance(output.type, TensorType) and output.type.dtype in FLOATS:
            g = cast(g, output.type.dtype)
        given.append(g)
    if len(given) > 1:  # an op may not care which of its outputs reach the cost
        given = [
            o.zeros_like("floatX" if o.type.dtype not in FLOATS else None)  # type: ignore[attr-defined]
            if isinstance(g.type, DisconnectedType) and isinstance(o.type, TensorType)
            else g
            for o, g in zip(node.outputs, given, strict=True)
        ]
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
        if before is not None:
            term = add(before, term)
    gradients[variable] = term
