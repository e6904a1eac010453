"""Pickles and deep copies of graphs: no recursion into them, in time linear in their size.

`pickle` and `copy.deepcopy` descend into what an object refers to, and a graph may be 100,000
nodes deep. So whatever is pickled of a graph first brings along the nodes it needs, in order of
computation, less those that this pickler was given before. Each then finds all that it refers to in
the pickler's memo, which also keeps identities: what several objects of one pickle share, their
copies share.
"""

from __future__ import annotations

import copy
import copyreg
import threading
from collections.abc import Sequence
from typing import Any
from weakref import ReferenceType, ref

from symgraph.errors import Trace
from symgraph.graph import Apply, Op, Variable, toposort
from symgraph.types import Type

_OWN = frozenset(("created", "index", "name", "owner", "type"))  # what a node gives its outputs
_COPIED = "symgraph: outputs copied"  # a key of deepcopy's memo, whose other keys are integers

State = tuple[dict[str, Any], dict[str, Any]]  # as `Variable.__getstate__` gives it
Kind = tuple[type[Variable], Type, str | None]


# ---- pickles -------------------------------------------------------------------------------------


class _Thread(threading.local):
    """The sessions of picklers at work in this thread, one within the other."""

    def __init__(self) -> None:
        self.sessions: list[ReferenceType[_Session]] = []

    def session(self) -> _Session:
        while self.sessions:
            session = self.sessions[-1]()
            if session is not None:
                return session
            self.sessions.pop()
        return self.open()

    def open(self) -> _Session:
        session = _Session()
        self.sessions.append(ref(session))
        return session


_thread = _Thread()


class _Session:
    """What one pickler was given: `known` are outputs of nodes. The pickler's memo keeps it alive.

    A pickler asks an object for its reduced form once. A session that is asked again has met
    another pickler, which knows nothing of this, and opens a session for that one.
    """

    def __init__(self) -> None:
        self.known: set[Variable] = set()
        self.is_met = False

    def __reduce__(self) -> tuple[Any, ...]:
        if self.is_met:
            return _nothing, (_thread.open(),)
        self.is_met = True
        return _nothing, ()


class _Walk:
    """The nodes that `variables` need and the pickler lacks; `made` are about to be known too.

    It is pickled next to a session, which by then is that of the pickler.
    """

    def __init__(self, variables: Sequence[Variable], made: Sequence[Variable] = ()) -> None:
        self.variables, self.made = variables, made

    def __reduce__(self) -> tuple[Any, ...]:
        session = _thread.session()
        known = session.known
        lacks = [v for v in self.variables if v.owner is not None and v not in known]
        nodes = toposort(lacks, stop_at=known)
        known.update(self.made)
        return _nothing, (*nodes, _End(session, nodes)) if nodes else ()


class _End:
    """The end of a walk: the pickler has all of `nodes`."""

    def __init__(self, session: _Session, nodes: Sequence[Apply]) -> None:
        self.session, self.nodes = session, nodes

    def __reduce__(self) -> tuple[Any, ...]:
        for node in self.nodes:
            self.session.known.update(node.outputs)
        return _nothing, ()


def _nothing(*given: Any) -> None:
    """What sessions, walks and their ends are loaded as."""


def reduce_variable(variable: Variable) -> tuple[Any, ...]:
    """What a pickle holds of a variable: its node and index, or its state if nobody computes it."""
    if not _is_output(variable):
        return copyreg.__newobj__, (type(variable),), variable.__getstate__()  # type: ignore[attr-defined]
    walked = _thread.session(), _Walk([variable])
    return _output, (walked, variable.owner, variable.index)


def reduce_node(node: Apply) -> tuple[Any, ...]:
    """What a pickle holds of a node: op, inputs, trace and, for its outputs, what they are."""
    walked = _thread.session(), _Walk(node.inputs, node.outputs)
    inputs = tuple((v.owner, v.index) if _is_output(v) else v for v in node.inputs)
    return _node, (walked, node.op, inputs, node.trace, _kinds(node)), _notes(node)


