"""Gradients, and what is made of them: products with Jacobians, Jacobians, Hessians.

`grad` itself is in backward.py. Source of the rules: Theano, gradient.py and library/gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from symgraph.backward import grad, of_disconnected, pullback, terms_of
from symgraph.configuration import config
from symgraph.errors import DisconnectedInputError, NullTypeGradError, explain
from symgraph.gradient_check import GradientError, numeric_grad, verify_grad
from symgraph.graph import Apply, Variable, clone_replace, is_tensor, toposort, tracing
from symgraph.ops.alloc import arange
from symgraph.ops.core import describe
from symgraph.ops.elementwise import add, cast, eq, second
from symgraph.ops.inner import capture
from symgraph.ops.passing import (
    consider_constant,
    disconnected_grad,
    grad_clip,
    grad_scale,
    undefined_grad,
    zero_grad,
)
from symgraph.ops.scan import Scan
from symgraph.ops.structure import rebroadcast, shape_i
from symgraph.testvalues import fill_test_values, suspended
from symgraph.types import FLOATS, INT64, DisconnectedType, NullType
from symgraph.variable import as_tensor_variable

__all__ = [
    "DisconnectedInputError",
    "DisconnectedType",
    "GradientError",
    "Lop",
    "NullType",
    "NullTypeGradError",
    "Rop",
    "consider_constant",
    "disconnected_grad",
    "disconnected_type",
    "grad",
    "grad_clip",
    "grad_not_implemented",
    "grad_scale",
    "grad_undefined",
    "hessian",
    "jacobian",
    "numeric_grad",
    "subgraph_grad",
    "undefined_grad",
    "verify_grad",
    "zero_grad",
]

disconnected_type = DisconnectedType()


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


def _like(wrt: Any, results: Sequence[Any]) -> Any:
    """`results`, one for each variable of `wrt`, in its form."""
    if not isinstance(wrt, (list, tuple)):
        return results[0]
    return tuple(results) if isinstance(wrt, tuple) else list(results)


def _listed(variables: Any) -> list[Any]:
    return list(variables) if isinstance(variables, (list, tuple)) else [variables]


def _float(variable: Variable) -> str:
    """The dtype of the gradient by a tensor."""
    dtype: str = variable.type.dtype
    return dtype if dtype in FLOATS else config.floatX


# ---- products with Jacobians ---------------------------------------------------------------------


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
    starts: dict[Variable, Any] = {}
    for output, point in zip(outputs, points, strict=True):
        starts[output] = add(starts[output], point) if output in starts else point
    return _like(wrt, pullback(starts, _listed(wrt), consider_constant, disconnected_inputs,
                               "zero", "raise"))  # fmt: skip


def Rop(
    f: Any,
    wrt: Any,
    eval_points: Any,
    disconnected_outputs: str = "raise",
    return_disconnected: str = "zero",
) -> Any:
    """The Jacobian of `f` by `wrt`, multiplied from the right by `eval_points`.

    `wrt` is a variable or a list, `eval_points` of the same form and shapes; the result has the
    form of `f` and its shapes. One walk forwards: a node passes derivatives on by its op's
    `R_op(inputs, eval_points)` if there is one; else by the derivative of its `L_op`, which is
    linear in its output gradients, and so must have a gradient itself.

    An output that does not change gives zeros. One that is not computed at all, or only by ops that
    pass no derivative on, raises DisconnectedInputError; with `disconnected_outputs` 'ignore' or
    'warn' its result is zero, None or of DisconnectedType, as `return_disconnected` says ('zero',
    'None', 'Disconnected'). Raises ValueError for points that do not fit, NullTypeGradError where
    there is no derivative. Source: Theano, `theano.gradient.Rop`; the
    derivative of the gradient: J. Townsend, A new trick for calculating Jacobian vector products,
    2017.
    """
    targets, points = _paired("Rop", wrt, eval_points)
    outputs = _listed(f)
    tangents: dict[Variable, Any] = {
        v: cast(p, _float(v)) for v, p in zip(targets, points, strict=True)
    }
    broken: set[Variable] = set()  # what depends on `wrt`, but in no way to differentiate
    for node in toposort(outputs, stop_at=set(tangents)):
        if any(v in tangents or v in broken for v in node.inputs):
            with tracing(node.trace):
                found = _forward(node, tangents, broken)
            for output in node.outputs:
                if output in found:
                    tangents.setdefault(output, found[output])
                elif output not in tangents:
                    broken.add(output)
    results = []
    for output in outputs:
        zeros: Any = output.zeros_like(_float(output))
        if output in broken or (output.owner is None and output not in tangents):
            instead = of_disconnected(targets[0], output, disconnected_outputs, return_disconnected)
            results.append(zeros if return_disconnected == "zero" else instead)
            continue
        tangent = tangents.get(output)
        if tangent is not None and isinstance(tangent.type, NullType):
            raise NullTypeGradError(
                explain("Rop", f"there is no derivative of {output}", where=output.created,
                        got=tangent.type.why, expected="differentiable ops on the way",
                        cure="stop the path with disconnected_grad")
            )  # fmt: skip
        # its inputs are those of the output, as in Theano: no function has them unused
        results.append(zeros if tangent is None else second(output, tangent))
    return _like(f, results)


def _forward(
    node: Apply, tangents: Mapping[Variable, Any], broken: Set[Variable]
) -> dict[Variable, Any]:
    """The derivatives of those outputs of `node` that have one.

    None stands for zeros, as for inputs that are not in `tangents`; a variable of NullType for what
    does not exist.
    """
    pattern = node.op.connection_pattern(node)
    reached = [
        v for o, v in enumerate(node.outputs)
        if is_tensor(v)
        and any(row[o] and x not in broken for row, x in zip(pattern, node.inputs, strict=True))
    ]  # fmt: skip
    given = {v: tangents[v] for v in node.inputs if tangents.get(v) is not None}
    null = next((t for t in given.values() if isinstance(t.type, NullType)), None)
    if null is not None or not given or not reached:
        return dict.fromkeys(reached, null)
    if hasattr(node.op, "R_op"):
        return _by_rule(node, given, reached, broken)
    return _by_gradient(node, given, reached)


def _by_rule(
    node: Apply, given: Mapping[Variable, Any], reached: Sequence[Any], broken: Set[Variable]
) -> dict[Variable, Any]:
    """`_forward` by the op's `R_op`.

    It gets zeros for the inputs that do not change, or None, if it sees what is disconnected; where
    it returns None there is no derivative.
    """
    points: list[Any] = [given.get(v) for v in node.inputs]
    if not node.op.sees_disconnected:
        points = [
            v.zeros_like(_float(v)) if p is None and is_tensor(v) and v not in broken else p  # type: ignore[attr-defined]
            for v, p in zip(node.inputs, points, strict=True)
        ]
    results = node.op.R_op(list(node.inputs), points)  # type: ignore[attr-defined]
    if not isinstance(results, (list, tuple)) or len(results) != len(node.outputs):
        raise TypeError(
            explain(node.op, "its R_op must return one term for each output", where=node.trace,
                    got=repr(results), expected=f"a list of {len(node.outputs)} variables")
        )  # fmt: skip
    found: dict[Variable, Any] = {}
    for v, term in zip(node.outputs, results, strict=True):
        kind = getattr(term, "type", None)
        if v in reached and term is not None and not isinstance(kind, DisconnectedType):
            found[v] = term if isinstance(kind, NullType) else cast(term, _float(v))
    return found


def _by_gradient(
    node: Apply, given: Mapping[Variable, Any], reached: Sequence[Any]
) -> dict[Variable, Any]:
    """`_forward` by the derivative of the op's `L_op` by its output gradients."""
    free = {v: v.type.clone(dtype=_float(v)).make_variable() for v in reached}
    with suspended():
        terms = terms_of(node, [free.get(v) for v in node.outputs])
        starts: dict[Variable, Any] = {}
        for v, term in zip(node.inputs, terms, strict=True):
            if v not in given or isinstance(term.type, DisconnectedType):
                continue
            if isinstance(term.type, NullType):
                return dict.fromkeys(reached, term)
            point = cast(given[v], term.dtype)
            starts[term] = add(starts[term], point) if term in starts else point
        if not starts:
            return dict.fromkeys(reached)
        around = [*node.inputs, *node.outputs]  # what is before the node is not walked again
        slopes = pullback(starts, list(free.values()), around, return_disconnected="None")
    stay = {v: v for v in (*around, *given.values())}
    shapes = {x: v.zeros_like(x.dtype) for v, x in free.items()}  # what is left of `free`
    with suspended():
        found = {
            v: slope if slope is None else clone_replace([slope], stay | shapes)[0]
            for v, slope in zip(free, slopes, strict=True)
        }
    fill_test_values([slope for slope in found.values() if slope is not None])
    return found


