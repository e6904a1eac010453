"""`function`: from symbolic inputs and outputs to something that can be called.

Source: Theano, library/compile/function and library/compile/io.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from symgraph.compile.inputs import In, as_input
from symgraph.compile.request import Options, Request
from symgraph.configuration import config
from symgraph.errors import UnusedInputError, explain
from symgraph.graph import Variable
from symgraph.sharedvalue import SharedVariable

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
    dict; all expressions read the old values. `givens`: pairs (variable, replacement), or a dict,
    applied in order, to updates as well; a replacement that is no variable becomes a shared one.
    `mode`: 'FAST_RUN' or 'FAST_COMPILE'. `allow_input_downcast`: True casts any argument, None
    only Python floats to floatX, False none. `on_unused_input`: 'raise', 'warn' or 'ignore', by
    default `config.on_unused_input`. `no_default_updates`: True, or a list of shared variables.
    `rebuild_strict=False` lets givens change dtypes. `accept_inplace` and `profile` are accepted
    and mean nothing here.

    Raises TypeError (inputs that cannot be given values, updates and givens of another type),
    ValueError (two updates of one variable), UnusedInputError, MissingInputError, RuntimeError
    (givens of an input), AssertionError (givens that depend on each other).
    Source: Theano, `theano.function`.
    """
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(
            explain("function", "inputs is not a list", got=repr(inputs),
                    expected="a list of variables", cure=f"write [{inputs}] for a single one")
        )  # fmt: skip
    ins = [as_input(item, allow_input_downcast) for item in inputs]
    request = Request(ins, outputs, updates, givens, no_default_updates, rebuild_strict)
    _check_unused(ins, request, on_unused_input or config.on_unused_input)
    return Function(ins, request, _options(mode), name)


def _options(mode: Any) -> Options:
    mode = config.mode if mode is None else mode
    if isinstance(mode, Options):
        return mode
    if mode in ("FAST_RUN", "Mode", "NUMBA", "CVM"):
        return Options(config.target, "fast_run" if config.optimizer != "None" else "fast_compile")
    if mode == "FAST_COMPILE":
        return Options(config.target, "fast_compile")
    raise ValueError(
        explain("function", f"mode {mode!r} is not known", expected="'FAST_RUN' or 'FAST_COMPILE'")
    )


def _check_unused(ins: Sequence[In], request: Request, action: str) -> None:
    if action not in ("raise", "warn", "ignore"):
        raise ValueError(f"function: on_unused_input is raise, warn or ignore; got {action!r}")
    for position, item in enumerate(ins):
        if request.inputs[position] in request.leaves or item.update is not None:
            continue
        if action == "ignore":
            break
        text = explain(
            "function",
            f"the provided input variable at index {position} is not part of the computational "
            f"graph needed to compute the outputs: {item.variable}",
            where=item.variable.created,
            got=f"inputs [{', '.join(map(str, ins))}]",
            expected="inputs that an output, an update or a replacement depends on",
            cure="drop it, or pass on_unused_input='warn' or 'ignore' to symgraph.function",
        )
        if action == "raise":
            raise UnusedInputError(text)
        warnings.warn(text, stacklevel=3)


