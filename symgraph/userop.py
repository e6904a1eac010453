"""A user's own op, written the way Theano's documents show.

Such an op runs in Python, between native stretches. An op that fuses with its neighbours derives
from `symgraph.graph.Op` instead. Source: Theano, extending/op and extending/extending_theano.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph import graph
from symgraph.errors import Trace, explain, retold
from symgraph.graph import Apply, Variable, is_tensor
from symgraph.ops.inner import InnerGraph
from symgraph.ops.structure import shape_i
from symgraph.types import DISCRETE, TensorType, Type
from symgraph.variable import as_tensor_variable


class Op(graph.Op):
    """Base class of ops that are computed by Python code of yours.

    A subclass names the attributes that make two of its instances the same op in `__props__`: `==`,
    `hash` and `str` follow from them (without it, each instance is an op of its own). It defines
    `make_node(*inputs) -> Apply`, or lists the types of inputs and outputs in `itypes` and
    `otypes`; and `perform(node, inputs, output_storage)`, which gets arrays and puts an array into
    `output_storage[k][0]` for each output k. Where it defines `get_params(node)`, `perform` gets
    what that returns as its last argument.

    Optional are `grad(inputs, output_gradients)` or `L_op(inputs, outputs, output_gradients)`, one
    term for each input; `R_op(inputs, eval_points)`, one term (or None) for each output;
    `infer_shape(node, input_shapes)`, for each output a tuple of symbolic sizes, or None (without
    it, sizes are known once `perform` has run); `connection_pattern(node)`; `default_output`, the
    one output that a call returns; `destroy_map`, {output: [inputs that perform overwrites]}: it
    is given copies of these. A result may share memory with an input, whatever `view_map` says.

    What `perform` raises says which op it was, and where the user applied it. TypeError if it
    stores a value that is not of the output's type. Source: Theano, `theano.Op`.
    """

    __props__: ClassVar[tuple[str, ...]]
    itypes: Any = None
    otypes: Any = None
    default_output: Any = None
    view_map: Mapping[int, Sequence[int]] = {}
    destroy_map: Mapping[int, Sequence[int]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        props = cls.__dict__.get("__props__", ())
        if not isinstance(props, tuple) or not all(isinstance(p, str) for p in props):
            raise TypeError(
                f"{cls.__name__}: __props__ has to be a tuple of strings, got {props!r}"
            )
        if "infer_shape" in cls.__dict__:
            cls.infer_shape = _of_host(cls.__dict__["infer_shape"])  # type: ignore[method-assign]

    # -- identity ---------------------------------------------------------------------------------

    def _props_dict(self) -> dict[str, Any] | None:
        """The properties by name; None without `__props__`."""
        props = getattr(self, "__props__", None)
        return None if props is None else {name: getattr(self, name) for name in props}

    def __eq__(self, other: object) -> bool:
        props = self._props_dict()
        if self is other or props is None or type(self) is not type(other):
            return self is other
        return props == other._props_dict()

    def __hash__(self) -> int:
        props = self._props_dict()
        if props is None:
            return object.__hash__(self)
        try:
            return hash((type(self), *props.values()))
        except TypeError as error:
            raise TypeError(
                explain(type(self).__name__, f"a property cannot be hashed: {error}",
                        got=repr(props), expected="values that never change",
                        cure="keep a tuple instead of a list or an array")
            ) from None  # fmt: skip

    def __str__(self) -> str:
        named = ", ".join(f"{name}={value!r}" for name, value in (self._props_dict() or {}).items())
        return f"{type(self).__name__}{{{named}}}" if named else type(self).__name__

    # -- building ---------------------------------------------------------------------------------

    def make_node(self, *inputs: Any) -> Apply:
        """A node over inputs of the types `itypes`; ValueError or TypeError for others."""
        if self.itypes is None or self.otypes is None:
            raise NotImplementedError(
                explain(self, "does not say what it takes and gives",
                        cure="define make_node, or itypes and otypes")
            )  # fmt: skip
        if len(inputs) != len(self.itypes):
            raise ValueError(
                explain(self, f"We expected {len(self.itypes)} inputs but got {len(inputs)}.")
            )
        variables = [x if isinstance(x, Variable) else as_tensor_variable(x) for x in inputs]
        if any(v.type != kind for v, kind in zip(variables, self.itypes, strict=True)):
            raise TypeError(
                explain(self, "its inputs are of other types", where=graph.user_trace(),
                        got=", ".join(f"{v} of {v.type}" for v in variables),
                        expected=", ".join(map(str, self.itypes)),
                        cure="cast them (.astype), or change their pattern (patternbroadcast)")
            )  # fmt: skip
        return Apply(self, variables, [kind.make_variable() for kind in self.otypes])

    def __call__(self, *inputs: Any, return_list: bool = False, **options: Any) -> Any:
        """The outputs of `make_node(*inputs, **options)`: the only one, or the `default_output`, or
        all in a list; always a list with `return_list`."""
        with graph.tracing(graph.user_trace()):  # the place of the call, not that of make_node
            outputs = list(self.make_node(*inputs, **options).outputs)
        if self.default_output is not None:
            outputs = [outputs[self.default_output]]
        return outputs if return_list or len(outputs) != 1 else outputs[0]

    def infer_shape(self, node: Apply, ctx: Any) -> Sequence[Any]:
        return [() if is_tensor(v) and v.type.ndim == 0 else None for v in node.outputs]

    # -- meaning ----------------------------------------------------------------------------------

    def perform(
        self, node: Apply, inputs: list[Any], output_storage: list[list[Any]], *params: Any
    ) -> None:
        raise NotImplementedError(
            explain(self, "does not say what it computes", where=node.trace,
                    cure="define perform(node, inputs, output_storage)")
        )  # fmt: skip

    def get_params(self, node: Apply) -> Any:
        """What `perform` gets as its last argument; not called unless a subclass defines it."""
        raise NotImplementedError

    def evaluate(self, node: Apply, *inputs: Any) -> Sequence[Any]:
        destroyed = {k for where in self.destroy_map.values() for k in where}
        given = [x.copy() if k in destroyed else x for k, x in enumerate(inputs)]
        storage: list[list[Any]] = [[None] for _ in node.outputs]
        has_params = type(self).get_params is not Op.get_params
        try:
            params = [self.get_params(node)] if has_params else []
            self.perform(node, given, storage, *params)
        except Exception as error:
            _locate(error, self, node, inputs)
            raise
        return [self._result(node, k, cell[0]) for k, cell in enumerate(storage)]

    def _result(self, node: Apply, k: int, value: Any) -> Any:
        """What `perform` stored for output k, checked."""
        kind = node.outputs[k].type
        try:
            if value is None and isinstance(kind, TensorType):
                raise TypeError("it was left empty")
            return kind.filter(value, strict=isinstance(value, np.ndarray))
        except TypeError as error:
            raise TypeError(
                explain(self, f"perform stored a wrong value for output {k}: {error}",
                        where=node.trace, got=_kind_of(value), expected=str(kind),
                        cure="convert it in perform, or declare another type in make_node")
            ) from None  # fmt: skip


def _kind_of(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of dtype {value.dtype} and shape {value.shape}"
    return f"{value!r} of type {type(value).__name__}"


def _locate(error: Exception, op: graph.Op, node: Apply, inputs: Sequence[Any]) -> None:
    """Have an exception of the user's code say which op it was, and where that was applied."""
    got = ", ".join(map(_kind_of, inputs))
    if str(node.trace) not in str(error):  # else it is the same exception once more
        retold(error, partial(explain, op, where=node.trace, got=got))


