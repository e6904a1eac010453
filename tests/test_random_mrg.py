"""`rng_mrg.MRG_RandomStreams`: the numbers of Theano's MRG31k3p.

Numbers in lists are facts recorded from Theano 1.0.5 with its C code.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import function
from symgraph.ops.random_mrg import M1, M2, MRGUniform, jump, jumped, streams_from
from symgraph.rng_mrg import MRG_RandomStreams, guess_n_streams
from symgraph.sharedvalue import TensorSharedVariable


def drawn(sample: Any, calls: int = 1) -> Any:
    draw = function([], sample)
    for _ in range(calls - 1):
        draw()
    return draw()


# ---- uniform numbers -----------------------------------------------------------------------------


def test_rule_40_uniform_numbers_in_float64() -> None:
    sample = MRG_RandomStreams(seed=12345).uniform(size=(3, 4))
    draw = function([], sample)
    assert sample.dtype == "float64"
    assert draw().tolist() == [
        [0.7353244530968368, 0.2585685825906694, 0.6142074400559068, 0.9489980279468],
        [0.11007806099951267, 0.4309556516818702, 0.6487741703167558, 0.12257590936496854],
        [0.36619443260133266, 0.9760319022461772, 0.10882294131442904, 0.6315354662947357],
    ]
    assert draw().tolist()[0] == [
        0.5330547927878797, 0.19335915753617883, 0.9783797566778958, 0.8137051924131811
    ]  # fmt: skip


def test_rule_40_uniform_numbers_in_float32() -> None:
    """They are rounded twice, as in C: the integer to float32, then its product with the norm."""
    streams = MRG_RandomStreams(9)
    streams.uniform((2,))
    streams.binomial((3, 4))
    sample = streams.uniform((2, 3), low=-3, high=5, dtype="float32")
    assert [[float(x).hex() for x in row] for row in drawn(sample)] == [
        ["0x1.35f7700000000p-1", "0x1.8ef7540000000p+1", "0x1.3ac8800000000p+0"],
        ["0x1.6e4f480000000p-1", "-0x1.9a83200000000p-2", "-0x1.e00ee00000000p-1"],
    ]
    streams = MRG_RandomStreams(12345)
    sample = streams.uniform((1000,), dtype="float32")
    second = drawn(sample, calls=2)[:4]
    assert [float(x).hex() for x in second] == [
        "0x1.f4ee300000000p-1", "0x1.a09df60000000p-1",
        "0x1.e8c3fa0000000p-4", "0x1.9ace460000000p-1",
    ]  # fmt: skip


def test_uniform_numbers_in_float16() -> None:
    streams = MRG_RandomStreams(12345)
    for _ in range(2):
        streams.uniform((3, 4))
    assert drawn(streams.uniform((3, 4), dtype="float16")).tolist() == [
        [0.76220703125, 0.471923828125, 0.49853515625, 0.86083984375],
        [0.1761474609375, 0.347412109375, 0.77197265625, 0.7412109375],
        [0.7861328125, 0.498779296875, 0.61083984375, 0.2158203125],
    ]


def test_given_numbers_of_streams() -> None:
    streams = MRG_RandomStreams(9)
    for size in ((2,), (3, 4), (2, 3)):
        streams.uniform(size)
    assert drawn(streams.uniform((2, 3), nstreams=2)).tolist() == [
        [0.48316595889627934, 0.0649362881667912, 0.014217645861208439],
        [0.004899546969681978, 0.2429045159369707, 0.15182747319340706],
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("count", "streams"), [(1, 1), (100, 64), (7, 200), (5001, 130), (0, 3)])
def test_chunks_of_streams_are_those_of_the_definition(
    dtype: str, count: int, streams: int
) -> None:
    """Kernels, whose chunks threads share, against the ops' meaning, over three draws."""
    state = symgraph.shared(streams_from(np.array([5, 4, 3, 2, 1, 9], "int32"), streams))
    new, sample = MRGUniform(dtype, (False,))(state, np.int64(count))
    draw = function([], sample, updates=[(state, new)])
    before = state.get_value()
    for _ in range(3):
        after, expected = sample.owner.op.evaluate(sample.owner, before, np.int64(count))
        np.testing.assert_array_equal(draw(), expected)
        np.testing.assert_array_equal(state.get_value(), after)
        before = after