class Function:
    """What `function` returns. Call it with the inputs' values, by position or by name.

    `f[x]` and `f["x"]` (also `f.value[x]`) are the value that the input x keeps or has by default,
    or that of the shared variable x; they can be assigned.
    """

    def __init__(
        self, ins: Sequence[In], request: Request, options: Options, name: str | None
    ) -> None:
        self.name = name
        self.options = options
        self._ins = list(ins)
        self._visible = [item for item in ins if item.update is None]
        self._inputs = [v for v in request.inputs if not isinstance(v, SharedVariable)]
        self._defaults = {item: item.value for item in self._visible if item.value is not None}
        self._request = request
        # Here, and not above: `import symgraph` need not wait for the compiler.
        from symgraph.compile.pipeline import compile_graph
        from symgraph.compile.progress import announce_after

        with announce_after(_PATIENCE, _say):
            self._compiled = compile_graph(
                self._inputs,
                request.outputs,
                request.shared,
                request.updates,
                options,
            )
        self._form = request.form
        self._arity = -1 if len(self._visible) < len(ins) else len(ins)
        self.trust_input = False

    @property
    def trust_input(self) -> bool:
        """True: arguments are C-contiguous arrays of the right type, and nothing tests it."""
        return self._path.trusted

    @trust_input.setter
    def trust_input(self, trusted: bool) -> None:
        from symgraph.compile.calling import CallPath

        self._path = CallPath(self._compiled.program, self._visible, self._form, bool(trusted))
        self._call = self._path.call

    # -- calling ----------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self._arity:
            values, states = self._bind(args, kwargs)
            return self._call_with(states, values)
        return self._call(self, *args)

    def _call_with(self, states: Sequence[tuple[Any, np.ndarray]], values: Sequence[Any]) -> Any:
        """Call with other values of inputs that keep state, which a failing call leaves alone."""
        before = [(state, state.container.value) for state, _ in states]
        for state, value in states:
            state.set_value(value)
        try:
            return self._call(self, *values)
        except BaseException:
            for state, value in before:
                state.container.replace(value)
            raise

    def accept(self, position: int, value: Any) -> np.ndarray:
        """`value` as a C-contiguous array of the type of the input at `position`, or TypeError."""
        data = self._filter(self._visible[position], value)
        flags = data.flags
        return data if flags.c_contiguous and flags.aligned else np.array(data, order="C")

    def _filter(self, item: In, value: Any) -> np.ndarray:
        try:
            return item.variable.type.filter(  # type: ignore[no-any-return]
                value, strict=item.strict, allow_downcast=item.allow_downcast
            )
        except TypeError as error:
            named = f' with name "{self.name}"' if self.name else ""
            label = item.variable.name or item.name
            kind = f"{type(value).__name__}"
            if isinstance(value, np.ndarray):
                kind = f"array of {value.dtype}, shape {value.shape}"
            raise TypeError(
                explain(
                    "",
                    f"Bad input argument to symgraph function{named} at index "
                    f"{self._ins.index(item)} (0-based){f' (input {label!r})' if label else ''}. "
                    f"{error}",
                    where=item.variable.created,
                    got=kind,
                    expected=str(item.variable.type),
                )
            ) from None

    def _bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], list[tuple[Any, np.ndarray]]]:
        """Values of the visible inputs, from positions, names and defaults; and, for inputs that
        keep state and are given a value, pairs of state and value."""
        if len(args) > len(self._ins):
            raise self._misused(
                "Too many parameters passed to symgraph function", f"{len(args)} values",
                "give one value for each input",
            )  # fmt: skip
        given: dict[In, Any] = dict(zip(self._ins, args, strict=False))
        for key, value in kwargs.items():
            item = self._named(key)
            if item in given:
                raise self._misused(
                    f"symgraph function got two values for the input {key!r}",
                    "one by position and one by name", "leave one out",
                )  # fmt: skip
            given[item] = value
        values, states = [], []
        for item in self._ins:
            if item.update is not None:
                if item in given:
                    states.append((item.state, self._filter(item, given[item])))
                continue
            if item not in given:
                if item not in self._defaults:
                    raise self._misused(
                        f"Missing required input: {item}", f"{len(given)} values",
                        "give it, or a default: In(variable, value=...)", item.variable,
                    )  # fmt: skip
                value = self._defaults[item]
                is_shared = isinstance(value, SharedVariable)
                given[item] = value.get_value(borrow=True) if is_shared else value
            values.append(given[item])
        return values, states

    def _misused(
        self, problem: str, got: str, cure: str, about: Variable | None = None
    ) -> TypeError:
        named = f"{self.name}(" if self.name else "("
        return TypeError(
            explain("", problem, where=about.created if about is not None else None, got=got,
                    expected=f"{named}{', '.join(map(str, self._ins))})", cure=cure)
        )  # fmt: skip

    def _named(self, key: str) -> In:
        found = [item for item in self._ins if item.name == key]
        if len(found) > 1:
            raise TypeError(
                f"Ambiguous name: {key} - please check the names of the inputs of your function "
                "for duplicates."
            )
        if not found:
            names = [str(item.name) for item in self._ins if item.name is not None]
            rest = len(self._ins) - len(names)
            unnamed = (
                f", and {rest} unnamed input{'s' * (rest > 1)} which thus cannot be accessed "
                "through keyword argument (use 'name=...' in a variable's constructor to give it "
                "a name)"
            )
            raise TypeError(
                f"Unknown input or state: {key}. The function has {len(names)} named inputs "
                f"({', '.join(names)}){unnamed * (rest > 0)}."
            )
        return found[0]

    # -- values between calls ---------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        owner = self._owner(key)
        value = self._defaults[owner] if isinstance(owner, In) else owner
        return value.get_value() if isinstance(value, SharedVariable) else value

    def __setitem__(self, key: Any, value: Any) -> None:
        owner = self._owner(key)
        if not isinstance(owner, In):
            owner.set_value(value)
        elif isinstance(self._defaults[owner], SharedVariable):
            self._defaults[owner].set_value(value)
        else:
            self._defaults[owner] = self._filter(owner, value)

    @property
    def value(self) -> Function:
        """What `f.value[x]` reads and assigns: the same as `f[x]`."""
        return self

    def _owner(self, key: Any) -> Any:
        """The shared variable, or the input with a default, that `f[key]` is about."""
        for position, item in enumerate(self._ins):
            if key is item.variable or key == position or (key == item.name and key is not None):
                if item.state is None and item not in self._defaults:
                    raise KeyError(f"the input {item} keeps no value between calls")
                return item.state if item.state is not None else item
        for variable in self.get_shared():
            if key is variable or (isinstance(key, str) and variable.name == key):
                return variable
        raise KeyError(f"symgraph function has no input or shared variable {key!r}")

    def get_shared(self) -> list[Any]:
        """The shared variables that this function reads or updates."""
        return list(self._compiled.program.shared)

    def copy(
        self,
        share_memory: bool = False,
        swap: Mapping[Any, Any] | None = None,
        delete_updates: bool = False,
        name: str | None = None,
        profile: Any = None,
    ) -> Function:
        """The same function, with shared variables exchanged by `swap`, or without its updates.

        `swap` maps shared variables of this function to others of the same type (TypeError), which
        are read and updated instead. Inputs that keep state go on sharing it. `share_memory` and
        `profile` are accepted and mean nothing here. Source: Theano, `Function.copy`.
        """
        exchange = dict(swap or {})
        for old, new in exchange.items():
            if old not in self._request.shared or not isinstance(new, SharedVariable):
                raise ValueError(
                    f"copy: swap exchanges shared variables of this function "
                    f"({', '.join(map(str, self._request.shared))}); got {old}: {new}"
                )
            if old.type != new.type:
                raise TypeError(
                    explain("copy", f"{new} cannot take the place of {old}", where=new.created,
                            got=str(new.type), expected=str(old.type))
                )  # fmt: skip
        updates = [] if delete_updates else self._request.updates
        request = self._request.exchanged(exchange, updates)
        return Function(self._ins, request, self.options, name or self.name)

    # -- looking ----------------------------------------------------------------------------------

    def kernels(self) -> list[KernelInfo]:
        """The kernels in order: what each computes, its printed source, the nodes fused into it."""
        from symgraph.compile.steps import PythonStep

        infos = []
        for position, step in enumerate(self._compiled.plan.steps):
            if isinstance(step, PythonStep):
                nodes, source = [step.node], "(runs in Python)"
            else:
                nodes, source = step.nodes, step.source
            what = ", ".join(dict.fromkeys(str(n.op) for n in nodes)) or "copy"
            if source.startswith("# "):  # a library kernel says which stage it is
                what += f": {source.splitlines()[0][2:]}"
            infos.append(KernelInfo(f"kernel{position}", what, source, tuple(nodes)))
        return infos

    @property
    def call_source(self) -> str:
        """The Python function that a call runs, as it was printed for this function."""
        return self._path.source

    @property
    def maker(self) -> SimpleNamespace:
        """Theano's way to the rewritten graph: `f.maker.fgraph.toposort()`."""
        compiled = self._compiled
        graph = SimpleNamespace(
            inputs=[*self._inputs, *compiled.program.shared],
            outputs=list(compiled.outputs),
            updates=dict(compiled.updates),
            apply_nodes=set(compiled.nodes),
            toposort=lambda: list(compiled.nodes),
        )
        return SimpleNamespace(fgraph=graph, inputs=self._ins, function=self)

    def __repr__(self) -> str:
        return f"<symgraph function{' ' + self.name if self.name else ''} at {id(self):#x}>"


class KernelInfo:
    """A kernel of a compiled function: `name`, `doc` (what it computes), `source`, `nodes`."""

    def __init__(self, name: str, doc: str, source: str, nodes: tuple[Any, ...]) -> None:
        self.name, self.doc, self.source, self.nodes = name, doc, source, nodes

    def __repr__(self) -> str:
        return f"# {self.name}: {self.doc}\n{self.source}"


def _say(text: str) -> None:
    if config.announce_compiling and sys.stderr is not None:
        sys.stderr.write(text + "\n")
