"""`shared_randomstreams.RandomStreams`: the numbers of NumPy's RandomState, as Theano gave them.

Numbers in lists are facts recorded from Theano 1.0.5.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import function
from symgraph.ops.random_mersenne import MersenneDraw
from symgraph.random_state import RandomStateSharedVariable, pack, unpack
from symgraph.tensor import raw_random
from symgraph.tensor.shared_randomstreams import RandomStreams

Facts = list[Any]


def values(sample: Any, calls: int = 1) -> Facts:
    draw = function([], sample)
    found: Facts = [draw().tolist() for _ in range(calls)]
    return found if calls > 1 else found[0]


# ---- values --------------------------------------------------------------------------------------

ORDER: list[tuple[Any, str, Facts, Facts]] = [
    (lambda s: s.uniform((2, 2)), "float64",
     [[0.12672381400898758, 0.9709159656786431], [0.13989097862581312, 0.887548254199325]],
     [[0.3197141503373775, 0.47584376667160355], [0.24129163169315337, 0.4204608139408894]]),
    (lambda s: s.normal((3,)), "float64",
     [0.3732844727674915, -0.6574667187293483, -0.3630237287579288],
     [-0.9748462455013606, -1.8352089147235817, -0.6101067611321291]),
    (lambda s: s.normal((3,), avg=1.5, std=0.5), "float64",
     [1.3310217155846797, 1.1010160407367988, 0.8834848213600225],
     [1.3878012002110038, 2.0699442414166054, 1.664017894699086]),
    (lambda s: s.binomial((5,), p=0.3), "int64", [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    (lambda s: s.binomial((5,), n=7, p=0.3), "int64", [2, 6, 3, 0, 3], [3, 1, 3, 2, 1]),
    (lambda s: s.binomial(n=1, p=np.array([0.1, 0.5, 0.9])), "int64", [0, 0, 1], [1, 0, 1]),
    (lambda s: s.random_integers((5,), 3, 17), "int64", [8, 3, 8, 7, 5], [7, 9, 12, 17, 10]),
    (lambda s: s.random_integers(low=np.array([0, 10]), high=np.array([5, 1000])), "int64",
     [1, 54], [5, 719]),
    (lambda s: s.choice((5,), a=10), "int64", [4, 6, 1, 1, 5], [6, 6, 5, 0, 4]),
    (lambda s: s.choice((3,), a=4, replace=False), "int64", [3, 0, 2], [0, 2, 3]),
    (lambda s: s.choice((4,), a=3, p=[0.1, 0.2, 0.7]), "int64", [2, 2, 2, 2], [2, 1, 2, 2]),
    (lambda s: s.choice((4,), a=np.array([10, 20, 30])), "int64",
     [20, 30, 20, 20], [10, 20, 30, 10]),
    (lambda s: s.poisson((4,), lam=3.5), "int64", [8, 3, 7, 2], [3, 3, 3, 6]),
    (lambda s: s.permutation(n=6), "int64", [5, 3, 1, 0, 2, 4], [2, 4, 0, 1, 3, 5]),
    (lambda s: s.permutation((2,), n=4), "int64",
     [[1, 3, 0, 2], [1, 2, 3, 0]], [[2, 1, 0, 3], [2, 0, 3, 1]]),
    (lambda s: s.multinomial((3,), n=10, pvals=[0.2, 0.3, 0.5]), "int64",
     [[3, 2, 5], [5, 0, 5], [3, 4, 3]], [[1, 2, 7], [2, 3, 5], [5, 2, 3]]),
    (lambda s: s.multinomial(n=1, pvals=np.array([[0.2, 0.8], [0.6, 0.4]])), "int64",
     [[0, 1], [0, 1]], [[0, 1], [0, 1]]),
    (lambda s: s.multinomial((10, 1), n=1, pvals=np.array([[0.2, 0.8]])), "int64",
     [[[1, 0]]] * 3 + [[[0, 1]]] * 7, [[[0, 1]]] * 5 + [[[1, 0]]] + [[[0, 1]]] * 4),
    (lambda s: s.shuffle_row_elements(np.arange(12).reshape(3, 4)), "int64",
     [[2, 1, 0, 3], [6, 7, 5, 4], [10, 8, 11, 9]], [[0, 1, 2, 3], [5, 6, 4, 7], [10, 9, 11, 8]]),
]  # fmt: skip
"""Draws of RandomStreams(234), in this order, and what two calls of each gave."""


def test_rule_40_draws_are_theanos() -> None:
    streams = RandomStreams(seed=234)
    for build, dtype, first, second in ORDER:
        # between them Theano was asked for draws that it refused, which cost a seed
        if first == [8, 3, 7, 2] or first == [5, 3, 1, 0, 2, 4]:
            streams.gen_seedgen.randint(2**30)
        sample = build(streams)
        assert sample.dtype == dtype
        assert values(sample, 2) == [first, second]


def test_the_states_of_the_tutorial() -> None:
    """Theano, tutorial/examples: copying random state between graphs."""
    one, other = RandomStreams(seed=123), RandomStreams(seed=987)
    f, g = (function([], s.uniform(size=(1,))) for s in (one, other))
    np.testing.assert_allclose([f()[0], g()[0]], [0.72803009, 0.55056769])
    for mine, theirs in zip(one.state_updates, other.state_updates, strict=True):
        theirs[0].set_value(mine[0].get_value())
    np.testing.assert_allclose([f()[0], g()[0]], [0.59044123, 0.59044123])


def test_the_example_of_the_tutorial() -> None:
    """Theano, tutorial/examples: using random numbers."""
    streams = RandomStreams(seed=234)
    u, n = streams.uniform((2, 2)), streams.normal((2, 2))
    f, g = function([], u), function([], n, no_default_updates=True)
    nearly_zeros = function([], u + u - 2 * u)
    assert (f() != f()).all()
    assert (g() == g()).all()
    before = u.rng.get_value()
    assert (nearly_zeros() == 0).all()
    assert not same(before, u.rng.get_value())  # it shares the stream with f

    state = u.rng.get_value(borrow=True)
    state.seed(89234)
    u.rng.set_value(state, borrow=True)
    assert f().tolist() == [
        [0.28439104826995065, 0.5055214080650566], [0.0021596108670541847, 0.9814496331453434]
    ]  # fmt: skip
    streams.seed(902340)
    assert f().tolist() == [
        [0.33919835277152444, 0.8534487758536424], [0.14881562020223282, 0.7965941342086273]
    ]  # fmt: skip
    assert g().tolist() == [
        [1.1442008240114772, -1.6324488253206124], [-0.4399053827934302, 1.1156434138246334]
    ]  # fmt: skip


def same(a: np.random.RandomState, b: np.random.RandomState) -> bool:
    return bool((pack(a) == pack(b)).all())


def test_long_draws_go_on_where_numpy_goes_on() -> None:
    """Through several turns of the key, odd counts, and a normal number that is kept."""
    numpy_state = np.random.RandomState(3)
    state = symgraph.shared(numpy_state)
    after, u = raw_random.uniform(state, (10001,))
    after, n = raw_random.normal(after, (5001,), avg=0.3, std=1.7)
    after, v = raw_random.uniform(after, (7,), low=-1.3, high=2.7)
    draw = function([], [u, n, v], updates=[(state, after)])
    for _ in range(3):
        found = draw()
        np.testing.assert_array_equal(found[0], numpy_state.random_sample(10001))
        np.testing.assert_array_equal(found[1], numpy_state.normal(0.3, 1.7, 5001))
        np.testing.assert_array_equal(found[2], numpy_state.uniform(-1.3, 2.7, 7))
        assert same(state.get_value(), numpy_state)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.7, 1.0])
def test_binomial_numbers_of_one_trial(p: float) -> None:
    streams = RandomStreams(5)
    x = T.fscalar("x")
    draw = function([x], streams.binomial((3, 500), p=x, dtype="float32"))
    seed = int(np.random.RandomState(5).randint(2**30))
    expected = np.random.RandomState(seed).binomial(1, np.float32(p), (3, 500))
    np.testing.assert_array_equal(draw(np.float32(p)), expected)


def test_a_mask_within_a_scan() -> None:
    """Theano, tutorial/loop: dropout drawn in each step, with seed 1234."""
    x, w, b = T.dmatrix("x"), T.dmatrix("w"), T.dvector("b")
    mask = RandomStreams(1234).binomial(size=w[1].shape, p=0.5)
    rows, updates = symgraph.scan(lambda v: T.tanh(T.dot(v, w) + b) * mask, sequences=x)
    f = function([x, w, b], rows, updates=updates)
    found = f(np.eye(10, 2), np.ones((2, 2)), np.ones(2))
    kept = [(1, 0), (0, 1), (0, 0), (1, 1), (1, 0), (0, 1), (0, 1), (0, 1), (0, 0), (1, 1)]
    np.testing.assert_array_equal(found != 0, np.array(kept) == 1)


# ---- streams, states and updates -----------------------------------------------------------------


def test_rule_40_a_draw_is_made_once_in_a_call() -> None:
    streams = RandomStreams(1)
    u, v = streams.uniform((3,)), streams.uniform((3,))
    first, twice, other = function([], [u, u * 2, v])()
    np.testing.assert_array_equal(twice, 2 * first)
    assert (first != other).all()


def test_floatx_and_dtypes() -> None:
    with symgraph.config.change_flags(floatX="float32"):
        streams = RandomStreams(1)
        assert streams.uniform((2,)).dtype == streams.normal((2,)).dtype == "float32"
        assert streams.uniform((2,), low=np.zeros(2)).dtype == "float64"
        assert streams.binomial((2,)).dtype == "int64"
        assert streams.binomial((2,), dtype="floatX").dtype == "float32"
        sample = streams.uniform((1000,), low=-1, high=1)
    seed = np.random.RandomState(1)
    for _ in range(5):
        seed.randint(2**30)
    expected = np.random.RandomState(int(seed.randint(2**30))).uniform(-1, 1, 1000)
    np.testing.assert_array_equal(values(sample), expected.astype("float32"))


def test_sizes() -> None:
    streams, x = RandomStreams(1), T.dmatrix("x")
    n = T.lvector("n")
    for sample, rows, pattern in [
        (streams.uniform(x.shape), 4, (False, False)),
        (streams.uniform((x.shape[0], 3)), 4, (False, False)),
        (streams.uniform((-1, 3), low=x), 4, (False, False)),
        (streams.uniform((1, 3)), 1, (True, False)),
        (streams.binomial((1, 3)), 1, (False, False)),
        (streams.uniform(low=x), 4, (False, False)),
        (streams.uniform([4, 3]), 4, (False, False)),
        (streams.uniform(n, ndim=2), 4, (False, False)),
        (streams.poisson(lam=abs(x)), 4, (False, False)),
    ]:
        assert sample.broadcastable == pattern
        f = function([x, n], sample, on_unused_input="ignore")
        assert f(np.zeros((4, 3)), np.array([4, 3])).shape == (rows, 3)
    assert streams.uniform().ndim == streams.choice(a=3).ndim == 0
    f = function([n], streams.uniform(n, ndim=2))
    for shape in ((0, 3), (2, 0), (700, 1)):
        assert f(np.array(shape)).shape == shape
    with pytest.raises(ValueError, match="negative dimensions"):
        f(np.array([-1, 2]))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda s: s.uniform((2, 3), ndim=3), ValueError, "ndim should be equal to len"),
        (lambda s: s.uniform(T.lvector()), ValueError, "length of the shape is not known"),
        (lambda s: s.uniform((3,), low=T.dmatrix()), ValueError, "fewer than its parameters"),
        (lambda s: s.uniform((-1,)), ValueError, "none reaches there"),
        (lambda s: s.uniform((2.5,)), TypeError, "integer"),
        (lambda s: s.choice((2,), a=T.dmatrix()), ValueError, "a number or a vector"),
        (lambda s: s.permutation(ndim=2), TypeError, "ndim=2"),
        (lambda s: s.binomial((2,), p=-0.5), ValueError, "p < 0, p > 1 or p is NaN"),
        (lambda s: s.binomial((2,), p=np.nan), ValueError, "p < 0, p > 1 or p is NaN"),
        (lambda s: s.shuffle_row_elements(T.dscalar()), TypeError, "at least a vector"),
    ],
)
def test_what_is_refused(build: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build(RandomStreams(1))


def test_prob_is_the_old_name_of_p() -> None:
    with pytest.warns(DeprecationWarning, match="prob is called p"):
        old = RandomStreams(1).binomial((50,), prob=0.3)
    assert values(old) == values(RandomStreams(1).binomial((50,), p=0.3))


def test_errors_of_numpy_name_the_draw_and_its_line() -> None:
    p = T.dscalar("p")
    sample = RandomStreams(1).binomial((2,), n=3, p=p)
    with pytest.raises(ValueError, match=r"p > 1(?s:.)*test_random.py"):
        function([p], sample)(2.0)


def test_rule_40_no_gradient_by_parameters() -> None:
    p, w = T.dscalar("p"), T.dvector("w")
    for sample in (
        RandomStreams(1).normal((2,), avg=p),
        RandomStreams(1).uniform((2,), high=p),
        RandomStreams(1).binomial((2,), p=p),
        RandomStreams(1).binomial((2,), n=4, p=p),
    ):
        with pytest.raises(symgraph.NullTypeGradError):
            symgraph.grad((sample * w).sum() * p, p)
    mask = RandomStreams(1).binomial((3,), p=0.5, dtype="float64")
    f = function([w], [mask, symgraph.grad((mask * w**2).sum(), w)])
    drawn, slope = f(np.arange(3.0))
    np.testing.assert_array_equal(slope, 2 * np.arange(3) * drawn)


def test_a_shared_state_gives_and_takes_random_states() -> None:
    numpy_state = np.random.RandomState(7)
    state = symgraph.shared(numpy_state, name="s")
    assert isinstance(state, RandomStateSharedVariable) and state.name == "s"
    found = state.get_value(borrow=True)
    assert isinstance(found, np.random.RandomState) and same(found, numpy_state)
    found.rand(3)
    assert same(state.get_value(), numpy_state)  # a copy: what was drawn counts when given back
    state.set_value(found)
    assert not same(state.get_value(), numpy_state)
    array = state.get_value(return_internal_type=True)
    assert array.dtype == "uint32" and array.shape == (628,)
    state.set_value(pack(numpy_state))
    assert same(state.get_value(), numpy_state)
    for wrong, error in ((np.zeros(5, "uint32"), ValueError), ("seed", TypeError)):
        with pytest.raises(error):
            state.set_value(wrong)
    with pytest.raises(TypeError, match="Mersenne"):
        state.set_value(np.random.RandomState(np.random.PCG64(1)))
    assert same(state.get_value(), numpy_state)


def test_a_state_keeps_the_second_normal_number() -> None:
    numpy_state = np.random.RandomState(8)
    numpy_state.normal()
    again = unpack(pack(numpy_state))
    assert again.normal() == numpy_state.normal()
    assert again.normal() == numpy_state.normal()


def test_streams_are_seeded_again() -> None:
    streams = RandomStreams(seed=234)
    draws = function([], [streams.uniform((2,)), streams.normal((2,))])
    first, second = draws(), draws()
    streams.seed(7)
    other = draws()
    assert other[0].tolist() == [0.055749463523702913, 0.5019673520362743]
    assert other[1].tolist() == [-1.3146578069068626, -1.9343606749476512]
    streams.seed()
    for found, expected in zip([*draws(), *draws()], [*first, *second], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert streams.default_instance_seed == 234
    assert RandomStreams().default_instance_seed is None


def test_updates_are_listed() -> None:
    streams = RandomStreams(1)
    u = streams.uniform((2,))
    assert streams.updates() == streams.state_updates == [u.update]
    assert u.update[0] is u.rng and u.rng.default_update is u.update[1]
    f = function([], u, updates=streams.updates())
    assert (f() != f()).all()
    assert same(streams[u.rng], u.rng.get_value())
    streams[u.rng] = np.random.RandomState(4)
    assert f().tolist() == np.random.RandomState(4).rand(2).tolist()


def test_a_failing_call_draws_nothing() -> None:
    streams, k = RandomStreams(1), T.lscalar("k")
    u = streams.uniform((3,))
    f = function([k], u[T.stack([k])])
    before = u.rng.get_value()
    with pytest.raises(IndexError):
        f(5)
    assert same(u.rng.get_value(), before)


def test_states_are_pickled_and_copied() -> None:
    u = RandomStreams(1).uniform((3,))
    for twin in (pickle.loads(pickle.dumps(u.rng)), copy.deepcopy(u.rng)):
        assert isinstance(twin, RandomStateSharedVariable)
        assert same(twin.get_value(), u.rng.get_value())


def test_equal_draws_of_one_state_are_one() -> None:
    state = symgraph.shared(np.random.RandomState(1))
    (_, a), (_, b) = (raw_random.uniform(state, (3,)) for _ in range(2))
    f = function([], [a, b])
    nodes = [n for k in f.kernels() for n in k.nodes if isinstance(n.op, MersenneDraw)]
    assert len(nodes) == 1
    first, second = f()
    np.testing.assert_array_equal(first, second)
