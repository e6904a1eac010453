"""The rewriting engine: interning, budget, errors, names and traces, and the verifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symgraph import tensor as T
from symgraph.compile.rules import LEVELS, rewrite_graph
from symgraph.errors import RewriteError
from symgraph.graph import Apply, Op, toposort
from symgraph.ops import elementwise
from symgraph.rewrite import (
    BUDGET,
    Matcher,
    NodeRule,
    Rewriter,
    Rule,
    Wild,
    constant_value,
    fold_constants,
    table_of,
    verify,
)

x, y = T.dvector("x"), T.dvector("y")
any_ = Wild("a")
TANH, EXP, ADD = Matcher(elementwise.TANH), Matcher(elementwise.EXP), Matcher(elementwise.ADD)


def rewritten(*outputs: Any, rules: Any = ()) -> Any:
    result = Rewriter(table_of(rules)).rewrite(outputs)
    verify(result, [x, y])
    return result[0] if len(result) == 1 else result


# ---- interning -----------------------------------------------------------------------------------


def test_equal_expressions_become_one() -> None:
    one, two = rewritten(T.exp(x + y), T.exp(x + y))
    assert one is two


def test_arguments_of_a_commutative_op_have_no_order() -> None:
    one, two, other = rewritten(x + y, y + x, x - y)
    assert one is two and other is not one
    assert rewritten(x - y, y - x)[0] is not rewritten(x - y, y - x)[1]


def test_repeated_arguments_are_not_one_argument() -> None:
    one, two = rewritten(x + x, x + y)
    assert one is not two


def test_equal_constants_become_one_and_others_do_not() -> None:
    zero = T.constant(np.array(0.0))
    outs = rewritten(*(x * T.constant(np.array(v)) for v in (2.0, 2.0, 3.0)), x + zero, x + (-zero))
    assert outs[0] is outs[1] and outs[0] is not outs[2]


def test_impure_nodes_are_never_merged() -> None:
    class Dice(Op):
        is_pure = False

        def output_types(self, x: Any) -> Any:
            return [x.type]

    dice = Dice()
    one, two = rewritten(dice(x), dice(x))
    assert one is not two


def test_the_users_graph_is_left_alone() -> None:
    v = T.exp(x + y)
    inner = v.owner.inputs[0]
    rewritten(T.tanh(v) + T.exp(x + y), rules=[Rule("exp -> tanh", EXP(any_), lambda a: T.tanh(a))])
    assert v.owner.inputs[0] is inner and v.owner.op.scalar_op is elementwise.EXP


# ---- rules ---------------------------------------------------------------------------------------


def test_what_a_rule_makes_is_rewritten_too() -> None:
    rules = [
        Rule("exp(x) -> tanh(tanh(x))", EXP(any_), lambda a: T.tanh(T.tanh(a))),
        Rule("tanh(x) -> sqr(x)", TANH(any_), lambda a: T.sqr(a)),
    ]
    result = rewritten(T.exp(x), rules=rules)
    assert [str(n.op.scalar_op) for n in toposort([result])] == ["sqr", "sqr"]


def test_a_replacement_of_another_type_is_turned_down() -> None:
    rule = Rule("exp(x) -> 1", EXP(any_), lambda a: T.constant(1.0))
    engine = Rewriter(table_of([rule]))
    (result,) = engine.rewrite([T.exp(x)])
    assert result.owner is not None and not engine.fired


def test_commutative_patterns_match_both_orders_with_one_meaning_per_wildcard() -> None:
    b = Wild("b")
    pattern = ADD(TANH(any_), EXP(any_))
    for expression in (T.tanh(x) + T.exp(x), T.exp(x) + T.tanh(x)):
        found: dict[str, Any] = {}
        assert pattern.match(rewritten(expression), found) and found["a"] is x
    assert not pattern.match(rewritten(T.tanh(x) + T.exp(y)), {})
    assert ADD(any_, b).match(x + y, {}) and not ADD(any_, any_).match(x + y, {})


def test_rules_without_end_are_stopped() -> None:
    rule = Rule("exp(x) -> exp(x + 1)", EXP(any_), lambda a: T.exp(a + y))
    with pytest.raises(RewriteError) as error:
        rewritten(T.exp(x), rules=[rule])
    text = str(error.value)
    assert "exp(x) -> exp(x + 1)" in text and str(BUDGET) in text and __file__ in text


def test_two_rules_that_undo_each_other_are_stopped() -> None:
    rules = [
        Rule("exp -> tanh", EXP(any_), lambda a: T.tanh(T.sqr(a))),
        Rule("tanh -> exp", TANH(any_), lambda a: T.exp(T.sqr(a))),
    ]
    with pytest.raises(RewriteError, match="does not come to an end"):
        rewritten(T.exp(x), rules=rules)


def test_a_rule_that_fails_raises_and_says_where() -> None:
    def broken(node: Apply) -> Any:
        """exp(x) -> an error"""
        raise KeyError("nothing here")

    with pytest.raises(RewriteError) as error:
        rewritten(T.exp(x), rules=[NodeRule(broken, elementwise.EXP)])
    text = str(error.value)
    for word in ("exp(x) -> an error", "Elemwise{exp", "KeyError", "nothing here", __file__):
        assert word in text
    assert isinstance(error.value.__cause__, KeyError)


def test_made_nodes_carry_the_users_line_and_name() -> None:
    v = T.exp(x)
    v.name = "power"
    rule = Rule("exp(x) -> tanh(tanh(x))", EXP(any_), lambda a: T.tanh(T.tanh(a)))
    result = rewritten(v, rules=[rule])
    assert result.name == "power"
    for node in toposort([result]):
        assert node.trace == v.owner.trace and node.trace.filename == __file__
    assert rewritten(T.sqr(T.exp(x)), rules=[rule]).owner.trace.filename == __file__


def test_names_are_kept_through_rebuilding_and_never_given_to_the_users_variables() -> None:
    rule = Rule("exp(x) -> tanh(x)", EXP(any_), lambda a: T.tanh(a))
    total = T.sqr(T.exp(x))
    total.name = "total"
    assert rewritten(total, rules=[rule]).name == "total"
    plain, named = T.sqr(x), T.sqr(x)
    named.name = "named"
    rewritten(plain, named)
    assert plain.name is None


# ---- constants -----------------------------------------------------------------------------------


def test_constants_are_folded() -> None:
    result = rewritten(x + T.exp(T.constant(0.0)) * 2)
    assert constant_value(result.owner.inputs[1]) == 2.0


def test_large_constants_are_left_to_the_call() -> None:
    big = T.constant(np.zeros(5000))
    assert fold_constants(T.exp(big).owner) is None
    assert fold_constants(T.alloc(0.0, 5000).owner) is None


def test_an_error_in_folding_belongs_to_the_call() -> None:
    assert fold_constants((T.constant(1) // T.constant(0)).owner) is None


# ---- work ----------------------------------------------------------------------------------------


def attempts(size: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a rule is tried on a graph of `size` equal links."""
    v: Any = x
    for _ in range(size):
        v = T.tanh(v * 2.0 + y)
    count = 0
    attempt = Rewriter.attempt

    def counted(self: Rewriter, *args: Any) -> Any:
        nonlocal count
        count += 1
        return attempt(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Rewriter, "attempt", counted)
        rewrite_graph([v], "fast_run")
    return count


