"""`function`: from symbolic inputs and outputs to something that can be called.

Source: Theano, library/compile/function and library/compile/io.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from symgraph.compile import cache
from symgraph.compile.inputs import In, Out, as_input
from symgraph.compile.pipeline import Compiled, Options, compile_graph
from symgraph.configuration import config
from symgraph.errors import MissingInputError, UnusedInputError, explain
from symgraph.graph import Constant, Variable, clone_replace, graph_inputs
from symgraph.shared import SharedVariable, shared
from symgraph.types import TensorType
from symgraph.variable import as_tensor_variable

_PATIENCE = 2.0  # seconds of compiling before a line says what goes on


def function(
    inputs: Sequence[Any],
    outputs: Any = None,
    mode: Any = None,
    updates: Any = None,
    givens: Any = None,
    no_default_updates: Any = False,
    accept_inplace: bool = False,
    name: str | None = None,
    rebuild_strict: bool = True,
    allow_input_downcast: bool | None = None,
    profile: Any = None,
    on_unused_input: str | None = None,
) -> Function:
    """A callable that computes `outputs` from `inputs`, and then applies `updates`.

    `inputs`: variables or `In`. `outputs`: a variable, a list, a dict of names, or None; calls
    return an array, a list, a dict, or []. `updates`: pairs (shared variable, new value), or a
    dict; all expressions read the old values. `givens`: pairs (variable, replacement).
    `mode`: 'FAST_RUN' or 'FAST_COMPILE'. `allow_input_downcast`: True casts any argument, None
    only Python floats to floatX, False none.

    Raises TypeError, ValueError, UnusedInputError and MissingInputError as Theano does. Source:
    Theano, `theano.function`.
    """
    if isinstance(inputs, (Variable, In)) or not isinstance(inputs, (list, tuple)):
        raise TypeError(
            "function: inputs is a list of variables, "
            f"got {inputs!r}; write [{inputs}] for a single one"
        )
    ins = [as_input(item, allow_input_downcast) for item in inputs]
    _check_inputs(ins)
    pairs = _pairs(updates, "updates")
    graph = _Graph(
        ins, outputs, pairs, _pairs(givens, "givens"), no_default_updates, rebuild_strict
    )
    _check_unused(ins, graph, on_unused_input or config.on_unused_input)
    return Function(ins, graph, _options(mode), name)


def _options(mode: Any) -> Options:
    mode = config.mode if mode is None else mode
    target = config.target
    if isinstance(mode, Options):
        return mode
    if mode in ("FAST_RUN", "Mode", "NUMBA", "CVM"):
        return Options(target, "fast_run" if config.optimizer != "None" else "fast_compile")
    if mode == "FAST_COMPILE":
        return Options(target, "fast_compile")
    raise ValueError(f"function: mode {mode!r} is not known; use 'FAST_RUN' or 'FAST_COMPILE'")


def _check_inputs(ins: Sequence[In]) -> None:
    seen: set[Variable] = set()
    for item in ins:
        variable = item.variable
        if isinstance(variable, SharedVariable):
            raise TypeError(
                f"Cannot use a shared variable ({variable}) as explicit input. "
                "Consider substituting a non-shared variable via the `givens` parameter."
            )
        if isinstance(variable, Constant):
            raise TypeError(f"function: the input {variable} is a constant; give it by `givens`")
        if variable in seen:
            raise UnusedInputError(
                f"function: the variable {variable} is listed twice among the inputs; "
                "every input must be a variable of its own"
            )
        seen.add(variable)


def _pairs(given: Any, what: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    items = given.items() if isinstance(given, Mapping) else given
    pairs = []
    for item in items:
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            raise ValueError(f"function: {what} is a dict, or a list of pairs; got {item!r} in it")
        pairs.append((item[0], item[1]))
    return pairs


class _Graph:
    """The graph of a function after givens and updates are in place."""

    def __init__(
        self,
        ins: Sequence[In],
        outputs: Any,
        updates: list[tuple[Any, Any]],
        givens: list[tuple[Any, Any]],
        no_default_updates: Any,
        strict: bool,
    ) -> None:
        self.inputs = [item.variable for item in ins]
        self.form, flat = _flatten(outputs)
        self.borrow = [isinstance(o, Out) and o.borrow for o in flat]
        exprs = [o.variable if isinstance(o, Out) else as_tensor_variable(o) for o in flat]
        self.user_outputs = list(exprs)
        replace = self._givens(givens, strict)
        updates = [*_input_updates(ins), *updates]
        new_values = [(t, _update_value(t, value)) for t, value in _checked_targets(updates)]
        defaults = _Defaults(no_default_updates)
        targets = [t for t, _ in new_values]
        values = [value for _, value in new_values]
        while True:  # a default update may bring in shared variables with defaults of their own
            together = clone_replace([*exprs, *values], replace) if replace else [*exprs, *values]
            leaves = graph_inputs(together)
            more = defaults.missing(leaves, targets)
            if not more:
                break
            targets += [t for t, _ in more]
            values += [value for _, value in more]
        self.outputs, values = together[: len(exprs)], together[len(exprs) :]
        self.updates = [
            (target, _fitting(target, value)) for target, value in zip(targets, values, strict=True)
        ]
        known = set(self.inputs)
        found = dict.fromkeys(v for v in leaves if isinstance(v, SharedVariable) and v not in known)
        found.update(dict.fromkeys(targets))
        self.shared = [v for v in found if isinstance(v.type, TensorType)]
        self.leaves = set(leaves)
        for leaf in leaves:
            if leaf not in known and not isinstance(leaf, (Constant, SharedVariable)):
                raise MissingInputError(
                    explain("function", f"the graph needs {leaf}, which is not among the inputs",
                            where=leaf.created, got=f"inputs [{', '.join(map(str, self.inputs))}]",
                            expected=f"a value for {leaf} ({leaf.type})",
                            cure="add it to inputs, or replace it by `givens`")
                )  # fmt: skip

    def _givens(self, givens: list[tuple[Any, Any]], strict: bool) -> dict[Variable, Variable]:
        replace: dict[Variable, Variable] = {}
        known = set(self.inputs)
        for old, new in givens:
            if not isinstance(old, Variable):
                raise TypeError(f"function: givens replaces variables, got {old!r}")
            if old in known:
                raise RuntimeError(
                    f"function: {old} is an input and cannot be replaced by `givens` too"
                )
            if not isinstance(new, Variable):
                kind = old.type
                data = (
                    kind.filter(new, allow_downcast=True) if isinstance(kind, TensorType) else new
                )
                pattern = kind.broadcastable if isinstance(kind, TensorType) else None
                new = shared(data, broadcastable=pattern)
            replace[old] = _same_type(old, new, strict)
        return replace


def _same_type(old: Variable, new: Variable, strict: bool) -> Variable:
    """`new` in the type of `old`; TypeError if it cannot be without changing its dtype."""
    if old.type == new.type or not isinstance(old.type, TensorType):
        return new
    kind = new.type
    if isinstance(kind, TensorType) and kind.ndim == old.type.ndim:
        if kind.dtype == old.type.dtype and not any(
            o and not n for o, n in zip(old.type.broadcastable, kind.broadcastable, strict=True)
        ):
            return new
        if not strict:
            return new
    raise TypeError(
        explain("function", f"givens cannot replace {old} by {new}", where=old.created,
                got=f"{new} of {new.type}", expected=str(old.type),
                cure="cast it (.astype), or make an axis broadcastable with addbroadcast")
    )  # fmt: skip


def _flatten(outputs: Any) -> tuple[Any, list[Any]]:
    """The form in which results are returned, and the outputs in a list."""
    if outputs is None:
        return "none", []
    if isinstance(outputs, dict):
        for key in outputs:
            if not isinstance(key, str):
                raise TypeError(f"function: keys of the outputs are strings, got {key!r}")
        keys = sorted(outputs)
        return keys, [outputs[k] for k in keys]
    if isinstance(outputs, (list, tuple)):
        return "list", list(outputs)
    if not isinstance(outputs, (Variable, Out, int, float, np.ndarray, np.generic)):
        raise TypeError(f"function: outputs is a variable, a list or a dict, got {outputs!r}")
    return "single", [outputs]


def _input_updates(ins: Sequence[In]) -> list[tuple[Any, Any]]:
    return [(item.state, item.update) for item in ins if item.update is not None]


def _checked_targets(updates: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    seen = set()
    result = []
    for target, value in updates:
        if not isinstance(target, SharedVariable):
            raise TypeError(
                explain("function", f"update target must be a SharedVariable, got {target!r}",
                        expected="pairs (shared variable, new value)",
                        cure="make it with symgraph.shared(...)")
            )  # fmt: skip
        if target in seen:
            raise ValueError(f"function: there are two updates of the shared variable {target}")
        seen.add(target)
        result.append((target, value))
    return result


def _update_value(target: Any, value: Any) -> Variable:
    """The new value as a variable; numbers and arrays are cast to the target's dtype."""
    if isinstance(value, Variable):
        return value
    data = target.type.filter(value, allow_downcast=True)
    pattern = tuple(size == 1 for size in data.shape)
    made = as_tensor_variable(np.array(data))
    assert made.broadcastable == pattern
    return made


