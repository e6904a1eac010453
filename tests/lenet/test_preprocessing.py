"""Preprocessing: each step against its formula in NumPy, what it refuses, checkpoints."""

from __future__ import annotations

import numpy as np
import pytest

from lenet import preprocessing
from lenet.errors import RunError
from lenet.preprocessing import Preprocessing

RNG = np.random.default_rng(0)
EVERY = ["mean", "normalize", "standardize", "pca:5", "zca", "whiten", "contrast", "local"]


def images(count: int = 200, channels: int = 1, height: int = 6, width: int = 5) -> np.ndarray:
    """Smooth random images, one pixel constant, as at the border of digits."""
    raw = RNG.normal(0, 1, (count, channels, height, width)).cumsum(2).cumsum(3)
    scaled = 255 * (raw - raw.min()) / (raw.max() - raw.min())
    scaled[:, :, 0, 0] = 7
    return scaled.astype(np.uint8)


GREY, COLOUR = images(), images(channels=3)


def prepared(text: str, train: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    steps = Preprocessing.parse(text)
    steps.fit(train)
    found = steps.apply(train if other is None else other)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    return found


def flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1).astype(np.float64)


# ---- formulas ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " , "])
def test_no_steps_scale_to_one(text: str) -> None:
    steps = Preprocessing.parse(text)
    assert not steps and str(steps) == "" and steps.arrays() == {}
    found = steps.apply(GREY)  # nothing to fit
    assert np.array_equal(found, np.multiply(GREY, 1 / 255, dtype=np.float32))


@pytest.mark.parametrize("x", [GREY, COLOUR], ids=["grey", "colour"])
def test_mean_normalize_standardize(x: np.ndarray) -> None:
    levels = x / 255
    np.testing.assert_allclose(prepared("mean", x), levels - levels.mean(0), atol=1e-6)
    mean, deviation = (f((0, 2, 3), keepdims=True)[0] for f in (levels.mean, levels.std))
    np.testing.assert_allclose(prepared("normalize", x), (levels - mean) / deviation, atol=1e-5)
    deviation = levels.std(0)
    deviation[deviation < 1e-9] = 1
    expected = (levels - levels.mean(0)) / deviation
    found = prepared("standardize", x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.any(found[:, :, 0, 0])  # a pixel that never varies


@pytest.mark.parametrize("x", [GREY, COLOUR], ids=["grey", "colour"])
def test_pca(x: np.ndarray) -> None:
    centred = flat(x / 255) - flat(x / 255).mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:5].T @ axes[:5] + flat(x / 255).mean(0)
    np.testing.assert_allclose(flat(prepared("pca:5", x)), expected, atol=1e-5)
    size = x[0].size
    np.testing.assert_allclose(prepared(f"pca:{size}", x), x / 255, atol=1e-5)  # all of them


@pytest.mark.parametrize("x", [GREY, COLOUR], ids=["grey", "colour"])
def test_zca_leaves_no_correlation(x: np.ndarray) -> None:
    whitened = flat(prepared("zca", x))
    covariance = whitened.T @ whitened / len(x)
    varies = np.arange(x[0].size) % (x[0, 0].size) != 0  # the constant pixels are 0
    expected = np.diag(varies.astype(float))
    np.testing.assert_allclose(covariance, expected, atol=1e-3)
    # The nearest of all whitenings: its cross-covariance with the images is symmetric (Kessy 2018).
    cross = whitened.T @ (flat(x / 255) - flat(x / 255).mean(0)) / len(x)
    np.testing.assert_allclose(cross, cross.T, atol=1e-5)
    assert np.all(np.diag(cross)[varies] > 0)


def test_whiten_adds_eps_to_the_variances() -> None:
    x = flat(GREY / 255)
    variances, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    for eps, text in ((0.1, "whiten"), (0.5, "whiten:0.5")):
        expected = (x - x.mean(0)) @ axes @ np.diag((variances + eps) ** -0.5) @ axes.T
        np.testing.assert_allclose(flat(prepared(text, GREY)), expected, atol=1e-4)


