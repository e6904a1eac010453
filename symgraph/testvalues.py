"""Test values: graphs computed while they are built, so that errors show at the user's line.

With `config.compute_test_value` other than "off", every node that the user builds is evaluated at
once from `x.tag.test_value` of inputs, the values of shared variables and of constants, and its
outputs get test values of their own. Source: Theano, tutorial/debug_faq, "Using Test Values".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from symgraph.configuration import config
from symgraph.errors import ShapeError, explain, retold, start_debugger, warn_at
from symgraph.graph import Apply, Constant, Variable, toposort
from symgraph.sharedvalue import SharedVariable
from symgraph.variable import as_tensor_variable


def get_test_value(v: Any) -> Any:
    """The test value of a variable, or of what becomes a constant (a number, an array).

    A constant's is its value, a shared variable's the value it has now, without a copy; any other
    variable's is `v.tag.test_value`, in the form that kernels take. AttributeError if there is
    none, TypeError if it is not of the variable's type. Source: Theano, `gof.op.get_test_value`.
    """
    variable = v if isinstance(v, Variable) else as_tensor_variable(v)
    if isinstance(variable, Constant):
        return variable.data
    if isinstance(variable, SharedVariable):
        return variable.get_value(borrow=True)
    try:
        value = variable.tag.test_value
    except AttributeError:
        raise AttributeError(
            explain(variable, "it has no test value", where=variable.created,
                    expected=str(variable.type), cure=f"set {variable}.tag.test_value")
        ) from None  # fmt: skip
    try:
        return variable.type.filter(value)
    except TypeError as error:
        raise TypeError(
            explain(variable, f"its test value is not of its type: {error}",
                    where=variable.created, got=_kind(value), expected=str(variable.type))
        ) from None  # fmt: skip


def get_debug_values(*args: Any) -> list[Any]:
    """The test values of all arguments, for code that checks what it is given while it builds:

        for a, b in get_debug_values(x, y): assert a.shape == b.shape

    A list of one tuple (of the value itself for one argument), or [] if test values are off or
    some are missing; AttributeError for a missing one with `config.compute_test_value = 'raise'`,
    a warning with 'warn'. Source: Theano, `gof.op.get_debug_values`.
    """
    if config.compute_test_value == "off":
        return []
    for position, argument in enumerate(args):
        if not _has_test_value(argument):
            missing_test_message(f"Argument {position} ({argument}) has no test value")
            return []
    values = [get_test_value(argument) for argument in args]
    return values if len(values) == 1 else [tuple(values)]


def missing_test_message(msg: str) -> None:
    """Say that a test value is missing, as `config.compute_test_value` asks for: AttributeError
    with 'raise', a warning with 'warn', else nothing. Source: Theano, `gof.op`."""
    if config.compute_test_value == "raise":
        raise AttributeError(msg)
    if config.compute_test_value == "warn":
        warnings.warn(msg, stacklevel=3)


def _has_test_value(v: Any) -> bool:
    known = (Constant, SharedVariable)
    return not isinstance(v, Variable) or isinstance(v, known) or hasattr(v.tag, "test_value")


def compute_test_values(node: Apply) -> None:
    """Give the outputs of a new node their test values, as `config.compute_test_value` says.

    Where an input has none: 'ignore' leaves the outputs without, 'warn' says so, 'raise' is a
    ValueError, 'pdb' starts the debugger. Errors of the computation name the user's line.
    """
    for position, variable in enumerate(node.inputs):
        if not _has_test_value(variable):
            _missing(node, position)
            return
    values = [get_test_value(variable) for variable in node.inputs]
    with suspended():
        try:
            check_sizes(node, values)
            results = node.op.evaluate(node, *map(copied, values))
        except ShapeError:
            raise  # has all five facts
        except Exception as error:
            shapes = ", ".join(map(_kind, values))
            retold(error, lambda text: explain(
                node.op, f"its test value cannot be computed: {text}", where=node.trace,
                got=f"inputs {shapes}"))  # fmt: skip
            raise
    for variable, result in zip(node.outputs, results, strict=True):
        variable.tag.test_value = result


def fill_test_values(variables: Sequence[Variable]) -> None:
    """Compute the test values of what these depend on and was built while they were suspended."""
    if config.compute_test_value != "off":
        for node in toposort(variables):
            if not all(_has_test_value(v) for v in node.outputs):
                compute_test_values(node)


@contextmanager
def suspended() -> Iterator[None]:
    """No test values in this context, and no word on float64: for graphs that are not built by
    the user."""
    with config.change_flags(compute_test_value="off", warn_float64="ignore"):
        yield


def _missing(node: Apply, position: int) -> None:
    action = config.compute_test_value
    variable = node.inputs[position]
    text = explain(
        node.op, f"Cannot compute test value: input {position} ({variable}) has none",
        where=variable.created, expected="test values of all inputs",
        cure=f"set {variable}.tag.test_value, or config.compute_test_value = 'ignore'",
    )  # fmt: skip
    if action == "raise":
        raise ValueError(text)
    if action == "warn":
        warn_at(node.trace, text)
    if action == "pdb":
        start_debugger(text)


def copied(value: Any) -> Any:
    """A copy, for ops of the user's, which may write to their inputs."""
    return np.array(value) if isinstance(value, np.ndarray) else value


def check_sizes(node: Apply, values: Sequence[Any]) -> None:
    """Raises what a call would say of these sizes; NumPy's own rules are laxer."""
    from symgraph.compile.host import compile_host
    from symgraph.compile.sizes import Sizes

    arrays = {
        v.type.make_variable(v.name): value
        for v, value in zip(node.inputs, values, strict=True)
        if isinstance(value, np.ndarray)
    }
    if len(arrays) < len(values):
        return
    outputs = [v.type.make_variable(v.name) for v in node.outputs]
    alone = Apply(node.op, list(arrays), outputs)
    alone.trace = node.trace
    sources = {v: k for k, v in enumerate(arrays)}
    for _, check in Sizes([alone]).checks:
        holds, *facts = compile_host([check.holds, *check.facts], sources)(list(arrays.values()))
        if not holds:
            raise check.fail(*facts)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return repr(value)


def shown_with_test_value(variable: Variable) -> str:
    """What `repr` of a variable is with `config.print_test_value`."""
    try:
        return f"{variable}\n{get_test_value(variable)!r}"
    except AttributeError:
        return str(variable)