def test_moments() -> None:
    with symgraph.config.change_flags(floatX="float32"):
        streams = MRG_RandomStreams(3)
        u = drawn(streams.uniform((200000,))).astype("float64")
        n = drawn(streams.normal((200001,), avg=1, std=2)).astype("float64")
    assert abs(u.mean() - 0.5) < 0.002 and abs(u.var() * 12 - 1) < 0.01
    assert 0 < u.min() and u.max() < 1
    assert abs(n.mean() - 1) < 0.015 and abs(n.std() - 2) < 0.01


# ---- seeds and streams ---------------------------------------------------------------------------


def test_rule_40_streams_are_spaced() -> None:
    """2**72 steps from stream to stream, 2**134 from draw to draw."""
    streams = MRG_RandomStreams(seed=[1, 2, 3, 4, 5, 6])
    states = streams.get_substream_rstates(5, "float32")
    assert states.dtype == "int32"
    assert states.tolist() == [
        [1, 2, 3, 4, 5, 6],
        [236336504, 1630064008, 1151274174, 945871500, 1221901377, 1030714415],
        [2097087237, 487003887, 1285238645, 1270193375, 149449395, 1788988829],
        [1398837556, 120872895, 634942030, 425447010, 973822624, 230982867],
        [1300553108, 1328708100, 245689699, 1848670801, 680462517, 977262756],
    ]
    moved = [1782355199, 180881799, 960068827, 1267448446, 1580452303, 757893159]
    assert streams.rstate.tolist() == moved
    streams.get_substream_rstates(2, "float32", inc_rstate=False)
    assert streams.rstate.tolist() == moved
    with pytest.raises(ValueError, match="one stream"):
        streams.get_substream_rstates(0, "float32")


def test_jumps_are_powers_of_the_step() -> None:
    first, second = jump(72)
    assert first[0].tolist() == [1516919229, 758510237, 499121365]
    assert second[2].tolist() == [2002613992, 1639496704, 1407477216]
    state = np.array([11, 22, 33, 44, 55, 66], "int32")
    by_steps = state
    for _ in range(16):
        by_steps = jumped(by_steps, jump(0))
    np.testing.assert_array_equal(jumped(state, jump(4)), by_steps)
    many = streams_from(state, 1000)
    np.testing.assert_array_equal(jumped(many[:-1], jump(72)), many[1:])


@pytest.mark.parametrize(
    ("size", "streams"),
    [((3, 4), 2), ((2, 1), 2), ((6,), 6), ((7,), 1), ((), 1), ((500, 784), 15360), ((100, 9), 150)],
)
def test_rule_40_numbers_of_streams(size: tuple[int, ...], streams: int) -> None:
    sample = MRG_RandomStreams(1).uniform(size)
    state = sample.rstate.get_value()
    assert state.shape == (streams, 6) and state.dtype == "int32"
    assert guess_n_streams(size) == streams


def test_rule_40_symbolic_sizes_have_15360_streams() -> None:
    x = T.dmatrix("x")
    streams = MRG_RandomStreams(1)
    for sample in (streams.uniform(x.shape), streams.uniform((x.shape[0], 3))):
        assert sample.rstate.get_value().shape == (15360, 6)
        draw = function([x], sample)
        assert draw(np.zeros((4, 3))).shape == (4, 3)
        assert draw(np.zeros((0, 3))).shape == (0, 3)
    with pytest.warns(UserWarning, match="15360"):
        assert guess_n_streams(x.shape, warn=True) == 15360
    n = T.lvector("n")
    assert streams.uniform(n, ndim=2).ndim == 2
    with pytest.raises(ValueError, match="length of the shape"):
        streams.uniform(n)


