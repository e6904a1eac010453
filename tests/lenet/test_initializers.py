"""Initial weights: the numbers drawn, their ranges and deviations."""

from __future__ import annotations

import numpy as np
import pytest

from lenet.errors import RunError
from lenet.initializers import INITIALIZERS, bias, fans, initializer, orthogonal, tutorial

RANGES = {
    "tutorial": lambda i, o: np.sqrt(6 / (i + o)),
    "lecun_uniform": lambda i, o: np.sqrt(3 / i),
    "he_uniform": lambda i, o: np.sqrt(6 / i),
    "lecun1998": lambda i, o: 2.4 / i,
    "pytorch": lambda i, o: 1 / np.sqrt(i),
}
DEVIATIONS = {
    "glorot_normal": lambda i, o: np.sqrt(2 / (i + o)),
    "lecun_normal": lambda i, o: np.sqrt(1 / i),
    "he_normal": lambda i, o: np.sqrt(2 / i),
    "normal": lambda i, o: 0.01,
}


def test_the_names() -> None:
    assert set(INITIALIZERS) == {*RANGES, *DEVIATIONS, "orthogonal", "zeros"}
    assert initializer("tutorial") is tutorial and initializer(tutorial) is tutorial


@pytest.mark.parametrize("name", ["xavier", "", "Zeros"])
def test_unknown_names(name) -> None:
    with pytest.raises(RunError, match=r"expected one of tutorial, glorot_normal, .*Cure:"):
        initializer(name)
    with pytest.raises(RunError, match="expected one of tutorial"):
        bias(np.random.RandomState(0), name, (3,), 4)


def test_the_tutorials_draw_bit_for_bit() -> None:
    shape, fan_in, fan_out = (50, 20, 5, 5), 500, 50 * 25 // 4
    bound = np.sqrt(6.0 / (fan_in + fan_out))
    expected = np.random.RandomState(23455).uniform(low=-bound, high=bound, size=shape)
    got = tutorial(np.random.RandomState(23455), shape, fan_in, fan_out)
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name) -> None:
    w = initializer(name)(np.random.RandomState(1), (200, 100), 200, 100)
    bound = RANGES[name](200, 100)
    assert w.dtype == np.float64 and w.shape == (200, 100)
    assert 0.999 * bound < w.max() <= bound and -bound <= w.min() < -0.999 * bound
    assert abs(w.mean()) < 0.02 * bound
    assert w.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_deviations(name) -> None:
    w = initializer(name)(np.random.RandomState(1), (200, 100), 200, 100)
    deviation = DEVIATIONS[name](200, 100)
    assert w.dtype == np.float64 and w.shape == (200, 100)
    assert w.std() == pytest.approx(deviation, rel=0.02) and abs(w.mean()) < 0.02 * deviation


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (8, 3, 2, 2), (20, 1, 3, 3)])
def test_orthogonal(shape) -> None:
    w = orthogonal(np.random.RandomState(2), shape, *fans(shape))
    assert w.shape == shape and w.dtype == np.float64 and w.flags.c_contiguous
    matrix = w.reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert np.allclose(small, np.eye(len(small)), atol=1e-12)
    assert not np.allclose(w, orthogonal(np.random.RandomState(3), shape, 1, 1))


def test_orthogonal_prefers_no_direction() -> None:
    rng = np.random.RandomState(4)
    mean = np.mean([orthogonal(rng, (3, 3), 3, 3) for _ in range(2000)], axis=0)
    assert np.abs(mean).max() < 0.06  # deviations of 0.013; of a plain QR, the diagonal is biased


def test_zeros_draw_nothing() -> None:
    rng = np.random.RandomState(5)
    assert not initializer("zeros")(rng, (3, 2), 3, 2).any()
    assert not bias(rng, "tutorial", (3,), 4).any() and bias(rng, "zeros", (3,), 4).shape == (3,)
    assert rng.uniform() == np.random.RandomState(5).uniform()


def test_pytorchs_biases() -> None:
    b = bias(np.random.RandomState(6), "pytorch", (1000,), 25)
    assert b.shape == (1000,) and 0.199 < np.abs(b).max() <= 0.2 and abs(b.mean()) < 0.02


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((784, 10), (784, 10)), ((20, 3, 5, 4), (60, 400)), ((2, 3, 4, 5, 6), (360, 240))],
)
def test_fans(shape, expected) -> None:
    assert fans(shape) == expected


@pytest.mark.parametrize("shape", [(), (3,)])
def test_fans_of_what_has_none(shape) -> None:
    with pytest.raises(
        RunError, match=r"expected \(n_in, n_out\) or \(out, in, height, width\).*bias"
    ):
        fans(shape)
    with pytest.raises(RunError, match="got a shape of"):
        orthogonal(np.random.RandomState(0), shape, 1, 1)


@pytest.mark.parametrize(
    "name", [n for n in INITIALIZERS if n not in ("normal", "zeros", "orthogonal")]
)
def test_a_layer_without_inputs(name) -> None:
    with pytest.raises(RunError, match="got a fan of 0; expected at least 1"):
        initializer(name)(np.random.RandomState(0), (0, 0), 0, 0)