# ---- shapes --------------------------------------------------------------------------------------


def _of_host(method: Callable[..., Any]) -> Callable[..., Any]:
    """`infer_shape(node, input_shapes)`, which computes with symbolic sizes, as the engine's
    `infer_shape(node, ctx)`, which gives host expressions. A list of shapes goes straight through.
    """

    @wraps(method)
    def infer_shape(self: Op, node: Apply, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            return method(self, node, given)
        symbolic = [
            tuple(shape_i(v, axis) for axis in range(v.type.ndim)) if is_tensor(v) else None
            for v in node.inputs
        ]
        shapes = list(method(self, node, symbolic))
        if len(shapes) != len(node.outputs):
            raise _bad_shapes(self, node.trace, shapes, f"{len(node.outputs)} shapes")
        return [
            _host_shape(self, node, v, shape, given)
            for v, shape in zip(node.outputs, shapes, strict=True)
        ]

    return infer_shape


def _host_shape(
    op: Op, node: Apply, output: Variable, shape: Any, ctx: graph.Context
) -> graph.Shape | None:
    """The symbolic `shape` of `output` as host expressions; None if the host cannot compute it."""
    kind = output.type
    if shape is None or not isinstance(kind, TensorType):
        return None
    sizes = [as_tensor_variable(n) for n in shape]
    if len(sizes) != kind.ndim or any(n.ndim or n.dtype not in DISCRETE for n in sizes):
        raise _bad_shapes(op, node.trace, sizes, f"{kind.ndim} integers")
    fresh = {v: v.type.make_variable() for v in node.inputs}
    try:
        inner = InnerGraph(list(fresh.values()), graph.clone_replace(sizes, fresh))
    except ValueError:  # it depends on something else
        return None
    known = inner.infer_shapes(
        [ctx.shape(v) for v in fresh], [partial(ctx.value, v) for v in fresh]
    )
    found = [known.value(n) for n in inner.outputs]
    if not known.outer(*found):
        return None
    return tuple(E.ONE if one else n for n, one in zip(found, kind.broadcastable, strict=True))


def _bad_shapes(op: Op, where: Trace | None, got: Sequence[Any], expected: str) -> Exception:
    return ValueError(
        explain(op, "its infer_shape gives something else than shapes", where=where,
                got=", ".join(map(str, got)), expected=expected)
    )  # fmt: skip


# ---- functions as ops ----------------------------------------------------------------------------


class FromFunctionOp(Op):
    """The op that `as_op` makes of a function. It pickles by the function's name."""

    def __init__(
        self,
        fn: Callable[..., Any],
        itypes: Sequence[Type],
        otypes: Sequence[Type],
        infer_shape: Callable[..., Any] | None,
    ) -> None:
        self.fn, self.itypes, self.otypes = fn, list(itypes), list(otypes)
        self._shapes = infer_shape
        self.__doc__, self.__module__ = fn.__doc__, fn.__module__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.fn == other.fn

    def __hash__(self) -> int:
        return hash((type(self), self.fn))

    def __str__(self) -> str:
        return f"FromFunctionOp{{{self.fn.__name__}}}"

    def __reduce__(self) -> str:
        return self.fn.__qualname__  # of its module: that is where the decorated function is

    def perform(
        self, node: Apply, inputs: list[Any], output_storage: list[list[Any]], *params: Any
    ) -> None:
        results = self.fn(*inputs)
        if not isinstance(results, (list, tuple)):
            results = (results,)
        if len(results) != len(output_storage):
            raise ValueError(
                explain("as_op", f"it returned {len(results)} values for {len(output_storage)} "
                        "outputs", expected="an array for each of the otypes, in a tuple")
            )  # fmt: skip
        for cell, value in zip(output_storage, results, strict=True):
            cell[0] = value

    def infer_shape(self, node: Apply, ctx: Any) -> Sequence[Any]:
        if self._shapes is None:
            return [None] * len(node.outputs)
        return self._shapes(node, ctx)  # type: ignore[no-any-return]


def as_op(
    itypes: Any, otypes: Any, infer_shape: Callable[..., Any] | None = None
) -> Callable[[Callable[..., Any]], FromFunctionOp]:
    """Decorator: a function of arrays becomes an op on variables of the types `itypes`, which gives
    variables of the types `otypes`.

    The function returns an array, or a tuple of as many as there are `otypes`. `infer_shape(node,
    input_shapes)` gives the shapes of the outputs as tuples of symbolic sizes. The op has no
    gradient. TypeError for types that are none. Source: Theano, `theano.compile.ops.as_op`.
    """
    kinds = []
    for name, given in (("itypes", itypes), ("otypes", otypes)):
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        if not all(isinstance(kind, Type) for kind in given):
            raise TypeError(
                explain("as_op", f"{name} has to be a list of Theano types", got=repr(given),
                        cure="types are called without arguments: T.dmatrix, not T.dmatrix()")
            )  # fmt: skip
        kinds.append(given)
    if infer_shape is not None and not callable(infer_shape):
        raise TypeError(
            explain("as_op", "infer_shape needs to be a callable", got=repr(infer_shape),
                    expected="a function of the node and the shapes of its inputs, or None")
        )  # fmt: skip
    return lambda fn: FromFunctionOp(fn, kinds[0], kinds[1], infer_shape)