def _fitting(target: Any, value: Variable) -> Variable:
    """`value`, checked to be of the target's type; more is known of its pattern than needed."""
    kind, have = target.type, value.type
    if isinstance(kind, TensorType) and isinstance(have, TensorType):
        same = kind.dtype == have.dtype and kind.ndim == have.ndim
        if same and all(
            h or not k for k, h in zip(kind.broadcastable, have.broadcastable, strict=True)
        ):
            return value
    cure = "cast the update (.astype), or declare the shared variable in the wider dtype"
    if isinstance(have, TensorType) and getattr(kind, "dtype", None) == have.dtype:
        cure = (
            "if the broadcast pattern differs, use symgraph.tensor.unbroadcast on the update or "
            "declare shared(..., broadcastable=...)"
        )
    raise TypeError(
        explain("function", "An update must have the same type as the original shared variable",
                where=value.created, got=f"update {value} of {have}",
                expected=f"{kind}, the type of {target}", cure=cure)
    )  # fmt: skip


class _Defaults:
    """Which default updates apply: `no_default_updates` is a bool or a list of variables."""

    def __init__(self, excluded: Any) -> None:
        if isinstance(excluded, (tuple, str)) or not isinstance(excluded, (bool, list)):
            raise TypeError("function: no_default_updates is True, False or a list of variables")
        self.excluded = excluded

    def missing(
        self, leaves: Iterable[Variable], targets: Sequence[Any]
    ) -> list[tuple[Any, Variable]]:
        if self.excluded is True:
            return []
        done = set(targets)
        skip = set(self.excluded) if isinstance(self.excluded, list) else set()
        return [
            (leaf, _update_value(leaf, leaf.default_update))
            for leaf in leaves
            if isinstance(leaf, SharedVariable)
            and getattr(leaf, "default_update", None) is not None
            and leaf not in done
            and leaf not in skip
        ]


