"""Facts of Theano's further nnet and linear algebra, and how libraries call it.

Values marked "Theano 1.0.5" were printed by it. What each op means is in the op zoo.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph.errors import ShapeError
from symgraph.ops.windows import Windows
from symgraph.tensor.nnet import abstract_conv, bn, conv3d2d, neighbours
from symgraph.tensor.signal import pool


@pytest.fixture
def rng() -> np.random.RandomState:
    return np.random.RandomState(234)


# ---- shapes of convolutions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "theano"),
    [
        (abstract_conv.get_conv_output_shape((2, 3, 9, 8), (4, 3, 3, 2), "half", (1, 2), (2, 1)),
         (2, 4, 9, 5)),
        (abstract_conv.get_conv_output_shape((2, 3, 9, 8, 7), (4, 3, 3, 2, 2), ((1, 0), 2, 0),
                                             (1, 2, 1)), (2, 4, 8, 6, 6)),
        (abstract_conv.get_conv_output_shape((2, None, 9, None), (4, 3, 3, 2), 1, (1, 1)),
         (2, 4, 9, None)),
        (abstract_conv.get_conv_output_shape((2, 3, 9, 8), (4, 9, 4, 3, 1, 5), "valid", (1, 1)),
         (2, 4, 9, 4)),
        (abstract_conv.get_conv_gradweights_shape((2, 6, 9, 8), (2, 4, 5, 5), "valid", (1, 1)),
         (4, 6, 5, 4)),
        (abstract_conv.get_conv_gradweights_shape((2, 6, 9, 8), (2, 4, 5, 5), (1, 2), (1, 1),
                                                  (2, 1)), (4, 6, 4, 8)),
        (abstract_conv.get_conv_gradweights_shape((2, 6, 9, 8), (2, 4, 5, 5), "half", (1, 1)),
         (4, 6, None, None)),
        (abstract_conv.get_conv_gradweights_shape((2, 6, 9, 8), (2, 4, 5, 5), "valid", (1, 1),
                                                  unshared=True), (4, 5, 5, 6, 5, 4)),
        (abstract_conv.get_conv_gradinputs_shape((4, 3, 3, 2), (2, 4, 5, 5), "half", (1, 1),
                                                 num_groups=2), (2, 6, 5, 4)),
        (abstract_conv.get_conv_gradinputs_shape((4, 3, 3, 2), (2, 4, 5, 5), "full", (1, 2)),
         (2, 3, 3, None)),
        (abstract_conv.border_mode_to_pad("half", 2, (3, 2)), ((1, 1), (1, 1))),
        (abstract_conv.border_mode_to_pad(((1, 2), 3), 2, (3, 2)), ((1, 2), (3, 3))),
        (abstract_conv.border_mode_to_pad("full", 3, (3, 2, 1)), ((2, 2), (1, 1), (0, 0))),
    ],
)  # fmt: skip
def test_shapes_of_convolutions(got: Any, theano: Any) -> None:
    """Theano 1.0.5."""
    assert got == theano


def test_shapes_of_convolutions_are_symbolic_where_their_sizes_are() -> None:
    x = T.dtensor4("x")
    images, filters = (2, 3, x.shape[2], 8), (4, 3, 3, 2)
    shape = abstract_conv.get_conv_output_shape(images, filters, "full", (2, 1))
    assert shape[:2] == (2, 4)
    assert shape[2].eval({x: np.ones((2, 3, 7, 8))}) == (7 + 4 - 3) // 2 + 1
    assert shape[3] == 9


def test_shapes_that_fit_a_gradient() -> None:
    check = abstract_conv.check_conv_gradinputs_shape
    assert check((2, 3, 9, 8), (4, 3, 3, 2), (2, 4, 7, 7), "valid", (1, 1))
    assert not check((2, 3, 9, 8), (4, 3, 3, 2), (2, 4, 7, 6), "valid", (1, 1))
    assert check((2, 3, None, 8), (4, 3, 3, 2), (2, 4, 7, T.constant(7)), "valid", (1, 1))
    assert not check((2, 3, 9, 8), (4, 3, 3), (2, 4, 7, 7), "valid", (1, 1))


# ---- convolutions as libraries build them --------------------------------------------------------


def test_transposed_convolution_layer_of_lasagne(rng: np.random.RandomState) -> None:
    """TransposedConv2DLayer: the op's class, its keywords, an output size of ints or scalars."""
    x, w = rng.randn(2, 3, 4, 4), rng.randn(3, 5, 3, 3)
    images, filters = T.dtensor4("x"), T.dtensor4("w")
    op = abstract_conv.AbstractConv2d_gradInputs(
        imshp=(None, 5, 9, 9), kshp=(3, 5, 3, 3), subsample=(2, 2), border_mode="valid",
        filter_flip=False,
    )  # fmt: skip
    conved = op(filters, images, (9, 9))
    symbolic = abstract_conv.AbstractConv2d_gradInputs(
        imshp=(None, 5, None, None), kshp=(3, 5, 3, 3), subsample=(2, 2), filter_flip=False
    )(filters, images, (2 * images.shape[2] + 1, 2 * images.shape[3] + 1))
    wanted = T.nnet.conv2d_transpose(images, filters, (None, None, 9, 9), input_dilation=(2, 2),
                                     filter_flip=False)  # fmt: skip
    values = symgraph.function([images, filters], [conved, symbolic, wanted])(x, w)
    np.testing.assert_allclose(values[0], values[2])
    np.testing.assert_allclose(values[1], values[2])