@pytest.mark.parametrize(
    ("seed", "error", "words"),
    [
        (0, ValueError, "seed should not be 0"),
        (M2, ValueError, f"seed should be less than {M2}"),
        (-3, ValueError, "seed should be"),
        ([0, 0, 0, 1, 1, 1], ValueError, "first 3 values of seed should not be all 0"),
        ([1, 1, 1, 0, 0, 0], ValueError, "last 3 values of seed should not be all 0"),
        ([M1, 1, 1, 1, 1, 1], ValueError, f"first 3 values of seed should be less than {M1}"),
        ([1, 1, 1, M2, 1, 1], ValueError, f"last 3 values of seed should be less than {M2}"),
        ([1, 2], TypeError, "seed should be 1 integer or 6 integers"),
        ("abcdef", TypeError, "seed should be 1 integer or 6 integers"),
        (2.5, TypeError, "seed should be 1 integer or 6 integers"),
    ],
)
def test_seeds_are_checked(seed: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"{words}(?s:.)*got:(?s:.)*cure:"):
        MRG_RandomStreams(seed)


def test_streams_are_seeded_again() -> None:
    streams = MRG_RandomStreams(9)
    streams.uniform((2,))
    draw = function([], streams.binomial((3, 4), p=0.3, dtype="float32"))
    draw()
    second = [[0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1]]
    assert draw().tolist() == second
    streams.seed(77)
    assert draw().tolist() == [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    streams.seed()
    draw()
    assert draw().tolist() == second
    x = T.dmatrix()
    streams.uniform(x.shape)
    streams.normal((3,))
    streams.seed(5)
    assert MRG_RandomStreams().default_instance_seed == 12345


def test_the_states_of_the_tutorial() -> None:
    """Theano, tutorial/examples: copying random state between graphs."""
    one, other = MRG_RandomStreams(seed=123), MRG_RandomStreams(seed=987)
    f, g = (function([], s.uniform(size=(1,))) for s in (one, other))
    np.testing.assert_allclose([f()[0], g()[0]], [0.23648804, 0.89767236])
    other.rstate = one.rstate
    for mine, theirs in zip(one.state_updates, other.state_updates, strict=True):
        theirs[0].set_value(mine[0].get_value())
    np.testing.assert_allclose([f()[0], g()[0]], [0.23528129, 0.23528129])


def test_updates_are_listed() -> None:
    streams = MRG_RandomStreams(1)
    u = streams.uniform((2, 3))
    ((state, new, size, nstreams),) = streams.updates()
    assert (size, nstreams) == ((2, 3), None)
    assert u.rstate is state and u.update == (state, new) and state.default_update is new
    assert isinstance(state, TensorSharedVariable) and state.tag.is_rng
    twin = pickle.loads(pickle.dumps(state))
    np.testing.assert_array_equal(twin.get_value(), state.get_value())
    f = function([], [u, u * 2])
    first, twice = f()
    np.testing.assert_array_equal(twice, 2 * first)
    assert (f()[0] != first).all()


# ---- other distributions -------------------------------------------------------------------------


def test_other_distributions_follow_theanos() -> None:
    """One after another, as draws of one object begin 2**134 steps apart."""
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    streams = MRG_RandomStreams(seed=[1, 2, 3, 4, 5, 6])
    streams.inc_rstate()
    b = streams.binomial((4,), n=1, p=0.3)
    assert b.dtype == "int64" and drawn(b).tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(
        drawn(streams.normal((5,), dtype="float64")),
        [0.6626234001408655, 0.29201899465652603, 0.06503930808452497, -0.25369263132567593,
         -1.7877950410738446], rtol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(
        drawn(streams.truncated_normal((6,), dtype="float64")),
        [1.02580907281911, -1.0045093481417398, -0.748344032548917, -1.7513763804782452,
         2.0850360222412703, 1.1766052739540513], rtol=1e-12,
    )  # fmt: skip
    assert [s[0].get_value().shape for s in streams.state_updates] == [(4, 6)] + [(15360, 6)] * 3
    assert drawn(streams.multinomial(pvals=p)).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert drawn(streams.multinomial(pvals=p, n=10)).tolist() == [[1, 1, 8], [5, 2, 3]]
    c = streams.choice(size=2, replace=False, p=p)
    assert c.dtype == "int64" and drawn(c).tolist() == [[2, 0], [1, 0]]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", [[2, 0, 1], [0, 2, 1], [2, 0, 1]]),
        ("float64", [[0, 2, 1], [1, 2, 0], [1, 2, 0]]),
    ],
)
def test_choice_leaves_out_what_was_chosen(dtype: str, expected: Any) -> None:
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25], [0.3, 0.3, 0.4]], dtype)
    streams = MRG_RandomStreams(12345)
    for _ in range(2 if dtype == "float32" else 3):
        streams.inc_rstate()
    assert drawn(streams.choice(size=3, replace=False, p=p)).tolist() == expected
    with pytest.warns(DeprecationWarning, match="use choice"):
        again = streams.multinomial_wo_replacement(n=3, pvals=p)
    assert np.sort(drawn(again)).tolist() == [[0, 1, 2]] * 3
    k = T.lscalar("k")
    draw = function([k], streams.choice(size=k, replace=False, p=p))
    assert draw(1).shape == (3, 1)
    with pytest.raises(ValueError, match="without replacement n samples bigger"):
        draw(4)


