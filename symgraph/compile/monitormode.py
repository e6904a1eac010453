"""MonitorMode: a user's functions are called before and after each node.

Source: Theano, compile/monitormode, tutorial/debug_faq.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.compile.nodewise import Thunk, Watch, WatchedMode
from symgraph.errors import explain
from symgraph.graph import Apply
from symgraph.printing import debugprint

Monitor = Callable[[int, Apply, Thunk], Any]


class MonitorMode(WatchedMode):
    """Runs node by node, and calls `pre_func(i, node, fn)` before, `post_func(i, node, fn)` after;
    on the CPU, whatever `config.device` says.

    `i` counts the nodes in order of execution, `node` is one of the rewritten graph, `fn` computes
    it: `fn.inputs` and `fn.outputs` are lists of cells, each a list of one array; the outputs' are
    None before the first time. What a function raises ends the call, and changes no shared
    variable. `optimizer` is as for `Mode`; `linker` must be None (ValueError).
    Source: Theano, `theano.compile.monitormode.MonitorMode`.
    """

    def __init__(
        self,
        pre_func: Monitor | None = None,
        post_func: Monitor | None = None,
        optimizer: Any = "default",
        linker: Any = None,
    ) -> None:
        if linker is not None:
            raise ValueError(
                explain("MonitorMode", "it runs node by node and takes no linker", got=repr(linker),
                        expected="None", cure="leave `linker` out")
            )  # fmt: skip
        super().__init__(None, optimizer)
        self.pre_func, self.post_func = pre_func, post_func

    def watch(self) -> Watch:
        return _Calls(self.pre_func, self.post_func)


class _Calls(Watch):
    def __init__(self, pre_func: Monitor | None, post_func: Monitor | None) -> None:
        self.pre_func, self.post_func = pre_func, post_func

    def run(self, position: int, thunk: Thunk) -> None:
        if self.pre_func is not None:
            self.pre_func(position, thunk.node, thunk)
        thunk()
        if self.post_func is not None:
            self.post_func(position, thunk.node, thunk)


def detect_nan(i: int, node: Apply, fn: Thunk) -> None:
    """For `post_func`: prints a node that has made NaN, its inputs and outputs.

    Source: Theano, `theano.compile.monitormode.detect_nan`.
    """
    values = [cell[0] for cell in fn.outputs]
    if any(isinstance(v, np.ndarray) and v.dtype.kind == "f" and np.isnan(v).any() for v in values):
        sys.stdout.write("*** NaN detected ***\n")
        debugprint(node)
        sys.stdout.write(f"Inputs : {[cell[0] for cell in fn.inputs]}\nOutputs: {values}\n")
