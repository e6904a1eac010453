"""`tensor.random.RandomStreams`: Philox4x32-10, its numbers, and what kernels make of them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import function
from symgraph.compile.pipeline import Options
from symgraph.ops import philox
from symgraph.ops.random_philox import PhiloxDraw, key_of
from symgraph.tensor.random import RandomStreams


def values(sample: Any) -> Any:
    return function([], sample)()


# ---- the generator -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_known_answers(counter: str, key: str, expected: str) -> None:
    """The vectors that its authors published with the Random123 library."""
    c, k = ([int(word, 16) for word in words.split()] for words in (counter, key))

    def joined(low: int, high: int) -> np.ndarray:
        return np.array([low | high << 32], "uint64").view("int64")

    with np.errstate(over="ignore"):
        block = philox.words(joined(*k), joined(*c[2:]), joined(*c[:2]))
    assert " ".join(f"{int(word[0]):08x}" for word in block) == expected


def test_normal_numbers_are_box_mullers() -> None:
    index = np.arange(20000)
    with np.errstate(over="ignore"):
        x = philox.words(np.array([3]), np.array([9]), index)
    u = ((x[0] << 21 | x[1] >> 11) + 1) * 2.0**-53
    v = (x[2] << 21 | x[3] >> 11) * 2.0**-53
    expected = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
    np.testing.assert_allclose(philox.draw("normal", "float64", 3, 9, index), expected, atol=1e-14)
    u, v = (x[0] >> 1) * 2.0**-31 + 2.0**-32, (x[1] >> 8) * 2.0**-24
    expected = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
    np.testing.assert_allclose(philox.draw("normal", "float32", 3, 9, index), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float16", 11), ("float32", 24), ("float64", 53)]
)  # fmt: skip
def test_uniform_numbers_are_the_top_bits(dtype: str, bits: int) -> None:
    found = philox.draw("uniform", dtype, 1, 2, np.arange(100000)).astype("float64")
    assert (found * 2.0**bits % 1 == 0).all() and found.min() >= 0
    assert (found < 1).all() and (found.astype(dtype) < 1).all()
    with np.errstate(over="ignore"):
        (x0, *_) = philox.words(np.array([1]), np.array([2]), np.arange(100000))
    np.testing.assert_allclose(found, x0 * 2.0**-32, atol=2.0**-bits + 2.0**-32)


def moments(x: np.ndarray) -> list[float]:
    x = x.astype("float64")
    x = (x - x.mean()) / x.std()
    return [float((x**k).mean()) for k in (3, 4)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments(dtype: str) -> None:
    streams, n = RandomStreams(1), 400000
    u = values(streams.uniform((n,), dtype=dtype))
    assert abs(u.mean() - 0.5) < 0.002 and abs(u.var() * 12 - 1) < 0.005
    np.testing.assert_allclose(moments(u), [0, 1.8], atol=0.01)
    z = values(streams.normal((n,), avg=-1, std=2, dtype=dtype))
    assert abs(z.mean() + 1) < 0.01 and abs(z.std() - 2) < 0.01
    np.testing.assert_allclose(moments(z), [0, 3], atol=0.04)
    counts = np.histogram(u, 64, (0, 1))[0]
    assert ((counts - n / 64) ** 2 / (n / 64)).sum() < 110  # chi-squared of 63 degrees: p = 0.0002
    pairs = np.corrcoef(u[:-1], u[1:])[0, 1], np.corrcoef(u, z)[0, 1]
    assert max(map(abs, pairs)) < 0.006


# ---- kernels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_bits_are_the_same_everywhere(distribution: str, dtype: str) -> None:
    """In the oracle, compiled alone and fused, interpreted, unoptimised."""
    state, x = symgraph.shared(np.array([2**60 + 7, 5])), T.dmatrix("x")
    sample = PhiloxDraw(dtype, (False, False), distribution)(state, 3, 11)
    index = np.arange(33).reshape(3, 11)
    expected = philox.draw(distribution, dtype, 2**60 + 7, 5, index).reshape(3, 11).astype(dtype)
    fused = T.switch(x > 0, T.cast(sample, "float64"), T.exp(x * sample))
    for mode in (None, "FAST_COMPILE", Options(target="python")):
        np.testing.assert_array_equal(function([], sample, mode=mode)(), expected)
        np.testing.assert_array_equal(function([x], fused, mode=mode)(np.ones((3, 11))), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaling_rounds_twice_everywhere(dtype: str) -> None:
    """No kernel contracts std * z + avg to one rounding, whatever it computes beside."""
    std, avg, x = T.TensorType(dtype, ())("std"), T.TensorType(dtype, ())("avg"), T.dvector("x")
    sample = RandomStreams(3).normal((999,), avg, std, dtype=dtype)
    key = sample.rng.get_value()[0]
    z = philox.draw("normal", dtype, key, 0, np.arange(999))
    numbers = np.array([1.7, 0.3], dtype)
    expected = z * numbers[0] + numbers[1]
    for out, args in ((sample, ()), (sample.astype("float64") + x, (np.zeros(999),))):
        inputs = [std, avg, x][: 2 + len(args)]
        draw = function(inputs, out, no_default_updates=True)
        np.testing.assert_array_equal(draw(*numbers, *args), expected)


def test_a_mask_needs_no_memory() -> None:
    """Forward and backward both compute it; no kernel stores it."""
    w, x = symgraph.shared(np.ones(50, "float32"), name="w"), T.fmatrix("x")
    mask = RandomStreams(1).binomial(x.shape, p=0.5, dtype="float32")
    hidden = T.tanh(x * w) * mask
    cost = (hidden**2).sum()
    train = function([x], cost, updates=[(w, w - np.float32(0.1) * symgraph.grad(cost, w))])
    drawing = [k for k in train.kernels() if any(isinstance(n.op, PhiloxDraw) for n in k.nodes)]
    assert len(drawing) == 2
    stored = [v for v in train._compiled.plan.temporaries if v.ndim == 2]
    assert sorted(v.owner.op.scalar_op.name for v in stored) == ["mul", "tanh"]
    before = w.get_value()
    data = np.random.RandomState(0).rand(20, 50).astype("float32")
    drawn = function([x], mask, no_default_updates=True)(data)
    found = train(data)
    h = np.tanh(data * before) * drawn
    np.testing.assert_allclose(found, (h**2).sum(), rtol=1e-5)
    slope = (2 * h * drawn * (1 - np.tanh(data * before) ** 2) * data).sum(0)
    np.testing.assert_allclose(w.get_value(), before - 0.1 * slope, rtol=1e-4)


def test_in_a_scan() -> None:
    """Each step draws what as many calls would."""
    streams = RandomStreams(4)
    mask, noise = streams.binomial((5,), p=0.5), streams.normal((5,))
    rows, updates = symgraph.scan(lambda: mask * noise, n_steps=6)
    twin = RandomStreams(4)
    draw = function([], twin.binomial((5,), p=0.5) * twin.normal((5,)))
    looped = function([], rows, updates=updates)
    for _ in range(2):
        np.testing.assert_array_equal(looped(), [draw() for _ in range(6)])


# ---- streams -------------------------------------------------------------------------------------


def test_states_are_a_key_and_a_count() -> None:
    streams = RandomStreams(seed=7)
    u, v = streams.uniform((4,)), streams.uniform((4,))
    keys = [key_of(7, 0), key_of(7, 1)]
    assert [s.rng.get_value().tolist() for s in (u, v)] == [[k, 0] for k in keys]
    draw = function([], [u, u * 2, v])
    first, twice, other = draw()
    np.testing.assert_array_equal(twice, 2 * first)
    assert (first != other).all() and (draw()[0] != first).all()
    assert u.rng.get_value().tolist() == [keys[0], 2]
    assert streams.updates() == [u.update, v.update]
    frozen = function([], u, no_default_updates=True)
    np.testing.assert_array_equal(frozen(), frozen())


def test_seeds() -> None:
    def of(seed: Any) -> list[float]:
        found: list[float] = values(RandomStreams(seed).uniform((3,))).tolist()
        return found

    assert of(5) == of(np.int32(5)) != of(6)
    assert of(-1) == of(2**64 - 1) != of(1)
    assert of(None) != of(None)
    for wrong, error in ((2**64, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="seed"):
            RandomStreams(wrong)  # type: ignore[arg-type]
    streams = RandomStreams(5)
    draw = function([], [streams.uniform((3,)), streams.normal((3,))])
    first = draw()
    draw()
    streams.seed()
    np.testing.assert_array_equal(draw(), first)
    streams.seed(6)
    assert draw()[0].tolist() == of(6)


def test_keys_of_streams_differ() -> None:
    keys = {key_of(seed, stream) for seed in range(50) for stream in range(50)}
    assert len(keys) == 2500


def test_a_failing_call_draws_nothing_and_states_pickle() -> None:
    k = T.lscalar("k")
    u = RandomStreams(1).uniform((3,))
    with pytest.raises(IndexError):
        function([k], u[T.stack([k])])(5)
    assert u.rng.get_value()[1] == 0
    assert pickle.loads(pickle.dumps(u.rng)).get_value().tolist() == u.rng.get_value().tolist()


# ---- distributions -------------------------------------------------------------------------------


def test_sizes_and_dtypes() -> None:
    streams, x, n = RandomStreams(1), T.fmatrix("x"), T.lvector("n")
    for sample, shape, dtype in [
        (streams.uniform((4, 3)), (4, 3), "float64"),
        (streams.uniform(5), (5,), "float64"),
        (streams.uniform([2, x.shape[1]], dtype="float32"), (2, 3), "float32"),
        (streams.normal(x.shape, avg=x), (4, 3), "float64"),
        (streams.normal(avg=x, std=T.zeros((3,))), (4, 3), "float64"),
        (streams.normal(n, ndim=2, dtype="float16"), (4, 3), "float16"),
        (streams.uniform(()), (), "float64"),
        (streams.binomial(p=x), (4, 3), "int64"),
        (streams.binomial(x.shape, n=3, p=0.2, dtype="int8"), (4, 3), "int8"),
        (streams.uniform((1, 3)), (1, 3), "float64"),
        (streams.uniform((0, 3)), (0, 3), "float64"),
    ]:
        draw = function([x, n], sample, on_unused_input="ignore")
        found = draw(np.ones((4, 3), "float32"), np.array([4, 3]))
        assert found.shape == shape and found.dtype == sample.dtype == dtype
    with symgraph.config.change_flags(floatX="float32"):
        assert streams.uniform((2,)).dtype == streams.normal((2,)).dtype == "float32"
    assert streams.uniform((1, 3)).broadcastable == (True, False)


def test_gradients_by_what_moves_and_scales() -> None:
    avg, std, low = T.dvector("avg"), T.dscalar("std"), T.dscalar("low")
    streams = RandomStreams(2)
    z = streams.normal((3,), avg, std)
    f = function([avg, std], [z, *symgraph.grad((z**2).sum(), [avg, std])])
    drawn, by_avg, by_std = f(np.arange(3.0), 2.0)
    np.testing.assert_allclose(by_avg, 2 * drawn)
    np.testing.assert_allclose(by_std, (2 * drawn * (drawn - np.arange(3)) / 2).sum())
    u = streams.uniform((3,), low, 4.0)
    f = function([low], [u, symgraph.grad(u.sum(), low)])
    drawn, slope = f(1.0)
    np.testing.assert_allclose(slope, (1 - (drawn - 1) / 3).sum())
    p = T.dscalar("p")
    for sample in (streams.binomial((3,), p=p), streams.multinomial(pvals=T.stack([p, 1 - p]))):
        with pytest.raises(symgraph.NullTypeGradError):
            symgraph.grad((sample * p).sum(), p)


def test_uniform_bounds() -> None:
    u = values(RandomStreams(1).uniform((10000,), low=-3, high=np.float32(5), dtype="float32"))
    assert u.min() >= -3 and u.max() < 5 and u.dtype == "float32"
    assert abs(u.mean() - 1) < 0.1


def test_truncated_normal() -> None:
    streams, n = RandomStreams(1), 100000
    t = values(streams.normal((n,), avg=1, std=0.5, truncate=True))
    assert abs(t - 1).max() <= 1 and abs(t.std() - 0.5 * 0.87963) < 0.003
    t = values(streams.truncated_normal((n,), avg=1, std=0.5, dtype="float32"))
    assert abs(t.mean() - 1) < 0.005 and abs(t.std() - 0.5) < 0.003


def test_binomial() -> None:
    streams, p = RandomStreams(1), np.array([0.0, 0.25, 1.0])
    b = values(streams.binomial((20000, 3), p=p))
    np.testing.assert_allclose(b.mean(0), p, atol=0.01)
    b = values(streams.binomial((20000,), n=6, p=0.25, dtype="float32"))
    assert b.dtype == "float32" and abs(b.mean() - 1.5) < 0.03 and abs(b.var() - 1.125) < 0.03
    q = T.dvector("q")
    for n in (1, 3):
        draw = function([q], streams.binomial(n=n, p=q))
        assert draw(np.array([-0.5, 1.5, np.nan])).tolist() == [0, n, 0]


def test_multinomial() -> None:
    streams, k = RandomStreams(1), T.lscalar("k")
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.0, 0.5]])
    c = values(streams.multinomial(n=10000, pvals=p))
    assert c.sum(1).tolist() == [10000, 10000] and c[1, 1] == 0
    np.testing.assert_allclose(c / 10000, p, atol=0.02)
    one = function([k], streams.multinomial((4, 5), n=k, pvals=p[0], dtype="float32"))(1)
    assert one.shape == (4, 5, 3) and one.dtype == "float32" and (one.sum(-1) == 1).all()


def test_choice() -> None:
    streams = RandomStreams(1)
    c = values(streams.choice((2, 5000), a=5))
    assert c.shape == (2, 5000) and set(c.ravel()) == set(range(5))
    np.testing.assert_allclose(np.bincount(c.ravel()) / 10000, 0.2, atol=0.02)
    items = np.array([1.5, 2.5, 3.5])
    assert set(values(streams.choice(100, a=items))) == set(items)
    assert sorted(values(streams.choice(3, a=items, replace=False))) == items.tolist()
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.0, 0.5]])
    c = values(streams.choice(20000, p=p, dtype="int32"))
    assert c.dtype == "int32" and c.shape == (2, 20000)
    found = [np.bincount(row, minlength=3) / 20000 for row in c]
    np.testing.assert_allclose(found, p, atol=0.015)


def test_choice_without_replacement() -> None:
    streams, k = RandomStreams(1), T.lscalar("k")
    p = np.tile([0.1, 0.2, 0.7], (20000, 1))
    c = values(streams.choice(2, p=p, replace=False))
    assert (c[:, 0] != c[:, 1]).all()
    np.testing.assert_allclose(np.bincount(c[:, 0]) / 20000, [0.1, 0.2, 0.7], atol=0.015)
    after_2 = np.bincount(c[c[:, 0] == 2, 1], minlength=3)
    np.testing.assert_allclose(after_2 / after_2.sum(), [1 / 3, 2 / 3, 0], atol=0.02)
    draw = function([k], streams.choice(k, a=4, replace=False))
    assert sorted(draw(4)) == [0, 1, 2, 3]
    with pytest.raises(IndexError):
        draw(5)


def test_random_integers() -> None:
    streams = RandomStreams(1)
    found = values(streams.random_integers((30000,), 3, 7))
    np.testing.assert_allclose(np.bincount(found)[3:] / 30000, 0.2, atol=0.01)
    assert found.min() == 3 and found.max() == 7 and found.dtype == "int64"
    low, high = np.array([0, 10]), np.array([0, 2**40])
    found = values(streams.random_integers((500, 2), low, high))
    assert (found[:, 0] == 0).all() and found[:, 1].max() > 2**38


def test_permutations_and_shuffling() -> None:
    streams = RandomStreams(1)
    assert sorted(values(streams.permutation(n=6))) == list(range(6))
    assert values(streams.permutation(0, n=3)).shape == (0, 3)
    n = T.lvector("n")
    assert function([n], streams.permutation(n, 3, ndim=2))(np.array([2, 4])).shape == (2, 4, 3)
    rows = values(streams.permutation((500,), n=3))
    assert rows.shape == (500, 3)
    assert len({tuple(row) for row in rows}) == 6
    x = T.dmatrix("x")
    mixed = streams.shuffle_row_elements(x)
    weights = np.arange(12.0).reshape(3, 4)
    slope = symgraph.grad((mixed * weights).sum(), x)
    data = np.arange(12.0).reshape(3, 4) * 10
    found, order, g = function([x], [mixed, mixed.permutation, slope])(data)
    np.testing.assert_array_equal(found, np.take_along_axis(data, order, 1))
    np.testing.assert_array_equal(np.take_along_axis(g, order, 1), weights)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda s: s.uniform((-1, 2)), ValueError, "none reaches"),
        (lambda s: s.uniform((-2,)), ValueError, "negative dimensions"),
        (lambda s: s.uniform((2,), low=T.dmatrix()), ValueError, "fewer than its parameters"),
        (lambda s: s.uniform((1, 3), low=T.dmatrix()), NotImplementedError, "increase the size"),
        (lambda s: s.uniform((2,), dtype="int32"), TypeError, "are floats"),
        (lambda s: s.binomial((2,), n=0), ValueError, "n=0"),
        (lambda s: s.binomial((2,), p=1.5), ValueError, r"p=1\.5(?s:.)*0 to 1(?s:.)*clip"),
        (lambda s: s.binomial(n=3, p=[0.5, -0.1]), ValueError, "p < 0"),
        (lambda s: s.binomial((2,), p=np.nan), ValueError, "p is NaN"),
        (lambda s: s.multinomial(), TypeError, "probabilities are missing"),
        (lambda s: s.choice(), TypeError, "neither a nor p"),
        (lambda s: s.choice((2, 2), a=4, replace=False), ValueError, "size is one number"),
        (lambda s: s.choice(2, a=T.dmatrix()), ValueError, "a number or a vector"),
        (lambda s: s.random_integers((2,), 0.5), TypeError, "takes integers"),
        (lambda s: s.shuffle_row_elements(T.dscalar()), TypeError, "at least a vector"),
    ],
)
def test_what_is_refused(build: Any, error: type[Exception], words: str) -> None:
    streams = RandomStreams(1)
    with pytest.raises(error, match=words):
        build(streams)
    assert streams.updates() == []
    same = values(streams.uniform((3,))), values(RandomStreams(1).uniform((3,)))
    np.testing.assert_array_equal(*same)


NOT_PROBABILITIES = {
    "negative or NaN": ([0.5, -0.1, 0.6], [np.nan, 0.5, 0.5], [0.2, 0.3, -1e-9]),
    "do not add up to 1": ([0.7, 0.7, 0.1],),
}


@pytest.mark.parametrize("target", ["cpu", "python"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_are_checked_where_numpy_does(target: str, dtype: str) -> None:
    p, streams = T.matrix("p", dtype), RandomStreams(1)
    draws = {
        "multinomial": streams.multinomial(n=5, pvals=p),
        "choice": streams.choice(2, p=p),
        "distinct": streams.choice(2, p=p, replace=False),
    }
    good = np.array([0.5, 0.25, 0.25], dtype)
    with symgraph.config.change_flags(target=target):
        for name, sample in draws.items():
            draw = function([p], sample)
            draw([good])
            for words, rows in NOT_PROBABILITIES.items():
                for row in rows:
                    with pytest.raises(ValueError, match=f"{words}(?s:.)*where:(?s:.)*{name[:6]}"):
                        draw(np.array([good, row], dtype))
            draw(np.random.default_rng(0).dirichlet(np.ones(3), 500).astype(dtype))
            if name == "multinomial":  # the last class gets what is left
                assert (draw(np.full((9, 3), 0.1, dtype)).sum(axis=1) == 5).all()
                continue
            with pytest.raises(ValueError, match="do not add up to 1"):
                draw(np.full((1, 3), 0.2, dtype))
            if name == "distinct":
                with pytest.raises(ValueError, match="fewer classes"):
                    draw(np.array([[1, 0, 0]], dtype))


def test_constant_probabilities_are_checked_once() -> None:
    streams = RandomStreams(1)
    bad = function([], streams.multinomial((2,), n=5, pvals=[0.7, 0.7, 0.1]))
    with pytest.raises(ValueError, match="do not add up to 1"):
        bad()
    good = function([], streams.multinomial((2,), n=5, pvals=[0.7, 0.2, 0.1]))
    assert good().sum() == 10
    assert "Require" not in symgraph.printing.debugprint(good, file="str")


def test_parameters_that_only_look_like_0_and_1() -> None:
    """exp(0) is no shift of 0, nor log(1) a scale of 1."""
    zero, one = T.constant(0.0), T.constant(1.0)
    u = values(RandomStreams(1).uniform((100,)))
    moved = values(RandomStreams(1).uniform((100,), low=T.exp(zero), high=T.exp(zero) + one))
    np.testing.assert_array_equal(moved, u + 1)