def test_what_theano_does_not_draw() -> None:
    """Several trials, and choice with replacement."""
    streams = MRG_RandomStreams(2)
    b = drawn(streams.binomial((40000,), n=5, p=0.3))
    assert b.dtype == "int64" and set(np.unique(b)) == set(range(6))
    assert abs(b.mean() - 1.5) < 0.02
    p = T.dvector("p")
    draw = function([p], streams.binomial(p.shape, n=3, p=p, dtype="float32"))
    assert draw(np.array([0.0, 1.0])).tolist() == [0, 3]
    assert drawn(streams.binomial((2,), p=np.array([-0.5, 1.5]))).tolist() == [0, 1]
    c = drawn(streams.choice(size=40000, p=np.array([[0.1, 0.2, 0.7]])))
    np.testing.assert_allclose(np.bincount(c[0]) / 40000, [0.1, 0.2, 0.7], atol=0.01)


def test_normal_sizes() -> None:
    streams, k, v = MRG_RandomStreams(2), T.lscalar("k"), T.lvector("v")
    for size, shape in (([2, 3], (2, 3)), (4, (4,)), (np.int64(5), (5,)), ((1, 3), (1, 3))):
        assert drawn(streams.normal(size)).shape == shape
    assert function([k], streams.normal(k))(3).shape == (3,)
    assert function([k], streams.normal((k, 2)))(3).shape == (3, 2)
    assert function([v], streams.normal(v, ndim=2))(np.array([3, 2])).shape == (3, 2)
    t = drawn(streams.normal((10001,), truncate=True))
    assert t.shape == (10001,) and abs(t).max() <= 2 and abs(t.std() - 0.8796) < 0.02


def test_in_a_scan() -> None:
    """Each step draws what as many calls would."""
    mask = MRG_RandomStreams(4).binomial((5,), p=0.5)
    rows, updates = symgraph.scan(lambda: mask, n_steps=6)
    alone = MRG_RandomStreams(4).binomial((5,), p=0.5)
    draw = function([], alone)
    np.testing.assert_array_equal(function([], rows, updates=updates)(), [draw() for _ in range(6)])