def test_work_is_linear_in_the_number_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = attempts(100, monkeypatch), attempts(1000, monkeypatch)
    assert 100 < few < many < 10.5 * few  # ten times as many nodes


def test_deep_chains_of_one_kind() -> None:
    """Nothing recurses on the user's depth, and no budget counts it."""
    chains: list[Any] = [x, x, x, x]
    for _ in range(2000):
        chains[0] = T.tanh(chains[0])
        chains[1] = chains[1] * 2.0
        chains[2] = chains[2][1:]
        chains[3] = -chains[3] + y
    outs = [T.log(T.nnet.sigmoid(v)) for v in chains] + [chains[0].zeros_like(), chains[0].shape[0]]
    for level in LEVELS:
        verify(rewrite_graph(outs, level))


# ---- verifier ------------------------------------------------------------------------------------


def test_verify_accepts_sound_graphs() -> None:
    verify([T.exp(x) + y, x, T.constant(1.0)], [x, y])


def test_verify_finds_unknown_leaves() -> None:
    with pytest.raises(AssertionError, match="nobody gives y"):
        verify([x + y], [x])
    with pytest.raises(AssertionError, match="nobody gives y"):
        verify([y], [x])


def test_verify_finds_wrong_types() -> None:
    node = Apply(T.exp(x).owner.op, [x], [T.dmatrix()])
    with pytest.raises(AssertionError, match="its op gives"):
        verify(node.outputs)


def test_verify_finds_cycles() -> None:
    v = T.exp(x)
    w = T.tanh(v)
    v.owner.inputs[0] = w
    with pytest.raises(AssertionError, match="a cycle"):
        verify([w])


def test_verify_finds_strangers_among_outputs() -> None:
    v = T.exp(x)
    v.owner.outputs[0] = T.dvector()
    with pytest.raises(AssertionError, match="output 0"):
        verify([v])
