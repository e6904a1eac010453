"""One step of a loop: what the user's function is given, what it returns, and what becomes of it.

A `Step` is the inner graph of a `Scan`, and the outer variables that it needs.
Source: Theano, scan_module/scan.py and scan_utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from symgraph.configuration import config
from symgraph.errors import MissingInputError, Trace, explain
from symgraph.graph import Variable, clone_replace, graph_inputs
from symgraph.ops.core import describe
from symgraph.ops.elementwise import cast, neq
from symgraph.ops.inner import capture
from symgraph.ops.scan import Scan
from symgraph.ops.shape import shape_padleft
from symgraph.ops.structure import rebroadcast
from symgraph.sharedvalue import SharedVariable
from symgraph.testvalues import get_test_value
from symgraph.types import TensorType
from symgraph.updates import OrderedUpdates
from symgraph.variable import as_tensor_variable


class StepError(TypeError, ValueError):
    """What a step returns does not go with the initial values. (Theano: ValueError.)"""


class until:  # Theano's name
    """For a step to return last: the loop ends after the step in which `condition` is not 0.

    TypeError if the condition is no scalar. Source: Theano, `scan_module.until`.
    """

    def __init__(self, condition: Any) -> None:
        self.condition = as_tensor_variable(condition)
        if self.condition.ndim != 0:
            raise TypeError(
                explain("until", "the condition is not a scalar", where=self.condition.created,
                        got=describe([self.condition]), expected="one number or bool",
                        cure="reduce it, for example with symgraph.tensor.all")
            )  # fmt: skip


# ---- what the step is given ----------------------------------------------------------------------


class Slice(NamedTuple):
    """One tap of one sequence: its values over time, and the variable that stands for one."""

    values: Any
    element: Variable


class State(NamedTuple):
    """An output that is fed back; `rows` are its initial values, the oldest first.

    `initial` is the value before the first step, for a state of tap -1 alone.
    """

    rows: Any
    taps: tuple[int, ...]
    initial: Any
    inner: tuple[Variable, ...]

    def before(self) -> Sequence[Variable]:
        """What the first step gets: the values themselves."""
        if self.initial is not None:
            return [self.initial]
        depth = -min(self.taps)
        return [self.rows[depth + tap] for tap in self.taps]


def listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _fields(given: Any, first: str, ignored: Sequence[str], where: Trace | None) -> tuple[Any, Any]:
    """The main entry of a dict that describes a sequence or an output, and its taps."""
    if not isinstance(given, Mapping):
        return given, None
    unknown = [key for key in given if key not in (first, "taps", *ignored)]
    if unknown:
        raise ValueError(
            explain("scan", f"unknown entries {unknown} in a dict", where=where,
                    expected=f"{first!r} and 'taps'")
        )  # fmt: skip
    return given.get(first), given.get("taps")


def _variable(kind: TensorType, name: str | None, tap: int, values: Any, row: int) -> Variable:
    """A variable of the step for `values` at time t + tap; row `row` is its test value."""
    time = f"t{tap:+d}" if tap else "t"
    variable = kind.make_variable(None if name is None else f"{name}[{time}]")
    if config.compute_test_value != "off":
        try:
            variable.tag.test_value = get_test_value(values)[row]
        except (AttributeError, IndexError):  # it has none: the nodes of the step say so
            pass
    return variable


def _element_type(x: Any, what: str, where: Trace | None) -> TensorType:
    if x.ndim == 0:
        raise IndexError(
            explain("scan", f"{what} is a scalar", where=where, got=describe([x]),
                    expected="an array whose first axis is time")
        )  # fmt: skip
    return TensorType(x.dtype, x.broadcastable[1:])


def slices(given: Any, go_backwards: bool, where: Trace | None) -> list[Slice]:
    """What the step sees of one sequence, for each tap."""
    given, taps = _fields(given, "input", (), where)
    x: Any = as_tensor_variable(given)
    kind = _element_type(x, "a sequence", where)
    offsets = [0] if taps is None else listed(taps)
    low, high = min([*offsets, 0]), max([*offsets, 0])
    found = []
    for tap in offsets:
        start, stop = tap - low, tap - high or None
        values = x
        if start or stop is not None:
            values = x[start:stop]
            values.name = None if x.name is None else f"{x.name}[{start}:{stop or ''}]"
        values = values[::-1] if go_backwards else values
        found.append(Slice(values, _variable(kind, x.name, tap, values, 0)))
    return found


def state_of(k: int, info: Any, where: Trace | None) -> State | None:
    """What `outputs_info` says of output `k`."""
    if isinstance(info, Mapping) and info.get("return_steps") is not None:
        raise ValueError(
            explain("scan", "`return_steps` is gone", where=where,
                    got=f"return_steps={info['return_steps']}",
                    cure="select the steps from the result by index")
        )  # fmt: skip
    initial, given = _fields(info, "initial", ("inplace", "return_steps"), where)
    if initial is None:
        if given is not None:
            raise ValueError(
                explain("scan", f"output {k} has taps, but no initial value", where=where,
                        got=str(info), expected="dict(initial=..., taps=...)")
            )  # fmt: skip
        return None
    taps = tuple(listed(given)) or (-1,)
    if max(taps) >= 0 or len(set(taps)) < len(taps):
        raise ValueError(
            explain("scan", f"the taps of output {k} do not do", where=where, got=str(taps),
                    expected="negative numbers, each once: -1 is the step before")
        )  # fmt: skip
    x: Any = as_tensor_variable(initial)
    if taps == (-1,):
        rows = shape_padleft(x)
        return State(rows, taps, x, (_variable(x.type, x.name, -1, rows, 0),))
    kind = _element_type(x, f"the initial value of output {k} with taps {list(taps)}", where)
    depth = -min(taps)
    inner = tuple(_variable(kind, x.name, tap, x, depth + tap) for tap in taps)
    return State(x[:depth], taps, None, inner)


# ---- what the step returns -----------------------------------------------------------------------


class Parsed(NamedTuple):
    """The outputs, the updates and the condition (or None) that a step returns."""

    outputs: list[Any]
    updates: OrderedUpdates
    condition: Any


def parsed(returned: Any, where: Trace | None) -> Parsed:
    """Outputs, updates and condition of what the step returns."""
    if _is_outputs(returned):
        return Parsed(listed(returned), OrderedUpdates(), None)
    if _is_updates(returned):
        return Parsed([], OrderedUpdates(returned), None)
    parts = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    condition = None
    if len(parts) > 1 and isinstance(parts[-1], until):
        condition = parts.pop().condition
    if len(parts) == 1 and _is_outputs(parts[0]):
        return Parsed(listed(parts[0]), OrderedUpdates(), condition)
    if len(parts) == 1 and _is_updates(parts[0]):
        return Parsed([], OrderedUpdates(parts[0]), condition)
    if len(parts) == 2 and _is_outputs(parts[0]) and _is_updates(parts[1]):
        return Parsed(listed(parts[0]), OrderedUpdates(parts[1]), condition)
    raise ValueError(
        explain("scan", "cannot make out what the step returns", where=where, got=repr(returned),
                expected="a variable or a list of variables, then updates (a dict or pairs), then "
                "until(...), each of which may be left out",
                cure="wrap numbers: symgraph.tensor.constant(0.)")
    )  # fmt: skip


def _is_outputs(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return all(isinstance(item, Variable) for item in x)
    return isinstance(x, Variable)


def _is_updates(x: Any) -> bool:
    pairs = list(x.items()) if isinstance(x, Mapping) else x
    return isinstance(pairs, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[1], Variable)
        for pair in pairs
    )


class Made(NamedTuple):
    """What a loop gives: the outputs over time in the user's order, the last values of those that
    are fed back (the initial ones, if there were no steps), and those of shared variables."""

    outputs: list[Any]
    last: list[Any]
    updates: OrderedUpdates


class Step:
    """A step of a loop as an inner graph, and what it needs of the graph around it.

    `fed` and `collected` are the places of the outputs that are fed back, and of the others;
    `shared` the variables that change from step to step; `rows` the states' initial values.
    """

    def __init__(
        self,
        slices: Sequence[Slice],
        states: Sequence[State | None],
        fixed: Sequence[Variable],
        parsed: Parsed,
        strict: bool,
        where: Trace | None,
    ) -> None:
        outputs, updates, condition = parsed
        self.where = where
        self.fed = [k for k, state in enumerate(states) if state is not None]
        self.collected = [k for k, state in enumerate(states) if state is None]
        fed = [state for state in states if state is not None]
        self.taps, self.rows = tuple(s.taps for s in fed), [s.rows for s in fed]
        self.until = condition is not None
        elements = [s.element for s in slices]
        past = [list(s.inner) for s in fed]
        known = [*elements, *(x for inner in past for x in inner), *fixed]
        results = [outputs[k] for k in (*self.fed, *self.collected)]
        if condition is not None:
            results.append(cast(neq(condition, 0), "bool"))
        self.shared = self._changing(results, updates, known, strict)
        carries = [x.type.make_variable(x.name and f"{x.name}_copy") for x in self.shared]
        # what is given is not looked into: a non-sequence may depend on a shared variable
        replace = {x: x for x in known} | dict(zip(self.shared, carries, strict=True))
        results = clone_replace([*results, *self.shared.values()], replace)
        results = self._with_patterns(results, past, {x: x for x in known})
        news = [
            _fitting(new, x.type, f"the update of {x}", where)
            for x, new in zip(self.shared, results[len(outputs) + self.until :], strict=True)
        ]
        inner = [*elements, *(x for inner in past for x in inner), *carries]
        ending = results[len(outputs) : len(outputs) + self.until]
        self.graph, self.captured = capture(
            inner,
            [*results[: len(outputs)], *news, *ending],
            outside=[x for x in fixed if x.owner],
            also=[x for x in fixed if not isinstance(x, SharedVariable)],
        )

    def _changing(
        self,
        results: Sequence[Variable],
        updates: OrderedUpdates,
        known: Sequence[Variable],
        strict: bool,
    ) -> OrderedUpdates:
        """The shared variables that change from step to step, and their new values."""
        changing = OrderedUpdates(updates)
        inside = {x for x in known if x.owner is not None or not isinstance(x, SharedVariable)}
        while True:  # a default update may bring in shared variables with defaults of their own
            leaves = graph_inputs([*results, *changing.values()], stop_at=inside)
            shared = [x for x in leaves if isinstance(x, SharedVariable) and x not in changing]
            more = [(x, x.default_update) for x in shared if x.default_update is not None]
            if not more:
                break
            changing.update((x, as_tensor_variable(new)) for x, new in more)
        for x in shared if strict else ():
            if x not in known:
                raise MissingInputError(
                    explain("scan", f"the step uses the shared variable {x}", where=self.where,
                            got="strict=True", expected="every shared variable in non_sequences",
                            cure=f"add {x} to non_sequences and to the arguments of the step")
                )  # fmt: skip
        return changing

    def _with_patterns(
        self, results: list[Any], past: list[list[Variable]], kept: dict[Variable, Any]
    ) -> list[Any]:
        """The results with each state in the pattern that its initial and its new value both have.

        `past` and `rows` are changed along.
        """
        for k, inner in enumerate(past):
            new, kind = results[k], inner[0].type
            _fitting(new, kind, f"output {self.fed[k]}", self.where)
            both = [a and b for a, b in zip(kind.broadcastable, new.broadcastable, strict=True)]
            if tuple(both) != kind.broadcastable:
                first = self.rows[k].broadcastable[0]
                self.rows[k] = rebroadcast(self.rows[k], (first, *both))
                past[k] = [kind.clone(broadcastable=both).make_variable(x.name) for x in inner]
                for x, wider in zip(inner, past[k], strict=True):
                    kept[x] = rebroadcast(wider, kind.broadcastable)
        results = clone_replace(results, kept)
        for k, inner in enumerate(past):
            results[k] = rebroadcast(results[k], inner[0].type.broadcastable)
        return results

    def over_time(
        self,
        count: Any,
        sequences: Sequence[Any],
        rows: Sequence[Any],
        shared: Sequence[Any],
        truncate: int,
        name: str | None,
        kind: type[Scan] = Scan,
    ) -> Made:
        """`count` steps from these initial values of states and shared variables."""
        op = kind(
            self.graph, len(sequences), self.taps, len(self.collected), len(shared), self.until,
            truncate, name or "scan_fn",
        )  # fmt: skip
        node = op.make_node(count, *sequences, *rows, *shared, *self.captured)
        made = op.results(node.outputs)
        outputs: list[Any] = [None] * (len(self.fed) + len(self.collected))
        (done,) = made.until or [None]
        last = []
        for j, (k, history) in enumerate(zip(self.fed, made.states, strict=True)):
            first = op.depth(j)
            stop = None if done is None else done + first
            outputs[k] = history[first:stop]
            last.append(history[-1] if stop is None else history[stop - 1])
        for k, values in zip(self.collected, made.mapped, strict=True):
            outputs[k] = values if done is None else values[:done]
        return Made(outputs, last, OrderedUpdates(zip(self.shared, made.carries, strict=True)))


def _fitting(new: Any, kind: TensorType, what: str, where: Trace | None) -> Any:
    """`new` in the pattern of `kind`, which it has in the step before; StepError if its dtype or
    number of axes is another one."""
    dtype, have = getattr(kind, "dtype", None), new.type
    if isinstance(have, TensorType) and have.dtype == dtype and have.ndim == kind.ndim:
        return rebroadcast(new, kind.broadcastable)
    if getattr(have, "dtype", None) != dtype:
        differ = "dtype"
        cure = f"cast one of them (.astype('{dtype}')): nothing is cast by itself"
    else:
        differ = "number of axes"
        cure = "give the initial value the axes of one step's result"
    raise StepError(
        explain("scan", f"{what} has another {differ} than before the first step",
                where=new.created or where, got=describe([new]),
                expected=f"{kind}, that of the initial value", cure=cure)
    )  # fmt: skip
