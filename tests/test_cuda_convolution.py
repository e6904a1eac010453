"""Convolutions on the device: simulated against a reference in float64, counted and assembled."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symgraph.compile.cuda import codegen, library
from symgraph.compile.cuda.library import convolution
from symgraph.compile.cuda.library.convolution_problem import Problem, correlation
from symgraph.compile.cuda.library.convolution_tiles import PROCESSORS, Tile
from symgraph.compile.library.geometry import Geometry
from tests import cuda_assembly
from tests.cuda_kernels import both_orders, check_resources, sources
from tests.test_library import DECLARED, drawn, reference

OPERATIONS = ("conv2d", "conv2d_grad_weights", "conv2d_grad_inputs")
ROLES = {"conv2d": 2, "conv2d_grad_weights": 1, "conv2d_grad_inputs": 0}
LENET = {  # images, filters of the tutorial
    "conv1": ((500, 1, 28, 28), (20, 1, 5, 5)),
    "conv2": ((500, 20, 12, 12), (50, 20, 5, 5)),
}


def check(
    sizes: tuple[int, ...], declared: dict, dtype: str = "float32",
    names: Iterable[str] = OPERATIONS,
) -> None:  # fmt: skip
    """Compute all three in both orders of the threads, and compare."""
    params, pad, x, w, dy = drawn(np.random.default_rng(5), sizes, declared, dtype)
    if 0 in dy.shape[2:]:
        return
    doubles = [a.astype("float64") for a in (x, w, dy)]
    want = dict(zip(OPERATIONS, reference(*doubles, params, pad), strict=True))
    magnitude = dict(zip(OPERATIONS, reference(*map(abs, doubles), params, pad), strict=True))
    operands = {"conv2d": (x, w), "conv2d_grad_weights": (x, dy), "conv2d_grad_inputs": (w, dy)}
    for name in names:
        (got,) = both_orders(name, dtype, params, operands[name], [(want[name].shape, dtype)])
        error = 4 * np.finfo(dtype).eps * (magnitude[name] + 1)
        assert np.all(np.abs(got - want[name]) <= error), name


# ---- every geometry


SIZES = [  # n, c, o, h, w, kh, kw
    (2, 4, 6, 7, 6, 3, 3), (3, 2, 4, 5, 8, 3, 4), (2, 2, 2, 5, 6, 5, 6), (1, 2, 2, 7, 9, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("sizes", SIZES)
def test_convolution_and_its_gradients(sizes: tuple[int, ...], declared: dict) -> None:
    check(sizes, declared)


@pytest.mark.parametrize("declared", DECLARED[4:6])
def test_doubles(declared: dict) -> None:
    check((2, 4, 4, 6, 7, 3, 2), declared, "float64")


@pytest.mark.parametrize("counts", [(0, 2, 2), (2, 0, 2), (2, 2, 0)])
@pytest.mark.parametrize("declared", [{}, {"subsample": (2, 2), "pad": "half"}])
def test_nothing_to_add_up_gives_zeros(counts: tuple[int, ...], declared: dict) -> None:
    check((*counts, 7, 7, 3, 3), declared)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=14, deadline=None, derandomize=True)
@given(
    st.tuples(*(st.integers(1, most) for most in (3, 3, 4, 9, 9, 4, 4))),
    st.fixed_dictionaries(
        {
            "filter_flip": st.booleans(), "subsample": pairs, "filter_dilation": pairs,
            "num_groups": st.integers(1, 2),
            "pad": st.sampled_from(["valid", "full", "half"]) | st.tuples(pads, pads),
        }
    ),
)  # fmt: skip
def test_any_geometry(sizes: tuple[int, ...], declared: dict) -> None:
    n, c, o, *rest = sizes
    groups = declared["num_groups"]
    check((n, c * groups, o * groups, *rest), declared)


# ---- every kind of tile


def problem(name: str, images: tuple, filters: tuple, **params: object) -> Problem:
    geometry = Geometry.read(params)
    top = geometry.output(images, filters)
    return correlation("float32", geometry, ROLES[name], images, filters, top)


TILES = {  # of a problem whose tile this is not: name, sizes, declared, what the tile is like
    "rows that are dealt": (
        "conv2d", (2, 2, 6, 7, 7, 4, 3), {},
        {"maps": 5, "map_threads": 1, "pixels": 2, "images": 1, "rows": 2, "segments": 2,
         "depth": 2, "taps_y": 4, "taps_x": 2},
    ),
    "channels that are dealt, sums folded in turns": (
        "conv2d", (3, 4, 6, 7, 7, 3, 3), {},
        {"maps": 6, "map_threads": 1, "pixels": 5, "images": 2, "rows": 2, "segments": 1,
         "depth": 4, "channels": 4, "taps_y": 3, "taps_x": 3},
    ),
    "taps in a loop, with some left over": (
        "conv2d", (1, 1, 2, 3, 24, 2, 19), {},
        {"maps": 2, "map_threads": 1, "pixels": 4, "images": 1, "rows": 2, "segments": 2,
         "taps_y": 2, "taps_x": 19},
    ),
    "sums cut into parts of chunks": (
        "conv2d_grad_weights", (5, 2, 3, 9, 9, 3, 2), {"pad": "half"},
        {"maps": 3, "map_threads": 1, "pixels": 2, "images": 2, "rows": 3, "segments": 1,
         "taps_y": 4, "taps_x": 10},
    ),
    "channels cut into parts": (
        "conv2d", (3, 4, 5, 6, 7, 3, 3), {},
        {"maps": 3, "map_threads": 1, "pixels": 2, "images": 2, "rows": 2, "segments": 2,
         "taps_y": 3, "taps_x": 3},
    ),
    "filters cut into parts, in phases": (
        "conv2d_grad_inputs", (3, 2, 5, 6, 7, 3, 3), {"subsample": (1, 2), "num_groups": 1},
        {"maps": 1, "map_threads": 2, "pixels": 2, "images": 2, "rows": 2, "segments": 2,
         "channels": 2, "taps_y": 3, "taps_x": 2},
    ),
    "whole rows, passed over beside the image": (
        "conv2d_grad_inputs", (2, 3, 4, 6, 6, 3, 3), {},
        {"maps": 3, "map_threads": 1, "pixels": 6, "images": 2, "rows": 6, "segments": 1,
         "depth": 2, "channels": 2, "taps_y": 3, "taps_x": 3},
    ),
    "whole rows whose taps are dealt": (
        "conv2d_grad_inputs", (1, 2, 3, 6, 5, 4, 3), {},
        {"maps": 2, "map_threads": 1, "pixels": 5, "images": 1, "rows": 6, "segments": 1,
         "depth": 2, "taps_y": 4, "taps_x": 3},
    ),
    "phases whose taps are dealt and cut": (
        "conv2d_grad_inputs", (1, 2, 3, 11, 12, 5, 9),
        {"subsample": (2, 2), "pad": ((1, 0), (2, 3))},
        {"maps": 2, "map_threads": 1, "pixels": 3, "images": 1, "rows": 2, "segments": 2,
         "depth": 2, "taps_y": 2, "taps_x": 2},
    ),
    "stored by fours": (
        "conv2d", (2, 1, 5, 6, 9, 3, 2), {},
        {"maps": 3, "map_threads": 2, "pixels": 4, "images": 2, "rows": 4, "segments": 2,
         "taps_y": 3, "taps_x": 2},
    ),
    "far apart in the slab": (
        "conv2d", (1, 1, 3, 3, 60, 2, 3), {"filter_dilation": (1, 20)},
        {"maps": 3, "map_threads": 1, "pixels": 4, "images": 1, "rows": 2, "segments": 5,
         "taps_y": 2, "taps_x": 3, "pads": (4, 8)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TILES)
def test_any_tile(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, sizes, declared, fields = TILES[kind]

    def chosen(problem: Problem, batch: int) -> Tile:
        tile = Tile(problem, **fields)
        assert tile.even() and tile.fits()
        return tile

    monkeypatch.setattr(convolution, "choose", chosen)
    most = 3 if "parts" in kind else 1
    monkeypatch.setattr(Tile, "parts", lambda tile, batch: min(most, tile.chunks(batch)))
    if "turns" in kind:
        monkeypatch.setattr(Tile, "folded", 11)
    check(sizes, declared, names=[name])


def test_the_tiles_tested_are_of_all_kinds() -> None:
    tiles = []
    for name, (n, c, o, h, w, kh, kw), declared, fields in TILES.values():
        tiles.append(Tile(problem(name, (n, c, h, w), (o, c, kh, kw), **declared), **fields))
    for fact in ("whole_rows", "whole_columns", "vectors", "dense", "stored_by_fours"):
        assert {getattr(tile, fact) for tile in tiles} == {False, True}, fact
    assert {tile.by_channels for tile in tiles if tile.depth > 1} == {False, True}
    assert any(tile.taps_x > tile.unrolled for tile in tiles)
    assert any(tile.cuts[0] > 1 for tile in tiles) and any(tile.cuts[1] > 1 for tile in tiles)


# ---- what is printed, and what it costs


def shapes(name: str, layer: str, batch: int) -> dict[str, tuple[int, ...]]:
    images, filters = LENET[layer]
    images = (batch, *images[1:])
    top = Geometry.read({}).output(images, filters)
    arrays = {"conv2d": (top, images, filters), "conv2d_grad_inputs": (images, filters, top)}
    arrays["conv2d_grad_weights"] = (filters, images, top)
    return dict(zip(("out0", "in0", "in1"), arrays[name], strict=True))


@pytest.mark.parametrize("name", OPERATIONS)
def test_another_batch_of_about_that_size_finds_the_same_kernels(name: str) -> None:
    printed = [sources(name, "float32", {}, shapes(name, "conv2", n)) for n in (500, 617, 900)]
    assert printed[0] == printed[1] == printed[2]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("batch", [500, 100, 20])
def test_lenet_keeps_the_device_busy(name: str, batch: int) -> None:
    for layer in LENET:
        lowering = library.lower(name, "float32", {})
        assert lowering is not None
        sizes = shapes(name, layer, batch)
        blocks = [stage.blocks(sizes) for stage in lowering.stages]
        assert max(blocks[:2]) >= 0.85 * PROCESSORS, (layer, blocks)


def printed(name: str, layer: str) -> list[str]:
    return sources(name, "float32", {}, shapes(name, layer, 500))


@pytest.mark.parametrize("arch", cuda_assembly.ARCHITECTURES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_kernels_of_conv2_keep_everything_in_registers(name: str, arch: str) -> None:
    for source in printed(name, "conv2"):
        check_resources(source, arch)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_grad_weights"])
def test_kernels_of_conv1_keep_everything_in_registers(name: str) -> None:
    for source in printed(name, "conv1"):
        check_resources(source, "sm_90", registers=128)


@pytest.mark.parametrize(
    ("name", "sizes", "declared", "dtype"),
    [
        ("conv2d_grad_inputs", (8, 6, 8, 29, 29, 5, 5), {"subsample": (2, 2)}, "float32"),
        ("conv2d_grad_inputs", (8, 6, 8, 13, 13, 5, 5), {"pad": "half"}, "float64"),
        ("conv2d", (4, 3, 64, 99, 99, 11, 11), {"subsample": (4, 4)}, "float32"),
        ("conv2d_grad_weights", (4, 4, 4, 20, 20, 3, 3), {"num_groups": 4}, "float32"),
    ],
)
def test_other_kernels_assemble(
    name: str, sizes: tuple[int, ...], declared: dict, dtype: str
) -> None:
    n, c, o, h, w, kh, kw = sizes
    images, filters = (n, c, h, w), (o, c // declared.get("num_groups", 1), kh, kw)
    top = Geometry.read(declared).output(images, filters)
    order = {"conv2d": (top, images, filters), "conv2d_grad_inputs": (images, filters, top)}
    order["conv2d_grad_weights"] = (filters, images, top)
    known = dict(zip(("out0", "in0", "in1"), order[name], strict=True))
    for source in sources(name, dtype, declared, known):
        check_resources(source, "sm_90")


@pytest.mark.parametrize(
    ("name", "layer", "share"),
    [
        ("conv2d", "conv1", 0.8), ("conv2d", "conv2", 0.8),
        ("conv2d_grad_weights", "conv2", 0.85), ("conv2d_grad_inputs", "conv2", 0.85),
    ],
)  # fmt: skip
def test_most_instructions_of_the_inner_loop_multiply(name: str, layer: str, share: float) -> None:
    ptx = codegen.ptx(printed(name, layer)[0], "sm_90")
    blocks = re.split(r"^\$L__BB\w+:", ptx, flags=re.MULTILINE)
    inner = max(blocks, key=lambda block: block.count("fma.rn.f32"))
    count = len(re.findall(r"^\t(?!//|\.)\S.*;$", inner, re.MULTILINE))
    assert inner.count("fma.rn.f32") >= share * count


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="float32 and float64"):
        library.lower("conv2d", "int32", {})
    with pytest.raises(ValueError, match="'valid'"):
        library.lower("conv2d", "float32", {"pad": "same"})
    with pytest.raises(ValueError, match="positive"):
        library.lower("conv2d_grad_inputs", "float32", {"subsample": (0, 1)})
