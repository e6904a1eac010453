"""An op made of other ops, whose derivatives may be given by hand.

Compiled functions do not contain it: its graph is put in its place (compile/rules/inline.py), and
fuses with what is around. Source: Theano, compile/builders.py and library/compile/opfromgraph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from symgraph.backward import pullback
from symgraph.errors import MissingInputError, explain
from symgraph.gradient import Rop
from symgraph.graph import (
    Apply,
    Constant,
    Context,
    Op,
    Shape,
    Variable,
    clone_replace,
    graph_inputs,
    is_tensor,
    user_trace,
)
from symgraph.ops.elementwise import add
from symgraph.ops.inner import InnerGraph
from symgraph.ops.shape import patternbroadcast
from symgraph.sharedvalue import SharedVariable
from symgraph.testvalues import fill_test_values, suspended
from symgraph.types import DISCRETE, FLOATS, DisconnectedType, NullType, TensorType, Type
from symgraph.variable import as_tensor_variable


class OpFromGraph(Op):
    """The op that computes `outputs` from `inputs`, lists of variables.

    Called on variables of the inputs' types (ValueError for another number of them, TypeError for
    others), it gives the outputs with these in place of `inputs`. Shared variables that the outputs
    depend on go along: they are further inputs of each node. `inline` changes nothing but `str`.

    `grad_overrides` or `lop_overrides` say what the gradients are, `rop_overrides` what `Rop` uses.
    Each is 'default' (also None): derived from the graph; a function of lists: (inputs,
    output_gradients), (inputs, outputs, output_gradients) or (inputs, eval_points), which returns a
    list; an `OpFromGraph` that takes all these, one after the other; a variable of NullType (there
    is no derivative) or DisconnectedType (no path); or a list of such things that give one variable
    each, for each input, for `rop_overrides` for each output. `connection_pattern` replaces what
    follows from graph and overrides. `kwargs` are those of `function`, and mean nothing here.

    Raises TypeError for what is not as said, for `updates` and `givens`, MissingInputError if the
    outputs need a variable that is not among the inputs, ValueError if both kinds of gradients are
    given, a list of another length, or a pattern of another shape. Source: Theano,
    `theano.OpFromGraph`.
    """

    sees_disconnected: ClassVar[bool] = True

    def __init__(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        inline: bool = False,
        lop_overrides: Any = "default",
        grad_overrides: Any = "default",
        rop_overrides: Any = "default",
        connection_pattern: Sequence[Sequence[bool]] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(outputs, list):
            raise _refused("outputs must be a list", outputs, "a list of variables")
        for variable in (*inputs, *outputs):
            if not isinstance(variable, Variable):
                raise _refused("inputs and outputs are variables", variable, "variables")
        if {"updates", "givens"} & kwargs.keys():
            raise _refused("updates and givens are not allowed here", sorted(kwargs),
                           "inputs and outputs", "put givens in with clone_replace")  # fmt: skip
        if name is not None and not isinstance(name, str):
            raise _refused("name is a string", name, "a string or None")
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.is_inline, self.name = inline, name
        self.shared_inputs = [
            v
            for v in graph_inputs(outputs, stop_at=self.inputs)
            if isinstance(v, SharedVariable) and v not in self.inputs
        ]
        outside = [*self.inputs, *self.shared_inputs]
        fresh = {v: v.type.make_variable(v.name) for v in outside}
        with suspended():
            results = clone_replace(outputs, dict(fresh))
        for leaf in graph_inputs(results):
            if leaf not in fresh.values() and not isinstance(leaf, Constant):
                raise MissingInputError(
                    explain("OpFromGraph", f"the outputs need {leaf}", where=leaf.created,
                            got=f"inputs {self.inputs}", expected=f"{leaf} among the inputs")
                )  # fmt: skip
        self.graph = InnerGraph([fresh[v] for v in outside], results)
        if _is_given(lop_overrides) and _is_given(grad_overrides):
            raise ValueError(
                explain("OpFromGraph", "lop_overrides and grad_overrides are mutually exclusive",
                        got="both", expected="one of them",
                        cure="lop_overrides, whose functions get the outputs too")
            )  # fmt: skip
        self._takes_outputs = _is_given(lop_overrides)
        gradients = lop_overrides if self._takes_outputs else grad_overrides
        self._gradients = _Overrides("gradients", gradients, len(inputs))
        self._slopes = _Overrides("rop_overrides", rop_overrides, len(outputs))
        shape = [len(row) for row in connection_pattern or ()]
        if connection_pattern is not None and shape != [len(outputs)] * len(inputs):
            raise ValueError(
                explain("OpFromGraph", "connection_pattern does not fit inputs and outputs",
                        got=repr(connection_pattern),
                        expected=f"{len(inputs)} rows (inputs) of {len(outputs)} (outputs) each")
            )  # fmt: skip
        self._pattern = connection_pattern

    @property
    def inner_outputs(self) -> list[Variable]:
        """The outputs of the inner graph, for those who print it."""
        return list(self.graph.outputs)

    # -- building ---------------------------------------------------------------------------------

    def make_node(self, *inputs: Any) -> Apply:
        if len(inputs) != len(self.inputs):
            raise ValueError(
                explain(self, f"Expected {len(self.inputs)} inputs, got {len(inputs)}",
                        where=user_trace(), got=f"{len(inputs)} inputs",
                        expected=f"values of {', '.join(map(str, self.inputs))}")
            )  # fmt: skip
        variables = [self._fitting(x, like) for x, like in zip(inputs, self.inputs, strict=True)]
        outputs = [v.type.make_variable() for v in self.outputs]
        return Apply(self, [*variables, *self.shared_inputs], outputs)

    def _fitting(self, x: Any, like: Variable) -> Variable:
        kind = like.type
        if not isinstance(x, Variable) and isinstance(kind, TensorType):
            x = as_tensor_variable(kind.filter(x))
        if isinstance(x, Variable) and x.type == kind:
            return x
        if isinstance(x, Variable) and isinstance(kind, TensorType) and kind.is_super(x.type):
            return patternbroadcast(x, kind.broadcastable)  # type: ignore[no-any-return]
        raise TypeError(
            explain(self, f"the input {x} does not fit", where=getattr(x, "created", None),
                    got=str(getattr(x, "type", type(x))), expected=f"{kind}, as {like} has",
                    cure="cast it (.astype), or change its pattern (patternbroadcast)")
        )  # fmt: skip

    # -- meaning ----------------------------------------------------------------------------------

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        values = [
            (lambda k, v=v: ctx.value(v, k)) if is_tensor(v) and v.type.dtype in DISCRETE else None
            for v in node.inputs
        ]
        inside = self.graph.infer_shapes([ctx.shape(v) for v in node.inputs], values)
        return [inside.outer_shape(v) for v in self.graph.outputs]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[Any]:
        return self.graph.evaluate(inputs)

    # -- derivatives ------------------------------------------------------------------------------

    def connection_pattern(self, node: Apply | None) -> list[list[bool]]:
        rows = [
            [bool(bits >> k & 1) for bits in self.graph.connections]
            for k in range(len(self.graph.inputs))
        ]
        if self._pattern is not None:  # of the inputs: shared ones keep what the graph says
            return [*map(list, self._pattern), *rows[len(self._pattern) :]]
        inputs, outputs = list(self.graph.inputs), list(self.graph.outputs)
        gradients = [v.type.make_variable() for v in outputs]
        with suspended():
            overridden = self._overridden(inputs, outputs, gradients)
        return [
            row if term is None else [not isinstance(term.type, DisconnectedType)] * len(row)
            for row, term in zip(rows, overridden, strict=True)
        ]

    def _overridden(
        self, inputs: Sequence[Any], outputs: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Any]:
        """What the overrides give for each input; None: the default."""
        arguments = [inputs, outputs, gradients] if self._takes_outputs else [inputs, gradients]
        return self._gradients.terms(arguments, len(inputs))

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        terms = self._overridden(inputs, outputs, _filled(output_gradients, outputs))
        known: dict[Variable, Any] = {}
        for v, g in zip(self.graph.outputs, output_gradients, strict=True):
            if not isinstance(g.type, DisconnectedType):
                known[v] = add(known[v], g) if v in known else g
        wanted = [k for k, term in enumerate(terms) if term is None]
        with suspended():
            derived = pullback(known, [self.graph.inputs[k] for k in wanted])
        for k, term in zip(wanted, self._outside(derived, inputs, outputs, known), strict=True):
            terms[k] = term
        return terms

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        """The outputs' derivatives along `eval_points`; a point None: this input stays as it is."""
        slopes = self._slopes.terms([inputs, _filled(eval_points, inputs)], len(self.outputs))
        wanted = [k for k, slope in enumerate(slopes) if slope is None]
        known = {v: p for v, p in zip(self.graph.inputs, eval_points, strict=True) if p is not None}
        results = [self.graph.outputs[k] for k in wanted]
        with suspended():
            derived = Rop(results, list(known), list(known.values()), "ignore", "Disconnected")
        outputs = self.make_node(*inputs[: len(self.inputs)]).outputs
        for k, term in zip(wanted, self._outside(derived, inputs, outputs, known), strict=True):
            slopes[k] = term
        return slopes

    def _outside(
        self,
        terms: Sequence[Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        given: dict[Variable, Any],
    ) -> list[Any]:
        """`terms` of the inner graph's variables and those of `given` in terms of the node's."""
        stay = {v: v for v in given.values()}
        results = dict(zip(self.graph.outputs, outputs, strict=True))
        outer = dict(zip(self.graph.inputs, inputs, strict=True))
        with suspended():
            found = clone_replace(terms, stay | results | outer)
        fill_test_values(found)
        return found

    def pprint(self, node: Apply, inputs: Sequence[str]) -> str:
        return f"{self.name or type(self).__name__}({', '.join(inputs[: len(self.inputs)])})"

    def __str__(self) -> str:
        return f"{self.name or type(self).__name__}{{inline={self.is_inline}}}"


def _is_given(overrides: Any) -> bool:
    return overrides is not None and not (isinstance(overrides, str) and overrides == "default")


def _filled(terms: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """`terms`, with zeros for those that do not exist."""
    return [
        v.zeros_like(v.type.dtype if v.type.dtype in FLOATS else "floatX")
        if (t is None or isinstance(t.type, DisconnectedType)) and is_tensor(v)
        else t
        for t, v in zip(terms, like, strict=True)
    ]


def _refused(problem: str, got: Any, expected: str, cure: str = "") -> TypeError:
    text = f"{got!r} of {type(got).__name__}"
    return TypeError(explain("OpFromGraph", problem, got=text, expected=expected, cure=cure))


class _Overrides:
    """What a user gave instead of derivatives, one for each of `count` variables."""

    def __init__(self, name: str, given: Any, count: int) -> None:
        self.name, self.count = name, count
        if isinstance(given, list) and len(given) < count:
            raise ValueError(
                explain("OpFromGraph", f"Need to override {count} {name}, got {len(given)}",
                        got=repr(given), expected="one for each variable, or 'default'")
            )  # fmt: skip
        self.given = given
        for item in given if isinstance(given, list) else [given]:
            self._check(item)

    def _check(self, item: Any) -> None:
        if not _is_given(item) or (callable(item) and not isinstance(item, Type)):
            return
        kind = getattr(item, "type", item)
        if isinstance(kind, (NullType, DisconnectedType)):
            return
        fail = ValueError if isinstance(item, Variable) else TypeError
        raise fail(
            explain("OpFromGraph", f"{self.name} cannot be {item!r}", got=str(kind),
                    expected="'default', an OpFromGraph, a function, a variable of NullType or "
                    "DisconnectedType, or a list of these")
        )  # fmt: skip

    def terms(self, arguments: Sequence[Sequence[Any]], total: int) -> list[Any]:
        """What is given for each of `total` variables, of which the last may be left out; None for
        the default. TypeError or ValueError for anything but variables, or too few of them."""
        given, rest = self.given, [None] * total
        if not _is_given(given):
            return rest
        if isinstance(given, list):
            terms = [_call(item, arguments) if _is_given(item) else None for item in given]
        else:
            called = _call(given, arguments)
            terms = [called] * total if called is given or isinstance(given, Type) else called
        if not isinstance(terms, (list, tuple)):
            terms = [terms] if self.count == 1 and isinstance(terms, Variable) else None
        if terms is None or not self.count <= len(terms) <= total:
            raise (TypeError if terms is None else ValueError)(
                explain("OpFromGraph", f"{self.name}: a function has to return a list",
                        got=repr(terms), expected=f"{self.count} variables")
            )  # fmt: skip
        found = [t() if isinstance(t, Type) else t for t in terms]
        for term in found:
            if term is not None and not isinstance(term, Variable):
                raise TypeError(
                    explain("OpFromGraph", f"{self.name}: {term!r} is no variable",
                            expected="variables, of NullType or DisconnectedType where there is "
                            "no derivative")
                )  # fmt: skip
        return [*found, *rest[len(found) :]]


def _call(item: Callable[..., Any] | Variable | Type, arguments: Sequence[Sequence[Any]]) -> Any:
    if isinstance(item, Type):
        return item.make_variable()
    if isinstance(item, Variable):
        return item
    if isinstance(item, OpFromGraph):
        return item(*(v for each in arguments for v in each))
    return item(*map(list, arguments))