def test_the_three_3d_convolutions_are_adjoint(rng: np.random.RandomState) -> None:
    """<conv(x, w), g> = <x, by_inputs(w, g)> = <w, by_weights(x, g)>, by the classes' names."""
    options: dict[str, Any] = {"border_mode": (1, 0, 1), "subsample": (2, 1, 2),
                               "filter_dilation": (1, 2, 1), "num_groups": 2}  # fmt: skip
    arrays = rng.randn(2, 4, 6, 5, 7), rng.randn(6, 2, 3, 2, 3)
    x, w, g = (T.TensorType("float64", (False,) * 5)(n) for n in "xwg")
    y = abstract_conv.AbstractConv3d(**options)(x, w)
    back = abstract_conv.AbstractConv3d_gradInputs(**options)(w, g, (6, 5, 7))
    weights = abstract_conv.AbstractConv3d_gradWeights(**options)(x, g, w.shape[2:])
    top = rng.randn(2, 6, 3, 3, 4)
    out, by_x, by_w = symgraph.function([x, w, g], [y, back, weights])(*arrays, top)
    np.testing.assert_allclose((out * top).sum(), (by_x * arrays[0]).sum())
    np.testing.assert_allclose((out * top).sum(), (by_w * arrays[1]).sum())


@pytest.mark.parametrize(
    "declared",
    [{"input_shape": (2, 3, 5, 6, 6)}, {"input_shape": (3, 3, 7, 6, 6)},
     {"filter_shape": (1, None, 2, 2, 2)}],
)  # fmt: skip
def test_declared_shapes_of_3d_convolutions_are_enforced(declared: dict[str, Any]) -> None:
    """2 taps of 3 channels are as many numbers as the filters' 3 taps of 2: they were confused."""
    x, w = (T.TensorType("float64", (False,) * 5)(n) for n in "xw")
    f = symgraph.function([x, w], abstract_conv.conv3d(x, w, **declared))
    taps = (1, 2, 3, 2, 2) if "filter_shape" in declared else (1, 3, 3, 2, 2)
    with pytest.raises(ShapeError, match="not the one that the convolution was given"):
        f(np.ones((2, 3, 7, 6, 6)), np.ones(taps))


def test_films_with_time_before_channels() -> None:
    """conv3d2d. Theano 1.0.5: sums of the results, which is what a filter of ones makes easy."""
    movie = np.arange(2 * 3 * 1 * 3 * 3.0).reshape(2, 3, 1, 3, 3)
    filters = np.ones((1, 2, 1, 2, 2))
    s, f = (T.TensorType("float64", (False,) * 5)(n) for n in "sf")
    shapes = {"valid": (2, 2, 1, 2, 2), "full": (2, 4, 1, 4, 4), "half": (2, 4, 1, 4, 4)}
    for mode, shape in shapes.items():
        out = symgraph.function([s, f], conv3d2d.conv3d(s, f, border_mode=mode))(movie, filters)
        assert out.shape == shape
        if mode == "full":
            assert out.sum() == movie.sum() * 8  # every pixel meets every tap


# ---- windows and patches -------------------------------------------------------------------------


def test_windows_are_read_in_place() -> None:
    """A function of windows is one kernel: they are a view, never a copy."""
    x = T.dvector("x")
    f = symgraph.function([x], T.exp(Windows(0)(x, 3, 1)))
    assert len(f.kernels()) == 1
    np.testing.assert_allclose(f(np.arange(5.0))[1], np.exp([1, 2, 3]))


