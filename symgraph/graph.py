"""The graph: variables, the nodes that compute them, and the ops that nodes apply.

As in Theano (extending/graphstructures): a `Variable` has a type, an owner (the `Apply` node that
computes it, or None) and an index among that node's outputs; an `Apply` has an op, inputs and
outputs. Variables compare by identity. Nothing but `name` and `tag` is ever changed after
construction: passes rebuild.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np

from symgraph.configuration import config
from symgraph.errors import Trace, explain
from symgraph.types import TensorType, Type

if TYPE_CHECKING:
    from symgraph.expr import Check, Expr, Index

_FLAGS = config._values
_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_INHERITED: ContextVar[Trace | None] = ContextVar("trace", default=None)


def user_trace() -> Trace | None:
    """The innermost frame outside of symgraph, or the place that `tracing` hands down."""
    inherited = _INHERITED.get()
    if inherited is not None:
        return inherited
    frame = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(_PACKAGE) and not filename.startswith("<frozen"):
            return Trace(filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return None


@contextmanager
def tracing(trace: Trace | None) -> Iterator[None]:
    """Nodes built in this context say that they come from `trace`."""
    token = _INHERITED.set(trace)
    try:
        yield
    finally:
        _INHERITED.reset(token)


class Scratchpad(SimpleNamespace):
    """What users note on a variable or a node: `x.tag.note = 'input'`.

    `trace` is where it comes from in the form that Theano's tools read, a list of stacks of (file,
    line number, function, text of the line); here one stack, of the innermost frame of the user's.
    """

    @classmethod
    def of(cls, where: Trace | None) -> Scratchpad:
        """An empty one for what comes from `where`."""
        if where is None:
            return cls(trace=[])
        text = linecache.getline(where.filename, where.lineno).strip()
        return cls(trace=[[(*where, text)]])


class Variable:
    """A symbolic value. `name` and `tag` are free for users to set."""

    __slots__ = ("__dict__", "__weakref__", "created", "index", "name", "owner", "type")

    def __init__(
        self,
        type: Type,
        owner: Apply | None = None,
        index: int | None = None,
        name: str | None = None,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"a variable's name is a string, got {name!r}")
        self.type: Any = type  # a Type; Any, as most code knows that it is a TensorType
        self.owner = owner
        self.index = index
        self.name = name
        self.created = user_trace() if owner is None else owner.trace

    @property
    def tag(self) -> Scratchpad:
        """A place for users to note things: `x.tag.note = 'input'`."""
        tag: Scratchpad | None = self.__dict__.get("_tag")
        if tag is None:
            tag = self.__dict__["_tag"] = Scratchpad.of(self.created)
        return tag

    def __reduce__(self) -> tuple[Any, ...]:
        from symgraph.serial import reduce_variable

        return reduce_variable(self)

    def __copy__(self) -> Variable:
        from symgraph.serial import copy_variable

        return copy_variable(self)

    def __deepcopy__(self, memo: dict[Any, Any]) -> Variable:
        from symgraph.serial import deepcopy_variable

        return deepcopy_variable(self, memo)

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What pickles and copies hold: all but what can be found again."""
        kept = {k: v for k, v in self.__dict__.items() if k != "_eval_functions"}
        names = [n for c in type(self).__mro__ for n in getattr(c, "__slots__", ())]
        found = ("__dict__", "__weakref__", "_signature")
        slots = {n: getattr(self, n) for n in names if n not in found and hasattr(self, n)}
        return kept, slots

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
        kept, slots = state
        self.__dict__.update(kept)
        for name, value in slots.items():
            setattr(self, name, value)

    def clone(self) -> Variable:
        """A new variable of the same type and name, computed by nobody."""
        return type(self)(self.type, None, None, self.name)

    def __str__(self) -> str:
        if self.name is not None:
            return self.name
        if self.owner is not None:
            op = self.owner.op
            return f"{op}.{self.index}" if len(self.owner.outputs) > 1 else f"{op}.0"
        return f"<{self.type}>"

    def __repr__(self) -> str:
        if _FLAGS["print_test_value"]:
            from symgraph.testvalues import shown_with_test_value

            return shown_with_test_value(self)
        return str(self)

    def eval(self, inputs_to_values: dict[Variable, Any] | None = None) -> Any:
        """The value of this expression, given values of its inputs.

        The compiled function is kept, so that a second call with the same inputs is fast.
        """
        from symgraph.compile.function import function

        values = dict(inputs_to_values or {})
        key = tuple(values)
        cache = self.__dict__.setdefault("_eval_functions", {})
        if key not in cache:
            cache[key] = function(list(key), self)
        return cache[key](*values.values())


