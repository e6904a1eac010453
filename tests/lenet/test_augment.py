"""Data augmentation: its maps against SciPy's, its draws, its gradients, its errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import ndimage

import symgraph
from lenet.augment import Augmentation, affine, augment, maps_about_centre
from lenet.errors import RunError
from symgraph import tensor as T
from symgraph.tensor.random import RandomStreams

ALL = Augmentation(shift=2, rotate=10, scale=0.1, shear=5)


def random_maps(rng, count):
    """Maps near the identity, some of which move the image out of sight."""
    maps = np.array([[1.0, 0, 0], [0, 1, 0]]) + rng.normal(0, 0.3, (count, 2, 3))
    maps[:, :, 2] = rng.uniform(-4, 4, (count, 2))
    maps[0, :, 2] = 1e6
    return maps


def by_scipy(images, maps, fill=0.0):
    return np.array(
        [
            [
                ndimage.affine_transform(plane, matrix, order=1, mode="grid-constant", cval=fill)
                for plane in image
            ]
            for image, matrix in zip(images, maps, strict=True)
        ]
    )


@pytest.mark.parametrize("shape", [(5, 1, 9, 9), (4, 3, 7, 12), (3, 2, 11, 1), (2, 1, 1, 1)])
@pytest.mark.parametrize("fill", [0.0, -0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_affine_is_scipys(shape, fill, dtype, tolerance) -> None:
    rng = np.random.RandomState(0)
    images, maps = rng.uniform(size=shape).astype(dtype), random_maps(rng, shape[0]).astype(dtype)
    x, m = T.tensor4("x", dtype=dtype), T.tensor3("m", dtype=dtype)
    function = symgraph.function([x, m], affine(x, m, fill))
    got = function(images, maps)
    assert got.dtype == dtype and got.shape == shape
    assert np.allclose(got, by_scipy(images, maps, fill), atol=tolerance)
    assert np.allclose(got[0], fill)
    assert function(images[:0], maps[:0]).shape == (0, *shape[1:])


def test_sizes_that_are_known() -> None:
    rng = np.random.RandomState(1)
    images, maps = rng.uniform(size=(3, 1, 6, 8)), random_maps(rng, 3)
    x, m = T.dmatrix("x"), T.dtensor3("m")
    function = symgraph.function([x, m], affine(x.reshape((x.shape[0], 1, 6, 8)), m))
    assert np.allclose(function(images.reshape(3, -1), maps), by_scipy(images, maps))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("floatX", ["float32", "float64"])
def test_the_type_stays(dtype, floatX) -> None:
    with symgraph.config.change_flags(floatX=floatX):
        x = T.TensorType(dtype, (False, True, False, False))("x")
        assert affine(x, T.dtensor3("m")).type == x.type
        assert augment(x, RandomStreams(1), shift=1, rotate=5, scale=0.1, shear=5).type == x.type


def test_nothing_asked_nothing_done() -> None:
    x, streams = T.tensor4("x"), RandomStreams(0)
    assert augment(x, streams) is x and not streams.state_updates and not Augmentation()
    assert Augmentation()(x, streams) is x and ALL


def maps_of(size, **given):
    """The map of `maps_about_centre`, with the identity for what is not given."""
    values = {"down": 0, "right": 0, "angle": 0, "factor": 1, "slant": 0, **given}
    vectors = {name: T.constant(np.array([float(value)])) for name, value in values.items()}
    return maps_about_centre(size, **vectors)


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({}, ["...", "abc", "..d"]),
        ({"down": 1}, ["...", "...", "abc"]),
        ({"right": 1}, ["...", ".ab", "..."]),
        ({"angle": np.pi / 2}, [".cd", ".b.", ".a."]),
        ({"angle": np.pi / 2, "right": -1}, ["cd.", "b..", "a.."]),
        ({"factor": 0.5}, ["...", ".b.", "..."]),
        ({"slant": 1}, ["...", "abc", ".d."]),
        ({"slant": 1, "angle": np.pi}, [".d.", "cba", "..."]),
    ],
)
def test_which_way_images_move(given, rows) -> None:
    def pixels(rows):
        return np.array([[0.0 if sign == "." else ord(sign) - 96 for sign in row] for row in rows])

    x = T.dtensor4("x")
    start = pixels(["...", "abc", "..d"])[None, None]
    got = symgraph.function([x], affine(x, maps_of((3, 3), **given)))(start)
    assert np.allclose(got[0, 0], pixels(rows), atol=1e-12)


def test_the_centre_stays() -> None:
    size, centre = (8, 5), np.array([3.5, 2.0])
    moved = maps_of(size, angle=0.3, factor=1.2, slant=0.1).eval()[0]
    assert np.allclose(moved[:, :2] @ centre + moved[:, 2], centre)
    moved = maps_of(size, angle=0.3, factor=1.2, slant=0.1, down=2, right=-1).eval()[0]
    assert np.allclose(moved[:, :2] @ (centre + np.array([2, -1])) + moved[:, 2], centre)


def drawn(augmentation, count=20_000, size=(20, 30), seed=7):
    """What random maps do, (shifts, angles in degrees, factors, slants), undone from the maps."""
    maps = augmentation.draw(RandomStreams(seed), count, size, "float64").eval()
    forward = np.linalg.inv(maps[:, :, :2])
    centre = (np.array(size) - 1) / 2
    # The point of the result that shows the centre; the image of the row axis and the column axis.
    shifts = np.einsum("nij,nj->ni", forward, centre - maps[:, :, 2]) - centre
    angles = np.arctan2(-forward[:, 0, 1], forward[:, 1, 1])
    factors = np.hypot(forward[:, 0, 1], forward[:, 1, 1])
    cosine, sine = np.cos(angles), np.sin(angles)
    slants = -(forward[:, 1, 0] * cosine - forward[:, 0, 0] * sine) / factors
    return shifts, np.degrees(angles), factors, slants


def assert_uniform(values, low, high) -> None:
    assert low <= values.min() and values.max() <= high
    shares = np.histogram(values, bins=10, range=(low, high))[0] / len(values)
    assert np.abs(shares - 0.1).max() < 0.01


def test_the_distributions() -> None:
    shifts, angles, factors, slants = drawn(ALL)
    assert_uniform(shifts[:, 0], -2, 2)
    assert_uniform(shifts[:, 1], -2, 2)
    assert_uniform(angles, -10, 10)
    assert_uniform(factors, 0.9, 1.1)
    assert_uniform(np.degrees(np.arctan(slants)), -5, 5)
    together = np.corrcoef([*shifts.T, angles, factors, slants])
    assert np.abs(together - np.eye(5)).max() < 0.03


def test_each_amount_alone() -> None:
    everything = drawn(ALL, count=50)
    for place, name in enumerate(("shift", "rotate", "scale", "shear")):
        alone = drawn(Augmentation(**{name: getattr(ALL, name)}), count=50)
        # Leaving out the others changes none of its numbers.
        assert np.allclose(alone[place], everything[place])
        for other in {0, 1, 2, 3} - {place}:
            assert np.allclose(alone[other], 1.0 if other == 2 else 0.0)


def test_seeds_repeat_and_runs_resume() -> None:
    images = np.random.RandomState(3).uniform(size=(6, 1, 8, 8))

    def compiled(seed):
        x, streams = T.dtensor4("x"), RandomStreams(seed)
        return symgraph.function([x], ALL(x, streams)), streams

    (first, streams), (twin, others), (different, _) = compiled(1), compiled(1), compiled(2)
    calls = [first(images) for _ in range(3)]
    assert all(np.array_equal(one, twin(images)) for one in calls)
    assert not np.array_equal(calls[0], calls[1])
    assert not np.array_equal(calls[0], different(images))
    assert not np.array_equal(calls[0][0], calls[0][1])
    for (state, _), (saved, _) in zip(others.state_updates, streams.state_updates, strict=True):
        state.set_value(saved.get_value())
    assert np.array_equal(first(images), twin(images))
    again = pickle.loads(pickle.dumps(first))
    assert np.array_equal(first(images), again(images))


def test_the_maps_drawn_are_the_maps_applied() -> None:
    images = np.random.RandomState(4).uniform(size=(5, 3, 6, 9))
    x = T.dtensor4("x")
    got = symgraph.function([x], augment(x, RandomStreams(5), 2, 10, 0.1, 5, fill=0.5))(images)
    maps = ALL.draw(RandomStreams(5), 5, (6, 9), "float64").eval()
    assert np.allclose(got, by_scipy(images, maps, 0.5))


def test_gradients() -> None:
    rng = np.random.RandomState(6)
    images, maps = rng.uniform(size=(2, 2, 4, 5)), random_maps(rng, 2)
    maps[0, :, 2] = 0.37
    symgraph.gradient.verify_grad(affine, [images, maps], rng=rng, eps=1e-7)
    x = T.dtensor4("x")
    slope = symgraph.function([x], symgraph.grad(ALL(x, RandomStreams(0)).sum(), x))(images)
    assert slope.shape == images.shape and slope.max() > 0.5


def test_maps_that_are_not_finite() -> None:
    x, m = T.dtensor4("x"), T.dtensor3("m")
    function = symgraph.function([x, m], affine(x, m))
    maps = np.tile(np.eye(2, 3), (3, 1, 1))
    maps[0, 0, 0], maps[1, 1, 2] = np.nan, np.inf
    got = function(np.ones((3, 1, 4, 4)), maps)
    assert (
        np.isnan(got[0]).all() and not got[1].any() and np.array_equal(got[2], np.ones((1, 4, 4)))
    )


def test_one_kernel_draws_and_one_gathers() -> None:
    x = T.fmatrix("x")
    images = x.reshape((x.shape[0], 1, 28, 28))
    kernels = [str(k) for k in symgraph.function([x], ALL(images, RandomStreams(0))).kernels()]
    # Random numbers, sines and tangents belong to images: none is computed for each pixel.
    pixels = [k for k in kernels if "errors" in k]
    assert len(pixels) == 1 and pixels[0].count("errors[0] = 1") == 4
    for text in ("philox", "cos(", "sin(", "tan("):
        assert not any(text in kernel and "range(28)" in kernel for kernel in kernels)


def test_parse() -> None:
    assert Augmentation.parse("shift=2,rotate=10,scale=0.1,shear=5") == ALL
    assert Augmentation.parse("rotate=15") == Augmentation(rotate=15.0)
    assert Augmentation.parse("") == Augmentation() and not Augmentation.parse("shift=0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zoom=2", "got 'zoom=2'; expected NAME=NUMBER, each once, of shift, rotate, scale, shear"),
        ("shift", "got 'shift'; expected NAME=NUMBER.*Cure: write it as shift=2"),
        ("shift=2,", "got ''; expected NAME=NUMBER"),
        ("shift=a", "got 'shift=a'"),
        ("shift=1,shift=2", "got 'shift=2'; expected NAME=NUMBER, each once"),
        ("shift=nan", "got 'shift=nan'"),
        ("shift=-1", "got shift=-1; expected a number of pixels from 0. Cure:"),
        ("shift=inf", "got shift=inf; expected a number of pixels from 0"),
        ("rotate=181", "got rotate=181; expected degrees from 0 to 180"),
        ("scale=1", "got scale=1; expected a share from 0 to less than 1"),
        ("shear=90", "got shear=90; expected degrees from 0 to less than 90"),
    ],
)
def test_amounts_that_are_refused(text, words) -> None:
    with pytest.raises(RunError, match=words):
        Augmentation.parse(text)


def test_images_and_maps_that_are_refused() -> None:
    with pytest.raises(
        RunError, match=r"augment: got images of type .*; expected floats \(n, chann"
    ):
        augment(T.matrix("x"), RandomStreams(0), shift=1)
    with pytest.raises(RunError, match=r"affine: got images of type .*Cure: reshape and cast them"):
        affine(T.TensorType("uint8", (False,) * 4)("x"), T.dtensor3("m"))
    with pytest.raises(
        RunError, match=r"affine: got matrices of type .*expected floats \(n, 2, 3\)"
    ):
        affine(T.dtensor4("x"), T.dmatrix("m"))
    with pytest.raises(RunError, match=r"expected floats \(n, 2, 3\)"):
        affine(T.dtensor4("x"), T.itensor3("m"))
