"""`function`: from symbolic inputs and outputs to something that can be called.

Source: Theano, library/compile/function and library/compile/io.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from symgraph.compile import shown
from symgraph.compile.arguments import Arguments
from symgraph.compile.inputs import In, as_input
from symgraph.compile.mode import Mode, get_mode
from symgraph.compile.request import Request, stand_in
from symgraph.configuration import config
from symgraph.errors import UnusedInputError, explain
from symgraph.graph import Variable, user_trace
from symgraph.sharedvalue import Container, SharedVariable
from symgraph.testvalues import suspended

if TYPE_CHECKING:
    from symgraph.compile.calling import CallPath
    from symgraph.compile.pipeline import Compiled
    from symgraph.compile.profiling import ProfileStats
    from symgraph.compile.shown import KernelInfo

_R = TypeVar("_R")
_PATIENCE = 2.0  # seconds of compiling before a line says what goes on
_MADE = frozenset(("_compiled", "_path", "_call", "_parts"))  # what follows from the rest


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
    target: str | None = None,
) -> Function:
    """A callable that computes `outputs` from `inputs`, and then applies `updates`.

    `inputs`: variables or `In`. `outputs`: a variable, a list, a dict of names, or None; calls
    return an array, a list, a dict, or []. `updates`: pairs (shared variable, new value), or a
    dict; all expressions read the old values. `givens`: pairs (variable, replacement), or a dict,
    applied in order, to updates as well; a replacement that is no variable becomes a shared one.
    `mode`: a `Mode`, or the name of one: 'FAST_RUN', 'FAST_COMPILE', 'DebugMode', 'NanGuardMode'.
    `allow_input_downcast`: True casts any argument, None only Python floats to floatX, False none.
    `on_unused_input`: 'raise', 'warn' or 'ignore', by default `config.on_unused_input`.
    `no_default_updates`: True, or a list of shared variables. `rebuild_strict=False` lets givens
    change dtypes and numbers of axes. `profile`: True, a message or a `ProfileStats`:
    `f.profile.summary()` shows then where the time goes; None asks `config.profile`.
    `target`: 'cuda' or 'cpu', where it runs; None asks `config.device`, unless a shared variable or
    a result is on the device (`shared(..., target='cuda')`, `.transfer('cuda')`).
    `accept_inplace` means nothing here.

    Raises TypeError (inputs that cannot be given values, updates and givens of another type),
    ValueError (two updates of one variable), UnusedInputError, MissingInputError, RuntimeError
    (givens of an input; NoGPU, a device that is not there), AssertionError (givens that depend on
    each other).
    Source: Theano, `theano.function`.
    """
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(
            explain("function", "inputs is not a list", got=repr(inputs),
                    expected="a list of variables", cure=f"write [{inputs}] for a single one")
        )  # fmt: skip
    with suspended():  # what is rebuilt here has its test values
        ins = [as_input(item, allow_input_downcast) for item in inputs]
        request = Request(ins, outputs, updates, givens, no_default_updates, rebuild_strict)
        _check_unused(ins, request, on_unused_input or config.on_unused_input)
        chosen = get_mode(mode) if target is None else get_mode(mode).on(target)
        return Function(ins, request, chosen, name, profile)


def _check_unused(ins: Sequence[In], request: Request, action: str) -> None:
    if action not in ("raise", "warn", "ignore"):
        raise ValueError(f"function: on_unused_input is raise, warn or ignore; got {action!r}")
    if action == "ignore":
        return
    for position, item in enumerate(ins):
        if request.inputs[position] in request.leaves or item.update is not None:
            continue
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


class _Made(Generic[_R]):
    """An attribute that is made when it is first asked for, by one thread.

    A new function asks for its own at once; copies by `pickle` and `deepcopy` when they are called.
    """

    lock = threading.RLock()

    def __init__(self, make: Callable[[Any], _R]) -> None:
        self.make, self.name = make, make.__name__

    def __get__(self, owner: Any, cls: type) -> _R:
        with self.lock:
            if self.name not in owner.__dict__:
                owner.__dict__[self.name] = self.make(owner)
            return owner.__dict__[self.name]  # type: ignore[no-any-return]


def _renew_lock() -> None:
    # The forked child has one thread; a lock that another thread of the parent held stays shut.
    _Made.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Function:
    """What `function` returns. Call it with the inputs' values, by position or by name.

    `f[x]` and `f["x"]` (also `f.value[x]`) are the value that the input x keeps or has by default,
    or that of the shared variable x; they can be assigned.
    """

    def __init__(
        self,
        ins: Sequence[In],
        request: Request,
        mode: Mode,
        name: str | None,
        profile: Any = None,
    ) -> None:
        self.mode, self.options = mode, mode.options
        self._arguments = Arguments(ins, name)
        self._request = request
        self._arity = self._arguments.arity
        self._trusted = False
        self.profile = _stats(profile, name)
        _ = self._call  # compiled here, so that errors are raised here

    @_Made
    def _compiled(self) -> Compiled:
        # Here, and not above: `import symgraph` need not wait for the compiler.
        from symgraph.compile.progress import announce_after

        with announce_after(_PATIENCE, _say), suspended():
            request = self._request
            parts = request.arguments, request.outputs, request.shared, request.updates
            if self.profile is not None:
                return self.profile.compile(self.mode, *parts)
            return self.mode.compile(*parts)

    @_Made
    def _path(self) -> CallPath:
        return self._compiled.call_path(self._arguments.visible, self._request.form, self._trusted)

    @_Made
    def _call(self) -> Callable[..., Any]:
        call = self._path.call
        return call if self.profile is None else self.profile.timed(call)

    def __getstate__(self) -> dict[str, Any]:
        """What pickles and copies hold: all but what compiling makes."""
        return {k: v for k, v in self.__dict__.items() if k not in _MADE}

    @property
    def name(self) -> str | None:
        """The name given to `function`, for errors and profiles."""
        return self._arguments.name

    @name.setter
    def name(self, name: str | None) -> None:
        self._arguments.name = name

    @property
    def trust_input(self) -> bool:
        """True: arguments are C-contiguous arrays of the right type, and nothing tests it."""
        return self._trusted

    @trust_input.setter
    def trust_input(self, trusted: bool) -> None:
        self._trusted = bool(trusted)
        for name in ("_path", "_call"):
            self.__dict__.pop(name, None)

    # -- calling ----------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs' values, in the form in which the outputs were given to `function`.

        Inputs are given by position or by name. `output_subset`, a list of positions (or of keys,
        if the outputs are a dict), asks for these outputs only, as a list (or a dict); updates
        apply all the same. Raises TypeError for arguments that do not fit, ValueError for outputs
        that do not exist. Source: Theano, library/compile/function.
        """
        if kwargs or len(args) != self._arity:
            return self._call_bound(args, kwargs)
        try:
            return self._call(self, *args)
        except Exception as error:
            self._elaborate(error, args)
            raise

    def _call_bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A call by name, or one that needs defaults or states."""
        subset = kwargs.pop("output_subset", None)
        called = self if subset is None else self._part(tuple(subset))
        try:
            values, states = self._arguments.bind(args, kwargs)
            return called._call_with(states, values)
        finally:
            self._arguments.assigned.clear()
            self._arity = self._arguments.arity

    def _call_with(self, states: Sequence[tuple[Any, np.ndarray]], values: Sequence[Any]) -> Any:
        """Call with other values of inputs that keep state, which a failing call leaves alone."""
        before = [(state, state.container.on_host()) for state, _ in states]
        for state, value in states:
            state.set_value(value)
        try:
            return self._call(self, *values)
        except BaseException as error:
            self._elaborate(error, values)
            for state, value in before:
                state.container.replace(value)
            raise

    def _elaborate(self, error: BaseException, values: Sequence[Any]) -> None:
        """Have an error of a call say more, if `config.exception_verbosity` asks for it."""
        if config.exception_verbosity != "high" or not isinstance(error, Exception):
            return
        from symgraph.compile.replay import elaborate

        request = self._request
        try:
            given = [self.accept(k, value) for k, value in enumerate(values)]
        except TypeError:  # this is the error
            return
        outputs = [*request.outputs, *(value for _, value in request.updates)]
        with suspended():
            elaborate(error, outputs, dict(zip(request.arguments, given, strict=True)))

    def _part(self, subset: tuple[Any, ...]) -> Function:
        """This function with some of its outputs; kept, as each is compiled."""
        parts: dict[tuple[Any, ...], Function] = self.__dict__.setdefault("_parts", {})
        if subset not in parts:
            request = self._request.selected(subset)
            stats = self.profile if self.profile is not None else False
            parts[subset] = Function(self._arguments.ins, request, self.mode, self.name, stats)
        parts[subset].trust_input = self._trusted
        return parts[subset]

    def accept(self, position: int, value: Any) -> np.ndarray:
        """`value` as a C-contiguous array of the type of the input at `position`, or TypeError."""
        return self._arguments.accept(position, value)

    def free(self) -> None:
        """Let go of the memory for temporaries and of the tables of earlier sizes.

        The next call makes them anew. Values of shared variables stay. Source: Theano,
        `Function.free`.
        """
        compiled = self.__dict__.get("_compiled")
        if compiled is not None:
            compiled.free()
        self.__dict__.pop("_parts", None)

    # -- values between calls ---------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        owner = self._owner(key)
        return self._arguments.value(owner) if isinstance(owner, In) else owner.get_value()

    def __setitem__(self, key: Any, value: Any) -> None:
        owner = self._owner(key)
        if isinstance(owner, In):
            self._arguments.assign(owner, value)
            self._arity = self._arguments.arity
        else:
            owner.set_value(value)

    def __contains__(self, key: Any) -> bool:
        return self._find(key) is not None

    @property
    def value(self) -> Function:
        """What `f.value[x]` reads and assigns: the same as `f[x]`."""
        return self

    @property
    def container(self) -> shown.Containers:
        """`f.container[x].value` is what `f[x]` reads and assigns."""
        return shown.Containers(self)

    def _owner(self, key: Any) -> Any:
        owner = self._find(key)
        if owner is None:
            ins, shared = self._arguments.ins, self.get_shared()
            raise TypeError(
                explain("", f"Unknown input or state: {key}", where=user_trace(), got=repr(key),
                        expected=f"an input ({', '.join(map(str, ins))}) or a shared variable "
                        f"({', '.join(map(str, shared))}) of {self}")
            )  # fmt: skip
        return owner

    def _find(self, key: Any) -> Any:
        """The input or the shared variable that `f[key]` is about, or None."""
        found = self._arguments.find(key)
        if found is not None:
            return found
        named = (v for v in self.get_shared() if key is v or (type(key) is str and v.name == key))
        return next(named, None)

    def get_shared(self) -> list[Any]:
        """The shared variables that this function reads or updates."""
        states = {item.state for item in self._arguments.ins if item.state is not item.value}
        return [v for v in self._request.shared if v not in states]

    # -- copies -----------------------------------------------------------------------------------

    def copy(
        self,
        share_memory: bool = False,
        swap: Mapping[Any, Any] | None = None,
        delete_updates: bool = False,
        name: str | None = None,
        profile: Any = None,
    ) -> Function:
        """The same function, with shared variables exchanged by `swap`, or without its updates.

        `swap` maps shared variables of this function to others of the same type, which are read and
        updated instead. Shared variables that are not swapped go on being shared; inputs that keep
        a state of their own start with their initial value. The copy is called `name`, or by this
        function's name and " copy". `profile` is as for `function`; `share_memory` means nothing
        here. Raises ValueError (swap of what the function does not use, two updates of one
        variable), TypeError (another type). Source: Theano, `Function.copy`.
        """
        exchange: dict[Variable, Variable] = dict(swap or {})
        self._check_swap(exchange)
        ins = [item.copied(is_updated=not delete_updates) for item in self._arguments.ins]
        for old, new in zip(self._arguments.ins, ins, strict=True):
            if old.state is not new.state:
                exchange[old.state] = new.state if new.state is not None else stand_in(new)
        updates = [] if delete_updates else self._request.updates
        with suspended():
            request = self._request.exchanged(exchange, updates)
        if self.copies_return_lists and request.form == "single":
            request.form = "list"
        called = name or (self.name and f"{self.name} copy")
        return Function(ins, request, self.mode, called, profile)

    copies_return_lists: ClassVar[bool] = False
    """True: copies of functions that return an array return a list of it, as Theano's do."""

    def __copy__(self) -> Function:
        return self.copy()

    def _check_swap(self, swap: Mapping[Any, Any]) -> None:
        known = self.get_shared()
        for old, new in swap.items():
            if old not in known:
                raise ValueError(
                    explain("copy", f"SharedVariable: {old} not found", where=user_trace(),
                            got=f"swap of {old}", expected="a shared variable of this function: "
                            f"{', '.join(map(str, known))}")
                )  # fmt: skip
            if not isinstance(new, SharedVariable) or old.type != new.type:
                raise TypeError(
                    explain("copy", f"{new} cannot take the place of {old}", where=user_trace(),
                            got=str(getattr(new, "type", type(new).__name__)),
                            expected=f"a shared variable of {old.type}")
                )  # fmt: skip

    # -- looking ----------------------------------------------------------------------------------

    def kernels(self) -> list[KernelInfo]:
        """The kernels in order: what each computes, its printed source, the nodes fused into it."""
        return shown.kernels(self._compiled)

    @property
    def call_source(self) -> str:
        """The Python function that a call runs, as it was printed for this function."""
        return self._path.source

    @property
    def maker(self) -> SimpleNamespace:
        """What Theano's users look at: `f.maker.fgraph.toposort()` (see `compile.shown.maker`)."""
        return shown.maker(self, self._compiled, self._request)

    @property
    def inputs(self) -> list[In]:
        """The inputs, in the order of arguments."""
        return list(self._arguments.ins)

    @property
    def input_storage(self) -> list[Container]:
        """Cells with the values of inputs (None where a call has to give one), and of shared
        variables: those of states and shared variables are theirs, the others are copies."""
        cells = []
        for item in self._arguments.ins:
            kept = item.state if item.state is not None else item.value
            is_shared = isinstance(kept, SharedVariable)
            cells.append(kept.container if is_shared else Container(self._arguments.value(item)))
        return cells + [v.container for v in self.get_shared()]

    @property
    def unpack_single(self) -> bool:
        """Whether the one output is returned bare."""
        return self._request.form == "single"

    @property
    def output_keys(self) -> list[str] | None:
        """The keys of the outputs, sorted, if they were given as a dict."""
        form = self._request.form
        return None if isinstance(form, str) else list(form)

    return_none: ClassVar[bool] = False  # no outputs give []

    def __repr__(self) -> str:
        return f"<symgraph function{' ' + self.name if self.name else ''} at {id(self):#x}>"


def _stats(profile: Any, name: str | None) -> ProfileStats | None:
    """What `profile=` asks for; the module is not imported for nothing."""
    if not (config.profile if profile is None else profile):
        return None
    from symgraph.compile.profiling import stats_for

    return stats_for(profile, name)


def _say(text: str) -> None:
    if config.announce_compiling and sys.stderr is not None:
        sys.stderr.write(text + "\n")