class Constant(Variable):
    """A variable whose value is known when the graph is built; `data` is never modified."""

    __slots__ = ("_signature", "data")

    def __init__(self, type: Type, data: Any, name: str | None = None) -> None:
        super().__init__(type, None, None, name)
        if isinstance(data, np.ndarray) and data.flags.writeable:
            data = data.copy()
            data.flags.writeable = False
        self.data = data
        self._signature: tuple[Any, ...] | None = None

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
        super().__setstate__(state)
        self._signature = None
        if isinstance(self.data, np.ndarray):
            self.data.flags.writeable = False

    @property
    def signature(self) -> tuple[Any, ...]:
        """Equal for constants that are interchangeable: dtype, pattern, shape and bytes."""
        if self._signature is None:
            data = self.data
            content = (data.shape, data.tobytes()) if isinstance(data, np.ndarray) else id(data)
            self._signature = (self.type, content)
        return self._signature

    def clone(self) -> Constant:
        return type(self)(self.type, self.data, self.name)

    def __str__(self) -> str:
        if self.name is not None:
            return self.name
        text = str(self.data)
        if len(text) > 20:
            text = text[:10] + ".." + text[-10:]
        return f"{type(self).__name__}{{{text}}}"


class Apply:
    """One application of `op` to `inputs`. Outputs belong to exactly one node."""

    __slots__ = ("__dict__", "__weakref__", "inputs", "op", "outputs", "trace")

    def __init__(self, op: Op, inputs: Sequence[Variable], outputs: Sequence[Variable]) -> None:
        self.op = op
        self.inputs = list(inputs)
        self.trace = user_trace()
        for position, variable in enumerate(self.inputs):
            if not isinstance(variable, Variable):
                raise TypeError(f"{op}: input {position} is not a variable: {variable!r}")
        self.outputs = list(outputs)
        for position, output in enumerate(self.outputs):
            if output.owner is not None:
                raise ValueError(f"{op}: output {position} belongs to another node already")
            output.owner, output.index, output.created = self, position, self.trace
        if _FLAGS["compute_test_value"] != "off":
            from symgraph.testvalues import compute_test_values

            compute_test_values(self)

    @property
    def tag(self) -> Scratchpad:
        tag: Scratchpad | None = self.__dict__.get("_tag")
        if tag is None:
            tag = self.__dict__["_tag"] = Scratchpad.of(self.trace)
        return tag

    def __reduce__(self) -> tuple[Any, ...]:
        from symgraph.serial import reduce_node

        return reduce_node(self)

    def __setstate__(self, extras: Any) -> None:
        from symgraph.serial import restore_node

        restore_node(self, extras)

    def __deepcopy__(self, memo: dict[Any, Any]) -> Apply:
        from symgraph.serial import deepcopy_node

        return deepcopy_node(self, memo)

    @property
    def out(self) -> Variable:
        """The only output."""
        if len(self.outputs) != 1:
            raise AttributeError(f"{self.op} has {len(self.outputs)} outputs")
        return self.outputs[0]

    @property
    def nin(self) -> int:
        """The number of inputs."""
        return len(self.inputs)

    @property
    def nout(self) -> int:
        """The number of outputs."""
        return len(self.outputs)

    def default_output(self) -> Variable:
        """The output that calling the op returns. AttributeError if it returns several."""
        position = getattr(self.op, "default_output", None)
        return self.out if position is None else self.outputs[position]

    def clone_with_new_inputs(self, inputs: Sequence[Variable], strict: bool = True) -> Apply:
        """The same op on other inputs. `strict`: of the same types (TypeError)."""
        if strict:
            for old, new in zip(self.inputs, inputs, strict=True):
                if old.type != new.type:
                    raise TypeError(f"{self.op}: {new} of {new.type} cannot replace {old.type}")
        return rebuild(self, inputs)

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.inputs))})"


Shape = tuple["Expr", ...]


class Context(Protocol):
    """What an op may ask while it is lowered."""

    def shape(self, variable: Variable) -> Shape:
        """The shape of a tensor variable, as host expressions."""

    def value(self, variable: Variable, position: int = 0) -> Expr:
        """Element `position` (flat) of an integer variable, as a host expression."""


class Write(NamedTuple):
    """Stores into an op's output: for all `indices`, output[target] = value.

    The indices run over `loops`, whose order counts if `ordered` (a later store may hit the
    element of an earlier one). `value` may load the output itself.
    """

    loops: tuple[Index, ...]
    target: tuple[Expr, ...]
    value: Expr
    ordered: bool = False


