"""The kernel library against plain NumPy in float64, over shapes, strides, pads and chunkings.

Every operand ends at a page that must not be touched, so a read or write beyond it ends the test
run; every output and workspace starts as NaN, so whatever is not written shows.
"""

import ctypes
import itertools
import mmap
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symgraph.compile import cache, library
from symgraph.compile.library import lower, tiles
from symgraph.compile.library.blocking import inside, pixel_block, row_block, tile_rows

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3)
Chunks = list[tuple[int, int]]
FLOATS = ("float32", "float64")
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}


# ---- running a lowering


def guarded(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array whose last element is the last before a page without access (where mmap has it)."""
    itemsize = np.dtype(dtype).itemsize
    count = int(np.prod(shape))
    page = mmap.PAGESIZE
    room = -(-max(1, count * itemsize) // page) * page
    memory = mmap.mmap(-1, room + page)
    if sys.platform == "linux":
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(base + room), page, 0) == 0
    flat = np.frombuffer(memory, np.uint8, count * itemsize, room - count * itemsize)
    flat.fill(0xFF)  # NaN for floats
    return flat.view(dtype).reshape(shape)


def sizes_of(array: np.ndarray) -> list[int]:
    return [*array.shape, *(s // array.itemsize for s in array.strides)]


def one_chunk(extent: int, grain: int) -> Chunks:
    return [(0, extent)] if extent else []


def planned(extent: int, grain: int) -> Chunks:
    return [(i, min(i + grain, extent)) for i in range(0, extent, grain)]


def backwards(extent: int, grain: int) -> Chunks:
    return [(i, i + 1) for i in reversed(range(extent))]


def run(
    name: str,
    dtype: str,
    params: dict,
    shape: tuple[int, ...],
    *inputs: np.ndarray,
    chunks: Callable[[int, int], Chunks] = planned,
) -> np.ndarray:
    """The output of `shape` of the operation on `inputs`, as a planner would run its stages."""
    lowering = lower(name, dtype, params)
    arrays = {"out0": guarded(shape, dtype)}
    for k, array in enumerate(inputs):
        arrays[f"in{k}"] = array
        if array.flags.c_contiguous:
            arrays[f"in{k}"] = guarded(array.shape, dtype)
            arrays[f"in{k}"][...] = array
    shapes = {key: array.shape for key, array in arrays.items()}
    for key, (kind, size) in lowering.temporaries.items():
        shapes[key] = size(shapes)
        arrays[key] = guarded(shapes[key], kind)
    for stage in lowering.stages:
        addresses, sizes = [], []
        for operand in stage.operands:
            if operand == "work":
                share = -(-stage.workspace(shapes) // 64) * 64
                work = guarded((2 * share,), "uint8")  # of two workers: this runs as the second
                addresses.append(work.ctypes.data)
                sizes.append(share)
            else:
                addresses.append(arrays[operand].ctypes.data)
                sizes += sizes_of(arrays[operand])
        kernel = KERNEL(cache.build(stage.source).address)
        places, numbers = np.array(addresses, np.int64), np.array(sizes, np.int64)
        grain = stage.grain(shapes)
        assert grain > 0
        for start, stop in chunks(stage.extent(shapes), grain):
            kernel(places.ctypes.data, numbers.ctypes.data, start, stop, 1)
    return arrays["out0"].copy()


def assert_near(got: np.ndarray, want: np.ndarray, magnitude: np.ndarray) -> None:
    """Within rounding of a sum whose terms have `magnitude` in all."""
    assert got.shape == want.shape
    bound = TOLERANCE[got.dtype.name] * magnitude + 1e-30
    assert not np.isnan(got).any()
    assert (np.abs(got - want) <= bound).all(), np.abs(got - want).max()


def assert_chunks_agree(*arguments: object) -> None:
    results = [run(*arguments, chunks=c) for c in (planned, backwards, one_chunk)]  # type: ignore[arg-type]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


# ---- matrix products


def stored(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, how: str) -> np.ndarray:
    """A random array of `shape` that lies in memory as `how` says."""
    draw = lambda *s: rng.standard_normal(s).astype(dtype)  # noqa: E731
    *batch, m, n = shape
    if how == "rows":
        return draw(*batch, m, n)
    if how == "columns":
        return draw(*batch, n, m).swapaxes(-1, -2)
    if how == "reversed":
        return draw(*batch, m, 2 * n)[..., ::-1, ::-2]
    return np.broadcast_to(draw(*batch, m, 1), shape)


LAYOUTS = ("rows", "columns", "reversed", "broadcast")
EXTENTS = st.sampled_from((0, 1, 2, 3, 4, 5, 12, 13, 16, 25, 31, 33, 50, 97, 130))


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(EXTENTS, EXTENTS, EXTENTS),
    st.sampled_from(LAYOUTS),
    st.sampled_from(LAYOUTS),
    st.sampled_from(FLOATS),
    st.integers(0, 2**32 - 1),
)
def test_gemm(extents: tuple[int, int, int], left: str, right: str, dtype: str, seed: int) -> None:
    m, k, n = extents
    rng = np.random.default_rng(seed)
    a, b = stored(rng, (m, k), dtype, left), stored(rng, (k, n), dtype, right)
    got = run("gemm", dtype, {}, (m, n), a, b)
    a, b = a.astype("float64"), b.astype("float64")
    assert_near(got, a @ b, abs(a) @ abs(b))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "extents",
    [(260, 900, 300), (2, 5000, 70), (3, 9000, 5), (9000, 3, 1), (700, 400, 2), (30, 3000, 600)],
)
def test_gemm_over_several_blocks(extents: tuple[int, int, int], dtype: str) -> None:
    m, k, n = extents
    rng = np.random.default_rng(0)
    for left, right in itertools.product(LAYOUTS[:2], repeat=2):
        a, b = stored(rng, (m, k), dtype, left), stored(rng, (k, n), dtype, right)
        got = run("gemm", dtype, {}, (m, n), a, b)
        a, b = a.astype("float64"), b.astype("float64")
        assert_near(got, a @ b, abs(a) @ abs(b))


@pytest.mark.parametrize("k", (0, 1, 37, 5000, 70000))
@pytest.mark.parametrize("dtype", FLOATS)
def test_vectors(k: int, dtype: str) -> None:
    rng = np.random.default_rng(k)
    matrix = stored(rng, (k, 7), dtype, "rows")
    x, y = (stored(rng, (1, k), dtype, "reversed")[0] for _ in range(2))
    for a, b in ((x, y), (matrix.T, y), (x, matrix), (x[::2], x[::2])):
        shape = (*a.shape[:-1], *b.shape[1:])
        got = run("gemm", dtype, {"a_ndim": a.ndim, "b_ndim": b.ndim}, shape, a, b)
        a, b = a.astype("float64"), b.astype("float64")
        assert_near(got, np.asarray(a @ b), np.asarray(abs(a) @ abs(b)))


@pytest.mark.parametrize(
    "extents", [(3, 20, 30, 40), (1, 1, 9, 1), (4, 0, 3, 2), (0, 2, 2, 2), (2, 5, 0, 3)]
)
@pytest.mark.parametrize("dtype", (*FLOATS, "int32"))
def test_batched_dot(extents: tuple[int, ...], dtype: str) -> None:
    batch, m, k, n = extents
    rng = np.random.default_rng(1)
    for left, right in itertools.product(LAYOUTS, repeat=2):
        a, b = stored(rng, (batch, m, k), dtype, left), stored(rng, (batch, k, n), dtype, right)
        got = run("batched_dot", dtype, {}, (batch, m, n), a, b)
        a, b = a.astype("float64"), b.astype("float64")
        if dtype == "int32":
            np.testing.assert_array_equal(got, a @ b)
        else:
            assert_near(got, a @ b, abs(a) @ abs(b))


@pytest.mark.parametrize("dtype", ("int8", "int64", "uint16"))
def test_integers_keep_their_dtype_and_wrap(dtype: str) -> None:
    rng = np.random.default_rng(2)
    info = np.iinfo(dtype)
    a = rng.integers(info.min, info.max, (5, 300), dtype)
    b = rng.integers(info.min, info.max, (300, 4), dtype)
    np.testing.assert_array_equal(run("gemm", dtype, {}, (5, 4), a, b), a @ b)


# ---- convolution


def out_size(size: int, k: int, stride: int, dilation: int, pad: tuple[int, int]) -> int:
    return max(0, (size + sum(pad) - ((k - 1) * dilation + 1)) // stride + 1)


def reference(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray, params: dict, pad: tuple
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output and gradients by weights and by inputs, tap by tap."""
    (sh, sw), (dh, dw) = params["subsample"], params["filter_dilation"]
    groups, (n, o, oh, ow) = params["num_groups"], dy.shape
    if params["filter_flip"]:
        w = w[:, :, ::-1, ::-1]
    padded = np.pad(x, ((0, 0), (0, 0), *pad))
    grouped = padded.reshape(n, groups, w.shape[1], *padded.shape[2:])
    maps = w.reshape(groups, o // groups, *w.shape[1:])
    grads = dy.reshape(n, groups, o // groups, oh, ow)
    y, dw_, dx = np.zeros(grads.shape), np.zeros(maps.shape), np.zeros(grouped.shape)
    for i, j in np.ndindex(w.shape[2:]):
        seen = (
            ...,
            slice(i * dh, i * dh + oh * sh - sh + 1, sh),
            slice(j * dw, j * dw + ow * sw - sw + 1, sw),
        )
        y += np.einsum("ngcyx,goc->ngoyx", grouped[seen], maps[..., i, j])
        dw_[..., i, j] = np.einsum("ngcyx,ngoyx->goc", grouped[seen], grads)
        dx[seen] += np.einsum("goc,ngoyx->ngcyx", maps[..., i, j], grads)
    dw_ = dw_.reshape(w.shape)
    (top, _), (left, _) = pad
    dx = dx.reshape(padded.shape)[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return y.reshape(dy.shape), dw_[:, :, ::-1, ::-1] if params["filter_flip"] else dw_, dx


NONE = ((0, 0), (0, 0))
DECLARED = (
    {},
    {"kh": 5, "kw": 5},
    {"filter_flip": False, "pad": ((1, 2), (0, 3))},
    {"pad": "full", "filter_dilation": (1, 2)},
    {"pad": "half", "num_groups": 2, "subsample": (2, 1), "filter_dilation": (2, 1)},
    {"subsample": (2, 3), "pad": ((2, 1), (3, 0)), "filter_flip": False, "num_groups": 2},
    {"kh": 1, "kw": 1, "num_groups": 2},
    {"subsample": (1, 2), "kh": 3, "kw": 4, "filter_dilation": (1, 3), "pad": ((0, 0), (9, 9))},
)
IMAGES = (  # n, c, o, h, w, kh, kw
    (2, 4, 6, 12, 12, 5, 5),
    (1, 2, 2, 9, 11, 3, 2),
    (3, 2, 4, 8, 40, 3, 4),
    (2, 4, 2, 7, 9, 1, 1),
    (0, 2, 2, 7, 7, 3, 3),
    (2, 0, 2, 7, 7, 3, 3),
    (2, 2, 0, 7, 7, 3, 3),
    (40, 2, 4, 9, 9, 3, 3),
    (1, 1200, 4, 6, 9, 3, 3),
    (1, 4, 1100, 6, 9, 3, 3),
    (1, 2, 2, 150, 140, 5, 5),
    (2, 2, 2, 3, 4, 5, 6),
    (33, 12, 26, 9, 10, 3, 3),
    (2, 4, 6, 35, 33, 5, 5),
    (150, 6, 14, 7, 7, 2, 3),
    (1, 60, 4, 5, 700, 3, 3),
    (2, 2, 4, 4, 2100, 2, 100),
)


def drawn(rng: np.random.Generator, sizes: tuple[int, ...], declared: dict, dtype: str) -> tuple:
    """(params, pad in numbers, image, filters, gradient of the output); sizes as in IMAGES."""
    n, c, o, h, w, kh, kw = sizes
    params = {"filter_flip": True, "subsample": (1, 1), "filter_dilation": (1, 1)}
    params |= {"num_groups": 1, "pad": "valid", "kh": None, "kw": None} | declared
    kh, kw = params["kh"] or kh, params["kw"] or kw
    reach = [(k - 1) * d for k, d in zip((kh, kw), params["filter_dilation"], strict=True)]
    named = {"valid": NONE, "full": [(r, r) for r in reach]}
    named["half"] = [((r + 1) // 2,) * 2 for r in reach]
    pad = named[params["pad"]] if isinstance(params["pad"], str) else params["pad"]
    oh, ow = (
        out_size(size, k, s, d, p)
        for size, k, s, d, p in zip(
            (h, w), (kh, kw), params["subsample"], params["filter_dilation"], pad, strict=True
        )
    )
    shapes = (n, c, h, w), (o, c // params["num_groups"], kh, kw), (n, o, oh, ow)
    return params, pad, *(rng.standard_normal(s).astype(dtype) for s in shapes)


def convolutions(declared: dict, dtype: str) -> Iterator[tuple]:
    """What is drawn for every case with results."""
    rng = np.random.default_rng(3)
    for sizes in IMAGES:
        case = drawn(rng, sizes, declared, dtype)
        if 0 not in case[-1].shape[2:]:
            yield case


@pytest.mark.parametrize(
    ("declared", "dtype"),
    [(d, "float32") for d in DECLARED] + [(d, "float64") for d in DECLARED[3:6]],
)
def test_convolution_and_its_gradients(declared: dict, dtype: str) -> None:
    for params, pad, x, w, dy in convolutions(declared, dtype):
        doubles = [a.astype("float64") for a in (x, w, dy)]
        want = reference(*doubles, params, pad)
        magnitude = reference(*map(abs, doubles), params, pad)
        got = (
            run("conv2d", dtype, params, dy.shape, x, w),
            run("conv2d_grad_weights", dtype, params, w.shape, x, dy),
            run("conv2d_grad_inputs", dtype, params, x.shape, w, dy),
        )
        for triple in zip(got, want, magnitude, strict=True):
            assert_near(*triple)


@pytest.mark.parametrize("declared", [{}, {"subsample": (1, 2)}, {"pad": "half"}])
def test_long_rows_need_as_little_room_as_high_columns(declared: dict) -> None:
    """Sound: a convolution along 64,000 samples, whichever axis they are."""
    for sizes in ((2, 1, 3, 1, 64000, 1, 16000), (2, 40, 3, 1, 64000, 1, 9)):
        for way in (1, -1):
            n, c, o, *axes = sizes
            axes = (*axes[:2][::way], *axes[2:][::way])
            stride = {"subsample": declared.get("subsample", (1, 1))[::way]}
            rng = np.random.default_rng(0)
            params, _, x, w, dy = drawn(rng, (n, c, o, *axes), declared | stride, "float32")
            for name, arrays in {
                "conv2d": {"out0": dy, "in0": x, "in1": w},
                "conv2d_grad_inputs": {"out0": x, "in0": w, "in1": dy},
                "conv2d_grad_weights": {"out0": w, "in0": x, "in1": dy},
            }.items():
                shapes = {key: array.shape for key, array in arrays.items()}
                lowering = lower(name, "float32", params)
                for key, (_, size) in lowering.temporaries.items():
                    shapes[key] = size(shapes)
                    assert 4 * np.prod(shapes[key]) <= 16 * w.nbytes
                for stage in lowering.stages:
                    assert stage.workspace(shapes) < 4 << 20, (name, axes)


def test_convolution_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="float32 and float64"):
        lower("conv2d", "int32", {})
    with pytest.raises(ValueError, match="'valid'"):
        lower("conv2d", "float32", {"pad": "same"})
    with pytest.raises(ValueError, match="positive"):
        lower("conv2d", "float32", {"subsample": (0, 1)})
    with pytest.raises(KeyError):
        lower("conv3d", "float32", {})


# ---- pooling


def windows(size: int, count: int, ws: int, stride: int, pad: int) -> list[tuple[int, int, int]]:
    """Of each window: first and last + 1 in the image, length within the padded image."""
    starts = [i * stride - pad for i in range(count)]
    return [(max(s, 0), min(s + ws, size), min(s + ws, size + pad) - s) for s in starts]


def pooled(
    x: np.ndarray, oh: int, ow: int, params: dict, dout: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output, gradient by x, and the sums of v where x is the maximum."""
    mode = params["mode"]
    out, second = np.zeros(dout.shape), np.zeros(dout.shape)
    dx = np.zeros(x.shape)
    rows, columns = (
        windows(*each)
        for each in zip(
            x.shape[1:], (oh, ow), params["ws"], params["stride"], params["pad"], strict=True
        )
    )
    for (y, (a, b, tall)), (t, (c, d, broad)) in itertools.product(
        enumerate(rows), enumerate(columns)
    ):
        window = x[:, a:b, c:d]
        count = {"average_inc_pad": tall * broad, "average_exc_pad": (b - a) * (d - c)}.get(mode, 1)
        best = window.max((1, 2), keepdims=True)
        chosen = window == best if mode == "max" else np.ones(window.shape)
        if params.get("ties") == "first":
            counts = chosen.reshape(len(x), (b - a) * (d - c)).cumsum(1)
            chosen &= counts.reshape(window.shape) == 1
        out[:, y, t] = best[:, 0, 0] if mode == "max" else window.sum((1, 2)) / count
        dx[:, a:b, c:d] += chosen * dout[:, y, t, None, None] / count
        second[:, y, t] = (chosen * v[:, a:b, c:d]).sum((1, 2))
    return out, dx, second


WINDOWS = (  # ws, stride, pad, ignore_border
    ((2, 2), (2, 2), (0, 0), True),
    ((2, 2), (2, 2), (0, 0), False),
    ((3, 2), (2, 1), (1, 1), True),
    ((3, 3), (2, 2), (0, 0), False),
    ((2, 5), (4, 3), (0, 2), True),
)
PLANES = ((3, 8, 8), (2, 24, 24), (1, 9, 7), (2, 5, 40), (0, 6, 6), (50, 4, 6), (2, 3, 67))


def pooled_size(n: int, ws: int, stride: int, pad: int, ignore_border: bool) -> int:
    n += 2 * pad
    if ignore_border:
        return max((n - ws) // stride + 1, 0)
    return (n - 1) // stride + 1 if stride >= ws else max(0, (n - 1 - ws + stride) // stride) + 1


@pytest.mark.parametrize("mode", ("max", "first", "sum", "average_inc_pad", "average_exc_pad"))
@pytest.mark.parametrize("declared", WINDOWS)
def test_pooling_and_its_gradients(declared: tuple, mode: str) -> None:
    rng = np.random.default_rng(4)
    ws, stride, pad, ignore_border = declared
    ties, mode = ("first", "max") if mode == "first" else ("all", mode)
    params = {"ws": ws, "stride": stride, "pad": pad, "mode": mode, "ties": ties}
    for dtype, planes in itertools.product(("float32", "int16"), PLANES):
        if dtype == "int16" and (mode.startswith("average") or ws != (3, 2)):
            continue
        x = rng.integers(-4, 5, planes).astype(dtype)  # small numbers: many ties
        oh, ow = (
            pooled_size(n, *each, ignore_border)
            for n, *each in zip(planes[1:], ws, stride, pad, strict=True)
        )
        v = rng.standard_normal(planes).astype(dtype)
        dout = rng.standard_normal((planes[0], oh, ow)).astype(dtype)
        out, dx, second = pooled(x.astype("float64"), oh, ow, params, dout, v)
        got = run("pool", dtype, params, out.shape, x)
        np.testing.assert_allclose(got, out, rtol=1e-6)
        if dtype == "int16":
            continue
        if mode == "max":
            got_dx = run("max_pool_grad", dtype, params, planes, x, got, dout)
            got_second = run("max_pool_grad_grad", dtype, params, out.shape, x, got, v)
            np.testing.assert_allclose(got_second, second, rtol=1e-5, atol=1e-5)
        else:
            got_dx = run("pool_grad", dtype, params, planes, dout)
        np.testing.assert_allclose(got_dx, dx, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ties", ("all", "first"))
@pytest.mark.parametrize("declared", WINDOWS[:3])
def test_nan_wins_a_maximum_and_gets_no_gradient(declared: tuple, ties: str) -> None:
    ws, stride, pad, _ = declared
    params = {"ws": ws, "stride": stride, "pad": pad, "mode": "max", "ties": ties}
    x = np.zeros((1, 8, 8), "float32")
    x[0, 2, 3], x[0, 5, 5] = np.nan, -np.inf
    size = tuple(pooled_size(8, *each, True) for each in zip(ws, stride, pad, strict=True))
    out = run("pool", "float32", params, (1, *size), x)
    ones = np.ones((1, *size), "float32")
    want, dx, _ = pooled(x.astype("float64"), *size, params, ones, np.ones(x.shape))
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(
        run("max_pool_grad", "float32", params, x.shape, x, out, ones), dx
    )


# ---- chunks


def test_chunks_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(5)
    draw = lambda *s: rng.standard_normal(s).astype("float32")  # noqa: E731
    for m, k, n in ((300, 700, 300), (3, 9000, 60), (1, 70000, 1), (40, 3, 600)):
        assert_chunks_agree("gemm", "float32", {}, (m, n), draw(m, k), draw(k, n))
        assert_chunks_agree("gemm", "float32", {}, (m, n), draw(k, m).T, draw(n, k).T)
    assert_chunks_agree("batched_dot", "float32", {}, (9, 5, 7), draw(9, 5, 6), draw(9, 6, 7))
    x, w, dy = draw(9, 4, 12, 12), draw(6, 4, 5, 5), draw(9, 6, 8, 8)
    for images in (1, 9):
        x, dy = x[:images], dy[:images]
        assert_chunks_agree("conv2d", "float32", {}, dy.shape, x, w)
        assert_chunks_agree("conv2d_grad_weights", "float32", {}, w.shape, x, dy)
        assert_chunks_agree("conv2d_grad_inputs", "float32", {}, x.shape, w, dy)
    x = draw(30, 8, 8)
    for mode in ("max", "average_exc_pad"):
        params = {"ws": (2, 2), "stride": (2, 2), "pad": (0, 0), "mode": mode}
        assert_chunks_agree("pool", "float32", params, (30, 4, 4), x)
    dout = draw(30, 4, 4)
    assert_chunks_agree("pool_grad", "float32", params, x.shape, dout)
    out = run("pool", "float32", params | {"mode": "max"}, (30, 4, 4), x)
    for ties in ("all", "first"):
        params |= {"mode": "max", "ties": ties}
        assert_chunks_agree("max_pool_grad", "float32", params, x.shape, x, out, dout)


# ---- processors


@pytest.mark.parametrize("width", (16, 32))
def test_narrower_vectors(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if width > tiles.vector_bytes():
        pytest.skip("wider than this processor's vectors")
    monkeypatch.setattr(tiles, "vector_bytes", lambda: width)
    monkeypatch.setattr(library, "_lowered", {})
    rng = np.random.default_rng(6)
    for left, right in itertools.product(LAYOUTS[:2], repeat=2):
        a, b = stored(rng, (45, 30), "float32", left), stored(rng, (30, 41), "float32", right)
        got = run("gemm", "float32", {}, (45, 41), a, b)
        assert_near(got, a.astype("float64") @ b, abs(a).astype("float64") @ abs(b))
    for params, pad, x, w, dy in itertools.islice(convolutions({}, "float32"), 3):
        y, dw, dx = reference(*(a.astype("float64") for a in (x, w, dy)), params, pad)
        for name, want, inputs in (
            ("conv2d", y, (x, w)),
            ("conv2d_grad_weights", dw, (x, dy)),
            ("conv2d_grad_inputs", dx, (w, dy)),
        ):
            got = run(name, "float32", params, want.shape, *inputs)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    x = rng.standard_normal((3, 10, 14)).astype("float32")
    params = {"ws": (2, 2), "stride": (2, 2), "pad": (0, 0), "mode": "max"}
    ones = np.ones((3, 5, 7), "float32")
    want, dx, _ = pooled(x.astype("float64"), 5, 7, params, ones, np.ones(x.shape))
    out = run("pool", "float32", params, (3, 5, 7), x)
    np.testing.assert_array_equal(out, want.astype("float32"))
    np.testing.assert_array_equal(
        run("max_pool_grad", "float32", params, x.shape, x, out, ones), dx
    )
    first = params | {"ties": "first"}
    np.testing.assert_array_equal(run("max_pool_grad", "float32", first, x.shape, x, out, ones), dx)


# ---- the rules


@given(st.integers(0, 40), st.integers(-20, 20), st.integers(1, 4), st.integers(0, 30))
def test_inside(size: int, start: int, step: int, last: int) -> None:
    low, high = inside(size, start, step, 0, last)
    assert list(range(low, high)) == [t for t in range(last) if 0 <= start + step * t < size]


@given(st.integers(0, 100), st.sampled_from((4, 6, 12)))
def test_tile_rows_cover_every_row(m: int, rows: int) -> None:
    first = 0
    while first < m:
        count = tile_rows(m, first, rows)
        assert 1 <= count <= min(rows, m - first) and (count == 1 or count % 2 == 0)
        first += count
    assert first == m


@given(st.integers(0, 400), st.integers(0, 70000), st.integers(0, 70000), st.integers(0, 40))
def test_pixel_block_covers_pixels(rows: int, columns: int, depth: int, images: int) -> None:
    high, wide = pixel_block(rows, columns, depth, images)
    assert high >= 1
    assert wide >= 1
    assert wide >= columns or high == 1
    assert high == 1 or depth * high * wide <= 65536
    assert depth * wide <= max(65536, 32 * depth)


@given(*[st.integers(0, 300)] * 2, st.integers(0, 10**5), st.integers(0, 30))
def test_row_block_is_positive_and_bounded(
    rows: int, columns: int, depth: int, images: int
) -> None:
    block = row_block(rows, columns, depth, images)
    assert block == 1 or block * columns * depth <= 65536 + columns * depth
