"""Rules 40 and 41 of Theano's semantics, each clause of each: random streams, scan.

The numbers are those of the project's list of rules; what is expected here is what Theano 1.0.5
gives for the same calls, but where a comment says otherwise. Whole streams of numbers are in
test_random.py and test_random_mrg.py, more of scan in test_scan.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symgraph import config, function, grad, scan, shared
from symgraph import tensor as T
from symgraph.gradient import NullTypeGradError
from symgraph.loops import until
from symgraph.rng_mrg import MRG_RandomStreams
from symgraph.tensor.shared_randomstreams import RandomStreams
from tests.under_alias import interpreted as interpreted

KINDS = [RandomStreams, MRG_RandomStreams]

# ---- rule 40: random variables -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rule_40_one_draw_in_a_call_however_often_used(kind: Any) -> None:
    streams = kind(234)
    u = streams.uniform((2, 2))
    zeros, twice, once = function([], [u + u - 2 * u, u * 2, u])()
    assert not zeros.any() and (twice == 2 * once).all()
    state = streams.state_updates[0][0]
    s = shared(np.zeros((2, 2)))
    f = function([], u, updates=[(s, u)])
    assert (f() == s.get_value()).all() and (f() != f()).all()
    frozen = function([], u, no_default_updates=[state])
    assert (frozen() == frozen()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rule_40_dtypes(kind: Any) -> None:
    for floatX in ("float64", "float32"):
        with config.change_flags(floatX=floatX):
            streams = kind(1)
            assert streams.uniform((2,)).dtype == streams.normal((2,)).dtype == floatX
            assert streams.binomial((2,), n=1, p=0.5).dtype == "int64"
            assert streams.binomial((2,), n=1, p=0.5, dtype="float32").dtype == "float32"


@pytest.mark.parametrize("kind", KINDS)
def test_rule_40_parameters_have_no_gradient(kind: Any) -> None:
    p, w = T.dscalar("p"), T.dvector("w")
    drawn = kind(1).uniform((3,), high=p)
    if kind is MRG_RandomStreams:
        drawn = kind(1).binomial((3,), p=p)
    with pytest.raises(NullTypeGradError):
        grad((drawn * w).sum(), p)
    mask = kind(1).binomial((3,), n=1, p=0.5)
    slope, kept = function([w], [grad((mask * w).sum(), w), mask])(np.ones(3))
    assert (slope == kept).all()


@pytest.mark.parametrize(
    "size, streams", [((3, 4), 2), ((6,), 6), ((7,), 1), ((12, 5), 10), ((500, 784), 15360)]
)
def test_rule_40_streams_of_a_size(size: Any, streams: int) -> None:
    drawn = MRG_RandomStreams(1)
    drawn.uniform(size)
    state = drawn.state_updates[0][0].get_value()
    assert state.shape == (streams, 6) and state.dtype == "int32"


def test_rule_40_element_i_is_of_stream_i_modulo_their_number() -> None:
    """3 streams, 7 numbers: each stream goes on as it does alone."""
    together = function([], MRG_RandomStreams(7).uniform((7,), nstreams=3))()
    rows = function([], MRG_RandomStreams(7).uniform((3,), nstreams=3))
    assert together.tolist() == np.concatenate([rows(), rows(), rows()])[:7].tolist()
    with config.change_flags(floatX="float32"):
        single = function([], MRG_RandomStreams(7).uniform((7,), nstreams=3))()
    assert single.dtype == "float32"
    np.testing.assert_allclose(single, together, rtol=1e-6)
    first = 4.656612873077393e-10  # the step of the numbers: 1 / (2**31 - 1), rounded up
    assert np.allclose(together / first, np.round(together / first), atol=1e-3)


def test_traps_of_numpy_2_in_states() -> None:
    """copy.copy of a RandomState shares its numbers: a value that was got must not."""
    streams = RandomStreams(3)
    u = streams.uniform((4,))
    f, rng = function([], u), streams.state_updates[0][0]
    mine = rng.get_value()
    expected = rng.get_value().uniform(size=4)
    mine.uniform(size=100)
    assert f().tolist() == expected.tolist()
    given = np.random.RandomState(8)
    rng.set_value(given)
    given.uniform(size=100)
    assert f().tolist() == np.random.RandomState(8).uniform(size=4).tolist()


# ---- rule 41: scan -------------------------------------------------------------------------------


def test_rule_41_order_of_the_arguments_of_a_step() -> None:
    """Sequences by tap, past outputs by tap in the order of the outputs, non-sequences."""
    s, t, a, b = T.dvector("s"), T.dvector("t"), T.dvector("a"), T.dscalar("b")
    seen = []

    def step(*given: Any) -> list[Any]:
        seen.append(len(given))
        s_m, s_p, t_0, a_2, a_1, b_1, n = given
        return [s_m * 100 + s_p * 10 + t_0 + a_2 * 0 + a_1, b_1 + a_2 * n, s_p]

    outputs, updates = scan(
        step,
        sequences=[{"input": s, "taps": [-1, 1]}, t],
        outputs_info=[{"initial": a, "taps": [-2, -1]}, b, None],
        non_sequences=[T.constant(2.0)],
    )
    assert len(outputs) == 3 and not updates and seen[0] == 7
    found = function([s, t, a, b], outputs)(np.arange(1.0, 6), np.ones(5), [1.0, 2.0], 7.0)
    x1 = 100 + 30 + 1 + 2.0
    x2 = 200 + 40 + 1 + x1
    x3 = 300 + 50 + 1 + x2
    assert found[0].tolist() == [x1, x2, x3]
    assert found[1].tolist() == [9, 13, 13 + 2 * x1] and found[2].tolist() == [3, 4, 5]


def test_rule_41_what_a_step_may_return() -> None:
    count = shared(0)
    x = T.dvector("x")
    returned: tuple[tuple[Any, list[Any], int], ...] = (
        (lambda v: v + 1, [2, 3, 4], 0),
        (lambda v: [v + 1], [2, 3, 4], 0),
        (lambda v: (v + 1, {count: count + 1}), [2, 3, 4], 3),
        (lambda v: ([v + 1], [(count, count + 1)]), [2, 3, 4], 3),
        (lambda v: (v + 1, until(v > 1)), [2, 3], 0),
        (lambda v: (v + 1, {count: count + 1}, until(v > 1)), [2, 3], 2),
    )
    for step, values, steps in returned:
        count.set_value(0)
        out, updates = scan(step, sequences=x)
        assert bool(updates) is (steps > 0), "no updates are falsy"
        f = function([x], out, updates=updates)
        assert f([1.0, 2.0, 3.0]).tolist() == values and count.get_value() == steps
    out, updates = scan(lambda: {count: count + 2}, n_steps=3)
    function([], [], updates=updates)()
    assert count.get_value() == steps + 6


def test_rule_41_one_output_is_bare() -> None:
    x = T.dvector("x")
    assert scan(lambda v: v, sequences=x)[0].ndim == 1
    assert isinstance(scan(lambda v: [v, v], sequences=x)[0], list)
    assert len(scan(lambda v: v, sequences=x, return_list=True)[0]) == 1


def test_rule_41_the_dtype_of_a_state_is_kept() -> None:
    x = T.dvector("x")
    with pytest.raises((TypeError, ValueError)):
        scan(lambda v, h: h + v, sequences=x, outputs_info=np.float32(0))
    with pytest.raises((TypeError, ValueError)):
        scan(lambda v, h: h + v, sequences=x, outputs_info=T.iscalar())
    wider, _ = scan(lambda v, h: T.cast(h + v, "float32"), x, T.constant(np.float32(0)))
    assert wider.dtype == "float32"


def test_rule_41_a_state_that_broadcasts_is_unbroadcast() -> None:
    """Theano fails, in `function`."""
    x = T.dmatrix("x")
    out, _ = scan(lambda v, h: h + v, sequences=x, outputs_info=T.zeros((1,)))
    assert function([x], out)(np.ones((2, 1))).tolist() == [[1], [2]]


def test_rule_41_no_steps() -> None:
    """Theano implements it only where n_steps is 0 and nothing is fed back."""
    x, n = T.dvector("x"), T.lscalar("n")
    mapped, _ = scan(lambda v: v * 2, sequences=x)
    assert function([x], mapped)([]).shape == (0,)
    rows, _ = scan(lambda: T.ones((3,)), n_steps=n)
    assert function([n], rows)(0).shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_rule_41_updates_of_streams_are_for_the_function(kind: Any) -> None:
    streams = kind(5)
    draws, updates = scan(lambda: streams.uniform((2,)), n_steps=3)
    assert updates
    f = function([], draws, updates=updates)
    first, second = f(), f()
    assert first.shape == (3, 2) and len({*first.ravel(), *second.ravel()}) == 12
    with_state = function([], draws, updates=[], no_default_updates=True)
    assert (with_state() == with_state()).all(), "not given, the state stays"