def test_rule_40_no_gradient_by_parameters() -> None:
    p, w, q = T.dscalar("p"), T.dvector("w"), T.dmatrix("q")
    streams = MRG_RandomStreams(1)
    for sample in (
        streams.binomial((2,), p=p),
        streams.uniform((2,), high=p),
        streams.normal((2,), avg=p),
        streams.normal((2,), std=p),
        streams.truncated_normal((2,), avg=p),
    ):
        with pytest.raises(symgraph.NullTypeGradError):
            symgraph.grad((sample * w).sum() * p, p)
    for sample in (streams.multinomial(pvals=q), streams.choice(2, p=q, replace=False)):
        with pytest.raises(symgraph.NullTypeGradError):
            symgraph.grad((sample * q[:, :1]).sum(), q)
    mask = streams.binomial((3,), p=0.5, dtype="float64")
    f = function([w], [mask, symgraph.grad((mask * w**2).sum(), w)])
    found, slope = f(np.arange(3.0))
    np.testing.assert_array_equal(slope, 2 * np.arange(3) * found)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda s: s.uniform((0, 3)), ValueError, "dimension with value <= 0"),
        (lambda s: s.uniform((2, -1)), ValueError, "dimension with value <= 0"),
        (lambda s: s.uniform([2, 3]), TypeError, "size must be a tuple of int"),
        (lambda s: s.uniform(5), TypeError, "size must be a tuple of int"),
        (lambda s: s.uniform((2.5,)), AssertionError, "size must be a tuple of int"),
        (lambda s: s.uniform((1, 3), low=T.dmatrix()), NotImplementedError, "Increase|increase"),
        (lambda s: s.uniform((2,), bogus=1), TypeError, "bogus"),
        (lambda s: s.binomial((2,), n=T.lscalar()), NotImplementedError, "n is an int"),
        (lambda s: s.multinomial(size=(2,), pvals=[[0.5, 0.5]]), ValueError, "size is not used"),
        (lambda s: s.multinomial(ndim=2, pvals=[[0.5, 0.5]]), ValueError, "ndim is not used"),
        (lambda s: s.multinomial(pvals=[0.5, 0.5]), NotImplementedError, "a matrix"),
        (lambda s: s.multinomial(), TypeError, "have to specify"),
        (lambda s: s.choice(a=3, p=[[0.5, 0.5]]), TypeError, "a has to be None"),
        (lambda s: s.choice(replace=False), TypeError, "have to specify"),
        (lambda s: s.uniform((2,), nstreams=0), ValueError, "nstreams=0"),
        (
            lambda s: s.uniform((2,), nstreams=2.5),
            TypeError,
            r"nstreams=2\.5\n(.|\n)*an int from 1",
        ),
        (lambda s: s.uniform((2,), nstreams=True), TypeError, "nstreams=True"),
        (lambda s: s.uniform((1, 3), low=T.dmatrix()), NotImplementedError, "increase the size"),
        (lambda s: s.normal((0,)), ValueError, "dimension with value <= 0"),
        (lambda s: s.normal("abc"), ValueError, "size is an int"),
        (lambda s: s.normal((T.lvector(), 2)), ValueError, "size is an int"),
    ],
)
def test_what_is_refused(build: Any, error: type[Exception], words: str) -> None:
    streams = MRG_RandomStreams(1)
    with pytest.raises(error, match=words):
        build(streams)
    assert streams.updates() == []
    np.testing.assert_array_equal(streams.rstate, MRG_RandomStreams(1).rstate)


def test_states_of_another_shape_are_refused() -> None:
    sample = MRG_RandomStreams(1).uniform((2, 3))
    draw = function([], sample)
    sample.rstate.set_value(np.ones((3, 5), "int32"))
    with pytest.raises(ValueError, match="no state of the generator"):
        draw()
    sample.rstate.set_value(np.ones((0, 6), "int32"))
    with pytest.raises(ValueError, match="of one stream at least"):
        draw()