def test_images2neibs_as_documented() -> None:
    """Theano's example: 5 x 5 patches of a 1 x 1 x 10 x 10 image, and back."""
    images = T.dtensor4("images")
    neibs = neighbours.images2neibs(images, neib_shape=(5, 5))
    value = np.arange(100.0).reshape((1, 1, 10, 10))
    patches = symgraph.function([images], neibs)(value)
    assert patches.shape == (4, 25)
    np.testing.assert_array_equal(patches[1, :6], [5, 6, 7, 8, 9, 15])
    rows = T.dmatrix("rows")
    back = neighbours.neibs2images(rows, (5, 5), value.shape)
    np.testing.assert_array_equal(symgraph.function([rows], back)(patches), value)


@pytest.mark.parametrize(
    ("ratio", "theano"),
    [
        (2, [0, 0.5, 1, 5.5, 10, 55, 100, 100]),
        (3, [0, 0, 1 / 3, 2 / 3, 1, 4, 7, 10, 40, 70, 100, 100]),
        ((3, 2), [0, 1 / 3, 1, 7, 40, 100]),
        ((5, 3), [0, 0.2, 0.8, 4.6, 10, 64, 100]),
        ((1, 2), [0, 10]),
    ],
)
def test_bilinear_upsampling(ratio: Any, theano: list[float]) -> None:
    """Theano 1.0.5, of the row 0, 1, 10, 100."""
    x = T.dtensor4("x")
    options = {"frac_ratio": ratio, "use_1D_kernel": False} if isinstance(ratio, tuple) else {
        "ratio": ratio}  # fmt: skip
    f = symgraph.function([x], abstract_conv.bilinear_upsampling(x, **options))
    out = f(np.array([0, 1, 10, 100.0]).reshape(1, 1, 1, 4))
    np.testing.assert_allclose(out[0, 0, 0], theano)
    assert out.shape[2] == {2: 2, 3: 3, (3, 2): 2, (5, 3): 2, (1, 2): 1}[ratio]


def test_upsampling_gives_floatX() -> None:
    with symgraph.config.change_flags(floatX="float32"):
        assert abstract_conv.bilinear_upsampling(T.dtensor4(), 2).dtype == "float32"


# ---- pooling -------------------------------------------------------------------------------------


def test_ties_of_3d_pooling_all_get_the_gradient() -> None:
    """Theano 1.0.5, and rule 22."""
    p = T.dtensor3("p")
    g = T.grad(pool.pool_3d(p, (2, 2, 2), True).sum(), p)
    cube = np.array([[[1.0, 2], [2, 0]], [[0, 2], [1, 1]]])
    wanted = np.array([[[0, 1], [1, 0]], [[0, 1], [0, 0]]])
    np.testing.assert_array_equal(symgraph.function([p], g)(cube), wanted)


def test_pooling_without_ignore_border_warns() -> None:
    with pytest.warns(UserWarning, match="pool_3d: ignore_border is not given"):
        pool.pool_3d(T.dtensor3(), (2, 2, 2))


# ---- batch normalization -------------------------------------------------------------------------

BATCH = np.array([[1.0, 5, -2], [3, 5, 0], [2, -1, 7], [6, 0, 1]])
GAMMA, BETA = np.array([1.0, 2, -1]), np.array([0.0, 1, 0.5])
WEIGHTS = np.arange(12.0).reshape(4, 3) % 5


def test_batch_normalization_in_training() -> None:
    """Theano 1.0.5: output, mean, invstd, and the running statistics' new values."""
    x, (g, b, m, v) = T.dmatrix("x"), T.dvectors("gbmv")
    outs = bn.batch_normalization_train(x, g, b, "per-activation", 1e-2, 0.25, m, v)
    assert len(outs) == 5
    assert [o.broadcastable for o in outs[1:]] == [(False,)] * 4
    out, mean, invstd, new_mean, new_var = symgraph.function([x, g, b, m, v], list(outs))(
        BATCH, GAMMA, BETA, np.ones(3), np.full(3, 2.0)
    )
    np.testing.assert_allclose(out[0], [-1.067521025, 2.98238426, 1.543034921])
    np.testing.assert_allclose(out[3], [1.601281538, -0.621950758, 0.649004989])
    np.testing.assert_allclose(mean, [3, 2.25, 1.5])
    np.testing.assert_allclose(invstd, [0.533760513, 0.360433502, 0.298009978])
    np.testing.assert_allclose(new_mean, [1.5, 1.3125, 1.125])
    np.testing.assert_allclose(new_var, [8 / 3, 4.0625, 5.25])


