"""The rewrite rules: rows of pattern and replacement, each with the algebra as its text.

`CANONICAL` tidies what differentiation and broadcasting leave behind; `STABILITY`, `PRODUCTS` and
`CROSSENTROPY` replace expressions that overflow or cancel by ones that do not; `ALGEBRA` saves
work. All but the last hold at every optimisation level, since they keep results right.
docs/rewrites.md lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from symgraph.compile.rules.algebra import ALGEBRA
from symgraph.compile.rules.canonical import CANONICAL
from symgraph.compile.rules.crossentropy import CROSSENTROPY
from symgraph.compile.rules.inline import inline_graphs
from symgraph.compile.rules.lazy import make_lazy
from symgraph.compile.rules.loops import improve_loops
from symgraph.compile.rules.marks import mark_maxima
from symgraph.compile.rules.pieces import join_pieces
from symgraph.compile.rules.products import PRODUCTS
from symgraph.compile.rules.stability import STABILITY
from symgraph.graph import Variable, toposort
from symgraph.ops.scan import Scan
from symgraph.rewrite import AnyRule, Rewriter, Table, table_of

RULES: dict[str, Sequence[AnyRule]] = {
    "stability": STABILITY,
    "products": PRODUCTS,
    "crossentropy": CROSSENTROPY,
    "canonical": CANONICAL,
    "algebra": ALGEBRA,
}
"""Every rule, by family; within a node the families are tried in this order."""

_SAFE = [rule for family in RULES if family != "algebra" for rule in RULES[family]]

LEVELS: dict[str, Table] = {
    "fast_run": table_of([*_SAFE, *ALGEBRA]),
    "fast_compile": table_of(_SAFE),
    "none": {},
}

# Theano's words for the families, each family's name being a tag too
_TAGS = {
    "stability": frozenset(("fast_run", "fast_compile", "stabilize")),
    "products": frozenset(("fast_run", "fast_compile", "stabilize")),
    "crossentropy": frozenset(("fast_run", "fast_compile", "stabilize")),
    "canonical": frozenset(("fast_run", "fast_compile", "canonicalize")),
    "algebra": frozenset(("fast_run", "specialize")),
}

_ABOUT = {
    "stability": "Logarithms and exponentials that would overflow or cancel. Every level.",
    "products": "Products whose factors would overflow or vanish together. Every level.",
    "crossentropy": "Softmax with a cross-entropy on it. Every level.",
    "canonical": "What differentiation and broadcasting leave behind. Every level.",
    "algebra": "What saves work and changes no NaN and no infinity. FAST_RUN only.",
}


def document() -> str:
    """docs/rewrites.md: every rule as a row, in the order in which they are tried."""
    lines = [
        "# The rewrite rules",
        "",
        "Made by `symgraph.compile.rules.document`; a test keeps it true. A rule holds where the",
        "two sides have the same dtype and broadcast pattern. Equal nodes are merged and constants",
        "folded without a rule. No rule turns x * 0, x - x or x / x into a constant.",
    ]
    for family, rules in RULES.items():
        lines += ["", f"## {family}", "", _ABOUT[family], "", "| rule |", "|---|"]
        lines += ["| " + rule.text.replace("|", "\\|") + " |" for rule in rules]
    return "\n".join(lines) + "\n"


@lru_cache
def _selected(level: str, excluding: frozenset[str], requiring: frozenset[str]) -> Table:
    """The table of `level`, of the rules with no tag in `excluding` and all of `requiring`."""
    if not excluding and not requiring:
        return LEVELS[level]
    known = {rule for rules in LEVELS[level].values() for rule in rules}
    chosen = []
    for family, rules in RULES.items():
        for rule in rules:
            tags = _TAGS[family] | {family, rule.text}
            if rule in known and tags.isdisjoint(excluding) and requiring <= tags:
                chosen.append(rule)
    return table_of(chosen)


def rewrite_graph(
    outputs: Sequence[Variable],
    level: str,
    excluding: frozenset[str] = frozenset(),
    requiring: frozenset[str] = frozenset(),
    rewriter: Callable[[Table], Rewriter] = Rewriter,
) -> list[Variable]:
    """`outputs` rewritten by the tables of `level`: fast_run, fast_compile or none.

    Rules with a tag in `excluding` are left out, as are those that lack one in `requiring`; tags
    are a rule's text, its family, and Theano's words for that. `rewriter` makes the engine.
    RewriteError if a rule fails or rewriting does not come to an end.
    """
    rewritten = rewriter(_selected(level, excluding, requiring)).rewrite(inline_graphs(outputs))
    if any(isinstance(node.op, Scan) for node in toposort(rewritten)):

        def inside(graph: Sequence[Variable]) -> list[Variable]:
            return rewrite_graph(graph, level, excluding, requiring, rewriter)

        improved = improve_loops(rewritten, inside)
        rewritten = rewriter(_selected(level, excluding, requiring)).rewrite(improved)
    return make_lazy(mark_maxima(join_pieces(rewritten)) if level == "fast_run" else rewritten)
