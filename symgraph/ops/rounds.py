"""Inner programs: how an op says that a graph of its own is to be run, some number of times.

`Op.rounds(node, ctx)` lists `Rounds`; compiling plans each inner graph as a table of steps of its
own, which the driver walks again and again without the interpreter (compile/loop.py). Where an
inner graph cannot run natively, the node is a Python step and `Op.evaluate_with` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symgraph.expr import Expr
from symgraph.graph import Variable

InnerCall = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""Arrays for the inner inputs to arrays for the inner outputs."""


class Whole(NamedTuple):
    """A variable of the node, the same in each round."""

    variable: Variable


class Row(NamedTuple):
    """In round t, row t + `offset` of a variable of the node: an input, or an output being made."""

    variable: Variable
    offset: int = 0


class Carried(NamedTuple):
    """What the round before has made, at first the input `start`; the last is the output `end`."""

    start: Variable
    end: Variable


Place = Whole | Row | Carried


class Rounds(NamedTuple):
    """`inner` is run `times` times.

    `feeds` say what its inputs are, `goals` where its outputs go; with `until` its last output, a
    bool, has no goal: the round in which it is True is the last one. `starts` are pairs (output,
    input): the first rows of the output are the input, before the first round. `done` is the
    output, an int64, that gets the number of rounds. `when`, an input that is a bool scalar and the
    value that it has to have: else nothing is done, and sizes that do not fit do not matter.
    """

    inner: Any  # an InnerGraph
    times: Expr
    feeds: tuple[Place, ...]
    goals: tuple[Place, ...]
    starts: tuple[tuple[Variable, Variable], ...] = ()
    until: bool = False
    done: Variable | None = None
    when: tuple[Variable, bool] | None = None