def test_batch_normalization_keeps_axes_of_parameters_that_have_them() -> None:
    outs = bn.batch_normalization_train(T.dmatrix(), T.drow(), T.drow())
    assert [o.broadcastable for o in outs] == [(False, False), (True, False), (True, False)]


def test_gradients_of_batch_normalization_in_training() -> None:
    """Theano 1.0.5."""
    x, (g, b) = T.dmatrix("x"), T.dvectors("gb")
    out = bn.batch_normalization_train(x, g, b, "per-activation", 1e-2)[0]
    f = symgraph.function([x, g, b], T.grad((out * WEIGHTS).sum(), [x, g, b]))
    by_x, by_g, by_b = f(BATCH, GAMMA, BETA)
    np.testing.assert_allclose(by_x, [
        [-0.231144154, -1.007434464, -0.357426709],
        [0.533760513, 1.155166546, 0.357691372],
        [-0.115572077, 0.731870819, -0.11949512],
        [-0.187044282, -0.879602901, 0.119230457],
    ], rtol=1e-7)  # fmt: skip
    np.testing.assert_allclose(by_g, [5.87136564, 2.613142888, 2.682089798])
    np.testing.assert_allclose(by_b, [8, 7, 6])


def test_batch_normalization_in_test_and_its_gradients() -> None:
    """Theano 1.0.5."""
    x, ps = T.dmatrix("x"), T.dvectors("gbmv")
    out = bn.batch_normalization_test(x, *ps, epsilon=1e-2)
    f = symgraph.function([x, *ps], [out, *T.grad((out * WEIGHTS).sum(), [x, *ps])])
    value, by_x, *rest = f(BATCH, GAMMA, BETA, np.ones(3), np.full(3, 2.0))
    np.testing.assert_allclose(value[2], [0.705345616, -1.821382463, -3.732073695])
    np.testing.assert_allclose(by_x[1], [2.116036848, 5.642764927, 0], atol=1e-12)
    wanted = ([19.044331628, 11.285529854, 8.46414739], [8, 7, 6],
              [-5.642764927, -9.874838622, 4.232073695],
              [-4.737395927, -5.61469147, 2.105509301])  # fmt: skip
    for got, want in zip(rest, wanted, strict=True):
        np.testing.assert_allclose(got, want)


def test_batch_normalization_is_sound_far_from_zero(rng: np.random.RandomState) -> None:
    """The variance is that of what is left when the mean is gone, also in float32."""
    x, (g, b) = T.fmatrix("x"), T.fvectors("gb")
    data = (rng.randn(256, 3) * 0.1 + 3000).astype("float32")
    one, zero = np.ones(3, "float32"), np.zeros(3, "float32")
    out, _, invstd = bn.batch_normalization_train(x, g, b)
    value, inverse = symgraph.function([x, g, b], [out, invstd])(data, one, zero)
    exact = data.astype("float64")
    np.testing.assert_allclose(inverse, 1 / np.sqrt(exact.var(0) + 1e-4), rtol=1e-4)
    np.testing.assert_allclose(value.std(0), 0.995, rtol=1e-2)
    assert abs(value.mean(0)).max() < 1e-2


def test_batch_normalization_reads_the_batch_three_times(rng: np.random.RandomState) -> None:
    """A mean, a variance, the result: and small kernels that finish the statistics."""
    x, (g, b) = T.tensor4("x"), T.vectors("gb")
    out = bn.batch_normalization_train(x, g, b, "spatial")[0]
    f = symgraph.function([x, g, b], out)
    assert len(f.kernels()) <= 4
    images = rng.randn(2, 3, 4, 4)
    centred = images - images.mean((0, 2, 3), keepdims=True)
    wanted = centred / np.sqrt(images.var((0, 2, 3), keepdims=True) + 1e-4)
    np.testing.assert_allclose(f(images, np.ones(3), np.zeros(3)), wanted)


def test_former_batch_normalization_has_two_modes() -> None:
    x, ps = T.dmatrix("x"), T.dvectors("gbms")
    low, high = (bn.batch_normalization(x, *ps, mode=m) for m in ("low_mem", "high_mem"))
    values = symgraph.function([x, *ps], [low, high])(BATCH, GAMMA, BETA, np.ones(3), np.ones(3))
    np.testing.assert_array_equal(values[0], (BATCH - 1) * GAMMA + BETA)
    np.testing.assert_array_equal(values[0], values[1])
    with pytest.raises(ValueError, match="fast"):
        bn.batch_normalization(x, *ps, mode="fast")