def _is_output(variable: Variable) -> bool:
    """Whether a node computes it; `copy.copy` makes variables that no node knows."""
    owner = variable.owner
    return owner is not None and owner.outputs[variable.index] is variable  # type: ignore[index]


def _kinds(node: Apply) -> tuple[Kind, ...]:
    return tuple((type(v), v.type, v.name) for v in node.outputs)


def _notes(node: Apply) -> tuple[dict[str, Any], list[State]] | None:
    """What users and classes note on a node and its outputs beside `_kinds`: tags, mostly."""
    states = []
    for variable in node.outputs:
        kept, slots = variable.__getstate__()
        states.append((kept, {k: v for k, v in slots.items() if k not in _OWN}))
    if node.__dict__ or any(kept or slots for kept, slots in states):
        return node.__dict__, states
    return None


def restore_node(node: Apply, notes: tuple[dict[str, Any], list[State]]) -> None:
    """Put back what `_notes` told."""
    kept, states = notes
    node.__dict__.update(kept)
    for output, state in zip(node.outputs, states, strict=True):
        output.__setstate__(state)


def _output(walked: object, node: Apply, index: int) -> Variable:
    return node.outputs[index]


def _node(
    walked: object,
    op: Op,
    inputs: Sequence[Variable | tuple[Apply, int]],
    trace: Trace | None,
    kinds: Sequence[Kind],
) -> Apply:
    variables = [v if isinstance(v, Variable) else v[0].outputs[v[1]] for v in inputs]
    return _made(op, variables, trace, kinds)


def _made(op: Op, inputs: list[Variable], trace: Trace | None, kinds: Sequence[Kind]) -> Apply:
    """A node as it was: unlike `Apply` and the types, this notes no new place in the code."""
    node = Apply.__new__(Apply)
    node.op, node.inputs, node.trace = op, inputs, trace
    node.outputs = []
    for index, (cls, kind, name) in enumerate(kinds):
        output = cls.__new__(cls)
        output.type, output.owner, output.index, output.name = kind, node, index, name
        output.created = trace
        node.outputs.append(output)
    return node


# ---- copies --------------------------------------------------------------------------------------


def copy_variable(variable: Variable) -> Variable:
    """`copy.copy`: another variable of the same owner and state."""
    twin = type(variable).__new__(type(variable))
    twin.__setstate__(variable.__getstate__())
    return twin


def deepcopy_variable(variable: Variable, memo: dict[Any, Any]) -> Variable:
    """A copy of `variable` and of the graph that it needs, shared variables included."""
    if _is_output(variable):
        _copy_graph([variable], memo)
        return memo[id(variable)]  # type: ignore[no-any-return]
    twin = memo[id(variable)] = type(variable).__new__(type(variable))
    twin.__setstate__(copy.deepcopy(variable.__getstate__(), memo))
    return twin


def deepcopy_node(node: Apply, memo: dict[Any, Any]) -> Apply:
    """A copy of `node` and of the graph that it needs."""
    _copy_graph(node.outputs, memo)
    return memo[id(node)]  # type: ignore[no-any-return]


def _copy_graph(variables: Sequence[Variable], memo: dict[Any, Any]) -> None:
    copied: set[Variable] = memo.setdefault(_COPIED, set())
    nodes = toposort(variables, stop_at=copied)
    for node in nodes:
        op = copy.deepcopy(node.op, memo)
        inputs = [copy.deepcopy(v, memo) for v in node.inputs]
        if id(node) in memo:  # an input's default update led here
            continue
        twin = memo[id(node)] = _made(op, inputs, node.trace, _kinds(node))
        for old, new in zip(node.outputs, twin.outputs, strict=True):
            memo[id(old)] = new
        copied.update(node.outputs)
    for node in nodes:  # what is noted may refer to any of them
        notes = _notes(node)
        if notes is not None:
            restore_node(memo[id(node)], copy.deepcopy(notes, memo))
