"""NanGuardMode: a call ends at the first NaN, infinity or huge number, and says where it arose.

Source: Theano, library/compile/nanguardmode, tutorial/nan_tutorial.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from symgraph.compile.nodewise import Thunk, Watch, WatchedMode
from symgraph.configuration import config
from symgraph.errors import explain, start_debugger, warn_at
from symgraph.graph import Variable
from symgraph.printing import debugprint

BIG = 1e10


class NanGuardMode(WatchedMode):
    """Runs node by node, on the CPU whatever `config.device` says, and checks inputs, constants,
    shared variables and every result.

    `nan_is_error`, `inf_is_error`, `big_is_error` (an absolute value above 1e10): what is refused;
    None takes the value of `config.NanGuardMode.*`. AssertionError names the node, the user's line
    and the values around; no shared variable has changed then. With
    `config.NanGuardMode.action = 'warn'` it is a RuntimeWarning, with 'pdb' the debugger starts.
    Variables with `tag.nan_guard_mode_check = False` are left out. `optimizer` is as for `Mode`;
    `linker` is unused. ValueError if nothing is to be checked.
    Source: Theano, `theano.compile.nanguardmode.NanGuardMode`.
    """

    def __init__(
        self,
        nan_is_error: bool | None = None,
        inf_is_error: bool | None = None,
        big_is_error: bool | None = None,
        optimizer: Any = "default",
        linker: Any = None,
    ) -> None:
        super().__init__(None, optimizer)
        flags = config.NanGuardMode
        self.nan_is_error = flags.nan_is_error if nan_is_error is None else nan_is_error
        self.inf_is_error = flags.inf_is_error if inf_is_error is None else inf_is_error
        self.big_is_error = flags.big_is_error if big_is_error is None else big_is_error
        if not (self.nan_is_error or self.inf_is_error or self.big_is_error):
            raise ValueError(
                explain("NanGuardMode", "nothing is an error, so there is nothing to check",
                        got="nan_is_error, inf_is_error and big_is_error all False",
                        expected="at least one that is True",
                        cure="set one of them, or use another mode")
            )  # fmt: skip

    def watch(self) -> Watch:
        return _Guard(self)

    def found_in(self, value: Any) -> list[str]:
        """What is wrong with an array: Theano's words for it."""
        if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind == "b":
            return []
        found = []
        if value.dtype.kind == "f":
            if self.nan_is_error and np.isnan(value).any():
                found.append("NaN detected")
            if self.inf_is_error and np.isinf(value).any():
                found.append("Inf detected")
        with np.errstate(all="ignore"):
            if self.big_is_error and np.any(np.abs(value.astype("float64")) > BIG):
                found.append("Big value detected")
        return found


class _Guard(Watch):
    def __init__(self, mode: NanGuardMode) -> None:
        self.mode = mode
        self.left_out: set[Variable] = set()
        self.states: set[Variable] = set()  # of random streams

    def rewritten(self, variable: Variable, new: Variable) -> None:
        if not getattr(variable.tag, "nan_guard_mode_check", True):
            self.left_out.add(new)

    def leaf(self, variable: Variable, value: Any) -> None:
        self.rewritten(variable, variable)
        if getattr(variable.tag, "is_rng", False):  # bits, and no number
            self.states.add(variable)
        self._check(variable, value, None)

    def run(self, position: int, thunk: Thunk) -> None:
        thunk()
        states = [v.type for v in thunk.node.inputs if v in self.states]
        self.states.update(v for v in thunk.node.outputs if v.type in states)  # the next state
        for variable, cell in zip(thunk.node.outputs, thunk.outputs, strict=True):
            self._check(variable, cell[0], thunk)

    def _check(self, variable: Variable, value: Any, thunk: Thunk | None) -> None:
        if variable in self.states or variable in self.left_out:
            return
        found = self.mode.found_in(value)
        if not found:
            return
        if thunk is None:
            problem = "NanGuardMode found an error in an input of the graph."
            got = f"{variable} ({variable.type}): {_summary(value)}"
        else:
            problem = (
                "NanGuardMode found an error in the output of a node in this variable:\n"
                + debugprint(thunk.node, file="str").rstrip()
            )
            got = "; ".join(_sides(thunk))
        text = explain("", "\n".join([*found, problem]), where=variable.created, got=got,
                       expected="finite numbers of reasonable size",
                       cure="look at the inputs of this node; variables may be left out: "
                       "tag.nan_guard_mode_check = False")  # fmt: skip
        action = config.NanGuardMode.action
        if action == "raise":
            raise AssertionError(text)
        if action == "warn":
            warn_at(variable.created, text, RuntimeWarning)
            return
        start_debugger(text)


def _sides(thunk: Thunk) -> Iterator[str]:
    node = thunk.node
    for side, variables, cells in (
        ("input", node.inputs, thunk.inputs),
        ("output", node.outputs, thunk.outputs),
    ):
        for k, (variable, cell) in enumerate(zip(variables, cells, strict=True)):
            yield f"{side}[{k}] = {variable}: {_summary(cell[0])}"


def _summary(value: Any) -> str:
    """What an array is like, in a few words."""
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    text = f"shape {value.shape}"
    if value.dtype.kind == "f" and value.size:
        finite = value[np.isfinite(value)]
        if finite.size:
            text += f", {finite.min():.6g} to {finite.max():.6g}"
        counts = (("NaN", np.isnan(value).sum()), ("infinite", np.isinf(value).sum()))
        text += "".join(f", {count} {name}" for name, count in counts if count)
    elif value.size:
        text += f", {value.min()} to {value.max()}"
    return text