# ---- classes -------------------------------------------------------------------------------------


def test_confusion_matrix_as_documented() -> None:
    x, y = T.dvector(), T.dvector()
    f = symgraph.function([x, y], T.nnet.confusion_matrix(x, y))
    counts, order = f([2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2])
    np.testing.assert_array_equal(counts, [[2, 0, 0], [0, 0, 1], [1, 0, 2]])
    np.testing.assert_array_equal(order, [0.0, 1, 2])


def test_h_softmax_as_documented(rng: np.random.RandomState) -> None:
    """The documentation's layer: 100 outputs in 10 classes; targets' probabilities are the same."""
    x, target = T.imatrix("x"), T.imatrix("target")
    parameters = [symgraph.shared(rng.normal(0, 0.1, s)) for s in
                  ((10, 10), (10,), (10, 10, 10), (10, 10))]  # fmt: skip
    every = T.nnet.h_softmax(x, 32, 100, 10, 10, *parameters)
    some = T.nnet.h_softmax(x, 32, 100, 10, 10, *parameters, target)
    features, labels = rng.randint(0, 3, (32, 10)), rng.randint(0, 100, (32, 1))
    f = symgraph.function([x, target], [every, some])
    p, chosen = f(features.astype("int32"), labels.astype("int32"))
    np.testing.assert_allclose(p.sum(1), np.ones(32))
    np.testing.assert_allclose(chosen, p[np.arange(32), labels[:, 0]])
    gradients = T.grad(-T.log(some).mean(), parameters)
    assert [g.ndim for g in gradients] == [2, 1, 3, 2]


# ---- linear algebra and special functions --------------------------------------------------------


def test_triangular_systems_read_one_triangle(rng: np.random.RandomState) -> None:
    a, b = rng.randn(4, 4) + 4 * np.eye(4), rng.randn(4)
    A, B = T.dmatrix("A"), T.dvector("B")
    x = T.slinalg.solve_lower_triangular(A, B)
    f = symgraph.function([A, B], [x, T.grad(x.sum(), A)])
    solved, gradient = f(a, b)
    np.testing.assert_allclose(np.tril(a) @ solved, b)
    np.testing.assert_array_equal(gradient, np.tril(gradient))


def test_cholesky_that_may_fail() -> None:
    """`on_error='nan'`: NaN for the value and for the gradient, where 'raise' raises."""
    x = T.dmatrix("x")
    factor = T.slinalg.Cholesky(on_error="nan")(x)
    f = symgraph.function([x], [factor, T.grad(factor.sum(), x)])
    assert all(np.isnan(v).all() for v in f(-np.eye(2)))
    np.testing.assert_allclose(f(np.eye(2))[0], np.eye(2))


def test_least_squares_of_a_matrix_without_full_rank() -> None:
    """The sums of squares are empty, as NumPy's are: a size that only the data decide."""
    a, b = T.dmatrix("a"), T.dvector("b")
    f = symgraph.function([a, b], T.nlinalg.lstsq()(a, b, 1e-8))
    x, sums, rank, singular = f(np.ones((3, 2)), np.array([1.0, 2, 3]))
    np.testing.assert_allclose(x, [1, 1])
    assert sums.shape == (0,)
    assert rank == 1
    np.testing.assert_allclose(singular, [np.sqrt(6), 0], atol=1e-12)


@pytest.mark.parametrize("build", [T.j0, T.erfcx, lambda x: T.jv(1.0, x)])
def test_functions_of_scipy_say_that_it_is_missing(
    build: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install scipy"):
        build(T.dvector())


def test_largest_elements_in_order(rng: np.random.RandomState) -> None:
    """Theano refuses its own default, sorted=True; here it sorts."""
    x = rng.randn(4, 9)
    m = T.dmatrix("m")
    values, at = T.topk_and_argtopk(m, 3, idx_dtype="int32")
    v, i = symgraph.function([m], [values, at])(x)
    assert i.dtype == np.int32
    np.testing.assert_array_equal(v, np.take_along_axis(x, i.astype(int), 1))
    assert (np.diff(v) <= 0).all()
    assert v.min() >= np.sort(x)[:, -3].min()


def test_gradient_by_the_largest_elements() -> None:
    m = T.dmatrix("m")
    g = symgraph.function([m], T.grad((T.topk(m, 2) * np.array([1.0, 10])).sum(), m))
    np.testing.assert_array_equal(g(np.array([[3.0, 9, 4], [7, 7, 1]])), [[0, 1, 10], [1, 10, 0]])
