"""How a function is compiled: `Mode`, as users choose it, and `Options`, as the passes read it.

Theano's words are kept: a mode is a linker and an optimizer, and tags include, exclude or require
rewrite rules. There is one linker here, so that every name of a linker means it. The tags that
mean something are 'fast_run', 'fast_compile', 'canonicalize', 'stabilize' and 'specialize' (see
docs/rewrites.md), the names of the families of rules, 'fusion', and the text of a rule; others are
accepted, and select nothing. Source: Theano, library/compile/mode, tutorial/modes.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from symgraph.configuration import config
from symgraph.errors import explain
from symgraph.flags import DEVICES, LINKERS, OPTIMIZERS
from symgraph.graph import Variable

if TYPE_CHECKING:
    from symgraph.compile.pipeline import Compiled

NONE: frozenset[str] = frozenset()

# the rules that an optimizer of Theano's stands for; those that keep results right always hold
_LEVELS = {name: "fast_compile" for name in OPTIMIZERS} | dict.fromkeys(
    ("fast_run", "fast_run_stable", "unsafe", "o3", "o4"), "fast_run"
)


@dataclass(frozen=True)
class Options:
    """How to compile. `rewrites` is 'fast_run', 'fast_compile' (the rules that keep results right,
    and no others) or 'none'; `target` is 'cpu', 'cuda' or 'python'. Of these rules, those with a
    tag in `excluding` are left out, as are those that lack one in `requiring`. `cublas`: matrix
    products of target 'cuda' are cuBLAS's."""

    target: str = "cpu"
    rewrites: str = "fast_run"
    excluding: frozenset[str] = NONE
    requiring: frozenset[str] = NONE
    cublas: bool = False


class Mode:
    """A way to compile: `function(..., mode=Mode(optimizer='fast_compile'))`.

    `linker`: one of Theano's names, or None for `config.linker`; all mean the same here.
    `optimizer`: 'fast_run', 'fast_compile', 'stabilize', 'o1' to 'o4', 'unsafe', 'merge', None, or
    'default' for `config.optimizer`. All but fast_run, o3, o4 and unsafe leave out the rules that
    only save time; none leaves out those that keep results right.
    Modes are values: equal ones compare equal, and `including` and its kin make new ones.
    Raises ValueError for other names. Source: Theano, `theano.compile.mode.Mode`.
    """

    linker: str
    optimizer: str
    place: str | None = None
    _runs_here: ClassVar[bool] = False  # on the CPU, whatever is asked for

    def __init__(self, linker: Any = None, optimizer: Any = "default") -> None:
        self.linker = config.linker if linker is None else linker
        _check("linker", self.linker, LINKERS)
        self.optimizer = config.optimizer if optimizer == "default" else str(optimizer)
        _check("optimizer", self.optimizer, OPTIMIZERS)
        self.included = self.excluded = self.required = NONE

    def including(self, *tags: str) -> Mode:
        """This mode with the rules of these tags: 'fast_run' and 'specialize' add to those of
        FAST_COMPILE, and a tag that was excluded is no longer."""
        return self._but(included=self.included.union(tags), excluded=self.excluded - {*tags})

    def excluding(self, *tags: str) -> Mode:
        """This mode without the rules of these tags; 'fusion': one kernel for each node."""
        return self._but(excluded=self.excluded.union(tags))

    def requiring(self, *tags: str) -> Mode:
        """This mode with only those of its rules that have all these tags."""
        return self._but(required=self.required.union(tags))

    def on(self, target: str) -> Mode:
        """This mode on 'cuda', 'cpu' or 'auto', whatever the configuration says.

        ValueError for another name, or where the mode itself runs on the CPU only.
        """
        _check("target", target, tuple(DEVICES))
        if self._runs_here and DEVICES[target] == "cuda":
            raise ValueError(
                explain("Mode", f"{self} looks at values on the CPU", got=f"target {target!r}",
                        expected="'cpu'", cure="leave target out, or use another mode")
            )  # fmt: skip
        return self._but(place=target)

    def clone(self, link_kwargs: Any = None, optimizer: Any = "", **kwargs: Any) -> Mode:
        """An equal mode, or one with another optimizer. The other arguments are
        accepted, and unused. ValueError for an unknown optimizer."""
        if optimizer != "":
            _check("optimizer", str(optimizer), OPTIMIZERS)
        return self._but(optimizer=self.optimizer if optimizer == "" else str(optimizer))

    def _but(self, **changes: Any) -> Mode:
        new = copy.copy(self)
        vars(new).update(changes)
        return new

    @property
    def provided_linker(self) -> str:
        """Theano's second name for `linker`."""
        return self.linker

    @property
    def provided_optimizer(self) -> str:
        """Theano's second name for `optimizer`."""
        return self.optimizer

    @property
    def options(self) -> Options:
        """What the passes read, for `config.target`."""
        level = _LEVELS[self.optimizer]
        if not self.included.isdisjoint(("fast_run", "specialize", "algebra")):
            level = "fast_run"
        cublas = bool(config.gpu.cublas)
        return Options(self._target(), level, self.excluded, self.required, cublas)

    def _target(self) -> str:
        """The target that was asked for, here or by the configuration."""
        if self.place is None and config.target != "cpu":
            return str(config.target)
        device = DEVICES[self.place or config.device]
        if device == "auto":
            from symgraph.compile.cuda.device import is_there

            return "cuda" if is_there() else "cpu"
        return device

    def compile(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        shared: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
    ) -> Compiled:
        """What runs for a function of these (pipeline.compile_graph). Modes that watch what runs
        make something of their own."""
        from symgraph.compile.pipeline import compile_graph

        return compile_graph(inputs, outputs, shared, updates, self.options)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.linker, self.optimizer))

    def __str__(self) -> str:
        return f"{type(self).__name__}(linker = {self.linker}, optimizer = {self.optimizer})"

    __repr__ = __str__