@pytest.mark.parametrize("x", [GREY, COLOUR], ids=["grey", "colour"])
def test_contrast(x: np.ndarray) -> None:
    found = flat(prepared("contrast", x))
    np.testing.assert_allclose(found.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(1), 1, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_local(channels: int) -> None:
    """Against the sums of Jarrett et al. (2009), written out, weights renormalised at edges."""
    x = images(3, channels, 12, 14)
    levels = x / 255
    found = prepared("local", x)
    height, width = x.shape[2:]
    reach = np.arange(-4, 5)
    gaussian = np.exp(-0.5 * (reach / 2) ** 2)

    def around(values: np.ndarray, i: int, j: int) -> np.ndarray:
        total, weights = 0.0, 0.0
        for p in reach:
            for q in reach:
                if 0 <= i + p < height and 0 <= j + q < width:
                    w = gaussian[p + 4] * gaussian[q + 4]
                    total = total + w * values[:, :, i + p, j + q].mean(1)
                    weights += w
        return total / weights

    def blurred(values: np.ndarray) -> np.ndarray:
        rows = [[around(values, i, j) for j in range(width)] for i in range(height)]
        return np.moveaxis(np.array(rows), 2, 0)[:, None]

    v = levels - blurred(levels)
    deviation = np.sqrt(blurred(v**2))
    expected = v / np.maximum(deviation, deviation.mean((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_steps_follow_each_other_and_are_fitted_in_order() -> None:
    once = prepared("contrast", GREY).astype(np.float64)
    expected = once - once.mean(0)
    np.testing.assert_allclose(prepared("contrast,mean", GREY), expected, atol=1e-6)
    steps = Preprocessing.parse(" mean , zca")
    assert steps and str(steps) == "mean,zca"


def test_the_fit_is_of_the_training_part_only() -> None:
    other = 255 - GREY[:20]
    levels = other / 255 - (GREY / 255).mean(0)
    np.testing.assert_allclose(prepared("mean", GREY, other), levels, atol=1e-6)


@pytest.mark.parametrize("text", EVERY)
def test_little_by_little_is_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepared(text, COLOUR)
    monkeypatch.setattr(preprocessing, "_CHUNK", 7 * COLOUR[0].size)
    np.testing.assert_allclose(prepared(text, COLOUR), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text", EVERY)
@pytest.mark.parametrize("level", [0, 128])
def test_one_blank_image_makes_no_nan(text: str, level: int) -> None:
    blank = np.full((1, 3, 8, 8), level, np.uint8)
    found = prepared(text, blank)
    expected = level / 255 if text == "pca:5" else 0  # its own mean
    np.testing.assert_allclose(found, expected, atol=1e-3)


# ---- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*EVERY, "", "contrast,pca:5,zca"])
def test_restored_does_the_same(text: str) -> None:
    steps = Preprocessing.parse(text)
    steps.fit(COLOUR)
    arrays = {**steps.arrays(), "weights": np.zeros(3)}
    assert all(name.startswith("preprocess/") for name in steps.arrays())
    again = Preprocessing.restore(str(steps), arrays)
    assert np.array_equal(again.apply(COLOUR[:9]), steps.apply(COLOUR[:9]))


def test_restore_refuses_what_does_not_fit() -> None:
    steps = Preprocessing.parse("mean,zca")
    steps.fit(GREY)
    arrays = steps.arrays()
    with pytest.raises(RunError, match="mean of preprocessing mean: got none; expected finite"):
        Preprocessing.restore("mean,zca", {})
    with pytest.raises(RunError, match="matrix of preprocessing zca: got int64 that are not"):
        broken = np.zeros((30, 30), int)
        Preprocessing.restore("mean,zca", {**arrays, "preprocess/1.matrix": broken})
    with pytest.raises(RunError, match="not all finite"):
        Preprocessing.restore("mean", {"preprocess/0.mean": np.full((1, 6, 5), np.nan)})
    with pytest.raises(RunError, match=r"got shapes .*\(4, 4\)"):
        broken = np.zeros((4, 4))
        Preprocessing.restore("mean,zca", {**arrays, "preprocess/1.matrix": broken})


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("means", "got 'means'; expected mean, normalize, standardize, pca:K, zca, whiten:EPS"),
        ("mean,zca:3", "got 'zca:3'; expected"),
        ("pca", "got 'pca'; expected a whole number above 0. Cure: write it as pca:50"),
        ("pca:0", "expected a whole number above 0"),
        ("pca:2.5", "expected a whole number above 0"),
        ("whiten:", "expected a number above 0"),
        ("whiten:nan", "expected a number above 0"),
        ("whiten:-1", "expected a number above 0. Cure: write it as whiten:0.1"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        Preprocessing.parse(text)


def test_bad_images(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Preprocessing.parse("mean")
    with pytest.raises(RunError, match="got no fitted values; expected a fit"):
        steps.apply(GREY)
    assert steps.arrays() == {}
    for wrong in (GREY[:, 0], GREY / 255):
        with pytest.raises(RunError, match=r"expected uint8 \(n, channels, height, width\)"):
            steps.fit(wrong)
    with pytest.raises(RunError, match="got no images"):
        steps.fit(GREY[:0])
    steps.fit(GREY)
    with pytest.raises(RunError, match=r"preprocessing mean: got images of shape \(3, 6, 5\)"):
        steps.apply(COLOUR)
    with pytest.raises(RunError, match=r"pca:31: got images of 30 values; expected at most pca:30"):
        Preprocessing.parse("pca:31").fit(GREY)
    monkeypatch.setattr(preprocessing, "MAX_COVARIANCE", 29)
    with pytest.raises(RunError, match="got images of 30 values; expected at most 29"):
        Preprocessing.parse("zca").fit(GREY)