def _check_unused(ins: Sequence[In], graph: _Graph, action: str) -> None:
    if action not in ("raise", "warn", "ignore"):
        raise ValueError(f"function: on_unused_input is raise, warn or ignore; got {action!r}")
    for position, item in enumerate(ins):
        if item.variable in graph.leaves or item.update is not None or action == "ignore":
            continue
        text = (
            f"symgraph.function was asked to create a function computing outputs given certain "
            f"inputs, but the provided input variable at index {position} is not part of the "
            f"computational graph needed to compute the outputs: {item.variable}.\n"
            "To make this error into a warning, you can pass the parameter on_unused_input='warn' "
            "to symgraph.function. To disable it completely, use on_unused_input='ignore'."
        )
        if action == "raise":
            raise UnusedInputError(text)
        warnings.warn(text, stacklevel=3)


class Function:
    """What `function` returns. Call it with the inputs' values, by position or by name."""

    def __init__(
        self, ins: Sequence[In], graph: _Graph, options: Options, name: str | None
    ) -> None:
        self.name = name
        self.trust_input = False
        self._ins = list(ins)
        self._form = graph.form
        self._states = [item.state for item in ins]
        hidden = [item.variable for item in ins if item.update is not None]
        replace = {
            v: item.state
            for v, item in zip(hidden, (i for i in ins if i.update is not None), strict=True)
        }
        outputs, updates, known = graph.outputs, graph.updates, graph.shared
        if replace:
            both = clone_replace([*outputs, *(v for _, v in updates)], replace)
            outputs = both[: len(outputs)]
            updates = [(t, v) for (t, _), v in zip(updates, both[len(outputs) :], strict=True)]
            known = list(dict.fromkeys([*known, *replace.values()]))
        self._visible = [item for item in ins if item.update is None]
        self._graph = graph
        self.options = options
        with cache.announce_after(_PATIENCE, _say):
            self._compiled: Compiled = compile_graph(
                [item.variable for item in self._visible], outputs, known, updates, options
            )
        self._call = self._compiled.program.call
        self._filters = [item.variable.type.filter for item in self._visible]
        self._plain = len(self._visible) == len(ins) and all(item.value is None for item in ins)

    # -- calling ----------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != len(self._ins) or not self._plain:
            args = self._bind(args, kwargs)
        values = []
        for position, value in enumerate(args):
            item = self._visible[position]
            if not (
                type(value) is np.ndarray
                and value.dtype == item.dtype
                and value.ndim == item.ndim
                and item.is_plain
            ):
                value = self._filter(item, value)
            if not (value.flags.c_contiguous and value.flags.aligned):
                value = np.array(value, order="C")
            values.append(value)
        results = self._call(values)
        form = self._form
        if form == "single":
            return results[0]
        if form == "list" or form == "none":
            return results
        return dict(zip(form, results, strict=True))

    def _filter(self, item: In, value: Any) -> np.ndarray:
        try:
            return item.variable.type.filter(  # type: ignore[no-any-return]
                value, strict=item.strict, allow_downcast=item.allow_downcast
            )
        except TypeError as error:
            named = f' with name "{self.name}"' if self.name else ""
            label = f" (input {item.variable.name!r})" if item.variable.name else ""
            position = self._ins.index(item)
            raise TypeError(
                f"Bad input argument to symgraph function{named} at index {position} "
                f"(0-based){label}. {error}"
            ) from None

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Arguments for the visible inputs, from positions, names and defaults."""
        given: dict[In, Any] = {}
        if len(args) > len(self._ins):
            raise TypeError(
                f"Too many parameters passed to symgraph function: {len(args)} for "
                f"{len(self._ins)} inputs ({', '.join(str(i) for i in self._ins)})"
            )
        for item, value in zip(self._ins, args, strict=False):
            given[item] = value
        for key, value in kwargs.items():
            found = [i for i in self._ins if i.name == key]
            if not found:
                names = ", ".join(str(i.name) for i in self._ins)
                raise TypeError(f"symgraph function has no input named {key!r}; it has: {names}")
            if found[0] in given:
                raise TypeError(f"symgraph function got two values for the input {key!r}")
            given[found[0]] = value
        values = []
        for item in self._ins:
            if item.update is not None:
                if item in given:
                    item.state.set_value(self._filter(item, given[item]))
                continue
            if item not in given:
                if item.value is None:
                    raise TypeError(
                        f"Missing required input: {item.name or item.variable} "
                        f"of symgraph function{' ' + self.name if self.name else ''}"
                    )
                value = item.value
                given[item] = (
                    value.get_value(borrow=True) if isinstance(value, SharedVariable) else value
                )
            values.append(given[item])
        return values

    # -- looking ----------------------------------------------------------------------------------

    def kernels(self) -> list[KernelInfo]:
        """The kernels in order: what each computes, its printed source, the nodes fused into it."""
        infos = []
        for position, step in enumerate(self._compiled.plan.steps):
            source = getattr(step, "source", None)
            nodes = step.nodes if source is not None else [step.node]  # type: ignore[union-attr]
            what = ", ".join(dict.fromkeys(str(n.op) for n in nodes)) or "copy"
            infos.append(
                KernelInfo(f"kernel{position}", what, source or "(runs in Python)", tuple(nodes))
            )
        return infos

    @property
    def maker(self) -> SimpleNamespace:
        """Theano's way to the rewritten graph: `f.maker.fgraph.toposort()`."""
        compiled = self._compiled
        graph = SimpleNamespace(
            inputs=[i.variable for i in self._visible] + list(compiled.program.shared),
            outputs=list(compiled.outputs),
            updates=dict(compiled.updates),
            apply_nodes=set(compiled.nodes),
            toposort=lambda: list(compiled.nodes),
        )
        return SimpleNamespace(fgraph=graph, inputs=self._ins, function=self)

    def get_shared(self) -> list[Any]:
        """The shared variables that this function reads or updates."""
        return list(self._compiled.program.shared)

    def __getitem__(self, key: Any) -> Any:
        return self._state(key).get_value()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._state(key).set_value(value)

    def _state(self, key: Any) -> Any:
        for item in self._ins:
            if key is item.variable or (isinstance(key, str) and item.name == key):
                if item.state is not None:
                    return item.state
                raise KeyError(f"the input {key} keeps no value between calls")
        for variable in self._compiled.program.shared:
            if key is variable or (isinstance(key, str) and variable.name == key):
                return variable
        raise KeyError(f"symgraph function has no input or shared variable {key!r}")

    def __repr__(self) -> str:
        return f"<symgraph function{' ' + self.name if self.name else ''} at {id(self):#x}>"


class KernelInfo:
    """A kernel of a compiled function: `name`, `doc` (what it computes), `source`, `nodes`."""

    def __init__(self, name: str, doc: str, source: str, nodes: tuple[Any, ...]) -> None:
        self.name, self.doc, self.source, self.nodes = name, doc, source, nodes

    def __repr__(self) -> str:
        return f"# {self.name}: {self.doc}\n{self.source}"


def _say(text: str) -> None:
    import sys

    sys.stderr.write(text + "\n")