class HostMode(Mode):
    """A mode that looks at values while they are computed: its functions run on the CPU whatever
    `config.device` says, and give all results there. Shared variables that are on a device come to
    the host for a call, and go back when a function of the device asks for them."""

    _runs_here = True

    def _target(self) -> str:
        return str(config.target)


class _Exactly(Mode):
    """A mode that stands for given options, whatever the configuration says."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.given = options

    @property
    def options(self) -> Options:
        return self.given


def _check(what: str, name: Any, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(
            explain("Mode", f"{what} {name!r} is not known", expected=", ".join(known))
        )


FAST_RUN = Mode("cvm", "fast_run")
FAST_COMPILE = Mode("vm", "fast_compile")
predefined_modes: dict[str, Mode] = {"FAST_RUN": FAST_RUN, "FAST_COMPILE": FAST_COMPILE}

# modes that build on this one, imported when they are asked for
_ELSEWHERE = {
    "DebugMode": ("symgraph.compile.debugmode", "DebugMode"),
    "DEBUG_MODE": ("symgraph.compile.debugmode", "DebugMode"),
    "NanGuardMode": ("symgraph.compile.nanguardmode", "NanGuardMode"),
}


def register_mode(name: str, mode: Mode) -> None:
    """Let `function(mode=name)` mean `mode`. ValueError if the name is taken."""
    if name in predefined_modes:
        raise ValueError(f"Mode name already taken: {name}")
    predefined_modes[name] = mode


def get_default_mode() -> Mode:
    """The mode of functions that name none: that of `config.mode`, `.linker`, `.optimizer` and the
    tags of `.optimizer_including`, `.optimizer_excluding` and `.optimizer_requiring`."""
    return get_mode(None)


def get_mode(mode: Any) -> Mode:
    """The `Mode` that `function(mode=...)` means: a mode, a name of one, or None for the default.

    ValueError for an unknown name, TypeError for anything else.
    """
    if mode is None:
        chosen = _named(config.mode)
        tags = {
            kind: [t for t in getattr(config, f"optimizer_{kind}").split(":") if t]
            for kind in ("excluding", "including", "requiring")
        }
        chosen = chosen.excluding(*tags["excluding"]).including(*tags["including"])
        return chosen.requiring(*tags["requiring"])
    if isinstance(mode, Options):
        return _Exactly(mode)
    if isinstance(mode, Mode):
        return mode
    if isinstance(mode, str):
        return _named(mode)
    raise TypeError(
        explain("function", f"mode is no mode: {mode!r}", got=type(mode).__name__,
                expected="a Mode, or the name of one")
    )  # fmt: skip


def _named(name: str) -> Mode:
    if name == "Mode":
        return Mode()
    if name in predefined_modes:
        return predefined_modes[name]
    if name in _ELSEWHERE:
        module, kind = _ELSEWHERE[name]
        return getattr(importlib.import_module(module), kind)()  # type: ignore[no-any-return]
    known = ", ".join(map(repr, ("Mode", *predefined_modes, *_ELSEWHERE)))
    raise ValueError(explain("function", f"mode {name!r} is not known", expected=known))
