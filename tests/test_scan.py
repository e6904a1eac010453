"""Loops at the level of graphs: what `scan` takes, what it gives, what it says of mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import OrderedUpdates, ShapeError, foldl, foldr, function, scan, scan_checkpoints
from symgraph import map as scan_map
from symgraph import reduce as scan_reduce
from symgraph.errors import MissingInputError
from symgraph.loops import StepError, until
from symgraph.ops.scan import Scan
from symgraph.tensor.shared_randomstreams import RandomStreams


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def zero() -> Any:
    return T.constant(0.0, dtype="float64")


def loop_of(output: Any) -> Any:
    """The Scan node that `output` comes from."""
    node = output.owner
    while not isinstance(node.op, Scan):
        node = node.inputs[0].owner
    return node


SIX = np.arange(6.0)


# ---- sequences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taps", "expected"),
    [
        ([0], [0, 1, 2, 3, 4, 5]),
        ([2], [2, 3, 4, 5]),
        ([-2], [0, 1, 2, 3]),
        (-2, [0, 1, 2, 3]),
        ([-2, 0], [2, 13, 24, 35]),
        ([0, 1], [1, 12, 23, 34, 45]),
        ([1, 0], [10, 21, 32, 43, 54]),
        ([-1, 0, 1], [12, 123, 234, 345]),
    ],
)
def test_taps_of_a_sequence(taps: Any, expected: Any) -> None:
    x = T.dvector("x")

    def digits(*elements: Any) -> Any:
        total = elements[0]
        for element in elements[1:]:
            total = total * 10 + element
        return total

    result, _ = scan(digits, sequences=dict(input=x, taps=taps))
    same(function([x], result)(SIX), expected)


def test_backwards_taps_and_steps() -> None:
    x = T.dvector("x")
    last, _ = scan(lambda a: a * 2, sequences=x, go_backwards=True, n_steps=3)
    same(function([x], last)(SIX), [10, 8, 6])
    pairs = dict(input=x, taps=[0, 1])
    both, _ = scan(lambda a, b: a * 10 + b, sequences=pairs, go_backwards=True)
    same(function([x], both)(SIX), [45, 34, 23, 12, 1])
    # Theano takes the first element here
    one, _ = scan(lambda a: a * 2, sequences=x, go_backwards=True, n_steps=1)
    same(function([x], one)(SIX), [10])


def test_sequences_of_all_kinds_and_the_shortest_decides() -> None:
    x, rows = T.dvector("x"), T.imatrix("rows")
    result, _ = scan(
        lambda a, row, b: a + row.sum() + b,
        sequences=[x, dict(input=rows), np.array([100, 200, 300])],
    )
    found = function([x, rows], result)(SIX, np.array([[1, 2], [3, 4]], "int32"))
    same(found, [103, 208])


def test_names_and_types_of_what_the_step_gets() -> None:
    x, h, hh, w = T.dvector("x"), T.fscalar("h"), T.dmatrix("hh"), T.dscalar("w")
    seen: list[Any] = []

    def step(*args: Any) -> Any:
        seen.append(args)
        return [args[3], args[5]]

    scan(
        step,
        sequences=[dict(input=x, taps=[-1, 0, 1])],
        outputs_info=[h, dict(initial=hh, taps=[-2, -1])],
        non_sequences=[w, 3],
    )
    (args,) = seen  # called once
    names = ["x[t-1]", "x[t]", "x[t+1]", "h[t-1]", "hh[t-2]", "hh[t-1]", "w", None]
    assert [v.name for v in args] == names
    assert args[3].type == h.type and args[4].type == T.dvector and args[6] is w


# ---- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taps", "initial", "expected"),
    [
        ([-1, -3], [0.0, 1, 2], [2, 1, -1, -3]),
        ([-1, -3], [0.0, 1, 2, 70, 80], [2, 1, -1, -3]),  # further rows are not used
        ([-2, -1], [1.0, 1], [0, 1, -1, 2]),
    ],
)
def test_taps_of_an_output(taps: Any, initial: Any, expected: Any) -> None:
    x = T.dvector("x")
    result, _ = scan(lambda a, b: a - b, outputs_info=dict(initial=x, taps=taps), n_steps=4)
    same(function([x], result)(initial), expected)


def test_a_single_tap_further_back() -> None:
    x = T.dvector("x")
    result, _ = scan(lambda a: a + 1, outputs_info=[dict(initial=x, taps=[-2])], n_steps=3)
    same(function([x], result)([0.0, 1]), [1, 2, 2])


def test_outputs_of_all_kinds_in_order() -> None:
    x = T.dvector("x")
    results, updates = scan(
        lambda a, m, two, n: [a * 10, m + a, two + a, n + 1],
        sequences=x,
        outputs_info=[{}, zero(), dict(initial=np.array([1.0, 2]), taps=[-2]), np.int64(5)],
    )
    found = function([x], results, updates=updates)(np.arange(3.0))
    for value, expected in zip(found, ([0, 10, 20], [0, 1, 3], [1, 3, 3], [6, 7, 8]), strict=True):
        same(value, expected)
    assert found[3].dtype == np.int64


def test_one_output_is_bare_unless_asked_otherwise() -> None:
    x = T.dvector("x")
    bare, _ = scan(lambda a: [a], sequences=x)
    assert bare.ndim == 1
    listed, _ = scan(lambda a: a, sequences=x, return_list=True)
    assert isinstance(listed, list) and len(listed) == 1
    several, _ = scan(lambda a: (a, a), sequences=x)
    assert isinstance(several, list) and len(several) == 2
    nothing, updates = scan(lambda: {}, n_steps=3)
    assert nothing is None and not updates


def test_rule_41_no_steps_give_no_rows() -> None:
    x, n = T.dmatrix("x"), T.lscalar("n")
    results, _ = scan(
        lambda row, h, g: [h + row, T.outer(row, row), g * 2],
        sequences=x,
        outputs_info=[T.zeros((3,)), None, T.ones((4,))],
        n_steps=n,
    )
    found = function([x, n], results)(np.zeros((5, 3)), 0)
    assert [v.shape for v in found] == [(0, 3), (0, 3, 3), (0, 4)]


def test_rule_41_the_initial_value_is_unbroadcast() -> None:
    x = T.dmatrix("x")
    row = T.zeros((1, 3))
    assert row.broadcastable == (True, False)
    result, _ = scan(lambda v, h: h + v.sum() + x, sequences=x, outputs_info=row)
    assert result.broadcastable == (False, False, False)
    f = function([x], result)
    same(f(np.ones((1, 3))), [[[4, 4, 4]]])
    with pytest.raises(ShapeError):
        f(np.ones((2, 3)))
    # and a result that is known to be of size 1, where the initial value is not
    h = T.dmatrix("h")
    sums, _ = scan(lambda h: h.sum(axis=0, keepdims=True) + 1, outputs_info=h, n_steps=2)
    same(function([h], sums)(np.ones((1, 2))), [[[2, 2]], [[3, 3]]])


def test_fed_back_with_another_dtype_or_ndim() -> None:
    x = T.dvector("x")
    with pytest.raises(StepError, match=r"(?s)dtype.*float64.*float32") as raised:
        scan(lambda a, h: a + h, sequences=x, outputs_info=np.float32(0))
    assert isinstance(raised.value, (TypeError, ValueError)) and isinstance(raised.value, TypeError)
    assert "test_scan.py" in str(raised.value)
    with pytest.raises(ValueError, match="number of axes"):
        scan(lambda a, h: h + T.zeros((2,)), sequences=x, outputs_info=zero())


def test_the_shape_changes() -> None:
    x = T.dvector("x")
    grown, _ = scan(lambda h: T.concatenate([h, h]), outputs_info=x, n_steps=3)
    with pytest.raises(ShapeError, match="changes the shape of state 0"):
        function([x], grown)(SIX)


# ---- the number of steps -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, np.int32(3), np.array(3), T.constant(3, dtype="int8")])
def test_numbers_of_steps(n: Any) -> None:
    x = T.dvector("x")
    same(function([x], scan(lambda a: a * 2, sequences=x, n_steps=n)[0])(SIX), [0, 2, 4])


def test_more_steps_than_elements() -> None:
    """Theano makes fewer steps, and says nothing."""
    x, n = T.dvector("x"), T.iscalar("n")
    f = function([x, n], scan(lambda a: a * 2, sequences=x, n_steps=n)[0])
    same(f(SIX, 6), 2 * SIX)
    with pytest.raises(ShapeError, match=r"6 elements of x .* for n_steps=7"):
        f(SIX, 7)


def test_negative_numbers_of_steps() -> None:
    x, n = T.dvector("x"), T.iscalar("n")
    f = function([x, n], scan(lambda a: a * 2, sequences=x, n_steps=n)[0])
    with pytest.raises(IndexError, match="negative"):
        f(SIX, -2)


@pytest.mark.parametrize("n", [1, -1])
def test_a_single_step_needs_no_loop(n: int) -> None:
    x, h = T.dvector("x"), T.dvector("h")
    seen = []

    def step(a: Any, old: Any) -> Any:
        seen.append(old)
        return old + a

    result, updates = scan(step, sequences=x, outputs_info=h, n_steps=n)
    assert seen == [h] and result.type == T.dmatrix and not updates
    same(function([x, h], result)(SIX + 1, [1.0, 2]), [[2, 3]])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: scan(lambda: x[0]), ValueError, "number of steps"),
        (lambda x: scan(lambda a: a, x, n_steps=2.0), TypeError, "n_steps"),
        (lambda x: scan(lambda a: a, x, n_steps=T.dscalar("n")), ValueError, "must be an int"),
        (lambda x: scan(lambda a: 1.0, x), ValueError, "what the step returns"),
        (lambda x: scan(lambda a: None, x), ValueError, "what the step returns"),
        (lambda x: scan(lambda a: until(a > 1), x), ValueError, "what the step returns"),
        (lambda x: scan(lambda a: ({}, a), x), ValueError, "what the step returns"),
        (lambda x: scan(lambda a: (a, a), x, [None]), ValueError, "Please provide None"),
        (lambda x: scan(lambda a, h: a, x, [dict(taps=[-1])]), ValueError, "no initial value"),
        (lambda x: scan(lambda a, h: a, x, [dict(initial=x, taps=[0])]), ValueError, "taps"),
        (lambda x: scan(lambda a, h: a, x, [dict(initial=x, taps=[-1, -1])]), ValueError, "taps"),
        (lambda x: scan(lambda a: a, x[0]), IndexError, "scalar"),
        (lambda x: scan(lambda a: a, dict(input=x, tap=[0])), ValueError, "'tap'"),
        (lambda x: scan(lambda a: (a, until(x)), x), TypeError, "not a scalar"),
        (lambda x: scan(lambda a: (a, {a: a}), x), TypeError, "SharedVariable"),
        (lambda x: scan(lambda a, h: a, x, [dict(initial=1.0, return_steps=1)]), ValueError,
         "return_steps"),
    ],
)  # fmt: skip
def test_mistakes(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(T.dvector("x"))


# ---- what the step uses --------------------------------------------------------------------------


def test_closures_are_found_and_what_does_not_change_is_outside() -> None:
    x, a, b = T.dvector("x"), T.dmatrix("a"), T.dmatrix("b")
    w = symgraph.shared(2.0, "w")
    result, _ = scan(lambda e: (T.dot(a, b) * e + w).sum() + T.constant(1.0), sequences=x)
    op = loop_of(result).op
    kinds = [str(node.op) for node in op.inner.nodes]
    assert "dot" not in kinds and len(op.inner.inputs) == 3
    f = function([x, a, b], result)
    same(f(SIX, np.eye(2), np.eye(2)), 2 * SIX + 9)
    w.set_value(3.0)
    same(f(SIX, np.eye(2), np.eye(2)), 2 * SIX + 13)


def test_a_given_non_sequence_is_not_looked_into() -> None:
    """What the step updates is what it reads, not what non-sequences were made of."""
    c = symgraph.shared(1.0, "c")
    result, updates = scan(lambda d: (c + d, {c: c + 1}), non_sequences=c * 10, n_steps=3)
    same(function([], result, updates=updates)(), [11, 12, 13])
    assert c.get_value() == 4


def test_strict_refuses_what_is_not_listed() -> None:
    x, s = T.dvector("x"), symgraph.shared(1.5, "s")
    with pytest.raises(MissingInputError, match="shared variable s"):
        scan(lambda a: a + s, sequences=x, strict=True)
    result, _ = scan(lambda a, s: a + s, sequences=x, non_sequences=[s], strict=True)
    same(function([x], result)(SIX), SIX + 1.5)
    closed, _ = scan(lambda a: a + x[0], sequences=x, strict=True)  # not shared
    same(function([x], closed)(SIX), SIX)


def test_a_loop_in_givens_and_updates() -> None:
    x, w = T.dvector("x"), symgraph.shared(np.zeros(3), "w")
    result, _ = scan(lambda a, h: a + h, sequences=x, outputs_info=zero())
    f = function([x], w.sum(), updates={w: result}, givens={w: w + result[-1]})
    same(f([1.0, 2, 3]), 18)
    same(w.get_value(), [1, 3, 6])
    doubled = function([x], result, givens={w: w})(SIX)
    y = T.dvector("y")
    same(function([y], result, givens={x: 2 * y})(SIX), 2 * doubled)


def test_loops_in_loops() -> None:
    x = T.dmatrix("x")

    def row_sum(row: Any, total: Any) -> Any:
        sums, _ = scan(lambda e, h: h + e, sequences=row, outputs_info=total)
        return sums[-1]

    result, _ = scan(row_sum, sequences=x, outputs_info=zero())
    same(function([x], result)([[1.0, 2], [3, 4], [5, 6]]), [3, 10, 21])


def test_the_length_of_an_inner_loop_may_change() -> None:
    x, lengths = T.dvector("x"), T.ivector("lengths")
    result, _ = scan(
        lambda n: scan(lambda e, h: h + e, sequences=x, outputs_info=zero(), n_steps=n)[0].sum(),
        sequences=lengths,
    )
    same(function([x, lengths], result)(SIX, np.array([1, 3, 0, 6], "int32")), [0, 4, 0, 35])


# ---- updates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "outputs", "last"),
    [
        (lambda c: {c: c + 1}, None, 3),
        (lambda c: [(c, c + 1)], None, 3),
        (lambda c: (c * 2, {c: c + 1}), [0, 2, 4], 3),
        (lambda c: ([c * 2], [(c, c + 1)]), [0, 2, 4], 3),
        (lambda c: ({c: c + 1}, until(c >= 1)), None, 2),
        (lambda c: (c * 2, {c: c + 1}, until(c >= 1)), [0, 2], 2),
    ],
)
def test_updates_in_the_step(returned: Any, outputs: Any, last: int) -> None:
    c = symgraph.shared(0, "c")
    result, updates = scan(lambda: returned(c), n_steps=3)
    assert isinstance(updates, OrderedUpdates) and updates and list(updates) == [c]
    found = function([], result, updates=updates)()
    assert c.get_value() == last
    assert found == [] if outputs is None else found.tolist() == outputs


def test_an_update_of_another_type() -> None:
    c = symgraph.shared(0, "c")
    with pytest.raises(StepError, match="the update of c has another dtype"):
        scan(lambda: {c: c + 0.5}, n_steps=3)


def test_random_streams_go_on_from_step_to_step() -> None:
    stream = RandomStreams(7)
    noise, updates = scan(lambda: stream.normal((2,)), n_steps=4)
    assert updates
    f = function([], noise, updates=updates)
    first, second = f(), f()
    draw = function([], RandomStreams(7).normal((2,)))
    same(np.concatenate([first, second]), [draw() for _ in range(8)])


def test_ordered_updates() -> None:
    a, b = symgraph.shared(1, "a"), symgraph.shared(2, "b")
    one, two = OrderedUpdates({a: b}), OrderedUpdates([(b, a)])
    assert not OrderedUpdates() and list((one + two).items()) == [(a, b), (b, a)]
    assert list((one + {b: a}).items()) == list(({a: b} + two).items())
    one.update(two)
    one.update(None)
    one.update({a: b})
    assert list(one) == [a, b] and isinstance(one + {}, OrderedUpdates)
    with pytest.raises(KeyError, match=r"Collision: two new values for a\n(.|\n)*cure:"):
        one.update({a: a})
    with pytest.raises(TypeError, match="SharedVariable"):
        one[T.scalar("x")] = a
    with pytest.raises(TypeError, match="SharedVariable"):
        OrderedUpdates({T.scalar("x"): a})


# ---- until ---------------------------------------------------------------------------------------


def test_until_ends_after_the_step_that_says_so() -> None:
    x = T.dvector("x")
    results, _ = scan(
        lambda a, h: ([a * 2, h + a], until(a > 2)), sequences=x, outputs_info=[None, zero()]
    )
    f = function([x], results)
    for value, expected in zip(f(SIX), ([0, 2, 4, 6], [0, 1, 3, 6]), strict=True):
        same(value, expected)
    same(f(SIX - 7)[0], 2 * (SIX - 7))  # it never says so
    assert [v.shape for v in f(np.zeros(0))] == [(0,), (0,)]


def test_until_any_number() -> None:
    result, _ = scan(lambda h: (h - 1, until(T.eq(h - 1, 2) * 7)), outputs_info=np.int64(9),
                     n_steps=100)  # fmt: skip
    same(function([], result)(), [8, 7, 6, 5, 4, 3, 2])


def test_until_in_a_single_step() -> None:
    x = T.dvector("x")
    with pytest.warns(UserWarning, match="ignored"):
        result, _ = scan(lambda a: (a, until(a > 9)), sequences=x, n_steps=1)
    same(function([x], result)(SIX + 10), [10])


# ---- kin -----------------------------------------------------------------------------------------


def test_map_reduce_and_folds() -> None:
    x = T.dvector("x")
    same(function([x], scan_map(lambda a, w: a + w, x, 1)[0])(SIX), SIX + 1)
    same(function([x], scan_map(lambda a: a, x, go_backwards=True)[0])(SIX), SIX[::-1])
    same(function([x], scan_reduce(lambda a, h: a + 2 * h, x, zero())[0])(SIX), 57)
    same(function([x], foldl(lambda a, h: a + 2 * h, x, zero())[0])(SIX), 57)
    same(function([x], foldr(lambda a, h: a + 2 * h, x, zero())[0])(SIX), 258)
    both, _ = scan_reduce(lambda a, h, g: [h + a, g * a], x, [zero(), zero() + 1])
    assert [float(v) for v in function([x], both)(SIX + 1)] == [21, 720]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7])
def test_checkpoints_end_as_scan_does(n: int) -> None:
    x, c = T.dvector("x"), symgraph.shared(0, "c")
    arguments = dict(sequences=x, outputs_info=[zero(), None], non_sequences=[2.0])

    def step(a: Any, h: Any, w: Any) -> Any:
        return [h * w + a, a * 10], {c: c + 1}

    found, updates = scan_checkpoints(step, **arguments, save_every_N=3)
    expected, _ = scan(step, **arguments)
    f = function([x], [*found, *expected], updates=updates)
    h, m, all_h, all_m = f(np.arange(1.0, n + 1))
    rows = [*range(2, n, 3)]
    rows += [n - 1] * (rows[-1:] != [n - 1])
    same(h, all_h[rows])
    same(m, all_m[rows])
    assert c.get_value() == n


def test_checkpoints_without_padding_or_sequences() -> None:
    x = T.dvector("x")
    found, _ = scan_checkpoints(lambda a, h: h + a, x, [zero()], save_every_N=2, padding=False)
    f = function([x], found)
    same(f(SIX), [1, 6, 15])
    with pytest.raises(ShapeError):
        f(np.zeros(5))
    counted, _ = scan_checkpoints(lambda h: h + 1, None, [zero()], n_steps=5, save_every_N=2)
    same(function([], counted)(), [2, 4, 5])
    with pytest.raises(RuntimeError, match="taps"):
        scan_checkpoints(lambda a, h: a, x, [dict(initial=x, taps=[-2])])
    with pytest.raises(ValueError, match="save_every_N"):
        scan_checkpoints(lambda a: a, x, save_every_N=0)


# ---- errors in the step --------------------------------------------------------------------------


def test_a_failing_step_names_the_line_in_it() -> None:
    x, y = T.dmatrix("x"), T.dvector("y")

    def step(row: Any) -> Any:
        return row * y  # the line

    f = function([x, y], scan(step, sequences=x)[0])
    with pytest.raises(ValueError, match="return row \\* y  # the line"):
        f(np.ones((2, 3)), np.ones(4))


def test_a_failing_node_that_depends_on_the_step_names_its_line() -> None:
    x, i = T.dvector("x"), T.ivector("i")
    f = function([x, i], scan(lambda k: x[k], sequences=i)[0])  # the line
    with pytest.raises(IndexError, match="the line"):
        f(SIX, np.array([1, 9], "int32"))


def test_initial_rows_are_counted() -> None:
    x = T.dvector("x")
    result, _ = scan(lambda a, b: a, outputs_info=dict(initial=x, taps=[-1, -3]), n_steps=2)
    with pytest.raises(ShapeError, match="initial value of state 0 has 2 rows"):
        function([x], result)([1.0, 2])
