"""Inner graphs, planned: whether they can run natively, and what binding them needs to be told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from symgraph.compile.host import leaves
from symgraph.expr import Dim, Expr
from symgraph.graph import Variable
from symgraph.ops.rounds import Carried, Place, Rounds, Row, Whole

if TYPE_CHECKING:
    from symgraph.compile.plan import Plan
    from symgraph.compile.sizes import Sizes


@dataclass(eq=False)
class Inner:
    """An inner graph, planned: `slots` receive its outputs.

    `reads` maps what binding the plan asks for (sizes and integers of inner inputs) to host
    expressions of the outer graph.
    """

    rounds: Rounds
    plan: Plan
    slots: list[Variable]
    reads: dict[Expr, Expr]


def inner_of(rounds: Rounds, plan: Plan, slots: Sequence[Variable], outer: Sizes) -> Inner | None:
    """The planned inner graph, or None if it cannot run natively: a step needs Python, or a size
    or an offset follows from what a round has computed or is given for it alone."""
    if len(plan.segments) != 1 or plan.late or len(plan.native_steps()) != len(plan.steps):
        return None
    fed = dict(zip(rounds.inner.inputs, rounds.feeds, strict=True))
    reads: dict[Expr, Expr] = {}
    for leaf in leaves(_host(plan, slots)):
        variable, position = leaf.head
        place = fed[variable]
        if type(leaf) is Dim:
            source, axis = source_of(place), position + (type(place) is Row)
            reads[leaf] = outer.shape(source)[axis]
        elif type(place) is Whole:
            reads[leaf] = outer.value(place.variable, position)
        else:
            return None
    return Inner(rounds, plan, list(slots), reads)


def _host(plan: Plan, slots: Iterable[Variable]) -> list[Expr]:
    """Everything that binding the plan computes."""
    exprs = [e for step in plan.native_steps() for e in step.host()]
    for root in (*plan.temporaries, *plan.scratch, *slots):
        exprs += plan.size_exprs(root)
    for _, check in plan.sizes.checks:
        exprs += [check.holds, *check.facts]
    return exprs


def source_of(place: Place) -> Variable:
    """The variable of the node that says what the sizes are."""
    return place.start if isinstance(place, Carried) else place.variable


def variables_of(rounds: Rounds) -> list[Variable]:
    """The variables of the node that the rounds name, outputs first."""
    goals = [g.end if isinstance(g, Carried) else g.variable for g in rounds.goals]
    goals += [out for out, _ in rounds.starts]
    if rounds.done is not None:
        goals.append(rounds.done)
    sources = [source_of(place) for place in rounds.feeds]
    sources += [start for _, start in rounds.starts]
    if rounds.when is not None:
        sources.append(rounds.when[0])
    sources += [g.start for g in rounds.goals if isinstance(g, Carried)]
    return list(dict.fromkeys([*goals, *sources]))