class LibraryCall(NamedTuple):
    """A library kernel's name, dtype and literal parameters, and its operands with their shapes.

    `shapes` overrides the shapes in which operands ("in0", "out0", ...) are passed; an operand
    with an override is passed contiguous, or, if it is `turned`, so that its last two axes lie the
    other way round in memory.
    """

    name: str
    dtype: str
    params: dict[str, Any]
    inputs: tuple[Variable, ...]
    shapes: dict[str, Shape] = {}  # noqa: RUF012 - a NamedTuple's default, never changed
    strided: tuple[str, ...] = ()  # operands that may have any strides; others are contiguous
    turned: tuple[str, ...] = ()


class Op:
    """What a node does. Subclasses are frozen dataclasses: their fields are all their state.

    An op says, in one place: the types of its outputs (`output_types`), their shapes
    (`infer_shape`), its gradient (`grad`), its meaning (`evaluate`, in NumPy), and how it is
    computed, in one of these ways: `compute` gives the expression of one element; `assemble` lists
    stores into the output; `lowering` names a library kernel; an op with none of them runs
    `evaluate` as a Python step. An op with `view_of` needs no kernel where its input is in memory.
    """

    view_of: ClassVar[int | None] = None  # output 0 shows the memory of this input, rearranged
    commutative: ClassVar[bool] = False
    is_pure: ClassVar[bool] = True  # equal inputs give equal outputs, and nothing else happens
    recompute: ClassVar[bool] = False  # cheaper for each reader to compute than to keep in memory
    folds: ClassVar[bool] = True  # of constants it is computed once, when the function is compiled
    # L_op gets gradients of DisconnectedType by outputs that do not reach the cost, and not zeros
    sees_disconnected: ClassVar[bool] = False

    # -- building ---------------------------------------------------------------------------------

    def output_types(self, *inputs: Any) -> Sequence[Type]:
        """The types of the outputs; raises TypeError or ValueError for inputs that do not fit."""
        raise NotImplementedError(f"{type(self).__name__}.output_types")

    def make_node(self, *inputs: Any) -> Apply:
        """A node that applies this op; inputs that are not variables are made constants."""
        from symgraph.variable import as_tensor_variable

        variables = [as_tensor_variable(x) for x in inputs]
        types = self.output_types(*variables)
        return Apply(self, variables, [t.make_variable() for t in types])

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        with tracing(user_trace()):  # the place of the call, not that of a user's make_node
            node = self.make_node(*inputs, **options)
        return node.outputs[0] if len(node.outputs) == 1 else node.outputs

    # -- meaning ----------------------------------------------------------------------------------

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[Any]:
        """The outputs' values in NumPy: the oracle of tests, and what constant folding runs."""
        storage: list[list[Any]] = [[None] for _ in node.outputs]
        self.perform(node, list(inputs), storage)
        return [cell[0] for cell in storage]

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        """Theano's form of `evaluate`; a user's own op defines this one."""
        raise NotImplementedError(f"{type(self).__name__} defines neither evaluate nor perform")

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        """The gradient by each input, given the gradient by each output."""
        from symgraph.errors import NullTypeGradError

        raise NullTypeGradError(f"{self} has no gradient: its class defines neither grad nor L_op")

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        """As `grad`, with the outputs at hand."""
        return self.grad(inputs, output_gradients)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """`[i][o]`: whether output o depends on input i in a way that a gradient could follow."""
        return [[True] * len(node.outputs) for _ in node.inputs]

    # -- lowering ---------------------------------------------------------------------------------

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        """The outputs' shapes as host expressions of the inputs' shapes and values.

        None for an output whose size depends on data that the host cannot compute.
        """
        raise NotImplementedError(f"{type(self).__name__}.infer_shape")

    def shape_checks(self, node: Apply, ctx: Context) -> Iterable[Check]:
        """What must hold of the sizes whenever the function is called."""
        return ()

    def index_error(self, node: Apply, index: int, size: int) -> Exception:
        """What a call raises where an index of `compute` or `assemble`, an `expr.checked`, is not
        below `size`."""
        return IndexError(
            explain(self, f"index {index} is out of bounds for size {size}", where=node.trace,
                    got=f"index {index} into {node.inputs[0]}",
                    expected=f"an index from {-size} to {size - 1}")
        )  # fmt: skip

    def host_value(self, node: Apply, position: int, ctx: Context) -> Expr | None:
        """Element `position` of the integer output 0 as a host expression, if it can be one."""
        return None

    def view(self, node: Apply, strides: Shape, ctx: Context) -> tuple[Expr, Shape] | None:
        """For an op with `view_of`: offset and strides (in elements) of output 0 in the memory of
        that input, which has these `strides`; None if these strides allow no view."""
        return None

    # `compute(node, indices, ctx) -> Expr`: the element of output 0 at `indices`.
    compute: ClassVar[Callable[..., Expr] | None] = None
    # `assemble(node, ctx) -> list[Write]`: the stores that make output 0, in order.
    assemble: ClassVar[Callable[..., list[Write]] | None] = None
    # `lowering(node, ctx) -> LibraryCall`: the library kernel that computes the outputs.
    lowering: ClassVar[Callable[..., LibraryCall] | None] = None

    # Likewise for a GPU, where it has a kernel that the CPU leaves to NumPy or does otherwise.
    device_lowering: ClassVar[Callable[..., LibraryCall | None] | None] = None
    # `rounds(node, ctx) -> list[Rounds]`: how often its inner graphs run, on what (ops/rounds.py);
    # `evaluate_with(node, calls, *inputs)` is `evaluate` with a function for each of them.
    rounds: ClassVar[Callable[..., list[Any]] | None] = None
    evaluate_with: ClassVar[Callable[..., Sequence[Any]] | None] = None
    inner_graphs: ClassVar[tuple[Any, ...]] = ()

    def __str__(self) -> str:
        values = [
            f"{f.name}={getattr(self, f.name)}"
            for f in (fields(self) if hasattr(self, "__dataclass_fields__") else ())  # type: ignore[arg-type]
        ]
        return f"{type(self).__name__}{{{', '.join(values)}}}" if values else type(self).__name__