def _paired(name: str, variables: Any, points: Any) -> tuple[list[Any], list[Any]]:
    """Both in lists; ValueError if they do not go together."""
    variables, points = _listed(variables), [as_tensor_variable(p) for p in _listed(points)]
    if len(variables) != len(points) or any(
        v.type.ndim != p.ndim for v, p in zip(variables, points, strict=True)
    ):
        raise ValueError(
            explain(name, "eval_points do not go with the variables",
                    got=", ".join(str(p.type) for p in points),
                    expected=", ".join(f"{v} of {v.type}" for v in variables))
        )  # fmt: skip
    return variables, points


# ---- Jacobians and Hessians ----------------------------------------------------------------------


def jacobian(
    expression: Any,
    wrt: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """The derivatives of each element of a vector: [i, ...] is that of expression[i] by wrt[...].

    `expression` is a vector, or a scalar: then this is `grad`. The result has the form of `wrt` (a
    variable, list or tuple), each of shape (n, *shape of the variable) and floating. A loop runs
    the gradient once for each row; what rows have in common is computed once. AssertionError for
    an expression of more axes; other errors, and the last two arguments, are those of `grad`.
    Source: Theano, `theano.gradient.jacobian`.
    """
    if not is_tensor(expression) or expression.type.ndim > 1:
        raise AssertionError(
            explain("jacobian", "expression is not a vector",
                    where=getattr(expression, "created", None), expected="a variable of one axis",
                    got=describe([expression]) if is_tensor(expression) else repr(expression),
                    cure="expression.flatten() makes it a vector")
        )  # fmt: skip
    targets = _listed(wrt)
    if expression.type.ndim == 0:
        return _like(wrt, grad(expression, targets, consider_constant, disconnected_inputs))
    k, n = INT64.make_variable("row"), shape_i(expression, 0)
    with suspended():
        unit = cast(eq(arange(n), k), _float(expression))
        unit = rebroadcast(unit, expression.type.broadcastable)
        known = {expression: unit}
        rows = grad(None, targets, consider_constant, disconnected_inputs, False, known)
        inner, outside = capture([k], rows, also=[expression, *targets])
    fill_test_values(outside)
    loop = Scan(inner, sequences=1, taps=(), mapped=len(rows), carries=0, name="jacobian")
    return _like(wrt, loop.make_node(n, arange(n), *outside).outputs)


def hessian(
    cost: Any,
    wrt: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """The matrix of second derivatives of a scalar by a vector, or one for each vector of `wrt`.

    The result has the form of `wrt`; a vector that only enters linearly gives zeros. AssertionError
    for a cost that has axes and for anything but vectors in `wrt`; otherwise as `jacobian`.
    Source: Theano, `theano.gradient.hessian`.
    """
    targets = _listed(wrt)
    for name, variable, ndim in (("cost", cost, 0), *(("wrt", x, 1) for x in targets)):
        if not is_tensor(variable) or variable.type.ndim != ndim:
            raise AssertionError(
                explain("hessian", f"{name} does not have {ndim} axes",
                        where=getattr(variable, "created", None),
                        got=describe([variable]) if is_tensor(variable) else repr(variable),
                        expected="a scalar cost and vectors to differentiate by",
                        cure="cost.sum() makes a scalar, x.flatten() a vector")
            )  # fmt: skip
    return _like(wrt, [
        jacobian(grad(cost, x, consider_constant, disconnected_inputs), x, consider_constant,
                 "ignore")
        for x in targets
    ])  # fmt: skip


# ---- gradients of a part of a graph --------------------------------------------------------------


def subgraph_grad(
    wrt: Sequence[Variable],
    end: Sequence[Variable],
    start: Mapping[Variable, Any] | None = None,
    cost: Any = None,
    details: bool = False,
) -> Any:
    """Gradients by the lists `wrt` and `end` of the part of a graph that ends, going backwards, at
    the variables of `end`.

    They start from `start` (a dict of known gradients), from the scalar `cost`, or are the sum from
    both. Returns (gradients by wrt, gradients by end); with `details` two more lists, by wrt and
    end: from `start`, and from `cost` (None for the one that is not given). What is not connected
    has gradient 0. AssertionError for other forms. Source: Theano, `theano.subgraph_grad`.
    """
    fits = isinstance(wrt, list) and isinstance(end, list)
    given = (start, cost) != (None, None)
    if not (fits and given and (start is None or isinstance(start, dict))):
        raise AssertionError(
            explain("subgraph_grad", "its arguments have another form",
                    got=f"wrt={wrt!r}, end={end!r}, start={start!r}, cost={cost!r}",
                    expected="lists wrt and end, and a dict start or a scalar cost, or both")
        )  # fmt: skip
    targets = list(dict.fromkeys([*wrt, *end]))
    sources = [None if start is None else (None, start), None if cost is None else (cost, None)]
    parts = [
        source and grad(source[0], targets, end, "ignore", known_grads=source[1])
        for source in sources
    ]
    sums = [add(*terms) if len(terms) > 1 else terms[0]
            for terms in zip(*(p for p in parts if p is not None), strict=True)]  # fmt: skip
    by = dict(zip(targets, sums, strict=True))
    gradients = [by[v] for v in wrt], [by[v] for v in end]
    return (*gradients, *parts) if details else gradients