# ---- walks ---------------------------------------------------------------------------------------


def toposort(
    outputs: Iterable[Variable], stop_at: Collection[Variable] = frozenset()
) -> list[Apply]:
    """The nodes that `outputs` need, each after the nodes that it needs. Iterative.

    Nodes that only the variables in `stop_at` need are left out.
    """
    done: set[Apply] = set()
    # a mapping or a set is asked as it is: it may be far larger than what is walked
    blocked = stop_at if isinstance(stop_at, (Set, Mapping)) else set(stop_at)
    order: list[Apply] = []
    stack: list[tuple[Apply, int]] = []
    for output in outputs:
        if output.owner is None or output in blocked or output.owner in done:
            continue
        stack.append((output.owner, 0))
        while stack:
            node, position = stack.pop()
            if node in done:
                continue
            inputs = node.inputs
            while position < len(inputs):
                variable = inputs[position]
                position += 1
                owner = variable.owner
                if owner is not None and owner not in done and variable not in blocked:
                    stack.append((node, position))
                    stack.append((owner, 0))
                    break
            else:
                done.add(node)
                order.append(node)
    return order


def ancestors(
    outputs: Iterable[Variable], stop_at: Collection[Variable] = frozenset()
) -> list[Variable]:
    """Every variable that `outputs` depend on, themselves included, in order of computation."""
    outputs = list(outputs)
    seen: dict[Variable, None] = {}
    for node in toposort(outputs, stop_at):
        for variable in node.inputs:
            seen.setdefault(variable)
        for variable in node.outputs:
            seen.setdefault(variable)
    for variable in outputs:
        seen.setdefault(variable)
    return list(seen)


def graph_inputs(
    outputs: Iterable[Variable], stop_at: Collection[Variable] = frozenset()
) -> list[Variable]:
    """The variables without owner that `outputs` depend on, constants included."""
    return [v for v in ancestors(outputs, stop_at) if v.owner is None]


def rebuild(node: Apply, inputs: Sequence[Variable]) -> Apply:
    """`node`'s op applied to other inputs; the same node if they are the same."""
    if all(a is b for a, b in zip(node.inputs, inputs, strict=True)):
        return node
    with tracing(node.trace):
        return node.op.make_node(*inputs)


def reapply(node: Apply, inputs: Sequence[Variable]) -> Apply:
    """A copy of `node` on inputs of the same types: other than in `rebuild`, what is known of its
    outputs stays, their names too."""
    with tracing(node.trace):
        outputs = [v.type.make_variable(v.name) for v in node.outputs]
        return Apply(node.op, inputs, outputs)


def clone_replace(outputs: Sequence[Variable], replace: dict[Variable, Variable]) -> list[Variable]:
    """`outputs` rebuilt with each key of `replace` exchanged for its value."""
    env: dict[Variable, Variable] = dict(replace)
    for node in toposort(outputs, stop_at=replace):
        inputs = [env.get(v, v) for v in node.inputs]
        new = rebuild(node, inputs)
        for old, fresh in zip(node.outputs, new.outputs, strict=True):
            if old not in env:
                env[old] = fresh
                if fresh is not old and fresh.name is None:
                    fresh.name = old.name
    return [env.get(v, v) for v in outputs]


def is_tensor(variable: Any) -> bool:
    return isinstance(variable, Variable) and isinstance(variable.type, TensorType)
